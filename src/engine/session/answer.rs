//! What an answer means: it is recorded, put aside to be tried again, or ends its query.

use super::host::clock_of;
use super::{Flight, Purpose, Run};
use crate::engine::image::digest::is_digest;
use crate::engine::registry::auth::AuthChallenge;
use crate::engine::registry::http::{Failure, Method, Moment, Response, is_transient, retry_after};
use crate::engine::registry::quay;
use crate::engine::registry::tag_list::TagList;
use crate::engine::registry::{self, Answer, Caller, Dialect, Exchange, Form, Query, RegistryError, Step};
use crate::engine::session::diagnosis::Cause;
use std::collections::BTreeSet;

/// Bytes of all lists of tags of a run.
pub(super) const ALL_LISTS: usize = 256 << 20;

impl Run {
    /// Takes what came of a request. An id that is not flying any more is left be.
    pub fn deliver(&mut self, id: u64, outcome: Result<Response, Failure>, now: Moment) {
        self.now = now;
        let Some(flight) = self.in_flight.remove(&id) else { return };
        self.requests += 1;
        self.host(&flight.host).rate_limit.ended();
        match flight.purpose.clone() {
            Purpose::Query(query) => self.take(query, flight, outcome),
            Purpose::Token(repository) => self.take_token(repository, flight, outcome),
            Purpose::TokenProbe(repository) => {
                self.host(&flight.host).tokens_probed = Some(outcome.is_ok());
                self.take_token(repository, flight, Err(unsaid()));
            }
            Purpose::DetectApi(query) => {
                let host = self.host(&flight.host);
                let other = match host.dialect {
                    Dialect::Quay => Dialect::Distribution,
                    Dialect::Distribution => Dialect::Quay,
                };
                match outcome {
                    Ok(response) if other == Dialect::Distribution || quay::speaks(&response) => {
                        host.answered = true;
                        host.answered_preflighted |= flight.request.needs_preflight();
                        self.switch(&flight.host, other);
                    }
                    _ => self.requeue(query),
                }
            }
            Purpose::Check { trouble, tried } => self.take_check(trouble, tried, &flight, &outcome),
            Purpose::Probe => {
                let host = self.host(&flight.host);
                host.probed = Some(outcome.is_ok());
                host.is_probing = false;
                for query in std::mem::take(&mut self.awaiting_probe) {
                    match query.host() == flight.host {
                        true => self.diagnose_failure(query, flight.clone(), false),
                        false => self.awaiting_probe.push(query),
                    }
                }
            }
        }
    }

