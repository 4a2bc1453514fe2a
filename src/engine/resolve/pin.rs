//! Finds what to write for a tag that moves: the chain, tried from the left.

use super::Resolver;
use super::lookup::{Lookup, Step, Stop};
use super::row::{Note, PinnedBy};
use crate::engine::image::digest::{Digest, is_digest};
use crate::engine::image::reference::{Reference, Repository};
use crate::engine::image::tag::{TagClass, is_tag};
use crate::engine::options::settings::Pin;
use crate::engine::registry::{Answer, Config, Found, Query, RegistryError};
use std::collections::BTreeMap;

/// Tags that are compared at a time when siblings are looked for.
pub(super) const BATCH: usize = 16;

/// Names of channels that are never taken for a pinned tag, whatever a label says.
pub(super) const CHANNELS: [&str; 9] = [
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

/// What a chain of pins ended in.
pub(super) struct Pinned {
    pub(super) tag: String,
    pub(super) by: PinnedBy,
    pub(super) config: Config,
    pub(super) notes: Vec<Note>,
    pub(super) seen: BTreeMap<String, Digest>,
    pub(super) tried: Vec<String>,
}

impl Resolver {
    /// Tries the chain from the left.
    pub(super) fn pin(&self, reference: &Reference, found: &Found, hashes: &[String], lookup: &Lookup<'_>) -> Step<Pinned> {
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
                    out.tag = found.digest.to_string();
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
                Err(Stop::Refused(error)) => {
                    out.tried.push(error.message.clone());
                    refused.get_or_insert(error);
                }
                Err(stop) => return Err(stop),
            }
        }
        // With what could not be read it might have been pinned.
        refused.map_or(Ok(out), |error| Err(Stop::Refused(error)))
    }

    /// Confirms by the content of the manifest a digest of which only a header is known: a cache may answer HEAD for another repository.
    pub(super) fn confirm(&self, reference: &Reference, found: &Found, lookup: &Lookup<'_>) -> Step<()> {
        let (repository, tag) = (reference.repository.clone(), reference.tag.clone());
        // A host that lists digests names them in its own answers, and a file does not write them for a tag that is a digest itself.
        if found.manifest.is_some()
            || lookup.capabilities(&repository).lists_digests
            || is_digest(&tag)
            || reference.digest.is_some()
        {
            return Ok(());
        }
        match lookup.at(Query::Tag { repository, tag, manifest: true })? {
            Answer::Tag(Ok(read)) if read.digest == found.digest => Ok(()),
            Answer::Tag(Ok(read)) => {
                let message = format!("a header names the digest {}, but the manifest has {}", found.digest, read.digest);
                Err(Stop::RegistryError(RegistryError {
                    message,
                    hint: "retry: it may have moved just now, or a cache mixes up repositories".to_owned(),
                }))
            }
            _ => {
                let message = "the registry has the tag, but then says that it does not exist".to_owned();
                Err(Stop::RegistryError(RegistryError { message, hint: "retry".to_owned() }))
            }
        }
    }

    /// Whether the image's own tag of a hash that others reported has its digest.
    pub(super) fn by_shared_hash(
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

    pub(super) fn by_sibling(&self, reference: &Reference, found: &Found, lookup: &Lookup<'_>, out: &mut Pinned) -> Step<bool> {
        let repository = &reference.repository;
        if lookup.capabilities(repository).lists_digests {
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
            let message = "the registry has the tag, but says that it has no such repository when its tags are listed".to_owned();
            return Err(Stop::Refused(RegistryError { message, hint: "ask the registry's owner".to_owned() }));
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

    pub(super) fn by_label(&self, reference: &Reference, found: &Found, lookup: &Lookup<'_>, out: &mut Pinned) -> Step<bool> {
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
                None => out.tried.push(format!("its label {} names {tag}, which does not exist", label.text)),
            }
        }
        Ok(false)
    }
}
