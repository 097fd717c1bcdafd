//! Several gas keys: they share the work, and what one lacks stops no other.

use std::collections::BTreeSet;

use alloy::providers::Provider;
use alloy::signers::local::PrivateKeySigner;
use minus_settler::store::{TransactionState, VoucherState};

use super::world::{COIN, Settler, World, tokens, until};

impl World {
    async fn further_key(&self, wei: u128) -> PrivateKeySigner {
        let key = PrivateKeySigner::random();
        self.anvil.give_gas(key.address(), wei).await;
        key
    }

    async fn nonce(&self, key: &PrivateKeySigner) -> u64 {
        self.anvil.provider.get_transaction_count(key.address()).await.unwrap()
    }
}

async fn submitted(settler: &Settler<'_>, count: u64) {
    until("all is under way", async || {
        let vouchers = settler.status().await.summary.vouchers;
        (vouchers.get(&VoucherState::Submitted)?.count == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_keys_share_a_backlog() {
    let world = World::new().await;
    let other = world.further_key(COIN).await;
    let mut config = world.config();
    config.rows_per_batch = 1;
    let settler = world.settler_with_keys(config, vec![world.gas_key.clone(), other.clone()]).await;
    let mut vouchers = Vec::new();
    for index in 1..=6 {
        vouchers.push(world.voucher(&world.payer("1").await, &format!("0.00000{index}")));
    }
    settler.hand_in(&vouchers).await;
    world.anvil.automine(false).await;
    let request = settler.ask().await.request;
    submitted(&settler, 6).await;

    world.anvil.mine(1).await;
    until("all is confirmed", async || settler.progress(request).await.done.then_some(())).await;
    assert_eq!(world.earned().await, tokens("0.000021"));
    assert_eq!((world.nonce(&world.gas_key).await, world.nonce(&other).await), (3, 3), "each its own nonces");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_gas_stops_no_other() {
    let world = World::new().await;
    let empty = world.further_key(0).await;
    let settler = world.settler_with_keys(world.config(), vec![empty.clone(), world.gas_key.clone()]).await;
    let payer = world.payer("10").await;
    settler.record(world.voucher(&payer, "1")).await;

    assert_eq!(settler.claim_now().await.confirmed, 1);

    assert_eq!((world.nonce(&empty).await, world.nonce(&world.gas_key).await), (0, 1));
    let reasons = settler.get("health/ready").await.text().await.unwrap();
    assert!(reasons.contains(&empty.address().to_string()), "the empty one is told of: {reasons}");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_that_ran_dry_holds_is_claimed_by_another() {
    let world = World::new().await;
    let other = world.further_key(0).await;
    let mut config = world.config();
    config.replace_after_blocks = 2;
    let settler = world.settler_with_keys(config, vec![world.gas_key.clone(), other.clone()]).await;
    let payer = world.payer("10").await;
    settler.record(world.voucher(&payer, "1")).await;
    world.anvil.automine(false).await;
    let request = settler.ask().await.request;
    submitted(&settler, 1).await;

    // The node drops what cannot be paid for; the operator fills the other key.
    world.anvil.forget_waiting().await;
    world.anvil.give_gas(world.gas_key.address(), 0).await;
    world.anvil.give_gas(other.address(), COIN).await;
    until("it is claimed", async || {
        world.anvil.mine(1).await;
        (world.paid(&payer).await == tokens("1")).then_some(())
    })
    .await;

    until("it is known to be", async || {
        world.anvil.mine(1).await;
        settler.progress(request).await.done.then_some(())
    })
    .await;
    assert_eq!((world.nonce(&world.gas_key).await, world.nonce(&other).await), (0, 1));
    assert_eq!(world.earned().await, tokens("1"));
    let states: BTreeSet<_> = settler.status().await.transactions.iter().map(|line| line.state).collect();
    assert_eq!(states, BTreeSet::from([TransactionState::Cancelled, TransactionState::Confirmed]));
    settler.end().await;
}
