//! A run: hands out requests, takes answers, ends in rows. It knows no clock and no network; whoever drives it has both.
//!
//! ```text
//! match run.next(moment) { Next::Send(send) => …, Next::Wait(until) => …, Next::Idle => … }     as many at once as it hands out
//! run.deliver(send.id, outcome, moment)                                                        in any order
//! ```
//!
//! What a question needs is said in [`registry`]; here is what all questions to a host share: its API, its pace,
//! its logins, and in a browser why it cannot be read.

pub mod diagnosis;
mod failure;
mod login;
pub mod rate_limit;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::image::digest::is_digest;
use crate::engine::image::reference::Repository;
use crate::engine::options::settings::Api;
use crate::engine::registry::auth::{self, AuthChallenge, Login, Logins};
use crate::engine::registry::http::{
    BODY_LIMIT, Failure, IMAGE_LIMIT, Method, Moment, PROBE_LIMIT, Request, Response, TRIES, TRY_LIMIT, backoff, is_transient,
    retry_after,
};
use crate::engine::registry::quay;
use crate::engine::registry::tag_list::TagList;
use crate::engine::registry::{self, Answer, Caller, Dialect, Exchange, Form, Query, RegistryError, Server, Step, step};
use crate::engine::resolve::{Facts, Resolver, Row, Status, Summary, summarize};
use crate::engine::session::diagnosis::{Cause, FailureEvidence};
use crate::engine::session::rate_limit::RateLimit;
use crate::engine::snapshot::Snapshot;
use crate::engine::template::plan::Image;
use crate::engine::url;
use crate::engine::url::{default_endpoint, is_private};

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
    /// What `deliver` is to be told.
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

/// How long a repository has kept a run busy: an image takes so long and no longer.
#[derive(Debug, Default)]
struct Clock {
    open: usize,
    since: u64,
    spent: u64,
}

impl Clock {
    fn left(&self, now: u64) -> Duration {
        let open = if self.open > 0 { now.saturating_sub(self.since) } else { 0 };
        IMAGE_LIMIT.saturating_sub(Duration::from_millis(self.spent + open))
    }
}

/// What is known of a host.
#[derive(Debug)]
struct Host {
    rate_limit: RateLimit,
    dialect: Dialect,
    /// Whether it was seen to speak that.
    is_sure: bool,
    /// Whether it was tried if it speaks the other one.
    has_detected: bool,
    answered: bool,
    answered_preflighted: bool,
    /// Whether it ever answered something that was no trouble.
    has_succeeded: bool,
    /// When it last did.
    last_success: u64,
    /// How often it did.
    successes: u64,
    /// Whether a password helped.
    login_succeeded: bool,
    /// Whether something it was asked came to nothing.
    is_failing: bool,
    hides_digest: bool,
    /// What it wants, since a 401 said so.
    wants: Option<AuthChallenge>,
    /// Whether its token service gave a token. Until then it is sent one question at a time; from then on a token is got at once.
    has_tokens: bool,
    /// Why its token service cannot be asked.
    no_token: Option<RegistryError>,
    tokens_probed: Option<bool>,
    probed: Option<bool>,
    is_probing: bool,
    /// When it was last asked whether it answers at all.
    checked_at: Option<u64>,
    /// Requests in a row that failed.
    failures: u32,
    /// Refusals in a row that ask for a wait longer than an image has.
    long_waits: u32,
    /// Why it is not asked any more.
    verdict: Option<RegistryError>,
    cause: Option<Cause>,
}

/// How often a question is tried that may only have met a host that is overloaded.
const PATIENCE: u32 = 2 * TRIES;
/// Requests in a row that fail until a host is asked whether it answers at all.
const FAILURES: u32 = 12;
/// Milliseconds from one such check of a host to the next.
const CHECK_AGAIN: u64 = 5_000;
/// So many others must pass while a question is refused for overload, until that is taken for its own trouble.
const OTHERS: u64 = 10;
/// Bytes from which a list of tags is called large.
const LARGE_LIST: usize = 1 << 20;
/// Bytes of all lists of tags of a run.
const ALL_LISTS: usize = 256 << 20;

