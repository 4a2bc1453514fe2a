//! The one state of the page. Everything else is derived from it.

mod prepared;

use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;
use web_sys::HtmlInputElement;

pub use self::prepared::Prepared;

use crate::app::browser;
use crate::engine::board::timeline::Timeline;
use crate::engine::board::{Known, Stage};
use crate::engine::error::{Error, Location};
use crate::engine::options::definitions::{Choices, DEFINITIONS, Group, list};
use crate::engine::options::link;
use crate::engine::options::settings::{Settings, View};
use crate::engine::output::compare::Side;
use crate::engine::pipeline::Pipeline;
use crate::engine::registry::Dialect;
use crate::engine::registry::auth::Logins;
use crate::engine::resolve::Summary;
use crate::engine::session::LoginState;
use crate::engine::session::diagnosis::Cause;
use crate::engine::snapshot::Snapshot;
use crate::engine::template::Files;
use crate::engine::template::Source;
use crate::engine::template::plan::Image;
use crate::engine::time::Timestamp;
use crate::net::web::clock;

/// How far the work is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Phase {
    /// Something is asked, or about to be.
    #[default]
    Busy,
    /// All that can be known is known.
    Done,
    /// Nothing can be asked: this says why.
    Stuck(Error),
    /// These hosts are private, and the visitor did not allow them yet.
    Blocked(Vec<String>),
}

/// What is known of the images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// In the plan's order; of a board its cells, image by image.
    pub rows: Vec<Known>,
    /// What each channel of a board is.
    pub stages: Vec<Stage>,
    /// When they were promoted.
    pub timeline: Arc<Timeline>,
    /// What is known of the pipeline around the registry.
    pub pipeline: Arc<Pipeline>,
    /// What they say together.
    pub summary: Summary,
    /// How many of the rows are known, and while they are queried again, the new ones.
    pub known: usize,
    /// Requests that were sent.
    pub requests: usize,
    /// How long it took.
    pub took: Duration,
    /// When it ended.
    pub as_of: Timestamp,
    /// The host that is waited for, and how many seconds.
    pub waits: Option<(String, u64)>,
    /// Registries that this page cannot read, why, and by which API they were asked.
    pub unreadable: Vec<(String, Cause, Dialect)>,
    /// Registries that want a login.
    pub locked: Vec<(String, LoginState)>,
}

/// A snapshot, or what is wrong with it.
pub type Taken = Result<Arc<Snapshot>, Error>;

/// A template that was fetched from its address.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    /// The address.
    pub url: String,
    /// The template and what it includes.
    pub outcome: Result<Files, Error>,
}

/// The link that was opened, and how the address bar follows what is chosen.
#[derive(Clone, Copy, Default)]
pub struct Link {
    /// What is wrong with the link that was opened.
    pub notices: RwSignal<Vec<Error>>,
    /// Whether the link is of a later version, and nothing is made of it.
    pub refused: RwSignal<bool>,
    /// The choices without those that only concern the page, as they were when the typing last paused.
    pub selection: RwSignal<Choices>,
    typing: StoredValue<Option<&'static str>>,
    pause: StoredValue<Option<TimeoutHandle>>,
    /// A change of the address that is due.
    writing: StoredValue<Option<TimeoutHandle>>,
}

/// The files that were read.
#[derive(Clone, Copy, Default)]
pub struct ReadFiles {
    /// Files of the visitor's own.
    pub own: RwSignal<Files>,
    /// The template of the link's address.
    pub fetched: RwSignal<Option<Fetched>>,
    /// The snapshot of the link's address.
    pub fetched_snapshot: RwSignal<Option<(String, Taken)>>,
    /// Why the snapshot that is shown could not be read again.
    pub snapshot_trouble: RwSignal<Option<Error>>,
}

/// What is compared.
#[derive(Clone, Copy, Default)]
pub struct Comparison {
    /// An earlier snapshot to compare with, under its name.
    pub older: RwSignal<Option<(String, Taken)>>,
    /// Two files to compare.
    pub pair: RwSignal<[Option<Source>; 2]>,
    /// Both sides of a comparison, when they are known.
    pub sides: RwSignal<Option<Arc<[Side; 2]>>>,
    /// What From and To of comparisons made of the channels, and what these were before; the last one last.
    pub channels: StoredValue<Vec<(String, String)>>,
}

/// What the visitor opened and asked for on a board.
#[derive(Clone, Copy, Default)]
pub struct OnBoard {
    /// The cell that is open: its place among the rows.
    pub opened: RwSignal<Option<usize>>,
    /// Whether the history of tags is asked for, which costs requests.
    pub wants_history: RwSignal<bool>,
    /// Why the history could not be read, when it was asked for.
    pub history_trouble: RwSignal<Option<Error>>,
}

