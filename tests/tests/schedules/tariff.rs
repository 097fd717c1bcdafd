//! A new tariff takes effect at the end of its notice, in the middle of a running stream: packets that were stored before
//! are charged by the old one and later ones by the new one, by the agent, by the customer, by the relays and on chain.

use std::sync::Arc;
use std::time::Duration;

use alloy::network::EthereumWallet;
use alloy::providers::ProviderBuilder;
use anyhow::{Context, Result, bail, ensure};
use minus_bindings::{IRoutingTable, RoutingTable};
use minus_protocol::Tariff;
use minus_tests::world::books::{node_meters, table};
use minus_tests::world::eventually;
use minus_tests::world::network::Network;

use super::books::{check_bytes, settle};
use super::people::{Receiver, letter, now_ms, payer, post};

/// The routing table's `TARIFF_NOTICE`.
const NOTICE_S: u64 = 7 * 86_400;

/// How far the chain's clock is behind this machine's in the beginning, beyond the notice: time to register operators
/// and open an account under the first tariff.
const BEFORE_THE_NOTICE_S: u64 = 3_600;

/// How far ahead the end of the notice lies when the stream has begun: enough for the first packets on a busy machine.
const AHEAD_S: u64 = 8;

const PREPAID_TOKENS: u128 = 100;

/// Long enough that many of these, at the operators' prices, cost something by each tariff.
const TEXT_BYTES: usize = 20_000;

/// After so long without a message the stream ends: longer than a packet takes on a busy machine.
const QUIET: Duration = Duration::from_secs(6);

const WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tariff_takes_effect_at_its_notice_on_both_sides_of_a_running_stream() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let network = Network::start_at(folder.path(), now_s()? - NOTICE_S - BEFORE_THE_NOTICE_S).await?;
    ensure!(network.routing_table().TARIFF_NOTICE().call().await? == NOTICE_S);
    let receivers = payer(&network, "customer", PREPAID_TOKENS, 1).await?;
    let receiver = Arc::new(receivers.into_iter().next().context("one wallet")?);
    let via = network.relay_out().node_address;
    let listening = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.listen(Some(via), QUIET).await }
    });
    eventually("the stream to stand", WITHIN, || async { Ok((receiver.connections() > 0).then_some(())) }).await?;

    let effective = announce_twice_the_price(&network).await?;
    let mut sent = Sent::default();
    // Packets all the time, over the end of the notice and a little beyond.
    while now_s()? < effective + 2 || sent.after == 0 {
        sent.send_one(&network, &receiver, effective).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    ensure!(sent.before > 0, "the machine was too slow to send anything before the notice ended");
    listening.await??;
    receiver.check_texts(&sent.texts, false)?;
    ensure!(receiver.connections() == 1, "the stream broke: {} connections", receiver.connections());

    let payments = settle(&network, &[&receiver]).await?;
    println!("{}", table(&payments));
    let all = sent.before + sent.meanwhile + sent.after;
    check_bytes(&payments, 1, &[all])?;
    check_versions(&network, &receiver, &sent).await
}

/// Both sides' lines, the relays' and the prices: as many bytes under each version as were taken in its time.
async fn check_versions(network: &Network, receiver: &Receiver, sent: &Sent) -> Result<()> {
    let own = receiver.client.statement(&receiver.identity, None).await?.own;
    let agents = node_meters(&network.agent().node_admin).await?;
    ensure!(own.lines == agents.customers[0].lines, "{own:?} {agents:?}");
    let [old, new] = own.lines.as_slice() else { bail!("two tariffs were in force: {own:?}") };
    ensure!((old.tariff_version, new.tariff_version) == (1, 2));
    ensure!(new.tariff == twice(old.tariff), "{:?} was to follow {:?}", new.tariff, old.tariff);
    let (at_old, at_new) = (old.meter.delivered, new.meter.delivered);
    ensure!((sent.before..=sent.before + sent.meanwhile).contains(&at_old), "{at_old} of {sent:?} by the old tariff");
    ensure!(at_old + at_new == sent.before + sent.meanwhile + sent.after);
    ensure!((old.meter.relayed, new.meter.relayed) == (2 * at_old, 2 * at_new), "{own:?}");
    for owed in &agents.owed {
        let relayed: Vec<_> = owed.lines.iter().map(|line| (line.tariff, line.meter.relayed)).collect();
        ensure!(relayed == [(old.tariff, at_old), (new.tariff, at_new)], "{owed:?}");
    }
    Ok(())
}

/// What was sent, by the time at which the agent must have taken it.
#[derive(Debug, Default)]
struct Sent {
    texts: Vec<String>,
    /// Bytes answered before the notice ended.
    before: u128,
    /// Bytes sent before and answered after: which side they fell on, only the agent's clock can say.
    meanwhile: u128,
    /// Bytes sent after it ended.
    after: u128,
}

impl Sent {
    async fn send_one(&mut self, network: &Network, receiver: &Receiver, effective: u64) -> Result<()> {
        let text = format!("{} {}", self.texts.len(), "m".repeat(TEXT_BYTES));
        let packet = letter(network, receiver, &text)?;
        let sent_at = now_s()?;
        let status = post(&reqwest::Client::new(), &network.relay_in().endpoint, &packet).await;
        ensure!(status == Some(202), "answered {status:?}");
        let count = match (sent_at < effective, now_s()? < effective) {
            (_, true) => &mut self.before,
            (true, false) => &mut self.meanwhile,
            (false, false) => &mut self.after,
        };
        *count += u128::try_from(packet.len())?;
        self.texts.push(text);
        Ok(())
    }
}

/// Announces it at a time of the chain from which the notice ends a few seconds from now, and then brings the chain's
/// clock to this machine's. Returns when it takes effect.
async fn announce_twice_the_price(network: &Network) -> Result<u64> {
    let agent = network.agent();
    let wallet = EthereumWallet::from(agent.key()?);
    let chain = ProviderBuilder::new().wallet(wallet).connect_http(network.anvil.url().parse()?);
    let table = RoutingTable::new(network.deployment.routing_table, chain);
    let now = table.node(agent.node_address).call().await?.tariff;
    let next = twice(Tariff { delivery: now.delivery, relay: now.relay, storing: now.storing });
    let next = IRoutingTable::Tariff { delivery: next.delivery, relay: next.relay, storing: next.storing };
    network.anvil.set_time(now_s()? + AHEAD_S - NOTICE_S).await?;
    let announced = table.announceTariff(agent.node_address, next).send().await?;
    announced.with_timeout(Some(WITHIN)).watch().await?;
    let effective = table.node(agent.node_address).call().await?.nextFrom;
    network.anvil.set_time(now_s()?).await?;
    network.anvil.mine().await?;
    Ok(effective)
}

fn twice(tariff: Tariff) -> Tariff {
    Tariff { delivery: 2 * tariff.delivery, relay: 2 * tariff.relay, storing: 2 * tariff.storing }
}

fn now_s() -> Result<u64> {
    Ok(now_ms()? / 1_000)
}
