//! Renders templates; the only user of minijinja.
//!
//! Jinja2 as TripleO's templates use it: no escaping, undefined prints as nothing, Python's string methods, includes from beside
//! the template. A template comes from anybody, so it has a budget (`limits`): an endless loop, a huge value or output is an error, not a
//! hang.

pub mod entries;
pub mod heat;
mod limits;
pub mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Kwargs, Rest, Value as Jinja, ValueKind, ValueOrKwargs};
use minijinja::{AutoEscape, Environment, ErrorKind, State, escape_formatter};

use crate::engine::error::{Error, clean};
use crate::engine::release::Value;
use crate::engine::yaml::place;
use limits::{CHECKED, FACTOR, Guard, Guarded};

/// Steps that a rendering may take; the longest built-in template takes about 50,000.
const FUEL: u64 = 2_000_000;
/// Bytes that a rendering may write.
const OUTPUT_LIMIT: usize = 4 << 20;
/// Files that a template may include, those that are not there too.
const INCLUDES: usize = 50;
/// Undefined variables that are reported; after so many the reader has understood.
const REPORTED: usize = 20;

/// A text with the name that errors call it by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file's name or address.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// What comes in beside the link: files of the visitor's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// A template in place of the release's, already fetched where the link gave its address.
    pub template: Option<Source>,
    /// Files that it may include.
    pub includes: Vec<Source>,
    /// A roles file (`-r`).
    pub roles: Option<Source>,
    /// Heat environments (`-e`), in their order.
    pub environments: Vec<Source>,
    /// A snapshot that is read in place of registries.
    pub snapshot: Option<Source>,
}

/// What a template became.
#[derive(Debug)]
pub struct Rendered {
    /// The text, YAML if the template is right.
    pub text: String,
    /// One warning for each variable that was printed without being defined.
    pub undefined: Vec<Error>,
}

/// Renders `template` with `variables`; `{% include %}` finds `includes` by name, whatever folder is written before it.
///
/// # Errors
/// [`Kind::Template`](crate::engine::error::Kind::Template), with file, line, column and the line itself.
pub fn render(template: &Source, includes: &[Source], variables: &BTreeMap<String, Value>) -> Result<Rendered, Error> {
    // The template first: what it includes cannot take its name.
    let mut sources: Vec<(&Source, Guarded)> = Vec::new();
    for source in [template].into_iter().chain(includes) {
        let first = sources.iter().map(|(_, guarded)| guarded.operands.len()).sum();
        let guarded = Guarded::new(&source.text, first)
            .map_err(|refused| Error::template(refused.message, position(source, refused.at), "simplify it"))?;
        sources.push((source, guarded));
    }
    let variables: BTreeMap<&str, Jinja> = variables.iter().map(|(name, value)| (name.as_str(), to_jinja(value))).collect();
    let (text, printed) = run(&sources, &variables).map_err(|e| explain(&e, &sources))?;

    let mut undefined: Vec<(&str, Error)> = Vec::new();
    for number in printed {
        let Some((source, (from, to))) = operand(&sources, number) else { continue };
        let name = source.text.get(from..to).unwrap_or_default();
        if undefined.iter().any(|(known, _)| *known == name) || undefined.len() == REPORTED {
            continue;
        }
        let message = format!("`{}` is not defined and prints nothing", clean(name));
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let hint = if is_name { format!("give it with set.{name}") } else { "correct the template".to_owned() };
        undefined.push((name, Error::template(message, position(source, from), hint)));
    }
    Ok(Rendered { text, undefined: undefined.into_iter().map(|(_, error)| error).collect() })
}

