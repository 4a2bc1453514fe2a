//! References of images: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`, parsed once, at the edge.
//!
//! The grammar is distribution's (<https://distribution.github.io/distribution/spec/api/>): a first component is a host only if it
//! has a `.` or a `:` or is `localhost`; without one the registry is Docker Hub.

use std::fmt;

use super::digest::Digest;
use super::tag::is_tag;
use crate::engine::url::{HUB, is_host};

/// A repository of a registry: all of a name but its tag and its digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    /// Host and port, as written; `docker.io` where none was.
    pub host: String,
    /// The path on that host, `library/` added where Docker Hub adds it.
    pub path: String,
}

impl Repository {
    /// The path less its last component, with the host: what a namespace of images is.
    pub fn namespace(&self) -> String {
        match self.path.rsplit_once('/') {
            Some((space, _)) => format!("{}/{space}", self.host),
            None => self.host.clone(),
        }
    }

    /// The first component of the path, which Quay calls a namespace, and the rest, which it calls a name.
    pub fn split_first(&self) -> (&str, &str) {
        self.path.split_once('/').unwrap_or(("", &self.path))
    }

    /// The last component of the path.
    pub fn short(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

/// A whole name of an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// What was written before tag and digest, as it was spelt.
    pub name: String,
    /// The repository that this means.
    pub repository: Repository,
    /// The tag; `latest` where neither tag nor digest was written.
    pub tag: String,
    /// The digest, where one was written.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Reads a reference; says in one phrase what is wrong with it otherwise.
    ///
    /// ```
    /// use overtag::engine::image::reference::Reference;
    /// let r = Reference::parse("localhost:5000/tripleo/nova-api:current-tripleo").unwrap();
    /// assert_eq!((r.repository.host.as_str(), r.tag.as_str()), ("localhost:5000", "current-tripleo"));
    /// let hub = Reference::parse("tripleoupstream/centos-binary-nova-api").unwrap();
    /// assert_eq!((hub.repository.host.as_str(), hub.tag.as_str()), ("docker.io", "latest"));
    /// ```
    pub fn parse(text: &str) -> Result<Self, String> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => match Digest::parse(digest) {
                Some(digest) => (rest, Some(digest)),
                None => return Err(format!("`{digest}` is not a digest")),
            },
            None => (text, None),
        };
        let after = rest.rfind('/').map_or(0, |i| i + 1);
        let (name, tag) = match rest[after..].rfind(':') {
            Some(i) => (&rest[..after + i], &rest[after + i + 1..]),
            None => (rest, "latest"),
        };
        if !is_tag(tag) {
            return Err(format!("`{tag}` is not a tag"));
        }
        let (host, path) = match name.split_once('/') {
            Some((first, path)) if first == "localhost" || first.contains(['.', ':']) => (first, path.to_owned()),
            Some(_) => (HUB, name.to_owned()),
            None => (HUB, format!("library/{name}")),
        };
        if !is_host(host) {
            return Err(format!("`{}` is not a host", crate::engine::error::clean(host)));
        }
        let path = if host == HUB && !path.contains('/') { format!("library/{path}") } else { path };
        if path.is_empty() || path.len() > 255 || !path.split('/').all(is_component) {
            return Err(format!("`{name}` is not a repository name"));
        }
        Ok(Self { name: name.to_owned(), repository: Repository { host: host.to_owned(), path }, tag: tag.to_owned(), digest })
    }

    /// This name with another tag.
    pub fn at_tag(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    /// This name at a digest.
    pub fn at_digest(&self, digest: &str) -> String {
        format!("{}@{digest}", self.name)
    }
}

/// The whole name of an image, with its host: a name without one belongs to Docker Hub.
///
/// ```
/// use overtag::engine::image::reference::with_host;
/// assert_eq!(with_host("tripleoqueens/nova-api:t"), "docker.io/tripleoqueens/nova-api:t");
/// assert_eq!(with_host("localhost/nova-api:t"), "localhost/nova-api:t");
/// ```
pub fn with_host(name: &str) -> String {
    match name.split_once('/') {
        Some((first, _)) if first == "localhost" || first.contains(['.', ':']) => name.to_owned(),
        _ => format!("{}/{name}", HUB),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else { return false };
    word(first)
        && word(last)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'_' | b'-'))
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}
