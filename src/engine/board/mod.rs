//! The board: images by channels, and in one sentence what each channel is.
//!
//! A promotion copies a tag image by image. So a channel is *whole* only if every image points to the same hash; while it is under
//! way, or where it broke off, it is *torn*. A cell is a row of [`resolve`](crate::engine::resolve) for the image at the channel's tag; here
//! is what the cells of a column say together, and what a table shows of them. It knows no HTML.

pub mod report;
pub mod timeline;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::image::reference::{Reference, Repository};
use crate::engine::options::definitions::{Choices, list};
use crate::engine::options::settings::{NOTES, STATUS, Settings, UNPROVEN};
use crate::engine::registry::{Answer, Query};
use crate::engine::resolve::{Absence, Facts, Note, Row, Status, majority_hash};
use crate::engine::template::plan::{Image, Plan};
use crate::engine::time::{Timestamp, age};
use crate::engine::wording::short;

/// A cell's row; none while it is not known.
pub type Known = Option<Arc<Row>>;

/// Which images stand on the board, in which channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// The channels, in the order of promotion.
    pub channels: Vec<String>,
    /// The images that follow a channel: their places in the plan.
    pub members: Vec<usize>,
    /// Images that do not: their names, and why.
    pub others: Vec<(String, String)>,
}

impl Grid {
    /// The board of a plan. An image whose tag is not the template's `tag` (Ceph's, say) follows no channel.
    pub fn new(settings: &Settings, plan: &Plan) -> Self {
        let mut grid = Self { channels: settings.channels.clone(), ..Self::default() };
        for (i, image) in plan.images.iter().enumerate() {
            match &image.reference {
                Ok(Reference { digest: Some(_), .. }) => {
                    grid.others.push((image.imagename.clone(), "the template names its digest".to_owned()));
                }
                Ok(reference) if reference.tag != settings.tag() => {
                    grid.others.push((image.imagename.clone(), format!("it has its own tag, {}", reference.tag)));
                }
                _ => grid.members.push(i),
            }
        }
        grid
    }

    /// What is asked for: each image at each channel's tag, image by image.
    pub fn cells(&self, plan: &Plan) -> Vec<Image> {
        let mut out = Vec::with_capacity(self.members.len() * self.channels.len());
        for image in self.members.iter().map(|i| &plan.images[*i]) {
            for channel in &self.channels {
                let at = |reference: &Reference| Reference { tag: channel.clone(), ..reference.clone() };
                let imagename = image.reference.as_ref().map_or_else(|_| image.imagename.clone(), |r| r.at_tag(channel));
                out.push(Image { imagename, reference: image.reference.as_ref().map(at).map_err(Clone::clone), ..image.clone() });
            }
        }
        out
    }
}

/// What a channel is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not all of it is known yet.
    #[default]
    Waiting,
    /// Every image points to the same hash.
    Whole,
    /// Some images point to another hash.
    Torn,
    /// Some images are not there, the others agree.
    Incomplete,
    /// No image is there.
    Empty,
    /// All are there, and of some it is not known at which hash they are.
    Unproven,
    /// Some images could not be checked.
    Unknown,
}

impl State {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Whole => "whole",
            Self::Torn => "torn",
            Self::Incomplete => "incomplete",
            Self::Empty => "empty",
            Self::Unproven => "unproven",
            Self::Unknown => "unknown",
        }
    }
}

/// How a channel stands to the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// The one before it.
    pub before: String,
    /// Images that point to the same digest in both, and to different ones.
    pub same: usize,
    /// Images that point to another digest there.
    pub differ: usize,
    /// Images that are there, and not here.
    pub missing: usize,
    /// Images that are here, and not there.
    pub more: usize,
    /// Images of which one or the other is not known.
    pub unknown: usize,
    /// When the one before it left the hash of this one, where its history is known.
    pub since: Option<Timestamp>,
    /// Promotions of the one before it since the hash of this one, where its history is known.
    pub promotions: Option<usize>,
}

