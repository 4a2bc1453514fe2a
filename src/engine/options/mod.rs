//! What a person may choose: defined in one table, written in a link, checked into settings.

pub mod definitions;
pub mod label;
pub mod link;
pub mod pattern;
pub mod settings;
pub mod words;
