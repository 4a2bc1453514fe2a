//! What a scalar means, by its tag or its spelling, to PyYAML's safe loader.

use serde_json::{Number, Value};

use crate::engine::error::clean;

/// The tags of YAML's own types (<https://yaml.org/type/>).
const CORE: &str = "tag:yaml.org,2002:";

/// Returns the name of one of YAML's own types, such as `int` for `!!int`. Returns `None` without a tag, and for `!`, which names no type.
///
/// # Errors
/// Any other tag.
pub(super) fn core_tag(tag: Option<&str>) -> Result<Option<&str>, String> {
    match tag {
        None | Some("!") => Ok(None),
        Some(tag) => tag.strip_prefix(CORE).map(Some).ok_or_else(|| format!("the tag `{}` is not known", clean(tag))),
    }
}

/// What a scalar means.
pub(super) fn scalar_value(text: &str, is_plain: bool, tag: Option<&str>) -> Result<Value, String> {
    let as_text = || Value::String(text.to_owned());
    let wrong = |kind: &str| format!("`{}` is not of the type `!!{kind}`", clean(text).chars().take(60).collect::<String>());
    match (core_tag(tag)?, tag.is_some()) {
        (None, false) if !is_plain => Ok(as_text()),
        (None, _) => match text {
            "<<" | "=" => Err(format!("a plain `{text}` has a special meaning; quote it")),
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
