//! The board: on a registry that is promoted image by image, on a Quay, from snapshots, with DLRN beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use overtag::engine::board::timeline::Timeline;
use overtag::engine::board::{self, Grid, Known, Lag, Lateness, Stage, State};
use overtag::engine::image::digest::Digest;
use overtag::engine::options::definitions::Choices;
use overtag::engine::options::link;
use overtag::engine::options::settings::Settings;
use overtag::engine::output::compare::{Change, Side, compare, diffs};
use overtag::engine::pipeline::{Pipeline, WhyNot, read_build, read_promotions, read_votes};
use overtag::engine::registry::auth::Logins;
use overtag::engine::registry::manifest::sha256;
use overtag::engine::registry::query::{Active, Overview, TagPeriod};
use overtag::engine::registry::{Answer, Caller, Query};
use overtag::engine::resolve::{Facts, Note, Resolver, Row, Status};
use overtag::engine::session::{Client, Run};
use overtag::engine::snapshot::Snapshot;
use overtag::engine::template::Files;
use overtag::engine::template::Source;
use overtag::engine::template::plan::Plan;
use overtag::engine::time::{Millis, Timestamp};
use overtag::net::native;
use serde_json::{Value, json};
use support::dlrn::{Dlrn, Hashes};
use support::proxy::{Fault, Proxy, Seen};
use support::quay::{self, Manifest, Quay, Repository};
use support::registry::{CHANNELS, Kind, LABEL, NAMESPACE, PREFIX, PROMOTED, Registry};

/// The current time of the tests, unless they set another.
const EPOCH: u64 = 1_496_105_356;
const DAY: u64 = 86_400;

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry::start(Path::new(support::CACHE), &support::names()))
}

fn overtag(args: &[&str], now: u64) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overtag"));
    command.args(args).env("SOURCE_DATE_EPOCH", now.to_string()).output().expect("overtag runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A template in a folder, and the namespace and channels that a board of it has.
struct Here {
    folder: tempfile::TempDir,
    namespace: String,
    prefix: &'static str,
    channels: String,
}

impl Here {
    fn at(host: &str, names: &[&str], channels: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("t.j2"), support::template(names)).expect("the template is written");
        Self { folder, namespace: format!("{host}/{NAMESPACE}"), prefix: PREFIX, channels: channels.join(",") }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).expect("the file is written");
        self.path(name)
    }

    fn run(&self, verb: &str, more: &[&str], now: u64) -> Output {
        let template = self.path("t.j2");
        let plain =
            [verb, "--template-file", &template, "--namespace", &self.namespace, "--prefix", self.prefix, "--tag", PROMOTED];
        overtag(&[&plain[..], &["--channels", &self.channels], more].concat(), now)
    }

    /// The board as JSON, with the exit status.
    fn board(&self, more: &[&str], now: u64) -> (Option<i32>, Value) {
        let done = self.run("board", &[&["--format", "json"], more].concat(), now);
        let board = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&done.stderr)));
        (done.status.code(), board)
    }
}

/// A channel of a board.
fn channel<'a>(board: &'a Value, name: &str) -> &'a Value {
    let all = board["channels"].as_array().expect("channels");
    all.iter().find(|c| c["channel"] == name).unwrap_or_else(|| panic!("there is no channel {name}: {board}"))
}

/// The cells of a channel by image.
fn cells(board: &Value, name: &str) -> BTreeMap<String, Value> {
    let cell = |image: &Value| {
        let all = image["channels"].as_array().expect("cells");
        let cell = all.iter().find(|c| c["channel"] == name).expect("a cell a channel").clone();
        (image["image"].as_str().expect("a name").to_owned(), cell)
    };
    board["images"].as_array().expect("images").iter().map(cell).collect()
}

/// Names of fourteen images.
const NAMES: [&str; 14] = [
    "nova-api",
    "nova-compute",
    "nova-conductor",
    "neutron-server",
    "neutron-agent",
    "heat-api",
    "heat-engine",
    "keystone",
    "glance-api",
    "cinder-api",
    "cinder-volume",
    "horizon",
    "swift-proxy",
    "ironic-api",
];

/// A made-up hash of a build.
fn hash(i: usize) -> String {
    format!("{:040x}_{:08x}", 0xabcd_0000 + i, 0x1234_0000 + i)
}

/// Pushes build `i` of an image under its hash and these tags.
fn push(registry: &Registry, short: &str, i: usize, tags: &[&str]) {
    let hash = hash(i);
    let tags: Vec<&str> = std::iter::once(hash.as_str()).chain(tags.iter().copied()).collect();
    registry.push(&format!("{NAMESPACE}/{PREFIX}{short}"), &tags, Kind::Docker, Some(&[(LABEL, &hash), ("name", short)]), i);
}

/// The names in a mixed order, the same one each time.
fn shuffled() -> Vec<&'static str> {
    let mut names = NAMES.to_vec();
    names.sort_by_key(|n| n.bytes().fold(7_u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b))) % 101);
    names
}

#[test]
fn promotion_in_progress_keeps_counts_right() {
    // The channel moves image by image, and then back, which is marked as a roll-back.
    let registry = Registry::scratch();
    let here = Here::at(&registry.host, &NAMES, &["tripleo-ci-testing", PROMOTED]);
    for name in NAMES {
        push(&registry, name, 1, &[PROMOTED]);
        push(&registry, name, 2, &["tripleo-ci-testing"]);
    }
    let snapshot = |at: u64| {
        let file = here.path("kept.json");
        let done = here.run("snapshot", &["--since", &file, "--output", &file], at);
        assert!(done.status.success(), "{}", text(&done.stderr));
        file
    };
    snapshot(EPOCH);
    let whole = here.board(&["--require-whole", PROMOTED], EPOCH);
    assert_eq!((whole.0, &channel(&whole.1, PROMOTED)["state"]), (Some(0), &json!("whole")), "{}", whole.1);
    assert_eq!(channel(&whole.1, PROMOTED)["behind"]["differ"], NAMES.len());

    // The channel moves to the next hash image by image. The hash of most images counts.
    let (n, whole_word, torn_word) = (NAMES.len(), json!("whole"), json!("torn"));
    for (k, name) in shuffled().into_iter().enumerate().map(|(k, name)| (k + 1, name)) {
        push(&registry, name, 2, &[PROMOTED]);
        let (code, board) = here.board(&["--require-whole", PROMOTED], EPOCH + 60);
        let stage = channel(&board, PROMOTED);
        let (at, other) = (k.max(n - k), k.min(n - k));
        assert_eq!(
            (stage["counts"]["at_hash"].as_u64(), stage["counts"]["torn"].as_u64()),
            (Some(at as u64), Some(other as u64)),
            "{k}"
        );
        assert_eq!((&stage["state"], code), if k == n { (&whole_word, Some(0)) } else { (&torn_word, Some(1)) }, "after {k}");
        let majority_hash = hash(if 2 * k > n { 2 } else { 1 });
        if 2 * k != n {
            assert_eq!(stage["hash"], majority_hash.as_str());
        }
        for (image, cell) in cells(&board, PROMOTED) {
            let done = shuffled()[..k].contains(&image.as_str());
            let own = hash(if done { 2 } else { 1 });
            assert_eq!((cell["text"].as_str(), cell["hash"].as_str()), (own.get(..8), Some(own.as_str())), "{image} after {k}");
            let is_torn = cell["notes"].as_array().is_some_and(|n| n.contains(&json!("torn")));
            assert_eq!(is_torn, stage["hash"] != own.as_str(), "{image} after {k}");
        }
        let before = channel(&board, "tripleo-ci-testing");
        assert_eq!(before["state"], "whole");
        assert_eq!(stage["behind"]["same"], k, "so many point to what the channel before points to");
    }
    snapshot(EPOCH + DAY);

    // Back to where it was, as a promoter does it: by pushing.
    for name in NAMES {
        push(&registry, name, 1, &[PROMOTED]);
    }
    let file = snapshot(EPOCH + 2 * DAY);
    let (code, board) = here.board(&["--snapshot", &file], EPOCH + 2 * DAY);
    assert_eq!((code, &board["requests"]), (Some(0), &json!(0)));
    let events: Vec<&Value> =
        board["promotions"].as_array().expect("promotions").iter().filter(|e| e["channel"] == PROMOTED).collect();
    let reported: Vec<(&str, u64, bool, u64)> = events
        .iter()
        .map(|e| {
            let hash = e["hash"].as_str().expect("a hash");
            (
                hash,
                e["first"].as_u64().expect("a time"),
                e["is_rollback"].as_bool().expect("a bool"),
                e["images"].as_u64().expect("a count"),
            )
        })
        .collect();
    let (one, two, all) = (hash(1), hash(2), n as u64);
    assert_eq!(
        reported,
        [(one.as_str(), EPOCH + 2 * DAY, true, all), (two.as_str(), EPOCH + DAY, false, all), (one.as_str(), EPOCH, false, all)]
    );
    assert_eq!(board["horizon"], EPOCH);
    let lately = here.board(&["--snapshot", &file, "--late", "1,2"], EPOCH + 9 * DAY).1;
    assert_eq!(channel(&lately, PROMOTED)["lateness"], "very late");

    // An image that one snapshot could not ask has not moved, and the history goes on.
    let (file, newer) = (here.path("kept.json"), here.path("newer.json"));
    registry.push(&format!("{NAMESPACE}/{PREFIX}keystone"), &["other"], Kind::Docker, None, 9);
    let proxy = Proxy::before(&registry.host);
    proxy.fault(|seen: &Seen| seen.path.contains("keystone/").then(|| Fault::text(403, "no")));
    let other = Here {
        namespace: format!("{}/{NAMESPACE}", proxy.host),
        ..Here::at(&proxy.host, &NAMES, &["tripleo-ci-testing", PROMOTED])
    };
    let renamed = fs::read_to_string(&file).expect("it is there").replace(&registry.host, &proxy.host);
    fs::write(&newer, renamed).expect("it is written");
    let done = other.run("snapshot", &["--since", &newer, "--output", &newer, "--allow-partial"], EPOCH + 3 * DAY);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let board = other.board(&["--snapshot", &newer], EPOCH + 3 * DAY).1;
    assert_eq!(cells(&board, PROMOTED)["keystone"]["status"], "error");
    assert_eq!(board["promotions"].as_array().map(|e| e.iter().filter(|e| e["channel"] == PROMOTED).count()), Some(3));
}

