//! The board and the comparison in Chromium: held to the command line, to a registry that is promoted meanwhile, to DLRN's own server.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::browser::{Options, PATIENCE, Page};
use support::dlrn::{Dlrn, Hashes};
use support::proxy::{Fault, Proxy, Seen};
use support::quay::{Manifest, Quay, Repository};
use support::registry::{Kind, LABEL, NAMESPACE, PREFIX, PROMOTED, Registry};
use support::shown::*;
use support::site::Site;
use support::template;

const DAY: u64 = 86_400;
const WRONG: &str = "absent,unresolved,error,torn,mismatch,unproven";
const NAMES: [&str; 9] =
    ["nova-api", "nova-compute", "neutron-server", "heat-api", "heat-engine", "keystone", "glance-api", "cinder-api", "horizon"];

/// What the command line says of a board.
fn reported(link: &str) -> Value {
    let done = overtag(&["board", "--link", link, "--format", "json"], None);
    serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&done.stderr)))
}

/// The cells of the table by image: the texts, in the order of the channels.
fn cells(page: &Page) -> BTreeMap<String, Vec<String>> {
    let js = "return [...document.querySelectorAll('table[aria-label=\"Promotion board\"] tbody tr.cells')]
                .map(r => [...r.children].map(c => c.innerText.trim().split(/\\s+/).join(' ')))";
    let rows: Vec<Vec<String>> = serde_json::from_value(page.eval(js, &[])).expect("texts");
    rows.into_iter().map(|mut row| (row.remove(0), row)).collect()
}

/// The cards: channel, "N of M", state, and all that stands on it.
fn cards(page: &Page) -> Vec<(String, String, String, String)> {
    let js = "return [...document.querySelectorAll('.stage')]
                .map(s => [s.querySelector('h2').innerText, s.querySelector('.count').innerText, s.dataset.state, s.innerText])";
    serde_json::from_value(page.eval(js, &[])).expect("texts")
}

/// A template of these images, on a host that any page may read.
fn templates_of(names: &[&str]) -> (tempfile::TempDir, Site) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("t.j2"), template(names)).expect("the template is written");
    let site = Site::with_headers(folder.path(), "/", &[("Access-Control-Allow-Origin", "*")]);
    (folder, site)
}

/// The address of a board of these images on a host.
fn board(host: &str, templates: &Site, channels: &str, more: &[(&str, &str)]) -> String {
    let (template, namespace) = (format!("{}t.j2", templates.url), format!("{host}/{NAMESPACE}"));
    let plain =
        [("view", "board"), ("template", &template), ("namespace", &namespace), ("name_prefix", PREFIX), ("channels", channels)];
    address(&[&plain[..], more].concat())
}

/// A made-up hash of a build; no two begin alike.
fn hash(i: usize) -> String {
    format!("{:08x}{:032x}_{:08x}", 0x1111_1111 * i, i, 0x1234_0000 + i)
}

fn push(registry: &Registry, short: &str, i: usize, tags: &[&str]) {
    let hash = hash(i);
    let tags: Vec<&str> = std::iter::once(hash.as_str()).chain(tags.iter().copied()).collect();
    registry.push(&format!("{NAMESPACE}/{PREFIX}{short}"), &tags, Kind::Docker, Some(&[(LABEL, &hash), ("name", short)]), i);
}

/// Refreshes, and waits until that has ended.
fn refresh(page: &Page) {
    page.eval("window.cards = document.querySelector('[role=status]').innerText", &[]);
    page.press("r");
    page.wait_for("document.querySelector('main').ariaBusy === 'true' || document.querySelector('[role=status]').innerText !== window.cards", LIMIT);
    done(page);
}

