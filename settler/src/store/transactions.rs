//! Storing signed transactions before they are sent, and how far each has come.

use std::collections::BTreeSet;

use alloy::primitives::{Address, B256};
use minus_bindings::{Amount, SignedVoucher};

use super::codec;
use super::database::Write;
use super::earnings;
use super::open::{Store, StoreError};
use super::state::{Reason, TransactionState};

/// One set of signed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The transaction's hash.
    pub hash: B256,
    /// The bytes to send.
    pub raw: Vec<u8>,
    /// `maxFeePerGas`, wei.
    pub max_fee: u128,
    /// `maxPriorityFeePerGas`, wei.
    pub priority_fee: u128,
    /// The head block when it was signed: how long it has been waiting.
    pub signed_at_block: u64,
    /// It carries no rows: mined, it only uses up the nonce, and ends the transaction as cancelled.
    pub cancels: bool,
}

/// What the rows of a transaction are, and so which of the escrow's entry points takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instrument {
    /// Signed by the payer: `claim`.
    Voucher,
    /// Signed by the payee, within the payer's mandate: `charge`.
    Charge,
}

impl Instrument {
    /// What its transactions are for, as stored.
    pub(super) const fn purpose(self) -> &'static str {
        match self {
            Self::Voucher => "claim",
            Self::Charge => "charge",
        }
    }
}

/// A voucher or a charge as it went into the signed bytes.
#[derive(Debug, Clone)]
pub struct PlannedRow {
    /// Its row.
    pub id: i64,
    /// What was signed; a charge's fields are a voucher's, and so is its place in the calldata.
    pub voucher: SignedVoucher,
    /// Who signed it.
    pub signer: Address,
    /// Why now.
    pub reason: Reason,
    /// How often a claim of it failed before.
    pub failures: u64,
    /// What we owe its payer, paid in front of it: of all rows of a transaction or of none.
    pub debt: Option<SignedVoucher>,
}

/// A transaction to be stored.
#[derive(Debug, Clone)]
pub struct NewTransaction {
    /// The gas key's address.
    pub sender: Address,
    /// The nonce it uses.
    pub nonce: u64,
    /// Whom it credits.
    pub payee: Address,
    /// Its gas limit.
    pub gas_limit: u64,
    /// Its first signed bytes.
    pub attempt: Attempt,
    /// What its rows are.
    pub instrument: Instrument,
    /// Its vouchers or charges, in the order of the rows.
    pub rows: Vec<PlannedRow>,
}

/// A transaction that still matters: it may yet be mined, or unmined.
#[derive(Debug, Clone)]
pub struct LiveTransaction {
    /// Its row.
    pub id: i64,
    /// Its nonce.
    pub nonce: u64,
    /// Whom it credits.
    pub payee: Address,
    /// Its gas limit.
    pub gas_limit: u64,
    /// Where it stands.
    pub state: TransactionState,
    /// The block at which its nonce was first seen used by a stranger.
    pub lost_since: Option<u64>,
    /// Hash and number of the block that holds it, when last seen.
    pub mined_in: Option<B256>,
    /// Its signed bytes, the newest first.
    pub attempts: Vec<Attempt>,
}

/// A row of a stored transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedRow {
    /// Who pays.
    pub payer: Address,
    /// Who signed it: the payer or its delegate; of a charge, the payee or its delegate.
    pub signer: Address,
    /// The running total.
    pub cumulative: Amount,
    /// Why it is claimed; of a voucher only.
    pub reason: Option<Reason>,
    /// How often a claim of it failed before.
    pub failures: u64,
}

#[derive(sqlx::FromRow)]
struct TransactionRow {
    id: i64,
    nonce: i64,
    payee: String,
    gas_limit: i64,
    state: String,
    lost_since: Option<i64>,
    mined_in: Option<String>,
}

#[derive(sqlx::FromRow)]
struct AttemptRow {
    hash: String,
    raw: String,
    max_fee_wei: String,
    priority_fee_wei: String,
    signed_at_block: i64,
    cancels: i64,
}

