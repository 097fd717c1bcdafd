//! `settler lanes`: the lanes whose vouchers the chain has not paid yet.

use clap::Args;

use super::admin_client::AdminClient;
use super::arguments::Running;
use super::outcome::{CommandError, say, say_json};
use super::table::{right, span, table};
use crate::clock::now_s;
use crate::lane_index::LaneSort;
use crate::reports::LanePage;

/// Which lanes.
#[derive(Debug, Args)]
pub struct Lanes {
    /// In which order.
    #[arg(long, value_enum, default_value = "exposure")]
    sort: LaneSort,
    /// How many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// How many to skip.
    #[arg(long, default_value_t = 0)]
    offset: u64,
    /// Only payers whose address begins so, as in 0x12ab.
    #[arg(long, default_value = "", hide_default_value = true)]
    payer: String,
    #[command(flatten)]
    running: Running,
}

impl Lanes {
    /// Asks and prints.
    ///
    /// # Errors
    /// When no settler answers.
    pub async fn execute(self) -> Result<(), CommandError> {
        if !self.payer.chars().all(|letter| letter.is_ascii_alphanumeric()) {
            return Err(CommandError::Usage("--payer is the beginning of an address, as in 0x12ab".to_owned()));
        }
        let Self { sort, limit, offset, payer, running } = self;
        let path = format!("api/v1/lanes?sort={}&limit={limit}&offset={offset}&payer={payer}", sort.as_str());
        let page: LanePage = AdminClient::new(running.url)?.get(&path).await?;
        if running.json {
            return say_json(&page);
        }
        if page.lanes.is_empty() {
            return say(if page.total == 0 { "no lane owes anything" } else { "there are no more lanes" });
        }
        let now = now_s();
        let mut shown = table(&["payer", "payee", "exposure", "backed", "time left", "waiting", "state", "why"]);
        for lane in &page.lanes {
            let why = lane.held.map(|hold| hold.to_string()).or_else(|| lane.reason.map(|reason| reason.to_string()));
            let left = lane.closes_at.map(|at| match at.saturating_sub(now) {
                0 => "over".to_owned(),
                left => span(left),
            });
            shown.add_row(vec![
                lane.payer.to_string(),
                lane.payee.to_string(),
                lane.exposure.to_string(),
                lane.claimable.to_string(),
                left.unwrap_or_default(),
                span(now.saturating_sub(lane.recorded_at)),
                lane.state.to_string(),
                why.unwrap_or_default(),
            ]);
        }
        right(&mut shown, &[2, 3, 4, 5]);
        say(&shown.to_string())?;
        let count = u64::try_from(page.lanes.len()).unwrap_or(u64::MAX);
        say(&format!("{}-{} of {} lanes", offset + 1, offset + count, page.total))
    }
}