#[test]
fn board_refresh_sends_one_request_per_cell() {
    // The first run sends about two requests a cell.
    let registry = registry();
    let proxy = Proxy::before(&registry.host);
    let channels: Vec<&str> = CHANNELS.iter().map(|(c, _)| *c).collect();
    let here = Here::at(&proxy.host, &support::names(), &channels);
    let (code, board) = here.board(&[], EPOCH);
    assert_eq!(code, Some(0));
    let (cells_of, asked) = (support::names().len() * channels.len(), proxy.count());
    println!("{cells_of} cells: {asked} requests");
    assert!(asked as f64 <= 2.1 * cells_of as f64, "{asked} requests for {cells_of} cells");
    for name in &channels {
        for (short, cell) in cells(&board, name) {
            let image = registry.seed.image(&short);
            assert_eq!(cell["hash"].as_str(), image.hash(name), "{short} in {name}: {cell}");
            assert_eq!(cell["status"], if image.hash(name).is_some() { "resolved" } else { "absent" }, "{short} in {name}");
        }
        let (hash, others) = registry.seed.majority(name);
        let (stage, has) = (channel(&board, name), registry.seed.having(name).count());
        assert_eq!((&stage["hash"], &stage["counts"]["torn"]), (&json!(hash), &json!(others)), "{name}");
        assert_eq!(stage["counts"]["absent"], support::names().len() - has, "{name}");
    }

    // The same with the engine, which can refresh: as a program and as a page.
    let (namespace, channels) = (here.namespace.as_str(), here.channels.as_str());
    let choices = chosen(&[("namespace", namespace), ("name_prefix", PREFIX), ("tag", PROMOTED), ("channels", channels)]);
    let nobody = |_: &Run, _: Millis| {};
    let reported = |rows: &[Known]| -> Vec<String> {
        rows.iter().flatten().map(|r| format!("{:?} {:?} {:?} {:?}", r.status, r.hash, r.digest, r.notes)).collect()
    };
    for client in [Client::program(Logins::default()), page()] {
        let caller = client.caller;
        let (_, run) = board_of(&choices, &support::names(), client);
        proxy.reset();
        let mut run = native::drive(run, &nobody).expect("no proxy is set");
        println!("{caller:?}, cold: {} requests", proxy.count());
        assert!(proxy.count() as f64 <= 2.1 * cells_of as f64, "{caller:?}: {} requests for {cells_of} cells", proxy.count());
        let before = run.summarize().0;
        proxy.reset();
        run.refresh(Logins::default(), Timestamp(EPOCH + 60));
        assert!(
            run.summarize().0.iter().zip(&before).all(|(a, b)| a == b),
            "what was known is shown until the new answer is known"
        );
        let run = native::drive(run, &nobody).expect("no proxy is set");
        println!("{caller:?}, refreshed: {} requests", proxy.count());
        assert!(proxy.count() <= cells_of, "{caller:?}: {} requests for {cells_of} cells", proxy.count());
        assert_eq!(reported(&run.summarize().0), reported(&before));
    }
}

/// What a link would say.
fn chosen<V: AsRef<str>>(pairs: &[(&str, V)]) -> Choices {
    let mut choices = Choices::default();
    pairs.iter().for_each(|(key, value)| choices.put(key, value.as_ref()));
    choices
}

/// A client that asks as a page does; whether CORS would let it read the answers is not checked.
fn page() -> Client {
    Client { caller: Caller::Browser, page: "http://127.0.0.1".to_owned(), logins: Logins::default() }
}

/// A board, and the run that fills it.
fn board_of(choices: &Choices, names: &[&str], client: Client) -> ((Grid, Plan), Run) {
    let settings = Settings::new(choices, true).0;
    let template = Source { name: "t.j2".to_owned(), text: support::template(names) };
    let plan = Plan::new(&settings, &Files { template: Some(template), ..Files::default() }).expect("a plan");
    let grid = Grid::new(&settings, &plan);
    let resolver = Resolver::new(settings, grid.cells(&plan));
    let facts = Facts { asked_at: Timestamp(EPOCH), ..Facts::default() };
    ((grid, plan), Run::new(resolver, client, facts, None))
}

#[test]
fn changed_manifest_form_keeps_digest_correct() {
    // Each image goes from one of four manifest forms to another before the page refreshes.
    let registry = Registry::scratch();
    let kinds = [Kind::Docker, Kind::Oci, Kind::DockerList, Kind::OciIndex];
    let names: Vec<String> = (0..kinds.len() * kinds.len()).map(|i| format!("image-{i:02}")).collect();
    let repo = |name: &str| format!("{NAMESPACE}/{PREFIX}{name}");
    let push = |name: &str, kind: Kind, build: usize| registry.push(&repo(name), &[PROMOTED], kind, None, build);
    let mut is: Vec<String> = names.iter().zip(0..).map(|(name, i)| push(name, kinds[i / kinds.len()], 1)).collect();
    let namespace = format!("{}/{NAMESPACE}", registry.host);
    let choices =
        chosen(&[("namespace", namespace.as_str()), ("name_prefix", PREFIX), ("channels", PROMOTED), ("pin", "digest")]);
    let short: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_, run) = board_of(&choices, &short, page());
    let digests = |run: &Run| -> Vec<String> {
        run.summarize()
            .0
            .iter()
            .flatten()
            .map(|row| row.digest.as_ref().map_or_else(|| row.reason.clone(), ToString::to_string))
            .collect()
    };
    let nobody = |_: &Run, _: Millis| {};
    let mut run = native::drive(run, &nobody).expect("no proxy is set");
    assert_eq!(digests(&run), is, "cold");
    for (name, i) in names.iter().zip(0..) {
        is[i] = push(name, kinds[i % kinds.len()], 2);
    }
    run.refresh(Logins::default(), Timestamp(EPOCH + 60));
    run = native::drive(run, &nobody).expect("no proxy is set");
    assert_eq!(digests(&run), is, "each in the form of each");
}

#[test]
fn snapshot_keeps_build_times_despite_clock_skew() {
    // A history too large to be read again is not written.
    let registry = Registry::scratch();
    push(&registry, "nova-api", 1, &[PROMOTED]);
    let here = Here::at(&registry.host, &["nova-api"], &[PROMOTED]);
    let file = here.path("kept.json");
    let snapshot = |at: u64| {
        let done = here.run("snapshot", &["--since", &file, "--output", &file], at);
        assert!(done.status.success(), "{}", text(&done.stderr));
        Snapshot::read(&fs::read_to_string(&file).expect("it is there"), "kept.json").expect("it can be read again")
    };
    let taken = snapshot(EPOCH);
    let choices = chosen(&[("namespace", here.namespace.as_str()), ("name_prefix", PREFIX), ("channels", PROMOTED)]);
    let settings = Settings::new(&choices, true).0;
    let ((grid, plan), _) = board_of(&choices, &["nova-api"], page());
    let built = |snapshot: Option<Arc<Snapshot>>| {
        let resolver = Resolver::for_snapshot(settings.clone(), grid.cells(&plan));
        let facts = Facts { asked_at: Timestamp(EPOCH), ..Facts::default() };
        let run = native::drive(Run::new(resolver, Client::program(Logins::default()), facts, snapshot), &|_, _| {})
            .expect("no proxy is set");
        run.summarize().0[0].as_ref().expect("a row").built_at
    };
    let expected = overtag::engine::time::iso("2019-05-29T00:00:00Z");
    assert_eq!((built(None), built(Some(Arc::new(taken)))), (expected, expected));

    // The clock of the next snapshot is behind. The file can still be read.
    push(&registry, "nova-api", 2, &[PROMOTED]);
    snapshot(EPOCH - 60);
    snapshot(EPOCH + 60);
    // A large history stays small enough to be read again, and a larger one is not written.
    let kept = |at: u64, repositories: u64| {
        let periods: Vec<Value> = (0..30)
            .map(|i| json!({ "start": at - i * DAY, "digest": format!("sha256:{i:064x}"), "hash": hash(i as usize) }))
            .collect();
        let history: BTreeMap<String, &Vec<Value>> = (0..5).map(|c| (format!("channel-{c}"), &periods)).collect();
        let tags: BTreeMap<String, String> = (0..5).map(|c| (format!("channel-{c}"), format!("sha256:{at:064x}"))).collect();
        let repositories: BTreeMap<String, Value> =
            (0..repositories).map(|i| (format!("r.example/n/image-{i}"), json!({ "tags": tags, "history": history }))).collect();
        let file = json!({ "overtag_snapshot": 1, "tool": "", "fetched_at": "", "fetched": at, "link": "", "repositories": repositories });
        Snapshot::read(&file.to_string(), "large.json").expect("a snapshot")
    };
    let (older, mut newer) = (kept(EPOCH, 500), kept(EPOCH + DAY, 500));
    newer.extend_history(&older);
    let written = newer.write().expect("it is not too large");
    assert!(written.len() < 8 << 20, "{} bytes", written.len());
    Snapshot::read(&written, "large.json").expect("it can be read again");
    let refused = kept(EPOCH, 1000).write().expect_err("it is too large").to_string();
    assert!(refused.contains("MiB; overtag reads at most 16 MiB"), "{refused}");
}

