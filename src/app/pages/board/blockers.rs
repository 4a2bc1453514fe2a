//! What holds each channel.

use crate::app::parts::access::Unread;
use crate::app::parts::images::Hash;
use crate::app::state::Store;
use crate::engine::board::report::hash_of;
use crate::engine::pipeline::{Blocker, Pipeline, WhyNot};
use crate::net::web::clock;
use leptos::prelude::*;

/// Why channels are not at their candidates, by channel; none where nobody was asked, or not all is known yet.
pub type Reasons = Option<Vec<(String, WhyNot)>>;

pub fn why_not(store: Store) -> Vec<(String, WhyNot)> {
    let (channels, settings) = store.prepared.with(|p| (p.grid.channels.clone(), p.settings.clone()));
    store.results.with(|r| {
        let of = |channel: String| {
            let why = r.pipeline.why_not(&settings, &channel, &|c| hash_of(&r.stages, c), clock());
            (channel, why)
        };
        // The first is promoted from nothing on the board, unless the promoter's file says from what.
        let is_reported = |(c, channel): &(usize, String)| *c > 0 || r.pipeline.criteria.contains_key(channel);
        channels.into_iter().enumerate().filter(is_reported).map(|(_, channel)| of(channel)).collect()
    })
}

pub fn has_pipeline(store: Store) -> bool {
    store.prepared.with(|p| Pipeline::is_wanted(&p.settings)) || store.results.with(|r| *r.pipeline != Pipeline::default())
}

/// What holds each channel.
#[component]
pub fn Reasons(store: Store, reasons: Signal<Reasons>) -> impl IntoView {
    let blocker = |b: Blocker| {
        let link = b.url.map(|url| view! { " " <a href=url target="_blank" rel="noopener">"Log"<span class="vh">{format!(" of {}", b.job)}</span></a> });
        view! { <li data-kind=b.kind.word()>{b.sentence}{link}</li> }
    };
    let of = move |(channel, why): (String, WhyNot)| {
        let body = match why {
            WhyNot::Unknown { message, builds } => {
                view! { <p class="quiet">{message}</p> <ul class="blockers">{builds.into_iter().map(blocker).collect_view()}</ul> }
                    .into_any()
            }
            WhyNot::InSync(label) => view! { <p>{format!("No blockers: in sync with {label}.")}</p> }.into_any(),
            WhyNot::Held { label, hash, passed, of, blockers } => {
                let rest =
                    if blockers.is_empty() { " It waits only for the promoter.".to_owned() } else { String::new() };
                view! {
                    <p>{format!("{passed} of {of} jobs passed for ")}<Hash text=hash />{format!(" of {label}.{rest}")}</p>
                    <ul class="blockers">{blockers.into_iter().map(blocker).collect_view()}</ul>
                }
                .into_any()
            }
        };
        view! { <h3>{channel}</h3>{body} }
    };
    let all = move || match reasons.get() {
        Some(all) => all.into_iter().map(of).collect_view().into_any(),
        None => view! { <p class="quiet">"Available when the board has loaded."</p> }.into_any(),
    };
    let is_reported = Memo::new(move |_| has_pipeline(store));
    view! {
        <section class="reasons" aria-labelledby="reasons-title">
            <h2 id="reasons-title">"Promotion blockers"</h2>
            <Unread store=store />
            <Show when=move || is_reported.get() fallback=|| view! { <p class="quiet">"To see which jobs a candidate must pass, give the promoter's file (criteria=) and DLRN's API (dlrn=), or a snapshot that has them."</p> }>
                {all}
            </Show>
        </section>
    }
}
