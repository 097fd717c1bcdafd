//! Nodes, settlers and customers as libraries in one process: what `main` of each program does is `spawn`, so this walks
//! the same road without a process boundary, and ends each service in good order in the middle of it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result, ensure};
use figment::Figment;
use figment::providers::{Format, Toml};
use minus_client::{
    Client, EntrustOptions, Identity, Item, ListenEvent, ListenOptions, PrepayOptions, SendOptions, Stop, silent,
};
use minus_tests::journey::{random_file, settled, sha256};
use minus_tests::world::books::node_meters;
use minus_tests::world::network::{Network, Operator};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

/// One operator's services in this process.
struct Services {
    node: minus_node::Handle,
    settler: minus_settler::Handle,
}

impl Services {
    async fn spawn(operator: &Operator) -> Result<Self> {
        Ok(Self {
            settler: minus_settler::spawn(settings(&operator.settler_config())?).await?,
            node: minus_node::spawn(settings(&operator.node_config())?).await?,
        })
    }

    async fn shutdown(self) -> Result<()> {
        self.node.shutdown().await;
        self.settler.shutdown().await?;
        Ok(())
    }
}

fn settings<T: DeserializeOwned>(file: &Path) -> Result<T> {
    Ok(Figment::from(Toml::file_exact(file)).extract()?)
}

async fn client(network: &Network, name: &str) -> Result<Client> {
    let config = minus_client::Config {
        deployment: Some(network.deployment_file.clone()),
        rpc_urls: vec![network.anvil.url().parse()?],
        data_dir: network.folder.join(name),
        allow_private_endpoints: true,
    };
    Ok(Client::open(config).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_road_in_one_process() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let network = Network::register_all(folder.path(), &mut |_: &str| {}).await?;
    let mut services = Vec::new();
    for operator in &network.operators {
        services.push(Services::spawn(operator).await?);
    }
    let agent = network.agent();
    let customer = Identity::own(PrivateKeySigner::random());
    let customers_client = client(&network, "customer").await?;
    prepare(&network, &customers_client, &customer).await?;

    let sender = PrivateKeySigner::random();
    let file = folder.path().join("a file.bin");
    random_file(&file, 600_000, 7)?;
    let options = SendOptions {
        recipient: customer.wallet.address(),
        via: Some(network.relay_in().node_address),
        items: vec![Item::File(file.clone()), Item::Text("said in one process".into())],
    };
    let sent = client(&network, "sender").await?.send(&sender, &options, &silent()).await?;

    // Everything ends in good order while the message waits, and starts again from what it stored.
    for service in services {
        service.shutdown().await?;
    }
    let mut services = Vec::new();
    for operator in &network.operators {
        services.push(Services::spawn(operator).await?);
    }

    let events = listen(&network, &customers_client, &customer).await?;
    let text = events.iter().find_map(|event| match event {
        ListenEvent::Text { text, sender, .. } => Some((text.as_str(), *sender)),
        _ => None,
    });
    ensure!(text == Some(("said in one process", sender.address())), "{events:?}");
    let received = events.iter().find_map(|event| match event {
        ListenEvent::File { path, .. } => Some(path.clone()),
        _ => None,
    });
    ensure!(sha256(&received.context("no file arrived")?)? == sha256(&file)?, "the file changed on the way");

    let account = customers_client.statement(&customer, None).await?;
    ensure!(account.agrees && account.waiting_messages == 0);
    let counts = account.own.lines[0].meter;
    ensure!(counts.delivered == u128::from(sent.wire_bytes) && counts.relayed == 2 * u128::from(sent.wire_bytes));

    settled(&network, customer.payer.address(), agent.address, account.signed).await?;
    for owed in node_meters(&agent.node_admin).await?.owed {
        ensure!(owed.lines[0].meter.relayed == u128::from(sent.wire_bytes));
        settled(&network, agent.address, owed.relay_operator, owed.total).await?;
    }
    for service in services {
        service.shutdown().await?;
    }
    Ok(())
}

async fn prepare(network: &Network, client: &Client, customer: &Identity) -> Result<()> {
    network.fund(customer.payer.address(), 20).await?;
    let agent = network.agent();
    let prepayment = PrepayOptions { payee: agent.address, amount: "10".parse()?, from_reserve: true };
    client.prepay(&customer.payer, &prepayment, &silent()).await?;
    client.entrust(customer, &EntrustOptions { agent: agent.node_address, via: None }, &silent()).await?;
    Ok(())
}

async fn listen(network: &Network, client: &Client, customer: &Identity) -> Result<Vec<ListenEvent>> {
    let options = ListenOptions {
        output: network.folder.join("received"),
        via: Some(network.relay_out().node_address),
        stop: Stop { files: None, idle: Some(Duration::from_secs(2)) },
        keep_going: false,
    };
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink: minus_client::ListenSink = {
        let events = events.clone();
        Arc::new(move |event| events.lock().expect("nobody panics while holding it").push(event))
    };
    client.listen(customer, &options, &sink, CancellationToken::new()).await?;
    let events = events.lock().expect("nobody panics while holding it").clone();
    Ok(events)
}
