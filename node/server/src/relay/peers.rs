//! The agents that this relay has to do with, and the sessions with them: opened once by signature, then a token goes
//! with each packet. Sessions are kept in memory only; a restarted relay opens new ones.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use alloy::primitives::Address;
use axum::http::HeaderValue;
use minus_protocol::{
    Command, CommandBody, Outgoing, Refusal, Reply, SealingKey, SessionKey, headers::encode_token, open_reply,
    random_bytes, seal,
};
use tokio::sync::{Notify, Semaphore};

use super::{ledger::Ledger, line::Line, seen::Seen};
use crate::{
    chain::NodeRecord,
    clock, cores,
    egress::{Egress, EgressError, Endpoint},
    node::{Node, REQUESTS_MAX},
    store::{
        StoreError,
        packets::Relay,
        peers::{self as books, Earned},
    },
};

/// An agent that has not answered by then is taken for unreachable.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A session younger than this is kept whatever the agent answers: sessions outlive an agent's restart, and a 421 is also
/// what a stranger's packet to a wallet that is not there gets, who must not make this relay open one session after another.
const SESSION_KEPT_FOR: Duration = Duration::from_secs(10);
/// A session is renewed this long before it ends.
const RENEW_BEFORE_MS: u64 = 60_000;
/// Requests forwarded at a time, to all agents together: three quarters of the node's places, so that agents that are
/// slow together still leave room for what is this node's own.
pub(crate) const FORWARDS_MAX: usize = REQUESTS_MAX / 4 * 3;
/// Agents that state is kept of; the routing table bounds it, and this bounds the routing table's say.
const AGENTS_MAX: usize = 65_536;

/// Why a peer did not do what it was asked. A stranger is told 502.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("egress: {0}")]
    Egress(#[from] EgressError),
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

impl PeerError {
    /// Whether the peer took longer than it may.
    pub(crate) const fn is_timeout(&self) -> bool {
        matches!(self, Self::Egress(error) if error.is_timeout())
    }
}

#[derive(Clone)]
struct Session {
    /// Ready to be sent; neither printed nor indexed.
    token: HeaderValue,
    takes_bundles: bool,
    opened: Instant,
    expires_at_ms: u64,
}

/// What an open session is good for.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) token: HeaderValue,
    /// Whether several packets may be brought in one request.
    pub(crate) takes_bundles: bool,
}

/// What is remembered of one agent.
pub(crate) struct Agent {
    pub(crate) ledger: Arc<Ledger>,
    /// Packets that are ready to go to it, by the core that they are on.
    lines: Box<[Line]>,
    session: Mutex<Option<Session>>,
    /// Held while one is opened, so that it is one.
    opening: tokio::sync::Mutex<()>,
    /// The last endpoint that was checked, and what it came to.
    endpoint: Mutex<Option<(String, Endpoint)>>,
}

impl Agent {
    fn new(earned: Earned, settled: bool) -> Self {
        Self {
            ledger: Arc::new(Ledger::new(earned, settled)),
            lines: (0..cores::count()).map(|_| Line::default()).collect(),
            session: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            endpoint: Mutex::default(),
        }
    }

    /// Where the agent is, checked once for each text.
    pub(crate) fn endpoint(&self, egress: &Egress, text: &str) -> Result<Endpoint, EgressError> {
        let mut last = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_ref() {
            Some((known, endpoint)) if known == text => Ok(endpoint.clone()),
            _ => {
                let endpoint = egress.endpoint(text)?;
                *last = Some((text.to_owned(), endpoint.clone()));
                Ok(endpoint)
            }
        }
    }

    /// Packets that wait on a core.
    pub(crate) fn line(&self, core: usize) -> &Line {
        &self.lines[core % self.lines.len()]
    }

    fn pass(&self) -> Option<Pass> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let renew_at_ms = clock::now_ms().saturating_add(RENEW_BEFORE_MS);
        let open = session.as_ref().filter(|open| open.expires_at_ms > renew_at_ms)?;
        Some(Pass { token: open.token.clone(), takes_bundles: open.takes_bundles })
    }

    /// Notes that no bundles are taken under a session, whatever was said when it was opened.
    pub(crate) fn refuses_bundles(&self, token: &HeaderValue) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = session.as_mut().filter(|open| open.token == *token) {
            open.takes_bundles = false;
        }
    }

    /// Forgets a session that the agent does not know any more, unless it or another one was opened just now.
    pub(crate) fn drop_session(&self, token: &HeaderValue) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if session.as_ref().is_some_and(|open| open.token == *token && open.opened.elapsed() >= SESSION_KEPT_FOR) {
            *session = None;
        }
    }
}

