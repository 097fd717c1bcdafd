//! Several endpoints: dead ones, complaining ones, ones that lie or lag. What enough agree on is believed, and nothing
//! else.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy::primitives::B256;
use minus_bindings::Amount;
use minus_settler::store::TransactionState;
use serde_json::{Value, json};
use url::Url;

use super::world::{World, tokens, under_way, until};

/// An endpoint that hands every transaction on, and then says that it did not.
async fn lying_endpoint(behind: url::Url) -> url::Url {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let forward = move |body: String| {
        let (http, behind) = (http.clone(), behind.clone());
        async move {
            let request: serde_json::Value = serde_json::from_str(&body).unwrap();
            let request_to = http.post(behind).header("content-type", "application/json").body(body);
            let answer = request_to.send().await.unwrap().text().await.unwrap();
            if request["method"] == "eth_sendRawTransaction" {
                let error = serde_json::json!({ "code": -32_000, "message": "internal error" });
                return serde_json::json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }).to_string();
            }
            answer
        }
    };
    serve(axum::routing::post(forward)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_reported_failed_but_was_mined_is_recognised() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    let mut config = world.config();
    config.rpc_urls = vec![lying_endpoint(world.anvil.url.clone()).await];
    let settler = world.settler_with(config).await;
    settler.record(world.voucher(&payer, "1")).await;

    let progress = settler.claim_now().await;

    assert_eq!(progress.claims[0].paid, Some(tokens("1")));
    assert_eq!((world.earned().await, world.gas_transactions().await), (tokens("1"), 1));
    let metrics = settler.get("metrics").await.text().await.unwrap();
    assert!(!metrics.contains("settler_refused_sends_total 0"), "the lie is seen: {metrics}");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_endpoint_takes_over_from_a_dead_one() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    let mut config = world.config();
    config.rpc_urls.insert(0, "http://127.0.0.1:9".parse().unwrap());
    config.rpc_quorum = 1;
    let settler = world.settler_with(config).await;

    settler.record(world.voucher(&payer, "1")).await;
    assert_eq!(settler.claim_now().await.confirmed, 1);
    assert_eq!(settler.get("health/ready").await.status(), 200);
    settler.end().await;
}

/// An endpoint of the test's own.
async fn serve(handler: axum::routing::MethodRouter) -> url::Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let router = axum::Router::new().route("/", handler);
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

/// Out of quota, out of date, pruned: it answers, but never with more than an error.
async fn complaining_endpoint() -> url::Url {
    let answer = async |body: String| {
        let request: serde_json::Value = serde_json::from_str(&body).unwrap();
        let error = serde_json::json!({ "code": -32_005, "message": "daily request count exceeded" });
        serde_json::json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }).to_string()
    };
    serve(axum::routing::post(answer)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_endpoint_takes_over_from_one_that_only_complains() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    let mut config = world.config();
    config.rpc_urls.insert(0, complaining_endpoint().await);
    config.rpc_quorum = 1;
    let settler = world.settler_with(config).await;

    settler.record(world.voucher(&payer, "1")).await;
    assert_eq!(settler.claim_now().await.confirmed, 1);
    settler.end().await;
}

/// What a proxy makes of an answer to a request.
type Lie = Box<dyn Fn(&Value, &mut Value) + Send + Sync>;

/// An endpoint that changes what another one answers, as long as it is told to.
pub(crate) async fn liar(behind: Url, lies: Arc<AtomicBool>, lie: Lie) -> Url {
    let lie = Arc::new(lie);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let forward = move |body: String| {
        let (http, behind, lies, lie) = (http.clone(), behind.clone(), lies.clone(), lie.clone());
        async move {
            let request: Value = serde_json::from_str(&body).unwrap();
            let forwarded = http.post(behind).header("content-type", "application/json").body(body);
            let mut answer: Value = forwarded.send().await.unwrap().json().await.unwrap();
            if lies.load(Ordering::Relaxed) && answer.get("result").is_some() {
                lie(&request, &mut answer["result"]);
            }
            answer.to_string()
        }
    };
    serve(axum::routing::post(forward)).await
}

/// Lanes are empty, nothing is mined, nonces are used, and blocks have other names.
fn everything(request: &Value, result: &mut Value) {
    match request["method"].as_str().unwrap() {
        "eth_call" => {
            let length = result.as_str().unwrap().len();
            *result = format!("0x{}", "0".repeat(length - 2)).into();
        }
        "eth_getTransactionReceipt" => *result = Value::Null,
        "eth_getTransactionCount" | "eth_getBalance" => *result = "0x63".into(),
        "eth_getBlockByNumber" if !result.is_null() => result["hash"] = json!(B256::repeat_byte(0x66)),
        _ => {}
    }
}

