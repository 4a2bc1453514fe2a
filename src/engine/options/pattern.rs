//! Regular expressions as Python's `re` reads them.

use std::collections::HashMap;

use fancy_regex::{Regex, RegexBuilder};

/// How much back-tracking one search may cost before it is given up; a runaway expression must not hang a page, nor may fifty of them
/// on every image.
const BACKTRACK_LIMIT: usize = 20_000;
/// Bytes of a compiled expression: repeats of repeats grow.
const SIZE_LIMIT: usize = 1 << 20;
/// The largest number of a repeat: what is empty and repeated costs no back-tracking.
const REPEATS: u32 = 1_000;
/// Characters of an expression.
const LENGTH: usize = 1_000;

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
    /// use overtag::engine::options::pattern::Pattern;
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
        if text.chars().count() > LENGTH {
            return Err(format!("it is longer than {LENGTH} characters"));
        }
        let regex = RegexBuilder::new(translated).backtrack_limit(BACKTRACK_LIMIT).delegate_size_limit(SIZE_LIMIT).build();
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
        // Three octal digits are a character, fewer are a group.
        '0'..='9' => match group_number(chars, at).filter(|_| !in_set) {
            Some(number) => Ok((format!(r"(?:\{number})"), 1 + number.to_string().len())),
            None => {
                let text = digits(at + 1, 3, 8);
                match u32::from_str_radix(&text, 8) {
                    Ok(0..=0o377) => code(&text, 8, 1 + text.len()),
                    _ => Err(format!("`\\{c}{}` is no character", text.get(1..).unwrap_or(""))),
                }
            }
        },
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

/// By place, how many characters are replaced, and by what.
type Edits = HashMap<usize, (usize, String)>;

/// A parenthesis that is open, or the whole.
struct Open {
    /// What a repetition would repeat.
    item: Item,
    /// Whether blanks and comments mean nothing here.
    is_verbose: bool,
    /// The number of a group that captures.
    group: Option<usize>,
    /// The alternatives so far, of a condition.
    branches: Option<usize>,
}

/// Refuses what Python refuses and the crate takes: `*` after nothing or after a place, a repetition of a repetition, `{2,1}`, groups
/// that are not there, not yet closed or named twice (`Lib/re/_parser.py`). Finds what must be written otherwise for the crate: comments
/// and, with the flag `x`, blanks are left out; a condition has the number of its group; what is empty has an empty alternative, as the
/// crate repeats nothing that is empty, and an empty condition means something else to it.
fn check(chars: &[char]) -> Result<Edits, String> {
    let at = |i: usize| chars.get(i).copied();
    let ahead = |i: usize, text: &str| text.chars().enumerate().all(|(k, c)| at(i + k) == Some(c));
    let find = |from: usize, c: char| (from..chars.len()).find(|k| chars[*k] == c).unwrap_or(chars.len());
    let text = |from: usize, to: usize| -> String { chars[from.min(to)..to].iter().collect() };
    let mut open = vec![Open { item: Item::Nothing, is_verbose: false, group: None, branches: None }];
    // Of each group, whether it is closed.
    let (mut groups, mut wanted) = (Vec::new(), 0);
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut edits = Edits::new();
    // Whether flags for all may follow.
    let mut is_start = true;
    let refer = |groups: &[bool], number: usize| match number.checked_sub(1).and_then(|at| groups.get(at)) {
        Some(true) => Ok(()),
        Some(false) => Err(format!("the group {number} is still open")),
        None => Err(format!("there is no group {number}")),
    };
    let unnamed = |name: &str| format!("there is no group `{name}`");
    let mut i = 0;
    while let Some(c) = at(i) {
        let is_outer = open.len() == 1;
        let Some(here) = open.last_mut() else { break };
        let item = here.item;
        is_start &= is_outer && item == Item::Nothing && c != '|';
        let (took, becomes) = match c {
            '\\' => {
                if let Some(number) = group_number(chars, i) {
                    refer(&groups, number)?;
                }
                (2, if matches!(at(i + 1), Some('A' | 'Z' | 'b' | 'B')) { Item::Place } else { Item::Something })
            }
            '[' => {
                let mut end = i + 1 + usize::from(at(i + 1) == Some('^'));
                end += usize::from(at(end) == Some(']'));
                while at(end).is_some_and(|c| c != ']') {
                    end += if at(end) == Some('\\') { 2 } else { 1 };
                }
                (end + 1 - i, Item::Something)
            }
            '(' if ahead(i, "(?#") => {
                let took = find(i, ')') + 1 - i;
                edits.insert(i, (took, String::new()));
                (took, item)
            }
            '(' if ahead(i, "(?P=") => {
                let name = text(i + 4, find(i, ')'));
                refer(&groups, *names.get(&name).ok_or_else(|| unnamed(&name))?)?;
                (find(i, ')') + 1 - i, Item::Something)
            }
            '(' => {
                let flags: String = chars[i + 1..].iter().skip(1).take_while(|c| c.is_ascii_alphabetic() || **c == '-').collect();
                let mut new = Open { item: Item::Nothing, is_verbose: here.is_verbose, group: None, branches: None };
                let end = i + 2 + flags.len();
                let took = if !ahead(i, "(?") || ahead(i, "(?P<") {
                    groups.push(false);
                    new.group = Some(groups.len());
                    match ahead(i, "(?P<") {
                        false => 1,
                        true => {
                            let name = text(i + 4, find(i, '>'));
                            if name.starts_with(|c: char| c.is_numeric()) || name.is_empty() || name.contains(|c| !is_word(c)) {
                                return Err(format!("`{name}` is no name of a group"));
                            }
                            if names.insert(name.clone(), groups.len()).is_some() {
                                return Err(format!("two groups have the name `{name}`"));
                            }
                            find(i, '>') + 1 - i
                        }
                    }
                } else if ahead(i, "(?(") {
                    let end = find(i, ')');
                    let name = text(i + 3, end);
                    let number = match name.parse() {
                        Ok(0) => return Err("there is no group 0".to_owned()),
                        Ok(number) => number,
                        Err(_) => *names.get(&name).ok_or_else(|| unnamed(&name))?,
                    };
                    wanted = wanted.max(number);
                    edits.insert(i, (end + 1 - i, format!("(?({number})")));
                    new.branches = Some(1);
                    end + 1 - i
                } else if !flags.is_empty() && matches!(at(end), Some(')' | ':')) {
                    let is_global = at(end) == Some(')');
                    check_flags(&flags, is_global)?;
                    if is_global && !is_start {
                        return Err(format!("`(?{flags})` must stand at the start"));
                    }
                    let (on, off) = flags.split_once('-').unwrap_or((&flags, ""));
                    new.is_verbose = (new.is_verbose || on.contains('x')) && !off.contains('x');
                    if is_global {
                        here.is_verbose = new.is_verbose;
                        i = end + 1;
                        continue;
                    }
                    end + 1 - i
                } else {
                    2 + flags.len() + if ahead(i, "(?<") { 2 } else { 1 }
                };
                open.push(new);
                i += took;
                continue;
            }
            ')' => {
                if let Some(number) = here.group {
                    groups[number - 1] = true;
                }
                if item == Item::Nothing && !is_outer {
                    edits.insert(i, (0, if here.branches == Some(1) { "(?:|)" } else { "|" }.to_owned()));
                }
                if !is_outer {
                    open.pop();
                }
                (1, Item::Something)
            }
            '|' => {
                if item == Item::Nothing && here.branches.is_some() {
                    edits.insert(i, (0, "(?:|)".to_owned()));
                }
                here.branches = here.branches.map(|n| n + 1);
                if here.branches == Some(3) {
                    return Err("a condition has more than two branches".to_owned());
                }
                (1, Item::Nothing)
            }
            '^' | '$' => (1, Item::Place),
            '#' if here.is_verbose => (find(i, '\n') - i, item),
            c if here.is_verbose && is_blank(c) => (1, item),
            '*' | '+' | '?' | '{' => match if c == '{' { counted(chars, i)? } else { Some(1) } {
                None => (1, Item::Something),
                Some(took)
                    if text(i, i + took)
                        .split(|c: char| !c.is_ascii_digit())
                        .any(|n| n.len() > 9 || n.parse::<u32>().is_ok_and(|n| n > REPEATS)) =>
                {
                    return Err(format!("it repeats more than {REPEATS} times"));
                }
                Some(_) if item == Item::Repeated => return Err("it repeats what is repeated already".to_owned()),
                Some(_) if item != Item::Something => return Err("there is nothing to repeat".to_owned()),
                Some(took) => (took + usize::from(matches!(at(i + took), Some('?' | '+'))), Item::Repeated),
            },
            _ => (1, Item::Something),
        };
        if let Some(last) = open.last_mut() {
            last.item = becomes;
            if last.is_verbose && (c == '#' || is_blank(c)) {
                edits.insert(i, (took, String::new()));
            }
        }
        i += took;
    }
    if wanted > groups.len() { Err(format!("there is no group {wanted}")) } else { Ok(edits) }
}

