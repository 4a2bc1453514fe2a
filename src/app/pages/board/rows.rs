//! The rows of the table: which pass search and filter, and which of them are in the document.

use std::collections::BTreeMap;
use std::time::Duration;

use leptos::prelude::*;

use crate::app::state::Store;
use crate::engine::board::{self, service};
use crate::engine::options::settings::WRONG;

/// Rows that are all in the document; of more only those near what is seen.
pub const WHOLE: usize = 200;

/// Rows that are drawn in one task.
const CHUNK: usize = 16;

/// Rows that are drawn above and below what is seen.
const MARGIN: usize = 8;

/// A line of the table.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// The images of a service: its name, and how many they are.
    Group(String, usize),
    /// An image: its place among the members.
    Image(usize),
}

/// The lines that pass search and filter, in order.
fn items(store: Store, embed: bool) -> Vec<Item> {
    let prepared = store.prepared.get();
    let Some(plan) = prepared.plan() else { return Vec::new() };
    let mut choices = store.choices.get();
    // While answers stream in the order would change under the reader's eyes.
    let streams = store.results.with(|r| r.rows.iter().any(Option::is_none));
    if streams && matches!(choices.get("sort"), Some(s) if !s.ends_with("image")) {
        choices.clear("sort");
    }
    if embed && choices.get("status").is_none() {
        choices.put("status", WRONG);
    }
    let order = store.results.with(|r| board::shown(&prepared.grid, plan, &r.rows, &choices));
    if choices.get("group") != Some("service") {
        return order.into_iter().map(Item::Image).collect();
    }
    let of = |m: &usize| service(&plan.images[prepared.grid.members[*m]].short).to_owned();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    order.iter().for_each(|m| *counts.entry(of(m)).or_default() += 1);
    let mut out = Vec::new();
    for m in order {
        if let Some((name, count)) = counts.remove_entry(&of(&m)) {
            out.push(Item::Group(name, count));
        }
        out.push(Item::Image(m));
    }
    out
}

/// The rows that are in the document.
#[derive(PartialEq)]
struct Drawn {
    /// Other rows of the same places are other rows.
    generation: u64,
    rows: Vec<Item>,
}

/// Up to [`WHOLE`] rows are all in the document, drawn in short tasks; of more only those that are near.
#[derive(Clone, Copy)]
pub struct Rows {
    /// All that pass search and filter.
    pub lines: Memo<Vec<Item>>,
    /// Whether not all are in the document.
    pub is_long: Memo<bool>,
    /// From which to which they are near what is seen.
    range: Memo<(usize, usize)>,
    drawn: Memo<Drawn>,
}

impl Rows {
    /// `seen` is the first row that is seen, and how many are.
    pub fn new(store: Store, embed: bool, seen: RwSignal<(usize, usize)>) -> Self {
        let lines = Memo::new(move |_| items(store, embed));
        let range = Memo::new(move |_| {
            let all = lines.with(Vec::len);
            if all <= WHOLE {
                return (0, all);
            }
            let (first, n) = seen.get();
            let first = first.saturating_sub(MARGIN).min(all.saturating_sub(n));
            (first, (first + n + 2 * MARGIN).min(all))
        });
        let near = move || lines.with(|l| l[range.get().0.min(l.len())..range.get().1.min(l.len())].to_vec());
        let generation = generation(store);
        // In steps, of which each adds so many rows and no more: what is there stays.
        let step = RwSignal::new(0_u32);
        let drawn = Memo::new(move |old: Option<&Drawn>| {
            step.track();
            let (generation, mut rows) = (generation.with(|g| g.0), near());
            let mut left = CHUNK;
            rows.retain(|item| {
                let is_there = old.is_some_and(|old| old.generation == generation && old.rows.contains(item));
                let is_new = !is_there && left > 0;
                left -= usize::from(is_new);
                is_there || is_new
            });
            Drawn { generation, rows }
        });
        Effect::new(move |_| {
            if drawn.with(|d| d.rows.len()) < near().len() {
                set_timeout(move || _ = step.try_update(|n| *n += 1), Duration::ZERO);
            }
        });
        Self { lines, is_long: Memo::new(move |_| lines.with(Vec::len) > WHOLE), range, drawn }
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.lines.with(Vec::len)
    }

    /// Those that are drawn. Other rows of the same places have other keys.
    pub fn drawn(self) -> Vec<(u64, Item)> {
        self.drawn.with(|d| d.rows.iter().map(|item| (d.generation, item.clone())).collect())
    }

    /// How many are left out before those that are drawn.
    pub fn before(self) -> usize {
        self.range.get().0
    }

    /// How many are left out, or not drawn yet, after them.
    pub fn after(self) -> usize {
        self.len().saturating_sub(self.before() + self.drawn.with(|d| d.rows.len()))
    }

    /// Where not all rows are in the document, which one a row is.
    pub fn place(self, item: &Item) -> Option<String> {
        let at = self.lines.with(|l| (l.len() > WHOLE).then(|| l.iter().position(|i| i == item)).flatten());
        at.map(|at| (at + 2).to_string())
    }
}

/// Counts how often the rows became other rows, with what they are of.
fn generation(store: Store) -> Memo<(u64, usize, Vec<String>)> {
    Memo::new(move |before: Option<&(u64, usize, Vec<String>)>| {
        let (width, names) = store.prepared.with(|p| {
            let names =
                p.plan().map_or_else(Vec::new, |plan| p.grid.members.iter().map(|m| plan.images[*m].imagename.clone()).collect());
            (p.grid.channels.len(), names)
        });
        match before {
            Some((n, old_width, old)) if *old == names && *old_width == width => (*n, width, names),
            Some((n, ..)) => (n + 1, width, names),
            None => (0, width, names),
        }
    })
}
