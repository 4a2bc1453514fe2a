//! The board for who has no page: a table, JSON, and an SVG for a chat or a README.

use serde_json::{Value, json};

use crate::engine::board::timeline::{Event, Timeline};
use crate::engine::board::{Grid, Known, Lateness, Stage, State, is_wrong, mark, service, shown, text};
use crate::engine::error::clean;
use crate::engine::options::definitions::Choices;
use crate::engine::options::settings::Settings;
use crate::engine::pipeline::{Blocker, Pipeline, WhyNot};
use crate::engine::template::plan::Plan;
use crate::engine::time::Timestamp;
use crate::engine::wording::short;

/// All that a board says.
#[derive(Clone, Copy, Debug)]
pub struct BoardReport<'a> {
    /// What was chosen, checked.
    pub settings: &'a Settings,
    /// As it was written, for search, filter and order.
    pub choices: &'a Choices,
    /// What was asked.
    pub plan: &'a Plan,
    /// Which images, in which channels.
    pub grid: &'a Grid,
    /// The cells.
    pub rows: &'a [Known],
    /// What each channel is.
    pub stages: &'a [Stage],
    /// When they were promoted.
    pub timeline: &'a Timeline,
    /// What is known of the pipeline.
    pub pipeline: &'a Pipeline,
    /// Requests that were sent to registries.
    pub requests: usize,
    /// When the registries were asked.
    pub as_of: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// The hash that the images of a channel point to.
pub fn hash_of(stages: &[Stage], channel: &str) -> Option<String> {
    stages.iter().find(|s| s.channel == channel)?.hash.clone()
}

