//! The page's protections in Chromium: what it may load and ask, crashes, frames, and files that would
//! crash it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use support::browser::{Options, PATIENCE, Page};
use support::proxy::{Fault, Proxy};
use support::registry::{NAMESPACE, PREFIX, PROMOTED};
use support::shown::*;
use support::site::Site;

/// The policy of a built page, by directive.
fn policy() -> Vec<(String, Vec<String>)> {
    let index = fs::read_to_string(dist().join("index.html")).expect("index.html");
    let content =
        index.split_once("Content-Security-Policy\" content=\"").expect("a policy").1.split('"').next().expect("a value");
    let directive = |text: &str| {
        let mut words = text.split_whitespace().map(str::to_owned);
        (words.next().unwrap_or_default(), words.collect())
    };
    content.split(';').map(directive).collect()
}

#[test]
fn content_policy_is_strict_and_sufficient() {
    let index = fs::read_to_string(dist().join("index.html")).expect("index.html");
    let of = |name: &str| policy().into_iter().find(|(directive, _)| directive == name).map(|(_, words)| words.join(" "));
    for (directive, words) in [
        ("default-src", "'none'"),
        ("script-src", "'self' 'wasm-unsafe-eval'"),
        ("style-src", "'self'"),
        ("img-src", "'self' data:"),
        ("connect-src", "'self' https: http:"),
        ("object-src", "'none'"),
        ("base-uri", "'none'"),
        ("form-action", "'none'"),
        ("require-trusted-types-for", "'script'"),
        ("trusted-types", "default"),
    ] {
        assert_eq!(of(directive).as_deref(), Some(words), "{directive}");
    }
    assert!(
        index.split("<script").skip(1).all(|script| script.starts_with(" src=\"./") && script.contains("></script>")),
        "{index}"
    );
    assert!(["<style", " style=", " onload=", " onerror=", "javascript:"].iter().all(|part| !index.contains(part)), "{index}");
    // The policy comes before everything that it restricts.
    let place = |text: &str| index.find(text).expect("it is there");
    assert!(place("Content-Security-Policy") < place("<link") && place("Content-Security-Policy") < place("<script"));

    // And the browser enforces it.
    let page = open(&address(&[]));
    let js = "const seen = [];
        document.addEventListener('securitypolicyviolation', (e) => seen.push(e.effectiveDirective));
        const script = document.createElement('script');
        try { script.textContent = 'window.broken = true'; document.body.append(script) } catch (e) { seen.push(e.name) }
        const box = document.createElement('div');
        try { box.innerHTML = '<img src=x onerror=\"window.broken = true\">' } catch (e) { seen.push(e.name) }
        try { box.innerHTML = '<p>words on = things</p>' } catch (e) { seen.push('words ' + e.name) }
        // WebDriver's own script may evaluate; what comes after it may not.
        setTimeout(() => { try { new Function('window.broken = true')() } catch (e) { seen.push(e.name) } });
        const style = document.createElement('style');
        style.textContent = 'main { display: none }';
        document.head.append(style);
        const image = new Image();
        image.src = 'http://127.0.0.1:9/x.png';
        return new Promise(end => setTimeout(() => end([seen.sort(), window.broken === undefined,
            getComputedStyle(document.querySelector('main')).display]), 300))";
    let got = page.eval(js, &[]);
    let seen: BTreeSet<String> = serde_json::from_value(got[0].clone()).expect("names");
    assert!(["TypeError", "EvalError", "style-src-elem", "img-src"].iter().all(|name| seen.contains(*name)), "{got}");
    assert!(got[1] == json!(true) && got[2] != json!("none") && !seen.iter().any(|s| s.starts_with("words")), "{got}");
}