/// The source of an operand by its number, and where it is there.
fn operand<'a>(sources: &'a [(&'a Source, Guarded)], number: usize) -> Option<(&'a Source, (usize, usize))> {
    let mut number = number;
    for (source, guarded) in sources {
        match guarded.operands.get(number) {
            Some(at) => return Some((source, *at)),
            None => number -= guarded.operands.len(),
        }
    }
    None
}

/// The names of the files that a template includes, imports or extends, as far as they are written out.
///
/// ```
/// use overtag::engine::template::included;
/// assert_eq!(included("{% include 'ceph.j2' %}{%- from \"m/macros.j2\" import x %}"), ["ceph.j2", "m/macros.j2"]);
/// ```
pub fn included(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for block in text.split("{%").skip(1) {
        // One too many is enough to know.
        if out.len() > INCLUDES {
            break;
        }
        let block = block.split("%}").next().unwrap_or("").trim_start_matches(['-', '+']).trim_start();
        let Some(rest) = ["include", "import", "from", "extends"].iter().find_map(|w| block.strip_prefix(w)) else { continue };
        let rest = rest.trim_start();
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else { continue };
        if let Some((name, _)) = rest[1..].split_once(quote)
            && !out.iter().any(|o| o == name)
        {
            out.push(name.to_owned());
        }
    }
    out
}

/// The files that a template includes, while they are read one by one.
///
/// ```
/// use overtag::engine::template::{Includes, Source};
/// let mut includes = Includes::of(&Source { name: "t.j2".to_owned(), text: "{% include 'a.j2' %}".to_owned() });
/// assert_eq!(includes.next_name().unwrap().as_deref(), Some("a.j2"));
/// includes.add(Source { name: "a.j2".to_owned(), text: "{% include 'folder/a.j2' %}{% include 'b.j2' %}".to_owned() });
/// // One that is not there is an error only if the template comes to it.
/// assert_eq!(includes.next_name().unwrap().as_deref(), Some("b.j2"));
/// assert_eq!(includes.next_name().unwrap(), None);
/// assert_eq!(includes.found.len(), 1);
/// ```
#[derive(Debug, Default)]
pub struct Includes {
    /// Those that were read.
    pub found: Vec<Source>,
    template: String,
    wanted: Vec<String>,
    asked: BTreeSet<String>,
}

impl Includes {
    /// Those of a template.
    pub fn of(template: &Source) -> Self {
        Self { template: template.name.clone(), wanted: included(&template.text), ..Self::default() }
    }

    /// The name of the file that is to be read next, beside the template; none where that was all.
    ///
    /// # Errors
    /// There are more than 50, which is a request each.
    pub fn next_name(&mut self) -> Result<Option<String>, Error> {
        while let Some(name) = self.wanted.pop() {
            if !self.asked.insert(base_name(&name).to_owned()) {
                continue;
            }
            if self.asked.len() > INCLUDES {
                let message = format!("the template includes more than {INCLUDES} files");
                return Err(Error::template(message, self.template.as_str(), "merge some of them"));
            }
            return Ok(Some(name));
        }
        Ok(None)
    }

    /// Takes a file that was read.
    pub fn add(&mut self, source: Source) {
        self.wanted.extend(included(&source.text));
        self.found.push(source);
    }
}

/// The address of `name` beside the template at `url`.
///
/// ```
/// use overtag::engine::template::beside;
/// assert_eq!(beside("https://h/a/t.j2?x=/", "ceph.j2"), "https://h/a/ceph.j2");
/// assert_eq!(beside("https://h", "ceph.j2"), "https://h/ceph.j2");
/// ```
pub fn beside(url: &str, name: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let start = path.find("://").map_or(0, |i| i + 3);
    match path[start..].rfind('/') {
        Some(i) => format!("{}/{name}", &path[..start + i]),
        None => format!("{path}/{name}"),
    }
}

fn to_jinja(value: &Value) -> Jinja {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::Bool(b) => (*b).into(),
        Value::None => ().into(),
    }
}