impl Lag {
    /// In words, without a full stop.
    pub fn sentence(&self, now: Timestamp) -> String {
        let before = &self.before;
        let mut rest = String::new();
        if self.missing > 0 {
            rest.push_str(&format!(", missing {} of its images", self.missing));
        }
        if self.more > 0 {
            rest.push_str(&format!(", with {} that it does not have", self.more));
        }
        if self.unknown > 0 && self.same + self.differ > 0 {
            rest.push_str(&format!(", {} not known", self.unknown));
        }
        if self.differ == 0 {
            return match self.same {
                0 if self.missing == 0 => format!("nothing to compare with {before}"),
                0 => format!("missing {} that {before} has", images(self.missing)),
                _ if rest.is_empty() => format!("in sync with {before}"),
                same => format!("in sync with {before} in {}{rest}", images(same)),
            };
        }
        let mut out = match self.promotions {
            Some(1) => format!("1 promotion behind {before}"),
            Some(n) if n > 1 => format!("{n} promotions behind {before}"),
            _ => format!("differs from {before}"),
        };
        out.push_str(&format!(" in {} of {}{rest}", self.differ, images(self.same + self.differ)));
        if let Some(since) = self.since {
            out.push_str(&format!(", for {}", age(now.since(since))));
        }
        out
    }
}

/// How long ago a channel was promoted, against the limits that were set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lateness {
    /// Within the first limit.
    Fine,
    /// Past it.
    Late,
    /// Past the second.
    VeryLate,
}

impl Lateness {
    /// Of a promotion so long ago.
    pub fn of(ago: Duration, late: [Duration; 2]) -> Self {
        match ago {
            ago if ago >= late[1] => Self::VeryLate,
            ago if ago >= late[0] => Self::Late,
            _ => Self::Fine,
        }
    }

    /// The word; none where there is nothing to say.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Fine => None,
            Self::Late => Some("late"),
            Self::VeryLate => Some("very late"),
        }
    }
}

/// The images of a channel, by what is known of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Images on the board.
    pub asked: usize,
    /// Images that point to the hash of most images in their namespace.
    pub at_hash: usize,
    /// Images that point to another.
    pub torn: usize,
    /// Images that are there, and of which it is not known.
    pub unproven: usize,
    /// The registry said that they are not there.
    pub absent: usize,
    /// Those of them that have no public repository: missing, or private.
    pub no_public_repository: usize,
    /// There, but not pinned.
    pub unresolved: usize,
    /// Not found out.
    pub error: usize,
    /// Not answered yet.
    pub waiting: usize,
}

impl Counts {
    /// What they are together.
    fn state(&self) -> State {
        match self {
            c if c.waiting > 0 => State::Waiting,
            c if c.torn > 0 => State::Torn,
            c if c.error > 0 => State::Unknown,
            c if c.absent == c.asked => State::Empty,
            c if c.absent + c.unresolved > 0 => State::Incomplete,
            c if c.unproven > 0 => State::Unproven,
            _ => State::Whole,
        }
    }
}

/// A channel, and what its images say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// Its tag.
    pub channel: String,
    /// What it is.
    pub state: State,
    /// The hash that most of its images point to.
    pub hash: Option<String>,
    /// Whether the images of some namespaces point to another, each on its own.
    pub is_several: bool,
    /// Its images, by what is known of them.
    pub counts: Counts,
    /// When the last of the images at that hash was pushed, where the registry reports it. Mirrors push again what
    /// stays as it is, so that this is not a promotion.
    pub pushed_at: Option<Timestamp>,
    /// When the channel came to that hash, where a history reports it.
    pub promoted_at: Option<Timestamp>,
    /// Whether that may have been earlier still: of what was before the history holds nothing.
    pub or_earlier: bool,
    /// How it stands to the channel before it; none for the first.
    pub lag: Option<Lag>,
}

