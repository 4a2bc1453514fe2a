//! The end of a run: which images are written under which name, what failed, and why no file may be written.

use crate::engine::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::engine::error::{Error, Kind, clean};
use crate::engine::image::reference::{Repository, with_host};
use crate::engine::options::definitions::Choices;
use crate::engine::options::link;
use crate::engine::options::settings::{Missing, Settings};
use crate::engine::resolve::{Row, Status, Summary};
use crate::engine::session::Run;
use crate::engine::template::Files;
use crate::engine::template::plan::{Image, Plan};

/// What the files say of themselves.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// The link, as a query string without `?`.
    pub link: String,
    /// Names of files that came in beside the link.
    pub files: Vec<String>,
    /// When the registry was asked.
    pub time: Timestamp,
}

impl Provenance {
    /// Of these choices and files, at this time.
    pub fn new(choices: &Choices, files: &Files, time: Timestamp) -> Self {
        let template = files.template.as_ref().filter(|t| choices.get("template") != Some(t.name.as_str()));
        let all = template
            .into_iter()
            .chain(&files.includes)
            .chain(&files.roles)
            .chain(&files.environments)
            .chain(files.snapshot.iter().filter(|_| choices.get("snapshot").is_none()));
        let base = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
        Self { link: link::write(choices, files.template.is_some()), files: all.map(|f| base(&f.name)).collect(), time }
    }
}

/// An image and what is written for it.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// The image.
    pub image: &'a Image,
    /// Its row.
    pub row: Row,
}

/// The end of a run, or of a plan that asked nobody.
#[derive(Clone, Debug)]
pub struct Outcome<'a> {
    pub(super) settings: &'a Settings,
    pub(super) plan: &'a Plan,
    /// The rows, in the plan's order.
    pub lines: Vec<Line<'a>>,
    /// What they say together.
    pub summary: Summary,
    pub(super) plain_hosts: BTreeSet<String>,
    requests: Option<(usize, usize)>,
}

impl<'a> Outcome<'a> {
    /// What a run found out; rows that are not known yet count as errors.
    pub fn of_run(settings: &'a Settings, plan: &'a Plan, run: &Run) -> Self {
        let (mut rows, mut summary) = run.summarize();
        // While choices change, a run may still be of other images than the plan: nothing is known of these yet.
        let asked = run.resolver().images();
        if asked.len() != plan.images.len() || asked.iter().zip(&plan.images).any(|(a, b)| a.imagename != b.imagename) {
            rows = vec![None; plan.images.len()];
            summary = Summary { asked: rows.len(), waiting: rows.len(), ..Summary::default() };
        }
        let unknown = Row { reason: "not known yet".to_owned(), ..Row::default() };
        let known = |row: Option<Arc<Row>>| row.map_or_else(|| unknown.clone(), Arc::unwrap_or_clone);
        let lines = plan.images.iter().zip(rows).map(|(image, row)| Line { image, row: known(row) });
        let requests = Some((run.requests(), run.retries()));
        Self { settings, plan, lines: lines.collect(), summary, plain_hosts: run.plain_hosts(), requests }
    }

    /// The plan as it stands: nobody was asked, and tags stay as the template has them.
    pub fn unasked(settings: &'a Settings, plan: &'a Plan) -> Self {
        let row = |image: &Image| Row {
            status: Status::Resolved,
            tag: image
                .reference
                .as_ref()
                .map_or(String::new(), |r| r.digest.as_ref().map_or_else(|| r.tag.clone(), ToString::to_string)),
            written: Some(image.imagename.clone()),
            reason: "no registry was queried".to_owned(),
            ..Row::default()
        };
        let lines: Vec<Line<'a>> = plan.images.iter().map(|image| Line { image, row: row(image) }).collect();
        let summary = Summary { asked: lines.len(), resolved: lines.len(), ..Summary::default() };
        Self { settings, plan, lines, summary, plain_hosts: BTreeSet::new(), requests: None }
    }

