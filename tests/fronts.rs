//! The servers that other tests put in front of a registry: each does what its documentation says.

use serde_json::Value;
use std::path::Path;
use std::time::{Duration, SystemTime};
use support::login::{self, Access, SERVICE, Settings, Tokens};
use support::nginx::{self, RetryAfter};
use support::registry::{Kind, Registry};

const REPO: &str = "space/image";
const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A registry with one image.
fn registry() -> Registry {
    let registry = Registry::scratch();
    registry.push(REPO, &["one", "two"], Kind::Docker, None, 0);
    registry
}

struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

const ORIGIN: &str = "access-control-allow-origin";
const EXPOSE: &str = "access-control-expose-headers";

fn query(method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
    let agent: ureq::Agent = config.into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers.iter().chain(&[("Origin", "http://page.example"), ("Accept", ACCEPT)]) {
        request = request.header(*name, *value);
    }
    let mut answer = agent.run(request.body(()).expect("a request")).unwrap_or_else(|e| panic!("{method} {url}: {e}"));
    let body = answer.body_mut().read_to_string().expect("text");
    Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
}

fn manifest(host: &str) -> String {
    format!("http://{host}/v2/{REPO}/manifests/one")
}

#[test]
fn each_front_sends_its_cors_headers() {
    let registry = registry();
    let front = nginx::cors(&registry.host, "http://page.example");
    let preflight = query("OPTIONS", &manifest(&front.host), &[]);
    assert_eq!((preflight.status, preflight.header(ORIGIN)), (204, Some("http://page.example")));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("Authorization, Accept"));
    for (path, status) in [("one", 200), ("three", 404)] {
        let answer = query("GET", &manifest(&front.host).replace("one", path), &[]);
        assert_eq!((answer.status, answer.header(ORIGIN)), (status, Some("http://page.example")));
        assert_eq!(answer.headers.get_all(ORIGIN).iter().count(), 1);
        assert!(answer.headers.get_all(EXPOSE).iter().any(|v| v.to_str().is_ok_and(|v| v.contains("Retry-After"))));
    }

    let front = nginx::no_cors(&registry.host);
    for method in ["GET", "OPTIONS"] {
        let answer = query(method, &manifest(&front.host), &[]);
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.keys().any(|k| k.as_str().starts_with("access-control")), "{:?}", answer.headers);
        assert!(method == "OPTIONS" || answer.header("docker-content-digest").is_some());
    }

    let front = nginx::hiding(&registry.host);
    let answer = query("GET", &manifest(&front.host), &[]);
    assert_eq!((answer.status, answer.header(ORIGIN), answer.header(EXPOSE)), (200, Some("*"), None));
    assert_eq!(answer.header("docker-content-digest"), None);
    let tags = query("GET", &format!("http://{}/v2/{REPO}/tags/list?n=1", front.host), &[]);
    assert_eq!((tags.status, tags.header("link")), (200, None));

    let front = nginx::preflight_refused(&registry.host);
    assert_eq!(query("GET", &manifest(&front.host), &[]).header(ORIGIN), Some("*"));
    let preflight = query("OPTIONS", &manifest(&front.host), &[]);
    assert_eq!((preflight.status, preflight.header(ORIGIN)), (401, Some("*")));
}

