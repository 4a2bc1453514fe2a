//! What a person may choose.
//!
//! [`Choices`] is what was written, in a link, on a command line or in the page's form, and loses nothing of it; what the program needs
//! of it is in [`settings`](crate::engine::options::settings). One table, [`DEFINITIONS`], names every choice; the query string, the flags, the help and
//! the form are made from it.

use std::collections::BTreeMap;

use crate::engine::error::Error;
use crate::engine::release::{RELEASES, Release, Value};

/// The four groups in which choices are shown, and what only concerns the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Which template, filled in how.
    Source,
    /// Which tag, and what to write for it.
    Channel,
    /// Which images.
    Scope,
    /// What the files say.
    Output,
    /// How the page shows it; the command line takes these and leaves them be.
    Page,
}

/// One choice.
#[derive(Debug)]
pub struct Definition {
    /// Its name in a link; the flag is the same with dashes.
    pub key: &'static str,
    /// The placeholder for its value in the help.
    pub value: &'static str,
    /// Where it belongs.
    pub group: Group,
    /// Whether it may stand more than once.
    pub repeatable: bool,
    /// Whether it is one of the template's own substitutions.
    pub substitution: bool,
    /// One sentence, for the help and the form.
    pub help: &'static str,
}

const fn one(key: &'static str, value: &'static str, group: Group, help: &'static str) -> Definition {
    Definition { key, value, group, repeatable: false, substitution: false, help }
}

const fn many(key: &'static str, value: &'static str, group: Group, help: &'static str) -> Definition {
    Definition { key, value, group, repeatable: true, substitution: false, help }
}

const fn sub(key: &'static str, value: &'static str, group: Group, help: &'static str) -> Definition {
    Definition { key, value, group, repeatable: false, substitution: true, help }
}

/// Every choice, in the order in which a link writes them.
pub const DEFINITIONS: &[Definition] = &[
    one("view", "VIEW", Group::Page, "The page to show: prepare, board, compare"),
    one("release", "NAME", Group::Source, "The built-in template: demo, 2017-05, pike … wallaby [default: demo]"),
    one("template", "URL", Group::Source, "The address of a template to use in place of a built-in one"),
    sub("namespace", "HOST/PATH", Group::Source, "Where the OpenStack images are, e.g. quay.io/tripleotrain"),
    sub("name_prefix", "TEXT", Group::Source, "What their names start with, e.g. centos-binary-"),
    sub("name_suffix", "TEXT", Group::Source, "What their names end with"),
    sub(
        "tag",
        "TAG",
        Group::Channel,
        "The channel, an exact hash or version, or newest:REGEX for the highest version that matches whole",
    ),
    sub("neutron_driver", "NAME", Group::Scope, "The Neutron driver whose images are listed: ovn, odl, other"),
    sub("ceph_namespace", "HOST/PATH", Group::Source, "Where the Ceph image is"),
    sub("ceph_image", "NAME", Group::Source, "The Ceph image's name"),
    sub("ceph_tag", "TAG", Group::Source, "The Ceph image's tag"),
    one(
        "pin",
        "CHAIN",
        Group::Channel,
        "What to write for a tag that moves, tried from the left: label, sibling, digest, channel",
    ),
    one(
        "label",
        "NAMES",
        Group::Channel,
        "Labels that name the tag, or formats such as {version}-{release}, tried from the left",
    ),
    one("missing", "WHAT", Group::Channel, "What becomes of an image without the tag: drop, keep, fail [default: drop]"),
    many(
        "include",
        "REGEX",
        Group::Scope,
        "Only images whose name matches one of these (Python's re.search); excludes are then ignored",
    ),
    many("exclude", "REGEX", Group::Scope, "No images whose name matches one of these"),
    many("role", "NAME[:COUNT]", Group::Scope, "Only images that the services of these roles need"),
    many("service", "NAME", Group::Scope, "Only images that these services need, beside those of the roles"),
    one("push_destination", "HOST/PATH", Group::Output, "Where the environment points instead"),
    one("append_tag", "TEXT", Group::Output, "What the environment adds to each tag"),
    many(
        "endpoint",
        "HOST=URL",
        Group::Source,
        "Where the API of the registry HOST is reached [default: https://HOST, http on loopback]",
    ),
    one("api", "KIND", Group::Source, "By which API registries are asked: auto, distribution, quay [default: auto]"),
    one("channels", "TAGS", Group::Channel, "The channels of a board, in the order of promotion; of a comparison, from and to"),
    one(
        "late",
        "DAYS[,DAYS]",
        Group::Channel,
        "After how many days without a promotion a channel is late, and very late [default: 3,7]",
    ),
    one(
        "dlrn",
        "URL",
        Group::Source,
        "DLRN's API, or a file of its promotions: when channels were promoted, and which jobs passed",
    ),
    one("criteria", "URL", Group::Source, "The promoter's file: which jobs a channel's candidate must pass"),
    one("zuul", "URL", Group::Source, "Zuul's API with its tenant: the last results of those jobs"),
    one("snapshot", "URL", Group::Source, "A snapshot to read in place of the registries; on the command line also a file"),
    one("against", "URL", Group::Page, "An earlier snapshot to compare with"),
    one("sort", "COLUMN", Group::Page, "The order of the table: image, tag, status, age; with - before it descending"),
    one("group", "WHAT", Group::Page, "How a board is grouped: service"),
    one("q", "TEXT", Group::Page, "Search text of the table"),
    one("status", "NAMES", Group::Page, "Status filter of the table, comma-separated"),
    one("refresh", "SECONDS", Group::Page, "Seconds between automatic refreshes of a board, at least 30"),
    one("embed", "1", Group::Page, "Without header and controls"),
];

