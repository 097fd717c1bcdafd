//! What may stand at the end of an endpoint: addresses inside, redirects, bodies without end, floods of headers, silence.
//! Each ends in 502, is counted by its reason, and takes no place for longer than its bound.

use std::time::{Duration, Instant};

use alloy::signers::local::PrivateKeySigner;
use tokio::net::TcpListener;

use crate::{
    customer::{customer, message, post, post_status, unique_body},
    peer::{Manners, Peer},
    world::{Operator, TOKEN, World, until},
};

async fn failures(relay: &Operator, reason: &str) -> f64 {
    relay.metric(&format!("minus_egress_failures_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_lead_inside_are_not_connected_to() {
    let world = World::new().await;
    let relay = world.operator(|config| config.allow_private_endpoints = false).await;
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = inside.local_addr().unwrap().port();
    let operator = world.person().await.address();
    let mut refused = 0.0;
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
    ] {
        let (node, wallet) = (PrivateKeySigner::random(), PrivateKeySigner::random());
        world.register_key(operator, &node, &format!("http://{host}:{port}/")).await;
        world.set_route(&wallet, node.address()).await;
        relay.wait_for_head(&world).await;
        assert_eq!(post_status(&relay.url(), &message(&world, &wallet, b"x")).await, 502, "{host}");
        refused += 1.0;
        assert_eq!(failures(&relay, "private").await, refused, "{host}");
    }
    let came = tokio::time::timeout(Duration::from_millis(100), inside.accept()).await;
    assert!(came.is_err(), "nobody came");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_end_in_502() {
    let world = World::new().await;
    let relay = world.operator(|_| ()).await;
    let peer = Peer::new(&world, Manners::honest()).await;
    let wallet = peer.wallet(&world).await;
    relay.wait_for_head(&world).await;
    assert_eq!(post_status(&relay.url(), &message(&world, &wallet, &unique_body())).await, 202);
    let head = |status: &str, rest: &str| format!("HTTP/1.1 {status}\r\n{rest}\r\n").into_bytes();
    let elsewhere = format!("location: {}/again\r\ncontent-length: 0\r\n", peer.url);
    let long = |bytes: usize| [head("200 OK", ""), vec![b'x'; bytes]].concat();
    let flood: String = (0..200).map(|number| format!("header-{number}: x\r\n")).collect();
    let answers = [
        ("redirect", head("301 Moved Permanently", &elsewhere), false),
        ("redirect", head("302 Found", &elsewhere), false),
        ("redirect", head("307 Temporary Redirect", &elsewhere), false),
        ("redirect", head("308 Permanent Redirect", &elsewhere), false),
        ("status", head("201 Created", "content-length: 0\r\n"), false),
        ("status", head("500 Internal Server Error", "content-length: 0\r\n"), false),
        ("body_too_long", long(1 << 20), true),
        ("body_too_long", head("202 Accepted", "content-length: 99999999999\r\n"), true),
        ("broke_off", [head("202 Accepted", "content-length: 99\r\n"), b"short".to_vec()].concat(), false),
        ("broke_off", Vec::new(), false),
        ("garbled", b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), true),
        ("head_too_long", head("200 OK", &format!("x: {}\r\n", "y".repeat(1 << 17))), true),
        ("head_too_long", head("200 OK", &flood), true),
    ];
    for (reason, bytes, stays) in answers {
        let what = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let (before, came) = (failures(&relay, reason).await, peer.facts().raw);
        peer.behave(|manners| manners.raw = Some((bytes, stays)));
        assert_eq!(post_status(&relay.url(), &message(&world, &wallet, &unique_body())).await, 502, "{what}");
        assert_eq!(failures(&relay, reason).await, before + 1.0, "{reason}: {what}");
        assert_eq!(peer.facts().raw, came + 1, "nothing is followed: {what}");
        peer.release();
    }
    // Compressed, it stays as it is; longer than announced, the rest is nobody's answer.
    let bomb = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec();
    let gzip = [head("404 Not Found", "content-encoding: gzip\r\ncontent-length: 10\r\n"), bomb.clone()].concat();
    peer.behave(|manners| manners.raw = Some((gzip, false)));
    let answer = post(&relay.url(), message(&world, &wallet, &unique_body()).as_bytes().to_vec()).await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("content-encoding")), (404, None));
    assert_eq!(answer.bytes().await.unwrap(), bomb);
    let forged = head("202 Accepted", "content-length: 0\r\nminus-metered: 0\r\n");
    let two = [head("404 Not Found", "content-length: 0\r\n"), forged].concat();
    peer.behave(|manners| manners.raw = Some((two, true)));
    for _ in 0..3 {
        let status = post_status(&relay.url(), &message(&world, &wallet, &unique_body())).await;
        assert!([404, 502].contains(&status), "{status}: the second answer belongs to no request");
    }
    peer.release();
    peer.behave(|manners| manners.raw = None);
    until("an agent that mends its ways is carried for again", async || {
        post_status(&relay.url(), &message(&world, &wallet, &unique_body())).await == 202
    })
    .await;
}

