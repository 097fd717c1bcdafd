//! 10,000 vouchers claimed on a chain with anvil's own gas limit: how full of claims its blocks are while the backlog
//! lasts, what it costs, and how long it takes against what the chain can carry at all.

use std::path::Path;
use std::time::{Duration, Instant};

use alloy::consensus::Transaction;
use alloy::primitives::{Address, U256};
use alloy::providers::{DynProvider, Provider};
use anyhow::{Context, Result, ensure};
use minus_bindings::SignedVoucher;
use minus_settler::api::IntakeAnswer;
use minus_settler::intake::VOUCHERS_PER_REQUEST_MAX;
use serde_json::json;

use super::ground::{Ground, Settler};
use super::options::{against_goal, against_number, alone};
use crate::bench::report::{Better, Row};
use crate::bench::statistics::number;
use crate::world::eventually;

/// The backlog.
const VOUCHERS: usize = 10_000;
/// Seconds from block to block.
const BLOCK_TIME_S: u64 = 2;
/// Of a block's gas, in per cent.
const SHARE_GOAL: f64 = 95.0;
/// All of it is claimed in this time on the slowest machine.
const CLAIMED_WITHIN: Duration = Duration::from_secs(600);
/// What each voucher says, base units.
const UNITS: u64 = 1_000;
/// Bytes of one MiB.
const MIB: f64 = 1_048_576.0;

/// One block, as far as claims go.
struct Block {
    /// Gas of claims.
    claims: u64,
    /// Its limit.
    limit: u64,
}

/// One backlog, claimed.
///
/// # Errors
/// When it is not claimed, or the operator's money is not all there.
pub async fn measure(folder: &Path) -> Result<Vec<Row>> {
    let ground = Ground::prepare(&folder.join("claims"), VOUCHERS).await?;
    let chain = ground.anvil.faucet();
    chain.raw_request::<_, serde_json::Value>("evm_setIntervalMining".into(), (BLOCK_TIME_S,)).await?;
    let settler = ground.settler("settler", "confirmations = 1\npoll_interval = \"250ms\"").await?;
    hand_in(&settler, &ground.sign(u128::from(UNITS))?).await?;

    let first = chain.get_block_number().await? + 1;
    let started = Instant::now();
    reqwest::Client::new().post(format!("http://{}/claim-now", settler.admin)).send().await?.error_for_status()?;
    let due = U256::from(UNITS) * U256::from(VOUCHERS);
    let earned = || async { Ok((earned(&ground).await? == due).then_some(())) };
    eventually("every voucher to be paid", CLAIMED_WITHIN, earned).await?;
    let took = started.elapsed().as_secs_f64();
    let blocks = blocks(chain, ground.deployment.escrow, first).await?;
    rows(&blocks, took, &settler)
}

async fn hand_in(settler: &Settler, vouchers: &[SignedVoucher]) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    for vouchers in vouchers.chunks(VOUCHERS_PER_REQUEST_MAX) {
        let request = http.post(format!("http://{}/vouchers", settler.intake)).json(&json!({ "vouchers": vouchers }));
        let answer: IntakeAnswer = request.send().await?.error_for_status()?.json().await?;
        ensure!(answer.results.len() == vouchers.len(), "every voucher is answered");
    }
    Ok(())
}

/// What the operator has in the escrow.
async fn earned(ground: &Ground) -> Result<U256> {
    let escrow = minus_bindings::PrepaymentEscrow::new(ground.deployment.escrow, ground.anvil.faucet());
    Ok(U256::from(escrow.openBalance(ground.payee).call().await?.amount))
}

/// From the first block with a claim to the last one.
async fn blocks(chain: &DynProvider, escrow: Address, first: u64) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for number in first..=chain.get_block_number().await? {
        let block = chain.get_block_by_number(number.into()).full().await?.context("a block of this chain")?;
        let limit = block.header.gas_limit;
        let mut claims = 0;
        for transaction in block.transactions.into_transactions().filter(|transaction| transaction.to() == Some(escrow))
        {
            let hash = *transaction.inner.tx_hash();
            claims += chain.get_transaction_receipt(hash).await?.context("a mined transaction")?.gas_used;
        }
        blocks.push(Block { claims, limit });
    }
    let from = blocks.iter().position(|block| block.claims > 0).context("a block with a claim")?;
    let to = blocks.iter().rposition(|block| block.claims > 0).context("a block with a claim")?;
    Ok(blocks.drain(from..=to).collect())
}

fn rows(blocks: &[Block], took: f64, settler: &Settler) -> Result<Vec<Row>> {
    let name = format!("claims, {VOUCHERS} vouchers");
    let shares: Vec<f64> = blocks.iter().map(|block| 100.0 * number(block.claims) / number(block.limit)).collect();
    let gas: u64 = blocks.iter().map(|block| block.claims).sum();
    let limit = blocks.first().map_or(1, |block| block.limit);
    // The last block holds what is left, whatever it is.
    let backlog = &shares[..shares.len().saturating_sub(1)];
    let least = gas.div_ceil(limit);
    let mut rows: Vec<Row> = Vec::new();
    rows.extend(against_goal(&name, "% of each block's gas", Better::Higher, backlog, SHARE_GOAL));
    rows.extend(alone(&name, "gas in all", Better::Lower, &[number(gas)]));
    rows.extend(alone(&name, "gas a voucher", Better::Lower, &[number(gas) / number(u64::try_from(VOUCHERS)?)]));
    let used = number(u64::try_from(blocks.len())?);
    rows.extend(against_number(&name, "blocks", Better::Lower, &[used], "limit", number(least)));
    let limit_s = number(least * BLOCK_TIME_S);
    rows.extend(against_number(&name, "s until all are paid", Better::Lower, &[took], "limit", limit_s));
    rows.extend(alone(&name, "MiB, peak", Better::Lower, &[number(settler.peak_memory()?) / MIB]));
    Ok(rows)
}
