//! What an answer means. [`deliver`](Run::deliver) hands it to the part that judges it; each returns a [`Decision`], and
//! [`act`](Run::act) carries it out.

use super::diagnosis::Cause;
use super::{Flight, Purpose, Run};
use crate::engine::image::reference::Repository;
use crate::engine::registry::auth::AuthChallenge;
use crate::engine::registry::http::{Failure, Method, Moment, Request, Response, is_transient, retry_after};
use crate::engine::registry::tag_list::TagList;
use crate::engine::registry::{self, Answer, Caller, Dialect, Exchange, Form, Query, RegistryError, Step};
use crate::engine::time::Millis;

/// Bytes of all lists of tags of a run.
const ALL_LISTS: usize = 256 << 20;

/// The outcome of a request.
pub(super) type Outcome = Result<Response, Failure>;

/// What is to be done about a query.
#[derive(Debug)]
pub(super) enum Decision {
    /// Keep the exchange; what it says is the answer, or leads to the next request.
    Record,
    /// Keep the exchange as one of the login, and send the request again with one.
    LogIn,
    /// Keep the exchange, and answer with this error.
    Refuse(RegistryError),
    /// Answer with this error.
    GiveUp(RegistryError),
    /// Send it again as soon as its host takes requests.
    Retry,
    /// Send it again, not before this moment.
    RetryAt(Millis),
    /// Send this request to see whether the host speaks that API, then send the query again.
    DetectApi(Dialect, Request),
    /// Hold it back until the host was probed.
    Probe,
    /// Query the host by this API from now on.
    Switch(Dialect),
}

/// What is to be done about a host, after its query.
#[derive(Debug)]
pub(super) enum HostDecision {
    /// Nothing.
    Keep,
    /// See whether it answers at all; if not, this is the error.
    Check(RegistryError),
    /// The same, if the query failed; its error is the error.
    CheckIfFailed,
    /// Query it no more, for this reason.
    GiveUp(RegistryError),
}

/// Both.
pub(super) type Judgement = (Decision, HostDecision);

impl From<Decision> for Judgement {
    fn from(decision: Decision) -> Self {
        (decision, HostDecision::Keep)
    }
}

impl Run {
    /// Takes the outcome of a request. One whose `id` is not in flight is ignored.
    pub fn deliver(&mut self, id: u64, outcome: Outcome, now: Moment) {
        self.now = now;
        let Some(flight) = self.flights.in_flight.remove(&id) else { return };
        self.flights.requests += 1;
        self.host(&flight.host).rate_limit.ended();
        match flight.purpose.clone() {
            Purpose::Query(query) => self.take(query, flight, outcome),
            Purpose::Token(repository) => self.take_token(repository, flight, outcome),
            Purpose::TokenProbe(repository) => {
                self.host(&flight.host).auth.probed = Some(outcome.is_ok());
                self.take_token(repository, flight, Err(unexplained()));
            }
            Purpose::DetectApi(query, dialect) => self.take_detection(query, dialect, &flight, &outcome),
            Purpose::Check { error, tried } => self.take_check(error, tried, &flight, &outcome),
            Purpose::Probe => {
                let host = self.host(&flight.host);
                host.probe.answered = Some(outcome.is_ok());
                host.probe.is_under_way = false;
                for query in self.queue.take_held(&flight.host) {
                    let verdict = self.diagnose(&query, &flight, false);
                    self.act(query, flight.clone(), Err(unexplained()), verdict);
                }
            }
        }
    }

    /// Takes the outcome of a query's request.
    fn take(&mut self, query: Query, flight: Flight, mut outcome: Outcome) {
        if !self.rows.is_wanted(&query) {
            return;
        }
        if let (Some(error), Err(_)) = (self.host(&flight.host).verdict.clone(), &outcome) {
            return self.learn(query, Err(error));
        }
        if is_transient(&outcome) {
            self.budget.attempts(&query).last_error = Some(error_of(&outcome));
        }
        if matches!(outcome, Err(Failure::Network(_))) && self.client.caller == Caller::Browser {
            outcome = Err(unexplained());
        }
        let verdict = self.judge(&query, &flight, &outcome);
        self.act(query, flight, outcome, verdict);
    }

