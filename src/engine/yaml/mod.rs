//! YAML in and out: the only user of the YAML parser, so there is one place to swap.
//!
//! Documents are read as PyYAML's safe loader reads them (YAML 1.1), for that is what Heat and tripleo-common use; what cannot be
//! read in the same way is an error with its line and column. The parser is libyaml in safe Rust: it accepts what PyYAML accepts, and
//! reports whether a scalar is quoted, where it is, and every key as written. serde_yaml, which its author has retired, reports none
//! of these; saphyr-parser refuses flow lists that go on at the beginning of a line, as published environments have them.
//!
//! Inside, documents are `serde_json` values: their mappings are sorted by key, as the written files are. What is written is a
//! small subset of YAML whose every scalar gives back the same string to readers of YAML 1.1 and of 1.2.
//!
//! Reading is here, with what a scalar means in `types`; writing is in `write`.

mod types;
mod write;

use std::collections::HashMap;

use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle};
use serde_json::{Map, Value};

use self::types::{core_tag, scalar_value};
pub use self::write::{scalar, write};
use crate::engine::error::{Error, clean};

/// Mappings and lists inside each other. PyYAML gives up at about 250.
const DEPTH: usize = 100;
/// Values of a document.
const VALUES: usize = 200_000;
/// Bytes that aliases may add by repeating what they name.
const REPEATED: usize = 16 << 20;
/// Bytes that a value takes in memory beside its text, about.
const NODE: usize = 32;
/// Notices about one document; after so many the reader has understood.
const NOTICES: usize = 20;

/// A document, and what its author should know about it.
#[derive(Debug, Default)]
pub struct Document {
    /// What PyYAML's safe loader returns. Dates, and numbers that JSON cannot hold, are the text as written.
    pub value: Value,
    /// One for each key that appears twice in a mapping, or in the mappings of a list that is merged, with its place.
    pub notices: Vec<Error>,
}

/// Reads one document. `name` is what the text is called in errors, which give line and column and show the line itself.
///
/// ```
/// use overtag::engine::yaml::parse;
/// let document = parse("x", "a: &a {n: 010}\nb: {<<: *a, on: 'on'}\nb: {<<: *a, off: 1_000}").unwrap();
/// assert_eq!(document.value["b"], serde_json::json!({"n": 8, "false": 1000}));
/// assert!(document.notices[0].to_string().starts_with("the key `b` appears twice; the last one is used: x, line 3, column 1"));
/// ```
///
/// # Errors
/// What is not YAML, and what PyYAML's safe loader refuses; nesting deeper than 100; more than 200,000 values; aliases that add up to
/// more than 16 MiB.
pub fn parse(name: &str, text: &str) -> Result<Document, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let located = |(message, line, column): Fault| Error::template(message, place(name, text, line, column), "correct the YAML");
    check_characters(text).map_err(located)?;
    let (masked, mask) = mask_tags(text);
    // The parser panics where a text ends within a scalar, so each text ends with a line of its own.
    let is_ended = masked.is_empty() || masked.ends_with(['\n', '\r']);
    let padded = format!("{masked}{}", if is_ended { "#\n" } else { "\n#\n" });
    let mut bytes = padded.as_bytes();
    let mut events = Parser::new();
    events.set_input(&mut bytes);
    let unended = (!is_ended).then_some(masked.as_str());
    let mut reader = Reader { events, unended, mask, anchors: HashMap::new(), repeated: 0, values: 0, duplicates: Vec::new() };
    let value = reader.document().map_err(located)?;
    let notice = |(message, line, column): Fault| Error::template(message, place(name, text, line, column), "remove one of them");
    Ok(Document { value, notices: reader.duplicates.into_iter().map(notice).collect() })
}

/// `name`, line and column, and the line itself.
pub fn place(name: &str, text: &str, line: usize, column: usize) -> String {
    // What ends too early is reported at the line behind the last; the last one with anything in it says more.
    let lines: Vec<&str> = text.lines().take(line).collect();
    let (line, column, shown) = match lines.iter().rposition(|l| !l.trim().is_empty()) {
        Some(i) if i + 1 < line => (i + 1, lines[i].chars().count() + 1, lines[i].trim()),
        Some(i) => (line, column, lines[i].trim()),
        None => (line, column, ""),
    };
    let shown: String = clean(shown).chars().take(120).collect();
    format!("{name}, line {line}, column {column}: `{shown}`")
}

