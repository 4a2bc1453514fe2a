//! Facts → what is written for an image, or which facts are lacking.
//!
//! Resolution is a pure function of what registries told so far: [`Resolver::row`] either ends, or names the questions whose
//! answers it lacks, and is called again when they are there. So nothing waits in here, every image is independent of the order in
//! which answers come, and the same answers give the same row.
//!
//! A DLRN hash is repository-wide: once a few images (the *scouts*, the first of each channel in the list that carry it) have told
//! theirs, another image needs only to show that its tag of that hash has its channel's digest: two requests an image.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::engine::image::digest::is_digest;
use crate::engine::image::reference::{Reference, Repository};
use crate::engine::image::tag::{TagClass, is_tag};
use crate::engine::image::version::compare_versions;
use crate::engine::options::settings::{Missing as OnMissing, Pin, Settings};
use crate::engine::registry::quay;
use crate::engine::registry::query::{Active, Overview};
use crate::engine::registry::tag_list::TagList;
use crate::engine::registry::{
    Answer, Checked, Config, Dialect, Exchange, Form, Found, Manifest, NotFound, Query, RegistryError,
};
use crate::engine::template::plan::Image;

/// What registries told us, and how: only ever added to while a run goes on.
#[derive(Debug, Default)]
pub struct Facts {
    /// The answer to each question, or why there is none.
    pub answers: HashMap<Query, Result<Answer, RegistryError>>,
    /// What was sent and received for each question.
    pub exchanges: HashMap<Query, Vec<Exchange>>,
    /// What was sent and received for leave to read a repository.
    pub logins: HashMap<Repository, Vec<Exchange>>,
    /// By which API each host is asked; [`Dialect::Distribution`] where none stands.
    pub dialects: BTreeMap<String, Dialect>,
    /// When they were asked, seconds since 1970.
    pub asked_at: u64,
    /// In which form a page asks a repository first, where that is not docker's.
    pub forms: HashMap<Repository, Form>,
    /// Tags that were not there when they were last asked for. A HEAD would have to be followed by the GET whose body says that they
    /// still are not.
    pub known_absent: HashSet<(Repository, String)>,
    /// Since when it is believed that tags of hashes are not there, seconds since 1970.
    pub absences_since: u64,
}

impl Facts {
    /// Forgets what can have moved by `now`, and gives back what each tag stood for. What is named by a digest cannot, and what a
    /// hash's tag stands for does not; a list of tags, and that a hash's tag is not there, hold as long as no tag of the repository
    /// moves, and no longer than [`ABSENCE_TTL`]: the tag of a hash may come late, to an image that a build left as it was.
    pub(super) fn forget_moving(&mut self, now: u64) -> HashMap<(Repository, String), Option<String>> {
        let (mut before, mut absent) = (HashMap::new(), HashSet::new());
        let since = if self.absences_since == 0 { self.asked_at } else { self.absences_since };
        let is_old = now >= since + ABSENCE_TTL;
        self.absences_since = if is_old { now } else { since };
        self.asked_at = now;
        let is_lasting = |query: &Query, answer: &Result<Answer, RegistryError>| match (query, answer) {
            (_, Err(_)) => false,
            (Query::Tag { tag, .. }, Ok(answer)) => TagClass::of(tag) != TagClass::Moving && matches!(answer, Answer::Tag(Ok(_))),
            (Query::Check { .. }, Ok(Answer::Check(Err(_)))) | (Query::Tags { .. }, _) if is_old => false,
            (Query::Check { tag, .. }, _) => TagClass::of(tag) != TagClass::Moving,
            (Query::Manifest { .. } | Query::Labels { .. } | Query::Tags { .. }, Ok(answer)) => {
                !matches!(answer, Answer::Overview(_) | Answer::Refused(_))
            }
            // Whoever shows it sees when it has gone on.
            (Query::History { .. }, Ok(_)) => true,
            (Query::Overview { .. } | Query::Repositories { .. } | Query::Ping { .. }, _) => false,
        };
        self.answers.retain(|query, answer| {
            let lasts = is_lasting(query, answer);
            if !lasts {
                self.exchanges.remove(query);
                if let (Query::Tag { repository, tag, .. }, Ok(Answer::Tag(found))) = (query, &answer) {
                    before.insert((repository.clone(), tag.clone()), found.as_ref().ok().map(|f| f.digest.clone()));
                    if found.is_err() {
                        absent.insert((repository.clone(), tag.clone()));
                    }
                }
            }
            lasts
        });
        self.known_absent = absent;
        before
    }

    /// Forgets what holds only as long as no tag of the repository moves: its tags, and what those of hashes stand for, for a build
    /// may be pushed again.
    pub(super) fn forget_tags(&mut self, repository: &Repository) {
        self.answers.retain(|query, _| {
            let is_of_tags = matches!(query, Query::Tags { .. } | Query::Check { .. }) && query.repository() == Some(repository);
            if is_of_tags {
                self.exchanges.remove(query);
            }
            !is_of_tags
        });
    }
}

/// What became of an image; the words are those of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It is known what to write.
    Resolved,
    /// The registry said that it has no such tag.
    Absent,
    /// The tag is there, and the chain found nothing to pin it to.
    Unresolved,
    /// It could not be found out.
    #[default]
    Error,
}

impl Status {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Absent => "absent",
            Self::Unresolved => "unresolved",
            Self::Error => "error",
        }
    }
}

/// What it is that the registry does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The repository is there, and has no such tag.
    NoTag,
    /// There is no such repository.
    NoRepository,
    /// There is no public repository of that name: it is missing, or private, and Quay does not say which.
    NoPublicRepository,
}

/// What a row may bear beside its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// This image's channel stands for another hash than most of the channel's images.
    Torn,
    /// The label names a tag of another digest.
    Mismatch,
}

impl Note {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::Mismatch => "mismatch",
        }
    }
}

