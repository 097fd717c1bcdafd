//! `settler deploy`: the three contracts through the deterministic deployer, then the deployments file that every
//! program reads. What stands already is compared and kept, what lacks is created, and the file is written when all
//! three stand, whole or not at all. So it can be repeated after whatever happened, and repeated it sends nothing.

use std::path::PathBuf;

use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::{DynProvider, Provider};
use alloy::transports::TransportError;
use clap::Args;
use minus_bindings::Deployment;
use minus_bindings::create2::{DETERMINISTIC_DEPLOYER, SALT};
use serde::Serialize;
use url::Url;

use super::operator::{Step, open_key, signing_provider, tell};
use super::outcome::{CommandError, say, say_json};
use crate::config::read_deployment;
use crate::deploy::create::{check_money, create, estimate};
use crate::deploy::first_block::{Seen, first_block};
use crate::deploy::site::{Place, Site};
use crate::deploy::{DeployError, check, files};

/// The steps, in the order of the places.
const STEPS: [&str; 3] = ["create SettlementToken", "create PrepaymentEscrow", "create RoutingTable"];

/// What to deploy, and who pays for it.
///
/// The addresses depend on the reserve's address alone, so they are the same on every chain where the reserve has the
/// same address, whoever deploys. The contracts have no owner: the key keeps no power over them.
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
    /// Refuse any other chain than the one of this number.
    #[arg(long)]
    chain_id: Option<u64>,
    /// Key file of the account that pays for the gas; needed only if something lacks.
    #[arg(long)]
    keystore: Option<PathBuf>,
    /// File with its password; else SETTLER_PASSWORD, else the terminal.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// Send nothing and write no deployments file; show what would be sent. Needs no key.
    #[arg(long)]
    dry_run: bool,
    /// Write into this folder what an explorer needs to show the sources: the compiler's standard JSON input of each
    /// contract, and an index with addresses, compiler version and constructor arguments.
    #[arg(long, value_name = "FOLDER")]
    verification_input: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    deployment: &'a Deployment,
    file: &'a PathBuf,
    steps: &'a [Step],
}

/// What a dry run found out.
#[derive(Serialize)]
struct Plan {
    chain_id: u64,
    reserve: Address,
    salt: B256,
    contracts: Vec<PlannedContract>,
}

#[derive(Serialize)]
struct PlannedContract {
    contract: &'static str,
    address: Address,
    stands: bool,
    /// What would be sent; nothing for a contract that stands.
    transaction: Option<PlannedTransaction>,
}

#[derive(Serialize)]
struct PlannedTransaction {
    to: Address,
    data: Bytes,
    gas: u64,
}

impl Deploy {
    /// Deploys what lacks.
    ///
    /// # Errors
    /// When something else stands there, the file names something else, the chain refuses, or a file cannot be written.
    pub async fn execute(self) -> Result<(), CommandError> {
        let provider = crate::chain::provider(&self.rpc_url);
        let chain_id = provider.get_chain_id().await?;
        let file = self.read_file(chain_id)?;
        let site = Site::survey(&provider, chain_id, self.reserve).await?;
        let gas = estimate(&provider, &site).await?;
        if self.dry_run {
            self.write_verification(&site)?;
            return self.show(&site, gas);
        }

        let steps = self.create(&provider, &site, gas).await?;
        check::check(&provider, &site.network).await?;

        let sent = steps.iter().any(|step| step.transaction.is_some());
        let block = block(&provider, &site, file.filter(|_| !sent)).await?;
        let deployment = Deployment { block, ..site.network };
        self.write_verification(&site)?;
        if file != Some(deployment) {
            files::write_whole(&self.out, deployment.to_json().as_bytes())?;
        }
        self.answer(&deployment, &steps)
    }

    /// The deployments file, if there is one; it has to be of this network.
    fn read_file(&self, chain_id: u64) -> Result<Option<Deployment>, CommandError> {
        let wrong_chain =
            |expected, asked_by| Err(DeployError::WrongChain { given: chain_id, expected, asked_by }.into());
        if let Some(expected) = self.chain_id.filter(|expected| *expected != chain_id) {
            return wrong_chain(expected, "--chain-id".to_owned());
        }
        if !self.out.exists() {
            return Ok(None);
        }
        let file = read_deployment(&self.out).map_err(|error| CommandError::Refused(error.to_string()))?;
        if file.chain_id != chain_id {
            return wrong_chain(file.chain_id, self.out.display().to_string());
        }
        let ours = Deployment::predicted(chain_id, self.reserve, file.block);
        if file != ours {
            let (file, ours) = (Box::new(file), Box::new(ours));
            return Err(DeployError::AnotherNetwork { path: self.out.clone(), file, ours }.into());
        }
        Ok(Some(file))
    }

