//! How an ordinary distribution registry (<https://distribution.github.io/distribution/spec/api/>) is asked.
//!
//! The rules, each from what registries were seen to do:
//!
//! * A browser sends an `Accept` of up to 128 bytes without a CORS preflight; all four types together are longer. So a browser asks
//!   for docker's pair first, and only on 404 or 400 for OCI's: the other order makes distribution answer with one platform's child.
//!   Of a repository that was seen to serve OCI it asks for that kind and docker's list, which is as safe ([`Form::OciImage`]).
//! * HEAD where it can be, for it costs no body and counts as no pull; GET where a server refuses HEAD or its digest cannot be read.
//! * "Absent" is the registry's own word: a code in the body, or 404 to a second form of the question. All else is a [`RegistryError`].
//!   A page believes the code of one form alone where the body names the tag: distribution does so of a tag that it does not know
//!   (`ErrTagUnknown`), and not of one in a form that was not asked for.

use std::collections::HashSet;

use crate::engine::image::reference::Repository;
use crate::engine::registry::dialect::{Api, Caller, Capabilities, Dialect, Exchange, Server, Step};
use crate::engine::registry::error::{
    RegistryError, error_code, failed, is_final, malformed, names_tag, refused, status_and_code, upstream_failure,
};
use crate::engine::registry::http::{BODY_LIMIT, Failure, LIST_LIMIT, Method, Request, Response, parameter};
use crate::engine::registry::manifest::{Form, Manifest, checked_digest, content_digest, read_config, read_manifest};
use crate::engine::registry::query::{Answer, Checked, Found, NotFound, Query};
use crate::engine::registry::tag_list::{Collect, LastTag, Page, TagList};
use crate::engine::url;

/// `/v2/`, which every registry speaks.
pub const DIALECT: Dialect = Dialect(&Api {
    name: "distribution",
    capabilities: Capabilities {
        lists_digests: false,
        has_tag_history: false,
        labels_by_manifest: false,
        private_looks_missing: false,
        limits_host: false,
    },
    requests: |caller| match caller {
        Caller::Browser => (12, 24),
        Caller::Native => (32, 64),
    },
    is_named: |_| false,
    step,
    detect: |endpoint, _| ping_request(endpoint),
    speaks: |_| true,
    check: |endpoint, _| ping_request(endpoint),
    cors: |_| None,
});

/// The request that every registry answers, if only with 401.
fn ping_request(endpoint: &str) -> Request {
    Request::get(format!("{endpoint}/v2/"), BODY_LIMIT)
}

fn step(query: &Query, server: Server<'_>, exchanged: &[Exchange]) -> Result<Step, RegistryError> {
    match query {
        Query::Tag { repository, tag, manifest } => tag_step(server, repository, tag, *manifest, exchanged),
        Query::Check { repository, tag, form } => check_step(server, repository, tag, *form, exchanged),
        Query::Manifest { repository, digest, form } => by_digest(server, repository, digest, Some(*form), exchanged),
        Query::Labels { repository, config } => by_digest(server, repository, config, None, exchanged),
        Query::Tags { repository } => tags_step(server, repository, exchanged),
        Query::Ping { .. } => ping_step(server, exchanged),
        Query::Overview { .. } | Query::History { .. } | Query::Repositories { .. } => {
            Err(RegistryError { message: "only Quay's API reports this".to_owned(), hint: "query a Quay registry".to_owned() })
        }
    }
}

fn manifest_request(server: Server<'_>, repository: &Repository, reference: &str, method: Method, form: Form) -> Request {
    let url = format!("{}/v2/{}/manifests/{reference}", server.endpoint, repository.path);
    Request { method, accept: Some(form.accept()), ..Request::get(url, BODY_LIMIT) }
}

fn answer(answer: Answer) -> Result<Step, RegistryError> {
    Ok(Step::Done(Ok(answer)))
}

