//! A run: hands out requests, takes answers, ends in rows. It knows no clock and no network; the driver has both.
//!
//! ```text
//! match run.next(moment) { Next::Send(send) => …, Next::Wait(until) => …, Next::Idle => … }     as many at once as it hands out
//! run.deliver(send.id, outcome, moment)                                                        in any order
//! ```
//!
//! What a query needs is in [`registry`](crate::engine::registry); here is what all queries to a host share: its API, its rate limit,
//! its logins, and in a browser why it cannot be read.

mod answer;
pub mod diagnosis;
mod dispatch;
mod failure;
mod host;
mod login;
pub mod rate_limit;
mod refresh;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::answer::has_failed;
use self::host::{Clock, Host, first_dialect};
use crate::engine::image::reference::Repository;
use crate::engine::options::settings::Api;
use crate::engine::registry::auth::{self, Logins};
use crate::engine::registry::http::{Moment, Request};
use crate::engine::registry::{Answer, Caller, Dialect, Query, RegistryError};
use crate::engine::resolve::{Facts, Resolver, Row, Summary, summarize};
use crate::engine::session::diagnosis::Cause;
use crate::engine::session::rate_limit::RateLimit;
use crate::engine::snapshot::Snapshot;
use crate::engine::template::plan::Image;
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
    /// Nothing before this moment, in milliseconds, unless an answer comes.
    Wait(u64),
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
    /// Whether the host speaks the other API; the question is put again afterwards.
    DetectApi(Query),
    /// Whether anything answers there.
    Probe,
    /// Whether a host whose requests fail still answers.
    Check {
        /// Why it is given up otherwise.
        trouble: RegistryError,
        /// How often it was asked before.
        tried: u32,
    },
    /// Whether anything answers at the token service.
    TokenProbe(Repository),
}

/// What was tried in vain for a question.
#[derive(Debug, Default)]
struct Attempts {
    /// Requests that failed.
    failed: u32,
    /// When one first met what may have been overload.
    overloaded_at: Option<u64>,
    /// Requests that were answered "too many requests".
    limited: u32,
    /// How many others its host had answered well when the first of those came.
    others_before: u64,
    /// Why the last one failed.
    last_trouble: Option<RegistryError>,
}

#[derive(Clone, Debug)]
struct Flight {
    purpose: Purpose,
    host: String,
    request: Request,
    sent: u64,
}

/// A token in hand.
#[derive(Debug)]
struct CachedToken {
    token: auth::Token,
    since: u64,
    was_good: bool,
}

/// The answers for a list of images, as far as they are known.
#[derive(Debug)]
pub struct Run {
    resolver: Resolver,
    client: Client,
    snapshot: Option<Arc<Snapshot>>,
    facts: Facts,
    rows: Vec<Option<Arc<Row>>>,
    /// Rows that were not looked at yet.
    unevaluated: VecDeque<usize>,
    /// What the rows were before they were asked for again.
    before: Vec<Option<Arc<Row>>>,
    /// When they were asked for then, seconds since 1970.
    before_at: u64,
    /// What was answered before it was asked again, beside the rows.
    kept: HashMap<Query, Answer>,
    /// What the tags pointed to then.
    previous_digests: HashMap<(Repository, String), Option<String>>,
    /// Questions to be sent, the next one first.
    queue: VecDeque<Query>,
    /// Questions to be sent again, not before a moment.
    later: Vec<(u64, Query)>,
    /// Questions that wait for a token, or for a probe.
    awaiting_token: HashMap<Repository, Vec<Query>>,
    awaiting_probe: Vec<Query>,
    /// What is sent before any question.
    urgent: VecDeque<(Purpose, String, Request, Duration)>,
    /// The same, not before a moment.
    urgent_later: Vec<(u64, (Purpose, String, Request, Duration))>,
    waiting: HashMap<Query, Vec<usize>>,
    /// How many answers each image waits for; it is looked at again when all are there.
    pending: Vec<usize>,
    in_flight: HashMap<u64, Flight>,
    clocks: HashMap<Repository, Clock>,
    /// Questions that were sent and have no answer yet, numbered in the order in which they began.
    started: HashMap<Query, u64>,
    /// What was tried in vain for a question since it was last answered.
    attempts: HashMap<Query, Attempts>,
    hosts: BTreeMap<String, Host>,
    tokens: HashMap<Repository, CachedToken>,
    /// Repositories that answered 401, and questions for which a token was renewed.
    refusals: HashSet<Repository>,
    renewed: HashSet<Query>,
    renewing: HashSet<Repository>,
    token_tries: HashMap<Repository, u32>,
    locked: BTreeMap<String, LoginState>,
    now: Moment,
    next_started: u64,
    next_id: u64,
    requests: usize,
    retries: usize,
}

