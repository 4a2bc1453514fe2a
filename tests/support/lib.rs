//! What the integration tests are built on: a real registry, a proxy that can
//! misbehave, a plain web host, and a real browser.
//!
//! But for [`shown`], nothing here knows the product. Each part listens on a free loopback port,
//! ends with its owner (or with the test process, however that ends: see
//! [`process`]), and fails with a message that says what was seen. No part
//! waits for a fixed time; each waits for a condition, with a bound.
//!
//! * [`registry`]: Debian's `docker-registry` with seeded images, and the right
//!   answers beside it
//! * [`proxy`]: counts, delays and breaks requests in front of an upstream, or
//!   is a fake server by itself
//! * [`site`]: a static web host below a sub-path
//! * [`nginx`]: Debian's `nginx` before a registry or a folder: CORS, limits,
//!   passwords, TLS
//! * [`raw`]: a server that answers with exactly the bytes it is given
//! * [`login`]: a registry with a login of its own, and a token server for it
//! * [`dlrn`]: DLRN's own API server
//! * [`browser`]: headless Chromium through chromedriver, elements found by
//!   role and accessible name
//! * [`shown`]: the page as its tests read it
//!
//! ```ignore
//! use support::{browser::{Browser, Options}, proxy::Proxy, registry::Registry, site::Site};
//!
//! let registry = Registry::start(Path::new("target/test-registry"), &names);
//! let proxy = Proxy::before(&registry.host);
//! let site = Site::start(Path::new("dist"), "/some/deep/path/");
//! let page = Browser::start().page(&Options::default());
//! page.open(&format!("{}?endpoint=quay.io=http://{}", site.url, proxy.host));
//! ```

use std::path::PathBuf;

/// Where seeded registries are kept between runs.
pub const CACHE: &str = "target/test-registry";

/// The folder that Cargo builds programs into, `target/debug`.
pub fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a program");
    test.ancestors().nth(2).expect("tests are built in target/debug/deps").to_owned()
}

/// The short names of the 124 images that the tests seed: train's and rocky's own, each once.
pub fn names() -> Vec<&'static str> {
    static NAMES: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let mut names: Vec<String> = Vec::new();
        for release in ["train", "rocky"] {
            let text = std::fs::read_to_string(format!("tests/facts/{release}.json")).expect("the facts are there");
            let facts: serde_json::Value = serde_json::from_str(&text).expect("the facts are JSON");
            for image in facts["images"].as_array().into_iter().flatten().filter(|i| i["group"] == "openstack") {
                let name = image["name"].as_str().unwrap_or_default().to_owned();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names.extend((0..124).map(|i| format!("extra-{i:03}")));
        names.truncate(124);
        names
    });
    names.iter().map(String::as_str).collect()
}

/// A template that lists `names`, one parameter each.
pub fn template(names: &[&str]) -> String {
    let entry = |name: &&str| {
        let parameter: String = name.split('-').map(|w| w[..1].to_uppercase() + &w[1..]).collect();
        format!(
            "- imagename: \"{{{{namespace}}}}/{{{{name_prefix}}}}{name}{{{{name_suffix}}}}:{{{{tag}}}}\"\n  params:\n  - Container{parameter}Image\n"
        )
    };
    format!("container_images_template:\n{}", names.iter().map(entry).collect::<String>())
}

pub mod browser;
pub mod dlrn;
mod http;
pub mod login;
pub mod nginx;
pub mod process;
pub mod proxy;
pub mod quay;
pub mod raw;
pub mod registry;
pub mod shown;
pub mod site;
