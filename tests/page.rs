//! The page in Chromium, as a person meets it. Byte for byte it is held to the command line, and row for row to what the
//! registry was seeded with.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use support::browser::{Options, PATIENCE, Page};
use support::proxy::{Fault, Proxy};
use support::registry::{NAMESPACE, PREFIX, PROMOTED};
use support::shown::*;
use support::site::Site;

/// The media features of a person who prefers dark colours and reduced motion.
const DARK: [(&str, &str); 2] = [("prefers-color-scheme", "dark"), ("prefers-reduced-motion", "reduce")];

#[test]
fn demo_page_equals_command_line() {
    // The browser blocks what the policy forbids, and says so in its console.
    let policy = "default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
                  img-src 'self' data:; connect-src 'self'";
    let site = Site::with_headers(dist(), "/some/deep/path/", &[("Content-Security-Policy", policy)]);
    let page = page(&options());
    visit(&page, &site.url);
    let expected = report("", &[]);
    let rows = rows(&page);
    assert_eq!(rows.len(), 91);
    assert_named(&rows, &each(&expected["images"], "image"));
    for (row, image) in rows.iter().zip(expected["images"].as_array().expect("a list")) {
        let text = |key: &str| image[key].as_str().unwrap_or_default().to_owned();
        let notes: Vec<String> = serde_json::from_value(image["notes"].clone()).expect("a list of words");
        assert!(row.tag.contains(&text("tag")), "{image}: {row:?}");
        assert_eq!((&row.status, &row.pinned_by, &row.notes), (&text("status"), &text("pinned_by"), &notes), "{image}");
    }
    assert_same_files(&page, "");
    assert_eq!(console_errors(&page), [""; 0]);
    let elsewhere: Vec<_> = site.missing().into_iter().filter(|p| !p.contains("/demo/v2/")).collect();
    assert_eq!(elsewhere, [""; 0], "asked for and not there");
}

#[test]
fn real_registry_needs_no_preflight() {
    // It is of another origin, and takes fewer than 2.6 requests an image.
    let (registry, page) = (registry(), page(&options()));
    let proxy = Proxy::before(&registry.host);
    let since = Instant::now();
    visit(&page, &seeded(&proxy.host));
    let took = since.elapsed();
    assert_whole(&rows(&page), &registry.seed);
    assert_eq!(proxy.count_where(|l| l.method == "OPTIONS"), 0, "{}", proxy.log_text());
    let each = proxy.count() as f64 / registry.seed.images.len() as f64;
    assert!(each < 2.6, "{each:.2} requests an image:\n{}", proxy.log_text());
    println!("124 images: {took:.1?} from opening, {each:.2} requests an image, {} at once", proxy.most_in_flight());
    assert_same_files(&page, &page.url());

    let (hash, _) = registry.seed.majority(PROMOTED);
    assert_eq!(copied(&page, "pinned link"), page.url().replace(PROMOTED, hash));
    assert_shows(&page, &[&format!("{} of 124 images differ", registry.seed.torn.len() + registry.seed.new.len())]);
}

