//! The command line on every kind of registry: Quay's own API, logins, limits, redirects, mixes of them, and snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::login::{self, Access};
use support::nginx::{self, Nginx, RetryAfter};
use support::proxy::{Fault, Logged, Proxy, Seen};
use support::quay::{self, Manifest, Quay, Repository, Role};
use support::registry::{Kind, LABEL, NAMESPACE, PREFIX, PROMOTED, Registry, Seed};

/// The current time of the tests, unless they set another.
const EPOCH: u64 = 1_496_105_356;

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry::start(Path::new(support::CACHE), &support::names()))
}

/// Runs the program without the proxy settings of the environment.
fn overtag(args: &[&str]) -> Output {
    overtag_with(args, &[("SOURCE_DATE_EPOCH", &EPOCH.to_string())])
}

fn overtag_with(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overtag"));
    for proxy in ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
        command.env_remove(proxy);
    }
    command.args(args).envs(environment.iter().copied()).output().expect("overtag runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with a template, and the registry and namespace that it is filled in with.
struct Here {
    folder: tempfile::TempDir,
    namespace: String,
    more: Vec<String>,
}

impl Here {
    /// A template of all seeded images, on a host.
    fn at(host: &str) -> Self {
        Self::of(host, &support::names())
    }

    fn of(host: &str, names: &[&str]) -> Self {
        Self::with(&format!("{host}/{NAMESPACE}"), &support::template(names))
    }

    fn with(namespace: &str, template: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("t.j2"), template).expect("the template is written");
        Self { folder, namespace: namespace.to_owned(), more: Vec::new() }
    }

    /// Adds these flags to every run.
    fn and(mut self, more: &[&str]) -> Self {
        self.more.extend(more.iter().map(|m| (*m).to_owned()));
        self
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).expect("the file is written");
        self.path(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// An authfile with a login for a host.
    fn authfile(&self, host: &str, user: &str, password: &str) -> String {
        // What podman writes is base64 of both, and so is the header.
        let known = login::authorization();
        assert!(user == login::USER, "only one user is known");
        let auth = match password {
            login::PASSWORD => known.trim_start_matches("Basic ").to_owned(),
            _ => "dGVzdGVyOndyb25n".to_owned(),
        };
        self.write("auth.json", &json!({ "auths": { host: { "auth": auth } } }).to_string())
    }

    /// A verb on all images of the template at the promoted channel.
    fn run(&self, verb: &str, more: &[&str], environment: &[(&str, &str)]) -> Output {
        let template = self.path("t.j2");
        let plain = [verb, "--template-file", &template, "--namespace", &self.namespace];
        let own: Vec<&str> = self.more.iter().map(String::as_str).collect();
        let has_prefix = own.iter().chain(more).any(|flag| flag.starts_with("--prefix"));
        let prefix: &[&str] = if has_prefix { &[] } else { &["--prefix", PREFIX] };
        let tag: &[&str] = if more.contains(&"--tag") { &[] } else { &["--tag", PROMOTED] };
        overtag_with(&[&plain[..], prefix, tag, &own, more].concat(), environment)
    }

    fn report(&self, more: &[&str]) -> (Option<i32>, Value) {
        let (code, report, _) = self.report_and_words(more);
        (code, report)
    }

    /// Status, report, and what was said on standard error.
    fn report_and_words(&self, more: &[&str]) -> (Option<i32>, Value, String) {
        let epoch = EPOCH.to_string();
        let done = self.run("prepare", &[more, &["--format", "json"]].concat(), &[("SOURCE_DATE_EPOCH", &epoch)]);
        let report = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&done.stderr)));
        (done.status.code(), report, text(&done.stderr))
    }

    /// Both files.
    fn files(&self, more: &[&str]) -> (String, String) {
        let (a, b, epoch) = (self.path("containers"), self.path("environment"), EPOCH.to_string());
        let flags = ["--output-images-file", &a, "--output-env-file", &b];
        let done = self.run("prepare", &[&flags, more].concat(), &[("SOURCE_DATE_EPOCH", &epoch)]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        (self.read("containers"), self.read("environment"))
    }

    /// Takes a snapshot into a file of that name.
    fn snapshot(&self, name: &str, more: &[&str]) -> Output {
        let (output, epoch) = (self.path(name), EPOCH.to_string());
        self.run("snapshot", &[&["--output", &output], more].concat(), &[("SOURCE_DATE_EPOCH", &epoch)])
    }
}

/// The rows of a report by short name.
fn rows(report: &Value) -> BTreeMap<String, Value> {
    let short = |row: &Value| {
        let image = row["image"].as_str().unwrap_or_default();
        let last = image.rsplit('/').next().unwrap_or_default();
        last.split(':').next().unwrap_or_default().trim_start_matches(PREFIX).to_owned()
    };
    report["images"].as_array().into_iter().flatten().map(|r| (short(r), r.clone())).collect()
}

