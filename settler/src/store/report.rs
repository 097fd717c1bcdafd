//! What `status` and the metrics show of the log.

use minus_bindings::Amount;

use super::codec;
use super::lanes::LaneView;
use super::open::{Store, StoreError};
use super::state::{Hold, Reason, TransactionState, VoucherState};
use crate::api::{LaneLine, LogSummary, TransactionLine, VoucherCount};

/// Lines of a list in an answer (law 13).
pub const LINES_MAX: u32 = 1_000;
const WEI_PER_GWEI: u128 = 1_000_000_000;

#[derive(sqlx::FromRow)]
struct LaneRow {
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
}

#[derive(sqlx::FromRow)]
struct SummedRow {
    id: i64,
    nonce: i64,
    state: String,
    created_at: i64,
    hash: Option<String>,
    mined_block: Option<i64>,
    gas_used: Option<i64>,
    fee_wei: Option<String>,
    rows: i64,
    moved: Option<String>,
}

impl Store {
    /// Counts and sums of everything.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn summary(&self) -> Result<LogSummary, StoreError> {
        let mut summary = LogSummary::default();
        for state in VoucherState::ALL {
            summary.vouchers.insert(*state, VoucherCount::default());
        }
        for state in TransactionState::ALL {
            summary.transactions.insert(*state, 0);
        }

        let counts: Vec<(String, i64)> =
            sqlx::query_as("select state, count(*) from vouchers group by state").fetch_all(self.reader()).await?;
        for (state, count) in counts {
            let count = VoucherCount { count: codec::unsigned(count)?, paid: Amount::ZERO };
            summary.vouchers.insert(codec::word(&state)?, count);
        }
        let transactions: Vec<(String, i64)> =
            sqlx::query_as("select state, count(*) from transactions group by state").fetch_all(self.reader()).await?;
        for (state, count) in transactions {
            summary.transactions.insert(codec::word(&state)?, codec::unsigned(count)?);
        }
        let held: Vec<(String, i64)> = sqlx::query_as(
            "select held, count(*) from vouchers where state = 'recorded' and held is not null group by held",
        )
        .fetch_all(self.reader())
        .await?;
        for (hold, count) in held {
            let (hold, count) = (codec::word::<Hold>(&hold)?, codec::unsigned(count)?);
            if hold.is_risk() {
                summary.at_risk += count;
            }
            summary.held.insert(hold, count);
        }
        let (mut paid, mut fees_wei) = (Amount::ZERO, 0_u128);
        for day in self.earnings(0, u64::MAX).await? {
            // A total over all payers exceeds what one lane holds only if the token's supply does.
            paid = paid.checked_add(day.moved).unwrap_or(Amount::MAX);
            fees_wei = fees_wei.saturating_add(day.fee_wei);
            summary.gas_used = summary.gas_used.saturating_add(day.gas_used);
        }
        summary.vouchers.entry(VoucherState::Confirmed).or_default().paid = paid;
        summary.fees_gwei = u64::try_from(fees_wei / WEI_PER_GWEI).unwrap_or(u64::MAX);
        Ok(summary)
    }

    /// The vouchers that are not confirmed, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lane_lines(&self) -> Result<Vec<LaneLine>, StoreError> {
        let rows: Vec<LaneRow> = sqlx::query_as(
            "select v.payer, v.payee, v.cumulative, v.state, v.held, v.reason, v.recorded_at, l.lane_deposit,
                    l.lane_paid, l.open_amount, l.lane_thaw_ends_at, l.open_thaw_ends_at, l.signer_ends_at
             from vouchers v join lanes l on l.payer = v.payer and l.payee = v.payee
             where v.state <> 'confirmed' order by v.recorded_at, v.id limit $1",
        )
        .bind(i64::from(LINES_MAX))
        .fetch_all(self.reader())
        .await?;
        rows.into_iter().map(LaneRow::parse).collect()
    }

    /// The transactions, the latest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn transaction_lines(&self) -> Result<Vec<TransactionLine>, StoreError> {
        let rows: Vec<SummedRow> = sqlx::query_as(
            "select t.id, t.nonce, t.state, t.created_at,
                    coalesce(t.mined_hash, (select a.hash from attempts a where a.transaction_id = t.id
                                            order by a.ordinal desc limit 1)) as hash,
                    t.mined_block, t.gas_used, t.fee_wei, t.moved, t.planned_rows as rows
             from transactions t order by t.id desc limit $1",
        )
        .bind(i64::from(LINES_MAX))
        .fetch_all(self.reader())
        .await?;
        rows.into_iter().map(SummedRow::parse).collect()
    }
}

impl LaneRow {
    fn parse(self) -> Result<LaneLine, StoreError> {
        let cumulative = codec::amount(&self.cumulative)?;
        let view = LaneView {
            deposit: codec::amount(&self.lane_deposit)?,
            paid: codec::amount(&self.lane_paid)?,
            open: codec::amount(&self.open_amount)?,
            ..LaneView::default()
        };
        let deadlines = [self.lane_thaw_ends_at, self.open_thaw_ends_at, self.signer_ends_at];
        let closes_at = deadlines.into_iter().filter(|at| *at > 0).min();
        Ok(LaneLine {
            payer: codec::address(&self.payer)?,
            payee: codec::address(&self.payee)?,
            cumulative,
            paid: view.paid,
            claimable: view.claimable(cumulative),
            state: codec::word(&self.state)?,
            held: self.held.as_deref().map(codec::word::<Hold>).transpose()?,
            reason: self.reason.as_deref().map(codec::word::<Reason>).transpose()?,
            recorded_at: codec::unsigned(self.recorded_at)?,
            closes_at: closes_at.map(codec::unsigned).transpose()?,
        })
    }
}

impl SummedRow {
    fn parse(self) -> Result<TransactionLine, StoreError> {
        Ok(TransactionLine {
            id: self.id,
            nonce: codec::unsigned(self.nonce)?,
            state: codec::word(&self.state)?,
            created_at: codec::unsigned(self.created_at)?,
            hash: self.hash.as_deref().map(codec::hash).transpose()?,
            block: self.mined_block.map(codec::unsigned).transpose()?,
            gas_used: self.gas_used.map(codec::unsigned).transpose()?,
            fee_wei: self.fee_wei,
            rows: codec::unsigned(self.rows)?,
            paid: self.moved.as_deref().map(codec::amount).transpose()?.unwrap_or_default(),
        })
    }
}
