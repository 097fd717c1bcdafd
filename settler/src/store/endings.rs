//! What the end of a transaction does to its vouchers. Each ending is one database transaction.

use std::collections::HashMap;

use alloy::primitives::{Address, B256};
use minus_bindings::Amount;

use super::codec;
use super::database::Write;
use super::earnings;
use super::open::{Ids, Store, StoreError};
use super::state::{Hold, TransactionState};
use crate::plan::RETRY_MAX_S;

/// A receipt under enough blocks, with the lanes as the chain showed them afterwards.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The attempt that was mined.
    pub hash: B256,
    /// In which block.
    pub block: u64,
    /// Hash of that block.
    pub block_hash: B256,
    /// Gas that was used.
    pub gas_used: u64,
    /// What it cost, wei.
    pub fee_wei: u128,
}

/// What a claim moved: by payer, and the lane's running total afterwards.
pub type Payments = HashMap<Address, (Amount, Amount)>;

/// How long a voucher waits whose claim moved nothing, doubled with each time up to [`RETRY_MAX_S`]: a payer that moves
/// its money away in front of every claim shall not set the pace at which gas is spent on it.
const FRUITLESS_RETRY_S: u64 = 300;

/// Why vouchers go back to waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Mined and reverted.
    Reverted,
    /// The nonce was used by a transaction that is not ours.
    Lost,
    /// The nonce was used by an attempt of ours that carries no rows.
    Cancelled,
}

impl Failure {
    const fn state(self) -> &'static str {
        match self {
            Self::Reverted => TransactionState::Reverted.as_str(),
            Self::Lost => TransactionState::Lost.as_str(),
            Self::Cancelled => TransactionState::Cancelled.as_str(),
        }
    }
}

#[derive(sqlx::FromRow)]
struct EndingRow {
    id: i64,
    payer: String,
    payee: String,
    cumulative: String,
    recorded_at: i64,
    asked: Option<i64>,
    failures: i64,
}

impl Store {
    /// A claim is final: each voucher gets what it moved, and what a voucher is still owed is recorded anew (an
    /// underfunded lane burns no entitlement). Where nothing was moved it waits longer each time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn confirmed(&self, id: i64, receipt: &Receipt, payments: &Payments, now: u64) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        put_receipt(&mut transaction, id, receipt, "confirmed").await?;
        earnings::add(&mut transaction, id, payments.values().map(|(moved, _)| *moved)).await?;
        for row in rows(&mut transaction, id).await? {
            let (moved, paid) = payments.get(&codec::address(&row.payer)?).copied().unwrap_or_default();
            for statement in [
                "update vouchers set state = 'confirmed', came_from = state, paid = $1 where id = $2 and paid is null",
                "update vouchers set paid = $1, held = null where id = $2",
            ] {
                sqlx::query(statement).bind(codec::amount_text(moved)).bind(row.id).execute(&mut *transaction).await?;
            }
            sqlx::query("update lanes set lane_paid = $1 where payer = $2 and payee = $3")
                .bind(codec::amount_text(paid))
                .bind(&row.payer)
                .bind(&row.payee)
                .execute(&mut *transaction)
                .await?;
            if codec::amount(&row.cumulative)? > paid {
                self.record_rest(&mut transaction, row.id).await?;
                if moved.is_zero() {
                    wait_longer(&mut transaction, &row, now).await?;
                }
            }
        }
        transaction.commit().await
    }

    /// A claim moved nothing: its vouchers wait again, until `retry_at`. What the chain holds of them is looked at
    /// then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn failed(
        &self,
        id: i64,
        failure: Failure,
        receipt: Option<&Receipt>,
        retry_at: u64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        match receipt {
            Some(receipt) => {
                put_receipt(&mut transaction, id, receipt, failure.state()).await?;
                earnings::add(&mut transaction, id, std::iter::empty()).await?;
            }
            None => {
                sqlx::query("update transactions set state = $1, came_from = state where id = $2")
                    .bind(failure.state())
                    .bind(id)
                    .execute(&mut *transaction)
                    .await?;
            }
        }
        for row in rows(&mut transaction, id).await? {
            back_to_recorded(&mut transaction, &row, retry_at).await?;
        }
        transaction.commit().await
    }

    /// The chain has paid a voucher, under enough blocks, by a claim that was not ours.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settled_elsewhere(&self, id: i64) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        touch_lane_of(&mut transaction, id).await?;
        sqlx::query(
            "update vouchers set state = 'confirmed', came_from = state, paid = $1, held = $2
             where id = $3 and state = 'recorded'",
        )
        .bind(codec::amount_text(Amount::ZERO))
        .bind(Hold::Settled.as_str())
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        // One such row per lane is enough to know the best voucher: or a payer could fill the log for free with every
        // total below what its lane has paid.
        sqlx::query(
            "delete from vouchers
             where payer = (select w.payer from vouchers w where w.id = $1)
               and payee = (select w.payee from vouchers w where w.id = $1)
               and claimed < (select w.claimed from vouchers w where w.id = $1 and w.state = 'confirmed')
               and state = 'confirmed' and transaction_id is null and asked is null",
        )
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    /// The lanes with something confirmed and nothing waiting, the latest first: payer, payee, highest confirmed
    /// voucher and its row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lanes_at_rest(&self, limit: u32) -> Result<Vec<(Address, Address, Amount, i64)>, StoreError> {
        let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
            "select v.payer, v.payee, v.cumulative, v.id from vouchers v
             where v.state = 'confirmed'
               and not exists (select 1 from vouchers w where w.payer = v.payer and w.payee = v.payee
                               and (w.state <> 'confirmed' or w.cumulative > v.cumulative
                                    or (w.cumulative = v.cumulative and w.id > v.id)))
             order by v.id desc limit $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.reader())
        .await?;
        rows.iter()
            .map(|(payer, payee, cumulative, id)| {
                Ok((codec::address(payer)?, codec::address(payee)?, codec::amount(cumulative)?, *id))
            })
            .collect()
    }

    /// The chain has forgotten a confirmed claim: its voucher waits again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_again(&self, voucher_id: i64) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        // A claim that is not on the chain was not the one that a closing lane gets whatever it is worth.
        sqlx::query("update vouchers set reason = null where id = $1")
            .bind(voucher_id)
            .execute(&mut *transaction)
            .await?;
        self.record_rest(&mut transaction, voucher_id).await?;
        transaction.commit().await
    }

    /// A copy of a confirmed voucher that waits for the rest, unless something of its lane waits or is under way already.
    /// It does not belong to the request any more that its original answered.
    async fn record_rest(&self, transaction: &mut Write, voucher_id: i64) -> Result<(), StoreError> {
        touch_lane_of(transaction, voucher_id).await?;
        sqlx::query(
            "insert into vouchers (id, payer, payee, cumulative, signer, signature, state, came_from, recorded_at)
             select $2, v.payer, v.payee, v.cumulative, v.signer, v.signature, 'recorded', 'new', v.recorded_at
             from vouchers v
             where v.id = $1
               and not exists (select 1 from vouchers w where w.payer = v.payer and w.payee = v.payee
                               and w.state <> 'confirmed')",
        )
        .bind(voucher_id)
        .bind(Ids::next(&self.ids.vouchers))
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }
}

