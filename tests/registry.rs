//! What the engine makes of every kind of registry, as plain data: a registry is a function from requests to responses, and the
//! clock is the test's own.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use overtag::engine::image::reference::{Reference, Repository};
use overtag::engine::options::link;
use overtag::engine::options::settings::Settings;
use overtag::engine::registry::auth;
use overtag::engine::registry::auth::{Authfile, Login, Logins};
use overtag::engine::registry::distribution::next_page;
use overtag::engine::registry::http::{Failure, LIST_LIMIT, Method, Moment, Request, Response, TRIES};
use overtag::engine::registry::manifest::sha256;
use overtag::engine::registry::redirect;
use overtag::engine::registry::tag_list::TagList;
use overtag::engine::registry::{
    Answer, Caller, Config, Dialect, Exchange, Form, Found, Manifest, NotFound, Query, RegistryError, Server, Step, step,
};
use overtag::engine::resolve::{Facts, Note, Resolver, Row, Status};
use overtag::engine::session::diagnosis::Cause;
use overtag::engine::session::{Client, LoginState, Next, Run};
use overtag::engine::template::plan::Image;
use overtag::engine::time::{Millis, Timestamp};
use serde_json::{Value, json};

/// Sat, 30 May 2026 00:49:16 UTC, when each run begins.
const NOW: u64 = 1_780_102_156;
/// How long an answer takes, in milliseconds.
const LATENCY: u64 = 10;
const CHANNEL: &str = "current-tripleo";
const PAGE: &str = "https://dash.example.org";

const D1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const D1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
const D2: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DL: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OM: &str = "application/vnd.oci.image.manifest.v1+json";
const OI: &str = "application/vnd.oci.image.index.v1+json";

type Outcome = Result<Response, Failure>;

// -- responses

/// A response with headers and a body.
fn reply(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Outcome {
    let mut response = Response { status, body: body.as_ref().to_vec(), ..Response::default() };
    for (name, value) in headers {
        response.set_header(name, value);
    }
    Ok(response)
}

/// A refusal as distribution writes it; without a code, a page of HTML.
fn refusal(status: u16, code: &str) -> Outcome {
    match code {
        "" => reply(status, &[("content-type", "text/html")], "<html>nothing to see</html>"),
        code => reply(
            status,
            &[("content-type", "application/json")],
            json!({ "errors": [{ "code": code, "detail": {} }] }).to_string(),
        ),
    }
}

/// An answer to GET as a HEAD gets it: without its body.
fn headed(request: &Request, outcome: Outcome) -> Outcome {
    outcome.map(|r| if request.method == Method::Head { Response { body: Vec::new(), ..r } } else { r })
}

/// A manifest with its type and digest; without its body for HEAD.
fn manifest(request: &Request, media_type: &str, body: &str) -> Outcome {
    let digest = sha256(body.as_bytes());
    headed(request, reply(200, &[("content-type", media_type), ("docker-content-digest", &digest)], body))
}

fn network() -> Outcome {
    Err(Failure::Network("the test says so".to_owned()))
}

// -- images

/// The hash that the images of [`shelf`] point to.
fn hash() -> String {
    format!("{}_{}", "a".repeat(40), "b".repeat(8))
}

fn config(labels: &Value) -> String {
    json!({ "architecture": "amd64", "os": "linux", "config": { "Labels": labels } }).to_string()
}

fn image(media_type: &str, config: &str) -> String {
    let config = json!({ "digest": sha256(config.as_bytes()), "size": config.len() });
    // Indented, so that parsing and printing it again gives another digest.
    format!("{:#}", json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [] }))
}

/// A registry with the same tags in every repository: the channel, and its hash; the label names it.
fn shelf(request: &Request) -> Outcome {
    let path = request.url.splitn(4, '/').nth(3).unwrap_or_default();
    if path == "v2/" {
        return reply(200, &[], "{}");
    }
    let (repository, kind, message) = parts(path);
    let config = config(&json!({ "rdo_version": hash(), "name": repository }));
    match kind {
        "manifests" if message == CHANNEL || message == hash() => manifest(request, D2, &image(D2, &config)),
        "manifests" => headed(request, refusal(404, "MANIFEST_UNKNOWN")),
        "blobs" if message == sha256(config.as_bytes()).as_str() => reply(200, &[], &config),
        _ => refusal(404, "BLOB_UNKNOWN"),
    }
}

/// `v2/REPOSITORY/KIND/WHAT`
fn parts(path: &str) -> (&str, &str, &str) {
    let path = path.strip_prefix("v2/").unwrap_or_else(|| panic!("{path} is not a path of a registry"));
    let (rest, message) = path.rsplit_once('/').unwrap_or_default();
    let (repository, kind) = rest.rsplit_once('/').unwrap_or_default();
    (repository, kind, message)
}

/// A Quay with the same tags in every repository, and all of these public.
fn quay_shelf(request: &Request) -> Outcome {
    let path = request.url.splitn(4, '/').nth(3).unwrap_or_default();
    if path == "v2/" {
        return reply(401, &[], "");
    }
    let path = path.strip_prefix("api/v1/repository").unwrap_or_else(|| panic!("{path} is not a path of Quay's API"));
    assert!(request.xhr && request.method == Method::Get && request.accept.is_none(), "{request:?}");
    let name = path.split(['?', '/']).nth(2).unwrap_or_default();
    let body = match path.split_once("/manifest/") {
        Some(_) => json!({ "labels": [{ "key": "rdo_version", "value": hash(), "source_type": "manifest" }] }),
        None => {
            let tag = json!({ "manifest_digest": sha256(name.as_bytes()), "last_modified": "Fri, 29 May 2026 00:49:16 -0000" });
            json!({ "namespace": "ns", "name": name, "tags": { CHANNEL: tag, hash(): tag } })
        }
    };
    reply(200, &[("content-type", "application/json")], body.to_string())
}

// -- one question

fn repository(name: &str) -> Repository {
    Reference::parse(name).expect("a reference").repository
}

fn server(caller: Caller) -> Server<'static> {
    Server { endpoint: "https://r.example", dialect: Dialect::COMMON, caller, hides_digest: false, form: None }
}

fn tag(manifest: bool) -> Query {
    Query::Tag { repository: repository("r.example/ns/x"), tag: CHANNEL.to_owned(), manifest }
}

fn tags() -> Query {
    Query::Tags { repository: repository("r.example/ns/x") }
}

/// Runs a query against a registry until it is answered: the answer, and the requests that were sent.
fn asked(
    query: &Query,
    server: Server<'_>,
    mut registry: impl FnMut(&Request) -> Outcome,
) -> (Result<Answer, RegistryError>, Vec<Request>) {
    let mut exchanged: Vec<Exchange> = Vec::new();
    loop {
        assert!(exchanged.len() < 300, "{query:?} comes to no end");
        match step(query, server, &exchanged) {
            Step::Done(answer) => return (answer, exchanged.into_iter().map(|e| e.request).collect()),
            Step::Send(request) => {
                let outcome = registry(&request);
                exchanged.push(Exchange { request, outcome, tries: 1 });
            }
        }
    }
}

fn found(answer: Result<Answer, RegistryError>) -> Found {
    match answer {
        Ok(Answer::Tag(Ok(found))) => found,
        other => panic!("it was not found: {other:?}"),
    }
}

fn trouble(answer: Result<Answer, RegistryError>) -> String {
    match answer {
        Err(trouble) => trouble.message,
        Ok(answer) => panic!("it was answered: {answer:?}"),
    }
}

// -- a run

fn browser() -> Client {
    Client { caller: Caller::Browser, page: PAGE.to_owned(), logins: Logins::default() }
}

fn native() -> Client {
    Client::program(Logins::default())
}

fn with_login(client: Client, host: &str) -> Client {
    let mut logins = Logins::default();
    logins.put(host, Login::new("user", "secret"));
    Client { logins, ..client }
}

/// `n` names of images on a host, at the channel.
fn names(host: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{host}/ns/i{i:03}:{CHANNEL}")).collect()
}

/// A run of these names, with the choices of a link.
fn run(names: &[String], link: &str, client: Client) -> Run {
    run_of(names, &format!("tag={CHANNEL}&{link}"), client)
}

fn run_of(names: &[String], link: &str, client: Client) -> Run {
    let (choices, notices) = link::read(link);
    let (settings, wrong) = Settings::new(&choices, true);
    assert!(notices.is_empty() && wrong.is_empty(), "{notices:?}{wrong:?}");
    let image = |name: &String| Image {
        imagename: name.clone(),
        reference: Reference::parse(name),
        short: name.clone(),
        why: String::new(),
        params: Vec::new(),
        services: Vec::new(),
    };
    let facts = Facts { asked_at: Timestamp(NOW), ..Facts::default() };
    Run::new(Resolver::new(settings, names.iter().map(image).collect()), client, facts, None)
}

/// What a run did.
struct Done {
    rows: Vec<Row>,
    /// What was sent, and when.
    sent: Vec<(u64, Request)>,
    run: Run,
}

impl Done {
    fn count(&self, such: impl Fn(&Request) -> bool) -> usize {
        self.sent.iter().filter(|(_, request)| such(request)).count()
    }

    /// When the last request was sent.
    fn last(&self) -> u64 {
        self.sent.last().map_or(0, |(at, _)| *at)
    }

    fn all(&self, status: Status) -> bool {
        self.rows.iter().all(|row| row.status == status)
    }

    /// The rows in error, for messages.
    fn errors(&self) -> Vec<&str> {
        self.rows.iter().filter(|r| r.status == Status::Error).map(|r| r.reason.as_str()).collect()
    }

    /// Why each host cannot be read.
    fn causes(&self) -> Vec<Cause> {
        self.run.causes().into_iter().map(|(_, cause, _)| cause).collect()
    }
}

/// Drives a run to its end. A registry gets the time in milliseconds. One that does not answer uses up the whole time that a
/// request has.
fn drive(mut run: Run, mut registry: impl FnMut(&Request, u64) -> Outcome) -> Done {
    let (mut now, mut sent) = (0_u64, Vec::new());
    let mut coming: BTreeMap<(u64, u64), Outcome> = BTreeMap::new();
    let moment = |ms: u64| Moment { ms: Millis(ms), unix: Timestamp(NOW + ms / 1000), random: 0.5 };
    loop {
        assert!(sent.len() < 20_000 && now < 3_600_000, "no end after {} requests and {now} ms", sent.len());
        let next = run.next(moment(now));
        if run.is_done() {
            break;
        }
        let due = match next {
            Next::Send(send) => {
                sent.push((now, send.request.clone()));
                let outcome = registry(&send.request, now);
                let silent = matches!(outcome, Err(Failure::Timeout));
                let takes = if silent { send.limit.as_millis() as u64 } else { LATENCY };
                coming.insert((now + takes, send.id), outcome);
                continue;
            }
            Next::Wait(until) => Some(until.max(Millis(now + 1))),
            Next::Idle => None,
        };
        match coming.first_key_value().map(|((at, _), _)| *at) {
            Some(at) if due.is_none_or(|due| at <= due.0) => {
                now = now.max(at);
                let ((_, id), outcome) = coming.pop_first().expect("there is one");
                run.deliver(id, outcome, moment(now));
            }
            _ => now = due.unwrap_or_else(|| panic!("it waits for nothing after {} requests", sent.len())).0,
        }
    }
    let (rows, _) = run.summarize();
    Done {
        rows: rows.into_iter().map(|row| std::sync::Arc::unwrap_or_clone(row.expect("every row is known"))).collect(),
        sent,
        run,
    }
}

/// Lets `per_second` requests a second through, and at first `burst` at once.
struct Bucket {
    per_second: f64,
    burst: f64,
    left: f64,
    at: u64,
}

impl Bucket {
    fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, left: burst, at: 0 }
    }

    fn take(&mut self, now: u64) -> bool {
        self.left = (self.left + (now - self.at) as f64 / 1000.0 * self.per_second).min(self.burst.max(1.0));
        self.at = now;
        let is_granted = self.left >= 1.0;
        self.left -= f64::from(u8::from(is_granted));
        is_granted
    }
}

// -- what an error means

#[test]
fn response_status_and_code_decide_row_status() {
    // Three 404 codes make an image absent. Any other response without a manifest is an error.
    for (status, code, want, words) in [
        (404, "MANIFEST_UNKNOWN", Status::Absent, "has no tag current-tripleo"),
        (404, "TAG_EXPIRED", Status::Absent, "has no tag current-tripleo"),
        (404, "NAME_UNKNOWN", Status::Absent, "has no repository ns/i000"),
        (401, "UNAUTHORIZED", Status::Error, "private"),
        (401, "", Status::Error, "private"),
        (403, "DENIED", Status::Error, "private"),
        (403, "", Status::Error, "private"),
        (400, "NAME_INVALID", Status::Error, "the repository name"),
        (400, "TAG_INVALID", Status::Error, "the tag"),
        (400, "", Status::Error, "400"),
        (405, "UNSUPPORTED", Status::Error, "405"),
        (408, "", Status::Error, "408"),
        (418, "", Status::Error, "418"),
        (500, "UNKNOWN", Status::Error, "500"),
        (501, "", Status::Error, "501"),
        (502, "", Status::Error, "502"),
        (503, "UNAVAILABLE", Status::Error, "503"),
        (504, "", Status::Error, "504"),
        (410, "", Status::Error, "410"),
        (200, "", Status::Error, "manifest"),
        (200, "UNKNOWN", Status::Error, "manifest"),
        (204, "", Status::Error, "204"),
    ] {
        // The code is in the body, which a HEAD does not have.
        let says = move |request: &Request, _: u64| headed(request, refusal(status, code));
        for client in [native(), browser()] {
            for link in ["", "pin=digest"] {
                let case = format!("{status} {code} to {:?} with {link}", client.caller);
                let done = drive(run(&names("r.example", 1), link, client.clone()), says);
                assert_eq!(done.rows[0].status, want, "{case}: {}", done.rows[0].reason);
                assert!(done.rows[0].reason.contains(words), "{case}: {}", done.rows[0].reason);
            }
        }
    }
}

#[test]
fn bare_404_is_absent_only_when_confirmed() {
    // A 404 without an error code counts only if two forms of the request agree on it. And `/v2/`
    // must answer as a registry does.
    for (ping, want) in [(200, Status::Absent), (401, Status::Absent), (404, Status::Error), (403, Status::Error)] {
        for client in [native(), browser()] {
            for link in ["", "pin=digest"] {
                let done =
                    drive(run(&names("r.example", 1), link, client.clone()), |request, _| match request.url.ends_with("/v2/") {
                        true => reply(ping, &[], ""),
                        false => headed(request, refusal(404, "")),
                    });
                assert_eq!(done.rows[0].status, want, "{ping}: {}", done.rows[0].reason);
                let forms: BTreeSet<String> = done
                    .sent
                    .iter()
                    .filter(|(_, r)| r.url.contains("/manifests/"))
                    .map(|(_, r)| format!("{:?} {:?}", r.method, r.accept))
                    .collect();
                assert!(forms.len() >= 2, "{forms:?}");
            }
        }
    }
    // The second request finds it: one server answers no HEAD, and the other's 404 is only about the type.
    for client in [native(), browser()] {
        let done = drive(run(&names("r.example", 1), "pin=digest", client.clone()), |request, _| match request.method {
            Method::Head => reply(404, &[], ""),
            _ => shelf(request),
        });
        assert_eq!(done.rows[0].status, Status::Resolved, "{}", done.rows[0].reason);
        let done = drive(run(&names("r.example", 1), "pin=digest", client), |request, _| match request.accept {
            Some(accept) if accept.contains(OM) => manifest(request, OM, &image(OM, "{}")),
            _ => reply(404, &[], ""),
        });
        assert_eq!(done.rows[0].status, Status::Resolved, "{}", done.rows[0].reason);
    }
    // Two requests that do not agree prove nothing.
    let done = drive(run(&names("r.example", 1), "", native()), |request, _| match request.method {
        Method::Get => reply(404, &[], ""),
        _ => reply(405, &[], ""),
    });
    assert_eq!(done.rows[0].status, Status::Error, "{}", done.rows[0].reason);
}

#[test]
fn refused_head_falls_back_to_get() {
    for status in [400, 403, 404, 405, 501] {
        let done = drive(run(&names("r.example", 4), "", native()), |request, _| match request.method {
            Method::Head if status != 403 => reply(status, &[], ""),
            _ => shelf(request),
        });
        assert!(done.all(Status::Resolved), "{status}: {:?}", done.errors());
    }
}