#[test]
fn demo_board_equals_command_line() {
    // It works from the keyboard, on a phone and on a wall, and is accessible.
    let page = open(&address(&[("view", "board")]));
    let expected = reported("?view=board");
    page.wait_for("document.querySelectorAll('tr.cells').length === 86", LIMIT);
    let shown = cells(&page);
    let images = expected["images"].as_array().expect("images");
    assert_eq!(page.table("Promotion board").len(), images.len(), "a row an image, and no other row");
    for image in images {
        let text = |cell: &Value| {
            let notes: Vec<&str> = cell["notes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            [&[cell["text"].as_str().unwrap_or_default()], &notes[..]].concat().join(" ")
        };
        let texts: Vec<String> = image["channels"].as_array().expect("cells").iter().map(text).collect();
        assert_eq!(shown[image["image"].as_str().unwrap_or_default()], texts, "{image}");
    }
    for (card, channel) in cards(&page).iter().zip(expected["channels"].as_array().expect("channels")) {
        let of = format!("{} of {}", channel["counts"]["at_hash"], channel["counts"]["asked"]);
        assert_eq!((card.0.as_str(), &card.1), (channel["channel"].as_str().unwrap_or_default(), &of));
        assert_eq!(card.2, channel["state"].as_str().unwrap_or_default());
        assert!(card.3.contains(channel["sentence"].as_str().unwrap_or("-")), "{}", card.3);
    }
    assert_shows(&page, &["No channel is whole", "current-tripleo is torn", "Not on the board (5)"]);
    assert_eq!(console_errors(&page), [""; 0]);

    // From the keyboard alone.
    page.press("e");
    page.wait_for("document.querySelectorAll('tr.cells').length < 20", PATIENCE);
    let wrong = images.iter().filter(|i| i["is_wrong"] == true).count();
    assert_eq!((cells(&page).len(), page.url().contains(&format!("status={}", WRONG.replace(',', "%2C")))), (wrong, true));
    page.press("e");
    page.wait_for("document.querySelectorAll('tr.cells').length === 86", PATIENCE);
    page.press("j");
    page.press("j");
    let second = page.eval("return document.activeElement.closest('tr').querySelector('th').innerText", &[]);
    assert_eq!(second, images[1]["image"]);
    page.press("Tab");
    page.press("j");
    let third = "const cell = document.activeElement.closest('td'); return [cell.parentNode.querySelector('th').innerText, cell.cellIndex]";
    assert_eq!(page.eval(third, &[]), json!([images[2]["image"], 2]), "in the same column");
    page.press("k");
    page.press("o");
    page.wait_for("document.querySelector('dialog[open]') !== null", PATIENCE);
    done(&page);
    assert_shows(&page, &["podman pull", "docker pull", "skopeo copy", "@sha256:", "rdo_version="]);
    assert_accessible(&page, "a cell open");
    screenshot(&page, "board-cell");
    page.press("Escape");
    page.wait_for("document.querySelector('dialog[open]') === null", PATIENCE);
    assert_eq!(page.eval("return document.activeElement.classList.contains('cell')", &[]), true, "the focus is where it was");
    page.press("/");
    assert_eq!(page.focused().name, "Search");

    assert_accessible(&page, "light");
    screenshot(&page, "board-light");
    unfold(&page);
    page.prefer(&[("prefers-color-scheme", "dark"), ("prefers-reduced-motion", "reduce")]);
    assert_accessible(&page, "dark, unfolded");
    visit(&page, &address(&[("view", "board")]));
    screenshot(&page, "board-dark");
    page.set_window(360, 740, 1.0);
    visit(&page, &address(&[("view", "board")]));
    assert_accessible(&page, "360 px, dark");
    let fits = page.eval("return document.documentElement.scrollWidth <= innerWidth", &[]);
    assert_eq!(fits, true, "nothing is wider than the phone");
    screenshot(&page, "board-phone");

    // On a wall: only the wrong rows, and no buttons; in a small frame only the sentence.
    page.set_window(3840, 2160, 1.0);
    visit(&page, &address(&[("view", "board"), ("embed", "1")]));
    assert_eq!((cells(&page).len(), page.controls("button").len()), (wrong, 0));
    assert_accessible(&page, "on a wall");
    screenshot(&page, "board-wall");
    page.set_window(300, 150, 1.0);
    let seen = page.eval("return [...document.querySelector('.results').children].filter(e => e.offsetHeight > 0).length", &[]);
    assert_eq!(seen, 1);
}

#[test]
fn a_promotion_is_watched_image_by_image() {
    let registry = Registry::scratch();
    for name in NAMES {
        push(&registry, name, 1, &[PROMOTED]);
        push(&registry, name, 2, &["tripleo-ci-testing"]);
    }
    let (_folder, templates) = templates_of(&NAMES);
    let proxy = Proxy::before(&registry.host);
    let page = page(&options());
    // Notifications are recorded, and the permission is granted.
    let record = "window.notified = [];
                  window.Notification = class { constructor(title, more) { window.notified.push(title + ' | ' + more.body) }
                    static get permission() { return 'granted' } static requestPermission() { return Promise.resolve('granted') } };";
    page.cdp("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": record }));
    let link = board(&proxy.host, &templates, &format!("tripleo-ci-testing,{PROMOTED}"), &[]);
    visit(&page, &link);
    let n = NAMES.len();
    assert_eq!(proxy.count_where(|l| l.method == "OPTIONS"), 0);
    assert!(proxy.count() as f64 <= 2.1 * (2 * n) as f64 + 6.0, "six more for the scouts:\n{}", proxy.log_text());
    let card = |page: &Page| cards(page).remove(1);
    assert_eq!((card(&page).1, card(&page).2), (format!("{n} of {n}"), "whole".to_owned()));
    assert_shows(&page, &["All 2 channels are whole."]);
    let icon = |page: &Page| page.eval("return document.querySelector('link[rel=icon]').href", &[]);
    let calm = icon(&page);
    page.click("button", "Notify me");
    page.wait_for("location.search.includes('refresh=60')", PATIENCE);
    done(&page);

    proxy.reset();
    refresh(&page);
    assert!(proxy.count() <= 2 * n, "a refresh asks once a cell:\n{}", proxy.log_text());
    // While it is requested again, no cell disappears, and the focus stays.
    page.eval("window.mine = document.querySelectorAll('tr.cells')[4].querySelectorAll('button')[1]; window.mine.focus()", &[]);
    page.eval(
        "window.waited = 0; new MutationObserver(() => { window.waited += document.querySelectorAll('tr.cells [data-status=waiting]').length })
           .observe(document.querySelector('.board'), { subtree: true, childList: true, attributes: true })",
        &[],
    );
    let order = [4, 0, 7, 2, 8, 1, 6, 3, 5];
    for (k, i) in order.into_iter().enumerate().map(|(k, i)| (k + 1, i)) {
        push(&registry, NAMES[i], 2, &[PROMOTED]);
        if k % 3 != 1 && k != n {
            continue;
        }
        refresh(&page);
        let (_, count, state, _) = card(&page);
        assert_eq!(count, format!("{} of {n}", k.max(n - k)), "after {k}");
        assert_eq!(state, if k == n { "whole" } else { "torn" }, "after {k}");
        let shown = cells(&page);
        for (place, name) in NAMES.iter().enumerate() {
            let moved = order[..k].contains(&place);
            let own = &hash(if moved { 2 } else { 1 })[..8];
            let is_torn = k != n && moved != (2 * k > n);
            let text = if is_torn { format!("{own} torn") } else { own.to_owned() };
            assert_eq!(shown[*name][1], text, "{name} after {k}");
        }
        let title = page.eval("return document.title", &[]);
        if k == n {
            assert_eq!(title, "All 2 channels are whole · overtag");
        } else {
            assert_eq!(title, format!("1 of 2 channels is whole: {PROMOTED} is torn · overtag"));
            assert_ne!(icon(&page), calm);
        }
    }
    assert_eq!(page.eval("return window.waited", &[]), 0);
    assert_eq!(page.eval("return document.activeElement === window.mine && window.mine.isConnected", &[]), true);
    let notified: Vec<String> = serde_json::from_value(page.eval("return window.notified", &[])).expect("texts");
    assert!(notified[0].starts_with("overtag | You are notified when"), "the first one shows that it works: {notified:?}");
    assert!(notified[1].starts_with(&format!("{PROMOTED}: torn | Torn: ")), "{notified:?}");
    assert!(
        notified
            .last()
            .is_some_and(|t| t.starts_with(&format!("{PROMOTED}: whole | Whole: all {n} images at {}", &hash(2)[..8]))),
        "{notified:?}"
    );
    assert_shows(&page, &["In sync with tripleo-ci-testing."]);
    assert_eq!(proxy.count_where(|l| l.method == "OPTIONS"), 0);

    // An announcement is made once, and is then removed from the page.
    let announcement = "document.querySelector('.results > [aria-live]').innerText";
    // The last one is announced a second after it is shown.
    thread::sleep(Duration::from_secs(2));
    page.wait_for(&format!("{announcement} === ''"), LIMIT);
    page.eval(
        &format!("window.heard = []; setInterval(() => {{ if ({announcement}) window.heard.push({announcement}) }}, 100)"),
        &[],
    );
    refresh(&page);
    // Choosing other images is not a move, so nothing is notified.
    page.type_into("Name prefix", "nothing-");
    page.wait_for("document.querySelectorAll('.stage')[1].dataset.state === 'empty'", LIMIT);
    done(&page);
    page.wait_for("window.heard.length > 0", LIMIT);
    assert_eq!(
        page.eval("return [...new Set(window.heard)]", &[]),
        json!(["No channel is whole: tripleo-ci-testing is empty, current-tripleo is empty."])
    );
    assert_eq!(page.eval("return window.notified.length", &[]), notified.len());
    page.click("button", "Notify me");
    page.wait_for_text("Notifications are off.", PATIENCE);
}

