//! Requests and responses as plain data, and when what failed is worth another try.

use crate::engine::image::digest::Digest;
use crate::engine::time::{Millis, Timestamp};
use std::fmt;
use std::time::Duration;

/// Bytes of a manifest or config that are read at most.
pub const BODY_LIMIT: usize = 4 << 20;
/// Bytes of a list of tags that are read at most.
pub const LIST_LIMIT: usize = 16 << 20;
/// How often one request is tried.
pub const TRIES: u32 = 4;
/// The longest that an image takes in all, waits included.
pub const IMAGE_LIMIT: Duration = Duration::from_secs(60);
/// The longest that one try takes.
pub const TRY_LIMIT: Duration = Duration::from_secs(20);
/// The longest that a probe takes.
pub const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Headers alone.
    Head,
    /// Headers and body.
    Get,
    /// As GET, with a form in the request: a token for a refresh token.
    Post,
    /// Whether anything answers there, even if a page may not read it: a browser's `no-cors`. Its response has no status.
    Probe,
}

impl Method {
    /// As it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Head => "HEAD",
            Self::Get | Self::Probe => "GET",
            Self::Post => "POST",
        }
    }
}

/// What must not be shown: a password, a token.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` to itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// One HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How it is asked.
    pub method: Method,
    /// The whole address.
    pub url: String,
    /// The Accept header; none where any type will do.
    pub accept: Option<&'static str>,
    /// The Authorization header.
    pub authorization: Option<Secret>,
    /// What is posted, as `application/x-www-form-urlencoded`.
    pub form: Option<Secret>,
    /// Whether `X-Requested-With` is sent, which Quay wants of browsers.
    pub xhr: bool,
    /// Bytes of the body that are read at most.
    pub limit: usize,
}

impl Request {
    /// A plain GET.
    pub fn get(url: String, limit: usize) -> Self {
        Self { method: Method::Get, url, accept: None, authorization: None, form: None, xhr: false, limit }
    }

    /// Whether a browser asks leave first, by OPTIONS. All of our `Accept` headers are short enough not to need it.
    pub fn needs_preflight(&self) -> bool {
        self.authorization.is_some() || self.xhr
    }
}

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`, without parameters, in lower case.
    pub content_type: String,
    /// `Docker-Content-Digest`, where it can be read.
    pub digest: Option<Digest>,
    /// `Link`, where it can be read.
    pub link: Option<String>,
    /// `Retry-After`, where it can be read.
    pub retry_after: Option<String>,
    /// `WWW-Authenticate`, where it can be read.
    pub challenge: Option<String>,
    /// The body; empty for HEAD.
    pub body: Vec<u8>,
}

impl Response {
    /// The headers that are looked at, in the spelling of a look-up.
    pub const HEADERS: [&'static str; 5] = ["content-type", "docker-content-digest", "link", "retry-after", "www-authenticate"];

    /// Takes a header by its lower-case name.
    pub fn set_header(&mut self, name: &str, value: &str) {
        match name {
            "content-type" => {
                self.content_type = value.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
            }
            "docker-content-digest" => self.digest = Digest::parse(value.trim()),
            "link" => self.link = Some(value.to_owned()),
            "retry-after" => self.retry_after = Some(value.trim().to_owned()),
            "www-authenticate" => self.challenge = Some(value.to_owned()),
            _ => {}
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or one that broke; with what the client knows of it. A browser knows nothing, and says the same of an answer
    /// that the page may not read.
    Network(String),
    /// The browser says that this computer has no network.
    Offline,
    /// No answer in time.
    Timeout,
    /// The answer is larger than the request's limit, in bytes.
    TooLarge(usize),
    /// The server sent us where it has no business to send us: how.
    RedirectRefused(String),
    /// Somebody pressed Cancel.
    Cancelled,
}

/// The parameter at the beginning of `text`, as headers have them: its name, its value (quoted or bare) where there is a `=`, and what
/// follows. A bare value ends at one of `ends`. None where there is no name.
pub fn parameter<'a>(text: &'a str, ends: &[char]) -> Option<(&'a str, Option<String>, &'a str)> {
    let end = text.find(|c| ends.contains(&c) || matches!(c, '=' | '"')).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    let blank = [' ', '\t'];
    let Some(value) = after.trim_start_matches(blank).strip_prefix('=') else { return Some((name, None, after)) };
    let value = value.trim_start_matches(blank);
    let Some(quoted) = value.strip_prefix('"') else {
        let (bare, after) = value.split_at(value.find(ends).unwrap_or(value.len()));
        return Some((name, Some(bare.to_owned()), after));
    };
    let (mut out, mut chars) = (String::new(), quoted.char_indices());
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Some((name, Some(out), &quoted[i + 1..])),
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            c => out.push(c),
        }
    }
    Some((name, Some(out), ""))
}

/// A point in time, as the driver of a run sees it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Milliseconds since any beginning.
    pub ms: Millis,
    /// Now, by the clock of the machine.
    pub unix: Timestamp,
    /// In 0..1: waits are spread by it, so that many clients do not come back at once.
    pub random: f64,
}

/// The wait after the `tried`th failure, from 1: about half a second, then twice as long each time.
pub fn backoff(tried: u32, random: f64) -> Duration {
    Duration::from_millis((500.0 * f64::from(1 << (tried.max(1) - 1).min(4)) * (0.5 + random / 2.0)) as u64)
}

/// Whether what failed may pass by itself: overload, trouble, a line that broke.
pub fn is_transient(outcome: &Result<Response, Failure>) -> bool {
    match outcome {
        Ok(response) => matches!(response.status, 408 | 429 | 500 | 502 | 503 | 504),
        Err(failure) => matches!(failure, Failure::Network(_) | Failure::Timeout),
    }
}

/// `Retry-After` as a number of seconds or as an HTTP date (RFC 9110, 10.2.3); `unix` is now.
///
/// ```
/// use overtag::engine::registry::http::retry_after;
/// use overtag::engine::time::Timestamp;
/// assert_eq!(retry_after("12", Timestamp(0)).map(|d| d.as_secs()), Some(12));
/// assert_eq!(retry_after("Thu, 01 Jan 1970 00:01:40 GMT", Timestamp(88)).map(|d| d.as_secs()), Some(12));
/// assert_eq!(retry_after("soon", Timestamp(0)), None);
/// ```
pub fn retry_after(text: &str, unix: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let date = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(Duration::from_secs(unix.0)))
}
