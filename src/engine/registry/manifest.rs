//! Manifests and configs: their forms, what is read of them, and their digests.

use crate::engine::time::Timestamp;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::engine::error::clean;
use crate::engine::image::digest::Digest;
use crate::engine::registry::error::{RegistryError, malformed};
use crate::engine::registry::http::Response;
use crate::engine::time;

/// Manifest types: docker's image and list, OCI's image and index.
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's first form, signed; its digest is that of the text that was signed.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// An `Accept` header: which family of manifests a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Docker's list and image: 110 bytes.
    Docker,
    /// OCI's index and image: 82 bytes.
    Oci,
    /// Docker's list and OCI's image: 100 bytes. What is neither is answered with 404 or, an image of docker's, in schema 1, and so
    /// never taken for the other.
    OciImage,
    /// Docker's list and OCI's index: 97 bytes, and as safe.
    OciIndex,
    /// All four, and docker's schema 1 last: for clients that know no preflight.
    All,
}

impl Form {
    /// The value of the `Accept` header.
    pub fn accept(self) -> &'static str {
        match self {
            Self::Docker => {
                "application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.docker.distribution.manifest.v2+json"
            }
            Self::Oci => "application/vnd.oci.image.index.v1+json,application/vnd.oci.image.manifest.v1+json",
            Self::OciImage => {
                "application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.oci.image.manifest.v1+json"
            }
            Self::OciIndex => "application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.oci.image.index.v1+json",
            Self::All => {
                "application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.docker.distribution.manifest.v2+json,\
                 application/vnd.oci.image.index.v1+json,application/vnd.oci.image.manifest.v1+json,\
                 application/vnd.docker.distribution.manifest.v1+prettyjws"
            }
        }
    }

    /// Whether a manifest of this media type belongs to it.
    pub fn holds(self, media_type: &str) -> bool {
        self.accept().split(',').any(|t| t == media_type)
    }

    /// The form in which a page asks first where manifests of this type were served; docker's where there is none.
    pub fn first(media_type: &str) -> Option<Self> {
        match media_type {
            OCI_IMAGE => Some(Self::OciImage),
            OCI_INDEX => Some(Self::OciIndex),
            _ => None,
        }
    }

    /// The form to which a digest belongs that was reported in answer to this one: docker's or OCI's.
    pub fn family(self, media_type: &str) -> Self {
        match (self, media_type) {
            (Self::All, _) => Self::All,
            (_, OCI_IMAGE | OCI_INDEX) => Self::Oci,
            _ => Self::Docker,
        }
    }
}

/// A manifest, less what nobody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image: the digest of its config.
    Image(Digest),
    /// A list or index: the child whose labels are read, if there is one, and the form in which it is served.
    Index(Option<(Digest, Form)>),
    /// Docker's schema 1, which holds its config itself.
    Labelled(Config),
}

/// What an image's config says that is of use here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether none of them is of the image itself: Quay also keeps those that people add to a manifest or a list in its page.
    pub only_added: bool,
    /// When it was built, where that is reported.
    pub built_at: Option<Timestamp>,
}

