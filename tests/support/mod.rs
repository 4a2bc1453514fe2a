//! What the integration tests stand on: a real registry, a proxy that can
//! misbehave, a plain web host, and a real browser.
//!
//! Nothing here knows the product. Each part listens on a free loopback port,
//! ends with its owner (or with the test process, however that ends: see
//! [`process`]), and fails with a message that says what was seen. No part
//! waits for a fixed time; each waits for a condition, with a bound.
//!
//! * [`registry`]: Debian's `docker-registry` with seeded images, and the right
//!   answers beside it
//! * [`proxy`]: counts, delays and spoils requests before an upstream, or
//!   stands alone as a fake server
//! * [`site`]: a static web host below a sub-path
//! * [`browser`]: headless Chromium through chromedriver, elements found by
//!   role and accessible name
//!
//! ```ignore
//! mod support;
//! use support::{browser::{Browser, Options}, proxy::Proxy, registry::Registry, site::Site};
//!
//! let registry = Registry::start(Path::new("target/test-registry"), &names);
//! let proxy = Proxy::before(&registry.host);
//! let site = Site::start(Path::new("dist"), "/some/deep/path/");
//! let page = Browser::start().page(&Options::default());
//! page.open(&format!("{}?endpoint=quay.io=http://{}", site.url, proxy.host));
//! ```

// Each test binary compiles this folder anew and uses only a part of it.
#![allow(dead_code)]

pub mod browser;
mod http;
pub mod process;
pub mod proxy;
pub mod registry;
pub mod site;
