//! Finds out both sides of a comparison: two channels or hashes of one source, or one of them in two snapshots.

use std::sync::Arc;

use super::pipeline::PipelineReader;
use crate::engine::error::{Error, Location};
use crate::engine::options::settings::Settings;
use crate::engine::output::Outcome;
use crate::engine::output::compare::Side;
use crate::engine::pipeline::{Pipeline, Want};
use crate::engine::resolve::Facts;
use crate::engine::session::{Client, Run};
use crate::engine::snapshot::Snapshot;
use crate::engine::template::plan::Plan;
use crate::engine::time::Timestamp;
use crate::engine::workflow::prepare;

/// One side: a channel or hash, the choices at this tag, and the images.
#[derive(Clone, Debug)]
pub struct Request {
    /// The channel or hash.
    pub tag: String,
    /// The choices at this tag.
    pub settings: Settings,
    /// The images.
    pub plan: Plan,
}

/// What a comparison needs next.
#[derive(Debug)]
pub enum CompareNeed {
    /// This run is to be driven to its end, and delivered.
    Run(Box<Run>),
    /// Addresses to read, each of which is to be delivered.
    Fetch(Vec<Want>),
    /// Nothing.
    Done,
}

/// Finds out one side after the other, then where the repositories of their hashes are.
#[derive(Debug)]
pub struct CompareWorkflow {
    requests: [Request; 2],
    /// What the old side is read from, where that is another source than the new side's.
    earlier: Option<Arc<Snapshot>>,
    snapshot: Option<Arc<Snapshot>>,
    facts: Facts,
    sides: Vec<Side>,
    pipeline: PipelineReader,
}

/// Returns the tags to compare: two snapshots are compared at one tag, one source at two channels. There may be fewer than two.
pub fn tags(settings: &Settings, has_earlier: bool) -> Vec<String> {
    match has_earlier {
        true => vec![settings.tag().to_owned(); 2],
        false => settings.channels.iter().take(2).cloned().collect(),
    }
}

/// Returns the error for a comparison of fewer than two sides.
pub fn one_side() -> Error {
    let hint = "give two channels or hashes, an earlier snapshot (against=), or two files";
    Error::usage("there is only one side to compare", Location::Choice("channels".to_owned()), hint)
}

impl CompareWorkflow {
    /// Returns a workflow. The old side is read from `earlier` where there is one, all else from `snapshot` or registries.
    ///
    /// # Errors
    /// There are not two sides.
    pub fn new(
        requests: Vec<Request>,
        earlier: Option<Arc<Snapshot>>,
        snapshot: Option<Arc<Snapshot>>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let requests = <[Request; 2]>::try_from(requests).map_err(|_| one_side())?;
        let kept = snapshot.as_ref().or(earlier.as_ref()).and_then(|s| s.pipeline.as_ref());
        let pipeline = PipelineReader::new(kept, now);
        Ok(Self { requests, earlier, snapshot, facts: Facts::default(), sides: Vec::new(), pipeline })
    }

    fn source(&self) -> Option<&Arc<Snapshot>> {
        self.earlier.as_ref().filter(|_| self.sides.is_empty()).or(self.snapshot.as_ref())
    }

    /// Returns what is needed next.
    pub fn next_need(&mut self, client: Client, now: Timestamp) -> CompareNeed {
        match self.requests.get(self.sides.len()) {
            Some(request) => {
                let facts = Facts { asked_at: now, ..std::mem::take(&mut self.facts) };
                let source = self.source().cloned();
                CompareNeed::Run(Box::new(prepare::start(&request.settings, &request.plan, client, facts, source)))
            }
            None => self.pipeline.next_wants(&self.requests[0].settings, None).map_or(CompareNeed::Done, CompareNeed::Fetch),
        }
    }

    /// Takes a run that is done.
    pub fn deliver_run(&mut self, run: &mut Run) {
        let Some(Request { tag, settings, plan }) = self.requests.get(self.sides.len()) else { return };
        let name = match (self.source(), &self.earlier) {
            (Some(snapshot), Some(_)) => format!("{tag} of {}", snapshot.fetched()),
            (None, Some(_)) => format!("{tag} now"),
            _ => tag.clone(),
        };
        self.sides.push(Side::of_run(name, tag.clone(), &Outcome::of_run(settings, plan, run)));
        // What both have in common is asked once.
        if run.causes().is_empty() && self.earlier.is_none() {
            self.facts = run.take_facts();
        }
    }

    /// Takes what was read from an address; as [`Pipeline::take`].
    pub fn deliver(&mut self, want: Want, from: &str, now: Timestamp, text: Result<String, String>) {
        self.pipeline.deliver(want, from, now, text);
    }

    /// Returns both sides, once nothing more is needed.
    pub fn sides(self) -> Option<[Side; 2]> {
        <[Side; 2]>::try_from(self.sides).ok()
    }

    /// Returns what is known of the pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        self.pipeline.complete()
    }
}
