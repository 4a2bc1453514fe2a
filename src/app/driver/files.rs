//! Fetches the template and the snapshot that a link names.

use std::sync::Arc;

use leptos::prelude::*;

use super::Loader;
use crate::app::state::Fetched;
use crate::engine::error::{Error, Kind};
use crate::engine::snapshot::Snapshot;
use crate::engine::template::{Files, Includes, Source, beside};
use crate::net::web::{self, Stopper};

impl Loader {
    pub(super) fn fetch_snapshot(self, url: String) {
        let stopper = Stopper::default();
        self.fetching.set_value(Some(stopper.clone()));
        wasm_bindgen_futures::spawn_local(async move {
            let Some(address) = self.allowed(&url) else { return };
            let text = web::fetch(&address, &stopper).await.map_err(|why| unreadable_snapshot(&why, &url));
            if !stopper.is_stopped() {
                self.has_begun.set_value(false);
                let taken = text.and_then(|text| Snapshot::read(&text, &url)).map(Arc::new);
                let old = self.store.snapshot.get_untracked();
                let error = taken.as_ref().err().filter(|_| matches!(old, Some(Ok(_)))).cloned();
                let is_kept = error.is_some();
                self.store.files.snapshot_trouble.set(error);
                if !is_kept {
                    self.store.files.fetched_snapshot.set(Some((url, taken)));
                }
                // Where it is the same as before nobody hears of it.
                if self.store.snapshot.get_untracked() == old {
                    self.wind();
                }
            }
        });
    }

    pub(super) fn fetch(self, url: String) {
        let stopper = Stopper::default();
        self.fetching.set_value(Some(stopper.clone()));
        wasm_bindgen_futures::spawn_local(async move {
            let Some(address) = self.allowed(&url) else { return };
            let outcome = fetch_all(&address, &url, &stopper).await;
            if stopper.is_stopped() {
                return;
            }
            if self.store.prepared.with_untracked(|p| p.settings.template.as_deref() == Some(url.as_str())) {
                self.has_begun.set_value(false);
                self.store.files.fetched.set(Some(Fetched { url, outcome }));
            }
        });
    }
}

pub fn unreadable_snapshot(why: &str, url: &str) -> Error {
    let hint = "check the address, or drop the file on this page";
    Error::new(Kind::Registry, format!("the snapshot cannot be read: {why}"), url, hint)
}

/// Fetches a template and what it includes from beside it.
async fn fetch_all(address: &str, name: &str, stopper: &Stopper) -> Result<Files, Error> {
    let text = web::fetch(address, stopper).await.map_err(|why| {
        Error::new(Kind::Registry, format!("the template cannot be read: {why}"), name, "check the address, or upload the file")
    })?;
    let template = Source { name: name.to_owned(), text };
    let mut includes = Includes::of(&template);
    while let Some(include) = includes.next_name()? {
        if let Ok(text) = web::fetch(&beside(address, &include), stopper).await {
            includes.add(Source { name: include, text });
        }
    }
    Ok(Files { template: Some(template), includes: includes.found, ..Files::default() })
}
