//! When channels were promoted, and what was rolled back.
//!
//! Two kinds of witnesses: registries (or snapshots kept over time) report the history of each image's tag, DLRN reports each promotion. Moves
//! of several images to the same hash are one promotion; an image that is set to the hash for which it stands already has not moved
//! (Quay notes every push), and one that comes there later than the others is a straggler of that promotion. A hash to which an image
//! comes a second time is a roll-back: a promoter that moves a tag back does it by pushing, which no registry marks.
//!
//! A build that leaves an image as it was gives its digest a second hash, so that such an image does not report which of them was
//! promoted: it goes with the others that moved with it. So does one whose hash no tag names any more.

use crate::engine::time::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::engine::board::{Grid, Known, Stage};
use crate::engine::image::reference::Repository;
use crate::engine::image::tag::TagClass;
use crate::engine::pipeline::Pipeline;
use crate::engine::registry::query::TagPeriod;
use crate::engine::registry::{Answer, Query};
use crate::engine::resolve::{Facts, Row};
use crate::engine::template::plan::Plan;

/// How many images of a channel are asked for their history: they are promoted together.
const WITNESSES: usize = 3;
/// Components that DLRN promotes within this time are one promotion.
const ONE: Duration = Duration::from_secs(60);
/// DLRN and the registry report the same promotion if not more than this time is between.
const SAME: Duration = Duration::from_secs(24 * 3600);
/// A promotion, image by image, pauses no longer than this.
const PAUSE: Duration = Duration::from_secs(3600);

/// A channel was moved to a hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The channel.
    pub channel: String,
    /// The hash; where none is known, the digest of the first image that moved.
    pub hash: String,
    /// When the first image moved.
    pub first: Timestamp,
    /// When the last one did.
    pub last: Timestamp,
    /// How many images moved, of how many whose history is known; none where DLRN alone reports it.
    pub images: Option<(usize, usize)>,
    /// Their namespaces, which are promoted on their own; none where DLRN alone reports it.
    pub namespaces: BTreeSet<String>,
    /// Whether it pointed to that before.
    pub is_rollback: bool,
    /// Whether it may have come there earlier: of what was before no history holds anything, and what is the oldest may have been a push
    /// of what was there already.
    pub or_earlier: bool,
}

/// The promotions of all channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Newest first.
    pub events: Vec<Event>,
    /// Before that, nothing is known.
    pub horizon: Option<Timestamp>,
}

/// The questions whose answers a timeline is made of: a few images of each channel, or where it costs nothing, all. Only where the
/// host reports such things, and the image carries the channel.
pub fn queries(grid: &Grid, plan: &Plan, rows: &[Known], facts: &Facts, all: bool) -> Vec<Query> {
    let mut out = Vec::new();
    for (c, channel) in grid.channels.iter().enumerate() {
        let of = |(m, i): (usize, &usize)| {
            let reference = plan.images[*i].reference.as_ref().ok()?;
            let is_there = rows.get(m * grid.channels.len() + c)?.as_ref()?.digest.is_some();
            let is_reported = facts.capabilities(&reference.repository).has_tag_history;
            ((is_there || all) && is_reported && TagClass::of(channel) == TagClass::Moving)
                .then(|| Query::History { repository: reference.repository.clone(), tag: channel.clone() })
        };
        let asked = grid.members.iter().enumerate().filter_map(of);
        out.extend(asked.take(if all { usize::MAX } else { WITNESSES }));
    }
    out
}

impl Timeline {
    /// What `facts` and `pipeline` report about the channels of a board.
    pub fn new(grid: &Grid, plan: &Plan, rows: &[Known], facts: &Facts, pipeline: &Pipeline) -> Self {
        let mut out = Self::default();
        let of = |(m, i): (usize, &usize)| Some(Witness::new(m, &plan.images[*i].reference.as_ref().ok()?.repository, facts));
        let witnesses: Vec<Witness<'_>> = grid.members.iter().enumerate().filter_map(of).collect();
        for (c, channel) in grid.channels.iter().enumerate() {
            let mut moves: Vec<Move<'_>> = Vec::new();
            let mut known = 0;
            for witness in &witnesses {
                let Some(history) = witness.history(channel, facts) else { continue };
                let row = rows.get(witness.image * grid.channels.len() + c).and_then(Option::as_deref);
                known += 1;
                moves.extend(witness.moves(history, row));
                out.horizon = [out.horizon, witness.horizon(history, facts)].into_iter().flatten().min();
            }
            let mut events = promotions(channel, moves, known);
            add_reported(&mut events, reported_by_dlrn(channel, pipeline));
            let mut seen = BTreeSet::new();
            for event in &mut events {
                event.is_rollback = !seen.insert(event.hash.clone());
            }
            out.events.extend(events);
        }
        out.horizon = out.horizon.into_iter().chain(out.events.iter().map(|e| e.first)).min();
        out.events.sort_by(|a, b| (b.first, &a.channel).cmp(&(a.first, &b.channel)));
        out
    }

