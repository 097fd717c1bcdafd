//! Asks agents for vouchers: every `voucher_interval` while something is owed, at once after `voucher_bytes`.

use std::sync::Arc;

use alloy::primitives::Address;
use futures_util::StreamExt;
use minus_bindings::SignedVoucher;
use minus_protocol::{CommandBody, Reply};

use super::{
    account::{self, UnderWay, Unpaid},
    peers::{self, Agent, PeerError},
};
use crate::{
    chain::{NodeRecord, view::ViewError},
    clock,
    node::Node,
    store::{
        StoreError,
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
        let earned = match books::all_earned(node.store.readers()).await {
            Ok(earned) => earned,
            Err(error) => {
                tracing::warn!(%error, "the earnings could not be read");
                continue;
            }
        };
        let due = earned.into_iter().filter(|earned| {
            let counters = node.peers.agent(earned.agent).map(|state| state.count(|counters| *counters));
            let counters = counters.unwrap_or_default();
            let open = account::exposed_bytes(earned) > 0 || account::is_behind(earned) || !counters.settled;
            let enough = counters.bytes_unasked >= node.config.voucher_bytes;
            enough || (everyone && open) || (late && earned.outbound_written_off > 0)
        });
        futures_util::stream::iter(due)
            .for_each_concurrent(ASKED_AT_ONCE, |earned| {
                let node = Arc::clone(&node);
                async move {
                    let agent = earned.agent;
                    if let Err(error) = collect(&node, earned).await {
                        node.metrics.relay_vouchers_refused.increment(1);
                        tracing::warn!(%agent, %error, "no voucher was collected");
                    }
                }
            })
            .await;
    }
}

/// Asks one agent and books what its voucher confirms.
async fn collect(node: &Node, earned: Earned) -> Result<(), CollectError> {
    let own = node.view.node(node.address()).await?.ok_or(CollectError::Unregistered)?;
    let record = node.view.node(earned.agent).await?.ok_or(CollectError::Unregistered)?;
    let state = node.peers.agent(earned.agent)?;
    state.count(|counters| {
        counters.bytes_unasked = 0;
        counters.settled = true;
    });
    let collected = ask(node, earned, &own, &record, &state).await;
    if collected.is_err() {
        state.count(|counters| counters.settled = false);
    }
    collected
}

async fn ask(
    node: &Node,
    earned: Earned,
    own: &NodeRecord,
    record: &NodeRecord,
    state: &Arc<Agent>,
) -> Result<(), CollectError> {
    let request =
        CommandBody::RequestVoucher { inbound_bytes: earned.inbound_bytes, outbound_bytes: earned.outbound_bytes };
    let Reply::RelayVoucher(said) = peers::command(node, earned.agent, record, request).await? else {
        return Err(PeerError::Unexpected.into());
    };
    let (tariff_version, tariff) = record.tariff_at(clock::now_s());
    let parties = (record.operator, own.operator);
    let voucher = if account::check(&said, parties, tariff_version, tariff)? {
        let voucher = said.voucher.ok_or(Unpaid::NoVoucher)?;
        check_backed(node, &earned, &voucher).await?;
        Some(voucher)
    } else {
        None
    };
    let agent = earned.agent;
    let state = Arc::clone(state);
    let is_new = voucher.is_some();
    node.store
        .writer()
        .write_patiently(move |connection| {
            Box::pin(async move {
                // Read again: more may have been carried since.
                let before = books::earned(&mut *connection, agent).await?.unwrap_or(earned);
                let under_way =
                    state.count(|counters| UnderWay { requests: counters.requests > 0, streams: counters.streams > 0 });
                let vouchered = voucher.as_ref().map(|voucher| voucher.cumulative);
                let confirmed = account::confirm(&before, &said, vouchered, under_way);
                books::collect(connection, &confirmed, voucher.as_ref()).await
            })
        })
        .await?;
    if is_new {
        node.metrics.relay_vouchers_collected.increment(1);
        node.outbox_bell.notify_one();
    }
    Ok(())
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
