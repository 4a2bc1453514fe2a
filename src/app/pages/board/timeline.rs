//! When channels were promoted: drawn, and as a table.

use crate::app::driver::Loader;
use crate::app::parts::hash_flag::paths;
use crate::app::parts::images::Hash;
use crate::app::state::Store;
use crate::app::ui::sentence;
use crate::engine::output::images;
use crate::engine::time::{Timestamp, age};
use crate::engine::wording::short;
use crate::net::web::clock;
use leptos::prelude::*;

/// Promotions that the table reports.
pub const EVENTS: usize = 200;

/// When channels were promoted: drawn, and as a table.
#[component]
pub fn Times(store: Store, loader: Loader) -> impl IntoView {
    let timeline = Memo::new(move |_| store.results.with(|r| r.timeline.clone()));
    let pipeline = Memo::new(move |_| store.results.with(|r| r.pipeline.clone()));
    let is_asked = move || store.board.wants_history.get();
    // Of a snapshot all is read that it reports.
    let can_ask = Memo::new(move |_| {
        let has_times = store.results.with(|r| r.rows.iter().flatten().any(|row| row.moved_at.is_some()));
        has_times && !is_asked() && store.snapshot.with(Option::is_none)
    });
    let error = move || {
        let why = store.board.history_trouble.get()?;
        Some(view! { <div class="notice" data-kind="warning"><p>{sentence(&why.message)} " " {sentence(&why.hint)}</p></div> })
    };
    let query = move |_| {
        store.board.wants_history.set(true);
        loader.go_on_now();
    };
    let list = move || {
        let timeline = timeline.get();
        let channels = store.prepared.with(|p| p.grid.channels.clone());
        if timeline.events.is_empty() {
            let text = match store.is_busy() {
                true => "Available when the board has loaded.",
                false if is_asked() => "The registry reports no history of these tags.",
                false if can_ask.get() => "",
                false => {
                    "No source reports the history of these tags. Give DLRN's promotions (dlrn=), or a snapshot that you extend with overtag snapshot --since."
                }
            };
            return view! { <p class="quiet">{text}</p> }.into_any();
        }
        let horizon = timeline.horizon.map(|at| view! { <p class="quiet">{move || format!("No history is available before {at} ({} ago).", age(store.screen.now.get().since(at)))}</p> });
        let row = move |e: crate::engine::board::timeline::Event| {
            let images = e.images.map_or("reported by DLRN".to_owned(), |(n, of)| format!("{n} of {}", images(of)));
            let earlier = e.or_earlier.then_some(", or earlier");
            let took = (e.last > e.first).then(|| format!(", over {}", age(e.last.since(e.first))));
            let back = e.is_rollback.then(|| view! { " " <span class="chip" data-note="torn">"rolled back"</span> });
            let link = pipeline.with(|p| p.repository(&e.channel, &e.hash)).map(|url| view! { " " <a href=url target="_blank" rel="noopener">"Repository"<span class="vh">{format!(" of {}", short(&e.hash))}</span></a> });
            view! {
                <tr>
                    <th scope="row"><time datetime=e.first.to_string()>{e.first.to_string()}</time></th>
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
            {(timeline.events.len() > EVENTS).then(|| view! { <p class="quiet">{format!("Showing the newest {EVENTS} of {}; overtag board --format json lists all.", timeline.events.len())}</p> })}
        }
        .into_any()
    };
    view! {
        <section class="times" aria-labelledby="times-title">
            <h2 id="times-title">"Promotions"</h2>
            {error}
            <Show when=move || can_ask.get()>
                <p><button class="button" type="button" on:click=query>"Read the history"</button> <span class="quiet">" This queries the tag history of three images per channel."</span></p>
            </Show>
            {list}
        </section>
    }
}

/// The timeline, a lane a channel; the marks are those of the hashes. What it shows stands in the table below it.
#[component]
pub fn Drawing(
    events: Vec<crate::engine::board::timeline::Event>,
    horizon: Option<Timestamp>,
    channels: Vec<String>,
) -> impl IntoView {
    const WIDE: f64 = 1000.0;
    const LANE: usize = 40;
    let now = clock();
    let oldest = events.iter().map(|e| e.first).chain(horizon).min().unwrap_or(now);
    let span = now.since(oldest).as_secs().max(3600) as f64 * 1.04;
    let at = move |time: Timestamp| WIDE - now.since(time).as_secs_f64() / span * WIDE;
    let high = channels.len() * LANE + 24;
    let lanes = channels.iter().enumerate().map(|(c, channel)| {
        let y = c * LANE + 14;
        view! { <text class="lane" x="0" y=y.to_string()>{channel.clone()}</text><path class="rule" d=format!("M0 {0}H{WIDE}", y + 14)></path> }
    });
    let marks = events.iter().filter_map(|e| {
        let y = channels.iter().position(|c| *c == e.channel)? * LANE + 21;
        let x = (at(e.first) - 10.5).clamp(0.0, WIDE - 21.0);
        let back = e.is_rollback.then(|| view! { <text class="back" x=format!("{:.1}", x + 22.0) y=(y + 11).to_string()>"↶"</text> });
        let title = format!("{} {} {}{}", e.first, e.channel, short(&e.hash), if e.is_rollback { ", rolled back" } else { "" });
        Some(view! { <g><title>{title}</title><svg x=format!("{x:.1}") y=y.to_string() width="21" height="14" viewBox="0 0 18 12" inner_html=paths(&e.hash)></svg>{back}</g> })
    });
    let days = {
        let step = [3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400]
            .into_iter()
            .find(|s| span / (*s as f64) <= 16.0)
            .unwrap_or(3650 * 86_400);
        let first = oldest.min(now).0.div_ceil(step) * step;
        (first..=now.0).step_by(step as usize).take(20).map(Timestamp).map(move |t| {
            let text = t.to_string()[if step < 86_400 { 11..16 } else { 5..10 }].to_owned();
            view! { <text class="tick" x=format!("{:.1}", at(t)) y=(high - 4).to_string()>{text}</text><path class="rule" d=format!("M{0:.1} 0V{1}", at(t), high - 16)></path> }
        })
    };
    let edge = horizon.map(|h| {
        view! { <path class="horizon" d=format!("M{0:.1} 0V{1}", at(h), high - 16)></path><rect class="beyond" x="0" y="0" width=format!("{:.1}", at(h).max(0.0)) height=(high - 16).to_string()></rect> }
    });
    let label = format!("Timeline of {} promotions; the table below lists them", events.len());
    view! {
        <svg class="timeline" role="img" aria-label=label viewBox=format!("0 0 {WIDE} {high}")>
            {edge}
            {days.collect_view()}
            {lanes.collect_view()}
            {marks.collect_view()}
        </svg>
    }
}
