//! The endpoint guard: an endpoint in the routing table is a stranger's word, so it is parsed strictly, resolved
//! once, and refused when any of its addresses lies inside somebody's own network. Stands before `transport`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

/// Most addresses of one name that are looked at; more is nobody's honest endpoint.
const ADDRESSES_MAX: usize = 32;

/// Why an endpoint is not connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// Not an http or https URL with a host and without credentials.
    #[error("the endpoint {endpoint:?} is not usable: {reason}")]
    BadEndpoint {
        /// As it stands in the routing table.
        endpoint: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// It resolves into a private network.
    #[error(
        "the endpoint {endpoint:?} leads to {address}, which is not a public address; \
         allow it with --allow-private-endpoints if this is your own test network"
    )]
    NotPublic {
        /// As it stands in the routing table.
        endpoint: String,
        /// The offending address.
        address: IpAddr,
    },
    /// The name does not resolve (now).
    #[error("the host of {endpoint:?} does not resolve")]
    Unresolved {
        /// As it stands in the routing table.
        endpoint: String,
    },
}

/// An endpoint that may be connected to: its URL and the addresses to pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Where to POST.
    pub url: Url,
    /// What its host resolved to; never empty.
    pub addresses: Vec<SocketAddr>,
}

/// Parses and resolves an endpoint and refuses what must not be connected to.
pub async fn check(endpoint: &str, allow_private: bool) -> Result<Checked, GuardError> {
    let url = parse(endpoint)?;
    let unresolved = || GuardError::Unresolved { endpoint: endpoint.to_owned() };
    let port = url.port_or_known_default().ok_or_else(unresolved)?;
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(ip)) => vec![SocketAddr::new(IpAddr::V4(ip), port)],
        Some(Host::Ipv6(ip)) => vec![SocketAddr::new(IpAddr::V6(ip), port)],
        Some(Host::Domain(name)) => {
            let found = tokio::net::lookup_host((name, port)).await.map_err(|_| unresolved())?;
            found.take(ADDRESSES_MAX).collect()
        }
        None => return Err(unresolved()),
    };
    if addresses.is_empty() {
        return Err(unresolved());
    }
    if !allow_private && let Some(bad) = addresses.iter().find(|address| !is_public(address.ip())) {
        return Err(GuardError::NotPublic { endpoint: endpoint.to_owned(), address: bad.ip() });
    }
    Ok(Checked { url, addresses })
}

fn parse(endpoint: &str) -> Result<Url, GuardError> {
    let bad = |reason| GuardError::BadEndpoint { endpoint: endpoint.to_owned(), reason };
    let url = Url::parse(endpoint).map_err(|_| bad("not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("carries credentials"));
    }
    if url.host().is_none() {
        return Err(bad("names no host"));
    }
    Ok(url)
}

/// True for addresses of the public internet; false for loopback, private, link-local (the cloud's metadata services
/// among them), shared, documentation, benchmark, multicast and reserved ranges, also when wrapped into IPv6.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0
        || a == 10
        || a == 127
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 192 && b == 168)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        || a >= 224)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // Only global unicast is routed in public; what wraps an IPv4 address in there is judged by that address.
    let embedded = match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some((high, low)),
        [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    if let Some((high, low)) = embedded {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    let is_global_unicast = segments[0] & 0xe000 == 0x2000;
    let is_documentation = segments[0] == 0x2001 && segments[1] == 0xdb8 || segments[0] & 0xfff0 == 0x3ff0;
    let is_teredo_or_special = segments[0] == 0x2001 && segments[1] < 0x200;
    is_global_unicast && !is_documentation && !is_teredo_or_special
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn refuses_addresses_inside_networks() {
        for ip in [
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
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "2001::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn lets_public_addresses_pass() {
        for ip in
            ["1.1.1.1", "100.63.0.1", "172.32.0.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "2a00:1450::1"]
        {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[tokio::test]
    async fn refuses_what_is_no_plain_endpoint() {
        for endpoint in
            ["", "nonsense", "ftp://1.1.1.1/", "file:///etc/passwd", "http://user:pass@1.1.1.1/", "http://u@1.1.1.1/"]
        {
            assert!(matches!(check(endpoint, true).await, Err(GuardError::BadEndpoint { .. })), "{endpoint}");
        }
    }

    #[tokio::test]
    async fn refuses_private_unless_allowed() {
        for endpoint in
            ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:9/", "http://2130706433/", "http://0x7f.1/"]
        {
            assert!(matches!(check(endpoint, false).await, Err(GuardError::NotPublic { .. })), "{endpoint}");
            assert!(check(endpoint, true).await.is_ok(), "{endpoint}");
        }
        let checked = check("https://1.1.1.1/path", false).await.unwrap();
        assert_eq!(checked.addresses, vec!["1.1.1.1:443".parse().unwrap()]);
    }
}