/// Jinja2's `tojson`, which sorts keys by its default policies; everything else goes through a mapping in the order written.
fn sorted_json(value: &Jinja, indent: Option<Jinja>, args: Kwargs) -> Result<Jinja, minijinja::Error> {
    fn sorted(value: &Jinja) -> Result<Jinja, minijinja::Error> {
        match value.kind() {
            ValueKind::Map => {
                let mut keys: Vec<Jinja> = value.try_iter()?.collect();
                keys.sort();
                let pair = |key: Jinja| Ok((key.clone(), sorted(&value.get_item(&key)?)?));
                Ok(Jinja::from_pairs(keys.into_iter().map(pair).collect::<Result<Vec<_>, minijinja::Error>>()?))
            }
            ValueKind::Seq | ValueKind::Iterable => {
                value.try_iter()?.map(|part| sorted(&part)).collect::<Result<Vec<_>, _>>().map(Jinja::from)
            }
            _ => Ok(value.clone()),
        }
    }
    let width = indent.clone().or_else(|| args.peek::<Jinja>("indent").ok());
    limits::check_call("tojson", "", &width.into_iter().collect::<Vec<_>>())?;
    minijinja::filters::tojson(&sorted(value)?, indent, args)
}

/// Python's methods, their results estimated first.
fn method(state: &mut State<'_, '_>, value: &Jinja, name: &str, args: &[Jinja]) -> Result<Jinja, minijinja::Error> {
    limits::check_call(name, value.as_str().unwrap_or_default(), args)?;
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

/// Jinja2's `trim`.
fn trim(value: &Jinja, characters: Option<Jinja>) -> Result<String, minijinja::Error> {
    let text = value.to_string();
    let Some(characters) = characters else { return Ok(text.trim().to_owned()) };
    limits::check_call("trim", &text, std::slice::from_ref(&characters))?;
    let characters: Vec<char> = characters.as_str().unwrap_or_default().chars().collect();
    Ok(text.trim_matches(&characters[..]).to_owned())
}

/// Jinja2's `format`.
fn format(state: &mut State<'_, '_>, value: &Jinja, args: Rest<ValueOrKwargs>) -> Result<Jinja, minijinja::Error> {
    let given: Vec<Jinja> = args.iter().map(|arg| (**arg).clone()).collect();
    limits::check_call("format", value.as_str().unwrap_or_default(), &given)?;
    minijinja::filters::format(state, value, args)
}

/// `chain`, which minijinja has beside Jinja2's filters, without layers of lists that are computed each time.
fn chain(value: &Jinja, others: Rest<Jinja>) -> Result<Jinja, minijinja::Error> {
    let all: Vec<&Jinja> = std::iter::once(value).chain(others.iter()).collect();
    if all.iter().all(|value| value.kind() == ValueKind::Map) {
        let mut pairs = Vec::new();
        for map in all {
            for key in map.try_iter()? {
                pairs.push((key.clone(), map.get_item(&key)?));
            }
        }
        return Ok(Jinja::from_pairs(pairs));
    }
    let mut parts = Vec::new();
    for list in all {
        parts.extend(list.try_iter()?);
    }
    Ok(Jinja::from(parts))
}

/// The text, and the numbers of the operands that were printed and are not defined.
fn run(sources: &[(&Source, Guarded)], variables: &BTreeMap<&str, Jinja>) -> Result<(String, Vec<usize>), minijinja::Error> {
    // The operand that was looked at last, if it is not defined; and those that were printed then.
    #[derive(Default)]
    struct Undefined {
        last: Option<usize>,
        printed: Vec<usize>,
    }
    let (guard, undefined) = (Arc::new(Guard::default()), Arc::new(Mutex::new(Undefined::default())));
    let mut env = Environment::new();
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_unknown_method_callback(method);
    env.set_debug(true);
    env.add_filter("tojson", sorted_json);
    env.add_filter("trim", trim);
    env.add_filter("format", format);
    env.add_filter("chain", chain);
    let (checks, seen) = (guard.clone(), undefined.clone());
    env.add_filter(CHECKED, move |value: Jinja, number: usize| -> Result<Jinja, minijinja::Error> {
        seen.lock().unwrap_or_else(PoisonError::into_inner).last = value.is_undefined().then_some(number);
        checks.check(&value).map(|()| limits::realized(value))
    });
    let seen = undefined.clone();
    env.add_filter(FACTOR, move |value: Jinja, number: usize| -> Result<Jinja, minijinja::Error> {
        seen.lock().unwrap_or_else(PoisonError::into_inner).last = value.is_undefined().then_some(number);
        guard.check_factor(&value).map(|()| value)
    });
    let printing = undefined.clone();
    // Truth values print as they were written, not as Python's `True`.
    env.set_formatter(move |out, state, value| match value.kind() {
        ValueKind::Undefined => {
            let mut undefined = printing.lock().unwrap_or_else(PoisonError::into_inner);
            let last = undefined.last.take();
            undefined.printed.extend(last);
            escape_formatter(out, state, value)
        }
        ValueKind::Bool => Ok(out.write_str(if value.is_true() { "true" } else { "false" })?),
        _ => escape_formatter(out, state, value),
    });
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(100);
    let Some(((template, guarded), includes)) = sources.split_first() else { return Ok(Default::default()) };
    for (include, guarded) in includes {
        env.add_template_owned(base_name(&include.name).to_owned(), guarded.text.clone())?;
    }
    env.set_path_join_callback(|name, _| base_name(name).to_owned().into());
    let template = env.template_from_named_str(&template.name, &guarded.text)?;
    let mut out = Limited(Vec::new());
    template.render_captured_to(variables, &mut out)?;
    let text = String::from_utf8(out.0).map_err(|_| minijinja::Error::new(ErrorKind::WriteFailure, "the output is not UTF-8"))?;
    let printed = std::mem::take(&mut undefined.lock().unwrap_or_else(PoisonError::into_inner).printed);
    Ok((text, printed))
}

/// A writer that takes so much and no more.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_LIMIT {
            return Err(io::Error::other("too much"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The last component of a path.
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The error that started it: an error in an included file is wrapped by the one that includes it.
fn innermost(error: &minijinja::Error) -> &minijinja::Error {
    let mut inner = error;
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(cause) = cause.downcast_ref::<minijinja::Error>() {
            inner = cause;
        }
        next = cause.source();
    }
    inner
}

/// File, line, column and the line itself, of a byte of a source.
fn position(source: &Source, at: usize) -> String {
    let before = source.text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    place(&source.name, &source.text, line, column)
}

/// Where an error happened.
fn located(error: &minijinja::Error, sources: &[(&Source, Guarded)]) -> String {
    let Some((template, _)) = sources.first() else { return String::new() };
    let name = error.name().unwrap_or(&template.name);
    let own = sources.iter().skip(1).find(|(source, _)| base_name(&source.name) == name).or(sources.first());
    let Some((source, guarded)) = own else { return String::new() };
    match (error.line(), error.range()) {
        (Some(line), range) => {
            let start = source.text.split_inclusive('\n').take(line - 1).map(str::len).sum::<usize>();
            let at = range.map(|range| guarded.original(range.start)).filter(|at| *at >= start);
            position(source, at.unwrap_or(start))
        }
        (None, _) => source.name.clone(),
    }
}

/// A minijinja error as one of ours.
fn explain(error: &minijinja::Error, sources: &[(&Source, Guarded)]) -> Error {
    let inner = innermost(error);
    let at = located(inner, sources);
    match inner.kind() {
        ErrorKind::OutOfFuel => {
            Error::template("the template does not end", at, format!("the limit is {FUEL} steps; check for a loop"))
        }
        ErrorKind::WriteFailure => Error::template(
            "the template writes too much",
            at,
            format!("the limit is {} MiB; check for a loop", OUTPUT_LIMIT >> 20),
        ),
        ErrorKind::TemplateNotFound => {
            let message = inner.detail().unwrap_or("an included template does not exist").to_owned();
            Error::template(message, at, "give the included file beside the template")
        }
        kind => {
            let message = match inner.detail() {
                Some(detail) => format!("{kind}: {detail}"),
                None => kind.to_string(),
            };
            Error::template(message, at, "correct the template")
        }
    }
}
