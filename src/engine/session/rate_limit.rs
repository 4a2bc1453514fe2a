//! How many requests a host is sent at once, and how fast: as many as it takes, and fewer from the moment it says "too many".
//!
//! Additive increase, multiplicative decrease, as TCP does it: the number in flight doubles with every round that goes well until the
//! host first refuses, is halved at each refusal, and then grows by one a round. Where even one after the other is too fast, a gap
//! is kept between them.

use crate::engine::time::Millis;
use std::time::Duration;

/// The rate at which a host is queried.
#[derive(Clone, Debug)]
pub struct RateLimit {
    limit: f64,
    cap: f64,
    in_flight: usize,
    was_cut: bool,
    cut_at: Millis,
    gap: f64,
    sent_at: Millis,
    paused_until: Millis,
    in_a_row: u32,
    refused_since: Option<Millis>,
}

/// The shortest wait after a refusal that does not say how long.
const FIRST: f64 = 1000.0;
/// The longest.
const LONGEST: f64 = 8000.0;
/// A host that takes nothing for so long is given up.
const GIVE_UP: Duration = Duration::from_secs(60);

impl RateLimit {
    /// So many at once to begin with, and so many at most.
    pub fn new(start: usize, cap: usize) -> Self {
        Self {
            limit: start as f64,
            cap: cap as f64,
            in_flight: 0,
            was_cut: false,
            cut_at: Millis(0),
            gap: 0.0,
            sent_at: Millis(0),
            paused_until: Millis(0),
            in_a_row: 0,
            refused_since: None,
        }
    }

    /// When a request may be sent; none while as many are under way as may be.
    pub fn when(&self, now: Millis) -> Option<Millis> {
        let free = (self.in_flight as f64) < self.limit.max(1.0).floor();
        let due = if self.gap >= 1.0 { self.sent_at + Duration::from_millis(self.gap as u64) } else { Millis(0) };
        free.then(|| self.paused_until.max(due).max(now))
    }

    /// How many are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// A request was sent.
    pub fn sent(&mut self, now: Millis) {
        self.in_flight += 1;
        self.sent_at = now;
    }

    /// A request ended, however.
    pub fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The host took a request.
    pub fn succeeded(&mut self) {
        match self.gap {
            0.0 => self.limit = (self.limit + if self.was_cut { 1.0 / self.limit.max(1.0) } else { 1.0 }).min(self.cap),
            gap => self.gap = if gap < 5.0 { 0.0 } else { gap * 0.985 },
        }
        self.in_a_row = 0;
        self.refused_since = None;
    }

    /// The host refused a request that was sent at `sent`, and said how long to wait, or not.
    pub fn rate_limited(&mut self, sent: Millis, now: Millis, reported: Option<Duration>, random: f64) {
        self.refused_since.get_or_insert(now);
        // A refusal of a request that was sent before the first one adds no information.
        if self.was_cut && sent < self.cut_at {
            return;
        }
        // One that says how long to wait makes every further refusal dear.
        self.limit = if reported.is_some_and(|t| t > Duration::from_secs(1)) { 1.0 } else { (self.limit / 2.0).max(1.0) };
        if self.limit < 2.0 {
            self.gap = (self.gap * 1.5).clamp(if reported.is_some() { 100.0 } else { 50.0 }, 2000.0);
        }
        self.was_cut = true;
        self.cut_at = now + Duration::from_millis(1);
        let own = (FIRST * f64::from(1 << self.in_a_row.min(4))).min(LONGEST) * (0.5 + random / 2.0);
        self.in_a_row += 1;
        let pause = reported.unwrap_or(Duration::from_millis(own as u64));
        self.paused_until = self.paused_until.max(now + pause);
    }

    /// Nothing is under way any more.
    pub fn forget(&mut self) {
        self.in_flight = 0;
    }

    /// Leaves the host alone until then.
    pub fn hold(&mut self, until: Millis) {
        self.paused_until = self.paused_until.max(until);
    }

    /// How long the host is still left alone.
    pub fn pause(&self, now: Millis) -> Duration {
        self.paused_until.since(now)
    }

    /// Whether the host has refused everything for so long that it is given up.
    pub fn is_hopeless(&self, now: Millis) -> bool {
        self.refused_since.is_some_and(|since| now.since(since) >= GIVE_UP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets `requests` through a bucket of so many a second; returns milliseconds and refusals. An answer takes 10 ms.
    fn through(requests: usize, per_second: f64, burst: f64, reported: Option<Duration>) -> (u64, usize) {
        let mut rate_limit = RateLimit::new(32, 64);
        let (mut now, mut done, mut refusals, mut bucket) = (0_u64, 0, 0, burst.max(1.0));
        let mut in_flight: Vec<(u64, bool)> = Vec::new();
        while done < requests {
            for (sent, successes) in std::mem::take(&mut in_flight) {
                if sent + 10 > now {
                    in_flight.push((sent, successes));
                    continue;
                }
                rate_limit.ended();
                if successes {
                    rate_limit.succeeded();
                    done += 1;
                } else {
                    rate_limit.rate_limited(Millis(sent), Millis(now), reported, 0.5);
                    refusals += 1;
                }
            }
            while done + in_flight.len() < requests && rate_limit.when(Millis(now)) == Some(Millis(now)) {
                let successes = bucket >= 1.0;
                bucket -= f64::from(u8::from(successes));
                rate_limit.sent(Millis(now));
                in_flight.push((now, successes));
                if rate_limit.gap >= 1.0 {
                    break;
                }
            }
            now += 1;
            bucket = (bucket + per_second / 1000.0).min(burst.max(1.0));
            assert!(now < 1_000_000 && !rate_limit.is_hopeless(Millis(now)), "{done} of {requests}");
        }
        (now, refusals)
    }

    #[test]
    fn rate_limit_adapts_to_host_speed() {
        assert_eq!(through(300, 1e9, 1e9, None).1, 0);
        assert!(through(300, 1e9, 1e9, None).0 < 200);
        for (burst, reported) in [(1.0, None), (25.0, None), (5.0, Some(Duration::from_secs(1)))] {
            let (took, refusals) = through(300, 5.0, burst, reported);
            assert!(took < 110_000, "burst {burst}: {took} ms for what takes 60 s at best");
            assert!(refusals < 150, "burst {burst}: {refusals} refusals");
        }
    }

    #[test]
    fn host_refusing_everything_is_given_up() {
        let mut rate_limit = RateLimit::new(6, 12);
        rate_limit.rate_limited(Millis(0), Millis(0), None, 0.0);
        assert!(!rate_limit.is_hopeless(Millis(59_999)) && rate_limit.is_hopeless(Millis(60_000)));
        rate_limit.succeeded();
        assert!(!rate_limit.is_hopeless(Millis(90_000)));
    }
}
