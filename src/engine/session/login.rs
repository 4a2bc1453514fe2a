//! Logins and tokens of a run: which login may go where, and how a token is got.

use super::answer::{trouble_of, without_secrets};
use super::{CachedToken, Flight, LoginState, Purpose, Run};
use crate::engine::image::reference::Repository;
use crate::engine::registry::auth::{self, AuthChallenge, Login};
use crate::engine::registry::http::{
    Failure, IMAGE_LIMIT, Method, PROBE_LIMIT, Request, Response, TRIES, backoff, is_transient, retry_after,
};
use crate::engine::registry::{self, Caller, Exchange, Query};
use crate::engine::session::diagnosis::Cause;
use crate::engine::url;
use crate::engine::url::{default_endpoint, is_private};

impl Run {
    /// Whose login answers for a repository: that of the host where its API is. A link can name another place for a registry, and must
    /// not get the registry's login by that.
    pub(super) fn login_place(&self, repository: &Repository) -> Repository {
        let (endpoint, majority_hash) = (self.endpoint(&repository.host), default_endpoint(&repository.host));
        let host = |url: &str| url::Address::parse(url).map_or(String::new(), |a| a.host.to_owned());
        // Over http it is the same host too: whether a login goes there is another question.
        let https = |url: &str| url.replacen("http://", "https://", 1);
        let is_usual = url::is_same_origin(&https(&endpoint), &https(&majority_hash));
        if is_usual { repository.clone() } else { Repository { host: host(&endpoint), ..repository.clone() } }
    }

    /// The login for a repository, if it may be sent to where its API is.
    pub(super) fn login(&self, repository: &Repository) -> Option<Login> {
        let place = self.login_place(repository);
        if self.is_lowered(&place, repository) {
            return None;
        }
        self.client.logins.of(&place).cloned()
    }

    /// Whether a login would go over plain http to a host whose logins are for https: all but this machine, and those of which the
    /// authfile says http. No link, endpoint or flag makes a login one for http.
    pub(super) fn is_lowered(&self, place: &Repository, repository: &Repository) -> bool {
        let is_http = |url: &str| url.starts_with("http://");
        is_http(&self.endpoint(&repository.host))
            && !is_http(&default_endpoint(&place.host))
            && !self.client.logins.is_plain(place)
    }

    /// Whether a page may ask for a login that is for plain http from the start: its form says so, and the registry is in the visitor's own
    /// network.
    pub(super) fn may_be_typed(&self, place: &Repository) -> bool {
        self.client.caller == Caller::Browser && is_private(&place.host)
    }

    /// Why no login answers for a repository, and what helps: there is none that may be sent, or the one there is is not of the kind that
    /// is wanted.
    pub(super) fn unusable_login(&self, repository: &Repository, response: &Response) -> Option<(String, &'static str)> {
        let place = self.login_place(repository);
        let is_basic = response.challenge.as_deref().and_then(auth::parse_www_authenticate) == Some(AuthChallenge::Basic);
        const AGAIN: &str = "log in again (podman login)";
        match self.client.logins.of(&place) {
            None if self.is_lowered(&place, repository) && self.may_be_typed(&place) => None,
            _ if self.is_lowered(&place, repository) => Some((
                format!("a login is sent over https only, and {} is not", self.endpoint(&repository.host)),
                match self.client.caller {
                    Caller::Browser => "reach it by https",
                    Caller::Native => {
                        "reach it by https, or write its key in the authfile with http:// if its network is trusted"
                    }
                },
            )),
            Some(Login::Refresh { password: None, .. }) if is_basic => {
                Some(("it wants user and password, and there is an identity token alone".to_owned(), AGAIN))
            }
            Some(_) => None,
            None => self.client.logins.unusable(&place).map(|why| (why.to_owned(), AGAIN)),
        }
    }

    /// Notes that a login is wanted, or that the one that was sent is refused.
    pub(super) fn lock(&mut self, repository: &Repository, was_sent: bool) {
        let place = self.login_place(repository);
        // A page has no form for a login that it would not send.
        if self.is_lowered(&place, repository) && !self.may_be_typed(&place) {
            return;
        }
        let host = place.host;
        self.locked.insert(host, if was_sent { LoginState::Refused } else { LoginState::Needed });
    }

    /// Whether a 401 can be answered with a login or a token that was not tried yet; then the question is put again.
    pub(super) fn can_log_in(&mut self, query: &Query, flight: &Flight, response: &Response) -> bool {
        let Some(repository) = query.repository().cloned() else { return false };
        let was_sent = flight.request.authorization.is_some();
        let has_login = self.login(&repository).is_some_and(|login| login.basic().is_some());
        let wanted = response.challenge.as_deref().and_then(auth::parse_www_authenticate);
        match wanted {
            Some(wanted @ AuthChallenge::Bearer { .. }) => {
                if was_sent {
                    match self.tokens.get(&repository) {
                        // Another one came while this was under way.
                        Some(cached) if Some(&cached.token.header) != flight.request.authorization.as_ref() => return true,
                        // One that was good may have run out before its time; it is renewed once.
                        Some(cached) => {
                            let ran_out = cached.was_good;
                            self.tokens.remove(&repository);
                            if !(ran_out && self.renewed.insert(query.clone())) {
                                return false;
                            }
                            self.renewing.insert(repository.clone());
                        }
                        None => return self.renewing.contains(&repository),
                    }
                }
                self.refusals.insert(repository);
                self.host(&flight.host).wants = Some(wanted);
                true
            }
            // A page may not be let see what is wanted; then a password is the likely thing.
            Some(AuthChallenge::Basic) | None if has_login && !was_sent => {
                self.refusals.insert(repository);
                self.host(&flight.host).wants = Some(AuthChallenge::Basic);
                true
            }
            _ => false,
        }
    }

