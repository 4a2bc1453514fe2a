//! What differs between two channels, hashes, snapshots or files: image by image, and as the files would.

use std::sync::Arc;

use leptos::prelude::*;

use super::{Page, steps_of_table};
use crate::app::browser;
use crate::app::driver::Loader;
use crate::app::parts::access::{Diagnosis, Logins, Source, Unread};
use crate::app::parts::hash_flag::icon;
use crate::app::parts::images::{Hash, Search};
use crate::app::parts::messages::{Errors, Progress, Warnings};
use crate::app::parts::options::{Text, ends};
use crate::app::state::{Phase, Store};
use crate::app::ui::Field;
use crate::engine::options::definitions::list;
use crate::engine::options::settings::View;
use crate::engine::output::compare::{Change, Entry, Side, WORDS, compare, counts, diffs};
use crate::engine::output::images;
use crate::engine::wording::short;

/// Rows that are shown at most; search finds the others.
const ROWS: usize = 500;
/// Lines of a difference that are shown at most.
const LINES: usize = 4000;

/// Two files are picked here, or dropped.
#[component]
fn Pair(store: Store) -> impl IntoView {
    let field = move |at: usize, label: &'static str| {
        let picked = move |e| store.pick(&e, move |source| store.comparison.pair.update(|p| p[at] = Some(source)));
        let held = move || {
            store.comparison.pair.with(|p| p[at].as_ref().map(|s| s.name.clone())).map(|name| {
                view! {
                    <span class="mono">{name.clone()}</span>
                    <button class="icon" type="button" aria-label=format!("Remove {name}") on:click=move |_| store.comparison.pair.update(|p| p[at] = None)>"×"</button>
                }
            })
        };
        view! { <label class="field" data-wide=""><span>{label}</span><input class="input" type="file" on:change=picked /></label> <p class="held">{held}</p> }
    };
    view! {
        <details class="fold">
            <summary><h2>"Compare two files"</h2><span class="gist">"overcloud_containers.yaml or overcloud_images.yaml"</span></summary>
            <div class="pair">{field(0, "From file")}{field(1, "To file")}</div>
        </details>
    }
}

/// What differs between two channels, snapshots or files.
pub const PAGE: Page = Page {
    view: View::Compare,
    name: "Compare",
    title: "Comparison in",
    tags: |store| ends(&store.value("channels").get()).join(" → "),
    fields: |store| view! { <Fields store=store /> }.into_any(),
    steps: steps_of_table,
    // It has no rows of that kind.
    has_status: false,
    body: |store, loader, embed| view! { <Compare store=store loader=loader embed=embed /> }.into_any(),
};

/// What is compared: the first two channels, or one tag of two snapshots.
#[component]
fn Fields(store: Store) -> impl IntoView {
    let end = move |at: usize| Signal::derive(move || ends(&store.value("channels").get())[at].clone());
    let put_end = move |at: usize| {
        Callback::new(move |text: String| {
            let channels = store.value("channels").get_untracked();
            let mut both = ends(&channels);
            both[at] = text;
            // A board's other channels are not lost by it.
            let all = store.choices.with_untracked(|c| store.channels_before(c)).unwrap_or(channels);
            let rest: Vec<String> = list(&all).filter(|c| !both.iter().any(|b| b == c)).map(str::to_owned).collect();
            let channels = [&both[..], &rest].concat().join(",");
            store.comparison.channels.update_value(|c| c.push((channels.clone(), all)));
            store.put("channels", channels, true);
        })
    };
    view! {
        <Field label="From" value=end(0) on_input=put_end(0) list="channels" wrong=store.wrong("channels") />
        <Field label="To" value=end(1) on_input=put_end(1) list="channels" />
        <Text store=store key="tag" label="Tag, of two snapshots" list="channels" wide=true />
    }
}

