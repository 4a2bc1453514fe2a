//! The cell that is open.

use crate::app::browser;
use crate::app::driver::Loader;
use crate::app::parts::access::Lines;
use crate::app::parts::images::{Detail, toggle_query};
use crate::app::state::Store;
use crate::engine::board::{self, pulls};
use crate::engine::resolve::Status;
use crate::engine::time::age;
use crate::engine::wording::short;
use crate::net::web::clock;
use leptos::html::Dialog;
use leptos::prelude::*;
use std::time::Duration;

/// The cell that is open, and all that is known of it.
#[component]
pub fn Cell(store: Store, loader: Loader) -> impl IntoView {
    let dialog = NodeRef::<Dialog>::new();
    Effect::new(move |_| {
        if let (Some(_), Some(dialog)) = (store.board.opened.get(), dialog.get()) {
            _ = dialog.show_modal();
            // So that it is read from its beginning, and not from its first button.
            set_timeout(|| browser::focus("#cell-title"), Duration::ZERO);
            store.said.set(String::new());
        }
    });
    // One that is opened while the board is being asked for has its turn afterwards.
    Effect::new(move |_| {
        if let (Some(i), false) = (store.board.opened.get(), store.is_busy()) {
            loader.read_labels(i);
        }
    });
    let asked = Memo::new(move |_| {
        let i = store.board.opened.get()?;
        store.prepared.with(|p| {
            let width = p.grid.channels.len().max(1);
            let image = p.plan()?.images.get(*p.grid.members.get(i / width)?)?.clone();
            Some((i, image, p.grid.channels.get(i % width)?.clone()))
        })
    });
    let title = move || asked.with(|a| a.as_ref().map(|(_, image, channel)| format!("{} in {channel}", image.short)));
    // Nothing is drawn again under the reader's eyes unless its own answer changes.
    let row = Memo::new(move |_| {
        let i = store.board.opened.get()?;
        store.results.with(|r| r.rows.get(i).cloned()).flatten()
    });
    let inner = move || {
        let ((i, image, channel), row) = (asked.get()?, row.get());
        let reference = image.reference.ok().map(|r| crate::engine::image::reference::Reference { tag: channel.clone(), ..r });
        let dates = row.as_ref().filter(|r| r.status == Status::Resolved).map(|r| match r.moved_at {
            Some(at) => format!("{channel} was pushed at {at}, {} ago.", age(clock().since(at))),
            None => "This registry does not report when it was pushed.".to_owned(),
        });
        let commands = match (&reference, &row) {
            (Some(reference), Some(row)) if row.digest.is_some() => pulls(reference, row).join("\n") + "\n",
            _ => String::new(),
        };
        let siblings = siblings(loader, reference.as_ref(), row.as_deref());
        let siblings = (!siblings.is_empty()).then(|| view! { <h3>"Queried tags with the same digest"</h3><ul class="mono">{siblings.into_iter().map(|t| view! { <li>{t}</li> }).collect_view()}</ul> });
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
        <dialog class="cell-detail" aria-labelledby="cell-title" node_ref=dialog on:close=move |_| store.board.opened.set(None)>
            <h2 id="cell-title" tabindex="-1">{title}</h2>
            {inner}
            // The line that says so on the page cannot be heard from below a dialog.
            <p class="quiet" role="status">{move || store.board.opened.get().map(|_| store.said.get())}</p>
            <div class="ends">{only}<button class="button" type="button" on:click=move |_| close()>"Close"</button></div>
        </dialog>
    }
}

/// Other tags of the same digest, as far as the registry reported them.
pub fn siblings(
    loader: Loader,
    reference: Option<&crate::engine::image::reference::Reference>,
    row: Option<&crate::engine::resolve::Row>,
) -> Vec<String> {
    let (Some(reference), Some(row)) = (reference, row) else { return Vec::new() };
    let Some(digest) = &row.digest else { return Vec::new() };
    let reported = loader.with_run(|run| board::siblings(run.facts(), &reference.repository, digest));
    reported.unwrap_or_default().into_iter().filter(|tag| *tag != reference.tag).collect()
}
