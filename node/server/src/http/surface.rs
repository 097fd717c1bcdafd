//! One handler for any path. It looks at nothing but the packet's address: in the body of a POST, or in the query of the GET
//! with which a browser's `EventSource` subscribes. A page of any origin may do both; no answer depends on who asks.

use std::{convert::Infallible, sync::Arc, time::Instant};

use alloy::primitives::keccak256;
use axum::{
    http::{HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use hyper::{HeaderMap, Method, Request, body::Incoming, service::service_fn};
use minus_protocol::{
    Packet, Status,
    headers::{PACKET_QUERY, PEER_SESSION, QueryError, decode_packet_query, decode_token},
};
use tokio::{net::TcpListener, runtime::Handle, sync::SemaphorePermit};
use tokio_util::task::TaskTracker;

use super::{
    answer::{self, Refused},
    body, bundled, commands, deposit, forward,
    places::Guest,
    reason::Reason,
    serve::{self, Door},
    subscribe::Resumed,
};
use crate::{clock, metrics::Limit, node::Node, store::packets::Relay};

/// How long a browser need not ask again, in seconds: a day, though some believe two hours at most.
const PREFLIGHT_AGE_S: &str = "86400";

/// Serves the public port until the node stops.
pub(crate) async fn serve(
    node: Arc<Node>,
    listener: TcpListener,
    cores: impl Iterator<Item = Handle>,
    connections: TaskTracker,
) {
    let door = Door {
        listener,
        cores,
        places: Arc::clone(&node.places),
        stall_timeout: node.config.stall_timeout,
        metrics: Arc::clone(&node.metrics),
        stop: node.stop.clone(),
        connections,
    };
    let answers = |guest: Arc<Guest>| {
        let node = Arc::clone(&node);
        service_fn(move |request| {
            let (node, guest) = (Arc::clone(&node), Arc::clone(&guest));
            // In a box: HTTP moves it about, and it is large.
            Box::pin(async move { Ok::<_, Infallible>(accept(&node, &guest, request).await) })
        })
    };
    serve::serve(door, answers).await;
}

async fn accept(node: &Arc<Node>, guest: &Guest, request: Request<Incoming>) -> Response {
    let (parts, body) = request.into_parts();
    let answered = match parts.method {
        Method::OPTIONS => Ok(preflight()),
        // In a box: it is rare, or brings many. Each packet in it is counted as an answer, the whole is none.
        Method::POST if bundled::is_one(&parts.headers) => {
            Box::pin(bundled::open(node, guest, &parts.headers, body)).await
        }
        _ => handle(node, guest, &parts, body).await.inspect(|response| {
            if let Some(status) = Status::from_code(response.status().as_u16()) {
                node.metrics.answers.of(status).increment(1);
            }
        }),
    };
    let mut response = answered.unwrap_or_else(|refused| {
        node.metrics.refused.of(refused.reason()).increment(1);
        node.metrics.answers.of(refused.status()).increment(1);
        refused.into_response()
    });
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// A browser asks before it posts a packet from another origin. It may, without credentials: there are none here.
fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type, last-event-id"),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE_S),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn handle(node: &Arc<Node>, guest: &Guest, parts: &Parts, body: Incoming) -> Result<Response, Refused> {
    let (packet, resumed) = match parts.method {
        Method::POST => {
            let bytes = body::read(body, guest).await?;
            (Packet::parse(bytes).map_err(|error| Reason::of_packet_error(&error))?, None)
        }
        Method::GET => (queried(&parts.uri)?, Some(Resumed::of(&parts.headers))),
        _ => return Err(Reason::Method.into()),
    };
    // Only now: a body that comes slowly, or never, does not keep a place from one that is there.
    let _place = request_place(node)?;
    let came = Instant::now();
    let relay = session(node, &parts.headers).await?;

    let recipient = packet.recipient();
    tracing::debug!(%recipient, bytes = packet.len(), relayed = relay.is_some(), "packet");
    if recipient == node.address() {
        // In a box: it is large, and every request would be as large.
        return Box::pin(commands::obey(node, &packet, relay, resumed)).await;
    }
    if resumed.is_some() && !node.view.is_known_node(recipient) {
        return Err(Reason::GetSubscribes.into());
    }
    match node.store.payer_of(recipient) {
        Some(payer) if deposit::is_agent_of(node, recipient).await? => {
            let deposited = deposit::deposit(node, packet, payer, relay).await?;
            node.metrics.deposit_seconds.record(came.elapsed());
            Ok(answer::stored(deposited.stored, relay.map(|_| deposited.metered)))
        }
        // What a relay sent here was meant for here: passing it on could go round in circles.
        _ if relay.is_some() => Err(Reason::NotTheAgent.into()),
        _ => {
            let forwarded = forward::forward(node, packet, resumed).await?;
            node.metrics.forward_seconds.record(came.elapsed());
            Ok(forwarded)
        }
    }
}

/// A place for a packet in work.
pub(super) fn request_place(node: &Node) -> Result<SemaphorePermit<'_>, Reason> {
    node.requests.try_acquire().map_err(|_| {
        node.metrics.limit_reached.of(Limit::Requests).increment(1);
        Reason::RequestsFull
    })
}

/// The packet in a GET's query, and nothing else there.
fn queried(uri: &Uri) -> Result<Packet, Reason> {
    let packet = uri.query().and_then(|query| query.strip_prefix(PACKET_QUERY)?.strip_prefix('='));
    decode_packet_query(packet.ok_or(Reason::GetSubscribes)?).map_err(|error| match error {
        QueryError::Encoding => Reason::NotAPacket,
        QueryError::Packet(error) => Reason::of_packet_error(&error),
    })
}

/// The relay that forwards, if it says it is one. A session that is not open is not ignored: the relay would not be
/// paid for what it carries.
pub(super) async fn session(node: &Node, headers: &HeaderMap) -> Result<Option<Relay>, Refused> {
    let Some(value) = headers.get(PEER_SESSION) else { return Ok(None) };
    let unknown = || Refused::For(Reason::UnknownSession);
    let token = value.to_str().ok().and_then(decode_token).ok_or_else(unknown)?;
    let relay = node.sessions.relay(&node.store, keccak256(token), clock::now_s()).await?;
    relay.map(Some).ok_or_else(unknown)
}
