//! What tags pointed to before: carried on from one snapshot to the next.

use crate::engine::image::digest::Digest;
use crate::engine::time::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::{Kept, PERIODS, Snapshot};
use crate::engine::image::tag::TagClass;
use crate::engine::registry::query::TagPeriod;

/// Lives of all tags together: some 5 MB of a file of which nobody reads more than
/// [`LIST_LIMIT`](crate::engine::registry::http::LIST_LIMIT).
const ALL_PERIODS: usize = 30_000;

/// How many images point to it, by tag and hash.
type Shares<'a> = HashMap<(&'a str, &'a str), usize>;

impl Snapshot {
    /// Carries on what `older` knew of what the tags that move pointed to before, and notes what moved since: registries that keep no
    /// history have one that way, as fine as snapshots are taken.
    pub fn extend_history(&mut self, older: &Self) {
        let mut histories = Vec::new();
        let (own_shares, old_shares) = (self.shares(), older.shares());
        for (name, kept) in &self.repositories {
            let Some(old) = older.repositories.get(name) else { continue };
            let (own, old) = (
                Seen { kept, fetched: self.fetched, shares: &own_shares },
                Seen { kept: old, fetched: older.fetched, shares: &old_shares },
            );
            for tag in own.moving().chain(old.moving()).chain(old.kept.history.keys()).collect::<BTreeSet<_>>() {
                let mut periods = kept.history.get(tag).cloned().unwrap_or_default();
                let before = old.history(tag);
                match periods.last().map(|oldest| oldest.start) {
                    Some(oldest) => {
                        for period in &mut periods {
                            let same = before.iter().find(|l| l.digest == period.digest).and_then(|l| l.hash.clone());
                            period.hash = own.hash(tag, &period.digest, period.start).or(same);
                        }
                        periods.extend(before.into_iter().filter(|l| l.start < oldest));
                    }
                    None => {
                        periods = before;
                        own.note(tag, &mut periods);
                    }
                }
                histories.push((name.clone(), tag.clone(), periods));
            }
        }
        for (name, tag, periods) in histories {
            if let Some(kept) = self.repositories.get_mut(&name).filter(|_| !periods.is_empty()) {
                kept.history.insert(tag, periods);
            }
        }
        self.cut_lives();
    }

    /// Forgets the oldest lives of tags where there are more than anybody reads.
    pub(super) fn cut_lives(&mut self) {
        let all: usize = self.repositories.values().map(|kept| kept.history.len()).sum();
        let most = PERIODS.min(ALL_PERIODS / all.max(1)).max(1);
        self.repositories.values_mut().flat_map(|kept| kept.history.values_mut()).for_each(|periods| periods.truncate(most));
    }

    /// How many images stand, at each tag that moves, for each hash.
    fn shares(&self) -> Shares<'_> {
        let mut out = Shares::new();
        for kept in self.repositories.values() {
            for (tag, digest) in kept.tags.iter().filter(|(tag, _)| TagClass::of(tag) == TagClass::Moving) {
                for hash in digest.iter().flat_map(|digest| kept.hashes(digest)) {
                    *out.entry((tag, hash)).or_default() += 1;
                }
            }
        }
        out
    }
}

/// How much later than the tag itself a hash of its digest may have been pushed.
const LATER: Duration = Duration::from_secs(60);

/// A repository as a snapshot has seen it.
struct Seen<'a> {
    kept: &'a Kept,
    /// When.
    fetched: Timestamp,
    shares: &'a Shares<'a>,
}

impl<'a> Seen<'a> {
    fn moving(&self) -> impl Iterator<Item = &'a String> {
        self.kept.tags.keys().filter(|t| TagClass::of(t) == TagClass::Moving)
    }

    /// The hash of a digest to which a tag pointed from `start` on: of several, the one that most images of the tag have, and none that
    /// the digest got later.
    fn hash(&self, tag: &str, digest: &str, start: Timestamp) -> Option<String> {
        let share = |hash: &&str| (self.shares.get(&(tag, *hash)).copied(), Reverse((TagClass::of(hash), hash.to_string())));
        let is_then = |hash: &&str| self.kept.moved.get(*hash).is_none_or(|at| *at <= start + LATER);
        let named = self.kept.hashes(digest);
        named.clone().filter(is_then).max_by_key(share).or(named.max_by_key(share)).map(str::to_owned)
    }

    /// That a tag points to this digest, since when it is known to, and not before `least`.
    fn period(&self, tag: &str, digest: &Digest, least: Timestamp) -> TagPeriod {
        let start = self.kept.moved.get(tag).copied().unwrap_or(self.fetched).max(least);
        TagPeriod { start, end: None, hash: self.hash(tag, digest, start), digest: digest.clone() }
    }

    /// The history of a tag, or at least what it points to.
    fn history(&self, tag: &str) -> Vec<TagPeriod> {
        let seen =
            || self.kept.tags.get(tag).into_iter().flatten().map(|digest| self.period(tag, digest, Timestamp(0))).collect();
        self.kept.history.get(tag).cloned().unwrap_or_else(seen)
    }

    /// Notes in the history of a tag what it points to now.
    fn note(&self, tag: &str, periods: &mut Vec<TagPeriod>) {
        let is_open = |l: &TagPeriod, digest: &Digest| l.end.is_none() && l.digest == *digest;
        match self.kept.tags.get(tag) {
            Some(Some(digest)) if periods.first().is_some_and(|l| is_open(l, digest)) => {}
            Some(now) => {
                // Clocks differ; what is newer does not begin earlier.
                let least = periods.first().map_or(Timestamp(0), |period| period.start);
                if let Some(period) = periods.first_mut().filter(|l| l.end.is_none()) {
                    period.end = Some(self.fetched);
                }
                periods.splice(0..0, now.as_ref().map(|digest| self.period(tag, digest, least)));
            }
            // Not known now: it is as it was, as far as anybody knows.
            None => {}
        }
    }
}
