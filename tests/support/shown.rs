//! The page as its tests read it: what is opened, what it shows, and what that is compared with: the command line's answer for
//! the same link, and what the registry was seeded with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use overtag::engine::time::Timestamp;
use serde_json::{Value, json};

use crate::browser::{Browser, Options, PATIENCE, Page};
use crate::proxy::{Fault, Proxy};
use crate::registry::{Image, NAMESPACE, PREFIX, PROMOTED, Registry, Seed};
use crate::site::Site;
use crate::{CACHE, names, template};

/// How long a run may take on a busy machine: requests for one image may take a minute (`http::IMAGE_LIMIT`).
pub const LIMIT: Duration = Duration::from_secs(90);
/// No host name resolves: what a test forgets to provide fails, and is not fetched from the internet.
pub const NO_NAMES: &str = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1";
/// The buttons of the three files.
pub const CONTAINERS: &str = "Download overcloud_containers.yaml";
pub const ENVIRONMENT: &str = "Download overcloud_images.yaml";
pub const LIST: &str = "Download image list";

/// A browser that resolves no host name, with reduced motion.
pub fn options() -> Options {
    Options { host_resolver_rules: Some(NO_NAMES.to_owned()), reduced_motion: true, ..Options::default() }
}

/// Opens a browser; all share one driver.
pub fn page(options: &Options) -> Page {
    static BROWSER: OnceLock<Browser> = OnceLock::new();
    BROWSER.get_or_init(Browser::start).page(options)
}

/// The built page.
pub fn dist() -> &'static Path {
    let dist = Path::new("dist");
    assert!(dist.join("index.html").is_file(), "there is no dist/index.html: run make build first");
    dist
}

/// The built page below a sub-path, of another origin than any registry.
pub fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| Site::start(dist(), "/some/deep/path/"))
}

/// The seeded registry.
pub fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry::start(Path::new(CACHE), &names()))
}

/// A host of its own, readable from any page, with a template of all seeded images.
pub fn templates() -> &'static Site {
    static TEMPLATES: OnceLock<Site> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let folder = crate::built().join("page-templates");
        fs::create_dir_all(&folder).expect("a folder for the template");
        fs::write(folder.join("all.yaml.j2"), template(&names())).expect("the template is written");
        Site::with_headers(&folder, "/templates/", &[("Access-Control-Allow-Origin", "*")])
    })
}

/// A registry that has nothing.
pub fn nothing() -> Proxy {
    Proxy::fake(|_| Some(Fault::registry_error(404, "MANIFEST_UNKNOWN")))
}

/// These choices as a query string, in the order given.
pub fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The address of the page with these choices.
pub fn address(pairs: &[(&str, &str)]) -> String {
    format!("{}?{}", site().url, query(pairs))
}

/// The address that asks `host` for all seeded images.
pub fn seeded(host: &str) -> String {
    let (template, namespace) = (format!("{}all.yaml.j2", templates().url), format!("{host}/{NAMESPACE}"));
    address(&[("template", &template), ("namespace", &namespace), ("name_prefix", PREFIX), ("tag", PROMOTED)])
}

/// Runs the command line; the time of its files is `epoch`.
pub fn overtag(args: &[&str], epoch: Option<&str>) -> Output {
    let mut command = Command::new(crate::built().join("overtag"));
    command.args(args).env_remove("SOURCE_DATE_EPOCH").envs(epoch.map(|e| ("SOURCE_DATE_EPOCH", e)));
    command.output().expect("overtag runs")
}

/// What the command line reports for a link.
pub fn report(link: &str, more: &[&str]) -> Value {
    let done = overtag(&[&["prepare", "--link", link, "--format", "json"], more].concat(), None);
    serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&done.stderr)))
}

/// The query string of these choices as the command line writes it.
pub fn canonical(pairs: &[(&str, &str)]) -> String {
    let link = String::from_utf8(overtag(&["link", "--link", &query(pairs)], None).stdout).expect("text");
    link.trim_end().trim_start_matches('?').to_owned()
}

/// The texts under `key` of each of a list.
pub fn each(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|v| v[key].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until no work is under way.
pub fn done(page: &Page) {
    page.wait_for("document.querySelector('main')?.getAttribute('aria-busy') === 'false'", LIMIT);
}

/// Opens an address and waits for its work.
pub fn visit(page: &Page, url: &str) {
    page.open(url);
    done(page);
}

/// Opens an address in a browser of its own and waits for its work.
pub fn open(url: &str) -> Page {
    let page = page(&options());
    visit(&page, url);
    page
}

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// The words of the image.
    pub name: Vec<String>,
    /// The words of the tag, and of its title.
    pub tag: Vec<String>,
    /// What pinned it.
    pub pinned_by: String,
    /// The word of its status.
    pub status: String,
    /// What else is noted.
    pub notes: Vec<String>,
}

