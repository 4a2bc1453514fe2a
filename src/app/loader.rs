//! Starts work when the choices change, stops the work that they made idle, and feeds the store.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;

use super::browser;
use super::store::{Fetched, Phase, Prepared, Results, Store};
use crate::engine::error::{Error, Kind};
use crate::engine::name::{default_endpoint, is_private};
use crate::engine::plan::{Files, Plan};
use crate::engine::registry::Caller;
use crate::engine::resolve::{Facts, Resolver};
use crate::engine::run::{Client, Run};
use crate::engine::share;
use crate::engine::snapshot::Snapshot;
use crate::engine::template::{INCLUDES, Source, base_name, beside, included};
use crate::net::web::{self, Stopper};

/// How long typing must pause before a registry is asked.
const PAUSE: Duration = Duration::from_millis(250);
/// How old an answer may be, in seconds, to be used again when other choices are made: a tag that moves may move any time.
const FRESH: u64 = 60;
/// How often the table is renewed while answers stream in.
const RENEWAL: Duration = Duration::from_millis(80);

/// The work under way.
#[derive(Clone)]
struct Work {
    run: Rc<RefCell<Run>>,
    stopper: Stopper,
    since: u64,
    /// When the oldest of its answers was asked for, seconds since 1970.
    asked_at: u64,
    requests_before: usize,
}

/// Hands the store its facts.
#[derive(Clone, Copy)]
pub struct Loader {
    store: Store,
    work: StoredValue<Option<Work>, LocalStorage>,
    timer: StoredValue<Option<TimeoutHandle>>,
    renewal: StoredValue<bool>,
    has_begun: StoredValue<bool>,
    fetching: StoredValue<Option<Stopper>, LocalStorage>,
}

impl Loader {
    /// A loader that follows the store's choices from now on.
    pub fn new(store: Store) -> Self {
        let loader = Self {
            store,
            work: StoredValue::new_local(None),
            timer: StoredValue::new(None),
            renewal: StoredValue::new(false),
            has_begun: StoredValue::new(false),
            fetching: StoredValue::new_local(None),
        };
        Effect::new(move |_| {
            let prepared = store.prepared.get();
            store.snapshot.track();
            store.allowed.track();
            store.refused.track();
            if store.is_shown.get() {
                loader.follow(prepared);
            }
        });
        loader
    }

    /// Stops what is under way and starts what the choices now ask for; at once the first time, else when the typing pauses.
    fn follow(self, prepared: Arc<Prepared>) {
        self.stop();
        self.store.allow_partial.set(false);
        if self.store.refused.get_untracked() {
            let notice =
                self.store.notices.with_untracked(|n| n.iter().find(|n| share::is_refused(std::slice::from_ref(n))).cloned());
            self.store.results.set(Results::default());
            self.store.phase.set(notice.map_or(Phase::Done, Phase::Stuck));
            return;
        }
        self.store.said.set(String::new());
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
            }
            Some(Ok(plan)) => {
                let snapshot = match (self.store.snapshot.get_untracked(), prepared.settings.snapshot.clone()) {
                    (Some(Ok(snapshot)), _) => Some(snapshot),
                    (Some(Err(error)), _) => {
                        self.store.results.set(Results::default());
                        self.store.phase.set(Phase::Stuck(error));
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
                let blocked = if snapshot.is_some() { Vec::new() } else { self.blocked(&prepared, plan) };
                if !blocked.is_empty() {
                    self.store.results.set(Results { rows: vec![None; plan.images.len()], ..Results::default() });
                    self.store.phase.set(Phase::Blocked(blocked));
                    return;
                }
                self.store.phase.set(Phase::Busy);
                self.begin(&prepared, plan, snapshot);
            }
        }
    }

    /// The hosts that a link from elsewhere may not ask before the visitor says so.
    fn blocked(self, prepared: &Prepared, plan: &Plan) -> Vec<String> {
        if is_private(&browser::host()) {
            return Vec::new();
        }
        let mut hosts: Vec<String> = Vec::new();
        for image in &plan.images {
            let Ok(reference) = &image.reference else { continue };
            let host = &reference.repository.host;
            let endpoint = prepared.settings.endpoints.get(host).cloned().unwrap_or_else(|| default_endpoint(host));
            hosts.push(host_of(&endpoint));
        }
        hosts.sort();
        hosts.dedup();
        let allowed = self.store.allowed.get_untracked();
        hosts.retain(|h| is_private(h) && *h != browser::host() && !allowed.contains(h));
        hosts
    }

    fn later(self, then: impl Fn() + 'static) {
        let pause = if self.has_begun.get_value() { PAUSE } else { Duration::ZERO };
        self.has_begun.set_value(true);
        self.timer.set_value(set_timeout_with_handle(then, pause).ok());
    }