/// How the tag that is written was found; the words are those of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PinnedBy {
    /// Nothing is written, or nothing was found.
    #[default]
    Nothing,
    /// The tag asked for does not move.
    Exact,
    /// The image's label names it.
    Label,
    /// It is another tag of the same digest.
    Sibling,
    /// It is the digest.
    Digest,
    /// It is the tag asked for, which moves.
    Channel,
}

impl PinnedBy {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Exact => "exact",
            Self::Label => "label",
            Self::Sibling => "sibling",
            Self::Digest => "digest",
            Self::Channel => "channel",
        }
    }
}

/// The answer for one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// What became of it.
    pub status: Status,
    /// Of an absent image, what it is that is not there.
    pub absence: Option<Absence>,
    /// The tag or digest that is written; where nothing is, the tag that was asked for.
    pub tag: String,
    /// The whole name that is written, unless it is left out.
    pub written: Option<String>,
    /// How the tag was found.
    pub pinned_by: PinnedBy,
    /// The digest that the tag asked for stands for.
    pub digest: Option<String>,
    /// The build's hash that it stands for, where one is known.
    pub hash: Option<String>,
    /// Since when the tag asked for stands for it, seconds since 1970, where the registry tells.
    pub moved_at: Option<u64>,
    /// Torn, mismatch.
    pub notes: Vec<Note>,
    /// Why it is so, as a sentence without a full stop.
    pub reason: String,
    /// What cures it, for an error.
    pub hint: String,
    /// The labels, where they were read.
    pub labels: BTreeMap<String, String>,
    /// When the image was built, seconds since 1970, where its config was read and says so.
    pub built_at: Option<u64>,
    /// Other tags that were looked at, and the digest of each that is there.
    pub seen: BTreeMap<String, String>,
    /// The questions that this row rests on, in the order in which they were first needed.
    pub queries: Vec<Query>,
}

impl Row {
    /// Whether the tag asked for stands for `hash`, as far as that was seen.
    pub(super) fn points_to(&self, hash: &str) -> Option<bool> {
        if self.hash.as_deref() == Some(hash) {
            return Some(true);
        }
        self.seen.get(hash).map(|digest| Some(digest) == self.digest.as_ref())
    }
}

/// Why an evaluation did not come to an end.
enum Stop {
    /// These answers are lacking.
    Needs(Vec<Query>),
    /// A question has no answer.
    RegistryError(RegistryError),
    /// The registry does not give this, whoever asks again.
    Refused(RegistryError),
}

type Step<T> = Result<T, Stop>;

/// How many scouts tell the hash of a channel.
const SCOUTS: usize = 3;
/// How many do where that costs no request of its own.
const WITNESSES: usize = 12;
/// Seconds for which refreshes believe that the tag of a hash is not there.
const ABSENCE_TTL: u64 = 600;
/// What stands for the tag while a template is rendered under `newest:REGEX`.
pub const NEWEST: &str = "newest";
/// Tags that are compared at a time when siblings are looked for.
const BATCH: usize = 16;
/// Names of channels that are never taken for a pinned tag, whatever a label says.
const CHANNELS: [&str; 9] = [
    "latest",
    "current",
    "consistent",
    "current-tripleo",
    "current-tripleo-rdo",
    "current-passed-ci",
    "current-podified",
    "tripleo-ci-testing",
    "podified-ci-testing",
];

/// The images of one tag that moves, in one namespace: they are promoted together.
type Channel = (String, String);

/// What evaluating needs beside facts.
#[derive(Debug)]
pub struct Resolver {
    settings: Settings,
    images: Vec<Image>,
    channels: HashMap<Channel, Vec<usize>>,
    pins_exact: bool,
    every_label: bool,
    /// Whether on a Quay, which tells tags and digests at once, siblings alone tell hashes.
    by_siblings: bool,
    /// Rows whose labels are wanted, needed or not.
    labelled: HashSet<usize>,
    hashes: RefCell<HashMap<Channel, Vec<String>>>,
}

/// The questions that one evaluation looked at.
struct Lookup<'a> {
    facts: &'a Facts,
    used: RefCell<(HashSet<Query>, Vec<Query>)>,
}

