//! Misfortunes: whatever happens, each voucher is paid exactly once and none is lost.

use alloy::network::TransactionBuilder;
use alloy::primitives::U256;
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use minus_bindings::Amount;
use minus_settler::chain::Chain;
use minus_settler::fees::{FeePolicy, Urgency, tips};
use minus_settler::metrics::Metrics;
use minus_settler::pace::{Inclusions, Pace};
use minus_settler::sender::{KeySight, Moment, Order, Place, Sender};
use minus_settler::store::{Instrument, PlannedRow, Reason, Store, TransactionState, VoucherState};

use super::world::{COIN, Settler, World, tokens, under_way, until};

async fn done(settler: &Settler<'_>, request: i64) {
    until("the request is done", async || settler.progress(request).await.done.then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_stored_and_not_sent_is_sent_after_the_restart() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    // An endpoint that refuses everything of this key: the transaction stays where it was stored.
    world.anvil.give_gas(world.gas_key.address(), 0).await;
    let settler = world.settler().await;
    settler.record(world.voucher(&payer, "1")).await;
    let request = settler.ask().await.request;
    let stored = until("a claim is stored", async || settler.status().await.transactions.into_iter().next()).await;
    assert_eq!((stored.state, stored.nonce), (TransactionState::Planned, 0));
    assert_eq!(settler.get("health/ready").await.status(), 503, "an empty gas key is no good state");
    settler.kill();

    world.anvil.give_gas(world.gas_key.address(), COIN).await;
    let settler = world.settler().await;
    done(&settler, request).await;

    let mined = &settler.status().await.transactions[0];
    assert_eq!((mined.state, mined.hash), (TransactionState::Confirmed, stored.hash), "the very same bytes");
    assert_eq!(world.earned().await, tokens("1"));
    assert_eq!(world.gas_transactions().await, 1);
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_mined_while_the_settler_was_dead_is_recognised() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    let settler = world.settler().await;
    settler.record(world.voucher(&payer, "1")).await;
    world.anvil.automine(false).await;
    let request = settler.ask().await.request;
    let hash = under_way(&settler).await;
    settler.kill();
    world.anvil.mine(1).await;
    world.anvil.automine(true).await;

    let settler = world.settler().await;
    done(&settler, request).await;

    let progress = settler.progress(request).await;
    assert_eq!((progress.claims[0].transaction, progress.claims[0].paid), (Some(hash), Some(tokens("1"))));
    assert_eq!(world.gas_transactions().await, 1);
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_before_confirmation_sends_the_claim_again() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    world.anvil.mine(5).await;
    let mut config = world.config();
    config.confirmations = 3;
    let settler = world.settler_with(config).await;
    settler.record(world.voucher(&payer, "1")).await;
    let request = settler.ask().await.request;
    until("it is seen in a block", async || settler.status().await.transactions.first().and_then(|line| line.block))
        .await;

    world.anvil.automine(false).await;
    world.anvil.reorg(1).await;
    assert_eq!(world.paid(&payer).await, Amount::ZERO);
    until("it is out of the block again", async || {
        let metrics = settler.get("metrics").await.text().await.unwrap();
        metrics.contains("settler_reorganisations_total 1").then_some(())
    })
    .await;
    let waiting = under_way(&settler).await;
    until("it waits again", async || world.anvil.is_waiting(waiting).await.then_some(())).await;

    world.anvil.mine(3).await;
    done(&settler, request).await;
    assert_eq!(world.earned().await, tokens("1"));
    assert_eq!(settler.status().await.transactions.len(), 1);
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_after_confirmation_sends_the_claim_again() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    world.anvil.mine(5).await;
    let settler = world.settler().await;
    settler.record(world.voucher(&payer, "1")).await;
    settler.claim_now().await;
    world.anvil.automine(false).await;
    world.anvil.reorg(1).await;
    world.anvil.mine(1).await;
    assert_eq!(world.paid(&payer).await, Amount::ZERO);

    until("it is under way again", async || {
        (settler.status().await.summary.vouchers[&VoucherState::Submitted].count == 1).then_some(())
    })
    .await;
    world.anvil.mine(1).await;
    until("it is confirmed again", async || {
        (settler.status().await.summary.vouchers[&VoucherState::Confirmed].count == 1).then_some(())
    })
    .await;
    assert_eq!(world.earned().await, tokens("1"));
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chain_forgot_while_nobody_looked_is_sent_again_and_counted_once() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    world.anvil.mine(5).await;
    let settler = world.settler().await;
    settler.record(world.voucher(&payer, "1")).await;
    settler.claim_now().await;
    settler.end().await;

    // Undone, and buried deeper than any look goes back from the head.
    world.anvil.reorg(1).await;
    world.anvil.mine(100).await;
    assert_eq!(world.earned().await, tokens("0"));

    let settler = world.settler().await;
    until("it is paid again", async || (world.earned().await == tokens("1")).then_some(())).await;
    until("the log says so", async || {
        let vouchers = settler.status().await.summary.vouchers;
        (vouchers[&VoucherState::Confirmed].count == 1).then_some(())
    })
    .await;
    let vouchers = settler.status().await.summary.vouchers;
    assert_eq!(vouchers.values().map(|sum| sum.count).sum::<u64>(), 1, "no copy of it");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_claim_is_replaced_at_the_same_nonce_with_a_higher_fee() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    let mut config = world.config();
    config.replace_after_blocks = 3;
    let settler = world.settler_with(config).await;
    settler.record(world.voucher(&payer, "1")).await;
    world.anvil.automine(false).await;
    let request = settler.ask().await.request;
    let stuck = under_way(&settler).await;

    world.anvil.forget_waiting().await;
    world.anvil.mine(4).await;
    let replacement = until("it is replaced", async || {
        let hash = settler.status().await.transactions[0].hash?;
        (hash != stuck && world.anvil.is_waiting(hash).await).then_some(hash)
    })
    .await;
    let transaction = world.anvil.provider.get_transaction_by_hash(replacement).await.unwrap().unwrap();
    assert_eq!(alloy::consensus::Transaction::nonce(&transaction), 0);
    world.anvil.mine(1).await;
    done(&settler, request).await;

    assert_eq!(settler.progress(request).await.claims[0].transaction, Some(replacement));
    assert_eq!((world.earned().await, world.gas_transactions().await), (tokens("1"), 1));
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_a_stranger_used_costs_a_claim_nothing_but_time() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    let settler = world.settler().await;
    settler.record(world.voucher(&payer, "1")).await;
    world.anvil.automine(false).await;
    let request = settler.ask().await.request;
    under_way(&settler).await;

    // Somebody uses the gas key, against all advice, and is faster.
    world.anvil.forget_waiting().await;
    let intruder = world.as_signer(&world.gas_key);
    let transfer = TransactionRequest::default().with_to(world.payee()).with_value(U256::from(1)).with_nonce(0);
    let transfer = intruder.send_transaction(transfer).await.unwrap();
    world.anvil.automine(true).await;
    world.anvil.mine(1).await;
    assert!(transfer.get_receipt().await.unwrap().status());
    world.anvil.mine(5).await;

    until("it is claimed with the next nonce", async || {
        world.anvil.mine(1).await;
        (world.paid(&payer).await == tokens("1")).then_some(())
    })
    .await;
    done(&settler, request).await;
    let status = settler.status().await;
    assert_eq!(status.summary.transactions[&TransactionState::Lost], 1);
    assert_eq!(status.summary.transactions[&TransactionState::Confirmed], 1);
    assert_eq!(world.earned().await, tokens("1"));
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverted_claim_is_not_dropped() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    let mut config = world.config();
    config.value_over_gas = u64::MAX;
    let settler = world.settler_with(config).await;
    settler.record(world.voucher(&payer, "1")).await;
    settler.end().await;

    // A claim with too little gas, which simulation would have prevented, stored and sent as the settler does it.
    let store = Store::open(&world.config().database).await.unwrap();
    let sender = Sender {
        chain: Chain::connect(std::slice::from_ref(&world.anvil.url), 1, world.deployment).await.unwrap(),
        store: store.clone(),
        keys: vec![world.gas_key.clone()],
        metrics: Metrics::default(),
        fees: FeePolicy { cap: u128::MAX, tip_cap: u128::MAX, native_coin_price: tokens("3000") },
        confirmations: 1,
        replace_after_blocks: 5,
        inclusions: Inclusions::default(),
    };
    let open = store.open_vouchers(10).await.unwrap();
    let rows = open
        .iter()
        .map(|open| PlannedRow {
            id: open.id,
            voucher: open.voucher,
            signer: open.signer,
            reason: Reason::Asked,
            failures: 0,
            debt: None,
        })
        .collect();
    let moment = Moment {
        question: 0,
        head: sender.chain.head().await.unwrap(),
        tips: tips(&[], u128::MAX),
        pace: Pace::default(),
        keys: vec![KeySight { address: world.gas_key.address(), balance: COIN, transaction_count: 0 }],
        now: 0,
        thaw_margin_s: 0,
        first: false,
    };
    let urgency = Urgency::Ordinary;
    let order = Order { instrument: Instrument::Voucher, payee: world.payee(), rows, gas_limit: 30_000, urgency };
    sender.claim(order, Place { key: 0, nonce: 0 }, &moment).await.unwrap().unwrap();
    until("it was mined", async || (world.gas_transactions().await == 1).then_some(())).await;
    assert_eq!(world.earned().await, Amount::ZERO);
    store.close().await;

    let settler = world.settler().await;
    until("it is seen to have failed", async || {
        (settler.status().await.summary.transactions[&TransactionState::Reverted] == 1).then_some(())
    })
    .await;
    assert_eq!(settler.claim_now().await.confirmed, 1);
    assert_eq!(world.earned().await, tokens("1"));
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_to_start_on_another_chain() {
    let world = World::new().await;
    let wrong = minus_bindings::Deployment { chain_id: 1, ..world.deployment };
    std::fs::write(world.path("deployment.json"), wrong.to_json()).unwrap();

    let started = minus_settler::spawn_with_keys(world.config(), vec![world.gas_key.clone()]).await;

    assert!(started.unwrap_err().to_string().contains("chain"), "the reason is told");
}
