//! `minus mandate`: leave to charge while nobody is there to sign.

use std::time::Duration;

use alloy::primitives::Address;
use clap::{Args, Subcommand};
use minus_bindings::Amount;

use super::Context;
use super::bars;
use super::output::facts;
use super::unlock::WalletArg;
use super::withdraw::moment;
use crate::error::Error;
use crate::mandate::{MandateOptions, MandateReport};

/// Let an agent charge what you owe while you are away.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  minus mandate set --wallet alice --agent 0xA9e7… --daily-cap 0.5
  minus mandate set --wallet alice --agent 0xA9e7… --daily-cap 0.5 --accrual-cap 5 --valid-for 90days
  minus mandate show --wallet alice --agent 0xA9e7…
  minus mandate revoke --wallet alice --agent 0xA9e7…

Without one, an agent is paid only by what you sign. What it charges is on account of your next
bills: nothing is paid twice. The caps are kept by the chain; whether it was owed, you see in
`minus statement` when you are back.")]
pub struct MandateArgs {
    /// What to do
    #[command(subcommand)]
    command: MandateCommand,
}

#[derive(Debug, Subcommand)]
enum MandateCommand {
    /// Give a mandate, or raise the one in force
    #[command(after_help = "\
Examples:
  minus mandate set --wallet alice --agent 0xA9e7… --daily-cap 0.5
  minus mandate set --wallet alice --agent 0xA9e7… --daily-cap 0.5 --accrual-cap 5 --valid-for 90days

Nothing has accrued when it is given. To lower it, revoke it and give another when it is over.")]
    Set(SetArgs),
    /// Show it, and what was paid ahead of your signatures
    #[command(after_help = "\
Examples:
  minus mandate show --wallet alice --agent 0xA9e7…
  minus mandate show --wallet alice --agent 0xA9e7… --json")]
    Show(PartiesArgs),
    /// Take it back; it ends after the notice period
    #[command(after_help = "\
Examples:
  minus mandate revoke --wallet alice --agent 0xA9e7…

Until the notice ends it accrues and bears charges as ever.")]
    Revoke(PartiesArgs),
}

#[derive(Debug, Args)]
struct PartiesArgs {
    #[command(flatten)]
    wallet: WalletArg,
    /// The agent node whose operator may charge
    #[arg(long, value_name = "NODE", required_unless_present = "operator", conflicts_with = "operator")]
    agent: Option<Address>,
    /// The operator itself, if you know it
    #[arg(long, value_name = "ADDRESS")]
    operator: Option<Address>,
}

#[derive(Debug, Args)]
struct SetArgs {
    #[command(flatten)]
    parties: PartiesArgs,
    /// How many tokens accrue in a day
    #[arg(long, value_name = "TOKENS")]
    daily_cap: Amount,
    /// How many gather at most while it does not charge [default: the daily cap]
    #[arg(long, value_name = "TOKENS")]
    accrual_cap: Option<Amount>,
    /// For how long, from now
    #[arg(long, value_name = "TIME", default_value = "365days", value_parser = humantime::parse_duration)]
    valid_for: Duration,
}

pub(super) async fn run(context: &Context, args: &MandateArgs) -> Result<(), Error> {
    let client = context.client().await?;
    let parties = match &args.command {
        MandateCommand::Set(set) => &set.parties,
        MandateCommand::Show(parties) | MandateCommand::Revoke(parties) => parties,
    };
    let name = parties.wallet.wallet.as_deref();
    let payee = client.payee(parties.agent, parties.operator).await?;
    let steps = bars::steps(context.output);
    let report = match &args.command {
        MandateCommand::Set(set) => {
            let options = MandateOptions {
                payee,
                daily_cap: set.daily_cap,
                accrual_cap: set.accrual_cap.unwrap_or(set.daily_cap),
                valid_for_s: set.valid_for.as_secs(),
            };
            client.set_mandate(&context.unlock(name)?, &options, &steps).await?
        }
        MandateCommand::Show(_) => client.mandate(context.wallet(name)?.address, payee).await?,
        MandateCommand::Revoke(_) => client.revoke_mandate(&context.unlock(name)?, payee, &steps).await?,
    };
    context.output.result(&report, lines);
    Ok(())
}

fn lines(report: &MandateReport) -> String {
    let mandate = &report.mandate;
    if mandate.valid_until == 0 {
        return format!("{} gave {} no mandate", report.payer, report.payee);
    }
    facts(&[
        ("payer", report.payer.to_string()),
        ("operator", report.payee.to_string()),
        ("daily cap", mandate.daily_cap.to_string()),
        ("gathers at most", mandate.accrual_cap.to_string()),
        ("valid until", moment(mandate.valid_until)),
        ("could be charged now", mandate.chargeable.to_string()),
        ("paid ahead of signatures", report.paid_ahead.to_string()),
    ])
}
