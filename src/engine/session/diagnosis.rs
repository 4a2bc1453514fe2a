//! Why a browser cannot read a registry, and what its owner can change.
//!
//! A browser does not report to a page why a fetch failed: by design a wrong name, a refused connection, a certificate and a missing CORS
//! header are all the same `TypeError` (<https://github.com/whatwg/fetch/issues/526>). What can be known is worked out here, in a fixed
//! order: the page's own scheme, the browser's word on being offline, what the same host answered before, and last a probe that may
//! see nothing but that something answers.

use crate::engine::registry::{Dialect, RegistryError, Remedy};
use crate::engine::url::{self, Address};
use crate::engine::url::{is_loopback, is_private};

/// What is known when a request failed.
#[derive(Clone, Copy, Debug)]
pub struct FailureEvidence<'a> {
    /// The origin of the page.
    pub page: &'a str,
    /// What was asked.
    pub url: &'a str,
    /// Whether the browser asked leave first.
    pub needs_preflight: bool,
    /// Whether the browser says that it is offline.
    pub offline: bool,
    /// Whether the host answered anything in this run.
    pub answered: bool,
    /// Whether it answered anything that needed leave.
    pub answered_preflighted: bool,
    /// How often this request was tried by now.
    pub tries: u32,
    /// How often one is tried before it is looked into.
    pub patience: u32,
    /// What a probe said: whether something answers.
    pub probed: Option<bool>,
}

/// Why a registry cannot be read from a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A page on https may not ask plain http.
    MixedContent,
    /// There is no network.
    Offline,
    /// Something answers, and does not allow the page to read it.
    CorsOff,
    /// Plain questions are answered, and OPTIONS before a login is not.
    PreflightRefused,
    /// The token service at this origin cannot be read.
    TokenService(String),
    /// It answers 401, and hides what it wants.
    Unexposed,
    /// Nothing answers.
    Unreachable,
    /// Nothing answers, and the browser may have kept the page from the local network.
    LocalNetwork,
}

/// What to do about a request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is known why.
    Verdict(Cause),
    /// The host has answered before: it is overloaded, or the line broke. Slow down and go on.
    Slow,
    /// It may have been chance.
    Retry,
    /// See whether anything answers at all.
    Probe,
}

/// Works it out.
pub fn diagnose(evidence: FailureEvidence<'_>) -> Next {
    let (page, target) = (Address::parse(evidence.page), Address::parse(evidence.url));
    let host = target.map_or("", |a| a.host);
    let is_secure = page.is_some_and(|p| p.scheme == "https");
    if is_secure && target.is_some_and(|a| a.scheme == "http") && !is_local_by_spelling(host) {
        return Next::Verdict(Cause::MixedContent);
    }
    if evidence.offline {
        return Next::Verdict(Cause::Offline);
    }
    if evidence.answered {
        return match (evidence.needs_preflight && !evidence.answered_preflighted, evidence.tries < evidence.patience) {
            (true, true) => Next::Retry,
            (true, false) => Next::Verdict(Cause::PreflightRefused),
            (false, _) => Next::Slow,
        };
    }
    if evidence.tries < evidence.patience {
        return Next::Retry;
    }
    match evidence.probed {
        None => Next::Probe,
        Some(true) => Next::Verdict(Cause::CorsOff),
        Some(false) => Next::Verdict(silence(evidence.page, evidence.url)),
    }
}

/// What it means where nothing answers at all.
pub fn silence(page: &str, url: &str) -> Cause {
    let is_private = |url: &str| Address::parse(url).is_some_and(|a| is_private(a.host));
    if is_private(url) && !is_private(page) { Cause::LocalNetwork } else { Cause::Unreachable }
}

