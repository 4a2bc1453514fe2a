//! Facts, looked up for one evaluation; what is not known yet is noted.

use super::facts::Facts;
use crate::engine::image::digest::Digest;
use crate::engine::image::reference::Repository;
use crate::engine::image::tag::TagClass;
use crate::engine::registry::query::{Active, Overview};
use crate::engine::registry::tag_list::TagList;
use crate::engine::registry::{Answer, Capabilities, Checked, Config, Form, Found, Manifest, NotFound, Query, RegistryError};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;

/// Why an evaluation did not come to an end.
pub(super) enum Stop {
    /// These answers are missing.
    Needs(Vec<Query>),
    /// A question has no answer.
    RegistryError(RegistryError),
    /// The registry does not give this, however often it is queried.
    Refused(RegistryError),
}

pub(super) type Step<T> = Result<T, Stop>;

/// The questions that one evaluation looked at.
pub(super) struct Lookup<'a> {
    pub(super) facts: &'a Facts,
    pub(super) used: RefCell<(HashSet<Query>, Vec<Query>)>,
}

impl Lookup<'_> {
    pub(super) fn at(&self, query: Query) -> Step<&Answer> {
        let known = self.facts.answers.get(&query);
        let (known_queries, order) = &mut *self.used.borrow_mut();
        if known_queries.insert(query.clone()) {
            order.push(query.clone());
        }
        match known {
            Some(Ok(Answer::Refused(error))) => Err(Stop::Refused(error.clone())),
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(Stop::RegistryError(error.clone())),
            None => Err(Stop::Needs(vec![query])),
        }
    }

    /// What the repository's host can do.
    pub(super) fn capabilities(&self, repository: &Repository) -> Capabilities {
        self.facts.capabilities(repository)
    }

    /// The tags of a repository with their digests, as many as one answer holds or all, of a host that lists digests.
    pub(super) fn overview(&self, repository: &Repository, whole: bool) -> Step<Result<&Overview, NotFound>> {
        let repository = repository.clone();
        match self.at(if whole { Query::Tags { repository } } else { Query::Overview { repository } })? {
            Answer::Overview(overview) => Ok(overview.as_ref().map_err(|m| *m)),
            _ => Ok(Err(NotFound::Repository)),
        }
    }

    /// A tag of a repository on Quay. What its list names is there: that a tag is to expire is given in the server's local time.
    pub(super) fn active(&self, repository: &Repository, tag: &str) -> Step<Result<Active, NotFound>> {
        let overview = match self.overview(repository, false)? {
            Ok(overview) => overview,
            Err(missing) => return Ok(Err(missing)),
        };
        match overview.tags.get(tag) {
            Some(active) => Ok(Ok(active.clone())),
            None if overview.whole && !overview.others.contains(tag) && !overview.undigested.contains(tag) => {
                Ok(Err(NotFound::Tag))
            }
            // Only the newest were reported, and a channel that rarely moves is not among them.
            None => match self.at(Query::Check { repository: repository.clone(), tag: tag.to_owned(), form: Form::All })? {
                Answer::Check(is) => Ok(is.clone().map(|Checked { digest, moved_at }| Active { digest, moved_at })),
                _ => Ok(Err(NotFound::Tag)),
            },
        }
    }

    /// What to add to an absence on a Quay that may be a proxy cache: only `/v2/` asks its upstream.
    pub(super) fn doubt(&self, repository: &Repository) -> &'static str {
        match self.facts.answers.get(&Query::Overview { repository: repository.clone() }) {
            Some(Ok(Answer::Overview(Ok(overview)))) if overview.all_expire => {
                " (all its tags expire: if this is a proxy cache, use api=distribution)"
            }
            _ => "",
        }
    }

    pub(super) fn check(&self, repository: &Repository, tag: &str, form: Form) -> Step<Option<Digest>> {
        if self.capabilities(repository).lists_digests {
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
    /// repositories can be listed and this one is not among them.
    pub(super) fn confirm_absence(&self, repository: &Repository, missing: NotFound) -> Step<()> {
        match missing {
            NotFound::Tag | NotFound::Repository => {}
            NotFound::WithoutCode => _ = self.at(Query::Ping { host: repository.host.clone() })?,
            NotFound::PrivateOrMissing => {
                let (namespace, name) = repository.split_first();
                let namespace = namespace.to_owned();
                let error = |message: String| {
                    let hint = "log in and use api=distribution if it is private, else check the namespace".to_owned();
                    Err(Stop::RegistryError(RegistryError { message, hint }))
                };
                match self.at(Query::Repositories { host: repository.host.clone(), namespace: namespace.clone() })? {
                    Answer::Repositories(names) if names.contains(name) => {
                        return error("the registry lists it as public, but denies access to it".to_owned());
                    }
                    Answer::Repositories(names) if names.is_empty() => {
                        return error(format!("it is private or does not exist: {namespace} has no public repository at all"));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    pub(super) fn config(&self, repository: &Repository, found: &Found) -> Step<Config> {
        if self.capabilities(repository).labels_by_manifest {
            // A list has no labels of its own, and its child has.
            let of = |digest: &Digest| match self.at(Query::Labels { repository: repository.clone(), config: digest.clone() })? {
                Answer::Labels(config) => Ok(config.clone()),
                _ => Ok(Config::default()),
            };
            let config = of(&found.digest)?;
            // What people added to a list is not a label of its images.
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

    pub(super) fn manifest(&self, repository: &Repository, digest: &Digest, form: Form) -> Step<Manifest> {
        match self.at(Query::Manifest { repository: repository.clone(), digest: digest.clone(), form })? {
            Answer::Manifest(manifest) => Ok(manifest.clone()),
            _ => Ok(Manifest::Index(None)),
        }
    }

    /// All tags; none where there is no repository.
    pub(super) fn tags(&self, repository: &Repository) -> Step<Result<Cow<'_, TagList>, NotFound>> {
        if self.capabilities(repository).lists_digests {
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
    pub(super) fn hashes(&self, repository: &Repository, digest: &Digest) -> Step<Vec<String>> {
        let Ok(overview) = self.overview(repository, false)? else { return Ok(Vec::new()) };
        let mut same: Vec<_> =
            overview.tags.iter().filter(|(tag, active)| TagClass::of(tag).is_hash() && active.digest == *digest).collect();
        same.sort_by_key(|(tag, active)| (TagClass::of(tag), std::cmp::Reverse(active.moved_at), *tag));
        Ok(same.into_iter().map(|(tag, _)| tag.clone()).collect())
    }

    /// The best immutable tag of that digest on Quay, and among how many it was looked for.
    pub(super) fn sibling(&self, repository: &Repository, digest: &Digest) -> Step<(Option<String>, usize)> {
        for whole in [false, true] {
            let Ok(overview) = self.overview(repository, whole)? else { return Ok((None, 0)) };
            let immutable = || overview.tags.iter().filter(|(tag, _)| TagClass::of(tag) < TagClass::DigestAlias);
            let same = immutable().filter(|(_, active)| active.digest == *digest);
            let best = same.min_by_key(|(tag, active)| (TagClass::of(tag), std::cmp::Reverse(active.moved_at), *tag));
            let unknown = overview.undigested.iter().filter(|tag| TagClass::of(tag) < TagClass::DigestAlias).count();
            if best.is_none() && overview.whole && unknown > 0 {
                let message = format!("the registry does not report what {unknown} of its immutable tags point to");
                return Err(Stop::Refused(RegistryError { message, hint: "use api=distribution".to_owned() }));
            }
            if best.is_some() || overview.whole {
                let others = overview.others.iter().filter(|tag| TagClass::of(tag) < TagClass::DigestAlias);
                return Ok((best.map(|(tag, _)| tag.clone()), immutable().count() + others.count()));
            }
        }
        Ok((None, 0))
    }
}

/// Both, or the queries that either needs.
pub(super) fn both<A, B>(a: Step<A>, b: Step<B>) -> Step<(A, B)> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(Stop::Needs(mut a)), Err(Stop::Needs(b))) => {
            a.extend(b);
            Err(Stop::Needs(a))
        }
        (Err(stop), _) | (_, Err(stop)) => Err(stop),
    }
}
