//! The files of `deploy/` as they are: in Debian's nginx, in Chromium, and as cron would run them. Only ports, folders, the page's
//! address and upstreams are put in by plain text substitution, as a person does it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use overtag::engine::registry::Dialect;
use overtag::engine::session::diagnosis::Cause;
use serde_json::{Value, json};
use support::browser::Page;
use support::login::{self, PASSWORD, Tokens, USER};
use support::nginx::{self, Nginx, Setup};
use support::proxy::{Fault, Proxy};
use support::registry::{Kind, NAMESPACE, PREFIX, PROMOTED, Registry};
use support::shown::*;
use tempfile::TempDir;

/// What a person replaces in the files.
const PAGE: &str = "https://overtag.example.org";
const DIST: &str = "/srv/overtag/dist";
const SNAPSHOTS: &str = "/srv/overtag/snapshots";
const SCRIPT: &str = "/usr/local/bin/snapshot.sh";

fn deploy(name: &str) -> String {
    let path = Path::new("deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What a file of nginx has before its servers, and what is in each of them; where they listen is left to the test.
fn servers(text: &str) -> (String, Vec<String>) {
    let is_kept = |line: &&str| !line.trim_start().starts_with("listen ");
    let text: String = text.lines().filter(is_kept).map(|l| format!("{l}\n")).collect();
    let mut parts = text.split("\nserver {\n");
    let http = parts.next().unwrap_or_default().to_owned();
    let body = |part: &str| part.split("\n}\n").next().unwrap_or_default().to_owned();
    (http, parts.map(body).collect())
}

/// The page as `site.conf` serves it, and the folder of its snapshots.
fn host(dist: &Path) -> (Nginx, TempDir) {
    let snapshots = tempfile::tempdir().expect("a folder for snapshots");
    let dist = std::path::absolute(dist).expect("a path");
    let text = deploy("site.conf");
    // Quoted, for a checkout may be in a folder with a blank in its name.
    let text = text.replace(DIST, &format!("\"{}\"", dist.display())).replace(SNAPSHOTS, &snapshots.path().display().to_string());
    let (http, servers) = servers(&text);
    (Nginx::with(&Setup { http, server: servers[0].clone(), ..Setup::default() }), snapshots)
}

/// A server of `registry-cors.conf`: the registry's is the first, the token service's the second.
fn front(nth: usize, page: &str, upstream: &str) -> Nginx {
    let text = deploy("registry-cors.conf").replace(PAGE, page);
    let text = text.replace("http://127.0.0.1:5000;", &format!("http://{upstream};"));
    let text = text.replace("http://127.0.0.1:5001;", &format!("http://{upstream};"));
    Nginx::start(&servers(&text).1[nth])
}

struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

fn send(method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
    let agent: ureq::Agent = config.into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = agent.run(request.body(()).expect("a request")).unwrap_or_else(|e| panic!("{method} {url}: {e}"));
    let body = answer.body_mut().read_to_vec().expect("bytes");
    Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
}

/// The choices of all seeded images at `host`, with more.
fn link(host: &str, more: &[(&str, &str)]) -> String {
    let (template, namespace) = (format!("{}all.yaml.j2", templates().url), format!("{host}/{NAMESPACE}"));
    let own = [("template", template.as_str()), ("namespace", &namespace), ("name_prefix", PREFIX), ("tag", PROMOTED)];
    query(&[&own, more].concat())
}

/// The path of a script of ours, and what a job finds on its PATH: the program.
fn script() -> String {
    std::path::absolute("deploy/snapshot.sh").expect("a path").display().to_string()
}

fn programs() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_overtag")).parent().expect("a folder").display();
    format!("{program}:/usr/bin:/bin")
}

/// Runs `snapshot.sh` as a job: with nothing in its environment but what is given.
fn job(file: &Path, flags: &[&str], keep: Option<&str>) -> Output {
    let mut command = Command::new(script());
    command.arg(file).args(flags).env_clear().env("PATH", programs()).envs(keep.map(|k| ("KEEP", k))).stdin(Stdio::null());
    command.output().expect("it runs")
}

/// Its standard error; standard output must be empty.
fn said(done: &Output) -> String {
    assert!(done.stdout.is_empty(), "{done:?}");
    String::from_utf8_lossy(&done.stderr).into_owned()
}

fn written(done: &Output) {
    assert!(done.status.success(), "{}", said(done));
    assert_eq!(said(done), "", "a job that went well says nothing");
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn nginx_accepts_both_files_together() {
    let mut n = 0;
    let mut here = |name: &str| -> String {
        let at = |line: &str| match line.trim_start().starts_with("listen ") {
            true => {
                n += 1;
                format!("listen unix:FOLDER/{n};\n")
            }
            false => format!("{line}\n"),
        };
        deploy(name).lines().map(at).collect()
    };
    let http = here("site.conf") + &here("registry-cors.conf");
    let nginx = Nginx::with(&Setup { http, server: "return 204;".to_owned(), ..Setup::default() });
    assert_eq!(send("GET", &nginx.origin, &[]).status, 204);
    assert!(!nginx.output().contains("[warn]"), "{}", nginx.output());
    assert_eq!(n, 6);
}

#[test]
fn page_works_under_strict_site_policy() {
    let (site, _snapshots) = host(dist());
    let page = open(&site.origin);
    let shown = rows(&page);
    assert_named(&shown, &each(&report("", &[])["images"], "image"));
    assert_eq!(count(&shown, "error"), 0);
    // Downloads, copies and folded parts need nothing that the policy forbids.
    assert_same_files(&page, "");
    assert!(!copied(&page, "link").is_empty());
    unfold(&page);
    assert_eq!(console_errors(&page), [""; 0]);

    // A script or style that is added to the page has no effect.
    let js = "const add = (name, text) => {
                try { document.head.append(Object.assign(document.createElement(name), { textContent: text })) } catch {}
              };
              add('script', 'window.ran = 1');
              add('style', 'body { color: rgb(1, 2, 3) }');
              const looks = getComputedStyle(document.body).color === 'rgb(1, 2, 3)';
              // WebDriver's own script may evaluate; what comes after it may not.
              return new Promise(end => setTimeout(() => {
                try { eval('window.ran = 2') } catch {}
                end([window.ran ?? null, looks]);
              }))";
    assert_eq!(page.eval(js, &[]), json!([null, false]));
    let refused = console_errors(&page);
    assert!(
        refused.len() >= 2 && refused.iter().all(|e| e.contains("Content Security Policy") || e.contains("Trusted")),
        "{refused:#?}"
    );
}

#[test]
fn served_files_have_type_and_caching() {
    let (site, snapshots) = host(dist());
    let get = |path: &str| send("GET", &format!("{}/{path}", site.origin), &[]);
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(dist()).expect("dist").map(|e| e.expect("an entry").path()).filter(|p| p.is_file()) {
        let name = entry.file_name().and_then(|n| n.to_str()).expect("a name");
        let answer = get(name);
        let kind = match entry.extension().and_then(|e| e.to_str()) {
            Some("wasm") => "application/wasm",
            Some("js") => "application/javascript",
            Some("css") => "text/css",
            _ => "text/html",
        };
        let is_page = name == "index.html";
        let cache = if is_page { "no-cache" } else { "public, max-age=31536000, immutable" };
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{name}");
        assert_eq!(answer.header("cache-control"), cache, "{name}");
        assert_eq!(answer.body, fs::read(&entry).expect("it is there"), "{name}");
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 4);
    fs::write(snapshots.path().join("snapshot.json"), "{}").expect("written");
    let snapshot = get("snapshot.json");
    assert_eq!((snapshot.header("content-type"), snapshot.header("cache-control")), ("application/json", "no-cache"));
    assert_eq!(snapshot.body, b"{}");

    // A missing file is not cached, and has the other headers.
    let missing = get("overtag-web-0123456789abcdef.js");
    assert_eq!((missing.status, missing.header("cache-control")), (404, ""));
    assert_eq!((missing.header("x-content-type-options"), missing.header("referrer-policy")), ("nosniff", "no-referrer"));

    // Only the wall may be shown in frames. The rest of the policy is that of the page itself.
    let own = fs::read_to_string(dist().join("index.html")).expect("index.html");
    let own =
        own.split_once("Content-Security-Policy\" content=\"").and_then(|(_, rest)| rest.split_once('"')).expect("a policy").0;
    for (path, ancestors) in [
        ("", "'none'"),
        ("?view=board", "'none'"),
        ("?embed=0", "'none'"),
        ("?view=board&embed=1", "*"),
        ("snapshot.json", "'none'"),
    ] {
        assert_eq!(get(path).header("content-security-policy"), format!("{own}; frame-ancestors {ancestors}"), "{path}");
    }
}

#[test]
fn precompressed_files_are_sent_compressed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let name = "a-0123456789abcdef.css";
    fs::write(path(name), "packed beforehand").expect("written");
    let packed = Command::new("gzip").arg("-9").arg(path(name)).status().expect("gzip runs");
    assert!(packed.success() && path(&format!("{name}.gz")).is_file());
    fs::write(path("a-0123456789abcdef.css"), "plain").expect("written");
    let (site, _snapshots) = host(folder.path());
    let packed = fs::read(path("a-0123456789abcdef.css.gz")).expect("it is there");
    let get = |path: &str, encoding: &str| send("GET", &format!("{}/{path}", site.origin), &[("Accept-Encoding", encoding)]);
    let css = get("a-0123456789abcdef.css", "gzip");
    assert!(css.body == packed || css.body == b"packed beforehand", "{:?}", css.body);
    assert_eq!((css.header("content-type"), css.header("vary")), ("text/css", "Accept-Encoding"));
    assert!(css.header("cache-control").contains("immutable"));
    assert_eq!(get("a-0123456789abcdef.css", "identity").body, b"plain");
}

