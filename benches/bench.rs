//! `make bench`: what a question costs, beside the established tool, and what the page weighs. It prints; it asserts nothing.

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::browser::{Browser, Options};
use support::proxy::Proxy;
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
