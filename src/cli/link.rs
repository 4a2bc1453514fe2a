//! `overtag link`

use super::args::Invocation;
use super::inputs::settings;
use super::print;
use crate::engine::error::Error;
use crate::engine::options::link;

/// Runs the verb.
pub fn run(invocation: &Invocation) -> Result<(), Error> {
    settings(invocation)?;
    let base = invocation.link.as_deref().map_or("", link::base);
    print(&format!("{base}?{}\n", link::write(&invocation.choices, invocation.template_file.is_some())))
}
