//! How an ordinary distribution registry (<https://distribution.github.io/distribution/spec/api/>) is asked.
//!
//! An [`Ask`] is one question; [`step`] looks at what was exchanged for it so far and says what to send next, or the answer. It
//! holds no state, so every path is tested with plain data. The rules, each from what registries were seen to do:
//!
//! * A browser sends an `Accept` of up to 128 bytes without a CORS preflight; all four types together are longer. So a browser asks
//!   for docker's pair first, and only on 404 or 400 for OCI's: the other order makes distribution answer with one platform's child.
//!   Of a repository that was seen to serve OCI it asks for that kind and docker's list, which is as safe ([`Form::OciImage`]).
//! * HEAD where it can be, for it costs no body and counts as no pull; GET where a server refuses HEAD or its digest cannot be read.
//! * "Absent" is the registry's own word: a code in the body, or 404 to a second form of the question. All else is a [`Trouble`].
//!   A page believes the code of one form alone where the body names the tag: distribution does so of a tag that it does not know
//!   (`ErrTagUnknown`), and not of one in a form that was not asked for.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::clean;
use super::guard;
use super::name::{Repository, is_digest};
use super::quay::{self, Life, Overview};
use super::tag_list::{Page, TagList};
use super::time;
use super::wire::{BODY_LIMIT, Failure, LIST_LIMIT, Method, Request, Response, parameter};

/// Which API a host is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `/v2/`, which every registry speaks.
    Distribution,
    /// Quay's own, in [`quay`].
    Quay,
}

/// Manifest types: docker's image and list, OCI's image and index.
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's first form, signed; its digest is that of the text that was signed.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// An `Accept` header: which family of manifests a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Docker's list and image: 110 bytes.
    Docker,
    /// OCI's index and image: 82 bytes.
    Oci,
    /// Docker's list and OCI's image: 100 bytes. What is neither is answered with 404 or, an image of docker's, in schema 1, and so
    /// never taken for the other.
    OciImage,
    /// Docker's list and OCI's index: 97 bytes, and as safe.
    OciIndex,
    /// All four, and docker's schema 1 last: for clients that know no preflight.
    All,
}

impl Form {
    fn accept(self) -> &'static str {
        match self {
            Self::Docker => {
                "application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.docker.distribution.manifest.v2+json"
            }
            Self::Oci => "application/vnd.oci.image.index.v1+json,application/vnd.oci.image.manifest.v1+json",
            Self::OciImage => {
                "application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.oci.image.manifest.v1+json"
            }
            Self::OciIndex => "application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.oci.image.index.v1+json",
            Self::All => {
                "application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.docker.distribution.manifest.v2+json,\
                 application/vnd.oci.image.index.v1+json,application/vnd.oci.image.manifest.v1+json,\
                 application/vnd.docker.distribution.manifest.v1+prettyjws"
            }
        }
    }

    fn holds(self, media_type: &str) -> bool {
        self.accept().split(',').any(|t| t == media_type)
    }

    /// The form in which a page asks first where manifests of this type were served; docker's where there is none.
    pub fn first(media_type: &str) -> Option<Self> {
        match media_type {
            OCI_IMAGE => Some(Self::OciImage),
            OCI_INDEX => Some(Self::OciIndex),
            _ => None,
        }
    }

    /// The form to which a digest belongs that was told in answer to this one: docker's or OCI's.
    fn family(self, media_type: &str) -> Self {
        match (self, media_type) {
            (Self::All, _) => Self::All,
            (_, OCI_IMAGE | OCI_INDEX) => Self::Oci,
            _ => Self::Docker,
        }
    }
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
    fn forms(self, first: Option<Form>) -> Vec<Form> {
        match self {
            Self::Browser => first.into_iter().chain([Form::Docker, Form::Oci]).collect(),
            Self::Native => vec![Form::All],
        }
    }
}

