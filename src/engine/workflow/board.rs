//! Queries images by channels, then the history of their tags where that is asked for, then the pipeline around the registry.

use crate::engine::time::Timestamp;
use std::sync::Arc;

use super::Need;
use super::pipeline::PipelineReader;
use crate::engine::board::timeline::{self, Timeline};
use crate::engine::board::{Grid, Known, Stage};
use crate::engine::error::{Error, Kind};
use crate::engine::options::settings::Settings;
use crate::engine::pipeline::{Pipeline, Want};
use crate::engine::registry::Query;
use crate::engine::resolve::{Facts, Resolver};
use crate::engine::session::{Client, Run};
use crate::engine::snapshot::Snapshot;
use crate::engine::template::plan::Plan;

/// What is on a board.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The choices, checked.
    pub settings: &'a Settings,
    /// The images.
    pub plan: &'a Plan,
    /// Which of them are on the board, in which channels.
    pub grid: &'a Grid,
}

/// What a channel points to: its hash, how many images do, and how many point to another one.
type Standing = (Option<String>, usize, usize);

/// What a board needs beyond its cells, in order.
///
/// The caller starts a run, drives it to its end, and asks for the [`next_need`](Self::next_need), until nothing is.
#[derive(Clone, Debug, Default)]
pub struct BoardWorkflow {
    pipeline: PipelineReader,
    /// What the channels pointed to when their history was asked for.
    history_of: Option<Vec<Standing>>,
    history: Vec<Query>,
    is_cancelled: bool,
}

impl BoardWorkflow {
    /// Returns a workflow. `kept` is what a snapshot holds of the pipeline.
    pub fn new(kept: Option<&Pipeline>, now: Timestamp) -> Self {
        Self { pipeline: PipelineReader::new(kept, now), ..Self::default() }
    }

    /// Returns a run that queries the cells of a board.
    pub fn start(subject: Subject<'_>, client: Client, facts: Facts, snapshot: Option<Arc<Snapshot>>) -> Run {
        // The labels that a snapshot holds cost nothing.
        let resolver = if snapshot.is_some() { Resolver::new } else { Resolver::for_board };
        Run::new(resolver(subject.settings.clone(), subject.grid.cells(subject.plan)), client, facts, snapshot)
    }

    /// Returns what is needed next, once `run` is done. `rows` are its cells, `stages` what its channels are. The history of tags costs
    /// requests, and is queried where `wants_history`; of a snapshot it is read in any case.
    pub fn next_need(&mut self, subject: Subject<'_>, run: &Run, rows: &[Known], stages: &[Stage], wants_history: bool) -> Need {
        if self.is_cancelled {
            return Need::Done;
        }
        let has_snapshot = run.snapshot().is_some();
        if has_snapshot || wants_history {
            let standings: Vec<Standing> = stages.iter().map(|s| (s.hash.clone(), s.counts.at_hash, s.counts.torn)).collect();
            if self.history_of.as_ref() != Some(&standings) {
                self.history = timeline::queries(subject.grid, subject.plan, rows, run.facts(), has_snapshot);
                if !self.history.is_empty() {
                    self.history_of = Some(standings);
                    return Need::Query(self.history.clone());
                }
            }
        }
        self.pipeline.next_wants(subject.settings, Some(stages)).map_or(Need::Done, Need::Fetch)
    }

    /// Takes what was read from an address; as [`Pipeline::take`].
    pub fn deliver(&mut self, want: Want, from: &str, now: Timestamp, text: Result<String, String>) {
        self.pipeline.deliver(want, from, now, text);
    }

    /// Returns when channels were promoted, as far as it is known, and adds it to their stages.
    pub fn timeline(&self, subject: Subject<'_>, run: &Run, rows: &[Known], stages: &mut [Stage]) -> Timeline {
        let timeline = Timeline::new(subject.grid, subject.plan, rows, run.facts(), self.pipeline());
        timeline.inform(stages);
        timeline
    }

    /// Returns what is known of the pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        self.pipeline.complete()
    }

    /// Returns the queries for the history that was asked for last; none where no source reports it.
    pub fn history(&self) -> &[Query] {
        &self.history
    }

    /// Returns why a registry did not report the history that was asked for, or not all of it. It is queried again then, if it is still
    /// wanted.
    pub fn history_failure(&mut self, run: &Run) -> Option<Error> {
        let failed = |query| Some((query, run.facts().answers.get(query)?.as_ref().err()?));
        let (query, error) = self.history.iter().find_map(failed).filter(|_| run.snapshot().is_none())?;
        let place = query.repository().map_or(String::new(), ToString::to_string);
        let message = format!("not all of the history could be read: {}", error.message);
        let error = Error::new(Kind::Registry, message, place, error.hint.as_str());
        self.history_of = None;
        Some(error)
    }

    /// Goes on with what was cancelled, or with other addresses of the pipeline.
    pub fn restart(&mut self, kept: Option<&Pipeline>, now: Timestamp) {
        self.is_cancelled = false;
        self.pipeline = PipelineReader::new(kept, now);
    }

    /// Goes on with what was cancelled.
    pub fn resume(&mut self) {
        self.is_cancelled = false;
    }

    /// Reads again what can have changed.
    pub fn refresh(&mut self, settings: &Settings) {
        self.is_cancelled = false;
        self.pipeline.refresh(settings);
    }

    /// Stops. What was only read again is as it was; what was never read becomes a failure that says so.
    pub fn cancel(&mut self, settings: &Settings, stages: &[Stage]) {
        self.is_cancelled = true;
        self.pipeline.cancel(settings, stages);
    }
}
