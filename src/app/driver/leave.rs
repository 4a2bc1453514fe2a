//! Which hosts may be asked: a link from elsewhere may not lead into a private network.

use leptos::prelude::*;

use super::Loader;
use crate::app::browser;
use crate::app::state::{Phase, Prepared};
use crate::engine::options::settings::View;
use crate::engine::snapshot::Snapshot;
use crate::engine::template::plan::Plan;
use crate::engine::url::{default_endpoint, is_private};

impl Loader {
    /// The hosts that a link from elsewhere may not ask before the visitor says so.
    pub(super) fn blocked(self, prepared: &Prepared, plan: &Plan, snapshot: Option<&Snapshot>) -> Vec<String> {
        if is_private(&browser::host()) {
            return Vec::new();
        }
        let mut hosts: Vec<String> = Vec::new();
        if prepared.settings.view != View::Prepare && snapshot.is_none_or(|s| s.pipeline.is_none()) {
            let s = &prepared.settings;
            hosts.extend([&s.dlrn, &s.criteria, &s.zuul].into_iter().flatten().map(|url| host_of(&browser::beside(url))));
        }
        for image in plan.images.iter().filter(|_| snapshot.is_none()) {
            let Ok(reference) = &image.reference else { continue };
            let host = &reference.repository.host;
            let endpoint = prepared.settings.endpoints.get(host).cloned().unwrap_or_else(|| default_endpoint(host));
            hosts.push(host_of(&endpoint));
        }
        hosts.sort();
        hosts.dedup();
        hosts.retain(|h| !self.may_ask(h));
        hosts
    }

    /// Whether a host may be asked: it is public or the page's own, or the visitor allowed it, or the page is private itself.
    pub(super) fn may_ask(self, host: &String) -> bool {
        let own = browser::host();
        *host == own || !is_private(host) || is_private(&own) || self.store.leave.hosts.with_untracked(|a| a.contains(host))
    }

    /// The whole address of what a link names, unless leave must be asked first for its host.
    pub(super) fn allowed(self, url: &str) -> Option<String> {
        let address = browser::beside(url);
        let host = host_of(&address);
        if self.may_ask(&host) {
            return Some(address);
        }
        self.store.phase.set(Phase::Blocked(vec![host]));
        None
    }
}

/// Host and port of an address as the browser will use it: `127.1` and `0x7f.1` are 127.0.0.1 to it. One that it cannot read is
/// taken for this computer, so that leave is asked.
pub fn host_of(url: &str) -> String {
    web_sys::Url::new(url).map_or_else(|_| "localhost".to_owned(), |url| url.host())
}
