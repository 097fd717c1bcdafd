//! Everything that is not this node's own: a reverse proxy keyed by the packet's address. It learns the recipient and
//! the size, and logs no more (law 10). What it carries it counts, and past its credit limit it stops (law 12).

use std::sync::Arc;

use alloy::primitives::Address;
use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use futures_util::Stream;
use minus_protocol::{Packet, Receipt, RelayCounter, Status, headers::CONTENT_PACKET};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    answer::{Refused, code},
    reason::Reason,
    streaming::{self, BrokenOff},
    subscribe::Resumed,
};
use crate::{
    chain::NodeRecord,
    clock,
    egress::{Answer, Content, EgressError},
    metrics::Limit,
    node::Node,
    relay::{
        account::{self, Carried, Terms},
        flusher,
        ledger::{Forwarding, Full, Piping},
        peers::{self, ANSWER_TIMEOUT, Agent, PeerError},
    },
};

/// The node responsible for an address.
struct Target {
    node: Address,
    record: Arc<NodeRecord>,
}

/// A packet to be passed on.
struct Parcel {
    packet: Packet,
    /// What came by GET goes on by GET.
    resumed: Option<Resumed>,
}

impl Parcel {
    fn length(&self) -> u64 {
        u64::try_from(self.packet.len()).expect("a packet's length fits 64 bits")
    }
}

/// Forwards a packet and streams the answer back. After a 421 everything known is refreshed and it is tried once more.
pub(crate) async fn forward(node: &Arc<Node>, packet: Packet, resumed: Option<Resumed>) -> Result<Response, Refused> {
    let forwarded = try_forward(node, &Parcel { packet, resumed }).await;
    match &forwarded {
        Ok(response) => {
            if let Some(status) = Status::from_code(response.status().as_u16()) {
                node.metrics.forwards.of(status).increment(1);
            }
        }
        Err(refused) => node.metrics.forwards.of(refused.status()).increment(1),
    }
    forwarded
}

async fn try_forward(node: &Arc<Node>, parcel: &Parcel) -> Result<Response, Refused> {
    node.in_office().await?;
    let _place = node.peers.forwards.try_acquire().map_err(|_| {
        node.metrics.limit_reached.of(Limit::Forwards).increment(1);
        Reason::ForwardsFull
    })?;
    let target = responsible(node, parcel.packet.recipient(), false).await?;
    let sent = send(node, &target, parcel).await?;
    if sent.answer.status().as_u16() != Status::Misdirected.code() {
        return pass_back(node, sent, &target, parcel).await;
    }
    drop(sent);
    node.view.refresh_node(target.node).await?;
    let target = responsible(node, parcel.packet.recipient(), true).await?;
    let sent = send(node, &target, parcel).await?;
    pass_back(node, sent, &target, parcel).await
}

/// The node an address leads to: itself, or its agent.
async fn responsible(node: &Node, recipient: Address, refreshed: bool) -> Result<Target, Refused> {
    let no_route = || Refused::For(Reason::NoRoute);
    let responsible = if node.view.is_known_node(recipient) {
        recipient // also when somebody gave a node's key a wallet's route
    } else {
        let known = if refreshed { None } else { node.view.agent_of(recipient) };
        let agent = match known {
            Some(agent) => Some(agent),
            None => node.view.refresh_agent_of(recipient).await?, // the route may have been set a moment ago
        };
        agent.unwrap_or(recipient)
    };
    if responsible == node.address() {
        return Err(Refused::For(Reason::NotEntrusted));
    }
    let record = node.view.node(responsible).ok_or_else(no_route)?;
    if record.is_live() { Ok(Target { node: responsible, record }) } else { Err(no_route()) }
}

/// How far this relay trusts an agent now.
pub(crate) fn terms(node: &Node, record: &NodeRecord) -> Terms {
    let (tariff_version, tariff) = record.tariff_at(clock::now_s());
    let write_off_bytes = node.config.relay_write_off_bytes;
    Terms { tariff_version, tariff, credit: node.config.relay_credit, write_off_bytes }
}

/// Refuses to carry more. Said once in the log, counted each time.
fn full(node: &Node, agent: Address, full: Full) -> Refused {
    match full {
        Full::Credit { first } => {
            if first {
                node.metrics.relay_stops.increment(1);
                tracing::warn!(%agent, "the agent owes this relay too much: nothing more is carried until it pays");
            }
            Refused::For(Reason::AgentOwes)
        }
        Full::Places => Refused::For(Reason::AgentFull),
    }
}

fn unreachable(node: &Node, agent: Address, error: &PeerError) -> Refused {
    if let PeerError::Egress(error) = error {
        node.metrics.egress_failures.of(error.cause()).increment(1);
    }
    tracing::warn!(%agent, %error, "an agent could not be reached");
    Refused::For(Reason::AgentUnreachable)
}

/// An answer that is not counted yet.
struct Sent {
    answer: Answer,
    agent: Arc<Agent>,
    forwarding: Forwarding,
}

