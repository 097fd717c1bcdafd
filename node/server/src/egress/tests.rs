//! The client against servers of its own, and against a resolver that changes its mind.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper_util::client::legacy::connect::dns::Name;
use minus_protocol::packet::{PACKET_BYTES_MIN, PACKET_VERSION};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower_service::Service;

use super::*;

/// As small as one may be.
fn packet() -> Packet {
    let mut bytes = vec![4; PACKET_BYTES_MIN];
    bytes[0] = PACKET_VERSION;
    Packet::parse(bytes).expect("well-formed")
}

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(30);

/// Answers each look-up with the next of these, and the last one for ever.
fn changing(answers: Vec<Vec<&'static str>>) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |_| {
        let turn = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let found = answers[turn].iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 0)).collect();
        Box::pin(async move { Ok(found) })
    });
    (lookup, asked)
}

async fn resolve(resolver: &mut PublicOnly) -> Result<Vec<IpAddr>, EgressError> {
    let name: Name = "node.example".parse().expect("a name");
    Ok(resolver.call(name).await?.map(|address| address.ip()).collect())
}

#[test]
fn refuses_what_leads_inside_or_is_no_endpoint() {
    let check = |endpoint| Egress::new(false).expect("a client").endpoint(endpoint);
    for endpoint in [
        "http://127.0.0.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://0177.0.0.1",
        "http://0.0.0.0:80",
        "http://192.168.0.1",
        "http://169.254.169.254/latest",
        "http://[::1]",
        "http://[::ffff:10.0.0.1]",
        "http://[64:ff9b::a00:1]",
        "http://[2002:a00:1::]",
        "http://[fd00:ec2::254]",
    ] {
        assert!(matches!(check(endpoint), Err(EgressError::Private)), "{endpoint}");
    }
    assert!(matches!(check("file:///etc/passwd"), Err(EgressError::Endpoint(_))));
    for endpoint in ["http://1.1.1.1:8402", "https://[2606:4700::1111]/path", "https://node.example"] {
        assert!(check(endpoint).is_ok(), "{endpoint}");
    }
    assert!(Egress::new(true).expect("a client").endpoint("http://127.0.0.1").is_ok());
}

#[tokio::test]
async fn of_several_addresses_only_the_public_ones_are_given_out() {
    let (lookup, _) = changing(vec![
        vec!["10.0.0.1", "1.1.1.1", "::1", "2606:4700::1111"],
        vec!["127.0.0.1", "::ffff:169.254.169.254"],
        vec![],
    ]);
    let mut resolver = PublicOnly { allow_private: false, lookup };
    let public: Vec<IpAddr> = ["1.1.1.1", "2606:4700::1111"].map(|text| text.parse().expect("an address")).to_vec();
    assert_eq!(resolve(&mut resolver).await.expect("two are public"), public);
    assert!(matches!(resolve(&mut resolver).await, Err(EgressError::Private)), "the name has changed its mind");
    assert!(matches!(resolve(&mut resolver).await, Err(EgressError::Unresolved)));
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_connected_to() {
    let egress = Egress::new(false).expect("a client");
    let endpoint = egress.endpoint("http://localhost:1").expect("a name passes");
    let error = egress.post(&endpoint, None, &packet(), LONG).await.expect_err("localhost is inside");
    assert!(matches!(error, EgressError::Private), "{error:?}");
}

/// Serves each connection with these bytes, after a request was read; then keeps it open.
async fn server(address: &str, bytes: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(address).await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let came = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&came);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    if stream.write_all(bytes).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, came)
}

/// Law of the pin: one look-up for one connection, and the connection leads to what that look-up said.
#[tokio::test]
async fn what_was_resolved_is_what_is_connected() {
    const CLOSED: &[u8] = b"HTTP/1.1 202 Accepted\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let (first, at_first) = server("127.0.0.1:0", CLOSED).await;
    let (_, at_second) = server(&format!("127.0.0.2:{}", first.port()), CLOSED).await;
    let (lookup, asked) = changing(vec![vec!["127.0.0.1"], vec!["127.0.0.2"]]);
    let egress = Egress::resolving(true, lookup).expect("a client");
    let endpoint = egress.endpoint(&format!("http://node.example:{}", first.port())).expect("a name");
    for turn in 1..=2 {
        let answer = egress.post(&endpoint, None, &packet(), LONG).await.expect("an answer");
        answer.read(LONG).await.expect("an empty body");
        assert_eq!(asked.load(Ordering::SeqCst), turn);
        let came = [&at_first, &at_second].map(|count| count.load(Ordering::SeqCst));
        assert_eq!(came, if turn == 1 { [1, 0] } else { [1, 1] });
    }
}

async fn post(bytes: &'static [u8], time: Duration) -> Result<Answer, EgressError> {
    let (address, _) = server("127.0.0.1:0", bytes).await;
    let egress = Egress::new(true).expect("a client");
    let endpoint = egress.endpoint(&format!("http://{address}")).expect("an endpoint");
    egress.post(&endpoint, None, &packet(), time).await
}

#[tokio::test]
async fn whoever_says_nothing_or_trickles_is_given_up() {
    assert!(matches!(post(b"", SHORT).await, Err(EgressError::AnswerTimeout)));
    assert!(matches!(post(b"HTTP/1.1 202 Acc", SHORT).await, Err(EgressError::AnswerTimeout)));
    let head = post(b"HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\nslow", LONG).await.expect("a head");
    assert!(matches!(head.read(SHORT).await, Err(EgressError::BodyTimeout)));
    // Nobody takes connections here: the address is one for documentation, so packets to it get lost, or are refused.
    let egress = Egress::new(true).expect("a client");
    let endpoint = egress.endpoint("http://192.0.2.1:9").expect("an endpoint");
    let nowhere = egress.post(&endpoint, None, &packet(), SHORT).await;
    assert!(matches!(nowhere, Err(EgressError::AnswerTimeout | EgressError::Connect(_))), "{nowhere:?}");
}

#[tokio::test]
async fn a_body_that_is_announced_too_long_is_not_waited_for() {
    let head = post(b"HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\n", LONG).await.expect("a head");
    assert!(matches!(head.read(LONG).await, Err(EgressError::BodyTooLong)));
}

#[tokio::test]
async fn connections_are_kept_and_answers_come_in_pieces() {
    let whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n";
    let (address, came) = server("127.0.0.1:0", whole).await;
    let egress = Egress::new(true).expect("a client");
    let endpoint = egress.endpoint(&format!("http://{address}")).expect("an endpoint");
    for _ in 0..5 {
        let answer = egress.post(&endpoint, None, &packet(), LONG).await.expect("an answer");
        assert_eq!(answer.read(LONG).await.expect("a body"), "abcde");
    }
    assert!(came.load(Ordering::SeqCst) <= 2, "a connection was kept");
}
