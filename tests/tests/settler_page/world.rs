//! A settler with a past: claims of a month, lanes of every kind, on a real chain.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::network::EthereumWallet;
use alloy::primitives::{Address, U256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result, ensure};
use minus_bindings::{Amount, Deployment, PrepaymentEscrow, RoutingTable, SettlementToken, SignedVoucher};
use minus_settler::api::{ClaimProgress, IntakeAnswer, IntakeResult};
use minus_settler::{Config, Handle, spawn_with_keys};
use minus_tests::world::anvil::{Anvil, CHAIN_ID};
use minus_tests::world::{eventually, reserve};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

/// Payers with a lane.
const PAYERS: usize = 42;
/// Base units that each lane holds.
const LANE_UNITS: u128 = 60_000_000;
/// The same for the fourth, which owes more in the end.
const POOR_LANE_UNITS: u128 = 4_000_000;
/// Claims of the past month.
const CLAIMS: u64 = 26;
const DAY_S: u64 = 86_400;
/// A claim on a busy machine.
const CLAIMED_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct World {
    anvil: Anvil,
    deployment: Deployment,
    config: Config,
    gas_key: PrivateKeySigner,
    operator: Address,
    payers: Vec<PrivateKeySigner>,
    /// What each payer has signed in all.
    signed: Vec<u128>,
    random: StdRng,
    http: reqwest::Client,
    /// None while it is down.
    settler: Option<Handle>,
}

pub(crate) fn now_s() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

impl World {
    /// Deploys, funds, claims, and lets the claims be of the last month. Of the lanes, the first three are under notice,
    /// the fourth is empty, and all but five owe something.
    pub(crate) async fn with_a_past(folder: &Path, gas_key: PrivateKeySigner) -> Result<Self> {
        let start = now_s()? - 7 * DAY_S;
        let anvil = Anvil::start(folder, Some(start)).await?;
        let (deployment, payers, operator) = stage(&anvil).await?;
        anvil.give_gas(gas_key.address()).await?;
        std::fs::write(folder.join("deployment.json"), deployment.to_json())?;
        for (payer, hours_ago) in payers.iter().zip([148, 84, 12]) {
            anvil.set_time(now_s()? - hours_ago * 3_600).await?;
            give_notice(&anvil, &deployment, payer, operator).await?;
        }
        anvil.set_time(now_s()?).await?;
        anvil.mine().await?;

        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = Config {
            deployment: folder.join("deployment.json"),
            rpc_urls: vec![anvil.url().parse()?],
            database: format!("sqlite:{}", folder.join("settler.db").display()),
            listen: any_port,
            admin_listen: any_port,
            payees: vec![operator],
            value_over_gas: 1_000_000,
            confirmations: 1,
            poll_interval: Duration::from_millis(50),
            lane_refresh: Duration::from_secs(1),
            explorer_url: Some("https://explorer.example/".parse()?),
            ..Config::default()
        };
        let settler = Some(spawn_with_keys(config.clone(), vec![gas_key.clone()]).await?);
        let random = StdRng::seed_from_u64(7);
        let signed = vec![0; payers.len()];
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut world = Self { anvil, deployment, config, gas_key, operator, payers, signed, random, http, settler };
        world.claim_for_a_month().await?;
        world.owe().await?;
        Ok(world)
    }

    async fn claim_for_a_month(&mut self) -> Result<()> {
        for claim in 0..CLAIMS {
            for _ in 0..self.random.random_range(2..7) {
                // The fourth payer is left for the day on which it owes more than it has.
                let payer = self.random.random_range(4..self.payers.len());
                self.signed[payer] += u128::from(self.random.random_range(40_000..900_000 + claim * 60_000));
                self.hand_in(payer).await?;
            }
            self.claim_now().await?;
        }
        self.signed[3] = POOR_LANE_UNITS;
        self.hand_in(3).await?;
        self.claim_now().await?;

        let past = self.restart_with_past().await?;
        ensure!(past == CLAIMS + 1, "{past} claims");
        Ok(())
    }

    /// The settler's clock cannot be set, so what it wrote is: the claims become those of the last thirty days.
    async fn restart_with_past(&mut self) -> Result<u64> {
        self.stop().await?;
        let log = sqlx::SqlitePool::connect(&self.config.database).await?;
        let claims: Vec<i64> = sqlx::query_scalar("select id from transactions order by id").fetch_all(&log).await?;
        let mut at = i64::try_from(now_s()? - 29 * DAY_S)?;
        let step = i64::try_from(29 * DAY_S)? / i64::try_from(claims.len())?;
        let latest = i64::try_from(now_s()?)?;
        for id in &claims {
            at = (at + self.random.random_range(step / 3..step * 5 / 3)).min(latest);
            let update = sqlx::query("update transactions set created_at = $1 where id = $2");
            update.bind(at).bind(id).execute(&log).await?;
        }
        log.close().await;
        self.settler = Some(spawn_with_keys(self.config.clone(), vec![self.gas_key.clone()]).await?);
        Ok(u64::try_from(claims.len())?)
    }

