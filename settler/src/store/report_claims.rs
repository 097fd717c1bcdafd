//! The transactions that claim, a page at a time, and what they earned over time.

use minus_bindings::Amount;

use super::codec;
use super::open::{Store, StoreError};
use super::state::TransactionState;
use crate::reports::{ClaimPage, ClaimRecord};

/// Which transactions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClaimFilter {
    /// Where they stand.
    pub state: Option<TransactionState>,
    /// Not stored before this.
    pub since: u64,
}

/// What mined transactions brought and cost: one of them, or those of a day.
#[derive(Debug, Clone, Copy)]
pub struct Earning {
    /// When it was stored, unix seconds: the chain mines it moments later, and a block's time is its builder's word.
    pub at: u64,
    /// What was moved.
    pub paid: Amount,
    /// By how many vouchers.
    pub vouchers: u64,
    /// Gas that was used.
    pub gas_used: u64,
    /// What that cost, wei.
    pub fee_wei: u128,
    /// How many transactions succeeded; of a day, how many were mined.
    pub claims: u64,
}

#[derive(sqlx::FromRow)]
struct ClaimRow {
    id: i64,
    sender: String,
    nonce: i64,
    payee: String,
    state: String,
    created_at: i64,
    hash: Option<String>,
    mined_block: Option<i64>,
    gas_used: Option<i64>,
    fee_wei: Option<String>,
    planned_rows: i64,
    moved: Option<String>,
    attempts: i64,
    netted: i64,
}

/// The columns of [`ClaimRow`].
macro_rules! claims {
    ($rest:literal) => {
        concat!(
            "select t.id, t.sender, t.nonce, t.payee, t.state, t.created_at,
                    coalesce(t.mined_hash, (select a.hash from attempts a where a.transaction_id = t.id
                                            order by a.ordinal desc limit 1)) as hash,
                    t.mined_block, t.gas_used, t.fee_wei, t.planned_rows, t.moved,
                    (select count(*) from attempts a where a.transaction_id = t.id) as attempts,
                    (select count(*) from netted n where n.transaction_id = t.id) as netted
             from transactions t where ",
            $rest
        )
    };
}

impl Store {
    /// One page of the transactions, the latest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_page(&self, filter: ClaimFilter, limit: u32, offset: u64) -> Result<ClaimPage, StoreError> {
        const PAGE: &str =
            claims!("($1 = '' or t.state = $1) and t.created_at >= $2 order by t.id desc limit $3 offset $4");
        const COUNT: &str =
            "select count(*) from transactions t where ($1 = '' or t.state = $1) and t.created_at >= $2";
        let state = filter.state.map_or("", TransactionState::as_str);
        let since = codec::signed(filter.since);
        let rows: Vec<ClaimRow> = sqlx::query_as(PAGE)
            .bind(state)
            .bind(since)
            .bind(i64::from(limit))
            .bind(codec::signed(offset))
            .fetch_all(self.reader())
            .await?;
        let claims = self.claims(rows).await?;
        let total: i64 = sqlx::query_scalar(COUNT).bind(state).bind(since).fetch_one(self.reader()).await?;
        Ok(ClaimPage { total: codec::unsigned(total)?, claims })
    }

    /// The transactions after number `after`, the earliest first: for reading all of them in short steps.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claims_after(&self, after: i64, limit: u32) -> Result<Vec<ClaimRecord>, StoreError> {
        const AFTER: &str = claims!("t.id > $1 order by t.id limit $2");
        let rows: Vec<ClaimRow> =
            sqlx::query_as(AFTER).bind(after).bind(i64::from(limit)).fetch_all(self.reader()).await?;
        self.claims(rows).await
    }

    async fn claims(&self, rows: Vec<ClaimRow>) -> Result<Vec<ClaimRecord>, StoreError> {
        let mut claims = Vec::with_capacity(rows.len());
        for row in rows {
            let is_netted = row.netted > 0;
            let mut claim = row.parse()?;
            if is_netted {
                (claim.netted, claim.debts_paid) = self.netted_sum(claim.id).await?;
            }
            claims.push(claim);
        }
        Ok(claims)
    }

    /// What each mined transaction after number `after` and stored at `since` or later brought, the earliest first, with
    /// its number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn earnings_after(&self, since: u64, after: i64, limit: u32) -> Result<Vec<(i64, Earning)>, StoreError> {
        const MINED: &str = claims!(
            "t.state in ('confirmed', 'reverted', 'cancelled') and t.created_at >= $1 and t.id > $2 order by t.id limit $3"
        );
        let rows: Vec<ClaimRow> = sqlx::query_as(MINED)
            .bind(codec::signed(since))
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(self.reader())
            .await?;
        rows.into_iter()
            .map(|row| {
                let claim = row.parse()?;
                let earning = Earning {
                    at: claim.created_at,
                    paid: claim.paid,
                    vouchers: claim.vouchers,
                    gas_used: claim.gas_used.unwrap_or(0),
                    fee_wei: claim.fee_wei.as_deref().map(codec::wei).transpose()?.unwrap_or(0),
                    claims: u64::from(claim.state == TransactionState::Confirmed),
                };
                Ok((claim.id, earning))
            })
            .collect()
    }
}

impl ClaimRow {
    fn parse(self) -> Result<ClaimRecord, StoreError> {
        Ok(ClaimRecord {
            id: self.id,
            sender: codec::address(&self.sender)?,
            nonce: codec::unsigned(self.nonce)?,
            payee: codec::address(&self.payee)?,
            state: codec::word(&self.state)?,
            created_at: codec::unsigned(self.created_at)?,
            hash: self.hash.as_deref().map(codec::hash).transpose()?,
            block: self.mined_block.map(codec::unsigned).transpose()?,
            vouchers: codec::unsigned(self.planned_rows)?,
            paid: self.moved.as_deref().map(codec::amount).transpose()?.unwrap_or_default(),
            gas_used: self.gas_used.map(codec::unsigned).transpose()?,
            fee_wei: self.fee_wei,
            attempts: codec::unsigned(self.attempts)?,
            netted: 0,
            debts_paid: Amount::ZERO,
        })
    }
}
