//! The choices: four groups, each with a line that says what is in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;
use web_sys::HtmlInputElement;

use crate::app::browser;
use crate::app::state::{Phase, Store};
use crate::app::ui::{Field, Fold, Rows, Select};
use crate::engine::error::{Error, Location};
use crate::engine::options::definitions::{DEFINITIONS, definition, list};
use crate::engine::options::settings::{View, api_words};
use crate::engine::release::RELEASES;
use crate::engine::snapshot::Snapshot;
use crate::engine::template::Files;
use crate::engine::template::Source;

/// Channels that are suggested; any other tag may be typed.
const CHANNELS: [&str; 6] =
    ["current-tripleo", "current-tripleo-rdo", "tripleo-ci-testing", "consistent", "current", "current-podified"];

/// The choices in words: release, namespace, channel, roles.
pub fn summary(store: Store) -> String {
    let mut parts = vec![source_summary(store), channel_summary(store)];
    let scope = scope_summary(store);
    if scope != "all images" {
        parts.push(scope);
    }
    parts.join(" · ")
}

fn channel_summary(store: Store) -> String {
    match store.prepared.with(|p| p.settings.view) {
        View::Prepare => store.value("tag").get(),
        View::Board => store.value("channels").get().replace(',', " → "),
        View::Compare => ends(&store.value("channels").get()).join(" → "),
    }
}

fn source_summary(store: Store) -> String {
    let own = store.files.own.with(|f| f.template.as_ref().map(|t| t.name.clone()));
    let named = own.unwrap_or_else(|| match store.value("template").get() {
        url if url.is_empty() => store.value("release").get(),
        url => url.rsplit('/').next().unwrap_or_default().to_owned(),
    });
    format!("{named} · {}", store.value("namespace").get())
}

fn scope_summary(store: Store) -> String {
    let mut parts: Vec<String> = store.all("role").get();
    parts.extend(store.all("service").get().iter().map(|s| s.rsplit("::").next().unwrap_or(s).to_owned()));
    let (roles, environments) = store.files.own.with(|f| (f.roles.is_some(), f.environments.len()));
    if roles {
        parts.push("a roles file".to_owned());
    }
    match environments {
        0 => {}
        1 => parts.push("1 environment".to_owned()),
        n => parts.push(format!("{n} environments")),
    }
    parts.extend(store.all("include").get().iter().map(|r| format!("include {r}")));
    parts.extend(store.all("exclude").get().iter().map(|r| format!("exclude {r}")));
    if parts.is_empty() { "all images".to_owned() } else { parts.join(", ") }
}

/// A line of text for a choice.
#[component]
fn Text(
    store: Store,
    key: &'static str,
    label: &'static str,
    #[prop(default = "")] placeholder: &'static str,
    #[prop(optional)] list: Option<&'static str>,
    #[prop(optional)] wide: bool,
) -> impl IntoView {
    let typed = Callback::new(move |text| store.put(key, text, true));
    view! {
        <Field
            label=label
            value=store.value(key)
            on_input=typed
            placeholder=placeholder
            wrong=store.wrong(key)
            list=list.unwrap_or_default()
            wide=wide
        />
    }
}

/// A list of texts for a repeatable choice.
#[component]
fn Texts(
    store: Store,
    key: &'static str,
    legend: &'static str,
    one: &'static str,
    #[prop(optional)] pair: Option<(&'static str, &'static str)>,
) -> impl IntoView {
    let changed = Callback::new(move |values| store.type_in(key, move |c| c.put_all(key, values)));
    match pair {
        Some(pair) => view! {
            <Rows legend=legend one=one pair=pair values=store.all(key) on_change=changed wrong=store.wrong(key) />
        }
        .into_any(),
        None => {
            view! { <Rows legend=legend one=one values=store.all(key) on_change=changed wrong=store.wrong(key) /> }.into_any()
        }
    }
}

