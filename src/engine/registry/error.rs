//! Why a question has no answer: what refusals and failures of a registry mean.

use crate::engine::error::clean;
use crate::engine::json::{self, shape};
use crate::engine::registry::http::{Failure, Response};

/// Why a question has no answer: nothing may be concluded from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryError {
    /// What happened, as a sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

shape! {
    /// The body of an error (<https://distribution.github.io/distribution/spec/api/#errors>).
    struct ErrorBody {
        errors: Vec<FirstError> = "errors",
    }
}

shape! {
    /// One error of it.
    struct FirstError {
        /// `MANIFEST_UNKNOWN`, …
        code: String = "code",
        /// For people.
        message: String = "message",
        detail: Detail = "detail",
    }
}

shape! {
    /// What an error is about.
    struct Detail {
        tag: String = "Tag",
    }
}

/// Returns the first error of a body, an empty one where there is none.
fn first_error(response: &Response) -> FirstError {
    let body = json::read::<ErrorBody>(&response.body);
    body.and_then(|body| body.errors?.into_iter().next()).unwrap_or_default()
}

/// The first code of an error body, as distribution writes it.
pub fn error_code(response: &Response) -> Option<String> {
    first_error(response).code
}

/// Whether an error names the tag as the thing that is unknown: `"detail":{"Tag":"…"}`, which distribution says before it looks at
/// any manifest (<https://github.com/distribution/distribution>, `registry/handlers/manifests.go`; measured with 2.8.2).
pub fn names_tag(response: &Response, tag: &str) -> bool {
    first_error(response).detail.and_then(|detail| detail.tag).as_deref() == Some(tag)
}

/// Whether a refusal stays, however often it is asked again, and is about what was asked for alone.
pub fn is_final(status: u16) -> bool {
    matches!(status, 401 | 403 | 404 | 405 | 410 | 501)
}

/// What Quay's proxy-cache organisations answer for any failure of their upstream, be it a rate limit, an outage or a time-out:
/// `MANIFEST_UNKNOWN`, and at the end of the message what the upstream said, in brackets. Only `(404)` means that there is no such tag
/// (<https://github.com/quay/quay>, `data/registry_model/registry_proxy_model.py` and `proxy/__init__.py`).
///
/// # Errors
/// Such a failure.
pub fn upstream_failure(response: &Response) -> Result<(), RegistryError> {
    let FirstError { code, message, .. } = first_error(response);
    let message = message.unwrap_or_default();
    let message = message.trim_end_matches('.');
    let detail = message.strip_suffix(')').and_then(|m| m.rsplit_once('(')).map_or("", |(_, detail)| detail);
    let is_status = detail.len() == 3 && detail.bytes().all(|b| b.is_ascii_digit());
    let is_of_upstream = message.contains("upstream registry") || is_status;
    if code.as_deref() != Some("MANIFEST_UNKNOWN") || !is_of_upstream || detail == "404" {
        return Ok(());
    }
    let said = if is_status { format!("returned {detail}") } else { "could not be queried".to_owned() };
    let message = format!("the registry is a proxy, and its upstream registry {said}");
    Err(RegistryError { message, hint: "wait a little and retry".to_owned() })
}

/// The status of a refusal and its code, where it has one.
pub fn status_and_code(response: &Response) -> String {
    match error_code(response) {
        Some(code) => format!("{} {}", response.status, clean(&code).chars().take(60).collect::<String>()),
        None => response.status.to_string(),
    }
}

/// An answer that cannot be read; `what` as a sentence without a full stop.
pub fn malformed(message: &str) -> RegistryError {
    RegistryError { message: message.to_owned(), hint: "ask the registry's owner; a proxy may be in front of it".to_owned() }
}

/// What a refusal means (the codes are those of distribution's specification).
pub fn refused(response: &Response) -> RegistryError {
    let code = error_code(response).unwrap_or_default();
    let status = response.status;
    let (message, hint) = match (status, code.as_str()) {
        (401 | 403, _) => (
            "it is private or does not exist: the registry does not say which",
            "log in if it is private (--authfile on the command line), else check the namespace",
        ),
        (429, _) => ("rate limited by the registry", "wait a little and retry"),
        (408 | 500.., _) => ("the registry returned an error", "wait a little and retry"),
        (_, "NAME_INVALID") => ("the registry rejects the repository name", "check namespace, prefix and suffix"),
        (_, "TAG_INVALID" | "MANIFEST_INVALID") => ("the registry rejects the tag", "check the tag"),
        (_, "PAGINATION_NUMBER_INVALID") => {
            ("the registry does not return the list of tags in pages", "ask the registry's owner")
        }
        (400, _) => ("the registry rejects the request", "check the name and the tag"),
        _ => ("the registry returned an unexpected response", "check the endpoint: is this a registry?"),
    };
    // HEAD has no body and so no code: without it both refusals read alike.
    let code: String = match status {
        401 | 403 => String::new(),
        _ if code.is_empty() => code,
        _ => format!(" {}", clean(&code).chars().take(60).collect::<String>()),
    };
    RegistryError { message: format!("{message} ({status}{code})"), hint: hint.to_owned() }
}

/// What a failure means.
pub fn failed(failure: &Failure) -> RegistryError {
    let (message, hint) = match failure {
        Failure::Network(why) => (
            format!("the registry could not be reached ({})", clean(why)),
            "check the network, the host's name and, in a browser, whether the registry allows this page (CORS)",
        ),
        Failure::Timeout => ("the registry timed out".to_owned(), "retry"),
        Failure::TooLarge(limit) => {
            (format!("the response is larger than {} MiB", limit >> 20), "check the endpoint: is this a registry?")
        }
        Failure::Offline => ("this computer is offline".to_owned(), "connect it and retry"),
        Failure::RedirectRefused(why) => (format!("redirect refused: {why}"), "ask the registry's owner"),
        Failure::Cancelled => ("cancelled".to_owned(), "retry"),
    };
    RegistryError { message, hint: hint.to_owned() }
}