impl Run {
    /// A run that already knows `facts`, less the failures among them. With a snapshot no registry is asked.
    pub fn new(resolver: Resolver, client: Client, mut facts: Facts, snapshot: Option<Arc<Snapshot>>) -> Self {
        facts.answers.retain(|_, answer| !has_failed(answer));
        if let Some(snapshot) = &snapshot {
            facts.asked_at = snapshot.fetched();
        }
        let rows_len = resolver.images().len();
        for image in resolver.images() {
            if let Ok(reference) = &image.reference {
                let host = &reference.repository.host;
                if !facts.dialects.contains_key(host) {
                    let dialect = match &snapshot {
                        // A snapshot reports tags and digests at once, as Quay does.
                        Some(_) => Dialect::Quay,
                        None => first_dialect(host, resolver.settings().api, &client),
                    };
                    facts.dialects.insert(host.clone(), dialect);
                }
            }
        }
        Self {
            unevaluated: tag_by_tag(resolver.images()),
            resolver,
            client,
            snapshot,
            facts,
            rows: vec![None; rows_len],
            before: Vec::new(),
            before_at: 0,
            kept: HashMap::new(),
            previous_digests: HashMap::new(),
            queue: VecDeque::new(),
            later: Vec::new(),
            awaiting_token: HashMap::new(),
            awaiting_probe: Vec::new(),
            urgent: VecDeque::new(),
            urgent_later: Vec::new(),
            waiting: HashMap::new(),
            pending: vec![0; rows_len],
            in_flight: HashMap::new(),
            clocks: HashMap::new(),
            started: HashMap::new(),
            attempts: HashMap::new(),
            hosts: BTreeMap::new(),
            tokens: HashMap::new(),
            refusals: HashSet::new(),
            renewed: HashSet::new(),
            renewing: HashSet::new(),
            token_tries: HashMap::new(),
            locked: BTreeMap::new(),
            now: Moment { ms: 0, unix: 0, random: 0.0 },
            next_started: 0,
            next_id: 0,
            requests: 0,
            retries: 0,
        }
    }

    /// Looks at up to `n` more rows: what is known of them, and what is to be asked. Whether there are more. [`next`](Self::next)
    /// does so for all that are left; who has a screen to keep alive does it bit by bit before.
    pub fn evaluate_some(&mut self, n: usize) -> bool {
        let some = self.unevaluated.drain(..n.min(self.unevaluated.len())).collect();
        self.evaluate(some, false);
        !self.unevaluated.is_empty()
    }

