//! The node's view of the chain: followed, reorganised, stale.

use std::time::Duration;

use serde_json::Value;

use alloy::providers::Provider;

use crate::{
    customer::{customer, message, post_status},
    world::{TOKEN, World, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_is_noticed_and_nothing_is_delivered_on_old_news() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let before: Value = world.chain.raw_request("evm_snapshot".into(), ()).await.unwrap();
    let wallet = customer(&world, &agent, TOKEN).await;
    agent.wait_for_head(&world).await;
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"x")).await, 202);
    let head = world.chain.get_block_number().await.unwrap();

    let reverted: bool = world.chain.raw_request("evm_revert".into(), (before,)).await.unwrap();
    assert!(reverted);
    // The new branch is longer, and the deposit and the route are not on it.
    let _: Value = world.chain.raw_request("anvil_setNextBlockBaseFeePerGas".into(), ("0x3b9aca01",)).await.unwrap();
    let _: Value = world.chain.raw_request("anvil_mine".into(), (32,)).await.unwrap();
    assert!(world.chain.get_block_number().await.unwrap() > head);
    agent.wait_for_head(&world).await;
    agent.wait_ready().await;
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"x")).await, 404);
    assert_eq!(agent.metric("minus_chain_reorganisations_total").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_view_is_503_and_says_why() {
    let mut world = World::new().await;
    let agent = world.operator(|config| config.view_stale_after = Duration::from_millis(600)).await;
    let wallet = customer(&world, &agent, TOKEN).await;
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"x")).await, 202);
    world.stop_chain();
    until("the view is stale", async || !agent.admin("/health/ready").await.status().is_success()).await;
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"x")).await, 503);
    let ready: Value = agent.admin("/health/ready").await.json().await.unwrap();
    assert!(ready["reasons"].to_string().contains("chain_stale"), "{ready}");
    assert!(agent.admin("/health/live").await.status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unregistered_node_is_not_ready_until_it_is() {
    let world = World::new().await;
    let node = world.unregistered(|_| ()).await;
    until("it has caught up", async || {
        let ready: Value = node.admin("/health/ready").await.json().await.unwrap();
        ready["reasons"].to_string().contains("not_registered") && ready["block"].as_u64() > Some(0)
    })
    .await;
    let wallet = world.person().await;
    assert_eq!(post_status(&node.url(), &message(&world, &wallet, b"x")).await, 503);
    world.register(&node).await;
    node.wait_ready().await;
}
