//! The run: begins it, goes on with it, ends it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;

use super::Loader;
use super::work::{Work, asked_by};
use crate::app::browser;
use crate::app::state::{Phase, Prepared};
use crate::engine::error::{Error, Kind};
use crate::engine::options::settings::View;
use crate::engine::registry::Caller;
use crate::engine::registry::auth::Logins;
use crate::engine::resolve::Facts;
use crate::engine::session::{Client, Run};
use crate::engine::snapshot::Snapshot;
use crate::engine::workflow::board::BoardWorkflow;
use crate::engine::workflow::prepare;
use crate::net::web::{self, Stopper};

/// How old an answer may be, to be used again when other choices are made: a tag that moves may move any time.
const FRESH: Duration = Duration::from_secs(60);
/// Rows that are looked at in one task.
const LOOK: usize = 250;

impl Loader {
    /// Shows what old facts say about the new choices at once, and asks for the rest when the typing pauses.
    pub(super) fn begin(self, prepared: &Prepared, snapshot: Option<Arc<Snapshot>>) {
        let Some(plan) = prepared.plan() else { return };
        let images = match prepared.settings.view {
            View::Board => prepared.grid.cells(plan),
            _ => plan.images.clone(),
        };
        let asked_by = self.store.link.selection.with_untracked(asked_by);
        let before = self.work.try_update_value(Option::take).flatten();
        if let Some(mut work) = before.clone().filter(|work| work.is_of(&asked_by, &images, snapshot.as_ref())) {
            work.stopper = Stopper::default();
            work.board.borrow_mut().restart(snapshot.as_ref().and_then(|s| s.pipeline.as_ref()), web::clock());
            self.store.results.update(|r| r.pipeline = Arc::default());
            self.work.set_value(Some(work));
            return self.renew();
        }
        let known = before.filter(|work| {
            let (run, settings) = (work.run.borrow(), &prepared.settings);
            let old = run.resolver().settings();
            let is_same = old.endpoints == settings.endpoints && old.api == settings.api;
            is_same && run.snapshot().is_none() && web::clock().since(work.asked_at) <= FRESH
        });
        let (facts, asked_at) = match (known, &snapshot) {
            (Some(work), None) => (work.run.borrow_mut().take_facts(), work.asked_at),
            (_, Some(snapshot)) => (Facts::default(), snapshot.fetched()),
            (None, None) => (Facts { asked_at: web::clock(), ..Facts::default() }, web::clock()),
        };
        let run = match prepared.settings.view {
            View::Board => BoardWorkflow::start(prepared.subject(plan), self.client(), facts, snapshot),
            _ => prepare::start(&prepared.settings, plan, self.client(), facts, snapshot),
        };
        let work = Work { asked_by, ..Work::new(run, asked_at) };
        self.work.set_value(Some(work.clone()));
        // Promotions of other channels do not belong here.
        self.store.results.update(|r| (r.timeline, r.pipeline) = Default::default());
        self.store.board.history_trouble.set(None);
        self.evaluate(work, move |work| {
            if !work.run.borrow().is_done() {
                self.later(move || self.go(&work));
            }
        });
    }

    /// Looks at all rows bit by bit, shows what is known of them, and goes on.
    fn evaluate(self, work: Work, then: impl FnOnce(Work) + 'static) {
        if work.stopper.is_stopped() {
            return;
        }
        let is_more = work.run.borrow_mut().evaluate_some(LOOK);
        // What follows, and what is drawn, is done in a task of its own.
        set_timeout(
            move || match is_more {
                true => self.evaluate(work, then),
                false => {
                    self.renew();
                    then(work);
                }
            },
            Duration::ZERO,
        );
    }

    pub(super) fn client(self) -> Client {
        Client { caller: Caller::Browser, page: browser::origin(), logins: self.store.leave.logins.get_untracked() }
    }

    pub(super) fn go(self, work: &Work) {
        let changed: Rc<dyn Fn()> = Rc::new(move || self.renew_soon());
        web::drive(&work.run, &work.stopper, &changed);
        // What needed no request, or ran out of time at once, is known now.
        self.renew();
    }