impl Stage {
    /// What it is, in a sentence: first the word, then the numbers.
    pub fn sentence(&self) -> String {
        let counts = self.counts;
        if counts.waiting > 0 {
            return format!("{} of {} answered.", counts.asked - counts.waiting, images(counts.asked));
        }
        let of =
            |n: usize| if n == counts.asked { format!("All {}", images(n)) } else { format!("{n} of {}", images(counts.asked)) };
        let at = |hash: &str| match self.is_several {
            true => format!("{}, or at the hash of their own namespace", short(hash)),
            false => short(hash).to_owned(),
        };
        let mut out = match (&self.hash, self.state) {
            (_, State::Unknown) if counts.error == counts.asked => {
                return format!("Unknown: none of {} could be checked.", images(counts.asked));
            }
            (_, State::Empty) => format!("Empty: none of {} is promoted to it", images(counts.asked)),
            (Some(hash), State::Whole) => format!("Whole: all {} at {}", images(counts.asked), at(hash)),
            (Some(hash), state) => format!("{}: {} at {}", capital(state.word()), of(counts.at_hash).to_lowercase(), at(hash)),
            (None, state) => {
                let there = counts.asked - counts.absent - counts.error - counts.unresolved;
                format!("{}: {} present, hash not known", capital(state.word()), of(there).to_lowercase())
            }
        };
        let unproven = if self.hash.is_some() { counts.unproven } else { 0 };
        let parts = [
            (counts.torn, "at another hash"),
            (unproven, "of unknown hash"),
            (counts.absent - counts.no_public_repository, "not promoted"),
            (counts.no_public_repository, "without a public repository (missing or private)"),
            (counts.unresolved, "unresolved"),
            (counts.error, "could not be checked"),
        ];
        if self.state == State::Empty && counts.no_public_repository > 0 {
            out.push_str(&format!("; {} without a public repository (missing or private)", counts.no_public_repository));
        } else if self.state != State::Empty {
            for (i, (n, words)) in parts.iter().filter(|(n, _)| *n > 0).enumerate() {
                out.push_str(&format!("{} {n} {words}", if i == 0 { ";" } else { "," }));
            }
        }
        out + "."
    }

    /// When it was promoted, or else pushed, and how long ago that is, in words; none where neither is known.
    pub fn since(&self, now: Timestamp) -> Option<(Timestamp, String)> {
        let ago = |at: Timestamp| age(now.since(at));
        let earlier = if self.or_earlier { " or earlier" } else { "" };
        let promoted = self.promoted_at.map(|at| (at, format!("promoted {} ago{earlier}", ago(at))));
        promoted.or_else(|| self.pushed_at.map(|at| (at, format!("pushed {} ago", ago(at)))))
    }

