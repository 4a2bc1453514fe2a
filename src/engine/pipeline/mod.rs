//! The pipeline around the registry: what DLRN promoted and which jobs voted, which jobs the promoter wants, what Zuul ran last.
//!
//! Three sources, each optional, each an address:
//!
//! * DLRN's API (<https://dlrn.readthedocs.io/en/latest/api.html>): `/api/promotions`, `/api/repo_status`, `/api/agg_status`. It
//!   sends no CORS header of its own, so a page reads it through a front that does, or from a snapshot. A file of promotions will
//!   do in its place.
//! * The promoter's file, as RDO's ci-config keeps them: `promotions: CHANNEL: {candidate_label, criteria, alternative_criteria}`.
//! * Zuul's API with its tenant, which browsers may read: `/builds?job_name=JOB`.
//!
//! [`Pipeline::next_fetches`] says what to fetch next, given what was fetched; the caller has the network. What could not be fetched
//! stays unknown and is reported; nothing is guessed.

mod answers;
mod criteria;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::engine::error::clean;
use crate::engine::image::tag::{TagClass, is_tag};
use crate::engine::options::settings::Settings;
use crate::engine::time::{CLOCKS_DIFFER, Timestamp, age};
use crate::engine::url;
use crate::engine::wording::short;
pub use answers::{read_build, read_promotions, read_votes};

/// Rows that DLRN gives at most for one question.
const PROMOTIONS: usize = 100;
/// Promotions that are kept at most.
const KEPT: usize = 1_000;
/// Channels of a promoter's file.
const CHANNELS: usize = 100;
/// Jobs whose builds Zuul is asked for at most.
const JOBS: usize = 40;

/// One promotion: from then on the channel pointed to the hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// When.
    pub at: Timestamp,
    /// The channel.
    pub channel: String,
    /// The hash by which images are tagged: the aggregate's, or the package's.
    pub hash: String,
    /// What DLRN is asked for its votes by.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// Where its repository is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// What a job reported for a hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The job.
    pub job: String,
    /// Whether it passed.
    pub success: bool,
    /// Whether it still runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub running: bool,
    /// When.
    pub at: Timestamp,
    /// Its log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// What a channel's candidate must pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Criteria {
    /// The channel whose hash is the candidate.
    pub candidate: String,
    /// The jobs, and for each the jobs that count in its place.
    pub jobs: Vec<(String, Vec<String>)>,
}

/// The last build of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// `SUCCESS`, `FAILURE`, …; empty while it runs.
    pub result: String,
    /// When it ended, or began.
    pub at: Timestamp,
    /// Its log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// What is known of the pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pipeline {
    /// Newest first.
    pub promotions: Vec<Promotion>,
    /// By hash, newest first.
    pub votes: BTreeMap<String, Vec<Vote>>,
    /// By channel.
    pub criteria: BTreeMap<String, Criteria>,
    /// By job; none where there is no build.
    pub builds: BTreeMap<String, Option<Build>>,
    /// Where DLRN's API is, and where the repositories are, as the promoter's file says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Where the repositories are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What was fetched, well or not.
    pub fetched: BTreeSet<String>,
    /// What could not be fetched, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<String, String>,
    /// What the author of the promoter's file should know about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

/// Something to be fetched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// Its address.
    pub url: String,
    answers: What,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Criteria,
    Promotions,
    Votes(String),
    Builds(String),
}

/// What stands between a channel's candidate and the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// Nobody reports it.
    Unknown {
        /// What is needed to know, as a sentence.
        message: String,
        /// The last builds of the jobs in Zuul, which does not say what they were run on.
        builds: Vec<Blocker>,
    },
    /// The candidate is what the channel points to already.
    InSync(String),
    /// The candidate, and what holds it.
    Held {
        /// The channel whose hash is the candidate.
        label: String,
        /// The candidate.
        hash: String,
        /// Jobs that passed, and jobs that must.
        passed: usize,
        /// Jobs that must.
        of: usize,
        /// One for each job that did not.
        blockers: Vec<Blocker>,
    },
}

/// Why a job holds a promotion; the order is the one in which blockers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockerKind {
    /// It failed.
    Failed,
    /// It has not reported.
    Missing,
    /// It is running.
    Running,
    /// It is only known how it ended last, whatever it ran on.
    Build,
}

