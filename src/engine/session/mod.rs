//! A run: hands out requests, takes answers, ends in rows. It knows no clock and no network; the driver has both.
//!
//! ```text
//! match run.next(moment) { Next::Send(send) => …, Next::Wait(until) => …, Next::Idle => … }     as many at once as it hands out
//! run.deliver(send.id, outcome, moment)                                                        in any order
//! ```
//!
//! What a query needs is in [`registry`](crate::engine::registry); here is what all queries to a host share: its API, its rate limit,
//! its logins, and in a browser why it cannot be read. A query's way, from top to bottom:
//!
//! 1. `mod`: a row that is evaluated needs a query; it is put into the `queue`.
//! 2. `dispatch`: `next` takes it out when its `host` may be sent something, with what `login` and `token` add to the request.
//! 3. `answer`: `deliver` judges the outcome, with `failure` and `diagnosis` where it failed. The decision is carried out in one
//!    place, `act`: the answer is kept, or the query goes back into the `queue`, or its host is checked (`host_check`).
//! 4. `rows`: the images that waited for the answer are evaluated again.

mod answer;
mod budget;
pub mod diagnosis;
mod dispatch;
mod failure;
mod host;
mod host_check;
mod login;
mod queue;
pub mod rate_limit;
mod refresh;
mod rows;
mod token;

use crate::engine::time::{Millis, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use self::answer::has_failed;
use self::budget::Budget;
use self::diagnosis::Cause;
use self::host::{Host, first_dialect};
use self::queue::Queue;
use self::refresh::Previous;
use self::rows::RowStates;
use self::token::Tokens;
use crate::engine::image::reference::Repository;
use crate::engine::registry::auth::Logins;
use crate::engine::registry::http::{Moment, Request};
use crate::engine::registry::{Answer, Caller, Dialect, Query, RegistryError};
use crate::engine::resolve::{Facts, Resolver, Row, Summary, summarize};
use crate::engine::snapshot::Snapshot;
use crate::engine::url::default_endpoint;

/// Who asks, and with what.
#[derive(Clone, Debug)]
pub struct Client {
    /// A page or a program.
    pub caller: Caller,
    /// The origin of the page; empty for a program.
    pub page: String,
    /// The logins that there are.
    pub logins: Logins,
}

impl Client {
    /// A program with these logins.
    pub fn program(logins: Logins) -> Self {
        Self { caller: Caller::Native, page: String::new(), logins }
    }
}

/// One request to be sent.
#[derive(Debug)]
pub struct Send {
    /// What to pass to `deliver`.
    pub id: u64,
    /// The request.
    pub request: Request,
    /// How long it may take.
    pub limit: Duration,
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Send this, and ask again.
    Send(Send),
    /// Nothing before this moment, unless an answer comes.
    Wait(Millis),
    /// Nothing before an answer comes.
    Idle,
}

/// A host that wants a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginState {
    /// None was given.
    Needed,
    /// The one that was given is refused.
    Refused,
}

/// What a request is for.
#[derive(Clone, Debug)]
enum Purpose {
    Query(Query),
    /// A token to read a repository.
    Token(Repository),
    /// Whether the host speaks an API; the query is sent again afterwards.
    DetectApi(Query, Dialect),
    /// Whether anything answers there.
    Probe,
    /// Whether a host whose requests fail still answers.
    Check {
        /// Why it is given up otherwise.
        error: RegistryError,
        /// How often it was asked before.
        tried: u32,
    },
    /// Whether anything answers at the token service.
    TokenProbe(Repository),
}

#[derive(Clone, Debug)]
struct Flight {
    purpose: Purpose,
    host: String,
    request: Request,
    sent: Millis,
}

/// Requests that were sent.
#[derive(Debug, Default)]
struct Flights {
    in_flight: HashMap<u64, Flight>,
    next_id: u64,
    /// All that were ever sent.
    requests: usize,
    /// Those of them that were a further try.
    retries: usize,
}

/// The answers for a list of images, as far as they are known.
#[derive(Debug)]
pub struct Run {
    resolver: Resolver,
    client: Client,
    snapshot: Option<Arc<Snapshot>>,
    facts: Facts,
    rows: RowStates,
    previous: Previous,
    queue: Queue,
    budget: Budget,
    tokens: Tokens,
    hosts: BTreeMap<String, Host>,
    flights: Flights,
    now: Moment,
}

impl Run {
    /// A run that already knows `facts`, less the failures among them. With a snapshot no registry is asked.
    pub fn new(resolver: Resolver, client: Client, mut facts: Facts, snapshot: Option<Arc<Snapshot>>) -> Self {
        facts.answers.retain(|_, answer| !has_failed(answer));
        if let Some(snapshot) = &snapshot {
            facts.asked_at = snapshot.fetched();
        }
        facts.is_snapshot = snapshot.is_some();
        for image in resolver.images() {
            if let Ok(reference) = &image.reference {
                let host = &reference.repository.host;
                if !facts.dialects.contains_key(host) {
                    let dialect = first_dialect(host, resolver.settings().api, &client);
                    facts.dialects.insert(host.clone(), dialect);
                }
            }
        }
        Self {
            rows: RowStates::new(resolver.images()),
            resolver,
            client,
            snapshot,
            facts,
            previous: Previous::default(),
            queue: Queue::default(),
            budget: Budget::default(),
            tokens: Tokens::default(),
            hosts: BTreeMap::new(),
            flights: Flights::default(),
            now: Moment { ms: Millis(0), unix: Timestamp(0), random: 0.0 },
        }
    }

