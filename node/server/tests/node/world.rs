//! Anvil with the contracts on it, operators with registered nodes, and the verbs to move money and routes.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, Bytes, U256, aliases::U96},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    signers::{k256::elliptic_curve::rand_core::OsRng, local::PrivateKeySigner},
    sol,
};
use minus_bindings::{
    Amount, Deployment, IRoutingTable, NodeConsent, PrepaymentEscrow, RoutingTable, SettlementToken, row,
};
use minus_node::{Config, Handle, keys};
use minus_protocol::{SealingSecret, Tariff};
use serde_json::Value;
use tempfile::TempDir;
use url::Url;

pub(crate) const PASSWORD: &str = "correct horse";
/// One token.
pub(crate) const TOKEN: u128 = 1_000_000;
/// Prices high enough that a packet of some hundred bytes costs something.
pub(crate) const TARIFF: Tariff = Tariff { delivery: 1 << 30, relay: 1 << 29, storing: 1 << 20 };

sol! {
    #[sol(rpc)]
    contract TestReserve {
        function mint(address account, uint256 amount) external;
        function approve(address spender, uint256 amount) external returns (bool);
    }
}

pub(crate) struct World {
    anvil: Child,
    pub(crate) rpc_url: Url,
    pub(crate) chain: DynProvider,
    pub(crate) deployment: Deployment,
    pub(crate) folder: TempDir,
    password_file: PathBuf,
    deployment_file: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.anvil.kill();
        let _ = self.anvil.wait();
    }
}

/// An operator and its node; the node can be stopped and started again on the same data.
pub(crate) struct Operator {
    pub(crate) address: Address,
    pub(crate) config: Config,
    pub(crate) node: Address,
    pub(crate) sealing_key: minus_protocol::SealingKey,
    handle: Option<Handle>,
}

impl Operator {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.handle.as_ref().unwrap().public_addr)
    }

    pub(crate) fn admin_addr(&self) -> std::net::SocketAddr {
        self.handle.as_ref().unwrap().admin_addr
    }

    pub(crate) async fn admin(&self, path: &str) -> reqwest::Response {
        let admin = self.handle.as_ref().unwrap().admin_addr;
        reqwest::get(format!("http://{admin}{path}")).await.unwrap()
    }

    /// The value of a series, labels included; 0 before it has one.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let metrics = self.admin("/metrics").await.text().await.unwrap();
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        metrics.lines().find_map(value).unwrap_or_default()
    }

    pub(crate) async fn meters(&self) -> Value {
        self.admin("/meters").await.json().await.unwrap()
    }

    pub(crate) async fn stop(&mut self) {
        self.handle.take().unwrap().shutdown().await;
    }

    /// Starts the node at the address it had before.
    pub(crate) async fn start(&mut self) {
        self.handle = Some(minus_node::spawn(self.config.clone()).await.unwrap());
        self.wait_ready().await;
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// Waits until the node has followed the chain to where it is now.
    pub(crate) async fn wait_for_head(&self, world: &World) {
        let head = world.chain.get_block_number().await.unwrap();
        until("the node follows", async || {
            let ready: Value = self.admin("/health/ready").await.json().await.unwrap();
            ready["block"].as_u64().is_some_and(|block| block >= head)
        })
        .await;
    }

    pub(crate) async fn wait_ready(&self) {
        until("the node is ready", async || self.admin("/health/ready").await.status().is_success()).await;
    }
}