    /// The promotions of one channel, newest first.
    pub fn of<'a>(&'a self, channel: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |e| e.channel == channel)
    }

    /// Adds to the stages what only a history knows: since when, and how many promotions behind, and for how long.
    pub fn inform(&self, stages: &mut [Stage]) {
        for stage in stages.iter_mut() {
            // Of a torn channel the newest may be another one.
            let newest = self.of(&stage.channel).find(|e| Some(&e.hash) == stage.hash.as_ref());
            // A registry reports when a tag was pushed last, be it to what it pointed to already.
            stage.promoted_at = newest.map(|e| e.last);
            stage.or_earlier = newest.is_some_and(|e| e.or_earlier);
        }
        for c in 1..stages.len() {
            let (before, stage) = (stages[c - 1].clone(), &mut stages[c]);
            let Some(lag) = stage.lag.as_mut().filter(|lag| lag.differ > 0) else { continue };
            let of_hash = self.of(&before.channel).find(|e| Some(&e.hash) == stage.hash.as_ref());
            let Some(Event { namespaces, first, .. }) = of_hash else { continue };
            let is_of = |e: &&Event| namespaces.is_empty() || e.namespaces.is_empty() || !namespaces.is_disjoint(&e.namespaces);
            let later: Vec<Timestamp> =
                self.of(&before.channel).filter(is_of).map(|e| e.first).filter(|at| *at > *first).collect();
            lag.promotions = Some(later.len()).filter(|n| *n > 0);
            // Since the one before it left that hash.
            lag.since = later.last().copied();
        }
    }
}

/// An image whose tags have a history.
struct Witness<'a> {
    image: usize,
    repository: &'a Repository,
    namespace: String,
    names: Names<'a>,
}

impl<'a> Witness<'a> {
    fn new(image: usize, repository: &'a Repository, facts: &'a Facts) -> Self {
        Self { image, repository, namespace: repository.namespace(), names: Names::new(facts, repository) }
    }

    /// What its tag of a channel pointed to, newest first; none where that is not known.
    fn history(&self, channel: &str, facts: &'a Facts) -> Option<&'a [TagPeriod]> {
        let query = Query::History { repository: self.repository.clone(), tag: channel.to_owned() };
        match facts.answers.get(&query) {
            Some(Ok(Answer::History(history))) => Some(history),
            _ => None,
        }
    }

    /// The moves of its tag, oldest first. `row` is its cell.
    fn moves<'b>(&'b self, history: &'b [TagPeriod], row: Option<&'b Row>) -> impl Iterator<Item = Move<'b>> {
        let own = move |digest: &str| row.filter(|r| r.digest.as_deref() == Some(digest))?.hash.as_deref();
        history.iter().enumerate().rev().map(move |(i, period)| {
            let mut hashes = self.names.of(&period.digest, period.start);
            hashes.extend(period.hash.as_deref().filter(|hash| !hashes.contains(hash)));
            // What is there now the board has reported, of all images together.
            if let Some(own) = own(&period.digest).filter(|_| i == 0 || hashes.is_empty()) {
                hashes = vec![own];
            }
            let (image, namespace, at, digest) = (self.image, &*self.namespace, period.start, &*period.digest);
            Move { image, namespace, at, hashes, digest, is_oldest: i + 1 == history.len() }
        })
    }

    /// Since when its history is known.
    fn horizon(&self, history: &[TagPeriod], facts: &Facts) -> Option<Timestamp> {
        let kept_for = match facts.answers.get(&Query::Overview { repository: self.repository.clone() }) {
            Some(Ok(Answer::Overview(Ok(overview)))) => overview.kept_for,
            _ => None,
        };
        kept_for.map_or_else(|| history.last().map(|l| l.start), |s| Some(facts.asked_at - s))
    }
}

