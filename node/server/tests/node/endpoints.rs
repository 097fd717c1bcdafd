//! Endpoints that lag, lie, forget, refuse and stall: the view is right or visibly stale, never wrong.

use std::time::Duration;

use alloy::{primitives::Address, providers::Provider};
use serde_json::Value;
use url::Url;

use crate::{
    customer::{customer, message, post_status},
    proxy::{Mood, Proxy},
    world::{Operator, TOKEN, World, until},
};

/// A node that asks these, in this order.
async fn node_at(world: &World, urls: &[&Url]) -> Operator {
    let urls: Vec<_> = urls.iter().map(|url| (*url).clone()).collect();
    world.operator(|config| config.rpc_urls = urls).await
}

async fn agent_of(node: &Operator, wallet: Address) -> Option<Address> {
    let known: Value = node.admin(&format!("/view/{wallet}")).await.json().await.unwrap();
    serde_json::from_value(known["agent"].clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_another_chain_is_refused_at_the_start() {
    let world = World::new().await;
    let liar = Proxy::new(&world.rpc_url, Mood::OtherChain(1)).await;
    let agent = node_at(&world, &[&world.rpc_url]).await;
    let mut config = agent.config.clone();
    config.rpc_urls.push(liar.url.clone());
    config.data_dir = world.folder.path().join("elsewhere");
    config.listen = "127.0.0.1:0".parse().unwrap();
    let refused = minus_node::spawn(config).await.unwrap_err().to_string();
    assert!(refused.contains("the endpoint's chain is 1, the deployment's is 31337"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_becomes_another_chain_is_refused_later_too() {
    let (world, other) = tokio::join!(World::new(), World::new());
    let turncoat = Proxy::new(&world.rpc_url, Mood::Honest).await;
    let alone = world
        .operator(|config| {
            config.rpc_urls = vec![turncoat.url.clone()];
            config.view_stale_after = Duration::from_secs(2);
        })
        .await;
    let agent = node_at(&world, &[&turncoat.url, &world.rpc_url]).await;
    let wallet = customer(&world, &agent, TOKEN).await;
    agent.wait_for_head(&world).await;
    alone.wait_for_head(&world).await;
    let _: Value = other.chain.raw_request("anvil_mine".into(), (300,)).await.unwrap();

    // Another chain of another name: nothing is taken over from it.
    turncoat.set(Mood::OtherChain(5));
    turncoat.lead_to(&other.rpc_url);
    until("the lonely one is stale and says why", async || {
        let ready: Value = alone.admin("/health/ready").await.json().await.unwrap();
        ready["ready"] == false && ready.to_string().contains("the endpoint's chain is 5")
    })
    .await;
    assert_eq!(agent_of(&alone, wallet.address()).await, Some(agent.node));
    // One of the same name, even with the same contracts: the other endpoint still has the block that this one denies.
    turncoat.set(Mood::Honest);
    let second = world.person().await;
    world.set_route(&second, agent.node).await;
    agent.wait_for_head(&world).await;
    assert_eq!(agent_of(&agent, second.address()).await, Some(agent.node));
    assert_eq!(agent.metric("minus_chain_reorganisations_total").await, 0.0);
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"x")).await, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lagging_endpoint_never_takes_the_view_back() {
    let world = World::new().await;
    let (late, good) = tokio::join!(Proxy::new(&world.rpc_url, Mood::Honest), Proxy::new(&world.rpc_url, Mood::Honest));
    let agent = world
        .operator(|config| {
            config.rpc_urls = vec![late.url.clone(), good.url.clone()];
            config.view_stale_after = Duration::from_secs(2);
        })
        .await;
    agent.wait_for_head(&world).await;
    let now = world.chain.get_block_number().await.unwrap();
    late.set(Mood::Lagging(now - 1));
    let wallet = customer(&world, &agent, TOKEN).await;
    agent.wait_for_head(&world).await;
    let lane = format!("/view/{}/{}", wallet.address(), agent.address);
    let now: Value = agent.admin(&lane).await.json().await.unwrap();
    assert_eq!(now["deposit"], TOKEN.to_string());
    assert!(agent.metric("minus_chain_endpoint_failures_total{flaw=\"behind\"}").await > 0.0);
    // Only the one that lags is left: what is known stays, ages, and is then no longer acted on.
    good.set(Mood::Garbage);
    until("it is stale", async || post_status(&agent.url(), &message(&world, &wallet, b"x")).await == 503).await;
    assert_eq!(agent_of(&agent, wallet.address()).await, Some(agent.node));
    late.set(Mood::Honest);
    agent.wait_ready().await;
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"x")).await, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_do_not_come_are_noticed() {
    let world = World::new().await;
    let forgetful = Proxy::new(&world.rpc_url, Mood::Honest).await;
    let agent = world
        .operator(|config| {
            config.rpc_urls = vec![forgetful.url.clone()];
            config.view_stale_after = Duration::from_secs(2);
        })
        .await;
    forgetful.set(Mood::Forgetful);
    let wallet = world.person().await;
    world.set_route(&wallet, agent.node).await;
    until("the endpoint is not believed", async || {
        let ready: Value = agent.admin("/health/ready").await.json().await.unwrap();
        ready["ready"] == false && agent.metric("minus_chain_endpoint_failures_total{flaw=\"misfit\"}").await > 0.0
    })
    .await;
    forgetful.set(Mood::Honest);
    agent.wait_for_head(&world).await;
    assert_eq!(agent_of(&agent, wallet.address()).await, Some(agent.node));
    // With another one to ask, nobody notices but the metrics.
    let second = node_at(&world, &[&forgetful.url, &world.rpc_url]).await;
    forgetful.set(Mood::Forgetful);
    let other = world.person().await;
    world.set_route(&other, second.node).await;
    second.wait_for_head(&world).await;
    assert_eq!(agent_of(&second, other.address()).await, Some(second.node));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_endless_answers_are_bounded_and_passed_over() {
    let world = World::new().await;
    let bad = Proxy::new(&world.rpc_url, Mood::Garbage).await;
    let agent = node_at(&world, &[&bad.url, &world.rpc_url]).await;
    bad.set(Mood::Endless);
    agent.wait_for_head(&world).await;
    let lonely = Proxy::new(&world.rpc_url, Mood::Honest).await;
    let alone = node_at(&world, &[&lonely.url]).await;
    lonely.set(Mood::Endless);
    until("the answer is cut off", async || {
        alone.metric("minus_chain_endpoint_failures_total{flaw=\"too_long\"}").await > 0.0
    })
    .await;
    lonely.set(Mood::Honest);
    alone.wait_for_head(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_stalls_is_given_up_for_the_next() {
    let world = World::new().await;
    let stalling = Proxy::new(&world.rpc_url, Mood::Honest).await;
    let agent = node_at(&world, &[&stalling.url, &world.rpc_url]).await;
    stalling.set(Mood::Stalling);
    let wallet = world.person().await;
    world.set_route(&wallet, agent.node).await;
    until("the next one is asked", async || agent_of(&agent, wallet.address()).await == Some(agent.node)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_refused_is_halved() {
    let world = World::new().await;
    let narrow = Proxy::new(&world.rpc_url, Mood::Narrow(60)).await;
    let wallet = world.person().await;
    let first = node_at(&world, &[&world.rpc_url]).await;
    world.set_route(&wallet, first.node).await;
    let _: Value = world.chain.raw_request("anvil_mine".into(), (400,)).await.unwrap();
    let second = node_at(&world, &[&narrow.url]).await;
    second.wait_for_head(&world).await;
    assert_eq!(agent_of(&second, wallet.address()).await, Some(first.node));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_name_that_is_no_text_stops_nobody() {
    let world = World::new().await;
    let agent = node_at(&world, &[&world.rpc_url]).await;
    let stranger = node_at(&world, &[&world.rpc_url]).await;
    // setEndpoint(address,string) with the bytes 00 ff: no text, and nothing a database calls one.
    let mut call = alloy::primitives::keccak256("setEndpoint(address,string)")[..4].to_vec();
    call.extend(stranger.node.into_word());
    call.extend([&[0; 31][..], &[0x40], &[0; 31], &[2], &[0x00, 0xff], &[0; 30]].concat());
    let sent = alloy::rpc::types::TransactionRequest {
        from: Some(stranger.address),
        to: Some(world.deployment.routing_table.into()),
        input: alloy::primitives::Bytes::from(call).into(),
        ..Default::default()
    };
    assert!(world.chain.send_transaction(sent).await.unwrap().get_receipt().await.unwrap().status());
    agent.wait_for_head(&world).await;
    let known: Value = agent.admin(&format!("/view/{}", stranger.node)).await.json().await.unwrap();
    assert_eq!(known["node"]["endpoint"], "\u{0}\u{fffd}");
    let wallet = customer(&world, &agent, TOKEN).await;
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"x")).await, 202);
}
