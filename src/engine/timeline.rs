//! When channels were promoted, and what was rolled back.
//!
//! Two kinds of witnesses: registries (or snapshots kept over time) tell the lives of each image's tag, DLRN tells each promotion. Lives
//! of the same hash are one promotion. A hash that a channel stood for before, and stands for again, is a roll-back: a promoter that
//! moves a tag back does it by pushing, which no registry marks.

use std::collections::{BTreeMap, BTreeSet};

use super::board::{Grid, Known, Stage};
use super::dlrn::Pipeline;
use super::name::{Reference, Repository, TagClass};
use super::plan::Plan;
use super::quay::Life;
use super::registry::{Answer, Ask};
use super::resolve::Facts;

/// How many images of a channel are asked for their history: they are promoted together.
const WITNESSES: usize = 3;
/// Components that DLRN promotes within so many seconds are one promotion.
const ONE: u64 = 60;
/// DLRN and the registry tell of the same promotion, if not more than so many seconds are between.
const SAME: u64 = 24 * 3600;

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
            (is_there && is_told && TagClass::of(channel) == TagClass::Moving)
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
        for (c, channel) in grid.channels.iter().enumerate() {
            let mut lives: Vec<(usize, String, &Life)> = Vec::new();
            let mut known = 0;
            for (m, i) in grid.members.iter().enumerate() {
                let Ok(Reference { repository, .. }) = &plan.images[*i].reference else { continue };
                let ask = Ask::History { repository: repository.clone(), tag: channel.clone() };
                let Some(Ok(Answer::History(of))) = facts.answers.get(&ask) else { continue };
                known += 1;
                let row = rows.get(m * grid.channels.len() + c).and_then(Option::as_ref);
                let own = |digest: &str| row.filter(|r| r.digest.as_deref() == Some(digest))?.hash.clone();
                for life in of {
                    let hash = life.hash.clone().or_else(|| own(&life.digest)).or_else(|| named(facts, repository, &life.digest));
                    lives.push((m, hash.unwrap_or_else(|| life.digest.clone()), life));
                }
                let kept_for = facts.answers.get(&Ask::Overview { repository: repository.clone() }).and_then(|a| match a {
                    Ok(Answer::Overview(Ok(overview))) => overview.kept_for,
                    _ => None,
                });
                let horizon = kept_for.map_or_else(|| of.last().map(|l| l.start), |s| Some(facts.asked_at.saturating_sub(s)));
                out.horizon = [out.horizon, horizon].into_iter().flatten().min();
            }
            let mut events = promotions(channel, lives, known);
            let mut told: Vec<Event> = Vec::new();
            let of_dlrn = pipeline.promotions.iter().filter(|p| p.channel == *channel).rev();
            for p in of_dlrn {
                match told.last_mut() {
                    // DLRN may have a row for each component of an aggregate, and promoted one by one each makes another aggregate.
                    Some(last) if last.hash == p.hash || p.at.abs_diff(last.last) <= ONE => {
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
            let (mut seen, mut last) = (BTreeSet::new(), String::new());
            for event in &mut events {
                // A tag that was taken away and set again as it was did not go back.
                event.is_rollback = !seen.insert(event.hash.clone()) && last != event.hash;
                last.clone_from(&event.hash);
            }
            out.events.extend(events);
        }
        out.events.sort_by(|a, b| (b.first, &a.channel).cmp(&(a.first, &b.channel)));
        out
    }

    /// The promotions of one channel, newest first.
    pub fn of<'a>(&'a self, channel: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |e| e.channel == channel)
    }

    /// Tells the stages what only a history knows: since when, and how many promotions behind.
    pub fn inform(&self, stages: &mut [Stage]) {
        for stage in stages.iter_mut().filter(|s| s.moved_at.is_none()) {
            let newest = self.of(&stage.channel).next();
            stage.moved_at = newest.filter(|e| Some(&e.hash) == stage.hash.as_ref()).map(|e| e.last);
        }
        for c in 1..stages.len() {
            let (before, stage) = (stages[c - 1].clone(), &mut stages[c]);
            let Some(lag) = stage.lag.as_mut().filter(|lag| lag.differ > 0) else { continue };
            lag.since = lag.since.or(before.moved_at.filter(|at| stage.moved_at.is_none_or(|own| own < *at)));
            lag.promotions = self.of(&before.channel).position(|e| Some(&e.hash) == stage.hash.as_ref()).filter(|n| *n > 0);
        }
    }
}

/// The hash by which a repository still names a digest.
fn named(facts: &Facts, repository: &Repository, digest: &str) -> Option<String> {
    for ask in [Ask::Overview { repository: repository.clone() }, Ask::Tags { repository: repository.clone() }] {
        if let Some(Ok(Answer::Overview(Ok(overview)))) = facts.answers.get(&ask) {
            let same = overview.tags.iter().filter(|(tag, a)| a.digest == digest && TagClass::of(tag).is_hash());
            if let Some((tag, _)) = same.min_by_key(|(tag, _)| (TagClass::of(tag), *tag)) {
                return Some(tag.clone());
            }
        }
    }
    None
}

/// Lives of the same hash are one promotion, unless an image has two of them: then the channel came back to it.
fn promotions(channel: &str, mut lives: Vec<(usize, String, &Life)>, of: usize) -> Vec<Event> {
    lives.sort_by_key(|(image, _, life)| (life.start, *image));
    let mut events: Vec<(Event, BTreeSet<usize>)> = Vec::new();
    let mut latest: BTreeMap<String, usize> = BTreeMap::new();
    for (image, hash, life) in lives {
        match latest.get(&hash).copied().filter(|at| !events[*at].1.contains(&image)) {
            Some(at) => {
                let (event, who) = &mut events[at];
                who.insert(image);
                event.last = life.start;
                event.images = Some((who.len(), of));
            }
            None => {
                latest.insert(hash.clone(), events.len());
                let event = Event {
                    channel: channel.to_owned(),
                    hash,
                    first: life.start,
                    last: life.start,
                    images: Some((1, of)),
                    is_rollback: false,
                };
                events.push((event, BTreeSet::from([image])));
            }
        }
    }
    events.into_iter().map(|(event, _)| event).collect()
}