fn notes(row: &Value) -> Vec<&str> {
    row["notes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// How many rows there are of a status.
fn count(report: &Value, status: &str) -> u64 {
    report["counts"][status].as_u64().unwrap_or_else(|| panic!("no count of {status} in {report}"))
}

/// The first row in error, for messages.
fn first_error(report: &Value) -> String {
    let rows = report["images"].as_array().into_iter().flatten();
    rows.into_iter().find(|r| r["status"] == "error").map_or(String::new(), |r| r["reason"].to_string())
}

/// Compares every row with what the registry was seeded with.
#[track_caller]
fn assert_right(report: &Value, seed: &Seed) {
    let rows = rows(report);
    assert_eq!(rows.len(), seed.images.len());
    let (hash, others) = seed.majority(PROMOTED);
    assert_eq!(report["hash"], hash, "{}", first_error(report));
    assert_eq!(report["counts"]["torn"], others);
    for (short, image) in &seed.images {
        let row = &rows[short];
        match image.channels.get(PROMOTED) {
            None => assert_eq!(row["status"], "absent", "{short}: {row}"),
            Some(hash) => {
                assert_eq!((&row["status"], &row["tag"]), (&json!("resolved"), &json!(hash)), "{short}: {row}");
                assert_eq!(row["digest"].as_str(), image.digest(PROMOTED), "{short}");
            }
        }
    }
}

/// The same for a seeded Quay.
#[track_caller]
fn assert_right_on_quay(report: &Value, seed: &quay::Seed) {
    let rows = rows(report);
    let (hash, others) = seed.majority(PROMOTED);
    assert_eq!(report["hash"], hash, "{}", first_error(report));
    assert_eq!(report["counts"]["torn"], others);
    for (short, image) in &seed.images {
        let row = &rows[short];
        let reason = row["reason"].as_str().unwrap_or_default();
        match image.hash(PROMOTED) {
            None => {
                assert_eq!(row["status"], "absent", "{short}, {:?}: {row}", image.role);
                let is_hidden = !image.is_readable();
                assert!(reason.contains(if is_hidden { "no public repository" } else { "has no tag" }), "{short}: {row}");
            }
            Some(hash) => {
                assert_eq!((&row["status"], &row["tag"]), (&json!("resolved"), &json!(hash)), "{:?}: {row}", image.role);
                assert_eq!(row["digest"].as_str(), image.digest(PROMOTED), "{short}");
                let is_torn = matches!(image.role, Role::Torn | Role::Buried | Role::Outrun);
                assert_eq!(notes(row).contains(&"torn"), is_torn, "{:?}: {row}", image.role);
            }
        }
    }
}

// -- Quay

/// The two ways to name a Quay: as `quay.io`, and by an address together with `--api quay`.
fn quay_names(quay: &Quay) -> [(String, Vec<String>); 2] {
    [
        ("quay.io".to_owned(), vec!["--endpoint".to_owned(), format!("quay.io=http://{}", quay.host)]),
        (quay.host.clone(), vec!["--api".to_owned(), "quay".to_owned()]),
    ]
}

#[test]
fn quay_needs_one_request_per_image() {
    // Every kind of special image in the seed, its `Role`, gets the right answer.
    let seed = quay::Seed::new(&support::names());
    for turn in 0..2 {
        let quay = Quay::seeded(&seed);
        let (host, flags) = quay_names(&quay)[turn].clone();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let (code, report) = Here::at(&host).report(&flags);
        assert_eq!(code, Some(0), "{}", first_error(&report));
        assert_right_on_quay(&report, &seed);
        assert_eq!(quay.asked(quay::Kind::Repository), seed.images.len());
        // The labels of scouts and of torn images, and tags by name where they are not among the newest.
        let (labels, tags) = (quay.asked(quay::Kind::Labels), quay.asked(quay::Kind::Tags));
        assert!((1..=12).contains(&labels) && (3..=8).contains(&tags), "{labels} labels, {tags} tags\n{}", quay.log_text());
        let pages = quay.proxy.count_where(|l| l.path.contains("namespace="));
        let first = quay.proxy.count_where(|l| l.path.contains("namespace=") && !l.path.contains("next_page"));
        assert!(first == 1 && pages <= 2, "the namespace is listed once: {first}, {pages} pages");
        assert!(quay.total() <= seed.images.len() + 24, "{} requests", quay.total());
        assert_eq!(report["requests"]["total"], quay.total());
        assert_eq!(quay.preflights(), 0);
    }
}

#[test]
fn quay_resolves_every_pin_chain() {
    let names = &support::names()[..24];
    let seed = quay::Seed::new(names);
    let quay = Quay::seeded(&seed);
    let here = Here::of("quay.io", names).and(&["--endpoint", &format!("quay.io=http://{}", quay.host)]);
    let (_, report) = here.report(&["--pin", "digest"]);
    let by_digest = |row: &Value| row["pinned_by"] == "digest" && row["tag"] == row["digest"];
    assert!(rows(&report).values().all(|r| r["status"] == "absent" || by_digest(r)), "{report}");
    let (_, report) = here.report(&["--pin", "sibling"]);
    assert_right_on_quay(&report, &seed);
    let (_, report) = here.report(&["--pin", "channel"]);
    assert!(rows(&report).values().all(|r| r["status"] == "absent" || r["tag"] == PROMOTED), "{report}");
    let (_, report) = here.report(&["--pin", "label"]);
    for (short, row) in rows(&report) {
        let want = match seed.image(&short).role {
            Role::New | Role::Crowded | Role::Private | Role::Missing => "absent",
            Role::NoLabels | Role::OtherLabels | Role::Mismatched => "unresolved",
            _ => "resolved",
        };
        assert_eq!(row["status"], want, "{:?}: {row}", seed.image(&short).role);
        assert_eq!(notes(&row).contains(&"mismatch"), seed.image(&short).role == Role::Mismatched, "{row}");
    }
    // An exact hash, and the highest version of all tags.
    let (_, report) = here.report(&["--tag", &seed.hashes[0]]);
    assert!(rows(&report).values().all(|r| ["exact", ""].contains(&r["pinned_by"].as_str().unwrap_or("-"))), "{report}");
    assert_eq!(count(&report, "absent"), 2, "private and missing: {report}");
    let (_, report) = here.report(&["--tag", "newest:[0-9a-f]{40}_[0-9a-f]{8}"]);
    for (short, row) in rows(&report) {
        let hashes = seed.image(&short).repository.as_ref().filter(|r| r.public).map(|r| r.active(seed.now));
        let hashes = hashes.map(|periods| periods.iter().map(|l| l.name.clone()).filter(|n| n.contains('_')).count());
        assert_eq!(row["status"], if hashes.is_some() { "resolved" } else { "absent" }, "{:?}: {row}", seed.image(&short).role);
    }
}

#[test]
fn discover_reads_the_label_on_a_quay() {
    let names = &support::names()[..16];
    let seed = quay::Seed::new(names);
    let quay = Quay::seeded(&seed);
    let endpoint = format!("quay.io=http://{}", quay.host);
    for role in [Role::Plain, Role::Torn, Role::Index, Role::Buried] {
        let image = seed.one(role);
        let name = format!("quay.io/{}:{PROMOTED}", image.path);
        let done = overtag(&["discover", "--image", &name, "--tag-from-label", LABEL, "--endpoint", &endpoint]);
        let want = format!("{}\n", image.hash(PROMOTED).expect("it has one"));
        assert_eq!(text(&done.stdout), want, "{role:?}: {}", text(&done.stderr));
    }
    for (role, words) in
        [(Role::NoLabels, "no label"), (Role::OtherLabels, "version=1.0.0"), (Role::Missing, "no public repository")]
    {
        let name = format!("quay.io/{}:{PROMOTED}", seed.one(role).path);
        let done = overtag(&["discover", "--image", &name, "--endpoint", &endpoint]);
        assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(1), ""), "{role:?}");
        assert!(text(&done.stderr).contains(words), "{role:?}: {}", text(&done.stderr));
    }
}

#[test]
fn rate_limited_quay_resolves_all_images() {
    let names = &support::names()[..40];
    let seed = quay::Seed::new(names);
    let quay = Quay::seeded(&seed);
    quay.limit(8.0, 5);
    let here = Here::of("quay.io", names).and(&["--endpoint", &format!("quay.io=http://{}", quay.host)]);
    let (code, report) = here.report(&[]);
    assert!(quay.throttled() > 0, "the limit was met");
    assert_eq!((code, count(&report, "error")), (Some(0), 0), "{}", first_error(&report));
    assert_right_on_quay(&report, &seed);
}

#[test]
fn registry_named_like_quay_uses_v2() {
    let registry = registry();
    let proxy = Proxy::before(&registry.host);
    let here = Here::at("quay.io").and(&["--endpoint", &format!("quay.io=http://{}", proxy.host)]);
    for api in ["auto", "quay", "distribution"] {
        proxy.reset();
        let (code, report) = here.report(&["--api", api]);
        assert_eq!(code, Some(0), "{api}: {}", first_error(&report));
        assert_right(&report, &registry.seed);
        let wrong = proxy.count_where(|l| l.path.contains("/api/v1/"));
        assert_eq!(wrong, usize::from(api != "distribution"), "{api}");
    }
}

// -- logins

#[test]
fn password_registry_needs_matching_login() {
    // Without it every image is an error, none is absent, and no secret is printed.
    let (plain, locked) = (registry(), login::htpasswd(registry()));
    let proxy = Proxy::before(&locked.host);
    let here = Here::at(&proxy.host);
    let authfile = here.authfile(&proxy.host, login::USER, login::PASSWORD);
    let (code, report) = here.report(&["--authfile", &authfile]);
    assert_eq!(code, Some(0), "{}", first_error(&report));
    assert_right(&report, &plain.seed);
    // Requests that were in flight before this was known are sent again.
    assert!(proxy.count() <= 124 * 26 / 10 + 40, "{} requests", proxy.count());

    // Without a login, and with one for another host, no login is sent and nothing is absent.
    let other = here.authfile("127.0.0.1:1", login::USER, login::PASSWORD);
    for flags in [vec![], vec!["--authfile", other.as_str()]] {
        proxy.reset();
        let (code, report, said) = here.report_and_words(&flags);
        assert_eq!((code, count(&report, "error")), (Some(3), 124), "{said}");
        assert!(said.contains(&proxy.host) && said.contains("log in"), "{said}");
        assert_eq!(proxy.count_where(|l| l.authorization), 0);
    }
    // A wrong password is tried, and is reported as wrong.
    let wrong = here.authfile(&proxy.host, login::USER, "wrong");
    let (code, report, said) = here.report_and_words(&["--authfile", &wrong]);
    assert_eq!((code, count(&report, "error")), (Some(3), 124), "{said}");
    assert!(said.contains("password") || said.contains("refuses the login"), "{said}");
    for wrong in ["tester", "sesame", "wrong", "dGVz"] {
        assert!(!said.contains(wrong) && !report.to_string().contains(wrong), "{wrong:?} is a secret: {said}");
    }
}

#[test]
fn unreadable_authfile_is_usage_error() {
    let here = Here::of("127.0.0.1:1", &support::names()[..1]);
    for content in ["", "[]", "{\"auths\": 1}"] {
        let file = here.write("auth.json", content);
        let done = here.run("prepare", &["--authfile", &file], &[]);
        assert_eq!(done.status.code(), Some(2), "{content}: {}", text(&done.stderr));
        assert!(text(&done.stderr).contains("auth.json"), "{}", text(&done.stderr));
    }
    let done = here.run("prepare", &["--authfile", "/nowhere/auth.json"], &[]);
    assert_eq!(done.status.code(), Some(2), "{}", text(&done.stderr));
}

#[test]
fn token_is_requested_once_per_image() {
    let plain = registry();
    for login in [login::bare(plain), login::behind_nginx(plain, "*")] {
        let (code, report) = Here::at(&login.host).report(&[]);
        assert_eq!(code, Some(0), "{}", first_error(&report));
        assert_right(&report, &plain.seed);
        let scopes: BTreeSet<Option<String>> = login.tokens.asked().into_iter().map(|a| a.scope).collect();
        let want = plain.seed.images.values().map(|i| Some(format!("repository:{}:pull", i.repo))).collect();
        assert_eq!(scopes, want);
        assert!(login.tokens.asked().iter().all(|a| !a.authorization && a.status == 200));
        assert_eq!(login.tokens.asked().len(), 124, "one an image");
        let total = report["requests"]["total"].as_u64().expect("a number");
        assert!(total <= 124 * 36 / 10 + 40, "{total} requests");
        login.tokens.assert_clean();
    }
}

