//! What a failed request means: try again, slow down, or give the host up.

use super::answer::{query_of, trouble_of, unsaid};
use super::host::{CHECK_AGAIN, FAILURES, OTHERS, PATIENCE, clock_of};
use super::{Attempts, Flight, Purpose, Run};
use crate::engine::options::settings::Api;
use crate::engine::registry::http::{
    BODY_LIMIT, Failure, IMAGE_LIMIT, Method, PROBE_LIMIT, Request, Response, TRIES, TRY_LIMIT, backoff, is_transient,
    retry_after,
};
use crate::engine::registry::quay;
use crate::engine::registry::{self, Caller, Dialect, Query, RegistryError};
use crate::engine::session::diagnosis::{self, Cause, FailureEvidence};
use std::collections::HashSet;
use std::time::Duration;

impl Run {
    /// Works out why a browser could not read a host, and goes on accordingly.
    pub(super) fn diagnose_failure(&mut self, query: Query, flight: Flight, offline: bool) {
        let attempts = self.attempts(&query);
        attempts.failed += u32::from(!matches!(flight.purpose, Purpose::Probe));
        let (tries, page, endpoint, now) = (attempts.failed, self.client.page.clone(), self.endpoint(&flight.host), self.now);
        let host = self.host(&flight.host);
        host.is_failing = true;
        let is_quay = host.dialect == Dialect::Quay;
        let url = if matches!(flight.purpose, Purpose::Probe) { &endpoint } else { &flight.request.url };
        let sight = FailureEvidence {
            page: &page,
            url,
            needs_preflight: flight.request.needs_preflight(),
            offline,
            answered: host.answered,
            answered_preflighted: host.answered_preflighted,
            tries,
            patience: if is_quay { TRIES - 1 } else { 2 },
            probed: host.probed,
        };
        match diagnosis::diagnose(sight) {
            diagnosis::Next::Verdict(cause) => {
                let trouble = cause.trouble(&flight.host, &endpoint);
                // What needs no login may still be read.
                let is_all = cause != Cause::PreflightRefused || !host.has_succeeded;
                host.cause = Some(cause);
                if is_all {
                    self.give_up(&flight.host, trouble.clone());
                }
                self.learn(query, Err(trouble));
            }
            // Where nothing else passes either, the line is dead rather than the host overloaded; but of a Quay that is how a page sees
            // its 429.
            diagnosis::Next::Slow if is_quay || host.last_success > flight.sent => {
                self.maybe_rate_limited(query, flight, Err(unsaid()), None)
            }
            diagnosis::Next::Slow => {
                host.rate_limit.rate_limited(flight.sent, now.ms, None, now.random);
                self.count_failure(&flight.host, &Err(unsaid()));
                if tries > 1 {
                    self.check(&flight.host, registry::error::failed(&unsaid()));
                }
                self.retry_later(query, flight, Err(unsaid()), tries, backoff(tries, now.random));
            }
            diagnosis::Next::Retry => {
                // One that never answered is not sent everything else meanwhile.
                let pause = backoff(tries, now.random);
                host.rate_limit.hold(now.ms + pause.as_millis() as u64);
                self.retry_later(query, flight, Err(unsaid()), tries, pause);
            }
            diagnosis::Next::Probe if !host.has_detected && query.repository().is_some() => {
                host.has_detected = true;
                let request = match (is_quay, query.repository()) {
                    (false, Some(repository)) => quay::overview_request(&endpoint, repository),
                    _ => Request::get(format!("{endpoint}/v2/"), BODY_LIMIT),
                };
                self.urgent.push_back((Purpose::DetectApi(query), flight.host.clone(), request, TRY_LIMIT));
            }
            diagnosis::Next::Probe => {
                if !std::mem::replace(&mut host.is_probing, true) {
                    let request = Request { method: Method::Probe, ..Request::get(format!("{endpoint}/v2/"), 0) };
                    self.urgent.push_back((Purpose::Probe, flight.host.clone(), request, PROBE_LIMIT));
                }
                self.awaiting_probe.push(query);
            }
        }
    }