#[test]
fn limited_front_refuses_excess_requests() {
    let registry = registry();
    let refused = |front: nginx::Nginx, status: u16| {
        let answers: Vec<_> = (0..4).map(|_| query("GET", &manifest(&front.host), &[])).collect();
        let statuses: Vec<_> = answers.iter().map(|a| a.status).collect();
        // A slow machine may let one more through.
        assert!(statuses.starts_with(&[200, 200]) && statuses.contains(&status), "{statuses:?}");
        answers.into_iter().find(|a| a.status == status).expect("there is one")
    };
    let answer = refused(nginx::limited(&registry.host, 1, 1, 429, Some(RetryAfter::Seconds(7))), 429);
    assert_eq!((answer.header(ORIGIN), answer.header("retry-after")), (Some("*"), Some("7")));
    assert!(answer.body.contains("TOOMANYREQUESTS"));

    let answer = refused(nginx::limited(&registry.host, 1, 1, 429, Some(RetryAfter::Date(20))), 429);
    let date = httpdate::parse_http_date(answer.header("retry-after").expect("it is there")).expect("a date");
    let ahead = date.duration_since(SystemTime::now()).expect("ahead");
    assert!(ahead > Duration::from_secs(10) && ahead <= Duration::from_secs(20), "{ahead:?}");
    assert_eq!((answer.header(ORIGIN), answer.header("expires")), (Some("*"), None));
    assert!(answer.body.contains("TOOMANYREQUESTS"));

    let answer = refused(nginx::limited_unreadable(&registry.host, 1, 1, 503, None), 503);
    assert_eq!((answer.header(ORIGIN), answer.header("retry-after")), (None, None));
    assert!(answer.body.contains("<html>") && answer.header("content-type") == Some("text/html"));
}

#[test]
fn password_fronts_require_login() {
    let registry = registry();
    let own = login::htpasswd(&registry);
    let front = nginx::cors(&own.host, "*");
    let basic = nginx::basic(&registry.host, login::HTPASSWD);
    for (host, preflight) in [(&own.host, 401), (&front.host, 204), (&basic.host, 204)] {
        assert_eq!(query("OPTIONS", &manifest(host), &[]).status, preflight);
        let anonymous = query("GET", &manifest(host), &[]);
        assert_eq!((anonymous.status, anonymous.header(ORIGIN)), (401, Some("*")));
        assert_eq!(anonymous.header("www-authenticate"), Some("Basic realm=\"registry\""));
        assert_eq!(query("GET", &manifest(host), &[("Authorization", "Basic dGVzdGVyOng=")]).status, 401);
        assert_eq!(query("GET", &manifest(host), &[("Authorization", &login::authorization())]).status, 200);
    }
}

/// Requests a token as the challenge says, and returns the status and the token.
fn token(login: &login::Login, headers: &[(&str, &str)]) -> (u16, String) {
    let challenge = query("GET", &manifest(&login.host), &[]);
    let challenge = challenge.header("www-authenticate").expect("a challenge");
    let realm = challenge.split('"').nth(1).expect("a realm");
    let service = SERVICE.replace(' ', "+");
    assert!(challenge.contains(&format!("service=\"{SERVICE}\",scope=\"repository:{REPO}:pull\"")), "{challenge}");
    let joint = if realm.contains('?') { '&' } else { '?' };
    let answer = query("GET", &format!("{realm}{joint}service={service}&scope=repository:{REPO}:pull"), headers);
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    (answer.status, body["token"].as_str().unwrap_or_default().to_owned())
}

fn with(login: &login::Login, token: &str) -> Answer {
    query("GET", &manifest(&login.host), &[("Authorization", &format!("Bearer {token}"))])
}

