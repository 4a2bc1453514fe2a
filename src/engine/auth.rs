//! Logins and tokens: what a registry's 401 asks for, and what answers it.
//!
//! The flow is distribution's (<https://distribution.github.io/distribution/spec/auth/token/>). A login is held in memory alone, for
//! the host that it is for.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::error::{Error, clean};
use super::guard;
use super::name::Repository;
use super::registry::Trouble;
use super::wire::{BODY_LIMIT, Request, Response, Secret, parameter};

/// What a 401 asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A token from the service at `realm`.
    Bearer {
        /// The address of the token service.
        realm: String,
        /// The name that the registry goes by there.
        service: Option<String>,
    },
    /// A user and a password.
    Basic,
    /// Something that nobody here speaks: which.
    Other(String),
}

/// Reads `WWW-Authenticate` (RFC 9110, 11.6.1): any number of challenges, in one header or several joined by commas, parameters in any
/// order, quoted or bare. A token is preferred to a password. None where there is no challenge at all.
///
/// ```
/// use overtag::engine::auth::{Wanted, wanted};
/// let header = r#"Basic realm="x, \"y\"", Bearer Service=r.example,scope="a,b",realm="https://r.example/token""#;
/// let (realm, service) = ("https://r.example/token".to_owned(), Some("r.example".to_owned()));
/// assert_eq!(wanted(header), Some(Wanted::Bearer { realm, service }));
/// assert_eq!(wanted("Basic realm=x"), Some(Wanted::Basic));
/// ```
pub fn wanted(header: &str) -> Option<Wanted> {
    let (mut basic, mut other) = (false, None);
    for challenge in challenges(header) {
        let parameter = |name: &str| {
            let found = challenge.parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone()).filter(|v| !v.is_empty())
        };
        match challenge.scheme.to_ascii_lowercase().as_str() {
            "bearer" => match parameter("realm") {
                Some(realm) => return Some(Wanted::Bearer { realm, service: parameter("service") }),
                None => other = Some("Bearer without a realm".to_owned()),
            },
            "basic" => basic = true,
            scheme => other = other.or(Some(clean(scheme))),
        }
    }
    if basic { Some(Wanted::Basic) } else { other.map(Wanted::Other) }
}

struct Challenge<'a> {
    scheme: &'a str,
    parameters: Vec<(&'a str, String)>,
}

/// The challenges of a header. More is read than the grammar allows, such as an address without quotes (which is why this is no
/// crate): what a registry means is clear, and nothing of it is trusted. A `token68` becomes a parameter that nobody looks at.
fn challenges(header: &str) -> Vec<Challenge<'_>> {
    let mut out: Vec<Challenge<'_>> = Vec::new();
    let ends = [' ', '\t', ','];
    let mut rest = header;
    while let Some((word, value, after)) = parameter(rest.trim_start_matches([' ', '\t', ',', '"', '=']), &ends) {
        rest = after;
        match (value, out.last_mut()) {
            (None, _) => out.push(Challenge { scheme: word, parameters: Vec::new() }),
            (Some(value), Some(challenge)) => challenge.parameters.push((word, value)),
            (Some(_), None) => {}
        }
    }
    out
}

/// A user and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    user: String,
    password: Secret,
}

impl Login {
    /// A login as it is typed.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: Secret::new(password) }
    }

    /// The header that sends it (RFC 7617).
    pub fn basic(&self) -> Secret {
        Secret::new(format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password.reveal()))))
    }
}

/// The logins that there are, each for a host or a path on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logins(BTreeMap<String, Login>);

impl Logins {
    /// Keeps a login for a host.
    pub fn put(&mut self, host: &str, login: Login) {
        self.0.insert(host.to_owned(), login);
    }

    /// The login for a repository: that of the longest path that it is below, as containers-auth.json(5) has it.
    pub fn of(&self, repository: &Repository) -> Option<&Login> {
        let mut path = repository.to_string();
        loop {
            if let Some(login) = self.0.get(&path) {
                return Some(login);
            }
            path.truncate(path.rfind('/')?);
        }
    }

    /// Whether there is a login for a host, or for a path on it.
    pub fn has_host(&self, host: &str) -> bool {
        self.0.keys().any(|key| key.split('/').next() == Some(host))
    }

