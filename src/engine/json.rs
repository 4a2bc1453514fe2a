//! JSON of servers, read into structs that document what a server sends. What it sends in another shape is passed over.
//!
//! It is not for files of ours, of which any fault is to be reported.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Why there is nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not JSON.
    NotJson,
    /// It is JSON, but not an object, or without something that is required.
    OtherShape,
}

/// Reads an object.
///
/// ```
/// use overtag::engine::json::{Lenient, Unreadable, read};
///
/// #[derive(serde::Deserialize)]
/// struct Token {
///     #[serde(default)]
///     expires_in: Lenient<u64>,
/// }
/// assert_eq!(read::<Token>(br#"{"expires_in": 300}"#).unwrap().expires_in.0, Some(300));
/// assert_eq!(read::<Token>(br#"{"expires_in": "soon"}"#).unwrap().expires_in.0, None);
/// assert_eq!(read::<Token>(b"[]").err(), Some(Unreadable::OtherShape));
/// assert_eq!(read::<Token>(b"<html>").err(), Some(Unreadable::NotJson));
/// ```
///
/// # Errors
/// What is not JSON, not an object, or without a field that `T` requires.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unreadable> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Unreadable::NotJson)?;
    match value.is_object() {
        true => T::deserialize(value).map_err(|_| Unreadable::OtherShape),
        false => Err(Unreadable::OtherShape),
    }
}

/// A value, or none where a server sends something else in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lenient<T>(pub Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Lenient<Vec<Lenient<T>>> {
    /// Returns the items of a list, an empty one for each that is something else.
    pub fn items(self) -> impl Iterator<Item = T>
    where
        T: Default,
    {
        self.0.into_iter().flatten().map(|item| item.0.unwrap_or_default())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(T::deserialize(Value::deserialize(deserializer)?).ok()))
    }
}