#[test]
fn refresh_sends_one_request_per_cell() {
    // In every manifest form, and for a tag that is absent.
    let registry = Registry::scratch();
    let names = ["nova-api", "heat-api", "keystone", "horizon", "glance-api"];
    for (name, kind) in names.iter().zip([Kind::Docker, Kind::Oci, Kind::DockerList, Kind::OciIndex, Kind::Docker]) {
        let (hash, repo) = (hash(1), format!("{NAMESPACE}/{PREFIX}{name}"));
        let tags = [hash.as_str(), "tripleo-ci-testing", PROMOTED];
        let tags = if *name == "glance-api" { &tags[..2] } else { &tags[..] };
        registry.push(&repo, tags, kind, Some(&[(LABEL, &hash)]), 1);
    }
    let (_folder, templates) = templates_of(&names);
    let proxy = Proxy::before(&registry.host);
    let page = page(&options());
    visit(&page, &board(&proxy.host, &templates, &format!("tripleo-ci-testing,{PROMOTED}"), &[]));
    let of = |page: &Page| cards(page).into_iter().map(|(_, count, state, _)| (count, state)).collect::<Vec<_>>();
    let expected = [("5 of 5".to_owned(), "whole".to_owned()), ("4 of 5".to_owned(), "incomplete".to_owned())];
    assert_eq!(of(&page), expected);
    proxy.reset();
    refresh(&page);
    assert_eq!(of(&page), expected);
    assert_eq!(proxy.count(), 2 * names.len(), "{}", proxy.log_text());
    // The first image is a scout, so its config was read.
    page.press("j");
    page.press("o");
    page.wait_for("document.querySelector('dialog[open]') !== null", PATIENCE);
    assert_shows(&page, &["Built", "2019-05-29T00:00:00Z, "]);
    assert_eq!(page.focused().name, "nova-api in tripleo-ci-testing", "it is read from its beginning");
}

#[test]
fn only_open_board_refreshes_automatically() {
    let registry = Registry::scratch();
    for name in ["nova-api", "heat-api"] {
        push(&registry, name, 1, &[PROMOTED]);
    }
    let (_folder, templates) = templates_of(&["nova-api", "heat-api"]);
    let proxy = Proxy::before(&registry.host);
    let page = page(&options());
    // The page's timer of 30 s runs out after 0.1 s.
    let quick = "const real = window.setTimeout; window.setTimeout = (f, ms, ...a) => real(f, ms === 30000 ? 100 : ms, ...a);";
    page.cdp("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": quick }));
    visit(&page, &board(&proxy.host, &templates, PROMOTED, &[("refresh", "30")]));
    let cold = proxy.count();
    proxy.wait_for_requests(cold + 6, LIMIT);
    push(&registry, "nova-api", 2, &[PROMOTED]);
    page.wait_for("document.querySelector('.stage').dataset.state === 'torn'", LIMIT);
    page.eval("[...document.querySelectorAll('nav a')].find(a => a.innerText === 'Images').click()", &[]);
    page.wait_for("document.querySelector('table[aria-label=Images]') !== null", LIMIT);
    done(&page);
    let then = proxy.count();
    let later = "return new Promise(end => setTimeout(end, 600))";
    page.eval(later, &[]);
    assert_eq!(proxy.count(), then, "it goes on where it is not shown:\n{}", proxy.log_text());
}

