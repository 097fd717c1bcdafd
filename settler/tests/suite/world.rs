//! One network with named actors: an operator, payers, a gas key, and a settler to start, end and start again.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use alloy::network::{EthereumWallet, TransactionBuilder};
use alloy::primitives::{Address, TxHash, U256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol;
use minus_bindings::{Amount, Deployment, PrepaymentEscrow, RoutingTable, SettlementToken, SignedVoucher};
use minus_settler::api::{ClaimProgress, IntakeAnswer, IntakeResult, Status};
use minus_settler::{Config, Handle, spawn_with_keys};
use serde_json::json;
use tempfile::TempDir;

use super::anvil::{Anvil, test_reserve};

sol! {
    #[sol(rpc)]
    contract Reserve {
        function mint(address account, uint256 amount) external;
        function balanceOf(address account) external view returns (uint256);
    }
}

/// 10^18 wei.
pub(crate) const COIN: u128 = 1_000_000_000_000_000_000;
/// Nothing of what is waited for takes so long.
const DEADLINE: Duration = Duration::from_secs(180);

pub(crate) fn tokens(text: &str) -> Amount {
    text.parse().unwrap()
}

pub(crate) struct World {
    pub(crate) anvil: Anvil,
    pub(crate) deployment: Deployment,
    pub(crate) dir: TempDir,
    /// Pays for everything that is not the settler's business.
    pub(crate) banker: PrivateKeySigner,
    pub(crate) bank: DynProvider,
    pub(crate) operator: PrivateKeySigner,
    pub(crate) gas_key: PrivateKeySigner,
    pub(crate) http: reqwest::Client,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(Anvil::start()).await
    }

    pub(crate) async fn on(anvil: Anvil) -> Self {
        let banker = PrivateKeySigner::random();
        let gas_key = PrivateKeySigner::random();
        let operator = PrivateKeySigner::random();
        for account in [&banker, &gas_key, &operator] {
            anvil.give_gas(account.address(), 1_000 * COIN).await;
        }
        let bank = signing(&anvil, &banker);
        let create = TransactionRequest::default().with_deploy_code(test_reserve());
        let receipt = bank.send_transaction(create).await.unwrap().get_receipt().await.unwrap();
        let reserve = receipt.contract_address.unwrap();
        let token = *SettlementToken::deploy(&bank, reserve).await.unwrap().address();
        let escrow = *PrepaymentEscrow::deploy(&bank, token).await.unwrap().address();
        let routing_table = *RoutingTable::deploy(&bank, escrow).await.unwrap().address();
        let deployment = Deployment { chain_id: 31_337, reserve, token, escrow, routing_table, block: 1 };

        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("deployment.json"), deployment.to_json()).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { anvil, deployment, dir, banker, bank, operator, gas_key, http }
    }

    pub(crate) fn payee(&self) -> Address {
        self.operator.address()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self) -> Config {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Config {
            deployment: self.path("deployment.json"),
            rpc_urls: vec![self.anvil.url.clone()],
            database: format!("sqlite:{}", self.path("settler.db").display()),
            listen: any_port,
            admin_listen: any_port,
            payees: vec![self.payee()],
            confirmations: 1,
            poll_interval: Duration::from_millis(50),
            lane_refresh: Duration::ZERO,
            ..Config::default()
        }
    }

    pub(crate) async fn settler(&self) -> Settler<'_> {
        self.settler_with(self.config()).await
    }

    pub(crate) async fn settler_with(&self, config: Config) -> Settler<'_> {
        self.settler_with_keys(config, vec![self.gas_key.clone()]).await
    }

    pub(crate) async fn settler_with_keys(&self, config: Config, keys: Vec<PrivateKeySigner>) -> Settler<'_> {
        let handle = spawn_with_keys(config, keys).await.unwrap();
        Settler { handle, world: self }
    }

    pub(crate) fn as_signer(&self, key: &PrivateKeySigner) -> DynProvider {
        signing(&self.anvil, key)
    }

    pub(crate) fn escrow(&self) -> PrepaymentEscrow::PrepaymentEscrowInstance<DynProvider> {
        PrepaymentEscrow::new(self.deployment.escrow, self.bank.clone())
    }

    /// Prints reserve, wraps it and puts it into somebody's lane.
    pub(crate) async fn fund(&self, payer: Address, payee: Address, amount: Amount) {
        self.print(amount.to_u256()).await;
        self.deposit(payer, payee, amount).await;
    }

    /// The same for the open balances of many.
    pub(crate) async fn fund_open_balances(&self, payers: &[PrivateKeySigner], amount: Amount) {
        self.print(amount.to_u256() * U256::from(payers.len())).await;
        for payer in payers {
            self.deposit(payer.address(), Address::ZERO, amount).await;
        }
    }

    /// Settlement tokens for the banker, and the escrow may take them.
    pub(crate) async fn print(&self, units: U256) {
        let bank = &self.bank;
        let token = SettlementToken::new(self.deployment.token, bank);
        let reserve = Reserve::new(self.deployment.reserve, bank);
        let approve_reserve = SettlementToken::new(self.deployment.reserve, bank);
        reserve.mint(self.banker.address(), units).send().await.unwrap().get_receipt().await.unwrap();
        let approval = approve_reserve.approve(self.deployment.token, units).send().await.unwrap();
        approval.get_receipt().await.unwrap();
        token.depositFor(self.banker.address(), units).send().await.unwrap().get_receipt().await.unwrap();
        token.approve(self.deployment.escrow, units).send().await.unwrap().get_receipt().await.unwrap();
    }

    async fn deposit(&self, payer: Address, payee: Address, amount: Amount) {
        self.escrow().deposit(payer, payee, amount.to_u96()).send().await.unwrap().get_receipt().await.unwrap();
    }

    /// A payer with a lane to the operator, and gas to speak for itself.
    pub(crate) async fn payer(&self, funds: &str) -> PrivateKeySigner {
        let payer = PrivateKeySigner::random();
        self.anvil.give_gas(payer.address(), COIN).await;
        if tokens(funds) > Amount::ZERO {
            self.fund(payer.address(), self.payee(), tokens(funds)).await;
        }
        payer
    }

    pub(crate) fn voucher(&self, payer: &PrivateKeySigner, cumulative: &str) -> SignedVoucher {
        let domain = self.deployment.escrow_domain();
        SignedVoucher::sign(payer.address(), self.payee(), tokens(cumulative), &domain, payer)
    }

    /// What the payer's lane to the operator has paid.
    pub(crate) async fn paid(&self, payer: &PrivateKeySigner) -> Amount {
        self.escrow().lane(payer.address(), self.payee()).call().await.unwrap()._0.paid.into()
    }

    /// What the operator has earned.
    pub(crate) async fn earned(&self) -> Amount {
        self.escrow().openBalance(self.payee()).call().await.unwrap().amount.into()
    }

    pub(crate) async fn gas_transactions(&self) -> u64 {
        self.anvil.provider.get_transaction_count(self.gas_key.address()).await.unwrap()
    }
}

