//! What is to be sent, in the order in which it goes out.

use super::Purpose;
use crate::engine::registry::Query;
use crate::engine::registry::http::Request;
use crate::engine::time::Millis;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// A request that is not for a query: it goes out before all of them.
#[derive(Debug)]
pub(super) struct Urgent {
    pub(super) purpose: Purpose,
    pub(super) host: String,
    pub(super) request: Request,
    pub(super) limit: Duration,
}

/// Queries and requests that are not in flight. Moments are milliseconds, as in [`Moment::ms`](crate::engine::registry::http::Moment).
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The next one first.
    ready: VecDeque<Query>,
    /// Not before a moment.
    later: Vec<(Millis, Query)>,
    urgent: VecDeque<Urgent>,
    urgent_later: Vec<(Millis, Urgent)>,
    /// Until a host was probed.
    awaiting_probe: Vec<Query>,
    /// Queries that were sent and have no answer yet, numbered in the order in which they began.
    started: HashMap<Query, u64>,
    next_started: u64,
}

impl Queue {
    /// Puts a query behind all others.
    pub(super) fn push(&mut self, query: Query) {
        self.ready.push_back(query);
    }

    /// Puts a query before all others.
    pub(super) fn push_first(&mut self, query: Query) {
        self.ready.push_front(query);
    }

    /// Puts a query that has begun before all that began later or not at all, so that none waits for ever.
    pub(super) fn requeue(&mut self, query: Query) {
        let order = |a: &Query| self.started.get(a).copied().unwrap_or(u64::MAX);
        let own = order(&query);
        let at = self.ready.iter().position(|a| order(a) >= own).unwrap_or(self.ready.len());
        self.ready.insert(at, query);
    }

    /// Sends a query later, not before `at`.
    pub(super) fn push_later(&mut self, at: Millis, query: Query) {
        self.later.push((at, query));
    }

    /// Keeps a query back until [`release`](Self::release).
    pub(super) fn hold(&mut self, query: Query) {
        self.awaiting_probe.push(query);
    }

    /// Puts the queries of a host that were held back into the queue.
    pub(super) fn release(&mut self, host: &str) {
        self.take_held(host).into_iter().for_each(|query| self.requeue(query));
    }

    /// Removes the queries of a host that are held back.
    pub(super) fn take_held(&mut self, host: &str) -> Vec<Query> {
        let (own, others) = std::mem::take(&mut self.awaiting_probe).into_iter().partition(|query| query.host() == host);
        self.awaiting_probe = others;
        own
    }

    /// Sends this before any query.
    pub(super) fn push_urgent(&mut self, urgent: Urgent) {
        self.urgent.push_back(urgent);
    }

    /// Sends this before any query, from `at` on.
    pub(super) fn push_urgent_later(&mut self, at: Millis, urgent: Urgent) {
        self.urgent_later.push((at, urgent));
    }

    /// Removes the urgent request that is due.
    pub(super) fn next_urgent(&mut self, now: Millis) -> Option<Urgent> {
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.urgent_later).into_iter().partition(|(at, _)| *at <= now);
        self.urgent_later = later;
        self.urgent.extend(due.into_iter().map(|(_, urgent)| urgent));
        self.urgent.pop_front()
    }

    /// Puts what is due into the queue. Returns when the next is.
    pub(super) fn wake(&mut self, now: Millis) -> Option<Millis> {
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = later;
        due.into_iter().for_each(|(_, query)| self.requeue(query));
        self.later.iter().map(|(at, _)| *at).chain(self.urgent_later.iter().map(|(at, _)| *at)).min()
    }

    /// The query at this place of the queue.
    pub(super) fn get(&self, i: usize) -> Option<&Query> {
        self.ready.get(i)
    }

    /// Removes the query at this place of the queue.
    pub(super) fn remove(&mut self, i: usize) -> Option<Query> {
        self.ready.remove(i)
    }

    /// Removes the first query that `is_wanted` takes.
    pub(super) fn take_first(&mut self, is_wanted: impl Fn(&Query) -> bool) -> Option<Query> {
        let i = self.ready.iter().position(is_wanted)?;
        self.ready.remove(i)
    }

    /// What is not in flight and not held back.
    pub(super) fn open(&self) -> impl Iterator<Item = &Query> {
        self.ready.iter().chain(self.later.iter().map(|(_, query)| query))
    }

    /// Notes that a query begins. Returns whether it had not.
    pub(super) fn start(&mut self, query: &Query) -> bool {
        let is_new = !self.started.contains_key(query);
        if is_new {
            self.started.insert(query.clone(), self.next_started);
            self.next_started += 1;
        }
        is_new
    }

    /// Notes that a query ends. Returns whether it had begun.
    pub(super) fn finish(&mut self, query: &Query) -> bool {
        self.started.remove(query).is_some()
    }

    /// Whether a query has begun.
    pub(super) fn has_started(&self, query: &Query) -> bool {
        self.started.contains_key(query)
    }

    /// Queries that have begun.
    pub(super) fn started(&self) -> impl Iterator<Item = &Query> {
        self.started.keys()
    }

    /// Removes the queries of a host that are not in flight.
    pub(super) fn remove_host(&mut self, host: &str) {
        self.ready.retain(|query| query.host() != host);
        self.later.retain(|(_, query)| query.host() != host);
        self.awaiting_probe.retain(|query| query.host() != host);
    }

    /// Removes the queries that are ready to be sent.
    pub(super) fn clear_ready(&mut self) {
        self.ready.clear();
    }

    /// Removes everything.
    pub(super) fn clear(&mut self) {
        *self = Self { next_started: self.next_started, ..Self::default() };
    }
}
