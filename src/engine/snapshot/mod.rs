//! Facts as a file: what registries answered, to be read in place of them.
//!
//! A snapshot is what makes a static site of many viewers cost a registry nothing, and what lets a page show a registry that no browser
//! may read. It is JSON, compact, and the same facts give the same bytes. What it does not hold is unknown, never absent.
//!
//! [`Snapshot::new`] keeps facts (`keep`), [`Snapshot::write`] and [`Snapshot::read`] are the file (`file`), [`Snapshot::answer`] answers
//! in place of a registry (`answer`), [`Snapshot::extend_history`] carries on an older one (`history`), [`Snapshot::compare`] says what
//! moved since (`compare`).

mod answer;
mod compare;
mod file;
mod history;
mod keep;

use crate::engine::image::digest::Digest;
use crate::engine::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::compare::Change;
pub use self::keep::histories;
use crate::engine::error::clean;
use crate::engine::image::tag::TagClass;
use crate::engine::pipeline::Pipeline;
use crate::engine::registry::query::TagPeriod;
use crate::engine::time;

/// The version that is written, and read.
const VERSION: u32 = 1;
/// Lives of a tag that are kept at most.
const PERIODS: usize = 100;
/// After this time a snapshot is called stale.
pub const STALE: Duration = Duration::from_secs(24 * 3600);

/// What registries answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Says what this file is; a higher one is refused.
    overtag_snapshot: u32,
    /// The program that wrote it.
    tool: String,
    /// When the registries were asked: `2017-05-30T00:49:16Z`.
    fetched_at: String,
    /// The same in seconds since 1970.
    fetched: Timestamp,
    /// The link that it was made for.
    pub link: String,
    /// How many images could not be queried; what is missing is listed for each repository.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub incomplete: usize,
    /// Hosts that were asked over plain http.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub plain_hosts: BTreeSet<String>,
    /// The names of tags that stand in lists, sorted: repositories that are built together have the same ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    /// What was known of the pipeline around the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Pipeline>,
    /// By `HOST/PATH`.
    repositories: BTreeMap<String, Kept>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

fn is_false(b: &bool) -> bool {
    !*b
}

/// What is kept of a repository: plain data, an object of the file. Why there is nothing to keep (`absent` to `error`, `no_list`), its
/// tags, what has a digest (`labels`, `no_labels`, `built`), and the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// The registry said that there is no such repository.
    #[serde(skip_serializing_if = "is_false")]
    absent: bool,
    /// It is not among the public repositories of its namespace; with an error, private or not there.
    #[serde(skip_serializing_if = "is_false")]
    hidden: bool,
    /// It was answered with 404 by what did not prove to be a registry.
    #[serde(skip_serializing_if = "is_false")]
    silent: bool,
    /// Why some of it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Tags and their digests; null where the registry said that there is no such tag.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, Option<Digest>>,
    /// Further tags, whose digests are not kept: their places among the names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    list: Vec<usize>,
    /// Whether `tags` and `list` are all that there are.
    #[serde(skip_serializing_if = "is_false")]
    whole: bool,
    /// Since when a tag points to what it does.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    moved: BTreeMap<String, Timestamp>,
    /// Labels by digest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, BTreeMap<String, String>>,
    /// Why the registry does not give the list of tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_list: Option<String>,
    /// Why it does not give labels, by digest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    no_labels: BTreeMap<String, String>,
    /// When what has a digest was built.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    built: BTreeMap<String, Timestamp>,
    /// For how many seconds the registry remembers what a tag pointed to before.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_for: Option<u64>,
    /// What a tag pointed to before, newest first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    history: BTreeMap<String, Vec<TagPeriod>>,
}

impl Kept {
    /// Texts as they may be shown.
    fn tidy(&mut self) {
        let texts = self.error.iter_mut().chain(&mut self.no_list).chain(self.no_labels.values_mut());
        texts.for_each(|text| *text = clean(text));
    }

    /// The hashes by which a digest is named.
    fn hashes<'a>(&'a self, digest: &'a str) -> impl Iterator<Item = &'a str> + Clone {
        let same = self.tags.iter().filter(move |(tag, of)| of.as_deref() == Some(digest) && TagClass::of(tag).is_hash());
        same.map(|(tag, _)| tag.as_str())
    }
}

impl Snapshot {
    /// Whether a tag is among those whose digests are not kept.
    fn lists(&self, kept: &Kept, tag: &str) -> bool {
        self.names.binary_search_by(|name| name.as_str().cmp(tag)).is_ok_and(|i| kept.list.contains(&i))
    }

    /// When the registries were asked.
    pub fn fetched(&self) -> Timestamp {
        self.fetched
    }

    /// What to say where it is later than `now` by more than clocks differ, or holds promotions that are.
    pub fn ahead_of(&self, now: Timestamp) -> Option<String> {
        let latest = now + time::CLOCKS_DIFFER;
        let clock = || format!("later than the local clock ({now})");
        if self.fetched > latest {
            let at = &self.fetched_at;
            return Some(format!("The snapshot is of {at}, {}: its age is not known; compare the clocks", clock()));
        }
        let periods = self.repositories.values().flat_map(|kept| kept.history.values().flatten());
        let last = periods.map(|period| period.start).max().filter(|at| *at > latest)?;
        Some(format!("The snapshot holds promotions up to {last}, {}: compare the clocks", clock()))
    }

    /// What to say where it is older than a day.
    pub fn staleness(&self, now: Timestamp) -> Option<String> {
        let age = now.since(self.fetched);
        let text = || format!("The snapshot is of {}, {} ago: the channel may have moved since", self.fetched_at, time::age(age));
        (age > STALE).then(text)
    }
}
