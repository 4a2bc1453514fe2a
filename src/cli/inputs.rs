//! What a command line names, read: settings, files, snapshots, logins and the time.

use super::args::Invocation;
use super::progress::progress;
use super::{files, login, say};
use crate::engine::board::Stage;
use crate::engine::board::report::hash_of;
use crate::engine::error::{Error, Location, clean};
use crate::engine::image::reference::Repository;
use crate::engine::options::link;
use crate::engine::options::settings::Settings;
use crate::engine::pipeline::{self, Pipeline};
use crate::engine::resolve::{Facts, Resolver};
use crate::engine::session::{Client, Run};
use crate::engine::snapshot::Snapshot;
use crate::engine::template;
use crate::engine::template::Files;
use crate::engine::template::plan::{Image, Plan};
use crate::engine::url;
use crate::net::native;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The choices, checked: on a command line any wrong one is an error.
pub fn settings(invocation: &Invocation) -> Result<Settings, Error> {
    let (settings, wrong) = Settings::new(&invocation.choices, invocation.template_file.is_some());
    // A link to a view that only the page will have is a good link here.
    let is_view = invocation.choices.get("view") == Some("dockerfiles");
    let concerns_us = |e: &&Error| !(is_view && e.location == Location::Choice("view".to_owned()));
    match wrong.iter().find(concerns_us) {
        Some(first) => Err(first.clone()),
        None => Ok(settings),
    }
}

/// An address of a link; one without a scheme is beside the page, where the link names one.
pub fn address(invocation: &Invocation, key: &str, url: &str) -> Result<String, Error> {
    let is_of_link = !invocation.given.contains(&key) && invocation.link.is_some();
    if url.contains("://") || !is_of_link {
        return Ok(url.to_owned());
    }
    let base = invocation.link.as_deref().map_or("", link::base);
    // A link is not to name files of this machine.
    url::join(base, url).ok_or_else(|| {
        let hint = "give the whole link, or name it by its own flag";
        Error::usage(
            "this address is relative to a page, and the link does not name a page",
            format!("{key}={}", clean(url)),
            hint,
        )
    })
}

/// The snapshot that was named, by an address or as a file.
pub fn snapshot_in(files: &Files) -> Result<Option<Arc<Snapshot>>, Error> {
    let Some(source) = &files.snapshot else { return Ok(None) };
    let snapshot = Snapshot::read(&source.text, &source.name)?;
    if let Some(notice) = snapshot.ahead_of(clock()).or(snapshot.staleness(now()?)) {
        say(&notice);
    }
    Ok(Some(Arc::new(snapshot)))
}

/// A program's client, with the logins for the registries of these images.
pub fn client(invocation: &Invocation, settings: &Settings, images: &[Image]) -> Result<Client, Error> {
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
pub fn facts() -> Result<Facts, Error> {
    Ok(Facts { asked_at: now()?, ..Facts::default() })
}

/// Asks the registries, or the snapshot, for all images of a plan.
pub fn ask_registries(invocation: &Invocation, settings: &Settings, files: &Files, plan: &Plan) -> Result<Run, Error> {
    check_names(plan)?;
    let resolver = Resolver::new(settings.clone(), plan.images.clone());
    let client = client(invocation, settings, &plan.images)?;
    let run = Run::new(resolver, client, facts()?, snapshot_in(files)?);
    native::drive(run, &progress())
}

/// Reads the files that were named, and those that the template includes.
pub fn files(invocation: &Invocation, settings: &Settings) -> Result<Files, Error> {
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
pub fn now() -> Result<u64, Error> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|_| Error::usage(format!("`{}` is not a number of seconds", clean(&text)), "SOURCE_DATE_EPOCH", "unset it")),
        Err(_) => Ok(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())),
    }
}

/// The latest time that may be now: a file that is later was written, or is read, by a machine whose clock is wrong. A time that
/// `SOURCE_DATE_EPOCH` fixes may be ahead.
pub fn clock() -> u64 {
    let system = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    now().map_or(system, |fixed| fixed.max(system))
}

/// A name that no registry can be asked for is a mistake of the template or its substitutions.
pub fn check_names(plan: &Plan) -> Result<(), Error> {
    match plan.images.iter().find_map(|i| Some((i, i.reference.as_ref().err()?))) {
        Some((image, why)) => {
            let message = format!("this is not the name of an image: {why}");
            Err(Error::template(message, image.imagename.as_str(), "correct the template or the substitutions"))
        }
        None => Ok(()),
    }
}

/// What is known of the pipeline: what a snapshot holds, or what the addresses that were named report.
pub fn pipeline(invocation: &Invocation, settings: &Settings, snapshot: Option<&Snapshot>, stages: &[Stage]) -> Pipeline {
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
        let wants = pipeline.next_fetches(settings, &|c| hash_of(stages, c), true);
        if wants.is_empty() {
            return pipeline;
        }
        // A few at a time: Zuul may be asked for each job.
        for few in wants.chunks(6) {
            let texts: Vec<Result<(String, String), String>> = std::thread::scope(|scope| {
                let one = |want| scope.spawn(move || fetch(want, want.key()).map_err(|e| e.message));
                let all: Vec<_> = few.iter().map(one).collect();
                all.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("the request stopped unexpectedly".to_owned()))).collect()
            });
            for (want, read) in few.iter().zip(texts) {
                let from = read.as_ref().map_or("", |(from, _)| from).to_owned();
                pipeline.take(want.clone(), &from, clock(), read.map(|(_, text)| text));
            }
        }
    }
}
