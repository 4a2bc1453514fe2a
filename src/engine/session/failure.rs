//! What a failed request means: try again, slow down, or give the host up.

use super::*;

impl Run {
    /// Works out why a browser could not read a host, and goes on accordingly.
    pub(super) fn look_into(&mut self, ask: Ask, flight: Flight, offline: bool) {
        let attempts = self.attempts(&ask);
        attempts.failed += u32::from(!matches!(flight.purpose, Purpose::Probe));
        let (tries, page, endpoint, now) = (attempts.failed, self.client.page.clone(), self.endpoint(&flight.host), self.now);
        let host = self.host(&flight.host);
        host.is_failing = true;
        let is_quay = host.dialect == Dialect::Quay;
        let url = if matches!(flight.purpose, Purpose::Probe) { &endpoint } else { &flight.request.url };
        let sight = Sight {
            page: &page,
            url,
            needs_preflight: flight.request.needs_preflight(),
            offline,
            answered: host.answered,
            answered_preflighted: host.answered_preflighted,
            tries,
            patience: if is_quay { TRIES - 1 } else { 2 },
            probed: host.probed,
        };
        match diagnosis::diagnose(sight) {
            diagnosis::Next::Verdict(cause) => {
                let trouble = cause.trouble(&flight.host, &endpoint);
                // What needs no login may still be read.
                let is_all = cause != Cause::PreflightRefused || !host.took;
                host.cause = Some(cause);
                if is_all {
                    self.give_up(&flight.host, trouble.clone());
                }
                self.learn(ask, Err(trouble));
            }
            // Where nothing else passes either, the line is dead rather than the host overloaded; but of a Quay that is how a page sees
            // its 429.
            diagnosis::Next::Slow if is_quay || host.took_at > flight.sent => {
                self.may_be_refused(ask, flight, Err(unsaid()), None)
            }
            diagnosis::Next::Slow => {
                host.pace.refused(flight.sent, now.ms, None, now.random);
                self.count_failure(&flight.host, &Err(unsaid()));
                if tries > 1 {
                    self.check(&flight.host, registry::error::failed(&unsaid()));
                }
                self.put_off(ask, flight, Err(unsaid()), tries, backoff(tries, now.random));
            }
            diagnosis::Next::Retry => {
                // One that never answered is not sent everything else meanwhile.
                let pause = backoff(tries, now.random);
                host.pace.hold(now.ms + pause.as_millis() as u64);
                self.put_off(ask, flight, Err(unsaid()), tries, pause);
            }
            diagnosis::Next::Probe if !host.sniffed && ask.repository().is_some() => {
                host.sniffed = true;
                let request = match (is_quay, ask.repository()) {
                    (false, Some(repository)) => quay::overview_request(&endpoint, repository),
                    _ => Request::get(format!("{endpoint}/v2/"), BODY_LIMIT),
                };
                self.urgent.push_back((Purpose::Sniff(ask), flight.host.clone(), request, TRY_LIMIT));
            }
            diagnosis::Next::Probe => {
                if !std::mem::replace(&mut host.is_probing, true) {
                    let request = Request { method: Method::Probe, ..Request::get(format!("{endpoint}/v2/"), 0) };
                    self.urgent.push_back((Purpose::Probe, flight.host.clone(), request, PROBE_LIMIT));
                }
                self.held_back.push(ask);
            }
        }
    }

