//! Agents that do not pay what they were carried, and a relay that claims what it did not carry. Each is found by the
//! other's own count, and what it gains is at most the limit that was set for it, to the byte (law 12).

use alloy::signers::local::PrivateKeySigner;
use minus_protocol::{
    Command, CommandBody, Outgoing, PACKET_BYTES_MIN, Packet, Refusal, RelayCounter, RelayStatement, Reply,
    SealingSecret, SessionKey, headers::encode_token, random_bytes, seal,
};

use crate::{
    customer::{command, command_at, customer, message, now_ms, post, post_status, unique_body},
    peer::{Manners, Peer, Vouching},
    world::{Operator, TOKEN, World, units, until},
};

/// What a relay of these tests gives on credit: half a base unit a byte, so 2,000 bytes.
const CREDIT: u128 = 1_000;
const CREDIT_BYTES: u128 = 2 * CREDIT;
/// What it carries in vain.
const WRITE_OFF_BYTES: u128 = 1_000;

fn smallest() -> u128 {
    u128::try_from(PACKET_BYTES_MIN).unwrap()
}

async fn relay(world: &World) -> Operator {
    world
        .operator(|config| {
            config.relay_credit = units(CREDIT);
            config.relay_write_off_bytes = u64::try_from(WRITE_OFF_BYTES).unwrap();
        })
        .await
}

/// A number of the metrics; 0 if it is not there.
async fn metric_of(operator: &Operator, name: &str, peer: &Peer) -> f64 {
    operator.metric(&format!("{name}{{peer=\"{}\"}}", peer.node())).await
}

