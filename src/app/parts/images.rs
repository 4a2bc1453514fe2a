//! The table of images: search, order, filter, and rows that open to show all they rest on.

use leptos::prelude::*;

use crate::app::driver::Loader;
use crate::app::parts::hash_flag::{HashFlag, digits};
use crate::app::state::Store;
use crate::engine::board::Known;
use crate::engine::image::digest::Digest;
use crate::engine::image::tag::TagClass;
use crate::engine::options::definitions::list;
use crate::engine::options::settings::{NOTES, STATUS};
use crate::engine::registry::http::Failure;
use crate::engine::resolve::{Absence, Row, Status};
use crate::engine::time::{Timestamp, age};
use crate::net::web::clock;

/// The status word of a row; `waiting` while nothing is known.
fn word(row: Option<&Row>) -> &'static str {
    row.map_or("waiting", |r| r.status.word())
}

/// The images that pass search and filter, in the order that was chosen.
fn shown(store: Store) -> Vec<usize> {
    let (query, wanted, sort) = store.choices.with(|c| {
        (
            c.get("q").unwrap_or("").trim().to_lowercase(),
            c.get("status").unwrap_or("").to_owned(),
            c.get("sort").unwrap_or("").to_owned(),
        )
    });
    let wanted: Vec<&str> = list(&wanted).filter(|w| STATUS.contains(w) || NOTES.contains(w)).collect();
    let busy = store.is_busy();
    store.results.with(|results| {
        let names: Vec<(String, String)> = (0..results.rows.len()).map(|i| store.name(i).unwrap_or_default()).collect();
        let row = |i: usize| results.rows[i].as_deref();
        let mut order: Vec<usize> = (0..results.rows.len())
            .filter(|i| {
                let is_noted = |r: &Row| r.notes.iter().any(|n| wanted.contains(&n.word()));
                wanted.is_empty() || wanted.contains(&word(row(*i))) || row(*i).is_some_and(is_noted)
            })
            .filter(|i| {
                let in_row = |r: &Row| {
                    r.tag.to_lowercase().contains(&query)
                        || r.pinned_by.word() == query
                        || r.status.word().contains(&query)
                        || r.notes.iter().any(|n| n.word().contains(&query))
                        || r.digest.as_ref().is_some_and(|d| d.contains(&query))
                };
                query.is_empty() || names[*i].1.to_lowercase().contains(&query) || row(*i).is_some_and(in_row)
            })
            .collect();
        let (column, descending) = sort.strip_prefix('-').map_or((sort.as_str(), false), |c| (c, true));
        match column {
            "image" => order.sort_by(|a, b| names[*a].0.cmp(&names[*b].0)),
            // While answers stream in the order would change under the reader's eyes.
            "tag" if !busy => order.sort_by_key(|i| row(*i).map(|r| r.tag.clone())),
            "status" if !busy => order.sort_by_key(|i| std::cmp::Reverse(row(*i).map(|r| (r.status, r.notes.len())))),
            _ => return order,
        }
        if descending {
            order.reverse();
        }
        order
    })
}

/// The search field of a table.
#[component]
pub fn Search(
    /// The state.
    store: Store,
    /// What can be searched for.
    placeholder: &'static str,
) -> impl IntoView {
    let typed = move |e| {
        let text = event_target_value(&e);
        store.type_in("q", move |c| if text.is_empty() { c.clear("q") } else { c.put("q", text) });
    };
    let query = move || store.choices.with(|c| c.get("q").unwrap_or("").to_owned());
    view! {
        <label class="find">
            "Search " <input class="input" type="search" placeholder=placeholder prop:value=query on:input=typed />
        </label>
    }
}

