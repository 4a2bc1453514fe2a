//! Helpers for prose.

/// A hash's or digest's first eight digits.
pub fn short(hash: &str) -> &str {
    let digits = hash.strip_prefix("sha256:").unwrap_or(hash);
    digits.get(..8).unwrap_or(digits)
}