    /// Takes the outcome of a question's request.
    pub(super) fn take(&mut self, query: Query, flight: Flight, outcome: Result<Response, Failure>) {
        // Nobody waits for it any more.
        if !self.waiting.contains_key(&query) {
            return;
        }
        let name = flight.host.clone();
        if let (Some(verdict), Err(_)) = (self.host(&name).verdict.clone(), &outcome) {
            return self.learn(query, Err(verdict));
        }
        if is_transient(&outcome) {
            let trouble = trouble_of(&outcome);
            self.attempts(&query).last_trouble = Some(trouble);
        }
        let is_browser = self.client.caller == Caller::Browser;
        let response = match &outcome {
            Ok(response) => response,
            Err(Failure::Network(_)) if is_browser => return self.diagnose_failure(query, flight, false),
            Err(Failure::Offline) => return self.diagnose_failure(query, flight, true),
            Err(Failure::Network(_) | Failure::Timeout) => return self.try_again(query, flight, outcome),
            Err(_) => return self.record(query, flight, outcome),
        };
        let host = self.host(&name);
        host.answered = true;
        host.answered_preflighted |= flight.request.needs_preflight();
        if !host.is_sure && !is_transient(&outcome) {
            let is_telling = matches!(query, Query::Overview { .. });
            if host.dialect == Dialect::Quay && is_telling && !quay::speaks(response) && !host.has_detected {
                return self.switch(&name, Dialect::Distribution);
            }
            host.is_sure = true;
        }
        match response.status {
            429 => {
                let reported = response.retry_after.as_deref().and_then(|text| retry_after(text, self.now.unix));
                self.refused(query, flight, outcome, reported)
            }
            _ if is_transient(&outcome) => self.try_again(query, flight, outcome),
            401 if self.host(&name).dialect == Dialect::Distribution && self.can_log_in(&query, &flight, response) => {
                let exchange = Exchange { request: flight.request, outcome, tries: 1 };
                if let Some(repository) = query.repository() {
                    self.facts.logins.entry(repository.clone()).or_default().push(without_secrets(exchange));
                }
                self.requeue(query);
            }
            status => {
                // Of a repository that was read, a list of tags or a config that is refused is no reason to ask for a login.
                let was_read = |repository| {
                    let is_of = |(query, answer): (&Query, &Result<Answer, RegistryError>)| {
                        query.repository() == Some(repository) && answer.is_ok()
                    };
                    matches!(query, Query::Tags { .. } | Query::Labels { .. }) && self.facts.answers.iter().any(is_of)
                };
                let was_read = matches!(status, 401 | 403) && query.repository().is_some_and(was_read);
                let is_login =
                    self.host(&name).dialect == Dialect::Distribution && !matches!(query, Query::Ping { .. }) && !was_read;
                if let Some(repository) = query.repository().filter(|_| matches!(status, 401 | 403) && is_login) {
                    let was_sent = flight.request.authorization.is_some();
                    // A token that everybody is given is not a login.
                    let was_login = was_sent && self.login(repository).is_some();
                    let unusable = self.unusable_login(repository, response).filter(|_| !was_login);
                    self.lock(repository, was_login);
                    if let Some((why, hint)) = unusable {
                        let message = format!("the registry wants a login ({status}): {why}");
                        self.note(&query, flight, outcome);
                        return self.learn(query, Err(RegistryError { message, hint: hint.to_owned() }));
                    }
                    if is_browser && status == 401 && response.challenge.is_none() && !was_sent {
                        let cause = Cause::Unexposed;
                        let trouble = cause.trouble(&name, &self.endpoint(&name));
                        self.host(&name).cause = Some(cause);
                        self.note(&query, flight, outcome);
                        return self.learn(query, Err(trouble));
                    }
                } else if flight.request.authorization.is_some()
                    && let Some(cached) = query.repository().and_then(|r| self.tokens.get_mut(r))
                {
                    cached.was_good = true;
                } else if flight.request.authorization.is_some() {
                    self.host(&name).login_succeeded = true;
                }
                let now = self.now.ms;
                let host = self.host(&name);
                host.rate_limit.succeeded();
                host.has_succeeded = true;
                host.last_success = now;
                host.successes += 1;
                host.failures = 0;
                host.long_waits = 0;
                let has_digest = response.digest.as_deref().is_some_and(is_digest);
                host.hides_digest |= flight.request.method == Method::Head && status == 200 && !has_digest;
                let is_refused = matches!(status, 401 | 403) && flight.request.authorization.is_some();
                if is_refused && host.wants == Some(AuthChallenge::Basic) && !was_read {
                    let message = format!("the registry refuses the login, or keeps this from it ({status})");
                    let trouble = RegistryError { message, hint: "check user and password, and what they may read".to_owned() };
                    self.note(&query, flight, outcome);
                    return self.learn(query, Err(trouble));
                }
                self.record(query, flight, outcome);
            }
        }
    }

    /// Notes what was exchanged for a question, and ends it or puts it first in the queue.
    pub(super) fn record(&mut self, query: Query, flight: Flight, outcome: Result<Response, Failure>) {
        self.note(&query, flight, outcome);
        match self.step(&query) {
            Step::Done(answer) => self.learn(query, answer),
            // First in, first out would let every image start before any ends; a question under way goes first.
            Step::Send(_) => self.requeue(query),
        }
    }

    pub(super) fn note(&mut self, query: &Query, flight: Flight, outcome: Result<Response, Failure>) {
        let tries = self.attempts.remove(query).map_or(0, |attempts| attempts.failed).max(1);
        let exchange = Exchange { request: flight.request, outcome, tries };
        self.facts.exchanges.entry(query.clone()).or_default().push(without_secrets(exchange));
    }