#[test]
fn quay_board_sends_one_request_per_image() {
    // The history is read only on request.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let names = ["nova-api", "heat-api", "keystone", "glance-api", "horizon"];
    let repository = |name: &str| {
        let mut repository = Repository::new(&format!("{NAMESPACE}/{PREFIX}{name}"));
        let mut digests = Vec::new();
        for i in 1..=3 {
            let hash = hash(i);
            let image = Manifest::image(&format!("{name} {i}"), &[(LABEL, &hash)]);
            digests.push(repository.push(&hash, image, now - 20 * DAY + i as u64));
        }
        for (channel, periods) in
            [("podified-ci-testing", &[(0, 9), (1, 5), (2, 1)][..]), ("current-podified", &[(0, 8), (1, 4), (0, 2)])]
        {
            for (i, days) in periods {
                repository.tag(channel, &digests[*i], now - days * DAY);
            }
        }
        repository
    };
    let quay = Quay::start(names.map(repository).to_vec());
    let (folder, templates) = templates_of(&names);
    let page = page(&options());
    visit(&page, &board(&quay.host, &templates, "podified-ci-testing,current-podified", &[("api", "quay")]));
    assert_eq!(quay.data_requests(), names.len(), "{}", quay.log_text());
    assert!(
        cards(&page)[1].3.contains("Pushed 2 d ago") || cards(&page)[1].3.contains("Pushed 48 h ago"),
        "{:?}",
        cards(&page)[1]
    );
    refresh(&page);
    assert_eq!(quay.data_requests(), 2 * names.len(), "{}", quay.log_text());
    // A history that cannot be read is not shown as empty, and can be requested again.
    quay.fault(|seen| (seen.method == "GET" && seen.path.contains("specificTag")).then(|| Fault::registry_error(403, "DENIED")));
    page.click("button", "Read the history");
    page.wait_for_text("Not all of the history could be read", LIMIT);
    done(&page);
    quay.no_fault();
    let asked = quay.data_requests() - 2 * names.len();
    page.click("button", "Read the history");
    page.wait_for("document.querySelector('table[aria-label=Promotions]') !== null", LIMIT);
    assert!(!page.text().contains("Not all of the history"));
    done(&page);
    assert!(quay.data_requests() - asked <= 2 * names.len() + 6, "{}", quay.log_text());
    let rows: Vec<_> = page.table("Promotions").into_iter().filter(|r| r["Channel"] == "current-podified").collect();
    let reported: Vec<(bool, bool)> =
        rows.iter().map(|r| (r["Hash"].contains("rolled back"), r["Hash"].contains(&hash(1)[..8]))).collect();
    assert_eq!(reported, [(true, true), (false, false), (false, true)], "{rows:?}");
    assert_shows(&page, &["No history is available before", "2 promotions behind podified-ci-testing"]);
    assert_eq!(page.eval("return document.querySelectorAll('.timeline > g').length", &[]), 6, "drawn as well");
    refresh(&page);
    assert!(
        quay.data_requests() - asked <= 3 * names.len() + 6,
        "a refresh does not read the history again:\n{}",
        quay.log_text()
    );
    assert_accessible(&page, "with a timeline");

    // With a snapshot no more history can be requested.
    let link = board(&quay.host, &templates, "podified-ci-testing,current-podified", &[("api", "quay")]);
    let kept = folder.path().join("kept.json").display().to_string();
    let taken = overtag(&["snapshot", "--link", &link, "--output", &kept], None);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let address = format!("{}kept.json", templates.url);
    visit(
        &page,
        &board(&quay.host, &templates, "podified-ci-testing,current-podified", &[("api", "quay"), ("snapshot", &address)]),
    );
    assert_shows(&page, &["Promotions", "Read from a snapshot"]);
    assert!(!page.text().contains("Read the history"), "{}", page.text());
    quay.assert_clean();
}

const CRITERIA: &str = "
promotions:
  current-tripleo:
    candidate_label: tripleo-ci-testing
    criteria: [job-passed, job-failed, job-missing]
";

