//! `overtag board`

use super::args::Invocation;
use super::inputs::{check_names, client, facts, files, now, pipeline, settings, snapshot_in};
use super::progress::progress;
use super::{files, say};
use crate::engine::board::report::BoardReport;
use crate::engine::board::timeline::{self, Timeline};
use crate::engine::board::{self, Grid, Stage, State};
use crate::engine::error::{Error, Kind, clean};
use crate::engine::output::{self};
use crate::engine::resolve::{Resolver, Row, Status};
use crate::engine::session::Run;
use crate::engine::template::plan::{Image, Plan};
use crate::net::native;
use std::sync::Arc;

/// Runs the verb.
pub fn run(invocation: &Invocation) -> Result<(), Error> {
    let settings = settings(invocation)?;
    if let Some(other) = invocation.require_whole.iter().find(|c| !settings.channels.contains(c)) {
        let hint = format!("give one of {}, or name it in --channels", settings.channels.join(", "));
        return Err(Error::usage("this channel is not on the board", format!("--require-whole {}", clean(other)), hint));
    }
    if settings.channels.is_empty() {
        return Err(Error::usage("there is no channel", "--channels", "name at least one"));
    }
    let files = files(invocation, &settings)?;
    let plan = Plan::new(&settings, &files)?;
    for warning in &plan.warnings {
        say(warning);
    }
    check_names(&plan)?;
    let grid = Grid::new(&settings, &plan);
    if grid.members.is_empty() {
        let hint = "loosen roles, services, include or exclude, or give a template that uses tag";
        return Err(Error::new(Kind::No, "no image follows the channel", "", hint));
    }
    let snapshot = snapshot_in(&files)?;
    let cells = grid.cells(&plan);
    // What a snapshot holds of labels costs nothing.
    let resolver = if snapshot.is_some() { Resolver::new } else { Resolver::for_board }(settings.clone(), cells);
    let client = client(invocation, &settings, &plan.images)?;
    let run = Run::new(resolver, client, facts()?, snapshot.clone());
    let mut run = native::drive(run, &progress())?;
    let rows = run.summarize().0;
    if invocation.history || snapshot.is_some() {
        let queries = timeline::queries(&grid, &plan, &rows, run.facts(), snapshot.is_some());
        run.enqueue(queries.clone());
        run = native::drive(run, &progress())?;
        if invocation.history && snapshot.is_none() {
            let failed = queries.iter().find_map(|query| Some((query, run.facts().answers.get(query)?.as_ref().err()?)));
            let trouble = match failed {
                Some((query, trouble)) => {
                    let place = query.repository().map_or(String::new(), ToString::to_string);
                    Some(Error::new(
                        Kind::Registry,
                        format!("not all of the history could be read: {}", trouble.message),
                        place,
                        trouble.hint.as_str(),
                    ))
                }
                None if queries.is_empty() => Some(Error::usage(
                    "nothing here tells the history of these tags",
                    "--history",
                    "give --dlrn, or a snapshot that --since carries on",
                )),
                None => None,
            };
            trouble.iter().for_each(|trouble| say(trouble));
        }
    }
    let mut stages = board::stages(&grid, &plan, &rows);
    let pipeline = pipeline(invocation, &settings, snapshot.as_deref(), &stages);
    let timeline = Timeline::new(&grid, &plan, &rows, run.facts(), &pipeline);
    timeline.inform(&mut stages);
    let as_of = snapshot.as_ref().map_or_else(now, |s| Ok(s.fetched()))?;
    let board_report = BoardReport {
        settings: &settings,
        choices: &invocation.choices,
        plan: &plan,
        grid: &grid,
        rows: &rows,
        stages: &stages,
        timeline: &timeline,
        pipeline: &pipeline,
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
    // Torn is certain, even if other images could not be checked: a definite failure is reported before an unknown one.
    let required = |stage: &&Stage| invocation.require_whole.contains(&stage.channel) && stage.state != State::Whole;
    let mut wanting: Vec<&Stage> = stages.iter().filter(required).collect();
    wanting.sort_by_key(|stage| stage.state == State::Unknown);
    if let Some(stage) = wanting.first() {
        let certain = stage.torn + stage.absent + stage.unresolved > 0 || stage.state != State::Unknown;
        let kind = if certain { Kind::No } else { Kind::Registry };
        let hint = match stage.state {
            State::Unproven => "look at the board: nothing tells for which build these images stand",
            _ if certain => "wait for the promotion, or look at the board",
            _ => "retry; the board says what failed",
        };
        return Err(Error::new(kind, stage.sentence().trim_end_matches('.'), stage.channel.as_str(), hint));
    }
    let cells = grid.cells(&plan);
    let known = cells.iter().zip(rows.iter().flatten().map(Arc::as_ref));
    let failed: Vec<(&Image, &Row)> = known.filter(|(_, row)| row.status == Status::Error).collect();
    // The question whether some channels are whole has its answer.
    if failed.is_empty() || !invocation.require_whole.is_empty() {
        return Ok(());
    }
    let mut failures = output::failures(failed.iter().copied(), &format!("{} cells", rows.len()));
    let last = failures.pop();
    failures.iter().for_each(|failure| say(failure));
    last.map_or(Ok(()), |last| Err(Error { hint: "retry; the board says what is not known".to_owned(), ..last }))
}
