//! An agent that keeps its books like an honest one and then does as a test tells it: says more, loses answers, goes
//! away. It speaks just enough HTTP for one packet per connection.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::{Amount, Deployment, SignedVoucher};
use minus_protocol::{
    Carriage, Command, CommandBody, Frame, MeterLine, Opened, Outgoing, Packet, Refusal, Reply, SealingSecret,
    SessionKey, Statement, StreamSealer, add_message, open, random_bytes, seal, seal_reply, total,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::TARIFF;

/// What the agent is told to do wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    /// Added to the base it says it opened the account at.
    pub(crate) base_extra: u128,
    /// Added to the delivered bytes of every statement.
    pub(crate) delivered_extra: u128,
    /// Seconds that messages are dated back.
    pub(crate) backdate: u64,
    /// Answers to this many acknowledgements are lost after they were booked.
    pub(crate) lose_answers: u32,
    /// This many acknowledgements are lost before they are booked.
    pub(crate) lose_acknowledgements: u32,
    /// Push every message twice.
    pub(crate) push_twice: bool,
    /// Answer acknowledgements with this.
    pub(crate) refuse: Option<Refusal>,
}

#[derive(Debug, Clone)]
struct Stored {
    seq: u64,
    carriage: Carriage,
    packet: bytes::Bytes,
}

/// The agent's books, open to the test.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) orders: Orders,
    pub(crate) base: Option<Amount>,
    pub(crate) lines: Vec<MeterLine>,
    pub(crate) vouchers: Vec<SignedVoucher>,
    pub(crate) resumed_after: Vec<u64>,
    stored: Vec<Stored>,
    last_seq: u64,
    issued: Option<Statement>,
    booked: u64,
    numbers: u64,
}

/// A running agent.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) endpoint: String,
    pub(crate) node: PrivateKeySigner,
    deployment: Deployment,
    pub(crate) books: Arc<Mutex<Books>>,
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Agent {
    /// Listens on a port of its own.
    pub(crate) async fn start(node: PrivateKeySigner, deployment: Deployment) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let agent = Self { endpoint, node, deployment, books: Arc::default() };
        let serving = agent.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let agent = serving.clone();
                tokio::spawn(async move { agent.serve(stream).await });
            }
        });
        agent
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Books) -> T) -> T {
        change(&mut self.books.lock().unwrap())
    }

    /// Stores bytes for the wallet, whatever they are.
    pub(crate) fn store(&self, packet: bytes::Bytes, relayed_in: bool) {
        self.with(|books| {
            books.last_seq += 1;
            let carriage = Carriage {
                bytes: u64::try_from(packet.len()).unwrap(),
                stored_at: now() - books.orders.backdate,
                tariff_version: 1,
                relayed_in,
            };
            let seq = books.last_seq;
            books.stored.push(Stored { seq, carriage, packet });
        });
    }

    /// Stores a body that `sender` seals to `wallet`.
    pub(crate) fn store_body(&self, sender: &PrivateKeySigner, wallet: &PrivateKeySigner, id: [u8; 16], body: &[u8]) {
        let key = SealingSecret::derive(&wallet.to_bytes().0).public();
        let outgoing = Outgoing { id, sent_at_ms: now() * 1000, body };
        let packet = seal(&outgoing, wallet.address(), &key, sender, &self.deployment.routing_domain()).unwrap();
        self.store(packet.into_bytes(), false);
    }

    async fn serve(&self, mut stream: TcpStream) {
        let Some(body) = read_request(&mut stream).await else { return };
        let packet = Packet::parse(body).unwrap();
        if packet.recipient() != self.node.address() {
            self.store(packet.into_bytes(), false);
            return answer(&mut stream, "202 Accepted", br#"{"stored":"new"}"#).await;
        }
        let secret = SealingSecret::derive(&self.node.to_bytes().0);
        let opened = open(&packet, &secret, &self.deployment.routing_domain()).unwrap();
        let command = Command::decode(&opened.body).unwrap();
        match command.body.clone() {
            CommandBody::Subscribe { resume_after } => self.push(stream, &opened, &command.session, resume_after).await,
            body => {
                if let Some(reply) = self.obey(&opened, body) {
                    let status = if matches!(reply, Reply::Refused { .. }) { "400 Bad Request" } else { "200 OK" };
                    answer(&mut stream, status, &seal_reply(&command.session, &reply)).await;
                }
            }
        }
    }

    /// `None`: the answer is lost.
    fn obey(&self, opened: &Opened, body: CommandBody) -> Option<Reply> {
        self.with(|books| match body {
            CommandBody::Entrust { base, .. } => {
                let extra = Amount::from_base_units(books.orders.base_extra).unwrap();
                let base = *books.base.get_or_insert(base.checked_add(extra).unwrap());
                Some(Reply::Entrusted { base })
            }
            CommandBody::Statement => {
                let base = books.base.unwrap();
                let total = total(base, &books.lines).unwrap();
                let lines = books.lines.clone();
                let wallet = opened.sender;
                Some(Reply::Statement(Statement { number: 0, wallet, through: 0, at: now(), base, lines, total }))
            }
            CommandBody::Acknowledge { statement, voucher } => books.acknowledge(statement, voucher),
            _ => None,
        })
    }

    /// Everything stored after `resume_after`, then a statement, then silence until the client goes.
    async fn push(&self, mut stream: TcpStream, opened: &Opened, session: &SessionKey, resume_after: u64) {
        let mut sealer = StreamSealer::new(session, random_bytes());
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let mut text = head.to_owned() + &sealer.opening_event();
        self.with(|books| {
            books.resumed_after.push(resume_after);
            let times = if books.orders.push_twice { 2 } else { 1 };
            for stored in books.stored.iter().filter(|stored| stored.seq > resume_after) {
                for _ in 0..times {
                    text += &sealer.seal(&Frame::Message {
                        seq: stored.seq,
                        stored_at: stored.carriage.stored_at,
                        tariff_version: stored.carriage.tariff_version,
                        relayed: stored.carriage.relayed_in,
                        packet: stored.packet.clone(),
                    });
                }
            }
            if let Some(statement) = books.issue(opened.sender) {
                text += &sealer.seal(&Frame::Statement(statement));
            }
        });
        let _ = stream.write_all(text.as_bytes()).await;
        let _ = stream.read(&mut [0; 1]).await;
    }
}

