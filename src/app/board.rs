//! The board: a card a channel, images by channels, when channels were promoted, what holds them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leptos::html::{Dialog, Div};
use leptos::prelude::*;

use super::browser;
use super::loader::Loader;
use super::mark::{Mark, icon, paths};
use super::results::{Errors, Progress, Warnings};
use super::store::{Phase, Prepared, Store};
use super::table::{Detail, Hash, Search, toggle_query};
use super::trouble::{Doctor, Lines, Logins, Source, Unread};
use super::ui::sentence;
use crate::engine::board::report::{emblem, hash_of};
use crate::engine::board::{self, Stage, State, is_wrong, pulls, service};
use crate::engine::options::definitions::{Choices, list};
use crate::engine::options::settings::{NOTES, STATUS, UNPROVEN, WRONG};
use crate::engine::output::images;
use crate::engine::pipeline::{Blocker, Pipeline, WhyNot};
use crate::engine::resolve::{Row, Status};
use crate::engine::time::{age, utc};
use crate::engine::wording::short;
use crate::net::web::clock;

/// Rows that are all in the document; of more only those near what is seen.
const WHOLE: usize = 200;
/// Rows that are drawn in one task.
const CHUNK: usize = 16;
/// Promotions that the table tells.
const EVENTS: usize = 200;
/// Rows that are drawn above and below what is seen.
const MARGIN: usize = 8;

/// A line of the table.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Item {
    /// The images of a service: its name, and how many they are.
    Group(String, usize),
    /// An image: its place among the members.
    Image(usize),
}

