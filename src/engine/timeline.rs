//! When channels were promoted, and what was rolled back.
//!
//! Two kinds of witnesses: registries (or snapshots kept over time) tell the lives of each image's tag, DLRN tells each promotion. Moves
//! of several images to the same hash are one promotion, and a hash that is promoted again where it stands is none at all (Quay notes
//! every push). A hash that a channel stood for before, and stands for again after another, is a roll-back: a promoter that moves a tag
//! back does it by pushing, which no registry marks.
//!
//! A build that leaves an image as it was gives its digest a second hash, so that such an image does not tell which of them was
//! promoted: it goes with the others. So does one whose hash no tag names any more.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::board::{Grid, Known, Stage};
use super::dlrn::Pipeline;
use super::name::{Reference, Repository, TagClass};
use super::plan::Plan;
use super::registry::{Answer, Ask};
use super::resolve::Facts;

/// How many images of a channel are asked for their history: they are promoted together.
const WITNESSES: usize = 3;
/// Components that DLRN promotes within so many seconds are one promotion.
const ONE: u64 = 60;
/// DLRN and the registry tell of the same promotion, and so do images of no known hash, if not more than so many seconds are between.
const SAME: u64 = 24 * 3600;
/// A promotion, image by image, pauses no longer than so many seconds.
const PAUSE: u64 = 3600;

/// A channel came to stand for a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The channel.
    pub channel: String,
    /// The hash; where none is known, the digest of the first image that moved.
    pub hash: String,
    /// When the first image moved, seconds since 1970.
    pub first: u64,
    /// When the last one did.
    pub last: u64,
    /// How many images moved, of how many whose history is known; none where DLRN alone tells of it.
    pub images: Option<(usize, usize)>,
    /// Whether it stood for that before.
    pub is_rollback: bool,
}

/// The promotions of all channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Newest first.
    pub events: Vec<Event>,
    /// Before that, in seconds since 1970, nothing is known.
    pub horizon: Option<u64>,
}

/// The questions whose answers a timeline is made of: a few images of each channel, or where it costs nothing, all. Only where the
/// host tells such things, and the image carries the channel.
pub fn asks(grid: &Grid, plan: &Plan, rows: &[Known], facts: &Facts, all: bool) -> Vec<Ask> {
    let mut out = Vec::new();
    for (c, channel) in grid.channels.iter().enumerate() {
        let of = |(m, i): (usize, &usize)| {
            let reference = plan.images[*i].reference.as_ref().ok()?;
            let is_there = rows.get(m * grid.channels.len() + c)?.as_ref()?.digest.is_some();
            let is_told = facts.dialects.get(&reference.repository.host) == Some(&super::registry::Dialect::Quay);
            ((is_there || all) && is_told && TagClass::of(channel) == TagClass::Moving)
                .then(|| Ask::History { repository: reference.repository.clone(), tag: channel.clone() })
        };
        let asked = grid.members.iter().enumerate().filter_map(of);
        out.extend(asked.take(if all { usize::MAX } else { WITNESSES }));
    }
    out
}