/// The comparison.
#[component]
fn Compare(
    /// The state.
    store: Store,
    /// What feeds it.
    loader: Loader,
    /// Whether nothing can be pressed.
    embed: bool,
) -> impl IntoView {
    let changes = Memo::new(move |_| store.comparison.sides.get().map(|sides| (sides.clone(), compare(&sides[0], &sides[1]))));
    let said = move || match (store.phase.get(), changes.get()) {
        (Phase::Stuck(_), _) => "Cannot compare the two sides.".to_owned(),
        (Phase::Blocked(_), _) => "This link queries a registry on a private network.".to_owned(),
        (Phase::Done, Some((sides, changes))) => reported(&sides, &changes),
        _ => "Querying both sides …".to_owned(),
    };
    Effect::new(move |_| document().set_title(&format!("{} · overtag", said().trim_end_matches('.'))));
    Effect::new(move |_| {
        if let Some(hash) = changes.with(|c| c.as_ref()?.0[1].hash.clone()) {
            browser::set_icon(&icon(&hash, false));
        }
    });
    let is_known = move || store.phase.get() == Phase::Done && changes.with(Option::is_some);
    view! {
        <div class="results">
            <p class="sentence">{said}</p>
            <Progress store=store loader=loader embed=embed />
            <Errors store=store />
            <Show when=move || !embed>
                <Diagnosis store=store />
                <Logins store=store loader=loader />
            </Show>
            <Source store=store />
            <Unread store=store />
            <Warnings store=store loader=loader />
            <Show when=move || !embed><Pair store=store /></Show>
            <Show when=is_known>
                {move || changes.get().map(|(sides, changes)| view! { <Differences store=store sides=sides changes=changes embed=embed /> })}
            </Show>
        </div>
    }
}

/// The comparison in one sentence.
fn reported(sides: &[Side; 2], changes: &[(String, Change)]) -> String {
    let parts: Vec<String> = counts(changes)
        .into_iter()
        .zip(WORDS)
        .filter(|(n, word)| *n > 0 && *word != "unchanged")
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    let message = if parts.is_empty() { "no change in any".to_owned() } else { parts.join(", ") };
    format!("From {} to {}: {message} of {}.", name(&sides[0].name), name(&sides[1].name), images(changes.len()))
}

/// A long hash in a sentence is its first digits.
fn name(text: &str) -> String {
    if crate::engine::image::tag::TagClass::of(text).is_hash() { short(text).to_owned() } else { text.to_owned() }
}

