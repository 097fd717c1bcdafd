//! The lanes that owe something, a page at a time: a million of them never leave the database at once.

use minus_bindings::Amount;

use super::codec;
use super::lanes::LaneView;
use super::open::{Store, StoreError};
use super::state::{Hold, Reason, TransactionState};
use crate::alarms::{STUCK_AFTER_S, UNSENT_AFTER_S};
use crate::reports::{LanePage, LaneRecord};

/// In which order lanes are shown. Lanes that are equal in it come in the order of their vouchers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LaneSort {
    /// Those that owe most first.
    #[default]
    Exposure,
    /// Those that close first first; those that do not close last.
    TimeLeft,
    /// Those that wait longest first.
    Age,
}

impl LaneSort {
    /// The word of it, as in a query.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exposure => "exposure",
            Self::TimeLeft => "time_left",
            Self::Age => "age",
        }
    }
}

/// Which lanes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneFilter {
    /// How the payer's address begins, 0x-hex in lower case.
    pub payer: String,
    /// Why its voucher waits.
    pub held: Option<Hold>,
}

impl LaneFilter {
    /// The first text that begins differently: `~` sorts after every hex digit.
    fn payer_end(&self) -> String {
        format!("{}~", self.payer)
    }

    fn held(&self) -> &'static str {
        self.held.map_or("", Hold::as_str)
    }
}

/// What stands still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attention {
    /// Lanes that close within the safety margin and are in no transaction.
    pub closing: u64,
    /// When the first of them closes.
    pub closes_at: Option<u64>,
    /// Transactions that no endpoint has accepted for [`UNSENT_AFTER_S`].
    pub unsent: u64,
    /// Transactions that were not mined for [`STUCK_AFTER_S`].
    pub stuck: u64,
}

#[derive(sqlx::FromRow)]
struct LaneRow {
    id: i64,
    payer: String,
    payee: String,
    cumulative: String,
    state: String,
    held: Option<String>,
    reason: Option<String>,
    recorded_at: i64,
    lane_deposit: String,
    lane_paid: String,
    open_amount: String,
    lane_thaw_ends_at: i64,
    open_thaw_ends_at: i64,
    signer_ends_at: i64,
    seen_at: i64,
}

/// What is read of each lane's best voucher: the one that waits, else the one under way.
macro_rules! best_vouchers {
    ($($columns:tt)+) => {
        concat!(
            $($columns)+,
            " from vouchers v join lanes l on l.payer = v.payer and l.payee = v.payee
             where (v.state = 'recorded'
                    or (v.state in ('planned', 'submitted')
                        and not exists (select 1 from vouchers w where w.payer = v.payer and w.payee = v.payee
                                        and w.state = 'recorded'))) "
        )
    };
}

/// Those that fit a [`LaneFilter`].
macro_rules! lanes_that_fit {
    ($columns:literal, $($rest:tt)+) => {
        concat!(
            best_vouchers!($columns),
            "and v.payer >= $1 and v.payer < $2 and ($3 = '' or v.held = $3) ",
            $($rest)+
        )
    };
}

/// The columns of [`LaneRow`].
macro_rules! lane_page {
    ($($rest:tt)+) => {
        lanes_that_fit!(
            "select v.id, v.payer, v.payee, v.cumulative, v.state, v.held, v.reason, v.recorded_at,
                    l.lane_deposit, l.lane_paid, l.open_amount, l.lane_thaw_ends_at, l.open_thaw_ends_at,
                    l.signer_ends_at, l.seen_at",
            $($rest)+
        )
    };
}

/// When a lane closes: the least of three times of which 0 means never.
macro_rules! closes_at {
    () => {
        "(case when l.lane_thaw_ends_at > 0
                    and (l.open_thaw_ends_at = 0 or l.lane_thaw_ends_at <= l.open_thaw_ends_at)
                    and (l.signer_ends_at = 0 or l.lane_thaw_ends_at <= l.signer_ends_at) then l.lane_thaw_ends_at
               when l.open_thaw_ends_at > 0
                    and (l.signer_ends_at = 0 or l.open_thaw_ends_at <= l.signer_ends_at) then l.open_thaw_ends_at
               when l.signer_ends_at > 0 then l.signer_ends_at
               else 9223372036854775807 end)"
    };
}

