//! The images to build: short names, each once, in the template's order.

use std::collections::BTreeSet;

use super::file::{Output, Render};
use crate::engine::error::clean;
use crate::engine::template::plan::Plan;

/// The image list, as kolla-build takes it.
pub const IMAGE_LIST: Output =
    Output { file_name: "image_list.txt", flag: None, label: "image list", is_default: false, render: Render::Plan(list) };

/// The text of the list.
pub fn list(plan: &Plan) -> String {
    let mut seen = BTreeSet::new();
    plan.images.iter().filter(|i| seen.insert(&i.short)).map(|i| format!("{}\n", clean(&i.short))).collect()
}
