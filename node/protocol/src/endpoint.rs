//! Endpoints: where a node says, in the routing table, that it is reached. A stranger's word, so node and client both
//! hold it against these rules before they connect: a plain URL, and only addresses that anybody on the internet could
//! mean. Resolving names is theirs; what they resolved has to pass [`is_public`] and be what they connect to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Why a text is no endpoint. Final for that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It does not parse.
    #[error("it is no URL")]
    NotAUrl,
    /// Another protocol.
    #[error("it is neither http nor https")]
    Scheme,
    /// More than a place: it would smuggle something into each request.
    #[error("it holds a user name, a query or a fragment")]
    Ornament,
}

/// The URL of an endpoint.
///
/// # Errors
/// All of [`EndpointError`].
pub fn parse(endpoint: &str) -> Result<Url, EndpointError> {
    let url = Url::parse(endpoint).map_err(|_| EndpointError::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(EndpointError::Scheme);
    }
    let bare =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if bare { Ok(url) } else { Err(EndpointError::Ornament) }
}

/// The address of a URL that names one literally, in any notation; such a URL never reaches a resolver.
#[must_use]
pub fn literal_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
    }
}

/// Whether an address is one that anybody on the internet could mean. Everything with a special meaning is out: loopback,
/// private, link-local (the clouds' metadata services among them), shared, documentation, benchmark, multicast and
/// reserved ranges, also when wrapped into IPv6.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || a >= 224 // multicast, reserved, broadcast
        || (a == 100 && (64..128).contains(&b)) // carrier-grade translation
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b)); // benchmarking
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // An IPv4 address in disguise is judged as what it is: mapped, compatible, translated (64:ff9b::/96).
    if let [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] = segments {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    // Only 2000::/3 is given out to the public; of it, documentation, 6to4 and Teredo lead elsewhere.
    let is_given_out = segments[0] & 0xe000 == 0x2000;
    let is_documentation = segments[0] == 0x2001 && segments[1] == 0xdb8 || segments[0] & 0xfff0 == 0x3ff0;
    let leads_elsewhere = segments[0] == 0x2002 || segments[0] == 0x2001 && segments[1] < 0x200;
    is_given_out && !is_documentation && !leads_elsewhere
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn refuses_what_is_no_plain_endpoint() {
        for text in ["", "nowhere", "//1.1.1.1"] {
            assert_eq!(parse(text), Err(EndpointError::NotAUrl), "{text}");
        }
        for text in ["ftp://1.1.1.1/", "file:///etc/passwd"] {
            assert_eq!(parse(text), Err(EndpointError::Scheme), "{text}");
        }
        for text in ["http://user:pass@1.1.1.1/", "http://u@1.1.1.1/", "http://1.1.1.1/?a=b", "http://1.1.1.1/#a"] {
            assert_eq!(parse(text), Err(EndpointError::Ornament), "{text}");
        }
    }

    #[test]
    fn finds_literal_addresses_in_any_notation() {
        for text in ["http://127.0.0.1", "http://127.1", "http://2130706433", "http://0x7f.1:8402/"] {
            assert_eq!(literal_address(&parse(text).unwrap()), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), "{text}");
        }
        assert_eq!(literal_address(&parse("https://node.example").unwrap()), None);
    }

    #[test]
    fn refuses_every_way_inside() {
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "2001::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn lets_public_addresses_pass() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
