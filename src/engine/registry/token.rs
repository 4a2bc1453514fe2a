//! Tokens, which a token service gives for a login or for nothing.
//!
//! The flow is distribution's (<https://distribution.github.io/distribution/spec/auth/token/>).

use std::time::Duration;

use crate::engine::error::clean;
use crate::engine::image::reference::Repository;
use crate::engine::json::{self, shape};
use crate::engine::registry::auth::Login;
use crate::engine::registry::error::RegistryError;
use crate::engine::registry::http::{BODY_LIMIT, Method, Request, Response, Secret};
use crate::engine::registry::redirect;
use crate::engine::url;

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
) -> Result<Request, RegistryError> {
    let astray = |why: String| RegistryError {
        message: format!("unusable token service: {why}"),
        hint: "ask the registry's owner".to_owned(),
    };
    // docker, crane and skopeo take no relative one either: a realm is an address.
    if !realm.contains("://") {
        return Err(astray(format!("`{}` is not an absolute address", clean(realm))));
    }
    redirect::check_redirect(endpoint, realm).map_err(astray)?;
    let realm = realm.split('#').next().unwrap_or(realm);
    if login.is_some() && !redirect::shares_login(endpoint, realm) {
        return Err(astray(format!("the login is for {}, not for {}", url::origin(endpoint), url::origin(realm))));
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(service.map(|s| ("service", s)));
    query.append_pair("scope", &format!("repository:{}:pull", repository.path));
    if let Some(Login::Refresh { token, .. }) = login {
        // <https://distribution.github.io/distribution/spec/auth/oauth/>
        query.append_pair("grant_type", "refresh_token").append_pair("client_id", "overtag");
        query.append_pair("refresh_token", token.reveal());
        let form = Some(Secret::new(query.finish()));
        return Ok(Request { method: Method::Post, form, ..Request::get(realm.to_owned(), BODY_LIMIT) });
    }
    let join = if realm.contains('?') { '&' } else { '?' };
    let request = Request::get(format!("{realm}{join}{}", query.finish()), BODY_LIMIT);
    Ok(Request { authorization: login.and_then(Login::basic), ..request })
}

shape! {
    /// What a token service answers (<https://distribution.github.io/distribution/spec/auth/token/>).
    struct TokenBody {
        token: String = "token",
        /// The same, as OAuth names it.
        access_token: String = "access_token",
        /// Seconds.
        expires_in: u64 = "expires_in",
    }
}

/// Reads a token service's answer to `request`; a token without a lifetime lives for 60 s, as distribution's specification says.
///
/// # Errors
/// A refusal, or what is not a token.
pub fn read_token(response: &Response, request: &Request) -> Result<Token, RegistryError> {
    if response.status != 200 {
        let (message, hint) = match (response.status, request.form.is_some(), request.authorization.is_some()) {
            (400 | 401 | 403, true, _) => {
                ("the registry's token service refuses the identity token", "log in again: the token has expired")
            }
            (404 | 405, true, _) => (
                "the registry's token service does not accept an identity token",
                "log in with a user and a password (podman login)",
            ),
            (400 | 401 | 403, _, true) => {
                ("the registry's token service refuses the login", "check user and password, or log in again")
            }
            (400 | 401 | 403, ..) => {
                ("it is private or does not exist: the registry gives no token without a login", "log in, or check the namespace")
            }
            _ => ("the registry's token service returned an error", "wait a little and retry"),
        };
        return Err(RegistryError { message: format!("{message} ({})", response.status), hint: hint.to_owned() });
    }
    let TokenBody { token, access_token, expires_in } = json::read(&response.body).unwrap_or_default();
    // A token is sent in a header, and must be fit for it.
    let token = [token, access_token].into_iter().find_map(|token| token.filter(|t| !t.is_empty()));
    let Some(token) = token.filter(|t| t.bytes().all(|b| b.is_ascii_graphic())) else {
        let message = "the registry's token service returned no token".to_owned();
        return Err(RegistryError { message, hint: "ask the registry's owner".to_owned() });
    };
    let seconds = expires_in.filter(|s| *s > 0).unwrap_or(60).min(86_400);
    Ok(Token { header: Secret::new(format!("Bearer {token}")), lifetime: Duration::from_millis(seconds * 800) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::image::reference::Reference;

    fn repository(text: &str) -> Repository {
        Reference::parse(text).expect("a reference").repository
    }

    #[test]
    fn token_request_uses_own_scope_and_login() {
        // The scope names the repository. A login goes only to hosts of the registry's domain.
        let login = Login::new("u", "p:w");
        let query = |realm: &str, login| {
            token_request("https://r.example.org", realm, Some("s x"), &repository("r.example.org/a/b"), login)
        };
        let request = query("https://auth.example.org/token?k=v", None).expect("a request");
        assert_eq!(request.url, "https://auth.example.org/token?k=v&service=s+x&scope=repository%3Aa%2Fb%3Apull");
        assert_eq!(request.authorization, None);
        let request = query("https://auth.example.org/token", Some(&login)).expect("a request");
        assert_eq!(request.authorization.as_ref().map(Secret::reveal), Some("Basic dTpwOnc="));
        assert!(
            !format!("{request:?}{login:?}").contains("dTpw") && !format!("{login:?}").contains("p:w"),
            "a secret is not shown"
        );
        assert!(query("https://evil.example.net/token", None).is_ok());
        for (realm, login) in [
            ("https://evil.example.net/token", Some(&login)),
            ("http://auth.example.org/token", None),
            ("https://127.0.0.1/token", None),
            ("https://169.254.169.254/latest", None),
            ("nonsense", None),
        ] {
            assert!(query(realm, login).is_err(), "{realm}");
        }
    }

    #[test]
    fn token_is_read_and_renewed_early() {
        // The field is `token` or `access_token`, and four fifths of the lifetime are used.
        let read = |status: u16, body: &str| {
            let request = Request::get(String::new(), 0);
            read_token(&Response { status, body: body.as_bytes().to_vec(), ..Response::default() }, &request)
        };
        let seconds = |body: &str| read(200, body).expect("a token").lifetime.as_secs();
        assert_eq!(seconds(r#"{"token":"a.b"}"#), 48);
        assert_eq!(seconds(r#"{"access_token":"a.b","expires_in":300,"issued_at":"2020-01-01T00:00:00Z"}"#), 240);
        for (status, body) in [(200, "{}"), (200, "<html>"), (200, r#"{"token":"a\nb"}"#), (401, "{}"), (503, "")] {
            assert!(read(status, body).is_err(), "{body}");
        }
    }

    #[test]
    fn refresh_token_is_posted_to_absolute_realm() {
        let login = Login::refresh("a b");
        let query =
            |realm: &str| token_request("https://r.example", realm, Some("s"), &repository("r.example/a/b"), Some(&login));
        let request = query("https://r.example/token?x=1").expect("a request");
        assert_eq!((request.method, request.url.as_str()), (Method::Post, "https://r.example/token?x=1"));
        let want = "service=s&scope=repository%3Aa%2Fb%3Apull&grant_type=refresh_token&client_id=overtag&refresh_token=a+b";
        assert_eq!(request.form.as_ref().map(Secret::reveal), Some(want));
        assert!(query("/token").expect_err("it is relative").message.contains("`/token` is not an absolute address"));
        assert!(query("https://evil.example.net/token").is_err());
    }
}