impl Lookup<'_> {
    fn at(&self, query: Query) -> Step<&Answer> {
        let known = self.facts.answers.get(&query);
        let (known_queries, order) = &mut *self.used.borrow_mut();
        if known_queries.insert(query.clone()) {
            order.push(query.clone());
        }
        match known {
            Some(Ok(Answer::Refused(trouble))) => Err(Stop::Refused(trouble.clone())),
            Some(Ok(answer)) => Ok(answer),
            Some(Err(trouble)) => Err(Stop::RegistryError(trouble.clone())),
            None => Err(Stop::Needs(vec![query])),
        }
    }

    /// Whether the repository's host is asked by Quay's own API.
    fn is_quay(&self, repository: &Repository) -> bool {
        self.facts.dialects.get(&repository.host) == Some(&Dialect::Quay)
    }

    /// The tags of a repository with their digests, as many as one answer holds or all: Quay alone.
    fn overview(&self, repository: &Repository, whole: bool) -> Step<Result<&Overview, NotFound>> {
        let repository = repository.clone();
        match self.at(if whole { Query::Tags { repository } } else { Query::Overview { repository } })? {
            Answer::Overview(overview) => Ok(overview.as_ref().map_err(|m| *m)),
            _ => Ok(Err(NotFound::Repository)),
        }
    }

    /// A tag of a repository on Quay. What its list names is there: that a tag is to expire is told in the server's local time.
    fn active(&self, repository: &Repository, tag: &str) -> Step<Result<Active, NotFound>> {
        let overview = match self.overview(repository, false)? {
            Ok(overview) => overview,
            Err(missing) => return Ok(Err(missing)),
        };
        match overview.tags.get(tag) {
            Some(active) => Ok(Ok(active.clone())),
            None if overview.whole && !overview.others.contains(tag) && !overview.undigested.contains(tag) => {
                Ok(Err(NotFound::Tag))
            }
            // Only the newest were told, and a channel that rarely moves is not among them.
            None => match self.at(Query::Check { repository: repository.clone(), tag: tag.to_owned(), form: Form::All })? {
                Answer::Check(is) => Ok(is.clone().map(|Checked { digest, moved_at }| Active { digest, moved_at })),
                _ => Ok(Err(NotFound::Tag)),
            },
        }
    }

    /// What to add to an absence on a Quay that may be a proxy cache: only `/v2/` asks its upstream.
    fn doubt(&self, repository: &Repository) -> &'static str {
        match self.facts.answers.get(&Query::Overview { repository: repository.clone() }) {
            Some(Ok(Answer::Overview(Ok(overview)))) if overview.all_expire => {
                " (all its tags expire: if this is a proxy cache, ask by api=distribution)"
            }
            _ => "",
        }
    }

    fn check(&self, repository: &Repository, tag: &str, form: Form) -> Step<Option<String>> {
        if self.is_quay(repository) {
            return match self.active(repository, tag)? {
                Ok(active) => Ok(Some(active.digest)),
                Err(missing) => self.confirm_absence(repository, missing).map(|()| None),
            };
        }
        match self.at(Query::Check { repository: repository.clone(), tag: tag.to_owned(), form })? {
            Answer::Check(Ok(is)) => Ok(Some(is.digest.clone())),
            Answer::Check(Err(missing)) => self.confirm_absence(repository, *missing).map(|()| None),
            _ => Ok(None),
        }
    }

    /// A 404 without a code is the registry's word only if this is a registry at all, and a 401 only if the namespace's public
    /// repositories can be listed and this is none of them.
    fn confirm_absence(&self, repository: &Repository, missing: NotFound) -> Step<()> {
        match missing {
            NotFound::Tag | NotFound::Repository => {}
            NotFound::WithoutCode => _ = self.at(Query::Ping { host: repository.host.clone() })?,
            NotFound::PrivateOrMissing => {
                let (namespace, name) = quay::split(repository);
                let namespace = namespace.to_owned();
                let trouble = |message: String| {
                    let hint = "log in and ask by api=distribution if it is private, else check the namespace".to_owned();
                    Err(Stop::RegistryError(RegistryError { message, hint }))
                };
                match self.at(Query::Repositories { host: repository.host.clone(), namespace: namespace.clone() })? {
                    Answer::Repositories(names) if names.contains(name) => {
                        return trouble("the registry lists it as public, and does not let it be read".to_owned());
                    }
                    Answer::Repositories(names) if names.is_empty() => {
                        return trouble(format!("it is private, or not there: {namespace} has no public repository at all"));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn config(&self, repository: &Repository, found: &Found) -> Step<Config> {
        if self.is_quay(repository) {
            // Quay keeps labels by manifest; a list has none of its own, and its child has.
            let of = |digest: &str| match self.at(Query::Labels { repository: repository.clone(), config: digest.to_owned() })? {
                Answer::Labels(config) => Ok(config.clone()),
                _ => Ok(Config::default()),
            };
            let config = of(&found.digest)?;
            // What people added to a list is no label of its images.
            return match (config.labels.is_empty() || config.only_added)
                .then(|| self.manifest(repository, &found.digest, Form::All))
                .transpose()?
            {
                Some(Manifest::Index(Some((child, _)))) => of(&child),
                Some(Manifest::Index(None)) => Ok(Config::default()),
                _ => Ok(config),
            };
        }
        let mut manifest = match &found.manifest {
            Some(manifest) => manifest.clone(),
            None => self.manifest(repository, &found.digest, found.form)?,
        };
        if let Manifest::Index(child) = manifest {
            let Some((child, form)) = child else { return Ok(Config::default()) };
            let form = if found.form == Form::All { Form::All } else { form };
            manifest = self.manifest(repository, &child, form)?;
        }
        let config = match manifest {
            Manifest::Image(config) => config,
            Manifest::Labelled(config) => return Ok(config),
            Manifest::Index(_) => return Ok(Config::default()),
        };
        match self.at(Query::Labels { repository: repository.clone(), config })? {
            Answer::Labels(config) => Ok(config.clone()),
            _ => Ok(Config::default()),
        }
    }

    fn manifest(&self, repository: &Repository, digest: &str, form: Form) -> Step<Manifest> {
        match self.at(Query::Manifest { repository: repository.clone(), digest: digest.to_owned(), form })? {
            Answer::Manifest(manifest) => Ok(manifest.clone()),
            _ => Ok(Manifest::Index(None)),
        }
    }

    /// All tags; none where there is no repository.
    fn tags(&self, repository: &Repository) -> Step<Result<Cow<'_, TagList>, NotFound>> {
        if self.is_quay(repository) {
            let some = self.overview(repository, false)?;
            let all = if some.is_ok_and(|o| !o.whole) { self.overview(repository, true)? } else { some };
            let tags = |o: &Overview| o.tags.keys().chain(&o.others).chain(&o.undigested).map(String::as_str).collect();
            return Ok(all.map(|overview| Cow::Owned(tags(overview))));
        }
        match self.at(Query::Tags { repository: repository.clone() })? {
            Answer::Tags(tags) => Ok(tags.as_ref().map(Cow::Borrowed).map_err(|missing| *missing)),
            _ => Ok(Err(NotFound::Repository)),
        }
    }

    /// All hashes whose tags have that digest on Quay, of the tags that came at once: the newest first.
    fn hashes(&self, repository: &Repository, digest: &str) -> Step<Vec<String>> {
        let Ok(overview) = self.overview(repository, false)? else { return Ok(Vec::new()) };
        let mut same: Vec<_> =
            overview.tags.iter().filter(|(tag, active)| TagClass::of(tag).is_hash() && active.digest == digest).collect();
        same.sort_by_key(|(tag, active)| (TagClass::of(tag), std::cmp::Reverse(active.moved_at), *tag));
        Ok(same.into_iter().map(|(tag, _)| tag.clone()).collect())
    }

    /// The best immutable tag of that digest on Quay, and among how many it was looked for.
    fn sibling(&self, repository: &Repository, digest: &str) -> Step<(Option<String>, usize)> {
        for whole in [false, true] {
            let Ok(overview) = self.overview(repository, whole)? else { return Ok((None, 0)) };
            let immutable = || overview.tags.iter().filter(|(tag, _)| TagClass::of(tag) < TagClass::DigestAlias);
            let same = immutable().filter(|(_, active)| active.digest == digest);
            let best = same.min_by_key(|(tag, active)| (TagClass::of(tag), std::cmp::Reverse(active.moved_at), *tag));
            let unknown = overview.undigested.iter().filter(|tag| TagClass::of(tag) < TagClass::DigestAlias).count();
            if best.is_none() && overview.whole && unknown > 0 {
                let message = format!("Quay does not tell what {unknown} of its immutable tags stand for");
                return Err(Stop::Refused(RegistryError { message, hint: "ask by api=distribution".to_owned() }));
            }
            if best.is_some() || overview.whole {
                let others = overview.others.iter().filter(|tag| TagClass::of(tag) < TagClass::DigestAlias);
                return Ok((best.map(|(tag, _)| tag.clone()), immutable().count() + others.count()));
            }
        }
        Ok((None, 0))
    }
}

/// Both, or all that either lacks.
fn both<A, B>(a: Step<A>, b: Step<B>) -> Step<(A, B)> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(Stop::Needs(mut a)), Err(Stop::Needs(b))) => {
            a.extend(b);
            Err(Stop::Needs(a))
        }
        (Err(stop), _) | (_, Err(stop)) => Err(stop),
    }
}

