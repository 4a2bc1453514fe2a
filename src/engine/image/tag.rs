//! Tags: their grammar, and whether one by its spelling moves.

use super::digest::is_hex;

/// Whether `text` is a tag by distribution's grammar.
pub fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 128
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// What a tag's spelling says about whether it moves; the order is the one in which siblings are preferred.
///
/// The spellings are DLRN's package hash and aggregate hash, versions, and commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagClass {
    /// `COMMIT_DISTRO[_EXTENDED…]`: a DLRN package hash.
    Dlrn,
    /// 32 digits: a DLRN aggregate hash.
    Aggregate,
    /// `1.2.3`, `16-20200101`, `2025.1-rocky-10`.
    Version,
    /// 40 digits: a commit.
    Commit,
    /// 64 digits or `sha256-…`: another spelling of a digest, never a choice.
    DigestAlias,
    /// Anything else: a channel, or a name that may move.
    Moving,
}

impl TagClass {
    /// The class of `tag`.
    ///
    /// ```
    /// use overtag::engine::image::tag::TagClass;
    /// assert_eq!(TagClass::of("current-tripleo"), TagClass::Moving);
    /// assert_eq!(TagClass::of("v4.0.19-stable-4.0-nautilus-centos-7-x86_64"), TagClass::Version);
    /// ```
    pub fn of(tag: &str) -> Self {
        let parts: Vec<&str> = tag.split('_').collect();
        let hex = |text: &str, len: usize| text.len() == len && is_hex(text);
        if (2..=4).contains(&parts.len()) && hex(parts[0], 40) && parts[1..].iter().all(|p| hex(p, 8)) {
            Self::Dlrn
        } else if hex(tag, 32) {
            Self::Aggregate
        } else if hex(tag, 40) {
            Self::Commit
        } else if hex(tag, 64) || tag.starts_with("sha256-") {
            Self::DigestAlias
        } else if is_version(tag) {
            Self::Version
        } else {
            Self::Moving
        }
    }

    /// Whether a tag of this class is the repository-wide hash of a build.
    pub fn is_hash(self) -> bool {
        matches!(self, Self::Dlrn | Self::Aggregate | Self::Commit)
    }
}

/// `v?N(.N)+…` or `N…-NNNNNNNN`: a tag that by its spelling is a version.
fn is_version(tag: &str) -> bool {
    let rest = tag.strip_prefix('v').unwrap_or(tag);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let first = digits(rest);
    if first == 0 {
        return false;
    }
    let dotted = rest[first..].strip_prefix('.').is_some_and(|more| digits(more) > 0);
    dotted || tag.rsplit_once('-').is_some_and(|(_, stamp)| digits(stamp) >= 8)
}
