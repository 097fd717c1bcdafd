//! The endpoint guard: an endpoint in the routing table is a stranger's word, so it is parsed strictly, resolved
//! once, and refused when any of its addresses lies inside somebody's own network. Stands before `transport`.

use std::net::{IpAddr, SocketAddr};

use minus_protocol::endpoint::{self, EndpointError, is_public};
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
        reason: EndpointError,
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
    let url = endpoint::parse(endpoint)
        .map_err(|reason| GuardError::BadEndpoint { endpoint: endpoint.to_owned(), reason })?;
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

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
