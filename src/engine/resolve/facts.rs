//! What registries answered.

use crate::engine::image::digest::Digest;
use crate::engine::image::reference::Repository;
use crate::engine::image::tag::TagClass;
use crate::engine::registry::{Answer, Capabilities, Dialect, Exchange, Form, Query, RegistryError};
use crate::engine::time::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// How long refreshes believe that the tag of a hash is not there.
const ABSENCE_TTL: Duration = Duration::from_secs(600);

/// What registries reported, and how: only ever added to while a run goes on.
#[derive(Debug, Default)]
pub struct Facts {
    /// The answer to each question, or why there is none.
    pub answers: HashMap<Query, Result<Answer, RegistryError>>,
    /// What was sent and received for each question.
    pub exchanges: HashMap<Query, Vec<Exchange>>,
    /// What was sent and received for leave to read a repository.
    pub logins: HashMap<Repository, Vec<Exchange>>,
    /// By which API each host is queried; without an entry it is [`Dialect::COMMON`].
    pub dialects: BTreeMap<String, Dialect>,
    /// Whether a snapshot answers, and no host.
    pub is_snapshot: bool,
    /// When they were asked.
    pub asked_at: Timestamp,
    /// In which form a page asks a repository first, where that is not docker's.
    pub forms: HashMap<Repository, Form>,
    /// Tags that were not there when they were last asked for. A HEAD would have to be followed by the GET whose body says that they
    /// still are not.
    pub known_absent: HashSet<(Repository, String)>,
    /// Since when it is believed that tags of hashes are not there.
    pub absences_since: Timestamp,
}

impl Facts {
    /// What the host of a repository can do.
    pub fn capabilities(&self, repository: &Repository) -> Capabilities {
        match self.is_snapshot {
            true => Capabilities::SNAPSHOT,
            false => self.dialect(&repository.host).capabilities,
        }
    }

    /// The API by which a host is queried.
    pub fn dialect(&self, host: &str) -> Dialect {
        self.dialects.get(host).copied().unwrap_or(Dialect::COMMON)
    }

    /// Forgets what can have moved by `now`, and gives back what each tag pointed to. What is named by a digest cannot, and what a
    /// hash's tag points to does not; a list of tags, and that a hash's tag is not there, hold as long as no tag of the repository
    /// moves, and no longer than [`ABSENCE_TTL`]: the tag of a hash may come late, to an image that a build left as it was.
    pub(in crate::engine) fn forget_moving(&mut self, now: Timestamp) -> HashMap<(Repository, String), Option<Digest>> {
        let (mut before, mut absent) = (HashMap::new(), HashSet::new());
        let since = if self.absences_since == Timestamp(0) { self.asked_at } else { self.absences_since };
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
            // The view that shows it sees when it has gone on.
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

    /// Forgets what holds only as long as no tag of the repository moves: its tags, and what those of hashes point to, for a build
    /// may be pushed again.
    pub(in crate::engine) fn forget_tags(&mut self, repository: &Repository) {
        self.answers.retain(|query, _| {
            let is_of_tags = matches!(query, Query::Tags { .. } | Query::Check { .. }) && query.repository() == Some(repository);
            if is_of_tags {
                self.exchanges.remove(query);
            }
            !is_of_tags
        });
    }
}
