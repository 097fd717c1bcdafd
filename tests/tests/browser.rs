//! A customer in a browser: headless Chromium subscribes with its own `EventSource`, straight at its agent and through a
//! relay. Whatever breaks, wires, relay or agent, it resumes by itself with no gap and no duplicate, and pays by voucher.

use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::{Address, hex};
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result, ensure};
use minus_bindings::Amount;
use minus_client::{Client, Item, PrepayOptions, SendOptions, silent};
use minus_tests::journey::settled;
use minus_tests::packages::{Package, debian};
use minus_tests::world::eventually;
use minus_tests::world::javascript::{JavaScript, place};
use minus_tests::world::network::{Network, Operator};
use minus_tests::world::wire::Wire;
use serde::Deserialize;
use serde_json::json;

/// How long the browser may take to come back and receive: it waits some seconds of its own before it does.
const RECEIVED_WITHIN: Duration = Duration::from_secs(90);

/// Padded to half a kibibyte each, so that a wire can be cut within one.
const TEXT: &str = "a text that arrives once";

/// What the page says of itself.
#[derive(Debug, Deserialize)]
struct State {
    received: Vec<Received>,
    /// `EventSource`s made; one comes back by itself as long as it gets a stream or nothing.
    sources: u64,
    /// Streams that began.
    connections: u64,
    errors: Vec<String>,
    signed: Vec<Signed>,
}

#[derive(Debug, Deserialize)]
struct Received {
    seq: u64,
    sender: Address,
    text: String,
}

/// A statement: what the voucher says, and what the page counted itself.
#[derive(Debug, Deserialize)]
struct Signed {
    through: u64,
    signed: Amount,
    counted: Amount,
}

/// A wallet that lives in a browser, and somebody who writes to it.
struct Customer<'a> {
    network: &'a Network,
    sender_client: &'a Client,
    sender: PrivateKeySigner,
    wallet: Address,
    page: JavaScript,
    sent: usize,
}

impl<'a> Customer<'a> {
    /// Prepays, opens the page, entrusts, subscribes; through `endpoint`, if it lies in front of the access node.
    async fn open(
        network: &'a Network,
        sender_client: &'a Client,
        name: &str,
        chromium: PathBuf,
        (access, endpoint): (&Operator, Option<&str>),
    ) -> Result<Self> {
        let key = PrivateKeySigner::random();
        let carrier = PrivateKeySigner::random();
        network.anvil.give_gas(carrier.address()).await?;
        network.fund(key.address(), 20).await?;
        let prepayment = PrepayOptions { payee: network.agent().address, amount: "10".parse()?, from_reserve: true };
        sender_client.prepay(&key, &prepayment, &silent()).await?;

        let mut page = JavaScript::start("browser.js", &network.folder.join(format!("{name}.log")))?;
        let mut parameters = place(network, access);
        parameters["program"] = chromium.to_str().context("a path in UTF-8")?.into();
        parameters["profile"] = network.folder.join(name).to_str().context("a path in UTF-8")?.into();
        parameters["secret"] = hex::encode_prefixed(key.to_bytes()).into();
        parameters["carrier"] = hex::encode_prefixed(carrier.to_bytes()).into();
        if let Some(endpoint) = endpoint {
            parameters["endpoint"] = endpoint.into();
        }
        page.call("open", parameters).await?;
        let sender = PrivateKeySigner::random();
        Ok(Self { network, sender_client, sender, wallet: key.address(), page, sent: 0 })
    }

    /// Sends so many more texts, through a relay that is no part of the browser's road.
    async fn write(&mut self, texts: usize) -> Result<()> {
        let items = (self.sent..self.sent + texts).map(|number| Item::Text(format!("{TEXT}: {number}"))).collect();
        let via = Some(self.network.relay_in().node_address);
        let options = SendOptions { recipient: self.wallet, via, items };
        self.sender_client.send(&self.sender, &options, &silent()).await?;
        self.sent += texts;
        Ok(())
    }

