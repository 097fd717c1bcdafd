//! Agent and relay: a packet goes in through the relay, the stream comes out through it, and the agent pays for both
//! legs by voucher.

use std::time::Duration;

use alloy::primitives::Address;
use futures_util::StreamExt;
use minus_bindings::{Amount, SignedVoucher};
use minus_protocol::CommandBody;
use serde_json::Value;

use crate::{
    customer::{
        acknowledge, agree, command_via, customer, message, post, post_status, subscribe, unique_body, voucher,
    },
    metrics::Scrape,
    settler::Settler,
    world::{Operator, TOKEN, World, units, until},
};

async fn earned(relay: &Operator) -> Value {
    relay.meters().await["earned"][0].clone()
}

async fn owed(agent: &Operator) -> Value {
    agent.meters().await["owed"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_legs_are_paid_by_voucher_and_the_voucher_is_good() {
    let world = World::new().await;
    let settler = Settler::new().await;
    let mut agent = world.operator(|_| ()).await;
    let mut relay = world.operator(|config| config.settler_url = Some(settler.url.clone())).await;
    let wallet = customer(&world, &agent, 10 * TOKEN).await;

    let first = message(&world, &wallet, b"through a relay");
    let bytes = u64::try_from(first.len()).unwrap();
    assert_eq!(post_status(&relay.url(), &first).await, 202);
    assert_eq!(post_status(&relay.url(), &first).await, 202, "a duplicate is stored, and free");
    assert_eq!(post_status(&agent.url(), &first).await, 202);
    relay.restart().await;
    agent.restart().await;
    assert_eq!(post_status(&relay.url(), &message(&world, &wallet, b"again")).await, 202, "sessions are renewed");

    let mut stream = subscribe(&world, &wallet, &agent, &relay.url(), 0).await;
    let (_, body, one) = stream.message().await;
    assert_eq!(body, b"through a relay");
    let (_, _, two) = stream.message().await;
    assert!(one.relayed_in && two.relayed_in);
    let statement = stream.statement().await;
    agree(&statement, Amount::ZERO, &[one, two], true);
    let signed = voucher(&world, &wallet, agent.address, statement.total);
    let body = CommandBody::Acknowledge { statement: statement.number, voucher: signed };
    assert_eq!(command_via(&world, &wallet, &agent, &relay.url(), body).await.0, 200);

    let carried = u128::from(one.bytes + two.bytes);
    assert_eq!(one.bytes, bytes);
    until("the relay's books agree", async || {
        let earned = earned(&relay).await;
        earned["inbound_bytes"] == earned["inbound_confirmed"]
            && earned["outbound_bytes"] == earned["outbound_confirmed"]
            && earned["outbound_confirmed"].as_u64().map(u128::from) == Some(carried)
    })
    .await;
    let (earned, owed) = (earned(&relay).await, owed(&agent).await);
    assert_eq!(earned["inbound_bytes"].as_u64().map(u128::from), Some(carried));
    assert_eq!(owed["lines"][0]["meter"]["relayed"].as_u64().map(u128::from), Some(2 * carried));
    assert_eq!(owed["vouchered"], owed["total"]);
    assert_eq!(earned["vouchered"], owed["total"]);
    let total = u128::from(owed["total"].as_str().unwrap().parse::<u64>().unwrap());
    assert_eq!(total, 2 * carried / 2, "half a base unit a byte");

    // What the agent earns backs at once what it gave the relay.
    world.claim(agent.address, signed).await;
    until("the settler has the last voucher", async || {
        settler.vouchers().last().is_some_and(|voucher: &SignedVoucher| voucher.cumulative == units(total))
    })
    .await;
    let relays = *settler.vouchers().last().unwrap();
    assert_eq!((relays.payer, relays.payee), (agent.address, relay.address));
    assert_eq!(world.claim(relay.address, relays).await, units(total));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_promised_to_a_relay_reaches_the_agents_own_settler_once() {
    let world = World::new().await;
    let settler = Settler::new().await;
    settler.fall_ill(true);
    let mut agent = world.operator(|config| config.settler_url = Some(settler.url.clone())).await;
    let relay = world.operator(|config| config.voucher_interval = Duration::from_millis(100)).await;
    let wallet = customer(&world, &agent, 10 * TOKEN).await;
    assert_eq!(post_status(&relay.url(), &message(&world, &wallet, b"first")).await, 202);
    until("the relay holds a voucher", async || earned(&relay).await["vouchered"] != "0").await;
    let scrape = Scrape::of(&agent).await;
    assert_eq!(scrape.value("minus_promises_handed_over_total"), 0.0);

    agent.restart().await;
    settler.fall_ill(false);
    let knows = async |settler: &Settler| {
        let held = earned(&relay).await["vouchered"].as_str().unwrap().parse::<u128>().unwrap();
        settler.debts().last().is_some_and(|debt| debt.cumulative == units(held))
    };
    until("the settler knows what the relay holds", async || knows(&settler).await).await;
    let debt = *settler.debts().last().unwrap();
    assert_eq!((debt.payer, debt.payee), (agent.address, relay.address));
    assert_eq!(
        debt.signer(&world.deployment.escrow_domain()).unwrap(),
        agent.node,
        "the very voucher: it can be claimed"
    );

    assert_eq!(post_status(&relay.url(), &message(&world, &wallet, b"second")).await, 202);
    until("it knows of more", async || settler.debts().last() != Some(&debt) && knows(&settler).await).await;
    until("nothing waits", async || Scrape::of(&agent).await.value("minus_promises_waiting") == 0.0).await;
    let told = settler.debts();
    assert!(told.is_sorted_by(|one, next| one.cumulative < next.cumulative), "each total once: {told:?}");
    world.deposit(agent.address, Address::ZERO, TOKEN).await;
    let last = *told.last().unwrap();
    assert_eq!(world.claim(relay.address, last).await, last.cumulative);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_not_paid_stops_and_resumes() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let relay = world
        .operator(|config| {
            config.relay_credit = units(300);
            config.voucher_interval = Duration::from_millis(100);
        })
        .await;
    let wallet = customer(&world, &agent, 10 * TOKEN).await;
    world.revoke(agent.address, agent.node).await;
    agent.wait_for_head(&world).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(post_status(&relay.url(), &message(&world, &wallet, &unique_body())).await);
    }
    assert_eq!(statuses[0], 202);
    assert_eq!(statuses[5], 429, "{statuses:?}");
    let ready: Value = agent.admin("/health/ready").await.json().await.unwrap();
    assert!(ready["reasons"].to_string().contains("key_not_authorised"), "{ready}");
    world.authorize(agent.address, agent.node).await;
    until("the relay is paid and goes on", async || {
        post_status(&relay.url(), &message(&world, &wallet, &unique_body())).await == 202
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_asks_while_it_carries_counts_each_packet_once() {
    let world = World::new().await;
    let agent = world.operator(|config| config.customer_credit = units(1_000 * TOKEN)).await;
    let relay = world
        .operator(|config| {
            config.relay_credit = units(1_000 * TOKEN);
            config.voucher_interval = Duration::from_millis(1);
        })
        .await;
    let wallet = customer(&world, &agent, 90 * TOKEN).await;
    let body = |_| [unique_body().as_slice(), &[0; 100_000]].concat();
    let packets: Vec<_> = (0..100).map(|number| message(&world, &wallet, &body(number))).collect();
    let carried: u128 = packets.iter().map(|packet| u128::try_from(packet.len()).unwrap()).sum();
    let url = relay.url();
    let statuses = futures_util::stream::iter(&packets)
        .map(|packet| post_status(&url, packet))
        .buffer_unordered(48)
        .collect::<Vec<_>>()
        .await;
    assert!(statuses.iter().all(|status| *status == 202), "{statuses:?}");
    until("everything is confirmed", async || {
        earned(&relay).await["inbound_confirmed"].as_u64().map(u128::from) == Some(carried)
    })
    .await;
    assert_eq!(earned(&relay).await["inbound_bytes"].as_u64().map(u128::from), Some(carried));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_packets_do_not_make_a_relay_open_sessions() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let relay = world.operator(|_| ()).await;
    let stranger = world.person().await;
    world.set_route(&stranger, agent.node).await;
    relay.wait_for_head(&world).await;
    for _ in 0..4 {
        assert_eq!(post_status(&relay.url(), &message(&world, &stranger, b"not entrusted")).await, 421);
    }
    assert_eq!(agent.metric("minus_peer_sessions").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_retires_is_still_paid() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let relay = world.operator(|config| config.voucher_interval = Duration::from_secs(3)).await;
    let wallet = customer(&world, &agent, 10 * TOKEN).await;
    let packet = message(&world, &wallet, b"the last one");
    assert_eq!(post_status(&relay.url(), &packet).await, 202);
    let retire = world.table();
    let retire = retire.retire(relay.node).from(relay.address);
    assert!(retire.send().await.unwrap().get_receipt().await.unwrap().status());
    agent.wait_for_head(&world).await;
    let carried = u64::try_from(packet.len()).unwrap();
    until("it is paid", async || earned(&relay).await["inbound_confirmed"].as_u64() == Some(carried)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_fronts_relay_fees_up_to_its_credit_and_again_when_paid() {
    let world = World::new().await;
    let agent = world.operator(|config| config.customer_credit = units(300)).await;
    let relay = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, 10 * TOKEN).await;
    let send = async |node: &str| post_status(node, &message(&world, &wallet, &unique_body())).await;
    assert_eq!(send(&relay.url()).await, 202);
    assert_eq!(send(&relay.url()).await, 429);
    let owed_before = owed(&agent).await["total"].clone();
    assert_eq!(send(&agent.url()).await, 202, "what came without a relay costs the agent nothing in advance");
    assert_eq!(owed(&agent).await["total"], owed_before);

    let mut stream = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    stream.message().await;
    stream.message().await;
    let statement = stream.statement().await;
    assert_eq!(acknowledge(&world, &wallet, &agent, &statement).await.0, 200);
    assert_eq!(send(&relay.url()).await, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_through_and_nothing_goes_round_in_circles() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let relay = world.operator(|_| ()).await;
    let poor = customer(&world, &agent, 1).await;
    assert_eq!(post_status(&relay.url(), &message(&world, &poor, b"x")).await, 402);
    let nobody = world.person().await;
    assert_eq!(post_status(&relay.url(), &message(&world, &nobody, b"x")).await, 404);

    // A wallet that moves to another agent: its old one forwards, its new one has not been entrusted yet.
    let wallet = customer(&world, &agent, 10 * TOKEN).await;
    world.set_route(&wallet, relay.node).await;
    agent.wait_for_head(&world).await;
    relay.wait_for_head(&world).await;
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"x")).await, 421);
    assert_eq!(post_status(&relay.url(), &message(&world, &wallet, b"x")).await, 421);
    world.set_route(&wallet, agent.node).await;
    agent.wait_for_head(&world).await;
    relay.wait_for_head(&world).await;
    assert_eq!(post_status(&relay.url(), &message(&world, &wallet, b"x")).await, 202);
    assert_eq!(earned(&relay).await["outbound_bytes"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_away_is_502() {
    let world = World::new().await;
    let mut agent = world.operator(|_| ()).await;
    let relay = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, 10 * TOKEN).await;
    agent.stop().await;
    assert_eq!(post_status(&relay.url(), &message(&world, &wallet, b"x")).await, 502);
    agent.start().await;
    assert_eq!(post_status(&relay.url(), &message(&world, &wallet, b"x")).await, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_keeps_nothing_of_what_it_carries() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let relay = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, 10 * TOKEN).await;
    let packet = message(&world, &wallet, b"canary: nobody in between shall read this");
    assert_eq!(post(&relay.url(), packet.as_bytes().to_vec()).await.status().as_u16(), 202);
    let mut stream = subscribe(&world, &wallet, &agent, &relay.url(), 0).await;
    stream.message().await;
    let statement = stream.statement().await;
    assert_eq!(acknowledge(&world, &wallet, &agent, &statement).await.0, 200);
    for entry in std::fs::read_dir(&relay.config.data_dir).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!holds(b"canary"));
        assert!(!holds(&packet.as_bytes()[100..132]), "not even the ciphertext");
    }
}