#[test]
fn the_registry_itself_checks_the_tokens() {
    let registry = registry();
    let login = login::bare(&registry);
    assert_eq!(query("OPTIONS", &manifest(&login.host), &[]).status, 401);
    let (_, good) = token(&login, &[]);
    assert_eq!(with(&login, &good).status, 200);
    let elsewhere = manifest(&login.host).replace("image", "other");
    let other = query("GET", &elsewhere, &[("Authorization", &format!("Bearer {good}"))]);
    assert!(other.status == 401 && other.header("www-authenticate").is_some_and(|w| w.contains("insufficient_scope")));
    login.tokens.set(|s| s.valid = 0);
    let (_, late) = token(&login, &[]);
    assert_eq!(with(&login, &late).status, 401);
    login.tokens.assert_clean();
    assert_eq!((login.tokens.asked().len(), login.tokens.asked_for(REPO)), (2, 2));

    let tokens = Tokens::start();
    let realm = format!("{}?of=realm", tokens.realm);
    let login = login::with_realm(&registry, tokens, &realm);
    assert_eq!(with(&login, &token(&login, &[]).1).status, 200);
    login.tokens.assert_clean();
    let wrong = format!("{}?service=x&scope=repository:a:push&password=b", login.tokens.realm);
    query("GET", &wrong, &[("Authorization", "Basic eDp5")]);
    let unclean = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| login.tokens.assert_clean()));
    let said = *unclean.expect_err("it is not clean").downcast::<String>().expect("text");
    for wrong in ["parameter password", "parameter of is lost", "repository:a:push", "service", "Authorization"] {
        assert!(said.contains(wrong), "{wrong:?} is not in {said}");
    }
}

#[test]
fn nginx_tokens_can_be_spent_and_revoked() {
    let registry = registry();
    let login = login::behind_nginx(&registry, "*");
    let preflight = query("OPTIONS", &manifest(&login.host), &[]);
    assert_eq!((preflight.status, preflight.header(ORIGIN)), (204, Some("*")));
    let preflight = query("OPTIONS", &login.tokens.realm, &[]);
    assert_eq!((preflight.status, preflight.header("access-control-allow-headers")), (204, Some("Accept, Authorization")));

    login.tokens.set(|s| s.uses = Some(2));
    let (_, twice) = token(&login, &[]);
    assert_eq!([200, 200, 401, 401].map(|_| with(&login, &twice).status), [200, 200, 401, 401]);
    assert!(with(&login, &twice).header("www-authenticate").is_some_and(|w| w.contains("invalid_token")));
    login.tokens.set(|s| *s = Settings { others: Access::Members, ..Settings::default() });
    assert_eq!(token(&login, &[]).0, 401);
    let user = login::authorization();
    let (_, of_user) = token(&login, &[("Authorization", &user)]);
    assert_eq!(with(&login, &of_user).status, 200);
    login.tokens.revoke();
    assert_eq!(with(&login, &of_user).status, 401);
    login.tokens.set(|s| {
        s.refusal = None;
        s.access.insert(REPO.to_owned(), Access::Nobody);
    });
    let (status, empty) = token(&login, &[("Authorization", &user)]);
    assert_eq!((status, with(&login, &empty).status), (200, 401));
    login.tokens.set(|s| s.cors = false);
    assert_eq!(query("GET", &format!("{}?service=x", login.tokens.realm), &[]).header(ORIGIN), None);
    let statuses: Vec<_> = login.tokens.asked().iter().map(|a| (a.status, a.authorization)).collect();
    assert_eq!(statuses, [(200, false), (401, false), (200, true), (200, true), (200, false)]);
}

#[test]
fn tls_has_a_certificate_for_its_names() {
    let site = nginx::site(Path::new("tests/facts"), "/some/path/", &["dashboard.example", "other.example"]);
    let registry = registry();
    let front = nginx::cors_tls(&registry.host, &["registry.example"]);
    for (front, path, text) in [(&site, "/some/path/train.json", "images"), (&front, "/v2/space/image/tags/list", "two")] {
        let certificate = std::fs::read(front.certificate.as_ref().expect("there is one")).expect("it is there");
        let roots = [ureq::tls::Certificate::from_pem(&certificate).expect("a certificate")];
        let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&roots)).build();
        let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).proxy(None).build().into();
        let mut answer = agent.get(format!("https://{}{path}", front.host)).call().expect("an answer");
        assert!(answer.body_mut().read_to_string().expect("text").contains(text));
    }
    assert_eq!(site.origin, "https://dashboard.example");
    let rules = nginx::rules(&[("dashboard.example", &site.host)]);
    assert_eq!(rules, format!("MAP dashboard.example {}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", site.host));
}