#[test]
fn transient_failure_is_error_after_four_tries() {
    let outcomes: [fn() -> Outcome; 8] = [
        || reply(408, &[], ""),
        || reply(500, &[], ""),
        || reply(502, &[], "<html>"),
        || refusal(503, "UNAVAILABLE"),
        || reply(504, &[], ""),
        network,
        || Err(Failure::Timeout),
        || reply(503, &[("retry-after", "1")], ""),
    ];
    for (i, outcome) in outcomes.into_iter().enumerate() {
        let done = drive(run(&names("r.example", 1), "pin=digest", native()), |_, _| outcome());
        let is_silent = matches!(outcome(), Err(Failure::Timeout));
        // A try that times out takes 20 s, so only three fit into the minute that an image has.
        assert_eq!(done.sent.len(), if is_silent { 3 } else { TRIES as usize }, "outcome {i}");
        assert_eq!(done.rows[0].status, Status::Error);
        assert!(done.last() < 60_000, "{i}: {}", done.last());
        assert_eq!(done.run.retries(), done.sent.len() - 1);
        // If the last try succeeds, it is not an error.
        if !is_silent {
            let mut n = 0;
            let done = drive(run(&names("r.example", 1), "pin=digest", native()), |request, _| {
                n += 1;
                if n < TRIES { outcome() } else { shelf(request) }
            });
            assert_eq!(done.rows[0].status, Status::Resolved, "outcome {i}: {}", done.rows[0].reason);
        }
    }
}

#[test]
fn retry_delays_grow_with_each_try() {
    let done = drive(run(&names("r.example", 1), "pin=digest", native()), |_, _| reply(500, &[], ""));
    let at: Vec<u64> = done.sent.iter().map(|(at, _)| *at).collect();
    let waits: Vec<u64> = at.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(waits.windows(2).all(|w| w[1] > w[0] * 3 / 2) && waits[0] >= 200, "{waits:?}");
}

#[test]
fn failing_host_is_given_up_early() {
    // All 120 images are errors after two requests an image at most, not after four tries for each.
    for outcome in [|| reply(500, &[], ""), network, || Err(Failure::Timeout)] {
        let done = drive(run(&names("r.example", 120), "", native()), |_, _| outcome());
        assert!(done.all(Status::Error));
        assert!(done.sent.len() <= 240 && done.last() <= 70_000, "{} requests in {} ms", done.sent.len(), done.last());
    }
}

// -- overload

#[test]
fn overload_retry_waits_for_retry_after() {
    let date = "Sat, 30 May 2026 00:49:33 GMT";
    for (header, least, most) in [
        (Some("12"), 12_000, 13_000),
        (Some(date), 16_000, 18_000),
        (Some("0"), 0, 3_000),
        (Some("soon"), 400, 3_000),
        (None, 400, 3_000),
        // A date in the past needs no wait.
        (Some("Sat, 30 May 2026 00:49:00 GMT"), 0, 3_000),
    ] {
        for status in [429, 503] {
            let mut n = 0;
            let done = drive(run(&names("r.example", 1), "pin=digest", native()), |request, _| {
                n += 1;
                match (n, header) {
                    (1, Some(header)) => reply(status, &[("retry-after", header)], ""),
                    (1, None) => reply(status, &[], ""),
                    _ => shelf(request),
                }
            });
            assert_eq!(done.rows[0].status, Status::Resolved, "{status} {header:?}: {}", done.rows[0].reason);
            // Until the host has given a good answer, a 503 without a time is retried like any other failure.
            let least = if status == 503 && least < 1_000 { 250 } else { least };
            assert!((least..=most).contains(&done.sent[1].0), "{status} {header:?}: {} ms", done.sent[1].0);
        }
    }
}

#[test]
fn retry_after_above_minute_fails_at_once() {
    for header in ["61", "3600", "Sat, 30 May 2026 02:00:00 GMT", "99999999999"] {
        let done = drive(run(&names("r.example", 120), "", native()), |_, _| reply(429, &[("retry-after", header)], ""));
        assert!(done.all(Status::Error) && done.sent.len() <= 40, "{header}: {} requests", done.sent.len());
        assert!(done.rows[0].reason.contains("429"), "{}", done.rows[0].reason);
        assert!(done.last() < 1000, "{header}: {} ms", done.last());
    }
}

#[test]
fn constant_rate_limit_gives_up_after_minute() {
    for header in [None, Some("0"), Some("2")] {
        let done = drive(run(&names("r.example", 120), "", native()), |_, _| {
            reply(429, &header.map(|h| ("retry-after", h)).into_iter().collect::<Vec<_>>(), "")
        });
        assert!(done.all(Status::Error) && done.last() <= 70_000, "{header:?}: {} ms", done.last());
        assert!(done.sent.len() <= 160, "{header:?}: {} requests", done.sent.len());
        assert!(done.rows[119].reason.contains("429"), "{}", done.rows[119].reason);
    }
}

