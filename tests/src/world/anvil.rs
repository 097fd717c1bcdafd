//! The chain: a real anvil, and what only its owner may do with it.

use std::path::Path;
use std::time::Duration;

use alloy::network::EthereumWallet;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result};

use super::process::{Process, free_port};
use super::{binaries, eventually};

/// Anvil's default chain id.
pub const CHAIN_ID: u64 = 31_337;

/// The first of anvil's publicly known keys, which holds ether from the start.
const FAUCET_KEY: B256 = alloy::primitives::b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");

/// What each account gets to pay gas with, in wei: one ether.
const GAS_MONEY: u128 = 1_000_000_000_000_000_000;

/// A running chain. Dropped, it ends.
#[derive(Debug)]
pub struct Anvil {
    /// Held for its end: dropped, it kills the chain.
    _process: Process,
    url: String,
    faucet: DynProvider,
}

impl Anvil {
    /// Starts a chain that mines a transaction at once and an empty block every second. Its clock starts at this machine's
    /// time, or at `time` in seconds since 1970.
    pub async fn start(folder: &Path, time: Option<u64>) -> Result<Self> {
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let mut process = Process::new("anvil", binaries::anvil(), folder.join("anvil.log")).arguments([
            "--port",
            &port.to_string(),
            "--block-time",
            "1",
            "--mixed-mining",
        ]);
        if let Some(time) = time {
            process = process.arguments(["--timestamp", &time.to_string()]);
        }
        process.start().context("is the Solidity toolchain installed? `scripts/test` and `scripts/demo` do that")?;
        let signer = PrivateKeySigner::from_bytes(&FAUCET_KEY)?;
        let faucet = ProviderBuilder::new().wallet(EthereumWallet::from(signer)).connect_http(url.parse()?).erased();
        eventually("anvil to answer", Duration::from_secs(20), || async { Ok(Some(faucet.get_block_number().await?)) })
            .await?;
        Ok(Self { _process: process, url, faucet })
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection that signs with the faucet's key.
    pub fn faucet(&self) -> &DynProvider {
        &self.faucet
    }

    /// Lets the chain's next block have this time, in seconds since 1970; its clock goes on from there.
    pub async fn set_time(&self, time: u64) -> Result<()> {
        self.faucet.raw_request::<_, serde_json::Value>("evm_setNextBlockTimestamp".into(), (time,)).await?;
        Ok(())
    }

    /// Mines a block, at the time set if there is one.
    pub async fn mine(&self) -> Result<()> {
        self.faucet.raw_request::<_, serde_json::Value>("evm_mine".into(), ()).await?;
        Ok(())
    }

    /// Gives an account ether to pay gas with.
    pub async fn give_gas(&self, account: Address) -> Result<()> {
        let wei = U256::from(GAS_MONEY);
        self.faucet.raw_request::<_, ()>("anvil_setBalance".into(), (account, wei)).await?;
        Ok(())
    }
}