/// What a chain of pins ended in.
struct Pinned {
    tag: String,
    by: PinnedBy,
    config: Config,
    notes: Vec<Note>,
    seen: BTreeMap<String, String>,
    tried: Vec<String>,
}

impl Resolver {
    /// A resolver of `images` under `settings`.
    pub fn new(settings: Settings, images: Vec<Image>) -> Self {
        let mut channels: HashMap<Channel, Vec<usize>> = HashMap::new();
        for (i, image) in images.iter().enumerate() {
            if let Ok(reference) = &image.reference
                && reference.digest.is_none()
            {
                channels.entry(Self::channel(reference)).or_default().push(i);
            }
        }
        Self {
            settings,
            images,
            channels,
            pins_exact: false,
            every_label: false,
            by_siblings: false,
            labelled: HashSet::new(),
            hashes: RefCell::default(),
        }
    }

    /// A resolver that goes through the chain even where the tag asked for does not move.
    pub fn discovering(settings: Settings, image: Image) -> Self {
        Self { pins_exact: true, ..Self::new(settings, vec![image]) }
    }

    /// A resolver that only has to tell for which hash an image stands: on a Quay the tags of the same digest say so, and no label is
    /// read for it.
    pub fn for_board(settings: Settings, images: Vec<Image>) -> Self {
        let by_siblings = settings.pin.contains(&Pin::Sibling);
        Self { by_siblings, ..Self::new(settings, images) }
    }

    /// A resolver that reads every image's labels, needed or not: for a snapshot, of which readers may want other images, and so
    /// other scouts.
    pub fn for_snapshot(settings: Settings, images: Vec<Image>) -> Self {
        Self { every_label: true, ..Self::new(settings, images) }
    }

    fn is_to_pin(&self, tag: &str) -> bool {
        self.pins_exact || TagClass::of(tag) == TagClass::Moving
    }

    fn channel(reference: &Reference) -> Channel {
        (reference.repository.namespace(), reference.tag.clone())
    }

    /// Has the labels of row `i` read, needed or not.
    pub(super) fn want_labels(&mut self, i: usize) {
        self.labelled.insert(i);
    }

    /// Forgets which hashes the scouts told, so that they are asked again.
    pub fn forget_hashes(&mut self) {
        self.hashes.borrow_mut().clear();
    }

    /// The images, in the plan's order.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// What the settings say.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The row of image `i`, or the questions whose answers are lacking.
    pub fn row(&self, i: usize, facts: &Facts) -> Result<Row, Vec<Query>> {
        let image = &self.images[i];
        let lookup = Lookup { facts, used: RefCell::default() };
        let mut row = Row::default();
        match &image.reference {
            Err(why) => {
                row.reason = format!("this is no name of an image: {why}");
                row.hint = "correct the template or the substitutions".to_owned();
                row.tag = image.imagename.rsplit_once(':').map_or("", |(_, t)| t).to_owned();
            }
            Ok(reference) => {
                row.tag = reference.digest.clone().unwrap_or_else(|| reference.tag.clone());
                match self.evaluate(i, reference, &lookup, &mut row) {
                    Ok(()) => {}
                    Err(Stop::Needs(queries)) => return Err(queries),
                    Err(Stop::RegistryError(trouble) | Stop::Refused(trouble)) => {
                        row.status = Status::Error;
                        row.reason = trouble.message;
                        row.hint = trouble.hint;
                    }
                }
            }
        }
        row.queries = lookup.used.into_inner().1;
        let stands_in = self.settings.newest.is_some() && image.reference.as_ref().is_ok_and(|r| r.tag == NEWEST);
        if !stands_in
            && row.written.is_none()
            && matches!(row.status, Status::Absent | Status::Unresolved)
            && self.settings.missing == OnMissing::Keep
        {
            row.written = Some(image.imagename.clone());
        }
        Ok(row)
    }

