//! The command line on a real registry, and on one that misbehaves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use support::proxy::{Fault, Proxy, Seen};
use support::registry::{Kind, NAMESPACE, PREFIX, PROMOTED, Registry, Seed};

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry::start(Path::new(support::CACHE), &support::names()))
}

/// Runs the program at a fixed time.
fn overtag(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overtag"));
    command.args(args).env("SOURCE_DATE_EPOCH", "1496105356").output().expect("overtag runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A template of all seeded images, in a folder of its own.
struct Here {
    folder: tempfile::TempDir,
    host: String,
}

impl Here {
    fn at(host: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("t.j2"), support::template(&support::names())).expect("the template is written");
        Self { folder, host: host.to_owned() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// `prepare` of all seeded images at the promoted channel, and more flags.
    fn prepare(&self, more: &[&str]) -> Output {
        let (template, namespace) = (self.path("t.j2"), format!("{}/{NAMESPACE}", self.host));
        let mut args =
            vec!["prepare", "--template-file", &template, "--namespace", &namespace, "--prefix", PREFIX, "--tag", PROMOTED];
        // A `--tag` in `more` replaces the one above.
        if let Some(i) = args.iter().position(|a| *a == "--tag" && more.contains(a)) {
            args.drain(i..i + 2);
        }
        args.extend(more);
        overtag(&args)
    }

    fn report(&self, more: &[&str]) -> (Option<i32>, Value) {
        let done = self.prepare(&[more, &["--format", "json"]].concat());
        let report = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&done.stderr)));
        (done.status.code(), report)
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

/// Compares every row with what the registry was seeded with.
fn assert_right(report: &Value, seed: &Seed) {
    let rows = rows(report);
    assert_eq!(rows.len(), seed.images.len());
    let (hash, others) = seed.majority(PROMOTED);
    assert_eq!(report["hash"], hash);
    assert_eq!(report["counts"]["torn"], others);
    assert_eq!(report["counts"]["absent"], seed.new.len());
    for (short, image) in &seed.images {
        let row = &rows[short];
        match image.channels.get(PROMOTED) {
            None => assert_eq!(row["status"], "absent", "{short}"),
            Some(hash) => {
                assert_eq!(row["status"], "resolved", "{short}: {row}");
                assert_eq!(row["tag"], hash.as_str(), "{short}: {row}");
                assert_eq!(row["digest"].as_str(), image.digest(PROMOTED), "{short}");
                assert_eq!(notes(row).contains(&"torn"), seed.torn.contains(short), "{short}: {row}");
            }
        }
    }
}

#[test]
fn real_registry_needs_two_requests_per_image() {
    let registry = registry();
    let proxy = Proxy::before(&registry.host);
    let (code, report) = Here::at(&proxy.host).report(&[]);
    assert_eq!(code, Some(0));
    assert_right(&report, &registry.seed);
    let images = registry.seed.images.len();
    assert!(proxy.count() < images * 26 / 10, "{} requests for {images} images", proxy.count());
    assert_eq!(report["requests"]["total"], proxy.count());
    assert_eq!(proxy.count_where(|l| l.path.contains("/tags/list")), 0, "tags are not listed where a HEAD answers");
}

#[test]
fn the_order_of_answers_changes_nothing() {
    let registry = registry();
    let proxy = Proxy::before(&registry.host);
    let here = Here::at(&proxy.host);
    let files = |name: &str| {
        let (a, b) = (here.path(&format!("{name}-a")), here.path(&format!("{name}-b")));
        let done = here.prepare(&["--output-images-file", &a, "--output-env-file", &b]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        (fs::read(a).expect("a"), fs::read(b).expect("b"))
    };
    let plain = files("plain");
    // Each answer is delayed by another time, and in each turn by another one.
    for turn in 0..2 {
        proxy.fault(move |seen: &Seen| {
            let late = seen.path.bytes().map(u64::from).sum::<u64>() * (turn + 3) % 7;
            Some(Fault::Slow(Duration::from_millis(late * 9)))
        });
        assert!(files(&format!("late-{turn}")) == plain);
    }
}

#[test]
fn each_pin_chain_selects_its_tag() {
    let registry = registry();
    let seed = &registry.seed;
    let here = Here::at(&registry.host);
    let promoted = || seed.having(PROMOTED);

    let (_, report) = here.report(&["--pin", "digest"]);
    let got = rows(&report);
    for image in promoted() {
        let row = &got[&image.short];
        let name = format!("{}/{}@{}", here.host, image.repo, image.digest(PROMOTED).unwrap_or_default());
        assert_eq!((row["imagename"].as_str(), row["pinned_by"].as_str()), (Some(name.as_str()), Some("digest")));
    }
    assert_eq!(report["requests"]["total"].as_u64().map(|n| n < 150), Some(true), "one request an image: {}", report["requests"]);

    let (_, report) = here.report(&["--pin", "channel"]);
    assert!(
        rows(&report).values().filter(|r| r["status"] == "resolved").all(|r| r["pinned_by"] == "channel" && r["tag"] == PROMOTED)
    );
    assert_eq!(report["hash"], Value::Null);

    // By label alone: no label is unresolved, a label of another digest is a mismatch and unresolved, and neither is absent.
    let (code, report) = here.report(&["--pin", "label"]);
    assert_eq!(code, Some(0));
    let got = rows(&report);
    for image in promoted() {
        let row = &got[&image.short];
        let (is_unlabelled, is_wrong) = (seed.unlabelled.contains(&image.short), seed.mismatched.contains(&image.short));
        let want = if is_unlabelled || is_wrong { "unresolved" } else { "resolved" };
        assert_eq!(row["status"], want, "{row}");
        assert_eq!(notes(row).contains(&"mismatch"), is_wrong, "{row}");
    }
    assert!(seed.new.iter().all(|n| got[n]["status"] == "absent"));

    // The established tool's spelling falls back to the channel.
    let (_, report) = here.report(&["--tag-from-label", "rdo_version"]);
    let got = rows(&report);
    assert!(seed.unlabelled.iter().filter(|n| !seed.new.contains(n)).all(|n| got[n]["pinned_by"] == "channel"), "{got:?}");

    let (_, report) = here.report(&["--pin", "sibling"]);
    assert_right(&report, seed);

    // An exact hash is written as it is, and an image without it is absent.
    let (_, report) = here.report(&["--tag", &seed.hashes[0]]);
    assert!(rows(&report).values().all(|r| r["pinned_by"] == "exact" && r["tag"] == seed.hashes[0].as_str()));
    let (_, report) = here.report(&["--tag", &seed.hashes[20]]);
    assert_eq!(report["counts"]["absent"], seed.new.len());
}

#[test]
fn image_with_two_hashes_is_not_torn() {
    let registry = Registry::scratch();
    let (new, old) = (format!("{}_{}", "a".repeat(40), "1".repeat(8)), format!("{}_{}", "b".repeat(40), "2".repeat(8)));
    // The first image was not rebuilt: both hashes are the same image, and its label names the older one.
    registry.push("ns/first", &[&new, &old, PROMOTED], Kind::Docker, Some(&[("rdo_version", &old)]), 1);
    for name in ["second", "third", "fourth"] {
        registry.push(&format!("ns/{name}"), &[&new, PROMOTED], Kind::Docker, Some(&[("rdo_version", &new)]), 2);
    }
    // The last image is really torn, and has no label.
    registry.push("ns/last", &[&new], Kind::Docker, None, 3);
    registry.push("ns/last", &[PROMOTED], Kind::Docker, None, 4);
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("t.j2");
    fs::write(&template, support::template(&["first", "second", "third", "fourth", "last"])).expect("written");
    let (template, namespace) = (template.display().to_string(), format!("{}/ns", registry.host));
    let args =
        ["prepare", "--template-file", &template, "--namespace", &namespace, "--prefix=", "--tag", PROMOTED, "--format", "json"];
    let report: Value = serde_json::from_slice(&overtag(&args).stdout).expect("a report");
    let rows = rows(&report);
    assert_eq!((report["hash"].as_str(), report["counts"]["at_hash"].as_u64()), (Some(new.as_str()), Some(4)));
    assert_eq!((rows["first"]["tag"].as_str(), notes(&rows["first"])), (Some(old.as_str()), vec![]));
    assert_eq!((rows["last"]["pinned_by"].as_str(), notes(&rows["last"])), (Some("digest"), vec!["torn"]));
}

#[test]
fn newest_picks_highest_matching_version() {
    let registry = registry();
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("t.j2");
    fs::write(&template, support::template(&["alpha", "beta", "gamma"])).expect("written");
    let namespace = format!("{}/versions", registry.host);
    for (regex, want) in [(r"\d+(\.\d+)+", "1.2.10"), (r"1\.2\.9", "1.2.9"), (r".*-rc\d+", "1.2.10-rc1"), ("v.*", "v2.0.0")] {
        let (tag, template) = (format!("newest:{regex}"), template.display().to_string());
        let done = overtag(&[
            "prepare",
            "--template-file",
            &template,
            "--namespace",
            &namespace,
            "--prefix=",
            "--tag",
            &tag,
            "--format",
            "json",
        ]);
        let report: Value = serde_json::from_slice(&done.stdout).expect("a report");
        let tags: Vec<&str> = report["images"].as_array().into_iter().flatten().filter_map(|r| r["tag"].as_str()).collect();
        assert_eq!(tags, [want; 3], "{regex}");
        assert!(report["images"][0]["pinned_by"] == "exact");
    }
    let done = overtag(&[
        "prepare",
        "--template-file",
        &template.display().to_string(),
        "--namespace",
        &namespace,
        "--prefix=",
        "--tag=newest:nothing",
    ]);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
}

#[test]
fn files_name_their_source_and_omissions() {
    let registry = registry();
    let here = Here::at(&registry.host);
    let (a, b) = (here.path("containers"), here.path("environment"));
    let done =
        here.prepare(&["--output-images-file", &a, "--output-env-file", &b, "--push-destination", "u:8787/", "--append-tag=-x"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(text(&done.stdout), "");
    let (containers, environment) = (fs::read_to_string(a).expect("a"), fs::read_to_string(b).expect("b"));
    let (hash, _) = registry.seed.majority(PROMOTED);
    let head: String = containers.lines().take_while(|l| l.starts_with('#')).collect::<Vec<_>>().join("\n");
    for wanted in [
        "# overcloud_containers.yaml, written by overtag",
        "# Link: ?namespace=",
        "# Files beside the link: t.j2",
        "# Time: 2017-05-30T00:49:16Z",
        &format!("# Channel: {PROMOTED} at {hash} (117 of 124 images)"),
        "# Images: 124 requested, 119 written, 5 left out",
    ] {
        assert!(head.contains(wanted), "{wanted} is not in\n{head}");
    }
    for new in &registry.seed.new {
        assert!(head.contains(&format!("{PREFIX}{new}:{PROMOTED}: left out, absent: ")), "{new}");
        assert!(!environment.contains(&format!("{PREFIX}{new}:{hash}")));
    }
    assert!(environment.contains(&format!("u:8787/{NAMESPACE}/{PREFIX}")) && environment.contains(&format!("{hash}-x")));
    assert!(!environment.contains("DockerInsecureRegistryAddress"), "what is pushed elsewhere was not asked over plain http");
    let plain = here.prepare(&[]);
    assert!(
        text(&plain.stdout).contains(&format!("DockerInsecureRegistryAddress:\n  - '{}'", registry.host))
            || text(&plain.stdout).contains(&format!("DockerInsecureRegistryAddress:\n  - {}", registry.host)),
        "{}",
        text(&plain.stdout)
    );
}

#[test]
fn registry_failing_midway_makes_nothing_absent() {
    let registry = registry();
    let proxy = Proxy::before(&registry.host);
    let here = Here::at(&proxy.host);
    proxy.stop_after(100);
    let (a, b) = (here.path("containers"), here.path("environment"));
    let done = here.prepare(&["--output-images-file", &a, "--output-env-file", &b]);
    assert_eq!(done.status.code(), Some(3), "{}", text(&done.stderr));
    assert!(!Path::new(&a).exists() && !Path::new(&b).exists(), "no file is written");
    let said = text(&done.stderr);
    assert!(said.contains("overtag: ") && said.contains(&proxy.host) && said.contains("--allow-partial"), "{said}");
    proxy.stop_after(100);
    let (code, report) = here.report(&[]);
    assert_eq!(code, Some(3));
    assert!(report["counts"]["error"].as_u64() > Some(0));
    for (short, row) in rows(&report) {
        assert!(row["status"] != "absent" || registry.seed.new.contains(&short), "{row}");
    }
    proxy.stop_after(200);
    let done = here.prepare(&["--output-images-file", &a, "--output-env-file", &b, "--allow-partial"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(fs::read_to_string(&a).expect("a").starts_with("# INCOMPLETE"));
    assert!(fs::read_to_string(&b).expect("b").starts_with("# INCOMPLETE"));
}

/// The statuses of all rows from a registry with this fault.
fn statuses(
    fault: impl Fn(&Seen) -> Option<Fault> + Send + Sync + 'static,
    more: &[&str],
) -> (Option<i32>, BTreeMap<String, usize>, Value) {
    let proxy = Proxy::before(&registry().host);
    proxy.fault(fault);
    let (code, report) = Here::at(&proxy.host).report(&[&["--include", "aodh|nova-api"], more].concat());
    let mut count = BTreeMap::new();
    for row in report["images"].as_array().into_iter().flatten() {
        *count.entry(row["status"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
    }
    (code, count, report)
}

#[test]
fn only_registry_error_codes_mean_absent() {
    let all_error = |count: &BTreeMap<String, usize>| count.keys().eq(["error"]);
    for status in [401, 403, 500, 503] {
        let (code, count, report) = statuses(move |_| Some(Fault::text(status, "<html>no</html>")), &[]);
        assert!(code == Some(3) && all_error(&count), "{status}: {report}");
    }
    let (code, count, report) = statuses(|_| Some(Fault::text(404, "<html>not a registry</html>")), &[]);
    assert!(code == Some(3) && all_error(&count), "a web server is not a registry: {report}");
    let (code, count, report) = statuses(|_| Some(Fault::text(200, "<html>welcome</html>")), &[]);
    assert!(code == Some(3) && all_error(&count), "a welcome page is not a manifest: {report}");
    let (code, count, report) = statuses(|_| Some(Fault::registry_error(404, "NAME_UNKNOWN")), &[]);
    assert!(code == Some(1) && count.keys().eq(["absent"]), "{report}");
    let wrong = format!("sha256:{}", "0".repeat(64));
    let (code, count, report) =
        statuses(move |s| (s.method == "GET").then(|| Fault::set("Docker-Content-Digest", &wrong)), &["--pin", "label"]);
    assert!(code == Some(3) && all_error(&count), "a wrong digest is not an answer: {report}");
    let (_, count, report) = statuses(
        |s| (s.method == "GET" && s.path.contains("/blobs/")).then(|| Fault::body(b"{\"config\":{}}")),
        &["--pin", "label"],
    );
    assert!(all_error(&count), "a config of another digest is not an answer: {report}");
}

#[test]
fn oversized_response_is_error() {
    let huge = vec![b' '; (4 << 20) + 1];
    let (code, count, report) = statuses(move |s| (s.method == "GET").then(|| Fault::body(&huge)), &["--pin", "label"]);
    assert!(code == Some(3) && count.keys().eq(["error"]), "{report}");
    assert!(report["images"][0]["reason"].as_str().is_some_and(|r| r.contains("larger than 4 MiB")), "{report}");
}

#[test]
fn transient_failures_are_retried() {
    // A HEAD that is refused, or that hides the digest, is asked again as a GET.
    let whole = |count: BTreeMap<String, usize>, report: &Value| {
        let errors = count.get("error").copied().unwrap_or(0);
        assert_eq!(errors, 0, "{report}");
    };
    let (code, count, report) = statuses(|s| (s.nth == 1).then(|| Fault::text(503, "")), &[]);
    assert_eq!(code, Some(0));
    whole(count, &report);
    assert!(report["requests"]["retries"].as_u64() > Some(0));
    let (_, count, report) = statuses(|s| (s.nth == 1).then(|| Fault::text(429, "").with("Retry-After", "1")), &[]);
    whole(count, &report);
    let (_, count, report) = statuses(|s| (s.nth == 1).then_some(Fault::Drop), &[]);
    whole(count, &report);
    let (_, count, report) = statuses(|s| (s.method == "HEAD").then(|| Fault::text(405, "")), &[]);
    whole(count, &report);
    for status in [404, 501] {
        let (_, count, report) = statuses(move |s| (s.method == "HEAD").then(|| Fault::text(status, "")), &[]);
        assert!(report["images"].as_array().into_iter().flatten().all(|r| r["pinned_by"] != "digest"), "{status}: {report}");
        whole(count, &report);
    }
    let (_, count, report) = statuses(|_| Some(Fault::hide("Docker-Content-Digest")), &[]);
    whole(count, &report);
}

/// The output of `prepare` when the list of tags is answered by `answer`.
fn listed(answer: impl Fn(&Seen, &str) -> Fault + Send + Sync + 'static) -> Output {
    let proxy = Proxy::before(&registry().host);
    let host = proxy.host.clone();
    proxy.fault(move |seen: &Seen| seen.path.contains("/tags/list").then(|| answer(seen, &host)));
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("t.j2");
    fs::write(&template, support::template(&["alpha"])).expect("written");
    let (template, namespace) = (template.display().to_string(), format!("{}/versions", proxy.host));
    overtag(&["prepare", "--template-file", &template, "--namespace", &namespace, "--prefix=", "--tag", r"newest:\d+(\.\d+)+"])
}

#[test]
fn tag_list_continuing_elsewhere_is_error() {
    let page = |tags: &[&str]| Fault::json(200, &serde_json::json!({ "name": "x", "tags": tags }));
    let is_first = |seen: &Seen| !seen.path.contains("last=");
    // The same host under another scheme, as behind a proxy that ends TLS; and among several links.
    for link in [
        "<https://HOST/v2/versions/alpha/tags/list?n=1&last=1.2.9>; rel=\"next\"",
        "</v2/versions/alpha/tags/list>; rel=\"first\", </v2/versions/alpha/tags/list?n=1&last=1.2.9>; rel=\"next\"",
    ] {
        let done = listed(move |seen, host| match is_first(seen) {
            true => page(&["1.2.9"]).with("Link", &link.replace("HOST", host)),
            false => page(&["1.2.10", "not a tag\n"]),
        });
        assert!(text(&done.stdout).contains("/alpha:1.2.10"), "{}", text(&done.stderr));
    }
    let done = listed(move |_, _| page(&["1.2.9"]).with("Link", "<https://elsewhere.example/x>; rel=\"next\""));
    assert_eq!(done.status.code(), Some(3), "{}", text(&done.stderr));
    // A server that refuses a page size sends all tags without one.
    let done = listed(move |seen, _| match seen.path.contains("n=") {
        true => Fault::registry_error(400, "PAGINATION_NUMBER_INVALID"),
        false => page(&["1.2.10", "1.2.9"]),
    });
    assert!(text(&done.stdout).contains("/alpha:1.2.10"), "{}", text(&done.stderr));
}

#[test]
fn tags_are_read_over_all_pages() {
    let registry = Registry::scratch();
    let tags: Vec<String> = (0..30).map(|i| format!("1.{i}")).collect();
    let all: Vec<&str> = tags.iter().map(String::as_str).collect();
    registry.push("v/app", &all, Kind::Docker, None, 1);
    let proxy = Proxy::before(&registry.host);
    let pages = tags.clone();
    proxy.fault(move |seen: &Seen| {
        if !seen.path.contains("/tags/list") {
            return None;
        }
        let mut sorted = pages.clone();
        sorted.sort();
        let last = seen.path.split("last=").nth(1).unwrap_or("").to_owned();
        let page: Vec<&String> = sorted.iter().filter(|t| **t > last).take(7).collect();
        let body = serde_json::json!({ "name": "v/app", "tags": page });
        let next = page
            .last()
            .filter(|l| **l != sorted.last().expect("tags"))
            .map(|l| format!("</v2/v/app/tags/list?n=7&last={l}>; rel=\"next\""));
        let fault = Fault::json(200, &body);
        Some(match next {
            Some(link) => fault.with("Link", &link),
            None => fault,
        })
    });
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("t.j2");
    fs::write(&template, support::template(&["app"])).expect("written");
    let done = overtag(&[
        "prepare",
        "--template-file",
        &template.display().to_string(),
        "--namespace",
        &format!("{}/v", proxy.host),
        "--prefix=",
        "--tag",
        r"newest:1\.\d+",
    ]);
    assert!(text(&done.stdout).contains("/v/app:1.29"), "{}{}", text(&done.stdout), text(&done.stderr));
}

#[test]
fn exit_status_reflects_the_outcome() {
    let registry = registry();
    let here = Here::at(&registry.host);
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.j2");
    fs::write(&wrong, "a: 1\n  {{ x y }}").expect("written");
    let wrong = wrong.display().to_string();
    let dead = "127.0.0.1:1/x";
    for (args, code, words) in [
        (vec!["prepare", "--release", "trian"], 2, vec!["release=", "train"]),
        (vec!["prepare", "--colour", "red"], 2, vec!["--colour"]),
        (vec!["prepare", "--link", "?colour=red"], 2, vec!["colour=red"]),
        (vec!["prepare", "--link", "?v=2"], 2, vec!["version 2"]),
        (vec!["prepare", "--set", "novalue"], 2, vec!["novalue"]),
        (vec!["prepare", "--include", "("], 2, vec!["include="]),
        (vec!["prepare", "--role", "Controler"], 2, vec!["Controller"]),
        (vec!["prepare", "--template-file", &wrong], 2, vec!["wrong.j2, line 2, column 8", "`{{ x y }}`"]),
        (vec!["prepare", "--template-file", "/nowhere/t.j2"], 2, vec!["/nowhere/t.j2"]),
        (vec!["prepare", "-e", "/nowhere/e.yaml"], 2, vec!["/nowhere/e.yaml"]),
        (vec!["prepare", "--exclude", "."], 1, vec!["no image is left"]),
        (vec!["prepare", "--missing", "fail"], 1, vec!["openstack-unbound"]),
        (
            vec!["prepare", "--release", "2017-05", "--namespace", dead, "--include", "aodh-api"],
            3,
            vec!["127.0.0.1:1", "could not be reached"],
        ),
        (vec![], 2, vec!["prepare"]),
        (vec!["discover"], 2, vec!["--image"]),
    ] {
        let done = overtag(&args);
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{args:?}: {said}");
        assert!(words.iter().all(|w| said.contains(w)), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(text(&done.stdout), "", "{args:?}");
    }
    let done = here.prepare(&["--missing", "fail"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(registry.seed.new.iter().all(|n| text(&done.stderr).contains(n.as_str())));
    for help in [vec!["--help"], vec!["prepare", "--help"], vec!["--version"]] {
        assert_eq!(overtag(&help).status.code(), Some(0));
    }
}

#[test]
fn files_are_written_completely_or_never() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = folder.path().join("containers.yaml");
    fs::write(&first, "old").expect("written");
    let gone = folder.path().join("no/such/folder/env.yaml");
    let done = overtag(&[
        "prepare",
        "--output-images-file",
        &first.display().to_string(),
        "--output-env-file",
        &gone.display().to_string(),
    ]);
    assert_eq!(done.status.code(), Some(2));
    assert_eq!(fs::read_to_string(&first).expect("it is there"), "old");
    let same = first.display().to_string();
    let done = overtag(&["prepare", "--output-images-file", &same, "--output-env-file", &same]);
    assert_eq!(done.status.code(), Some(2));
    let done = overtag(&["prepare", "--output-images-file", &same, "--output-env-file", &folder.path().display().to_string()]);
    assert_eq!(done.status.code(), Some(2));
    assert_eq!(fs::read_to_string(&first).expect("it is there"), "old");
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1, "nothing is left behind");
    let done = overtag(&["prepare", "--output-images-file", "/dev/null", "--output-env-file", "/dev/null"]);
    assert!(done.status.success() && !Path::new("/dev/null").is_file(), "{}", text(&done.stderr));
}

#[test]
fn discover_prints_tag_or_reason() {
    let registry = registry();
    let seed = &registry.seed;
    let discover = |short: &str, tag: &str, more: &[&str]| {
        let image = format!("{}/{NAMESPACE}/{PREFIX}{short}{tag}", registry.host);
        overtag(&[&["discover", "--image", &image], more].concat())
    };
    let is_plain = |s: &&String| ![&seed.new, &seed.unlabelled, &seed.mismatched].iter().any(|l| l.contains(s));
    let plain = seed.images.keys().find(is_plain).expect("an ordinary image");
    let promoted = format!(":{PROMOTED}");
    let done = discover(plain, &promoted, &["--tag-from-label", "rdo_version"]);
    assert_eq!(
        text(&done.stdout),
        format!("{}\n", seed.image(plain).hash(PROMOTED).unwrap_or_default()),
        "{}",
        text(&done.stderr)
    );
    let done = discover(plain, &promoted, &[]);
    assert_eq!(text(&done.stdout), format!("{}\n", seed.image(plain).hash(PROMOTED).unwrap_or_default()), "the default labels");
    for (short, tag, more, words) in [
        (plain.as_str(), promoted.as_str(), vec!["--tag-from-label", "nolabel"], vec!["nolabel", "rdo_version="]),
        (&seed.unlabelled[0], &promoted, vec![], vec!["label"]),
        (&seed.mismatched[0], &promoted, vec!["--label", "rdo_version"], vec!["another digest"]),
        (&seed.new[0], &promoted, vec![], vec!["no tag"]),
        (plain.as_str(), "", vec![], vec!["no tag latest"]),
    ] {
        let done = discover(short, tag, &more);
        let said = text(&done.stderr);
        assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(1), ""), "{short}{tag}: {said}");
        assert!(words.iter().all(|w| said.contains(w)), "{said}");
    }
    let done = overtag(&["discover", "--image", "127.0.0.1:1/x:y"]);
    assert_eq!(done.status.code(), Some(3));
}

#[test]
fn roles_beside_environment_are_ignored_with_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let environment = folder.path().join("e.yaml");
    fs::write(&environment, "parameter_defaults: {ComputeCount: 0}").expect("written");
    let environment = environment.display().to_string();
    let done = overtag(&["list-images", "--release", "train", "-e", &environment, "--role", "Compute"]);
    assert!(done.status.success() && !text(&done.stdout).contains("nova-libvirt"), "{}", text(&done.stdout));
    assert!(text(&done.stderr).contains("role= and service="), "{}", text(&done.stderr));
}

#[test]
fn list_images_and_link_print_selection() {
    let list = |args: &[&str]| text(&overtag(&[&["list-images"], args].concat()).stdout);
    let all = list(&["--release", "pike"]);
    assert!(all.starts_with("aodh-api\naodh-evaluator\n") && all.contains("\ndaemon\n"), "{all}");
    assert!(!all.contains("centos-binary") && !all.contains('/') && !all.contains(':'));
    assert_eq!(list(&["--release", "wallaby", "--include", "aodh-(?!api)"]), "aodh-evaluator\naodh-listener\naodh-notifier\n");
    assert_eq!(list(&["--release", "train", "--role", "Minimal", "--include", "cron|aodh"]).lines().count(), 1);
    for (args, want) in [
        (vec!["--release", "train", "--tag", "current-tripleo"], "?release=train\n"),
        (
            vec!["--link", "https://x.example/d/?tag=a&release=train&pin=label,sibling,digest"],
            "https://x.example/d/?release=train&tag=a\n",
        ),
        (vec!["--link", "?release=train&tag=a", "--tag", "b", "--set", "x=y z"], "?release=train&tag=b&set.x=y+z\n"),
        (
            vec!["--prefix", "p", "--suffix", "s", "--tag-from-label", "L"],
            "?name_prefix=p&name_suffix=s&pin=label%2Cchannel&label=L\n",
        ),
    ] {
        assert_eq!(text(&overtag(&[vec!["link"], args].concat()).stdout), want);
    }
}