/// The rows of the table, in order.
pub fn rows(page: &Page) -> Vec<Row> {
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

/// How many rows have that status.
pub fn count(rows: &[Row], status: &str) -> usize {
    rows.iter().filter(|r| r.status == status).count()
}

/// Compares names and order with those of a report, which have tags.
pub fn assert_named(rows: &[Row], images: &[String]) {
    let path = |image: &String| image.rsplit_once(':').map_or(image.clone(), |(path, _)| path.to_owned());
    let differing = rows.iter().zip(images).find(|(row, image)| !row.name.contains(&path(image)));
    assert!(rows.len() == images.len() && differing.is_none(), "{} rows, {} images: {differing:?}", rows.len(), images.len());
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
pub fn assert_true(rows: &[Row], seed: &Seed) {
    assert_eq!(rows.len(), seed.images.len());
    let row = |short: &String| rows.iter().find(|r| r.name.contains(short)).unwrap_or_else(|| panic!("there is no row {short}"));
    let wrong: Vec<String> = seed.images.iter().filter_map(|(short, image)| contradiction(row(short), image, seed)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// As [`assert_true`], with no row in error.
pub fn assert_whole(rows: &[Row], seed: &Seed) {
    assert_true(rows, seed);
    assert_eq!(count(rows, "error"), 0);
    assert_eq!(count(rows, "absent"), seed.new.len());
}

/// Compares bytes, and says which line differs.
fn assert_same(what: &str, of_page: &[u8], of_command: &[u8]) {
    let (page, command) = (String::from_utf8_lossy(of_page), String::from_utf8_lossy(of_command));
    let differing = page.lines().zip(command.lines()).find(|(p, c)| p != c);
    assert!(of_page == of_command, "{what}: page {} bytes, command line {}: {differing:#?}", page.len(), command.len());
}

/// Downloads the three files and compares them with what the command line writes for the same link.
pub fn assert_same_files(page: &Page, link: &str) {
    let (name, containers) = page.download_file(CONTAINERS);
    assert_eq!(name, "overcloud_containers.yaml");
    let (name, environment) = page.download_file(ENVIRONMENT);
    assert_eq!(name, "overcloud_images.yaml");
    let text = String::from_utf8_lossy(&containers);
    let time = text.lines().find_map(|l| l.strip_prefix("# Time: ")).expect("the head names the time");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let epoch =
        (now - 3600..=now).rev().find(|t| Timestamp(*t).to_string() == time).expect("the files are of this hour").to_string();
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

/// Errors of the console, less the browser's own lines about a 404 of a registry: that is how it says "absent".
pub fn console_errors(page: &Page) -> Vec<String> {
    let is_absence = |e: &String| e.contains("/v2/") && e.contains("404");
    page.console_errors().into_iter().filter(|e| !is_absence(e)).collect()
}

/// Saves a screenshot.
pub fn screenshot(page: &Page, name: &str) {
    page.screenshot(&Path::new("target/screenshots").join(format!("{name}.png")));
}

/// Asserts that axe finds nothing.
pub fn assert_accessible(page: &Page, what: &str) {
    let axe = fs::read_to_string("target/tools/npm-axe-core/node_modules/axe-core/axe.min.js");
    let violations = page.axe(&axe.expect("axe is there: run make test, which fetches it"));
    assert!(violations.is_empty(), "{what}:\n{}", violations.iter().map(|v| format!("{v}\n")).collect::<String>());
}

/// Has axe look at the page in light and dark, wide and narrow, and keeps pictures of what `part` is in.
pub fn looks(page: &Page, name: &str, part: &str) {
    for (width, height, at) in [(1280, 900, "laptop"), (360, 740, "phone")] {
        page.set_window(width, height, 1.0);
        for scheme in ["light", "dark"] {
            page.prefer(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]);
            assert_accessible(page, &format!("{name}, {at}, {scheme}"));
            page.eval("document.querySelector(arguments[0])?.scrollIntoView({ block: 'center' })", &[json!(part)]);
            screenshot(page, &format!("{name}-{at}-{scheme}"));
        }
        let widths = page.eval("return [document.documentElement.scrollWidth, innerWidth]", &[]);
        assert!(widths[0].as_u64() <= widths[1].as_u64(), "{name}, {at}: {widths}");
    }
    page.set_window(1280, 900, 1.0);
    page.prefer(&[("prefers-reduced-motion", "reduce")]);
}

/// Unfolds the choices, once they are there.
pub fn unfold(page: &Page) {
    page.wait_for("document.querySelector('main details') !== null", LIMIT);
    page.eval("document.querySelectorAll('main details').forEach(d => { d.open = true })", &[]);
}

/// Presses a button that copies, and returns what it copied.
pub fn copied(page: &Page, what: &str) -> String {
    page.click("button", &format!("Copy {what}"));
    page.wait_for_text(&format!("{what} was copied"), PATIENCE);
    page.clipboard()
}

/// Puts a text into a field all at once, as pasting does.
pub fn paste(page: &Page, label: &str, text: &str) {
    page.click("textbox", label);
    page.press("Control+a");
    page.cdp("Input.insertText", &json!({ "text": text }));
}

/// What every field, list and box of the form holds.
pub fn form(page: &Page) -> Value {
    let js = "return [...document.querySelectorAll('main input, main select, main textarea')]
                .map(e => [e.ariaLabel ?? e.labels[0]?.innerText, e.value, e.checked])";
    page.eval(js, &[])
}

/// Looks for words in what can be read.
pub fn assert_shows(page: &Page, words: &[&str]) {
    let text = page.text();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}
