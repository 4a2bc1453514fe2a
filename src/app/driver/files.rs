//! Fetches the template and the snapshot that a link names.

use std::sync::Arc;

use leptos::prelude::*;

use super::Loader;
use crate::app::state::Fetched;
use crate::engine::error::Error;
use crate::engine::snapshot::Snapshot;
use crate::engine::template::{Files, Source, beside};
use crate::engine::workflow::files::{FileNeed, FilesWorkflow};
use crate::net::web::{self, Stopper};

impl Loader {
    pub(super) fn fetch_snapshot(self, url: String) {
        let stopper = Stopper::default();
        self.fetching.set_value(Some(stopper.clone()));
        wasm_bindgen_futures::spawn_local(async move {
            let Some(address) = self.allowed(&url) else { return };
            let text = web::fetch(&address, &stopper).await.map_err(|why| FileNeed::Snapshot(url.clone()).unreadable(&why));
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

/// Fetches a template, and what it includes from beside it.
async fn fetch_all(address: &str, url: &str, stopper: &Stopper) -> Result<Files, Error> {
    let mut workflow = FilesWorkflow::new(Files::default(), None, Some(url.to_owned()));
    while let Some(need) = workflow.next_need()? {
        let at = match &need {
            FileNeed::Include { name, .. } => beside(address, name),
            _ => address.to_owned(),
        };
        let read = web::fetch(&at, stopper).await.map_err(|why| need.unreadable(&why));
        workflow.deliver(need, read.map(|text| Source { name: at, text }))?;
    }
    Ok(workflow.finish())
}