/// What the visitor gives leave to.
#[derive(Clone, Copy, Default)]
pub struct Leave {
    /// Logins, for the life of this page and no longer.
    pub logins: RwSignal<Logins>,
    /// Private hosts that may be asked.
    pub hosts: RwSignal<Vec<String>>,
    /// Whether files may be written with images in error.
    pub partial_files: RwSignal<bool>,
}

/// What goes on by itself on a screen that nobody touches.
#[derive(Clone, Copy, Default)]
pub struct Screen {
    /// Whether the frame was shown, so that work may begin.
    pub is_shown: RwSignal<bool>,
    /// Now, by the half minute: what is said to be so long ago stays true on a wall.
    pub now: RwSignal<Timestamp>,
    /// Whether what goes on, or went on last, was begun by the clock.
    pub by_clock: RwSignal<bool>,
}

/// All that the page knows. Copies share the same state.
#[derive(Clone, Copy)]
pub struct Store {
    /// What the visitor chose.
    pub choices: RwSignal<Choices>,
    /// What is asked for.
    pub prepared: Memo<Arc<Prepared>>,
    /// The snapshot that is read in place of registries: that of the visitor's own, or the link's; none while it is fetched.
    pub snapshot: Memo<Option<Taken>>,
    /// How far the work is.
    pub phase: RwSignal<Phase>,
    /// What is known.
    pub results: RwSignal<Results>,
    /// What was done last, to be said aloud.
    pub said: RwSignal<String>,
    /// The link that was opened.
    pub link: Link,
    /// The files that were read.
    pub files: ReadFiles,
    /// What is compared.
    pub comparison: Comparison,
    /// What was opened on a board.
    pub board: OnBoard,
    /// What the visitor gives leave to.
    pub leave: Leave,
    /// What goes on by itself.
    pub screen: Screen,
}

/// How long typing must pause before the template is rendered again: a key never waits for that.
const PAUSE: Duration = Duration::from_millis(150);
/// How often typing writes the address. Browsers leave it as it is, and say nothing to the page, when a page writes it more than
/// 200 times in 10 s (Chromium, <https://crbug.com/1038223>) or 100 times (Safari).
const WRITING: Duration = Duration::from_millis(150);

/// How often what is said to be so long ago is said again.
const TICK: Duration = Duration::from_secs(30);

/// The choices that decide what is asked.
fn selected(choices: &Choices) -> Choices {
    let mut selection = choices.clone();
    for d in DEFINITIONS.iter().filter(|d| d.group == Group::Page && !matches!(d.key, "view" | "against")) {
        selection.clear(d.key);
    }
    selection
}

impl Store {
    /// A store of what the address bar says.
    pub fn new() -> Self {
        let (link, files, comparison, screen) = (Link::default(), ReadFiles::default(), Comparison::default(), Screen::default());
        // The frame is shown before the first template is rendered: two short tasks in place of a long one.
        set_timeout(move || screen.is_shown.set(true), Duration::ZERO);
        screen.now.set(clock());
        set_interval(move || screen.now.set(clock()), TICK);
        let prepare = move |_: Option<&_>| Arc::new(Prepared::new(link, files, comparison, screen));
        let prepared = Memo::new_with_compare(prepare, |_, _| true);
        let snapshot = Memo::new(move |_| {
            let own = files.own.with(|f| f.snapshot.as_ref().map(|s| Snapshot::read(&s.text, &s.name).map(Arc::new)));
            own.or_else(|| {
                let url = prepared.with(|p| p.settings.snapshot.clone())?;
                files.fetched_snapshot.with(|f| f.as_ref().filter(|(of, _)| *of == url).map(|(_, taken)| taken.clone()))
            })
        });
        let store = Self {
            choices: RwSignal::default(),
            prepared,
            snapshot,
            phase: RwSignal::default(),
            results: RwSignal::default(),
            said: RwSignal::default(),
            link,
            files,
            comparison,
            board: OnBoard::default(),
            leave: Leave::default(),
            screen,
        };
        store.read_address();
        store
    }

    /// Takes what the address bar says.
    pub fn read_address(self) {
        let (choices, mut notices) = link::read(&browser::query());
        let refused = link::is_refused(&notices);
        notices.extend(Settings::new(&choices, false).1);
        self.link.typing.set_value(None);
        // The address is that of another step now.
        self.forget_writing();
        self.link.refused.set(refused);
        self.link.notices.set(notices);
        let is_other = self.is_pausing() || self.link.selection.with_untracked(|s| *s != selected(&choices));
        self.choices.set(choices);
        if is_other {
            self.settle();
        }
    }