    /// Why no file may be written, if none may: images in error, images missing under `missing=fail`, or nothing left.
    pub fn refusal(&self, allow_partial: bool) -> Option<Error> {
        let first = |status: &[Status]| self.lines.iter().find(|l| status.contains(&l.row.status));
        let n = self.summary.error + self.summary.waiting;
        if n > 0 && (!allow_partial || self.written().next().is_none()) {
            return self.failures().pop();
        }
        let gone = [Status::Absent, Status::Unresolved];
        if self.settings.missing == Missing::Fail
            && let Some(line) = first(&gone)
        {
            let names: Vec<String> =
                self.lines.iter().filter(|l| gone.contains(&l.row.status)).map(|l| clean(&l.image.imagename)).collect();
            let message = format!("{} of {} missing: {}", names.len(), images(self.summary.asked), names.join(", "));
            return Some(Error::new(Kind::No, message, "", format!("{}; or choose missing=drop", line.row.reason)));
        }
        if self.written().next().is_none() {
            let (message, hint) = match (self.plan.entries.is_empty(), self.plan.out.is_empty()) {
                (true, true) => ("the template lists no image", "give another template"),
                (true, false) => {
                    ("no image is left: the filters exclude every image", "loosen roles, services, include or exclude")
                }
                _ if self.summary.no_public_repository > 0 => (
                    "no image is left: none carries the tag in a public repository",
                    "check the namespace, make the repositories public, or log in and use api=distribution",
                ),
                _ => ("no image is left: none carries the tag", "check namespace and tag, or wait for the promotion"),
            };
            return Some(Error::new(Kind::No, message, "", hint));
        }
        if !self.settings.append_tag.is_empty()
            && let Some((_, name)) = self.written().find(|(_, name)| name.contains('@'))
        {
            let hint = "leave append_tag out, or take digest out of pin";
            return Some(Error::usage("nothing can be added to a digest", format!("append_tag= and {}", clean(&name)), hint));
        }
        None
    }

    /// What failed, and why: [`failures`].
    pub fn failures(&self) -> Vec<Error> {
        let failed = self.lines.iter().filter(|line| line.row.status == Status::Error).map(|line| (line.image, &line.row));
        failures(failed, &images(self.lines.len()))
    }

    /// The result in one sentence.
    pub fn sentence(&self) -> String {
        let s = &self.summary;
        let mut out = match &s.hash {
            Some(hash) => format!("{} of {} at {hash}", s.at_hash, images(s.in_channel)),
            None => format!("{} of {} resolved", s.resolved, images(s.asked)),
        };
        for (n, word) in [
            (s.torn, "torn"),
            (s.mismatch, "mismatch"),
            (s.absent - s.no_public_repository, "absent"),
            (s.no_public_repository, "without a public repository (missing or private)"),
            (s.unresolved, "unresolved"),
            (s.error, "error"),
        ] {
            if n > 0 {
                out.push_str(&format!(", {n} {word}"));
            }
        }
        if let Some((requests, _)) = self.requests {
            out.push_str(&format!("; {requests} requests"));
        }
        out
    }

    /// The entries that are written, with the name that is written, in order.
    pub(super) fn written(&self) -> impl Iterator<Item = (usize, String)> {
        self.plan.image_of.iter().enumerate().filter_map(|(entry, image)| Some((entry, self.lines[*image].row.written.clone()?)))
    }

    /// The name of entry `i` in the list of images, and the one in the environment: the place to which tripleo-common's uploader pushes
    /// what the list names. It drops the first component of the name behind `pull_source` (`UploadTask` in its `image_uploader.py`),
    /// so a name without a host is listed with it.
    pub(super) fn push(&self, i: usize, name: &str) -> (String, String) {
        let Some(to) = &self.settings.push_destination else { return (name.to_owned(), name.to_owned()) };
        let (listed, source) = match self.plan.entries[i].rest.get("pull_source").and_then(Value::as_str) {
            Some(pull_source) if !pull_source.is_empty() => {
                (name.to_owned(), format!("{}/{name}", pull_source.strip_suffix('/').unwrap_or(pull_source)))
            }
            _ => (with_host(name), with_host(name)),
        };
        let path = source.split_once('/').map_or("", |(_, path)| path);
        (listed, format!("{to}/{path}"))
    }

    /// Warnings for the user of the files: images of one digest, images to be pushed by digest, which tripleo-common's uploader cannot
    /// do, and parameters that fell to another image.
    pub fn cautions(&self) -> Vec<Error> {
        let mut out: Vec<Error> = self.one_digest().into_iter().chain(self.push_by_digest()).collect();
        out.extend(self.fallen());
        out
    }

    /// Images of several repositories that have one digest: their names and labels differ, so that their digests should. A cache that
    /// mixes repositories up answers so, with content that is right in itself.
    fn one_digest(&self) -> Option<Error> {
        let mut by_digest: BTreeMap<&str, BTreeSet<&Repository>> = BTreeMap::new();
        for line in self.lines.iter().filter(|line| line.row.written.is_some()) {
            if let (Some(digest), Ok(reference)) = (&line.row.digest, &line.image.reference) {
                by_digest.entry(digest).or_default().insert(&reference.repository);
            }
        }
        let (digest, of) = by_digest.into_iter().max_by_key(|(_, of)| of.len()).filter(|(_, of)| of.len() >= ONE_DIGEST)?;
        let message = format!("{} from different repositories have the same digest, {digest}", images(of.len()));
        let names: Vec<&str> = of.iter().take(3).map(|repository| repository.short()).collect();
        let hint = "a cache may mix them up: compare with the registry behind it";
        Some(Error::new(Kind::No, message, format!("the first: {}", names.join(", ")), hint))
    }

