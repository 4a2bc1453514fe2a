//! Debian's `nginx` before a registry or a folder, as people set it up: with
//! the CORS lines that the page offers, without any, with a limit of requests
//! or a password, and with TLS.
//!
//! ```ignore
//! let front = nginx::cors(&registry.host, "*");
//! let site = nginx::site(Path::new("dist"), "/", &["dashboard.example"]);
//! let options = Options {
//!     host_resolver_rules: Some(nginx::rules(&[("dashboard.example", &site.host), ("registry.example", &front.host)])),
//!     args: vec!["--ignore-certificate-errors".into()],
//!     ..Options::default()
//! };
//! ```

use super::process::Guarded;
use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A running nginx; killed on drop.
pub struct Nginx {
    /// `127.0.0.1:port`.
    pub host: String,
    /// Where it is asked: `http://127.0.0.1:port`; with TLS, `https://` and the first of its names.
    pub origin: String,
    /// With TLS: its own certificate as PEM (for `SSL_CERT_FILE`, say).
    pub certificate: Option<PathBuf>,
    server: Guarded,
    /// Holds the configuration and all that nginx writes.
    _folder: TempDir,
}

/// The setup of an nginx. `FOLDER` in its texts is replaced by a folder of its own.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// What is in `http { … }` before the server.
    pub http: String,
    /// What is in `server { … }` after `listen`.
    pub server: String,
    /// Names and contents of files in `FOLDER`.
    pub files: Vec<(String, String)>,
    /// The names of its certificate; without names it does not use TLS.
    pub names: Vec<String>,
}

/// The `Retry-After` of a refusal for too many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// So many seconds.
    Seconds(u32),
    /// An HTTP date, always so many seconds ahead.
    Date(u32),
}

impl Nginx {
    /// Starts nginx with what is to stand in `server { … }`.
    #[track_caller]
    pub fn start(server: &str) -> Nginx {
        Nginx::with(&Setup { server: server.to_owned(), ..Setup::default() })
    }

    /// As [`Nginx::start`], with TLS (and HTTP/2) for these names.
    #[track_caller]
    pub fn tls(names: &[&str], server: &str) -> Nginx {
        Nginx::with(&Setup { server: server.to_owned(), names: owned(names), ..Setup::default() })
    }

    /// Starts nginx on a free loopback port.
    #[track_caller]
    pub fn with(setup: &Setup) -> Nginx {
        let folder = TempDir::with_prefix("test-nginx-").unwrap_or_else(|e| panic!("no temporary folder: {e}"));
        let path = folder.path();
        for (name, content) in &setup.files {
            write(&path.join(name), content);
        }
        let certificate = setup.names.first().map(|_| certify(path, &setup.names));
        // It cannot be asked for any free port, so another may come first: then it is another port.
        for _ in 0..10 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free loopback port");
            let config = path.join("nginx.conf");
            write(&config, &configuration(setup, free.port()).replace("FOLDER", &path.display().to_string()));
            let (server, is_up) = spawn(path, &config);
            if !is_up {
                continue;
            }
            let origin = match setup.names.first() {
                Some(name) => format!("https://{name}"),
                None => format!("http://{free}"),
            };
            return Nginx { host: free.to_string(), origin, certificate, server, _folder: folder };
        }
        panic!("ten ports in a row were taken from under nginx")
    }

    /// Kills the server at once.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Returns the last lines that it said: a line a request, and its complaints.
    pub fn output(&self) -> String {
        self.server.output()
    }
}

/// Returns when nginx listens (true) or when its port was not free (false).
#[track_caller]
fn spawn(folder: &Path, config: &Path) -> (Guarded, bool) {
    // Not on the path of an ordinary user.
    let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    let (folder, config) = (folder.to_str().expect("a path of ours"), config.to_str().expect("a path of ours"));
    let args = ["-e", "stderr", "-p", folder, "-c", config];
    Guarded::spawn(program, &args, "nginx-light", Duration::from_secs(30), |line| {
        let is_taken = line.contains("bind()") && line.contains("Address already in use");
        // Said when it has begun to listen.
        let is_up = line.contains("[notice]") && line.contains("event method");
        (is_taken || is_up).then_some(is_up)
    })
}