#[test]
fn carried_history_names_the_majority_hash() {
    // A digest may have tags of several hashes. The history names the one that most images have.
    let (first, skipped, promoted) = (hash(1), hash(2), hash(3));
    let taken = |at: u64, repositories: Value| {
        let file = json!({ "overtag_snapshot": 1, "tool": "", "fetched_at": "", "fetched": at, "link": "", "repositories": repositories });
        Snapshot::read(&file.to_string(), "kept.json").expect("a snapshot")
    };
    let digest = |n: u64| format!("sha256:{n:064x}");
    let older = taken(
        EPOCH,
        json!({
            "r.example/n/a": { "tags": { PROMOTED: digest(1), &first: digest(1) } },
            "r.example/n/b": { "tags": { PROMOTED: digest(2), &first: digest(2) } },
            "r.example/n/c": { "tags": { PROMOTED: digest(3), &first: digest(3) } },
        }),
    );
    let mut newer = taken(
        EPOCH + DAY,
        json!({
            "r.example/n/a": { "tags": { PROMOTED: digest(4), &skipped: digest(4), &promoted: digest(4) } },
            "r.example/n/b": { "tags": { PROMOTED: digest(5), &promoted: digest(5) } },
            "r.example/n/d": { "tags": { PROMOTED: digest(6), &promoted: digest(6) } },
            // A later build left it unchanged.
            "r.example/n/c": { "tags": { PROMOTED: digest(3), &first: digest(3), &skipped: digest(3) }, "moved": { &skipped: EPOCH + DAY } },
        }),
    );
    newer.extend_history(&older);
    let written: Value = serde_json::from_str(&newer.write().expect("it is small")).expect("JSON");
    let named = |name: &str| -> Vec<Value> {
        let periods = written["repositories"][format!("r.example/n/{name}")]["history"][PROMOTED].as_array().cloned();
        periods.unwrap_or_default().iter().map(|period| period["hash"].clone()).collect()
    };
    assert_eq!(named("a"), [json!(promoted), json!(first)]);
    assert_eq!(named("b"), [json!(promoted), json!(first)]);
    assert_eq!(named("c"), [json!(first)]);
}

#[test]
fn image_order_does_not_affect_board() {
    let registry = Registry::scratch();
    let names = ["nova-api", "nova-compute", "heat-api", "keystone"];
    for name in names {
        push(&registry, name, 1, &[PROMOTED]);
    }
    // Built by hand over the promoted image: it has no label, and its hash tag is of another build.
    registry.push(&format!("{NAMESPACE}/{PREFIX}keystone"), &[PROMOTED], Kind::Docker, None, 9);
    // The result from a snapshot must be the same.
    let here = Here::at(&registry.host, &names, &[PROMOTED]);
    let file = here.path("kept.json");
    let done = here.run("snapshot", &["--output", &file], EPOCH);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let expected = format!("Torn: 3 of 4 images at {}; 1 at another hash.", &hash(1)[..8]);
    for names in [names, ["keystone", "nova-api", "nova-compute", "heat-api"]] {
        for more in [&[][..], &["--snapshot", &file]] {
            let board = Here::at(&registry.host, &names, &[PROMOTED]).board(more, EPOCH).1;
            assert_eq!(channel(&board, PROMOTED)["sentence"], expected, "{names:?} {more:?}");
        }
    }
}

#[test]
fn refresh_after_refusal_rechecks_dependent_cells() {
    // An image moves while its repository refuses requests. The next refresh must see that.
    let registry = Registry::scratch();
    let names = ["nova-api", "nova-compute", "heat-api", "keystone"];
    for name in names {
        push(&registry, name, if name == "keystone" { 1 } else { 2 }, &[PROMOTED]);
    }
    let proxy = Proxy::before(&registry.host);
    let namespace = format!("{}/{NAMESPACE}", proxy.host);
    let choices = chosen(&[("namespace", namespace.as_str()), ("name_prefix", PREFIX), ("channels", PROMOTED)]);
    let ((grid, plan), run) = board_of(&choices, &names, Client::program(Logins::default()));
    let state = |run: &Run| board::stages(&grid, &plan, &run.summarize().0).remove(0).state;
    let nobody = |_: &Run, _: Millis| {};
    let mut run = native::drive(run, &nobody).expect("no proxy is set");
    assert_eq!(state(&run), State::Torn);
    push(&registry, "keystone", 2, &[PROMOTED]);
    for (after, is_refused, expected) in [(60, true, State::Unknown), (120, false, State::Whole)] {
        proxy.fault(move |seen: &Seen| {
            (is_refused && seen.path.contains("keystone")).then(|| Fault::registry_error(403, "DENIED"))
        });
        run.refresh(Logins::default(), Timestamp(EPOCH + after));
        run = native::drive(run, &nobody).expect("no proxy is set");
        assert_eq!(state(&run), expected, "after {after} s: {:?}", run.summarize().0);
    }
}

#[test]
fn refresh_sees_moved_and_added_tags() {
    let registry = Registry::scratch();
    let names = ["nova-api", "nova-compute", "heat-api", "keystone"];
    for name in names {
        push(&registry, name, 1, &[PROMOTED]);
    }
    push(&registry, "glance-api", 1, &[]);
    let all = ["nova-api", "nova-compute", "heat-api", "keystone", "glance-api"];
    let namespace = format!("{}/{NAMESPACE}", registry.host);
    let named = [("namespace", namespace.as_str()), ("name_prefix", PREFIX)];
    let choices = chosen(&[&named[..], &[("tag", PROMOTED), ("channels", PROMOTED)]].concat());
    let nobody = |_: &Run, _: Millis| {};
    let program = || Client::program(Logins::default());
    let ((grid, plan), run) = board_of(&choices, &all, program());
    let mut run = native::drive(run, &nobody).expect("no proxy is set");
    let stage = |run: &Run| board::stages(&grid, &plan, &run.summarize().0).remove(0);
    assert_eq!((stage(&run).state, stage(&run).counts.absent), (State::Incomplete, 1));

    // The missing image is promoted with the next build, which all the others get except one.
    for name in ["nova-api", "nova-compute", "heat-api", "glance-api"] {
        push(&registry, name, 2, &[PROMOTED]);
    }
    run.refresh(Logins::default(), Timestamp(EPOCH + 60));
    run = native::drive(run, &nobody).expect("no proxy is set");
    let now = stage(&run);
    assert_eq!(
        (now.state, now.hash, now.counts.at_hash, now.counts.torn, now.counts.absent),
        (State::Torn, Some(hash(2)), 4, 1, 0)
    );

    // The unchanged image gets the missing hash tag too: it has both hashes, and is not torn. Refreshes assume for ten
    // minutes that the tag is still absent.
    let labels = [(LABEL, hash(1)), ("name", "keystone".to_owned())];
    let labels: Vec<(&str, &str)> = labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
    registry.push(&format!("{NAMESPACE}/{PREFIX}keystone"), &[&hash(2)], Kind::Docker, Some(&labels), 1);
    for (after, state) in [(120, State::Torn), (720, State::Whole)] {
        run.refresh(Logins::default(), Timestamp(EPOCH + after));
        run = native::drive(run, &nobody).expect("no proxy is set");
        assert_eq!(stage(&run).state, state, "after {after} s");
    }
    let (_, cold) = board_of(&choices, &all, program());
    assert_eq!(stage(&native::drive(cold, &nobody).expect("no proxy is set")).state, State::Whole);
}

#[test]
fn quay_board_sends_one_request_per_image() {
    // The history takes a few more.
    let names = ["nova-api", "nova-compute", "heat-api", "keystone", "glance-api"];
    let now = 1_700_000_000;
    let repository = |name: &str| {
        let path = format!("{NAMESPACE}/{PREFIX}{name}");
        let mut repository = Repository::new(&path);
        let mut digests = Vec::new();
        for i in 1..=3 {
            let hash = hash(i);
            digests.push(repository.push(
                &hash,
                Manifest::image(&format!("{name} {i}"), &[(LABEL, &hash)]),
                now - 20 * DAY + i as u64,
            ));
        }
        for (channel, periods) in [("tripleo-ci-testing", &[(0, 9), (1, 5), (2, 1)][..]), (PROMOTED, &[(0, 8), (1, 4), (0, 2)])] {
            for (i, days) in periods {
                repository.tag(channel, &digests[*i], now - days * DAY);
            }
        }
        repository
    };
    let quay = Quay::start(names.map(repository).to_vec());
    quay.set_now(now);
    let here = Here::at(&quay.host, &names, &["tripleo-ci-testing", PROMOTED, "gone"]);
    let (code, board) = here.board(&["--api", "quay"], now);
    assert_eq!((code, quay.data_requests()), (Some(0), names.len()), "{}", quay.log_text());
    let stage = channel(&board, PROMOTED);
    assert_eq!((&stage["state"], &stage["pushed_at"]), (&json!("whole"), &json!(now - 2 * DAY)));
    assert_eq!(stage["promoted_at"], Value::Null, "a push is not a promotion until a history says so");
    assert_eq!((&channel(&board, "gone")["state"], &channel(&board, "gone")["hash"]), (&json!("empty"), &Value::Null));
    assert_eq!(stage["behind"]["since"], Value::Null, "since when is not known without the history");
    assert_eq!(board["promotions"], json!([]), "nobody asked for the history");

    let board = here.board(&["--api", "quay", "--history"], now).1;
    let reported: Vec<(String, u64, bool)> = board["promotions"]
        .as_array()
        .expect("promotions")
        .iter()
        .filter(|e| e["channel"] == PROMOTED)
        .map(|e| {
            (
                e["hash"].as_str().unwrap_or_default().to_owned(),
                (now - e["first"].as_u64().unwrap_or(0)) / DAY,
                e["is_rollback"] == true,
            )
        })
        .collect();
    assert_eq!(reported, [(hash(1), 2, true), (hash(2), 4, false), (hash(1), 8, false)]);
    assert_eq!(board["horizon"], now - quay::TWO_WEEKS);
    assert_eq!(channel(&board, PROMOTED)["behind"]["since"], now - 5 * DAY, "then the channel before left the hash");
    assert_eq!(channel(&board, PROMOTED)["behind"]["promotions"], 2, "the hash was at the channel before two promotions ago");
    let more = quay.data_requests() - 2 * names.len();
    assert!(more <= 3 * 2, "{more} requests for the history:\n{}", quay.log_text());
    quay.assert_clean();
}

