//! What a failed request means: try again, slow down, or give the query or its host up.

use super::answer::{Decision, HostDecision, Judgement, Outcome, error_of, unexplained};
use super::budget::OVERLOAD_TRIES;
use super::diagnosis::{self, Cause, FailureEvidence};
use super::host::{FAILURES, OTHERS};
use super::{Flight, Purpose, Run};
use crate::engine::registry::http::{Failure, IMAGE_LIMIT, TRIES, backoff, retry_after};
use crate::engine::registry::{self, Caller, Dialect, Query, RegistryError};
use std::time::Duration;

impl Run {
    /// Works out why a browser could not read a host.
    pub(super) fn diagnose(&mut self, query: &Query, flight: &Flight, offline: bool) -> Judgement {
        let is_probe = matches!(flight.purpose, Purpose::Probe);
        let attempts = self.budget.attempts(query);
        attempts.failed += u32::from(!is_probe);
        let (tries, page, endpoint, now) = (attempts.failed, self.client.page.clone(), self.endpoint(&flight.host), self.now);
        let host = self.host(&flight.host);
        host.contact.is_failing = true;
        let limits_host = host.api.dialect.capabilities.limits_host;
        let evidence = FailureEvidence {
            page: &page,
            url: if is_probe { &endpoint } else { &flight.request.url },
            needs_preflight: flight.request.needs_preflight(),
            offline,
            answered: host.contact.answered,
            answered_preflighted: host.contact.answered_preflighted,
            tries,
            patience: if limits_host { TRIES - 1 } else { 2 },
            probed: host.probe.answered,
        };
        match diagnosis::diagnose(evidence) {
            diagnosis::Next::Verdict(cause) => {
                let error = cause.error(&flight.host, &endpoint);
                // What needs no login may still be read.
                let is_all = cause != Cause::PreflightRefused || !host.contact.has_succeeded;
                host.cause = Some(cause);
                let about_host = if is_all { HostDecision::GiveUp(error.clone()) } else { HostDecision::Keep };
                (Decision::GiveUp(error), about_host)
            }
            // Where nothing else passes either, the line is dead rather than the host overloaded; but where a page cannot read
            // a 429, that is how it sees one.
            diagnosis::Next::Slow if limits_host || host.contact.last_success > flight.sent => {
                self.judge_overload(query, flight, &Err(unexplained()), None)
            }
            diagnosis::Next::Slow => {
                host.rate_limit.rate_limited(flight.sent, now.ms, None, now.random);
                let failure = Err(unexplained());
                let counted = self.count_failure(&flight.host, &failure);
                let (decision, about_host) = self.retry_or_end(query, flight, &failure, tries, backoff(tries, now.random));
                let check = if tries > 1 { HostDecision::Check(error_of(&failure)) } else { counted };
                (decision, check.or(about_host))
            }
            diagnosis::Next::Retry => {
                // One that never answered is not sent everything else meanwhile.
                let pause = backoff(tries, now.random);
                host.rate_limit.hold(now.ms + pause);
                self.retry_or_end(query, flight, &Err(unexplained()), tries, pause)
            }
            diagnosis::Next::Probe => match (host.api.next(), query.repository()) {
                (Some(other), Some(repository)) => {
                    host.api.others_tried += 1;
                    Decision::DetectApi(other, (other.detect)(&endpoint, repository)).into()
                }
                _ => Decision::Probe.into(),
            },
        }
    }

