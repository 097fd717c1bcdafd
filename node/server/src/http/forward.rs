//! Everything that is not this node's own: a reverse proxy keyed by the packet's address. It learns the recipient and
//! the size, and logs no more (law 10). What it carries it counts, and past its credit limit it stops (law 12).

use std::sync::Arc;

use alloy::primitives::Address;
use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::Stream;
use minus_protocol::{Judgement, Packet, Receipt, RelayCounter, Status, headers::CONTENT_PACKET};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    answer::{Refused, code},
    bundling,
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
        line::{Debit, Ride, Rider},
        peers::{self, ANSWER_TIMEOUT, Agent, Pass, PeerError},
    },
};

/// The content type of whatever is no receipt, no reply and no stream.
const TEXT: &str = "text/plain; charset=utf-8";

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
    /// Whether it may go to an agent together with others. Commands go alone.
    fn may_share(&self, agent: Address) -> bool {
        self.resumed.is_none() && self.packet.recipient() != agent && self.packet.len() <= bundling::SHARED_BYTES_MAX
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
    let place = Arc::clone(&node.peers.forwards).try_acquire_owned().map_err(|_| {
        node.metrics.limit_reached.of(Limit::Forwards).increment(1);
        Reason::ForwardsFull
    })?;
    let target = responsible(node, parcel.packet.recipient(), false).await?;
    let sent = send(node, &target, parcel, place, parcel.may_share(target.node)).await?;
    if sent.came.status() != Status::Misdirected.code() {
        return pass_back(node, sent, &target, parcel).await;
    }
    let Sent { debit: Debit { place, .. }, .. } = sent;
    node.view.refresh_node(target.node).await?;
    let target = responsible(node, parcel.packet.recipient(), true).await?;
    let sent = send(node, &target, parcel, place, false).await?;
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
    came: Came,
    agent: Arc<Agent>,
    debit: Debit,
}

/// An answer as it came.
enum Came {
    /// To this packet alone; its body may still come.
    Alone(Answer),
    /// Among the answers to a bundle.
    Shared { status: Status, metered: u64, body: Bytes },
}

impl Came {
    fn status(&self) -> u16 {
        match self {
            Self::Alone(answer) => answer.status().as_u16(),
            Self::Shared { status, .. } => status.code(),
        }
    }
}

fn length(packet: &Packet) -> u64 {
    u64::try_from(packet.len()).expect("a packet's length fits 64 bits")
}

/// One attempt, together with what else goes there if it may be. A 421 drops the session.
async fn send(
    node: &Arc<Node>,
    target: &Target,
    parcel: &Parcel,
    place: OwnedSemaphorePermit,
    may_share: bool,
) -> Result<Sent, Refused> {
    let unreachable = |error: PeerError| unreachable(node, target.node, &error);
    let agent = node.peers.agent(target.node, target.record.operator).map_err(unreachable)?;
    // Commands are carried for nothing.
    let is_command = parcel.packet.recipient() == target.node;
    let bytes = if is_command { 0 } else { length(&parcel.packet) };
    let mut forwarding =
        agent.ledger.begin(bytes, &terms(node, &target.record)).map_err(|why| full(node, target.node, why))?;
    let endpoint = agent.endpoint(&node.egress, &target.record.endpoint).map_err(|error| unreachable(error.into()))?;
    let Pass { token, takes_bundles } =
        peers::pass(node, target.node, &target.record, &agent).await.map_err(|error| {
            forwarding.answered(!error.is_timeout());
            unreachable(error)
        })?;
    forwarding.sent();
    let mut debit = Debit { forwarding, place };
    if may_share && takes_bundles {
        let rider = Rider { packet: parcel.packet.clone(), endpoint: endpoint.clone(), token: token.clone(), debit };
        match bundling::ride(node, target.node, &agent, rider).await {
            Some((rider, Ride::Judged(Judgement::Alone))) => debit = rider.debit,
            Some((Rider { debit, .. }, Ride::Judged(Judgement::Answered { status, metered, body }))) => {
                if status == Status::Misdirected {
                    agent.drop_session(&token);
                }
                return Ok(Sent { came: Came::Shared { status, metered, body }, agent, debit });
            }
            Some((_, Ride::Failed(error))) => return Err(unreachable(error.into())),
            None => return Err(unreachable(EgressError::BrokeOff.into())),
        }
    }
    if !is_command {
        node.metrics.request_packets.record(1.0);
    }
    let forwarding = &debit.forwarding;
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
    Ok(Sent { came: Came::Alone(answer), agent, debit })
}

