//! What is known of a host.

use super::Client;
use super::diagnosis::Cause;
use super::rate_limit::RateLimit;
use crate::engine::registry::auth::AuthChallenge;
use crate::engine::registry::{Caller, DIALECTS, Dialect, RegistryError};
use crate::engine::time::Millis;
use std::time::Duration;

/// Requests in a row that fail until a host is checked.
pub(super) const FAILURES: u32 = 12;

/// The time from one check of a host to the next.
pub(super) const CHECK_AGAIN: Duration = Duration::from_secs(5);

/// Queries that must succeed while one is rate limited, until that is taken for its own trouble.
pub(super) const OTHERS: u64 = 10;

/// A host, and what was seen of it in this run.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) rate_limit: RateLimit,
    pub(super) api: HostApi,
    pub(super) contact: Contact,
    pub(super) auth: HostAuth,
    pub(super) probe: Probe,
    /// Why it is not queried any more.
    pub(super) verdict: Option<RegistryError>,
    /// Why a page cannot read it.
    pub(super) cause: Option<Cause>,
}

/// Which API a host speaks.
#[derive(Debug)]
pub(super) struct HostApi {
    pub(super) dialect: Dialect,
    /// Whether it was seen to speak that.
    pub(super) is_sure: bool,
    /// How many others were tried.
    pub(super) others_tried: usize,
    /// Whether its answers to HEAD have no digest.
    pub(super) hides_digest: bool,
}

/// What a host answered.
#[derive(Debug, Default)]
pub(super) struct Contact {
    /// Whether it answered anything.
    pub(super) answered: bool,
    /// Whether it answered a request that needs a preflight.
    pub(super) answered_preflighted: bool,
    /// Whether it ever answered without an error.
    pub(super) has_succeeded: bool,
    /// When it last did.
    pub(super) last_success: Millis,
    /// How often it did.
    pub(super) successes: u64,
    /// Whether a request failed.
    pub(super) is_failing: bool,
    /// Requests in a row that failed.
    pub(super) failures: u32,
    /// Answers "too many requests" in a row that ask for a wait longer than an image has.
    pub(super) long_waits: u32,
}

impl Contact {
    pub(super) fn succeeded(&mut self, now: Millis) {
        self.has_succeeded = true;
        self.last_success = now;
        self.successes += 1;
        self.failures = 0;
        self.long_waits = 0;
    }
}

/// What a host requires of a login, and its token service.
#[derive(Debug, Default)]
pub(super) struct HostAuth {
    /// What it requires, since a 401 said so.
    pub(super) wants: Option<AuthChallenge>,
    /// Whether a password was accepted.
    pub(super) login_succeeded: bool,
    /// Whether its token service returned a token. Until then one query at a time asks for one; from then on each does at once.
    pub(super) has_tokens: bool,
    /// Why its token service cannot be queried.
    pub(super) no_token: Option<RegistryError>,
    /// Whether anything answered at the token service.
    pub(super) probed: Option<bool>,
}

/// Whether a host answers anything.
#[derive(Debug, Default)]
pub(super) struct Probe {
    pub(super) answered: Option<bool>,
    pub(super) is_under_way: bool,
    /// When it was last checked.
    pub(super) checked_at: Option<Millis>,
}

impl Host {
    pub(super) fn new(dialect: Dialect, caller: Caller) -> Self {
        let (start, most) = (dialect.requests)(caller);
        Self {
            rate_limit: RateLimit::new(start, most),
            api: HostApi { dialect, is_sure: false, others_tried: 0, hides_digest: false },
            contact: Contact::default(),
            auth: HostAuth::default(),
            probe: Probe::default(),
            verdict: None,
            cause: None,
        }
    }

    /// When it may be sent something.
    pub(super) fn when(&self, now: Millis) -> Option<Millis> {
        // Until it is known what it speaks, or whether it is in order at all, one request shows as much as many.
        let is_unclear = self.api.dialect != Dialect::COMMON && !self.api.is_sure || self.contact.is_failing;
        let is_suspect = !self.contact.has_succeeded && is_unclear;
        if is_suspect && self.rate_limit.in_flight() > 0 || self.probe.is_under_way { None } else { self.rate_limit.when(now) }
    }
}

impl HostApi {
    /// The next API to try.
    pub(super) fn next(&self) -> Option<Dialect> {
        self.dialect.next(self.others_tried)
    }

    /// Takes that the host speaks this, and no other is tried.
    pub(super) fn settle(&mut self, dialect: Dialect) {
        *self = Self { dialect, is_sure: true, others_tried: usize::MAX, hides_digest: self.hides_digest };
    }
}

/// The API by which a host is queried first: the one that was chosen, else the one that its name says. Where that is wrong, or the host
/// proves to speak another, [`Run`](super::Run) switches.
pub(super) fn first_dialect(host: &str, chosen: Option<Dialect>, client: &Client) -> Dialect {
    let has_login = client.logins.has_host(host);
    let fits = |dialect: &Dialect| (dialect.is_named)(host) && !(has_login && dialect.capabilities.private_looks_missing);
    chosen.or_else(|| DIALECTS.into_iter().find(fits)).unwrap_or(Dialect::COMMON)
}
