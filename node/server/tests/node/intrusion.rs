//! The front door against peers that speak HTTP badly, slowly, or too much, over real sockets. Each is answered or cut off
//! as it should be, is counted, and keeps nobody else from being served.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use alloy::signers::local::PrivateKeySigner;
use minus_protocol::PACKET_BYTES_MAX;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::{
    customer::{customer, message, unique_body},
    metrics::Scrape,
    world::{Operator, TOKEN, World, until},
};

/// How long a busy machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// As many bodies as may be under way from one address.
const BODIES_PER_ADDRESS_MAX: u32 = 256;

struct Scene {
    world: World,
    agent: Operator,
    wallet: PrivateKeySigner,
    address: SocketAddr,
}

impl Scene {
    async fn new(adjust: impl FnOnce(&mut minus_node::Config)) -> Self {
        let world = World::new().await;
        let agent = world.operator(adjust).await;
        let wallet = customer(&world, &agent, 900 * TOKEN).await;
        let address = agent.url().strip_prefix("http://").unwrap().parse().unwrap();
        Self { world, agent, wallet, address }
    }

    fn packet(&self) -> Vec<u8> {
        message(&self.world, &self.wallet, &unique_body()).as_bytes().to_vec()
    }

    /// A whole, good request.
    fn request(&self) -> Vec<u8> {
        let packet = self.packet();
        [format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", packet.len()).as_bytes(), &packet].concat()
    }

    /// A connection that comes from an address of the loopback network.
    async fn connect_from(&self, last: u8) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
        socket.connect(self.address).await
    }

    async fn connect(&self) -> TcpStream {
        self.connect_from(1).await.unwrap()
    }

    /// The first so many answers to these bytes, fewer when the node ends the connection before; none asked for, all until
    /// then.
    async fn statuses(&self, said: &[u8], count: usize) -> Vec<u16> {
        let mut stream = self.connect().await;
        // It may close before it has heard everything.
        let _ = stream.write_all(said).await;
        let (mut heard, mut more) = (Vec::new(), [0; 4_096]);
        loop {
            let answers = statuses(&String::from_utf8_lossy(&heard));
            if count > 0 && answers.len() >= count {
                return answers;
            }
            match tokio::time::timeout(PATIENCE, stream.read(&mut more)).await.expect("an answer, or the end") {
                Ok(0) | Err(_) => return answers,
                Ok(length) => heard.extend_from_slice(&more[..length]),
            }
        }
    }

    async fn still_serves(&self, from: u8) {
        let mut stream = self.connect_from(from).await.unwrap();
        stream.write_all(&self.request()).await.unwrap();
        let answer = next_answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }

    async fn scrape(&self) -> Scrape {
        Scrape::of(&self.agent).await
    }
}

/// Everything until the end of the connection, however it ends.
async fn hear(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("the node ends the connection");
    String::from_utf8_lossy(&heard).into_owned()
}