    /// Creates what lacks; the key is not even opened if nothing does.
    async fn create(
        &self,
        provider: &DynProvider,
        site: &Site,
        gas: [Option<u64>; 3],
    ) -> Result<Vec<Step>, CommandError> {
        if site.places.iter().all(|place| place.stands) {
            return Ok(STEPS.map(Step::already).to_vec());
        }
        let keystore = self.keystore.as_ref().ok_or_else(|| {
            CommandError::Usage("contracts are to be created, for which --keystore names who pays".to_owned())
        })?;
        let key = open_key(keystore, self.password_file.as_deref()).await?;
        check_money(provider, key.address(), &gas).await?;
        let signing = signing_provider(&self.rpc_url, key);
        let mut steps = Vec::new();
        for (step, place) in STEPS.into_iter().zip(&site.places) {
            steps.push(Step { step, transaction: create(&signing, place).await? });
        }
        Ok(steps)
    }

    fn write_verification(&self, site: &Site) -> Result<(), CommandError> {
        if let Some(folder) = &self.verification_input {
            files::write_verification(folder, site.places.iter().map(|place| &place.creation))?;
        }
        Ok(())
    }

    fn answer(&self, deployment: &Deployment, steps: &[Step]) -> Result<(), CommandError> {
        if self.json {
            return say_json(&Answer { deployment, file: &self.out, steps });
        }
        tell(steps)?;
        say(&format!("{} names what stands:", self.out.display()))?;
        say(deployment.to_json().trim_end())
    }

    fn show(&self, site: &Site, gas: [Option<u64>; 3]) -> Result<(), CommandError> {
        let plan = Plan {
            chain_id: site.network.chain_id,
            reserve: self.reserve,
            salt: SALT,
            contracts: site.places.iter().zip(gas).map(|(place, gas)| planned(place, gas)).collect(),
        };
        if self.json {
            return say_json(&plan);
        }
        say(&format!("chain {}, reserve {}; nothing was sent", plan.chain_id, plan.reserve))?;
        for planned in &plan.contracts {
            let what = planned.transaction.as_ref().map_or_else(
                || "stands".to_owned(),
                |transaction| {
                    let bytes = transaction.data.len();
                    format!("to be created: {bytes} bytes to {}, {} gas", transaction.to, transaction.gas)
                },
            );
            say(&format!("{:16} {} {what}", planned.contract, planned.address))?;
        }
        Ok(())
    }
}

fn planned(place: &Place, gas: Option<u64>) -> PlannedContract {
    let data = || place.creation.calldata();
    PlannedContract {
        contract: place.creation.contract,
        address: place.creation.address,
        stands: place.stands,
        transaction: gas.map(|gas| PlannedTransaction { to: DETERMINISTIC_DEPLOYER, data: data(), gas }),
    }
}

/// The first block to read events from: the file's, unless a contract is known to be older; else the first that ended
/// with one of the contracts standing; else 0, which is right everywhere and slow on a long chain.
async fn block(provider: &DynProvider, site: &Site, file: Option<Deployment>) -> Result<u64, CommandError> {
    let head = provider.get_block_number().await?;
    let ask = |block| seen(provider, site, block);
    if let Some(file) = file.filter(|file| file.block <= head) {
        let is_late = match file.block.checked_sub(1) {
            Some(before) => ask(before).await? == Seen::Standing,
            None => false,
        };
        if !is_late {
            return Ok(file.block);
        }
    }
    Ok(first_block(head, ask).await?.unwrap_or(0))
}

/// Whether one of the contracts stood at the end of a block. An endpoint that has forgotten a block should say so; one
/// that says instead that there was no code is found out by the deployer, which has to be older than what it created.
async fn seen(provider: &DynProvider, site: &Site, block: u64) -> Result<Seen, TransportError> {
    let deployer = provider.get_code_at(DETERMINISTIC_DEPLOYER).number(block);
    match (site.stood_at(provider, block).await, deployer.await) {
        (Ok(true), _) => Ok(Seen::Standing),
        (Ok(false), Ok(deployer)) if !deployer.is_empty() => Ok(Seen::Nothing),
        (Err(error), _) | (_, Err(error)) if error.as_error_resp().is_none() => Err(error),
        _ => Ok(Seen::Unknown),
    }
}