impl BoardReport<'_> {
    /// Why a channel is not at its candidate.
    pub fn why_not(&self, channel: &str) -> WhyNot {
        self.pipeline.why_not(self.settings, channel, &|c| hash_of(self.stages, c), self.now)
    }

    fn has_pipeline(&self) -> bool {
        Pipeline::is_wanted(self.settings) || *self.pipeline != Pipeline::default()
    }

    /// When a channel was promoted and how it stands to the one before it, in words; empty where neither is known.
    pub fn age_of(&self, stage: &Stage) -> String {
        let mut parts = Vec::new();
        if let Some((_, since)) = stage.since(self.now) {
            let late = stage.lateness(self.now, self.settings.late).and_then(Lateness::word);
            let late = late.map_or(String::new(), |word| format!(" ({word})"));
            parts.push(format!("{since}{late}"));
        }
        parts.extend(stage.lag.as_ref().map(|lag| lag.sentence(self.now)));
        parts.join(", ")
    }

    fn cells(&self, m: usize) -> &[Known] {
        let width = self.grid.channels.len();
        self.rows.get(m * width..(m + 1) * width).unwrap_or(&[])
    }

    fn short(&self, m: usize) -> String {
        clean(&self.plan.images[self.grid.members[m]].short)
    }

    /// Lines for a terminal: the channels, then the rows that pass search and filter, then what is known beyond.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let widest = self.grid.channels.iter().map(String::len).max().unwrap_or(0);
        for stage in self.stages {
            let more = self.age_of(stage);
            let more = if more.is_empty() { String::new() } else { format!(" ({more})") };
            out.push_str(&format!("{:widest$}  {}{more}\n", stage.channel, stage.sentence()));
        }
        let order = shown(self.grid, self.plan, self.rows, self.choices);
        let cell = |row: &Known| {
            let notes = row.iter().flat_map(|r| &r.notes).map(|n| format!(" {}", n.word()));
            format!("{}{}", text(row.as_deref()), notes.collect::<String>())
        };
        let mut lines: Vec<Vec<String>> = vec![std::iter::once("IMAGE".to_owned()).chain(self.grid.channels.clone()).collect()];
        lines.extend(order.iter().map(|m| std::iter::once(self.short(*m)).chain(self.cells(*m).iter().map(cell)).collect()));
        let widths: Vec<usize> =
            (0..=self.grid.channels.len()).map(|c| lines.iter().map(|l| l[c].len()).max().unwrap_or(0)).collect();
        if !order.is_empty() {
            out.push('\n');
            for line in lines {
                let padded: Vec<String> = line.iter().zip(&widths).map(|(text, width)| format!("{text:width$}")).collect();
                out.push_str(padded.join("  ").trim_end());
                out.push('\n');
            }
        }
        if !self.timeline.events.is_empty() {
            out.push_str("\nPromotions, newest first\n");
            for event in &self.timeline.events {
                let images = event.images.map_or("reported by DLRN".to_owned(), |(n, of)| format!("{n} of {of} images"));
                let earlier = if event.or_earlier { ", or earlier" } else { "" };
                let back = if event.is_rollback { ", rolled back" } else { "" };
                out.push_str(&format!(
                    "{}  {:widest$}  {}  {images}{earlier}{back}\n",
                    event.first,
                    event.channel,
                    clean(&event.hash)
                ));
            }
            if let Some(horizon) = self.timeline.horizon {
                out.push_str(&format!("{}  nothing older is kept\n", horizon));
            }
        }
        if self.has_pipeline() {
            out.push_str("\nPromotion blockers\n");
            for stage in self.stages {
                out.push_str(&format!("{}\n", self.why_lines(&stage.channel).join("\n")));
            }
            for notice in &self.pipeline.notices {
                out.push_str(&format!("{}\n", clean(notice)));
            }
            for (url, why) in &self.pipeline.failures {
                out.push_str(&format!("could not be read: {}: {}\n", clean(url), clean(why)));
            }
        }
        if !self.grid.others.is_empty() {
            out.push_str("\nNot on the board\n");
            for (name, why) in &self.grid.others {
                out.push_str(&format!("{}: {}\n", clean(name), clean(why)));
            }
        }
        out
    }

    fn why_lines(&self, channel: &str) -> Vec<String> {
        let line = |b: Blocker| {
            let url = b.url.map_or(String::new(), |url| format!(" {}", clean(&url)));
            format!("  {}{url}", b.sentence)
        };
        match self.why_not(channel) {
            WhyNot::Unknown { message, builds } => {
                let mut lines = vec![format!("{channel}: {}", clean(&message))];
                lines.extend(builds.into_iter().map(line));
                lines
            }
            WhyNot::InSync(label) => vec![format!("{channel}: No blockers: in sync with {label}.")],
            WhyNot::Held { label, hash, passed, of, blockers } => {
                let mut lines = vec![format!("{channel}: {passed} of {of} jobs passed for {} of {label}.", short(&hash))];
                lines.extend(blockers.into_iter().map(line));
                lines
            }
        }
    }

    /// One object: `as_of`, `channels`, `images`, `others`, `promotions`, `horizon`, `requests`. Times are seconds since 1970.
    pub fn json(&self) -> String {
        let order = shown(self.grid, self.plan, self.rows, self.choices);
        let board = json!({
            "as_of": self.as_of,
            "channels": self.stages.iter().map(|stage| self.channel_json(stage)).collect::<Vec<Value>>(),
            "images": order.into_iter().map(|m| self.image_json(m)).collect::<Vec<Value>>(),
            "others": self.grid.others.iter().map(|(name, why)| json!({ "image": name, "reason": why })).collect::<Vec<Value>>(),
            "promotions": self.timeline.events.iter().map(promotion_json).collect::<Vec<Value>>(),
            "horizon": self.timeline.horizon,
            "troubles": self.pipeline.failures,
            "notices": self.pipeline.notices,
            "requests": self.requests,
        });
        serde_json::to_string_pretty(&board).map_or_else(|_| String::new(), |text| text + "\n")
    }

    fn channel_json(&self, stage: &Stage) -> Value {
        json!({
            "channel": stage.channel,
            "state": stage.state.word(),
            "sentence": stage.sentence(),
            "hash": stage.hash,
            "is_several": stage.is_several,
            "counts": {
                "asked": stage.counts.asked,
                "at_hash": stage.counts.at_hash,
                "torn": stage.counts.torn,
                "unproven": stage.counts.unproven,
                "absent": stage.counts.absent,
                "no_public_repository": stage.counts.no_public_repository,
                "unresolved": stage.counts.unresolved,
                "error": stage.counts.error,
            },
            "promoted_at": stage.promoted_at,
            "or_earlier": stage.or_earlier,
            "pushed_at": stage.pushed_at,
            "lateness": stage.lateness(self.now, self.settings.late).map(|l| l.word().unwrap_or("fine")),
            "behind": stage.lag.as_ref().map(|lag| json!({
                "channel": lag.before,
                "same": lag.same,
                "differ": lag.differ,
                // The key is older than the field's name, and is kept for those who read it.
                "lacking": lag.missing,
                "more": lag.more,
                "unknown": lag.unknown,
                "since": lag.since,
                "promotions": lag.promotions,
            })),
            "repository": stage.hash.as_ref().and_then(|hash| self.pipeline.repository(&stage.channel, hash)),
            "held_by": self.held_by(&stage.channel),
        })
    }

    fn image_json(&self, m: usize) -> Value {
        let image = &self.plan.images[self.grid.members[m]];
        json!({
            "image": image.short,
            "repository": image.reference.as_ref().map_or_else(|_| image.imagename.clone(), |r| r.repository.to_string()),
            "service": service(&image.short),
            "is_wrong": self.cells(m).iter().flatten().any(|r| is_wrong(r)),
            "channels": self.cells(m).iter().zip(&self.grid.channels).map(cell_json).collect::<Vec<Value>>(),
        })
    }

    fn held_by(&self, channel: &str) -> Value {
        if !self.has_pipeline() {
            return Value::Null;
        }
        let blocker = |b: Blocker| json!({ "job": b.job, "kind": b.kind.word(), "sentence": b.sentence, "url": b.url });
        match self.why_not(channel) {
            WhyNot::Unknown { message, builds } => {
                json!({ "known": false, "sentence": message, "builds": builds.into_iter().map(blocker).collect::<Vec<Value>>() })
            }
            WhyNot::InSync(label) => json!({ "known": true, "candidate_label": label, "level": true, "blockers": [] }),
            WhyNot::Held { label, hash, passed, of, blockers } => {
                json!({
                    "known": true,
                    "candidate_label": label,
                    "level": false,
                    "candidate": hash,
                    "passed": passed,
                    "of": of,
                    "blockers": blockers.into_iter().map(blocker).collect::<Vec<Value>>(),
                })
            }
        }
    }

    /// A picture in words and colours: of one channel a badge, of several a summary, a line each.
    pub fn svg(&self) -> String {
        let line = |stage: &Stage| {
            let (n, of) = (stage.counts.at_hash, stage.counts.asked);
            let hash = stage.hash.as_deref().filter(|_| !stage.is_several);
            let hash = hash.map_or(String::new(), |hash| format!(" at {}", short(hash)));
            let ago = stage.since(self.now).map_or(String::new(), |(_, since)| format!(", {since}"));
            (stage.channel.clone(), format!("{}: {n} of {of}{hash}{ago}", stage.state.word()), colour(stage.state))
        };
        let lines: Vec<(String, String, &str)> = self.stages.iter().map(line).collect();
        // The widths of a picture's letters are not known here; 6.7 is wide enough for 11 px in every sans serif.
        let wide = |text: &str| (text.chars().count() as f64 * 6.7).ceil() + 14.0;
        let left = lines.iter().map(|(name, ..)| wide(name)).fold(0.0, f64::max);
        let right = lines.iter().map(|(_, text, _)| wide(text)).fold(0.0, f64::max);
        let (width, height) = (left + right, lines.len() * 22);
        let title = lines.iter().map(|(name, text, _)| format!("{name}: {text}")).collect::<Vec<_>>().join("; ");
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{0}\">\
             <title>{0} (as of {1})</title>\
             <g font-family=\"system-ui,Verdana,sans-serif\" font-size=\"11\">",
            escape(&title),
            self.as_of
        );
        for (i, (name, text, colour)) in lines.iter().enumerate() {
            let (y, base) = (i * 22, i * 22 + 14);
            out.push_str(&format!(
                "<path fill=\"#24292f\" d=\"M0 {y}h{left}v20H0z\"/><path fill=\"{colour}\" d=\"M{left} {y}h{right}v20H{left}z\"/>\
                 <g fill=\"#fff\"><text x=\"7\" y=\"{base}\">{}</text><text x=\"{}\" y=\"{base}\">{}</text></g>",
                escape(name),
                left + 7.0,
                escape(text)
            ));
        }
        out + "</g></svg>\n"
    }
}

