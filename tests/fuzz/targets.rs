//! What is fuzzed: functions that read foreign bytes, each with what must hold whatever the bytes are.
//!
//! `libfuzzer.rs` runs them guided by coverage, `tests/fuzz.rs` over the corpus and plain mutations of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use overtag::engine::error;
use overtag::engine::image::digest::{Digest, is_digest};
use overtag::engine::image::reference::{Reference, Repository};
use overtag::engine::image::tag::{TagClass, is_tag};
use overtag::engine::options::pattern::Pattern;
use overtag::engine::pipeline::{read_build, read_promotions, read_votes};
use overtag::engine::registry::auth::{AuthChallenge, Authfile, Login, parse_www_authenticate};
use overtag::engine::registry::distribution::next_page;
use overtag::engine::registry::http::{Request, Response, Secret};
use overtag::engine::registry::manifest::{read_manifest, sha256};
use overtag::engine::registry::quay::{read_data, read_labels, read_overview};
use overtag::engine::registry::redirect::{check_redirect, redirected, shares_login};
use overtag::engine::registry::token::token_request;
use overtag::engine::registry::{Answer, Caller, Dialect, Exchange, Form, Manifest, Query, Server, Step, step};
use overtag::engine::snapshot::Snapshot;
use overtag::engine::time::Timestamp;
use overtag::engine::url::{Address, join, origin};
use overtag::engine::url::{default_endpoint, is_private};
use overtag::engine::yaml;
use serde_json::Value;
use url::{Host, Url};

/// Reads some bytes, and panics where a promise is broken.
pub type Target = fn(&[u8]);

/// Each target, by the name of its folder in the corpus.
pub const ALL: [(&str, Target); 10] = [
    ("authfile", authfile),
    ("challenge", challenge),
    ("dlrn", dlrn),
    ("link", link),
    ("manifest", manifest),
    ("pattern", pattern),
    ("quay", quay),
    ("reference", reference),
    ("snapshot", snapshot),
    ("yaml", yaml),
];

/// What DLRN and Zuul answer. What is read is a hash that images are tagged with, and asks for nothing beyond its own parameters.
fn dlrn(data: &[u8]) {
    let Ok(body) = str::from_utf8(data) else { return };
    for promotion in read_promotions(body).unwrap_or_default() {
        assert!(TagClass::of(&promotion.hash).is_hash(), "{promotion:?}");
        let names: Vec<&str> = promotion.query.split('&').filter_map(|p| p.split('=').next()).filter(|n| !n.is_empty()).collect();
        assert!(
            names.iter().all(|n| ["aggregate_hash", "commit_hash", "distro_hash", "extended_hash"].contains(n)),
            "{promotion:?}"
        );
        assert!(!promotion.query.contains(['#', ' ', '\n']), "{promotion:?}");
    }
    let votes = read_votes(body).unwrap_or_default();
    assert!(votes.is_sorted_by_key(|v| Reverse(v.at)) && votes.iter().all(|v| !v.job.is_empty()));
    _ = read_build(body);
}

/// What podman or docker wrote about logins. No secret shows, and a helper is asked about a place that the file names.
fn authfile(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(mut file) = Authfile::read(text, "auth.json") else { return };
    let repository = repository();
    for helper in file.helpers(std::slice::from_ref(&repository)) {
        assert!(!helper.name.is_empty() && format!("{repository}/").starts_with(&format!("{}/", helper.place)), "{helper:?}");
        file.take(&helper, Ok(text.to_owned()));
    }
    if let Some(basic) = file.logins.of(&repository).and_then(Login::basic) {
        assert!(!format!("{file:?}").contains(basic.reveal().trim_start_matches("Basic ")), "a secret shows");
    }
}

/// A regular expression, and on the next line what it is searched in.
fn pattern(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (pattern, hay) = text.split_once('\n').unwrap_or((text, "quay.io/tripleotrain/centos-binary-nova-api:current-tripleo"));
    for made in [Pattern::new(pattern), Pattern::whole(pattern)] {
        match made {
            Ok(pattern) => _ = pattern.is_found(hay),
            Err(why) => assert!(!why.is_empty() && !why.contains('\n'), "{why:?}"),
        }
    }
}

/// A YAML document. What is read can be written, and reads back as the same.
fn yaml(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let document = match yaml::parse("t.yaml", text) {
        Ok(document) => document,
        Err(error) => return assert!(error.location.to_string().starts_with("t.yaml, line "), "{error}"),
    };
    let written = yaml::write(&document.value);
    let again = yaml::parse("w.yaml", &written).unwrap_or_else(|e| panic!("{e}:\n{written}"));
    assert!(again.value == document.value && again.notices.is_empty(), "{written}");
}

