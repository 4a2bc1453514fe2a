//! JSON of servers, read into structs that document what a server sends. What it sends in another shape is passed over.
//!
//! serde's derived code does the same, and makes the page tens of kB larger. Do not use it for our own files: any fault in those is
//! an error.

use serde_json::{Map, Value};

/// What can be read from a JSON value.
pub trait FromJson: Sized {
    /// Returns what `value` is, or `None` where it is something else.
    fn from_json(value: Value) -> Option<Self>;
}

/// Declares a struct, and how it is read from an object: a field that is not there, or something else, is `None`.
///
/// ```text
/// shape! {
///     /// What a token service answers.
///     struct TokenBody {
///         /// Seconds.
///         expires_in: u64 = "expires_in",
///     }
/// }
/// ```
macro_rules! shape {
    ($(#[$about:meta])* struct $name:ident { $($(#[$doc:meta])* $field:ident : $kind:ty = $key:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default)]
        struct $name {
            $($(#[$doc])* $field: Option<$kind>,)*
        }

        impl $crate::engine::json::FromJson for $name {
            fn from_json(value: serde_json::Value) -> Option<Self> {
                let serde_json::Value::Object(mut object) = value else { return None };
                Some(Self { $($field: $crate::engine::json::FromJson::from_json($crate::engine::json::take(&mut object, $key)),)* })
            }
        }
    };
}
pub(crate) use shape;

/// Takes the value of a key out of an object; null where there is none.
#[inline(never)]
pub fn take(object: &mut Map<String, Value>, key: &str) -> Value {
    object.get_mut(key).map_or(Value::Null, Value::take)
}

/// Reads the body of a response. Returns `None` where it is not JSON, and an empty `T` where it is something else.
///
/// ```
/// use overtag::engine::json::{Pairs, read};
///
/// let body = |text: &str| read::<Pairs<Vec<String>>>(text.as_bytes()).map(|pairs| pairs.0);
/// assert_eq!(body(r#"{"tags": ["a", 1]}"#), Some(vec![("tags".to_owned(), vec!["a".to_owned(), String::new()])]));
/// assert_eq!(body("[]"), Some(vec![]));
/// assert_eq!(body("<html>"), None);
/// ```
pub fn read<T: FromJson + Default>(body: &[u8]) -> Option<T> {
    let value: Value = serde_json::from_slice(body).ok()?;
    Some(T::from_json(value).unwrap_or_default())
}

/// Any value: what matters is that it is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anything;

impl FromJson for Anything {
    fn from_json(value: Value) -> Option<Self> {
        (!value.is_null()).then_some(Self)
    }
}

impl FromJson for String {
    fn from_json(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl FromJson for bool {
    fn from_json(value: Value) -> Option<Self> {
        value.as_bool()
    }
}

impl FromJson for u64 {
    fn from_json(value: Value) -> Option<Self> {
        value.as_u64()
    }
}

impl FromJson for f64 {
    fn from_json(value: Value) -> Option<Self> {
        value.as_f64()
    }
}

/// In a list or an object: none for an item that is something else.
impl<T: FromJson> FromJson for Option<T> {
    fn from_json(value: Value) -> Option<Self> {
        Some(T::from_json(value))
    }
}

/// A list; an item that is something else is an empty one.
impl<T: FromJson + Default> FromJson for Vec<T> {
    fn from_json(value: Value) -> Option<Self> {
        match value {
            Value::Array(mut items) => {
                let mut out = Self::with_capacity(items.len());
                items.iter_mut().for_each(|item| out.push(T::from_json(item.take()).unwrap_or_default()));
                Some(out)
            }
            _ => None,
        }
    }
}

/// An object whose keys are not known, pair by pair; what is something else is an empty one.
#[derive(Clone, Debug, Default)]
pub struct Pairs<T>(pub Vec<(String, T)>);

impl<T: FromJson + Default> FromJson for Pairs<T> {
    fn from_json(value: Value) -> Option<Self> {
        match value {
            Value::Object(mut object) => {
                let mut out = Vec::with_capacity(object.len());
                for (key, item) in &mut object {
                    out.push((key.clone(), T::from_json(item.take()).unwrap_or_default()));
                }
                Some(Self(out))
            }
            _ => None,
        }
    }
}
