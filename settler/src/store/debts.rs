//! What the operators of this settler owe relays: the vouchers that their own nodes issued, the highest of each lane, with
//! the chain's view of it. What became of one, its lane on the chain tells; see `migrations/`.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};

use super::codec;
use super::database::Write;
use super::intake::{CheckedVoucher, Recording};
use super::lanes::LaneView;
use super::open::{Store, StoreError};

/// What is owed on one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Debt {
    /// What our nodes signed: the payer is ours.
    pub voucher: SignedVoucher,
    /// Who signed it: the operator or one of its nodes.
    pub signer: Address,
    /// Since when something of it is not paid, unix seconds.
    pub recorded_at: u64,
    /// The chain's view of the lane; its open balance is ours.
    pub view: LaneView,
    /// When the chain was last asked.
    pub seen_at: u64,
    /// What the lane's payee has signed to us in turn and the chain has not paid.
    pub counterclaim: Amount,
    /// Does a transaction of ours carry it that has not ended?
    pub is_under_way: bool,
}

impl Debt {
    /// What is promised and not paid.
    #[must_use]
    pub fn due(&self) -> Amount {
        self.voucher.cumulative.saturating_sub(self.view.paid)
    }
}

#[derive(sqlx::FromRow)]
struct DebtRow {
    payer: String,
    payee: String,
    cumulative: String,
    signer: String,
    signature: String,
    recorded_at: i64,
    lane_deposit: String,
    lane_paid: String,
    lane_thawing: String,
    lane_thaw_ends_at: i64,
    open_amount: String,
    open_thawing: String,
    open_thaw_ends_at: i64,
    signer_ends_at: i64,
    seen_at: i64,
    claimed_by_us: Option<String>,
    signed_to_us: Option<String>,
    paid_to_us: Option<String>,
    under_way: i64,
}

/// The columns of [`DebtRow`].
macro_rules! debts {
    ($rest:literal) => {
        concat!(
            "select d.payer, d.payee, d.cumulative, d.signer, d.signature, d.recorded_at, d.lane_deposit, d.lane_paid,
                    d.lane_thawing, d.lane_thaw_ends_at, d.open_amount, d.open_thawing, d.open_thaw_ends_at,
                    d.signer_ends_at, d.seen_at,
                    (select max(v.claimed) from vouchers v where v.payer = d.payee and v.payee = d.payer)
                        as claimed_by_us,
                    (select v.cumulative from vouchers v
                     where v.payer = d.payee and v.payee = d.payer and v.state = 'recorded') as signed_to_us,
                    (select l.lane_paid from lanes l where l.payer = d.payee and l.payee = d.payer) as paid_to_us,
                    (select count(*) from netted n join transactions t on t.id = n.transaction_id
                     where n.payer = d.payer and n.payee = d.payee and t.state in ('planned', 'submitted'))
                        as under_way
             from debts d ",
            $rest
        )
    };
}

impl DebtRow {
    fn parse(self) -> Result<Debt, StoreError> {
        let to_us = |text: Option<String>| text.as_deref().map_or(Ok(Amount::ZERO), codec::amount);
        Ok(Debt {
            voucher: SignedVoucher {
                payer: codec::address(&self.payer)?,
                payee: codec::address(&self.payee)?,
                cumulative: codec::amount(&self.cumulative)?,
                signature: codec::signature(&self.signature)?,
            },
            signer: codec::address(&self.signer)?,
            recorded_at: codec::unsigned(self.recorded_at)?,
            view: LaneView {
                deposit: codec::amount(&self.lane_deposit)?,
                paid: codec::amount(&self.lane_paid)?,
                thawing: codec::amount(&self.lane_thawing)?,
                thaw_ends_at: codec::unsigned(self.lane_thaw_ends_at)?,
                open: codec::amount(&self.open_amount)?,
                open_thawing: codec::amount(&self.open_thawing)?,
                open_thaw_ends_at: codec::unsigned(self.open_thaw_ends_at)?,
                signer_ends_at: codec::unsigned(self.signer_ends_at)?,
            },
            seen_at: codec::unsigned(self.seen_at)?,
            counterclaim: to_us(self.signed_to_us.max(self.claimed_by_us))?.saturating_sub(to_us(self.paid_to_us)?),
            is_under_way: self.under_way > 0,
        })
    }
}

impl Store {
    /// Records what our nodes issued, in one transaction; all that is answered for is durable when this returns. A lane's
    /// larger voucher takes the place of a smaller one. A new lane beyond `debts_max` is left out by itself (laws 5 and 13).
    ///
    /// # Errors
    /// When the database fails; then nothing is recorded.
    pub async fn record_debts(
        &self,
        batch: &[CheckedVoucher],
        debts_max: u64,
        now: u64,
    ) -> Result<Vec<Recording>, StoreError> {
        let mut transaction = self.begin().await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for checked in batch {
            outcomes.push(record(&mut transaction, checked, debts_max, now).await?);
        }
        transaction.commit().await?;
        Ok(outcomes)
    }