/// One attempt. A 421 drops the session.
async fn send(node: &Node, target: &Target, parcel: &Parcel) -> Result<Sent, Refused> {
    let unreachable = |error: PeerError| unreachable(node, target.node, &error);
    let agent = node.peers.agent(target.node, target.record.operator).map_err(unreachable)?;
    // Commands are carried for nothing.
    let debit = if parcel.packet.recipient() == target.node { 0 } else { parcel.length() };
    let mut forwarding =
        agent.ledger.begin(debit, &terms(node, &target.record)).map_err(|why| full(node, target.node, why))?;
    let endpoint = agent.endpoint(&node.egress, &target.record.endpoint).map_err(|error| unreachable(error.into()))?;
    let token = peers::token(node, target.node, &target.record, &agent).await.map_err(|error| {
        forwarding.answered(!error.is_timeout());
        unreachable(error)
    })?;
    forwarding.sent();
    let (session, packet) = (Some(&token), &parcel.packet);
    let answer = match parcel.resumed {
        None => node.egress.post(&endpoint, session, packet, ANSWER_TIMEOUT).await,
        Some(Resumed { last_event_id }) => {
            node.egress.get(&endpoint, session, packet, last_event_id, ANSWER_TIMEOUT).await
        }
    };
    forwarding.answered(!matches!(&answer, Err(error) if error.is_timeout()));
    let answer = answer.map_err(|error| unreachable(error.into()))?;
    if answer.status().as_u16() == Status::Misdirected.code() {
        agent.drop_session(&token);
    }
    Ok(Sent { answer, agent, forwarding })
}

async fn pass_back(
    node: &Arc<Node>,
    Sent { answer, agent, forwarding }: Sent,
    target: &Target,
    parcel: &Parcel,
) -> Result<Response, Refused> {
    let Some(status) = Status::from_code(answer.status().as_u16()) else {
        let code = answer.status();
        let error = if code.is_redirection() { EgressError::Redirect } else { EgressError::Status(code.as_u16()) };
        return Err(unreachable(node, target.node, &error.into()));
    };
    if status == Status::Answered && answer.content() == Content::Stream {
        return pipe(node, answer, &agent, target);
    }
    let content = match answer.content() {
        Content::Json => "application/json",
        Content::Packet => CONTENT_PACKET,
        Content::Stream | Content::Text => "text/plain; charset=utf-8",
    };
    let metered = answer.metered();
    let body = answer.read(ANSWER_TIMEOUT).await;
    forwarding.answered(!matches!(&body, Err(error) if error.is_timeout()));
    if status == Status::Stored && parcel.packet.recipient() != target.node {
        // Also when the body broke off: the head has said that it is stored, and there is no second 202 to count.
        let receipt = body.as_ref().ok().and_then(|body| serde_json::from_slice::<Receipt>(body).ok());
        let verdict = account::carried(receipt.map(|receipt| receipt.stored), metered, parcel.length());
        post(node, target.node, &forwarding, parcel, verdict);
        flusher::ring(&node.peers, &agent.ledger, node.config.voucher_bytes);
    }
    drop(forwarding);
    let body = body.map_err(|error| unreachable(node, target.node, &error.into()))?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code(status);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    Ok(response)
}

/// Counts a packet that the agent has stored.
fn post(node: &Node, agent: Address, forwarding: &Forwarding, parcel: &Parcel, verdict: Carried) {
    let again = node.peers.seen.again(agent, parcel.packet.as_bytes());
    let (bytes, disputed) = match verdict {
        Carried::Agreed(bytes) => (bytes, false),
        Carried::Disputed(bytes) => {
            node.metrics.relay_counts_disputed.increment(1);
            tracing::warn!(%agent, bytes, "an agent stored a packet and counts another length of it");
            (bytes, true)
        }
        Carried::Duplicate(bytes) => {
            if !again {
                node.metrics.relay_duplicate_bytes.increment(parcel.length());
                forwarding.in_vain(parcel.length());
            }
            (bytes, false)
        }
    };
    if bytes > 0 {
        node.metrics.bytes_relayed_in.increment(bytes);
        forwarding.carried(bytes, disputed);
    }
}

/// A stream being piped.
struct Piped {
    node: Arc<Node>,
    target: Address,
    record: Arc<NodeRecord>,
    agent: Arc<Agent>,
    piping: Piping,
    counter: RelayCounter,
    _place: OwnedSemaphorePermit,
}

impl Piped {
    /// Counts a chunk before it passes. False when the agent may not owe it.
    fn carry(&mut self, chunk: &[u8]) -> bool {
        let bytes = self.counter.push(chunk);
        if bytes == 0 {
            return true;
        }
        if let Err(why) = self.piping.carry(bytes, &terms(&self.node, &self.record)) {
            full(&self.node, self.target, why);
            self.node.metrics.relay_streams_cut.increment(1);
            return false;
        }
        self.node.metrics.bytes_relayed_out.increment(bytes);
        flusher::ring(&self.node.peers, &self.agent.ledger, self.node.config.voucher_bytes);
        true
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        self.node.metrics.streams_open.decrement(1.0);
    }
}

fn pipe(node: &Arc<Node>, answer: Answer, agent: &Arc<Agent>, target: &Target) -> Result<Response, Refused> {
    let place = Arc::clone(&node.streams).try_acquire_owned().map_err(|_| Refused::For(Reason::StreamsFull))?;
    let piping = agent.ledger.begin_stream(&terms(node, &target.record)).map_err(|why| full(node, target.node, why))?;
    node.metrics.streams_open.increment(1.0);
    let piped = Piped {
        node: Arc::clone(node),
        target: target.node,
        record: target.record.clone(),
        agent: Arc::clone(agent),
        piping,
        counter: RelayCounter::new(),
        _place: place,
    };
    Ok(streaming::answer(chunks(piped, answer)))
}

fn chunks(mut piped: Piped, mut answer: Answer) -> impl Stream<Item = Result<Bytes, BrokenOff>> {
    async_stream::stream! {
        loop {
            let chunk = tokio::select! {
                biased;
                () = piped.node.stop.cancelled() => return,
                chunk = answer.stream() => chunk,
            };
            match chunk {
                Ok(None) => return,
                Ok(Some(chunk)) => {
                    if !piped.carry(&chunk) {
                        return;
                    }
                    yield Ok(chunk);
                }
                Err(error) => {
                    piped.node.metrics.egress_failures.of(error.cause()).increment(1);
                    yield Err(BrokenOff);
                    return;
                }
            }
        }
    }
}
