//! Packets at the door, and what is known of those that are let in.

use alloy::primitives::{Address, B256};
use bytes::Bytes;
use minus_bindings::Amount;
use minus_protocol::Tariff;

use super::packets::Relay;
use crate::agent::lane::Lane;

/// A packet at the door.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) wallet: Address,
    /// Who is thought to pay; checked again by the writer.
    pub(crate) payer: Address,
    pub(crate) id: B256,
    pub(crate) packet: Bytes,
    pub(crate) now_s: u64,
    /// The relay that brought it, if it came in under a session.
    pub(crate) relay: Option<Relay>,
    pub(crate) own_operator: Address,
    pub(crate) tariff_version: u32,
    pub(crate) tariff: Tariff,
    pub(crate) lane: Lane,
    pub(crate) retention_s: u64,
    /// What the agent fronts for one payer at most.
    pub(crate) customer_credit: Amount,
    /// Bytes that wait for one payer's wallets at most.
    pub(crate) customer_quota: u64,
}

impl Arrival {
    /// The unit of every count and price.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.packet.len()).expect("a length fits 64 bits")
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    New {
        /// Its number in the wallet's queue.
        seq: u64,
    },
    Duplicate,
    /// The wallet is not, or no longer, on that payer's account.
    NotEntrusted,
    /// The lane cannot cover it.
    Spent,
    /// Too many bytes wait for this payer's wallets.
    OverQuota,
    /// The agent has fronted enough for this payer.
    OverCredit,
}

/// A packet that is let in, with everything that was decided about it: nothing of it is decided again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) wallet: Address,
    pub(super) payer: Address,
    pub(super) id: B256,
    pub(super) seq: u64,
    pub(super) now_s: u64,
    /// The relay that brought it.
    pub(super) relay: Option<Relay>,
    /// Whether that relay is owed for it. Nodes of one operator owe each other nothing.
    pub(super) is_owed: bool,
    pub(super) tariff_version: u32,
    pub(super) tariff: Tariff,
    /// The worst case it may still cost.
    pub(super) reserve: Amount,
    pub(super) packet: Bytes,
}

impl Kept {
    pub(super) fn bytes(&self) -> u64 {
        u64::try_from(self.packet.len()).expect("a length fits 64 bits")
    }

    /// The relay that is owed for bringing it.
    pub(super) fn creditor(&self) -> Option<Relay> {
        self.relay.filter(|_| self.is_owed)
    }
}
