//! Registries that ask for a login: with a password of their own, or with
//! tokens that a server of ours issues and the registry itself checks.
//!
//! ```ignore
//! let login = login::behind_nginx(&registry, "*");
//! login.tokens.set(|s| s.others = Access::Members);
//! // … ask login.host …
//! assert_eq!(login.tokens.asked().len(), 1);
//! login.tokens.assert_clean();
//! ```

use super::nginx::{Nginx, certify, cors_lines};
use super::proxy::{Fault, Proxy, Seen};
use super::registry::Registry;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// The only user.
pub const USER: &str = "tester";
/// Its password; a colon and a space are allowed in one.
pub const PASSWORD: &str = "open sesame: 1";
/// The line of both in a password file (bcrypt, as the registry wants it).
pub const HTPASSWD: &str = "tester:$2b$04$overtagTestUserSaltAb.g.4SLrZUwV4o71/8v3kuH3R8H/ZfjDa\n";
/// What the registry calls itself to the token server.
pub const SERVICE: &str = "test registry";

const ISSUER: &str = "test issuer";
/// For how long after its end the registry still takes a token.
const LEEWAY: i64 = 60;

/// The `Authorization` of the user.
pub fn authorization() -> String {
    format!("Basic {}", base64(format!("{USER}:{PASSWORD}").as_bytes(), b"+/="))
}

/// A registry over the same data with a password of its own: `auth: htpasswd`.
#[track_caller]
pub fn htpasswd(registry: &Registry) -> Registry {
    let folder = temporary();
    let file = folder.path().join("htpasswd");
    fs::write(&file, HTPASSWD).unwrap_or_else(|e| panic!("could not write {}: {e}", file.display()));
    registry.beside(&format!("auth:\n  htpasswd:\n    realm: registry\n    path: '{}'\n", file.display()), folder)
}

/// A registry that wants tokens, and the server that issues them.
pub struct Login {
    /// Where the registry is asked: `127.0.0.1:port`.
    pub host: String,
    /// The token server.
    pub tokens: Tokens,
    /// The registry itself.
    pub registry: Registry,
    /// The nginx before it, if there is one.
    pub front: Option<Nginx>,
}

/// A registry over the same data that wants tokens. A page can read its 401, but
/// not come back with a token: it answers preflights 401 too.
#[track_caller]
pub fn bare(registry: &Registry) -> Login {
    let tokens = Tokens::start();
    let realm = tokens.realm.clone();
    with_realm(registry, tokens, &realm)
}

/// As [`bare`], with another realm in its challenge. A query in it must come
/// back to the token server.
#[track_caller]
pub fn with_realm(registry: &Registry, tokens: Tokens, realm: &str) -> Login {
    let query = realm.split_once('?').map_or("", |(_, query)| query);
    tokens.shared.lock().realm_query = pairs(query);
    let certificate = tokens.folder.path().join("certificate.pem");
    let auth = format!(
        "auth:\n  token:\n    realm: '{realm}'\n    service: '{SERVICE}'\n    issuer: '{ISSUER}'\n    rootcertbundle: '{}'\n",
        certificate.display()
    );
    let registry = registry.beside(&auth, temporary());
    Login { host: registry.host.clone(), tokens, registry, front: None }
}

/// As [`bare`], behind nginx with the CORS lines for pages of `origin`. What
/// [`Settings::uses`] and [`Tokens::revoke`] are about happens here.
#[track_caller]
pub fn behind_nginx(registry: &Registry, origin: &str) -> Login {
    let mut login = bare(registry);
    // The gate says for each request with which Authorization it goes on; the answer is the registry's own.
    let more = "auth_request /gate; auth_request_set $known $upstream_http_x_authorization;
      proxy_set_header Authorization $known;";
    let gate = format!(
        "location = /gate {{
          internal; proxy_pass http://{}; proxy_pass_request_body off; proxy_set_header Content-Length \"\";
        }}",
        login.tokens.gate.host
    );
    let front = Nginx::start(&(cors_lines(origin, more, &login.host) + &gate));
    login.host = front.host.clone();
    login.front = Some(front);
    login
}

/// Who gets a token for a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Who asks.
    Anyone,
    /// The user alone.
    Members,
    /// Not even the user.
    Nobody,
}

/// How tokens are issued.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who gets a token, by repository.
    pub access: BTreeMap<String, Access>,
    /// Who gets one for any other repository.
    pub others: Access,
    /// The status of a refusal; `None`: a token that allows nothing, as Docker
    /// Hub and quay give it. A wrong password is always 401.
    pub refusal: Option<u16>,
    /// The lifetime in seconds that the answer names, if it names one.
    pub expires_in: Option<u64>,
    /// For how many seconds the registry really takes a token; 0: never.
    pub valid: u32,
    /// For how many requests a token is good; only with [`behind_nginx`].
    pub uses: Option<usize>,
    /// The fields of the answer that hold the token: `token`, `access_token`.
    pub fields: &'static [&'static str],
    /// Whether pages can ask and read, with `Authorization` too.
    pub cors: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            access: BTreeMap::new(),
            others: Access::Anyone,
            refusal: Some(401),
            expires_in: Some(300),
            valid: 300,
            uses: None,
            fields: &["token"],
            cors: true,
        }
    }
}