impl BlockerKind {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Missing => "missing",
            Self::Running => "running",
            Self::Build => "build",
        }
    }
}

/// A job that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// The job.
    pub job: String,
    /// Why.
    pub kind: BlockerKind,
    /// What is the case, as a sentence.
    pub sentence: String,
    /// Where to look.
    pub url: Option<String>,
}

impl Want {
    /// The choice that its address comes from.
    pub fn key(&self) -> &'static str {
        match self.answers {
            What::Criteria => "criteria",
            What::Promotions | What::Votes(_) => "dlrn",
            What::Builds(_) => "zuul",
        }
    }
}

impl Pipeline {
    /// Whether any source of it is named.
    pub fn is_wanted(settings: &Settings) -> bool {
        settings.dlrn.is_some() || settings.criteria.is_some() || settings.zuul.is_some()
    }

    /// What is to be fetched next. `hash_of` is the hash that a channel's images point to, as far as that is known; until
    /// `is_settled` it may still change.
    pub fn next_fetches(&self, settings: &Settings, hash_of: &dyn Fn(&str) -> Option<String>, is_settled: bool) -> Vec<Want> {
        let mut out: BTreeSet<Want> = BTreeSet::new();
        if let Some(url) = &settings.criteria {
            out.insert(Want { url: url.clone(), answers: What::Criteria });
            if !self.fetched.contains(url) {
                return out.into_iter().collect();
            }
        }
        let api = settings.dlrn.as_ref().or(self.api.as_ref());
        let is_file = api.is_some_and(|api| api.ends_with(".json"));
        if let Some(api) = api {
            let api = api.trim_end_matches('/');
            if is_file {
                out.insert(Want { url: api.to_owned(), answers: What::Promotions });
            } else {
                let criteria = settings.channels.iter().filter_map(|channel| self.criteria.get(channel));
                let labels = criteria.map(|c| c.candidate.clone()).filter(|c| !c.is_empty());
                for channel in settings.channels.iter().cloned().chain(labels) {
                    let by = match TagClass::of(&channel) {
                        TagClass::Aggregate => "aggregate_hash",
                        TagClass::Moving => "promote_name",
                        // A package's hash is asked for by more than images are tagged with.
                        _ => continue,
                    };
                    let channel: String = form_urlencoded::byte_serialize(channel.as_bytes()).collect();
                    let url = format!("{api}/api/promotions?{by}={channel}&limit={PROMOTIONS}");
                    out.insert(Want { url, answers: What::Promotions });
                }
            }
            let has_promotions = out.iter().all(|w| self.fetched.contains(&w.url));
            if has_promotions && is_settled && !is_file {
                for channel in &settings.channels {
                    let Some((_, hash)) = self.candidate(settings, channel, hash_of) else { continue };
                    if hash_of(channel).as_ref() == Some(&hash) {
                        continue;
                    }
                    if let Some(query) = self.vote_query(&hash) {
                        let kind = if query.starts_with("aggregate") { "agg_status" } else { "repo_status" };
                        out.insert(Want { url: format!("{api}/api/{kind}?{query}"), answers: What::Votes(hash) });
                    }
                }
            }
        }
        if let Some(zuul) = settings.zuul.as_ref().filter(|_| is_settled && out.iter().all(|w| self.fetched.contains(&w.url))) {
            let mut jobs = BTreeSet::new();
            for channel in &settings.channels {
                match self.why_not(settings, channel, hash_of, Timestamp(0)) {
                    WhyNot::Held { blockers, .. } => jobs.extend(blockers.into_iter().map(|b| b.job)),
                    // Where no votes are known, all that is left to report is how the jobs ended last.
                    WhyNot::Unknown { .. } if self.candidate(settings, channel, hash_of).is_some() => {
                        jobs.extend(
                            self.criteria.get(channel).into_iter().flat_map(|c| c.jobs.iter().map(|(job, _)| job.clone())),
                        );
                    }
                    _ => {}
                }
            }
            for job in jobs.into_iter().take(JOBS) {
                let encoded: String = form_urlencoded::byte_serialize(job.as_bytes()).collect();
                let url = format!("{}/builds?job_name={encoded}&limit=1", zuul.trim_end_matches('/'));
                out.insert(Want { url, answers: What::Builds(job) });
            }
        }
        out.into_iter().filter(|w| !self.fetched.contains(&w.url)).collect()
    }

