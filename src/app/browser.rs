//! Every call to the browser itself.

use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, BlobPropertyBag, HtmlAnchorElement, HtmlElement, HtmlInputElement, Notification, NotificationOptions,
    NotificationPermission, Url,
};

use crate::engine::registry::http::LIST_LIMIT;
use crate::engine::template::Source;

/// Files that are read at once.
const FILES: u32 = 50;

fn body() -> Option<HtmlElement> {
    document().body()
}

/// The query string of the address bar, with its `?`.
pub fn query() -> String {
    window().location().search().unwrap_or_default()
}

/// The address of the page without query and fragment.
pub fn address() -> String {
    let location = window().location();
    format!("{}{}", location.origin().unwrap_or_default(), location.pathname().unwrap_or_default())
}

/// The address of the page with its query.
pub fn whole_address() -> String {
    window().location().href().unwrap_or_default()
}

/// Scheme, host and port of the page.
pub fn origin() -> String {
    window().location().origin().unwrap_or_default()
}

/// Host and port of the page.
pub fn host() -> String {
    window().location().host().unwrap_or_default()
}

/// The address of something beside the page.
pub fn beside(path: &str) -> String {
    let base = document().base_uri().ok().flatten().unwrap_or_else(address);
    Url::new_with_base(path, &base).map_or_else(|_| path.to_owned(), |url| url.href())
}

/// Writes a query string into the address bar, as a new step or in place of the present one.
pub fn set_query(query: &str, is_new_step: bool) {
    let path = window().location().pathname().unwrap_or_default();
    // A step that leads nowhere else would make Back seem dead.
    if self::query().trim_start_matches('?') == query {
        return;
    }
    let url = if query.is_empty() { path } else { format!("{path}?{query}") };
    let Ok(history) = window().history() else { return };
    _ = match is_new_step {
        true => history.push_state_with_url(&JsValue::NULL, "", Some(&url)),
        false => history.replace_state_with_url(&JsValue::NULL, "", Some(&url)),
    };
}

/// Offers `text` as a file.
pub fn save(name: &str, text: &str) {
    let options = BlobPropertyBag::new();
    options.set_type("text/plain;charset=utf-8");
    let bytes = js_sys::Uint8Array::from(text.as_bytes());
    let parts = js_sys::Array::of1(&bytes);
    let Ok(blob) = Blob::new_with_u8_array_sequence_and_options(&parts, &options) else { return };
    let Ok(url) = Url::create_object_url_with_blob(&blob) else { return };
    if let Ok(link) = document().create_element("a").map(JsCast::unchecked_into::<HtmlAnchorElement>) {
        link.set_href(&url);
        link.set_download(name);
        link.click();
    }
    // The download has its own hold on the bytes once it has begun.
    set_timeout(move || _ = Url::revoke_object_url(&url), std::time::Duration::from_secs(10));
}

/// Puts `text` on the clipboard; false where the browser does not let us.
pub async fn copy(text: &str) -> bool {
    let clipboard = js_sys::Reflect::get(&window().navigator(), &"clipboard".into()).unwrap_or_default();
    if clipboard.is_object() {
        let promise = window().navigator().clipboard().write_text(text);
        if JsFuture::from(promise).await.is_ok() {
            return true;
        }
    }
    // Pages on plain http have no clipboard of that kind.
    let dialog = document().query_selector("dialog[open]").ok().flatten();
    // Below an open dialog nothing can be selected.
    let Some(place) = dialog.or_else(|| body().map(Into::into)) else { return false };
    let Ok(area) = document().create_element("textarea").map(JsCast::unchecked_into::<web_sys::HtmlTextAreaElement>) else {
        return false;
    };
    area.set_value(text);
    _ = place.append_child(&area);
    area.select();
    let is_done = document().unchecked_into::<web_sys::HtmlDocument>().exec_command("copy").unwrap_or(false);
    area.remove();
    is_done
}

/// Reads the files that were picked.
pub async fn read_files(input: &HtmlInputElement) -> Vec<Result<Source, String>> {
    let out = read_all(input.files()).await;
    // The same file picked again must count again.
    input.set_value("");
    out
}

/// Whether files are dragged over the page, and not text, or over a field that takes files itself.
pub fn is_file_for_page(event: &web_sys::DragEvent) -> bool {
    let has_files = event.data_transfer().is_some_and(|d| d.types().includes(&"Files".into(), 0));
    let over = event.target().and_then(|t| t.dyn_into::<web_sys::Element>().ok()).map(|e| e.tag_name().to_ascii_lowercase());
    has_files && !matches!(over.as_deref(), Some("input" | "textarea"))
}

/// Reads the files that were dropped on the page.
pub async fn read_dropped(event: web_sys::DragEvent) -> Vec<Result<Source, String>> {
    read_all(event.data_transfer().and_then(|d| d.files())).await
}

async fn read_all(files: Option<web_sys::FileList>) -> Vec<Result<Source, String>> {
    let mut out = Vec::new();
    let Some(files) = files else { return out };
    if files.length() > FILES {
        return vec![Err(format!("cannot read {} files at once: give at most {FILES}", files.length()))];
    }
    for file in (0..files.length()).filter_map(|i| files.get(i)) {
        let name = file.name();
        // Before it is read: it may be larger than the memory.
        out.push(if file.size() > LIST_LIMIT as f64 {
            Err(format!("{name} is larger than {} MiB", LIST_LIMIT >> 20))
        } else {
            let text = JsFuture::from(file.text()).await.ok().and_then(|text| text.as_string());
            text.map(|text| Source { name: name.clone(), text }).ok_or_else(|| format!("{name} cannot be read"))
        });
    }
    out
}

