//! A real registry (Debian's `docker-registry`) on loopback, with seeded images
//! and the right answers beside it.
//!
//! The images are pushed once into a cache folder; later runs only start the
//! server over it, read-only, so that no test can spoil the next one's data. A
//! test that pushes takes [`Registry::scratch`].
//!
//! All of the seed is a function of the names: the same digests each time.

use super::process::Guarded;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The channels, and how many hashes each one is behind the newest.
pub const CHANNELS: [(&str, usize); 5] =
    [("current", 0), ("consistent", 1), ("tripleo-ci-testing", 2), (PROMOTED, 5), ("current-tripleo-rdo", 9)];
/// The channel that is torn, and that new images do not have.
pub const PROMOTED: &str = "current-tripleo";
/// How many hash tags a promoted image has.
pub const HASHES: usize = 30;
/// The namespace of the seeded images.
pub const NAMESPACE: &str = "tripleomaster";
/// The prefix of each short name.
pub const PREFIX: &str = "centos-binary-";
/// The namespace of the images with version tags.
pub const VERSIONS: &str = "versions";
/// The tags of the images with version tags; `latest` is [`LATEST`].
pub const VERSION_TAGS: [&str; 4] = ["1.2.9", "1.2.10", "1.2.10-rc1", "v2.0.0"];
/// The one of [`VERSION_TAGS`] that `latest` points to.
pub const LATEST: &str = "v2.0.0";
/// The label that names an image's own hash tag.
pub const LABEL: &str = "rdo_version";

/// The CORS headers of the registry, as in its configuration.
pub(super) const CORS: [(&str, &str); 4] = [
    ("Access-Control-Allow-Origin", "'*'"),
    ("Access-Control-Allow-Methods", "HEAD, GET, OPTIONS"),
    ("Access-Control-Allow-Headers", "Accept, Authorization"),
    ("Access-Control-Expose-Headers", "Docker-Content-Digest, Link, WWW-Authenticate"),
];

/// A running registry; killed on drop.
pub struct Registry {
    /// `127.0.0.1:port`.
    pub host: String,
    /// What is in it; empty for [`Registry::scratch`].
    pub seed: Seed,
    data: PathBuf,
    server: Guarded,
    /// Holds the configuration, and the data of a scratch registry.
    _folder: TempDir,
}

/// What a seeded registry holds: the right answers.
#[derive(Clone, Debug, Default)]
pub struct Seed {
    /// The hash tags, newest first.
    pub hashes: Vec<String>,
    /// The images by short name.
    pub images: BTreeMap<String, Image>,
    /// The images with version tags, by the last part of their repository.
    pub versions: BTreeMap<String, Image>,
    /// Not promoted yet: the five newest hashes only, no `current-tripleo`, no
    /// `current-tripleo-rdo`.
    pub new: Vec<String>,
    /// `current-tripleo` is one hash further back than elsewhere.
    pub torn: Vec<String>,
    /// OCI image manifests.
    pub oci: Vec<String>,
    /// Docker manifest lists.
    pub lists: Vec<String>,
    /// OCI indexes.
    pub indexes: Vec<String>,
    /// Without the label: half have `Labels: null`, half have other labels.
    pub unlabelled: Vec<String>,
    /// The label names a tag that is there, but of another digest.
    pub mismatched: Vec<String>,
}

/// One repository.
#[derive(Clone, Debug)]
pub struct Image {
    /// The last part of the name, without prefix.
    pub short: String,
    /// The repository's whole name.
    pub repo: String,
    /// The form of its images.
    pub kind: Kind,
    /// Each moving tag, and the hash or version tag that it points to.
    pub channels: BTreeMap<String, String>,
    /// Every tag, the moving ones too.
    pub tags: BTreeMap<String, Tag>,
}

/// What a tag points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The digest of the manifest, list or index.
    pub digest: String,
    /// `config.Labels` of the image, of each platform alike.
    pub labels: Option<BTreeMap<String, String>>,
}

/// The form of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A docker schema 2 manifest.
    Docker,
    /// An OCI manifest.
    Oci,
    /// A docker manifest list of two platforms.
    DockerList,
    /// An OCI index of two platforms.
    OciIndex,
    /// An OCI index of two platforms and an attestation.
    AttestedIndex,
}

