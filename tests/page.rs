//! The page in Chromium, as a person meets it. Byte for byte it is held to the command line, and row for row to what the
//! registry was seeded with.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use overtag::engine::time::utc;
use serde_json::{Value, json};
use support::browser::{Browser, Options, Page};
use support::proxy::{Fault, Proxy};
use support::registry::{Image, NAMESPACE, PREFIX, PROMOTED, Registry, Seed};
use support::site::Site;

/// How long a run may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);
/// No name is known: what a test forgets to bring is missed, not fetched from the world.
const NO_NAMES: &str = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1";
const CONTAINERS: &str = "Download overcloud_containers.yaml";
const ENVIRONMENT: &str = "Download overcloud_images.yaml";
const LIST: &str = "Download image list";
const STATUS: [&str; 4] = ["resolved", "absent", "unresolved", "error"];

// -- what stands around the page

fn options() -> Options {
    Options { host_resolver_rules: Some(NO_NAMES.to_owned()), ..Options::default() }
}

fn page(options: &Options) -> Page {
    static BROWSER: OnceLock<Browser> = OnceLock::new();
    BROWSER.get_or_init(Browser::start).page(options)
}

fn dist() -> &'static Path {
    let dist = Path::new("dist");
    assert!(dist.join("index.html").is_file(), "there is no dist/index.html: run make build first");
    dist
}

fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| Site::start(dist(), "/some/deep/path/"))
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry::start(Path::new(support::CACHE), &support::names()))
}

/// A host of its own, readable from any page, with a template of all seeded images.
fn templates() -> &'static Site {
    static TEMPLATES: OnceLock<Site> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page-templates");
        fs::create_dir_all(&folder).expect("a folder for the template");
        fs::write(folder.join("all.yaml.j2"), support::template(&support::names())).expect("the template is written");
        Site::with_headers(&folder, "/templates/", &[("Access-Control-Allow-Origin", "*")])
    })
}

/// A registry that has nothing.
fn nothing() -> Proxy {
    Proxy::fake(|_| Some(Fault::registry_error(404, "MANIFEST_UNKNOWN")))
}

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The address of the page with these choices.
fn address(pairs: &[(&str, &str)]) -> String {
    format!("{}?{}", site().url, query(pairs))
}

/// The choices for all seeded images, asked of `host`.
fn seeded(host: &str) -> Vec<(String, String)> {
    let template = format!("{}all.yaml.j2", templates().url);
    let pairs = [("template", template), ("namespace", format!("{host}/{NAMESPACE}")), ("name_prefix", PREFIX.into())];
    pairs.into_iter().chain([("tag", PROMOTED.into())]).map(|(k, v)| (k.to_owned(), v)).collect()
}

fn seeded_address(host: &str) -> String {
    let pairs = seeded(host);
    address(&pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>())
}

fn overtag(args: &[&str], epoch: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overtag"));
    command.args(args).env_remove("SOURCE_DATE_EPOCH").envs(epoch.map(|e| ("SOURCE_DATE_EPOCH", e)));
    command.output().expect("overtag runs")
}

/// What the command line reports for a link.
fn report(link: &str, more: &[&str]) -> Value {
    let done = overtag(&[&["prepare", "--link", link, "--format", "json"], more].concat(), None);
    serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&done.stderr)))
}

/// The texts under `key` of each of a list.
fn each(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|v| v[key].as_str().unwrap_or_default().to_owned()).collect()
}

// -- what the page shows

fn done(page: &Page) {
    page.wait_for("document.querySelector('main')?.getAttribute('aria-busy') === 'false'", LIMIT);
}

fn visit(page: &Page, url: &str) {
    page.open(url);
    done(page);
}

fn open(url: &str) -> Page {
    let page = page(&options());
    visit(&page, url);
    page
}

/// A row of the table.
#[derive(Debug)]
struct Row {
    name: Vec<String>,
    tag: Vec<String>,
    pinned_by: String,
    status: String,
    notes: Vec<String>,
}

