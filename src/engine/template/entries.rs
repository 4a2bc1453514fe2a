//! A rendered template as a list of entries, its order kept.

use serde_json::{Map, Value};

use crate::engine::error::Error;
use crate::engine::yaml;

/// The key under which a template holds its list.
const LIST: &str = "container_images_template";

/// One entry of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The whole name, as the template rendered it.
    pub imagename: String,
    /// Heat parameters that take this image.
    pub params: Vec<String>,
    /// Heat resource types that need it.
    pub services: Vec<String>,
    /// Everything else, to be written as it came.
    pub rest: Map<String, Value>,
}

/// Reads what the template `name` rendered to. A missing list is an error, an empty one is not. Keys that stand twice go to `notices`.
pub fn read(name: &str, rendered: &str, notices: &mut Vec<Error>) -> Result<Vec<Entry>, Error> {
    let name = format!("what {name} renders to");
    let wrong = |message: String, place: String| Error::template(message, place, "correct the template");
    let yaml::Document { value: document, notices: duplicates } = yaml::parse(&name, rendered)?;
    notices.extend(duplicates);
    let Some(Value::Array(list)) = document.get(LIST) else {
        let message = match document.get("container_images") {
            Some(_) => format!("there is `container_images`, which is an output, but no list `{LIST}`"),
            None => format!("there is no list `{LIST}`"),
        };
        return Err(wrong(message, name));
    };
    let entry = |(i, value): (usize, &Value)| {
        let at = || format!("{name}, entry {}", i + 1);
        let Value::Object(map) = value else { return Err(wrong("an entry is not a mapping".to_owned(), at())) };
        let mut rest = map.clone();
        let Some(Value::String(imagename)) = rest.remove("imagename") else {
            return Err(wrong("an entry has no string `imagename`".to_owned(), at()));
        };
        let mut texts = |key: &str| match rest.remove(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
                Ok(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            Some(_) => Err(wrong(format!("`{key}` of {imagename} is not a list of strings"), at())),
        };
        let (params, services) = (texts("params")?, texts("services")?);
        Ok(Entry { imagename, params, services, rest })
    };
    list.iter().enumerate().map(entry).collect()
}
