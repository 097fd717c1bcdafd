//! A node of the test's own making: a registered key and a plain TCP server that speaks the protocol over real HTTP, and
//! lies as it is told. It keeps count of what it was really brought and really gave.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use bytes::Bytes;
use minus_bindings::{Amount, SignedVoucher};
use minus_protocol::{
    CONTENT_BUNDLE, Command, CommandBody, Frame, Judgement, Meter, MeterLine, PACKET_BYTES_MAX, Packet, RelayStatement,
    Reply, SealingSecret, SessionKey, Status, StreamSealer,
    bundle::{ACCEPT_POST, join_answers, split},
    due, open, random_bytes, seal_reply,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::world::{TARIFF, World, units};

/// How the peer vouches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vouching {
    Honest,
    Never,
    /// A total that is not base plus lines.
    WrongTotal,
    WrongPayee,
    WrongSigner,
    /// Of more than the operator has.
    Uncovered,
    /// Bills by this version of its tariff, for nothing.
    FalsePrices(u32),
}

/// What the peer makes of a bundle. It says that it takes them, whatever it then does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bundling {
    /// Stores each packet and says so.
    Honest,
    /// Answers so many fewer, having stored all.
    Fewer,
    /// Answers one more.
    More,
    /// Answers what is no list of answers.
    Garbled,
    /// One 202 for all.
    OneReceipt,
    /// One status for all, and stores none.
    Status(&'static str),
    /// Asks for each by itself.
    Alone,
    /// Says of every other packet, the first among them, that it is not its agent.
    EveryOtherMisdirected,
    /// Ends the connection without a word.
    Gone,
    /// As honest, and only when it is released.
    Late,
}

/// What the peer does.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// The receipt's word in a 202.
    pub(crate) receipt: &'static str,
    /// What it says it counted of a packet; `None` is silence.
    pub(crate) metered: fn(u64) -> Option<u64>,
    /// What its statement says of the bytes it was brought.
    pub(crate) admits: fn(u128) -> u128,
    pub(crate) vouching: Vouching,
    /// Packets of so many bytes that a stream pushes before it breaks.
    pub(crate) pushes: Vec<usize>,
    /// What it makes of a bundle; none: it says that it takes none.
    pub(crate) bundles: Option<Bundling>,
    /// Instead of any answer to a packet: these bytes, and then whether the connection stays open without a word.
    pub(crate) raw: Option<(Vec<u8>, bool)>,
}

impl Manners {
    pub(crate) fn honest() -> Self {
        Self {
            receipt: "new",
            metered: Some,
            admits: |bytes| bytes,
            vouching: Vouching::Honest,
            pushes: Vec::new(),
            bundles: None,
            raw: None,
        }
    }
}

/// What really happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// Bytes answered 202.
    pub(crate) brought: u128,
    /// What the relay last claimed.
    pub(crate) claimed: (u128, u128),
    pub(crate) asked: u64,
    pub(crate) sessions: u64,
    pub(crate) streams: u64,
    /// Packets that got a raw answer, or none.
    pub(crate) raw: u64,
    /// Bundles that came, the packets in them, and packets that came alone.
    pub(crate) bundles: u64,
    pub(crate) bundled: u64,
    pub(crate) alone: u64,
}

struct Inner {
    signer: PrivateKeySigner,
    operator: Address,
    payee: Mutex<Address>,
    domain: alloy::sol_types::Eip712Domain,
    escrow: alloy::sol_types::Eip712Domain,
    manners: Mutex<Manners>,
    facts: Mutex<Facts>,
    released: Notify,
}

/// The running peer.
#[derive(Clone)]
pub(crate) struct Peer {
    inner: Arc<Inner>,
    pub(crate) url: String,
}