#[test]
fn registry_front_matches_offered_lines() {
    let words = |text: &str| -> Vec<String> {
        let is_line = |l: &&str| !l.is_empty() && !l.starts_with('#');
        text.lines().map(str::trim).filter(is_line).map(str::to_owned).collect()
    };
    let (_, servers) = servers(&deploy("registry-cors.conf"));
    let causes = [Cause::PreflightRefused, Cause::TokenService("https://tokens.example.org".to_owned())];
    assert_eq!(servers.len(), causes.len());
    for ((server, cause), port) in servers.iter().zip(causes).zip(["5000", "5001"]) {
        let offered = cause.remedies(PAGE, Dialect::COMMON).remove(0).lines.replace("5000", port);
        let location = server.split_once("location ").expect("a location").1;
        assert_eq!(words(&format!("location {location}")), words(&offered));
    }
}

#[test]
fn registry_front_answers_preflights() {
    // With and without a login, each CORS header is sent once.
    let registry = Registry::scratch();
    registry.push("space/image", &["one"], Kind::Docker, None, 0);
    let locked = login::htpasswd(&registry);
    let login = login::authorization();
    for (upstream, is_locked) in [(&registry, false), (&locked, true)] {
        let front = front(0, PAGE, &upstream.host);
        let url = |tag: &str| format!("{}/v2/space/image/manifests/{tag}", front.origin);
        let wants =
            [("Origin", PAGE), ("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "authorization")];
        let preflight = send("OPTIONS", &url("one"), &wants);
        assert_eq!((preflight.status, preflight.body.len()), (204, 0));
        assert_eq!(preflight.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
        assert!(preflight.header("access-control-allow-headers").contains("Authorization"));
        let own = [("Origin", PAGE), ("Accept", "application/vnd.docker.distribution.manifest.v2+json")];
        let known = [own[0], own[1], ("Authorization", login.as_str())];
        let (one, absent) = (send("GET", &url("one"), &known), send("HEAD", &url("two"), &known));
        let anonymous = send("GET", &url("one"), &own);
        assert_eq!([one.status, absent.status, anonymous.status], [200, 404, if is_locked { 401 } else { 200 }]);
        assert_eq!(anonymous.header("www-authenticate").is_empty(), !is_locked);
        for answer in [&preflight, &one, &absent, &anonymous] {
            let all = |name: &str| answer.headers.get_all(name).iter().count();
            assert_eq!((answer.header("access-control-allow-origin"), all("access-control-allow-origin")), (PAGE, 1));
            assert!(answer.status == 204 || all("access-control-expose-headers") == 1);
        }
        for name in ["Docker-Content-Digest", "Link", "WWW-Authenticate", "Retry-After"] {
            assert!(one.header("access-control-expose-headers").contains(name), "{name}");
        }
    }
}

#[test]
fn front_makes_registry_readable_in_page() {
    let (site, _snapshots) = host(dist());
    let unreadable = nginx::no_cors(&registry().host);
    let front = front(0, &site.origin, &unreadable.host);
    let proxy = Proxy::before(&front.host);
    let page = open(&format!("{}/?{}", site.origin, link(&proxy.host, &[])));
    assert_whole(&rows(&page), &registry().seed);
    assert_eq!(console_errors(&page), [""; 0]);
    assert_eq!(proxy.count_where(|l| l.method == "OPTIONS"), 0, "{}", proxy.log_text());
}

/// Asserts that there were preflights, and that each was answered with 204.
fn assert_preflights_answered(proxy: &Proxy) {
    let statuses: BTreeSet<Option<u16>> = proxy.log().iter().filter(|l| l.method == "OPTIONS").map(|l| l.status).collect();
    assert_eq!(statuses, BTreeSet::from([Some(204)]), "{}", proxy.log_text());
}

/// Logs in where the page asks for it.
fn log_in(page: &Page, host: &str) {
    page.type_into("User", USER);
    page.type_into("Password", PASSWORD);
    page.click("button", &format!("Log in to {host}"));
    page.wait_for("!document.querySelector('form.login')", LIMIT);
    done(page);
}

#[test]
fn front_makes_password_registry_readable() {
    let (site, _snapshots) = host(dist());
    let locked = login::htpasswd(registry());
    let front = front(0, &site.origin, &locked.host);
    let proxy = Proxy::before(&front.host);
    let page = open(&format!("{}/?{}", site.origin, link(&proxy.host, &[])));
    assert_eq!(count(&rows(&page), "resolved"), 0);
    log_in(&page, &proxy.host);
    assert_whole(&rows(&page), &registry().seed);
    assert_preflights_answered(&proxy);
}

#[test]
fn front_makes_token_service_readable() {
    let (site, _snapshots) = host(dist());
    let tokens = Tokens::start();
    let service = front(1, &site.origin, &tokens.server.host);
    // The service itself sends no CORS headers: the front does.
    tokens.set(|s| s.cors = false);
    let login = login::with_realm(registry(), tokens, &format!("{}/token", service.origin));
    let front = front(0, &site.origin, &login.host);
    let proxy = Proxy::before(&front.host);
    let page = open(&format!("{}/?{}", site.origin, link(&proxy.host, &[])));
    assert_whole(&rows(&page), &registry().seed);
    assert_preflights_answered(&proxy);
    login.tokens.assert_clean();
}

#[test]
fn job_snapshot_replaces_the_registry() {
    let (site, snapshots) = host(dist());
    let proxy = Proxy::before(&registry().host);
    let choices = link(&proxy.host, &[]);
    let file = snapshots.path().join("snapshot.json");
    written(&job(&file, &["--link", &choices], Some("0")));
    assert_eq!(names_in(snapshots.path()), BTreeSet::from(["snapshot.json".to_owned()]));
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o644);
    assert!(proxy.count() > 0);

    proxy.reset();
    proxy.stop_after(0);
    let page = open(&format!("{}/?{}", site.origin, link(&proxy.host, &[("snapshot", "snapshot.json")])));
    assert_whole(&rows(&page), &registry().seed);
    assert_shows(&page, &["Read from a snapshot of", "no registry was queried"]);
    assert_eq!((proxy.count(), proxy.connections()), (0, 0), "{}", proxy.log_text());
    assert_eq!(console_errors(&page), [""; 0]);
}

#[test]
fn readme_commands_show_demo_snapshot() {
    let readme = deploy("README.md");
    let line = |part: &str| readme.lines().find(|l| l.starts_with("    ") && l.contains(part)).expect("a command").trim();
    let (site, snapshots) = host(dist());
    let command = line("deploy/snapshot.sh").replace("$PWD/target/release:$PATH", &format!("'{}'", programs()));
    let command = command.replace("dist/", &format!("{}/", snapshots.path().display()));
    written(&Command::new("/bin/sh").args(["-c", &command]).output().expect("it runs"));
    let query = line("xdg-open").split_once("/?").expect("a link").1.trim_end_matches('\'');
    let page = open(&format!("{}/?{query}", site.origin));
    assert_named(&rows(&page), &each(&report("", &[])["images"], "image"));
    assert_shows(&page, &["Read from a snapshot of"]);
}

#[test]
fn failed_job_keeps_last_snapshot() {
    // It prints one line.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("snapshot.json");
    let proxy = Proxy::before(&registry().host);
    let choices = link(&proxy.host, &[]);
    written(&job(&file, &["--link", &choices], None));
    let (before, names) = (fs::read(&file).expect("it is there"), names_in(folder.path()));
    assert_eq!(names.len(), 2, "the file and a dated copy: {names:?}");

    // The registry refuses one image.
    let name = registry().seed.images.values().next().expect("an image").repo.clone();
    proxy.fault(move |seen| seen.path.contains(&format!("/{name}/")).then(|| Fault::registry_error(403, "DENIED")));
    let refused = job(&file, &["--link", &choices], None);
    let line = said(&refused);
    assert_eq!((refused.status.code(), line.lines().count()), (Some(3), 1), "{line}");
    assert!(line.starts_with("snapshot.sh: ") && line.contains("1 of 124 images could not be checked"), "{line}");

    // A wrong flag, a missing file name, an invalid number, and a missing program.
    for (flags, status, word) in [(vec!["--releas", "train"], 2, "--releas"), (vec!["--release", "trian"], 2, "trian")] {
        let wrong = job(&file, &flags, None);
        assert_eq!((wrong.status.code(), said(&wrong).lines().count()), (Some(status), 1), "{}", said(&wrong));
        assert!(said(&wrong).contains(word), "{}", said(&wrong));
    }
    assert_eq!(job(Path::new("--release"), &["train"], None).status.code(), Some(2));
    assert_eq!(job(&file, &["--link", &choices], Some("few")).status.code(), Some(2));
    let mut bare = Command::new("/bin/sh");
    let bare = bare.arg(script()).arg(&file).env_clear().env("PATH", "/usr/bin:/bin").output().expect("it runs");
    assert_eq!((bare.status.code(), said(&bare).contains("overtag")), (Some(127), true), "{}", said(&bare));

    assert_eq!(fs::read(&file).expect("it is there"), before);
    assert_eq!(names_in(folder.path()), names);
}

#[test]
fn dated_copies_are_limited_and_comparable() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("snapshot.json");
    let registry = Registry::scratch();
    let template = folder.path().join("t.j2");
    let line = format!("container_images_template:\n- imagename: \"{}/space/image:current\"\n", registry.host);
    fs::write(&template, line).expect("written");
    let flags = ["--template-file", template.to_str().expect("text")];
    registry.push("space/image", &["current"], Kind::Docker, None, 0);
    written(&job(&file, &flags, Some("3")));
    let is_dated = |name: &String| name.starts_with("snapshot-2");
    let first = names_in(folder.path()).into_iter().find(is_dated).expect("a dated copy");
    // Copies of earlier days, and another file beside them.
    for day in ["2019-01-01T000000Z", "2020-01-01T000000Z", "2021-01-01T000000Z"] {
        fs::write(folder.path().join(format!("snapshot-{day}.json")), "{}").expect("written");
    }
    let other = folder.path().join("snapshot-rocky.json");
    fs::write(&other, "{}").expect("written");
    // A copy does not change with the next snapshot.
    let first = folder.path().join(&first);
    let kept = folder.path().join("snapshot-2022-01-01T000000Z.json");
    fs::rename(&first, &kept).expect("renamed");
    let before = fs::read(&kept).expect("it is there");
    registry.push("space/image", &["current"], Kind::Docker, None, 1);
    written(&job(&file, &flags, Some("3")));
    let dated: Vec<String> = names_in(folder.path()).into_iter().filter(is_dated).collect();
    assert_eq!(dated.len(), 3, "{dated:?}");
    assert_eq!(dated[..2], ["snapshot-2021-01-01T000000Z.json", "snapshot-2022-01-01T000000Z.json"]);
    assert!(fs::read(&kept).expect("it is there") == before && other.is_file());

    let (newer, older) = (file.display().to_string(), kept.display().to_string());
    let moved = overtag(&["snapshot", flags[0], flags[1], "--snapshot", &newer, "--compare", &older], None);
    let text = String::from_utf8_lossy(&moved.stdout).into_owned();
    assert!(moved.status.success() && text.starts_with("moved ") && text.ends_with("0 unchanged\n"), "{text}");
}

/// The jobs of the cron file, those behind a `#` too: schedule, user and command.
fn jobs() -> Vec<(Vec<String>, String, String)> {
    let job = |line: &str| {
        let line = line.trim_start_matches('#');
        let mut words = line.splitn(7, ' ');
        let fields: Vec<String> = words.by_ref().take(5).map(str::to_owned).collect();
        let (user, command) = (words.next()?.to_owned(), words.next()?.to_owned());
        let is_field = |f: &String| f.bytes().all(|b| b.is_ascii_digit() || b"*/,-".contains(&b));
        (fields.len() == 5 && fields.iter().all(is_field)).then_some((fields, user, command))
    };
    deploy("snapshot.cron").lines().filter_map(job).collect()
}

/// A folder with what the machine of a job would have: script, program and the place of the snapshots.
fn machine(command: &str, folder: &Path) -> String {
    let place = folder.display().to_string();
    command.replace(SCRIPT, &format!("'{}'", script())).replace(SNAPSHOTS, &place).replace("/etc/overtag", &place)
}

fn run(command: &str) -> Output {
    Command::new("/bin/sh").args(["-c", command]).env_clear().env("PATH", programs()).output().expect("it runs")
}

#[test]
fn cron_lines_run_with_and_without_login() {
    let jobs = jobs();
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    for (_, user, command) in &jobs {
        assert_eq!((user.as_str(), command.split(' ').next()), ("overtag", Some(SCRIPT)));
        // For cron a percent sign ends the command.
        assert!(!command.contains('%'), "{command}");
    }
    let locked = login::htpasswd(registry());
    let of_file = |host: &str| json!({ "auths": { host: { "auth": login::authorization().trim_start_matches("Basic ") } } });
    for ((_, _, command), host) in jobs.iter().zip([&registry().host, &locked.host]) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("auth.json"), of_file(host).to_string()).expect("written");
        let namespace = format!("--namespace {host}/{NAMESPACE} --name-prefix {PREFIX} --include {PREFIX}");
        let command = format!("{} {namespace}", machine(command, folder.path()));
        written(&run(&command));
        let text = fs::read_to_string(folder.path().join("snapshot.json")).expect("it is there");
        let snapshot: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(snapshot["repositories"].as_object().map(|r| r.len()), Some(98));
        assert!(!text.contains(PASSWORD) && !text.contains("auth"), "a login got into the snapshot");
        if command.contains("--authfile") {
            let without = run(command.split(" --authfile").next().expect("the rest"));
            assert_ne!(without.status.code(), Some(0));
            let anonymous = run(&format!("{} {namespace}", command.split(" --authfile").next().expect("the rest")));
            assert_eq!((anonymous.status.code(), said(&anonymous).lines().count()), (Some(3), 1), "{}", said(&anonymous));
            assert_eq!(fs::read_to_string(folder.path().join("snapshot.json")).expect("it is there"), text);
        }
    }
}

