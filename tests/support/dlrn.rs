//! DLRN's own API server (from PyPI), on a database of its own, and an nginx
//! before it that lets pages read it, which DLRN itself does not.

use super::nginx::Nginx;
use super::process::Guarded;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const PYTHON: &str = "target/tools/venv-dlrn/bin/python";
const SERVER: &str = "tests/support/dlrn_server.py";

/// A running server; killed on drop.
pub struct Dlrn {
    /// `127.0.0.1:port`.
    pub host: String,
    folder: TempDir,
    _server: Guarded,
}

/// How DLRN identifies a build of a package: the commit, the packaging's commit, and the extended hash.
#[derive(Clone, Copy, Debug)]
pub struct Hashes<'a> {
    /// 40 digits.
    pub commit: &'a str,
    /// 40 digits.
    pub distro: &'a str,
    /// 40 digits, or two times 40 with `_` between.
    pub extended: Option<&'a str>,
}

impl Dlrn {
    /// Starts a server with an empty database.
    #[track_caller]
    pub fn start() -> Dlrn {
        assert!(Path::new(PYTHON).is_file(), "DLRN is not installed: run make test, which does it");
        let folder = TempDir::with_prefix("test-dlrn-").unwrap_or_else(|e| panic!("no temporary folder: {e}"));
        add(folder.path(), &json!({ "promotions": [], "votes": [] }));
        let path = folder.path().display().to_string();
        let port = |line: &str| line.strip_prefix("listening on ")?.trim().parse::<u16>().ok();
        let (server, port) = Guarded::spawn(PYTHON, &[SERVER, &path, "serve"], "python3-venv", Duration::from_secs(60), port);
        Dlrn { host: format!("127.0.0.1:{port}"), folder, _server: server }
    }

    /// The address of its API.
    pub fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    /// Makes a channel point to a hash from then on; with an aggregate, `hashes` are those of one of its packages.
    #[track_caller]
    pub fn promote(&self, channel: &str, hashes: Hashes<'_>, aggregate: Option<&str>, at: u64) {
        let promotion = json!({ "channel": channel, "commit": commit(hashes), "aggregate": aggregate, "at": at });
        add(self.folder.path(), &json!({ "promotions": [promotion], "votes": [] }));
    }

    /// Adds the vote of a job: `success`, `failure` or `running`.
    #[track_caller]
    pub fn vote(&self, hashes: Hashes<'_>, aggregate: Option<&str>, job: &str, result: &str, at: u64) {
        let vote = json!({
            "commit": commit(hashes), "aggregate": aggregate, "job": job, "at": at,
            "success": result == "success", "running": result == "running",
            "url": format!("https://logs.example.org/{job}"),
        });
        add(self.folder.path(), &json!({ "promotions": [], "votes": [vote] }));
    }

    /// An nginx before it, which lets pages of any origin read it.
    #[track_caller]
    pub fn front(&self) -> Nginx {
        let allow = r#"add_header Access-Control-Allow-Origin "*" always;"#;
        Nginx::start(&format!("location / {{ {allow} proxy_pass http://{}; }}", self.host))
    }
}

fn commit(hashes: Hashes<'_>) -> Value {
    json!([hashes.commit, hashes.distro, hashes.extended])
}

#[track_caller]
fn add(folder: &Path, data: &Value) {
    let mut child = Command::new(PYTHON)
        .arg(SERVER)
        .arg(folder)
        .arg("add")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("could not start {PYTHON}: {e}"));
    let mut pipe = child.stdin.take().expect("its input was asked for");
    pipe.write_all(data.to_string().as_bytes()).unwrap_or_else(|e| panic!("could not write to {SERVER}: {e}"));
    drop(pipe);
    let done = child.wait_with_output().unwrap_or_else(|e| panic!("{SERVER} was lost: {e}"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