#[test]
fn rate_limited_images_all_resolve() {
    // 150 images at five requests a second, with each status and `Retry-After` that servers send.
    let mut wrong = Vec::new();
    for (status, header, burst) in [
        (429, None, 1.0),
        (429, None, 10.0),
        (429, Some("1"), 1.0),
        (429, Some("1"), 5.0),
        (429, Some("3"), 5.0),
        (429, Some("7"), 5.0),
        (429, Some("Sat, 30 May 2026 00:49:18 GMT"), 5.0),
        // nginx's default.
        (503, None, 1.0),
        (503, None, 10.0),
        (503, Some("1"), 5.0),
    ] {
        let mut bucket = Bucket::new(5.0, burst);
        let done = drive(run(&names("r.example", 150), "", native()), |request, now| match bucket.take(now) {
            true => shelf(request),
            false => reply(status, &header.map(|h| ("retry-after", h)).into_iter().collect::<Vec<_>>(), ""),
        });
        // Two requests an image at 5 a second take a minute at best.
        if !done.all(Status::Resolved) || done.last() > 150_000 || done.sent.len() > 600 {
            let (errors, sent, last) = (done.errors(), done.sent.len(), done.last());
            wrong.push(format!(
                "{status} {header:?} burst {burst}: {sent} requests in {last} ms, {} errors: {:?}\n",
                errors.len(),
                errors.first()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn waiting_run_names_its_host() {
    let mut run = run(&names("r.example", 3), "pin=digest", native());
    let moment = |ms: u64| Moment { ms: Millis(ms), unix: Timestamp(NOW), random: 0.5 };
    let Next::Send(send) = run.next(moment(0)) else { panic!("there is something to send") };
    run.deliver(send.id, reply(429, &[("retry-after", "12")], ""), moment(5));
    let (host, pause) = run.waits_for(moment(1005).ms).expect("it waits for somebody");
    assert_eq!((host.as_str(), pause.as_secs()), ("r.example", 11));
    assert!(matches!(run.next(moment(1005)), Next::Wait(until) if until >= Millis(12_005)));
    run.cancel();
    assert!(run.is_done() && run.summarize().0.iter().flatten().all(|r| r.reason.contains("cancelled")));
}

#[test]
fn refresh_cancelled_anywhere_keeps_facts_consistent() {
    // A refresh is cancelled after each number of answers. Every row is then the old or the new
    // one, and the next refresh finds the rest.
    let builds = |i: usize, is_later: bool| match (i, is_later) {
        (0, _) => 3,
        (1, false) => 1,
        (_, false) => 2,
        (1, true) => 2,
        (_, true) => 4,
    };
    let hash = |build: usize| format!("{build:040x}_{build:08x}");
    let registry = |request: &Request, is_later: bool| {
        let path = request.url.splitn(4, '/').nth(3).unwrap_or_default();
        if path == "v2/" {
            return reply(200, &[], "{}");
        }
        let (repository, kind, message) = parts(path);
        let i = repository.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number");
        let config = |build: usize| config(&json!({ "rdo_version": hash(build), "name": repository }));
        let of_tag = if message == CHANNEL { Some(builds(i, is_later)) } else { (1..5).find(|build| hash(*build) == message) };
        let of_blob = (1..5).find(|build| sha256(config(*build).as_bytes()) == message);
        match (kind, of_tag, of_blob) {
            ("manifests", Some(build), _) => manifest(request, D2, &image(D2, &config(build))),
            ("blobs", _, Some(build)) => reply(200, &[], config(build)),
            _ => headed(request, refusal(404, "MANIFEST_UNKNOWN")),
        }
    };
    let reported =
        |rows: &[Row]| rows.iter().map(|r| (r.status, r.hash.clone(), r.notes.clone(), r.reason.clone())).collect::<Vec<_>>();
    let moment = |ms: u64| Moment { ms: Millis(ms), unix: Timestamp(NOW + 3600), random: 0.5 };
    let cold = |is_later: bool| drive(run(&names("r.example", 6), "", native()), |request, _| registry(request, is_later));
    let (before, after) = (reported(&cold(false).rows), reported(&cold(true).rows));
    let mut was_left = 0;
    for enough in 0..100 {
        let mut run = cold(false).run;
        run.refresh(Logins::default(), Timestamp(NOW + 3600));
        let mut in_flight = VecDeque::new();
        for n in 0.. {
            // All requests that it offers are sent at once, and the last one is answered first.
            while let Next::Send(send) = run.next(moment(n)) {
                in_flight.push_back(send);
            }
            if n == enough {
                break;
            }
            let Some(send) = in_flight.pop_back() else { break };
            let outcome = registry(&send.request, true);
            run.deliver(send.id, outcome, moment(n));
        }
        let was_done = run.is_done();
        run.cancel();
        let rows: Vec<Row> = run.summarize().0.into_iter().flatten().map(Arc::unwrap_or_clone).collect();
        assert!(
            reported(&rows)
                .iter()
                .zip(before.iter().zip(&after))
                .all(|(is, (old, new))| is.0 == old.0 && (is.1 == old.1 || is.1 == new.1)),
            "{enough}: {rows:?}"
        );
        let errors: Vec<_> = run.facts().answers.iter().filter(|(_, answer)| answer.is_err()).collect();
        assert!(errors.is_empty(), "after {enough} answers: {errors:?}");
        run.refresh(Logins::default(), Timestamp(NOW + 7200));
        let again = drive(run, |request, _| registry(request, true));
        assert_eq!(reported(&again.rows), after, "after {enough} answers");
        if was_done {
            break;
        }
        was_left += 1;
    }
    assert!(was_left >= 6, "{was_left}");
}

#[test]
fn cancelled_refetch_restores_last_answer() {
    // A good answer is restored. After an error, the error is, not the good answer before it.
    let mut run = drive(run(&names("r.example", 1), "", native()), |request, _| shelf(request)).run;
    let query = Query::Tags { repository: Repository { host: "r.example".to_owned(), path: "ns/i000".to_owned() } };
    let tags = |mut run: Run, outcome: &dyn Fn() -> Outcome| {
        run.refetch(vec![query.clone()]);
        drive(run, |_, _| outcome()).run
    };
    run = tags(run, &|| reply(200, &[], "{\"tags\":[\"one\"]}"));
    let one = run.facts().answers[&query].clone();
    assert!(one.is_ok(), "{one:?}");
    run.refetch(vec![query.clone()]);
    run.cancel();
    assert_eq!(run.facts().answers[&query], one);
    run = tags(run, &|| reply(200, &[], "<html>"));
    assert!(run.facts().answers[&query].is_err());
    run.refetch(vec![query.clone()]);
    run.cancel();
    assert!(run.facts().answers[&query].is_err());
}

// -- forms

#[test]
fn every_manifest_form_yields_digest_and_labels() {
    let label = json!({ "rdo_version": hash() });
    let config = config(&label);
    let child = |media_type: &str, body: &str, os: &str, arch: &str| json!({ "mediaType": media_type, "digest": sha256(body.as_bytes()), "size": body.len(), "platform": { "os": os, "architecture": arch } });
    for (plain, list) in [(D2, DL), (OM, OI)] {
        let one = image(plain, &config);
        let other = image(plain, "{\"of\":\"arm64\"}");
        let mut attestation = child(plain, &image(plain, "{}"), "unknown", "unknown");
        attestation["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
        // First the attestation, then an image for another platform: the labels must come from neither.
        let children = [attestation, child(plain, &other, "linux", "arm64"), child(plain, &one, "linux", "amd64")];
        let index = format!("{:#}", json!({ "schemaVersion": 2, "mediaType": list, "manifests": children }));
        for (media_type, body) in [(plain, &one), (list, &index)] {
            for client in [native(), browser()] {
                let case = format!("{media_type} to {:?}", client.caller);
                let done = drive(run(&names("r.example", 1), "", client), |request, _| {
                    let (_, kind, message) = parts(request.url.splitn(4, '/').nth(3).unwrap_or_default());
                    let accepts = |t: &str| request.accept.is_some_and(|a| a.split(',').any(|x| x == t));
                    match (kind, message) {
                        ("blobs", digest) if digest == sha256(config.as_bytes()).as_str() => reply(200, &[], &config),
                        ("manifests", digest) if digest == sha256(one.as_bytes()).as_str() => manifest(request, plain, &one),
                        ("manifests", reference) if [CHANNEL, &hash()].contains(&reference) && accepts(media_type) => {
                            manifest(request, media_type, body)
                        }
                        _ => headed(request, refusal(404, "MANIFEST_UNKNOWN")),
                    }
                });
                let row = &done.rows[0];
                assert_eq!(
                    (row.status, row.pinned_by.word(), &row.tag),
                    (Status::Resolved, "label", &hash()),
                    "{case}: {}",
                    row.reason
                );
                assert_eq!(row.digest.as_deref(), Some(sha256(body.as_bytes()).as_str()), "{case}");
            }
        }
    }
}

#[test]
fn missing_platform_manifest_falls_back_to_digest() {
    let gone = json!({ "mediaType": D2, "digest": sha256(b"gone"), "platform": { "os": "linux", "architecture": "amd64" } });
    let list = json!({ "schemaVersion": 2, "mediaType": DL, "manifests": [gone] }).to_string();
    let done =
        drive(run(&names("r.example", 1), "pin=label,digest", native()), |request, _| match request.url.ends_with(CHANNEL) {
            true => manifest(request, DL, &list),
            false => headed(request, refusal(404, "MANIFEST_UNKNOWN")),
        });
    assert_eq!((done.rows[0].status, done.rows[0].pinned_by.word()), (Status::Resolved, "digest"), "{}", done.rows[0].reason);
    // A list without any image, as a repository of attestations alone has.
    let empty = json!({ "schemaVersion": 2, "mediaType": OI, "manifests": [] }).to_string();
    let done = drive(run(&names("r.example", 1), "pin=label,digest", native()), |request, _| manifest(request, OI, &empty));
    assert_eq!((done.rows[0].status, done.rows[0].pinned_by.word()), (Status::Resolved, "digest"), "{}", done.rows[0].reason);
}

/// What was signed of a schema 1 manifest, and the whole as it is served: the signatures stand before the last two bytes
/// (<https://distribution.github.io/distribution/spec/deprecated-schema-v1/>).
fn signed(labels: &Value) -> (String, String) {
    let history = json!({ "v1Compatibility": json!({ "id": "1", "config": { "Labels": labels } }).to_string() });
    let older =
        json!({ "v1Compatibility": json!({ "id": "0", "config": { "Labels": { "rdo_version": "older" } } }).to_string() });
    let payload = format!(
        "{:#}",
        json!({ "schemaVersion": 1, "name": "ns/i000", "tag": CHANNEL, "architecture": "amd64",
                "fsLayers": [{ "blobSum": sha256(b"a") }, { "blobSum": sha256(b"b") }], "history": [history, older] })
    );
    let length = payload.len() - 2;
    let (text, tail) = payload.split_at(length);
    assert_eq!(tail, "\n}");
    let protected = json!({ "formatLength": length, "formatTail": URL_SAFE_NO_PAD.encode(tail), "time": "2017-05-30T00:49:16Z" });
    let signature = json!([{ "header": { "alg": "ES256" }, "signature": "c2ln", "protected": URL_SAFE_NO_PAD.encode(protected.to_string()) }]);
    let whole = format!("{text},\n  \"signatures\": {signature}{tail}");
    (payload, whole)
}

#[test]
fn schema1_digest_covers_signed_payload() {
    // A schema 1 manifest has the digest of what was signed, and its labels in its history.
    let (payload, whole) = signed(&json!({ "rdo_version": hash() }));
    let unsigned = payload.clone();
    let digest = sha256(payload.as_bytes());
    assert_ne!(sha256(whole.as_bytes()), digest);
    for (media_type, body) in [(D1_SIGNED, &whole), (D1, &unsigned), ("application/json", &whole)] {
        for reported in [true, false] {
            for client in [native(), browser()] {
                let case = format!("{media_type} to {:?}, digest reported: {reported}", client.caller);
                let done = drive(run(&names("r.example", 1), "", client), |request, _| {
                    let digest = if reported { vec![("docker-content-digest", digest.as_str())] } else { Vec::new() };
                    let headers = [vec![("content-type", media_type)], digest].concat();
                    headed(request, reply(200, &headers, body))
                });
                let row = &done.rows[0];
                assert_eq!((row.status, row.pinned_by.word()), (Status::Resolved, "label"), "{case}: {}", row.reason);
                assert_eq!((row.tag.as_str(), row.digest.as_deref()), (hash().as_str(), Some(digest.as_str())), "{case}");
                assert_eq!(done.count(|r| r.url.contains("/blobs/")), 0, "{case}: it has no config");
            }
        }
    }
    // Some registries send the digest of the whole body, which is not the manifest's digest.
    let wrong = sha256(whole.as_bytes());
    let headers = [("content-type", D1_SIGNED), ("docker-content-digest", wrong.as_str())];
    let (answer, _) = asked(&tag(true), server(Caller::Native), |_| reply(200, &headers, &whole));
    assert!(trouble(answer).contains("the registry reports"));
    // Without labels, and with a history that cannot be read.
    let (_, bare) = signed(&Value::Null);
    let (answer, _) = asked(&tag(true), server(Caller::Native), |_| reply(200, &[("content-type", D1_SIGNED)], &bare));
    assert_eq!(found(answer).manifest, Some(Manifest::Labelled(Config::default())));
    let broken = json!({ "schemaVersion": 1, "history": [{ "v1Compatibility": "{" }] }).to_string();
    let (answer, _) = asked(&tag(true), server(Caller::Native), |_| reply(200, &[("content-type", D1)], &broken));
    assert!(answer.is_err());
}

#[test]
fn schema1_unsigned_history_is_ignored() {
    let (payload, whole) = signed(&json!({ "rdo_version": hash() }));
    // The unsigned part says something else. The digest is the same, so it must not count.
    let forged = json!([{ "v1Compatibility": json!({ "config": { "Labels": { "rdo_version": "forged" } } }).to_string() }]);
    let whole = whole.replacen(",\n  \"signatures\"", &format!(",\n  \"history\": {forged},\n  \"signatures\""), 1);
    let (answer, _) = asked(&tag(true), server(Caller::Native), |_| reply(200, &[("content-type", D1_SIGNED)], &whole));
    if let Ok(Answer::Tag(Ok(found))) = answer {
        assert_eq!(found.digest, sha256(payload.as_bytes()));
        let labels = BTreeMap::from([("rdo_version".to_owned(), hash())]);
        assert_eq!(found.manifest, Some(Manifest::Labelled(Config { labels, only_added: false, built_at: None })));
    }
}

#[test]
fn mismatched_digest_header_is_error() {
    let body = image(D2, "{}");
    let wrong = sha256(b"something else");
    for caller in [Caller::Native, Caller::Browser] {
        let (answer, _) =
            asked(&tag(true), server(caller), |_| reply(200, &[("content-type", D2), ("docker-content-digest", &wrong)], &body));
        assert!(trouble(answer).contains(wrong.as_str()));
    }
    // A HEAD has no body to compare. If its header is not a digest, the body is read with a GET.
    for reported in [Some("sha256:short"), Some("nonsense"), None] {
        let (answer, sent) = asked(&tag(false), server(Caller::Native), |request| {
            let reported = reported.filter(|_| request.method == Method::Head).map(|t| ("docker-content-digest", t));
            headed(request, reply(200, &[reported, Some(("content-type", D2))].into_iter().flatten().collect::<Vec<_>>(), &body))
        });
        assert_eq!(found(answer).digest, sha256(body.as_bytes()));
        assert_eq!(sent.len(), 2);
    }
    // A child or a config whose digest is not the requested one.
    for query in [
        Query::Manifest { repository: repository("r.example/ns/x"), digest: sha256(b"other"), form: Form::All },
        Query::Labels { repository: repository("r.example/ns/x"), config: sha256(b"other") },
    ] {
        let (answer, _) = asked(&query, server(Caller::Native), |_| reply(200, &[("content-type", D2)], &body));
        assert!(trouble(answer).contains("does not match this digest"));
    }
}

#[test]
fn hidden_digest_header_switches_to_get() {
    let done = drive(run(&names("r.example", 30), "", browser()), |request, _| {
        shelf(request).map(|r| Response { digest: None, link: None, challenge: None, retry_after: None, ..r })
    });
    assert!(done.all(Status::Resolved), "{:?}", done.errors());
    // At most the requests that were in flight when this was noticed.
    assert!(done.count(|r| r.method == Method::Head) <= 12, "{}", done.count(|r| r.method == Method::Head));
}

#[test]
fn browser_accepts_docker_types_without_preflight() {
    // `Accept` stays short enough to need no preflight: first Docker's two types, then OCI's two.
    let oci = image(OM, "{}");
    for wants_manifest in [false, true] {
        let (answer, sent) = asked(&tag(wants_manifest), server(Caller::Browser), |request| match request.accept {
            Some(accept) if accept.contains(OM) => manifest(request, OM, &oci),
            _ => headed(request, refusal(404, "MANIFEST_UNKNOWN")),
        });
        assert_eq!(found(answer).digest, sha256(oci.as_bytes()));
        let accepts: Vec<&str> = sent.iter().filter_map(|r| r.accept).collect();
        assert_eq!(accepts, [format!("{DL},{D2}"), format!("{OI},{OM}")]);
        assert!(sent.iter().all(|r| !r.needs_preflight() && r.accept.is_some_and(|a| a.len() <= 128)));
    }
    // It is absent only if the requests for both pairs say so.
    let (answer, sent) = asked(&tag(false), server(Caller::Browser), |request| headed(request, refusal(404, "MANIFEST_UNKNOWN")));
    assert_eq!((answer, sent.len()), (Ok(Answer::Tag(Err(NotFound::Tag))), 2));
    // But one body is enough if it names the tag as unknown, also that of the second pair.
    let (unknown, other) =
        (|name: &str| json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "detail": { "Tag": name } }] }), "other");
    for (wants_manifest, named, expected) in [(true, CHANNEL, 1), (false, CHANNEL, 2), (true, other, 2)] {
        let (answer, sent) = asked(&tag(wants_manifest), server(Caller::Browser), |request| {
            headed(request, reply(404, &[("content-type", "application/json")], unknown(named).to_string()))
        });
        assert_eq!((answer, sent.len()), (Ok(Answer::Tag(Err(NotFound::Tag))), expected), "{named}");
    }
    // If a repository served OCI before, that is requested first, so that no form is taken for another.
    let server_of = |form| Server { form, ..server(Caller::Browser) };
    for (media_type, form) in [(OM, Form::OciImage), (OI, Form::OciIndex)] {
        assert_eq!(Form::first(media_type), Some(form));
        let body = image(media_type, "{}");
        let (answer, sent) = asked(&tag(false), server_of(Some(form)), |request| manifest(request, media_type, &body));
        let found = found(answer);
        assert_eq!((found.digest, found.form, sent.len()), (sha256(body.as_bytes()), Form::Oci, 1));
        assert_eq!(sent[0].accept, Some(format!("{DL},{media_type}").as_str()));
        assert!(!sent[0].needs_preflight());
    }
    // If the type is not of the requested pair, nothing is sure, and its own pair is requested.
    let (answer, sent) = asked(&tag(false), server(Caller::Browser), |request| manifest(request, OM, &oci));
    assert_eq!(found(answer).digest, sha256(oci.as_bytes()));
    assert!(sent.len() > 1 && sent.last().and_then(|r| r.accept).is_some_and(|a| a.contains(OM)), "{sent:?}");
    // A program accepts all types at once, without weights, schema 1 last.
    let (_, sent) = asked(&tag(false), server(Caller::Native), |request| manifest(request, OM, &oci));
    assert_eq!(sent[0].accept, Some([DL, D2, OI, OM, D1_SIGNED].join(",").as_str()));
}

#[test]
fn response_without_manifest_is_error() {
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":2,\"config\":{}}",
        "{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:x\"}}",
        "<html>",
        "{\"manifests\":{}}",
        "\u{0}",
    ] {
        for caller in [Caller::Native, Caller::Browser] {
            let (answer, _) = asked(&tag(true), server(caller), |_| reply(200, &[("content-type", D2)], body));
            assert!(answer.is_err(), "{body}: {answer:?}");
        }
    }
}

// -- names

#[test]
fn image_names_parse_as_docker_parses_them() {
    let digest = sha256(b"x");
    for (name, host, path, reference) in [
        ("x", "docker.io", "library/x", "latest"),
        ("docker.io/x", "docker.io", "library/x", "latest"),
        ("docker.io/library/x:1", "docker.io", "library/x", "1"),
        ("ns/x:t", "docker.io", "ns/x", "t"),
        ("docker.io/ns/x:t", "docker.io", "ns/x", "t"),
        ("localhost/x", "localhost", "x", "latest"),
        ("localhost:5000/x:t", "localhost:5000", "x", "t"),
        ("192.168.24.1:8787/ns/x:t", "192.168.24.1:8787", "ns/x", "t"),
        ("[::1]:5000/x:t", "[::1]:5000", "x", "t"),
        ("[fd00::1]/ns/x:t", "[fd00::1]", "ns/x", "t"),
        ("quay.io/a/b/c:t", "quay.io", "a/b/c", "t"),
        ("r.example/ns/x__y.z-0:T_1.2-3", "r.example", "ns/x__y.z-0", "T_1.2-3"),
        (&format!("r.example/ns/x@{digest}"), "r.example", "ns/x", &digest),
        (&format!("r.example/ns/x:t@{digest}"), "r.example", "ns/x", &digest),
        (&format!("x@{digest}"), "docker.io", "library/x", &digest),
    ] {
        let read = Reference::parse(name).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!((read.repository.host.as_str(), read.repository.path.as_str()), (host, path), "{name}");
        assert_eq!(read.digest.as_deref().unwrap_or(&read.tag), reference, "{name}");
    }
    for name in [
        "",
        "/x",
        "r.example/",
        "r.example/Ns/x",
        "r.example/ns/X:t",
        "r.example/ns//x",
        "r.example/ns/x:",
        "r.example/ns/x:-t",
        "r.example/ns/x:a b",
        "r.example/ns/-x",
        "r.example/ns/x-",
        "r.example/ns/x..y",
        "r.example/ns/x___y",
        "r.example/ns/x@sha256:0",
        &format!("r.example/ns/x@{}", digest.to_uppercase()),
        &format!("r.example/ns/x@{digest}:t"),
        "r.example/ns/../x:t",
        "r.example/ns/x?y:t",
        "https://r.example/ns/x:t",
        "user@r.example/ns/x:t",
    ] {
        assert!(Reference::parse(name).is_err(), "{name}");
    }
}

#[test]
fn image_name_selects_registry_address() {
    let digest = sha256(image(D2, &config(&json!({ "rdo_version": hash(), "name": "x" }))).as_bytes());
    for (name, link, url) in [
        (format!("docker.io/x:{CHANNEL}"), "", format!("https://registry-1.docker.io/v2/library/x/manifests/{CHANNEL}")),
        (format!("ns/x:{CHANNEL}"), "", format!("https://registry-1.docker.io/v2/ns/x/manifests/{CHANNEL}")),
        (format!("[::1]:5000/x:{CHANNEL}"), "", format!("http://[::1]:5000/v2/x/manifests/{CHANNEL}")),
        (format!("127.0.0.1:5000/x:{CHANNEL}"), "", format!("http://127.0.0.1:5000/v2/x/manifests/{CHANNEL}")),
        (format!("localhost/x:{CHANNEL}"), "", format!("http://localhost/v2/x/manifests/{CHANNEL}")),
        (format!("r.example:8443/x:{CHANNEL}"), "", format!("https://r.example:8443/v2/x/manifests/{CHANNEL}")),
        (
            format!("r.example/x:{CHANNEL}"),
            "endpoint=r.example%3Dhttp%3A%2F%2F10.0.0.1%3A5000",
            format!("http://10.0.0.1:5000/v2/x/manifests/{CHANNEL}"),
        ),
        (format!("r.example/x@{digest}"), "", format!("https://r.example/v2/x/manifests/{digest}")),
        (format!("r.example/x:{CHANNEL}@{digest}"), "", format!("https://r.example/v2/x/manifests/{digest}")),
    ] {
        let done = drive(run(std::slice::from_ref(&name), link, native()), |request, _| {
            let at_tag = request.url.replace(&format!("manifests/{digest}"), &format!("manifests/{CHANNEL}"));
            let repository = request.url.split("/v2/").nth(1).and_then(|r| r.split("/manifests/").next()).unwrap_or_default();
            let is_x = repository == "x" || !name.contains('@');
            shelf(&Request { url: if is_x { at_tag } else { request.url.clone() }, ..request.clone() })
        });
        assert_eq!(done.sent[0].1.url, url, "{name}");
        assert_eq!(done.rows[0].status, Status::Resolved, "{name}: {}", done.rows[0].reason);
        if name.contains('@') {
            // A digest does not move: it is written as it is, once the registry has confirmed it.
            assert_eq!(
                (done.rows[0].written.as_deref(), done.rows[0].pinned_by.word(), done.sent.len()),
                (Some(name.as_str()), "exact", 1)
            );
        }
    }
}

#[test]
fn digest_reference_never_resolves_to_another() {
    // It is absent only if the registry says so. Another digest, or a failure, is an error.
    let digest = sha256(b"x");
    let name = [format!("r.example/ns/x@{digest}")];
    let done = drive(run(&name, "", native()), |request, _| headed(request, refusal(404, "MANIFEST_UNKNOWN")));
    assert_eq!(done.rows[0].status, Status::Absent);
    let done = drive(run(&name, "", native()), |request, _| manifest(request, D2, &image(D2, "{}")));
    assert_eq!(done.rows[0].status, Status::Error, "{}", done.rows[0].reason);
    let done = drive(run(&name, "", native()), |_, _| reply(500, &[], ""));
    assert_eq!(done.rows[0].status, Status::Error);
}

// -- lists of tags

/// A page of a list of tags.
fn page(tags: &[String], link: Option<&str>) -> Outcome {
    let link = link.map(|l| ("link", l));
    reply(200, &link.into_iter().collect::<Vec<_>>(), json!({ "name": "ns/x", "tags": tags }).to_string())
}

fn list(tags: &[String]) -> TagList {
    tags.iter().map(String::as_str).collect()
}

fn versions(n: usize) -> Vec<String> {
    let mut all: Vec<String> = (0..n).map(|i| format!("1.{i}")).collect();
    all.sort();
    all
}

/// The value of a parameter of an address.
fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    form_urlencoded::parse(query.as_bytes()).find(|(k, _)| k == name).map(|(_, v)| v.into_owned())
}

