//! A customer made of nothing but the protocol crate: seals commands, opens replies, reads streams.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use minus_bindings::{Amount, SignedVoucher};
use minus_protocol::{
    Carriage, Command, CommandBody, Expected, Frame, Outgoing, Packet, Reply, SealingSecret, SessionKey, SseParser,
    Statement, StreamOpener, add_message, check,
    headers::{LAST_EVENT_ID, PACKET_QUERY, encode_packet_query},
    open, open_reply, random_bytes, seal,
};

use crate::world::{Operator, TARIFF, World};

pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A body no other packet has.
pub(crate) fn unique_body() -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("message {}", NEXT.fetch_add(1, Ordering::Relaxed)).into_bytes()
}

/// Posts raw bytes.
pub(crate) async fn post(url: &str, bytes: impl Into<reqwest::Body>) -> reqwest::Response {
    reqwest::Client::new().post(url).body(bytes).send().await.unwrap()
}

/// The status a node answers a packet with.
pub(crate) async fn post_status(url: &str, packet: &Packet) -> u16 {
    post(url, packet.as_bytes().to_vec()).await.status().as_u16()
}

/// A packet from a stranger to a wallet.
pub(crate) fn message(world: &World, to: &PrivateKeySigner, body: &[u8]) -> Packet {
    let outgoing = Outgoing { id: random_bytes(), sent_at_ms: now_ms(), body };
    let key = SealingSecret::derive(&to.to_bytes().0).public();
    let sender = PrivateKeySigner::random();
    seal(&outgoing, to.address(), &key, &sender, &world.deployment.routing_domain()).unwrap()
}

/// A command to a node, at a time.
pub(crate) fn command_at(
    world: &World,
    from: &PrivateKeySigner,
    to: &Operator,
    body: CommandBody,
    sent_at_ms: u64,
) -> (Packet, SessionKey) {
    let session = SessionKey::random();
    let encoded = Command { session: session.clone(), body }.encode();
    let outgoing = Outgoing { id: random_bytes(), sent_at_ms, body: &encoded };
    let packet = seal(&outgoing, to.node, &to.sealing_key, from, &world.deployment.routing_domain()).unwrap();
    (packet, session)
}

/// Sends a command by way of `via` and opens the reply.
pub(crate) async fn command_via(
    world: &World,
    from: &PrivateKeySigner,
    to: &Operator,
    via: &str,
    body: CommandBody,
) -> (u16, Reply) {
    let (packet, session) = command_at(world, from, to, body, now_ms());
    let response = post(via, packet.as_bytes().to_vec()).await;
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    let reply = open_reply(&session, &bytes).unwrap_or_else(|error| panic!("{status}: {error}"));
    (status, reply)
}

pub(crate) async fn command(world: &World, from: &PrivateKeySigner, to: &Operator, body: CommandBody) -> (u16, Reply) {
    command_via(world, from, to, &to.url(), body).await
}

/// A wallet that pays for itself, entrusted to an agent.
pub(crate) async fn customer(world: &World, agent: &Operator, deposit: u128) -> PrivateKeySigner {
    let key = world.person().await;
    world.deposit(key.address(), agent.address, deposit).await;
    world.set_route(&key, agent.node).await;
    let (status, reply) = entrust(world, &key, agent).await;
    assert_eq!(status, 200, "{reply:?}");
    key
}

pub(crate) async fn entrust(world: &World, key: &PrivateKeySigner, agent: &Operator) -> (u16, Reply) {
    let body = CommandBody::Entrust { payer: key.address(), base: Amount::ZERO, consent: None };
    command(world, key, agent, body).await
}

pub(crate) fn voucher(world: &World, signer: &PrivateKeySigner, payee: Address, total: Amount) -> SignedVoucher {
    SignedVoucher::sign(signer.address(), payee, total, &world.deployment.escrow_domain(), signer)
}

pub(crate) async fn acknowledge(
    world: &World,
    key: &PrivateKeySigner,
    agent: &Operator,
    statement: &Statement,
) -> (u16, Reply) {
    let voucher = voucher(world, key, agent.address, statement.total);
    let body = CommandBody::Acknowledge { statement: statement.number, voucher };
    command(world, key, agent, body).await
}

