//! `overcloud_images.yaml`: each Heat parameter and its image.

use serde_json::{Map, Value, json};

use super::file::{Output, Render};
use super::outcome::Outcome;
use crate::engine::error::clean;
use crate::engine::yaml;

/// The Heat environment.
pub const ENVIRONMENT: Output = Output {
    file_name: "overcloud_images.yaml",
    flag: Some(("output-env-file", "Where to write the Heat environment [default: standard output]")),
    label: "overcloud_images.yaml",
    is_default: true,
    render: Render::Outcome { notes, body },
};

/// Parameters that several images set, and which of them counts.
fn notes(outcome: &Outcome<'_>) -> Vec<String> {
    let note = |(parameter, counts, should): (&str, usize, usize)| {
        let why = if counts == should { "the last of several" } else { "although the last of several is left out" };
        format!("- {}: set by {}, {why}", clean(parameter), outcome.name(counts))
    };
    outcome.shared().into_iter().map(note).collect()
}

fn body(outcome: &Outcome<'_>) -> String {
    let mut parameters: Map<String, Value> = Map::new();
    for (i, name) in outcome.written() {
        let (_, mut value) = outcome.push(i, &name);
        value.push_str(&outcome.settings.append_tag);
        for parameter in &outcome.plan.entries[i].params {
            parameters.insert(parameter.clone(), Value::String(value.clone()));
        }
    }
    let used = |host: &&String| {
        parameters
            .values()
            .filter_map(Value::as_str)
            .any(|v| v.strip_prefix(host.as_str()).is_some_and(|rest| rest.starts_with('/')))
    };
    let insecure: Vec<&String> = outcome.plain_hosts.iter().filter(used).collect();
    if !insecure.is_empty() {
        parameters.insert("DockerInsecureRegistryAddress".to_owned(), json!(insecure));
    }
    yaml::write(&json!({ "parameter_defaults": parameters }))
}