    /// Shows what old facts tell about the new choices at once, and asks for the rest when the typing pauses.
    fn begin(self, prepared: &Arc<Prepared>, plan: &Plan, snapshot: Option<Arc<Snapshot>>) {
        let before = self.work.try_update_value(Option::take).flatten();
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
        let resolver = Resolver::new(prepared.settings.clone(), plan.images.clone());
        let client = Client { caller: Caller::Browser, page: browser::origin(), logins: self.store.logins.get_untracked() };
        let run = Rc::new(RefCell::new(Run::new(resolver, client, facts, snapshot)));
        let work = Work { run, stopper: Stopper::default(), since: web::now(), asked_at, requests_before: 0 };
        self.work.set_value(Some(work.clone()));
        // The rows are drawn in a task of their own.
        set_timeout(move || self.renew(), Duration::ZERO);
        if !work.run.borrow().is_done() {
            self.later(move || self.go(&work));
        }
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
        let (rows, summary) = run.conclude();
        let old = self.store.results.get_untracked();
        let share = |(i, row): (usize, Option<_>)| {
            let row = row?;
            // A row that did not change keeps its identity, so that nothing of it is drawn again.
            Some(old.rows.get(i).cloned().flatten().filter(|o| Arc::ptr_eq(o, &row) || **o == *row).unwrap_or(row))
        };
        let is_done = run.is_done();
        self.store.results.set(Results {
            rows: rows.into_iter().enumerate().map(share).collect(),
            summary,
            requests: run.requests() - work.requests_before,
            took: web::now().saturating_sub(work.since),
            as_of: work.asked_at,
            waits: run
                .waits_for(web::now())
                .map(|(host, pause)| (host, pause.as_millis().div_ceil(1000) as u64))
                .filter(|(_, seconds)| *seconds > 0),
            unreadable: run.causes(),
            locked: run.locked().iter().map(|(host, locked)| (host.clone(), *locked)).collect(),
        });
        if !self.store.is_pausing() {
            self.store.phase.set(if is_done { Phase::Done } else { Phase::Busy });
        }
    }

    fn stop(self) {
        if let Some(handle) = self.timer.get_value() {
            handle.clear();
            self.timer.set_value(None);
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
        let lacks = match self.store.prepared.with_untracked(|p| (p.plan.is_none(), p.settings.snapshot.is_some())) {
            (true, _) => Some("template"),
            (_, true) if self.store.snapshot.with_untracked(Option::is_none) => Some("snapshot"),
            _ => None,
        };
        if let Some(what) = lacks {
            let error =
                Error::new(Kind::Registry, format!("the {what} was not fetched: cancelled"), "", "press Refresh to try again");
            self.store.phase.set(Phase::Stuck(error));
            return;
        }
        self.work.update_value(|w| {
            if let Some(w) = w {
                w.stopper = Stopper::default();
                w.run.borrow_mut().cancel();
            }
        });
        self.renew();
    }

    /// Retry failed: asks again for what is in error.
    pub fn retry(self) {
        self.stop();
        let Some(mut work) = self.work.try_update_value(Option::take).flatten() else { return };
        work.stopper = Stopper::default();
        work.since = web::now();
        work.run.borrow_mut().retry_failed(self.store.logins.get_untracked());
        work.requests_before = work.run.borrow().requests();
        self.work.set_value(Some(work.clone()));
        self.renew();
        self.go(&work);
    }

    /// Asks for everything anew.
    pub fn refresh(self) {
        self.stop();
        self.work.set_value(None);
        self.has_begun.set_value(false);
        self.store.fetched.set(None);
        self.store.fetched_snapshot.set(None);
        let prepared = self.store.prepared.get_untracked();
        if prepared.settings.template.is_none() || prepared.files.template.is_some() {
            self.follow(prepared);
        }
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
        if is_ours || self.store.allowed.with_untracked(|a| a.contains(&host)) {
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
            let text = web::fetch(&address, &stopper).await.map_err(|why| {
                let cure = "check the address, or drop the file on this page";
                Error::new(Kind::Registry, format!("the snapshot cannot be read: {why}"), url.as_str(), cure)
            });
            if !stopper.is_stopped() {
                self.has_begun.set_value(false);
                let taken = text.and_then(|text| Snapshot::read(&text, &url)).map(Arc::new);
                self.store.fetched_snapshot.set(Some((url, taken)));
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
                self.store.fetched.set(Some(Fetched { url, outcome }));
            }
        });
    }
}

/// Fetches a template and what it includes from beside it.
async fn fetch_all(address: &str, name: &str, stopper: &Stopper) -> Result<Files, Error> {
    let text = web::fetch(address, stopper).await.map_err(|why| {
        Error::new(Kind::Registry, format!("the template cannot be read: {why}"), name, "check the address, or upload the file")
    })?;
    let mut wanted = included(&text);
    let mut files = Files { template: Some(Source { name: name.to_owned(), text }), ..Files::default() };
    while let Some(include) = wanted.pop() {
        if files.includes.len() >= INCLUDES || files.includes.iter().any(|f| base_name(&f.name) == base_name(&include)) {
            continue;
        }
        // One that is not there is an error only if the template comes to it.
        if let Ok(text) = web::fetch(&beside(address, &include), stopper).await {
            wanted.extend(included(&text));
            files.includes.push(Source { name: include, text });
        }
    }
    Ok(files)
}

/// Host and port of an address as the browser will use it: `127.1` and `0x7f.1` are 127.0.0.1 to it. One that it cannot read is
/// taken for this computer, so that leave is asked.
fn host_of(url: &str) -> String {
    web_sys::Url::new(url).map_or_else(|_| "localhost".to_owned(), |url| url.host())
}
