//! Connections to addresses that strangers wrote into the routing table. The resolver gives out only addresses that
//! are open to everyone, and the client connects to nothing but what the resolver gave it, so a name cannot change its
//! meaning between check and connection. No redirects, no proxies, no compression.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use minus_protocol::{
    Packet,
    endpoint::{self, EndpointError, is_public},
    headers::{PACKET_QUERY, encode_packet_query},
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

/// A node that does not take a connection by then is taken for unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence after which a connection is taken for dead. Streams say something every `keep_alive`.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Idle connections kept to one node.
const IDLE_PER_HOST_MAX: usize = 32;

/// Why an endpoint is not connected to. Final for that endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EgressError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
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

    /// A GET to a stranger's endpoint, with a packet in its query.
    pub(crate) fn get(&self, endpoint: &str, packet: &Packet) -> Result<reqwest::RequestBuilder, EgressError> {
        let mut url = self.check(endpoint)?;
        url.set_query(Some(&format!("{PACKET_QUERY}={}", encode_packet_query(packet))));
        Ok(self.client.get(url))
    }

    fn check(&self, text: &str) -> Result<Url, EgressError> {
        let url = endpoint::parse(text)?;
        // A literal address never reaches the resolver.
        match endpoint::literal_address(&url) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: &str) -> Result<Url, EgressError> {
        Egress::new(false).expect("a client").check(endpoint)
    }

    #[test]
    fn refuses_what_leads_inside_or_is_no_endpoint() {
        for endpoint in ["http://127.0.0.1", "http://2130706433", "http://169.254.169.254/latest", "http://[::1]"] {
            assert!(matches!(check(endpoint), Err(EgressError::Private)), "{endpoint}");
        }
        assert!(matches!(check("file:///etc/passwd"), Err(EgressError::Endpoint(_))));
    }

    #[test]
    fn takes_public_addresses_and_names_and_private_ones_only_when_told() {
        for endpoint in ["http://1.1.1.1:8402", "https://[2606:4700::1111]/path", "https://node.example"] {
            assert!(check(endpoint).is_ok(), "{endpoint}");
        }
        assert!(Egress::new(true).expect("a client").check("http://127.0.0.1").is_ok());
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_connected_to() {
        let egress = Egress::new(false).expect("a client");
        let error = egress.post("http://localhost:1").expect("a name passes").send().await;
        let error = error.expect_err("localhost is inside");
        assert!(format!("{error:?}").contains("Private"), "{error:?}");
    }
}
