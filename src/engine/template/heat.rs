//! Heat environments and roles: which services are deployed, and which Neutron driver.
//!
//! The rules are those of tripleo-common (`tripleo_common/image/kolla_builder.py`), release by release.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::engine::error::{Error, Location, clean, nearest};
use crate::engine::options::settings::Settings;
use crate::engine::release::{Era, Release, SERVICE_PREFIX, Value as Substitution};
use crate::engine::template::Files;
use crate::engine::template::Source;
use crate::engine::yaml;

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

/// The parameter that names the Neutron drivers.
const DRIVERS: &str = "NeutronMechanismDrivers";
/// What a service is mapped to when it is switched off.
const NONE: &str = "OS::Heat::None";

/// Merges environments in their order: mappings recursively, all else is replaced by the later; an empty section erases nothing.
/// What a reader may miss goes to `notices`: keys that stand twice, and what this tool does not follow.
pub fn merge(files: &[Source], notices: &mut Vec<Error>) -> Result<Map<String, Value>, Error> {
    let mut merged = Map::new();
    for file in files {
        let document = yaml::parse(&file.name, &file.text)?;
        notices.extend(document.notices);
        let sections = match document.value {
            Value::Null => continue,
            Value::Object(map) => map,
            _ => return Err(Error::template("the file is not a mapping", &file.name, "give a Heat environment")),
        };
        notices.extend(not_followed(&sections).map(|(message, hint)| Error::template(message, &file.name, hint)));
        for (section, value) in sections {
            if !SECTIONS.contains(&section.as_str()) {
                let hint = nearest(&section, SECTIONS).map_or(String::new(), |n| format!("; did you mean {n}?"));
                let message = format!("`{section}` is not a section of a Heat environment{hint}");
                return Err(Error::template(message, &file.name, format!("Heat knows {}", SECTIONS.join(", "))));
            }
            match value {
                Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_)
                    if matches!(section.as_str(), "parameter_defaults" | "parameters" | "resource_registry") =>
                {
                    return Err(Error::template(
                        format!("`{section}` is not a mapping"),
                        &file.name,
                        "give names, each with its value",
                    ));
                }
                Value::Null => {}
                value => overlay(merged.entry(section).or_insert(Value::Null), value),
            }
        }
    }
    Ok(merged)
}

/// What an environment says about images, and this tool, as the established one, does not follow: what it is, and what helps.
fn not_followed(sections: &Map<String, Value>) -> impl Iterator<Item = (String, &'static str)> {
    let counts = |key: &str| key.ends_with("Count") || key.ends_with("Services") || key == DRIVERS;
    let keys = |name: &str| section(sections, name).into_iter().flat_map(Map::keys);
    let images = keys("parameter_defaults").chain(keys("parameters")).filter_map(|key| {
        let (message, hint) = match key.as_str() {
            // A role may have its own, as `ComputeContainerImagePrepare`.
            key if key.ends_with("ContainerImagePrepare") => (
                "its registries, tags and filters are not used",
                "give its namespace, prefix, tag and filters as options; its entries cannot be run yet",
            ),
            "DockerRegistryMirror" => ("the registry itself is queried", "query the mirror with endpoint=HOST=URL"),
            "ContainerImageRegistryCredentials" => ("its logins are not used", "log in on the page, or give --authfile"),
            _ => return None,
        };
        Some((format!("`{}` is ignored: {message}", clean(key)), hint))
    });
    let parameters = keys("parameters")
        .filter(move |key| counts(key))
        .map(|key| (format!("`{}` is ignored in `parameters`", clean(key)), "move it to `parameter_defaults`"));
    let strategies = keys("parameter_merge_strategies").filter(move |key| counts(key) || key.as_str() == "default").map(|key| {
        let of = if key == "default" { "`default`".to_owned() } else { format!("of `{}`", clean(key)) };
        (format!("the merge strategy {of} is not applied: the last value replaces the others"), "give the whole list in one file")
    });
    images.chain(parameters).chain(strategies)
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

/// The services of the roles and services that were chosen, or none where none was. `own` are the services that a template of one's own
/// names: each of them may be chosen, by its name with or without Heat's prefix, as a service or as a role.
pub fn chosen_services(settings: &Settings, own: Option<&BTreeSet<&str>>) -> Result<Option<BTreeSet<String>>, Error> {
    if settings.roles.is_empty() && settings.services.is_empty() {
        return Ok(None);
    }
    let known = settings.release.roles();
    let short = |service: &str| service.strip_prefix(SERVICE_PREFIX).unwrap_or(service).to_owned();
    let of_template = |name: &str| {
        let spellings = [short(name), format!("{SERVICE_PREFIX}{}", short(name))];
        spellings.into_iter().find(|s| own.is_some_and(|own| own.contains(s.as_str())))
    };
    let mut out = BTreeSet::new();
    for (name, count) in &settings.roles {
        let services = match (known.roles.get(name), of_template(name)) {
            (Some(role), _) => role.services.difference(&known.off).cloned().collect(),
            (None, Some(service)) => vec![service],
            (None, None) => return Err(unknown("role", name, settings.release, known.roles.keys().map(String::as_str))),
        };
        out.extend(services.into_iter().filter(|_| *count > 0));
    }
    for service in &settings.services {
        let is_known = known.known.is_empty() || known.known.contains(service);
        if let Some(service) = of_template(service) {
            out.insert(service);
        } else if !is_known && own.is_none() && nearest(service, known.known.iter().map(String::as_str)).is_some() {
            // A misspelt one would filter everything out.
            let names: Vec<String> = known.known.iter().map(|s| short(s)).collect();
            return Err(unknown("service", &short(service), settings.release, names.iter().map(String::as_str)));
        } else {
            out.insert(service.clone());
        }
    }
    Ok(Some(out))
}

fn unknown<'a>(kind: &str, name: &str, release: &Release, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None if known.clone().next().is_none() => format!("{} has none; leave {kind}= out", release.name),
        None => format!("it has {}", known.take(60).collect::<Vec<_>>().join(", ")),
    };
    Error::usage(format!("{} has no {kind} `{name}`", release.name), format!("{kind}="), hint)
}

