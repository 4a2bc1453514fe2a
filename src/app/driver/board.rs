//! What a board needs beyond its cells: the history of tags, and the pipeline.

use std::collections::HashMap;
use std::time::Duration;

use leptos::prelude::*;

use super::Loader;
use super::leave::host_of;
use super::work::{Standing, Work};
use crate::app::browser;
use crate::app::state::Prepared;
use crate::engine::board::report::hash_of;
use crate::engine::board::{Known, Stage, stages};
use crate::engine::pipeline::Want;
use crate::engine::registry::Query;
use crate::engine::template::plan::Plan;
use crate::net::web::{self, Stopper};

/// Addresses of the pipeline that are read at once.
const PIPELINE: usize = 6;

impl Loader {
    /// Puts what is known in its place where rows and columns are others now: an answer stays with its cell.
    pub(super) fn lay_out(self, prepared: &Prepared, plan: &Plan) {
        let cells: Vec<String> = prepared.grid.cells(plan).into_iter().map(|cell| cell.imagename).collect();
        let old = self.cells.try_update_value(|c| std::mem::replace(c, cells.clone())).unwrap_or_default();
        if old == cells || self.store.results.with_untracked(|r| r.stages.is_empty()) {
            return;
        }
        self.store.results.update(|r| {
            let known: HashMap<String, Known> = old.into_iter().zip(std::mem::take(&mut r.rows)).collect();
            r.rows = cells.iter().map(|cell| known.get(cell).cloned().flatten()).collect();
            r.stages = stages(&prepared.grid, plan, &r.rows);
        });
    }

    /// Asks for what a board reports beyond its cells: the history of tags, and the pipeline. Whether anything of that is under way.
    pub(super) fn go_on(
        self,
        work: &Work,
        prepared: &Prepared,
        stages: &[Stage],
        queries: Vec<Query>,
        has_snapshot: bool,
    ) -> bool {
        if work.is_cancelled.get() {
            return false;
        }
        let wants_history = has_snapshot || self.store.board.wants_history.get_untracked();
        let now: Vec<Standing> = stages.iter().map(|s| (s.hash.clone(), s.counts.at_hash, s.counts.torn)).collect();
        if wants_history && work.history_of.borrow().as_ref() != Some(&now) && !queries.is_empty() {
            *work.history_of.borrow_mut() = Some(now);
            work.run.borrow_mut().refetch(queries);
            let work = work.clone();
            // Not from within: this is called by what that calls.
            set_timeout(move || self.go(&work), Duration::ZERO);
            return true;
        }
        // What a snapshot holds of it is all that there is.
        let is_kept = work.run.borrow().snapshot().is_some_and(|s| s.pipeline.is_some());
        if work.reading.get() > 0 || is_kept {
            return work.reading.get() > 0;
        }
        let wants = work.pipeline.borrow().next_fetches(&prepared.settings, &|c| hash_of(stages, c), true);
        let few: Vec<Want> = wants.into_iter().take(PIPELINE).collect();
        work.reading.set(few.len());
        for want in few {
            let work = work.clone();
            wasm_bindgen_futures::spawn_local(async move {
                let text = self.read_beside(&want.url, &work.stopper).await;
                if work.stopper.is_stopped() {
                    return;
                }
                work.pipeline.borrow_mut().take(want.clone(), &browser::beside(&want.url), web::clock(), text);
                work.reading.set(work.reading.get().saturating_sub(1));
                self.renew();
            });
        }
        work.reading.get() > 0
    }

    /// Reads an address of the pipeline. One that a file led to may be on a private network, where it has no business.
    pub(super) async fn read_beside(self, url: &str, stopper: &Stopper) -> Result<String, String> {
        let address = browser::beside(url);
        let host = host_of(&address);
        if !self.may_ask(&host) {
            return Err(format!("{host} is on a private network, and this page is not"));
        }
        web::fetch(&address, stopper).await
    }

    /// Asks for what a board reports beyond its cells, where that was chosen just now.
    pub fn go_on_now(self) {
        self.store.board.history_trouble.set(None);
        self.work.with_value(|w| w.iter().for_each(|w| w.is_cancelled.set(false)));
        self.renew();
    }
}
