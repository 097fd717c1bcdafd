//! Connections to addresses that strangers wrote into the routing table. The resolver gives out only addresses that
//! are open to everyone, and the client connects to nothing but what the resolver gave it, so a name cannot change its
//! meaning between check and connection. HTTP/1.1 with connections kept for the next packet; no redirects, no proxies,
//! no decompression.
//!
//! - `resolver` — which addresses a name may lead to, and how long connecting may take
//! - `pool` — the places that are known, and the connections that wait there
//! - `connection` — one request and its answer at a time
//! - `head`, `framing` — what HTTP says about an answer (pure)
//! - `answer` — what comes back, never more of it and never for longer than its bounds

mod answer;
mod connection;
mod framing;
mod head;
mod pool;
mod resolver;
#[cfg(test)]
mod tests;

use std::{io::Write, sync::Arc, time::Duration};

use axum::http::HeaderValue;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use minus_protocol::{
    Bundle, Packet,
    endpoint::{self, EndpointError, is_public},
    headers::{LAST_EVENT_ID, PACKET_QUERY, PEER_SESSION, encode_packet_query},
};
use rustls::{ClientConfig, crypto::aws_lc_rs};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::time::Instant;

pub(crate) use self::{answer::Answer, head::Content};
use self::{
    connection::{Connection, Connector, Failure},
    pool::{Place, Pool},
    resolver::{Lookup, PublicOnly},
};
use crate::metrics::Label;

/// What a request's head usually comes to.
const HEAD_BYTES: usize = 256;

/// Why a peer's answer was not to be had.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum EgressError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("the endpoint points to an address that is not public")]
    Private,
    #[error("the name could not be resolved")]
    Unresolved,
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no connection in time")]
    ConnectTimeout,
    #[error("no answer in time")]
    AnswerTimeout,
    #[error("the head of the answer is too long")]
    HeadTooLong,
    #[error("the answer is no HTTP/1.1")]
    Garbled,
    #[error("the connection broke off")]
    BrokeOff,
    #[error("the body did not end in time")]
    BodyTimeout,
    #[error("the body is longer than a reply")]
    BodyTooLong,
    #[error("the stream fell silent")]
    Silent,
    #[error("the answer redirects")]
    Redirect,
    #[error("status {0} is none of ours")]
    Status(u16),
}

impl EgressError {
    /// As the metric names it.
    pub(crate) const fn cause(&self) -> Cause {
        Cause(match self {
            Self::Endpoint(_) => "endpoint",
            Self::Private => "private",
            Self::Unresolved => "unresolved",
            Self::Connect(_) => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::AnswerTimeout => "answer_timeout",
            Self::HeadTooLong => "head_too_long",
            Self::Garbled => "garbled",
            Self::BrokeOff => "broke_off",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLong => "body_too_long",
            Self::Silent => "silent",
            Self::Redirect => "redirect",
            Self::Status(_) => "status",
        })
    }

    /// Whether the peer took longer than it may.
    pub(crate) const fn is_timeout(&self) -> bool {
        matches!(self, Self::ConnectTimeout | Self::AnswerTimeout | Self::BodyTimeout)
    }

    /// Of a failed connection: what the resolver said, else what the connector did.
    fn of_connecting(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(inner) = cause {
            match inner.downcast_ref::<Self>() {
                Some(Self::Private) => return Self::Private,
                Some(Self::Unresolved) => return Self::Unresolved,
                _ => cause = inner.source(),
            }
        }
        Self::Connect(error.to_string())
    }
}

/// What a failure is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause(&'static str);

impl Label for Cause {
    const ALL: &'static [Self] = &[
        Self("endpoint"),
        Self("private"),
        Self("unresolved"),
        Self("connect"),
        Self("connect_timeout"),
        Self("answer_timeout"),
        Self("head_too_long"),
        Self("garbled"),
        Self("broke_off"),
        Self("body_timeout"),
        Self("body_too_long"),
        Self("silent"),
        Self("redirect"),
        Self("status"),
    ];

    fn value(self) -> String {
        self.0.to_owned()
    }
}

/// An endpoint that may be connected to.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint(Arc<Place>);

