//! What is handed over: `overcloud_containers.yaml`, the Heat environment, the image list, the report, the comparison.
//!
//! Each file is a module and a row of [`OUTPUTS`]. Flags, buttons and previews are made from the table.

pub mod compare;
mod containers;
mod environment;
pub mod file;
mod image_list;
pub mod outcome;

pub use containers::CONTAINERS;
pub use environment::ENVIRONMENT;
pub use file::{Output, Render};
pub use image_list::{IMAGE_LIST, list};
pub use outcome::{Line, Outcome, Provenance, failed, failures, images};

/// Every file, in the order in which it is offered.
pub static OUTPUTS: [Output; 3] = [CONTAINERS, ENVIRONMENT, IMAGE_LIST];
