//! Facts as a file: what registries answered, to be read in place of them.
//!
//! A snapshot is what makes a static site of many viewers cost a registry nothing, and what lets a page show a registry that no browser
//! may read. It is JSON, compact, and the same facts give the same bytes. What it does not hold is unknown, never absent.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::name::{Reference, Repository, TagClass};
use super::quay::Life;
use super::registry::{Answer, Ask, Form, Found, Manifest, Missing, Trouble};
use super::resolve::{Facts, Row, Status};
use super::time;

/// The version that is written, and read.
const VERSION: u32 = 1;
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
    /// Why some of it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Tags and their digests; null where the registry said that there is no such tag.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, Option<String>>,
    /// Further tags whose digests were not asked for.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    list: BTreeSet<String>,
    /// Whether `tags` and `list` are all that there are.
    #[serde(skip_serializing_if = "is_false")]
    whole: bool,
    /// Since when a tag stands for what it does, seconds since 1970.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    moved: BTreeMap<String, u64>,
    /// Labels by digest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, BTreeMap<String, String>>,
    /// What a tag stood for before, newest first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    history: BTreeMap<String, Vec<Life>>,
}

/// What became of a tag between two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Added(String),
    /// It is not there any more.
    Removed(String),
    /// It stood for the first and stands for the second.
    Moved(String, String),
    /// One of the two does not tell.
    Unknown,
}

