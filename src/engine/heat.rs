//! Heat environments and roles: which services are deployed, and which Neutron driver.
//!
//! The rules are those of tripleo-common (`tripleo_common/image/kolla_builder.py`), release by release.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::choices::Settings;
use super::error::{Error, nearest};
use super::release::{Era, Release, Value as Substitution};
use super::template::Source;
use super::yaml;

/// The sections that Heat allows in an environment (`heat/common/environment_format.py`).
const SECTIONS: [&str; 7] = [
    "parameters",
    "parameter_defaults",
    "resource_registry",
    "encrypted_param_names",
    "event_sinks",
    "parameter_merge_strategies",
    "resource_types",
];

/// What a service is mapped to when it is switched off.
const NONE: &str = "OS::Heat::None";

/// Merges environments in their order: mappings recursively, all else is replaced by the later; an empty section erases nothing.
pub fn merge(files: &[Source]) -> Result<Map<String, Value>, Error> {
    let mut merged = Map::new();
    for file in files {
        let document = match yaml::parse(&file.name, &file.text)? {
            Value::Null => continue,
            Value::Object(map) => map,
            _ => return Err(Error::template("the file is no mapping", &file.name, "give a Heat environment")),
        };
        for (section, value) in document {
            if !SECTIONS.contains(&section.as_str()) {
                let hint = nearest(&section, SECTIONS).map_or(String::new(), |n| format!("; is {n} meant?"));
                let what = format!("`{section}` is no section of a Heat environment{hint}");
                return Err(Error::template(what, &file.name, format!("Heat knows {}", SECTIONS.join(", "))));
            }
            match value {
                Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_)
                    if section.starts_with("parameter_defaults") =>
                {
                    return Err(Error::template(
                        format!("`{section}` is no mapping"),
                        &file.name,
                        "give a mapping of parameters",
                    ));
                }
                Value::Null => {}
                value => overlay(merged.entry(section).or_insert(Value::Null), value),
            }
        }
    }
    Ok(merged)
}

fn overlay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                overlay(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

fn section<'a>(environment: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    environment.get(name).and_then(Value::as_object)
}

/// A role as a roles file or the release gives it.
struct Deployed {
    name: String,
    count: Value,
    services: Vec<String>,
}

/// The services that are deployed, or none where nothing filters.
pub fn service_filter(
    settings: &Settings,
    roles_file: Option<&Source>,
    environments: &[Source],
) -> Result<Option<BTreeSet<String>>, Error> {
    if roles_file.is_some() || !environments.is_empty() {
        return from_files(settings.release, roles_file, environments);
    }
    if settings.roles.is_empty() && settings.services.is_empty() {
        return Ok(None);
    }
    let known = settings.release.roles();
    let mut out = BTreeSet::new();
    for (name, count) in &settings.roles {
        let Some(role) = known.roles.get(name) else {
            return Err(unknown("role", name, settings.release, known.roles.keys().map(String::as_str)));
        };
        if *count > 0 {
            out.extend(role.services.difference(&known.off).cloned());
        }
    }
    for service in &settings.services {
        if !known.known.is_empty() && !known.known.contains(service) && !service.contains(char::is_whitespace) {
            // A service that only a template of one's own knows is fine; a misspelt one would filter everything out.
            let short = |s: &str| s.rsplit("::").next().unwrap_or("").to_owned();
            if settings.template.is_none() && nearest(service, known.known.iter().map(String::as_str)).is_some() {
                let names: Vec<String> = known.known.iter().map(|s| short(s)).collect();
                return Err(unknown("service", &short(service), settings.release, names.iter().map(String::as_str)));
            }
        }
        out.insert(service.clone());
    }
    Ok(Some(out))
}

fn unknown<'a>(kind: &str, name: &str, release: &Release, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    let cure = match nearest(name, known.clone()) {
        Some(near) => format!("is {near} meant?"),
        None if known.clone().next().is_none() => format!("{} has none; leave {kind}= out", release.name),
        None => format!("it has {}", known.take(60).collect::<Vec<_>>().join(", ")),
    };
    Error::usage(format!("{} has no {kind} `{name}`", release.name), format!("{kind}="), cure)
}

