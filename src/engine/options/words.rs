//! The words that choices may be.

use crate::engine::registry::DIALECTS;

/// What becomes of an image without the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is left out, and the files say so.
    Drop,
    /// It is written with the tag as asked for.
    Keep,
    /// The run fails with status 1.
    Fail,
}

/// Columns by which a table can be sorted; only the board has ages.
pub const SORT: [&str; 4] = ["image", "tag", "status", "age"];
/// The words that a row's status may be.
pub const STATUS: [&str; 4] = ["resolved", "absent", "unresolved", "error"];
/// The words of notes, by which rows can be filtered too.
pub const NOTES: [&str; 2] = ["torn", "mismatch"];
/// The word by which a board is filtered for images of which it is not known at which hash they are.
pub const UNPROVEN: &str = "unproven";
/// The status filter that leaves only what is wrong.
pub const WRONG: &str = "absent,unresolved,error,torn,mismatch,unproven";

/// The page that is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Images, and the files that are made of them.
    #[default]
    Prepare,
    /// Images by channels.
    Board,
    /// What differs between two channels, snapshots or files.
    Compare,
}

impl View {
    /// Returns its word in a link.
    pub fn word(self) -> &'static str {
        VIEW.iter().find(|(_, view)| *view == self).map_or("", |(word, _)| word)
    }
}

/// What `missing=` may be; the first is the default, here and below.
pub(super) const MISSING: [(&str, Missing); 3] = [("drop", Missing::Drop), ("keep", Missing::Keep), ("fail", Missing::Fail)];
/// What `view=` may be.
pub(super) const VIEW: [(&str, View); 3] = [("prepare", View::Prepare), ("board", View::Board), ("compare", View::Compare)];
/// The word of `api=` for finding out which API a host speaks.
pub(super) const AUTO: &str = "auto";

/// What `api=` may be; the first is the default.
pub fn api_words() -> Vec<&'static str> {
    [AUTO].into_iter().chain(DIALECTS.iter().map(|dialect| dialect.name)).collect()
}

/// What `missing=` may be, in words.
pub(super) fn missing_words() -> Vec<&'static str> {
    MISSING.iter().map(|(word, _)| *word).collect()
}

/// What `view=` may be, in words.
pub(super) fn view_words() -> Vec<&'static str> {
    VIEW.iter().map(|(word, _)| *word).collect()
}
