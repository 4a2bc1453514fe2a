//! Labels that name a tag.

use std::collections::BTreeMap;

/// A label, or a format over labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// As it was written.
    pub text: String,
    /// Plain text and, alternately, the name of a label.
    parts: Vec<(String, Option<String>)>,
}

impl Label {
    /// Reads a label's name or, where it has braces, a Python format such as `{version}-{release}`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let own = text.to_owned();
        if !text.contains(['{', '}']) {
            return Ok(Self { parts: vec![(String::new(), Some(own.clone()))], text: own });
        }
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(c) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
                plain.push(c);
                rest = after;
            } else if c == '{' {
                let (name, after) = rest[1..].split_once('}').ok_or("a brace is not closed")?;
                if name.is_empty() || name.contains(['{', '!', ':']) {
                    return Err(format!("`{{{name}}}` is not a label"));
                }
                parts.push((std::mem::take(&mut plain), Some(name.to_owned())));
                rest = after;
            } else if c == '}' {
                return Err("a brace is not opened".to_owned());
            } else {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        parts.push((plain, None));
        Ok(Self { text: own, parts })
    }

    /// The tag that the labels of an image name; none where a label is missing.
    ///
    /// ```
    /// use overtag::engine::options::label::Label;
    /// let labels = [("version".to_owned(), "16.1".to_owned()), ("release".to_owned(), "42".to_owned())].into();
    /// assert_eq!(Label::parse("{version}-{release}").unwrap().tag(&labels), Some("16.1-42".to_owned()));
    /// ```
    pub fn tag(&self, labels: &BTreeMap<String, String>) -> Option<String> {
        let mut out = String::new();
        for (plain, name) in &self.parts {
            out.push_str(plain);
            if let Some(name) = name {
                out.push_str(labels.get(name)?);
            }
        }
        Some(out)
    }
}
