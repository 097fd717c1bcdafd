//! A world for the client's tests: a real chain (anvil) with the real contracts, customers with money, and an agent
//! that does as it is told ([`agent`]).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod agent;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use alloy::network::{EthereumWallet, TransactionBuilder};
use alloy::primitives::{Address, Bytes, U256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol;
use minus_bindings::contracts::IRoutingTable;
use minus_bindings::{Deployment, NodeConsent, PrepaymentEscrow, RoutingTable, SettlementToken, sign};
use minus_client::{Client, Config};
use minus_protocol::{SealingSecret, Tariff};
use url::Url;

sol! {
    #[sol(rpc)]
    contract TestReserve {
        function mint(address account, uint256 amount) external;
    }
}

/// The first of anvil's well-known keys; it has money.
const RICH: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// Prices large enough that every byte of a test shows in the total.
pub(crate) const TARIFF: Tariff =
    Tariff { delivery: 900_000_000_000, relay: 300_000_000_000, storing: 1_000_000_000_000 };

/// One chain and what stands on it.
pub(crate) struct World {
    anvil: Child,
    pub(crate) rpc: Url,
    pub(crate) deployment: Deployment,
    pub(crate) deployment_file: PathBuf,
    pub(crate) directory: tempfile::TempDir,
    rich: DynProvider,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.anvil.kill();
        let _ = self.anvil.wait();
    }
}

/// A key of its own for each number.
pub(crate) fn key(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_slice(&[number; 32]).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn start_anvil() -> (Child, Url) {
    let program = root().join("contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
    assert!(program.is_file(), "{} is missing: run scripts/test once", program.display());
    let mut anvil =
        Command::new(program).args(["--port", "0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(anvil.stdout.take().unwrap()).lines();
    let port = lines
        .find_map(|line| line.unwrap().strip_prefix("Listening on 127.0.0.1:").map(|port| port.trim().to_owned()))
        .unwrap();
    // Someone has to read on, or anvil waits for it.
    std::thread::spawn(move || lines.for_each(drop));
    (anvil, format!("http://127.0.0.1:{port}/").parse().unwrap())
}

fn reserve_bytecode() -> Bytes {
    let path = root().join("target/forge/out/TestReserve.sol/TestReserve.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{path:?} is missing: run scripts/test once"));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["bytecode"]["object"].as_str().unwrap().parse().unwrap()
}

impl World {
    /// A fresh chain with the contracts on it.
    pub(crate) async fn new() -> Self {
        let (anvil, rpc) = start_anvil();
        let rich_key: PrivateKeySigner = RICH.parse().unwrap();
        let rich = ProviderBuilder::new().wallet(EthereumWallet::from(rich_key)).connect_http(rpc.clone()).erased();
        let creation = TransactionRequest::default().with_deploy_code(reserve_bytecode());
        let receipt = rich.send_transaction(creation).await.unwrap().get_receipt().await.unwrap();
        let reserve = receipt.contract_address.unwrap();
        let token = *SettlementToken::deploy(&rich, reserve).await.unwrap().address();
        let escrow = *PrepaymentEscrow::deploy(&rich, token).await.unwrap().address();
        let routing_table = *RoutingTable::deploy(&rich, escrow).await.unwrap().address();
        let deployment = Deployment { chain_id: 31_337, reserve, token, escrow, routing_table, block: 0 };
        let directory = tempfile::tempdir().unwrap();
        let deployment_file = directory.path().join("deployment.json");
        std::fs::write(&deployment_file, deployment.to_json()).unwrap();
        Self { anvil, rpc, deployment, deployment_file, directory, rich }
    }

    /// Gives an address gas and reserve tokens (whole ones).
    pub(crate) async fn fund(&self, address: Address, tokens: u64) {
        let gas = TransactionRequest::default().with_to(address).with_value(U256::from(10_u64.pow(18)));
        self.rich.send_transaction(gas).await.unwrap().get_receipt().await.unwrap();
        let reserve = TestReserve::new(self.deployment.reserve, &self.rich);
        let amount = U256::from(tokens) * U256::from(1_000_000);
        reserve.mint(address, amount).send().await.unwrap().get_receipt().await.unwrap();
    }

    /// A provider that signs with a key.
    pub(crate) fn provider(&self, signer: &PrivateKeySigner) -> DynProvider {
        ProviderBuilder::new().wallet(EthereumWallet::from(signer.clone())).connect_http(self.rpc.clone()).erased()
    }

    /// Registers a node under a freshly bonded operator.
    pub(crate) async fn register(&self, operator: &PrivateKeySigner, node: &PrivateKeySigner, endpoint: &str) {
        self.fund(operator.address(), 1_000_000).await;
        let provider = self.provider(operator);
        let reserve = SettlementToken::new(self.deployment.reserve, &provider);
        let token = SettlementToken::new(self.deployment.token, &provider);
        let escrow = PrepaymentEscrow::new(self.deployment.escrow, &provider);
        let table = RoutingTable::new(self.deployment.routing_table, &provider);
        let bond = table.MINIMUM_BOND().call().await.unwrap();
        let amount = U256::from(bond);
        reserve.approve(self.deployment.token, amount).send().await.unwrap().get_receipt().await.unwrap();
        token.depositFor(operator.address(), amount).send().await.unwrap().get_receipt().await.unwrap();
        token.approve(self.deployment.escrow, amount).send().await.unwrap().get_receipt().await.unwrap();
        let deposit = escrow.deposit(operator.address(), Address::ZERO, bond);
        deposit.send().await.unwrap().get_receipt().await.unwrap();

        let (x, y) = SealingSecret::derive(&node.to_bytes().0).public().to_affine();
        let valid_until = u64::MAX;
        let consent = NodeConsent {
            node: node.address(),
            operator: operator.address(),
            sealingKeyX: x,
            sealingKeyY: y,
            validUntil: valid_until,
        };
        let signature = sign(&consent, &self.deployment.routing_domain(), node);
        let tariff = IRoutingTable::Tariff { delivery: TARIFF.delivery, relay: TARIFF.relay, storing: TARIFF.storing };
        let register = table.register(
            node.address(),
            IRoutingTable::SealingKey { x, y },
            endpoint.to_owned(),
            tariff,
            valid_until,
            signature.to_vec().into(),
        );
        register.send().await.unwrap().get_receipt().await.unwrap();
    }

    /// Moves the chain's clock.
    pub(crate) async fn warp(&self, seconds: u64) {
        let _: serde_json::Value = self.rich.raw_request("evm_increaseTime".into(), (seconds,)).await.unwrap();
        let _: serde_json::Value = self.rich.raw_request("evm_mine".into(), ()).await.unwrap();
    }

    /// The settings of a customer of this name.
    pub(crate) fn config(&self, name: &str) -> Config {
        Config {
            deployment: Some(self.deployment_file.clone()),
            rpc_urls: vec![self.rpc.clone()],
            data_dir: self.directory.path().join(name),
            allow_private_endpoints: true,
        }
    }

    /// A customer of this name.
    pub(crate) async fn client(&self, name: &str) -> Client {
        Client::open(self.config(name)).await.unwrap()
    }
}
