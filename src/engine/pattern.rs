//! Regular expressions as Python's `re` reads them, and the order of versions.

use std::cmp::Ordering;

use fancy_regex::{Regex, RegexBuilder};

/// How much back-tracking one search may cost before it is given up; a runaway expression must not hang a page.
const BACKTRACK_LIMIT: usize = 200_000;

/// A regular expression with the meaning of Python's `re.search`.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As it was typed.
    pub text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles `text`; says in one phrase what is wrong with it otherwise.
    ///
    /// ```
    /// use overtag::engine::pattern::Pattern;
    /// let p = Pattern::new(r"(?i)NOVA-(?!compute)").unwrap();
    /// assert_eq!(p.is_found("x/nova-api:1"), Ok(true));
    /// assert_eq!(p.is_found("x/nova-compute:1"), Ok(false));
    /// ```
    pub fn new(text: &str) -> Result<Self, String> {
        Self::build(text, &translate(text)?)
    }

    /// Compiles `text` so that it is found only where it matches the whole of what is searched.
    pub fn whole(text: &str) -> Result<Self, String> {
        // The flags of `(?i)…` at the start must stay at the start for Python, but not for us.
        Self::build(text, &format!(r"\A(?:{})\z", translate(text)?))
    }

    fn build(text: &str, translated: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(translated).backtrack_limit(BACKTRACK_LIMIT).build();
        let phrase = |e: fancy_regex::Error| e.to_string().lines().last().unwrap_or("it does not parse").trim().to_owned();
        Ok(Self { text: text.to_owned(), regex: regex.map_err(phrase)? })
    }

    /// Whether the pattern is found anywhere in `hay`; an error when the search was given up.
    pub fn is_found(&self, hay: &str) -> Result<bool, String> {
        self.regex.is_match(hay).map_err(|_| "it needs too many steps".to_owned())
    }
}

/// Rewrites an escape, which begins at `at`: its text here, and how many characters it took.
fn escape(chars: &[char], at: usize, in_set: bool) -> Result<(String, usize), String> {
    let Some(&c) = chars.get(at + 1) else { return Err("it ends with a backslash".to_owned()) };
    let digits = |from: usize, most: usize, radix: u32| -> String {
        chars[from.min(chars.len())..].iter().take(most).take_while(|c| c.is_digit(radix)).collect()
    };
    let code =
        |text: &str, radix: u32, took: usize| Ok((format!("\\x{{{:x}}}", u32::from_str_radix(text, radix).unwrap_or(0)), took));
    match c {
        'Z' if !in_set => Ok((r"\z".to_owned(), 2)),
        'x' | 'u' | 'U' => {
            let wanted = match c {
                'x' => 2,
                'u' => 4,
                _ => 8,
            };
            let text = digits(at + 2, wanted, 16);
            if text.len() < wanted {
                Err(format!("`\\{c}` wants {wanted} hexadecimal digits"))
            } else {
                code(&text, 16, 2 + wanted)
            }
        }
        '0' => {
            let text = digits(at + 1, 3, 8);
            code(&text, 8, 1 + text.len())
        }
        // Three octal digits are a character, fewer are a group.
        '1'..='3' if digits(at + 1, 3, 8).len() == 3 => code(&digits(at + 1, 3, 8), 8, 4),
        'b' if in_set => Ok((r"\x08".to_owned(), 2)),
        'A' | 'b' | 'B' if !in_set => Ok((format!("\\{c}"), 2)),
        'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'a' | 'f' | 'n' | 'r' | 't' | 'v' => Ok((format!("\\{c}"), 2)),
        c if c.is_ascii_alphabetic() => Err(format!("`\\{c}` means nothing")),
        // To the crate these two are the edges of a word.
        '<' | '>' => Ok((c.to_string(), 2)),
        c => Ok((format!("\\{c}"), 2)),
    }
}

/// What a repetition would repeat.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    /// Nothing, as after `(` and `|`.
    Nothing,
    /// A place, as `^`.
    Place,
    /// Something.
    Something,
    /// Something that is repeated already.
    Repeated,
}

