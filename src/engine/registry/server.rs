//! What is known of a registry, and how a question to it goes on.

use crate::engine::registry::error::RegistryError;
use crate::engine::registry::http::{Failure, Request, Response};
use crate::engine::registry::manifest::Form;
use crate::engine::registry::query::Answer;

/// Which API a host is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `/v2/`, which every registry speaks.
    Distribution,
    /// Quay's own, in [`quay`](super::quay).
    Quay,
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
