//! A double of Quay as an anonymous caller meets it: `/api/v1` with its CORS headers, its one compulsory header, its rate limit
//! and its time machine, and a `/v2` that no page can read.
//!
//! It has state, so that a tag can move while a client reads. It records unexpected requests: an unknown path or parameter,
//! another method, credentials, a browser without the header. [`Quay::assert_clean`] panics if there were any; so does the end
//! of the double, unless its thread panics already (a `static` has no end: call it there).
//!
//! Its clock stands still: at the seed's time, or when it was started. [`Quay::promote`] and [`Quay::set_now`] move it.
//!
//! ```ignore
//! let seed = Seed::new(&names());
//! let quay = Quay::seeded(&seed);
//! // … ask quay.host …
//! assert_eq!(quay.asked(Kind::Repository), seed.images.len());
//! ```

use super::proxy::{Fault, Proxy, Seen};
use super::registry::{CHANNELS, HASHES, LABEL, NAMESPACE, PREFIX, PROMOTED};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long dead tags are kept by default: two weeks.
pub const TWO_WEEKS: u64 = 14 * DAY;
/// How many tags an overview of a repository has: the newest ones.
pub const NEWEST: usize = 500;
/// How many repositories are on a page.
pub const PAGE: usize = 100;
/// How many hash tags the images with more than [`NEWEST`] tags have.
pub const DEEP: usize = 540;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// The hash, counted from the newest, that a buried or outrun channel points to.
const FAR_BACK: usize = 530;

/// The kinds of requests that the API has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Q1: the repositories of a namespace.
    Repositories,
    /// Q2: a repository with its newest tags.
    Repository,
    /// Q3: tags, dead ones too by default.
    Tags,
    /// Q4: a manifest by digest.
    Manifest,
    /// Q5: the labels of a manifest.
    Labels,
}

impl Kind {
    /// The query parameters that it has.
    fn parameters(self) -> &'static [&'static str] {
        match self {
            Kind::Repositories => &["namespace", "public", "repo_kind", "last_modified", "popularity", "next_page"],
            Kind::Repository => &["includeTags"],
            Kind::Tags => &["limit", "page", "onlyActiveTags", "specificTag", "filter_tag_name"],
            Kind::Manifest => &[],
            Kind::Labels => &["filter"],
        }
    }
}

// -- what is in it

/// A manifest as a repository holds it.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The digest of the text.
    pub digest: String,
    /// The manifest itself.
    pub text: String,
    /// `config.Labels`; none of an index.
    pub labels: Vec<(String, String)>,
    /// What an index lists.
    pub children: Vec<Manifest>,
    media: &'static str,
    created: u64,
}

impl Manifest {
    /// Makes an image; another `name` or other labels are another digest.
    pub fn image(name: &str, labels: &[(&str, &str)]) -> Manifest {
        let config = json!({ "name": name, "config": { "Labels": labels } });
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", name);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config.to_string()), "layers": [layer],
        });
        let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Manifest::new(&manifest, OCI, labels, Vec::new())
    }

    /// Makes an index of two platforms with these labels, and of an attestation without any.
    pub fn index(name: &str, labels: &[(&str, &str)]) -> Manifest {
        let mut children = Vec::new();
        let mut entries = Vec::new();
        for arch in ["amd64", "arm64"] {
            let child = Manifest::image(&format!("{name} {arch}"), labels);
            let mut entry = descriptor(OCI, &child.text);
            entry["platform"] = json!({ "architecture": arch, "os": "linux" });
            entries.push(entry);
            children.push(child);
        }
        let attestation = Manifest::image(&format!("{name} attestation"), &[]);
        let mut entry = descriptor(OCI, &attestation.text);
        entry["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
        entry["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": entries[0]["digest"],
        });
        entries.push(entry);
        children.push(attestation);
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries });
        Manifest::new(&index, OCI_INDEX, Vec::new(), children)
    }

    fn new(json: &Value, media: &'static str, labels: Vec<(String, String)>, children: Vec<Manifest>) -> Manifest {
        // Indented, so that parsing and printing it again gives another digest.
        let text = serde_json::to_string_pretty(json).expect("a JSON value can be printed");
        Manifest { digest: digest(&text), text, labels, children, media, created: 1_559_131_200 }
    }

    fn is_list(&self) -> bool {
        self.media == OCI_INDEX
    }
}

/// One period of a tag: the time while it pointed to one digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPeriod {
    /// The tag.
    pub name: String,
    /// The digest that it pointed to.
    pub digest: String,
    /// Since when, in seconds UTC.
    pub start_ts: u64,
    /// Until when; in the future it is an expiry.
    pub end_ts: Option<u64>,
    /// Whether Quay's own restore began it.
    pub reversion: bool,
}

impl TagPeriod {
    /// Returns whether the tag pointed to it at that time.
    pub fn is_active(&self, now: u64) -> bool {
        self.end_ts.is_none_or(|end| end > now)
    }
}

/// A repository.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Namespace and name.
    pub path: String,
    /// Whether anonymous callers may read it.
    pub public: bool,
    /// How long dead tags are kept, in seconds.
    pub tag_expiration_s: u64,
    /// `NORMAL`, `READ_ONLY`, `MIRROR` or `ORG_MIRROR`.
    pub state: &'static str,
    /// Tags that an old Quay lists without a digest.
    pub undigested: BTreeSet<String>,
    /// Labels that somebody gave a manifest in Quay's page, by digest.
    pub added: BTreeMap<String, Vec<(String, String)>>,
    periods: Vec<TagPeriod>,
    manifests: BTreeMap<String, Manifest>,
}

