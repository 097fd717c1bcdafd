//! That each voucher is paid exactly once, and which are claimed when.

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::{Amount, PrepaymentEscrow, SignedVoucher, row};
use minus_settler::Config;
use minus_settler::api::IntakeResult;
use minus_settler::chunks::chunk_gas;
use minus_settler::plan::{BATCH_GAS, ROW_GAS_MAX, ROWS_MAX};
use minus_settler::store::{Hold, Reason, TransactionState, VoucherState};
use std::time::Duration;

use super::world::{World, tokens, under_way, until};

const WEEK: u64 = 7 * 86_400;

/// Nothing is claimed unasked, however cheap gas gets.
pub(crate) fn only_when_asked(world: &World) -> Config {
    Config { value_over_gas: u64::MAX, ..world.config() }
}

#[tokio::test(flavor = "multi_thread")]
async fn spends_no_gas_on_an_unfunded_lane_until_it_is_funded() {
    let world = World::new().await;
    let settler = world.settler_with(only_when_asked(&world)).await;
    let payer = world.payer("0").await;
    world.fund(payer.address(), Address::ZERO, tokens("1")).await;
    settler.record(world.voucher(&payer, "2")).await;
    // An open balance is reserved for nobody: the payer gives it to somebody else.
    let (other, domain) = (Address::repeat_byte(0x77), world.deployment.escrow_domain());
    let elsewhere = SignedVoucher::sign(payer.address(), other, tokens("1"), &domain, &payer);
    world.escrow().claim(other, row::pack(&[elsewhere])).send().await.unwrap().get_receipt().await.unwrap();
    // A look that began before would claim what was there then.
    until("the block is seen", async || (settler.status().await.head >= world.anvil.head().await).then_some(())).await;

    let progress = settler.claim_now().await;
    assert_eq!((progress.confirmed, progress.held), (0, 1));
    assert_eq!(progress.claims[0].held, Some(Hold::Unfunded));
    assert_eq!(settler.status().await.summary.at_risk, 1);
    assert_eq!(world.gas_transactions().await, 0);

    world.fund(payer.address(), world.payee(), tokens("2")).await;
    let asked_before = progress.request;
    let asked = settler.claim_now().await;
    // The settler may have seen the money before it was asked again: then the claim answers the question before.
    let before = settler.progress(asked_before).await;
    assert_eq!((asked.confirmed + before.confirmed, asked.held + before.held), (1, 0));
    assert_eq!(world.earned().await, tokens("2"));
    assert_eq!(settler.status().await.summary.at_risk, 0);
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_the_difference() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("10").await;

    settler.record(world.voucher(&payer, "3")).await;
    let first = settler.claim_now().await;
    assert_eq!(first.claims[0].paid, Some(tokens("3")));
    assert_eq!(world.earned().await, tokens("3"));

    settler.record(world.voucher(&payer, "5.000001")).await;
    let second = settler.claim_now().await;
    assert_eq!(second.claims.len(), 1, "what was confirmed before is not asked for again");
    assert_eq!(second.claims[0].paid, Some(tokens("2.000001")));
    assert_eq!(second.claims[0].state, VoucherState::Confirmed);
    assert_ne!(second.claims[0].transaction, first.claims[0].transaction);
    assert_eq!(world.earned().await, tokens("5.000001"));
    assert_eq!(world.paid(&payer).await, tokens("5.000001"));

    let nothing = settler.claim_now().await;
    assert_eq!((nothing.open, nothing.confirmed, nothing.held), (0, 0, 0));
    assert_eq!(world.gas_transactions().await, 2);
    let status = settler.status().await;
    assert_eq!(status.summary.vouchers[&VoucherState::Confirmed].paid, tokens("5.000001"));
    assert_eq!(status.summary.transactions[&TransactionState::Confirmed], 2);
    assert_eq!(status.transactions[0].paid, tokens("2.000001"));
    let metrics = settler.get("metrics").await.text().await.unwrap();
    assert!(metrics.contains("settler_paid_base_units 5000001"), "{metrics}");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_underfunded_lane_burns_no_entitlement() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("2").await;
    settler.record(world.voucher(&payer, "5")).await;

    let first = settler.claim_now().await;
    assert_eq!(first.claims[0].paid, Some(tokens("2")));
    assert_eq!(world.earned().await, tokens("2"));
    let waiting = until("the rest is held", async || {
        settler.status().await.lanes.into_iter().find(|lane| lane.held == Some(Hold::Unfunded))
    })
    .await;
    assert_eq!((waiting.cumulative, waiting.paid), (tokens("5"), tokens("2")));

    world.fund(payer.address(), Address::ZERO, tokens("7")).await;
    let second = settler.claim_now().await;
    // None if the settler saw the money before it was asked.
    assert!(second.claims.iter().all(|claim| claim.paid == Some(tokens("3"))), "{:?}", second.claims);
    assert_eq!((world.earned().await, world.paid(&payer).await), (tokens("5"), tokens("5")));
    let left = world.escrow().openBalance(payer.address()).call().await.unwrap().amount;
    assert_eq!(Amount::from(left), tokens("4"), "3 of 7 came out of the payer's open balance");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_never_stops_a_good_one() {
    let world = World::new().await;
    let (good, bad) = (world.payer("10").await, world.payer("10").await);
    let delegate = PrivateKeySigner::random();
    let escrow = PrepaymentEscrow::new(world.deployment.escrow, world.as_signer(&bad));
    escrow.authorize(delegate.address()).send().await.unwrap().get_receipt().await.unwrap();
    let domain = world.deployment.escrow_domain();
    let by_delegate = SignedVoucher::sign(bad.address(), world.payee(), tokens("0.000001"), &domain, &delegate);
    let settler = world.settler().await;
    settler.record(by_delegate).await;
    settler.record(world.voucher(&good, "0.000001")).await;
    settler.end().await;

    // While the settler sleeps, the delegate is revoked and its notice ends.
    escrow.revoke(delegate.address()).send().await.unwrap().get_receipt().await.unwrap();
    world.anvil.warp(WEEK).await;

    let settler = world.settler().await;
    let progress = settler.claim_now().await;
    assert_eq!((progress.confirmed, progress.held), (1, 1));
    let held = progress.claims.iter().find(|claim| claim.payer == bad.address()).unwrap();
    assert_eq!(held.held, Some(Hold::BadSignature));
    assert_eq!((world.paid(&good).await, world.paid(&bad).await), (tokens("0.000001"), Amount::ZERO));

    // The payer makes good for it, with the same total.
    settler.record(world.voucher(&bad, "0.000001")).await;
    // The settler may have claimed it before it was asked again: then this question finds nothing left to do.
    assert_eq!(settler.claim_now().await.held, 0);
    assert_eq!(world.paid(&bad).await, tokens("0.000001"));
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_a_thawing_lane_before_its_notice_ends_whatever_it_is_worth() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("10").await;
    settler.record(world.voucher(&payer, "0.000001")).await;
    let escrow = PrepaymentEscrow::new(world.deployment.escrow, world.as_signer(&payer));
    escrow.thaw(world.payee(), tokens("10").to_u96()).send().await.unwrap().get_receipt().await.unwrap();
    let ends_at = world.anvil.time().await + WEEK;
    until("the notice is seen", async || settler.status().await.lanes.first().and_then(|lane| lane.closes_at)).await;
    assert_eq!(settler.status().await.lanes[0].held, Some(Hold::NotWorthYet), "dust, and time enough");

    world.anvil.warp(WEEK - 3_600).await;
    until("the dust is claimed", async || (world.paid(&payer).await == tokens("0.000001")).then_some(())).await;

    assert!(world.anvil.time().await < ends_at);
    let status = until("it is confirmed", async || {
        let status = settler.status().await;
        (status.summary.vouchers[&VoucherState::Confirmed].count == 1).then_some(status)
    })
    .await;
    assert!(status.lanes.is_empty());
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_under_notice_cannot_burn_gas_with_one_base_unit_after_the_other() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("10").await;
    let escrow = PrepaymentEscrow::new(world.deployment.escrow, world.as_signer(&payer));
    escrow.thaw(world.payee(), tokens("10").to_u96()).send().await.unwrap().get_receipt().await.unwrap();
    world.anvil.warp(WEEK - 3_600).await;
    settler.record(world.voucher(&payer, "0.000001")).await;
    until("the dust is claimed", async || (world.paid(&payer).await == tokens("0.000001")).then_some(())).await;

    settler.record(world.voucher(&payer, "0.000002")).await;
    until("it is judged", async || {
        settler.status().await.lanes.iter().any(|lane| lane.held == Some(Hold::NotWorthYet)).then_some(())
    })
    .await;
    settler.record(world.voucher(&payer, "9")).await;
    until("what is worth its gas is claimed", async || (world.paid(&payer).await == tokens("9")).then_some(())).await;
    assert_eq!(world.gas_transactions().await, 2);
    settler.end().await;
}

/// The payer's lane is under notice, and it withdraws in front of the claim: the row writes an empty slot and needs the
/// open balance, which costs more gas than was simulated.
#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_in_front_of_a_claim_does_not_revert_it() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("10").await;
    world.fund(payer.address(), Address::ZERO, tokens("10")).await;
    let escrow = PrepaymentEscrow::new(world.deployment.escrow, world.as_signer(&payer));
    escrow.thaw(world.payee(), tokens("10").to_u96()).send().await.unwrap().get_receipt().await.unwrap();
    world.anvil.warp(WEEK).await;
    world.anvil.automine(false).await;
    settler.record(world.voucher(&payer, "1")).await;
    under_way(&settler).await;

    let withdrawal = escrow.withdraw(world.payee(), payer.address());
    let withdrawal = withdrawal.max_priority_fee_per_gas(10_000_000_000).max_fee_per_gas(50_000_000_000).gas(200_000);
    let withdrawal = withdrawal.send().await.unwrap();
    world.anvil.mine(1).await;
    assert!(withdrawal.get_receipt().await.unwrap().status());

    let status = until("the claim ended", async || {
        let status = settler.status().await;
        (status.summary.transactions[&TransactionState::Submitted] == 0).then_some(status)
    })
    .await;
    assert_eq!(status.summary.transactions[&TransactionState::Reverted], 0);
    assert_eq!(world.earned().await, tokens("1"), "out of the open balance");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_signers_voucher_is_claimed_while_it_counts() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("10").await;
    let delegate = PrivateKeySigner::random();
    let escrow = PrepaymentEscrow::new(world.deployment.escrow, world.as_signer(&payer));
    escrow.authorize(delegate.address()).send().await.unwrap().get_receipt().await.unwrap();
    let domain = world.deployment.escrow_domain();
    settler.record(SignedVoucher::sign(payer.address(), world.payee(), tokens("0.000001"), &domain, &delegate)).await;

    escrow.revoke(delegate.address()).send().await.unwrap().get_receipt().await.unwrap();
    world.anvil.warp(WEEK - 3_600).await;

    until("the dust is claimed", async || (world.paid(&payer).await == tokens("0.000001")).then_some(())).await;
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_by_itself_what_is_worth_it_and_leaves_dust() {
    let world = World::new().await;
    // Two coins to a token make gas cheap enough for whole tokens to be worth it.
    let mut config = world.config();
    config.native_coin_price = "2".into();
    let settler = world.settler_with(config).await;
    let (large, small) = (world.payer("100").await, world.payer("100").await);

    settler.hand_in(&[world.voucher(&large, "50"), world.voucher(&small, "0.000001")]).await;
    until("the large one is claimed", async || (world.paid(&large).await == tokens("50")).then_some(())).await;

    assert_eq!(world.paid(&small).await, Amount::ZERO);
    let lane = until("the small one is judged", async || {
        let lanes = settler.status().await.lanes;
        lanes.into_iter().find(|lane| lane.held == Some(Hold::NotWorthYet))
    })
    .await;
    assert_eq!(lane.payer, small.address());
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_voucher_that_comes_while_one_is_under_way_is_claimed_later() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("10").await;
    settler.record(world.voucher(&payer, "1")).await;
    world.anvil.automine(false).await;
    let request = settler.ask().await.request;
    under_way(&settler).await;

    settler.record(world.voucher(&payer, "4")).await;
    let states: Vec<_> = settler.status().await.lanes.iter().map(|lane| (lane.cumulative, lane.state)).collect();
    assert_eq!(states, [(tokens("1"), VoucherState::Submitted), (tokens("4"), VoucherState::Recorded)]);

    world.anvil.automine(true).await;
    world.anvil.mine(1).await;
    let first = until("the first is confirmed", async || {
        let progress = settler.progress(request).await;
        progress.done.then_some(progress)
    })
    .await;
    assert_eq!(first.claims[0].paid, Some(tokens("1")));
    assert_eq!(first.claims[0].state, VoucherState::Confirmed);

    let second = settler.claim_now().await;
    assert_eq!(second.claims[0].paid, Some(tokens("3")));
    assert_eq!(world.earned().await, tokens("4"));
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_goes_out_in_several_transactions_without_a_nonce_gap() {
    let world = World::new().await;
    let mut config = world.config();
    config.rows_per_batch = 2;
    let settler = world.settler_with(config).await;
    let mut vouchers = Vec::new();
    for index in 1..=5 {
        vouchers.push(world.voucher(&world.payer("1").await, &format!("0.00000{index}")));
    }
    settler.hand_in(&vouchers).await;

    let progress = settler.claim_now().await;

    assert_eq!(progress.confirmed, 5);
    assert_eq!(world.earned().await, tokens("0.000015"));
    let transactions = settler.status().await.transactions;
    let nonces: Vec<_> = transactions.iter().map(|line| line.nonce).collect();
    assert_eq!(nonces, [2, 1, 0]);
    assert_eq!(transactions.iter().map(|line| line.rows).sum::<u64>(), 5);
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_depth() {
    let world = World::new().await;
    let settler = world.settler_with(Config { confirmations: 3, ..only_when_asked(&world) }).await;
    let payer = world.payer("10").await;
    settler.record(world.voucher(&payer, "1")).await;

    let request = settler.ask().await.request;
    until("it is mined", async || (world.paid(&payer).await == tokens("1")).then_some(())).await;
    world.anvil.mine(1).await;
    until("the block is seen", async || (settler.status().await.head >= world.anvil.head().await).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let progress = settler.progress(request).await;
    assert!(!progress.done, "two blocks are not three");
    assert_eq!(progress.claims[0].state, VoucherState::Submitted);
    assert_eq!(settler.status().await.lanes[0].reason, Some(Reason::Asked));

    world.anvil.mine(1).await;
    until("it is confirmed", async || settler.progress(request).await.done.then_some(())).await;
    settler.end().await;
}

/// Every row writes its lane for the first time and takes from a cold open balance: about the most that a row costs.
#[tokio::test(flavor = "multi_thread")]
async fn the_dearest_rows_are_cut_into_transactions_that_fit() {
    let world = World::new().await;
    let settler = world.settler().await;
    let rows = usize::try_from(ROWS_MAX).unwrap();
    let payers: Vec<_> = (0..rows).map(|_| PrivateKeySigner::random()).collect();
    world.fund_open_balances(&payers, tokens("1")).await;
    let vouchers: Vec<_> = payers.iter().map(|payer| world.voucher(payer, "0.000001")).collect();
    assert!(settler.hand_in(&vouchers).await.iter().all(|result| *result == IntakeResult::Recorded));

    let progress = settler.claim_now().await;

    assert_eq!(progress.confirmed, ROWS_MAX);
    assert_eq!(world.earned().await.base_units(), u128::from(ROWS_MAX));
    let transactions = settler.status().await.transactions;
    assert!(transactions.len() > 1);
    for line in &transactions {
        let gas = line.gas_used.unwrap();
        assert!(gas <= chunk_gas(30_000_000), "{gas} gas");
        assert!(gas <= BATCH_GAS + line.rows * ROW_GAS_MAX, "{} rows used {gas} gas", line.rows);
    }
    settler.end().await;
}