#[test]
fn page_shows_what_blocks_a_channel() {
    // From DLRN, Zuul and the promoter's criteria, live and from a snapshot.
    let names = ["nova-api", "heat-api", "keystone"];
    let registry = Registry::scratch();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let dlrn = Dlrn::start();
    let known = |i: usize| (hash(i)[..40].to_owned(), format!("{}{}", &hash(i)[41..], "7".repeat(32)));
    for (i, channel, days) in [(1, "tripleo-ci-testing", 5), (1, PROMOTED, 4), (2, "tripleo-ci-testing", 2)] {
        let (commit, distro) = known(i);
        dlrn.promote(channel, Hashes { commit: &commit, distro: &distro, extended: None }, None, now - days * DAY);
    }
    let (commit, distro) = known(2);
    let hashes = Hashes { commit: &commit, distro: &distro, extended: None };
    dlrn.vote(hashes, None, "job-passed", "success", now - 3600);
    dlrn.vote(hashes, None, "job-failed", "failure", now - 7200);
    for name in names {
        push(&registry, name, 1, &[PROMOTED]);
        push(&registry, name, 2, &["tripleo-ci-testing"]);
    }
    let (folder, templates) = templates_of(&names);
    fs::write(folder.path().join("criteria.yaml"), CRITERIA).expect("it is written");
    let zuul = Proxy::fake(|seen: &Seen| {
        let builds = if seen.path.contains("job-failed") {
            json!([{ "result": "FAILURE", "end_time": "2017-05-30T00:49:16", "log_url": "https://logs.example.org/z" }])
        } else {
            json!([])
        };
        Some(Fault::json(200, &builds))
    });
    let front = dlrn.front();
    let criteria = format!("{}criteria.yaml", templates.url);
    let channels = format!("tripleo-ci-testing,{PROMOTED}");
    let zuul_url = format!("http://{}/t", zuul.host);
    let link =
        board(&registry.host, &templates, &channels, &[("dlrn", &front.origin), ("criteria", &criteria), ("zuul", &zuul_url)]);
    let page = page(&options());
    visit(&page, &link);
    let short = &hash(2)[..8];
    assert_shows(
        &page,
        &[
            &format!("job-failed failed on {short} 2 h ago; its last build in Zuul ended in FAILURE"),
            &format!("job-missing has not reported for {short}; Zuul has no build of it."),
            "1 of 3 jobs passed for",
            "1 promotion behind tripleo-ci-testing",
        ],
    );
    // While all of it is requested again, the page says the same of the jobs.
    page.eval(
        "window.said = new Set(); const look = () => [...document.querySelectorAll('.reasons, .stages, .times')].forEach(e => window.said.add(e.innerText.replace(/[0-9]+ (s|min|h|d)/g, '')));
         look(); new MutationObserver(look).observe(document.querySelector('.results'), { subtree: true, childList: true, characterData: true })",
        &[],
    );
    refresh(&page);
    assert_eq!(page.eval("return window.said.size", &[]), 3, "{}", page.eval("return [...window.said]", &[]));
    zuul.hold();
    let asked = zuul.count();
    page.press("r");
    zuul.wait_for_requests(asked + 1, LIMIT);
    page.click("button", "Cancel");
    done(&page);
    zuul.release();
    assert_shows(&page, &["1 of 3 jobs passed for", "1 promotion behind tripleo-ci-testing"]);
    let log = page.eval("return document.querySelector('.blockers a').href", &[]);
    assert_eq!(log, "https://logs.example.org/job-failed");
    assert_eq!(page.table("Promotions").len(), 3);
    assert_accessible(&page, "with reasons");
    screenshot(&page, "board-reasons");
    let of_command = reported(&page.url());
    assert_eq!(of_command["channels"][1]["held_by"]["blockers"].as_array().map(Vec::len), Some(2));

    // A board of one channel shows as much as the command line does.
    visit(&page, &board(&registry.host, &templates, PROMOTED, &[("dlrn", &front.origin), ("criteria", &criteria)]));
    assert_shows(&page, &["job-missing has not reported for", "1 of 3 jobs passed for"]);

    // Cancel also ends the requests to Zuul.
    let slow = Proxy::fake(|_| None);
    slow.hold();
    let slow_zuul = format!("http://{}/t", slow.host);
    page.open(&board(&registry.host, &templates, &channels, &[("criteria", &criteria), ("zuul", &slow_zuul)]));
    slow.wait_for_requests(1, LIMIT);
    page.click("button", "Cancel");
    done(&page);
    assert_shows(&page, &["cancelled before a response arrived"]);
    slow.release();

    // The same from a snapshot, without asking anybody.
    let kept = folder.path().join("kept.json").display().to_string();
    let done_ = overtag(&["snapshot", "--link", &link, "--output", &kept], None);
    assert!(done_.status.success(), "{}", String::from_utf8_lossy(&done_.stderr));
    let (asked, snapshot) = (zuul.count(), format!("{}kept.json", templates.url));
    visit(&page, &board("unasked.example", &templates, &channels, &[("snapshot", &snapshot)]));
    assert_shows(&page, &["does not contain this repository"]);
    visit(&page, &board(&registry.host, &templates, &channels, &[("snapshot", &snapshot)]));
    assert_shows(&page, &["job-missing has not reported for", "no registry was queried", "0 requests"]);
    assert_eq!(zuul.count(), asked);

    // What cannot be read is reported, and nothing is concluded: a server without CORS, and a missing file.
    let broken = format!("{}nothing.json", templates.url);
    visit(&page, &board(&registry.host, &templates, &channels, &[("dlrn", &dlrn.url()), ("criteria", &criteria)]));
    assert_shows(&page, &["The board ignores it", "which it passed is not known"]);
    visit(&page, &board(&registry.host, &templates, &channels, &[("dlrn", &broken), ("criteria", &criteria)]));
    assert_shows(&page, &["the server returned 404"]);
    assert_eq!(cards(&page)[1].2, "whole", "the board itself is known all the same");
}