    /// Decides what "too many requests" means: the host is left alone for a while, and this query goes first then. Where others succeed
    /// and this one is refused again and again, the trouble is its own, and the others do not wait for it.
    pub(super) fn judge_rate_limit(
        &mut self,
        query: &Query,
        flight: &Flight,
        outcome: &Outcome,
        reported: Option<Duration>,
    ) -> Judgement {
        let (now, name) = (self.now, &flight.host);
        let left = self.budget.left(query, now.ms);
        let error = error_of(outcome);
        if let Some(reported) = reported.filter(|reported| *reported >= IMAGE_LIMIT) {
            return self.judge_long_wait(flight, outcome, reported);
        }
        let successes = self.host(name).contact.successes;
        let attempts = self.budget.attempts(query);
        if attempts.limited == 0 {
            attempts.others_before = successes;
        }
        attempts.limited += 1;
        let (times, others) = (attempts.limited, successes - attempts.others_before);
        let host = self.host(name);
        if others >= OTHERS && times > 2 {
            let pause = backoff(times, now.random).max(reported.unwrap_or_default());
            let decision = if pause >= left { Decision::Record } else { Decision::RetryAt(now.ms + pause) };
            return decision.into();
        }
        host.rate_limit.rate_limited(flight.sent, now.ms, reported, now.random);
        let (is_hopeless, pause) = (host.rate_limit.is_hopeless(now.ms), host.rate_limit.pause(now.ms));
        let limits_host = host.api.dialect.capabilities.limits_host;
        let decision = if is_hopeless {
            Decision::GiveUp(error.clone())
        } else if reported.unwrap_or(pause) >= left {
            Decision::Record
        } else {
            Decision::Retry
        };
        let is_other = |other: &Query| other.host() == *name && other.repository() != query.repository();
        let about_host = match limits_host {
            // Its limit is one for all queries.
            true if is_hopeless => HostDecision::GiveUp(error),
            true => HostDecision::Keep,
            false if is_hopeless => HostDecision::Check(error),
            false if times > 2 && self.rows.wanted().any(is_other) => HostDecision::Check(error),
            false => HostDecision::Keep,
        };
        (decision, about_host)
    }

    /// Decides what "too many requests" means where the host says to wait longer than an image may take.
    fn judge_long_wait(&mut self, flight: &Flight, outcome: &Outcome, reported: Duration) -> Judgement {
        let (name, status) = (&flight.host, outcome.as_ref().map_or(429, |r| r.status));
        let message = format!("rate limited by {name} for {} s ({status})", reported.as_secs());
        let error = RegistryError { message, hint: "retry after that time".to_owned() };
        let contact = &mut self.host(name).contact;
        contact.long_waits += 1;
        let about_host = if contact.long_waits >= 2 * FAILURES {
            HostDecision::GiveUp(error.clone())
        } else if contact.last_success <= flight.sent {
            HostDecision::Check(error.clone())
        } else {
            HostDecision::Keep
        };
        (Decision::GiveUp(error), about_host)
    }

    /// Decides what is overload, most likely. Where it happens to one query again and again while others succeed, the trouble is its
    /// own, and the others do not wait for it.
    fn judge_overload(&mut self, query: &Query, flight: &Flight, outcome: &Outcome, reported: Option<Duration>) -> Judgement {
        let now = self.now;
        let attempts = self.budget.attempts(query);
        let tries = attempts.failed;
        let Some(first) = attempts.overloaded_at else {
            attempts.overloaded_at = Some(now.ms);
            return self.judge_rate_limit(query, flight, outcome, reported);
        };
        let host = self.host(&flight.host);
        let others_pass = host.contact.last_success > first;
        if !others_pass || tries < TRIES {
            host.rate_limit.rate_limited(flight.sent, now.ms, reported, now.random);
            if host.rate_limit.is_hopeless(now.ms) {
                return self.judge_rate_limit(query, flight, outcome, reported);
            }
        }
        let limits_host = host.api.dialect.capabilities.limits_host;
        // Behind the others, to see whether they pass.
        let pause = host.rate_limit.pause(now.ms) + backoff(tries, now.random);
        if others_pass && tries >= OVERLOAD_TRIES || pause >= self.budget.left(query, now.ms) {
            return Decision::Record.into();
        }
        let check = !others_pass && tries > 1 && !limits_host;
        let about_host = if check { HostDecision::Check(error_of(outcome)) } else { HostDecision::Keep };
        (Decision::RetryAt(now.ms + pause), about_host)
    }