/// Whether a browser sees from the spelling alone that a host is local, and asks for leave in place of calling it mixed content
/// (seen in Chromium 156: loopback, private addresses as numbers, `.local`).
fn is_local_by_spelling(host: &str) -> bool {
    let is_number =
        host.starts_with('[') || host.split(':').next().is_some_and(|h| h.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    let is_local = host.split(':').next().is_some_and(|h| h.trim_end_matches('.').to_ascii_lowercase().ends_with(".local"));
    is_loopback(host) || is_local || is_number && is_private(host)
}

impl Cause {
    /// The cause and what to do, in words; `host` is the registry as it is named.
    pub fn error(&self, host: &str, endpoint: &str) -> RegistryError {
        let origin = url::origin(endpoint);
        let (message, hint) = match self {
            Self::MixedContent => (
                format!("this page is on https and cannot query {origin}, which is not encrypted (mixed content)"),
                "serve the registry on https, or open this page on http".to_owned(),
            ),
            Self::Offline => ("this computer is offline".to_owned(), "connect it and retry".to_owned()),
            Self::CorsOff => (
                format!("{host} answers, but does not allow this page to read it (CORS is not enabled)"),
                "ask its owner to allow it, or use the command line, which needs no browser".to_owned(),
            ),
            Self::PreflightRefused => (
                format!(
                    "{host} requires a login, but refuses the browser's preflight request (the response to OPTIONS has no CORS headers)"
                ),
                "ask its owner to put a proxy in front of it, or use the command line, which needs no browser".to_owned(),
            ),
            Self::TokenService(service) => (
                format!(
                    "{host} requires a token from {service}, which does not allow this page to read it (CORS is not enabled)"
                ),
                "ask its owner to allow it, or use the command line, which needs no browser".to_owned(),
            ),
            Self::Unexposed => (
                format!(
                    "it is private or does not exist, and {host} hides from this page which login it requires (401, WWW-Authenticate is not exposed)"
                ),
                "ask its owner to expose it, or use the command line, which needs no browser".to_owned(),
            ),
            Self::Unreachable => (
                format!("no response from {origin}"),
                "check the name, the port, the certificate and the network, and whether an extension blocks it".to_owned(),
            ),
            Self::LocalNetwork => (
                format!("no response from {origin}, or the browser blocks this page from your local network"),
                "allow local network access for this page in the browser's site settings, and check that the registry is up"
                    .to_owned(),
            ),
        };
        RegistryError { message, hint }
    }

    /// The lines with which the owner of a registry allows this page to read it.
    pub fn remedies(&self, page: &str, dialect: Dialect) -> Vec<Remedy> {
        match self {
            Self::MixedContent | Self::Offline | Self::Unreachable | Self::LocalNetwork => Vec::new(),
            Self::CorsOff if let Some(remedy) = (dialect.cors)(page) => vec![remedy],
            Self::CorsOff => vec![
                Remedy { title: "The registry's config.yml, if it requires no login".to_owned(), lines: registry_lines(page) },
                Remedy { title: "nginx in front of any registry".to_owned(), lines: nginx_lines(page, "/v2/") },
            ],
            Self::PreflightRefused | Self::Unexposed => {
                vec![Remedy { title: "nginx in front of the registry".to_owned(), lines: nginx_lines(page, "/v2/") }]
            }
            Self::TokenService(service) => {
                vec![Remedy { title: format!("nginx in front of the token service {service}"), lines: nginx_lines(page, "/") }]
            }
        }
    }
}

/// The headers that overtag reads beside those that a browser always shows.
const EXPOSED: &str = "Docker-Content-Digest, Link, WWW-Authenticate, Retry-After";
/// The headers that it sends where it must.
const SENT: &str = "Authorization, Accept, X-Requested-With";

/// For `config.yml` of distribution's registry (<https://distribution.github.io/distribution/about/configuration/#headers>).
fn registry_lines(page: &str) -> String {
    format!(
        "http:
  headers:
    Access-Control-Allow-Origin: ['{page}']
    Access-Control-Allow-Methods: ['GET, HEAD, OPTIONS']
    Access-Control-Allow-Headers: ['{SENT}']
    Access-Control-Expose-Headers: ['{EXPOSED}']
    Access-Control-Max-Age: ['86400']
"
    )
}

/// For a `server` of nginx. `always` puts a header on 401, 404 and 429 too; inside `if` none is inherited.
fn nginx_lines(page: &str, path: &str) -> String {
    format!(
        "location {path} {{
  proxy_hide_header Access-Control-Allow-Origin;
  proxy_hide_header Access-Control-Expose-Headers;
  add_header Access-Control-Allow-Origin \"{page}\" always;
  add_header Access-Control-Expose-Headers \"{EXPOSED}\" always;
  if ($request_method = OPTIONS) {{
    add_header Access-Control-Allow-Origin \"{page}\";
    add_header Access-Control-Allow-Methods \"GET, HEAD, OPTIONS\";
    add_header Access-Control-Allow-Headers \"{SENT}\";
    add_header Access-Control-Max-Age 86400;
    return 204;
  }}
  proxy_pass http://127.0.0.1:5000;  # where it listens
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-Proto $scheme;
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGHT: FailureEvidence<'_> = FailureEvidence {
        page: "https://dash.example.org",
        url: "https://registry.example.org/v2/x/manifests/y",
        needs_preflight: false,
        offline: false,
        answered: false,
        answered_preflighted: false,
        tries: 2,
        patience: 2,
        probed: None,
    };

    #[test]
    fn each_evidence_leads_to_its_cause() {
        let verdict = |evidence, cause| assert_eq!(diagnose(evidence), Next::Verdict(cause));
        let plain = "http://registry.example.org/v2/";
        verdict(FailureEvidence { url: plain, offline: true, answered: true, ..SIGHT }, Cause::MixedContent);
        assert_ne!(diagnose(FailureEvidence { url: "http://127.0.0.1:5000/v2/", ..SIGHT }), Next::Verdict(Cause::MixedContent));
        let local = diagnose(FailureEvidence { url: "http://192.168.24.1:8787/v2/", probed: Some(false), ..SIGHT });
        assert_eq!(local, Next::Verdict(Cause::LocalNetwork));
        assert_eq!(diagnose(FailureEvidence { url: plain, page: "http://dash.example.org", ..SIGHT }), Next::Probe);
        verdict(FailureEvidence { offline: true, answered: true, ..SIGHT }, Cause::Offline);
        assert_eq!(diagnose(FailureEvidence { answered: true, ..SIGHT }), Next::Slow);
        assert_eq!(
            diagnose(FailureEvidence { answered: true, needs_preflight: true, answered_preflighted: true, ..SIGHT }),
            Next::Slow
        );
        assert_eq!(diagnose(FailureEvidence { answered: true, needs_preflight: true, tries: 1, ..SIGHT }), Next::Retry);
        verdict(FailureEvidence { answered: true, needs_preflight: true, ..SIGHT }, Cause::PreflightRefused);
        assert_eq!(diagnose(FailureEvidence { tries: 1, ..SIGHT }), Next::Retry);
        assert_eq!(diagnose(SIGHT), Next::Probe);
        verdict(FailureEvidence { probed: Some(true), ..SIGHT }, Cause::CorsOff);
        verdict(FailureEvidence { probed: Some(false), ..SIGHT }, Cause::Unreachable);
        let local = FailureEvidence { probed: Some(false), url: "https://192.168.24.1:8787/v2/", ..SIGHT };
        verdict(local, Cause::LocalNetwork);
        verdict(FailureEvidence { page: "http://localhost:8080", ..local }, Cause::Unreachable);
        assert!(Cause::Unexposed.remedies("https://d.example", Dialect::COMMON)[0].lines.contains("WWW-Authenticate"));
    }
}
