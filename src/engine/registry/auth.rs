//! Logins: what a registry's 401 asks for, and the login for it. A login is held in memory alone, for the host that it is for.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value;

use crate::engine::error::{Error, clean};
use crate::engine::image::reference::Repository;
use crate::engine::registry::http::{Secret, parameter};

/// What a 401 asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthChallenge {
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
/// use overtag::engine::registry::auth::{AuthChallenge, parse_www_authenticate};
/// let header = r#"Basic realm="x, \"y\"", Bearer Service=r.example,scope="a,b",realm="https://r.example/token""#;
/// let (realm, service) = ("https://r.example/token".to_owned(), Some("r.example".to_owned()));
/// assert_eq!(parse_www_authenticate(header), Some(AuthChallenge::Bearer { realm, service }));
/// assert_eq!(parse_www_authenticate("Basic realm=x"), Some(AuthChallenge::Basic));
/// ```
pub fn parse_www_authenticate(header: &str) -> Option<AuthChallenge> {
    let (mut basic, mut other) = (false, None);
    for challenge in challenges(header) {
        let parameter = |name: &str| {
            let found = challenge.parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone()).filter(|v| !v.is_empty())
        };
        match challenge.scheme.to_ascii_lowercase().as_str() {
            "bearer" => match parameter("realm") {
                Some(realm) => return Some(AuthChallenge::Bearer { realm, service: parameter("service") }),
                None => other = Some("Bearer without a realm".to_owned()),
            },
            "basic" => basic = true,
            scheme => other = other.or(Some(clean(scheme))),
        }
    }
    if basic { Some(AuthChallenge::Basic) } else { other.map(AuthChallenge::Other) }
}

struct Challenge<'a> {
    scheme: &'a str,
    parameters: Vec<(&'a str, String)>,
}

/// The challenges of a header. More is read than the grammar allows, such as an address without quotes, so no crate does it: what a
/// registry means is clear, and nothing of it is trusted. A `token68` becomes a parameter that nobody looks at.
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

/// What a registry, or its token service, is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A user and a password.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, which docker calls an identity token: the token service gives a token for it.
    Refresh {
        /// The token.
        token: Secret,
        /// User and password, where there are some too: a registry that wants no token takes them.
        password: Option<(String, Secret)>,
    },
}

impl Login {
    /// A login as it is typed.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Password { user: user.into(), password: Secret::new(password) }
    }

    /// A refresh token alone.
    pub(super) fn refresh(token: &str) -> Self {
        Self::Refresh { token: Secret::new(token), password: None }
    }

    /// The header that sends a password (RFC 7617); none for a refresh token alone.
    pub fn basic(&self) -> Option<Secret> {
        let (user, password) = match self {
            Self::Password { user, password } => (user, password),
            Self::Refresh { password, .. } => password.as_ref().map(|(user, password)| (user, password))?,
        };
        Some(Secret::new(format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.reveal())))))
    }
}

/// The logins that there are, each for a host or a path on it, and for https alone unless its user said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logins {
    by_place: BTreeMap<String, Login>,
    /// Places whose user allowed plain http, by a key such as `http://HOST` in the authfile.
    plain: BTreeSet<String>,
    /// Why what was found for a place cannot be used.
    unusable: BTreeMap<String, String>,
}

impl Logins {
    /// Keeps a login for a host.
    pub fn put(&mut self, host: &str, login: Login) {
        self.by_place.insert(host.to_owned(), login);
    }

    /// Keeps a login for a host that is reached by plain http, and was typed as one for that.
    pub fn put_plain(&mut self, host: &str, login: Login) {
        self.plain.insert(host.to_owned());
        self.put(host, login);
    }

    /// The login for a repository: that of the longest path that it is below, as containers-auth.json(5) has it.
    pub fn of(&self, repository: &Repository) -> Option<&Login> {
        below(repository).find_map(|place| self.by_place.get(&place))
    }

    /// Whether the login for a repository may be sent over plain http.
    pub fn is_plain(&self, repository: &Repository) -> bool {
        below(repository).find(|place| self.by_place.contains_key(place)).is_some_and(|place| self.plain.contains(&place))
    }

    /// Why what was found for a repository cannot be used; none where nothing was found.
    pub fn unusable(&self, repository: &Repository) -> Option<&str> {
        below(repository).find_map(|place| self.unusable.get(&place)).map(String::as_str)
    }

    /// Whether there is a login for a host, or for a path on it.
    pub fn has_host(&self, host: &str) -> bool {
        self.by_place.keys().any(|key| key.split('/').next() == Some(host))
    }
}

/// A repository, what is above it, and its host.
fn below(repository: &Repository) -> impl Iterator<Item = String> {
    std::iter::successors(Some(repository.to_string()), |place| Some(place[..place.rfind('/')?].to_owned()))
}