/// One question to a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// What a tag stands for; with its manifest, where that is wanted too.
    Tag {
        /// Whose tag.
        repository: Repository,
        /// Its name.
        tag: String,
        /// Whether the manifest is wanted.
        manifest: bool,
    },
    /// The digest of a tag, only to be compared with one of the same form.
    Check {
        /// Whose tag.
        repository: Repository,
        /// Its name.
        tag: String,
        /// The form in which the digest to compare with was given.
        form: Form,
    },
    /// A manifest by its digest.
    Manifest {
        /// Whose.
        repository: Repository,
        /// Which.
        digest: String,
        /// In which form it is known to be served.
        form: Form,
    },
    /// The labels in an image's config.
    Labels {
        /// Whose.
        repository: Repository,
        /// The digest of the config.
        config: String,
    },
    /// All tags.
    Tags {
        /// Whose.
        repository: Repository,
    },
    /// The tags and their digests, as many as one answer holds: Quay alone.
    Overview {
        /// Whose.
        repository: Repository,
    },
    /// The lives of a tag, newest first: Quay alone.
    History {
        /// Whose tag.
        repository: Repository,
        /// Its name.
        tag: String,
    },
    /// The public repositories of a namespace: Quay alone.
    Repositories {
        /// The host.
        host: String,
        /// The namespace on it.
        namespace: String,
    },
    /// Whether this is a registry at all, which only matters where it says 404 without a code.
    Ping {
        /// The host.
        host: String,
    },
}

impl Ask {
    /// The repository that it is about; none for a question to the host.
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Tag { repository, .. }
            | Self::Check { repository, .. }
            | Self::Manifest { repository, .. }
            | Self::Labels { repository, .. }
            | Self::Tags { repository }
            | Self::Overview { repository }
            | Self::History { repository, .. } => Some(repository),
            Self::Repositories { .. } | Self::Ping { .. } => None,
        }
    }

    /// The host that is asked.
    pub fn host(&self) -> &str {
        match self {
            Self::Repositories { host, .. } | Self::Ping { host } => host,
            other => other.repository().map_or("", |r| &r.host),
        }
    }
}

/// What a tag stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The digest of the manifest, or of the list or index where there is one: that is the identity of a tag.
    pub digest: String,
    /// The form in which it was served.
    pub form: Form,
    /// The manifest, where it was read.
    pub manifest: Option<Manifest>,
    /// Since when, seconds since 1970, where the registry tells.
    pub moved_at: Option<u64>,
}

/// A manifest, less what nobody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image: the digest of its config.
    Image(String),
    /// A list or index: the child whose labels are read, if there is one, and the form in which it is served.
    Index(Option<(String, Form)>),
    /// Docker's schema 1, which holds its config itself.
    Labelled(Config),
}

/// What an image's config says that is of use here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether none of them is of the image itself: Quay also keeps those that people add to a manifest or a list in its page.
    pub only_added: bool,
    /// When it was built, seconds since 1970, where that is told.
    pub built_at: Option<u64>,
}