/// Exact below 2^53 base units, nine thousand million tokens; above, neighbours may change places. For order alone.
const BY_EXPOSURE: &str = lane_page!(
    "order by cast(v.cumulative as double precision) - cast(l.lane_paid as double precision) desc, v.id
     limit $4 offset $5"
);
const BY_TIME_LEFT: &str = lane_page!("order by ", closes_at!(), ", v.id limit $4 offset $5");
const BY_AGE: &str = lane_page!("order by v.recorded_at, v.id limit $4 offset $5");
const BY_ROW: &str = lane_page!("and v.id > $5 order by v.id limit $4");
const COUNT: &str = lanes_that_fit!("select count(*)", "");
/// Sums of the 29 digits in parts. What was paid elsewhere already owes nothing, not less than nothing.
const OWED: &str = concat!(
    best_vouchers!(
        "select count(*) as lanes,
                cast(coalesce(sum(cast(substr(v.cumulative, 1, 9) as bigint)), 0) as bigint) as signed_high,
                cast(coalesce(sum(cast(substr(v.cumulative, 10, 10) as bigint)), 0) as bigint) as signed_middle,
                cast(coalesce(sum(cast(substr(v.cumulative, 20, 10) as bigint)), 0) as bigint) as signed_low,
                cast(coalesce(sum(cast(substr(l.lane_paid, 1, 9) as bigint)), 0) as bigint) as paid_high,
                cast(coalesce(sum(cast(substr(l.lane_paid, 10, 10) as bigint)), 0) as bigint) as paid_middle,
                cast(coalesce(sum(cast(substr(l.lane_paid, 20, 10) as bigint)), 0) as bigint) as paid_low"
    ),
    "and v.cumulative > l.lane_paid"
);
/// `not_worth_yet` within the margin is dust that was signed after a claim; `settled` is paid; `unfunded` has no money
/// that could leave.
const CLOSING: &str = concat!(
    "select count(*), min(closes_at) from (",
    best_vouchers!("select ", closes_at!(), " as closes_at"),
    "and v.state = 'recorded' and coalesce(v.held, '') not in ('not_worth_yet', 'settled', 'unfunded')
     and (l.lane_thaw_ends_at > 0 or l.open_thaw_ends_at > 0 or l.signer_ends_at > 0)) c
     where closes_at <= $1"
);

#[derive(sqlx::FromRow)]
struct OwedRow {
    lanes: i64,
    signed_high: i64,
    signed_middle: i64,
    signed_low: i64,
    paid_high: i64,
    paid_middle: i64,
    paid_low: i64,
}

