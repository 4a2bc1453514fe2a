//! What to send next.

use super::host::clock_of;
use super::{CachedToken, Flight, Next, Purpose, Run, Send};
use crate::engine::registry::auth::{self, AuthChallenge};
use crate::engine::registry::http::{IMAGE_LIMIT, Moment, Request, TRY_LIMIT};
use crate::engine::registry::tag_list::TagList;
use crate::engine::registry::{Answer, Query, RegistryError, Server, Step, step};
use std::collections::HashSet;
use std::time::Duration;

/// Bytes from which a list of tags is called large.
pub(super) const LARGE_LIST: usize = 1 << 20;

impl Run {
    /// What is to be done now.
    pub fn next(&mut self, now: Moment) -> Next {
        self.now = now;
        self.evaluate_some(usize::MAX);
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.urgent_later).into_iter().partition(|(at, _)| *at <= now.ms);
        self.urgent_later = later;
        self.urgent.extend(due.into_iter().map(|(_, urgent)| urgent));
        if let Some((purpose, host, request, limit)) = self.urgent.pop_front() {
            return Next::Send(self.launch(purpose, host, request, limit));
        }
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now.ms);
        self.later = later;
        for (_, query) in due {
            self.requeue(query);
        }
        let mut soonest = self.later.iter().map(|(at, _)| *at).chain(self.urgent_later.iter().map(|(at, _)| *at)).min();
        let mut full: HashSet<String> = HashSet::new();
        let mut i = 0;
        while let Some(query) = self.queue.get(i) {
            let is_list = matches!(query, Query::Tags { .. }) && !self.started.contains_key(query);
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
            // Answers may have put other questions in front.
            i = 0;
        }
        soonest.map_or(Next::Idle, Next::Wait)
    }

    /// Whether one more list of tags may be requested from a host: until it is known how large they are, and where they are large, a few at a
    /// time, for their bodies are in memory together.
    pub(super) fn may_list_tags(&self, host: &str) -> bool {
        let is_list = |query: &Query| matches!(query, Query::Tags { .. }) && query.host() == host;
        let is_large = self.tag_lists().any(|list| list.bytes() >= LARGE_LIST);
        let is_known = self.facts.answers.keys().any(is_list);
        is_known && !is_large || self.started.keys().filter(|query| is_list(query)).count() < 2
    }

    /// The lists of tags that are known.
    pub(super) fn tag_lists(&self) -> impl Iterator<Item = &TagList> {
        self.facts.answers.values().filter_map(|answer| match answer {
            Ok(Answer::Tags(Ok(list))) => Some(list),
            _ => None,
        })
    }

    /// Puts a question that is under way before all that began later or not at all, so that none waits for ever.
    pub(super) fn requeue(&mut self, query: Query) {
        let order = |a: &Query| self.started.get(a).copied().unwrap_or(u64::MAX);
        let own = order(&query);
        let at = self.queue.iter().position(|a| order(a) >= own).unwrap_or(self.queue.len());
        self.queue.insert(at, query);
    }

    /// The request that a question needs next, if there is one.
    pub(super) fn prepare(&mut self, query: Query) -> Option<Send> {
        // Nobody waits for it any more.
        if !self.waiting.contains_key(&query) {
            return None;
        }
        let mut request = match self.step(&query) {
            Step::Done(answer) => {
                self.learn(query, answer);
                return None;
            }
            Step::Send(request) => request,
        };
        if let Some(trouble) = self.host(query.host()).verdict.clone() {
            self.learn(query, Err(trouble));
            return None;
        }
        let now = self.now.ms;
        let clock = self.clocks.entry(clock_of(&query)).or_default();
        if !self.started.contains_key(&query) {
            self.started.insert(query.clone(), self.next_started);
            self.next_started += 1;
            clock.open += 1;
            if clock.open == 1 {
                clock.since = now;
            }
        }
        let left = clock.left(now);
        if left.is_zero() {
            let message = format!("it took longer than {} s in all", IMAGE_LIMIT.as_secs());
            let last = self.attempts(&query).last_trouble.take();
            let trouble = last.unwrap_or(RegistryError { message, hint: "retry".to_owned() });
            self.learn(query, Err(trouble));
            return None;
        }
        let name = query.host().to_owned();
        if let (Some(repository), Some(wants)) = (query.repository().cloned(), self.host(&name).wants.clone()) {
            // While the first token is on its way, what would only be refused too waits for it.
            let is_due = self.host(&name).has_tokens
                || self.refusals.contains(&repository)
                || self.awaiting_token.keys().any(|r| r.host == name);
            let login = self.login(&repository);
            match wants {
                // What was readable without a login is not asked with one, which costs a page a preflight.
                AuthChallenge::Basic if self.refusals.contains(&repository) || self.host(&name).login_succeeded => {
                    request.authorization = login.and_then(|l| l.basic());
                }
                AuthChallenge::Bearer { realm, service } if is_due => {
                    let fresh = |cached: &&CachedToken| now < cached.since + cached.token.lifetime.as_millis() as u64;
                    if let Some(cached) = self.tokens.get(&repository).filter(fresh) {
                        request.authorization = Some(cached.token.header.clone());
                    } else if let Some(trouble) = self.host(&name).no_token.clone() {
                        self.learn(query, Err(trouble));
                        return None;
                    } else if let Some(fetched) = self.token_under_way(&repository) {
                        // To wait for somebody else's token takes none of its own time.
                        self.close(&query);
                        self.awaiting_token.entry(fetched).or_default().push(query);
                        return None;
                    } else {
                        let endpoint = self.endpoint(&name);
                        match auth::token_request(&endpoint, &realm, service.as_deref(), &repository, login.as_ref()) {
                            Ok(request) => {
                                self.close(&query);
                                self.awaiting_token.insert(repository.clone(), vec![query]);
                                return Some(self.launch(Purpose::Token(repository), name, request, left.min(TRY_LIMIT)));
                            }
                            Err(trouble) => {
                                self.learn(query, Err(trouble));
                                return None;
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Some(self.launch(Purpose::Query(query), name, request, left.min(TRY_LIMIT)))
    }

    pub(super) fn launch(&mut self, purpose: Purpose, host: String, request: Request, limit: Duration) -> Send {
        let now = self.now.ms;
        self.host(&host).rate_limit.sent(now);
        let id = self.next_id;
        self.next_id += 1;
        self.in_flight.insert(id, Flight { purpose, host, request: request.clone(), sent: now });
        Send { id, request, limit }
    }

    pub(super) fn step(&mut self, query: &Query) -> Step {
        let caller = self.client.caller;
        let endpoint = self.endpoint(query.host());
        let host = self.host(query.host());
        let (dialect, hides_digest) = (host.dialect, host.hides_digest);
        let form = query.repository().and_then(|repository| self.facts.forms.get(repository)).copied();
        let server = Server { endpoint: &endpoint, dialect, caller, hides_digest, form };
        step(query, server, self.facts.exchanges.get(query).map_or(&[][..], Vec::as_slice))
    }
}