/// What a visitor chose before on this site.
pub fn remembered(key: &str) -> Option<String> {
    window().local_storage().ok().flatten()?.get_item(key).ok().flatten()
}

/// Remembers it.
pub fn remember(key: &str, value: &str) {
    if let Ok(Some(storage)) = window().local_storage() {
        _ = storage.set_item(key, value);
    }
}

/// Sets or takes off an attribute of the root element.
pub fn set_root(name: &str, value: Option<&str>) {
    if let Some(root) = document().document_element() {
        _ = match value {
            Some(value) => root.set_attribute(name, value),
            None => root.remove_attribute(name),
        };
    }
}

/// Sets a class of the body.
pub fn set_body_class(class: &str) {
    if let Some(body) = body() {
        body.set_class_name(class);
    }
}

/// Sets the icon of the tab.
pub fn set_icon(svg: &str) {
    if let Ok(Some(link)) = document().query_selector("link[rel=icon]") {
        let data = format!("data:image/svg+xml,{}", js_sys::encode_uri_component(svg));
        _ = link.set_attribute("href", &data);
    }
}

/// Asks for leave to notify; whether it was given.
pub async fn may_notify() -> bool {
    // Pages on plain http have no notifications.
    if !has_notifications() {
        return false;
    }
    match Notification::request_permission() {
        Ok(promise) => JsFuture::from(promise).await.is_ok_and(|answer| answer.as_string().as_deref() == Some("granted")),
        Err(_) => false,
    }
}

/// Notifies, where leave was given; whether it did. One of the same `tag` takes the place of the one before, be it of another tab.
/// Chromium on Android gives leave, and lets no page notify by itself (<https://crbug.com/481856>).
pub fn notify(tag: &str, title: &str, text: &str) -> bool {
    if !has_notifications() || Notification::permission() != NotificationPermission::Granted {
        return false;
    }
    let options = NotificationOptions::new();
    options.set_body(text);
    options.set_tag(tag);
    Notification::new_with_options(title, &options).is_ok()
}

fn has_notifications() -> bool {
    js_sys::Reflect::get(&window(), &"Notification".into()).is_ok_and(|n| n.is_function())
}

/// Whether the window is wide enough for two columns.
pub fn is_wide() -> bool {
    window().match_media("(width > 50rem)").ok().flatten().is_none_or(|m| m.matches())
}

/// Whether a key belongs to somebody who is typing.
pub fn is_typing(event: &web_sys::KeyboardEvent) -> bool {
    let target = event.target().and_then(|t| t.dyn_into::<web_sys::Element>().ok());
    let tag = target.map(|e| e.tag_name().to_ascii_lowercase()).unwrap_or_default();
    matches!(tag.as_str(), "input" | "textarea" | "select") || event.ctrl_key() || event.meta_key() || event.alt_key()
}

/// Whether a dialog is open.
pub fn has_dialog() -> bool {
    document().query_selector("dialog[open]").is_ok_and(|d| d.is_some())
}

/// Whether the focus is on something within `element`.
pub fn is_within(element: &web_sys::Element) -> bool {
    document().active_element().is_some_and(|active| active != *element && element.contains(Some(&active)))
}

/// Whether nothing has the focus.
pub fn has_no_focus() -> bool {
    document().active_element().is_none_or(|active| active.tag_name() == "BODY")
}

/// Puts the focus on what `selector` finds.
pub fn focus(selector: &str) {
    if let Ok(Some(element)) = document().query_selector(selector) {
        _ = element.unchecked_into::<HtmlElement>().focus();
    }
}

/// In which column of a table the focus is, from 1.
pub fn focused_column() -> Option<usize> {
    let cell = document().active_element()?.closest("td").ok().flatten()?;
    let row = cell.parent_element()?.query_selector_all("td").ok()?;
    (0..row.length()).position(|i| row.item(i).as_ref() == Some(cell.as_ref())).map(|at| at + 1)
}

/// Moves the focus among all that `selector` finds; from outside it goes to the first.
pub fn step_focus(selector: &str, by: i32) {
    let Ok(all) = document().query_selector_all(selector) else { return };
    let active = document().active_element();
    let all: Vec<web_sys::Element> = (0..all.length()).filter_map(|i| all.item(i)?.dyn_into().ok()).collect();
    let at = all.iter().position(|e| active.as_ref() == Some(e)).map(|i| i as i32 + by);
    let next = at.unwrap_or(0).clamp(0, all.len().saturating_sub(1) as i32);
    if let Some(element) = all.get(next as usize) {
        _ = element.clone().unchecked_into::<HtmlElement>().focus();
    }
}

/// Presses what has the focus, if it opens something of a table.
pub fn press_focused() {
    if let Some(element) = document().active_element()
        && ["disclose", "cell"].iter().any(|class| element.class_list().contains(class))
    {
        element.unchecked_into::<HtmlElement>().click();
    }
}

/// Takes away what the document shows while the page is loaded.
pub fn clear_greeting() {
    if let Ok(Some(greeting)) = document().query_selector(".greeting") {
        greeting.remove();
    }
}

/// Whether the page is shown within another one.
pub fn is_framed() -> bool {
    window().top().is_ok_and(|top| top.is_none_or(|top| top != window()))
}
