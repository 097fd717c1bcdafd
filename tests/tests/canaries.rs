//! A relay holds no plaintext, no sender and no session password: not in its files, not in its log, not in its memory
//! (law 10). Looked for by searching for planted bytes, after seeing that the search finds what must be there.

use std::time::Duration;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use minus_protocol::headers::CONTENT_PACKET;
use minus_protocol::{
    Command, CommandBody, Frame, Outgoing, SealingKey, SessionKey, SseParser, StreamOpener, random_bytes, seal,
};
use minus_tests::journey::{PREPAID_TOKENS, Travellers};
use minus_tests::world::network::{Network, Operator};
use minus_tests::world::process::Shared;
use minus_tests::world::search::{Canary, files_with, memory_holds};

/// How long a stored message may take until it is pushed.
const PUSHED_WITHIN: Duration = Duration::from_secs(30);

/// What is planted in one message and its reception.
struct Planted {
    plaintext: [u8; 32],
    sender: PrivateKeySigner,
    session: [u8; 32],
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_keep_nothing_of_what_they_carry() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let network = Network::start(folder.path(), |_| {}).await?;
    let travellers = Travellers::prepare(&network, PREPAID_TOKENS, false).await?;
    let wallet = travellers.customer.signer()?;
    let planted = Planted { plaintext: random_bytes(), sender: PrivateKeySigner::random(), session: random_bytes() };

    send(&network, &planted, wallet.address()).await?;
    let received = subscribe(&network, &planted, &wallet).await?;
    ensure!(received == planted.plaintext, "the message did not arrive, so its absence would mean nothing");

    let secrets = [
        Canary::new("plaintext", &planted.plaintext),
        Canary::new("sender", planted.sender.address().as_slice()),
        Canary::new("session password", &planted.session),
    ];
    let carried = Canary::new("recipient", wallet.address().as_slice());
    for relay in [network.relay_in(), network.relay_out()] {
        for secret in &secrets {
            ensure!(!memory_holds(pid(&relay.node)?, secret)?, "{}'s memory holds the {}", relay.name, secret.name);
            for place in [relay.node_data(), relay.node.lock().log().to_owned()] {
                let found = files_with(&place, secret)?;
                ensure!(found.is_empty(), "{}: the {} is in {found:?}", relay.name, secret.name);
            }
        }
    }
    // The search sees what is there: the sender's relay knows whom the packet is for, this very process the rest.
    ensure!(memory_holds(pid(&network.relay_in().node)?, &carried)?, "the search of another process finds nothing");
    for secret in &secrets {
        ensure!(memory_holds(std::process::id(), secret)?, "the search of this process misses the {}", secret.name);
    }
    let note = folder.path().join("a note");
    std::fs::write(&note, hex::encode(planted.plaintext))?;
    ensure!(files_with(folder.path(), &secrets[0])? == [note], "the search of files misses the plaintext");
    Ok(())
}

fn pid(process: &Shared) -> Result<u32> {
    process.lock().pid().context("the process runs")
}

/// Seals the planted text to the wallet and hands it to the first relay.
async fn send(network: &Network, planted: &Planted, to: Address) -> Result<()> {
    let route = network.routing_table().route(to).call().await?;
    let key = SealingKey::from_affine(route.sealingKey.x, route.sealingKey.y)?;
    let body = &planted.plaintext;
    let outgoing = Outgoing { id: random_bytes(), sent_at_ms: now_ms()?, body };
    let packet = seal(&outgoing, to, &key, &planted.sender, &network.deployment.routing_domain())?;
    let answer = post(network.relay_in(), packet.into_bytes()).await?;
    ensure!(answer.status() == 202, "the relay answered {}", answer.status());
    Ok(())
}

/// Subscribes through the second relay under the planted password and opens the first message.
async fn subscribe(network: &Network, planted: &Planted, wallet: &PrivateKeySigner) -> Result<Vec<u8>> {
    let domain = network.deployment.routing_domain();
    let agent = network.agent().node_address;
    let node = network.routing_table().node(agent).call().await?;
    let key = SealingKey::from_affine(node.sealingKey.x, node.sealingKey.y)?;
    let session = SessionKey::from_bytes(planted.session);
    let command = Command { session: session.clone(), body: CommandBody::Subscribe { resume_after: 0 } };
    let body = command.encode();
    let outgoing = Outgoing { id: random_bytes(), sent_at_ms: now_ms()?, body: &body };
    let packet = seal(&outgoing, agent, &key, wallet, &domain)?;
    let answer = post(network.relay_out(), packet.into_bytes()).await?;
    ensure!(answer.status() == 200, "the relay answered {}", answer.status());

    let secret = minus_protocol::SealingSecret::derive(&wallet.to_bytes().0);
    let mut opener = StreamOpener::new(&session);
    let mut parser = SseParser::new();
    let mut chunks = answer.bytes_stream();
    let first_message = async {
        while let Some(chunk) = chunks.next().await {
            for event in parser.push(&chunk?)? {
                if let Some(Frame::Message { packet, .. }) = opener.open(&event)? {
                    let packet = minus_protocol::Packet::parse(packet)?;
                    return Ok(minus_protocol::open(&packet, &secret, &domain)?.body);
                }
            }
        }
        anyhow::bail!("the stream ended without a message")
    };
    tokio::time::timeout(PUSHED_WITHIN, first_message).await?
}

async fn post(node: &Operator, packet: impl Into<reqwest::Body>) -> Result<reqwest::Response> {
    let request = reqwest::Client::new().post(&node.endpoint).header("content-type", CONTENT_PACKET).body(packet);
    Ok(request.send().await?)
}

fn now_ms() -> Result<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_millis())?)
}