    /// tripleo-common 16.4.0 takes `name@sha256` for the repository to which it uploads, and fails.
    fn push_by_digest(&self) -> Option<Error> {
        self.settings.push_destination.as_ref()?;
        let names: Vec<String> = self.written().map(|(_, name)| name).filter(|name| name.contains('@')).collect();
        let first = names.first()?;
        let message = format!("{} would be pushed by digest, which tripleo-common's uploader cannot do", images(names.len()));
        let hint = "choose pin=label,sibling,channel, or copy with skopeo";
        Some(Error::new(Kind::No, message, format!("the first: {}", clean(first)), hint))
    }

    /// Parameters that several images give: the parameter, the image that counts, and the one that should, which is the last.
    pub(super) fn shared(&self) -> Vec<(&'a str, usize, usize)> {
        let mut owners: BTreeMap<&'a str, Vec<usize>> = BTreeMap::new();
        for (entry, image) in self.plan.entries.iter().zip(&self.plan.image_of) {
            for parameter in &entry.params {
                owners.entry(parameter).or_default().push(*image);
            }
        }
        let is_written = |i: &usize| self.lines[*i].row.written.is_some();
        let several = owners.into_iter().filter(|(_, images)| images.windows(2).any(|w| w[0] != w[1]));
        several
            .filter_map(|(parameter, images)| Some((parameter, *images.iter().rev().find(|i| is_written(i))?, *images.last()?)))
            .collect()
    }

    pub(super) fn name(&self, image: usize) -> String {
        clean(&self.lines[image].image.imagename)
    }

    /// Parameters that fell to an earlier image of the template because the one that should count is left out: a file that is
    /// right line by line, and still may not be what is meant.
    fn fallen(&self) -> Vec<Error> {
        let fell = self.shared().into_iter().filter(|(_, counts, should)| counts != should);
        let error = |(parameter, counts, should): (&str, usize, usize)| {
            let message = format!("{} is set by {}", clean(parameter), self.name(counts));
            Error::new(Kind::No, message, "", format!("{}, which should set it, is left out", self.name(should)))
        };
        fell.map(error).collect()
    }

    /// The comment lines at the head of a file.
    pub(super) fn head(&self, file: &str, provenance: &Provenance) -> String {
        let written = self.lines.iter().filter(|l| l.row.written.is_some()).count();
        let errors = self.summary.error + self.summary.waiting;
        let mut lines = Vec::new();
        if errors > 0 {
            lines.push(format!("INCOMPLETE: {} could not be checked (listed below)", images(errors)));
        }
        lines.push(format!("{file}, written by overtag {}", env!("CARGO_PKG_VERSION")));
        lines.push(format!("Link: ?{}", provenance.link));
        if !provenance.files.is_empty() {
            lines.push(format!("Files beside the link: {}", provenance.files.join(", ")));
        }
        lines.push(format!("Time: {}", provenance.time));
        lines.push(match (&self.summary.hash, self.requests) {
            (Some(hash), _) => {
                format!(
                    "Channel: {} at {hash} ({} of {})",
                    self.asked_tag(),
                    self.summary.at_hash,
                    images(self.summary.in_channel)
                )
            }
            (None, Some(_)) => format!("Channel: {}, hash not known", self.asked_tag()),
            (None, None) => format!("Channel: {}, no registry was queried", self.asked_tag()),
        });
        let notes = self.one_digest().into_iter().chain(self.push_by_digest());
        lines.extend(notes.map(|caution| format!("Note: {caution}")));
        lines.push(format!("Images: {} requested, {written} written, {} left out", self.lines.len(), self.lines.len() - written));
        if self.summary.no_public_repository > 0 {
            let hidden = images(self.summary.no_public_repository);
            lines.push(format!("No public repository (missing or private): {hidden}; a login may show some of them"));
        }
        for line in &self.lines {
            let row = &line.row;
            let message = match (row.written.is_some(), row.status) {
                (true, Status::Resolved) if row.notes.is_empty() => continue,
                (true, Status::Resolved) => row.notes.iter().map(|n| n.word()).collect::<Vec<_>>().join(", "),
                (true, status) => format!("{}, kept as requested: {}", status.word(), row.reason),
                (false, status) => format!("left out, {}: {}", status.word(), row.reason),
            };
            lines.push(format!("- {}: {message}", line.image.imagename));
        }
        lines.iter().map(|line| format!("# {}\n", ascii(&clean(line)))).collect()
    }

