//! An error is one readable line: what happened, where, and what cures it.

use std::fmt;

/// What an error means for those who wait for the answer; the command line turns it into an exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The question is wrong: an unknown name, a bad value, a file that cannot be read.
    Usage,
    /// A template, roles file or environment is wrong.
    Template,
    /// A registry could not be queried, or its response makes no sense.
    Registry,
    /// A condition failed: the query was answered, and not as required.
    No,
}

/// Where something went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Nowhere in particular.
    Nowhere,
    /// A choice, by its name in a link.
    Choice(String),
    /// The version of a link.
    LinkVersion,
    /// `NAME=VALUE` in a link that has the name already.
    Repeated(String),
    /// A file with line and column, an image, an address, a flag.
    Text(String),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => Ok(()),
            Self::Choice(key) => write!(f, "{key}="),
            Self::LinkVersion => f.write_str("v="),
            Self::Repeated(text) | Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<String> for Location {
    fn from(text: String) -> Self {
        if text.is_empty() { Self::Nowhere } else { Self::Text(text) }
    }
}

impl From<&str> for Location {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for Location {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What it means.
    pub kind: Kind,
    /// What happened, without a full stop.
    pub message: String,
    /// Where.
    pub location: Location,
    /// What to do about it. May be empty.
    pub hint: String,
}

impl Error {
    /// An error of `kind`: what happened, where, and what cures it.
    pub fn new(kind: Kind, message: impl Into<String>, location: impl Into<Location>, hint: impl Into<String>) -> Self {
        Self { kind, message: message.into(), location: location.into(), hint: hint.into() }
    }

    /// A wrong question.
    pub fn usage(message: impl Into<String>, location: impl Into<Location>, hint: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message, location, hint)
    }

    /// A wrong template, roles file or environment.
    pub fn template(message: impl Into<String>, location: impl Into<Location>, hint: impl Into<String>) -> Self {
        Self::new(Kind::Template, message, location, hint)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.message.as_str(), &self.location.to_string(), self.hint.as_str()];
        let line = parts.iter().filter(|p| !p.is_empty()).map(|p| clean(p)).collect::<Vec<_>>();
        f.write_str(&line.join(": "))
    }
}

impl std::error::Error for Error {}

/// Text from outside, fit for one line of a terminal, a picture, a comment or a page: what ends a line, moves a cursor, or makes text read
/// in another order than it is written becomes a space. All such text goes through here.
///
/// ```
/// use overtag::engine::error::clean;
/// assert_eq!(clean("a\nb\u{1b}[31m"), "a b [31m");
/// assert_eq!(clean("a\u{202e}b\u{9b}2J\u{200b}c"), "a b 2J c");
/// ```
pub fn clean(text: &str) -> String {
    // Cc; the separators of lines and paragraphs; marks and overrides of direction; what has no width (Unicode TR 36, 2.10).
    let is_unfit = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
            || matches!(c, '\u{e0000}'..='\u{e007f}')
    };
    text.chars().map(|c| if is_unfit(c) { ' ' } else { c }).collect()
}

/// The first [`MOST`] of a list of errors, and one that says how many more there are.
pub fn bounded(mut errors: Vec<Error>) -> Vec<Error> {
    if errors.len() > MOST {
        let more = errors.len() - MOST;
        errors.truncate(MOST);
        errors.push(Error::usage(format!("{more} further notices are not shown"), "", "correct these first"));
    }
    errors
}

/// Errors that are shown at once.
pub const MOST: usize = 50;

/// The one of `known` that is nearest to `wrong`, if it is near enough to be meant.
///
/// ```
/// use overtag::engine::error::nearest;
/// assert_eq!(nearest("wallabi", ["train", "wallaby"]), Some("wallaby"));
/// assert_eq!(nearest("trian", ["train", "wallaby"]), Some("train"));
/// assert_eq!(nearest("zzz", ["train", "wallaby"]), None);
/// ```
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No name is as long, and a distance takes the product of both lengths.
    if wrong.len() > 100 {
        return None;
    }
    // Two letters that changed places are one mistake.
    let distance = |known: &str| strsim::osa_distance(&wrong.to_lowercase(), &known.to_lowercase());
    let best = known.into_iter().map(|k| (distance(k), k)).min()?;
    (best.0 <= wrong.chars().count().max(3) / 3).then_some(best.1)
}
