//! A run: hands out requests, takes answers, ends in rows. It knows no clock and no network; whoever drives it has both.
//!
//! ```text
//! while let Some(send) = run.next(now) { … }     as many at once as the driver likes
//! run.deliver(send.id, outcome, tries, now)      in any order
//! ```

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::name::{Repository, default_endpoint};
use super::registry::{Ask, Caller, Exchange, Server, Step, Trouble, step};
use super::resolve::{Facts, Resolver, Row, Summary, conclude};
use super::wire::{Failure, IMAGE_LIMIT, Method, Request, Response};

/// One request to be sent.
#[derive(Debug)]
pub struct Send {
    /// What `deliver` is to be told.
    pub id: u64,
    /// The request.
    pub request: Request,
    /// How long it may take, tries and waits included.
    pub budget: Duration,
}

/// How long a repository has kept a run busy: an image takes so long and no longer.
#[derive(Debug, Default)]
struct Clock {
    flying: usize,
    since: u64,
    spent: u64,
}

impl Clock {
    fn left(&self, now: u64) -> Duration {
        let flying = if self.flying > 0 { now.saturating_sub(self.since) } else { 0 };
        IMAGE_LIMIT.saturating_sub(Duration::from_millis(self.spent + flying))
    }
}

/// The answers for a list of images, as far as they are known.
#[derive(Debug)]
pub struct Run {
    resolver: Resolver,
    caller: Caller,
    facts: Facts,
    rows: Vec<Option<Row>>,
    queue: VecDeque<Ask>,
    waiting: HashMap<Ask, Vec<usize>>,
    /// How many answers each image waits for; it is looked at again when all are there.
    lacking: Vec<usize>,
    flying: HashMap<u64, (Ask, Request)>,
    clocks: HashMap<Repository, Clock>,
    hides_digest: HashSet<String>,
    next_id: u64,
    requests: usize,
    retries: usize,
}