    /// Whether something was typed that is not looked at yet.
    pub fn is_pausing(self) -> bool {
        self.link.pause.with_value(Option::is_some)
    }

    /// Changes the files of the visitor's own; what the link leaves out depends on them.
    pub fn set_files(self, change: impl FnOnce(&mut Files)) {
        self.files.own.update(change);
        self.write_address(false);
    }

    fn forget_writing(self) {
        if let Some(due) = self.link.writing.try_update_value(Option::take).flatten() {
            due.clear();
        }
    }

    fn write_address(self, is_new_step: bool) {
        self.forget_writing();
        let own = self.files.own.with_untracked(|f| f.template.is_some());
        let query = self.choices.with_untracked(|c| link::write(c, own));
        browser::set_query(&query, is_new_step);
    }

    /// Takes the choices as they are now for what is asked.
    fn settle(self) {
        if let Some(handle) = self.link.pause.get_value() {
            handle.clear();
            self.link.pause.set_value(None);
        }
        self.screen.by_clock.set(false);
        let selection = self.choices.with_untracked(selected);
        self.link.selection.set(selection);
    }

    /// Changes choices by a click: one step of the browser's history.
    pub fn choose(self, change: impl FnOnce(&mut Choices)) {
        self.change(None, change);
    }

    /// Changes a choice by typing: all of it is one step of the browser's history.
    pub fn type_in(self, key: &'static str, change: impl FnOnce(&mut Choices)) {
        self.change(Some(key), change);
    }

    fn change(self, key: Option<&'static str>, change: impl FnOnce(&mut Choices)) {
        let is_same = key.is_some() && self.link.typing.get_value() == key;
        self.link.typing.set_value(key);
        // The step that ends here keeps all that was typed in it.
        if !is_same && self.link.writing.with_value(Option::is_some) {
            self.write_address(false);
        }
        self.choices.update(change);
        if !is_same {
            self.write_address(true);
        } else if self.link.writing.with_value(Option::is_none) {
            self.link.writing.set_value(set_timeout_with_handle(move || self.write_address(false), WRITING).ok());
        }
        // What is written now is a link that this overtag reads.
        self.link.refused.set(false);
        self.link.notices.update(|n| n.retain(|n| !link::is_refused(std::slice::from_ref(n))));
        let choices = self.choices.get_untracked();
        let pause = self.link.pause.get_value();
        if pause.is_none() && self.link.selection.with_untracked(|s| *s == selected(&choices)) {
            return;
        }
        if key.is_none() {
            return self.settle();
        }
        // Work is under way from the first key on.
        self.phase.set(Phase::Busy);
        if let Some(handle) = pause {
            handle.clear();
        }
        self.link.pause.set_value(set_timeout_with_handle(move || self.settle(), PAUSE).ok());
    }

    /// Writes one value, or forgets it where it is what holds anyway.
    pub fn put(self, key: &'static str, value: String, typed: bool) {
        let write = move |c: &mut Choices| self.write(c, key, value);
        if typed { self.type_in(key, write) } else { self.choose(write) }
    }

    /// Writes a value among choices; what is the default anyway is not in a link.
    pub fn write(self, choices: &mut Choices, key: &'static str, value: String) {
        let own = self.files.own.with_untracked(|f| f.template.is_some());
        if choices.is_default(key, &value, own) { choices.clear(key) } else { choices.put(key, value) }
    }

    /// The channels as they were before two of them were set against each other; none where these were not.
    pub fn channels_before(self, choices: &Choices) -> Option<String> {
        let now = choices.value("channels", self.files.own.with_untracked(|f| f.template.is_some()));
        self.comparison.channels.with_value(|c| c.iter().rfind(|(made, _)| *made == now).map(|(_, before)| before.clone()))
    }

    /// The channels as they were set against each other last, where they are again what they were before.
    pub fn channels_compared(self, choices: &Choices) -> Option<String> {
        let now = choices.value("channels", self.files.own.with_untracked(|f| f.template.is_some()));
        self.comparison.channels.with_value(|c| c.last().filter(|(_, before)| *before == now).map(|(made, _)| made.clone()))
    }

    /// What is in force for a key.
    pub fn value(self, key: &'static str) -> Signal<String> {
        Signal::derive(move || {
            let own = self.files.own.with(|f| f.template.is_some());
            self.choices.with(|c| c.value(key, own))
        })
    }