fn configuration(setup: &Setup, port: u16) -> String {
    let (tls, keys) = match setup.names.is_empty() {
        true => ("", ""),
        false => (" ssl http2", "ssl_certificate FOLDER/certificate.pem; ssl_certificate_key FOLDER/key.pem;"),
    };
    let Setup { http, server, .. } = setup;
    // One process of the user's own, so that it needs no right and ends with its guard.
    format!(
        "daemon off;
master_process off;
pid FOLDER/pid;
lock_file FOLDER/lock;
error_log stderr notice;
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  log_format short '$request $status origin=$http_origin';
  access_log /dev/stdout short;
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  server_tokens off;
  {http}
  server {{
    listen 127.0.0.1:{port}{tls};
    {keys}
    {server}
  }}
}}
"
    )
}

/// Makes a key and a certificate signed with it, for these names and 127.0.0.1.
#[track_caller]
pub fn certify(folder: &Path, names: &[String]) -> PathBuf {
    let names: String = names.iter().map(|n| format!("DNS:{n},")).collect();
    let extensions = format!("basicConstraints=critical,CA:FALSE\nsubjectAltName={names}IP:127.0.0.1\n");
    let config = folder.join("certificate.cnf");
    write(&config, &format!("[req]\ndistinguished_name=dn\nx509_extensions=x\nprompt=no\n[dn]\nCN=test\n[x]\n{extensions}"));
    let certificate = folder.join("certificate.pem");
    let kind = ["req", "-x509", "-days", "2", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let mut openssl = Command::new("openssl");
    openssl.args(kind).arg("-config").arg(config).arg("-keyout").arg(folder.join("key.pem")).arg("-out").arg(&certificate);
    let done = openssl.output().unwrap_or_else(|e| panic!("openssl does not run (apt-get install openssl): {e}"));
    assert!(done.status.success(), "no certificate: {}", String::from_utf8_lossy(&done.stderr));
    certificate
}

/// The rules of a browser that knows these names, on any port (or `name:port`),
/// and no others; the hosts are of any server here.
pub fn rules(names: &[(&str, &str)]) -> String {
    let known: String = names.iter().map(|(name, host)| format!("MAP {name} {host}, ")).collect();
    known + "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
}

/// The flag of a browser that takes these hosts (`127.0.0.1:port`) to stand
/// elsewhere than they do: `public`, `local`. What a public page asks of a local
/// one, or of this machine, headless Chromium refuses at once, unless the
/// permissions `local-network` and `loopback-network` are granted.
pub fn spaces(hosts: &[(&str, &str)]) -> String {
    let each: Vec<_> = hosts.iter().map(|(host, space)| format!("{host}={space}")).collect();
    format!("--ip-address-space-overrides={}", each.join(","))
}

/// The lines that the page offers to registry administrators: the preflight is
/// answered, headers are exposed, and each answer has them.
pub fn cors_lines(origin: &str, more: &str, upstream: &str) -> String {
    format!(
        r#"location /v2/ {{
      {more}
      proxy_hide_header Access-Control-Allow-Origin;
      add_header Access-Control-Allow-Origin "{origin}" always;
      add_header Access-Control-Expose-Headers "Docker-Content-Digest, Link, WWW-Authenticate, Retry-After" always;
      if ($request_method = OPTIONS) {{
        add_header Access-Control-Allow-Origin "{origin}";
        add_header Access-Control-Allow-Methods "GET, HEAD, OPTIONS";
        add_header Access-Control-Allow-Headers "Authorization, Accept";
        add_header Access-Control-Max-Age 86400;
        return 204;
      }}
      {}
    }}
    location / {{ return 404; }}"#,
        pass(upstream)
    )
}

fn pass(upstream: &str) -> String {
    format!("proxy_pass http://{upstream}; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;")
}

/// Takes all CORS headers of the upstream away.
fn bare() -> String {
    let names = ["Allow-Origin", "Allow-Methods", "Allow-Headers", "Allow-Credentials", "Expose-Headers", "Max-Age"];
    names.map(|n| format!("proxy_hide_header Access-Control-{n};\n")).concat()
}

/// A registry readable from pages of `origin` (`*`: from any).
#[track_caller]
pub fn cors(upstream: &str, origin: &str) -> Nginx {
    Nginx::start(&cors_lines(origin, "", upstream))
}

/// As [`cors`] from any page, with TLS for these names.
#[track_caller]
pub fn cors_tls(upstream: &str, names: &[&str]) -> Nginx {
    Nginx::tls(names, &cors_lines("*", "", upstream))
}

/// A registry that no page can read.
#[track_caller]
pub fn no_cors(upstream: &str) -> Nginx {
    Nginx::start(&format!("location / {{ {} {} }}", bare(), pass(upstream)))
}