/// The chain that is tried when none is chosen.
pub const DEFAULT_PIN: &str = "label,sibling,digest";
/// TripleO's channels in the order of promotion; all of its releases have them.
pub const DEFAULT_CHANNELS: &str = "tripleo-ci-testing,current-tripleo,current-tripleo-rdo";
/// After how many days without a promotion a channel is late, and very late, when nothing else is chosen.
pub const DEFAULT_LATE: &str = "3,7";
/// The labels that are read when none is chosen.
pub const DEFAULT_LABEL: &str = "rdo_version,tcib_build_tag";
/// The release whose template is shown when none is chosen.
pub const DEFAULT_RELEASE: &str = "demo";
/// The release whose defaults a template of one's own has when none is chosen.
pub const OWN_TEMPLATE_RELEASE: &str = "wallaby";

/// Bytes of one value.
const VALUE: usize = 2_000;
/// Values of one name: roles, services; and substitutions.
const REPEATED: usize = 200;
/// Regular expressions of one name.
const EXPRESSIONS: usize = 50;
/// Words of a list: channels, labels, pins.
const LISTED: usize = 20;

/// The definition of that key.
pub fn definition(key: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|d| d.key == key)
}

/// What was written, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    values: BTreeMap<&'static str, Vec<String>>,
    /// Substitutions without a key of their own, by name.
    pub set: BTreeMap<String, String>,
}

