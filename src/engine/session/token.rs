//! Tokens of a run: which are there, which are waited for, and what the answer of a token service means.

use super::answer::{Outcome, error_of, without_secrets};
use super::diagnosis::Cause;
use super::queue::Urgent;
use super::{Flight, LoginState, Purpose, Run};
use crate::engine::image::reference::Repository;
use crate::engine::registry::http::{
    Failure, IMAGE_LIMIT, Method, PROBE_LIMIT, Request, Response, Secret, TRIES, backoff, is_transient, retry_after,
};
use crate::engine::registry::token::{self, Token};
use crate::engine::registry::{self, Caller, Exchange, Query, RegistryError};
use crate::engine::time::Millis;
use crate::engine::url;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A token that was fetched, and when.
#[derive(Debug)]
struct CachedToken {
    token: Token,
    since: Millis,
    /// Whether the registry accepted it.
    was_good: bool,
}

/// Tokens by repository, and what is known of logins.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    cached: HashMap<Repository, CachedToken>,
    /// Queries that wait for a repository's token.
    awaiting: HashMap<Repository, Vec<Query>>,
    /// Tries of the request under way.
    tries: HashMap<Repository, u32>,
    /// Repositories that answered 401.
    pub(super) refusals: HashSet<Repository>,
    /// Queries for which a token was renewed, and repositories whose token is.
    renewed: HashSet<Query>,
    renewing: HashSet<Repository>,
    /// Hosts that want a login.
    pub(super) locked: BTreeMap<String, LoginState>,
}

/// What a token is worth that was refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum RefusedToken {
    /// It is to be renewed.
    Renew,
    /// Another one is there, or on its way.
    Replaced,
    /// The repository may not be read with it.
    Final,
}

/// What is to be done about a request for a token.
enum TokenDecision {
    /// Send the queries again: the first of them asks for a token again.
    Resend,
    /// The same, not before this moment.
    RetryAt(Millis),
    /// See whether anything answers at the service.
    Probe,
    /// Query the host no more.
    GiveUp(RegistryError),
    /// Read the answer.
    Read,
}

impl Tokens {
    /// Holds a query back until the token of a repository is there.
    pub(super) fn hold(&mut self, repository: Repository, query: Query) {
        self.awaiting.entry(repository).or_default().push(query);
    }

    /// Whether any token of a host is waited for.
    pub(super) fn is_awaited(&self, host: &str) -> bool {
        self.awaiting.keys().any(|repository| repository.host == host)
    }

    /// The repository whose token is to be waited for before this one's is asked for.
    pub(super) fn under_way(&self, repository: &Repository, has_tokens: bool) -> Option<Repository> {
        if self.awaiting.contains_key(repository) {
            return Some(repository.clone());
        }
        self.awaiting.keys().find(|r| !has_tokens && r.host == repository.host).cloned()
    }

    /// The header with a repository's token, if there is one that has not expired.
    pub(super) fn fresh(&self, repository: &Repository, now: Millis) -> Option<Secret> {
        let is_fresh = |cached: &&CachedToken| now < cached.since + cached.token.lifetime;
        self.cached.get(repository).filter(is_fresh).map(|cached| cached.token.header.clone())
    }

    /// Notes that a repository was read. Returns whether with a token.
    pub(super) fn note_success(&mut self, repository: &Repository) -> bool {
        let cached = self.cached.get_mut(repository);
        cached.map(|cached| cached.was_good = true).is_some()
    }

    /// Takes that a query was refused with a token, which was sent as `header`.
    pub(super) fn refused(&mut self, repository: &Repository, query: &Query, header: Option<&Secret>) -> RefusedToken {
        match self.cached.get(repository) {
            // Another one came while this was under way.
            Some(cached) if Some(&cached.token.header) != header => RefusedToken::Replaced,
            // One that was good may have run out before its time; it is renewed once.
            Some(cached) => {
                let was_good = cached.was_good;
                self.cached.remove(repository);
                if !(was_good && self.renewed.insert(query.clone())) {
                    return RefusedToken::Final;
                }
                self.renewing.insert(repository.clone());
                RefusedToken::Renew
            }
            None if self.renewing.contains(repository) => RefusedToken::Replaced,
            None => RefusedToken::Final,
        }
    }

    /// Forgets the requests under way.
    pub(super) fn forget_work(&mut self) {
        self.awaiting.clear();
        self.tries.clear();
    }
}

impl Run {
    /// Takes the answer of a token service.
    pub(super) fn take_token(&mut self, repository: Repository, flight: Flight, outcome: Outcome) {
        let queries = self.tokens.awaiting.remove(&repository).unwrap_or_default();
        self.tokens.renewing.remove(&repository);
        match self.judge_token(&repository, &flight, &outcome) {
            TokenDecision::Resend => {
                self.flights.retries += 1;
                queries.into_iter().for_each(|query| self.queue.requeue(query));
            }
            TokenDecision::RetryAt(at) => {
                self.flights.retries += 1;
                queries.into_iter().for_each(|query| self.queue.push_later(at, query));
            }
            TokenDecision::Probe => {
                self.tokens.tries.remove(&repository);
                let url = format!("{}/", url::origin(&flight.request.url));
                let request = Request { method: Method::Probe, ..Request::get(url, 0) };
                let purpose = Purpose::TokenProbe(repository.clone());
                self.queue.push_urgent(Urgent { purpose, host: flight.host, request, limit: PROBE_LIMIT });
                self.tokens.awaiting.insert(repository, queries);
            }
            TokenDecision::GiveUp(error) => {
                self.give_up(&flight.host, error.clone());
                queries.into_iter().for_each(|query| self.learn(query, Err(error.clone())));
            }
            TokenDecision::Read => self.read_token(repository, queries, flight, outcome),
        }
    }

