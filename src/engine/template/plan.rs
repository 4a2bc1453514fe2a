//! Choices and files → which images are asked for, and why each other one is out.

use std::collections::{BTreeSet, HashMap};

use crate::engine::error::{Error, Kind, Location, bounded, clean, nearest};
use crate::engine::image::reference::Reference;
use crate::engine::options::definitions::DEFINITIONS;
use crate::engine::options::settings::Settings;
use crate::engine::template::entries::{self, Entry};
use crate::engine::template::heat;
use crate::engine::template::{self, Files, Source};

/// Entries that a template may list; a loop gone wrong lists more.
const ENTRIES: usize = 10_000;

/// One image that is asked for: every entry with the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// As the template rendered it.
    pub imagename: String,
    /// What that means, or what is wrong with it.
    pub reference: Result<Reference, String>,
    /// The short name: the repository's last component less the given prefix and suffix.
    pub short: String,
    /// Why the filters let it in, as a sentence without a full stop.
    pub why: String,
    /// Heat parameters that take it.
    pub params: Vec<String>,
    /// Heat resource types that need it.
    pub services: Vec<String>,
}

/// An image that the filters leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Out {
    /// As the template rendered it.
    pub imagename: String,
    /// Why it is not in, as a sentence without a full stop.
    pub why: String,
}

/// What is to be asked, and what is not.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The entries that are in, in the template's order, repetitions included.
    pub entries: Vec<Entry>,
    /// The images of those entries, each once.
    pub images: Vec<Image>,
    /// For each entry, its place in `images`.
    pub image_of: Vec<usize>,
    /// The entries that are out.
    pub out: Vec<Out>,
    /// Variables that the template prints without their being defined, and choices that do not count.
    pub warnings: Vec<Error>,
}

impl Plan {
    /// Renders, reads and filters.
    ///
    /// # Errors
    /// A wrong template, roles file, environment or role; a regular expression that needs too long.
    pub fn new(settings: &Settings, files: &Files) -> Result<Self, Error> {
        let mut warnings = Vec::new();
        let environment = heat::merge(&files.environments, &mut warnings)?;
        let built_in =
            || Source { name: format!("{}.yaml.j2", settings.release.name), text: settings.release.template.to_owned() };
        let source = files.template.clone().unwrap_or_else(built_in);
        let has_files = files.roles.is_some() || !files.environments.is_empty();
        let deployed = match has_files {
            true => heat::deployed_services(settings.release, files, &environment, &mut warnings)?,
            false => None,
        };
        let mut substitutions = settings.substitutions.clone();
        heat::set_neutron_driver(&mut substitutions, settings, deployed.as_ref(), files, &environment, &mut warnings);
        let rendered = template::render(&source, &files.includes, &substitutions)?;
        warnings.extend(rendered.undefined);

        let text = |name: &str| substitutions.get(name).map_or("", |v| v.as_text());
        let (prefix, suffix) = (text("name_prefix"), text("name_suffix"));
        let entries = entries::read(&source.name, &rendered.text, &mut warnings)?;
        let own: BTreeSet<&str> = entries.iter().flat_map(|e| e.services.iter().map(String::as_str)).collect();
        let filter = match has_files {
            true => deployed,
            false => heat::chosen_services(settings, files.template.as_ref().map(|_| &own))?,
        };
        warnings.extend(without_use(settings, &source, &files.includes));
        if let Some(chosen) = filter.as_ref().filter(|_| !has_files) {
            for service in settings.services.iter().filter(|service| !own.contains(service.as_str()) && chosen.contains(*service))
            {
                let message = format!("no image is listed for the service {}", clean(service));
                let near = nearest(service, own.iter().copied()).map(|near| format!("did you mean {near}?"));
                warnings.push(Error::usage(
                    message,
                    Location::Choice("service".to_owned()),
                    near.unwrap_or_else(|| "leave it out".to_owned()),
                ));
            }
        }
        let mut plan = Self { entries: Vec::new(), images: Vec::new(), image_of: Vec::new(), out: Vec::new(), warnings };
        if entries.len() > ENTRIES {
            let message = format!("the template lists {} images", entries.len());
            return Err(Error::template(message, &source.name, format!("the limit is {ENTRIES}; check for a loop")));
        }
        let mut known: HashMap<String, usize> = HashMap::new();
        for entry in entries {
            let why = match decide(&entry, settings, filter.as_ref())? {
                Decision::In(why) => why,
                Decision::Out(why) => {
                    plan.out.push(Out { imagename: entry.imagename, why });
                    continue;
                }
            };
            let at = *known.entry(entry.imagename.clone()).or_insert_with(|| {
                let reference = Reference::parse(&entry.imagename);
                let path = reference.as_ref().map_or(entry.imagename.as_str(), |r| r.repository.short());
                let short = path.strip_prefix(prefix).unwrap_or(path);
                let short = short.strip_suffix(suffix).unwrap_or(short).to_owned();
                let imagename = entry.imagename.clone();
                plan.images.push(Image { imagename, reference, short, why, params: Vec::new(), services: Vec::new() });
                plan.images.len() - 1
            });
            let image = &mut plan.images[at];
            for (all, new) in [(&mut image.params, &entry.params), (&mut image.services, &entry.services)] {
                let missing: Vec<String> = new.iter().filter(|n| !all.contains(n)).cloned().collect();
                all.extend(missing);
            }
            plan.image_of.push(at);
            plan.entries.push(entry);
        }
        if has_files && !(settings.roles.is_empty() && settings.services.is_empty()) {
            let hint = "a roles file and environments override them; leave out one or the other";
            plan.warnings.push(Error::usage("the chosen roles and services are ignored", "role= and service=", hint));
        }
        if !settings.include.is_empty() && !settings.exclude.is_empty() {
            let hint = "an include overrides them, as in tripleo-common; leave out one or the other";
            plan.warnings.push(Error::usage("the excludes are ignored", "include= and exclude=", hint));
        }
        plan.warnings = bounded(plan.warnings);
        Ok(plan)
    }
}

