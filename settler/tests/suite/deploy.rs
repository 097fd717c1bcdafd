//! `settler deploy`, as whoever starts a network uses it: repeated, interrupted, raced, and refused.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use alloy::hex;
use alloy::network::{EthereumWallet, TransactionBuilder};
use alloy::primitives::{Address, B256, Bytes, address};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::k256::elliptic_curve::rand_core::OsRng;
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::create2::{Creation, DETERMINISTIC_DEPLOYER, creations};
use minus_bindings::{Deployment, PrepaymentEscrow, RoutingTable, SettlementToken};
use minus_settler::deploy::error::{DEPLOYER_SIGNER, DEPLOYER_TRANSACTION};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::anvil::{Anvil, test_reserve};
use super::world::COIN;

const PASSWORD: &str = "correct horse";

/// Code that answers every call with 18.
const ANSWERS_18: &str = "0x601260005260206000f3";

/// A chain with a reserve asset and an account that can pay, and nothing else.
pub(crate) struct Ground {
    pub(crate) anvil: Anvil,
    pub(crate) reserve: Address,
    pub(crate) key: PrivateKeySigner,
    bank: DynProvider,
    folder: TempDir,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        Self::of_chain(31_337).await
    }

    async fn of_chain(chain_id: u64) -> Self {
        let ground = Self::bare(Anvil::start_with(&["--chain-id", &chain_id.to_string()])).await;
        Self { reserve: ground.create_reserve().await, ..ground }
    }

    /// Without a reserve. The first that is created has the same address on every chain, because the same account
    /// creates it first of all.
    async fn bare(anvil: Anvil) -> Self {
        let banker = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x42)).unwrap();
        let key = PrivateKeySigner::random();
        for account in [banker.address(), key.address()] {
            anvil.give_gas(account, 1_000 * COIN).await;
        }
        let wallet = EthereumWallet::from(banker);
        let bank = ProviderBuilder::new().wallet(wallet).connect_http(anvil.url.clone()).erased();
        let ground = Self { anvil, reserve: Address::repeat_byte(1), key, bank, folder: TempDir::new().unwrap() };
        ground.keep("key.json", &ground.key);
        ground
    }

    async fn create_reserve(&self) -> Address {
        let create = TransactionRequest::default().with_deploy_code(test_reserve());
        let receipt = self.bank.send_transaction(create).await.unwrap().get_receipt().await.unwrap();
        receipt.contract_address.unwrap()
    }

    fn keep(&self, name: &str, key: &PrivateKeySigner) {
        PrivateKeySigner::encrypt_keystore(self.folder.path(), &mut OsRng, key.to_bytes(), PASSWORD, Some(name))
            .unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_settler"));
        command
            .args(["deploy", "--json", "--reserve", &self.reserve.to_string()])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("SETTLER_PASSWORD", PASSWORD)
            .env("SETTLER_RPC_URL", self.anvil.url.as_str())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Deploys with the key, into the file of this name.
    pub(crate) fn deploy(&self, file: &str) -> Value {
        answer(&self.run(&["--keystore", "key.json", "--out", file]))
    }

    /// What `deploy` says when it refuses, and that it did nothing.
    async fn refusal(&self, arguments: &[&str]) -> String {
        let before = (self.sent().await, self.file("deployment.json"));
        let output = self.run(&[&["--keystore", "key.json"], arguments].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert_eq!((self.sent().await, self.file("deployment.json")), before, "a refused deployment changes nothing");
        said
    }

    fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(name)).ok()
    }

    pub(crate) fn deployment(&self, name: &str) -> Deployment {
        Deployment::from_json(&self.file(name).unwrap()).unwrap()
    }

    /// How many transactions the key sent.
    async fn sent(&self) -> u64 {
        self.anvil.provider.get_transaction_count(self.key.address()).await.unwrap()
    }

    /// Creates one contract, as anybody may, and tells the block.
    pub(crate) async fn create(&self, creation: &Creation) -> u64 {
        let call = TransactionRequest::default().with_to(DETERMINISTIC_DEPLOYER).with_input(creation.calldata());
        let receipt = self.bank.send_transaction(call).await.unwrap().get_receipt().await.unwrap();
        assert!(receipt.status());
        receipt.block_number.unwrap()
    }

    pub(crate) async fn set_code(&self, address: Address, code: &str) {
        self.anvil.request("anvil_setCode", json!([address, code])).await;
    }

    async fn code(&self, address: Address) -> Bytes {
        self.anvil.provider.get_code_at(address).await.unwrap()
    }

    async fn block_of(&self, transaction: &Value) -> u64 {
        let hash: B256 = transaction.as_str().unwrap().parse().unwrap();
        let receipt = self.anvil.provider.get_transaction_receipt(hash).await.unwrap().unwrap();
        receipt.block_number.unwrap()
    }
}