async fn touch_lane_of(transaction: &mut Write, voucher_id: i64) -> Result<(), StoreError> {
    let lane: Option<(String, String)> = sqlx::query_as("select payer, payee from vouchers where id = $1")
        .bind(voucher_id)
        .fetch_optional(&mut **transaction)
        .await?;
    if let Some((payer, payee)) = lane {
        transaction.touch((codec::address(&payer)?, codec::address(&payee)?));
    }
    Ok(())
}

async fn rows(transaction: &mut Write, id: i64) -> Result<Vec<EndingRow>, StoreError> {
    let rows: Vec<EndingRow> = sqlx::query_as(
        "select id, payer, payee, cumulative, recorded_at, asked, failures from vouchers where transaction_id = $1",
    )
    .bind(id)
    .fetch_all(&mut **transaction)
    .await?;
    for row in &rows {
        transaction.touch((codec::address(&row.payer)?, codec::address(&row.payee)?));
    }
    Ok(rows)
}

async fn put_receipt(
    transaction: &mut Write,
    id: i64,
    receipt: &Receipt,
    state: &'static str,
) -> Result<(), StoreError> {
    sqlx::query(
        "update transactions set state = $1, came_from = state, mined_hash = $2, mined_block = $3, mined_in = $4, gas_used = $5,
                                 fee_wei = $6, lost_since = null
         where id = $7",
    )
    .bind(state)
    .bind(codec::hash_text(receipt.hash))
    .bind(codec::signed(receipt.block))
    .bind(codec::hash_text(receipt.block_hash))
    .bind(codec::signed(receipt.gas_used))
    .bind(receipt.fee_wei.to_string())
    .bind(id)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// What waits of this lane is not to be tried again at once.
async fn wait_longer(transaction: &mut Write, row: &EndingRow, now: u64) -> Result<(), StoreError> {
    let doublings = u32::try_from(row.failures.clamp(0, 16)).unwrap_or(0);
    let pause = (FRUITLESS_RETRY_S << doublings).min(RETRY_MAX_S);
    sqlx::query(
        "update vouchers set retry_at = $1, failures = $2 where payer = $3 and payee = $4 and state = 'recorded'",
    )
    .bind(codec::signed(now.saturating_add(pause)))
    .bind(row.failures.saturating_add(1))
    .bind(&row.payer)
    .bind(&row.payee)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Back to waiting, or into the larger voucher of its lane that waits already.
async fn back_to_recorded(transaction: &mut Write, row: &EndingRow, retry_at: u64) -> Result<(), StoreError> {
    let merged = sqlx::query(
        "update vouchers set recorded_at = case when recorded_at < $1 then recorded_at else $1 end,
                             asked = coalesce(asked, $2)
         where payer = $3 and payee = $4 and state = 'recorded'",
    )
    .bind(row.recorded_at)
    .bind(row.asked)
    .bind(&row.payer)
    .bind(&row.payee)
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    if merged > 0 {
        sqlx::query("delete from vouchers where id = $1 and state in ('planned', 'submitted')")
            .bind(row.id)
            .execute(&mut **transaction)
            .await?;
        return Ok(());
    }
    sqlx::query(
        "update vouchers set state = 'recorded', came_from = state, transaction_id = null, reason = null, held = $1, retry_at = $2,
                             failures = failures + 1
         where id = $3 and state in ('planned', 'submitted')",
    )
    .bind(Hold::Failed.as_str())
    .bind(codec::signed(retry_at))
    .bind(row.id)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
