//! Which images are wanted: by roles, services, environments and filters.

use leptos::prelude::*;

use super::fields::{Texts, Upload};
use crate::app::state::Store;
use crate::app::ui::Select;
use crate::engine::options::definitions::Choices;
use crate::engine::release::Release;

/// Which images are wanted.
#[component]
pub fn ScopeGroup(store: Store) -> impl IntoView {
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
            <Roles store=store />
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

/// The roles of the release, each to be chosen and counted.
#[component]
fn Roles(store: Store) -> impl IntoView {
    let find = RwSignal::new(String::new());
    let release = Memo::new(move |_| {
        let own = store.files.own.with(|f| f.template.is_some());
        store.link.selection.with(|c| c.release(own).name)
    });
    let roles = Memo::new(move |_| {
        let names = Release::named(release.get()).map(|r| r.roles().roles).unwrap_or_default();
        let mut names: Vec<(bool, String)> = names.into_iter().map(|(n, r)| (!r.is_default, n)).collect();
        names.sort();
        names.into_iter().map(|(_, n)| n).collect::<Vec<_>>()
    });
    let shown = move || {
        let find = find.get().to_lowercase();
        roles.get().into_iter().filter(|r| r.to_lowercase().contains(&find)).collect::<Vec<_>>()
    };
    let role = move |name: String| view! { <Role store=store name=name /> };
    view! {
        <fieldset>
            <legend>"Roles"</legend>
            <label class="field">
                <span>"Find a role"</span>
                <input class="input" type="search" on:input=move |e| find.set(event_target_value(&e)) />
            </label>
            <ul class="roles"><For each=shown key=|n| n.clone() children=role /></ul>
            {move || store.wrong("role").get().map(|text| view! { <p class="help" data-kind="error">{text}</p> })}
        </fieldset>
    }
}

/// A role: whether it is chosen, and its count.
#[component]
fn Role(store: Store, name: String) -> impl IntoView {
    let (a, b, c, d) = (name.clone(), name.clone(), name.clone(), name.clone());
    view! {
        <li>
            <label class="check">
                <input
                    type="checkbox"
                    prop:checked=move || count(store, &a).is_some()
                    on:change=move |e| set_count(store, &b, event_target_checked(&e).then(|| "1".to_owned()), false)
                />
                {name.clone()}
            </label>
            <input
                class="input"
                type="number"
                min="0"
                aria-label=format!("{name} count")
                prop:value=move || count(store, &c).unwrap_or_else(|| "1".to_owned())
                on:input=move |e| {
                    // An empty count is one that is being typed.
                    let count = event_target_value(&e);
                    if !count.is_empty() {
                        set_count(store, &d, Some(count), true);
                    }
                }
            />
        </li>
    }
}

/// The count of a role, or none where it is not chosen.
fn count(store: Store, name: &str) -> Option<String> {
    store.choices.with(|c| {
        c.all("role").iter().find_map(|r| {
            let (n, count) = r.split_once(':').unwrap_or((r, "1"));
            (n == name).then(|| count.to_owned())
        })
    })
}

/// Chooses a role with its count, or takes it off.
fn set_count(store: Store, name: &str, count: Option<String>, typed: bool) {
    let name = name.to_owned();
    let write = move |c: &mut Choices| {
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
}