    /// Takes a refusal for overload: the host is left alone for a while, and this question goes first then. Where others pass and this
    /// one is refused again and again, it is its own trouble, and the others do not wait for it.
    pub(super) fn refused(
        &mut self,
        query: Query,
        flight: Flight,
        outcome: Result<Response, Failure>,
        reported: Option<Duration>,
    ) {
        let (now, name, repository) = (self.now, flight.host.clone(), query.repository().cloned());
        let left = self.clocks.entry(clock_of(&query)).or_default().left(now.ms);
        let trouble = trouble_of(&outcome);
        if let Some(reported) = reported.filter(|reported| *reported >= IMAGE_LIMIT) {
            let status = outcome.as_ref().map_or(429, |r| r.status);
            let message = format!("{name} lets no more requests through for {} s ({status})", reported.as_secs());
            let trouble = RegistryError { message, hint: "retry then".to_owned() };
            self.learn(query, Err(trouble.clone()));
            let host = self.host(&name);
            host.long_waits += 1;
            if host.long_waits >= 2 * FAILURES {
                self.give_up(&name, trouble);
            } else if host.last_success <= flight.sent {
                self.check(&name, trouble);
            }
            return;
        }
        let successes = self.host(&name).successes;
        let attempts = self.attempts(&query);
        if attempts.limited == 0 {
            attempts.others_before = successes;
        }
        attempts.limited += 1;
        let (times, others) = (attempts.limited, successes - attempts.others_before);
        let host = self.host(&name);
        if others >= OTHERS && times > 2 {
            let pause = backoff(times, now.random).max(reported.unwrap_or_default());
            if pause >= left {
                return self.record(query, flight, outcome);
            }
            self.retries += 1;
            return self.later.push((now.ms + pause.as_millis() as u64, query));
        }
        host.rate_limit.rate_limited(flight.sent, now.ms, reported, now.random);
        let (is_hopeless, pause) = (host.rate_limit.is_hopeless(now.ms), host.rate_limit.pause(now.ms));
        if is_hopeless {
            self.learn(query, Err(trouble.clone()));
        } else if reported.unwrap_or(pause) >= left {
            self.record(query, flight, outcome);
        } else {
            self.retries += 1;
            self.requeue(query);
        }
        let is_other = |other: &Query| other.host() == name && other.repository() != repository.as_ref();
        match self.host(&name).dialect {
            // Its limit is one for all that it is asked.
            Dialect::Quay if is_hopeless => self.give_up(&name, trouble),
            Dialect::Quay => {}
            Dialect::Distribution if is_hopeless => self.check(&name, trouble),
            Dialect::Distribution => {
                if times > 2 && others < OTHERS && self.waiting.keys().any(is_other) {
                    self.check(&name, trouble);
                }
            }
        }
    }

    /// Takes what is overload, most likely. Where it happens to one question again and again while others pass, it is that question's
    /// own trouble, and the others do not wait for it.
    pub(super) fn maybe_rate_limited(
        &mut self,
        query: Query,
        flight: Flight,
        outcome: Result<Response, Failure>,
        reported: Option<Duration>,
    ) {
        let now = self.now;
        let attempts = self.attempts(&query);
        let tries = attempts.failed;
        let Some(first) = attempts.overloaded_at else {
            attempts.overloaded_at = Some(now.ms);
            return self.refused(query, flight, outcome, reported);
        };
        let host = self.host(&flight.host);
        let others_pass = host.last_success > first;
        if !others_pass || tries < TRIES {
            host.rate_limit.rate_limited(flight.sent, now.ms, reported, now.random);
            if host.rate_limit.is_hopeless(now.ms) {
                return self.refused(query, flight, outcome, reported);
            }
        }
        let name = flight.host.clone();
        // Behind the others, to see whether they pass.
        let pause = host.rate_limit.pause(now.ms) + backoff(tries, now.random);
        if others_pass && tries >= PATIENCE || pause >= self.clocks.entry(clock_of(&query)).or_default().left(now.ms) {
            return self.record(query, flight, outcome);
        }
        self.retries += 1;
        self.later.push((now.ms + pause.as_millis() as u64, query));
        if !others_pass && tries > 1 && self.host(&name).dialect == Dialect::Distribution {
            let trouble = trouble_of(&outcome);
            self.check(&name, trouble);
        }
    }

