//! The work under way.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::app::state::Results;
use crate::engine::options::definitions::Choices;
use crate::engine::resolve::Summary;
use crate::engine::session::Run;
use crate::engine::snapshot::Snapshot;
use crate::engine::template::plan::Image;
use crate::engine::time::{Millis, Timestamp};
use crate::engine::workflow::board::BoardWorkflow;
use crate::net::web::{self, Stopper};

/// The work under way.
#[derive(Clone)]
pub struct Work {
    pub run: Rc<RefCell<Run>>,
    pub stopper: Stopper,
    /// The choices that it was asked by.
    pub asked_by: Choices,
    pub since: Millis,
    /// How long it took, once it has ended: what is looked up later for one cell does not count.
    pub took: Rc<Cell<Option<Duration>>>,
    /// When the oldest of its answers was asked for.
    pub asked_at: Timestamp,
    pub requests_before: usize,
    /// What is read beyond the cells of a board.
    pub board: Rc<RefCell<BoardWorkflow>>,
}

/// The choices that decide what registries are asked: not what is read beside them, and not by which limits it is judged.
pub fn asked_by(selection: &Choices) -> Choices {
    let mut out = selection.clone();
    ["late", "dlrn", "criteria", "zuul"].into_iter().for_each(|key| out.clear(key));
    out
}

impl Work {
    /// Whether registries, or the same snapshot, were asked all of this, and have answered.
    pub fn is_of(&self, asked_by: &Choices, images: &[Image], snapshot: Option<&Arc<Snapshot>>) -> bool {
        let run = self.run.borrow();
        let is_same = match (run.snapshot(), snapshot) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        };
        is_same && run.is_done() && self.asked_by == *asked_by && run.resolver().images() == images
    }

    pub fn new(run: Run, asked_at: Timestamp) -> Self {
        let board = BoardWorkflow::new(run.snapshot().and_then(|s| s.pipeline.as_ref()), web::clock());
        Self {
            run: Rc::new(RefCell::new(run)),
            stopper: Stopper::default(),
            asked_by: Choices::default(),
            since: web::now(),
            took: Rc::default(),
            asked_at,
            requests_before: 0,
            board: Rc::new(RefCell::new(board)),
        }
    }

    /// How far it is: results without rows, and without what a board reports beyond them.
    pub fn progress(&self, summary: Summary) -> Results {
        let run = self.run.borrow();
        let waits = run.waits_for(web::now()).map(|(host, pause)| (host, pause.as_millis().div_ceil(1000) as u64));
        Results {
            summary,
            known: run.known(),
            requests: run.requests() - self.requests_before,
            took: self.took.get().unwrap_or_else(|| web::now().since(self.since)),
            as_of: self.asked_at,
            waits: waits.filter(|(_, seconds)| *seconds > 0),
            unreadable: run.causes(),
            locked: run.locked().iter().map(|(host, locked)| (host.clone(), *locked)).collect(),
            ..Results::default()
        }
    }
}
