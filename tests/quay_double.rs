//! The test double of Quay: it answers as Quay does, and records unexpected requests.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};
use support::names;
use support::quay::{DEEP, Kind, Manifest, NEWEST, Quay, Repository, Role, Seed, TWO_WEEKS};
use support::registry::{LABEL, PROMOTED};
use ureq::http::Response;

/// Sat, 30 May 2026 00:49:16 UTC.
const NOW: u64 = 1_780_102_156;

/// Sends a request without a body, and reads the answer.
fn send(quay: &Quay, method: &str, target: &str, headers: &[(&str, &str)]) -> Response<String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = ureq::http::Request::builder().method(method).uri(format!("http://{}{target}", quay.host));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let mut answer = agent.run(request.body(()).expect("a request")).expect("an answer");
    let body = answer.body_mut().read_to_string().expect("a body of text");
    answer.map(|_| body)
}

fn get(quay: &Quay, target: &str) -> (u16, Value) {
    let answer = send(quay, "GET", target, &[]);
    (answer.status().as_u16(), serde_json::from_str(answer.body()).unwrap_or_default())
}

/// What a repository answers, below its path.
fn of(quay: &Quay, path: &str, rest: &str) -> Value {
    let (status, body) = get(quay, &format!("/api/v1/repository/{path}{rest}"));
    assert_eq!(status, 200, "{path}{rest}: {body}");
    body
}

/// How many tags a list has.
fn tags(body: &Value) -> usize {
    body["tags"].as_array().expect("a list").len()
}

fn header<'a>(answer: &'a Response<String>, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|v| v.to_str().expect("text"))
}

#[test]
fn every_seeded_image_is_answered_correctly() {
    let seed = Seed::at(NOW, &names());
    let quay = Quay::seeded(&seed);
    let unreadable = [Role::Private, Role::Missing].map(|r| get(&quay, &format!("/api/v1/repository/{}", seed.one(r).path)));
    assert_eq!((unreadable[0].0, &unreadable[0].1["error_type"]), (401, &"invalid_token".into()));
    assert_eq!(unreadable[0], unreadable[1]);
    for image in seed.images.values().filter(|i| i.is_readable()) {
        let body = of(&quay, &image.path, "");
        let newest = body["tags"].as_object().expect("a map");
        let is_deep = matches!(image.role, Role::Buried | Role::Crowded | Role::Outrun);
        assert_eq!(newest.len() == NEWEST, is_deep, "{}", image.short);
        let is_listed = !matches!(image.role, Role::Buried | Role::Crowded | Role::New);
        assert_eq!(newest.contains_key(PROMOTED), is_listed, "{}", image.short);
        let history = of(&quay, &image.path, &format!("/tag/?specificTag={PROMOTED}&onlyActiveTags=true&limit=1"));
        let digest = history["tags"][0]["manifest_digest"].as_str();
        assert_eq!(digest, image.hash(PROMOTED).and_then(|h| image.digest(h)), "{}", image.short);
        let Some(hash) = image.hash(PROMOTED) else { continue };
        assert_eq!(newest.contains_key(hash), !is_deep, "{}", image.short);
        let mut digest = digest.expect("it has one").to_owned();
        let manifest = of(&quay, &image.path, &format!("/manifest/{digest}"));
        if manifest["is_manifest_list"] == true {
            assert_eq!(of(&quay, &image.path, &format!("/manifest/{digest}/labels"))["labels"], json!([]));
            let index: Value = serde_json::from_str(manifest["manifest_data"].as_str().expect("text")).expect("JSON");
            digest = index["manifests"][0]["digest"].as_str().expect("a child").to_owned();
        }
        let labels = of(&quay, &image.path, &format!("/manifest/{digest}/labels?filter={LABEL}"));
        assert_eq!(labels["labels"][0]["value"].as_str(), image.label(PROMOTED, LABEL), "{}", image.short);
    }
    assert_eq!(quay.asked(Kind::Repository), seed.images.len());
    assert_eq!(quay.asked(Kind::Labels), seed.having(PROMOTED).count() + seed.of(Role::Index).len());
    assert_eq!((quay.data_requests(), quay.preflights()), (quay.total(), 0));
}

#[test]
fn repositories_come_in_pages() {
    let mut many: Vec<Repository> = (0..205).map(|i| Repository::new(&format!("many/r{i}"))).collect();
    many[7].public = false;
    let quay = Quay::start(many);
    let (mut found, mut next) = (BTreeSet::new(), Some(String::new()));
    while let Some(token) = next {
        let token: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
        let (_, body) = get(&quay, &format!("/api/v1/repository?namespace=many&public=true&next_page={token}"));
        found.extend(body["repositories"].as_array().into_iter().flatten().map(|r| r["name"].to_string()));
        next = body["next_page"].as_str().map(str::to_owned);
    }
    assert_eq!((found.len(), quay.asked(Kind::Repositories)), (204, 3));
    assert_eq!(get(&quay, "/api/v1/repository?namespace=many").1["repositories"], json!([]));
}