    /// Decides what the answer of a token service means.
    fn judge_token(&mut self, repository: &Repository, flight: &Flight, outcome: &Outcome) -> TokenDecision {
        let now = self.now;
        if let Err(Failure::Offline) = outcome {
            self.host(&flight.host).cause = Some(Cause::Offline);
            return TokenDecision::GiveUp(Cause::Offline.error(&flight.host, ""));
        }
        let is_unreadable = self.is_unreadable(outcome);
        let host = self.host(&flight.host);
        // A page cannot read the refusal of a service that has answered before.
        let is_overload = match outcome {
            Ok(response) => response.status == 429 || response.status == 503 && host.auth.has_tokens,
            Err(_) => is_unreadable && host.auth.has_tokens,
        };
        if is_overload {
            let reported = outcome.as_ref().ok().and_then(|r| retry_after(r.retry_after.as_deref()?, now.unix));
            host.rate_limit.rate_limited(flight.sent, now.ms, reported.map(|t| t.min(IMAGE_LIMIT)), now.random);
        }
        let (is_hopeless, was_probed) = (host.rate_limit.is_hopeless(now.ms), host.auth.probed.is_some());
        let tries = self.tokens.tries.entry(repository.clone()).or_default();
        *tries += 1;
        match (is_overload, is_hopeless) {
            (true, true) => TokenDecision::GiveUp(error_of(outcome)),
            (true, false) => TokenDecision::Resend,
            (false, _) if is_transient(outcome) && *tries < TRIES => TokenDecision::RetryAt(now.ms + backoff(*tries, now.random)),
            (false, _) if is_unreadable && !was_probed => TokenDecision::Probe,
            (false, _) => TokenDecision::Read,
        }
    }

    /// Whether a page cannot see what a token service answered.
    fn is_unreadable(&self, outcome: &Outcome) -> bool {
        matches!(outcome, Err(Failure::Network(_))) && self.client.caller == Caller::Browser
    }

    /// Reads a token, and lets the queries that waited for it go on or end.
    fn read_token(&mut self, repository: Repository, queries: Vec<Query>, flight: Flight, outcome: Outcome) {
        let tries = self.tokens.tries.remove(&repository).unwrap_or(1);
        let has_login = flight.request.authorization.is_some() || flight.request.form.is_some();
        let token = match &outcome {
            Ok(response) => token::read_token(response, &flight.request),
            Err(_) if self.is_unreadable(&outcome) => Err(self.give_up_tokens(&flight)),
            Err(failure) => Err(registry::error::failed(failure)),
        };
        let is_refused = matches!(&outcome, Ok(r) if matches!(r.status, 400 | 401 | 403));
        // A token is a secret, and the body holds nothing else.
        let outcome = outcome.map(|r| Response { body: Vec::new(), ..r });
        let exchange = Exchange { request: flight.request, outcome, tries };
        self.facts.logins.entry(repository.clone()).or_default().push(without_secrets(exchange));
        match token {
            Ok(token) => {
                self.host(&flight.host).auth.has_tokens = true;
                self.tokens.cached.insert(repository, CachedToken { token, since: flight.sent, was_good: false });
                queries.into_iter().for_each(|query| self.queue.requeue(query));
            }
            Err(mut error) => {
                if is_refused {
                    self.lock(&repository, has_login);
                    if let Some(why) = self.client.logins.unusable(&self.login_place(&repository)).filter(|_| !has_login) {
                        error.message = format!("{}, and {why}", error.message);
                    }
                }
                for query in queries {
                    // Others only waited to see how this one fares.
                    match query.repository() == Some(&repository) {
                        true => self.learn(query, Err(error.clone())),
                        false => self.queue.requeue(query),
                    }
                }
            }
        }
    }

    /// Notes that a host's token service cannot be read from the page. Returns why.
    fn give_up_tokens(&mut self, flight: &Flight) -> RegistryError {
        let origin = url::origin(&flight.request.url);
        let host = self.host(&flight.host);
        let answers = host.auth.probed == Some(true);
        let cause = if answers { Cause::TokenService(origin.clone()) } else { Cause::Unreachable };
        let error = cause.error(&flight.host, &origin);
        host.cause = Some(cause);
        host.auth.no_token = Some(error.clone());
        // Where nothing was readable without a token so far, nothing will be.
        if !host.contact.has_succeeded {
            self.give_up(&flight.host, error.clone());
        }
        error
    }
}
