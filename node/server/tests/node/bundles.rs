//! Several packets in one request: each is judged, answered and counted as if it had come alone, whatever the others are,
//! whatever the agent makes of it, and whoever goes away meanwhile.

use std::collections::BTreeMap;

use alloy::signers::local::PrivateKeySigner;
use bytes::Bytes;
use futures_util::future::join_all;
use minus_protocol::{
    Bundle, CONTENT_BUNDLE, CommandBody, Judgement, PACKET_BYTES_MIN, Packet, Reply, Status,
    bundle::{BUNDLE_BYTES_MAX, join_answers, split_answers},
    headers::encode_token,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    customer::{command, command_at, customer, message, now_ms, post_status, unique_body},
    metrics::Scrape,
    peer::{Bundling, Manners, Peer},
    world::{Operator, TOKEN, World, until},
};

/// Posted at the same moment: more than go into one core's hands at once, fewer than one agent's places.
const WAVE: usize = 48;

/// Posts that were sent at the same moment, and not answered yet.
struct Wave(Vec<(Packet, TcpStream)>);

impl Wave {
    async fn send(relay: &Operator, packets: Vec<Packet>) -> Self {
        let address = relay.url().strip_prefix("http://").unwrap().to_owned();
        let connecting = packets.into_iter().map(async |packet| (packet, TcpStream::connect(&address).await.unwrap()));
        let mut posts = join_all(connecting).await;
        for (packet, stream) in &mut posts {
            let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", packet.len());
            stream.write_all(&[head.as_bytes(), packet.as_bytes()].concat()).await.unwrap();
        }
        Self(posts)
    }

    /// The status of each.
    async fn statuses(self) -> Vec<(Packet, u16)> {
        join_all(self.0.into_iter().map(async |(packet, mut stream)| {
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            (packet, String::from_utf8_lossy(&head[9..]).parse().unwrap())
        }))
        .await
    }
}

async fn wave(relay: &Operator, packets: Vec<Packet>) -> Vec<(Packet, u16)> {
    Wave::send(relay, packets).await.statuses().await
}

fn packets(world: &World, wallet: &PrivateKeySigner, count: usize) -> Vec<Packet> {
    (0..count).map(|_| message(world, wallet, &unique_body())).collect()
}

fn bytes_of<'a>(packets: impl IntoIterator<Item = &'a Packet>) -> u128 {
    packets.into_iter().map(|packet| u128::try_from(packet.len()).unwrap()).sum()
}