/// A credential helper that is to be asked: a program of the user's (<https://github.com/docker/docker-credential-helpers>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// The program is called `docker-credential-NAME`.
    pub name: String,
    /// What it is asked about, as the file spells it.
    pub server: String,
    /// The host, or the path on one, that the answer is for.
    pub place: String,
}

/// What podman or docker wrote about logins (containers-auth.json(5), docker's `config.json`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authfile {
    /// What it holds itself.
    pub logins: Logins,
    /// By place: the name of the helper, and the key as written.
    helpers: BTreeMap<String, (String, String)>,
    store: Option<String>,
    /// By place, the key as written.
    keys: BTreeMap<String, String>,
}

/// The host or path that a key of an authfile names: docker wrote addresses, and for Docker Hub an old one.
fn place_of(key: &str) -> String {
    let bare = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    match bare {
        "index.docker.io/v1" | "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.trim_end_matches("/v1").trim_end_matches("/v2").to_owned(),
    }
}

impl Authfile {
    /// Reads one: `auths` with `auth` (base64 of `USER:PASSWORD`), `username` and `password`, or `identitytoken` by host; `credHelpers`
    /// and `credsStore`.
    ///
    /// # Errors
    /// A text that is not such a file. An entry that holds no login is not an error: [`Logins::unusable`] says why.
    ///
    /// ```
    /// use overtag::engine::registry::auth::Authfile;
    /// let text = r#"{"auths": {"quay.io": {"auth": "dTpwCg=="}}, "credHelpers": {"r.example": "pass"}}"#;
    /// let file = Authfile::read(text, "auth.json").unwrap();
    /// assert!(file.logins.has_host("quay.io") && !file.logins.has_host("r.example"));
    /// ```
    pub fn read(text: &str, name: &str) -> Result<Self, Error> {
        let wrong = |message: &str| Error::usage(message, name, "give a file that podman login or docker login wrote");
        let file: Value = serde_json::from_str(text).map_err(|e| wrong(&format!("the file is not JSON ({e})")))?;
        let object = |key: &str| file.get(key).and_then(Value::as_object);
        let mut out = Self { store: string(&file, "credsStore"), ..Self::default() };
        let is_one = ["auths", "credHelpers"].iter().any(|key| object(key).is_some()) || out.store.is_some();
        if !is_one {
            return Err(wrong("the file has no \"auths\""));
        }
        // Of two keys for one place the one for https counts.
        let keys = || ["credHelpers", "auths"].iter().filter_map(|name| object(name)).flat_map(|o| o.keys());
        let is_plain = |key: &str| key.starts_with("http://");
        let secure: BTreeSet<String> = keys().filter(|key| !is_plain(key)).map(|key| place_of(key)).collect();
        let counts = |key: &str| !is_plain(key) || !secure.contains(&place_of(key));
        out.logins.plain = keys().filter(|key| is_plain(key) && counts(key)).map(|key| place_of(key)).collect();
        for (key, helper) in object("credHelpers").into_iter().flatten().filter(|(key, _)| counts(key)) {
            // An empty one switches the store off for that host.
            let helper = helper.as_str().unwrap_or_default().to_owned();
            out.helpers.insert(place_of(key), (helper, key.clone()));
        }
        for (key, entry) in object("auths").into_iter().flatten().filter(|(key, _)| counts(key)) {
            let place = place_of(key);
            match login_of(entry) {
                Ok(Some(login)) => out.logins.put(&place, login),
                Ok(None) if out.helpers.contains_key(&place) || out.store.is_some() => {}
                Ok(None) => {
                    let message = format!("{name} has an entry for it without auth, username and password, or identitytoken");
                    out.logins.unusable.insert(place.clone(), message);
                }
                Err(why) => _ = out.logins.unusable.insert(place.clone(), format!("{name} has an unusable entry for it: {why}")),
            }
            out.keys.insert(place, key.clone());
        }
        Ok(out)
    }

    /// The helpers that have the logins for these repositories, each question once.
    pub fn helpers(&self, repositories: &[Repository]) -> Vec<Helper> {
        let mut out: Vec<Helper> = Vec::new();
        for repository in repositories {
            let of_place = below(repository).find_map(|place| self.helpers.get(&place).map(|(name, key)| (place, name, key)));
            let helper = match (of_place, &self.store) {
                (Some((place, name, key)), _) => Helper { name: name.clone(), server: key.clone(), place },
                (None, Some(store)) if self.logins.of(repository).is_none() => {
                    let place = repository.host.clone();
                    let default_key = if place == "docker.io" { "https://index.docker.io/v1/" } else { &place };
                    let server = self.keys.get(&place).map_or(default_key, String::as_str).to_owned();
                    Helper { name: store.clone(), server, place }
                }
                _ => continue,
            };
            if !helper.name.is_empty() && !out.contains(&helper) {
                out.push(helper);
            }
        }
        out
    }

