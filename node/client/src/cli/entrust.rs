//! `minus entrust`: a wallet's route on chain, and its account at the agent.

use alloy::primitives::Address;
use clap::Args;

use super::Context;
use super::bars;
use super::output::facts;
use super::unlock::IdentityArgs;
use crate::entrust::EntrustOptions;
use crate::error::Error;

/// Make a node the agent of a wallet.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  minus entrust --wallet alice --agent 0xA9e7…
  minus entrust --wallet phone --payer alice --agent 0xA9e7…

The wallet signs the route, the payer carries it to the chain and pays the gas. The payer's lane
to the agent's operator has to hold something first: `minus prepay`.")]
pub struct EntrustArgs {
    #[command(flatten)]
    identity: IdentityArgs,
    /// The node that is to receive for the wallet
    #[arg(long, value_name = "NODE")]
    agent: Address,
    /// The access node to command it through [default: straight to the agent]
    #[arg(long, value_name = "NODE")]
    via: Option<Address>,
}

pub(super) async fn run(context: &Context, args: &EntrustArgs) -> Result<(), Error> {
    let identity = context.identity(&args.identity)?;
    let client = context.client().await?;
    let options = EntrustOptions { agent: args.agent, via: args.via };
    let report = client.entrust(&identity, &options, &bars::steps(context.output)).await?;
    context.output.result(&report, |report| {
        facts(&[
            ("wallet", report.wallet.to_string()),
            ("payer", report.payer.to_string()),
            ("agent", report.agent.to_string()),
            ("operator", report.operator.to_string()),
            ("account opened at", report.base.to_string()),
        ])
    });
    Ok(())
}
