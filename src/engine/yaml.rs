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
//! It is longer than 600 lines because YAML's rules for scalars, tags and merges are a table that reader and writer share.

use std::collections::HashMap;

use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

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
/// The tags of YAML's own types (<https://yaml.org/type/>).
const CORE: &str = "tag:yaml.org,2002:";

/// A document, and what its author should know about it.
#[derive(Debug, Default)]
pub struct Document {
    /// What PyYAML's safe loader returns. Dates, and numbers that JSON cannot hold, are the text as written.
    pub value: Value,
    /// One for each key that stands twice in a mapping, or in the mappings of a list that is merged, with its place.
    pub notices: Vec<Error>,
}

/// Reads one document. `name` is what the text is called in errors, which give line and column and show the line itself.
///
/// ```
/// use overtag::engine::yaml::parse;
/// let document = parse("x", "a: &a {n: 010}\nb: {<<: *a, on: 'on'}\nb: {<<: *a, off: 1_000}").unwrap();
/// assert_eq!(document.value["b"], serde_json::json!({"n": 8, "false": 1000}));
/// assert!(document.notices[0].to_string().starts_with("the key `b` stands twice; the last one counts: x, line 3, column 1"));
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
                        return Err(fault("a comma follows a tag without a blank", start_mark));
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
                    Some(None) => return Err(fault("an alias names what it is inside of", at)),
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
                        self.notice(format!("the key `{}` stands twice; the last one counts", clean(&key)), at);
                    }
                }
                (Key::Merge, Value::Object(map)) => merged.extend(map),
                (Key::Merge, Value::Array(list)) => {
                    let mut of_list = Map::new();
                    for value in list {
                        let Value::Object(map) = value else {
                            return Err(fault("`<<` merges a list that has something else than mappings in it", value_at));
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
                    format!("the key `{}` is merged from several mappings of a list; the first one counts", clean(&key));
                self.notice(message, at);
            }
        }
    }

    /// Notes a key; of very many the last note says that there are more.
    fn notice(&mut self, message: String, at: Mark) {
        match self.duplicates.len() {
            0..NOTICES => self.duplicates.push(fault(message, at)),
            NOTICES => self.duplicates.push(fault("more keys stand twice from here on", at)),
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

/// The name of a tag of YAML's own types; none where there is no tag, or the one that says nothing.
fn core_tag(tag: Option<&str>) -> Result<Option<&str>, String> {
    match tag {
        None | Some("!") => Ok(None),
        Some(tag) => tag.strip_prefix(CORE).map(Some).ok_or_else(|| format!("the tag `{}` is not known", clean(tag))),
    }
}

fn check_tag(tag: Option<&str>, kind: &str, at: Mark) -> Result<(), Fault> {
    match core_tag(tag).map_err(|message| fault(message, at))? {
        Some(other) if other != kind => Err(fault(format!("the tag `!!{}` is not known here", clean(other)), at)),
        _ => Ok(()),
    }
}

/// What a scalar means.
fn scalar_value(text: &str, is_plain: bool, tag: Option<&str>) -> Result<Value, String> {
    let as_text = || Value::String(text.to_owned());
    let wrong = |kind: &str| format!("`{}` is not of the type `!!{kind}`", clean(text).chars().take(60).collect::<String>());
    match (core_tag(tag)?, tag.is_some()) {
        (None, false) if !is_plain => Ok(as_text()),
        (None, _) => match text {
            "<<" | "=" => Err(format!("a plain `{text}` is a key of its own kind; quote it")),
            _ => Ok(implicit(text)?.unwrap_or_else(as_text)),
        },
        (Some("str" | "timestamp"), _) => Ok(as_text()),
        (Some("null"), _) => Ok(Value::Null),
        (Some("bool"), _) => bool_of(&text.to_lowercase()).map(Value::Bool).ok_or_else(|| wrong("bool")),
        (Some(kind @ "int"), _) => integer_of(text).ok_or_else(|| wrong(kind)),
        (Some(kind @ "float"), _) => float_of(text).ok_or_else(|| wrong(kind)),
        (Some(other), _) => Err(format!("the tag `!!{}` is not known here", clean(other))),
    }
}

/// The type that a plain scalar has by its spelling, after PyYAML's `resolver.py`; none for text and for dates.
fn implicit(text: &str) -> Result<Option<Value>, String> {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Ok(Some(Value::Null));
    }
    let lower = text.to_ascii_lowercase();
    let is_one_case = text == lower || text == text.to_ascii_uppercase() || text.get(1..) == lower.get(1..);
    if let Some(b) = bool_of(&lower).filter(|_| is_one_case) {
        return Ok(Some(Value::Bool(b)));
    }
    if is_float(text) {
        return Ok(Some(float_of(text).unwrap_or_else(|| Value::String(text.to_owned()))));
    }
    if is_integer(text) {
        return integer_of(text).map(Some).ok_or_else(|| format!("`{text}` is not a number"));
    }
    Ok(None)
}

fn bool_of(lower: &str) -> Option<bool> {
    match lower {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['-', '+']).unwrap_or(text)
}

fn all(text: &str, is: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(is)
}

/// `1:30:00`: all parts but the first are below 60.
fn is_sexagesimal<'t>(parts: impl Iterator<Item = &'t str>) -> bool {
    let mut parts = parts.peekable();
    parts.peek().is_some() && parts.all(|p| matches!(p.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']))
}

fn is_integer(text: &str) -> bool {
    let digits = unsigned(text);
    let decimal = |t: &str| t.starts_with(|c: char| matches!(c, '1'..='9')) && all(t, |b| b.is_ascii_digit() || b == b'_');
    if let Some(rest) = digits.strip_prefix("0b") {
        return all(rest, |b| matches!(b, b'0' | b'1' | b'_'));
    }
    if let Some(rest) = digits.strip_prefix("0x") {
        return all(rest, |b| b.is_ascii_hexdigit() || b == b'_');
    }
    match digits.split_once(':') {
        Some((first, rest)) => decimal(first) && is_sexagesimal(rest.split(':')),
        None => {
            digits == "0"
                || decimal(digits)
                || (digits.starts_with('0') && all(&digits[1..], |b| matches!(b, b'0'..=b'7' | b'_')))
        }
    }
}

/// A whole number; beyond 64 bits the text as written.
fn integer_of(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    let digits = unsigned(&plain);
    let number = if digits.contains(':') {
        digits.split(':').try_fold(Some(0_i128), |sum, part| {
            let part: i128 = part.parse().ok()?;
            Some(sum.and_then(|s| s.checked_mul(60)?.checked_add(part)))
        })?
    } else {
        let (radix, digits) = match digits {
            "0" => (10, "0"),
            d if d.starts_with("0b") => (2, &d[2..]),
            d if d.starts_with("0x") => (16, &d[2..]),
            d if d.starts_with('0') => (8, &d[1..]),
            d => (10, d),
        };
        match i128::from_str_radix(digits, radix) {
            Ok(number) => Some(number),
            Err(e) if matches!(e.kind(), std::num::IntErrorKind::PosOverflow) => None,
            Err(_) => return None,
        }
    };
    let signed = number.and_then(|n| if plain.starts_with('-') { n.checked_neg() } else { Some(n) });
    let fits = signed.and_then(|n| i64::try_from(n).map(Number::from).or_else(|_| u64::try_from(n).map(Number::from)).ok());
    Some(fits.map_or_else(|| Value::String(text.to_owned()), Value::Number))
}

fn is_float(text: &str) -> bool {
    let rest = unsigned(text);
    if matches!(rest, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let number = |t: &str| t.starts_with(|c: char| c.is_ascii_digit()) && digits(t);
    let Some((whole, fraction)) = rest.split_once('.') else { return false };
    if let Some((first, parts)) = whole.split_once(':') {
        return number(first) && is_sexagesimal(parts.split(':')) && digits(fraction);
    }
    let (fraction, exponent) = match fraction.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (fraction, None),
    };
    let has_exponent = exponent.is_none_or(|e| e.starts_with(['-', '+']) && all(&e[1..], |b| b.is_ascii_digit()));
    // Without a digit before the point there is no sign either.
    let is_number = (number(whole) && digits(fraction)) || (whole.is_empty() && rest == text && number(fraction));
    is_number && has_exponent
}

/// A number with a fraction; infinity and no number are the text as written, for JSON has neither.
fn float_of(text: &str) -> Option<Value> {
    let plain = text.replace('_', "").to_lowercase();
    let rest = unsigned(&plain);
    if matches!(rest, ".inf" | ".nan") {
        return Some(Value::String(text.to_owned()));
    }
    let number = rest.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))?;
    let signed = if plain.starts_with('-') { -number } else { number };
    Some(Number::from_f64(signed).map_or_else(|| Value::String(text.to_owned()), Value::Number))
}