impl Repository {
    /// Makes an empty public repository at `namespace/name`.
    pub fn new(path: &str) -> Repository {
        let (undigested, added, periods, manifests) = Default::default();
        let (path, state) = (path.to_owned(), "NORMAL");
        Repository { path, public: true, tag_expiration_s: TWO_WEEKS, state, undigested, added, periods, manifests }
    }

    /// Adds a manifest and what it lists; returns its digest.
    pub fn add(&mut self, manifest: Manifest) -> String {
        for child in &manifest.children {
            self.add(child.clone());
        }
        let digest = manifest.digest.clone();
        self.manifests.insert(digest.clone(), manifest);
        digest
    }

    /// Adds a manifest and tags it.
    pub fn push(&mut self, tag: &str, manifest: Manifest, at: u64) -> String {
        let digest = self.add(manifest);
        self.tag(tag, &digest, at);
        digest
    }

    /// Makes a tag point to a digest from then on, and ends the period before.
    #[track_caller]
    pub fn tag(&mut self, tag: &str, digest: &str, at: u64) {
        assert!(self.manifests.contains_key(digest), "{} has no manifest {digest} for {tag}", self.path);
        self.end(tag, at);
        let (name, digest) = (tag.to_owned(), digest.to_owned());
        self.periods.push(TagPeriod { name, digest, start_ts: at, end_ts: None, reversion: false });
    }

    /// As [`Repository::tag`], but the period before does not end: the tag is active twice (quay#4966).
    pub fn tag_twice(&mut self, tag: &str, digest: &str, at: u64) {
        let (name, digest) = (tag.to_owned(), digest.to_owned());
        self.periods.push(TagPeriod { name, digest, start_ts: at, end_ts: None, reversion: false });
    }

    /// As [`Repository::tag`], by Quay's own restore.
    #[track_caller]
    pub fn restore(&mut self, tag: &str, digest: &str, at: u64) {
        self.tag(tag, digest, at);
        self.periods.last_mut().expect("one was just added").reversion = true;
    }

    /// Ends the period of a tag: it is deleted, or it expires if that is in the future.
    pub fn end(&mut self, tag: &str, at: u64) {
        for period in self.periods.iter_mut().filter(|l| l.name == tag && l.is_active(at)) {
            period.end_ts = Some(at);
        }
    }

    /// The period of a tag at that time.
    pub fn period(&self, tag: &str, now: u64) -> Option<&TagPeriod> {
        self.periods.iter().rev().find(|l| l.name == tag && l.is_active(now))
    }

    /// Returns a manifest by digest, also if no active tag points to it.
    pub fn manifest(&self, digest: &str) -> Option<&Manifest> {
        self.manifests.get(digest)
    }

    /// All tags active at that time, newest first.
    pub fn active(&self, now: u64) -> Vec<&TagPeriod> {
        self.sorted(|l| l.is_active(now))
    }

    /// What the time machine has at that time, newest first.
    pub fn history(&self, now: u64) -> Vec<&TagPeriod> {
        self.sorted(|l| l.end_ts.is_none_or(|end| end + self.tag_expiration_s > now))
    }

    fn sorted(&self, such: impl Fn(&TagPeriod) -> bool) -> Vec<&TagPeriod> {
        let mut periods: Vec<&TagPeriod> = self.periods.iter().filter(|l| such(l)).collect();
        periods.sort_by_key(|l| (Reverse(l.start_ts), &l.name));
        periods
    }

    /// A manifest that an active tag or its index points to; Quay serves no others.
    fn alive(&self, digest: &str, now: u64) -> Option<&Manifest> {
        let is_held = |m: &Manifest| m.digest == digest || m.children.iter().any(|c| c.digest == digest);
        let mut active = self.periods.iter().filter(|l| l.is_active(now));
        active.any(|l| is_held(&self.manifests[&l.digest])).then(|| &self.manifests[digest])
    }
}

// -- the seed

/// Many images of one namespace, and the right answers.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The time that all is seen at.
    pub now: u64,
    /// The hash tags, newest first; new images have fewer, deep ones more: see [`hash_tag`].
    pub hashes: Vec<String>,
    /// The images by short name, the unreadable ones too.
    pub images: BTreeMap<String, Image>,
}

/// What makes a seeded image a special one; there is at least one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing special.
    Plain,
    /// Has the five newest hashes only, and neither `current-tripleo` nor `current-tripleo-rdo`.
    New,
    /// `current-tripleo` stands one hash further back than elsewhere.
    Torn,
    /// Has no labels at all.
    NoLabels,
    /// Has labels, but not [`LABEL`].
    OtherLabels,
    /// The label names a tag that is there, but of another digest.
    Mismatched,
    /// Is an index of two platforms and an attestation.
    Index,
    /// Has [`DEEP`] hashes, and `current-tripleo` moved so long ago that it is not among the [`NEWEST`].
    Buried,
    /// Has [`DEEP`] hashes, and `current-tripleo` has just moved to one that is not among the [`NEWEST`].
    Outrun,
    /// Has [`DEEP`] hashes and no `current-tripleo`.
    Crowded,
    /// Is private.
    Private,
    /// Does not exist.
    Missing,
}

/// One name of the seed.
#[derive(Clone, Debug)]
pub struct Image {
    /// The last part of the name, without prefix.
    pub short: String,
    /// Namespace and name.
    pub path: String,
    /// What is special about it.
    pub role: Role,
    /// Each moving tag that anonymous callers can see, and the hash that it points to.
    pub channels: BTreeMap<String, String>,
    /// What is in it, if it exists.
    pub repository: Option<Repository>,
    now: u64,
}

