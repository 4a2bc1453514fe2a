//! `overcloud_containers.yaml`: the entries less `params` and `services`, in the template's order.

use serde_json::{Value, json};

use super::file::{Output, Render};
use super::outcome::Outcome;
use crate::engine::yaml;

/// The file that lists images.
pub const CONTAINERS: Output = Output {
    file_name: "overcloud_containers.yaml",
    flag: Some(("output-images-file", "Where to write overcloud_containers.yaml")),
    label: "overcloud_containers.yaml",
    is_default: false,
    render: Render::Outcome { notes: |_| Vec::new(), body },
};

fn body(outcome: &Outcome<'_>) -> String {
    let entry = |(i, name): (usize, String)| {
        let mut entry = outcome.plan.entries[i].rest.clone();
        let (source, _) = outcome.push(i, &name);
        entry.insert("imagename".to_owned(), Value::String(source));
        if let Some(to) = &outcome.settings.push_destination {
            entry.insert("push_destination".to_owned(), Value::String(to.clone()));
        }
        Value::Object(entry)
    };
    let list: Vec<Value> = outcome.written().map(entry).collect();
    yaml::write(&json!({ "container_images": list }))
}