/// The media type and what is needed of a manifest's body.
///
/// # Errors
/// What is not a manifest.
pub fn read_manifest(response: &Response) -> Result<(String, Manifest), RegistryError> {
    // Of a signed one only what was signed counts.
    let signed = signed_text(&response.body);
    let body: Value = serde_json::from_slice(signed.as_deref().unwrap_or(&response.body)).map_err(|_| {
        let kind = if response.content_type.is_empty() { "nothing" } else { response.content_type.as_str() };
        malformed(&format!("the registry sent no manifest ({})", clean(kind)))
    })?;
    if body.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
        // The newest layer's history is the image's config, as JSON in a string.
        let newest = body.get("history").and_then(|h| h.get(0)?.get("v1Compatibility")?.as_str());
        let config = newest.map_or(Ok(Config::default()), |text| read_config(text.as_bytes()))?;
        return Ok((SCHEMA_1.to_owned(), Manifest::Labelled(config)));
    }
    let digest_in = |value: &Value| value.get("digest").and_then(Value::as_str).and_then(Digest::parse);
    let (manifest, fallback) = if let Some(Value::Array(children)) = body.get("manifests") {
        let platform = |child: &Value, key: &str| {
            child.get("platform").and_then(|p| p.get(key)).and_then(Value::as_str).unwrap_or("").to_owned()
        };
        let is_image = |child: &&Value| {
            let note = child.get("annotations").and_then(|a| a.get("vnd.docker.reference.type"));
            note.is_none() && platform(child, "os") != "unknown"
        };
        let mut images = children.iter().filter(is_image);
        let first = images.clone().next();
        let linux_amd64 = images.find(|c| platform(c, "os") == "linux" && platform(c, "architecture") == "amd64");
        let form_of = |child: &Value| match child.get("mediaType").and_then(Value::as_str) {
            Some(t) if Form::Oci.holds(t) => Form::Oci,
            _ => Form::Docker,
        };
        (Manifest::Index(linux_amd64.or(first).and_then(|c| Some((digest_in(c)?, form_of(c))))), DOCKER_LIST)
    } else if let Some(config) = body.get("config") {
        let digest = digest_in(config).ok_or_else(|| malformed("the manifest names no config"))?;
        (Manifest::Image(digest), DOCKER_IMAGE)
    } else {
        return Err(malformed("the registry sent JSON that is not a manifest"));
    };
    let known = [DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX];
    let declared = body.get("mediaType").and_then(Value::as_str);
    let media_type = [declared, Some(response.content_type.as_str())].into_iter().flatten().find(|t| known.contains(t));
    Ok((media_type.unwrap_or(fallback).to_owned(), manifest))
}

/// Labels and build time in a config, or in the history of a schema 1 manifest.
///
/// # Errors
/// What is not JSON.
pub fn read_config(body: &[u8]) -> Result<Config, RegistryError> {
    let config: Value = serde_json::from_slice(body).map_err(|_| malformed("the image's config is not JSON"))?;
    let labels = config.get("config").and_then(|c| c.get("Labels")).and_then(Value::as_object);
    let texts = labels.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
    // Builds that are to be the same each time say the beginning of time, or 1970.
    let built_at = config.get("created").and_then(Value::as_str).and_then(time::iso).filter(|at| *at > Timestamp(0));
    Ok(Config { labels: texts.collect(), only_added: false, built_at })
}

/// The digest of a body, which must be the one in the header where that can be read.
pub fn checked_digest(response: &Response) -> Result<Digest, RegistryError> {
    let digest = content_digest(&response.body);
    match &response.digest {
        Some(declared) if *declared != digest => {
            Err(malformed(&format!("the registry reports {declared} for a manifest that has {digest}")))
        }
        _ => Ok(digest),
    }
}

/// The digest of a manifest or config: that of its bytes, but for a signed schema 1 that of the text that was signed.
pub fn content_digest(body: &[u8]) -> Digest {
    signed_text(body).map_or_else(|| sha256(body), |text| sha256(&text))
}

/// The text that a "pretty" JSON Web Signature is over: the body up to a length, and an end, both reported in the signature
/// (<https://distribution.github.io/distribution/spec/deprecated-schema-v1/>).
fn signed_text(body: &[u8]) -> Option<Vec<u8>> {
    if !body.windows(12).any(|w| w == b"\"signatures\"") {
        return None;
    }
    let whole: Value = serde_json::from_slice(body).ok()?;
    if whole.get("schemaVersion").and_then(Value::as_u64) != Some(1) {
        return None;
    }
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok();
    let protected = decode(whole.get("signatures")?.get(0)?.get("protected")?.as_str()?)?;
    let protected: Value = serde_json::from_slice(&protected).ok()?;
    let length = usize::try_from(protected.get("formatLength")?.as_u64()?).ok()?;
    let mut text = body.get(..length)?.to_vec();
    text.extend(decode(protected.get("formatTail")?.as_str()?)?);
    Some(text)
}

/// Returns the digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::of_sha256(&Sha256::digest(bytes).into())
}