#[test]
fn unchanged_images_do_not_tear_channel() {
    // A build that left an image as it was only adds its hash tag. The channel's hash is the one
    // that all images have.
    let now = 1_700_000_000;
    let repository = |name: &str| {
        let mut repository = Repository::new(&format!("{NAMESPACE}/{PREFIX}{name}"));
        let image = |i: usize| Manifest::image(&format!("{name} {i}"), &[(LABEL, &hash(i))]);
        let first = repository.push(&hash(1), image(1), now - 5 * DAY);
        match name {
            "horizon" => _ = repository.push(&hash(2), image(2), now - DAY),
            _ => repository.tag(&hash(2), &first, now - DAY),
        }
        repository.tag(PROMOTED, &first, now - 4 * DAY);
        repository
    };
    let quay = Quay::start(NAMES.map(repository).to_vec());
    quay.set_now(now);
    let here = Here::at(&quay.host, &NAMES, &[PROMOTED]);
    let (code, board) = here.board(&["--api", "quay", "--require-whole", PROMOTED], now);
    assert_eq!((code, &channel(&board, PROMOTED)["hash"]), (Some(0), &json!(hash(1))), "{board}");
    assert!(cells(&board, PROMOTED).values().all(|c| c["hash"] == hash(1).as_str()), "one hash is reported, the one of all");
    assert_eq!(quay.data_requests(), NAMES.len());
}

#[test]
fn refused_image_makes_board_unknown() {
    // The exit status is 3. With a torn image beside it, `--require-whole` gives 1.
    let registry = Registry::scratch();
    for name in NAMES {
        push(&registry, name, 1, &[PROMOTED]);
    }
    let proxy = Proxy::before(&registry.host);
    proxy.fault(|seen: &Seen| seen.path.contains("horizon/").then(|| Fault::text(403, "no")));
    let here = Here::at(&proxy.host, &NAMES, &[PROMOTED]);
    let (code, board) = here.board(&[], EPOCH);
    let stage = channel(&board, PROMOTED);
    assert_eq!(
        (code, &stage["state"], &stage["counts"]["error"], &stage["counts"]["absent"]),
        (Some(3), &json!("unknown"), &json!(1), &json!(0))
    );
    assert_eq!(here.board(&["--require-whole", PROMOTED], EPOCH).0, Some(3), "nothing is known to be wrong");
    push(&registry, "keystone", 2, &[PROMOTED]);
    let (code, board) = here.board(&["--require-whole", PROMOTED], EPOCH);
    assert_eq!((code, &channel(&board, PROMOTED)["state"]), (Some(1), &json!("torn")), "that one is torn is certain");

    for (flags, words) in [
        (&["--require-whole", "nothing"][..], "not on the board"),
        (&["--late", "7,3"], "late="),
        (&["--group", "shape"], "group="),
        (&["--channels", "a b"], "channels="),
    ] {
        let done = overtag(&[&["board"], flags].concat(), EPOCH);
        let error = text(&done.stderr);
        assert_eq!((done.status.code(), done.stdout.len()), (Some(2), 0), "{flags:?}: {error}");
        assert!(error.lines().next().is_some_and(|l| l.starts_with("overtag: ") && l.contains(words)), "{error}");
    }
}

#[test]
fn snapshot_board_equals_live_board() {
    // Its SVG is well-formed XML.
    let here = Here::at(&registry().host, &support::names(), &["consistent", PROMOTED]);
    let file = here.path("s.json");
    let done = here.run("snapshot", &["--output", &file], EPOCH);
    assert!(done.status.success() && text(&done.stderr).contains("consistent: "), "{}", text(&done.stderr));
    let (of_registry, of_snapshot) = (here.board(&[], EPOCH).1, here.board(&["--snapshot", &file], EPOCH).1);
    for part in ["channels", "others"] {
        assert_eq!(of_snapshot[part], of_registry[part]);
    }
    let reported = |board: &Value, name: &str| -> Vec<(String, Value, Value, Value, Value)> {
        let cell = |(image, c): (String, Value)| {
            (image, c["text"].clone(), c["digest"].clone(), c["notes"].clone(), c["status"].clone())
        };
        cells(board, name).into_iter().map(cell).collect()
    };
    for name in ["consistent", PROMOTED] {
        assert_eq!(reported(&of_snapshot, name), reported(&of_registry, name));
    }
    assert_eq!(of_snapshot["requests"], 0);

    // The SVG must be well-formed XML.
    let script = "import sys, xml.etree.ElementTree as e; r = e.fromstring(sys.stdin.buffer.read()); print(sum(1 for t in r.iter('{http://www.w3.org/2000/svg}text')))";
    for (channels, texts) in [("current-tripleo", "2"), ("consistent,current-tripleo", "4")] {
        let own = Here { channels: channels.to_owned(), ..Here::at(&registry().host, &support::names(), &[]) };
        let svg = own.run("board", &["--snapshot", &file, "--format", "svg"], EPOCH);
        let mut python = Command::new("python3")
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python runs");
        std::io::Write::write_all(&mut python.stdin.take().expect("stdin"), &svg.stdout).expect("it reads");
        assert_eq!(text(&python.wait_with_output().expect("it ends").stdout).trim(), texts, "{}", text(&svg.stdout));
    }
    let table = text(
        &here.run("board", &["--snapshot", &file, "--status", "absent,unresolved,error,torn,mismatch,unproven"], EPOCH).stdout,
    );
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[1].starts_with("current-tripleo") && lines[1].contains("Torn: "), "{table}");
    let wrong = lines.iter().skip(4).take_while(|l| !l.is_empty()).count();
    let seed = &registry().seed;
    let noted = seed.mismatched.iter().filter(|m| table.contains(&format!("{m} "))).count();
    assert_eq!(wrong, seed.new.len() + seed.torn.len() + noted, "{table}");
}

const CRITERIA: &str = "
base_url: https://trunk.example.org/centos9/
promotions:
  current-tripleo:
    candidate_label: tripleo-ci-testing
    criteria: [job-passed, job-failed, job-missing, job-running, job-other]
    alternative_criteria:
      job-other: [job-other-internal]
  current-tripleo-rdo:
    candidate_label: current-tripleo
    criteria: [job-rdo]
";

#[test]
fn dlrn_server_yields_promotions_and_blockers() {
    let registry = Registry::scratch();
    let full = |i: usize| (format!("{:040x}", 0xabcd_0000 + i), format!("{:08x}{}", 0x1234_0000 + i, "5".repeat(32)));
    let names = ["nova-api", "heat-api", "keystone"];
    for name in names {
        push(&registry, name, 1, &[PROMOTED, "current-tripleo-rdo"]);
        push(&registry, name, 2, &["tripleo-ci-testing"]);
    }
    let dlrn = Dlrn::start();
    let of = |i: usize, promote: &dyn Fn(Hashes<'_>)| {
        let (commit, distro) = full(i);
        promote(Hashes { commit: &commit, distro: &distro, extended: None });
    };
    of(1, &|h| {
        dlrn.promote("tripleo-ci-testing", h, None, EPOCH - 5 * DAY);
        dlrn.promote(PROMOTED, h, None, EPOCH - 4 * DAY);
        dlrn.promote("current-tripleo-rdo", h, None, EPOCH - 3 * DAY);
    });
    of(2, &|h| {
        dlrn.promote("tripleo-ci-testing", h, None, EPOCH - 2 * DAY);
        // For the promoter one success is enough, whatever vote comes later.
        dlrn.vote(h, None, "job-passed", "success", EPOCH - 9000);
        dlrn.vote(h, None, "job-passed", "failure", EPOCH - 3600);
        dlrn.vote(h, None, "job-failed", "failure", EPOCH - 9000);
        dlrn.vote(h, None, "job-failed", "failure", EPOCH - 7200);
        dlrn.vote(h, None, "job-running", "running", EPOCH - 600);
        dlrn.vote(h, None, "job-other-internal", "success", EPOCH - 600);
    });
    let here = Here::at(&registry.host, &names, &["tripleo-ci-testing", PROMOTED, "current-tripleo-rdo"]);
    let criteria = here.write("criteria.yaml", CRITERIA);
    let (code, board) = here.board(&["--dlrn", &dlrn.url(), "--criteria", &criteria], EPOCH);
    assert_eq!((code, &board["troubles"]), (Some(0), &json!({})));
    let reported: Vec<(&str, u64)> = board["promotions"]
        .as_array()
        .expect("promotions")
        .iter()
        .map(|e| (e["channel"].as_str().unwrap_or_default(), (EPOCH - e["first"].as_u64().unwrap_or(0)) / DAY))
        .collect();
    assert_eq!(reported, [("tripleo-ci-testing", 2), ("current-tripleo-rdo", 3), (PROMOTED, 4), ("tripleo-ci-testing", 5)]);
    let stage = channel(&board, PROMOTED);
    assert_eq!(
        (&stage["promoted_at"], &stage["lateness"], &stage["behind"]["promotions"]),
        (&json!(EPOCH - 4 * DAY), &json!("late"), &json!(1))
    );
    let url = stage["repository"].as_str().unwrap_or_default();
    assert!(url.starts_with("https://trunk.example.org/centos9/component/compute/") && url.ends_with(&hash(1)), "{url}");
    let held = &stage["held_by"];
    assert_eq!((&held["candidate"], &held["passed"], &held["of"]), (&json!(hash(2)), &json!(2), &json!(5)));
    let blockers: Vec<(&str, &str)> = held["blockers"]
        .as_array()
        .expect("blockers")
        .iter()
        .map(|b| (b["kind"].as_str().unwrap_or_default(), b["sentence"].as_str().unwrap_or_default()))
        .collect();
    let short = &hash(2)[..8];
    assert_eq!(
        blockers,
        [
            ("failed", format!("job-failed failed on {short} 2 h ago.").as_str()),
            ("missing", &format!("job-missing has not reported for {short}.")),
            ("running", &format!("job-running has been running on {short} for 10 min.")),
        ]
    );
    assert_eq!(held["blockers"][0]["url"], "https://logs.example.org/job-failed");
    assert_eq!(channel(&board, "current-tripleo-rdo")["held_by"]["level"], true);
    assert_eq!(channel(&board, "tripleo-ci-testing")["held_by"]["known"], false);

    // A snapshot keeps all of that.
    let file = here.path("s.json");
    let done = here.run("snapshot", &["--dlrn", &dlrn.url(), "--criteria", &criteria, "--output", &file], EPOCH);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let kept = here.board(&["--snapshot", &file], EPOCH).1;
    assert_eq!((&kept["channels"], &kept["promotions"]), (&board["channels"], &board["promotions"]));

    // What cannot be read is reported, and nothing is concluded from it.
    let (code, board) = here.board(&["--dlrn", "http://127.0.0.1:1", "--criteria", &criteria], EPOCH);
    assert_eq!((code, &channel(&board, PROMOTED)["held_by"]["known"]), (Some(0), &json!(false)));
    assert!(board["troubles"].as_object().is_some_and(|t| t.len() == 3), "{}", board["troubles"]);
    let why = channel(&board, PROMOTED)["held_by"]["sentence"].as_str().unwrap_or_default();
    assert!(why.contains("http://127.0.0.1:1/api/promotions"), "its cause is named: {why}");

    // An aggregate has one row per component and is one promotion. Its votes are requested by the aggregate's hash.
    let aggregate = "0123456789abcdef0123456789abcdef";
    of(3, &|h| dlrn.promote("current-podified", h, Some(aggregate), EPOCH - 900));
    of(1, &|h| {
        dlrn.promote("current-podified", h, Some(aggregate), EPOCH - 890);
        dlrn.vote(h, Some(aggregate), "job-a", "success", EPOCH);
    });
    let body = ureq::get(format!("{}/api/promotions?promote_name=current-podified", dlrn.url()))
        .call()
        .expect("it answers")
        .body_mut()
        .read_to_string()
        .expect("text");
    let promotions = read_promotions(&body).expect("promotions");
    assert_eq!(promotions.len(), 2);
    assert!(promotions.iter().all(|p| p.hash == aggregate && p.query == format!("aggregate_hash={aggregate}")), "{promotions:?}");
    assert_eq!(promotions[0].url, format!("https://trunk.example.org/centos9/current-podified/01/23/{aggregate}/"));
    let nginx = dlrn.front();
    let mut front = ureq::get(format!("{}/api/agg_status?aggregate_hash={aggregate}", nginx.origin)).call().expect("it answers");
    assert_eq!(front.headers().get("access-control-allow-origin").and_then(|v| v.to_str().ok()), Some("*"));
    let votes = read_votes(&front.body_mut().read_to_string().expect("text")).expect("votes");
    assert_eq!((votes.len(), votes[0].job.as_str(), votes[0].success, votes[0].at), (1, "job-a", true, Timestamp(EPOCH)));
}

