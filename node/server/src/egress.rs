//! Connections to addresses that strangers wrote into the routing table. The resolver gives out only addresses that
//! are open to everyone, and the client connects to nothing but what the resolver gave it, so a name cannot change its
//! meaning between check and connection. HTTP/1.1 with connections kept for the next packet; no redirects, no proxies,
//! no decompression.
//!
//! - `resolver` — which addresses a name may lead to, and how long connecting may take
//! - `answer` — what comes back, never more of it and never for longer than its bounds

mod answer;
mod resolver;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderValue, Method, Request, Uri, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use minus_protocol::{
    Packet,
    endpoint::{self, EndpointError, is_public},
    headers::{CONTENT_PACKET, LAST_EVENT_ID, PACKET_QUERY, PEER_SESSION, encode_packet_query},
};
use rustls::{ClientConfig, crypto::aws_lc_rs};
use rustls_platform_verifier::BuilderVerifierExt;

pub(crate) use self::answer::Answer;
use self::resolver::{InTime, Lookup, PublicOnly};
use crate::metrics::Label;

/// Idle connections kept to one node. As many as there may be requests to it, so that none is opened anew at full load.
const IDLE_PER_HOST_MAX: usize = 128;
/// An idle connection is closed after this: shorter than the minute after which servers commonly close theirs.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Bytes of an answer's head, and what is read at once of its body.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Header lines of an answer.
const HEADERS_MAX: usize = 64;

/// Why a peer's answer was not to be had.
#[derive(Debug, thiserror::Error)]
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

    /// Of a failed request: what the resolver or the connector said, else what HTTP made of the answer.
    fn of_request(error: &hyper_util::client::legacy::Error) -> Self {
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            match inner.downcast_ref::<Self>() {
                Some(Self::Private) => return Self::Private,
                Some(Self::Unresolved) => return Self::Unresolved,
                Some(Self::ConnectTimeout) => return Self::ConnectTimeout,
                _ => {}
            }
            if let Some(error) = inner.downcast_ref::<hyper::Error>() {
                return Self::of_http(error);
            }
            cause = inner.source();
        }
        if error.is_connect() {
            return Self::Connect(std::error::Error::source(error).map(ToString::to_string).unwrap_or_default());
        }
        Self::BrokeOff
    }

    fn of_http(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::HeadTooLong
        } else if error.is_parse() {
            Self::Garbled
        } else {
            Self::BrokeOff
        }
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
pub(crate) struct Endpoint(Uri);

/// The client for peers, and the check of what it is pointed at.
#[derive(Clone)]
pub(crate) struct Egress {
    client: Client<InTime<HttpsConnector<HttpConnector<PublicOnly>>>, Full<Bytes>>,
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
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http1_max_headers(HEADERS_MAX)
            .build(InTime(tls));
        Ok(Self { client, allow_private })
    }

    /// Checks a stranger's endpoint. A name is checked when it is resolved, at each connection.
    pub(crate) fn endpoint(&self, text: &str) -> Result<Endpoint, EgressError> {
        let url = endpoint::parse(text)?;
        // A literal address never reaches the resolver.
        if endpoint::literal_address(&url).is_some_and(|address| !self.allow_private && !is_public(address)) {
            return Err(EgressError::Private);
        }
        url.as_str().parse().map(Endpoint).map_err(|_| EndpointError::NotAUrl.into())
    }

    /// Posts a packet; gives the head of the answer.
    pub(crate) async fn post(
        &self,
        Endpoint(uri): &Endpoint,
        session: Option<HeaderValue>,
        packet: Bytes,
        time: Duration,
    ) -> Result<Answer, EgressError> {
        let mut request = Request::new(Full::new(packet));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_PACKET));
        self.send(request, session, time).await
    }

    /// The same by GET, with the packet in the query and the event that its sender saw last.
    pub(crate) async fn get(
        &self,
        Endpoint(uri): &Endpoint,
        session: Option<HeaderValue>,
        packet: &Packet,
        last_event_id: Option<u64>,
        time: Duration,
    ) -> Result<Answer, EgressError> {
        let mut request = Request::new(Full::default());
        let uri = format!("{uri}?{PACKET_QUERY}={}", encode_packet_query(packet));
        *request.uri_mut() = uri.parse().map_err(|_| EndpointError::NotAUrl)?;
        if let Some(id) = last_event_id {
            request.headers_mut().insert(LAST_EVENT_ID, id.into());
        }
        self.send(request, session, time).await
    }

    async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        session: Option<HeaderValue>,
        time: Duration,
    ) -> Result<Answer, EgressError> {
        if let Some(session) = session {
            request.headers_mut().insert(PEER_SESSION, session);
        }
        match tokio::time::timeout(time, self.client.request(request)).await {
            Err(_) => Err(EgressError::AnswerTimeout),
            Ok(Err(error)) => Err(EgressError::of_request(&error)),
            Ok(Ok(response)) => Ok(Answer::new(response)),
        }
    }
}
