//! `settler claim --now`: asks the running settler to claim everything that can be claimed, and waits until it is
//! confirmed. It never claims by itself: two that use one gas key would get in each other's way.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use minus_bindings::Amount;

use super::admin_client::AdminClient;
use super::arguments::{Running, duration};
use super::outcome::{CommandError, say, say_json};
use crate::api::ClaimProgress;

/// How often to ask how far it is.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// What to claim, and how long to wait for it.
#[derive(Debug, Args)]
pub struct Claim {
    /// Whatever the policy says. Lanes without money are left alone all the same.
    #[arg(long, required = true)]
    now: bool,
    /// Give up waiting after this long; the settler goes on by itself.
    #[arg(long, default_value = "5m", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    running: Running,
}

impl Claim {
    /// Asks and waits.
    ///
    /// # Errors
    /// When no settler answers, or it is not done in time.
    pub async fn execute(self) -> Result<(), CommandError> {
        let client = AdminClient::new(self.running.url)?;
        let deadline = tokio::time::Instant::now() + self.timeout;
        let mut progress: ClaimProgress = client.post("claim-now").await?;
        let path = format!("claim-now/{}", progress.request);
        let bar = bar(&progress, self.running.json);
        while !progress.done {
            if tokio::time::Instant::now() >= deadline {
                bar.abandon();
                let (open, timeout) = (progress.open, self.timeout);
                let message = format!(
                    "{open} vouchers are not confirmed after {timeout:?}; the settler goes on with them, and \
                     `settler status` shows what they wait for"
                );
                if self.running.json {
                    say_json(&progress)?;
                }
                return Err(CommandError::Failed(anyhow::anyhow!(message)));
            }
            tokio::time::sleep(ASK_EVERY).await;
            progress = client.get(&path).await?;
            bar.set_length(progress.open + progress.confirmed);
            bar.set_position(progress.confirmed);
        }
        bar.finish_and_clear();
        if self.running.json { say_json(&progress) } else { tell(&progress) }
    }
}

/// Draws nothing unless a person looks on.
fn bar(progress: &ClaimProgress, json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(progress.open + progress.confirmed);
    if let Ok(style) = ProgressStyle::with_template("claiming {bar:30} {pos}/{len} vouchers confirmed, {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(ASK_EVERY);
    bar
}

fn tell(progress: &ClaimProgress) -> Result<(), CommandError> {
    let mut total = Amount::ZERO;
    for claim in &progress.claims {
        let paid = claim.paid.unwrap_or_default();
        total = total.checked_add(paid).unwrap_or(Amount::MAX);
        match (claim.held, claim.transaction) {
            (Some(hold), _) => say(&format!("{} voucher of {} not claimed: {hold}", claim.payer, claim.cumulative))?,
            (None, Some(hash)) => say(&format!("{} paid {paid} in {hash}", claim.payer))?,
            (None, None) => say(&format!("{} paid {paid}", claim.payer))?,
        }
    }
    say(&format!("{} vouchers claimed for {total} tokens, {} not claimable", progress.confirmed, progress.held))
}