/// One request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The scope, if there was one.
    pub scope: Option<String>,
    /// The service, if there was one.
    pub service: Option<String>,
    /// Whether there was an `Authorization` header.
    pub authorization: bool,
    /// The status of the answer.
    pub status: u16,
}

/// A running token server; closed on drop.
pub struct Tokens {
    /// Its address, for the registry's challenge.
    pub realm: String,
    /// The server: it logs, and can hold and delay, what comes; preflights too.
    pub server: Proxy,
    gate: Proxy,
    shared: Arc<Shared>,
    /// Holds the key and its certificate.
    folder: TempDir,
}

struct Shared {
    key: PathBuf,
    /// The certificate as a token names it.
    chain: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    settings: Settings,
    /// The parameters that the realm itself has.
    realm_query: Vec<(String, String)>,
    asked: Vec<Asked>,
    /// For how many more requests each token is good; without a number, any.
    issued: BTreeMap<String, Option<usize>>,
    unexpected: Vec<String>,
}

impl Tokens {
    /// Starts the server, with a new key.
    #[track_caller]
    pub fn start() -> Tokens {
        let folder = temporary();
        let certificate = certify(folder.path(), &["tokens.example".to_owned()]);
        let text = fs::read_to_string(&certificate).unwrap_or_else(|e| panic!("there is no {}: {e}", certificate.display()));
        let chain = text.lines().filter(|l| !l.starts_with('-')).collect();
        let shared = Arc::new(Shared { key: folder.path().join("key.pem"), chain, state: Mutex::default() });
        let of_server = Arc::clone(&shared);
        let server = Proxy::fake(move |seen| of_server.answer(seen));
        let of_gate = Arc::clone(&shared);
        let gate = Proxy::fake(move |seen| Some(of_gate.pass(seen)));
        Tokens { realm: format!("http://{}/token", server.host), server, gate, shared, folder }
    }

