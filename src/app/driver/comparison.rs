//! Finds out both sides of a comparison.

use std::rc::Rc;
use std::sync::Arc;

use leptos::prelude::*;

use super::Loader;
use super::files::unreadable_snapshot;
use super::work::{Work, kept_pipeline};
use crate::app::browser;
use crate::app::state::{Phase, Prepared, Results};
use crate::engine::error::{Error, Location};
use crate::engine::output::Outcome;
use crate::engine::output::compare::Side;
use crate::engine::resolve::{Facts, Resolver};
use crate::engine::session::Run;
use crate::engine::snapshot::Snapshot;
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
            let hint = "give two channels or hashes, an earlier snapshot (against=), or two files";
            return end(Err(Error::usage("there is only one side to compare", Location::Choice("channels".to_owned()), hint)));
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
            let text = web::fetch(&address, stopper).await.map_err(|why| unreadable_snapshot(&why, url))?;
            earlier = Some(Arc::new(Snapshot::read(&text, url)?));
        }
        let mut facts = Facts { asked_at: web::clock(), ..Facts::default() };
        let mut out = Vec::new();
        for (i, (tag, settings, plan)) in prepared.sides.iter().enumerate() {
            let plan = plan.as_ref().map_err(Clone::clone)?;
            let source = earlier.clone().filter(|_| i == 0).or_else(|| snapshot.clone());
            let asked_at = source.as_ref().map_or_else(web::clock, |s| s.fetched());
            let name = match (&source, &earlier) {
                (Some(snapshot), Some(_)) => format!("{tag} of {}", crate::engine::time::utc(snapshot.fetched())),
                (None, Some(_)) => format!("{tag} now"),
                _ => tag.clone(),
            };
            let resolver = Resolver::new(settings.clone(), plan.images.clone());
            let mut work = Work::new(Run::new(resolver, self.client(), std::mem::take(&mut facts), source), asked_at);
            work.stopper = stopper.clone();
            self.work.set_value(Some(work.clone()));
            let changed: Rc<dyn Fn()> = Rc::new(move || self.show_progress());
            web::finish(&work.run, stopper, &changed).await;
            if stopper.is_stopped() {
                return Ok(None);
            }
            out.push(Side::of_run(name, tag.clone(), &Outcome::of_run(settings, plan, &work.run.borrow())));
            self.show_progress();
            let failed = work.run.borrow().causes();
            // What both have in common is asked once.
            if failed.is_empty() && earlier.is_none() {
                facts = work.run.borrow_mut().take_facts();
            }
            facts.asked_at = web::clock();
        }
        // Where the repositories of the hashes are.
        let kept = snapshot.or(earlier).as_deref().and_then(kept_pipeline);
        let mut pipeline = kept.clone().unwrap_or_default();
        while kept.is_none() {
            let Some(want) = pipeline.next_fetches(&prepared.settings, &|_| None, false).into_iter().next() else { break };
            let text = self.read_beside(&want.url, stopper).await;
            if stopper.is_stopped() {
                return Ok(None);
            }
            pipeline.take(want.clone(), &browser::beside(&want.url), web::clock(), text);
        }
        self.store.results.update(|r| r.pipeline = Arc::new(pipeline));
        Ok(<[Side; 2]>::try_from(out).ok())
    }

    /// Shows how far a side of a comparison is.
    fn show_progress(self) {
        let Some(work) = self.work.get_value() else { return };
        let run = work.run.borrow();
        let (rows, summary) = run.summarize();
        self.store.results.update(|r| {
            (r.rows, r.summary, r.known, r.requests) = (rows, summary, run.known(), run.requests());
            (r.took, r.as_of) = (web::now().saturating_sub(work.since), work.asked_at);
            r.unreadable = run.causes();
            r.locked = run.locked().iter().map(|(host, locked)| (host.clone(), *locked)).collect();
        });
    }
}
