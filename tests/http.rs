//! The command line on HTTP as servers speak it, through proxies, and with every kind of login.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use overtag::engine::registry::manifest::sha256;
use serde_json::{Value, json};
use support::raw::{Head, Raw, answer};

const TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const VARIABLES: [&str; 9] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "REQUEST_METHOD",
];

fn manifest() -> String {
    let config = json!({ "mediaType": "application/vnd.docker.container.image.v1+json", "size": 2, "digest": sha256(b"{}") });
    json!({ "schemaVersion": 2, "mediaType": TYPE, "config": config, "layers": [] }).to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("it is encoded");
    encoder.finish().expect("it is encoded")
}

fn overtag(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overtag"));
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.args(args).envs(environment.iter().copied()).output().expect("overtag runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `prepare` of one image of a registry, as a report, and what was said.
fn prepare(host: &str, more: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, Value, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("t.j2");
    fs::write(&template, support::template(&["alpha"])).expect("written");
    let (template, namespace) = (template.display().to_string(), format!("{host}/ns"));
    let args = ["prepare", "--template-file", &template, "--namespace", &namespace, "--prefix=", "--tag", "current-tripleo"];
    let done = overtag(&[&args[..], &["--format", "json"], more].concat(), environment);
    let report = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&done.stderr)));
    (done.status.code(), report, text(&done.stderr))
}

/// Status, reason, and how it is pinned, of the one image.
fn row(report: &Value) -> (String, String, String) {
    let of = |name: &str| report["images"][0][name].as_str().unwrap_or_default().to_owned();
    (of("status"), of("reason"), of("pinned_by"))
}

/// An answer about the manifest, with its length, to HEAD and GET.
fn served(head: &Head, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let all = [headers, &[("Content-Length", length.as_str())]].concat();
    answer(200, &all, if head.method == "HEAD" { b"" } else { body })
}

