//! Bounds on templates that anybody may have written: what they may hold, and how large their values may grow.
//!
//! minijinja's fuel counts instructions and bytes, but not the parts of nested lists, nor what Python's methods and some filters make:
//! half a kilobyte of template makes a list whose text would fill every memory. So [`Guarded::new`] adds a filter behind every operand of
//! a template, `x ~ [y]` becomes `x|__checked(0) ~ [y|__checked(1)]|__checked(2)`, and [`Guard::check`] measures what passes through:
//! one operator makes of measured values no more than memory holds. Calls whose result has another size are estimated first
//! ([`check_call`]). Chains that would overflow the stack of the parser are refused before it sees them.
//!
//! The number says where in the source an operand is: that is also how a variable that is not defined is found.

use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// The filter that measures operands.
pub const CHECKED: &str = "__checked";
/// The same for factors of a product: a list would be repeated as often as the other factor says.
pub const FACTOR: &str = "__factor";

/// Bytes of a template.
const SOURCE: usize = 1 << 20;
/// Tokens between `{{` and `}}`, or `{%` and `%}`. The parser, and what it makes of an expression, take some stack for each.
const TOKENS: usize = 1_000;
/// `elif` in one template, for the same reason.
const ELIFS: usize = 300;
/// Parts of one value: items of lists and mappings, those within them too, and each [`PART`] bytes of their texts.
const PARTS: usize = 100_000;
/// Bytes of text that count as one part.
const PART: usize = 64;
/// Bytes that one call may make.
const CALL: usize = 4 << 20;
/// Comparisons of characters in one call.
const COMPARED: usize = 16 << 20;
/// Parts that are measured in one rendering.
const MEASURED: usize = 4_000_000;
/// Lists within lists.
const DEPTH: usize = 100;

/// A template with filters behind its operands.
#[derive(Debug, Default)]
pub struct Guarded {
    /// The text that is rendered.
    pub text: String,
    /// Where something was inserted, in bytes of the source, and how many bytes.
    insertions: Vec<(usize, usize)>,
    /// Where each operand is in the source, in bytes.
    pub operands: Vec<(usize, usize)>,
}

/// What a template may not hold, and where that is, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// In words.
    pub message: String,
    /// In the source.
    pub at: usize,
}

/// What the parser makes of the tokens of a tag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// An expression.
    Expression,
    /// The names before `in` or `=`.
    Names,
    /// A chain of filters, or a call: expressions in brackets alone.
    Chain,
    /// What `macro` and `call` declare: names, with defaults.
    Declaration,
    /// The name of a file or block.
    File,
}