/// What is wrong, and its line and column, from 1.
type Fault = (String, usize, usize);

fn fault(message: impl Into<String>, at: Mark) -> Fault {
    (message.into(), at.line as usize + 1, at.column as usize + 1)
}

/// Whether a block scalar, with which `text` begins, has the line end in it that was added to the text. Where the last line is
/// blank and no deeper than the scalar, it is not a part of it, and a line end is only kept by `+`.
fn has_added_end(value: &str, text: &str) -> bool {
    let is_text = |line: &&str| line.contains(|c| c != ' ');
    let depth = |line: &str| line.len() - line.trim_start_matches(' ').len();
    // Behind an anchor and a tag, where there are any.
    let is_header = |at: &usize| *at == 0 || text[..*at].ends_with(char::is_whitespace);
    let header = text.match_indices(['|', '>']).map(|(at, _)| at).find(is_header).unwrap_or(0);
    let lines = || text[header..].split(['\n', '\r']).skip(1);
    let last = lines().last().filter(|line| !is_text(line));
    // What stands before the first text, or else before the longest blank line, and is not in the value, is the scalar's indent.
    let longest = |blanks: &mut dyn Iterator<Item = &str>| blanks.map(str::len).max().unwrap_or(0);
    let indent = match lines().find(is_text).zip(value.split('\n').find(is_text)) {
        Some((line, value)) => depth(line).saturating_sub(depth(value)),
        None => match longest(&mut value.split('\n')) {
            0 => usize::MAX,
            inside => longest(&mut lines()).saturating_sub(inside),
        },
    };
    let is_outside = last.is_some_and(|last| last.len() <= indent);
    if is_outside { value == "\n" || value.ends_with("\n\n") } else { value.ends_with('\n') }
}