impl Image {
    /// Returns whether anonymous callers may read it.
    pub fn is_readable(&self) -> bool {
        self.repository.as_ref().is_some_and(|r| r.public)
    }

    /// Returns the hash tag that a channel points to.
    pub fn hash(&self, channel: &str) -> Option<&str> {
        self.channels.get(channel).map(String::as_str)
    }

    /// Returns the digest that a tag points to, and since when; a private image's too.
    pub fn period(&self, tag: &str) -> Option<&TagPeriod> {
        self.repository.as_ref()?.period(tag, self.now)
    }

    /// Returns the digest that a tag points to; a private image's too.
    pub fn digest(&self, tag: &str) -> Option<&str> {
        self.period(tag).map(|l| l.digest.as_str())
    }

    /// Returns the value of a label of the image that a tag points to, the same for each platform.
    pub fn label(&self, tag: &str, label: &str) -> Option<&str> {
        let manifest = self.repository.as_ref()?.manifest(self.digest(tag)?)?;
        let labels = &manifest.children.first().unwrap_or(manifest).labels;
        labels.iter().find(|(k, _)| k == label).map(|(_, v)| v.as_str())
    }
}

impl Seed {
    /// Makes the images as they are now; `names` are short names.
    #[track_caller]
    pub fn new(names: &[&str]) -> Seed {
        Seed::at(real_now(), names)
    }

    /// Makes the images as they are at `now`; the digests do not depend on it.
    #[track_caller]
    pub fn at(now: u64, names: &[&str]) -> Seed {
        use Role::*;
        let roles = [New, Torn, NoLabels, OtherLabels, Mismatched, Index, Buried, Outrun, Crowded, Private, Missing, New, Torn];
        let needed = roles.len() + 1;
        assert!(names.len() >= needed, "the seed needs at least {needed} names to give each role to an image");
        let mut role_of = vec![Plain; names.len()];
        for (i, role) in roles.into_iter().enumerate() {
            role_of[(i + 1) * names.len() / needed] = role;
        }
        let images: BTreeMap<_, _> = names.iter().zip(role_of).map(|(n, r)| (n.to_string(), image(n, r, now))).collect();
        assert!(images.len() == names.len(), "a name was given twice");
        Seed { now, hashes: (0..HASHES).map(hash_tag).collect(), images }
    }

    /// Returns an image by its short name.
    #[track_caller]
    pub fn image(&self, short: &str) -> &Image {
        self.images.get(short).unwrap_or_else(|| panic!("no image {short:?} was seeded"))
    }

    /// Returns the images of a role.
    pub fn of(&self, role: Role) -> Vec<&Image> {
        self.images.values().filter(|i| i.role == role).collect()
    }

    /// Returns the one image of a role, or the first of them.
    pub fn one(&self, role: Role) -> &Image {
        self.of(role)[0]
    }

    /// Returns the readable images that have a channel.
    pub fn having<'a>(&'a self, channel: &'a str) -> impl Iterator<Item = &'a Image> {
        self.images.values().filter(move |i| i.channels.contains_key(channel))
    }

    /// Returns the hash that most of a channel's images point to, and how many of them point to another.
    #[track_caller]
    pub fn majority(&self, channel: &str) -> (&str, usize) {
        let mut votes = BTreeMap::<&str, usize>::new();
        for hash in self.images.values().filter_map(|i| i.hash(channel)) {
            *votes.entry(hash).or_default() += 1;
        }
        let all: usize = votes.values().sum();
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        let (hash, most) = most.unwrap_or_else(|| panic!("no image was seeded with the channel {channel:?}"));
        (hash, all - most)
    }

    /// Returns the repositories for [`Quay::start`].
    pub fn repositories(&self) -> Vec<Repository> {
        self.images.values().filter_map(|i| i.repository.clone()).collect()
    }
}

/// Makes up the DLRN hash so many behind the newest: `<40 hex>_<8 hex>`.
pub fn hash_tag(back: usize) -> String {
    let part = |what: &str, length: usize| hex(&format!("{what} {back}"))[..length].to_owned();
    format!("{}_{}", part("commit", 40), part("distro", 8))
}

fn image(short: &str, role: Role, now: u64) -> Image {
    let path = format!("{NAMESPACE}/{PREFIX}{short}");
    let mut image = Image { short: short.to_owned(), path, role, channels: BTreeMap::new(), repository: None, now };
    if role == Role::Missing {
        return image;
    }
    let mut repository = Repository::new(&image.path);
    repository.public = role != Role::Private;
    let is_deep = matches!(role, Role::Buried | Role::Outrun | Role::Crowded);
    let promoted = CHANNELS.iter().find(|(c, _)| *c == PROMOTED).map_or(0, |(_, back)| *back);
    let count = if is_deep { DEEP } else { [HASHES, promoted][usize::from(role == Role::New)] };
    // A build each twelve hours, the newest two hours ago.
    let built = |back: usize| now - 2 * HOUR - back as u64 * 12 * HOUR;
    let digests: Vec<String> = (0..count)
        .map(|back| {
            let (tag, next) = (hash_tag(back), hash_tag((back + 1) % count));
            let named = if role == Role::Mismatched { &next } else { &tag };
            let (build, labels) = (format!("{short} {back}"), [("name", short), ("version", "1.0.0"), (LABEL, named.as_str())]);
            let manifest = match role {
                Role::NoLabels => Manifest::image(&build, &[]),
                Role::OtherLabels => Manifest::image(&build, &labels[..2]),
                Role::Index => Manifest::index(&build, &labels),
                _ => Manifest::image(&build, &labels),
            };
            repository.push(&tag, manifest, built(back))
        })
        .collect();
    for (place, (channel, behind)) in CHANNELS.into_iter().enumerate().filter(|(_, (_, behind))| *behind < count) {
        // A channel moves at each build, some minutes after it.
        let moved = |back: usize| built(back - behind) + 60 * (place as u64 + 1);
        let last = match role {
            _ if channel != PROMOTED => behind,
            Role::Crowded => continue,
            Role::Buried => FAR_BACK,
            Role::Torn | Role::Outrun => behind + 1,
            _ => behind,
        };
        for back in (last..count).rev() {
            repository.tag(channel, &digests[back], moved(back));
        }
        let mut stands = last;
        if role == Role::Outrun && channel == PROMOTED {
            stands = FAR_BACK;
            repository.tag(channel, &digests[stands], moved(behind));
        }
        if repository.public {
            image.channels.insert(channel.to_owned(), hash_tag(stands));
        }
    }
    image.repository = Some(repository);
    image
}

