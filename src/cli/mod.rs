//! The command line: flags → choices, files in, files out, exit status. The engine does the rest.

mod args;
mod file;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::choices::{Pin, Settings};
use crate::engine::error::{Error, Kind, clean};
use crate::engine::export::{self, Outcome, Provenance};
use crate::engine::name::Reference;
use crate::engine::plan::{Files, Image, Plan};
use crate::engine::registry::Caller;
use crate::engine::resolve::{Facts, Resolver, Status};
use crate::engine::run::Run;
use crate::engine::{share, template};
use crate::net::native;
use args::{Invocation, Verb};

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let invocation = match args::read(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(clap) => return args::refuse(&clap),
    };
    let outcome = match invocation.verb {
        Verb::Prepare => prepare(&invocation),
        Verb::Discover => discover(&invocation),
        Verb::ListImages => list_images(&invocation),
        Verb::Link => link(&invocation),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::from(match error.kind {
                Kind::No => 1,
                Kind::Usage | Kind::Template => 2,
                Kind::Registry => 3,
            })
        }
    }
}

/// One line on standard error.
fn say(what: &dyn std::fmt::Display) {
    eprintln!("overtag: {what}");
}

/// Writes to standard output; a reader that went away is no error of ours.
fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::usage(e.to_string(), "standard output", "")),
        _ => Ok(()),
    }
}

/// The choices, checked: on a command line any wrong one is an error.
fn settings(invocation: &Invocation) -> Result<Settings, Error> {
    let (settings, wrong) = Settings::new(&invocation.choices, invocation.template_file.is_some());
    // A link to a view that only the page will have is a good link here.
    let is_view = matches!(invocation.choices.get("view"), Some("board" | "compare" | "dockerfiles"));
    let concerns_us = |e: &&Error| !(is_view && e.place == "view=");
    match wrong.iter().find(concerns_us) {
        Some(first) => Err(first.clone()),
        None => Ok(settings),
    }
}

/// Reads the files that were named, and those that the template includes.
fn files(invocation: &Invocation, settings: &Settings) -> Result<Files, Error> {
    let mut files = Files {
        template: None,
        includes: Vec::new(),
        roles: invocation.roles_file.as_deref().map(file::read).transpose()?,
        environments: invocation.environment_files.iter().map(|f| file::read(f)).collect::<Result<_, _>>()?,
    };
    type Beside = Box<dyn Fn(&str) -> Result<template::Source, Error>>;
    let beside: Beside = match (&invocation.template_file, &settings.template) {
        (Some(path), _) => {
            files.template = Some(file::read(path)?);
            let folder: PathBuf = path.parent().unwrap_or(Path::new(".")).to_owned();
            Box::new(move |name: &str| file::read(&folder.join(template::base_name(name))))
        }
        (None, Some(url)) => {
            files.template = Some(file::fetch(url)?);
            let url = url.clone();
            Box::new(move |name: &str| file::fetch(&template::beside(&url, name)))
        }
        (None, None) => return Ok(files),
    };
    let mut wanted: Vec<String> = files.template.iter().flat_map(|t| template::included(&t.text)).collect();
    while let Some(name) = wanted.pop() {
        let base = template::base_name(&name);
        if files.includes.len() >= template::INCLUDES || files.includes.iter().any(|f| template::base_name(&f.name) == base) {
            continue;
        }
        // One that is not there is an error only if the template comes to it.
        if let Ok(source) = beside(&name) {
            wanted.extend(template::included(&source.text));
            files.includes.push(source);
        }
    }
    Ok(files)
}

/// Now, or what `SOURCE_DATE_EPOCH` says (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn now() -> Result<u64, Error> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|_| Error::usage(format!("`{}` is no number of seconds", clean(&text)), "SOURCE_DATE_EPOCH", "unset it")),
        Err(_) => Ok(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())),
    }
}

