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
                Err(format!("`\\{c}` needs {wanted} hexadecimal digits"))
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
                    _ => Err(format!("`\\{c}{}` is not a character", text.get(1..).unwrap_or(""))),
                }
            }
        },
        'b' if in_set => Ok((r"\x08".to_owned(), 2)),
        'A' | 'b' | 'B' if !in_set => Ok((format!("\\{c}"), 2)),
        'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'a' | 'f' | 'n' | 'r' | 't' | 'v' => Ok((format!("\\{c}"), 2)),
        c if c.is_ascii_alphabetic() => Err(format!("`\\{c}` is not a valid escape")),
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

/// Reads an expression once, from the left.
struct Checker<'c> {
    chars: &'c [char],
    /// The innermost parenthesis that is open.
    here: Open,
    /// Those around it.
    outer: Vec<Open>,
    /// Of each group, whether it is closed.
    groups: Vec<bool>,
    names: HashMap<String, usize>,
    /// The largest number of a group that a condition names; the group may follow.
    wanted: usize,
    /// Whether flags for all may follow.
    is_start: bool,
    edits: Edits,
}

/// Refuses what Python refuses and the crate takes: `*` after nothing or after a place, a repetition of a repetition, `{2,1}`, groups
/// that are not there, not yet closed or named twice (`Lib/re/_parser.py`). Finds what must be written otherwise for the crate: comments
/// and, with the flag `x`, blanks are left out; a condition has the number of its group; what is empty has an empty alternative, as the
/// crate repeats nothing that is empty, and an empty condition means something else to it.
fn check(chars: &[char]) -> Result<Edits, String> {
    let here = Open { item: Item::Nothing, is_verbose: false, group: None, branches: None };
    let (outer, groups, names, edits) = (Vec::new(), Vec::new(), HashMap::new(), Edits::new());
    let mut checker = Checker { chars, here, outer, groups, names, wanted: 0, is_start: true, edits };
    let mut i = 0;
    while let Some(c) = checker.at(i) {
        i += checker.step(i, c)?;
    }
    let wanted = checker.wanted;
    if wanted > checker.groups.len() { Err(format!("there is no group {wanted}")) } else { Ok(checker.edits) }
}

