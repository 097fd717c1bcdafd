//! A chain with many funded lanes to one operator, and a settler process on it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use alloy::consensus::constants::ETH_TO_WEI;
use alloy::primitives::{Address, U256};
use alloy::providers::Provider;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result, ensure};
use minus_bindings::{
    Amount, Deployment, IPrepaymentEscrow, PrepaymentEscrow, RoutingTable, SettlementToken, SignedVoucher,
};

use crate::bench::machine::peak_memory;
use crate::world::anvil::{Anvil, CHAIN_ID};
use crate::world::binaries;
use crate::world::network::keystore;
use crate::world::process::{Process, free_port};
use crate::world::reserve;

/// In each lane, base units: no run comes near it.
const DEPOSIT: u128 = 1_000_000_000;
/// Deposits of one transaction: below its gas cap.
const DEPOSITS_PER_TRANSACTION: usize = 300;
/// Gas of such a transaction, at most the cap of EIP-7825.
const DEPOSITS_GAS: u64 = 16_000_000;

/// The chain and whose lanes are on it.
pub struct Ground {
    /// The chain.
    pub anvil: Anvil,
    /// Where the contracts are.
    pub deployment: Deployment,
    /// Whom the lanes pay.
    pub payee: Address,
    /// Who pays.
    pub payers: Vec<PrivateKeySigner>,
    folder: PathBuf,
}

impl Ground {
    /// A chain with so many lanes, each with money.
    ///
    /// # Errors
    /// When the chain or the contracts do not come up.
    pub async fn prepare(folder: &Path, lanes: usize) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let anvil = Anvil::start(folder, None).await?;
        let bank = anvil.faucet();
        let own = bank.get_accounts().await?.first().copied().context("anvil has accounts")?;
        let wei = U256::from(ETH_TO_WEI) * U256::from(1_000_000_u64);
        bank.raw_request::<_, ()>("anvil_setBalance".into(), (own, wei)).await?;
        let reserve = reserve::deploy(bank).await?;
        let token = *SettlementToken::deploy(bank, reserve).await?.address();
        let escrow = *PrepaymentEscrow::deploy(bank, token).await?.address();
        let routing_table = *RoutingTable::deploy(bank, escrow).await?.address();
        let deployment = Deployment { chain_id: CHAIN_ID, reserve, token, escrow, routing_table, block: 0 };
        std::fs::write(folder.join("deployment.json"), deployment.to_json())?;
        let gas_key = keystore(folder, "gas.json")?;
        bank.raw_request::<_, ()>("anvil_setBalance".into(), (gas_key.address(), wei)).await?;

        let payers = std::iter::repeat_with(PrivateKeySigner::random).take(lanes).collect();
        let payee = Address::repeat_byte(0xaa);
        let ground = Self { anvil, deployment, payee, payers, folder: folder.to_owned() };
        ground.fund(own).await?;
        Ok(ground)
    }

    async fn fund(&self, own: Address) -> Result<()> {
        let (bank, deployment) = (self.anvil.faucet(), &self.deployment);
        let units = DEPOSIT * u128::try_from(self.payers.len())?;
        let amount = U256::from(units);
        reserve::mint(bank, deployment.reserve, own, units).await?;
        let token = SettlementToken::new(deployment.token, bank);
        SettlementToken::new(deployment.reserve, bank).approve(deployment.token, amount).send().await?.watch().await?;
        token.depositFor(own, amount).send().await?.watch().await?;
        token.approve(deployment.escrow, amount).send().await?.watch().await?;
        let escrow = PrepaymentEscrow::new(deployment.escrow, bank);
        let each = Amount::from_base_units(DEPOSIT)?.to_u96();
        for payers in self.payers.chunks(DEPOSITS_PER_TRANSACTION) {
            let to = |payer: &PrivateKeySigner| IPrepaymentEscrow::Deposit {
                payer: payer.address(),
                payee: self.payee,
                amount: each,
            };
            let deposits = escrow.depositMany(payers.iter().map(to).collect()).gas(DEPOSITS_GAS);
            ensure!(deposits.send().await?.get_receipt().await?.status(), "the deposits were refused");
        }
        Ok(())
    }

    /// A voucher of every payer for so many base units, in the payers' order, signed on all processors.
    ///
    /// # Errors
    /// When the amount is none.
    pub fn sign(&self, units: u128) -> Result<Vec<SignedVoucher>> {
        let total = Amount::from_base_units(units)?;
        let domain = self.deployment.escrow_domain();
        let sign = |payer: &PrivateKeySigner| SignedVoucher::sign(payer.address(), self.payee, total, &domain, payer);
        let part = self.payers.len().div_ceil(std::thread::available_parallelism()?.get()).max(1);
        Ok(std::thread::scope(|scope| {
            let signing: Vec<_> = self
                .payers
                .chunks(part)
                .map(|payers| scope.spawn(|| payers.iter().map(sign).collect::<Vec<_>>()))
                .collect();
            signing.into_iter().flat_map(|signed| signed.join().expect("a local key signs")).collect()
        }))
    }

    /// Starts a settler with an empty log and waits until it is ready. `settings` are lines of its configuration.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn settler(&self, name: &str, settings: &str) -> Result<Settler> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let (intake, admin) = (free_port()?, free_port()?);
        let config = folder.join("settler.toml");
        let text = format!(
            "deployment = {deployment:?}\nrpc_urls = [{rpc:?}]\ngas_keystore = {keystore:?}\n\
             gas_password_file = {password:?}\nlisten = \"127.0.0.1:{intake}\"\nadmin_listen = \"127.0.0.1:{admin}\"\n\
             payees = [\"{payee}\"]\n{database}{settings}\n",
            deployment = self.folder.join("deployment.json"),
            rpc = self.anvil.url(),
            keystore = self.folder.join("gas.json"),
            password = self.folder.join("password"),
            payee = self.payee,
            database = if settings.contains("database =") {
                String::new()
            } else {
                format!("database = \"sqlite:{}\"\n", folder.join("settler.db").display())
            },
        );
        std::fs::write(&config, text)?;
        let admin: SocketAddr = ([127, 0, 0, 1], admin).into();
        let mut process = Process::new("the settler", binaries::program("settler"), folder.join("settler.log"))
            .arguments(["run", "--config"])
            .arguments([&config])
            .ready_at(format!("http://{admin}/health/ready"));
        process.start()?;
        process.readiness().wait().await?;
        Ok(Settler { process, intake: ([127, 0, 0, 1], intake).into(), admin })
    }
}

/// A settler process. Dropped, it is killed.
pub struct Settler {
    process: Process,
    /// Where vouchers are handed in.
    pub intake: SocketAddr,
    /// The operator's port.
    pub admin: SocketAddr,
}

impl Settler {
    /// Its process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pid(&self) -> Result<u32> {
        self.process.pid().context("the settler has ended")
    }

    /// The most memory that it ever held, bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn peak_memory(&self) -> Result<u64> {
        peak_memory(self.pid()?)
    }
}
