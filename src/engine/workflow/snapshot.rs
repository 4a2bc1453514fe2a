//! Queries all that a snapshot keeps: the images of a plan and of a board, the history of their tags, and the pipeline.

use crate::engine::time::Timestamp;
use std::sync::Arc;

use super::Need;
use super::pipeline::PipelineReader;
use crate::engine::board::{self, Grid, Known, Stage};
use crate::engine::image::reference::Reference;
use crate::engine::options::settings::Settings;
use crate::engine::pipeline::{Pipeline, Want};
use crate::engine::resolve::{Facts, Resolver};
use crate::engine::session::{Client, Run};
use crate::engine::snapshot::{self, Snapshot};
use crate::engine::template::plan::{Image, Plan};

/// Queries all that a snapshot keeps.
///
/// The caller starts a run, drives it to its end, and asks for the [`next_need`](Self::next_need), until nothing is.
#[derive(Debug)]
pub struct SnapshotWorkflow {
    settings: Settings,
    plan: Plan,
    grid: Grid,
    images: Vec<Image>,
    pipeline: PipelineReader,
    /// A snapshot is made of another one, and that holds the pipeline.
    kept: Option<Pipeline>,
    has_histories: bool,
}

impl SnapshotWorkflow {
    /// Returns a workflow for the images of a plan, and with `is_board` for each of them in each channel too. `kept` is what the
    /// snapshot that is read in place of registries holds of the pipeline.
    pub fn new(settings: Settings, plan: Plan, is_board: bool, kept: Option<Pipeline>) -> Self {
        let grid = if is_board { Grid::new(&settings, &plan) } else { Grid::default() };
        let cells = grid.cells(&plan);
        let is_new = |cell: &&Image| !plan.images.iter().any(|i| i.imagename == cell.imagename);
        let images = plan.images.iter().chain(cells.iter().filter(is_new)).cloned().collect();
        Self { settings, plan, grid, images, pipeline: PipelineReader::default(), kept, has_histories: false }
    }

    /// Returns the images that are queried.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Returns a run that queries them, or reads them from another snapshot.
    pub fn start(&self, client: Client, facts: Facts, snapshot: Option<Arc<Snapshot>>) -> Run {
        Run::new(Resolver::for_snapshot(self.settings.clone(), self.images.clone()), client, facts, snapshot)
    }

    /// Returns what each channel is; none where no board was asked for.
    pub fn stages(&self, run: &Run) -> Vec<Stage> {
        let rows = run.summarize().0;
        let row = |cell: &Image| rows[self.images.iter().position(|i| i.imagename == cell.imagename)?].clone();
        let cells: Vec<Known> = self.grid.cells(&self.plan).iter().map(row).collect();
        board::stages(&self.grid, &self.plan, &cells)
    }

    /// Returns what is needed next, once `run` is done.
    pub fn next_need(&mut self, run: &Run) -> Need {
        if !std::mem::replace(&mut self.has_histories, true) {
            let references: Vec<&Reference> = self.images.iter().filter_map(|i| i.reference.as_ref().ok()).collect();
            return Need::Query(snapshot::histories(run.facts(), &references));
        }
        if self.kept.is_some() || !Pipeline::is_wanted(&self.settings) {
            return Need::Done;
        }
        let stages = self.stages(run);
        self.pipeline.next_wants(&self.settings, Some(&stages)).map_or(Need::Done, Need::Fetch)
    }

    /// Takes what was read from an address; as [`Pipeline::take`].
    pub fn deliver(&mut self, want: Want, from: &str, now: Timestamp, text: Result<String, String>) {
        self.pipeline.deliver(want, from, now, text);
    }

    /// Returns the snapshot. `link` is the link that it was made for, `older` a snapshot whose history it extends, and `now` the time
    /// unless the run has read another snapshot.
    pub fn finish(self, run: &Run, link: String, older: Option<&Snapshot>, now: Timestamp) -> Snapshot {
        let asked_at = run.snapshot().map_or(now, |s| s.fetched());
        let mut taken = Snapshot::new(run.facts(), &run.summarize().0, link, asked_at, run.plain_hosts());
        let read = || Pipeline::is_wanted(&self.settings).then(|| (**self.pipeline.complete()).clone());
        taken.pipeline = self.kept.clone().or_else(read);
        if let Some(older) = older {
            taken.extend_history(older);
        }
        taken
    }
}
