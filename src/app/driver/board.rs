//! What a board needs beyond its cells: the history of tags, and the pipeline.

use std::collections::HashMap;
use std::time::Duration;

use leptos::prelude::*;

use super::Loader;
use super::leave::host_of;
use super::work::Work;
use crate::app::browser;
use crate::app::state::Prepared;
use crate::engine::board::{Known, Stage, stages};
use crate::engine::pipeline::Want;
use crate::engine::template::plan::Plan;
use crate::engine::workflow::Need;
use crate::engine::workflow::board::Subject;
use crate::net::web::{self, Stopper};

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
    pub(super) fn go_on(self, work: &Work, subject: Subject<'_>, rows: &[Known], stages: &[Stage]) -> bool {
        let mut board = work.board.borrow_mut();
        let wants_history = self.store.board.wants_history.get_untracked();
        let need = board.next_need(subject, &work.run.borrow(), rows, stages, wants_history);
        match need {
            Need::Done => return false,
            Need::Query(queries) => {
                work.run.borrow_mut().refetch(queries);
                let work = work.clone();
                // Not from within: this is called by what that calls.
                set_timeout(move || self.go(&work), Duration::ZERO);
            }
            Need::Fetch(wants) => wants.into_iter().for_each(|want| self.read_pipeline(work.clone(), want)),
        }
        true
    }

    fn read_pipeline(self, work: Work, want: Want) {
        wasm_bindgen_futures::spawn_local(async move {
            let text = self.read_beside(&want.url, &work.stopper).await;
            if !work.stopper.is_stopped() {
                let from = browser::beside(&want.url);
                work.board.borrow_mut().deliver(want, &from, web::clock(), text);
                self.renew();
            }
        });
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
        self.work.with_value(|w| w.iter().for_each(|w| w.board.borrow_mut().resume()));
        self.renew();
    }
}
