//! Manifests and configs: their forms, what is read of them, and their digests.

use crate::engine::time::Timestamp;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::engine::error::clean;
use crate::engine::image::digest::Digest;
use crate::engine::json::{self, Anything, Pairs, shape};
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

shape! {
    /// The body of a manifest: an image, an index or a list, or docker's schema 1
    /// (<https://distribution.github.io/distribution/spec/manifest-v2-2/>, <https://github.com/opencontainers/image-spec>).
    struct ManifestBody {
        schema_version: u64 = "schemaVersion",
        media_type: String = "mediaType",
        /// Of an image: its config.
        config: Child = "config",
        /// Of an index or a list: an image for each platform, and what belongs to them.
        manifests: Vec<Child> = "manifests",
        /// Of schema 1: the layers, the newest first.
        history: Vec<Layer> = "history",
    }
}

shape! {
    /// What a manifest names by its digest.
    struct Child {
        digest: Digest = "digest",
        media_type: String = "mediaType",
        platform: Platform = "platform",
        annotations: Annotations = "annotations",
    }
}

shape! {
    /// For what an image is built; both `unknown` where it is not an image.
    struct Platform {
        os: String = "os",
        architecture: String = "architecture",
    }
}

shape! {
    /// Notes on a child.
    struct Annotations {
        /// On what BuildKit keeps about an image beside it: `attestation-manifest`.
        reference_type: Anything = "vnd.docker.reference.type",
    }
}

shape! {
    /// A layer of schema 1.
    struct Layer {
        /// The newest layer's is the image's config, as JSON in a string.
        v1_compatibility: String = "v1Compatibility",
    }
}

shape! {
    /// An image's config (<https://github.com/opencontainers/image-spec/blob/main/config.md>).
    struct ConfigBody {
        config: Execution = "config",
        /// `2017-05-30T00:49:16Z`; the beginning of time, or 1970, where builds are to be the same each time.
        created: String = "created",
    }
}

shape! {
    /// How an image is run.
    struct Execution {
        labels: Pairs<Option<String>> = "Labels",
    }
}

shape! {
    /// A signed manifest of schema 1.
    struct SignedBody {
        schema_version: u64 = "schemaVersion",
        signatures: Vec<Signature> = "signatures",
    }
}

shape! {
    /// A signature.
    struct Signature {
        /// [`Signed`] as JSON in base64.
        protected: String = "protected",
    }
}

shape! {
    /// What was signed: so many bytes of the body, and then this end.
    struct Signed {
        format_length: u64 = "formatLength",
        /// In base64.
        format_tail: String = "formatTail",
    }
}

/// The media type and what is needed of a manifest's body.
///
/// # Errors
/// What is not a manifest.
pub fn read_manifest(response: &Response) -> Result<(String, Manifest), RegistryError> {
    // Of a signed one only what was signed counts.
    let signed = signed_text(&response.body);
    let body: ManifestBody = json::read(signed.as_deref().unwrap_or(&response.body)).ok_or_else(|| {
        let kind = if response.content_type.is_empty() { "nothing" } else { response.content_type.as_str() };
        malformed(&format!("the registry sent no manifest ({})", clean(kind)))
    })?;
    if body.schema_version == Some(1) {
        let newest = body.history.and_then(|layers| layers.into_iter().next()?.v1_compatibility);
        let config = newest.map_or(Ok(Config::default()), |text| read_config(text.as_bytes()))?;
        return Ok((SCHEMA_1.to_owned(), Manifest::Labelled(config)));
    }
    let (manifest, fallback) = if let Some(children) = body.manifests {
        (Manifest::Index(labelled_child(children)), DOCKER_LIST)
    } else if let Some(config) = body.config {
        let digest = config.digest.ok_or_else(|| malformed("the manifest names no config"))?;
        (Manifest::Image(digest), DOCKER_IMAGE)
    } else {
        return Err(malformed("the registry sent JSON that is not a manifest"));
    };
    let known = [DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX];
    let types = [body.media_type.as_deref(), Some(response.content_type.as_str())];
    let media_type = types.into_iter().flatten().find(|t| known.contains(t));
    Ok((media_type.unwrap_or(fallback).to_owned(), manifest))
}

/// Returns the child of a list whose labels are read: that for linux on amd64, or else the first image.
fn labelled_child(children: Vec<Child>) -> Option<(Digest, Form)> {
    let is_image = |child: &Child| {
        let is_note = child.annotations.as_ref().is_some_and(|notes| notes.reference_type.is_some());
        !is_note && child.platform.as_ref().and_then(|of| of.os.as_deref()) != Some("unknown")
    };
    let is_usual = |child: &Child| {
        let platform = child.platform.as_ref().map(|of| (of.os.as_deref(), of.architecture.as_deref()));
        platform == Some((Some("linux"), Some("amd64")))
    };
    let mut images: Vec<Child> = children.into_iter().filter(is_image).collect();
    let usual = images.iter().position(is_usual).unwrap_or(0);
    let child = (usual < images.len()).then(|| images.swap_remove(usual))?;
    let form = if child.media_type.is_some_and(|kind| Form::Oci.holds(&kind)) { Form::Oci } else { Form::Docker };
    Some((child.digest?, form))
}

/// Labels and build time in a config, or in the history of a schema 1 manifest.
///
/// # Errors
/// What is not JSON.
pub fn read_config(body: &[u8]) -> Result<Config, RegistryError> {
    let read: ConfigBody = json::read(body).ok_or_else(|| malformed("the image's config is not JSON"))?;
    let Pairs(labels) = read.config.and_then(|execution| execution.labels).unwrap_or_default();
    let labels = labels.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let built_at = read.created.and_then(|text| time::iso(&text)).filter(|at| *at > Timestamp(0));
    Ok(Config { labels, only_added: false, built_at })
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
    let whole = json::read::<SignedBody>(body).filter(|whole| whole.schema_version == Some(1))?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok();
    let protected = whole.signatures?.into_iter().next()?.protected?;
    let signed: Signed = json::read(&decode(&protected)?)?;
    let mut text = body.get(..usize::try_from(signed.format_length?).ok()?)?.to_vec();
    text.extend(decode(&signed.format_tail?)?);
    Some(text)
}

/// Returns the digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::of_sha256(&Sha256::digest(bytes).into())
}
