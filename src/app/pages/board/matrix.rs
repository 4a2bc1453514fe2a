//! The table: images by channels.

use crate::app::browser;
use crate::app::parts::hash_flag::HashFlag;
use crate::app::parts::images::Search;
use crate::app::state::Store;
use crate::engine::board::{self, is_wrong, service};
use crate::engine::options::definitions::{Choices, list};
use crate::engine::options::settings::{NOTES, STATUS, UNPROVEN, WRONG};
use crate::engine::resolve::Row;
use leptos::html::Div;
use leptos::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

use super::notify::NOTIFY;

/// Rows that are all in the document; of more only those near what is seen.
pub const WHOLE: usize = 200;

/// Rows that are drawn in one task.
pub const CHUNK: usize = 16;

/// Rows that are drawn above and below what is seen.
pub const MARGIN: usize = 8;

/// A line of the table.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// The images of a service: its name, and how many they are.
    Group(String, usize),
    /// An image: its place among the members.
    Image(usize),
}

/// The lines that pass search and filter, in order.
pub fn items(store: Store, embed: bool) -> Vec<Item> {
    let prepared = store.prepared.get();
    let Some(plan) = prepared.plan() else { return Vec::new() };
    let mut choices = store.choices.get();
    // While answers stream in the order would change under the reader's eyes.
    let streams = store.results.with(|r| r.rows.iter().any(Option::is_none));
    if streams && matches!(choices.get("sort"), Some(s) if !s.ends_with("image")) {
        choices.clear("sort");
    }
    if embed && choices.get("status").is_none() {
        choices.put("status", WRONG);
    }
    let order = store.results.with(|r| board::shown(&prepared.grid, plan, &r.rows, &choices));
    if choices.get("group") != Some("service") {
        return order.into_iter().map(Item::Image).collect();
    }
    let of = |m: &usize| service(&plan.images[prepared.grid.members[*m]].short).to_owned();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    order.iter().for_each(|m| *counts.entry(of(m)).or_default() += 1);
    let mut out = Vec::new();
    for m in order {
        if let Some((name, count)) = counts.remove_entry(&of(&m)) {
            out.push(Item::Group(name, count));
        }
        out.push(Item::Image(m));
    }
    out
}

/// Writes a choice of the page, or forgets it.
pub fn toggle(store: Store, key: &'static str, value: &'static str) {
    store.choose(move |c| if c.get(key) == Some(value) { c.clear(key) } else { c.put(key, value) });
}