    /// Changes how tokens are issued from now on.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.shared.lock().settings);
    }

    /// Revokes all tokens that were issued so far; only with [`behind_nginx`].
    pub fn revoke(&self) {
        self.shared.lock().issued.values_mut().for_each(|left| *left = Some(0));
    }

    /// Returns all requests for a token so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// Returns how often a token was asked for this repository.
    pub fn asked_for(&self, repo: &str) -> usize {
        let scope = format!("repository:{repo}:pull");
        self.shared.lock().asked.iter().filter(|a| a.scope.as_deref() == Some(&scope)).count()
    }

    /// Empties the log; settings and tokens stay.
    pub fn reset(&self) {
        self.shared.lock().asked.clear();
        self.server.reset();
    }

    /// Panics when something came that no client of ours should send: another
    /// `Authorization` than the user's, another scope than `repository:…:pull`, a
    /// parameter that is none of the protocol's (credentials, say); behind nginx
    /// also anything but our tokens.
    #[track_caller]
    pub fn assert_clean(&self) {
        let unexpected = self.shared.lock().unexpected.join("\n");
        assert!(unexpected.is_empty(), "unexpected at the token server:\n{unexpected}");
        self.server.assert_clean();
        self.gate.assert_clean();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The answer to a request for a token.
    fn answer(&self, seen: &Seen) -> Option<Fault> {
        let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        if path != "/token" || !["GET", "OPTIONS"].contains(&seen.method.as_str()) {
            return None;
        }
        let cors = self.lock().settings.cors;
        if seen.method == "OPTIONS" {
            return Some(if cors { Fault::preflight() } else { Fault::bare(405, &[], "") });
        }
        let mut answer = self.issue(seen, &pairs(query));
        if let (false, Fault::Status(_, headers, _)) = (cors, &mut answer) {
            headers.retain(|(name, _)| !name.starts_with("Access-Control-"));
        }
        Some(answer)
    }

    fn issue(&self, seen: &Seen, query: &[(String, String)]) -> Fault {
        let value = |key: &str| query.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
        let (scope, service, given) = (value("scope"), value("service"), seen.header("Authorization"));
        let repo = scope.as_deref().and_then(|s| s.strip_prefix("repository:")?.strip_suffix(":pull"));
        let repo = repo.filter(|r| !r.is_empty() && !r.contains([':', ' ']));
        let (settings, mut wrong) = {
            let state = self.lock();
            let known =
                |pair: &&(String, String)| ["scope", "service"].contains(&pair.0.as_str()) || state.realm_query.contains(pair);
            let mut wrong: Vec<String> = query.iter().filter(|p| !known(p)).map(|(k, _)| format!("the parameter {k}")).collect();
            let lost = state.realm_query.iter().filter(|p| !query.contains(p));
            wrong.extend(lost.map(|(k, _)| format!("the realm's own parameter {k} is lost")));
            (state.settings.clone(), wrong)
        };
        for key in ["scope", "service"] {
            if query.iter().filter(|(k, _)| k == key).count() > 1 {
                wrong.push(format!("more than one {key}"));
            }
        }
        if repo.is_none() {
            wrong.push(format!("the scope {scope:?}"));
        }
        if service.as_deref() != Some(SERVICE) {
            wrong.push(format!("the service {service:?}"));
        }
        let is_user = given.is_some_and(|g| g == authorization());
        if given.is_some() && !is_user {
            wrong.push("an Authorization that is not the user's".to_owned());
        }
        let access = repo.and_then(|r| settings.access.get(r)).copied().unwrap_or(settings.others);
        let is_allowed = match access {
            Access::Anyone => given.is_none() || is_user,
            Access::Members => is_user,
            Access::Nobody => false,
        };
        let refusal = if given.is_some() && !is_user { Some(401) } else { settings.refusal.filter(|_| !is_allowed) };
        let answer = match refusal {
            Some(401) => Fault::registry_error(401, "UNAUTHORIZED").with("WWW-Authenticate", r#"Basic realm="tokens""#),
            Some(status) => Fault::registry_error(status, "DENIED"),
            None => self.token(&settings, repo.filter(|_| is_allowed)),
        };
        let mut state = self.lock();
        state.unexpected.extend(wrong.into_iter().map(|w| format!("{w} in GET {}", seen.path)));
        let status = refusal.unwrap_or(200);
        state.asked.push(Asked { scope, service, authorization: given.is_some(), status });
        answer
    }

    /// Signs a token for a repository, or one for nothing.
    fn token(&self, settings: &Settings, repo: Option<&str>) -> Fault {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs().cast_signed();
        let access: Vec<_> = repo.iter().map(|r| json!({ "type": "repository", "name": r, "actions": ["pull"] })).collect();
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.chain] });
        // Each token is different, so that only one is used up at a time.
        let id = self.lock().issued.len();
        let claims = json!({
            "iss": ISSUER, "sub": USER, "aud": SERVICE, "jti": id.to_string(), "access": access,
            "iat": now, "nbf": now - LEEWAY, "exp": now - LEEWAY + i64::from(settings.valid),
        });
        let part = |bytes: &[u8]| base64(bytes, b"-_");
        let signed = format!("{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()));
        let token = format!("{signed}.{}", part(&sign(&self.key, signed.as_bytes())));
        let mut body: serde_json::Map<_, _> = settings.fields.iter().map(|f| ((*f).to_owned(), json!(token))).collect();
        body.extend(settings.expires_in.map(|e| ("expires_in".to_owned(), json!(e))));
        self.lock().issued.insert(token, settings.uses);
        Fault::json(200, &body.into())
    }

    /// Says with which Authorization a request goes on to the registry: that of a
    /// token that is spent gets a wrong signature.
    fn pass(&self, seen: &Seen) -> Fault {
        let Some(given) = seen.header("Authorization") else {
            return Fault::bare(200, &[], "");
        };
        let mut state = self.lock();
        let left = given.strip_prefix("Bearer ").and_then(|token| state.issued.get_mut(token));
        let on = match left {
            Some(Some(0)) => given[..given.len() - 8].to_owned() + "AAAAAAAA",
            Some(left) => {
                *left = left.map(|n| n - 1);
                given.to_owned()
            }
            None => {
                state.unexpected.push("the registry got an Authorization that is not a token of ours".to_owned());
                given.to_owned()
            }
        };
        Fault::bare(200, &[("X-Authorization", &on)], "")
    }
}

/// Signs as ES256 wants it: both numbers in 32 bytes each.
fn sign(key: &Path, text: &[u8]) -> Vec<u8> {
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-sign"]).arg(key).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = openssl.spawn().unwrap_or_else(|e| panic!("openssl does not run (apt-get install openssl): {e}"));
    running.stdin.take().expect("it was asked for").write_all(text).expect("openssl reads all");
    let der = running.wait_with_output().expect("openssl ends").stdout;
    let mut numbers = der.get(2..).unwrap_or_else(|| panic!("openssl signed nothing with {}", key.display()));
    let mut signature = Vec::new();
    for _ in 0..2 {
        let (number, rest) = numbers[2..].split_at(usize::from(numbers[1]));
        let digits = &number[number.len().saturating_sub(32)..];
        signature.extend(vec![0; 32 - digits.len()]);
        signature.extend(digits);
        numbers = rest;
    }
    signature
}

/// Writes bytes in base64; `last` are the last two signs, and the filler if there is to be one.
fn base64(bytes: &[u8], last: &[u8]) -> String {
    let signs: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(last[..2].iter().copied()).collect();
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | usize::from(*three.get(i).unwrap_or(&0)));
        text.extend((0..=three.len()).map(|i| char::from(signs[bits >> (18 - 6 * i) & 63])));
        text.extend(last.get(2).iter().flat_map(|fill| vec![char::from(**fill); 3 - three.len()]));
    }
    text
}

fn pairs(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn temporary() -> TempDir {
    TempDir::with_prefix("test-login-").unwrap_or_else(|e| panic!("no temporary folder: {e}"))
}