/// A `WWW-Authenticate` header.
fn challenge(data: &[u8]) {
    let Ok(header) = str::from_utf8(data) else { return };
    let found = parse_www_authenticate(header);
    let Some(AuthChallenge::Bearer { realm, service }) = found else {
        if let Some(AuthChallenge::Other(scheme)) = found {
            assert!(!scheme.is_empty() && scheme == error::clean(&scheme));
        }
        return;
    };
    assert!(!realm.is_empty() && service.as_deref() != Some(""));

    // Written as RFC 9110 has it and among others, it is read as the same.
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let reported = service.as_deref().map_or_else(String::new, |s| format!("service={},", quoted(s)));
    let again = format!("Basic realm=\"a, Bearer b\", Bearer {reported}realm={}", quoted(&realm));
    assert_eq!(parse_www_authenticate(&again), Some(AuthChallenge::Bearer { realm: realm.clone(), service: service.clone() }));

    let endpoint = "https://registry.example.org";
    let repository = Repository { host: "registry.example.org".to_owned(), path: "a/b".to_owned() };
    let login = Login::new("user", "password");
    for login in [None, Some(&login)] {
        let Ok(request) = token_request(endpoint, &realm, service.as_deref(), &repository, login) else { continue };
        assert_eq!(request.authorization, login.and_then(Login::basic));
        check_redirect(endpoint, &request.url).expect("what is asked may be asked");
        assert!(login.is_none() || shares_login(endpoint, &request.url));
        let Ok(url) = Url::parse(&request.url) else { continue };
        assert_eq!(url.scheme(), "https");
        assert!(!leads_inside(&url), "{url} is private");
        let is_ours = url.host_str().is_some_and(|h| h.trim_end_matches('.') == "example.org" || h.contains(".example.org"));
        assert!(login.is_none() || is_ours, "the login goes to {url}");
        let last = url.query_pairs().last().expect("a query");
        assert_eq!((&*last.0, &*last.1), ("scope", "repository:a/b:pull"));
    }
}

/// An address, and on the next line a `Link` or `Location` header that came from there.
fn link(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (current, header) = text.split_once('\n').unwrap_or(("https://registry.example/v2/a/b/tags/list?n=1000", text));
    if let Some(joined) = join(current, header) {
        Address::parse(&joined).expect("what is joined is an address");
    }
    let here = Url::parse(current).ok();
    if let Ok(Some(next)) = next_page(header, current) {
        assert_eq!(Address::parse(&next).expect("an address").origin(), origin(current));
        if let (Some(here), Ok(next)) = (&here, Url::parse(&next)) {
            assert_eq!(next.origin(), here.origin());
            assert_eq!((next.username(), next.password()), ("", None));
        }
    }
    let secret = Some(Secret::new("Basic x"));
    let request = Request { authorization: secret, xhr: true, ..Request::get(current.to_owned(), 1) };
    let Ok(next) = redirected(&request, header) else { return };
    check_redirect(current, &next.url).expect("what is asked may be asked");
    assert_eq!(next.authorization.is_some(), origin(&next.url) == origin(current));
    assert_eq!((next.method, next.xhr, next.limit), (request.method, request.xhr, request.limit));
    let (Some(here), Ok(url)) = (here, Url::parse(&next.url)) else { return };
    assert!(next.authorization.is_none() || url.origin() == here.origin(), "a login goes from {here} to {url}");
    assert!(here.scheme() == "http" || url.scheme() == "https", "{here} leads to {url}");
    assert!(
        leads_inside(&here) || is_private(Address::parse(current).expect("an address").host) || !leads_inside(&url),
        "{url} is private"
    );
    assert_eq!((url.username(), url.password()), ("", None));
}

/// Whether a browser would ask this machine or a private network for it.
fn leads_inside(url: &Url) -> bool {
    let v4 = |ip: Ipv4Addr| ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified();
    let v6 = |ip: Ipv6Addr| {
        let own = ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local();
        own || ip.to_ipv4_mapped().is_some_and(v4)
    };
    match url.host() {
        Some(Host::Ipv4(ip)) => v4(ip),
        Some(Host::Ipv6(ip)) => v6(ip),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            !name.contains('.') || [".localhost", ".local", ".localdomain", ".internal"].iter().any(|end| name.ends_with(end))
        }
        None => false,
    }
}