    /// How long ago it was promoted against the limits; none where that is not known. A tag was promoted no later than it was pushed, so
    /// one that was pushed long ago is late in any case.
    pub fn lateness(&self, now: Timestamp, late: [Duration; 2]) -> Option<Lateness> {
        let least = Lateness::of(now.since(self.promoted_at.or(self.pushed_at)?), late);
        let is_known = self.promoted_at.is_some() && !self.or_earlier;
        (is_known || least != Lateness::Fine).then_some(least)
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

fn images(n: usize) -> String {
    if n == 1 { "1 image".to_owned() } else { format!("{n} images") }
}

/// What a cell shows: the first eight digits of its hash, or of its digest, or why there is none.
pub fn text(row: Option<&Row>) -> &str {
    match row {
        None => "waiting",
        Some(row) => mark(row).map_or(row.status.word(), short),
    }
}

/// The hash that a cell points to, or its digest; none where it is not resolved.
pub fn mark(row: &Row) -> Option<&str> {
    (row.status == Status::Resolved).then(|| row.hash.as_deref().or(row.digest.as_deref())).flatten()
}

/// The words by which a cell is found: its status, its notes, and whether it is unknown at which hash it is.
pub fn words(row: &Row) -> impl Iterator<Item = &'static str> {
    let unproven = (row.status == Status::Resolved && row.hash.is_none()).then_some(UNPROVEN);
    std::iter::once(row.status.word()).chain(row.notes.iter().map(|n| n.word())).chain(unproven)
}

/// Whether a cell is not as it should be.
pub fn is_wrong(row: &Row) -> bool {
    words(row).any(|word| word != Status::Resolved.word())
}

/// What each channel's cells say together; `rows` are those of [`Grid::cells`], torn ones marked.
pub fn stages(grid: &Grid, plan: &Plan, rows: &[Known]) -> Vec<Stage> {
    let width = grid.channels.len();
    let cell = |m: usize, c: usize| rows.get(m * width + c).and_then(Option::as_deref);
    let namespace =
        |m: usize| plan.images[grid.members[m]].reference.as_ref().map_or(String::new(), |r| r.repository.namespace());
    let of: Vec<String> = (0..grid.members.len()).map(namespace).collect();
    let mut out: Vec<Stage> = Vec::new();
    for (c, channel) in grid.channels.iter().enumerate() {
        let mut stage = Stage {
            channel: channel.clone(),
            counts: Counts { asked: grid.members.len(), ..Counts::default() },
            ..Stage::default()
        };
        let cells: Vec<Option<&Row>> = (0..of.len()).map(|m| cell(m, c)).collect();
        // Namespaces are promoted on their own.
        let mut usual_of: BTreeMap<&str, String> = BTreeMap::new();
        for space in of.iter().collect::<BTreeSet<_>>() {
            if let Some(hash) = majority_hash(cells.iter().zip(&of).filter(|(_, s)| *s == space).filter_map(|(row, _)| *row)) {
                usual_of.insert(space, hash);
            }
        }
        let mut at: BTreeMap<&str, usize> = BTreeMap::new();
        for (row, space) in cells.iter().zip(&of) {
            let Some(row) = row else {
                stage.counts.waiting += 1;
                continue;
            };
            stage.counts.no_public_repository += usize::from(row.absence == Some(Absence::NoPublicRepository));
            match row.status {
                _ if row.notes.contains(&Note::Torn) => stage.counts.torn += 1,
                Status::Absent => stage.counts.absent += 1,
                Status::Unresolved => stage.counts.unresolved += 1,
                Status::Error => stage.counts.error += 1,
                Status::Resolved => match usual_of.get(space.as_str()).filter(|hash| row.points_to(hash) == Some(true)) {
                    Some(hash) => {
                        stage.counts.at_hash += 1;
                        *at.entry(hash).or_default() += 1;
                        stage.pushed_at = stage.pushed_at.max(row.moved_at);
                    }
                    None => stage.counts.unproven += 1,
                },
            }
        }
        stage.is_several = at.len() > 1;
        stage.hash = at.iter().max_by_key(|(hash, n)| (**n, Reverse(**hash))).map(|(hash, _)| (*hash).to_owned());
        stage.state = stage.counts.state();
        if let Some(before) = out.last().filter(|_| stage.counts.waiting == 0) {
            let mut lag = Lag { before: before.channel.clone(), ..Lag::default() };
            let is_known = |row: Option<&Row>| row.is_some_and(|r| r.status != Status::Error);
            for (m, own) in cells.iter().enumerate() {
                let other = cell(m, c - 1);
                match (own.and_then(|r| r.digest.as_ref()), other.and_then(|r| r.digest.as_ref())) {
                    _ if !is_known(*own) || !is_known(other) => lag.unknown += 1,
                    (Some(own), Some(other)) if own == other => lag.same += 1,
                    (Some(_), Some(_)) => lag.differ += 1,
                    (None, Some(_)) => lag.missing += 1,
                    (Some(_), None) => lag.more += 1,
                    (None, None) => {}
                }
            }
            stage.lag = Some(lag);
        }
        out.push(stage);
    }
    out
}

/// The word by which rows are grouped: the service of an image is what its name starts with, as `nova` of `nova-api`.
pub fn service(short: &str) -> &str {
    short.split(['-', '_']).next().unwrap_or(short)
}

/// The rows that pass search and status filter, in the order that was chosen: places among the members.
pub fn shown(grid: &Grid, plan: &Plan, rows: &[Known], choices: &Choices) -> Vec<usize> {
    let width = grid.channels.len();
    let cells = |m: usize| rows.get(m * width..(m + 1) * width).unwrap_or(&[]);
    let image = |m: usize| &plan.images[grid.members[m]];
    let query = choices.get("q").unwrap_or("").trim().to_lowercase();
    let is_known = |w: &&str| STATUS.contains(w) || NOTES.contains(w) || *w == UNPROVEN;
    let wanted: Vec<&str> = list(choices.get("status").unwrap_or("")).filter(is_known).collect();
    let is_wanted = |row: &Known| row.as_ref().is_some_and(|r| words(r).any(|word| wanted.contains(&word)));
    let has_query = |row: &Known| {
        row.as_ref().is_some_and(|r| {
            let mut texts = [r.hash.as_deref(), r.digest.as_deref()].into_iter().flatten();
            texts.any(|t| t.contains(&query)) || words(r).any(|word| word.contains(&query))
        })
    };
    let mut order: Vec<usize> = (0..grid.members.len())
        .filter(|m| wanted.is_empty() || cells(*m).iter().any(is_wanted))
        .filter(|m| query.is_empty() || image(*m).imagename.to_lowercase().contains(&query) || cells(*m).iter().any(has_query))
        .collect();
    let sort = choices.get("sort").unwrap_or("");
    let (column, descending) = sort.strip_prefix('-').map_or((sort, false), |c| (c, true));
    match column {
        "image" => order.sort_by_key(|m| &image(*m).short),
        "tag" => order.sort_by_key(|m| cells(*m).iter().map(|row| text(row.as_deref())).rev().collect::<Vec<_>>()),
        "status" => order.sort_by_key(|m| Reverse(worst(cells(*m)))),
        // What moved last is youngest.
        "age" => order.sort_by_key(|m| Reverse(cells(*m).iter().flatten().filter_map(|r| r.moved_at).max())),
        _ => {}
    }
    if descending {
        order.reverse();
    }
    if choices.get("group") == Some("service") {
        order.sort_by_key(|m| service(&image(*m).short));
    }
    order
}

/// How bad the worst cell of a row is, and how many are wrong.
fn worst(cells: &[Known]) -> (u8, usize) {
    let badness = |row: &Row| match row.status {
        Status::Error => 5,
        _ if row.notes.contains(&Note::Torn) => 4,
        Status::Absent => 3,
        Status::Unresolved => 2,
        _ if is_wrong(row) => 1,
        Status::Resolved => 0,
    };
    let known = || cells.iter().flatten();
    (known().map(|r| badness(r)).max().unwrap_or(0), known().filter(|r| is_wrong(r)).count())
}

/// The tags of a repository that point to a digest, as far as the registry reported them.
pub fn siblings(facts: &Facts, repository: &Repository, digest: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (query, answer) in facts.answers.iter().filter(|(query, _)| query.repository() == Some(repository)) {
        match (query, answer) {
            (_, Ok(Answer::Overview(Ok(overview)))) => {
                out.extend(overview.tags.iter().filter(|(_, a)| a.digest == *digest).map(|(tag, _)| tag.clone()));
            }
            (Query::Check { tag, .. }, Ok(Answer::Check(Ok(of)))) if of.digest == *digest => _ = out.insert(tag.clone()),
            (Query::Tag { tag, .. }, Ok(Answer::Tag(Ok(found)))) if found.digest == *digest => _ = out.insert(tag.clone()),
            _ => {}
        }
    }
    out
}

/// The commands that pull a cell's image: each tool, by its tag and by its digest. All parts are of a reference's own alphabet, so no
/// shell sees anything else in them.
pub fn pulls(reference: &Reference, row: &Row) -> Vec<String> {
    let hub = if reference.name.starts_with(&reference.repository.host) { "" } else { "docker.io/" };
    let mut names = vec![format!("{hub}{}", reference.at_tag(row.hash.as_deref().unwrap_or(&reference.tag)))];
    names.extend(row.digest.as_ref().map(|digest| format!("{hub}{}", reference.at_digest(digest))));
    let of = |name: &String| {
        [
            format!("podman pull {name}"),
            format!("docker pull {name}"),
            format!("skopeo copy docker://{name} oci:{}", reference.repository.short()),
        ]
    };
    names.iter().flat_map(of).collect()
}