impl Image {
    /// Returns the digest that a tag points to.
    pub fn digest(&self, tag: &str) -> Option<&str> {
        self.tags.get(tag).map(|t| t.digest.as_str())
    }

    /// Returns the hash tag that a channel points to.
    pub fn hash(&self, channel: &str) -> Option<&str> {
        self.channels.get(channel).map(String::as_str)
    }

    /// Returns the value of a label of the image that a tag points to.
    pub fn label(&self, tag: &str, label: &str) -> Option<&str> {
        self.tags.get(tag)?.labels.as_ref()?.get(label).map(String::as_str)
    }
}

impl Seed {
    /// Returns an image by its short name.
    #[track_caller]
    pub fn image(&self, short: &str) -> &Image {
        self.images.get(short).unwrap_or_else(|| panic!("no image {short:?} was seeded"))
    }

    /// Returns the images that have a channel, by short name.
    pub fn having<'a>(&'a self, channel: &'a str) -> impl Iterator<Item = &'a Image> {
        self.images.values().filter(move |i| i.channels.contains_key(channel))
    }

    /// Returns the hash that most of a channel's images point to, and how many
    /// of them point to another.
    #[track_caller]
    pub fn majority(&self, channel: &str) -> (&str, usize) {
        let mut votes = BTreeMap::<&str, usize>::new();
        for hash in self.images.values().filter_map(|i| i.hash(channel)) {
            *votes.entry(hash).or_default() += 1;
        }
        let all: usize = votes.values().sum();
        let (hash, most) = votes
            .into_iter()
            .max_by_key(|(_, votes)| *votes)
            .unwrap_or_else(|| panic!("no image was seeded with the channel {channel:?}"));
        (hash, all - most)
    }

    /// Makes the answers, and what is to be pushed for them.
    ///
    /// Each role is an image of its own, so that a test sees one thing at a time.
    fn new(names: &[&str]) -> (Seed, Vec<Plan>) {
        let mut roles = Vec::new();
        for (role, times) in [
            (Role::New, 5),
            (Role::Torn, 2),
            (Role::Kind(Kind::Oci), 6),
            (Role::Kind(Kind::DockerList), 4),
            (Role::Kind(Kind::OciIndex), 1),
            (Role::Kind(Kind::AttestedIndex), 1),
            (Role::NullLabels, 2),
            (Role::OtherLabels, 2),
            (Role::Mismatched, 1),
        ] {
            roles.extend(vec![role; times]);
        }
        let needed = roles.len() + 1;
        assert!(
            names.len() >= needed,
            "the seed needs at least {needed} names to give each role to an image, not {}",
            names.len()
        );
        let mut role_of = vec![Role::Plain; names.len()];
        for i in 0..roles.len() {
            // 7 and 24 have no common divisor: all roles come, and are mixed.
            role_of[(i + 1) * names.len() / needed] = roles[i * 7 % roles.len()];
        }
        let mut seed = Seed { hashes: (0..HASHES).map(hash_tag).collect(), ..Seed::default() };
        let mut plans = Vec::new();
        for (name, role) in names.iter().zip(role_of) {
            let plan = seed.plan(name, role);
            let known = seed.images.insert(name.to_string(), plan.image());
            assert!(known.is_none(), "the name {name:?} was given twice");
            plans.push(plan);
        }
        for name in ["alpha", "beta", "gamma"] {
            let plan = version_plan(name);
            seed.versions.insert(name.to_owned(), plan.image());
            plans.push(plan);
        }
        (seed, plans)
    }

