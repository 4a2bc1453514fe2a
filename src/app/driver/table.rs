//! Shows what the run knows by now.

use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;

use super::Loader;
use super::work::Work;
use crate::app::state::{Phase, Results};
use crate::engine::board::timeline::{self, Timeline};
use crate::engine::board::{Grid, Known, stages};
use crate::engine::options::settings::View;
use crate::engine::pipeline::Pipeline;
use crate::engine::registry::Query;
use crate::engine::template::plan::Plan;

/// How often the table is renewed while answers stream in.
const RENEWAL: Duration = Duration::from_millis(80);

impl Loader {
    /// Renews the table, but not for every single answer.
    pub(super) fn renew_soon(self) {
        let is_done = self.work.with_value(|w| w.as_ref().is_some_and(|w| w.run.borrow().is_done()));
        if is_done {
            self.renew();
        } else if !self.renewal.get_value() {
            self.renewal.set_value(true);
            set_timeout(
                move || {
                    self.renewal.set_value(false);
                    self.renew();
                },
                RENEWAL,
            );
        }
    }

    /// Shows what is known by now, and asks for what a board reports beyond its cells.
    pub(super) fn renew(self) {
        let Some(work) = self.work.get_value() else { return };
        // A timer may come after its work was stopped.
        if work.stopper.is_stopped() {
            return;
        }
        let run = work.run.borrow();
        let (rows, summary) = run.summarize();
        let is_done = run.is_done();
        let old = self.store.results.get_untracked();
        let rows = shared(rows, &old.rows);
        let prepared = self.store.prepared.get_untracked();
        let board = prepared.plan().filter(|_| prepared.settings.view == View::Board);
        let mut stages = board.map_or_else(Vec::new, |plan| stages(&prepared.grid, plan, &rows));
        let has_snapshot = run.snapshot().is_some();
        let queries = match board {
            Some(plan) if is_done => timeline::queries(&prepared.grid, plan, &rows, run.facts(), has_snapshot),
            _ => Vec::new(),
        };
        drop(run);
        let is_pausing = self.store.is_pausing();
        let is_more =
            is_done && board.is_some() && !is_pausing && self.go_on(&work, &prepared, &stages, queries.clone(), has_snapshot);
        let is_all = is_done && !is_more;
        // Until all is read again, what was known of the pipeline stands: half of it would say what is not so.
        let (timeline, pipeline) = match board.filter(|_| is_all) {
            Some(plan) => {
                self.check_history(&work, &queries);
                promotions(&work, &prepared.grid, plan, &rows, &old)
            }
            None => (old.timeline.clone(), old.pipeline.clone()),
        };
        timeline.inform(&mut stages);
        let results = Results { rows, stages, timeline, pipeline, ..work.progress(summary) };
        let took = results.took;
        self.store.results.set(results);
        if is_pausing {
            return;
        }
        let phase = if is_all { Phase::Done } else { Phase::Busy };
        // Not at every answer: those who follow it would do their work again.
        if self.store.phase.with_untracked(|p| *p != phase) {
            self.store.phase.set(phase);
        }
        if is_all {
            work.took.set(Some(took));
            self.wind();
        }
    }

    /// Says where the history of tags could not be read.
    fn check_history(self, work: &Work, queries: &[Query]) {
        let run = work.run.borrow();
        let failed = queries.iter().find_map(|query| run.facts().answers.get(query)?.as_ref().err());
        if let Some(error) = failed.filter(|_| run.snapshot().is_none() && self.store.board.wants_history.get_untracked()) {
            // A failure is not an empty history: the button is offered again.
            self.store.board.history_trouble.set(Some(format!("{}: {}", error.message, error.hint)));
            self.store.board.wants_history.set(false);
            *work.history_of.borrow_mut() = None;
        }
    }
}

/// Rows of which those that did not change keep their identity, so that nothing of them is drawn again.
fn shared(rows: Vec<Known>, old: &[Known]) -> Vec<Known> {
    let share = |(i, row): (usize, Known)| {
        let row = row?;
        Some(old.get(i).cloned().flatten().filter(|o| Arc::ptr_eq(o, &row) || **o == *row).unwrap_or(row))
    };
    rows.into_iter().enumerate().map(share).collect()
}

/// When channels were promoted, and the pipeline that was read; the old ones where they are the same.
fn promotions(work: &Work, grid: &Grid, plan: &Plan, rows: &[Known], old: &Results) -> (Arc<Timeline>, Arc<Pipeline>) {
    let read = work.pipeline.borrow();
    let new = Timeline::new(grid, plan, rows, work.run.borrow().facts(), &read);
    (
        if new == *old.timeline { old.timeline.clone() } else { Arc::new(new) },
        if *read == *old.pipeline { old.pipeline.clone() } else { Arc::new(read.clone()) },
    )
}
