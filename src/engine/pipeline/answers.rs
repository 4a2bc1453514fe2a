//! What DLRN and Zuul answer, as far as it is of use.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Build, Promotion, Vote};
use crate::engine::error::clean;
use crate::engine::image::tag::{TagClass, is_tag};
use crate::engine::time::{Timestamp, iso};
use crate::engine::url;

fn number(value: &Value, key: &str) -> Option<u64> {
    let value = value.get(key)?;
    value.as_u64().or_else(|| value.as_f64().filter(|f| *f >= 0.0).map(|f| f as u64))
}

/// A text; DLRN writes `None` for none.
fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).filter(|t| *t != "None").unwrap_or("").to_owned()
}

fn objects<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    let list = value.as_array().or_else(|| value.get(key).and_then(Value::as_array));
    list.ok_or_else(|| "the response is not a list".to_owned())
}

/// Reads what `/api/promotions` answers, or a file of it: a list, or an object whose `promotions` are one. What has neither time nor
/// hash is not a promotion.
///
/// # Errors
/// A body that is not such JSON.
pub fn read_promotions(body: &str) -> Result<Vec<Promotion>, String> {
    let body: Value = serde_json::from_str(body).map_err(|_| "the response is not JSON".to_owned())?;
    let read = |p: &Value| {
        let (commit, distro, aggregate) = (text(p, "commit_hash"), text(p, "distro_hash"), text(p, "aggregate_hash"));
        let is_hash = |text: &String| TagClass::of(text).is_hash();
        let extended = text(p, "extended_hash");
        // Images are tagged with the whole hash; `repo_hash` leaves out what extends it.
        let made = || {
            let more = match (extended.get(..8), extended.get(41..49)) {
                (Some(first), Some(second)) => format!("_{first}_{second}"),
                (Some(first), None) => format!("_{first}"),
                (None, _) => String::new(),
            };
            Some(format!("{commit}_{}{more}", distro.get(..8)?))
        };
        let hash = [Some(aggregate.clone()), made(), Some(text(p, "repo_hash"))].into_iter().flatten().find(is_hash)?;
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let query = match (is_hash(&aggregate), commit.is_empty() || distro.is_empty()) {
            (true, _) => format!("aggregate_hash={aggregate}"),
            (false, true) => String::new(),
            (false, false) => {
                let more = if extended.is_empty() { String::new() } else { format!("&extended_hash={}", encoded(&extended)) };
                format!("commit_hash={}&distro_hash={}{more}", encoded(&commit), encoded(&distro))
            }
        };
        let (channel, mut url) = (text(p, "promote_name"), text(p, "repo_url"));
        if hash == aggregate {
            // What DLRN reports is where the one package is; the aggregate is beside the components, below its channel.
            let base = url.split_once("/component/").map(|(base, _)| base).or_else(|| url.rsplitn(4, '/').nth(3));
            url = base.map_or(String::new(), |base| format!("{base}/{channel}/{}/{}/{hash}/", &hash[..2], &hash[2..4]));
        }
        let url = url::web_link(&url).unwrap_or_default();
        is_tag(&channel).then_some(Promotion { at: Timestamp(number(p, "timestamp")?), channel, hash, query, url })
    };
    let rows = objects(&body, "promotions")?;
    // Of a batch of components only the last row names the aggregate (measured, 0.26.1); the others are parts of it, and no promotion
    // to a package's hash.
    let with_aggregate: BTreeSet<String> =
        rows.iter().filter(|r| !text(r, "aggregate_hash").is_empty()).map(|r| text(r, "promote_name")).collect();
    let is_part = |p: &&Value| {
        let own = text(p, "aggregate_hash");
        own.is_empty() && !text(p, "component").is_empty() && with_aggregate.contains(&text(p, "promote_name"))
    };
    Ok(rows.iter().filter(|p| !is_part(p)).filter_map(read).collect())
}

/// Reads what `/api/repo_status` and `/api/agg_status` answer; newest first.
///
/// # Errors
/// A body that is not such JSON.
pub fn read_votes(body: &str) -> Result<Vec<Vote>, String> {
    let body: Value = serde_json::from_str(body).map_err(|_| "the response is not JSON".to_owned())?;
    let flag = |v: &Value, key: &str| v.get(key).and_then(Value::as_bool).unwrap_or(false);
    let read = |v: &Value| {
        let job = clean(&text(v, "job_id"));
        let at = Timestamp(number(v, "timestamp")?);
        (!job.is_empty()).then(|| Vote {
            job,
            success: flag(v, "success"),
            running: flag(v, "in_progress"),
            at,
            url: url::web_link(&text(v, "url")).unwrap_or_default(),
        })
    };
    let mut votes: Vec<Vote> = objects(&body, "votes")?.iter().filter_map(read).collect();
    votes.sort_by(|a, b| (b.at, &a.job).cmp(&(a.at, &b.job)));
    Ok(votes)
}

/// Reads the newest of Zuul's builds.
///
/// # Errors
/// A body that is not such JSON.
pub fn read_build(body: &str) -> Result<Option<Build>, String> {
    let body: Value = serde_json::from_str(body).map_err(|_| "the response is not JSON".to_owned())?;
    let time = |b: &Value| ["end_time", "start_time"].iter().find_map(|key| iso(b.get(*key)?.as_str()?)).unwrap_or_default();
    let url = |b: &Value| url::web_link(&text(b, "log_url")).unwrap_or_default();
    let read = |b: &Value| Build { result: clean(&text(b, "result")), at: time(b), url: url(b) };
    Ok(objects(&body, "builds")?.first().map(read))
}