/// All of them.
pub(crate) struct Peers {
    agents: RwLock<HashMap<Address, Arc<Agent>>>,
    /// Rung when enough was carried for a voucher.
    pub(crate) bell: Notify,
    /// Rung when something was carried that is to be written down, and when that is much.
    pub(crate) counted: Notify,
    pub(crate) much_counted: Notify,
    /// Held while carried bytes are on their way into the store, so that what is taken is written or given back before
    /// anybody takes more.
    pub(crate) booking: tokio::sync::Mutex<()>,
    /// Places for requests being forwarded.
    pub(crate) forwards: Arc<Semaphore>,
    pub(crate) seen: Seen,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers")
    }
}

impl Peers {
    /// With the accounts that the store holds.
    pub(crate) fn new(accounts: Vec<Earned>) -> Self {
        let agents = accounts.into_iter().map(|earned| (earned.agent, Arc::new(Agent::new(earned, false)))).collect();
        Self {
            agents: RwLock::new(agents),
            bell: Notify::new(),
            counted: Notify::new(),
            much_counted: Notify::new(),
            booking: tokio::sync::Mutex::default(),
            forwards: Arc::new(Semaphore::new(FORWARDS_MAX)),
            seen: Seen::default(),
        }
    }

    /// An agent, new or known.
    pub(crate) fn agent(&self, agent: Address, operator: Address) -> Result<Arc<Agent>, PeerError> {
        if let Some(known) = self.agents.read().unwrap_or_else(PoisonError::into_inner).get(&agent) {
            return Ok(Arc::clone(known));
        }
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        if !agents.contains_key(&agent) && agents.len() >= AGENTS_MAX {
            return Err(PeerError::TooMany);
        }
        let new = || Arc::new(Agent::new(Earned::new(agent, operator), true));
        Ok(Arc::clone(agents.entry(agent).or_insert_with(new)))
    }

    /// All that are known.
    pub(crate) fn all(&self) -> Vec<Arc<Agent>> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }
}

/// By what this node is known to an agent; opens a session if there is none.
pub(crate) async fn pass(node: &Node, agent: Address, record: &NodeRecord, state: &Agent) -> Result<Pass, PeerError> {
    if let Some(pass) = state.pass() {
        return Ok(pass);
    }
    let _one = state.opening.lock().await;
    if let Some(pass) = state.pass() {
        return Ok(pass);
    }
    let (reply, takes_bundles) = ask(node, agent, record, CommandBody::OpenPeerSession).await?;
    let Reply::PeerSession { token, expires_at_ms } = reply else { return Err(PeerError::Unexpected) };
    // Before anything is carried, so that what is carried is asked about even after a crash.
    let relay = Relay { node: agent, operator: record.operator };
    node.store
        .writer()
        .write_patiently(move |connection| {
            Box::pin(async move { books::count_at_relay(connection, relay, 0, 0).await.map(drop) })
        })
        .await?;
    let mut token = HeaderValue::try_from(encode_token(&token)).map_err(|_| PeerError::Unexpected)?;
    token.set_sensitive(true);
    let session = Session { token: token.clone(), takes_bundles, opened: Instant::now(), expires_at_ms };
    *state.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    Ok(Pass { token, takes_bundles })
}

/// Sends a command to a peer and opens its reply.
pub(crate) async fn command(
    node: &Node,
    peer: Address,
    record: &NodeRecord,
    body: CommandBody,
) -> Result<Reply, PeerError> {
    ask(node, peer, record, body).await.map(|(reply, _)| reply)
}

/// The same, and whether the answer says that bundles are taken.
async fn ask(node: &Node, peer: Address, record: &NodeRecord, body: CommandBody) -> Result<(Reply, bool), PeerError> {
    let session = SessionKey::random();
    let encoded = Command { session: session.clone(), body }.encode();
    let outgoing = Outgoing { id: random_bytes(), sent_at_ms: clock::now_ms(), body: &encoded };
    let key = SealingKey::from_affine(record.sealing_key.0, record.sealing_key.1).map_err(|_| PeerError::SealingKey)?;
    let packet = seal(&outgoing, peer, &key, &node.key.signer, &node.routing_domain).map_err(|_| PeerError::Sealing)?;
    let endpoint = node.egress.endpoint(&record.endpoint)?;
    let answer = node.egress.post(&endpoint, None, &packet, ANSWER_TIMEOUT).await?;
    let (status, takes_bundles) = (answer.status().as_u16(), answer.takes_bundles());
    let bytes = answer.read(ANSWER_TIMEOUT).await?;
    match open_reply(&session, &bytes) {
        Ok(Reply::Refused { reason, .. }) => Err(PeerError::Refused(reason)),
        Ok(reply) => Ok((reply, takes_bundles)),
        Err(_) => Err(PeerError::Unsealed(status)),
    }
}