    /// Decides what a failure means that may pass by itself.
    pub(super) fn judge_transient(&mut self, query: &Query, flight: &Flight, outcome: &Outcome) -> Judgement {
        let now = self.now;
        if let Ok(response) = outcome
            && response.status == 503
            && self.host(&flight.host).contact.has_succeeded
            && registry::error::error_code(response).as_deref() != Some("UNAVAILABLE")
        {
            // Overload by another name: nginx's default status for it.
            let reported = response.retry_after.as_deref().and_then(|text| retry_after(text, now.unix));
            self.budget.attempts(query).failed += 1;
            return self.judge_overload(query, flight, outcome, reported);
        }
        let attempts = self.budget.attempts(query);
        attempts.failed += 1;
        let tries = attempts.failed;
        let reported = outcome.as_ref().ok().and_then(|r| retry_after(r.retry_after.as_deref()?, now.unix));
        let pause = reported.unwrap_or_default().max(backoff(tries, now.random));
        let counted = self.count_failure(&flight.host, outcome);
        let host = self.host(&flight.host);
        host.contact.is_failing = true;
        if !host.contact.has_succeeded || reported.is_some() {
            // One that never answered well, or asks for time, is not sent everything else meanwhile.
            host.rate_limit.hold(now.ms + pause.min(IMAGE_LIMIT));
        }
        let (decision, about_host) = self.retry_or_end(query, flight, outcome, tries, pause);
        (decision, counted.or(about_host))
    }

    /// Retries a query later, or ends it where it was tried often enough.
    fn retry_or_end(&mut self, query: &Query, flight: &Flight, outcome: &Outcome, tries: u32, pause: Duration) -> Judgement {
        if tries < TRIES && pause < self.budget.left(query, self.now.ms) {
            return Decision::RetryAt(self.now.ms + pause).into();
        }
        // A host that only has the name of one with an API of its own, or whose own API is out of order, may serve `/v2/` all the same,
        // which is all that crane and skopeo need; a page could not read that.
        let is_out_of_order = matches!(outcome, Ok(response) if response.status >= 500);
        let (name, caller, chosen) = (&flight.host, self.client.caller, self.resolver.settings().api);
        let host = self.host(name);
        let is_guess = host.api.dialect != Dialect::COMMON && !host.api.is_sure;
        if is_out_of_order && chosen.is_none() && is_guess && caller == Caller::Native {
            return Decision::Switch(Dialect::COMMON).into();
        }
        if caller == Caller::Browser && *outcome == Err(Failure::Timeout) && !host.contact.answered {
            let endpoint = self.endpoint(name);
            let cause = diagnosis::silence(&self.client.page, &endpoint);
            let error = cause.error(name, &endpoint);
            self.host(name).cause = Some(cause);
            return (Decision::GiveUp(error.clone()), HostDecision::GiveUp(error));
        }
        // Where nothing was answered so far, the host itself may be down.
        let about_host = if host.contact.has_succeeded { HostDecision::Keep } else { HostDecision::CheckIfFailed };
        (Decision::Record, about_host)
    }

    /// Counts a request that failed. Where one after the other does, it is the host's trouble, or that of a few repositories alone.
    fn count_failure(&mut self, name: &str, outcome: &Outcome) -> HostDecision {
        let contact = &mut self.host(name).contact;
        contact.failures += 1;
        match contact.has_succeeded && contact.failures >= FAILURES {
            true => HostDecision::Check(error_of(outcome)),
            false => HostDecision::Keep,
        }
    }
}

impl HostDecision {
    /// The one that does more; this one, where both check the host.
    fn or(self, other: Self) -> Self {
        if matches!((&self, &other), (Self::Keep, _) | (_, Self::GiveUp(_))) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn giving_up_host_outweighs_checking_it() {
        let error = || RegistryError { message: "no response".to_owned(), hint: "retry".to_owned() };
        let check = || HostDecision::Check(error());
        assert!(matches!(check().or(HostDecision::GiveUp(error())), HostDecision::GiveUp(_)));
        assert!(matches!(check().or(HostDecision::CheckIfFailed), HostDecision::Check(_)));
        assert!(matches!(HostDecision::Keep.or(check()), HostDecision::Check(_)));
    }
}