    pub(super) fn take_token(&mut self, repository: Repository, flight: Flight, outcome: Result<Response, Failure>) {
        let has_login = flight.request.authorization.is_some() || flight.request.form.is_some();
        let queries = self.awaiting_token.remove(&repository).unwrap_or_default();
        self.renewing.remove(&repository);
        let now = self.now;
        if let Err(Failure::Offline) = &outcome {
            let trouble = Cause::Offline.trouble(&flight.host, "");
            self.host(&flight.host).cause = Some(Cause::Offline);
            self.give_up(&flight.host, trouble.clone());
            return queries.into_iter().for_each(|query| self.learn(query, Err(trouble.clone())));
        }
        let is_unreadable = matches!(outcome, Err(Failure::Network(_))) && self.client.caller == Caller::Browser;
        let host = self.host(&flight.host);
        // A page cannot read the refusal of a service that has answered before.
        let is_overload = match &outcome {
            Ok(response) => response.status == 429 || response.status == 503 && host.has_tokens,
            Err(_) => is_unreadable && host.has_tokens,
        };
        if is_overload {
            let reported = outcome.as_ref().ok().and_then(|r| retry_after(r.retry_after.as_deref()?, now.unix));
            host.rate_limit.rate_limited(flight.sent, now.ms, reported.map(|t| t.min(IMAGE_LIMIT)), now.random);
        }
        let is_hopeless = host.rate_limit.is_hopeless(now.ms);
        let tries = self.token_tries.entry(repository.clone()).or_default();
        *tries += 1;
        let tries = *tries;
        if is_overload && !is_hopeless {
            self.retries += 1;
            return queries.into_iter().for_each(|query| self.requeue(query));
        }
        if is_overload {
            let trouble = trouble_of(&outcome);
            self.give_up(&flight.host, trouble.clone());
            return queries.into_iter().for_each(|query| self.learn(query, Err(trouble.clone())));
        }
        if is_transient(&outcome) && tries < TRIES {
            self.retries += 1;
            let due = now.ms + backoff(tries, now.random).as_millis() as u64;
            return self.later.extend(queries.into_iter().map(|query| (due, query)));
        }
        self.token_tries.remove(&repository);
        if is_unreadable && self.host(&flight.host).tokens_probed.is_none() {
            let probe = Request { method: Method::Probe, ..Request::get(format!("{}/", url::origin(&flight.request.url)), 0) };
            self.urgent.push_back((Purpose::TokenProbe(repository.clone()), flight.host, probe, PROBE_LIMIT));
            self.awaiting_token.insert(repository, queries);
            return;
        }
        let token = match &outcome {
            Ok(response) => auth::read_token(response, &flight.request),
            Err(_) if is_unreadable => {
                let origin = url::origin(&flight.request.url);
                let answers = self.host(&flight.host).tokens_probed == Some(true);
                let cause = if answers { Cause::TokenService(origin.clone()) } else { Cause::Unreachable };
                let trouble = cause.trouble(&flight.host, &origin);
                let host = self.host(&flight.host);
                host.cause = Some(cause);
                host.no_token = Some(trouble.clone());
                // Where nothing was readable without a token so far, nothing will be.
                if !host.has_succeeded {
                    self.give_up(&flight.host, trouble.clone());
                }
                Err(trouble)
            }
            Err(failure) => Err(registry::error::failed(failure)),
        };
        let is_refused = matches!(&outcome, Ok(r) if matches!(r.status, 400 | 401 | 403));
        // A token is a secret, and the body holds nothing else.
        let outcome = outcome.map(|r| Response { body: Vec::new(), ..r });
        let exchange = Exchange { request: flight.request, outcome, tries };
        self.facts.logins.entry(repository.clone()).or_default().push(without_secrets(exchange));
        match token {
            Ok(token) => {
                self.host(&flight.host).has_tokens = true;
                self.tokens.insert(repository, CachedToken { token, since: flight.sent, was_good: false });
                for query in queries {
                    self.requeue(query);
                }
            }
            Err(mut trouble) => {
                if is_refused {
                    self.lock(&repository, has_login);
                    if let Some(why) = self.client.logins.unusable(&self.login_place(&repository)).filter(|_| !has_login) {
                        trouble.message = format!("{}, and {why}", trouble.message);
                    }
                }
                for query in queries {
                    // Others only waited to see how this one fares.
                    if query.repository() == Some(&repository) {
                        self.learn(query, Err(trouble.clone()));
                    } else {
                        self.requeue(query);
                    }
                }
            }
        }
    }

    /// The repository whose token is to be waited for before this one's is asked for.
    pub(super) fn token_under_way(&self, repository: &Repository) -> Option<Repository> {
        if self.awaiting_token.contains_key(repository) {
            return Some(repository.clone());
        }
        let is_new = self.hosts.get(&repository.host).is_some_and(|h| !h.has_tokens);
        self.awaiting_token.keys().find(|r| is_new && r.host == repository.host).cloned()
    }
}