    fn evaluate(&self, i: usize, reference: &Reference, lookup: &Lookup<'_>, row: &mut Row) -> Step<()> {
        let repository = &reference.repository;
        if let Some(digest) = reference.digest.as_ref().filter(|_| !self.pins_exact) {
            row.digest = Some(digest.clone());
            let found = lookup.at(Query::Tag { repository: repository.clone(), tag: digest.clone(), manifest: false })?;
            match found {
                Answer::Tag(Ok(found)) if found.digest != *digest => {
                    let message = format!("the registry answers to {digest} with {}", found.digest);
                    return Err(Stop::RegistryError(RegistryError { message, hint: "ask whoever runs the registry".to_owned() }));
                }
                Answer::Tag(Ok(_)) => {
                    self.write(row, self.images[i].imagename.clone(), digest, PinnedBy::Exact, "the template names this digest")
                }
                Answer::Tag(Err(missing)) => self.missing(row, repository, digest, *missing, lookup)?,
                _ => {}
            }
            return Ok(());
        }
        let mut tag = reference.digest.clone().unwrap_or_else(|| reference.tag.clone());
        if let Some(newest) = &self.settings.newest
            && tag == NEWEST
        {
            let tags = match lookup.tags(repository)? {
                Ok(tags) => tags,
                Err(missing) => return self.missing(row, repository, &tag, missing, lookup),
            };
            let mut best: Option<String> = None;
            for candidate in tags.iter() {
                let is_match = newest.is_found(candidate).map_err(|why| {
                    let message = format!("`{}` was given up on the tag {candidate}: {why}", newest.text);
                    Stop::RegistryError(RegistryError { message, hint: "write the regular expression more simply".to_owned() })
                })?;
                if is_match && best.as_ref().is_none_or(|b| compare_versions(b, candidate).is_lt()) {
                    best = Some(candidate.to_owned());
                }
            }
            match best {
                Some(best) => tag = best,
                None => {
                    row.status = Status::Absent;
                    row.absence = Some(Absence::NoTag);
                    let doubt = lookup.doubt(repository);
                    row.reason = format!("none of the {} tags of {repository} matches {}{doubt}", tags.len(), newest.text);
                    return Ok(());
                }
            }
        }
        let moves = self.is_to_pin(&tag) && self.settings.newest.as_ref().is_none_or(|_| reference.tag != NEWEST);
        let shares = moves && self.hash_is_shared();
        let own = self.found(i, repository, &tag, shares, lookup);
        let is_scout = self.is_scout(i, reference) && !self.has_siblings(repository, lookup.facts);
        let (found, hashes) = if shares && !is_scout {
            both(own, self.hashes(&Self::channel(reference), lookup.facts))?
        } else {
            (own?, Vec::new())
        };
        let found = match found {
            Ok(found) => found,
            Err(missing) => return self.missing(row, repository, &tag, missing, lookup),
        };
        row.digest = Some(found.digest.clone());
        row.moved_at = found.moved_at;
        // Nothing rests on these: that they cannot be read is no trouble of the row.
        let config = match self.labelled.contains(&i).then(|| lookup.config(repository, &found)) {
            Some(Ok(config)) => config,
            Some(Err(Stop::Needs(queries))) => return Err(Stop::Needs(queries)),
            Some(Err(Stop::RegistryError(_) | Stop::Refused(_))) | None => Config::default(),
        };
        if !moves {
            (row.labels, row.built_at) = (config.labels, config.built_at);
            row.hash = TagClass::of(&tag).is_hash().then(|| tag.clone());
            if self.settings.pin.first() == Some(&Pin::Digest) {
                self.write(
                    row,
                    reference.at_digest(&found.digest),
                    &found.digest,
                    PinnedBy::Digest,
                    "the digest of the tag that was asked for",
                );
            } else {
                self.write(
                    row,
                    reference.at_tag(&tag),
                    &tag,
                    PinnedBy::Exact,
                    "the tag that was asked for does not move, and it is there",
                );
            }
            return Ok(());
        }
        if self.every_label {
            match lookup.config(repository, &found) {
                Err(Stop::Refused(_)) | Ok(_) => {}
                Err(stop) => return Err(stop),
            }
        }
        let mut pinned = self.pin(reference, &found, &hashes, lookup)?;
        if self.has_siblings(repository, lookup.facts) {
            // It stands for each build that left it as it is.
            let all = lookup.hashes(repository, &found.digest)?;
            pinned.seen.extend(all.into_iter().map(|hash| (hash, found.digest.clone())));
        }
        // A scout did not wait for the others. Where it stands for another hash than they do, or for none that it tells, its own tag
        // of theirs may still have the same digest: then it stands for both, and is not torn.
        if shares && (is_scout || self.labels_go_first()) {
            let hashes = self.hashes(&Self::channel(reference), lookup.facts)?;
            if let Some(majority_hash) = hashes.first().filter(|h| **h != pinned.tag)
                && let Some(digest) = lookup.check(repository, majority_hash, found.form)?
            {
                pinned.seen.insert(majority_hash.clone(), digest);
            }
        }
        let config = if config == Config::default() { std::mem::take(&mut pinned.config) } else { config };
        (row.labels, row.built_at) = (config.labels, config.built_at);
        row.notes = std::mem::take(&mut pinned.notes);
        row.hash = TagClass::of(&pinned.tag).is_hash().then(|| pinned.tag.clone());
        row.seen = std::mem::take(&mut pinned.seen);
        let tried = pinned.tried.join("; ");
        let (name, why) = match pinned.by {
            PinnedBy::Nothing => {
                row.status = Status::Unresolved;
                row.reason = if tried.is_empty() { "the chain is empty".to_owned() } else { tried };
                return Ok(());
            }
            PinnedBy::Digest => (reference.at_digest(&pinned.tag), "written by its digest"),
            PinnedBy::Exact | PinnedBy::Channel => (reference.at_tag(&pinned.tag), "written as asked for"),
            PinnedBy::Label => (reference.at_tag(&pinned.tag), "its label names this tag, and the tag has the channel's digest"),
            PinnedBy::Sibling => (reference.at_tag(&pinned.tag), "this tag has the channel's digest"),
        };
        let reason = if tried.is_empty() { why.to_owned() } else { format!("{why}, for {tried}") };
        self.write(row, name, &pinned.tag, pinned.by, reason);
        Ok(())
    }

