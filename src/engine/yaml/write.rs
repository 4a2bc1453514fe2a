//! Writes YAML that readers of 1.1 and of 1.2 read alike.

use serde_json::Value;

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
