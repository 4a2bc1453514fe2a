//! overtag answers one question: which container images, at exactly which tags, does a channel mean right now?
//!
//! ```text
//! bin/web ──► app ──┐
//!                   ├──► net ──► engine     the engine names nothing else of ours, and touches nothing:
//! bin/cli ──► cli ──┘                       no browser, no file, no clock, no network, no async
//! ```
//!
//! Read [`engine`] first: its rooms in the order in which they build on each other, from references of images to the files that are
//! written. Then [`net`], which sends its requests. `cli` has a file for each verb; `app` has `pages`, made of `parts` and `ui`.
//! `tests/layers.rs` holds these arrows.
//!
//! # From a link to a file
//!
//! ```
//! use overtag::engine::demo;
//! use overtag::engine::options::{link, settings::Settings};
//! use overtag::engine::output::{ENVIRONMENT, Outcome, Provenance};
//! use overtag::engine::registry::{auth::Logins, http::Moment};
//! use overtag::engine::resolve::{Facts, Resolver};
//! use overtag::engine::session::{Client, Next, Run};
//! use overtag::engine::template::{Files, plan::Plan};
//! use overtag::engine::time::{Millis, Timestamp};
//!
//! // What a link selects, checked; and the images that the release's template lists for it.
//! let (choices, notices) = link::read("?tag=current-tripleo&include=nova-api");
//! let (settings, wrong) = Settings::new(&choices, false);
//! assert!(notices.is_empty() && wrong.is_empty());
//! let files = Files::default();
//! let plan = Plan::new(&settings, &files)?;
//!
//! // The run says what to send; here the demo's registry answers, which needs no network.
//! let resolver = Resolver::new(settings.clone(), plan.images.clone());
//! let mut run = Run::new(resolver, Client::program(Logins::default()), Facts::default(), None);
//! let moment = Moment { ms: Millis(0), unix: Timestamp(1_496_105_356), random: 0.5 };
//! while let Next::Send(send) = run.next(moment) {
//!     run.deliver(send.id, Ok(demo::respond(&send.request)), moment);
//! }
//!
//! // What is known becomes the Heat environment.
//! let outcome = Outcome::of_run(&settings, &plan, &run);
//! let environment = ENVIRONMENT.write(&outcome, &Provenance::new(&choices, &files, moment.unix));
//! assert!(environment.contains("ContainerNovaApiImage: registry.demo.example/tripleodemo/openstack-nova-api:a078ca61"));
//! # Ok::<(), overtag::engine::error::Error>(())
//! ```

#![deny(missing_docs)]

#[cfg(feature = "web")]
pub mod app;
#[cfg(feature = "cli")]
pub mod cli;
pub mod engine;
#[cfg(any(feature = "cli", feature = "web"))]
pub mod net;