fn tag_step(
    server: Server<'_>,
    repository: &Repository,
    tag: &str,
    wants_manifest: bool,
    exchanged: &[Exchange],
) -> Result<Step, RegistryError> {
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
            Some(digest) if form.holds(&response.content_type) => {
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
                Some("NAME_UNKNOWN") => return answer(Answer::Tag(Err(NotFound::Repository))),
                Some("MANIFEST_UNKNOWN") if names_tag(response, tag) => return answer(Answer::Tag(Err(NotFound::Tag))),
                _ => {}
            }
            if let Some(other) = other {
                return send(Method::Get, other);
            }
            match (method, code.as_deref(), status) {
                // A HEAD has no body, so it cannot say what is missing.
                (Method::Head, ..) if exchanged.iter().all(|e| e.request.method == Method::Head) => send(Method::Get, form),
                (_, Some("MANIFEST_UNKNOWN" | "TAG_EXPIRED"), _) => answer(Answer::Tag(Err(NotFound::Tag))),
                (_, _, 404) if exchanged.len() < 2 => send(Method::Head, form),
                (_, _, 404) if all_missing(exchanged) => answer(Answer::Tag(Err(NotFound::WithoutCode))),
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
) -> Result<Step, RegistryError> {
    let send = |method| Ok(Step::Send(manifest_request(server, repository, tag, method, form)));
    let Some(last) = exchanged.last() else {
        return send(if server.hides_digest { Method::Get } else { Method::Head });
    };
    let response = last.outcome.as_ref().map_err(failed)?;
    match (last.request.method, response.status) {
        (Method::Head, 200) => match &response.digest {
            Some(digest) => answer(Answer::Check(Ok(Checked::new(digest.clone())))),
            None => send(Method::Get),
        },
        (Method::Get, 200) => {
            read_manifest(response)?;
            answer(Answer::Check(Ok(Checked::new(checked_digest(response)?))))
        }
        // What is there in another form has another digest, so that here it counts as missing.
        (Method::Get, 400 | 404) => {
            upstream_failure(response)?;
            match (error_code(response).as_deref(), response.status) {
                (Some("NAME_UNKNOWN"), _) => answer(Answer::Check(Err(NotFound::Repository))),
                (Some("MANIFEST_UNKNOWN" | "TAG_EXPIRED" | "MANIFEST_INVALID"), _) => answer(Answer::Check(Err(NotFound::Tag))),
                (_, 404) => answer(Answer::Check(Err(NotFound::WithoutCode))),
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
) -> Result<Step, RegistryError> {
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
        // A platform of a list may be gone; that does not concern the image, which only has no labels to read.
        return answer(Answer::Manifest(Manifest::Index(None)));
    }
    if form.is_none() && is_final(response.status) {
        let message = format!("the registry does not return the image's config ({})", status_and_code(response));
        return answer(Answer::Refused(RegistryError { message, hint: "ask the registry's owner".to_owned() }));
    }
    if response.status != 200 {
        return Err(refused(response));
    }
    if content_digest(&response.body) != *digest {
        return Err(malformed("the registry's response does not match this digest"));
    }
    match form {
        Some(_) => answer(Answer::Manifest(read_manifest(response)?.1)),
        None => answer(Answer::Labels(read_config(&response.body)?)),
    }
}

/// `/v2/` answers 200 or, where a login is wanted, 401, on whatever speaks this protocol.
fn ping_step(server: Server<'_>, exchanged: &[Exchange]) -> Result<Step, RegistryError> {
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
fn tags_step(server: Server<'_>, repository: &Repository, exchanged: &[Exchange]) -> Result<Step, RegistryError> {
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
        PAGES.. => incomplete(&pages, "its pages do not end"),
        _ => Ok(Step::Send(Request::get(url, LIST_LIMIT))),
    };
    // Behind the last tag of the newest page, whatever was asked for since.
    let behind = || -> Result<Step, RegistryError> {
        let LastTag(last) = pages.last().map_or(Ok(LastTag::default()), |page| read_page(page))?;
        let n = if in_pages { format!("n={PAGE}&") } else { String::new() };
        send(format!("{base}?{n}last={last}"))
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
        Ok(response) => return incomplete(&pages, &format!("it returns {} for the next page", status_and_code(response))),
        Err(failure) => return Err(failed(failure)),
    };
    let brings_none = || -> Result<bool, RegistryError> {
        let LastTag(last) = read_page(response)?;
        let Some(before) = pages.len().checked_sub(2).filter(|_| !last.is_empty()) else { return Ok(last.is_empty()) };
        let (before, tags) = (read_tags(pages[before])?, read_tags(response)?);
        let known: HashSet<&str> = before.iter().collect();
        Ok(tags.iter().all(|tag| known.contains(tag)))
    };
    match linked(response, &last.request.url) {
        Some(_) if by == By::Last && brings_none()? => {
            incomplete(&pages, "its next page is not served, and a query for the tags after the last one returns the same tags")
        }
        Some(_) if by == By::Last => behind(),
        Some(Ok(url)) if exchanged.iter().any(|e| e.request.url == url) => incomplete(&pages, "its pages form a loop"),
        Some(Ok(url)) => send(url),
        Some(Err(_)) => behind(),
        None if has_link || brings_none()? => whole(),
        None => behind(),
    }
}

/// The address of the next page, where `Link` names one; `Link` may name other relations alone.
fn linked(response: &Response, current: &str) -> Option<Result<String, RegistryError>> {
    next_page(response.link.as_deref()?, current).transpose()
}

/// What the first answer to the question for a list means, where it is not a list.
fn no_tags(response: &Response) -> Result<Step, RegistryError> {
    if response.status == 404 && error_code(response).as_deref() == Some("NAME_UNKNOWN") {
        return answer(Answer::Tags(Err(NotFound::Repository)));
    }
    if !is_final(response.status) {
        return Err(refused(response));
    }
    let message = format!("the registry does not return the list of tags ({})", status_and_code(response));
    answer(Answer::Refused(RegistryError {
        message,
        hint: "give an exact tag, or use pin=digest; log in if a login can help".to_owned(),
    }))
}

/// A list that could not be read to its end, but for these pages.
fn incomplete(pages: &[&Response], why: &str) -> Result<Step, RegistryError> {
    let read: usize = pages.iter().map(|page| read_tags(page).map_or(0, |tags| tags.len())).sum();
    let message = format!("only {read} tags of the list could be read: {why}");
    answer(Answer::Refused(RegistryError { message, hint: "ask the registry's owner; a proxy may be in front of it".to_owned() }))
}

/// The tags of one page.
fn read_tags(response: &Response) -> Result<TagList, RegistryError> {
    let mut tags: TagList = read_page(response)?;
    tags.shrink_to_fit();
    Ok(tags)
}

fn read_page<T: Collect>(response: &Response) -> Result<T, RegistryError> {
    let read = serde_json::from_slice::<Page<T>>(&response.body).map(Page::into_tags);
    read.map_err(|e| malformed(if e.is_data() { "`tags` is not a list" } else { "the list of tags is not JSON" }))
}

/// The address of `rel="next"` among the links of a `Link` header (RFC 8288), as seen from `current`; none where there is no such
/// link.
///
/// # Errors
/// A next page on another host: nobody is sent there, and the list without it would not be whole.
pub fn next_page(link: &str, current: &str) -> Result<Option<String>, RegistryError> {
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
    let url = url::join(current, target).ok_or_else(|| malformed("the next page of the list of tags has no address"))?;
    let bare = |host: &str| host.to_ascii_lowercase().trim_end_matches(":443").trim_end_matches(":80").to_owned();
    match (url::Address::parse(&url), url::Address::parse(current)) {
        // Behind a proxy that ends TLS the scheme may be another one; the host must be the same, and ours is kept.
        (Some(next), Some(own)) if bare(next.host) == bare(own.host) => Ok(Some(format!("{}{}", own.origin(), next.rest))),
        _ => Err(malformed("the next page of the list of tags is on another server")),
    }
}
