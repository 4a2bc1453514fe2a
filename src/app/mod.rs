//! The page. `store` holds the one state, `loader` feeds it from registries, the rest shows it; `browser` is the only one that
//! touches the browser itself.

#[cfg(target_arch = "wasm32")]
mod board;
#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(target_arch = "wasm32")]
mod compare;
#[cfg(target_arch = "wasm32")]
mod form;
#[cfg(target_arch = "wasm32")]
mod frame;
#[cfg(target_arch = "wasm32")]
mod loader;
#[cfg(target_arch = "wasm32")]
mod mark;
#[cfg(target_arch = "wasm32")]
mod results;
#[cfg(target_arch = "wasm32")]
mod store;
#[cfg(target_arch = "wasm32")]
mod table;
#[cfg(target_arch = "wasm32")]
mod trouble;
#[cfg(target_arch = "wasm32")]
mod ui;

/// Puts the page into the document.
#[cfg(target_arch = "wasm32")]
pub fn main() {
    // start.js announces a crash: it also hears of crashes that are not panics.
    console_error_panic_hook::set_once();
    browser::clear_greeting();
    leptos::mount::mount_to_body(frame::App);
}
