//! Streams as browsers ask for them, and as strangers repeat them: what comes back is sealed, whatever is captured is
//! charged to nobody, and the newest subscription that the wallet signed wins.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use alloy::signers::local::PrivateKeySigner;
use minus_bindings::Amount;
use minus_protocol::{CommandBody, Packet, SessionKey, SseParser};
use serde_json::Value;

use crate::{
    customer::{
        Said, Stream, acknowledge, agree, command_at, customer, get, message, now_ms, post, post_status, subscribe,
        unique_body,
    },
    world::{Operator, TOKEN, World, until},
};

fn subscription(world: &World, wallet: &PrivateKeySigner, agent: &Operator, resume_after: u64) -> (Packet, SessionKey) {
    command_at(world, wallet, agent, CommandBody::Subscribe { resume_after }, now_ms())
}

async fn send(world: &World, wallet: &PrivateKeySigner, node: &Operator) {
    assert_eq!(post_status(&node.url(), &message(world, wallet, &unique_body())).await, 202);
}

/// The data of the first two events, which are the salt and whatever is first, and all bytes so far.
async fn first_two(mut response: reqwest::Response) -> ([String; 2], Vec<u8>) {
    let (mut parser, mut events, mut bytes) = (SseParser::new(), Vec::new(), Vec::new());
    while events.len() < 2 {
        let chunk = response.chunk().await.unwrap().expect("the stream goes on");
        events.extend(parser.push(&chunk).unwrap());
        bytes.extend(chunk);
    }
    assert_eq!(events[0].event.as_deref(), Some("salt"));
    let mut data = events.into_iter().map(|event| event.data);
    ([data.next().unwrap(), data.next().unwrap()], bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_source_resumes_after_what_it_saw_directly_and_through_a_relay() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let relay = world.operator(|_| ()).await;
    for (via, relayed_out) in [(agent.url(), false), (relay.url(), true)] {
        let wallet = customer(&world, &agent, 100 * TOKEN).await;
        for _ in 0..3 {
            send(&world, &wallet, &agent).await;
        }
        let (packet, session) = subscription(&world, &wallet, &agent, 0);
        let mut stream = Stream::of(&world, &wallet, &session, get(&via, &packet, None).await).await;
        let mut carriages = Vec::new();
        for seq in 1..=3 {
            let (given, _, carriage) = stream.message().await;
            assert_eq!(given, seq);
            carriages.push(carriage);
        }
        drop(stream);
        send(&world, &wallet, &agent).await;

        // The connection broke. The browser comes back with the same URL and what it saw, and nothing comes twice.
        let again = get(&via, &packet, Some("3")).await;
        let mut stream = Stream::of(&world, &wallet, &session, again).await;
        let (given, _, carriage) = stream.message().await;
        assert_eq!(given, 4);
        carriages.push(carriage);
        let statement = loop {
            // One that was issued before all was pushed here is superseded.
            let statement = stream.statement().await;
            if statement.through == 4 {
                break statement;
            }
        };
        agree(&statement, Amount::ZERO, &carriages, relayed_out);
        assert_eq!(acknowledge(&world, &wallet, &agent, &statement).await.0, 200);

        // What it claims beyond anything stored hides nothing; what is no number says nothing.
        for claimed in ["18446744073709551615", "12a"] {
            let again = get(&via, &packet, Some(claimed)).await;
            let mut stream = Stream::of(&world, &wallet, &session, again).await;
            send(&world, &wallet, &agent).await;
            let (given, _, _) = stream.message().await;
            assert_eq!(given, 5, "{claimed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_signed_subscription_ends_the_repeats_of_older_ones() {
    let world = World::new().await;
    let mut agent = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, TOKEN).await;
    let status = async |agent: &Operator, packet: &Packet| get(&agent.url(), packet, None).await.status().as_u16();
    let (first, _) = subscription(&world, &wallet, &agent, 0);
    assert_eq!(status(&agent, &first).await, 200);
    assert_eq!(status(&agent, &first).await, 200);
    assert_eq!(post_status(&agent.url(), &first).await, 400, "a repeat is for GET alone");
    agent.restart().await;
    assert_eq!(status(&agent, &first).await, 200, "it is remembered");

    let (second, _) = subscription(&world, &wallet, &agent, 0);
    assert_eq!(status(&agent, &second).await, 200);
    assert_eq!(status(&agent, &first).await, 400);
    assert_eq!(status(&agent, &second).await, 200);

    let (third, _) = subscription(&world, &wallet, &agent, 0);
    assert_eq!(post_status(&agent.url(), &third).await, 200);
    assert_eq!(status(&agent, &second).await, 400);
    for packet in [&third, &third] {
        assert_eq!(status(&agent, packet).await, 400, "what was posted is spent");
        assert_eq!(post_status(&agent.url(), packet).await, 400);
    }
    let (stale, _) = command_at(&world, &wallet, &agent, CommandBody::Subscribe { resume_after: 0 }, now_ms() - 61_000);
    assert_eq!(status(&agent, &stale).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_by_get_is_repeated_for_a_day_whatever_the_clock_does() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, TOKEN).await;
    let (packet, _) = subscription(&world, &wallet, &agent, 0);
    let status = async |packet: &Packet| get(&agent.url(), packet, None).await.status().as_u16();
    assert_eq!(status(&packet).await, 200);
    let store = agent.config.data_dir.join("node.sqlite");
    let store = sqlx::SqlitePool::connect(&format!("sqlite:{}", store.display())).await.unwrap();
    // A minute is left for a slow machine.
    for (moved_s, expected) in [(-86_340_i64, 200), (-120, 400), (2 * 86_460, 400), (-86_460, 200)] {
        let moved = sqlx::query("update event_sources set accepted_at = accepted_at + ? where wallet = ?")
            .bind(moved_s)
            .bind(wallet.address().to_vec())
            .execute(&store)
            .await
            .unwrap();
        assert_eq!(moved.rows_affected(), 1);
        assert_eq!(status(&packet).await, expected, "after {moved_s} s more");
    }
    let (next, _) = subscription(&world, &wallet, &agent, 0);
    assert_eq!(status(&next).await, 200, "the page seals a new one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_third_party_repeats_is_sealed_and_charged_to_nobody() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let relay = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, 100 * TOKEN).await;
    let body = b"canary: for nobody else";
    assert_eq!(post_status(&agent.url(), &message(&world, &wallet, body)).await, 202);

    let (packet, session) = subscription(&world, &wallet, &agent, 0);
    let mut stream = Stream::of(&world, &wallet, &session, get(&agent.url(), &packet, None).await).await;
    let (_, _, carriage) = stream.message().await;
    stream.statement().await;
    let before: Value = agent.meters().await;

    // Whoever captured the URL repeats it, here and there. Each time it is other bytes, and none of them in the clear.
    let mut seen = BTreeSet::new();
    for via in [agent.url(), relay.url(), agent.url(), relay.url()] {
        let response = get(&via, &packet, Some("0")).await;
        assert_eq!(response.status().as_u16(), 200);
        let ([salt, message], bytes) = first_two(response).await;
        assert!(seen.insert(salt), "a salt of its own each time");
        assert!(seen.insert(message), "the same message under another key");
        assert!(!bytes.windows(6).any(|window| window == b"canary"));
    }
    assert_eq!(agent.meters().await["customers"], before["customers"], "no meter and no reserve moved");
    while !matches!(stream.next().await, Said::End) {}

    // The relay counted what it carried for nobody. Asked for a voucher, the agent owes nothing for it.
    until("the relay has asked", async || {
        let earned = relay.meters().await["earned"][0].clone();
        earned["outbound_written_off"].as_u64() >= Some(2 * carriage.bytes)
            && earned["outbound_confirmed"].as_u64() == Some(0)
    })
    .await;
    assert_eq!(agent.meters().await["customers"], before["customers"]);
    assert!(agent.meters().await["owed"].as_array().unwrap().iter().all(|owed| owed["total"] == "0"));

    // The wallet comes back, is billed for one delivery, and pays for that.
    let again = get(&agent.url(), &packet, Some("1")).await;
    let mut stream = Stream::of(&world, &wallet, &session, again).await;
    let statement = stream.statement().await;
    agree(&statement, Amount::ZERO, &[carriage], false);
    assert_eq!(acknowledge(&world, &wallet, &agent, &statement).await.0, 200);
    assert_eq!(agent.meters().await["customers"][0]["total"], statement.total.base_units().to_string());
    assert_eq!(agent.meters().await["customers"][0]["reserved"], "0");

    // After the next signed subscription the captured URL is worth nothing.
    let (posted, _) = subscription(&world, &wallet, &agent, 1);
    assert_eq!(post_status(&agent.url(), &posted).await, 200);
    for via in [agent.url(), relay.url()] {
        assert_eq!(get(&via, &packet, None).await.status().as_u16(), 400);
        assert_eq!(post(&via, posted.as_bytes().to_vec()).await.status().as_u16(), 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_only_subscribes() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let relay = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, TOKEN).await;
    let (statement, _) = command_at(&world, &wallet, &agent, CommandBody::Statement, now_ms());
    let before = agent.meters().await["customers"].clone();
    for via in [agent.url(), relay.url()] {
        assert_eq!(get(&via, &message(&world, &wallet, b"by GET"), None).await.status().as_u16(), 400);
        assert_eq!(get(&via, &statement, None).await.status().as_u16(), 400);
        for query in ["", "?packet=", "?packet=!", "?other=x", "?packet"] {
            let answer = reqwest::get(format!("{via}/{query}")).await.unwrap();
            assert_eq!(answer.status().as_u16(), 400, "{query}");
        }
    }
    assert_eq!(agent.meters().await["customers"], before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_any_origin_may_post_and_subscribe() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let preflight = reqwest::Client::new()
        .request(reqwest::Method::OPTIONS, agent.url())
        .header("origin", "https://page.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status().as_u16(), 204);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    assert_eq!(preflight.headers()["access-control-allow-methods"], "GET, POST");
    assert!(preflight.headers()["access-control-allow-headers"].to_str().unwrap().contains("content-type"));
    assert!(!preflight.headers().contains_key("access-control-allow-credentials"));
    let refused = post(&agent.url(), vec![0; 10]).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["access-control-allow-origin"]),
        (400, &"*".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_stored_while_a_stream_listens_come_once_and_in_order() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, 900 * TOKEN).await;
    let mut stream = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    let (url, mut senders) = (agent.url(), tokio::task::JoinSet::new());
    for _ in 0..8 {
        let packets: Vec<_> = (0..50).map(|_| message(&world, &wallet, &unique_body())).collect();
        let url = url.clone();
        senders.spawn(async move {
            for packet in packets {
                assert_eq!(post_status(&url, &packet).await, 202);
            }
        });
    }
    let (mut last, mut bodies) = (0, BTreeSet::new());
    while bodies.len() < 400 {
        match stream.next().await {
            Said::Message { seq, body, .. } => {
                assert_eq!(seq, last + 1);
                assert!(bodies.insert(body));
                last = seq;
            }
            Said::Statement(statement) => {
                acknowledge(&world, &wallet, &agent, &statement).await;
            }
            Said::KeepAlive => {}
            Said::End => panic!("the stream ended"),
        }
    }
    senders.join_all().await;
    drop(stream);
    until("it has left", async || agent.metric("minus_streams_open").await == 0.0).await;
}

/// What comes while a stream catches up is handed over to it: it is behind once, not for as long as more comes, and nothing is
/// missing or comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_catches_up_while_more_keeps_coming() {
    const BACKLOG: u64 = 10;
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, 100 * TOKEN).await;
    for _ in 0..BACKLOG {
        send(&world, &wallet, &agent).await;
    }
    let acknowledged = AtomicU64::new(BACKLOG);
    let posting = async {
        loop {
            send(&world, &wallet, &agent).await;
            acknowledged.fetch_add(1, Ordering::Release);
        }
    };
    let listening = async {
        let mut stream = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
        let mut expected = 1;
        loop {
            let seq = match stream.next().await {
                Said::Message { seq, .. } => seq,
                Said::End => panic!("the stream goes on"),
                _ => continue, // a statement comes in between, and nobody pays it here
            };
            assert_eq!(seq, expected);
            expected += 1;
            if seq > 2 * BACKLOG && seq >= acknowledged.load(Ordering::Acquire) {
                return;
            }
        }
    };
    tokio::select! {
        () = posting => panic!("it has no end"),
        caught_up = tokio::time::timeout(Duration::from_secs(60), listening) => caught_up.expect("it catches up"),
    }
}