    /// Takes what a helper printed: `{"Username", "Secret"}`; or why it printed nothing of use.
    pub fn take(&mut self, helper: &Helper, printed: Result<String, String>) {
        let read = |text: String| {
            let answer: Value = serde_json::from_str(&text).map_err(|_| "its output is not JSON".to_owned())?;
            match (string(&answer, "Username"), string(&answer, "Secret")) {
                (Some(user), Some(secret)) if user == TOKEN => Ok(Login::refresh(&secret)),
                (Some(user), Some(secret)) => Ok(Login::new(user, secret)),
                _ => Err("its output has no user and secret".to_owned()),
            }
        };
        match printed.and_then(read) {
            Ok(login) => self.logins.put(&helper.place, login),
            Err(why) => {
                let message = format!("the credential helper docker-credential-{} failed: {}", clean(&helper.name), clean(&why));
                self.logins.unusable.insert(helper.place.clone(), message);
            }
        }
    }

    /// Notes that a helper has no login.
    pub fn has_none(&mut self, helper: &Helper) {
        let message = format!("the credential helper docker-credential-{} has no login for it", clean(&helper.name));
        self.logins.unusable.insert(helper.place.clone(), message);
    }

    /// What was found and cannot be used: the place, and why.
    pub fn unusable(&self) -> impl Iterator<Item = (&str, &str)> {
        self.logins.unusable.iter().map(|(place, why)| (place.as_str(), why.as_str()))
    }
}

/// The user name that means "the password is a refresh token".
const TOKEN: &str = "<token>";

