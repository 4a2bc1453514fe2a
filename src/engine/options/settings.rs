//! Choices, checked: what the program needs of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::error::{Error, Location, bounded, nearest};
use crate::engine::image::reference::Reference;
use crate::engine::image::tag::is_tag;
use crate::engine::options::definitions::{
    Choices, DEFAULT_CHANNELS, DEFAULT_LABEL, DEFAULT_LATE, DEFAULT_PIN, DEFINITIONS, Kind, list,
};
use crate::engine::options::label::Label;
use crate::engine::options::pattern::Pattern;
use crate::engine::options::words::{MISSING, VIEW};
pub use crate::engine::options::words::{Missing, NOTES, SORT, STATUS, UNPROVEN, View, WRONG, api_words};
use crate::engine::registry::Dialect;
use crate::engine::release::{RELEASES, Release, SERVICE_PREFIX, Value};

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

/// What the program needs, checked: plain data, a field for each choice. In this order: the page and its board, the template, the tag and
/// its chain, which images, what the environment says, and who is queried.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The page that is shown.
    pub view: View,
    /// The channels of a board, in the order of promotion.
    pub channels: Vec<String>,
    /// After what time without a promotion a channel is late, and very late.
    pub late: [Duration; 2],
    /// DLRN's API, or a file of its promotions.
    pub dlrn: Option<String>,
    /// The promoter's file.
    pub criteria: Option<String>,
    /// Zuul's API with its tenant.
    pub zuul: Option<String>,
    /// An earlier snapshot to compare with.
    pub against: Option<String>,
    /// The time between automatic refreshes.
    pub refresh: Option<Duration>,
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
    /// By which API they are queried; none where that is found out.
    pub api: Option<Dialect>,
    /// The address of a snapshot that is read in place of registries.
    pub snapshot: Option<String>,
    /// Words and addresses, by key.
    plain: BTreeMap<&'static str, String>,
}

/// What `pin=` may list.
const PIN: [(&str, Pin); 4] =
    [("label", Pin::Label), ("sibling", Pin::Sibling), ("digest", Pin::Digest), ("channel", Pin::Channel)];
const ADDRESS: &str = "give an address that starts with https:// or http://";
const TAG: &str = "a tag is up to 128 letters, digits, `.`, `_` and `-`";

impl Settings {
    /// Checks `choices`. Total: what is wrong is reported, and its default holds. `own_template` is whether a template was
    /// given as a file, beside the link.
    pub fn new(choices: &Choices, own_template: bool) -> (Self, Vec<Error>) {
        let (choices, wrong) = choices.bounded();
        let mut check = Checker { choices: &choices, wrong };
        let release = check.release(own_template);
        let (mut substitutions, chosen) = check.substitutions(release);
        let newest = check.tag(release, &mut substitutions);
        let plain = check.plain();
        let address = |key: &str| plain.get(key).cloned();
        let settings = Self {
            release,
            substitutions,
            chosen,
            newest,
            pin: check.pin(),
            labels: check.labels(),
            has_labels_of_its_own: check.given("label").is_some_and(|label| label != DEFAULT_LABEL),
            missing: meaning(plain.get("missing"), &MISSING),
            include: check.patterns("include"),
            exclude: check.patterns("exclude"),
            roles: check.roles(),
            services: check.services(),
            endpoints: check.endpoints(),
            template: address("template"),
            append_tag: check.append_tag(),
            push_destination: check.push_destination(),
            view: meaning(plain.get("view"), &VIEW),
            channels: check.channels(),
            late: check.late(),
            api: plain.get("api").and_then(|name| Dialect::named(name)),
            snapshot: address("snapshot"),
            against: address("against"),
            dlrn: address("dlrn"),
            criteria: address("criteria"),
            zuul: address("zuul"),
            refresh: check.refresh(),
            plain,
        };
        check.table();
        (settings, bounded(check.wrong))
    }

    /// What was written for a choice that is one word or an address; none where it may not be that.
    ///
    /// ```
    /// use overtag::engine::options::{link, settings::Settings};
    /// let (settings, _) = Settings::new(&link::read("?missing=keep&group=size").0, false);
    /// assert_eq!((settings.value("missing"), settings.value("group")), (Some("keep"), None));
    /// ```
    pub fn value(&self, key: &str) -> Option<&str> {
        self.plain.get(key).map(String::as_str)
    }

    /// The tag that is asked for, as the template is given it.
    pub fn tag(&self) -> &str {
        self.substitutions.get("tag").map_or("", Value::as_text)
    }
}

/// Reads one choice after the other, and collects what is wrong with them.
struct Checker<'a> {
    choices: &'a Choices,
    wrong: Vec<Error>,
}

impl<'a> Checker<'a> {
    fn bad(&mut self, key: &str, value: &str, hint: impl Into<String>) {
        self.wrong.push(Error::usage(format!("invalid value `{value}`"), Location::Choice(key.to_owned()), hint));
    }

