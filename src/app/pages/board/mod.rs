//! The board: a card a channel, images by channels, when channels were promoted, what holds them.

mod blockers;
mod cards;
mod cell;
mod matrix;
mod notify;
mod rows;
mod timeline;

use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;

use self::blockers::{Reasons, has_pipeline, why_not};
use self::cards::Stages;
use self::cell::Cell;
use self::matrix::{Matrix, Toolbar};
use self::notify::notify;
use self::timeline::Times;
use super::Page;
use crate::app::browser;
use crate::app::driver::Loader;
use crate::app::parts::access::{Diagnosis, Logins, Source};
use crate::app::parts::hash_flag::icon;
use crate::app::parts::messages::{Errors, Progress, Warnings};
use crate::app::parts::options::Text;
use crate::app::state::{Phase, Store};
use crate::app::ui::Select;
use crate::engine::board::report::favicon_hash;
use crate::engine::board::{Stage, State};
use crate::engine::options::settings::View;

/// What all channels are, in one sentence.
fn answer(stages: &[Stage]) -> String {
    let known = stages.iter().filter(|s| s.state != State::Waiting).count();
    if known < stages.len() {
        return "Querying the registry …".to_owned();
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

/// Images by channels.
pub const PAGE: Page = Page {
    view: View::Board,
    name: "Board",
    title: "Promotion board of",
    tags: |store| store.value("channels").get().replace(',', " → "),
    fields: |store| view! { <Fields store=store /> }.into_any(),
    // The cells of the column in which the focus is.
    steps: || format!(".cells td:nth-of-type({}) .cell", browser::focused_column().unwrap_or(1)),
    has_status: true,
    body: |store, loader, embed| view! { <Board store=store loader=loader embed=embed /> }.into_any(),
};

/// No automatic refresh, in words.
const OFF: &str = "off";

/// Which channels are on the board, when they are late, and how often it is refreshed.
#[component]
fn Fields(store: Store) -> impl IntoView {
    let refresh = Signal::derive(move || match store.value("refresh").get() {
        seconds if seconds.is_empty() => OFF.to_owned(),
        seconds => seconds,
    });
    let options = Signal::derive(move || {
        let mut all = [OFF, "30", "60", "300", "900"].map(str::to_owned).to_vec();
        let now = store.value("refresh").get();
        if !now.is_empty() && !all.contains(&now) {
            all.push(now);
        }
        all
    });
    let put = move |text: String| store.put("refresh", if text == OFF { String::new() } else { text }, false);
    view! {
        <Text store=store key="channels" label="Channels, in the order of promotion" wide=true />
        <Text store=store key="late" label="Late after days" />
        <Select label="Refresh (s)" value=refresh options=options on_change=Callback::new(put) />
    }
}

/// The board.
#[component]
fn Board(
    /// The state.
    store: Store,
    /// What feeds it.
    loader: Loader,
    /// Whether only what is for a wall is shown.
    embed: bool,
) -> impl IntoView {
    let stages = Memo::new(move |_| store.results.with(|r| r.stages.clone()));
    let has_rows = move || store.results.with(|r| !r.rows.is_empty()) && stages.with(|s| !s.is_empty());
    let said = Signal::derive(move || match store.phase.get() {
        Phase::Stuck(_) => "Cannot query the registry.".to_owned(),
        Phase::Blocked(_) => "This link queries a registry on a private network.".to_owned(),
        Phase::Busy if !has_rows() => format!("Reading the {} …", store.reads()),
        _ if !has_rows() => "No image uses a channel's tag.".to_owned(),
        _ => stages.with(|s| answer(s)),
    });
    show_in_tab(store, stages, said);
    notify(store, stages);
    let reasons = reasons(store);
    let announcement = announcement(store, said);
    let controls = move || {
        (!embed).then(|| {
            view! {
                <Diagnosis store=store />
                <Logins store=store loader=loader />
            }
        })
    };
    view! {
        <div class="results">
            <p class="sentence">{said}</p>
            <p class="vh" aria-live="polite">{announcement}</p>
            <Progress store=store loader=loader embed=embed />
            <Errors store=store />
            {controls}
            <Source store=store />
            <Warnings store=store loader=loader />
            <Show when=move || !has_rows() && store.phase.get() == Phase::Done>
                <Empty store=store embed=embed />
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

/// Says that no image is on the board.
#[component]
fn Empty(store: Store, embed: bool) -> impl IntoView {
    view! {
        <div class="empty">
            <p>"The filters exclude every image, or no image in the template uses the channel's tag."</p>
            <Show when=move || !embed>
                <button class="button" type="button" on:click=move |_| store.clear_filters()>"Clear the filters"</button>
            </Show>
        </div>
    }
}

/// Shows the state in title and icon, to those who see the tab alone.
fn show_in_tab(store: Store, stages: Memo<Vec<Stage>>, said: Signal<String>) {
    Effect::new(move |_| document().set_title(&format!("{} · overtag", said.get().trim_end_matches('.'))));
    let mark = Memo::new(move |_| {
        let is_wrong = stages.with(|s| s.iter().any(|s| !matches!(s.state, State::Whole | State::Waiting)));
        store.results.with(|r| favicon_hash(&r.stages, &r.rows)).map(|hash| (hash, is_wrong))
    });
    Effect::new(move |_| {
        if let Some((hash, is_wrong)) = mark.get() {
            browser::set_icon(&icon(&hash, is_wrong));
        }
    });
}

/// What holds the channels: as it was reported last, until all is read again. What was read for other choices is not shown.
fn reasons(store: Store) -> Signal<Reasons> {
    let reasons = Memo::new(move |before: Option<&(usize, Reasons)>| {
        let of = store.prepared.with(|p| Arc::as_ptr(p) as usize);
        match (store.is_busy(), before.filter(|(b, _)| *b == of)) {
            (true, Some(before)) => before.clone(),
            (true, None) => (of, None),
            (false, _) => (of, has_pipeline(store).then(|| why_not(store))),
        }
    });
    Signal::derive(move || reasons.get().1)
}

/// What a screen reader is to say, a second after it is shown: Orca drops announcements while a table is drawn. Emptied again, because
/// those who read the page find the sentence itself.
fn announcement(store: Store, said: Signal<String>) -> RwSignal<String> {
    let announcement = RwSignal::new(String::new());
    // What was to be said before that is not so any more.
    let turn = StoredValue::new(0_u32);
    Effect::new(move |last: Option<String>| {
        let (text, last) = (said.get(), last.unwrap_or_default());
        if store.is_busy() || text == last {
            return last;
        }
        let own = turn.get_value() + 1;
        turn.set_value(own);
        let say = move |text: String, after: u64| {
            let say = move || _ = (turn.try_get_value() == Some(own)).then(|| announcement.try_set(text));
            set_timeout(say, Duration::from_secs(after));
        };
        say(text.clone(), 1);
        say(String::new(), 5);
        text
    });
    announcement
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
