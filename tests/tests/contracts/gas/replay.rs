//! The same transactions once more, on a real chain: its receipts say the same, to the unit.

use std::time::Duration;

use alloy::primitives::{Address, B256, TxKind, U256, hex};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::TransactionReceipt;
use minus_tests::evm::TRANSACTION_GAS_MAX;
use minus_tests::world::anvil::Anvil;
use minus_tests::world::eventually;
use serde_json::json;

use super::bench::{BLOCK_S, Bench, Step};
use super::row::OneMoreRow;
use super::{money, routing, snapshot};

/// How long the chain may take to mine one transaction.
const MINED_WITHIN: Duration = Duration::from_secs(20);

/// Sends as `from`, whose key the chain is not asked for.
async fn send(chain: &DynProvider, from: Address, to: TxKind, data: &[u8]) -> anyhow::Result<TransactionReceipt> {
    let mut transaction = json!({
        "from": from,
        "data": hex::encode_prefixed(data),
        "gas": U256::from(TRANSACTION_GAS_MAX),
    });
    if let TxKind::Call(to) = to {
        transaction["to"] = json!(to);
    }
    let hash: B256 = chain.raw_request("eth_sendTransaction".into(), [transaction]).await?;
    eventually("a receipt", MINED_WITHIN, || async { Ok(chain.get_transaction_receipt(hash).await?) }).await
}

async fn wait(chain: &DynProvider, seconds: u64) -> anyhow::Result<()> {
    chain.raw_request::<_, serde_json::Value>("evm_increaseTime".into(), [seconds]).await?;
    Ok(())
}

/// Everything that the snapshot measures of functions, and the batches whose difference is one more row.
#[tokio::test]
async fn anvil_gives_the_same_receipts() -> anyhow::Result<()> {
    let mut bench = Bench::new();
    snapshot::of_escrow(&mut bench);
    routing::of_routing(&mut bench);
    money::of_token(&mut bench);
    OneMoreRow::measure(&mut bench);

    let folder = tempfile::tempdir()?;
    let anvil = Anvil::start(folder.path(), None).await?;
    let chain = anvil.faucet();
    chain.raw_request::<_, ()>("anvil_autoImpersonateAccount".into(), [true]).await?;
    for (number, step) in bench.history.iter().enumerate() {
        match step {
            Step::Wait(seconds) => wait(chain, *seconds).await?,
            Step::Transaction { from, to, data, gas } => {
                wait(chain, BLOCK_S).await?;
                anvil.give_gas(*from).await?;
                let receipt = send(chain, *from, *to, data).await?;
                assert!(receipt.status(), "step {number}: {receipt:?}");
                assert_eq!(receipt.gas_used, *gas, "step {number}: {to:?}");
            }
        }
    }
    Ok(())
}