impl Peer {
    /// Registers a new key for a new operator and serves.
    pub(crate) async fn new(world: &World, manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (signer, operator) = (PrivateKeySigner::random(), world.person().await.address());
        world.register_key(operator, &signer, &url).await;
        let inner = Arc::new(Inner {
            signer,
            operator,
            payee: Mutex::default(),
            domain: world.deployment.routing_domain(),
            escrow: world.deployment.escrow_domain(),
            manners: Mutex::new(manners),
            facts: Mutex::default(),
            released: Notify::new(),
        });
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&serving);
                tokio::spawn(async move { inner.serve(stream).await });
            }
        });
        Self { inner, url }
    }

    pub(crate) fn node(&self) -> Address {
        self.inner.signer.address()
    }

    pub(crate) fn key(&self) -> &PrivateKeySigner {
        &self.inner.signer
    }

    pub(crate) fn operator(&self) -> Address {
        self.inner.operator
    }

    pub(crate) fn facts(&self) -> Facts {
        *self.inner.facts.lock().unwrap()
    }

    /// Whom its vouchers are for: the relay's operator.
    pub(crate) fn pays(&self, payee: Address) {
        *self.inner.payee.lock().unwrap() = payee;
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.inner.manners.lock().unwrap());
    }

    /// Ends the silences.
    pub(crate) fn release(&self) {
        self.inner.released.notify_waiters();
    }

    /// A wallet whose route leads here.
    pub(crate) async fn wallet(&self, world: &World) -> PrivateKeySigner {
        let wallet = PrivateKeySigner::random();
        world.set_route(&wallet, self.node()).await;
        wallet
    }
}