/// Writes `value` in block style, keys sorted, list dashes level with their key.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (i, (key, value)) in map.iter().enumerate() {
                if i > 0 || out.ends_with('\n') || out.is_empty() {
                    out.push_str(&pad);
                }
                out.push_str(&scalar(key));
                out.push(':');
                let deeper = if value.is_array() { indent } else { indent + 2 };
                nested(value, deeper, out);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (i, value) in list.iter().enumerate() {
                if i > 0 || out.ends_with('\n') || out.is_empty() {
                    out.push_str(&pad);
                }
                out.push_str("- ");
                block(value, indent + 2, out);
            }
        }
        simple => {
            out.push_str(&plain(simple));
            out.push('\n');
        }
    }
}

/// What stands behind a key: on the same line, or as a block below.
fn nested(value: &Value, indent: usize, out: &mut String) {
    let is_block = matches!(value, Value::Object(m) if !m.is_empty()) || matches!(value, Value::Array(l) if !l.is_empty());
    out.push(if is_block { '\n' } else { ' ' });
    block(value, indent, out);
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => {
            let text = n.to_string();
            // YAML 1.1 wants a dot and a sign in a number with an exponent.
            match text.split_once('e') {
                Some((mantissa, exponent)) => {
                    let dot = if mantissa.contains('.') { "" } else { ".0" };
                    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
                    format!("{mantissa}{dot}e{sign}{exponent}")
                }
                None => text,
            }
        }
        Value::String(s) => scalar(s),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
    }
}

/// A string as a scalar that no reader takes for anything else.
///
/// Plain only where no implicit type of YAML 1.1 or 1.2 (<https://yaml.org/type/>) can match: none of them has a `/`, and without
/// one only the words below start with a letter.
///
/// ```
/// use overtag::engine::yaml::scalar;
/// assert_eq!(scalar("quay.io/tripleotrain/nova-api:1e10"), "quay.io/tripleotrain/nova-api:1e10");
/// assert_eq!(scalar("on"), "'on'");
/// assert_eq!(scalar("1e10"), "'1e10'");
/// assert_eq!(scalar("a\nb"), r#""a\nb""#);
/// ```
pub fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '@' | ':' | '+' | '-');
    let starts = |c: char| c.is_ascii_alphabetic() || (c.is_ascii_digit() && text.contains('/'));
    let is_plain = text.starts_with(starts)
        && text.chars().all(safe)
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain {
        text.to_owned()
    } else if text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        let mut out = String::from("\"");
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                ' '..='~' => out.push(c),
                _ if (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
                _ if (c as u32) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", c as u32)),
                _ => out.push_str(&format!("\\U{:08x}", c as u32)),
            }
        }
        out.push('"');
        out
    }
}
