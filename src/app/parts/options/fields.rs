//! Fields of the choices: a line of text, a list of texts, files.

use leptos::prelude::*;
use web_sys::HtmlInputElement;

use crate::app::browser;
use crate::app::state::Store;
use crate::app::ui::{Field, Rows};
use crate::engine::template::{Files, Source};

/// A line of text for a choice.
#[component]
pub fn Text(
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
pub fn Texts(
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
pub fn Upload(
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