    fn plan(&mut self, short: &str, role: Role) -> Plan {
        let name = short.to_owned();
        let mut kind = Kind::Docker;
        match role {
            Role::Plain => {}
            Role::New => self.new.push(name),
            Role::Torn => self.torn.push(name),
            Role::NullLabels | Role::OtherLabels => self.unlabelled.push(name),
            Role::Mismatched => self.mismatched.push(name),
            Role::Kind(special) => {
                kind = special;
                match special {
                    Kind::Docker => {}
                    Kind::Oci => self.oci.push(name),
                    Kind::DockerList => self.lists.push(name),
                    Kind::OciIndex | Kind::AttestedIndex => self.indexes.push(name),
                }
            }
        }
        let promoted = CHANNELS.iter().find(|(c, _)| *c == PROMOTED).map_or(0, |(_, back)| *back);
        let count = if role == Role::New { promoted } else { HASHES };
        let builds = (0..count)
            .map(|i| {
                let created = created(i);
                let date = created[..10].replace('-', "");
                let mut labels = BTreeMap::from([
                    ("name".to_owned(), short.to_owned()),
                    ("version".to_owned(), "1.0.0".to_owned()),
                    ("release".to_owned(), date),
                ]);
                let own = if role == Role::Mismatched { (i + 1) % count } else { i };
                if role != Role::OtherLabels {
                    labels.insert(LABEL.to_owned(), self.hashes[own].clone());
                }
                let labels = (role != Role::NullLabels).then_some(labels);
                (self.hashes[i].clone(), Build::new(short, kind, labels, &created))
            })
            .collect();
        let moving = CHANNELS
            .iter()
            .map(|(channel, back)| {
                let torn = role == Role::Torn && *channel == PROMOTED;
                (channel.to_string(), back + usize::from(torn))
            })
            .filter(|(_, back)| *back < count)
            .collect();
        let repo = format!("{NAMESPACE}/{PREFIX}{short}");
        Plan { short: short.to_owned(), repo, kind, builds, moving }
    }

    /// The name of the seed's folder: other data has another name.
    fn fingerprint(&self) -> String {
        let mut text = String::new();
        for image in self.images.values().chain(self.versions.values()) {
            for (tag, of) in &image.tags {
                text.push_str(&format!("{}:{tag}@{}\n", image.repo, of.digest));
            }
        }
        hex(&Sha256::digest(&text))[..16].to_owned()
    }
}

/// What makes a seeded image a special one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Plain,
    New,
    Torn,
    Kind(Kind),
    NullLabels,
    OtherLabels,
    Mismatched,
}

/// A repository to be pushed: its immutable tags, and the moving ones by index.
struct Plan {
    short: String,
    repo: String,
    kind: Kind,
    builds: Vec<(String, Build)>,
    moving: Vec<(String, usize)>,
}

impl Plan {
    fn image(&self) -> Image {
        let mut tags: BTreeMap<_, _> = self.builds.iter().map(|(tag, build)| (tag.clone(), build.tag())).collect();
        let mut channels = BTreeMap::new();
        for (channel, index) in &self.moving {
            let (tag, build) = &self.builds[*index];
            tags.insert(channel.clone(), build.tag());
            channels.insert(channel.clone(), tag.clone());
        }
        Image { short: self.short.clone(), repo: self.repo.clone(), kind: self.kind, channels, tags }
    }
}