/// Search, filters, grouping, notification.
#[component]
pub fn Toolbar(store: Store) -> impl IntoView {
    let is = move |key: &'static str, value: &'static str| {
        move || store.choices.with(|c: &Choices| c.get(key) == Some(value)).to_string()
    };
    let has_word = move |word: &str| store.choices.with(|c| list(c.get("status").unwrap_or("")).any(|w| w == word));
    let count = move |word: &str| {
        store.results.with(|r| r.rows.iter().flatten().filter(|row| board::words(row).any(|w| w == word)).count())
    };
    let word = move |word: &'static str| {
        view! {
            <Show when=move || { count(word) > 0 || has_word(word) }>
                <button class="toggle" type="button" aria-pressed=move || has_word(word).to_string() on:click=move |_| store.toggle_status(word)>
                    <span class="status" data-status=word>{word}</span>
                    <span class="count">{move || count(word)}</span>
                </button>
            </Show>
        }
    };
    let words = STATUS.into_iter().filter(|w| *w != "resolved").chain(NOTES).chain([UNPROVEN]).map(word).collect_view();
    let notifies = RwSignal::new(browser::remembered(NOTIFY).as_deref() == Some("on"));
    let query = move |_| {
        if notifies.get_untracked() {
            notifies.set(false);
            browser::remember(NOTIFY, "");
            return store.said.set("Notifications are off.".to_owned());
        }
        wasm_bindgen_futures::spawn_local(async move {
            // The first one shows that it works.
            let text = "You are notified when a channel moves or becomes torn, while this page is open.";
            let is_reported = browser::may_notify().await && browser::notify("overtag", "overtag", text);
            if is_reported {
                notifies.set(true);
                browser::remember(NOTIFY, "on");
                if store.refresh_every().is_none() {
                    store.choose(|c| c.put("refresh", "60"));
                }
            }
            store.said.set(
                if is_reported { text } else { "The browser blocks notifications. Allow them in its site settings." }.to_owned(),
            );
        });
    };
    let has_dates = Memo::new(move |_| store.results.with(|r| r.rows.iter().flatten().any(|row| row.moved_at.is_some())));
    let by_age = move || has_dates.get() || store.choices.with(|c| c.get("sort") == Some("age"));
    view! {
        <div class="toolbar">
            <Search store=store placeholder="Name, hash or status" />
            <div class="toggles" role="group" aria-label="Rows">
                <button class="toggle" type="button" aria-pressed=is("status", WRONG) on:click=move |_| toggle(store, "status", WRONG)>"Only what is wrong"</button>
                {words}
                <button class="toggle" type="button" aria-pressed=is("group", "service") on:click=move |_| toggle(store, "group", "service")>"Group by service"</button>
                <button class="toggle" type="button" aria-pressed=is("sort", "status") on:click=move |_| toggle(store, "sort", "status")>
                    "Worst first"
                </button>
                <Show when=by_age>
                    <button class="toggle" type="button" aria-pressed=is("sort", "age") on:click=move |_| toggle(store, "sort", "age")>"Newest first"</button>
                </Show>
            </div>
            <button class="toggle" type="button" aria-pressed=move || notifies.get().to_string() on:click=query>"Notify me"</button>
        </div>
    }
}

/// The rows that are in the document.
#[derive(PartialEq)]
pub struct Drawn {
    /// Other rows of the same places are other rows.
    generation: u64,
    rows: Vec<Item>,
}

