//! The answer for one image.

use crate::engine::image::digest::Digest;
use crate::engine::registry::Query;
use crate::engine::time::Timestamp;
use std::collections::BTreeMap;

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
    /// This image's channel points to another hash than most of the channel's images.
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

/// The answer for one image: plain data. What became of it, what is written, what the tag asked for points to, why, what was read of the
/// image, and the evidence.
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
    /// The digest that the tag asked for points to.
    pub digest: Option<Digest>,
    /// The build's hash that it points to, where one is known.
    pub hash: Option<String>,
    /// Since when the tag asked for points to it, where the registry reports it.
    pub moved_at: Option<Timestamp>,
    /// Torn, mismatch.
    pub notes: Vec<Note>,
    /// Why it is so, as a sentence without a full stop.
    pub reason: String,
    /// What cures it, for an error.
    pub hint: String,
    /// The labels, where they were read.
    pub labels: BTreeMap<String, String>,
    /// When the image was built, where its config was read and says so.
    pub built_at: Option<Timestamp>,
    /// Other tags that were looked at, and the digest of each that is there.
    pub seen: BTreeMap<String, Digest>,
    /// The questions that this row rests on, in the order in which they were first needed.
    pub queries: Vec<Query>,
}

impl Row {
    /// Whether the tag asked for points to `hash`, as far as that was seen.
    pub(in crate::engine) fn points_to(&self, hash: &str) -> Option<bool> {
        if self.hash.as_deref() == Some(hash) {
            return Some(true);
        }
        self.seen.get(hash).map(|digest| Some(digest) == self.digest.as_ref())
    }
}
