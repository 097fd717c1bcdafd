//! An anvil process with the misfortunes it can play: it ends with its owner.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use serde_json::{Value, json};
use url::Url;

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn foundry(tool: &str) -> PathBuf {
    let path = root().join(format!("contracts/node_modules/@foundry-rs/{tool}-linux-amd64/bin/{tool}"));
    assert!(path.exists(), "{} is missing: `npm ci` in contracts/ first, or run scripts/test", path.display());
    path
}

/// The creation code of the reserve asset that anyone may print, compiled once per run.
pub(crate) fn test_reserve() -> Bytes {
    static CODE: OnceLock<Bytes> = OnceLock::new();
    CODE.get_or_init(|| {
        let built = Command::new(foundry("forge"))
            .current_dir(root())
            .args(["build", "tests/contracts/mocks/TestReserve.sol", "--out", "target/settler-tests/out"])
            .args(["--cache-path", "target/settler-tests/cache"])
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let file = root().join("target/settler-tests/out/TestReserve.sol/TestReserve.json");
        let artefact: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        artefact["bytecode"]["object"].as_str().unwrap().parse().unwrap()
    })
    .clone()
}

pub(crate) struct Anvil {
    process: Child,
    pub(crate) url: Url,
    pub(crate) provider: DynProvider,
}

impl Anvil {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let mut process = Command::new(foundry("anvil"))
            .args(["--port", "0", "--accounts", "1"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let addr = lines.find_map(|line| line.unwrap().strip_prefix("Listening on ").map(str::to_owned)).unwrap();
        // Whoever prints needs a reader: anvil stalls on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let url: Url = format!("http://{addr}").parse().unwrap();
        let provider = ProviderBuilder::new().connect_http(url.clone()).erased();
        Self { process, url, provider }
    }

    pub(crate) async fn request(&self, method: &'static str, params: Value) -> Value {
        self.provider.raw_request::<_, Value>(method.into(), params).await.unwrap()
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        self.request("anvil_mine", json!([U256::from(blocks)])).await;
    }

    pub(crate) async fn warp(&self, seconds: u64) {
        self.request("evm_increaseTime", json!([seconds])).await;
        self.mine(1).await;
    }

    /// With `false`, transactions wait until somebody mines.
    pub(crate) async fn automine(&self, on: bool) {
        self.request("evm_setAutomine", json!([on])).await;
    }

    /// Throws the last blocks out, and what they held.
    pub(crate) async fn reorg(&self, blocks: u64) {
        self.request("anvil_rollback", json!([blocks])).await;
    }

    pub(crate) async fn forget_waiting(&self) {
        self.request("anvil_dropAllTransactions", json!([])).await;
    }

    pub(crate) async fn give_gas(&self, account: Address, wei: u128) {
        self.request("anvil_setBalance", json!([account, U256::from(wei)])).await;
    }

    pub(crate) async fn head(&self) -> u64 {
        self.provider.get_block_number().await.unwrap()
    }

    pub(crate) async fn time(&self) -> u64 {
        let block = self.provider.get_block_by_number(Default::default()).await.unwrap().unwrap();
        block.header.timestamp
    }

    pub(crate) async fn is_waiting(&self, hash: B256) -> bool {
        let known = self.provider.get_transaction_by_hash(hash).await.unwrap();
        known.is_some_and(|transaction| transaction.block_number.is_none())
    }

    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        self.kill();
    }
}
