//! Answers in place of a registry.

use super::{Kept, Snapshot};
use crate::engine::image::digest::Digest;
use crate::engine::registry::query::{Active, Overview};
use crate::engine::registry::{Answer, Checked, Config, Form, Found, Manifest, NotFound, Query, RegistryError};
use std::time::Duration;

impl Snapshot {
    /// The answer to a question, as a Quay would have given it, which is the API that reports tags and digests at once.
    ///
    /// # Errors
    /// What the snapshot does not hold.
    pub fn answer(&self, query: &Query) -> Result<Answer, RegistryError> {
        let Some(repository) = query.repository() else { return self.answer_for_host(query) };
        let Some(kept) = self.repositories.get(&repository.to_string()) else {
            return Err(not_known(format!("the snapshot of {} does not contain this repository", self.fetched_at)));
        };
        let moved_at = |tag: &String| kept.moved.get(tag).copied();
        match query {
            Query::Tag { tag, .. } => Ok(Answer::Tag(self.digest(kept, tag)?.map(|digest| Found {
                manifest: Some(Manifest::Image(digest.clone())),
                digest,
                form: Form::All,
                moved_at: moved_at(tag),
            }))),
            Query::Check { tag, .. } => {
                Ok(Answer::Check(self.digest(kept, tag)?.map(|digest| Checked { digest, moved_at: moved_at(tag) })))
            }
            Query::Manifest { digest, .. } => Ok(Answer::Manifest(Manifest::Image(digest.clone()))),
            Query::Labels { config, .. } => self.labels(kept, config),
            Query::Overview { .. } | Query::Tags { .. } => match (kept.not_found(), &kept.no_list) {
                (Some(missing), _) => Ok(Answer::Overview(Err(missing))),
                _ if kept.whole || matches!(query, Query::Overview { .. }) => Ok(Answer::Overview(Ok(self.overview(kept)))),
                (None, Some(why)) => Ok(Answer::Refused(not_known(why.clone()))),
                (None, None) => Err(self.unknown(kept, "all of its tags")),
            },
            Query::History { tag, .. } if kept.history.contains_key(tag) => Ok(Answer::History(kept.history[tag].clone())),
            _ => Err(self.unknown(kept, "the history of its tags")),
        }
    }

    /// An answer for a host only says whether an absence is to be believed: not where one of those it bears on was not.
    fn answer_for_host(&self, query: &Query) -> Result<Answer, RegistryError> {
        let below = match query {
            Query::Repositories { host, namespace } => format!("{host}/{namespace}/"),
            other => format!("{}/", other.host()),
        };
        let is_in_doubt = |kept: &&Kept| (kept.hidden || kept.silent) && kept.error.is_some();
        let doubt = self.repositories.iter().filter(|(name, _)| name.starts_with(&below)).map(|(_, kept)| kept).find(is_in_doubt);
        match (doubt.and_then(|kept| kept.error.as_ref()), query) {
            (Some(error), _) => Err(not_known(format!("when the snapshot was taken: {error}"))),
            (None, Query::Repositories { .. }) => Ok(Answer::Repositories([String::new()].into())),
            (None, _) => Ok(Answer::Ping),
        }
    }

    /// The digest of a tag, or that it is not there.
    fn digest(&self, kept: &Kept, tag: &str) -> Result<Result<Digest, NotFound>, RegistryError> {
        match (kept.not_found(), kept.tags.get(tag)) {
            (Some(missing), _) => Ok(Err(missing)),
            (None, Some(Some(digest))) => Ok(Ok(digest.clone())),
            (None, Some(None)) => Ok(Err(NotFound::Tag)),
            (None, None) if kept.whole && !self.lists(kept, tag) => Ok(Err(NotFound::Tag)),
            (None, None) => Err(self.unknown(kept, &format!("the tag {tag}"))),
        }
    }

    fn labels(&self, kept: &Kept, digest: &str) -> Result<Answer, RegistryError> {
        match (kept.labels.get(digest), kept.no_labels.get(digest)) {
            (Some(labels), _) => {
                let built_at = kept.built.get(digest).copied();
                Ok(Answer::Labels(Config { labels: labels.clone(), only_added: false, built_at }))
            }
            (None, Some(why)) => Ok(Answer::Refused(not_known(why.clone()))),
            (None, None) => Err(self.unknown(kept, "its labels")),
        }
    }

    fn overview(&self, kept: &Kept) -> Overview {
        let active = |(tag, digest): (&String, &Option<Digest>)| {
            let moved_at = kept.moved.get(tag).copied();
            Some((tag.clone(), Active { digest: digest.clone()?, moved_at }))
        };
        let tags = kept.tags.iter().filter_map(active).collect();
        let others = kept.list.iter().filter_map(|i| self.names.get(*i).cloned()).collect();
        Overview { tags, others, whole: kept.whole, kept_for: kept.kept_for.map(Duration::from_secs), ..Overview::default() }
    }

    /// Why something of a repository is not known.
    fn unknown(&self, kept: &Kept, message: &str) -> RegistryError {
        match &kept.error {
            Some(error) => not_known(format!("when the snapshot was taken: {error}")),
            None => not_known(format!("the snapshot of {} does not contain {message}", self.fetched_at)),
        }
    }
}

impl Kept {
    /// What the registry said of the repository, if that is not there.
    fn not_found(&self) -> Option<NotFound> {
        match self {
            _ if self.absent => Some(NotFound::Repository),
            _ if self.hidden => Some(NotFound::PrivateOrMissing),
            _ if self.silent => Some(NotFound::WithoutCode),
            _ => None,
        }
    }
}

fn not_known(message: String) -> RegistryError {
    let hint = "take a new snapshot with these choices (overtag snapshot), or query the registry".to_owned();
    RegistryError { message, hint }
}