/// Files that are picked, read, listed and taken off again.
#[component]
fn Upload(
    store: Store,
    label: &'static str,
    #[prop(optional)] multiple: bool,
    /// Takes a file that was read.
    put: fn(&mut Files, Source),
    /// The names of the files that are held.
    names: fn(&Files) -> Vec<String>,
    /// Takes the file of that place off.
    remove: fn(&mut Files, usize),
) -> impl IntoView {
    let picked = move |e: leptos::ev::Event| {
        let input = event_target::<HtmlInputElement>(&e);
        wasm_bindgen_futures::spawn_local(async move {
            let read = browser::read_files(&input).await;
            store.take(read, put);
        });
    };
    let held = move || {
        let names = store.files.own.with(names);
        let item = |(i, name): (usize, String)| {
            view! {
                <li>
                    <span class="mono">{name.clone()}</span>
                    <button
                        class="icon"
                        type="button"
                        aria-label=format!("Remove {name}")
                        on:click=move |_| store.set_files(|f| remove(f, i))
                    >
                        "×"
                    </button>
                </li>
            }
        };
        (!names.is_empty()).then(|| view! { <ul class="rows">{names.into_iter().enumerate().map(item).collect_view()}</ul> })
    };
    view! {
        <label class="field" data-wide="">
            <span>{label}</span>
            <input class="input" type="file" multiple=multiple on:change=picked />
        </label>
        {held}
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

/// All choices.
#[component]
pub fn Choices(
    /// The state.
    store: Store,
) -> impl IntoView {
    let is_wide = browser::is_wide();
    let fixed = |text: &'static str| Signal::derive(move || text.to_owned());
    view! {
        <details class="choices fold" open=is_wide>
            <summary>
                <span>"Choices"</span>
                <span class="gist">{move || summary(store)}</span>
            </summary>
            <Fold class="group" title=fixed("Source") summary=Signal::derive(move || source_summary(store)) open=is_wide>
                <SourceGroup store=store />
            </Fold>
            <Fold
                class="group"
                title=fixed("Channel")
                summary=Signal::derive(move || format!("{} · {}", channel_summary(store), store.value("pin").get()))
                open=is_wide
            >
                <ChannelGroup store=store />
            </Fold>
            <Fold class="group" title=fixed("Scope") summary=Signal::derive(move || scope_summary(store)) open=false>
                <ScopeGroup store=store />
            </Fold>
            <Fold
                class="group"
                title=fixed("Output")
                summary=Signal::derive(move || {
                    let to = store.value("push_destination").get();
                    if to.is_empty() { "as named by the registry".to_owned() } else { format!("to {to}") }
                })
                open=false
            >
                <div>
                    <Text store=store key="push_destination" label="Push destination" placeholder="192.168.24.1:8787" />
                    <Text store=store key="append_tag" label="Append to tag" />
                </div>
            </Fold>
        </details>
    }
}

#[component]
fn SourceGroup(store: Store) -> impl IntoView {
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
    let own = move || {
        store
            .files
            .own
            .with(|f| f.template.as_ref().map(|t| t.name.clone()))
            .or_else(|| store.value("template").get().rsplit('/').next().filter(|n| !n.is_empty()).map(str::to_owned))
            .unwrap_or_else(|| "none".to_owned())
    };
    let pipeline = move || {
        let named = ["dlrn", "criteria", "zuul"].into_iter().filter(|key| !store.value(key).get().is_empty());
        Some(named.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty()).unwrap_or_else(|| "none".to_owned())
    };
    let taken = move || {
        let own = store.files.own.with(|f| f.snapshot.as_ref().map(|s| s.name.clone()));
        let named = own.or_else(|| Some(store.value("snapshot").get()).filter(|s| !s.is_empty()));
        named.unwrap_or_else(|| "none".to_owned())
    };
    view! {
        <div>
            <Select label="Release" value=store.value("release") options=releases on_change=chosen />
            <Text store=store key="namespace" label="Namespace" placeholder="quay.io/tripleotrain" />
            <Text store=store key="name_prefix" label="Name prefix" />
            <Text store=store key="name_suffix" label="Name suffix" />
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
                    <label class="field" data-wide="">
                        <span>"Template text"</span>
                        <textarea
                            class="input mono"
                            spellcheck="false"
                            prop:value=move || store.files.own.with(|f| f.template.as_ref().map(|t| t.text.clone()).unwrap_or_default())
                            on:input=move |e| pasted(event_target_value(&e))
                        ></textarea>
                    </label>
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
            <details class="fold">
                <summary>"Ceph and others"</summary>
                <div class="rows">
                    <Text store=store key="ceph_namespace" label="Ceph namespace" />
                    <Text store=store key="ceph_image" label="Ceph image" />
                    <Text store=store key="ceph_tag" label="Ceph tag" />
                    <Rows
                        legend="Other substitutions"
                        one="Substitution"
                        pair=("Name", "Value")
                        values=Signal::from(draft) on_change=set_others wrong=wrong_other
                    />
                </div>
            </details>
            <Texts store=store key="endpoint" legend="Endpoints" one="Endpoint" pair=("Host", "Address") />
            <Select
                label="API"
                value=store.value("api")
                options=Signal::derive(|| api_words().into_iter().map(str::to_owned).collect())
                on_change=Callback::new(move |text| store.put("api", text, false))
            />
            <details class="fold">
                <summary>"Pipeline " <span class="gist">{pipeline}</span></summary>
                <div class="rows">
                    <p class="help">"For the board: when channels were promoted, and what blocks the next promotion."</p>
                    <Text store=store key="dlrn" label="DLRN's API, or a file of its promotions" placeholder="https://…/api-centos9-antelope" wide=true />
                    <Text store=store key="criteria" label="The promoter's file" placeholder="https://…/master.yaml" wide=true />
                    <Text store=store key="zuul" label="Zuul's API with its tenant" placeholder="https://…/zuul/api/tenant/…" wide=true />
                </div>
            </details>
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
        </div>
    }
}

#[component]
fn ChannelGroup(store: Store) -> impl IntoView {
    let missing = Signal::derive(|| ["drop", "keep", "fail"].map(str::to_owned).to_vec());
    let view = store.view();
    // A comparison is of the first two channels.
    let end = move |at: usize| Signal::derive(move || ends(&store.value("channels").get())[at].clone());
    let put_end = move |at: usize| {
        Callback::new(move |text: String| {
            let channels = store.value("channels").get_untracked();
            let mut both = ends(&channels);
            both[at] = text;
            // A board's other channels are not lost by it.
            let all = store.choices.with_untracked(|c| store.channels_before(c)).unwrap_or(channels);
            let rest: Vec<String> = list(&all).filter(|c| !both.iter().any(|b| b == c)).map(str::to_owned).collect();
            let channels = [&both[..], &rest].concat().join(",");
            store.comparison.channels.update_value(|c| c.push((channels.clone(), all)));
            store.put("channels", channels, true);
        })
    };
    let tags = move || {
        match view.get() {
        View::Prepare => view! { <Text store=store key="tag" label="Tag" list="channels" /> }.into_any(),
        View::Board => view! {
            <Text store=store key="channels" label="Channels, in the order of promotion" wide=true />
            <Text store=store key="late" label="Late after days" />
            <Select
                label="Refresh (s)"
                value=Signal::derive(move || match store.value("refresh").get() {
                    seconds if seconds.is_empty() => OFF.to_owned(),
                    seconds => seconds,
                })
                options=Signal::derive(move || {
                    let mut all = [OFF, "30", "60", "300", "900"].map(str::to_owned).to_vec();
                    let now = store.value("refresh").get();
                    if !now.is_empty() && !all.contains(&now) {
                        all.push(now);
                    }
                    all
                })
                on_change=Callback::new(move |text: String| store.put("refresh", if text == OFF { String::new() } else { text }, false))
            />
        }
        .into_any(),
        View::Compare => view! {
            <Field label="From" value=end(0) on_input=put_end(0) list="channels" wrong=store.wrong("channels") />
            <Field label="To" value=end(1) on_input=put_end(1) list="channels" />
            <Text store=store key="tag" label="Tag, of two snapshots" list="channels" wide=true />
        }
        .into_any(),
    }
    };
    view! {
        <div>
            {tags}
            <datalist id="channels">{CHANNELS.map(|c| view! { <option value=c></option> })}</datalist>
            <Text store=store key="pin" label="Pin chain" />
            <Text store=store key="label" label="Labels" />
            <Show when=move || view.get() == View::Prepare>
                <Select
                    label="Missing"
                    value=store.value("missing")
                    options=missing
                    on_change=Callback::new(move |text| store.put("missing", text, false))
                />
            </Show>
        </div>
    }
}

/// No automatic refresh, in words.
const OFF: &str = "off";

/// The two ends of a comparison.
fn ends(channels: &str) -> [String; 2] {
    let mut words = channels.split(',').map(|w| w.trim().to_owned());
    [words.next().unwrap_or_default(), words.next().unwrap_or_default()]
}

#[component]
fn ScopeGroup(store: Store) -> impl IntoView {
    let find = RwSignal::new(String::new());
    let release = Memo::new(move |_| {
        let own = store.files.own.with(|f| f.template.is_some());
        store.link.selection.with(|c| c.release(own).name)
    });
    let roles = Memo::new(move |_| {
        let names = crate::engine::release::Release::named(release.get()).map(|r| r.roles().roles).unwrap_or_default();
        let mut names: Vec<(bool, String)> = names.into_iter().map(|(n, r)| (!r.is_default, n)).collect();
        names.sort();
        names.into_iter().map(|(_, n)| n).collect::<Vec<_>>()
    });
    let shown = move || {
        let find = find.get().to_lowercase();
        roles.get().into_iter().filter(|r| r.to_lowercase().contains(&find)).collect::<Vec<_>>()
    };
    // The count of a role, or none where it is not chosen.
    let count = move |name: &str| {
        store.choices.with(|c| {
            c.all("role").iter().find_map(|r| {
                let (n, count) = r.split_once(':').unwrap_or((r, "1"));
                (n == name).then(|| count.to_owned())
            })
        })
    };
    let set = move |name: &str, count: Option<String>, typed: bool| {
        let name = name.to_owned();
        let write = move |c: &mut crate::engine::options::definitions::Choices| {
            let mut all: Vec<String> = c.all("role").to_vec();
            let new = count.map(|n| if n == "1" || n.is_empty() { name.clone() } else { format!("{name}:{n}") });
            match (all.iter().position(|r| r.split(':').next() == Some(&name)), new) {
                (Some(i), Some(new)) => all[i] = new,
                (Some(i), None) => _ = all.remove(i),
                (None, Some(new)) => all.push(new),
                (None, None) => {}
            }
            c.put_all("role", all);
        };
        if typed { store.type_in("role", write) } else { store.choose(write) }
    };
    let role = move |name: String| {
        let (a, b, c, d) = (name.clone(), name.clone(), name.clone(), name.clone());
        view! {
            <li>
                <label class="check">
                    <input
                        type="checkbox"
                        prop:checked=move || count(&a).is_some()
                        on:change=move |e| set(&b, event_target_checked(&e).then(|| "1".to_owned()), false)
                    />
                    {name.clone()}
                </label>
                <input
                    class="input"
                    type="number"
                    min="0"
                    aria-label=format!("{name} count")
                    prop:value=move || count(&c).unwrap_or_else(|| "1".to_owned())
                    on:input=move |e| {
                        // An empty count is one that is being typed.
                        let count = event_target_value(&e);
                        if !count.is_empty() {
                            set(&d, Some(count), true);
                        }
                    }
                />
            </li>
        }
    };
    let drivers = Signal::derive(move || {
        let mut all: Vec<String> = ["ovn", "odl", "other"].map(str::to_owned).to_vec();
        let now = store.value("neutron_driver").get();
        if !all.contains(&now) {
            all.insert(0, now);
        }
        all
    });
    view! {
        <div>
            <fieldset>
                <legend>"Roles"</legend>
                <label class="field">
                    <span>"Find a role"</span>
                    <input class="input" type="search" on:input=move |e| find.set(event_target_value(&e)) />
                </label>
                <ul class="roles"><For each=shown key=|n| n.clone() children=role /></ul>
                {move || store.wrong("role").get().map(|text| view! { <p class="help" data-kind="error">{text}</p> })}
            </fieldset>
            <Texts store=store key="service" legend="Services" one="Service" />
            <Upload
                store=store
                label="Roles file"
                put=|f, s| f.roles = Some(s)
                names=|f| f.roles.iter().map(|t| t.name.clone()).collect()
                remove=|f, _| f.roles = None
            />
            <Upload
                store=store
                label="Heat environments"
                multiple=true
                put=|f, s| f.environments.push(s)
                names=|f| f.environments.iter().map(|t| t.name.clone()).collect()
                remove=|f, i| _ = f.environments.remove(i)
            />
            <Select
                label="Neutron driver"
                value=store.value("neutron_driver")
                options=drivers
                on_change=Callback::new(move |text| store.put("neutron_driver", text, false))
            />
            <Texts store=store key="include" legend="Include" one="Include" />
            <Texts store=store key="exclude" legend="Exclude" one="Exclude" />
        </div>
    }
}