/// Sends packets until the relay carries no more, even after the peer was asked again for a voucher.
async fn exhaust(world: &World, relay: &Operator, peer: &Peer, wallet: &PrivateKeySigner) {
    until("the relay stops for good", async || {
        while post_status(&relay.url(), &message(world, wallet, &unique_body())).await == 202 {}
        let (asked, brought) = (peer.facts().asked, peer.facts().brought);
        until("it is asked again", async || peer.facts().asked >= asked + 2).await;
        let refused = post_status(&relay.url(), &message(world, wallet, &unique_body())).await == 429;
        refused && peer.facts().brought == brought
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_does_not_pay_gains_its_credit_and_not_a_byte_more() {
    let world = World::new().await;
    let relay = relay(&world).await;
    let never = Manners { vouching: Vouching::Never, ..Manners::honest() };
    let lies: Vec<(&str, Manners)> = vec![
        ("never vouches", never.clone()),
        ("says nothing of what it counted", Manners { metered: |_| None, ..never.clone() }),
        ("says less", Manners { metered: |bytes| Some(bytes / 2), ..never.clone() }),
        ("garbles its receipt", Manners { receipt: "\"", metered: |_| None, ..never.clone() }),
        ("admits nothing", Manners { admits: |_| 0, ..Manners::honest() }),
        ("wrong total", Manners { vouching: Vouching::WrongTotal, ..Manners::honest() }),
        ("wrong payee", Manners { vouching: Vouching::WrongPayee, ..Manners::honest() }),
        ("wrong signer", Manners { vouching: Vouching::WrongSigner, ..Manners::honest() }),
        ("more than it has", Manners { vouching: Vouching::Uncovered, ..Manners::honest() }),
        ("a version that never was", Manners { vouching: Vouching::FalsePrices(0), ..Manners::honest() }),
        ("less than its price", Manners { vouching: Vouching::FalsePrices(1), ..Manners::honest() }),
        ("a version to come", Manners { vouching: Vouching::FalsePrices(2), ..Manners::honest() }),
    ];
    for (what, manners) in lies {
        let disputes = (manners.admits)(9) != 9 || (manners.metered)(9) != Some(9);
        let peer = Peer::new(&world, manners).await;
        peer.pays(relay.address);
        let wallet = peer.wallet(&world).await;
        relay.wait_for_head(&world).await;
        let (stops, refused) =
            (relay.metric("minus_relay_stops_total").await, relay.metric("minus_relay_vouchers_refused_total").await);
        exhaust(&world, &relay, &peer, &wallet).await;
        let expected = CREDIT_BYTES / smallest() * smallest();
        assert_eq!(peer.facts().brought, expected, "{what}");
        // Found: by name, with the sum, and counted.
        let exposure = metric_of(&relay, "minus_relay_exposure_base_units", &peer).await;
        assert_eq!(exposure, f64::from(u32::try_from(expected / 2).unwrap()), "{what}");
        assert!(relay.metric("minus_relay_stops_total").await > stops, "{what}");
        if disputes {
            assert!(metric_of(&relay, "minus_relay_disputes", &peer).await >= 1.0, "{what}");
        } else {
            assert!(relay.metric("minus_relay_vouchers_refused_total").await > refused, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_packets_at_once_do_not_stretch_the_credit_and_payment_makes_room() {
    let world = World::new().await;
    let relay = relay(&world).await;
    let peer = Peer::new(&world, Manners { vouching: Vouching::Never, ..Manners::honest() }).await;
    peer.pays(relay.address);
    let wallet = peer.wallet(&world).await;
    relay.wait_for_head(&world).await;
    let url = relay.url();
    let packets: Vec<_> = (0..60).map(|_| message(&world, &wallet, &unique_body())).collect();
    let statuses = futures_util::future::join_all(packets.iter().map(|packet| post_status(&url, packet))).await;
    let stored = u128::try_from(statuses.iter().filter(|status| **status == 202).count()).unwrap();
    assert!(statuses.iter().all(|status| [202, 429].contains(status)), "{statuses:?}");
    assert_eq!(stored * smallest(), peer.facts().brought);
    assert!(peer.facts().brought <= CREDIT_BYTES);
    exhaust(&world, &relay, &peer, &wallet).await;
    assert_eq!(peer.facts().brought, CREDIT_BYTES / smallest() * smallest());

    // An agent that admits half pays half; the other half stays owed until the credit is used up by it alone.
    peer.behave(|manners| (manners.vouching, manners.admits) = (Vouching::Honest, |bytes| bytes / 2));
    exhaust(&world, &relay, &peer, &wallet).await;
    let brought = peer.facts().brought;
    assert!(brought - brought / 2 <= CREDIT_BYTES && brought > CREDIT_BYTES, "{brought}");
    assert!(metric_of(&relay, "minus_relay_disputes", &peer).await >= 1.0);

    peer.behave(|manners| manners.admits = |bytes| bytes);
    until("the relay is paid and goes on", async || {
        post_status(&relay.url(), &message(&world, &wallet, &unique_body())).await == 202
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crying_duplicate_has_an_end_and_a_sender_that_repeats_itself_hurts_nobody() {
    let world = World::new().await;
    let relay = relay(&world).await;
    let peer =
        Peer::new(&world, Manners { receipt: "duplicate", metered: |_| Some(0), admits: |_| 0, ..Manners::honest() })
            .await;
    peer.pays(relay.address);
    let wallet = peer.wallet(&world).await;
    relay.wait_for_head(&world).await;
    let first = message(&world, &wallet, b"once");
    for _ in 0..20 {
        assert_eq!(post_status(&relay.url(), &first).await, 202, "a repeated packet is explained");
    }
    let mut carried = smallest();
    while post_status(&relay.url(), &message(&world, &wallet, &unique_body())).await == 202 {
        carried += smallest();
        assert!(carried <= WRITE_OFF_BYTES + CREDIT_BYTES);
    }
    assert_eq!(carried, (WRITE_OFF_BYTES + CREDIT_BYTES) / smallest() * smallest());
    let in_vain = metric_of(&relay, "minus_relay_duplicates_in_vain_bytes", &peer).await;
    assert_eq!(in_vain, f64::from(u32::try_from(carried).unwrap()));
}

/// Subscribes through the relay at a peer and reads what comes, to the end. Gives the packet bytes of it.
async fn listen(world: &World, relay: &Operator, peer: &Peer) -> u64 {
    let command = Command { session: SessionKey::random(), body: CommandBody::Subscribe { resume_after: 0 } };
    let outgoing = Outgoing { id: random_bytes(), sent_at_ms: now_ms(), body: &command.encode() };
    let key = SealingSecret::derive(&peer.key().to_bytes().0).public();
    let sender = PrivateKeySigner::random();
    let packet = seal(&outgoing, peer.node(), &key, &sender, &world.deployment.routing_domain()).unwrap();
    let mut response = post(&relay.url(), packet.as_bytes().to_vec()).await;
    let (mut counter, mut bytes) = (RelayCounter::new(), 0);
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes += counter.push(&chunk);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn breaking_streams_before_they_are_acknowledged_has_an_end() {
    let world = World::new().await;
    let relay = relay(&world).await;
    let peer = Peer::new(&world, Manners { pushes: vec![PACKET_BYTES_MIN], ..Manners::honest() }).await;
    peer.pays(relay.address);
    relay.wait_for_head(&world).await;
    let most = (WRITE_OFF_BYTES + CREDIT_BYTES) / smallest() * smallest();
    let mut carried = 0;
    until("the relay gives up", async || {
        carried += u128::from(listen(&world, &relay, &peer).await);
        carried >= most
    })
    .await;
    for _ in 0..5 {
        carried += u128::from(listen(&world, &relay, &peer).await);
    }
    assert_eq!(carried, most);
    assert!(relay.metric("minus_relay_streams_cut_total").await >= 1.0);
    let written_off = metric_of(&relay, "minus_relay_written_off_bytes", &peer).await;
    assert!(written_off >= f64::from(u32::try_from(most - CREDIT_BYTES).unwrap()), "{written_off}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_is_asked_for_after_so_many_bytes_without_waiting() {
    let world = World::new().await;
    let relay = world
        .operator(|config| {
            config.voucher_interval = std::time::Duration::from_secs(3_600);
            config.voucher_bytes = u64::try_from(3 * smallest()).unwrap();
        })
        .await;
    let peer = Peer::new(&world, Manners::honest()).await;
    peer.pays(relay.address);
    let wallet = peer.wallet(&world).await;
    relay.wait_for_head(&world).await;
    for _ in 0..2 {
        assert_eq!(post_status(&relay.url(), &message(&world, &wallet, &unique_body())).await, 202);
    }
    assert_eq!(peer.facts().asked, 0, "not yet");
    assert_eq!(post_status(&relay.url(), &message(&world, &wallet, &unique_body())).await, 202);
    until("the voucher is there", async || relay.metric("minus_relay_vouchers_collected_total").await == 1.0).await;
    assert_eq!(peer.facts().claimed, (3 * smallest(), 0));
    assert_eq!(metric_of(&relay, "minus_relay_exposure_base_units", &peer).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_carried_is_written_down_before_a_relay_ends() {
    let world = World::new().await;
    let mut relay = relay(&world).await;
    // Of this agent nothing is heard that could bring what the relay forgot.
    let peer = Peer::new(&world, Manners { vouching: Vouching::Never, ..Manners::honest() }).await;
    let wallet = peer.wallet(&world).await;
    relay.wait_for_head(&world).await;
    for packets in 1..=3 {
        assert_eq!(post_status(&relay.url(), &message(&world, &wallet, &unique_body())).await, 202);
        relay.restart().await;
        let earned = relay.meters().await["earned"][0].clone();
        assert_eq!(earned["inbound_bytes"].as_u64().map(u128::from), Some(packets * smallest()));
    }
    assert_eq!(metric_of(&relay, "minus_relay_exposure_base_units", &peer).await, f64::from(3_u32 * 179));
}

/// Posts a packet in the name of a relay.
async fn bring(agent: &Operator, token: &[u8; 32], packet: &Packet) -> u16 {
    let request = reqwest::Client::new().post(agent.url()).header("minus-peer-session", encode_token(token));
    request.body(packet.as_bytes().to_vec()).send().await.unwrap().status().as_u16()
}

async fn open_session(world: &World, relay: &Peer, agent: &Operator) -> [u8; 32] {
    match command(world, relay.key(), agent, CommandBody::OpenPeerSession).await.1 {
        Reply::PeerSession { token, .. } => token,
        other => panic!("{other:?}"),
    }
}

async fn claim(world: &World, relay: &Peer, agent: &Operator, inbound: u128, outbound: u128) -> RelayStatement {
    let body = CommandBody::RequestVoucher { inbound_bytes: inbound, outbound_bytes: outbound };
    match command(world, relay.key(), agent, body).await.1 {
        Reply::RelayVoucher(statement) => statement,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_claims_more_than_it_carried_is_paid_what_it_carried() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, 10 * TOKEN).await;
    let relay = Peer::new(&world, Manners::honest()).await;
    agent.wait_for_head(&world).await;
    let token = open_session(&world, &relay, &agent).await;
    let packet = message(&world, &wallet, b"brought by a relay");
    let bytes = u128::try_from(packet.len()).unwrap();
    for _ in 0..3 {
        assert_eq!(bring(&agent, &token, &packet).await, 202, "a duplicate pays nothing");
    }
    // What it did not bring is not its own, though it says so.
    let other = message(&world, &wallet, b"brought by nobody");
    assert_eq!(post_status(&agent.url(), &other).await, 202);
    assert_eq!(bring(&agent, &token, &other).await, 202);
    let honest = claim(&world, &relay, &agent, bytes, 0).await;
    assert_eq!(agent.metric("minus_relay_counts_disputed_total").await, 0.0);
    for (inbound, outbound, disputed) in [(bytes + 1, 0, 1.0), (u128::MAX, 0, 2.0), (bytes, 1, 3.0), (0, 5_000, 4.0)] {
        let said = claim(&world, &relay, &agent, inbound, outbound).await;
        assert_eq!(agent.metric("minus_relay_counts_disputed_total").await, disputed);
        assert_eq!((said.inbound_bytes, said.outbound_bytes), (bytes, 0));
        assert_eq!((said.total, honest.total), (units(bytes / 2), units(bytes / 2)));
        let voucher = said.voucher.unwrap();
        assert_eq!((voucher.cumulative, voucher.payee), (said.total, relay.operator()));
    }
    let owed = agent.meters().await["owed"][0].clone();
    assert_eq!(owed["vouchered"].as_str().unwrap().parse::<u128>().unwrap(), bytes / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_keeps_a_few_sessions_and_old_tokens_end_at_once() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, 10 * TOKEN).await;
    let relay = Peer::new(&world, Manners::honest()).await;
    agent.wait_for_head(&world).await;
    let mut tokens = Vec::new();
    for _ in 0..8 {
        let token = open_session(&world, &relay, &agent).await;
        // In use, and so in the cache.
        assert_eq!(bring(&agent, &token, &message(&world, &wallet, &unique_body())).await, 202);
        tokens.push(token);
    }
    assert_eq!(agent.metric("minus_peer_sessions").await, 4.0);
    let mut open = 0;
    for token in &tokens {
        open += usize::from(bring(&agent, token, &message(&world, &wallet, &unique_body())).await == 202);
    }
    assert_eq!(open, 4, "what the store ended is not remembered elsewhere");
    assert_eq!(bring(&agent, tokens.last().unwrap(), &message(&world, &wallet, &unique_body())).await, 202);

    let (packet, session) = command_at_key(&world, &relay, &agent);
    assert_eq!(post_status(&agent.url(), &packet).await, 200);
    let again = post(&agent.url(), packet.as_bytes().to_vec()).await.bytes().await.unwrap();
    let reply = minus_protocol::open_reply(&session, &again).unwrap();
    assert!(matches!(reply, Reply::Refused { reason: Refusal::Replayed, .. }), "{reply:?}");
    assert_eq!(agent.metric("minus_peer_sessions").await, 4.0);
}

fn command_at_key(world: &World, relay: &Peer, agent: &Operator) -> (Packet, SessionKey) {
    command_at(world, relay.key(), agent, CommandBody::OpenPeerSession, now_ms())
}