/// Images by channels. Up to [`WHOLE`] rows are all in the document, drawn in short tasks; of more only those that are near.
#[component]
pub fn Matrix(store: Store, embed: bool) -> impl IntoView {
    let lines = Memo::new(move |_| items(store, embed));
    let channels = Memo::new(move |_| store.prepared.with(|p| p.grid.channels.clone()));
    let area = NodeRef::<Div>::new();
    // The first row that is seen, and how many are.
    let seen = RwSignal::new((0_usize, 40_usize));
    let look = move || {
        // A timer may come when the table is gone.
        let Some(area) = area.try_get_untracked().flatten() else { return };
        let had_focus = browser::is_within(&area);
        let row = area.query_selector("tbody tr.cells").ok().flatten().map_or(32.0, |r| r.get_bounding_client_rect().height());
        let at = |pixels: i32| (f64::from(pixels) / row.max(8.0)) as usize;
        seen.set((at(area.scroll_top()), at(area.client_height()) + 1));
        // A row that goes out of the document takes the focus with it: who scrolls on with the keys stays in the table.
        let keep = move || {
            if had_focus && browser::has_no_focus() {
                _ = area.focus();
            }
        };
        set_timeout(keep, Duration::ZERO);
    };
    Effect::new(move |_| {
        if lines.with(Vec::len) > WHOLE {
            set_timeout(look, Duration::ZERO);
        }
    });
    let range = Memo::new(move |_| {
        let all = lines.with(Vec::len);
        if all <= WHOLE {
            return (0, all);
        }
        let (first, n) = seen.get();
        let first = first.saturating_sub(MARGIN).min(all.saturating_sub(n));
        (first, (first + n + 2 * MARGIN).min(all))
    });
    let near = move || lines.with(|l| l[range.get().0.min(l.len())..range.get().1.min(l.len())].to_vec());
    let generation = Memo::new(move |before: Option<&(u64, usize, Vec<String>)>| {
        let (width, names) = store.prepared.with(|p| {
            let names =
                p.plan().map_or_else(Vec::new, |plan| p.grid.members.iter().map(|m| plan.images[*m].imagename.clone()).collect());
            (p.grid.channels.len(), names)
        });
        match before {
            Some((n, old_width, old)) if *old == names && *old_width == width => (*n, width, names),
            Some((n, ..)) => (n + 1, width, names),
            None => (0, width, names),
        }
    });
    // In steps, of which each adds so many rows and no more: what is there stays.
    let step = RwSignal::new(0_u32);
    let drawn = Memo::new(move |old: Option<&Drawn>| {
        step.track();
        let (generation, mut rows) = (generation.with(|g| g.0), near());
        let mut left = CHUNK;
        rows.retain(|item| {
            let is_there = old.is_some_and(|old| old.generation == generation && old.rows.contains(item));
            let is_new = !is_there && left > 0;
            left -= usize::from(is_new);
            is_there || is_new
        });
        Drawn { generation, rows }
    });
    Effect::new(move |_| {
        if drawn.with(|d| d.rows.len()) < near().len() {
            set_timeout(move || _ = step.try_update(|n| *n += 1), Duration::ZERO);
        }
    });
    // What is not drawn takes its room all the same.
    let is_long = Memo::new(move |_| lines.with(Vec::len) > WHOLE);
    let room = move |before: bool| {
        let rows = move || {
            let first = range.get().0;
            if before { first } else { lines.with(Vec::len).saturating_sub(first + drawn.with(|d| d.rows.len())) }
        };
        view! {
            <Show when=move || is_long.get()>
                <tr aria-hidden="true" class="room" style:height=move || format!("calc({} * var(--row))", rows())></tr>
            </Show>
        }
    };
    let button = move |column: &'static str, label: String| match embed {
        true => view! { <span class="sort">{label}</span> }.into_any(),
        false => view! { <button class="sort" type="button" on:click=move |_| store.sort(column)>{label}</button> }.into_any(),
    };
    let heads = move || {
        let channels = channels.get();
        let last = channels.len().saturating_sub(1);
        let head = move |(c, channel): (usize, String)| {
            // The rows can be ordered by how bad they are, and by what the last channel points to.
            let inner = if c == last { button("tag", channel) } else { view! { <span class="sort">{channel}</span> }.into_any() };
            view! { <th scope="col" aria-sort=move || if c == last { store.sorted("tag") } else { None }>{inner}</th> }
        };
        channels.into_iter().enumerate().map(head).collect_view()
    };
    // Where not all rows are in the document, each says which one it is.
    let place = move |item: Item| {
        move || {
            let at = lines.with(|l| (l.len() > WHOLE).then(|| l.iter().position(|i| *i == item)).flatten());
            at.map(|at| (at + 2).to_string())
        }
    };
    let keyed = move || drawn.with(|d| d.rows.iter().map(|item| (d.generation, item.clone())).collect::<Vec<_>>());
    let is_empty = move || lines.with(Vec::is_empty) && store.results.with(|r| !r.rows.is_empty());
    // Only of what is known, and where the link looks for nothing else, is it said that nothing is wrong.
    let nothing = move || {
        let has_filter = store.choices.with(|c| c.get("q").is_some() || c.get("status").is_some());
        match store.results.with(|r| r.rows.iter().any(Option::is_none)) {
            true => "Nothing is wrong so far.",
            false if embed && !has_filter => "Nothing is wrong.",
            false => "No row matches the search and the filters.",
        }
    };
    let label = "Rows of the promotion board";
    view! {
        <div class="board-box" node_ref=area tabindex="0" role="region" aria-label=label on:scroll=move |_| look()>
            <table class="board" aria-label="Promotion board" aria-rowcount=move || (lines.with(Vec::len) + 1).to_string()>
                <thead>
                    <tr aria-rowindex=move || is_long.get().then_some("1")>
                        <th scope="col" aria-sort=move || store.sorted("image")>{button("image", "Image".to_owned())}</th>
                        {heads}
                    </tr>
                </thead>
                <tbody>
                    {room(true)}
                    <For
                        each=keyed
                        key=|k| k.clone()
                        children=move |(_, item)| match item {
                            Item::Group(ref name, n) => view! { <tr class="group-row" aria-rowindex=place(item.clone())><th colspan=move || channels.with(|c| c.len() + 1).to_string() scope="rowgroup">{format!("{name} ({n})")}</th></tr> }.into_any(),
                            Item::Image(m) => view! { <Line store=store m=m index=Signal::derive(place(item)) embed=embed /> }.into_any(),
                        }
                    />
                    {room(false)}
                </tbody>
            </table>
        </div>
        <Show when=is_empty>
            <div class="empty">
                <p>{nothing}</p>
                <Show when=move || !embed>
                    <button class="button" type="button" on:click=move |_| store.choose(|c| { c.clear("q"); c.clear("status"); })>"Show all rows"</button>
                </Show>
            </div>
        </Show>
    }
}