/// Refuses what Python refuses and the crate takes: `*` after nothing or after a place, a repetition of a repetition, `{2,1}`, and a
/// condition on a group that is not there (`Lib/re/_parser.py`).
fn check_repeats(chars: &[char]) -> Result<(), String> {
    let at = |i: usize| chars.get(i).copied();
    let ahead = |i: usize, text: &str| text.chars().enumerate().all(|(k, c)| at(i + k) == Some(c));
    let find = |from: usize, c: char| (from..chars.len()).find(|k| chars[*k] == c).unwrap_or(chars.len());
    let (mut open, mut groups, mut wanted, mut is_verbose) = (vec![Item::Nothing], 0, 0, false);
    let mut i = 0;
    while let Some(c) = at(i) {
        let item = open.last().copied().unwrap_or(Item::Nothing);
        let (took, becomes) = match c {
            '\\' => (2, if matches!(at(i + 1), Some('A' | 'Z' | 'b' | 'B')) { Item::Place } else { Item::Something }),
            '[' => {
                let mut end = i + 1 + usize::from(at(i + 1) == Some('^'));
                end += usize::from(at(end) == Some(']'));
                while at(end).is_some_and(|c| c != ']') {
                    end += if at(end) == Some('\\') { 2 } else { 1 };
                }
                (end + 1 - i, Item::Something)
            }
            '(' if ahead(i, "(?#") => (find(i, ')') + 1 - i, item),
            '(' if ahead(i, "(?P=") => (find(i, ')') + 1 - i, Item::Something),
            '(' => {
                let flags = chars[i + 1..].iter().skip(1).take_while(|c| c.is_ascii_alphabetic() || **c == '-').count();
                let took = if !ahead(i, "(?") {
                    groups += 1;
                    1
                } else if ahead(i, "(?P<") {
                    groups += 1;
                    find(i, '>') + 1 - i
                } else if ahead(i, "(?(") {
                    let end = find(i, ')');
                    let number: String = chars[i + 3..end].iter().collect();
                    wanted = wanted.max(number.parse().unwrap_or(0));
                    end + 1 - i
                } else if flags > 0 && at(i + 2 + flags) == Some(')') {
                    is_verbose |= chars[i + 2..i + 2 + flags].contains(&'x');
                    i += flags + 3;
                    continue;
                } else {
                    2 + flags + if ahead(i, "(?<") { 2 } else { 1 }
                };
                open.push(Item::Nothing);
                i += took;
                continue;
            }
            ')' => {
                open.truncate((open.len() - 1).max(1));
                (1, Item::Something)
            }
            '|' => (1, Item::Nothing),
            '^' | '$' => (1, Item::Place),
            '#' if is_verbose => (find(i, '\n') - i, item),
            c if is_verbose && c.is_ascii_whitespace() => (1, item),
            '*' | '+' | '?' | '{' => match if c == '{' { counted(chars, i)? } else { Some(1) } {
                None => (1, Item::Something),
                Some(_) if item == Item::Repeated => return Err("it repeats what is repeated already".to_owned()),
                Some(_) if item != Item::Something => return Err("there is nothing to repeat".to_owned()),
                Some(took) => (took + usize::from(matches!(at(i + took), Some('?' | '+'))), Item::Repeated),
            },
            _ => (1, Item::Something),
        };
        if let Some(last) = open.last_mut() {
            *last = becomes;
        }
        i += took;
    }
    if wanted > groups { Err(format!("there is no group {wanted}")) } else { Ok(()) }
}

/// The length of `{m}`, `{m,}`, `{,n}` or `{m,n}`; none where the brace is only itself.
fn counted(chars: &[char], at: usize) -> Result<Option<usize>, String> {
    let body: String = chars[at + 1..].iter().take_while(|c| c.is_ascii_digit() || **c == ',').collect();
    let (low, high) = body.split_once(',').unwrap_or((&body, &body));
    if body.is_empty() || high.contains(',') || chars.get(at + 1 + body.len()) != Some(&'}') {
        return Ok(None);
    }
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    if !high.is_empty() && !low.is_empty() && number(low) > number(high) {
        return Err(format!("`{{{body}}}` repeats at least {low} times and at most {high}"));
    }
    Ok(Some(body.len() + 2))
}

