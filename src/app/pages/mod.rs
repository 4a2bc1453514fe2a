//! The pages, a row and a file for each.

mod board;
mod compare;
mod prepare;

use leptos::prelude::*;

use crate::app::driver::Loader;
use crate::app::state::Store;
use crate::engine::options::settings::View;

/// A page of the dashboard.
pub struct Page {
    /// The view of a link that shows it.
    pub view: View,
    /// Its name in the navigation.
    pub name: &'static str,
    /// What its heading says before the choices in words: "Images of".
    pub title: &'static str,
    /// The tags or channels that it shows, in words.
    pub tags: fn(Store) -> String,
    /// The fields that choose these.
    pub fields: fn(Store) -> AnyView,
    /// What `j` and `k` step through, as a CSS selector.
    pub steps: fn() -> String,
    /// Whether `e` leaves only the rows that are wrong.
    pub has_status: bool,
    /// What it shows. Where the last argument is true it is embedded in another page, and nothing can be pressed.
    pub body: fn(Store, Loader, bool) -> AnyView,
}

/// All pages, in the order of the navigation.
pub const PAGES: [&Page; 3] = [&prepare::PAGE, &board::PAGE, &compare::PAGE];

/// Returns the page of a view; the first one where a view has none.
pub fn of(view: View) -> &'static Page {
    PAGES.into_iter().find(|page| page.view == view).unwrap_or(PAGES[0])
}

/// Returns the selector of the rows of a table of images.
fn steps_of_table() -> String {
    ".disclose".to_owned()
}
