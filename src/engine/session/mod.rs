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
use crate::engine::registry::auth::{self, Login, Logins, Wanted};
use crate::engine::registry::http::{
    BODY_LIMIT, Failure, IMAGE_LIMIT, Method, Moment, PROBE_LIMIT, Request, Response, TRIES, TRY_LIMIT, backoff, may_pass,
    retry_after,
};
use crate::engine::registry::quay;
use crate::engine::registry::tag_list::TagList;
use crate::engine::registry::{self, Answer, Ask, Caller, Dialect, Exchange, Form, Server, Step, Trouble, step};
use crate::engine::resolve::{Facts, Resolver, Row, Status, Summary, conclude};
use crate::engine::session::diagnosis::{Cause, Sight};
use crate::engine::session::rate_limit::Pace;
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
    pace: Pace,
    dialect: Dialect,
    /// Whether it was seen to speak that.
    is_sure: bool,
    /// Whether it was tried if it speaks the other one.
    sniffed: bool,
    answered: bool,
    answered_preflighted: bool,
    /// Whether it ever answered something that was no trouble.
    took: bool,
    /// When it last did.
    took_at: u64,
    /// How often it did.
    taken: u64,
    /// Whether a password helped.
    took_login: bool,
    /// Whether something it was asked came to nothing.
    is_failing: bool,
    hides_digest: bool,
    /// What it wants, since a 401 said so.
    wants: Option<Wanted>,
    /// Whether its token service gave a token. Until then it is sent one question at a time; from then on a token is got at once.
    has_tokens: bool,
    /// Why its token service cannot be asked.
    no_token: Option<Trouble>,
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
    verdict: Option<Trouble>,
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
        let is_suspect = !self.took && (self.dialect == Dialect::Quay && !self.is_sure || self.is_failing);
        if is_suspect && self.pace.flying() > 0 || self.is_probing { None } else { self.pace.when(now) }
    }
}

/// A host that wants a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// None was given.
    Wanted,
    /// The one that was given is refused.
    Refused,
}

/// What a request is for.
#[derive(Clone, Debug)]
enum Purpose {
    Ask(Ask),
    /// A token to read a repository.
    Token(Repository),
    /// Whether the host speaks the other API; the question is put again afterwards.
    Sniff(Ask),
    /// Whether anything answers there.
    Probe,
    /// Whether a host whose requests fail still answers.
    Check {
        /// Why it is given up otherwise.
        trouble: Trouble,
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
    last_trouble: Option<Trouble>,
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
struct Held {
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
    unlooked: VecDeque<usize>,
    /// What the rows were before they were asked for anew.
    before: Vec<Option<Arc<Row>>>,
    /// When they were asked for then, seconds since 1970.
    before_at: u64,
    /// What was answered before it was asked anew, beside the rows.
    kept: HashMap<Ask, Answer>,
    /// What the tags stood for then.
    stood_for: HashMap<(Repository, String), Option<String>>,
    /// Questions to be sent, the next one first.
    queue: VecDeque<Ask>,
    /// Questions to be sent again, not before a moment.
    later: Vec<(u64, Ask)>,
    /// Questions that wait for a token, or for a probe.
    parked: HashMap<Repository, Vec<Ask>>,
    held_back: Vec<Ask>,
    /// What is sent before any question.
    urgent: VecDeque<(Purpose, String, Request, Duration)>,
    /// The same, not before a moment.
    urgent_later: Vec<(u64, (Purpose, String, Request, Duration))>,
    waiting: HashMap<Ask, Vec<usize>>,
    /// How many answers each image waits for; it is looked at again when all are there.
    lacking: Vec<usize>,
    flying: HashMap<u64, Flight>,
    clocks: HashMap<Repository, Clock>,
    /// Questions that were sent and have no answer yet, numbered in the order in which they began.
    begun: HashMap<Ask, u64>,
    /// What was tried in vain for a question since it was last answered.
    attempts: HashMap<Ask, Attempts>,
    hosts: BTreeMap<String, Host>,
    tokens: HashMap<Repository, Held>,
    /// Repositories that answered 401, and questions for which a token was renewed.
    refusals: HashSet<Repository>,
    renewed: HashSet<Ask>,
    renewing: HashSet<Repository>,
    token_tries: HashMap<Repository, u32>,
    locked: BTreeMap<String, Locked>,
    now: Moment,
    next_begun: u64,
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
            unlooked: tag_by_tag(resolver.images()),
            resolver,
            client,
            snapshot,
            facts,
            rows: vec![None; rows_len],
            before: Vec::new(),
            before_at: 0,
            kept: HashMap::new(),
            stood_for: HashMap::new(),
            queue: VecDeque::new(),
            later: Vec::new(),
            parked: HashMap::new(),
            held_back: Vec::new(),
            urgent: VecDeque::new(),
            urgent_later: Vec::new(),
            waiting: HashMap::new(),
            lacking: vec![0; rows_len],
            flying: HashMap::new(),
            clocks: HashMap::new(),
            begun: HashMap::new(),
            attempts: HashMap::new(),
            hosts: BTreeMap::new(),
            tokens: HashMap::new(),
            refusals: HashSet::new(),
            renewed: HashSet::new(),
            renewing: HashSet::new(),
            token_tries: HashMap::new(),
            locked: BTreeMap::new(),
            now: Moment { ms: 0, unix: 0, random: 0.0 },
            next_begun: 0,
            next_id: 0,
            requests: 0,
            retries: 0,
        }
    }