/// What differs, image by image, and as the files would.
#[component]
fn Differences(store: Store, sides: Arc<[Side; 2]>, changes: Vec<(String, Change)>, embed: bool) -> impl IntoView {
    let counted = counts(&changes);
    let filter = RwSignal::new(None::<&'static str>);
    let all = StoredValue::new(changes);
    let query = Signal::derive(move || store.choices.with(|c| c.get("q").unwrap_or("").to_owned()));
    let rows = move || {
        let (filter, query) = (filter.get(), query.get().to_lowercase());
        all.with_value(|all| {
            // What did not change is only shown when it is asked for.
            let is_in =
                |c: &&(String, Change)| filter.map_or(c.1.word() != "unchanged" || !query.is_empty(), |f| c.1.word() == f);
            let is_found = |c: &&(String, Change)| query.is_empty() || c.0.to_lowercase().contains(&query);
            all.iter().filter(is_in).filter(is_found).cloned().collect::<Vec<_>>()
        })
    };
    let files = diffs(&sides[0], &sides[1]);
    let kinds =
        if files.is_empty() { "The two files are of different kinds: one lists images, the other parameters." } else { "" };
    let (from, to) = (name(&sides[0].name), name(&sides[1].name));
    view! {
        <p class="quiet">{sides.each_ref().map(|side| repository(store, side))}</p>
        <Show when=move || !embed>
            <Filters store=store counted=counted filter=filter />
        </Show>
        <div class="scroll whole" tabindex="0" role="region" aria-label="Changes of images">
            <table class="listing" aria-label="Changes">
                <thead><tr><th scope="col">"Image"</th><th scope="col">"Change"</th><th scope="col">{from}</th><th scope="col">{to}</th></tr></thead>
                <tbody>{move || rows().into_iter().take(ROWS).map(row).collect_view()}</tbody>
            </table>
        </div>
        {move || Some(rows().len()).filter(|n| *n > ROWS).map(|n| view! { <p class="quiet">{format!("Showing the first {ROWS} of {n}; search to find the others.")}</p> })}
        <p class="quiet">{kinds}</p>
        {sides.each_ref().map(unasked)}
        {files.into_iter().map(|(file, text)| view! { <Diff file=file text=text /> }).collect_view()}
    }
}

/// Search, and a button for each kind of change that there is.
#[component]
fn Filters(store: Store, counted: [usize; WORDS.len()], filter: RwSignal<Option<&'static str>>) -> impl IntoView {
    let toggle = move |(n, word): (usize, &'static str)| {
        let press = move |_| filter.update(|f| *f = if *f == Some(word) { None } else { Some(word) });
        view! {
            <button class="toggle" type="button" aria-pressed=move || (filter.get() == Some(word)).to_string() on:click=press>
                {word} <span class="count">{n}</span>
            </button>
        }
    };
    let shown = counted.into_iter().zip(WORDS).filter(|(n, _)| *n > 0);
    view! {
        <div class="toolbar">
            <Search store=store placeholder="Name" />
            <div class="toggles" role="group" aria-label="Changes">{shown.map(toggle).collect_view()}</div>
        </div>
    }
}

/// What became of an image.
fn row((key, change): (String, Change)) -> impl IntoView {
    let hash = |text: String| view! { <Hash text=text /> };
    let word = change.word();
    let (from, to) = match change {
        Change::Added(to) => (None, Some(to)),
        Change::Removed(from) => (Some(from), None),
        Change::Moved(from, to) => (Some(from), Some(to)),
        Change::Unchanged(is) => (is.clone(), is),
        Change::Unknown(_) => (None, None),
    };
    let path = key.rsplit('/').next().unwrap_or(&key).to_owned();
    view! { <tr data-change=word><th scope="row" title=key>{path}</th><td>{word}</td><td>{from.map(hash)}</td><td>{to.map(hash)}</td></tr> }
}

/// Reports images of a side that could not be checked. The files leave them out, which does not mean that they were removed.
fn unasked(side: &Side) -> Option<impl IntoView + use<>> {
    let n = side.entries.values().filter(|e| matches!(e, Entry::Unknown(_))).count();
    (n > 0).then(|| {
        let text = format!(
            "{} of {} could not be checked, and {} not in its files below.",
            images(n),
            name(&side.name),
            if n == 1 { "is" } else { "are" }
        );
        view! { <div class="notice" data-kind="warning"><p>{text}</p></div> }
    })
}

/// A link to the repository of a side's hash.
fn repository(store: Store, side: &Side) -> Option<impl IntoView + use<>> {
    let url = side.hash.as_ref().and_then(|hash| store.results.with(|r| r.pipeline.repository(&side.tag, hash)));
    url.map(|url| view! { <a href=url target="_blank" rel="noopener">{format!("Repository of {}", name(&side.name))}</a> " " })
}

/// How two files differ, line by line.
#[component]
fn Diff(file: &'static str, text: String) -> impl IntoView {
    let line = |l: &str| {
        let class = match l.as_bytes().first() {
            Some(b'+') => "line plus",
            Some(b'-') => "line minus",
            Some(b'@') => "line comment",
            _ => "line",
        };
        view! { <span class=class>{format!("{l}\n")}</span> }
    };
    let code = |text: String| view! { <pre class="code" tabindex="0" role="region" aria-label=format!("Difference of {file}")><code>{text.lines().take(LINES).map(line).collect_view()}</code></pre> };
    let body = match text.is_empty() {
        true => view! { <p class="quiet">"They are the same."</p> }.into_any(),
        false if text.lines().count() > LINES => {
            view! { <p class="quiet">{format!("Showing the first {LINES} of {} lines.", text.lines().count())}</p> {code(text)} }
                .into_any()
        }
        false => code(text).into_any(),
    };
    view! { <details class="preview fold"><summary><h2>{format!("Difference of {file}")}</h2></summary>{body}</details> }
}