fn version_plan(short: &str) -> Plan {
    let build = |i: usize, tag: &&str| {
        let label = ("version".to_owned(), tag.to_string());
        let name = ("name".to_owned(), short.to_owned());
        let labels = Some(BTreeMap::from([label, name]));
        (tag.to_string(), Build::new(short, Kind::Docker, labels, &created(i)))
    };
    let latest = VERSION_TAGS.iter().position(|t| *t == LATEST).expect("it is one of them");
    Plan {
        short: short.to_owned(),
        repo: format!("{VERSIONS}/{short}"),
        kind: Kind::Docker,
        builds: VERSION_TAGS.iter().enumerate().map(|(i, tag)| build(i, tag)).collect(),
        moving: vec![("latest".to_owned(), latest)],
    }
}

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The layer of every image: an empty tar, gzipped (the one docker itself uses).
const LAYER: [u8; 32] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x09, 0x6e, 0x88, 0x00, 0xff, 0x62, 0x18, 0x05, 0xa3, 0x60, 0x14, 0x8c, 0x58, 0x00, 0x08, 0x00,
    0x00, 0xff, 0xff, 0x2e, 0xaf, 0xb5, 0xef, 0x00, 0x04, 0x00, 0x00,
];
/// The digest of the layer unzipped.
const LAYER_TAR: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// The bytes of one image, ready to be pushed.
struct Build {
    labels: Option<BTreeMap<String, String>>,
    configs: Vec<Vec<u8>>,
    children: Vec<(&'static str, Vec<u8>)>,
    media: &'static str,
    manifest: Vec<u8>,
    digest: String,
}

impl Build {
    fn new(name: &str, kind: Kind, labels: Option<BTreeMap<String, String>>, created: &str) -> Build {
        let mut configs = Vec::new();
        let mut one = |arch: &str, oci: bool| {
            let config = bytes(&json!({
                "architecture": arch, "os": "linux", "created": created,
                "config": { "Labels": labels, "Cmd": ["/bin/true"], "Hostname": name },
                "history": [{ "created": created, "created_by": "seed" }],
                "rootfs": { "type": "layers", "diff_ids": [LAYER_TAR] },
            }));
            let manifest = manifest(&config, oci, None);
            configs.push(config);
            manifest
        };
        let (children, media, manifest) = match kind {
            Kind::Docker => (Vec::new(), DOCKER, one("amd64", false)),
            Kind::Oci => (Vec::new(), OCI, one("amd64", true)),
            Kind::DockerList | Kind::OciIndex | Kind::AttestedIndex => {
                let oci = kind != Kind::DockerList;
                let (child, media) = if oci { (OCI, OCI_INDEX) } else { (DOCKER, DOCKER_LIST) };
                let mut children = Vec::new();
                let mut entries = Vec::new();
                for arch in ["amd64", "arm64"] {
                    let manifest = one(arch, oci);
                    let mut entry = descriptor(child, &manifest);
                    entry["platform"] = json!({ "architecture": arch, "os": "linux" });
                    entries.push(entry);
                    children.push((child, manifest));
                }
                if kind == Kind::AttestedIndex {
                    let config = bytes(&json!({
                        "architecture": "unknown", "os": "unknown", "config": {},
                        "rootfs": { "type": "layers", "diff_ids": [LAYER_TAR] },
                    }));
                    let manifest = manifest(&config, true, Some("application/vnd.in-toto+json"));
                    let mut entry = descriptor(OCI, &manifest);
                    entry["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
                    entry["annotations"] = json!({
                        "vnd.docker.reference.type": "attestation-manifest",
                        "vnd.docker.reference.digest": entries[0]["digest"],
                    });
                    entries.push(entry);
                    children.push((OCI, manifest));
                    configs.push(config);
                }
                let list = json!({ "schemaVersion": 2, "mediaType": media, "manifests": entries });
                (children, media, bytes(&list))
            }
        };
        let digest = digest(&manifest);
        Build { labels, configs, children, media, manifest, digest }
    }

    fn tag(&self) -> Tag {
        Tag { digest: self.digest.clone(), labels: self.labels.clone() }
    }
}

fn manifest(config: &[u8], oci: bool, layer: Option<&str>) -> Vec<u8> {
    let (media, config_media, layer_media) = match oci {
        true => (OCI, "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"),
        false => (DOCKER, "application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    };
    bytes(&json!({
        "schemaVersion": 2, "mediaType": media,
        "config": descriptor(config_media, config),
        "layers": [descriptor(layer.unwrap_or(layer_media), &LAYER)],
    }))
}

fn descriptor(media: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media, "size": content.len(), "digest": digest(content) })
}

fn bytes(value: &Value) -> Vec<u8> {
    // Indented, as registries store them: parsing and printing it again gives
    // another digest, and a test sees it.
    serde_json::to_vec_pretty(value).expect("a JSON value can be printed")
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(content)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Makes up the DLRN hash so many behind the newest: `<40 hex>_<8 hex>`.
fn hash_tag(back: usize) -> String {
    let commit = hex(&Sha256::digest(format!("commit {back}")));
    let distro = hex(&Sha256::digest(format!("distro {back}")));
    format!("{}_{}", &commit[..40], &distro[..8])
}

/// Returns when the build so many behind the newest was made: one each twelve
/// hours, the newest on 2019-05-29.
fn created(back: usize) -> String {
    let (day, hour) = (29 - i64::try_from(back / 2).expect("few builds"), 12 * (1 - back % 2));
    let (month, day) = if day > 0 { (5, day) } else { (4, day + 30) };
    format!("2019-{month:02}-{day:02}T{hour:02}:00:00Z")
}

impl Registry {
    /// Starts a registry with all the seeded images; `names` are short names.
    ///
    /// The data is in a folder of its own below `cache`, one for each set of
    /// names, made by the first process while others wait.
    #[track_caller]
    pub fn start(cache: &Path, names: &[&str]) -> Registry {
        let (seed, plans) = Seed::new(names);
        let folder = std::path::absolute(cache).expect("a path is not empty").join(seed.fingerprint());
        let data = folder.join("data");
        let marker = folder.join("complete");
        make(&folder);
        if !marker.exists() {
            // The lock goes with its holder, however that ends.
            let lock = File::create(folder.join("lock"))
                .and_then(|f| f.lock().map(|()| f))
                .unwrap_or_else(|e| panic!("could not lock {}: {e}", folder.display()));
            if !marker.exists() {
                if data.exists() {
                    fs::remove_dir_all(&data)
                        .unwrap_or_else(|e| panic!("could not clear {}, left by a seeding cut short: {e}", data.display()));
                }
                seed_folder(&data, &plans);
                fs::write(&marker, "all images were pushed\n")
                    .unwrap_or_else(|e| panic!("could not write {}: {e}", marker.display()));
            }
            drop(lock);
        }
        Registry::serve(&data, Mode::ReadOnly, "", seed, temporary())
    }

    /// Starts an empty registry that takes pushes and is gone with its owner.
    #[track_caller]
    pub fn scratch() -> Registry {
        let folder = temporary();
        let data = folder.path().join("data");
        make(&data);
        Registry::serve(&data, Mode::Writable, "", Seed::default(), folder)
    }

    /// Starts another registry, read-only, over the same data, with more lines
    /// of configuration (`auth`, say); `folder` holds what they name.
    #[track_caller]
    pub fn beside(&self, more: &str, folder: TempDir) -> Registry {
        Registry::serve(&self.data, Mode::ReadOnly, more, self.seed.clone(), folder)
    }

    /// Pushes an image to a [`Registry::scratch`] under these tags, in place of
    /// what they pointed to, and returns its digest. `labels` are as in the
    /// configuration; another `build` is another digest.
    #[track_caller]
    pub fn push(&self, repo: &str, tags: &[&str], kind: Kind, labels: Option<&[(&str, &str)]>, build: usize) -> String {
        let labels = labels.map(|l| l.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect());
        let image = Build::new(repo, kind, labels, &created(build));
        let pusher = Pusher::new(&self.host);
        pusher.blob(repo, &LAYER);
        pusher.parts(repo, &image);
        for tag in tags {
            pusher.manifest(repo, tag, image.media, &image.manifest);
        }
        image.digest
    }

    /// Kills the server at once; its port refuses connections when this returns.
    #[track_caller]
    pub fn kill(&mut self) {
        self.server.kill();
        let deadline = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(&self.host).is_ok() {
            assert!(Instant::now() < deadline, "{} still answers after its end", self.host);
            thread::yield_now();
        }
    }

    /// Returns the last lines that the server said.
    pub fn output(&self) -> String {
        self.server.output()
    }

    #[track_caller]
    fn serve(data: &Path, mode: Mode, more: &str, seed: Seed, folder: TempDir) -> Registry {
        let data = fs::canonicalize(data).unwrap_or_else(|e| panic!("there is no {} to serve: {e}", data.display()));
        let config = folder.path().join("registry.yml");
        fs::write(&config, configuration(&data, mode) + more)
            .unwrap_or_else(|e| panic!("could not write {}: {e}", config.display()));
        let config = config.to_str().expect("a temporary path is text");
        // Port 0 and the server's own word for what it got: nobody can take the
        // port in between.
        // Fewer collections: a fifth less time for the seeding, for little memory.
        let (server, host) = Guarded::spawn(
            "env",
            &["GOGC=1000", "docker-registry", "serve", config],
            "docker-registry",
            Duration::from_secs(30),
            |line| {
                let (_, rest) = line.split_once("listening on ")?;
                Some(rest.split(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).next()?.into())
            },
        );
        Registry { host, seed, data, server, _folder: folder }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    ReadOnly,
    Writable,
}

fn configuration(data: &Path, mode: Mode) -> String {
    let headers: String = CORS.iter().map(|(name, value)| format!("    {name}: [{value}]\n")).collect();
    format!(
        "version: 0.1
log:
  level: info
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: '{}'
  maintenance:
    uploadpurging:
      enabled: false
    readonly:
      enabled: {}
http:
  addr: 127.0.0.1:0
  headers:
{headers}",
        data.display(),
        mode == Mode::ReadOnly
    )
}

/// Makes the data folder with all the plans in it.
///
/// The registry syncs every file it writes, some sixty thousand: on a disk that
/// takes three times as long as all else. So it writes to memory where there is
/// some to spare, and the files are copied without that.
fn seed_folder(data: &Path, plans: &[Plan]) {
    const ENOUGH: u64 = 1 << 30;
    let memory = Path::new("/dev/shm");
    if bytes_free(memory).is_none_or(|free| free < ENOUGH) {
        make(data);
        return fill(data, plans);
    }
    // Always the same name for the same folder, so that what a seeding cut short
    // left there does not stay.
    let name = format!("test-registry-{}", digest(data.to_string_lossy().as_bytes()).replace(':', "-"));
    let staged = memory.join(name);
    let clear = || match fs::remove_dir_all(&staged) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            panic!("could not clear {}: {e}", staged.display())
        }
        _ => {}
    };
    clear();
    make(&staged);
    fill(&staged, plans);
    copy(&staged, data).unwrap_or_else(|e| panic!("could not copy {} to {}: {e}", staged.display(), data.display()));
    clear();
}

/// Returns how much space a folder's file system has, if that is known.
fn bytes_free(folder: &Path) -> Option<u64> {
    let mut df = Command::new("df");
    let output = df.args(["--output=avail", "-B1"]).arg(folder).output().ok()?;
    String::from_utf8_lossy(&output.stdout).split_whitespace().last()?.parse().ok()
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => fs::copy(entry.path(), target).map(|_| ())?,
        }
    }
    Ok(())
}