fn prepare(invocation: &Invocation) -> Result<(), Error> {
    let settings = settings(invocation)?;
    let files = files(invocation, &settings)?;
    let plan = Plan::new(&settings, &files)?;
    for warning in &plan.warnings {
        say(warning);
    }
    if invocation.no_registry && settings.newest.is_some() {
        return Err(Error::usage("only a registry knows the newest tag", "--no-registry and tag=newest:", "give an exact tag"));
    }
    let run = if invocation.no_registry {
        None
    } else {
        check_names(&plan)?;
        let resolver = Resolver::new(settings.clone(), plan.images.clone());
        Some(native::drive(Run::new(resolver, Caller::Native, Facts::default()), &progress()))
    };
    let outcome = match &run {
        Some(run) => Outcome::of_run(&settings, &plan, run),
        None => Outcome::unasked(&settings, &plan),
    };
    let refusal = outcome.refusal(invocation.allow_partial);
    if invocation.json {
        print(&outcome.report())?;
        return refusal.map_or(Ok(()), Err);
    }
    if run.is_some() {
        eprintln!("{}", outcome.sentence());
    }
    if let Some(refusal) = refusal {
        for line in outcome.lines.iter().filter(|l| l.row.status == Status::Error).skip(1).take(9) {
            say(&Error::new(Kind::Registry, line.row.reason.as_str(), line.image.imagename.as_str(), ""));
        }
        return Err(refusal);
    }
    for fallen in outcome.fallen() {
        say(&fallen);
    }
    let provenance = Provenance::new(&invocation.choices, &files, now()?);
    let environment = outcome.environment(&provenance);
    let mut out = Vec::new();
    if let Some(path) = &invocation.output_images_file {
        out.push((path.as_path(), outcome.containers(&provenance)));
    }
    match &invocation.output_env_file {
        Some(path) => out.push((path.as_path(), environment)),
        None => {
            file::write_all(&out)?;
            return print(&environment);
        }
    }
    file::write_all(&out)
}

/// A name that no registry can be asked for is a mistake of the template or its substitutions.
fn check_names(plan: &Plan) -> Result<(), Error> {
    match plan.images.iter().find_map(|i| Some((i, i.reference.as_ref().err()?))) {
        Some((image, why)) => {
            let what = format!("this is no name of an image: {why}");
            Err(Error::template(what, image.imagename.as_str(), "correct the template or the substitutions"))
        }
        None => Ok(()),
    }
}

/// A line on a terminal that says how far a run is; nothing where nobody looks.
fn progress() -> impl Fn(&Run) + Sync {
    let shown = Mutex::new((Instant::now(), std::io::stderr().is_terminal()));
    move |run: &Run| {
        let Ok(mut shown) = shown.lock() else { return };
        if !shown.1 || shown.0.elapsed().as_millis() < 200 && !run.is_done() {
            return;
        }
        shown.0 = Instant::now();
        let (_, summary) = run.conclude();
        let known = summary.asked - summary.waiting;
        if run.is_done() {
            eprint!("\r\x1b[K");
        } else {
            eprint!("\r{known} of {} images, {} requests", summary.asked, run.requests());
        }
        _ = std::io::stderr().flush();
    }
}

fn discover(invocation: &Invocation) -> Result<(), Error> {
    let mut settings = settings(invocation)?;
    settings.pin = vec![Pin::Label];
    let mut name = invocation.image.clone().unwrap_or_default();
    if let Some(tag) = invocation.choices.get("tag") {
        name = Reference::parse(&name).map_or(name, |r| r.at_tag(tag));
    }
    let reference =
        Reference::parse(&name).map_err(|why| Error::usage(why, format!("--image {}", clean(&name)), "give NAME[:TAG]"))?;
    let image = Image {
        imagename: name.clone(),
        short: name.clone(),
        reference: Ok(reference),
        why: "it was asked for".to_owned(),
        params: Vec::new(),
        services: Vec::new(),
    };
    let run = native::drive(Run::new(Resolver::discovering(settings, image), Caller::Native, Facts::default()), &|_| {});
    let (rows, _) = run.conclude();
    let Some(row) = rows.into_iter().next().flatten() else {
        return Err(Error::new(Kind::Registry, "the registry was not asked", name, "retry"));
    };
    match row.status {
        Status::Resolved => print(&format!("{}\n", row.tag)),
        Status::Error => Err(Error::new(Kind::Registry, row.reason, name, row.cure)),
        Status::Absent => Err(Error::new(Kind::No, row.reason, name, "check the name and the tag")),
        Status::Unresolved => {
            let labels: Vec<String> = row.labels.iter().map(|(k, v)| format!("{}={}", clean(k), clean(v))).collect();
            let cure = match labels.is_empty() {
                true => "it has no labels".to_owned(),
                false => format!("its labels are {}", labels.join(", ")),
            };
            Err(Error::new(Kind::No, row.reason, name, cure))
        }
    }
}

fn list_images(invocation: &Invocation) -> Result<(), Error> {
    let settings = settings(invocation)?;
    let plan = Plan::new(&settings, &files(invocation, &settings)?)?;
    for warning in &plan.warnings {
        say(warning);
    }
    check_names(&plan)?;
    if plan.images.is_empty() {
        let cure = "loosen roles, services, include or exclude";
        return Err(Error::new(Kind::No, "no image is left", "", cure));
    }
    print(&export::list(&plan))
}

fn link(invocation: &Invocation) -> Result<(), Error> {
    settings(invocation)?;
    let base = invocation.link.as_deref().map_or("", share::base);
    print(&format!("{base}?{}\n", share::write(&invocation.choices, invocation.template_file.is_some())))
}