/// The head of the next answer.
async fn next_answer(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        match tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("an answer comes") {
            Ok(byte) => heard.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

fn statuses(heard: &str) -> Vec<u16> {
    heard.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)?.parse().ok()).collect()
}

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("POST / HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_quite_http_is_refused_and_nothing_is_smuggled() {
    let scene = Scene::new(|_| ()).await;
    let long = PACKET_BYTES_MAX + 1;
    let many_headers: String = (0..65).map(|number| format!("x-{number}: y\r\n")).collect();
    let big_header = format!("x: {}\r\n", "y".repeat(100 << 10));
    let good = scene.packet();
    let cases: [(&str, Vec<u8>, &[u16]); 15] = [
        ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[400]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), &[]),
        ("too many headers", post(&many_headers, b""), &[431]),
        ("a header beyond the buffer", post(&big_header, b""), &[400]),
        ("two lengths", post("content-length: 4\r\ncontent-length: 5\r\n", b"12345"), &[400]),
        ("a negative length", post("content-length: -1\r\n", b""), &[400]),
        ("an encoding nobody knows", post("transfer-encoding: gzip\r\n", b"12345"), &[400]),
        ("a chunk of no size", post("transfer-encoding: chunked\r\n", b"xyz\r\n1\r\n"), &[400]),
        ("a length too large", post(&format!("content-length: {long}\r\n"), b""), &[413]),
        ("a length beyond counting", post("content-length: 18446744073709551614\r\n", b""), &[431]),
        ("a body longer than announced", post("content-length: 4\r\n", &good), &[400]),
        ("PUT", b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".to_vec(), &[400]),
        ("CONNECT", b"CONNECT 10.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), &[400]),
        ("no host", b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n".to_vec(), &[400]),
        // The chunks are what counts: the length does not make the rest a request, and the rest is read as one only after them.
        (
            "both length and chunks",
            post("content-length: 4\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\nPUT / HTTP/1.1\r\nhost: x\r\n\r\n"),
            &[400],
        ),
    ];
    let before = scene.scrape().await;
    for (what, said, expected) in &cases {
        let heard = scene.statuses(said, expected.len()).await;
        assert!(heard.starts_with(expected), "{what}: {heard:?} instead of {expected:?}");
        assert!(heard.iter().all(|status| *status >= 400), "{what}: {heard:?}");
        scene.still_serves(1).await;
    }
    // A body shorter than announced, and then the end: there is nobody left to answer.
    let mut short = scene.connect().await;
    short.write_all(&post("content-length: 900\r\n", b"short")).await.unwrap();
    drop(short);
    let broken_off = |scrape: &Scrape| {
        scrape.value("minus_refused_total{reason=\"body_broken_off\"}")
            + scrape.value("minus_connections_broken_total{reason=\"broken_off\"}")
    };
    until("the end is noticed", async || broken_off(&scene.scrape().await) > broken_off(&before)).await;
    let after = scene.scrape().await;
    for (series, least) in [
        ("minus_refused_total{reason=\"too_large\"}", 1.0),
        ("minus_refused_total{reason=\"method\"}", 1.0),
        ("minus_refused_total{reason=\"not_a_packet\"}", 1.0),
        ("minus_connections_broken_total{reason=\"header_too_large\"}", 1.0),
        ("minus_connections_broken_total{reason=\"not_http\"}", 1.0),
    ] {
        let counted = after.value(series) - before.value(series);
        assert!(counted >= least, "{series} grew by {counted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_http_allows_is_served() {
    let scene = Scene::new(|_| ()).await;
    // Two requests in one breath, two answers in their order.
    let both = [scene.request(), scene.request()].concat();
    assert_eq!(scene.statuses(&both, 2).await, [202, 202]);
    // A proxy's form of the target, and any path.
    let packet = scene.packet();
    let head =
        format!("POST http://elsewhere.example/a/b?c HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", packet.len());
    assert_eq!(scene.statuses(&[head.as_bytes(), &packet].concat(), 1).await, [202]);
    // Chunks, one byte each.
    let chunks: Vec<u8> = scene.packet().iter().flat_map(|byte| [b'1', b'\r', b'\n', *byte, b'\r', b'\n']).collect();
    let chunked = post("transfer-encoding: chunked\r\n", &[&chunks[..], b"0\r\n\r\n"].concat());
    assert_eq!(scene.statuses(&chunked, 1).await, [202]);
    // HTTP/1.0: one answer, then the end.
    let packet = scene.packet();
    let old = [format!("POST / HTTP/1.0\r\ncontent-length: {}\r\n\r\n", packet.len()).as_bytes(), &packet].concat();
    let mut stream = scene.connect().await;
    stream.write_all(&old).await.unwrap();
    assert_eq!(statuses(&hear(&mut stream).await), [202]);
    // A client that asks before it sends.
    let packet = scene.packet();
    let mut stream = scene.connect().await;
    let head = post(&format!("expect: 100-continue\r\ncontent-length: {}\r\n", packet.len()), b"");
    stream.write_all(&head).await.unwrap();
    assert!(next_answer(&mut stream).await.starts_with("HTTP/1.1 100"));
    stream.write_all(&packet).await.unwrap();
    assert!(next_answer(&mut stream).await.starts_with("HTTP/1.1 202"));
    // And one that is told before it sends in vain.
    let mut stream = scene.connect().await;
    let head = post(&format!("expect: 100-continue\r\ncontent-length: {}\r\n", PACKET_BYTES_MAX + 1), b"");
    stream.write_all(&head).await.unwrap();
    assert!(next_answer(&mut stream).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_body_is_cut_off() {
    let scene = Scene::new(|_| ()).await;
    let mut stream = scene.connect().await;
    stream.write_all(&post("transfer-encoding: chunked\r\n", b"")).await.unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![1; 1 << 16], b"\r\n".to_vec()].concat();
    let mut sent = 0;
    while sent < 64 * PACKET_BYTES_MAX && stream.write_all(&chunk).await.is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 64 * PACKET_BYTES_MAX, "the node reads on for ever");
    scene.still_serves(1).await;
    assert!(scene.scrape().await.value("minus_refused_total{reason=\"too_large\"}") >= 1.0);
}

/// Peers that say nothing, or a byte now and then: each is cut off in its time, and meanwhile nobody waits for them.
#[tokio::test(flavor = "multi_thread")]
async fn slow_headers_and_slow_bodies_are_given_up() {
    const EACH: u32 = 20;
    let scene = Scene::new(|_| ()).await;
    let mut slow = Vec::new();
    for begun in
        [b"".to_vec(), b"POST / HTTP/1.1\r\nhost: x\r\nx-slow: ".to_vec(), post("content-length: 900\r\n", b"1")]
    {
        for _ in 0..EACH {
            let mut stream = scene.connect().await;
            stream.write_all(&begun).await.unwrap();
            slow.push(stream);
        }
    }
    let mut trickles = tokio::task::JoinSet::new();
    for mut stream in slow {
        trickles.spawn(async move {
            let deadline = Instant::now() + PATIENCE;
            let mut heard = [0; 1_024];
            let mut answer = Vec::new();
            loop {
                assert!(Instant::now() < deadline, "a slow peer is waited for without end");
                match tokio::time::timeout(Duration::from_secs(1), stream.read(&mut heard)).await {
                    Ok(Ok(0) | Err(_)) => break answer,
                    Ok(Ok(length)) => answer.extend_from_slice(&heard[..length]),
                    // The first of them keep silent: a byte now would be the beginning of a request.
                    Err(_) if answer.is_empty() => drop(stream.write_all(b"y").await),
                    Err(_) => {}
                }
            }
        });
    }
    scene.still_serves(1).await;
    while let Some(answer) = trickles.join_next().await {
        let heard = String::from_utf8_lossy(&answer.unwrap()).into_owned();
        assert!(statuses(&heard).iter().all(|status| [400, 408].contains(status)), "{heard}");
    }
    scene.still_serves(1).await;
    let after = scene.scrape().await;
    let given_up = after.value("minus_connections_broken_total{reason=\"header_timeout\"}");
    assert!(given_up >= f64::from(2 * EACH), "{given_up} header timeouts");
    assert!(after.value("minus_refused_total{reason=\"body_too_slow\"}") >= f64::from(EACH));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_bodies_hold_nothing_but_their_own_places() {
    let scene = Scene::new(|_| ()).await;
    let half = post("content-length: 900\r\n", b"half");
    // More than there are places for requests in work, from three addresses.
    let mut held = Vec::new();
    for from in 1..=3 {
        for _ in 0..BODIES_PER_ADDRESS_MAX {
            let mut stream = scene.connect_from(from).await.unwrap();
            stream.write_all(&half).await.unwrap();
            held.push(stream);
        }
    }
    let all = f64::from(3 * BODIES_PER_ADDRESS_MAX);
    let begun = Instant::now();
    until("the bodies are under way", async || {
        let scrape = scene.scrape().await;
        let under_way = scrape.value("minus_limit_used{limit=\"bodies\"}");
        // On a machine so slow that the first are given up already, there is nothing more to see.
        under_way == all || begun.elapsed() > Duration::from_secs(9)
    })
    .await;
    scene.still_serves(4).await;
    // The address that is full is told so, and when.
    if begun.elapsed() < Duration::from_secs(5) {
        let mut stream = scene.connect().await;
        stream.write_all(&half).await.unwrap();
        assert!(next_answer(&mut stream).await.starts_with("HTTP/1.1 429"));
        let scrape = scene.scrape().await;
        assert!(scrape.value("minus_limit_reached_total{limit=\"bodies_per_address\"}") >= 1.0);
        assert!(scrape.value("minus_refused_total{reason=\"bodies_full\"}") >= 1.0);
        assert_eq!(scrape.value("minus_limit_used{limit=\"requests\"}"), 0.0);
    }
    drop(held);
    until("the places are free", async || scene.scrape().await.value("minus_limit_used{limit=\"bodies\"}") == 0.0)
        .await;
    scene.still_serves(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_fills_its_share_and_the_operator_still_sees_it() {
    let scene = Scene::new(|config| {
        config.connections_max = 24;
        config.connections_per_address_max = 16;
    })
    .await;
    until("the set-up's connections are gone", async || {
        scene.scrape().await.value("minus_limit_used{limit=\"connections\"}") == 0.0
    })
    .await;
    let mut held = Vec::new();
    for from in [[2; 16].as_slice(), &[3; 8]].concat() {
        held.push(scene.connect_from(from).await.unwrap());
    }
    until("all are in", async || scene.scrape().await.value("minus_limit_used{limit=\"connections\"}") == 24.0).await;
    for _ in 0..64 {
        if let Ok(mut stream) = scene.connect_from(4).await {
            let heard = hear(&mut stream).await;
            assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 429"), "{heard}");
        }
    }
    assert!(scene.agent.admin("/health/ready").await.status().is_success());
    let scrape = scene.scrape().await;
    assert!(scrape.value("minus_limit_reached_total{limit=\"connections\"}") >= 64.0);
    assert_eq!(scrape.value("minus_limit_used{limit=\"connections_per_address\"}"), 16.0);

    held.truncate(16);
    until("others have room", async || scene.scrape().await.value("minus_limit_used{limit=\"connections\"}") == 16.0)
        .await;
    let mut one_more = scene.connect_from(2).await.unwrap();
    let heard = hear(&mut one_more).await;
    assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 429"), "its share is used up: {heard}");
    scene.still_serves(4).await;
    assert!(scene.scrape().await.value("minus_limit_reached_total{limit=\"connections_per_address\"}") >= 1.0);
}
