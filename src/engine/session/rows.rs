//! The rows of a run, and which queries each waits for.

use crate::engine::registry::Query;
use crate::engine::resolve::Row;
use crate::engine::template::plan::Image;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// One entry an image, in the order of the list.
#[derive(Debug)]
pub(super) struct RowStates {
    pub(super) rows: Vec<Option<Arc<Row>>>,
    /// Rows that were not evaluated yet.
    pub(super) unevaluated: VecDeque<usize>,
    /// The images that wait for a query.
    waiting: HashMap<Query, Vec<usize>>,
    /// How many queries each image waits for; it is evaluated again when all are answered.
    pending: Vec<usize>,
}

impl RowStates {
    pub(super) fn new(images: &[Image]) -> Self {
        Self {
            rows: vec![None; images.len()],
            unevaluated: tag_by_tag(images),
            waiting: HashMap::new(),
            pending: vec![0; images.len()],
        }
    }

    /// Whether an image, or the caller, waits for a query.
    pub(super) fn is_wanted(&self, query: &Query) -> bool {
        self.waiting.contains_key(query)
    }

    /// Queries that are waited for.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Query> {
        self.waiting.keys()
    }

    /// Notes that the caller waits for a query, and no image.
    pub(super) fn want(&mut self, query: Query) {
        self.waiting.insert(query, Vec::new());
    }

    /// Notes that an image waits for a query. Returns whether none did.
    pub(super) fn wait(&mut self, image: usize, query: Query) -> bool {
        let waiting = self.waiting.entry(query).or_default();
        let is_new = waiting.is_empty();
        if waiting.last() != Some(&image) {
            waiting.push(image);
            self.pending[image] += 1;
        }
        is_new
    }

    /// Notes that a query is answered. Returns the images that wait for no other.
    pub(super) fn answered(&mut self, query: &Query) -> Vec<usize> {
        let mut images = self.waiting.remove(query).unwrap_or_default();
        images.retain(|i| {
            self.pending[*i] = self.pending[*i].saturating_sub(1);
            self.pending[*i] == 0
        });
        images
    }

    /// Drops the queries to a host. Returns them, and the images that waited for one.
    pub(super) fn drop_host(&mut self, host: &str) -> (Vec<Query>, Vec<usize>) {
        let queries: Vec<Query> = self.waiting.keys().filter(|query| query.host() == host).cloned().collect();
        let mut images = BTreeSet::new();
        for query in &queries {
            for i in self.waiting.remove(query).unwrap_or_default() {
                self.pending[i] = self.pending[i].saturating_sub(1);
                images.insert(i);
            }
        }
        (queries, images.into_iter().collect())
    }
}

/// The order in which images are evaluated: what a repository answers for one tag shows in which form to query the next.
fn tag_by_tag(images: &[Image]) -> VecDeque<usize> {
    let tag = |i: usize| images[i].reference.as_ref().map_or("", |r| &r.tag);
    let mut tags: Vec<&str> = Vec::new();
    let place = |i: usize| {
        tags.iter().position(|t| *t == tag(i)).unwrap_or_else(|| {
            tags.push(tag(i));
            tags.len() - 1
        })
    };
    let mut keyed: Vec<(usize, usize)> = (0..images.len()).map(place).zip(0..).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, i)| i).collect()
}
