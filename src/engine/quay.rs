//! How Quay's own API (`/api/v1`, as quay.io and every Red Hat Quay have it) is asked.
//!
//! A browser may read this one, and not Quay's `/v2`. One question for a repository tells every active tag with its digest, so an
//! image costs one request. The rules, each read in Quay's source or seen live:
//!
//! * Of browsers it wants `X-Requested-With`, which costs a preflight an address.
//! * The overview holds the 500 newest active tags. A tag that is not among so many has to be asked for by name.
//! * A repository that is private and one that is not there are both a 401; the public ones of a namespace can be listed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::name::{Repository, is_digest, is_tag};
use super::registry::{
    Answer, Ask, Config, Exchange, Form, Found, Manifest, Missing, Server, Step, Trouble, failed, malformed, read_manifest,
    refused,
};
use super::time::rfc2822;
use super::wire::{BODY_LIMIT, Failure, LIST_LIMIT, Request, Response};

/// How many tags an overview holds at most.
const WINDOW: usize = 500;
/// Rows a page; Quay gives no more.
const PAGE: usize = 100;
/// Pages that are read at most.
const PAGES: usize = 200;

/// A tag that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// What it stands for.
    pub digest: String,
    /// Since when, seconds since 1970.
    pub moved_at: Option<u64>,
    /// Until when, for a tag that is to expire.
    pub expires_at: Option<u64>,
}

impl Active {
    /// Whether it is still there at that time, in seconds since 1970.
    pub fn is_alive(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }
}

/// The tags of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// By name.
    pub tags: BTreeMap<String, Active>,
    /// Further tags, whose digests a snapshot does not hold.
    pub others: BTreeSet<String>,
    /// Whether these are all that there are.
    pub whole: bool,
    /// For how many seconds the registry remembers what a tag stood for before.
    pub kept_for: Option<u64>,
}

/// One life of a tag: what it stood for, from when to when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Life {
    /// Seconds since 1970.
    pub start: u64,
    /// None while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    /// What it stood for.
    pub digest: String,
    /// The build's hash that it stood for, where that was known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// The question that shows whether a host speaks this API, and answers for `repository` if it does.
pub fn overview_request(endpoint: &str, repository: &Repository) -> Request {
    request(format!("{endpoint}/api/v1/repository/{}?includeTags=true", repository.path))
}

/// Whether an answer is one that this API gives: JSON with its names.
pub fn speaks(response: &Response) -> bool {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let has = |name: &str| body.get(name).is_some();
    ["error_type", "error_message", "manifest_data", "repositories", "has_additional"].iter().any(|name| has(name))
        || has("name") && (has("tags") || has("namespace"))
}

