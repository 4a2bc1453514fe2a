//! The page in Chromium before registries of every kind: Quays, logins, limits, those that no browser may read, and snapshots.
//! The cure that it offers is applied as it stands, and must then work.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::browser::{Options, PATIENCE, Page};
use support::login::{self, Access, PASSWORD, USER};
use support::names;
use support::nginx::{self, Nginx, RetryAfter};
use support::process::Guarded;
use support::proxy::{Fault, Logged, Proxy, Seen};
use support::quay::{self, Kind, Quay, Role};
use support::registry as seeds;
use support::registry::{LABEL, NAMESPACE, PREFIX, PROMOTED, Registry};
use support::shown::*;
use support::site::Site;
use tempfile::TempDir;

// -- links, and browsers that know names

/// [`seeded`], and more choices.
fn seeded_and(host: &str, more: &[(&str, &str)]) -> String {
    format!("{}&{}", seeded(host), query(more))
}

/// A link that needs nothing but the registry: some of the built-in images of train.
fn nova(host: &str, more: &[(&str, &str)]) -> String {
    let namespace = format!("{host}/{NAMESPACE}");
    let base =
        [("release", "train"), ("namespace", &namespace), ("name_prefix", PREFIX), ("tag", PROMOTED), ("include", "nova-")];
    query(&[&base, more].concat())
}

/// A browser that also knows these names.
fn knowing(names: &[(&str, &str)]) -> Page {
    page(&Options { host_resolver_rules: Some(nginx::rules(names)), ..options() })
}

/// A link to all seeded images under the name of a registry that only [`knowing`] browsers find.
fn named() -> String {
    seeded_and("registry.example", &[("endpoint", "registry.example=http://registry.example")])
}

// -- what the page says

/// Records all that the status line says from now on, on every page.
fn watch(page: &Page) {
    let source = "window.said = [];
      new MutationObserver(() => {
        const text = document.querySelector('[role=status]')?.innerText;
        if (text && said.at(-1) !== text) said.push(text);
      }).observe(document, { subtree: true, childList: true, characterData: true });";
    page.cdp("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": source }));
}

/// What the status line said about waiting for a host.
fn waits(page: &Page, host: &str) -> Vec<String> {
    let said: Vec<String> = serde_json::from_value(page.eval("return said", &[])).expect("texts");
    let is_wait = |s: &String| {
        let after = s.split(", waiting ").skip(1);
        after.map(|w| w.trim_end()).any(|w| {
            let (number, rest) = w.split_once(' ').unwrap_or_default();
            number.parse::<u32>().is_ok_and(|n| n > 0) && rest.starts_with(&format!("s for {host}"))
        })
    };
    said.into_iter().filter(is_wait).collect()
}

/// Presses the copy button of the block that contains `mark`, and returns the text that it copied.
fn lines(page: &Page, mark: &str) -> String {
    let js = "const all = [...document.querySelectorAll('main .doctor .lines')];
      all.forEach(l => l.removeAttribute('data-wanted'));
      const block = all.find(l => l.querySelector('pre').textContent.includes(arguments[0]));
      block?.setAttribute('data-wanted', '');
      return block?.querySelector('pre').textContent ?? ''";
    let shown = page.eval(js, &[json!(mark)]).as_str().expect("text").to_owned();
    assert!(!shown.is_empty(), "no lines have {mark:?}:\n{}", page.text());
    page.click("[data-wanted] button", "");
    page.wait_for("document.querySelector('[role=status]').innerText.includes('Copied: ')", PATIENCE);
    assert_eq!(page.clipboard(), shown);
    shown
}

/// What the page says of errors, and what helps.
fn doctor(page: &Page) -> String {
    let js = "const all = document.querySelectorAll('main .notice[data-kind=error], main .doctor');
      return [...all].map(e => e.innerText).join('\\n')";
    page.eval(js, &[]).as_str().unwrap_or_default().to_owned()
}

/// Asserts that these words are in what the page says about errors.
fn assert_told(page: &Page, words: &[&str]) {
    let reported = doctor(page);
    for word in words {
        assert!(reported.contains(word), "{word:?} is not in what is said:\n{reported}\nthe page:\n{}", page.text());
    }
}

/// The lines for nginx, for the registry itself, and the command.
const NGINX: &str = "location /v2/ {";
const TOKEN_NGINX: &str = "location / {";
const CONFIG: &str = "http:\n  headers:";
const COMMAND: &str = "overtag prepare";

/// Asserts that every row is an error, and none is absent.
fn assert_unknown(page: &Page) {
    let shown = rows(page);
    assert!(!shown.is_empty() && shown.iter().all(|r| r.status == "error"), "{shown:?}");
    assert!(page.button_state(CONTAINERS).disabled && page.button_state(ENVIRONMENT).disabled);
}

/// Asserts that the rows are those of the command line.
fn assert_reported(rows: &[Row], report: &Value) {
    assert_named(rows, &each(&report["images"], "image"));
    for (row, image) in rows.iter().zip(report["images"].as_array().expect("a list")) {
        let text = |key: &str| image[key].as_str().unwrap_or_default().to_owned();
        let notes: Vec<String> = serde_json::from_value(image["notes"].clone()).expect("a list of words");
        assert!(row.tag.contains(&text("tag")) || row.status != "resolved", "{image}: {row:?}");
        assert_eq!((&row.status, &row.pinned_by, &row.notes), (&text("status"), &text("pinned_by"), &notes), "{image}");
    }
}

