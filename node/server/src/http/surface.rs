//! One handler for a POST to any path. It looks at nothing but the packet's address.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::primitives::keccak256;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, Limited};
use minus_protocol::{
    PACKET_BYTES_MAX, Packet, Status,
    headers::{PEER_SESSION, decode_token},
};

use super::{answer::Refused, commands, deposit, forward, reason::Reason};
use crate::{
    clock,
    metrics::Limit,
    node::Node,
    store::{customers, packets::Relay, peers},
};

/// A packet has to arrive whole by then: a mebibyte in this time is 280 kbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn router(node: Arc<Node>) -> Router {
    Router::new().fallback(accept).with_state(node)
}

async fn accept(State(node): State<Arc<Node>>, request: Request) -> Response {
    let response = match handle(&node, request).await {
        Ok(response) => response,
        Err(refused) => {
            node.metrics.refused.of(refused.reason()).increment(1);
            refused.into_response()
        }
    };
    if let Some(status) = Status::from_code(response.status().as_u16()) {
        node.metrics.answers.of(status).increment(1);
    }
    response
}

async fn handle(node: &Arc<Node>, request: Request) -> Result<Response, Refused> {
    let _place = node.requests.try_acquire().map_err(|_| {
        node.metrics.limit_reached.of(Limit::Requests).increment(1);
        Reason::RequestsFull
    })?;
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return Err(Reason::Method.into());
    }
    let packet = Packet::parse(read(&parts.headers, body).await?).map_err(|error| Reason::of_packet_error(&error))?;
    let came = Instant::now();
    let relay = session(node, &parts.headers).await?;

    let recipient = packet.recipient();
    tracing::debug!(%recipient, bytes = packet.len(), relayed = relay.is_some(), "packet");
    if recipient == node.address() {
        return commands::obey(node, &packet, relay).await;
    }
    match customers::wallet(node.store.readers(), recipient).await? {
        Some(wallet) if deposit::is_agent_of(node, recipient).await? => {
            let deposited = deposit::deposit(node, packet, wallet.payer, relay).await?;
            node.metrics.deposit_seconds.record(came.elapsed());
            Ok(deposited)
        }
        // What a relay sent here was meant for here: passing it on could go round in circles.
        _ if relay.is_some() => Err(Reason::NotTheAgent.into()),
        _ => {
            let forwarded = forward::forward(node, packet).await?;
            node.metrics.forward_seconds.record(came.elapsed());
            Ok(forwarded)
        }
    }
}

/// The body, never more of it than a packet has.
async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Refused> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > PACKET_BYTES_MAX)) {
        return Err(Reason::TooLarge.into());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, PACKET_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Reason::TooLarge.into()),
        Ok(Err(_)) => Err(Reason::BodyBrokenOff.into()),
        Err(_) => Err(Reason::BodyTooSlow.into()),
    }
}

/// The relay that forwards, if it says it is one. A session that is not open is not ignored: the relay would not be
/// paid for what it carries.
async fn session(node: &Node, headers: &HeaderMap) -> Result<Option<Relay>, Refused> {
    let Some(value) = headers.get(PEER_SESSION) else { return Ok(None) };
    let unknown = || Refused::For(Reason::UnknownSession);
    let token = value.to_str().ok().and_then(decode_token).ok_or_else(unknown)?;
    let relay = peers::session(node.store.readers(), keccak256(token), clock::now_s()).await?;
    relay.map(Some).ok_or_else(unknown)
}