    fn write(&self, row: &mut Row, name: String, tag: &str, by: PinnedBy, reason: impl Into<String>) {
        row.status = Status::Resolved;
        row.tag = tag.to_owned();
        row.written = Some(name);
        row.pinned_by = by;
        row.reason = reason.into();
    }

    /// Absent, on the registry's own word; a 404 without a code is that only if this is a registry at all, and that there is no
    /// repository is not believed of one that has just been read.
    fn missing(&self, row: &mut Row, repository: &Repository, tag: &str, missing: NotFound, lookup: &Lookup<'_>) -> Step<()> {
        lookup.confirm_absence(repository, missing)?;
        let has_tags =
            || matches!(lookup.facts.answers.get(&Query::Tags { repository: repository.clone() }), Some(Ok(Answer::Tags(Ok(_)))));
        let (absence, reason) = match missing {
            NotFound::Repository if has_tags() => {
                let message =
                    format!("the registry lists the tags of {repository}, and then says that it has no such repository");
                return Err(Stop::RegistryError(RegistryError { message, hint: "retry".to_owned() }));
            }
            NotFound::Repository => (Absence::NoRepository, format!("{} has no repository {}", repository.host, repository.path)),
            NotFound::PrivateOrMissing => {
                let (namespace, name) = quay::split(repository);
                let message = format!("{}/{namespace} has no public repository {name} (missing or private)", repository.host);
                (Absence::NoPublicRepository, message)
            }
            NotFound::Tag | NotFound::WithoutCode => {
                (Absence::NoTag, format!("{repository} has no tag {tag}{}", lookup.doubt(repository)))
            }
        };
        row.status = Status::Absent;
        row.absence = Some(absence);
        row.reason = reason;
        Ok(())
    }

    /// Whether the chain lets an image take the hash that another one told: its siblings count, and before anything else but labels.
    fn hash_is_shared(&self) -> bool {
        matches!(self.settings.pin[..], [Pin::Sibling, ..] | [Pin::Label, Pin::Sibling, ..])
    }

    /// Whether the labels come before a hash that another image told: those that somebody chose are tried in their order, image by image.
    fn labels_go_first(&self) -> bool {
        self.settings.has_labels_of_its_own && self.settings.pin.first() == Some(&Pin::Label)
    }

    /// Whether the siblings of this repository tell its hashes.
    fn has_siblings(&self, repository: &Repository, facts: &Facts) -> bool {
        self.by_siblings && facts.dialects.get(&repository.host) == Some(&Dialect::Quay)
    }

    fn is_scout(&self, i: usize, reference: &Reference) -> bool {
        self.channels.get(&Self::channel(reference)).is_some_and(|c| c.iter().take(SCOUTS).any(|s| *s == i))
    }

    /// What a tag stands for. Those who will need labels ask for the manifest at once.
    fn found(
        &self,
        i: usize,
        repository: &Repository,
        tag: &str,
        shares: bool,
        lookup: &Lookup<'_>,
    ) -> Step<Result<Found, NotFound>> {
        if lookup.is_quay(repository) && !is_digest(tag) {
            let found = |a: Active| Found { digest: a.digest, form: Form::All, manifest: None, moved_at: a.moved_at };
            return Ok(lookup.active(repository, tag)?.map(found));
        }
        let is_scout = self.images[i].reference.as_ref().is_ok_and(|r| self.is_scout(i, r));
        let reads_label = self.settings.pin.first() == Some(&Pin::Label) && !self.settings.labels.is_empty();
        let was_absent = lookup.facts.known_absent.contains(&(repository.clone(), tag.to_owned()));
        let pins_digest = self.settings.pin.first() == Some(&Pin::Digest);
        let manifest = was_absent
            || pins_digest && self.is_to_pin(tag)
            || self.is_to_pin(tag) && reads_label && (is_scout || !shares || self.every_label || self.labels_go_first());
        match lookup.at(Query::Tag { repository: repository.clone(), tag: tag.to_owned(), manifest })? {
            Answer::Tag(found) => Ok(found.clone()),
            _ => Ok(Err(NotFound::WithoutCode)),
        }
    }

    /// The hashes that the channel's scouts told, the most frequent first. The scouts are the first images of the channel that
    /// carry it, by their place in the list and not by who answered first.
    fn hashes(&self, channel: &Channel, facts: &Facts) -> Step<Vec<String>> {
        if let Some(known) = self.hashes.borrow().get(channel) {
            return Ok(known.clone());
        }
        let lookup = Lookup { facts, used: RefCell::default() };
        let (mut reported, mut scouts, mut needed) = (Vec::<(String, usize)>::new(), 0, Vec::new());
        for &i in &self.channels[channel] {
            let is_reported = self.images[i].reference.as_ref().is_ok_and(|r| self.has_siblings(&r.repository, facts));
            if scouts == if is_reported { WITNESSES } else { SCOUTS } {
                break;
            }
            let Ok(reference) = &self.images[i].reference else { continue };
            let outcome = self.found(i, &reference.repository, &reference.tag, true, &lookup).and_then(|found| match found {
                // An image that a build left as it is has its tag too; those that it changed decide.
                Ok(found) if is_reported => lookup.hashes(&reference.repository, &found.digest).map(Some),
                Ok(found) => self.pin(reference, &found, &[], &lookup).map(|pinned| Some(vec![pinned.tag])),
                Err(_) => Ok(None),
            });
            match outcome {
                Ok(Some(tags)) => {
                    scouts += 1;
                    for tag in tags.into_iter().filter(|tag| TagClass::of(tag).is_hash()) {
                        match reported.iter_mut().find(|(hash, _)| *hash == tag) {
                            Some((_, votes)) => *votes += 1,
                            None => reported.push((tag, 1)),
                        }
                    }
                }
                Ok(None) => {}
                // Its place is taken: on a registry in trouble one image after the other would be tried else.
                Err(Stop::RegistryError(_) | Stop::Refused(_)) => scouts += 1,
                Err(Stop::Needs(queries)) => {
                    scouts += 1;
                    needed.extend(queries);
                }
            }
        }
        if !needed.is_empty() {
            return Err(Stop::Needs(needed));
        }
        // A stable sort: of equal votes the hash of the earlier image stays first.
        reported.sort_by_key(|(_, votes)| std::cmp::Reverse(*votes));
        let hashes: Vec<String> = reported.into_iter().map(|(hash, _)| hash).collect();
        self.hashes.borrow_mut().insert(channel.clone(), hashes.clone());
        Ok(hashes)
    }