impl Checker<'_> {
    fn at(&self, i: usize) -> Option<char> {
        self.chars.get(i).copied()
    }

    fn ahead(&self, i: usize, text: &str) -> bool {
        text.chars().enumerate().all(|(k, c)| self.at(i + k) == Some(c))
    }

    /// The place of the next `c`, or the end.
    fn find(&self, from: usize, c: char) -> usize {
        (from..self.chars.len()).find(|k| self.chars[*k] == c).unwrap_or(self.chars.len())
    }

    fn text(&self, from: usize, to: usize) -> String {
        self.chars[from.min(to)..to].iter().collect()
    }

    /// Reads what begins at `i` with `c`; returns how many characters it took, as all of these do.
    fn step(&mut self, i: usize, c: char) -> Result<usize, String> {
        let item = self.here.item;
        self.is_start &= self.outer.is_empty() && item == Item::Nothing && c != '|';
        let (took, becomes) = match c {
            '\\' => {
                if let Some(number) = group_number(self.chars, i) {
                    self.refer(number)?;
                }
                (2, if matches!(self.at(i + 1), Some('A' | 'Z' | 'b' | 'B')) { Item::Place } else { Item::Something })
            }
            '[' => (self.set(i), Item::Something),
            '(' if self.ahead(i, "(?#") => (self.leave_out(i, self.find(i, ')') + 1), item),
            '(' if self.ahead(i, "(?P=") => {
                let end = self.find(i, ')');
                self.refer(self.named(&self.text(i + 4, end))?)?;
                (end + 1 - i, Item::Something)
            }
            '(' => return self.open(i),
            ')' => (self.close(i), Item::Something),
            '|' => (self.branch(i)?, Item::Nothing),
            '^' | '$' => (1, Item::Place),
            '#' if self.here.is_verbose => (self.leave_out(i, self.find(i, '\n')), item),
            c if self.here.is_verbose && is_blank(c) => (self.leave_out(i, i + 1), item),
            '*' | '+' | '?' => self.repeat(i, 1)?,
            '{' => match counted(self.chars, i)? {
                Some(took) => self.repeat(i, took)?,
                None => (1, Item::Something),
            },
            _ => (1, Item::Something),
        };
        self.here.item = becomes;
        Ok(took)
    }

    /// Refuses a reference to a group that is not there, or not yet closed.
    fn refer(&self, number: usize) -> Result<(), String> {
        match number.checked_sub(1).and_then(|at| self.groups.get(at)) {
            Some(true) => Ok(()),
            Some(false) => Err(format!("the group {number} is still open")),
            None => Err(format!("there is no group {number}")),
        }
    }

    /// The number of the group of this name.
    fn named(&self, name: &str) -> Result<usize, String> {
        self.names.get(name).copied().ok_or_else(|| format!("there is no group `{name}`"))
    }

    fn leave_out(&mut self, from: usize, to: usize) -> usize {
        self.edits.insert(from, (to - from, String::new()));
        to - from
    }

    /// `[…]`
    fn set(&self, i: usize) -> usize {
        let mut end = i + 1 + usize::from(self.at(i + 1) == Some('^'));
        end += usize::from(self.at(end) == Some(']'));
        while self.at(end).is_some_and(|c| c != ']') {
            end += if self.at(end) == Some('\\') { 2 } else { 1 };
        }
        end + 1 - i
    }

    /// `(`, and what says of which kind it is.
    fn open(&mut self, i: usize) -> Result<usize, String> {
        let mut new = Open { item: Item::Nothing, is_verbose: self.here.is_verbose, group: None, branches: None };
        let flags = flags(self.chars, i);
        let end = i + 2 + flags.len();
        let took = if !self.ahead(i, "(?") || self.ahead(i, "(?P<") {
            self.groups.push(false);
            new.group = Some(self.groups.len());
            if self.ahead(i, "(?P<") { self.name(i)? } else { 1 }
        } else if self.ahead(i, "(?(") {
            new.branches = Some(1);
            self.condition(i)?
        } else if !flags.is_empty() && matches!(self.at(end), Some(')' | ':')) {
            let is_global = self.at(end) == Some(')');
            check_flags(&flags, is_global)?;
            if is_global && !self.is_start {
                return Err(format!("`(?{flags})` must be at the start"));
            }
            let (on, off) = flags.split_once('-').unwrap_or((&flags, ""));
            new.is_verbose = (new.is_verbose || on.contains('x')) && !off.contains('x');
            if is_global {
                self.here.is_verbose = new.is_verbose;
                return Ok(end + 1 - i);
            }
            end + 1 - i
        } else {
            2 + flags.len() + if self.ahead(i, "(?<") { 2 } else { 1 }
        };
        self.outer.push(std::mem::replace(&mut self.here, new));
        Ok(took)
    }

    /// `(?P<name>`, of the group that was counted last.
    fn name(&mut self, i: usize) -> Result<usize, String> {
        let end = self.find(i, '>');
        let name = self.text(i + 4, end);
        if name.starts_with(|c: char| c.is_numeric()) || name.is_empty() || name.contains(|c| !is_word(c)) {
            return Err(format!("`{name}` is not a group name"));
        }
        if self.names.insert(name.clone(), self.groups.len()).is_some() {
            return Err(format!("two groups have the name `{name}`"));
        }
        Ok(end + 1 - i)
    }

    /// `(?(1)` or `(?(name)`
    fn condition(&mut self, i: usize) -> Result<usize, String> {
        let end = self.find(i, ')');
        let name = self.text(i + 3, end);
        let number = match name.parse() {
            Ok(0) => return Err("there is no group 0".to_owned()),
            Ok(number) => number,
            Err(_) => self.named(&name)?,
        };
        self.wanted = self.wanted.max(number);
        self.edits.insert(i, (end + 1 - i, format!("(?({number})")));
        Ok(end + 1 - i)
    }

    /// `)`
    fn close(&mut self, i: usize) -> usize {
        if let Some(number) = self.here.group {
            self.groups[number - 1] = true;
        }
        if let Some(outer) = self.outer.pop() {
            if self.here.item == Item::Nothing {
                self.edits.insert(i, (0, if self.here.branches == Some(1) { "(?:|)" } else { "|" }.to_owned()));
            }
            self.here = outer;
        }
        1
    }

    /// `|`
    fn branch(&mut self, i: usize) -> Result<usize, String> {
        if self.here.item == Item::Nothing && self.here.branches.is_some() {
            self.edits.insert(i, (0, "(?:|)".to_owned()));
        }
        self.here.branches = self.here.branches.map(|n| n + 1);
        if self.here.branches == Some(3) { Err("a condition has more than two branches".to_owned()) } else { Ok(1) }
    }

    /// A repetition whose sign has `took` characters, and the `?` or `+` behind it.
    fn repeat(&self, i: usize, took: usize) -> Result<(usize, Item), String> {
        let is_many = |n: &str| n.len() > 9 || n.parse::<u32>().is_ok_and(|n| n > REPEATS);
        if self.text(i, i + took).split(|c: char| !c.is_ascii_digit()).any(is_many) {
            return Err(format!("it repeats more than {REPEATS} times"));
        }
        match self.here.item {
            Item::Repeated => Err("it repeats what is repeated already".to_owned()),
            Item::Nothing | Item::Place => Err("there is nothing to repeat".to_owned()),
            Item::Something => Ok((took + usize::from(matches!(self.at(i + took), Some('?' | '+'))), Item::Repeated)),
        }
    }
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