#[test]
fn tag_list_is_read_through_all_pages() {
    // Servers may cap `n`, refuse it or ignore it, and they write `Link` in many forms.
    let all = versions(250);
    /// How a server gives a page after a tag.
    type Giver = fn(&Request, &[String]) -> Outcome;
    /// Seven tags a page, whatever `n` is, and a `Link` of some form.
    fn clamped(request: &Request, all: &[String], link: impl Fn(&str) -> String) -> Outcome {
        let after = parameter(&request.url, "last").unwrap_or_default();
        let some: Vec<String> = all.iter().filter(|t| **t > after).take(7).cloned().collect();
        let next = some.last().filter(|l| *l != all.last().expect("tags")).map(|l| link(l));
        page(&some, next.as_deref())
    }
    let servers: [(&str, Giver); 9] = [
        ("relative Link", |r, all| clamped(r, all, |l| format!("</v2/ns/x/tags/list?n=7&last={l}>; rel=\"next\""))),
        ("absolute Link", |r, all| clamped(r, all, |l| format!("<https://r.example/v2/ns/x/tags/list?last={l}&n=7>; rel=next"))),
        ("Link of a query", |r, all| clamped(r, all, |l| format!("<?n=7&last={l}>; rel=\"next\""))),
        ("several links", |r, all| {
            clamped(r, all, |l| format!("</v2/>; rel=\"up\", <list?n=7&last={l}>; title=\"a, b\"; rel=\"next\""))
        }),
        ("TLS ends before it", |r, all| {
            clamped(r, all, |l| format!("<http://r.example/v2/ns/x/tags/list?last={l}>; rel=\"next\""))
        }),
        ("no Link", |r, all| clamped(r, all, |_| "<x>; rel=\"prev\"".to_owned()).map(|r| Response { link: None, ..r })),
        ("no n", |r, all| match r.url.contains("n=") {
            true => refusal(400, "PAGINATION_NUMBER_INVALID"),
            false => page(if r.url.contains("last=") { &[] } else { all }, None),
        }),
        ("too large", |r, all| match r.url.contains("n=") {
            true => reply(413, &[], ""),
            false => page(all, None),
        }),
        ("deaf to parameters", |_, all| page(all, None)),
    ];
    for (name, give) in servers {
        for caller in [Caller::Native, Caller::Browser] {
            let (answer, sent) = asked(&tags(), server(caller), |request| give(request, &all));
            assert_eq!(answer, Ok(Answer::Tags(Ok(list(&all)))), "{name}");
            assert!(sent.len() <= 40, "{name}: {}", sent.len());
            assert!(sent.iter().all(|r| r.url.starts_with("https://r.example/v2/ns/x/tags/list") && r.limit == LIST_LIMIT));
        }
    }
}

#[test]
fn tag_list_with_bad_link_is_refused() {
    // The next page is on another host, is the same page again, or there is always one more.
    let some = versions(3);
    for link in [
        "<https://evil.example/v2/ns/x/tags/list?last=1.2>; rel=\"next\"",
        "<//evil.example/v2/ns/x/tags/list?last=1.2>; rel=\"next\"",
        "<https://r.example:8443/v2/ns/x/tags/list?last=1.2>; rel=\"next\"",
        "<https://r.example@evil.example/>; rel=\"next\"",
        "<https://r.example\\@evil.example/>; rel=\"next\"",
        "<http://127.0.0.1/>; rel=\"next\"",
        // The same page again.
        "</v2/ns/x/tags/list?n=1000>; rel=\"next\"",
    ] {
        let (answer, sent) = asked(&tags(), server(Caller::Native), |_| page(&some, Some(link)));
        let is_none = matches!(answer, Err(_) | Ok(Answer::Refused(_)));
        assert!(is_none && sent.len() <= 2, "{link}: {answer:?} after {} requests", sent.len());
        assert!(sent.iter().all(|r| r.url.starts_with("https://r.example/")), "{link}");
    }
    let mut n = 0;
    let (answer, sent) = asked(&tags(), server(Caller::Native), |_| {
        n += 1;
        page(&[format!("1.{n}")], Some(&format!("</v2/ns/x/tags/list?last=1.{n}>; rel=\"next\"")))
    });
    assert!(matches!(answer, Ok(Answer::Refused(_))) && sent.len() <= 250, "{answer:?}");
    // All pages together have a bound too.
    let large = vec![" ".repeat(1 << 20); 1];
    let mut n = 0;
    let (answer, sent) = asked(&tags(), server(Caller::Native), |_| {
        n += 1;
        page(&[format!("1.{n}"), large[0].clone()], Some(&format!("<?last=1.{n}>; rel=\"next\"")))
    });
    assert!(trouble(answer).contains("larger than 16 MiB") && sent.len() <= 20, "{}", sent.len());
}

/// Where a server's `Link` for the page after a tag points, and what it answers there.
struct Broken {
    name: &'static str,
    link: fn(&str) -> String,
    answer: fn() -> Outcome,
}

const BROKEN: [Broken; 9] = [
    Broken {
        name: "another repository",
        link: |last| format!("</v2/x/tags/list?last={last}&n=7>; rel=\"next\""),
        answer: || refusal(404, "NAME_UNKNOWN"),
    },
    Broken {
        name: "a path that is not served",
        link: |last| format!("<https://r.example/repository/proxy/v2/ns/x/tags/list?last={last}>; rel=\"next\""),
        answer: || refusal(404, ""),
    },
    Broken {
        name: "a repository without leave",
        link: |last| format!("</v2/x/tags/list?last={last}>; rel=\"next\""),
        answer: || refusal(403, "DENIED"),
    },
    Broken { name: "trouble", link: |last| format!("</v2/y/?last={last}>; rel=\"next\""), answer: || refusal(500, "") },
    Broken { name: "nobody", link: |last| format!("</v2/y/?last={last}>; rel=\"next\""), answer: network },
    Broken { name: "a page of HTML", link: |last| format!("</v2/y/?last={last}>; rel=\"next\""), answer: || refusal(302, "") },
    Broken {
        name: "the name behind its front",
        link: |last| format!("<http://registry-core:8080/v2/ns/x/tags/list?last={last}>; rel=\"next\""),
        answer: || panic!("nobody is led there"),
    },
    Broken {
        name: "a private address",
        link: |last| format!("<http://127.0.0.1/v2/ns/x/tags/list?last={last}>; rel=\"next\""),
        answer: || panic!("nobody is led there"),
    },
    Broken { name: "no address", link: |_| "<ftp://x y>; rel=\"next\"".to_owned(), answer: || panic!("that cannot be asked") },
];

#[test]
fn broken_next_link_continues_after_last_tag() {
    // The next page is then requested with `last=` on the list's own address.
    let all = versions(100);
    for broken in &BROKEN {
        for caller in [Caller::Native, Caller::Browser] {
            // Seven tags a page. The last page is the one without a `Link`.
            let page_after = |after: &str| {
                let some: Vec<String> = all.iter().filter(|t| t.as_str() > after).take(7).cloned().collect();
                let is_last = some.last() == all.last();
                page(&some, (!is_last).then(|| (broken.link)(&some[some.len() - 1])).as_deref())
            };
            let own = "https://r.example/v2/ns/x/tags/list";
            let (answer, sent) = asked(&tags(), server(caller), |request| match request.url.strip_prefix(own) {
                Some(_) => page_after(&parameter(&request.url, "last").unwrap_or_default()),
                None => (broken.answer)(),
            });
            assert_eq!(answer, Ok(Answer::Tags(Ok(list(&all)))), "{}", broken.name);
            // The broken link is tried at most once, not for each page.
            assert!(sent.len() <= 17, "{}: {} requests", broken.name, sent.len());

            // If the server does not support `last=` either, the list is refused, and nothing is absent.
            let (answer, _) = asked(&tags(), server(caller), |request| match request.url.strip_prefix(own) {
                Some(_) => page_after(""),
                None => (broken.answer)(),
            });
            let Ok(Answer::Refused(trouble)) = answer else { panic!("{}: {answer:?}", broken.name) };
            assert!(trouble.message.contains("tags of the list could be read"), "{}", trouble.message);
            // The same if it then answers with an unknown repository, or with a refusal.
            for refuse in [|| refusal(404, "NAME_UNKNOWN"), || refusal(404, ""), || refusal(403, "")] {
                let (answer, _) = asked(&tags(), server(caller), |request| match request.url.strip_prefix(own) {
                    Some(rest) if !rest.contains("last=") => page_after(""),
                    Some(_) => refuse(),
                    None => (broken.answer)(),
                });
                assert!(matches!(answer, Ok(Answer::Refused(_))), "{}: {answer:?}", broken.name);
            }
        }
    }
}

#[test]
fn tag_list_is_complete_only_if_proven() {
    // Without a readable `Link`, the page after the last tag is requested, and its status decides.
    let (few, full) = (versions(9), versions(1000));
    // The status of the page after the last tag, where no `Link` could be read.
    for (caller, tags_of, status, want) in [
        (Caller::Native, &few, 400, true),
        (Caller::Native, &few, 404, true),
        (Caller::Native, &full, 403, false),
        (Caller::Browser, &few, 404, false),
    ] {
        let (answer, _) = asked(&tags(), server(caller), |request| match request.url.contains("last=") {
            true => refusal(status, ""),
            false => page(tags_of, None),
        });
        assert_eq!(matches!(answer, Ok(Answer::Tags(Ok(_)))), want, "{status}: {answer:?}");
        assert!(want || matches!(answer, Ok(Answer::Refused(_))), "{status}: {answer:?}");
    }
    // A failure that may pass does not end the list.
    for status in [408, 429, 500, 503] {
        let (answer, _) = asked(&tags(), server(Caller::Native), |request| match request.url.contains("last=") {
            true => refusal(status, ""),
            false => page(&few, None),
        });
        assert!(answer.is_err(), "{status}: {answer:?}");
    }
}

#[test]
fn old_quay_tag_list_ends_without_link() {
    // Up to 3.11: in order of rows, 50 a page, with another token each time. Anything that is not a token gives the first page.
    let all: Vec<String> = std::iter::once(CHANNEL.to_owned()).chain((0..120).rev().map(|i| format!("v1.{i}.0"))).collect();
    for (n, requests) in [(121, 3), (50, 2), (20, 2)] {
        let (some, mut turn) = (&all[..n], 0);
        let (answer, sent) = asked(&tags(), server(Caller::Native), |request| {
            turn += 1;
            let from: usize = parameter(&request.url, "next_page").and_then(|t| t.split('.').next()?.parse().ok()).unwrap_or(0);
            let to = (from + 50).min(n);
            let link = format!("</v2/ns/x/tags/list?n=50&next_page={to}.{turn}>; rel=\"next\"");
            page(&some[from..to], (to < n).then_some(link.as_str()))
        });
        let Ok(Answer::Tags(Ok(got))) = answer else { panic!("{n}: {answer:?}") };
        assert_eq!((got.len(), sent.len()), (n, requests));
    }
}

#[test]
fn pin_chain_skips_refused_requests() {
    // After a refusal the chain goes on. A failure that may pass is an error.
    /// Whether a request is for what is refused.
    type Such = fn(&Request) -> bool;
    let list: Such = |r| r.url.contains("/tags/list");
    let blob: Such = |r| r.url.contains("/blobs/");
    for status in [401, 403, 404, 405, 501] {
        for (such, pin, want, by, words) in [
            (list, "sibling,digest", Status::Resolved, "digest", "list of tags"),
            (list, "sibling,channel", Status::Resolved, "channel", "list of tags"),
            (list, "sibling", Status::Error, "", "list of tags"),
            (blob, "label,digest", Status::Resolved, "digest", "image's config"),
            (blob, "label,channel", Status::Resolved, "channel", "image's config"),
            (blob, "label", Status::Error, "", "image's config"),
            (blob, "label,sibling", Status::Resolved, "sibling", ""),
        ] {
            let done = drive(run(&names("r.example", 1), &format!("pin={pin}"), native()), |request, _| match such(request) {
                true => refusal(status, ""),
                false if list(request) => page(&[CHANNEL.to_owned(), hash()], None),
                false => shelf(request),
            });
            let row = &done.rows[0];
            assert_eq!((row.status, row.pinned_by.word()), (want, by), "{status} {pin}: {}", row.reason);
            let is_reported = words.is_empty() || row.reason.contains(words) && row.reason.contains(&status.to_string());
            assert!(is_reported && !row.reason.contains("private"), "{status} {pin}: {}", row.reason);
            assert!(done.run.locked().is_empty(), "{status} {pin}: no login is asked for what was read");
        }
    }
    // A failure that may pass is an error, not a reason to write a less exact tag.
    for outcome in [|| refusal(500, ""), network, || refusal(429, "TOOMANYREQUESTS")] {
        let done = drive(run(&names("r.example", 1), "pin=sibling,digest", native()), |request, _| match list(request) {
            true => outcome(),
            false => shelf(request),
        });
        assert_eq!(done.rows[0].status, Status::Error, "{}", done.rows[0].reason);
    }
}

#[test]
fn answered_repository_is_never_absent() {
    // The tag exists, and then the list of tags says that the repository does not.
    let done =
        drive(run(&names("r.example", 1), "pin=sibling,digest", native()), |request, _| match request.url.contains("/tags/") {
            true => refusal(404, "NAME_UNKNOWN"),
            false => shelf(request),
        });
    assert_eq!(done.rows[0].pinned_by.word(), "digest", "{}", done.rows[0].reason);
    assert!(!done.rows[0].reason.contains("0 immutable"), "{}", done.rows[0].reason);
    // The list exists, and then the request for its newest tag says so.
    let newest = run_of(&["r.example/ns/i000:newest".to_owned()], "tag=newest:v.*", native());
    let done = drive(newest, |request, _| match request.url.contains("/tags/") {
        true => page(&["v1.0".to_owned()], None),
        false => headed(request, refusal(404, "NAME_UNKNOWN")),
    });
    assert_eq!(done.rows[0].status, Status::Error, "{}", done.rows[0].reason);
}

#[test]
fn failing_upstream_is_error_not_absent() {
    // A proxy cache may answer 404 for any failure of its upstream. Its message shows which it was.
    for (message, want) in [
        ("the requested image may not exist in the upstream registry, or … access it (429)", Status::Error),
        (
            "may not exist in the upstream registry, or … (HTTPSConnectionPool(host='r', port=443): Read timed out.)",
            Status::Error,
        ),
        ("may not exist in the upstream registry, or … (Failed to get token from: 'x', with status code: 429)", Status::Error),
        ("may not exist in the upstream registry, or … (404)", Status::Absent),
        ("cannot be read (503)", Status::Error),
        ("cannot be read (401).", Status::Error),
        ("cannot be read (404)", Status::Absent),
        ("manifest unknown", Status::Absent),
        ("manifest of 2017 (three)", Status::Absent),
    ] {
        for client in [native(), browser()] {
            let done = drive(run(&names("r.example", 1), "pin=digest", client), |request, _| {
                let error = json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "message": message, "detail": {} }] });
                headed(request, reply(404, &[("content-type", "application/json")], error.to_string()))
            });
            assert_eq!(done.rows[0].status, want, "{message}: {}", done.rows[0].reason);
        }
    }
}

#[test]
fn first_present_label_wins_per_image() {
    // The first image has only the second label, and so gives the hash; the others have both.
    let both = json!({ "version": "16.2", "release": "7", "rdo_version": hash() });
    let answer = |request: &Request| {
        let path = request.url.splitn(4, '/').nth(3).unwrap_or_default();
        let (repository, kind, message) = parts(path);
        let labels = if repository == "ns/i000" { json!({ "rdo_version": hash() }) } else { both.clone() };
        let config = config(&labels);
        match kind {
            "manifests" if [CHANNEL, &hash(), "16.2-7"].contains(&message) => manifest(request, D2, &image(D2, &config)),
            "manifests" => headed(request, refusal(404, "MANIFEST_UNKNOWN")),
            _ => reply(200, &[], &config),
        }
    };
    let chosen = drive(run(&names("r.example", 9), "label={version}-{release},rdo_version", native()), |r, _| answer(r));
    let tags: Vec<&str> = chosen.rows.iter().map(|r| r.tag.as_str()).collect();
    assert_eq!(tags[0], hash());
    assert!(tags[1..].iter().all(|tag| *tag == "16.2-7"), "{tags:?}");
    assert!(chosen.rows.iter().all(|r| r.pinned_by.word() == "label"));
    // Writing out the default labels changes nothing: two requests an image.
    let default = drive(run(&names("r.example", 9), "label=rdo_version,tcib_build_tag", native()), |r, _| answer(r));
    assert!(default.rows.iter().all(|r| r.tag == hash()) && default.sent.len() < 30, "{} requests", default.sent.len());
}

