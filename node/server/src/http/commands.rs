//! Packets to the node's own address: opened, checked for freshness, obeyed once, answered under their own password.

use std::sync::Arc;

use alloy::primitives::{Address, B256, keccak256};
use axum::response::Response;
use minus_bindings::{Amount, Entrustment, SignedVoucher, recover};
use minus_protocol::{
    Command, CommandBody, Packet, Refusal, RelayStatement, Reply, SessionKey, check_fresh, open, random_bytes,
};

use super::{
    answer::{self, Refused},
    deposit,
    reason::Reason,
    subscribe::{self, Resumed, Wish},
};
use crate::{
    chain::NodeRecord,
    clock,
    node::Node,
    store::{
        Touch, commands,
        customers::{self, Entrusting},
        packets::Relay,
        peers::{self, NewSession},
        statements::{self, Acknowledged, Acknowledgement},
    },
};

/// How long a relay's session lasts. It costs the relay one signature a day.
const PEER_SESSION_S: u64 = 86_400;

/// A command whose sender and freshness are proven.
struct Order {
    sender: Address,
    sent_at_ms: u64,
    /// The packet's id: a command is obeyed once.
    id: B256,
    /// The relay it came through.
    relay: Option<Relay>,
}

/// Opens and obeys.
/// What came by GET only subscribes.
pub(crate) async fn obey(
    node: &Arc<Node>,
    packet: &Packet,
    relay: Option<Relay>,
    resumed: Option<Resumed>,
) -> Result<Response, Refused> {
    let opened = open(packet, &node.key.sealing, &node.routing_domain).map_err(|_| Reason::Unopenable)?;
    let Command { session, body } = Command::decode(&opened.body).map_err(|_| Reason::NotACommand)?;
    let order = Order { sender: opened.sender, sent_at_ms: opened.sent_at_ms, id: packet.id(), relay };
    if let CommandBody::Subscribe { resume_after } = body {
        let wish = Wish {
            wallet: order.sender,
            packet: order.id,
            sent_at_ms: order.sent_at_ms,
            resume_after,
            resumed,
            relay: order.relay,
        };
        let opened = subscribe::open(node, &session, wish).await;
        return Ok(opened.unwrap_or_else(|refusal| refuse(node, &session, refusal)));
    }
    if resumed.is_some() {
        return Err(Reason::GetSubscribes.into());
    }
    if check_fresh(order.sent_at_ms, clock::now_ms()).is_err() {
        return Ok(refuse(node, &session, Refusal::Stale));
    }
    let reply = match dispatch(node, &order, body).await {
        Ok(reply) => reply,
        Err(refusal) => return Ok(refuse(node, &session, refusal)),
    };
    Ok(answer::sealed(&node.metrics, &session, &reply))
}

fn refuse(node: &Node, session: &SessionKey, refusal: Refusal) -> Response {
    answer::sealed(&node.metrics, session, &Reply::refused(refusal, refusal.to_string()))
}

async fn dispatch(node: &Arc<Node>, order: &Order, body: CommandBody) -> Result<Reply, Refusal> {
    match body {
        CommandBody::Entrust { payer, base, consent } => entrust(node, order, payer, base, consent).await,
        CommandBody::Acknowledge { statement, voucher } => acknowledge(node, order, statement, voucher).await,
        CommandBody::Statement => picture(node, order).await,
        CommandBody::OpenPeerSession => open_peer_session(node, order).await,
        CommandBody::RequestVoucher { inbound_bytes, outbound_bytes } => {
            request_voucher(node, order, inbound_bytes, outbound_bytes).await
        }
        CommandBody::Subscribe { .. } => Err(Refusal::Failed), // answered by a stream, above
    }
}

/// What a stranger is told of a failure inside.
pub(super) fn inside(error: impl Into<Refused>) -> Refusal {
    let error = error.into();
    if error.is_internal() {
        tracing::warn!(%error, "a command could not be obeyed");
    }
    error.refusal()
}