/// The few images that the shorter tests ask for.
const FEW: [&str; 2] = ["--include", "aodh|nova-api|keystone"];

/// The rows of the few are those that the plain registry gives.
#[track_caller]
fn assert_few_are_right(report: &Value) {
    assert_eq!(count(report, "error"), 0, "{}", first_error(report));
    let rows = rows(report);
    assert!(rows.len() >= 5, "{} rows", rows.len());
    for (short, row) in &rows {
        let image = registry().seed.image(short);
        assert_eq!(row["digest"].as_str(), image.digest(PROMOTED), "{row}");
        assert_eq!(row["tag"].as_str().filter(|_| row["status"] == "resolved"), image.hash(PROMOTED), "{row}");
    }
}

#[test]
fn token_forms_and_lifetimes_are_honoured() {
    let login = login::behind_nginx(registry(), "*");
    let here = Here::at(&login.host);
    type Change = fn(&mut login::Settings);
    let changes: [(&str, Change); 5] = [
        ("access_token", |s| s.fields = &["access_token"]),
        ("both names", |s| s.fields = &["token", "access_token"]),
        ("no lifetime", |s| s.expires_in = None),
        ("a short life", |s| s.expires_in = Some(1)),
        ("good for two requests", |s| s.uses = Some(2)),
    ];
    for (name, change) in changes {
        login.tokens.set(|s| {
            *s = login::Settings::default();
            change(s);
        });
        let (code, report) = here.report(&FEW);
        assert_eq!(code, Some(0), "{name}: {}", first_error(&report));
        assert_few_are_right(&report);
        login.tokens.assert_clean();
    }
}

#[test]
fn revoked_token_is_replaced() {
    let login = Arc::new(login::behind_nginx(registry(), "*"));
    // The first request is refused and the second is let through: the token was good. Siblings are looked for by many requests at
    // once, each with the same token.
    for (pin, at) in [("label", 3), ("label", 4), ("sibling", 3), ("sibling", 5), ("sibling", 9)] {
        let proxy = Proxy::before(&login.host);
        let (seen, revoker) = (AtomicUsize::new(0), Arc::clone(&login));
        proxy.fault(move |_: &Seen| {
            if seen.fetch_add(1, Ordering::Relaxed) + 1 == at {
                revoker.tokens.revoke();
            }
            None
        });
        login.tokens.reset();
        let (code, report) = Here::at(&proxy.host).report(&["--include", "binary-keystone:", "--pin", pin]);
        assert_eq!(code, Some(0), "{pin}, revoked at {at}: {}\n{}", first_error(&report), proxy.log_text());
        for (short, row) in rows(&report) {
            assert_eq!(row["tag"].as_str(), registry().seed.image(&short).hash(PROMOTED), "{row}");
        }
        assert!((2..=4).contains(&login.tokens.asked().len()), "{pin}, revoked at {at}: {:?}", login.tokens.asked());
    }
    login.tokens.assert_clean();
}

#[test]
fn refused_token_is_error_not_absent() {
    let login = login::behind_nginx(registry(), "*");
    let here = Here::at(&login.host);
    let authfile = here.authfile(&login.host, login::USER, login::PASSWORD);
    let wrong = |here: &Here| here.authfile(&login.host, login::USER, "wrong");
    let set = |others: Access, refusal: Option<u16>| {
        login.tokens.reset();
        login.tokens.set(|s| *s = login::Settings { others, refusal, ..login::Settings::default() });
    };
    for refusal in [Some(401), Some(403), None] {
        set(Access::Members, refusal);
        let (code, report, said) = here.report_and_words(&FEW);
        assert_eq!((code, count(&report, "error")), (Some(3), count(&report, "asked")), "{refusal:?}: {said}");
        assert!(said.contains("log in"), "{said}");
        assert!(login.tokens.asked().iter().all(|a| !a.authorization));
        let (code, report) = here.report(&[&FEW[..], &["--authfile", &authfile]].concat());
        assert_eq!(code, Some(0), "{}", first_error(&report));
        assert_few_are_right(&report);
        // Not even with a login: it is private or missing, so it is not absent.
        set(Access::Nobody, refusal);
        let (code, report, said) = here.report_and_words(&[&FEW[..], &["--authfile", &authfile]].concat());
        assert_eq!((code, count(&report, "error")), (Some(3), count(&report, "asked")), "{refusal:?}: {said}");
    }
    login.tokens.assert_clean();
    set(Access::Members, Some(401));
    let (code, report, said) = here.report_and_words(&[&FEW[..], &["--authfile", &wrong(&here)]].concat());
    assert_eq!((code, count(&report, "error")), (Some(3), count(&report, "asked")), "{said}");
    assert!(said.contains("refuses the login") && !said.contains("wrong"), "{said}");
    // One private repository among public ones is one row in error.
    let (short, private) = rows(&report).into_iter().next().expect("a row");
    let repo = registry().seed.image(&short).repo.clone();
    set(Access::Anyone, Some(401));
    login.tokens.set(|s| _ = s.access.insert(repo, Access::Nobody));
    let (code, report) = here.report(&FEW);
    assert_eq!((code, count(&report, "error")), (Some(3), 1), "{private}");
    assert_eq!(rows(&report)[&short]["status"], "error");
}

#[test]
fn rejected_token_is_not_requested_repeatedly() {
    let login = login::bare(registry());
    login.tokens.set(|s| s.valid = 0);
    let (code, report) = Here::at(&login.host).report(&FEW);
    assert_eq!((code, count(&report, "error")), (Some(3), count(&report, "asked")));
    let asked = count(&report, "asked") as usize;
    assert!(login.tokens.asked().len() <= 2 * asked, "{} tokens for {asked} images", login.tokens.asked().len());
}

#[test]
fn failing_token_service_is_retried() {
    let login = login::bare(registry());
    let proxy = Proxy::before(&login.tokens.server.host);
    proxy.fault(|seen: &Seen| (seen.nth <= 2).then(|| Fault::text(503, "")));
    let realm = format!("http://{}/token", proxy.host);
    let login = login::with_realm(registry(), login.tokens, &realm);
    let (code, report) = Here::at(&login.host).report(&FEW);
    assert_eq!(code, Some(0), "{}", first_error(&report));
    assert_few_are_right(&report);
    proxy.fault(|_: &Seen| Some(Fault::text(503, "")));
    let (code, report, said) = Here::at(&login.host).report_and_words(&FEW);
    assert_eq!((code, count(&report, "error")), (Some(3), count(&report, "asked")));
    assert!(said.contains("token service"), "{said}");
}

// -- limits

/// All seeded names, and `n` that are not in the registry.
fn more_names(n: usize) -> Vec<String> {
    let mut names: Vec<String> = support::names().iter().map(|n| (*n).to_owned()).collect();
    names.extend((0..n).map(|i| format!("never-pushed-{i}")));
    names
}

#[test]
fn rate_limit_causes_no_error() {
    // 150 images at five requests a second.
    let front = nginx::limited(&registry().host, 5, 3, 429, None);
    let names = more_names(26);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let start = Instant::now();
    let (code, report) = Here::of(&front.host, &names).report(&[]);
    assert_eq!((code, count(&report, "error")), (Some(0), 0), "{}", first_error(&report));
    assert_eq!((count(&report, "asked"), count(&report, "absent")), (150, 31));
    assert_eq!(report["hash"], registry().seed.majority(PROMOTED).0);
    assert!(report["requests"]["retries"].as_u64() > Some(0), "the limit was met: {}", report["requests"]);
    assert!(start.elapsed() < Duration::from_secs(150), "{:?}", start.elapsed());
}

#[test]
fn retry_after_is_honoured_and_reported() {
    let names = &support::names()[..40];
    for retry in [RetryAfter::Seconds(4), RetryAfter::Date(4)] {
        let front = nginx::limited(&registry().host, 30, 10, 429, Some(retry));
        let (code, report, said) = Here::of(&front.host, names).report_and_words(&[]);
        assert_eq!((code, count(&report, "error")), (Some(0), 0), "{retry:?}: {}", first_error(&report));
        assert!(report["requests"]["retries"].as_u64() > Some(0), "{retry:?}: the limit was met");
        let reported = said.lines().filter(|l| l.contains("waiting") && l.contains(&front.host)).count();
        assert!((1..=8).contains(&reported), "{retry:?}: {said}");
    }
}