/// The hashes by which a repository still names digests, and when each tag was pushed.
struct Names<'a>(HashMap<&'a str, Vec<(&'a str, Option<Timestamp>)>>);

impl<'a> Names<'a> {
    fn new(facts: &'a Facts, repository: &Repository) -> Self {
        let mut out: HashMap<&str, Vec<(&str, Option<Timestamp>)>> = HashMap::new();
        for query in [Query::Overview { repository: repository.clone() }, Query::Tags { repository: repository.clone() }] {
            let Some(Ok(Answer::Overview(Ok(overview)))) = facts.answers.get(&query) else { continue };
            for (tag, active) in overview.tags.iter().filter(|(tag, _)| TagClass::of(tag).is_hash()) {
                let of = out.entry(&active.digest).or_default();
                if !of.iter().any(|(known, _)| known == tag) {
                    of.push((tag, active.moved_at));
                }
            }
        }
        // The one that was pushed last comes first.
        out.values_mut().for_each(|of| of.sort_by_key(|(tag, at)| (Reverse(*at), TagClass::of(tag), *tag)));
        Self(out)
    }

    /// Those that a digest had at a time, as far as that is reported: no channel is promoted to a build that is yet to come.
    fn of(&self, digest: &str, at: Timestamp) -> Vec<&'a str> {
        let all = self.0.get(digest).map_or(&[][..], Vec::as_slice);
        let then = all.iter().filter(|(_, pushed)| pushed.is_none_or(|pushed| pushed <= at + ONE));
        let then: Vec<&str> = then.map(|(tag, _)| *tag).collect();
        if then.is_empty() { all.iter().map(|(tag, _)| *tag).collect() } else { then }
    }
}

/// An image's tag was set to a digest.
struct Move<'a> {
    image: usize,
    namespace: &'a str,
    at: Timestamp,
    /// The hashes that the digest had then, the likeliest first.
    hashes: Vec<&'a str>,
    digest: &'a str,
    /// Whether nothing is known of what the tag pointed to before.
    is_oldest: bool,
}