    fn asked_tag(&self) -> String {
        match &self.settings.newest {
            Some(newest) => format!("newest:{}", newest.text),
            None => self.settings.tag().to_owned(),
        }
    }

    /// The report that `--format json` prints.
    pub fn report(&self) -> String {
        let s = &self.summary;
        let image = |line: &Line<'_>| {
            let row = &line.row;
            json!({
                "image": line.image.imagename,
                "imagename": row.written,
                "status": row.status.word(),
                "pinned_by": row.pinned_by.word(),
                "tag": row.tag,
                "digest": row.digest,
                "notes": row.notes.iter().map(|n| n.word()).collect::<Vec<_>>(),
                "reason": row.reason,
            })
        };
        let (requests, retries) = self.requests.unwrap_or_default();
        let report = json!({
            "channel": self.asked_tag(),
            "hash": s.hash,
            "counts": {
                "asked": s.asked,
                "resolved": s.resolved,
                "absent": s.absent,
                "no_public_repository": s.no_public_repository,
                "unresolved": s.unresolved,
                "error": s.error + s.waiting,
                "torn": s.torn,
                "mismatch": s.mismatch,
                "at_hash": s.at_hash,
                "written": self.lines.iter().filter(|l| l.row.written.is_some()).count(),
                "filtered": self.plan.out.len(),
            },
            "images": self.lines.iter().map(image).collect::<Vec<_>>(),
            "filtered": self.plan.out.iter().map(|o| json!({ "image": o.imagename, "reason": o.why })).collect::<Vec<_>>(),
            "requests": { "total": requests, "retries": retries },
        });
        format!("{report:#}\n")
    }
}

/// Repositories that have one digest until that is called strange: two may be two names of one image.
const ONE_DIGEST: usize = 3;

/// Returns those of the images that could not be checked, with their rows.
pub fn failed<'a>(images: &'a [Image], rows: &'a [Option<Arc<Row>>]) -> Vec<(&'a Image, &'a Row)> {
    let known = images.iter().zip(rows).filter_map(|(image, row)| Some((image, row.as_deref()?)));
    known.filter(|(_, row)| row.status == Status::Error).collect()
}

/// One error for each cause, by host: how many images, and three of them; the most frequent one comes last, and says of how many all are
/// (`all`: "124 images"). The report has every image.
pub fn failures<'a>(failed: impl Iterator<Item = (&'a Image, &'a Row)>, all: &str) -> Vec<Error> {
    const CAUSES: usize = 10;
    const NAMES: usize = 3;
    type Cause<'c> = (&'c str, &'c str, &'c str);
    let mut causes: Vec<(Cause<'_>, Vec<&str>)> = Vec::new();
    let mut total = 0;
    for (image, row) in failed {
        let host = image.reference.as_ref().map_or("", |r| &r.repository.host);
        let cause = (host, row.reason.as_str(), row.hint.as_str());
        let name = image.imagename.strip_prefix(host).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&image.imagename);
        total += 1;
        match causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, names)) => names.push(name),
            None => causes.push((cause, vec![name])),
        }
    }
    causes.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    let further = causes.len().saturating_sub(CAUSES);
    causes.truncate(CAUSES);
    let error = |(i, ((host, reason, hint), names)): (usize, (Cause<'_>, Vec<&str>))| {
        let message = match (i, names.len()) {
            (0, n) if n == total => format!("{n} of {all} could not be checked: {reason}"),
            (0, n) => format!("{total} of {all} could not be checked, {n} of them: {reason}"),
            (_, n) => format!("{}: {reason}", images(n)),
        };
        let shown = names.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ");
        let more = if names.len() > NAMES { format!(" and {} more", names.len() - NAMES) } else { String::new() };
        let place = format!("{host}{}{shown}{more}", if host.is_empty() { "" } else { ": " });
        let hint = match (i, hint) {
            (0, "") => "retry, or allow incomplete files (--allow-partial)".to_owned(),
            (0, hint) => format!("{hint}; or allow incomplete files (--allow-partial)"),
            (_, hint) => hint.to_owned(),
        };
        Error::new(Kind::Registry, message, place, hint)
    };
    let mut out: Vec<Error> = causes.into_iter().enumerate().map(error).collect();
    if further > 0 {
        out.push(Error::new(Kind::Registry, format!("{further} further causes"), "", "use --format json to list all"));
    }
    out.reverse();
    out
}

/// `1 image`, `2 images`.
pub fn images(n: usize) -> String {
    if n == 1 { "1 image".to_owned() } else { format!("{n} images") }
}

/// Text in which every character that is not plain ASCII is escaped, for comments that any reader takes.
pub(super) fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c.to_string() } else { c.escape_unicode().to_string() }).collect()
}
