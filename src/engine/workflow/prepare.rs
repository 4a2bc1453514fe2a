//! Queries the images of a plan, for the files that a deployment needs.

use std::sync::Arc;

use crate::engine::error::Error;
use crate::engine::options::settings::{Pin, Settings};
use crate::engine::resolve::{Facts, Resolver};
use crate::engine::session::{Client, Run};
use crate::engine::snapshot::Snapshot;
use crate::engine::template::plan::{Image, Plan};

/// Returns a run that queries all images of a plan, or reads them from a snapshot.
/// [`Outcome::of_run`](crate::engine::output::Outcome::of_run) says what it found out.
///
/// ```
/// use overtag::engine::options::link;
/// use overtag::engine::options::settings::Settings;
/// use overtag::engine::registry::auth::Logins;
/// use overtag::engine::resolve::Facts;
/// use overtag::engine::session::Client;
/// use overtag::engine::template::{Files, plan::Plan};
/// use overtag::engine::workflow::prepare;
///
/// let (choices, _) = link::read("v=1&release=demo");
/// let (settings, _) = Settings::new(&choices, false);
/// let plan = Plan::new(&settings, &Files::default())?;
/// prepare::check_names(&plan)?;
/// let run = prepare::start(&settings, &plan, Client::program(Logins::default()), Facts::default(), None);
/// assert!(!run.is_done());
/// # Ok::<(), overtag::engine::error::Error>(())
/// ```
pub fn start(settings: &Settings, plan: &Plan, client: Client, facts: Facts, snapshot: Option<Arc<Snapshot>>) -> Run {
    Run::new(Resolver::new(settings.clone(), plan.images.clone()), client, facts, snapshot)
}

/// Returns a run that finds the exact tag of one image by its label, whatever its tag is.
pub fn start_discovery(
    mut settings: Settings,
    image: Image,
    client: Client,
    facts: Facts,
    snapshot: Option<Arc<Snapshot>>,
) -> Run {
    settings.pin = vec![Pin::Label];
    Run::new(Resolver::discovering(settings, image), client, facts, snapshot)
}

/// Checks that a registry can be queried for each image.
///
/// # Errors
/// The template or its substitutions make a name that is not the name of an image.
pub fn check_names(plan: &Plan) -> Result<(), Error> {
    match plan.images.iter().find_map(|i| Some((i, i.reference.as_ref().err()?))) {
        Some((image, why)) => {
            let message = format!("this is not the name of an image: {why}");
            Err(Error::template(message, image.imagename.as_str(), "correct the template or the substitutions"))
        }
        None => Ok(()),
    }
}
