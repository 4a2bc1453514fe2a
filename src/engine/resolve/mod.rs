//! Facts → what is written for an image, or which facts are missing.
//!
//! Resolution is a pure function of what registries reported so far: [`Resolver::row`] either ends, or names the questions whose
//! answers it needs, and is called again when they are there. So nothing waits in here, every image is independent of the order in
//! which answers come, and the same answers give the same row.
//!
//! A DLRN hash is repository-wide: once a few images (the *scouts*, the first of each channel in the list that carry it) have reported
//! theirs, another image needs only to show that its tag of that hash has its channel's digest: two requests an image.

mod channel;
mod facts;
mod lookup;
mod pin;
mod row;
mod summary;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use self::channel::Channel;
pub use self::facts::Facts;
use self::lookup::{Lookup, Step, Stop, both};
use self::pin::Pinned;
pub use self::row::{Absence, Note, PinnedBy, Row, Status};
pub use self::summary::{Summary, majority_hash, summarize};
use crate::engine::image::digest::{Digest, is_digest};
use crate::engine::image::reference::{Reference, Repository};
use crate::engine::image::tag::TagClass;
use crate::engine::image::version::compare_versions;
use crate::engine::options::pattern::Pattern;
use crate::engine::options::settings::{Missing as OnMissing, Pin, Settings};
use crate::engine::registry::query::Active;
use crate::engine::registry::{Answer, Config, Form, Found, NotFound, Query, RegistryError};
use crate::engine::template::plan::Image;

/// The placeholder for the tag while a template is rendered under `newest:REGEX`.
pub const NEWEST: &str = "newest";

/// What evaluating needs beside facts.
#[derive(Debug)]
pub struct Resolver {
    settings: Settings,
    images: Vec<Image>,
    channels: HashMap<Channel, Vec<usize>>,
    pins_exact: bool,
    every_label: bool,
    /// Whether on a Quay, which reports tags and digests at once, siblings alone report hashes.
    by_siblings: bool,
    /// Rows whose labels are wanted, needed or not.
    labelled: HashSet<usize>,
    hashes: RefCell<HashMap<Channel, Vec<String>>>,
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

    /// A resolver that only has to find at which hash an image is: on a Quay the tags of the same digest say so, and no label is
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

    /// Has the labels of row `i` read, needed or not.
    pub(super) fn want_labels(&mut self, i: usize) {
        self.labelled.insert(i);
    }

    /// Forgets which hashes the scouts reported, so that they are asked again.
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