fn string(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The login of an entry, if it holds one; in one phrase what is wrong with it otherwise.
fn login_of(entry: &Value) -> Result<Option<Login>, String> {
    // Editors and `echo` leave ends of lines behind.
    let trimmed = |text: &str| text.trim_end_matches(['\0', '\n', '\r']).to_owned();
    if let Some(token) = string(entry, "identitytoken") {
        let mut others = entry.clone();
        others.as_object_mut().and_then(|o| o.remove("identitytoken"));
        let password = match login_of(&others) {
            Ok(Some(Login::Password { user, password })) if !password.reveal().is_empty() => Some((user, password)),
            _ => None,
        };
        return Ok(Some(Login::Refresh { token: Secret::new(token.trim()), password }));
    }
    if let Some(auth) = string(entry, "auth") {
        let auth: String = auth.split_whitespace().collect();
        let decoded = STANDARD.decode(&auth).or_else(|_| STANDARD_NO_PAD.decode(&auth)).ok();
        let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.as_deref().and_then(|p| p.split_once(':')).ok_or("its auth is not base64 of USER:PASSWORD")?;
        return Ok(Some(match pair {
            (TOKEN, token) => Login::refresh(&trimmed(token)),
            (user, password) => Login::new(user, trimmed(password)),
        }));
    }
    match (string(entry, "username"), string(entry, "password")) {
        (Some(user), Some(password)) => Ok(Some(Login::new(trimmed(&user), trimmed(&password)))),
        (Some(_), None) => Err("it has a username and no password".to_owned()),
        (None, Some(_)) => Err("it has a password and no username".to_owned()),
        (None, None) if string(entry, "registrytoken").is_some() => {
            Err("it has a registrytoken, which is not supported".to_owned())
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::image::reference::Reference;

    fn repository(text: &str) -> Repository {
        Reference::parse(text).expect("a reference").repository
    }

    #[test]
    fn challenges_are_read_in_every_spelling() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(AuthChallenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        for (header, want) in [
            (r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull""#, bearer("https://a/t", Some("s"))),
            (r#"bearer SCOPE="repository:user/image:pull" , Realm="https://a/t""#, bearer("https://a/t", None)),
            (r#"Bearer error="insufficient_scope",realm=https://a/t?x=y,service=s"#, bearer("https://a/t?x=y", Some("s"))),
            (r#"Bearer error="insufficient_scope""#, Some(AuthChallenge::Other("Bearer without a realm".to_owned()))),
            (r#"Bearer realm="https://a/t?x=1,2&y=\"q\"",service="a b""#, bearer("https://a/t?x=1,2&y=\"q\"", Some("a b"))),
            (r#"Basic realm="a", Bearer realm="https://a/t""#, bearer("https://a/t", None)),
            (r#"Negotiate oRQwEqADCgEB==, Basic realm="a""#, Some(AuthChallenge::Basic)),
            ("BASIC realm=\"Registry Realm\"", Some(AuthChallenge::Basic)),
            ("Digest realm=\"x\", qop=\"auth,auth-int\"", Some(AuthChallenge::Other("digest".to_owned()))),
            ("", None),
            (",,,\"", None),
        ] {
            assert_eq!(parse_www_authenticate(header), want, "{header}");
        }
    }

    #[test]
    fn authfile_gives_each_host_its_login() {
        let text = r#"{"auths": {"quay.io/ns": {"auth": "bnM6bnM="}, "quay.io": {"auth": "cTpx"},
                       "https://index.docker.io/v1/": {"auth": "aDpo"}, "helper.example": {}}}"#;
        let file = Authfile::read(text, "auth.json").expect("an authfile");
        let user = |name: &str| match file.logins.of(&repository(name)) {
            Some(Login::Password { user, .. }) => Some(user.as_str()),
            _ => None,
        };
        assert_eq!((user("quay.io/ns/x"), user("quay.io/other/x"), user("library")), (Some("ns"), Some("q"), Some("h")));
        assert_eq!((user("quay.io.evil.example/ns/x"), user("helper.example/x")), (None, None));
        assert_eq!(file.unusable().map(|(place, _)| place).collect::<Vec<_>>(), ["helper.example"]);
        assert!(Authfile::read("[]", "x").is_err() && Authfile::read("{", "x").is_err());
    }

    #[test]
    fn login_forms_are_read_or_rejected() {
        let basic = |user: &str, password: &str| Ok(Some(Login::new(user, password)));
        let refresh = |token: &str| Ok(Some(Login::refresh(token)));
        let unusable = |why: &str| Err(why.to_owned());
        for (entry, want) in [
            (r#"{"auth": "dTpzZWNyZXQ="}"#, basic("u", "secret")),
            (r#"{"auth": "dTpzZWNyZXQ"}"#, basic("u", "secret")),
            (r#"{"auth": "dTpz\nZWNyZXQ=\n"}"#, basic("u", "secret")),
            (r#"{"auth": "dTpzZWNyZXQK"}"#, basic("u", "secret")),
            (r#"{"auth": "dTphOmI="}"#, basic("u", "a:b")),
            (r#"{"username": "u", "password": "secret\n"}"#, basic("u", "secret")),
            (r#"{"auth": "", "username": "u", "password": "secret"}"#, basic("u", "secret")),
            (r#"{"auth": "dTo=", "identitytoken": "t\n"}"#, refresh("t")),
            (
                r#"{"auth": "dTpzZWNyZXQ=", "identitytoken": "t"}"#,
                Ok(Some(Login::Refresh { token: Secret::new("t"), password: Some(("u".to_owned(), Secret::new("secret"))) })),
            ),
            (r#"{"auth": "PHRva2VuPjp0"}"#, refresh("t")),
            (r#"{"auth": "!"}"#, unusable("its auth is not base64 of USER:PASSWORD")),
            (r#"{"auth": "dQ=="}"#, unusable("its auth is not base64 of USER:PASSWORD")),
            (r#"{"username": "u"}"#, unusable("it has a username and no password")),
            (r#"{"registrytoken": "t"}"#, unusable("it has a registrytoken, which is not supported")),
            ("{}", Ok(None)),
        ] {
            let entry: Value = serde_json::from_str(entry).expect("JSON");
            assert_eq!(login_of(&entry), want, "{entry}");
        }
    }

    #[test]
    fn helpers_are_asked_for_their_hosts() {
        let text = r#"{"auths": {"https://index.docker.io/v1/": {}, "own.example": {"auth": "dTpw"}}, "credsStore": "desktop",
                       "credHelpers": {"gcr.io": "gcloud", "quay.io/ns": "pass", "off.example": ""}}"#;
        let mut file = Authfile::read(text, "config.json").expect("an authfile");
        let asked = |file: &Authfile, name: &str| {
            let helpers = file.helpers(&[repository(name)]);
            helpers.first().map(|h| format!("{} {}", h.name, h.server))
        };
        for (name, want) in [
            ("gcr.io/a/b", Some("gcloud gcr.io")),
            ("quay.io/ns/x", Some("pass quay.io/ns")),
            ("quay.io/other/x", Some("desktop quay.io")),
            ("library", Some("desktop https://index.docker.io/v1/")),
            ("own.example/x", None),
            ("off.example/x", None),
        ] {
            assert_eq!(asked(&file, name).as_deref(), want, "{name}");
        }
        let helper = file.helpers(&[repository("gcr.io/a/b")]).remove(0);
        file.take(&helper, Ok(r#"{"ServerURL": "gcr.io", "Username": "<token>", "Secret": "t"}"#.to_owned()));
        assert_eq!(file.logins.of(&repository("gcr.io/a/b")), Some(&Login::refresh("t")));
        let helper = file.helpers(&[repository("quay.io/ns/x")]).remove(0);
        file.take(&helper, Err("it cannot be run (no such file)".to_owned()));
        assert!(file.logins.unusable(&repository("quay.io/ns/x")).is_some_and(|why| why.contains("docker-credential-pass")));
    }
}
