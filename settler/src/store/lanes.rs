//! What the planner reads, and the chain's view of each lane.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};
use sqlx::AssertSqlSafe;

use super::board::NOTHING_UNDER_WAY;
use super::codec;
use super::database::Write;
use super::open::{Store, StoreError};
use super::rows::{Given, chunks};
use super::state::Hold;
use crate::netting::SetOff;

/// One lane as the chain showed it, with what else may pay its vouchers or end them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneView {
    /// Unclaimed in the lane, thawing included.
    pub deposit: Amount,
    /// Ever claimed.
    pub paid: Amount,
    /// How much of the lane is under notice.
    pub thawing: Amount,
    /// When that notice ends, unix seconds; 0 when there is none.
    pub thaw_ends_at: u64,
    /// The payer's open balance, thawing included.
    pub open: Amount,
    /// How much of that is under notice.
    pub open_thawing: Amount,
    /// When that notice ends; 0 when there is none.
    pub open_thaw_ends_at: u64,
    /// When the voucher's signer stops being one; 0 when that is not in sight.
    pub signer_ends_at: u64,
}

impl LaneView {
    /// What a claim of this voucher would move now: the difference, as far as there is money.
    #[must_use]
    pub fn claimable(&self, cumulative: Amount) -> Amount {
        let funds = self.deposit.checked_add(self.open).unwrap_or(Amount::MAX);
        cumulative.saturating_sub(self.paid).min(funds)
    }
}

/// A voucher that waits, and in no other state is a voucher of its lane under way.
#[derive(Debug, Clone)]
pub struct OpenVoucher {
    /// Its row.
    pub id: i64,
    /// What was signed.
    pub voucher: SignedVoucher,
    /// Who signed it.
    pub signer: Address,
    /// Since when money of this lane waits, unix seconds.
    pub recorded_at: u64,
    /// Not to be planned before.
    pub retry_at: u64,
    /// Did the operator ask for it?
    pub asked: bool,
    /// Why it was not claimed when last looked at.
    pub held: Option<Hold>,
    /// When its lane was last claimed because it was about to close, unix seconds; 0 when never.
    pub closing_claimed_at: u64,
    /// How often a claim of it failed.
    pub failures: u64,
    /// Does its payer owe more than the operator wants to be owed?
    pub exposed: bool,
    /// What we owe its payer, if that is to be paid in front of its claim.
    pub set_off: Option<Box<SetOff>>,
    /// Is its money needed to cover what our operator owes relays?
    pub backs: bool,
    /// The chain's view of its lane.
    pub view: LaneView,
}

impl OpenVoucher {
    /// What a claim of it would move now, with what is paid in front of it.
    #[must_use]
    pub fn claimable(&self) -> Amount {
        let paid_first = self.set_off.as_ref().map_or(Amount::ZERO, |set_off| set_off.pays);
        let open = self.view.open.checked_add(paid_first).unwrap_or(Amount::MAX);
        LaneView { open, ..self.view }.claimable(self.voucher.cumulative)
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct OpenRow {
    id: i64,
    payer: String,
    payee: String,
    cumulative: String,
    signature: String,
    signer: String,
    recorded_at: i64,
    retry_at: i64,
    asked: Option<i64>,
    held: Option<String>,
    closing_claimed_at: i64,
    failures: i64,
    lane_deposit: String,
    lane_paid: String,
    lane_thawing: String,
    lane_thaw_ends_at: i64,
    open_amount: String,
    open_thawing: String,
    open_thaw_ends_at: i64,
    signer_ends_at: i64,
}

impl OpenRow {
    pub(super) fn parse(self) -> Result<OpenVoucher, StoreError> {
        Ok(OpenVoucher {
            id: self.id,
            voucher: SignedVoucher {
                payer: codec::address(&self.payer)?,
                payee: codec::address(&self.payee)?,
                cumulative: codec::amount(&self.cumulative)?,
                signature: codec::signature(&self.signature)?,
            },
            signer: codec::address(&self.signer)?,
            recorded_at: codec::unsigned(self.recorded_at)?,
            retry_at: codec::unsigned(self.retry_at)?,
            asked: self.asked.is_some(),
            held: self.held.as_deref().map(codec::word).transpose()?,
            closing_claimed_at: codec::unsigned(self.closing_claimed_at)?,
            failures: codec::unsigned(self.failures)?,
            exposed: false,
            set_off: None,
            backs: false,
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
        })
    }
}

/// The columns of [`OpenRow`], of a voucher `v` and its lane `l`.
pub(super) const OPEN_COLUMNS: &str =
    "v.id, v.payer, v.payee, v.cumulative, v.signature, v.signer, v.recorded_at, v.retry_at, v.asked, v.failures,
     v.held, coalesce((select max(t.created_at) from vouchers c join transactions t on t.id = c.transaction_id
               where c.payer = v.payer and c.payee = v.payee and c.reason in ('thawing', 'signer_ending')), 0)
         as closing_claimed_at,
     l.lane_deposit, l.lane_paid, l.lane_thawing, l.lane_thaw_ends_at, l.open_amount, l.open_thawing,
     l.open_thaw_ends_at, l.signer_ends_at";

impl Store {
    /// The vouchers that may be planned: those with money behind them before those without; the operator's wishes first,
    /// then lanes that are about to close, then the oldest; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_vouchers(&self, limit: u32) -> Result<Vec<OpenVoucher>, StoreError> {
        let mut open: Vec<OpenVoucher> = self.look(|board| board.open().cloned().collect()).await?;
        open.sort_by_key(|open| {
            let view = &open.view;
            let closes = [view.thaw_ends_at, view.open_thaw_ends_at, view.signer_ends_at].iter().any(|at| *at != 0);
            (view.deposit.is_zero() && view.open.is_zero(), !open.asked, !closes, open.recorded_at, open.id)
        });
        open.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(open)
    }

    /// The vouchers whose lane was last read before `seen_before`, the longest ago first, at most `limit`. A lane that
    /// was read after `now` was read by a clock that was wrong, and comes before all others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stale_views(&self, seen_before: u64, now: u64, limit: u32) -> Result<Vec<OpenVoucher>, StoreError> {
        let text = format!(
            "select {OPEN_COLUMNS} from lanes l join vouchers v on v.payer = l.payer and v.payee = l.payee
             where v.state = 'recorded' and {NOTHING_UNDER_WAY} and (l.seen_at <= $1 or l.seen_at > $2)
             order by l.seen_at <= $2, l.seen_at limit $3"
        );
        let rows: Vec<OpenRow> = sqlx::query_as(AssertSqlSafe(text))
            .bind(codec::signed(seen_before))
            .bind(codec::signed(now))
            .bind(i64::from(limit))
            .fetch_all(self.reader())
            .await?;
        rows.into_iter().map(OpenRow::parse).collect()
    }

