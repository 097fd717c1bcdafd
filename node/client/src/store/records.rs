//! What the books are made of, as values: the rows of [`super::books`] and what is judged and written in one transaction.

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};
use minus_protocol::{Carriage, MeterLine};

/// What one agent keeps for one payer, as this client counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whose money.
    pub payer: Address,
    /// The agent node.
    pub agent: Address,
    /// Its operator, the lane's payee.
    pub operator: Address,
    /// The lane's running total when the account was opened.
    pub base: Amount,
    /// The last acknowledged statement's number; 0 before the first.
    pub statement: u64,
    /// Acknowledged meters, by tariff version.
    pub lines: Vec<MeterLine>,
}

/// A wallet entrusted to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrustment {
    /// The wallet.
    pub wallet: Address,
    /// The agent node.
    pub agent: Address,
    /// Who pays for it.
    pub payer: Address,
    /// Since when, unix seconds.
    pub entrusted_at: u64,
    /// Messages up to this sequence number are paid for and gone.
    pub acknowledged_through: u64,
}

/// The statement signed last on an account, until the agent is known to have booked it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement {
    /// Its number.
    pub number: u64,
    /// The wallet it was about.
    pub wallet: Address,
    /// The last message it covers.
    pub through: u64,
    /// Its time, unix seconds.
    pub at: u64,
    /// The running total it stated, and that was signed.
    pub total: Amount,
    /// The account's meters once it is booked.
    pub lines: Vec<MeterLine>,
}

/// A message as counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Its sequence number at the agent.
    pub seq: u64,
    /// What it is charged by.
    pub carriage: Carriage,
}

/// All that a statement is judged by, read in one transaction.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The account.
    pub account: Account,
    /// The wallet's entrustment.
    pub entrustment: Entrustment,
    /// The statement signed last, when it is not known to be booked.
    pub unconfirmed: Option<SignedStatement>,
    /// The wallet's messages that were received and not yet acknowledged.
    pub messages: Vec<Counted>,
}

/// What is written when a statement is found to be right.
#[derive(Debug, Clone)]
pub struct Signing {
    /// Whether the new statement shows that the unconfirmed one was booked.
    pub confirmed: bool,
    /// The new statement.
    pub statement: SignedStatement,
    /// The voucher for it.
    pub voucher: SignedVoucher,
}

/// A lane, as this client knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRecord {
    /// Whose money.
    pub payer: Address,
    /// To whom.
    pub operator: Address,
    /// The highest running total ever signed.
    pub signed: Amount,
}
