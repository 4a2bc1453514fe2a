//! `make bench`: what a question costs, beside the established tool, and what the page weighs. It prints; it asserts nothing.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::browser::{Browser, Options, Page};
use support::proxy::{Fault, Proxy};
use support::registry::{NAMESPACE, PREFIX, PROMOTED, Registry};
use support::site::Site;

/// Runs of which the median counts.
const RUNS: usize = 3;

/// tripleo-common's own discovery, 16 threads, of the images that are there: one that is absent would end its run.
const PEER: &str = "
import sys
from tripleo_common.image import image_uploader
images = sys.stdin.read().split()
out = image_uploader.PythonImageUploader().discover_image_tags(images, tag_from_label='rdo_version')
print(len(out))
";

fn main() {
    // `make bench` runs all; `cargo bench --bench bench -- board` the board alone.
    if std::env::args().any(|arg| arg == "board") {
        return board(&Browser::start(), &Site::start(Path::new("dist"), "/"));
    }
    let registry = Registry::start(Path::new(support::CACHE), &support::names());
    let proxy = Proxy::before(&registry.host);
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("t.j2");
    std::fs::write(&template, support::template(&support::names())).expect("the template is written");
    let namespace = format!("{}/{NAMESPACE}", proxy.host);
    // The images that an ordinary promotion has: present, labelled, and labelled right.
    let seed = &registry.seed;
    let is_plain = |short: &String| !seed.unlabelled.contains(short) && !seed.mismatched.contains(short);
    let is_manifest = |short: &String| !seed.lists.contains(short) && !seed.indexes.contains(short);
    let peer_images: String = seed
        .having(PROMOTED)
        .filter(|i| is_plain(&i.short) && is_manifest(&i.short))
        .map(|i| format!("{}/{}:{PROMOTED}\n", proxy.host, i.repo))
        .collect();
    let peers = peer_images.lines().count();

    println!("Discovery; medians of {RUNS}, process start included, every request held so long:\n");
    println!("| who | hold | seconds | requests | images |\n| --- | --- | --- | --- | --- |");
    for hold in [0, 40] {
        proxy.delay(hold);
        let ours = || {
            let done = Command::new(env!("CARGO_BIN_EXE_overtag"))
                .args(["prepare", "--prefix", PREFIX, "--tag", PROMOTED, "--namespace", &namespace, "--template-file"])
                .arg(&template)
                .output()
                .expect("overtag runs");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        row(&proxy, "overtag prepare", hold, seed.images.len(), ours);
        let python = Path::new("target/tools/venv/bin/python");
        let peer = || {
            use std::io::Write;
            let mut child = Command::new(python)
                .args(["-W", "ignore", "-c", PEER])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("python runs");
            child.stdin.take().expect("stdin").write_all(peer_images.as_bytes()).expect("it reads");
            assert!(child.wait().expect("it ends").success(), "tripleo-common failed");
        };
        row(&proxy, "tripleo-common 16.4.0, 16 threads", hold, peers, peer);
    }

    let files = tempfile::tempdir().expect("a folder");
    std::fs::copy(&template, files.path().join("t.j2")).expect("copied");
    let cors = [("Access-Control-Allow-Origin", "*")];
    let beside = Site::with_headers(files.path(), "/", &cors);
    let site = Site::start(Path::new("dist"), "/");
    let browser = Browser::start();
    for hold in [0, 40] {
        proxy.delay(hold);
        let link = format!("{}?template={}t.j2&namespace={namespace}&name_prefix={PREFIX}&tag={PROMOTED}", site.url, beside.url);
        let page = browser.page(&Options::default());
        let shown = || {
            page.open(&link);
            page.wait_for("document.querySelector('main')?.ariaBusy === 'false'", Duration::from_secs(60));
        };
        row(&proxy, "the page in Chromium, HTTP/1.1, page load included", hold, seed.images.len(), shown);
    }

    board(&browser, &site);

    println!("\n| dist/ | raw | gzip -9 | brotli -11 |\n| --- | --- | --- | --- |");
    let mut total = [0, 0, 0];
    for entry in std::fs::read_dir("dist").expect("dist/ is built").flatten().filter(|e| e.path().is_file()) {
        let path = entry.path();
        let size = |command: &str| {
            let out =
                Command::new("sh").args(["-c", &format!("{command} -c \"$0\" | wc -c")]).arg(&path).output().expect("sh runs");
            String::from_utf8_lossy(&out.stdout).trim().parse::<u64>().unwrap_or(0)
        };
        let sizes = [entry.metadata().map_or(0, |m| m.len()), size("gzip -9"), size("brotli -q 11")];
        total.iter_mut().zip(sizes).for_each(|(t, s)| *t += s);
        println!("| {} | {} | {} | {} |", entry.file_name().to_string_lossy(), sizes[0], sizes[1], sizes[2]);
    }
    println!("| all but the demo | {} | {} | {} |", total[0], total[1], total[2]);
}

/// Images and channels of a large board.
const LARGE: usize = 500;
const CHANNELS: [&str; 5] = ["current", "consistent", "tripleo-ci-testing", "current-tripleo", "current-tripleo-rdo"];

/// A registry of [`LARGE`] images, of which each tenth lacks the last channel and each fiftieth is torn in it.
fn large() -> Proxy {
    let digest = |text: &str| sha256(text.as_bytes());
    let hash = |k: usize| format!("{}_{}", &digest(&format!("commit {k}"))[7..47], &digest(&format!("distro {k}"))[7..15]);
    let mut answers: HashMap<String, (String, String)> = HashMap::new();
    for i in 0..LARGE {
        for (k, channel) in CHANNELS.iter().enumerate() {
            let config = format!(r#"{{"image":"{i}","config":{{"Labels":{{"rdo_version":"{}"}}}}}}"#, hash(k));
            let manifest = format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{{"digest":"{}"}},"layers":[]}}"#,
                digest(&config)
            );
            let of = |what: &str, name: &str| format!("/v2/large/{}-{i:03}/{what}/{name}", ["nova", "neutron", "heat"][i % 3]);
            answers.insert(of("blobs", &digest(&config)), (digest(&config), config));
            for tag in [hash(k), digest(&manifest)] {
                answers.insert(of("manifests", &tag), (digest(&manifest), manifest.clone()));
            }
            let is_last = k + 1 == CHANNELS.len();
            if !(is_last && i % 10 == 3) {
                let shown = if is_last && i % 50 == 7 { CHANNELS[k - 1] } else { channel };
                answers.insert(of("manifests", shown), (digest(&manifest), manifest));
            }
        }
        // A torn image points to what the channel before points to.
        if i % 50 == 7 {
            let of = |name: &str| format!("/v2/large/{}-{i:03}/manifests/{name}", ["nova", "neutron", "heat"][i % 3]);
            if let Some(before) = answers.get(&of(CHANNELS[3])).cloned() {
                answers.insert(of(CHANNELS[4]), before);
            }
        }
    }
    Proxy::fake(move |seen| {
        let Some((digest, body)) = answers.get(&seen.path) else {
            // As distribution says it.
            let tag = seen.path.rsplit('/').next();
            let error =
                serde_json::json!({ "code": "MANIFEST_UNKNOWN", "message": "manifest unknown", "detail": { "Tag": tag } });
            return Some(Fault::json(404, &serde_json::json!({ "errors": [error] })));
        };
        let kind = if seen.path.contains("/blobs/") {
            "application/json"
        } else {
            "application/vnd.docker.distribution.manifest.v2+json"
        };
        let headers = [("Docker-Content-Digest", digest.as_str()), ("Content-Type", kind)];
        Some(
            Fault::bare(200, &headers, if seen.method == "HEAD" { "" } else { body })
                .with("Access-Control-Allow-Origin", "*")
                .with("Access-Control-Expose-Headers", "Docker-Content-Digest"),
        )
    })
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    format!("sha256:{}", sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>())
}

