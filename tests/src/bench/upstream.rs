//! An agent that does nothing: it opens relays' sessions, says of every packet that it is stored, and stores none. So what
//! is measured before it is the relay, and nginx before the same. It takes several packets in one request from the relays
//! that it told so, and one from everybody else.

use std::net::SocketAddr;
use std::sync::Arc;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::Eip712Domain;
use anyhow::{Result, bail};
use minus_bindings::Amount;
use minus_protocol::{
    CONTENT_BUNDLE, Command, CommandBody, Judgement, Packet, RelayStatement, Reply, SealingSecret, Status,
    bundle::{ACCEPT_POST, BUNDLE_PACKETS_MAX, join_answers, split},
    open,
    packet::PACKET_VERSION,
    random_bytes, seal_reply,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use super::side::BODY_BYTES;
use super::stage::Stage;
use super::wire::{BodyEnd, head};
use crate::world::command::PASSWORD;
use crate::world::network::Operator;

/// How long a session lasts: longer than any run.
const SESSION_MS: u64 = 86_400_000;

/// Who it pretends to be.
struct Agent {
    address: Address,
    operator: Address,
    secret: SealingSecret,
    domain: Eip712Domain,
    /// Which relay may bring several packets in one request.
    bundler: Address,
    stored: Vec<u8>,
    /// The answer to a bundle, by the number of its packets.
    stored_together: Vec<Vec<u8>>,
}

/// The running upstream, on a thread of its own. Dropped, it ends.
pub struct Upstream {
    /// Where it listens: where the routing table says that the operator's node does.
    pub address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Upstream {
    /// In the place of an operator's node, with that node's key. Takes bundles from `bundler`'s.
    pub fn start(stage: &Stage, operator: &Operator, bundler: &Operator) -> Result<Self> {
        let file = operator.node_config().with_file_name("node-key.json");
        let key = PrivateKeySigner::decrypt_keystore(file, PASSWORD)?;
        let body = r#"{"stored":"new"}"#;
        let metered = BODY_BYTES.try_into()?;
        let one = Judgement::Answered { status: Status::Stored, metered, body: body.as_bytes().into() };
        let stored_together = |packets| {
            let answers = join_answers(&vec![one.clone(); packets]);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {CONTENT_BUNDLE}\r\ncontent-length: {}\r\n\r\n",
                answers.len()
            );
            [head.as_bytes(), &answers].concat()
        };
        let agent = Agent {
            bundler: bundler.node_address,
            stored_together: (0..=BUNDLE_PACKETS_MAX).map(stored_together).collect(),
            address: operator.node_address,
            operator: operator.address,
            secret: SealingSecret::derive(&key.to_bytes().0),
            domain: stage.network.deployment.routing_domain(),
            stored: format!(
                "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\nminus-metered: {BODY_BYTES}\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        };
        let address = Stage::address(operator)?;
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let stop = CancellationToken::new();
        let until = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async {
                let _ = until.run_until_cancelled(accept(listener, Arc::new(agent))).await;
            });
        });
        Ok(Self { address, stop })
    }
}

async fn accept(listener: std::net::TcpListener, agent: Arc<Agent>) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let agent = Arc::clone(&agent);
        // Whoever it serves ends a connection when it likes.
        tokio::task::spawn_local(async move { serve(stream, &agent).await });
    }
}

async fn serve(mut stream: TcpStream, agent: &Agent) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        let head = loop {
            if let Some(head) = head(&bytes)? {
                break head;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        let BodyEnd::Length(length) = head.body else { bail!("a request without a length") };
        let end = head.bytes + length;
        while bytes.len() < end {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        let body = &bytes[head.bytes..end];
        if body.first() != Some(&PACKET_VERSION) {
            // No packet, and so a bundle: by its first byte, which costs nothing where none come.
            stream.write_all(&agent.stored_together[split(body)?.len()]).await?;
        } else if body.get(1..21) == Some(agent.address.as_slice()) {
            let answer = agent.obey(body)?;
            stream.write_all(&answer).await?;
        } else {
            stream.write_all(&agent.stored).await?;
        }
        bytes.drain(..end);
    }
}

impl Agent {
    /// The answer to a relay's command.
    fn obey(&self, body: &[u8]) -> Result<Vec<u8>> {
        let opened = open(&Packet::parse(body.to_vec())?, &self.secret, &self.domain)?;
        let command = Command::decode(&opened.body)?;
        let reply = match command.body {
            CommandBody::OpenPeerSession => {
                Reply::PeerSession { token: random_bytes(), expires_at_ms: opened.sent_at_ms + SESSION_MS }
            }
            CommandBody::RequestVoucher { inbound_bytes, outbound_bytes } => Reply::RelayVoucher(RelayStatement {
                operator_payer: self.operator,
                base: Amount::ZERO,
                lines: Vec::new(),
                inbound_bytes,
                outbound_bytes,
                total: Amount::ZERO,
                voucher: None,
            }),
            other => bail!("not a relay's command: {other:?}"),
        };
        let sealed = seal_reply(&command.session, &reply);
        let takes =
            if opened.sender == self.bundler { format!("{ACCEPT_POST}: {CONTENT_BUNDLE}\r\n") } else { String::new() };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n{takes}content-length: {}\r\n\r\n",
            sealed.len()
        );
        Ok([head.as_bytes(), &sealed].concat())
    }
}
