//! A backlog fills blocks.

use alloy::primitives::U256;
use alloy::providers::Provider;
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::contracts::IPrepaymentEscrow;
use minus_settler::store::VoucherState;

use super::anvil::Anvil;
use super::world::{COIN, World, tokens, until};

/// Deposits of one transaction.
const DEPOSITS: usize = 150;

impl World {
    async fn fund_lanes(&self, payers: &[PrivateKeySigner]) {
        let amount = tokens("1");
        self.print(amount.to_u256() * U256::from(payers.len())).await;
        for payers in payers.chunks(DEPOSITS) {
            let deposit = |payer: &PrivateKeySigner| IPrepaymentEscrow::Deposit {
                payer: payer.address(),
                payee: self.payee(),
                amount: amount.to_u96(),
            };
            let deposits = self.escrow().depositMany(payers.iter().map(deposit).collect()).send().await.unwrap();
            assert!(deposits.get_receipt().await.unwrap().status());
        }
    }
}

/// 1,300 vouchers in blocks of 8 million gas; with MINUS_DEEP, 10,000 in blocks of 30 million every two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_full_of_claims_while_a_backlog_lasts() {
    let is_deep = std::env::var("MINUS_DEEP").is_ok_and(|deep| !deep.is_empty());
    let (vouchers, block_gas) = if is_deep { (10_000, 30_000_000) } else { (1_300, 8_000_000_u64) };
    let world = World::on(Anvil::start_with(&["--gas-limit", &block_gas.to_string()])).await;
    let payers: Vec<_> = (0..vouchers).map(|_| PrivateKeySigner::random()).collect();
    world.fund_lanes(&payers).await;
    let other = PrivateKeySigner::random();
    world.anvil.give_gas(other.address(), COIN).await;
    let mut config = world.config();
    // Nothing goes out before all is in.
    config.value_over_gas = u64::MAX;
    let settler = world.settler_with_keys(config, vec![world.gas_key.clone(), other]).await;
    for payers in payers.chunks(1_000) {
        let vouchers: Vec<_> = payers.iter().map(|payer| world.voucher(payer, "0.5")).collect();
        settler.hand_in(&vouchers).await;
    }
    world.anvil.automine(false).await;
    let before = world.anvil.head().await;
    let started = std::time::Instant::now();
    settler.ask().await;
    until("all is under way", async || {
        let vouchers = settler.status().await.summary.vouchers;
        let open = vouchers.get(&VoucherState::Recorded).map_or(0, |count| count.count);
        (open == 0).then_some(())
    })
    .await;
    if is_deep {
        world.anvil.request("evm_setIntervalMining", serde_json::json!([2])).await;
    }
    until("all is confirmed", async || {
        if !is_deep {
            world.anvil.mine(1).await;
        }
        let confirmed = settler.status().await.summary.vouchers.get(&VoucherState::Confirmed)?.count;
        (confirmed == u64::try_from(vouchers).unwrap()).then_some(())
    })
    .await;
    let seconds = started.elapsed().as_secs_f64();

    let mut shares = Vec::new();
    for number in before + 1..=world.anvil.head().await {
        let block = world.anvil.provider.get_block_by_number(number.into()).await.unwrap().unwrap();
        if block.header.gas_used > 0 {
            shares.push(block.header.gas_used * 1_000 / block.header.gas_limit);
        }
    }
    let gas: u64 = settler.status().await.transactions.iter().filter_map(|line| line.gas_used).sum();
    println!("{vouchers} vouchers, {gas} gas, {seconds:.1} s, per mille of each block: {shares:?}");
    let (_last, full) = shares.split_last().unwrap();
    assert!(!full.is_empty() && full.iter().all(|share| *share >= 950), "{shares:?}");
    assert_eq!(world.earned().await.base_units(), 500_000 * u128::try_from(vouchers).unwrap());
    settler.end().await;
}
