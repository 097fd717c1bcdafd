//! An agent and one customer: stored, pushed, billed, paid, deleted, handed over; and all that with restarts between.

use minus_bindings::Amount;
use minus_protocol::{CommandBody, Refusal, Reply, reserve};
use serde_json::{Value, json};

use crate::{
    customer::{
        Said, acknowledge, agree, command, customer, entrust, message, post, post_status, subscribe, unique_body,
        voucher,
    },
    settler::Settler,
    world::{Operator, TARIFF, TOKEN, World, units, until},
};

async fn customer_meters(agent: &Operator) -> Value {
    agent.meters().await["customers"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_pushes_bills_and_collects_across_restarts() {
    let world = World::new().await;
    let settler = Settler::new().await;
    settler.fall_ill(true);
    let mut agent = world.operator(|config| config.settler_url = Some(settler.url.clone())).await;
    let wallet = customer(&world, &agent, 10 * TOKEN).await;

    // Stored while the wallet is away.
    let packets: Vec<_> = (0..3).map(|number| message(&world, &wallet, format!("hello {number}").as_bytes())).collect();
    for packet in &packets {
        let answer = post(&agent.url(), packet.as_bytes().to_vec()).await;
        assert_eq!(answer.status().as_u16(), 202);
        assert!(answer.headers().get("minus-metered").is_none());
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "stored": "new" }));
    }
    agent.restart().await;
    let again = post(&agent.url(), packets[0].as_bytes().to_vec()).await;
    assert_eq!(again.status().as_u16(), 202);
    assert_eq!(again.json::<Value>().await.unwrap(), json!({ "stored": "duplicate" }));

    // Pushed twice, because nothing was acknowledged in between.
    let mut stream = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    assert_eq!(stream.message().await.0, 1);
    agent.restart().await;
    let mut stream = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    let mut carriages = Vec::new();
    for number in 0..3_u64 {
        let (seq, body, carriage) = stream.message().await;
        assert_eq!((seq, body), (number + 1, format!("hello {number}").into_bytes()));
        assert!(!carriage.relayed_in);
        carriages.push(carriage);
    }
    let statement = stream.statement().await;
    agree(&statement, Amount::ZERO, &carriages, false);
    assert_eq!(statement.through, 3);
    assert!(statement.total > Amount::ZERO);
    assert_eq!(customer_meters(&agent).await["total"], "0", "nothing counts before it is acknowledged");

    // Paid; the settler is ill, so the voucher waits, also across a restart.
    let paid = acknowledge(&world, &wallet, &agent, &statement).await;
    assert_eq!(paid, (200, Reply::Acknowledged { total: statement.total }));
    let meters = customer_meters(&agent).await;
    assert_eq!(meters["total"], statement.total.base_units().to_string());
    assert_eq!(meters["vouchered"], meters["total"]);
    assert_eq!(meters["reserved"], "0");
    assert_eq!(meters["lines"], serde_json::to_value(&statement.lines).unwrap());
    agent.restart().await;
    assert_eq!(customer_meters(&agent).await, meters);
    assert_eq!(settler.vouchers(), []);
    settler.fall_ill(false);
    until("the settler has the voucher", async || !settler.vouchers().is_empty()).await;
    let voucher = settler.vouchers()[0];
    assert_eq!(voucher.cumulative, statement.total);
    assert_eq!(world.claim(agent.address, voucher).await, statement.total);

    // Deleted: a subscription from the beginning finds nothing, and a copy still costs nothing.
    assert_eq!(post_status(&agent.url(), &packets[1]).await, 202);
    let later = message(&world, &wallet, &unique_body());
    assert_eq!(post_status(&agent.url(), &later).await, 202);
    let mut stream = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    assert_eq!(stream.message().await.0, 4);
    let next = stream.statement().await;
    assert!(next.total > statement.total);
    let again = acknowledge(&world, &wallet, &agent, &statement).await;
    assert!(matches!(again, (400, Reply::Refused { reason: Refusal::Superseded, .. })), "{again:?}");
    let fresh = stream.statement().await;
    assert!(fresh.number > next.number);
    assert_eq!(acknowledge(&world, &wallet, &agent, &fresh).await.0, 200);
    assert_eq!(acknowledge(&world, &wallet, &agent, &fresh).await.0, 200, "the answer may have been lost");
    let (status, picture) = command(&world, &wallet, &agent, CommandBody::Statement).await;
    let Reply::Statement(picture) = picture else { panic!("{picture:?}") };
    assert_eq!((status, picture.number, picture.through, picture.total), (200, 0, 4, fresh.total));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_lane_is_402_until_a_deposit() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let probe = message(&world, &world.person().await, b"x");
    let bytes = u64::try_from(probe.len()).unwrap();
    let each = reserve(&TARIFF, bytes, agent.config.retention.as_secs()).base_units();
    let wallet = customer(&world, &agent, 2 * each + 1).await;
    for _ in 0..2 {
        assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"x")).await, 202);
    }
    let before = customer_meters(&agent).await;
    let third = message(&world, &wallet, b"x");
    assert_eq!(post_status(&agent.url(), &third).await, 402);
    assert_eq!(customer_meters(&agent).await, before);
    world.deposit(wallet.address(), agent.address, each).await;
    until("the deposit is seen", async || post_status(&agent.url(), &third).await == 202).await;
    // What is thawing does not count.
    world.deposit(wallet.address(), agent.address, 10 * each).await;
    world.thaw(wallet.address(), agent.address, 12 * each).await;
    until("the thaw is seen", async || post_status(&agent.url(), &message(&world, &wallet, b"x")).await == 402).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_subscription_displaces_the_older_and_shutdown_ends_it() {
    let world = World::new().await;
    let mut agent = world.operator(|config| config.keep_alive = std::time::Duration::from_millis(100)).await;
    let wallet = customer(&world, &agent, TOKEN).await;
    let mut older = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    assert!(matches!(older.next().await, Said::KeepAlive));
    let mut newer = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    while !matches!(older.next().await, Said::End) {}
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"live")).await, 202);
    assert_eq!(newer.message().await.1, b"live");
    agent.stop().await;
    while !matches!(newer.next().await, Said::End) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_stops_a_stream_that_does_not_acknowledge() {
    let world = World::new().await;
    let agent = world.operator(|config| config.window_bytes = 1_000).await;
    let wallet = customer(&world, &agent, 100 * TOKEN).await;
    for _ in 0..8 {
        assert_eq!(post_status(&agent.url(), &message(&world, &wallet, &unique_body())).await, 202);
    }
    let mut stream = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    let (mut received, mut carriages) = (0, Vec::new());
    while received < 8 {
        match stream.next().await {
            Said::Message { seq, carriage, .. } => {
                received += 1;
                assert_eq!(seq, received);
                carriages.push(carriage);
                let open: u64 = carriages.iter().map(|carriage| carriage.bytes).sum();
                assert!(open < 2_000, "pushed beyond the window");
            }
            Said::Statement(statement) => {
                assert_eq!(acknowledge(&world, &wallet, &agent, &statement).await.0, 200);
                carriages.clear();
            }
            Said::KeepAlive => {}
            Said::End => panic!("the stream ended"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_wallets_of_one_payer_are_both_paid_for() {
    use alloy::signers::local::PrivateKeySigner;
    use minus_bindings::{Entrustment, SignedVoucher, sign};

    use crate::customer::{command_at, now_ms};

    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let payer = customer(&world, &agent, 10 * TOKEN).await;
    let second = PrivateKeySigner::random();
    world.set_route(&second, agent.node).await;

    // Without the payer's word nobody spends its prepayment.
    let without = CommandBody::Entrust { payer: payer.address(), base: Amount::ZERO, consent: None };
    let refused = command(&world, &second, &agent, without).await;
    assert!(matches!(refused, (400, Reply::Refused { reason: Refusal::BadConsent, .. })), "{refused:?}");
    let sent_at_ms = now_ms();
    let entrustment = Entrustment {
        wallet: second.address(),
        payer: payer.address(),
        agent: agent.node,
        base: Amount::ZERO.to_u96(),
        sentAtMs: sent_at_ms,
    };
    let consent = Some(sign(&entrustment, &world.deployment.routing_domain(), &payer));
    let body = CommandBody::Entrust { payer: payer.address(), base: Amount::ZERO, consent };
    let (packet, _) = command_at(&world, &second, &agent, body, sent_at_ms);
    assert_eq!(post_status(&agent.url(), &packet).await, 200);

    let mut paid = 0;
    let mut streams = Vec::new();
    for wallet in [&payer, &second] {
        assert_eq!(post_status(&agent.url(), &message(&world, wallet, &unique_body())).await, 202);
        streams.push(subscribe(&world, wallet, &agent, &agent.url(), 0).await);
    }
    for (wallet, stream) in [&payer, &second].into_iter().zip(&mut streams) {
        stream.message().await;
        loop {
            let statement = stream.statement().await;
            let domain = world.deployment.escrow_domain();
            let voucher = SignedVoucher::sign(payer.address(), agent.address, statement.total, &domain, &payer);
            let body = CommandBody::Acknowledge { statement: statement.number, voucher };
            let (status, reply) = command(&world, wallet, &agent, body).await;
            if status == 200 {
                paid += 1;
                break;
            }
            assert!(matches!(reply, Reply::Refused { reason: Refusal::Superseded, .. }), "{reply:?}");
        }
    }
    assert_eq!(paid, 2);
    let meters = customer_meters(&agent).await;
    assert_eq!(meters["vouchered"], meters["total"]);
    assert_eq!(meters["reserved"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_fetched_in_time_expires_unpaid() {
    let world = World::new().await;
    let agent = world.operator(|config| config.retention = std::time::Duration::from_secs(1)).await;
    let wallet = customer(&world, &agent, TOKEN).await;
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"soon gone")).await, 202);
    assert_ne!(customer_meters(&agent).await["reserved"], "0");
    until("it expired", async || customer_meters(&agent).await["reserved"] == "0").await;
    assert_eq!(customer_meters(&agent).await["total"], "0");
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, b"kept")).await, 202);
    let mut stream = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    assert_eq!(stream.message().await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_opens_at_what_was_paid_or_signed_before() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let key = world.person().await;
    world.deposit(key.address(), agent.address, 100).await;
    world.claim(agent.address, voucher(&world, &key, agent.address, units(30))).await;
    world.set_route(&key, agent.node).await;
    let entrust_at = async |base: u128| {
        let body = CommandBody::Entrust { payer: key.address(), base: units(base), consent: None };
        command(&world, &key, &agent, body).await
    };
    let unfunded = entrust_at(100).await;
    assert!(matches!(unfunded, (402, Reply::Refused { reason: Refusal::Unfunded, .. })), "{unfunded:?}");
    assert_eq!(entrust_at(40).await, (200, Reply::Entrusted { base: units(40) }));
    assert_eq!(entrust(&world, &key, &agent).await, (200, Reply::Entrusted { base: units(40) }));
}