/// What to do next about `ask`, given all that was exchanged for it, oldest first.
pub fn step(ask: &Ask, server: Server<'_>, exchanged: &[Exchange]) -> Result<Step, Trouble> {
    let base = |repository: &Repository| format!("{}/api/v1/repository/{}", server.endpoint, repository.path);
    let send = |url: String| Ok(Step::Send(request(url)));
    let done = |answer: Answer| Ok(Step::Done(Ok(answer)));
    let last = match exchanged.last() {
        None => None,
        Some(exchange) => Some(exchange.outcome.as_ref().map_err(failed)?),
    };
    match (ask, last) {
        (Ask::Overview { repository }, None) => Ok(Step::Send(overview_request(server.endpoint, repository))),
        (Ask::Overview { .. }, Some(response)) => match response.status {
            200 => done(Answer::Overview(Ok(read_overview(&response.body)?))),
            401 if speaks(response) => done(Answer::Overview(Err(Missing::Hidden))),
            404 if speaks(response) => done(Answer::Overview(Err(Missing::Repository))),
            _ => Err(refused(response)),
        },
        (Ask::Tag { repository, tag: digest, .. } | Ask::Manifest { repository, digest, .. }, None) => {
            send(format!("{}/manifest/{digest}", base(repository)))
        }
        (Ask::Tag { tag, .. }, Some(response)) => match response.status {
            200 => {
                let (digest, manifest) = read_data(&response.body)?;
                match digest == *tag {
                    true => done(Answer::Tag(Ok(Found { digest, form: Form::All, manifest: Some(manifest), moved_at: None }))),
                    false => Err(malformed("the registry answers with another manifest than was asked for")),
                }
            }
            401 if speaks(response) => done(Answer::Tag(Err(Missing::Hidden))),
            404 if speaks(response) => done(Answer::Tag(Err(Missing::Tag))),
            _ => Err(refused(response)),
        },
        (Ask::Manifest { .. }, Some(response)) => match response.status {
            200 => done(Answer::Manifest(read_data(&response.body)?.1)),
            404 if speaks(response) => done(Answer::Manifest(Manifest::Index(None))),
            _ => Err(refused(response)),
        },
        (Ask::Check { repository, tag, .. }, None) => {
            send(format!("{}/tag/?specificTag={tag}&onlyActiveTags=true&limit=1", base(repository)))
        }
        (Ask::Check { tag, .. }, Some(response)) => match response.status {
            200 => {
                let rows = read_page(&response.body)?.0;
                let row = rows.into_iter().find(|row| row.name == *tag);
                done(Answer::Check(row.map(|r| r.digest).ok_or(Missing::Tag)))
            }
            401 if speaks(response) => done(Answer::Check(Err(Missing::Hidden))),
            _ => Err(refused(response)),
        },
        (Ask::Labels { repository, config }, None) => send(format!("{}/manifest/{config}/labels", base(repository))),
        (Ask::Labels { .. }, Some(response)) => match response.status {
            200 => done(Answer::Labels(Config { labels: read_labels(&response.body)?, built_at: None })),
            404 if speaks(response) => done(Answer::Labels(Config::default())),
            _ => Err(refused(response)),
        },
        (Ask::Tags { repository }, _) => {
            let first = format!("{}/tag/?onlyActiveTags=true&limit={PAGE}", base(repository));
            match pages(&first, exchanged)? {
                Err(next) => send(next),
                Ok(rows) => {
                    let rows = rows.into_iter().filter(|r| is_tag(&r.name));
                    let active = |r: RowOf| (r.name, Active { digest: r.digest, moved_at: Some(r.start), expires_at: r.end });
                    done(Answer::Overview(Ok(Overview {
                        tags: rows.map(active).collect(),
                        others: BTreeSet::new(),
                        whole: true,
                        kept_for: None,
                    })))
                }
            }
        }
        (Ask::History { repository, tag }, _) => {
            match pages(&format!("{}/tag/?specificTag={tag}&limit={PAGE}", base(repository)), exchanged)? {
                Err(next) => send(next),
                Ok(rows) => {
                    let lives = rows.into_iter().filter(|r| r.name == *tag);
                    let lives: BTreeSet<Life> =
                        lives.map(|r| Life { start: r.start, end: r.end, digest: r.digest, hash: None }).collect();
                    done(Answer::History(lives.into_iter().rev().collect()))
                }
            }
        }
        (Ask::Repositories { namespace, .. }, _) => repositories_step(server, namespace, exchanged),
        (Ask::Ping { .. }, _) => done(Answer::Ping),
    }
}

fn request(url: String) -> Request {
    let limit = if url.contains("/manifest/") { BODY_LIMIT } else { LIST_LIMIT };
    Request { xhr: true, ..Request::get(url, limit) }
}