#[test]
fn page_contacts_only_chosen_registries() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("net.json");
    let args = vec![format!("--log-net-log={}", log.display()), "--net-log-capture-mode=IncludeSensitive".to_owned()];
    let page = page(&Options { args, ..options() });
    let proxy = Proxy::before(&registry().host);
    let template = format!("{}all.yaml.j2", templates().url);
    let namespace = format!("{}/{NAMESPACE}", proxy.host);
    let own = |more: &[(&str, &str)]| {
        let own = [("template", template.as_str()), ("namespace", &namespace), ("name_prefix", PREFIX), ("tag", PROMOTED)];
        address(&[&own[..], more].concat())
    };
    for url in [
        address(&[]),
        address(&[("view", "board")]),
        address(&[("view", "board"), ("embed", "1")]),
        address(&[("view", "compare")]),
        address(&[("embed", "1"), ("theme", "dark")]),
        address(&[("tag", "newest:["), ("x", "y")]),
        own(&[]),
        own(&[("view", "board"), ("channels", PROMOTED)]),
        own(&[("view", "compare"), ("channels", &format!("{PROMOTED},current"))]),
    ] {
        visit(&page, &url);
        // Opening and pressing things asks no other host either.
        _ = page.eval("document.querySelectorAll('main details:not([open]) > summary, .disclose, .cell').forEach((e, i) => i < 3 && e.click())", &[]);
        done(&page);
        assert_eq!(console_errors(&page), [""; 0], "{url}");
    }
    drop(page);
    let text = fs::read_to_string(&log).expect("Chromium's log of all traffic");
    // One event a line. Requests of Chromium itself do not have a page as their initiator.
    let url_of = |line: &str| {
        let event: Value = serde_json::from_str(line.trim_end_matches(',')).ok()?;
        let params = &event["params"];
        let is_of_page = params["initiator"].as_str().is_some_and(|initiator| initiator.starts_with("http"));
        is_of_page.then(|| params["url"].as_str().map(str::to_owned))?
    };
    let asked: BTreeSet<String> = text.lines().filter_map(url_of).collect();
    let is_known = |url: &&String| {
        let host = url.split('/').nth(2).unwrap_or_default();
        [&site().host, &proxy.host, &templates().host].into_iter().any(|known| known == host)
    };
    assert!(
        asked.iter().filter(|url| url.contains("/v2/")).count() > 300,
        "the log has the requests: {} of {} bytes",
        asked.len(),
        text.len()
    );
    let others: Vec<&String> = asked.iter().filter(|url| !is_known(url)).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// WebAssembly that ends in a trap: `(func (export "f") unreachable)`.
const TRAP: &str = "new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array([0,97,115,109,1,0,0,0,1,4,1,96,0,0,3,2,1,0,7,5,1,1,102,0,0,10,5,1,3,0,0,11]))).exports.f()";

#[test]
fn crash_is_announced_and_keeps_link() {
    // The same with a function that calls itself: `(func (export "f") call 0)`.
    let overflow = TRAP.replace("10,5,1,3,0,0,11", "10,6,1,4,0,16,0,11");
    let overflow = overflow.as_str();
    for js in [
        format!("setTimeout(() => {TRAP})"),
        format!("Promise.resolve().then(() => {TRAP})"),
        format!("setTimeout(() => {overflow})"),
        format!("Promise.resolve().then(() => {overflow})"),
    ] {
        let page = page(&options());
        let proxy = Proxy::before(&registry().host);
        proxy.hold();
        let url = seeded(&proxy.host);
        page.open(&url);
        page.wait_for("document.querySelector('main')?.getAttribute('aria-busy') === 'true'", LIMIT);
        let before = page.url();
        page.eval(&js, &[]);
        page.wait_for("/overtag crashed/.test(document.querySelector('[role=alert]')?.textContent)", PATIENCE);
        let state = page.eval(
            "return [document.querySelector('main').getAttribute('aria-busy'), document.querySelectorAll('[role=alert]').length]",
            &[],
        );
        assert_eq!((state, page.url()), (json!(["false", 1]), before), "{js}");
        looks(&page, "crashed", "[role=alert]");
        proxy.release();
    }
    // An error that is not the page's own is not a crash.
    let page = open(&address(&[]));
    page.eval("setTimeout(() => { throw new Error('an extension') }); Promise.reject(new DOMException('x', 'AbortError'))", &[]);
    page.eval("return new Promise(end => setTimeout(end, 200))", &[]);
    assert!(!page.has("alert", ""), "{}", page.text());
}