/// Search and status filter.
#[component]
pub fn Toolbar(
    /// The state.
    store: Store,
) -> impl IntoView {
    let query = Signal::derive(move || store.choices.with(|c| c.get("q").unwrap_or("").to_owned()));
    let pressed = move |word: &str| store.choices.with(|c| list(c.get("status").unwrap_or("")).any(|w| w == word));
    let count = move |word: &'static str| {
        store.results.with(|r| {
            let s = &r.summary;
            match word {
                "resolved" => s.resolved,
                "absent" => s.absent,
                "unresolved" => s.unresolved,
                "error" => s.error,
                _ => s.torn,
            }
        })
    };
    let button = move |word: &'static str| {
        let is_shown = move || count(word) > 0 || pressed(word) || word == "resolved";
        view! {
            <Show when=is_shown>
                <button class="toggle" type="button" aria-pressed=move || pressed(word).to_string() on:click=move |_| store.toggle_status(word)>
                    <span class="status" data-status=word>{word}</span>
                    <span class="count">{move || count(word)}</span>
                </button>
            </Show>
        }
    };
    let is_torn = move || query.get() == "torn";
    view! {
        <div class="toolbar">
            <Search store=store placeholder="Name, tag or status" />
            <div class="toggles" role="group" aria-label="Status">
                {STATUS.map(button)}
                <Show when=move || { count("torn") > 0 || is_torn() }>
                    <button
                        class="toggle"
                        type="button"
                        aria-pressed=move || is_torn().to_string()
                        on:click=move |_| toggle_query(store, "torn")
                    >
                        <span class="status" data-status="torn">"torn"</span>
                        <span class="count">{move || count("torn")}</span>
                    </button>
                </Show>
            </div>
        </div>
    }
}

/// Searches for `word`, or for nothing where that is searched already.
pub fn toggle_query(store: Store, word: &str) {
    store.choose(move |c| if c.get("q") == Some(word) { c.clear("q") } else { c.put("q", word) });
}

/// The table.
#[component]
pub fn Images(
    /// The state.
    store: Store,
    /// Who knows what was sent.
    loader: Loader,
    /// Whether what is wrong comes first, without controls.
    embed: bool,
) -> impl IntoView {
    let order = Memo::new(move |_| {
        let mut order = shown(store);
        if embed {
            // On a wall what is wrong comes first.
            store.results.with(|r| {
                order.sort_by_key(|i| r.rows[*i].as_ref().is_some_and(|r| r.status == Status::Resolved && r.notes.is_empty()));
            });
        }
        order
    });
    let head = move |class: &'static str, column: &'static str, label: &'static str| {
        let inner = if embed || column.is_empty() {
            view! { <span class="sort">{label}</span> }.into_any()
        } else {
            view! { <button class="sort" type="button" on:click=move |_| store.sort(column)>{label}</button> }.into_any()
        };
        view! { <th class=class role="columnheader" scope="col" aria-sort=move || store.sorted(column)>{inner}</th> }
    };
    // A new plan has other images at the same places, so its rows are other rows.
    let generation = Memo::new(move |before: Option<&(u64, Vec<String>)>| {
        let names = store.prepared.with(|p| match &p.plan {
            Some(Ok(plan)) => plan.images.iter().map(|i| i.imagename.clone()).collect(),
            _ => Vec::new(),
        });
        match before {
            Some((n, old)) if *old == names => (*n, names),
            Some((n, _)) => (n + 1, names),
            None => (0, names),
        }
    });
    let keyed = move || {
        let generation = generation.with(|g| g.0);
        order.get().into_iter().map(|i| (generation, i)).collect::<Vec<_>>()
    };
    view! {
        <div class="images-box">
            <table class="images" role="table" aria-label="Images">
                <thead role="rowgroup">
                    <tr role="row">
                        {head("col-image", "image", "Image")}
                        {head("col-tag", "tag", "Tag")}
                        {head("col-pinned", "", "Pinned by")}
                        {head("col-status", "status", "Status")}
                    </tr>
                </thead>
                <tbody role="rowgroup">
                    <For each=keyed key=|k| *k children=move |(_, i)| view! { <Line store=store loader=loader i=i embed=embed /> } />
                </tbody>
            </table>
        </div>
        <Show when=move || order.with(Vec::is_empty) && !embed && store.results.with(|r| !r.rows.is_empty())>
            <div class="empty">
                <p>"No row matches the search and the status filter."</p>
                <button
                    class="button"
                    type="button"
                    on:click=move |_| store.choose(|c| {
                        c.clear("q");
                        c.clear("status");
                    })
                >
                    "Show all rows"
                </button>
            </div>
        </Show>
    }
}

