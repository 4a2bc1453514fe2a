//! Logins of a run: which login may be sent where, and what a request carries of it.

use super::token::RefusedToken;
use super::{Flight, LoginState, Run};
use crate::engine::image::reference::Repository;
use crate::engine::registry::auth::{self, AuthChallenge, Login};
use crate::engine::registry::http::{Request, Response, Secret};
use crate::engine::registry::token;
use crate::engine::registry::{Caller, Query, RegistryError};
use crate::engine::url;
use crate::engine::url::{default_endpoint, is_private};

impl Run {
    /// Whose login answers for a repository: that of the host where its API is. A link can name another place for a registry, and must
    /// not get the registry's login by that.
    pub(super) fn login_place(&self, repository: &Repository) -> Repository {
        let (endpoint, usual) = (self.endpoint(&repository.host), default_endpoint(&repository.host));
        let host = |url: &str| url::Address::parse(url).map_or(String::new(), |a| a.host.to_owned());
        // Over http it is the same host too: whether a login goes there is another question.
        let https = |url: &str| url.replacen("http://", "https://", 1);
        let is_usual = url::is_same_origin(&https(&endpoint), &https(&usual));
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
                format!("a login is sent only over https, and {} does not use it", self.endpoint(&repository.host)),
                match self.client.caller {
                    Caller::Browser => "use https",
                    Caller::Native => "use https, or write its key with http:// in the authfile if you trust its network",
                },
            )),
            Some(Login::Refresh { password: None, .. }) if is_basic => {
                Some(("it requires user and password, but there is only an identity token".to_owned(), AGAIN))
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
        self.tokens.locked.insert(host, if was_sent { LoginState::Refused } else { LoginState::Needed });
    }

    /// Whether a 401 can be answered with a login or a token that was not tried yet; then the query is sent again.
    pub(super) fn can_log_in(&mut self, query: &Query, flight: &Flight, response: &Response) -> bool {
        let Some(repository) = query.repository().cloned() else { return false };
        let was_sent = flight.request.authorization.is_some();
        let has_login = self.login(&repository).is_some_and(|login| login.basic().is_some());
        let wanted = response.challenge.as_deref().and_then(auth::parse_www_authenticate);
        match wanted {
            Some(wanted @ AuthChallenge::Bearer { .. }) => {
                if was_sent {
                    match self.tokens.refused(&repository, query, flight.request.authorization.as_ref()) {
                        RefusedToken::Renew => {}
                        RefusedToken::Replaced => return true,
                        RefusedToken::Final => return false,
                    }
                }
                self.tokens.refusals.insert(repository);
                self.host(&flight.host).auth.wants = Some(wanted);
                true
            }
            // A page may not be let see what is wanted; then a password is the likely thing.
            Some(AuthChallenge::Basic) | None if has_login && !was_sent => {
                self.tokens.refusals.insert(repository);
                self.host(&flight.host).auth.wants = Some(AuthChallenge::Basic);
                true
            }
            _ => false,
        }
    }

    /// What a query's request carries as authorization.
    pub(super) fn authorize(&mut self, query: &Query) -> Authorization {
        let name = query.host().to_owned();
        let (Some(repository), Some(wants)) = (query.repository().cloned(), self.host(&name).auth.wants.clone()) else {
            return Authorization::None;
        };
        // While the first token is on its way, what would only be refused too waits for it.
        let auth = &self.host(&name).auth;
        let (has_tokens, login_succeeded, no_token) = (auth.has_tokens, auth.login_succeeded, auth.no_token.clone());
        let was_refused = self.tokens.refusals.contains(&repository);
        let login = self.login(&repository);
        match wants {
            // What was readable without a login is not queried with one, which costs a page a preflight.
            AuthChallenge::Basic if was_refused || login_succeeded => {
                login.and_then(|l| l.basic()).map_or(Authorization::None, Authorization::Header)
            }
            AuthChallenge::Bearer { realm, service } if has_tokens || was_refused || self.tokens.is_awaited(&name) => {
                if let Some(header) = self.tokens.fresh(&repository, self.now.ms) {
                    Authorization::Header(header)
                } else if let Some(error) = no_token {
                    Authorization::GiveUp(error)
                } else if let Some(fetched) = self.tokens.under_way(&repository, has_tokens) {
                    Authorization::Await(fetched)
                } else {
                    let endpoint = self.endpoint(&name);
                    match token::token_request(&endpoint, &realm, service.as_deref(), &repository, login.as_ref()) {
                        Ok(request) => Authorization::Fetch(repository, request),
                        Err(error) => Authorization::GiveUp(error),
                    }
                }
            }
            AuthChallenge::Basic | AuthChallenge::Bearer { .. } | AuthChallenge::Other(_) => Authorization::None,
        }
    }
}

/// How a query's request is authorized.
#[derive(Debug)]
pub(super) enum Authorization {
    /// Not at all.
    None,
    /// With this header.
    Header(Secret),
    /// With the token of this repository, once this request has fetched it.
    Fetch(Repository, Request),
    /// Once the token of this repository is there.
    Await(Repository),
    /// It cannot be.
    GiveUp(RegistryError),
}