fn rows(page: &Page) -> Vec<Row> {
    let words = |text: Option<&String>| text.map_or("", String::as_str).split_whitespace().map(str::to_owned).collect();
    let row = |record: BTreeMap<String, String>| {
        let mut status: Vec<String> = words(record.get("Status"));
        let notes = status.split_off(status.len().min(1));
        let mut tag: Vec<String> = words(record.get("Tag"));
        tag.extend(words(record.get("Tag@title")));
        Row { name: words(record.get("Image")), tag, pinned_by: record["Pinned by"].clone(), status: status.concat(), notes }
    };
    page.table("Images").into_iter().map(row).collect()
}

fn count(rows: &[Row], status: &str) -> usize {
    rows.iter().filter(|r| r.status == status).count()
}

/// Where a row contradicts the seed; a row in error contradicts nothing.
fn contradiction(row: &Row, image: &Image, seed: &Seed) -> Option<String> {
    let of = |list: &[String]| list.contains(&image.short);
    let is_right = match (row.status.as_str(), image.hash(PROMOTED)) {
        ("error", _) => row.pinned_by.is_empty(),
        ("absent", None) => row.notes.is_empty() && row.pinned_by.is_empty(),
        ("resolved", Some(hash)) => {
            row.tag.iter().any(|t| t == hash)
                && ["label", "sibling"].contains(&row.pinned_by.as_str())
                && row.notes.iter().all(|n| n == "torn" && of(&seed.torn) || n == "mismatch" && of(&seed.mismatched))
                && row.notes.contains(&"torn".to_owned()) == of(&seed.torn)
        }
        _ => false,
    };
    (!is_right).then(|| format!("{}: {row:?}", image.short))
}

