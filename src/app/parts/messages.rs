//! How far the work is, what failed, and what the reader has to know.

use crate::app::driver::Loader;
use crate::app::state::{Phase, Store};
use crate::app::ui::sentence;
use crate::engine::error::Location;
use crate::engine::options::settings::View;
use crate::engine::output::Outcome;
use leptos::prelude::*;

/// How far the work is, and what can be done about it.
#[component]
pub fn Progress(
    /// The state.
    store: Store,
    /// Who stops and starts it.
    loader: Loader,
    /// Whether nothing can be pressed.
    embed: bool,
) -> impl IntoView {
    let answered = Memo::new(move |_| store.results.with(|r| (r.known, r.summary.asked)));
    // Announced at every quarter of the way, not at every answer.
    let quarter = Memo::new(move |_| answered.with(|(known, asked)| known * 4 / (*asked).max(1)));
    let status = Memo::new(move |_| {
        quarter.track();
        let phase = store.phase.get();
        if phase == Phase::Done {
            store.results.track();
        }
        let (known, asked) = answered.get_untracked();
        let r = store.results.get_untracked();
        match phase {
            Phase::Busy if asked == 0 => format!("Reading the {}", store.reads()),
            Phase::Busy if known == asked && !r.stages.is_empty() => {
                format!("{asked} cells known, still reading, {} requests", r.requests)
            }
            Phase::Busy if !r.stages.is_empty() => format!("{known} of {asked} cells, {} requests", r.requests),
            Phase::Busy => format!("{known} of {asked}, {:.1} requests an image", r.requests as f64 / asked as f64),
            Phase::Stuck(error) => error.to_string(),
            Phase::Blocked(hosts) => format!("No request was sent yet to {}", hosts.join(", ")),
            Phase::Done => {
                let errors = if r.summary.error > 0 { format!(", {} in error", r.summary.error) } else { String::new() };
                let (time, took) = (r.as_of.to_string(), r.took.as_secs_f64());
                let time = time.get(11..16).unwrap_or_default();
                format!("Done in {took:.1} s, {} requests{errors} · as of {time} UTC", r.requests)
            }
        }
    });
    let waits = Memo::new(move |_| store.results.with(|r| r.waits.clone()).filter(|_| store.is_busy()));
    let waits_for = Memo::new(move |_| waits.get().map(|(host, _)| host));
    let is_busy = move || store.is_busy();
    let has_failed = move || store.results.with(|r| r.summary.error > 0) && !is_busy();
    view! {
        <div class="run">
            <Show when=is_busy>
                <progress max=move || answered.get().1.max(1) value=move || answered.get().0 aria-label=move || if store.view().get() == View::Board { "Cells answered" } else { "Images answered" }></progress>
            </Show>
            <p role="status">
                // What the clock began goes on in silence: a board says what has changed.
                <span aria-live=move || store.screen.by_clock.get().then_some("off")>{status}</span>
                // The seconds are for the eye; a screen reader hears once for whom.
                <span class="vh">{move || waits_for.get().map(|host| format!(", waiting for {host}"))}</span>
                <span aria-hidden="true">{move || waits.get().map(|(host, seconds)| format!(", waiting {seconds} s for {host}"))}</span>
                {move || Some(store.said.get()).filter(|s| !s.is_empty()).map(|s| format!(" · {s}"))}</p>
            <Show when=move || !embed>
                <button class="button" type="button" disabled=move || !is_busy() on:click=move |_| loader.cancel()>"Cancel"</button>
                <button class="button" type="button" disabled=move || !has_failed() on:click=move |_| loader.retry()>"Retry failed"</button>
                <button class="button" data-kind="text" type="button" on:click=move |_| loader.refresh()>"Refresh"</button>
            </Show>
        </div>
    }
}

/// What went wrong, once for each cause.
#[component]
pub fn Errors(
    /// The state.
    store: Store,
) -> impl IntoView {
    let causes = Memo::new(move |_| {
        let mut causes: Vec<(String, String, Vec<String>)> = Vec::new();
        store.results.with(|r| {
            for (i, row) in r.rows.iter().enumerate() {
                let Some(row) = row.as_ref().filter(|r| r.status == crate::engine::resolve::Status::Error) else { continue };
                let name = store.name(i).unwrap_or_default().0;
                match causes.iter_mut().find(|(message, ..)| *message == row.reason) {
                    Some((_, _, names)) => names.push(name),
                    None => causes.push((row.reason.clone(), row.hint.clone(), vec![name])),
                }
            }
        });
        causes
    });
    let stuck = move || match store.phase.get() {
        Phase::Stuck(error) => {
            let place = (error.location != Location::Nowhere).then(|| view! { <code>{error.location.to_string()}</code> });
            Some(
                view! { <div class="notice" data-kind="error" role="alert"><p>{error.message.clone()} ". " {place} " " {sentence(&error.hint)}</p></div> },
            )
        }
        _ => None,
    };
    let notices = move || {
        if store.is_busy() {
            return None;
        }
        let unknown = match store.prepared.with(|p| p.settings.view) {
            View::Prepare => "Not in the files, and not known to be absent.",
            _ => "Unknown, and not known to be absent.",
        };
        let notice = |(message, hint, names): (String, String, Vec<String>)| {
            let who = match names.as_slice() {
                [one] => one.clone(),
                [first, ..] => format!("{first} and {} more", names.len() - 1),
                [] => String::new(),
            };
            view! { <div class="notice" data-kind="error"><p><b>{who}</b> ": " {message} ". " {unknown} " " {sentence(&hint)}</p></div> }
        };
        Some(causes.get().into_iter().take(4).map(notice).collect_view())
    };
    view! { {stuck} {notices} }
}

/// What the author of a template, an environment or a compared file should know, and parameters that fell to another image.
#[component]
pub fn Warnings(
    /// The state.
    store: Store,
    /// Who knows what the registries say.
    loader: Loader,
) -> impl IntoView {
    let warnings = Memo::new(move |_| {
        store.results.track();
        let prepared = store.prepared.get();
        let sides = store.comparison.sides.get();
        let of_sides = sides.iter().flat_map(|sides| sides.iter().flat_map(|side| &side.notices)).map(ToString::to_string);
        let Some(Ok(plan)) = &prepared.plan else { return of_sides.collect() };
        let mut all: Vec<String> = plan.warnings.iter().map(ToString::to_string).chain(of_sides).collect();
        if store.phase.get() == Phase::Done {
            let cautions = loader.with_run(|run| Outcome::of_run(&prepared.settings, plan, run).cautions());
            all.extend(cautions.unwrap_or_default().iter().map(ToString::to_string));
        }
        all
    });
    let notice = |text: String| view! { <div class="notice" data-kind="warning"><p>{text}</p></div> };
    move || warnings.get().into_iter().map(notice).collect_view()
}