impl Inner {
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut buffer = Vec::new();
        loop {
            let (is_bundle, body) = request(&mut stream, &mut buffer).await?;
            if is_bundle {
                self.unpack(&mut stream, &body).await?;
                continue;
            }
            let packet = Packet::parse(body).ok()?;
            let manners = self.manners.lock().unwrap().clone();
            if packet.recipient() == self.signer.address() {
                self.obey(&mut stream, &packet, &manners).await?;
                continue;
            }
            self.facts.lock().unwrap().alone += 1;
            if let Some((bytes, stays)) = &manners.raw {
                self.facts.lock().unwrap().raw += 1;
                let released = self.released.notified();
                stream.write_all(bytes).await.ok()?;
                if *stays {
                    let _ = tokio::time::timeout(Duration::from_secs(120), released).await;
                }
                return None;
            }
            let length = u64::try_from(packet.len()).unwrap();
            self.facts.lock().unwrap().brought += u128::from(length);
            let metered =
                (manners.metered)(length).map_or(String::new(), |bytes| format!("minus-metered: {bytes}\r\n"));
            let receipt = format!("{{\"stored\":\"{}\"}}", manners.receipt);
            answer(&mut stream, "202 Accepted", &metered, receipt.as_bytes()).await?;
        }
    }

    /// A relay's packets that came together.
    async fn unpack(&self, stream: &mut TcpStream, body: &[u8]) -> Option<()> {
        let packets: Vec<_> =
            split(body).unwrap().into_iter().map(|part| Packet::parse(part.to_vec()).unwrap()).collect();
        let manners = self.manners.lock().unwrap().clone();
        let bundling = manners.bundles.expect("a bundle comes to whoever takes bundles");
        {
            let mut facts = self.facts.lock().unwrap();
            facts.bundles += 1;
            facts.bundled += u64::try_from(packets.len()).unwrap();
        }
        let mut judgements: Vec<_> = packets
            .iter()
            .enumerate()
            .map(|(place, packet)| match bundling {
                Bundling::Alone | Bundling::Gone | Bundling::Status(_) => Judgement::Alone,
                Bundling::EveryOtherMisdirected if place % 2 == 0 => {
                    Judgement::Answered { status: Status::Misdirected, metered: 0, body: Bytes::new() }
                }
                _ => {
                    let length = u64::try_from(packet.len()).unwrap();
                    self.facts.lock().unwrap().brought += u128::from(length);
                    let metered = (manners.metered)(length).unwrap_or_default();
                    let body = format!("{{\"stored\":\"{}\"}}", manners.receipt).into();
                    Judgement::Answered { status: Status::Stored, metered, body }
                }
            })
            .collect();
        match bundling {
            Bundling::Fewer => drop(judgements.pop()),
            Bundling::More => judgements.push(judgements[0].clone()),
            _ => {}
        }
        if bundling == Bundling::Late {
            let _ = tokio::time::timeout(Duration::from_secs(120), self.released.notified()).await;
        }
        let mut bytes = join_answers(&judgements);
        if bundling == Bundling::Garbled {
            bytes[0] = 0xff;
        }
        match bundling {
            Bundling::Gone => None,
            Bundling::Status(status) => answer(stream, status, "", b"").await,
            Bundling::OneReceipt => answer(stream, "202 Accepted", "", b"{\"stored\":\"new\"}").await,
            _ => answer_as(stream, "200 OK", CONTENT_BUNDLE, "", &bytes).await,
        }
    }

    async fn obey(&self, stream: &mut TcpStream, packet: &Packet, manners: &Manners) -> Option<()> {
        let secret = SealingSecret::derive(&self.signer.to_bytes().0);
        let opened = open(packet, &secret, &self.domain).ok()?;
        let Command { session, body } = Command::decode(&opened.body).ok()?;
        let reply = match body {
            CommandBody::OpenPeerSession => {
                self.facts.lock().unwrap().sessions += 1;
                Reply::PeerSession { token: random_bytes(), expires_at_ms: u64::MAX >> 12 }
            }
            CommandBody::RequestVoucher { inbound_bytes, outbound_bytes } => {
                let mut facts = self.facts.lock().unwrap();
                facts.asked += 1;
                facts.claimed = (inbound_bytes, outbound_bytes);
                Reply::RelayVoucher(self.statement(&facts, manners))
            }
            CommandBody::Subscribe { .. } => return self.push(stream, &session, &manners.pushes).await,
            _ => return None,
        };
        let takes_bundles = matches!(reply, Reply::PeerSession { .. }) && manners.bundles.is_some();
        let headers = if takes_bundles { format!("{ACCEPT_POST}: {CONTENT_BUNDLE}\r\n") } else { String::new() };
        answer(stream, "200 OK", &headers, &seal_reply(&session, &reply)).await
    }

    /// A stream that breaks after so many messages, before anybody could acknowledge them.
    async fn push(&self, stream: &mut TcpStream, session: &SessionKey, packets: &[usize]) -> Option<()> {
        self.facts.lock().unwrap().streams += 1;
        let mut sealer = StreamSealer::new(session, random_bytes());
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(sealer.opening_event().as_bytes()).await.ok()?;
        for (seq, bytes) in (1..).zip(packets) {
            let packet = vec![1; *bytes].into();
            let frame = Frame::Message { seq, stored_at: 1, tariff_version: 1, relayed: false, packet };
            stream.write_all(sealer.seal(&frame).as_bytes()).await.ok()?;
        }
        stream.shutdown().await.ok()?;
        None
    }

    fn statement(&self, facts: &Facts, manners: &Manners) -> RelayStatement {
        let inbound_bytes = (manners.admits)(facts.brought);
        let (version, tariff) = match manners.vouching {
            Vouching::FalsePrices(version) => (version, minus_protocol::Tariff::default()),
            _ => (1, TARIFF),
        };
        let meter = Meter { relayed: inbound_bytes, ..Meter::default() };
        let lines = vec![MeterLine { tariff_version: version, tariff, meter }];
        let payee = *self.payee.lock().unwrap();
        let mut total = due(&lines).unwrap();
        if manners.vouching == Vouching::WrongTotal {
            total = units(total.base_units() / 2);
        }
        let lines = if manners.vouching == Vouching::Uncovered { dear(inbound_bytes, &mut total) } else { lines };
        let sign = |payee| SignedVoucher::sign(self.operator, payee, total, &self.escrow, &self.signer);
        let voucher = match manners.vouching {
            Vouching::Never => None,
            Vouching::WrongPayee => Some(sign(Address::repeat_byte(7))),
            Vouching::WrongSigner => {
                Some(SignedVoucher::sign(self.operator, payee, total, &self.escrow, &PrivateKeySigner::random()))
            }
            _ => (total > Amount::ZERO).then(|| sign(payee)),
        };
        RelayStatement {
            operator_payer: self.operator,
            base: Amount::ZERO,
            lines,
            inbound_bytes,
            outbound_bytes: 0,
            total,
            voucher,
        }
    }
}

/// Lines that come to more than any operator of a test has.
fn dear(bytes: u128, total: &mut Amount) -> Vec<MeterLine> {
    let meter = Meter { relayed: bytes + (1 << 40), ..Meter::default() };
    let lines = vec![MeterLine { tariff_version: 1, tariff: TARIFF, meter }];
    *total = due(&lines).unwrap();
    lines
}

/// The body of the next request, and whether it is a bundle.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(bool, Vec<u8>)> {
    loop {
        let head = buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            let length: usize = length.unwrap_or(0);
            assert!(length <= PACKET_BYTES_MAX);
            if buffer.len() >= head + length {
                let rest = buffer.split_off(head + length);
                let body = std::mem::replace(buffer, rest).split_off(head);
                return Some((text.contains(CONTENT_BUNDLE), body));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

async fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> Option<()> {
    let content = if body.starts_with(b"{") { "application/json" } else { "application/octet-stream" };
    answer_as(stream, status, content, headers, body).await
}

async fn answer_as(stream: &mut TcpStream, status: &str, content: &str, headers: &str, body: &[u8]) -> Option<()> {
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: {content}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await.ok()
}