async fn entrust(
    node: &Arc<Node>,
    order: &Order,
    payer: Address,
    base: Amount,
    consent: Option<[u8; 65]>,
) -> Result<Reply, Refusal> {
    let own = node.in_office().await.map_err(inside)?;
    if payer != order.sender {
        let entrustment = Entrustment {
            wallet: order.sender,
            payer,
            agent: node.address(),
            base: base.to_u96(),
            sentAtMs: order.sent_at_ms,
        };
        let signer = consent.and_then(|signature| recover(&entrustment, &node.routing_domain, &signature).ok());
        if signer != Some(payer) {
            return Err(Refusal::BadConsent);
        }
    }
    // No lane leads from an operator to itself.
    if payer == own.operator {
        return Err(Refusal::BadConsent);
    }
    if !deposit::is_agent_of(node, order.sender).await.map_err(inside)? {
        return Err(Refusal::NotEntrusted);
    }
    let lane = node.view.named_lane(payer, own.operator).await.map_err(inside)?;
    let entrusting =
        Entrusting { command: order.id, wallet: order.sender, payer, declared: base, lane, now_s: clock::now_s() };
    let entrusted = node.store.entrust(entrusting).await.map_err(inside)?;
    match entrusted {
        None => Err(Refusal::Replayed),
        Some(customers::Entrusted::Unfunded) => Err(Refusal::Unfunded),
        Some(customers::Entrusted::Yes { base }) => Ok(Reply::Entrusted { base }),
    }
}

async fn acknowledge(
    node: &Arc<Node>,
    order: &Order,
    statement: u64,
    voucher: SignedVoucher,
) -> Result<Reply, Refusal> {
    let own = node.record().await.map_err(inside)?;
    let payer = node.store.payer_of(order.sender).ok_or(Refusal::NotEntrusted)?;
    let signer = voucher.signer(&node.escrow_domain).map_err(|_| Refusal::BadVoucher)?;
    let signer_authorized = node.view.may_sign(payer, signer).await.map_err(inside)?;
    let offered = Acknowledgement {
        command: order.id,
        now_s: clock::now_s(),
        wallet: order.sender,
        payer,
        statement,
        voucher,
        signer_authorized,
        lane: node.view.lane(payer, own.operator).await.map_err(inside)?,
        own_operator: own.operator,
    };
    // What came through a relay was probably pushed through it.
    let touch = if order.relay.is_some() { Touch::AccountOf(order.sender) } else { Touch::Room(payer) };
    let mut outcome = book(node, offered.clone(), touch).await?;
    if outcome == Acknowledged::Refused(Refusal::VoucherAboveLane) {
        let lane = node.view.refresh_lane(payer, own.operator).await.map_err(inside)?;
        if lane != offered.lane {
            outcome = book(node, Acknowledgement { lane, ..offered }, touch).await?;
        }
    }
    match outcome {
        Acknowledged::Yes { total, through } => {
            node.metrics.statements_acknowledged.increment(1);
            node.subscriptions.acknowledged(payer, order.sender, through);
            node.outbox_bell.notify_one();
            Ok(Reply::Acknowledged { total })
        }
        Acknowledged::Refused(refusal) => {
            if refusal == Refusal::Superseded {
                node.subscriptions.bill_again(order.sender);
            }
            Err(refusal)
        }
        // Not when that may be touched.
        Acknowledged::OwesRelay => Err(Refusal::Failed),
    }
}

async fn book(node: &Node, offered: Acknowledgement, touch: Touch) -> Result<Acknowledged, Refusal> {
    let touching = async |touch| {
        let offered = offered.clone();
        let writer = node.store.writer().touching(touch);
        let booking = writer.write(move |connection| {
            Box::pin(async move { statements::acknowledge(connection, &offered, touch).await })
        });
        booking.await.map_err(inside)
    };
    match touching(touch).await? {
        Acknowledged::OwesRelay => touching(Touch::AccountOf(offered.wallet)).await,
        outcome => Ok(outcome),
    }
}