fn signing(anvil: &Anvil, key: &PrivateKeySigner) -> DynProvider {
    ProviderBuilder::new()
        .with_simple_nonce_management()
        .wallet(EthereumWallet::from(key.clone()))
        .connect_http(anvil.url.clone())
        .erased()
}

/// A running settler, as nodes and operators see it.
pub(crate) struct Settler<'w> {
    pub(crate) handle: Handle,
    world: &'w World,
}

impl Settler<'_> {
    pub(crate) async fn post(&self, body: String) -> reqwest::Response {
        let url = format!("http://{}/vouchers", self.handle.addr);
        let request = self.world.http.post(url).header("content-type", "application/json").body(body);
        request.send().await.unwrap()
    }

    /// Hands vouchers in.
    pub(crate) async fn hand_in(&self, vouchers: &[SignedVoucher]) -> Vec<IntakeResult> {
        let response = self.post(json!({ "vouchers": vouchers }).to_string()).await;
        assert_eq!(response.status(), 200);
        response.json::<IntakeAnswer>().await.unwrap().results
    }

    /// Hands one in that has to be new.
    pub(crate) async fn record(&self, voucher: SignedVoucher) {
        assert_eq!(self.hand_in(&[voucher]).await, [IntakeResult::Recorded]);
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("http://{}/{path}", self.handle.admin_addr);
        self.world.http.get(url).send().await.unwrap()
    }

    pub(crate) async fn status(&self) -> Status {
        self.get("status").await.json().await.unwrap()
    }

    pub(crate) async fn ask(&self) -> ClaimProgress {
        let url = format!("http://{}/claim-now", self.handle.admin_addr);
        self.world.http.post(url).send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn progress(&self, request: i64) -> ClaimProgress {
        self.get(&format!("claim-now/{request}")).await.json().await.unwrap()
    }

    /// As `settler claim --now`.
    pub(crate) async fn claim_now(&self) -> ClaimProgress {
        let request = self.ask().await.request;
        until("everything is claimed", async || {
            let progress = self.progress(request).await;
            progress.done.then_some(progress)
        })
        .await
    }

    pub(crate) async fn end(self) {
        self.handle.shutdown().await.unwrap();
    }

    /// Ends it as a power cut would, as far as one process can: every task stops where it is.
    pub(crate) fn kill(self) {
        drop(self.handle);
    }
}

/// Polls until there is an answer.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The first hash of what is under way.
pub(crate) async fn under_way(settler: &Settler<'_>) -> TxHash {
    use minus_settler::store::TransactionState;
    until("a claim is submitted", async || {
        let transactions = settler.status().await.transactions;
        let submitted = transactions.iter().find(|line| line.state == TransactionState::Submitted);
        submitted.and_then(|line| line.hash)
    })
    .await
}