/// Compares all rows with the seed; rows in error may be, others must be right.
fn assert_true(rows: &[Row], seed: &Seed) {
    assert_eq!(rows.len(), seed.images.len());
    let row = |short: &String| rows.iter().find(|r| r.name.contains(short)).unwrap_or_else(|| panic!("there is no row {short}"));
    let wrong: Vec<String> = seed.images.iter().filter_map(|(short, image)| contradiction(row(short), image, seed)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// As [`assert_true`], with no row in error.
fn assert_whole(rows: &[Row], seed: &Seed) {
    assert_true(rows, seed);
    assert_eq!(count(rows, "error"), 0);
    assert_eq!(count(rows, "absent"), seed.new.len());
}

fn assert_same(what: &str, of_page: &[u8], of_command: &[u8]) {
    let (page, command) = (String::from_utf8_lossy(of_page), String::from_utf8_lossy(of_command));
    let differing = page.lines().zip(command.lines()).find(|(p, c)| p != c);
    assert!(of_page == of_command, "{what}: page {} bytes, command line {}: {differing:#?}", page.len(), command.len());
}

/// Downloads the three files and compares them with what the command line writes for the same link.
fn assert_same_files(page: &Page, link: &str) {
    let (name, containers) = page.download_file(CONTAINERS);
    assert_eq!(name, "overcloud_containers.yaml");
    let (name, environment) = page.download_file(ENVIRONMENT);
    assert_eq!(name, "overcloud_images.yaml");
    let text = String::from_utf8_lossy(&containers);
    let time = text.lines().find_map(|l| l.strip_prefix("# Time: ")).expect("the head names the time");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let epoch = (now - 3600..=now).rev().find(|t| utc(*t) == time).expect("the files are of this hour").to_string();
    let folder = tempfile::tempdir().expect("a folder for the files");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (first, second) = (path("containers"), path("images"));
    let args = ["prepare", "--link", link, "--output-images-file", &first, "--output-env-file", &second];
    let written = overtag(&args, Some(&epoch));
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert_same(CONTAINERS, &containers, &fs::read(first).expect("written"));
    assert_same(ENVIRONMENT, &environment, &fs::read(second).expect("written"));
    assert_same(LIST, &page.download(LIST), &overtag(&["list-images", "--link", link], None).stdout);
}

/// Errors of the console, less the browser's own lines about a 404 of the demo registry: that is how it says "absent".
fn console_errors(page: &Page) -> Vec<String> {
    let is_absence = |e: &String| e.contains("/demo/v2/") && e.contains("404");
    page.console_errors().into_iter().filter(|e| !is_absence(e)).collect()
}

fn screenshot(page: &Page, name: &str) {
    page.screenshot(&Path::new("target/screenshots").join(format!("{name}.png")));
}

fn assert_accessible(page: &Page, what: &str) {
    let axe = fs::read_to_string("target/tools/npm-axe-core/node_modules/axe-core/axe.min.js");
    let violations = page.axe(&axe.expect("axe is there: run make test, which fetches it"));
    assert!(violations.is_empty(), "{what}:\n{}", violations.iter().map(|v| format!("{v}\n")).collect::<String>());
}

/// Unfolds the choices.
fn unfold(page: &Page) {
    page.eval("document.querySelectorAll('main details').forEach(d => { d.open = true })", &[]);
}

/// Puts a text into a field all at once, as pasting does.
fn paste(page: &Page, label: &str, text: &str) {
    page.click("textbox", label);
    page.press("Control+a");
    page.cdp("Input.insertText", &json!({ "text": text }));
}

/// What every field, list and box of the form holds.
fn form(page: &Page) -> Vec<(String, String, Option<bool>)> {
    let roles = ["textbox", "searchbox", "combobox", "spinbutton", "checkbox"];
    roles.iter().flat_map(|r| page.controls(r)).map(|c| (c.name, c.value, c.checked)).collect()
}

fn assert_shows(page: &Page, words: &[&str]) {
    let text = page.text();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

// -- the tests

#[test]
fn the_demo_is_whole_with_no_network_but_the_site_and_equals_the_command_line() {
    // What the policy forbids is blocked, and the console says so.
    let policy = "default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
                  img-src 'self' data:; connect-src 'self'";
    let site = Site::with_headers(dist(), "/some/deep/path/", &[("Content-Security-Policy", policy)]);
    let page = page(&options());
    visit(&page, &site.url);
    let expected = report("", &[]);
    let rows = rows(&page);
    assert_eq!(rows.len(), 91);
    for (row, image) in rows.iter().zip(expected["images"].as_array().expect("a list")) {
        let text = |key: &str| image[key].as_str().unwrap_or_default().to_owned();
        let notes: Vec<String> = serde_json::from_value(image["notes"].clone()).expect("a list of words");
        let (name, _) = image["image"].as_str().and_then(|i| i.rsplit_once(':')).expect("a name with a tag");
        assert!(row.name.iter().any(|w| w == name), "{name}: {row:?}");
        assert!(row.tag.contains(&text("tag")), "{name}: {row:?}");
        assert_eq!((&row.status, &row.pinned_by, &row.notes), (&text("status"), &text("pinned_by"), &notes), "{name}");
    }
    assert_same_files(&page, "");
    assert_eq!(console_errors(&page), [""; 0]);
    let elsewhere: Vec<_> = site.missing().into_iter().filter(|p| !p.contains("/demo/v2/")).collect();
    assert_eq!(elsewhere, [""; 0], "asked for and not there");
}

#[test]
fn a_real_registry_of_another_origin_is_answered_right_with_few_requests_and_no_preflight() {
    let (registry, page) = (registry(), page(&options()));
    let proxy = Proxy::before(&registry.host);
    let since = Instant::now();
    visit(&page, &seeded_address(&proxy.host));
    let took = since.elapsed();
    assert_whole(&rows(&page), &registry.seed);
    assert_eq!(proxy.count_where(|l| l.method == "OPTIONS"), 0, "{}", proxy.log_text());
    let each = proxy.count() as f64 / registry.seed.images.len() as f64;
    assert!(each < 2.6, "{each:.2} requests an image:\n{}", proxy.log_text());
    println!("124 images: {took:.1?} from opening, {each:.2} requests an image, {} at once", proxy.most_in_flight());
    assert_same_files(&page, &page.url());

    page.click("button", "Copy pinned link");
    let (hash, _) = registry.seed.majority(PROMOTED);
    page.wait_for_text("pinned link was copied", support::browser::PATIENCE);
    let mut pinned = seeded(&proxy.host);
    pinned.retain(|(k, _)| k != "tag");
    pinned.push(("tag".into(), hash.into()));
    assert_eq!(choices(&page.clipboard()), pinned.into_iter().collect());
    assert_shows(&page, &[&format!("{} of 124 images differ", registry.seed.torn.len() + registry.seed.new.len())]);
}

/// The choices of an address.
fn choices(url: &str) -> BTreeSet<(String, String)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

#[test]
fn a_registry_that_dies_half_way_leaves_errors_and_never_false_absences() {
    let (registry, page) = (registry(), page(&options()));
    let proxy = Proxy::before(&registry.host);
    proxy.stop_after(150);
    visit(&page, &seeded_address(&proxy.host));
    let before = rows(&page);
    assert_true(&before, &registry.seed);
    let (errors, resolved) = (count(&before, "error"), count(&before, "resolved"));
    assert!(errors > 0 && resolved > 0, "{errors} in error, {resolved} resolved");
    for name in [CONTAINERS, ENVIRONMENT] {
        let button = page.button_state(name);
        assert!(button.disabled && button.description.contains("error"), "{button:?}");
    }
    assert!(!page.button_state(LIST).disabled);

    page.click("checkbox", "Allow incomplete files");
    let text = String::from_utf8(page.download(CONTAINERS)).expect("text");
    assert!(text.lines().next().is_some_and(|l| l.contains("INCOMPLETE")), "{text}");
    assert_eq!(text.matches("left out, error").count(), errors, "{text}");
    assert_eq!(text.matches("imagename:").count(), resolved, "{text}");
    let environment = String::from_utf8(page.download(ENVIRONMENT)).expect("text");
    assert!(environment.lines().next().is_some_and(|l| l.contains("INCOMPLETE")), "{environment}");

    proxy.resume();
    page.click("button", "Retry failed");
    done(&page);
    assert_whole(&rows(&page), &registry.seed);
    assert!(!page.has("checkbox", "Allow incomplete files"), "there is nothing incomplete any more");
    assert_same_files(&page, &page.url());
}

#[test]
fn cancel_ends_at_once_keeps_what_is_known_and_retry_finds_the_rest() {
    let (registry, page) = (registry(), page(&options()));
    let proxy = Proxy::before(&registry.host);
    proxy.delay(20);
    page.open(&seeded_address(&proxy.host));
    proxy.wait_for_requests(120, LIMIT);
    proxy.hold();
    page.wait_for("document.querySelectorAll('main [role=row], main tbody tr').length > 100", LIMIT);
    let js = "const cancel = [...document.querySelectorAll('button')].find(b => b.textContent.trim() === 'Cancel');
              const busy = () => document.querySelector('main').getAttribute('aria-busy') === 'true';
              if (!busy() || cancel.disabled) return -1;
              const since = performance.now();
              cancel.click();
              return new Promise(end => (function look() { busy() ? setTimeout(look, 5) : end(performance.now() - since) })())";
    let took = page.eval(js, &[]).as_f64().expect("milliseconds");
    assert!((0.0..1000.0).contains(&took), "{took} ms (-1: there was nothing to cancel)");
    let before = rows(&page);
    assert_true(&before, &registry.seed);
    assert!(count(&before, "resolved") > 0 && count(&before, "error") > 0, "{before:?}");
    assert!(page.button_state(CONTAINERS).disabled);

    proxy.delay(0);
    proxy.release();
    page.click("button", "Retry failed");
    done(&page);
    assert_whole(&rows(&page), &registry.seed);
    assert!(!page.button_state(CONTAINERS).disabled);
}

#[test]
fn every_choice_of_the_form_is_in_the_address_and_comes_back_from_it() {
    let (page, registry) = (open(&site().url), nothing());
    let namespace = format!("{}/any", registry.host);
    unfold(&page);
    page.choose("Release", "train");
    unfold(&page);
    let template = format!("http://{}/t.j2", registry.host);
    let fields = [
        ("Namespace", "namespace", namespace.as_str()),
        ("Name prefix", "name_prefix", "pre-"),
        ("Name suffix", "name_suffix", "-suf"),
        ("Tag", "tag", "newest:v\\d+(\\.\\d+)*"),
        ("Pin chain", "pin", "digest,channel"),
        ("Labels", "label", "{version}-{release},other"),
        ("Ceph namespace", "ceph_namespace", "127.0.0.1:9999/ceph & co"),
        ("Ceph image", "ceph_image", "ceph"),
        ("Ceph tag", "ceph_tag", "v6"),
        ("Push destination", "push_destination", "192.168.24.1:8787"),
        ("Append to tag", "append_tag", "-x"),
        ("Search", "q", "nova ü+&"),
    ];
    for (label, _, value) in fields {
        page.type_into(label, value);
    }
    page.choose("Missing", "keep");
    page.choose("Neutron driver", "odl");
    let lists = [
        ("include", "Include 1", "nova-(?!api)"),
        ("exclude", "Exclude 1", "a|b"),
        ("service", "Service 1", "OS::TripleO::Services::NovaApi"),
    ];
    for (key, label, value) in lists {
        page.click("button", &format!("Add {key}"));
        page.type_into(label, value);
    }
    for (add, first, name, second, value) in [
        ("Add substitution", "Name 1", "rhel_containers", "Value 1", "true"),
        ("Add endpoint", "Host 1", "quay.io", "Address 1", "http://127.0.0.1:9999"),
    ] {
        page.click("button", add);
        page.type_into(first, name);
        page.type_into(second, value);
    }
    page.click("checkbox", "Controller");
    page.click("checkbox", "Compute");
    page.type_into("Compute count", "3");
    page.click("button", "Image");
    page.type_into("Template address", &template);

    let more = [
        ("release", "train"),
        ("template", &template),
        ("missing", "keep"),
        ("neutron_driver", "odl"),
        ("set.rhel_containers", "true"),
        ("endpoint", "quay.io=http://127.0.0.1:9999"),
        ("role", "Controller"),
        ("role", "Compute:3"),
        ("sort", "image"),
    ];
    let typed = fields.iter().map(|(_, k, v)| (*k, *v)).chain(lists.iter().map(|(k, _, v)| (*k, *v))).chain(more);
    let typed: BTreeSet<(String, String)> = typed.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let url = page.url();
    assert_eq!(choices(&url), typed);
    let canonical = String::from_utf8(overtag(&["link", "--link", &url], None).stdout).expect("text");
    assert_eq!(canonical.trim_end().split_once('?').map(|(_, q)| q), url.split_once('?').map(|(_, q)| q), "the order is fixed");

    done(&page);
    unfold(&page);
    let filled = form(&page);
    page.click("button", "Copy link");
    page.wait_for_text("link was copied", support::browser::PATIENCE);
    let again = open(&page.clipboard());
    unfold(&again);
    assert_eq!(again.url(), url);
    assert_eq!(form(&again), filled);
}

#[test]
fn back_and_forward_step_through_what_was_chosen() {
    let registry = nothing();
    let start = address(&[("namespace", &format!("{}/any", registry.host)), ("include", "nova-api")]);
    let page = open(&start);
    page.choose("Missing", "keep");
    page.type_into("Tag", "consistent");
    let at = |missing: &str, tag: &str| {
        let has = |key: &str, value: &str| {
            let found = choices(&page.url()).into_iter().find(|(k, _)| k == key).map(|(_, v)| v);
            found.is_none_or(|v| v == value)
        };
        page.wait_for(&format!("document.querySelector('select:has(option[value=keep])').value === {}", json!(missing)), LIMIT);
        assert_eq!(page.control("combobox", "Tag").value, tag);
        assert!(has("missing", missing) && has("tag", tag), "{}", page.url());
    };
    at("keep", "consistent");
    page.back();
    at("keep", "current-tripleo");
    page.back();
    at("drop", "current-tripleo");
    assert_eq!(page.url(), start);
    page.forward();
    at("keep", "current-tripleo");
    page.forward();
    at("keep", "consistent");
    done(&page);
    assert!(rows(&page).iter().all(|r| r.tag.iter().any(|t| t == "consistent")), "{:?}", rows(&page));
}

#[test]
fn what_is_wrong_with_a_link_is_said_and_the_rest_still_works() {
    let page = open(&address(&[("missing", "maybe"), ("colour", "red"), ("q", "nova"), ("sort", "shape")]));
    assert_shows(&page, &["maybe", "colour", "red", "shape"]);
    let shown = rows(&page);
    assert!(!shown.is_empty() && shown.iter().all(|r| r.name.concat().contains("nova")), "{shown:?}");

    visit(&page, &address(&[("v", "2"), ("missing", "keep")]));
    assert!(["version 2", "v=2"].iter().any(|w| page.text().contains(w)), "{}", page.text());
    assert!(!page.has("table", "Images"), "nothing is made of a link of a later version");
    assert!(page.button_state(CONTAINERS).disabled);
    assert_eq!(console_errors(&page), [""; 0]);
}

#[test]
fn the_links_are_copied_and_a_pinned_one_says_why_there_is_none() {
    let link = address(&[("missing", "keep"), ("q", "nova")]);
    let page = open(&link);
    page.click("button", "Copy link");
    page.wait_for_text("link was copied", support::browser::PATIENCE);
    assert_eq!(page.clipboard(), link);
    page.click("button", "Copy pinned link");
    page.wait_for_text("pinned link was copied", support::browser::PATIENCE);
    let hash = report("", &[])["hash"].as_str().expect("a hash").to_owned();
    let pinned = page.clipboard();
    assert_eq!(choices(&pinned), choices(&address(&[("missing", "keep"), ("q", "nova"), ("tag", &hash)])));
    visit(&page, &pinned);
    assert!(rows(&page).iter().any(|r| r.pinned_by == "exact" && r.tag.contains(&hash)), "{:?}", rows(&page));

    visit(&page, &address(&[("pin", "channel")]));
    let button = page.button_state("Copy pinned link");
    assert!(button.disabled && button.description.contains("hash"), "{button:?}");
}

#[test]
fn roles_leave_images_out_and_each_is_named_with_its_reason() {
    let registry = nothing();
    let namespace = format!("{}/any", registry.host);
    let link = [("release", "train"), ("namespace", &namespace), ("role", "Controller:1"), ("role", "Compute:1")];
    let expected = report(&query(&link), &["--no-registry"]);
    let page = open(&address(&link));
    let shown = rows(&page);
    let names = each(&expected["images"], "image");
    assert_eq!(shown.len(), names.len());
    for (row, name) in shown.iter().zip(&names) {
        let path = name.rsplit_once(':').map_or(name.as_str(), |(path, _)| path);
        assert!(row.name.iter().any(|w| w == path), "{name}: {row:?}");
    }
    unfold(&page);
    let out = each(&expected["filtered"], "image");
    assert!(names.len() > 20 && out.len() > 20);
    assert_shows(&page, &[&format!("Not in ({})", out.len())]);
    let js = "return [...document.querySelectorAll('main li')].map(l => l.innerText.replace(/\\s+/g, ' ').trim())";
    let items: Vec<String> = serde_json::from_value(page.eval(js, &[])).expect("texts");
    for (name, reason) in out.iter().zip(each(&expected["filtered"], "reason")) {
        let short = name.rsplit('/').next().unwrap_or_default().split(':').next().unwrap_or_default();
        assert!(items.iter().any(|i| i.contains(short) && i.contains(&reason)), "{short}: {reason}");
    }
}

#[test]
fn include_and_exclude_search_as_python_does_with_look_around() {
    let registry = nothing();
    let namespace = format!("{}/any", registry.host);
    let base = [("release", "train"), ("namespace", namespace.as_str())];
    let names = each(&report(&query(&base), &["--no-registry"])["images"], "image");
    let page = page(&options());
    let is_other = |n: &str| n.match_indices("nova-").any(|(i, w)| !n[i + w.len()..].starts_with("api"));
    let is_api = |n: &str| n.contains("nova-api");
    let cases: [(&str, &str, &dyn Fn(&str) -> bool); 3] = [
        ("include", "nova-(?!api)", &is_other),
        ("exclude", "(?<=nova-)api", &|n| !is_api(n)),
        ("exclude", r"(c)\1", &|n| !n.contains("cc")),
    ];
    for (key, regex, passes) in cases {
        visit(&page, &address(&[base[0], base[1], (key, regex)]));
        let path = |n: &String| n.rsplit_once(':').map_or(n.clone(), |(path, _)| path.to_owned());
        let expected: Vec<String> = names.iter().filter(|n| passes(n)).map(path).collect();
        let shown = rows(&page);
        assert_eq!(shown.len(), expected.len(), "{key}={regex}");
        assert!(expected.len() < names.len() && !expected.is_empty());
        assert!(shown.iter().zip(&expected).all(|(row, name)| row.name.contains(name)), "{key}={regex}: {shown:?}");
    }
}

#[test]
fn a_wrong_or_endless_template_is_told_where_and_the_page_lives() {
    let (page, registry) = (open(&site().url), nothing());
    unfold(&page);
    let good = format!("container_images_template:\n- imagename: {}/any/{{{{name_prefix}}}}one:{{{{tag}}}}\n", registry.host);
    let is_good = |page: &Page| {
        paste(page, "Template text", &good);
        page.wait_for("document.querySelectorAll('main tbody tr').length === 1", LIMIT);
        done(page);
        assert!(rows(page)[0].name.iter().any(|w| w.ends_with("one")), "{:?}", rows(page));
    };
    paste(&page, "Template text", "container_images_template:\n- imagename: \"{{namespace}/one\"\n");
    done(&page);
    assert_shows(&page, &["line 2, column", "- imagename: \"{{namespace}/one\""]);
    assert!(page.button_state(CONTAINERS).disabled);
    is_good(&page);

    for runaway in [
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{{ 'x' * 99999 }}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ] {
        let since = Instant::now();
        paste(&page, "Template text", &format!("container_images_template:\n{runaway}\n"));
        page.wait_for("document.querySelectorAll('main [role=alert]').length > 0", LIMIT);
        done(&page);
        let took = since.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}: {runaway}");
        is_good(&page);
    }
    assert!(console_errors(&page).iter().all(|e| !e.contains("panicked")), "{:?}", page.console_errors());
}

#[test]
fn a_private_host_is_asked_only_after_leave_was_given() {
    let (registry, page) = (registry(), {
        let rules = format!("MAP overtag.example 127.0.0.1, {NO_NAMES}");
        page(&Options { host_resolver_rules: Some(rules), ..Options::default() })
    });
    let proxy = Proxy::before(&registry.host);
    let own = Proxy::before(&templates().host);
    let public = site().url.replace("127.0.0.1", "overtag.example");
    let namespace = format!("{}/{NAMESPACE}", proxy.host);
    let template = format!("http://{}/templates/all.yaml.j2", own.host);
    let mut pairs = vec![("namespace", namespace.as_str()), ("name_prefix", PREFIX), ("tag", PROMOTED), ("include", "nova-")];
    for named in ["", template.as_str()] {
        match named {
            "" => pairs.push(("release", "train")),
            _ => {
                pairs.pop();
                pairs.push(("template", named));
            }
        }
        visit(&page, &format!("{public}?{}", query(&pairs)));
        assert_shows(&page, &["127.0.0.1:"]);
        // Asking again without leave changes nothing.
        page.press("r");
        done(&page);
        assert_eq!((proxy.count(), own.count()), (0, 0), "{}{}", proxy.log_text(), own.log_text());
        page.click("button", "Allow this registry");
        done(&page);
        if page.has("button", "Allow this registry") {
            assert_eq!(proxy.count(), 0, "the template's host was allowed, the registry was not");
            page.click("button", "Allow this registry");
            done(&page);
        }
        let shown = rows(&page);
        assert!(count(&shown, "resolved") > 5 && count(&shown, "error") == 0, "{shown:?}");
        proxy.reset();
        own.reset();
    }
}

#[test]
fn nothing_is_in_the_way_of_assistive_technology() {
    let page = open(&site().url);
    assert_accessible(&page, "light");
    screenshot(&page, "light");
    page.click("button", "cinder-volume");
    assert_shows(&page, &["Digest", "Requests"]);
    assert_accessible(&page, "light, a row open");
    page.eval("document.querySelector('[aria-expanded=true]').scrollIntoView({ block: 'center' })", &[]);
    screenshot(&page, "row");
    unfold(&page);
    assert_accessible(&page, "light, all unfolded");
    page.prefer(&[("prefers-color-scheme", "dark"), ("prefers-reduced-motion", "reduce")]);
    assert_accessible(&page, "dark, all unfolded");
    visit(&page, &site().url);
    assert_accessible(&page, "dark");
    screenshot(&page, "dark");

    let registry = registry();
    let proxy = Proxy::before(&registry.host);
    proxy.fault(|seen| seen.path.contains("-neutron-").then(|| Fault::registry_error(403, "DENIED")));
    visit(&page, &seeded_address(&proxy.host));
    let shown = rows(&page);
    assert_true(&shown, &registry.seed);
    assert!(shown.iter().all(|r| (r.status == "error") == r.name.concat().contains("-neutron-")), "{shown:?}");
    assert_accessible(&page, "dark, errors");
    page.prefer(&[("prefers-color-scheme", "light")]);
    assert_accessible(&page, "light, errors");
    screenshot(&page, "error");
}

#[test]
fn everything_is_reached_from_the_keyboard() {
    let page = open(&site().url);
    page.press("/");
    assert_eq!((page.focused().role.as_str(), page.focused().name.as_str()), ("searchbox", "Search"));
    page.press("j");
    assert!(page.url().ends_with("?q=j"), "keys do not steal typing: {}", page.url());
    page.press("Backspace");
    page.press("Shift+Tab");
    let name = |row: usize| rows(&page)[row].name[0].clone();
    page.press("j");
    assert_eq!(page.focused().name, name(0));
    page.press("j");
    page.press("j");
    page.press("k");
    assert_eq!(page.focused().name, name(1));
    page.press("o");
    assert_eq!(page.control("button", &name(1)).expanded, Some(true));
    let detail = page.table("Images")[1].get("@detail").cloned().unwrap_or_default();
    assert!(detail.contains("sha256:"), "{detail}");
    page.press("o");
    assert_eq!(page.control("button", &name(1)).expanded, Some(false));
    page.press("?");
    assert!(page.has("dialog", "Keys"));
    page.press("Escape");
    page.wait_for("!document.querySelector('dialog[open]')", LIMIT);

    visit(&page, &site().url);
    let mut wanted: BTreeSet<&str> = [CONTAINERS, ENVIRONMENT, LIST, "Copy link", "Copy pinned link", "Search"].into();
    let mut seen = Vec::new();
    while !wanted.is_empty() && seen.len() < 80 {
        page.press("Tab");
        let now = page.focused();
        wanted.remove(now.name.as_str());
        seen.push(now.name);
    }
    assert!(wanted.is_empty(), "{wanted:?} are not reached: {seen:?}");
}

#[test]
fn a_phone_scrolls_one_way_only_and_a_frame_has_no_controls() {
    let page = page(&Options { window: (360, 740), scale: 2.0, ..options() });
    let fits = |what: &str| {
        let widths = page.eval("return [document.documentElement.scrollWidth, innerWidth]", &[]);
        assert!(widths[0].as_u64() <= widths[1].as_u64(), "{what}: {widths}");
    };
    visit(&page, &site().url);
    fits("the demo");
    screenshot(&page, "phone");
    page.click("button", "cinder-volume");
    fits("a row open");
    unfold(&page);
    fits("all unfolded");
    assert_accessible(&page, "phone, all unfolded");
    assert_eq!(console_errors(&page), [""; 0]);

    page.set_window(1280, 720, 1.0);
    visit(&page, &address(&[("embed", "1")]));
    for role in ["banner", "button", "textbox", "searchbox", "combobox", "checkbox", "spinbutton"] {
        assert_eq!(page.controls(role), [], "{role}");
    }
    let shown = rows(&page);
    assert!(shown.iter().all(|r| STATUS.contains(&r.status.as_str())), "{shown:?}");
    assert!(shown.iter().any(|r| r.notes.contains(&"torn".to_owned())), "{shown:?}");
    assert_accessible(&page, "embed");
    screenshot(&page, "embed");
}
