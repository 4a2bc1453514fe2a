//! `overtag board`

use super::args::Invocation;
use super::inputs::{client, clock, facts, files, kept_pipeline, now, read_pipeline, settings, snapshot_in};
use super::progress::progress;
use super::{files, say};
use crate::engine::board::report::BoardReport;
use crate::engine::board::{self, Grid, Known, Stage, State};
use crate::engine::error::{Error, Kind, clean};
use crate::engine::options::settings::Settings;
use crate::engine::output::{self};
use crate::engine::template::plan::{Image, Plan};
use crate::engine::workflow::Need;
use crate::engine::workflow::board::{BoardWorkflow, Subject};
use crate::engine::workflow::prepare::check_names;
use crate::net::native;

/// Runs the verb.
pub fn run(invocation: &Invocation) -> Result<(), Error> {
    let settings = settings(invocation)?;
    check_channels(invocation, &settings)?;
    let files = files(invocation, &settings)?;
    let plan = Plan::new(&settings, &files)?;
    for warning in &plan.warnings {
        say(warning);
    }
    check_names(&plan)?;
    let grid = Grid::new(&settings, &plan);
    if grid.members.is_empty() {
        let hint = "loosen roles, services, include or exclude, or give a template that uses tag";
        return Err(Error::new(Kind::No, "no image uses the channel's tag", "", hint));
    }
    let snapshot = snapshot_in(&files)?;
    let subject = Subject { settings: &settings, plan: &plan, grid: &grid };
    let client = client(invocation, &settings, &plan.images)?;
    let run = BoardWorkflow::start(subject, client, facts()?, snapshot.clone());
    let mut run = native::drive(run, &progress())?;
    let mut workflow = BoardWorkflow::new(kept_pipeline(invocation, snapshot.as_deref()), clock());
    let rows = run.summarize().0;
    let mut stages = board::stages(&grid, &plan, &rows);
    loop {
        match workflow.next_need(subject, &run, &rows, &stages, invocation.history) {
            Need::Query(queries) => {
                run.refetch(queries);
                run = native::drive(run, &progress())?;
            }
            Need::Fetch(wants) => {
                read_pipeline(invocation, wants, |want, from, now, text| workflow.deliver(want, from, now, text))
            }
            Need::Done => break,
        }
    }
    if let Some(error) = workflow.history_failure(&run) {
        say(&error);
    } else if invocation.history && snapshot.is_none() && workflow.history().is_empty() {
        let hint = "give --dlrn, or a snapshot that you extend with --since";
        say(&Error::usage("no source reports the history of these tags", "--history", hint));
    }
    let timeline = workflow.timeline(subject, &run, &rows, &mut stages);
    let as_of = snapshot.as_ref().map_or_else(now, |s| Ok(s.fetched()))?;
    let board_report = BoardReport {
        settings: &settings,
        choices: &invocation.choices,
        plan: &plan,
        grid: &grid,
        rows: &rows,
        stages: &stages,
        timeline: &timeline,
        pipeline: workflow.pipeline(),
        requests: run.requests(),
        as_of,
        now: now()?,
    };
    let text = match invocation.format.as_str() {
        "json" => board_report.json(),
        "svg" => board_report.svg(),
        _ => board_report.table(),
    };
    files::write(&[(invocation.output.as_deref(), &text)])?;
    match invocation.require_whole.is_empty() {
        true => report_failures(&grid.cells(&plan), &rows),
        // The question whether some channels are whole has its answer, whatever else failed.
        false => require_whole(&invocation.require_whole, &stages),
    }
}

/// Refuses a board without channels, and channels to be whole that are not on it.
fn check_channels(invocation: &Invocation, settings: &Settings) -> Result<(), Error> {
    if let Some(other) = invocation.require_whole.iter().find(|c| !settings.channels.contains(c)) {
        let hint = format!("give one of {}, or name it in --channels", settings.channels.join(", "));
        return Err(Error::usage("this channel is not on the board", format!("--require-whole {}", clean(other)), hint));
    }
    if settings.channels.is_empty() {
        return Err(Error::usage("there is no channel", "--channels", "name at least one"));
    }
    Ok(())
}

/// An error unless each of these channels is whole. Torn is certain, even if other images could not be checked: a definite failure is
/// reported before an unknown one.
fn require_whole(channels: &[String], stages: &[Stage]) -> Result<(), Error> {
    let failed = stages.iter().filter(|stage| channels.contains(&stage.channel) && stage.state != State::Whole);
    // Of equals the first is taken.
    let Some(stage) = failed.min_by_key(|stage| stage.state == State::Unknown) else { return Ok(()) };
    let counts = stage.counts;
    let certain = counts.torn + counts.absent + counts.unresolved > 0 || stage.state != State::Unknown;
    let kind = if certain { Kind::No } else { Kind::Registry };
    let hint = match stage.state {
        State::Unproven => "look at the board: nothing shows which build these images point to",
        _ if certain => "wait for the promotion, or look at the board",
        _ => "retry; the board shows what failed",
    };
    Err(Error::new(kind, stage.sentence().trim_end_matches('.'), stage.channel.as_str(), hint))
}

/// An error if some cells could not be checked.
fn report_failures(cells: &[Image], rows: &[Known]) -> Result<(), Error> {
    let failed = output::failed(cells, rows);
    if failed.is_empty() {
        return Ok(());
    }
    let mut failures = output::failures(failed.iter().copied(), &format!("{} cells", rows.len()));
    let last = failures.pop();
    failures.iter().for_each(|failure| say(failure));
    last.map_or(Ok(()), |last| Err(Error { hint: "retry; the board shows what is not known".to_owned(), ..last }))
}