#[test]
fn unusual_http_responses_are_read() {
    let digest = sha256(manifest().as_bytes());
    let hex = digest.trim_start_matches("sha256:").to_owned();
    /// What a server answers about the manifest.
    type Server = Box<dyn Fn(&Head) -> Vec<u8> + Send + Sync>;
    let with = |name: &'static str, value: &str| -> Server {
        let (value, digest) = (value.to_owned(), digest.clone());
        Box::new(move |head: &Head| {
            let mut headers = vec![("Content-Type", TYPE), ("Docker-Content-Digest", digest.as_str())];
            headers.retain(|(n, _)| *n != name);
            headers.push((name, &value));
            served(head, &headers, manifest().as_bytes())
        })
    };
    let encoded = |coding: &'static str| -> Server {
        Box::new(move |head: &Head| {
            served(head, &[("Content-Type", TYPE), ("Content-Encoding", coding)], &gzip(manifest().as_bytes()))
        })
    };
    // Answers to HEAD: the headers name a coding, which does not matter without a body.
    let bodiless = |coding: &'static str| -> Server {
        let digest = digest.clone();
        Box::new(move |head: &Head| {
            served(head, &[("Content-Type", TYPE), ("Docker-Content-Digest", &digest), ("Content-Encoding", coding)], b"xx")
        })
    };
    let redirect = |status: u16, to: &'static str| -> Server {
        Box::new(move |head: &Head| match head.target.starts_with("/moved") {
            true => served(head, &[("Content-Type", TYPE)], manifest().as_bytes()),
            false => answer(status, &[("Location", to), ("Content-Encoding", "gzip"), ("Content-Length", "0")], b""),
        })
    };
    let fixed = |get: Vec<u8>| -> Server {
        Box::new(move |head: &Head| match head.method.as_str() {
            "HEAD" => answer(405, &[("Allow", "GET"), ("Content-Length", "0")], b""),
            _ => get.clone(),
        })
    };
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {TYPE}\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n{:x}\r\n{}\r\n0\r\nX: y\r\n\r\n",
        manifest().len(),
        manifest()
    );
    let early = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n{}",
        text(&answer(200, &[("Content-Type", TYPE)], manifest().as_bytes()))
    );
    let cases: Vec<(&str, Server)> = vec![
        ("plain", with("X", "y")),
        ("HEAD with gzip", bodiless("gzip")),
        ("HEAD with br", bodiless("br")),
        ("HEAD with nonsense", bodiless("x, , gzip")),
        ("gzip", encoded("gzip")),
        ("GZIP", encoded("GZIP")),
        ("x-gzip", encoded("x-gzip")),
        ("identity, gzip", encoded("identity, gzip")),
        ("bare hexadecimals", with("Docker-Content-Digest", &hex)),
        ("a quoted digest", with("Docker-Content-Digest", &format!("\"{digest}\""))),
        ("upper case", with("Docker-Content-Digest", &digest.to_uppercase())),
        ("another algorithm", with("Docker-Content-Digest", &format!("sha512:{}", "a".repeat(128)))),
        ("two digests", with("Docker-Content-Digest", &format!("{digest}, {digest}"))),
        ("an empty digest", with("Docker-Content-Digest", "")),
        ("a type with parameters", with("Content-Type", &format!("{}; charset=UTF-8", TYPE.to_uppercase()))),
        ("no type", with("Content-Type", "")),
        ("301", redirect(301, "/moved")),
        ("302", redirect(302, "/moved?x=1")),
        ("303", redirect(303, "/moved")),
        ("307", redirect(307, "/moved")),
        ("308", redirect(308, "/moved")),
        ("no length", fixed(answer(200, &[("Content-Type", TYPE)], manifest().as_bytes()))),
        ("HTTP/1.0", fixed(format!("HTTP/1.0 200 OK\r\nContent-Type: {TYPE}\r\n\r\n{}", manifest()).into_bytes())),
        ("chunked, with a trailer", fixed(chunked.into_bytes())),
        ("an early hint", fixed(early.into_bytes())),
    ];
    for (name, server) in cases {
        let raw = Raw::start(move |head| Some(server(head)));
        // This pin needs no body, so only a HEAD is sent where it is answered.
        let (code, report, said) = prepare(&raw.host, &["--pin", "channel"], &[]);
        assert_eq!((code, row(&report).0.as_str()), (Some(0), "resolved"), "{name}: {report:#} {said}");
        assert_eq!(report["images"][0]["digest"], digest.as_str(), "{name}");
    }
}

#[test]
fn wrong_digest_header_is_error() {
    let raw = Raw::start(|head| {
        // The HEAD has no digest, so that the body is read.
        let wrong = sha256(b"wrong");
        let headers = [("Content-Type", TYPE), ("Docker-Content-Digest", wrong.as_str())];
        Some(served(head, &headers[..if head.method == "HEAD" { 1 } else { 2 }], manifest().as_bytes()))
    });
    let (code, report, _) = prepare(&raw.host, &["--pin", "digest"], &[]);
    assert_eq!((code, row(&report).0.as_str()), (Some(3), "error"));
    assert!(row(&report).1.contains("the registry reports sha256:"), "{report:#}");
}

#[test]
fn encoded_response_counts_only_if_complete() {
    let error = json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "message": "" }] }).to_string();
    for (name, get, want) in [
        (
            "gzip",
            answer(404, &[("Content-Type", "application/json"), ("Content-Encoding", "gzip")], &gzip(error.as_bytes())),
            "absent",
        ),
        ("empty, called gzip", answer(404, &[("Content-Encoding", "gzip"), ("Content-Length", "0")], b""), "absent"),
        ("cut off", answer(404, &[("Content-Encoding", "gzip")], &gzip(error.as_bytes())[..20]), "error"),
        ("shorter than announced", answer(404, &[("Content-Length", "500")], error.as_bytes()), "error"),
        ("200 in an unknown coding", answer(200, &[("Content-Type", TYPE), ("Content-Encoding", "br")], b"xx"), "error"),
    ] {
        let raw = Raw::start(move |head| {
            let is_ping = head.target == "/v2/";
            Some(match head.method.as_str() {
                _ if is_ping => answer(200, &[("Content-Length", "2"), ("Content-Type", "application/json")], b"{}"),
                "HEAD" => answer(404, &[("Content-Encoding", "gzip"), ("Content-Length", "0")], b""),
                _ => get.clone(),
            })
        });
        let (_, report, _) = prepare(&raw.host, &["--pin", "digest"], &[]);
        assert_eq!(row(&report).0, want, "{name}: {report:#}");
    }
}