/// One image, and below it, when it is open, what it rests on.
#[component]
fn Line(store: Store, loader: Loader, i: usize, embed: bool) -> impl IntoView {
    let row = Memo::new(move |_| store.results.with(|r| r.rows.get(i).cloned().flatten()));
    let (short, whole) = store.name(i).unwrap_or_default();
    let path = whole.rsplit_once(':').filter(|(_, t)| !t.contains('/')).map_or(whole.as_str(), |(p, _)| p);
    let path = path.split('@').next().unwrap_or(path).to_owned();
    let open = RwSignal::new(false);
    let detail = format!("detail-{i}");
    let status = move || row.with(|r| word(r.as_deref()));
    let notes = move || row.with(|r| r.as_ref().map_or(Vec::new(), |r| r.notes.iter().map(|n| n.word()).collect()));
    let noted = move || Some(notes().join(" ")).filter(|n| !n.is_empty());
    let tag = move || {
        row.with(|r| {
            let r = r.as_ref()?;
            Some(match r.status {
                Status::Resolved => view! { <Hash text=r.tag.clone() /> }.into_any(),
                status => {
                    let text = match status {
                        Status::Absent => match r.absence {
                            Some(Absence::NoRepository) => "no such repository".to_owned(),
                            Some(Absence::NoPublicRepository) => "no public repository (missing or private)".to_owned(),
                            Some(Absence::NoTag) | None => format!("no tag {}", r.tag),
                        },
                        _ => r.reason.clone(),
                    };
                    view! { <span class="reason" title=format!("{}: {}", r.tag, r.reason)>{text}</span> }.into_any()
                }
            })
        })
    };
    let name = if embed {
        short.clone().into_any()
    } else {
        view! {
            <button
                class="disclose"
                type="button"
                aria-expanded=move || open.get().to_string()
                aria-controls=detail.clone()
                on:click=move |_| open.update(|o| *o = !*o)
            >
                {short.clone()}
            </button>
        }
        .into_any()
    };
    let id = detail.clone();
    view! {
        <tr class="row" role="row" data-status=status data-note=noted>
            <th class="image" role="rowheader" scope="row">{name} " " <span class="path">{path.clone()}</span></th>
            <td class="tag" role="cell">{tag}</td>
            <td class="pinned" role="cell">{move || row.with(|r| r.as_ref().map_or("", |r| r.pinned_by.word()))}</td>
            <td class="state" role="cell">
                <span class="status" data-status=status>{status}</span>
                {move || notes().into_iter().map(|n| view! { " " <span class="chip" data-note=n>{n}</span> }).collect_view()}
            </td>
        </tr>
        <Show when=move || open.get()>
            <tr class="detail" role="row" id=id.clone()>
                <td role="cell" colspan="4">
                    {move || view! { <Detail store=store loader=loader i=i row=row.get() /> }}
                </td>
            </tr>
        </Show>
    }
}

/// A tag or digest: its mark, its first eight digits, the rest.
#[component]
pub fn Hash(
    /// The whole tag or digest.
    text: String,
) -> impl IntoView {
    let shown = digits(&text).to_owned();
    let title = text.clone();
    if TagClass::of(&text).is_hash() || text.starts_with("sha256:") {
        let (first, rest) = shown.split_at(shown.len().min(8));
        let (first, rest) = (first.to_owned(), rest.to_owned());
        view! { <span class="hash" title=title><HashFlag hash=text /><b>{first}</b><span class="rest">{rest}</span></span> }
            .into_any()
    } else {
        view! { <span class="hash" title=title>{text}</span> }.into_any()
    }
}