#[test]
fn failed_program_load_is_announced() {
    let folder = tempfile::tempdir().expect("a folder");
    copy(dist(), folder.path());
    let wasm =
        fs::read_dir(folder.path()).expect("a folder").flatten().find(|e| e.path().extension().is_some_and(|e| e == "wasm"));
    fs::write(wasm.expect("the program").path(), "no program").expect("written");
    let site = Site::start(folder.path(), "/");
    let page = page(&options());
    page.open(&site.url);
    page.wait_for("/could not be loaded/.test(document.querySelector('[role=alert]')?.textContent)", PATIENCE);
    assert!(!page.text().contains("Loading"), "{}", page.text());
    looks(&page, "not-loaded", "[role=alert]");
}

/// Copies what a folder holds.
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-r").arg(from.join(".")).arg(to).status().expect("cp");
    assert!(done.success());
}

#[test]
fn frames_show_only_embedded_views() {
    // A view with buttons could be clicked through another page's frame, so it is not shown in one.
    let folder = tempfile::tempdir().expect("a folder");
    copy(dist(), folder.path());
    let frame = |query: &str| format!("<iframe src='./?{query}' width=900 height=500></iframe>");
    let outer = [frame("view=board&amp;embed=1"), frame("view=board"), frame("embed=0"), frame("embed=1&amp;x=2")].concat();
    fs::write(folder.path().join("outer.html"), format!("<!doctype html><title>wall</title>{outer}")).expect("written");
    let site = Site::start(folder.path(), "/");
    let page = page(&options());
    page.open(&format!("{}outer.html", site.url));
    let frames = "[...document.querySelectorAll('iframe')].map(f => f.contentDocument)";
    page.wait_for(
        &format!("{frames}.filter(d => d.querySelector('main.view')?.getAttribute('aria-busy') === 'false').length === 2"),
        LIMIT,
    );
    page.wait_for(&format!("{frames}.filter(d => d.querySelector('a[target=_blank]')).length === 2"), LIMIT);
    let shown = page.eval(
        &format!(
            "return {frames}.map(d => [d.querySelectorAll('main.view').length, d.querySelectorAll('button, input, form').length])"
        ),
        &[],
    );
    let has_program: Vec<u64> = shown.as_array().expect("a list").iter().map(|f| f[0].as_u64().expect("a number")).collect();
    assert_eq!(has_program, [1, 0, 0, 1], "{shown}");
    assert!(shown[1] == json!([0, 0]) && shown[2] == json!([0, 0]), "{shown}");
    screenshot(&page, "frames");
}

#[test]
fn login_form_disables_browser_autofill() {
    let proxy = Proxy::fake(|_| {
        let headers = [
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Expose-Headers", "WWW-Authenticate"),
            ("WWW-Authenticate", "Basic realm=\"x\""),
        ];
        Some(Fault::bare(401, &headers, ""))
    });
    let page = open(&seeded(&proxy.host));
    let fields =
        page.eval("return [...document.querySelectorAll('form.login input')].map(i => [i.type, i.autocomplete, i.value])", &[]);
    assert_eq!(fields, json!([["text", "off", ""], ["password", "new-password", ""]]));
}

/// Opens the page, waits until it says what is wrong, and prints how long that took.
fn refused(page: &Page, url: &str, name: &str) {
    let started = Instant::now();
    visit(page, url);
    println!("{name}: {:.1?}", started.elapsed());
    assert!(!page.text().contains("overtag crashed"), "{name}: {}", page.text());
    assert_eq!(page.eval("return document.querySelector('main').getAttribute('aria-busy')", &[]), json!("false"), "{name}");
    // The page still works: a click changes the link.
    let before = page.url();
    page.click("link", "Board");
    page.wait_for(&format!("location.href !== {}", json!(before)), PATIENCE);
}