    /// The value of a choice; none where it is empty.
    fn given(&self, key: &str) -> Option<&'a str> {
        self.choices.get(key).filter(|value| !value.is_empty())
    }

    /// The values of a choice that may stand more than once.
    fn all(&self, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.choices.all(key).iter().map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Words and addresses: what needs no other rule than that of its kind.
    fn plain(&mut self) -> BTreeMap<&'static str, String> {
        let mut out = BTreeMap::new();
        for d in DEFINITIONS {
            let Some(given) = self.given(d.key) else { continue };
            let wrong = match d.kind {
                Kind::Word(words) => (!words().contains(&given)).then(|| one_of(&words())),
                Kind::Address => (!is_web_address(given) && given.contains(':')).then(|| ADDRESS.to_owned()),
                _ => continue,
            };
            match wrong {
                Some(hint) => self.bad(d.key, given, hint),
                None => _ = out.insert(d.key, given.to_owned()),
            }
        }
        out
    }

    fn patterns(&mut self, key: &str) -> Vec<Pattern> {
        let mut out = Vec::new();
        for text in self.all(key) {
            match Pattern::new(text) {
                Ok(pattern) => out.push(pattern),
                Err(why) => self.bad(key, text, format!("correct the regular expression: {why}")),
            }
        }
        out
    }

    fn release(&mut self, own_template: bool) -> &'static Release {
        let name = self.choices.release_name(own_template);
        if Release::named(name).is_none() {
            let names: Vec<&str> = RELEASES.iter().map(|r| r.name).collect();
            let near = nearest(name, names.iter().copied());
            self.bad("release", name, near.map_or_else(|| one_of(&names), |near| format!("did you mean {near}?")));
        }
        self.choices.release(own_template)
    }

    /// What the template is given, and the names of what was chosen of it.
    fn substitutions(&mut self, release: &Release) -> (BTreeMap<String, Value>, Vec<String>) {
        let mut substitutions: BTreeMap<String, Value> = release.defaults().map(|(n, v)| (n.to_owned(), v)).collect();
        let mut chosen = Vec::new();
        let choices = self.choices;
        let named = DEFINITIONS.iter().filter(|d| d.is_substitution()).filter_map(|d| Some((d.key, choices.get(d.key)?)));
        for (name, value) in named.chain(choices.set.iter().map(|(n, v)| (n.as_str(), v.as_str()))) {
            if value.contains(|c: char| c.is_control() || matches!(c, '"' | '\\')) && name != "tag" {
                self.bad(name, value, "leave out quotes, backslashes and control characters, which break the YAML");
                continue;
            }
            substitutions.insert(name.to_owned(), Value::from_text(value));
            chosen.push(name.to_owned());
        }
        if let Some(Value::Text(prefix)) = substitutions.get_mut("name_prefix")
            && !prefix.is_empty()
            && !prefix.ends_with('-')
        {
            prefix.push('-');
        }
        if let Some(Value::Text(suffix)) = substitutions.get_mut("name_suffix")
            && !suffix.is_empty()
            && !suffix.starts_with('-')
        {
            suffix.insert(0, '-');
        }
        (substitutions, chosen)
    }

    /// Puts the tag that the template is given in its place; for `newest:REGEX` returns the expression.
    fn tag(&mut self, release: &Release, substitutions: &mut BTreeMap<String, Value>) -> Option<Pattern> {
        let tag = substitutions.get("tag").map_or(String::new(), |t| t.as_text().to_owned());
        let Some(regex) = tag.strip_prefix("newest:") else {
            if !is_tag(&tag) && self.choices.get("tag").is_some() {
                self.bad("tag", &tag, TAG);
                substitutions.insert("tag".to_owned(), Value::Text(release.default("tag").unwrap_or_default()));
            }
            return None;
        };
        // The expression never enters the template, where it could be anything.
        substitutions.insert("tag".to_owned(), Value::Text("newest".to_owned()));
        Pattern::whole(regex).map_err(|why| self.bad("tag", &tag, format!("correct the regular expression: {why}"))).ok()
    }

    fn pin(&mut self) -> Vec<Pin> {
        let mut pin = Vec::new();
        for word in list(self.given("pin").unwrap_or(DEFAULT_PIN)) {
            match PIN.iter().find(|(name, _)| *name == word) {
                Some((_, found)) => pin.push(*found),
                None => self.bad("pin", word, one_of(&PIN.map(|(name, _)| name))),
            }
        }
        if pin.is_empty() { vec![Pin::Label, Pin::Sibling, Pin::Digest] } else { pin }
    }

    fn labels(&mut self) -> Vec<Label> {
        let mut labels = Vec::new();
        for word in list(self.given("label").unwrap_or(DEFAULT_LABEL)) {
            match Label::parse(word) {
                Ok(label) => labels.push(label),
                Err(why) => self.bad("label", word, why),
            }
        }
        labels
    }

    fn roles(&mut self) -> Vec<(String, i64)> {
        let mut roles = Vec::new();
        for text in self.all("role") {
            let (name, count) = text.split_once(':').unwrap_or((text, "1"));
            match count.parse::<u32>() {
                Ok(count) => roles.push((name.to_owned(), i64::from(count))),
                Err(_) => self.bad("role", text, "give NAME or NAME:COUNT"),
            }
        }
        roles
    }

    fn services(&self) -> Vec<String> {
        self.all("service").map(|s| if s.contains("::") { s.to_owned() } else { format!("{SERVICE_PREFIX}{s}") }).collect()
    }

    fn endpoints(&mut self) -> BTreeMap<String, String> {
        let mut endpoints = BTreeMap::new();
        for text in self.all("endpoint") {
            match text.split_once('=') {
                Some((host, url)) if !host.is_empty() && is_web_address(url) => {
                    let url = url.trim_end_matches('/');
                    endpoints.insert(host.to_owned(), url.strip_suffix("/v2").unwrap_or(url).to_owned());
                }
                _ => self.bad("endpoint", text, "give HOST=URL with http:// or https://"),
            }
        }
        endpoints
    }

    fn append_tag(&mut self) -> String {
        match self.given("append_tag") {
            Some(append) if is_tag(&format!("x{append}")) => append.to_owned(),
            Some(append) => {
                self.bad("append_tag", append, "a tag has letters, digits, `.`, `_` and `-`");
                String::new()
            }
            None => String::new(),
        }
    }

    fn push_destination(&mut self) -> Option<String> {
        let to = self.given("push_destination")?;
        let place = to.trim_end_matches('/');
        if Reference::parse(&format!("{place}/x")).is_err() {
            self.bad("push_destination", to, "give HOST[:PORT] or HOST[:PORT]/PATH");
            return None;
        }
        Some(place.to_owned())
    }

    /// How a table is sorted and filtered, which the page reads; here it is only checked.
    fn table(&mut self) {
        if let Some(text) = self.given("sort").filter(|text| !SORT.contains(&text.trim_start_matches('-'))) {
            self.bad("sort", text, one_of(&SORT));
        }
        for word in list(self.given("status").unwrap_or("")) {
            if !STATUS.contains(&word) && !NOTES.contains(&word) && word != UNPROVEN {
                self.bad("status", word, one_of(&[&STATUS[..], &NOTES, &[UNPROVEN]].concat()));
            }
        }
    }

    fn channels(&mut self) -> Vec<String> {
        let mut channels: Vec<String> = Vec::new();
        for word in list(self.given("channels").unwrap_or(DEFAULT_CHANNELS)) {
            match is_tag(word) {
                true if channels.iter().any(|c| c == word) => {}
                true => channels.push(word.to_owned()),
                false => self.bad("channels", word, TAG),
            }
        }
        channels
    }

    /// How long ago a promotion may be, and when it is called very late.
    fn late(&mut self) -> [Duration; 2] {
        let days = |text: &str| -> Option<[u64; 2]> {
            let days: Vec<u64> = list(text).map(|d| d.parse().ok().filter(|d| (1..=3650).contains(d))).collect::<Option<_>>()?;
            match days[..] {
                [late] => Some([late; 2]),
                [late, very] if late <= very => Some([late, very]),
                _ => None,
            }
        };
        let given = self.given("late");
        let found = days(given.unwrap_or(DEFAULT_LATE)).unwrap_or_else(|| {
            self.bad("late", given.unwrap_or(""), "give one number of days or two, the smaller first, e.g. 3,7");
            [3, 7]
        });
        found.map(|days| Duration::from_secs(days * 86_400))
    }

    fn refresh(&mut self) -> Option<Duration> {
        let text = self.given("refresh")?;
        let seconds = text.parse::<u32>().ok().filter(|n| (30..=REFRESH).contains(n));
        if seconds.is_none() {
            self.bad("refresh", text, format!("give a number of seconds from 30 to {REFRESH}"));
        }
        seconds.map(|seconds| Duration::from_secs(seconds.into()))
    }
}

/// What a word means; without one, what the first means.
fn meaning<T: Copy>(given: Option<&String>, words: &[(&str, T)]) -> T {
    given.and_then(|given| words.iter().find(|(word, _)| word == given)).unwrap_or(&words[0]).1
}

fn one_of(names: &[&str]) -> String {
    match names {
        [name] => format!("give {name}"),
        _ => format!("give one of {}", names.join(", ")),
    }
}

/// Whether `url` is an address on the web; one with a user in it would carry a secret.
fn is_web_address(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.and_then(|rest| rest.split('/').next()).is_some_and(|authority| !authority.is_empty() && !authority.contains('@'))
}
