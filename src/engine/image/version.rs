//! The order of versions.

use std::cmp::Ordering;

/// Compares two tags as versions: as rpm does for version, then release (what follows the first `-`), and a release of letters
/// (`-rc1`) stands before none, one of digits after it. A leading `v` says nothing.
///
/// ```
/// use overtag::engine::image::version::compare_versions;
/// let mut tags = ["1.2.10", "v1.2.9", "1.2.10-rc1", "1.2.10-20200101", "2.0"];
/// tags.sort_by(|a, b| compare_versions(a, b));
/// assert_eq!(tags, ["v1.2.9", "1.2.10-rc1", "1.2.10", "1.2.10-20200101", "2.0"]);
/// ```
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let split = |t: &str| -> (String, String) {
        let t = t.strip_prefix('v').filter(|r| r.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(t);
        let (version, release) = t.split_once('-').unwrap_or((t, ""));
        (version.to_owned(), release.to_owned())
    };
    let ((av, ar), (bv, br)) = (split(a), split(b));
    compare_segments(&av, &bv).then_with(|| compare_segments(&ar, &br)).then_with(|| a.cmp(b))
}

/// Digits as numbers, letters as letters; nothing stands between letters and digits.
fn compare_segments(a: &str, b: &str) -> Ordering {
    let (a, b) = (segments(a), segments(b));
    for i in 0..a.len().max(b.len()) {
        let order = match (a.get(i), b.get(i)) {
            (Some(x), Some(y)) => match (number(x), number(y)) {
                (Some(x), Some(y)) => x.len().cmp(&y.len()).then_with(|| x.cmp(y)),
                (Some(_), None) => Ordering::Greater,
                (None, Some(_)) => Ordering::Less,
                (None, None) => x.cmp(y),
            },
            (Some(x), None) => {
                if number(x).is_some() {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (None, Some(y)) => {
                if number(y).is_some() {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (None, None) => Ordering::Equal,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// The digits of a number without leading zeros; longer is greater, so that no length overflows.
fn number(segment: &str) -> Option<&str> {
    segment.starts_with(|c: char| c.is_ascii_digit()).then(|| segment.trim_start_matches('0'))
}

/// Runs of digits and runs of letters; all else only parts them.
fn segments(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let same = |d: char| d.is_ascii_digit() == c.is_ascii_digit() && d.is_ascii_alphanumeric();
        let len: usize = if c.is_ascii_alphanumeric() { rest.chars().take_while(|d| same(*d)).count() } else { 0 };
        if len > 0 {
            out.push(&rest[..len]);
            rest = &rest[len..];
        } else {
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}
