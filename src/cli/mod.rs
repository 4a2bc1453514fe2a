//! The command line: flags → choices, files in, files out, exit status. The engine does the rest.

mod args;
mod files;
mod login;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::board::report::{Bulletin, hash_of};
use crate::engine::board::timeline::{self, Timeline};
use crate::engine::board::{self, Grid, Stage, State};
use crate::engine::error::{Error, Kind, clean};
use crate::engine::image::reference::{Reference, Repository};
use crate::engine::options::link;
use crate::engine::options::settings::{Pin, Settings, View};
use crate::engine::output::{self, Outcome, Provenance};
use crate::engine::pipeline::{self, Pipeline};
use crate::engine::resolve::{Facts, Resolver, Row, Status};
use crate::engine::session::{Client, Run};
use crate::engine::snapshot::{self, Change, Snapshot};
use crate::engine::template;
use crate::engine::template::Files;
use crate::engine::template::plan::{Image, Plan};
use crate::engine::url;
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
        Verb::Snapshot => write_snapshot(&invocation),
        Verb::Board => board(&invocation),
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
    let is_view = invocation.choices.get("view") == Some("dockerfiles");
    let concerns_us = |e: &&Error| !(is_view && e.place == "view=");
    match wrong.iter().find(concerns_us) {
        Some(first) => Err(first.clone()),
        None => Ok(settings),
    }
}

/// An address of a link; one without a scheme is beside the page, where the link names one.
fn address(invocation: &Invocation, key: &str, url: &str) -> Result<String, Error> {
    let is_of_link = !invocation.given.contains(&key) && invocation.link.is_some();
    if url.contains("://") || !is_of_link {
        return Ok(url.to_owned());
    }
    let base = invocation.link.as_deref().map_or("", link::base);
    // A link is not to name files of this machine.
    url::join(base, url).ok_or_else(|| {
        let cure = "give the whole link, or name it by its own flag";
        Error::usage("this is an address beside a page, and the link names no page", format!("{key}={}", clean(url)), cure)
    })
}

/// The snapshot that was named, by an address or as a file.
fn snapshot_in(files: &Files) -> Result<Option<Arc<Snapshot>>, Error> {
    let Some(source) = &files.snapshot else { return Ok(None) };
    let snapshot = Snapshot::read(&source.text, &source.name)?;
    if let Some(notice) = snapshot.ahead_of(clock()).or(snapshot.staleness(now()?)) {
        say(&notice);
    }
    Ok(Some(Arc::new(snapshot)))
}

/// A program's client, with the logins for the registries of these images.
fn client(invocation: &Invocation, settings: &Settings, images: &[Image]) -> Result<Client, Error> {
    let mut repositories: Vec<Repository> = Vec::new();
    for reference in images.iter().filter_map(|image| image.reference.as_ref().ok()) {
        let named = reference.repository.clone();
        // The login of another place that a registry is reached at is that place's.
        let address = settings.endpoints.get(&named.host).and_then(|url| url::Address::parse(url));
        let other = address.map(|address| Repository { host: address.host.to_owned(), ..named.clone() });
        repositories.extend([Some(named), other].into_iter().flatten());
    }
    Ok(Client::program(login::logins(invocation, &repositories)?))
}

/// Facts as of now.
fn facts() -> Result<Facts, Error> {
    Ok(Facts { asked_at: now()?, ..Facts::default() })
}

/// Asks the registries, or the snapshot, for all images of a plan.
fn ask(invocation: &Invocation, settings: &Settings, files: &Files, plan: &Plan) -> Result<Run, Error> {
    check_names(plan)?;
    let resolver = Resolver::new(settings.clone(), plan.images.clone());
    let client = client(invocation, settings, &plan.images)?;
    let run = Run::new(resolver, client, facts()?, snapshot_in(files)?);
    native::drive(run, &progress())
}

