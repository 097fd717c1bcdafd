//! As agent: several packets that a relay brings in one request. Each is judged, counted and answered as if it had come by
//! itself, and takes its own place among the requests; all are handed to the writer at once, so that one commit makes them
//! durable. What would have to ask the chain first is left alone: the relay brings it again by itself, and the others do not
//! wait for it.

use std::{sync::Arc, time::Instant};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::future::join_all;
use hyper::{
    HeaderMap,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
};
use minus_protocol::{
    CONTENT_BUNDLE, Judgement, Packet, Status,
    bundle::{join_answers, split},
};

use super::{
    answer::{self, Refused},
    body, deposit,
    deposit::Deposited,
    places::Guest,
    reason::Reason,
    surface,
};
use crate::{node::Node, store::packets::Relay};

/// Whether a POST says that it brings a bundle.
pub(super) fn is_one(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|content| content == CONTENT_BUNDLE)
}

/// Judges each packet of a bundle and answers when all are judged.
pub(super) async fn open(
    node: &Arc<Node>,
    guest: &Guest,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response, Refused> {
    let bytes = body::read(body, guest).await?;
    let relay = surface::session(node, headers).await?.ok_or(Reason::NotABundle)?;
    let parts = split(&bytes).map_err(|error| Reason::of_bundle_error(&error))?;
    tracing::debug!(packets = parts.len(), "bundle");
    // Copied, so that a packet that is kept for long does not keep the others' bytes with it.
    let packets: Vec<_> = parts.into_iter().map(|part| Packet::parse(Bytes::copy_from_slice(part))).collect();
    drop(bytes);
    let judging = packets.into_iter().map(|packet| async move {
        match packet {
            Ok(packet) => judged(node, one(node, packet, relay).await),
            Err(error) => judged(node, Err(Reason::of_packet_error(&error).into())),
        }
    });
    let mut response = Response::new(Body::from(join_answers(&join_all(judging).await)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_BUNDLE));
    Ok(response)
}

/// What became of one packet; none when nothing was done about it.
async fn one(node: &Node, packet: Packet, relay: Relay) -> Result<Option<Deposited>, Refused> {
    let _place = surface::request_place(node)?;
    let came = Instant::now();
    let recipient = packet.recipient();
    tracing::debug!(%recipient, bytes = packet.len(), relayed = true, "packet");
    if recipient == node.address() {
        return Err(Reason::BundledCommand.into());
    }
    let deposited = deposit::deposit_at_once(node, packet, relay).await?;
    if deposited.is_some() {
        node.metrics.deposit_seconds.record(came.elapsed());
    }
    Ok(deposited)
}

fn judged(node: &Node, outcome: Result<Option<Deposited>, Refused>) -> Judgement {
    let (status, metered, body) = match outcome {
        Ok(None) => return Judgement::Alone,
        Ok(Some(Deposited { stored, metered })) => (Status::Stored, metered, answer::receipt(stored).into()),
        Err(refused) => {
            refused.log();
            node.metrics.refused.of(refused.reason()).increment(1);
            (refused.status(), 0, Bytes::from_static(refused.reason().text().as_bytes()))
        }
    };
    node.metrics.answers.of(status).increment(1);
    Judgement::Answered { status, metered, body }
}