/// What a row rests on: digest, labels, tags seen, requests, and why it is so.
#[component]
pub fn Detail(
    /// The state.
    store: Store,
    /// Who knows what was sent.
    loader: Loader,
    /// The place of the row.
    i: usize,
    /// The row.
    row: Known,
) -> impl IntoView {
    let Some(image) = store.image(i) else { return ().into_any() };
    let requests: Vec<String> = row
        .as_ref()
        .and_then(|row| {
            loader.with_run(|run| {
                let facts = run.facts();
                let of = |query| facts.exchanges.get(query).into_iter().flatten();
                let login = row.queries.iter().find_map(|query| facts.logins.get(query.repository()?)).into_iter().flatten();
                login.chain(row.queries.iter().flat_map(of)).map(line_of).collect()
            })
        })
        .unwrap_or_default();
    let mut facts: Vec<(&'static str, Vec<String>)> = vec![("Requested", vec![image.imagename.clone()])];
    if let Some(row) = &row {
        if let Some(written) = row.written.as_ref().filter(|w| **w != image.imagename) {
            facts.push(("Written as", vec![written.clone()]));
        }
        let why = match row.hint.as_str() {
            "" => row.reason.clone(),
            hint => format!("{}: {hint}", row.reason),
        };
        facts.push((row.status.word(), vec![why]));
        facts.extend(row.digest.clone().map(|d| ("Digest", vec![d.into()])));
        let ago = |at: Timestamp| format!("{at}, {} ago", age(clock().since(at)));
        facts.extend(row.built_at.map(|at| ("Built", vec![ago(at)])));
        let labels: Vec<String> = row.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        facts.push((
            "Labels",
            if labels.is_empty() { vec!["not read: they were not needed, or there are none".to_owned()] } else { labels },
        ));
        let seen = |(tag, digest): (&String, &Digest)| {
            let same = if row.digest.as_ref() == Some(digest) { "same digest" } else { "another digest" };
            format!("{tag}: {same}")
        };
        let seen: Vec<String> = row.seen.iter().map(seen).collect();
        if !seen.is_empty() {
            facts.push(("Other tags seen", seen));
        }
    }
    facts.push(("Why it is included", vec![image.why.clone()]));
    if !image.params.is_empty() {
        facts.push(("Heat parameters", image.params.clone()));
    }
    let fact = |(name, lines): (&'static str, Vec<String>)| {
        let name = match name {
            "resolved" | "absent" | "unresolved" | "error" => "Why",
            other => other,
        };
        let is_prose = matches!(name, "Why" | "Why it is included");
        let class = if is_prose { "" } else { "mono" };
        view! { <dt>{name}</dt><dd class=class>{lines.into_iter().map(|l| view! { <div>{l}</div> }).collect_view()}</dd> }
    };
    let sent = (!requests.is_empty()).then(|| {
        view! { <dt>"Requests"</dt><dd><ol class="mono">{requests.into_iter().map(|r| view! { <li>{r}</li> }).collect_view()}</ol></dd> }
    });
    view! { <dl class="facts">{facts.into_iter().map(fact).collect_view()}{sent}</dl> }.into_any()
}

/// A request and its answer in one line.
fn line_of(exchange: &crate::engine::registry::Exchange) -> String {
    let path = exchange.request.url.splitn(4, '/').nth(3).unwrap_or(&exchange.request.url);
    let answer = match &exchange.outcome {
        Ok(response) => response.status.to_string(),
        Err(Failure::Timeout) => "timed out".to_owned(),
        Err(Failure::Network(_)) => "no response".to_owned(),
        Err(Failure::Offline) => "offline".to_owned(),
        Err(Failure::RedirectRefused(_)) => "redirect refused".to_owned(),
        Err(Failure::TooLarge(_)) => "too large".to_owned(),
        Err(Failure::Cancelled) => "cancelled".to_owned(),
    };
    let tries = if exchange.tries > 1 { format!(", {} tries", exchange.tries) } else { String::new() };
    format!("{} /{path} {answer}{tries}", exchange.request.method.as_str())
}
