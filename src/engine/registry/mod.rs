//! How registries are asked: questions and answers as plain data.
//!
//! An [`Query`] is one question. [`step`] looks at what was exchanged for it so far, and says what to send next, or the answer. It holds
//! no state, so every path is tested with plain data. Each API is a file: [`distribution`] for `/v2/`, which every registry has, and
//! [`quay`].

pub mod auth;
pub mod distribution;
pub mod error;
pub mod http;
pub mod manifest;
pub mod quay;
pub mod query;
pub mod redirect;
pub mod server;
pub mod tag_list;

pub use error::RegistryError;
pub use manifest::{Config, Form, Manifest};
pub use query::{Active, Answer, Checked, Found, NotFound, Overview, Query, TagPeriod};
pub use server::{Caller, Dialect, Exchange, Server, Step};

/// What to do next about `ask`, given all that was exchanged for it, oldest first.
pub fn step(query: &Query, server: Server<'_>, exchanged: &[Exchange]) -> Step {
    let outcome = match server.dialect {
        Dialect::Quay => quay::step(query, server, exchanged),
        Dialect::Distribution => distribution::step(query, server, exchanged),
    };
    outcome.unwrap_or_else(|trouble| Step::Done(Err(trouble)))
}