/// Reads the files that were named, and those that the template includes.
fn files(invocation: &Invocation, settings: &Settings) -> Result<Files, Error> {
    let mut files = Files {
        template: None,
        includes: Vec::new(),
        roles: invocation.roles_file.as_deref().map(files::read).transpose()?,
        environments: invocation.environment_files.iter().map(|f| files::read(f)).collect::<Result<_, _>>()?,
        snapshot: match &settings.snapshot {
            Some(place) => {
                let at = address(invocation, "snapshot", place)?;
                Some(if at.contains("://") { files::fetch(&at)? } else { files::read(Path::new(&at))? })
            }
            None => None,
        },
    };
    type Beside = Box<dyn Fn(&str) -> Result<template::Source, Error>>;
    let beside: Beside = match (&invocation.template_file, &settings.template) {
        (Some(path), _) => {
            files.template = Some(files::read(path)?);
            let folder: PathBuf = path.parent().unwrap_or(Path::new(".")).to_owned();
            Box::new(move |name: &str| files::read(&folder.join(template::base_name(name))))
        }
        (None, Some(url)) => {
            let mut source = files::fetch(&address(invocation, "template", url)?)?;
            let at = std::mem::replace(&mut source.name, url.clone());
            files.template = Some(source);
            Box::new(move |name: &str| files::fetch(&template::beside(&at, name)))
        }
        (None, None) => return Ok(files),
    };
    let mut includes = files.template.as_ref().map(template::Includes::of).unwrap_or_default();
    while let Some(name) = includes.next_name()? {
        if let Ok(source) = beside(&name) {
            includes.add(source);
        }
    }
    files.includes = includes.found;
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

/// The latest time that may be now: a file that is later was written, or is read, by a machine whose clock is wrong. A time that
/// `SOURCE_DATE_EPOCH` fixes may be ahead.
fn clock() -> u64 {
    let system = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    now().map_or(system, |fixed| fixed.max(system))
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
    let run = if invocation.no_registry { None } else { Some(ask(invocation, &settings, &files, &plan)?) };
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
        if invocation.output_images_file.is_some() || invocation.output_env_file.is_some() {
            say(&Error::usage(
                "no file is written: the report takes their place",
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
    let environment = outcome.environment(&provenance);
    let containers = invocation.output_images_file.as_deref().map(|path| (path, outcome.containers(&provenance)));
    let mut texts: Vec<(Option<&Path>, &str)> = containers.iter().map(|(path, text)| (Some(*path), text.as_str())).collect();
    texts.push((invocation.output_env_file.as_deref(), &environment));
    files::write(&texts)
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

/// A line on a terminal that says how far a run is, and whom it waits for; elsewhere only a wait of more than 2 s is printed.
fn progress() -> impl Fn(&Run, u64) + Sync {
    let shown = Mutex::new((Instant::now(), None::<Instant>));
    let is_terminal = std::io::stderr().is_terminal();
    move |run: &Run, ms: u64| {
        let Ok(mut shown) = shown.lock() else { return };
        if shown.0.elapsed().as_millis() < 200 && !run.is_done() {
            return;
        }
        shown.0 = Instant::now();
        if run.is_done() {
            if is_terminal {
                eprint!("\r\x1b[K");
            }
            return;
        }
        let wait = run.waits_for(ms).filter(|(_, pause)| pause.as_millis() > 2000);
        let wait = wait.map(|(host, pause)| format!("waiting {} s for {host}", pause.as_millis().div_ceil(1000)));
        if is_terminal {
            let (_, summary) = run.conclude();
            let known = summary.asked - summary.waiting;
            let wait = wait.map_or_else(String::new, |w| format!(", {w}"));
            eprint!("\r\x1b[K{known} of {} images, {} requests{wait}", summary.asked, run.requests());
            _ = std::io::stderr().flush();
        } else if let Some(wait) = wait.filter(|_| shown.1.is_none_or(|last| last.elapsed().as_secs() >= 10)) {
            shown.1 = Some(Instant::now());
            say(&wait);
        }
    }
}

fn board(invocation: &Invocation) -> Result<(), Error> {
    let settings = settings(invocation)?;
    if let Some(other) = invocation.require_whole.iter().find(|c| !settings.channels.contains(c)) {
        let cure = format!("give one of {}, or name it in --channels", settings.channels.join(", "));
        return Err(Error::usage("this channel is not on the board", format!("--require-whole {}", clean(other)), cure));
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
        let cure = "loosen roles, services, include or exclude, or give a template that uses tag";
        return Err(Error::new(Kind::No, "no image follows the channel", "", cure));
    }
    let snapshot = snapshot_in(&files)?;
    let cells = grid.cells(&plan);
    // What a snapshot holds of labels costs nothing.
    let resolver = if snapshot.is_some() { Resolver::new } else { Resolver::for_board }(settings.clone(), cells);
    let client = client(invocation, &settings, &plan.images)?;
    let run = Run::new(resolver, client, facts()?, snapshot.clone());
    let mut run = native::drive(run, &progress())?;
    let rows = run.conclude().0;
    if invocation.history || snapshot.is_some() {
        let asks = timeline::asks(&grid, &plan, &rows, run.facts(), snapshot.is_some());
        run.also(asks.clone());
        run = native::drive(run, &progress())?;
        if invocation.history && snapshot.is_none() {
            let failed = asks.iter().find_map(|ask| Some((ask, run.facts().answers.get(ask)?.as_ref().err()?)));
            let trouble = match failed {
                Some((ask, trouble)) => {
                    let place = ask.repository().map_or(String::new(), ToString::to_string);
                    Some(Error::new(
                        Kind::Registry,
                        format!("not all of the history could be read: {}", trouble.what),
                        place,
                        trouble.cure.as_str(),
                    ))
                }
                None if asks.is_empty() => Some(Error::usage(
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
    let bulletin = Bulletin {
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
        "json" => bulletin.json(),
        "svg" => bulletin.svg(),
        _ => bulletin.table(),
    };
    files::write(&[(invocation.output.as_deref(), &text)])?;
    // Torn is certain, whatever else could not be asked; a no goes before a doubt.
    let required = |stage: &&Stage| invocation.require_whole.contains(&stage.channel) && stage.state != State::Whole;
    let mut wanting: Vec<&Stage> = stages.iter().filter(required).collect();
    wanting.sort_by_key(|stage| stage.state == State::Unknown);
    if let Some(stage) = wanting.first() {
        let certain = stage.torn + stage.absent + stage.unresolved > 0 || stage.state != State::Unknown;
        let kind = if certain { Kind::No } else { Kind::Registry };
        let cure = match stage.state {
            State::Unproven => "look at the board: nothing tells for which build these images stand",
            _ if certain => "wait for the promotion, or look at the board",
            _ => "retry; the board says what failed",
        };
        return Err(Error::new(kind, stage.sentence().trim_end_matches('.'), stage.channel.as_str(), cure));
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
    last.map_or(Ok(()), |last| Err(Error { cure: "retry; the board says what is not known".to_owned(), ..last }))
}

/// What is known of the pipeline: what a snapshot holds, or what the addresses that were named tell.
fn pipeline(invocation: &Invocation, settings: &Settings, snapshot: Option<&Snapshot>, stages: &[Stage]) -> Pipeline {
    let is_given = ["dlrn", "criteria", "zuul"].iter().any(|key| invocation.given.contains(key));
    if let Some(kept) = snapshot.and_then(|s| s.pipeline.clone()).filter(|_| !is_given) {
        return kept.up_to(clock(), "the snapshot");
    }
    let mut pipeline = Pipeline::default();
    // The address that it was read from, none of a file; and the text.
    let fetch = |want: &pipeline::Want, key: &str| -> Result<(String, String), Error> {
        let at = address(invocation, key, &want.url)?;
        match at.contains("://") {
            true => files::fetch(&at).map(|source| (at, source.text)),
            false => files::read(Path::new(&at)).map(|source| (String::new(), source.text)),
        }
    };
    loop {
        let wants = pipeline.lacking(settings, &|c| hash_of(stages, c), true);
        if wants.is_empty() {
            return pipeline;
        }
        // A few at a time: Zuul may be asked for each job.
        for few in wants.chunks(6) {
            let texts: Vec<Result<(String, String), String>> = std::thread::scope(|scope| {
                let one = |want| scope.spawn(move || fetch(want, want.key()).map_err(|e| e.what));
                let all: Vec<_> = few.iter().map(one).collect();
                all.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("it was given up".to_owned()))).collect()
            });
            for (want, read) in few.iter().zip(texts) {
                let from = read.as_ref().map_or("", |(from, _)| from).to_owned();
                pipeline.take(want.clone(), &from, clock(), read.map(|(_, text)| text));
            }
        }
    }
}

fn discover(invocation: &Invocation) -> Result<(), Error> {
    let mut settings = settings(invocation)?;
    settings.pin = vec![Pin::Label];
    let given = invocation.image.as_deref().unwrap_or_default();
    // As skopeo writes it.
    let mut name = given.split_once("://").map_or(given, |(_, name)| name).to_owned();
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
    let snapshot = snapshot_in(&files(invocation, &settings)?)?;
    let client = client(invocation, &settings, std::slice::from_ref(&image))?;
    let run = Run::new(Resolver::discovering(settings, image), client, facts()?, snapshot);
    let run = native::drive(run, &progress())?;
    let (rows, _) = run.conclude();
    let Some(row) = rows.into_iter().next().flatten().map(Arc::unwrap_or_clone) else {
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
    print(&output::list(&plan))
}

fn link(invocation: &Invocation) -> Result<(), Error> {
    settings(invocation)?;
    let base = invocation.link.as_deref().map_or("", link::base);
    print(&format!("{base}?{}\n", link::write(&invocation.choices, invocation.template_file.is_some())))
}

/// The snapshot whose history is carried on; none where there is no such file yet.
///
/// # Errors
/// It cannot be read, and the new snapshot would take its place: months of history would be lost.
fn since(invocation: &Invocation) -> Result<Option<Snapshot>, Error> {
    let Some(path) = &invocation.since else { return Ok(None) };
    if std::fs::metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    match files::read(path).and_then(|source| Snapshot::read(&source.text, &source.name)) {
        Ok(older) => Ok(Some(older)),
        Err(error) if files::is_same(path, invocation.output.as_deref()) => {
            let hint = "it is not written over; read it with the overtag that wrote it, or move it away to start a new history";
            Err(Error { cure: hint.to_owned(), ..error })
        }
        // It stays as it is, and must not end a job that is to write another file.
        Err(error) => {
            say(&Error { cure: "a new history is started".to_owned(), ..error });
            Ok(None)
        }
    }
}

fn write_snapshot(invocation: &Invocation) -> Result<(), Error> {
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
            let rows = run.conclude().0;
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
            run.also(snapshot::histories(run.facts(), &references));
            let run = native::drive(run, &progress())?;
            let asked_at = run.snapshot().map_or_else(now, |s| Ok(s.fetched()))?;
            let mut taken = Snapshot::new(run.facts(), &rows, link, asked_at, run.plain_hosts());
            taken.pipeline = match run.snapshot().and_then(|s| s.pipeline.clone()) {
                None if Pipeline::is_wanted(&settings) => Some(pipeline(invocation, &settings, None, &stages)),
                kept => kept,
            };
            if let Some(older) = &since {
                taken.carry_on(older);
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
