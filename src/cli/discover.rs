//! `overtag discover`

use super::args::Invocation;
use super::inputs::{client, facts, files, settings, snapshot_in};
use super::print;
use super::progress::progress;
use crate::engine::error::{Error, Kind, clean};
use crate::engine::image::reference::Reference;
use crate::engine::resolve::Status;
use crate::engine::template::plan::Image;
use crate::engine::workflow::prepare;
use crate::net::native;
use std::sync::Arc;

/// Runs the verb.
pub fn run(invocation: &Invocation) -> Result<(), Error> {
    let settings = settings(invocation)?;
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
        why: "you requested it".to_owned(),
        params: Vec::new(),
        services: Vec::new(),
    };
    let snapshot = snapshot_in(&files(invocation, &settings)?)?;
    let client = client(invocation, &settings, std::slice::from_ref(&image))?;
    let run = native::drive(prepare::start_discovery(settings, image, client, facts()?, snapshot), &progress())?;
    let (rows, _) = run.summarize();
    let Some(row) = rows.into_iter().next().flatten().map(Arc::unwrap_or_clone) else {
        return Err(Error::new(Kind::Registry, "the registry was not queried", name, "retry"));
    };
    match row.status {
        Status::Resolved => print(&format!("{}\n", row.tag)),
        Status::Error => Err(Error::new(Kind::Registry, row.reason, name, row.hint)),
        Status::Absent => Err(Error::new(Kind::No, row.reason, name, "check the name and the tag")),
        Status::Unresolved => {
            let labels: Vec<String> = row.labels.iter().map(|(k, v)| format!("{}={}", clean(k), clean(v))).collect();
            let hint = match labels.is_empty() {
                true => "it has no labels".to_owned(),
                false => format!("its labels are {}", labels.join(", ")),
            };
            Err(Error::new(Kind::No, row.reason, name, hint))
        }
    }
}