    /// Takes what was fetched, or why it could not be. `from` is the whole address that it was read from; empty for a file of the user's
    /// own, which may lead anywhere. What is later than `now` by more than clocks differ cannot be.
    pub fn take(&mut self, want: Want, from: &str, now: Timestamp, text: Result<String, String>) {
        let latest = now + CLOCKS_DIFFER;
        let outcome = text.and_then(|text| match &want.answers {
            What::Criteria => self.read_criteria(&want.url, from, &text),
            What::Promotions => read_promotions(&text).map(|new| self.add(new, latest, &want.url)),
            What::Votes(hash) => read_votes(&text).map(|mut votes| {
                self.in_time(votes.iter_mut().map(|vote| &mut vote.at), latest, &want.url);
                self.votes.insert(hash.clone(), votes);
            }),
            What::Builds(job) => read_build(&text).map(|mut build| {
                self.in_time(build.iter_mut().map(|build| &mut build.at), latest, &want.url);
                self.builds.insert(job.clone(), build);
            }),
        });
        if let Err(why) = outcome {
            self.failures.insert(clean(&want.url), clean(&why));
        }
        self.fetched.insert(want.url);
    }

    /// What was fetched may have changed: it is asked for again, but the promoter's file.
    pub fn refreshed(&self, settings: &Settings) -> Self {
        let criteria = settings.criteria.clone().filter(|url| self.fetched.contains(url) && !self.failures.contains_key(url));
        let mut new = Self { fetched: criteria.into_iter().collect(), ..Self::default() };
        if !new.fetched.is_empty() {
            (new.criteria, new.api, new.base) = (self.criteria.clone(), self.api.clone(), self.base.clone());
            new.notices.clone_from(&self.notices);
        }
        new
    }

    fn add(&mut self, mut new: Vec<Promotion>, latest: Timestamp, url: &str) {
        let late: Vec<String> = new.extract_if(.., |p| p.at > latest).map(|p| format!("{} at {}", p.channel, p.at)).collect();
        if let Some(first) = late.first() {
            let message = format!("{} promotions are later than the local clock and are ignored, the first: {first}", late.len());
            self.notices.push(clean(&format!("{message}: {url}: compare the clocks")));
        }
        if new.len() > KEPT {
            self.notices.push(clean(&format!("only the newest {KEPT} of {} promotions are read: {url}", new.len())));
        }
        self.promotions.extend(new);
        self.promotions.sort_by(|a, b| (b.at, &a.channel, &a.hash).cmp(&(a.at, &b.channel, &b.hash)));
        self.promotions.dedup_by(|a, b| (a.at, &a.channel, &a.hash) == (b.at, &b.channel, &b.hash));
        self.promotions.truncate(KEPT);
    }

    /// Less promotions that are later than `now`, as what a snapshot of the name `place` holds may be.
    #[must_use]
    pub fn up_to(mut self, now: Timestamp, place: &str) -> Self {
        let all = std::mem::take(&mut self.promotions);
        self.add(all, now + CLOCKS_DIFFER, place);
        self
    }

