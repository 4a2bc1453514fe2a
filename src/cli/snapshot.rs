//! `overtag snapshot`

use super::args::Invocation;
use super::inputs::{client, facts, files, now, read_pipeline, settings, snapshot_in};
use super::progress::progress;
use super::{files, print, say};
use crate::engine::error::{Error, clean};
use crate::engine::options::link;
use crate::engine::options::settings::{Settings, View};
use crate::engine::output::{self, Outcome};
use crate::engine::snapshot::{Change, Snapshot};
use crate::engine::template::plan::Plan;
use crate::engine::workflow::Need;
use crate::engine::workflow::prepare::check_names;
use crate::engine::workflow::snapshot::SnapshotWorkflow;
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
        (given, _) => take(invocation, settings, plan, given, link, since.as_ref())?,
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

/// Queries all that a snapshot keeps.
fn take(
    invocation: &Invocation,
    settings: Settings,
    plan: Plan,
    given: Option<Arc<Snapshot>>,
    link: String,
    since: Option<&Snapshot>,
) -> Result<Snapshot, Error> {
    check_names(&plan)?;
    // A board's channels too, where one is asked for.
    let is_board = settings.view == View::Board || invocation.choices.get("channels").is_some();
    let kept = given.as_ref().and_then(|s| s.pipeline.clone());
    let mut workflow = SnapshotWorkflow::new(settings.clone(), plan.clone(), is_board, kept);
    let client = client(invocation, &settings, workflow.images())?;
    let mut run = native::drive(workflow.start(client, facts()?, given), &progress())?;
    if is_board {
        workflow.stages(&run).iter().for_each(|stage| eprintln!("{}: {}", stage.channel, stage.sentence()));
    } else {
        eprintln!("{}", Outcome::of_run(&settings, &plan, &run).sentence());
    }
    let rows = run.summarize().0;
    let failed = output::failed(workflow.images(), &rows);
    let mut failures = output::failures(failed.iter().copied(), &output::images(rows.len()));
    let refusal = failures.pop().filter(|_| !invocation.allow_partial || failed.len() == rows.len());
    failures.iter().for_each(|failure| say(failure));
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    loop {
        match workflow.next_need(&run) {
            Need::Query(queries) => {
                run.refetch(queries);
                run = native::drive(run, &progress())?;
            }
            Need::Fetch(wants) => {
                read_pipeline(invocation, wants, |want, from, now, text| workflow.deliver(want, from, now, text))
            }
            Need::Done => return Ok(workflow.finish(&run, link, since, now()?)),
        }
    }
}
