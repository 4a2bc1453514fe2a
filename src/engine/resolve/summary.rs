//! What rows say together.

use super::Resolver;
use super::row::{Absence, Note, Row, Status};
use crate::engine::time::Timestamp;
use std::sync::Arc;

/// What the rows say together: plain data. How many rows of each status and note there are, and what most of the channel's images share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Images that were asked for.
    pub asked: usize,
    /// Rows of each status, and those that have none yet.
    pub resolved: usize,
    /// The registry said that they are not there.
    pub absent: usize,
    /// Those of them that have no public repository: missing, or private.
    pub no_public_repository: usize,
    /// There, but not pinned.
    pub unresolved: usize,
    /// Not found out.
    pub error: usize,
    /// Not answered yet.
    pub waiting: usize,
    /// Rows that bear the note.
    pub torn: usize,
    /// Rows that bear the note.
    pub mismatch: usize,
    /// The hash that most of the channel's images point to.
    pub hash: Option<String>,
    /// How many of them do.
    pub at_hash: usize,
    /// How many images have the channel's tag in their name.
    pub in_channel: usize,
    /// When the last of the images at that hash was moved there, where the registry reports it.
    pub moved_at: Option<Timestamp>,
}

/// Marks torn rows and counts. `rows` are in the order of the images; those not known yet are none.
pub fn summarize(resolver: &Resolver, rows: &[Option<Arc<Row>>]) -> (Vec<Option<Arc<Row>>>, Summary) {
    let mut rows = rows.to_vec();
    for row in rows.iter_mut().flatten().filter(|r| r.notes.contains(&Note::Torn)) {
        Arc::make_mut(row).notes.retain(|n| *n != Note::Torn);
    }
    for members in resolver.channels.values() {
        let Some(hash) = majority_hash(members.iter().filter_map(|i| rows[*i].as_deref())) else { continue };
        for &i in members {
            let Some(row) = &mut rows[i] else { continue };
            // An image that two builds left as it is points to both; it is shown with the one that the others have too.
            if row.hash.as_deref() != Some(&hash) && row.points_to(&hash) == Some(true) {
                Arc::make_mut(row).hash = Some(hash.clone());
            }
            // Its own tag of the majority hash decides; without one, another hash of its own.
            let is_other = match row.points_to(&hash) {
                Some(does) => !does,
                None => row.hash.is_some(),
            };
            if is_other {
                Arc::make_mut(row).notes.insert(0, Note::Torn);
            }
        }
    }
    let tag = resolver.settings.tag();
    let in_channel = |i: &usize| resolver.images[*i].reference.as_ref().is_ok_and(|r| r.tag == tag);
    let members: Vec<usize> = (0..rows.len()).filter(in_channel).collect();
    let majority_hash = majority_hash(members.iter().filter_map(|i| rows[*i].as_deref()));
    let count = |is: &dyn Fn(&Row) -> bool| rows.iter().flatten().filter(|r| is(r)).count();
    let summary = Summary {
        asked: rows.len(),
        resolved: count(&|r| r.status == Status::Resolved),
        absent: count(&|r| r.status == Status::Absent),
        no_public_repository: count(&|r| r.absence == Some(Absence::NoPublicRepository)),
        unresolved: count(&|r| r.status == Status::Unresolved),
        error: count(&|r| r.status == Status::Error),
        waiting: rows.iter().filter(|r| r.is_none()).count(),
        torn: count(&|r| r.notes.contains(&Note::Torn)),
        mismatch: count(&|r| r.notes.contains(&Note::Mismatch)),
        at_hash: majority_hash.as_ref().map_or(0, |hash| {
            members.iter().filter(|i| rows[**i].as_ref().is_some_and(|r| r.points_to(hash) == Some(true))).count()
        }),
        moved_at: majority_hash.as_ref().and_then(|hash| {
            members.iter().filter_map(|i| rows[*i].as_ref().filter(|r| r.points_to(hash) == Some(true))?.moved_at).max()
        }),
        hash: majority_hash,
        in_channel: members.len(),
    };
    (rows, summary)
}

/// The hash that most rows point to; of equals the one that more of them report, and then the first.
pub fn majority_hash<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<String> {
    let rows: Vec<&Row> = rows.collect();
    let mut reported: Vec<(&str, usize)> = Vec::new();
    for hash in rows.iter().filter_map(|row| row.hash.as_deref()) {
        match reported.iter_mut().find(|(h, _)| *h == hash) {
            Some((_, n)) => *n += 1,
            None => reported.push((hash, 1)),
        }
    }
    // No more than a few can be the one.
    reported.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    reported.truncate(8);
    let stand_for = |hash: &str| rows.iter().filter(|row| row.points_to(hash) == Some(true)).count();
    // The last of equals is the greatest; so the first comes last.
    reported.into_iter().rev().max_by_key(|(hash, n)| (stand_for(hash), *n)).map(|(hash, _)| hash.to_owned())
}
