//! Statements: what an agent says an account has come to, and the customer's check before it signs.
//!
//! The customer computes the same lines from the packets it received and refuses with the name of the first line that
//! says more than its own count allows. What it accepts may be less than its count, never more.

use alloy::primitives::Address;
use minus_bindings::Amount;
use serde::{Deserialize, Serialize};

use crate::{
    meter::{self, MeterLine},
    tariff::Tariff,
};

/// How far ahead of the customer's clock a statement may be dated, in seconds: storage is charged up to that time.
pub const CLOCK_TOLERANCE_S: u64 = 120;

/// An account of a wallet with its agent. It covers the wallet's messages up to `through` and all that was acknowledged
/// before on the payer's account; signing a voucher over `total` settles it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Counts up with every statement of this account; only the latest can be acknowledged.
    pub number: u64,
    /// The wallet whose messages it covers.
    pub wallet: Address,
    /// The highest sequence number it covers.
    pub through: u64,
    /// When it was drawn up, seconds of Unix time: storage is counted until then.
    pub at: u64,
    /// The running total at which the account opened.
    pub base: Amount,
    /// The totals per tariff version, in ascending order.
    pub lines: Vec<MeterLine>,
    /// base + due(lines): what the voucher has to say.
    pub total: Amount,
}

/// The customer's own count, drawn up for the time of the statement in question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The wallet that is asked.
    pub wallet: Address,
    /// The highest sequence number that the customer holds durably.
    pub through: u64,
    /// The running total at which the account opened.
    pub base: Amount,
    /// All that was signed before, and every message up to the statement's `through` added by
    /// [`crate::meter::add_message`] at the statement's `at`.
    pub lines: Vec<MeterLine>,
}

/// The line of a statement that the customer's own count does not allow. Final for that statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// It is another wallet's.
    #[error("wallet: the statement is for {stated}, not for {own}")]
    Wallet {
        /// The statement's.
        stated: Address,
        /// The customer's.
        own: Address,
    },
    /// It covers messages that never arrived.
    #[error("through: the statement covers message {stated}, the last one received is {own}")]
    Through {
        /// The statement's.
        stated: u64,
        /// The customer's.
        own: u64,
    },
    /// It is dated in the future.
    #[error("clock: the statement is dated {stated}, it is {now} now")]
    Clock {
        /// The statement's, seconds of Unix time.
        stated: u64,
        /// The customer's, seconds of Unix time.
        now: u64,
    },
    /// The account did not open there.
    #[error("base: the statement starts from {stated} tokens, the account opened at {own}")]
    Base {
        /// The statement's.
        stated: Amount,
        /// The customer's.
        own: Amount,
    },
    /// Prices differ, a version is unknown to the customer, or a version is stated twice or out of order.
    #[error("tariff: version {tariff_version} is stated as {stated:?}, known as {own:?}")]
    Tariff {
        /// The version.
        tariff_version: u32,
        /// The statement's prices.
        stated: Tariff,
        /// The customer's; none if it knows no such version, the same as stated if the version's place is wrong.
        own: Option<Tariff>,
    },
    /// More was delivered than arrived.
    #[error("delivered: {stated} bytes are stated under tariff version {tariff_version}, {own} arrived")]
    Delivered {
        /// The version.
        tariff_version: u32,
        /// The statement's bytes.
        stated: u128,
        /// The customer's.
        own: u128,
    },
    /// More was relayed than the customer counts.
    #[error("relayed: {stated} bytes are stated under tariff version {tariff_version}, {own} are counted")]
    Relayed {
        /// The version.
        tariff_version: u32,
        /// The statement's bytes.
        stated: u128,
        /// The customer's.
        own: u128,
    },
    /// More was stored than the customer counts.
    #[error("byte-seconds: {stated} are stated under tariff version {tariff_version}, {own} are counted")]
    ByteSeconds {
        /// The version.
        tariff_version: u32,
        /// The statement's byte-seconds.
        stated: u128,
        /// The customer's.
        own: u128,
    },
    /// The sum is wrong.
    #[error("total: {stated} tokens are stated, the lines come to {}", computed.map_or("more than there are".into(), |own| own.to_string()))]
    Total {
        /// The statement's.
        stated: Amount,
        /// What its own base and lines add up to; none if to more than an amount can be.
        computed: Option<Amount>,
    },
}

impl Disagreement {
    /// The name of the line, for programs and reports.
    #[must_use]
    pub const fn line(&self) -> &'static str {
        match self {
            Self::Wallet { .. } => "wallet",
            Self::Through { .. } => "through",
            Self::Clock { .. } => "clock",
            Self::Base { .. } => "base",
            Self::Tariff { .. } => "tariff",
            Self::Delivered { .. } => "delivered",
            Self::Relayed { .. } => "relayed",
            Self::ByteSeconds { .. } => "byte-seconds",
            Self::Total { .. } => "total",
        }
    }
}

/// Whether the customer may sign `statement` at `now` (seconds of Unix time).
///
/// # Errors
/// The first [`Disagreement`], in the order of the statement's lines.
pub fn check(own: &Expected, statement: &Statement, now: u64) -> Result<(), Disagreement> {
    if statement.wallet != own.wallet {
        return Err(Disagreement::Wallet { stated: statement.wallet, own: own.wallet });
    }
    if statement.through > own.through {
        return Err(Disagreement::Through { stated: statement.through, own: own.through });
    }
    if statement.at > now.saturating_add(CLOCK_TOLERANCE_S) {
        return Err(Disagreement::Clock { stated: statement.at, now });
    }
    if statement.base != own.base {
        return Err(Disagreement::Base { stated: statement.base, own: own.base });
    }
    let mut last = None;
    for line in &statement.lines {
        if last >= Some(line.tariff_version) {
            return Err(Disagreement::Tariff {
                tariff_version: line.tariff_version,
                stated: line.tariff,
                own: Some(line.tariff),
            });
        }
        last = Some(line.tariff_version);
        check_line(&own.lines, line)?;
    }
    let computed = meter::total(statement.base, &statement.lines).ok();
    if computed != Some(statement.total) {
        return Err(Disagreement::Total { stated: statement.total, computed });
    }
    Ok(())
}

fn check_line(own: &[MeterLine], stated: &MeterLine) -> Result<(), Disagreement> {
    let tariff_version = stated.tariff_version;
    let own = own.iter().find(|line| line.tariff_version == tariff_version).ok_or(Disagreement::Tariff {
        tariff_version,
        stated: stated.tariff,
        own: None,
    })?;
    if stated.tariff != own.tariff {
        return Err(Disagreement::Tariff { tariff_version, stated: stated.tariff, own: Some(own.tariff) });
    }
    let (stated, own) = (stated.meter, own.meter);
    if stated.delivered > own.delivered {
        let (stated, own) = (stated.delivered, own.delivered);
        return Err(Disagreement::Delivered { tariff_version, stated, own });
    }
    if stated.relayed > own.relayed {
        let (stated, own) = (stated.relayed, own.relayed);
        return Err(Disagreement::Relayed { tariff_version, stated, own });
    }
    if stated.byte_seconds > own.byte_seconds {
        let (stated, own) = (stated.byte_seconds, own.byte_seconds);
        return Err(Disagreement::ByteSeconds { tariff_version, stated, own });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
