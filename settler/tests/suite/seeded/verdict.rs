//! What must hold at the end of a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use alloy::primitives::B256;
use alloy::providers::Provider;
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent;
use minus_bindings::{Amount, PrepaymentEscrow};
use minus_settler::api::Status;
use minus_settler::store::TransactionState;

use super::life::Life;
use super::purse::Kind;
use super::run::Run;

/// In calm weather everything is at its end long before, however busy the machine is.
const SETTLED_WITHIN: Duration = Duration::from_secs(150);

/// What a run has to be blamed for; nothing if all is well.
pub(super) async fn judge(run: &Run<'_>, life: &Life, reorganisations: u64) -> Vec<String> {
    let started = Instant::now();
    loop {
        let status: Status = match run.ground.world.http.get(format!("http://{}/status", life.admin)).send().await {
            Ok(response) => response.json().await.unwrap(),
            Err(error) => return vec![format!("the settler does not answer: {error}")],
        };
        let unpaid = unpaid(run).await;
        let under_way = under_way(&status);
        if unpaid.is_empty() && under_way == 0 {
            let mut blame = lanes(run).await;
            blame.extend(books(run, &status, reorganisations).await);
            // The log may be a look behind the chain.
            if blame.is_empty() || started.elapsed() > SETTLED_WITHIN {
                return blame;
            }
        } else if started.elapsed() > SETTLED_WITHIN {
            let mut blame = unpaid;
            blame.push(format!("{under_way} transactions under way, trouble {:?}", status.trouble));
            blame.extend(status.lanes.iter().map(|lane| format!("{lane:?}")));
            return blame;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn under_way(status: &Status) -> u64 {
    let count = |state| status.summary.transactions.get(&state).copied().unwrap_or(0);
    count(TransactionState::Planned) + count(TransactionState::Submitted)
}

async fn paid(run: &Run<'_>, index: usize) -> u128 {
    let payer = run.purse.lanes[index].payer.address();
    let lane = run.ground.world.escrow().lane(payer, run.purse.payee()).call().await.unwrap();
    Amount::from(lane._0.paid).base_units()
}

/// Law 8: what was acknowledged and is not paid, as far as the money goes.
async fn unpaid(run: &Run<'_>) -> Vec<String> {
    let mut unpaid = Vec::new();
    for (index, lane) in run.purse.lanes.iter().enumerate() {
        let (paid, due) = (paid(run, index).await, lane.due());
        if paid < due {
            unpaid.push(format!("{:?}: {paid} of {due} paid", lane.kind));
        }
    }
    unpaid
}

/// Laws 3 and 4: no lane has paid what nobody signed, and no notice has ended yet.
async fn lanes(run: &Run<'_>) -> Vec<String> {
    let mut blame = Vec::new();
    for (index, lane) in run.purse.lanes.iter().enumerate() {
        let paid = paid(run, index).await;
        if !lane.may_have_paid(paid) {
            blame.push(format!("{:?}: {paid} paid, but {:?} handed in", lane.kind, lane.offered));
        }
    }
    if run.ground.world.anvil.time().await >= run.ground.notice_ends {
        blame.push("the notices have ended".to_owned());
    }
    blame
}

/// The log against the chain, in both directions, and the gas that moved nothing.
async fn books(run: &Run<'_>, status: &Status, reorganisations: u64) -> Vec<String> {
    let world = &run.ground.world;
    let filter = Filter::new()
        .address(world.deployment.escrow)
        .event_signature(PrepaymentEscrow::Claimed::SIGNATURE_HASH)
        .topic1(run.purse.payee())
        .from_block(run.ground.base);
    let mut on_chain: BTreeMap<B256, u128> = BTreeMap::new();
    for log in world.anvil.provider.get_logs(&filter).await.unwrap() {
        let event = PrepaymentEscrow::Claimed::decode_log(&log.inner).unwrap();
        *on_chain.entry(log.transaction_hash.unwrap()).or_default() += event.total.to::<u128>();
    }
    let mut blame = Vec::new();
    let mut in_log: BTreeMap<B256, u128> = BTreeMap::new();
    let mut charges = 0;
    for line in status.transactions.iter().filter(|line| line.state == TransactionState::Confirmed) {
        let Some(hash) = line.hash else { continue };
        let moved = on_chain.get(&hash).copied().unwrap_or(0);
        // A charge has no row among the vouchers: its transaction says nothing of what it moved.
        if line.rows == 0 {
            charges += 1;
        } else if moved != line.paid.base_units() {
            blame.push(format!("{hash} moved {moved} on the chain, {} in the log", line.paid.base_units()));
        }
        in_log.insert(hash, moved);
    }
    for (hash, moved) in on_chain.iter().filter(|(hash, _)| !in_log.contains_key(*hash)) {
        blame.push(format!("{hash} moved {moved} on the chain and is not confirmed in the log"));
    }
    if charges > 0 && !run.purse.lanes.iter().any(|lane| lane.kind == Kind::Mandated) {
        blame.push(format!("{charges} charges without a mandate"));
    }
    let mut mined = 0;
    for key in &run.purse.gas_keys {
        mined += world.anvil.provider.get_transaction_count(key.address()).await.unwrap();
    }
    let useful = u64::try_from(on_chain.len()).unwrap();
    // A claim may be overtaken by a larger one of its lane whenever the chain was seen as it was not: by a reorganisation,
    // or by an endpoint that was behind, which a run meets a handful of times.
    let bound = useful + reorganisations + 12;
    if mined - useful > bound {
        blame.push(format!("{} of {mined} transactions moved nothing (at most {bound})", mined - useful));
    }
    blame
}