    /// Reads containers-auth.json(5) or docker's `config.json`: `{"auths": {"HOST[/PATH]": {"auth": "base64 of USER:PASSWORD"}}}`.
    ///
    /// # Errors
    /// What is no such file. An entry without a password (docker keeps those in a credential helper, which is a program and is not
    /// run) is none; its host is named in the list beside.
    pub fn read(text: &str, name: &str) -> Result<(Self, Vec<String>), Error> {
        let wrong = |what: &str| Error::usage(what, name, "give what podman login or docker login wrote");
        let file: Value = serde_json::from_str(text).map_err(|e| wrong(&format!("the file is no JSON ({e})")))?;
        let auths = match file.get("auths") {
            Some(Value::Object(auths)) => auths,
            _ => return Err(wrong("the file has no \"auths\"")),
        };
        let (mut logins, mut without) = (Self::default(), Vec::new());
        for (key, entry) in auths {
            // Docker wrote addresses, and for Docker Hub an old one.
            let bare = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
            let place = match bare {
                "index.docker.io/v1" | "index.docker.io" | "registry-1.docker.io" => "docker.io",
                other => other.trim_end_matches("/v1").trim_end_matches("/v2"),
            };
            let decoded = entry.get("auth").and_then(Value::as_str).and_then(|a| STANDARD.decode(a).ok());
            let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            match pair.as_deref().and_then(|p| p.split_once(':')) {
                Some((user, password)) => logins.put(place, Login::new(user, password.trim_end_matches('\0'))),
                None => without.push(clean(place)),
            }
        }
        Ok((logins, without))
    }
}

/// A token and how long it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The header that sends it.
    pub header: Secret,
    /// From when it was asked for; already a fifth shorter than the service said, so that it does not run out under way.
    pub lifetime: Duration,
}

/// The question for a token to read `repository`. The scope is always our own: that of a challenge may be a placeholder.
///
/// # Errors
/// A realm that nobody should follow.
pub fn token_request(
    endpoint: &str,
    realm: &str,
    service: Option<&str>,
    repository: &Repository,
    login: Option<&Login>,
) -> Result<Request, Trouble> {
    let astray = |why: String| Trouble {
        what: format!("the registry sends us elsewhere for a token, and {why}"),
        cure: "ask whoever runs the registry".to_owned(),
    };
    guard::may_lead(endpoint, realm).map_err(astray)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(service.map(|s| ("service", s)));
    query.append_pair("scope", &format!("repository:{}:pull", repository.path));
    let realm = realm.split('#').next().unwrap_or(realm);
    let join = if realm.contains('?') { '&' } else { '?' };
    let mut request = Request::get(format!("{realm}{join}{}", query.finish()), BODY_LIMIT);
    if let Some(login) = login {
        if !guard::shares_login(endpoint, realm) {
            return Err(astray(format!("the login is for {} and not for {}", guard::origin(endpoint), guard::origin(realm))));
        }
        request.authorization = Some(login.basic());
    }
    Ok(request)
}

/// Reads a token service's answer; a token without a lifetime lives for 60 s, as distribution's specification says.
///
/// # Errors
/// A refusal, or what is no token.
pub fn read_token(response: &Response, has_login: bool) -> Result<Token, Trouble> {
    if response.status != 200 {
        let (what, cure) = match (response.status, has_login) {
            (400 | 401 | 403, true) => ("the registry's token service refuses the login", "check user and password"),
            (400 | 401 | 403, false) => (
                "it is private, or it is not there: the registry gives no token without a login",
                "log in, or check the namespace",
            ),
            _ => ("the registry's token service is in trouble", "wait a little and retry"),
        };
        return Err(Trouble { what: format!("{what} ({})", response.status), cure: cure.to_owned() });
    }
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    // The two names mean the same. A token is sent in a header, and must be fit for it.
    let token = ["token", "access_token"].into_iter().find_map(|name| body.get(name)?.as_str().filter(|t| !t.is_empty()));
    let Some(token) = token.filter(|t| t.bytes().all(|b| b.is_ascii_graphic())) else {
        let what = "the registry's token service answered without a token".to_owned();
        return Err(Trouble { what, cure: "ask whoever runs the registry".to_owned() });
    };
    let seconds = body.get("expires_in").and_then(Value::as_u64).filter(|s| *s > 0).unwrap_or(60).min(86_400);
    Ok(Token { header: Secret::new(format!("Bearer {token}")), lifetime: Duration::from_millis(seconds * 800) })
}

#[cfg(test)]
mod tests {
    use super::super::name::Reference;
    use super::*;

    fn repository(text: &str) -> Repository {
        Reference::parse(text).expect("a reference").repository
    }