impl Guarded {
    /// Reads a template; `first` is the number of its first operand.
    ///
    /// # Errors
    /// A template, or a tag of it, that is too long.
    pub fn new(source: &str, first: usize) -> Result<Self, Refused> {
        let refused = |message: String, at: usize| Err(Refused { message, at });
        if source.len() > SOURCE {
            return refused(format!("the template is larger than {} MiB", SOURCE >> 20), 0);
        }
        let mut tokens: Vec<(Token<'_>, usize, usize)> = Vec::new();
        let (mut in_tag, mut elifs) = (0, 0);
        for token in tokenize(source, false, SyntaxConfig::default()) {
            // The parser reports the same, in its own words.
            let Ok((token, span)) = token else { return Ok(Self { text: source.to_owned(), ..Self::default() }) };
            let (start, end) = (span.start_offset as usize, span.end_offset as usize);
            in_tag = if matches!(token, Token::VariableStart | Token::BlockStart) { 0 } else { in_tag + 1 };
            let is_statement = matches!(tokens.last(), Some((Token::BlockStart, ..)));
            elifs += usize::from(is_statement && matches!(token, Token::Ident("elif")));
            if in_tag > TOKENS {
                return refused(format!("an expression has more than {TOKENS} tokens"), start);
            }
            if elifs > ELIFS {
                return refused(format!("the template has more than {ELIFS} `elif`"), start);
            }
            tokens.push((token, start, end));
        }
        let mut out = Self::default();
        let mut written = 0;
        let mut scanner = Scanner::default();
        for (i, (token, start, end)) in tokens.iter().enumerate() {
            let near = |i: Option<usize>| i.and_then(|i| tokens.get(i)).map(|(token, ..)| token);
            let place = Place { token, start: *start, before: near(i.checked_sub(1)), after: near(Some(i + 1)) };
            match scanner.see(place) {
                Seen::Nothing => {}
                Seen::Operator => {
                    return refused("an included file must be named by a string or a variable".to_owned(), *start);
                }
                Seen::Operand { from, is_factor } => {
                    let filter = if is_factor { FACTOR } else { CHECKED };
                    let inserted = format!("|{filter}({})", first + out.operands.len());
                    out.text.push_str(&source[written..*end]);
                    written = *end;
                    out.insertions.push((*end, inserted.len()));
                    out.operands.push((from, *end));
                    out.text.push_str(&inserted);
                }
            }
        }
        out.text.push_str(&source[written..]);
        Ok(out)
    }

    /// The place in the source of a place in the text that is rendered, both in bytes.
    pub fn original(&self, at: usize) -> usize {
        let mut added = 0;
        for (place, length) in &self.insertions {
            if place + added >= at {
                break;
            }
            added += length.min(&(at - place - added));
        }
        at - added
    }
}

/// A token, where it begins, and what stands beside it.
#[derive(Clone, Copy)]
struct Place<'t> {
    token: &'t Token<'t>,
    start: usize,
    before: Option<&'t Token<'t>>,
    after: Option<&'t Token<'t>>,
}

impl Place<'_> {
    /// Whether what the token ends goes on: by an attribute, an index or a call.
    fn is_postfix(self) -> bool {
        matches!(self.after, Some(Token::Dot | Token::BracketOpen | Token::ParenOpen))
    }

    fn is_before_pipe(self) -> bool {
        matches!(self.after, Some(Token::Pipe))
    }

    /// Whether it is the first of the arguments or of one of them.
    fn begins_argument(self) -> bool {
        matches!(self.before, Some(Token::ParenOpen | Token::Comma))
    }
}

/// What a token ends.
enum Seen {
    Nothing,
    /// An operand that begins at this byte.
    Operand {
        from: usize,
        is_factor: bool,
    },
    /// An operator where none may be.
    Operator,
}

/// What is open between brackets, or in a tag.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Where the operand begins that was not ended yet.
    from: Option<usize>,
    /// Whether `*` stands before it.
    is_factor: bool,
}

/// Reads the tokens of a template one by one.
#[derive(Default)]
struct Scanner {
    part: Option<Part>,
    levels: Vec<Level>,
    /// Whether what is read is the name of a test, which may have an argument without brackets.
    is_test: bool,
}

impl Scanner {
    fn see(&mut self, place: Place<'_>) -> Seen {
        match place.token {
            Token::TemplateData(_) | Token::VariableEnd | Token::BlockEnd | Token::BlockStart => self.part = None,
            Token::VariableStart => self.begin(Part::Expression),
            Token::Ident(word) if matches!(place.before, Some(Token::BlockStart)) => match *word {
                "if" | "elif" | "autoescape" => self.begin(Part::Expression),
                "for" | "set" => self.begin(Part::Names),
                "with" => self.begin(Part::Expression),
                "do" | "filter" => self.begin(Part::Chain),
                "macro" => self.begin(Part::Declaration),
                "call" if matches!(place.after, Some(Token::ParenOpen)) => self.begin(Part::Declaration),
                "call" => self.begin(Part::Chain),
                "include" | "import" | "from" | "extends" => self.begin(Part::File),
                _ => {}
            },
            _ => {
                if let Some(part) = self.part {
                    return self.see_within(part, place);
                }
            }
        }
        Seen::Nothing
    }