#[test]
fn any_two_sides_can_be_compared() {
    // Two channels, hashes, snapshots or files.
    let registry = Registry::scratch();
    for (i, name) in NAMES.iter().enumerate() {
        if i != 0 {
            push(&registry, name, 1, &["consistent"]);
        }
        if i != 1 {
            push(&registry, name, if i < 5 { 2 } else { 1 }, &[PROMOTED]);
        }
    }
    let (folder, templates) = templates_of(&NAMES);
    let proxy = Proxy::before(&registry.host);
    let compared = |page: &Page| -> Vec<(String, usize)> {
        let js = "return [...document.querySelectorAll('[aria-label=Changes] .toggle')].map(b => b.innerText.trim().split(/\\s+/)).map(([w, n]) => [w, +n])";
        serde_json::from_value(page.eval(js, &[])).expect("words and counts")
    };
    let own = |pairs: &[(&str, usize)]| pairs.iter().map(|(w, n)| ((*w).to_owned(), *n)).collect::<Vec<_>>();
    let link = |channels: &str, more: &[(&str, &str)]| {
        board(&proxy.host, &templates, channels, more).replace("view=board", "view=compare")
    };
    let page = page(&options());
    visit(&page, &link(&format!("consistent,{PROMOTED}"), &[]));
    assert_eq!(compared(&page), own(&[("added", 1), ("removed", 1), ("moved", 3), ("unchanged", 4)]));
    assert_shows(&page, &["1 added, 1 removed, 3 moved of 9 images", "nova-api", "nova-compute"]);
    assert_accessible(&page, "compared");
    screenshot(&page, "compare");
    page.eval("document.querySelectorAll('.preview').forEach(d => { d.open = true })", &[]);
    let text = page.text();
    for line in [
        format!("-- imagename: {}/{NAMESPACE}/{PREFIX}nova-compute:{}", proxy.host, hash(1)),
        format!("+- imagename: {}/{NAMESPACE}/{PREFIX}nova-api:{}", proxy.host, hash(2)),
    ] {
        assert!(text.contains(&line), "{line} is not in:\n{text}");
    }
    page.click("button", "unchanged 4");
    assert_eq!(page.table("Changes").len(), 4);

    // Two hashes; an image that could not be asked is unknown, and never removed.
    proxy.fault(|seen: &Seen| seen.path.contains("horizon/").then(|| Fault::registry_error(403, "DENIED")));
    visit(&page, &link(&format!("{},{}", hash(1), hash(2)), &[]));
    assert_eq!(compared(&page), own(&[("added", 1), ("removed", 4), ("moved", 3), ("unknown", 1)]));
    let first = &hash(1)[..8];
    assert_shows(&page, &[&format!("1 image of {first} could not be checked, and is not in its files below.")]);
    page.set_window(360, 740, 1.0);
    let wide = page.eval("return [document.documentElement.scrollWidth, innerWidth]", &[]);
    assert!(wide[0].as_u64() <= wide[1].as_u64(), "nothing is wider than the phone: {wide}");
    page.set_window(1280, 800, 1.0);
    proxy.no_fault();

    // A snapshot and the registry now.
    let earlier = folder.path().join("earlier.json").display().to_string();
    let address_of = format!("{}earlier.json", templates.url);
    let plain = board(&proxy.host, &templates, PROMOTED, &[("tag", PROMOTED)]);
    let taken = overtag(&["snapshot", "--link", &plain, "--output", &earlier], None);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    push(&registry, "keystone", 2, &[PROMOTED]);
    visit(&page, &link(PROMOTED, &[("tag", PROMOTED), ("against", &address_of)]));
    assert_eq!(compared(&page), own(&[("moved", 1), ("unchanged", 8)]));
    assert_shows(&page, &["keystone", "current-tripleo now"]);

    // After two of a board's channels were compared, the board is as before.
    visit(&page, &link(&format!("a,b,consistent,{PROMOTED}"), &[]));
    page.type_into("From", "consistent");
    page.type_into("To", PROMOTED);
    page.wait_for(&format!("location.search.endsWith('channels=consistent%2C{PROMOTED}%2Ca%2Cb')"), LIMIT);
    page.wait_for_text(&format!("From consistent to {PROMOTED}"), LIMIT);
    page.eval("[...document.querySelectorAll('nav a')].find(a => a.innerText === 'Board').click()", &[]);
    page.wait_for(&format!("location.search.endsWith('channels=a%2Cb%2Cconsistent%2C{PROMOTED}')"), LIMIT);
    page.back();

    // Two files, and one that cannot be compared.
    let list = |tag: &str, more: &str| {
        format!("container_images:\n- imagename: a.example/n/one:{tag}\n- imagename: a.example/n/two:1\n{more}")
    };
    let drop = |name: &str, text: &str| {
        let js = "const data = new DataTransfer(); data.items.add(new File([arguments[1]], arguments[0]));
                  document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, dataTransfer: data }))";
        page.eval(js, &[json!(name), json!(text)]);
    };
    drop("old.yaml", &list("1", ""));
    page.wait_for_text("old.yaml was read", PATIENCE);
    drop("new.yaml", &list("2", "- imagename: a.example/n/three:1\n"));
    page.wait_for_text("From old.yaml to new.yaml", LIMIT);
    assert_eq!(compared(&page), own(&[("added", 1), ("moved", 1), ("unchanged", 1)]));
    drop("odd.yaml", "a: 1\n");
    page.wait_for_text("neither container_images nor parameter_defaults", LIMIT);
    assert_shows(&page, &["Cannot compare the two sides", "odd.yaml"]);
}

