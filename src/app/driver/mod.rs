//! Starts work when the choices change, stops the work that they made idle, and feeds the store.

mod board;
mod comparison;
mod files;
mod leave;
mod run;
mod table;
mod work;

use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;

use self::work::Work;
use crate::app::state::{Phase, Prepared, Results, Store};
use crate::engine::options::link;
use crate::engine::options::settings::View;
use crate::engine::session::Run;
use crate::engine::template::plan::Plan;
use crate::net::web::Stopper;

/// How long typing must pause before a registry is asked.
const PAUSE: Duration = Duration::from_millis(250);

/// Hands the store its facts.
#[derive(Clone, Copy)]
pub struct Loader {
    store: Store,
    work: StoredValue<Option<Work>, LocalStorage>,
    timer: StoredValue<Option<TimeoutHandle>>,
    clock: StoredValue<Option<TimeoutHandle>>,
    renewal: StoredValue<bool>,
    has_begun: StoredValue<bool>,
    view: StoredValue<View>,
    fetching: StoredValue<Option<Stopper>, LocalStorage>,
    /// Of which cells of a board the rows are.
    cells: StoredValue<Vec<String>>,
}

impl Loader {
    /// A loader that follows the store's choices from now on.
    pub fn new(store: Store) -> Self {
        let loader = Self {
            store,
            work: StoredValue::new_local(None),
            timer: StoredValue::new(None),
            clock: StoredValue::new(None),
            renewal: StoredValue::new(false),
            has_begun: StoredValue::new(false),
            view: StoredValue::new(View::Prepare),
            fetching: StoredValue::new_local(None),
            cells: StoredValue::new(Vec::new()),
        };
        Effect::new(move |_| {
            let prepared = store.prepared.get();
            store.snapshot.track();
            store.leave.hosts.track();
            store.comparison.pair.track();
            store.comparison.older.track();
            store.link.refused.track();
            if store.screen.is_shown.get() {
                loader.follow(prepared);
            }
        });
        let every = Memo::new(move |_| store.choices.with(|c| c.get("refresh").map(str::to_owned)));
        Effect::new(move |_| {
            every.track();
            loader.wind();
        });
        loader
    }

    /// Stops what is under way and starts what the choices now ask for; at once the first time, else when the typing pauses.
    fn follow(self, prepared: Arc<Prepared>) {
        self.stop();
        self.store.leave.partial_files.set(false);
        // Rows of one view do not belong in another.
        if self.view.get_value() != prepared.settings.view {
            self.view.set_value(prepared.settings.view);
            self.store.board.opened.set(None);
            self.store.results.set(Results::default());
        }
        if self.store.link.refused.get_untracked() {
            let notice =
                self.store.link.notices.with_untracked(|n| n.iter().find(|n| link::is_refused(std::slice::from_ref(n))).cloned());
            self.store.results.set(Results::default());
            self.store.phase.set(notice.map_or(Phase::Done, Phase::Stuck));
            return;
        }
        // What was said of a file that was dropped stands until the other one is there too.
        if prepared.settings.view != View::Compare {
            self.store.said.set(String::new());
        }
        match &prepared.plan {
            None => {
                self.store.phase.set(Phase::Busy);
                self.store.results.set(Results::default());
                if let Some(url) = prepared.settings.template.clone() {
                    self.later(move || self.fetch(url.clone()));
                }
            }
            Some(Err(error)) => {
                self.store.results.set(Results::default());
                self.store.phase.set(Phase::Stuck(error.clone()));
                // A wall screen tries to fetch it again.
                if prepared.settings.template.is_some() {
                    self.wind();
                }
            }
            Some(Ok(plan)) => self.follow_plan(&prepared, plan),
        }
    }

    /// Starts what a plan asks for; where it is to be read from a snapshot, once that is fetched.
    fn follow_plan(self, prepared: &Arc<Prepared>, plan: &Plan) {
        let snapshot = match (self.store.snapshot.get_untracked(), prepared.settings.snapshot.clone()) {
            (Some(Ok(snapshot)), _) => Some(snapshot),
            (Some(Err(error)), _) => {
                self.store.results.set(Results::default());
                self.store.phase.set(Phase::Stuck(error));
                // A wall screen tries again.
                return self.wind();
            }
            (None, Some(url)) => {
                // Rows of a registry are none of the snapshot's.
                self.work.set_value(None);
                self.store.results.set(Results::default());
                self.store.phase.set(Phase::Busy);
                return self.later(move || self.fetch_snapshot(url.clone()));
            }
            (None, None) => None,
        };
        if prepared.settings.view == View::Compare {
            return self.compare(prepared, snapshot);
        }
        self.lay_out(prepared, plan);
        let blocked = self.blocked(prepared, plan, snapshot.as_deref());
        if !blocked.is_empty() {
            self.store.results.set(Results { rows: vec![None; plan.images.len()], ..Results::default() });
            return self.store.phase.set(Phase::Blocked(blocked));
        }
        self.store.phase.set(Phase::Busy);
        // In a task of its own: a template was rendered in this one.
        let prepared = prepared.clone();
        self.timer.set_value(set_timeout_with_handle(move || self.begin(&prepared, snapshot.clone()), Duration::ZERO).ok());
    }

    fn later(self, then: impl Fn() + 'static) {
        let pause = if self.has_begun.get_value() { PAUSE } else { Duration::ZERO };
        self.has_begun.set_value(true);
        self.timer.set_value(set_timeout_with_handle(then, pause).ok());
    }

    /// Sets the clock that refreshes a board, where one is chosen.
    fn wind(self) {
        if let Some(handle) = self.clock.try_update_value(Option::take).flatten() {
            handle.clear();
        }
        let is_board = self.store.prepared.with_untracked(|p| p.settings.view == View::Board);
        let is_idle = self.store.phase.with_untracked(|p| matches!(p, Phase::Done | Phase::Stuck(_)));
        if let Some(pause) = self.store.refresh_every().filter(|_| is_board && is_idle) {
            self.clock.set_value(set_timeout_with_handle(move || self.reload(true), pause).ok());
        }
    }

    fn stop(self) {
        for timer in [self.timer, self.clock] {
            if let Some(handle) = timer.try_update_value(Option::take).flatten() {
                handle.clear();
            }
        }
        self.work.with_value(|w| {
            if let Some(w) = w {
                w.stopper.stop();
            }
        });
        if let Some(stopper) = self.fetching.try_update_value(Option::take).flatten() {
            stopper.stop();
        }
    }

    /// Reads the run that the table shows, if there is one.
    pub fn with_run<T>(self, read: impl FnOnce(&Run) -> T) -> Option<T> {
        self.work.with_value(|w| w.as_ref().map(|w| read(&w.run.borrow())))
    }
}