impl Host {
    /// When it may be sent something.
    fn when(&self, now: u64) -> Option<u64> {
        // Until it is known what it speaks, or whether it is in order at all, one request shows as much as many.
        let is_suspect = !self.has_succeeded && (self.dialect == Dialect::Quay && !self.is_sure || self.is_failing);
        if is_suspect && self.rate_limit.in_flight() > 0 || self.is_probing { None } else { self.rate_limit.when(now) }
    }
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
    /// What the rows were before they were asked for anew.
    before: Vec<Option<Arc<Row>>>,
    /// When they were asked for then, seconds since 1970.
    before_at: u64,
    /// What was answered before it was asked anew, beside the rows.
    kept: HashMap<Query, Answer>,
    /// What the tags stood for then.
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
                        // A snapshot tells tags and digests at once, as Quay does.
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

    /// Reads the labels of row `i`, if they were not needed so far. Until they are there it is what it was.
    pub fn read_labels(&mut self, i: usize) {
        let Some(Some(row)) = self.rows.get(i).cloned() else { return };
        if row.status != Status::Resolved || !row.labels.is_empty() {
            return;
        }
        self.before.resize(self.rows.len(), None);
        self.before[i] = Some(row);
        self.before_at = self.facts.asked_at;
        self.resolver.want_labels(i);
        self.evaluate(vec![i], true);
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

    /// Asks this too, whatever was answered before; that counts again if the run is cancelled meanwhile.
    pub fn refetch(&mut self, queries: Vec<Query>) {
        for query in &queries {
            if let Some(Ok(answer)) = self.facts.answers.remove(query) {
                self.kept.insert(query.clone(), answer);
            }
            self.facts.exchanges.remove(query);
        }
        self.enqueue(queries);
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

    /// Rows whose answer is known; while they are asked for anew, anew.
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

    /// The rows, torn ones marked, and what they say together. While they are asked for anew each is what it was, until it is known.
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
            // What was learnt before tells what it speaks.
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

    fn step(&mut self, query: &Query) -> Step {
        let caller = self.client.caller;
        let endpoint = self.endpoint(query.host());
        let host = self.host(query.host());
        let (dialect, hides_digest) = (host.dialect, host.hides_digest);
        let form = query.repository().and_then(|repository| self.facts.forms.get(repository)).copied();
        let server = Server { endpoint: &endpoint, dialect, caller, hides_digest, form };
        step(query, server, self.facts.exchanges.get(query).map_or(&[][..], Vec::as_slice))
    }

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
    fn may_list_tags(&self, host: &str) -> bool {
        let is_list = |query: &Query| matches!(query, Query::Tags { .. }) && query.host() == host;
        let is_large = self.tag_lists().any(|list| list.bytes() >= LARGE_LIST);
        let is_known = self.facts.answers.keys().any(is_list);
        is_known && !is_large || self.started.keys().filter(|query| is_list(query)).count() < 2
    }

    /// The lists of tags that are known.
    fn tag_lists(&self) -> impl Iterator<Item = &TagList> {
        self.facts.answers.values().filter_map(|answer| match answer {
            Ok(Answer::Tags(Ok(list))) => Some(list),
            _ => None,
        })
    }

    /// Puts a question that is under way before all that began later or not at all, so that none waits for ever.
    fn requeue(&mut self, query: Query) {
        let order = |a: &Query| self.started.get(a).copied().unwrap_or(u64::MAX);
        let own = order(&query);
        let at = self.queue.iter().position(|a| order(a) >= own).unwrap_or(self.queue.len());
        self.queue.insert(at, query);
    }

    /// The request that a question needs next, if there is one.
    fn prepare(&mut self, query: Query) -> Option<Send> {
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

    fn launch(&mut self, purpose: Purpose, host: String, request: Request, limit: Duration) -> Send {
        let now = self.now.ms;
        self.host(&host).rate_limit.sent(now);
        let id = self.next_id;
        self.next_id += 1;
        self.in_flight.insert(id, Flight { purpose, host, request: request.clone(), sent: now });
        Send { id, request, limit }
    }

    /// Takes what came of a request. An id that is not flying any more is left be.
    pub fn deliver(&mut self, id: u64, outcome: Result<Response, Failure>, now: Moment) {
        self.now = now;
        let Some(flight) = self.in_flight.remove(&id) else { return };
        self.requests += 1;
        self.host(&flight.host).rate_limit.ended();
        match flight.purpose.clone() {
            Purpose::Query(query) => self.take(query, flight, outcome),
            Purpose::Token(repository) => self.take_token(repository, flight, outcome),
            Purpose::TokenProbe(repository) => {
                self.host(&flight.host).tokens_probed = Some(outcome.is_ok());
                self.take_token(repository, flight, Err(unsaid()));
            }
            Purpose::DetectApi(query) => {
                let host = self.host(&flight.host);
                let other = match host.dialect {
                    Dialect::Quay => Dialect::Distribution,
                    Dialect::Distribution => Dialect::Quay,
                };
                match outcome {
                    Ok(response) if other == Dialect::Distribution || quay::speaks(&response) => {
                        host.answered = true;
                        host.answered_preflighted |= flight.request.needs_preflight();
                        self.switch(&flight.host, other);
                    }
                    _ => self.requeue(query),
                }
            }
            Purpose::Check { trouble, tried } => self.take_check(trouble, tried, &flight, &outcome),
            Purpose::Probe => {
                let host = self.host(&flight.host);
                host.probed = Some(outcome.is_ok());
                host.is_probing = false;
                for query in std::mem::take(&mut self.awaiting_probe) {
                    match query.host() == flight.host {
                        true => self.diagnose_failure(query, flight.clone(), false),
                        false => self.awaiting_probe.push(query),
                    }
                }
            }
        }
    }

    /// Takes the outcome of a question's request.
    fn take(&mut self, query: Query, flight: Flight, outcome: Result<Response, Failure>) {
        // Nobody waits for it any more.
        if !self.waiting.contains_key(&query) {
            return;
        }
        let name = flight.host.clone();
        if let (Some(verdict), Err(_)) = (self.host(&name).verdict.clone(), &outcome) {
            return self.learn(query, Err(verdict));
        }
        if is_transient(&outcome) {
            let trouble = trouble_of(&outcome);
            self.attempts(&query).last_trouble = Some(trouble);
        }
        let is_browser = self.client.caller == Caller::Browser;
        let response = match &outcome {
            Ok(response) => response,
            Err(Failure::Network(_)) if is_browser => return self.diagnose_failure(query, flight, false),
            Err(Failure::Offline) => return self.diagnose_failure(query, flight, true),
            Err(Failure::Network(_) | Failure::Timeout) => return self.try_again(query, flight, outcome),
            Err(_) => return self.record(query, flight, outcome),
        };
        let host = self.host(&name);
        host.answered = true;
        host.answered_preflighted |= flight.request.needs_preflight();
        if !host.is_sure && !is_transient(&outcome) {
            let is_telling = matches!(query, Query::Overview { .. });
            if host.dialect == Dialect::Quay && is_telling && !quay::speaks(response) && !host.has_detected {
                return self.switch(&name, Dialect::Distribution);
            }
            host.is_sure = true;
        }
        match response.status {
            429 => {
                let reported = response.retry_after.as_deref().and_then(|text| retry_after(text, self.now.unix));
                self.refused(query, flight, outcome, reported)
            }
            _ if is_transient(&outcome) => self.try_again(query, flight, outcome),
            401 if self.host(&name).dialect == Dialect::Distribution && self.can_log_in(&query, &flight, response) => {
                let exchange = Exchange { request: flight.request, outcome, tries: 1 };
                if let Some(repository) = query.repository() {
                    self.facts.logins.entry(repository.clone()).or_default().push(without_secrets(exchange));
                }
                self.requeue(query);
            }
            status => {
                // Of a repository that was read, a list of tags or a config that is refused is no reason to ask for a login.
                let was_read = |repository| {
                    let is_of = |(query, answer): (&Query, &Result<Answer, RegistryError>)| {
                        query.repository() == Some(repository) && answer.is_ok()
                    };
                    matches!(query, Query::Tags { .. } | Query::Labels { .. }) && self.facts.answers.iter().any(is_of)
                };
                let was_read = matches!(status, 401 | 403) && query.repository().is_some_and(was_read);
                let is_login =
                    self.host(&name).dialect == Dialect::Distribution && !matches!(query, Query::Ping { .. }) && !was_read;
                if let Some(repository) = query.repository().filter(|_| matches!(status, 401 | 403) && is_login) {
                    let was_sent = flight.request.authorization.is_some();
                    // A token that everybody is given is no login.
                    let was_login = was_sent && self.login(repository).is_some();
                    let unusable = self.unusable_login(repository, response).filter(|_| !was_login);
                    self.lock(repository, was_login);
                    if let Some((why, hint)) = unusable {
                        let message = format!("the registry wants a login ({status}): {why}");
                        self.note(&query, flight, outcome);
                        return self.learn(query, Err(RegistryError { message, hint: hint.to_owned() }));
                    }
                    if is_browser && status == 401 && response.challenge.is_none() && !was_sent {
                        let cause = Cause::Unexposed;
                        let trouble = cause.trouble(&name, &self.endpoint(&name));
                        self.host(&name).cause = Some(cause);
                        self.note(&query, flight, outcome);
                        return self.learn(query, Err(trouble));
                    }
                } else if flight.request.authorization.is_some()
                    && let Some(cached) = query.repository().and_then(|r| self.tokens.get_mut(r))
                {
                    cached.was_good = true;
                } else if flight.request.authorization.is_some() {
                    self.host(&name).login_succeeded = true;
                }
                let now = self.now.ms;
                let host = self.host(&name);
                host.rate_limit.succeeded();
                host.has_succeeded = true;
                host.last_success = now;
                host.successes += 1;
                host.failures = 0;
                host.long_waits = 0;
                let has_digest = response.digest.as_deref().is_some_and(is_digest);
                host.hides_digest |= flight.request.method == Method::Head && status == 200 && !has_digest;
                let is_refused = matches!(status, 401 | 403) && flight.request.authorization.is_some();
                if is_refused && host.wants == Some(AuthChallenge::Basic) && !was_read {
                    let message = format!("the registry refuses the login, or keeps this from it ({status})");
                    let trouble = RegistryError { message, hint: "check user and password, and what they may read".to_owned() };
                    self.note(&query, flight, outcome);
                    return self.learn(query, Err(trouble));
                }
                self.record(query, flight, outcome);
            }
        }
    }

    /// Notes what was exchanged for a question, and ends it or puts it first in the queue.
    fn record(&mut self, query: Query, flight: Flight, outcome: Result<Response, Failure>) {
        self.note(&query, flight, outcome);
        match self.step(&query) {
            Step::Done(answer) => self.learn(query, answer),
            // First in, first out would let every image start before any ends; a question under way goes first.
            Step::Send(_) => self.requeue(query),
        }
    }

    fn note(&mut self, query: &Query, flight: Flight, outcome: Result<Response, Failure>) {
        let tries = self.attempts.remove(query).map_or(0, |attempts| attempts.failed).max(1);
        let exchange = Exchange { request: flight.request, outcome, tries };
        self.facts.exchanges.entry(query.clone()).or_default().push(without_secrets(exchange));
    }

    /// Asks a host by the other API from now on.
    fn switch(&mut self, name: &str, dialect: Dialect) {
        let host = self.host(name);
        host.dialect = dialect;
        host.is_sure = true;
        host.has_detected = true;
        host.failures = 0;
        self.facts.dialects.insert(name.to_owned(), dialect);
        let stale: Vec<Query> = self.waiting.keys().filter(|query| query.host() == name).cloned().collect();
        let mut images = BTreeSet::new();
        for query in &stale {
            for i in self.waiting.remove(query).unwrap_or_default() {
                self.pending[i] = self.pending[i].saturating_sub(1);
                images.insert(i);
            }
            self.attempts.remove(query);
            self.close(query);
            self.facts.exchanges.remove(query);
        }
        self.queue.retain(|query| query.host() != name);
        self.later.retain(|(_, query)| query.host() != name);
        self.awaiting_probe.retain(|query| query.host() != name);
        self.evaluate(images.into_iter().collect(), false);
    }

    /// Stops: what is not known yet becomes an error that says so. What was only asked for anew is as it was, and all of it as old.
    pub fn cancel(&mut self) {
        self.evaluate_some(usize::MAX);
        let open: Vec<usize> = (0..self.rows.len()).filter(|i| self.rows[*i].is_none()).collect();
        let mut kept = std::mem::take(&mut self.kept);
        self.forget_work();
        // What is learnt may bring up further questions.
        let mut queries = Vec::new();
        while let Some(query) = self.waiting.keys().next().cloned() {
            queries.push(query.clone());
            self.learn(
                query,
                Err(RegistryError { message: "cancelled before it was known".to_owned(), hint: "retry".to_owned() }),
            );
            self.queue.clear();
        }
        let mut is_kept = false;
        for i in open {
            if let Some(Some(row)) = self.before.get(i) {
                self.rows[i] = Some(row.clone());
                self.facts.asked_at = self.before_at;
                is_kept = true;
            }
        }
        for query in queries {
            match kept.remove(&query) {
                Some(answer) => _ = self.facts.answers.insert(query, Ok(answer)),
                // Whoever looks at such a row again asks again.
                None if is_kept && !matches!(query, Query::History { .. }) => _ = self.facts.answers.remove(&query),
                None => {}
            }
        }
    }

    /// Asks again for what could not be found out, with the logins that there are by now.
    pub fn retry_failed(&mut self, logins: Logins) {
        let failed = self.facts.answers.iter().filter(|(_, answer)| has_failed(answer)).map(|(query, _)| query);
        // Answers that contradict each other make an error too.
        let rows = self.rows.iter().flatten().filter(|row| row.status == Status::Error).flat_map(|row| &row.queries);
        let failed: HashSet<Query> = failed.chain(rows).cloned().collect();
        for query in failed {
            self.facts.answers.remove(&query);
            self.facts.exchanges.remove(&query);
        }
        self.before.clear();
        self.start_over(logins);
    }

    /// Asks anew for what can have moved: a request a tag, on a Quay a request a repository. `asked_at` in seconds since 1970.
    pub fn refresh(&mut self, logins: Logins, asked_at: u64) {
        self.before = self.summarize().0;
        self.before_at = self.facts.asked_at;
        // Of a tag that could not be asked this time it still counts what it stood for the last time.
        self.previous_digests.extend(self.facts.forget_moving(asked_at));
        self.start_over(logins);
    }

    fn start_over(&mut self, logins: Logins) {
        self.client.logins = logins;
        self.forget_work();
        self.hosts.clear();
        self.tokens.clear();
        self.refusals.clear();
        self.renewed.clear();
        self.renewing.clear();
        self.locked.clear();
        self.waiting.clear();
        self.pending.fill(0);
        self.resolver.forget_hashes();
        self.rows.fill(None);
        self.unevaluated = tag_by_tag(self.resolver.images());
    }

    fn forget_work(&mut self) {
        self.queue.clear();
        self.later.clear();
        self.awaiting_token.clear();
        self.awaiting_probe.clear();
        self.urgent.clear();
        self.urgent_later.clear();
        self.in_flight.clear();
        self.clocks.clear();
        self.started.clear();
        self.attempts.clear();
        for host in self.hosts.values_mut() {
            host.is_probing = false;
            host.rate_limit.forget();
        }
        self.token_tries.clear();
    }

    fn learn(&mut self, query: Query, mut answer: Result<Answer, RegistryError>) {
        if let Ok(Answer::Tags(Ok(list))) = &answer
            && self.tag_lists().map(TagList::bytes).sum::<usize>() + list.bytes() > ALL_LISTS
        {
            let message = format!("the lists of tags of this run are larger than {} MiB together", ALL_LISTS >> 20);
            let hint = "ask for fewer images at a time, or choose a pin that needs no list (label, digest)".to_owned();
            answer = Err(RegistryError { message, hint });
        }
        // What a body said is in the answer now.
        for exchange in self.facts.exchanges.get_mut(&query).into_iter().flatten() {
            if let Ok(response) = &mut exchange.outcome {
                response.body = Vec::new();
            }
        }
        self.close(&query);
        self.attempts.remove(&query);
        self.kept.remove(&query);
        let mut images = self.waiting.remove(&query).unwrap_or_default();
        if let (Query::Tag { repository, .. }, Ok(Answer::Tag(Ok(_)))) = (&query, &answer)
            && let Some(Exchange { outcome: Ok(response), .. }) = self.facts.exchanges.get(&query).and_then(|e| e.last())
        {
            match Form::first(&response.content_type) {
                Some(form) => _ = self.facts.forms.insert(repository.clone(), form),
                None => _ = self.facts.forms.remove(repository),
            }
        }
        if let (Query::Tag { repository, tag, .. }, Ok(Answer::Tag(is))) = (&query, &answer)
            && let Some(was) = self.previous_digests.get(&(repository.clone(), tag.clone()))
            && *was != is.as_ref().ok().map(|f| f.digest.clone())
        {
            self.facts.forget_tags(repository);
        }
        self.facts.answers.insert(query, answer);
        images.retain(|i| {
            self.pending[*i] = self.pending[*i].saturating_sub(1);
            self.pending[*i] == 0
        });
        // What an image still lacks goes before what others begin with, so that rows are known early.
        self.evaluate(images, true);
    }

    /// Ends the time that a question takes.
    fn close(&mut self, query: &Query) {
        if self.started.remove(query).is_some() {
            let clock = self.clocks.entry(clock_of(query)).or_default();
            clock.open = clock.open.saturating_sub(1);
            if clock.open == 0 {
                clock.spent += self.now.ms.saturating_sub(clock.since);
            }
        }
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

/// The order in which images are looked at: what a repository says of one tag tells in which form to ask it for the next.
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

/// What a request that failed means.
fn trouble_of(outcome: &Result<Response, Failure>) -> RegistryError {
    outcome.as_ref().map_or_else(registry::error::failed, registry::error::refused)
}

/// What a browser tells of a failure.
fn unsaid() -> Failure {
    Failure::Network("the browser does not say why".to_owned())
}

/// Whether an answer is none that another try may not change.
fn has_failed(answer: &Result<Answer, RegistryError>) -> bool {
    matches!(answer, Err(_) | Ok(Answer::Refused(_)))
}

/// An exchange as it may be kept and shown.
fn without_secrets(mut exchange: Exchange) -> Exchange {
    (exchange.request.authorization, exchange.request.form) = (None, None);
    exchange
}

/// The question that a request is sent for.
fn query_of(purpose: &Purpose) -> Option<Query> {
    match purpose {
        Purpose::Query(query) | Purpose::DetectApi(query) => Some(query.clone()),
        Purpose::Token(_) | Purpose::TokenProbe(_) | Purpose::Probe | Purpose::Check { .. } => None,
    }
}

/// Whose time a question takes.
fn clock_of(query: &Query) -> Repository {
    query.repository().cloned().unwrap_or_else(|| Repository { host: query.host().to_owned(), path: String::new() })
}

/// The API by which a host is asked first. `auto` knows Quays by their names; where that is wrong, or another host proves to be
/// one, [`Run`] goes over to the other.
fn first_dialect(host: &str, api: Api, client: &Client) -> Dialect {
    let is_named = host.starts_with("quay.");
    // Quay's own API takes no user and password.
    let has_login = client.logins.has_host(host);
    match api {
        Api::Quay => Dialect::Quay,
        Api::Auto if is_named && !has_login => Dialect::Quay,
        Api::Auto | Api::Distribution => Dialect::Distribution,
    }
}
