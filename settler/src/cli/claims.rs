//! `settler claims`: the transactions that claim.

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::admin_client::AdminClient;
use super::arguments::Running;
use super::outcome::{CommandError, say, say_json};
use super::table::{right, table, time};
use crate::clock::now_s;
use crate::reports::ClaimPage;
use crate::store::TransactionState;

/// Which claims.
#[derive(Debug, Args)]
pub struct Claims {
    /// Only those that stand here.
    #[arg(long, value_parser = PossibleValuesParser::new(TransactionState::ALL.iter().map(|state| state.as_str())))]
    state: Option<String>,
    /// Only those stored since: so long ago, as in 7days, or a time, as in 2026-05-31 or 2026-05-31T12:00:00Z.
    #[arg(long, value_parser = since)]
    since: Option<u64>,
    /// How many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// How many to skip.
    #[arg(long, default_value_t = 0)]
    offset: u64,
    #[command(flatten)]
    running: Running,
}

/// Unix seconds of a time, or of so long ago.
fn since(text: &str) -> Result<u64, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(now_s().saturating_sub(ago.as_secs()));
    }
    let whole = if text.len() == "2026-05-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let time = humantime::parse_rfc3339_weak(&whole)
        .map_err(|_| "write 7days, 12h, 2026-05-31 or 2026-05-31T12:00:00Z".to_owned())?;
    Ok(time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

impl Claims {
    /// Asks and prints.
    ///
    /// # Errors
    /// When no settler answers.
    pub async fn execute(self) -> Result<(), CommandError> {
        let Self { state, since, limit, offset, running } = self;
        let state = state.map(|state| format!("&state={state}")).unwrap_or_default();
        let path = format!("api/v1/claims?limit={limit}&offset={offset}&since={}{state}", since.unwrap_or(0));
        let page: ClaimPage = AdminClient::new(running.url)?.get(&path).await?;
        if running.json {
            return say_json(&page);
        }
        if page.claims.is_empty() {
            return say(if page.total == 0 { "there are no such claims" } else { "there are no more claims" });
        }
        let mut shown = table(&["stored", "state", "vouchers", "paid", "gas", "fee (wei)", "block", "transaction"]);
        for claim in &page.claims {
            shown.add_row(vec![
                time(claim.created_at),
                claim.state.to_string(),
                claim.vouchers.to_string(),
                claim.paid.to_string(),
                claim.gas_used.map(|gas| gas.to_string()).unwrap_or_default(),
                claim.fee_wei.clone().unwrap_or_default(),
                claim.block.map(|block| block.to_string()).unwrap_or_default(),
                claim.hash.map(|hash| hash.to_string()).unwrap_or_default(),
            ]);
        }
        right(&mut shown, &[2, 3, 4, 5, 6]);
        say(&shown.to_string())?;
        let count = u64::try_from(page.claims.len()).unwrap_or(u64::MAX);
        say(&format!("{}-{} of {} claims", offset + 1, offset + count, page.total))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_several_ways() {
        assert_eq!(since("1970-01-02").unwrap(), 86_400);
        assert_eq!(since("1970-01-02T00:00:01Z").unwrap(), 86_401);
        assert!(now_s() - since("1h").unwrap() - 3_600 < 60);
        assert!(since("yesterday").is_err() && since("").is_err());
    }
}