    /// Takes a refusal for overload: the host is left alone for a while, and this question goes first then. Where others pass and this
    /// one is refused again and again, it is its own trouble, and the others do not wait for it.
    pub(super) fn refused(&mut self, ask: Ask, flight: Flight, outcome: Result<Response, Failure>, told: Option<Duration>) {
        let (now, name, repository) = (self.now, flight.host.clone(), ask.repository().cloned());
        let left = self.clocks.entry(clock_of(&ask)).or_default().left(now.ms);
        let trouble = trouble_of(&outcome);
        if let Some(told) = told.filter(|told| *told >= IMAGE_LIMIT) {
            let status = outcome.as_ref().map_or(429, |r| r.status);
            let what = format!("{name} lets no more requests through for {} s ({status})", told.as_secs());
            let trouble = Trouble { what, cure: "retry then".to_owned() };
            self.learn(ask, Err(trouble.clone()));
            let host = self.host(&name);
            host.long_waits += 1;
            if host.long_waits >= 2 * FAILURES {
                self.give_up(&name, trouble);
            } else if host.took_at <= flight.sent {
                self.check(&name, trouble);
            }
            return;
        }
        let taken = self.host(&name).taken;
        let attempts = self.attempts(&ask);
        if attempts.limited == 0 {
            attempts.others_before = taken;
        }
        attempts.limited += 1;
        let (times, others) = (attempts.limited, taken - attempts.others_before);
        let host = self.host(&name);
        if others >= OTHERS && times > 2 {
            let pause = backoff(times, now.random).max(told.unwrap_or_default());
            if pause >= left {
                return self.record(ask, flight, outcome);
            }
            self.retries += 1;
            return self.later.push((now.ms + pause.as_millis() as u64, ask));
        }
        host.pace.refused(flight.sent, now.ms, told, now.random);
        let (is_hopeless, pause) = (host.pace.is_hopeless(now.ms), host.pace.pause(now.ms));
        if is_hopeless {
            self.learn(ask, Err(trouble.clone()));
        } else if told.unwrap_or(pause) >= left {
            self.record(ask, flight, outcome);
        } else {
            self.retries += 1;
            self.put_back(ask);
        }
        let is_other = |other: &Ask| other.host() == name && other.repository() != repository.as_ref();
        match self.host(&name).dialect {
            // Its limit is one for all that it is asked.
            Dialect::Quay if is_hopeless => self.give_up(&name, trouble),
            Dialect::Quay => {}
            Dialect::Distribution if is_hopeless => self.check(&name, trouble),
            Dialect::Distribution => {
                if times > 2 && others < OTHERS && self.waiting.keys().any(is_other) {
                    self.check(&name, trouble);
                }
            }
        }
    }

    /// Takes what is overload, most likely. Where it happens to one question again and again while others pass, it is that question's
    /// own trouble, and the others do not wait for it.
    pub(super) fn may_be_refused(
        &mut self,
        ask: Ask,
        flight: Flight,
        outcome: Result<Response, Failure>,
        told: Option<Duration>,
    ) {
        let now = self.now;
        let attempts = self.attempts(&ask);
        let tries = attempts.failed;
        let Some(first) = attempts.overloaded_at else {
            attempts.overloaded_at = Some(now.ms);
            return self.refused(ask, flight, outcome, told);
        };
        let host = self.host(&flight.host);
        let others_pass = host.took_at > first;
        if !others_pass || tries < TRIES {
            host.pace.refused(flight.sent, now.ms, told, now.random);
            if host.pace.is_hopeless(now.ms) {
                return self.refused(ask, flight, outcome, told);
            }
        }
        let name = flight.host.clone();
        // Behind the others, to see whether they pass.
        let pause = host.pace.pause(now.ms) + backoff(tries, now.random);
        if others_pass && tries >= PATIENCE || pause >= self.clocks.entry(clock_of(&ask)).or_default().left(now.ms) {
            return self.record(ask, flight, outcome);
        }
        self.retries += 1;
        self.later.push((now.ms + pause.as_millis() as u64, ask));
        if !others_pass && tries > 1 && self.host(&name).dialect == Dialect::Distribution {
            let trouble = trouble_of(&outcome);
            self.check(&name, trouble);
        }
    }

    /// Takes what may pass by itself.
    pub(super) fn try_again(&mut self, ask: Ask, flight: Flight, outcome: Result<Response, Failure>) {
        let now = self.now;
        if let Ok(response) = &outcome
            && response.status == 503
            && self.host(&flight.host).took
            && registry::error::error_code(response).as_deref() != Some("UNAVAILABLE")
        {
            // Overload by another name: nginx says it so unless it is told otherwise.
            let told = response.retry_after.as_deref().and_then(|text| retry_after(text, now.unix));
            self.attempts(&ask).failed += 1;
            return self.may_be_refused(ask, flight, outcome, told);
        }
        let attempts = self.attempts(&ask);
        attempts.failed += 1;
        let tries = attempts.failed;
        let told = outcome.as_ref().ok().and_then(|r| retry_after(r.retry_after.as_deref()?, now.unix));
        let pause = told.unwrap_or_default().max(backoff(tries, now.random));
        self.count_failure(&flight.host, &outcome);
        let host = self.host(&flight.host);
        host.is_failing = true;
        if !host.took || told.is_some() {
            // One that never answered well, or asks for time, is not sent everything else meanwhile.
            host.pace.hold(now.ms + pause.min(IMAGE_LIMIT).as_millis() as u64);
        }
        self.put_off(ask, flight, outcome, tries, pause);
    }

