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

/// Rewrites the few things that Python spells otherwise: `\Z`, `{,n}`, literal braces, and plain `[`, `&&`, `--`, `~~` in a set
/// (which are operators to the crate), and the flags `a` and `u`, which change nothing here.
fn translate(python: &str) -> Result<String, String> {
    let chars: Vec<char> = python.chars().collect();
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
