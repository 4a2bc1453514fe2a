//! What is known of a host, and how much of a run's time a repository has taken.

use super::Client;
use crate::engine::image::reference::Repository;
use crate::engine::options::settings::Api;
use crate::engine::registry::auth::AuthChallenge;
use crate::engine::registry::http::{IMAGE_LIMIT, TRIES};
use crate::engine::registry::{Dialect, Query, RegistryError};
use crate::engine::session::diagnosis::Cause;
use crate::engine::session::rate_limit::RateLimit;
use std::time::Duration;

/// How long a repository has kept a run busy: an image takes so long and no longer.
#[derive(Debug, Default)]
pub(super) struct Clock {
    pub(super) open: usize,
    pub(super) since: u64,
    pub(super) spent: u64,
}

impl Clock {
    pub(super) fn left(&self, now: u64) -> Duration {
        let open = if self.open > 0 { now.saturating_sub(self.since) } else { 0 };
        IMAGE_LIMIT.saturating_sub(Duration::from_millis(self.spent + open))
    }
}

/// What is known of a host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) rate_limit: RateLimit,
    pub(super) dialect: Dialect,
    /// Whether it was seen to speak that.
    pub(super) is_sure: bool,
    /// Whether it was tried if it speaks the other one.
    pub(super) has_detected: bool,
    pub(super) answered: bool,
    pub(super) answered_preflighted: bool,
    /// Whether it ever answered something that was no trouble.
    pub(super) has_succeeded: bool,
    /// When it last did.
    pub(super) last_success: u64,
    /// How often it did.
    pub(super) successes: u64,
    /// Whether a password helped.
    pub(super) login_succeeded: bool,
    /// Whether something it was asked came to nothing.
    pub(super) is_failing: bool,
    pub(super) hides_digest: bool,
    /// What it wants, since a 401 said so.
    pub(super) wants: Option<AuthChallenge>,
    /// Whether its token service gave a token. Until then it is sent one question at a time; from then on a token is got at once.
    pub(super) has_tokens: bool,
    /// Why its token service cannot be asked.
    pub(super) no_token: Option<RegistryError>,
    pub(super) tokens_probed: Option<bool>,
    pub(super) probed: Option<bool>,
    pub(super) is_probing: bool,
    /// When it was last asked whether it answers at all.
    pub(super) checked_at: Option<u64>,
    /// Requests in a row that failed.
    pub(super) failures: u32,
    /// Refusals in a row that ask for a wait longer than an image has.
    pub(super) long_waits: u32,
    /// Why it is not asked any more.
    pub(super) verdict: Option<RegistryError>,
    pub(super) cause: Option<Cause>,
}

/// How often a question is tried that may only have met a host that is overloaded.
pub(super) const PATIENCE: u32 = 2 * TRIES;

/// Requests in a row that fail until a host is asked whether it answers at all.
pub(super) const FAILURES: u32 = 12;

/// Milliseconds from one such check of a host to the next.
pub(super) const CHECK_AGAIN: u64 = 5_000;

/// So many others must pass while a question is refused for overload, until that is taken for its own trouble.
pub(super) const OTHERS: u64 = 10;

impl Host {
    /// When it may be sent something.
    pub(super) fn when(&self, now: u64) -> Option<u64> {
        // Until it is known what it speaks, or whether it is in order at all, one request shows as much as many.
        let is_suspect = !self.has_succeeded && (self.dialect == Dialect::Quay && !self.is_sure || self.is_failing);
        if is_suspect && self.rate_limit.in_flight() > 0 || self.is_probing { None } else { self.rate_limit.when(now) }
    }
}

/// The API by which a host is asked first. `auto` knows Quays by their names; where that is wrong, or another host proves to be
/// one, [`Run`] goes over to the other.
pub(super) fn first_dialect(host: &str, api: Api, client: &Client) -> Dialect {
    let is_named = host.starts_with("quay.");
    // Quay's own API takes no user and password.
    let has_login = client.logins.has_host(host);
    match api {
        Api::Quay => Dialect::Quay,
        Api::Auto if is_named && !has_login => Dialect::Quay,
        Api::Auto | Api::Distribution => Dialect::Distribution,
    }
}

/// Whose time a question takes.
pub(super) fn clock_of(query: &Query) -> Repository {
    query.repository().cloned().unwrap_or_else(|| Repository { host: query.host().to_owned(), path: String::new() })
}