    /// All values of a repeatable key.
    pub fn all(self, key: &'static str) -> Signal<Vec<String>> {
        Signal::derive(move || self.choices.with(|c| c.all(key).to_vec()))
    }

    /// What is wrong with a key.
    pub fn wrong(self, key: &'static str) -> Signal<Option<String>> {
        let location = Location::Choice(key.to_owned());
        Signal::derive(move || {
            let prepared = self.prepared.get();
            let wrong = prepared.wrong.iter().find(|e| e.location == location).map(|e| format!("{}: {}", e.message, e.hint));
            let of_plan = || match &prepared.plan {
                Some(Err(e)) if e.location == location => Some(format!("{}: {}", e.message, e.hint)),
                _ => None,
            };
            wrong.or_else(of_plan)
        })
    }

    /// The short name of row `i`, and its whole name.
    pub fn name(self, i: usize) -> Option<(String, String)> {
        self.prepared.with(|p| {
            let image = p.image(i)?;
            Some((image.short, image.imagename))
        })
    }

    /// What is asked for in row `i`.
    pub fn image(self, i: usize) -> Option<Image> {
        self.prepared.with(|p| p.image(i))
    }

    /// The time between automatic refreshes, where they are chosen.
    pub fn refresh_every(self) -> Option<Duration> {
        self.choices.with_untracked(|c| Settings::new(c, false).0.refresh)
    }

    /// The page that is shown.
    pub fn view(self) -> Signal<View> {
        Memo::new(move |_| self.prepared.with(|p| p.settings.view)).into()
    }

    /// What is read before there is anything to ask: the template, or the snapshot.
    pub fn reads(self) -> &'static str {
        let wants_snapshot = self.prepared.with(|p| p.plan.is_some() && p.settings.snapshot.is_some());
        if wants_snapshot && self.snapshot.with(Option::is_none) { "snapshot" } else { "template" }
    }

    /// Takes off what leaves images out.
    pub fn clear_filters(self) {
        self.choose(|c| {
            for key in ["role", "service", "include", "exclude"] {
                c.clear(key);
            }
        });
        self.set_files(|f| {
            f.roles = None;
            f.environments.clear();
        });
    }

    /// How a column is sorted, in ARIA's words.
    pub fn sorted(self, column: &str) -> Option<&'static str> {
        self.choices.with(|c| match c.get("sort") {
            Some(s) if s == column => Some("ascending"),
            Some(s) if s.strip_prefix('-') == Some(column) => Some("descending"),
            _ => None,
        })
    }

    /// Sorts by a column: up, down, not at all.
    pub fn sort(self, column: &'static str) {
        self.choose(move |c| match c.get("sort") {
            Some(s) if s == column => c.put("sort", format!("-{column}")),
            Some(s) if s.strip_prefix('-') == Some(column) => c.clear("sort"),
            _ => c.put("sort", column),
        });
    }

    /// Takes a word into the status filter, or out of it.
    pub fn toggle_status(self, word: &'static str) {
        self.choose(move |c| {
            let mut words: Vec<String> = list(c.get("status").unwrap_or("")).map(str::to_owned).collect();
            match words.iter().position(|w| w == word) {
                Some(i) => _ = words.remove(i),
                None => words.push(word.to_owned()),
            }
            if words.is_empty() { c.clear("status") } else { c.put("status", words.join(",")) }
        });
    }

    /// Reads the files that were picked, says so, and hands each on.
    pub fn pick(self, event: &leptos::ev::Event, take: impl Fn(Source) + 'static) {
        let input = event_target::<HtmlInputElement>(event);
        wasm_bindgen_futures::spawn_local(async move {
            for read in browser::read_files(&input).await {
                match read {
                    Ok(source) => {
                        self.said.set(format!("{} was read.", source.name));
                        take(source);
                    }
                    Err(why) => self.said.set(format!("{why}.")),
                }
            }
        });
    }

    /// Whether anything is under way.
    pub fn is_busy(self) -> bool {
        self.phase.with(|p| *p == Phase::Busy)
    }

    /// Takes a file of the visitor's own, and says what was done.
    pub fn take(self, read: Vec<Result<Source, String>>, put: impl Fn(&mut Files, Source)) {
        for source in read {
            match source {
                Ok(source) => {
                    self.said.set(format!("{} was read.", source.name));
                    self.set_files(|files| put(files, source));
                }
                Err(why) => self.said.set(format!("{why}.")),
            }
        }
    }
}
