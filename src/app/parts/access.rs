//! What stands between the page and a registry, and what helps: the doctor's advice, logins, snapshots and how old they are.

use leptos::prelude::*;

use crate::app::browser;
use crate::app::driver::Loader;
use crate::app::parts::images::Hash;
use crate::app::state::{Phase, Store};
use crate::engine::options::link;
use crate::engine::options::settings::View;
use crate::engine::output::images;
use crate::engine::registry::auth::Login;
use crate::engine::registry::{Dialect, Remedy};
use crate::engine::session::LoginState;
use crate::engine::session::diagnosis::Cause;
use crate::engine::snapshot::{Change, Snapshot};
use crate::engine::time::age;
use crate::net::web::clock;

/// Lines to copy, under a title.
#[component]
pub fn Lines(
    /// The state.
    store: Store,
    /// What they are.
    title: String,
    /// The lines.
    lines: String,
) -> impl IntoView {
    let (text, named) = (lines.clone(), title.clone());
    let copy = move |_| {
        let (text, title) = (text.clone(), named.clone());
        wasm_bindgen_futures::spawn_local(async move {
            let is_done = browser::copy(&text).await;
            let said =
                if is_done { format!("Copied: {title}.") } else { "No clipboard access. Select and copy the lines.".to_owned() };
            store.said.set(said);
        });
    };
    view! {
        <div class="lines">
            <h3>{title.clone()}</h3>
            <button class="button" type="button" on:click=copy>"Copy" <span class="vh">{format!(" {title}")}</span></button>
            <pre class="code" tabindex="0" role="region" aria-label=title><code>{lines}</code></pre>
        </div>
    }
}

/// The command lines that do the same without a browser.
fn commands(store: Store) -> String {
    let files = store.files.own.get();
    let choices = store.choices.get();
    let query = link::write(&choices, files.template.is_some());
    let wants_login = store.results.with(|r| !r.locked.is_empty()) || store.leave.logins.with(|l| *l != Default::default());
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let mut own = String::new();
    for (flag, source) in [("--template-file", &files.template), ("--roles-file", &files.roles)] {
        if let Some(source) = source {
            own.push_str(&format!(" {flag} {}", quoted(&source.name)));
        }
    }
    for source in &files.environments {
        own.push_str(&format!(" -e {}", quoted(&source.name)));
    }
    let mut login = "";
    if wants_login {
        own.push_str(" --authfile auth.json");
        login = "# auth.json is what podman login --authfile auth.json writes\n";
    }
    let link = quoted(&format!("{}?{query}", browser::address()));
    if store.prepared.with(|p| p.settings.view == View::Board) {
        return format!(
            "{login}# the board\novertag board --link {link}{own}\n# or a snapshot, to be dropped on this page\novertag snapshot --link {link}{own} \\\n  --output snapshot.json\n"
        );
    }
    format!(
        "{login}# the files\novertag prepare --link {link}{own} \\\n  --output-images-file overcloud_containers.yaml --output-env-file overcloud_images.yaml\n\
         # or a snapshot, to be dropped on this page\novertag snapshot --link {link}{own} \\\n  --output snapshot.json\n"
    )
}

/// For each registry that this page cannot read what its owner can set, and how to do without a browser.
#[component]
pub fn Diagnosis(
    /// The state.
    store: Store,
) -> impl IntoView {
    let unreadable = Memo::new(move |_| store.results.with(|r| r.unreadable.clone()));
    let of = move |(host, cause, api): (String, Cause, Dialect)| {
        let remedies = cause.remedies(&browser::origin(), api);
        (!remedies.is_empty()).then(|| {
            let lines = |r: Remedy| view! { <Lines store=store title=r.title lines=r.lines /> };
            view! {
                <h2>{format!("What the owner of {host} can set")}</h2>
                {remedies.into_iter().map(lines).collect_view()}
            }
        })
    };
    move || {
        let all = unreadable.get();
        (!store.is_busy() && !all.is_empty()).then(|| {
            view! {
                <section class="doctor" aria-label="What helps">
                    <h2>"The same without a browser"</h2>
                    <Lines store=store title="Commands".to_owned() lines=commands(store) />
                    {all.into_iter().map(of).collect_view()}
                </section>
            }
        })
    }
}

/// Asks for a login where a registry wants one.
#[component]
pub fn Logins(
    /// The state.
    store: Store,
    /// Who asks again with it.
    loader: Loader,
) -> impl IntoView {
    // It stays while it is tried, so that what is typed and the focus stay too.
    let locked = Memo::new(move |before: Option<&Vec<(String, LoginState)>>| {
        let now = store.results.with(|r| r.locked.clone());
        if store.is_busy() && now.is_empty() { before.cloned().unwrap_or_default() } else { now }
    });
    let form = move |(host, locked): (String, LoginState)| {
        let (user, password) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
        let to = host.clone();
        // A login for https is never sent over http; one that is typed here for http is.
        let is_plain =
            store.prepared.with_untracked(|p| p.settings.endpoints.values().any(|url| *url == format!("http://{host}")));
        let submit = move |e: leptos::ev::SubmitEvent| {
            e.prevent_default();
            let login = Login::new(user.get_untracked(), password.get_untracked());
            store.leave.logins.update(|l| if is_plain { l.put_plain(&to, login) } else { l.put(&to, login) });
            password.set(String::new());
            loader.retry();
        };
        let message = match locked {
            LoginState::Needed => format!("{host} requires a login for some images, or does not have them."),
            LoginState::Refused => format!("{host} refuses this login for some images."),
        };
        view! {
            <form class="login" aria-label=format!("Log in to {host}") autocomplete="off" on:submit=submit>
                <p>{message}</p>
                {is_plain.then(|| view! { <p>{format!("The connection to http://{host} is not encrypted: anyone on the network path can read what you type.")}</p> })}
                <label class="field">
                    <span>"User"</span>
                    // Not a login of this page's own origin: browsers fill those in by themselves, and a link may name any registry.
                    <input class="input" autocomplete="off" name="registry-user" prop:value=user on:input=move |e| user.set(event_target_value(&e)) />
                </label>
                <label class="field">
                    <span>"Password"</span>
                    <input
                        class="input"
                        type="password"
                        autocomplete="new-password"
                        name="registry-password"
                        prop:value=password
                        on:input=move |e| password.set(event_target_value(&e))
                    />
                </label>
                <button class="button" type="submit" disabled=move || user.with(String::is_empty) || store.is_busy()>{format!("Log in to {host}")}</button>
                <p class="quiet">"This page keeps the login in memory until you close it, and sends it only to this registry and its token service. It is never in a link or file."</p>
            </form>
        }
    };
    move || locked.get().into_iter().map(form).collect_view()
}

