//! References of images: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`, parsed once, at the edge.
//!
//! The grammar is distribution's (<https://distribution.github.io/distribution/spec/api/>): a first component is a host only if it
//! has a `.` or a `:` or is `localhost`; without one the registry is Docker Hub.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where Docker Hub's images live, and where its API is.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A repository of a registry: all of a name that is no tag and no digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    /// Host and port, as written; `docker.io` where none was.
    pub host: String,
    /// The path on that host, `library/` added where Docker Hub adds it.
    pub path: String,
}

impl Repository {
    /// The path less its last component, with the host: what a namespace of images is.
    pub fn namespace(&self) -> String {
        match self.path.rsplit_once('/') {
            Some((space, _)) => format!("{}/{space}", self.host),
            None => self.host.clone(),
        }
    }

    /// The last component of the path.
    pub fn short(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

/// A whole name of an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// What was written before tag and digest, as it was spelt.
    pub name: String,
    /// The repository that this means.
    pub repository: Repository,
    /// The tag; `latest` where neither tag nor digest was written.
    pub tag: String,
    /// The digest, where one was written.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a reference; says in one phrase what is wrong with it otherwise.
    ///
    /// ```
    /// use overtag::engine::name::Reference;
    /// let r = Reference::parse("localhost:5000/tripleo/nova-api:current-tripleo").unwrap();
    /// assert_eq!((r.repository.host.as_str(), r.tag.as_str()), ("localhost:5000", "current-tripleo"));
    /// let hub = Reference::parse("tripleoupstream/centos-binary-nova-api").unwrap();
    /// assert_eq!((hub.repository.host.as_str(), hub.tag.as_str()), ("docker.io", "latest"));
    /// ```
    pub fn parse(text: &str) -> Result<Self, String> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some((_, digest)) => return Err(format!("`{digest}` is no digest")),
            None => (text, None),
        };
        let after = rest.rfind('/').map_or(0, |i| i + 1);
        let (name, tag) = match rest[after..].rfind(':') {
            Some(i) => (&rest[..after + i], &rest[after + i + 1..]),
            None => (rest, "latest"),
        };
        if !is_tag(tag) {
            return Err(format!("`{tag}` is no tag"));
        }
        let (host, path) = match name.split_once('/') {
            Some((first, path)) if first == "localhost" || first.contains(['.', ':']) => (first, path.to_owned()),
            Some(_) => (HUB.0, name.to_owned()),
            None => (HUB.0, format!("library/{name}")),
        };
        if !is_host(host) {
            return Err(format!("`{}` is no host", super::error::clean(host)));
        }
        let path = if host == HUB.0 && !path.contains('/') { format!("library/{path}") } else { path };
        if path.is_empty() || path.len() > 255 || !path.split('/').all(is_component) {
            return Err(format!("`{name}` is no name of a repository"));
        }
        Ok(Self { name: name.to_owned(), repository: Repository { host: host.to_owned(), path }, tag: tag.to_owned(), digest })
    }

    /// This name with another tag.
    pub fn at_tag(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    /// This name at a digest.
    pub fn at_digest(&self, digest: &str) -> String {
        format!("{}@{digest}", self.name)
    }
}

/// The whole name of an image, with its host: a name without one belongs to Docker Hub.
///
/// ```
/// use overtag::engine::name::with_host;
/// assert_eq!(with_host("tripleoqueens/nova-api:t"), "docker.io/tripleoqueens/nova-api:t");
/// assert_eq!(with_host("localhost/nova-api:t"), "localhost/nova-api:t");
/// ```
pub fn with_host(name: &str) -> String {
    match name.split_once('/') {
        Some((first, _)) if first == "localhost" || first.contains(['.', ':']) => name.to_owned(),
        _ => format!("{}/{name}", HUB.0),
    }
}

/// The address of the API of `host`, as it is unless a link says otherwise: https, but http on loopback.
pub fn default_endpoint(host: &str) -> String {
    let api = if host == HUB.0 { HUB.1 } else { host };
    format!("{}://{api}", if is_loopback(host) { "http" } else { "https" })
}

/// Whether `text` is a tag by distribution's grammar.
pub fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 128
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Whether `text` is a sha256 digest, the only kind that registries serve.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|h| h.len() == 64 && is_hex(h))
}

/// Whether `text` is all lower-case hexadecimal digits.
fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether `text` is spelt as `HOST[:PORT]` is. `%` is not in it: browsers decode it, and read another host than we do.
pub fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else { return false };
    word(first)
        && word(last)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'_' | b'-'))
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
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
/// use overtag::engine::name::is_private;
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

/// What a tag's spelling says about whether it moves; the order is the one in which siblings are preferred.
///
/// The spellings are DLRN's package hash and aggregate hash, versions, and commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagClass {
    /// `COMMIT_DISTRO[_EXTENDED…]`: a DLRN package hash.
    Dlrn,
    /// 32 digits: a DLRN aggregate hash.
    Aggregate,
    /// `1.2.3`, `16-20200101`, `2025.1-rocky-10`.
    Version,
    /// 40 digits: a commit.
    Commit,
    /// 64 digits or `sha256-…`: another spelling of a digest, never a choice.
    DigestAlias,
    /// Anything else: a channel, or a name that may move.
    Moving,
}

impl TagClass {
    /// The class of `tag`.
    ///
    /// ```
    /// use overtag::engine::name::TagClass;
    /// assert_eq!(TagClass::of("current-tripleo"), TagClass::Moving);
    /// assert_eq!(TagClass::of("v4.0.19-stable-4.0-nautilus-centos-7-x86_64"), TagClass::Version);
    /// ```
    pub fn of(tag: &str) -> Self {
        let parts: Vec<&str> = tag.split('_').collect();
        let hex = |text: &str, len: usize| text.len() == len && is_hex(text);
        if (2..=4).contains(&parts.len()) && hex(parts[0], 40) && parts[1..].iter().all(|p| hex(p, 8)) {
            Self::Dlrn
        } else if hex(tag, 32) {
            Self::Aggregate
        } else if hex(tag, 40) {
            Self::Commit
        } else if hex(tag, 64) || tag.starts_with("sha256-") {
            Self::DigestAlias
        } else if is_version(tag) {
            Self::Version
        } else {
            Self::Moving
        }
    }

    /// Whether a tag of this class is the repository-wide hash of a build.
    pub fn is_hash(self) -> bool {
        matches!(self, Self::Dlrn | Self::Aggregate | Self::Commit)
    }
}

/// `v?N(.N)+…` or `N…-NNNNNNNN`: a tag that by its spelling is a version.
fn is_version(tag: &str) -> bool {
    let rest = tag.strip_prefix('v').unwrap_or(tag);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let first = digits(rest);
    if first == 0 {
        return false;
    }
    let dotted = rest[first..].strip_prefix('.').is_some_and(|more| digits(more) > 0);
    dotted || tag.rsplit_once('-').is_some_and(|(_, stamp)| digits(stamp) >= 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_hosts_are_told_from_public_ones() {
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
