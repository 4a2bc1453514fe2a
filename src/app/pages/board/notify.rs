//! Notifies of a channel that moved or tore, where the visitor asked for that.

use crate::app::browser;
use crate::app::state::{Phase, Prepared, Store};
use crate::engine::board::{Stage, State};
use leptos::prelude::*;
use std::sync::Arc;

/// Under which name the browser keeps that the visitor is to be notified.
pub const NOTIFY: &str = "overtag-notify";

/// Notifies of a channel that moved or tore, where the visitor asked for that. Each channel is compared
/// with its last known state: a change of the choices is not a move, nor is a channel that could not be checked.
pub fn notify(store: Store, stages: Memo<Vec<Stage>>) {
    Effect::new(move |before: Option<Option<(Arc<Prepared>, Vec<Stage>)>>| {
        let (now, before) = (stages.get(), before.flatten());
        if store.phase.get() != Phase::Done {
            return before;
        }
        let prepared = store.prepared.get_untracked();
        let old = before.filter(|(p, _)| Arc::ptr_eq(p, &prepared)).map(|(_, old)| old).unwrap_or_default();
        let news = |stage: Stage| match old.iter().find(|s| s.channel == stage.channel) {
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
        Some((prepared, now.into_iter().map(news).collect()))
    });
}