#[test]
fn hostile_files_do_not_crash_page() {
    // Files and links that could crash or hang a page without limits.
    let nest = format!("{{% set x = ['a'] %}}{}", "{% set x = [x,x,x,x,x,x,x,x,x,x] %}".repeat(12));
    let chain = |begin: &str, middle: &str, n: usize, end: &str| format!("{begin}{}{end}", middle.repeat(n));
    let cases: Vec<(&str, String)> = vec![
        ("elif", chain("{% if 0 %}", "{% elif 0 %}", 5_000, "{% endif %}")),
        ("few-elif", chain("{% if 0 %}", "{% elif 0 %}", 300, "{% endif %}")),
        ("plus", chain("{{ 1", "+1", 20_000, " }}")),
        ("few-plus", chain("{{ 1", "+1", 490, " }}")),
        ("not", chain("{{ ", "not ", 900, "x }}")),
        ("filters", chain("{{ x", "|trim", 490, " }}")),
        ("brackets", chain("{{ ", "[", 5_000, "")),
        ("blocks", chain("", "{% if 1 %}", 5_000, "")),
        ("doubled-list", format!("{{% set x = [1] %}}{}x", "{% set x = x + x %}".repeat(40))),
        ("string", format!("{nest}{{% set y = x|string %}}")),
        ("tojson", format!("{nest}{{% set y = x|tojson %}}")),
        ("tilde", format!("{nest}{{% set y = x ~ 'a' %}}")),
        ("printed", format!("{nest}{{{{ x }}}}")),
        ("includes", (0..100_000).map(|i| format!("{{% if 0 %}}{{% include 'x{i}' %}}{{% endif %}}")).collect()),
        ("loop", "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}".to_owned()),
        ("recursion", "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(1) }}".to_owned()),
        ("nested-yaml", format!("container_images_template: {}", "[".repeat(100_000))),
        ("aliases", format!("container_images_template:\n- &a \"{}\"\n- [{}]\n", "x".repeat(1_000_000), "*a,".repeat(6_000))),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in &cases {
        fs::write(folder.path().join(format!("{name}.j2")), text).expect("written");
    }
    let site = Site::with_headers(folder.path(), "/", &[("Access-Control-Allow-Origin", "*")]);
    let page = page(&options());
    for (name, _) in &cases {
        refused(&page, &address(&[("template", &format!("{}{name}.j2", site.url))]), name);
    }
    // Snapshots, and links that no person writes.
    let deep = "[".repeat(100_000);
    let late = json!({ "overtag_snapshot": 1, "tool": "", "fetched_at": "", "fetched": 4_102_444_800_u64, "link": "", "repositories": {},
        "pipeline": { "promotions": [{ "at": 253_402_300_799_u64, "channel": "current-tripleo", "hash": "1".repeat(32) }] } });
    let script = json!({ "overtag_snapshot": 1, "tool": "", "fetched_at": "", "fetched": 1, "link": "", "repositories": {},
        "pipeline": { "base": "javascript:alert(1)//x" } });
    for (name, text) in [("deep", deep.clone()), ("late", late.to_string()), ("script", script.to_string())] {
        fs::write(folder.path().join(format!("{name}.json")), text).expect("written");
        refused(
            &page,
            &address(&[("view", "board"), ("snapshot", &format!("{}{name}.json", site.url)), ("view", "prepare")]),
            name,
        );
        visit(&page, &address(&[("view", "board"), ("snapshot", &format!("{}{name}.json", site.url))]));
        let links = page.eval("return [...document.querySelectorAll('a')].filter(a => !/^https?:/.test(a.href)).length", &[]);
        assert_eq!(links, json!(0), "{name}");
        let words = ["not a snapshot", "later than the local clock", ""]
            [["deep", "late", "script"].iter().position(|n| *n == name).unwrap_or(2)];
        assert!(page.text().contains(words), "{name}: {}", page.text());
    }
    let many: Vec<(String, String)> = (0..4_000).map(|i| (format!("unknown{i}"), "x".to_owned())).collect();
    let pairs: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    refused(&page, &address(&pairs), "unknown names");
    let notices = page.eval("return document.querySelectorAll('.notices .notice').length", &[]);
    assert!(notices.as_u64().is_some_and(|n| n <= 60), "{notices}");
    let regex = format!("({}", "a?".repeat(400)) + &"a".repeat(400) + ")+$";
    refused(&page, &address(&[("include", &regex), ("include", "(x+x+)+y"), ("include", "(a{1000}){1000}")]), "expressions");
}
