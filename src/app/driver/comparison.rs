//! Finds out both sides of a comparison.

use std::rc::Rc;
use std::sync::Arc;

use leptos::prelude::*;

use super::Loader;
use super::work::Work;
use crate::app::browser;
use crate::app::state::{Phase, Prepared, Results};
use crate::engine::error::Error;
use crate::engine::output::compare::Side;
use crate::engine::snapshot::Snapshot;
use crate::engine::workflow::compare::{CompareNeed, CompareWorkflow, one_side};
use crate::engine::workflow::files::FileNeed;
use crate::net::web::{self, Stopper};

impl Loader {
    /// Finds out both sides of a comparison, one after the other.
    pub(super) fn compare(self, prepared: &Arc<Prepared>, snapshot: Option<Arc<Snapshot>>) {
        self.store.results.set(Results::default());
        self.store.comparison.sides.set(None);
        let end = move |sides: Result<[Side; 2], Error>| match sides {
            Ok(sides) => {
                self.store.comparison.sides.set(Some(Arc::new(sides)));
                self.store.phase.set(Phase::Done);
            }
            Err(error) => self.store.phase.set(Phase::Stuck(error)),
        };
        if let [Some(old), Some(new)] = self.store.comparison.pair.get_untracked() {
            return end(Side::of_file(&old).and_then(|old| Ok([old, Side::of_file(&new)?])));
        }
        if prepared.sides.len() < 2 {
            return end(Err(one_side()));
        }
        if let Some(plan) = prepared.plan() {
            let blocked = self.blocked(prepared, plan, snapshot.as_deref());
            if !blocked.is_empty() {
                return self.store.phase.set(Phase::Blocked(blocked));
            }
        }
        self.store.phase.set(Phase::Busy);
        let (prepared, stopper) = (prepared.clone(), Stopper::default());
        self.fetching.set_value(Some(stopper.clone()));
        wasm_bindgen_futures::spawn_local(async move {
            let sides = self.sides(&prepared, snapshot, &stopper).await;
            if let Some(sides) = sides.transpose().filter(|_| !stopper.is_stopped()) {
                end(sides);
            }
        });
    }

    /// Both sides, or none where leave has to be asked first, or the work was stopped.
    async fn sides(
        self,
        prepared: &Prepared,
        snapshot: Option<Arc<Snapshot>>,
        stopper: &Stopper,
    ) -> Result<Option<[Side; 2]>, Error> {
        let mut earlier = match self.store.comparison.older.get_untracked() {
            Some((_, taken)) => Some(taken?),
            None => None,
        };
        if let (None, Some(url)) = (&earlier, &prepared.settings.against) {
            let Some(address) = self.allowed(url) else { return Ok(None) };
            let text = web::fetch(&address, stopper).await.map_err(|why| FileNeed::Snapshot(url.clone()).unreadable(&why))?;
            earlier = Some(Arc::new(Snapshot::read(&text, url)?));
        }
        let requests = prepared.sides.iter().cloned().collect::<Result<_, _>>()?;
        let mut workflow = CompareWorkflow::new(requests, earlier, snapshot, web::clock())?;
        loop {
            match workflow.next_need(self.client(), web::clock()) {
                CompareNeed::Run(run) => {
                    let asked_at = run.facts().asked_at;
                    let work = Work { stopper: stopper.clone(), ..Work::new(*run, asked_at) };
                    self.work.set_value(Some(work.clone()));
                    let changed: Rc<dyn Fn()> = Rc::new(move || self.show_progress());
                    web::finish(&work.run, stopper, &changed).await;
                    if stopper.is_stopped() {
                        return Ok(None);
                    }
                    self.show_progress();
                    workflow.deliver_run(&mut work.run.borrow_mut());
                }
                CompareNeed::Fetch(wants) => {
                    for want in wants {
                        let text = self.read_beside(&want.url, stopper).await;
                        if stopper.is_stopped() {
                            return Ok(None);
                        }
                        let from = browser::beside(&want.url);
                        workflow.deliver(want, &from, web::clock(), text);
                    }
                }
                CompareNeed::Done => break,
            }
        }
        self.store.results.update(|r| r.pipeline = workflow.pipeline().clone());
        Ok(workflow.sides())
    }

    /// Shows how far a side of a comparison is.
    fn show_progress(self) {
        let Some(work) = self.work.get_value() else { return };
        let run = work.run.borrow();
        let (rows, summary) = run.summarize();
        self.store.results.update(|r| {
            (r.rows, r.summary, r.known, r.requests) = (rows, summary, run.known(), run.requests());
            (r.took, r.as_of) = (web::now().since(work.since), work.asked_at);
            r.unreadable = run.causes();
            r.locked = run.locked().iter().map(|(host, locked)| (host.clone(), *locked)).collect();
        });
    }
}