    /// The row of image `i`, or the questions whose answers are missing.
    pub fn row(&self, i: usize, facts: &Facts) -> Result<Row, Vec<Query>> {
        let image = &self.images[i];
        let lookup = Lookup { facts, used: RefCell::default() };
        let mut row = Row::default();
        match &image.reference {
            Err(why) => {
                row.reason = format!("this is not the name of an image: {why}");
                row.hint = "correct the template or the substitutions".to_owned();
                row.tag = image.imagename.rsplit_once(':').map_or("", |(_, t)| t).to_owned();
            }
            Ok(reference) => {
                row.tag = reference.digest.as_ref().map_or_else(|| reference.tag.clone(), ToString::to_string);
                match self.evaluate(i, reference, &lookup, &mut row) {
                    Ok(()) => {}
                    Err(Stop::Needs(queries)) => return Err(queries),
                    Err(Stop::RegistryError(error) | Stop::Refused(error)) => {
                        row.status = Status::Error;
                        row.reason = error.message;
                        row.hint = error.hint;
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
            return self.write_named_digest(i, repository, digest, lookup, row);
        }
        let mut tag = reference.digest.as_ref().map_or_else(|| reference.tag.clone(), ToString::to_string);
        if let Some(newest) = &self.settings.newest
            && tag == NEWEST
        {
            match self.newest(newest, repository, lookup, row)? {
                Some(best) => tag = best,
                None => return Ok(()),
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
        // Nothing rests on these: that they cannot be read does not concern the row.
        let config = match self.labelled.contains(&i).then(|| lookup.config(repository, &found)) {
            Some(Ok(config)) => config,
            Some(Err(Stop::Needs(queries))) => return Err(Stop::Needs(queries)),
            Some(Err(Stop::RegistryError(_) | Stop::Refused(_))) | None => Config::default(),
        };
        if !moves {
            (row.labels, row.built_at) = (config.labels, config.built_at);
            self.write_exact(reference, &tag, &found.digest, row);
            return Ok(());
        }
        if self.every_label {
            match lookup.config(repository, &found) {
                Err(Stop::Refused(_)) | Ok(_) => {}
                Err(stop) => return Err(stop),
            }
        }
        let mut pinned = self.pin(reference, &found, &hashes, lookup)?;
        let went_first = shares && (is_scout || self.labels_go_first());
        self.see_other_hashes(reference, &found, went_first, lookup, &mut pinned)?;
        if config != Config::default() {
            pinned.config = config;
        }
        self.write_pinned(reference, pinned, row);
        Ok(())
    }

    /// Writes an image that the template names by its digest, if the registry has it.
    fn write_named_digest(
        &self,
        i: usize,
        repository: &Repository,
        digest: &Digest,
        lookup: &Lookup<'_>,
        row: &mut Row,
    ) -> Step<()> {
        row.digest = Some(digest.clone());
        match lookup.at(Query::Tag { repository: repository.clone(), tag: digest.to_string(), manifest: false })? {
            Answer::Tag(Ok(found)) if found.digest != *digest => {
                let message = format!("the registry returned another digest than {digest}: {}", found.digest);
                return Err(Stop::RegistryError(RegistryError { message, hint: "ask the registry's owner".to_owned() }));
            }
            Answer::Tag(Ok(_)) => {
                self.write(row, self.images[i].imagename.clone(), digest, PinnedBy::Exact, "the template names this digest")
            }
            Answer::Tag(Err(missing)) => self.missing(row, repository, digest, *missing, lookup)?,
            _ => {}
        }
        Ok(())
    }

    /// The newest tag that matches; where there is none, the row says so.
    fn newest(&self, newest: &Pattern, repository: &Repository, lookup: &Lookup<'_>, row: &mut Row) -> Step<Option<String>> {
        let tags = match lookup.tags(repository)? {
            Ok(tags) => tags,
            Err(missing) => {
                self.missing(row, repository, NEWEST, missing, lookup)?;
                return Ok(None);
            }
        };
        let mut best: Option<String> = None;
        for candidate in tags.iter() {
            let is_match = newest.is_found(candidate).map_err(|why| {
                let message = format!("`{}` could not be matched against the tag {candidate}: {why}", newest.text);
                Stop::RegistryError(RegistryError { message, hint: "simplify the regular expression".to_owned() })
            })?;
            if is_match && best.as_ref().is_none_or(|b| compare_versions(b, candidate).is_lt()) {
                best = Some(candidate.to_owned());
            }
        }
        if best.is_none() {
            row.status = Status::Absent;
            row.absence = Some(Absence::NoTag);
            let doubt = lookup.doubt(repository);
            row.reason = format!("none of the {} tags of {repository} matches {}{doubt}", tags.len(), newest.text);
        }
        Ok(best)
    }

    /// Adds to what was seen the other hashes that the digest has. `went_first` is whether it did not wait for other images.
    fn see_other_hashes(
        &self,
        reference: &Reference,
        found: &Found,
        went_first: bool,
        lookup: &Lookup<'_>,
        pinned: &mut Pinned,
    ) -> Step<()> {
        let repository = &reference.repository;
        if self.has_siblings(repository, lookup.facts) {
            // It points to each build that left it as it is.
            let all = lookup.hashes(repository, &found.digest)?;
            pinned.seen.extend(all.into_iter().map(|hash| (hash, found.digest.clone())));
        }
        // Where it points to another hash than the others do, or for none that it reports, its own tag of theirs may still have the
        // same digest: then it points to both, and is not torn.
        if went_first {
            let hashes = self.hashes(&Self::channel(reference), lookup.facts)?;
            if let Some(majority_hash) = hashes.first().filter(|h| **h != pinned.tag)
                && let Some(digest) = lookup.check(repository, majority_hash, found.form)?
            {
                pinned.seen.insert(majority_hash.clone(), digest);
            }
        }
        Ok(())
    }

    /// Writes a tag that does not move, as it was asked for or by its digest.
    fn write_exact(&self, reference: &Reference, tag: &str, digest: &str, row: &mut Row) {
        row.hash = TagClass::of(tag).is_hash().then(|| tag.to_owned());
        if self.settings.pin.first() == Some(&Pin::Digest) {
            let reason = "the digest of the requested tag";
            self.write(row, reference.at_digest(digest), digest, PinnedBy::Digest, reason);
        } else {
            let reason = "the requested tag does not move, and it exists";
            self.write(row, reference.at_tag(tag), tag, PinnedBy::Exact, reason);
        }
    }

    /// Writes what the chain ended in.
    fn write_pinned(&self, reference: &Reference, pinned: Pinned, row: &mut Row) {
        (row.labels, row.built_at) = (pinned.config.labels, pinned.config.built_at);
        row.notes = pinned.notes;
        row.hash = TagClass::of(&pinned.tag).is_hash().then(|| pinned.tag.clone());
        row.seen = pinned.seen;
        let tried = pinned.tried.join("; ");
        let (name, why) = match pinned.by {
            PinnedBy::Nothing => {
                row.status = Status::Unresolved;
                row.reason = if tried.is_empty() { "the chain is empty".to_owned() } else { tried };
                return;
            }
            PinnedBy::Digest => (reference.at_digest(&pinned.tag), "written by its digest"),
            PinnedBy::Exact | PinnedBy::Channel => (reference.at_tag(&pinned.tag), "written as requested"),
            PinnedBy::Label => (reference.at_tag(&pinned.tag), "its label names this tag, and the tag has the channel's digest"),
            PinnedBy::Sibling => (reference.at_tag(&pinned.tag), "this tag has the channel's digest"),
        };
        let reason = if tried.is_empty() { why.to_owned() } else { format!("{why}, because {tried}") };
        self.write(row, name, &pinned.tag, pinned.by, reason);
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
                    format!("the registry lists the tags of {repository}, but then says that it has no such repository");
                return Err(Stop::RegistryError(RegistryError { message, hint: "retry".to_owned() }));
            }
            NotFound::Repository => (Absence::NoRepository, format!("{} has no repository {}", repository.host, repository.path)),
            NotFound::PrivateOrMissing => {
                let (namespace, name) = repository.split_first();
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

    /// Whether the chain lets an image take the hash that another one reported: its siblings count, and before anything else but labels.
    fn hash_is_shared(&self) -> bool {
        matches!(self.settings.pin[..], [Pin::Sibling, ..] | [Pin::Label, Pin::Sibling, ..])
    }

    /// Whether the labels come before a hash that another image reported: those that somebody chose are tried in their order, image by image.
    fn labels_go_first(&self) -> bool {
        self.settings.has_labels_of_its_own && self.settings.pin.first() == Some(&Pin::Label)
    }

    /// What a tag points to. Those who will need labels ask for the manifest at once.
    fn found(
        &self,
        i: usize,
        repository: &Repository,
        tag: &str,
        shares: bool,
        lookup: &Lookup<'_>,
    ) -> Step<Result<Found, NotFound>> {
        if lookup.capabilities(repository).lists_digests && !is_digest(tag) {
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
}
