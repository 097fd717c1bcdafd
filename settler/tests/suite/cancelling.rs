//! Transactions that wait too long: what is not worth its gas any more is taken back, what closes bids up to its value,
//! and what a reverted batch holds is claimed in halves.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use alloy::consensus::Transaction;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::{Amount, PrepaymentEscrow, SignedVoucher, row};
use minus_settler::store::{Hold, TransactionState, VoucherState};
use serde_json::json;

use super::anvil::Anvil;
use super::endpoints::liar;
use super::world::{Settler, World, tokens, under_way, until};

const GWEI: u128 = 1_000_000_000;
const WEEK: u64 = 7 * 86_400;

impl Anvil {
    /// Blocks whose base fee somebody else pushes to this.
    async fn mine_at(&self, base_fee: u128, blocks: u64) {
        for _ in 0..blocks {
            self.request("anvil_setNextBlockBaseFeePerGas", json!([U256::from(base_fee)])).await;
            self.mine(1).await;
        }
    }
}

impl World {
    /// Gas costs far more than any cap from now on, and the settler knows.
    async fn fees_rise(&self, settler: &Settler<'_>) {
        self.anvil.mine_at(50 * GWEI, 1).await;
        let head = self.anvil.head().await;
        until("the settler saw it", async || (settler.status().await.head >= head).then_some(())).await;
    }

    /// These payers take their lanes back, and the notice is all but over.
    async fn close_lanes(&self, payers: &[&PrivateKeySigner]) {
        for payer in payers {
            let escrow = PrepaymentEscrow::new(self.deployment.escrow, self.as_signer(payer));
            let thaw = escrow.thaw(self.payee(), tokens("100").to_u96()).gas(200_000).max_fee_per_gas(200 * GWEI);
            let _pending = thaw.max_priority_fee_per_gas(GWEI).send().await.unwrap();
        }
        self.notice_is_all_but_over().await;
    }

    /// This payer takes back what it allowed its delegate, and the notice is all but over.
    async fn revoke(&self, payer: &PrivateKeySigner, delegate: Address) {
        let escrow = PrepaymentEscrow::new(self.deployment.escrow, self.as_signer(payer));
        let revoke = escrow.revoke(delegate).gas(200_000).max_fee_per_gas(200 * GWEI);
        let _pending = revoke.max_priority_fee_per_gas(GWEI).send().await.unwrap();
        self.notice_is_all_but_over().await;
    }

    async fn notice_is_all_but_over(&self) {
        self.anvil.mine_at(50 * GWEI, 1).await;
        self.anvil.request("evm_increaseTime", json!([WEEK - 3_600])).await;
    }

    async fn is_paid_at_high_fees(&self, payer: &PrivateKeySigner, amount: &str) {
        until("the lane is claimed", async || {
            self.anvil.mine_at(50 * GWEI, 1).await;
            (self.paid(payer).await == tokens(amount)).then_some(())
        })
        .await;
    }