    /// Asks this too, beside what the images need.
    pub fn enqueue(&mut self, queries: impl IntoIterator<Item = Query>) {
        for query in queries {
            if let Some(snapshot) = &self.snapshot {
                let answer = snapshot.answer(&query);
                self.facts.answers.insert(query, answer);
            } else if !self.facts.answers.contains_key(&query) && !self.waiting.contains_key(&query) {
                self.waiting.insert(query.clone(), Vec::new());
                self.queue.push_back(query);
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
        self.waiting.is_empty() && self.rows.iter().all(Option::is_some)
    }

    /// Rows whose answer is known; while they are queried again, the new ones.
    pub fn known(&self) -> usize {
        self.rows.iter().flatten().count()
    }

    /// Requests that were sent, every try counted.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// How many of them were a further try.
    pub fn retries(&self) -> usize {
        self.retries
    }

    /// The rows, torn ones marked, and what they say together. While they are asked for again each is what it was, until it is known.
    pub fn summarize(&self) -> (Vec<Option<Arc<Row>>>, Summary) {
        if self.before.is_empty() {
            return summarize(&self.resolver, &self.rows);
        }
        let rows: Vec<_> = self.rows.iter().zip(&self.before).map(|(new, old)| new.clone().or_else(|| old.clone())).collect();
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
        let query_of = self.facts.exchanges.keys().map(|query| query.host().to_owned()).collect::<BTreeSet<_>>();
        let is_plain = |host: &String| self.endpoint(host).starts_with("http://") && host != crate::engine::release::DEMO_HOST;
        query_of.into_iter().filter(is_plain).collect()
    }

    /// Hosts that a page cannot read, why, and by which API they were asked.
    pub fn causes(&self) -> Vec<(String, Cause, Dialect)> {
        let of = |(name, host): (&String, &Host)| Some((name.clone(), host.cause.clone()?, host.dialect));
        self.hosts.iter().filter_map(of).collect()
    }

    /// Hosts that want a login.
    pub fn locked(&self) -> &BTreeMap<String, LoginState> {
        &self.locked
    }

    /// The host that is waited for longest, and how long.
    pub fn waits_for(&self, now: u64) -> Option<(String, Duration)> {
        let open: HashSet<&str> = self.queue.iter().chain(self.later.iter().map(|(_, query)| query)).map(Query::host).collect();
        let paused = self.hosts.iter().filter(|(name, _)| open.contains(name.as_str()));
        paused.map(|(name, host)| (name.clone(), host.rate_limit.pause(now))).max_by_key(|(_, pause)| *pause)
    }

    fn host(&mut self, name: &str) -> &mut Host {
        if !self.hosts.contains_key(name) {
            let dialect = self.facts.dialects.get(name).copied().unwrap_or(Dialect::Distribution);
            let rate_limit = match (dialect, self.client.caller) {
                // quay.io's own nginx lets 5 a second through, and 25 in a burst; a preflight counts too.
                (Dialect::Quay, _) => RateLimit::new(6, 12),
                (_, Caller::Browser) => RateLimit::new(12, 24),
                (_, Caller::Native) => RateLimit::new(32, 64),
            };
            // What was learnt before says what it speaks.
            let is_sure =
                self.facts.answers.iter().any(|(query, a)| query.host() == name && matches!(a, Ok(Answer::Overview(_))));
            let host = Host {
                rate_limit,
                dialect,
                is_sure,
                has_detected: self.resolver.settings().api == Api::Distribution,
                answered: false,
                answered_preflighted: false,
                has_succeeded: false,
                last_success: 0,
                successes: 0,
                login_succeeded: false,
                is_failing: false,
                hides_digest: false,
                wants: None,
                has_tokens: false,
                no_token: None,
                tokens_probed: None,
                probed: None,
                is_probing: false,
                checked_at: None,
                failures: 0,
                long_waits: 0,
                verdict: None,
                cause: None,
            };
            self.hosts.insert(name.to_owned(), host);
        }
        self.hosts.get_mut(name).unwrap_or_else(|| unreachable!("it was put there"))
    }

    fn evaluate(&mut self, images: Vec<usize>, first: bool) {
        for i in images {
            let needed = loop {
                match (self.resolver.row(i, &self.facts), &self.snapshot) {
                    (Ok(row), _) => {
                        self.rows[i] = Some(Arc::new(row));
                        break Vec::new();
                    }
                    (Err(needed), Some(snapshot)) => {
                        let reported = needed.into_iter().map(|query| (query.clone(), snapshot.answer(&query)));
                        self.facts.answers.extend(reported);
                    }
                    (Err(needed), None) => {
                        self.rows[i] = None;
                        break needed;
                    }
                }
            };
            for query in needed {
                let waiting = self.waiting.entry(query.clone()).or_default();
                if waiting.is_empty() && first {
                    self.queue.push_front(query);
                } else if waiting.is_empty() {
                    self.queue.push_back(query);
                }
                if waiting.last() != Some(&i) {
                    waiting.push(i);
                    self.pending[i] += 1;
                }
            }
        }
    }
}

/// The order in which images are looked at: what a repository says of one tag shows in which form to ask it for the next.
fn tag_by_tag(images: &[Image]) -> VecDeque<usize> {
    let tag = |i: usize| images[i].reference.as_ref().map_or("", |r| &r.tag);
    let mut tags: Vec<&str> = Vec::new();
    let place = |i: usize| {
        tags.iter().position(|t| *t == tag(i)).unwrap_or_else(|| {
            tags.push(tag(i));
            tags.len() - 1
        })
    };
    let mut keyed: Vec<(usize, usize)> = (0..images.len()).map(place).zip(0..).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, i)| i).collect()
}
