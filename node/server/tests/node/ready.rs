//! Every ailment of `/health/ready` that can be brought about, brought about.

use std::time::Duration;

use serde_json::Value;

use crate::{
    customer::{acknowledge, customer, message, now_ms, post_status, subscribe},
    world::{Operator, TOKEN, World, until},
};

async fn ready(operator: &Operator) -> (u16, Value) {
    let answer = operator.admin("/health/ready").await;
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Waits for an ailment, and holds the answer to its form.
async fn falls_ill(operator: &Operator, ailment: &str, blocking: bool) {
    until(ailment, async || {
        let (status, ready) = ready(operator).await;
        let reasons = ready["reasons"].as_array().unwrap();
        let is_blocked = reasons.iter().any(|reason| reason["blocking"] == true);
        assert_eq!(
            (status, &ready["ready"]),
            if is_blocked { (503, &Value::Bool(false)) } else { (200, &Value::Bool(true)) }
        );
        let Some(reason) = reasons.iter().find(|reason| reason["reason"] == ailment) else { return false };
        assert_eq!(reason["blocking"], blocking, "{reason}");
        assert!(reason["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{reason}");
        assert!(reason["since"].as_u64().unwrap().abs_diff(now_ms() / 1_000) < 120, "{reason}");
        true
    })
    .await;
    assert!(operator.admin("/health/live").await.status().is_success());
}

async fn recovers(operator: &Operator, ailment: &str) {
    until("it has recovered", async || {
        let (_, ready) = ready(operator).await;
        ready["reasons"].as_array().unwrap().iter().all(|reason| reason["reason"] != ailment)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_was_never_seen() {
    let world = World::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let node = world.unregistered(|config| config.rpc_urls = vec![format!("http://{nobody}").parse().unwrap()]).await;
    falls_ill(&node, "chain_never_seen", true).await;
    falls_ill(&node, "not_registered", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_retires() {
    let world = World::new().await;
    let node = world.operator(|_| ()).await;
    node.wait_ready().await;
    let retiring = world.table();
    assert!(retiring.retire(node.node).from(node.address).send().await.unwrap().get_receipt().await.unwrap().status());
    falls_ill(&node, "retired", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_the_operator_does_not_authorise_only_makes_it_worse() {
    let world = World::new().await;
    let node = world.operator(|_| ()).await;
    world.revoke(node.address, node.node).await;
    falls_ill(&node, "key_not_authorised", false).await;
    world.authorize(node.address, node.node).await;
    recovers(&node, "key_not_authorised").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settler_that_is_not_there_only_makes_it_worse() {
    let world = World::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let agent = world
        .operator(|config| {
            config.settler_url = Some(format!("http://name:password@{nobody}").parse().unwrap());
            config.keep_alive = Duration::from_secs(1);
        })
        .await;
    let wallet = customer(&world, &agent, TOKEN).await;
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"x")).await, 202);
    let mut stream = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    stream.message().await;
    let statement = stream.statement().await;
    assert_eq!(acknowledge(&world, &wallet, &agent, &statement).await.0, 200);
    falls_ill(&agent, "settler_unreachable", false).await;
    assert!(!ready(&agent).await.1.to_string().contains("password"));
}
