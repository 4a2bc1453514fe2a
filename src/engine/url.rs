//! Addresses of the web and their hosts: read strictly, and which of them are of a private network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The host of Docker Hub's images, as their names have it.
pub const HUB: &str = "docker.io";
/// The host of Docker Hub's API.
const HUB_API: &str = "registry-1.docker.io";

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
/// use overtag::engine::url::is_same_origin;
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
/// use overtag::engine::url::web_link;
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

/// The address of the API of `host`, as it is unless a link says otherwise: https, but http on loopback.
pub fn default_endpoint(host: &str) -> String {
    let api = if host == HUB { HUB_API } else { host };
    format!("{}://{api}", if is_loopback(host) { "http" } else { "https" })
}

/// Whether `text` is spelt as `HOST[:PORT]` is. `%` is not in it: browsers decode it, and read another host than we do.
pub fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

/// The host of `HOST[:PORT]` in lower case, without the brackets of an IPv6 address and the dot that ends a full name.
fn bare(host: &str) -> String {
    let bare = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.split(':').next().unwrap_or(host),
    };
    bare.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether `host` (`HOST[:PORT]`) is this machine.
pub fn is_loopback(host: &str) -> bool {
    let bare = bare(host);
    bare == "localhost" || bare.ends_with(".localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Names below these are used in private networks: RFC 6761, 6762 (appendix G) and 8375, and ICANN's `.internal`.
const PRIVATE_NAMES: [&str; 10] =
    [".local", ".localdomain", ".internal", ".intranet", ".private", ".corp", ".home", ".home.arpa", ".lan", ".localhost"];

/// Whether `host` (`HOST[:PORT]`) is this machine or in a private network, where a link from elsewhere has no business.
///
/// ```
/// use overtag::engine::url::is_private;
/// assert!(is_private("192.168.24.1:8787") && is_private("[fd00::1]:5000") && is_private("undercloud.ctlplane.localdomain:8787"));
/// assert!(is_private("LOCALHOST.:5000") && is_private("127.0.0.1.") && is_private("nas.LOCAL"));
/// assert!(is_private("127.1") && is_private("0x7f.1") && is_private("2130706433:5000"), "spellings that browsers take for 127.0.0.1");
/// assert!(!is_private("quay.io") && !is_private("192.0.2.7"));
/// ```
pub fn is_private(host: &str) -> bool {
    let bare = bare(host);
    let named = !bare.contains('.') && !bare.contains(':');
    // What ends in a number is an address, in many spellings (<https://url.spec.whatwg.org/#ends-in-a-number-checker>); only the
    // plain one is read here, and any other is suspected.
    let last = bare.rsplit('.').next().unwrap_or("");
    let number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    let odd = number && !bare.contains(':') && bare.parse::<Ipv4Addr>().is_err();
    named
        || odd
        || PRIVATE_NAMES.iter().any(|end| bare.ends_with(end))
        || match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => is_private_v4(ip),
            Ok(IpAddr::V6(ip)) => is_private_v6(ip),
            Err(_) => false,
        }
}

/// What IANA's registry of special addresses calls not globally reachable, less the documentation's
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry/>); and multicast.
fn is_private_v4(ip: Ipv4Addr) -> bool {
    match ip.octets() {
        [0 | 10 | 127, ..] | [169, 254, ..] | [192, 168, ..] | [192, 0, 0, _] | [224..=255, ..] => true,
        [100, b, ..] => (64..128).contains(&b),
        [172, b, ..] => (16..32).contains(&b),
        [198, b, ..] => matches!(b, 18 | 19),
        _ => false,
    }
}

/// The same for IPv6, and what leads to such an address of IPv4: mapped, NAT64 (RFC 6052) and 6to4 (RFC 3056). IPv4-compatible
/// addresses and site-local ones are deprecated, and mean nothing in public.
fn is_private_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let v4 = |high: u16, low: u16| is_private_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match s {
        [0, 0, 0, 0, 0, 0, ..] => true,
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // Local NAT64, discarded addresses, and Teredo, which is retired.
        [0x64, 0xff9b, 1, ..] | [0x100, 0, 0, 0, ..] | [0x2001, 0, ..] => true,
        [0x2002, high, low, ..] => v4(high, low),
        // Unique local, link-local, site-local, multicast.
        [first, ..] => first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0 || first >= 0xff00,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_hosts_are_recognised() {
        for host in [
            "a.intranet",
            "a.corp",
            "a.home",
            "a.private",
            "a.internal",
            "a.lan",
            "a.home.arpa",
            "a.local",
            "a.localhost",
            "A.CORP.:443",
            "nas",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "127.8.8.8",
            "0.1.2.3",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "198.19.255.255:5000",
            "192.0.0.8",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::10.0.0.1]",
            "[::8.8.8.8]",
            "[::ffff:10.0.0.1]:80",
            "[::ffff:0:10.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::8.8.8.8]",
            "[2002:a00:1::]",
            "[fc00::1]",
            "[fdff::1]",
            "[fe80::1]",
            "[febf::1]",
            "[fec0::1]",
            "[feff::1]",
            "[ff02::1]",
        ] {
            assert!(is_private(host), "{host}");
        }
        for host in [
            "quay.io",
            "corp.example.org",
            "acorp",
            "home.example",
            "8.8.8.8",
            "172.32.0.1",
            "198.20.0.1",
            "100.128.0.1",
            "192.0.2.1",
            "[2606:4700::1]",
            "[::ffff:8.8.8.8]",
            "[64:ff9b::8.8.8.8]",
            "[2002:808:808::]",
            "[2001:db8::1]",
        ] {
            assert_eq!(is_private(host), host == "acorp", "{host}");
        }
    }
}
