//! What DLRN and Zuul answer, as far as it is of use.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Build, Promotion, Vote};
use crate::engine::error::clean;
use crate::engine::image::tag::{TagClass, is_tag};
use crate::engine::json::{FromJson, shape};
use crate::engine::time::{Timestamp, iso};
use crate::engine::url;

shape! {
    /// A row of `/api/promotions` (<https://dlrn.readthedocs.io/en/latest/api.html>). Where there is none DLRN writes `None`.
    struct PromotionRow {
        /// Seconds since 1970, with or without a fraction.
        timestamp: f64 = "timestamp",
        /// The channel.
        promote_name: String = "promote_name",
        /// The hash of the aggregate; in a batch of components in the last row alone.
        aggregate_hash: String = "aggregate_hash",
        /// The package's commit: 40 digits.
        commit_hash: String = "commit_hash",
        /// The commit of its distgit: 40 digits, of which tags have eight.
        distro_hash: String = "distro_hash",
        /// What extends it: 40 digits, `_`, 40 digits.
        extended_hash: String = "extended_hash",
        /// `COMMIT_DISTRO`, without what extends it.
        repo_hash: String = "repo_hash",
        /// Where the package's repository is.
        repo_url: String = "repo_url",
        /// The component of the package.
        component: String = "component",
    }
}

shape! {
    /// A row of `/api/repo_status` or `/api/agg_status`.
    struct VoteRow {
        job_id: String = "job_id",
        success: bool = "success",
        in_progress: bool = "in_progress",
        /// Seconds since 1970, with or without a fraction.
        timestamp: f64 = "timestamp",
        /// The log.
        url: String = "url",
    }
}

shape! {
    /// A row of Zuul's `/builds` (<https://zuul-ci.org/docs/zuul/latest/rest-api.html>). Times are UTC: `2017-05-30T00:49:16`.
    struct BuildRow {
        /// `SUCCESS`, `FAILURE`, …; null while it runs.
        result: String = "result",
        start_time: String = "start_time",
        end_time: String = "end_time",
        log_url: String = "log_url",
    }
}

fn timestamp(seconds: Option<f64>) -> Option<Timestamp> {
    seconds.filter(|seconds| *seconds >= 0.0).map(|seconds| Timestamp(seconds as u64))
}

fn text(text: &Option<String>) -> &str {
    text.as_deref().filter(|text| *text != "None").unwrap_or("")
}

/// Reads the rows of a list, or of the list that an object has under `key`.
fn rows<T: Default + FromJson>(body: &str, key: &str) -> Result<Vec<T>, String> {
    let body: Value = serde_json::from_str(body).map_err(|_| "the response is not JSON".to_owned())?;
    let list = match body {
        Value::Object(mut body) => body.remove(key),
        other => Some(other),
    };
    list.and_then(FromJson::from_json).ok_or_else(|| "the response is not a list".to_owned())
}

impl PromotionRow {
    /// Returns the promotion, or `None` where there is no time or no hash.
    fn read(&self) -> Option<Promotion> {
        let (commit, distro, aggregate) = (text(&self.commit_hash), text(&self.distro_hash), text(&self.aggregate_hash));
        let is_hash = |text: &str| TagClass::of(text).is_hash();
        let extended = text(&self.extended_hash);
        // Images are tagged with the whole hash; `repo_hash` leaves out what extends it.
        let made = || {
            let more = match (extended.get(..8), extended.get(41..49)) {
                (Some(first), Some(second)) => format!("_{first}_{second}"),
                (Some(first), None) => format!("_{first}"),
                (None, _) => String::new(),
            };
            Some(format!("{commit}_{}{more}", distro.get(..8)?))
        };
        let hashes = [Some(aggregate.to_owned()), made(), Some(text(&self.repo_hash).to_owned())];
        let hash = hashes.into_iter().flatten().find(|hash| is_hash(hash))?;
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let query = match (is_hash(aggregate), commit.is_empty() || distro.is_empty()) {
            (true, _) => format!("aggregate_hash={aggregate}"),
            (false, true) => String::new(),
            (false, false) => {
                let more = if extended.is_empty() { String::new() } else { format!("&extended_hash={}", encoded(extended)) };
                format!("commit_hash={}&distro_hash={}{more}", encoded(commit), encoded(distro))
            }
        };
        let (channel, mut url) = (text(&self.promote_name).to_owned(), text(&self.repo_url).to_owned());
        if hash == aggregate {
            // What DLRN reports is where the one package is; the aggregate is beside the components, below its channel.
            let base = url.split_once("/component/").map(|(base, _)| base).or_else(|| url.rsplitn(4, '/').nth(3));
            url = base.map_or(String::new(), |base| format!("{base}/{channel}/{}/{}/{hash}/", &hash[..2], &hash[2..4]));
        }
        let url = url::web_link(&url).unwrap_or_default();
        is_tag(&channel).then_some(Promotion { at: timestamp(self.timestamp)?, channel, hash, query, url })
    }
}

/// Reads what `/api/promotions` answers, or a file of it: a list, or an object whose `promotions` are one. What has neither time nor
/// hash is not a promotion.
///
/// # Errors
/// A body that is not such JSON.
pub fn read_promotions(body: &str) -> Result<Vec<Promotion>, String> {
    let rows: Vec<PromotionRow> = rows(body, "promotions")?;
    // Of a batch of components only the last row names the aggregate (measured, 0.26.1); the others are parts of it, and no promotion
    // to a package's hash.
    let with_aggregate: BTreeSet<&str> =
        rows.iter().filter(|r| !text(&r.aggregate_hash).is_empty()).map(|r| text(&r.promote_name)).collect();
    let is_part = |row: &&PromotionRow| {
        let has_aggregate = !text(&row.aggregate_hash).is_empty();
        !has_aggregate && !text(&row.component).is_empty() && with_aggregate.contains(text(&row.promote_name))
    };
    Ok(rows.iter().filter(|row| !is_part(row)).filter_map(PromotionRow::read).collect())
}

/// Reads what `/api/repo_status` and `/api/agg_status` answer; newest first.
///
/// # Errors
/// A body that is not such JSON.
pub fn read_votes(body: &str) -> Result<Vec<Vote>, String> {
    let read = |row: VoteRow| {
        let job = clean(text(&row.job_id));
        let at = timestamp(row.timestamp)?;
        (!job.is_empty()).then(|| Vote {
            job,
            success: row.success.unwrap_or(false),
            running: row.in_progress.unwrap_or(false),
            at,
            url: url::web_link(text(&row.url)).unwrap_or_default(),
        })
    };
    let mut votes: Vec<Vote> = rows(body, "votes")?.into_iter().filter_map(read).collect();
    votes.sort_by(|a, b| (b.at, &a.job).cmp(&(a.at, &b.job)));
    Ok(votes)
}

/// Reads the newest of Zuul's builds.
///
/// # Errors
/// A body that is not such JSON.
pub fn read_build(body: &str) -> Result<Option<Build>, String> {
    let read = |row: BuildRow| Build {
        result: clean(text(&row.result)),
        at: [&row.end_time, &row.start_time].into_iter().find_map(|time| iso(time.as_ref()?)).unwrap_or_default(),
        url: url::web_link(text(&row.log_url)).unwrap_or_default(),
    };
    Ok(rows(body, "builds")?.into_iter().next().map(read))
}
