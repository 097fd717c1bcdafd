//! Reads every meter and the chain, and says whether they are equal: the payer's book, the payee's book and what
//! really moved, to the base unit (laws 9 and 11).

use alloy::primitives::Address;
use anyhow::{Context, Result, bail, ensure};
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use minus_bindings::Amount;
use minus_protocol::MeterLine;
use serde::Deserialize;

/// One payment relation as three witnesses saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Who paid whom, for people.
    pub payer: String,
    /// Who was paid.
    pub payee: String,
    /// What the payer's own meter counted.
    pub payer_counts: Counts,
    /// What the payee's own meter counted.
    pub payee_counts: Counts,
    /// What the payer's counts cost at the tariff.
    pub payer_due: Amount,
    /// What the payee's counts cost at the tariff.
    pub payee_due: Amount,
    /// What the escrow says was paid on this lane.
    pub on_chain: Amount,
}

/// What was metered, summed over tariff versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of packets handed to the customer.
    pub delivered: u128,
    /// Bytes of packets through relays, each leg counted.
    pub relayed: u128,
    /// Bytes of packets times the seconds that they were stored.
    pub byte_seconds: u128,
}

impl Counts {
    /// The counts of a list of meter lines.
    pub fn of(lines: &[MeterLine]) -> Self {
        lines.iter().fold(Self::default(), |sum, line| Self {
            delivered: sum.delivered + line.meter.delivered,
            relayed: sum.relayed + line.meter.relayed,
            byte_seconds: sum.byte_seconds + line.meter.byte_seconds,
        })
    }
}

/// `GET /meters` of a node's administration port.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeMeters {
    /// What customers used, by payer.
    pub customers: Vec<CustomerMeter>,
    /// What relays carried for this agent, by their operator.
    pub owed: Vec<OwedMeter>,
    /// What this relay carried for others, by agent.
    pub earned: Vec<EarnedMeter>,
}

/// One customer's account at its agent.
#[derive(Debug, Clone, Deserialize)]
pub struct CustomerMeter {
    /// Who pays.
    pub payer: Address,
    /// The running total at which the account was opened.
    pub base: Amount,
    /// What was acknowledged, by tariff version.
    pub lines: Vec<MeterLine>,
    /// `base` plus what the lines cost.
    pub total: Amount,
}

/// What an agent owes one relay operator.
#[derive(Debug, Clone, Deserialize)]
pub struct OwedMeter {
    /// Who is paid.
    pub relay_operator: Address,
    /// The running total at which the account was opened.
    pub base: Amount,
    /// What was relayed, by tariff version.
    pub lines: Vec<MeterLine>,
    /// `base` plus what the lines cost.
    pub total: Amount,
}

/// What a relay counted for one agent.
#[derive(Debug, Clone, Deserialize)]
pub struct EarnedMeter {
    /// The agent's node address.
    pub agent: Address,
    /// Bytes of packets carried to the agent.
    pub inbound_bytes: u128,
    /// Bytes of packets carried from the agent.
    pub outbound_bytes: u128,
    /// The highest running total that a voucher holds.
    pub vouchered: Amount,
}

/// Compares the witnesses. Fails with every difference; the table is worth showing either way.
pub fn reconcile(payments: &[Payment]) -> Result<()> {
    ensure!(!payments.is_empty(), "nobody paid anybody");
    let mut differences = Vec::new();
    for payment in payments {
        let who = format!("{} → {}", payment.payer, payment.payee);
        if payment.payer_counts != payment.payee_counts {
            differences.push(format!(
                "{who}: the payer counted {:?}, the payee {:?}",
                payment.payer_counts, payment.payee_counts
            ));
        }
        if payment.payer_due != payment.on_chain || payment.payee_due != payment.on_chain {
            differences.push(format!(
                "{who}: due {} by the payer's meter, {} by the payee's, paid on chain {}",
                payment.payer_due, payment.payee_due, payment.on_chain
            ));
        }
        if payment.on_chain == Amount::ZERO {
            differences.push(format!("{who}: nothing was paid"));
        }
    }
    if differences.is_empty() { Ok(()) } else { bail!("the books differ:\n  {}", differences.join("\n  ")) }
}

/// Who paid whom for what, from the chain and from the meters, side by side.
pub fn table(payments: &[Payment]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "payer → payee",
        "delivered B",
        "relayed B",
        "stored B·s",
        "payer's meter",
        "payee's meter",
        "on chain",
    ]);
    for payment in payments {
        let counts = payment.payee_counts;
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(format!("{} → {}", payment.payer, payment.payee)),
            right(counts.delivered.to_string()),
            right(counts.relayed.to_string()),
            right(counts.byte_seconds.to_string()),
            right(payment.payer_due.base_units().to_string()),
            right(payment.payee_due.base_units().to_string()),
            right(payment.on_chain.base_units().to_string()),
        ]);
    }
    table
}

/// Reads the meters of the node whose administration port is at `admin`.
pub async fn node_meters(admin: &str) -> Result<NodeMeters> {
    let url = format!("{admin}/meters");
    let answer = reqwest::get(&url).await.with_context(|| format!("{url} does not answer"))?;
    Ok(answer.error_for_status()?.json().await?)
}