/// The name of an image.
fn reference(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // These take anything.
    is_private(text);
    TagClass::of(text);
    let Ok(read) = Reference::parse(text) else { return };

    let parsed = |text: &str| Reference::parse(text).expect("what was read once is read again");
    let digest = read.digest.as_ref().map_or_else(String::new, |d| format!("@{d}"));
    let whole = format!("{}:{}{digest}", read.name, read.tag);
    assert!(text == whole || (read.tag == "latest" && text == format!("{}{digest}", read.name)), "{text} became {whole}");
    assert_eq!(parsed(&whole), read);
    assert_eq!(parsed(&format!("{}:{}{digest}", read.repository, read.tag)).repository, read.repository);
    assert_eq!(parsed(&read.at_tag("x")).repository, read.repository);
    if let Some(digest) = &read.digest {
        assert_eq!(parsed(&read.at_digest(digest)).digest, read.digest);
        assert!(is_digest(digest));
    }
    assert!(is_tag(&read.tag));
    TagClass::of(&read.tag);

    // The API of what was read can be asked, and nobody else is.
    let Repository { host, path } = &read.repository;
    let path = format!("/v2/{path}/manifests/{}", read.tag);
    if let Ok(url) = Url::parse(&format!("{}{path}", api(host))) {
        assert_eq!(url.path(), path);
        assert!(url.query().is_none() && url.fragment().is_none() && url.username().is_empty());
        assert!(is_private(host) || !leads_inside(&url), "{url} is private");
    }
}

/// The address of a host's API, which leads to that host.
fn api(host: &str) -> String {
    let endpoint = default_endpoint(host);
    let address = Address::parse(&endpoint).unwrap_or_else(|| panic!("{endpoint} is not an address"));
    assert_eq!((address.host, address.rest), (if host == "docker.io" { "registry-1.docker.io" } else { host }, ""));
    endpoint
}

/// What is asked in the targets below; the tag and the digests are those of the corpus.
fn repository() -> Repository {
    Repository { host: "registry.example".to_owned(), path: "tripleo/nova-api".to_owned() }
}

const ENDPOINT: &str = "https://registry.example";
const TAG: &str = "current-tripleo";

fn server(dialect: Dialect, caller: Caller) -> Server<'static> {
    Server { endpoint: ENDPOINT, dialect, caller, hides_digest: true, form: None }
}

/// A manifest's body.
fn manifest(data: &[u8]) {
    if serde_json::from_slice::<Value>(data).is_err() {
        assert!(read_manifest(&Response { body: data.to_vec(), ..Response::default() }).is_err());
        return;
    }
    let (plain, wrong) = (sha256(data), sha256(b"something else"));
    let signed = signed_text(data);
    let own = signed.as_ref().map_or_else(|| plain.clone(), |text| sha256(text));
    for (caller, form, content_type) in [
        (Caller::Native, Form::All, ""),
        (Caller::Browser, Form::Oci, "application/vnd.docker.distribution.manifest.list.v2+json"),
    ] {
        let response = |digest: Option<&str>| {
            let (content_type, digest) = (content_type.to_owned(), digest.and_then(Digest::parse));
            Response { status: 200, content_type, digest, body: data.to_vec(), ..Response::default() }
        };
        let read = read_manifest(&response(None));
        if let Ok((media_type, manifest)) = &read {
            assert!(media_type.starts_with("application/vnd."));
            sound(manifest);
        }
        // What a client answers, from its first request on.
        let answer = |query: &Query, digest: Option<&str>| {
            let server = server(Dialect::COMMON, caller);
            let mut exchanged = Vec::new();
            loop {
                match step(query, server, &exchanged) {
                    Step::Send(request) => {
                        asked(&request, &exchanged);
                        assert!(exchanged.len() < 4, "{query:?} does not come to an end");
                        exchanged.push(Exchange { request, outcome: Ok(response(digest)), tries: 1 });
                    }
                    Step::Done(answer) => return answer.ok(),
                }
            }
        };
        let of_tag = Query::Tag { repository: repository(), tag: TAG.to_owned(), manifest: true };
        for digest in [None, Some(own.as_str()), Some(plain.as_str()), Some(wrong.as_str())] {
            match answer(&of_tag, digest) {
                None => {}
                Some(Answer::Tag(Ok(found))) => {
                    assert!(digest.is_none_or(|d| found.digest == d), "another digest than the registry's was taken");
                    assert_eq!(found.digest, own);
                    let manifest = found.manifest.expect("a manifest");
                    sound(&manifest);
                    // What the digest is of is what was read.
                    if let Some(text) = &signed {
                        let of_text = read_manifest(&Response { body: text.clone(), ..Response::default() });
                        assert_eq!(of_text.map(|(_, m)| m), Ok(manifest), "more was read than the digest is of");
                    }
                }
                Some(other) => panic!("a tag that is {other:?}"),
            }
        }
        for digest in [None, Some(wrong.as_str())] {
            match answer(&Query::Check { repository: repository(), tag: TAG.to_owned(), form }, digest) {
                Some(Answer::Check(Ok(reported))) => assert!(reported.digest == own && digest.is_none()),
                Some(other) => panic!("a check that is {other:?}"),
                None => {}
            }
        }
        for (digest, is_own) in [(&own, true), (&plain, own == plain), (&wrong, false)] {
            let (repository, digest) = (repository(), digest.clone());
            let labels = answer(&Query::Labels { repository: repository.clone(), config: digest.clone() }, None);
            let manifest = answer(&Query::Manifest { repository, digest, form }, None);
            assert!(is_own || (labels.is_none() && manifest.is_none()), "something else was taken for a digest");
            assert!(manifest.is_some() == (is_own && read.is_ok()));
        }
    }
}