/// What a cell shows.
#[derive(Clone, PartialEq)]
pub struct Look {
    text: String,
    status: &'static str,
    notes: Vec<&'static str>,
    mark: Option<String>,
    title: Option<String>,
}

impl Look {
    fn of(row: Option<&Row>) -> Self {
        Self {
            text: board::text(row).to_owned(),
            status: row.map_or("waiting", |r| r.status.word()),
            notes: row.iter().flat_map(|r| &r.notes).map(|n| n.word()).collect(),
            mark: row.and_then(board::mark).map(str::to_owned),
            title: row.map(|r| r.hash.as_ref().or(r.digest.as_ref()).unwrap_or(&r.reason).clone()),
        }
    }
}

/// One image.
#[component]
pub fn Line(store: Store, m: usize, index: Signal<Option<String>>, embed: bool) -> impl IntoView {
    let width = store.prepared.with_untracked(|p| p.grid.channels.len());
    let cells = Memo::new(move |_| store.results.with(|r| r.rows.get(m * width..(m + 1) * width).unwrap_or(&[]).to_vec()));
    let name = store.prepared.with_untracked(|p| Some(p.plan()?.images.get(*p.grid.members.get(m)?)?.short.clone()));
    // A long one is cut.
    let title = name.clone();
    // The button stays when its answer changes, so that who is on it stays there.
    let cell = move |c: usize| {
        let look = Memo::new(move |_| cells.with(|row| Look::of(row.get(c).and_then(Option::as_deref))));
        let inner = move || {
            let Look { text, status, notes, mark, title } = look.get();
            let chips = notes.iter().map(|n| view! { " " <span class="chip" data-note=*n>{*n}</span> }).collect_view();
            // The digits of a digest are no hash that another image could have.
            let is_digest = mark.as_ref().is_some_and(|mark| mark.starts_with("sha256:")).then_some("");
            // On the text and not on the cell, of which a screen reader would say all forty digits.
            let message = match mark {
                Some(hash) => {
                    view! { <HashFlag hash=hash /><span class="digits" data-digest=is_digest title=title>{text}</span> }
                        .into_any()
                }
                None => view! { <span class="status" data-status=status title=title>{text}</span> }.into_any(),
            };
            view! { {message}{chips} }
        };
        let body = match embed {
            true => view! { <span class="cell">{inner}</span> }.into_any(),
            false => view! { <button class="cell" type="button" on:click=move |_| store.board.opened.set(Some(m * width + c))>{inner}</button> }.into_any(),
        };
        let noted = move || look.with(|l| (!l.notes.is_empty()).then(|| l.notes.join(" ")));
        view! { <td data-status=move || look.with(|l| l.status) data-note=noted>{body}</td> }
    };
    let is_bad = move || cells.with(|c| c.iter().flatten().any(|r| is_wrong(r))).then_some("");
    view! {
        <tr class="cells" data-wrong=is_bad aria-rowindex=move || index.get()>
            <th scope="row" title=title>{name}</th>
            {(0..width).map(cell).collect_view()}
        </tr>
    }
}