#[test]
fn tags_come_in_pages() {
    let seed = Seed::at(NOW, &names()[..20]);
    let (quay, image) = (Quay::seeded(&seed), seed.one(Role::Buried));
    let page = |query: &str| of(&quay, &image.path, &format!("/tag/?{query}"));
    let pages: Vec<Value> = (1..=6).map(|p| page(&format!("onlyActiveTags=true&limit=1000&page={p}"))).collect();
    assert_eq!(pages.iter().map(tags).collect::<Vec<_>>(), [100, 100, 100, 100, 100, DEEP + 5 - 500]);
    assert_eq!([&pages[4]["has_additional"], &pages[5]["has_additional"]], [true, false]);
    let starts = pages.iter().flat_map(|p| p["tags"].as_array()).flatten().map(|t| t["start_ts"].as_u64());
    assert!(starts.is_sorted_by(|a, b| a >= b));
    assert_eq!((tags(&page("")), tags(&page("specificTag=never"))), (50, 0));
    assert_eq!(tags(&page("filter_tag_name=like:TRIPLEO&onlyActiveTags=true")), 3);
    assert_eq!(get(&quay, &format!("/api/v1/repository/{}/tag/?filter_tag_name=x", image.path)).0, 400);
}

#[test]
fn moved_tag_history_expires() {
    // Quay's time machine forgets what a tag pointed to more than two weeks ago.
    let quay = Quay::start(vec![Repository::new("ns/one")]);
    let push = |tag: &str, name: &str, at: u64| quay.change("ns/one", |r| r.push(tag, Manifest::image(name, &[]), at));
    let (old, new) = (push("channel", "old", NOW - 60), push("next", "new", NOW - 30));
    quay.set_now(NOW);
    assert_eq!(of(&quay, "ns/one", "")["tags"]["next"]["last_modified"], "Sat, 30 May 2026 00:48:46 -0000");
    quay.promote("ns/one", "channel", &new, NOW + 5);
    let history = of(&quay, "ns/one", "/tag/?specificTag=channel")["tags"].clone();
    assert_eq!((&history[0]["manifest_digest"], &history[0]["end_ts"]), (&Value::from(new), &Value::Null));
    assert_eq!((&history[1]["manifest_digest"], &history[1]["end_ts"]), (&old.as_str().into(), &(NOW + 5).into()));
    assert_eq!(of(&quay, "ns/one", "")["tag_expiration_s"], TWO_WEEKS);
    quay.set_now(NOW + 5 + TWO_WEEKS);
    assert_eq!(tags(&of(&quay, "ns/one", "/tag/?specificTag=channel")), 1);
    let (status, body) = get(&quay, &format!("/api/v1/repository/ns/one/manifest/{old}"));
    assert_eq!((status, &body["error_type"]), (404, &"not_found".into()));
}

#[test]
fn browser_sees_cors_but_not_rate_limit() {
    // A GET of a browser needs `X-Requested-With`, and preflights use up the rate limit too.
    let quay = Quay::start(vec![Repository::new("ns/one")]);
    let (one, browser) = ("/api/v1/repository/ns/one", ("User-Agent", "Mozilla/5.0 (X11) Chrome/156"));
    let queries = [("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "x-requested-with")];
    let preflight = send(&quay, "OPTIONS", one, &queries);
    assert_eq!(header(&preflight, "Access-Control-Allow-Headers"), Some("Authorization, Content-Type, X-Requested-With"));
    assert_eq!(send(&quay, "GET", one, &[browser, ("X-Requested-With", "XMLHttpRequest")]).status(), 200);
    assert_eq!((quay.preflights(), quay.asked(Kind::Repository), quay.take_complaints().len()), (1, 1, 0));
    let refused = send(&quay, "GET", one, &[browser]);
    assert_eq!((refused.status().as_u16(), header(&refused, "Access-Control-Allow-Origin")), (400, Some("*")));
    assert_eq!(quay.take_complaints().len(), 1);
    quay.expect_missing_header();
    assert_eq!(send(&quay, "GET", one, &[browser]).status(), 400);
    quay.limit(0.0, 2);
    assert!((0..2).all(|_| send(&quay, "OPTIONS", one, &queries).status() == 200), "preflights use the limit up");
    let throttled = send(&quay, "GET", one, &[]);
    assert_eq!((throttled.status().as_u16(), quay.throttled()), (429, 1));
    assert_eq!((header(&throttled, "Access-Control-Allow-Origin"), header(&throttled, "Retry-After")), (None, None));
}

#[test]
fn unexpected_requests_are_noted() {
    let quay = Quay::start(vec![Repository::new("ns/one")]);
    let one = "/api/v1/repository/ns/one";
    // A token that was not percent-encoded comes back as another.
    let misread = "/api/v1/repository?public=true&next_page=g+A/1+x==";
    for target in [&format!("{one}?limit=5"), &format!("{one}/tag"), misread, "/v2/"] {
        send(&quay, "GET", target, &[]);
        assert_eq!(quay.take_complaints().len(), 1, "{target}");
    }
    send(&quay, "DELETE", one, &[("Authorization", "Bearer x"), ("Cookie", "a=b")]);
    assert_eq!(quay.take_complaints().len(), 3);
    quay.allow_v2();
    let ping = send(&quay, "GET", "/v2/", &[("Sec-Fetch-Mode", "no-cors")]);
    assert!(header(&ping, "WWW-Authenticate").is_some_and(|v| v.contains(&format!("\"http://{}/v2/auth\"", quay.host))));
    assert_eq!((ping.status().as_u16(), header(&ping, "Access-Control-Allow-Origin")), (401, None));
    quay.assert_clean();
    send(&quay, "GET", "/elsewhere", &[]);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(quay))).is_err(), "the end raises what was noted");
}
