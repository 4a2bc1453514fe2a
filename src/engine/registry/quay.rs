//! How Quay's own API (`/api/v1`, as quay.io and every Red Hat Quay have it) is asked.
//!
//! A browser may read this one, and not Quay's `/v2`. One question for a repository reports every active tag with its digest, so an
//! image costs one request. The rules, each read in Quay's source or seen live:
//!
//! * Of browsers it wants `X-Requested-With`, which costs a preflight an address.
//! * The overview holds the 500 newest active tags. A tag that is not among so many has to be asked for by name.
//! * A repository that is private and one that is not there are both a 401; the public ones of a namespace can be listed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::engine::image::digest::Digest;
use crate::engine::image::reference::Repository;
use crate::engine::image::tag::is_tag;
use crate::engine::json::{self, Anything, FromJson, Pairs, shape};
use crate::engine::registry::dialect::{Api, Capabilities, Dialect, Exchange, Remedy, Server, Step};
use crate::engine::registry::error::{RegistryError, failed, malformed, refused};
use crate::engine::registry::http::{BODY_LIMIT, Failure, LIST_LIMIT, Request, Response};
use crate::engine::registry::manifest::{Config, Form, Manifest, read_manifest};
use crate::engine::registry::query::{Active, Answer, Checked, Found, NotFound, Overview, Query, TagPeriod};
use crate::engine::time::{Timestamp, rfc2822};
use std::time::Duration;

/// How many tags an overview holds at most.
const WINDOW: usize = 500;
/// Rows a page; Quay gives no more.
const PAGE: usize = 100;
/// Rows that a page has in common with the one before: so many may be deleted in between.
const OVERLAP: usize = 10;
/// How often a list is begun again whose pages do not fit together.
const PASSES: usize = 3;
/// Pages that are read at most.
const PAGES: usize = 200;

/// Quay's own API.
pub const DIALECT: Dialect = Dialect(&Api {
    name: "quay",
    capabilities: Capabilities {
        lists_digests: true,
        has_tag_history: true,
        labels_by_manifest: true,
        private_looks_missing: true,
        limits_host: true,
    },
    // quay.io's own nginx lets 5 a second through, and 25 in a burst; a preflight counts too.
    requests: |_| (6, 12),
    is_named: |host| host.starts_with("quay."),
    step,
    detect: overview_request,
    speaks,
    check: |endpoint, repository| list_request(endpoint, repository.split_first().0),
    cors: |page| Some(Remedy { title: "Quay's config.yaml".to_owned(), lines: format!("CORS_ORIGIN:\n  - {page}\n") }),
});