    pub(super) fn attempts(&mut self, ask: &Ask) -> &mut Attempts {
        self.attempts.entry(ask.clone()).or_default()
    }

    /// Puts a question off, or ends it where it was tried often enough.
    pub(super) fn put_off(&mut self, ask: Ask, flight: Flight, outcome: Result<Response, Failure>, tries: u32, pause: Duration) {
        let left = self.clocks.entry(clock_of(&ask)).or_default().left(self.now.ms);
        if tries < TRIES && pause < left {
            self.retries += 1;
            return self.later.push((self.now.ms + pause.as_millis() as u64, ask));
        }
        let name = flight.host.clone();
        // A host that is only called like a Quay, or whose `/api/v1` is out of order, may serve `/v2/` all the same, which is all that crane
        // and skopeo ask for; a page could not read that.
        let is_out_of_order = matches!(&outcome, Ok(response) if response.status >= 500);
        let (api, host) = (self.resolver.settings().api, self.host(&name));
        if is_out_of_order
            && api == Api::Auto
            && host.dialect == Dialect::Quay
            && !host.is_sure
            && self.client.caller == Caller::Native
        {
            return self.switch(&name, Dialect::Distribution);
        }
        if self.client.caller == Caller::Browser && outcome == Err(Failure::Timeout) && !self.host(&name).answered {
            let (page, endpoint) = (self.client.page.clone(), self.endpoint(&name));
            let cause = diagnosis::silence(&page, &endpoint);
            let trouble = cause.trouble(&name, &endpoint);
            self.host(&name).cause = Some(cause);
            self.give_up(&name, trouble.clone());
            return self.learn(ask, Err(trouble));
        }
        self.record(ask.clone(), flight, outcome);
        // Where nothing was answered so far, the host itself may be down.
        if !self.host(&name).took
            && let Some(Err(trouble)) = self.facts.answers.get(&ask).cloned()
        {
            self.check(&name, trouble);
        }
    }

    /// Counts a request that failed. Where one after the other does, it is the host's trouble, or that of a few repositories alone.
    pub(super) fn count_failure(&mut self, name: &str, outcome: &Result<Response, Failure>) {
        let host = self.host(name);
        host.failures += 1;
        if host.took && host.failures >= FAILURES {
            let trouble = trouble_of(outcome);
            self.check(name, trouble);
        }
    }

    /// Asks whether a host answers anything well, by a question that is about no repository: some that fail must not take all others of
    /// their host with them. Meanwhile nothing else is sent there.
    pub(super) fn check(&mut self, name: &str, trouble: Trouble) {
        let (now, endpoint) = (self.now.ms, self.endpoint(name));
        // What is left is ended by its own tries.
        let Some(open) = self.waiting.keys().find(|ask| ask.host() == name && ask.repository().is_some()) else { return };
        let request = match (self.hosts.get(name).map(|host| host.dialect), open.repository()) {
            (Some(Dialect::Quay), Some(repository)) => quay::list_request(&endpoint, quay::split(repository).0),
            _ => Request::get(format!("{endpoint}/v2/"), BODY_LIMIT),
        };
        let host = self.host(name);
        let was_checked = host.checked_at.is_some_and(|at| now < at + CHECK_AGAIN);
        if was_checked || host.verdict.is_some() || std::mem::replace(&mut host.is_probing, true) {
            return;
        }
        host.checked_at = Some(now);
        // One that never answered asked for no pause.
        let due = if host.took { now + host.pace.pause(now).as_millis() as u64 } else { now };
        let purpose = Purpose::Check { trouble, tried: 0 };
        self.urgent_later.push((due, (purpose, name.to_owned(), request, PROBE_LIMIT)));
    }