impl Snapshot {
    /// Keeps what `facts` hold, as of `fetched` (seconds since 1970). `rows` say what could not be found out, and which tags matter
    /// where a registry told of hundreds.
    pub fn new(facts: &Facts, rows: &[Option<Row>], link: String, fetched: u64, plain_hosts: BTreeSet<String>) -> Self {
        let mut out = Self {
            overtag_snapshot: VERSION,
            tool: concat!("overtag ", env!("CARGO_PKG_VERSION")).to_owned(),
            fetched_at: time::utc(fetched),
            fetched,
            link,
            incomplete: rows.iter().filter(|r| r.as_ref().is_none_or(|r| r.status == Status::Error)).count(),
            plain_hosts,
            repositories: BTreeMap::new(),
        };
        let matter = tags_that_matter(facts);
        for (ask, answer) in &facts.answers {
            let Some(repository) = ask.repository() else { continue };
            let kept = out.repositories.entry(repository.to_string()).or_default();
            match (ask, answer) {
                (_, Err(trouble)) => kept.error = kept.error.take().max(Some(trouble.what.clone())),
                (_, Ok(Answer::Tag(Err(Missing::Repository | Missing::Hidden)))) => kept.absent = true,
                (_, Ok(Answer::Check(Err(Missing::Repository | Missing::Hidden)))) => kept.absent = true,
                (_, Ok(Answer::Tags(Err(_)) | Answer::Overview(Err(_)))) => kept.absent = true,
                (Ask::Tag { tag, .. }, Ok(Answer::Tag(found))) => {
                    kept.tags.insert(tag.clone(), found.as_ref().ok().map(|f| f.digest.clone()));
                }
                (Ask::Check { tag, .. }, Ok(Answer::Check(digest))) => {
                    // The same tag may have been asked for in two forms; one that is there is there.
                    let known = kept.tags.entry(tag.clone()).or_default();
                    *known = known.take().or_else(|| digest.clone().ok());
                }
                (_, Ok(Answer::Tags(Ok(tags)))) => {
                    kept.list.extend(tags.iter().cloned());
                    kept.whole = true;
                }
                (_, Ok(Answer::Overview(Ok(overview)))) => {
                    let is_there =
                        |tag: &String| overview.tags.get(tag).filter(|a| a.expires_at.is_none_or(|at| at > facts.asked_at));
                    for tag in &matter {
                        match is_there(tag) {
                            Some(active) => {
                                kept.tags.insert(tag.clone(), Some(active.digest.clone()));
                                kept.moved.extend(active.moved_at.map(|at| (tag.clone(), at)));
                            }
                            None if overview.whole => _ = kept.tags.entry(tag.clone()).or_default(),
                            None => {}
                        }
                    }
                }
                (Ask::History { tag, .. }, Ok(Answer::History(lives))) => _ = kept.history.insert(tag.clone(), lives.clone()),
                _ => {}
            }
            if let Ok(Answer::Tag(Ok(found))) = answer
                && let Some(labels) = labels_of(facts, repository, &found.digest)
            {
                kept.labels.insert(found.digest.clone(), labels);
            }
            if let (Ask::Overview { .. }, Ok(Answer::Overview(Ok(overview)))) = (ask, answer) {
                let digests: BTreeSet<&String> = overview.tags.values().map(|a| &a.digest).collect();
                for digest in digests {
                    if let Some(labels) = labels_of(facts, repository, digest) {
                        kept.labels.insert(digest.clone(), labels);
                    }
                }
            }
        }
        for kept in out.repositories.values_mut() {
            let tags = &kept.tags;
            kept.list.retain(|tag| !tags.contains_key(tag));
        }
        out
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// What is no snapshot, or one of a later version.
    pub fn read(text: &str, name: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Head {
            overtag_snapshot: u32,
        }
        let wrong = |what: String| Error::usage(what, name, "give a file that overtag snapshot wrote");
        let head: Head = serde_json::from_str(text).map_err(|e| wrong(format!("this is no snapshot ({e})")))?;
        if head.overtag_snapshot != VERSION {
            let what = format!("the snapshot is of version {}, and this overtag reads version {VERSION}", head.overtag_snapshot);
            return Err(Error::usage(what, name, "read it with a newer overtag"));
        }
        serde_json::from_str(text).map_err(|e| wrong(format!("the snapshot is damaged ({e})")))
    }

    /// The file.
    pub fn write(&self) -> String {
        // Only maps with text keys and plain values: nothing in it can fail.
        serde_json::to_string(self).map_or_else(|_| String::new(), |text| text + "\n")
    }

    /// When the registries were asked, seconds since 1970.
    pub fn fetched(&self) -> u64 {
        self.fetched
    }

    /// What to say where it is older than a day; `now` in seconds since 1970.
    pub fn staleness(&self, now: u64) -> Option<String> {
        let age = now.saturating_sub(self.fetched);
        let text = || format!("The snapshot is of {}, {} ago: the channel may have moved since", self.fetched_at, time::age(age));
        (age > STALE).then(text)
    }

    /// The answer to a question, as a registry would have given it.
    ///
    /// # Errors
    /// What the snapshot does not hold.
    pub fn answer(&self, ask: &Ask) -> Result<Answer, Trouble> {
        let trouble = |what: String| Trouble {
            what,
            cure: "take a new snapshot with these choices (overtag snapshot), or ask the registry".to_owned(),
        };
        let Some(repository) = ask.repository() else { return Ok(Answer::Ping) };
        let Some(kept) = self.repositories.get(&repository.to_string()) else {
            return Err(trouble(format!("the snapshot of {} does not hold this repository", self.fetched_at)));
        };
        let unknown = |what: &str| match &kept.error {
            Some(error) => trouble(format!("when the snapshot was taken: {error}")),
            None => trouble(format!("the snapshot of {} does not tell {what}", self.fetched_at)),
        };
        let digest = |tag: &str| -> Result<Result<String, Missing>, Trouble> {
            match kept.tags.get(tag) {
                _ if kept.absent => Ok(Err(Missing::Repository)),
                Some(Some(digest)) => Ok(Ok(digest.clone())),
                Some(None) => Ok(Err(Missing::Tag)),
                None if kept.whole && !kept.list.contains(tag) => Ok(Err(Missing::Tag)),
                None => Err(unknown(&format!("of the tag {tag}"))),
            }
        };
        match ask {
            Ask::Tag { tag, .. } => Ok(Answer::Tag(digest(tag)?.map(|digest| Found {
                manifest: Some(Manifest::Image(digest.clone())),
                digest,
                form: Form::All,
                moved_at: kept.moved.get(tag).copied(),
            }))),
            Ask::Check { tag, .. } => Ok(Answer::Check(digest(tag)?)),
            Ask::Manifest { digest, .. } => Ok(Answer::Manifest(Manifest::Image(digest.clone()))),
            Ask::Labels { config, .. } => match kept.labels.get(config) {
                Some(labels) => Ok(Answer::Labels(labels.clone())),
                None => Err(unknown("its labels")),
            },
            Ask::Tags { .. } if kept.absent => Ok(Answer::Tags(Err(Missing::Repository))),
            Ask::Tags { .. } if kept.whole => {
                let there = kept.tags.iter().filter(|(_, digest)| digest.is_some()).map(|(tag, _)| tag);
                let all: BTreeSet<&String> = there.chain(&kept.list).collect();
                Ok(Answer::Tags(Ok(all.into_iter().cloned().collect())))
            }
            Ask::History { tag, .. } if kept.history.contains_key(tag) => Ok(Answer::History(kept.history[tag].clone())),
            _ => Err(unknown("all of its tags")),
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
                (kept.absent || kept.whole && !kept.list.contains(tag)).then_some(None)
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

/// Where a registry tells of hundreds of tags: those that move in any repository, and all that share a digest with one of them.
fn tags_that_matter(facts: &Facts) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for answer in facts.answers.values() {
        let Ok(Answer::Overview(Ok(overview))) = answer else { continue };
        let moving = |tag: &str| TagClass::of(tag) == TagClass::Moving;
        let digests: BTreeSet<&String> = overview.tags.iter().filter(|(t, _)| moving(t)).map(|(_, a)| &a.digest).collect();
        let same = overview.tags.iter().filter(|(t, a)| digests.contains(&a.digest) && TagClass::of(t) != TagClass::DigestAlias);
        out.extend(same.map(|(tag, _)| tag.clone()));
    }
    // And what was asked for by name.
    for (ask, answer) in &facts.answers {
        if let (Ask::Check { tag, .. } | Ask::Tag { tag, .. }, Ok(_)) = (ask, answer) {
            out.insert(tag.clone());
        }
    }
    out
}

/// The labels of a digest, as far as they were read, through list and manifest.
fn labels_of(facts: &Facts, repository: &Repository, digest: &str) -> Option<BTreeMap<String, String>> {
    let of_config =
        |config: &str| match facts.answers.get(&Ask::Labels { repository: repository.clone(), config: config.to_owned() }) {
            Some(Ok(Answer::Labels(labels))) => Some(labels.clone()),
            _ => None,
        };
    let read = |digest: &str| {
        let by_digest = [Form::All, Form::Docker, Form::Oci].into_iter().find_map(|form| {
            match facts.answers.get(&Ask::Manifest { repository: repository.clone(), digest: digest.to_owned(), form }) {
                Some(Ok(Answer::Manifest(manifest))) => Some(manifest.clone()),
                _ => None,
            }
        });
        by_digest.or_else(|| {
            facts.answers.iter().find_map(|(ask, answer)| match answer {
                Ok(Answer::Tag(Ok(found))) if found.digest == digest && ask.repository() == Some(repository) => {
                    found.manifest.clone()
                }
                _ => None,
            })
        })
    };
    // Quay keeps labels by the manifest's own digest.
    if let Some(labels) = of_config(digest).filter(|l| !l.is_empty()) {
        return Some(labels);
    }
    let mut manifest = read(digest)?;
    if let Manifest::Index(Some((child, _))) = &manifest {
        if let Some(labels) = of_config(child) {
            return Some(labels);
        }
        manifest = read(child)?;
    }
    match manifest {
        Manifest::Image(config) => of_config(&config),
        Manifest::Labelled(labels) => Some(labels),
        Manifest::Index(_) => Some(BTreeMap::new()),
    }
}

/// The questions for the history of every tag that moves, on hosts that tell it.
pub fn histories(facts: &Facts, references: &[&Reference]) -> Vec<Ask> {
    let is_known = |r: &&&Reference| {
        let overview = facts.answers.get(&Ask::Overview { repository: r.repository.clone() });
        TagClass::of(&r.tag) == TagClass::Moving
            && matches!(overview, Some(Ok(Answer::Overview(Ok(o)))) if o.tags.contains_key(&r.tag))
    };
    references.iter().filter(is_known).map(|r| Ask::History { repository: r.repository.clone(), tag: r.tag.clone() }).collect()
}
