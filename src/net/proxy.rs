//! Which proxy a request goes through, by the environment, as curl and Python's requests read it: ureq takes one variable for all
//! schemes, and asks proxies by CONNECT alone, which they often allow for port 443 only.
//!
//! * `http_proxy` is for `http://` addresses, `https_proxy` for `https://`, `all_proxy` for what has none of its own; in lower case
//!   first, then in upper case. `HTTP_PROXY` does not count where `REQUEST_METHOD` is set (<https://httpoxy.org>); curl never reads it.
//! * `no_proxy` lists, with commas or blanks between, hosts that are asked directly: a name with all names below it, an address, a
//!   network such as `10.0.0.0/8`, each with a port if it is for that port alone; `*` for all.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport};

use crate::engine::error::Error;

/// The proxies that the environment names.
#[derive(Clone, Debug)]
pub struct Proxies {
    http: Result<Option<Proxy>, Error>,
    https: Result<Option<Proxy>, Error>,
    direct: Vec<Direct>,
}

/// One proxy.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// `http`, `https`, `socks4`, `socks4a`, `socks5` or `socks5h`.
    scheme: String,
    /// Host and port.
    place: String,
    user: Option<(String, String)>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.place)
    }
}

impl Proxy {
    /// Reads `[SCHEME://][USER:PASSWORD@]HOST[:PORT]`; none where it is something else.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let scheme = scheme.to_ascii_lowercase();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        let (user, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login.split_once(':').unwrap_or((login, ""))), place),
            None => (None, authority),
        };
        let is_known = matches!(scheme.as_str(), "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h");
        let uri: Uri = format!("http://{place}/").parse().ok()?;
        // What follows a colon must be a port, and a host must be there.
        let has_place = uri.host().is_some_and(|host| !host.is_empty())
            && (uri.port_u16().is_some() || !place.rsplit(']').next().is_some_and(|end| end.contains(':')));
        let decode = |text: &str| percent_decode(text);
        (is_known && has_place).then(|| Self {
            scheme,
            place: place.to_owned(),
            user: user.map(|(name, password)| (decode(name), decode(password))),
        })
    }

    /// `HOST:PORT`, for a message.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether it takes whole addresses, as proxies take `http://` ones; else it is asked for a tunnel.
    pub fn forwards(&self, url: &str) -> bool {
        self.scheme == "http" && url.starts_with("http://")
    }

    /// What `Proxy-Authorization` says.
    pub fn authorization(&self) -> Option<String> {
        self.user.as_ref().map(|(name, password)| format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
    }

    /// The same for ureq, for a tunnel.
    pub fn tunnel(&self) -> Result<ureq::Proxy, ureq::Error> {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
        let user = self.user.as_ref().map_or(String::new(), |(name, password)| format!("{}:{}@", encode(name), encode(password)));
        ureq::Proxy::new(&format!("{}://{user}{}", self.scheme, self.place))
    }

    /// An agent that hands whole addresses to this proxy.
    pub fn forwarding_agent(&self, config: ureq::config::Config) -> Option<ureq::Agent> {
        let proxy: Uri = format!("http://{}", self.place).parse().ok()?;
        Some(ureq::Agent::with_parts(config, Forwarding(DefaultConnector::new()), AtProxy(proxy, DefaultResolver::default())))
    }
}

/// The bytes behind `%XX`; anything else is itself.
fn percent_decode(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(pair.as_bytes()).next().map_or(String::new(), |(_, value)| value.into_owned())
}

/// Hosts that are asked without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Direct {
    All,
    /// A name and all below it, or an address.
    Host(String, Option<u16>),
    /// An address and the length of its prefix.
    Network(IpAddr, u8),
}

impl Direct {
    fn parse(text: &str) -> Option<Self> {
        if let Some((address, bits)) = text.split_once('/') {
            let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
            return (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self::Network(address, bits));
        }
        let (host, port) = split_port(text);
        let host = host.trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
        (!host.is_empty()).then_some(Self::Host(host, port))
    }

    fn holds(&self, host: &str, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Host(name, of) if of.is_none_or(|of| of == port) => {
                let is_address = host.parse::<IpAddr>().is_ok();
                host == name || !is_address && host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            Self::Host(..) => false,
            Self::Network(network, bits) => host.parse().is_ok_and(|address| is_within(address, *network, *bits)),
        }
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0,
        _ => false,
    }
}

