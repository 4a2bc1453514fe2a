//! A card a channel.

use super::blockers::Reasons;
use crate::app::browser;
use crate::app::parts::images::Hash;
use crate::app::state::Store;
use crate::app::ui::sentence;
use crate::engine::board::Stage;
use crate::engine::pipeline::WhyNot;
use crate::engine::wording::short;
use leptos::prelude::*;

/// A card a channel.
#[component]
pub fn Stages(store: Store, stages: Memo<Vec<Stage>>, reasons: Signal<Reasons>, embed: bool) -> impl IntoView {
    let card = move |channel: String| {
        let name = channel.clone();
        let stage = Memo::new(move |_| stages.with(|s| s.iter().find(|s| s.channel == name).cloned().unwrap_or_default()));
        let when = move || {
            let now = store.screen.now.get();
            let (at, since) = stage.with(|s| s.since(now))?;
            let lateness = stage.with(|s| s.lateness(now, store.prepared.with(|p| p.settings.late))).and_then(|l| l.word());
            let chip = lateness.map(|word| view! { " " <span class="chip" data-note="late">{word}</span> });
            Some(view! { <p title=at.to_string()>{since[..1].to_uppercase()}{since[1..].to_owned()}{chip}</p> })
        };
        // Of one hash it is the same card: nobody loses the button under the finger when the board is refreshed.
        let hash = Memo::new(move |_| {
            let (channel, hash) = stage.with(|s| Some((s.channel.clone(), s.hash.clone()?)))?;
            let link = store.results.with(|r| r.pipeline.repository(&channel, &hash));
            Some((hash, link))
        });
        let hash = move || {
            let (hash, link) = hash.get()?;
            let copied = hash.clone();
            let copy = move |_| {
                let text = copied.clone();
                wasm_bindgen_futures::spawn_local(async move {
                    let said = if browser::copy(&text).await {
                        format!("{} was copied.", short(&text))
                    } else {
                        format!("No clipboard access. Copy it yourself: {text}")
                    };
                    store.said.set(said);
                });
            };
            let named = short(&hash).to_owned();
            let button = (!embed).then(|| view! { <button class="button" data-kind="text" type="button" on:click=copy>"Copy"<span class="vh">{format!(" the hash {named}")}</span></button> });
            let named = short(&hash).to_owned();
            let link = link.map(|url| view! { <a href=url target="_blank" rel="noopener">"Repository"<span class="vh">{format!(" of {named}")}</span></a> });
            Some(view! { <p class="of"><Hash text=hash.clone() /> {button} {link}</p> })
        };
        let lag = move || {
            stage.with(|s| {
                s.lag.as_ref().map(|lag| view! { <p class="quiet">{sentence(&lag.sentence(store.screen.now.get()))}</p> })
            })
        };
        let name = channel.clone();
        let held = Memo::new(move |_| held(&reasons.get(), &name));
        view! {
            <li class="stage" data-state=move || stage.with(|s| s.state.word())>
                <h2>{channel}</h2>
                <p class="count">{move || stage.with(|s| format!("{} of {}", s.counts.at_hash, s.counts.asked))}</p>
                {hash}
                <p>{move || stage.with(Stage::sentence)}</p>
                {when}
                {lag}
                {move || held.get().map(|text| view! { <p>{text}</p> })}
            </li>
        }
    };
    let channels = move || stages.with(|s| s.iter().map(|s| s.channel.clone()).collect::<Vec<_>>());
    view! {
        <ol class="stages" aria-label="Channels, in the order of promotion">
            <For each=channels key=Clone::clone children=card />
        </ol>
    }
}

/// What holds a channel, in few words, for its card.
pub fn held(reasons: &Reasons, channel: &str) -> Option<String> {
    match &reasons.as_ref()?.iter().find(|(c, _)| c == channel)?.1 {
        WhyNot::Held { hash, passed, of, blockers, .. } if !blockers.is_empty() => {
            Some(format!("{passed} of {of} jobs passed for {}; {} to go", short(hash), blockers.len()))
        }
        WhyNot::Held { hash, of, .. } if *of > 0 => Some(format!("All jobs passed for {}", short(hash))),
        _ => None,
    }
}
