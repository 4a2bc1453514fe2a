//! Where images come from: the release or a template, registries, the pipeline, a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;

use super::fields::{Text, Texts, Upload};
use crate::app::state::{Phase, Store};
use crate::app::ui::{Rows, Select};
use crate::engine::error::{Error, Location};
use crate::engine::options::definitions::{DEFINITIONS, definition};
use crate::engine::options::settings::api_words;
use crate::engine::release::RELEASES;
use crate::engine::snapshot::Snapshot;
use crate::engine::template::Source;

/// Where images come from.
#[component]
pub fn SourceGroup(store: Store) -> impl IntoView {
    let releases = Signal::derive(|| RELEASES.iter().map(|r| r.name.to_owned()).collect::<Vec<_>>());
    let chosen = Callback::new(move |release: String| {
        let own = store.files.own.with_untracked(|f| f.template.is_some());
        store.choose(move |c| {
            // The old release's own values would hide those of the new one.
            for d in DEFINITIONS.iter().filter(|d| d.is_substitution()) {
                c.clear(d.key);
            }
            c.clear("role");
            c.set.clear();
            c.put("release", release.as_str());
            if c.default_of("release", own) == release {
                c.clear("release");
            }
        });
    });
    view! {
        <div>
            <Select label="Release" value=store.value("release") options=releases on_change=chosen />
            <Text store=store key="namespace" label="Namespace" placeholder="quay.io/tripleotrain" />
            <Text store=store key="name_prefix" label="Name prefix" />
            <Text store=store key="name_suffix" label="Name suffix" />
            <OwnTemplate store=store />
            <details class="fold">
                <summary>"Ceph and others"</summary>
                <div class="rows">
                    <Text store=store key="ceph_namespace" label="Ceph namespace" />
                    <Text store=store key="ceph_image" label="Ceph image" />
                    <Text store=store key="ceph_tag" label="Ceph tag" />
                    <Substitutions store=store />
                </div>
            </details>
            <Texts store=store key="endpoint" legend="Endpoints" one="Endpoint" pair=("Host", "Address") />
            <Select
                label="API"
                value=store.value("api")
                options=Signal::derive(|| api_words().into_iter().map(str::to_owned).collect())
                on_change=Callback::new(move |text| store.put("api", text, false))
            />
            <PipelineFields store=store />
            <SnapshotFields store=store />
        </div>
    }
}

/// A template in place of the release's.
#[component]
fn OwnTemplate(store: Store) -> impl IntoView {
    let own = move || {
        store
            .files
            .own
            .with(|f| f.template.as_ref().map(|t| t.name.clone()))
            .or_else(|| store.value("template").get().rsplit('/').next().filter(|n| !n.is_empty()).map(str::to_owned))
            .unwrap_or_else(|| "none".to_owned())
    };
    view! {
        <details class="fold">
            <summary>"Own template " <span class="gist">{own}</span></summary>
            <div class="rows">
                <Text store=store key="template" label="Template address" placeholder="https://…/overcloud_containers.yaml.j2" wide=true />
                <Upload
                    store=store
                    label="Template file"
                    put=|f, s| f.template = Some(s)
                    names=|f| f.template.iter().map(|t| t.name.clone()).collect()
                    remove=|f, _| f.template = None
                />
                <TemplateText store=store />
                <Upload
                    store=store
                    label="Included files"
                    multiple=true
                    put=|f, s| {
                        f.includes.retain(|i| i.name != s.name);
                        f.includes.push(s);
                    }
                    names=|f| f.includes.iter().map(|t| t.name.clone()).collect()
                    remove=|f, i| _ = f.includes.remove(i)
                />
            </div>
        </details>
    }
}

/// The text of a template, typed or pasted.
#[component]
fn TemplateText(store: Store) -> impl IntoView {
    // A template is rendered when the typing pauses.
    let paste = StoredValue::new(None::<TimeoutHandle>);
    let pasted = move |text: String| {
        if let Some(handle) = paste.get_value() {
            handle.clear();
        }
        let take = move || {
            store.set_files(|f| {
                let (name, text) = ("pasted template".to_owned(), text.clone());
                f.template = (!text.trim().is_empty()).then_some(Source { name, text });
            });
        };
        store.phase.set(Phase::Busy);
        paste.set_value(set_timeout_with_handle(take, Duration::from_millis(250)).ok());
    };
    view! {
        <label class="field" data-wide="">
            <span>"Template text"</span>
            <textarea
                class="input mono"
                spellcheck="false"
                prop:value=move || store.files.own.with(|f| f.template.as_ref().map(|t| t.text.clone()).unwrap_or_default())
                on:input=move |e| pasted(event_target_value(&e))
            ></textarea>
        </label>
    }
}

