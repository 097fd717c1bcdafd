//! The lanes that owe something, read in short steps along an index: none of them holds up a writer, however many there are.

use alloy::primitives::Address;

use super::codec;
use super::lanes::LaneView;
use super::open::{Store, StoreError};
use super::state::{Hold, Reason, TransactionState};
use crate::reports::LaneRecord;

/// Which of a lane's vouchers stands for it: the one that waits; where none does, the one under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Best {
    /// Lanes whose best voucher waits.
    Waiting,
    /// Lanes in which only one that is under way is not paid.
    UnderWay,
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

/// The columns of [`LaneRow`].
macro_rules! lanes {
    ($rest:literal) => {
        concat!(
            "select v.id, v.payer, v.payee, v.cumulative, v.state, v.held, v.reason, v.recorded_at,
                    l.lane_deposit, l.lane_paid, l.open_amount, l.lane_thaw_ends_at, l.open_thaw_ends_at,
                    l.signer_ends_at, l.seen_at
             from vouchers v join lanes l on l.payer = v.payer and l.payee = v.payee where ",
            $rest
        )
    };
}

impl Store {
    /// The lanes that owe something after one of them, in the order of payer and payee.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lanes_after(
        &self,
        best: Best,
        after: Option<(Address, Address)>,
        limit: u32,
    ) -> Result<Vec<LaneRecord>, StoreError> {
        const WAITING: &str =
            lanes!("v.state = 'recorded' and (v.payer, v.payee) > ($1, $2) order by v.payer, v.payee limit $3");
        const UNDER_WAY: &str = lanes!(
            "v.state in ('planned', 'submitted') and (v.payer, v.payee) > ($1, $2)
             and not exists (select 1 from vouchers w where w.payer = v.payer and w.payee = v.payee
                             and w.state = 'recorded')
             order by v.payer, v.payee limit $3"
        );
        let query = match best {
            Best::Waiting => WAITING,
            Best::UnderWay => UNDER_WAY,
        };
        let (payer, payee) =
            after.map(|(payer, payee)| (codec::address_text(payer), codec::address_text(payee))).unwrap_or_default();
        let rows: Vec<LaneRow> =
            sqlx::query_as(query).bind(payer).bind(payee).bind(i64::from(limit)).fetch_all(self.reader()).await?;
        rows.into_iter().map(LaneRow::parse).collect()
    }

    /// The lanes of these vouchers, in this order; those that were paid meanwhile are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lanes_of(&self, vouchers: &[i64]) -> Result<Vec<LaneRecord>, StoreError> {
        const ONE: &str = lanes!("v.id = $1 and v.state <> 'confirmed'");
        let mut lanes = Vec::with_capacity(vouchers.len());
        for voucher in vouchers {
            let row: Option<LaneRow> = sqlx::query_as(ONE).bind(voucher).fetch_optional(self.reader()).await?;
            lanes.extend(row.map(LaneRow::parse).transpose()?);
        }
        Ok(lanes)
    }

    /// How many transactions stand so since before this.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn transactions_older(&self, state: TransactionState, before: u64) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("select count(*) from transactions where state = $1 and created_at < $2")
            .bind(state.as_str())
            .bind(codec::signed(before))
            .fetch_one(self.reader())
            .await?;
        codec::unsigned(count)
    }
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
