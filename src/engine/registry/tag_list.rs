//! The tags of a repository in one piece of memory: a list may have a million of them, and a run a hundred lists.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::engine::image::tag::is_tag;

/// Tags, in the order in which they were added, without what is not a tag by the grammar: nobody could ask for that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagList {
    /// A line each.
    text: String,
    len: usize,
}

impl TagList {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The tags.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.text.lines()
    }

    /// Gives back memory that is not needed.
    pub(super) fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
    }

    /// All of several lists, sorted, each tag once.
    ///
    /// ```
    /// use overtag::engine::registry::tag_list::TagList;
    /// let of = |tags: &[&str]| tags.iter().copied().collect::<TagList>();
    /// assert_eq!(TagList::merged(vec![of(&["b", "a"]), of(&["c", "b"])]), of(&["a", "b", "c"]));
    /// ```
    pub fn merged(mut lists: Vec<Self>) -> Self {
        lists.retain(|list| !list.is_empty());
        if let [list] = &lists[..]
            && list.iter().is_sorted_by(|a, b| a < b)
        {
            return lists.swap_remove(0);
        }
        let mut tags: Vec<&str> = lists.iter().flat_map(Self::iter).collect();
        tags.sort_unstable();
        tags.dedup();
        tags.into_iter().collect()
    }
}

impl<'a> FromIterator<&'a str> for TagList {
    fn from_iter<I: IntoIterator<Item = &'a str>>(tags: I) -> Self {
        let mut out = Self::default();
        tags.into_iter().for_each(|tag| out.push(tag));
        out.shrink_to_fit();
        out
    }
}

/// The body of `tags/list`: `{"name": "ns/x", "tags": ["a", "b"]}`; `tags` may be null or missing.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Collect")]
pub struct Page<T> {
    tags: Option<Items<T>>,
}

impl<T: Collect> Page<T> {
    /// Its tags.
    pub fn into_tags(self) -> T {
        self.tags.map_or_else(T::default, |Items(tags)| tags)
    }
}

/// What is kept of the tags of a page.
pub trait Collect: Default {
    /// Takes the next one.
    fn push(&mut self, tag: &str);
}

impl Collect for TagList {
    fn push(&mut self, tag: &str) {
        if is_tag(tag) {
            self.text.push_str(tag);
            self.text.push('\n');
            self.len += 1;
        }
    }
}

/// The last tag of a page; to make a list of a million tags for it would double what a run needs.
#[derive(Debug, Default)]
pub struct LastTag(pub String);

impl Collect for LastTag {
    fn push(&mut self, tag: &str) {
        if is_tag(tag) {
            self.0.clear();
            self.0.push_str(tag);
        }
    }
}

/// A list; an item that is not a text is passed over.
#[derive(Debug)]
struct Items<T>(T);

impl<'de, T: Collect> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Collect> Visitor<'de> for List<T> {
            type Value = Items<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of tags")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Items<T>, A::Error> {
                let mut out = T::default();
                while items.next_element_seed(Item(&mut out))?.is_some() {}
                Ok(Items(out))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// One item, which goes where it belongs without a text of its own.
struct Item<'a, T>(&'a mut T);

impl<'de, T: Collect> DeserializeSeed<'de> for Item<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Collect> Visitor<'de> for Item<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag")
    }

    fn visit_str<E>(self, tag: &str) -> Result<(), E> {
        self.0.push(tag);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_page_ignores_unusable_items() {
        let read = |text: &str| {
            serde_json::from_str::<Page<TagList>>(text)
                .ok()
                .map(|page| page.into_tags().iter().map(str::to_owned).collect::<Vec<_>>())
        };
        let none = Some(Vec::new());
        assert_eq!(
            read(r#"{"name":"x","tags":["b","a\u002d1",3,-1,0.5,null,true,["c"],{"d":"e"},"no tag","","é"]}"#),
            Some(vec!["b".to_owned(), "a-1".to_owned()])
        );
        assert_eq!((read(r#"{"tags":null}"#), read("{}"), read(r#"{"tags":[]}"#)), (none.clone(), none.clone(), none));
        assert_eq!((read("[]"), read(r#"{"tags":{}}"#), read(r#"{"tags":"a"}"#), read("")), (None, None, None, None));
    }
}