impl Store {
    /// Stores a replacement at the same nonce, before it is sent.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_attempt(&self, id: i64, attempt: &Attempt) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        put_attempt(&mut transaction, id, attempt).await?;
        transaction.commit().await
    }

    /// An endpoint accepted it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn submitted(&self, id: i64) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        submit(&mut transaction, id).await?;
        transaction.commit().await
    }

    /// A reorganisation threw it out, or no endpoint knows it any more: its bytes are to be sent again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn back_to_planned(&self, id: i64) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        // A lane that has another voucher under way already keeps this one at its end, with nothing paid until it is
        // mined again: the other one contains it.
        sqlx::query(
            "update vouchers set state = 'planned', came_from = state, paid = null
             where transaction_id = $1
               and (state = 'submitted'
                    or (state = 'confirmed'
                        and not exists (select 1 from vouchers w where w.payer = vouchers.payer
                                        and w.payee = vouchers.payee and w.state in ('planned', 'submitted'))))",
        )
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("update vouchers set paid = $1 where transaction_id = $2 and state = 'confirmed'")
            .bind(codec::amount_text(Amount::ZERO))
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        earnings::take_back(&mut transaction, id).await?;
        touch_rows(&mut transaction, id).await?;
        for statement in [
            "update transactions set state = 'planned', came_from = state where id = $1 and state <> 'planned'",
            "update transactions set mined_hash = null, mined_block = null, mined_in = null, gas_used = null,
                                     fee_wei = null, moved = null, moved_rows = null, lost_since = null
             where id = $1",
        ] {
            sqlx::query(statement).bind(id).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    /// It was seen in a block, not yet under enough others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mined(&self, id: i64, hash: B256, block: u64, block_hash: B256) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        submit(&mut transaction, id).await?;
        sqlx::query(
            "update transactions set mined_hash = $1, mined_block = $2, mined_in = $3, lost_since = null
             where id = $4",
        )
        .bind(codec::hash_text(hash))
        .bind(codec::signed(block))
        .bind(codec::hash_text(block_hash))
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    /// Its nonce is used and none of its attempts has a receipt; `None` takes that back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn suspect_lost(&self, id: i64, since: Option<u64>) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("update transactions set lost_since = $1 where id = $2")
            .bind(since.map(codec::signed))
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// The transactions of this gas key that are not at their end, by nonce.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn live(&self, sender: Address) -> Result<Vec<LiveTransaction>, StoreError> {
        let rows: Vec<TransactionRow> = sqlx::query_as(
            "select id, nonce, payee, gas_limit, state, lost_since, mined_in from transactions
             where sender = $1 and state in ('planned', 'submitted') order by nonce",
        )
        .bind(codec::address_text(sender))
        .fetch_all(self.reader())
        .await?;
        self.with_attempts(rows).await
    }

    /// The transactions that ended in block `from` or later: a reorganisation may still undo them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ended_since(&self, sender: Address, from: u64) -> Result<Vec<LiveTransaction>, StoreError> {
        let rows: Vec<TransactionRow> = sqlx::query_as(
            "select id, nonce, payee, gas_limit, state, lost_since, mined_in from transactions
             where sender = $1 and state in ('confirmed', 'reverted', 'cancelled') and mined_block >= $2 order by nonce",
        )
        .bind(codec::address_text(sender))
        .bind(codec::signed(from))
        .fetch_all(self.reader())
        .await?;
        self.with_attempts(rows).await
    }

    /// The highest block in which one of our transactions ended, if any did.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_ended_block(&self) -> Result<Option<u64>, StoreError> {
        let block: Option<i64> = sqlx::query_scalar(
            "select max(mined_block) from transactions where state in ('confirmed', 'reverted', 'cancelled')",
        )
        .fetch_one(self.reader())
        .await?;
        block.map(codec::unsigned).transpose()
    }

    /// The nonces from the chain's own count on that are ours: of transactions that are not at their end, and of those
    /// that ended in block `from_block` or later, which a reorganisation may bring back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn held_nonces(
        &self,
        sender: Address,
        from_nonce: u64,
        from_block: u64,
    ) -> Result<BTreeSet<u64>, StoreError> {
        let nonces: Vec<i64> = sqlx::query_scalar(
            "select nonce from transactions
             where sender = $1 and nonce >= $2
               and (state in ('planned', 'submitted') or (state <> 'lost' and mined_block >= $3))",
        )
        .bind(codec::address_text(sender))
        .bind(codec::signed(from_nonce))
        .bind(codec::signed(from_block))
        .fetch_all(self.reader())
        .await?;
        nonces.into_iter().map(codec::unsigned).collect()
    }

    async fn with_attempts(&self, rows: Vec<TransactionRow>) -> Result<Vec<LiveTransaction>, StoreError> {
        let mut live = Vec::with_capacity(rows.len());
        for row in rows {
            let attempts: Vec<AttemptRow> = sqlx::query_as(
                "select hash, raw, max_fee_wei, priority_fee_wei, signed_at_block, cancels from attempts
                 where transaction_id = $1 order by ordinal desc",
            )
            .bind(row.id)
            .fetch_all(self.reader())
            .await?;
            live.push(LiveTransaction {
                id: row.id,
                nonce: codec::unsigned(row.nonce)?,
                payee: codec::address(&row.payee)?,
                gas_limit: codec::unsigned(row.gas_limit)?,
                state: codec::word(&row.state)?,
                lost_since: row.lost_since.map(codec::unsigned).transpose()?,
                mined_in: row.mined_in.as_deref().map(codec::hash).transpose()?,
                attempts: attempts.into_iter().map(AttemptRow::parse).collect::<Result<_, _>>()?,
            });
        }
        Ok(live)
    }

    /// The rows of a transaction, vouchers or charges. A charge that a larger one replaced meanwhile shows that one's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rows_of(&self, id: i64) -> Result<Vec<ClaimedRow>, StoreError> {
        let rows: Vec<(String, String, String, String, i64)> = sqlx::query_as(
            "select payer, signer, cumulative, coalesce(reason, ''), failures from vouchers where transaction_id = $1
             union all select payer, signer, cumulative, '', 0 from charges where transaction_id = $1",
        )
        .bind(id)
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|(payer, signer, cumulative, reason, failures)| {
                Ok(ClaimedRow {
                    payer: codec::address(payer)?,
                    signer: codec::address(signer)?,
                    cumulative: codec::amount(cumulative)?,
                    reason: reason.parse().ok(),
                    failures: codec::unsigned(*failures)?,
                })
            })
            .collect()
    }
}

