//! Templates: the only user of minijinja.
//!
//! Jinja2 as TripleO's templates use it: no escaping, undefined prints as nothing, Python's string methods, includes from beside
//! the template. A template comes from anybody, so it has a budget: an endless loop or a huge output is an error, not a hang.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::value::{Kwargs, Value as Jinja, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, escape_formatter};

use super::error::{Error, clean};
use super::release::Value;
use super::yaml::place;

/// Steps that a rendering may take; the longest built-in template takes about 20,000.
const FUEL: u64 = 1_000_000;
/// Bytes that a rendering may write.
const OUTPUT_LIMIT: usize = 4 << 20;
/// Files that a template may include.
pub const INCLUDES: usize = 50;
/// Values that `tojson` may write at once.
const JSON_PARTS: usize = 100_000;
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
/// [`Kind::Template`](super::error::Kind::Template), with file, line, column and the line itself.
pub fn render(template: &Source, includes: &[Source], variables: &BTreeMap<String, Value>) -> Result<Rendered, Error> {
    let mut variables: BTreeMap<String, Jinja> = variables.iter().map(|(name, value)| (name.clone(), to_jinja(value))).collect();
    let lenient = run(template, includes, &variables, UndefinedBehavior::Lenient);
    let (text, is_whole) = lenient.map_err(|e| explain(&e, template, includes))?;
    if is_whole {
        return Ok(Rendered { text, undefined: Vec::new() });
    }

    // Only a strict rendering stops at an undefined variable and tells its line; each one found is then defined as nothing.
    let mut undefined = Vec::new();
    while undefined.len() < REPORTED {
        let Err(error) = run(template, includes, &variables, UndefinedBehavior::Strict) else { break };
        let error = innermost(&error);
        let name = error.range().zip(error.template_source()).and_then(|(r, s)| s.get(r)).unwrap_or("").trim();
        if error.kind() != ErrorKind::UndefinedError || name.is_empty() {
            break;
        }
        let what = format!("`{}` is not defined and prints as nothing", clean(name));
        undefined.push(Error::template(what, located(error, template, includes), format!("give it with set.{}", clean(name))));
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name || variables.insert(name.to_owned(), "".into()).is_some() {
            break;
        }
    }
    Ok(Rendered { text, undefined })
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
    /// A list that has itself for its parts, again and again, is small, and its text is not.
    fn sorted(value: &Jinja, left: &mut usize) -> Result<Jinja, minijinja::Error> {
        *left = left.checked_sub(1).ok_or(ErrorKind::OutOfFuel)?;
        match value.kind() {
            ValueKind::Map => {
                let mut keys: Vec<Jinja> = value.try_iter()?.collect();
                keys.sort();
                let pair = |key: Jinja| Ok((key.clone(), sorted(&value.get_item(&key)?, left)?));
                Ok(Jinja::from_pairs(keys.into_iter().map(pair).collect::<Result<Vec<_>, minijinja::Error>>()?))
            }
            ValueKind::Seq | ValueKind::Iterable => {
                value.try_iter()?.map(|part| sorted(&part, left)).collect::<Result<Vec<_>, _>>().map(Jinja::from)
            }
            _ => Ok(value.clone()),
        }
    }
    minijinja::filters::tojson(&sorted(value, &mut { JSON_PARTS })?, indent, args)
}

/// The text, and whether nothing undefined was printed into it.
fn run(
    template: &Source,
    includes: &[Source],
    variables: &BTreeMap<String, Jinja>,
    undefined: UndefinedBehavior,
) -> Result<(String, bool), minijinja::Error> {
    let is_whole = Arc::new(AtomicBool::new(true));
    let seen = is_whole.clone();
    let mut env = Environment::new();
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_undefined_behavior(undefined);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.set_debug(true);
    env.add_filter("tojson", sorted_json);
    // Truth values print as they were written, not as Python's `True`.
    env.set_formatter(move |out, state, value| match value.kind() {
        ValueKind::Undefined => {
            seen.store(false, Ordering::Relaxed);
            escape_formatter(out, state, value)
        }
        ValueKind::Bool => Ok(out.write_str(if value.is_true() { "true" } else { "false" })?),
        _ => escape_formatter(out, state, value),
    });
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(100);
    for include in includes {
        env.add_template_owned(base_name(&include.name).to_owned(), include.text.clone())?;
    }
    env.set_path_join_callback(|name, _| base_name(name).to_owned().into());
    let template = env.template_from_named_str(&template.name, &template.text)?;
    let mut out = Limited(Vec::new());
    template.render_captured_to(variables, &mut out)?;
    let text = String::from_utf8(out.0).map_err(|_| minijinja::Error::new(ErrorKind::WriteFailure, "the output is no text"))?;
    Ok((text, is_whole.load(Ordering::Relaxed)))
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

/// File, line, column and the line itself.
fn located(error: &minijinja::Error, template: &Source, includes: &[Source]) -> String {
    let name = error.name().unwrap_or(&template.name);
    let own = includes.iter().find(|i| base_name(&i.name) == name).unwrap_or(template);
    let Some(line) = error.line() else { return own.name.clone() };
    let start = own.text.split_inclusive('\n').take(line - 1).map(str::len).sum::<usize>();
    let column = error.range().filter(|r| r.start >= start).and_then(|r| own.text.get(start..r.start));
    place(&own.name, &own.text, line, column.map_or(1, |before| before.chars().count() + 1))
}

/// A minijinja error as one of ours.
fn explain(error: &minijinja::Error, template: &Source, includes: &[Source]) -> Error {
    let inner = innermost(error);
    let at = located(inner, template, includes);
    match inner.kind() {
        ErrorKind::OutOfFuel => {
            Error::template("the template does not come to an end", at, format!("it may take {FUEL} steps; look for a loop"))
        }
        ErrorKind::WriteFailure => Error::template(
            "the template writes too much",
            at,
            format!("it may write {} MiB; look for a loop", OUTPUT_LIMIT >> 20),
        ),
        ErrorKind::TemplateNotFound => {
            let what = inner.detail().unwrap_or("an included template is not there").to_owned();
            Error::template(what, at, "give the included file beside the template")
        }
        kind => {
            let what = match inner.detail() {
                Some(detail) => format!("{kind}: {detail}"),
                None => kind.to_string(),
            };
            Error::template(what, at, "correct the template")
        }
    }
}
