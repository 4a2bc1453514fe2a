//! How much time and how many tries a query has.

use crate::engine::image::reference::Repository;
use crate::engine::registry::http::{IMAGE_LIMIT, TRIES};
use crate::engine::registry::{Query, RegistryError};
use crate::engine::time::Millis;
use std::collections::HashMap;
use std::time::Duration;

/// Tries of a query that may only have met an overloaded host.
pub(super) const OVERLOAD_TRIES: u32 = 2 * TRIES;

/// Requests that failed for a query since it was last answered.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    pub(super) failed: u32,
    /// When one first met what may have been overload.
    pub(super) overloaded_at: Option<Millis>,
    /// Requests that were answered "too many requests".
    pub(super) limited: u32,
    /// How many others its host had answered well when the first of those came.
    pub(super) others_before: u64,
    /// Why the last one failed.
    pub(super) last_error: Option<RegistryError>,
}

/// How long a repository has kept a run busy: an image takes [`IMAGE_LIMIT`] and no longer.
#[derive(Debug, Default)]
struct Clock {
    open: usize,
    since: Millis,
    spent: Duration,
}

/// Attempts by query, clocks by repository.
#[derive(Debug, Default)]
pub(super) struct Budget {
    attempts: HashMap<Query, Attempts>,
    clocks: HashMap<Repository, Clock>,
}

impl Budget {
    pub(super) fn attempts(&mut self, query: &Query) -> &mut Attempts {
        self.attempts.entry(query.clone()).or_default()
    }

    /// Forgets the attempts for a query. Returns how many failed.
    pub(super) fn reset(&mut self, query: &Query) -> u32 {
        self.attempts.remove(query).map_or(0, |attempts| attempts.failed)
    }

    /// Starts the clock for a query.
    pub(super) fn open(&mut self, query: &Query, now: Millis) {
        let clock = self.clock(query);
        clock.open += 1;
        if clock.open == 1 {
            clock.since = now;
        }
    }

    /// Stops the clock for a query.
    pub(super) fn close(&mut self, query: &Query, now: Millis) {
        let clock = self.clock(query);
        clock.open = clock.open.saturating_sub(1);
        if clock.open == 0 {
            clock.spent += now.since(clock.since);
        }
    }

    /// The time that a query may still take.
    pub(super) fn left(&mut self, query: &Query, now: Millis) -> Duration {
        let clock = self.clock(query);
        let open = if clock.open > 0 { now.since(clock.since) } else { Duration::ZERO };
        IMAGE_LIMIT.saturating_sub(clock.spent + open)
    }

    /// The clock of a query's repository, or of its host where it names none.
    fn clock(&mut self, query: &Query) -> &mut Clock {
        let host = || Repository { host: query.host().to_owned(), path: String::new() };
        self.clocks.entry(query.repository().cloned().unwrap_or_else(host)).or_default()
    }
}