    /// Takes times that cannot be for the latest that can, and reports them.
    fn in_time<'t>(&mut self, times: impl Iterator<Item = &'t mut Timestamp>, latest: Timestamp, url: &str) {
        let late = times.filter(|at| **at > latest).map(|at| *at = latest).count();
        if late > 0 {
            self.notices.push(clean(&format!("{late} times are later than the local clock: {url}: compare the clocks")));
        }
    }

    /// What DLRN is asked by for the votes of a hash; of a package's hash it must have reported the whole.
    fn vote_query(&self, hash: &str) -> Option<String> {
        if TagClass::of(hash) == TagClass::Aggregate {
            return Some(format!("aggregate_hash={hash}"));
        }
        self.promotions.iter().find(|p| p.hash == hash && !p.query.is_empty()).map(|p| p.query.clone())
    }

    /// The channel whose hash is the candidate of `channel`, and that hash: on the registry or, where its images are not there, as
    /// DLRN promoted last.
    fn candidate(
        &self,
        settings: &Settings,
        channel: &str,
        hash_of: &dyn Fn(&str) -> Option<String>,
    ) -> Option<(String, String)> {
        let label = self.label(settings, channel)?;
        let promoted = || self.promotions.iter().find(|p| p.channel == label).map(|p| p.hash.clone());
        let hash = hash_of(&label).or_else(promoted)?;
        Some((label, hash))
    }

    /// The channel that a channel is promoted from: as the promoter's file says, or the one before it.
    fn label(&self, settings: &Settings, channel: &str) -> Option<String> {
        let reported = self.criteria.get(channel).map(|c| c.candidate.clone()).filter(|c| !c.is_empty());
        reported.or_else(|| {
            let at = settings.channels.iter().position(|c| c == channel)?;
            settings.channels.get(at.checked_sub(1)?).cloned()
        })
    }

    /// Why a channel is not at its candidate.
    pub fn why_not(
        &self,
        settings: &Settings,
        channel: &str,
        hash_of: &dyn Fn(&str) -> Option<String>,
        now: Timestamp,
    ) -> WhyNot {
        let unknown = |message: String| WhyNot::Unknown { message, builds: Vec::new() };
        let Some(criteria) = self.criteria.get(channel) else {
            return unknown(match self.criteria.is_empty() {
                false => format!("The promoter's file does not list {channel}."),
                true => "To see what blocks it, give the promoter's file (criteria=) and DLRN's API (dlrn=), or a snapshot that has them.".to_owned(),
            });
        };
        let Some((label, hash)) = self.candidate(settings, channel, hash_of) else {
            let label = self.label(settings, channel).unwrap_or_default();
            return unknown(format!("Its candidate is the hash that {label} points to, which is not known."));
        };
        if hash_of(channel).as_ref() == Some(&hash) {
            return WhyNot::InSync(label);
        }
        let Some(votes) = self.votes.get(&hash) else {
            let error = |part: &str| self.failures.iter().find(|(url, _)| url.contains(part));
            let error = error("_status?").or_else(|| error("/api/promotions")).map(|(url, why)| format!("{url}: {why}"));
            let message = error.unwrap_or_else(|| match self.vote_query(&hash) {
                Some(_) => "only DLRN's API (dlrn=) reports that, not a promotions file".to_owned(),
                None => "DLRN reported no promotion of this hash, so its votes cannot be queried".to_owned(),
            });
            let message = format!(
                "The candidate {} of {label} must pass {} job{}; which it passed is not known: {}.",
                short(&hash),
                criteria.jobs.len(),
                if criteria.jobs.len() == 1 { "" } else { "s" },
                clean(&message)
            );
            // What Zuul ran last may have been of any hash.
            let builds = criteria.jobs.iter().filter_map(|(job, _)| {
                let build = self.builds.get(job)?;
                let url = build.as_ref().and_then(|b| url::web_link(&b.url));
                let sentence = format!("{}: {}.", clean(job), last_build(build.as_ref(), now));
                Some(Blocker { job: job.clone(), kind: BlockerKind::Build, sentence, url })
            });
            return WhyNot::Unknown { message, builds: builds.collect() };
        };
        let (mut passed, mut blockers) = (0, Vec::new());
        for (job, others) in &criteria.jobs {
            let names = || std::iter::once(job).chain(others);
            // One success is enough, whatever the job did afterwards: that is how the promoter counts
            // (<https://github.com/rdo-infra/ci-config>, ci-scripts/dlrnapi_promoter).
            if votes.iter().any(|v| v.success && !v.running && names().any(|name| *name == v.job)) {
                passed += 1;
                continue;
            }
            let latest: Vec<&Vote> = names().filter_map(|name| votes.iter().find(|v| v.job == *name)).collect();
            blockers.push(self.blocker(job, &latest, &hash, now));
        }
        blockers.sort_by_key(|b: &Blocker| b.kind);
        WhyNot::Held { label, hash, passed, of: criteria.jobs.len(), blockers }
    }

    fn blocker(&self, job: &str, votes: &[&Vote], hash: &str, now: Timestamp) -> Blocker {
        let since = |at: Timestamp| age(now.since(at));
        let name = clean(job);
        let (kind, mut sentence, mut url) = match votes.iter().find(|v| v.running).or(votes.first()) {
            Some(vote) if vote.running => (
                BlockerKind::Running,
                format!("{name} has been running on {} for {}", short(hash), since(vote.at)),
                url::web_link(&vote.url),
            ),
            Some(vote) => (
                BlockerKind::Failed,
                format!("{name} failed on {} {} ago", short(hash), since(vote.at)),
                url::web_link(&vote.url),
            ),
            None => (BlockerKind::Missing, format!("{name} has not reported for {}", short(hash)), None),
        };
        if let Some(build) = self.builds.get(job) {
            sentence.push_str(&format!("; {}", last_build(build.as_ref(), now)));
            url = url.or_else(|| url::web_link(&build.as_ref()?.url));
        }
        Blocker { job: job.to_owned(), kind, sentence: sentence + ".", url }
    }

    /// Where the repository of a hash is: as DLRN reported, or by DLRN's rule below the base that the promoter's file names.
    pub fn repository(&self, channel: &str, hash: &str) -> Option<String> {
        let reported = self.promotions.iter().filter(|p| p.hash == hash).find_map(|p| url::web_link(&p.url));
        if reported.is_some() {
            return reported;
        }
        let base = self.base.as_ref()?.trim_end_matches('/');
        let parts = format!("{}/{}/{hash}", hash.get(..2)?, hash.get(2..4)?);
        let url = match TagClass::of(hash) {
            // Below its channel; where the hash itself was asked for it is not known which that is.
            TagClass::Aggregate if TagClass::of(channel) == TagClass::Moving => Some(format!("{base}/{channel}/{parts}/")),
            TagClass::Dlrn => Some(format!("{base}/{parts}/")),
            _ => None,
        };
        url.and_then(|url| url::web_link(&url))
    }

    /// Takes from what a snapshot holds of it texts and links as its sources give them, and says what they could not have said; nothing
    /// is later than `latest`.
    pub fn tidy(&mut self, latest: Timestamp) -> Option<&'static str> {
        let link = |url: &mut String| *url = url::web_link(url).unwrap_or_default();
        let text = |text: &mut String| *text = clean(text);
        self.promotions.truncate(KEPT);
        self.promotions.iter_mut().for_each(|p| link(&mut p.url));
        for vote in self.votes.values_mut().flatten() {
            text(&mut vote.job);
            link(&mut vote.url);
        }
        for build in self.builds.values_mut().flatten() {
            text(&mut build.result);
            link(&mut build.url);
        }
        for (job, others) in self.criteria.values_mut().flat_map(|c| &mut c.jobs) {
            text(job);
            others.iter_mut().for_each(text);
        }
        self.notices.iter_mut().for_each(text);
        self.failures = self.failures.iter().map(|(url, why)| (clean(url), clean(why))).collect();
        self.api = self.api.take().and_then(|url| url::web_link(&url));
        self.base = self.base.take().and_then(|url| url::web_link(&url));
        let is_hash = |hash: &String| TagClass::of(hash).is_hash();
        let is_query = |query: &String| query.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        let is_promotion = |p: &Promotion| p.at <= latest && is_tag(&p.channel) && is_hash(&p.hash) && is_query(&p.query);
        let is_criteria =
            |(channel, c): (&String, &Criteria)| is_tag(channel) && (c.candidate.is_empty() || is_tag(&c.candidate));
        let checks = [
            ("promotions", self.promotions.iter().all(is_promotion)),
            ("votes", self.votes.keys().all(is_hash) && self.votes.values().flatten().all(|vote| vote.at <= latest)),
            ("criteria", self.criteria.len() <= CHANNELS && self.criteria.iter().all(is_criteria)),
            ("builds", self.builds.values().flatten().all(|build| build.at <= latest)),
        ];
        checks.into_iter().find(|(_, is_sound)| !is_sound).map(|(name, _)| name)
    }
}

/// How a job ended last in Zuul, in words without a full stop.
fn last_build(build: Option<&Build>, now: Timestamp) -> String {
    let since = |at: Timestamp| age(now.since(at));
    match build {
        None => "Zuul has no build of it".to_owned(),
        Some(build) if build.result.is_empty() => format!("its last build in Zuul has been running for {}", since(build.at)),
        Some(build) => format!("its last build in Zuul ended in {} {} ago", clean(&build.result), since(build.at)),
    }
}
