//! `minus withdraw`: notice first, money when the notice has ended. The same command takes both steps.

use std::time::{Duration, UNIX_EPOCH};

use alloy::primitives::Address;
use clap::Args;
use minus_bindings::Amount;

use super::Context;
use super::bars;
use super::output::facts;
use super::unlock::WalletArg;
use crate::error::Error;
use crate::money::{WithdrawOptions, WithdrawReport};

/// Give notice, and take tokens out of a lane when it has ended.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  minus withdraw --wallet alice --agent 0xA9e7… 5     give notice for 5 tokens
  minus withdraw --wallet alice --agent 0xA9e7…       the same command later takes them out
  minus withdraw --wallet alice --agent 0xA9e7… --cancel

The notice protects the agent: vouchers it holds are paid first. While it runs, the agent does
not count on what is leaving.")]
pub struct WithdrawArgs {
    /// How many tokens to give notice for [default: all of the lane]
    amount: Option<Amount>,
    #[command(flatten)]
    wallet: WalletArg,
    /// The agent node whose operator was prepaid
    #[arg(long, value_name = "NODE", required_unless_present = "operator", conflicts_with = "operator")]
    agent: Option<Address>,
    /// The operator itself, if you know it
    #[arg(long, value_name = "ADDRESS")]
    operator: Option<Address>,
    /// Who gets the tokens [default: the wallet]
    #[arg(long, value_name = "ADDRESS")]
    to: Option<Address>,
    /// Take the notice back
    #[arg(long, conflicts_with_all = ["amount", "to", "to_reserve"])]
    cancel: bool,
    /// Turn what comes out into the reserve asset
    #[arg(long)]
    to_reserve: bool,
}

/// A unix time as people write it.
pub(super) fn moment(unix_s: u64) -> String {
    let moment = UNIX_EPOCH.checked_add(Duration::from_secs(unix_s));
    moment.map_or_else(|| format!("unix time {unix_s}"), |moment| humantime::format_rfc3339_seconds(moment).to_string())
}

pub(super) async fn run(context: &Context, args: &WithdrawArgs) -> Result<(), Error> {
    let payer = context.unlock(args.wallet.wallet.as_deref())?;
    let client = context.client().await?;
    let payee = client.payee(args.agent, args.operator).await?;
    let options =
        WithdrawOptions { payee, amount: args.amount, to: args.to, cancel: args.cancel, to_reserve: args.to_reserve };
    let report = client.withdraw(&payer, &options, &bars::steps(context.output)).await?;
    context.output.result(&report, |report| match report {
        WithdrawReport::Thawing { amount, ends_at, .. } => facts(&[
            ("thawing", amount.to_string()),
            ("ends at", format!("{}; run the same command then", moment(*ends_at))),
        ]),
        WithdrawReport::Cancelled { .. } => "the notice was taken back".to_owned(),
        WithdrawReport::Withdrawn { amount, to, .. } => {
            facts(&[("withdrawn", amount.to_string()), ("to", to.to_string())])
        }
    });
    Ok(())
}
