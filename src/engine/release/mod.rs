//! The built-in releases: template, defaults of the substitutions, roles.
//!
//! The files beside this one are made from the public history of tripleo-common and tripleo-heat-templates; `tests/templates.rs`
//! compares them with the facts read there. The demo is wallaby's list on a made-up registry.

use std::collections::{BTreeMap, BTreeSet};

/// The host of the made-up registry that the demo release names; `.example` belongs to nobody (RFC 2606).
pub const DEMO_HOST: &str = "registry.demo.example";

/// The rules that a release's own tool had for the service filter and the Neutron driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Era {
    /// pike, queens: only services that a file maps to `/docker/services/` count.
    Docker,
    /// rocky: services mapped to `/puppet/services` do not count.
    Rocky,
    /// stein: as rocky, with another Neutron default.
    Stein,
    /// train: only `OS::Heat::None` removes a service.
    Train,
    /// ussuri and later: as train, without OpenDaylight.
    Ussuri,
}

/// One built-in release.
#[derive(Debug)]
pub struct Release {
    /// Its name in a link.
    pub name: &'static str,
    /// The template of its images.
    pub template: &'static str,
    /// The rules of its time.
    pub era: Era,
    defaults: &'static str,
    roles: &'static str,
}

macro_rules! releases {
    ($($name:literal $era:ident $template:literal $roles:expr;)*) => {
        /// All built-in releases, oldest first but for the demo.
        pub static RELEASES: &[Release] = &[$(Release {
            name: $name,
            era: Era::$era,
            template: include_str!(concat!("", $template, ".yaml.j2")),
            defaults: include_str!(concat!("", $name, ".defaults")),
            roles: $roles,
        }),*];
    };
}

releases! {
    "demo" Ussuri "wallaby" include_str!("wallaby.roles");
    "2017-05" Docker "2017-05" "";
    "pike" Docker "pike" include_str!("pike.roles");
    "queens" Docker "queens" include_str!("queens.roles");
    "rocky" Rocky "rocky" include_str!("rocky.roles");
    "stein" Stein "stein" include_str!("stein.roles");
    "train" Train "train" include_str!("train.roles");
    "ussuri" Ussuri "ussuri" include_str!("ussuri.roles");
    "victoria" Ussuri "victoria" include_str!("victoria.roles");
    "wallaby" Ussuri "wallaby" include_str!("wallaby.roles");
}

/// What a substitution is: Jinja2 knows texts, truth values and nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// Set to nothing, which Jinja2 calls `none`.
    None,
}

impl Value {
    /// What a person's text means: `true` and `false` say what they say, all else is text.
    pub fn from_text(text: &str) -> Self {
        match text {
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            _ => Self::Text(text.to_owned()),
        }
    }

    /// The text that a person would write for it.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::None => "",
        }
    }
}

/// A role of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// How many of it are deployed unless something else is chosen.
    pub count: i64,
    /// Whether it stands in the release's default roles file.
    pub is_default: bool,
    /// Heat resource types.
    pub services: BTreeSet<String>,
}

/// The roles of a release and the services that it maps to nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    /// By name.
    pub roles: BTreeMap<String, Role>,
    /// All services that the release knows.
    pub known: BTreeSet<String>,
    /// Those of them that are off by default.
    pub off: BTreeSet<String>,
}

/// The prefix of the Heat resource types of services.
pub const SERVICE_PREFIX: &str = "OS::TripleO::Services::";

impl Release {
    /// The release of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        RELEASES.iter().find(|r| r.name == name)
    }

    /// What each substitution is when nobody sets it, in the release's order.
    pub fn defaults(&self) -> impl Iterator<Item = (&'static str, Value)> + use<> {
        self.defaults.lines().filter_map(|line| {
            let (name, value) = line.split_once(" =")?;
            Some((
                name,
                match value.trim_start() {
                    "none" => Value::None,
                    other => Value::from_text(other),
                },
            ))
        })
    }

    /// The default of one substitution, as text.
    pub fn default(&self, name: &str) -> Option<String> {
        self.defaults().find(|(n, _)| *n == name).map(|(_, v)| v.as_text().to_owned())
    }

    /// The roles of this release; none for 2017-05.
    pub fn roles(&self) -> Roles {
        let mut out = Roles::default();
        let mut order = Vec::new();
        for line in self.roles.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["role", name, count, ref rest @ ..] => {
                    order.push(name);
                    let count = count.parse().unwrap_or(0);
                    out.roles.insert(name.to_owned(), Role { count, is_default: rest == ["*"], services: BTreeSet::new() });
                }
                ["service", name, columns, ref rest @ ..] => {
                    let service = format!("{SERVICE_PREFIX}{name}");
                    for (role, _) in order.iter().zip(columns.bytes()).filter(|(_, c)| *c == b'x') {
                        out.roles.entry((*role).to_owned()).or_default().services.insert(service.clone());
                    }
                    if rest == ["off"] {
                        out.off.insert(service.clone());
                    }
                    out.known.insert(service);
                }
                _ => {}
            }
        }
        out
    }
}