/// The letters of `(?i)` or `(?i:`, whose parenthesis is at `at`.
fn flags(chars: &[char], at: usize) -> String {
    chars[at + 1..].iter().skip(1).take_while(|c| c.is_ascii_alphabetic() || **c == '-').collect()
}

/// Refuses flags that Python refuses. `is_global` are those of `(?i)`.
fn check_flags(flags: &str, is_global: bool) -> Result<(), String> {
    let (on, off) = flags.split_once('-').map_or((flags, None), |(on, off)| (on, Some(off)));
    let is_wrong = on.contains(|c| !"aimsux".contains(c))
        || on.contains('a') && on.contains('u')
        || off.is_some_and(|off| is_global || off.is_empty() || off.contains(|c| !"imsx".contains(c) || on.contains(c)));
    if is_wrong { Err(format!("the flags of `(?{flags}` are not valid")) } else { Ok(()) }
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
        let next = chars.get(i + 1).copied();
        let (text, took) = match chars[i] {
            '\\' => escape(&chars, i, set_start.is_some())?,
            '[' if set_start.is_none() => {
                let (text, took) = set_head(&chars, i);
                set_start = Some(i + took);
                (text, took)
            }
            '{' if set_start.is_none() => brace(&chars, i),
            '(' if set_start.is_none() && next == Some('?') => extension(&chars, i)?,
            // A range that ends with `-`, which the crate would read as a difference.
            '-' if set_start.is_some_and(|s| i > s) && next == Some('-') => (r"-\-".to_owned(), 2),
            c @ ('[' | '&' | '~') if set_start.is_some() => (format!("\\{c}"), 1),
            c => {
                set_start = set_start.filter(|_| c != ']');
                (c.to_string(), 1)
            }
        };
        out.push_str(&text);
        i += took;
    }
    Ok(out)
}

/// Rewrites the `[` at `at`, with the `^` and the plain `]` that may follow it.
fn set_head(chars: &[char], at: usize) -> (String, usize) {
    let is_not = chars.get(at + 1) == Some(&'^');
    let took = 1 + usize::from(is_not);
    let head = if is_not { "[^" } else { "[" };
    if chars.get(at + took) == Some(&']') { (format!(r"{head}\]"), took + 1) } else { (head.to_owned(), took) }
}

/// Rewrites the `{` at `at`, outside a set.
fn brace(chars: &[char], at: usize) -> (String, usize) {
    let body: String = chars[at + 1..].iter().take_while(|c| **c != '}').collect();
    let is_closed = at + 1 + body.chars().count() < chars.len();
    let is_count = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    let (low, high) = body.split_once(',').unwrap_or((&body, &body));
    let (text, took) = match body.as_str() {
        "," if is_closed => ("*", 3),
        "" | "," => (r"\{", 1),
        _ if !is_closed || !is_count(low) || !is_count(high) => (r"\{", 1),
        _ if low.is_empty() => ("{0", 1),
        _ => ("{", 1),
    };
    (text.to_owned(), took)
}

/// Rewrites the `(?` at `at`; what is neither flags nor known to Python is refused.
fn extension(chars: &[char], at: usize) -> Result<(String, usize), String> {
    let flags = flags(chars, at);
    let end = chars.get(at + 2 + flags.len());
    // `(?P<name>` has a `<` after its letter, so it is not taken for flags here.
    if !flags.is_empty() && matches!(end, Some(')' | ':')) {
        let kept: String = flags.chars().filter(|c| !matches!(c, 'a' | 'u' | 'x')).collect();
        let kept = kept.strip_suffix('-').unwrap_or(&kept);
        let is_gone = kept.is_empty() && end == Some(&')');
        let text = if is_gone { String::new() } else { format!("(?{kept}") };
        return Ok((text, 2 + flags.len() + usize::from(is_gone)));
    }
    let kinds = ["P<", "P=", ":", "=", "!", "<=", "<!", "#", "(", ">"];
    let ahead: String = chars[at + 2..].iter().take(2).collect();
    if !kinds.iter().any(|k| ahead.starts_with(k)) {
        return Err(format!("`(?{ahead}` is not a valid group"));
    }
    Ok(("(".to_owned(), 1))
}