/// Rewrites the few things that Python spells otherwise: `\Z`, `{,n}`, literal braces, and plain `[`, `&&`, `--`, `~~` in a set
/// (which are operators to the crate), and the flags `a` and `u`, which change nothing here.
fn translate(python: &str) -> Result<String, String> {
    let chars: Vec<char> = python.chars().collect();
    check_repeats(&chars)?;
    let mut out = String::with_capacity(python.len() + 8);
    let mut i = 0;
    let mut set_start = None;
    while i < chars.len() {
        let c = chars[i];
        let next = chars.get(i + 1).copied();
        match c {
            '\\' => {
                let (text, took) = escape(&chars, i, set_start.is_some())?;
                out.push_str(&text);
                i += took;
                continue;
            }
            '[' if set_start.is_none() => {
                out.push('[');
                i += 1;
                if chars.get(i) == Some(&'^') {
                    out.push('^');
                    i += 1;
                }
                if chars.get(i) == Some(&']') {
                    out.push_str(r"\]");
                    i += 1;
                }
                set_start = Some(i);
                continue;
            }
            ']' if set_start.is_some() => set_start = None,
            '[' => out.push('\\'),
            '&' | '~' if set_start.is_some() => out.push('\\'),
            // A range that ends with `-`, which the crate would read as a difference.
            '-' if set_start.is_some_and(|s| i > s) && next == Some('-') => {
                out.push_str(r"-\-");
                i += 2;
                continue;
            }
            '{' if set_start.is_none() => {
                let body: String = chars[i + 1..].iter().take_while(|c| **c != '}').collect();
                let closed = i + 1 + body.chars().count() < chars.len();
                let count = |s: &str| s.chars().all(|c| c.is_ascii_digit());
                let repeat = closed
                    && !body.is_empty()
                    && body != ","
                    && match body.split_once(',') {
                        Some((low, high)) => count(low) && count(high),
                        None => count(&body),
                    };
                if repeat && body.starts_with(',') {
                    out.push_str("{0");
                    i += 1;
                    continue;
                }
                if body == "," && closed {
                    out.push('*');
                    i += 3;
                    continue;
                }
                if !repeat {
                    out.push('\\');
                }
            }
            '(' if set_start.is_none() && next == Some('?') => {
                let flags: String = chars[i + 2..].iter().take_while(|c| c.is_ascii_alphabetic() || **c == '-').collect();
                let end = chars.get(i + 2 + flags.chars().count());
                // `(?P<name>` has a `<` after its letter, so it is not taken for flags here.
                if !flags.is_empty() && matches!(end, Some(')' | ':')) {
                    if !flags.chars().all(|c| "aimsux-".contains(c)) {
                        return Err(format!("`(?{flags}` means nothing"));
                    }
                    if end == Some(&')') && i > 0 {
                        return Err(format!("`(?{flags})` must stand at the start"));
                    }
                    let kept: String = flags.chars().filter(|c| !matches!(c, 'a' | 'u')).collect();
                    i += 2 + flags.chars().count();
                    if kept.is_empty() && end == Some(&')') {
                        i += 1;
                    } else {
                        out.push_str("(?");
                        out.push_str(&kept);
                    }
                    continue;
                }
                let kinds = ["P<", "P=", ":", "=", "!", "<=", "<!", "#", "(", ">"];
                let ahead: String = chars[i + 2..].iter().take(2).collect();
                if !kinds.iter().any(|k| ahead.starts_with(k)) {
                    return Err(format!("`(?{ahead}` means nothing"));
                }
            }
            _ => {}
        }
        out.push(c);
        i += 1;
    }
    Ok(out)
}

/// Compares two tags as versions: as rpm does for version, then release (what follows the first `-`), and a release of letters
/// (`-rc1`) stands before none, one of digits after it. A leading `v` says nothing.
///
/// ```
/// use overtag::engine::pattern::compare_versions;
/// let mut tags = ["1.2.10", "v1.2.9", "1.2.10-rc1", "1.2.10-20200101", "2.0"];
/// tags.sort_by(|a, b| compare_versions(a, b));
/// assert_eq!(tags, ["v1.2.9", "1.2.10-rc1", "1.2.10", "1.2.10-20200101", "2.0"]);
/// ```
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let split = |t: &str| -> (String, String) {
        let t = t.strip_prefix('v').filter(|r| r.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(t);
        let (version, release) = t.split_once('-').unwrap_or((t, ""));
        (version.to_owned(), release.to_owned())
    };
    let ((av, ar), (bv, br)) = (split(a), split(b));
    compare_segments(&av, &bv).then_with(|| compare_segments(&ar, &br)).then_with(|| a.cmp(b))
}

/// Digits as numbers, letters as letters; nothing stands between letters and digits.
fn compare_segments(a: &str, b: &str) -> Ordering {
    let (a, b) = (segments(a), segments(b));
    for i in 0..a.len().max(b.len()) {
        let order = match (a.get(i), b.get(i)) {
            (Some(x), Some(y)) => match (number(x), number(y)) {
                (Some(x), Some(y)) => x.len().cmp(&y.len()).then_with(|| x.cmp(y)),
                (Some(_), None) => Ordering::Greater,
                (None, Some(_)) => Ordering::Less,
                (None, None) => x.cmp(y),
            },
            (Some(x), None) => {
                if number(x).is_some() {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (None, Some(y)) => {
                if number(y).is_some() {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (None, None) => Ordering::Equal,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// The digits of a number without leading zeros; longer is greater, so that no length overflows.
fn number(segment: &str) -> Option<&str> {
    segment.starts_with(|c: char| c.is_ascii_digit()).then(|| segment.trim_start_matches('0'))
}

/// Runs of digits and runs of letters; all else only parts them.
fn segments(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let same = |d: char| d.is_ascii_digit() == c.is_ascii_digit() && d.is_ascii_alphanumeric();
        let len: usize = if c.is_ascii_alphanumeric() { rest.chars().take_while(|d| same(*d)).count() } else { 0 };
        if len > 0 {
            out.push(&rest[..len]);
            rest = &rest[len..];
        } else {
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}
