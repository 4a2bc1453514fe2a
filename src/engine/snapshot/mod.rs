//! Facts as a file: what registries answered, to be read in place of them.
//!
//! A snapshot is what makes a static site of many viewers cost a registry nothing, and what lets a page show a registry that no browser
//! may read. It is JSON, compact, and the same facts give the same bytes. What it does not hold is unknown, never absent.
//!
//! Writing, reading and checking share one form of the file, and so stand in one file although it is longer than 600 lines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::error::{Error, Kind, clean};
use crate::engine::image::digest::is_digest;
use crate::engine::image::reference::{Reference, Repository};
use crate::engine::image::tag::{TagClass, is_tag};
use crate::engine::pipeline::Pipeline;
use crate::engine::registry::http::LIST_LIMIT;
use crate::engine::registry::quay;
use crate::engine::registry::query::{Active, Overview, TagPeriod};
use crate::engine::registry::{Answer, Checked, Config, Form, Found, Manifest, NotFound, Query, RegistryError};
use crate::engine::resolve::{Facts, Row, Status};
use crate::engine::time;
use crate::engine::url::is_host;

/// The version that is written, and read.
const VERSION: u32 = 1;
/// Lives of a tag that are kept at most.
const PERIODS: usize = 100;
/// Lives of all tags together: some 5 MB of a file of which nobody reads more than [`LIST_LIMIT`].
const ALL_PERIODS: usize = 30_000;
/// After so many seconds a snapshot is called stale.
pub const STALE: u64 = 24 * 3600;

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
    fetched: u64,
    /// The link that it was made for.
    pub link: String,
    /// How many images could not be asked; what they lack stands beside each repository.
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

/// What is kept of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// The registry said that there is no such repository.
    #[serde(skip_serializing_if = "is_false")]
    absent: bool,
    /// It is none of the public repositories of its namespace; with an error, private or not there.
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
    tags: BTreeMap<String, Option<String>>,
    /// Further tags, whose digests are not kept: their places among the names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    list: Vec<usize>,
    /// Whether `tags` and `list` are all that there are.
    #[serde(skip_serializing_if = "is_false")]
    whole: bool,
    /// Since when a tag points to what it does, seconds since 1970.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    moved: BTreeMap<String, u64>,
    /// Labels by digest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, BTreeMap<String, String>>,
    /// Why the registry does not give the list of tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_list: Option<String>,
    /// Why it does not give labels, by digest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    no_labels: BTreeMap<String, String>,
    /// When what has a digest was built, seconds since 1970.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    built: BTreeMap<String, u64>,
    /// For how many seconds the registry remembers what a tag pointed to before.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_for: Option<u64>,
    /// What a tag pointed to before, newest first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    history: BTreeMap<String, Vec<TagPeriod>>,
}

/// How many images point to it, by tag and hash.
type Shares<'a> = HashMap<(&'a str, &'a str), usize>;

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

    /// Keeps an absence, if it is one: what a registry did not say for certain stays unknown (see [`NotFound`]).
    fn miss(&mut self, facts: &Facts, repository: &Repository, tag: Option<&String>, missing: NotFound) {
        match missing {
            NotFound::Repository => self.absent = true,
            NotFound::Tag => _ = tag.map(|tag| self.tags.entry(tag.clone()).or_default()),
            NotFound::WithoutCode => {
                let ping = Query::Ping { host: repository.host.clone() };
                if matches!(facts.answers.get(&ping), Some(Ok(_))) {
                    _ = tag.map(|tag| self.tags.entry(tag.clone()).or_default());
                } else {
                    self.silent = true;
                    self.error.get_or_insert_with(|| "nothing there says that it is a registry".to_owned());
                }
            }
            NotFound::PrivateOrMissing => {
                let (namespace, name) = quay::split(repository);
                let list = Query::Repositories { host: repository.host.clone(), namespace: namespace.to_owned() };
                self.hidden = true;
                let is_reported = matches!(facts.answers.get(&list), Some(Ok(Answer::Repositories(names)))
                    if !names.is_empty() && !names.contains(name));
                if !is_reported {
                    self.error.get_or_insert_with(|| "it is private, or not there".to_owned());
                }
            }
        }
    }
}

