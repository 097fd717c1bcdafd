//! One handler for a POST to any path. It looks at nothing but the packet's address.

use std::{sync::Arc, time::Duration};

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

use super::{answer::Refused, commands, deposit, forward};
use crate::{
    clock,
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
        Err(refused) => refused.into_response(),
    };
    node.metrics.answered(response.status().as_u16());
    response
}

async fn handle(node: &Arc<Node>, request: Request) -> Result<Response, Refused> {
    let _place = node
        .requests
        .try_acquire()
        .map_err(|_| Refused::With(Status::TooMany, "this node is at its limit of requests"))?;
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return Err(Refused::With(Status::Malformed, "only POST is answered"));
    }
    let packet = Packet::parse(read(&parts.headers, body).await?)
        .map_err(|error| Refused::With(Status::of_packet_error(&error), "not a packet"))?;
    let relay = session(node, &parts.headers).await?;

    let recipient = packet.recipient();
    tracing::debug!(%recipient, bytes = packet.len(), relayed = relay.is_some(), "packet");
    if recipient == node.address() {
        return commands::obey(node, &packet, relay).await;
    }
    match customers::wallet(node.store.readers(), recipient).await? {
        Some(wallet) if deposit::is_agent_of(node, recipient).await? => {
            deposit::deposit(node, packet, wallet.payer, relay).await
        }
        // What a relay sent here was meant for here: passing it on could go round in circles.
        _ if relay.is_some() => Err(Refused::With(Status::Misdirected, "this node is not the agent")),
        _ => forward::forward(node, packet).await,
    }
}

/// The body, never more of it than a packet has.
async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Refused> {
    let too_large = || Refused::With(Status::TooLarge, "longer than a packet");
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > PACKET_BYTES_MAX)) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, PACKET_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Refused::With(Status::Malformed, "the body broke off")),
        Err(_) => Err(Refused::With(Status::Malformed, "the body came too slowly")),
    }
}

/// The relay that forwards, if it says it is one. A session that is not open is not ignored: the relay would not be
/// paid for what it carries.
async fn session(node: &Node, headers: &HeaderMap) -> Result<Option<Relay>, Refused> {
    let Some(value) = headers.get(PEER_SESSION) else { return Ok(None) };
    let unknown = || Refused::With(Status::Misdirected, "no such peer session");
    let token = value.to_str().ok().and_then(decode_token).ok_or_else(unknown)?;
    let relay = peers::session(node.store.readers(), keccak256(token), clock::now_s()).await?;
    relay.map(Some).ok_or_else(unknown)
}
