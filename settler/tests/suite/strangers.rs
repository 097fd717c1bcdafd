//! What somebody else claims for the operator: anybody may, so the settler has to bear it and to gain by it.

use alloy::providers::Provider;
use minus_bindings::{Amount, row};
use minus_settler::store::{Hold, VoucherState};

use super::claims::only_when_asked;
use super::world::{Settler, World, tokens, under_way, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_claimed_is_settled_without_gas() {
    let world = World::new().await;
    let settler = world.settler_with(only_when_asked(&world)).await;
    somebody_else_claims(&world, &settler).await;

    is_held_as_settled(&settler).await;
    assert_eq!(confirmed(&settler).await, 0, "kept while a reorganisation may undo it");
    world.anvil.mine(minus_settler::pace::WATCH_BLOCKS).await;
    until("it is settled", async || (confirmed(&settler).await == 1).then_some(())).await;
    assert_eq!(world.gas_transactions().await, 0);
    assert_eq!(world.earned().await, tokens("0.5"));
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_claimed_and_a_reorganisation_undid_is_claimed() {
    let world = World::new().await;
    let settler = world.settler_with(only_when_asked(&world)).await;
    somebody_else_claims(&world, &settler).await;
    world.anvil.mine(10).await;
    is_held_as_settled(&settler).await;

    world.anvil.reorg(11).await;
    world.anvil.mine(20).await;
    assert_eq!(world.earned().await, Amount::ZERO);
    until("it is claimed after all", async || {
        settler.claim_now().await;
        (world.earned().await == tokens("0.5")).then_some(())
    })
    .await;
    assert_eq!(world.gas_transactions().await, 1);
    settler.end().await;
}

/// Half a token of a payer whose voucher the settler has.
async fn somebody_else_claims(world: &World, settler: &Settler<'_>) {
    let payer = world.payer("10").await;
    let voucher = world.voucher(&payer, "0.5");
    settler.record(voucher).await;

    let escrow = world.escrow();
    escrow.claim(world.payee(), row::pack(&[voucher])).send().await.unwrap().get_receipt().await.unwrap();
}

async fn is_held_as_settled(settler: &Settler<'_>) {
    until("its lane is seen to have paid", async || {
        (settler.status().await.lanes[0].held == Some(Hold::Settled)).then_some(())
    })
    .await;
}

async fn confirmed(settler: &Settler<'_>) -> u64 {
    settler.status().await.summary.vouchers[&VoucherState::Confirmed].count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_somebody_overtook_pays_nothing_twice_and_ends() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("10").await;
    let voucher = world.voucher(&payer, "0.5");
    settler.record(voucher).await;
    world.anvil.automine(false).await;
    let request = settler.ask().await.request;
    under_way(&settler).await;

    // A stranger offers the block's builder more and comes first.
    let escrow = world.escrow();
    let overtaking = escrow.claim(world.payee(), row::pack(&[voucher]));
    let overtaking = overtaking.max_priority_fee_per_gas(10_000_000_000).max_fee_per_gas(50_000_000_000).gas(200_000);
    let overtaking = overtaking.send().await.unwrap();
    world.anvil.mine(1).await;
    assert!(overtaking.get_receipt().await.unwrap().status());

    let progress = until("ours ended too", async || {
        let progress = settler.progress(request).await;
        progress.done.then_some(progress)
    })
    .await;
    assert_eq!(progress.claims[0].paid, Some(Amount::ZERO), "ours moved nothing");
    assert_eq!(world.earned().await, tokens("0.5"));
    assert_eq!(world.anvil.provider.get_transaction_count(world.gas_key.address()).await.unwrap(), 1);
    settler.end().await;
}
