//! Where a server may send us, and where a login may go: redirects, realms of tokens, further pages.
//!
//! A registry is no more than the host that somebody named; what it answers must not make overtag ask hosts of the reader's own
//! network, leave TLS, or hand a login to others (as go-containerregistry guards a realm).

use super::name::{is_host, is_loopback, is_private};
use super::wire::Request;

/// An address in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host and, where there is one, port.
    pub host: &'a str,
    /// Path and query, with the slash; empty where there is none.
    pub rest: &'a str,
}

impl<'a> Address<'a> {
    /// Reads an absolute address of the web. Spellings that clients may read in another way than we do are none: a user before the
    /// host, blanks, backslashes, anything that is not ASCII.
    pub fn parse(url: &'a str) -> Option<Self> {
        let (scheme, after) = url.split_once("://")?;
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (host, rest) = after.split_at(end);
        let is_plain = url.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        let is_web = matches!(scheme, "http" | "https");
        (is_plain && is_web && is_host(host)).then_some(Self { scheme, host, rest })
    }

    /// `scheme://host`
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }
}

/// Scheme, host and port of an address; empty where it is none.
pub fn origin(url: &str) -> String {
    Address::parse(url).map_or_else(String::new, |a| a.origin())
}

/// Whether two addresses are of one origin: scheme, host in any case, and port, which may be left out where it is the scheme's own.
///
/// ```
/// use overtag::engine::guard::is_same_origin;
/// assert!(is_same_origin("https://quay.io/v2/", "https://QUAY.io:443/x"));
/// assert!(!is_same_origin("https://quay.io", "http://quay.io") && !is_same_origin("https://quay.io", "https://quay.io:8443"));
/// ```
pub fn is_same_origin(a: &str, b: &str) -> bool {
    let whole = |url: &str| {
        let address = Address::parse(url)?;
        let host = address.host.to_ascii_lowercase();
        let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let port = if address.scheme == "https" { ":443" } else { ":80" };
        Some(format!("{}://{host}{}", address.scheme, if has_port { "" } else { port }))
    };
    whole(a).is_some() && whole(a) == whole(b)
}

/// An address that may become a link: of the web, and nothing else that a link could do.
///
/// ```
/// use overtag::engine::guard::web_link;
/// assert_eq!(web_link("https://logs.example/1"), Some("https://logs.example/1".to_owned()));
/// assert_eq!(web_link("javascript:alert(origin)//x"), None);
/// ```
pub fn web_link(url: &str) -> Option<String> {
    Address::parse(url).map(|_| url.to_owned())
}

/// `target`, absolute or relative, as seen from `base`.
pub fn join(base: &str, target: &str) -> Option<String> {
    let from = Address::parse(base)?;
    let is_absolute = target.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
    let path = from.rest.split(['?', '#']).next().unwrap_or("");
    let joined = match target {
        _ if is_absolute => target.to_owned(),
        _ if target.starts_with("//") => format!("{}:{target}", from.scheme),
        _ if target.starts_with('/') => format!("{}{target}", from.origin()),
        _ if target.starts_with('?') => format!("{}{path}{target}", from.origin()),
        _ => format!("{}{}/{target}", from.origin(), path.rsplit_once('/').map_or("", |(folder, _)| folder)),
    };
    Address::parse(&joined).is_some().then_some(joined)
}

/// Whether a server at `from` may send us to `to`; says in one phrase what is wrong otherwise.
pub fn may_lead(from: &str, to: &str) -> Result<(), String> {
    let (Some(from), Some(to)) = (Address::parse(from), Address::parse(to)) else {
        return Err(format!("`{}` is no address", super::error::clean(to)));
    };
    if from.scheme == "https" && to.scheme == "http" {
        return Err(format!("{} is not encrypted, and {} is", to.origin(), from.origin()));
    }
    if is_private(to.host) && !is_private(from.host) {
        return Err(format!("{} is in a private network, and {} is not", to.host, from.host));
    }
    Ok(())
}

/// The request that follows a redirect. A login stays behind where it leads to another origin.
///
/// # Errors
/// One phrase, where nobody should follow.
pub fn redirected(request: &Request, location: &str) -> Result<Request, String> {
    let url = join(&request.url, location).ok_or_else(|| format!("`{}` is no address", super::error::clean(location)))?;
    may_lead(&request.url, &url)?;
    let stays = is_same_origin(&url, &request.url);
    Ok(Request { url, authorization: request.authorization.clone().filter(|_| stays), ..request.clone() })
}

/// Whether a login for the registry at `endpoint` may go to the token service at `realm`: the same host, whatever the port, or one
/// of the same parent domain, as `auth.docker.io` is to `registry-1.docker.io`.
///
/// ```
/// use overtag::engine::guard::shares_login;
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
    fn nobody_is_led_astray() {
        let lead = |from: &str, to: &str| may_lead(from, to).is_ok();
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
    fn a_login_stays_behind() {
        let mut request = Request::get("https://a.io/v2/x/blobs/1".to_owned(), 1);
        request.authorization = Some(super::super::wire::Secret::new("Basic x"));
        let to = |location: &str| redirected(&request, location).map(|r| (r.url, r.authorization.is_some()));
        assert_eq!(to("/y"), Ok(("https://a.io/y".to_owned(), true)));
        assert_eq!(to("2?z"), Ok(("https://a.io/v2/x/blobs/2?z".to_owned(), true)));
        assert_eq!(to("//cdn.io/y"), Ok(("https://cdn.io/y".to_owned(), false)));
        assert_eq!(to("https://a.io:8443/y"), Ok(("https://a.io:8443/y".to_owned(), false)));
        assert!(to("http://a.io/y").is_err() && to("https://192.168.1.1/").is_err());
    }
}