    /// Cancel: keeps what is known, and calls the rest an error.
    pub fn cancel(self) {
        self.stop();
        let prepared = self.store.prepared.get_untracked();
        if prepared.settings.view == View::Compare {
            let error = Error::new(Kind::Registry, "the comparison was cancelled", "", "press Refresh to try again");
            return self.store.phase.set(Phase::Stuck(error));
        }
        let lacks = match self.store.prepared.with_untracked(|p| (p.plan.is_none(), p.settings.snapshot.is_some())) {
            (true, _) => Some("template"),
            (_, true) if self.store.snapshot.with_untracked(Option::is_none) => Some("snapshot"),
            _ => None,
        };
        if let Some(message) = lacks {
            let error =
                Error::new(Kind::Registry, format!("the {message} was not fetched: cancelled"), "", "press Refresh to try again");
            self.store.phase.set(Phase::Stuck(error));
            return;
        }
        let stages = self.store.results.with_untracked(|r| r.stages.clone());
        self.work.update_value(|w| {
            if let Some(w) = w {
                w.stopper = Stopper::default();
                w.run.borrow_mut().cancel();
                w.asked_at = w.run.borrow().facts().asked_at;
                w.board.borrow_mut().cancel(&prepared.settings, &stages);
            }
        });
        self.renew();
    }

    /// Retry failed: asks again for what is in error.
    pub fn retry(self) {
        self.stop();
        self.store.screen.by_clock.set(false);
        let prepared = self.store.prepared.get_untracked();
        if prepared.settings.view == View::Compare {
            return self.follow(prepared);
        }
        self.again(|run, logins| run.retry_failed(logins));
    }

    /// Goes on with the run that the table shows, after `change`.
    fn again(self, change: impl FnOnce(&mut Run, Logins)) {
        let Some(mut work) = self.work.try_update_value(Option::take).flatten() else { return };
        work.stopper = Stopper::default();
        work.since = web::now();
        change(&mut work.run.borrow_mut(), self.store.leave.logins.get_untracked());
        work.requests_before = work.run.borrow().requests();
        work.asked_at = work.run.borrow().facts().asked_at;
        self.store.prepared.with_untracked(|p| work.board.borrow_mut().refresh(&p.settings));
        work.took = Rc::default();
        self.work.set_value(Some(work.clone()));
        self.store.phase.set(Phase::Busy);
        // To forget what can have moved is a task of its own.
        set_timeout(move || self.evaluate(work, move |work| self.go(&work)), Duration::ZERO);
    }

    /// Asks for everything again; for a board whose cells are known, for what can have moved.
    pub fn refresh(self) {
        self.reload(false);
    }

    pub(super) fn reload(self, by_clock: bool) {
        let prepared = self.store.prepared.get_untracked();
        let is_under_way = self.work.with_value(|w| w.as_ref().is_some_and(|w| !w.stopper.is_stopped()))
            && self.store.results.with_untracked(|r| !r.stages.is_empty());
        // A board that is being asked for is not asked for again from its beginning.
        if prepared.settings.view == View::Board && self.store.phase.with_untracked(|p| *p == Phase::Busy) && is_under_way {
            return self.store.said.set("The board is already loading.".to_owned());
        }
        self.stop();
        self.store.screen.by_clock.set(by_clock);
        let is_known =
            self.store.phase.with_untracked(|p| *p == Phase::Done) && self.store.results.with_untracked(|r| !r.rows.is_empty());
        if prepared.settings.view == View::Board && is_known {
            match (&prepared.settings.snapshot, self.store.snapshot.get_untracked()) {
                // It takes the place of the old one when it is there.
                (Some(url), Some(_)) if prepared.files.snapshot.is_none() => {
                    // The board that is shown goes on until then.
                    self.work.update_value(|w| w.iter_mut().for_each(|w| w.stopper = Stopper::default()));
                    return self.fetch_snapshot(url.clone());
                }
                (_, None) => return self.again(|run, logins| run.refresh(logins, web::clock())),
                _ => {}
            }
        }
        self.work.set_value(None);
        self.has_begun.set_value(false);
        self.store.files.fetched.set(None);
        self.store.files.fetched_snapshot.set(None);
        let prepared = self.store.prepared.get_untracked();
        if prepared.settings.template.is_none() || prepared.files.template.is_some() {
            self.follow(prepared);
        }
    }

    /// Reads the labels of row `i`, where they were not needed so far.
    pub fn read_labels(self, i: usize) {
        let Some(work) = self.work.get_value().filter(|_| self.store.phase.with_untracked(|p| *p == Phase::Done)) else { return };
        work.run.borrow_mut().read_labels(i);
        // What a snapshot holds is known at once.
        self.go(&work);
    }
}