    /// Decides what the outcome of a query's request means. This and the parts that it calls note what the outcome shows of the host:
    /// its rate limit, its failures, its logins. They send nothing, and end no query.
    fn judge(&mut self, query: &Query, flight: &Flight, outcome: &Outcome) -> Judgement {
        let response = match outcome {
            Ok(response) => response,
            Err(Failure::Network(_)) if self.client.caller == Caller::Browser => return self.diagnose(query, flight, false),
            Err(Failure::Offline) => return self.diagnose(query, flight, true),
            Err(Failure::Network(_) | Failure::Timeout) => return self.judge_transient(query, flight, outcome),
            Err(_) => return Decision::Record.into(),
        };
        let host = self.host(&flight.host);
        host.contact.answered = true;
        host.contact.answered_preflighted |= flight.request.needs_preflight();
        if !host.api.is_sure && !is_transient(outcome) {
            let (dialect, is_overview) = (host.api.dialect, matches!(query, Query::Overview { .. }));
            if is_overview && !(dialect.speaks)(response) && host.api.others_tried == 0 {
                return Decision::Switch(Dialect::COMMON).into();
            }
            host.api.is_sure = true;
        }
        let asks_for_login = !host.api.dialect.capabilities.private_looks_missing;
        match response.status {
            429 => {
                let reported = response.retry_after.as_deref().and_then(|text| retry_after(text, self.now.unix));
                self.judge_rate_limit(query, flight, outcome, reported)
            }
            _ if is_transient(outcome) => self.judge_transient(query, flight, outcome),
            401 if asks_for_login && self.can_log_in(query, flight, response) => Decision::LogIn.into(),
            _ => self.judge_answer(query, flight, response).into(),
        }
    }

    /// Decides what an answer means that another try would not change.
    fn judge_answer(&mut self, query: &Query, flight: &Flight, response: &Response) -> Decision {
        let (name, status) = (&flight.host, response.status);
        // Where a repository was read before, a refused list of tags or config does not mean that it needs a login.
        let was_read = matches!(query, Query::Tags { .. } | Query::Labels { .. })
            && matches!(status, 401 | 403)
            && query.repository().is_some_and(|repository| self.was_read(repository));
        let is_login =
            !self.host(name).api.dialect.capabilities.private_looks_missing && !matches!(query, Query::Ping { .. }) && !was_read;
        let was_sent = flight.request.authorization.is_some();
        if let Some(repository) = query.repository().filter(|_| matches!(status, 401 | 403) && is_login) {
            // A token that everybody is given is not a login.
            let was_login = was_sent && self.login(repository).is_some();
            let unusable = self.unusable_login(repository, response).filter(|_| !was_login);
            self.lock(repository, was_login);
            if let Some((why, hint)) = unusable {
                let message = format!("the registry requires a login ({status}): {why}");
                return Decision::Refuse(RegistryError { message, hint: hint.to_owned() });
            }
            if self.client.caller == Caller::Browser && status == 401 && response.challenge.is_none() && !was_sent {
                let error = Cause::Unexposed.error(name, &self.endpoint(name));
                self.host(name).cause = Some(Cause::Unexposed);
                return Decision::Refuse(error);
            }
        } else if was_sent && !query.repository().is_some_and(|r| self.tokens.note_success(r)) {
            self.host(name).auth.login_succeeded = true;
        }
        let now = self.now.ms;
        let host = self.host(name);
        host.rate_limit.succeeded();
        host.contact.succeeded(now);
        let has_digest = response.digest.is_some();
        host.api.hides_digest |= flight.request.method == Method::Head && status == 200 && !has_digest;
        let is_refused = matches!(status, 401 | 403) && was_sent;
        if is_refused && host.auth.wants == Some(AuthChallenge::Basic) && !was_read {
            let message = format!("the registry refuses the login, or denies it access ({status})");
            let hint = "check user and password, and which images they can read".to_owned();
            return Decision::Refuse(RegistryError { message, hint });
        }
        Decision::Record
    }

    /// Whether something was read of a repository.
    fn was_read(&self, repository: &Repository) -> bool {
        self.facts.answers.iter().any(|(query, answer)| query.repository() == Some(repository) && answer.is_ok())
    }

    /// Takes the answer to the request that shows whether a host speaks an API.
    fn take_detection(&mut self, query: Query, dialect: Dialect, flight: &Flight, outcome: &Outcome) {
        let host = self.host(&flight.host);
        match outcome {
            Ok(response) if (dialect.speaks)(response) => {
                host.contact.answered = true;
                host.contact.answered_preflighted |= flight.request.needs_preflight();
                self.switch(&flight.host, dialect);
            }
            _ => self.queue.requeue(query),
        }
    }

    /// Carries out what was decided about a query and its host.
    pub(super) fn act(&mut self, query: Query, flight: Flight, outcome: Outcome, (decision, about_host): Judgement) {
        let name = flight.host.clone();
        let after = matches!(about_host, HostDecision::CheckIfFailed).then(|| query.clone());
        match decision {
            Decision::Record => self.record(query, flight, outcome),
            Decision::LogIn => {
                let exchange = Exchange { request: flight.request, outcome, tries: 1 };
                if let Some(repository) = query.repository() {
                    self.facts.logins.entry(repository.clone()).or_default().push(without_secrets(exchange));
                }
                self.queue.requeue(query);
            }
            Decision::Refuse(error) => {
                self.note(&query, flight, outcome);
                self.learn(query, Err(error));
            }
            Decision::GiveUp(error) => self.learn(query, Err(error)),
            Decision::Retry => {
                self.flights.retries += 1;
                self.queue.requeue(query);
            }
            Decision::RetryAt(at) => {
                self.flights.retries += 1;
                self.queue.push_later(at, query);
            }
            Decision::DetectApi(dialect, request) => self.detect_api(query, dialect, request),
            Decision::Probe => self.probe(query),
            Decision::Switch(dialect) => self.switch(&name, dialect),
        }
        match (about_host, after.map(|query| self.facts.answers.get(&query).cloned())) {
            (HostDecision::Check(error), _) | (HostDecision::CheckIfFailed, Some(Some(Err(error)))) => self.check(&name, error),
            (HostDecision::GiveUp(error), _) => self.give_up(&name, error),
            (HostDecision::Keep | HostDecision::CheckIfFailed, _) => {}
        }
    }

