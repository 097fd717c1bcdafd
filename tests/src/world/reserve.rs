//! The reserve asset of the tests on a real chain: an ERC-20 that anyone may print, deployed from source.

use std::time::Duration;

use alloy::network::TransactionBuilder;
use alloy::primitives::{Address, U256};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::TransactionRequest;
use alloy::sol;
use anyhow::{Context, Result};

use crate::compile;

sol! {
    #[sol(rpc)]
    contract TestReserve {
        function mint(address account, uint256 amount) external;
    }
}

/// How long the chain may take to mine one transaction.
const MINED_WITHIN: Duration = Duration::from_secs(20);

/// Deploys it and tells its address.
pub async fn deploy(provider: &DynProvider) -> Result<Address> {
    let compiled = compile::contracts().get("TestReserve").context("tests/contracts/mocks has no TestReserve")?;
    let creation = TransactionRequest::default().with_deploy_code(compiled.creation_code.clone());
    let pending = provider.send_transaction(creation).await?.with_timeout(Some(MINED_WITHIN));
    pending.get_receipt().await?.contract_address.context("the chain did not create the reserve asset")
}

/// Prints `amount` base units for `account`.
pub async fn mint(provider: &DynProvider, reserve: Address, account: Address, amount: u128) -> Result<()> {
    let reserve = TestReserve::new(reserve, provider);
    let pending = reserve.mint(account, U256::from(amount)).send().await?;
    pending.with_timeout(Some(MINED_WITHIN)).watch().await?;
    Ok(())
}