    /// What the vouchers that are under way are to move, by payer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn under_way(&self) -> Result<Vec<(Address, Amount)>, StoreError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "select v.payer, v.cumulative, l.lane_paid
             from vouchers v join lanes l on l.payer = v.payer and l.payee = v.payee
             where v.state in ('planned', 'submitted')",
        )
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|(payer, cumulative, paid)| {
                Ok((codec::address(payer)?, codec::amount(cumulative)?.saturating_sub(codec::amount(paid)?)))
            })
            .collect()
    }

    /// Keeps what the chain showed of some lanes at `now`. `question` is what [`Store::last_question`] gave before the
    /// chain was read: if the operator asked since, the lanes are to be read again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_views(
        &self,
        views: &[(Address, Address, LaneView)],
        question: i64,
        now: u64,
    ) -> Result<(), StoreError> {
        // A lane twice in one statement is an error of PostgreSQL; the last word counts.
        let views: BTreeMap<_, _> = views.iter().map(|(payer, payee, view)| ((*payer, *payee), *view)).collect();
        let mut transaction = self.begin().await?;
        // Nobody asks while this transaction holds the log.
        let seen_at = if self.last_question() == question { now } else { 0 };
        let views: Vec<_> = views.into_iter().map(|((payer, payee), view)| (payer, payee, view, seen_at)).collect();
        put_views(&mut transaction, &views, Doubts::Answered).await?;
        for (payer, payee, ..) in views {
            transaction.touch((payer, payee));
        }
        transaction.commit().await
    }
}

/// What becomes of a lane that is to be read again, its `seen_at` 0, when what the chain shows of it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubts {
    /// It was read for that.
    Answered,
    /// It may have been read before.
    Kept,
}

/// Keeps what the chain showed of each lane, and when: each lane once.
pub(super) async fn put_views(
    transaction: &mut Write,
    views: &[(Address, Address, LaneView, u64)],
    doubts: Doubts,
) -> Result<(), StoreError> {
    let seen_at = match doubts {
        Doubts::Answered => "excluded.seen_at",
        Doubts::Kept => "case when lanes.seen_at = 0 then 0 else excluded.seen_at end",
    };
    for chunk in chunks(transaction.kind(), views) {
        let given = Given::new(transaction.kind(), chunk)
            .text("payer", |(payer, ..)| codec::address_text(*payer))
            .text("payee", |(_, payee, ..)| codec::address_text(*payee))
            .text("lane_deposit", |(_, _, view, _)| codec::amount_text(view.deposit))
            .text("lane_paid", |(_, _, view, _)| codec::amount_text(view.paid))
            .text("lane_thawing", |(_, _, view, _)| codec::amount_text(view.thawing))
            .number("lane_thaw_ends_at", |(_, _, view, _)| codec::signed(view.thaw_ends_at))
            .text("open_amount", |(_, _, view, _)| codec::amount_text(view.open))
            .text("open_thawing", |(_, _, view, _)| codec::amount_text(view.open_thawing))
            .number("open_thaw_ends_at", |(_, _, view, _)| codec::signed(view.open_thaw_ends_at))
            .number("signer_ends_at", |(_, _, view, _)| codec::signed(view.signer_ends_at))
            .number("seen_at", |(.., seen_at)| codec::signed(*seen_at));
        // Without a condition SQLite would take `on` for a join's.
        let text = format!(
            "{given}
             insert into lanes (payer, payee, lane_deposit, lane_paid, lane_thawing, lane_thaw_ends_at, open_amount,
                                open_thawing, open_thaw_ends_at, signer_ends_at, seen_at)
             select payer, payee, lane_deposit, lane_paid, lane_thawing, lane_thaw_ends_at, open_amount, open_thawing,
                    open_thaw_ends_at, signer_ends_at, seen_at from k where true
             on conflict (payer, payee) do update set
                lane_deposit = excluded.lane_deposit, lane_paid = excluded.lane_paid,
                lane_thawing = excluded.lane_thawing, lane_thaw_ends_at = excluded.lane_thaw_ends_at,
                open_amount = excluded.open_amount, open_thawing = excluded.open_thawing,
                open_thaw_ends_at = excluded.open_thaw_ends_at, signer_ends_at = excluded.signer_ends_at,
                seen_at = {seen_at}"
        );
        sqlx::query_with(AssertSqlSafe(text), given.arguments()?).execute(&mut **transaction).await?;
    }
    Ok(())
}