async fn picture(node: &Node, order: &Order) -> Result<Reply, Refusal> {
    let (id, wallet) = (order.id, order.sender);
    node.store
        .writer()
        .touching(Touch::Nothing)
        .write(move |connection| {
            Box::pin(async move {
                let now_s = clock::now_s();
                let Some(statement) = statements::picture(connection, wallet, now_s).await? else {
                    return Ok(Err(Refusal::NotEntrusted));
                };
                let first = commands::first_time(connection, id, now_s).await?;
                Ok(if first { Ok(Reply::Statement(statement)) } else { Err(Refusal::Replayed) })
            })
        })
        .await
        .map_err(inside)?
}

/// The sender as a node of the routing table, retired ones included.
async fn peer(node: &Node, order: &Order) -> Result<(Relay, Arc<NodeRecord>), Refusal> {
    let record = match node.view.node(order.sender) {
        Some(known) => known,
        // It may have registered a moment ago.
        None => node.view.refresh_node(order.sender).await.map_err(inside)?.ok_or(Refusal::NotANode)?,
    };
    Ok((Relay { node: order.sender, operator: record.operator }, record))
}

async fn open_peer_session(node: &Node, order: &Order) -> Result<Reply, Refusal> {
    let own = node.in_office().await.map_err(inside)?;
    let (relay, record) = peer(node, order).await?;
    if !record.is_live() {
        return Err(Refusal::NotANode);
    }
    let base = if relay.operator == own.operator {
        Amount::ZERO
    } else {
        node.view.lane(own.operator, relay.operator).await.map_err(inside)?.paid
    };
    let token: [u8; 32] = random_bytes();
    let now_s = clock::now_s();
    let expires_at = now_s.saturating_add(PEER_SESSION_S);
    let new = NewSession { command: order.id, now_s, token_hash: keccak256(token), relay, expires_at, base };
    let opened = node
        .store
        .writer()
        .write(move |connection| Box::pin(async move { peers::open_session(connection, &new).await }))
        .await
        .map_err(inside)?;
    node.sessions.forget(relay.node);
    if opened {
        Ok(Reply::PeerSession { token, expires_at_ms: expires_at.saturating_mul(1_000) })
    } else {
        Err(Refusal::Replayed)
    }
}

async fn request_voucher(node: &Node, order: &Order, inbound: u128, outbound: u128) -> Result<Reply, Refusal> {
    let own = node.record().await.map_err(inside)?;
    // A relay that has retired is still paid for what it carried.
    let (relay, _) = peer(node, order).await?;
    let may_sign = node.view.may_sign(own.operator, node.address()).await.map_err(inside)?;
    let (id, payer) = (order.id, own.operator);
    let (domain, signer) = (node.escrow_domain.clone(), node.key.signer.clone());
    let statement = node
        .store
        .writer()
        .write(move |connection| {
            Box::pin(async move {
                if !commands::first_time(connection, id, clock::now_s()).await? {
                    return Ok(None);
                }
                let (inbound_bytes, outbound_bytes) = peers::counts_at_agent(connection, relay.node).await?;
                let owed = peers::owed(connection, relay.operator).await?;
                let (base, lines, total) =
                    owed.map_or((Amount::ZERO, Vec::new(), Amount::ZERO), |owed| (owed.base, owed.lines, owed.total));
                let voucher = (may_sign && total > base && relay.operator != payer)
                    .then(|| SignedVoucher::sign(payer, relay.operator, total, &domain, &signer));
                if voucher.is_some() {
                    peers::promise(connection, relay.operator, total).await?;
                }
                Ok(Some(RelayStatement {
                    operator_payer: payer,
                    base,
                    lines,
                    inbound_bytes,
                    outbound_bytes,
                    total,
                    voucher,
                }))
            })
        })
        .await
        .map_err(inside)?
        .ok_or(Refusal::Replayed)?;
    // The relay may be ahead by what is not acknowledged yet, never by what it was not given; inbound it never honestly
    // is. Either way it is paid this agent's count.
    let (inbound_excess, outbound_excess) =
        (inbound.saturating_sub(statement.inbound_bytes), node.claims.excess(relay.node, outbound));
    if inbound_excess > 0 || outbound_excess > 0 {
        node.metrics.relay_counts_disputed.increment(1);
        tracing::warn!(relay = %relay.node, inbound_excess, outbound_excess, "a relay counts more than it carried");
    }
    Ok(Reply::RelayVoucher(statement))
}
