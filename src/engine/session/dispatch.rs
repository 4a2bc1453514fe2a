//! What to send next.

use super::login::Authorization;
use super::{Flight, Next, Purpose, Run, Send};
use crate::engine::registry::http::{IMAGE_LIMIT, Moment, Request, TRY_LIMIT};
use crate::engine::registry::tag_list::TagList;
use crate::engine::registry::{Answer, Query, RegistryError, Server, Step, step};
use std::collections::HashSet;
use std::time::Duration;

/// Bytes from which a list of tags is called large.
const LARGE_LIST: usize = 1 << 20;

impl Run {
    /// Returns what is to be done now.
    pub fn next(&mut self, now: Moment) -> Next {
        self.now = now;
        self.evaluate_some(usize::MAX);
        if let Some(urgent) = self.queue.next_urgent(now.ms) {
            return Next::Send(self.launch(urgent.purpose, urgent.host, urgent.request, urgent.limit));
        }
        let mut soonest = self.queue.wake(now.ms);
        let mut full: HashSet<String> = HashSet::new();
        let mut i = 0;
        while let Some(query) = self.queue.get(i) {
            let is_list = matches!(query, Query::Tags { .. }) && !self.queue.has_started(query);
            if full.contains(query.host()) || is_list && !self.may_list_tags(query.host()) {
                i += 1;
                continue;
            }
            let name = query.host().to_owned();
            match self.host(&name).when(now.ms) {
                Some(at) if at <= now.ms => {}
                at => {
                    soonest = [soonest, at].into_iter().flatten().min();
                    full.insert(name);
                    continue;
                }
            }
            let Some(query) = self.queue.remove(i) else { break };
            if let Some(send) = self.prepare(query) {
                return Next::Send(send);
            }
            // Answers may have put other queries in front.
            i = 0;
        }
        soonest.map_or(Next::Idle, Next::Wait)
    }

    /// Whether one more list of tags may be requested from a host: until it is known how large they are, and where they are large, a few at a
    /// time, for their bodies are in memory together.
    fn may_list_tags(&self, host: &str) -> bool {
        let is_list = |query: &Query| matches!(query, Query::Tags { .. }) && query.host() == host;
        let is_large = self.tag_lists().any(|list| list.bytes() >= LARGE_LIST);
        let is_known = self.facts.answers.keys().any(is_list);
        is_known && !is_large || self.queue.started().filter(|query| is_list(query)).count() < 2
    }

    /// The lists of tags that are known.
    pub(super) fn tag_lists(&self) -> impl Iterator<Item = &TagList> {
        self.facts.answers.values().filter_map(|answer| match answer {
            Ok(Answer::Tags(Ok(list))) => Some(list),
            _ => None,
        })
    }

    /// The request that a query needs next. Without one the query is answered, or is held back until a token is there.
    fn prepare(&mut self, query: Query) -> Option<Send> {
        if !self.rows.is_wanted(&query) {
            return None;
        }
        let mut request = match self.step(&query) {
            Step::Done(answer) => {
                self.learn(query, answer);
                return None;
            }
            Step::Send(request) => request,
        };
        if let Some(error) = self.host(query.host()).verdict.clone() {
            self.learn(query, Err(error));
            return None;
        }
        let now = self.now.ms;
        if self.queue.start(&query) {
            self.budget.open(&query, now);
        }
        let left = self.budget.left(&query, now);
        if left.is_zero() {
            let message = format!("it timed out after {} s in total", IMAGE_LIMIT.as_secs());
            let last = self.budget.attempts(&query).last_error.take();
            let error = last.unwrap_or(RegistryError { message, hint: "retry".to_owned() });
            self.learn(query, Err(error));
            return None;
        }
        let (limit, name) = (left.min(TRY_LIMIT), query.host().to_owned());
        match self.authorize(&query) {
            Authorization::None => {}
            Authorization::Header(header) => request.authorization = Some(header),
            Authorization::Fetch(repository, request) => {
                self.close(&query);
                self.tokens.hold(repository.clone(), query);
                return Some(self.launch(Purpose::Token(repository), name, request, limit));
            }
            Authorization::Await(repository) => {
                // The wait for another repository's token does not count against its own time.
                self.close(&query);
                self.tokens.hold(repository, query);
                return None;
            }
            Authorization::GiveUp(error) => {
                self.learn(query, Err(error));
                return None;
            }
        }
        Some(self.launch(Purpose::Query(query), name, request, limit))
    }

    fn launch(&mut self, purpose: Purpose, host: String, request: Request, limit: Duration) -> Send {
        let now = self.now.ms;
        self.host(&host).rate_limit.sent(now);
        let id = self.flights.next_id;
        self.flights.next_id += 1;
        self.flights.in_flight.insert(id, Flight { purpose, host, request: request.clone(), sent: now });
        Send { id, request, limit }
    }

    pub(super) fn step(&mut self, query: &Query) -> Step {
        let caller = self.client.caller;
        let endpoint = self.endpoint(query.host());
        let host = self.host(query.host());
        let (dialect, hides_digest) = (host.api.dialect, host.api.hides_digest);
        let form = query.repository().and_then(|repository| self.facts.forms.get(repository)).copied();
        let server = Server { endpoint: &endpoint, dialect, caller, hides_digest, form };
        step(query, server, self.facts.exchanges.get(query).map_or(&[][..], Vec::as_slice))
    }
}
