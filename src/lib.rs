//! overtag answers one question: which container images, at exactly which tags, does a channel mean right now?
//!
//! ```text
//! bin/web ──► app ──┐
//!                   ├──► net ──► engine     engine points at nothing of ours, and touches nothing:
//! bin/cli ──► cli ──┘                       no browser, no file, no clock, no network, no async
//! ```
//!
//! `tests/layers.rs` holds these arrows.

#![deny(missing_docs)]

#[cfg(feature = "web")]
pub mod app;
#[cfg(feature = "cli")]
pub mod cli;
pub mod engine;
#[cfg(any(feature = "cli", feature = "web"))]
pub mod net;
