//! The made-up registry of the demo release: real names, made-up hashes, and one of everything that can be met.
//!
//! It is a tree of files, so any static host can serve it, and the command line has it without a network; both are read by the
//! same code as any registry. Deterministic.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::engine::image::reference::Reference;
use crate::engine::options::definitions::Choices;
use crate::engine::options::settings::Settings;
use crate::engine::registry::http::{Request, Response};
use crate::engine::registry::manifest::sha256;
use crate::engine::release::DEMO_HOST;
use crate::engine::template::Files;
use crate::engine::template::plan::Plan;

/// The folder, beside the page, in which a built site holds the registry.
pub const FOLDER: &str = "demo";

/// Channels and which hash each points to, 0 the newest.
const CHANNELS: [(&str, usize); 3] = [("tripleo-ci-testing", 0), ("current-tripleo", 1), ("current-tripleo-rdo", 2)];
/// Images whose `current-tripleo` is one hash behind.
const TORN: [&str; 2] = ["cinder-volume", "neutron-server"];
/// Images that were built since the last promotion: they have the newest hash alone.
const NEW: [&str; 3] = ["designate-mdns", "manila-share", "octavia-worker"];
/// An image that was never pushed.
const UNBUILT: &str = "unbound";
/// Images whose label names a hash of another digest.
const MISLABELLED: &str = "aodh-evaluator";
/// Images without a label.
const UNLABELLED: [&str; 2] = ["memcached", "redis"];
/// An image with neither label nor hash tags: only its digest is sure.
const BARE: &str = "multipathd";
/// Images in OCI's form, and one that is a list of platforms.
const OCI: [&str; 2] = ["keystone", "horizon"];
const LIST: &str = "haproxy";

/// All files of the registry: path below its root → content.
pub fn files() -> &'static BTreeMap<String, Vec<u8>> {
    static FILES: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(build)
}

/// What the registry answers to a request, as a static host would.
pub fn respond(request: &Request) -> Response {
    let path = request.url.split('?').next().unwrap_or("").splitn(4, '/').nth(3).unwrap_or("");
    let path = if path == "v2/" { "v2/index.html" } else { path };
    match files().get(path) {
        Some(body) => Response { status: 200, body: body.clone(), ..Response::default() },
        None => Response { status: 404, ..Response::default() },
    }
}

/// A made-up DLRN hash.
fn hash(i: usize) -> String {
    let hex = |text: String| sha256(text.as_bytes())[7..].to_owned();
    format!("{}_{}", &hex(format!("overtag demo commit {i}"))[..40], &hex(format!("overtag demo distro {i}"))[..8])
}

fn build() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    files.insert("v2/index.html".to_owned(), b"{}\n".to_vec());
    let (settings, _) = Settings::new(&Choices::default(), false);
    let images = Plan::new(&settings, &Files::default()).map(|plan| plan.images).unwrap_or_default();
    for image in images {
        let Ok(reference) = image.reference else { continue };
        if reference.repository.host == DEMO_HOST && image.short != UNBUILT {
            add(&mut files, &reference, &image.short);
        }
    }
    files
}

/// Adds one repository.
fn add(files: &mut BTreeMap<String, Vec<u8>>, reference: &Reference, short: &str) {
    let root = format!("v2/{}", reference.repository.path);
    let mut tags = Vec::new();
    let mut put = |files: &mut BTreeMap<String, Vec<u8>>, tag: &str, i: usize| {
        let manifest = push(files, &root, short, i);
        files.insert(format!("{root}/manifests/{tag}"), manifest);
        tags.push(tag.to_owned());
    };
    if reference.tag == "current-tripleo" {
        let is_new = NEW.contains(&short);
        for i in 0..if is_new { 1 } else { 3 } {
            if short != BARE {
                put(files, &hash(i), i);
            }
        }
        for (channel, i) in CHANNELS {
            let behind = usize::from(TORN.contains(&short) && channel == "current-tripleo");
            if !is_new || i == 0 {
                put(files, channel, i + behind);
            }
        }
    } else {
        put(files, &reference.tag, 0);
    }
    tags.sort();
    let list = json!({ "name": reference.repository.path, "tags": tags });
    files.insert(format!("{root}/tags/list"), list.to_string().into_bytes());
}

/// Writes config and manifest of build `i`, and gives back what a tag of it holds.
fn push(files: &mut BTreeMap<String, Vec<u8>>, root: &str, short: &str, i: usize) -> Vec<u8> {
    if short != LIST {
        return manifest(files, root, short, i, "amd64");
    }
    let mut children = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let child = manifest(files, root, short, i, architecture);
        let digest = sha256(&child);
        children.push(json!({
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "size": child.len(),
            "digest": digest,
            "platform": { "architecture": architecture, "os": "linux" },
        }));
        files.insert(format!("{root}/manifests/{digest}"), child);
    }
    let list = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifests": children,
    });
    list.to_string().into_bytes()
}

fn manifest(files: &mut BTreeMap<String, Vec<u8>>, root: &str, short: &str, i: usize, architecture: &str) -> Vec<u8> {
    let named = if short == MISLABELLED && i == 1 { 0 } else { i };
    let labels = match UNLABELLED.contains(&short) || short == BARE {
        true => json!(null),
        false => json!({ "name": short, "rdo_version": hash(named) }),
    };
    let config =
        json!({ "architecture": architecture, "os": "linux", "config": { "Labels": labels }, "build": i, "image": short });
    let config = config.to_string().into_bytes();
    let digest = sha256(&config);
    let (own, its_config, its_layer) = match OCI.contains(&short) {
        true => (
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.layer.v1.tar+gzip",
        ),
        false => (
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
    };
    let layer: String = Sha256::digest(format!("layer of {short} {i}")).iter().map(|b| format!("{b:02x}")).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": own,
        "config": { "mediaType": its_config, "size": config.len(), "digest": digest },
        "layers": [{ "mediaType": its_layer, "size": 32, "digest": format!("sha256:{layer}") }],
    });
    files.insert(format!("{root}/blobs/{digest}"), config);
    manifest.to_string().into_bytes()
}
