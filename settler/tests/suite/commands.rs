//! The binary, as an operator uses it.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, U256};
use alloy::signers::k256::elliptic_curve::rand_core::OsRng;
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::{Amount, NodeConsent, PrepaymentEscrow, RoutingTable, sign};
use serde_json::{Value, json};

use super::world::{Reserve, World, tokens, until};

pub(crate) const PASSWORD: &str = "correct horse";

/// Runs a command with the world's chain and the operator's key.
fn settler(world: &World, arguments: &[&str]) -> Output {
    command(world, arguments).output().unwrap()
}

fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settler"));
    command
        .args(arguments)
        .current_dir(world.dir.path())
        .env("SETTLER_PASSWORD", PASSWORD)
        .env("SETTLER_RPC_URL", world.anvil.url.as_str())
        .env("SETTLER_OPERATOR_KEYSTORE", world.path("operator.json"))
        .stdin(Stdio::null());
    command
}

fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn keystore(folder: &Path, name: &str, key: &PrivateKeySigner) {
    PrivateKeySigner::encrypt_keystore(folder, &mut OsRng, key.to_bytes(), PASSWORD, Some(name)).unwrap();
}

/// Which steps needed a transaction.
fn steps(answer: &Value) -> Vec<(&str, bool)> {
    let steps = answer["steps"].as_array().unwrap();
    steps.iter().map(|step| (step["step"].as_str().unwrap(), !step["transaction"].is_null())).collect()
}

