//! Digests: what names an image by its content.

/// Whether `text` is a sha256 digest, the only kind that registries serve.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|h| h.len() == 64 && is_hex(h))
}

/// Whether `text` is all lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
