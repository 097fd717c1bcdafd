//! Everything that is not this node's own: a reverse proxy keyed by the packet's address. It learns the recipient and
//! the size, and logs no more (law 10). What it carries it counts, and past its credit limit it stops (law 12).

use std::sync::Arc;

use alloy::primitives::Address;
use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use futures_util::{Stream, StreamExt};
use minus_protocol::{
    Packet, RelayCounter, Status,
    headers::{CONTENT_PACKET, CONTENT_STREAM, LAST_EVENT_ID, METERED, PEER_SESSION, encode_token},
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    answer::{Refused, code},
    reason::Reason,
    subscribe::Resumed,
};
use crate::{
    chain::NodeRecord,
    clock,
    node::Node,
    relay::{
        account,
        peers::{self, ANSWER_TIMEOUT, Agent, Forwarding, PeerError, STREAMS_PER_AGENT_MAX},
    },
    store::{packets::Relay, peers as books},
};

/// Outbound bytes are written down at least this often. A crash loses at most as much of the count, and the agent's
/// higher one is believed then.
const COUNT_EVERY_BYTES: u64 = 1 << 20;
/// The same in time.
const COUNT_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// The node responsible for an address.
struct Target {
    node: Address,
    record: NodeRecord,
}

/// Forwards a packet and streams the answer back. After a 421 everything known is refreshed and it is tried once more.
/// What came by GET goes on by GET.
pub(crate) async fn forward(node: &Arc<Node>, packet: Packet, resumed: Option<Resumed>) -> Result<Response, Refused> {
    let forwarded = try_forward(node, packet, resumed).await;
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

async fn try_forward(node: &Arc<Node>, packet: Packet, resumed: Option<Resumed>) -> Result<Response, Refused> {
    node.in_office().await?;
    let recipient = packet.recipient();
    let target = responsible(node, recipient, false).await?;
    check_credit(node, &target).await?;
    let length = u64::try_from(packet.len()).expect("a packet's length fits 64 bits");
    let (sent, target) = match send(node, &target, &packet, resumed).await? {
        sent if sent.response.status().as_u16() == Status::Misdirected.code() => {
            drop(sent);
            node.view.refresh_node(target.node).await?;
            let target = responsible(node, recipient, true).await?;
            check_credit(node, &target).await?;
            (send(node, &target, &packet, resumed).await?, target)
        }
        sent => (sent, target),
    };
    pass_back(node, sent, &target, length).await
}

/// The node an address leads to: itself, or its agent.
async fn responsible(node: &Node, recipient: Address, refreshed: bool) -> Result<Target, Refused> {
    let no_route = || Refused::For(Reason::NoRoute);
    let responsible = if node.view.is_known_node(recipient).await? {
        recipient // also when somebody gave a node's key a wallet's route
    } else {
        let agent = if refreshed {
            node.view.refresh_agent_of(recipient).await?
        } else {
            node.view.agent_of(recipient).await?
        };
        agent.unwrap_or(recipient)
    };
    if responsible == node.address() {
        return Err(Reason::NotEntrusted.into());
    }
    let record = node.view.node(responsible).await?.ok_or_else(no_route)?;
    if record.is_live() { Ok(Target { node: responsible, record }) } else { Err(no_route()) }
}

/// Refuses to carry for an agent that owes too much.
async fn check_credit(node: &Node, target: &Target) -> Result<(), Refused> {
    let Some(earned) = books::earned(node.store.readers(), target.node).await? else { return Ok(()) };
    let (version, tariff) = target.record.tariff_at(clock::now_s());
    if account::exposure(&earned, version, tariff) <= node.config.relay_credit {
        return Ok(());
    }
    Err(Reason::AgentOwes.into())
}

fn unreachable(agent: Address, error: &PeerError) -> Refused {
    tracing::warn!(%agent, %error, "an agent could not be reached");
    Reason::AgentUnreachable.into()
}

/// A session's token as a header that is neither printed nor indexed.
fn secret(token: &[u8; 32]) -> Result<HeaderValue, Refused> {
    let mut value = HeaderValue::try_from(encode_token(token)).map_err(|_| Reason::AgentUnreachable)?;
    value.set_sensitive(true);
    Ok(value)
}

/// An answer that is not counted yet.
struct Sent {
    response: reqwest::Response,
    forwarding: Forwarding,
}

/// One attempt. A 421 drops the session.
async fn send(node: &Node, target: &Target, packet: &Packet, resumed: Option<Resumed>) -> Result<Sent, Refused> {
    let unreachable = |error: PeerError| unreachable(target.node, &error);
    let state = node.peers.agent(target.node).map_err(unreachable)?;
    let _place = state.places.try_acquire().map_err(|_| Reason::AgentFull)?;
    let token = peers::token(node, target.node, &target.record).await.map_err(unreachable)?;
    let endpoint = &target.record.endpoint;
    let request = match resumed {
        None => node
            .egress
            .post(endpoint)
            .map(|request| request.header(header::CONTENT_TYPE, CONTENT_PACKET).body(packet.clone().into_bytes())),
        Some(Resumed { last_event_id }) => node.egress.get(endpoint, packet).map(|request| {
            last_event_id.into_iter().fold(request, |request, id| request.header(LAST_EVENT_ID, id.to_string()))
        }),
    };
    let request = request.map_err(|error| unreachable(error.into()))?.header(PEER_SESSION, secret(&token)?);
    let forwarding = Forwarding::begin(Arc::clone(&state));
    let response = tokio::time::timeout(ANSWER_TIMEOUT, request.send())
        .await
        .map_err(|_| unreachable(PeerError::Transport("no answer in time".to_owned())))?
        .map_err(|error| unreachable(error.into()))?;
    if response.status().as_u16() == Status::Misdirected.code() {
        peers::drop_session(node, target.node, &token).await;
    }
    Ok(Sent { response, forwarding })
}

async fn pass_back(
    node: &Arc<Node>,
    Sent { response, forwarding }: Sent,
    target: &Target,
    length: u64,
) -> Result<Response, Refused> {
    let status = Status::from_code(response.status().as_u16())
        .ok_or_else(|| unreachable(target.node, &PeerError::Unexpected))?;
    let content = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let agent = Relay { node: target.node, operator: target.record.operator };
    if status == Status::Answered && content.starts_with(CONTENT_STREAM) {
        return pipe(node, response, agent);
    }
    let content = match content {
        "application/json" => "application/json",
        CONTENT_PACKET => CONTENT_PACKET,
        _ => "text/plain; charset=utf-8",
    };
    if status == Status::Stored {
        let metered = response.headers().get(METERED).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        // Never more than the packet has, whatever the agent says.
        let carried = metered.unwrap_or(0).min(length);
        if carried > 0 {
            count(node, agent, carried, 0).await;
        }
    }
    drop(forwarding);
    let body = peers::read_bounded(response).await.map_err(|error| unreachable(target.node, &error))?;
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = code(status);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    Ok(answer)
}

/// Writes carried bytes down, and rings for a voucher when there is enough.
async fn count(node: &Node, agent: Relay, inbound: u64, outbound: u64) {
    node.metrics.bytes_relayed_in.increment(inbound);
    node.metrics.bytes_relayed_out.increment(outbound);
    let counted = node
        .store
        .writer()
        .write_patiently(move |connection| {
            Box::pin(async move {
                books::count_at_relay(connection, agent, u128::from(inbound), u128::from(outbound)).await
            })
        })
        .await;
    if let Err(error) = counted {
        tracing::error!(agent = %agent.node, %error, "carried bytes could not be counted");
    }
    if let Ok(state) = node.peers.agent(agent.node) {
        let unasked = state.count(|counters| {
            counters.bytes_unasked = counters.bytes_unasked.saturating_add(inbound).saturating_add(outbound);
            counters.bytes_unasked
        });
        if unasked >= node.config.voucher_bytes {
            node.peers.bell.notify_one();
        }
    }
}

/// A stream being piped. Dropping it, however it ended, writes the last count down.
struct Piped {
    node: Arc<Node>,
    agent: Relay,
    state: Arc<Agent>,
    counter: RelayCounter,
    uncounted: u64,
    counted_at: Instant,
    _place: OwnedSemaphorePermit,
}

impl Piped {
    /// Bytes that are to be written down now, if any.
    fn carried(&mut self, chunk: &[u8]) -> Option<u64> {
        self.uncounted = self.uncounted.saturating_add(self.counter.push(chunk));
        let due = self.uncounted >= COUNT_EVERY_BYTES || self.counted_at.elapsed() >= COUNT_EVERY;
        if !due || self.uncounted == 0 {
            return None;
        }
        self.counted_at = Instant::now();
        Some(std::mem::take(&mut self.uncounted))
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let (node, agent, outbound) = (Arc::clone(&self.node), self.agent, self.uncounted);
        let state = Arc::clone(&self.state);
        self.node.metrics.streams_open.decrement(1.0);
        self.node.tasks.spawn(async move {
            if outbound > 0 {
                count(&node, agent, 0, outbound).await;
            }
            state.count(|counters| counters.streams = counters.streams.saturating_sub(1));
        });
    }
}

fn pipe(node: &Arc<Node>, response: reqwest::Response, agent: Relay) -> Result<Response, Refused> {
    let full = || Refused::For(Reason::StreamsFull);
    let place = Arc::clone(&node.streams).try_acquire_owned().map_err(|_| full())?;
    let state = node.peers.agent(agent.node).map_err(|error| unreachable(agent.node, &error))?;
    let has_room = state.count(|counters| {
        let has_room = counters.streams < STREAMS_PER_AGENT_MAX;
        counters.streams += usize::from(has_room);
        has_room
    });
    if !has_room {
        return Err(full());
    }
    node.metrics.streams_open.increment(1.0);
    let piped = Piped {
        node: Arc::clone(node),
        agent,
        state,
        counter: RelayCounter::new(),
        uncounted: 0,
        counted_at: Instant::now(),
        _place: place,
    };
    let mut answer = Response::new(Body::from_stream(chunks(piped, response)));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_STREAM));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

fn chunks(mut piped: Piped, response: reqwest::Response) -> impl Stream<Item = Result<Bytes, PeerError>> {
    async_stream::stream! {
        let mut source = response.bytes_stream();
        loop {
            let chunk = tokio::select! {
                biased;
                () = piped.node.stop.cancelled() => return,
                chunk = source.next() => chunk,
            };
            match chunk {
                None => return,
                Some(Err(error)) => {
                    yield Err(error.into());
                    return;
                }
                Some(Ok(chunk)) => {
                    let due = piped.carried(&chunk);
                    yield Ok(chunk);
                    if let Some(outbound) = due {
                        let node = Arc::clone(&piped.node);
                        count(&node, piped.agent, 0, outbound).await;
                    }
                }
            }
        }
    }
}
