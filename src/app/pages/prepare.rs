//! The results: one sentence, how far the work is, the files, the table, what is not in, previews.

use leptos::prelude::*;

use super::{Page, steps_of_table};
use crate::app::browser;
use crate::app::driver::Loader;
use crate::app::parts::access::{Changes, Diagnosis, Logins, Source};
use crate::app::parts::hash_flag::{HashFlag, icon};
use crate::app::parts::images::{Images, Toolbar};
use crate::app::parts::messages::{Errors, Progress, Warnings};
use crate::app::parts::options::Text;
use crate::app::state::{Phase, Store};
use crate::engine::error::Kind;
use crate::engine::options::link;
use crate::engine::options::settings::View;
use crate::engine::output::{OUTPUTS, Outcome, Output, Provenance, Render};
use crate::engine::resolve::Summary;
use crate::engine::time::age;

/// Why the two YAML files may not be written, in one sentence; none where they may.
fn refusal(store: Store, loader: Loader) -> Option<String> {
    let allow = store.leave.partial_files.get();
    match store.phase.get() {
        Phase::Busy => {
            let n = store.results.with(|r| r.summary.waiting);
            return Some(if n == 0 {
                "Available when the run ends.".to_owned()
            } else {
                format!("Available when {n} more {} resolved.", if n == 1 { "image is" } else { "images are" })
            });
        }
        Phase::Stuck(_) | Phase::Blocked(_) => return Some("There are no YAML files yet.".to_owned()),
        Phase::Done => {}
    }
    store.results.track();
    let prepared = store.prepared.get();
    let Some(Ok(plan)) = &prepared.plan else { return Some("There are no YAML files yet.".to_owned()) };
    let refusal = loader.with_run(|run| Outcome::of_run(&prepared.settings, plan, run).refusal(allow))??;
    Some(match refusal.kind {
        Kind::Registry => {
            let n = store.results.with(|r| r.summary.error);
            format!(
                "The YAML files would be incomplete: {} in error.",
                if n == 1 { "1 image is".to_owned() } else { format!("{n} images are") }
            )
        }
        _ => format!("No YAML files: {}.", short(&refusal.message)),
    })
}

