//! Shows what the run knows by now.

use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;

use super::Loader;
use super::work::Work;
use crate::app::state::{Phase, Results};
use crate::engine::board::{Known, stages};
use crate::engine::options::settings::View;

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
        drop(run);
        let is_pausing = self.store.is_pausing();
        let is_more = match board {
            Some(plan) if is_done && !is_pausing => self.go_on(&work, prepared.subject(plan), &rows, &stages),
            _ => false,
        };
        let is_all = is_done && !is_more;
        // Until all is read again, what was known of the pipeline stands: half of it would say what is not so.
        let (timeline, pipeline) = match board.filter(|_| is_all) {
            Some(plan) => {
                self.check_history(&work);
                let board = work.board.borrow();
                let timeline = board.timeline(prepared.subject(plan), &work.run.borrow(), &rows, &mut stages);
                (if timeline == *old.timeline { old.timeline.clone() } else { Arc::new(timeline) }, board.pipeline().clone())
            }
            None => {
                old.timeline.inform(&mut stages);
                (old.timeline.clone(), old.pipeline.clone())
            }
        };
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
    fn check_history(self, work: &Work) {
        let failure = work.board.borrow_mut().history_failure(&work.run.borrow());
        if failure.is_some() && self.store.board.wants_history.get_untracked() {
            // A failure is not an empty history: the button is offered again.
            self.store.board.wants_history.set(false);
            self.store.board.history_trouble.set(failure);
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