/// What became of a tag between two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Added(String),
    /// It is not there any more.
    Removed(String),
    /// It moved from the first to the second.
    Moved(String, String),
    /// One of the two is not known.
    Unknown,
}

impl Snapshot {
    /// Keeps what `facts` hold, as of `fetched` (seconds since 1970). `rows` say what could not be found out, and which tags matter
    /// where a registry reported of hundreds.
    pub fn new(facts: &Facts, rows: &[Option<Arc<Row>>], link: String, fetched: u64, plain_hosts: BTreeSet<String>) -> Self {
        let mut out = Self {
            overtag_snapshot: VERSION,
            tool: concat!("overtag ", env!("CARGO_PKG_VERSION")).to_owned(),
            fetched_at: time::utc(fetched),
            fetched,
            link,
            incomplete: rows.iter().filter(|r| r.as_ref().is_none_or(|r| r.status == Status::Error)).count(),
            plain_hosts,
            ..Self::default()
        };
        let matter = tags_that_matter(facts, rows);
        let mut lists: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut repositories: BTreeMap<String, &Repository> = BTreeMap::new();
        for (query, answer) in &facts.answers {
            let Some(repository) = query.repository() else { continue };
            let name = repository.to_string();
            let kept = out.repositories.entry(name.clone()).or_default();
            match (query, answer) {
                (Query::History { .. }, Err(_)) => {}
                (_, Err(trouble)) => kept.error = kept.error.take().max(Some(trouble.message.clone())),
                (Query::Tag { tag, .. }, Ok(Answer::Tag(Err(missing)))) => kept.miss(facts, repository, Some(tag), *missing),
                (Query::Check { tag, .. }, Ok(Answer::Check(Err(missing)))) => kept.miss(facts, repository, Some(tag), *missing),
                (_, Ok(Answer::Tags(Err(missing)) | Answer::Overview(Err(missing)))) => {
                    kept.miss(facts, repository, None, *missing)
                }
                (Query::Tag { tag, .. }, Ok(Answer::Tag(Ok(found)))) => {
                    kept.tags.insert(tag.clone(), Some(found.digest.clone()));
                }
                // The same tag may have been asked for in two forms; one that is there is there.
                (Query::Check { tag, .. }, Ok(Answer::Check(Ok(is)))) => {
                    kept.tags.entry(tag.clone()).or_default().get_or_insert_with(|| is.digest.clone());
                    kept.moved.extend(is.moved_at.map(|at| (tag.clone(), at)));
                }
                (Query::Tags { .. }, Ok(Answer::Refused(trouble))) => kept.no_list = Some(trouble.message.clone()),
                (_, Ok(Answer::Tags(Ok(tags)))) => {
                    lists.entry(name.clone()).or_default().extend(tags.iter().map(str::to_owned));
                    kept.whole = true;
                }
                (_, Ok(Answer::Overview(Ok(overview)))) => {
                    kept.whole |= overview.whole;
                    kept.kept_for = kept.kept_for.max(overview.kept_for);
                    lists.entry(name.clone()).or_default().extend(overview.others.iter().chain(&overview.undigested).cloned());
                    for (tag, active) in &overview.tags {
                        if matter.contains(tag) {
                            kept.tags.insert(tag.clone(), Some(active.digest.clone()));
                            kept.moved.extend(active.moved_at.map(|at| (tag.clone(), at)));
                        } else {
                            lists.entry(name.clone()).or_default().insert(tag.clone());
                        }
                    }
                }
                (Query::History { tag, .. }, Ok(Answer::History(periods))) => {
                    _ = kept.history.insert(tag.clone(), periods.clone())
                }
                _ => {}
            }
            repositories.insert(name, repository);
        }
        let names: BTreeSet<String> = lists.values().flatten().cloned().collect();
        out.names = names.into_iter().collect();
        for (name, kept) in &mut out.repositories {
            // A repository that was read is there, whatever the registry says of it then.
            if kept.absent && (kept.whole || kept.tags.values().any(Option::is_some)) {
                kept.absent = false;
                let message = "the registry has the repository, and says that it has not when it is asked for more";
                kept.no_list.get_or_insert_with(|| message.to_owned());
            }
            let digests: BTreeSet<String> = kept.tags.values().flatten().cloned().collect();
            if let Some(repository) = repositories.get(name) {
                for digest in digests {
                    match config_of(facts, repository, &digest) {
                        Some(Ok(config)) => {
                            kept.built.extend(config.built_at.map(|at| (digest.clone(), at)));
                            kept.labels.insert(digest, config.labels);
                        }
                        Some(Err(why)) => _ = kept.no_labels.insert(digest, why),
                        None => {}
                    }
                }
            }
            let list = lists.remove(name).unwrap_or_default().into_iter().filter(|tag| !kept.tags.contains_key(tag));
            kept.list = list.filter_map(|tag| out.names.binary_search(&tag).ok()).collect();
        }
        out.cut_lives();
        out.repositories.values_mut().for_each(Kept::tidy);
        out
    }

