//! What differs between two sides: two channels or hashes, two snapshots, or two files.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::OUTPUTS;
use super::containers::CONTAINERS;
use super::environment::ENVIRONMENT;
use super::outcome::{Line, Outcome};
use crate::engine::error::Error;
use crate::engine::image::digest::Digest;
use crate::engine::image::reference::Reference;
use crate::engine::resolve::Status;
use crate::engine::template::Source;
use crate::engine::yaml;

/// What one side says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It points to this: its hash, or else its tag or digest; and the digest, where that is known.
    At(String, Option<Digest>),
    /// It is not there.
    Absent,
    /// It could not be found out, and why.
    Unknown(String),
}

/// One side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// What it is called.
    pub name: String,
    /// The tag that it is of; empty of a file.
    pub tag: String,
    /// The hash that most of its images point to, where one is known.
    pub hash: Option<String>,
    /// By the name of the image, or of the parameter.
    pub entries: BTreeMap<String, Entry>,
    /// The files: name and text.
    pub files: Vec<(&'static str, String)>,
    /// What the author of a file should know about it.
    pub notices: Vec<Error>,
}

/// What became of an image from one side to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is only on the second.
    Added(String),
    /// It is only on the first.
    Removed(String),
    /// It moved from the first to the second.
    Moved(String, String),
    /// It is the same, or on neither.
    Unchanged(Option<String>),
    /// One of the two is not known, and why.
    Unknown(String),
}

impl Change {
    /// The word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Added(_) => "added",
            Self::Removed(_) => "removed",
            Self::Moved(..) => "moved",
            Self::Unchanged(_) => "unchanged",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// The words of changes, in the order in which they are reported.
pub const WORDS: [&str; 5] = ["added", "removed", "moved", "unknown", "unchanged"];

impl Side {
    /// What a run found out, and the files that would be written of it, less their heads.
    pub fn of_run(name: String, tag: String, outcome: &Outcome<'_>) -> Self {
        let entry = |line: &Line<'_>| {
            let key = line.image.reference.as_ref().map_or_else(|_| line.image.imagename.clone(), |r| r.name.clone());
            let row = &line.row;
            let entry = match row.status {
                Status::Absent => Entry::Absent,
                Status::Error => Entry::Unknown(row.reason.clone()),
                _ => Entry::At(row.hash.clone().unwrap_or_else(|| row.tag.clone()), row.digest.clone()),
            };
            (key, entry)
        };
        Self {
            name,
            tag,
            hash: outcome.summary.hash.clone(),
            entries: outcome.lines.iter().map(entry).collect(),
            files: OUTPUTS.iter().filter_map(|output| Some((output.file_name, output.body(outcome)?))).collect(),
            notices: Vec::new(),
        }
    }

    /// What a file says: one that lists images (`container_images`), or a Heat environment (`parameter_defaults`).
    ///
    /// # Errors
    /// What is neither.
    pub fn of_file(file: &Source) -> Result<Self, Error> {
        let yaml::Document { value: body, notices } = yaml::parse(&file.name, &file.text)?;
        let tag_of = |name: &str| match Reference::parse(name) {
            Ok(reference) => Entry::At(reference.digest.as_ref().map_or(reference.tag, ToString::to_string), reference.digest),
            Err(_) => Entry::At(name.to_owned(), None),
        };
        let (kind, entries) = if let Some(Value::Array(list)) = body.get("container_images") {
            let names = list.iter().filter_map(|e| e.get("imagename").and_then(Value::as_str));
            // The same images of another registry are the same images.
            let key = |name: &str| Reference::parse(name).map_or_else(|_| name.to_owned(), |r| r.repository.short().to_owned());
            (CONTAINERS.file_name, names.map(|name| (key(name), tag_of(name))).collect())
        } else if let Some(Value::Object(map)) = body.get("parameter_defaults") {
            let texts = map.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?)));
            // A parameter may go on to another image of the same tag.
            let named = |name: &str| match (tag_of(name), Reference::parse(name)) {
                (Entry::At(tag, digest), Ok(r)) => Entry::At(format!("{}:{tag}", r.repository.short()), digest),
                (entry, _) => entry,
            };
            (ENVIRONMENT.file_name, texts.map(|(key, name)| (key, named(name))).collect())
        } else {
            let hint = "give an overcloud_containers.yaml or an overcloud_images.yaml";
            return Err(Error::usage("this file has neither container_images nor parameter_defaults", file.name.as_str(), hint));
        };
        let text = file.text.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
        Ok(Self { name: file.name.clone(), tag: String::new(), hash: None, entries, files: vec![(kind, text)], notices })
    }
}

/// What became of each image from `old` to `new`, by name.
pub fn compare(old: &Side, new: &Side) -> Vec<(String, Change)> {
    let keys: BTreeSet<&String> = old.entries.keys().chain(new.entries.keys()).collect();
    let of = |side: &Side, key: &String| side.entries.get(key).cloned().unwrap_or(Entry::Absent);
    let change = |key: &String| match (of(old, key), of(new, key)) {
        (Entry::Unknown(why), _) | (_, Entry::Unknown(why)) => Change::Unknown(why),
        (Entry::Absent, Entry::Absent) => Change::Unchanged(None),
        (Entry::Absent, Entry::At(to, _)) => Change::Added(to),
        (Entry::At(from, _), Entry::Absent) => Change::Removed(from),
        (Entry::At(_, Some(a)), Entry::At(to, Some(b))) if a == b => Change::Unchanged(Some(to)),
        (Entry::At(from, a), Entry::At(to, b)) if from == to && (a.is_none() || b.is_none()) => Change::Unchanged(Some(to)),
        (Entry::At(from, a), Entry::At(to, b)) if from == to => {
            Change::Moved(a.map_or(from, String::from), b.map_or(to, String::from))
        }
        (Entry::At(from, _), Entry::At(to, _)) => Change::Moved(from, to),
    };
    keys.into_iter().map(|key| (key.clone(), change(key))).collect()
}

/// How the files of two sides differ, as `diff -u` writes it; empty where they do not. Sides whose files are of different kinds are not
/// compared.
pub fn diffs(old: &Side, new: &Side) -> Vec<(&'static str, String)> {
    let both = old.files.iter().filter_map(|(kind, a)| Some((*kind, a, &new.files.iter().find(|(k, _)| k == kind)?.1)));
    let diff = |a: &String, b: &String| {
        similar::TextDiff::from_lines(a.as_str(), b.as_str()).unified_diff().header(&old.name, &new.name).to_string()
    };
    both.map(|(kind, a, b)| (kind, if a == b { String::new() } else { diff(a, b) })).collect()
}

/// How many images each word of [`WORDS`] holds.
pub fn counts(changes: &[(String, Change)]) -> [usize; 5] {
    WORDS.map(|word| changes.iter().filter(|(_, c)| c.word() == word).count())
}
