//! Asks agents for vouchers: every `voucher_interval` while something is owed, at once after `voucher_bytes`.

use std::{cmp::Ordering, sync::Arc};

use alloy::primitives::Address;
use futures_util::StreamExt;
use minus_bindings::SignedVoucher;
use minus_protocol::{CommandBody, RelayStatement, Reply};

use super::{
    account::{self, Unpaid},
    peers::{self, Agent, PeerError},
};
use crate::{
    chain::{NodeRecord, view::ViewError},
    clock,
    node::Node,
    store::{
        StoreError,
        packets::Relay,
        peers::{self as books, Earned},
    },
};

/// Agents asked at the same time.
const ASKED_AT_ONCE: usize = 8;

/// Why no voucher was collected. Tried again at the next interval.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Unpaid(#[from] Unpaid),
    #[error("an agent or this node is not in the routing table")]
    Unregistered,
}

/// Every so many rounds, agents with bytes written off are asked too: their customers may have acknowledged late, by
/// another way.
const LATE_EVERY_ROUNDS: u32 = 10;

/// Runs until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let mut rounds = 0_u32;
    // Of its own, so that being rung for often never keeps a round from coming.
    let mut round = tokio::time::interval(node.config.voucher_interval);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let everyone = tokio::select! {
            () = node.stop.cancelled() => return,
            _ = round.tick() => true,
            () = node.peers.bell.notified() => false,
        };
        rounds = rounds.wrapping_add(u32::from(everyone));
        let late = everyone && rounds.is_multiple_of(LATE_EVERY_ROUNDS);
        if !node.view.is_fresh() {
            continue;
        }
        let due = node.peers.all().into_iter().filter(|agent| {
            let standing = agent.ledger.standing();
            // Nothing is forgiven here: what is in vain may have been acknowledged late.
            let open = account::exposed_bytes(&standing.earned, 0, u64::MAX) > 0
                || account::is_behind(&standing.earned)
                || !standing.settled;
            let enough = standing.bytes_unasked >= node.config.voucher_bytes;
            enough || (everyone && open) || (late && standing.earned.outbound_written_off > 0)
        });
        futures_util::stream::iter(due)
            .for_each_concurrent(ASKED_AT_ONCE, |agent| {
                let node = Arc::clone(&node);
                async move {
                    if let Err(error) = collect(&node, &agent).await {
                        node.metrics.relay_vouchers_refused.increment(1);
                        if let CollectError::Peer(PeerError::Egress(error)) = &error {
                            node.metrics.egress_failures.of(error.cause()).increment(1);
                        }
                        let agent = agent.ledger.standing().earned.agent;
                        tracing::warn!(%agent, %error, "no voucher was collected");
                    }
                }
            })
            .await;
    }
}

/// Asks one agent and books what its voucher confirms.
async fn collect(node: &Node, agent: &Agent) -> Result<(), CollectError> {
    let claimed = agent.ledger.ask();
    let own = node.view.node(node.address()).ok_or(CollectError::Unregistered)?;
    let record = node.view.node(claimed.agent).ok_or(CollectError::Unregistered)?;
    let collected = ask(node, agent, &claimed, &own, &record).await;
    if collected.is_err() {
        agent.ledger.unsettle();
    }
    collected
}

async fn ask(
    node: &Node,
    agent: &Agent,
    claimed: &Earned,
    own: &NodeRecord,
    record: &NodeRecord,
) -> Result<(), CollectError> {
    let request =
        CommandBody::RequestVoucher { inbound_bytes: claimed.inbound_bytes, outbound_bytes: claimed.outbound_bytes };
    let Reply::RelayVoucher(said) = peers::command(node, claimed.agent, record, request).await? else {
        return Err(PeerError::Unexpected.into());
    };
    let (in_force, tariff) = record.tariff_at(clock::now_s());
    let priced = |version: u32| match version.cmp(&in_force) {
        Ordering::Less => node.view.tariff_version(claimed.agent, version).map(|past| past.tariff),
        Ordering::Equal => Some(tariff),
        Ordering::Greater => None,
    };
    let parties = (record.operator, own.operator);
    let voucher = if account::check(&said, parties, priced)? {
        let voucher = said.voucher.ok_or(Unpaid::NoVoucher)?;
        check_backed(node, claimed, &voucher).await?;
        Some(voucher)
    } else {
        None
    };
    // Each byte claimed was answered 202 before the agent was asked.
    let short = claimed.inbound_bytes.saturating_sub(said.inbound_bytes);
    if agent.ledger.falls_short(short) {
        node.metrics.relay_counts_disputed.increment(1);
        tracing::warn!(agent = %claimed.agent, short, "an agent counts less than it stored");
    }
    book(node, agent, claimed, said, voucher).await?;
    if voucher.is_some() {
        node.metrics.relay_vouchers_collected.increment(1);
        node.outbox_bell.notify_one();
    }
    Ok(())
}

/// Writes down what the agent confirmed, together with what was carried meanwhile.
async fn book(
    node: &Node,
    agent: &Agent,
    claimed: &Earned,
    said: RelayStatement,
    voucher: Option<SignedVoucher>,
) -> Result<(), StoreError> {
    let _order = node.peers.booking.lock().await;
    let (carriage, under_way) = agent.ledger.take_all();
    let relay = Relay { node: claimed.agent, operator: claimed.agent_operator };
    let booked = node
        .store
        .writer()
        .write_patiently(move |connection| {
            Box::pin(async move {
                let before = books::count_at_relay(connection, relay, carriage.inbound, carriage.outbound).await?;
                let vouchered = voucher.as_ref().map(|voucher| voucher.cumulative);
                let confirmed = account::confirm(&before, &said, vouchered, under_way);
                books::collect(connection, &confirmed, voucher.as_ref()).await?;
                Ok(confirmed)
            })
        })
        .await;
    match booked {
        Ok(confirmed) => {
            agent.ledger.written(confirmed);
            Ok(())
        }
        Err(error) => {
            agent.ledger.give_back();
            Err(error)
        }
    }
}

/// Whether the voucher is newly signed by somebody who may, and covered by what the payer has with the escrow.
async fn check_backed(node: &Node, earned: &Earned, voucher: &SignedVoucher) -> Result<(), CollectError> {
    let signer = voucher.signer(&node.escrow_domain).map_err(|_| Unpaid::WrongSigner)?;
    if !node.view.may_sign(voucher.payer, signer).await? {
        return Err(Unpaid::WrongSigner.into());
    }
    let mut lane = node.view.lane(voucher.payer, voucher.payee).await?;
    let mut open = node.view.lane(voucher.payer, Address::ZERO).await?;
    let covers = |limit: minus_bindings::Amount, open: minus_bindings::Amount| {
        limit.checked_add(open).is_none_or(|covered| voucher.cumulative <= covered)
    };
    if !covers(lane.limit(), open.deposit.saturating_sub(open.thawing)) {
        lane = node.view.refresh_lane(voucher.payer, voucher.payee).await?;
        open = node.view.refresh_lane(voucher.payer, Address::ZERO).await?;
        if !covers(lane.limit(), open.deposit.saturating_sub(open.thawing)) {
            return Err(Unpaid::Uncovered.into());
        }
    }
    if voucher.cumulative < earned.vouchered.max(lane.paid) {
        return Err(Unpaid::BelowLast.into());
    }
    Ok(())
}