    /// Asks a host by the other API from now on.
    pub(super) fn switch(&mut self, name: &str, dialect: Dialect) {
        let host = self.host(name);
        host.dialect = dialect;
        host.is_sure = true;
        host.has_detected = true;
        host.failures = 0;
        self.facts.dialects.insert(name.to_owned(), dialect);
        let stale: Vec<Query> = self.waiting.keys().filter(|query| query.host() == name).cloned().collect();
        let mut images = BTreeSet::new();
        for query in &stale {
            for i in self.waiting.remove(query).unwrap_or_default() {
                self.pending[i] = self.pending[i].saturating_sub(1);
                images.insert(i);
            }
            self.attempts.remove(query);
            self.close(query);
            self.facts.exchanges.remove(query);
        }
        self.queue.retain(|query| query.host() != name);
        self.later.retain(|(_, query)| query.host() != name);
        self.awaiting_probe.retain(|query| query.host() != name);
        self.evaluate(images.into_iter().collect(), false);
    }

    pub(super) fn learn(&mut self, query: Query, mut answer: Result<Answer, RegistryError>) {
        if let Ok(Answer::Tags(Ok(list))) = &answer
            && self.tag_lists().map(TagList::bytes).sum::<usize>() + list.bytes() > ALL_LISTS
        {
            let message = format!("the lists of tags of this run are larger than {} MiB together", ALL_LISTS >> 20);
            let hint = "ask for fewer images at a time, or choose a pin that needs no list (label, digest)".to_owned();
            answer = Err(RegistryError { message, hint });
        }
        // What a body said is in the answer now.
        for exchange in self.facts.exchanges.get_mut(&query).into_iter().flatten() {
            if let Ok(response) = &mut exchange.outcome {
                response.body = Vec::new();
            }
        }
        self.close(&query);
        self.attempts.remove(&query);
        self.kept.remove(&query);
        let mut images = self.waiting.remove(&query).unwrap_or_default();
        if let (Query::Tag { repository, .. }, Ok(Answer::Tag(Ok(_)))) = (&query, &answer)
            && let Some(Exchange { outcome: Ok(response), .. }) = self.facts.exchanges.get(&query).and_then(|e| e.last())
        {
            match Form::first(&response.content_type) {
                Some(form) => _ = self.facts.forms.insert(repository.clone(), form),
                None => _ = self.facts.forms.remove(repository),
            }
        }
        if let (Query::Tag { repository, tag, .. }, Ok(Answer::Tag(is))) = (&query, &answer)
            && let Some(was) = self.previous_digests.get(&(repository.clone(), tag.clone()))
            && *was != is.as_ref().ok().map(|f| f.digest.clone())
        {
            self.facts.forget_tags(repository);
        }
        self.facts.answers.insert(query, answer);
        images.retain(|i| {
            self.pending[*i] = self.pending[*i].saturating_sub(1);
            self.pending[*i] == 0
        });
        // What an image still lacks goes before what others begin with, so that rows are known early.
        self.evaluate(images, true);
    }

    /// Ends the time that a question takes.
    pub(super) fn close(&mut self, query: &Query) {
        if self.started.remove(query).is_some() {
            let clock = self.clocks.entry(clock_of(query)).or_default();
            clock.open = clock.open.saturating_sub(1);
            if clock.open == 0 {
                clock.spent += self.now.ms.saturating_sub(clock.since);
            }
        }
    }
}

/// What a request that failed means.
pub(super) fn trouble_of(outcome: &Result<Response, Failure>) -> RegistryError {
    outcome.as_ref().map_or_else(registry::error::failed, registry::error::refused)
}

/// What a browser reports of a failure.
pub(super) fn unsaid() -> Failure {
    Failure::Network("the browser does not say why".to_owned())
}

/// Whether an answer is none that another try may not change.
pub(super) fn has_failed(answer: &Result<Answer, RegistryError>) -> bool {
    matches!(answer, Err(_) | Ok(Answer::Refused(_)))
}

/// An exchange as it may be kept and shown.
pub(super) fn without_secrets(mut exchange: Exchange) -> Exchange {
    (exchange.request.authorization, exchange.request.form) = (None, None);
    exchange
}

/// The question that a request is sent for.
pub(super) fn query_of(purpose: &Purpose) -> Option<Query> {
    match purpose {
        Purpose::Query(query) | Purpose::DetectApi(query) => Some(query.clone()),
        Purpose::Token(_) | Purpose::TokenProbe(_) | Purpose::Probe | Purpose::Check { .. } => None,
    }
}
