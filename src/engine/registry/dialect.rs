//! What an API of registries has to offer, and what it is given for a query.

use std::ops::Deref;

use crate::engine::image::reference::Repository;
use crate::engine::registry::error::RegistryError;
use crate::engine::registry::http::{Failure, Request, Response};
use crate::engine::registry::manifest::Form;
use crate::engine::registry::query::{Answer, Query};

/// What a registry's API can do beyond answering for one tag.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// One query for a repository lists its tags with their digests ([`Query::Overview`], and all of them [`Query::Tags`]).
    pub lists_digests: bool,
    /// It reports what a tag pointed to before ([`Query::History`]).
    pub has_tag_history: bool,
    /// It keeps labels by the digest of a manifest, not of a config ([`Query::Labels`]).
    pub labels_by_manifest: bool,
    /// It reports a private repository as one that is missing, and so asks for no login; it takes no user and password.
    pub private_looks_missing: bool,
    /// It counts all requests to a host together, and a page cannot read its "too many requests".
    pub limits_host: bool,
}

impl Capabilities {
    /// What a snapshot can do, which has all answers at once.
    pub const SNAPSHOT: Self = Self {
        lists_digests: true,
        has_tag_history: true,
        labels_by_manifest: true,
        private_looks_missing: true,
        limits_host: false,
    };
}

/// One API by which registries are queried. Each is a file of this room, and a row of [`DIALECTS`](super::DIALECTS).
#[derive(Debug)]
pub struct Api {
    /// Its word for `api=`.
    pub name: &'static str,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How many requests are in flight at once, to begin with and at most.
    pub requests: fn(Caller) -> (usize, usize),
    /// Whether a host's name says that it speaks this.
    pub is_named: fn(&str) -> bool,
    /// What to send next for a query, given all that was exchanged for it, oldest first; or the answer.
    pub step: fn(&Query, Server<'_>, &[Exchange]) -> Result<Step, RegistryError>,
    /// The request that shows whether the host at an endpoint speaks this.
    pub detect: fn(&str, &Repository) -> Request,
    /// Whether an answer to it is one of this API.
    pub speaks: fn(&Response) -> bool,
    /// A request that any host in order answers, whatever is wrong with the repository.
    pub check: fn(&str, &Repository) -> Request,
    /// What the owner of a registry has to configure so that the page of an origin may read it; none where that depends on what is
    /// in front of it.
    pub cors: fn(&str) -> Option<Remedy>,
}

/// The API by which a host is queried.
#[derive(Clone, Copy, Debug)]
pub struct Dialect(pub &'static Api);

impl Deref for Dialect {
    type Target = Api;
    fn deref(&self) -> &Api {
        self.0
    }
}

impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Dialect {}

/// Lines for somebody to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// Where they go.
    pub title: String,
    /// The lines.
    pub lines: String,
}

/// Who asks: a browser must keep clear of preflights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A page.
    Browser,
    /// A program.
    Native,
}

impl Caller {
    /// In which forms it asks in turn, where `first` is what served a repository's manifests before.
    pub fn forms(self, first: Option<Form>) -> Vec<Form> {
        match self {
            Self::Browser => first.into_iter().chain([Form::Docker, Form::Oci]).collect(),
            Self::Native => vec![Form::All],
        }
    }
}

/// One request and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What was sent.
    pub request: Request,
    /// What came back.
    pub outcome: Result<Response, Failure>,
    /// How often it was sent.
    pub tries: u32,
}

/// What comes next for a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This is to be sent.
    Send(Request),
    /// The question is answered, or will not be.
    Done(Result<Answer, RegistryError>),
}

/// What is known of a registry before a question: where it is, who asks, and whether HEAD reported digests so far.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// The address of the API, without `/v2/`.
    pub endpoint: &'a str,
    /// By which API.
    pub dialect: Dialect,
    /// Who asks.
    pub caller: Caller,
    /// Set once a HEAD came back without a digest that can be read: from then on GET is asked at once.
    pub hides_digest: bool,
    /// In which form the repository served its manifests before, other than docker's: that one is asked first.
    pub form: Option<Form>,
}