/// The promotions that moves make up; `of` is the number of images whose moves are known.
fn promotions(channel: &str, mut moves: Vec<Move<'_>>, of: usize) -> Vec<Event> {
    moves.sort_by_key(|m| (m.at, m.image));
    let mut events: Vec<(Event, BTreeSet<usize>)> = Vec::new();
    // For which hash each image stands, and by which digest.
    let mut stands: HashMap<usize, (&str, &str)> = HashMap::new();
    // For which promotion a digest was taken that no tag names.
    let mut unnamed: HashMap<(usize, &str), &str> = HashMap::new();
    // The newest promotion of each hash.
    let mut latest: HashMap<&str, usize> = HashMap::new();
    for together in promotion_windows(&moves) {
        let mut votes: HashMap<&str, usize> = HashMap::new();
        together.iter().flat_map(|m| &m.hashes).for_each(|hash| *votes.entry(*hash).or_default() += 1);
        let are_all = together.len() == of;
        let mut to: BTreeMap<&str, Vec<&Move<'_>>> = BTreeMap::new();
        let mut without: BTreeMap<&str, Vec<&Move<'_>>> = BTreeMap::new();
        for m in together {
            // The one that most have; or what was promoted last, of which this may be a straggler; or the likeliest. Of equals the
            // last is taken.
            let likely = |hash: &&str| (votes[*hash], latest.get(*hash).copied().filter(|_| !are_all));
            match m.hashes.iter().copied().rev().max_by_key(likely) {
                Some(hash) if stands.get(&m.image).is_none_or(|(is, _)| *is != hash) => to.entry(hash).or_default().push(m),
                Some(hash) => _ = stands.insert(m.image, (hash, m.digest)),
                None => without.entry(m.namespace).or_default().push(m),
            }
        }
        for (namespace, mut moved) in without {
            let here = |who: &[&Move<'_>]| who.iter().filter(|m| m.namespace == namespace).count();
            let most = to.iter().map(|(hash, who)| (here(who), *hash)).max().filter(|(n, _)| *n > 0).map(|(_, hash)| hash);
            match most {
                Some(hash) => moved.retain(|m| stands.get(&m.image).is_none_or(|(is, _)| *is != hash)),
                None => moved.retain(|m| stands.get(&m.image).is_none_or(|(_, is)| *is != m.digest)),
            }
            let known = |m: &&Move<'_>| unnamed.get(&(m.image, m.digest)).copied();
            let (old, new): (Vec<_>, Vec<_>) = moved.into_iter().partition(|m| most.is_none() && known(m).is_some());
            // What is new goes with what is known, where that is more.
            let with = old.first().filter(|_| old.len() > new.len()).and_then(known);
            let name = most.or(with).or(new.first().map(|m| m.digest));
            let named: Vec<_> = old.iter().map(|m| (*m, known(m))).chain(new.iter().map(|m| (*m, name))).collect();
            for (m, hash) in named.into_iter().filter_map(|(m, hash)| Some((m, hash?))) {
                unnamed.insert((m.image, m.digest), hash);
                to.entry(hash).or_default().push(m);
            }
        }
        for (hash, moved) in to {
            let started = |hash: &str| latest.get(hash).map(|at| events[*at].0.first);
            let is_straggling = |at: &usize| {
                let (event, who) = &events[*at];
                // Who was there comes back, and so does what points to a later promotion.
                moved.iter().all(|m| {
                    let is_later = stands.get(&m.image).and_then(|(is, _)| started(is)).is_some_and(|at| at > event.first);
                    !who.contains(&m.image) && !is_later
                })
            };
            let at = latest.get(hash).copied().filter(is_straggling).unwrap_or_else(|| {
                let (first, last) = (moved[0].at, moved[0].at);
                let (channel, hash) = (channel.to_owned(), hash.to_owned());
                let event = Event { channel, hash, first, last, or_earlier: true, ..Event::default() };
                events.push((event, BTreeSet::new()));
                events.len() - 1
            });
            latest.insert(hash, at);
            stands.extend(moved.iter().map(|m| (m.image, (hash, m.digest))));
            let (event, who) = &mut events[at];
            for m in moved {
                who.insert(m.image);
                if !event.namespaces.contains(m.namespace) {
                    event.namespaces.insert(m.namespace.to_owned());
                }
                (event.first, event.last) = (event.first.min(m.at), event.last.max(m.at));
                event.or_earlier &= m.is_oldest;
            }
            event.images = Some((who.len(), of));
        }
    }
    events.into_iter().map(|(event, _)| event).collect()
}

/// The promotions of a channel that DLRN reports, oldest first.
fn reported_by_dlrn(channel: &str, pipeline: &Pipeline) -> Vec<Event> {
    let mut out: Vec<Event> = Vec::new();
    for p in pipeline.promotions.iter().filter(|p| p.channel == *channel).rev() {
        match out.last_mut() {
            // DLRN may have a row for each component of an aggregate, and promoted one by one each makes another aggregate.
            Some(last) if p.at.abs_diff(last.last) <= ONE => {
                last.hash.clone_from(&p.hash);
                last.last = p.at;
            }
            _ => {
                let (channel, hash) = (channel.to_owned(), p.hash.clone());
                out.push(Event { channel, hash, first: p.at, last: p.at, ..Event::default() });
            }
        }
    }
    // What stands there already is not promoted by being promoted again.
    out.dedup_by(|again, event| again.hash == event.hash);
    out
}

/// Adds what DLRN reports to what the registry does, each promotion once, oldest first.
fn add_reported(events: &mut Vec<Event>, mut reported: Vec<Event>) {
    reported.retain(|t| match events.iter_mut().find(|e| e.hash == t.hash && e.first.abs_diff(t.first) <= SAME) {
        Some(event) => {
            // DLRN knows when it was, where the registry may only know when it was pushed again.
            if std::mem::take(&mut event.or_earlier) {
                (event.first, event.last) = (event.first.min(t.first), event.last.min(t.last));
            }
            false
        }
        None => true,
    });
    events.extend(reported);
    events.sort_by_key(|e| e.first);
    events.dedup_by(|again, event| {
        let is_one = again.images.is_none_or(|_| event.images.is_none()) && again.hash == event.hash;
        if is_one && event.images.is_none() {
            // DLRN reported it first, and the registry its images; but what may be a push of what was there is not a part of it.
            if !again.or_earlier {
                event.last = again.last;
            }
            (event.images, event.namespaces) = (again.images, std::mem::take(&mut again.namespaces));
        }
        is_one
    });
}

/// Moves that may be one promotion: without a longer pause, and of each image one; to be set to the same digest, by
/// no other name, again is none.
fn promotion_windows<'a, 'b>(moves: &'b [Move<'a>]) -> Vec<Vec<&'b Move<'a>>> {
    let mut out: Vec<Vec<&Move<'a>>> = Vec::new();
    let mut who: HashMap<usize, &Move<'a>> = HashMap::new();
    let mut last = None;
    for m in moves {
        let has_paused = last.replace(m.at).is_none_or(|last| m.at.since(last) > PAUSE);
        if has_paused || who.get(&m.image).is_some_and(|one| (one.digest, &one.hashes) != (m.digest, &m.hashes)) {
            out.push(Vec::new());
            who.clear();
        }
        if who.insert(m.image, m).is_none()
            && let Some(spell) = out.last_mut()
        {
            spell.push(m);
        }
    }
    out
}
