//! Starts work when the choices change, stops the work that they made idle, and feeds the store.
//!
//! It is longer than 600 lines until what it shares with the command line (files, board, comparison, pipeline) is a workflow of the engine.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;

use crate::app::browser;
use crate::app::state::{Fetched, Phase, Prepared, Results, Store};
use crate::engine::board::report::hash_of;
use crate::engine::board::timeline::{self, Timeline};
use crate::engine::board::{Known, Stage, stages};
use crate::engine::error::{Error, Kind, Location};
use crate::engine::options::definitions::Choices;
use crate::engine::options::link;
use crate::engine::options::settings::View;
use crate::engine::output::Outcome;
use crate::engine::output::compare::Side;
use crate::engine::pipeline::{Pipeline, Want};
use crate::engine::registry::auth::Logins;
use crate::engine::registry::{Caller, Query};
use crate::engine::resolve::{Facts, Resolver};
use crate::engine::session::{Client, Run};
use crate::engine::snapshot::Snapshot;
use crate::engine::template::Files;
use crate::engine::template::plan::{Image, Plan};
use crate::engine::template::{Includes, Source, beside};
use crate::engine::url::{default_endpoint, is_private};
use crate::net::web::{self, Stopper};

/// How long typing must pause before a registry is asked.
const PAUSE: Duration = Duration::from_millis(250);
/// How old an answer may be, in seconds, to be used again when other choices are made: a tag that moves may move any time.
const FRESH: u64 = 60;
/// How often the table is renewed while answers stream in.
const RENEWAL: Duration = Duration::from_millis(80);

/// Rows that are looked at in one task.
const LOOK: usize = 250;
/// Addresses of the pipeline that are read at once.
const PIPELINE: usize = 6;

/// The work under way.
#[derive(Clone)]
struct Work {
    run: Rc<RefCell<Run>>,
    stopper: Stopper,
    /// The choices that it was asked by.
    asked_by: Choices,
    since: u64,
    /// How long it took, in milliseconds, once it has ended: what is looked up later for one cell does not count.
    took: Rc<Cell<Option<u64>>>,
    /// When the oldest of its answers was asked for, seconds since 1970.
    asked_at: u64,
    requests_before: usize,
    /// What is read beside the registries, for a board.
    pipeline: Rc<RefCell<Pipeline>>,
    /// Whether nothing more is to be asked.
    is_cancelled: Rc<Cell<bool>>,
    /// Addresses of it that are being read.
    reading: Rc<Cell<usize>>,
    /// What the channels pointed to when the history of their tags was asked for.
    history_of: Rc<RefCell<Option<Vec<Standing>>>>,
}

/// The choices that decide what registries are asked: not what is read beside them, and not by which limits it is judged.
fn asked_by(selection: &Choices) -> Choices {
    let mut out = selection.clone();
    ["late", "dlrn", "criteria", "zuul"].into_iter().for_each(|key| out.clear(key));
    out
}

impl Work {
    /// Whether registries, or the same snapshot, were asked all of this, and have answered.
    fn is_of(&self, asked_by: &Choices, images: &[Image], snapshot: Option<&Arc<Snapshot>>) -> bool {
        let run = self.run.borrow();
        let is_same = match (run.snapshot(), snapshot) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        };
        is_same && run.is_done() && self.asked_by == *asked_by && run.resolver().images() == images
    }

    fn new(run: Run, asked_at: u64) -> Self {
        let pipeline = run.snapshot().and_then(|s| kept_pipeline(s)).unwrap_or_default();
        Self {
            run: Rc::new(RefCell::new(run)),
            stopper: Stopper::default(),
            asked_by: Choices::default(),
            since: web::now(),
            took: Rc::default(),
            asked_at,
            requests_before: 0,
            pipeline: Rc::new(RefCell::new(pipeline)),
            is_cancelled: Rc::default(),
            reading: Rc::default(),
            history_of: Rc::default(),
        }
    }
}

