//! Reads and writes the file; what is read is checked.

use serde::Deserialize;

use super::{Kept, PERIODS, Snapshot, VERSION};
use crate::engine::error::{Error, Kind, clean};
use crate::engine::image::digest::is_digest;
use crate::engine::image::reference::Reference;
use crate::engine::image::tag::{TagClass, is_tag};
use crate::engine::registry::http::LIST_LIMIT;
use crate::engine::registry::query::TagPeriod;
use crate::engine::time::Timestamp;
use crate::engine::url::is_host;

impl Snapshot {
    /// Reads a snapshot.
    ///
    /// # Errors
    /// What is not a snapshot, or one of a later version.
    pub fn read(text: &str, name: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Head {
            overtag_snapshot: u32,
        }
        let wrong = |message: String| Error::usage(message, name, "give a file that overtag snapshot wrote");
        let head: Head = serde_json::from_str(text).map_err(|e| wrong(format!("this is not a snapshot ({e})")))?;
        if head.overtag_snapshot != VERSION {
            let message =
                format!("the snapshot has version {}, but this overtag reads only version {VERSION}", head.overtag_snapshot);
            return Err(Error::usage(message, name, "read it with a newer overtag"));
        }
        let mut read: Self = serde_json::from_str(text).map_err(|e| wrong(format!("the snapshot is damaged ({e})")))?;
        let in_order = read.names.is_sorted_by(|a, b| a < b) && read.names.iter().all(|tag| is_tag(tag));
        let in_time = |at: &Timestamp| *at <= Timestamp::LATEST;
        let is_period = |period: &TagPeriod| {
            let is_hash = period.hash.as_deref().is_none_or(|hash| TagClass::of(hash).is_hash());
            is_hash && in_time(&period.start) && period.end.as_ref().is_none_or(in_time)
        };
        let is_sound = |(name, kept): (&String, &Kept)| {
            Reference::parse(name).is_ok_and(|r| r.digest.is_none() && r.repository.to_string() == *name)
                && kept.tags.keys().all(|tag| is_tag(tag) || is_digest(tag))
                && kept.list.iter().all(|i| read.names.get(*i).is_some_and(|tag| !kept.tags.contains_key(tag)))
                && kept.moved.iter().all(|(tag, at)| (is_tag(tag) || is_digest(tag)) && in_time(at))
                && kept.built.iter().all(|(digest, at)| is_digest(digest) && in_time(at))
                && kept.labels.keys().chain(kept.no_labels.keys()).all(|digest| is_digest(digest))
                && kept
                    .history
                    .iter()
                    .all(|(tag, periods)| is_tag(tag) && periods.len() <= PERIODS && periods.iter().all(is_period))
                && kept.history.values().all(|periods| periods.is_sorted_by(|a, b| a.start >= b.start))
        };
        let is_sound_head = read.fetched <= Timestamp::LATEST
            && [&read.tool, &read.link].into_iter().all(|text| clean(text) == *text)
            && read.plain_hosts.iter().all(|host| is_host(host));
        if !is_sound_head {
            return Err(wrong("the snapshot is damaged (at its head)".to_owned()));
        }
        read.repositories.values_mut().for_each(Kept::tidy);
        if let Some(place) = read.pipeline.as_mut().and_then(|pipeline| pipeline.tidy(Timestamp::LATEST)) {
            return Err(wrong(format!("the snapshot is damaged (at its pipeline, {place})")));
        }
        match read.repositories.iter().find(|entry| !is_sound(*entry)) {
            Some((place, _)) => Err(wrong(format!("the snapshot is damaged (at {})", clean(place)))),
            None if !in_order => Err(wrong("the snapshot is damaged (at its names)".to_owned())),
            None => Ok(Self { fetched_at: read.fetched.to_string(), ..read }),
        }
    }

    /// The file.
    ///
    /// # Errors
    /// It would be one that nobody reads, of more than [`LIST_LIMIT`] bytes.
    pub fn write(&self) -> Result<String, Error> {
        // Only maps with text keys and plain values: nothing in it can fail.
        let text = serde_json::to_string(self).map_or_else(|_| String::new(), |text| text + "\n");
        if text.len() <= LIST_LIMIT {
            return Ok(text);
        }
        let (is, most) = (text.len().div_ceil(1 << 20), LIST_LIMIT >> 20);
        let message = format!("the snapshot would have {is} MiB; overtag reads at most {most} MiB");
        Err(Error::new(
            Kind::Usage,
            message,
            "snapshot",
            "take a snapshot of fewer images, or start a new history (without --since)",
        ))
    }
}
