//! Keeps what registries answered.

use crate::engine::image::digest::Digest;
use crate::engine::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Kept, Snapshot, VERSION};
use crate::engine::image::reference::{Reference, Repository};
use crate::engine::image::tag::TagClass;
use crate::engine::registry::{Answer, Config, Form, Manifest, NotFound, Query};
use crate::engine::resolve::{Facts, Row, Status};

impl Snapshot {
    /// Keeps what `facts` hold, as of `fetched`. `rows` say what could not be found out, and which tags matter
    /// where a registry reported of hundreds.
    pub fn new(
        facts: &Facts,
        rows: &[Option<Arc<Row>>],
        link: String,
        fetched: Timestamp,
        plain_hosts: BTreeSet<String>,
    ) -> Self {
        let mut out = Self {
            overtag_snapshot: VERSION,
            tool: concat!("overtag ", env!("CARGO_PKG_VERSION")).to_owned(),
            fetched_at: fetched.to_string(),
            fetched,
            link,
            incomplete: rows.iter().filter(|r| r.as_ref().is_none_or(|r| r.status == Status::Error)).count(),
            plain_hosts,
            ..Self::default()
        };
        let matter = tags_that_matter(facts, rows);
        let mut gathered: BTreeMap<&Repository, Gathered> = BTreeMap::new();
        for (query, answer) in &facts.answers {
            let Some(repository) = query.repository() else { continue };
            let of = gathered.entry(repository).or_default();
            match answer {
                Ok(answer) => of.take(query, answer, repository, facts, &matter),
                Err(_) if matches!(query, Query::History { .. }) => {}
                Err(error) => of.kept.error = of.kept.error.take().max(Some(error.message.clone())),
            }
        }
        let names: BTreeSet<&String> = gathered.values().flat_map(|of| &of.list).collect();
        out.names = names.into_iter().cloned().collect();
        for (repository, Gathered { mut kept, list }) in gathered {
            kept.withdraw_absence();
            kept.take_configs(repository, facts);
            let list = list.into_iter().filter(|tag| !kept.tags.contains_key(tag));
            kept.list = list.filter_map(|tag| out.names.binary_search(&tag).ok()).collect();
            kept.tidy();
            out.repositories.insert(repository.to_string(), kept);
        }
        out.cut_lives();
        out
    }
}

/// What is gathered of a repository.
#[derive(Default)]
struct Gathered {
    kept: Kept,
    /// Tags whose digests are not kept.
    list: BTreeSet<String>,
}

impl Gathered {
    /// Takes an answer; of an overview those tags with their digests that `matter`.
    fn take(&mut self, query: &Query, answer: &Answer, repository: &Repository, facts: &Facts, matter: &BTreeSet<String>) {
        let kept = &mut self.kept;
        match (query, answer) {
            (Query::Tag { tag, .. }, Answer::Tag(Err(missing))) | (Query::Check { tag, .. }, Answer::Check(Err(missing))) => {
                kept.miss(facts, repository, Some(tag), *missing)
            }
            (_, Answer::Tags(Err(missing)) | Answer::Overview(Err(missing))) => kept.miss(facts, repository, None, *missing),
            (Query::Tag { tag, .. }, Answer::Tag(Ok(found))) => {
                kept.tags.insert(tag.clone(), Some(found.digest.clone()));
            }
            // The same tag may have been asked for in two forms; one that is there is there.
            (Query::Check { tag, .. }, Answer::Check(Ok(is))) => {
                kept.tags.entry(tag.clone()).or_default().get_or_insert_with(|| is.digest.clone());
                kept.moved.extend(is.moved_at.map(|at| (tag.clone(), at)));
            }
            (Query::Tags { .. }, Answer::Refused(error)) => kept.no_list = Some(error.message.clone()),
            (_, Answer::Tags(Ok(tags))) => {
                self.list.extend(tags.iter().map(str::to_owned));
                kept.whole = true;
            }
            (_, Answer::Overview(Ok(overview))) => {
                kept.whole |= overview.whole;
                kept.kept_for = kept.kept_for.max(overview.kept_for.map(|span| span.as_secs()));
                self.list.extend(overview.others.iter().chain(&overview.undigested).cloned());
                for (tag, active) in &overview.tags {
                    if matter.contains(tag) {
                        kept.tags.insert(tag.clone(), Some(active.digest.clone()));
                        kept.moved.extend(active.moved_at.map(|at| (tag.clone(), at)));
                    } else {
                        self.list.insert(tag.clone());
                    }
                }
            }
            (Query::History { tag, .. }, Answer::History(periods)) => _ = kept.history.insert(tag.clone(), periods.clone()),
            _ => {}
        }
    }
}

impl Kept {
    /// Keeps an absence, if it is one: what a registry did not say for certain stays unknown (see [`NotFound`]).
    fn miss(&mut self, facts: &Facts, repository: &Repository, tag: Option<&String>, missing: NotFound) {
        match missing {
            NotFound::Repository => self.absent = true,
            NotFound::Tag => _ = tag.map(|tag| self.tags.entry(tag.clone()).or_default()),
            NotFound::WithoutCode => {
                let ping = Query::Ping { host: repository.host.clone() };
                if matches!(facts.answers.get(&ping), Some(Ok(_))) {
                    _ = tag.map(|tag| self.tags.entry(tag.clone()).or_default());
                } else {
                    self.silent = true;
                    self.error.get_or_insert_with(|| "the response does not come from a registry".to_owned());
                }
            }
            NotFound::PrivateOrMissing => {
                let (namespace, name) = repository.split_first();
                let list = Query::Repositories { host: repository.host.clone(), namespace: namespace.to_owned() };
                self.hidden = true;
                let is_reported = matches!(facts.answers.get(&list), Some(Ok(Answer::Repositories(names)))
                    if !names.is_empty() && !names.contains(name));
                if !is_reported {
                    self.error.get_or_insert_with(|| "it is private or does not exist".to_owned());
                }
            }
        }
    }