#[test]
fn rate_limit_by_503_is_waited_out() {
    // So is a 429 with a page of HTML.
    let names = &support::names()[..40];
    for front in [
        // nginx's default.
        nginx::limited(&registry().host, 10, 2, 503, None),
        nginx::limited(&registry().host, 10, 2, 503, Some(RetryAfter::Seconds(1))),
        nginx::limited_unreadable(&registry().host, 10, 2, 429, None),
    ] {
        let (code, report) = Here::of(&front.host, names).report(&[]);
        assert_eq!((code, count(&report, "error")), (Some(0), 0), "{}\n{}", first_error(&report), front.output());
    }
}

#[test]
fn hour_long_retry_after_fails_at_once() {
    let front = nginx::limited(&registry().host, 1, 1, 429, Some(RetryAfter::Seconds(3600)));
    let start = Instant::now();
    let (code, report, said) = Here::of(&front.host, &support::names()[..40]).report_and_words(&[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(count(&report, "error") >= 30 && count(&report, "absent") == 0, "{}", report["counts"]);
    assert!(said.contains("3600 s") && said.contains(&front.host), "{said}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

// -- odd servers

#[test]
fn hidden_headers_leave_results_unchanged() {
    let front = nginx::hiding(&registry().host);
    let (code, report) = Here::at(&front.host).report(&[]);
    assert_eq!(code, Some(0), "{}", first_error(&report));
    assert_right(&report, &registry().seed);
    // Its lists of tags have no `Link`.
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("t.j2");
    fs::write(&template, support::template(&["alpha", "beta"])).expect("written");
    let (template, namespace) = (template.display().to_string(), format!("{}/versions", front.host));
    let args = ["prepare", "--template-file", &template, "--namespace", &namespace, "--prefix=", "--tag", r"newest:\d+(\.\d+)+"];
    let done = overtag(&args);
    assert!(text(&done.stdout).contains("/alpha:1.2.10"), "{}", text(&done.stderr));
}

#[test]
fn refused_head_falls_back_to_get() {
    let proxy = Proxy::before(&registry().host);
    proxy.fault(|seen: &Seen| (seen.method == "HEAD").then(|| Fault::registry_error(405, "UNSUPPORTED")));
    let (code, report) = Here::at(&proxy.host).report(&[]);
    assert_eq!(code, Some(0), "{}", first_error(&report));
    assert_right(&report, &registry().seed);
}

#[test]
fn schema1_registry_yields_digest_and_labels() {
    // Without `Accept` this registry answers as an old one does: in schema 1, with its own signature.
    let front = Nginx::start(&format!(
        "location / {{ proxy_pass http://{}; proxy_set_header Host $http_host; proxy_set_header Accept ''; }}",
        registry().host
    ));
    let (code, report) = Here::at(&front.host).report(&[&FEW[..], &["--pin", "label,digest"]].concat());
    assert_eq!((code, count(&report, "error")), (Some(0), 0), "{}", first_error(&report));
    for (short, row) in rows(&report) {
        let image = registry().seed.image(&short);
        if image.kind != Kind::Docker || image.label(PROMOTED, LABEL).is_none() {
            continue;
        }
        // The tag is part of what is signed, so each tag has its own digest: the label is read, and does not match.
        assert_eq!((&row["status"], notes(&row)), (&json!("resolved"), vec!["mismatch"]), "{row}");
        assert_ne!(row["digest"].as_str(), image.digest(PROMOTED), "{row}");
    }
}

#[test]
fn redirect_is_followed_without_the_login() {
    let locked = login::htpasswd(registry());
    let storage = Proxy::before(&registry().host);
    let front = Proxy::before(&locked.host);
    let to = storage.host.clone();
    front.fault(move |seen: &Seen| {
        let place = format!("http://{to}{}", seen.path);
        (seen.path.contains("/blobs/")
            || seen.nth % 2 == 1 && seen.path.contains("/manifests/") && seen.header("Authorization").is_some())
        .then(|| Fault::text(307, "").with("Location", &place))
    });
    let here = Here::at(&front.host);
    let authfile = here.authfile(&front.host, login::USER, login::PASSWORD);
    let (code, report) = here.report(&["--authfile", &authfile]);
    assert_eq!(code, Some(0), "{}", first_error(&report));
    assert_right(&report, &registry().seed);
    let is_blob = |l: &Logged| l.path.contains("/blobs/");
    assert!(storage.count_where(is_blob) > 0 && storage.count() > 100, "{}", storage.log_text());
    assert_eq!(storage.count_where(|l| l.authorization), 0, "the login went to another host");
    assert!(front.count_where(|l| l.authorization) > 0);
}

#[test]
fn redirects_without_an_end_are_an_error() {
    let front = Proxy::fake(|seen: &Seen| Some(Fault::text(302, "").with("Location", &format!("{}x", seen.path))));
    let (code, report) = Here::of(&front.host, &support::names()[..3]).report(&[]);
    assert_eq!((code, count(&report, "error")), (Some(3), 3), "{report}");
    assert!(first_error(&report).contains("redirect"), "{}", first_error(&report));
    assert!(front.count() <= 40, "{}", front.count());
}

/// `prepare` with a registry of a public name, reached through the proxy that the environment names; and that proxy,
/// which accepts every CONNECT.
fn public(more: &[&str], answer: impl Fn(&Seen) -> Option<Fault> + Send + Sync + 'static) -> (Option<i32>, Value, Proxy) {
    let web = Proxy::fake(move |seen: &Seen| match seen.method.as_str() {
        "CONNECT" => Some(Fault::bare(200, &[], "")),
        _ => answer(seen),
    });
    let here = Here::of("registry.example.org", &support::names()[..3]);
    let proxy = format!("http://{}", web.host);
    let flags = ["--endpoint", "registry.example.org=http://registry.example.org", "--format", "json"];
    let done = here.run("prepare", &[&flags, more].concat(), &[("http_proxy", &proxy)]);
    let report = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&done.stderr)));
    (done.status.code(), report, web)
}

#[test]
fn public_registry_cannot_redirect_to_private_host() {
    let (code, report, _) = public(&[], |seen: &Seen| {
        Some(if seen.method == "HEAD" { Fault::bare(404, &[], "") } else { Fault::registry_error(404, "MANIFEST_UNKNOWN") })
    });
    assert_eq!((code, count(&report, "absent")), (Some(1), 3), "it is reached at all: {report}");
    for place in ["http://127.0.0.1:9/secret", "http://10.0.0.1/secret", "http://localhost/secret", "http://[::1]/secret"] {
        // By a redirect, by the realm of a token, by the next page of a list.
        let challenge = format!("Bearer realm=\"{place}\",service=\"s\"");
        for (flags, fault) in [
            (&[][..], Fault::bare(307, &[("Location", place)], "")),
            (&[], Fault::bare(401, &[("WWW-Authenticate", &challenge)], "")),
            (
                &["--tag", "newest:.*"],
                Fault::json(200, &json!({ "tags": ["1.0"] })).with("Link", &format!("<{place}>; rel=\"next\"")),
            ),
        ] {
            let message = fault.clone();
            let (code, report, web) = public(flags, move |_| Some(message.clone()));
            assert_eq!((code, count(&report, "error")), (Some(3), 3), "{fault:?}: {report}");
            let elsewhere = web.count_where(|l| l.method == "CONNECT" && l.path != "registry.example.org:80");
            assert!(elsewhere == 0 && web.count_where(|l| l.method != "CONNECT") >= 3, "{}", web.log_text());
            assert!(web.count_where(|l| l.path.contains("secret")) == 0, "{}", web.log_text());
        }
    }
}

// -- a mix

#[test]
fn mixed_registries_each_use_own_protocol() {
    let names = &support::names()[..24];
    let seed = quay::Seed::new(names);
    let quay = Quay::seeded(&seed);
    let tokens = login::bare(registry());
    let locked = login::htpasswd(registry());
    let mut down = Registry::scratch();
    down.kill();
    let hosts = ["quay.io", &tokens.host, &locked.host, &registry().host, &down.host];
    let entry = |host: &str, i: usize, name: &str| {
        format!(
            "- imagename: \"{host}/{NAMESPACE}/{PREFIX}{name}:{{{{tag}}}}\"\n  params:\n  - Host{i}{}Image\n",
            name.replace('-', "")
        )
    };
    let entries: String = hosts.iter().enumerate().flat_map(|(i, h)| names.iter().map(move |n| entry(h, i, n))).collect();
    let here = Here::with("unused", &format!("container_images_template:\n{entries}"));
    let authfile = here.authfile(&locked.host, login::USER, login::PASSWORD);
    let flags = ["--endpoint", &format!("quay.io=http://{}", quay.host), "--authfile", &authfile];
    let (code, report) = here.report(&flags);
    assert_eq!(code, Some(3));
    let of = |host: &str| -> Vec<Value> {
        let all = report["images"].as_array().into_iter().flatten();
        all.filter(|r| r["image"].as_str().is_some_and(|i| i.starts_with(&format!("{host}/")))).cloned().collect()
    };
    let down_host = &down.host;
    assert!(of(down_host).len() == 24 && of(down_host).iter().all(|r| r["status"] == "error"), "{:?}", of(down_host).first());
    assert_eq!(count(&report, "error"), 24, "{}", first_error(&report));
    for host in &hosts[1..4] {
        for row in of(host) {
            let short = row["image"].as_str().and_then(|i| i.rsplit(PREFIX).next()?.split(':').next()).expect("a name");
            let image = registry().seed.image(short);
            assert_eq!(row["tag"].as_str().filter(|_| row["status"] == "resolved"), image.hash(PROMOTED), "{row}");
        }
    }
    for row in of("quay.io") {
        let short = row["image"].as_str().and_then(|i| i.rsplit(PREFIX).next()?.split(':').next()).expect("a name");
        let want = seed.image(short).hash(PROMOTED);
        assert_eq!(row["tag"].as_str().filter(|_| row["status"] == "resolved"), want, "{row}");
    }
    // Resolved images are written, and the others are counted in the first line.
    let done = here.run("prepare", &[&flags[..], &["--allow-partial"]].concat(), &[]);
    assert!(done.status.success() && text(&done.stdout).starts_with("# INCOMPLETE: 24 images"), "{}", text(&done.stderr));
}

// -- snapshots

/// A file less the line that names the files it was made from.
fn less_files(text: &str) -> String {
    text.lines().filter(|l| !l.starts_with("# Files beside the link: ")).collect::<Vec<_>>().join("\n")
}

/// The differences between a snapshot and its registry, for each of these sets of flags.
#[track_caller]
fn differences(here: &Here, all: &[&[&str]]) -> String {
    let mut out = String::new();
    for more in all {
        let (live_code, live) = here.report(more);
        let (containers, environment) = here.files(more);
        let done = here.snapshot("snapshot.json", more);
        assert!(done.status.success(), "{more:?}: {}", text(&done.stderr));
        let file = here.path("snapshot.json");
        let flags = [more, &["--snapshot", &file][..]].concat();
        let (code, report) = here.report(&flags);
        assert_eq!(report["requests"]["total"], 0, "the registry was asked");
        let reported = rows(&report);
        let other: Vec<String> = rows(&live)
            .into_iter()
            .filter(|(s, row)| reported[s] != *row)
            .map(|(s, row)| format!("{row} became {}", reported[&s]))
            .collect();
        if let Some(first) = other.first() {
            out.push_str(&format!("{more:?}: {} rows; {first}\n", other.len()));
            continue;
        }
        assert_eq!((code, &report["counts"], &report["hash"]), (live_code, &live["counts"], &live["hash"]), "{more:?}");
        let (a, b) = here.files(&flags);
        assert!(a.contains("# Files beside the link: t.j2, snapshot.json\n"), "{a}");
        if (less_files(&a), less_files(&b)) != (less_files(&containers), less_files(&environment)) {
            out.push_str(&format!("{more:?}: {}\n{}\n", containers, a));
        }
    }
    out
}

#[test]
fn snapshot_equals_live_registry() {
    let here = Here::at(&registry().host);
    let same = differences(
        &here,
        &[
            &[][..],
            &["--pin", "digest"],
            &["--pin", "channel"],
            &["--pin", "label"],
            &["--tag-from-label", LABEL],
            &["--missing", "keep"],
            &["--include", "aodh", "--pin", "sibling"],
            &["--include", "aodh", "--tag", "newest:[0-9a-f]{40}_[0-9a-f]{8}"],
            &["--tag", "consistent"],
            &["--push-destination", "u:8787"],
        ],
    );
    assert!(same.is_empty(), "{same}");
}

#[test]
fn quay_snapshot_equals_live_quay() {
    let names = &support::names()[..40];
    let seed = quay::Seed::new(names);
    let quay = Quay::seeded(&seed);
    let here = Here::of("quay.io", names).and(&["--endpoint", &format!("quay.io=http://{}", quay.host)]);
    let same = differences(
        &here,
        &[
            &[][..],
            &["--pin", "digest"],
            &["--pin", "label"],
            &["--pin", "channel"],
            &["--tag", "consistent"],
            &["--tag", &seed.hashes[0]],
            &["--pin", "sibling,digest"],
            &["--pin", "label,sibling"],
            &["--tag", "newest:[0-9a-f]{40}_[0-9a-f]{8}"],
        ],
    );
    assert!(same.is_empty(), "{same}");
}

#[test]
fn unlabelled_quay_snapshot_equals_live_quay() {
    // The scouts have no labels, and one image is at another hash: both hashes are found among the tags of the same digest.
    let now = quay::Seed::new(&support::names()[..16]).now;
    let names = ["one", "two", "three", "four", "torn"];
    let made = names.map(|name| {
        let mut repository = Repository::new(&format!("{NAMESPACE}/{PREFIX}{name}"));
        for back in (0..5).rev() {
            let digest =
                repository.push(&quay::hash_tag(back), Manifest::image(&format!("{name} {back}"), &[]), now - 100 - back as u64);
            if back == if name == "torn" { 2 } else { 1 } {
                repository.tag(PROMOTED, &digest, now - 50);
            }
        }
        repository
    });
    let quay = Quay::start(made.to_vec());
    let here = Here::of("quay.io", &names).and(&["--endpoint", &format!("quay.io=http://{}", quay.host)]);
    let (_, report) = here.report(&[]);
    assert_eq!((report["hash"].as_str(), count(&report, "torn")), (Some(quay::hash_tag(1).as_str()), 1), "{report}");
    let same = differences(&here, &[&[], &["--pin", "sibling"]]);
    assert!(same.is_empty(), "{same}");
}

#[test]
fn quay_snapshot_holds_channel_history() {
    let names = &support::names()[..20];
    let seed = quay::Seed::new(names);
    let quay = Quay::seeded(&seed);
    let here = Here::of("quay.io", names).and(&["--endpoint", &format!("quay.io=http://{}", quay.host)]);
    let done = here.snapshot("snapshot.json", &[]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let snapshot: Value = serde_json::from_str(&here.read("snapshot.json")).expect("JSON");
    for image in seed.having(PROMOTED).filter(|i| i.role != Role::Buried) {
        let kept = &snapshot["repositories"][format!("quay.io/{}", image.path)];
        let all = image.repository.as_ref().expect("it is there").history(seed.now);
        let periods: Vec<Value> = all
            .iter()
            .filter(|l| l.name == PROMOTED)
            .map(|l| match l.end_ts {
                Some(end) => json!({ "start": l.start_ts, "end": end, "digest": l.digest }),
                None => json!({ "start": l.start_ts, "digest": l.digest }),
            })
            .collect();
        assert!(periods.len() > 1, "{:?}", image.role);
        assert_eq!(kept["history"][PROMOTED], json!(periods), "{:?}", image.role);
        assert_eq!(kept["moved"][PROMOTED], periods[0]["start"], "{:?}", image.role);
    }
    // Also for the image whose channel is not among the newest tags.
    let buried = seed.one(Role::Buried);
    let kept = &snapshot["repositories"][format!("quay.io/{}", buried.path)];
    assert_eq!(kept["tags"][PROMOTED].as_str(), buried.digest(PROMOTED), "{kept}");
    assert!(kept["history"][PROMOTED].is_array(), "{kept}");
}

#[test]
fn snapshot_is_reproducible_and_holds_no_secret() {
    let login = login::behind_nginx(registry(), "*");
    login.tokens.set(|s| s.others = Access::Members);
    let here = Here::at(&login.host);
    let authfile = here.authfile(&login.host, login::USER, login::PASSWORD);
    for name in ["a.json", "b.json"] {
        let done = here.snapshot(name, &["--authfile", &authfile]);
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    let a = here.read("a.json");
    assert!(a == here.read("b.json"), "two of the same registry at the same time differ");
    assert!(a.len() < 150_000 && a.lines().count() == 1, "{} bytes", a.len());
    assert!(a.contains("\"fetched_at\":\"2017-05-30T00:49:16Z\"") && a.contains("\"overtag_snapshot\":1"));
    let secret = login::authorization();
    for word in ["token", "Bearer", "Basic ", "eyJ", login::USER, "sesame", "Authorization", secret.trim_start_matches("Basic ")]
    {
        assert!(!a.contains(word), "{word} is in {a}");
    }
    // Without `--output` the same is printed.
    let epoch = EPOCH.to_string();
    let done = here.run("snapshot", &["--authfile", &authfile], &[("SOURCE_DATE_EPOCH", &epoch)]);
    assert_eq!(text(&done.stdout), a);
}

#[test]
fn incomplete_snapshot_needs_allow_partial() {
    let proxy = Proxy::before(&registry().host);
    proxy.fault(|seen: &Seen| seen.path.contains("aodh").then(|| Fault::registry_error(403, "DENIED")));
    let here = Here::at(&proxy.host);
    let done = here.snapshot("snapshot.json", &[]);
    assert_eq!(done.status.code(), Some(3), "{}", text(&done.stderr));
    assert!(!Path::new(&here.path("snapshot.json")).exists(), "no file is written");
    assert!(text(&done.stderr).contains("--allow-partial"), "{}", text(&done.stderr));
    let done = here.snapshot("snapshot.json", &["--allow-partial"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let snapshot: Value = serde_json::from_str(&here.read("snapshot.json")).expect("JSON");
    assert!(snapshot["incomplete"].as_u64() >= Some(4), "{}", snapshot["incomplete"]);
    // An image that could not be asked is an error there too, with its reason; the others are right.
    let (code, report) = here.report(&["--snapshot", &here.path("snapshot.json")]);
    assert_eq!(code, Some(3));
    for (short, row) in rows(&report) {
        assert_eq!(row["status"] == "error", short.contains("aodh"), "{row}");
        assert!(row["status"] != "error" || row["reason"].as_str().is_some_and(|r| r.contains("403")), "{row}");
    }
}

#[test]
fn doubtful_absence_stays_error_in_snapshot() {
    // A 404 without a code, from a server that turns out not to be a registry.
    let proxy = Proxy::before(&registry().host);
    proxy.fault(|seen: &Seen| (seen.path.contains("aodh") || seen.path == "/v2/").then(|| Fault::text(404, "<html>")));
    let plain = Here::at(&proxy.host);
    // And a 401 of a Quay that does not say which repositories are public.
    let names = &support::names()[..20];
    let seed = quay::Seed::new(names);
    let quay = Quay::seeded(&seed);
    quay.fault(|seen: &Seen| seen.path.contains("namespace=").then(|| Fault::text(500, "")));
    let hidden = Here::of("quay.io", names).and(&["--endpoint", &format!("quay.io=http://{}", quay.host)]);
    for here in [plain, hidden] {
        let (code, live) = here.report(&[]);
        assert!(code == Some(3) && count(&live, "error") >= 2, "{live}");
        let done = here.snapshot("snapshot.json", &["--allow-partial"]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        let (_, report) = here.report(&["--snapshot", &here.path("snapshot.json")]);
        for (short, row) in rows(&live) {
            assert_eq!(rows(&report)[&short]["status"], row["status"], "{row} became {}", rows(&report)[&short]);
        }
    }
}

#[test]
fn image_missing_in_snapshot_is_error() {
    let here = Here::at(&registry().host);
    let done = here.snapshot("snapshot.json", &["--include", "aodh"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let file = here.path("snapshot.json");
    let (code, report) = here.report(&["--snapshot", &file]);
    assert_eq!(code, Some(3));
    for (short, row) in rows(&report) {
        assert_eq!(row["status"] == "error", !short.contains("aodh"), "{row}");
    }
    // Another tag, all tags, labels that were not read, another host.
    for more in
        [&["--tag", "consistent"][..], &["--tag", "never-there"], &["--tag", "newest:.*"], &["--pin", "label", "--label", "x"]]
    {
        let (code, report) = here.report(&[&["--snapshot", &file, "--include", "aodh"], more].concat());
        assert!(count(&report, "absent") == 0 && (code == Some(3) || more.contains(&"x")), "{more:?}: {report}");
    }
    let (code, report) = Here::at("127.0.0.1:1").report(&["--snapshot", &file, "--include", "aodh"]);
    assert_eq!((code, count(&report, "absent")), (Some(3), 0), "{report}");
}

#[test]
fn unreadable_snapshot_is_usage_error() {
    let here = Here::at(&registry().host);
    let good = here.snapshot("snapshot.json", &["--include", "aodh"]);
    assert!(good.status.success(), "{}", text(&good.stderr));
    let text_of = here.read("snapshot.json");
    let later = text_of.replacen("\"overtag_snapshot\":1", "\"overtag_snapshot\":2", 1);
    let cut = &text_of[..text_of.len() / 2];
    let wrong_type = text_of.replacen("\"repositories\":{", "\"repositories\":{\"x\":1,", 1);
    for (content, words) in [
        ("", "snapshot"),
        ("{}", "snapshot"),
        ("[1]", "snapshot"),
        (cut, "snapshot"),
        (&later, "version 2"),
        (&wrong_type, "damaged"),
    ] {
        let file = here.write("wrong.json", content);
        for verb in ["prepare", "snapshot"] {
            let more: &[&str] = if verb == "snapshot" { &["--compare", &file] } else { &["--snapshot", &file] };
            let done = here.run(verb, &[&["--include", "aodh"], more].concat(), &[]);
            let said = text(&done.stderr);
            assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(2), ""), "{verb}: {said}");
            assert!(said.contains(words) && said.contains("wrong.json"), "{verb}: {said}");
        }
    }
    let done = here.run("prepare", &["--snapshot", "/nowhere/snapshot.json"], &[]);
    assert_eq!(done.status.code(), Some(2), "{}", text(&done.stderr));
}

#[test]
fn snapshot_older_than_day_is_stale() {
    let here = Here::at(&registry().host);
    assert!(here.snapshot("snapshot.json", &["--include", "aodh"]).status.success());
    let file = here.path("snapshot.json");
    for (later, is_stale) in [(0, false), (24 * 3600, false), (24 * 3600 + 1, true), (400 * 24 * 3600, true)] {
        let now = (EPOCH + later).to_string();
        let done = here.run("prepare", &["--include", "aodh", "--snapshot", &file], &[("SOURCE_DATE_EPOCH", &now)]);
        assert!(done.status.success());
        assert_eq!(text(&done.stderr).contains("2017-05-30T00:49:16Z"), is_stale, "{}", text(&done.stderr));
        // The file names the time when the registry was asked.
        assert!(text(&done.stdout).contains("# Time: 2017-05-30T00:49:16Z"), "{}", text(&done.stdout));
    }
}

#[test]
fn snapshot_is_read_from_url() {
    let here = Here::at(&registry().host);
    assert!(here.snapshot("snapshot.json", &["--include", "aodh"]).status.success());
    let body: Value = serde_json::from_str(&here.read("snapshot.json")).expect("JSON");
    let site = Proxy::fake(move |seen: &Seen| (seen.path == "/d/snapshot.json").then(|| Fault::json(200, &body)));
    let url = format!("http://{}/d/snapshot.json", site.host);
    let (code, report) = here.report(&["--include", "aodh", "--snapshot", &url]);
    assert_eq!((code, count(&report, "error")), (Some(0), 0), "{report}");
    // Beside the page that a link names.
    let link = format!("http://{}/d/?snapshot=snapshot.json&include=aodh", site.host);
    let (code, report) = here.report(&["--link", &link]);
    assert_eq!((code, count(&report, "error")), (Some(0), 0), "{report}");
    site.assert_clean();
    let gone = format!("http://{}/nowhere.json", site.host);
    let done = here.run("prepare", &["--snapshot", &gone], &[]);
    assert_ne!(done.status.code(), Some(0));
    assert!(text(&done.stderr).contains("nowhere.json"), "{}", text(&done.stderr));
}

#[test]
fn two_snapshots_are_compared_without_a_network() {
    let registry = Registry::scratch();
    let host = registry.host.clone();
    let (old, new) = (quay::hash_tag(1), quay::hash_tag(0));
    let push = |name: &str, tags: &[&str], build: usize| {
        let hash = tags[0].to_owned();
        registry.push(&format!("{NAMESPACE}/{PREFIX}{name}"), tags, Kind::Docker, Some(&[(LABEL, &hash)]), build)
    };
    for name in ["moves", "stays", "goes", "unread"] {
        push(name, &[&old, PROMOTED], 1);
        push(name, &[&new], 0);
    }
    push("comes", &[&new], 0);
    let proxy = Proxy::before(&host);
    let names = ["moves", "stays", "goes", "comes", "unread", "never"];
    let here = Here::of(&proxy.host, &names);
    assert!(here.snapshot("old.json", &[]).status.success());
    for name in ["moves", "comes", "unread"] {
        push(name, &[&new, PROMOTED], 0);
    }
    proxy.fault(|seen: &Seen| {
        let is_gone = seen.path.ends_with(&format!("{PREFIX}goes/manifests/{PROMOTED}"));
        let is_unread = seen.path.contains("unread");
        (is_gone.then(|| Fault::registry_error(404, "MANIFEST_UNKNOWN")))
            .or_else(|| is_unread.then(|| Fault::registry_error(403, "DENIED")))
    });
    assert!(here.snapshot("new.json", &["--allow-partial"]).status.success());
    let key = |name: &str| format!("{}/{NAMESPACE}/{PREFIX}{name}:{PROMOTED}", proxy.host);
    let want = format!(
        "added    {}  {new}\nremoved  {}  {old}\nmoved    {}  {old} -> {new}\nunknown  {}\n2 unchanged\n",
        key("comes"),
        key("goes"),
        key("moves"),
        key("unread")
    );
    let before = proxy.count();
    let (new_file, old_file) = (here.path("new.json"), here.path("old.json"));
    let done = here.run("snapshot", &["--snapshot", &new_file, "--compare", &old_file], &[]);
    assert_eq!(text(&done.stdout), want, "{}", text(&done.stderr));
    assert_eq!((done.status.code(), proxy.count()), (Some(0), before), "nobody was asked");
    // With itself; and the other way round.
    let done = here.run("snapshot", &["--snapshot", &old_file, "--compare", &old_file], &[]);
    assert_eq!(text(&done.stdout), "6 unchanged\n");
    let done = here.run("snapshot", &["--snapshot", &old_file, "--compare", &new_file], &[]);
    assert!(text(&done.stdout).contains(&format!("moved    {}  {new} -> {old}\n", key("moves"))), "{}", text(&done.stdout));
    // Against the registry as it is now.
    let done = here.run("snapshot", &["--compare", &old_file, "--allow-partial"], &[]);
    assert_eq!(text(&done.stdout), want, "{}", text(&done.stderr));
}

#[test]
fn quay_promotion_shows_in_comparison() {
    let names = &support::names()[..20];
    let seed = quay::Seed::new(names);
    let quay = Quay::seeded(&seed);
    let here = Here::of("quay.io", names).and(&["--endpoint", &format!("quay.io=http://{}", quay.host)]);
    assert!(here.snapshot("old.json", &[]).status.success());
    let image = seed.one(Role::Plain);
    let (from, to) = (image.hash(PROMOTED).expect("it has one").to_owned(), seed.hashes[0].clone());
    quay.promote(&image.path, PROMOTED, image.digest(&to).expect("it has it"), seed.now);
    assert!(here.snapshot("new.json", &[]).status.success());
    let (new, old) = (here.path("new.json"), here.path("old.json"));
    let done = here.run("snapshot", &["--snapshot", &new, "--compare", &old], &[]);
    let said = text(&done.stdout);
    let want = format!("moved    quay.io/{}:{PROMOTED}  {from} -> {to}\n", image.path);
    assert!(said.starts_with(&want), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

// -- the public quay.io

/// Asks the public quay.io for a few images, which nothing else in these tests does: only with `OVERTAG_QUAY_IO=1` in the
/// environment, as `OVERTAG_QUAY_IO=1 cargo test --test registries quay_io`. Without it, it says so and is done.
#[test]
fn quay_io_live_answers_when_enabled() {
    if std::env::var("OVERTAG_QUAY_IO").as_deref() != Ok("1") {
        // Not with `println!`: the output of a test that passes is not shown.
        _ = writeln!(std::io::stderr(), "quay.io was not asked: set OVERTAG_QUAY_IO=1 for that");
        return;
    }
    let names = ["openstack-nova-api", "openstack-keystone", "openstack-this-is-no-image"];
    let here = Here::with("quay.io/tripleowallaby", &support::template(&names));
    let template = here.path("t.j2");
    let args = ["--template-file", &template, "--namespace", &here.namespace, "--prefix=", "--tag", PROMOTED, "--format", "json"];
    let done = overtag_with(&[&["prepare"], &args[..]].concat(), &[]);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&done.stderr)));
    assert_eq!(done.status.code(), Some(0), "{report}");
    let statuses: Vec<&str> = report["images"].as_array().into_iter().flatten().filter_map(|r| r["status"].as_str()).collect();
    assert_eq!(statuses, ["resolved", "resolved", "absent"], "{report}");
    let moving = |row: &Value| row["tag"] == PROMOTED;
    assert!(report["images"].as_array().is_some_and(|rows| !rows[..2].iter().any(moving)), "{report}");
    assert!(report["requests"]["total"].as_u64() <= Some(20), "{}", report["requests"]);
}

#[test]
fn snapshot_of_snapshot_sends_no_request() {
    // It holds no more than the first one.
    let here = Here::at(&registry().host);
    let done = here.snapshot("first.json", &["--include", "aodh", "--tag", "newest:[a-z-]+"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let first = here.path("first.json");
    let proxy = Proxy::fake(|_| None);
    let (from, to) = (format!("{}=http://{}", registry().host, proxy.host), "second.json");
    let done = here.snapshot(to, &["--include", "aodh", "--tag", "newest:[a-z-]+", "--snapshot", &first, "--endpoint", &from]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(proxy.count(), 0, "{}", proxy.log_text());
    for tag in ["never-there", registry().seed.hashes[3].as_str()] {
        let of = |file: &str| {
            let (_, report) = here.report(&["--include", "aodh", "--tag", tag, "--snapshot", &here.path(file)]);
            rows(&report).into_iter().map(|(short, row)| (short, row["status"].clone())).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(of("first.json"), of("second.json"), "{tag}");
    }
}

// -- Quay, according to its own source

/// A repository with the channel and its hash at one image that has that label, and more tags of the same image.
fn promoted(path: &str, now: u64, more: &[&str]) -> Repository {
    let mut repository = Repository::new(path);
    let (hash, day) = (quay::hash_tag(0), 24 * 3600);
    let digest = repository.push(&hash, Manifest::image(path, &[(LABEL, &hash)]), now - 3 * day);
    repository.tag(PROMOTED, &digest, now - 2 * day);
    for (i, tag) in more.iter().enumerate() {
        repository.tag(tag, &digest, now - day - i as u64);
    }
    repository
}

/// The rows of a report of `prepare` on Quays of these repositories.
fn on_quay(quay: &Quay, namespace: &str, names: &[&str], more: &[&str]) -> (Option<i32>, BTreeMap<String, Value>, String) {
    let here = Here::with(&format!("{}/{namespace}", quay.host), &support::template(names));
    let (code, report, said) = here.report_and_words(&[&["--prefix=", "--api", "quay"], more].concat());
    (code, rows(&report), said)
}

const QUAY_NOW: u64 = 1_780_102_156;

#[test]
fn quay_nested_name_uses_first_namespace() {
    let quay = Quay::start(vec![promoted("ns/team/alpha", QUAY_NOW, &[])]);
    quay.set_now(QUAY_NOW);
    let (code, rows, said) = on_quay(&quay, "ns/team", &["alpha", "beta"], &[]);
    assert_eq!(
        (code, &rows["alpha"]["status"], &rows["beta"]["status"]),
        (Some(0), &json!("resolved"), &json!("absent")),
        "{said}"
    );
    assert!(
        rows["beta"]["reason"]
            .as_str()
            .is_some_and(|r| r.contains("/ns has no public repository team/beta (missing or private)"))
    );
}

#[test]
fn quay_hidden_repositories_are_counted_separately() {
    let mut without = Repository::new("ns/gamma");
    without.push("other", Manifest::image("gamma", &[]), QUAY_NOW - 9);
    let quay = Quay::start(vec![promoted("ns/alpha", QUAY_NOW, &[]), without]);
    quay.set_now(QUAY_NOW);
    let here = Here::with(&format!("{}/ns", quay.host), &support::template(&["alpha", "beta", "gamma"])).and(&[
        "--prefix=",
        "--api",
        "quay",
    ]);
    let (code, report, _) = here.report_and_words(&[]);
    assert_eq!((code, &report["counts"]["absent"], &report["counts"]["no_public_repository"]), (Some(0), &json!(2), &json!(1)));
    let (images, environment) = (here.path("i.yaml"), here.path("e.yaml"));
    let done = here.run("prepare", &["--output-images-file", &images, "--output-env-file", &environment], &[]);
    let said = text(&done.stderr);
    assert!(said.contains("1 absent, 1 without a public repository (missing or private)"), "{said}");
    for file in ["i.yaml", "e.yaml"] {
        let head = here.read(file);
        assert!(head.contains("# No public repository (missing or private): 1 image"), "{head}");
        assert!(head.contains("beta:current-tripleo: left out, absent: "), "{head}");
    }
    let done = here.run("board", &["--channels", PROMOTED, "--format", "json"], &[]);
    let board: Value = serde_json::from_slice(&done.stdout).expect("a board");
    let counts = &board["channels"][0]["counts"];
    assert_eq!((&counts["absent"], &counts["no_public_repository"]), (&json!(2), &json!(1)));
    let sentence = board["channels"][0]["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("1 not promoted, 1 without a public repository (missing or private)"), "{sentence}");
}

#[test]
fn quay_newest_tag_survives_changing_pages() {
    // At every page one tag expires, as with auto-pruning, so that the others move up.
    let fillers: Vec<String> = (0..620).map(|i| format!("build-{i}")).collect();
    let mut repository = promoted("ns/alpha", QUAY_NOW, &fillers.iter().map(String::as_str).collect::<Vec<_>>());
    let digest = repository.period(PROMOTED, QUAY_NOW).expect("it is there").digest.clone();
    repository.tag("v1.0.0", &digest, QUAY_NOW - 90 * 86_400);
    // In the middle of the list by its time.
    repository.tag("v9.0.0", &digest, QUAY_NOW - 86_400 - 100);
    let quay = Quay::start(vec![repository]);
    quay.set_now(QUAY_NOW);
    quay.between_pages(|page, repositories| {
        if page > 0 {
            repositories[0].end(&format!("build-{page}"), QUAY_NOW - 1);
        }
    });
    let (code, rows, said) = on_quay(&quay, "ns", &["alpha"], &["--tag", r"newest:v\d+\.\d+\.\d+"]);
    assert_eq!((code, &rows["alpha"]["tag"]), (Some(0), &json!("v9.0.0")), "{said}");
}

#[test]
fn quay_clock_skew_makes_no_tag_absent() {
    for zone in [-5 * 3600, 0, 9 * 3600] {
        let mut repository = promoted("ns/alpha", QUAY_NOW, &[]);
        for tag in [PROMOTED.to_owned(), quay::hash_tag(0)] {
            repository.end(&tag, QUAY_NOW + 3 * 3600);
        }
        let quay = Quay::start(vec![repository]);
        quay.set_now(QUAY_NOW);
        quay.set_zone(zone);
        for epoch in [QUAY_NOW, QUAY_NOW + 30 * 86_400, 0] {
            let here =
                Here::with(&format!("{}/ns", quay.host), &support::template(&["alpha"])).and(&["--prefix=", "--api", "quay"]);
            let done = here.run("prepare", &["--format", "json"], &[("SOURCE_DATE_EPOCH", &epoch.to_string())]);
            let report: Value = serde_json::from_slice(&done.stdout).expect("a report");
            assert_eq!(report["images"][0]["status"], "resolved", "{zone} {epoch}: {report:#}");
        }
    }
}

#[test]
fn quay_index_labels_are_not_image_labels() {
    let hash = quay::hash_tag(0);
    for (added, own, want) in [(true, true, "label"), (false, true, "label"), (true, false, "digest")] {
        let mut repository = Repository::new("ns/alpha");
        let labels: &[(&str, &str)] = if own { &[(LABEL, hash.as_str())] } else { &[] };
        let digest = repository.push(&hash, Manifest::index("alpha", labels), QUAY_NOW - 9);
        repository.tag(PROMOTED, &digest, QUAY_NOW - 5);
        if added {
            repository
                .added
                .insert(digest, vec![("reviewed-by".to_owned(), "qe".to_owned()), (LABEL.to_owned(), "v9".to_owned())]);
        }
        let quay = Quay::start(vec![repository]);
        quay.set_now(QUAY_NOW);
        let (_, rows, said) = on_quay(&quay, "ns", &["alpha"], &["--pin", "label,digest"]);
        assert_eq!(rows["alpha"]["pinned_by"], want, "{added} {own}: {:#} {said}", rows["alpha"]);
    }
}

#[test]
fn quay_tag_without_digest_affects_no_others() {
    let mut repository = promoted("ns/alpha", QUAY_NOW, &["ancient"]);
    repository.undigested.insert("ancient".to_owned());
    let mut spoilt = promoted("ns/beta", QUAY_NOW, &[]);
    spoilt.undigested.insert(PROMOTED.to_owned());
    let quay = Quay::start(vec![repository, spoilt]);
    quay.set_now(QUAY_NOW);
    let (code, rows, _) = on_quay(&quay, "ns", &["alpha", "beta"], &[]);
    assert_eq!((code, &rows["alpha"]["status"], &rows["beta"]["status"]), (Some(3), &json!("resolved"), &json!("error")));
}

#[test]
fn quay_duplicate_rows_hide_no_tags() {
    // More than 500 rows, but of so few names that 500 rows look complete.
    let names: Vec<String> = (0..300).map(|i| format!("build-{i}")).collect();
    let mut repository = promoted("ns/alpha", QUAY_NOW, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let digest = repository.period(PROMOTED, QUAY_NOW).expect("it is there").digest.clone();
    for name in &names[..250] {
        repository.tag_twice(name, &digest, QUAY_NOW - 7);
    }
    let quay = Quay::start(vec![repository]);
    quay.set_now(QUAY_NOW);
    let (code, rows, said) = on_quay(&quay, "ns", &["alpha"], &["--pin", "digest"]);
    assert_eq!((code, &rows["alpha"]["status"]), (Some(0), &json!("resolved")), "{said}");
}

#[test]
fn quay_by_v2_lists_all_tags() {
    // A proxy cache makes a tag absent only if its upstream answers 404.
    let versions: Vec<String> = (0..120).map(|i| format!("v1.{i}.0")).collect();
    let quay = Quay::start(vec![promoted("ns/alpha", QUAY_NOW, &versions.iter().map(String::as_str).collect::<Vec<_>>())]);
    quay.set_now(QUAY_NOW);
    quay.serve_v2(None);
    let flags = ["--api", "distribution", "--pin", "digest"];
    let here = Here::with(&format!("{}/ns", quay.host), &support::template(&["alpha"])).and(&["--prefix="]).and(&flags);
    let (code, report, said) = here.report_and_words(&["--tag", r"newest:v\d+\.\d+\.\d+"]);
    assert_eq!(
        (code, &report["images"][0]["reason"], &rows(&report)["alpha"]["status"]),
        (Some(0), &json!("the digest of the requested tag"), &json!("resolved")),
        "{said}"
    );
    assert!(quay.proxy.count_where(|l| l.path.contains("/tags/list")) == 3, "{}", quay.log_text());
    for (status, want) in [(404, "absent"), (429, "error"), (500, "error"), (401, "error"), (0, "error")] {
        quay.serve_v2(Some(status));
        let (_, report) = here.report(&[]);
        assert_eq!(report["images"][0]["status"], want, "{status}: {report:#}");
    }
}

#[test]
fn answered_repository_is_present_in_snapshot() {
    let registry = Registry::scratch();
    registry.push("ns/alpha", &[PROMOTED], Kind::Docker, None, 0);
    let proxy = Proxy::before(&registry.host);
    // The tag exists, but the answer to the list of tags is that the repository does not.
    proxy.fault(|seen| seen.path.contains("/tags/list").then(|| Fault::registry_error(404, "NAME_UNKNOWN")));
    let here = Here::with(&format!("{}/ns", proxy.host), &support::template(&["alpha"])).and(&["--prefix="]);
    let (code, report, said) = here.report_and_words(&[]);
    assert_eq!((code, rows(&report)["alpha"]["pinned_by"].clone()), (Some(0), json!("digest")), "{said}");
    let snapshot = here.path("s.json");
    assert!(here.run("snapshot", &["--output", &snapshot], &[]).status.success());
    let (code, from_snapshot, said) = here.report_and_words(&["--snapshot", &snapshot]);
    assert_eq!((code, &from_snapshot["images"][0]["imagename"]), (Some(0), &report["images"][0]["imagename"]), "{said}");
}

#[test]
fn quay_hiding_everything_is_reported() {
    let quay = Quay::start(vec![promoted("ns/other", QUAY_NOW, &[])]);
    quay.set_now(QUAY_NOW);
    let here =
        Here::with(&format!("{}/ns", quay.host), &support::template(&["alpha", "beta"])).and(&["--prefix=", "--api", "quay"]);
    let (code, _, said) = here.report_and_words(&[]);
    assert!(code == Some(1) && said.contains("none carries the tag in a public repository"), "{said}");
    let done = here.run("board", &["--channels", PROMOTED], &[]);
    assert!(text(&done.stdout).contains("2 without a public repository (missing or private)"), "{}", text(&done.stdout));
}

#[test]
fn proxy_cache_absence_suggests_distribution_api() {
    let mut repository = Repository::new("ns/alpha");
    repository.push("cached", Manifest::image("alpha", &[]), QUAY_NOW - 9);
    repository.end("cached", QUAY_NOW + 86_400);
    let quay = Quay::start(vec![repository]);
    quay.set_now(QUAY_NOW);
    let (_, rows, _) = on_quay(&quay, "ns", &["alpha"], &[]);
    let reason = rows["alpha"]["reason"].as_str().expect("a reason");
    assert!(reason.contains("if this is a proxy cache, use api=distribution"), "{reason}");
}