    async fn transaction(&self, hash: B256) -> alloy::rpc::types::Transaction {
        self.anvil.provider.get_transaction_by_hash(hash).await.unwrap().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_somebody_else_made_meanwhile_is_cancelled() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    let mut config = world.config();
    config.replace_after_blocks = 2;
    let settler = world.settler_with(config).await;
    let voucher = world.voucher(&payer, "1");
    settler.record(voucher).await;
    world.anvil.automine(false).await;
    settler.ask().await;
    let claim = under_way(&settler).await;
    world.anvil.forget_waiting().await;

    let escrow = world.escrow();
    let elsewhere = escrow.claim(world.payee(), row::pack(&[voucher])).gas(200_000).send().await.unwrap();
    world.anvil.mine(4).await;
    assert!(elsewhere.get_receipt().await.unwrap().status());
    let cancel = until("it is taken back", async || {
        let hash = settler.status().await.transactions[0].hash?;
        (hash != claim && world.anvil.is_waiting(hash).await).then_some(hash)
    })
    .await;
    let transfer = world.transaction(cancel).await;
    let gas_key = world.gas_key.address();
    assert_eq!((transfer.to(), transfer.gas_limit(), transfer.nonce()), (Some(gas_key), 21_000, 0));
    assert_eq!((transfer.value(), transfer.input().len()), (U256::ZERO, 0));

    world.anvil.mine(1).await;
    until("the voucher is at its end", async || {
        world.anvil.mine(1).await;
        (settler.status().await.summary.vouchers.get(&VoucherState::Confirmed)?.count == 1).then_some(())
    })
    .await;
    let status = settler.status().await;
    assert_eq!(status.transactions[0].state, TransactionState::Cancelled);
    assert_eq!((world.earned().await, world.gas_transactions().await), (tokens("1"), 1));
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_not_worth_its_gas_any_more_is_taken_back_and_made_later() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    let mut config = world.config();
    config.replace_after_blocks = 2;
    config.native_coin_price = "100".into();
    config.fee_cap_gwei = 10_000;
    let settler = world.settler_with(config).await;
    world.anvil.automine(false).await;
    world.anvil.mine_at(GWEI, 1).await;
    settler.record(world.voucher(&payer, "1")).await;
    under_way(&settler).await;

    // A token is 10^7 gwei, a hundred a gas of this claim.
    let cancelled = async || {
        world.anvil.mine_at(1_000 * GWEI, 1).await;
        let summary = settler.status().await.summary;
        (summary.transactions.get(&TransactionState::Cancelled) == Some(&1)).then_some(())
    };
    until("it is taken back", cancelled).await;
    until("it is judged", async || {
        (settler.status().await.lanes.first()?.held == Some(Hold::NotWorthYet)).then_some(())
    })
    .await;
    assert_eq!((world.earned().await, world.gas_transactions().await), (Amount::ZERO, 1));

    until("it is claimed when gas is cheap again", async || {
        world.anvil.mine_at(GWEI, 1).await;
        (world.paid(&payer).await == tokens("1")).then_some(())
    })
    .await;
    assert_eq!(world.gas_transactions().await, 2);
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_closes_is_claimed_above_the_cap_if_its_value_bears_it() {
    let world = World::new().await;
    let (rich, poor) = (world.payer("100").await, world.payer("100").await);
    let mut config = world.config();
    config.fee_cap_gwei = 2;
    config.native_coin_price = "100".into();
    let settler = world.settler_with(config).await;
    world.anvil.automine(false).await;
    world.fees_rise(&settler).await;
    settler.hand_in(&[world.voucher(&rich, "100"), world.voucher(&poor, "0.000001")]).await;
    world.close_lanes(&[&rich, &poor]).await;
    assert_eq!(world.gas_transactions().await, 0);

    world.is_paid_at_high_fees(&rich, "100").await;
    assert_eq!(world.paid(&poor).await, Amount::ZERO, "one base unit is not worth 50 gwei a gas");
    let line = until("it is confirmed", async || {
        world.anvil.mine_at(50 * GWEI, 1).await;
        let lines = settler.status().await.transactions;
        lines.into_iter().find(|line| line.state == TransactionState::Confirmed)
    })
    .await;
    let fee: u128 = line.fee_wei.unwrap().parse().unwrap();
    let gas = u128::from(line.gas_used.unwrap());
    assert!(fee / gas >= 50 * GWEI, "above the cap of 2 gwei");
    assert!(fee < 1_000_000_000 * GWEI, "and below its value, one coin");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_under_way_bids_above_the_cap_when_its_lane_begins_to_close() {
    let world = World::new().await;
    let payer = world.payer("100").await;
    let mut config = world.config();
    (config.fee_cap_gwei, config.replace_after_blocks) = (2, 2);
    config.native_coin_price = "100".into();
    let settler = world.settler_with(config).await;
    world.anvil.automine(false).await;
    settler.hand_in(&[world.voucher(&payer, "100")]).await;
    settler.ask().await;
    under_way(&settler).await;

    world.fees_rise(&settler).await;
    assert_eq!(world.gas_transactions().await, 0, "it offered less than that");
    world.close_lanes(&[&payer]).await;

    world.is_paid_at_high_fees(&payer, "100").await;
    assert_eq!(world.gas_transactions().await, 1, "the same nonce");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_under_way_bids_above_the_cap_when_its_signer_begins_to_end() {
    let world = World::new().await;
    let (payer, delegate) = (world.payer("100").await, PrivateKeySigner::random());
    let escrow = PrepaymentEscrow::new(world.deployment.escrow, world.as_signer(&payer));
    escrow.authorize(delegate.address()).send().await.unwrap().get_receipt().await.unwrap();
    let mut config = world.config();
    (config.fee_cap_gwei, config.replace_after_blocks) = (2, 2);
    config.native_coin_price = "100".into();
    let settler = world.settler_with(config).await;
    world.anvil.automine(false).await;
    let domain = world.deployment.escrow_domain();
    settler.record(SignedVoucher::sign(payer.address(), world.payee(), tokens("100"), &domain, &delegate)).await;
    settler.ask().await;
    under_way(&settler).await;

    world.fees_rise(&settler).await;
    assert_eq!(world.gas_transactions().await, 0, "it offered less than that");
    world.revoke(&payer, delegate.address()).await;

    world.is_paid_at_high_fees(&payer, "100").await;
    assert_eq!(world.gas_transactions().await, 1, "the same nonce");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_in_the_way_of_a_lane_that_closes_is_taken_back() {
    let world = World::new().await;
    let (rich, patient) = (world.payer("100").await, world.payer("1").await);
    let mut config = world.config();
    (config.fee_cap_gwei, config.replace_after_blocks) = (2, 2);
    config.native_coin_price = "100".into();
    let settler = world.settler_with(config).await;
    world.anvil.automine(false).await;
    settler.hand_in(&[world.voucher(&patient, "1")]).await;
    settler.ask().await;
    under_way(&settler).await;

    world.fees_rise(&settler).await;
    settler.hand_in(&[world.voucher(&rich, "100")]).await;
    world.close_lanes(&[&rich]).await;

    world.is_paid_at_high_fees(&rich, "100").await;
    assert_eq!(world.paid(&patient).await, Amount::ZERO, "it can wait");
    assert_eq!(world.gas_transactions().await, 2, "what was in the way, and the claim");
    until("fees are what they were, and the other is paid", async || {
        world.anvil.mine_at(GWEI, 1).await;
        (world.paid(&patient).await == tokens("1")).then_some(())
    })
    .await;
    assert_eq!(world.earned().await, tokens("101"));
    settler.end().await;
}

/// An endpoint that says that whatever holds this payer's row uses no gas, so that its batch runs out of it.
async fn poisoned(world: &World, payer: Address) -> url::Url {
    let needle = alloy::hex::encode(payer);
    let lie = move |request: &serde_json::Value, result: &mut serde_json::Value| {
        let input = request["params"][0]["input"].as_str().unwrap_or_default();
        let claim = alloy::hex::encode(<PrepaymentEscrow::claimCall as alloy::sol_types::SolCall>::SELECTOR);
        if request["method"] == "eth_call" && input.contains(&claim) && input.contains(&needle) {
            let rest = result.as_str().unwrap()[66..].to_owned();
            *result = format!("0x{}{rest}", "0".repeat(64)).into();
        }
    };
    liar(world.anvil.url.clone(), Arc::new(AtomicBool::new(true)), Box::new(lie)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverted_batch_is_claimed_in_halves_until_the_bad_row_is_found() {
    const ROWS: usize = 16;
    let world = World::new().await;
    let mut payers = Vec::new();
    for _ in 0..ROWS {
        payers.push(world.payer("1").await);
    }
    let mut config = world.config();
    config.rpc_urls = vec![poisoned(&world, payers[5].address()).await];
    let settler = world.settler_with(config).await;
    let vouchers: Vec<_> = payers.iter().map(|payer| world.voucher(payer, "0.5")).collect();
    settler.hand_in(&vouchers).await;

    settler.ask().await;
    until("all are claimed, in the end that one too", async || {
        (settler.status().await.summary.vouchers.get(&VoucherState::Confirmed)?.count == 16).then_some(())
    })
    .await;
    assert_eq!(world.earned().await, tokens("8"));
    let transactions = settler.status().await.transactions;
    let mut reverted: Vec<u64> = Vec::new();
    for line in transactions.iter().rev().filter(|line| line.state == TransactionState::Reverted) {
        let sent = world.transaction(line.hash.unwrap()).await;
        let call = <PrepaymentEscrow::claimCall as alloy::sol_types::SolCall>::abi_decode(sent.input()).unwrap();
        reverted.push(u64::try_from(call.rows.len() / minus_bindings::ROW_BYTES).unwrap());
    }
    assert_eq!(reverted[..2], [16, 8], "each half the one before: {reverted:?}");
    assert!(reverted.windows(2).all(|pair| pair[1] == pair[0] / 2), "{reverted:?}");
    settler.end().await;
}