/// The services that are deployed by the roles file and the environments, or none where these do not filter. `environment` is what
/// [`merge`] made of the latter.
pub fn deployed_services(
    release: &Release,
    files: &Files,
    environment: &Map<String, Value>,
    notices: &mut Vec<Error>,
) -> Result<Option<BTreeSet<String>>, Error> {
    let names: Vec<&str> = files.environments.iter().map(|e| e.name.as_str()).collect();
    if release.era == Era::Docker && files.environments.is_empty() {
        if let Some(roles) = &files.roles {
            let message = format!("the roles file is ignored: {} filters by roles only with an environment", release.name);
            notices.push(Error::usage(message, &roles.name, "give an environment that maps the services (-e)"));
        }
        return Ok(None);
    }
    let defaults = section(environment, "parameter_defaults");
    let registry = section(environment, "resource_registry");
    let roles = match &files.roles {
        Some(file) => read_roles(file, notices)?,
        None => default_roles(release),
    };
    if roles.is_empty() {
        let message = "all images are kept: there are no roles for the environments to count".to_owned();
        notices.push(Error::usage(message, names.join(", "), "give a roles file (-r)"));
        return Ok(None);
    }
    let parameter = |role: &str, message: &str| defaults.and_then(|d| d.get(&format!("{role}{message}")));
    for key in defaults.into_iter().flat_map(Map::keys) {
        let Some((role, message)) = ["Count", "Services"].into_iter().find_map(|end| Some((key.strip_suffix(end)?, end))) else {
            continue;
        };
        let names_of = || roles.iter().map(|r| r.name.as_str());
        if role.is_empty() || names_of().any(|name| name == role) {
            continue;
        }
        // Other parameters end so too (`NovaReservedHostCount`); one of a role is near a role's name, or deploys something.
        let near = nearest(role, names_of()).filter(|_| !release.roles().roles.contains_key(role));
        if near.is_some() || message == "Count" && parameter(role, message).and_then(integer).is_some_and(|n| n > 0) {
            let message = format!("`{}` is ignored: there is no role {}", clean(key), clean(role));
            let hint =
                near.map_or_else(|| "give a roles file that has it (-r)".to_owned(), |near| format!("did you mean {near}?"));
            notices.push(Error::template(message, names.join(", "), hint));
        }
    }
    // Of two roles of a name the later one counts, as for tripleo-common.
    let mut deployed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for role in roles {
        let whole = |value: &Value, of: String, place: &str| {
            integer(value).ok_or_else(|| {
                let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                Error::template(format!("{of} is `{}`", clean(&shown)), place, "give a whole number")
            })
        };
        let count = match parameter(&role.name, "Count") {
            Some(count) => whole(count, format!("{}Count", role.name), &names.join(", "))?,
            None => whole(&role.count, format!("CountDefault of {}", role.name), "the roles file")?,
        };
        if count <= 0 {
            continue;
        }
        let services = match parameter(&role.name, "Services") {
            Some(list) => texts(list).ok_or_else(|| {
                let message = format!("{}Services is not a list of strings", role.name);
                Error::template(message, names.join(", "), "give a list of Heat resource types")
            })?,
            None => role.services,
        };
        deployed.insert(role.name, services);
    }
    let mapped = |service: &str| registry.and_then(|r| r.get(service)).and_then(Value::as_str);
    // A relative path is one below the environment's folder, so its first component has a slash before it too.
    let is_below = |path: &str, folder: &str| format!("/{path}").contains(folder);
    let stays = |service: &String| match (release.era, mapped(service)) {
        (Era::Docker, path) => path.is_some_and(|p| is_below(p, "/docker/services/")),
        (_, Some(NONE)) => false,
        (Era::Rocky | Era::Stein, Some(path)) => !is_below(path, "/puppet/services"),
        _ => true,
    };
    Ok(Some(deployed.into_values().flatten().filter(stays).collect()))
}