/// What the flag `x` passes over (`WHITESPACE` of `Lib/re/_parser.py`).
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The number of the group that the escape at `at` means, of at most two digits; none where it is something else.
fn group_number(chars: &[char], at: usize) -> Option<usize> {
    let digits: String = chars[at + 1..].iter().take(3).take_while(|c| c.is_ascii_digit()).collect();
    let is_octal = digits.starts_with('0') || digits.len() == 3 && digits.chars().all(|c| c.is_digit(8));
    digits[..digits.len().min(2)].parse().ok().filter(|_| !is_octal)
}

/// Refuses flags that Python refuses. `is_global` are those of `(?i)`.
fn check_flags(flags: &str, is_global: bool) -> Result<(), String> {
    let (on, off) = flags.split_once('-').map_or((flags, None), |(on, off)| (on, Some(off)));
    let is_wrong = on.contains(|c| !"aimsux".contains(c))
        || on.contains('a') && on.contains('u')
        || off.is_some_and(|off| is_global || off.is_empty() || off.contains(|c| !"imsx".contains(c) || on.contains(c)));
    if is_wrong { Err(format!("the flags of `(?{flags}` mean nothing")) } else { Ok(()) }
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
/// (which are operators to the crate), the flags `a` and `u`, which change nothing here, and `x`, which passes over blanks in a set for
/// the crate alone.
fn translate(python: &str) -> Result<String, String> {
    let chars: Vec<char> = python.chars().collect();
    let edits = check(&chars)?;
    let mut out = String::with_capacity(python.len() + 8);
    let mut i = 0;
    let mut set_start = None;
    while i < chars.len() {
        if let Some((took, text)) = edits.get(&i) {
            out.push_str(text);
            i += took;
            if *took > 0 {
                continue;
            }
        }
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
                    let kept: String = flags.chars().filter(|c| !matches!(c, 'a' | 'u' | 'x')).collect();
                    let kept = kept.strip_suffix('-').unwrap_or(&kept);
                    i += 2 + flags.chars().count();
                    if kept.is_empty() && end == Some(&')') {
                        i += 1;
                    } else {
                        out.push_str("(?");
                        out.push_str(kept);
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
