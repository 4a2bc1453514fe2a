//! `overtag list-images`

use super::args::Invocation;
use super::inputs::{files, settings};
use super::{print, say};
use crate::engine::error::{Error, Kind};
use crate::engine::output::{self};
use crate::engine::template::plan::Plan;
use crate::engine::workflow::prepare::check_names;

/// Runs the verb.
pub fn run(invocation: &Invocation) -> Result<(), Error> {
    let settings = settings(invocation)?;
    let plan = Plan::new(&settings, &files(invocation, &settings)?)?;
    for warning in &plan.warnings {
        say(warning);
    }
    check_names(&plan)?;
    if plan.images.is_empty() {
        let hint = "loosen roles, services, include or exclude";
        return Err(Error::new(Kind::No, "no image is left", "", hint));
    }
    print(&output::list(&plan))
}