/// Substitutions that have no field of their own.
#[component]
fn Substitutions(store: Store) -> impl IntoView {
    // What is typed stands as it is typed; the choices hold what is a substitution of it.
    let of_choices = move || store.choices.with(|c| c.set.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>());
    let as_choices = |pairs: &[String]| -> BTreeMap<String, String> {
        let pairs = pairs.iter().map(|p| p.split_once('=').unwrap_or((p, "")));
        pairs.filter(|(n, _)| !n.is_empty() && definition(n).is_none()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    };
    let draft = RwSignal::new(Vec::<String>::new());
    Effect::new(move |_| {
        let chosen = of_choices();
        if as_choices(&chosen) != as_choices(&draft.get_untracked()) {
            draft.set(chosen);
        }
    });
    let set_others = Callback::new(move |pairs: Vec<String>| {
        let set = as_choices(&pairs);
        draft.set(pairs);
        store.type_in("set", move |c| c.set = set);
    });
    let wrong_other = Signal::derive(move || {
        let prepared = store.prepared.get();
        let of_set = |e: &&Error| matches!(&e.location, Location::Choice(key) if definition(key).is_none());
        let known = draft.get().into_iter().find_map(|p| {
            let name = p.split('=').next().unwrap_or_default().to_owned();
            definition(&name).map(|_| format!("{name} has its own field, or is not a substitution."))
        });
        known.or_else(|| prepared.wrong.iter().find(of_set).map(ToString::to_string))
    });
    view! {
        <Rows
            legend="Other substitutions"
            one="Substitution"
            pair=("Name", "Value")
            values=Signal::from(draft) on_change=set_others wrong=wrong_other
        />
    }
}

/// What reports promotions and what holds them.
#[component]
fn PipelineFields(store: Store) -> impl IntoView {
    let pipeline = move || {
        let named = ["dlrn", "criteria", "zuul"].into_iter().filter(|key| !store.value(key).get().is_empty());
        Some(named.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty()).unwrap_or_else(|| "none".to_owned())
    };
    view! {
        <details class="fold">
            <summary>"Pipeline " <span class="gist">{pipeline}</span></summary>
            <div class="rows">
                <p class="help">"For the board: when channels were promoted, and what blocks the next promotion."</p>
                <Text store=store key="dlrn" label="DLRN's API, or a file of its promotions" placeholder="https://…/api-centos9-antelope" wide=true />
                <Text store=store key="criteria" label="The promoter's file" placeholder="https://…/master.yaml" wide=true />
                <Text store=store key="zuul" label="Zuul's API with its tenant" placeholder="https://…/zuul/api/tenant/…" wide=true />
            </div>
        </details>
    }
}

/// A snapshot in place of the registries, and an earlier one.
#[component]
fn SnapshotFields(store: Store) -> impl IntoView {
    let taken = move || {
        let own = store.files.own.with(|f| f.snapshot.as_ref().map(|s| s.name.clone()));
        let named = own.or_else(|| Some(store.value("snapshot").get()).filter(|s| !s.is_empty()));
        named.unwrap_or_else(|| "none".to_owned())
    };
    view! {
        <details class="fold">
            <summary>"Snapshot " <span class="gist">{taken}</span></summary>
            <div class="rows">
                <p class="help">"A file from overtag snapshot is read in place of the registries. You can also drop one on the page."</p>
                <Text store=store key="snapshot" label="Snapshot address" placeholder="snapshot.json" wide=true />
                <Upload
                    store=store
                    label="Snapshot file"
                    put=|f, s| f.snapshot = Some(s)
                    names=|f| f.snapshot.iter().map(|t| t.name.clone()).collect()
                    remove=|f, _| f.snapshot = None
                />
                <Text store=store key="against" label="Earlier snapshot's address" placeholder="yesterday.json" wide=true />
                <Earlier store=store />
            </div>
        </details>
    }
}

/// An earlier snapshot to compare with.
#[component]
fn Earlier(store: Store) -> impl IntoView {
    let picked = move |e| {
        store.pick(&e, move |source| {
            let taken = Snapshot::read(&source.text, &source.name).map(Arc::new);
            store.comparison.older.set(Some((source.name, taken)));
        });
    };
    let held = move || {
        store.comparison.older.get().map(|(name, taken)| {
            let wrong = taken.err().map(|e| view! { <p class="help" data-kind="error">{e.to_string()}</p> });
            view! {
                <ul class="rows">
                    <li>
                        <span class="mono">{name.clone()}</span>
                        <button class="icon" type="button" aria-label=format!("Remove {name}") on:click=move |_| store.comparison.older.set(None)>"×"</button>
                    </li>
                </ul>
                {wrong}
            }
        })
    };
    view! {
        <label class="field" data-wide="">
            <span>"Earlier snapshot, to compare with"</span>
            <input class="input" type="file" on:change=picked />
        </label>
        {held}
    }
}
