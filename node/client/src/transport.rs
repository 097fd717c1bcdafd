//! Packets out, answers in: one POST per packet, to an endpoint that passed the guard, over connections pinned to the
//! addresses it resolved to. No redirects, no proxies, every wait and every body bounded.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use minus_protocol::Status;
use minus_protocol::headers::CONTENT_PACKET;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::Mutex;

use crate::guard::{self, GuardError};

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one packet may take, answer included: 1 MiB on a slow line, through a relay.
const POST_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest answer to a packet that is not a stream: a sealed reply with a few hundred meter lines.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// How long what an endpoint resolved to is believed.
const PINNED_FOR: Duration = Duration::from_secs(300);

/// Endpoints kept at a time: a client talks to an agent and a few access nodes.
const PINNED_MAX: usize = 64;

/// Sends packets.
#[derive(Debug)]
pub struct Transport {
    allow_private: bool,
    pinned: Mutex<HashMap<String, Pinned>>,
}

#[derive(Debug, Clone)]
struct Pinned {
    url: url::Url,
    client: reqwest::Client,
    since: Instant,
}

/// What a node answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status, as DESIGN's table means it.
    pub status: Status,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The guard's word.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// No connection, or it broke, or it took too long.
    #[error("the node at {endpoint} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// Why, in short.
        reason: String,
    },
    /// An answer that is in no table.
    #[error("the node at {endpoint} answered with the unknown status {status}")]
    UnknownStatus {
        /// Where.
        endpoint: String,
        /// What it said.
        status: u16,
    },
    /// A longer answer than any honest one.
    #[error("the node at {endpoint} answered with more than {ANSWER_BYTES_MAX} bytes")]
    AnswerTooLong {
        /// Where.
        endpoint: String,
    },
}

impl TransportError {
    /// Whether the same packet may do better later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Guard(GuardError::Unresolved { .. }) | Self::Unreachable { .. } => true,
            // A gateway in front of a node that restarts answers 500 or 504.
            Self::UnknownStatus { status, .. } => *status >= 500,
            Self::Guard(_) | Self::AnswerTooLong { .. } => false,
        }
    }
}

impl Transport {
    /// A transport that refuses endpoints inside private networks unless `allow_private`.
    pub fn new(allow_private: bool) -> Self {
        Self { allow_private, pinned: Mutex::default() }
    }

    /// Posts a packet and reads the whole answer.
    pub async fn post(&self, endpoint: &str, packet: Bytes) -> Result<Answer, TransportError> {
        let pinned = self.pin(endpoint).await?;
        let posted = async {
            let response = send(&pinned, packet).await.map_err(|error| unreachable(endpoint, &error))?;
            read_answer(endpoint, response).await
        };
        match tokio::time::timeout(POST_TIMEOUT, posted).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::Unreachable {
                endpoint: endpoint.to_owned(),
                reason: format!("no answer within {} seconds", POST_TIMEOUT.as_secs()),
            }),
        }
    }

    /// Posts a packet whose answer is a stream: the open response when it is one, else the answer.
    pub async fn open_stream(
        &self,
        endpoint: &str,
        packet: Bytes,
    ) -> Result<Result<reqwest::Response, Answer>, TransportError> {
        let pinned = self.pin(endpoint).await?;
        let opened = async {
            let response = send(&pinned, packet).await.map_err(|error| unreachable(endpoint, &error))?;
            let is_stream = response.status().as_u16() == 200
                && response
                    .headers()
                    .get(CONTENT_TYPE)
                    .and_then(|value| value.to_str().ok())
                    .is_some_and(|value| value.starts_with("text/event-stream"));
            if is_stream { Ok(Ok(response)) } else { read_answer(endpoint, response).await.map(Err) }
        };
        match tokio::time::timeout(POST_TIMEOUT, opened).await {
            Ok(opened) => opened,
            Err(_) => Err(TransportError::Unreachable {
                endpoint: endpoint.to_owned(),
                reason: format!("no stream within {} seconds", POST_TIMEOUT.as_secs()),
            }),
        }
    }

    async fn pin(&self, endpoint: &str) -> Result<Pinned, TransportError> {
        let mut all = self.pinned.lock().await;
        if let Some(pinned) = all.get(endpoint).filter(|pinned| pinned.since.elapsed() < PINNED_FOR) {
            return Ok(pinned.clone());
        }
        let checked = guard::check(endpoint, self.allow_private).await?;
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // One connection each for the stream and for commands: a stream that is not read must not block the
            // acknowledgement that would let it go on, as it could on one HTTP/2 connection.
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT);
        if let Some(url::Host::Domain(name)) = checked.url.host() {
            builder = builder.resolve_to_addrs(name, &checked.addresses);
        }
        let client = builder.build().map_err(|error| unreachable(endpoint, &error))?;
        let pinned = Pinned { url: checked.url, client, since: Instant::now() };
        if all.len() >= PINNED_MAX {
            all.clear();
        }
        all.insert(endpoint.to_owned(), pinned.clone());
        Ok(pinned)
    }
}

async fn send(pinned: &Pinned, packet: Bytes) -> Result<reqwest::Response, reqwest::Error> {
    pinned.client.post(pinned.url.clone()).header(CONTENT_TYPE, CONTENT_PACKET).body(packet).send().await
}

async fn read_answer(endpoint: &str, mut response: reqwest::Response) -> Result<Answer, TransportError> {
    let code = response.status().as_u16();
    let status = Status::from_code(code)
        .ok_or_else(|| TransportError::UnknownStatus { endpoint: endpoint.to_owned(), status: code })?;
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(endpoint, &error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(TransportError::AnswerTooLong { endpoint: endpoint.to_owned() });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body: body.freeze() })
}

fn unreachable(endpoint: &str, error: &reqwest::Error) -> TransportError {
    TransportError::Unreachable { endpoint: endpoint.to_owned(), reason: innermost(error) }
}

/// The innermost cause, which says what happened; the outer ones repeat the URL, and an RPC endpoint's may hold a key.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a refusing status means, in words that say what to do. `None` for answers that refuse nothing.
pub fn explain(status: Status) -> Option<&'static str> {
    match status {
        Status::Answered | Status::Stored => None,
        Status::Malformed => Some("the node calls the packet malformed (400); do both sides run the same version?"),
        Status::Spent => {
            Some("the recipient's prepayment is spent (402); its payer has to prepay more: `minus prepay`")
        }
        Status::NoRoute => Some("the node knows no route to that address (404); was the wallet entrusted?"),
        Status::TooLarge => Some("the packet is too large (413)"),
        Status::Misdirected => Some("the node is not, or no longer, the wallet's agent (421)"),
        Status::TooMany => Some("the node asks to slow down (429); try again later"),
        Status::Unreachable => Some("the access node cannot reach the agent (502); try again later, or another --via"),
        Status::StaleView => Some("the node's view of the chain is too old (503); try again later"),
    }
}

/// Whether the same packet may do better later. A route that a node does not see yet (404, 421) may appear as its
/// view of the chain catches up; the number of attempts is bounded by the caller.
pub fn is_retryable(status: Status) -> bool {
    matches!(status, Status::NoRoute | Status::Misdirected | Status::TooMany | Status::Unreachable | Status::StaleView)
}