// -- proxies

/// What reaches a proxy: the targets of requests. It answers all with a manifest, and lets nobody through.
fn listening() -> Raw {
    Raw::start(|head| {
        Some(match head.method.as_str() {
            "CONNECT" => answer(403, &[("Content-Length", "0")], b""),
            _ => served(head, &[("Content-Type", TYPE)], manifest().as_bytes()),
        })
    })
}

/// Whether a program goes through a proxy, which is `P` (or `HOST`, without the scheme) among the variables.
fn goes_through(variables: &[(&str, &str)], run: impl Fn(&[(&str, &str)])) -> bool {
    let proxy = listening();
    let address = format!("http://{}", proxy.host);
    let value = |text: &str| text.replace("HOST", &proxy.host).replace('P', &address);
    let variables: Vec<(&str, String)> = variables.iter().map(|(name, text)| (*name, value(text))).collect();
    run(&variables.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>());
    !proxy.requests().is_empty()
}

/// Asks the registry at an address for an image; one request is enough.
fn ask_at(url: &str, variables: &[(&str, &str)]) {
    let (scheme, host) = (url.split(':').next().expect("a scheme"), url.split('/').nth(2).expect("a host"));
    let (image, endpoint) = (format!("{host}/x:latest"), format!("{host}={scheme}://{host}"));
    _ = overtag(&["discover", "--image", &image, "--endpoint", &endpoint, "--tag-from-label", "x"], variables);
}

#[test]
fn proxy_variables_agree_with_curl() {
    let all: &[(&[(&str, &str)], &str)] = &[
        (&[], "http://registry.test/x"),
        (&[("http_proxy", "P")], "http://registry.test/x"),
        (&[("http_proxy", "P")], "https://registry.test/x"),
        (&[("https_proxy", "P")], "http://registry.test/x"),
        (&[("https_proxy", "P")], "https://registry.test/x"),
        (&[("HTTPS_PROXY", "P")], "https://registry.test/x"),
        (&[("HTTPS_PROXY", "http://127.0.0.1:9"), ("https_proxy", "P")], "https://registry.test/x"),
        (&[("all_proxy", "P")], "http://registry.test/x"),
        (&[("ALL_PROXY", "P")], "https://registry.test/x"),
        (&[("ALL_PROXY", "http://127.0.0.1:9"), ("http_proxy", "P")], "http://registry.test/x"),
        (&[("http_proxy", ""), ("all_proxy", "P")], "http://registry.test/x"),
        (&[("http_proxy", "HOST")], "http://registry.test/x"),
        (&[("http_proxy", "P"), ("no_proxy", "*")], "http://registry.test/x"),
        (&[("http_proxy", "P"), ("NO_PROXY", "registry.test")], "http://registry.test/x"),
        (&[("http_proxy", "P"), ("no_proxy", "other.test"), ("NO_PROXY", "registry.test")], "http://registry.test/x"),
        (&[("http_proxy", "P"), ("no_proxy", "registry.test")], "http://a.registry.test/x"),
        (&[("http_proxy", "P"), ("no_proxy", ".registry.test")], "http://a.registry.test/x"),
        (&[("http_proxy", "P"), ("no_proxy", ".registry.test")], "http://registry.test/x"),
        (&[("http_proxy", "P"), ("no_proxy", "registry.test")], "http://myregistry.test/x"),
        (&[("http_proxy", "P"), ("no_proxy", "REGISTRY.test.")], "http://registry.TEST/x"),
        (&[("http_proxy", "P"), ("no_proxy", "a.test, registry.test ,b.test")], "http://registry.test/x"),
        (&[("http_proxy", "P"), ("no_proxy", "a.test registry.test")], "http://registry.test/x"),
        (&[("http_proxy", "P"), ("no_proxy", "registry.test")], "http://registry.test:5000/x"),
        (&[("http_proxy", "P"), ("no_proxy", "10.0.0.0/8")], "http://10.1.2.3/x"),
        (&[("http_proxy", "P"), ("no_proxy", "10.0.0.0/8")], "http://11.1.2.3/x"),
        (&[("http_proxy", "P"), ("no_proxy", "192.168.24.0/25")], "http://192.168.24.200/x"),
        (&[("http_proxy", "P"), ("no_proxy", "192.168.24.1")], "http://192.168.24.1:8787/x"),
        (&[("http_proxy", "P"), ("no_proxy", "fd00::1")], "http://[fd00::1]:5000/x"),
        (&[("http_proxy", "P"), ("no_proxy", "24.1")], "http://192.168.24.1/x"),
        (&[("http_proxy", "P"), ("no_proxy", "localhost")], "http://127.0.0.1:9/x"),
    ];
    let curl = |url: &str, variables: &[(&str, &str)]| {
        let mut command = Command::new("curl");
        for name in VARIABLES {
            command.env_remove(name);
        }
        command.args(["-s", "-m", "3", "-o", "/dev/null", url]).envs(variables.iter().copied()).output().expect("curl runs");
    };
    std::thread::scope(|scope| {
        for (variables, url) in all {
            scope.spawn(move || {
                let ours = goes_through(variables, |variables| ask_at(url, variables));
                let curls = goes_through(variables, |variables| curl(url, variables));
                assert_eq!(
                    ours,
                    curls,
                    "{variables:?} {url}: curl goes {}",
                    if curls { "through the proxy" } else { "directly" }
                );
            });
        }
    });
}