    /// Waits until everything sent is received: each once, in the order of its number, without an error.
    async fn receives_all(&mut self) -> Result<State> {
        let deadline = tokio::time::Instant::now() + RECEIVED_WITHIN;
        loop {
            let state = self.state().await?;
            ensure!(state.errors.is_empty(), "{:?}", state.errors);
            let seqs: Vec<_> = state.received.iter().map(|message| message.seq).collect();
            ensure!(
                seqs.iter().copied().zip(1..).all(|(seq, expected)| seq == expected),
                "a gap or a duplicate: {seqs:?}"
            );
            if state.received.len() == self.sent {
                let mut texts: Vec<_> = state.received.iter().map(|message| message.text.as_str()).collect();
                texts.sort_unstable();
                texts.dedup();
                ensure!(texts.len() == self.sent, "a text came twice: {state:?}");
                ensure!(state.received.iter().all(|message| message.sender == self.sender.address()));
                return Ok(state);
            }
            ensure!(tokio::time::Instant::now() < deadline, "{} of {} received: {state:?}", seqs.len(), self.sent);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn state(&mut self) -> Result<State> {
        Ok(serde_json::from_value(self.page.call("state", json!({})).await?)?)
    }

    /// Has the page sign, until all is acknowledged; then the contract pays exactly that.
    async fn pays(mut self) -> Result<()> {
        self.page.call("settle", json!({})).await?;
        let all = u64::try_from(self.sent)?;
        let page = tokio::sync::Mutex::new(&mut self.page);
        let total = eventually("all to be acknowledged", RECEIVED_WITHIN, || async {
            let state: State = serde_json::from_value(page.lock().await.call("state", json!({})).await?)?;
            ensure!(state.signed.iter().all(|statement| statement.signed == statement.counted), "{state:?}");
            Ok(state.signed.last().filter(|statement| statement.through == all).map(|statement| statement.signed))
        });
        let total = total.await?;
        settled(self.network, self.wallet, self.network.agent().address, total).await?;
        self.page.call("close", json!({})).await?;
        Ok(())
    }
}

/// Ends a node as a power cut would, and starts it again.
async fn kill_and_restart(operator: &Operator, meanwhile: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    operator.node.lock().kill();
    meanwhile().await?;
    operator.node.lock().start()?;
    let readiness = operator.node.lock().readiness();
    readiness.wait().await
}

async fn through_a_relay(network: &Network, client: &Client, chromium: PathBuf) -> Result<()> {
    let relay = network.relay_out();
    let mut customer = Customer::open(network, client, "relayed", chromium, (relay, None)).await?;
    customer.write(10).await?;
    customer.receives_all().await?;
    kill_and_restart(relay, async || customer.write(10).await).await?;
    let state = customer.receives_all().await?;
    ensure!(state.connections >= 2, "the stream did not break");
    customer.pays().await
}

async fn at_the_agent(network: &Network, client: &Client, chromium: PathBuf) -> Result<()> {
    let agent = network.agent();
    let wire = Wire::to(&agent.endpoint).await?;
    let mut customer = Customer::open(network, client, "direct", chromium, (agent, Some(wire.endpoint()))).await?;
    customer.write(10).await?;
    customer.receives_all().await?;

    wire.cut();
    customer.write(10).await?;
    let state = customer.receives_all().await?;
    ensure!((state.sources, state.connections) == (1, 2), "its own EventSource did not come back: {state:?}");

    // Within the fourth event or so: what came of it is worth nothing.
    wire.cut_after(3_000);
    customer.write(10).await?;
    let state = customer.receives_all().await?;
    ensure!(wire.cuts() == 2 && (state.sources, state.connections) == (1, 3), "{state:?}");

    kill_and_restart(agent, async || Ok(())).await?;
    customer.write(5).await?;
    let state = customer.receives_all().await?;
    ensure!(state.connections >= 4, "the stream did not break");
    customer.pays().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumes_with_no_gap_and_no_duplicate_and_pays() -> Result<()> {
    let Package::Installed(chromium) = debian("chromium", "/usr/bin/chromium") else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let network = Network::start(folder.path(), |_| {}).await?;
    let config = minus_client::Config {
        deployment: Some(network.deployment_file.clone()),
        rpc_urls: vec![network.anvil.url().parse()?],
        data_dir: folder.path().join("sender"),
        allow_private_endpoints: true,
    };
    let client = Client::open(config).await?;
    through_a_relay(&network, &client, chromium.clone()).await?;
    at_the_agent(&network, &client, chromium).await
}
