//! `settler simulate`: what the running settler would do now, and why. Nothing is sent.

use alloy::primitives::Address;
use clap::Args;

use super::admin_client::AdminClient;
use super::arguments::Running;
use super::outcome::{CommandError, say, say_json};
use super::table::{right, span, table};
use crate::explain::{Explanation, Verdict};
use crate::reports::DryRun;
use crate::store::{Hold, Reason};

/// Which vouchers to explain.
#[derive(Debug, Args)]
pub struct Simulate {
    /// Only this payer's.
    #[arg(long)]
    payer: Option<Address>,
    /// How many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// How many to skip.
    #[arg(long, default_value_t = 0)]
    offset: u64,
    #[command(flatten)]
    running: Running,
}

impl Simulate {
    /// Asks and prints.
    ///
    /// # Errors
    /// When no settler answers, or it does not see the chain.
    pub async fn execute(self) -> Result<(), CommandError> {
        let Self { payer, limit, offset, running } = self;
        let payer = payer.map(|payer| format!("&payer={payer}")).unwrap_or_default();
        let path = format!("api/v1/dry-run?limit={limit}&offset={offset}{payer}");
        let run: DryRun = AdminClient::new(running.url)?.get(&path).await?;
        if running.json {
            return say_json(&run);
        }
        let cap = if run.above_cap { "above the cap: only what cannot wait is claimed" } else { "below the cap" };
        say(&format!("at block {} a claim would pay {} wei per gas, {cap}", run.head, run.fee_per_gas_wei))?;
        say(&format!("{} of {} waiting vouchers would be claimed now", run.claims, run.total))?;
        if run.explanations.is_empty() {
            return Ok(());
        }
        let mut shown = table(&["payer", "claimable", "gas cost", "worth it from", "now", "because", "by itself in"]);
        for explanation in &run.explanations {
            let (now, because) = words(explanation);
            let because = match explanation.netted.is_zero() {
                true => because.to_owned(),
                false => format!("{because}, netted with {} that it is owed", explanation.netted),
            };
            let later = explanation.claim_at.map(|at| at.saturating_sub(run.now)).filter(|left| *left > 0);
            shown.add_row(vec![
                explanation.payer.to_string(),
                explanation.claimable.to_string(),
                explanation.gas_cost.to_string(),
                explanation.threshold.to_string(),
                now.to_owned(),
                because,
                later.map(span).unwrap_or_default(),
            ]);
        }
        right(&mut shown, &[1, 2, 3, 6]);
        say(&shown.to_string())
    }
}

/// The verdict for a person.
fn words(explanation: &Explanation) -> (&'static str, &'static str) {
    match explanation.verdict {
        Verdict::Claim(reason) => (
            "claim",
            match reason {
                Reason::Thawing => "its money is under notice",
                Reason::SignerEnding => "its signer was revoked",
                Reason::Asked => "you asked",
                Reason::Exposed => "its payer owes more than exposure_max",
                Reason::Backing => "relays are owed more than is covered",
                Reason::Aged => "it waited long enough",
                Reason::Worth => "it is worth its gas many times",
            },
        ),
        Verdict::Hold(hold) => (
            "wait",
            match hold {
                Hold::Settled => "the chain has paid it",
                Hold::Unfunded => "there is no money behind it",
                Hold::NotWorthYet if explanation.above_cap => "the fee is above the cap",
                Hold::NotWorthYet => "it is not worth its gas yet",
                Hold::BadSignature => "its signer is none any more",
                Hold::Failed => "its last claim failed",
            },
        ),
    }
}