/// What a stream said.
#[derive(Debug)]
pub(crate) enum Said {
    Message { seq: u64, body: Vec<u8>, carriage: Carriage },
    Statement(Statement),
    KeepAlive,
    End,
}

/// A running subscription.
pub(crate) struct Stream {
    response: reqwest::Response,
    parser: SseParser,
    opener: StreamOpener,
    frames: VecDeque<Frame>,
    secret: SealingSecret,
    world_domain: alloy::sol_types::Eip712Domain,
}

pub(crate) async fn subscribe(
    world: &World,
    key: &PrivateKeySigner,
    to: &Operator,
    via: &str,
    resume_after: u64,
) -> Stream {
    let (packet, session) = command_at(world, key, to, CommandBody::Subscribe { resume_after }, now_ms());
    let response = post(via, packet.as_bytes().to_vec()).await;
    Stream::of(world, key, &session, response).await
}

/// What a browser's `EventSource` asks.
pub(crate) async fn get(via: &str, packet: &Packet, last_event_id: Option<&str>) -> reqwest::Response {
    let request = reqwest::Client::new().get(format!("{via}/?{PACKET_QUERY}={}", encode_packet_query(packet)));
    let request = last_event_id.into_iter().fold(request, |request, id| request.header(LAST_EVENT_ID, id));
    request.send().await.unwrap()
}

impl Stream {
    pub(crate) async fn of(
        world: &World,
        key: &PrivateKeySigner,
        session: &SessionKey,
        response: reqwest::Response,
    ) -> Self {
        assert_eq!(response.status().as_u16(), 200, "{:?}", response.bytes().await);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        Self {
            response,
            parser: SseParser::new(),
            opener: StreamOpener::new(session),
            frames: VecDeque::new(),
            secret: SealingSecret::derive(&key.to_bytes().0),
            world_domain: world.deployment.routing_domain(),
        }
    }

    async fn frame(&mut self) -> Option<Frame> {
        while self.frames.is_empty() {
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.response.chunk())
                .await
                .expect("the stream says something");
            let Ok(Some(chunk)) = chunk else { return None };
            for event in self.parser.push(&chunk).unwrap() {
                self.frames.extend(self.opener.open(&event).unwrap());
            }
        }
        self.frames.pop_front()
    }

    pub(crate) async fn next(&mut self) -> Said {
        match self.frame().await {
            None => Said::End,
            Some(Frame::KeepAlive) => Said::KeepAlive,
            Some(Frame::Statement(statement)) => Said::Statement(statement),
            Some(Frame::Message { seq, stored_at, tariff_version, relayed, packet }) => {
                let bytes = u64::try_from(packet.len()).unwrap();
                let carriage = Carriage { bytes, stored_at, tariff_version, relayed_in: relayed };
                let opened = open(&Packet::parse(packet).unwrap(), &self.secret, &self.world_domain).unwrap();
                Said::Message { seq, body: opened.body, carriage }
            }
        }
    }

    pub(crate) async fn message(&mut self) -> (u64, Vec<u8>, Carriage) {
        loop {
            match self.next().await {
                Said::Message { seq, body, carriage } => return (seq, body, carriage),
                Said::KeepAlive => {}
                other => panic!("expected a message, got {other:?}"),
            }
        }
    }

    pub(crate) async fn statement(&mut self) -> Statement {
        loop {
            match self.next().await {
                Said::Statement(statement) => return statement,
                Said::KeepAlive => {}
                other => panic!("expected a statement, got {other:?}"),
            }
        }
    }
}

/// Holds a statement to the customer's own count of what it received.
pub(crate) fn agree(statement: &Statement, base: Amount, carriages: &[Carriage], relayed_out: bool) {
    let mut lines = Vec::new();
    for carriage in carriages {
        add_message(&mut lines, |_| Some(TARIFF), carriage, statement.at, relayed_out).unwrap();
    }
    let own = Expected { wallet: statement.wallet, through: statement.through, base, lines: lines.clone() };
    check(&own, statement, now_ms() / 1_000).unwrap();
    assert_eq!(statement.lines, lines);
}