    /// Forgets the oldest lives of tags where there are more than anybody reads.
    fn cut_lives(&mut self) {
        let all: usize = self.repositories.values().map(|kept| kept.history.len()).sum();
        let most = PERIODS.min(ALL_PERIODS / all.max(1)).max(1);
        self.repositories.values_mut().flat_map(|kept| kept.history.values_mut()).for_each(|periods| periods.truncate(most));
    }

    /// Carries on what `older` knew of what the tags that move pointed to before, and notes what moved since: registries that keep no
    /// history have one that way, as fine as snapshots are taken.
    pub fn extend_history(&mut self, older: &Self) {
        let (fetched, mut histories) = (self.fetched, Vec::new());
        let (own_shares, old_shares) = (self.shares(), older.shares());
        for (name, kept) in &self.repositories {
            let Some(old) = older.repositories.get(name) else { continue };
            // Of several, the one that most images of the tag have, and none that the digest got later.
            let hash = |of: &Kept, shares: &Shares<'_>, tag: &str, digest: &str, start: u64| {
                let share = |hash: &&str| (shares.get(&(tag, *hash)).copied(), Reverse((TagClass::of(hash), hash.to_string())));
                let is_then = |hash: &&str| of.moved.get(*hash).is_none_or(|at| *at <= start + 60);
                let named = of.hashes(digest);
                named.clone().filter(is_then).max_by_key(share).or(named.max_by_key(share)).map(str::to_owned)
            };
            let moving = |tags: &BTreeMap<String, Option<String>>| -> BTreeSet<String> {
                tags.keys().filter(|t| TagClass::of(t) == TagClass::Moving).cloned().collect()
            };
            for tag in moving(&kept.tags)
                .into_iter()
                .chain(moving(&old.tags))
                .chain(old.history.keys().cloned())
                .collect::<BTreeSet<_>>()
            {
                let since = old.moved.get(&tag).copied().unwrap_or(older.fetched);
                let seen = old.tags.get(&tag).cloned().flatten().map(|digest| TagPeriod {
                    start: since,
                    end: None,
                    hash: hash(old, &old_shares, &tag, &digest, since),
                    digest,
                });
                let before = old.history.get(&tag).cloned().unwrap_or_else(|| seen.into_iter().collect());
                let mut periods = kept.history.get(&tag).cloned().unwrap_or_default();
                if let Some(oldest) = periods.last().map(|l| l.start) {
                    for period in &mut periods {
                        let same = before.iter().find(|l| l.digest == period.digest).and_then(|l| l.hash.clone());
                        period.hash = hash(kept, &own_shares, &tag, &period.digest, period.start).or(same);
                    }
                    periods.extend(before.into_iter().filter(|l| l.start < oldest));
                } else {
                    periods = before;
                    let is_open = |l: &TagPeriod, digest: &String| l.end.is_none() && l.digest == *digest;
                    // Clocks differ; what is newer does not begin earlier.
                    let least = periods.first().map_or(0, |period| period.start);
                    let since = kept.moved.get(&tag).copied().unwrap_or(fetched).max(least);
                    let moved = |digest: &String| TagPeriod {
                        start: since,
                        end: None,
                        hash: hash(kept, &own_shares, &tag, digest, since),
                        digest: digest.clone(),
                    };
                    match kept.tags.get(&tag) {
                        Some(Some(digest)) if periods.first().is_some_and(|l| is_open(l, digest)) => {}
                        Some(now) => {
                            if let Some(period) = periods.first_mut().filter(|l| l.end.is_none()) {
                                period.end = Some(fetched);
                            }
                            periods.splice(0..0, now.as_ref().map(moved));
                        }
                        // Not known now: it is as it was, as far as anybody knows.
                        None => {}
                    }
                }
                histories.push((name.clone(), tag, periods));
            }
        }
        for (name, tag, periods) in histories {
            if let Some(kept) = self.repositories.get_mut(&name).filter(|_| !periods.is_empty()) {
                kept.history.insert(tag, periods);
            }
        }
        self.cut_lives();
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