/// The text that a schema 1 manifest's digest is of, where it is one that is signed.
fn signed_text(body: &[u8]) -> Option<Vec<u8>> {
    let whole: Value = serde_json::from_slice(body).ok()?;
    let decode = |text: &Value| {
        let text = text.as_str()?;
        URL_SAFE_NO_PAD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
    };
    let signed: Value = serde_json::from_slice(&decode(&whole["signatures"][0]["protected"])?).ok()?;
    let head = body.get(..usize::try_from(signed["formatLength"].as_u64()?).ok()?)?;
    (whole["schemaVersion"] == 1).then_some([head, &decode(&signed["formatTail"])?].concat())
}

/// Whatever a manifest names can be asked for.
fn sound(manifest: &Manifest) {
    match manifest {
        Manifest::Image(digest) | Manifest::Index(Some((digest, _))) => assert!(is_digest(digest), "{digest} is not a digest"),
        Manifest::Index(None) | Manifest::Labelled(_) => {}
    }
}

/// No request is sent twice, and none goes to another host than the registry.
fn asked(request: &Request, before: &[Exchange]) {
    assert_eq!(origin(&request.url), ENDPOINT);
    assert_eq!(Url::parse(&request.url).expect("an address").origin(), Url::parse(ENDPOINT).expect("an address").origin());
    assert_eq!(request.authorization, None, "a step knows no login");
    assert!(before.iter().all(|e| e.request != *request), "{} is asked twice", request.url);
}

/// Answers of Quay's own API, one a line.
fn quay(data: &[u8]) {
    if let Ok(overview) = read_overview(data) {
        for (tag, active) in &overview.tags {
            assert!(is_tag(tag) && is_digest(&active.digest));
            _ = active.moved_at.unwrap_or_default().to_string();
        }
    }
    if let Ok((digest, manifest)) = read_data(data) {
        assert!(is_digest(&digest));
        sound(&manifest);
    }
    _ = read_labels(data);

    let (repository, tag) = (repository(), TAG.to_owned());
    let digest = sha256(b"");
    'asks: for query in [
        Query::Overview { repository: repository.clone() },
        Query::Tags { repository: repository.clone() },
        Query::History { repository: repository.clone(), tag: tag.clone() },
        Query::Repositories { host: repository.host.clone(), namespace: "tripleo".to_owned() },
        Query::Check { repository: repository.clone(), tag, form: Form::All },
        Query::Tag { repository: repository.clone(), tag: digest.to_string(), manifest: true },
        Query::Manifest { repository: repository.clone(), digest: digest.clone(), form: Form::All },
        Query::Labels { repository, config: digest.clone() },
    ] {
        let mut exchanged = Vec::new();
        let mut pages = data.split(|b| *b == b'\n');
        let answer = loop {
            match step(&query, server(overtag::engine::registry::quay::DIALECT, Caller::Browser), &exchanged) {
                Step::Done(answer) => break answer,
                Step::Send(request) => {
                    let url = Url::parse(&request.url).expect("an address");
                    assert!(request.xhr && url.path().starts_with("/api/v1/repository"));
                    if matches!(query, Query::Repositories { .. }) {
                        // Quay may give the same token again: pages are bounded, and a token stays one value.
                        assert_eq!(origin(&request.url), ENDPOINT);
                        let names = ["namespace", "public", "repo_kind", "next_page"];
                        assert!(
                            url.query_pairs()
                                .map(|(name, _)| name)
                                .eq(names.into_iter().take(3 + usize::from(!exchanged.is_empty())))
                        );
                    } else if matches!(query, Query::Tags { .. } | Query::History { .. }) {
                        // Pages that do not fit together are read again, a limited number of times.
                        asked(&request, &[]);
                        assert!(exchanged.len() < 200);
                    } else {
                        asked(&request, &exchanged);
                    }
                    let Some(body) = pages.next() else { continue 'asks };
                    let response = Response { status: 200, body: body.to_vec(), ..Response::default() };
                    exchanged.push(Exchange { request, outcome: Ok(response), tries: 1 });
                }
            }
        };
        if let Ok(answer) = answer {
            reported(&query, &answer);
        }
    }
}

