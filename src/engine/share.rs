//! Choices ⇄ query string. A link is a promise: reading is total, writing has one fixed order, defaults are left out.

use std::collections::BTreeSet;

use super::choices::{Choices, DEFINITIONS, definition};
use super::error::{Error, nearest};

/// Reads the query of a link (`a=b&c=d`, with or without `?`, or a whole address). Never fails: what is not understood is reported
/// and the rest counts. Values that are wrong are kept; `Settings::new` reports those.
///
/// # Errors in the list
/// An unknown name, a name that stands twice, and a version above 1, for which [`is_refused`] is true.
pub fn read(link: &str) -> (Choices, Vec<Error>) {
    let mut choices = Choices::default();
    let mut notices = Vec::new();
    let mut seen = BTreeSet::new();
    for (key, value) in form_urlencoded::parse(query(link).as_bytes()) {
        let name = key.strip_prefix("set.").unwrap_or(&key).to_owned();
        let known = definition(&name);
        if key == "v" {
            if value != "1" {
                let cure = "open it with a newer overtag";
                notices.push(Error::usage(
                    format!("this link is of version {value}, and this overtag reads version 1"),
                    REFUSED,
                    cure,
                ));
            }
        } else if known.is_none() && !key.starts_with("set.") || known.is_some_and(|d| !d.substitution) && key.starts_with("set.")
        {
            let names = DEFINITIONS.iter().map(|d| d.key);
            let cure = match nearest(&key, names) {
                Some(near) => format!("is {near} meant? A substitution of a template is written set.{name}"),
                None => format!("it is ignored; a substitution of a template is written set.{name}"),
            };
            notices.push(Error::usage("the link has an unknown name", format!("{key}={value}"), cure));
        } else if known.is_some_and(|d| d.repeatable) {
            choices.add(&name, value);
        } else if !seen.insert(name.clone()) {
            notices.push(Error::usage("a name stands twice in the link", format!("{key}={value}"), "the first one counts"));
        } else {
            choices.put(&name, value);
        }
    }
    (choices, notices)
}

/// The place that a notice has when the whole link is refused.
const REFUSED: &str = "v=";

/// Whether a link with these notices is of a later version, and nothing may be made of it.
pub fn is_refused(notices: &[Error]) -> bool {
    notices.iter().any(|n| n.place == REFUSED)
}

/// The query part of a link: behind the first `?`, up to a `#`; a text without `?` is taken whole.
fn query(link: &str) -> &str {
    let link = link.split('#').next().unwrap_or("");
    match link.split_once('?') {
        Some((_, query)) => query,
        None if link.contains("://") => "",
        None => link,
    }
}

/// The address of a link without its query; empty where it is a query alone.
pub fn base(link: &str) -> &str {
    let link = link.split('#').next().unwrap_or("");
    match link.split_once('?') {
        Some((base, _)) => base,
        None if link.contains("://") => link,
        None => "",
    }
}

/// Writes choices as a query string without `?`, in the fixed order, defaults left out.
///
/// ```
/// use overtag::engine::share::{read, write};
/// assert_eq!(write(&read("?tag=current&release=train&pin=label,sibling,digest").0), "release=train&tag=current");
/// ```
pub fn write(choices: &Choices) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for d in DEFINITIONS {
        for value in choices.all(d.key) {
            // An empty substitution is a value; an empty anything else is none.
            let nothing = if d.substitution { false } else { value.is_empty() };
            if !nothing && (d.repeatable || *value != choices.default_of(d.key, false)) {
                out.append_pair(d.key, value);
            }
        }
        if d.key == "ceph_tag" {
            for (name, value) in &choices.set {
                let is_default = choices.release(false).default(name).is_some_and(|v| v == *value);
                if !is_default {
                    out.append_pair(&format!("set.{name}"), value);
                }
            }
        }
    }
    out.finish()
}