    /// Evaluates up to `n` more rows: what is known of them, and what is to be queried. Returns whether there are more.
    /// [`next`](Self::next) does so for all that are left; a page, which must stay responsive, does it bit by bit before.
    pub fn evaluate_some(&mut self, n: usize) -> bool {
        let unevaluated = &mut self.rows.unevaluated;
        let some = unevaluated.drain(..n.min(unevaluated.len())).collect();
        self.evaluate(some, false);
        !self.rows.unevaluated.is_empty()
    }

    /// Asks this too, beside what the images need.
    fn enqueue(&mut self, queries: impl IntoIterator<Item = Query>) {
        for query in queries {
            if let Some(snapshot) = &self.snapshot {
                let answer = snapshot.answer(&query);
                self.facts.answers.insert(query, answer);
            } else if !self.facts.answers.contains_key(&query) && !self.rows.is_wanted(&query) {
                self.rows.want(query.clone());
                self.queue.push(query);
            }
        }
    }

    /// What was learnt, for the next run; this one is over then.
    pub fn take_facts(&mut self) -> Facts {
        std::mem::take(&mut self.facts)
    }

    /// What was learnt so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What is resolved, and how.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// The snapshot that is read in place of registries.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// Whether every row is known.
    pub fn is_done(&self) -> bool {
        self.rows.wanted().next().is_none() && self.rows.rows.iter().all(Option::is_some)
    }

    /// Rows whose answer is known; while they are queried again, the new ones.
    pub fn known(&self) -> usize {
        self.rows.rows.iter().flatten().count()
    }

    /// Requests that were sent, every try counted.
    pub fn requests(&self) -> usize {
        self.flights.requests
    }

    /// How many of them were a further try.
    pub fn retries(&self) -> usize {
        self.flights.retries
    }

    /// The rows, torn ones marked, and what they say together. While they are asked for again each is what it was, until it is known.
    pub fn summarize(&self) -> (Vec<Option<Arc<Row>>>, Summary) {
        let rows = &self.rows.rows;
        if self.previous.rows.is_empty() {
            return summarize(&self.resolver, rows);
        }
        let rows: Vec<_> = rows.iter().zip(&self.previous.rows).map(|(new, old)| new.clone().or_else(|| old.clone())).collect();
        summarize(&self.resolver, &rows)
    }

    /// Where the API of a host is asked.
    pub fn endpoint(&self, host: &str) -> String {
        self.resolver.settings().endpoints.get(host).cloned().unwrap_or_else(|| default_endpoint(host))
    }

    /// Hosts that were asked over plain http.
    pub fn plain_hosts(&self) -> BTreeSet<String> {
        if let Some(snapshot) = &self.snapshot {
            return snapshot.plain_hosts.clone();
        }
        let queried = self.facts.exchanges.keys().map(|query| query.host().to_owned()).collect::<BTreeSet<_>>();
        let is_plain = |host: &String| self.endpoint(host).starts_with("http://") && host != crate::engine::release::DEMO_HOST;
        queried.into_iter().filter(is_plain).collect()
    }

    /// Hosts that a page cannot read, why, and by which API they were asked.
    pub fn causes(&self) -> Vec<(String, Cause, Dialect)> {
        let of = |(name, host): (&String, &Host)| Some((name.clone(), host.cause.clone()?, host.api.dialect));
        self.hosts.iter().filter_map(of).collect()
    }

    /// Hosts that want a login.
    pub fn locked(&self) -> &BTreeMap<String, LoginState> {
        &self.tokens.locked
    }

    /// The host that is waited for longest, and how long.
    pub fn waits_for(&self, now: Millis) -> Option<(String, Duration)> {
        let open: HashSet<&str> = self.queue.open().map(Query::host).collect();
        let paused = self.hosts.iter().filter(|(name, _)| open.contains(name.as_str()));
        paused.map(|(name, host)| (name.clone(), host.rate_limit.pause(now))).max_by_key(|(_, pause)| *pause)
    }

    fn host(&mut self, name: &str) -> &mut Host {
        if !self.hosts.contains_key(name) {
            let dialect = self.facts.dialect(name);
            let mut host = Host::new(dialect, self.client.caller);
            // What was learnt before shows what it speaks.
            host.api.is_sure =
                self.facts.answers.iter().any(|(query, a)| query.host() == name && matches!(a, Ok(Answer::Overview(_))));
            if self.resolver.settings().api == Some(Dialect::COMMON) {
                host.api.others_tried = usize::MAX;
            }
            self.hosts.insert(name.to_owned(), host);
        }
        self.hosts.get_mut(name).unwrap_or_else(|| unreachable!("it was put there"))
    }

    fn evaluate(&mut self, images: Vec<usize>, first: bool) {
        for i in images {
            let needed = loop {
                match (self.resolver.row(i, &self.facts), &self.snapshot) {
                    (Ok(row), _) => {
                        self.rows.rows[i] = Some(Arc::new(row));
                        break Vec::new();
                    }
                    (Err(needed), Some(snapshot)) => {
                        let reported = needed.into_iter().map(|query| (query.clone(), snapshot.answer(&query)));
                        self.facts.answers.extend(reported);
                    }
                    (Err(needed), None) => {
                        self.rows.rows[i] = None;
                        break needed;
                    }
                }
            };
            for query in needed {
                match (self.rows.wait(i, query.clone()), first) {
                    (true, true) => self.queue.push_first(query),
                    (true, false) => self.queue.push(query),
                    (false, _) => {}
                }
            }
        }
    }
}