    /// All debts, paid ones included, by payer and payee.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn debts(&self) -> Result<Vec<Debt>, StoreError> {
        const ALL: &str = debts!("order by d.payer, d.payee");
        let rows: Vec<DebtRow> = sqlx::query_as(ALL).fetch_all(self.reader()).await?;
        rows.into_iter().map(DebtRow::parse).collect()
    }

    /// The debts whose lane was last read before `seen_before`, the longest ago first, at most `limit`. One that was read
    /// after `now` was read by a clock that was wrong, and comes before all others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stale_debts(&self, seen_before: u64, now: u64, limit: u32) -> Result<Vec<Debt>, StoreError> {
        const STALE: &str =
            debts!("where d.seen_at <= $1 or d.seen_at > $2 order by d.seen_at <= $2, d.seen_at limit $3");
        let rows: Vec<DebtRow> = sqlx::query_as(STALE)
            .bind(codec::signed(seen_before))
            .bind(codec::signed(now))
            .bind(i64::from(limit))
            .fetch_all(self.reader())
            .await?;
        rows.into_iter().map(DebtRow::parse).collect()
    }

    /// Keeps what the chain showed of some of these lanes at `now`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_debt_views(&self, views: &[(Address, Address, LaneView)], now: u64) -> Result<(), StoreError> {
        let views: BTreeMap<_, _> = views.iter().map(|(payer, payee, view)| ((*payer, *payee), view)).collect();
        let mut transaction = self.begin().await?;
        for ((payer, payee), view) in views {
            sqlx::query(
                "update debts set lane_deposit = $1, lane_paid = $2, lane_thawing = $3, lane_thaw_ends_at = $4,
                                  open_amount = $5, open_thawing = $6, open_thaw_ends_at = $7, signer_ends_at = $8,
                                  seen_at = $9
                 where payer = $10 and payee = $11",
            )
            .bind(codec::amount_text(view.deposit))
            .bind(codec::amount_text(view.paid))
            .bind(codec::amount_text(view.thawing))
            .bind(codec::signed(view.thaw_ends_at))
            .bind(codec::amount_text(view.open))
            .bind(codec::amount_text(view.open_thawing))
            .bind(codec::signed(view.open_thaw_ends_at))
            .bind(codec::signed(view.signer_ends_at))
            .bind(codec::signed(now))
            .bind(codec::address_text(payer))
            .bind(codec::address_text(payee))
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    }
}

async fn record(
    transaction: &mut Write,
    checked: &CheckedVoucher,
    debts_max: u64,
    now: u64,
) -> Result<Recording, StoreError> {
    let (voucher, view) = (&checked.voucher, &checked.view);
    let (payer, payee) = (codec::address_text(voucher.payer), codec::address_text(voucher.payee));
    let (known, all): (i64, i64) = sqlx::query_as(
        "select (select count(*) from debts where payer = $1 and payee = $2), (select count(*) from debts)",
    )
    .bind(&payer)
    .bind(&payee)
    .fetch_one(&mut **transaction)
    .await?;
    if known == 0 && codec::unsigned(all)? >= debts_max {
        return Ok(Recording::NoRoom);
    }
    // As much by another signer counts when the first one was revoked.
    let recorded = sqlx::query(
        "insert into debts (payer, payee, cumulative, signer, signature, recorded_at, lane_deposit, lane_paid,
                            lane_thawing, lane_thaw_ends_at, open_amount, open_thawing, open_thaw_ends_at,
                            signer_ends_at, seen_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $6)
         on conflict (payer, payee) do update set
            recorded_at = case when debts.cumulative <= excluded.lane_paid then excluded.recorded_at
                               else debts.recorded_at end,
            cumulative = excluded.cumulative, signer = excluded.signer, signature = excluded.signature,
            lane_deposit = excluded.lane_deposit, lane_paid = excluded.lane_paid,
            lane_thawing = excluded.lane_thawing, lane_thaw_ends_at = excluded.lane_thaw_ends_at,
            open_amount = excluded.open_amount, open_thawing = excluded.open_thawing,
            open_thaw_ends_at = excluded.open_thaw_ends_at, signer_ends_at = excluded.signer_ends_at,
            seen_at = excluded.seen_at
         where excluded.cumulative > debts.cumulative
            or (excluded.cumulative = debts.cumulative and debts.signer_ends_at <> 0 and excluded.signer_ends_at = 0)",
    )
    .bind(&payer)
    .bind(&payee)
    .bind(codec::amount_text(voucher.cumulative))
    .bind(codec::address_text(checked.signer))
    .bind(codec::bytes_text(&voucher.signature))
    .bind(codec::signed(now))
    .bind(codec::amount_text(view.deposit))
    .bind(codec::amount_text(view.paid))
    .bind(codec::amount_text(view.thawing))
    .bind(codec::signed(view.thaw_ends_at))
    .bind(codec::amount_text(view.open))
    .bind(codec::amount_text(view.open_thawing))
    .bind(codec::signed(view.open_thaw_ends_at))
    .bind(codec::signed(view.signer_ends_at))
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    Ok(if recorded == 0 { Recording::SameAsBefore } else { Recording::Recorded })
}
