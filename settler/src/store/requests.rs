//! The operator's "claim now", durable: a settler that restarts in between goes on with it.

use std::sync::atomic::Ordering;

use super::codec;
use super::open::{Ids, Store, StoreError};
use super::state::{Hold, VoucherState};
use crate::api::{ClaimLine, ClaimProgress};

#[derive(sqlx::FromRow)]
struct ClaimRow {
    payer: String,
    payee: String,
    cumulative: String,
    state: String,
    held: Option<String>,
    paid: Option<String>,
    transaction: Option<String>,
    block: Option<i64>,
}

/// How many lines an answer lists; the counts are complete all the same (law 13).
const LINES_MAX: u32 = 10_000;

impl Store {
    /// The number of the last request.
    #[must_use]
    pub fn last_question(&self) -> i64 {
        self.ids.requests.load(Ordering::Relaxed)
    }

    /// Marks every voucher that is not confirmed, and every charge, as asked for, whatever held it before. Gives the
    /// request's number. Its progress is that of the vouchers: a charge may never be borne in full.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ask(&self, now: u64) -> Result<i64, StoreError> {
        let mut transaction = self.begin().await?;
        let id = Ids::next(&self.ids.requests);
        sqlx::query("insert into requests (id, asked_at) values ($1, $2)")
            .bind(id)
            .bind(codec::signed(now))
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "update vouchers set asked = $1, held = null, retry_at = 0 where state in ('recorded', 'planned', 'submitted')",
        )
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("update charges set asked = $1, held = null, retry_at = 0")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        // What was held is to be judged by a fresh look at the chain, not by what was seen before the question.
        sqlx::query(
            "update lanes set seen_at = 0
             where exists (select 1 from vouchers v where v.payer = lanes.payer and v.payee = lanes.payee
                           and v.state = 'recorded')",
        )
        .execute(&mut *transaction)
        .await?;
        transaction.touch_all();
        transaction.commit().await?;
        Ok(id)
    }

    /// How far a request is, or none if there is no such request.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn progress(&self, id: i64) -> Result<Option<ClaimProgress>, StoreError> {
        // One look: lines and counts that were read apart could say that all is done of a voucher that is still on its way.
        let mut transaction = self.reader().begin().await?;
        let known: Option<i64> = sqlx::query_scalar("select id from requests where id = $1")
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
        if known.is_none() {
            return Ok(None);
        }
        let rows: Vec<ClaimRow> = sqlx::query_as(
            "select v.payer, v.payee, v.cumulative, v.state, v.held, v.paid,
                    coalesce(t.mined_hash, (select a.hash from attempts a where a.transaction_id = t.id
                                            order by a.ordinal desc limit 1)) as \"transaction\",
                    t.mined_block as block
             from vouchers v left join transactions t on t.id = v.transaction_id
             where v.asked = $1 order by v.id limit $2",
        )
        .bind(id)
        .bind(i64::from(LINES_MAX))
        .fetch_all(&mut *transaction)
        .await?;
        let claims = rows.into_iter().map(ClaimRow::parse).collect::<Result<Vec<_>, _>>()?;

        let counts: Vec<(String, i64, i64)> = sqlx::query_as(
            "select state, case when held is null then 0 else 1 end, count(*) from vouchers where asked = $1
             group by state, case when held is null then 0 else 1 end",
        )
        .bind(id)
        .fetch_all(&mut *transaction)
        .await?;
        let mut progress = ClaimProgress { request: id, open: 0, confirmed: 0, held: 0, done: false, claims };
        for (state, held, count) in counts {
            let count = codec::unsigned(count)?;
            match (codec::word::<VoucherState>(&state)?, held) {
                (VoucherState::Confirmed, _) => progress.confirmed += count,
                (VoucherState::Recorded, 1) => progress.held += count,
                _ => progress.open += count,
            }
        }
        progress.done = progress.open == 0;
        Ok(Some(progress))
    }
}

impl ClaimRow {
    fn parse(self) -> Result<ClaimLine, StoreError> {
        Ok(ClaimLine {
            payer: codec::address(&self.payer)?,
            payee: codec::address(&self.payee)?,
            cumulative: codec::amount(&self.cumulative)?,
            state: codec::word(&self.state)?,
            held: self.held.as_deref().map(codec::word::<Hold>).transpose()?,
            paid: self.paid.as_deref().map(codec::amount).transpose()?,
            transaction: self.transaction.as_deref().map(codec::hash).transpose()?,
            block: self.block.map(codec::unsigned).transpose()?,
        })
    }
}
