//! Connections to addresses that strangers wrote into the routing table. The resolver gives out only addresses that
//! are open to everyone, and the client connects to nothing but what the resolver gave it, so a name cannot change its
//! meaning between check and connection. No redirects, no proxies, no compression.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// A node that does not take a connection by then is taken for unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence after which a connection is taken for dead. Streams say something every `keep_alive`.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Idle connections kept to one node.
const IDLE_PER_HOST_MAX: usize = 32;

/// Why an endpoint is not connected to. Final for that endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EgressError {
    #[error("the endpoint is no URL")]
    NotAUrl,
    #[error("the endpoint is neither http nor https")]
    Scheme,
    #[error("the endpoint holds a user name, a query or a fragment")]
    Ornament,
    #[error("the endpoint points to an address that is not public")]
    Private,
}

/// The client for peers, and the check of what it is pointed at.
#[derive(Clone, Debug)]
pub(crate) struct Egress {
    client: reqwest::Client,
    allow_private: bool,
}

impl Egress {
    pub(crate) fn new(allow_private: bool) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_MAX)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .dns_resolver(Arc::new(PublicOnly { allow_private }))
            .build()?;
        Ok(Self { client, allow_private })
    }

    /// A POST to a stranger's endpoint.
    pub(crate) fn post(&self, endpoint: &str) -> Result<reqwest::RequestBuilder, EgressError> {
        Ok(self.client.post(self.check(endpoint)?))
    }

    fn check(&self, endpoint: &str) -> Result<Url, EgressError> {
        let url = Url::parse(endpoint).map_err(|_| EgressError::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EgressError::Scheme);
        }
        let bare =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if !bare {
            return Err(EgressError::Ornament);
        }
        // A literal address never reaches the resolver.
        let literal = match url.host().ok_or(EgressError::NotAUrl)? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        match literal {
            Some(address) if !self.allow_private && !is_public(address) => Err(EgressError::Private),
            _ => Ok(url),
        }
    }
}

#[derive(Debug)]
struct PublicOnly {
    allow_private: bool,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await?
                .filter(|address| allow_private || is_public(address.ip()))
                .collect();
            if found.is_empty() {
                return Err(EgressError::Private.into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether an address is one that anybody on the internet could mean. Everything with a special meaning is out, the
/// cloud providers' metadata address (169.254.169.254, fd00:ec2::254) with it.
pub(crate) fn is_public(address: IpAddr) -> bool {
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
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b)) // carrier-grade translation
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b)); // benchmarking
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // An IPv4 address in disguise is judged as what it is: mapped, compatible, translated (64:ff9b::/96).
    let embedded = match segments {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    };
    match embedded {
        Some(address) => is_public_v4(address),
        // Only 2000::/3 is given out to the public; of it, documentation, 6to4 and Teredo lead elsewhere.
        None => {
            segments[0] & 0xe000 == 0x2000
                && !(segments[0] == 0x2001 && (segments[1] == 0xdb8 || segments[1] < 0x200))
                && segments[0] != 0x2002
                && segments[0] != 0x3fff
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: &str) -> Result<Url, EgressError> {
        Egress::new(false).expect("a client").check(endpoint)
    }

    #[test]
    fn refuses_every_way_inside() {
        for endpoint in [
            "http://127.0.0.1",
            "http://127.1",
            "http://2130706433",
            "http://0x7f.1:8402/",
            "http://0.0.0.0",
            "http://10.1.2.3",
            "http://172.16.0.1",
            "http://192.168.1.1",
            "http://100.64.0.1",
            "http://169.254.169.254/latest/meta-data",
            "http://224.0.0.1",
            "http://255.255.255.255",
            "http://[::1]",
            "http://[::]",
            "http://[::ffff:127.0.0.1]",
            "http://[::ffff:a9fe:a9fe]",
            "http://[64:ff9b::a00:1]",
            "http://[fe80::1]",
            "http://[fd00:ec2::254]",
            "http://[ff02::1]",
            "http://[2002:7f00:1::]",
            "http://[2001:db8::1]",
        ] {
            assert!(matches!(check(endpoint), Err(EgressError::Private)), "{endpoint}");
        }
    }

    #[test]
    fn refuses_what_is_no_plain_endpoint() {
        assert!(matches!(check("nowhere"), Err(EgressError::NotAUrl)));
        assert!(matches!(check("file:///etc/passwd"), Err(EgressError::Scheme)));
        for endpoint in ["http://user@1.1.1.1", "http://1.1.1.1/?a=b", "http://1.1.1.1/#a"] {
            assert!(matches!(check(endpoint), Err(EgressError::Ornament)), "{endpoint}");
        }
    }

    #[test]
    fn takes_public_addresses_and_names() {
        for endpoint in ["http://1.1.1.1:8402", "https://[2606:4700::1111]/path", "https://node.example"] {
            assert!(check(endpoint).is_ok(), "{endpoint}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_connected_to() {
        let egress = Egress::new(false).expect("a client");
        let error = egress.post("http://localhost:1").expect("a name passes").send().await;
        let error = error.expect_err("localhost is inside");
        assert!(format!("{error:?}").contains("Private"), "{error:?}");
    }
}