// -- the rules, on rows made by hand

/// A board of images, each a reference, and their rows.
fn made(images: &[&str], channels: &[&str], rows: Vec<Known>) -> (Settings, Plan, Grid, Vec<Known>) {
    let mut choices = Choices::default();
    choices.put("tag", PROMOTED);
    choices.put("channels", channels.join(","));
    let settings = Settings::new(&choices, true).0;
    let list: String = images.iter().map(|i| format!("- imagename: \"{i}\"\n")).collect();
    let template = Source { name: "t".to_owned(), text: format!("container_images_template:\n{list}") };
    let plan = Plan::new(&settings, &Files { template: Some(template), ..Files::default() }).expect("a plan");
    let grid = Grid::new(&settings, &plan);
    (settings, plan, grid, rows)
}

/// A digest that begins with these hexadecimal digits, or one of another text.
fn digest(name: &str) -> Digest {
    Digest::parse(&format!("sha256:{name:0<64}")).unwrap_or_else(|| sha256(name.as_bytes()))
}

fn row(status: Status, hash: Option<&str>, digest: Option<&str>, notes: &[Note]) -> Known {
    let own = |text: &str| text.to_owned();
    Some(Arc::new(Row { status, hash: hash.map(own), digest: digest.map(self::digest), notes: notes.to_vec(), ..Row::default() }))
}

#[test]
fn each_channel_state_has_its_sentence() {
    let (a, b) = (hash(1), hash(2));
    let at = |hash: &str| row(Status::Resolved, Some(hash), Some("1"), &[]);
    let torn = row(Status::Resolved, Some(&b), Some("2"), &[Note::Torn]);
    let unnamed = row(Status::Resolved, None, Some("3"), &[]);
    let absent = || row(Status::Absent, None, None, &[]);
    let error = row(Status::Error, None, None, &[]);
    let short = &a[..8];
    let cases: [(Vec<Known>, State, String); 9] = [
        (vec![at(&a), at(&a)], State::Whole, format!("Whole: all 2 images at {short}.")),
        (vec![at(&a), torn.clone()], State::Torn, format!("Torn: 1 of 2 images at {short}; 1 at another hash.")),
        (vec![at(&a), absent()], State::Incomplete, format!("Incomplete: 1 of 2 images at {short}; 1 not promoted.")),
        (vec![absent(), absent()], State::Empty, "Empty: none of 2 images is promoted to it.".to_owned()),
        (vec![at(&a), unnamed.clone()], State::Unproven, format!("Unproven: 1 of 2 images at {short}; 1 of unknown hash.")),
        (vec![unnamed.clone(), unnamed], State::Unproven, "Unproven: all 2 images present, hash not known.".to_owned()),
        (vec![at(&a), error.clone()], State::Unknown, format!("Unknown: 1 of 2 images at {short}; 1 could not be checked.")),
        (
            vec![row(Status::Error, None, None, &[]), row(Status::Error, None, None, &[])],
            State::Unknown,
            "Unknown: none of 2 images could be checked.".to_owned(),
        ),
        (vec![at(&a), None], State::Waiting, "1 of 2 images answered.".to_owned()),
    ];
    for (rows, state, sentence) in cases {
        let (_, plan, grid, rows) = made(&["r.example/n/a:current-tripleo", "r.example/n/b:current-tripleo"], &[PROMOTED], rows);
        let stage = board::stages(&grid, &plan, &rows).remove(0);
        assert_eq!(stage.state, state, "{stage:?}");
        assert_eq!(stage.sentence(), sentence);
    }

    // Two namespaces are promoted independently, and the channel may be whole at one hash in each.
    let two = [
        "r.example/n/a:current-tripleo",
        "r.example/n/b:current-tripleo",
        "r.example/m/c:current-tripleo",
        "r.example/n/own:v1.2",
    ];
    let (_, plan, grid, rows) = made(&two, &[PROMOTED], vec![at(&a), at(&a), row(Status::Resolved, Some(&b), Some("9"), &[])]);
    let stage = board::stages(&grid, &plan, &rows).remove(0);
    assert_eq!((stage.state, stage.counts.at_hash, stage.hash.as_deref()), (State::Whole, 3, Some(a.as_str())));
    let sentence = format!("Whole: all 3 images at {}, or at the hash of their own namespace.", &a[..8]);
    assert_eq!(stage.sentence(), sentence);
    assert_eq!(grid.others, [("r.example/n/own:v1.2".to_owned(), "it has its own tag, v1.2".to_owned())]);

    // How a channel compares with the one before it.
    let one = ["r.example/n/a:current-tripleo", "r.example/n/b:current-tripleo"];
    let rows = vec![at(&a), at(&a), row(Status::Resolved, Some(&b), Some("7"), &[]), absent()];
    let (_, plan, grid, rows) = made(&one, &["consistent", PROMOTED], rows);
    let lag = board::stages(&grid, &plan, &rows).remove(1).lag.expect("a channel before");
    assert_eq!((lag.same, lag.differ, lag.missing), (1, 0, 1));
    assert_eq!(lag.sentence(Timestamp(0)), "in sync with consistent in 1 image, missing 1 of its images");
    let lag = |same: usize, differ: usize, missing: usize, unknown: usize| {
        let lag = Lag {
            before: "x".to_owned(),
            same,
            differ,
            missing,
            unknown,
            since: Some(Timestamp(0)),
            promotions: (differ > 2).then_some(2),
            ..Lag::default()
        };
        lag.sentence(Timestamp(7200))
    };
    for (sentence, expected) in [
        (lag(4, 0, 0, 0), "in sync with x"),
        (lag(3, 0, 0, 1), "in sync with x in 3 images, 1 not known"),
        (
            Lag { before: "x".to_owned(), same: 1, more: 2, ..Lag::default() }.sentence(Timestamp(0)),
            "in sync with x in 1 image, with 2 that it does not have",
        ),
        (lag(0, 0, 4, 0), "missing 4 images that x has"),
        (lag(0, 0, 0, 4), "nothing to compare with x"),
        (lag(2, 2, 0, 0), "differs from x in 2 of 4 images, for 2 h"),
        (lag(1, 3, 2, 0), "2 promotions behind x in 3 of 4 images, missing 2 of its images, for 2 h"),
    ] {
        assert_eq!(sentence, expected);
    }
    let days = |n: u64| Duration::from_secs(n * DAY);
    assert_eq!([1, 4, 7].map(|n| Lateness::of(days(n), [days(3), days(7)]).word()), [None, Some("late"), Some("very late")]);
}

#[test]
fn rows_are_found_filtered_and_ordered() {
    let (a, b) = (hash(1), hash(2));
    let moved = |known: Known, at: u64| known.map(|r| Arc::new(Row { moved_at: Some(Timestamp(at)), ..Arc::unwrap_or_clone(r) }));
    let rows = vec![
        moved(row(Status::Resolved, Some(&a), Some("aa"), &[]), 5),
        moved(row(Status::Resolved, Some(&b), Some("bb"), &[Note::Torn]), 9),
        row(Status::Absent, None, None, &[]),
        row(Status::Error, None, None, &[]),
    ];
    let images = ["nova-b", "heat-a", "nova-a", "glance"].map(|n| format!("r.example/n/{n}:current-tripleo"));
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let (_, plan, grid, rows) = made(&images, &[PROMOTED], rows);
    let shown = |query: &str| board::shown(&grid, &plan, &rows, &link::read(query).0);
    for (query, expected) in [
        ("", &[0, 1, 2, 3][..]),
        ("q=nova", &[0, 2]),
        ("q=NOVA", &[0, 2]),
        ("q=torn", &[1]),
        ("q=sha256:bb", &[1]),
        ("status=absent,error", &[2, 3]),
        ("status=torn", &[1]),
        ("status=absent,unresolved,error,torn,mismatch,unproven", &[1, 2, 3]),
        ("status=mismatch", &[]),
        ("sort=image", &[3, 1, 2, 0]),
        ("sort=-image", &[0, 2, 1, 3]),
        ("sort=status", &[3, 1, 2, 0]),
        ("sort=age", &[1, 0, 2, 3]),
        ("group=service", &[3, 1, 0, 2]),
        ("group=service&sort=image", &[3, 1, 2, 0]),
    ] {
        assert_eq!(shown(query), expected, "{query}");
    }
    assert_eq!(rows.iter().map(|r| board::text(r.as_deref())).collect::<Vec<_>>(), [&a[..8], &b[..8], "absent", "error"]);
    assert_eq!(board::text(row(Status::Resolved, None, Some("0123456789"), &[]).as_deref()), "01234567");
}

