//! `minus prepay`: tokens into the lane to an agent's operator.

use alloy::primitives::Address;
use clap::Args;
use minus_bindings::Amount;

use super::Context;
use super::bars;
use super::output::facts;
use super::unlock::WalletArg;
use crate::error::Error;
use crate::money::PrepayOptions;

/// Put tokens into the lane to an agent's operator.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  minus prepay --wallet alice --agent 0xA9e7… 10
  minus prepay --wallet alice --agent 0xA9e7… --from-reserve 2.5 --json

Only what you sign for leaves the lane. What is left comes back with `minus withdraw`, after a
notice.")]
pub struct PrepayArgs {
    /// How many tokens: 10, or 0.25
    amount: Amount,
    #[command(flatten)]
    wallet: WalletArg,
    /// The agent node whose operator is to be prepaid
    #[arg(long, value_name = "NODE", required_unless_present = "operator", conflicts_with = "operator")]
    agent: Option<Address>,
    /// The operator itself, if you know it
    #[arg(long, value_name = "ADDRESS")]
    operator: Option<Address>,
    /// Turn what is missing of the reserve asset into settlement tokens first
    #[arg(long)]
    from_reserve: bool,
}

pub(super) async fn run(context: &Context, args: &PrepayArgs) -> Result<(), Error> {
    let payer = context.unlock(args.wallet.wallet.as_deref())?;
    let client = context.client().await?;
    let payee = client.payee(args.agent, args.operator).await?;
    let options = PrepayOptions { payee, amount: args.amount, from_reserve: args.from_reserve };
    let report = client.prepay(&payer, &options, &bars::steps(context.output)).await?;
    context.output.result(&report, |report| {
        facts(&[
            ("prepaid", report.amount.to_string()),
            ("payer", report.payer.to_string()),
            ("operator", report.payee.to_string()),
            ("lane now", report.lane.deposit.to_string()),
        ])
    });
    Ok(())
}