/// The lines that pass search and filter, in order.
fn items(store: Store, embed: bool) -> Vec<Item> {
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

/// What all channels are, in one sentence.
fn answer(stages: &[Stage]) -> String {
    let known = stages.iter().filter(|s| s.state != State::Waiting).count();
    if known < stages.len() {
        return "Asking the registry …".to_owned();
    }
    let whole = stages.iter().filter(|s| s.state == State::Whole).count();
    let not: Vec<String> =
        stages.iter().filter(|s| s.state != State::Whole).map(|s| format!("{} is {}", s.channel, s.state.word())).collect();
    // What could not be found out may be whole all the same.
    let is_sure = !stages.iter().any(|s| matches!(s.state, State::Unknown | State::Unproven));
    let be = if is_sure { "whole" } else { "known to be whole" };
    match (stages.len(), whole) {
        (0, _) => "There is no channel.".to_owned(),
        (1, 1) => format!("{} is whole.", stages[0].channel),
        (n, m) if n == m => format!("All {n} channels are whole."),
        (1, _) => format!("{}.", not.join(", ")),
        (_, 0) => format!("No channel is {be}: {}.", not.join(", ")),
        (n, m) => format!("{m} of {n} channels {} {be}: {}.", if m == 1 { "is" } else { "are" }, not.join(", ")),
    }
}

/// The board.
#[component]
pub fn Board(
    /// The state.
    store: Store,
    /// What feeds it.
    loader: Loader,
    /// Whether only what is for a wall is shown.
    embed: bool,
) -> impl IntoView {
    let stages = Memo::new(move |_| store.results.with(|r| r.stages.clone()));
    let has_rows = move || store.results.with(|r| !r.rows.is_empty()) && stages.with(|s| !s.is_empty());
    let said = move || match store.phase.get() {
        Phase::Stuck(_) => "Nothing can be asked.".to_owned(),
        Phase::Blocked(_) => "This link asks a registry on a private network.".to_owned(),
        Phase::Busy if !has_rows() => format!("Reading the {} …", store.reads()),
        _ if !has_rows() => "No image follows a channel.".to_owned(),
        _ => stages.with(|s| answer(s)),
    };
    // Title and icon tell the state to who looks at the tab alone.
    Effect::new(move |_| document().set_title(&format!("{} · overtag", said().trim_end_matches('.'))));
    let mark = Memo::new(move |_| {
        let is_wrong = stages.with(|s| s.iter().any(|s| !matches!(s.state, State::Whole | State::Waiting)));
        store.results.with(|r| emblem(&r.stages, &r.rows)).map(|hash| (hash, is_wrong))
    });
    Effect::new(move |_| {
        if let Some((hash, is_wrong)) = mark.get() {
            browser::set_icon(&icon(&hash, is_wrong));
        }
    });
    notify(store, stages);
    // As they were told last, until all is read anew; those of other choices are none of these.
    let reasons = Memo::new(move |before: Option<&(usize, Reasons)>| {
        let of = store.prepared.with(|p| Arc::as_ptr(p) as usize);
        match (store.is_busy(), before.filter(|(b, _)| *b == of)) {
            (true, Some(before)) => before.clone(),
            (true, None) => (of, None),
            (false, _) => (of, has_pipeline(store).then(|| why_not(store))),
        }
    });
    let reasons = Signal::derive(move || reasons.get().1);
    // Said a moment later than it is shown, for while a table is drawn Orca drops what else it hears of; and gone again, for whoever
    // reads the page meets the sentence itself.
    let aloud = RwSignal::new(String::new());
    // What was to be said before that is not so any more.
    let turn = StoredValue::new(0_u32);
    Effect::new(move |last: Option<String>| {
        let (text, last) = (said(), last.unwrap_or_default());
        if store.is_busy() || text == last {
            return last;
        }
        let own = turn.get_value() + 1;
        turn.set_value(own);
        let say = move |text: String, after: u64| {
            let say = move || _ = (turn.try_get_value() == Some(own)).then(|| aloud.try_set(text));
            set_timeout(say, Duration::from_secs(after));
        };
        say(text.clone(), 1);
        say(String::new(), 5);
        text
    });
    let controls = move || {
        (!embed).then(|| {
            view! {
                <Doctor store=store />
                <Logins store=store loader=loader />
            }
        })
    };
    view! {
        <div class="results">
            <p class="sentence">{said}</p>
            <p class="vh" aria-live="polite">{aloud}</p>
            <Progress store=store loader=loader embed=embed />
            <Errors store=store />
            {controls}
            <Source store=store />
            <Warnings store=store loader=loader />
            <Show when=move || !has_rows() && store.phase.get() == Phase::Done>
                <div class="empty">
                    <p>"The filters leave no image, or the template gives none of them the channel's tag."</p>
                    <Show when=move || !embed>
                        <button class="button" type="button" on:click=move |_| store.clear_filters()>"Clear the filters"</button>
                    </Show>
                </div>
            </Show>
            <Show when=has_rows>
                <Stages store=store stages=stages reasons=reasons embed=embed />
                <Show when=move || !embed><Toolbar store=store /></Show>
                <Matrix store=store embed=embed />
            </Show>
            <Show when=move || has_rows() && !embed>
                <Times store=store loader=loader />
                <Reasons store=store reasons=reasons />
                <Others store=store />
            </Show>
            <Cell store=store loader=loader />
        </div>
    }
}

/// Under which name the browser keeps that the visitor is to be notified.
const NOTIFY: &str = "overtag-notify";

/// Tells of a channel that moved or tore, where the visitor asked for that. That another one is asked for now is no move, nor is that
/// one could not be asked: it is compared with what it was before.
fn notify(store: Store, stages: Memo<Vec<Stage>>) {
    Effect::new(move |before: Option<Option<(Arc<Prepared>, Vec<Stage>)>>| {
        let (now, before) = (stages.get(), before.flatten());
        if store.phase.get() != Phase::Done {
            return before;
        }
        let prepared = store.prepared.get_untracked();
        let old = before.filter(|(p, _)| Arc::ptr_eq(p, &prepared)).map(|(_, old)| old).unwrap_or_default();
        let tell = |stage: Stage| match old.iter().find(|s| s.channel == stage.channel) {
            Some(old) if stage.state == State::Unknown => old.clone(),
            Some(old) => {
                let has_moved = (old.state, &old.hash) != (stage.state, &stage.hash);
                if has_moved && browser::remembered(NOTIFY).as_deref() == Some("on") {
                    let title = format!("{}: {}", stage.channel, stage.state.word());
                    browser::notify(&stage.channel, &title, &stage.sentence());
                }
                stage
            }
            None => stage,
        };
        Some((prepared, now.into_iter().map(tell).collect()))
    });
}

/// A card a channel.
#[component]
fn Stages(store: Store, stages: Memo<Vec<Stage>>, reasons: Signal<Reasons>, embed: bool) -> impl IntoView {
    let card = move |channel: String| {
        let name = channel.clone();
        let stage = Memo::new(move |_| stages.with(|s| s.iter().find(|s| s.channel == name).cloned().unwrap_or_default()));
        let when = move || {
            let now = store.now.get();
            let (at, since) = stage.with(|s| s.since(now))?;
            let lateness = stage.with(|s| s.lateness(now, store.prepared.with(|p| p.settings.late))).and_then(|l| l.word());
            let chip = lateness.map(|word| view! { " " <span class="chip" data-note="late">{word}</span> });
            Some(view! { <p title=utc(at)>{since[..1].to_uppercase()}{since[1..].to_owned()}{chip}</p> })
        };
        // Of one hash it is the same card: nobody loses the button under the finger when the board is refreshed.
        let hash = Memo::new(move |_| {
            let (channel, hash) = stage.with(|s| Some((s.channel.clone(), s.hash.clone()?)))?;
            let link = store.results.with(|r| r.pipeline.repository(&channel, &hash));
            Some((hash, link))
        });
        let hash = move || {
            let (hash, link) = hash.get()?;
            let copied = hash.clone();
            let copy = move |_| {
                let text = copied.clone();
                wasm_bindgen_futures::spawn_local(async move {
                    let said = if browser::copy(&text).await {
                        format!("{} was copied.", short(&text))
                    } else {
                        format!("The browser gives no clipboard; here it is: {text}")
                    };
                    store.said.set(said);
                });
            };
            let named = short(&hash).to_owned();
            let button = (!embed).then(|| view! { <button class="button" data-kind="text" type="button" on:click=copy>"Copy"<span class="vh">{format!(" the hash {named}")}</span></button> });
            let named = short(&hash).to_owned();
            let link = link.map(|url| view! { <a href=url target="_blank" rel="noopener">"Repository"<span class="vh">{format!(" of {named}")}</span></a> });
            Some(view! { <p class="of"><Hash text=hash.clone() /> {button} {link}</p> })
        };
        let lag = move || {
            stage.with(|s| s.lag.as_ref().map(|lag| view! { <p class="quiet">{sentence(&lag.sentence(store.now.get()))}</p> }))
        };
        let name = channel.clone();
        let held = Memo::new(move |_| held(&reasons.get(), &name));
        view! {
            <li class="stage" data-state=move || stage.with(|s| s.state.word())>
                <h2>{channel}</h2>
                <p class="count">{move || stage.with(|s| format!("{} of {}", s.at_hash, s.asked))}</p>
                {hash}
                <p>{move || stage.with(Stage::sentence)}</p>
                {when}
                {lag}
                {move || held.get().map(|text| view! { <p>{text}</p> })}
            </li>
        }
    };
    let channels = move || stages.with(|s| s.iter().map(|s| s.channel.clone()).collect::<Vec<_>>());
    view! {
        <ol class="stages" aria-label="Channels, in the order of promotion">
            <For each=channels key=Clone::clone children=card />
        </ol>
    }
}

/// Why channels do not stand for their candidates, by channel; none where nobody was asked, or not all is known yet.
type Reasons = Option<Vec<(String, WhyNot)>>;

fn why_not(store: Store) -> Vec<(String, WhyNot)> {
    let (channels, settings) = store.prepared.with(|p| (p.grid.channels.clone(), p.settings.clone()));
    store.results.with(|r| {
        let of = |channel: String| {
            let why = r.pipeline.why_not(&settings, &channel, &|c| hash_of(&r.stages, c), clock());
            (channel, why)
        };
        // The first is promoted from nothing on the board, unless the promoter's file says from what.
        let is_told = |(c, channel): &(usize, String)| *c > 0 || r.pipeline.criteria.contains_key(channel);
        channels.into_iter().enumerate().filter(is_told).map(|(_, channel)| of(channel)).collect()
    })
}

fn has_pipeline(store: Store) -> bool {
    store.prepared.with(|p| Pipeline::is_wanted(&p.settings)) || store.results.with(|r| *r.pipeline != Pipeline::default())
}

/// What holds a channel, in few words, for its card.
fn held(reasons: &Reasons, channel: &str) -> Option<String> {
    match &reasons.as_ref()?.iter().find(|(c, _)| c == channel)?.1 {
        WhyNot::Held { hash, passed, of, blockers, .. } if !blockers.is_empty() => {
            Some(format!("{passed} of {of} jobs passed for {}; {} to go", short(hash), blockers.len()))
        }
        WhyNot::Held { hash, of, .. } if *of > 0 => Some(format!("All jobs passed for {}", short(hash))),
        _ => None,
    }
}

/// Writes a choice of the page, or forgets it.
fn toggle(store: Store, key: &'static str, value: &'static str) {
    store.choose(move |c| if c.get(key) == Some(value) { c.clear(key) } else { c.put(key, value) });
}

/// Search, filters, grouping, notification.
#[component]
fn Toolbar(store: Store) -> impl IntoView {
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
    let ask = move |_| {
        if notifies.get_untracked() {
            notifies.set(false);
            browser::remember(NOTIFY, "");
            return store.said.set("You are not notified any more.".to_owned());
        }
        wasm_bindgen_futures::spawn_local(async move {
            // The first one tells that it works.
            let text = "You are told when a channel moves or tears, as long as this page is open.";
            let is_told = browser::may_notify().await && browser::notify("overtag", "overtag", text);
            if is_told {
                notifies.set(true);
                browser::remember(NOTIFY, "on");
                if store.refresh_every().is_none() {
                    store.choose(|c| c.put("refresh", "60"));
                }
            }
            store.said.set(if is_told { text } else { "The browser does not let this page notify you." }.to_owned());
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
                    <button class="toggle" type="button" aria-pressed=is("sort", "age") on:click=move |_| toggle(store, "sort", "age")>"Youngest first"</button>
                </Show>
            </div>
            <button class="toggle" type="button" aria-pressed=move || notifies.get().to_string() on:click=ask>"Notify me"</button>
        </div>
    }
}

/// The rows that are in the document.
#[derive(PartialEq)]
struct Drawn {
    /// Other rows of the same places are other rows.
    generation: u64,
    rows: Vec<Item>,
}

/// Images by channels. Up to [`WHOLE`] rows are all in the document, drawn in short tasks; of more only those that are near.
#[component]
fn Matrix(store: Store, embed: bool) -> impl IntoView {
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
            // The rows can be ordered by how bad they are, and by what the last channel stands for.
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
            true => "Nothing is known to be wrong so far.",
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
struct Look {
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
fn Line(store: Store, m: usize, index: Signal<Option<String>>, embed: bool) -> impl IntoView {
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
            let what = match mark {
                Some(hash) => {
                    view! { <Mark hash=hash /><span class="digits" data-digest=is_digest title=title>{text}</span> }.into_any()
                }
                None => view! { <span class="status" data-status=status title=title>{text}</span> }.into_any(),
            };
            view! { {what}{chips} }
        };
        let body = match embed {
            true => view! { <span class="cell">{inner}</span> }.into_any(),
            false => view! { <button class="cell" type="button" on:click=move |_| store.opened.set(Some(m * width + c))>{inner}</button> }.into_any(),
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

/// The cell that is open, and all that is known of it.
#[component]
fn Cell(store: Store, loader: Loader) -> impl IntoView {
    let dialog = NodeRef::<Dialog>::new();
    Effect::new(move |_| {
        if let (Some(_), Some(dialog)) = (store.opened.get(), dialog.get()) {
            _ = dialog.show_modal();
            // So that it is read from its beginning, and not from its first button.
            set_timeout(|| browser::focus("#cell-title"), Duration::ZERO);
            store.said.set(String::new());
        }
    });
    // One that is opened while the board is being asked for has its turn afterwards.
    Effect::new(move |_| {
        if let (Some(i), false) = (store.opened.get(), store.is_busy()) {
            loader.read_labels(i);
        }
    });
    let asked = Memo::new(move |_| {
        let i = store.opened.get()?;
        store.prepared.with(|p| {
            let width = p.grid.channels.len().max(1);
            let image = p.plan()?.images.get(*p.grid.members.get(i / width)?)?.clone();
            Some((i, image, p.grid.channels.get(i % width)?.clone()))
        })
    });
    let title = move || asked.with(|a| a.as_ref().map(|(_, image, channel)| format!("{} in {channel}", image.short)));
    // Nothing is drawn again under the reader's eyes unless its own answer changes.
    let row = Memo::new(move |_| {
        let i = store.opened.get()?;
        store.results.with(|r| r.rows.get(i).cloned()).flatten()
    });
    let inner = move || {
        let ((i, image, channel), row) = (asked.get()?, row.get());
        let reference = image.reference.ok().map(|r| crate::engine::image::reference::Reference { tag: channel.clone(), ..r });
        let dates = row.as_ref().filter(|r| r.status == Status::Resolved).map(|r| match r.moved_at {
            Some(at) => format!("{channel} was pushed at {}, {} ago.", utc(at), age(clock().saturating_sub(at))),
            None => "This registry does not say when it was pushed.".to_owned(),
        });
        let commands = match (&reference, &row) {
            (Some(reference), Some(row)) if row.digest.is_some() => pulls(reference, row).join("\n") + "\n",
            _ => String::new(),
        };
        let siblings = siblings(loader, reference.as_ref(), row.as_deref());
        let siblings = (!siblings.is_empty()).then(|| view! { <h3>"Tags of the same digest, of those that were asked for"</h3><ul class="mono">{siblings.into_iter().map(|t| view! { <li>{t}</li> }).collect_view()}</ul> });
        Some(view! {
            {dates.map(|text| view! { <p>{text}</p> })}
            <Detail store=store loader=loader i=i row=row />
            {siblings}
            {(!commands.is_empty()).then(|| view! { <Lines store=store title="Commands".to_owned() lines=commands /> })}
        })
    };
    let close = move || {
        if let Some(dialog) = dialog.get_untracked() {
            dialog.close();
        }
    };
    let hash = Memo::new(move |_| row.with(|r| r.as_deref().and_then(board::mark).map(|hash| short(hash).to_owned())));
    let only = move || {
        let hash = hash.get()?;
        let text = format!("Only rows with {hash}");
        let press = move |_| {
            toggle_query(store, &hash);
            close();
        };
        Some(view! { <button class="button" type="button" on:click=press>{text}</button> })
    };
    view! {
        <dialog class="cell-detail" aria-labelledby="cell-title" node_ref=dialog on:close=move |_| store.opened.set(None)>
            <h2 id="cell-title" tabindex="-1">{title}</h2>
            {inner}
            // The line that says so on the page cannot be heard from below a dialog.
            <p class="quiet" role="status">{move || store.opened.get().map(|_| store.said.get())}</p>
            <div class="ends">{only}<button class="button" type="button" on:click=move |_| close()>"Close"</button></div>
        </dialog>
    }
}

/// Other tags of the same digest, as far as the registry told them.
fn siblings(
    loader: Loader,
    reference: Option<&crate::engine::image::reference::Reference>,
    row: Option<&crate::engine::resolve::Row>,
) -> Vec<String> {
    let (Some(reference), Some(row)) = (reference, row) else { return Vec::new() };
    let Some(digest) = &row.digest else { return Vec::new() };
    let told = loader.with_run(|run| board::siblings(run.facts(), &reference.repository, digest));
    told.unwrap_or_default().into_iter().filter(|tag| *tag != reference.tag).collect()
}

/// When channels were promoted: drawn, and as a table.
#[component]
fn Times(store: Store, loader: Loader) -> impl IntoView {
    let timeline = Memo::new(move |_| store.results.with(|r| r.timeline.clone()));
    let pipeline = Memo::new(move |_| store.results.with(|r| r.pipeline.clone()));
    let is_asked = move || store.wants_history.get();
    // Of a snapshot all is read that it tells.
    let can_ask = Memo::new(move |_| {
        let tells = store.results.with(|r| r.rows.iter().flatten().any(|row| row.moved_at.is_some()));
        tells && !is_asked() && store.snapshot.with(Option::is_none)
    });
    let trouble = move || {
        let why = store.history_trouble.get()?;
        Some(
            view! { <div class="notice" data-kind="warning"><p>{format!("Not all of the history could be read: {why}.")}</p></div> },
        )
    };
    let ask = move |_| {
        store.wants_history.set(true);
        loader.go_on_now();
    };
    let list = move || {
        let timeline = timeline.get();
        let channels = store.prepared.with(|p| p.grid.channels.clone());
        if timeline.events.is_empty() {
            let text = match store.is_busy() {
                true => "It is told when the board is known.",
                false if is_asked() => "The registry tells no history of these tags.",
                false if can_ask.get() => "",
                false => {
                    "Nothing here tells the history of these tags. DLRN's promotions (dlrn=) do, or a snapshot that overtag snapshot --since carries on."
                }
            };
            return view! { <p class="quiet">{text}</p> }.into_any();
        }
        let horizon = timeline.horizon.map(|at| view! { <p class="quiet">{move || format!("Nothing older than {} is told ({} ago).", utc(at), age(store.now.get().saturating_sub(at)))}</p> });
        let row = move |e: crate::engine::board::timeline::Event| {
            let images = e.images.map_or("told by DLRN".to_owned(), |(n, of)| format!("{n} of {}", images(of)));
            let earlier = e.or_earlier.then_some(", or earlier");
            let took = (e.last > e.first).then(|| format!(", over {}", age(e.last - e.first)));
            let back = e.is_rollback.then(|| view! { " " <span class="chip" data-note="torn">"rolled back"</span> });
            let link = pipeline.with(|p| p.repository(&e.channel, &e.hash)).map(|url| view! { " " <a href=url target="_blank" rel="noopener">"Repository"<span class="vh">{format!(" of {}", short(&e.hash))}</span></a> });
            view! {
                <tr>
                    <th scope="row"><time datetime=utc(e.first)>{utc(e.first)}</time></th>
                    <td>{e.channel.clone()}</td>
                    <td><Hash text=e.hash.clone() />{back}{link}</td>
                    <td>{images}{took}{earlier}</td>
                </tr>
            }
        };
        view! {
            <div class="drawing" tabindex="0" role="region" aria-label="Timeline"><Drawing events=timeline.events.clone() horizon=timeline.horizon channels=channels /></div>
            {horizon}
            <div class="scroll" tabindex="0" role="region" aria-label="Promotions, newest first">
                <table class="listing" aria-label="Promotions">
                    <thead><tr><th scope="col">"When"</th><th scope="col">"Channel"</th><th scope="col">"Hash"</th><th scope="col">"Images"</th></tr></thead>
                    <tbody>{timeline.events.iter().take(EVENTS).cloned().map(row).collect_view()}</tbody>
                </table>
            </div>
            {(timeline.events.len() > EVENTS).then(|| view! { <p class="quiet">{format!("These are the newest {EVENTS} of {}; overtag board --format json tells all.", timeline.events.len())}</p> })}
        }
        .into_any()
    };
    view! {
        <section class="times" aria-labelledby="times-title">
            <h2 id="times-title">"Promotions"</h2>
            {trouble}
            <Show when=move || can_ask.get()>
                <p><button class="button" type="button" on:click=ask>"Read the history"</button> <span class="quiet">" Three images of each channel are asked for what their tags stood for."</span></p>
            </Show>
            {list}
        </section>
    }
}

/// The timeline, a lane a channel; the marks are those of the hashes. What it shows stands in the table below it.
#[component]
fn Drawing(events: Vec<crate::engine::board::timeline::Event>, horizon: Option<u64>, channels: Vec<String>) -> impl IntoView {
    const WIDE: f64 = 1000.0;
    const LANE: usize = 40;
    let now = clock();
    let oldest = events.iter().map(|e| e.first).chain(horizon).min().unwrap_or(now);
    let span = (now.saturating_sub(oldest)).max(3600) as f64 * 1.04;
    let at = move |time: u64| WIDE - (now.saturating_sub(time)) as f64 / span * WIDE;
    let high = channels.len() * LANE + 24;
    let lanes = channels.iter().enumerate().map(|(c, channel)| {
        let y = c * LANE + 14;
        view! { <text class="lane" x="0" y=y.to_string()>{channel.clone()}</text><path class="rule" d=format!("M0 {0}H{WIDE}", y + 14)></path> }
    });
    let marks = events.iter().filter_map(|e| {
        let y = channels.iter().position(|c| *c == e.channel)? * LANE + 21;
        let x = (at(e.first) - 10.5).clamp(0.0, WIDE - 21.0);
        let back = e.is_rollback.then(|| view! { <text class="back" x=format!("{:.1}", x + 22.0) y=(y + 11).to_string()>"↶"</text> });
        let title = format!("{} {} {}{}", utc(e.first), e.channel, short(&e.hash), if e.is_rollback { ", rolled back" } else { "" });
        Some(view! { <g><title>{title}</title><svg x=format!("{x:.1}") y=y.to_string() width="21" height="14" viewBox="0 0 18 12" inner_html=paths(&e.hash)></svg>{back}</g> })
    });
    let days = {
        let step = [3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400]
            .into_iter()
            .find(|s| span / (*s as f64) <= 16.0)
            .unwrap_or(3650 * 86_400);
        let first = oldest.min(now).div_ceil(step) * step;
        (first..=now).step_by(step as usize).take(20).map(move |t| {
            let text = if step < 86_400 { utc(t)[11..16].to_owned() } else { utc(t)[5..10].to_owned() };
            view! { <text class="tick" x=format!("{:.1}", at(t)) y=(high - 4).to_string()>{text}</text><path class="rule" d=format!("M{0:.1} 0V{1}", at(t), high - 16)></path> }
        })
    };
    let edge = horizon.map(|h| {
        view! { <path class="horizon" d=format!("M{0:.1} 0V{1}", at(h), high - 16)></path><rect class="beyond" x="0" y="0" width=format!("{:.1}", at(h).max(0.0)) height=(high - 16).to_string()></rect> }
    });
    let label = format!("Timeline of {} promotions; the table below tells them", events.len());
    view! {
        <svg class="timeline" role="img" aria-label=label viewBox=format!("0 0 {WIDE} {high}")>
            {edge}
            {days.collect_view()}
            {lanes.collect_view()}
            {marks.collect_view()}
        </svg>
    }
}

/// What holds each channel.
#[component]
fn Reasons(store: Store, reasons: Signal<Reasons>) -> impl IntoView {
    let blocker = |b: Blocker| {
        let link = b.url.map(|url| view! { " " <a href=url target="_blank" rel="noopener">"Log"<span class="vh">{format!(" of {}", b.job)}</span></a> });
        view! { <li data-kind=b.kind>{b.sentence}{link}</li> }
    };
    let of = move |(channel, why): (String, WhyNot)| {
        let body = match why {
            WhyNot::NotTold { what, builds } => {
                view! { <p class="quiet">{what}</p> <ul class="blockers">{builds.into_iter().map(blocker).collect_view()}</ul> }
                    .into_any()
            }
            WhyNot::Level(label) => view! { <p>{format!("Nothing: it has the hash of {label}.")}</p> }.into_any(),
            WhyNot::Held { label, hash, passed, of, blockers } => {
                let rest =
                    if blockers.is_empty() { " Nothing holds it but the promoter itself.".to_owned() } else { String::new() };
                view! {
                    <p>{format!("{passed} of {of} jobs passed for ")}<Hash text=hash />{format!(" of {label}.{rest}")}</p>
                    <ul class="blockers">{blockers.into_iter().map(blocker).collect_view()}</ul>
                }
                .into_any()
            }
        };
        view! { <h3>{channel}</h3>{body} }
    };
    let all = move || match reasons.get() {
        Some(all) => all.into_iter().map(of).collect_view().into_any(),
        None => view! { <p class="quiet">"It is told when the board is known."</p> }.into_any(),
    };
    let is_told = Memo::new(move |_| has_pipeline(store));
    view! {
        <section class="reasons" aria-labelledby="reasons-title">
            <h2 id="reasons-title">"What holds them"</h2>
            <Unread store=store />
            <Show when=move || is_told.get() fallback=|| view! { <p class="quiet">"Which jobs a candidate has to pass, and which it passed, is told where the promoter's file (criteria=) and DLRN's API (dlrn=) are given, or a snapshot that has them."</p> }>
                {all}
            </Show>
        </section>
    }
}

/// Images that follow no channel.
#[component]
fn Others(store: Store) -> impl IntoView {
    let others = Memo::new(move |_| store.prepared.with(|p| p.grid.others.clone()));
    let item = |(name, why): (String, String)| {
        let short = name.rsplit('/').next().unwrap_or(&name).split([':', '@']).next().unwrap_or(&name).to_owned();
        view! { <li title=name.clone()>{short} " " <span class="quiet">{why}</span></li> }
    };
    view! {
        <Show when=move || others.with(|o| !o.is_empty())>
            <details class="fold">
                <summary><h2>{move || format!("Not on the board ({})", others.with(Vec::len))}</h2></summary>
                <ul class="notin">{move || others.get().into_iter().map(item).collect_view()}</ul>
            </details>
        </Show>
    }
}