    /// Tries the chain from the left.
    fn pin(&self, reference: &Reference, found: &Found, hashes: &[String], lookup: &Lookup<'_>) -> Step<Pinned> {
        let repository = &reference.repository;
        let mut out = Pinned {
            tag: reference.tag.clone(),
            by: PinnedBy::Nothing,
            config: Config::default(),
            notes: Vec::new(),
            seen: BTreeMap::new(),
            tried: Vec::new(),
        };
        if !self.labels_go_first() && self.by_shared_hash(repository, found, hashes, lookup, &mut out)? {
            return Ok(out);
        }
        // What cannot be read for good is passed over, as long as something else in the chain does without it.
        let mut refused = None;
        for pin in &self.settings.pin {
            let pinned = match pin {
                Pin::Label if self.has_siblings(repository, lookup.facts) => Ok(false),
                Pin::Label => self.by_label(reference, found, lookup, &mut out),
                Pin::Sibling if self.labels_go_first() && self.by_shared_hash(repository, found, hashes, lookup, &mut out)? => {
                    Ok(true)
                }
                Pin::Sibling => self.by_sibling(reference, found, lookup, &mut out),
                Pin::Digest => {
                    self.confirm(reference, found, lookup)?;
                    out.tag = found.digest.clone();
                    out.by = PinnedBy::Digest;
                    Ok(true)
                }
                Pin::Channel => {
                    out.by = PinnedBy::Channel;
                    Ok(true)
                }
            };
            match pinned {
                Ok(true) => return Ok(out),
                Ok(false) => {}
                Err(Stop::Refused(trouble)) => {
                    out.tried.push(trouble.message.clone());
                    refused.get_or_insert(trouble);
                }
                Err(stop) => return Err(stop),
            }
        }
        // With what could not be read it might have been pinned.
        refused.map_or(Ok(out), |trouble| Err(Stop::Refused(trouble)))
    }

    /// Confirms by the content of the manifest a digest of which only a header is known: a cache may answer HEAD for another repository.
    fn confirm(&self, reference: &Reference, found: &Found, lookup: &Lookup<'_>) -> Step<()> {
        let (repository, tag) = (reference.repository.clone(), reference.tag.clone());
        // Quay names digests in its own answers, and a file does not write them for a tag that is a digest itself.
        if found.manifest.is_some() || lookup.is_quay(&repository) || is_digest(&tag) || reference.digest.is_some() {
            return Ok(());
        }
        match lookup.at(Query::Tag { repository, tag, manifest: true })? {
            Answer::Tag(Ok(read)) if read.digest == found.digest => Ok(()),
            Answer::Tag(Ok(read)) => {
                let message = format!("a header names the digest {}, and the manifest has {}", found.digest, read.digest);
                Err(Stop::RegistryError(RegistryError {
                    message,
                    hint: "retry: it may have moved just now, or a cache mixes up repositories".to_owned(),
                }))
            }
            _ => {
                let message = "the registry has the tag, and then says that it has not".to_owned();
                Err(Stop::RegistryError(RegistryError { message, hint: "retry".to_owned() }))
            }
        }
    }

