//! Choices ⇄ query string. A link is a promise: reading is total, writing has one fixed order, defaults are left out.

use std::collections::BTreeSet;

use crate::engine::error::{Error, Location, bounded, nearest};
use crate::engine::options::definitions::{Choices, DEFINITIONS, definition};

/// Reads the query of a link (`a=b&c=d`, with or without `?`, or a whole address). Never fails: what is not understood is reported
/// and the rest counts. Values that are wrong are kept; `Settings::new` reports those.
///
/// # Errors in the list
/// An unknown name, a name that appears twice, and a version above 1, for which [`is_refused`] is true.
pub fn read(link: &str) -> (Choices, Vec<Error>) {
    let mut choices = Choices::default();
    let mut notices = Vec::new();
    let mut seen = BTreeSet::new();
    let link = match link.len() > LINK {
        true => {
            let message = format!("the link is {} kB long; at most {} kB are allowed", link.len() >> 10, LINK >> 10);
            notices.push(Error::usage(message, "the link", "shorten it"));
            ""
        }
        false => link,
    };
    for (key, value) in form_urlencoded::parse(query(link).as_bytes()) {
        let name = key.strip_prefix("set.").unwrap_or(&key).to_owned();
        let known = definition(&name);
        if key == "v" {
            if value != "1" {
                let hint = "open it with a newer overtag";
                notices.push(Error::usage(
                    format!("this link has version {value}, but this overtag reads only version 1"),
                    Location::LinkVersion,
                    hint,
                ));
            }
        } else if name.is_empty() {
            notices.push(Error::usage(
                "the link has a value without a name",
                format!("{key}={value}"),
                "it is ignored; write a substitution as set.NAME",
            ));
        } else if known.is_none() && !key.starts_with("set.")
            || known.is_some_and(|d| !d.is_substitution()) && key.starts_with("set.")
        {
            let names = DEFINITIONS.iter().map(|d| d.key);
            let hint = match nearest(&key, names) {
                Some(near) => format!("did you mean {near}? Write a template substitution as set.{name}"),
                None => format!("it is ignored; write a template substitution as set.{name}"),
            };
            notices.push(Error::usage("the link has an unknown name", format!("{key}={value}"), hint));
        } else if known.is_some_and(|d| d.is_repeatable()) {
            choices.add(&name, value);
        } else if !seen.insert(name.clone()) {
            notices.push(Error::usage(
                "a name appears twice in the link",
                Location::Repeated(format!("{key}={value}")),
                "the first value is used",
            ));
        } else {
            choices.put(&name, value);
        }
    }
    (choices, bounded(notices))
}

/// Bytes of a link; servers take 8 kB, and browsers some more.
const LINK: usize = 256 << 10;

/// Whether a link with these notices is of a later version, and nothing may be made of it.
pub fn is_refused(notices: &[Error]) -> bool {
    notices.iter().any(|n| n.location == Location::LinkVersion)
}

/// Whether a notice is about something that has a clear meaning all the same.
pub fn is_harmless(notice: &Error) -> bool {
    matches!(notice.location, Location::Repeated(_))
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

/// Writes choices as a query string without `?`, in the fixed order, defaults left out. `own_template` is whether a template was
/// given as a file, which has other defaults.
///
/// ```
/// use overtag::engine::options::link::{read, write};
/// assert_eq!(write(&read("?tag=current&release=train&pin=label,sibling,digest").0, false), "release=train&tag=current");
/// ```
pub fn write(choices: &Choices, own_template: bool) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for d in DEFINITIONS {
        for value in choices.all(d.key) {
            // What holds a user's name, and so maybe a password, is refused and must not travel either.
            let authority = value.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or("");
            let is_secret = d.is_address() && authority.contains('@');
            if !is_secret && !choices.is_default(d.key, value, own_template) {
                out.append_pair(d.key, value);
            }
        }
        if d.key == "ceph_tag" {
            for (name, value) in &choices.set {
                if !choices.is_default(name, value, own_template) {
                    out.append_pair(&format!("set.{name}"), value);
                }
            }
        }
    }
    out.finish()
}