/// An answer is one to its question, and all in it can be asked for and written down.
fn reported(query: &Query, answer: &Answer) {
    match (query, answer) {
        (Query::Overview { .. } | Query::Tags { .. }, Answer::Overview(Ok(overview))) => {
            for tag in overview.tags.keys().chain(&overview.others) {
                assert!(is_tag(tag), "{tag:?} is not a tag");
            }
            for active in overview.tags.values() {
                assert!(is_digest(&active.digest), "{} is not a digest", active.digest);
            }
        }
        (Query::Tags { .. }, Answer::Tags(Ok(tags))) => {
            assert!(tags.iter().is_sorted());
            tags.iter().for_each(|tag| assert!(is_tag(tag), "{tag:?} is not a tag"));
        }
        (Query::History { .. }, Answer::History(periods)) => {
            assert!(periods.is_sorted_by_key(|period| Reverse(period.start)), "not the newest first");
            for period in periods {
                assert!(is_digest(&period.digest), "{} is not a digest", period.digest);
                _ = period.start.max(period.end.unwrap_or_default()).to_string();
            }
        }
        (Query::Tag { tag, .. }, Answer::Tag(Ok(found))) => {
            assert!(is_digest(&found.digest), "{} is not a digest", found.digest);
            assert!(!is_digest(tag) || found.digest == tag.as_str(), "another manifest than was asked for");
            found.manifest.iter().for_each(sound);
            _ = found.moved_at.unwrap_or_default().to_string();
        }
        (Query::Check { .. }, Answer::Check(Ok(is))) => assert!(is_digest(&is.digest), "{} is not a digest", is.digest),
        (Query::Manifest { .. }, Answer::Manifest(manifest)) => sound(manifest),
        (Query::Tags { .. } | Query::Labels { .. }, Answer::Refused(_)) => {}
        (Query::Labels { .. }, Answer::Labels(_)) | (Query::Repositories { .. }, Answer::Repositories(_)) => {}
        (Query::Overview { .. } | Query::Tags { .. }, Answer::Overview(Err(_)) | Answer::Tags(Err(_))) => {}
        (Query::Tag { .. }, Answer::Tag(Err(_))) | (Query::Check { .. }, Answer::Check(Err(_))) => {}
        _ => panic!("{query:?} is answered with {answer:?}"),
    }
}

/// A snapshot.
fn snapshot(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(read) = Snapshot::read(text, "snapshot.json") else { return };
    let written = read.write().expect("it is not larger than what was read");
    assert_eq!(Snapshot::read(&written, "snapshot.json"), Ok(read.clone()), "what is written is read as the same");
    assert_eq!(read.compare(&read).0, BTreeMap::new(), "nothing changed");
    read.compare(&Snapshot::default());
    Snapshot::default().compare(&read);
    read.staleness(Timestamp(0));
    assert!(read.staleness(read.fetched()).is_none());
    read.staleness(Timestamp(u64::MAX));

    let (repository, tag) = (repository(), TAG.to_owned());
    for query in [
        Query::Overview { repository: repository.clone() },
        Query::Tags { repository: repository.clone() },
        Query::History { repository: repository.clone(), tag: tag.clone() },
        Query::Check { repository: repository.clone(), tag: tag.clone(), form: Form::All },
        Query::Tag { repository: repository.clone(), tag, manifest: true },
        Query::Labels { repository: repository.clone(), config: sha256(b"") },
    ] {
        let Ok(answer) = read.answer(&query) else { continue };
        reported(&query, &answer);
        let listed: Vec<String> = match answer {
            Answer::Tags(Ok(tags)) => tags.iter().map(str::to_owned).collect(),
            Answer::Overview(Ok(overview)) => overview.tags.into_keys().chain(overview.others).collect(),
            _ => continue,
        };
        for tag in listed {
            let known = read.answer(&Query::Tag { repository: repository.clone(), tag: tag.clone(), manifest: false });
            assert!(!matches!(known, Ok(Answer::Tag(Err(_)))), "{tag} is listed, and said to be absent");
        }
    }
}