#[test]
fn other_proxy_variables_agree_with_requests() {
    // tripleo-common uses requests. curl reads no HTTP_PROXY, knows no ports in no_proxy, and takes a network of all for an address; a
    // network of IPv6 is known to neither of them, and means what it says.
    let url = "http://10.9.8.7:5000/x";
    type Variables = &'static [(&'static str, &'static str)];
    let cases: &[(Variables, &str, bool)] = &[
        (&[("http_proxy", "P"), ("no_proxy", "fd00::/8")], "http://[fd00::1]:5000/x", false),
        (&[("http_proxy", "P"), ("no_proxy", "fd00::/8")], "http://[fe00::1]:5000/x", true),
        (&[("HTTP_PROXY", "P")], url, true),
        (&[("HTTP_PROXY", "P"), ("REQUEST_METHOD", "GET")], url, false),
        (&[("http_proxy", "P"), ("no_proxy", "10.9.8.7:5000")], url, false),
        (&[("http_proxy", "P"), ("no_proxy", "10.9.8.7:5001")], url, true),
        (&[("http_proxy", "P"), ("no_proxy", "0.0.0.0/0")], url, false),
    ];
    std::thread::scope(|scope| {
        for (variables, url, want) in cases {
            scope.spawn(move || {
                let ours = goes_through(variables, |variables| ask_at(url, variables));
                assert_eq!(ours, *want, "{variables:?} {url}");
            });
        }
    });
}