/// What a channel points to: its hash, how many images do, and how many point to another.
type Standing = (Option<String>, usize, usize);

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
        // Rows of one view are none of another's.
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
            Some(Ok(plan)) => {
                let snapshot = match (self.store.snapshot.get_untracked(), prepared.settings.snapshot.clone()) {
                    (Some(Ok(snapshot)), _) => Some(snapshot),
                    (Some(Err(error)), _) => {
                        self.store.results.set(Results::default());
                        self.store.phase.set(Phase::Stuck(error));
                        // A wall screen tries again.
                        self.wind();
                        return;
                    }
                    (None, Some(url)) => {
                        // Rows of a registry are none of the snapshot's.
                        self.work.set_value(None);
                        self.store.results.set(Results::default());
                        self.store.phase.set(Phase::Busy);
                        self.later(move || self.fetch_snapshot(url.clone()));
                        return;
                    }
                    (None, None) => None,
                };
                if prepared.settings.view == View::Compare {
                    return self.compare(&prepared, snapshot);
                }
                self.lay_out(&prepared, plan);
                let blocked = self.blocked(&prepared, plan, snapshot.as_deref());
                if !blocked.is_empty() {
                    self.store.results.set(Results { rows: vec![None; plan.images.len()], ..Results::default() });
                    self.store.phase.set(Phase::Blocked(blocked));
                    return;
                }
                self.store.phase.set(Phase::Busy);
                // In a task of its own: a template was rendered in this one.
                let prepared = prepared.clone();
                self.timer
                    .set_value(set_timeout_with_handle(move || self.begin(&prepared, snapshot.clone()), Duration::ZERO).ok());
            }
        }
    }

    /// Puts what is known in its place where rows and columns are others now: an answer stays with its cell.
    fn lay_out(self, prepared: &Prepared, plan: &Plan) {
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

    /// The hosts that a link from elsewhere may not ask before the visitor says so.
    fn blocked(self, prepared: &Prepared, plan: &Plan, snapshot: Option<&Snapshot>) -> Vec<String> {
        if is_private(&browser::host()) {
            return Vec::new();
        }
        let mut hosts: Vec<String> = Vec::new();
        if prepared.settings.view != View::Prepare && snapshot.is_none_or(|s| s.pipeline.is_none()) {
            let s = &prepared.settings;
            hosts.extend([&s.dlrn, &s.criteria, &s.zuul].into_iter().flatten().map(|url| host_of(&browser::beside(url))));
        }
        for image in plan.images.iter().filter(|_| snapshot.is_none()) {
            let Ok(reference) = &image.reference else { continue };
            let host = &reference.repository.host;
            let endpoint = prepared.settings.endpoints.get(host).cloned().unwrap_or_else(|| default_endpoint(host));
            hosts.push(host_of(&endpoint));
        }
        hosts.sort();
        hosts.dedup();
        let allowed = self.store.leave.hosts.get_untracked();
        hosts.retain(|h| is_private(h) && *h != browser::host() && !allowed.contains(h));
        hosts
    }

    fn later(self, then: impl Fn() + 'static) {
        let pause = if self.has_begun.get_value() { PAUSE } else { Duration::ZERO };
        self.has_begun.set_value(true);
        self.timer.set_value(set_timeout_with_handle(then, pause).ok());
    }

    /// Shows what old facts say about the new choices at once, and asks for the rest when the typing pauses.
    fn begin(self, prepared: &Prepared, snapshot: Option<Arc<Snapshot>>) {
        let Some(plan) = prepared.plan() else { return };
        let images = match prepared.settings.view {
            View::Board => prepared.grid.cells(plan),
            _ => plan.images.clone(),
        };
        let asked_by = self.store.link.selection.with_untracked(asked_by);
        let before = self.work.try_update_value(Option::take).flatten();
        if let Some(mut work) = before.clone().filter(|work| work.is_of(&asked_by, &images, snapshot.as_ref())) {
            work.stopper = Stopper::default();
            (work.reading, work.is_cancelled) = Default::default();
            work.pipeline = Rc::new(RefCell::new(snapshot.as_deref().and_then(kept_pipeline).unwrap_or_default()));
            self.store.results.update(|r| r.pipeline = Arc::default());
            self.work.set_value(Some(work));
            return self.renew();
        }
        let known = before.filter(|work| {
            let (run, settings) = (work.run.borrow(), &prepared.settings);
            let old = run.resolver().settings();
            let is_same = old.endpoints == settings.endpoints && old.api == settings.api;
            is_same && run.snapshot().is_none() && web::clock().saturating_sub(work.asked_at) <= FRESH
        });
        let (facts, asked_at) = match (known, &snapshot) {
            (Some(work), None) => (work.run.borrow_mut().take_facts(), work.asked_at),
            (_, Some(snapshot)) => (Facts::default(), snapshot.fetched()),
            (None, None) => (Facts { asked_at: web::clock(), ..Facts::default() }, web::clock()),
        };
        let is_asked = prepared.settings.view == View::Board && snapshot.is_none();
        let resolver = if is_asked { Resolver::for_board } else { Resolver::new }(prepared.settings.clone(), images);
        let work = Work { asked_by, ..Work::new(Run::new(resolver, self.client(), facts, snapshot), asked_at) };
        self.work.set_value(Some(work.clone()));
        // What was promoted elsewhere is none of this.
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

    fn client(self) -> Client {
        Client { caller: Caller::Browser, page: browser::origin(), logins: self.store.leave.logins.get_untracked() }
    }

    fn go(self, work: &Work) {
        let changed: Rc<dyn Fn()> = Rc::new(move || self.renew_soon());
        web::drive(&work.run, &work.stopper, &changed);
        // What needed no request, or ran out of time at once, is known now.
        self.renew();
    }

    /// Renews the table, but not for every single answer.
    fn renew_soon(self) {
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

    fn renew(self) {
        let Some(work) = self.work.get_value() else { return };
        // A timer may come after its work was stopped.
        if work.stopper.is_stopped() {
            return;
        }
        let run = work.run.borrow();
        let (rows, summary) = run.summarize();
        let old = self.store.results.get_untracked();
        let share = |(i, row): (usize, Option<_>)| {
            let row = row?;
            // A row that did not change keeps its identity, so that nothing of it is drawn again.
            Some(old.rows.get(i).cloned().flatten().filter(|o| Arc::ptr_eq(o, &row) || **o == *row).unwrap_or(row))
        };
        let is_done = run.is_done();
        let rows: Vec<_> = rows.into_iter().enumerate().map(share).collect();
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
        let run = work.run.borrow();
        // Until all is read again, what was known of the pipeline stands: half of it would say what is not so.
        let (mut timeline, mut pipeline) = (old.timeline.clone(), old.pipeline.clone());
        if let Some(plan) = board.filter(|_| is_all) {
            let read = work.pipeline.borrow();
            if *read != *pipeline {
                pipeline = Arc::new(read.clone());
            }
            let new = Timeline::new(&prepared.grid, plan, &rows, run.facts(), &read);
            if new != *timeline {
                timeline = Arc::new(new);
            }
            let failed = queries.iter().find_map(|query| run.facts().answers.get(query)?.as_ref().err());
            if let Some(error) = failed.filter(|_| !has_snapshot && self.store.board.wants_history.get_untracked()) {
                // It is nothing that there is none of: the visitor may ask again.
                self.store.board.history_trouble.set(Some(format!("{}: {}", error.message, error.hint)));
                self.store.board.wants_history.set(false);
                *work.history_of.borrow_mut() = None;
            }
        }
        timeline.inform(&mut stages);
        let took = work.took.get().unwrap_or_else(|| web::now().saturating_sub(work.since));
        self.store.results.set(Results {
            rows,
            stages,
            timeline,
            pipeline,
            summary,
            known: run.known(),
            requests: run.requests() - work.requests_before,
            took,
            as_of: work.asked_at,
            waits: run
                .waits_for(web::now())
                .map(|(host, pause)| (host, pause.as_millis().div_ceil(1000) as u64))
                .filter(|(_, seconds)| *seconds > 0),
            unreadable: run.causes(),
            locked: run.locked().iter().map(|(host, locked)| (host.clone(), *locked)).collect(),
        });
        drop(run);
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

    /// Sets the clock that refreshes a board, where one is chosen.
    fn wind(self) {
        if let Some(handle) = self.clock.try_update_value(Option::take).flatten() {
            handle.clear();
        }
        let is_board = self.store.prepared.with_untracked(|p| p.settings.view == View::Board);
        let is_idle = self.store.phase.with_untracked(|p| matches!(p, Phase::Done | Phase::Stuck(_)));
        if let Some(seconds) = self.store.refresh_every().filter(|_| is_board && is_idle) {
            self.clock.set_value(set_timeout_with_handle(move || self.reload(true), Duration::from_secs(seconds)).ok());
        }
    }

    /// Asks for what a board reports beyond its cells: the history of tags, and the pipeline. Whether anything of that is under way.
    fn go_on(self, work: &Work, prepared: &Prepared, stages: &[Stage], queries: Vec<Query>, has_snapshot: bool) -> bool {
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
    async fn read_beside(self, url: &str, stopper: &Stopper) -> Result<String, String> {
        let address = browser::beside(url);
        let host = host_of(&address);
        let may = host == browser::host() || !is_private(&host) || is_private(&browser::host());
        if !may && self.store.leave.hosts.with_untracked(|a| !a.contains(&host)) {
            return Err(format!("{host} is on a private network, and this page is not"));
        }
        web::fetch(&address, stopper).await
    }

    /// Finds out both sides of a comparison, one after the other.
    fn compare(self, prepared: &Arc<Prepared>, snapshot: Option<Arc<Snapshot>>) {
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
        let (stages, known) = self.store.results.with_untracked(|r| (r.stages.clone(), r.pipeline.clone()));
        self.work.update_value(|w| {
            if let Some(w) = w {
                w.stopper = Stopper::default();
                w.run.borrow_mut().cancel();
                w.asked_at = w.run.borrow().facts().asked_at;
                w.reading.set(0);
                w.is_cancelled.set(true);
                let mut pipeline = w.pipeline.borrow_mut();
                // What was only read again is as it was.
                if *known != Pipeline::default() {
                    *pipeline = (*known).clone();
                }
                loop {
                    let wants = pipeline.next_fetches(&prepared.settings, &|c| hash_of(&stages, c), true);
                    if wants.is_empty() {
                        break;
                    }
                    wants
                        .into_iter()
                        .for_each(|want| pipeline.take(want, "", 0, Err("cancelled before a response arrived".to_owned())));
                }
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
        let settings = self.store.prepared.with_untracked(|p| p.settings.clone());
        if work.run.borrow().snapshot().is_none_or(|s| s.pipeline.is_none()) {
            let refreshed = work.pipeline.borrow().refreshed(&settings);
            work.pipeline = Rc::new(RefCell::new(refreshed));
        }
        (work.reading, work.is_cancelled, work.took) = Default::default();
        self.work.set_value(Some(work.clone()));
        self.store.phase.set(Phase::Busy);
        // To forget what can have moved is a task of its own.
        set_timeout(move || self.evaluate(work, move |work| self.go(&work)), Duration::ZERO);
    }

    /// Asks for everything again; for a board whose cells are known, for what can have moved.
    pub fn refresh(self) {
        self.reload(false);
    }

    fn reload(self, by_clock: bool) {
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

    /// Asks for what a board reports beyond its cells, where that was chosen just now.
    pub fn go_on_now(self) {
        self.store.board.history_trouble.set(None);
        self.work.with_value(|w| w.iter().for_each(|w| w.is_cancelled.set(false)));
        self.renew();
    }

    /// Reads the run that the table shows, if there is one.
    pub fn with_run<T>(self, read: impl FnOnce(&Run) -> T) -> Option<T> {
        self.work.with_value(|w| w.as_ref().map(|w| read(&w.run.borrow())))
    }

    /// The whole address of what a link names, unless leave must be asked first for its host.
    fn allowed(self, url: &str) -> Option<String> {
        let address = browser::beside(url);
        let host = host_of(&address);
        let is_ours = host == browser::host() || !is_private(&host) || is_private(&browser::host());
        if is_ours || self.store.leave.hosts.with_untracked(|a| a.contains(&host)) {
            return Some(address);
        }
        self.store.phase.set(Phase::Blocked(vec![host]));
        None
    }

    fn fetch_snapshot(self, url: String) {
        let stopper = Stopper::default();
        self.fetching.set_value(Some(stopper.clone()));
        wasm_bindgen_futures::spawn_local(async move {
            let Some(address) = self.allowed(&url) else { return };
            let text = web::fetch(&address, &stopper).await.map_err(|why| unreadable_snapshot(&why, &url));
            if !stopper.is_stopped() {
                self.has_begun.set_value(false);
                let taken = text.and_then(|text| Snapshot::read(&text, &url)).map(Arc::new);
                let old = self.store.snapshot.get_untracked();
                let error = taken.as_ref().err().filter(|_| matches!(old, Some(Ok(_)))).cloned();
                let is_kept = error.is_some();
                self.store.files.snapshot_trouble.set(error);
                if !is_kept {
                    self.store.files.fetched_snapshot.set(Some((url, taken)));
                }
                // Where it is the same as before nobody hears of it.
                if self.store.snapshot.get_untracked() == old {
                    self.wind();
                }
            }
        });
    }

    fn fetch(self, url: String) {
        let stopper = Stopper::default();
        self.fetching.set_value(Some(stopper.clone()));
        wasm_bindgen_futures::spawn_local(async move {
            let Some(address) = self.allowed(&url) else { return };
            let outcome = fetch_all(&address, &url, &stopper).await;
            if stopper.is_stopped() {
                return;
            }
            if self.store.prepared.with_untracked(|p| p.settings.template.as_deref() == Some(url.as_str())) {
                self.has_begun.set_value(false);
                self.store.files.fetched.set(Some(Fetched { url, outcome }));
            }
        });
    }
}

/// What a snapshot knows of the pipeline, less what cannot have been yet.
fn kept_pipeline(snapshot: &Snapshot) -> Option<Pipeline> {
    snapshot.pipeline.clone().map(|pipeline| pipeline.up_to(web::clock(), "the snapshot"))
}

fn unreadable_snapshot(why: &str, url: &str) -> Error {
    let hint = "check the address, or drop the file on this page";
    Error::new(Kind::Registry, format!("the snapshot cannot be read: {why}"), url, hint)
}

/// Fetches a template and what it includes from beside it.
async fn fetch_all(address: &str, name: &str, stopper: &Stopper) -> Result<Files, Error> {
    let text = web::fetch(address, stopper).await.map_err(|why| {
        Error::new(Kind::Registry, format!("the template cannot be read: {why}"), name, "check the address, or upload the file")
    })?;
    let template = Source { name: name.to_owned(), text };
    let mut includes = Includes::of(&template);
    while let Some(include) = includes.next_name()? {
        if let Ok(text) = web::fetch(&beside(address, &include), stopper).await {
            includes.add(Source { name: include, text });
        }
    }
    Ok(Files { template: Some(template), includes: includes.found, ..Files::default() })
}

/// Host and port of an address as the browser will use it: `127.1` and `0x7f.1` are 127.0.0.1 to it. One that it cannot read is
/// taken for this computer, so that leave is asked.
fn host_of(url: &str) -> String {
    web_sys::Url::new(url).map_or_else(|_| "localhost".to_owned(), |url| url.host())
}
