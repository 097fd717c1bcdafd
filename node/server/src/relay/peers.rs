//! Sessions with agents: opened once by signature, then a token goes with each packet. Kept in memory only; a
//! restarted relay opens new ones.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy::primitives::Address;
use minus_protocol::{
    Command, CommandBody, Outgoing, Refusal, Reply, SealingKey, SessionKey, headers::CONTENT_PACKET, open_reply,
    random_bytes, reply::REPLY_BYTES_MAX, seal,
};
use reqwest::header::CONTENT_TYPE;
use tokio::sync::Semaphore;

use crate::{
    chain::NodeRecord,
    clock,
    egress::EgressError,
    node::Node,
    store::{StoreError, packets::Relay, peers as books},
};

/// An agent that has not answered by then is taken for unreachable.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A session younger than this is kept whatever the agent answers: sessions outlive an agent's restart, and a 421 is also
/// what a stranger's packet to a wallet that is not there gets, who must not make this relay open one session after another.
const SESSION_KEPT_FOR: Duration = Duration::from_secs(10);
/// A session is renewed this long before it ends.
const RENEW_BEFORE_MS: u64 = 60_000;
/// Requests forwarded to one agent at a time: one that answers slowly must not take every place there is.
const REQUESTS_PER_AGENT_MAX: usize = 128;
/// Streams piped from one agent at a time, for the same reason.
pub(crate) const STREAMS_PER_AGENT_MAX: usize = 4_096;
/// Agents that state is kept of; the routing table bounds it, and this bounds the routing table's say.
const AGENTS_MAX: usize = 65_536;

/// Why a peer did not do what it was asked. A stranger is told 502.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("egress: {0}")]
    Egress(#[from] EgressError),
    #[error("transport: {0}")]
    Transport(String),
    #[error("the packet could not be sealed")]
    Sealing,
    #[error("the peer's sealing key is not a point")]
    SealingKey,
    #[error("the peer answered {0} without a sealed reply")]
    Unsealed(u16),
    #[error("the peer refused: {0}")]
    Refused(Refusal),
    #[error("the peer answered something else than asked")]
    Unexpected,
    #[error("too many agents")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<reqwest::Error> for PeerError {
    fn from(error: reqwest::Error) -> Self {
        // Without the URL: what is logged of a peer is its address.
        Self::Transport(error.without_url().to_string())
    }
}

#[derive(Clone)]
struct Session {
    token: [u8; 32],
    opened: Instant,
    expires_at_ms: u64,
}

/// What is remembered of one agent.
pub(crate) struct Agent {
    session: tokio::sync::Mutex<Option<Session>>,
    counters: Mutex<Counters>,
    /// Requests being forwarded.
    pub(crate) places: Semaphore,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            session: tokio::sync::Mutex::default(),
            counters: Mutex::default(),
            places: Semaphore::new(REQUESTS_PER_AGENT_MAX),
        }
    }
}

/// Bytes and streams of the present run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// Requests sent to the agent whose answers are not counted yet.
    pub(crate) requests: usize,
    /// Streams being piped, or ended and not counted yet.
    pub(crate) streams: usize,
    /// Bytes since a voucher was last asked for.
    pub(crate) bytes_unasked: u64,
    /// Whether nothing was forwarded since the agent last said what it owes. Not so at the start: the run before may
    /// have ended between an answer and its count.
    pub(crate) settled: bool,
}