/// PyYAML refuses control characters, and takes three characters of Unicode for ends of lines, which YAML 1.2 no longer does.
fn check_characters(text: &str) -> Result<(), Fault> {
    let is_wrong = |c: char| {
        (c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    let Some((at, c)) = text.char_indices().find(|(_, c)| is_wrong(*c)) else { return Ok(()) };
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    let message = format!("the character U+{:04X} is not allowed", c as u32);
    Err((message, before.matches('\n').count() + 1, before[start..].chars().count() + 1))
}

/// The text with another character in place of each `!` that is followed by a comma before a blank, and that character. A tag that a comma
/// follows is an error for PyYAML, and makes our parser panic; in quotes, blocks and plain text the `!` is only itself, and put back.
fn mask_tags(text: &str) -> (String, char) {
    // For private use: a text is not likely to have one, and has not all.
    let mask = ('\u{10f000}'..='\u{10fffd}').find(|c| !text.contains(*c)).unwrap_or('\u{10fffd}');
    let mut out = String::with_capacity(text.len() + 16);
    for word in text.split_inclusive(char::is_whitespace) {
        let mut hidden = Vec::new();
        // From behind: whether a comma follows, and what follows the next `>`, where a tag written out ends.
        let (mut comma, mut behind_end, mut next) = (false, false, ' ');
        for (at, c) in word.char_indices().rev() {
            match c {
                ',' => comma = true,
                '>' => behind_end = comma,
                '!' if if next == '<' { behind_end } else { comma } => hidden.push(at),
                _ => {}
            }
            next = c;
        }
        let mut from = 0;
        for at in hidden.into_iter().rev() {
            out.push_str(&word[from..at]);
            out.push(mask);
            from = at + 1;
        }
        out.push_str(&word[from..]);
    }
    (out, mask)
}

/// A scalar as a key of a mapping, before it is known what it is.
enum Key {
    /// `<<`, not quoted.
    Merge,
    Text(String),
}

struct Reader<'p, 't> {
    events: Parser<&'p mut &'t [u8]>,
    /// What replaces a `!`.
    mask: char,
    /// The text, if its last line has no end.
    unended: Option<&'t str>,
    /// What each anchor names, and its size; nothing while it is being read.
    anchors: HashMap<String, Option<(Value, usize)>>,
    repeated: usize,
    /// How many values there were so far.
    values: usize,
    duplicates: Vec<Fault>,
}

impl Reader<'_, '_> {
    fn next(&mut self) -> Result<(EventData, Mark), Fault> {
        match self.events.parse() {
            Ok(Event { mut data, start_mark, end_mark, .. }) => {
                if let EventData::Scalar { value, style: ScalarStyle::Literal | ScalarStyle::Folded, .. } = &mut data
                    && let Some(text) = self.unended.filter(|text| end_mark.index >= text.len() as u64)
                    && has_added_end(value, &text[start_mark.index as usize..])
                {
                    value.pop();
                }
                if let EventData::Scalar { value, style, .. } = &mut data
                    && value.contains(self.mask)
                {
                    if *style == ScalarStyle::Plain && value.starts_with(self.mask) {
                        return Err(fault("a comma follows a tag without a space", start_mark));
                    }
                    *value = value.replace(self.mask, "!");
                }
                Ok((data, start_mark))
            }
            Err(error) => Err(fault(problem(&error), error.problem_mark().unwrap_or_default())),
        }
    }

    fn document(&mut self) -> Result<Value, Fault> {
        loop {
            match self.next()? {
                (EventData::StreamStart { .. }, _) => {}
                (EventData::DocumentStart { .. }, _) => break,
                _ => return Ok(Value::Null),
            }
        }
        let (event, at) = self.next()?;
        let (value, _) = self.value(event, at, 0)?;
        loop {
            match self.next()? {
                (EventData::DocumentEnd { .. }, _) => {}
                (EventData::StreamEnd, _) => return Ok(value),
                (_, at) => return Err(fault("a second document begins; one is expected", at)),
            }
        }
    }

    /// A value and its size in bytes, about.
    fn value(&mut self, event: EventData, at: Mark, depth: usize) -> Result<(Value, usize), Fault> {
        if depth > DEPTH {
            return Err(fault(format!("the nesting is deeper than {DEPTH}"), at));
        }
        self.values += 1;
        if self.values > VALUES {
            return Err(fault(format!("there are more than {VALUES} values"), at));
        }
        let (anchor, (value, size)) = match event {
            EventData::Alias { anchor } => {
                let (value, size) = match self.anchors.get(&anchor) {
                    Some(Some(known)) => known,
                    Some(None) => return Err(fault("an alias refers to a value that contains it", at)),
                    None => return Err(fault(format!("there is no anchor `{}` before this alias", clean(&anchor)), at)),
                };
                self.repeated += size;
                if self.repeated > REPEATED {
                    return Err(fault(format!("the aliases add up to more than {} MiB", REPEATED >> 20), at));
                }
                return Ok((value.clone(), *size));
            }
            EventData::Scalar { anchor, tag, value: text, style, .. } => {
                let value =
                    scalar_value(&text, style == ScalarStyle::Plain, tag.as_deref()).map_err(|message| fault(message, at))?;
                self.open(anchor.as_ref(), at)?;
                (anchor, (value, NODE + text.len()))
            }
            EventData::SequenceStart { anchor, tag, .. } => {
                check_tag(tag.as_deref(), "seq", at)?;
                self.open(anchor.as_ref(), at)?;
                (anchor, self.sequence(depth)?)
            }
            EventData::MappingStart { anchor, tag, .. } => {
                check_tag(tag.as_deref(), "map", at)?;
                self.open(anchor.as_ref(), at)?;
                (anchor, self.mapping(depth)?)
            }
            _ => return Err(fault("a value is expected", at)),
        };
        // What an anchor names is kept beside the document.
        self.repeated += anchor.as_ref().map_or(0, |_| size);
        if self.repeated > REPEATED {
            return Err(fault(format!("the anchors add up to more than {} MiB", REPEATED >> 20), at));
        }
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, Some((value.clone(), size)));
        }
        Ok((value, size))
    }

    fn open(&mut self, anchor: Option<&String>, at: Mark) -> Result<(), Fault> {
        match anchor {
            Some(anchor) if self.anchors.insert(anchor.clone(), None).is_some() => {
                Err(fault(format!("the anchor `{}` is set twice", clean(anchor)), at))
            }
            _ => Ok(()),
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<(Value, usize), Fault> {
        let (mut list, mut total) = (Vec::new(), NODE);
        loop {
            let (event, at) = self.next()?;
            if event == EventData::SequenceEnd {
                return Ok((Value::Array(list), total));
            }
            let (value, size) = self.value(event, at, depth + 1)?;
            list.push(value);
            total += size;
        }
    }

    /// A mapping with what it merges below its own keys (<https://yaml.org/type/merge.html>): as PyYAML has it, the first mapping of a list
    /// wins, and the last `<<` of a mapping.
    fn mapping(&mut self, depth: usize) -> Result<(Value, usize), Fault> {
        let (mut own, mut merged, mut total) = (Map::new(), Map::new(), NODE);
        loop {
            let (event, at) = self.next()?;
            if event == EventData::MappingEnd {
                merged.extend(own);
                return Ok((Value::Object(merged), total));
            }
            let key = self.key(event, at, depth)?;
            let (event, value_at) = self.next()?;
            let (value, size) = self.value(event, value_at, depth + 1)?;
            total += size;
            match (key, value) {
                (Key::Text(key), value) => {
                    total += key.len();
                    if own.insert(key.clone(), value).is_some() {
                        self.notice(format!("the key `{}` appears twice; the last one is used", clean(&key)), at);
                    }
                }
                (Key::Merge, Value::Object(map)) => merged.extend(map),
                (Key::Merge, Value::Array(list)) => {
                    let mut of_list = Map::new();
                    for value in list {
                        let Value::Object(map) = value else {
                            return Err(fault("`<<` merges a list that contains something other than mappings", value_at));
                        };
                        for (key, value) in map {
                            self.merge_one(&mut of_list, key, value, value_at);
                        }
                    }
                    merged.extend(of_list);
                }
                (Key::Merge, _) => return Err(fault("`<<` merges what is neither a mapping nor a list of mappings", value_at)),
            }
        }
    }

    /// Merges one key of a list of mappings: the first counts, as the merge type has it. Where it makes a difference a notice says so, for
    /// PyYAML 6.0.4 alone takes the last.
    fn merge_one(&mut self, merged: &mut Map<String, Value>, key: String, value: Value, at: Mark) {
        match merged.get(&key) {
            None => _ = merged.insert(key, value),
            Some(first) if *first == value => {}
            Some(_) => {
                let message =
                    format!("the key `{}` is merged from several mappings of a list; the first one is used", clean(&key));
                self.notice(message, at);
            }
        }
    }

    /// Notes a key; of very many the last note says that there are more.
    fn notice(&mut self, message: String, at: Mark) {
        match self.duplicates.len() {
            0..NOTICES => self.duplicates.push(fault(message, at)),
            NOTICES => self.duplicates.push(fault("more keys appear twice from here on", at)),
            _ => {}
        }
    }

    /// A key; one that is not text becomes the text that JSON would write.
    fn key(&mut self, event: EventData, at: Mark, depth: usize) -> Result<Key, Fault> {
        if let EventData::Scalar { value, style: ScalarStyle::Plain, anchor: None, tag: None, .. } = &event {
            match value.as_str() {
                "<<" => return Ok(Key::Merge),
                "=" => return Ok(Key::Text("=".to_owned())),
                _ => {}
            }
        }
        match self.value(event, at, depth + 1)?.0 {
            Value::String(text) => Ok(Key::Text(text)),
            Value::Array(_) | Value::Object(_) => Err(fault("a key is a mapping or a list", at)),
            other => Ok(Key::Text(other.to_string())),
        }
    }
}

/// What the parser says, less the place, which its error has apart.
fn problem(error: &libyaml_safer::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

fn check_tag(tag: Option<&str>, kind: &str, at: Mark) -> Result<(), Fault> {
    match core_tag(tag).map_err(|message| fault(message, at))? {
        Some(other) if other != kind => Err(fault(format!("the tag `!!{}` is not known here", clean(other)), at)),
        _ => Ok(()),
    }
}
