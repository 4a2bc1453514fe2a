//! What moved between two snapshots.

use std::collections::{BTreeMap, BTreeSet};

use super::Snapshot;
use crate::engine::image::digest::Digest;
use crate::engine::image::tag::TagClass;

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
    /// What became of the tags that move, by `HOST/PATH:TAG`, from `older` to this one; and how many did not change.
    pub fn compare(&self, older: &Self) -> (BTreeMap<String, Change>, usize) {
        let moving = |s: &Self| -> BTreeMap<String, Option<Option<Digest>>> {
            let mut out = BTreeMap::new();
            for (name, kept) in &s.repositories {
                let known = kept.tags.iter().filter(|(tag, _)| TagClass::of(tag) == TagClass::Moving);
                out.extend(known.map(|(tag, digest)| (format!("{name}:{tag}"), Some(digest.clone()))));
            }
            out
        };
        let (new, old) = (moving(self), moving(older));
        let at = |of: &Self, all: &BTreeMap<String, Option<Option<Digest>>>, key: &str| match all.get(key) {
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
            let shown = |of: &Self, digest: Digest| of.name_of(key, &digest).unwrap_or_else(|| digest.into());
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