/// The longest task of the main thread while `js` (a promise) went on, in milliseconds, as the browser itself reports it, which it does
/// from 50 on (<https://www.w3.org/TR/longtasks-1/>); and the longest that anything else had to wait, be it for several tasks.
fn longest(page: &Page, js: &str) -> String {
    let script = format!(
        "let task = 0;
         const take = list => list.forEach(e => {{ task = Math.max(task, e.duration) }});
         const observer = new PerformanceObserver(list => take(list.getEntries()));
         observer.observe({{ type: 'longtask' }});
         const channel = new MessageChannel(); let last = performance.now(), most = 0, on = true;
         channel.port1.onmessage = () => {{ const now = performance.now(); most = Math.max(most, now - last); last = now; if (on) channel.port2.postMessage(0) }};
         channel.port2.postMessage(0);
         return (async () => {{ {js}; on = false; await new Promise(r => setTimeout(r, 100)); take(observer.takeRecords()); observer.disconnect(); return [task, most] }})()"
    );
    let reported = page.eval(&script, &[]);
    let [task, most] = [0, 1].map(|i| reported[i].as_f64().unwrap_or(f64::NAN));
    let task = if task == 0.0 { "under 50".to_owned() } else { format!("{task:.0}") };
    format!("{task} | {most:.0}")
}