/// Takes a minute and a half: only with `MINUS_DEEP`.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_falls_silent_is_given_up_as_one_that_broke_off() {
    if !std::env::var("MINUS_DEEP").is_ok_and(|deep| !deep.is_empty()) {
        return;
    }
    let world = World::new().await;
    let relay = world.operator(|_| ()).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let said = [head, "8\r\n: here\n\n\r\n"].concat().into_bytes();
    let peer = Peer::new(&world, Manners { raw: Some((said, true)), ..Manners::honest() }).await;
    let wallet = peer.wallet(&world).await;
    relay.wait_for_head(&world).await;
    let began = Instant::now();
    let mut stream = post(&relay.url(), message(&world, &wallet, b"x").as_bytes().to_vec()).await;
    assert_eq!(stream.status().as_u16(), 200);
    let mut heard = Vec::new();
    loop {
        match stream.chunk().await {
            Ok(Some(chunk)) => heard.extend(chunk),
            Ok(None) => panic!("it ended as if that were all"),
            Err(_) => break,
        }
    }
    assert_eq!(heard, b": here\n\n");
    assert!(began.elapsed() >= Duration::from_secs(90));
    assert_eq!(failures(&relay, "silent").await, 1.0);
    until("its place is free", async || relay.metric("minus_streams_open").await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_agent_takes_its_own_places_and_no_others() {
    let world = World::new().await;
    let relay = world.operator(|_| ()).await;
    let agent = world.operator(|_| ()).await;
    let wallet = customer(&world, &agent, 10 * TOKEN).await;
    let slow = Peer::new(&world, Manners { raw: Some((Vec::new(), true)), ..Manners::honest() }).await;
    let waiting = slow.wallet(&world).await;
    relay.wait_for_head(&world).await;
    let url = relay.url();
    let packets: Vec<_> = (0..140).map(|_| message(&world, &waiting, &unique_body())).collect();
    let mut requests = tokio::task::JoinSet::new();
    for packet in packets {
        let url = url.clone();
        requests.spawn(async move { post_status(&url, &packet).await });
    }
    // The places are 128; whoever comes after them is told so at once.
    for _ in 0..12 {
        assert_eq!(requests.join_next().await.unwrap().unwrap(), 429);
    }
    assert_eq!(post_status(&url, &message(&world, &wallet, b"to another agent")).await, 202);
    slow.behave(|manners| manners.raw = Some((Vec::new(), false)));
    until("all are let go", async || {
        slow.release();
        while let Ok(Some(status)) = tokio::time::timeout(Duration::from_millis(50), requests.join_next()).await {
            assert_eq!(status.unwrap(), 502);
        }
        requests.is_empty()
    })
    .await;
    slow.behave(|manners| manners.raw = None);
    assert_eq!(post_status(&url, &message(&world, &waiting, &unique_body())).await, 202);
}