    fn begin(&mut self, part: Part) {
        self.part = Some(part);
        self.levels = vec![Level::default()];
        self.is_test = false;
    }

    fn see_within(&mut self, part: Part, place: Place<'_>) -> Seen {
        match (part, place.token) {
            (Part::Names, Token::Ident("in") | Token::Assign) if self.levels.len() == 1 => self.begin(Part::Expression),
            (Part::Names, Token::Pipe) => self.begin(Part::Chain),
            (Part::File, token) if !names_file(token) => return Seen::Operator,
            (Part::File, _) => {}
            _ if self.may_end_operand(part, place) => return self.end(part, place),
            _ => {}
        }
        Seen::Nothing
    }

    /// Notes what a token begins, opens and closes; returns whether an operand may end with it.
    fn may_end_operand(&mut self, part: Part, place: Place<'_>) -> bool {
        let Place { token, start, before, .. } = place;
        let level = self.levels.last_mut();
        match token {
            Token::BracketOpen | Token::ParenOpen | Token::BraceOpen => {
                if let Some(level) = level {
                    level.from.get_or_insert(start);
                }
                self.levels.push(Level::default());
                false
            }
            Token::BracketClose | Token::ParenClose | Token::BraceClose => {
                if self.levels.len() > 1 {
                    self.levels.pop();
                }
                // The names that were declared end here.
                let ends_declaration = part == Part::Declaration && self.levels.len() == 1;
                if ends_declaration {
                    self.part = Some(Part::Chain);
                    self.levels = vec![Level::default()];
                }
                !ends_declaration
            }
            Token::Ident(word) if matches!(before, Some(Token::Dot)) || !is_keyword(word, place.after) => {
                if let Some(level) = level {
                    level.from.get_or_insert(start);
                }
                true
            }
            Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => {
                if let Some(level) = level {
                    level.from.get_or_insert(start);
                    // What is written out cannot grow; what a filter makes of it can.
                    if !place.is_postfix() && !place.is_before_pipe() {
                        *level = Level::default();
                    }
                }
                false
            }
            Token::Ident("is") => {
                self.is_test = true;
                false
            }
            Token::Ident("not") if self.is_test => false,
            // The operand before a pipe was ended; its filters belong to it.
            Token::Dot | Token::Pipe => false,
            _ => {
                if let Some(level) = level {
                    // At the beginning of an argument `*` spreads a list.
                    *level = Level { from: None, is_factor: matches!(token, Token::Mul) && !place.begins_argument() };
                }
                self.is_test = false;
                false
            }
        }
    }

    /// Ends the operand whose last token this is, unless it goes on, or is none that is guarded.
    fn end(&mut self, part: Part, place: Place<'_>) -> Seen {
        let Place { token, start, after, .. } = place;
        let is_test = std::mem::take(&mut self.is_test);
        if is_test && place.is_postfix() && matches!(token, Token::Ident(_)) {
            return Seen::Nothing;
        }
        let has_argument = is_test && after.is_some_and(begins_operand);
        let depth = self.levels.len() - 1;
        let is_guarded = match part {
            Part::Expression => true,
            Part::Chain => depth > 0,
            // Of a declaration the defaults alone.
            Part::Declaration => depth > 1 || depth == 1 && !place.begins_argument(),
            Part::Names | Part::File => false,
        };
        if !is_guarded || place.is_postfix() || has_argument || matches!(after, Some(Token::Assign)) {
            return Seen::Nothing;
        }
        let Some(level) = self.levels.last_mut() else { return Seen::Nothing };
        let is_factor = level.is_factor || matches!(after, Some(Token::Mul));
        let from = level.from.unwrap_or(start);
        if !place.is_before_pipe() {
            *level = Level::default();
        }
        Seen::Operand { from, is_factor }
    }
}

/// Whether a token may be a part of the name of a file that is included.
fn names_file(token: &Token<'_>) -> bool {
    let is_text = matches!(token, Token::Ident(_) | Token::Str(_) | Token::String(_));
    is_text || matches!(token, Token::Comma | Token::Dot | Token::BracketOpen | Token::BracketClose)
}

