//! `minus balance`: what a wallet holds and what is on its lanes. Needs no password.

use alloy::primitives::Address;
use clap::Args;

use super::Context;
use super::output::{facts, table};
use crate::error::Error;
use crate::money::BalanceReport;

/// Show what a wallet holds and what is on its lanes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  minus balance --wallet alice
  minus balance --address 0x7E5F… --json")]
pub struct BalanceArgs {
    /// Name of the wallet [default: the only one]
    #[arg(long, value_name = "NAME", conflicts_with = "address")]
    wallet: Option<String>,
    /// Any address instead
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Address>,
}

pub(super) async fn run(context: &Context, args: &BalanceArgs) -> Result<(), Error> {
    let address = match args.address {
        Some(address) => address,
        None => context.wallet(args.wallet.as_deref())?.address,
    };
    let report = context.client().await?.balance(address).await?;
    context.output.result(&report, lines);
    Ok(())
}

fn lines(report: &BalanceReport) -> String {
    let mut text = facts(&[
        ("address", report.address.to_string()),
        ("settlement tokens", report.tokens.to_string()),
        ("reserve asset", report.reserve.to_string()),
        ("gas (wei)", report.gas_wei.clone()),
        ("open balance", report.open_balance.deposit.to_string()),
    ]);
    if report.lanes.is_empty() {
        text.push_str("no lanes; `minus prepay` opens one\n");
        return text;
    }
    let rows = report.lanes.iter().map(|lane| {
        [
            lane.operator.to_string(),
            lane.lane.deposit.to_string(),
            lane.lane.thawing.to_string(),
            lane.lane.paid.to_string(),
            lane.signed.to_string(),
            lane.unclaimed.to_string(),
        ]
    });
    text.push('\n');
    text.push_str(&table(["LANE TO OPERATOR", "DEPOSIT", "THAWING", "PAID", "SIGNED", "UNCLAIMED"], rows));
    text
}