/// Polls for a state, with a deadline.
pub(crate) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn units(value: u128) -> Amount {
    Amount::from_base_units(value).unwrap()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn tool(name: &str) -> PathBuf {
    workspace().join(format!("contracts/node_modules/@foundry-rs/{name}-linux-amd64/bin/{name}"))
}

/// The creation code of the test reserve, compiled once by forge.
fn reserve_code() -> Bytes {
    static CODE: OnceLock<Bytes> = OnceLock::new();
    CODE.get_or_init(|| {
        let artefact = workspace().join("target/forge/out/TestReserve.sol/TestReserve.json");
        if !artefact.exists() {
            let built = Command::new(tool("forge"))
                .args(["build", "tests/contracts/mocks/TestReserve.sol"])
                .current_dir(workspace())
                .stdout(Stdio::null())
                .status()
                .expect("scripts/test installs forge");
            assert!(built.success());
        }
        let json: Value = serde_json::from_slice(&std::fs::read(artefact).unwrap()).unwrap();
        json["bytecode"]["object"].as_str().unwrap().parse().unwrap()
    })
    .clone()
}

impl World {
    pub(crate) async fn new() -> Self {
        if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("MINUS_NODE_LOG") {
            let _ = tracing_subscriber::fmt().with_env_filter(filter).try_init();
        }
        let mut anvil = Command::new(tool("anvil"))
            .args(["--port", "0", "--auto-impersonate", "--hardfork", "prague"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/test installs anvil");
        let mut lines = BufReader::new(anvil.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| line.unwrap().strip_prefix("Listening on ").map(str::to_owned))
            .expect("anvil says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        let rpc_url = Url::parse(&format!("http://{address}")).unwrap();
        let chain = ProviderBuilder::new().disable_recommended_fillers().connect_http(rpc_url.clone()).erased();

        let folder = tempfile::tempdir().unwrap();
        let deployer = chain.get_accounts().await.unwrap()[0];
        let deploy = async |code: Vec<u8>| {
            let creation = TransactionRequest::default().with_from(deployer).with_deploy_code(code);
            let receipt = chain.send_transaction(creation).await.unwrap().get_receipt().await.unwrap();
            receipt.contract_address.unwrap()
        };
        let with = |code: &Bytes, argument: Address| [code.to_vec(), argument.into_word().to_vec()].concat();
        let reserve = deploy(reserve_code().to_vec()).await;
        let token = deploy(with(&SettlementToken::BYTECODE, reserve)).await;
        let escrow = deploy(with(&PrepaymentEscrow::BYTECODE, token)).await;
        let routing_table = deploy(with(&RoutingTable::BYTECODE, escrow)).await;
        let deployment = Deployment { chain_id: 31_337, reserve, token, escrow, routing_table, block: 1 };
        let (password_file, deployment_file) = (folder.path().join("password"), folder.path().join("deployment"));
        std::fs::write(&password_file, PASSWORD).unwrap();
        std::fs::write(&deployment_file, deployment.to_json()).unwrap();
        Self { anvil, rpc_url, chain, deployment, folder, password_file, deployment_file }
    }

    /// Takes the chain away for good.
    pub(crate) fn stop_chain(&mut self) {
        self.anvil.kill().unwrap();
        self.anvil.wait().unwrap();
    }

    pub(crate) fn escrow(&self) -> PrepaymentEscrow::PrepaymentEscrowInstance<DynProvider> {
        PrepaymentEscrow::new(self.deployment.escrow, self.chain.clone())
    }

    pub(crate) fn table(&self) -> RoutingTable::RoutingTableInstance<DynProvider> {
        RoutingTable::new(self.deployment.routing_table, self.chain.clone())
    }

    /// A key with gas and 1,000 tokens, approved to the escrow.
    pub(crate) async fn person(&self) -> PrivateKeySigner {
        let key = PrivateKeySigner::random();
        self.endow(key.address()).await;
        key
    }

    async fn endow(&self, person: Address) {
        let gas = (person, U256::from(10).pow(U256::from(20)));
        let _: Value = self.chain.raw_request("anvil_setBalance".into(), gas).await.unwrap();
        let amount = U256::from(1_000 * TOKEN);
        let reserve = TestReserve::new(self.deployment.reserve, self.chain.clone());
        let token = SettlementToken::new(self.deployment.token, self.chain.clone());
        let escrow = self.deployment.escrow;
        reserve.mint(person, amount).from(person).send().await.unwrap().get_receipt().await.unwrap();
        reserve.approve(*token.address(), amount).from(person).send().await.unwrap().get_receipt().await.unwrap();
        token.depositFor(person, amount).from(person).send().await.unwrap().get_receipt().await.unwrap();
        token.approve(escrow, amount).from(person).send().await.unwrap().get_receipt().await.unwrap();
    }

    pub(crate) async fn deposit(&self, payer: Address, payee: Address, base_units: u128) {
        let amount = U96::from(base_units);
        let sent = self.escrow().deposit(payer, payee, amount).from(payer).send().await.unwrap();
        assert!(sent.get_receipt().await.unwrap().status());
    }

    pub(crate) async fn thaw(&self, payer: Address, payee: Address, base_units: u128) {
        let sent = self.escrow().thaw(payee, U96::from(base_units)).from(payer).send().await.unwrap();
        assert!(sent.get_receipt().await.unwrap().status());
    }

    pub(crate) async fn authorize(&self, payer: Address, signer: Address) {
        self.escrow().authorize(signer).from(payer).send().await.unwrap().get_receipt().await.unwrap();
    }

    pub(crate) async fn revoke(&self, payer: Address, signer: Address) {
        self.escrow().revoke(signer).from(payer).send().await.unwrap().get_receipt().await.unwrap();
    }

    pub(crate) async fn set_route(&self, wallet: &PrivateKeySigner, agent: Address) {
        let (x, y) = SealingSecret::derive(&wallet.to_bytes().0).public().to_affine();
        let key = IRoutingTable::SealingKey { x, y };
        let gas = (wallet.address(), U256::from(10).pow(U256::from(20)));
        let _: Value = self.chain.raw_request("anvil_setBalance".into(), gas).await.unwrap();
        let sent = self.table().setRoute(agent, key).from(wallet.address()).send().await.unwrap();
        assert!(sent.get_receipt().await.unwrap().status());
    }

    /// Claims a voucher as the settler would, and returns what was credited.
    pub(crate) async fn claim(&self, payee: Address, voucher: minus_bindings::SignedVoucher) -> Amount {
        let submitter = self.chain.get_accounts().await.unwrap()[1];
        let before = self.escrow().openBalance(payee).call().await.unwrap().amount;
        let sent = self.escrow().claim(payee, row::pack(&[voucher])).from(submitter).send().await.unwrap();
        assert!(sent.get_receipt().await.unwrap().status());
        Amount::from(self.escrow().openBalance(payee).call().await.unwrap().amount - before)
    }

    /// An operator with a running, registered node and an authorised node key.
    pub(crate) async fn operator(&self, adjust: impl FnOnce(&mut Config)) -> Operator {
        self.operator_at(TARIFF, adjust).await
    }

    /// The same with prices of its own.
    pub(crate) async fn operator_at(&self, tariff: Tariff, adjust: impl FnOnce(&mut Config)) -> Operator {
        let mut operator = self.unregistered(adjust).await;
        self.register_at(&operator, tariff).await;
        operator.config.listen = operator.handle.as_ref().unwrap().public_addr;
        operator.wait_ready().await;
        operator
    }

    /// The same before it is registered.
    pub(crate) async fn unregistered(&self, adjust: impl FnOnce(&mut Config)) -> Operator {
        let signer = PrivateKeySigner::random();
        let operator = PrivateKeySigner::random().address();
        self.endow(operator).await;
        let folder = self.folder.path().join(signer.address().to_string());
        std::fs::create_dir_all(&folder).unwrap();
        PrivateKeySigner::encrypt_keystore(&folder, &mut OsRng, signer.to_bytes(), PASSWORD, Some("key")).unwrap();
        let mut config = Config::new(
            self.deployment_file.clone(),
            vec![self.rpc_url.clone()],
            folder.join("key"),
            folder.join("data"),
        );
        config.password_file = Some(self.password_file.clone());
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.admin_listen = "127.0.0.1:0".parse().unwrap();
        config.allow_private_endpoints = true;
        config.poll_interval = Duration::from_millis(50);
        config.voucher_interval = Duration::from_millis(200);
        adjust(&mut config);
        let handle = minus_node::spawn(config.clone()).await.unwrap();
        let sealing_key = SealingSecret::derive(&signer.to_bytes().0).public();
        Operator { address: operator, config, node: handle.node, sealing_key, handle: Some(handle) }
    }

    pub(crate) async fn register(&self, operator: &Operator) {
        self.register_at(operator, TARIFF).await;
    }

    async fn register_at(&self, operator: &Operator, tariff: Tariff) {
        let bond = self.table().MINIMUM_BOND().call().await.unwrap();
        self.deposit(operator.address, Address::ZERO, bond.to()).await;
        let password = keys::Password::obtain(Some(&self.password_file)).unwrap();
        let until = u64::MAX >> 1;
        let consent =
            keys::consent(&operator.config.keystore, &password, &self.deployment, operator.address, until).unwrap();
        let key = IRoutingTable::SealingKey { x: consent.sealing_key_x, y: consent.sealing_key_y };
        let tariff = IRoutingTable::Tariff { delivery: tariff.delivery, relay: tariff.relay, storing: tariff.storing };
        let signature: Bytes = consent.signature.parse().unwrap();
        let table = self.table();
        let call = table.register(operator.node, key, operator.url(), tariff, until, signature).from(operator.address);
        assert!(call.send().await.unwrap().get_receipt().await.unwrap().status());
        self.authorize(operator.address, operator.node).await;
    }

    /// Registers a key of the test's own, and lets it sign vouchers for the operator.
    pub(crate) async fn register_key(&self, operator: Address, signer: &PrivateKeySigner, url: &str) {
        let bond = self.table().MINIMUM_BOND().call().await.unwrap();
        self.deposit(operator, Address::ZERO, bond.to()).await;
        let (x, y) = SealingSecret::derive(&signer.to_bytes().0).public().to_affine();
        let until = u64::MAX >> 1;
        let node = signer.address();
        let consent = NodeConsent { node, operator, sealingKeyX: x, sealingKeyY: y, validUntil: until };
        let signature = minus_bindings::typed::sign(&consent, &self.deployment.routing_domain(), signer);
        let key = IRoutingTable::SealingKey { x, y };
        let tariff = IRoutingTable::Tariff { delivery: TARIFF.delivery, relay: TARIFF.relay, storing: TARIFF.storing };
        let table = self.table();
        let call = table.register(node, key, url.to_owned(), tariff, until, signature.to_vec().into()).from(operator);
        assert!(call.send().await.unwrap().get_receipt().await.unwrap().status());
        self.authorize(operator, node).await;
    }
}
