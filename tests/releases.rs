//! The built-in templates and roles, compared with facts from the public history of each release.

use std::collections::{BTreeMap, BTreeSet};

use overtag::engine::options::definitions::Choices;
use overtag::engine::options::settings::Settings;
use overtag::engine::release::{RELEASES, Release, Value as Substitution};
use overtag::engine::template::Files;
use overtag::engine::template::plan::Plan;
use serde_json::Value;

const RELEASES_WITH_FACTS: [&str; 9] = ["2017-05", "pike", "queens", "rocky", "stein", "train", "ussuri", "victoria", "wallaby"];

fn facts(name: &str) -> Value {
    let text = std::fs::read_to_string(format!("tests/facts/{name}.json")).expect("the facts are there");
    serde_json::from_str(&text).expect("the facts are JSON")
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether a condition on the driver holds.
fn is_for(driver: &Value, given: &str) -> bool {
    match (driver.get("in"), driver.get("not_in")) {
        (Some(list), _) => texts(list).iter().any(|d| d == given),
        (_, Some(list)) => !texts(list).iter().any(|d| d == given),
        _ => true,
    }
}

/// Whether another condition of the templates holds; every condition in the facts is listed here.
fn holds(condition: &Value, variables: &BTreeMap<String, String>) -> bool {
    let get = |name: &str| variables.get(name).map_or("", String::as_str);
    match condition.as_str() {
        None => true,
        Some("logging == \"stdout\"") => get("logging") == "stdout",
        Some("not rhel_containers") => get("rhel_containers") != "true",
        Some("ceph_images | default(true)") => get("ceph_images") != "false",
        Some("ceph3_namespace is defined") => variables.contains_key("ceph3_namespace"),
        Some("namespace_stein is defined") => variables.contains_key("namespace_stein"),
        Some(other) => panic!("a condition that this test does not know: {other}"),
    }
}

/// The text with each `{{name}}` replaced; an undefined variable prints nothing.
fn fill(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, tail) = after.split_once("}}").expect("a closed variable");
        out.push_str(before);
        out.push_str(variables.get(name).map_or("", String::as_str));
        rest = tail;
    }
    out + rest
}

/// An entry: name, source, parameters, services.
type Entry = (String, Option<String>, Vec<String>, BTreeSet<String>);

/// What the facts say the template renders to.
fn expected(facts: &Value, set: &[(&str, &str)]) -> Vec<Entry> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in facts["defaults"].as_object().expect("defaults") {
        let text = match value {
            Value::String(s) => s.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        variables.insert(name.clone(), text);
    }
    variables.extend(set.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
    let driver = variables.get("neutron_driver").cloned().unwrap_or_default();
    let mut out = Vec::new();
    for image in facts["images"].as_array().expect("images") {
        if !is_for(&image["neutron_driver"], &driver) || !holds(&image["condition"], &variables) {
            continue;
        }
        let mut services: BTreeSet<String> = texts(&image["services"]).into_iter().collect();
        for extra in image["services_if"].as_array().into_iter().flatten() {
            if is_for(&extra["neutron_driver"], &driver) {
                services.extend(extra["service"].as_str().map(str::to_owned));
            }
        }
        out.push((
            fill(image["imagename"].as_str().expect("imagename"), &variables),
            image["image_source"].as_str().map(str::to_owned),
            texts(&image["params"]),
            services,
        ));
    }
    out
}

#[test]
fn every_release_renders_to_its_facts() {
    // For every Neutron driver, and for every condition that the templates have.
    let conditions: [&[(&str, &str)]; 6] = [
        &[],
        &[("logging", "stdout")],
        &[("rhel_containers", "true")],
        &[("ceph_images", "false")],
        &[("ceph3_namespace", "quay.io/ceph3"), ("ceph3_image", "daemon"), ("ceph3_tag", "v3")],
        &[("namespace_stein", "quay.io/stein"), ("name_prefix_stein", "c-"), ("name_suffix_stein", "-x"), ("tag_stein", "t")],
    ];
    for name in RELEASES_WITH_FACTS {
        let facts = facts(name);
        for driver in [None, Some(""), Some("ovn"), Some("odl"), Some("other")] {
            for condition in conditions {
                let set: Vec<(&str, &str)> = condition
                    .iter()
                    .copied()
                    .chain(driver.map(|d| ("neutron_driver", d)))
                    .chain((name != "2017-05").then_some(("namespace", "h.example/ns")))
                    .collect();
                let mut choices = Choices::default();
                choices.put("release", name);
                set.iter().for_each(|(n, v)| choices.put(n, *v));
                let (settings, wrong) = Settings::new(&choices, false);
                assert_eq!(wrong, [], "{name} {set:?}");
                let plan = Plan::new(&settings, &Files::default()).expect("it renders");
                let got: Vec<_> = plan
                    .entries
                    .iter()
                    .map(|e| {
                        let source = e.rest.get("image_source").and_then(Value::as_str).map(str::to_owned);
                        assert!(e.rest.keys().all(|k| k == "image_source"), "{name}: {:?}", e.rest);
                        (e.imagename.clone(), source, e.params.clone(), e.services.iter().cloned().collect::<BTreeSet<_>>())
                    })
                    .collect();
                assert_eq!(got, expected(&facts, &set), "{name} {set:?}");
            }
        }
        let counted = expected(&facts, &[]).len() as u64;
        let default = facts["defaults"]["neutron_driver"].as_str().unwrap_or("unset");
        assert_eq!(
            Some(counted),
            facts["counts"].get(default).or(facts["counts"].get("images")).and_then(Value::as_u64),
            "{name}"
        );
    }
}

#[test]
fn defaults_are_those_of_the_facts() {
    for name in RELEASES_WITH_FACTS {
        let release = Release::named(name).expect("the release is there");
        let got: BTreeMap<String, Value> = release
            .defaults()
            .map(|(n, v)| {
                let value = match v {
                    Substitution::Text(t) => Value::from(t),
                    Substitution::Bool(b) => Value::from(b),
                    Substitution::None => Value::Null,
                };
                (n.to_owned(), value)
            })
            .collect();
        let want: BTreeMap<String, Value> = facts(name)["defaults"].as_object().expect("defaults").clone().into_iter().collect();
        assert_eq!(got, want, "{name}");
    }
    assert_eq!(RELEASES.len(), RELEASES_WITH_FACTS.len() + 1, "the demo is the only release without facts");
}

#[test]
fn roles_are_those_of_the_facts() {
    for name in RELEASES_WITH_FACTS.into_iter().filter(|n| *n != "2017-05") {
        let facts = facts(&format!("roles-{name}"));
        let got = Release::named(name).expect("the release is there").roles();
        let want = facts["roles"].as_object().expect("roles");
        assert_eq!(got.roles.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "{name}");
        let defaults = texts(&facts["default_roles"]);
        for (role, value) in want {
            let own = &got.roles[role];
            assert_eq!(own.services, texts(&value["services"]).into_iter().collect(), "{name} {role}");
            assert_eq!(Some(own.count), value["count_default"].as_i64(), "{name} {role}");
            assert_eq!(own.is_default, defaults.contains(role), "{name} {role}");
        }
        assert_eq!(got.off, texts(&facts["services_off_by_default"]).into_iter().collect(), "{name}");
    }
}
