//! Where a server may send us, and where a login may go: redirects, realms of tokens, further pages.
//!
//! A registry is just a host that somebody named; what it answers must not make overtag ask hosts of the reader's own
//! network, leave TLS, or hand a login to others (as go-containerregistry guards a realm).

use crate::engine::error::clean;
use crate::engine::registry::http::Request;
use crate::engine::url::{Address, is_loopback, is_private, is_same_origin, join};

/// Whether a server at `from` may send us to `to`; says in one phrase what is wrong otherwise.
pub fn check_redirect(from: &str, to: &str) -> Result<(), String> {
    let (Some(from), Some(to)) = (Address::parse(from), Address::parse(to)) else {
        return Err(format!("`{}` is not an address", clean(to)));
    };
    if from.scheme == "https" && to.scheme == "http" {
        return Err(format!("{} is not encrypted, but {} is", to.origin(), from.origin()));
    }
    if is_private(to.host) && !is_private(from.host) {
        return Err(format!("{} is on a private network, but {} is not", to.host, from.host));
    }
    Ok(())
}

/// The request that follows a redirect. A login stays behind where it leads to another origin.
///
/// # Errors
/// One phrase, where nobody should follow.
pub fn redirected(request: &Request, location: &str) -> Result<Request, String> {
    let url = join(&request.url, location).ok_or_else(|| format!("`{}` is not an address", clean(location)))?;
    check_redirect(&request.url, &url)?;
    let stays = is_same_origin(&url, &request.url);
    Ok(Request { url, authorization: request.authorization.clone().filter(|_| stays), ..request.clone() })
}

/// Whether a login for the registry at `endpoint` may go to the token service at `realm`: the same host, whatever the port, or one
/// of the same parent domain, as `auth.docker.io` is to `registry-1.docker.io`.
///
/// ```
/// use overtag::engine::registry::redirect::shares_login;
/// assert!(shares_login("https://registry-1.docker.io", "https://auth.docker.io/token"));
/// assert!(shares_login("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"));
/// assert!(!shares_login("https://quay.io", "https://evil.io/token") && !shares_login("https://a.example.org", "https://a.example.net/"));
/// ```
pub fn shares_login(endpoint: &str, realm: &str) -> bool {
    let (Some(a), Some(b)) = (Address::parse(endpoint), Address::parse(realm)) else { return false };
    let bare = |host: &str| match host.starts_with('[') {
        true => host.split(']').next().unwrap_or(host).to_ascii_lowercase(),
        false => host.split(':').next().unwrap_or(host).trim_end_matches('.').to_ascii_lowercase(),
    };
    let parent = |host: &str| host.split_once('.').map(|(_, p)| p.to_owned()).filter(|p| p.contains('.'));
    let is_name = |host: &str| host.rsplit('.').next().is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()));
    let (a, b) = (bare(a.host), bare(b.host));
    a == b
        || is_loopback(&a) && is_loopback(&b)
        || is_name(&a)
            && is_name(&b)
            && (parent(&a).is_some_and(|p| p == b || parent(&b).is_some_and(|q| p == q)) || parent(&b).is_some_and(|q| q == a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_redirect_is_refused() {
        let lead = |from: &str, to: &str| check_redirect(from, to).is_ok();
        assert!(lead("https://a.io/v2/", "https://b.io/x") && lead("http://127.0.0.1:5000/", "http://127.0.0.1:6000/"));
        assert!(lead("http://a.io/", "https://b.io/"));
        for to in
            ["http://a.io/", "https://127.0.0.1/", "https://10.0.0.1/", "https://x@a.io/", "https://a.io\\@b/", "file:///etc", ""]
        {
            assert!(!lead("https://a.io/v2/", to), "{to}");
        }
        for to in ["https://2130706433/", "https://127.1/", "https://0x7f000001/", "https://[::1]/", "https://localhost./"] {
            assert!(!lead("https://a.io/v2/", to), "{to}");
        }
    }

    #[test]
    fn cross_host_redirect_drops_login() {
        let mut request = Request::get("https://a.io/v2/x/blobs/1".to_owned(), 1);
        request.authorization = Some(crate::engine::registry::http::Secret::new("Basic x"));
        let to = |location: &str| redirected(&request, location).map(|r| (r.url, r.authorization.is_some()));
        assert_eq!(to("/y"), Ok(("https://a.io/y".to_owned(), true)));
        assert_eq!(to("2?z"), Ok(("https://a.io/v2/x/blobs/2?z".to_owned(), true)));
        assert_eq!(to("//cdn.io/y"), Ok(("https://cdn.io/y".to_owned(), false)));
        assert_eq!(to("https://a.io:8443/y"), Ok(("https://a.io:8443/y".to_owned(), false)));
        assert!(to("http://a.io/y").is_err() && to("https://192.168.1.1/").is_err());
    }
}
