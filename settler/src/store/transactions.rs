//! Storing signed transactions before they are sent, and how far each has come.

use alloy::primitives::{Address, B256};
use minus_bindings::{Amount, SignedVoucher};
use sqlx::{Sqlite, Transaction};

use super::charges::plan_charge;
use super::codec;
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
}

/// What the rows of a transaction are, and so which of the escrow's entry points takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instrument {
    /// Signed by the payer: `claim`.
    Voucher,
    /// Signed by the payee, within the payer's mandate: `charge`.
    Charge,
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
}

impl Store {
    /// Stores a signed transaction with its vouchers, before anything is sent. Gives its id, or none when one of the
    /// vouchers is no longer waiting or the nonce is taken: then nothing was stored and the plan is to be made anew.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan(&self, new: &NewTransaction, now: u64) -> Result<Option<i64>, StoreError> {
        let mut transaction = self.begin().await?;
        let taken: Option<i64> = sqlx::query_scalar(
            "select id from transactions where sender = $1 and nonce = $2 and state in ('planned', 'submitted')",
        )
        .bind(codec::address_text(new.sender))
        .bind(codec::signed(new.nonce))
        .fetch_optional(&mut *transaction)
        .await?;
        if taken.is_some() {
            return Ok(None);
        }
        let id: i64 = sqlx::query_scalar(
            "insert into transactions (sender, nonce, payee, gas_limit, state, created_at)
             values ($1, $2, $3, $4, 'planned', $5) returning id",
        )
        .bind(codec::address_text(new.sender))
        .bind(codec::signed(new.nonce))
        .bind(codec::address_text(new.payee))
        .bind(codec::signed(new.gas_limit))
        .bind(codec::signed(now))
        .fetch_one(&mut *transaction)
        .await?;
        put_attempt(&mut transaction, id, &new.attempt).await?;
        for row in &new.rows {
            let planned = match new.instrument {
                Instrument::Voucher => plan_row(&mut transaction, id, row).await?,
                Instrument::Charge => plan_charge(&mut transaction, id, row, now).await?,
            };
            if !planned {
                return Ok(None);
            }
        }
        transaction.commit().await?;
        Ok(Some(id))
    }

    /// Stores a replacement at the same nonce, before it is sent.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_attempt(&self, id: i64, attempt: &Attempt) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        put_attempt(&mut transaction, id, attempt).await?;
        Ok(transaction.commit().await?)
    }

    /// An endpoint accepted it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn submitted(&self, id: i64) -> Result<(), StoreError> {
        self.move_both(id, "planned", "submitted").await
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
            "update vouchers set state = 'planned', paid = null
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
        sqlx::query(
            "update transactions set state = 'planned', mined_hash = null, mined_block = null, mined_in = null,
                                     gas_used = null, fee_wei = null, lost_since = null
             where id = $1",
        )
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// It was seen in a block, not yet under enough others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mined(&self, id: i64, hash: B256, block: u64, block_hash: B256) -> Result<(), StoreError> {
        self.move_both(id, "planned", "submitted").await?;
        sqlx::query(
            "update transactions set mined_hash = $1, mined_block = $2, mined_in = $3, lost_since = null
             where id = $4",
        )
        .bind(codec::hash_text(hash))
        .bind(codec::signed(block))
        .bind(codec::hash_text(block_hash))
        .bind(id)
        .execute(self.writer())
        .await?;
        Ok(())
    }

    /// Its nonce is used and none of its attempts has a receipt; `None` takes that back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn suspect_lost(&self, id: i64, since: Option<u64>) -> Result<(), StoreError> {
        sqlx::query("update transactions set lost_since = $1 where id = $2")
            .bind(since.map(codec::signed))
            .bind(id)
            .execute(self.writer())
            .await?;
        Ok(())
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
        .fetch_all(self.writer())
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
             where sender = $1 and state in ('confirmed', 'reverted') and mined_block >= $2 order by nonce",
        )
        .bind(codec::address_text(sender))
        .bind(codec::signed(from))
        .fetch_all(self.writer())
        .await?;
        self.with_attempts(rows).await
    }

    async fn with_attempts(&self, rows: Vec<TransactionRow>) -> Result<Vec<LiveTransaction>, StoreError> {
        let mut live = Vec::with_capacity(rows.len());
        for row in rows {
            let attempts: Vec<AttemptRow> = sqlx::query_as(
                "select hash, raw, max_fee_wei, priority_fee_wei, signed_at_block from attempts
                 where transaction_id = $1 order by signed_at_block desc, rowid desc",
            )
            .bind(row.id)
            .fetch_all(self.writer())
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

    /// The vouchers of a transaction: payer, cumulative, state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rows_of(&self, id: i64) -> Result<Vec<(Address, Amount)>, StoreError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("select payer, cumulative from vouchers where transaction_id = $1 order by id")
                .bind(id)
                .fetch_all(self.reader())
                .await?;
        rows.iter().map(|(payer, cumulative)| Ok((codec::address(payer)?, codec::amount(cumulative)?))).collect()
    }

    async fn move_both(&self, id: i64, from: &'static str, to: &'static str) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for statement in [
            "update transactions set state = $1 where id = $2 and state = $3",
            "update vouchers set state = $1 where transaction_id = $2 and state = $3",
        ] {
            sqlx::query(statement).bind(to).bind(id).bind(from).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}

impl AttemptRow {
    fn parse(self) -> Result<Attempt, StoreError> {
        Ok(Attempt {
            hash: codec::hash(&self.hash)?,
            raw: codec::bytes(&self.raw)?,
            max_fee: codec::wei(&self.max_fee_wei)?,
            priority_fee: codec::wei(&self.priority_fee_wei)?,
            signed_at_block: codec::unsigned(self.signed_at_block)?,
        })
    }
}

async fn put_attempt(
    transaction: &mut Transaction<'static, Sqlite>,
    id: i64,
    attempt: &Attempt,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into attempts (hash, transaction_id, raw, max_fee_wei, priority_fee_wei, signed_at_block)
         values ($1, $2, $3, $4, $5, $6) on conflict (hash) do nothing",
    )
    .bind(codec::hash_text(attempt.hash))
    .bind(id)
    .bind(codec::bytes_text(&attempt.raw))
    .bind(attempt.max_fee.to_string())
    .bind(attempt.priority_fee.to_string())
    .bind(codec::signed(attempt.signed_at_block))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Moves one voucher into the transaction. False when it is not waiting any more.
async fn plan_row(
    transaction: &mut Transaction<'static, Sqlite>,
    id: i64,
    row: &PlannedRow,
) -> Result<bool, StoreError> {
    let voucher = &row.voucher;
    let moved = sqlx::query(
        "update vouchers set state = 'planned', transaction_id = $1, reason = $2, held = null
         where id = $3 and state = 'recorded' and cumulative = $4",
    )
    .bind(id)
    .bind(row.reason.as_str())
    .bind(row.id)
    .bind(codec::amount_text(voucher.cumulative))
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    if moved == 1 {
        return Ok(true);
    }
    // A larger voucher took its place while the bytes were being signed: that one waits, this one goes. Not to start
    // over keeps a lane that never pauses from never being claimed.
    let inserted = sqlx::query(
        "insert into vouchers (payer, payee, cumulative, signer, signature, state, recorded_at, reason, asked,
                               transaction_id)
         select payer, payee, $1, $2, $3, 'planned', recorded_at, $4, asked, $5
         from vouchers where id = $6 and state = 'recorded' and cumulative > $1",
    )
    .bind(codec::amount_text(voucher.cumulative))
    .bind(codec::address_text(row.signer))
    .bind(codec::bytes_text(&voucher.signature))
    .bind(row.reason.as_str())
    .bind(id)
    .bind(row.id)
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    Ok(inserted == 1)
}