#[test]
fn large_board_scrolls_and_keeps_choices() {
    let names: Vec<String> = (0..500).map(|i| format!("{}-{i:03}", ["nova", "neutron", "heat"][i % 3])).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let registry = Proxy::fake(|seen: &Seen| {
        let digest = format!("sha256:{:064x}", seen.path.len() + seen.path.bytes().map(usize::from).sum::<usize>());
        let headers = [
            ("Docker-Content-Digest", digest.as_str()),
            ("Content-Type", "application/vnd.docker.distribution.manifest.v2+json"),
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Expose-Headers", "Docker-Content-Digest"),
        ];
        Some(Fault::bare(200, &headers, ""))
    });
    let (_folder, templates) = templates_of(&names);
    let page = page(&options());
    visit(&page, &board(&registry.host, &templates, &format!("consistent,{PROMOTED}"), &[("pin", "digest")]));
    let drawn = |page: &Page| page.eval("return document.querySelectorAll('tr.cells').length", &[]).as_u64().unwrap_or(0);
    assert!((10..120).contains(&drawn(&page)), "{} rows are drawn", drawn(&page));
    assert_eq!(page.eval("return document.querySelector('.board').getAttribute('aria-rowcount')", &[]), "501");
    // If the row with the focus scrolls out of the document, the focus stays in the table.
    page.press("j");
    assert_eq!(page.eval("return document.activeElement.className", &[]), "cell");
    page.eval("const box = document.querySelector('.board-box'); box.scrollTop = box.scrollHeight", &[]);
    page.wait_for("document.activeElement.className === 'board-box'", LIMIT);
    page.wait_for("document.querySelector('tr.cells[aria-rowindex=\"501\"] th')?.innerText === 'neutron-499'", LIMIT);
    page.type_into("Search", "heat-250");
    page.wait_for("document.querySelectorAll('tr.cells').length === 0 || document.querySelector('tr.cells th').innerText.startsWith('heat-25')", LIMIT);
    page.type_into("Search", "nova-3");
    page.click("button", "Group by service");
    page.wait_for("document.querySelector('.group-row')?.innerText.startsWith('nova (')", LIMIT);
    page.click("button", "Worst first");
    page.choose("Refresh (s)", "300");
    page.type_into("Late after days", "2,5");
    done(&page);
    page.wait_for("location.search.includes('late=2%2C5')", PATIENCE);
    for part in [
        "view=board",
        "channels=consistent%2Ccurrent-tripleo",
        "q=nova-3",
        "group=service",
        "sort=status",
        "refresh=300",
        "late=2%2C5",
    ] {
        assert!(page.url().contains(part), "{part} is not in {}", page.url());
    }
    let again = open(&page.url());
    unfold(&page);
    unfold(&again);
    assert_eq!((again.url(), form(&again)), (page.url(), form(&page)));
    assert_eq!(
        again.eval("return document.querySelector('.group-row').innerText", &[]),
        page.eval("return document.querySelector('.group-row').innerText", &[])
    );

    // Back and forward between the views.
    let tab = |name: &str| {
        _ = page.eval("[...document.querySelectorAll('nav a')].find(a => a.innerText === arguments[0]).click()", &[json!(name)])
    };
    tab("Compare");
    page.wait_for("location.search.includes('view=compare')", PATIENCE);
    done(&page);
    tab("Images");
    page.wait_for("!location.search.includes('view=') && document.querySelector('table[aria-label=Images]') !== null", LIMIT);
    page.back();
    page.wait_for("document.querySelector('nav a[aria-current=page]').innerText === 'Compare'", LIMIT);
    page.back();
    page.wait_for("document.querySelector('table[aria-label=\"Promotion board\"]') !== null", LIMIT);
    done(&page);
    page.forward();
    page.wait_for("document.querySelector('nav a[aria-current=page]').innerText === 'Compare'", LIMIT);
}

#[test]
fn foreign_link_needs_permission_for_private_host() {
    let rules = format!("MAP overtag.example 127.0.0.1, {NO_NAMES}");
    let page = page(&Options { host_resolver_rules: Some(rules), ..options() });
    let elsewhere = site().url.replace("127.0.0.1", "overtag.example");
    let private = Proxy::fake(|_| Some(Fault::json(200, &json!([]))));
    for key in ["dlrn", "criteria", "zuul"] {
        let link = [("view", "board"), (key, &format!("http://{}/x", private.host))];
        visit(&page, &format!("{elsewhere}?{}", query(&link)));
        assert!(page.has("button", "Allow this registry") && private.count() == 0, "{key}: {}", private.log_text());
    }
    let link = [("view", "compare"), ("against", &format!("http://{}/x.json", private.host))];
    page.open(&format!("{elsewhere}?{}", query(&link)));
    page.wait_for("document.body.innerText.includes('Allow this registry')", LIMIT);
    assert_eq!(private.count(), 0, "{}", private.log_text());
    // A promoter's file on a public host cannot make the page ask a private one.
    let file = format!("api_url: http://{}/api\npromotions:\n  current-tripleo:\n    criteria: [a]\n", private.host);
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("c.yaml"), file).expect("it is written");
    let beside = Path::new("dist").join("c-test.yaml");
    fs::copy(folder.path().join("c.yaml"), &beside).expect("it is copied");
    visit(&page, &format!("{elsewhere}?view=board&criteria=c-test.yaml"));
    fs::remove_file(&beside).expect("it is removed");
    assert_shows(&page, &["`api_url` is ignored", "is on a private network"]);
    assert_eq!(private.count(), 0, "{}", private.log_text());
}

