//! What a person may choose.
//!
//! [`Choices`] is what was written, in a link, on a command line or in the page's form, and loses nothing of it; what the program needs
//! of it is in [`settings`](crate::engine::options::settings). One table, [`DEFINITIONS`], names every choice; the query string, the flags
//! and the help are made from it. The fields of the form are in `app/parts/options`.

use std::collections::BTreeMap;

use crate::engine::error::Error;
use crate::engine::options::words::{api_words, missing_words, view_words};
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

/// What may be written for a choice, and how it is checked.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A substitution of the template.
    Substitution,
    /// One of these words.
    Word(fn() -> Vec<&'static str>),
    /// An address on the web, or one without a scheme, which is beside the page.
    Address,
    /// HOST=URL; may be repeated.
    HostAddress,
    /// A regular expression; may be repeated.
    Pattern,
    /// A name; may be repeated.
    Name,
    /// Words with commas between them.
    List,
    /// Text, for which [`Settings::new`](crate::engine::options::settings::Settings::new) has a rule, or none.
    Text,
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
    /// What it may be.
    pub kind: Kind,
    /// What holds when it is not written; that of a substitution depends on the release.
    pub default: Option<&'static str>,
    help: &'static str,
}

impl Definition {
    /// Whether it may be written more than once.
    pub fn is_repeatable(&self) -> bool {
        matches!(self.kind, Kind::HostAddress | Kind::Pattern | Kind::Name)
    }

    /// Whether it is a substitution of the template.
    pub fn is_substitution(&self) -> bool {
        matches!(self.kind, Kind::Substitution)
    }

    /// Whether its value is an address, which could hold a password.
    pub fn is_address(&self) -> bool {
        matches!(self.kind, Kind::Address | Kind::HostAddress)
    }

    /// One sentence for the help, with the words that it may be, and its default.
    ///
    /// ```
    /// use overtag::engine::options::definitions::definition;
    /// let help = definition("missing").unwrap().help();
    /// assert_eq!(help, "What becomes of an image without the tag: drop, keep, fail [default: drop]");
    /// ```
    pub fn help(&self) -> String {
        let words = if let Kind::Word(words) = self.kind { format!(": {}", words().join(", ")) } else { String::new() };
        let default = self.default.map_or(String::new(), |default| format!(" [default: {default}]"));
        format!("{}{words}{default}", self.help)
    }
}

