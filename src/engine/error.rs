//! An error is one readable line: what happened, where, and what cures it.

use std::fmt;

/// What an error means for whoever waits for the answer; the command line turns it into an exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The question is wrong: an unknown name, a bad value, a file that cannot be read.
    Usage,
    /// A template, roles file or environment is wrong.
    Template,
    /// A registry could not be asked, or its answer makes no sense.
    Registry,
    /// The question was answered, and the answer is no.
    No,
}

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What it means.
    pub kind: Kind,
    /// What happened, without a full stop.
    pub what: String,
    /// Where: a link's name, a file with line and column, an image. May be empty.
    pub place: String,
    /// What to do about it. May be empty.
    pub cure: String,
}

impl Error {
    /// An error of `kind`: what happened, where, and what cures it.
    pub fn new(kind: Kind, what: impl Into<String>, place: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { kind, what: what.into(), place: place.into(), cure: cure.into() }
    }

    /// A wrong question.
    pub fn usage(what: impl Into<String>, place: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(Kind::Usage, what, place, cure)
    }

    /// A wrong template, roles file or environment.
    pub fn template(what: impl Into<String>, place: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(Kind::Template, what, place, cure)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.what, &self.place, &self.cure];
        let line = parts.iter().filter(|p| !p.is_empty()).map(|p| clean(p)).collect::<Vec<_>>();
        f.write_str(&line.join(": "))
    }
}

impl std::error::Error for Error {}

/// Text from outside, fit for one line: control characters become spaces.
///
/// ```
/// assert_eq!(overtag::engine::error::clean("a\nb\u{1b}[31m"), "a b [31m");
/// ```
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') { ' ' } else { c }).collect()
}

/// The one of `known` that is nearest to `wrong`, if it is near enough to be meant.
///
/// ```
/// use overtag::engine::error::nearest;
/// assert_eq!(nearest("wallabi", ["train", "wallaby"]), Some("wallaby"));
/// assert_eq!(nearest("trian", ["train", "wallaby"]), Some("train"));
/// assert_eq!(nearest("zzz", ["train", "wallaby"]), None);
/// ```
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Two letters that changed places are one mistake.
    let distance = |known: &str| strsim::osa_distance(&wrong.to_lowercase(), &known.to_lowercase());
    let best = known.into_iter().map(|k| (distance(k), k)).min()?;
    (best.0 <= wrong.chars().count().max(3) / 3).then_some(best.1)
}
