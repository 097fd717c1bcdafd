//! `settler debts`: what the operators owe relays, and whether their escrow covers it.

use clap::Args;

use super::admin_client::AdminClient;
use super::arguments::Running;
use super::outcome::{CommandError, say, say_json};
use super::table::{right, span, table};
use crate::clock::now_s;
use crate::reports::DebtPage;

/// Which debts.
#[derive(Debug, Args)]
pub struct Debts {
    /// How many lanes.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// How many to skip.
    #[arg(long, default_value_t = 0)]
    offset: u64,
    #[command(flatten)]
    running: Running,
}

impl Debts {
    /// Asks and prints.
    ///
    /// # Errors
    /// When no settler answers.
    pub async fn execute(self) -> Result<(), CommandError> {
        let Self { limit, offset, running } = self;
        let path = format!("api/v1/debts?limit={limit}&offset={offset}");
        let page: DebtPage = AdminClient::new(running.url)?.get(&path).await?;
        if running.json {
            return say_json(&page);
        }
        for owing in &page.operators {
            let notice = match owing.under_notice.is_zero() {
                true => String::new(),
                false => format!(", {} of it by money under notice", owing.under_notice),
            };
            let covered = match owing.uncovered.is_zero() {
                true => "all of it is covered".to_owned(),
                false => format!("{} is not covered{notice}", owing.uncovered),
            };
            let lanes = if owing.lanes == 1 { "lane" } else { "lanes" };
            say(&format!("{} owes {} on {} {lanes}: {covered}", owing.payer, owing.due, owing.lanes))?;
        }
        if page.debts.is_empty() {
            return say(if page.total == 0 { "nothing is owed to relays" } else { "there are no more debts" });
        }
        let now = now_s();
        let mut shown =
            table(&["operator", "relay's operator", "due", "in the lane", "notice ends", "owes us", "waiting"]);
        for debt in &page.debts {
            let notice = debt.thaw_ends_at.map(|at| match at.saturating_sub(now) {
                0 => "over".to_owned(),
                left => span(left),
            });
            shown.add_row(vec![
                debt.payer.to_string(),
                debt.payee.to_string(),
                debt.due.to_string(),
                debt.deposit.to_string(),
                notice.unwrap_or_default(),
                debt.counterclaim.to_string(),
                span(now.saturating_sub(debt.recorded_at)),
            ]);
        }
        right(&mut shown, &[2, 3, 4, 5, 6]);
        say(&shown.to_string())?;
        let count = u64::try_from(page.debts.len()).unwrap_or(u64::MAX);
        say(&format!("{}-{} of {} debts", offset + 1, offset + count, page.total))
    }
}