    #[test]
    fn challenges_are_read_in_every_spelling() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Wanted::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        for (header, want) in [
            (r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull""#, bearer("https://a/t", Some("s"))),
            (r#"bearer SCOPE="repository:user/image:pull" , Realm="https://a/t""#, bearer("https://a/t", None)),
            (r#"Bearer error="insufficient_scope",realm=https://a/t?x=y,service=s"#, bearer("https://a/t?x=y", Some("s"))),
            (r#"Bearer error="insufficient_scope""#, Some(Wanted::Other("Bearer without a realm".to_owned()))),
            (r#"Bearer realm="https://a/t?x=1,2&y=\"q\"",service="a b""#, bearer("https://a/t?x=1,2&y=\"q\"", Some("a b"))),
            (r#"Basic realm="a", Bearer realm="https://a/t""#, bearer("https://a/t", None)),
            (r#"Negotiate oRQwEqADCgEB==, Basic realm="a""#, Some(Wanted::Basic)),
            ("BASIC realm=\"Registry Realm\"", Some(Wanted::Basic)),
            ("Digest realm=\"x\", qop=\"auth,auth-int\"", Some(Wanted::Other("digest".to_owned()))),
            ("", None),
            (",,,\"", None),
        ] {
            assert_eq!(wanted(header), want, "{header}");
        }
    }

    #[test]
    fn a_token_is_asked_for_with_our_own_scope_and_a_login_goes_to_nobody_else() {
        let login = Login::new("u", "p:w");
        let ask = |realm: &str, login| {
            token_request("https://r.example.org", realm, Some("s x"), &repository("r.example.org/a/b"), login)
        };
        let request = ask("https://auth.example.org/token?k=v", None).expect("a request");
        assert_eq!(request.url, "https://auth.example.org/token?k=v&service=s+x&scope=repository%3Aa%2Fb%3Apull");
        assert_eq!(request.authorization, None);
        let request = ask("https://auth.example.org/token", Some(&login)).expect("a request");
        assert_eq!(request.authorization.as_ref().map(Secret::reveal), Some("Basic dTpwOnc="));
        assert!(
            !format!("{request:?}{login:?}").contains("dTpw") && !format!("{login:?}").contains("p:w"),
            "a secret is not shown"
        );
        assert!(ask("https://evil.example.net/token", None).is_ok());
        for (realm, login) in [
            ("https://evil.example.net/token", Some(&login)),
            ("http://auth.example.org/token", None),
            ("https://127.0.0.1/token", None),
            ("https://169.254.169.254/latest", None),
            ("nonsense", None),
        ] {
            assert!(ask(realm, login).is_err(), "{realm}");
        }
    }

    #[test]
    fn a_token_is_read_under_both_names_and_renewed_early() {
        let read = |status: u16, body: &str| {
            read_token(&Response { status, body: body.as_bytes().to_vec(), ..Response::default() }, false)
        };
        let seconds = |body: &str| read(200, body).expect("a token").lifetime.as_secs();
        assert_eq!(seconds(r#"{"token":"a.b"}"#), 48);
        assert_eq!(seconds(r#"{"access_token":"a.b","expires_in":300,"issued_at":"2020-01-01T00:00:00Z"}"#), 240);
        for (status, body) in [(200, "{}"), (200, "<html>"), (200, r#"{"token":"a\nb"}"#), (401, "{}"), (503, "")] {
            assert!(read(status, body).is_err(), "{body}");
        }
    }

    #[test]
    fn an_authfile_gives_each_host_its_own_login() {
        let text = r#"{"auths": {"quay.io/ns": {"auth": "bnM6bnM="}, "quay.io": {"auth": "cTpx"},
                       "https://index.docker.io/v1/": {"auth": "aDpo"}, "helper.example": {}}, "credsStore": "desktop"}"#;
        let (logins, without) = Logins::read(text, "auth.json").expect("an authfile");
        let user = |name: &str| logins.of(&repository(name)).map(|l| l.user.as_str());
        assert_eq!((user("quay.io/ns/x"), user("quay.io/other/x"), user("library")), (Some("ns"), Some("q"), Some("h")));
        assert_eq!((user("quay.io.evil.example/ns/x"), user("helper.example/x")), (None, None));
        assert_eq!(without, ["helper.example"]);
        assert!(Logins::read("[]", "x").is_err() && Logins::read("{", "x").is_err());
    }
}