fn short(text: &str) -> String {
    let cut: String = text.chars().take(160).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

/// The bytes of a file, as the command line would write them.
fn content(store: Store, loader: Loader, file: &'static Output) -> Option<String> {
    let prepared = store.prepared.get_untracked();
    let plan = prepared.plan.as_ref()?.as_ref().ok()?;
    if let Render::Plan(render) = file.render {
        return Some(render(plan));
    }
    let provenance = Provenance::new(&store.choices.get_untracked(), &prepared.files, store.results.with_untracked(|r| r.as_of));
    loader.with_run(|run| file.write(&Outcome::of_run(&prepared.settings, plan, run), &provenance))
}

/// A number of the sentence: a button that filters the table to its rows.
#[component]
fn Count(
    store: Store,
    text: String,
    #[prop(default = "")] class: &'static str,
    /// The choice that filters, and by which word.
    filter: (&'static str, String),
    embed: bool,
) -> impl IntoView {
    if embed {
        return view! { <b class=class>{text}</b> }.into_any();
    }
    let (key, word) = filter;
    let pressed = word.clone();
    let is_pressed = move || store.choices.with(|c| c.get(key) == Some(pressed.as_str())).to_string();
    let press =
        move |_| store.choose(|c| if c.get(key) == Some(word.as_str()) { c.clear(key) } else { c.put(key, word.clone()) });
    view! {
        <button class=class type="button" aria-pressed=is_pressed on:click=press>{text}</button>
    }
    .into_any()
}

/// The one sentence.
#[component]
fn Sentence(store: Store, embed: bool) -> impl IntoView {
    let summary = Memo::new(move |_| store.results.with(|r| r.summary.clone()));
    show_in_tab(store, summary);
    move || {
        let s = summary.get();
        match store.phase.get() {
            Phase::Stuck(error) => return view! { <p class="sentence">{if error.kind == Kind::Template { "The template is wrong." } else { "Cannot query the registry." }}</p> }.into_any(),
            Phase::Blocked(_) => return view! { <p class="sentence">"This link queries a registry on a private network."</p> }.into_any(),
            Phase::Busy | Phase::Done => {}
        }
        if s.asked == 0 {
            let text =
                if store.is_busy() { format!("Reading the {} …", store.reads()) } else { "No image is left.".to_owned() };
            return view! { <p class="sentence">{text}</p> }.into_any();
        }
        let main = resolved(store, &s, embed);
        let moved = s.moved_at.filter(|_| s.waiting == 0).map(|at| {
            view! { <span title=at.to_string()>{move || format!(", pushed {} ago", age(store.screen.now.get().since(at)))}</span> }
        });
        let rest = clauses(store, &s, embed);
        view! { <p class="sentence">{main}{moved}{rest}"."</p> }.into_any()
    }
}

/// How many images are resolved, and to which hash.
fn resolved(store: Store, s: &Summary, embed: bool) -> AnyView {
    match &s.hash {
        Some(hash) => {
            let tail = if s.waiting > 0 { " so far" } else { "" };
            view! {
                <Count store=store text=format!("{} of {}", s.at_hash, s.in_channel) filter=("q", hash[..8.min(hash.len())].to_owned()) embed=embed />
                {format!(" images{tail} are at ")}
                <span class="hash" title=hash.clone()><HashFlag hash=hash.clone() />{hash[..8.min(hash.len())].to_owned()}</span>
            }
            .into_any()
        }
        None => view! {
            <Count store=store text=format!("{} of {}", s.resolved, s.asked) filter=("status", "resolved".to_owned()) embed=embed />
            {if s.waiting > 0 { " images are resolved so far" } else { " images are resolved" }}
        }
        .into_any(),
    }
}

/// What else there is to say of them, each with its number.
fn clauses(store: Store, s: &Summary, embed: bool) -> Vec<impl IntoView + use<>> {
    let verb = |n: usize, one: &'static str, many: &'static str| if n == 1 { one } else { many };
    let not_promoted = s.absent - s.no_public_repository;
    let hidden = verb(s.no_public_repository, "has no public repository", "have no public repository");
    let all = [
        (s.torn, "torn", ("q", "torn"), verb(s.torn, "is torn", "are torn")),
        (s.mismatch, "", ("q", "mismatch"), verb(s.mismatch, "is mislabelled", "are mislabelled")),
        (not_promoted, "", ("status", "absent"), verb(not_promoted, "is not promoted", "are not promoted")),
        (s.no_public_repository, "", ("status", "absent"), hidden),
        (s.unresolved, "", ("status", "unresolved"), verb(s.unresolved, "is unresolved", "are unresolved")),
        (s.error, "error", ("status", "error"), "could not be checked"),
    ];
    let rest = all.into_iter().filter(|(n, ..)| *n > 0).enumerate();
    rest.map(|(i, (n, class, (key, word), words))| {
        view! {
            {if i == 0 { ". " } else { ", " }}
            <span class="clause">
                <Count store=store text=n.to_string() class=class filter=(key, word.to_owned()) embed=embed />
                {format!(" {words}")}
            </span>
        }
    })
    .collect()
}

/// Shows the state to those who see the tab alone.
fn show_in_tab(store: Store, summary: Memo<Summary>) {
    let title = move || {
        let s = summary.get();
        let text = match (&s.hash, store.phase.get()) {
            (_, Phase::Stuck(_) | Phase::Blocked(_)) => "nothing was queried".to_owned(),
            (Some(hash), _) => format!("{} of {} images at {}", s.at_hash, s.in_channel, &hash[..8.min(hash.len())]),
            (None, _) => format!("{} of {} images", s.resolved, s.asked),
        };
        format!("{text} · overtag")
    };
    Effect::new(move |_| {
        document().set_title(&title());
        if let Some(hash) = summary.with(|s| s.hash.clone()) {
            browser::set_icon(&icon(&hash, false));
        }
    });
}

/// What the names of the YAML files begin with.
const STEM: &str = "overcloud_";

/// The files and the two links.
#[component]
fn Downloads(store: Store, loader: Loader) -> impl IntoView {
    let why = Memo::new(move |_| refusal(store, loader));
    let button = move |file: &'static Output| view! { <Download store=store loader=loader why=why file=file /> };
    let is_gated = move || why.get().is_some() || has_errors(store);
    view! {
        <section class="downloads" aria-label="Files and links">
            <div class="files">
                <div class="segments">
                    {OUTPUTS.iter().map(button).collect_view()}
                </div>
                <Show when=is_gated>
                    <Gate store=store why=why />
                </Show>
            </div>
            <Links store=store />
        </section>
    }
}

/// A button that saves a file.
#[component]
fn Download(store: Store, loader: Loader, why: Memo<Option<String>>, file: &'static Output) -> impl IntoView {
    let save = move |_| {
        if let Some(text) = content(store, loader, file) {
            browser::save(file.file_name, &text);
            store.said.set(format!("{} was written.", file.file_name));
        }
    };
    let has_plan = move || store.prepared.with(|p| matches!(&p.plan, Some(Ok(plan)) if !plan.images.is_empty()));
    let needs_answers = matches!(file.render, Render::Outcome { .. });
    let is_disabled = move || if needs_answers { why.get().is_some() } else { !has_plan() };
    // The beginning that the files have in common is not shown on a narrow page.
    let stem = file.label.strip_prefix(STEM).map(|_| view! { <span class="stem">{STEM}</span> });
    view! {
        <button
            class="button"
            data-kind=needs_answers.then_some("primary")
            type="button"
            aria-label=format!("Download {}", file.label)
            disabled=is_disabled
            aria-describedby=move || why.get().filter(|_| needs_answers).map(|_| "why")
            on:click=save
        >
            <span>{stem}{file.label.trim_start_matches(STEM)}</span>
        </button>
    }
}

/// Whether some images are in error, now that all is known.
fn has_errors(store: Store) -> bool {
    store.results.with(|r| r.summary.error > 0) && !store.is_busy()
}

/// Why the files cannot be saved, and where images are in error the leave to save them all the same.
#[component]
fn Gate(store: Store, why: Memo<Option<String>>) -> impl IntoView {
    let errors = move || has_errors(store);
    view! {
        <div class="gate">
            {move || why.get().map(|text| view! { <p class=if errors() { "why" } else { "quiet" } id="why">{text}</p> })}
            <Show when=errors>
                <label class="check">
                    <input
                        type="checkbox"
                        prop:checked=move || store.leave.partial_files.get()
                        on:change=move |e| store.leave.partial_files.set(event_target_checked(&e))
                    />
                    "Allow incomplete files"
                </label>
            </Show>
        </div>
    }
}

/// The two links.
#[component]
fn Links(store: Store) -> impl IntoView {
    // The hash, and how many images point to it and to something else.
    let hash = Memo::new(move |_| {
        store
            .results
            .with(|r| r.summary.hash.clone().map(|h| (h, r.summary.at_hash, r.summary.in_channel)))
            .filter(|_| !store.is_busy())
    });
    let differ = move || match hash.get() {
        None => "No hash is known, so the link cannot be pinned.".to_owned(),
        Some((_, at, of)) if at == of => "All images are at this hash.".to_owned(),
        Some((_, at, of)) => format!("{} of {of} images differ or are missing.", of - at),
    };
    view! {
        <div class="links">
            <button
                class="button"
                data-kind="text"
                type="button"
                on:click=move |_| {
                    let files = store.files.own.with_untracked(|f| *f != Default::default());
                    let note = if files { " It does not include your own files." } else { "" };
                    copy(store, link_of(store, None), format!("The link was copied.{note}"));
                }
            >
                "Copy link"
            </button>
            <button
                class="button"
                data-kind="text"
                type="button"
                disabled=move || hash.get().is_none()
                title=differ
                aria-describedby=move || hash.get().is_none().then_some("why-pinned")
                on:click=move |_| {
                    if let Some((h, ..)) = hash.get_untracked() {
                        copy(store, link_of(store, Some(h)), format!("The pinned link was copied. {}", differ()));
                    }
                }
            >
                "Copy pinned link"
            </button>
            {move || {
                let is_silent = hash.get().is_some() || store.is_busy();
                (!is_silent).then(|| view! { <span class="quiet" id="why-pinned">{differ}</span> })
            }}
        </div>
    }
}

/// Puts a text on the clipboard, and says so.
fn copy(store: Store, text: String, said: String) {
    wasm_bindgen_futures::spawn_local(async move {
        let is_done = browser::copy(&text).await;
        store.said.set(if is_done { said } else { format!("No clipboard access. Copy it yourself: {text}") });
    });
}

/// The link to what is chosen, at another tag where it is pinned.
fn link_of(store: Store, pinned: Option<String>) -> String {
    let mut choices = store.choices.get_untracked();
    if let Some(hash) = pinned {
        choices.put("tag", hash);
    }
    let query = link::write(&choices, store.files.own.with_untracked(|f| f.template.is_some()));
    if query.is_empty() { browser::address() } else { format!("{}?{query}", browser::address()) }
}

/// What the filters leave out, and why.
#[component]
fn NotIn(store: Store) -> impl IntoView {
    let out = Memo::new(move |_| {
        store.prepared.with(|p| match &p.plan {
            Some(Ok(plan)) => plan.out.clone(),
            _ => Vec::new(),
        })
    });
    let short = |name: &str| name.rsplit('/').next().unwrap_or(name).split(':').next().unwrap_or(name).to_owned();
    let summary = move || {
        out.with(|o| {
            let names: Vec<String> = o.iter().take(3).map(|o| short(&o.imagename)).collect();
            names.join(", ") + if o.len() > 3 { " …" } else { "" }
        })
    };
    let items = move || {
        let item = |o: crate::engine::template::plan::Out| view! { <li title=o.imagename.clone()>{short(&o.imagename)} " " <span class="quiet">{o.why}</span></li> };
        out.get().into_iter().map(item).collect_view()
    };
    view! {
        <Show when=move || out.with(|o| !o.is_empty())>
            <details class="fold">
                <summary><h2>{move || format!("Filtered out ({})", out.with(Vec::len))}</h2><span class="gist">{summary}</span></summary>
                <ul class="notin">{items}</ul>
            </details>
        </Show>
    }
}

/// A file as it would be written.
#[component]
fn Preview(store: Store, loader: Loader, file: &'static Output) -> impl IntoView {
    let open = RwSignal::new(false);
    let text = Memo::new(move |_| {
        if !open.get() || store.is_busy() {
            return String::new();
        }
        store.results.track();
        store.choices.track();
        store.prepared.track();
        content(store, loader, file).unwrap_or_default()
    });
    let summary = move || {
        text.with(|t| {
            if t.is_empty() { String::new() } else { format!("{} lines, {:.1} kB", t.lines().count(), t.len() as f64 / 1000.0) }
        })
    };
    let lines = move || {
        let line = |l: &str| {
            let class = if l.starts_with('#') { "line comment" } else { "line" };
            view! { <span class=class>{format!("{l}\n")}</span> }
        };
        text.with(|t| t.lines().map(line).collect_view())
    };
    let toggled = move |e: leptos::ev::Event| open.set(event_target::<web_sys::Element>(&e).has_attribute("open"));
    view! {
        <details class="preview fold" on:toggle=toggled>
            <summary><h2>{file.file_name}</h2><span class="gist">{summary}</span></summary>
            <Show when=move || open.get()>
                <div>
                    <button
                        class="button"
                        type="button"
                        on:click=move |_| {
                            let text = text.get_untracked();
                            wasm_bindgen_futures::spawn_local(async move {
                                let is_done = browser::copy(&text).await;
                                store.said.set(if is_done { format!("{} was copied.", file.file_name) } else { "No clipboard access. Download the file instead.".to_owned() });
                            });
                        }
                    >
                        "Copy" <span class="vh">{format!(" {}", file.file_name)}</span>
                    </button>
                </div>
                <pre class="code" tabindex="0" role="region" aria-label=format!("Preview of {}", file.file_name)><code>{lines}</code></pre>
            </Show>
        </details>
    }
}

/// The demo says how to point it at something real.
#[component]
fn Greeting(store: Store) -> impl IntoView {
    let is_demo = move || store.value("release").get() == "demo" && store.phase.get() == Phase::Done;
    view! {
        <Show when=is_demo>
            <p class="quiet">"This is a made-up release to try the page. For a real one, choose its release, and its registry under Namespace."</p>
        </Show>
    }
}

/// The images of a plan, and the files that are made of them.
pub const PAGE: Page = Page {
    view: View::Prepare,
    name: "Images",
    title: "Images of",
    tags: |store| store.value("tag").get(),
    fields: |store| view! { <Text store=store key="tag" label="Tag" list="channels" /> }.into_any(),
    steps: steps_of_table,
    has_status: true,
    body: |store, loader, embed| view! { <Results store=store loader=loader embed=embed /> }.into_any(),
};

/// All results.
#[component]
fn Results(
    /// The state.
    store: Store,
    /// What feeds it.
    loader: Loader,
    /// Whether only the sentence and the table are shown.
    embed: bool,
) -> impl IntoView {
    let has_rows = move || store.results.with(|r| !r.rows.is_empty());
    if embed {
        return view! {
            <div class="results">
                <Sentence store=store embed=true />
                <Progress store=store loader=loader embed=true />
                <Show when=has_rows><Images store=store loader=loader embed=true /></Show>
            </div>
        }
        .into_any();
    }
    let is_empty = move || !has_rows() && store.phase.get() == Phase::Done;
    view! {
        <div class="results">
            <Sentence store=store embed=false />
            <Progress store=store loader=loader embed=false />
            <Greeting store=store />
            <Errors store=store />
            <Diagnosis store=store />
            <Logins store=store loader=loader />
            <Source store=store />
            <Warnings store=store loader=loader />
            <Downloads store=store loader=loader />
            <Show when=is_empty>
                <div class="empty">
                    <p>"The filters exclude every image."</p>
                    <button class="button" type="button" on:click=move |_| store.clear_filters()>"Clear the filters"</button>
                </div>
            </Show>
            <Show when=has_rows>
                <Toolbar store=store />
                <Images store=store loader=loader embed=false />
            </Show>
            <Changes store=store loader=loader />
            <NotIn store=store />
            <Show when=has_rows>
                {OUTPUTS.iter().map(|file| view! { <Preview store=store loader=loader file=file /> }).collect_view()}
            </Show>
        </div>
    }
    .into_any()
}