fn consent(world: &World, node: &PrivateKeySigner, operator: Address) -> Value {
    let key = alloy::signers::k256::elliptic_curve::sec1::ToEncodedPoint::to_encoded_point(
        node.credential().verifying_key().as_affine(),
        false,
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let consent = NodeConsent {
        node: node.address(),
        operator,
        sealingKeyX: U256::from_be_slice(key.x().unwrap()),
        sealingKeyY: U256::from_be_slice(key.y().unwrap()),
        validUntil: now + 3_600,
    };
    json!({
        "node": node.address(),
        "sealing_key_x": consent.sealingKeyX,
        "sealing_key_y": consent.sealingKeyY,
        "valid_until": consent.validUntil,
        "signature": alloy::hex::encode_prefixed(sign(&consent, &world.deployment.routing_domain(), node)),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_a_node_skipping_what_is_done() {
    let world = World::new().await;
    keystore(world.dir.path(), "operator.json", &world.operator);
    let node = PrivateKeySigner::random();
    std::fs::write(world.path("consent.json"), consent(&world, &node, world.payee()).to_string()).unwrap();
    let register = |extra: &[&str]| {
        let fixed = ["register-node", "--consent", "consent.json", "--json", "--delivery", "0.10", "--relay", "0.05"];
        settler(&world, &[&fixed[..], &["--storage", "0.02"], extra].concat())
    };
    let endpoint = ["--endpoint", "http://127.0.0.1:7000"];

    let poor = register(&[&endpoint[..], &["--from-reserve"]].concat());
    assert_eq!(poor.status.code(), Some(3), "there is no reserve to wrap");
    let reserve = Reserve::new(world.deployment.reserve, world.bank.clone());
    reserve.mint(world.payee(), U256::from(100_000_000)).send().await.unwrap().get_receipt().await.unwrap();
    assert_eq!(register(&endpoint).status.code(), Some(3), "not wrapped without being told");

    let first = answer(&register(&[&endpoint[..], &["--from-reserve", "--bond", "12"]].concat()));
    assert_eq!(first["node"], json!(node.address()));
    assert!(steps(&first).iter().all(|(_, sent)| *sent), "{first}");
    let table = RoutingTable::new(world.deployment.routing_table, world.bank.clone());
    let known = table.node(node.address()).call().await.unwrap();
    assert_eq!((known.operator, known.endpoint.as_str()), (world.payee(), "http://127.0.0.1:7000"));
    assert_eq!((known.tariff.delivery, known.tariff.relay, known.tariff.storing), (100_000, 50_000, 20_000));
    assert_eq!(world.earned().await, tokens("12"), "the bond stands in the open balance");
    let escrow = PrepaymentEscrow::new(world.deployment.escrow, world.bank.clone());
    assert!(escrow.isSigner(world.payee(), node.address()).call().await.unwrap());

    let again = answer(&register(&[&endpoint[..], &["--from-reserve", "--bond", "12"]].concat()));
    assert!(steps(&again).iter().all(|(_, sent)| !*sent), "{again}");

    let moved = answer(&register(&["--endpoint", "http://127.0.0.1:7001"]));
    assert_eq!(
        steps(&moved).into_iter().filter(|(_, sent)| *sent).collect::<Vec<_>>(),
        [("change the endpoint", true)]
    );
    assert_eq!(table.node(node.address()).call().await.unwrap().endpoint, "http://127.0.0.1:7001");

    let address = node.address().to_string();
    let retired = answer(&settler(&world, &["retire-node", &address, "--json"]));
    assert_eq!(steps(&retired).len(), 2);
    assert_ne!(table.node(node.address()).call().await.unwrap().retiredAt, 0);
    let again = answer(&settler(&world, &["retire-node", &address, "--json"]));
    assert!(steps(&again).iter().all(|(_, sent)| !*sent), "{again}");
    assert_eq!(register(&endpoint).status.code(), Some(3), "a tombstone stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_consent_to_somebody_else() {
    let world = World::new().await;
    keystore(world.dir.path(), "operator.json", &world.operator);
    world.fund(world.payee(), Address::ZERO, tokens("10")).await;
    let node = PrivateKeySigner::random();
    std::fs::write(world.path("consent.json"), consent(&world, &node, node.address()).to_string()).unwrap();

    let fixed = ["register-node", "--consent", "consent.json", "--endpoint", "http://127.0.0.1:7000"];
    let refused = settler(&world, &[&fixed[..], &["--delivery", "1", "--relay", "1", "--storage", "1"]].concat());

    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("minus-node consent"), "it says how to mend it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bond_goes_in_at_once_and_out_after_notice() {
    let world = World::new().await;
    keystore(world.dir.path(), "operator.json", &world.operator);
    let reserve = Reserve::new(world.deployment.reserve, world.bank.clone());
    reserve.mint(world.payee(), U256::from(20_000_000)).send().await.unwrap().get_receipt().await.unwrap();

    let shown = answer(&settler(&world, &["bond", "--json"]));
    assert_eq!((&shown["amount"], &shown["minimum_bond"]), (&json!("0"), &json!("10000000")));
    let added = answer(&settler(&world, &["bond", "15.5", "--from-reserve", "--json"]));
    assert_eq!(added["amount"], "15500000");
    let thawing = answer(&settler(&world, &["bond", "--thaw", "5", "--json"]));
    assert_eq!((&thawing["amount"], &thawing["thawing"]), (&json!("15500000"), &json!("5000000")));
    assert_eq!(settler(&world, &["bond", "--withdraw"]).status.code(), Some(3), "the notice runs");

    world.anvil.warp(7 * 86_400).await;
    let taken = answer(&settler(&world, &["bond", "--withdraw", "--json"]));
    assert_eq!((&taken["amount"], &taken["thawing"]), (&json!("10500000"), &json!("0")));
    let token = minus_bindings::SettlementToken::new(world.deployment.token, world.bank.clone());
    assert_eq!(token.balanceOf(world.payee()).call().await.unwrap(), U256::from(5_000_000));
    assert_eq!(settler(&world, &["bond", "1", "--thaw", "1"]).status.code(), Some(2));
}

struct Service(Child);

impl Service {
    fn start(world: &World) -> Self {
        let child = command(world, &["run", "--config", "settler.toml"])
            .stderr(std::fs::File::create(world.path("settler.log")).unwrap())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// kill -9
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_as_a_process_dies_and_claims_all_the_same() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    keystore(world.dir.path(), "gas.json", &world.gas_key);
    let port = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let [intake, admin] = [0, 1].map(port);
    // Nothing is claimed unasked, however cheap gas is.
    let config = format!(
        "rpc_urls = [\"{}\"]\ngas_keystore = \"gas.json\"\nlisten = \"{intake}\"\nadmin_listen = \"{admin}\"\n\
         payees = [\"{}\"]\nconfirmations = 1\npoll_interval = \"100ms\"\nlane_refresh = \"0s\"\n\
         value_over_gas = 1000000000\n",
        world.anvil.url,
        world.payee()
    );
    std::fs::write(world.path("settler.toml"), config).unwrap();
    let url = format!("http://{admin}");
    let nobody = settler(&world, &["claim", "--now", "--url", &url]);
    assert_eq!(nobody.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("settler run"), "it says what to do");

    let mut service = Service::start(&world);
    let ready = async || {
        let answer = reqwest::get(format!("{url}/health/ready")).await;
        answer.is_ok_and(|answer| answer.status() == 200).then_some(())
    };
    until("it is ready", ready).await;
    let body = json!({ "vouchers": [world.voucher(&payer, "2.5")] });
    let taken = reqwest::Client::new().post(format!("http://{intake}/vouchers")).json(&body).send().await.unwrap();
    assert_eq!(taken.json::<Value>().await.unwrap(), json!({ "results": [{ "result": "recorded" }] }));
    service.kill();

    let _service = Service::start(&world);
    until("it is ready again", ready).await;
    let claimed = answer(&settler(&world, &["claim", "--now", "--url", &url, "--json", "--timeout", "1m"]));
    assert_eq!((&claimed["confirmed"], &claimed["claims"][0]["paid"]), (&json!(1), &json!("2500000")), "{claimed}");
    assert!(claimed["claims"][0]["transaction"].is_string());
    assert_eq!(world.earned().await, tokens("2.5"));

    let status = answer(&settler(&world, &["status", "--url", &url, "--json"]));
    assert_eq!(status["summary"]["vouchers"]["confirmed"]["paid"], "2500000");
    let text = settler(&world, &["status", "--url", &url]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("2.5 tokens claimed"));
    let log = std::fs::read_to_string(world.path("settler.log")).unwrap();
    let secret = alloy::hex::encode(world.gas_key.to_bytes());
    assert!(!log.contains(&secret) && !log.contains(PASSWORD), "a log holds no secret");
    assert_eq!(world.paid(&payer).await, tokens("2.5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn makes_keys_and_completions_and_refuses_wrong_usage() {
    let world = World::new().await;
    let made = answer(&settler(&world, &["new-key", "gas.json", "--json"]));
    let key = PrivateKeySigner::decrypt_keystore(world.path("gas.json"), PASSWORD).unwrap();
    assert_eq!(made["address"], json!(key.address()));
    assert_eq!(settler(&world, &["new-key", "gas.json"]).status.code(), Some(3), "a key is not overwritten");

    let completions = settler(&world, &["completions", "bash"]);
    assert!(String::from_utf8_lossy(&completions.stdout).contains("register-node"));
    assert_eq!(settler(&world, &["claim"]).status.code(), Some(2));
    assert_eq!(settler(&world, &["run", "--config", "missing.toml"]).status.code(), Some(2));
    assert_eq!(Amount::ZERO, world.earned().await);
}