impl Books {
    fn issue(&mut self, wallet: Address) -> Option<Statement> {
        let through = self.stored.last()?.seq;
        let at = now();
        let mut lines = self.lines.clone();
        for stored in &self.stored {
            add_message(&mut lines, |_| Some(TARIFF), &stored.carriage, at, false).unwrap();
        }
        lines[0].meter.delivered += self.orders.delivered_extra;
        let base = self.base.unwrap();
        self.numbers += 1;
        let statement =
            Statement { number: self.numbers, wallet, through, at, base, total: total(base, &lines).unwrap(), lines };
        self.issued = Some(statement.clone());
        Some(statement)
    }

    fn acknowledge(&mut self, number: u64, voucher: SignedVoucher) -> Option<Reply> {
        if self.orders.lose_acknowledgements > 0 {
            self.orders.lose_acknowledgements -= 1;
            return None;
        }
        self.vouchers.push(voucher);
        if let Some(reason) = self.orders.refuse {
            return Some(Reply::refused(reason, ""));
        }
        let issued = self.issued.clone().unwrap();
        if issued.number != number {
            return Some(Reply::refused(Refusal::Superseded, ""));
        }
        assert_eq!(voucher.cumulative, issued.total, "a voucher is over exactly the statement's total");
        if self.booked < number {
            self.booked = number;
            self.lines = issued.lines.clone();
            self.stored.retain(|stored| stored.seq > issued.through);
        }
        if self.orders.lose_answers > 0 {
            self.orders.lose_answers -= 1;
            return None;
        }
        Some(Reply::Acknowledged { total: issued.total })
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut received = Vec::new();
    loop {
        let mut chunk = vec![0; 64 * 1024];
        let length = stream.read(&mut chunk).await.ok()?;
        if length == 0 {
            return None;
        }
        received.extend_from_slice(&chunk[..length]);
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap();
        if received.len() >= end + 4 + length {
            return Some(received[end + 4..].to_vec());
        }
    }
}

async fn answer(stream: &mut TcpStream, status: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
}