fn json(body: &[u8]) -> Result<Value, Trouble> {
    serde_json::from_slice(body).map_err(|_| malformed("Quay's answer is no JSON"))
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// Reads the answer to an overview.
///
/// # Errors
/// What is no JSON, or has no tags. A tag without a digest is nothing that could be pinned, and makes the answer malformed.
pub fn read_overview(body: &[u8]) -> Result<Overview, Trouble> {
    let body = json(body)?;
    let Some(Value::Object(tags)) = body.get("tags") else { return Err(malformed("Quay's answer has no tags")) };
    let mut out = BTreeMap::new();
    for (name, tag) in tags.iter().filter(|(name, _)| is_tag(name)) {
        let digest = text(tag, "manifest_digest").filter(|d| is_digest(d));
        let digest = digest.ok_or_else(|| malformed("Quay tells a tag without a digest"))?;
        let date = |key: &str| text(tag, key).and_then(|t| rfc2822(&t));
        out.insert(name.clone(), Active { digest, moved_at: date("last_modified"), expires_at: date("expiration") });
    }
    let kept_for = body.get("tag_expiration_s").and_then(Value::as_u64);
    Ok(Overview { whole: tags.len() < WINDOW, tags: out, others: BTreeSet::new(), kept_for })
}

/// A row of the list of tags.
struct RowOf {
    name: String,
    digest: String,
    start: u64,
    end: Option<u64>,
}

/// Reads a page of the list of tags, and whether there are more.
fn read_page(body: &[u8]) -> Result<(Vec<RowOf>, bool), Trouble> {
    let body = json(body)?;
    let Some(Value::Array(rows)) = body.get("tags") else { return Err(malformed("Quay's answer has no list of tags")) };
    let row = |row: &Value| {
        let number = |key: &str| row.get(key).and_then(Value::as_u64);
        let digest = text(row, "manifest_digest").filter(|d| is_digest(d))?;
        Some(RowOf { name: text(row, "name")?, digest, start: number("start_ts")?, end: number("end_ts") })
    };
    let rows: Option<Vec<RowOf>> = rows.iter().map(row).collect();
    let more = body.get("has_additional").and_then(Value::as_bool).unwrap_or(false);
    Ok((rows.ok_or_else(|| malformed("Quay tells a tag without name, time or digest"))?, more))
}

/// All rows of a list that is paged by number, or the address of its next page.
fn pages(first: &str, exchanged: &[Exchange]) -> Result<Result<Vec<RowOf>, String>, Trouble> {
    let mut rows: BTreeMap<(std::cmp::Reverse<u64>, String), RowOf> = BTreeMap::new();
    let size: usize = exchanged.iter().filter_map(|e| e.outcome.as_ref().ok()).map(|r| r.body.len()).sum();
    if size > LIST_LIMIT {
        return Err(failed(&Failure::TooLarge(LIST_LIMIT)));
    }
    for (i, exchange) in exchanged.iter().enumerate() {
        let response = exchange.outcome.as_ref().map_err(failed)?;
        if response.status != 200 {
            return Err(refused(response));
        }
        let (page, more) = read_page(&response.body)?;
        // A push while the pages are read shifts rows, so that some come twice.
        rows.extend(page.into_iter().map(|r| ((std::cmp::Reverse(r.start), r.name.clone()), r)));
        if i + 1 == exchanged.len() && !more {
            return Ok(Ok(rows.into_values().collect()));
        }
    }
    match exchanged.len() {
        PAGES.. => Err(malformed("the pages of Quay's list of tags do not come to an end")),
        n => Ok(Err(format!("{first}&page={}", n + 1))),
    }
}

/// Reads `manifest_data`, which is a manifest's own text, and the digest that stands beside it.
///
/// # Errors
/// What is no JSON or no manifest.
pub fn read_data(body: &[u8]) -> Result<(String, Manifest), Trouble> {
    let body = json(body)?;
    let digest =
        text(&body, "digest").filter(|d| is_digest(d)).ok_or_else(|| malformed("Quay tells a manifest without a digest"))?;
    let data = text(&body, "manifest_data").unwrap_or_default().into_bytes();
    Ok((digest, read_manifest(&Response { body: data, ..Response::default() })?.1))
}

/// Reads labels; what the image itself says goes before what was added to it in Quay.
///
/// # Errors
/// What is no JSON or no list.
pub fn read_labels(body: &[u8]) -> Result<BTreeMap<String, String>, Trouble> {
    let body = json(body)?;
    let Some(Value::Array(labels)) = body.get("labels") else { return Err(malformed("Quay's answer has no labels")) };
    let mut out = BTreeMap::new();
    for own in [false, true] {
        let of = labels.iter().filter(|l| (text(l, "source_type").as_deref() == Some("manifest")) == own);
        out.extend(of.filter_map(|l| Some((text(l, "key")?, text(l, "value")?))));
    }
    Ok(out)
}

/// The public repositories of a namespace, a hundred a page.
fn repositories_step(server: Server<'_>, namespace: &str, exchanged: &[Exchange]) -> Result<Step, Trouble> {
    let mut names = BTreeSet::new();
    let mut next = None;
    for exchange in exchanged {
        let response = exchange.outcome.as_ref().map_err(failed)?;
        if response.status != 200 {
            return Err(refused(response));
        }
        let body = json(&response.body)?;
        let Some(Value::Array(list)) = body.get("repositories") else {
            return Err(malformed("Quay's answer has no repositories"));
        };
        names.extend(list.iter().filter_map(|r| text(r, "name")));
        next = text(&body, "next_page");
    }
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let first = format!("{}/api/v1/repository?namespace={}&public=true&repo_kind=image", server.endpoint, encoded(namespace));
    match (exchanged.len(), next) {
        (0, _) => Ok(Step::Send(request(first))),
        (PAGES.., Some(_)) => Err(malformed("the pages of Quay's list of repositories do not come to an end")),
        (_, Some(token)) => Ok(Step::Send(request(format!("{first}&next_page={}", encoded(&token))))),
        (_, None) => Ok(Step::Done(Ok(Answer::Repositories(names)))),
    }
}