#[test]
fn timeline_merges_registry_and_dlrn_promotions() {
    // It marks partial promotions and roll-backs, and counts a promotion that both report once.
    let (_, plan, grid, rows) =
        made(&["r.example/n/a:current-tripleo", "r.example/n/b:current-tripleo"], &[PROMOTED], vec![None, None]);
    let period = |start: u64, end: Option<u64>, hash: &str| TagPeriod {
        start: Timestamp(start),
        end: end.map(Timestamp),
        digest: digest(hash),
        hash: Some(hash.to_owned()),
    };
    let facts = |a: Vec<TagPeriod>, b: Vec<TagPeriod>| {
        let mut facts = Facts { asked_at: Timestamp(100 * DAY), ..Facts::default() };
        for (i, periods) in [a, b].into_iter().enumerate() {
            let repository = plan.images[i].reference.as_ref().expect("a reference").repository.clone();
            facts.answers.insert(Query::History { repository, tag: PROMOTED.to_owned() }, Ok(Answer::History(periods)));
        }
        facts
    };
    type Reported = (String, u64, Option<(usize, usize)>, bool);
    let reported = |facts: &Facts, pipeline: &Pipeline| -> Vec<Reported> {
        let timeline = Timeline::new(&grid, &plan, &rows, facts, pipeline);
        timeline.events.into_iter().map(|e| (e.hash, e.first.0, e.images, e.is_rollback)).collect()
    };
    let own = |hash: &str, at: u64, n: usize, back: bool| (hash.to_owned(), at, Some((n, 2)), back);
    let nothing = Pipeline::default();
    // b never gets the second hash; then both are back at the first.
    let periods =
        facts(vec![period(30, None, "x"), period(20, Some(30), "y"), period(10, Some(20), "x")], vec![period(11, None, "x")]);
    assert_eq!(reported(&periods, &nothing), [own("x", 30, 1, true), own("y", 20, 1, false), own("x", 10, 2, false)]);
    // The tag is deleted and set again to the same hash: that is not a roll-back.
    let periods =
        facts(vec![period(30, None, "x"), period(10, Some(20), "x")], vec![period(31, None, "x"), period(11, Some(20), "x")]);
    assert_eq!(reported(&periods, &nothing), [own("x", 10, 2, false)]);
    // DLRN reports the same promotion, and one that the registry has forgotten, in one row per component.
    let promotion = |hash: &str, at: u64| overtag::engine::pipeline::Promotion {
        at: Timestamp(at),
        channel: PROMOTED.to_owned(),
        hash: hash.to_owned(),
        ..Default::default()
    };
    let pipeline = Pipeline {
        promotions: vec![promotion("x", 90 * DAY), promotion("w", DAY + 9), promotion("w", DAY)],
        ..Pipeline::default()
    };
    let periods = facts(vec![period(90 * DAY + 60, None, "x")], vec![period(90 * DAY + 90, None, "x")]);
    // DLRN knows the time of it. The registry's oldest push may be a later push of the same hash.
    assert_eq!(reported(&periods, &pipeline), [own("x", 90 * DAY, 2, false), ("w".to_owned(), DAY, None, false)]);
}

#[test]
fn quay_history_splits_into_promotions() {
    // Pushes are grouped into promotions, whether or not a tag still names their hash.
    const HOUR: u64 = 3600;
    let images = ["r.example/n/a:current-tripleo", "r.example/n/b:current-tripleo", "r.example/n/c:current-tripleo"];
    let (_, plan, grid, rows) = made(&images, &[PROMOTED], vec![None, None, None]);
    // For each image: its hash tags with digest and time, and the pushes of the channel, oldest first.
    type Reported<'a> = (&'a [(&'a str, &'a str, u64)], &'a [(u64, &'a str)]);
    let facts = |all: [Reported<'_>; 3]| {
        let mut facts = Facts { asked_at: Timestamp(100 * DAY), ..Facts::default() };
        for (image, (tags, pushes)) in plan.images.iter().zip(all) {
            let repository = image.reference.as_ref().expect("a reference").repository.clone();
            let active = |(tag, digest, at): &(&str, &str, u64)| {
                ((*tag).to_owned(), Active { digest: self::digest(digest), moved_at: Some(Timestamp(*at)) })
            };
            let overview = Overview { tags: tags.iter().map(active).collect(), whole: true, ..Overview::default() };
            facts.answers.insert(Query::Overview { repository: repository.clone() }, Ok(Answer::Overview(Ok(overview))));
            let period = |(at, digest): &(u64, &str)| TagPeriod {
                start: Timestamp(*at),
                end: None,
                digest: self::digest(digest),
                hash: None,
            };
            let periods = pushes.iter().rev().map(period).collect();
            facts.answers.insert(Query::History { repository, tag: PROMOTED.to_owned() }, Ok(Answer::History(periods)));
        }
        facts
    };
    let (one, two) = (hash(1), hash(2));
    let reported = |facts: &Facts| -> Vec<(String, u64, u64, usize, bool)> {
        let timeline = Timeline::new(&grid, &plan, &rows, facts, &Pipeline::default());
        let short = |hash: &str| match hash {
            h if h == one => "one".to_owned(),
            h if h == two => "two".to_owned(),
            other => other.to_owned(),
        };
        let of = |e: &overtag::engine::board::timeline::Event| {
            (short(&e.hash), e.first.0, e.last.0, e.images.map_or(0, |(n, _)| n), e.is_rollback)
        };
        timeline.events.iter().map(of).collect()
    };
    let event = |name: &str, first: u64, last: u64, n: usize| (name.to_owned(), first, last, n, false);

    // The second build leaves a unchanged: it is promoted with the others, and nothing is rolled back.
    let changed: Reported<'_> = (&[(&one, "1", 9), (&two, "2", 99)], &[(10, "1"), (100, "2")]);
    let left: Reported<'_> = (&[(&one, "1", 9), (&two, "1", 99)], &[(10, "1"), (101, "1")]);
    let expected = [event("two", 100, 101, 3), event("one", 10, 10, 3)];
    assert_eq!(reported(&facts([left, changed, changed])), expected);
    // If it is not pushed again, it has not moved.
    let still: Reported<'_> = (&[(&one, "1", 9), (&two, "1", 99)], &[(10, "1")]);
    assert_eq!(reported(&facts([still, changed, changed])), [event("two", 100, 100, 2), event("one", 10, 10, 3)]);
    // If all images are left unchanged and are not pushed again, only one promotion is seen.
    let alone = facts([still, still, still]);
    assert_eq!(reported(&alone), [event("one", 10, 10, 3)]);

    // A hash that no tag names any more is one promotion too, and so is one that is pushed repeatedly.
    let gone: Reported<'_> =
        (&[(&two, "2", 9 * DAY)], &[(DAY, "0"), (5 * DAY, "1"), (10 * DAY, "2"), (12 * DAY, "2"), (14 * DAY, "2")]);
    let other: Reported<'_> =
        (&[(&two, "22", 9 * DAY)], &[(DAY + 60, "00"), (5 * DAY + HOUR, "11"), (10 * DAY + 60, "22"), (12 * DAY, "22")]);
    let expected = [
        event("two", 10 * DAY, 10 * DAY + 60, 3),
        event(&digest("1"), 5 * DAY, 5 * DAY + HOUR, 3),
        event(&digest("0"), DAY, DAY + 60, 3),
    ];
    assert_eq!(reported(&facts([gone, other, other])), expected);

    // Rolled back to the first hash by a push.
    let back: Reported<'_> = (&[(&one, "1", 9), (&two, "2", 99)], &[(10, "1"), (100, "2"), (9000, "1")]);
    let told_back = reported(&facts([back, back, back]));
    assert_eq!(told_back[0], ("one".to_owned(), 9000, 9000, 3, true));
    assert_eq!(told_back.len(), 3);

    // The second build leaves all images unchanged and is promoted. If the first was pushed again instead, the majority decides.
    assert_eq!(reported(&facts([left, left, left])), [event("two", 101, 101, 3), event("one", 10, 10, 3)]);
    let again: Reported<'_> = (&[(&one, "1", 9)], &[(10, "1"), (101, "1")]);
    assert_eq!(reported(&facts([left, again, again])), [event("one", 10, 10, 3)]);

    // A roll-back to a hash that no tag names, whichever image is first. An image not promoted at first does not count there.
    let lost: Reported<'_> = (&[], &[(DAY + 60, "1"), (5 * DAY, "2"), (10 * DAY, "1")]);
    let lost_too: Reported<'_> = (&[], &[(DAY, "11"), (5 * DAY, "22"), (10 * DAY + 60, "11")]);
    let mut back = event(&digest("11"), 10 * DAY, 10 * DAY + 60, 3);
    back.4 = true;
    let expected = [back, event(&digest("2"), 5 * DAY, 5 * DAY, 3), event(&digest("11"), DAY, DAY + 60, 3)];
    assert_eq!(reported(&facts([lost, lost_too, lost_too])), expected);
    let late: Reported<'_> = (&[], &[(DAY + 20 * HOUR, "2")]);
    let early: Reported<'_> = (&[], &[(DAY + 10 * HOUR, "1"), (DAY + 20 * HOUR, "2")]);
    let expected =
        [event(&digest("2"), DAY + 20 * HOUR, DAY + 20 * HOUR, 3), event(&digest("1"), DAY + 10 * HOUR, DAY + 10 * HOUR, 2)];
    assert_eq!(reported(&facts([late, early, early])), expected);

    // One image follows after the others have moved on: nothing is rolled back.
    let tags: &[_] = &[(one.as_str(), "1", 9), (two.as_str(), "2", 99)];
    let on: Reported<'_> = (tags, &[(10, "1"), (100, "2")]);
    let behind: Reported<'_> = (tags, &[(3 * HOUR, "1"), (5 * HOUR, "2")]);
    assert_eq!(reported(&facts([on, on, behind])), [event("two", 100, 5 * HOUR, 3), event("one", 10, 3 * HOUR, 3)]);

    // A repeated push within seconds counts once, whatever tags still exist. An image with both hashes that is pushed alone
    // is late or was pushed again: it is not a promotion by itself.
    let twice: Reported<'_> = (&[], &[(100, "1"), (105, "1")]);
    let once: Reported<'_> = (&[], &[(110, "1")]);
    assert_eq!(reported(&facts([twice, once, once])), [event(&digest("1"), 100, 110, 3)]);
    let both: Reported<'_> = (&[(&one, "1", 9), (&two, "1", 50)], &[(100, "1"), (105, "1"), (100 + 24 * HOUR, "1")]);
    let later: Reported<'_> = (&[(&one, "1", 9), (&two, "2", 50)], &[(110, "1"), (100 + 24 * HOUR, "2")]);
    assert_eq!(
        reported(&facts([both, later, later])),
        [event("two", 100 + 24 * HOUR, 100 + 24 * HOUR, 3), event("one", 100, 110, 3)]
    );
    let again: Reported<'_> = (&[(&one, "1", 9), (&two, "1", 50)], &[(100, "1"), (100 + 2 * HOUR, "1")]);
    let gone_on: Reported<'_> = (&[(&one, "1", 9), (&two, "2", 50)], &[(110, "1")]);
    assert_eq!(reported(&facts([again, gone_on, gone_on])), [event("one", 100, 110, 3)]);
    let straggler: Reported<'_> = (&[(&one, "1", 9), (&two, "1", 50)], &[(100 + 2 * HOUR, "1")]);
    assert_eq!(reported(&facts([straggler, gone_on, gone_on])), [event("one", 110, 100 + 2 * HOUR, 3)]);

    // Two images return to a hash whose first promotion is forgotten, and one stayed at it.
    let stayed: Reported<'_> = (&[(&one, "1", 9)], &[(10, "1")]);
    let came: Reported<'_> = (&[(&one, "1", 9), (&two, "2", 50)], &[(DAY, "2"), (5 * DAY, "1")]);
    let mut back = event("one", 5 * DAY, 5 * DAY, 2);
    back.4 = true;
    assert_eq!(reported(&facts([came, came, stayed])), [back, event("two", DAY, DAY, 2), event("one", 10, 10, 1)]);

    // One image is rolled back while another moves to a new hash: only the first is a roll-back.
    let alone: Reported<'_> = (&[], &[(DAY, "1"), (5 * DAY, "2"), (10 * DAY, "1")]);
    let new: Reported<'_> = (&[], &[(DAY, "11"), (5 * DAY, "22"), (10 * DAY, "33")]);
    let told_of = reported(&facts([alone, new, stayed]));
    assert!(told_of.contains(&(digest("1").to_string(), 10 * DAY, 10 * DAY, 1, true)), "{told_of:?}");
    assert!(told_of.contains(&(digest("33").to_string(), 10 * DAY, 10 * DAY, 1, false)), "{told_of:?}");

    // It is behind since the channel before it left the hash, however often that one moved or was pushed later.
    let (_, plan, grid, rows) = made(&images[..1], &["tripleo-ci-testing", PROMOTED], vec![None, None]);
    let repository = plan.images[0].reference.as_ref().expect("a reference").repository.clone();
    let periods = |all: &[(u64, &str)]| {
        let period = |(at, hash): &(u64, &str)| TagPeriod {
            start: Timestamp(*at),
            end: None,
            digest: digest(hash),
            hash: Some((*hash).to_owned()),
        };
        Ok(Answer::History(all.iter().rev().map(period).collect()))
    };
    let mut facts = Facts { asked_at: Timestamp(100 * DAY), ..Facts::default() };
    let query = |tag: &str| Query::History { repository: repository.clone(), tag: tag.to_owned() };
    facts.answers.insert(
        query("tripleo-ci-testing"),
        periods(&[(DAY, "x"), (4 * DAY, "y"), (6 * DAY, "y"), (8 * DAY, "z"), (9 * DAY, "z")]),
    );
    facts.answers.insert(query(PROMOTED), periods(&[(2 * DAY, "x"), (9 * DAY, "x")]));
    let timeline = Timeline::new(&grid, &plan, &rows, &facts, &Pipeline::default());
    let lag = Lag { differ: 1, ..Lag::default() };
    let stage = |channel: &str, hash: &str, lag| Stage {
        channel: channel.to_owned(),
        hash: Some(hash.to_owned()),
        pushed_at: Some(Timestamp(9 * DAY)),
        lag,
        ..Stage::default()
    };
    let mut stages = [stage("tripleo-ci-testing", "z", None), stage(PROMOTED, "x", Some(lag))];
    timeline.inform(&mut stages);
    let lag = stages[1].lag.as_ref().expect("it was given");
    assert_eq!((lag.promotions, lag.since), (Some(2), Some(Timestamp(4 * DAY))));
    assert_eq!(
        (stages[0].promoted_at, stages[1].promoted_at),
        (Some(Timestamp(8 * DAY)), Some(Timestamp(2 * DAY))),
        "not when it was pushed again"
    );
}