/// The question that shows whether a host speaks this API, and answers for `repository` if it does.
fn overview_request(endpoint: &str, repository: &Repository) -> Request {
    request(format!("{endpoint}/api/v1/repository/{}?includeTags=true", repository.path))
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The request for the public repositories of a namespace.
fn list_request(endpoint: &str, namespace: &str) -> Request {
    request(format!("{endpoint}/api/v1/repository?namespace={}&public=true&repo_kind=image", encoded(namespace)))
}

/// Whether an answer is one that this API gives: JSON with its names.
fn speaks(response: &Response) -> bool {
    let Pairs(body) = json::read::<Pairs<Anything>>(&response.body).unwrap_or_default();
    let has = |name: &str| body.iter().any(|(key, _)| key == name);
    // Where nobody may read it without a login it says no more than `error`.
    let is_closed = response.status == 401 && has("error");
    is_closed
        || ["error_type", "error_message", "manifest_data", "repositories", "has_additional"].iter().any(|name| has(name))
        || has("name") && (has("tags") || has("namespace"))
}

fn step(query: &Query, server: Server<'_>, exchanged: &[Exchange]) -> Result<Step, RegistryError> {
    let base = |repository: &Repository| format!("{}/api/v1/repository/{}", server.endpoint, repository.path);
    let send = |url: String| Ok(Step::Send(request(url)));
    let done = |answer: Answer| Ok(Step::Done(Ok(answer)));
    let last = match exchanged.last() {
        None => None,
        Some(exchange) => Some(exchange.outcome.as_ref().map_err(failed)?),
    };
    match (query, last) {
        (Query::Overview { repository }, None) => Ok(Step::Send(overview_request(server.endpoint, repository))),
        (Query::Overview { .. }, Some(response)) => done(overview_answer(response)?),
        (Query::Tag { repository, tag: digest, .. }, None) => send(format!("{}/manifest/{digest}", base(repository))),
        (Query::Manifest { repository, digest, .. }, None) => send(format!("{}/manifest/{digest}", base(repository))),
        (Query::Tag { tag: digest, .. }, Some(response)) => done(digest_answer(digest, response)?),
        (Query::Manifest { .. }, Some(response)) => match response.status {
            200 => done(Answer::Manifest(read_data(&response.body)?.1)),
            404 if speaks(response) => done(Answer::Manifest(Manifest::Index(None))),
            _ => Err(refused(response)),
        },
        (Query::Check { repository, tag, .. }, None) => {
            send(format!("{}/tag/?specificTag={tag}&onlyActiveTags=true&limit=1", base(repository)))
        }
        (Query::Check { tag, .. }, Some(response)) => done(check_answer(tag, response)?),
        (Query::Labels { repository, config }, None) => send(format!("{}/manifest/{config}/labels", base(repository))),
        (Query::Labels { .. }, Some(response)) => done(labels_answer(response)?),
        (Query::Tags { repository }, _) => {
            match pages(&format!("{}/tag/?onlyActiveTags=true&limit={PAGE}", base(repository)), exchanged)? {
                Err(next) => send(next),
                Ok(rows) => done(Answer::Overview(Ok(overview_of(rows)))),
            }
        }
        (Query::History { repository, tag }, _) => {
            match pages(&format!("{}/tag/?specificTag={tag}&limit={PAGE}", base(repository)), exchanged)? {
                Err(next) => send(next),
                Ok(rows) => {
                    let period = |r: TagRow| Some(TagPeriod { start: r.start_ts, end: r.end_ts, digest: r.digest?, hash: None });
                    done(Answer::History(rows.into_iter().filter(|r| r.name == *tag).filter_map(period).collect()))
                }
            }
        }
        (Query::Repositories { namespace, .. }, _) => repositories_step(server, namespace, exchanged),
        (Query::Ping { .. }, _) => done(Answer::Ping),
    }
}

fn overview_answer(response: &Response) -> Result<Answer, RegistryError> {
    match response.status {
        200 => Ok(Answer::Overview(Ok(read_overview(&response.body)?))),
        401 if speaks(response) => Ok(Answer::Overview(Err(NotFound::PrivateOrMissing))),
        404 if speaks(response) => Ok(Answer::Overview(Err(NotFound::Repository))),
        _ => Err(refused(response)),
    }
}

/// Whether a digest is there, which an image may name in place of a tag.
fn digest_answer(digest: &str, response: &Response) -> Result<Answer, RegistryError> {
    match response.status {
        200 => match read_data(&response.body)? {
            (is, manifest) if is == *digest => {
                Ok(Answer::Tag(Ok(Found { digest: is, form: Form::All, manifest: Some(manifest), moved_at: None })))
            }
            _ => Err(malformed("the registry returned a different manifest than requested")),
        },
        401 if speaks(response) => Ok(Answer::Tag(Err(NotFound::PrivateOrMissing))),
        404 if speaks(response) => Ok(Answer::Tag(Err(NotFound::Tag))),
        _ => Err(refused(response)),
    }
}

fn check_answer(tag: &str, response: &Response) -> Result<Answer, RegistryError> {
    match response.status {
        200 => {
            let rows = read_page(&response.body)?.0;
            match rows.into_iter().filter(|row| row.name == tag).max_by_key(|row| row.start_ts) {
                None => Ok(Answer::Check(Err(NotFound::Tag))),
                Some(TagRow { digest: Some(digest), start_ts, .. }) => {
                    Ok(Answer::Check(Ok(Checked { digest, moved_at: Some(start_ts) })))
                }
                Some(_) => Err(malformed("Quay lists the tag without its digest")),
            }
        }
        401 if speaks(response) => Ok(Answer::Check(Err(NotFound::PrivateOrMissing))),
        _ => Err(refused(response)),
    }
}

fn labels_answer(response: &Response) -> Result<Answer, RegistryError> {
    match response.status {
        200 => {
            let (labels, only_added) = read_labels(&response.body)?;
            Ok(Answer::Labels(Config { labels, only_added, built_at: None }))
        }
        404 if speaks(response) => Ok(Answer::Labels(Config::default())),
        _ => Err(refused(response)),
    }
}

/// All tags of a repository, of rows that stand newest first.
fn overview_of(rows: Vec<TagRow>) -> Overview {
    let mut out = Overview { whole: true, ..Overview::default() };
    // Oldest first: of a tag that is listed twice the newest counts.
    for row in rows.into_iter().rev().filter(|r| is_tag(&r.name)) {
        out.tags.remove(&row.name);
        out.undigested.remove(&row.name);
        match row.digest {
            Some(digest) => _ = out.tags.insert(row.name, Active { digest, moved_at: Some(row.start_ts) }),
            None => _ = out.undigested.insert(row.name),
        }
    }
    out
}

fn request(url: String) -> Request {
    let limit = if url.contains("/manifest/") { BODY_LIMIT } else { LIST_LIMIT };
    Request { xhr: true, ..Request::get(url, limit) }
}

fn read_body<T: FromJson + Default>(body: &[u8]) -> Result<T, RegistryError> {
    json::read(body).ok_or_else(|| malformed("Quay's response is not JSON"))
}

shape! {
    /// `/api/v1/repository/NS/NAME?includeTags=true` (<https://docs.quay.io/api/swagger/>).
    struct RepositoryBody {
        /// By name, the newest 500 rows.
        tags: Pairs<ListedTag> = "tags",
        /// Seconds for which it remembers what a tag pointed to before.
        tag_expiration_s: u64 = "tag_expiration_s",
    }
}

shape! {
    /// A tag of it.
    struct ListedTag {
        /// None at an old Quay.
        manifest_digest: Digest = "manifest_digest",
        /// `Sat, 30 May 2026 00:49:16 -0000`.
        last_modified: String = "last_modified",
        /// When the tag is removed; none where it stays.
        expiration: Anything = "expiration",
    }
}

shape! {
    /// `…/tag/`: a page of the list of tags, newest first.
    struct TagsBody {
        tags: Vec<ListedRow> = "tags",
        has_additional: bool = "has_additional",
    }
}

shape! {
    /// A row of it: a tag, from when to when it pointed to a digest.
    struct ListedRow {
        name: String = "name",
        /// None at an old Quay.
        manifest_digest: Digest = "manifest_digest",
        start_ts: u64 = "start_ts",
        /// None while it lasts.
        end_ts: u64 = "end_ts",
    }
}

shape! {
    /// `…/manifest/DIGEST`.
    struct ManifestBody {
        digest: Digest = "digest",
        /// The manifest's own text.
        manifest_data: String = "manifest_data",
    }
}

shape! {
    /// `…/manifest/DIGEST/labels`.
    struct LabelsBody {
        labels: Vec<LabelRow> = "labels",
    }
}

shape! {
    /// A label of it.
    struct LabelRow {
        key: String = "key",
        value: String = "value",
        /// `manifest` for the image's own, `api` for what people added.
        source_type: String = "source_type",
    }
}

shape! {
    /// `/api/v1/repository?namespace=NS`: a page of the public repositories.
    struct RepositoriesBody {
        repositories: Vec<RepositoryRow> = "repositories",
        next_page: String = "next_page",
    }
}

shape! {
    /// A repository of it.
    struct RepositoryRow {
        name: String = "name",
    }
}

/// Reads the answer to an overview. What it lists is there, whatever it says of expirations: these are in the server's local time.
///
/// # Errors
/// What is not JSON, or has no tags. A tag without a digest (Quay 3.3 reports some) is one of which no more is known.
pub fn read_overview(body: &[u8]) -> Result<Overview, RegistryError> {
    let RepositoryBody { tags, tag_expiration_s } = read_body(body)?;
    let Pairs(tags) = tags.ok_or_else(|| malformed("Quay's response has no tags"))?;
    let mut out = Overview { kept_for: tag_expiration_s.map(Duration::from_secs), ..Overview::default() };
    // It holds up to 500 rows, of which a tag may have two (quay#4966); so fewer than half as many names are all that there are.
    out.whole = 2 * tags.len() < WINDOW;
    out.all_expire = !tags.is_empty();
    for (name, tag) in tags {
        out.all_expire &= tag.expiration.is_some();
        match tag.manifest_digest {
            _ if !is_tag(&name) => {}
            Some(digest) => {
                let moved_at = tag.last_modified.and_then(|text| rfc2822(&text));
                out.tags.insert(name, Active { digest, moved_at });
            }
            None => _ = out.undigested.insert(name),
        }
    }
    Ok(out)
}

/// A tag, from when to when it pointed to a digest.
#[derive(Clone)]
struct TagRow {
    name: String,
    /// None at an old Quay.
    digest: Option<Digest>,
    start_ts: Timestamp,
    end_ts: Option<Timestamp>,
}

impl ListedRow {
    /// Returns what it says, or `None` without name or time.
    fn read(self) -> Option<TagRow> {
        let (start_ts, end_ts) = (Timestamp(self.start_ts?), self.end_ts.map(Timestamp));
        Some(TagRow { name: self.name?, digest: self.manifest_digest, start_ts, end_ts })
    }
}

impl TagRow {
    fn key(&self) -> (String, Timestamp, Option<Digest>) {
        (self.name.clone(), self.start_ts, self.digest.clone())
    }
}

/// Reads a page of the list of tags, and whether there are more.
fn read_page(body: &[u8]) -> Result<(Vec<TagRow>, bool), RegistryError> {
    let TagsBody { tags, has_additional } = read_body(body)?;
    let rows = tags.ok_or_else(|| malformed("Quay's response has no list of tags"))?.into_iter().map(ListedRow::read).collect();
    let rows: Option<Vec<TagRow>> = rows;
    Ok((rows.ok_or_else(|| malformed("Quay lists a tag without name or time"))?, has_additional.unwrap_or(false)))
}

/// Which page to ask for.
#[derive(Clone, Copy)]
struct Page {
    /// Rows a page.
    limit: usize,
    /// Its number, from 1.
    number: usize,
}

impl Page {
    const FIRST: Self = Self { limit: PAGE, number: 1 };

    /// The place behind its last row.
    fn end(self) -> usize {
        self.limit * self.number
    }

    /// The page that goes on behind this one and begins with at least [`OVERLAP`] of its last rows: of all sizes and numbers the one
    /// that leads furthest.
    fn next(self) -> Self {
        let from = self.end() - OVERLAP;
        let page = |limit: usize| Self { limit, number: from / limit + 1 };
        (1..=PAGE).map(page).max_by_key(|page| page.end()).unwrap_or(Self::FIRST)
    }

    fn address(self, first: &str) -> String {
        match self.number {
            1 => first.to_owned(),
            number => format!("{}&limit={}&page={number}", first.trim_end_matches(&format!("&limit={PAGE}")), self.limit),
        }
    }
}

/// All rows of a list that is paged by number, newest first, or the address of its next page. `first` is the address of the first.
///
/// Between two pages rows may come and go. One that is pushed moves the others down, so that some come twice; one that is deleted moves them
/// up, and one that is set again goes to the front. So that none is missed pages overlap, and at the end the first one is read again; where
/// the rows of before do not show, all is read again.
fn pages(first: &str, exchanged: &[Exchange]) -> Result<Result<Vec<TagRow>, String>, RegistryError> {
    #[derive(Clone, Copy)]
    enum Want {
        Go(Page),
        Again,
    }
    let mut rows: Vec<TagRow> = Vec::new();
    let mut places: HashMap<(String, Timestamp, Option<Digest>), usize> = HashMap::new();
    let (mut want, mut before, mut first_keys, mut passes) = (Want::Go(Page::FIRST), HashSet::new(), HashSet::new(), 1);
    let size: usize = exchanged.iter().filter_map(|e| e.outcome.as_ref().ok()).map(|r| r.body.len()).sum();
    if size > LIST_LIMIT {
        return Err(failed(&Failure::TooLarge(LIST_LIMIT)));
    }
    for exchange in exchanged {
        let response = exchange.outcome.as_ref().map_err(failed)?;
        if response.status != 200 {
            return Err(refused(response));
        }
        let (page, more) = read_page(&response.body)?;
        if page.len() > PAGE {
            return Err(malformed("Quay returned more tags per page than requested"));
        }
        let keys: Vec<_> = page.iter().map(TagRow::key).collect();
        let shows = |of: &HashSet<_>| keys.iter().any(|key| of.contains(key));
        let is_first = matches!(want, Want::Go(Page { number: 1, .. }));
        let is_gap = match want {
            Want::Go(_) => !is_first && !shows(&before),
            Want::Again => !shows(&first_keys),
        };
        if is_gap {
            passes += 1;
            if passes > PASSES {
                return Err(malformed("the tags change faster than their pages can be read"));
            }
            (rows, places, want) = (Vec::new(), HashMap::new(), Want::Go(Page::FIRST));
            continue;
        }
        let known = rows.len();
        for (row, key) in page.into_iter().zip(&keys) {
            match places.get(key).filter(|place| **place < known) {
                // What is read later knows better whether it has ended.
                Some(place) => rows[*place] = row,
                // Two lives of a second on one page are two.
                None => {
                    places.insert(key.clone(), rows.len());
                    rows.push(row);
                }
            }
        }
        before = keys.into_iter().collect();
        if is_first {
            first_keys.clone_from(&before);
        }
        want = match want {
            Want::Go(page) if more => Want::Go(page.next()),
            Want::Go(page) if page.number > 1 => Want::Again,
            _ => {
                // Newest first; of one second those that ended come last.
                rows.sort_by_key(|r| (Reverse(r.start_ts), r.end_ts.is_some(), Reverse(r.end_ts)));
                return Ok(Ok(rows));
            }
        };
    }
    match (exchanged.len(), want) {
        (PAGES.., _) => Err(malformed("the pages of Quay's list of tags do not end")),
        (_, Want::Go(page)) => Ok(Err(page.address(first))),
        (_, Want::Again) => Ok(Err(Page::FIRST.address(first))),
    }
}

/// Reads `manifest_data`, which is a manifest's own text, and the digest that stands beside it.
///
/// # Errors
/// What is neither JSON nor a manifest.
pub fn read_data(body: &[u8]) -> Result<(Digest, Manifest), RegistryError> {
    let ManifestBody { digest, manifest_data } = read_body(body)?;
    let digest = digest.ok_or_else(|| malformed("Quay returned a manifest without a digest"))?;
    let data = manifest_data.unwrap_or_default().into_bytes();
    Ok((digest, read_manifest(&Response { body: data, ..Response::default() })?.1))
}

/// Reads labels, and whether none is the image's own; what it says itself goes before what was added to it in Quay.
///
/// # Errors
/// What is neither JSON nor a list.
pub fn read_labels(body: &[u8]) -> Result<(BTreeMap<String, String>, bool), RegistryError> {
    let LabelsBody { labels } = read_body(body)?;
    let labels = labels.ok_or_else(|| malformed("Quay's response has no labels"))?;
    let is_own = |label: &&LabelRow| label.source_type.as_deref() == Some("manifest");
    let only_added = !labels.iter().any(|label| is_own(&label));
    let (own, added): (Vec<&LabelRow>, Vec<&LabelRow>) = labels.iter().partition(is_own);
    let pair = |label: &LabelRow| Some((label.key.clone()?, label.value.clone()?));
    Ok((added.into_iter().chain(own).filter_map(pair).collect(), only_added))
}

/// The public repositories of a namespace, a hundred a page.
fn repositories_step(server: Server<'_>, namespace: &str, exchanged: &[Exchange]) -> Result<Step, RegistryError> {
    let mut names = BTreeSet::new();
    let mut next = None;
    for exchange in exchanged {
        let response = exchange.outcome.as_ref().map_err(failed)?;
        if response.status != 200 {
            return Err(refused(response));
        }
        let body: RepositoriesBody = read_body(&response.body)?;
        let repositories = body.repositories.ok_or_else(|| malformed("Quay's response has no repositories"))?;
        names.extend(repositories.into_iter().filter_map(|repository| repository.name));
        next = body.next_page;
    }
    let first = list_request(server.endpoint, namespace);
    match (exchanged.len(), next) {
        (0, _) => Ok(Step::Send(first)),
        (PAGES.., Some(_)) => Err(malformed("the pages of Quay's list of repositories do not end")),
        (_, Some(token)) => Ok(Step::Send(request(format!("{}&next_page={}", first.url, encoded(&token))))),
        (_, None) => Ok(Step::Done(Ok(Answer::Repositories(names)))),
    }
}
