//! The page.
//!
//! `state` holds the one state, `driver` feeds it from registries, the rest shows it; `browser` alone touches the browser itself. A view
//! is a file in `pages`, made of `parts`, which know of images and channels, and of `ui`, which knows neither.

#![cfg(target_arch = "wasm32")]

mod browser;
mod driver;
mod frame;
mod pages;
mod parts;
mod state;
mod ui;

/// Puts the page into the document.
pub fn main() {
    // start.js announces a crash: it also hears of crashes that are not panics.
    console_error_panic_hook::set_once();
    browser::clear_greeting();
    leptos::mount::mount_to_body(frame::App);
}
