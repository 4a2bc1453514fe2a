//! The frame of the page: header, notices, choices beside results, the list of keys.

use leptos::ev;
use leptos::html::Dialog;
use leptos::prelude::*;

use crate::app::browser;
use crate::app::driver::Loader;
use crate::app::pages::{self, Page};
use crate::app::parts::options::{Choices, summary};
use crate::app::state::{Phase, Store};
use crate::app::ui::sentence;
use crate::engine::error::Location;
use crate::engine::options::definitions::{Group, definition};
use crate::engine::options::link;
use crate::engine::options::settings::{View, WRONG};
use crate::engine::snapshot::Snapshot;
use crate::engine::template::Source;

/// The whole page.
#[component]
pub fn App() -> impl IntoView {
    let store = Store::new();
    let loader = Loader::new(store);
    let keys = NodeRef::<Dialog>::new();
    _ = window_event_listener(ev::popstate, move |_| store.read_address());
    let embed = store.choices.with_untracked(|c| c.get("embed") == Some("1"));
    if embed {
        browser::set_body_class("embed");
    }
    let view = store.view();
    let page = move || pages::of(view.get());
    let tags = Signal::derive(move || (page().tags)(store));
    let open_keys = move || {
        if let Some(dialog) = keys.get_untracked() {
            _ = dialog.show_modal();
        }
    };
    listen_to_keys(store, loader, view, embed, open_keys);
    listen_to_drops(store, view);
    let busy = move || store.is_busy().to_string();
    view! {
        <Show when=move || !embed>
            <Header store=store tags=tags on_keys=Callback::new(move |()| open_keys()) />
        </Show>
        <Notices store=store />
        <main class="view" aria-busy=busy>
            <h1 class="vh" tabindex="-1">
                {move || format!("{} {}", page().title, summary(store, tags.get()))}
            </h1>
            <Show when=move || !embed><Choices store=store tags=tags fields=move || (page().fields)(store) /></Show>
            {move || (page().body)(store, loader, embed)}
        </main>
        <Keys dialog=keys />
    }
}

/// Does what a key asks for.
fn listen_to_keys(store: Store, loader: Loader, view: Signal<View>, embed: bool, open_keys: impl Fn() + 'static) {
    let page = move || pages::of(view.get_untracked());
    let step = move |by| browser::step_focus(&(page().steps)(), by);
    _ = window_event_listener(ev::keydown, move |e| {
        if browser::is_typing(&e) || embed || browser::has_dialog() {
            return;
        }
        match e.key().as_str() {
            "/" => browser::focus(".find input"),
            "j" => step(1),
            "k" => step(-1),
            "o" => browser::press_focused(),
            "e" if !page().has_status => return,
            "e" => store.choose(|c| if c.get("status") == Some(WRONG) { c.clear("status") } else { c.put("status", WRONG) }),
            "r" if !e.repeat() => loader.refresh(),
            "?" => open_keys(),
            _ => return,
        }
        e.prevent_default();
    });
}

/// Reads a snapshot that is dropped anywhere on the page; files to compare too.
fn listen_to_drops(store: Store, view: Signal<View>) {
    _ = window_event_listener(ev::dragover, move |e| {
        if browser::is_file_for_page(&e) {
            e.prevent_default();
        }
    });
    _ = window_event_listener(ev::drop, move |e| {
        if !browser::is_file_for_page(&e) {
            return;
        }
        e.prevent_default();
        wasm_bindgen_futures::spawn_local(take_dropped(store, view, e));
    });
}

async fn take_dropped(store: Store, view: Signal<View>, event: web_sys::DragEvent) {
    for read in browser::read_dropped(event).await {
        let is_file = |s: &Source| view.get_untracked() == View::Compare && !s.text.trim_start().starts_with('{');
        if let Ok(source) = &read
            && is_file(source)
        {
            // The first is where it comes from, the second where it goes.
            let more = if store.comparison.pair.with_untracked(|p| p[0].is_none()) { " Drop the other one too." } else { "" };
            store.said.set(format!("{} was read.{more}", source.name));
            store.comparison.pair.update(|p| p[usize::from(p[0].is_some())] = Some(source.clone()));
            continue;
        }
        // What is none must not take the place of what is shown.
        if let Some(error) = read.as_ref().ok().and_then(|s| Snapshot::read(&s.text, &s.name).err()) {
            store.said.set(format!("{} was not read.", error.location));
            store.link.notices.update(|n| n.push(error));
        } else {
            store.take(vec![read], |f, s| f.snapshot = Some(s));
        }
    }
}

/// The list of keys.
#[component]
fn Keys(dialog: NodeRef<Dialog>) -> impl IntoView {
    view! {
        <dialog class="keys" aria-labelledby="keys-title" node_ref=dialog>
            <h2 id="keys-title">"Keys"</h2>
            <dl>
                <dt><kbd>"/"</kbd></dt><dd>"search"</dd>
                <dt><kbd>"j"</kbd><kbd>"k"</kbd></dt><dd>"next row, previous row"</dd>
                <dt><kbd>"o"</kbd></dt><dd>"open the row, or the cell"</dd>
                <dt><kbd>"e"</kbd></dt><dd>"only what is wrong"</dd>
                <dt><kbd>"r"</kbd></dt><dd>"refresh"</dd>
                <dt><kbd>"?"</kbd></dt><dd>"this list"</dd>
            </dl>
            <form method="dialog"><button class="button" type="submit">"Close"</button></form>
        </dialog>
    }
}