async fn inbound(relay: &Operator) -> (Option<u128>, Option<u128>) {
    let earned = relay.meters().await["earned"][0].clone();
    let number = |name: &str| earned[name].as_u64().map(u128::from);
    (number("inbound_bytes"), number("inbound_confirmed"))
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_go_together_are_judged_and_counted_each_by_itself() {
    let world = World::new().await;
    let (agent, relay) = (world.operator(|_| ()).await, world.operator(|_| ()).await);
    let rich = customer(&world, &agent, 100 * TOKEN).await;
    let poor = customer(&world, &agent, 1).await;
    let stranger = world.person().await;
    world.set_route(&stranger, agent.node).await;
    relay.wait_for_head(&world).await;
    agent.wait_for_head(&world).await;
    let again = message(&world, &rich, b"stored before");
    assert_eq!(post_status(&relay.url(), &again).await, 202);
    let (mut carried, mut stored) = (bytes_of([&again]), 1.0);
    let mut answers = BTreeMap::from([(202, 1.0), (402, 0.0), (421, 0.0)]);
    until("several packets shared a request", async || {
        let mut mixed = packets(&world, &rich, WAVE - 6);
        mixed.extend(packets(&world, &poor, 2));
        mixed.extend(packets(&world, &stranger, 2));
        mixed.extend([again.clone(), again.clone()]);
        // In an order in which each kind goes beside the others.
        mixed.sort_unstable_by_key(Packet::id);
        for (packet, status) in wave(&relay, mixed).await {
            let expected = match packet.recipient() {
                wallet if wallet == rich.address() => 202,
                wallet if wallet == poor.address() => 402,
                _ => 421,
            };
            assert_eq!(status, expected, "{packet:?}");
            *answers.entry(status).or_default() += 1.0;
            if status == 202 && packet != again {
                carried += bytes_of([&packet]);
                stored += 1.0;
            }
        }
        let scrape = Scrape::of(&relay).await;
        scrape.value("minus_request_packets_sum") > scrape.value("minus_request_packets_count")
    })
    .await;
    let (at_agent, at_relay) = (Scrape::of(&agent).await, Scrape::of(&relay).await);
    assert_eq!(at_agent.value("minus_packets_stored_total"), stored);
    for (status, expected) in answers {
        let series = format!("minus_answers_total{{status=\"{status}\"}}");
        assert_eq!(at_relay.value(&series), expected, "{status}");
        // Who is misdirected is brought twice.
        assert_eq!(at_agent.value(&series), if status == 421 { 2.0 * expected } else { expected }, "{status}");
    }
    until("both count the same", async || inbound(&relay).await == (Some(carried), Some(carried))).await;
    assert_eq!(at_relay.value("minus_relay_counts_disputed_total"), 0.0);
    let owed = agent.meters().await["owed"][0].clone();
    assert_eq!(owed["lines"][0]["meter"]["relayed"].as_u64().map(u128::from), Some(carried));
}

/// A relay, and a peer that takes bundles in this way, whose session is open.
async fn scene(bundles: Option<Bundling>) -> (World, Operator, Peer, PrivateKeySigner) {
    let world = World::new().await;
    let relay = world.operator(|_| ()).await;
    let peer = Peer::new(&world, Manners { bundles, ..Manners::honest() }).await;
    peer.pays(relay.address);
    let wallet = peer.wallet(&world).await;
    relay.wait_for_head(&world).await;
    assert_eq!(post_status(&relay.url(), &message(&world, &wallet, &unique_body())).await, 202);
    (world, relay, peer, wallet)
}

/// Waves until some packets went together. The statuses of all.
async fn waves(world: &World, relay: &Operator, peer: &Peer, wallet: &PrivateKeySigner) -> Vec<u16> {
    let mut statuses = Vec::new();
    let before = peer.facts().bundles;
    until("a bundle came", async || {
        let answered = wave(relay, packets(world, wallet, WAVE)).await;
        statuses.extend(answered.into_iter().map(|(_, status)| status));
        peer.facts().bundles > before
    })
    .await;
    statuses
}

async fn failures(relay: &Operator, reason: &str) -> f64 {
    relay.metric(&format!("minus_egress_failures_total{{reason=\"{reason}\"}}")).await
}

fn count(statuses: &[u16], status: u16) -> u64 {
    u64::try_from(statuses.iter().filter(|one| **one == status).count()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_say_that_it_takes_bundles_is_brought_none() {
    let (world, relay, peer, wallet) = scene(None).await;
    let answered = wave(&relay, packets(&world, &wallet, WAVE)).await;
    assert!(answered.iter().all(|(_, status)| *status == 202));
    let facts = peer.facts();
    assert_eq!((facts.bundles, facts.alone), (0, u64::try_from(WAVE + 1).unwrap()));
    assert_eq!(relay.metric("minus_request_packets_count").await, f64::from(49_u32));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_is_none_to_each_and_nothing_is_counted() {
    let (world, relay, peer, wallet) = scene(Some(Bundling::Honest)).await;
    for (lie, reason) in [
        (Bundling::Fewer, "garbled"),
        (Bundling::More, "garbled"),
        (Bundling::Garbled, "garbled"),
        (Bundling::OneReceipt, "garbled"),
        (Bundling::Gone, "broke_off"),
        (Bundling::Status("500 Internal Server Error"), "status"),
        (Bundling::Status("302 Found"), "redirect"),
    ] {
        peer.behave(|manners| manners.bundles = Some(lie));
        let (before, failed, counted) =
            (peer.facts(), failures(&relay, reason).await, inbound(&relay).await.0.unwrap());
        let statuses = waves(&world, &relay, &peer, &wallet).await;
        let facts = peer.facts();
        let (together, alone) = (facts.bundled - before.bundled, facts.alone - before.alone);
        assert_eq!((count(&statuses, 502), count(&statuses, 202)), (together, alone), "{lie:?}: {statuses:?}");
        let failed_now = failures(&relay, reason).await - failed;
        assert_eq!(failed_now, f64::from(u32::try_from(together).unwrap()), "{lie:?}");
        let smallest = u128::try_from(PACKET_BYTES_MIN).unwrap();
        let carried = counted + u128::from(alone) * smallest;
        until("what went alone is counted", async || inbound(&relay).await.0 >= Some(carried)).await;
    }
    peer.behave(|manners| manners.bundles = Some(Bundling::Honest));
    let statuses = waves(&world, &relay, &peer, &wallet).await;
    assert_eq!(
        count(&statuses, 202),
        u64::try_from(statuses.len()).unwrap(),
        "who mends its ways is carried for again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_whole_is_each_ones_and_nothing_is_lost_where_it_was_not_understood() {
    let (world, relay, peer, wallet) = scene(Some(Bundling::Honest)).await;
    for (line, status) in
        [("429 Too Many Requests", 429), ("503 Service Unavailable", 503), ("402 Payment Required", 402)]
    {
        peer.behave(|manners| manners.bundles = Some(Bundling::Status(line)));
        let before = peer.facts().bundled;
        let statuses = waves(&world, &relay, &peer, &wallet).await;
        assert_eq!(count(&statuses, status), peer.facts().bundled - before, "{statuses:?}");
    }
    peer.behave(|manners| manners.bundles = Some(Bundling::Alone));
    let before = peer.facts();
    let statuses = waves(&world, &relay, &peer, &wallet).await;
    let posted = u64::try_from(statuses.len()).unwrap();
    assert_eq!((count(&statuses, 202), peer.facts().alone - before.alone), (posted, posted));

    // As an agent would that was set back to what it was before bundles.
    peer.behave(|manners| manners.bundles = Some(Bundling::Status("400 Bad Request")));
    let before = peer.facts();
    let statuses = waves(&world, &relay, &peer, &wallet).await;
    let posted = u64::try_from(statuses.len()).unwrap();
    assert_eq!((count(&statuses, 202), peer.facts().alone - before.alone), (posted, posted));
    let bundles = peer.facts().bundles;
    let answered = wave(&relay, packets(&world, &wallet, WAVE)).await;
    assert!(answered.iter().all(|(_, status)| *status == 202));
    assert_eq!(peer.facts().bundles, bundles, "it is brought none any more");
    let brought = peer.facts().brought;
    until("both count the same", async || inbound(&relay).await == (Some(brought), Some(brought))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_misdirected_is_brought_again_alone_and_the_others_are_not() {
    let (world, relay, peer, wallet) = scene(Some(Bundling::EveryOtherMisdirected)).await;
    let statuses = waves(&world, &relay, &peer, &wallet).await;
    let posted = u64::try_from(statuses.len()).unwrap();
    assert_eq!(count(&statuses, 202), posted, "{statuses:?}");
    let facts = peer.facts();
    assert!(facts.alone > 1 && facts.bundled > 0);
    let smallest = u128::try_from(PACKET_BYTES_MIN).unwrap();
    assert_eq!(facts.brought, u128::from(posted + 1) * smallest, "each is stored once");
    until("both count the same", async || inbound(&relay).await == (Some(facts.brought), Some(facts.brought))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_go_away_take_nobody_with_them_and_what_they_brought_is_counted() {
    let (world, relay, peer, wallet) = scene(Some(Bundling::Late)).await;
    let mut sent = 1;
    until("a bundle waits for its answer", async || {
        let mut posts = Wave::send(&relay, packets(&world, &wallet, WAVE)).await;
        sent += u128::try_from(WAVE).unwrap();
        until("all have come", async || {
            let facts = peer.facts();
            u128::from(facts.bundled + facts.alone) == sent
        })
        .await;
        // Every third goes away before there is an answer, the first among them.
        let mut place = 0;
        posts.0.retain(|_| {
            place += 1;
            place % 3 != 1
        });
        let stay = f64::from(u32::try_from(posts.0.len()).unwrap());
        let used = async |limit: &str| relay.metric(&format!("minus_limit_used{{limit=\"{limit}\"}}")).await;
        until("the relay has noticed", async || used("connections").await <= stay).await;
        until("all are answered", async || {
            peer.release();
            used("requests").await == 0.0
        })
        .await;
        for (packet, status) in posts.statuses().await {
            assert_eq!(status, 202, "{packet:?}");
        }
        peer.facts().bundles > 0
    })
    .await;
    let brought = peer.facts().brought;
    assert_eq!(brought, sent * u128::try_from(PACKET_BYTES_MIN).unwrap());
    until("nothing is owed for less than was brought", async || {
        inbound(&relay).await == (Some(brought), Some(brought))
    })
    .await;
}

/// Brings a body in the name of a relay.
async fn bring(agent: &Operator, token: Option<&[u8; 32]>, body: Vec<u8>) -> (u16, Bytes) {
    let mut request = reqwest::Client::new().post(agent.url()).header("content-type", CONTENT_BUNDLE);
    if let Some(token) = token {
        request = request.header("minus-peer-session", encode_token(token));
    }
    let response = request.body(body).send().await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_judges_each_packet_of_a_bundle_and_takes_bundles_from_relays_only() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let (rich, poor) = (customer(&world, &agent, 10 * TOKEN).await, customer(&world, &agent, 1).await);
    let relay = Peer::new(&world, Manners::honest()).await;
    agent.wait_for_head(&world).await;
    let Reply::PeerSession { token, .. } = command(&world, relay.key(), &agent, CommandBody::OpenPeerSession).await.1
    else {
        panic!("a session is opened");
    };
    let bundle = |packets: &[&Packet]| {
        let mut bundle = Bundle::default();
        assert!(packets.iter().all(|packet| bundle.push(packet)));
        bundle.as_bytes().to_vec()
    };
    let (one, other) = (message(&world, &rich, b"one"), message(&world, &rich, b"other"));
    let both = bundle(&[&one, &other]);
    for (token, body, status) in [
        (None, both.clone(), 400),
        (Some(&[7; 32]), both.clone(), 421),
        (Some(&token), bundle(&[&one]), 400),
        (Some(&token), Vec::new(), 400),
        (Some(&token), both[..both.len() - 1].to_vec(), 400),
        (Some(&token), one.as_bytes().to_vec(), 400),
        (Some(&token), vec![0; BUNDLE_BYTES_MAX + 1], 413),
    ] {
        assert_eq!(bring(&agent, token, body).await.0, status);
    }
    assert_eq!(Scrape::of(&agent).await.value("minus_packets_stored_total"), 0.0);

    let stranger = message(&world, &PrivateKeySigner::random(), b"nobody's here");
    let unpaid = message(&world, &poor, b"not paid");
    let order = command_at(&world, relay.key(), &agent, CommandBody::Statement, now_ms()).0;
    let mut mixed = bundle(&[&one, &stranger, &order, &unpaid]);
    mixed.extend_from_slice(b"\0\0\0\x05hello\0\0\0\0");
    mixed.extend(bundle(&[&one, &other]));
    let (status, body) = bring(&agent, Some(&token), mixed).await;
    assert_eq!(status, 200);
    let judgements = split_answers(body, 8).unwrap();
    let seen: Vec<_> = judgements
        .iter()
        .map(|judgement| match judgement {
            Judgement::Alone => (0, 0),
            Judgement::Answered { status, metered, .. } => (status.code(), *metered),
        })
        .collect();
    let length = |packet: &Packet| u64::try_from(packet.len()).unwrap();
    // Of the two that are the same, one is new: which, the writer decides.
    let mut same = [seen[0], seen[6]];
    same.sort_unstable();
    assert_eq!(same, [(202, 0), (202, length(&one))]);
    assert_eq!(seen[1..6], [(421, 0), (400, 0), (0, 0), (400, 0), (400, 0)]);
    assert_eq!(seen[7], (202, length(&other)));
    let receipt = |body: &'static [u8]| Judgement::Answered {
        status: Status::Stored,
        metered: length(&other),
        body: Bytes::from_static(body),
    };
    assert_eq!(judgements[7], receipt(br#"{"stored":"new"}"#));

    let (status, body) = bring(&agent, Some(&token), both).await;
    assert_eq!(
        (status, &body),
        (
            200,
            &Bytes::from(join_answers(&[0, 1].map(|_| Judgement::Answered {
                status: Status::Stored,
                metered: 0,
                body: Bytes::from_static(br#"{"stored":"duplicate"}"#),
            })))
        )
    );
    let scrape = Scrape::of(&agent).await;
    assert_eq!(scrape.value("minus_packets_stored_total"), 2.0);
    assert_eq!(scrape.value("minus_answers_total{status=\"202\"}"), 5.0);
    assert_eq!(scrape.value("minus_refused_total{reason=\"bundled_command\"}"), 1.0);
    assert_eq!(scrape.value("minus_refused_total{reason=\"not_a_bundle\"}"), 5.0);
    let owed = agent.meters().await["owed"][0].clone();
    assert_eq!(owed["lines"][0]["meter"]["relayed"].as_u64(), Some(length(&one) + length(&other)));
}