    /// Withdraws the absence of a repository that was read: it is there, whatever the registry says of it then.
    fn withdraw_absence(&mut self) {
        if self.absent && (self.whole || self.tags.values().any(Option::is_some)) {
            self.absent = false;
            let message = "the registry has the repository, but says that it does not exist on a later query";
            self.no_list.get_or_insert_with(|| message.to_owned());
        }
    }

    /// Takes the labels of every digest, or why there are none.
    fn take_configs(&mut self, repository: &Repository, facts: &Facts) {
        let digests: BTreeSet<Digest> = self.tags.values().flatten().cloned().collect();
        for digest in digests {
            match config_of(facts, repository, &digest) {
                Some(Ok(config)) => {
                    self.built.extend(config.built_at.map(|at| (digest.to_string(), at)));
                    self.labels.insert(digest.into(), config.labels);
                }
                Some(Err(why)) => _ = self.no_labels.insert(digest.into(), why),
                None => {}
            }
        }
    }
}

/// Where a registry reports of hundreds of tags: those that move in any repository, all that share a digest with one of them, and those
/// that an image rests on.
fn tags_that_matter(facts: &Facts, rows: &[Option<Arc<Row>>]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for answer in facts.answers.values() {
        let Ok(Answer::Overview(Ok(overview))) = answer else { continue };
        let moving = |tag: &str| TagClass::of(tag) == TagClass::Moving;
        let digests: BTreeSet<&Digest> = overview.tags.iter().filter(|(t, _)| moving(t)).map(|(_, a)| &a.digest).collect();
        let same = overview.tags.iter().filter(|(t, a)| digests.contains(&a.digest) && TagClass::of(t) != TagClass::DigestAlias);
        out.extend(same.map(|(tag, _)| tag.clone()));
    }
    for row in rows.iter().flatten() {
        out.extend([row.tag.clone()].into_iter().chain(row.hash.clone()).chain(row.seen.keys().cloned()));
    }
    for query in facts.answers.keys() {
        if let Query::Check { tag, .. } | Query::Tag { tag, .. } = query {
            out.insert(tag.clone());
        }
    }
    out
}

/// The config of a digest, as far as it was read, through list and manifest; or why the registry does not give it.
fn config_of(facts: &Facts, repository: &Repository, digest: &Digest) -> Option<Result<Config, String>> {
    let of_config =
        |config: &Digest| match facts.answers.get(&Query::Labels { repository: repository.clone(), config: config.clone() }) {
            Some(Ok(Answer::Labels(config))) => Some(Ok(config.clone())),
            Some(Ok(Answer::Refused(error))) => Some(Err(error.message.clone())),
            _ => None,
        };
    let read = |digest: &Digest| {
        let by_digest = [Form::All, Form::Docker, Form::Oci].into_iter().find_map(|form| {
            match facts.answers.get(&Query::Manifest { repository: repository.clone(), digest: digest.clone(), form }) {
                Some(Ok(Answer::Manifest(manifest))) => Some(manifest.clone()),
                _ => None,
            }
        });
        by_digest.or_else(|| {
            facts.answers.iter().find_map(|(query, answer)| match answer {
                Ok(Answer::Tag(Ok(found))) if found.digest == *digest && query.repository() == Some(repository) => {
                    found.manifest.clone()
                }
                _ => None,
            })
        })
    };
    // Quay keeps labels by the manifest's own digest; a list has none of its own.
    let own = of_config(digest);
    if matches!(&own, Some(Ok(config)) if !config.labels.is_empty() && !config.only_added) {
        return own;
    }
    let Some(mut manifest) = read(digest) else { return own };
    if let Manifest::Index(Some((child, _))) = &manifest {
        if let Some(config) = of_config(child) {
            return Some(config);
        }
        match read(child) {
            Some(read) => manifest = read,
            None => return own,
        }
    }
    match manifest {
        Manifest::Image(config) => of_config(&config).or(own),
        Manifest::Labelled(config) => Some(Ok(config)),
        Manifest::Index(_) => Some(Ok(Config::default())),
    }
}

/// The queries for the history of every tag that moves, on hosts that report it.
pub fn histories(facts: &Facts, references: &[&Reference]) -> Vec<Query> {
    let is_known = |r: &&&Reference| {
        let overview = facts.answers.get(&Query::Overview { repository: r.repository.clone() });
        TagClass::of(&r.tag) == TagClass::Moving
            && facts.capabilities(&r.repository).has_tag_history
            && matches!(overview, Some(Ok(Answer::Overview(Ok(o)))) if o.tags.contains_key(&r.tag) || !o.whole)
    };
    references.iter().filter(is_known).map(|r| Query::History { repository: r.repository.clone(), tag: r.tag.clone() }).collect()
}
