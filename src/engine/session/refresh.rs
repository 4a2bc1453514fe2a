//! To stop, to try again, and to ask again for what can have moved.

use super::answer::has_failed;
use super::{Run, tag_by_tag};
use crate::engine::registry::auth::Logins;
use crate::engine::registry::{Query, RegistryError};
use crate::engine::resolve::Status;
use std::collections::HashSet;

impl Run {
    /// Reads the labels of row `i`, if they were not needed so far. Until they are there it is what it was.
    pub fn read_labels(&mut self, i: usize) {
        let Some(Some(row)) = self.rows.get(i).cloned() else { return };
        if row.status != Status::Resolved || !row.labels.is_empty() {
            return;
        }
        self.before.resize(self.rows.len(), None);
        self.before[i] = Some(row);
        self.before_at = self.facts.asked_at;
        self.resolver.want_labels(i);
        self.evaluate(vec![i], true);
    }

    /// Asks this too, whatever was answered before; that counts again if the run is cancelled meanwhile.
    pub fn refetch(&mut self, queries: Vec<Query>) {
        for query in &queries {
            if let Some(Ok(answer)) = self.facts.answers.remove(query) {
                self.kept.insert(query.clone(), answer);
            }
            self.facts.exchanges.remove(query);
        }
        self.enqueue(queries);
    }

    /// Stops: what is not known yet becomes an error that says so. What was only asked for again is as it was, and all of it as old.
    pub fn cancel(&mut self) {
        self.evaluate_some(usize::MAX);
        let open: Vec<usize> = (0..self.rows.len()).filter(|i| self.rows[*i].is_none()).collect();
        let mut kept = std::mem::take(&mut self.kept);
        self.forget_work();
        // What is learnt may lead to further queries.
        let mut queries = Vec::new();
        while let Some(query) = self.waiting.keys().next().cloned() {
            queries.push(query.clone());
            self.learn(
                query,
                Err(RegistryError { message: "cancelled before it was known".to_owned(), hint: "retry".to_owned() }),
            );
            self.queue.clear();
        }
        let mut is_kept = false;
        for i in open {
            if let Some(Some(row)) = self.before.get(i) {
                self.rows[i] = Some(row.clone());
                self.facts.asked_at = self.before_at;
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
        let rows = self.rows.iter().flatten().filter(|row| row.status == Status::Error).flat_map(|row| &row.queries);
        let failed: HashSet<Query> = failed.chain(rows).cloned().collect();
        for query in failed {
            self.facts.answers.remove(&query);
            self.facts.exchanges.remove(&query);
        }
        self.before.clear();
        self.start_over(logins);
    }

    /// Asks again for what can have moved: a request a tag, on a Quay a request a repository. `asked_at` in seconds since 1970.
    pub fn refresh(&mut self, logins: Logins, asked_at: u64) {
        self.before = self.summarize().0;
        self.before_at = self.facts.asked_at;
        // Of a tag that could not be asked this time it still counts what it pointed to the last time.
        self.previous_digests.extend(self.facts.forget_moving(asked_at));
        self.start_over(logins);
    }

    pub(super) fn start_over(&mut self, logins: Logins) {
        self.client.logins = logins;
        self.forget_work();
        self.hosts.clear();
        self.tokens.clear();
        self.refusals.clear();
        self.renewed.clear();
        self.renewing.clear();
        self.locked.clear();
        self.waiting.clear();
        self.pending.fill(0);
        self.resolver.forget_hashes();
        self.rows.fill(None);
        self.unevaluated = tag_by_tag(self.resolver.images());
    }

    pub(super) fn forget_work(&mut self) {
        self.queue.clear();
        self.later.clear();
        self.awaiting_token.clear();
        self.awaiting_probe.clear();
        self.urgent.clear();
        self.urgent_later.clear();
        self.in_flight.clear();
        self.clocks.clear();
        self.started.clear();
        self.attempts.clear();
        for host in self.hosts.values_mut() {
            host.is_probing = false;
            host.rate_limit.forget();
        }
        self.token_tries.clear();
    }
}