/// Says that a snapshot is read, of when, and whether that is too long ago.
#[component]
pub fn Source(
    /// The state.
    store: Store,
) -> impl IntoView {
    move || {
        let Some(Ok(snapshot)) = store.snapshot.get() else { return None };
        let now = store.screen.now.get();
        let (kind, text) = match snapshot.ahead_of(now).or(snapshot.staleness(now)) {
            Some(stale) => (Some("warning"), stale),
            None => {
                let (at, ago) = (snapshot.fetched().to_string(), age(now.since(snapshot.fetched())));
                (None, format!("Read from a snapshot of {at}, {ago} ago; no registry was queried"))
            }
        };
        let incomplete = (snapshot.incomplete > 0)
            .then(|| format!(" It is incomplete: {} could not be checked.", images(snapshot.incomplete)));
        let is_own = store.files.own.with(|f| f.snapshot.is_some());
        let error = store
            .files
            .snapshot_trouble
            .get()
            .filter(|_| !is_own)
            .map(|e| format!(" It could not be read again, so the previous one is shown: {}.", e.message));
        let kind = if error.is_some() { Some("warning") } else { kind };
        Some(view! { <div class="notice" data-kind=kind><p>{text} "." {incomplete} {error}</p></div> })
    }
}

/// What of the pipeline could not be read, and why.
#[component]
pub fn Unread(
    /// The state.
    store: Store,
) -> impl IntoView {
    let failures = Memo::new(move |_| store.results.with(|r| r.pipeline.failures.clone()));
    let notices = Memo::new(move |_| store.results.with(|r| r.pipeline.notices.clone()));
    move || {
        let error = |(url, why): (String, String)| view! { <div class="notice" data-kind="warning"><p>{format!("{why}. ")}<code>{url}</code>" The board ignores it. To read it without a browser, run overtag board."</p></div> };
        let notice = |text: String| view! { <div class="notice" data-kind="warning"><p>{text}</p></div> };
        view! { {notices.get().into_iter().map(notice).collect_view()} {failures.get().into_iter().map(error).collect_view()} }
    }
}

/// What moved since an earlier snapshot.
#[component]
pub fn Changes(
    /// The state.
    store: Store,
    /// Who knows what the registries say.
    loader: Loader,
) -> impl IntoView {
    let compared = Memo::new(move |_| {
        let (name, Ok(older)) = store.comparison.older.get()? else { return None };
        if store.phase.get() != Phase::Done {
            return None;
        }
        store.results.track();
        let newer = match store.snapshot.get() {
            Some(Ok(snapshot)) => snapshot,
            _ => loader.with_run(|run| {
                Snapshot::new(run.facts(), &run.summarize().0, String::new(), clock(), run.plain_hosts()).into()
            })?,
        };
        let (changes, unchanged) = newer.compare(&older);
        Some((name, older.fetched(), changes, unchanged))
    });
    let row = |(name, change): (String, Change)| {
        let (path, tag) = name.rsplit_once(':').unwrap_or((&name, ""));
        let short = path.rsplit('/').next().unwrap_or(path).to_owned();
        let hash = |text: Option<String>| text.map(|text| view! { <Hash text=text /> });
        let (word, from, to) = match change {
            Change::Added(to) => ("added", None, Some(to)),
            Change::Removed(from) => ("removed", Some(from), None),
            Change::Moved(from, to) => ("moved", Some(from), Some(to)),
            Change::Unknown => ("unknown", None, None),
        };
        view! {
            <tr>
                <th scope="row" title=name.clone()>{short} " " <span class="quiet">{tag.to_owned()}</span></th>
                <td>{word}</td>
                <td>{hash(from)}</td>
                <td>{hash(to)}</td>
            </tr>
        }
    };
    move || {
        let (name, at, changes, unchanged) = compared.get()?;
        let title = format!("Since {name} of {at}: {} changed, {unchanged} unchanged", changes.len());
        Some(view! {
            <section class="changes" aria-label="Changes">
                <h2>{title}</h2>
                <table class="listing" aria-label="Changes">
                    <thead><tr><th scope="col">"Image"</th><th scope="col">"Change"</th><th scope="col">"From"</th><th scope="col">"To"</th></tr></thead>
                    <tbody>{changes.into_iter().map(row).collect_view()}</tbody>
                </table>
            </section>
        })
    }
}