    /// Looks at up to `n` more rows: what is known of them, and what is to be asked. Whether there are more. [`next`](Self::next)
    /// does so for all that are left; who has a screen to keep alive does it bit by bit before.
    pub fn look(&mut self, n: usize) -> bool {
        let some = self.unlooked.drain(..n.min(self.unlooked.len())).collect();
        self.evaluate(some, false);
        !self.unlooked.is_empty()
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
    pub fn also(&mut self, asks: impl IntoIterator<Item = Ask>) {
        for ask in asks {
            if let Some(snapshot) = &self.snapshot {
                let answer = snapshot.answer(&ask);
                self.facts.answers.insert(ask, answer);
            } else if !self.facts.answers.contains_key(&ask) && !self.waiting.contains_key(&ask) {
                self.waiting.insert(ask.clone(), Vec::new());
                self.queue.push_back(ask);
            }
        }
    }

    /// Asks this too, whatever was answered before; that counts again if the run is cancelled meanwhile.
    pub fn anew(&mut self, asks: Vec<Ask>) {
        for ask in &asks {
            if let Some(Ok(answer)) = self.facts.answers.remove(ask) {
                self.kept.insert(ask.clone(), answer);
            }
            self.facts.exchanges.remove(ask);
        }
        self.also(asks);
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
    pub fn conclude(&self) -> (Vec<Option<Arc<Row>>>, Summary) {
        if self.before.is_empty() {
            return conclude(&self.resolver, &self.rows);
        }
        let rows: Vec<_> = self.rows.iter().zip(&self.before).map(|(new, old)| new.clone().or_else(|| old.clone())).collect();
        conclude(&self.resolver, &rows)
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
        let asked = self.facts.exchanges.keys().map(|ask| ask.host().to_owned()).collect::<BTreeSet<_>>();
        let is_plain = |host: &String| self.endpoint(host).starts_with("http://") && host != crate::engine::release::DEMO_HOST;
        asked.into_iter().filter(is_plain).collect()
    }

    /// Hosts that a page cannot read, why, and by which API they were asked.
    pub fn causes(&self) -> Vec<(String, Cause, Dialect)> {
        let of = |(name, host): (&String, &Host)| Some((name.clone(), host.cause.clone()?, host.dialect));
        self.hosts.iter().filter_map(of).collect()
    }

    /// Hosts that want a login.
    pub fn locked(&self) -> &BTreeMap<String, Locked> {
        &self.locked
    }

    /// The host that is waited for longest, and how long.
    pub fn waits_for(&self, now: u64) -> Option<(String, Duration)> {
        let open: HashSet<&str> = self.queue.iter().chain(self.later.iter().map(|(_, ask)| ask)).map(Ask::host).collect();
        let paused = self.hosts.iter().filter(|(name, _)| open.contains(name.as_str()));
        paused.map(|(name, host)| (name.clone(), host.pace.pause(now))).max_by_key(|(_, pause)| *pause)
    }

    fn host(&mut self, name: &str) -> &mut Host {
        if !self.hosts.contains_key(name) {
            let dialect = self.facts.dialects.get(name).copied().unwrap_or(Dialect::Distribution);
            let pace = match (dialect, self.client.caller) {
                // quay.io's own nginx lets 5 a second through, and 25 in a burst; a preflight counts too.
                (Dialect::Quay, _) => Pace::new(6, 12),
                (_, Caller::Browser) => Pace::new(12, 24),
                (_, Caller::Native) => Pace::new(32, 64),
            };
            // What was learnt before tells what it speaks.
            let is_sure = self.facts.answers.iter().any(|(ask, a)| ask.host() == name && matches!(a, Ok(Answer::Overview(_))));
            let host = Host {
                pace,
                dialect,
                is_sure,
                sniffed: self.resolver.settings().api == Api::Distribution,
                answered: false,
                answered_preflighted: false,
                took: false,
                took_at: 0,
                taken: 0,
                took_login: false,
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

    fn step(&mut self, ask: &Ask) -> Step {
        let caller = self.client.caller;
        let endpoint = self.endpoint(ask.host());
        let host = self.host(ask.host());
        let (dialect, hides_digest) = (host.dialect, host.hides_digest);
        let form = ask.repository().and_then(|repository| self.facts.forms.get(repository)).copied();
        let server = Server { endpoint: &endpoint, dialect, caller, hides_digest, form };
        step(ask, server, self.facts.exchanges.get(ask).map_or(&[][..], Vec::as_slice))
    }

    /// What is to be done now.
    pub fn next(&mut self, now: Moment) -> Next {
        self.now = now;
        self.look(usize::MAX);
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.urgent_later).into_iter().partition(|(at, _)| *at <= now.ms);
        self.urgent_later = later;
        self.urgent.extend(due.into_iter().map(|(_, urgent)| urgent));
        if let Some((purpose, host, request, limit)) = self.urgent.pop_front() {
            return Next::Send(self.launch(purpose, host, request, limit));
        }
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now.ms);
        self.later = later;
        for (_, ask) in due {
            self.put_back(ask);
        }
        let mut soonest = self.later.iter().map(|(at, _)| *at).chain(self.urgent_later.iter().map(|(at, _)| *at)).min();
        let mut full: HashSet<String> = HashSet::new();
        let mut i = 0;
        while let Some(ask) = self.queue.get(i) {
            let is_list = matches!(ask, Ask::Tags { .. }) && !self.begun.contains_key(ask);
            if full.contains(ask.host()) || is_list && !self.may_list_tags(ask.host()) {
                i += 1;
                continue;
            }
            let name = ask.host().to_owned();
            match self.host(&name).when(now.ms) {
                Some(at) if at <= now.ms => {}
                at => {
                    soonest = [soonest, at].into_iter().flatten().min();
                    full.insert(name);
                    continue;
                }
            }
            let Some(ask) = self.queue.remove(i) else { break };
            if let Some(send) = self.prepare(ask) {
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
        let is_list = |ask: &Ask| matches!(ask, Ask::Tags { .. }) && ask.host() == host;
        let is_large = self.tag_lists().any(|list| list.bytes() >= LARGE_LIST);
        let is_known = self.facts.answers.keys().any(is_list);
        is_known && !is_large || self.begun.keys().filter(|ask| is_list(ask)).count() < 2
    }

    /// The lists of tags that are known.
    fn tag_lists(&self) -> impl Iterator<Item = &TagList> {
        self.facts.answers.values().filter_map(|answer| match answer {
            Ok(Answer::Tags(Ok(list))) => Some(list),
            _ => None,
        })
    }

    /// Puts a question that is under way before all that began later or not at all, so that none waits for ever.
    fn put_back(&mut self, ask: Ask) {
        let order = |a: &Ask| self.begun.get(a).copied().unwrap_or(u64::MAX);
        let own = order(&ask);
        let at = self.queue.iter().position(|a| order(a) >= own).unwrap_or(self.queue.len());
        self.queue.insert(at, ask);
    }

    /// The request that a question needs next, if there is one.
    fn prepare(&mut self, ask: Ask) -> Option<Send> {
        // Nobody waits for it any more.
        if !self.waiting.contains_key(&ask) {
            return None;
        }
        let mut request = match self.step(&ask) {
            Step::Done(answer) => {
                self.learn(ask, answer);
                return None;
            }
            Step::Send(request) => request,
        };
        if let Some(trouble) = self.host(ask.host()).verdict.clone() {
            self.learn(ask, Err(trouble));
            return None;
        }
        let now = self.now.ms;
        let clock = self.clocks.entry(clock_of(&ask)).or_default();
        if !self.begun.contains_key(&ask) {
            self.begun.insert(ask.clone(), self.next_begun);
            self.next_begun += 1;
            clock.open += 1;
            if clock.open == 1 {
                clock.since = now;
            }
        }
        let left = clock.left(now);
        if left.is_zero() {
            let what = format!("it took longer than {} s in all", IMAGE_LIMIT.as_secs());
            let last = self.attempts(&ask).last_trouble.take();
            let trouble = last.unwrap_or(Trouble { what, cure: "retry".to_owned() });
            self.learn(ask, Err(trouble));
            return None;
        }
        let name = ask.host().to_owned();
        if let (Some(repository), Some(wants)) = (ask.repository().cloned(), self.host(&name).wants.clone()) {
            // While the first token is on its way, what would only be refused too waits for it.
            let is_due =
                self.host(&name).has_tokens || self.refusals.contains(&repository) || self.parked.keys().any(|r| r.host == name);
            let login = self.login(&repository);
            match wants {
                // What was readable without a login is not asked with one, which costs a page a preflight.
                Wanted::Basic if self.refusals.contains(&repository) || self.host(&name).took_login => {
                    request.authorization = login.and_then(|l| l.basic());
                }
                Wanted::Bearer { realm, service } if is_due => {
                    let fresh = |held: &&Held| now < held.since + held.token.lifetime.as_millis() as u64;
                    if let Some(held) = self.tokens.get(&repository).filter(fresh) {
                        request.authorization = Some(held.token.header.clone());
                    } else if let Some(trouble) = self.host(&name).no_token.clone() {
                        self.learn(ask, Err(trouble));
                        return None;
                    } else if let Some(fetched) = self.token_under_way(&repository) {
                        // To wait for somebody else's token takes none of its own time.
                        self.close(&ask);
                        self.parked.entry(fetched).or_default().push(ask);
                        return None;
                    } else {
                        let endpoint = self.endpoint(&name);
                        match auth::token_request(&endpoint, &realm, service.as_deref(), &repository, login.as_ref()) {
                            Ok(request) => {
                                self.close(&ask);
                                self.parked.insert(repository.clone(), vec![ask]);
                                return Some(self.launch(Purpose::Token(repository), name, request, left.min(TRY_LIMIT)));
                            }
                            Err(trouble) => {
                                self.learn(ask, Err(trouble));
                                return None;
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Some(self.launch(Purpose::Ask(ask), name, request, left.min(TRY_LIMIT)))
    }

    fn launch(&mut self, purpose: Purpose, host: String, request: Request, limit: Duration) -> Send {
        let now = self.now.ms;
        self.host(&host).pace.sent(now);
        let id = self.next_id;
        self.next_id += 1;
        self.flying.insert(id, Flight { purpose, host, request: request.clone(), sent: now });
        Send { id, request, limit }
    }

    /// Takes what came of a request. An id that is not flying any more is left be.
    pub fn deliver(&mut self, id: u64, outcome: Result<Response, Failure>, now: Moment) {
        self.now = now;
        let Some(flight) = self.flying.remove(&id) else { return };
        self.requests += 1;
        self.host(&flight.host).pace.ended();
        match flight.purpose.clone() {
            Purpose::Ask(ask) => self.take(ask, flight, outcome),
            Purpose::Token(repository) => self.take_token(repository, flight, outcome),
            Purpose::TokenProbe(repository) => {
                self.host(&flight.host).tokens_probed = Some(outcome.is_ok());
                self.take_token(repository, flight, Err(unsaid()));
            }
            Purpose::Sniff(ask) => {
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
                    _ => self.put_back(ask),
                }
            }
            Purpose::Check { trouble, tried } => self.take_check(trouble, tried, &flight, &outcome),
            Purpose::Probe => {
                let host = self.host(&flight.host);
                host.probed = Some(outcome.is_ok());
                host.is_probing = false;
                for ask in std::mem::take(&mut self.held_back) {
                    match ask.host() == flight.host {
                        true => self.look_into(ask, flight.clone(), false),
                        false => self.held_back.push(ask),
                    }
                }
            }
        }
    }

    /// Takes the outcome of a question's request.
    fn take(&mut self, ask: Ask, flight: Flight, outcome: Result<Response, Failure>) {
        // Nobody waits for it any more.
        if !self.waiting.contains_key(&ask) {
            return;
        }
        let name = flight.host.clone();
        if let (Some(verdict), Err(_)) = (self.host(&name).verdict.clone(), &outcome) {
            return self.learn(ask, Err(verdict));
        }
        if may_pass(&outcome) {
            let trouble = trouble_of(&outcome);
            self.attempts(&ask).last_trouble = Some(trouble);
        }
        let is_browser = self.client.caller == Caller::Browser;
        let response = match &outcome {
            Ok(response) => response,
            Err(Failure::Network(_)) if is_browser => return self.look_into(ask, flight, false),
            Err(Failure::Offline) => return self.look_into(ask, flight, true),
            Err(Failure::Network(_) | Failure::Timeout) => return self.try_again(ask, flight, outcome),
            Err(_) => return self.record(ask, flight, outcome),
        };
        let host = self.host(&name);
        host.answered = true;
        host.answered_preflighted |= flight.request.needs_preflight();
        if !host.is_sure && !may_pass(&outcome) {
            let is_telling = matches!(ask, Ask::Overview { .. });
            if host.dialect == Dialect::Quay && is_telling && !quay::speaks(response) && !host.sniffed {
                return self.switch(&name, Dialect::Distribution);
            }
            host.is_sure = true;
        }
        match response.status {
            429 => {
                let told = response.retry_after.as_deref().and_then(|text| retry_after(text, self.now.unix));
                self.refused(ask, flight, outcome, told)
            }
            _ if may_pass(&outcome) => self.try_again(ask, flight, outcome),
            401 if self.host(&name).dialect == Dialect::Distribution && self.can_log_in(&ask, &flight, response) => {
                let exchange = Exchange { request: flight.request, outcome, tries: 1 };
                if let Some(repository) = ask.repository() {
                    self.facts.logins.entry(repository.clone()).or_default().push(without_secrets(exchange));
                }
                self.put_back(ask);
            }
            status => {
                // Of a repository that was read, a list of tags or a config that is refused is no reason to ask for a login.
                let was_read = |repository| {
                    let is_of =
                        |(ask, answer): (&Ask, &Result<Answer, Trouble>)| ask.repository() == Some(repository) && answer.is_ok();
                    matches!(ask, Ask::Tags { .. } | Ask::Labels { .. }) && self.facts.answers.iter().any(is_of)
                };
                let was_read = matches!(status, 401 | 403) && ask.repository().is_some_and(was_read);
                let is_login = self.host(&name).dialect == Dialect::Distribution && !matches!(ask, Ask::Ping { .. }) && !was_read;
                if let Some(repository) = ask.repository().filter(|_| matches!(status, 401 | 403) && is_login) {
                    let was_sent = flight.request.authorization.is_some();
                    // A token that everybody is given is no login.
                    let was_login = was_sent && self.login(repository).is_some();
                    let unusable = self.unusable_login(repository, response).filter(|_| !was_login);
                    self.lock(repository, was_login);
                    if let Some((why, hint)) = unusable {
                        let what = format!("the registry wants a login ({status}): {why}");
                        self.note(&ask, flight, outcome);
                        return self.learn(ask, Err(Trouble { what, cure: hint.to_owned() }));
                    }
                    if is_browser && status == 401 && response.challenge.is_none() && !was_sent {
                        let cause = Cause::Unexposed;
                        let trouble = cause.trouble(&name, &self.endpoint(&name));
                        self.host(&name).cause = Some(cause);
                        self.note(&ask, flight, outcome);
                        return self.learn(ask, Err(trouble));
                    }
                } else if flight.request.authorization.is_some()
                    && let Some(held) = ask.repository().and_then(|r| self.tokens.get_mut(r))
                {
                    held.was_good = true;
                } else if flight.request.authorization.is_some() {
                    self.host(&name).took_login = true;
                }
                let now = self.now.ms;
                let host = self.host(&name);
                host.pace.took();
                host.took = true;
                host.took_at = now;
                host.taken += 1;
                host.failures = 0;
                host.long_waits = 0;
                let has_digest = response.digest.as_deref().is_some_and(is_digest);
                host.hides_digest |= flight.request.method == Method::Head && status == 200 && !has_digest;
                let is_refused = matches!(status, 401 | 403) && flight.request.authorization.is_some();
                if is_refused && host.wants == Some(Wanted::Basic) && !was_read {
                    let what = format!("the registry refuses the login, or keeps this from it ({status})");
                    let trouble = Trouble { what, cure: "check user and password, and what they may read".to_owned() };
                    self.note(&ask, flight, outcome);
                    return self.learn(ask, Err(trouble));
                }
                self.record(ask, flight, outcome);
            }
        }
    }

    /// Notes what was exchanged for a question, and ends it or puts it first in the queue.
    fn record(&mut self, ask: Ask, flight: Flight, outcome: Result<Response, Failure>) {
        self.note(&ask, flight, outcome);
        match self.step(&ask) {
            Step::Done(answer) => self.learn(ask, answer),
            // First in, first out would let every image start before any ends; a question under way goes first.
            Step::Send(_) => self.put_back(ask),
        }
    }

    fn note(&mut self, ask: &Ask, flight: Flight, outcome: Result<Response, Failure>) {
        let tries = self.attempts.remove(ask).map_or(0, |attempts| attempts.failed).max(1);
        let exchange = Exchange { request: flight.request, outcome, tries };
        self.facts.exchanges.entry(ask.clone()).or_default().push(without_secrets(exchange));
    }

    /// Asks a host by the other API from now on.
    fn switch(&mut self, name: &str, dialect: Dialect) {
        let host = self.host(name);
        host.dialect = dialect;
        host.is_sure = true;
        host.sniffed = true;
        host.failures = 0;
        self.facts.dialects.insert(name.to_owned(), dialect);
        let stale: Vec<Ask> = self.waiting.keys().filter(|ask| ask.host() == name).cloned().collect();
        let mut images = BTreeSet::new();
        for ask in &stale {
            for i in self.waiting.remove(ask).unwrap_or_default() {
                self.lacking[i] = self.lacking[i].saturating_sub(1);
                images.insert(i);
            }
            self.attempts.remove(ask);
            self.close(ask);
            self.facts.exchanges.remove(ask);
        }
        self.queue.retain(|ask| ask.host() != name);
        self.later.retain(|(_, ask)| ask.host() != name);
        self.held_back.retain(|ask| ask.host() != name);
        self.evaluate(images.into_iter().collect(), false);
    }

    /// Stops: what is not known yet becomes an error that says so. What was only asked for anew is as it was, and all of it as old.
    pub fn cancel(&mut self) {
        self.look(usize::MAX);
        let open: Vec<usize> = (0..self.rows.len()).filter(|i| self.rows[*i].is_none()).collect();
        let mut kept = std::mem::take(&mut self.kept);
        self.forget_work();
        // What is learnt may bring up further questions.
        let mut asks = Vec::new();
        while let Some(ask) = self.waiting.keys().next().cloned() {
            asks.push(ask.clone());
            self.learn(ask, Err(Trouble { what: "cancelled before it was known".to_owned(), cure: "retry".to_owned() }));
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
        for ask in asks {
            match kept.remove(&ask) {
                Some(answer) => _ = self.facts.answers.insert(ask, Ok(answer)),
                // Whoever looks at such a row again asks again.
                None if is_kept && !matches!(ask, Ask::History { .. }) => _ = self.facts.answers.remove(&ask),
                None => {}
            }
        }
    }

    /// Asks again for what could not be found out, with the logins that there are by now.
    pub fn retry_failed(&mut self, logins: Logins) {
        let failed = self.facts.answers.iter().filter(|(_, answer)| has_failed(answer)).map(|(ask, _)| ask);
        // Answers that contradict each other make an error too.
        let rows = self.rows.iter().flatten().filter(|row| row.status == Status::Error).flat_map(|row| &row.asks);
        let failed: HashSet<Ask> = failed.chain(rows).cloned().collect();
        for ask in failed {
            self.facts.answers.remove(&ask);
            self.facts.exchanges.remove(&ask);
        }
        self.before.clear();
        self.start_over(logins);
    }

    /// Asks anew for what can have moved: a request a tag, on a Quay a request a repository. `asked_at` in seconds since 1970.
    pub fn refresh(&mut self, logins: Logins, asked_at: u64) {
        self.before = self.conclude().0;
        self.before_at = self.facts.asked_at;
        // Of a tag that could not be asked this time it still counts what it stood for the last time.
        self.stood_for.extend(self.facts.forget_moving(asked_at));
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
        self.lacking.fill(0);
        self.resolver.forget_hashes();
        self.rows.fill(None);
        self.unlooked = tag_by_tag(self.resolver.images());
    }

    fn forget_work(&mut self) {
        self.queue.clear();
        self.later.clear();
        self.parked.clear();
        self.held_back.clear();
        self.urgent.clear();
        self.urgent_later.clear();
        self.flying.clear();
        self.clocks.clear();
        self.begun.clear();
        self.attempts.clear();
        for host in self.hosts.values_mut() {
            host.is_probing = false;
            host.pace.forget();
        }
        self.token_tries.clear();
    }

    fn learn(&mut self, ask: Ask, mut answer: Result<Answer, Trouble>) {
        if let Ok(Answer::Tags(Ok(list))) = &answer
            && self.tag_lists().map(TagList::bytes).sum::<usize>() + list.bytes() > ALL_LISTS
        {
            let what = format!("the lists of tags of this run are larger than {} MiB together", ALL_LISTS >> 20);
            let cure = "ask for fewer images at a time, or choose a pin that needs no list (label, digest)".to_owned();
            answer = Err(Trouble { what, cure });
        }
        // What a body said is in the answer now.
        for exchange in self.facts.exchanges.get_mut(&ask).into_iter().flatten() {
            if let Ok(response) = &mut exchange.outcome {
                response.body = Vec::new();
            }
        }
        self.close(&ask);
        self.attempts.remove(&ask);
        self.kept.remove(&ask);
        let mut images = self.waiting.remove(&ask).unwrap_or_default();
        if let (Ask::Tag { repository, .. }, Ok(Answer::Tag(Ok(_)))) = (&ask, &answer)
            && let Some(Exchange { outcome: Ok(response), .. }) = self.facts.exchanges.get(&ask).and_then(|e| e.last())
        {
            match Form::first(&response.content_type) {
                Some(form) => _ = self.facts.forms.insert(repository.clone(), form),
                None => _ = self.facts.forms.remove(repository),
            }
        }
        if let (Ask::Tag { repository, tag, .. }, Ok(Answer::Tag(is))) = (&ask, &answer)
            && let Some(was) = self.stood_for.get(&(repository.clone(), tag.clone()))
            && *was != is.as_ref().ok().map(|f| f.digest.clone())
        {
            self.facts.forget_tags(repository);
        }
        self.facts.answers.insert(ask, answer);
        images.retain(|i| {
            self.lacking[*i] = self.lacking[*i].saturating_sub(1);
            self.lacking[*i] == 0
        });
        // What an image still lacks goes before what others begin with, so that rows are known early.
        self.evaluate(images, true);
    }

    /// Ends the time that a question takes.
    fn close(&mut self, ask: &Ask) {
        if self.begun.remove(ask).is_some() {
            let clock = self.clocks.entry(clock_of(ask)).or_default();
            clock.open = clock.open.saturating_sub(1);
            if clock.open == 0 {
                clock.spent += self.now.ms.saturating_sub(clock.since);
            }
        }
    }

    fn evaluate(&mut self, images: Vec<usize>, first: bool) {
        for i in images {
            let lacking = loop {
                match (self.resolver.row(i, &self.facts), &self.snapshot) {
                    (Ok(row), _) => {
                        self.rows[i] = Some(Arc::new(row));
                        break Vec::new();
                    }
                    (Err(lacking), Some(snapshot)) => {
                        let told = lacking.into_iter().map(|ask| (ask.clone(), snapshot.answer(&ask)));
                        self.facts.answers.extend(told);
                    }
                    (Err(lacking), None) => {
                        self.rows[i] = None;
                        break lacking;
                    }
                }
            };
            for ask in lacking {
                let waiting = self.waiting.entry(ask.clone()).or_default();
                if waiting.is_empty() && first {
                    self.queue.push_front(ask);
                } else if waiting.is_empty() {
                    self.queue.push_back(ask);
                }
                if waiting.last() != Some(&i) {
                    waiting.push(i);
                    self.lacking[i] += 1;
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
fn trouble_of(outcome: &Result<Response, Failure>) -> Trouble {
    outcome.as_ref().map_or_else(registry::error::failed, registry::error::refused)
}

/// What a browser tells of a failure.
fn unsaid() -> Failure {
    Failure::Network("the browser does not say why".to_owned())
}

/// Whether an answer is none that another try may not change.
fn has_failed(answer: &Result<Answer, Trouble>) -> bool {
    matches!(answer, Err(_) | Ok(Answer::Refused(_)))
}

/// An exchange as it may be kept and shown.
fn without_secrets(mut exchange: Exchange) -> Exchange {
    (exchange.request.authorization, exchange.request.form) = (None, None);
    exchange
}

/// The question that a request is sent for.
fn asked(purpose: &Purpose) -> Option<Ask> {
    match purpose {
        Purpose::Ask(ask) | Purpose::Sniff(ask) => Some(ask.clone()),
        Purpose::Token(_) | Purpose::TokenProbe(_) | Purpose::Probe | Purpose::Check { .. } => None,
    }
}

/// Whose time a question takes.
fn clock_of(ask: &Ask) -> Repository {
    ask.repository().cloned().unwrap_or_else(|| Repository { host: ask.host().to_owned(), path: String::new() })
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