/// Every lane that a transaction has a voucher of.
async fn touch_rows(transaction: &mut Write, id: i64) -> Result<(), StoreError> {
    let lanes: Vec<(String, String)> = sqlx::query_as("select payer, payee from vouchers where transaction_id = $1")
        .bind(id)
        .fetch_all(&mut **transaction)
        .await?;
    for (payer, payee) in lanes {
        transaction.touch((codec::address(&payer)?, codec::address(&payee)?));
    }
    Ok(())
}

async fn submit(transaction: &mut Write, id: i64) -> Result<(), StoreError> {
    for statement in [
        "update transactions set state = 'submitted', came_from = state where id = $1 and state = 'planned'",
        "update vouchers set state = 'submitted', came_from = state where transaction_id = $1 and state = 'planned'",
    ] {
        sqlx::query(statement).bind(id).execute(&mut **transaction).await?;
    }
    Ok(())
}

impl AttemptRow {
    fn parse(self) -> Result<Attempt, StoreError> {
        Ok(Attempt {
            hash: codec::hash(&self.hash)?,
            raw: codec::bytes(&self.raw)?,
            max_fee: codec::wei(&self.max_fee_wei)?,
            priority_fee: codec::wei(&self.priority_fee_wei)?,
            signed_at_block: codec::unsigned(self.signed_at_block)?,
            cancels: self.cancels != 0,
        })
    }
}

pub(super) async fn put_attempt(transaction: &mut Write, id: i64, attempt: &Attempt) -> Result<(), StoreError> {
    sqlx::query(
        "insert into attempts (hash, transaction_id, ordinal, cancels, raw, max_fee_wei, priority_fee_wei, signed_at_block)
         values ($1, $2, (select count(*) + 1 from attempts where transaction_id = $2), $3, $4, $5, $6, $7)
         on conflict (hash) do nothing",
    )
    .bind(codec::hash_text(attempt.hash))
    .bind(id)
    .bind(i64::from(attempt.cancels))
    .bind(codec::bytes_text(&attempt.raw))
    .bind(attempt.max_fee.to_string())
    .bind(attempt.priority_fee.to_string())
    .bind(codec::signed(attempt.signed_at_block))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