/// Every choice, in the order in which a link writes them.
#[rustfmt::skip]
pub const DEFINITIONS: &[Definition] = &[
    Definition { key: "view", value: "VIEW", group: Group::Page, kind: Kind::Word(view_words), default: Some("prepare"), help: "The page to show" },
    Definition { key: "release", value: "NAME", group: Group::Source, kind: Kind::Text, default: Some(DEFAULT_RELEASE), help: "The built-in template: demo, 2017-05, pike … wallaby" },
    Definition { key: "template", value: "URL", group: Group::Source, kind: Kind::Address, default: None, help: "The address of a template to use in place of a built-in one" },
    Definition { key: "namespace", value: "HOST/PATH", group: Group::Source, kind: Kind::Substitution, default: None, help: "Where the OpenStack images are, e.g. quay.io/tripleotrain" },
    Definition { key: "name_prefix", value: "TEXT", group: Group::Source, kind: Kind::Substitution, default: None, help: "What their names start with, e.g. centos-binary-" },
    Definition { key: "name_suffix", value: "TEXT", group: Group::Source, kind: Kind::Substitution, default: None, help: "What their names end with" },
    Definition { key: "tag", value: "TAG", group: Group::Channel, kind: Kind::Substitution, default: None, help: "The channel, an exact hash or version, or newest:REGEX for the highest version that matches whole" },
    Definition { key: "neutron_driver", value: "NAME", group: Group::Scope, kind: Kind::Substitution, default: None, help: "The Neutron driver whose images are listed: ovn, odl, other" },
    Definition { key: "ceph_namespace", value: "HOST/PATH", group: Group::Source, kind: Kind::Substitution, default: None, help: "Where the Ceph image is" },
    Definition { key: "ceph_image", value: "NAME", group: Group::Source, kind: Kind::Substitution, default: None, help: "The Ceph image's name" },
    Definition { key: "ceph_tag", value: "TAG", group: Group::Source, kind: Kind::Substitution, default: None, help: "The Ceph image's tag" },
    Definition { key: "pin", value: "CHAIN", group: Group::Channel, kind: Kind::List, default: Some(DEFAULT_PIN), help: "What to write for a tag that moves, tried from the left: label, sibling, digest, channel" },
    Definition { key: "label", value: "NAMES", group: Group::Channel, kind: Kind::List, default: Some(DEFAULT_LABEL), help: "Labels that name the tag, or formats such as {version}-{release}, tried from the left" },
    Definition { key: "missing", value: "WHAT", group: Group::Channel, kind: Kind::Word(missing_words), default: Some("drop"), help: "What becomes of an image without the tag" },
    Definition { key: "include", value: "REGEX", group: Group::Scope, kind: Kind::Pattern, default: None, help: "Only images whose name matches one of these (Python's re.search); excludes are then ignored" },
    Definition { key: "exclude", value: "REGEX", group: Group::Scope, kind: Kind::Pattern, default: None, help: "No images whose name matches one of these" },
    Definition { key: "role", value: "NAME[:COUNT]", group: Group::Scope, kind: Kind::Name, default: None, help: "Only images that the services of these roles need" },
    Definition { key: "service", value: "NAME", group: Group::Scope, kind: Kind::Name, default: None, help: "Only images that these services need, in addition to those of the roles" },
    Definition { key: "push_destination", value: "HOST/PATH", group: Group::Output, kind: Kind::Text, default: None, help: "Where the environment points, instead of the registry" },
    Definition { key: "append_tag", value: "TEXT", group: Group::Output, kind: Kind::Text, default: None, help: "What the environment adds to each tag" },
    Definition { key: "endpoint", value: "HOST=URL", group: Group::Source, kind: Kind::HostAddress, default: None, help: "Where to reach the API of registry HOST [default: https://HOST, http on loopback]" },
    Definition { key: "api", value: "KIND", group: Group::Source, kind: Kind::Word(api_words), default: Some("auto"), help: "The registry API to use" },
    Definition { key: "channels", value: "TAGS", group: Group::Channel, kind: Kind::List, default: Some(DEFAULT_CHANNELS), help: "The channels of a board, in the order of promotion; of a comparison, from and to" },
    Definition { key: "late", value: "DAYS[,DAYS]", group: Group::Channel, kind: Kind::Text, default: Some(DEFAULT_LATE), help: "Days without a promotion after which a channel is late, and very late" },
    Definition { key: "dlrn", value: "URL", group: Group::Source, kind: Kind::Address, default: None, help: "DLRN's API, or a file of its promotions: when channels were promoted, and which jobs passed" },
    Definition { key: "criteria", value: "URL", group: Group::Source, kind: Kind::Address, default: None, help: "The promoter's file: which jobs a channel's candidate must pass" },
    Definition { key: "zuul", value: "URL", group: Group::Source, kind: Kind::Address, default: None, help: "Zuul's API with its tenant: the last results of those jobs" },
    Definition { key: "snapshot", value: "URL", group: Group::Source, kind: Kind::Address, default: None, help: "A snapshot to read in place of the registries; on the command line also a file" },
    Definition { key: "against", value: "URL", group: Group::Page, kind: Kind::Address, default: None, help: "An earlier snapshot to compare with" },
    Definition { key: "sort", value: "COLUMN", group: Group::Page, kind: Kind::Text, default: None, help: "The order of the table: image, tag, status, age; with - before it descending" },
    Definition { key: "group", value: "WHAT", group: Group::Page, kind: Kind::Word(|| vec!["service"]), default: None, help: "How a board is grouped" },
    Definition { key: "q", value: "TEXT", group: Group::Page, kind: Kind::Text, default: None, help: "Search text of the table" },
    Definition { key: "status", value: "NAMES", group: Group::Page, kind: Kind::Text, default: None, help: "Status filter of the table, comma-separated" },
    Definition { key: "refresh", value: "SECONDS", group: Group::Page, kind: Kind::Text, default: None, help: "Seconds between automatic refreshes of a board, at least 30" },
    Definition { key: "embed", value: "1", group: Group::Page, kind: Kind::Word(|| vec!["1"]), default: None, help: "Without header and controls" },
];

/// The chain that is tried when none is chosen.
pub const DEFAULT_PIN: &str = "label,sibling,digest";
/// TripleO's channels in the order of promotion; all of its releases have them.
pub const DEFAULT_CHANNELS: &str = "tripleo-ci-testing,current-tripleo,current-tripleo-rdo";
/// Days without a promotion after which a channel is late, and very late, when nothing else is chosen.
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
            let kind = definition(key).map(|d| d.kind);
            let is_list = matches!(kind, Some(Kind::List));
            let (most, count) = match is_list {
                true => (LISTED, values.iter().map(|value| list(value).count()).sum()),
                false => (if matches!(kind, Some(Kind::Pattern)) { EXPRESSIONS } else { REPEATED }, values.len()),
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
            _ if let Some(default) = definition(key).and_then(|d| d.default) => default.to_owned(),
            _ => self.release(own_template).default(key).unwrap_or_default(),
        }
    }

    /// Whether a value of a key equals its default, so that a link can leave it out.
    pub fn is_default(&self, key: &str, value: &str, own_template: bool) -> bool {
        match definition(key) {
            Some(d) if d.is_repeatable() => value.is_empty(),
            // An empty substitution is a value; an empty anything else is none.
            Some(d) if !d.is_substitution() => value.is_empty() || value == self.default_of(key, own_template),
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