    /// Whether the image's own tag of a hash that others told has its digest.
    fn by_shared_hash(
        &self,
        repository: &Repository,
        found: &Found,
        hashes: &[String],
        lookup: &Lookup<'_>,
        out: &mut Pinned,
    ) -> Step<bool> {
        for hash in hashes {
            if let Some(digest) = lookup.check(repository, hash, found.form)? {
                out.seen.insert(hash.clone(), digest.clone());
                if digest == found.digest {
                    out.tag = hash.clone();
                    out.by = PinnedBy::Sibling;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn by_sibling(&self, reference: &Reference, found: &Found, lookup: &Lookup<'_>, out: &mut Pinned) -> Step<bool> {
        let repository = &reference.repository;
        if lookup.is_quay(repository) {
            let (best, among) = lookup.sibling(repository, &found.digest)?;
            let Some(best) = best else {
                out.tried.push(format!("none of its {among} immutable tags has the channel's digest"));
                return Ok(false);
            };
            out.seen.insert(best.clone(), found.digest.clone());
            out.tag = best;
            out.by = PinnedBy::Sibling;
            return Ok(true);
        }
        let Ok(tags) = lookup.tags(repository)? else {
            let message =
                "the registry has the tag, and says that it has no such repository when it is asked for its tags".to_owned();
            return Err(Stop::Refused(RegistryError { message, hint: "ask whoever runs the registry".to_owned() }));
        };
        let is_candidate = |t: &&str| **t != reference.tag && TagClass::of(t) < TagClass::DigestAlias;
        let mut candidates: Vec<&str> = tags.iter().filter(is_candidate).collect();
        candidates.sort_by_key(|t| (TagClass::of(t), *t));
        for batch in candidates.chunks(BATCH) {
            let mut needed = Vec::new();
            for tag in batch {
                match lookup.check(repository, tag, found.form) {
                    Ok(None) => {}
                    Ok(Some(digest)) => {
                        out.seen.insert((*tag).to_owned(), digest.clone());
                        if digest == found.digest && needed.is_empty() {
                            out.tag = (*tag).to_owned();
                            // Where its own label was read and names this very tag, `by_label` has ended the search.
                            out.by = PinnedBy::Sibling;
                            return Ok(true);
                        }
                    }
                    Err(Stop::Needs(queries)) => needed.extend(queries),
                    Err(stop) => return Err(stop),
                }
            }
            if !needed.is_empty() {
                return Err(Stop::Needs(needed));
            }
        }
        out.tried.push(format!("none of its {} immutable tags has the channel's digest", candidates.len()));
        Ok(false)
    }

    fn by_label(&self, reference: &Reference, found: &Found, lookup: &Lookup<'_>, out: &mut Pinned) -> Step<bool> {
        out.config = lookup.config(&reference.repository, found)?;
        for label in &self.settings.labels {
            let Some(tag) = label.tag(&out.config.labels) else {
                out.tried.push(format!("it has no label {}", label.text));
                continue;
            };
            if !is_tag(&tag) {
                out.tried.push(format!("its label {} names no tag", label.text));
                continue;
            }
            if CHANNELS.contains(&tag.as_str()) || (tag == reference.tag && TagClass::of(&tag) == TagClass::Moving) {
                out.tried.push(format!("its label {} names {tag}, which moves", label.text));
                continue;
            }
            match lookup.check(&reference.repository, &tag, found.form)? {
                Some(digest) if digest == found.digest => {
                    out.seen.insert(tag.clone(), digest);
                    out.tag = tag;
                    out.by = PinnedBy::Label;
                    return Ok(true);
                }
                Some(digest) => {
                    out.seen.insert(tag.clone(), digest);
                    if !out.notes.contains(&Note::Mismatch) {
                        out.notes.push(Note::Mismatch);
                    }
                    out.tried.push(format!("its label {} names {tag}, which has another digest", label.text));
                }
                None => out.tried.push(format!("its label {} names {tag}, which is not there", label.text)),
            }
        }
        Ok(false)
    }
}

/// What the rows say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Images that were asked for.
    pub asked: usize,
    /// Rows of each status, and those that have none yet.
    pub resolved: usize,
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
    /// Rows that bear the note.
    pub torn: usize,
    /// Rows that bear the note.
    pub mismatch: usize,
    /// The hash that most of the channel's images stand for.
    pub hash: Option<String>,
    /// How many of them do.
    pub at_hash: usize,
    /// How many images have the channel's tag in their name.
    pub in_channel: usize,
    /// When the last of the images at that hash was moved there, seconds since 1970, where the registry tells.
    pub moved_at: Option<u64>,
}

/// Marks torn rows and counts. `rows` are in the order of the images; those not known yet are none.
pub fn summarize(resolver: &Resolver, rows: &[Option<Arc<Row>>]) -> (Vec<Option<Arc<Row>>>, Summary) {
    let mut rows = rows.to_vec();
    for row in rows.iter_mut().flatten().filter(|r| r.notes.contains(&Note::Torn)) {
        Arc::make_mut(row).notes.retain(|n| *n != Note::Torn);
    }
    for members in resolver.channels.values() {
        let Some(hash) = majority_hash(members.iter().filter_map(|i| rows[*i].as_deref())) else { continue };
        for &i in members {
            let Some(row) = &mut rows[i] else { continue };
            // An image that two builds left as it is stands for both; it is told by the one that the others tell too.
            if row.hash.as_deref() != Some(&hash) && row.points_to(&hash) == Some(true) {
                Arc::make_mut(row).hash = Some(hash.clone());
            }
            // Its own tag of the usual hash tells best; without one, another hash of its own.
            let is_other = match row.points_to(&hash) {
                Some(does) => !does,
                None => row.hash.is_some(),
            };
            if is_other {
                Arc::make_mut(row).notes.insert(0, Note::Torn);
            }
        }
    }
    let tag = resolver.settings.tag();
    let in_channel = |i: &usize| resolver.images[*i].reference.as_ref().is_ok_and(|r| r.tag == tag);
    let members: Vec<usize> = (0..rows.len()).filter(in_channel).collect();
    let majority_hash = majority_hash(members.iter().filter_map(|i| rows[*i].as_deref()));
    let count = |is: &dyn Fn(&Row) -> bool| rows.iter().flatten().filter(|r| is(r)).count();
    let summary = Summary {
        asked: rows.len(),
        resolved: count(&|r| r.status == Status::Resolved),
        absent: count(&|r| r.status == Status::Absent),
        no_public_repository: count(&|r| r.absence == Some(Absence::NoPublicRepository)),
        unresolved: count(&|r| r.status == Status::Unresolved),
        error: count(&|r| r.status == Status::Error),
        waiting: rows.iter().filter(|r| r.is_none()).count(),
        torn: count(&|r| r.notes.contains(&Note::Torn)),
        mismatch: count(&|r| r.notes.contains(&Note::Mismatch)),
        at_hash: majority_hash.as_ref().map_or(0, |hash| {
            members.iter().filter(|i| rows[**i].as_ref().is_some_and(|r| r.points_to(hash) == Some(true))).count()
        }),
        moved_at: majority_hash.as_ref().and_then(|hash| {
            members.iter().filter_map(|i| rows[*i].as_ref().filter(|r| r.points_to(hash) == Some(true))?.moved_at).max()
        }),
        hash: majority_hash,
        in_channel: members.len(),
    };
    (rows, summary)
}

/// The hash that most rows stand for; of equals the one that more of them tell, and then the first.
pub(super) fn majority_hash<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<String> {
    let rows: Vec<&Row> = rows.collect();
    let mut reported: Vec<(&str, usize)> = Vec::new();
    for hash in rows.iter().filter_map(|row| row.hash.as_deref()) {
        match reported.iter_mut().find(|(h, _)| *h == hash) {
            Some((_, n)) => *n += 1,
            None => reported.push((hash, 1)),
        }
    }
    // No more than a few can be the one.
    reported.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    reported.truncate(8);
    let stand_for = |hash: &str| rows.iter().filter(|row| row.points_to(hash) == Some(true)).count();
    // The last of equals is the greatest; so the first comes last.
    reported.into_iter().rev().max_by_key(|(hash, n)| (stand_for(hash), *n)).map(|(hash, _)| hash.to_owned())
}
