//! To stop, to try again, and to ask again for what can have moved.

use super::Run;
use super::answer::has_failed;
use super::budget::Budget;
use super::rows::RowStates;
use super::token::Tokens;
use crate::engine::image::digest::Digest;
use crate::engine::image::reference::Repository;
use crate::engine::registry::auth::Logins;
use crate::engine::registry::{Answer, Query, RegistryError};
use crate::engine::resolve::{Row, Status};
use crate::engine::time::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What was known before it was queried again.
#[derive(Debug, Default)]
pub(super) struct Previous {
    pub(super) rows: Vec<Option<Arc<Row>>>,
    /// When they were queried.
    asked_at: Timestamp,
    /// Answers beside those of the rows.
    pub(super) answers: HashMap<Query, Answer>,
    /// What tags pointed to.
    pub(super) digests: HashMap<(Repository, String), Option<Digest>>,
}

impl Run {
    /// Reads the labels of row `i`, if they were not needed so far. Until they are there it is what it was.
    pub fn read_labels(&mut self, i: usize) {
        let Some(Some(row)) = self.rows.rows.get(i).cloned() else { return };
        if row.status != Status::Resolved || !row.labels.is_empty() {
            return;
        }
        self.previous.rows.resize(self.rows.rows.len(), None);
        self.previous.rows[i] = Some(row);
        self.previous.asked_at = self.facts.asked_at;
        self.resolver.want_labels(i);
        self.evaluate(vec![i], true);
    }

    /// Asks this too, whatever was answered before; that counts again if the run is cancelled meanwhile.
    pub fn refetch(&mut self, queries: Vec<Query>) {
        for query in &queries {
            if let Some(Ok(answer)) = self.facts.answers.remove(query) {
                self.previous.answers.insert(query.clone(), answer);
            }
            self.facts.exchanges.remove(query);
        }
        self.enqueue(queries);
    }

    /// Stops: what is not known yet becomes an error that says so. What was only asked for again is as it was, and all of it as old.
    pub fn cancel(&mut self) {
        self.evaluate_some(usize::MAX);
        let open: Vec<usize> = (0..self.rows.rows.len()).filter(|i| self.rows.rows[*i].is_none()).collect();
        let mut kept = std::mem::take(&mut self.previous.answers);
        self.forget_work();
        // What is learnt may lead to further queries.
        let mut queries = Vec::new();
        loop {
            let Some(query) = self.rows.wanted().next().cloned() else { break };
            queries.push(query.clone());
            self.learn(
                query,
                Err(RegistryError { message: "cancelled before a response arrived".to_owned(), hint: "retry".to_owned() }),
            );
            self.queue.clear_ready();
        }
        let mut is_kept = false;
        for i in open {
            if let Some(Some(row)) = self.previous.rows.get(i) {
                self.rows.rows[i] = Some(row.clone());
                self.facts.asked_at = self.previous.asked_at;
                is_kept = true;
            }
        }
        for query in queries {
            match kept.remove(&query) {
                Some(answer) => _ = self.facts.answers.insert(query, Ok(answer)),
                // Looking at such a row again asks again.
                None if is_kept && !matches!(query, Query::History { .. }) => _ = self.facts.answers.remove(&query),
                None => {}
            }
        }
    }

    /// Asks again for what could not be found out, with the logins that there are by now.
    pub fn retry_failed(&mut self, logins: Logins) {
        let failed = self.facts.answers.iter().filter(|(_, answer)| has_failed(answer)).map(|(query, _)| query);
        // Answers that contradict each other make an error too.
        let rows = self.rows.rows.iter().flatten().filter(|row| row.status == Status::Error).flat_map(|row| &row.queries);
        let failed: HashSet<Query> = failed.chain(rows).cloned().collect();
        for query in failed {
            self.facts.answers.remove(&query);
            self.facts.exchanges.remove(&query);
        }
        self.previous.rows.clear();
        self.start_over(logins);
    }

    /// Asks again for what can have moved: a request a tag, on a Quay a request a repository.
    pub fn refresh(&mut self, logins: Logins, asked_at: Timestamp) {
        self.previous.rows = self.summarize().0;
        self.previous.asked_at = self.facts.asked_at;
        // For a tag that cannot be checked this time, what it pointed to last time still counts.
        self.previous.digests.extend(self.facts.forget_moving(asked_at));
        self.start_over(logins);
    }

    fn start_over(&mut self, logins: Logins) {
        self.client.logins = logins;
        self.forget_work();
        self.hosts.clear();
        self.tokens = Tokens::default();
        self.resolver.forget_hashes();
        self.rows = RowStates::new(self.resolver.images());
    }

    fn forget_work(&mut self) {
        self.queue.clear();
        self.tokens.forget_work();
        self.flights.in_flight.clear();
        self.budget = Budget::default();
        for host in self.hosts.values_mut() {
            host.probe.is_under_way = false;
            host.rate_limit.forget();
        }
    }
}