/// Substitutions that were given, and that the template does not name.
fn without_use(settings: &Settings, source: &Source, includes: &[Source]) -> Vec<Error> {
    let is_word = |c: char| c == '_' || c.is_alphanumeric();
    let texts = || [source].into_iter().chain(includes).map(|source| source.text.as_str());
    let is_named = |name: &str| texts().any(|text| text.split(|c| !is_word(c)).any(|word| word == name));
    let given = settings.chosen.iter().filter(|name| !DEFINITIONS.iter().any(|d| d.key == name.as_str()));
    given
        .filter(|name| !is_named(name))
        .map(|name| {
            let known = settings.release.defaults().map(|(name, _)| name).filter(|name| is_named(name));
            let near = nearest(name, known).map(|near| format!("did you mean {near}?"));
            let message = format!("the template does not use `{}`", clean(name));
            Error::usage(message, format!("set.{}=", clean(name)), near.unwrap_or_else(|| "leave it out".to_owned()))
        })
        .collect()
}

/// Whether an entry is asked for, and why.
enum Decision {
    In(String),
    Out(String),
}

/// The services first, then the includes, and only without includes the excludes.
fn decide(entry: &Entry, settings: &Settings, filter: Option<&BTreeSet<String>>) -> Result<Decision, Error> {
    let found = |pattern: &crate::engine::options::pattern::Pattern| {
        pattern.is_found(&entry.imagename).map_err(|why| {
            let place = format!("`{}` on {}", clean(&pattern.text), clean(&entry.imagename));
            Error::new(Kind::Usage, format!("a regular expression could not be matched: {why}"), place, "simplify it")
        })
    };
    let mut reasons = Vec::new();
    if let Some(filter) = filter {
        match entry.services.iter().find(|s| filter.contains(*s)) {
            Some(service) => reasons.push(format!("its service {service} is deployed")),
            None if entry.services.is_empty() => {
                let why = "no service needs it, and only images of deployed services are requested";
                return Ok(Decision::Out(why.to_owned()));
            }
            None => return Ok(Decision::Out(format!("none of its services is deployed: {}", entry.services.join(", ")))),
        }
    }
    if !settings.include.is_empty() {
        for pattern in &settings.include {
            if found(pattern)? {
                reasons.push(format!("the include `{}` is found in its name", pattern.text));
                return Ok(Decision::In(reasons.join(", and ")));
            }
        }
        return Ok(Decision::Out("no include is found in its name".to_owned()));
    }
    for pattern in &settings.exclude {
        if found(pattern)? {
            return Ok(Decision::Out(format!("the exclude `{}` is found in its name", pattern.text)));
        }
    }
    if reasons.is_empty() {
        reasons.push("no filter leaves it out".to_owned());
    }
    Ok(Decision::In(reasons.join(", and ")))
}