impl Run {
    /// A run that already knows `facts`, less the failures among them.
    pub fn new(resolver: Resolver, caller: Caller, mut facts: Facts) -> Self {
        facts.answers.retain(|_, answer| answer.is_ok());
        let rows_len = resolver.images().len();
        let rows = vec![None; rows_len];
        let mut run = Self {
            resolver,
            caller,
            facts,
            rows,
            queue: VecDeque::new(),
            waiting: HashMap::new(),
            lacking: vec![0; rows_len],
            flying: HashMap::new(),
            clocks: HashMap::new(),
            hides_digest: HashSet::new(),
            next_id: 0,
            requests: 0,
            retries: 0,
        };
        run.evaluate((0..run.rows.len()).collect(), false);
        run
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

    /// Whether every row is known.
    pub fn is_done(&self) -> bool {
        self.rows.iter().all(Option::is_some)
    }

    /// Requests that were sent, every try counted.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// How many of them were a further try.
    pub fn retries(&self) -> usize {
        self.retries
    }

    /// The rows, torn ones marked, and what they say together.
    pub fn conclude(&self) -> (Vec<Option<Row>>, Summary) {
        conclude(&self.resolver, &self.rows)
    }

    /// Where the API of a host is asked.
    pub fn endpoint(&self, host: &str) -> String {
        self.resolver.settings().endpoints.get(host).cloned().unwrap_or_else(|| default_endpoint(host))
    }

    /// Hosts that were asked over plain http.
    pub fn plain_hosts(&self) -> BTreeSet<String> {
        let asked = self.facts.exchanges.keys().map(|ask| ask.host().to_owned()).collect::<BTreeSet<_>>();
        let is_plain = |host: &String| self.endpoint(host).starts_with("http://") && host != super::release::DEMO_HOST;
        asked.into_iter().filter(is_plain).collect()
    }

    /// The next request, if there is one to be sent now. `now` counts milliseconds from any beginning.
    pub fn next(&mut self, now: u64) -> Option<Send> {
        loop {
            let ask = self.queue.pop_front()?;
            let exchanged = self.facts.exchanges.get(&ask).map_or(&[][..], Vec::as_slice);
            let endpoint = self.endpoint(ask.host());
            let hides_digest = self.hides_digest.contains(ask.host());
            let server = Server { endpoint: &endpoint, caller: self.caller, hides_digest };
            match step(&ask, server, exchanged) {
                Step::Done(answer) => self.learn(ask, answer),
                Step::Send(request) => {
                    let clock = self.clocks.entry(clock_of(&ask)).or_default();
                    let budget = clock.left(now);
                    if budget.is_zero() {
                        let trouble = Trouble {
                            what: format!("it took longer than {} s in all", IMAGE_LIMIT.as_secs()),
                            cure: "retry".to_owned(),
                        };
                        self.learn(ask, Err(trouble));
                        continue;
                    }
                    if clock.flying == 0 {
                        clock.since = now;
                    }
                    clock.flying += 1;
                    let id = self.next_id;
                    self.next_id += 1;
                    self.flying.insert(id, (ask, request.clone()));
                    return Some(Send { id, request, budget });
                }
            }
        }
    }

    /// Takes what came of a request; `tries` is how often it was sent. An id that is not flying any more is left be.
    pub fn deliver(&mut self, id: u64, outcome: Result<Response, Failure>, tries: u32, now: u64) {
        let Some((ask, request)) = self.flying.remove(&id) else { return };
        self.requests += tries as usize;
        self.retries += tries.saturating_sub(1) as usize;
        let clock = self.clocks.entry(clock_of(&ask)).or_default();
        clock.flying = clock.flying.saturating_sub(1);
        if clock.flying == 0 {
            clock.spent += now.saturating_sub(clock.since);
        }
        if let (Method::Head, Ok(response)) = (request.method, &outcome)
            && response.status == 200
            && response.digest.is_none()
        {
            self.hides_digest.insert(ask.host().to_owned());
        }
        self.facts.exchanges.entry(ask.clone()).or_default().push(Exchange { request, outcome, tries });
        // First in, first out would let every image start before any ends; a question under way goes first.
        self.queue.push_front(ask);
        self.settle();
    }

    /// Ends the questions at the head of the queue that need nothing more to be sent.
    fn settle(&mut self) {
        while let Some(ask) = self.queue.front() {
            let Some(exchanged) = self.facts.exchanges.get(ask) else { return };
            let endpoint = self.endpoint(ask.host());
            let hides_digest = self.hides_digest.contains(ask.host());
            let server = Server { endpoint: &endpoint, caller: self.caller, hides_digest };
            let Step::Done(answer) = step(ask, server, exchanged) else { return };
            if let Some(ask) = self.queue.pop_front() {
                self.learn(ask, answer);
            }
        }
    }

    /// Stops: what is not known yet becomes an error that says so.
    pub fn cancel(&mut self) {
        self.queue.clear();
        self.flying.clear();
        self.clocks.clear();
        while let Some(ask) = self.waiting.keys().next().cloned() {
            self.learn(ask, Err(Trouble { what: "cancelled before it was known".to_owned(), cure: "retry".to_owned() }));
            self.queue.clear();
        }
    }

    /// Asks again for what could not be found out.
    pub fn retry_failed(&mut self) {
        let failed: Vec<Ask> = self.facts.answers.iter().filter(|(_, a)| a.is_err()).map(|(ask, _)| ask.clone()).collect();
        for ask in failed {
            self.facts.answers.remove(&ask);
            self.facts.exchanges.remove(&ask);
        }
        self.clocks.clear();
        self.queue.clear();
        self.flying.clear();
        self.waiting.clear();
        self.lacking.fill(0);
        self.resolver.forget_hashes();
        self.evaluate((0..self.rows.len()).collect(), false);
    }

    fn learn(&mut self, ask: Ask, answer: Result<super::registry::Answer, Trouble>) {
        // What a body said is in the answer now.
        for exchange in self.facts.exchanges.get_mut(&ask).into_iter().flatten() {
            if let Ok(response) = &mut exchange.outcome {
                response.body = Vec::new();
            }
        }
        let mut images = self.waiting.remove(&ask).unwrap_or_default();
        self.facts.answers.insert(ask, answer);
        images.retain(|i| {
            self.lacking[*i] = self.lacking[*i].saturating_sub(1);
            self.lacking[*i] == 0
        });
        // What an image still lacks goes before what others begin with, so that rows are known early.
        self.evaluate(images, true);
    }

    fn evaluate(&mut self, images: Vec<usize>, first: bool) {
        for i in images {
            match self.resolver.row(i, &self.facts) {
                Ok(row) => self.rows[i] = Some(row),
                Err(lacking) => {
                    self.rows[i] = None;
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
    }
}

/// Whose time a question takes.
fn clock_of(ask: &Ask) -> Repository {
    match ask {
        Ask::Tag { repository, .. }
        | Ask::Check { repository, .. }
        | Ask::Manifest { repository, .. }
        | Ask::Labels { repository, .. }
        | Ask::Tags { repository } => repository.clone(),
        Ask::Ping { host } => Repository { host: host.clone(), path: String::new() },
    }
}