/// Host and port; an address of IPv6 may stand in brackets, and has no port else.
fn split_port(text: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

impl Proxies {
    /// Reads the variables of the process.
    pub fn from_env() -> Self {
        // One that is not UTF-8 names no proxy either, which is an error rather than a direct connection.
        Self::read(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let of = |scheme: &str| -> Result<Option<Proxy>, Error> {
            let (lower, upper) = (format!("{scheme}_proxy"), format!("{scheme}_proxy").to_uppercase());
            // An empty `http_proxy` is one that is switched off.
            let has_upper = scheme != "http" || value("REQUEST_METHOD").is_none() && get(&lower).is_none();
            let names = [Some(lower), has_upper.then_some(upper), Some("all_proxy".to_owned()), Some("ALL_PROXY".to_owned())];
            match names.into_iter().flatten().find_map(|name| Some((value(&name)?, name))) {
                None => Ok(None),
                Some((text, name)) => Proxy::parse(&text)
                    .map(Some)
                    .ok_or_else(|| Error::usage("this is not a proxy's address", name, "give http://HOST:PORT, or unset it")),
            }
        };
        let list = value("no_proxy").or_else(|| value("NO_PROXY")).unwrap_or_default();
        let direct = match list.as_str() {
            "*" => vec![Direct::All],
            list => list.split(|c: char| c == ',' || c.is_whitespace()).filter_map(Direct::parse).collect(),
        };
        Self { http: of("http"), https: of("https"), direct }
    }

    /// The proxy for an address, if it is to go through one.
    ///
    /// # Errors
    /// A variable that names none: a request must not go out directly because of a slip of the pen.
    pub fn of(&self, url: &str) -> Result<Option<&Proxy>, Error> {
        let Ok(uri) = url.parse::<Uri>() else { return Ok(None) };
        let is_https = uri.scheme_str() == Some("https");
        let host =
            uri.host().unwrap_or("").trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        if self.direct.iter().any(|direct| direct.holds(&host, port)) {
            return Ok(None);
        }
        let proxy = if is_https { &self.https } else { &self.http };
        proxy.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }
}

/// Resolves the proxy, whatever host is asked for.
#[derive(Debug)]
struct AtProxy(Uri, DefaultResolver);

impl Resolver for AtProxy {
    fn resolve(&self, _: &Uri, config: &ureq::config::Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.1.resolve(&self.0, config, timeout)
    }
}

/// Connects as ureq does, and writes whole addresses (RFC 9112, 3.2.2).
#[derive(Debug)]
struct Forwarding(DefaultConnector);

impl Connector<()> for Forwarding {
    type Out = Forwarded;

    fn connect(&self, details: &ConnectionDetails, chained: Option<()>) -> Result<Option<Forwarded>, ureq::Error> {
        let origin = details.uri.authority().map_or(String::new(), |authority| format!("http://{authority}"));
        Ok(self.0.connect(details, chained)?.map(|inner| Forwarded { inner, origin }))
    }
}

#[derive(Debug)]
struct Forwarded {
    inner: Box<dyn Transport>,
    /// `http://HOST[:PORT]`
    origin: String,
}

impl Transport for Forwarded {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let out = self.inner.buffers().output();
        let more = self.origin.len();
        let begins = |method: &str| out[..amount].starts_with(method.as_bytes());
        let Some(at) = ["GET /", "HEAD /", "POST /"].into_iter().find(|m| begins(m)).map(|m| m.len() - 1) else {
            return self.inner.transmit_output(amount, timeout);
        };
        if amount + more > out.len() {
            return Err(ureq::Error::Other("the request is too long for a proxy".into()));
        }
        out.copy_within(at..amount, at + more);
        out[at..at + more].copy_from_slice(self.origin.as_bytes());
        self.inner.transmit_output(amount + more, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the variables `A=x B=y` make of an address: the proxy, or nothing.
    fn through(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Proxies::read(get).of(url).expect("they name proxies").map(|proxy| format!("{proxy:?}"))
    }

    #[test]
    fn invalid_proxy_variable_is_error() {
        for text in ["http://", "http://h:port", "ftp://h:1", "http://h:1:2", "://", "h:", "http://[::1:80", "a b"] {
            let get = |name: &str| (name == "https_proxy").then(|| text.to_owned());
            let proxies = Proxies::read(get);
            let error = proxies.of("https://h/").expect_err(text).to_string();
            assert!(error.contains("https_proxy"), "{error}");
            assert_eq!(proxies.of("http://h/"), Ok(None), "it is for https alone");
        }
        for text in ["h:3128", "http://h", "http://u:p%40w@h:1/", "https://h:1", "socks5h://h:1", "http://[::1]:3128"] {
            assert!(Proxy::parse(text).is_some(), "{text}");
        }
        let proxy = Proxy::parse("http://u:p%40+w@h:1").expect("a proxy");
        assert_eq!(proxy.user, Some(("u".to_owned(), "p@+w".to_owned())));
        assert!(!format!("{proxy:?}").contains("p@"), "a password is not shown");
    }

    #[test]
    fn cgi_program_ignores_uppercase_http_proxy() {
        // A CGI program gets a client's `Proxy:` header as `HTTP_PROXY`, so it must not count.
        let http = ("HTTP_PROXY", "http://p:1");
        assert_eq!(through(&[http], "http://h/"), Some("http://p:1".to_owned()));
        assert_eq!(through(&[http, ("REQUEST_METHOD", "GET")], "http://h/"), None);
    }
}