    /// Takes what may pass by itself.
    pub(super) fn try_again(&mut self, query: Query, flight: Flight, outcome: Result<Response, Failure>) {
        let now = self.now;
        if let Ok(response) = &outcome
            && response.status == 503
            && self.host(&flight.host).has_succeeded
            && registry::error::error_code(response).as_deref() != Some("UNAVAILABLE")
        {
            // Overload by another name: nginx says it so unless it is told otherwise.
            let reported = response.retry_after.as_deref().and_then(|text| retry_after(text, now.unix));
            self.attempts(&query).failed += 1;
            return self.maybe_rate_limited(query, flight, outcome, reported);
        }
        let attempts = self.attempts(&query);
        attempts.failed += 1;
        let tries = attempts.failed;
        let reported = outcome.as_ref().ok().and_then(|r| retry_after(r.retry_after.as_deref()?, now.unix));
        let pause = reported.unwrap_or_default().max(backoff(tries, now.random));
        self.count_failure(&flight.host, &outcome);
        let host = self.host(&flight.host);
        host.is_failing = true;
        if !host.has_succeeded || reported.is_some() {
            // One that never answered well, or asks for time, is not sent everything else meanwhile.
            host.rate_limit.hold(now.ms + pause.min(IMAGE_LIMIT).as_millis() as u64);
        }
        self.retry_later(query, flight, outcome, tries, pause);
    }

    pub(super) fn attempts(&mut self, query: &Query) -> &mut Attempts {
        self.attempts.entry(query.clone()).or_default()
    }

    /// Puts a question off, or ends it where it was tried often enough.
    pub(super) fn retry_later(
        &mut self,
        query: Query,
        flight: Flight,
        outcome: Result<Response, Failure>,
        tries: u32,
        pause: Duration,
    ) {
        let left = self.clocks.entry(clock_of(&query)).or_default().left(self.now.ms);
        if tries < TRIES && pause < left {
            self.retries += 1;
            return self.later.push((self.now.ms + pause.as_millis() as u64, query));
        }
        let name = flight.host.clone();
        // A host that is only called like a Quay, or whose `/api/v1` is out of order, may serve `/v2/` all the same, which is all that crane
        // and skopeo ask for; a page could not read that.
        let is_out_of_order = matches!(&outcome, Ok(response) if response.status >= 500);
        let (api, host) = (self.resolver.settings().api, self.host(&name));
        if is_out_of_order
            && api == Api::Auto
            && host.dialect == Dialect::Quay
            && !host.is_sure
            && self.client.caller == Caller::Native
        {
            return self.switch(&name, Dialect::Distribution);
        }
        if self.client.caller == Caller::Browser && outcome == Err(Failure::Timeout) && !self.host(&name).answered {
            let (page, endpoint) = (self.client.page.clone(), self.endpoint(&name));
            let cause = diagnosis::silence(&page, &endpoint);
            let trouble = cause.trouble(&name, &endpoint);
            self.host(&name).cause = Some(cause);
            self.give_up(&name, trouble.clone());
            return self.learn(query, Err(trouble));
        }
        self.record(query.clone(), flight, outcome);
        // Where nothing was answered so far, the host itself may be down.
        if !self.host(&name).has_succeeded
            && let Some(Err(trouble)) = self.facts.answers.get(&query).cloned()
        {
            self.check(&name, trouble);
        }
    }

    /// Counts a request that failed. Where one after the other does, it is the host's trouble, or that of a few repositories alone.
    pub(super) fn count_failure(&mut self, name: &str, outcome: &Result<Response, Failure>) {
        let host = self.host(name);
        host.failures += 1;
        if host.has_succeeded && host.failures >= FAILURES {
            let trouble = trouble_of(outcome);
            self.check(name, trouble);
        }
    }

    /// Asks whether a host answers anything well, by a question that is about no repository: some that fail must not take all others of
    /// their host with them. Meanwhile nothing else is sent there.
    pub(super) fn check(&mut self, name: &str, trouble: RegistryError) {
        let (now, endpoint) = (self.now.ms, self.endpoint(name));
        // What is left is ended by its own tries.
        let Some(open) = self.waiting.keys().find(|query| query.host() == name && query.repository().is_some()) else { return };
        let request = match (self.hosts.get(name).map(|host| host.dialect), open.repository()) {
            (Some(Dialect::Quay), Some(repository)) => quay::list_request(&endpoint, quay::split(repository).0),
            _ => Request::get(format!("{endpoint}/v2/"), BODY_LIMIT),
        };
        let host = self.host(name);
        let was_checked = host.checked_at.is_some_and(|at| now < at + CHECK_AGAIN);
        if was_checked || host.verdict.is_some() || std::mem::replace(&mut host.is_probing, true) {
            return;
        }
        host.checked_at = Some(now);
        // One that never answered asked for no pause.
        let due = if host.has_succeeded { now + host.rate_limit.pause(now).as_millis() as u64 } else { now };
        let purpose = Purpose::Check { trouble, tried: 0 };
        self.urgent_later.push((due, (purpose, name.to_owned(), request, PROBE_LIMIT)));
    }