// -- the server

/// A running double; closed on drop.
pub struct Quay {
    /// `127.0.0.1:port`.
    pub host: String,
    /// Counts, delays and holds requests; its `fault` is taken: see [`Quay::fault`].
    pub proxy: Proxy,
    shared: Arc<Mutex<State>>,
}

type Program = Arc<dyn Fn(&Seen) -> Option<Fault> + Send + Sync>;
type Between = Arc<dyn Fn(usize, &mut [Repository]) + Send + Sync>;

struct State {
    repositories: Vec<Repository>,
    now: u64,
    /// What its local time is ahead of UTC, in seconds.
    zone: i64,
    v2_allowed: bool,
    /// Whether `/v2/` is served to everybody, and of a proxy-cache organisation what its upstream answers.
    v2: Option<Option<u16>>,
    /// What is done to the repositories before a request for a page of tags, by its number.
    between: Option<Between>,
    pages: usize,
    missing_header_expected: bool,
    bucket: Option<Bucket>,
    program: Option<Program>,
    complaints: Vec<String>,
}

impl Quay {
    /// Starts a double with these repositories, listed in this order.
    #[track_caller]
    pub fn start(repositories: Vec<Repository>) -> Quay {
        let state = State {
            repositories,
            now: real_now(),
            zone: 0,
            v2_allowed: false,
            v2: None,
            between: None,
            pages: 0,
            missing_header_expected: false,
            bucket: None,
            program: None,
            complaints: Vec::new(),
        };
        let shared = Arc::new(Mutex::new(state));
        let served = Arc::clone(&shared);
        let proxy = Proxy::fake(move |seen| Some(respond(&served, seen)));
        Quay { host: proxy.host.clone(), proxy, shared }
    }

    /// Starts a double with what was seeded, at the seed's time.
    #[track_caller]
    pub fn seeded(seed: &Seed) -> Quay {
        let quay = Quay::start(seed.repositories());
        quay.set_now(seed.now);
        quay
    }

    /// Sets the clock.
    pub fn set_now(&self, now: u64) {
        self.lock().now = now;
    }

    /// Changes a repository, by `namespace/name`.
    #[track_caller]
    pub fn change<R>(&self, path: &str, change: impl FnOnce(&mut Repository) -> R) -> R {
        let mut state = self.lock();
        let repository = state.repositories.iter_mut().find(|r| r.path == path);
        change(repository.unwrap_or_else(|| panic!("there is no repository {path}")))
    }

    /// Moves a tag, as a promoter does; the clock is `at` then, or later.
    #[track_caller]
    pub fn promote(&self, path: &str, tag: &str, digest: &str, at: u64) {
        self.change(path, |r| r.tag(tag, digest, at));
        let mut state = self.lock();
        state.now = state.now.max(at);
    }

    /// Sets what its local time is ahead of UTC, in seconds: an overview is written in it.
    pub fn set_zone(&self, zone: i64) {
        self.lock().zone = zone;
    }

    /// Does this to the repositories before each page of tags, which are numbered from 0.
    pub fn between_pages(&self, change: impl Fn(usize, &mut [Repository]) + Send + Sync + 'static) {
        self.lock().between = Some(Arc::new(change));
    }

    /// Serves `/v2/` to everybody, as a Quay up to 3.11 does: lists in order of rows, 50 a page, with a token. With a status it is a
    /// proxy-cache organisation whose upstream gives that status; 0 is a timeout.
    pub fn serve_v2(&self, upstream: Option<u16>) {
        let mut state = self.lock();
        (state.v2, state.v2_allowed) = (Some(upstream), true);
    }

    /// Expects requests below `/v2/`.
    pub fn allow_v2(&self) {
        self.lock().v2_allowed = true;
    }

    /// Expects browsers that do not send the compulsory header.
    pub fn expect_missing_header(&self) {
        self.lock().missing_header_expected = true;
    }

    /// Answers 429 to what goes beyond so many requests a second after the first `burst`, preflights included.
    pub fn limit(&self, per_second: f64, burst: u32) {
        let full = f64::from(burst);
        self.lock().bucket = Some(Bucket { per_second, full, left: full, at: Instant::now() });
    }

    /// Ends what [`Quay::limit`] began.
    pub fn unlimit(&self) {
        self.lock().bucket = None;
    }

    /// Programs faults, of requests within the limit; `None` is Quay's own answer, and `Slow` delays it. `Truncate` and
    /// `Replace` need an upstream, and there is none.
    pub fn fault(&self, program: impl Fn(&Seen) -> Option<Fault> + Send + Sync + 'static) {
        self.lock().program = Some(Arc::new(program));
    }

    /// Takes the program away.
    pub fn no_fault(&self) {
        self.lock().program = None;
    }

