//! Questions to a registry, and their answers.

use crate::engine::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::image::digest::Digest;
use crate::engine::image::reference::Repository;
use crate::engine::registry::error::RegistryError;
use crate::engine::registry::manifest::{Config, Form, Manifest};
use crate::engine::registry::tag_list::TagList;

/// One question to a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// What a tag points to; with its manifest, where that is wanted too.
    Tag {
        /// Whose tag.
        repository: Repository,
        /// Its name.
        tag: String,
        /// Whether the manifest is wanted.
        manifest: bool,
    },
    /// The digest of a tag, only to be compared with one of the same form.
    Check {
        /// Whose tag.
        repository: Repository,
        /// Its name.
        tag: String,
        /// The form in which the digest to compare with was given.
        form: Form,
    },
    /// A manifest by its digest.
    Manifest {
        /// Whose.
        repository: Repository,
        /// Which.
        digest: Digest,
        /// In which form it is known to be served.
        form: Form,
    },
    /// The labels in an image's config.
    Labels {
        /// Whose.
        repository: Repository,
        /// The digest of the config.
        config: Digest,
    },
    /// All tags.
    Tags {
        /// Whose.
        repository: Repository,
    },
    /// The tags and their digests, as many as one answer holds: Quay alone.
    Overview {
        /// Whose.
        repository: Repository,
    },
    /// The lives of a tag, newest first: Quay alone.
    History {
        /// Whose tag.
        repository: Repository,
        /// Its name.
        tag: String,
    },
    /// The public repositories of a namespace: Quay alone.
    Repositories {
        /// The host.
        host: String,
        /// The namespace on it.
        namespace: String,
    },
    /// Whether this is a registry at all, which only matters where it says 404 without a code.
    Ping {
        /// The host.
        host: String,
    },
}

impl Query {
    /// The repository that it is about; none for a question to the host.
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Tag { repository, .. }
            | Self::Check { repository, .. }
            | Self::Manifest { repository, .. }
            | Self::Labels { repository, .. }
            | Self::Tags { repository }
            | Self::Overview { repository }
            | Self::History { repository, .. } => Some(repository),
            Self::Repositories { .. } | Self::Ping { .. } => None,
        }
    }

    /// The host that is asked.
    pub fn host(&self) -> &str {
        match self {
            Self::Repositories { host, .. } | Self::Ping { host } => host,
            other => other.repository().map_or("", |r| &r.host),
        }
    }
}

/// What a tag points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The digest of the manifest, or of the list or index where there is one: that is the identity of a tag.
    pub digest: Digest,
    /// The form in which it was served.
    pub form: Form,
    /// The manifest, where it was read.
    pub manifest: Option<Manifest>,
    /// Since when, where the registry reports it.
    pub moved_at: Option<Timestamp>,
}

/// The registry's own word that there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// The repository is there, the tag is not.
    Tag,
    /// There is no such repository.
    Repository,
    /// Every form of the question was answered with 404, but without a code: absent if this is a registry ([`Query::Ping`]).
    WithoutCode,
    /// It is private or not there, and the registry does not say which: absent if the namespace is public and does not list it
    /// ([`Query::Repositories`]).
    PrivateOrMissing,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Query::Tag`].
    Tag(Result<Found, NotFound>),
    /// To [`Query::Check`]: the digest, where there is such a tag in that form.
    Check(Result<Checked, NotFound>),
    /// To [`Query::Manifest`].
    Manifest(Manifest),
    /// To [`Query::Labels`].
    Labels(Config),
    /// To [`Query::Tags`].
    Tags(Result<TagList, NotFound>),
    /// To [`Query::Overview`], and to [`Query::Tags`] where digests come with them.
    Overview(Result<Overview, NotFound>),
    /// To [`Query::History`], newest first.
    History(Vec<TagPeriod>),
    /// To [`Query::Repositories`]: their names in the namespace.
    Repositories(BTreeSet<String>),
    /// To [`Query::Ping`]: it is a registry.
    Ping,
    /// To [`Query::Tags`] or [`Query::Labels`]: the registry does not give this, however often it is queried; what does not need it can go on.
    Refused(RegistryError),
}

/// What a tag points to, and no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The digest of its manifest, list or index.
    pub digest: Digest,
    /// When it was pushed, where the registry reports it.
    pub moved_at: Option<Timestamp>,
}

impl Checked {
    /// One of which no more is known.
    pub fn new(digest: Digest) -> Self {
        Self { digest, moved_at: None }
    }
}

/// A tag that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// What it points to.
    pub digest: Digest,
    /// When it was pushed. A tag that stays what it is may be pushed again: that is not a promotion.
    pub moved_at: Option<Timestamp>,
}

/// The tags of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// By name.
    pub tags: BTreeMap<String, Active>,
    /// Further tags, whose digests a snapshot does not hold.
    pub others: BTreeSet<String>,
    /// Tags whose digests an old Quay does not report.
    pub undigested: BTreeSet<String>,
    /// Whether each of its tags is to expire, as all are that a proxy cache holds: it may know others that it was not yet asked for.
    pub all_expire: bool,
    /// Whether these are all that there are.
    pub whole: bool,
    /// How long the registry remembers what a tag pointed to before.
    pub kept_for: Option<Duration>,
}

/// One period of a tag: what it pointed to, from when to when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TagPeriod {
    /// From when on.
    pub start: Timestamp,
    /// None while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// What it pointed to.
    pub digest: Digest,
    /// The build's hash that it pointed to, where that was known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}