fn from_files(
    release: &Release,
    roles_file: Option<&Source>,
    environments: &[Source],
) -> Result<Option<BTreeSet<String>>, Error> {
    if release.era == Era::Docker && environments.is_empty() {
        return Ok(None);
    }
    let environment = merge(environments)?;
    let defaults = section(&environment, "parameter_defaults");
    let registry = section(&environment, "resource_registry");
    let roles = match roles_file {
        Some(file) => read_roles(file)?,
        None => default_roles(release),
    };
    if roles.is_empty() {
        return Ok(None);
    }
    let parameter = |role: &str, what: &str| defaults.and_then(|d| d.get(&format!("{role}{what}")));
    let mut out = BTreeSet::new();
    for role in roles {
        let count = match parameter(&role.name, "Count") {
            Some(count) => integer(count).ok_or_else(|| {
                let shown = count.as_str().map_or_else(|| count.to_string(), str::to_owned);
                let names: Vec<&str> = environments.iter().map(|e| e.name.as_str()).collect();
                Error::template(format!("{}Count is `{shown}`", role.name), names.join(", "), "give a whole number")
            })?,
            None => integer(&role.count).ok_or_else(|| {
                Error::template(
                    format!("CountDefault of {} is `{}`", role.name, role.count),
                    "the roles file",
                    "give a whole number",
                )
            })?,
        };
        if count <= 0 {
            continue;
        }
        let services = match parameter(&role.name, "Services") {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(_) => {
                let what = format!("{}Services is no list", role.name);
                return Err(Error::template(what, "parameter_defaults", "give a list of Heat resource types"));
            }
            None => role.services,
        };
        let mapped = |service: &str| registry.and_then(|r| r.get(service)).and_then(Value::as_str);
        // A relative path is one below the environment's folder, so its first component has a slash before it too.
        let is_below = |path: &str, folder: &str| format!("/{path}").contains(folder);
        out.extend(services.into_iter().filter(|service| match (release.era, mapped(service)) {
            (Era::Docker, path) => path.is_some_and(|p| is_below(p, "/docker/services/")),
            (_, Some(NONE)) => false,
            (Era::Rocky | Era::Stein, Some(path)) => !is_below(path, "/puppet/services"),
            _ => true,
        }));
    }
    Ok(Some(out))
}

fn default_roles(release: &Release) -> Vec<Deployed> {
    let roles = release.roles().roles;
    let of = |(name, role): (String, super::release::Role)| Deployed {
        name,
        count: Value::from(role.count),
        services: role.services.into_iter().collect(),
    };
    roles.into_iter().filter(|(_, r)| r.is_default).map(of).collect()
}

fn read_roles(file: &Source) -> Result<Vec<Deployed>, Error> {
    let wrong = |what: String| Error::template(what, &file.name, "give a roles file: a list of roles, each with `name`");
    let list = match yaml::parse(&file.name, &file.text)? {
        Value::Array(list) => list,
        Value::Null => Vec::new(),
        _ => return Err(wrong("the file is no list".to_owned())),
    };
    let role = |(i, value): (usize, &Value)| {
        let name = value.get("name").and_then(Value::as_str).ok_or_else(|| wrong(format!("role {} has no name", i + 1)))?;
        let services = match value.get("ServicesDefault") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(_) => return Err(wrong(format!("ServicesDefault of {name} is no list"))),
        };
        let count = value.get("CountDefault").cloned().unwrap_or(Value::from(0));
        Ok(Deployed { name: name.to_owned(), count, services })
    };
    list.iter().enumerate().map(role).collect()
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(n) => n.as_i64().or_else(|| n.as_f64().map(|f| f.trunc() as i64)),
        Value::String(s) => s.trim().parse().ok(),
        Value::Bool(b) => Some(i64::from(*b)),
        _ => None,
    }
}

/// Sets `neutron_driver` as the release's tool does when it has an environment; without one the release's default holds.
pub fn set_neutron_driver(
    substitutions: &mut std::collections::BTreeMap<String, Substitution>,
    settings: &Settings,
    filter: Option<&BTreeSet<String>>,
    environments: &[Source],
) -> Result<(), Error> {
    const NAME: &str = "neutron_driver";
    if environments.is_empty() {
        return Ok(());
    }
    let chosen = settings.chosen.iter().any(|n| n == NAME);
    let is_truthy = substitutions.get(NAME).is_some_and(|v| !matches!(v.as_text(), "" | "false"));
    let environment = merge(environments)?;
    let drivers = section(&environment, "parameter_defaults").and_then(|d| d.get("NeutronMechanismDrivers"));
    let has = |driver: &str| match drivers {
        Some(Value::Array(list)) => list.iter().any(|d| d.as_str() == Some(driver)),
        Some(Value::String(text)) => text.contains(driver),
        _ => false,
    };
    let deployed = |service: &str| filter.is_some_and(|f| f.contains(&format!("{}{service}", super::release::SERVICE_PREFIX)));
    let era = settings.release.era;
    let driver = match era {
        Era::Docker if chosen => None,
        Era::Docker if deployed("OpenDaylightApi") => Some("odl"),
        Era::Docker => deployed("OVNController").then_some("ovn"),
        Era::Train | Era::Ussuri if chosen && is_truthy => None,
        Era::Rocky | Era::Stein | Era::Train if has("opendaylight_v2") => Some("odl"),
        Era::Rocky => has("ovn").then_some("ovn"),
        _ if drivers.is_none() || has("ovn") => Some("ovn"),
        _ => Some("other"),
    };
    if let Some(driver) = driver {
        substitutions.insert(NAME.to_owned(), Substitution::Text(driver.to_owned()));
    }
    Ok(())
}
