//! Choices, checked: what the program needs of them.

use std::collections::BTreeMap;

use crate::engine::error::{Error, bounded, nearest};
use crate::engine::image::tag::is_tag;
use crate::engine::options::definitions::{
    Choices, DEFAULT_CHANNELS, DEFAULT_LABEL, DEFAULT_LATE, DEFAULT_PIN, DEFINITIONS, list,
};
use crate::engine::options::pattern::Pattern;
use crate::engine::release::{RELEASES, Release, Value};

/// The longest pause between refreshes, in seconds: a day. Browsers take one of 25 days for none at all.
const REFRESH: u32 = 86_400;

/// One link of the chain that finds what to write for a moving tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The tag that the image's label names.
    Label,
    /// The best immutable tag of the same digest.
    Sibling,
    /// `name@sha256:…`
    Digest,
    /// The tag as asked for.
    Channel,
}

/// By which API registries are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Quay's own where the host's name says so (`quay.…`), `/v2/` elsewhere; and the other one where that proves wrong.
    Auto,
    /// `/v2/` everywhere.
    Distribution,
    /// Quay's own first everywhere; a host that does not speak it is asked by `/v2/`.
    Quay,
}

/// What becomes of an image without the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is left out, and the files say so.
    Drop,
    /// It is written with the tag as asked for.
    Keep,
    /// The answer is no.
    Fail,
}

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
                    return Err(format!("`{{{name}}}` is no label"));
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
    /// use overtag::engine::options::settings::Label;
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

/// Columns by which a table can be sorted; only the board has ages.
pub const SORT: [&str; 4] = ["image", "tag", "status", "age"];
/// The APIs that there are.
pub const API: [&str; 3] = ["auto", "distribution", "quay"];
/// The words that a row's status may be.
pub const STATUS: [&str; 4] = ["resolved", "absent", "unresolved", "error"];
/// The words of notes, by which rows can be filtered too.
pub const NOTES: [&str; 2] = ["torn", "mismatch"];
/// The word by which a board is filtered for images of which it cannot be told for which hash they stand.
pub const UNPROVEN: &str = "unproven";
/// The status filter that leaves only what is wrong.
pub const WRONG: &str = "absent,unresolved,error,torn,mismatch,unproven";

/// The page that is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Images, and the files that are made of them.
    #[default]
    Prepare,
    /// Images by channels.
    Board,
    /// What differs between two channels, snapshots or files.
    Compare,
}

/// What the program needs, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The page that is shown.
    pub view: View,
    /// The channels of a board, in the order of promotion.
    pub channels: Vec<String>,
    /// After how many seconds without a promotion a channel is late, and very late.
    pub late: [u64; 2],
    /// DLRN's API, or a file of its promotions.
    pub dlrn: Option<String>,
    /// The promoter's file.
    pub criteria: Option<String>,
    /// Zuul's API with its tenant.
    pub zuul: Option<String>,
    /// An earlier snapshot to compare with.
    pub against: Option<String>,
    /// Seconds between automatic refreshes.
    pub refresh: Option<u64>,
    /// The release whose defaults and rules hold.
    pub release: &'static Release,
    /// The address of a template of one's own.
    pub template: Option<String>,
    /// What the template is given: the release's defaults, overlaid.
    pub substitutions: BTreeMap<String, Value>,
    /// Names of the substitutions that were chosen, not defaults.
    pub chosen: Vec<String>,
    /// Where the tag is `newest:REGEX`: the expression, which must match whole.
    pub newest: Option<Pattern>,
    /// The chain for moving tags.
    pub pin: Vec<Pin>,
    /// The labels that name a tag.
    pub labels: Vec<Label>,
    /// Whether these are others than the default ones.
    pub has_labels_of_its_own: bool,
    /// What becomes of images without the tag.
    pub missing: Missing,
    /// Regular expressions of which one must be found.
    pub include: Vec<Pattern>,
    /// Regular expressions none of which may be found.
    pub exclude: Vec<Pattern>,
    /// Roles and how many of each.
    pub roles: Vec<(String, i64)>,
    /// Services, as Heat resource types.
    pub services: Vec<String>,
    /// Where the environment points instead.
    pub push_destination: Option<String>,
    /// What the environment adds to each tag.
    pub append_tag: String,
    /// Host → address of its API, without `/v2/`.
    pub endpoints: BTreeMap<String, String>,
    /// By which API they are asked.
    pub api: Api,
    /// The address of a snapshot that is read in place of registries.
    pub snapshot: Option<String>,
}

