//! `settler deploy`: the three contracts, then the deployments file that every program reads. The file appears only
//! when all three are there, whole or not at all; with a file that names them already, nothing is deployed.

use std::io::Write;
use std::path::{Path, PathBuf};

use alloy::network::{Ethereum, TransactionBuilder};
use alloy::primitives::{Address, Bytes};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::TransactionRequest;
use alloy::rpc::types::state::StateOverridesBuilder;
use alloy::sol_types::SolValue;
use anyhow::{Context, anyhow};
use clap::Args;
use minus_bindings::{Deployment, PrepaymentEscrow, RoutingTable, SettlementToken};
use serde::Serialize;
use url::Url;

use super::operator::{check_gas, open_key, signing_provider};
use super::outcome::{CommandError, say, say_json};
use crate::config::read_deployment;

/// What to deploy, and who pays for it. The contracts have no owner: the key keeps no power over them.
#[derive(Debug, Args)]
pub struct Deploy {
    /// The reserve asset, an ERC-20 of 6 decimals that the settlement token wraps at par.
    #[arg(long)]
    reserve: Address,
    /// The file to write.
    #[arg(long, env = "SETTLER_DEPLOYMENT", default_value = "deployment.json")]
    out: PathBuf,
    /// An endpoint of the chain.
    #[arg(long, env = "SETTLER_RPC_URL", default_value = "http://127.0.0.1:8545")]
    rpc_url: Url,
    /// Key file of the account that pays for the gas.
    #[arg(long)]
    keystore: PathBuf,
    /// File with its password; else SETTLER_PASSWORD, else the terminal.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer {
    deployed: bool,
    file: PathBuf,
    #[serde(flatten)]
    deployment: Deployment,
}

impl Deploy {
    /// Deploys, unless the file says that it is done.
    ///
    /// # Errors
    /// When the file names something else, the chain refuses, or the file cannot be written.
    pub async fn execute(self) -> Result<(), CommandError> {
        if self.out.exists() {
            let deployment = read_deployment(&self.out).map_err(|error| CommandError::Refused(error.to_string()))?;
            self.check(&deployment).await?;
            return self.answer(false, deployment);
        }
        let key = open_key(&self.keystore, self.password_file.as_deref()).await?;
        let account = key.address();
        let provider = signing_provider(&self.rpc_url, key);
        let chain_id = provider.get_chain_id().await?;
        if provider.get_code_at(self.reserve).await?.is_empty() {
            let reserve = self.reserve;
            return Err(CommandError::Refused(format!(
                "there is no contract at {reserve} on chain {chain_id}; --reserve takes an ERC-20 of 6 decimals"
            )));
        }
        check_gas(&provider, account).await?;
        let (token, block) = create(SettlementToken::deploy_builder(&provider, self.reserve)).await?;
        let (escrow, _) = create(PrepaymentEscrow::deploy_builder(&provider, token)).await?;
        let (routing_table, _) = create(RoutingTable::deploy_builder(&provider, escrow)).await?;
        let deployment = Deployment { chain_id, reserve: self.reserve, token, escrow, routing_table, block };
        self.check(&deployment).await?;
        write_whole(&self.out, deployment.to_json().as_bytes())
            .with_context(|| format!("{deployment:?} stands, but {} cannot be written", self.out.display()))?;
        self.answer(true, deployment)
    }

    fn answer(self, deployed: bool, deployment: Deployment) -> Result<(), CommandError> {
        if self.json {
            return say_json(&Answer { deployed, file: self.out, deployment });
        }
        let file = self.out.display();
        say(&if deployed { format!("deployed and written to {file}") } else { format!("{file} is deployed already") })?;
        say(deployment.to_json().trim_end())
    }

    /// Do the contracts that the file names stand there, and do they know each other?
    async fn check(&self, deployment: &Deployment) -> Result<(), CommandError> {
        let provider = crate::chain::provider(&self.rpc_url);
        let file = self.out.display();
        let chain_id = provider.get_chain_id().await?;
        if deployment.chain_id != chain_id || deployment.reserve != self.reserve {
            return Err(CommandError::Refused(format!(
                "{file} is of chain {} and reserve {}; this is chain {chain_id} and reserve {}. Move it away to deploy.",
                deployment.chain_id, deployment.reserve, self.reserve
            )));
        }
        for (name, address, creation, argument) in [
            ("SettlementToken", deployment.token, &SettlementToken::BYTECODE, deployment.reserve),
            ("PrepaymentEscrow", deployment.escrow, &PrepaymentEscrow::BYTECODE, deployment.token),
            ("RoutingTable", deployment.routing_table, &RoutingTable::BYTECODE, deployment.escrow),
        ] {
            if !is_ours(&provider, address, creation, argument).await? {
                return Err(CommandError::Refused(format!(
                    "{file} names no {name} at {address}. Move it away to deploy."
                )));
            }
        }
        let backed_by = SettlementToken::new(deployment.token, &provider).underlying().call().await?;
        let holds = PrepaymentEscrow::new(deployment.escrow, &provider).token().call().await?;
        let bonds_in = RoutingTable::new(deployment.routing_table, &provider).escrow().call().await?;
        if (backed_by, holds, bonds_in) != (deployment.reserve, deployment.token, deployment.escrow) {
            return Err(CommandError::Refused(format!("the contracts that {file} names are not of one network")));
        }
        Ok(())
    }
}

async fn create<P: Provider<Ethereum>, C: alloy::contract::CallDecoder>(
    call: alloy::contract::CallBuilder<P, C, Ethereum>,
) -> Result<(Address, u64), CommandError> {
    let receipt = call.send().await?.get_receipt().await?;
    match (receipt.status(), receipt.contract_address, receipt.block_number) {
        (true, Some(address), Some(block)) => Ok((address, block)),
        _ => Err(CommandError::Refused(format!("creation {} was reverted", receipt.transaction_hash))),
    }
}

/// Is the code at this address exactly what our creation code makes there? Immutable values and the contract's own
/// address stand inside the code, so the creation code is run as if it stood at that very address.
async fn is_ours(
    provider: &DynProvider,
    address: Address,
    creation: &Bytes,
    argument: Address,
) -> Result<bool, CommandError> {
    let code = provider.get_code_at(address).await?;
    let mut making = creation.to_vec();
    making.extend(argument.abi_encode());
    let overrides = StateOverridesBuilder::default().with_code(address, making).build();
    let made = provider.call(TransactionRequest::default().with_to(address)).overrides(overrides).await?;
    Ok(!code.is_empty() && code == made)
}

/// Writes beside the file, makes it durable, then renames: whoever reads the name finds all of it or nothing.
fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| anyhow!("{} is no file name", path.display()))?;
    let beside = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}
