//! Digests: what names an image by its content.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::json::FromJson;

/// A sha256 digest, the only kind that registries serve: `sha256:` and 64 lower-case hexadecimal digits.
///
/// ```
/// use overtag::engine::image::digest::Digest;
/// let text = format!("sha256:{}", "0".repeat(64));
/// assert_eq!(Digest::parse(&text).unwrap().as_str(), text);
/// assert_eq!(Digest::parse("sha256:0"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(String);

impl Digest {
    /// Returns the digest that `text` is, or `None`.
    pub fn parse(text: &str) -> Option<Self> {
        is_digest(text).then(|| Self(text.to_owned()))
    }

    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the digest of 32 bytes that sha256 made.
    pub fn of_sha256(hash: &[u8; 32]) -> Self {
        Self(hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}")))
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if is_digest(&text) { Ok(Self(text)) } else { Err("not a sha256 digest") }
    }
}

impl FromJson for Digest {
    fn from_json(value: Value) -> Option<Self> {
        Self::parse(value.as_str()?)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl Deref for Digest {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<&str> for Digest {
    fn eq(&self, text: &&str) -> bool {
        self.0 == *text
    }
}

impl PartialEq<str> for Digest {
    fn eq(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` is a sha256 digest.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|h| h.len() == 64 && is_hex(h))
}

/// Whether `text` is all lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