#[test]
fn unchanged_image_is_not_torn_by_label() {
    // The first image is the same in two builds, and its label names the older one; the channel points to the newer one.
    let old = format!("{}_{}", "c".repeat(40), "d".repeat(8));
    let answer = |request: &Request| {
        let path = request.url.splitn(4, '/').nth(3).unwrap_or_default();
        let (repository, kind, message) = parts(path);
        let own = if repository == "ns/i000" { &old } else { &hash() };
        let config = config(&json!({ "rdo_version": own }));
        let is_there = message == CHANNEL || message == hash() || message == old && repository == "ns/i000";
        match kind {
            "manifests" if is_there => manifest(request, D2, &image(D2, &config)),
            "manifests" => headed(request, refusal(404, "MANIFEST_UNKNOWN")),
            _ => reply(200, &[], &config),
        }
    };
    for link in ["", "label=rdo_version"] {
        let done = drive(run(&names("r.example", 9), link, native()), |request, _| answer(request));
        assert!(done.rows.iter().all(|row| row.status == Status::Resolved && row.notes.is_empty()), "{link}: {:?}", done.rows[0]);
    }
    // An image without the chosen label is still found by the hash of the others, without listing tags.
    let bare = |request: &Request| match request.url.contains("/ns/i005/blobs/") {
        true => refusal(403, ""),
        false => answer(request),
    };
    let done = drive(run(&names("r.example", 9), "label=rdo_version", native()), |request, _| bare(request));
    assert_eq!((done.rows[5].pinned_by.word(), &done.rows[5].tag), ("sibling", &hash()), "{}", done.rows[5].reason);
    assert_eq!(done.count(|r| r.url.contains("/tags/list")), 0);
}

#[test]
fn retry_refetches_contradictory_responses() {
    let newest = run_of(&["r.example/ns/i000:newest".to_owned()], "tag=newest:v.*", native());
    let list = |request: &Request| request.url.contains("/tags/").then(|| page(&["v1.0".to_owned()], None));
    let mut done = drive(newest, |request, _| list(request).unwrap_or_else(|| headed(request, refusal(404, "NAME_UNKNOWN"))));
    assert_eq!(done.rows[0].status, Status::Error, "{}", done.rows[0].reason);
    done.run.retry_failed(Logins::default());
    let body = image(D2, "{}");
    let done = drive(done.run, |request, _| list(request).unwrap_or_else(|| manifest(request, D2, &body)));
    assert_eq!(done.rows[0].status, Status::Resolved, "{}", done.rows[0].reason);
}

#[test]
fn failing_upstream_child_manifest_is_error() {
    // Only a child that the registry really does not have leaves an image without labels.
    let child = sha256(b"child");
    let list = json!({ "schemaVersion": 2, "mediaType": DL, "manifests": [
        { "mediaType": D2, "digest": child, "size": 2, "platform": { "os": "linux", "architecture": "amd64" } },
    ]});
    for (message, want) in
        [("may not exist in the upstream registry (429)", Status::Error), ("manifest unknown", Status::Unresolved)]
    {
        let done =
            drive(run(&names("r.example", 1), "pin=label", native()), |request, _| match request.url.contains(child.as_str()) {
                true => reply(404, &[], json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "message": message }] }).to_string()),
                false => manifest(request, DL, &list.to_string()),
            });
        assert_eq!(done.rows[0].status, want, "{message}: {}", done.rows[0].reason);
    }
}

#[test]
fn failing_quay_api_falls_back_to_v2() {
    let answer = |request: &Request| match request.url.contains("/api/v1/") {
        true => refusal(503, ""),
        false => shelf(request),
    };
    let done = drive(run(&names("quay.example", 5), "", native()), |r, _| answer(r));
    assert!(done.all(Status::Resolved), "{:?}", done.errors());
    assert!(done.count(|r| r.url.contains("/api/v1/")) <= TRIES as usize, "one is tried, not all");
    // `api=quay` has no fallback. Neither has a page, which cannot read Quay's `/v2/`.
    for (link, client) in [("api=quay", native()), ("", browser())] {
        let done = drive(run(&names("quay.example", 2), link, client), |r, _| answer(r));
        assert!(done.all(Status::Error), "{link}");
    }
    // What is not a Quay is queried by `/v2/`, also where it was chosen to be one: the choice is for all hosts of a template.
    let other = |request: &Request| match request.url.contains("/api/v1/") {
        true => reply(404, &[], "not found"),
        false => shelf(request),
    };
    for link in ["", "api=quay"] {
        let done = drive(run(&names("quay.example", 2), link, native()), |r, _| other(r));
        assert!(done.all(Status::Resolved), "{link}: {:?}", done.errors());
    }
}

#[test]
fn link_header_parses_by_its_grammar() {
    let current = "https://r.example/v2/ns/x/tags/list?n=2";
    for (link, want) in [
        ("</a>; rel=\"next\"", Some("https://r.example/a")),
        ("</a>;rel=next", Some("https://r.example/a")),
        ("</a>; REL=\"NEXT\"", Some("https://r.example/a")),
        ("</a>; rel=\"prev next\"", Some("https://r.example/a")),
        ("</a>; rel=\"prev\"; title=\"rel=next\"", None),
        ("</a>; rel=\"nextish\"", None),
        ("</a>; rel=\"prev\", </b>; rel=\"next\"", Some("https://r.example/b")),
        ("</a>; rel=\"next\", </b>; rel=\"last\"", Some("https://r.example/a")),
        ("</a,b>; rel=\"next\"", Some("https://r.example/a,b")),
        ("</a>", None),
        ("", None),
        ("<", None),
        ("nonsense", None),
    ] {
        assert_eq!(next_page(link, current).ok().flatten().as_deref(), want, "{link}");
    }
}

#[test]
fn tag_list_responses_are_classified() {
    let query = |outcome: fn() -> Outcome| asked(&tags(), server(Caller::Native), move |_| outcome()).0;
    assert_eq!(query(|| reply(200, &[], "{\"name\":\"x\",\"tags\":null}")), Ok(Answer::Tags(Ok(TagList::default()))));
    assert_eq!(query(|| refusal(404, "NAME_UNKNOWN")), Ok(Answer::Tags(Err(NotFound::Repository))));
    // A refused list is final, but it does not mean absent.
    for status in [401, 403, 404, 405, 410, 501] {
        let (answer, _) = asked(&tags(), server(Caller::Native), |_| refusal(status, ""));
        let Ok(Answer::Refused(trouble)) = answer else { panic!("{status}: {answer:?}") };
        assert!(trouble.message.contains(&format!("list of tags ({status})")), "{}", trouble.message);
    }
    for outcome in [|| refusal(500, ""), || reply(200, &[], "<html>"), || reply(200, &[], "{\"tags\":{}}"), network] {
        assert!(query(outcome).is_err());
    }
    assert!(trouble(query(|| refusal(400, "PAGINATION_NUMBER_INVALID"))).contains("pages"));
}

// -- diagnosis

/// A registry that does not allow a page to read it: requests fail, but a probe shows that something answers.
fn unreadable(request: &Request) -> Outcome {
    if request.method == Method::Probe { Ok(Response::default()) } else { network() }
}

#[test]
fn unreadable_registry_is_diagnosed_with_few_requests() {
    type Registry = fn(&Request, u64) -> Outcome;
    let dead: Registry = |_, _| network();
    let blocked: Registry = |request, _| unreadable(request);
    let offline: Registry = |_, _| Err(Failure::Offline);
    for (host, page, link, registry, want) in [
        ("r.example", PAGE, "endpoint=r.example%3Dhttp%3A%2F%2Fr.example", dead, Cause::MixedContent),
        ("r.example", PAGE, "", offline, Cause::Offline),
        ("r.example", PAGE, "", blocked, Cause::CorsOff),
        ("r.example", "http://dash.example.org", "", blocked, Cause::CorsOff),
        ("r.example", PAGE, "", dead, Cause::Unreachable),
        ("192.168.24.1:8787", PAGE, "", dead, Cause::LocalNetwork),
        ("127.0.0.1:5000", PAGE, "", dead, Cause::LocalNetwork),
        ("127.0.0.1:5000", PAGE, "", blocked, Cause::CorsOff),
        ("192.168.24.1:8787", "http://192.168.24.2", "", dead, Cause::Unreachable),
        ("quay.io", PAGE, "", dead, Cause::Unreachable),
        ("quay.example.org", PAGE, "", blocked, Cause::CorsOff),
        ("r.example", PAGE, "api=quay", blocked, Cause::CorsOff),
        ("r.example", PAGE, "api=distribution", blocked, Cause::CorsOff),
    ] {
        let case = format!("{want:?} of {host} on {page} with {link}");
        let client = Client { page: page.to_owned(), ..browser() };
        let done = drive(run(&names(host, 120), link, client), registry);
        assert_eq!(done.causes(), std::slice::from_ref(&want), "{case}");
        let error = want.error(host, &done.run.endpoint(host));
        assert!(done.rows.iter().all(|r| r.status == Status::Error && r.reason == error.message), "{case}: {:?}", done.errors());
        assert!(done.sent.len() <= 24, "{case}: {} requests", done.sent.len());
        assert!(done.last() <= 20_000, "{case}: {} ms", done.last());
        let probes = done.count(|r| r.method == Method::Probe);
        let wants_probe = matches!(want, Cause::CorsOff | Cause::Unreachable | Cause::LocalNetwork);
        assert_eq!(probes, usize::from(wants_probe), "{case}");
    }
}

#[test]
fn hanging_registry_gets_few_requests() {
    let done = drive(run(&names("r.example", 120), "", browser()), |_, _| Err(Failure::Timeout));
    assert!(done.all(Status::Error) && done.sent.len() <= 60, "{} requests", done.sent.len());
    assert!(done.last() <= 90_000, "{} ms", done.last());
}

#[test]
fn quay_under_other_name_is_detected() {
    let done =
        drive(run(&names("registry.example.org", 60), "", browser()), |request, _| match request.url.contains("/api/v1/") {
            true => quay_shelf(request),
            false => unreadable(request),
        });
    assert!(done.all(Status::Resolved), "{:?}", done.errors());
    assert_eq!(done.causes(), []);
    assert!(done.count(|r| r.url.contains("/v2/")) <= 16, "{}", done.count(|r| r.url.contains("/v2/")));
    assert!(done.count(|r| r.url.contains("/api/v1/")) <= 65);
    // And a registry that is only named like a Quay is asked as a registry, by a program and by a page.
    for client in [native(), browser()] {
        let done = drive(run(&names("quay.example.org", 60), "", client), |request, _| match request.url.contains("/api/v1/") {
            true => reply(404, &[], "404 page not found\n"),
            false => shelf(request),
        });
        assert!(done.all(Status::Resolved), "{:?}", done.errors());
        assert_eq!(done.count(|r| r.url.contains("/api/v1/")), 1);
    }
}

/// A registry that wants tokens for everything.
fn wants_token(request: &Request, realm: &str) -> Option<Outcome> {
    let challenge = format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:user/image:pull\"");
    match &request.authorization {
        _ if request.url.contains("/token") => None,
        Some(header) if header.reveal().starts_with("Bearer good") => None,
        _ => Some(reply(401, &[("www-authenticate", &challenge)], "{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}")),
    }
}

fn token(text: &str, expires_in: u64) -> Outcome {
    reply(200, &[], json!({ "token": text, "expires_in": expires_in }).to_string())
}

#[test]
fn refused_preflight_is_diagnosed() {
    let done = drive(run(&names("r.example", 120), "", browser()), |request, _| {
        match wants_token(request, "https://auth.example/token") {
            Some(challenge) => challenge,
            None if request.url.contains("/token") => token("good", 300),
            // The browser sends a preflight for the token, and the 401 that it gets has no CORS headers.
            None => network(),
        }
    });
    assert_eq!(done.causes(), [Cause::PreflightRefused]);
    assert!(done.all(Status::Error) && done.rows[0].reason.contains("preflight"), "{:?}", done.errors());
    assert!(done.sent.len() <= 60, "{} requests", done.sent.len());
}

#[test]
fn unreadable_token_service_is_named() {
    let done = drive(run(&names("r.example", 120), "", browser()), |request, _| {
        wants_token(request, "https://auth.example/token").unwrap_or_else(network)
    });
    assert_eq!(done.causes(), [Cause::TokenService("https://auth.example".to_owned())]);
    assert!(done.all(Status::Error) && done.rows[119].reason.contains("https://auth.example"), "{:?}", done.errors());
    assert!(done.sent.len() <= 80, "{} requests", done.sent.len());
}

#[test]
fn network_failure_after_success_is_retried() {
    // A page whose connection fails now and then.
    let mut n = 0;
    let done = drive(run(&names("r.example", 120), "", browser()), |request, _| {
        n += 1;
        if n > 20 && n % 9 == 0 { network() } else { shelf(request) }
    });
    assert!(done.all(Status::Resolved), "{:?}", done.errors());
    assert_eq!(done.causes(), []);
    // And one whose connection fails for good: no image is absent, and only unanswered ones are errors.
    let mut n = 0;
    let done = drive(run(&names("r.example", 120), "", browser()), |request, _| {
        n += 1;
        if n > 20 { network() } else { shelf(request) }
    });
    assert!(done.rows.iter().all(|r| matches!(r.status, Status::Resolved | Status::Error)));
    assert!(done.rows.iter().any(|r| r.status == Status::Error) && done.sent.len() <= 200, "{} requests", done.sent.len());
}

#[test]
fn unreadable_quay_rate_limit_slows_requests() {
    // A page sees only failed requests, not the refusals. All images are resolved in the end.
    let mut bucket = Bucket::new(5.0, 25.0);
    let mut refused = 0;
    let done = drive(run(&names("quay.io", 150), "", browser()), |request, now| {
        // Each address needs a preflight, which counts too; over the limit neither answer can be read.
        if bucket.take(now) && bucket.take(now) {
            return quay_shelf(request);
        }
        refused += 1;
        network()
    });
    assert!(refused > 0 && done.all(Status::Resolved), "{:?}", done.errors());
    assert_eq!((done.causes().len(), done.run.requests()), (0, done.sent.len()));
    assert!(done.last() < 150_000, "{} ms", done.last());
}

#[test]
fn server_side_causes_offer_configuration_lines() {
    let page = "https://dash.example.org";
    let lines = |cause: &Cause, dialect| -> String {
        cause.remedies(page, dialect).iter().map(|r| format!("{}\n{}\n", r.title, r.lines)).collect()
    };
    for cause in [Cause::CorsOff, Cause::PreflightRefused, Cause::TokenService("https://auth.example".to_owned())] {
        let text = lines(&cause, Dialect::COMMON);
        assert!(text.contains(page) && text.contains("Access-Control-Allow-Origin") && text.contains("Authorization"), "{text}");
        assert!(!matches!(cause, Cause::TokenService(_)) || text.contains("https://auth.example"), "{text}");
    }
    // A registry that wants a login answers OPTIONS with 401 whatever its own headers say: only a proxy helps.
    assert!(!lines(&Cause::PreflightRefused, Dialect::COMMON).contains("http:\n  headers:"));
    assert!(lines(&Cause::CorsOff, overtag::engine::registry::quay::DIALECT).contains("CORS_ORIGIN"));
    for cause in [Cause::MixedContent, Cause::Offline, Cause::Unreachable, Cause::LocalNetwork] {
        assert_eq!(lines(&cause, Dialect::COMMON), "");
        assert!(!cause.error("r.example", "https://r.example").hint.is_empty());
    }
}

// -- tokens and logins

#[test]
fn token_is_requested_once_per_image() {
    // Once one token was accepted, the other images get theirs before they are refused.
    let done = drive(run(&names("r.example", 60), "", native()), |request, _| {
        match wants_token(request, "https://r.example/token?k=v") {
            Some(challenge) => challenge,
            None if request.url.contains("/token") => token("good", 300),
            None => shelf(request),
        }
    });
    assert!(done.all(Status::Resolved), "{:?}", done.errors());
    assert_eq!(done.count(|r| r.url.contains("/token")), 60);
    let scopes: BTreeSet<Option<String>> =
        done.sent.iter().filter(|(_, r)| r.url.contains("/token")).map(|(_, r)| parameter(&r.url, "scope")).collect();
    assert_eq!(scopes, (0..60).map(|i| Some(format!("repository:ns/i{i:03}:pull"))).collect());
    assert!(
        done.sent.iter().filter(|(_, r)| r.url.contains("/token")).all(|(_, r)| parameter(&r.url, "k").as_deref() == Some("v"))
    );
    // Only the requests in flight before the first token was known to be needed were refused.
    assert!(done.sent.len() <= 60 * 3 + 45, "{} requests", done.sent.len());
}

