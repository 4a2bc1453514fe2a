//! How registries are queried: queries and answers as plain data.
//!
//! [`step`] looks at what was exchanged for a [`Query`] so far, and says what to send next, or the answer. It holds no state, so every
//! path is tested with plain data. Each API is a file and a row of [`DIALECTS`]: [`distribution`] for `/v2/`, which every registry
//! has, and [`quay`]. No other room names one: they ask for its [`Capabilities`].
//!
//! ```
//! use overtag::engine::image::reference::Reference;
//! use overtag::engine::registry::{Caller, Dialect, Query, Server, Step, step};
//!
//! let repository = Reference::parse("registry.example/tripleo/nova-api").unwrap().repository;
//! let query = Query::Tags { repository };
//! let endpoint = "https://registry.example";
//! let server = Server { endpoint, dialect: Dialect::COMMON, caller: Caller::Native, hides_digest: false, form: None };
//! let Step::Send(request) = step(&query, server, &[]) else { panic!("nothing was exchanged yet") };
//! assert!(request.url.starts_with("https://registry.example/v2/tripleo/nova-api/tags/list"));
//! ```

pub mod auth;
pub mod dialect;
pub mod distribution;
pub mod error;
pub mod http;
pub mod manifest;
pub mod quay;
pub mod query;
pub mod redirect;
pub mod tag_list;
pub mod token;

pub use dialect::{Api, Caller, Capabilities, Dialect, Exchange, Remedy, Server, Step};
pub use error::RegistryError;
pub use manifest::{Config, Form, Manifest};
pub use query::{Active, Answer, Checked, Found, NotFound, Overview, Query, TagPeriod};

/// Every API, in the order in which a host is tried by them. The first is the one that every registry speaks.
pub const DIALECTS: [Dialect; 2] = [distribution::DIALECT, quay::DIALECT];

impl Dialect {
    /// The API that every registry speaks.
    pub const COMMON: Self = DIALECTS[0];

    /// The API with that word for `api=`.
    pub fn named(name: &str) -> Option<Self> {
        DIALECTS.into_iter().find(|dialect| dialect.name == name)
    }

    /// The API to try after this one and `tried` others; none after the last.
    pub fn next(self, tried: usize) -> Option<Self> {
        let own = DIALECTS.iter().position(|dialect| *dialect == self)?;
        (tried < DIALECTS.len() - 1).then(|| DIALECTS[(own + tried + 1) % DIALECTS.len()])
    }
}

/// What to do next about `query`, given all that was exchanged for it, oldest first.
pub fn step(query: &Query, server: Server<'_>, exchanged: &[Exchange]) -> Step {
    (server.dialect.step)(query, server, exchanged).unwrap_or_else(|error| Step::Done(Err(error)))
}