fn receipts(request: &Value, result: &mut Value) {
    if request["method"] == "eth_getTransactionReceipt" {
        *result = Value::Null;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_among_three_changes_nothing_and_is_named() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    let anvil = world.anvil.url.clone();
    let honest = liar(anvil.clone(), Arc::default(), Box::new(everything)).await;
    let lying = liar(anvil.clone(), Arc::new(AtomicBool::new(true)), Box::new(everything)).await;
    let mut config = world.config();
    config.rpc_urls = vec![lying, anvil, honest];
    let settler = world.settler_with(config).await;

    settler.record(world.voucher(&payer, "1")).await;
    let progress = settler.claim_now().await;

    assert_eq!(progress.claims[0].paid, Some(tokens("1")));
    assert_eq!((world.earned().await, world.gas_transactions().await), (tokens("1"), 1));
    let endpoints = settler.status().await.endpoints;
    assert!(endpoints[0].disagreements > 0, "{endpoints:?}");
    assert_eq!((endpoints[1].disagreements, endpoints[2].disagreements), (0, 0));
    let metrics = settler.get("metrics").await.text().await.unwrap();
    let named = format!("settler_endpoint_disagreements{{endpoint=\"{}\"}}", endpoints[0].name);
    assert!(metrics.lines().any(|line| line.starts_with(&named) && !line.ends_with(" 0")), "{metrics}");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_endpoints_contradict_each_other_nothing_is_decided() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    let lies = Arc::new(AtomicBool::new(false));
    let lying = liar(world.anvil.url.clone(), lies.clone(), Box::new(receipts)).await;
    let mut config = world.config();
    config.rpc_urls = vec![world.anvil.url.clone(), lying];
    let settler = world.settler_with(config).await;
    settler.record(world.voucher(&payer, "1")).await;
    world.anvil.automine(false).await;
    let request = settler.ask().await.request;
    let hash = under_way(&settler).await;

    // One says that it was never mined while its nonce is used: neither a success, nor a stranger's transaction.
    lies.store(true, Ordering::Relaxed);
    world.anvil.mine(10).await;
    let head = world.anvil.head().await;
    until("it has looked several times", async || {
        let status = settler.status().await;
        (status.head == head && status.endpoints[0].head == head).then_some(())
    })
    .await;
    world.anvil.mine(1).await;
    until("it has looked again", async || (settler.status().await.head == head + 1).then_some(())).await;
    let status = settler.status().await;
    assert_eq!(status.transactions[0].state, TransactionState::Submitted, "neither confirmed nor lost");

    lies.store(false, Ordering::Relaxed);
    until("it is confirmed", async || settler.progress(request).await.done.then_some(())).await;
    assert_eq!(settler.progress(request).await.claims[0].transaction, Some(hash));
    assert_eq!((world.earned().await, world.gas_transactions().await), (tokens("1"), 1));
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_most_deny_and_one_endpoint_shows_is_not_given_up_soon_nor_never() {
    for comes_back in [true, false] {
        let world = World::new().await;
        let payer = world.payer("10").await;
        let lies = Arc::new(AtomicBool::new(false));
        let mut config = world.config();
        config.rpc_urls = vec![world.anvil.url.clone()];
        for _ in 0..2 {
            config.rpc_urls.push(liar(world.anvil.url.clone(), lies.clone(), Box::new(receipts)).await);
        }
        let settler = world.settler_with(config).await;
        settler.record(world.voucher(&payer, "1")).await;
        world.anvil.automine(false).await;
        let request = settler.ask().await.request;
        let hash = under_way(&settler).await;

        lies.store(true, Ordering::Relaxed);
        for blocks in [1, 25, 1] {
            world.anvil.mine(blocks).await;
            let head = world.anvil.head().await;
            until("it has looked", async || (settler.status().await.head == head).then_some(())).await;
        }
        assert_eq!(settler.status().await.transactions[0].state, TransactionState::Submitted, "one shows it");
        if comes_back {
            lies.store(false, Ordering::Relaxed);
            until("it is confirmed", async || settler.progress(request).await.done.then_some(())).await;
            assert_eq!(settler.progress(request).await.claims[0].transaction, Some(hash));
        } else {
            until("it is given up", async || {
                world.anvil.mine(20).await;
                let summary = settler.status().await.summary;
                (summary.transactions.get(&TransactionState::Lost) == Some(&1)).then_some(())
            })
            .await;
            until("the lane says that it is paid", async || settler.progress(request).await.done.then_some(())).await;
        }
        assert_eq!((world.earned().await, world.gas_transactions().await), (tokens("1"), 1));
        settler.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_is_not_refused_on_a_liars_word() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    let anvil = world.anvil.url.clone();
    let lies = Arc::new(AtomicBool::new(false));
    let lying = liar(anvil.clone(), lies.clone(), Box::new(everything)).await;
    let mut config = world.config();
    config.rpc_urls = vec![lying, anvil];
    let settler = world.settler_with(config).await;

    lies.store(true, Ordering::Relaxed);
    let body = json!({ "vouchers": [world.voucher(&payer, "1")] }).to_string();
    assert_eq!(settler.post(body).await.status(), 503, "come back, rather than: no money behind it");
    assert_eq!(settler.get("health/ready").await.status(), 503);

    lies.store(false, Ordering::Relaxed);
    settler.record(world.voucher(&payer, "1")).await;
    assert_eq!(settler.claim_now().await.confirmed, 1);
    assert_eq!(world.paid(&payer).await, tokens("1"));
    assert!(world.earned().await > Amount::ZERO);
    settler.end().await;
}