    /// Returns how many GETs there were of that kind.
    pub fn asked(&self, kind: Kind) -> usize {
        self.proxy.count_where(|l| l.method == "GET" && Call::of(&l.path).is_some_and(|c| c.kind == kind))
    }

    /// Returns how many GETs of the API there were.
    pub fn data_requests(&self) -> usize {
        self.proxy.count_where(|l| l.method == "GET" && Call::of(&l.path).is_some())
    }

    /// Returns how many preflights there were.
    pub fn preflights(&self) -> usize {
        self.proxy.count_where(|l| l.method == "OPTIONS")
    }

    /// Returns how many requests there were.
    pub fn total(&self) -> usize {
        self.proxy.count()
    }

    /// Returns how many requests were answered 429.
    pub fn throttled(&self) -> usize {
        self.proxy.count_where(|l| l.status == Some(429))
    }

    /// Returns the most requests that were under way at once.
    pub fn most_in_flight(&self) -> usize {
        self.proxy.most_in_flight()
    }

    /// Returns the log as text, a line a request, for messages.
    pub fn log_text(&self) -> String {
        self.proxy.log_text()
    }

    /// Returns what was recorded so far, and clears it.
    pub fn take_complaints(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().complaints)
    }

    /// Panics if something was recorded.
    #[track_caller]
    pub fn assert_clean(&self) {
        let complaints = self.lock().complaints.join("\n");
        assert!(complaints.is_empty(), "{complaints}\nall requests:\n{}", self.log_text());
        self.proxy.assert_clean();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }
}

impl Drop for Quay {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.assert_clean();
        }
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().expect("no holder of this lock panics")
}

struct Bucket {
    per_second: f64,
    full: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self) -> bool {
        let passed = self.at.elapsed().as_secs_f64();
        self.at = Instant::now();
        self.left = (self.left + passed * self.per_second).min(self.full);
        let is_granted = self.left >= 1.0;
        if is_granted {
            self.left -= 1.0;
        }
        is_granted
    }
}

/// A request of the API, taken apart.
struct Call {
    kind: Kind,
    /// `namespace/name`; empty for a list of them.
    path: String,
    /// Empty where there is none.
    digest: String,
    query: Vec<(String, String)>,
}

impl Call {
    fn of(target: &str) -> Option<Call> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let rest = path.strip_prefix("/api/v1/repository")?;
        if rest.is_empty() {
            return Some(Call { kind: Kind::Repositories, path: String::new(), digest: String::new(), query });
        }
        let rest = decode(rest.strip_prefix('/')?);
        let (kind, path, digest) = match (rest.strip_suffix("/tag/"), rest.rsplit_once("/manifest/")) {
            (Some(path), _) => (Kind::Tags, path, ""),
            (None, None) => (Kind::Repository, rest.as_str(), ""),
            (None, Some((path, digest))) => match digest.strip_suffix("/labels") {
                Some(digest) => (Kind::Labels, path, digest),
                None => (Kind::Manifest, path, digest),
            },
        };
        let is_hex = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_digest = digest.strip_prefix("sha256:").is_some_and(is_hex);
        let is_path = path.contains('/') && path.split('/').all(|part| !part.is_empty()) && !path.ends_with("/tag");
        let is_known = is_path && (is_digest || !matches!(kind, Kind::Manifest | Kind::Labels));
        is_known.then(|| Call { kind, path: path.to_owned(), digest: digest.to_owned(), query })
    }

    /// A parameter; an empty one is as good as none.
    fn text(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(k, v)| k == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// A parameter that is on or off, read as Python's Quay does.
    fn is_on(&self, name: &str, default: bool) -> bool {
        let value = self.query.iter().find(|(k, _)| k == name);
        value.map_or(default, |(_, v)| !["", "0", "false", "False", "FALSE", "null"].contains(&v.as_str()))
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, Fault> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let number = text.parse::<i64>().map_err(|_| refused(&json!({ "message": { name: "it is not a number" } })))?;
        Ok(usize::try_from(number.max(1)).expect("it is positive"))
    }
}

/// Percent-decodes a path, in which `+`, `&` and `=` are only themselves.
fn decode(path: &str) -> String {
    let path = path.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(path.as_bytes()).map(|(k, _)| k.into_owned()).collect()
}

fn respond(shared: &Mutex<State>, seen: &Seen) -> Fault {
    let call = Call::of(&seen.path);
    let mut state = lock(shared);
    for complaint in state.complaints_about(seen, call.as_ref()) {
        state.complaints.push(format!("{complaint}: {} {}", seen.method, seen.path));
    }
    if state.bucket.as_mut().is_some_and(|b| !b.take()) {
        return throttled();
    }
    if let Some(program) = state.program.clone() {
        drop(state);
        match program(seen) {
            Some(Fault::Slow(time)) => thread::sleep(time),
            Some(fault @ (Fault::Truncate | Fault::Replace(_))) => panic!("there is no upstream for {fault:?}"),
            Some(fault) => return fault,
            None => {}
        }
        state = lock(shared);
    }
    let host = seen.header("Host").unwrap_or_default();
    match (seen.method.as_str(), call) {
        _ if is_v2(&seen.path) => state.v2(seen, host),
        (_, None) => cors(501, "text/plain; charset=utf-8", "nobody expected this request\n"),
        // Flask's answer to OPTIONS has a body.
        ("OPTIONS", Some(_)) => cors(200, "application/json", "null\n"),
        ("GET", Some(_)) if lacks_header(seen) => {
            let message = "API calls must be invoked with an X-Requested-With header if called from a browser";
            refused(&json!({ "error": message }))
        }
        ("GET", Some(call)) => {
            if let Some(change) = state.between.clone().filter(|_| call.kind == Kind::Tags) {
                let page = state.pages;
                state.pages += 1;
                change(page, &mut state.repositories);
            }
            state.get(&call, host).unwrap_or_else(|fault| fault)
        }
        _ => cors(405, "application/json", &json!({ "message": "The method is not allowed." }).to_string()),
    }
}

