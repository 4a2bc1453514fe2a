//! What a command line names, read: settings, files, snapshots, logins and the time.

use super::args::Invocation;
use super::progress::progress;
use super::{files, login, say};
use crate::engine::error::{Error, Kind, Location, clean};
use crate::engine::image::reference::Repository;
use crate::engine::options::link;
use crate::engine::options::settings::Settings;
use crate::engine::pipeline::{Pipeline, Want};
use crate::engine::resolve::Facts;
use crate::engine::session::{Client, Run};
use crate::engine::snapshot::Snapshot;
use crate::engine::template::plan::{Image, Plan};
use crate::engine::template::{self, Files, Source};
use crate::engine::time::Timestamp;
use crate::engine::url;
use crate::engine::workflow::files::{FileNeed, FilesWorkflow};
use crate::engine::workflow::prepare;
use crate::net::native;
use std::path::Path;
use std::sync::Arc;

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

/// Queries the registries, or reads the snapshot, for all images of a plan.
pub fn query_images(invocation: &Invocation, settings: &Settings, files: &Files, plan: &Plan) -> Result<Run, Error> {
    prepare::check_names(plan)?;
    let client = client(invocation, settings, &plan.images)?;
    native::drive(prepare::start(settings, plan, client, facts()?, snapshot_in(files)?), &progress())
}

/// Reads the files that were named, and those that the template includes.
pub fn files(invocation: &Invocation, settings: &Settings) -> Result<Files, Error> {
    let own = Files {
        template: invocation.template_file.as_deref().map(files::read).transpose()?,
        roles: invocation.roles_file.as_deref().map(files::read).transpose()?,
        environments: invocation.environment_files.iter().map(|f| files::read(f)).collect::<Result<_, _>>()?,
        ..Files::default()
    };
    let mut workflow = FilesWorkflow::new(own, settings.snapshot.clone(), settings.template.clone());
    while let Some(need) = workflow.next_need()? {
        let read = read_file(invocation, &need);
        workflow.deliver(need, read)?;
    }
    Ok(workflow.finish())
}

fn read_file(invocation: &Invocation, need: &FileNeed) -> Result<Source, Error> {
    let fetch = |url: &str| files::fetch(url, |why| need.unreadable(why));
    match need {
        FileNeed::Snapshot(place) => match address(invocation, "snapshot", place)? {
            url if url.contains("://") => fetch(&url),
            path => files::read(Path::new(&path)),
        },
        FileNeed::Template(url) => fetch(&address(invocation, "template", url)?),
        FileNeed::Include { template, name } => match &invocation.template_file {
            Some(path) => files::read(&path.parent().unwrap_or(Path::new(".")).join(template::base_name(name))),
            None => fetch(&template::beside(&address(invocation, "template", template)?, name)),
        },
    }
}

/// Now, or what `SOURCE_DATE_EPOCH` says (<https://reproducible-builds.org/specs/source-date-epoch/>).
pub fn now() -> Result<Timestamp, Error> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => {
            text.trim().parse().map(Timestamp).map_err(|_| {
                Error::usage(format!("`{}` is not a number of seconds", clean(&text)), "SOURCE_DATE_EPOCH", "unset it")
            })
        }
        Err(_) => Ok(native::clock()),
    }
}

/// The latest time that may be now: a file that is later was written, or is read, by a machine whose clock is wrong. A time that
/// `SOURCE_DATE_EPOCH` fixes may be ahead.
pub fn clock() -> Timestamp {
    now().map_or_else(|_| native::clock(), |fixed| fixed.max(native::clock()))
}

/// Reads addresses of the pipeline at the same time, and hands each over: its address, empty for a file, and the text or one phrase.
pub fn read_pipeline(
    invocation: &Invocation,
    wants: Vec<Want>,
    mut deliver: impl FnMut(Want, &str, Timestamp, Result<String, String>),
) {
    let read = |want: &Want| -> Result<(String, String), Error> {
        let at = address(invocation, want.key(), &want.url)?;
        match at.contains("://") {
            true => files::fetch(&at, |why| Error::new(Kind::Registry, why, at.as_str(), "")).map(|source| (at, source.text)),
            false => files::read(Path::new(&at)).map(|source| (String::new(), source.text)),
        }
    };
    let all: Vec<Result<(String, String), String>> = std::thread::scope(|scope| {
        let one = |want| scope.spawn(move || read(want).map_err(|e| e.message));
        let all: Vec<_> = wants.iter().map(one).collect();
        all.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("the request stopped unexpectedly".to_owned()))).collect()
    });
    for (want, read) in wants.into_iter().zip(all) {
        let from = read.as_ref().map_or("", |(from, _)| from).to_owned();
        deliver(want, &from, clock(), read.map(|(_, text)| text));
    }
}

/// Returns what a snapshot holds of the pipeline, unless addresses of it were given beside it.
pub fn kept_pipeline<'s>(invocation: &Invocation, snapshot: Option<&'s Snapshot>) -> Option<&'s Pipeline> {
    let is_given = ["dlrn", "criteria", "zuul"].iter().any(|key| invocation.given.contains(key));
    snapshot?.pipeline.as_ref().filter(|_| !is_given)
}