impl Endpoint {
    /// Whether both share their connections.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The client for peers, and the check of what it is pointed at.
pub(crate) struct Egress {
    connector: Connector,
    pool: Pool,
    allow_private: bool,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

impl Egress {
    pub(crate) fn new(allow_private: bool) -> Result<Self, rustls::Error> {
        Self::resolving(allow_private, resolver::system())
    }

    fn resolving(allow_private: bool, lookup: Lookup) -> Result<Self, rustls::Error> {
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        let mut tcp = HttpConnector::new_with_resolver(PublicOnly { allow_private, lookup });
        tcp.enforce_http(false);
        // Events are small and late is worse than often.
        tcp.set_nodelay(true);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self { connector, pool: Pool::default(), allow_private })
    }

    /// Checks a stranger's endpoint. A name is checked when it is resolved, at each connection.
    pub(crate) fn endpoint(&self, text: &str) -> Result<Endpoint, EgressError> {
        let url = endpoint::parse(text)?;
        // A literal address never reaches the resolver.
        if endpoint::literal_address(&url).is_some_and(|address| !self.allow_private && !is_public(address)) {
            return Err(EgressError::Private);
        }
        Ok(Endpoint(self.pool.place(&url)?))
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn tidy(&self) {
        self.pool.tidy();
    }

    /// Posts a packet; gives the head of the answer.
    pub(crate) async fn post(
        &self,
        endpoint: &Endpoint,
        session: Option<&HeaderValue>,
        packet: &Packet,
        time: Duration,
    ) -> Result<Answer, EgressError> {
        let head = post_head(&endpoint.0.post_head, packet.len());
        self.send(endpoint, head, session, packet.as_bytes(), time).await
    }

    /// Posts several packets in one request.
    pub(crate) async fn post_bundle(
        &self,
        endpoint: &Endpoint,
        session: &HeaderValue,
        bundle: &Bundle,
        time: Duration,
    ) -> Result<Answer, EgressError> {
        let bytes = bundle.as_bytes();
        let head = post_head(&endpoint.0.bundle_head, bytes.len());
        self.send(endpoint, head, Some(session), bytes, time).await
    }

    /// The same by GET, with the packet in the query and the event that its sender saw last.
    pub(crate) async fn get(
        &self,
        endpoint: &Endpoint,
        session: Option<&HeaderValue>,
        packet: &Packet,
        last_event_id: Option<u64>,
        time: Duration,
    ) -> Result<Answer, EgressError> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let query = encode_packet_query(packet);
        let Place { path, host, .. } = &*endpoint.0;
        let _ = write!(head, "GET {path}?{PACKET_QUERY}={query} HTTP/1.1\r\nhost: {host}\r\n");
        if let Some(id) = last_event_id {
            let _ = write!(head, "{LAST_EVENT_ID}: {id}\r\n");
        }
        self.send(endpoint, head, session, b"", time).await
    }

    async fn send(
        &self,
        Endpoint(place): &Endpoint,
        mut head: Vec<u8>,
        session: Option<&HeaderValue>,
        body: &[u8],
        time: Duration,
    ) -> Result<Answer, EgressError> {
        if let Some(session) = session {
            let _ = write!(head, "{PEER_SESSION}: ");
            head.extend_from_slice(session.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let deadline = Instant::now() + time;
        if let Some(mut kept) = place.take() {
            match kept.exchange(&head, body, deadline).await {
                Ok(answer) => return Ok(Answer::new(answer, kept, Arc::clone(place))),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Untouched) => {}
            }
        }
        // In a box: it is large and rare, and whatever waits here would be as large.
        let mut fresh = Box::pin(Connection::open(&self.connector, &place.uri, deadline)).await?;
        match fresh.exchange(&head, body, deadline).await {
            Ok(answer) => Ok(Answer::new(answer, fresh, Arc::clone(place))),
            Err(Failure::Final(error)) => Err(error),
            Err(Failure::Untouched) => Err(EgressError::BrokeOff),
        }
    }
}

/// The head of a POST up to what differs by session.
fn post_head(begin: &str, length: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(begin.as_bytes());
    let _ = write!(head, "{length}\r\n");
    head
}