impl Agent {
    /// Changes the counters.
    pub(crate) fn count<T>(&self, change: impl FnOnce(&mut Counters) -> T) -> T {
        change(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request on its way to an agent, until its answer is counted or lost.
pub(crate) struct Forwarding(Arc<Agent>);

impl Forwarding {
    /// Notes that one begins.
    pub(crate) fn begin(agent: Arc<Agent>) -> Self {
        agent.count(|counters| counters.requests += 1);
        Self(agent)
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.0.count(|counters| {
            counters.requests = counters.requests.saturating_sub(1);
            // Whatever it was, it may have changed what the agent owes: a packet stored, a statement acknowledged.
            counters.settled = false;
        });
    }
}

/// The agents this relay has to do with.
#[derive(Default)]
pub(crate) struct Peers {
    agents: Mutex<HashMap<Address, Arc<Agent>>>,
    /// Rung when enough was carried for a voucher.
    pub(crate) bell: tokio::sync::Notify,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers")
    }
}

impl Peers {
    pub(crate) fn agent(&self, agent: Address) -> Result<Arc<Agent>, PeerError> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if !agents.contains_key(&agent) && agents.len() >= AGENTS_MAX {
            return Err(PeerError::TooMany);
        }
        Ok(Arc::clone(agents.entry(agent).or_default()))
    }
}

/// The token under which this node is known to an agent; opens a session if there is none.
pub(crate) async fn token(node: &Node, agent: Address, record: &NodeRecord) -> Result<[u8; 32], PeerError> {
    let state = node.peers.agent(agent)?;
    let mut session = state.session.lock().await;
    let now_ms = clock::now_ms();
    if let Some(open) = session.as_ref().filter(|open| open.expires_at_ms > now_ms.saturating_add(RENEW_BEFORE_MS)) {
        return Ok(open.token);
    }
    match command(node, agent, record, CommandBody::OpenPeerSession).await? {
        Reply::PeerSession { token, expires_at_ms } => {
            // Before anything is carried, so that what is carried is asked about even after a crash.
            let (agent, operator) = (agent, record.operator);
            node.store
                .writer()
                .write_patiently(move |connection| {
                    Box::pin(books::count_at_relay(connection, Relay { node: agent, operator }, 0, 0))
                })
                .await?;
            *session = Some(Session { token, opened: Instant::now(), expires_at_ms });
            Ok(token)
        }
        _ => Err(PeerError::Unexpected),
    }
}

/// Forgets a session that the agent does not know any more, unless it or another one was opened just now.
pub(crate) async fn drop_session(node: &Node, agent: Address, token: &[u8; 32]) {
    if let Ok(state) = node.peers.agent(agent) {
        let mut session = state.session.lock().await;
        if session.as_ref().is_some_and(|open| open.token == *token && open.opened.elapsed() >= SESSION_KEPT_FOR) {
            *session = None;
        }
    }
}

/// Sends a command to a peer and opens its reply.
pub(crate) async fn command(
    node: &Node,
    peer: Address,
    record: &NodeRecord,
    body: CommandBody,
) -> Result<Reply, PeerError> {
    let session = SessionKey::random();
    let encoded = Command { session: session.clone(), body }.encode();
    let outgoing = Outgoing { id: random_bytes(), sent_at_ms: clock::now_ms(), body: &encoded };
    let key = SealingKey::from_affine(record.sealing_key.0, record.sealing_key.1).map_err(|_| PeerError::SealingKey)?;
    let packet = seal(&outgoing, peer, &key, &node.key.signer, &node.routing_domain).map_err(|_| PeerError::Sealing)?;
    let response = node
        .egress
        .post(&record.endpoint)?
        .header(CONTENT_TYPE, CONTENT_PACKET)
        .timeout(ANSWER_TIMEOUT)
        .body(packet.into_bytes())
        .send()
        .await?;
    let status = response.status().as_u16();
    let bytes = read_bounded(response).await?;
    match open_reply(&session, &bytes) {
        Ok(Reply::Refused { reason, .. }) => Err(PeerError::Refused(reason)),
        Ok(reply) => Ok(reply),
        Err(_) => Err(PeerError::Unsealed(status)),
    }
}

/// The body of an answer that is no stream: never more of it than the longest reply, and not for longer than an answer may
/// take, because the request that waits for it holds one of the node's places.
pub(crate) async fn read_bounded(response: reqwest::Response) -> Result<Vec<u8>, PeerError> {
    read_within(response, ANSWER_TIMEOUT).await
}

async fn read_within(response: reqwest::Response, time: Duration) -> Result<Vec<u8>, PeerError> {
    let late = |_| PeerError::Transport("the answer did not end in time".to_owned());
    tokio::time::timeout(time, read_to_end(response)).await.map_err(late)?
}

async fn read_to_end(mut response: reqwest::Response) -> Result<Vec<u8>, PeerError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len().saturating_add(chunk.len()) > REPLY_BYTES_MAX {
            return Err(PeerError::Unexpected);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_trickles_is_given_up() {
        let trickle = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"x")), ()))
        });
        let response = axum::http::Response::new(reqwest::Body::wrap_stream(trickle));
        assert!(matches!(read_within(response.into(), Duration::from_millis(50)).await, Err(PeerError::Transport(_))));
    }
}
