//! Everything a stranger or a dishonest customer may send. Each is answered as the status table says, and no meter
//! moves.

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use minus_bindings::{Amount, SignedVoucher, escrow_domain};
use minus_protocol::{CommandBody, PACKET_BYTES_MAX, Refusal, Reply, Statement, random_bytes};
use serde_json::Value;

use crate::{
    customer::{
        Said, command, command_at, customer, message, now_ms, post, post_status, subscribe, unique_body, voucher,
    },
    world::{Operator, TOKEN, World, units, until},
};

/// One agent with one customer that has a message waiting.
struct Scene {
    world: World,
    agent: Operator,
    wallet: PrivateKeySigner,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new().await;
        let agent = world.operator(|_| ()).await;
        let wallet = customer(&world, &agent, TOKEN).await;
        Self { world, agent, wallet }
    }

    async fn meters(&self) -> Value {
        self.agent.meters().await
    }

    /// Sends bytes, expects the status, and that nothing moved.
    async fn refuses(&self, what: &str, bytes: Vec<u8>, status: u16) {
        let before = self.meters().await;
        assert_eq!(post(&self.agent.url(), bytes).await.status().as_u16(), status, "{what}");
        assert_eq!(self.meters().await, before, "{what}");
    }

    /// Offers a voucher for a statement, expects the refusal, and that nothing moved.
    async fn refuses_voucher(&self, what: &str, statement: &Statement, voucher: SignedVoucher, refusal: Refusal) {
        let before = self.meters().await;
        let body = CommandBody::Acknowledge { statement: statement.number, voucher };
        let (status, reply) = command(&self.world, &self.wallet, &self.agent, body).await;
        assert!(matches!(&reply, Reply::Refused { reason, .. } if *reason == refusal), "{what}: {reply:?}");
        assert_eq!(status, minus_protocol::Status::of_refusal(refusal).code(), "{what}");
        assert_eq!(self.meters().await, before, "{what}");
    }

    async fn deliver(&self) -> Statement {
        let packet = message(&self.world, &self.wallet, &unique_body());
        assert_eq!(post_status(&self.agent.url(), &packet).await, 202);
        let mut stream = subscribe(&self.world, &self.wallet, &self.agent, &self.agent.url(), 0).await;
        stream.message().await;
        loop {
            match stream.next().await {
                Said::Statement(statement) => return statement,
                Said::End => panic!("the stream ended"),
                Said::Message { .. } | Said::KeepAlive => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_packet() {
    let scene = Scene::new().await;
    let good = message(&scene.world, &scene.wallet, b"good").as_bytes().to_vec();
    scene.refuses("nothing", Vec::new(), 400).await;
    scene.refuses("random bytes", random_bytes::<600>().map(|byte| byte | 2).to_vec(), 400).await;
    scene.refuses("truncated", good[..good.len() - 1].to_vec(), 400).await;
    scene.refuses("cut to its header", good[..21].to_vec(), 400).await;
    let mut wrong_version = good.clone();
    wrong_version[0] = 2;
    scene.refuses("wrong version", wrong_version, 400).await;
    scene.refuses("oversized", vec![1; PACKET_BYTES_MAX + 1], 413).await;
    let mut unknown = good.clone();
    unknown[1..21].copy_from_slice(PrivateKeySigner::random().address().as_slice());
    scene.refuses("unknown recipient", unknown, 404).await;
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![1_u8; 1 << 16]));
    let cut_off = reqwest::Client::new().post(scene.agent.url()).body(reqwest::Body::wrap_stream(endless)).send().await;
    assert!(cut_off.map_or(true, |answer| answer.status().as_u16() == 413), "an endless body is cut off");
    let get = reqwest::get(scene.agent.url()).await.unwrap();
    assert_eq!(get.status().as_u16(), 400);
    let forged = reqwest::Client::new().post(scene.agent.url()).header("minus-peer-session", "A".repeat(43) + "=");
    assert_eq!(forged.body(good).send().await.unwrap().status().as_u16(), 421);
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_and_commands_sent_again() {
    let scene = Scene::new().await;
    let packet = message(&scene.world, &scene.wallet, b"once");
    assert_eq!(post_status(&scene.agent.url(), &packet).await, 202);
    scene.refuses("a replayed packet is a duplicate", packet.as_bytes().to_vec(), 202).await;

    let at = |body, sent_at_ms| command_at(&scene.world, &scene.wallet, &scene.agent, body, sent_at_ms).0;
    let bytes = |body, sent_at_ms| at(body, sent_at_ms).as_bytes().to_vec();
    let entrust = || CommandBody::Entrust { payer: scene.wallet.address(), base: Amount::ZERO, consent: None };
    for body in [entrust(), CommandBody::Statement, CommandBody::Subscribe { resume_after: 0 }] {
        let again = at(body, now_ms());
        assert_eq!(post_status(&scene.agent.url(), &again).await, 200);
        scene.refuses("a replayed command", again.as_bytes().to_vec(), 400).await;
    }
    scene.refuses("a stale command", bytes(CommandBody::Statement, now_ms() - 61_000), 400).await;
    scene.refuses("a command from the future", bytes(CommandBody::Statement, now_ms() + 61_000), 400).await;

    let statement = scene.deliver().await;
    let voucher = voucher(&scene.world, &scene.wallet, scene.agent.address, statement.total);
    let paid = at(CommandBody::Acknowledge { statement: statement.number, voucher }, now_ms());
    assert_eq!(post_status(&scene.agent.url(), &paid).await, 200);
    scene.refuses("a replayed acknowledgement", paid.as_bytes().to_vec(), 400).await;

    let mut damaged = at(CommandBody::Statement, now_ms()).as_bytes().to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    scene.refuses("a damaged command", damaged, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_strangers() {
    let scene = Scene::new().await;
    let stranger = scene.world.person().await;
    let voucher = voucher(&scene.world, &stranger, scene.agent.address, units(1));
    let before = scene.meters().await;
    for (body, refusal) in [
        (CommandBody::Statement, Refusal::NotEntrusted),
        (CommandBody::Subscribe { resume_after: 0 }, Refusal::NotEntrusted),
        (CommandBody::Acknowledge { statement: 1, voucher }, Refusal::NotEntrusted),
        (CommandBody::Entrust { payer: stranger.address(), base: Amount::ZERO, consent: None }, Refusal::NotEntrusted),
        (
            CommandBody::Entrust { payer: scene.wallet.address(), base: Amount::ZERO, consent: Some([7; 65]) },
            Refusal::BadConsent,
        ),
        (CommandBody::OpenPeerSession, Refusal::NotANode),
        (CommandBody::RequestVoucher { inbound_bytes: 1, outbound_bytes: 1 }, Refusal::NotANode),
    ] {
        let (status, reply) = command(&scene.world, &stranger, &scene.agent, body.clone()).await;
        assert!(matches!(&reply, Reply::Refused { reason, .. } if *reason == refusal), "{body:?}: {reply:?}");
        assert_eq!(status, minus_protocol::Status::of_refusal(refusal).code());
    }
    // A route here without a prepayment, and a packet for it.
    scene.world.set_route(&stranger, scene.agent.node).await;
    scene.agent.wait_for_head(&scene.world).await;
    let (status, _) = crate::customer::entrust(&scene.world, &stranger, &scene.agent).await;
    assert_eq!(status, 402);
    assert_eq!(post_status(&scene.agent.url(), &message(&scene.world, &stranger, b"x")).await, 421);
    assert_eq!(scene.meters().await, before);
    // Naming a payer with nothing on its lane, which costs nothing, leaves nothing behind.
    let store = scene.agent.config.data_dir.join("node.sqlite");
    let store = sqlx::SqlitePool::connect(&format!("sqlite:{}?mode=ro", store.display())).await.unwrap();
    let kept: i64 = sqlx::query_scalar("select count(*) from chain_lanes where payer = ?")
        .bind(stranger.address().to_vec())
        .fetch_one(&store)
        .await
        .unwrap();
    assert_eq!(kept, 0);
    scene.world.deposit(stranger.address(), scene.agent.address, TOKEN).await;
    until("the deposit is seen", async || {
        crate::customer::entrust(&scene.world, &stranger, &scene.agent).await.0 == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vouchers_that_are_not_worth_it() {
    let scene = Scene::new().await;
    let (world, wallet, payee) = (&scene.world, &scene.wallet, scene.agent.address);
    let first = scene.deliver().await;
    let paid = voucher(world, wallet, payee, first.total);
    let body = CommandBody::Acknowledge { statement: first.number, voucher: paid };
    assert_eq!(command(world, wallet, &scene.agent, body).await.0, 200);

    let statement = scene.deliver().await;
    let total = statement.total;
    let signed = |total| voucher(world, wallet, payee, total);
    let below = units(first.total.base_units() - 1);
    scene.refuses_voucher("below the last", &statement, signed(below), Refusal::VoucherBelowLast).await;
    let above = units(TOKEN + 1);
    scene.refuses_voucher("above the lane", &statement, signed(above), Refusal::VoucherAboveLane).await;
    let near = units(total.base_units() - 1);
    scene.refuses_voucher("not the total", &statement, signed(near), Refusal::VoucherNotTheTotal).await;

    let elsewhere = |domain| SignedVoucher::sign(wallet.address(), payee, total, &domain, wallet);
    let deployment = world.deployment;
    let other_chain = elsewhere(escrow_domain(1, deployment.escrow));
    scene.refuses_voucher("of another chain", &statement, other_chain, Refusal::BadVoucher).await;
    let other_escrow = elsewhere(escrow_domain(deployment.chain_id, deployment.token));
    scene.refuses_voucher("of another escrow", &statement, other_escrow, Refusal::BadVoucher).await;
    let other_payee = voucher(world, wallet, Address::repeat_byte(9), total);
    scene.refuses_voucher("for another payee", &statement, other_payee, Refusal::BadVoucher).await;
    let mut garbled = signed(total);
    garbled.signature = [0xff; 65];
    scene.refuses_voucher("with a garbled signature", &statement, garbled, Refusal::BadVoucher).await;

    // A delegate signs well until it is revoked; the chain would still honour it for the notice period.
    let delegate = PrivateKeySigner::random();
    let by_delegate =
        |total| SignedVoucher::sign(wallet.address(), payee, total, &deployment.escrow_domain(), &delegate);
    scene.refuses_voucher("by nobody's delegate", &statement, by_delegate(total), Refusal::BadVoucher).await;
    world.authorize(wallet.address(), delegate.address()).await;
    tokio::time::sleep(std::time::Duration::from_millis(600)).await; // the on-demand refresh has its bound
    let body = CommandBody::Acknowledge { statement: statement.number, voucher: by_delegate(total) };
    let (status, reply) = command(world, wallet, &scene.agent, body).await;
    assert_eq!(status, 200, "{reply:?}");
    let statement = scene.deliver().await;
    world.revoke(wallet.address(), delegate.address()).await;
    scene.agent.wait_for_head(world).await;
    let total = statement.total;
    scene.refuses_voucher("by a revoked delegate", &statement, by_delegate(total), Refusal::BadVoucher).await;

    // During a thaw of nearly everything, the rest does not cover it.
    world.thaw(wallet.address(), payee, TOKEN - 1).await;
    scene.agent.wait_for_head(world).await;
    scene.refuses_voucher("during a thaw", &statement, signed(total), Refusal::VoucherAboveLane).await;
    // Taken back, the same voucher is good.
    world.thaw(wallet.address(), payee, 0).await;
    scene.agent.wait_for_head(world).await;
    let body = CommandBody::Acknowledge { statement: statement.number, voucher: signed(total) };
    assert_eq!(command(world, wallet, &scene.agent, body).await.0, 200);
}