#[test]
fn namespaces_are_promoted_independently() {
    let images = ["r.example/n/a:current-tripleo", "r.example/n/b:current-tripleo", "r.example/m/c:current-tripleo"];
    let (_, plan, grid, rows) = made(&images, &[PROMOTED], vec![None, None, None]);
    let facts = |all: [&[(u64, &str, Option<&str>)]; 3]| {
        let mut facts = Facts { asked_at: Timestamp(100 * DAY), ..Facts::default() };
        for (image, periods) in plan.images.iter().zip(all) {
            let repository = image.reference.as_ref().expect("a reference").repository.clone();
            let period = |(start, digest, hash): &(u64, &str, Option<&str>)| TagPeriod {
                start: Timestamp(*start),
                end: None,
                digest: self::digest(digest),
                hash: hash.map(str::to_owned),
            };
            let periods = periods.iter().rev().map(period).collect();
            facts.answers.insert(Query::History { repository, tag: PROMOTED.to_owned() }, Ok(Answer::History(periods)));
        }
        Timeline::new(&grid, &plan, &rows, &facts, &Pipeline::default())
    };
    let reported = |timeline: &Timeline| -> Vec<(String, u64, usize, bool)> {
        timeline.events.iter().map(|e| (e.hash.clone(), e.first.0, e.images.map_or(0, |(n, _)| n), e.is_rollback)).collect()
    };
    let own = |hash: &str, at: u64, n: usize| (hash.to_owned(), at, n, false);
    let behind = |timeline: &Timeline, hash: &str| {
        let of = |channel: &str, lag| Stage { channel: channel.to_owned(), hash: Some(hash.to_owned()), lag, ..Stage::default() };
        let mut stages = [of(PROMOTED, None), of("next", Some(Lag { differ: 1, ..Lag::default() }))];
        timeline.inform(&mut stages);
        stages[1].lag.as_ref().and_then(|lag| Some((lag.promotions?, lag.since?.0)))
    };
    let (a, b) = (&[(10, "1", Some("one")), (DAY, "2", Some("two"))], &[(8000, "1", Some("one")), (DAY, "2", Some("two"))]);
    let of_own = facts([a, b, &[(20, "3", Some("three")), (2 * DAY, "4", Some("four"))]]);
    assert_eq!(reported(&of_own), [own("four", 2 * DAY, 1), own("two", DAY, 2), own("three", 20, 1), own("one", 10, 2)]);
    assert_eq!(behind(&of_own, "one"), Some((1, DAY)));
    // A digest without a hash in one namespace is not the other namespace's hash, even if both were seen at once.
    let unnamed = facts([a, b, &[(10, "3", None), (DAY, "4", None)]]);
    assert_eq!(reported(&unnamed), [own(&digest("4"), DAY, 1), own("two", DAY, 2), own("one", 10, 2), own(&digest("3"), 10, 1)]);
    // If two hashes were first seen at once, nothing shows which came first.
    let torn = facts([&[(DAY, "1", Some("one"))], &[(DAY, "2", Some("two"))], &[]]);
    assert_eq!(["one", "two"].map(|hash| behind(&torn, hash)), [None, None]);
}