/// The registry's own word that there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The repository is there, the tag is not.
    Tag,
    /// There is no such repository.
    Repository,
    /// Every form of the question was answered with 404, but without a code: absent if this is a registry ([`Ask::Ping`]).
    Silent,
    /// It is private or not there, and the registry does not say which: absent if the namespace is public and does not list it
    /// ([`Ask::Repositories`]).
    Hidden,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Tag`].
    Tag(Result<Found, Missing>),
    /// To [`Ask::Check`]: the digest, where there is such a tag in that form.
    Check(Result<Checked, Missing>),
    /// To [`Ask::Manifest`].
    Manifest(Manifest),
    /// To [`Ask::Labels`].
    Labels(Config),
    /// To [`Ask::Tags`].
    Tags(Result<TagList, Missing>),
    /// To [`Ask::Overview`], and to [`Ask::Tags`] where digests come with them.
    Overview(Result<Overview, Missing>),
    /// To [`Ask::History`], newest first.
    History(Vec<Life>),
    /// To [`Ask::Repositories`]: their names in the namespace.
    Repositories(BTreeSet<String>),
    /// To [`Ask::Ping`]: it is a registry.
    Ping,
    /// To [`Ask::Tags`] or [`Ask::Labels`]: the registry does not give this, whoever retries; what needs none of it can go on.
    Refused(Trouble),
}

/// What a tag stands for, and no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The digest of its manifest, list or index.
    pub digest: String,
    /// When it was pushed, seconds since 1970, where the registry tells.
    pub moved_at: Option<u64>,
}

impl Checked {
    fn new(digest: String) -> Self {
        Self { digest, moved_at: None }
    }
}

/// Why a question has no answer: nothing may be concluded from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened, as a sentence without a full stop.
    pub what: String,
    /// What to do about it.
    pub cure: String,
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
    Done(Result<Answer, Trouble>),
}

/// What is known of a registry before a question: where it is, who asks, and whether HEAD told digests so far.
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

/// What to do next about `ask`, given all that was exchanged for it, oldest first.
pub fn step(ask: &Ask, server: Server<'_>, exchanged: &[Exchange]) -> Step {
    let outcome = match ask {
        _ if server.dialect == Dialect::Quay => quay::step(ask, server, exchanged),
        Ask::Tag { repository, tag, manifest } => tag_step(server, repository, tag, *manifest, exchanged),
        Ask::Check { repository, tag, form } => check_step(server, repository, tag, *form, exchanged),
        Ask::Manifest { repository, digest, form } => by_digest(server, repository, digest, Some(*form), exchanged),
        Ask::Labels { repository, config } => by_digest(server, repository, config, None, exchanged),
        Ask::Tags { repository } => tags_step(server, repository, exchanged),
        Ask::Ping { .. } => ping_step(server, exchanged),
        Ask::Overview { .. } | Ask::History { .. } | Ask::Repositories { .. } => {
            Err(Trouble { what: "only Quay tells this".to_owned(), cure: "ask a Quay".to_owned() })
        }
    };
    match outcome {
        Ok(step) => step,
        Err(trouble) => Step::Done(Err(trouble)),
    }
}

fn manifest_request(server: Server<'_>, repository: &Repository, reference: &str, method: Method, form: Form) -> Request {
    let url = format!("{}/v2/{}/manifests/{reference}", server.endpoint, repository.path);
    Request { method, accept: Some(form.accept()), ..Request::get(url, BODY_LIMIT) }
}

fn answer(answer: Answer) -> Result<Step, Trouble> {
    Ok(Step::Done(Ok(answer)))
}

fn tag_step(
    server: Server<'_>,
    repository: &Repository,
    tag: &str,
    wants_manifest: bool,
    exchanged: &[Exchange],
) -> Result<Step, Trouble> {
    let forms = server.caller.forms(server.form);
    let send = |method, form| Ok(Step::Send(manifest_request(server, repository, tag, method, form)));
    let tried = |form: Form| exchanged.iter().any(|e| e.request.accept == Some(form.accept()));
    let Some(last) = exchanged.last() else {
        let method = if wants_manifest || server.hides_digest { Method::Get } else { Method::Head };
        return send(method, forms[0]);
    };
    let form = forms.iter().copied().find(|f| last.request.accept == Some(f.accept())).unwrap_or(forms[0]);
    let other = forms.iter().copied().find(|f| !tried(*f));
    let response = last.outcome.as_ref().map_err(failed)?;
    match (last.request.method, response.status) {
        (Method::Head, 200) => match &response.digest {
            Some(digest) if form.holds(&response.content_type) && is_digest(digest) => {
                let form = form.family(&response.content_type);
                answer(Answer::Tag(Ok(Found { digest: digest.clone(), form, manifest: None, moved_at: None })))
            }
            _ => send(Method::Get, form),
        },
        (Method::Get, 200) => {
            let (media_type, manifest) = read_manifest(response)?;
            // Schema 1 comes whatever was asked for, where nothing else is stored, and where docker's image was not asked for.
            if !form.holds(&media_type)
                && let Some(other) = forms.iter().copied().find(|f| (f.holds(&media_type) || form != Form::Docker) && !tried(*f))
            {
                return send(Method::Get, other);
            }
            let digest = checked_digest(response)?;
            answer(Answer::Tag(Ok(Found { digest, form: form.family(&media_type), manifest: Some(manifest), moved_at: None })))
        }
        (method, status @ (400 | 404)) => {
            upstream_failure(response)?;
            let code = error_code(response);
            match code.as_deref() {
                Some("NAME_UNKNOWN") => return answer(Answer::Tag(Err(Missing::Repository))),
                Some("MANIFEST_UNKNOWN") if names_tag(response, tag) => return answer(Answer::Tag(Err(Missing::Tag))),
                _ => {}
            }
            if let Some(other) = other {
                return send(Method::Get, other);
            }
            match (method, code.as_deref(), status) {
                // A HEAD has no body, so it cannot say what is missing.
                (Method::Head, ..) if exchanged.iter().all(|e| e.request.method == Method::Head) => send(Method::Get, form),
                (_, Some("MANIFEST_UNKNOWN" | "TAG_EXPIRED"), _) => answer(Answer::Tag(Err(Missing::Tag))),
                (_, _, 404) if exchanged.len() < 2 => send(Method::Head, form),
                (_, _, 404) if all_missing(exchanged) => answer(Answer::Tag(Err(Missing::Silent))),
                _ => Err(refused(response)),
            }
        }
        (Method::Head, status) if refuses_head(status) => send(Method::Get, form),
        _ => Err(refused(response)),
    }
}

/// Whether a status may be about HEAD alone, so that GET is worth a try.
fn refuses_head(status: u16) -> bool {
    status == 501 || (status < 500 && !matches!(status, 401 | 403 | 408 | 429))
}

/// Whether every form of the question was answered with 404.
fn all_missing(exchanged: &[Exchange]) -> bool {
    exchanged.iter().all(|e| matches!(&e.outcome, Ok(r) if r.status == 404))
}

fn check_step(
    server: Server<'_>,
    repository: &Repository,
    tag: &str,
    form: Form,
    exchanged: &[Exchange],
) -> Result<Step, Trouble> {
    let send = |method| Ok(Step::Send(manifest_request(server, repository, tag, method, form)));
    let Some(last) = exchanged.last() else {
        return send(if server.hides_digest { Method::Get } else { Method::Head });
    };
    let response = last.outcome.as_ref().map_err(failed)?;
    match (last.request.method, response.status) {
        (Method::Head, 200) => match &response.digest {
            Some(digest) if is_digest(digest) => answer(Answer::Check(Ok(Checked::new(digest.clone())))),
            _ => send(Method::Get),
        },
        (Method::Get, 200) => {
            read_manifest(response)?;
            answer(Answer::Check(Ok(Checked::new(checked_digest(response)?))))
        }
        // What is there in another form has another digest, so that here it counts as missing.
        (Method::Get, 400 | 404) => {
            upstream_failure(response)?;
            match (error_code(response).as_deref(), response.status) {
                (Some("NAME_UNKNOWN"), _) => answer(Answer::Check(Err(Missing::Repository))),
                (Some("MANIFEST_UNKNOWN" | "TAG_EXPIRED" | "MANIFEST_INVALID"), _) => answer(Answer::Check(Err(Missing::Tag))),
                (_, 404) => answer(Answer::Check(Err(Missing::Silent))),
                _ => Err(refused(response)),
            }
        }
        (Method::Head, status) if refuses_head(status) => send(Method::Get),
        _ => Err(refused(response)),
    }
}

/// What is stored under its own digest: a manifest in a form, or a config.
fn by_digest(
    server: Server<'_>,
    repository: &Repository,
    digest: &str,
    form: Option<Form>,
    exchanged: &[Exchange],
) -> Result<Step, Trouble> {
    let Some(last) = exchanged.last() else {
        return Ok(Step::Send(match form {
            Some(form) => manifest_request(server, repository, digest, Method::Get, form),
            None => Request::get(format!("{}/v2/{}/blobs/{digest}", server.endpoint, repository.path), BODY_LIMIT),
        }));
    };
    let response = last.outcome.as_ref().map_err(failed)?;
    if response.status == 404 {
        upstream_failure(response)?;
    }
    if form.is_some() && response.status == 404 && error_code(response).as_deref() == Some("MANIFEST_UNKNOWN") {
        // A platform of a list may be gone; that is no trouble of the image, it only has no labels to read.
        return answer(Answer::Manifest(Manifest::Index(None)));
    }
    if form.is_none() && is_final(response.status) {
        let what = format!("the registry does not give the image's config ({})", told(response));
        return answer(Answer::Refused(Trouble { what, cure: "ask whoever runs the registry".to_owned() }));
    }
    if response.status != 200 {
        return Err(refused(response));
    }
    if content_digest(&response.body) != digest {
        return Err(malformed("the registry sent something else than what has this digest"));
    }
    match form {
        Some(_) => answer(Answer::Manifest(read_manifest(response)?.1)),
        None => answer(Answer::Labels(read_config(&response.body)?)),
    }
}

/// `/v2/` answers 200 or, where a login is wanted, 401, on whatever speaks this protocol.
fn ping_step(server: Server<'_>, exchanged: &[Exchange]) -> Result<Step, Trouble> {
    let Some(last) = exchanged.last() else {
        return Ok(Step::Send(Request::get(format!("{}/v2/", server.endpoint), BODY_LIMIT)));
    };
    let response = last.outcome.as_ref().map_err(failed)?;
    match response.status {
        200 | 401 => answer(Answer::Ping),
        _ => Err(refused(response)),
    }
}

/// Tags a page that are asked for; a server may give fewer.
const PAGE: usize = 1000;
/// Pages that are read at most.
const PAGES: usize = 200;

/// How the next page of a list of tags was come by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// It is the first one.
    First,
    /// `Link` names it.
    Link,
    /// There is no `Link` that can be read: behind the last tag, in case there is one that cannot.
    Guess,
    /// There is a `Link`, and what it names is not served: behind the last tag of the page before.
    Last,
}

/// All tags, page by page. Where pages had a `Link` one without is the last (Quay up to 3.11 has tokens in it, and knows no `last=`). Where
/// the first page has none it is the last one too, as the specification has it and crane and skopeo read it; but a browser may not see a
/// `Link`, and a proxy may drop it, so what comes behind the last tag is asked for once. In what order tags come is not looked at.
fn tags_step(server: Server<'_>, repository: &Repository, exchanged: &[Exchange]) -> Result<Step, Trouble> {
    let base = format!("{}/v2/{}/tags/list", server.endpoint, repository.path);
    let in_pages = !matches!(exchanged.first().map(|e| &e.outcome), Some(Ok(r)) if matches!(r.status, 400 | 413));
    let first = if in_pages { format!("{base}?n={PAGE}") } else { base.clone() };
    let pages: Vec<&Response> = exchanged.iter().filter_map(|e| e.outcome.as_ref().ok()).filter(|r| r.status == 200).collect();
    if pages.iter().map(|r| r.body.len()).sum::<usize>() > LIST_LIMIT {
        return Err(failed(&Failure::TooLarge(LIST_LIMIT)));
    }
    // How each page was come by; what the last one says decides.
    let (mut by, mut has_link) = (By::First, false);
    let mut last: Option<&Exchange> = None;
    for (i, exchange) in exchanged.iter().enumerate() {
        if let Some(Exchange { request, outcome: Ok(response), .. }) = last {
            by = match linked(response, &request.url) {
                _ if response.status != 200 && by == By::First => By::First,
                _ if response.status != 200 || by == By::Last => By::Last,
                Some(Ok(url)) if url == exchange.request.url => By::Link,
                Some(_) => By::Last,
                None => By::Guess,
            };
        } else if i > 0 {
            by = By::Last;
        }
        has_link |= matches!(&exchange.outcome, Ok(response) if response.link.is_some());
        last = Some(exchange);
    }
    let send = |url: String| match exchanged.len() {
        PAGES.. => incomplete(&pages, "its pages do not come to an end"),
        _ => Ok(Step::Send(Request::get(url, LIST_LIMIT))),
    };
    // Behind the last tag of the newest page, whatever was asked for since.
    let behind = || -> Result<Step, Trouble> {
        let tags = pages.last().map_or(Ok(TagList::default()), |page| read_tags(page))?;
        let n = if in_pages { format!("n={PAGE}&") } else { String::new() };
        send(format!("{base}?{n}last={}", tags.iter().next_back().unwrap_or_default()))
    };
    let whole = || {
        let lists = pages.iter().map(|page| read_tags(page)).collect::<Result<Vec<_>, _>>()?;
        answer(Answer::Tags(Ok(TagList::merged(lists))))
    };
    let Some(last) = last else { return send(first) };
    let response = match &last.outcome {
        Ok(response) if response.status == 200 => response,
        // Some servers refuse a page that large; without n they give what they like.
        Ok(response) if exchanged.len() == 1 && matches!(response.status, 400 | 413) => return send(first),
        Ok(response) if by == By::First => return no_tags(response),
        // The page is not where the registry said. Of a list of which a page was read nothing is absent.
        _ if by == By::Link => return behind(),
        Ok(response) if matches!(response.status, 408 | 429 | 500..) => return Err(refused(response)),
        // A program sees a `Link` where there is one; so a server that knows no `last=` has no pages, unless its first one is full.
        Ok(_) if by == By::Guess && server.caller == Caller::Native && read_tags(pages[0])?.len() < PAGE => return whole(),
        Ok(response) => return incomplete(&pages, &format!("it answers {} for the next page", told(response))),
        Err(failure) => return Err(failed(failure)),
    };
    let brings_none = || -> Result<bool, Trouble> {
        let before = pages.len().checked_sub(2).map_or(Ok(TagList::default()), |i| read_tags(pages[i]))?;
        let (known, tags): (HashSet<&str>, _) = (before.iter().collect(), read_tags(response)?);
        Ok(tags.iter().all(|tag| known.contains(tag)))
    };
    match linked(response, &last.request.url) {
        Some(_) if by == By::Last && brings_none()? => {
            incomplete(&pages, "its next page is not served, and what comes behind the last tag is the same again")
        }
        Some(_) if by == By::Last => behind(),
        Some(Ok(url)) if exchanged.iter().any(|e| e.request.url == url) => incomplete(&pages, "its pages lead in a circle"),
        Some(Ok(url)) => send(url),
        Some(Err(_)) => behind(),
        None if has_link || brings_none()? => whole(),
        None => behind(),
    }
}

/// The address of the next page, where `Link` names one; `Link` may name other relations alone.
fn linked(response: &Response, current: &str) -> Option<Result<String, Trouble>> {
    next_page(response.link.as_deref()?, current).transpose()
}

/// What the first answer to the question for a list means, where it is no list.
fn no_tags(response: &Response) -> Result<Step, Trouble> {
    if response.status == 404 && error_code(response).as_deref() == Some("NAME_UNKNOWN") {
        return answer(Answer::Tags(Err(Missing::Repository)));
    }
    if !is_final(response.status) {
        return Err(refused(response));
    }
    let what = format!("the registry does not give the list of tags ({})", told(response));
    answer(Answer::Refused(Trouble {
        what,
        cure: "ask for a tag by its name, or by pin=digest; log in if a login may help".to_owned(),
    }))
}

/// A list that could not be read to its end, but for these pages.
fn incomplete(pages: &[&Response], why: &str) -> Result<Step, Trouble> {
    let read: usize = pages.iter().map(|page| read_tags(page).map_or(0, |tags| tags.len())).sum();
    let what = format!("the list of tags could not be read to its end, but for {read} of them: {why}");
    answer(Answer::Refused(Trouble { what, cure: "ask whoever runs the registry; a proxy may stand before it".to_owned() }))
}

/// The tags of one page.
fn read_tags(response: &Response) -> Result<TagList, Trouble> {
    let read = serde_json::from_slice::<Page>(&response.body).map(Page::into_tags);
    read.map_err(|e| malformed(if e.is_data() { "`tags` is not a list" } else { "the list of tags is not JSON" }))
}

/// The address of `rel="next"` among the links of a `Link` header (RFC 8288), as seen from `current`; none where there is no such
/// link.
///
/// # Errors
/// A next page on another host: nobody is sent there, and the list without it would not be whole.
pub fn next_page(link: &str, current: &str) -> Result<Option<String>, Trouble> {
    let (mut rest, mut next) = (link, None);
    while let Some((target, after)) = rest.split_once('<').and_then(|(_, r)| r.split_once('>')) {
        rest = after;
        // Its parameters, up to a comma.
        while let Some((name, value, after)) = parameter(rest.trim_start_matches([' ', '\t', ';']), &[' ', '\t', ';', ',']) {
            rest = after;
            let mut relations = value.as_deref().unwrap_or("").split_ascii_whitespace();
            if name.eq_ignore_ascii_case("rel") && relations.any(|r| r.eq_ignore_ascii_case("next")) {
                next = next.or(Some(target));
            }
        }
    }
    let Some(target) = next else { return Ok(None) };
    let url = guard::join(current, target).ok_or_else(|| malformed("the next page of the list of tags has no address"))?;
    let bare = |host: &str| host.to_ascii_lowercase().trim_end_matches(":443").trim_end_matches(":80").to_owned();
    match (guard::Address::parse(&url), guard::Address::parse(current)) {
        // Behind a proxy that ends TLS the scheme may be another one; the host must be the same, and ours is kept.
        (Some(next), Some(own)) if bare(next.host) == bare(own.host) => Ok(Some(format!("{}{}", own.origin(), next.rest))),
        _ => Err(malformed("the next page of the list of tags is on another server")),
    }
}

/// The media type and what is needed of a manifest's body.
///
/// # Errors
/// What is no manifest.
pub fn read_manifest(response: &Response) -> Result<(String, Manifest), Trouble> {
    // Of a signed one only what was signed counts.
    let signed = signed_text(&response.body);
    let body: Value = serde_json::from_slice(signed.as_deref().unwrap_or(&response.body)).map_err(|_| {
        let kind = if response.content_type.is_empty() { "nothing" } else { response.content_type.as_str() };
        malformed(&format!("the registry sent no manifest ({})", clean(kind)))
    })?;
    if body.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
        // The newest layer's history is the image's config, as JSON in a string.
        let newest = body.get("history").and_then(|h| h.get(0)?.get("v1Compatibility")?.as_str());
        let config = newest.map_or(Ok(Config::default()), |text| read_config(text.as_bytes()))?;
        return Ok((SCHEMA_1.to_owned(), Manifest::Labelled(config)));
    }
    let digest_in = |value: &Value| value.get("digest").and_then(Value::as_str).filter(|d| is_digest(d)).map(str::to_owned);
    let (manifest, fallback) = if let Some(Value::Array(children)) = body.get("manifests") {
        let platform = |child: &Value, key: &str| {
            child.get("platform").and_then(|p| p.get(key)).and_then(Value::as_str).unwrap_or("").to_owned()
        };
        let is_image = |child: &&Value| {
            let note = child.get("annotations").and_then(|a| a.get("vnd.docker.reference.type"));
            note.is_none() && platform(child, "os") != "unknown"
        };
        let mut images = children.iter().filter(is_image);
        let first = images.clone().next();
        let usual = images.find(|c| platform(c, "os") == "linux" && platform(c, "architecture") == "amd64");
        let form_of = |child: &Value| match child.get("mediaType").and_then(Value::as_str) {
            Some(t) if Form::Oci.holds(t) => Form::Oci,
            _ => Form::Docker,
        };
        (Manifest::Index(usual.or(first).and_then(|c| Some((digest_in(c)?, form_of(c))))), DOCKER_LIST)
    } else if let Some(config) = body.get("config") {
        let digest = digest_in(config).ok_or_else(|| malformed("the manifest names no config"))?;
        (Manifest::Image(digest), DOCKER_IMAGE)
    } else {
        return Err(malformed("the registry sent JSON that is no manifest"));
    };
    let known = [DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX];
    let told = body.get("mediaType").and_then(Value::as_str);
    let media_type = [told, Some(response.content_type.as_str())].into_iter().flatten().find(|t| known.contains(t));
    Ok((media_type.unwrap_or(fallback).to_owned(), manifest))
}

fn read_config(body: &[u8]) -> Result<Config, Trouble> {
    let config: Value = serde_json::from_slice(body).map_err(|_| malformed("the image's config is no JSON"))?;
    let labels = config.get("config").and_then(|c| c.get("Labels")).and_then(Value::as_object);
    let texts = labels.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
    // Builds that are to be the same each time say the beginning of time, or 1970.
    let built_at = config.get("created").and_then(Value::as_str).and_then(time::iso).filter(|at| *at > 0);
    Ok(Config { labels: texts.collect(), only_added: false, built_at })
}

/// The digest of a body, which must be the one in the header where that can be read.
fn checked_digest(response: &Response) -> Result<String, Trouble> {
    let digest = content_digest(&response.body);
    match &response.digest {
        // What is no digest of the kind that we compute says nothing: bare hexadecimals, quotes, another algorithm.
        Some(told) if is_digest(told) && *told != digest => {
            Err(malformed(&format!("the registry says {} of a manifest that has {digest}", clean(told))))
        }
        _ => Ok(digest),
    }
}

/// The digest of a manifest or config: that of its bytes, but for a signed schema 1 that of the text that was signed.
fn content_digest(body: &[u8]) -> String {
    signed_text(body).map_or_else(|| sha256(body), |text| sha256(&text))
}

/// The text that a "pretty" JSON Web Signature is over: the body up to a length, and an end, both told in the signature
/// (<https://distribution.github.io/distribution/spec/deprecated-schema-v1/>).
fn signed_text(body: &[u8]) -> Option<Vec<u8>> {
    if !body.windows(12).any(|w| w == b"\"signatures\"") {
        return None;
    }
    let whole: Value = serde_json::from_slice(body).ok()?;
    if whole.get("schemaVersion").and_then(Value::as_u64) != Some(1) {
        return None;
    }
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok();
    let protected = decode(whole.get("signatures")?.get(0)?.get("protected")?.as_str()?)?;
    let protected: Value = serde_json::from_slice(&protected).ok()?;
    let length = usize::try_from(protected.get("formatLength")?.as_u64()?).ok()?;
    let mut text = body.get(..length)?.to_vec();
    text.extend(decode(protected.get("formatTail")?.as_str()?)?);
    Some(text)
}

/// `sha256:` and the digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    let mut out = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// The first code of an error body, as distribution writes it.
pub(super) fn error_code(response: &Response) -> Option<String> {
    let body: Value = serde_json::from_slice(&response.body).ok()?;
    Some(body.get("errors")?.get(0)?.get("code")?.as_str()?.to_owned())
}

/// Whether an error names the tag as the thing that is unknown: `"detail":{"Tag":"…"}`, which distribution says before it looks at
/// any manifest (<https://github.com/distribution/distribution>, `registry/handlers/manifests.go`; measured with 2.8.2).
fn names_tag(response: &Response, tag: &str) -> bool {
    let body: Option<Value> = serde_json::from_slice(&response.body).ok();
    body.is_some_and(|body| body.pointer("/errors/0/detail/Tag").and_then(Value::as_str) == Some(tag))
}

/// Whether a refusal stays, however often it is asked again, and is about what was asked for alone.
fn is_final(status: u16) -> bool {
    matches!(status, 401 | 403 | 404 | 405 | 410 | 501)
}

/// What Quay's proxy-cache organisations answer for any failure of their upstream, be it a rate limit, an outage or a time-out:
/// `MANIFEST_UNKNOWN`, and at the end of the message what the upstream said, in brackets. Only `(404)` means that there is no such tag
/// (<https://github.com/quay/quay>, `data/registry_model/registry_proxy_model.py` and `proxy/__init__.py`).
///
/// # Errors
/// Such a failure.
fn upstream_failure(response: &Response) -> Result<(), Trouble> {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let text = |at: &str| body.pointer(at).and_then(Value::as_str).unwrap_or("");
    let message = text("/errors/0/message").trim_end_matches('.');
    let detail = message.strip_suffix(')').and_then(|m| m.rsplit_once('(')).map_or("", |(_, detail)| detail);
    let is_status = detail.len() == 3 && detail.bytes().all(|b| b.is_ascii_digit());
    let is_of_upstream = message.contains("upstream registry") || is_status;
    if text("/errors/0/code") != "MANIFEST_UNKNOWN" || !is_of_upstream || detail == "404" {
        return Ok(());
    }
    let said = if is_status { format!("answered {detail}") } else { "could not be asked".to_owned() };
    let what = format!("the registry passes on what another one has, and that one {said}");
    Err(Trouble { what, cure: "wait a little and retry".to_owned() })
}

/// The status of a refusal and its code, where it has one.
fn told(response: &Response) -> String {
    match error_code(response) {
        Some(code) => format!("{} {}", response.status, clean(&code).chars().take(60).collect::<String>()),
        None => response.status.to_string(),
    }
}

pub(super) fn malformed(what: &str) -> Trouble {
    Trouble { what: what.to_owned(), cure: "ask whoever runs the registry; a proxy may stand before it".to_owned() }
}

/// What a refusal means (the codes are those of distribution's specification).
pub(super) fn refused(response: &Response) -> Trouble {
    let code = error_code(response).unwrap_or_default();
    let status = response.status;
    let (what, cure) = match (status, code.as_str()) {
        (401 | 403, _) => (
            "it is private, or it is not there: the registry does not say which",
            "log in if it is private (--authfile on the command line), else check the namespace",
        ),
        (429, _) => ("the registry lets no more requests through for now", "wait a little and retry"),
        (408 | 500.., _) => ("the registry is in trouble", "wait a little and retry"),
        (_, "NAME_INVALID") => ("the registry finds the name of the repository wrong", "check namespace, prefix and suffix"),
        (_, "TAG_INVALID" | "MANIFEST_INVALID") => ("the registry finds the tag wrong", "check the tag"),
        (_, "PAGINATION_NUMBER_INVALID") => ("the registry gives no list of tags in pages", "ask whoever runs the registry"),
        (400, _) => ("the registry finds the question wrong", "check the name and the tag"),
        _ => ("the registry gave an answer that says nothing of the image", "check the endpoint: is this a registry?"),
    };
    // HEAD has no body and so no code: without it both refusals read alike.
    let code: String = match status {
        401 | 403 => String::new(),
        _ if code.is_empty() => code,
        _ => format!(" {}", clean(&code).chars().take(60).collect::<String>()),
    };
    Trouble { what: format!("{what} ({status}{code})"), cure: cure.to_owned() }
}

/// What a failure means.
pub(super) fn failed(failure: &Failure) -> Trouble {
    let (what, cure) = match failure {
        Failure::Network(why) => (
            format!("the registry could not be reached ({})", clean(why)),
            "check the network, the host's name and, in a browser, whether the registry allows this page (CORS)",
        ),
        Failure::Timeout => ("the registry did not answer in time".to_owned(), "retry"),
        Failure::TooLarge(limit) => {
            (format!("the answer is larger than {} MiB", limit >> 20), "check the endpoint: is this a registry?")
        }
        Failure::Offline => ("this computer is offline".to_owned(), "connect it and retry"),
        Failure::Astray(why) => (format!("the registry sends us elsewhere, and {why}"), "ask whoever runs the registry"),
        Failure::Cancelled => ("cancelled".to_owned(), "retry"),
    };
    Trouble { what, cure: cure.to_owned() }
}
