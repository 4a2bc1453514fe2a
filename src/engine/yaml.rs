//! YAML in and out: the only user of serde_yaml, which its author has retired, so there is one place to swap.
//!
//! Inside, documents are `serde_json` values: their mappings are sorted by key, as the written files are. What is written is a
//! small subset of YAML whose every scalar gives back the same string to readers of YAML 1.1 and of 1.2.

use serde_json::{Map, Number, Value};

use super::error::{Error, clean};

/// Reads one document. `name` is what the text is called in errors, which tell line and column and show the line itself.
pub fn parse(name: &str, text: &str) -> Result<Value, Error> {
    let wrong = |e: serde_yaml::Error| {
        let message = e.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        match e.location() {
            Some(at) => Error::template(message, place(name, text, at.line(), at.column()), "correct the YAML"),
            None => Error::template(message, name, "correct the YAML"),
        }
    };
    let mut value: serde_yaml::Value = serde_yaml::from_str(text).map_err(wrong)?;
    value.apply_merge().map_err(wrong)?;
    convert(value).map_err(|what| Error::template(what, name, "correct the YAML"))
}

/// `name`, line and column, and the line itself.
pub fn place(name: &str, text: &str, line: usize, column: usize) -> String {
    // What ends too early is told of the line behind the last; the last one with anything in it says more.
    let lines: Vec<&str> = text.lines().take(line).collect();
    let (line, column, shown) = match lines.iter().rposition(|l| !l.trim().is_empty()) {
        Some(i) if i + 1 < line => (i + 1, lines[i].chars().count() + 1, lines[i].trim()),
        Some(i) => (line, column, lines[i].trim()),
        None => (line, column, ""),
    };
    let shown: String = clean(shown).chars().take(120).collect();
    format!("{name}, line {line}, column {column}: `{shown}`")
}

/// serde_yaml's value as a serde_json one; keys that are no text are written as text.
fn convert(value: serde_yaml::Value) -> Result<Value, String> {
    use serde_yaml::Value as Y;
    Ok(match value {
        Y::Null => Value::Null,
        Y::Bool(b) => Value::Bool(b),
        Y::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(u), _) => Value::from(u),
            (None, Some(i)) => Value::from(i),
            _ => n.as_f64().and_then(Number::from_f64).map_or_else(|| Value::from(n.to_string()), Value::Number),
        },
        Y::String(s) => Value::String(s),
        Y::Sequence(list) => Value::Array(list.into_iter().map(convert).collect::<Result<_, _>>()?),
        Y::Mapping(map) => {
            let mut out = Map::new();
            for (key, value) in map {
                let key = match convert(key)? {
                    Value::String(s) => s,
                    Value::Array(_) | Value::Object(_) => return Err("a key is no plain text".to_owned()),
                    other => other.to_string(),
                };
                out.insert(key, convert(value)?);
            }
            Value::Object(out)
        }
        Y::Tagged(tagged) => return Err(format!("the tag `{}` is not understood", tagged.tag)),
    })
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
