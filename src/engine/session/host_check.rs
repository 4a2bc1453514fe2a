//! Whether a host answers at all, what it speaks, and what becomes of its queries where it does not.

use super::answer::Outcome;
use super::diagnosis::{self, Cause};
use super::host::{CHECK_AGAIN, OTHERS};
use super::queue::Urgent;
use super::{Flight, Purpose, Run};
use crate::engine::registry::http::{
    BODY_LIMIT, Failure, IMAGE_LIMIT, Method, PROBE_LIMIT, Request, TRIES, TRY_LIMIT, backoff, is_transient, retry_after,
};
use crate::engine::registry::{Caller, Dialect, Query, RegistryError};
use std::collections::HashSet;
use std::time::Duration;

impl Run {
    /// Sends a request that shows whether the host speaks an API, and the query after it.
    pub(super) fn detect_api(&mut self, query: Query, dialect: Dialect, request: Request) {
        let host = query.host().to_owned();
        self.queue.push_urgent(Urgent { purpose: Purpose::DetectApi(query, dialect), host, request, limit: TRY_LIMIT });
    }

    /// Holds a query back until it is known whether anything answers at its host.
    pub(super) fn probe(&mut self, query: Query) {
        let (name, endpoint) = (query.host().to_owned(), self.endpoint(query.host()));
        if !std::mem::replace(&mut self.host(&name).probe.is_under_way, true) {
            let request = Request { method: Method::Probe, ..Request::get(format!("{endpoint}/v2/"), 0) };
            self.queue.push_urgent(Urgent { purpose: Purpose::Probe, host: name, request, limit: PROBE_LIMIT });
        }
        self.queue.hold(query);
    }

    /// Sees whether a host answers anything without error, by a request that is about no repository: some that fail must not take all others of
    /// their host with them. Meanwhile nothing else is sent there.
    pub(super) fn check(&mut self, name: &str, error: RegistryError) {
        let (now, endpoint) = (self.now.ms, self.endpoint(name));
        // What is left is ended by its own tries.
        let open = self.rows.wanted().filter(|query| query.host() == name).find_map(Query::repository).cloned();
        let Some(open) = open else { return };
        let host = self.host(name);
        let request = (host.api.dialect.check)(&endpoint, &open);
        let was_checked = host.probe.checked_at.is_some_and(|at| now < at + CHECK_AGAIN);
        if was_checked || host.verdict.is_some() || std::mem::replace(&mut host.probe.is_under_way, true) {
            return;
        }
        host.probe.checked_at = Some(now);
        // One that never answered asked for no pause.
        let pause = if host.contact.has_succeeded { host.rate_limit.pause(now) } else { Duration::ZERO };
        self.queue.push_urgent_later(now + pause, check_request(error, 0, name, request));
    }

    /// Takes what a host answered to [`check`](Self::check).
    pub(super) fn take_check(&mut self, error: RegistryError, tried: u32, flight: &Flight, outcome: &Outcome) {
        let (name, now) = (&flight.host, self.now);
        let is_probe = flight.request.method == Method::Probe;
        let is_hidden = matches!(outcome, Err(Failure::Network(_))) && self.client.caller == Caller::Browser;
        if is_hidden && !is_probe {
            // It may answer, and keep that from the page.
            let request = Request { method: Method::Probe, ..Request::get(flight.request.url.clone(), 0) };
            return self.queue.push_urgent(check_request(error, tried, name, request));
        }
        let (page, endpoint) = (self.client.page.clone(), self.endpoint(name));
        let host = self.host(name);
        if host.verdict.is_some() {
            return self.release(name);
        }
        // Others may have been answered meanwhile.
        let is_answered = host.probe.checked_at.is_some_and(|at| host.contact.last_success > at);
        let is_hopeless = host.rate_limit.is_hopeless(now.ms);
        if is_answered || outcome.is_ok() && !is_transient(outcome) && !is_hopeless {
            host.contact.failures = 0;
            // Of what a page cannot see nothing more is known than that something answers.
            if !is_answered && !is_probe {
                host.contact.has_succeeded = true;
                host.contact.last_success = now.ms;
                host.contact.successes += OTHERS;
            }
            return self.release(name);
        }
        // It may refuse everybody for a while.
        let reported = outcome.as_ref().ok().and_then(|r| retry_after(r.retry_after.as_deref()?, now.unix));
        let has_succeeded = host.contact.has_succeeded;
        let is_limit = matches!(outcome, Ok(r) if r.status == 429 || r.status == 503 && has_succeeded);
        if is_limit && !is_hopeless && reported.is_none_or(|reported| reported < IMAGE_LIMIT) {
            host.rate_limit.rate_limited(flight.sent, now.ms, reported, now.random);
            return self.release(name);
        }
        // One that has answered before may only be started again.
        if has_succeeded && tried + 1 < TRIES && !is_limit && !is_hopeless && *outcome != Err(Failure::Offline) {
            let due = now.ms + backoff(tried + 1, now.random);
            let request = match is_probe {
                true => Request::get(flight.request.url.clone(), BODY_LIMIT),
                false => flight.request.clone(),
            };
            return self.queue.push_urgent_later(due, check_request(error, tried + 1, name, request));
        }
        let cause = match outcome {
            Err(Failure::Offline) => Some(Cause::Offline),
            Err(_) if self.client.caller == Caller::Browser => Some(diagnosis::silence(&page, &endpoint)),
            _ => None,
        };
        let error = cause.as_ref().map_or(error, |cause| cause.error(name, &endpoint));
        self.host(name).cause = cause;
        self.give_up(name, error);
        self.release(name);
    }

    /// Lets a host's queries go on after it was probed.
    fn release(&mut self, name: &str) {
        self.host(name).probe.is_under_way = false;
        self.queue.release(name);
    }

    /// Queries a host no more, for this reason.
    pub(super) fn give_up(&mut self, name: &str, error: RegistryError) {
        self.host(name).verdict = Some(error.clone());
        let in_flight: HashSet<&Query> = self.flights.in_flight.values().filter_map(|f| query_of(&f.purpose)).collect();
        let open = self.rows.wanted().filter(|query| query.host() == name && !in_flight.contains(query));
        let open: Vec<Query> = open.cloned().collect();
        for query in open {
            self.learn(query, Err(error.clone()));
        }
        self.apply_verdicts();
    }

    /// Ends what was queried meanwhile of hosts that are given up.
    fn apply_verdicts(&mut self) {
        loop {
            let hosts = &self.hosts;
            let is_given_up = |query: &Query| hosts.get(query.host()).is_some_and(|host| host.verdict.is_some());
            let Some(query) = self.queue.take_first(is_given_up) else { return };
            if let Some(error) = self.host(query.host()).verdict.clone() {
                self.learn(query, Err(error));
            }
        }
    }
}

fn check_request(error: RegistryError, tried: u32, host: &str, request: Request) -> Urgent {
    Urgent { purpose: Purpose::Check { error, tried }, host: host.to_owned(), request, limit: PROBE_LIMIT }
}

/// The query that a request is sent for.
fn query_of(purpose: &Purpose) -> Option<&Query> {
    match purpose {
        Purpose::Query(query) | Purpose::DetectApi(query, _) => Some(query),
        Purpose::Token(_) | Purpose::TokenProbe(_) | Purpose::Probe | Purpose::Check { .. } => None,
    }
}