fn cell_json((row, channel): (&Known, &String)) -> Value {
    let row = row.as_deref();
    json!({
        "channel": channel,
        "text": text(row),
        "status": row.map_or("waiting", |r| r.status.word()),
        "hash": row.and_then(|r| r.hash.clone()),
        "digest": row.and_then(|r| r.digest.clone()),
        "moved_at": row.and_then(|r| r.moved_at),
        "notes": row.map_or(Vec::new(), |r| r.notes.iter().map(|n| n.word()).collect()),
        "reason": row.map_or("", |r| &r.reason),
    })
}

fn promotion_json(event: &Event) -> Value {
    json!({
        "channel": event.channel,
        "hash": event.hash,
        "first": event.first,
        "last": event.last,
        "images": event.images.map(|(n, _)| n),
        "of": event.images.map(|(_, of)| of),
        "is_rollback": event.is_rollback,
        "or_earlier": event.or_earlier,
        "told_by": if event.images.is_some() { "registry" } else { "dlrn" },
    })
}

/// A ground for white letters, with a contrast of at least 4.5.
fn colour(state: State) -> &'static str {
    match state {
        State::Whole => "#1a7f37",
        State::Torn => "#b3246b",
        State::Incomplete | State::Unproven => "#8a5a00",
        State::Unknown => "#b42318",
        State::Empty | State::Waiting => "#57606a",
    }
}

fn escape(text: &str) -> String {
    clean(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The mark of a channel for a drawing: its hash, or the digest of its first image.
pub fn favicon_hash(stages: &[Stage], rows: &[Known]) -> Option<String> {
    let hash = stages.iter().rev().find_map(|s| s.hash.clone());
    hash.or_else(|| rows.iter().flatten().find_map(|r| mark(r)).map(str::to_owned))
}