#[test]
fn token_is_renewed_before_expiry() {
    let mut issued = Vec::new();
    let mut renewed_late = 0;
    // One image with many checks, one a second: a token of 20 s is renewed every 16.
    let name = [format!("r.example/ns/x:{CHANNEL}")];
    let mut bucket = Bucket::new(1.0, 1.0);
    let other = image(D2, "{\"other\":1}");
    let done = drive(run(&name, "pin=sibling,digest", native()), |request, now| {
        if request.url.contains("/token") {
            issued.push(now);
            return token(&format!("good-{}", issued.len()), 20);
        }
        if let Some(challenge) = wants_token(request, "https://r.example/token") {
            return challenge;
        }
        if let (Some(last), Some(header)) = (issued.last(), &request.authorization) {
            assert_eq!(header.reveal(), format!("Bearer good-{}", issued.len()));
            renewed_late += usize::from(now > last + 17_000);
        }
        if request.url.contains("/tags/list") {
            return page(&if request.url.contains("last=") { Vec::new() } else { versions(40) }, None);
        }
        if !bucket.take(now) {
            return reply(429, &[], "");
        }
        if request.url.ends_with(CHANNEL) { manifest(request, D2, &image(D2, "{}")) } else { manifest(request, D2, &other) }
    });
    assert_eq!((done.rows[0].status, done.rows[0].pinned_by.word()), (Status::Resolved, "digest"), "{}", done.rows[0].reason);
    assert_eq!(renewed_late, 0);
    assert!(issued.len() >= 3 && issued.windows(2).all(|w| w[1] - w[0] >= 16_000), "{issued:?}");
}

#[test]
fn token_expiring_early_is_renewed_per_request() {
    // Each is good for one request alone.
    for expires_in in [300, 60] {
        let (mut issued, mut used) = (0, BTreeSet::new());
        let done = drive(run(&names("r.example", 20), "", native()), |request, _| {
            if request.url.contains("/token") {
                issued += 1;
                return token(&format!("good-{issued}"), expires_in);
            }
            let given = request.authorization.as_ref().map(|a| a.reveal().to_owned());
            match given {
                Some(given) if used.insert(given.clone()) => shelf(request),
                Some(_) => {
                    wants_token(&Request { authorization: None, ..request.clone() }, "https://r.example/token").expect("a 401")
                }
                None => wants_token(request, "https://r.example/token").expect("a 401"),
            }
        });
        assert!(done.all(Status::Resolved), "{:?}", done.errors());
        assert!(done.sent.len() <= 20 * 8, "{} requests", done.sent.len());
    }
    // A token that is never accepted is not requested again and again.
    let done = drive(run(&names("r.example", 20), "", native()), |request, _| match request.url.contains("/token") {
        true => token("bad", 300),
        false => wants_token(request, "https://r.example/token").expect("a 401"),
    });
    assert!(done.all(Status::Error) && done.rows[0].reason.contains("private"), "{:?}", done.errors());
    assert!(done.sent.len() <= 20 * 3, "{} requests", done.sent.len());
}

#[test]
fn revoked_token_is_renewed_for_all_requests() {
    let name = [format!("r.example/ns/x:{CHANNEL}")];
    let (mut issued, mut revoked, mut checks) = (0, 0, 0);
    let other = image(D2, "{\"other\":1}");
    let done = drive(run(&name, "pin=sibling,digest", native()), |request, _| {
        if request.url.contains("/token") {
            issued += 1;
            return token(&format!("good-{issued}"), 300);
        }
        // After four of the sixteen checks that go out together, all tokens so far are revoked.
        if request.url.contains("/manifests/1.") && request.authorization.is_some() {
            checks += 1;
            if checks == 4 {
                revoked = issued;
            }
        }
        let number = request.authorization.as_ref().and_then(|a| a.reveal().rsplit_once('-')?.1.parse::<usize>().ok());
        match number {
            Some(number) if number > revoked => {}
            _ => {
                return wants_token(&Request { authorization: None, ..request.clone() }, "https://r.example/token")
                    .expect("a 401");
            }
        }
        if request.url.contains("/tags/list") {
            return page(&if request.url.contains("last=") { Vec::new() } else { versions(40) }, None);
        }
        if request.url.ends_with(CHANNEL) { manifest(request, D2, &image(D2, "{}")) } else { manifest(request, D2, &other) }
    });
    assert_eq!(done.rows[0].status, Status::Resolved, "{} after {issued} tokens", done.rows[0].reason);
    assert!(issued <= 8, "{issued} tokens for one image");
}

