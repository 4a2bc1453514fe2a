//! `overtag prepare`

use super::args::Invocation;
use super::inputs::{files, now, query_images, settings};
use super::{files, print, say};
use crate::engine::error::Error;
use crate::engine::output::{OUTPUTS, Outcome, Provenance};
use crate::engine::template::plan::Plan;
use std::path::Path;

/// Runs the verb.
pub fn run(invocation: &Invocation) -> Result<(), Error> {
    let settings = settings(invocation)?;
    let files = files(invocation, &settings)?;
    let plan = Plan::new(&settings, &files)?;
    for warning in &plan.warnings {
        say(warning);
    }
    if invocation.no_registry && settings.newest.is_some() {
        return Err(Error::usage("only a registry knows the newest tag", "--no-registry and tag=newest:", "give an exact tag"));
    }
    let run = if invocation.no_registry { None } else { Some(query_images(invocation, &settings, &files, &plan)?) };
    let outcome = match &run {
        Some(run) => Outcome::of_run(&settings, &plan, run),
        None => Outcome::unasked(&settings, &plan),
    };
    let refusal = outcome.refusal(invocation.allow_partial);
    let mut failures = outcome.failures();
    // The last one is the refusal, where they are the reason for one.
    if refusal.as_ref().is_some_and(|refusal| failures.last() == Some(refusal)) {
        failures.pop();
    }
    for failure in &failures {
        say(failure);
    }
    if invocation.format == "json" {
        if !invocation.outputs.is_empty() {
            say(&Error::usage(
                "no file is written: the report replaces the files",
                "--format json",
                "leave it out to get the files",
            ));
        }
        print(&outcome.report())?;
        return refusal.map_or(Ok(()), Err);
    }
    if run.is_some() {
        eprintln!("{}", outcome.sentence());
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    for caution in outcome.cautions() {
        say(&caution);
    }
    let asked_at = run.as_ref().and_then(|r| r.snapshot()).map_or_else(now, |s| Ok(s.fetched()))?;
    // A file is named as one, and no address that a link could have.
    let mut choices = invocation.choices.clone();
    if files.snapshot.as_ref().is_some_and(|s| !s.name.contains("://")) {
        choices.clear("snapshot");
    }
    let provenance = Provenance::new(&choices, &files, asked_at);
    let mut texts: Vec<(Option<&Path>, String)> = Vec::new();
    for output in &OUTPUTS {
        let path =
            invocation.outputs.iter().find(|(given, _)| given.file_name == output.file_name).map(|(_, path)| path.as_path());
        if path.is_some() || output.is_default {
            texts.push((path, output.write(&outcome, &provenance)));
        }
    }
    files::write(&texts.iter().map(|(path, text)| (*path, text.as_str())).collect::<Vec<_>>())
}