/// Whether a word is not an operand; `recursive` ends a `for`.
fn is_keyword(word: &str, after: Option<&Token<'_>>) -> bool {
    let is_constant = matches!(word, "true" | "false" | "none" | "True" | "False" | "None");
    let is_operator = matches!(word, "and" | "or" | "not" | "in" | "is" | "if" | "else");
    is_constant || is_operator || word == "recursive" && matches!(after, Some(Token::BlockEnd))
}

/// Whether a token begins the argument of a test that is written without brackets.
fn begins_operand(token: &Token<'_>) -> bool {
    match token {
        Token::Ident(word) => !matches!(*word, "and" | "or" | "else" | "is" | "if" | "not" | "in" | "recursive"),
        Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => true,
        Token::Plus | Token::Minus | Token::BracketOpen | Token::BraceOpen => true,
        _ => false,
    }
}

/// Measures the values of one rendering.
#[derive(Debug, Default)]
pub struct Guard {
    measured: AtomicUsize,
}

impl Guard {
    /// Lets a value through unless it, or all that was measured so far, is too large.
    ///
    /// # Errors
    /// It is.
    pub fn check(&self, value: &Value) -> Result<(), Error> {
        let wrong = |message: String| Err(Error::new(ErrorKind::InvalidOperation, message));
        let mut left = PARTS;
        if !measure(value, DEPTH, &mut left)? {
            return wrong(format!("a value has more than {PARTS} parts"));
        }
        let parts = PARTS - left;
        if self.measured.fetch_add(parts, Ordering::Relaxed) + parts > MEASURED {
            return wrong(format!("the template reads more than {MEASURED} parts of lists and mappings"));
        }
        Ok(())
    }

    /// As [`check`](Self::check), for a factor of a product.
    ///
    /// # Errors
    /// It is a list or a mapping.
    pub fn check_factor(&self, value: &Value) -> Result<(), Error> {
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
                Err(Error::new(ErrorKind::InvalidOperation, "`*` cannot repeat a list here; write it out"))
            }
            _ => Ok(()),
        }
    }
}

/// A list that is computed each time it is read, as an ordinary one: layers of such add up.
pub fn realized(value: Value) -> Value {
    let is_lazy = match value.kind() {
        ValueKind::Iterable => true,
        ValueKind::Seq => value.downcast_object_ref::<Vec<Value>>().is_none() && !value.is_tuple(),
        _ => false,
    };
    if !is_lazy {
        return value;
    }
    match value.try_iter() {
        Ok(parts) => Value::from(parts.collect::<Vec<_>>()),
        Err(_) => value,
    }
}