#[test]
fn token_service_responses_are_classified() {
    let bodies: [(&str, bool); 7] = [
        (r#"{"token":"good"}"#, true),
        (r#"{"access_token":"good"}"#, true),
        (r#"{"token":"","access_token":"good"}"#, true),
        (r#"{"token":"good","expires_in":0}"#, true),
        (r#"{"token":"good","expires_in":null,"issued_at":null}"#, true),
        (r#"{"token":"good","expires_at":"2030-01-01T00:00:00Z"}"#, true),
        (r#"{"expires_in":300}"#, false),
    ];
    for (body, is_good) in bodies {
        let done = drive(run(&names("r.example", 3), "", native()), |request, _| {
            match wants_token(request, "https://r.example/token") {
                Some(challenge) => challenge,
                None if request.url.contains("/token") => reply(200, &[], body),
                None => shelf(request),
            }
        });
        let want = if is_good { Status::Resolved } else { Status::Error };
        assert!(done.all(want), "{body}: {:?}", done.errors());
    }
    // A refusal does not mean absent. A failure is retried.
    for (status, tries) in [(400, 1), (401, 1), (403, 1), (404, 1), (500, TRIES as usize), (503, TRIES as usize)] {
        let done = drive(run(&names("r.example", 1), "", native()), |request, _| {
            wants_token(request, "https://r.example/token").unwrap_or_else(|| reply(status, &[], "{}"))
        });
        assert_eq!(done.rows[0].status, Status::Error, "{status}");
        assert_eq!(done.count(|r| r.url.contains("/token")), tries, "{status}");
        let is_locked = matches!(status, 400 | 401 | 403).then_some(&LoginState::Needed);
        assert_eq!(done.run.locked().get("r.example"), is_locked, "{status}");
    }
}

#[test]
fn login_is_sent_only_to_its_host() {
    // Basic: the login's own host gets it when it asks. The other host asks too, and does not.
    let basic = [("www-authenticate", "Basic realm=\"r\"")];
    let both = [names("r.example", 5), names("other.example", 5)].concat();
    let done = drive(run(&both, "", with_login(native(), "r.example")), |request, _| match &request.authorization {
        Some(header) => {
            assert!(request.url.starts_with("https://r.example/"), "a login at {}", request.url);
            assert_eq!(header.reveal(), format!("Basic {}", STANDARD.encode("user:secret")));
            shelf(request)
        }
        None => reply(401, &basic, ""),
    });
    assert!(done.rows[..5].iter().all(|r| r.status == Status::Resolved), "{:?}", done.errors());
    assert!(done.rows[5..].iter().all(|r| r.status == Status::Error));
    assert_eq!(done.run.locked().iter().collect::<Vec<_>>(), [(&"other.example".to_owned(), &LoginState::Needed)]);
    // A host that asks for none gets none.
    let done = drive(run(&names("r.example", 5), "", with_login(native(), "r.example")), |request, _| {
        assert!(request.authorization.is_none());
        shelf(request)
    });
    assert!(done.all(Status::Resolved));
    // A wrong login is sent once an image, and is reported as refused.
    let done = drive(run(&names("r.example", 5), "", with_login(native(), "r.example")), |_, _| reply(401, &basic, ""));
    assert!(done.all(Status::Error) && done.sent.len() <= 10, "{}", done.sent.len());
    assert_eq!(done.run.locked().get("r.example"), Some(&LoginState::Refused));
}

#[test]
fn token_realm_is_followed_only_if_safe() {
    for (endpoint, realm, has_login, may) in [
        ("https://r.example.org", "https://auth.example.net/token", false, true),
        ("https://r.example.org", "https://auth.example.net/token", true, false),
        ("https://r.example.org", "https://auth.example.org/token", true, true),
        ("https://r.example.org", "https://r.example.org:8443/token", true, true),
        ("https://r.example.org", "http://r.example.org/token", false, false),
        ("https://r.example.org", "https://127.0.0.1/token", false, false),
        ("https://r.example.org", "https://localhost/token", false, false),
        ("https://r.example.org", "https://10.1.2.3/token", false, false),
        ("https://r.example.org", "https://[::1]/token", false, false),
        ("https://r.example.org", "https://[::ffff:10.0.0.1]/token", false, false),
        ("https://r.example.org", "https://169.254.169.254/latest/meta-data", false, false),
        ("https://r.example.org", "https://100.64.0.1/token", false, false),
        ("https://r.example.org", "https://0x7f.1/token", false, false),
        ("https://r.example.org", "file:///etc/passwd", false, false),
        ("https://r.example.org", "/token", false, false),
        ("https://r.example.org", "https://r.example.org@evil.example/token", false, false),
        ("http://192.168.24.1:8787", "http://192.168.24.1:5001/token", false, true),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true, true),
    ] {
        let case = format!("{endpoint} to {realm}, login: {has_login}");
        let link =
            format!("endpoint=r.example.org%3D{}", form_urlencoded::byte_serialize(endpoint.as_bytes()).collect::<String>());
        // A login is for the host that is really asked, whatever host the image name has.
        let asked = endpoint.split("://").nth(1).unwrap_or_default();
        let client = if has_login { with_login(native(), asked) } else { native() };
        let done = drive(run(&names("r.example.org", 3), &link, client), |request, _| {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
            match (request.url.contains("/token") || !request.url.contains("/v2/"), &request.authorization) {
                (true, authorization) => {
                    assert!(may && authorization.is_some() == has_login, "{case}: it was asked");
                    token("good", 300)
                }
                (false, Some(_)) => shelf(request),
                (false, None) => reply(401, &[("www-authenticate", &challenge)], ""),
            }
        });
        assert!(done.all(if may { Status::Resolved } else { Status::Error }), "{case}: {:?}", done.errors());
    }
}

#[test]
fn redirect_drops_login_and_avoids_private_hosts() {
    let mut request = Request::get("https://r.example.org/v2/ns/x/blobs/y".to_owned(), 1);
    request.authorization = Login::new("u", "p").basic();
    request.accept = Some("x");
    for (to, want) in [
        ("https://cdn.example.net/b?sig=1", Some(("https://cdn.example.net/b?sig=1", false))),
        ("/other", Some(("https://r.example.org/other", true))),
        ("z", Some(("https://r.example.org/v2/ns/x/blobs/z", true))),
        ("https://r.example.org/other", Some(("https://r.example.org/other", true))),
        ("https://r.example.org:444/other", Some(("https://r.example.org:444/other", false))),
        ("//cdn.example.net/b", Some(("https://cdn.example.net/b", false))),
        ("http://r.example.org/other", None),
        ("http://cdn.example.net/b", None),
        ("https://127.0.0.1/b", None),
        ("https://192.168.0.1/b", None),
        ("https://[fe80::1]/b", None),
        ("https://nas.local/b", None),
        ("https://intranet/b", None),
        ("ftp://cdn.example.net/b", None),
        ("javascript:alert(1)", None),
        ("https://a@cdn.example.net/b", None),
        ("https://cdn.example.net\\@127.0.0.1/", None),
    ] {
        let led = redirect::redirected(&request, to);
        let got = led.as_ref().ok().map(|r| (r.url.as_str(), r.authorization.is_some()));
        // What is not a web address may be read as a path here, as long as no other host is asked.
        let harmless = want.is_none() && got.is_some_and(|(url, _)| url.starts_with("https://r.example.org/"));
        assert!(got == want || harmless, "{to}: {led:?}");
        assert!(led.is_err() || led.is_ok_and(|r| r.accept == Some("x")));
    }
}

#[test]
fn authfile_longest_matching_path_wins() {
    let entry = |text: &str| json!({ "auth": STANDARD.encode(text) });
    let file = json!({ "auths": {
        "r.example": entry("host:1"), "r.example/ns": entry("space:2"), "r.example/ns/x": entry("image:3:with:colons"),
        "https://index.docker.io/v1/": entry("hub:4"), "127.0.0.1:5000": entry("local:5"),
    }});
    let authfile = Authfile::read(&file.to_string(), "auth.json").expect("an authfile");
    let logins = &authfile.logins;
    assert_eq!(authfile.unusable().count(), 0);
    let header =
        |text: &str| Login::new(text.split_once(':').expect("a pair").0, text.split_once(':').expect("a pair").1).basic();
    for (name, want) in [
        ("r.example/ns/x", Some("image:3:with:colons")),
        ("r.example/ns/y", Some("space:2")),
        ("r.example/nsx/y", Some("host:1")),
        ("r.example/z", Some("host:1")),
        ("nginx", Some("hub:4")),
        ("127.0.0.1:5000/x", Some("local:5")),
        ("127.0.0.1:5001/x", None),
        ("r.example.evil.net/ns/x", None),
        ("sub.r.example/ns/x", None),
    ] {
        let got = logins.of(&repository(name)).and_then(Login::basic);
        assert_eq!(got.as_ref().map(|s| s.reveal()), want.and_then(header).as_ref().map(|s| s.reveal()), "{name}");
    }
}

#[test]
fn challenge_parses_in_any_order() {
    for header in [
        "Bearer realm=\"https://a.example/t\",service=\"s\",scope=\"repository:x:pull\"",
        "bearer  service=s , realm=https://a.example/t",
        "BEARER scope=\"a,b\",error=\"insufficient_scope\",realm=\"https://a.example/t\",service=\"s\"",
        "Basic realm=\"x\", Bearer service=\"s\", realm=\"https://a.example/t\"",
        "Bearer realm=\"https://a.example/t\",service=\"s\", Basic realm=\"x\"",
        "Negotiate, Bearer realm=\"https://a.example/t\", service=\"s\"",
    ] {
        let realm = "https://a.example/t".to_owned();
        assert_eq!(
            auth::parse_www_authenticate(header),
            Some(auth::AuthChallenge::Bearer { realm, service: Some("s".to_owned()) }),
            "{header}"
        );
    }
}

// -- Quay

fn quay() -> Server<'static> {
    Server { dialect: overtag::engine::registry::quay::DIALECT, ..server(Caller::Browser) }
}

fn quay_error(status: u16, kind: &str) -> Outcome {
    let body = json!({ "detail": "", "error_message": "", "error_type": kind, "title": kind, "type": "", "status": status });
    reply(status, &[("content-type", "application/json")], body.to_string())
}

#[test]
fn quay_overview_401_means_private_or_missing() {
    let query = Query::Overview { repository: repository("quay.io/ns/x") };
    let (answer, sent) = asked(&query, quay(), quay_shelf);
    let Ok(Answer::Overview(Ok(overview))) = answer else { panic!("no overview: {answer:?}") };
    assert!(overview.whole && overview.tags.len() == 2 && overview.tags[CHANNEL].digest == overview.tags[&hash()].digest);
    assert_eq!(overview.tags[CHANNEL].moved_at, Some(Timestamp(1_780_015_756)));
    assert_eq!((sent.len(), sent[0].url.as_str()), (1, "https://r.example/api/v1/repository/ns/x?includeTags=true"));
    for (outcome, want) in [
        (quay_error(401, "invalid_token"), Some(NotFound::PrivateOrMissing)),
        (quay_error(404, "not_found"), Some(NotFound::Repository)),
        // An answer that is not Quay's own proves nothing.
        (reply(401, &[], "<html>login</html>"), None),
        (reply(404, &[], "<html>not here</html>"), None),
        (quay_error(403, "insufficient_scope"), None),
        (quay_error(400, "invalid_request"), None),
        (reply(200, &[], "{}"), None),
        (reply(200, &[], "{\"tags\":[]}"), None),
        (reply(200, &[], "<html>"), None),
        (network(), None),
    ] {
        let (answer, _) = asked(&query, quay(), |_| outcome.clone());
        match want {
            Some(missing) => assert_eq!(answer, Ok(Answer::Overview(Err(missing)))),
            None => assert!(answer.is_err(), "{outcome:?}: {answer:?}"),
        }
    }
}

/// The rows of a tag list, newest first, and a page of them as Quay gives it: by number, of what there is at that moment.
fn quay_page(rows: &[Value], request: &Request) -> Outcome {
    let number = |name: &str, default: usize| parameter(&request.url, name).map_or(default, |n| n.parse().expect("a number"));
    let (limit, page) = (number("limit", 50).min(100), number("page", 1));
    let (from, to) = ((limit * (page - 1)).min(rows.len()), (limit * page).min(rows.len()));
    let body = json!({ "tags": rows[from..to], "page": page, "has_additional": to < rows.len() });
    reply(200, &[], body.to_string())
}

#[test]
fn quay_tags_changing_between_pages_are_found() {
    let row = |name: &str, start: u64| json!({ "name": name, "manifest_digest": sha256(name.as_bytes()), "start_ts": start });
    let of = |n: u64| -> Vec<Value> { (0..n).map(|i| row(&format!("1.{i}"), NOW - i)).collect() };
    /// What somebody does to the rows before a request, by its number.
    type Change = fn(usize, &mut Vec<Value>);
    let changes: [(&str, Change); 8] = [
        ("nothing", |_, _| {}),
        ("one is pushed before page 2", |n, rows| {
            if n == 1 {
                rows.insert(0, json!({ "name": "pushed", "manifest_digest": sha256(b"p"), "start_ts": NOW + 1 }));
            }
        }),
        ("one is deleted before page 2", |n, rows| {
            if n == 1 {
                rows.remove(5);
            }
        }),
        ("one is deleted before each page", |n, rows| {
            if n > 0 && n < 5 {
                rows.remove(3);
            }
        }),
        ("nine are deleted at once", |n, rows| {
            if n == 1 {
                rows.drain(20..29);
            }
        }),
        ("fifty are deleted at once: all is read again", |n, rows| {
            if n == 1 {
                rows.drain(20..70);
            }
        }),
        ("one of page 3 is set again", |n, rows| {
            if n == 2 {
                let mut moved = rows.remove(220);
                moved["start_ts"] = json!(NOW + 5);
                moved["manifest_digest"] = json!(sha256(b"moved"));
                rows.insert(0, moved);
            }
        }),
        ("the last page goes", |n, rows| {
            if n == 2 {
                rows.truncate(150);
            }
        }),
    ];
    for (name, change) in changes {
        let (mut rows, mut n) = (of(330), 0);
        let query = Query::Tags { repository: repository("quay.io/ns/x") };
        let (answer, sent) = asked(&query, quay(), |request| {
            change(n, &mut rows);
            n += 1;
            quay_page(&rows, request)
        });
        let Ok(Answer::Overview(Ok(overview))) = answer else { panic!("{name}: {answer:?}") };
        assert!(overview.whole && sent.len() <= 14, "{name}: {} requests", sent.len());
        for row in &rows {
            let tag = row["name"].as_str().expect("a name");
            let digest = overview.tags.get(tag).map(|active| active.digest.as_str());
            assert_eq!(digest, row["manifest_digest"].as_str(), "{name}: {tag}");
        }
    }
    // If the pages never fit together, it is an error.
    let (mut rows, mut n) = (of(330), 0_u64);
    let query = Query::Tags { repository: repository("quay.io/ns/x") };
    let (answer, sent) = asked(&query, quay(), |request| {
        n += 1;
        rows = (0..330).map(|i| row(&format!("{n}.{i}"), NOW + n * 1000 - i)).collect();
        quay_page(&rows, request)
    });
    assert!(answer.is_err() && sent.len() <= 10, "{} requests", sent.len());
    // The same if a page fails.
    let rows = of(330);
    let (answer, _) =
        asked(
            &query,
            quay(),
            |request| if request.url.contains("page=2") { reply(500, &[], "") } else { quay_page(&rows, request) },
        );
    assert!(answer.is_err());
}

#[test]
fn quay_tag_without_digest_affects_no_others() {
    let (good, bad) =
        (json!({ "name": CHANNEL, "manifest_digest": sha256(b"x"), "start_ts": 5 }), json!({ "name": "old", "start_ts": 4 }));
    let overview = json!({ "namespace": "ns", "name": "x", "tags": { CHANNEL: good, "old": bad } });
    let repository = repository("quay.io/ns/x");
    for (query, body) in [
        (Query::Overview { repository: repository.clone() }, overview),
        (Query::Tags { repository: repository.clone() }, json!({ "tags": [good, bad], "has_additional": false })),
    ] {
        let (answer, _) = asked(&query, quay(), |_| reply(200, &[], body.to_string()));
        let Ok(Answer::Overview(Ok(overview))) = answer else { panic!("{answer:?}") };
        assert_eq!(overview.tags.keys().collect::<Vec<_>>(), [CHANNEL]);
        assert!(overview.undigested.contains("old"), "it is there, but its digest is not reported");
    }
    let query = Query::Check { repository, tag: "old".to_owned(), form: Form::All };
    let (answer, _) = asked(&query, quay(), |_| reply(200, &[], json!({ "tags": [bad], "has_additional": false }).to_string()));
    assert!(trouble(answer).contains("without its digest"));
}

#[test]
fn large_quay_overview_counts_as_partial() {
    // Quay's overview holds the newest 500 rows. From 250 tags on, some may be missing.
    let overview = |n: usize| {
        let tags: serde_json::Map<String, Value> =
            (0..n).map(|i| (format!("1.{i}"), json!({ "manifest_digest": sha256(b"x") }))).collect();
        let query = Query::Overview { repository: repository("quay.io/ns/x") };
        let (answer, _) = asked(&query, quay(), |_| reply(200, &[], json!({ "name": "x", "tags": tags }).to_string()));
        let Ok(Answer::Overview(Ok(overview))) = answer else { panic!("{answer:?}") };
        overview.whole
    };
    // A tag may have two rows of the 500.
    for (n, whole) in [(0, true), (249, true), (250, false), (499, false), (500, false)] {
        assert_eq!(overview(n), whole, "{n}");
    }
}

#[test]
fn quay_periods_within_one_second_are_kept() {
    let row = |start: u64, end: Option<u64>, digest: &str| json!({ "name": CHANNEL, "manifest_digest": sha256(digest.as_bytes()), "start_ts": start, "end_ts": end });
    let rows = [row(30, None, "c"), row(30, Some(30), "b"), row(30, Some(30), "a"), row(20, Some(30), "c")];
    let query = Query::History { repository: repository("quay.io/ns/x"), tag: CHANNEL.to_owned() };
    let (answer, _) = asked(&query, quay(), |_| reply(200, &[], json!({ "tags": rows, "has_additional": false }).to_string()));
    let Ok(Answer::History(periods)) = answer else { panic!("{answer:?}") };
    assert_eq!(periods.len(), 4);
    assert_eq!((periods[0].end, &periods[0].digest), (None, &sha256(b"c")), "what lasts is the newest");
}

#[test]
fn quay_tag_history_lists_newest_period_first() {
    let row = |name: &str, start: u64, end: Option<u64>, digest: &str| json!({ "name": name, "manifest_digest": digest, "start_ts": start, "end_ts": end, "reversion": false });
    let (a, b) = (sha256(b"a"), sha256(b"b"));
    let rows =
        [row(CHANNEL, 30, None, &a), row("other", 25, None, &a), row(CHANNEL, 20, Some(30), &b), row(CHANNEL, 10, Some(20), &a)];
    let query = Query::History { repository: repository("quay.io/ns/x"), tag: CHANNEL.to_owned() };
    let (answer, sent) = asked(&query, quay(), |_| reply(200, &[], json!({ "tags": rows, "has_additional": false }).to_string()));
    let Ok(Answer::History(periods)) = answer else { panic!("{answer:?}") };
    assert_eq!(
        periods.iter().map(|l| (l.start.0, l.end.map(|end| end.0), &l.digest)).collect::<Vec<_>>(),
        [(30, None, &a), (20, Some(30), &b), (10, Some(20), &a)]
    );
    assert!(!sent[0].url.contains("onlyActiveTags") && parameter(&sent[0].url, "specificTag").as_deref() == Some(CHANNEL));
}

#[test]
fn quay_repositories_are_listed_across_pages() {
    let query = Query::Repositories { host: "quay.io".to_owned(), namespace: "ns".to_owned() };
    let token = "g+A/&=1 ==";
    let (answer, sent) = asked(&query, quay(), |request| {
        let next = parameter(&request.url, "next_page");
        assert!(next.is_none() || next.as_deref() == Some(token), "{}", request.url);
        let name = if next.is_none() { "a" } else { "b" };
        let mut body = json!({ "repositories": [{ "namespace": "ns", "name": name }] });
        if next.is_none() {
            body["next_page"] = json!(token);
        }
        reply(200, &[], body.to_string())
    });
    assert_eq!(answer, Ok(Answer::Repositories(["a".to_owned(), "b".to_owned()].into())));
    assert!(sent.len() == 2 && sent.iter().all(|r| r.url.contains("namespace=ns") && r.url.contains("public=true")));
    let (answer, sent) = asked(&query, quay(), |_| reply(200, &[], json!({ "repositories": [], "next_page": "x" }).to_string()));
    assert!(answer.is_err() && sent.len() <= 250);
}

#[test]
fn hidden_quay_repository_absent_only_if_unlisted() {
    // Quay answers 401 for private and missing alike. It is absent only if the namespace lists
    // public repositories, and not this one.
    let listed = |names: &[&str]| {
        let names: Vec<Value> = names.iter().map(|n| json!({ "namespace": "ns", "name": n })).collect();
        reply(200, &[], json!({ "repositories": names }).to_string())
    };
    for (list, want, words) in [
        (listed(&["another"]), Status::Absent, "no public repository i000"),
        (listed(&[]), Status::Error, "private"),
        (listed(&["i000"]), Status::Error, "listed as public"),
        (quay_error(401, "invalid_token"), Status::Error, ""),
        (reply(500, &[], ""), Status::Error, ""),
        (network(), Status::Error, ""),
    ] {
        let done = drive(run(&names("quay.io", 1), "", native()), |request, _| match request.url.contains("namespace=") {
            true => list.clone(),
            false => quay_error(401, "invalid_token"),
        });
        let reason = done.rows[0].reason.replace("lists it as public", "listed as public");
        assert!(done.rows[0].status == want && reason.contains(words), "{list:?}: {reason}");
    }
    // The namespace is listed once for all images.
    let done = drive(run(&names("quay.io", 50), "", native()), |request, _| match request.url.contains("namespace=") {
        true => listed(&["another"]),
        false => quay_error(401, "invalid_token"),
    });
    assert!(done.all(Status::Absent));
    assert_eq!(done.count(|r| r.url.contains("namespace=")), 1);
}

#[test]
fn channel_beyond_quay_overview_is_queried_directly() {
    let crowd = |request: &Request, is_there: bool| {
        let digest = sha256(b"x");
        if request.url.contains("specificTag=") {
            let rows = if is_there && request.url.contains(CHANNEL) {
                vec![json!({ "name": CHANNEL, "manifest_digest": digest, "start_ts": 1 })]
            } else {
                Vec::new()
            };
            return reply(200, &[], json!({ "tags": rows, "has_additional": false }).to_string());
        }
        if request.url.contains("/labels") {
            return reply(200, &[], "{\"labels\":[]}");
        }
        if request.url.contains("/manifest/") {
            let data = image(OM, "{}");
            return reply(200, &[], json!({ "digest": digest, "manifest_data": data }).to_string());
        }
        let tags: serde_json::Map<String, Value> =
            (0..500).map(|i| (format!("1.{i}"), json!({ "manifest_digest": sha256(b"other") }))).collect();
        reply(200, &[], json!({ "namespace": "ns", "name": "i000", "tags": tags }).to_string())
    };
    for (is_there, want) in [(true, Status::Resolved), (false, Status::Absent)] {
        let done = drive(run(&names("quay.io", 1), "pin=label,digest", native()), |request, _| crowd(request, is_there));
        assert_eq!(done.rows[0].status, want, "{}", done.rows[0].reason);
    }
}

#[test]
fn quay_index_labels_come_from_its_image() {
    let child = sha256(b"child");
    let platform = json!({ "os": "linux", "architecture": "amd64" });
    let attestation = json!({ "mediaType": OM, "digest": sha256(b"attestation"), "platform": { "os": "unknown", "architecture": "unknown" }, "annotations": { "vnd.docker.reference.type": "attestation-manifest" } });
    let index = format!(
        "{:#}",
        json!({ "schemaVersion": 2, "mediaType": OI, "manifests": [attestation, { "mediaType": OM, "digest": child, "platform": platform }] })
    );
    let digest = sha256(index.as_bytes());
    let done = drive(run(&names("quay.io", 1), "pin=label", native()), |request, _| {
        let tag = json!({ "manifest_digest": digest });
        let body = match request.url.split("/manifest/").nth(1) {
            None => json!({ "namespace": "ns", "name": "i000", "tags": { CHANNEL: tag, hash(): tag } }),
            Some(rest) if rest == format!("{child}/labels") => {
                // A label that somebody added in Quay does not overrule the image's own.
                let label = |value: &str, source: &str| json!({ "key": "rdo_version", "value": value, "source_type": source });
                json!({ "labels": [label(&hash(), "manifest"), label("added", "api")] })
            }
            Some(rest) if rest.ends_with("/labels") => json!({ "labels": [] }),
            Some(_) => json!({ "digest": digest, "is_manifest_list": true, "manifest_data": index }),
        };
        reply(200, &[], body.to_string())
    });
    let row = &done.rows[0];
    assert_eq!((row.status, row.pinned_by.word(), &row.tag), (Status::Resolved, "label", &hash()), "{}", row.reason);
    assert_eq!(row.digest.as_ref(), Some(&digest));
}

#[test]
fn listed_quay_tag_exists_despite_expiration() {
    // Quay writes expirations in its local time and calls it UTC, and our clock may be wrong: what it lists is there.
    let date = |seconds: u64| {
        httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).replace("GMT", "-0000")
    };
    for expires in [NOW + 3600, NOW - 1, NOW - 5 * 3600, 0] {
        for (pin, by) in [("digest", "digest"), ("sibling,digest", "sibling")] {
            let done = drive(run(&names("quay.io", 1), &format!("pin={pin}"), native()), |_, _| {
                let tag = json!({ "manifest_digest": sha256(b"x"), "expiration": date(expires) });
                reply(200, &[], json!({ "namespace": "ns", "name": "i000", "tags": { CHANNEL: tag, hash(): tag } }).to_string())
            });
            let row = &done.rows[0];
            assert_eq!((row.status, row.pinned_by.word()), (Status::Resolved, by), "{expires}: {}", row.reason);
        }
    }
}

// -- a mix

#[test]
fn failing_host_does_not_affect_others() {
    // A registry, a Quay, one with tokens, one with a rate limit, and one that is down.
    let hosts = ["r.example", "quay.io", "locked.example", "slow.example", "down.example"];
    let all: Vec<String> = hosts.iter().flat_map(|h| names(h, 20)).collect();
    let mut bucket = Bucket::new(5.0, 2.0);
    let done = drive(run(&all, "", native()), |request, now| {
        let host = request.url.split('/').nth(2).unwrap_or_default();
        match host {
            "r.example" => shelf(request),
            "quay.io" => quay_shelf(request),
            "locked.example" => match wants_token(request, "https://locked.example/token") {
                Some(challenge) => challenge,
                None if request.url.contains("/token") => token("good", 300),
                None => shelf(request),
            },
            "slow.example" if bucket.take(now) => shelf(request),
            "slow.example" => reply(429, &[("retry-after", "1")], ""),
            _ => network(),
        }
    });
    let by_host = |host: &str| done.rows[hosts.iter().position(|h| *h == host).expect("it is one") * 20..][..20].iter();
    for host in &hosts[..4] {
        assert!(by_host(host).all(|r| r.status == Status::Resolved && r.tag == hash()), "{host}: {:?}", done.errors());
    }
    assert!(by_host("down.example").all(|r| r.status == Status::Error && r.notes.is_empty()));
    // The others did not wait for the slow host or for the one that is down.
    let ended = |host: &str| done.sent.iter().filter(|(_, r)| r.url.contains(host)).map(|(at, _)| *at).max();
    assert!(ended("r.example") < Some(1000) && ended("quay.io") < Some(2000), "{:?}", ended("quay.io"));
}

#[test]
fn majority_hash_is_per_namespace() {
    // The channel points to one hash on each of two hosts, and neither is torn.
    let other = format!("{}_{}", "c".repeat(40), "d".repeat(8));
    let all = [names("r.example", 5), names("s.example", 5)].concat();
    let done = drive(run(&all, "", native()), |request, _| {
        if request.url.contains("r.example") {
            return shelf(request);
        }
        let (repository, kind, message) = parts(request.url.splitn(4, '/').nth(3).unwrap_or_default());
        let config = config(&json!({ "rdo_version": other, "name": repository }));
        match kind {
            "manifests" if message == CHANNEL || message == other => manifest(request, D2, &image(D2, &config)),
            "manifests" => headed(request, refusal(404, "MANIFEST_UNKNOWN")),
            _ => reply(200, &[], &config),
        }
    });
    let tags: HashMap<&str, usize> = done.rows.iter().fold(HashMap::new(), |mut all, r| {
        *all.entry(r.tag.as_str()).or_default() += 1;
        all
    });
    assert_eq!(tags, HashMap::from([(hash().as_str(), 5), (other.as_str(), 5)]));
    assert!(done.rows.iter().all(|r| !r.notes.contains(&Note::Torn)), "{:?}", done.rows[9]);
}

// -- findings of an outside review

#[test]
fn link_endpoint_never_receives_foreign_login() {
    let elsewhere = "endpoint=r.example%3Dhttps%3A%2F%2Fevil.example.net";
    for (host, is_sent) in [("r.example", false), ("evil.example.net", true)] {
        let done = drive(run(&names("r.example", 2), elsewhere, with_login(native(), host)), |request, _| {
            match request.authorization.is_some() {
                true => shelf(request),
                false => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
            }
        });
        assert_eq!(done.count(|r| r.authorization.is_some()) > 0, is_sent, "{host}");
        // The host to log in to is the one that would get the login.
        let locked: Vec<&String> = done.run.locked().keys().collect();
        assert_eq!(locked, if is_sent { vec![] } else { vec!["evil.example.net"] });
    }
}

#[test]
fn plain_http_login_needs_authfile_scheme() {
    // A login goes over http to loopback, or where its key in the authfile has `http://`.
    let authfile = |key: &str| {
        let text = json!({ "auths": { key: { "username": "user", "password": "secret" } } }).to_string();
        Client::program(auth::Authfile::read(&text, "auth.json").expect("an authfile").logins)
    };
    for (key, endpoint, is_sent) in [
        ("r.example.org", "https://r.example.org", true),
        ("r.example.org", "https://R.example.org:443", true),
        ("https://r.example.org/v2/", "https://r.example.org", true),
        ("http://r.example.org", "https://r.example.org", true),
        ("http://r.example.org", "http://r.example.org", true),
        ("http://r.example.org/ns", "http://r.example.org", true),
        ("192.168.24.1:8787", "http://192.168.24.1:8787", false),
        ("http://192.168.24.1:8787", "http://192.168.24.1:8787", true),
        ("127.0.0.1:5000", "http://127.0.0.1:5000", true),
        ("r.example.org", "http://r.example.org", false),
        ("r.example.org", "http://r.example.org:80", false),
        ("r.example.org", "http://r.example.org:443", false),
        ("r.example.org", "https://r.example.org:8443", false),
        ("r.example.org", "https://r.example.org.evil.example", false),
        ("https://r.example.org", "http://r.example.org", false),
        ("http://other.example.org", "http://r.example.org", false),
        ("http://r.example.org", "http://r.example.org:8080", false),
    ] {
        for basic in [true, false] {
            let case = format!("{key} at {endpoint}, basic: {basic}");
            let encoded: String = form_urlencoded::byte_serialize(endpoint.as_bytes()).collect();
            let challenge = format!("Bearer realm=\"{endpoint}/token\",service=\"s\"");
            let challenge = if basic { "Basic realm=\"x\"" } else { &challenge };
            let mut was_sent = false;
            let done = drive(
                run(&names("r.example.org", 2), &format!("endpoint=r.example.org%3D{encoded}"), authfile(key)),
                |request, _| {
                    let is_token = request.url.contains("/token");
                    was_sent |= request.authorization.as_ref().is_some_and(|secret| secret.reveal().starts_with("Basic"));
                    match &request.authorization {
                        _ if is_token && request.authorization.is_none() => reply(401, &[], ""),
                        _ if is_token => token("good", 300),
                        Some(_) => shelf(request),
                        None => reply(401, &[("www-authenticate", challenge)], ""),
                    }
                },
            );
            assert_eq!((was_sent, done.all(Status::Resolved)), (is_sent, is_sent), "{case}: {:?}", done.errors());
            if endpoint.starts_with("http://") && !is_sent && basic {
                assert!(done.errors()[0].contains("a login is sent only over https"), "{case}: {:?}", done.errors());
                assert!(done.run.locked().is_empty(), "{case}: a page has no form for it");
            }
        }
    }
}

#[test]
fn six_failing_repositories_affect_no_others() {
    let (n, bad) = (30, 6);
    type Reply = fn() -> Outcome;
    let kinds: [(&str, Reply); 7] = [
        ("500", || reply(500, &[], "oops")),
        ("503", || reply(503, &[], "<html>")),
        ("429", || reply(429, &[], "")),
        ("429 for a second", || reply(429, &[("retry-after", "1")], "")),
        ("429 for an hour", || reply(429, &[("retry-after", "3600")], "")),
        ("silence", || Err(Failure::Timeout)),
        ("a broken line", network),
    ];
    for (kind, answer) in kinds {
        for caller in [native(), browser()] {
            let mut outcomes = Vec::new();
            // First, last, and among the others.
            let places: [fn(usize) -> bool; 3] = [|i| i < 6, |i| i >= 24, |i| i % 5 == 2];
            for is_bad in places {
                let case = format!("{kind}, {:?}", caller.caller);
                let number = |request: &Request| {
                    let at = request.url.find("/ns/i")?;
                    request.url[at + 5..at + 8].parse().ok()
                };
                let done = drive(run(&names("r.example", n), "", caller.clone()), |request, _| match number(request) {
                    Some(i) if is_bad(i) => answer(),
                    _ if request.method == Method::Probe => reply(200, &[], ""),
                    _ => shelf(request),
                });
                for (i, row) in done.rows.iter().enumerate() {
                    let want = if is_bad(i) { Status::Error } else { Status::Resolved };
                    assert_eq!(row.status, want, "{case}: {i}: {}", row.reason);
                }
                println!("{case}: {} ms, {} requests", done.last(), done.sent.len());
                assert!(done.last() < 125_000, "{case}: {} ms", done.last());
                let mut reasons = done.errors();
                reasons.sort_unstable();
                outcomes.push((done.rows.iter().filter(|r| r.status == Status::Error).count(), reasons.join("\n")));
            }
            assert!(outcomes.iter().all(|o| o.0 == bad && o.1 == outcomes[0].1), "{kind}: {outcomes:?}");
        }
    }
}

#[test]
fn registry_restart_loses_no_image() {
    for caller in [native(), browser()] {
        let (mut sent, mut checks) = (0, 0);
        let done = drive(run(&names("r.example", 60), "", caller.clone()), |request, _| {
            sent += 1;
            // After the thirtieth request nothing answers, until two checks of the host have failed.
            let is_check = request.url.ends_with("/v2/");
            checks += usize::from(is_check);
            if sent > 30 && (checks < 3 && !is_check || is_check && checks <= 2) { network() } else { shelf(request) }
        });
        assert!(checks >= 3, "{:?}: {checks} checks", caller.caller);
        assert!(done.all(Status::Resolved), "{:?}: {:?}", caller.caller, done.errors());
    }
}

#[test]
fn manifest_rate_limit_is_given_up_quickly() {
    // As Docker Hub has it: `/v2/` answers at once, and manifests are limited.
    for caller in [native(), browser()] {
        for (reported, last, most) in [(None, 75_000, 600), (Some("1"), 75_000, 600), (Some("3600"), 2_000, 64)] {
            let done = drive(run(&names("r.example", 124), "", caller.clone()), |request, _| match reported {
                _ if request.url.ends_with("/v2/") => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
                Some(seconds) => reply(429, &[("retry-after", seconds)], ""),
                None => reply(429, &[], ""),
            });
            let case = format!("{:?}, {reported:?}: {} ms, {} requests", caller.caller, done.last(), done.sent.len());
            println!("{case}");
            assert!(done.all(Status::Error) && done.last() < last && done.sent.len() < most, "{case}");
        }
    }
}

#[test]
fn run_cancelled_during_host_check_resumes() {
    let mut run = run(&names("r.example", 60), "", native());
    let moment = |ms: u64| Moment { ms: Millis(ms), unix: Timestamp(NOW + ms / 1000), random: 0.5 };
    let mut sent = 0;
    // Good answers at first, then none, until the check is on its way; then Cancel.
    let mut now = 0;
    let mut was_checked = false;
    while !was_checked {
        match run.next(moment(now)) {
            Next::Send(send) => {
                sent += 1;
                was_checked = send.request.url.ends_with("/v2/");
                let outcome = if sent < 30 { shelf(&send.request) } else { network() };
                if !was_checked {
                    run.deliver(send.id, outcome, moment(now + 10));
                }
            }
            Next::Wait(until) => now = until.0,
            Next::Idle => panic!("it waits for nothing after {sent} requests"),
        }
        now += 1;
    }
    run.cancel();
    assert!(run.is_done());
    run.retry_failed(Logins::default());
    let done = drive(run, |request, _| shelf(request));
    assert!(done.all(Status::Resolved), "{:?}", done.errors());
}

#[test]
fn header_digest_is_confirmed_by_manifest() {
    // An image without a label and without other tags is pinned by its digest.
    let own = |request: &Request, name: &str| -> Outcome {
        let path = request.url.splitn(4, '/').nth(3).unwrap_or_default();
        let config = config(&json!({ "name": name }));
        match parts(path) {
            (_, "manifests", message) if message == CHANNEL || message == sha256(image(D2, &config).as_bytes()).as_str() => {
                manifest(request, D2, &image(D2, &config))
            }
            (_, "manifests", _) => headed(request, refusal(404, "MANIFEST_UNKNOWN")),
            (_, "tags", _) => page(&[CHANNEL.to_owned()], None),
            (_, "blobs", message) if message == sha256(config.as_bytes()).as_str() => reply(200, &[], &config),
            _ => refusal(404, "BLOB_UNKNOWN"),
        }
    };
    let name = |request: &Request| request.url.split('/').nth(5).unwrap_or_default().to_owned();
    for caller in [native(), browser()] {
        for pin in ["digest", "label,sibling,digest"] {
            let case = format!("{:?}, {pin}", caller.caller);
            let honest = drive(run(&names("r.example", 6), &format!("pin={pin}"), caller.clone()), |r, _| own(r, &name(r)));
            for (i, row) in honest.rows.iter().enumerate() {
                let digest = sha256(image(D2, &config(&json!({ "name": format!("i{i:03}") }))).as_bytes());
                assert_eq!((row.pinned_by.word(), &row.tag), ("digest", &digest.to_string()), "{case}: {}", row.reason);
            }
            if pin == "digest" {
                assert_eq!(honest.sent.len(), 6, "{case}: one request for each image");
            }
            // A cache that answers HEAD for another repository.
            let mixed = drive(run(&names("r.example", 6), &format!("pin={pin}"), caller.clone()), |r, _| match r.method {
                Method::Head => own(r, "i000"),
                _ => own(r, &name(r)),
            });
            for (row, honest) in mixed.rows.iter().zip(&honest.rows) {
                let is_right = row.status == Status::Error || row.tag == honest.tag;
                assert!(is_right, "{case}: {} was written", row.tag);
                assert!(row.status != Status::Error || row.reason.contains("a header names"), "{case}: {}", row.reason);
            }
        }
    }
}

#[test]
fn host_failing_midway_is_given_up_soon() {
    for caller in [native(), browser()] {
        for answer in [network as fn() -> Outcome, || Err(Failure::Timeout), || reply(502, &[], ""), || reply(503, &[], "<html>")]
        {
            for after in [0, 1, 40, 200] {
                let (mut left, mut died) = (after, None);
                let done = drive(run(&names("r.example", 124), "", caller.clone()), |request, now| {
                    if left == 0 {
                        died.get_or_insert(now);
                        return if request.method == Method::Probe { network() } else { answer() };
                    }
                    left -= 1;
                    shelf(request)
                });
                let case = format!("{:?} {:?} after {after}", caller.caller, answer());
                assert!(done.rows.iter().all(|r| r.status != Status::Absent), "{case}");
                assert!(!done.errors().is_empty(), "{case}");
                let took = done.last() - died.unwrap_or(0);
                println!("{case}: {took} ms, {} requests", done.sent.len());
                // A timeout takes three times 20 s, and a host that says 503 after good answers may only be overloaded.
                let limit = match answer() {
                    Err(Failure::Timeout) => 70_000,
                    Ok(Response { status: 503, .. }) => 80_000,
                    _ => 15_000,
                };
                assert!(took < limit, "{case}: {took} ms");
                assert!(done.sent.len() < after + 124 + 64, "{case}: {} requests", done.sent.len());
            }
        }
    }
}

#[test]
fn failing_image_does_not_delay_others() {
    for bad in [1, 3] {
        let is_bad = move |request: &Request| (0..bad).any(|i| request.url.contains(&format!("i{:03}/", 70 + i)));
        let html = drive(run(&names("r.example", 150), "", native()), |request, _| match is_bad(request) {
            true => reply(503, &[], "<html>"),
            false => shelf(request),
        });
        let unreadable = drive(run(&names("quay.io", 150), "", browser()), |request, _| {
            match is_bad(request) || request.url.contains(&format!("i{:03}?", 70)) {
                true => network(),
                false => quay_shelf(request),
            }
        });
        for done in [html, unreadable] {
            let errors = done.errors().len();
            assert!((1..=bad).contains(&errors), "{errors} errors of {bad}: {:?}", done.errors());
            assert!(done.last() < 60_000, "{bad}: {} ms", done.last());
        }
    }
}

#[test]
fn public_images_resolve_despite_refused_preflight() {
    let done = drive(run(&names("r.example", 120), "pin=digest", with_login(browser(), "r.example")), |request, _| {
        match (request.url.contains("i070/"), &request.authorization) {
            (true, None) => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
            (true, Some(_)) => network(),
            _ => shelf(request),
        }
    });
    assert_eq!(done.causes(), [Cause::PreflightRefused]);
    assert_eq!(done.errors().len(), 1, "{:?}", done.errors());
}

#[test]
fn hidden_challenge_header_is_diagnosed() {
    let done = drive(run(&names("r.example", 3), "", browser()), |_, _| reply(401, &[], ""));
    assert_eq!(done.causes(), [Cause::Unexposed]);
    assert!(done.rows[0].reason.contains("WWW-Authenticate"), "{}", done.rows[0].reason);
    assert_eq!(done.run.locked().get("r.example"), Some(&LoginState::Needed));
}

#[test]
fn timeout_on_every_request_is_diagnosed() {
    let done = drive(run(&names("r.example", 50), "", browser()), |_, _| Err(Failure::Timeout));
    assert_eq!(done.causes(), [Cause::Unreachable]);
    assert!(done.all(Status::Error));
}

#[test]
fn unreachable_token_service_is_diagnosed() {
    // It must not be taken for a token service without CORS.
    let done = drive(run(&names("r.example", 20), "", browser()), |request, _| match request.method {
        Method::Probe => network(),
        _ => wants_token(request, "https://auth.example/token").unwrap_or_else(network),
    });
    assert_eq!(done.causes(), [Cause::Unreachable]);
    assert!(done.rows[0].reason.contains("https://auth.example"), "{}", done.rows[0].reason);
}

#[test]
fn rate_limited_token_service_is_waited_for() {
    // One that refuses every request is given up.
    let mut bucket = Bucket::new(5.0, 5.0);
    let done = drive(run(&names("r.example", 150), "", native()), |request, now| {
        match wants_token(request, "https://auth.example/token") {
            Some(challenge) => challenge,
            None if !request.url.contains("/token") => shelf(request),
            None if bucket.take(now) => token("good", 300),
            None => reply(429, &[], ""),
        }
    });
    assert!(done.all(Status::Resolved) && done.last() < 90_000, "{} ms: {:?}", done.last(), done.errors().first());
    let done = drive(run(&names("r.example", 150), "", native()), |request, _| {
        wants_token(request, "https://auth.example/token").unwrap_or_else(|| reply(429, &[], ""))
    });
    assert!(done.all(Status::Error) && done.last() < 80_000, "{} ms", done.last());
}