#[component]
fn Header(store: Store, tags: Signal<String>, on_keys: Callback<()>) -> impl IntoView {
    const THEME: &str = "overtag-theme";
    let theme = RwSignal::new(browser::remembered(THEME).filter(|t| t == "light" || t == "dark").unwrap_or_default());
    Effect::new(move |_| {
        let theme = theme.get();
        browser::set_root("data-theme", Some(theme.as_str()).filter(|t| !t.is_empty()));
        browser::remember(THEME, &theme);
    });
    let option = move |value: &'static str, label: &'static str| {
        view! { <option value=value selected=theme.get_untracked() == value>{label}</option> }
    };
    let now = store.view();
    let tab = move |page: &'static Page| {
        let (view, value, label) = (page.view, page.view.word(), page.name);
        let put = move |c: &mut crate::engine::options::definitions::Choices| {
            if view == View::Prepare {
                c.clear("view")
            } else {
                c.put("view", value)
            }
            // A board has them in the order of promotion again, and a comparison as they were set.
            let channels = match (now.get_untracked() == View::Compare, view == View::Compare) {
                (true, false) => store.channels_before(c),
                (false, true) => store.channels_compared(c),
                _ => None,
            };
            if let Some(channels) = channels {
                store.write(c, "channels", channels);
            }
        };
        let href = move || {
            let mut choices = store.choices.get();
            put(&mut choices);
            format!("?{}", link::write(&choices, store.files.own.with(|f| f.template.is_some())))
        };
        let go = move |e: leptos::ev::MouseEvent| {
            // In another tab or window it is an ordinary link.
            if !(e.ctrl_key() || e.meta_key() || e.shift_key() || e.alt_key()) {
                e.prevent_default();
                store.choose(put);
            }
        };
        view! { <a href=href aria-current=move || (now.get() == view).then_some("page") on:click=go>{label}</a> }
    };
    view! {
        <header class="site">
            <a class="wordmark" href="?">"overtag"</a>
            <nav aria-label="Views">{pages::PAGES.map(tab)}</nav>
            <p class="gist">{move || summary(store, tags.get())}</p>
            <label class="theme">
                "Theme "
                <select class="input" on:change=move |e| theme.set(event_target_value(&e))>
                    {option("", "System")}
                    {option("light", "Light")}
                    {option("dark", "Dark")}
                </select>
            </label>
            <button class="button" data-kind="text" type="button" aria-haspopup="dialog" on:click=move |_| on_keys.run(())>
                "Keys " <kbd>"?"</kbd>
            </button>
        </header>
    }
}

/// What is wrong with the link, and what it asks leave for.
#[component]
fn Notices(store: Store) -> impl IntoView {
    let notices = move || {
        let still = store.prepared.with(|p| p.wrong.clone());
        let notice = move |(i, e): (usize, crate::engine::error::Error)| {
            let kind = if e.location == Location::LinkVersion { "error" } else { "warning" };
            view! {
                <div class="notice" data-kind=kind>
                    <p>{sentence(&e.message)} " " <code>{e.location.to_string()}</code> " " {sentence(&e.hint)}</p>
                    <button
                        class="button"
                        data-kind="text"
                        type="button"
                        on:click=move |_| store.link.notices.update(|n| {
                            if i < n.len() {
                                _ = n.remove(i);
                            }
                        })
                    >
                        "Dismiss"
                    </button>
                </div>
            }
        };
        let all = store.link.notices.get().into_iter().enumerate();
        // What was corrected in the form is no longer wrong.
        all.filter(|(_, e)| !matches!(e.location, Location::Choice(_)) || still.contains(e) || is_about_page(&e.location))
            .map(notice)
            .collect_view()
    };
    let blocked = move || match store.phase.get() {
        Phase::Blocked(hosts) => {
            let named = hosts.join(", ");
            Some(view! {
                <div class="notice" data-kind="warning">
                    <p>"This link queries a registry on your own network, " <code>{named}</code> ". No request was sent yet."</p>
                    {match browser::is_framed() {
                        // A click in a frame may be meant for the page around it.
                        true => view! { <a href=browser::whole_address() target="_blank" rel="noopener">"Open this page in its own window to allow the registry"</a> }.into_any(),
                        false => view! {
                            <button
                                class="button"
                                type="button"
                                on:click=move |_| store.leave.hosts.update(|a| a.extend(hosts.clone()))
                            >
                                "Allow this registry"
                            </button>
                        }.into_any(),
                    }}
                </div>
            })
        }
        _ => None,
    };
    view! { <div class="notices" role="region" aria-label="Notices">{notices}{blocked}</div> }
}

/// Whether this is a choice that only concerns the page, which `prepared` knows nothing of.
fn is_about_page(location: &Location) -> bool {
    matches!(location, Location::Choice(key) if definition(key).is_some_and(|d| d.group == Group::Page))
}