    /// Takes what a host answered to [`check`](Self::check).
    pub(super) fn take_check(&mut self, trouble: Trouble, tried: u32, flight: &Flight, outcome: &Result<Response, Failure>) {
        let (name, now) = (&flight.host, self.now);
        let is_hidden = matches!(outcome, Err(Failure::Network(_))) && self.client.caller == Caller::Browser;
        if is_hidden && flight.request.method != Method::Probe {
            // It may answer, and keep that from the page.
            let request = Request { method: Method::Probe, ..Request::get(flight.request.url.clone(), 0) };
            return self.urgent.push_back((Purpose::Check { trouble, tried }, name.clone(), request, PROBE_LIMIT));
        }
        let (page, endpoint) = (self.client.page.clone(), self.endpoint(name));
        let host = self.host(name);
        if host.verdict.is_some() {
            return self.release(name);
        }
        // Others may have been answered meanwhile.
        let is_answered = host.checked_at.is_some_and(|at| host.took_at > at);
        let is_hopeless = host.pace.is_hopeless(now.ms);
        if is_answered || outcome.is_ok() && !may_pass(outcome) && !is_hopeless {
            host.failures = 0;
            // Of what a page cannot see nothing more is known than that something answers.
            if !is_answered && flight.request.method != Method::Probe {
                host.took = true;
                host.took_at = now.ms;
                host.taken += OTHERS;
            }
            return self.release(name);
        }
        // It may refuse everybody for a while.
        let told = outcome.as_ref().ok().and_then(|r| retry_after(r.retry_after.as_deref()?, now.unix));
        let is_limit = matches!(outcome, Ok(r) if r.status == 429 || r.status == 503 && host.took);
        if is_limit && !is_hopeless && told.is_none_or(|told| told < IMAGE_LIMIT) {
            host.pace.refused(flight.sent, now.ms, told, now.random);
            return self.release(name);
        }
        // One that has answered before may only be started again.
        if host.took && tried + 1 < TRIES && !is_limit && !is_hopeless && *outcome != Err(Failure::Offline) {
            let due = now.ms + backoff(tried + 1, now.random).as_millis() as u64;
            let request = match flight.request.method {
                Method::Probe => Request::get(flight.request.url.clone(), BODY_LIMIT),
                _ => flight.request.clone(),
            };
            let again = (Purpose::Check { trouble, tried: tried + 1 }, name.clone(), request, PROBE_LIMIT);
            return self.urgent_later.push((due, again));
        }
        let cause = match outcome {
            Err(Failure::Offline) => Some(Cause::Offline),
            Err(_) if self.client.caller == Caller::Browser => Some(diagnosis::silence(&page, &endpoint)),
            _ => None,
        };
        let trouble = cause.as_ref().map_or(trouble, |cause| cause.trouble(name, &endpoint));
        self.host(name).cause = cause;
        self.give_up(name, trouble);
        self.release(name);
    }

    /// Lets a host's questions go on after it was probed.
    pub(super) fn release(&mut self, name: &str) {
        self.host(name).is_probing = false;
        let (own, others) = std::mem::take(&mut self.held_back).into_iter().partition(|ask| ask.host() == name);
        self.held_back = others;
        let own: Vec<Ask> = own;
        own.into_iter().for_each(|ask| self.put_back(ask));
    }

    /// Asks a host no more, for this reason.
    pub(super) fn give_up(&mut self, name: &str, trouble: Trouble) {
        self.host(name).verdict = Some(trouble.clone());
        let open: Vec<Ask> = self.waiting.keys().filter(|ask| ask.host() == name).cloned().collect();
        let flying: HashSet<Ask> = self.flying.values().filter_map(|f| asked(&f.purpose)).collect();
        for ask in open.into_iter().filter(|ask| !flying.contains(ask)) {
            self.learn(ask, Err(trouble.clone()));
        }
        self.settle_verdicts();
    }

    /// Ends what was asked meanwhile of hosts that are given up.
    pub(super) fn settle_verdicts(&mut self) {
        while let Some(i) = self.queue.iter().position(|ask| self.hosts.get(ask.host()).is_some_and(|h| h.verdict.is_some())) {
            let Some(ask) = self.queue.remove(i) else { return };
            let verdict = self.hosts.get(ask.host()).and_then(|h| h.verdict.clone());
            if let Some(trouble) = verdict {
                self.learn(ask, Err(trouble));
            }
        }
    }
}
