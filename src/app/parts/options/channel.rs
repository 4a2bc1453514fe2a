//! At which tag images are wanted, and how it is pinned.

use leptos::prelude::*;

use super::ends;
use super::fields::Text;
use crate::app::state::Store;
use crate::app::ui::{Field, Select};
use crate::engine::options::definitions::list;
use crate::engine::options::settings::View;

/// Channels that are suggested; any other tag may be typed.
const CHANNELS: [&str; 6] =
    ["current-tripleo", "current-tripleo-rdo", "tripleo-ci-testing", "consistent", "current", "current-podified"];

/// No automatic refresh, in words.
const OFF: &str = "off";

/// At which tag images are wanted, and how it is pinned.
#[component]
pub fn ChannelGroup(store: Store) -> impl IntoView {
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