pub(crate) fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Which steps needed a transaction.
pub(crate) fn sent(answer: &Value) -> [bool; 3] {
    [0, 1, 2].map(|step| !answer["steps"][step]["transaction"].is_null())
}

#[tokio::test(flavor = "multi_thread")]
async fn deploys_once_and_finds_it_ever_after() {
    let ground = Ground::new().await;
    let first = ground.deploy("deployment.json");

    assert_eq!(sent(&first), [true; 3]);
    let block = ground.block_of(&first["steps"][0]["transaction"]).await;
    let deployment = ground.deployment("deployment.json");
    assert_eq!(deployment, Deployment::predicted(31_337, ground.reserve, block));
    let bank = &ground.bank;
    let token = SettlementToken::new(deployment.token, bank);
    assert_eq!(token.underlying().call().await.unwrap(), deployment.reserve);
    let escrow = PrepaymentEscrow::new(deployment.escrow, bank);
    assert_eq!(escrow.token().call().await.unwrap(), deployment.token);
    let routing_table = RoutingTable::new(deployment.routing_table, bank);
    assert_eq!(routing_table.escrow().call().await.unwrap(), deployment.escrow);

    let (file, transactions) = (ground.file("deployment.json"), ground.sent().await);
    ground.anvil.mine(40).await;
    let again = answer(&ground.run(&[]));
    assert_eq!(sent(&again), [false; 3], "and no key was needed");
    assert_eq!(ground.file("deployment.json"), file);
    assert_eq!(ground.sent().await, transactions);
    for field in ["chain_id", "reserve", "token", "escrow", "routing_table", "block", "file"] {
        assert_eq!(again[field], first[field]);
    }
    answer(&ground.run(&["--out", "elsewhere.json"]));
    assert_eq!(ground.file("elsewhere.json"), file, "the block is found again");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_chains_have_the_same_addresses_and_another_reserve_has_others() {
    let (here, there) = (Ground::of_chain(31_337).await, Ground::of_chain(31_338).await);
    assert_eq!(here.reserve, there.reserve);
    here.deploy("deployment.json");
    there.deploy("deployment.json");
    let (one, two) = (here.deployment("deployment.json"), there.deployment("deployment.json"));

    assert_eq!((one.chain_id, two.chain_id), (31_337, 31_338));
    assert_eq!((one.token, one.escrow, one.routing_table), (two.token, two.escrow, two.routing_table));

    std::fs::copy(there.path("deployment.json"), here.path("other.json")).unwrap();
    let said = here.refusal(&["--out", "other.json"]).await;
    assert!(said.contains("of chain 31337, but other.json says chain 31338"), "{said}");

    let other = Ground { reserve: here.create_reserve().await, ..here };
    let said = other.refusal(&[]).await;
    assert!(said.contains("names another network") && said.contains("Move the file away"), "{said}");
    other.deploy("another.json");
    assert_ne!(other.deployment("another.json").escrow, one.escrow);
}

#[tokio::test(flavor = "multi_thread")]
async fn completes_what_was_begun_and_reads_from_its_beginning() {
    for begun in [vec![0], vec![1], vec![2, 0]] {
        let ground = Ground::new().await;
        let creations = creations(ground.reserve);
        let mut first = None;
        for index in &begun {
            let block = ground.create(&creations[*index]).await;
            first.get_or_insert(block);
            ground.anvil.mine(7).await;
        }
        let completed = ground.deploy("deployment.json");

        assert_eq!(sent(&completed), [0, 1, 2].map(|index| !begun.contains(&index)));
        let predicted = Deployment::predicted(31_337, ground.reserve, first.unwrap());
        assert_eq!(ground.deployment("deployment.json"), predicted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_block_is_kept_and_a_later_one_corrected() {
    let ground = Ground::new().await;
    ground.anvil.mine(5).await;
    ground.deploy("deployment.json");
    let deployment = ground.deployment("deployment.json");
    ground.anvil.mine(20).await;
    for (said, expected) in [
        (deployment.block - 3, deployment.block - 3),
        (deployment.block + 1, deployment.block),
        (deployment.block + 9, deployment.block),
        (1 << 40, deployment.block),
        (0, 0),
    ] {
        std::fs::write(ground.path("deployment.json"), Deployment { block: said, ..deployment }.to_json()).unwrap();
        answer(&ground.run(&[]));
        assert_eq!(ground.deployment("deployment.json").block, expected, "the file said {said}");
    }

    // A file from before the chain was started anew names the right addresses, and a block that means nothing.
    let anew = Ground::new().await;
    std::fs::write(anew.path("deployment.json"), Deployment { block: 3, ..deployment }.to_json()).unwrap();
    let answer = anew.deploy("deployment.json");
    assert_eq!(sent(&answer), [true; 3]);
    let block = anew.block_of(&answer["steps"][0]["transaction"]).await;
    assert_eq!(anew.deployment("deployment.json").block, block);
}

#[tokio::test(flavor = "multi_thread")]
async fn deployers_who_race_all_succeed() {
    let ground = Ground::new().await;
    let rival = PrivateKeySigner::random();
    ground.anvil.give_gas(rival.address(), COIN).await;
    ground.keep("rival.json", &rival);
    ground.anvil.automine(false).await;
    ground.anvil.request("evm_setIntervalMining", json!([1])).await;

    // Two with keys of their own, and a third that takes nonces from under the first.
    let racers = [("key.json", "a.json"), ("rival.json", "b.json"), ("key.json", "c.json")];
    let racers = racers.map(|(key, out)| ground.command(&["--keystore", key, "--out", out]).spawn().unwrap());
    let answers = racers.map(|racer| answer(&racer.wait_with_output().unwrap()));

    for index in 0..3 {
        assert!(answers.iter().any(|answer| sent(answer)[index]), "somebody created it");
    }
    assert!(ground.file("a.json").is_some());
    assert_eq!(ground.file("a.json"), ground.file("b.json"));
    assert_eq!(ground.file("a.json"), ground.file("c.json"));
    let block = ground.block_of(&answers.iter().find(|answer| sent(answer)[0]).unwrap()["steps"][0]["transaction"]);
    assert_eq!(ground.deployment("a.json").block, block.await);
}

/// Blocks that come more slowly than a refused creation is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn waits_for_a_creation_that_waits() {
    let ground = Ground::new().await;
    let [token, escrow, routing_table] = creations(ground.reserve);
    ground.create(&routing_table).await;
    ground.create(&escrow).await;
    ground.anvil.automine(false).await;
    let call = TransactionRequest::default().with_to(DETERMINISTIC_DEPLOYER).with_input(token.calldata());
    let waiting = ground.bank.send_transaction(call).await.unwrap();
    ground.anvil.request("evm_setIntervalMining", json!([5])).await;

    assert_eq!(sent(&ground.deploy("deployment.json")), [false; 3]);
    assert_eq!(ground.sent().await, 0, "a second creation would only revert");
    assert!(waiting.get_receipt().await.unwrap().status());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_anybody_may_send() {
    let ground = Ground::new().await;
    let shown = answer(&ground.run(&["--dry-run", "--out", "none.json"]));

    assert_eq!((ground.sent().await, ground.file("none.json")), (0, None));
    let predicted = Deployment::predicted(31_337, ground.reserve, 0);
    let addresses = [predicted.token, predicted.escrow, predicted.routing_table];
    for (planned, address) in shown["contracts"].as_array().unwrap().iter().zip(addresses) {
        assert_eq!((&planned["address"], &planned["stands"]), (&json!(address), &json!(false)));
        assert!(planned["transaction"]["gas"].as_u64().unwrap() > 1_000_000);
        let to: Address = planned["transaction"]["to"].as_str().unwrap().parse().unwrap();
        let data: Bytes = planned["transaction"]["data"].as_str().unwrap().parse().unwrap();
        let call = TransactionRequest::default().with_to(to).with_input(data);
        assert!(ground.bank.send_transaction(call).await.unwrap().get_receipt().await.unwrap().status());
    }
    let shown = answer(&ground.run(&["--dry-run"]));
    assert!(shown["contracts"].as_array().unwrap().iter().all(|planned| planned["stands"] == true));
    assert!(shown["contracts"].as_array().unwrap().iter().all(|planned| planned["transaction"].is_null()));
    assert_eq!(sent(&answer(&ground.run(&[]))), [false; 3], "what was sent by hand is found");
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_code_is_refused() {
    let ground = Ground::new().await;
    let creations = creations(ground.reserve);
    for (index, creation) in creations.iter().enumerate() {
        ground.set_code(creation.address, ANSWERS_18).await;
        let said = ground.refusal(&[]).await;
        assert!(said.contains(&format!("at {} is not the {}", creation.address, creation.contract)), "{said}");
        ground.set_code(creation.address, "0x").await;
        assert!(index < 2 || ground.deploy("deployment.json")["steps"].is_array());
    }
    // One byte of difference is enough, here in a value that the constructor computed.
    let escrow = creations[1].address;
    let code = ground.code(escrow).await;
    let token = creations[0].address;
    let place = code.windows(20).position(|window| window == token.as_slice()).unwrap();
    let mut changed = code.to_vec();
    changed[place + 19] ^= 1;
    ground.set_code(escrow, &hex::encode_prefixed(&changed)).await;
    assert!(ground.refusal(&[]).await.contains("is not the PrepaymentEscrow"));
    ground.set_code(escrow, &hex::encode_prefixed(&code)).await;
    assert_eq!(sent(&answer(&ground.run(&[]))), [false; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_without_the_deployer_is_told_how_to_get_it() {
    let ground = Ground::new().await;
    let code = ground.code(DETERMINISTIC_DEPLOYER).await;
    ground.set_code(DETERMINISTIC_DEPLOYER, ANSWERS_18).await;
    assert!(ground.refusal(&[]).await.contains("is not the usual deterministic deployer"));

    ground.set_code(DETERMINISTIC_DEPLOYER, "0x").await;
    ground.anvil.request("anvil_setNonce", json!([DETERMINISTIC_DEPLOYER, "0x0"])).await;
    let said = ground.refusal(&[]).await;
    assert!(said.contains("no deterministic deployer") && said.contains(DEPLOYER_SIGNER), "{said}");
    assert!(said.contains(DEPLOYER_TRANSACTION), "{said}");

    ground.anvil.give_gas(DEPLOYER_SIGNER.parse().unwrap(), COIN / 100).await;
    let raw = hex::decode(DEPLOYER_TRANSACTION).unwrap();
    let receipt = ground.bank.send_raw_transaction(&raw).await.unwrap().get_receipt().await.unwrap();
    assert_eq!(receipt.contract_address, Some(DETERMINISTIC_DEPLOYER));
    assert_eq!(ground.code(DETERMINISTIC_DEPLOYER).await, code);
    assert_eq!(sent(&ground.deploy("deployment.json")), [true; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_chain_on_which_the_contracts_could_not_run() {
    let ground = Ground::bare(Anvil::start_with(&["--hardfork", "shanghai"])).await;
    let said = ground.refusal(&[]).await;
    assert!(said.contains("does not run what the contracts are made of"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_what_cannot_be_a_reserve() {
    let ground = Ground::new().await;
    let contract = ground.reserve;
    let nobody = Ground { reserve: address!("00000000000000000000000000000000000000aa"), ..ground };
    assert!(nobody.refusal(&[]).await.contains("there is no contract at"));

    let silent = Ground { reserve: DETERMINISTIC_DEPLOYER, ..nobody };
    assert!(silent.refusal(&[]).await.contains("does not say how many decimals"));

    let coarse = Ground { reserve: contract, ..silent };
    coarse.set_code(contract, ANSWERS_18).await;
    let said = coarse.refusal(&[]).await;
    assert!(said.contains("has 18 decimals") && said.contains("has 6"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_an_account_that_cannot_pay_for_all_of_it() {
    let ground = Ground::new().await;
    for wei in [0, COIN / 1_000] {
        ground.anvil.give_gas(ground.key.address(), wei).await;
        let said = ground.refusal(&[]).await;
        assert!(said.contains("of the chain's own coin") && said.contains("Nothing was sent"), "{said}");
        assert!(said.contains(&ground.key.address().to_string()), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_another_chain_a_broken_file_and_a_missing_key() {
    let ground = Ground::new().await;
    let said = ground.refusal(&["--chain-id", "1"]).await;
    assert!(said.contains("of chain 31337, but --chain-id says chain 1"), "{said}");

    std::fs::write(ground.path("deployment.json"), "{").unwrap();
    assert!(ground.refusal(&[]).await.contains("deployment.json"));
    std::fs::remove_file(ground.path("deployment.json")).unwrap();

    let keyless = ground.run(&[]);
    assert_eq!(keyless.status.code(), Some(2), "something is to be created, and nobody was named to pay");
    assert!(String::from_utf8_lossy(&keyless.stderr).contains("--keystore"));
    let nobody = ground.run(&["--rpc-url", "http://127.0.0.1:9"]);
    assert_eq!(nobody.status.code(), Some(4));
    let unwritable = ground.run(&["--keystore", "key.json", "--out", "no-folder/deployment.json"]);
    assert_eq!(unwritable.status.code(), Some(1));
    assert_eq!(sent(&answer(&ground.run(&["--chain-id", "31337"]))), [false; 3], "it stands all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explorer_is_given_what_it_asks_for() {
    let ground = Ground::new().await;
    answer(&ground.run(&["--dry-run", "--verification-input", "explorer"]));
    let index: Value = serde_json::from_str(&ground.file("explorer/index.json").unwrap()).unwrap();

    for (entry, creation) in index["contracts"].as_array().unwrap().iter().zip(creations(ground.reserve)) {
        assert_eq!(entry["address"], json!(creation.address));
        assert_eq!(entry["constructor_arguments"], json!(creation.constructor_arguments));
        let name = entry["contract"].as_str().unwrap();
        let source = name.strip_suffix(&format!(":{}", creation.contract)).unwrap();
        let input = ground.file(&format!("explorer/{}", entry["standard_json_input"].as_str().unwrap())).unwrap();
        let input: Value = serde_json::from_str(&input).unwrap();
        assert!(input["sources"][source]["content"].is_string());
        assert_eq!(input["language"], "Solidity");
    }
}