    /// Vouchers that wait: none is worth a million times its gas.
    async fn owe(&mut self) -> Result<()> {
        for payer in (0..self.payers.len()).filter(|payer| !(4..9).contains(payer)) {
            self.signed[payer] += u128::from(self.random.random_range(30_000_u64..6_000_000));
            self.hand_in(payer).await?;
        }
        Ok(())
    }

    /// Hands in what the payer has signed.
    async fn hand_in(&self, payer: usize) -> Result<()> {
        let key = &self.payers[payer];
        let total = Amount::from_base_units(self.signed[payer])?;
        let voucher = SignedVoucher::sign(key.address(), self.operator, total, &self.deployment.escrow_domain(), key);
        let url = format!("http://{}/vouchers", self.running()?.addr);
        let answer = self.http.post(url).json(&json!({ "vouchers": [voucher] })).send().await?;
        let results = answer.json::<IntakeAnswer>().await?.results;
        ensure!(results == [IntakeResult::Recorded], "{results:?}");
        Ok(())
    }

    async fn claim_now(&self) -> Result<()> {
        let url = format!("{}/claim-now", self.admin()?);
        let asked: ClaimProgress = self.http.post(&url).send().await?.json().await?;
        eventually("the claim", CLAIMED_WITHIN, || async {
            let url = format!("{url}/{}", asked.request);
            let progress: ClaimProgress = self.http.get(url).send().await?.json().await?;
            Ok(progress.done.then_some(()))
        })
        .await
    }

    fn running(&self) -> Result<&Handle> {
        self.settler.as_ref().context("the settler is down")
    }

    /// Where the page is.
    pub(crate) fn admin(&self) -> Result<String> {
        Ok(format!("http://{}", self.running()?.admin_addr))
    }

    /// Ends the settler.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.settler.take().context("the settler is down")?.shutdown().await?;
        Ok(())
    }

    pub(crate) async fn get(&self, path: &str) -> Result<reqwest::Response> {
        Ok(self.http.get(format!("{}{path}", self.admin()?)).send().await?)
    }

    /// What the operator has, says the chain.
    pub(crate) async fn earned(&self) -> Result<Amount> {
        let escrow = PrepaymentEscrow::new(self.deployment.escrow, self.anvil.faucet().clone());
        Ok(escrow.openBalance(self.operator).call().await?.amount.into())
    }

    /// What the payers have signed, and lanes that owe something.
    pub(crate) async fn owed(&self) -> Result<(u128, usize)> {
        let signed: u128 = self.signed.iter().sum();
        let owing = self.payers.len() - 5;
        Ok((signed - self.earned().await?.base_units(), owing))
    }
}

async fn stage(anvil: &Anvil) -> Result<(Deployment, Vec<PrivateKeySigner>, Address)> {
    let bank = anvil.faucet();
    let banker = bank.get_accounts().await?[0];
    let reserve = reserve::deploy(bank).await?;
    let token = *SettlementToken::deploy(bank, reserve).await?.address();
    let escrow = *PrepaymentEscrow::deploy(bank, token).await?.address();
    let routing_table = *RoutingTable::deploy(bank, escrow).await?.address();
    let deployment = Deployment { chain_id: CHAIN_ID, reserve, token, escrow, routing_table, block: 1 };

    let payers: Vec<_> = (0..PAYERS).map(|_| PrivateKeySigner::random()).collect();
    let units = LANE_UNITS * u128::try_from(PAYERS)?;
    reserve::mint(bank, reserve, banker, units).await?;
    let (all, token_of) = (U256::from(units), |at| SettlementToken::new(at, bank));
    token_of(reserve).approve(token, all).send().await?.watch().await?;
    token_of(token).depositFor(banker, all).send().await?.watch().await?;
    token_of(token).approve(escrow, all).send().await?.watch().await?;
    let operator = PrivateKeySigner::random().address();
    let escrow = PrepaymentEscrow::new(escrow, bank);
    let lane = Amount::from_base_units(LANE_UNITS)?.to_u96();
    let poor_lane = Amount::from_base_units(POOR_LANE_UNITS)?.to_u96();
    for (index, payer) in payers.iter().enumerate() {
        let amount = if index == 3 { poor_lane } else { lane };
        escrow.deposit(payer.address(), operator, amount).send().await?.watch().await?;
    }
    Ok((deployment, payers, operator))
}

/// The payer wants its money back.
async fn give_notice(anvil: &Anvil, deployment: &Deployment, payer: &PrivateKeySigner, payee: Address) -> Result<()> {
    anvil.give_gas(payer.address()).await?;
    let wallet = EthereumWallet::from(payer.clone());
    let provider: DynProvider = ProviderBuilder::new().wallet(wallet).connect_http(anvil.url().parse()?).erased();
    let escrow = PrepaymentEscrow::new(deployment.escrow, provider);
    let lane = Amount::from_base_units(LANE_UNITS)?.to_u96();
    escrow.thaw(payee, lane).send().await?.watch().await?;
    Ok(())
}
