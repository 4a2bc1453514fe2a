//! The one door to the network: drives a [`Run`](crate::engine::session::Run), many requests at once, each tried again where that
//! can help. `native` is a blocking client on threads, `web` is the browser's fetch.

#[cfg(feature = "cli")]
pub mod native;
#[cfg(feature = "cli")]
mod proxy;
#[cfg(all(feature = "web", target_arch = "wasm32"))]
pub mod web;