#[test]
fn pipeline_responses_are_never_guessed() {
    for odd in ["", "null", "{}", "[1, null, \"x\"]", "{\"promotions\": {}}", "[{\"timestamp\": null}]", "[{\"timestamp\": 5}]"] {
        assert!(read_promotions(odd).unwrap_or_default().is_empty(), "{odd}");
        assert!(read_votes(odd).unwrap_or_default().is_empty(), "{odd}");
    }
    let (commit, distro) = ("a".repeat(40), "b".repeat(40));
    let extended = format!("{}_{}", "c".repeat(40), "d".repeat(40));
    for (more, expected) in [
        (json!(null), format!("{commit}_bbbbbbbb")),
        (json!("None"), format!("{commit}_bbbbbbbb")),
        (json!(&extended[..40]), format!("{commit}_bbbbbbbb_cccccccc")),
        (json!(extended), format!("{commit}_bbbbbbbb_cccccccc_dddddddd")),
    ] {
        let body = json!([{ "timestamp": 7.0, "commit_hash": commit, "distro_hash": distro, "extended_hash": more, "promote_name": "c", "repo_hash": format!("{commit}_bbbbbbbb") }]);
        let read = read_promotions(&body.to_string()).expect("promotions");
        assert_eq!((read[0].hash.as_str(), read[0].at), (expected.as_str(), Timestamp(7)));
    }
    // A batch as DLRN keeps it: only its last row names the aggregate.
    let row = |aggregate: Value| json!({ "timestamp": 7, "commit_hash": commit, "distro_hash": distro, "aggregate_hash": aggregate, "promote_name": "c", "component": "nova" });
    let aggregate = "0123456789abcdef0123456789abcdef";
    let read =
        read_promotions(&json!([row(json!(aggregate)), row(json!(null)), row(json!(null))]).to_string()).expect("promotions");
    assert_eq!(read.iter().map(|p| p.hash.as_str()).collect::<Vec<_>>(), [aggregate]);
    assert_eq!(read_build("[]"), Ok(None));
    let build = read_build(r#"[{"result":"FAILURE","end_time":"2017-05-30T00:49:16","log_url":"https://l.example/"}]"#)
        .expect("JSON")
        .expect("a build");
    assert_eq!((build.result.as_str(), build.at), ("FAILURE", Timestamp(EPOCH)));

    // The promoter's file, then DLRN, then Zuul: each is asked only what is still open, and nothing is requested twice.
    let choices = chosen(&[
        ("channels", "tripleo-ci-testing,current-tripleo,lonely"),
        ("criteria", "https://c.example/x.yaml"),
        ("dlrn", "https://d.example/api"),
        ("zuul", "https://z.example/t"),
    ]);
    let settings = Settings::new(&choices, true).0;
    let candidate = hash(2);
    let hash_of = |channel: &str| match channel {
        "tripleo-ci-testing" => Some(hash(2)),
        "current-tripleo" => Some(hash(1)),
        _ => None,
    };
    let mut pipeline = Pipeline::default();
    let mut asked = Vec::new();
    for _ in 0..20 {
        let wants = pipeline.next_fetches(&settings, &hash_of, true);
        if wants.is_empty() {
            break;
        }
        for want in wants {
            let answer = match want.url.as_str() {
                "https://c.example/x.yaml" => Ok(CRITERIA.to_owned()),
                url if url.contains("promote_name=tripleo-ci-testing") => Ok(json!([{ "timestamp": 5, "promote_name": "tripleo-ci-testing", "commit_hash": &candidate[..40], "distro_hash": format!("{}{}", &candidate[41..], "5".repeat(32)) }]).to_string()),
                url if url.contains("/api/promotions") => Ok("[]".to_owned()),
                url if url.contains("_status") => Ok(r#"[{"job_id":"job-passed","success":true,"timestamp":1},{"job_id":"job-failed","success":false,"timestamp":2,"url":"javascript:alert(1)"}]"#.to_owned()),
                url if url.contains("job-failed") => Ok(r#"[{"result":"FAILURE","end_time":"2017-05-30T00:49:16","log_url":"https://l.example/f"}]"#.to_owned()),
                url if url.contains("job-missing") => Ok("[]".to_owned()),
                _ => Err("the server returned 500".to_owned()),
            };
            asked.push(want.url.clone());
            pipeline.take(want.clone(), &want.url, Timestamp(EPOCH + 3600), answer);
        }
    }
    assert_eq!(asked.iter().filter(|u| u.contains("_status")).count(), 1, "{asked:?}");
    let once: std::collections::BTreeSet<&String> = asked.iter().collect();
    assert_eq!(once.len(), asked.len(), "{asked:?}");
    let WhyNot::Held { passed, of, blockers, .. } = pipeline.why_not(&settings, PROMOTED, &hash_of, Timestamp(EPOCH + 3600))
    else {
        panic!("it is held")
    };
    assert_eq!((passed, of, blockers.len()), (1, 5, 4));
    let failed = &blockers[0];
    assert_eq!(failed.url.as_deref(), Some("https://l.example/f"), "only an address of the web is a link");
    assert!(failed.sentence.ends_with("its last build in Zuul ended in FAILURE 1 h ago."), "{}", failed.sentence);
    assert!(blockers.iter().any(|b| b.job == "job-missing" && b.sentence.ends_with("Zuul has no build of it.")), "{blockers:?}");
    assert!(!pipeline.failures.is_empty(), "what could not be read is reported");
    let WhyNot::Unknown { message, .. } = pipeline.why_not(&settings, "lonely", &hash_of, Timestamp(0)) else {
        panic!("it is reported")
    };
    assert!(message.contains("does not list lonely"), "{message}");
    // Without votes nothing has passed and nothing failed, whatever Zuul ran last. Its builds are listed separately.
    let unvoted = Pipeline { votes: BTreeMap::new(), ..pipeline.clone() };
    let WhyNot::Unknown { message, builds } = unvoted.why_not(&settings, PROMOTED, &hash_of, Timestamp(EPOCH + 3600)) else {
        panic!("nobody voted")
    };
    assert!(message.contains("which it passed is not known"), "{message}");
    let reported: Vec<&str> = builds.iter().map(|b| b.sentence.as_str()).collect();
    assert!(reported.contains(&"job-failed: its last build in Zuul ended in FAILURE 1 h ago."), "{reported:?}");
    let level = |_: &str| Some(hash(2));
    assert_eq!(pipeline.why_not(&settings, PROMOTED, &level, Timestamp(0)), WhyNot::InSync("tripleo-ci-testing".to_owned()));
}

#[test]
fn two_files_compare_image_by_image() {
    let file = |name: &str, text: &str| Side::of_file(&Source { name: name.to_owned(), text: text.to_owned() });
    let list = |host: &str, images: &[(&str, &str)]| {
        let entries: String = images.iter().map(|(name, tag)| format!("- imagename: {host}/n/{name}{tag}\n")).collect();
        format!("# a head\ncontainer_images:\n{entries}")
    };
    let digest = format!("@sha256:{}", "a".repeat(64));
    let old = file("old.yaml", &list("a.example", &[("same", ":1"), ("moved", ":1"), ("gone", ":1"), ("pinned", &digest)]))
        .expect("a side");
    let new = file("new.yaml", &list("b.example:5000", &[("same", ":1"), ("moved", ":2"), ("new", ":2"), ("pinned", &digest)]))
        .expect("a side");
    let changes: BTreeMap<String, Change> = compare(&old, &new).into_iter().collect();
    let own = |text: &str| text.to_owned();
    assert_eq!(changes["same"], Change::Unchanged(Some(own("1"))), "of another registry, and the same");
    assert_eq!(changes["moved"], Change::Moved(own("1"), own("2")));
    assert_eq!(changes["gone"], Change::Removed(own("1")));
    assert_eq!(changes["new"], Change::Added(own("2")));
    assert_eq!(changes["pinned"], Change::Unchanged(Some(digest[1..].to_owned())));
    let reported = diffs(&old, &new);
    assert!(
        reported.len() == 1
            && reported[0].1.contains("-- imagename: a.example/n/gone:1\n")
            && reported[0].1.contains("+- imagename: b.example:5000/n/new:2\n"),
        "{reported:?}"
    );
    assert!(!reported[0].1.contains("a head"), "heads differ always");
    assert_eq!(diffs(&old, &old), [("overcloud_containers.yaml", String::new())]);

    let heat = file("env.yaml", "parameter_defaults:\n  ContainerNovaApiImage: a.example/n/nova-api:1\n").expect("a side");
    assert_eq!(heat.entries.len(), 1);
    assert!(diffs(&old, &heat).is_empty(), "they are of different kinds");
    let wrong = file("odd.yaml", "a: 1\n").expect_err("it is neither");
    assert!(wrong.to_string().contains("odd.yaml") && wrong.message.contains("neither"), "{wrong}");

    // An image that could not be asked on one side is unknown, never removed.
    let mut broken = old.clone();
    broken.entries.insert(own("same"), overtag::engine::output::compare::Entry::Unknown(own("it was private")));
    assert!(compare(&old, &broken).contains(&(own("same"), Change::Unknown(own("it was private")))));
}

#[test]
fn stage_sentence_shows_lag_and_lateness() {
    let lag = |differ: usize, promotions: Option<usize>, since: Option<u64>| {
        let lag =
            Lag { before: "consistent".to_owned(), same: 1, differ, since: since.map(Timestamp), promotions, ..Lag::default() };
        lag.sentence(Timestamp(10 * DAY))
    };
    assert_eq!(lag(2, None, None), "differs from consistent in 2 of 3 images");
    assert_eq!(lag(2, Some(1), Some(9 * DAY)), "1 promotion behind consistent in 2 of 3 images, for 24 h");
    assert_eq!(lag(2, Some(4), Some(5 * DAY)), "4 promotions behind consistent in 2 of 3 images, for 5 d");
    let stage = Stage { promoted_at: Some(Timestamp(DAY)), ..Stage::default() };
    assert_eq!(
        stage.lateness(Timestamp(5 * DAY), [Duration::from_secs(3 * DAY), Duration::from_secs(7 * DAY)]),
        Some(Lateness::Late)
    );
}

#[test]
fn quay_push_of_same_image_promotes_nothing() {
    const CHANNEL: &str = "current-tripleo";
    let now = 1_780_102_156;
    // As Quay's mirrors do: every tag is pushed again each day, with the same digest.
    let mirrored = |path: &str| {
        let mut repository = quay::Repository::new(path);
        repository.state = "MIRROR";
        let hash = quay::hash_tag(0);
        let digest = repository.add(quay::Manifest::image(path, &[("rdo_version", &hash)]));
        for day in (0..20).rev() {
            repository.tag(&hash, &digest, now - day * DAY - 3700);
            repository.tag(CHANNEL, &digest, now - day * DAY - 3600);
        }
        repository
    };
    let quay = Quay::start(["ns/alpha", "ns/beta"].map(mirrored).to_vec());
    quay.set_now(now);
    let here =
        Here { namespace: format!("{}/ns", quay.host), prefix: "", ..Here::at(&quay.host, &["alpha", "beta"], &[CHANNEL]) };
    let table = |more: &[&str]| text(&here.run("board", &[&["--api", "quay"], more].concat(), now).stdout);
    let plain = table(&[]);
    assert!(plain.contains("pushed 1 h ago") && !plain.contains("promoted"), "{plain}");
    let reported = table(&["--history"]);
    assert!(
        reported.contains("promoted 14 d ago or earlier (very late)") && reported.contains("2 of 2 images, or earlier"),
        "{reported}"
    );
}