impl State {
    /// What is unexpected in a request.
    fn complaints_about(&self, seen: &Seen, call: Option<&Call>) -> Vec<String> {
        let mut found = Vec::new();
        let mut note = |what: String| found.push(what);
        let is_preflight = seen.method == "OPTIONS";
        let is_served = self.v2.is_some() && is_v2(&seen.path) && seen.method == "HEAD";
        if seen.method != "GET" && !is_preflight && !is_served {
            note("neither GET nor OPTIONS".to_owned());
        }
        for name in ["Authorization", "Cookie", "Proxy-Authorization"] {
            if seen.header(name).is_some() {
                note(format!("credentials that nobody asked for, in {name}"));
            }
        }
        match call {
            None if is_v2(&seen.path) && self.v2_allowed => {}
            None if is_v2(&seen.path) => note("a request of /v2".to_owned()),
            None => note("an unknown path".to_owned()),
            Some(call) => {
                let mut known = BTreeSet::new();
                for (name, value) in &call.query {
                    if !call.kind.parameters().contains(&name.as_str()) {
                        note(format!("an unknown parameter {name}"));
                    } else if !known.insert(name) {
                        note(format!("the parameter {name} twice"));
                    } else if name == "next_page" && !value.is_empty() && place(value).is_none() {
                        note(format!("a page that was never offered, {value}"));
                    }
                }
                if lacks_header(seen) && !self.missing_header_expected {
                    note("a browser without X-Requested-With".to_owned());
                }
            }
        }
        if is_preflight && !is_v2(&seen.path) {
            match seen.header("Access-Control-Request-Method") {
                Some("GET") => {}
                other => note(format!("a preflight for the method {other:?}")),
            }
            let headers = seen.header("Access-Control-Request-Headers").unwrap_or_default();
            for name in headers.split(',').map(str::trim).filter(|n| !n.is_empty()) {
                if !ALLOWED_HEADERS.split(", ").any(|allowed| allowed.eq_ignore_ascii_case(name)) {
                    note(format!("a preflight for the header {name}, which is not allowed"));
                }
            }
        }
        found
    }

    fn get(&self, call: &Call, host: &str) -> Result<Fault, Fault> {
        if call.kind == Kind::Repositories {
            return self.repositories(call, host);
        }
        let readable = self.repositories.iter().find(|r| r.path == call.path && r.public);
        let repository = readable.ok_or_else(|| error(401, "invalid_token", "Requires authentication", host))?;
        let manifest = || repository.alive(&call.digest, self.now).ok_or_else(|| error(404, "not_found", "Not Found", host));
        Ok(ok(&match call.kind {
            Kind::Repositories => unreachable!("it was answered above"),
            Kind::Repository => self.repository(call, repository),
            Kind::Tags => self.tags(call, repository)?,
            Kind::Manifest => manifest_json(manifest()?),
            Kind::Labels => {
                let added = repository.added.get(&call.digest).map_or(&[][..], Vec::as_slice);
                labels_json(manifest()?, added, call.text("filter").unwrap_or_default())
            }
        }))
    }

    /// Q1.
    fn repositories(&self, call: &Call, host: &str) -> Result<Fault, Fault> {
        let (namespace, is_public) = (call.text("namespace"), call.is_on("public", false));
        if namespace.is_none() && !is_public {
            let message = "namespace, starred or public are required for this API call";
            return Err(error(400, "invalid_request", message, host));
        }
        let is_kind = call.text("repo_kind").unwrap_or("image") == "image";
        let is_listed = |r: &&Repository| is_public && is_kind && r.public && namespace.is_none_or(|n| split(&r.path).0 == n);
        let all: Vec<&Repository> = self.repositories.iter().filter(is_listed).collect();
        // A token that Quay cannot read is the first page, as none is.
        let from = call.text("next_page").and_then(place).unwrap_or(0).min(all.len());
        let to = all.len().min(from + PAGE);
        let one = |r: &&Repository| {
            let (namespace, name) = split(&r.path);
            let mut one = json!({
                "namespace": namespace, "name": name, "description": null, "is_public": true, "kind": "image", "state": "NORMAL",
            });
            if call.is_on("last_modified", false) {
                one["last_modified"] = json!(r.active(self.now).first().map(|l| l.start_ts));
            }
            if call.is_on("popularity", false) {
                one["popularity"] = json!(0.0);
            }
            one
        };
        let mut body = json!({ "repositories": all[from..to].iter().map(one).collect::<Vec<_>>() });
        if to < all.len() {
            body["next_page"] = json!(token(to));
        }
        Ok(ok(&body))
    }

