//! Requests and responses as plain data, and which of them are worth another try.

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

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Headers alone.
    Head,
    /// Headers and body.
    Get,
}

impl Method {
    /// As it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Head => "HEAD",
            Self::Get => "GET",
        }
    }
}

/// One HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// HEAD or GET.
    pub method: Method,
    /// The whole address.
    pub url: String,
    /// The Accept header; none where any type will do.
    pub accept: Option<&'static str>,
    /// Bytes of the body that are read at most.
    pub limit: usize,
}

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`, without parameters, in lower case.
    pub content_type: String,
    /// `Docker-Content-Digest`, where it can be read.
    pub digest: Option<String>,
    /// `Link`, where it can be read.
    pub link: Option<String>,
    /// `Retry-After`, where it can be read.
    pub retry_after: Option<String>,
    /// The body; empty for HEAD.
    pub body: Vec<u8>,
}

impl Response {
    /// The headers that are looked at, in the spelling of a look-up.
    pub const HEADERS: [&'static str; 4] = ["content-type", "docker-content-digest", "link", "retry-after"];

    /// Takes a header by its lower-case name.
    pub fn set_header(&mut self, name: &str, value: &str) {
        match name {
            "content-type" => {
                self.content_type = value.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
            }
            "docker-content-digest" => self.digest = Some(value.trim().to_owned()),
            "link" => self.link = Some(value.to_owned()),
            "retry-after" => self.retry_after = Some(value.trim().to_owned()),
            _ => {}
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or one that broke; with what the client knows of it.
    Network(String),
    /// No answer in time.
    Timeout,
    /// The answer is larger than the request's limit, in bytes.
    TooLarge(usize),
    /// Somebody pressed Cancel.
    Cancelled,
}

/// How long to wait before trying again, or none where another try is of no use.
///
/// `tried` counts from 1; `random` is in 0..1 (full jitter, so that many clients do not come back at once); `now` is in seconds
/// since 1970, for a `Retry-After` that is a date. A longer `Retry-After` counts as 60 s.
pub fn wait(tried: u32, outcome: &Result<Response, Failure>, random: f64, now: u64) -> Option<Duration> {
    if tried >= TRIES {
        return None;
    }
    let backoff = Duration::from_millis((500.0 * f64::from(1 << tried.min(6)) * (0.5 + random / 2.0)) as u64);
    match outcome {
        Ok(response) if matches!(response.status, 408 | 429 | 500 | 502 | 503 | 504) => {
            let told = response.retry_after.as_deref().and_then(|text| retry_after(text, now));
            Some(told.map_or(backoff, |d| d.min(IMAGE_LIMIT)))
        }
        Err(Failure::Network(_) | Failure::Timeout) => Some(backoff / 2),
        _ => None,
    }
}

/// `Retry-After` as a number of seconds or as an HTTP date (RFC 9110, 10.2.3).
fn retry_after(text: &str, now: u64) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let date = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(Duration::from_secs(now)))
}