/// Of an answer whose status is none of ours.
pub(super) fn no_status(code: StatusCode) -> EgressError {
    if code.is_redirection() { EgressError::Redirect } else { EgressError::Status(code.as_u16()) }
}

async fn pass_back(
    node: &Arc<Node>,
    Sent { came, agent, debit }: Sent,
    target: &Target,
    parcel: &Parcel,
) -> Result<Response, Refused> {
    let leg = Leg { to: target.node, agent: &agent, forwarding: &debit.forwarding, packet: &parcel.packet };
    let answer = match came {
        Came::Alone(answer) => answer,
        Came::Shared { status, metered, body } => {
            if status == Status::Stored {
                stored(node, leg, &body, Some(metered));
            }
            drop(debit);
            let content = if status == Status::Stored { "application/json" } else { TEXT };
            return Ok(answered(status, content, body));
        }
    };
    let Some(status) = Status::from_code(answer.status().as_u16()) else {
        return Err(unreachable(node, target.node, &no_status(answer.status()).into()));
    };
    if status == Status::Answered && answer.content() == Content::Stream {
        return pipe(node, answer, &agent, target);
    }
    let content = match answer.content() {
        Content::Json => "application/json",
        Content::Packet => CONTENT_PACKET,
        Content::Bundle | Content::Stream | Content::Text => TEXT,
    };
    let metered = answer.metered();
    let body = answer.read(ANSWER_TIMEOUT).await;
    debit.forwarding.answered(!matches!(&body, Err(error) if error.is_timeout()));
    if status == Status::Stored && parcel.packet.recipient() != target.node {
        // Also when the body broke off: the head has said that it is stored, and there is no second 202 to count.
        stored(node, leg, body.as_deref().unwrap_or_default(), metered);
    }
    drop(debit);
    let body = body.map_err(|error| unreachable(node, target.node, &error.into()))?;
    Ok(answered(status, content, body))
}

fn answered(status: Status, content: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code(status);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    response
}

/// Where a packet went, and what it holds there until it is counted.
#[derive(Clone, Copy)]
pub(super) struct Leg<'a> {
    pub(super) to: Address,
    pub(super) agent: &'a Agent,
    pub(super) forwarding: &'a Forwarding,
    pub(super) packet: &'a Packet,
}

/// Counts a packet that the agent has stored: by its receipt, if that can be read, and by what it says it counted.
pub(super) fn stored(node: &Node, leg: Leg<'_>, receipt: &[u8], metered: Option<u64>) {
    let receipt = serde_json::from_slice::<Receipt>(receipt).ok();
    let bytes = length(leg.packet);
    post(node, leg, bytes, account::carried(receipt.map(|receipt| receipt.stored), metered, bytes));
    flusher::ring(&node.peers, &leg.agent.ledger, node.config.voucher_bytes);
}

fn post(node: &Node, leg: Leg<'_>, length: u64, verdict: Carried) {
    let Leg { to: agent, forwarding, packet, .. } = leg;
    let again = node.peers.seen.again(agent, packet.as_bytes());
    let (bytes, disputed) = match verdict {
        Carried::Agreed(bytes) => (bytes, false),
        Carried::Disputed(bytes) => {
            node.metrics.relay_counts_disputed.increment(1);
            tracing::warn!(%agent, bytes, "an agent stored a packet and counts another length of it");
            (bytes, true)
        }
        Carried::Duplicate(bytes) => {
            if !again {
                node.metrics.relay_duplicate_bytes.increment(length);
                forwarding.in_vain(length);
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