impl Settings {
    /// Checks `choices`. Total: what is wrong is reported, and its default holds. `own_template` is whether a template was
    /// given as a file, beside the link.
    pub fn new(choices: &Choices, own_template: bool) -> (Self, Vec<Error>) {
        let (choices, mut wrong) = choices.bounded();
        let choices = &choices;
        let mut bad = |key: &str, value: &str, hint: String| {
            wrong.push(Error::usage(format!("the value `{value}` is not understood"), format!("{key}="), hint));
        };
        let given = |key: &str| choices.get(key).filter(|v| !v.is_empty());
        let one_of = |names: &[&str]| format!("give one of {}", names.join(", "));

        let name = choices.release_name(own_template);
        if Release::named(name).is_none() {
            let names: Vec<&str> = RELEASES.iter().map(|r| r.name).collect();
            let near = nearest(name, names.iter().copied());
            bad("release", name, near.map_or_else(|| one_of(&names), |near| format!("did you mean {near}?")));
        }
        let release = choices.release(own_template);

        let mut substitutions: BTreeMap<String, Value> = release.defaults().map(|(n, v)| (n.to_owned(), v)).collect();
        let mut chosen = Vec::new();
        let named = DEFINITIONS.iter().filter(|d| d.substitution).filter_map(|d| Some((d.key, choices.get(d.key)?)));
        for (name, value) in named.chain(choices.set.iter().map(|(n, v)| (n.as_str(), v.as_str()))) {
            if value.contains(|c: char| c.is_control() || matches!(c, '"' | '\\')) && name != "tag" {
                bad(name, value, "leave out quotes, backslashes and control characters, which break out of the YAML".to_owned());
                continue;
            }
            substitutions.insert(name.to_owned(), Value::from_text(value));
            chosen.push(name.to_owned());
        }
        for (name, wants, at_end) in [("name_prefix", "-", true), ("name_suffix", "-", false)] {
            if let Some(Value::Text(text)) = substitutions.get_mut(name)
                && !text.is_empty()
            {
                if at_end && !text.ends_with(wants) {
                    text.push_str(wants);
                } else if !at_end && !text.starts_with(wants) {
                    text.insert_str(0, wants);
                }
            }
        }
        let tag = substitutions.get("tag").map_or(String::new(), |t| t.as_text().to_owned());
        let mut newest = None;
        if let Some(regex) = tag.strip_prefix("newest:") {
            // The expression never enters the template, where it could be anything.
            substitutions.insert("tag".to_owned(), Value::Text("newest".to_owned()));
            match Pattern::whole(regex) {
                Ok(pattern) => newest = Some(pattern),
                Err(why) => bad("tag", &tag, format!("correct the regular expression: {why}")),
            }
        } else if !is_tag(&tag) && choices.get("tag").is_some() {
            bad("tag", &tag, "a tag is up to 128 letters, digits, `.`, `_` and `-`".to_owned());
            let default = release.default("tag").unwrap_or_default();
            substitutions.insert("tag".to_owned(), Value::Text(default));
        }

        let mut pin = Vec::new();
        let chain = given("pin").unwrap_or(DEFAULT_PIN);
        for word in list(chain) {
            match word {
                "label" => pin.push(Pin::Label),
                "sibling" => pin.push(Pin::Sibling),
                "digest" => pin.push(Pin::Digest),
                "channel" => pin.push(Pin::Channel),
                _ => bad("pin", word, one_of(&["label", "sibling", "digest", "channel"])),
            }
        }
        if pin.is_empty() {
            pin = vec![Pin::Label, Pin::Sibling, Pin::Digest];
        }
        let mut labels = Vec::new();
        for word in list(given("label").unwrap_or(DEFAULT_LABEL)) {
            match Label::parse(word) {
                Ok(label) => labels.push(label),
                Err(why) => bad("label", word, why),
            }
        }
        let missing = match given("missing") {
            None | Some("drop") => Missing::Drop,
            Some("keep") => Missing::Keep,
            Some("fail") => Missing::Fail,
            Some(other) => {
                bad("missing", other, one_of(&["drop", "keep", "fail"]));
                Missing::Drop
            }
        };
        let patterns = |key: &str, bad: &mut dyn FnMut(&str, &str, String)| {
            let mut out = Vec::new();
            for text in choices.all(key).iter().filter(|t| !t.is_empty()) {
                match Pattern::new(text) {
                    Ok(pattern) => out.push(pattern),
                    Err(why) => bad(key, text, format!("correct the regular expression: {why}")),
                }
            }
            out
        };
        let include = patterns("include", &mut bad);
        let exclude = patterns("exclude", &mut bad);
        let mut roles = Vec::new();
        for text in choices.all("role").iter().filter(|t| !t.is_empty()) {
            let (name, count) = text.split_once(':').unwrap_or((text, "1"));
            match count.parse::<u32>() {
                Ok(count) => roles.push((name.to_owned(), i64::from(count))),
                Err(_) => bad("role", text, "give NAME or NAME:COUNT".to_owned()),
            }
        }
        let services = choices.all("service").iter().filter(|t| !t.is_empty());
        let services = services
            .map(|s| if s.contains("::") { s.clone() } else { format!("{}{s}", crate::engine::release::SERVICE_PREFIX) })
            .collect();
        let mut endpoints = BTreeMap::new();
        for text in choices.all("endpoint").iter().filter(|t| !t.is_empty()) {
            match text.split_once('=') {
                Some((host, url)) if !host.is_empty() && is_web_address(url) => {
                    let url = url.trim_end_matches('/');
                    endpoints.insert(host.to_owned(), url.strip_suffix("/v2").unwrap_or(url).to_owned());
                }
                _ => bad("endpoint", text, "give HOST=URL with http:// or https://".to_owned()),
            }
        }
        let template = given("template").filter(|url| {
            // An address without a scheme is one beside the page.
            let fine = is_web_address(url) || !url.contains(':');
            if !fine {
                bad("template", url, "give an address that starts with https:// or http://".to_owned());
            }
            fine
        });
        if let Some(append) = given("append_tag")
            && !is_tag(&format!("x{append}"))
        {
            bad("append_tag", append, "a tag has letters, digits, `.`, `_` and `-`".to_owned());
        }
        let push_destination = given("push_destination").filter(|to| {
            let fine = crate::engine::image::reference::Reference::parse(&format!("{}/x", to.trim_end_matches('/'))).is_ok();
            if !fine {
                bad("push_destination", to, "give HOST[:PORT] or HOST[:PORT]/PATH".to_owned());
            }
            fine
        });
        if let Some(text) = given("sort")
            && !SORT.contains(&text.trim_start_matches('-'))
        {
            bad("sort", text, one_of(&SORT));
        }
        for word in list(given("status").unwrap_or("")) {
            if !STATUS.contains(&word) && !NOTES.contains(&word) && word != UNPROVEN {
                bad("status", word, one_of(&[&STATUS[..], &NOTES, &[UNPROVEN]].concat()));
            }
        }
        let view = match given("view") {
            None | Some("prepare") => View::Prepare,
            Some("board") => View::Board,
            Some("compare") => View::Compare,
            Some(other) => {
                let is_to_come = other == "dockerfiles";
                let hint =
                    if is_to_come { "this view is still to come; prepare is shown" } else { "give prepare, board or compare" };
                bad("view", other, hint.to_owned());
                View::Prepare
            }
        };
        let mut channels: Vec<String> = Vec::new();
        for word in list(given("channels").unwrap_or(DEFAULT_CHANNELS)) {
            match is_tag(word) {
                true if channels.iter().any(|c| c == word) => {}
                true => channels.push(word.to_owned()),
                false => bad("channels", word, "a tag is up to 128 letters, digits, `.`, `_` and `-`".to_owned()),
            }
        }
        let days = |text: &str| -> Option<[u64; 2]> {
            let days: Vec<u64> = list(text).map(|d| d.parse().ok().filter(|d| (1..=3650).contains(d))).collect::<Option<_>>()?;
            match days[..] {
                [late] => Some([late; 2]),
                [late, very] if late <= very => Some([late, very]),
                _ => None,
            }
        };
        let late = days(given("late").unwrap_or(DEFAULT_LATE)).unwrap_or_else(|| {
            bad("late", given("late").unwrap_or(""), "give one number of days or two, the smaller first, e.g. 3,7".to_owned());
            [3, 7]
        });
        if let Some(text) = given("group")
            && text != "service"
        {
            bad("group", text, "give service".to_owned());
        }
        let api = match given("api") {
            None | Some("auto") => Api::Auto,
            Some("distribution") => Api::Distribution,
            Some("quay") => Api::Quay,
            Some(other) => {
                bad("api", other, one_of(&API));
                Api::Auto
            }
        };
        let [snapshot, against, dlrn, criteria, zuul] = ["snapshot", "against", "dlrn", "criteria", "zuul"].map(|key| {
            let url = given(key)?;
            let fine = is_web_address(url) || !url.contains(':');
            if !fine {
                bad(key, url, "give an address that starts with https:// or http://".to_owned());
            }
            fine.then(|| url.to_owned())
        });
        let refresh = given("refresh").and_then(|text| {
            let seconds = text.parse::<u32>().ok().filter(|n| (30..=REFRESH).contains(n));
            if seconds.is_none() {
                bad("refresh", text, format!("give a number of seconds from 30 to {REFRESH}"));
            }
            seconds.map(u64::from)
        });
        if let Some(text) = given("embed")
            && text != "1"
        {
            bad("embed", text, "give 1".to_owned());
        }
        let settings = Self {
            view,
            channels,
            late: late.map(|days| days * 86_400),
            dlrn,
            criteria,
            zuul,
            against,
            refresh,
            release,
            template: template.map(str::to_owned),
            substitutions,
            chosen,
            newest,
            pin,
            labels,
            has_labels_of_its_own: given("label").is_some_and(|label| label != DEFAULT_LABEL),
            missing,
            include,
            exclude,
            roles,
            services,
            push_destination: push_destination.map(|to| to.trim_end_matches('/').to_owned()),
            append_tag: given("append_tag").filter(|a| is_tag(&format!("x{a}"))).unwrap_or("").to_owned(),
            endpoints,
            api,
            snapshot,
        };
        (settings, bounded(wrong))
    }

    /// The tag that is asked for, as the template is given it.
    pub fn tag(&self) -> &str {
        self.substitutions.get("tag").map_or("", Value::as_text)
    }
}

/// Whether `url` is an address on the web; one with a user in it would carry a secret.
fn is_web_address(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.and_then(|rest| rest.split('/').next()).is_some_and(|authority| !authority.is_empty() && !authority.contains('@'))
}