impl Choices {
    /// The first value of a key, if one was written.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.first().map(String::as_str)
    }

    /// All values of a repeatable key.
    pub fn all(&self, key: &str) -> &[String] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }

    /// Writes one value; a key that is not a choice is kept as `set.KEY`.
    pub fn put(&mut self, key: &str, value: impl Into<String>) {
        match definition(key) {
            Some(d) => _ = self.values.insert(d.key, vec![value.into()]),
            None => _ = self.set.insert(key.to_owned(), value.into()),
        }
    }

    /// Writes all values of a repeatable key.
    pub fn put_all(&mut self, key: &str, values: Vec<String>) {
        if let Some(d) = definition(key) {
            self.values.insert(d.key, values);
        }
    }

    /// Adds a value to a repeatable key.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        if let Some(d) = definition(key) {
            self.values.entry(d.key).or_default().push(value.into());
        }
    }

    /// Less what is longer or more than anybody needs and would be costly: that is reported.
    pub(super) fn bounded(&self) -> (Self, Vec<Error>) {
        let (mut out, mut wrong) = (self.clone(), Vec::new());
        let mut too_long = |key: &str, value: &str| {
            let is_too_long = value.len() > VALUE;
            if is_too_long {
                let message = format!("the value is {} bytes long; at most {VALUE} are allowed", value.len());
                wrong.push(Error::usage(message, format!("{}=", key.chars().take(50).collect::<String>()), "shorten it"));
            }
            is_too_long
        };
        out.set.retain(|name, value| !too_long(name, name) && !too_long(name, value));
        out.values.iter_mut().for_each(|(key, values)| values.retain(|value| !too_long(key, value)));
        out.values.retain(|_, values| !values.is_empty());
        for (key, values) in &mut out.values {
            let is_list = matches!(*key, "channels" | "label" | "pin");
            let (most, count) = match is_list {
                true => (LISTED, values.iter().map(|value| list(value).count()).sum()),
                false => (if matches!(*key, "include" | "exclude") { EXPRESSIONS } else { REPEATED }, values.len()),
            };
            if count > most {
                let message = format!("`{key}` has {count} values; at most {most} are allowed");
                wrong.push(Error::usage(message, format!("{key}="), "leave some out"));
                match is_list {
                    true => *values = vec![values.iter().flat_map(|value| list(value)).take(most).collect::<Vec<_>>().join(",")],
                    false => values.truncate(most),
                }
            }
        }
        if out.set.len() > REPEATED {
            let message = format!("there are {} substitutions; at most {REPEATED} are allowed", out.set.len());
            wrong.push(Error::usage(message, "set.NAME=", "leave some out"));
            out.set = out.set.into_iter().take(REPEATED).collect();
        }
        (out, wrong)
    }

    /// Forgets a key, so that its default holds.
    pub fn clear(&mut self, key: &str) {
        self.values.remove(key);
        self.set.remove(key);
    }

    /// The name of the release in force: chosen, or the demo, or, for a template of one's own, wallaby.
    pub fn release_name(&self, own_template: bool) -> &str {
        let own = own_template || self.get("template").is_some_and(|t| !t.is_empty());
        self.get("release").filter(|r| !r.is_empty()).unwrap_or(if own { OWN_TEMPLATE_RELEASE } else { DEFAULT_RELEASE })
    }

    /// The release in force; the default one where an unknown one was written.
    pub fn release(&self, own_template: bool) -> &'static Release {
        Release::named(self.release_name(own_template)).unwrap_or(&RELEASES[0])
    }

    /// What a key means when it is not written.
    pub fn default_of(&self, key: &str, own_template: bool) -> String {
        match key {
            "release" => Self { values: BTreeMap::new(), ..self.clone() }
                .release_name(own_template || self.get("template").is_some_and(|t| !t.is_empty()))
                .to_owned(),
            "view" => "prepare".to_owned(),
            "pin" => DEFAULT_PIN.to_owned(),
            "label" => DEFAULT_LABEL.to_owned(),
            "channels" => DEFAULT_CHANNELS.to_owned(),
            "late" => DEFAULT_LATE.to_owned(),
            "missing" => "drop".to_owned(),
            "api" => "auto".to_owned(),
            _ => self.release(own_template).default(key).unwrap_or_default(),
        }
    }

    /// Whether a value of a key says nothing that would not hold without it.
    pub fn is_default(&self, key: &str, value: &str, own_template: bool) -> bool {
        match definition(key) {
            Some(d) if d.repeatable => value.is_empty(),
            // An empty substitution is a value; an empty anything else is none.
            Some(d) if !d.substitution => value.is_empty() || value == self.default_of(key, own_template),
            _ => {
                let default = self.release(own_template).defaults().find(|(name, _)| *name == key);
                default.is_some_and(|(_, default)| default == Value::from_text(value))
            }
        }
    }

    /// What is in force for a key: written, or the default.
    pub fn value(&self, key: &str, own_template: bool) -> String {
        let written = match definition(key) {
            Some(_) => self.get(key).map(str::to_owned),
            None => self.set.get(key).cloned(),
        };
        written.unwrap_or_else(|| self.default_of(key, own_template))
    }
}

/// The words of a comma-separated list.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|w| !w.is_empty())
}
