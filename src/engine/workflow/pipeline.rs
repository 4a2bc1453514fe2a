//! Reads the pipeline, a few addresses at a time.

use crate::engine::time::Timestamp;
use std::sync::Arc;

use crate::engine::board::Stage;
use crate::engine::board::report::hash_of;
use crate::engine::options::settings::Settings;
use crate::engine::pipeline::{Pipeline, Want};

/// Addresses that are read at once: Zuul may be asked for each job.
const AT_ONCE: usize = 6;

/// Reads what is known of the pipeline, unless a snapshot holds it.
#[derive(Clone, Debug, Default)]
pub struct PipelineReader {
    pipeline: Pipeline,
    /// As it was when all of it had been read.
    complete: Arc<Pipeline>,
    is_kept: bool,
    in_flight: usize,
}

impl PipelineReader {
    /// Returns a reader. `kept` is what a snapshot holds of the pipeline, which then is all that there is.
    pub fn new(kept: Option<&Pipeline>, now: Timestamp) -> Self {
        let pipeline = kept.map(|kept| kept.clone().up_to(now, "the snapshot")).unwrap_or_default();
        Self { is_kept: kept.is_some(), complete: Arc::new(pipeline.clone()), pipeline, in_flight: 0 }
    }

    /// Returns the addresses to read, or `None` when all is read. It is empty while earlier ones are awaited. `stages` say which hash
    /// each channel points to; without them that is not known, and nothing that depends on it is read.
    pub fn next_wants(&mut self, settings: &Settings, stages: Option<&[Stage]>) -> Option<Vec<Want>> {
        if self.in_flight > 0 {
            return Some(Vec::new());
        }
        let wants = if self.is_kept { Vec::new() } else { self.wants(settings, stages) };
        if wants.is_empty() {
            if *self.complete != self.pipeline {
                self.complete = Arc::new(self.pipeline.clone());
            }
            return None;
        }
        self.in_flight = wants.len();
        Some(wants)
    }

    fn wants(&self, settings: &Settings, stages: Option<&[Stage]>) -> Vec<Want> {
        let hash = |channel: &str| hash_of(stages.unwrap_or_default(), channel);
        let mut wants = self.pipeline.next_fetches(settings, &hash, stages.is_some());
        wants.truncate(AT_ONCE);
        wants
    }

    /// Takes what was read; as [`Pipeline::take`].
    pub fn deliver(&mut self, want: Want, from: &str, now: Timestamp, text: Result<String, String>) {
        self.pipeline.take(want, from, now, text);
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Reads again what can have changed.
    pub fn refresh(&mut self, settings: &Settings) {
        if !self.is_kept {
            self.pipeline = self.pipeline.refreshed(settings);
            self.in_flight = 0;
        }
    }

    /// Stops. What was only read again is as it was; what was never read becomes a failure that says so.
    pub fn cancel(&mut self, settings: &Settings, stages: &[Stage]) {
        self.in_flight = 0;
        if *self.complete != Pipeline::default() {
            self.pipeline = (*self.complete).clone();
        }
        while !self.is_kept {
            let wants = self.wants(settings, Some(stages));
            if wants.is_empty() {
                break;
            }
            for want in wants {
                self.pipeline.take(want, "", Timestamp(0), Err("cancelled before a response arrived".to_owned()));
            }
        }
        self.complete = Arc::new(self.pipeline.clone());
    }

    /// Returns what was known when all had been read: half of it would say what is not so.
    pub fn complete(&self) -> &Arc<Pipeline> {
        &self.complete
    }
}