/// Pushes all the plans with eight connections.
fn fill(data: &Path, plans: &[Plan]) {
    let registry = Registry::serve(data, Mode::Writable, "", Seed::default(), temporary());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let pusher = Pusher::new(&registry.host);
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    pusher.plan(plan);
                }
            });
        }
    });
}

struct Pusher {
    agent: ureq::Agent,
    host: String,
}

impl Pusher {
    fn new(host: &str) -> Pusher {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Pusher { agent: config.into(), host: host.to_owned() }
    }

    fn plan(&self, plan: &Plan) {
        self.blob(&plan.repo, &LAYER);
        for (tag, build) in &plan.builds {
            self.parts(&plan.repo, build);
            self.manifest(&plan.repo, tag, build.media, &build.manifest);
        }
        for (channel, index) in &plan.moving {
            let build = &plan.builds[*index].1;
            self.manifest(&plan.repo, channel, build.media, &build.manifest);
        }
    }

    /// Pushes all that a tag's manifest needs to be there.
    fn parts(&self, repo: &str, build: &Build) {
        for config in &build.configs {
            self.blob(repo, config);
        }
        for (media, child) in &build.children {
            self.manifest(repo, &digest(child), media, child);
        }
    }

    fn blob(&self, repo: &str, content: &[u8]) {
        let url = format!("http://{}/v2/{repo}/blobs/uploads/", self.host);
        let answer = done(202, "POST", &url, self.agent.post(&url).send_empty());
        let place = answer.headers().get("Location").and_then(|v| v.to_str().ok());
        let place = place.unwrap_or_else(|| panic!("POST {url}: no Location to send the blob to"));
        let joint = if place.contains('?') { '&' } else { '?' };
        let url = format!("{place}{joint}digest={}", digest(content));
        let put = self.agent.put(&url).header("Content-Type", "application/octet-stream");
        done(201, "PUT", &url, put.send(content));
    }

    fn manifest(&self, repo: &str, reference: &str, media: &str, content: &[u8]) {
        let url = format!("http://{}/v2/{repo}/manifests/{reference}", self.host);
        let put = self.agent.put(&url).header("Content-Type", media);
        done(201, "PUT", &url, put.send(content));
    }
}

type Answer = ureq::http::Response<ureq::Body>;

/// Reads the answer to its end, so that the connection can be used again.
fn done(expected: u16, method: &str, url: &str, answer: Result<Answer, ureq::Error>) -> Answer {
    let mut answer = answer.unwrap_or_else(|e| panic!("{method} {url}: {e}"));
    let body = answer.body_mut().read_to_string();
    let status = answer.status().as_u16();
    assert!(status == expected, "{method} {url}: {status} in place of {expected}: {body:?}");
    answer
}

fn make(folder: &Path) {
    fs::create_dir_all(folder).unwrap_or_else(|e| panic!("could not make {}: {e}", folder.display()));
}

fn temporary() -> TempDir {
    TempDir::with_prefix("test-registry-").unwrap_or_else(|e| panic!("no temporary folder: {e}"))
}