/// Refuses calls that make, or compare, much more than they are given. `text` is what they are called on.
///
/// # Errors
/// Such a call.
pub fn check_call(name: &str, text: &str, args: &[Value]) -> Result<(), Error> {
    let length = |i: usize| args.get(i).and_then(Value::as_str).map_or(0, str::len);
    let (made, compared) = match name {
        "replace" => {
            let old = args.first().and_then(Value::as_str).unwrap_or_default();
            let found = if old.is_empty() { text.len() + 1 } else { text.matches(old).count() };
            (text.len().saturating_add(found.saturating_mul(length(1))), 0)
        }
        "join" => {
            let parts = args.first().and_then(|list| list.try_iter().ok()).map_or(0, |parts| parts.take(PARTS).count());
            (parts.saturating_mul(text.len()).saturating_add(args.first().map_or(0, bytes)), 0)
        }
        "format" => {
            // A width or precision is written in the text, or comes as a number.
            let written = text
                .split(|c: char| !c.is_ascii_digit())
                .map(|n| n.parse::<usize>().unwrap_or(usize::from(!n.is_empty()) * CALL));
            let given = args.iter().filter_map(|arg| arg.as_usize()).filter(|_| text.contains('*') || text.contains("{}:"));
            let width = written.chain(given).max().unwrap_or(0);
            let holes = text.matches(['{', '%']).count();
            let each = args.iter().map(bytes).fold(width, usize::saturating_add);
            (text.len().saturating_add(holes.saturating_mul(each)), 0)
        }
        "strip" | "lstrip" | "rstrip" | "trim" => (0, text.len().saturating_mul(length(0))),
        "tojson" | "indent" => {
            let width = args.iter().filter_map(Value::as_usize).max().unwrap_or(0);
            (width.saturating_mul(text.len().max(PARTS)), 0)
        }
        _ => (0, 0),
    };
    if made > CALL || compared > COMPARED {
        let message = format!("`{name}` would produce too much output");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    Ok(())
}

/// Bytes of the text of a value, about.
fn bytes(value: &Value) -> usize {
    match value.kind() {
        ValueKind::String => value.as_str().map_or(0, str::len),
        ValueKind::Seq | ValueKind::Iterable => value
            .try_iter()
            .map_or(0, |parts| parts.take(PARTS).map(|part| bytes(&part).saturating_add(4)).fold(0, usize::saturating_add)),
        ValueKind::Map => {
            let pair =
                |key: Value| bytes(&key).saturating_add(value.get_item(&key).map_or(0, |part| bytes(&part))).saturating_add(4);
            value.try_iter().map_or(0, |keys| keys.take(PARTS).map(pair).fold(0, usize::saturating_add))
        }
        _ => 24,
    }
}

/// Takes the parts of a value from `left`; false where there are more.
///
/// # Errors
/// It is nested too deeply.
fn measure(value: &Value, depth: usize, left: &mut usize) -> Result<bool, Error> {
    let is_map = match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => false,
        ValueKind::Map => true,
        ValueKind::String => {
            let parts = value.as_str().map_or(0, str::len) / PART;
            let is_small = parts <= *left;
            *left = left.saturating_sub(parts);
            return Ok(is_small);
        }
        _ => return Ok(true),
    };
    if depth == 0 {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("lists are nested more than {DEPTH} deep")));
    }
    // What cannot be iterated, such as a namespace, is measured where its parts are read.
    let Ok(parts) = value.try_iter() else { return Ok(true) };
    for part in parts {
        if *left == 0 {
            return Ok(false);
        }
        *left -= 1;
        let part = if is_map { value.get_item(&part)? } else { part };
        if !measure(&part, depth - 1, left)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guarded(source: &str) -> String {
        let guarded = Guarded::new(source, 0).expect("short");
        let mut out = guarded.text.clone();
        for i in 0..guarded.operands.len() {
            out = out.replace(&format!("|{CHECKED}({i})"), "°").replace(&format!("|{FACTOR}({i})"), "^");
        }
        out
    }

    #[test]
    fn guards_wrap_operands_but_not_names() {
        for (source, want) in [
            ("a {{ b }} c", "a {{ b° }} c"),
            ("{{ a.b['c'].d(e, f=g)|h(i)|j }}", "{{ a.b['c'].d(e°, f=g°)°|h(i°)°|j° }}"),
            ("{{ a ~ 'b' + [c, 1] * 2 }}", "{{ a° ~ 'b' + [c°, 1]^ * 2 }}"),
            ("{{ 3 * a * b }}{{ f(*c) }}", "{{ 3 * a^ * b^ }}{{ f(*c°)° }}"),
            ("{{ 3 * a|list }}{{ 3 * 'a'|list + b }}", "{{ 3 * a^|list^ }}{{ 3 * 'a'|list^ + b° }}"),
            ("{{ a is defined and b is not none }}", "{{ a° is defined° and b° is not none }}"),
            (
                "{{ a is divisibleby 3 }}{{ a is eq(b) }}{{ a is in b }}",
                "{{ a° is divisibleby 3 }}{{ a° is eq(b°)° }}{{ a° is in b° }}",
            ),
            (
                "{{ a if b else c }}{{ not a }}{{ -a }}{{ a not in b }}",
                "{{ a° if b° else c° }}{{ not a° }}{{ -a° }}{{ a° not in b° }}",
            ),
            ("{{ {'a': b, c: 1}.a }}{{ (a, b)[0] }}{{ a[b:c] }}", "{{ {'a': b°, c°: 1}.a° }}{{ (a°, b°)[0]° }}{{ a[b°:c°]° }}"),
            ("{% set a = b %}{% set n.a, c = b, d %}", "{% set a = b° %}{% set n.a, c = b°, d° %}"),
            (
                "{% set a %}{{ b }}{% endset %}{% set a | f(b) %}{% endset %}",
                "{% set a %}{{ b° }}{% endset %}{% set a | f(b°) %}{% endset %}",
            ),
            (
                "{% for a, b in c if d recursive %}{{ loop(b) }}{% endfor %}",
                "{% for a, b in c° if d° recursive %}{{ loop(b°)° }}{% endfor %}",
            ),
            ("{% if a %}{% elif b == c %}{% else %}{% endif %}", "{% if a° %}{% elif b° == c° %}{% else %}{% endif %}"),
            ("{% with a=b, c=d %}{% endwith %}", "{% with a=b°, c=d° %}{% endwith %}"),
            ("{% macro m(a, b=c, d=[e]) %}{% endmacro %}", "{% macro m(a, b=c°, d=[e°]°) %}{% endmacro %}"),
            ("{% call(a, b=c) m(d) %}{% endcall %}{% do f(a) %}", "{% call(a, b=c°) m(d°) %}{% endcall %}{% do f(a°) %}"),
            (
                "{% call m(a) %}{% endcall %}{% filter f(a)|g %}{% endfilter %}",
                "{% call m(a°) %}{% endcall %}{% filter f(a°)|g %}{% endfilter %}",
            ),
            (
                "{% include 'a' ignore missing %}{% from b import c as d %}",
                "{% include 'a' ignore missing %}{% from b import c as d %}",
            ),
            (
                "{% block a %}{% endblock a %}{% raw %}{{ a }}{% endraw %}{# {{ a }} #}",
                "{% block a %}{% endblock a %}{% raw %}{{ a }}{% endraw %}{# {{ a }} #}",
            ),
            ("{{ '}}' ~ a -}}", "{{ '}}' ~ a° -}}"),
            ("{{ 'a'.b * 2 }}{{ a\n.b }}", "{{ 'a'.b^ * 2 }}{{ a\n.b° }}"),
        ] {
            assert_eq!(guarded(source), want);
        }
    }

    #[test]
    fn guarded_position_maps_to_source() {
        let source = "{{ a ~ b }}{{ cd }}";
        let guarded = Guarded::new(source, 7).expect("short");
        assert_eq!(guarded.text, "{{ a|__checked(7) ~ b|__checked(8) }}{{ cd|__checked(9) }}");
        for part in ["{{ a", "~ b", "}}{", "cd", "}}"] {
            let (is, was) = (guarded.text.rfind(part).expect("it is there"), source.rfind(part).expect("it is there"));
            assert_eq!(guarded.original(is), was, "{part}");
        }
        assert_eq!(guarded.original(guarded.text.find("checked(8)").expect("it is there")), 8, "behind the operand");
        assert_eq!(guarded.operands, [(3, 4), (7, 8), (14, 16)]);
    }

    #[test]
    fn overlong_expression_is_refused_with_place() {
        let at = |source: String| Guarded::new(&source, 0).expect_err("too long").at;
        assert_eq!(at(format!("a{{{{ 1{} }}}}", " + 1".repeat(600))), 4 + 2 * 1000);
        assert!(at(format!("{{% if a %}}{}{{% endif %}}", "{% elif b %}".repeat(301))) > 3000);
        assert!(at("{% include a ~ a %}".to_owned()) == 13);
    }
}