#[test]
fn proxy_error_page_is_not_registry_answer() {
    // A request through a proxy names the whole address, and has the proxy's own login.
    let digest = sha256(manifest().as_bytes());
    let registry = Raw::start(|_| None);
    let host = registry.host.clone();
    let proxy = listening();
    let variables = [("http_proxy", format!("http://us%40er:p%3Aw@{}", proxy.host))];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let (code, report, said) = prepare(&host, &["--pin", "digest"], &variables);
    assert_eq!((code, report["images"][0]["digest"].as_str()), (Some(0), Some(digest.as_str())), "{said}");
    let asked = proxy.requests();
    assert_eq!(asked[0].target, format!("http://{host}/v2/ns/alpha/manifests/current-tripleo"));
    // base64 of us@er:p:w
    assert_eq!(asked[0].header("proxy-authorization"), Some("Basic dXNAZXI6cDp3"));
    assert_eq!(asked[0].header("host"), Some(host.as_str()));
    assert_eq!(registry.requests().len(), 0);

    // The proxy's own error page, of whatever status, is not the registry's answer.
    for status in [403, 404, 407, 502, 503] {
        let proxy = Raw::start(move |_| Some(answer(status, &[("Content-Type", "text/html")], b"<html>no</html>")));
        let (code, report, _) = prepare(&host, &["--pin", "digest"], &[("http_proxy", &proxy.host)]);
        let (is, reason, _) = row(&report);
        assert_eq!((code, is.as_str()), (Some(3), "error"), "{status}: {reason}");
        assert!(reason.contains(&format!("the proxy {}", proxy.host)) && reason.contains(&status.to_string()), "{reason}");
    }
    let refusing = Raw::start(|_| Some(answer(407, &[("Content-Length", "0")], b"")));
    let endpoint = format!("{host}=https://{host}");
    let (code, report, _) = prepare(&host, &["--pin", "digest", "--endpoint", &endpoint], &[("https_proxy", &refusing.host)]);
    assert_eq!((code, row(&report).0.as_str()), (Some(3), "error"), "{report:#}");
    assert_eq!(refusing.requests()[0].method, "CONNECT");
    // The registry's own refusals pass.
    let passing = Raw::start(|_| {
        let error = json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "message": "" }] }).to_string();
        Some(answer(404, &[("Content-Type", "application/json")], error.as_bytes()))
    });
    let (_, report, _) = prepare(&host, &["--pin", "digest"], &[("http_proxy", &passing.host)]);
    assert_eq!(row(&report).0, "absent", "{report:#}");
    // A value that is not a proxy ends the program.
    let done = overtag(&["discover", "--image", "registry.test/x", "--tag-from-label", "x"], &[("https_proxy", "http://")]);
    assert_eq!(done.status.code(), Some(2), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("https_proxy"), "{}", text(&done.stderr));
}

// -- logins