    /// Q2.
    fn repository(&self, call: &Call, repository: &Repository) -> Value {
        let (namespace, name) = split(&repository.path);
        let mut body = json!({
            "namespace": namespace, "name": name, "kind": "image", "description": null, "is_public": true,
            "is_organization": true, "is_starred": false, "status_token": "", "trust_enabled": false,
            "tag_expiration_s": repository.tag_expiration_s, "is_free_account": true, "state": repository.state,
            "can_write": false, "can_admin": false,
        });
        if call.is_on("includeTags", true) {
            // Its local time, called UTC.
            let local = |seconds: u64| date(seconds.saturating_add_signed(self.zone));
            let one = |period: &TagPeriod| {
                let mut tag = json!({
                    "name": period.name, "size": size(&repository.manifests[&period.digest]),
                    "last_modified": local(period.start_ts), "manifest_digest": period.digest,
                });
                if repository.undigested.contains(&period.name) {
                    tag.as_object_mut().expect("a map").remove("manifest_digest");
                }
                if let Some(end) = period.end_ts {
                    tag["expiration"] = json!(local(end));
                }
                (period.name.clone(), tag)
            };
            // For a tag that is active twice, the older row remains.
            let newest = repository.active(self.now).into_iter().take(NEWEST);
            body["tags"] = Value::Object(newest.map(one).collect());
        }
        body
    }

    /// Q3.
    fn tags(&self, call: &Call, repository: &Repository) -> Result<Value, Fault> {
        let (limit, page) = (call.number("limit", 50)?.min(100), call.number("page", 1)?);
        let filter = match call.text("filter_tag_name").map(|f| f.split_once(':')) {
            Some(None) => {
                let message = "Unsupported syntax for filter_tag_name. Expected <operation>:<tag_name>";
                return Err(refused(&json!({ "message": message })));
            }
            other => other.flatten(),
        };
        let is_named = |period: &&TagPeriod| {
            call.text("specificTag").is_none_or(|tag| period.name == tag)
                && match filter {
                    Some(("eq", name)) => period.name == name,
                    Some(("like", part)) => period.name.to_lowercase().contains(&part.to_lowercase()),
                    _ => true,
                }
        };
        let periods = match call.is_on("onlyActiveTags", false) {
            true => repository.active(self.now),
            false => repository.history(self.now),
        };
        let periods: Vec<&TagPeriod> = periods.into_iter().filter(is_named).collect();
        let from = limit.saturating_mul(page - 1).min(periods.len());
        let to = periods.len().min(from + limit);
        let one = |period: &&TagPeriod| {
            let mut tag = tag_json(period, &repository.manifests[&period.digest]);
            if repository.undigested.contains(&period.name) {
                tag.as_object_mut().expect("a map").remove("manifest_digest");
            }
            tag
        };
        let tags: Vec<Value> = periods[from..to].iter().map(one).collect();
        Ok(json!({ "tags": tags, "page": page, "has_additional": to < periods.len() }))
    }
}

