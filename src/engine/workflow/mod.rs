//! The order of the steps, without I/O, for whichever front drives them.
//!
//! Each workflow says what it needs next, and takes what was read or answered; the caller has the network, the files and the clock.
//! A workflow ends when it needs nothing more.
//!
//! | module | does |
//! | --- | --- |
//! | [`files`] | reads snapshot and template, and what the template includes |
//! | [`prepare`] | queries the images of a plan |
//! | [`board`] | queries images by channels, then the history of tags, then the pipeline |
//! | [`compare`] | finds out both sides of a comparison |
//! | [`snapshot`] | queries all that a snapshot keeps |
//!
//! Files, images and the board are driven by page and command line; comparisons by the page, snapshots by the command line. It is not
//! for what a front shows or prints: that is in `app` and `cli`.
//!
//! ```
//! use overtag::engine::board::{Grid, State, stages};
//! use overtag::engine::demo;
//! use overtag::engine::options::{link, settings::Settings};
//! use overtag::engine::registry::{auth::Logins, http::Moment};
//! use overtag::engine::resolve::Facts;
//! use overtag::engine::session::{Client, Next};
//! use overtag::engine::template::{Files, plan::Plan};
//! use overtag::engine::time::{Millis, Timestamp};
//! use overtag::engine::workflow::{Need, board::{BoardWorkflow, Subject}};
//!
//! let (choices, _) = link::read("?release=demo&channels=current-tripleo");
//! let (settings, _) = Settings::new(&choices, false);
//! let plan = Plan::new(&settings, &Files::default())?;
//! let grid = Grid::new(&settings, &plan);
//! let subject = Subject { settings: &settings, plan: &plan, grid: &grid };
//! let mut run = BoardWorkflow::start(subject, Client::program(Logins::default()), Facts::default(), None);
//! let moment = Moment { ms: Millis(0), unix: Timestamp(1_496_105_356), random: 0.5 };
//! while let Next::Send(send) = run.next(moment) {
//!     run.deliver(send.id, Ok(demo::respond(&send.request)), moment);
//! }
//! let rows = run.summarize().0;
//! let stages = stages(&grid, &plan, &rows);
//! assert_eq!(stages[0].state, State::Torn);
//! // No history was asked for, and no address of a pipeline is named.
//! let mut workflow = BoardWorkflow::new(None, moment.unix);
//! assert_eq!(workflow.next_need(subject, &run, &rows, &stages, false), Need::Done);
//! # Ok::<(), overtag::engine::error::Error>(())
//! ```

pub mod board;
pub mod compare;
pub mod files;
mod pipeline;
pub mod prepare;
pub mod snapshot;

use crate::engine::pipeline::Want;
use crate::engine::registry::Query;

/// What a workflow needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Queries for [`Run::refetch`](crate::engine::session::Run::refetch); the run is to be driven on.
    Query(Vec<Query>),
    /// Addresses to read, each of which is to be delivered; none where those that were named before are still awaited.
    Fetch(Vec<Want>),
    /// Nothing.
    Done,
}