/// A registry that wants `u:secret`, or a token for it, or for the refresh token `identity`.
fn locked(bearer: bool) -> Raw {
    Raw::start(move |head| {
        let refusal = |challenge: String| answer(401, &[("WWW-Authenticate", challenge.as_str()), ("Content-Length", "0")], b"");
        let host = head.header("host").unwrap_or_default();
        let form: Vec<(String, String)> = form_urlencoded::parse(head.body.as_bytes()).into_owned().collect();
        let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let basic = head.header("authorization") == Some("Basic dTpzZWNyZXQ=");
        if head.target.starts_with("/token") {
            let good = match head.method.as_str() {
                "POST" => field("grant_type") == Some("refresh_token") && field("refresh_token") == Some("identity"),
                _ => basic,
            };
            return Some(match good {
                true => answer(200, &[("Content-Type", "application/json")], br#"{"access_token":"t"}"#),
                false => answer(401, &[("Content-Length", "0")], b""),
            });
        }
        Some(match bearer {
            true if head.header("authorization") != Some("Bearer t") => {
                refusal(format!("Bearer realm=\"http://{host}/token\",service=\"s\""))
            }
            false if !basic => refusal("Basic realm=\"r\"".to_owned()),
            _ => served(head, &[("Content-Type", TYPE)], manifest().as_bytes()),
        })
    })
}

#[test]
fn authfile_logins_are_used_or_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let authfile = folder.path().join("auth.json");
    // A helper, as docker and podman run it.
    let helper = |name: &str, script: &str| {
        let path = folder.path().join(format!("docker-credential-{name}"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
    };
    helper("good", r#"read -r host; [ "$1" = get ] && printf '{"ServerURL":"%s","Username":"u","Secret":"secret"}' "$host""#);
    helper("identity", r#"cat >/dev/null; printf '{"Username":"<token>","Secret":"identity"}'"#);
    helper("none", r#"cat >/dev/null; echo "credentials not found in native keychain"; exit 1"#);
    helper("broken", r#"cat >/dev/null; echo "the keychain is locked"; exit 1"#);
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("a PATH"));
    let auth = |entry: Value| move |host: &str| json!({ "auths": { host: entry } });
    /// The authfile for a host.
    type File = Box<dyn Fn(&str) -> Value>;
    let pair = || json!({ "username": "u", "password": "secret" });
    let cases: Vec<(&str, bool, File, Result<(), &str>)> = vec![
        ("auth", false, Box::new(auth(json!({ "auth": "dTpzZWNyZXQ=" }))), Ok(())),
        ("auth with an end of line", false, Box::new(auth(json!({ "auth": "dTpzZWNyZXQK\n" }))), Ok(())),
        ("user and password", false, Box::new(auth(pair())), Ok(())),
        ("user and password, for a token", true, Box::new(auth(pair())), Ok(())),
        ("an identity token", true, Box::new(auth(json!({ "auth": "dTo=", "identitytoken": "identity" }))), Ok(())),
        ("an old identity token", true, Box::new(auth(json!({ "identitytoken": "old" }))), Err("the identity token (401)")),
        (
            "an identity token, for a password",
            false,
            Box::new(auth(json!({ "identitytoken": "identity" }))),
            Err("only an identity token"),
        ),
        ("a helper", false, Box::new(|host| json!({ "credHelpers": { host: "good" } })), Ok(())),
        ("a helper with a token", true, Box::new(|host| json!({ "credHelpers": { host: "identity" } })), Ok(())),
        ("a store", false, Box::new(|host| json!({ "auths": { host: {} }, "credsStore": "good" })), Ok(())),
        ("a helper for one host only", false, Box::new(|_| json!({ "credHelpers": { "other.test": "broken" } })), Err("log in")),
        ("a helper that has none", false, Box::new(|host| json!({ "credHelpers": { host: "none" } })), Err("log in")),
        (
            "a helper that fails",
            false,
            Box::new(|host| json!({ "credHelpers": { host: "broken" } })),
            Err("docker-credential-broken failed: it reported: the keychain is locked"),
        ),
        (
            "a helper that is not there",
            false,
            Box::new(|host| json!({ "credHelpers": { host: "absent" } })),
            Err("docker-credential-absent failed: it cannot be run"),
        ),
        (
            "a helper elsewhere",
            false,
            Box::new(|host| json!({ "credHelpers": { host: "../good" } })),
            Err("not a program's name"),
        ),
        ("nothing of use", false, Box::new(auth(json!({}))), Err("without auth, username and password, or identitytoken")),
        ("a wrong password", false, Box::new(auth(json!({ "username": "u", "password": "no" }))), Err("refuses the login")),
    ];
    for (name, bearer, file, want) in cases {
        let registry = locked(bearer);
        fs::write(&authfile, file(&registry.host).to_string()).expect("written");
        let flags = ["--pin", "digest", "--authfile", &authfile.display().to_string()];
        let (code, report, said) = prepare(&registry.host, &flags, &[("PATH", &path)]);
        match want {
            Ok(()) => assert_eq!((code, row(&report).0.as_str()), (Some(0), "resolved"), "{name}: {said}"),
            Err(words) => {
                assert_eq!((code, row(&report).0.as_str()), (Some(3), "error"), "{name}: {said}");
                assert!(format!("{} {said}", row(&report).1).contains(words), "{name}: {}\n{said}", row(&report).1);
            }
        }
        assert!(!said.contains("secret") && !said.contains("dTp"), "{name}: {said}");
    }
}

#[test]
fn relative_token_realm_is_error() {
    // docker, crane and skopeo use it as an address and fail; so does tripleo-common.
    let raw = Raw::start(|_| Some(answer(401, &[("WWW-Authenticate", "Bearer realm=\"/token\""), ("Content-Length", "0")], b"")));
    let (code, report, _) = prepare(&raw.host, &[], &[]);
    assert_eq!((code, row(&report).0.as_str()), (Some(3), "error"));
    assert!(row(&report).1.contains("`/token` is not an absolute address"), "{report:#}");
}