#[test]
fn scripts_are_posix_and_name_no_machine() {
    let script: PathBuf = script().into();
    assert!(fs::metadata(&script).expect("it is there").permissions().mode() & 0o111 == 0o111, "it can be run");
    for shell in ["sh", "bash"] {
        let done = Command::new(shell).arg("-n").arg(&script).output().expect("a shell runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let files = names_in(Path::new("deploy"));
    let expected = ["README.md", "ci-example.yml", "registry-cors.conf", "site.conf", "snapshot.cron", "snapshot.sh"];
    assert_eq!(files, expected.map(str::to_owned).into());
    let readme = deploy("README.md");
    for name in files.iter().filter(|f| *f != "README.md") {
        assert!(readme.contains(&format!("({name})")), "{name} is not in the README");
        let text = deploy(name);
        let hosts = text.split("https://").skip(1).filter_map(|rest| rest.split(['/', '"', ' ', ';', '\n']).next());
        let foreign: Vec<&str> = hosts.filter(|h| !h.is_empty() && !h.ends_with("example.org")).collect();
        assert!(foreign.is_empty(), "{name}: {foreign:?}");
    }
}

#[test]
fn ci_example_runs_script_and_pins_actions() {
    let text = deploy("ci-example.yml");
    let workflow: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
    let steps = workflow["jobs"]["publish"]["steps"].as_sequence().expect("steps");
    for used in steps.iter().filter_map(|s| s["uses"].as_str()) {
        let commit = used.split_once('@').expect("a version").1;
        assert!(commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{used}");
    }
    // Its toolchain is the one that the package asks for.
    let package = fs::read_to_string("Cargo.toml").expect("it is there");
    let wanted = package.lines().find_map(|l| l.strip_prefix("rust-version = \"")).expect("it names one").trim_end_matches('"');
    assert!(text.contains(&format!("rustup default {wanted}.")), "{wanted}");
    // What a step runs, run here: the page would be published with the snapshot in it.
    let step = steps.iter().filter_map(|s| s["run"].as_str()).find(|r| r.contains("snapshot.sh")).expect("a step");
    let folder = tempfile::tempdir().expect("a folder");
    let flags = workflow["env"]["FLAGS"].as_str().expect("flags");
    let host = &registry().host;
    let flags = format!("{flags} --namespace {host}/{NAMESPACE} --name-prefix {PREFIX} --include {PREFIX}");
    let step = step.replace("$PWD/target/release:$PATH", &programs()).replace("dist/", &format!("{}/", folder.path().display()));
    let done = Command::new("/bin/sh").args(["-e", "-c", &step]).env("FLAGS", flags).output().expect("it runs");
    written(&done);
    assert_eq!(names_in(folder.path()), BTreeSet::from(["snapshot.json".to_owned()]));
}