/// A registry that pages read without preflight only, and of whose headers they
/// see little: none is exposed, and digest and next page are not even sent.
#[track_caller]
pub fn hiding(upstream: &str) -> Nginx {
    let gone = "proxy_hide_header Docker-Content-Digest; proxy_hide_header Link;";
    let origin = r#"add_header Access-Control-Allow-Origin "*" always;"#;
    Nginx::start(&format!("location / {{ {} {gone} {origin} {} }}", bare(), pass(upstream)))
}

/// As [`cors`] from any page, but a preflight is answered 401: what a registry
/// does that asks for a login.
#[track_caller]
pub fn preflight_refused(upstream: &str) -> Nginx {
    let refuse = r#"default_type application/json;
      if ($request_method = OPTIONS) {
        return 401 '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":null}]}\n';
      }"#;
    Nginx::start(&cors_lines("*", refuse, upstream))
}

/// As [`cors`] from any page, with nginx's own password; `htpasswd` is the
/// file's content. A preflight needs none.
#[track_caller]
pub fn basic(upstream: &str, htpasswd: &str) -> Nginx {
    let more = r#"auth_basic "registry"; auth_basic_user_file FOLDER/htpasswd;"#;
    let files = vec![("htpasswd".to_owned(), htpasswd.to_owned())];
    Nginx::with(&Setup { server: cors_lines("*", more, upstream), files, ..Setup::default() })
}

/// As [`cors`] from any page, with a limit: at most `burst` requests more than
/// `per_second` are let through, the others get `status` (429 or 503), which a
/// page can read. A preflight counts as none.
#[track_caller]
pub fn limited(upstream: &str, per_second: u32, burst: u32, status: u16, retry_after: Option<RetryAfter>) -> Nginx {
    let cors = r#"add_header Access-Control-Allow-Origin "*" always;
      add_header Access-Control-Expose-Headers "Retry-After" always;"#;
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"too many requests","detail":null}]}"#;
    limit(upstream, (per_second, burst, status), retry_after, (cors, "application/json", body))
}

/// As [`limited`], but the refusal is a page of its own without CORS headers, as
/// quay's is: a page of another origin cannot read it.
#[track_caller]
pub fn limited_unreadable(upstream: &str, per_second: u32, burst: u32, status: u16, retry_after: Option<RetryAfter>) -> Nginx {
    let body = "<html><body><h1>Too Many Requests</h1></body></html>";
    limit(upstream, (per_second, burst, status), retry_after, ("", "text/html", body))
}

#[track_caller]
fn limit(
    upstream: &str,
    (per_second, burst, status): (u32, u32, u16),
    retry_after: Option<RetryAfter>,
    (cors, kind, body): (&str, &str, &str),
) -> Nginx {
    let mut http = format!("limit_req_zone $binary_remote_addr zone=all:1m rate={per_second}r/s;");
    let burst = if burst == 0 { String::new() } else { format!(" burst={burst} nodelay") };
    let more = format!("limit_req zone=all{burst}; limit_req_status {status}; error_page {status} @refused;");
    let answer = match retry_after {
        None => format!("default_type {kind}; return {status} '{body}\\n';"),
        Some(RetryAfter::Seconds(n)) => {
            format!(r#"add_header Retry-After "{n}" always; default_type {kind}; return {status} '{body}\n';"#)
        }
        // nginx can compute a later time only in `Expires`, and only for a success. A second server does that, and the status
        // of the refusal stays.
        Some(RetryAfter::Date(n)) => {
            let _ = write!(
                http,
                "server {{ listen unix:FOLDER/clock; access_log off;
                   location / {{ expires {n}s; default_type {kind}; return 200 '{body}\\n'; }} }}"
            );
            "proxy_pass http://unix:FOLDER/clock; proxy_hide_header Expires; proxy_hide_header Cache-Control;
             add_header Retry-After $upstream_http_expires always;"
                .to_owned()
        }
    };
    let refused = format!("location @refused {{ {cors} {answer} }}");
    Nginx::with(&Setup { http, server: cors_lines("*", &more, upstream) + "\n" + &refused, ..Setup::default() })
}

/// A folder as a web site with TLS, below `sub_path` (`/` or `/some/path/`).
#[track_caller]
pub fn site(folder: &Path, sub_path: &str, names: &[&str]) -> Nginx {
    let folder = std::path::absolute(folder).expect("a path is not empty");
    assert!(folder.is_dir(), "there is no folder {} to serve", folder.display());
    let server = format!(r#"location {sub_path} {{ alias "{}/"; add_header Cache-Control no-cache; }}"#, folder.display());
    Nginx::tls(names, &(server + if sub_path == "/" { "" } else { "location / { return 404; }" }))
}

#[track_caller]
fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap_or_else(|e| panic!("could not write {}: {e}", path.display()));
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}
