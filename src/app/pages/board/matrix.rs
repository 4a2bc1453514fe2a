//! The table: images by channels.

use crate::app::browser;
use crate::app::parts::hash_flag::HashFlag;
use crate::app::parts::images::Search;
use crate::app::state::Store;
use crate::engine::board::{self, is_wrong};
use crate::engine::options::definitions::{Choices, list};
use crate::engine::options::settings::{NOTES, STATUS, UNPROVEN, WRONG};
use crate::engine::resolve::Row;
use leptos::html::Div;
use leptos::prelude::*;
use std::time::Duration;

use super::notify::NOTIFY;
use super::rows::{Item, Rows, WHOLE};

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

/// Images by channels.
#[component]
pub fn Matrix(store: Store, embed: bool) -> impl IntoView {
    let channels = Memo::new(move |_| store.prepared.with(|p| p.grid.channels.clone()));
    let area = NodeRef::<Div>::new();
    // The first row that is seen, and how many are.
    let seen = RwSignal::new((0_usize, 40_usize));
    let rows = Rows::new(store, embed, seen);
    let look = move || look(area, seen);
    Effect::new(move |_| {
        if rows.len() > WHOLE {
            set_timeout(look, Duration::ZERO);
        }
    });
    let place = move |item: Item| move || rows.place(&item);
    let is_empty = move || rows.lines.with(Vec::is_empty) && store.results.with(|r| !r.rows.is_empty());
    let label = "Rows of the promotion board";
    view! {
        <div class="board-box" node_ref=area tabindex="0" role="region" aria-label=label on:scroll=move |_| look()>
            <table class="board" aria-label="Promotion board" aria-rowcount=move || (rows.len() + 1).to_string()>
                <thead>
                    <Head store=store channels=channels rows=rows embed=embed />
                </thead>
                <tbody>
                    <Room rows=Signal::derive(move || rows.before()) is_long=rows.is_long />
                    <For
                        each=move || rows.drawn()
                        key=|k| k.clone()
                        children=move |(_, item)| match item {
                            Item::Group(ref name, n) => view! { <tr class="group-row" aria-rowindex=place(item.clone())><th colspan=move || channels.with(|c| c.len() + 1).to_string() scope="rowgroup">{format!("{name} ({n})")}</th></tr> }.into_any(),
                            Item::Image(m) => view! { <Line store=store m=m index=Signal::derive(place(item)) embed=embed /> }.into_any(),
                        }
                    />
                    <Room rows=Signal::derive(move || rows.after()) is_long=rows.is_long />
                </tbody>
            </table>
        </div>
        <Show when=is_empty>
            <Nothing store=store embed=embed />
        </Show>
    }
}

/// Finds out which rows are seen.
fn look(area: NodeRef<Div>, seen: RwSignal<(usize, usize)>) {
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
}

/// The names of the columns.
#[component]
fn Head(store: Store, channels: Memo<Vec<String>>, rows: Rows, embed: bool) -> impl IntoView {
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
    view! {
        <tr aria-rowindex=move || rows.is_long.get().then_some("1")>
            <th scope="col" aria-sort=move || store.sorted("image")>{button("image", "Image".to_owned())}</th>
            {heads}
        </tr>
    }
}

/// The room of rows that are not drawn.
#[component]
fn Room(rows: Signal<usize>, is_long: Memo<bool>) -> impl IntoView {
    view! {
        <Show when=move || is_long.get()>
            <tr aria-hidden="true" class="room" style:height=move || format!("calc({} * var(--row))", rows.get())></tr>
        </Show>
    }
}

/// Says that no row is shown, and why.
#[component]
fn Nothing(store: Store, embed: bool) -> impl IntoView {
    // Only of what is known, and where the link looks for nothing else, is it said that nothing is wrong.
    let nothing = move || {
        let has_filter = store.choices.with(|c| c.get("q").is_some() || c.get("status").is_some());
        match store.results.with(|r| r.rows.iter().any(Option::is_none)) {
            true => "Nothing is wrong so far.",
            false if embed && !has_filter => "Nothing is wrong.",
            false => "No row matches the search and the filters.",
        }
    };
    view! {
        <div class="empty">
            <p>{nothing}</p>
            <Show when=move || !embed>
                <button class="button" type="button" on:click=move |_| store.choose(|c| { c.clear("q"); c.clear("status"); })>"Show all rows"</button>
            </Show>
        </div>
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
            title: row.map(|r| r.hash.as_deref().or(r.digest.as_deref()).unwrap_or(&r.reason).to_owned()),
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