impl Store {
    /// One page of the lanes that owe something.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lane_page(
        &self,
        filter: &LaneFilter,
        sort: LaneSort,
        limit: u32,
        offset: u64,
    ) -> Result<LanePage, StoreError> {
        let query = match sort {
            LaneSort::Exposure => BY_EXPOSURE,
            LaneSort::TimeLeft => BY_TIME_LEFT,
            LaneSort::Age => BY_AGE,
        };
        let lanes = self.lanes(query, filter, limit, codec::signed(offset)).await?;
        let total: i64 = sqlx::query_scalar(COUNT)
            .bind(&filter.payer)
            .bind(filter.payer_end())
            .bind(filter.held())
            .fetch_one(self.reader())
            .await?;
        Ok(LanePage { total: codec::unsigned(total)?, lanes })
    }

    /// The lanes that owe something after the one with voucher `after`, in the order of their vouchers: for reading
    /// all of them in short steps.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lanes_after(&self, after: i64, limit: u32) -> Result<Vec<LaneRecord>, StoreError> {
        self.lanes(BY_ROW, &LaneFilter::default(), limit, after).await
    }

    async fn lanes(
        &self,
        query: &'static str,
        filter: &LaneFilter,
        limit: u32,
        from: i64,
    ) -> Result<Vec<LaneRecord>, StoreError> {
        let rows: Vec<LaneRow> = sqlx::query_as(query)
            .bind(&filter.payer)
            .bind(filter.payer_end())
            .bind(filter.held())
            .bind(i64::from(limit))
            .bind(from)
            .fetch_all(self.reader())
            .await?;
        rows.into_iter().map(LaneRow::parse).collect()
    }

    /// What all lanes owe together, and how many they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn exposure(&self) -> Result<(Amount, u64), StoreError> {
        let row: OwedRow = sqlx::query_as(OWED).fetch_one(self.reader()).await?;
        let signed = joined(row.signed_high, row.signed_middle, row.signed_low);
        let paid = joined(row.paid_high, row.paid_middle, row.paid_low);
        Ok((signed.saturating_sub(paid), codec::unsigned(row.lanes)?))
    }

    /// What stands still at `now`; a lane is to be claimed `margin_s` before it closes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attention(&self, now: u64, margin_s: u64) -> Result<Attention, StoreError> {
        const OLDER: &str = "select count(*) from transactions where state = $1 and created_at < $2";
        let (closing, closes_at): (i64, Option<i64>) =
            sqlx::query_as(CLOSING).bind(codec::signed(now.saturating_add(margin_s))).fetch_one(self.reader()).await?;
        let older = async |state: TransactionState, seconds: u64| -> Result<u64, StoreError> {
            let count: i64 = sqlx::query_scalar(OLDER)
                .bind(state.as_str())
                .bind(codec::signed(now.saturating_sub(seconds)))
                .fetch_one(self.reader())
                .await?;
            codec::unsigned(count)
        };
        Ok(Attention {
            closing: codec::unsigned(closing)?,
            closes_at: closes_at.map(codec::unsigned).transpose()?,
            unsent: older(TransactionState::Planned, UNSENT_AFTER_S).await?,
            stuck: older(TransactionState::Submitted, STUCK_AFTER_S).await?,
        })
    }
}

/// A sum over the 29 digits of an amount column, taken in three parts, none of which overflows 63 bits below 10^8 rows.
fn joined(high: i64, middle: i64, low: i64) -> Amount {
    const PART: u128 = 10_000_000_000;
    let units = [high, middle, low]
        .into_iter()
        .try_fold(0u128, |sum, part| sum.checked_mul(PART)?.checked_add(u128::try_from(part).ok()?));
    // A total over all payers may exceed what one lane holds only if the token's supply does.
    units.and_then(|units| Amount::from_base_units(units).ok()).unwrap_or(Amount::MAX)
}

impl LaneRow {
    fn parse(self) -> Result<LaneRecord, StoreError> {
        let cumulative = codec::amount(&self.cumulative)?;
        let view = LaneView {
            deposit: codec::amount(&self.lane_deposit)?,
            paid: codec::amount(&self.lane_paid)?,
            open: codec::amount(&self.open_amount)?,
            ..LaneView::default()
        };
        let deadlines = [self.lane_thaw_ends_at, self.open_thaw_ends_at, self.signer_ends_at];
        let closes_at = deadlines.into_iter().filter(|at| *at > 0).min();
        Ok(LaneRecord {
            id: self.id,
            payer: codec::address(&self.payer)?,
            payee: codec::address(&self.payee)?,
            cumulative,
            paid: view.paid,
            exposure: cumulative.saturating_sub(view.paid),
            claimable: view.claimable(cumulative),
            deposit: view.deposit,
            open_balance: view.open,
            state: codec::word(&self.state)?,
            held: self.held.as_deref().map(codec::word::<Hold>).transpose()?,
            reason: self.reason.as_deref().map(codec::word::<Reason>).transpose()?,
            recorded_at: codec::unsigned(self.recorded_at)?,
            closes_at: closes_at.map(codec::unsigned).transpose()?,
            seen_at: codec::unsigned(self.seen_at)?,
        })
    }
}