impl State {
    /// What is below `/v2/`.
    fn v2(&self, seen: &Seen, host: &str) -> Fault {
        let Some(upstream) = self.v2 else { return challenge(host) };
        let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        let refusal = |code: &str, message: &str| {
            let error = json!({ "errors": [{ "code": code, "message": message, "detail": {} }] });
            Fault::bare(404, &[("Content-Type", "application/json")], &error.to_string())
        };
        let Some(rest) = path.strip_prefix("/v2/").filter(|rest| !rest.is_empty()) else {
            return Fault::bare(200, &[("Content-Type", "application/json")], "true");
        };
        let of = |name: &str| self.repositories.iter().find(|r| r.path == name && r.public);
        if let Some(name) = rest.strip_suffix("/tags/list") {
            let Some(repository) = of(name) else { return refusal("NAME_UNKNOWN", "repository name not known to registry") };
            return old_list(repository, self.now, query);
        }
        let (name, reference) = rest.split_once("/manifests/").unwrap_or((rest, ""));
        if let Some(status) = upstream {
            // The words of `registry_proxy_model.py`; a time-out has no status.
            let detail = match status {
                0 => "HTTPSConnectionPool(host='registry-1.docker.io', port=443): Read timed out.".to_owned(),
                status => status.to_string(),
            };
            let message = format!(
                "the requested image may not exist in the upstream registry, or the configured Quay organization credentials \
                 have insufficient rights to access it ({detail})"
            );
            return refusal("MANIFEST_UNKNOWN", &message);
        }
        let Some(repository) = of(name) else { return refusal("NAME_UNKNOWN", "repository name not known to registry") };
        let digest = repository.period(reference, self.now).map_or(reference, |period| &period.digest);
        match repository.manifest(digest) {
            Some(manifest) => {
                let headers = [("Content-Type", manifest.media), ("Docker-Content-Digest", manifest.digest.as_str())];
                Fault::bare(200, &headers, &manifest.text)
            }
            None => refusal("MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }
}

/// A list as Quay sent it up to 3.11. Anything that is not a token, `last=TAG` too, gives the first page.
fn old_list(repository: &Repository, now: u64, query: &str) -> Fault {
    let mut tags: Vec<&str> = Vec::new();
    for period in repository.periods.iter().filter(|l| l.is_active(now)) {
        if !tags.contains(&period.name.as_str()) {
            tags.push(&period.name);
        }
    }
    let query: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let value = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let from = value("next_page").or(value("last")).and_then(place).unwrap_or(0).min(tags.len());
    let to = tags.len().min(from + value("n").and_then(|n| n.parse().ok()).unwrap_or(50).clamp(1, 50));
    let body = json!({ "name": repository.path, "tags": tags[from..to] }).to_string();
    let token: String = form_urlencoded::byte_serialize(token(to).as_bytes()).collect();
    let link = format!("</v2/{}/tags/list?n=50&next_page={token}>; rel=\"next\"", repository.path);
    let headers = [("Content-Type", "application/json"), ("Link", link.as_str())];
    Fault::bare(200, &headers[..if to < tags.len() { 2 } else { 1 }], &body)
}

fn tag_json(period: &TagPeriod, manifest: &Manifest) -> Value {
    let mut tag = json!({
        "name": period.name, "reversion": period.reversion, "start_ts": period.start_ts, "manifest_digest": period.digest,
        "is_manifest_list": manifest.is_list(), "size": size(manifest), "last_modified": date(period.start_ts),
    });
    // A dead one has both too.
    if let Some(end) = period.end_ts {
        tag["end_ts"] = json!(end);
        tag["expiration"] = json!(date(end));
    }
    if manifest.is_list() {
        let count = manifest.children.len();
        tag["is_sparse"] = json!(false);
        tag["child_manifest_count"] = json!(count);
        tag["present_child_count"] = json!(count);
        tag["child_manifests_presence"] = manifest.children.iter().map(|c| (c.digest.clone(), json!(true))).collect();
    }
    tag
}

/// Q4.
fn manifest_json(manifest: &Manifest) -> Value {
    let (is_list, size) = (manifest.is_list(), size(manifest));
    let layer = |(index, command): (usize, &str)| {
        json!({
            "index": index, "compressed_size": size, "is_remote": false, "urls": null, "command": [command], "comment": null,
            "author": null, "blob_digest": digest(command), "created_datetime": date(manifest.created),
        })
    };
    let layers: Vec<Value> = ["ADD file:seed in /", "CMD [\"/bin/true\"]"].into_iter().enumerate().map(layer).collect();
    json!({
        "digest": manifest.digest, "is_manifest_list": is_list, "manifest_data": manifest.text,
        "config_media_type": (!is_list).then_some("application/vnd.oci.image.config.v1+json"),
        "layers_compressed_size": size, "layers": (!is_list).then_some(layers),
    })
}

/// Q5.
fn labels_json(manifest: &Manifest, added: &[(String, String)], prefix: &str) -> Value {
    let one = |(source, (key, value)): (&str, &(String, String))| {
        let is_json = serde_json::from_str::<Value>(value).is_ok_and(|v| v.is_object() || v.is_array());
        let id = &hex(&format!("{}{key}", manifest.digest))[..32];
        let media = if is_json { "application/json" } else { "text/plain" };
        json!({ "id": id, "key": key, "value": value, "source_type": source, "media_type": media })
    };
    let own = manifest.labels.iter().map(|label| ("manifest", label));
    let all = own.chain(added.iter().map(|label| ("api", label)));
    let labels: Vec<Value> = all.filter(|(_, (key, _))| key.starts_with(prefix)).map(one).collect();
    json!({ "labels": labels })
}

/// The sum of the layers; nobody sums those of an index.
fn size(manifest: &Manifest) -> Option<usize> {
    (!manifest.is_list()).then_some(manifest.text.len() * 1000)
}

/// An opaque token that says where the next page begins; unless percent-encoded, it comes back as another text.
fn token(place: usize) -> String {
    format!("g+A/{place}+x==")
}

fn place(token: &str) -> Option<usize> {
    token.strip_prefix("g+A/")?.strip_suffix("+x==")?.parse().ok()
}

/// Whether it is a browser's GET without the compulsory header.
fn lacks_header(seen: &Seen) -> bool {
    seen.method == "GET"
        && seen.header("User-Agent").is_some_and(|agent| agent.contains("Mozilla"))
        && seen.header("X-Requested-With") != Some("XMLHttpRequest")
}

fn is_v2(target: &str) -> bool {
    target.strip_prefix("/v2").is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

const ALLOWED_HEADERS: &str = "Authorization, Content-Type, X-Requested-With";

fn cors(status: u16, mime: &str, body: &str) -> Fault {
    let headers = [
        ("Content-Type", mime),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS, POST, DELETE, PUT"),
        ("Access-Control-Allow-Headers", ALLOWED_HEADERS),
        ("Access-Control-Max-Age", "21600"),
    ];
    Fault::bare(status, &headers, body)
}

fn ok(body: &Value) -> Fault {
    cors(200, "application/json", &body.to_string())
}

/// A 400 in a shape of its own, as the parts that Quay is made of give it.
fn refused(body: &Value) -> Fault {
    cors(400, "application/json", &body.to_string())
}

fn error(status: u16, kind: &str, message: &str, host: &str) -> Fault {
    let body = json!({
        "detail": message, "error_message": message, "error_type": kind, "title": kind,
        "type": format!("http://{host}/api/v1/error/{kind}"), "status": status,
    });
    cors(status, "application/json", &body.to_string())
}

/// What the web server before Quay answers: no page can read it.
fn throttled() -> Fault {
    let title = "429 Too Many Requests";
    let body = format!("<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n");
    Fault::bare(429, &[("Content-Type", "text/html")], &body)
}

fn challenge(host: &str) -> Fault {
    let bearer = format!("Bearer realm=\"http://{host}/v2/auth\",service=\"{host}\"");
    let headers = [
        ("Content-Type", "application/json"),
        ("Docker-Distribution-API-Version", "registry/2.0"),
        ("WWW-Authenticate", bearer.as_str()),
    ];
    let refusal =
        json!({ "code": "UNAUTHORIZED", "message": "access to the requested resource is not authorized", "detail": {} });
    Fault::bare(401, &headers, &json!({ "errors": [refusal] }).to_string())
}

// -- texts

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn descriptor(media: &str, content: &str) -> Value {
    json!({ "mediaType": media, "size": content.len(), "digest": digest(content) })
}

fn digest(content: &str) -> String {
    format!("sha256:{}", hex(content))
}

/// The sha256 of a text.
fn hex(content: &str) -> String {
    Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect()
}

fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

/// `Sat, 30 May 2026 00:49:16 -0000`: RFC 2822 as Python writes it.
fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds)).replace("GMT", "-0000")
}

fn real_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}