#[test]
fn wall_survives_unreadable_snapshot() {
    // The last good snapshot stays on the wall, and the next one that can be read replaces it.
    let registry = Registry::scratch();
    let names = ["nova-api", "heat-api"];
    for name in names {
        push(&registry, name, 1, &[PROMOTED]);
    }
    let (folder, templates) = templates_of(&names);
    let kept = folder.path().join("kept.json").display().to_string();
    let link = board(&registry.host, &templates, PROMOTED, &[]);
    let take = || {
        let taken = overtag(&["snapshot", "--link", &link, "--output", &kept], None);
        assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
        fs::read_to_string(&kept).expect("it is there")
    };
    let served = Arc::new(Mutex::new(Some(take())));
    let shared = served.clone();
    let wall = Proxy::fake(move |_| {
        let text = shared.lock().expect("no holder panics").clone();
        Some(text.map_or(Fault::text(502, "no"), |text| Fault::text(200, &text)))
    });
    let page = page(&options());
    let quick = "const real = window.setTimeout; window.setTimeout = (f, ms, ...a) => real(f, ms === 30000 ? 100 : ms, ...a);";
    page.cdp("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": quick }));
    let url = format!("http://{}/kept.json", wall.host);
    visit(&page, &board(&registry.host, &templates, PROMOTED, &[("refresh", "30"), ("snapshot", &url), ("embed", "1")]));
    assert_shows(&page, &["current-tripleo is whole.", "Nothing is wrong."]);
    // The same file several times, then none, then one with a torn channel.
    wall.wait_for_requests(5, LIMIT);
    *served.lock().expect("no holder panics") = None;
    page.wait_for_text("It could not be read again, so the previous one is shown", LIMIT);
    assert_shows(&page, &["current-tripleo is whole."]);
    push(&registry, "nova-api", 2, &[PROMOTED]);
    *served.lock().expect("no holder panics") = Some(take());
    page.wait_for("document.querySelector('.stage').dataset.state === 'torn'", LIMIT);
    assert!(!page.text().contains("It could not be read again"));
    // The message also disappears when a file is dropped on the page.
    let last = served.lock().expect("no holder panics").take().expect("it was served");
    page.wait_for_text("It could not be read again", LIMIT);
    let js = "const data = new DataTransfer(); data.items.add(new File([arguments[0]], 'own.json'));
              document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, dataTransfer: data }))";
    page.eval(js, &[json!(last)]);
    page.wait_for("!document.body.innerText.includes('It could not be read again')", LIMIT);
    assert_shows(&page, &["current-tripleo is torn.", "Read from a snapshot"]);

    // After the same file is read again, cells can still be opened.
    let more: Vec<String> = (0..5).map(|i| format!("image-{i}")).collect();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    more.iter().for_each(|name| push(&registry, name, 1, &[PROMOTED]));
    let (_folder, templates) = templates_of(&more);
    let plain = board(&registry.host, &templates, PROMOTED, &[]);
    let taken = overtag(&["snapshot", "--link", &plain, "--output", &kept], None);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    *served.lock().expect("no holder panics") = Some(fs::read_to_string(&kept).expect("it is there"));
    visit(&page, &board(&registry.host, &templates, PROMOTED, &[("snapshot", &url)]));
    let fetched = wall.count();
    page.press("r");
    wall.wait_for_requests(fetched + 1, LIMIT);
    page.eval("[...document.querySelectorAll('.cells .cell')].at(-1).click()", &[]);
    page.wait_for_text("rdo_version=", LIMIT);
    page.press("Escape");

    // With a search that matches nothing, the page does not say that nothing is wrong.
    push(&registry, more[0], 2, &[PROMOTED]);
    visit(&page, &board(&registry.host, &templates, PROMOTED, &[("embed", "1"), ("q", "zzz")]));
    assert_shows(&page, &["No row matches", "current-tripleo is torn."]);
}

#[test]
fn repeated_or_cancelled_refresh_loses_nothing() {
    let registry = Registry::scratch();
    for name in NAMES {
        push(&registry, name, 1, &[PROMOTED]);
    }
    let (_folder, templates) = templates_of(&NAMES);
    let proxy = Proxy::before(&registry.host);
    let page = page(&options());
    visit(&page, &board(&proxy.host, &templates, PROMOTED, &[]));
    proxy.reset();
    proxy.hold();
    page.press("r");
    proxy.wait_for_requests(1, LIMIT);
    page.press("r");
    page.wait_for_text("is already loading", PATIENCE);
    assert_eq!(page.eval("return document.querySelectorAll('[data-status=waiting]').length", &[]), 0);
    proxy.release();
    done(&page);
    assert_eq!(proxy.count(), NAMES.len(), "{}", proxy.log_text());

    let as_of = page.eval("return document.querySelector('[role=status]').innerText.split('as of')[1].split('UTC')[0]", &[]);
    proxy.hold();
    page.press("r");
    proxy.wait_for_requests(NAMES.len() + 1, LIMIT);
    page.click("button", "Cancel");
    done(&page);
    assert_eq!((cards(&page)[0].2.as_str(), cells(&page).len()), ("whole", NAMES.len()));
    assert_shows(&page, &[&format!("as of{}UTC", as_of.as_str().unwrap_or("?"))]);
    proxy.release();
    // A restored cell is as before, and can be opened.
    let open_last = "[...document.querySelectorAll('.cells .cell')].at(-1).click()";
    page.eval(open_last, &[]);
    page.wait_for_text("rdo_version=", LIMIT);
    done(&page);
    assert_eq!(cards(&page)[0].2, "whole");
    page.press("Escape");

    // Changing the limits of lateness sends no request.
    proxy.reset();
    page.type_into("Late after days", "2,5");
    page.wait_for("location.search.includes('late=2%2C5')", PATIENCE);
    done(&page);
    assert_eq!((proxy.count(), cards(&page)[0].2.as_str()), (0, "whole"), "{}", proxy.log_text());
}