impl Timeline {
    /// What `facts` and `pipeline` tell of the channels of a board.
    pub fn new(grid: &Grid, plan: &Plan, rows: &[Known], facts: &Facts, pipeline: &Pipeline) -> Self {
        let mut out = Self::default();
        let mut repositories: HashMap<&Repository, Names> = HashMap::new();
        for (c, channel) in grid.channels.iter().enumerate() {
            let mut moves: Vec<Move<'_>> = Vec::new();
            let mut known = 0;
            for (m, i) in grid.members.iter().enumerate() {
                let Ok(Reference { repository, .. }) = &plan.images[*i].reference else { continue };
                let ask = Ask::History { repository: repository.clone(), tag: channel.clone() };
                let Some(Ok(Answer::History(of))) = facts.answers.get(&ask) else { continue };
                known += 1;
                let row = rows.get(m * grid.channels.len() + c).and_then(Option::as_ref);
                let own = |digest: &str| row.filter(|r| r.digest.as_deref() == Some(digest))?.hash.clone();
                let names = repositories.entry(repository).or_insert_with(|| Names::new(facts, repository));
                let mut before = None;
                for life in of.iter().rev() {
                    let named = match &life.hash {
                        Some(hash) => vec![hash.clone()],
                        None => names.of(&life.digest, life.start),
                    };
                    let hashes = if named.is_empty() { own(&life.digest).into_iter().collect() } else { named };
                    let is_echo = before.replace(&life.digest) == Some(&life.digest);
                    moves.push(Move { image: m, at: life.start, hashes, digest: &life.digest, is_echo });
                }
                let kept_for = facts.answers.get(&Ask::Overview { repository: repository.clone() }).and_then(|a| match a {
                    Ok(Answer::Overview(Ok(overview))) => overview.kept_for,
                    _ => None,
                });
                let horizon = kept_for.map_or_else(|| of.last().map(|l| l.start), |s| Some(facts.asked_at.saturating_sub(s)));
                out.horizon = [out.horizon, horizon].into_iter().flatten().min();
            }
            let mut events = promotions(channel, moves, known);
            let mut told: Vec<Event> = Vec::new();
            let of_dlrn = pipeline.promotions.iter().filter(|p| p.channel == *channel).rev();
            for p in of_dlrn {
                match told.last_mut() {
                    // DLRN may have a row for each component of an aggregate, and promoted one by one each makes another aggregate.
                    Some(last) if p.at.abs_diff(last.last) <= ONE => {
                        last.hash.clone_from(&p.hash);
                        last.last = p.at;
                    }
                    _ => told.push(Event {
                        channel: channel.clone(),
                        hash: p.hash.clone(),
                        first: p.at,
                        last: p.at,
                        images: None,
                        is_rollback: false,
                    }),
                }
            }
            told.retain(|t| !events.iter().any(|e| e.hash == t.hash && e.first.abs_diff(t.first) <= SAME));
            events.extend(told);
            events.sort_by_key(|e| e.first);
            // What stands there already is not promoted by being promoted again.
            events.dedup_by(|again, event| again.hash == event.hash);
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

    /// Tells the stages what only a history knows: since when, and how many promotions behind, and for how long.
    pub fn inform(&self, stages: &mut [Stage]) {
        for stage in stages.iter_mut() {
            // Of a torn channel the newest may be another one.
            let newest = self.of(&stage.channel).find(|e| Some(&e.hash) == stage.hash.as_ref());
            // A registry tells when a tag was pushed last, be it to what it stood for already.
            stage.moved_at = newest.map(|e| e.last).or(stage.moved_at);
        }
        for c in 1..stages.len() {
            let (before, stage) = (stages[c - 1].clone(), &mut stages[c]);
            let Some(lag) = stage.lag.as_mut().filter(|lag| lag.differ > 0) else { continue };
            let events: Vec<&Event> = self.of(&before.channel).collect();
            let behind = events.iter().position(|e| Some(&e.hash) == stage.hash.as_ref()).filter(|n| *n > 0);
            lag.promotions = behind;
            // Since the one before it left that hash.
            lag.since = behind.map(|n| events[n - 1].first);
        }
    }
}

/// The hashes by which a repository still names digests, and when each tag was pushed.
struct Names(HashMap<String, Vec<(String, Option<u64>)>>);

impl Names {
    fn new(facts: &Facts, repository: &Repository) -> Self {
        let mut out: HashMap<String, Vec<(String, Option<u64>)>> = HashMap::new();
        for ask in [Ask::Overview { repository: repository.clone() }, Ask::Tags { repository: repository.clone() }] {
            let Some(Ok(Answer::Overview(Ok(overview)))) = facts.answers.get(&ask) else { continue };
            for (tag, active) in overview.tags.iter().filter(|(tag, _)| TagClass::of(tag).is_hash()) {
                let of = out.entry(active.digest.clone()).or_default();
                if !of.iter().any(|(known, _)| known == tag) {
                    of.push((tag.clone(), active.moved_at));
                }
            }
        }
        // The one that was pushed last comes first.
        out.values_mut().for_each(|of| of.sort_by_key(|(tag, at)| (Reverse(*at), TagClass::of(tag), tag.clone())));
        Self(out)
    }

    /// Those that a digest had at a time, as far as that is told: no channel is promoted to a build that is yet to come.
    fn of(&self, digest: &str, at: u64) -> Vec<String> {
        let all = self.0.get(digest).map_or(&[][..], Vec::as_slice);
        let then = all.iter().filter(|(_, pushed)| pushed.is_none_or(|pushed| pushed <= at + ONE));
        let then: Vec<String> = then.map(|(tag, _)| tag.clone()).collect();
        if then.is_empty() { all.iter().map(|(tag, _)| tag.clone()).collect() } else { then }
    }
}

/// An image's tag came to stand for a digest.
struct Move<'a> {
    image: usize,
    at: u64,
    /// The hashes that the digest had then, the likeliest first.
    hashes: Vec<String>,
    digest: &'a str,
    /// Whether it stood for that already.
    is_echo: bool,
}

/// The promotions that moves make up, oldest first.
fn promotions(channel: &str, mut moves: Vec<Move<'_>>, of: usize) -> Vec<Event> {
    moves.sort_by_key(|m| (m.at, m.image));
    let mut events: Vec<(Event, BTreeSet<usize>)> = Vec::new();
    let begin = |m: &Move<'_>, hash: &str| {
        let (first, last) = (m.at, m.at);
        let images = Some((1, of));
        let event = Event { channel: channel.to_owned(), hash: hash.to_owned(), first, last, images, is_rollback: false };
        (event, BTreeSet::from([m.image]))
    };
    let join = |(event, who): &mut (Event, BTreeSet<usize>), m: &Move<'_>| {
        who.insert(m.image);
        (event.first, event.last) = (event.first.min(m.at), event.last.max(m.at));
        event.images = Some((who.len(), of));
    };
    // How far a move is from a promotion that it may be part of.
    let apart = |(event, who): &(Event, BTreeSet<usize>), m: &Move<'_>| {
        let away = if m.at < event.first { event.first - m.at } else { m.at.saturating_sub(event.last) };
        (!who.contains(&m.image)).then_some(away)
    };
    let nearest = |events: &[(Event, BTreeSet<usize>)], m: &Move<'_>, limit: u64, is_one: &dyn Fn(&str) -> bool| {
        let near = events.iter().enumerate().filter(|(_, e)| is_one(&e.0.hash));
        near.filter_map(|(i, e)| Some((apart(e, m)?, i))).filter(|(away, _)| *away <= limit).min().map(|(_, i)| i)
    };
    let (echoes, moves): (Vec<_>, Vec<_>) = moves.into_iter().partition(|m| m.is_echo);
    // Those that tell their hash decide which promotions there were.
    for m in moves.iter().filter(|m| m.hashes.len() == 1) {
        let hash = &m.hashes[0];
        let latest = events.iter().rposition(|(e, _)| e.hash == *hash);
        // One that was left behind may come days later, but not when the channel has gone on.
        let is_open = |at: &usize| {
            let (event, who) = &events[*at];
            let has_gone_on = events.iter().any(|(e, _)| e.hash != *hash && e.first > event.last);
            !who.contains(&m.image) && (!has_gone_on || m.at.saturating_sub(event.last) <= PAUSE)
        };
        match latest.filter(is_open) {
            Some(at) => join(&mut events[at], m),
            None => events.push(begin(m, hash)),
        }
    }
    for m in moves.iter().filter(|m| m.hashes.len() > 1) {
        match nearest(&events, m, SAME, &|hash| m.hashes.iter().any(|h| h == hash)) {
            Some(at) => join(&mut events[at], m),
            None => events.push(begin(m, &m.hashes[0])),
        }
    }
    for m in moves.iter().filter(|m| m.hashes.is_empty()) {
        let is_unnamed = |hash: &str| hash.starts_with("sha256:");
        let with = nearest(&events, m, PAUSE, &|hash| !is_unnamed(hash)).or_else(|| nearest(&events, m, SAME, &is_unnamed));
        match with {
            Some(at) => join(&mut events[at], m),
            None => events.push(begin(m, m.digest)),
        }
    }
    for m in &echoes {
        if let Some(at) = nearest(&events, m, PAUSE, &|hash| m.hashes.is_empty() || m.hashes.iter().any(|h| h == hash)) {
            join(&mut events[at], m);
        }
    }
    events.into_iter().map(|(event, _)| event).collect()
}