/// A list of texts; none where it is something else.
fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

fn default_roles(release: &Release) -> Vec<Deployed> {
    let roles = release.roles().roles;
    let of = |(name, role): (String, crate::engine::release::Role)| Deployed {
        name,
        count: Value::from(role.count),
        services: role.services.into_iter().collect(),
    };
    roles.into_iter().filter(|(_, r)| r.is_default).map(of).collect()
}

fn read_roles(file: &Source, notices: &mut Vec<Error>) -> Result<Vec<Deployed>, Error> {
    const HINT: &str = "give a roles file: a list of roles, each with `name`";
    let wrong = |message: String| Error::template(message, &file.name, HINT);
    let document = yaml::parse(&file.name, &file.text)?;
    notices.extend(document.notices);
    let list = match document.value {
        Value::Array(list) => list,
        Value::Null => Vec::new(),
        _ => return Err(wrong("the file is not a list".to_owned())),
    };
    let mut roles: Vec<Deployed> = Vec::new();
    for (i, value) in list.iter().enumerate() {
        let name = value.get("name").and_then(Value::as_str).ok_or_else(|| wrong(format!("role {} has no name", i + 1)))?;
        let services = match value.get("ServicesDefault") {
            None | Some(Value::Null) => Vec::new(),
            Some(list) => texts(list).ok_or_else(|| wrong(format!("ServicesDefault of {name} is not a list of strings")))?,
        };
        if roles.iter().any(|role| role.name == name) {
            notices.push(wrong(format!("the role {} appears twice; the last one that is deployed is used", clean(name))));
        }
        let count = value.get("CountDefault").cloned().unwrap_or(Value::from(0));
        roles.push(Deployed { name: name.to_owned(), count, services });
    }
    Ok(roles)
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
    substitutions: &mut BTreeMap<String, Substitution>,
    settings: &Settings,
    filter: Option<&BTreeSet<String>>,
    files: &Files,
    environment: &Map<String, Value>,
    notices: &mut Vec<Error>,
) {
    const NAME: &str = "neutron_driver";
    if files.environments.is_empty() {
        return;
    }
    let chosen = settings.chosen.iter().any(|n| n == NAME);
    let given = substitutions.get(NAME).map_or("", Substitution::as_text).to_owned();
    let drivers = section(environment, "parameter_defaults").and_then(|d| d.get(DRIVERS));
    let has = |driver: &str| match drivers {
        Some(Value::Array(list)) => list.iter().any(|d| d.as_str() == Some(driver)),
        Some(Value::String(text)) => text.contains(driver),
        _ => false,
    };
    let deployed = |service: &str| filter.is_some_and(|f| f.contains(&format!("{SERVICE_PREFIX}{service}")));
    let era = settings.release.era;
    let driver = match era {
        Era::Docker if chosen => None,
        Era::Docker if deployed("OpenDaylightApi") => Some("odl"),
        Era::Docker => deployed("OVNController").then_some("ovn"),
        Era::Train | Era::Ussuri if chosen && !matches!(given.as_str(), "" | "false") => None,
        Era::Rocky | Era::Stein | Era::Train if has("opendaylight_v2") => Some("odl"),
        Era::Rocky => has("ovn").then_some("ovn"),
        _ if drivers.is_none() || has("ovn") => Some("ovn"),
        _ => Some("other"),
    };
    if let Some(driver) = driver {
        if chosen && given != driver {
            let message = format!("neutron_driver={} is ignored: the environments set {driver}", clean(&given));
            notices.push(Error::usage(
                message,
                Location::Choice("neutron_driver".to_owned()),
                format!("leave it out, or set {DRIVERS}"),
            ));
        }
        substitutions.insert(NAME.to_owned(), Substitution::Text(driver.to_owned()));
    }
}
