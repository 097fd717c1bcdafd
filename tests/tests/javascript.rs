//! A second client, written in JavaScript from `node/protocol/README.md`: the wire's bytes are the same, it and the Rust
//! client understand each other through real nodes, and the contract pays what it signed by its own count.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::{Address, hex};
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result, ensure};
use minus_bindings::Amount;
use minus_client::{
    Client, EntrustOptions, Identity, Item, ListenEvent, ListenOptions, PrepayOptions, SendOptions, Stop, silent,
};
use minus_tests::compile::root;
use minus_tests::journey::settled;
use minus_tests::world::javascript::{JavaScript, place};
use minus_tests::world::network::{Network, Operator};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// What the JavaScript customer says of what it received.
#[derive(Debug, Deserialize)]
struct Received {
    received: Vec<Text>,
    statements: Vec<Settled>,
    meter: Counted,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Text {
    sender: Address,
    text: String,
}

/// One statement: what the voucher says, and what the customer counted itself.
#[derive(Debug, Deserialize)]
struct Settled {
    signed: Amount,
    counted: Amount,
}

#[derive(Debug, Deserialize)]
struct Counted {
    delivered: String,
    relayed: String,
}

fn secret(key: &PrivateKeySigner) -> String {
    hex::encode_prefixed(key.to_bytes())
}

fn rust_client_config(network: &Network, folder: &Path) -> minus_client::Config {
    minus_client::Config {
        deployment: Some(network.deployment_file.clone()),
        rpc_urls: vec![network.anvil.url().parse().expect("anvil's address is a URL")],
        data_dir: folder.to_owned(),
        allow_private_endpoints: true,
    }
}

async fn prepay(network: &Network, client: &Client, payer: &PrivateKeySigner) -> Result<()> {
    network.fund(payer.address(), 20).await?;
    let prepayment = PrepayOptions { payee: network.agent().address, amount: "10".parse()?, from_reserve: true };
    client.prepay(payer, &prepayment, &silent()).await?;
    Ok(())
}

#[tokio::test]
async fn the_committed_wire_is_what_javascript_writes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let text = fs::read_to_string(root().join("node/protocol/tests/wire.txt"))?;
    let committed: BTreeMap<_, _> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = ")).collect();
    ensure!(committed.len() >= 14, "the file has lost its vectors");
    let mut javascript = JavaScript::start("customer.js", &folder.path().join("customer.log"))?;
    let made = javascript.call("vectors", json!(committed)).await?;
    let made: BTreeMap<_, _> = made.as_object().context("vectors by name")?.iter().collect();
    for (name, value) in &committed {
        ensure!(made.get(&(*name).to_owned()).and_then(|made| made.as_str()) == Some(*value), "{name} differs");
    }
    ensure!(made.len() == committed.len());
    Ok(())
}

#[test]
fn refuses_what_the_rust_client_refuses() {
    let file = root().join("tests/javascript/refusals.test.js");
    let output = Command::new("node").arg("--test").arg(file).output().expect("Node.js can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Both directions, once through relays and once without; what was signed is what was counted, and what is paid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_clients_understand_each_other_and_the_contract_pays() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let network = Network::start(folder.path(), |_| {}).await?;
    let client = Client::open(rust_client_config(&network, &folder.path().join("rust"))).await?;
    let mut javascript = JavaScript::start("customer.js", &folder.path().join("customer.log"))?;

    let roads = [(network.relay_in(), network.relay_out()), (network.agent(), network.agent())];
    let rust = Identity::own(PrivateKeySigner::random());
    prepay(&network, &client, &rust.payer).await?;
    client.entrust(&rust, &EntrustOptions { agent: network.agent().node_address, via: None }, &silent()).await?;
    for (inward, outward) in roads {
        let mut parameters = place(&network, outward);
        let key = PrivateKeySigner::random();
        parameters["secret"] = secret(&key).into();
        javascript.call("open", parameters).await?;
        javascript_to_rust(&network, &client, &rust, &mut javascript, inward, outward).await?;
        rust_to_javascript(&network, &client, &key, &mut javascript, inward).await?;
    }
    Ok(())
}

async fn javascript_to_rust(
    network: &Network,
    client: &Client,
    rust: &Identity,
    javascript: &mut JavaScript,
    inward: &Operator,
    outward: &Operator,
) -> Result<()> {
    let sender = PrivateKeySigner::random();
    let texts = ["ünïcödé from JavaScript", "", &"long ".repeat(4_000)];
    let send = json!({
        "secret": secret(&sender),
        "recipient": rust.wallet.address(),
        "texts": texts,
        "via": inward.node_address,
    });
    let sent = javascript.call("send", send).await?;
    for answer in sent.as_array().context("an answer for each text")? {
        ensure!(answer["status"] == 202 && answer["text"] == r#"{"stored":"new"}"#, "{answer}");
    }

    let events = Arc::new(Mutex::new(Vec::new()));
    let sink: minus_client::ListenSink = {
        let events = events.clone();
        Arc::new(move |event| events.lock().expect("nobody panics while holding it").push(event))
    };
    let options = ListenOptions {
        output: network.folder.join("received"),
        via: Some(outward.node_address),
        stop: Stop { files: None, idle: Some(Duration::from_secs(2)) },
        keep_going: false,
    };
    client.listen(rust, &options, &sink, CancellationToken::new()).await?;
    let events = events.lock().expect("nobody panics while holding it").clone();
    let received: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ListenEvent::Text { text, sender, .. } => Some((text.as_str(), *sender)),
            _ => None,
        })
        .collect();
    ensure!(received == texts.map(|text| (text, sender.address())), "{events:?}");
    Ok(())
}

async fn rust_to_javascript(
    network: &Network,
    client: &Client,
    key: &PrivateKeySigner,
    javascript: &mut JavaScript,
    inward: &Operator,
) -> Result<()> {
    let wallet = key.address();
    let agent = network.agent();
    prepay(network, client, key).await?;
    let carrier = PrivateKeySigner::random();
    network.anvil.give_gas(carrier.address()).await?;
    javascript.call("entrust", json!({ "carrier": secret(&carrier), "base": "0" })).await?;

    let sender = PrivateKeySigner::random();
    let texts: Vec<_> = (0..5).map(|number| format!("message {number} from Rust")).collect();
    let options = SendOptions {
        recipient: wallet,
        via: Some(inward.node_address),
        items: texts.iter().cloned().map(Item::Text).collect(),
    };
    let sent = client.send(&sender, &options, &silent()).await?;

    let received: Value = javascript.call("receive", json!({ "messages": texts.len() })).await?;
    let received: Received = serde_json::from_value(received)?;
    let expected: Vec<_> = texts.into_iter().map(|text| Text { sender: sender.address(), text }).collect();
    let mut arrived = received.received;
    arrived.sort_by(|a, b| a.text.cmp(&b.text)); // several are under way at a time
    ensure!(arrived == expected, "{arrived:?}");
    for statement in &received.statements {
        ensure!(statement.signed == statement.counted, "{statement:?}");
    }
    let legs = if inward.node_address == agent.node_address { 0 } else { 2 };
    ensure!(received.meter.delivered == sent.wire_bytes.to_string(), "{:?}", received.meter);
    ensure!(received.meter.relayed == (legs * sent.wire_bytes).to_string(), "{:?}", received.meter);

    let total = received.statements.last().context("nothing was signed")?.signed;
    settled(network, wallet, agent.address, total).await?;
    let paid = javascript.call("paid", json!({ "payer": wallet, "payee": agent.address })).await?;
    ensure!(paid == total.base_units().to_string(), "JavaScript reads {paid} on the chain");
    Ok(())
}