/// Asserts that the rows are what the Quay was seeded with.
fn assert_quay(rows: &[Row], seed: &quay::Seed) {
    let (hash, _) = seed.majority(PROMOTED);
    let mut wrong = Vec::new();
    for row in rows {
        let image = seed.images.values().find(|i| row.name.contains(&i.short)).unwrap_or_else(|| panic!("no image: {row:?}"));
        let is_torn = |own: &str| own != hash;
        let is_right = match image.hash(PROMOTED) {
            None => row.status == "absent" && row.pinned_by.is_empty() && row.notes.is_empty(),
            Some(own) => {
                row.status == "resolved"
                    && row.tag.iter().any(|t| t == own)
                    && ["label", "sibling"].contains(&row.pinned_by.as_str())
                    && row.notes.contains(&"torn".to_owned()) == is_torn(own)
                    && row.notes.iter().all(|n| n == "torn" || n == "mismatch" && image.role == Role::Mismatched)
            }
        };
        if !is_right {
            wrong.push(format!("{} {:?}, {:?}: {row:?}", image.short, image.role, image.hash(PROMOTED)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Runs what the doctor offers, as it stands there, in a shell; the folder has what it wrote.
fn run(command: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for the files");
    let script = format!("set -e\novertag() {{ '{}' \"$@\"; }}\n{command}", env!("CARGO_BIN_EXE_overtag"));
    let mut shell = Command::new("sh");
    let done = shell.args(["-c", &script]).current_dir(folder.path()).env_remove("SOURCE_DATE_EPOCH").output().expect("sh runs");
    assert!(done.status.success(), "{command}\n{}", String::from_utf8_lossy(&done.stderr));
    folder
}

/// Drops a file on the page, as from a file manager.
fn drop_on(page: &Page, name: &str, text: &str) {
    let js = "const data = new DataTransfer();
      data.items.add(new File([arguments[1]], arguments[0]));
      const all = { dataTransfer: data, bubbles: true, cancelable: true };
      for (const kind of ['dragenter', 'dragover', 'drop'])
        document.querySelector('main').dispatchEvent(new DragEvent(kind, all))";
    page.eval(js, &[json!(name), json!(text)]);
}

/// Chooses a file in the field with that label.
fn choose_file(page: &Page, label: &str, name: &str, text: &str) {
    let js = "const fields = [...document.querySelectorAll('input[type=file]')];
      const field = fields.find(i => i.labels[0].innerText.trim() === arguments[0]);
      if (!field) return false;
      const data = new DataTransfer();
      data.items.add(new File([arguments[2]], arguments[1]));
      field.files = data.files;
      return field.dispatchEvent(new Event('change', { bubbles: true }))";
    let is_there = page.eval(js, &[json!(label), json!(name), json!(text)]);
    assert_eq!(is_there, true, "there is no field {label:?}");
}

/// Reads a file.
fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Asserts that the offered command writes the files of all seeded images, and a snapshot that the page can read.
fn assert_command_helps(page: &Page) {
    let command = lines(page, COMMAND);
    assert!(command.lines().any(|l| l.starts_with("overtag prepare --link ")), "{command}");
    let folder = run(&command);
    let containers = text(&folder.path().join("overcloud_containers.yaml"));
    let seed = &registry().seed;
    assert_eq!(containers.matches("imagename: ").count(), seed.having(PROMOTED).count(), "{containers}");
    assert!(text(&folder.path().join("overcloud_images.yaml")).contains("parameter_defaults:"));
    drop_on(page, "snapshot.json", &text(&folder.path().join("snapshot.json")));
    page.wait_for_text("snapshot of", PATIENCE);
    done(page);
    assert_whole(&rows(page), seed);
    assert_eq!(page.controls("form"), [], "{}", page.text());
}

/// Fills in the first login there is.
fn log_in(page: &Page, host: &str, user: &str, password: &str) {
    page.type_into("User", user);
    page.type_into("Password", password);
    page.click("button", &format!("Log in to {host}"));
    done(page);
}

/// Asserts that nothing on the page, or stored by it, contains a secret.
fn assert_keeps_no_secret(page: &Page) {
    let js = "return [location.href, JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage }), document.cookie,
      JSON.stringify(history.state), document.documentElement.outerHTML, document.body.innerText,
      [...document.querySelectorAll('input, textarea')].map(i => i.value).join('\\n')].join('\\n')";
    let mut all = page.eval(js, &[]).as_str().expect("text").to_owned();
    all.extend(page.console().iter().map(|m| m.to_string()));
    let encoded = login::authorization().trim_start_matches("Basic ").to_owned();
    // Every token of the test server begins so: it is JSON in base64.
    for secret in [PASSWORD, &PASSWORD.replace(' ', "+"), &encoded, "eyJ"] {
        assert!(!all.contains(secret), "{secret:?} is in:\n{all}");
    }
}

// -- Quay

#[test]
fn quay_needs_one_request_per_image() {
    let seed = quay::Seed::new(&names());
    let double = Quay::seeded(&seed);
    let own = [("api", "quay")];
    let endpoint = format!("quay.io=http://{}", double.host);
    for link in [seeded_and("quay.io", &[("endpoint", &endpoint)]), seeded_and(&double.host, &own)] {
        double.proxy.reset();
        let (before, lists) = (double.data_requests(), double.asked(Kind::Repositories));
        let (preflights, total) = (double.preflights(), double.total());
        let page = open(&link);
        let shown = rows(&page);
        assert_eq!(shown.len(), seed.images.len());
        assert_quay(&shown, &seed);
        let data = double.data_requests() - before;
        assert!(data <= seed.images.len() + 40, "{data} data requests:\n{}", double.log_text());
        assert!(double.preflights() - preflights <= data, "{} preflights, {data} data requests", double.preflights());
        let pages = seed.repositories().len().div_ceil(quay::PAGE);
        assert_eq!(double.asked(Kind::Repositories) - lists, pages, "the namespace is listed once");
        println!("Quay: {data} data requests, {} in all, for {} images", double.total() - total, seed.images.len());
        assert_shows(&page, &["images are at ", ", pushed ", " ago"]);
        assert_reported(&shown, &report(&page.url(), &[]));
        assert_same_files(&page, &page.url());
        assert_eq!(console_errors(&page).into_iter().filter(|e| !e.contains("401")).collect::<Vec<_>>(), [""; 0]);
        double.assert_clean();
    }
}

#[test]
fn unreadable_quay_rate_limit_is_waited_out() {
    let seed = quay::Seed::new(&names());
    let double = Quay::seeded(&seed);
    // As in quay.io's own nginx.
    double.limit(5.0, 25);
    let page = page(&options());
    watch(&page);
    visit(&page, &seeded_and(&double.host, &[("api", "quay"), ("include", "nova-|neutron-|heat-|cinder-|swift-")]));
    let shown = rows(&page);
    assert!(shown.len() > 15 && double.throttled() > 0, "{} rows, {} throttled", shown.len(), double.throttled());
    assert_eq!(count(&shown, "error"), 0, "{}\n{}", page.text(), double.log_text());
    assert_quay(&shown, &seed);
    assert_ne!(waits(&page, &double.host), [""; 0], "{}\n{}", page.eval("return said.join('\\n')", &[]), double.log_text());
    double.assert_clean();
}

#[test]
fn a_wait_ends_when_it_is_cancelled() {
    // Seconds that the registry asks to wait.
    const PAUSE: u32 = 20;
    let seed = quay::Seed::new(&names());
    let double = Quay::seeded(&seed);
    double.limit(0.0, PAUSE);
    let page = page(&options());
    watch(&page);
    page.open(&seeded_and(&double.host, &[("api", "quay"), ("include", "nova-|neutron-")]));
    page.wait_for("said.at(-1)?.includes('waiting')", LIMIT);
    let since = Instant::now();
    page.click("button", "Cancel");
    done(&page);
    let took = since.elapsed();
    assert!(took < Duration::from_secs(u64::from(PAUSE) / 2), "{took:?}");
    assert!(rows(&page).iter().any(|r| r.status == "error") && !page.text().contains("waiting"), "{}", page.text());
    double.unlimit();
    page.click("button", "Retry failed");
    done(&page);
    assert_quay(&rows(&page), &seed);
    double.assert_clean();
}

#[test]
fn changed_choices_still_use_quay_api() {
    let seed = quay::Seed::new(&names());
    let double = Quay::seeded(&seed);
    let page = open(&seeded_and(&double.host, &[("api", "quay"), ("include", "nova-|neutron-")]));
    unfold(&page);
    for (field, value) in [("Labels", "version"), ("Tag", "consistent"), ("Pin chain", "digest")] {
        let before = double.data_requests();
        // A choice that needs no request leaves the page busy for a moment only.
        let watch = "window.ran = false;
            new MutationObserver(() => window.ran = true).observe(document.querySelector('main'), { attributeFilter: ['aria-busy'] });";
        page.eval(watch, &[]);
        page.type_into(field, value);
        page.wait_for("window.ran", PATIENCE);
        done(&page);
        let shown = rows(&page);
        assert!(shown.iter().all(|r| r.status != "error"), "{field} {value}: {}\n{}", page.text(), double.log_text());
        println!("{field} {value}: {} requests", double.data_requests() - before);
        assert_reported(&shown, &report(&page.url(), &[]));
        double.assert_clean();
    }
}

#[test]
fn registry_named_like_quay_uses_v2() {
    let (proxy, seed) = (Proxy::before(&registry().host), &registry().seed);
    let page = open(&seeded_and("quay.io", &[("endpoint", &format!("quay.io=http://{}", proxy.host))]));
    assert_whole(&rows(&page), seed);
    let lost = proxy.count_where(|l| l.path.starts_with("/api/"));
    assert!(lost < 10, "{lost} requests for Quay's API:\n{}", proxy.log_text());
    assert_same_files(&page, &page.url());
}

#[test]
fn quay_under_other_name_is_detected() {
    let seed = quay::Seed::new(&names());
    let double = Quay::seeded(&seed);
    double.allow_v2();
    let page = open(&seeded(&double.host));
    let shown = rows(&page);
    assert_eq!(shown.len(), seed.images.len());
    assert_quay(&shown, &seed);
    let lost = double.proxy.count_where(|l| l.path.starts_with("/v2"));
    assert!(lost < 30, "{lost} requests for /v2:\n{}", double.log_text());
    assert_eq!(doctor(&page), "");
    // A registry is asked with HEAD.
    let complaints = double.take_complaints();
    assert!(complaints.iter().all(|c| c.contains("HEAD /v2/")), "{complaints:#?}");
}

// -- logins

#[test]
fn password_is_requested_and_never_stored() {
    let locked = login::htpasswd(registry());
    let front = nginx::cors(&locked.host, "*");
    let page = open(&seeded(&front.host));
    assert_unknown(&page);
    assert!(page.has("form", &format!("Log in to {}", front.host)), "{}", page.text());
    assert!(page.button_state(&format!("Log in to {}", front.host)).disabled, "there is no login without a user");
    log_in(&page, &front.host, USER, "wrong");
    assert_unknown(&page);
    assert_shows(&page, &[&format!("{} refuses this login", front.host)]);
    log_in(&page, &front.host, USER, PASSWORD);
    assert_whole(&rows(&page), &registry().seed);
    assert!(!page.has("form", &format!("Log in to {}", front.host)), "{}", page.text());
    assert_keeps_no_secret(&page);
    copied(&page, "link");
    assert!(!page.clipboard().contains(USER), "{}", page.clipboard());
    page.reload();
    done(&page);
    assert_unknown(&page);
    assert!(page.has("form", &format!("Log in to {}", front.host)), "{}", page.text());
    assert_keeps_no_secret(&page);
}

#[test]
fn rows_after_login_equal_command_line() {
    let locked = login::htpasswd(registry());
    let front = nginx::cors(&locked.host, "*");
    let page = open(&seeded(&front.host));
    log_in(&page, &front.host, USER, PASSWORD);
    let folder = tempfile::tempdir().expect("a folder");
    let authfile = folder.path().join("auth.json").display().to_string();
    let encoded = login::authorization().trim_start_matches("Basic ").to_owned();
    let host = front.host.as_str();
    fs::write(&authfile, json!({ "auths": { host: { "auth": encoded } } }).to_string()).expect("the authfile is written");
    assert_reported(&rows(&page), &report(&page.url(), &["--authfile", &authfile]));
}

#[test]
fn tokens_take_three_requests_per_image() {
    // No login form is shown.
    let login = login::behind_nginx(registry(), "*");
    let proxy = Proxy::before(&login.host);
    let page = open(&seeded(&proxy.host));
    assert_whole(&rows(&page), &registry().seed);
    assert_eq!(page.controls("form"), []);
    let is_data = |l: &Logged| l.method != "OPTIONS";
    let images = registry().seed.images.len();
    let (asked, at_registry) = (login.tokens.asked(), proxy.count_where(is_data));
    let each = (asked.len() + at_registry) as f64 / images as f64;
    println!("tokens: {each:.2} requests an image, {} preflights", proxy.count() - at_registry);
    assert!(each < 3.7, "{} for tokens, {at_registry} at the registry:\n{}", asked.len(), proxy.log_text());
    assert!(proxy.count() - at_registry <= at_registry);
    let scopes: BTreeSet<_> = asked.iter().filter_map(|a| a.scope.clone()).collect();
    assert_eq!((scopes.len(), asked.len()), (images, images), "one token a repository, and none twice");
    assert!(asked.iter().all(|a| !a.authorization), "there is no login to send");
    login.tokens.assert_clean();
    assert_same_files(&page, &page.url());
}

#[test]
fn members_only_tokens_use_the_login() {
    let login = login::behind_nginx(registry(), "*");
    login.tokens.set(|s| s.others = Access::Members);
    let page = open(&seeded(&login.host));
    assert_unknown(&page);
    assert!(page.has("form", &format!("Log in to {}", login.host)), "{}", page.text());
    log_in(&page, &login.host, USER, "wrong");
    assert_unknown(&page);
    assert_shows(&page, &["refuses this login"]);
    login.tokens.reset();
    // The test double reports any other `Authorization` than the user's, and the wrong one above was intended.
    let login_again = login::behind_nginx(registry(), "*");
    login_again.tokens.set(|s| s.others = Access::Members);
    visit(&page, &seeded(&login_again.host));
    log_in(&page, &login_again.host, USER, PASSWORD);
    assert_whole(&rows(&page), &registry().seed);
    assert_keeps_no_secret(&page);
    login_again.tokens.assert_clean();
    let asked = login_again.tokens.asked();
    assert!(asked.iter().filter(|a| a.authorization).all(|a| a.status == 200), "{asked:?}");
}

#[test]
fn two_logins_reach_only_their_registries() {
    let one = login::htpasswd(registry());
    let first = nginx::cors(&one.host, "*");
    let second = nginx::basic(&registry().host, &login::HTPASSWD.replacen(USER, "other", 1));
    let seen: [Arc<Mutex<BTreeSet<String>>>; 2] = Default::default();
    let proxies = [Proxy::before(&first.host), Proxy::before(&second.host)];
    for (proxy, seen) in proxies.iter().zip(&seen) {
        let seen = Arc::clone(seen);
        proxy.fault(move |request| {
            seen.lock().expect("no panic").extend(request.header("Authorization").map(str::to_owned));
            None
        });
    }
    let hosts = proxies.each_ref().map(|p| p.host.clone());
    let images: Vec<&String> = registry().seed.having(PROMOTED).map(|i| &i.short).take(20).collect();
    let entry = |(i, short): (usize, &&String)| {
        let host = &hosts[i % 2];
        format!("- imagename: {host}/{NAMESPACE}/{PREFIX}{short}:{{{{tag}}}}\n")
    };
    let folder = tempfile::tempdir().expect("a folder");
    let template = images.iter().enumerate().map(entry).collect::<String>();
    fs::write(folder.path().join("two.j2"), format!("container_images_template:\n{template}")).expect("written");
    let templates = Site::with_headers(folder.path(), "/", &[("Access-Control-Allow-Origin", "*")]);
    let page = open(&address(&[("template", &format!("{}two.j2", templates.url)), ("tag", PROMOTED)]));
    assert_unknown(&page);
    let forms = || -> BTreeSet<String> { page.controls("form").into_iter().map(|c| c.name).collect() };
    let form = |host: &String| format!("Log in to {host}");
    assert_eq!(forms(), hosts.iter().map(form).collect());
    let mut users = [USER, "other"];
    let first_form = page.controls("form")[0].name.clone();
    let mut order = [0, 1];
    if first_form != form(&hosts[0]) {
        order.reverse();
    }
    users = order.map(|i| users[i]);
    log_in(&page, &hosts[order[0]], users[0], PASSWORD);
    assert_eq!(forms(), BTreeSet::from([form(&hosts[order[1]])]));
    assert_eq!(count(&rows(&page), "resolved"), 10, "{}", page.text());
    log_in(&page, &hosts[order[1]], users[1], PASSWORD);
    assert_eq!(count(&rows(&page), "resolved"), 20, "{}", page.text());
    let got = seen.each_ref().map(|s| s.lock().expect("no panic").clone());
    assert_eq!(got[0], BTreeSet::from([login::authorization()]));
    assert_eq!(got[1].len(), 1);
    assert_ne!(got[0], got[1]);
}

#[test]
fn unreadable_token_service_is_named() {
    let login = login::behind_nginx(registry(), "*");
    login.tokens.set(|s| s.cors = false);
    let page = open(&seeded(&login.host));
    assert_unknown(&page);
    let service = format!("http://{}", login.tokens.server.host);
    assert_told(&page, &[&service, "token", "CORS", "location / {"]);
    assert!(login.tokens.asked().len() < 30, "{} times", login.tokens.asked().len());
    assert_command_helps(&page);
}

#[test]
fn offered_lines_make_token_service_readable() {
    let tokens = login::Tokens::start();
    tokens.set(|s| s.cors = false);
    let server = tokens.server.host.clone();
    let login = login::with_realm(registry(), tokens, "http://tokens.example/token");
    let front = nginx::cors(&login.host, "*");
    let page = knowing(&[("registry.example", &front.host), ("tokens.example", &server)]);
    visit(&page, &named());
    assert_told(&page, &["http://tokens.example"]);
    let lines = lines(&page, TOKEN_NGINX);
    drop(page);
    let cured = nginx_with(&lines, &server);
    let page = knowing(&[("registry.example", &front.host), ("tokens.example", &cured.host)]);
    visit(&page, &named());
    assert_whole(&rows(&page), &registry().seed);
}

// -- the doctor

/// An nginx with the lines that the page offers, before a server here.
fn nginx_with(lines: &str, upstream: &str) -> Nginx {
    let (marked, ours) = ("proxy_pass http://127.0.0.1:5000;", format!("proxy_pass http://{upstream};"));
    assert!(lines.contains(marked), "{lines}");
    let rest = if lines.contains("location / {") { "" } else { "location / { return 404; }" };
    Nginx::start(&(lines.replace(marked, &ours) + rest))
}

/// A registry that reads from the seeded one, with lines for its `config.yml` as the page offers them.
fn registry_with(lines: &str) -> (Guarded, String, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.yml");
    let (start, headers) = ("version: 0.1\nlog:\n  level: info\n", lines.replacen("http:\n", "http:\n  addr: 127.0.0.1:0\n", 1));
    let storage = format!("storage:\n  filesystem:\n    rootdirectory: '{}'\n", folder.path().join("data").display());
    let proxy = format!("proxy:\n  remoteurl: http://{}\n", registry().host);
    fs::write(&config, [start, &storage, &headers, &proxy].concat()).expect("the configuration is written");
    let config = config.to_str().expect("text");
    let args = ["serve", config];
    let (server, host) = Guarded::spawn("docker-registry", &args, "docker-registry", Duration::from_secs(30), |line| {
        let (_, rest) = line.split_once("listening on ")?;
        Some(rest.split(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).next()?.to_owned())
    });
    (server, host, folder)
}

#[test]
fn registry_without_cors_is_diagnosed() {
    // It gets few requests, and the command that the page offers helps.
    let front = nginx::no_cors(&registry().host);
    let proxy = Proxy::before(&front.host);
    let page = open(&seeded(&proxy.host));
    assert_unknown(&page);
    assert_told(&page, &["answers, but does not allow this page to read it", "CORS is not enabled"]);
    let origin = page.eval("return location.origin", &[]).as_str().expect("text").to_owned();
    assert_told(&page, &[&format!("Access-Control-Allow-Origin: ['{origin}']"), &format!("\"{origin}\" always;")]);
    assert!(proxy.count() < 40, "{} requests:\n{}", proxy.count(), proxy.log_text());
    println!("without CORS: {} requests for 124 images", proxy.count());
    assert_command_helps(&page);
}

#[test]
fn offered_nginx_lines_make_registry_readable() {
    let bare = nginx::no_cors(&registry().host);
    let page = knowing(&[("registry.example", &bare.host)]);
    visit(&page, &named());
    assert_unknown(&page);
    let lines = lines(&page, NGINX);
    drop(page);
    let cured = nginx_with(&lines, &bare.host);
    let page = knowing(&[("registry.example", &cured.host)]);
    visit(&page, &named());
    assert_whole(&rows(&page), &registry().seed);
}

#[test]
fn offered_registry_lines_make_it_readable() {
    let bare = nginx::no_cors(&registry().host);
    let page = knowing(&[("registry.example", &bare.host)]);
    visit(&page, &named());
    let lines = lines(&page, CONFIG);
    drop(page);
    let (_server, host, _folder) = registry_with(&lines);
    let page = knowing(&[("registry.example", &host)]);
    visit(&page, &named());
    assert_whole(&rows(&page), &registry().seed);
}

#[test]
fn preflight_demanding_login_is_diagnosed() {
    // The nginx lines that the page offers make the registry readable.
    // In a private network: over plain http a login is sent nowhere else.
    const HOST: &str = "192.168.24.1";
    let link = seeded_and(HOST, &[("endpoint", "192.168.24.1=http://192.168.24.1")]);
    let bare = login::htpasswd(registry());
    let page = knowing(&[(HOST, &bare.host)]);
    visit(&page, &link);
    assert_unknown(&page);
    assert!(!page.text().contains("overtag prepare"), "before a login nothing is wrong: {}", doctor(&page));
    assert_shows(&page, &["is not encrypted"]);
    looks(&page, "login-plain", "form.login");
    log_in(&page, HOST, USER, PASSWORD);
    assert_unknown(&page);
    assert_told(&page, &["requires a login", "OPTIONS", NGINX]);
    let command = lines(&page, COMMAND);
    assert!(command.contains("--authfile"), "the registry wants a login, and the command has none:\n{command}");
    let lines = lines(&page, NGINX);
    drop(page);
    let cured = nginx_with(&lines, &bare.host);
    let page = knowing(&[(HOST, &cured.host)]);
    visit(&page, &link);
    log_in(&page, HOST, USER, PASSWORD);
    assert_whole(&rows(&page), &registry().seed);
}

#[test]
fn preflight_refusing_token_is_diagnosed() {
    let login = login::bare(registry());
    let page = open(&seeded(&login.host));
    assert_unknown(&page);
    assert_told(&page, &["OPTIONS", NGINX]);
    assert_command_helps(&page);
}

/// The built page at `https://dashboard.example`.
fn secure_site() -> Nginx {
    nginx::site(dist(), "/", &["dashboard.example"])
}

#[test]
fn https_page_reports_mixed_content() {
    let site = secure_site();
    let proxy = Proxy::before(&registry().host);
    let secure = nginx::cors_tls(&registry().host, &["registry.example"]);
    let open = |registry: &str, link: &str| {
        let names = [("dashboard.example", site.host.as_str()), ("registry.example", registry)];
        let args = vec!["--ignore-certificate-errors".to_owned()];
        let page = page(&Options { host_resolver_rules: Some(nginx::rules(&names)), args, ..options() });
        visit(&page, &format!("https://dashboard.example/?{link}"));
        page
    };
    let page = open(&proxy.host, &nova("registry.example", &[("endpoint", "registry.example=http://registry.example")]));
    assert_unknown(&page);
    assert_told(&page, &["mixed content", "http://registry.example", "https"]);
    assert_eq!(proxy.count(), 0, "{}", proxy.log_text());
    let command = lines(&page, COMMAND);
    assert!(command.contains("overtag prepare --link 'https://dashboard.example/?"), "{command}");
    drop(page);
    let page = open(&secure.host, &nova("registry.example", &[]));
    let shown = rows(&page);
    assert!(count(&shown, "resolved") > 5 && count(&shown, "error") == 0, "{shown:?}\n{}", page.text());
}

#[test]
fn public_page_reports_blocked_local_network() {
    let site = secure_site();
    let proxy = Proxy::before(&registry().host);
    let spaces = nginx::spaces(&[(&site.host, "public"), (&proxy.host, "local")]);
    let rules = nginx::rules(&[("dashboard.example", &site.host)]);
    let args = vec!["--ignore-certificate-errors".to_owned(), spaces];
    let link = format!("https://dashboard.example/?{}", nova(&proxy.host, &[]));
    let open = |is_granted: bool| {
        let page = page(&Options { host_resolver_rules: Some(rules.clone()), args: args.clone(), ..options() });
        if is_granted {
            let permission = json!({ "permission": { "name": "local-network" }, "setting": "granted" });
            page.cdp("Browser.setPermission", &permission);
        }
        visit(&page, &link);
        page.click("button", "Allow this registry");
        done(&page);
        page
    };
    let page = open(false);
    assert_unknown(&page);
    assert_told(&page, &["no response from", "local network", "overtag prepare --link"]);
    assert_eq!(proxy.count(), 0, "{}", proxy.log_text());
    drop(page);
    let shown = rows(&open(true));
    assert!(count(&shown, "resolved") > 5 && count(&shown, "error") == 0, "{shown:?}");
}

#[test]
fn offline_page_reports_it_and_recovers() {
    let page = open(&format!("{}?{}", site().url, nova(&registry().host, &[])));
    assert_eq!(count(&rows(&page), "error"), 0);
    page.set_offline(true);
    page.click("button", "Refresh");
    page.wait_for("document.querySelectorAll('tr[data-status=error]').length > 5", LIMIT);
    done(&page);
    assert_unknown(&page);
    assert_told(&page, &["offline"]);
    page.set_offline(false);
    page.click("button", "Retry failed");
    done(&page);
    let shown = rows(&page);
    assert!(count(&shown, "resolved") > 5 && count(&shown, "error") == 0, "{shown:?}");
    assert_eq!(doctor(&page), "");
}

#[test]
fn unreachable_host_is_reported() {
    // The system never assigns a port of this range, so nothing listens there.
    let host = "127.0.0.1:1023".to_owned();
    let page = open(&seeded(&host));
    assert_unknown(&page);
    assert_told(&page, &[&format!("no response from http://{host}"), "overtag prepare --link"]);
    assert!(!doctor(&page).contains("Access-Control"), "{}", doctor(&page));
}

// -- limits, hidden headers

#[test]
fn readable_rate_limit_is_waited_out() {
    for reported in [RetryAfter::Seconds(2), RetryAfter::Date(3)] {
        let front = nginx::limited(&registry().host, 20, 5, 429, Some(reported));
        let page = page(&options());
        watch(&page);
        let since = Instant::now();
        visit(&page, &seeded(&front.host));
        println!("{reported:?}: 124 images at 20 a second in {:.1?}", since.elapsed());
        assert_whole(&rows(&page), &registry().seed);
        assert_ne!(waits(&page, &front.host), [""; 0], "{reported:?}: {}", page.eval("return said.join('\\n')", &[]));
    }
}

#[test]
fn rate_limit_without_hint_is_waited_out() {
    // A 429 that a page cannot read, and a 503 without `Retry-After`.
    for front in
        [nginx::limited_unreadable(&registry().host, 40, 10, 429, None), nginx::limited(&registry().host, 40, 10, 503, None)]
    {
        let page = open(&seeded(&front.host));
        assert_whole(&rows(&page), &registry().seed);
    }
}

#[test]
fn hidden_headers_leave_results_unchanged() {
    let front = nginx::hiding(&registry().host);
    let proxy = Proxy::before(&front.host);
    let page = open(&seeded(&proxy.host));
    assert_whole(&rows(&page), &registry().seed);
    assert_eq!(proxy.count_where(|l| l.method == "OPTIONS"), 0);
    assert_same_files(&page, &page.url());
}

// -- snapshots

/// Takes a snapshot for a link, at that time where one is given.
fn snapshot(link: &str, epoch: Option<&str>) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot.json");
    let done = overtag(&["snapshot", "--link", link, "--output", &path.display().to_string()], epoch);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    text(&path)
}

/// The built page with a file beside it.
fn site_with(name: &str, content: &str) -> (Site, TempDir) {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("dist is there").filter_map(Result::ok) {
            let to = to.join(entry.file_name());
            if entry.path().is_dir() { copy(&entry.path(), &to) } else { _ = fs::copy(entry.path(), to).expect("a copy") }
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    copy(dist(), folder.path());
    fs::write(folder.path().join(name), content).expect("written");
    (Site::start(folder.path(), "/deep/"), folder)
}

#[test]
fn snapshot_link_replaces_the_registry() {
    // No page can read this registry.
    let front = nginx::no_cors(&registry().host);
    let proxy = Proxy::before(&front.host);
    let link = seeded(&proxy.host);
    let taken = snapshot(&link, None);
    assert_eq!(snapshot(&link, Some("1")), snapshot(&link, Some("1")), "the same answers are the same bytes");
    let (site, _folder) = site_with("snapshot.json", &taken);
    proxy.reset();
    let page = open(&format!("{}?{}&snapshot=snapshot.json", site.url, link.split_once('?').expect("a query").1));
    assert_whole(&rows(&page), &registry().seed);
    assert_shows(&page, &["Read from a snapshot of ", "no registry was queried"]);
    assert_eq!(proxy.count(), 0, "{}", proxy.log_text());
    let is_asked = |(path, _): &&(String, u16)| path.starts_with("/deep/snapshot.json");
    assert_eq!(site.requests().iter().filter(is_asked).count(), 1);
    assert_same_files(&page, &page.url());
    assert_eq!(proxy.count(), 0, "{}", proxy.log_text());
    page.click("button", "Refresh");
    page.wait_for_text("Read from a snapshot of ", PATIENCE);
    done(&page);
    assert_whole(&rows(&page), &registry().seed);
    assert_eq!(console_errors(&page), [""; 0]);

    let elsewhere = Site::with_headers(_folder.path(), "/any/", &[("Access-Control-Allow-Origin", "*")]);
    let page = open(&format!("{link}&{}", query(&[("snapshot", &format!("{}snapshot.json", elsewhere.url))])));
    assert_whole(&rows(&page), &registry().seed);
    assert_eq!((elsewhere.requests().len(), proxy.count()), (1, 0), "{}", proxy.log_text());
    assert_same_files(&page, &page.url());
}

#[test]
fn quay_snapshot_equals_live_quay() {
    let seed = quay::Seed::new(&names());
    let double = Quay::seeded(&seed);
    let link = seeded_and(&double.host, &[("api", "quay")]);
    let taken = snapshot(&link, None);
    println!("a snapshot of 124 images of a Quay: {} bytes", taken.len());
    double.proxy.reset();
    let (site, _folder) = site_with("snapshot.json", &taken);
    let page = open(&format!("{}?{}&snapshot=snapshot.json", site.url, link.split_once('?').expect("a query").1));
    let shown = rows(&page);
    assert_quay(&shown, &seed);
    assert_eq!(shown.len(), seed.images.len());
    assert_eq!(double.proxy.count(), 0);
    assert_shows(&page, &[", pushed "]);
    assert_reported(&shown, &report(&link, &[]));
}

#[test]
fn a_stale_snapshot_is_flagged() {
    let link = seeded(&registry().host);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let taken = snapshot(&link, Some(&(now - 2 * 86_400).to_string()));
    let page = open(&link);
    drop_on(&page, "old.json", &taken);
    page.wait_for_text("The snapshot is of ", PATIENCE);
    done(&page);
    assert_whole(&rows(&page), &registry().seed);
    let warning = page.eval("return document.querySelector('.notice[data-kind=warning]')?.innerText ?? ''", &[]);
    let warning = warning.as_str().expect("text");
    assert!(warning.contains("2 d ago") && warning.contains("may have moved"), "{warning}");
    looks(&page, "snapshot-stale", ".notice");
}

#[test]
fn snapshot_file_is_chosen_and_removed() {
    let proxy = Proxy::before(&registry().host);
    let link = seeded(&proxy.host);
    let taken = snapshot(&link, None);
    let page = open(&link);
    proxy.reset();
    unfold(&page);
    choose_file(&page, "Snapshot file", "mine.json", &taken);
    page.wait_for_text("Read from a snapshot of ", PATIENCE);
    done(&page);
    assert_whole(&rows(&page), &registry().seed);
    assert_eq!(proxy.count(), 0, "{}", proxy.log_text());
    page.click("button", "Remove mine.json");
    page.wait_for("!document.body.innerText.includes('Read from a snapshot')", PATIENCE);
    done(&page);
    assert_whole(&rows(&page), &registry().seed);
    assert!(proxy.count() > 200, "the registry is asked again: {} requests", proxy.count());
}

#[test]
fn full_snapshot_serves_every_filter() {
    let link = seeded(&registry().host);
    let taken = snapshot(&link, None);
    let page = page(&options());
    for filter in [("include", "nova-"), ("include", "-base"), ("exclude", "^.*-a"), ("missing", "keep")] {
        let link = seeded_and(&registry().host, &[filter]);
        visit(&page, &link);
        drop_on(&page, "all.json", &taken);
        page.wait_for_text("Read from a snapshot of ", PATIENCE);
        done(&page);
        let shown = rows(&page);
        let wrong: Vec<&Row> = shown.iter().filter(|r| r.status == "error").collect();
        assert!(!shown.is_empty() && wrong.is_empty(), "{filter:?}: {} of {}: {:#?}", wrong.len(), shown.len(), wrong[0]);
        assert_reported(&shown, &report(&link, &[]));
    }
}

#[test]
fn image_missing_in_snapshot_is_error() {
    let link = seeded(&registry().host);
    let taken = snapshot(&format!("{link}&include=nova-"), None);
    let page = open(&link);
    drop_on(&page, "some.json", &taken);
    page.wait_for_text("Read from a snapshot of ", PATIENCE);
    done(&page);
    let shown = rows(&page);
    assert_true(&shown, &registry().seed);
    let wrong: Vec<&Row> = shown.iter().filter(|r| (r.status == "error") == r.name.concat().contains("nova-")).collect();
    assert!(wrong.is_empty() && count(&shown, "resolved") > 5, "{wrong:#?}");
    visit(&page, &link.replace(PROMOTED, "current-tripleo-rdo"));
    drop_on(&page, "some.json", &taken);
    page.wait_for_text("Read from a snapshot of ", PATIENCE);
    done(&page);
    assert_unknown(&page);
}

#[test]
fn broken_snapshot_is_reported() {
    let link = seeded(&registry().host);
    let page = page(&options());
    for (content, words) in [
        ("no snapshot at all", "snapshot"),
        ("{}", "snapshot"),
        (r#"{"overtag_snapshot":2,"tool":"x","fetched_at":"","fetched":0,"link":"","repositories":{}}"#, "version"),
    ] {
        // A file that is dropped by mistake replaces nothing.
        visit(&page, &link);
        drop_on(&page, "broken.json", content);
        page.wait_for_text("broken.json was not read", PATIENCE);
        assert_shows(&page, &["broken.json", words]);
        assert_whole(&rows(&page), &registry().seed);
        // A file that is chosen is the one that is wanted.
        unfold(&page);
        choose_file(&page, "Snapshot file", "broken.json", content);
        page.wait_for("document.querySelector('main [role=alert]')", PATIENCE);
        done(&page);
        let alert = page.eval("return document.querySelector('main [role=alert]').innerText", &[]);
        let alert = alert.as_str().expect("text");
        assert!(alert.contains("broken.json") && alert.contains(words), "{content}: {alert}");
        assert!(page.button_state(CONTAINERS).disabled);
    }
    looks(&page, "snapshot-broken", "main [role=alert]");
    visit(&page, &format!("{link}&snapshot=nowhere.json"));
    assert_shows(&page, &["the snapshot cannot be read", "404", "nowhere.json"]);
    assert!(page.button_state(CONTAINERS).disabled);
}

#[test]
fn promotion_shows_against_earlier_snapshot() {
    let scratch = Registry::scratch();
    let hash = |n: usize| quay::hash_tag(n);
    let push = |name: &str, n: usize, tags: &[&str]| {
        let own = hash(n);
        let all = [&[own.as_str()], tags].concat();
        let labels = [(LABEL, own.as_str())];
        scratch.push(&format!("{NAMESPACE}/{PREFIX}{name}"), &all, seeds::Kind::Docker, Some(&labels), n)
    };
    for name in ["one", "two"] {
        push(name, 1, &[PROMOTED]);
    }
    push("three", 1, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("few.j2"), support::template(&["one", "two", "three"])).expect("written");
    let templates = Site::with_headers(folder.path(), "/", &[("Access-Control-Allow-Origin", "*")]);
    let (template, namespace) = (format!("{}few.j2", templates.url), format!("{}/{NAMESPACE}", scratch.host));
    let choices = [("template", template.as_str()), ("namespace", &namespace), ("name_prefix", PREFIX), ("tag", PROMOTED)];
    let link = address(&choices);
    let older = snapshot(&link, None);
    for name in ["one", "three"] {
        push(name, 0, &[PROMOTED]);
    }
    let page = open(&link);
    unfold(&page);
    let assert_changes = |message: &str| {
        page.wait_for_text("2 changed, 1 unchanged", PATIENCE);
        let changes = page.table("Changes");
        let of = |name: &str, column: &str| {
            let row = changes
                .iter()
                .find(|r| r["Image"].starts_with(&format!("{PREFIX}{name} ")))
                .unwrap_or_else(|| panic!("{message}: {name} is not in {changes:?}"));
            format!("{} {}", row[column], row.get(&format!("{column}@title")).map_or("", String::as_str))
        };
        assert!(of("one", "Change").starts_with("moved") && of("three", "Change").starts_with("added"), "{message}: {changes:?}");
        assert!(of("one", "From").contains(&hash(1)) && of("one", "To").contains(&hash(0)), "{message}: {changes:?}");
        assert!(of("three", "To").contains(&hash(0)) && of("three", "From").trim().is_empty(), "{message}: {changes:?}");
    };
    choose_file(&page, "Earlier snapshot, to compare with", "before.json", &older);
    assert_changes("live");
    looks(&page, "changes", "section.changes");
    page.click("button", "Remove before.json");
    page.wait_for("!document.querySelector('section.changes')", PATIENCE);
    // And two files, without any registry.
    let newer = snapshot(&link, None);
    drop_on(&page, "after.json", &newer);
    page.wait_for_text("Read from a snapshot of ", PATIENCE);
    choose_file(&page, "Earlier snapshot, to compare with", "before.json", &older);
    assert_changes("offline");
}

// -- how it looks

#[test]
fn doctor_section_is_accessible() {
    let front = nginx::no_cors(&registry().host);
    let page = open(&seeded(&front.host));
    looks(&page, "doctor", "section.doctor");
    lines(&page, COMMAND);
    assert!(page.focused().name.starts_with("Copy "), "{:?}", page.focused());
}

#[test]
fn login_form_works_from_keyboard() {
    let locked = login::htpasswd(registry());
    let front = nginx::cors(&locked.host, "*");
    let page = open(&seeded(&front.host));
    looks(&page, "login", "form.login");
    page.click("textbox", "User");
    for key in USER.chars() {
        page.press(&key.to_string());
    }
    page.press("Tab");
    assert_eq!(page.focused().name, "Password");
    for key in PASSWORD.chars() {
        page.press(if key == ' ' { "Space".to_owned() } else { key.to_string() }.as_str());
    }
    page.press("Enter");
    page.wait_for("document.querySelectorAll('tr[data-status=resolved]').length > 100", LIMIT);
    done(&page);
    assert_whole(&rows(&page), &registry().seed);
}

#[test]
fn waiting_status_is_accessible() {
    let double = Quay::seeded(&quay::Seed::new(&names()));
    double.limit(0.0, 40);
    let page = page(&options());
    watch(&page);
    page.open(&seeded_and(&double.host, &[("api", "quay")]));
    page.wait_for("said.at(-1)?.includes('waiting')", LIMIT);
    looks(&page, "waiting", "[role=status]");
    page.click("button", "Cancel");
    done(&page);
}

#[test]
fn snapshot_notice_is_accessible() {
    let link = seeded(&registry().host);
    let taken = snapshot(&link, None);
    let page = open(&link);
    drop_on(&page, "mine.json", &taken);
    page.wait_for_text("Read from a snapshot of ", PATIENCE);
    done(&page);
    looks(&page, "snapshot", ".notice");
}

// -- HTTP as servers speak it, and input files

#[test]
fn page_tolerates_unusual_digest_headers() {
    // All forms that HTTP allows give the same tags. A digest of another body is an error.
    let proxy = Proxy::before(&registry().host);
    let link = seeded_and(&proxy.host, &[("include", "nova-"), ("pin", "digest")]);
    let is_manifest = |seen: &Seen| seen.path.contains("/manifests/") && seen.method != "OPTIONS";
    let plain = {
        let page = open(&link);
        rows(&page).into_iter().map(|row| (row.name, row.tag)).collect::<BTreeSet<_>>()
    };
    assert!(plain.len() > 3);
    for (name, value) in [
        ("Docker-Content-Digest", "a".repeat(64)),
        ("Docker-Content-Digest", format!("\"sha256:{}\"", "a".repeat(64))),
        ("Docker-Content-Digest", format!("SHA256:{}", "A".repeat(64))),
        ("Docker-Content-Digest", format!("sha512:{}", "a".repeat(128))),
        ("Docker-Content-Digest", String::new()),
    ] {
        let header = value.clone();
        proxy.fault(move |seen| is_manifest(seen).then(|| Fault::set(name, &header)));
        let page = open(&link);
        let got: BTreeSet<_> = rows(&page).into_iter().map(|row| (row.name, row.tag)).collect();
        assert_eq!(got, plain, "{name}: {value}");
    }
    // A HEAD has no body, whatever its headers say.
    proxy.fault(move |seen| (is_manifest(seen) && seen.method == "HEAD").then(|| Fault::set("Content-Encoding", "gzip")));
    let page = open(&link);
    let got: BTreeSet<_> = rows(&page).into_iter().map(|row| (row.name, row.tag)).collect();
    assert_eq!(got, plain, "HEAD with a coding");
    // A well-formed digest of another body is an error.
    let wrong = format!("sha256:{}", "a".repeat(64));
    proxy.fault(move |seen| match seen.method.as_str() {
        "HEAD" if is_manifest(seen) => Some(Fault::hide("Docker-Content-Digest")),
        "GET" if is_manifest(seen) => Some(Fault::set("Docker-Content-Digest", &wrong)),
        _ => None,
    });
    let page = open(&link);
    assert!(rows(&page).iter().all(|row| row.status != "resolved" && row.status != "absent"), "{}", page.text());
}

#[test]
fn foreign_tag_list_link_makes_nothing_absent() {
    let proxy = Proxy::before(&registry().host);
    proxy.fault(|seen| {
        let link = "<http://registry-core:8080/v2/x/tags/list?last=z>; rel=\"next\"";
        seen.path.contains("/tags/list").then(|| Fault::set("Link", link))
    });
    let link = seeded_and(&proxy.host, &[("include", "nova-"), ("pin", "sibling,digest")]);
    let page = open(&link);
    let all = rows(&page);
    assert!(all.iter().all(|row| row.status != "absent" && row.status != "error"), "{}", page.text());
    // A refused list of tags does not ask for a login, and the images are pinned by their digests.
    proxy.fault(|seen| seen.path.contains("/tags/list").then(|| Fault::registry_error(403, "DENIED")));
    let page = open(&link);
    assert!(rows(&page).iter().filter(|row| row.status == "resolved").all(|row| row.pinned_by == "digest"), "{}", page.text());
    assert!(!page.text().contains("private") && !page.has("button", "Log in"), "{}", page.text());
}

#[test]
fn ignored_environment_parameters_are_shown() {
    let page = open(&address(&[("release", "train"), ("namespace", &format!("{}/x", nothing().host))]));
    unfold(&page);
    let environment = "parameter_defaults:\n  ContainerImagePrepare:\n  - set: {namespace: registry.example.com/rhosp}\n  \
                       ControllerCount: 1\n  ControllerCount: 2\n";
    choose_file(&page, "Heat environments", "containers-prepare-parameter.yaml", environment);
    page.wait_for_text("`ContainerImagePrepare` is ignored", PATIENCE);
    page.wait_for_text("`ControllerCount` appears twice", PATIENCE);
}
