//! What is taken in, what is refused, and that it is durable before it is answered.

use alloy::primitives::U256;
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::{Amount, SignedVoucher, escrow_domain};
use minus_settler::api::IntakeResult::{self, Recorded, SameAsBefore};
use minus_settler::check::Refusal;
use minus_settler::intake::VOUCHERS_PER_REQUEST_MAX;
use minus_settler::store::VoucherState;
use serde_json::json;

use super::world::{World, tokens};

const WEEK: u64 = 7 * 86_400;

const fn refused(reason: Refusal) -> IntakeResult {
    IntakeResult::Refused { reason }
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_what_the_chain_would_refuse_and_takes_the_good_one_among_them() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("10").await;
    let stranger = PrivateKeySigner::random();
    let domain = world.deployment.escrow_domain();
    let (from, to, amount) = (payer.address(), world.payee(), tokens("1"));
    let other_chain = escrow_domain(1, world.deployment.escrow);
    let other_escrow = escrow_domain(world.deployment.chain_id, world.deployment.token);
    let order: U256 = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().unwrap();
    let mut malleable = world.voucher(&payer, "1");
    let s = U256::from_be_slice(&malleable.signature[32..64]);
    malleable.signature[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    malleable.signature[64] = 55 - malleable.signature[64];
    let mut altered = world.voucher(&payer, "1");
    altered.cumulative = tokens("2");

    let rows = json!([
        { "payer": "nobody" },
        SignedVoucher::sign(from, stranger.address(), amount, &domain, &payer),
        SignedVoucher::sign(from, to, amount, &domain, &stranger),
        malleable,
        SignedVoucher::sign(from, to, amount, &other_chain, &payer),
        SignedVoucher::sign(from, to, amount, &other_escrow, &payer),
        altered,
        world.voucher(&payer, "1"),
        SignedVoucher::sign(to, to, amount, &domain, &world.operator),
        "0x",
    ]);
    let response = settler.post(json!({ "vouchers": rows }).to_string()).await;
    let answer: minus_settler::api::IntakeAnswer = response.json().await.unwrap();

    assert_eq!(
        answer.results,
        [
            refused(Refusal::Malformed),
            refused(Refusal::ForeignPayee),
            refused(Refusal::NotASigner),
            refused(Refusal::BadSignature),
            refused(Refusal::NotASigner),
            refused(Refusal::NotASigner),
            refused(Refusal::NotASigner),
            Recorded,
            refused(Refusal::BadPayer),
            refused(Refusal::Malformed),
        ]
    );
    let status = settler.status().await;
    assert_eq!(status.lanes.len(), 1);
    assert_eq!((status.lanes[0].payer, status.lanes[0].cumulative), (from, amount));
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_with_no_money_behind_them_fill_no_log() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("0").await;
    assert_eq!(settler.hand_in(&[world.voucher(&payer, "1")]).await, [refused(Refusal::Unfunded)]);
    assert!(settler.status().await.lanes.is_empty());

    world.fund(payer.address(), world.payee(), tokens("1")).await;
    settler.record(world.voucher(&payer, "1")).await;
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_bodies_without_bound_or_sense() {
    let world = World::new().await;
    let settler = world.settler().await;

    assert_eq!(settler.post("vouchers".into()).await.status(), 400);
    assert_eq!(settler.post("{}".into()).await.status(), 400);
    let many = vec![0; VOUCHERS_PER_REQUEST_MAX + 1];
    assert_eq!(settler.post(json!({ "vouchers": many }).to_string()).await.status(), 413);
    assert_eq!(settler.post("x".repeat(600 * 1_024)).await.status(), 413);
    let url = format!("http://{}/vouchers", settler.handle.addr);
    assert_eq!(reqwest::get(url).await.unwrap().status(), 405);
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_once_and_across_a_restart() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("10").await;

    settler.record(world.voucher(&payer, "0.00001")).await;
    assert_eq!(settler.hand_in(&[world.voucher(&payer, "0.00001")]).await, [SameAsBefore]);
    assert_eq!(settler.hand_in(&[world.voucher(&payer, "0.000009")]).await, [SameAsBefore]);
    settler.kill();

    let settler = world.settler().await;
    assert_eq!(settler.hand_in(&[world.voucher(&payer, "0.00001")]).await, [SameAsBefore]);
    let both = [world.voucher(&payer, "0.00002"), world.voucher(&payer, "0.000015")];
    assert_eq!(settler.hand_in(&both).await, [Recorded, SameAsBefore]);

    let status = settler.status().await;
    assert_eq!(status.lanes.len(), 1, "one waits per lane");
    assert_eq!(status.lanes[0].cumulative, tokens("0.00002"));
    assert_eq!(status.summary.vouchers[&VoucherState::Recorded].count, 1);
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_a_delegates_voucher_until_its_notice_ends() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("10").await;
    let delegate = PrivateKeySigner::random();
    let domain = world.deployment.escrow_domain();
    let signed = |units: u128| {
        let amount = Amount::from_base_units(units).unwrap();
        [SignedVoucher::sign(payer.address(), world.payee(), amount, &domain, &delegate)]
    };
    let escrow = minus_bindings::PrepaymentEscrow::new(world.deployment.escrow, world.as_signer(&payer));
    assert_eq!(settler.hand_in(&signed(1)).await, [refused(Refusal::NotASigner)], "never authorised");

    escrow.authorize(delegate.address()).send().await.unwrap().get_receipt().await.unwrap();
    assert_eq!(settler.hand_in(&signed(2)).await, [Recorded]);

    escrow.revoke(delegate.address()).send().await.unwrap().get_receipt().await.unwrap();
    assert_eq!(settler.hand_in(&signed(3)).await, [Recorded], "the notice runs");

    world.anvil.warp(WEEK).await;
    super::world::until("the settler saw the time pass", async || {
        (settler.status().await.head >= world.anvil.head().await).then_some(())
    })
    .await;
    assert_eq!(settler.hand_in(&signed(4)).await, [refused(Refusal::NotASigner)], "the notice has ended");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepts_nothing_while_the_chain_cannot_be_asked() {
    let mut world = World::new().await;
    let payer = world.payer("10").await;
    let config = world.config();
    let gas_key = world.gas_key.clone();
    let voucher = world.voucher(&payer, "1");
    let handle = minus_settler::spawn_with_keys(config, vec![gas_key]).await.unwrap();
    world.anvil.kill();

    let http = reqwest::Client::new();
    let body = json!({ "vouchers": [voucher] });
    let response = http.post(format!("http://{}/vouchers", handle.addr)).json(&body).send().await.unwrap();
    assert_eq!(response.status(), 503);
    let text = response.text().await.unwrap();
    assert!(!text.contains("127.0.0.1"), "a stranger learns nothing of the inside: {text}");

    let admin = format!("http://{}", handle.admin_addr);
    super::world::until("it says that it is not ready", async || {
        (http.get(format!("{admin}/health/ready")).send().await.unwrap().status() == 503).then_some(())
    })
    .await;
    assert_eq!(http.get(format!("{admin}/health/live")).send().await.unwrap().status(), 200);
    let metrics = http.get(format!("{admin}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("settler_vouchers{state=\"recorded\"} 0"), "{metrics}");
    handle.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_best_of_many_at_once() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("10").await;
    let vouchers: Vec<_> = (1..=24).map(|units| world.voucher(&payer, &format!("0.0000{units:02}"))).collect();

    let answers = futures_util::future::join_all(vouchers.iter().map(|voucher| {
        let settler = &settler;
        async move { settler.hand_in(std::slice::from_ref(voucher)).await }
    }))
    .await;

    assert!(answers.iter().flatten().all(|result| matches!(result, Recorded | SameAsBefore)));
    assert_eq!(settler.status().await.lanes[0].cumulative, tokens("0.000024"));
    settler.end().await;
}

/// What the chain showed of a lane lately stands for it when a voucher comes, and never in place of what is known better.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_was_read_lately_is_not_believed_over_the_log() {
    let world = World::new().await;
    let mut config = world.config();
    config.lane_refresh = std::time::Duration::from_secs(3_600);
    let settler = world.settler_with(config).await;
    let payer = world.payer("10").await;
    settler.record(world.voucher(&payer, "1")).await;
    settler.claim_now().await;
    assert_eq!(world.paid(&payer).await, tokens("1"));

    settler.record(world.voucher(&payer, "3")).await;
    assert_eq!(settler.status().await.lanes[0].paid, tokens("1"), "not what was seen before the claim");
    settler.claim_now().await;
    assert_eq!(world.paid(&payer).await, tokens("3"));
    settler.end().await;
}