    /// Whether a tag is among those whose digests are not kept.
    fn lists(&self, kept: &Kept, tag: &str) -> bool {
        self.names.binary_search_by(|name| name.as_str().cmp(tag)).is_ok_and(|i| kept.list.contains(&i))
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// What is not a snapshot, or one of a later version.
    pub fn read(text: &str, name: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Head {
            overtag_snapshot: u32,
        }
        let wrong = |message: String| Error::usage(message, name, "give a file that overtag snapshot wrote");
        let head: Head = serde_json::from_str(text).map_err(|e| wrong(format!("this is not a snapshot ({e})")))?;
        if head.overtag_snapshot != VERSION {
            let message =
                format!("the snapshot is of version {}, and this overtag reads version {VERSION}", head.overtag_snapshot);
            return Err(Error::usage(message, name, "read it with a newer overtag"));
        }
        let mut read: Self = serde_json::from_str(text).map_err(|e| wrong(format!("the snapshot is damaged ({e})")))?;
        let in_order = read.names.is_sorted_by(|a, b| a < b) && read.names.iter().all(|tag| is_tag(tag));
        let in_time = |at: &u64| *at <= time::LATEST;
        let is_digest = |digest: &String| is_digest(digest);
        let is_period = |period: &TagPeriod| {
            let is_hash = period.hash.as_deref().is_none_or(|hash| TagClass::of(hash).is_hash());
            is_digest(&period.digest) && is_hash && in_time(&period.start) && period.end.as_ref().is_none_or(in_time)
        };
        let is_sound = |(name, kept): (&String, &Kept)| {
            Reference::parse(name).is_ok_and(|r| r.digest.is_none() && r.repository.to_string() == *name)
                && kept.tags.iter().all(|(tag, digest)| (is_tag(tag) || is_digest(tag)) && digest.as_ref().is_none_or(is_digest))
                && kept.list.iter().all(|i| read.names.get(*i).is_some_and(|tag| !kept.tags.contains_key(tag)))
                && kept.moved.iter().all(|(tag, at)| (is_tag(tag) || is_digest(tag)) && in_time(at))
                && kept.built.iter().all(|(digest, at)| is_digest(digest) && in_time(at))
                && kept.labels.keys().chain(kept.no_labels.keys()).all(is_digest)
                && kept
                    .history
                    .iter()
                    .all(|(tag, periods)| is_tag(tag) && periods.len() <= PERIODS && periods.iter().all(is_period))
                && kept.history.values().all(|periods| periods.is_sorted_by(|a, b| a.start >= b.start))
        };
        let is_sound_head = read.fetched <= time::LATEST
            && [&read.tool, &read.link].into_iter().all(|text| clean(text) == *text)
            && read.plain_hosts.iter().all(|host| is_host(host));
        if !is_sound_head {
            return Err(wrong("the snapshot is damaged (at its head)".to_owned()));
        }
        read.repositories.values_mut().for_each(Kept::tidy);
        if let Some(place) = read.pipeline.as_mut().and_then(|pipeline| pipeline.tidy(time::LATEST)) {
            return Err(wrong(format!("the snapshot is damaged (at its pipeline, {place})")));
        }
        match read.repositories.iter().find(|entry| !is_sound(*entry)) {
            Some((place, _)) => Err(wrong(format!("the snapshot is damaged (at {})", clean(place)))),
            None if !in_order => Err(wrong("the snapshot is damaged (at its names)".to_owned())),
            None => Ok(Self { fetched_at: time::utc(read.fetched), ..read }),
        }
    }

    /// The file.
    ///
    /// # Errors
    /// It would be one that nobody reads, of more than [`LIST_LIMIT`] bytes.
    pub fn write(&self) -> Result<String, Error> {
        // Only maps with text keys and plain values: nothing in it can fail.
        let text = serde_json::to_string(self).map_or_else(|_| String::new(), |text| text + "\n");
        if text.len() <= LIST_LIMIT {
            return Ok(text);
        }
        let (is, most) = (text.len().div_ceil(1 << 20), LIST_LIMIT >> 20);
        let message = format!("the snapshot would have {is} MiB, and none of more than {most} MiB is read");
        Err(Error::new(Kind::Usage, message, "snapshot", "take one of fewer images, or begin its history anew (without --since)"))
    }

    /// When the registries were asked, seconds since 1970.
    pub fn fetched(&self) -> u64 {
        self.fetched
    }

    /// What to say where it is later than `now`, seconds since 1970, by more than clocks differ, or holds promotions that are.
    pub fn ahead_of(&self, now: u64) -> Option<String> {
        let latest = now.saturating_add(time::CLOCKS_DIFFER);
        let clock = || format!("later than the clock here ({})", time::utc(now));
        if self.fetched > latest {
            let at = &self.fetched_at;
            return Some(format!("The snapshot is of {at}, {}: how old it is cannot be told; compare the clocks", clock()));
        }
        let periods = self.repositories.values().flat_map(|kept| kept.history.values().flatten());
        let last = periods.map(|period| period.start).max().filter(|at| *at > latest)?;
        let at = time::utc(last);
        Some(format!("The snapshot holds promotions up to {at}, {}: compare the clocks", clock()))
    }

    /// What to say where it is older than a day; `now` in seconds since 1970.
    pub fn staleness(&self, now: u64) -> Option<String> {
        let age = now.saturating_sub(self.fetched);
        let text = || format!("The snapshot is of {}, {} ago: the channel may have moved since", self.fetched_at, time::age(age));
        (age > STALE).then(text)
    }

    /// The answer to a question, as a Quay would have given it, which is the API that reports tags and digests at once.
    ///
    /// # Errors
    /// What the snapshot does not hold.
    pub fn answer(&self, query: &Query) -> Result<Answer, RegistryError> {
        let trouble = |message: String| RegistryError {
            message,
            hint: "take a new snapshot with these choices (overtag snapshot), or ask the registry".to_owned(),
        };
        let Some(repository) = query.repository() else {
            // These only say whether an absence is to be believed: not where one of those it bears on was not.
            let below = match query {
                Query::Repositories { host, namespace } => format!("{host}/{namespace}/"),
                other => format!("{}/", other.host()),
            };
            let is_in_doubt = |kept: &&Kept| (kept.hidden || kept.silent) && kept.error.is_some();
            let doubt =
                self.repositories.iter().filter(|(name, _)| name.starts_with(&below)).map(|(_, kept)| kept).find(is_in_doubt);
            return match (doubt.and_then(|kept| kept.error.as_ref()), query) {
                (Some(error), _) => Err(trouble(format!("when the snapshot was taken: {error}"))),
                (None, Query::Repositories { .. }) => Ok(Answer::Repositories([String::new()].into())),
                (None, _) => Ok(Answer::Ping),
            };
        };
        let Some(kept) = self.repositories.get(&repository.to_string()) else {
            return Err(trouble(format!("the snapshot of {} does not hold this repository", self.fetched_at)));
        };
        let unknown = |message: &str| match &kept.error {
            Some(error) => trouble(format!("when the snapshot was taken: {error}")),
            None => trouble(format!("the snapshot of {} does not tell {message}", self.fetched_at)),
        };
        let digest = |tag: &str| -> Result<Result<String, NotFound>, RegistryError> {
            match kept.tags.get(tag) {
                _ if kept.absent => Ok(Err(NotFound::Repository)),
                _ if kept.hidden => Ok(Err(NotFound::PrivateOrMissing)),
                _ if kept.silent => Ok(Err(NotFound::WithoutCode)),
                Some(Some(digest)) => Ok(Ok(digest.clone())),
                Some(None) => Ok(Err(NotFound::Tag)),
                None if kept.whole && !self.lists(kept, tag) => Ok(Err(NotFound::Tag)),
                None => Err(unknown(&format!("of the tag {tag}"))),
            }
        };
        match query {
            Query::Tag { tag, .. } => Ok(Answer::Tag(digest(tag)?.map(|digest| Found {
                manifest: Some(Manifest::Image(digest.clone())),
                digest,
                form: Form::All,
                moved_at: kept.moved.get(tag).copied(),
            }))),
            Query::Check { tag, .. } => {
                Ok(Answer::Check(digest(tag)?.map(|digest| Checked { digest, moved_at: kept.moved.get(tag).copied() })))
            }
            Query::Manifest { digest, .. } => Ok(Answer::Manifest(Manifest::Image(digest.clone()))),
            Query::Labels { config, .. } => match kept.labels.get(config) {
                Some(labels) => {
                    let built_at = kept.built.get(config).copied();
                    Ok(Answer::Labels(Config { labels: labels.clone(), only_added: false, built_at }))
                }
                None => match kept.no_labels.get(config) {
                    Some(why) => Ok(Answer::Refused(trouble(why.clone()))),
                    None => Err(unknown("its labels")),
                },
            },
            Query::Overview { .. } | Query::Tags { .. } if kept.absent => Ok(Answer::Overview(Err(NotFound::Repository))),
            Query::Overview { .. } | Query::Tags { .. } if kept.hidden => Ok(Answer::Overview(Err(NotFound::PrivateOrMissing))),
            Query::Overview { .. } | Query::Tags { .. } if kept.silent => Ok(Answer::Overview(Err(NotFound::WithoutCode))),
            Query::Tags { .. } if !kept.whole && kept.no_list.is_some() => {
                Ok(Answer::Refused(trouble(kept.no_list.clone().unwrap_or_default())))
            }
            Query::Tags { .. } if !kept.whole => Err(unknown("all of its tags")),
            Query::Overview { .. } | Query::Tags { .. } => {
                let active = |(tag, digest): (&String, &Option<String>)| {
                    let moved_at = kept.moved.get(tag).copied();
                    Some((tag.clone(), Active { digest: digest.clone()?, moved_at }))
                };
                let tags = kept.tags.iter().filter_map(active).collect();
                let others = kept.list.iter().filter_map(|i| self.names.get(*i).cloned()).collect();
                Ok(Answer::Overview(Ok(Overview {
                    tags,
                    others,
                    whole: kept.whole,
                    kept_for: kept.kept_for,
                    ..Overview::default()
                })))
            }
            Query::History { tag, .. } if kept.history.contains_key(tag) => Ok(Answer::History(kept.history[tag].clone())),
            _ => Err(unknown("what its tags stood for before")),
        }
    }

    /// What became of the tags that move, by `HOST/PATH:TAG`, from `older` to this one; and how many did not change.
    pub fn compare(&self, older: &Self) -> (BTreeMap<String, Change>, usize) {
        let moving = |s: &Self| -> BTreeMap<String, Option<Option<String>>> {
            let mut out = BTreeMap::new();
            for (name, kept) in &s.repositories {
                let known = kept.tags.iter().filter(|(tag, _)| TagClass::of(tag) == TagClass::Moving);
                out.extend(known.map(|(tag, digest)| (format!("{name}:{tag}"), Some(digest.clone()))));
            }
            out
        };
        let (new, old) = (moving(self), moving(older));
        let at = |of: &Self, all: &BTreeMap<String, Option<Option<String>>>, key: &str| match all.get(key) {
            Some(known) => known.clone(),
            None => {
                let (name, tag) = key.rsplit_once(':').unwrap_or((key, ""));
                let kept = of.repositories.get(name)?;
                (kept.absent || kept.hidden && kept.error.is_none() || kept.whole && !of.lists(kept, tag)).then_some(None)
            }
        };
        let (mut changes, mut unchanged) = (BTreeMap::new(), 0);
        let keys: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
        for key in keys {
            let shown = |of: &Self, digest: String| of.name_of(key, &digest).unwrap_or(digest);
            let change = match (at(older, &old, key), at(self, &new, key)) {
                (Some(a), Some(b)) if a == b => {
                    unchanged += 1;
                    continue;
                }
                (Some(None), Some(Some(b))) => Change::Added(shown(self, b)),
                (Some(Some(a)), Some(None)) => Change::Removed(shown(older, a)),
                (Some(Some(a)), Some(Some(b))) => Change::Moved(shown(older, a), shown(self, b)),
                _ => Change::Unknown,
            };
            changes.insert(key.clone(), change);
        }
        (changes, unchanged)
    }

    /// The immutable tag of a digest, where one is kept.
    fn name_of(&self, key: &str, digest: &str) -> Option<String> {
        let kept = self.repositories.get(key.rsplit_once(':')?.0)?;
        let same = kept.tags.iter().filter(|(tag, d)| d.as_deref() == Some(digest) && TagClass::of(tag) < TagClass::DigestAlias);
        same.map(|(tag, _)| tag).min_by_key(|tag| (TagClass::of(tag), *tag)).cloned()
    }
}

/// Where a registry reports of hundreds of tags: those that move in any repository, all that share a digest with one of them, and those
/// that an image rests on.
fn tags_that_matter(facts: &Facts, rows: &[Option<Arc<Row>>]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for answer in facts.answers.values() {
        let Ok(Answer::Overview(Ok(overview))) = answer else { continue };
        let moving = |tag: &str| TagClass::of(tag) == TagClass::Moving;
        let digests: BTreeSet<&String> = overview.tags.iter().filter(|(t, _)| moving(t)).map(|(_, a)| &a.digest).collect();
        let same = overview.tags.iter().filter(|(t, a)| digests.contains(&a.digest) && TagClass::of(t) != TagClass::DigestAlias);
        out.extend(same.map(|(tag, _)| tag.clone()));
    }
    for row in rows.iter().flatten() {
        out.extend([row.tag.clone()].into_iter().chain(row.hash.clone()).chain(row.seen.keys().cloned()));
    }
    for query in facts.answers.keys() {
        if let Query::Check { tag, .. } | Query::Tag { tag, .. } = query {
            out.insert(tag.clone());
        }
    }
    out
}

/// The config of a digest, as far as it was read, through list and manifest; or why the registry does not give it.
fn config_of(facts: &Facts, repository: &Repository, digest: &str) -> Option<Result<Config, String>> {
    let of_config =
        |config: &str| match facts.answers.get(&Query::Labels { repository: repository.clone(), config: config.to_owned() }) {
            Some(Ok(Answer::Labels(config))) => Some(Ok(config.clone())),
            Some(Ok(Answer::Refused(trouble))) => Some(Err(trouble.message.clone())),
            _ => None,
        };
    let read = |digest: &str| {
        let by_digest = [Form::All, Form::Docker, Form::Oci].into_iter().find_map(|form| {
            match facts.answers.get(&Query::Manifest { repository: repository.clone(), digest: digest.to_owned(), form }) {
                Some(Ok(Answer::Manifest(manifest))) => Some(manifest.clone()),
                _ => None,
            }
        });
        by_digest.or_else(|| {
            facts.answers.iter().find_map(|(query, answer)| match answer {
                Ok(Answer::Tag(Ok(found))) if found.digest == digest && query.repository() == Some(repository) => {
                    found.manifest.clone()
                }
                _ => None,
            })
        })
    };
    // Quay keeps labels by the manifest's own digest; a list has none of its own.
    let own = of_config(digest);
    if matches!(&own, Some(Ok(config)) if !config.labels.is_empty() && !config.only_added) {
        return own;
    }
    let Some(mut manifest) = read(digest) else { return own };
    if let Manifest::Index(Some((child, _))) = &manifest {
        if let Some(config) = of_config(child) {
            return Some(config);
        }
        match read(child) {
            Some(read) => manifest = read,
            None => return own,
        }
    }
    match manifest {
        Manifest::Image(config) => of_config(&config).or(own),
        Manifest::Labelled(config) => Some(Ok(config)),
        Manifest::Index(_) => Some(Ok(Config::default())),
    }
}

/// The questions for the history of every tag that moves, on hosts that report it.
pub fn histories(facts: &Facts, references: &[&Reference]) -> Vec<Query> {
    let is_known = |r: &&&Reference| {
        let overview = facts.answers.get(&Query::Overview { repository: r.repository.clone() });
        TagClass::of(&r.tag) == TagClass::Moving
            && matches!(overview, Some(Ok(Answer::Overview(Ok(o)))) if o.tags.contains_key(&r.tag) || !o.whole)
    };
    references.iter().filter(is_known).map(|r| Query::History { repository: r.repository.clone(), tag: r.tag.clone() }).collect()
}