    /// Keeps what was exchanged for a query, and ends it or puts it first in the queue.
    fn record(&mut self, query: Query, flight: Flight, outcome: Outcome) {
        self.note(&query, flight, outcome);
        match self.step(&query) {
            Step::Done(answer) => self.learn(query, answer),
            // First in, first out would let every image start before any ends; a query that has begun goes first.
            Step::Send(_) => self.queue.requeue(query),
        }
    }

    fn note(&mut self, query: &Query, flight: Flight, outcome: Outcome) {
        let tries = self.budget.reset(query).max(1);
        let exchange = Exchange { request: flight.request, outcome, tries };
        self.facts.exchanges.entry(query.clone()).or_default().push(without_secrets(exchange));
    }

    /// Queries a host by the other API from now on.
    fn switch(&mut self, name: &str, dialect: Dialect) {
        let host = self.host(name);
        host.api.settle(dialect);
        host.contact.failures = 0;
        self.facts.dialects.insert(name.to_owned(), dialect);
        let (queries, images) = self.rows.drop_host(name);
        for query in &queries {
            self.budget.reset(query);
            self.close(query);
            self.facts.exchanges.remove(query);
        }
        self.queue.remove_host(name);
        self.evaluate(images, false);
    }

    /// Keeps the answer to a query, and evaluates the images that waited for it.
    pub(super) fn learn(&mut self, query: Query, mut answer: Result<Answer, RegistryError>) {
        if let Ok(Answer::Tags(Ok(list))) = &answer
            && self.tag_lists().map(TagList::bytes).sum::<usize>() + list.bytes() > ALL_LISTS
        {
            let message = format!("the lists of tags of this run are larger than {} MiB together", ALL_LISTS >> 20);
            let hint = "request fewer images at a time, or choose a pin that needs no list (label, digest)".to_owned();
            answer = Err(RegistryError { message, hint });
        }
        // What a body said is in the answer now.
        for exchange in self.facts.exchanges.get_mut(&query).into_iter().flatten() {
            if let Ok(response) = &mut exchange.outcome {
                response.body = Vec::new();
            }
        }
        self.close(&query);
        self.budget.reset(&query);
        self.previous.answers.remove(&query);
        let images = self.rows.answered(&query);
        self.note_tag(&query, &answer);
        self.facts.answers.insert(query, answer);
        // What an image still waits for goes before what others begin with, so that rows are known early.
        self.evaluate(images, true);
    }

    /// Notes what the answer for a tag shows of its repository: in which form to query the next tag, and whether tags have moved.
    fn note_tag(&mut self, query: &Query, answer: &Result<Answer, RegistryError>) {
        let (Query::Tag { repository, tag, .. }, Ok(Answer::Tag(found))) = (query, answer) else { return };
        if found.is_ok()
            && let Some(Exchange { outcome: Ok(response), .. }) = self.facts.exchanges.get(query).and_then(|e| e.last())
        {
            match Form::first(&response.content_type) {
                Some(form) => _ = self.facts.forms.insert(repository.clone(), form),
                None => _ = self.facts.forms.remove(repository),
            }
        }
        let digest = found.as_ref().ok().map(|found| found.digest.clone());
        if self.previous.digests.get(&(repository.clone(), tag.clone())).is_some_and(|was| *was != digest) {
            self.facts.forget_tags(repository);
        }
    }

    /// Ends the time that a query takes.
    pub(super) fn close(&mut self, query: &Query) {
        if self.queue.finish(query) {
            self.budget.close(query, self.now.ms);
        }
    }
}

/// The error of a request that failed.
pub(super) fn error_of(outcome: &Outcome) -> RegistryError {
    outcome.as_ref().map_or_else(registry::error::failed, registry::error::refused)
}

/// A failure of which a browser reports no reason.
pub(super) fn unexplained() -> Failure {
    Failure::Network("the browser does not report why".to_owned())
}

/// Whether another try may change an answer.
pub(super) fn has_failed(answer: &Result<Answer, RegistryError>) -> bool {
    matches!(answer, Err(_) | Ok(Answer::Refused(_)))
}

/// An exchange as it may be kept and shown.
pub(super) fn without_secrets(mut exchange: Exchange) -> Exchange {
    (exchange.request.authorization, exchange.request.form) = (None, None);
    exchange
}
