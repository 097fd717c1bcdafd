//! `minus statement`: both sides of a wallet's account. Signs nothing.

use alloy::primitives::Address;
use clap::Args;
use minus_protocol::MeterLine;

use super::Context;
use super::output::{facts, table};
use super::unlock::IdentityArgs;
use crate::account::{AccountReport, Side};
use crate::error::Error;

/// Show both sides of a wallet's account at its agent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  minus statement --wallet alice
  minus statement --wallet alice --json

Exit code 3 when the two sides differ.")]
pub struct StatementArgs {
    #[command(flatten)]
    identity: IdentityArgs,
    /// The access node to ask through [default: straight to the agent]
    #[arg(long, value_name = "NODE")]
    via: Option<Address>,
}

pub(super) async fn run(context: &Context, args: &StatementArgs) -> Result<(), Error> {
    let identity = context.identity(&args.identity)?;
    let report = context.client().await?.statement(&identity, args.via).await?;
    context.output.result(&report, lines);
    if report.agrees {
        Ok(())
    } else {
        Err(Error::Refused("the agent's side of the account is not what was counted and signed here".to_owned()))
    }
}

fn lines(report: &AccountReport) -> String {
    let mut text = facts(&[
        ("wallet", report.wallet.to_string()),
        ("payer", report.payer.to_string()),
        ("agent", report.agent.to_string()),
        ("operator", report.operator.to_string()),
        ("signed in all", report.signed.to_string()),
        ("messages not yet acknowledged", report.waiting_messages.to_string()),
    ]);
    text.push('\n');
    let rows = [("agent", &report.stated), ("here", &report.own)].into_iter().flat_map(|(name, side)| rows(name, side));
    text.push_str(&table(["SIDE", "TARIFF", "DELIVERED", "RELAYED", "BYTE-SECONDS", "TOTAL"], rows));
    text.push_str(if report.agrees { "\n\nboth sides agree" } else { "\n\nTHE TWO SIDES DIFFER" });
    text
}

fn rows(name: &str, side: &Side) -> Vec<[String; 6]> {
    let row = |line: &MeterLine| {
        [
            name.to_owned(),
            line.tariff_version.to_string(),
            line.meter.delivered.to_string(),
            line.meter.relayed.to_string(),
            line.meter.byte_seconds.to_string(),
            String::new(),
        ]
    };
    let total = side.total.map_or_else(|| "out of range".to_owned(), |total| total.to_string());
    let blank = String::new;
    let mut rows: Vec<_> = side.lines.iter().map(row).collect();
    rows.push([format!("{name}, opened at {}", side.base), blank(), blank(), blank(), blank(), total]);
    rows
}