/// What a board of [`LARGE`] images costs: requests, and how long the main thread is kept from answering.
fn board(browser: &Browser, site: &Site) {
    let registry = large();
    let folder = tempfile::tempdir().expect("a folder");
    let entry =
        |i: usize| format!("- imagename: \"{{{{namespace}}}}/{}-{i:03}:{{{{tag}}}}\"\n", ["nova", "neutron", "heat"][i % 3]);
    let text = format!("container_images_template:\n{}", (0..LARGE).map(entry).collect::<String>());
    std::fs::write(folder.path().join("t.j2"), text).expect("the template is written");
    let beside = Site::with_headers(folder.path(), "/", &[("Access-Control-Allow-Origin", "*")]);
    let page = browser.page(&Options::default());
    let link = format!(
        "{}?view=board&template={}t.j2&namespace={}/large&name_prefix=&channels={}",
        site.url,
        beside.url,
        registry.host,
        CHANNELS.join(",")
    );
    let done = "document.querySelector('main')?.ariaBusy === 'false'";
    println!("\nA board of {LARGE} images by {} channels in Chromium:\n", CHANNELS.len());
    println!("| what | seconds | requests | longest task, ms | longest wait, ms |\n| --- | --- | --- | --- | --- |");
    page.open(&site.url);
    let begun = Instant::now();
    // The page is the same one, so that the measuring is there from the start: the link is written into the address bar.
    let go = format!(
        "history.pushState(null, '', {link:?}); dispatchEvent(new PopStateEvent('popstate'));
         await new Promise(r => setTimeout(r, 500));
         while (!({done})) await new Promise(r => setTimeout(r, 50))"
    );
    let most = longest(&page, &go);
    println!("| cold | {:.2} | {} | {most} |", begun.elapsed().as_secs_f64(), registry.count());
    let (before, begun) = (registry.count(), Instant::now());
    let refresh = "[...document.querySelectorAll('button')].find(b => b.textContent === 'Refresh').click();
         await new Promise(r => setTimeout(r, 100));
         while (document.querySelector('main').ariaBusy !== 'false') await new Promise(r => setTimeout(r, 50))";
    let most = longest(&page, refresh);
    println!("| refresh | {:.2} | {} | {most} |", begun.elapsed().as_secs_f64(), registry.count() - before);
    let frame = "await new Promise(r => requestAnimationFrame(r))";
    let scroll = format!(
        "const box = document.querySelector('.board-box');
         for (let y = 0; y < box.scrollHeight; y += 90) {{ box.scrollTop = y; {frame} }}
         for (let y = box.scrollHeight; y > 0; y -= 700) {{ box.scrollTop = y; {frame} }}"
    );
    println!("| scroll to the end and back | | | {} |", longest(&page, &scroll));
    let filter = format!(
        "const field = document.querySelector('.find input');
         for (const text of ['n', 'no', 'nov', 'nova', 'nova-1', 'absent', 'torn', 'zzz', '']) {{
           field.value = text; field.dispatchEvent(new Event('input', {{ bubbles: true }})); {frame}; {frame}
         }}"
    );
    println!("| type into the search | | | {} |", longest(&page, &filter));
    let press = |name: &str| {
        format!(
            "const b = [...document.querySelectorAll('button')].find(b => b.textContent.trim() === '{name}'); b.click(); {frame}; {frame}; b.click(); {frame}; {frame}"
        )
    };
    for name in ["Only what is wrong", "Worst first", "Group by service"] {
        println!("| {name} on and off | | | {} |", longest(&page, &press(name)));
    }
}

/// Runs `question` a few times and prints the median and how many requests one takes.
fn row(proxy: &Proxy, who: &str, hold: u64, images: usize, question: impl Fn()) {
    let mut took: Vec<Duration> = Vec::new();
    let mut requests = 0;
    for _ in 0..RUNS {
        let before = proxy.count();
        let begun = Instant::now();
        question();
        took.push(begun.elapsed());
        requests = proxy.count() - before;
    }
    took.sort();
    println!("| {who} | {hold} ms | {:.2} | {requests} | {images} |", took[RUNS / 2].as_secs_f64());
}
