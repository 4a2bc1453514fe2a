//! At which tag images are wanted, and how it is pinned.

use leptos::prelude::*;

use super::fields::Text;
use crate::app::state::Store;
use crate::app::ui::Select;
use crate::engine::options::settings::View;

/// Channels that are suggested; any other tag may be typed.
const CHANNELS: [&str; 6] =
    ["current-tripleo", "current-tripleo-rdo", "tripleo-ci-testing", "consistent", "current", "current-podified"];

/// At which tag images are wanted, and how it is pinned.
#[component]
pub fn ChannelGroup<F: Fn() -> AnyView + Send + 'static>(store: Store, fields: F) -> impl IntoView {
    let missing = Signal::derive(|| ["drop", "keep", "fail"].map(str::to_owned).to_vec());
    let view = store.view();
    view! {
        <div>
            {fields}
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
