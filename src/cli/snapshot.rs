//! `overtag snapshot`

use super::args::Invocation;
use super::inputs::{check_names, client, facts, files, now, pipeline, settings, snapshot_in};
use super::progress::progress;
use super::{files, print, say};
use crate::engine::board::{self, Grid};
use crate::engine::error::{Error, clean};
use crate::engine::image::reference::Reference;
use crate::engine::options::link;
use crate::engine::options::settings::View;
use crate::engine::output::{self, Outcome};
use crate::engine::pipeline::Pipeline;
use crate::engine::resolve::{Resolver, Row, Status};
use crate::engine::session::Run;
use crate::engine::snapshot::{self, Change, Snapshot};
use crate::engine::template::plan::{Image, Plan};
use crate::net::native;
use std::sync::Arc;

/// Returns the snapshot whose history is extended, or `None` where the file does not exist yet.
///
/// # Errors
/// It cannot be read, and the new snapshot would take its place: months of history would be lost.
pub fn since(invocation: &Invocation) -> Result<Option<Snapshot>, Error> {
    let Some(path) = &invocation.since else { return Ok(None) };
    if std::fs::metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    match files::read(path).and_then(|source| Snapshot::read(&source.text, &source.name)) {
        Ok(older) => Ok(Some(older)),
        Err(error) if files::is_same(path, invocation.output.as_deref()) => {
            let hint = "it is not overwritten; read it with the overtag that wrote it, or move it away to start a new history";
            Err(Error { hint: hint.to_owned(), ..error })
        }
        // It stays as it is, and must not end a job that is to write another file.
        Err(error) => {
            say(&Error { hint: "a new history is started".to_owned(), ..error });
            Ok(None)
        }
    }
}

/// Runs the verb.
pub fn run(invocation: &Invocation) -> Result<(), Error> {
    let settings = settings(invocation)?;
    let files = files(invocation, &settings)?;
    let plan = Plan::new(&settings, &files)?;
    for warning in &plan.warnings {
        say(warning);
    }
    let older = match &invocation.compare {
        Some(path) => Some(files::read(path).and_then(|source| Snapshot::read(&source.text, &source.name))?),
        None => None,
    };
    let since = since(invocation)?;
    let mut choices = invocation.choices.clone();
    choices.clear("snapshot");
    let link = link::write(&choices, files.template.is_some());
    let taken = match (snapshot_in(&files)?, &older) {
        // Two files are compared as they are.
        (Some(newer), Some(_)) => Arc::unwrap_or_clone(newer),
        (given, _) => {
            check_names(&plan)?;
            // A board's channels too, where one is asked for.
            let is_board = settings.view == View::Board || invocation.choices.get("channels").is_some();
            let grid = if is_board { Grid::new(&settings, &plan) } else { Grid::default() };
            let cells = grid.cells(&plan);
            let is_new = |cell: &&Image| !plan.images.iter().any(|i| i.imagename == cell.imagename);
            let asked: Vec<Image> = plan.images.iter().chain(cells.iter().filter(is_new)).cloned().collect();
            let resolver = Resolver::for_snapshot(settings.clone(), asked.clone());
            let client = client(invocation, &settings, &asked)?;
            let run = Run::new(resolver, client, facts()?, given);
            let mut run = native::drive(run, &progress())?;
            let rows = run.summarize().0;
            let row_of = |cell: &Image| rows[asked.iter().position(|i| i.imagename == cell.imagename)?].clone();
            let stages = board::stages(&grid, &plan, &cells.iter().map(row_of).collect::<Vec<_>>());
            if is_board {
                stages.iter().for_each(|stage| eprintln!("{}: {}", stage.channel, stage.sentence()));
            } else {
                eprintln!("{}", Outcome::of_run(&settings, &plan, &run).sentence());
            }
            let failed: Vec<(&Image, &Row)> =
                asked.iter().zip(rows.iter().flatten().map(Arc::as_ref)).filter(|(_, row)| row.status == Status::Error).collect();
            let mut failures = output::failures(failed.iter().copied(), &output::images(rows.len()));
            let refusal = failures.pop().filter(|_| !invocation.allow_partial || failed.len() == rows.len());
            failures.iter().for_each(|failure| say(failure));
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            let references: Vec<&Reference> = asked.iter().filter_map(|i| i.reference.as_ref().ok()).collect();
            run.enqueue(snapshot::histories(run.facts(), &references));
            let run = native::drive(run, &progress())?;
            let asked_at = run.snapshot().map_or_else(now, |s| Ok(s.fetched()))?;
            let mut taken = Snapshot::new(run.facts(), &rows, link, asked_at, run.plain_hosts());
            taken.pipeline = match run.snapshot().and_then(|s| s.pipeline.clone()) {
                None if Pipeline::is_wanted(&settings) => Some(pipeline(invocation, &settings, None, &stages)),
                kept => kept,
            };
            if let Some(older) = &since {
                taken.extend_history(older);
            }
            taken
        }
    };
    if let Some(older) = older {
        let (changes, unchanged) = taken.compare(&older);
        let mut text = String::new();
        for (name, change) in changes {
            let (name, of) = (clean(&name), |text: &str| clean(text));
            text.push_str(&match change {
                Change::Added(to) => format!("added    {name}  {}\n", of(&to)),
                Change::Removed(from) => format!("removed  {name}  {}\n", of(&from)),
                Change::Moved(from, to) => format!("moved    {name}  {} -> {}\n", of(&from), of(&to)),
                Change::Unknown => format!("unknown  {name}\n"),
            });
        }
        return print(&format!("{text}{unchanged} unchanged\n"));
    }
    let written = taken.write()?;
    files::write(&[(invocation.output.as_deref(), &written)])
}
