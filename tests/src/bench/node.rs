//! A node of ours as a side of a comparison: packets to wallets, subscriptions that are sealed commands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy::primitives::Address;
use anyhow::Result;
use minus_protocol::CommandBody;
use minus_protocol::packet::PACKET_VERSION;

use super::side::{Bodies, Side, post_head};
use super::stage::Stage;
use crate::world::network::Operator;

/// How a point begins that is not compressed; see `minus_protocol::packet`.
const UNCOMPRESSED: u8 = 4;

/// Something at an address that takes packets, and the first so many wallets of a stage.
pub struct NodeSide {
    name: String,
    stage: Arc<Stage>,
    address: SocketAddr,
    processes: Vec<u32>,
    bodies: Bodies,
    head: Vec<u8>,
    starts: Vec<[u8; 22]>,
    /// What each wallet's client holds, as a client that comes back tells its agent.
    received: Vec<AtomicU64>,
}

impl NodeSide {
    /// Posts to `operator`'s node; listens there.
    pub fn new(name: &str, stage: &Arc<Stage>, operator: &Operator, wallets: usize) -> Result<Self> {
        let processes = operator.node.lock().pid().into_iter().collect();
        Self::at(name, stage, Stage::address(operator)?, processes, wallets)
    }

    /// The same for other wallets than the stage's. Nobody listens to them here.
    #[must_use]
    pub fn posting_to(mut self, wallets: &[Address]) -> Self {
        self.starts = wallets.iter().map(start).collect();
        self
    }

    /// Posts to whatever takes packets at `address`.
    pub fn at(
        name: &str,
        stage: &Arc<Stage>,
        address: SocketAddr,
        processes: Vec<u32>,
        wallets: usize,
    ) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            stage: Arc::clone(stage),
            address,
            processes,
            bodies: Bodies::new(),
            head: post_head("/", address),
            starts: stage.addresses().iter().take(wallets).map(start).collect(),
            received: (0..wallets).map(|_| AtomicU64::new(0)).collect(),
        })
    }
}

/// How a packet to a wallet begins.
fn start(wallet: &Address) -> [u8; 22] {
    let mut start = [PACKET_VERSION; 22];
    start[1..21].copy_from_slice(wallet.as_slice());
    start[21] = UNCOMPRESSED;
    start
}

impl Side for NodeSide {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn channels(&self) -> usize {
        self.starts.len()
    }

    fn post(&self, channel: usize, message: u64, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.head);
        self.bodies.write(&self.starts[channel], message, request);
    }

    fn listen(&self, channel: usize) -> Result<Vec<u8>> {
        let resume_after = self.received[channel].load(Ordering::Relaxed);
        let (packet, _) = self.stage.seal(&self.stage.wallets[channel], |_| CommandBody::Subscribe { resume_after })?;
        let head = format!("POST / HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n", self.address, packet.len());
        Ok([head.as_bytes(), packet.as_bytes()].concat())
    }

    fn received(&self, channel: usize, number: u64) {
        self.received[channel].fetch_max(number, Ordering::Relaxed);
    }

    fn processes(&self) -> Vec<u32> {
        self.processes.clone()
    }
}
