//! The choices: four groups, each with a line that says what is in it.

mod channel;
mod fields;
mod scope;
mod source;

use leptos::prelude::*;

use self::channel::ChannelGroup;
pub use self::fields::Text;
use self::scope::ScopeGroup;
use self::source::SourceGroup;
use crate::app::browser;
use crate::app::state::Store;
use crate::app::ui::Fold;

/// The choices in words: release, namespace, `tags`, roles.
pub fn summary(store: Store, tags: String) -> String {
    let mut parts = vec![source_summary(store), tags];
    let scope = scope_summary(store);
    if scope != "all images" {
        parts.push(scope);
    }
    parts.join(" · ")
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

/// All choices.
#[component]
pub fn Choices<F: Fn() -> AnyView + Copy + Send + Sync + 'static>(
    /// The state.
    store: Store,
    /// The tags or channels of the page, in words.
    tags: Signal<String>,
    /// The fields that choose these.
    fields: F,
) -> impl IntoView {
    let is_wide = browser::is_wide();
    let fixed = |text: &'static str| Signal::derive(move || text.to_owned());
    view! {
        <details class="choices fold" open=is_wide>
            <summary>
                <span>"Choices"</span>
                <span class="gist">{move || summary(store, tags.get())}</span>
            </summary>
            <Fold class="group" title=fixed("Source") summary=Signal::derive(move || source_summary(store)) open=is_wide>
                <SourceGroup store=store />
            </Fold>
            <Fold
                class="group"
                title=fixed("Channel")
                summary=Signal::derive(move || format!("{} · {}", tags.get(), store.value("pin").get()))
                open=is_wide
            >
                <ChannelGroup store=store fields=fields />
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

/// The two ends of a comparison.
pub fn ends(channels: &str) -> [String; 2] {
    let mut words = channels.split(',').map(|w| w.trim().to_owned());
    [words.next().unwrap_or_default(), words.next().unwrap_or_default()]
}
