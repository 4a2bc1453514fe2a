//! The hash of a channel, by its first few images: the *scouts*.

use super::Resolver;
use super::facts::Facts;
use super::lookup::{Lookup, Step, Stop};
use crate::engine::image::reference::{Reference, Repository};
use crate::engine::image::tag::TagClass;
use std::cell::RefCell;

/// How many scouts report the hash of a channel.
pub(super) const SCOUTS: usize = 3;

/// How many do where that costs no request of its own.
pub(super) const WITNESSES: usize = 12;

/// The images of one tag that moves, in one namespace: they are promoted together.
pub(super) type Channel = (String, String);

impl Resolver {
    pub(super) fn channel(reference: &Reference) -> Channel {
        (reference.repository.namespace(), reference.tag.clone())
    }

    pub(super) fn is_scout(&self, i: usize, reference: &Reference) -> bool {
        self.channels.get(&Self::channel(reference)).is_some_and(|c| c.iter().take(SCOUTS).any(|s| *s == i))
    }

    /// Whether the siblings of this repository report its hashes.
    pub(super) fn has_siblings(&self, repository: &Repository, facts: &Facts) -> bool {
        self.by_siblings && facts.capabilities(repository).lists_digests
    }

    /// The hashes that the channel's scouts reported, the most frequent first. The scouts are the first images of the channel that
    /// carry it, by their place in the list and not by who answered first.
    pub(super) fn hashes(&self, channel: &Channel, facts: &Facts) -> Step<Vec<String>> {
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
}