#[test]
fn registry_failing_midway_makes_nothing_absent() {
    let (registry, page) = (registry(), page(&options()));
    let proxy = Proxy::before(&registry.host);
    proxy.stop_after(200);
    visit(&page, &seeded(&proxy.host));
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
fn cancel_keeps_answers_and_retry_completes() {
    let (registry, page) = (registry(), page(&options()));
    let proxy = Proxy::before(&registry.host);
    proxy.delay(20);
    page.open(&seeded(&proxy.host));
    proxy.wait_for_requests(200, LIMIT);
    proxy.hold();
    page.wait_for("[...document.querySelectorAll('main tbody tr')].filter(r => /resolved/.test(r.innerText)).length > 10", LIMIT);
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
fn every_form_choice_survives_the_link() {
    let (page, registry) = (open(&site().url), nothing());
    let (namespace, template) = (format!("{}/any", registry.host), format!("http://{}/t.j2", registry.host));
    page.choose("Release", "train");
    unfold(&page);
    let mut pairs = vec![("release", "train")];
    for (label, key, value) in [
        ("Namespace", "namespace", namespace.as_str()),
        ("Name prefix", "name_prefix", "pre-"),
        ("Name suffix", "name_suffix", "-suf"),
        ("Tag", "tag", r"newest:v\d+(\.\d+)*"),
        ("Pin chain", "pin", "digest,channel"),
        ("Labels", "label", "{version}-{release},other"),
        ("Ceph namespace", "ceph_namespace", "127.0.0.1:9999/ceph & co"),
        ("Ceph image", "ceph_image", "ceph"),
        ("Ceph tag", "ceph_tag", "v6"),
        ("Push destination", "push_destination", "192.168.24.1:8787"),
        ("Append to tag", "append_tag", "-x"),
        ("Search", "q", "nova ü+&"),
    ] {
        page.type_into(label, value);
        pairs.push((key, value));
    }
    for (key, value) in [("include", "nova-(?!api)"), ("exclude", "a|b"), ("service", "OS::TripleO::Services::NovaApi")] {
        page.click("button", &format!("Add {key}"));
        page.type_into(&format!("{}{} 1", key[..1].to_uppercase(), &key[1..]), value);
        pairs.push((key, value));
    }
    let fields =
        [("substitution", "Name 1", "rhel_containers", "Value 1", "true"), ("endpoint", "Host 1", "a", "Address 1", "http://b")];
    for (add, first, name, second, value) in fields {
        page.click("button", &format!("Add {add}"));
        page.type_into(first, name);
        page.type_into(second, value);
    }
    page.choose("Missing", "keep");
    page.choose("Neutron driver", "odl");
    page.click("checkbox", "Controller");
    page.click("checkbox", "Compute");
    page.type_into("Compute count", "3");
    page.click("button", "Image");
    page.type_into("Template address", &template);
    pairs.extend([("set.rhel_containers", "true"), ("endpoint", "a=http://b"), ("missing", "keep"), ("neutron_driver", "odl")]);
    pairs.extend([("role", "Controller"), ("role", "Compute:3"), ("sort", "image"), ("template", &template)]);
    done(&page);
    assert_eq!(page.url(), format!("{}?{}", site().url, canonical(&pairs)));

    unfold(&page);
    let again = open(&copied(&page, "link"));
    unfold(&again);
    assert!(form(&page).as_array().is_some_and(|f| f.len() > 25), "{}", form(&page));
    assert_eq!((again.url(), form(&again)), (page.url(), form(&page)));
}

#[test]
fn typing_adds_one_history_step() {
    let page = open(&site().url);
    // Chromium leaves the address as it is from the 200th change in ten seconds on.
    let type_on = "const field = document.querySelector('.find input');
                   for (let i = 0; i < 600; i++) { field.value += 'a'; field.dispatchEvent(new Event('input', { bubbles: true })) }
                   return history.length";
    let steps = page.eval(type_on, &[]);
    page.wait_for("location.search === '?q=' + 'a'.repeat(600)", PATIENCE);
    assert_eq!(page.eval("return history.length", &[]), steps);
    page.choose("Release", "train");
    page.back();
    page.wait_for("location.search === '?q=' + 'a'.repeat(600)", PATIENCE);
    page.back();
    page.wait_for("location.search === ''", PATIENCE);
}

#[test]
fn back_and_forward_restore_choices() {
    let registry = nothing();
    let page = open(&address(&[("namespace", &format!("{}/any", registry.host)), ("include", "nova-api")]));
    let now = || (page.url(), page.control("combobox", "Missing").value, page.control("combobox", "Tag").value);
    let mut steps = vec![now()];
    page.choose("Missing", "keep");
    steps.push(now());
    page.type_into("Tag", "consistent");
    page.wait_for("location.search.includes('tag=consistent')", PATIENCE);
    steps.push(now());
    let values: Vec<_> = steps.iter().map(|(_, missing, tag)| (missing.as_str(), tag.as_str())).collect();
    assert_eq!(values, [("drop", "current-tripleo"), ("keep", "current-tripleo"), ("keep", "consistent")]);
    for (step, is_back) in [(1, true), (0, true), (1, false), (2, false)] {
        if is_back {
            page.back()
        } else {
            page.forward()
        }
        page.wait_for(&format!("location.href === {}", json!(steps[step].0)), LIMIT);
        assert_eq!(now(), steps[step]);
    }
    done(&page);
    assert!(rows(&page).iter().all(|r| r.tag.contains(&"consistent".to_owned())), "{:?}", rows(&page));
}

#[test]
fn link_errors_are_shown_and_rest_works() {
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
fn copy_buttons_give_plain_and_pinned_links() {
    // Where no hash is known, the button for the pinned link is disabled and says why.
    let page = open(&address(&[("missing", "keep"), ("q", "nova")]));
    assert_eq!(copied(&page, "link"), page.url());
    let hash = report("", &[])["hash"].as_str().expect("a hash").to_owned();
    let pinned = copied(&page, "pinned link");
    assert_eq!(pinned, format!("{}?{}", site().url, canonical(&[("missing", "keep"), ("q", "nova"), ("tag", &hash)])));
    visit(&page, &pinned);
    assert!(rows(&page).iter().any(|r| r.pinned_by == "exact" && r.tag.contains(&hash)), "{:?}", rows(&page));

    visit(&page, &address(&[("pin", "channel")]));
    let button = page.button_state("Copy pinned link");
    assert!(button.disabled && button.description.contains("hash"), "{button:?}");
}

#[test]
fn missing_fail_disables_file_downloads() {
    let page = open(&address(&[("missing", "fail")]));
    for name in [CONTAINERS, ENVIRONMENT] {
        let button = page.button_state(name);
        assert!(button.disabled && button.description.contains("missing"), "{button:?}");
    }
    assert!(!page.has("checkbox", "Allow incomplete files"));
    assert_eq!(overtag(&["prepare", "--link", &page.url()], None).status.code(), Some(1));
}

#[test]
fn role_filtered_images_show_their_reason() {
    let registry = nothing();
    let namespace = format!("{}/any", registry.host);
    let link = [("release", "train"), ("namespace", &namespace), ("role", "Controller:1"), ("role", "Compute:1")];
    let expected = report(&query(&link), &["--no-registry"]);
    let page = open(&address(&link));
    assert_named(&rows(&page), &each(&expected["images"], "image"));
    unfold(&page);
    let out = each(&expected["filtered"], "image");
    assert!(out.len() > 20);
    assert_shows(&page, &[&format!("Filtered out ({})", out.len())]);
    let js = "return [...document.querySelectorAll('main li')].map(l => l.innerText.replace(/\\s+/g, ' ').trim())";
    let items: Vec<String> = serde_json::from_value(page.eval(js, &[])).expect("texts");
    for (name, reason) in out.iter().zip(each(&expected["filtered"], "reason")) {
        let short = name.rsplit('/').next().unwrap_or_default().split(':').next().unwrap_or_default();
        assert!(items.iter().any(|i| i.contains(short) && i.contains(&reason)), "{short}: {reason}");
    }
}

#[test]
fn include_and_exclude_support_look_around() {
    let registry = nothing();
    let namespace = format!("{}/any", registry.host);
    let base = [("release", "train"), ("namespace", namespace.as_str())];
    let names = each(&report(&query(&base), &["--no-registry"])["images"], "image");
    let page = page(&options());
    let is_other = |n: &str| n.match_indices("nova-").any(|(i, w)| !n[i + w.len()..].starts_with("api"));
    for (key, regex) in [("include", "nova-(?!api)"), ("exclude", "(?<=nova-)api"), ("exclude", r"(c)\1")] {
        visit(&page, &address(&[base[0], base[1], (key, regex)]));
        let is_in = |n: &&String| match regex {
            "nova-(?!api)" => is_other(n),
            "(?<=nova-)api" => !n.contains("nova-api"),
            _ => !n.contains("cc"),
        };
        let expected: Vec<String> = names.iter().filter(is_in).cloned().collect();
        assert!(expected.len() < names.len() && !expected.is_empty(), "{regex}");
        assert_named(&rows(&page), &expected);
    }
}

#[test]
fn bad_template_is_reported_and_page_survives() {
    let (page, registry) = (open(&site().url), nothing());
    unfold(&page);
    let start = "container_images_template:\n";
    let good = format!("{start}- imagename: {}/any/{{{{name_prefix}}}}one:{{{{tag}}}}\n", registry.host);
    let assert_lives = |after: &str| {
        paste(&page, "Template text", &good);
        page.wait_for("document.querySelectorAll('main tbody tr').length === 1", LIMIT);
        done(&page);
        assert!(rows(&page)[0].name.iter().any(|w| w.ends_with("one")), "after {after}: {:?}", rows(&page));
    };
    paste(&page, "Template text", &format!("{start}- imagename: \"{{{{namespace}}/one\"\n"));
    done(&page);
    assert_shows(&page, &["line 2, column", "- imagename: \"{{namespace}/one\""]);
    assert!(page.button_state(CONTAINERS).disabled);
    assert_lives("a mistake");
    for runaway in [
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{{ 'x' * 99999 }}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ] {
        let since = Instant::now();
        paste(&page, "Template text", &format!("{start}{runaway}\n"));
        page.wait_for("document.querySelectorAll('main [role=alert]').length > 0", LIMIT);
        let took = since.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}: {runaway}");
        assert_lives(runaway);
    }
    assert_eq!(console_errors(&page), [""; 0]);
}

#[test]
fn stopped_run_does_not_resume() {
    let (registry, page) = (registry(), page(&options()));
    let proxy = Proxy::before(&registry.host);
    proxy.delay(20);
    page.open(&seeded(&proxy.host));
    unfold(&page);
    page.wait_for("document.querySelectorAll('tr[data-status=resolved]').length > 3", LIMIT);
    paste(&page, "Template text", "{% for %}");
    page.wait_for("document.querySelectorAll('main [role=alert]').length > 0", LIMIT);
    // Longer than any timer of the old run: what must not happen cannot be waited for.
    let later = "return new Promise(end => setTimeout(() => end([...document.querySelectorAll('main tbody tr')].length), 600))";
    assert_eq!(page.eval(later, &[]).as_u64(), Some(0), "{}", page.text());
    done(&page);
    assert_shows(&page, &["The template is wrong", "line 1, column"]);
}

#[test]
fn private_host_needs_permission_first() {
    let rules = format!("MAP overtag.example 127.0.0.1, {NO_NAMES}");
    let page = page(&Options { host_resolver_rules: Some(rules), ..options() });
    let (proxy, own) = (Proxy::before(&registry().host), Proxy::before(&templates().host));
    let (namespace, template) = (format!("{}/{NAMESPACE}", proxy.host), format!("http://{}/templates/all.yaml.j2", own.host));
    let elsewhere = site().url.replace("127.0.0.1", "overtag.example");
    for source in [("release", "train"), ("template", template.as_str())] {
        let link = [source, ("namespace", &namespace), ("name_prefix", PREFIX), ("tag", PROMOTED), ("include", "nova-")];
        visit(&page, &format!("{elsewhere}?{}", query(&link)));
        // Refreshing without permission changes nothing.
        page.press("r");
        done(&page);
        assert!(page.has("button", "Allow this registry"), "{}", page.text());
        assert_shows(&page, &[if source.0 == "template" { &own.host } else { &proxy.host }]);
        assert_eq!((proxy.count(), own.count()), (0, 0), "{}{}", proxy.log_text(), own.log_text());
        page.click("button", "Allow this registry");
        done(&page);
        if source.0 == "template" {
            assert_eq!(proxy.count(), 0, "the template's host was allowed, the registry was not");
            page.click("button", "Allow this registry");
            done(&page);
        }
        let shown = rows(&page);
        assert!(count(&shown, "resolved") > 5 && count(&shown, "error") == 0, "{shown:?}");
        proxy.reset();
    }
    // Other spellings of the same address, which only a browser understands.
    let port = proxy.host.rsplit(':').next().expect("a port").to_owned();
    for host in ["127.1", "0x7f.0.0.1", "localhost.", "127.0.0.1."] {
        let (spelt, url) = (format!("{host}:{port}/{NAMESPACE}"), format!("elsewhere.example=http://{host}:{port}"));
        let direct = [("release", "train"), ("namespace", spelt.as_str()), ("include", "nova-")];
        let mapped =
            [("release", "train"), ("namespace", "elsewhere.example/x"), ("include", "nova-"), ("endpoint", url.as_str())];
        for link in [query(&direct), query(&mapped)] {
            visit(&page, &format!("{elsewhere}?{link}"));
            assert!(page.has("button", "Allow this registry") && proxy.count() == 0, "{host}: {}", proxy.log_text());
        }
    }
}

#[test]
fn demo_page_is_accessible() {
    let page = open(&site().url);
    assert_accessible(&page, "light");
    // The README's picture, docs/page.png, is a copy of this one.
    screenshot(&page, "light");
    page.click("button", "cinder-volume");
    assert_shows(&page, &["Digest", "Requests"]);
    assert_accessible(&page, "light, a row open");
    page.eval("document.querySelector('tr [aria-expanded=true]').scrollIntoView({ block: 'center' })", &[]);
    screenshot(&page, "row");
    let edges = page.eval("return [...new Set([...document.querySelectorAll('tr dd')].map(d => d.offsetLeft))]", &[]);
    assert_eq!(edges.as_array().map(Vec::len), Some(1), "values stand below each other, not below the words: {edges}");
    unfold(&page);
    assert_accessible(&page, "light, all unfolded");
    page.prefer(&DARK);
    assert_accessible(&page, "dark, all unfolded");
    visit(&page, &site().url);
    assert_accessible(&page, "dark");
    screenshot(&page, "dark");
}

#[test]
fn error_rows_are_correct_and_accessible() {
    let (registry, page) = (registry(), page(&options()));
    let proxy = Proxy::before(&registry.host);
    proxy.fault(|seen| seen.path.contains("-neutron-").then(|| Fault::registry_error(403, "DENIED")));
    visit(&page, &seeded(&proxy.host));
    let shown = rows(&page);
    assert_true(&shown, &registry.seed);
    assert!(shown.iter().all(|r| (r.status == "error") == r.name.concat().contains("-neutron-")), "{shown:?}");
    assert_accessible(&page, "light, errors");
    screenshot(&page, "error");
    page.prefer(&DARK);
    assert_accessible(&page, "dark, errors");
    let widths = page.eval("const c = document.querySelector('main > details'); return [c.scrollWidth, c.clientWidth]", &[]);
    assert_eq!(widths[0], widths[1], "a long address does not widen the choices");
}

/// Moves down and up the table by keys; the element with the focus must never be covered.
fn assert_focus_is_seen(page: &Page) {
    let seen = "const e = document.activeElement, r = e.getBoundingClientRect();
                return e.contains(document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2)) || e.textContent";
    for key in ["j"; 30].iter().chain(&["k"; 20]) {
        page.press(key);
        assert_eq!(page.eval(seen, &[]), true, "after {key}: the row with the focus is covered");
    }
}

#[test]
fn everything_is_reached_from_the_keyboard() {
    let page = open(&site().url);
    page.press("/");
    assert_eq!((page.focused().role.as_str(), page.focused().name.as_str()), ("searchbox", "Search"));
    page.press("j");
    page.wait_for("location.search === '?q=j'", PATIENCE);
    page.press("Backspace");
    page.press("Shift+Tab");
    let name = |row: usize| rows(&page)[row].name[0].clone();
    for (key, row) in [("j", 0), ("j", 1), ("j", 2), ("k", 1)] {
        page.press(key);
        assert_eq!(page.focused().name, name(row));
    }
    page.press("o");
    assert_eq!(page.control("button", &name(1)).expanded, Some(true));
    let detail = page.table("Images")[1].get("@detail").cloned().unwrap_or_default();
    assert!(detail.contains("sha256:"), "{detail}");
    page.press("o");
    assert_eq!(page.control("button", &name(1)).expanded, Some(false));
    assert_focus_is_seen(&page);
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
fn phone_page_never_scrolls_sideways() {
    let page = page(&Options { window: (360, 740), scale: 2.0, ..options() });
    let assert_fits = |message: &str| {
        let widths = page.eval("return [document.documentElement.scrollWidth, innerWidth]", &[]);
        assert!(widths[0].as_u64() <= widths[1].as_u64(), "{message}: {widths}");
    };
    visit(&page, &site().url);
    assert_fits("the demo");
    screenshot(&page, "phone");
    page.press("j");
    page.press("o");
    assert_fits("a row open");
    unfold(&page);
    assert_fits("all unfolded");
    assert_accessible(&page, "phone, all unfolded");
    assert_eq!(console_errors(&page), [""; 0]);
    visit(&page, &site().url);
    assert_focus_is_seen(&page);
}

#[test]
fn embedded_page_has_no_controls() {
    let page = open(&address(&[("embed", "1")]));
    for role in ["banner", "button", "textbox", "searchbox", "combobox", "checkbox", "spinbutton"] {
        assert_eq!(page.controls(role), [], "{role}");
    }
    let shown = rows(&page);
    assert!(shown.iter().any(|r| r.notes.contains(&"torn".to_owned())), "{shown:?}");
    assert_accessible(&page, "embed");
    screenshot(&page, "embed");
}

#[test]
fn open_preview_survives_release_change() {
    let page = open(&site().url);
    unfold(&page);
    page.eval("document.querySelectorAll('.preview').forEach(d => { d.open = true })", &[]);
    page.wait_for_text("container_images:", LIMIT);
    page.choose("Release", "train");
    done(&page);
    assert!(!page.text().contains("fault of its own"), "{}", page.text());
    assert!(page.url().contains("release=train"));
}