    /// Takes what a host answered to [`check`](Self::check).
    pub(super) fn take_check(
        &mut self,
        trouble: RegistryError,
        tried: u32,
        flight: &Flight,
        outcome: &Result<Response, Failure>,
    ) {
        let (name, now) = (&flight.host, self.now);
        let is_hidden = matches!(outcome, Err(Failure::Network(_))) && self.client.caller == Caller::Browser;
        if is_hidden && flight.request.method != Method::Probe {
            // It may answer, and keep that from the page.
            let request = Request { method: Method::Probe, ..Request::get(flight.request.url.clone(), 0) };
            return self.urgent.push_back((Purpose::Check { trouble, tried }, name.clone(), request, PROBE_LIMIT));
        }
        let (page, endpoint) = (self.client.page.clone(), self.endpoint(name));
        let host = self.host(name);
        if host.verdict.is_some() {
            return self.release(name);
        }
        // Others may have been answered meanwhile.
        let is_answered = host.checked_at.is_some_and(|at| host.last_success > at);
        let is_hopeless = host.rate_limit.is_hopeless(now.ms);
        if is_answered || outcome.is_ok() && !is_transient(outcome) && !is_hopeless {
            host.failures = 0;
            // Of what a page cannot see nothing more is known than that something answers.
            if !is_answered && flight.request.method != Method::Probe {
                host.has_succeeded = true;
                host.last_success = now.ms;
                host.successes += OTHERS;
            }
            return self.release(name);
        }
        // It may refuse everybody for a while.
        let reported = outcome.as_ref().ok().and_then(|r| retry_after(r.retry_after.as_deref()?, now.unix));
        let is_limit = matches!(outcome, Ok(r) if r.status == 429 || r.status == 503 && host.has_succeeded);
        if is_limit && !is_hopeless && reported.is_none_or(|reported| reported < IMAGE_LIMIT) {
            host.rate_limit.rate_limited(flight.sent, now.ms, reported, now.random);
            return self.release(name);
        }
        // One that has answered before may only be started again.
        if host.has_succeeded && tried + 1 < TRIES && !is_limit && !is_hopeless && *outcome != Err(Failure::Offline) {
            let due = now.ms + backoff(tried + 1, now.random).as_millis() as u64;
            let request = match flight.request.method {
                Method::Probe => Request::get(flight.request.url.clone(), BODY_LIMIT),
                _ => flight.request.clone(),
            };
            let again = (Purpose::Check { trouble, tried: tried + 1 }, name.clone(), request, PROBE_LIMIT);
            return self.urgent_later.push((due, again));
        }
        let cause = match outcome {
            Err(Failure::Offline) => Some(Cause::Offline),
            Err(_) if self.client.caller == Caller::Browser => Some(diagnosis::silence(&page, &endpoint)),
            _ => None,
        };
        let trouble = cause.as_ref().map_or(trouble, |cause| cause.trouble(name, &endpoint));
        self.host(name).cause = cause;
        self.give_up(name, trouble);
        self.release(name);
    }

    /// Lets a host's questions go on after it was probed.
    pub(super) fn release(&mut self, name: &str) {
        self.host(name).is_probing = false;
        let (own, others) = std::mem::take(&mut self.awaiting_probe).into_iter().partition(|query| query.host() == name);
        self.awaiting_probe = others;
        let own: Vec<Query> = own;
        own.into_iter().for_each(|query| self.requeue(query));
    }

    /// Asks a host no more, for this reason.
    pub(super) fn give_up(&mut self, name: &str, trouble: RegistryError) {
        self.host(name).verdict = Some(trouble.clone());
        let open: Vec<Query> = self.waiting.keys().filter(|query| query.host() == name).cloned().collect();
        let in_flight: HashSet<Query> = self.in_flight.values().filter_map(|f| query_of(&f.purpose)).collect();
        for query in open.into_iter().filter(|query| !in_flight.contains(query)) {
            self.learn(query, Err(trouble.clone()));
        }
        self.apply_verdicts();
    }

    /// Ends what was asked meanwhile of hosts that are given up.
    pub(super) fn apply_verdicts(&mut self) {
        while let Some(i) = self.queue.iter().position(|query| self.hosts.get(query.host()).is_some_and(|h| h.verdict.is_some()))
        {
            let Some(query) = self.queue.remove(i) else { return };
            let verdict = self.hosts.get(query.host()).and_then(|h| h.verdict.clone());
            if let Some(trouble) = verdict {
                self.learn(query, Err(trouble));
            }
        }
    }
}
