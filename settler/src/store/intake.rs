//! Recording vouchers: check and insert in one transaction, answered only after it is on disk (law 8).

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};
use sqlx::{Sqlite, Transaction};

use super::codec;
use super::lanes::{LaneView, put_view};
use super::open::{Store, StoreError};
use super::state::Hold;

/// A voucher whose signer was found to be one, with the lane as the chain showed it.
#[derive(Debug, Clone)]
pub struct CheckedVoucher {
    /// What was signed.
    pub voucher: SignedVoucher,
    /// Who signed it: the payer or its delegate.
    pub signer: Address,
    /// The lane at that moment.
    pub view: LaneView,
}

/// What became of a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// It is the best of its lane, and durable.
    Recorded,
    /// Nothing new: as much, or more, was recorded before.
    SameAsBefore,
}

impl Store {
    /// Records a batch in one transaction, in order. All of it is durable when this returns, or none of it.
    ///
    /// # Errors
    /// When the database fails, or a new lane would exceed `lanes_max`.
    pub async fn record(
        &self,
        batch: &[CheckedVoucher],
        lanes_max: u64,
        now: u64,
    ) -> Result<Vec<Recording>, StoreError> {
        let mut transaction = self.begin().await?;
        let mut lanes_left = None;
        let mut outcomes = Vec::with_capacity(batch.len());
        for checked in batch {
            outcomes.push(record_one(&mut transaction, checked, lanes_max, &mut lanes_left, now).await?);
        }
        transaction.commit().await?;
        Ok(outcomes)
    }
}

async fn record_one(
    transaction: &mut Transaction<'static, Sqlite>,
    checked: &CheckedVoucher,
    lanes_max: u64,
    lanes_left: &mut Option<u64>,
    now: u64,
) -> Result<Recording, StoreError> {
    let voucher = &checked.voucher;
    let (payer, payee) = (codec::address_text(voucher.payer), codec::address_text(voucher.payee));
    let (cumulative, signature) = (codec::amount_text(voucher.cumulative), codec::bytes_text(&voucher.signature));

    let known: Option<i64> = sqlx::query_scalar("select 1 from lanes where payer = $1 and payee = $2")
        .bind(&payer)
        .bind(&payee)
        .fetch_optional(&mut **transaction)
        .await?;
    if known.is_none() {
        take_room(transaction, lanes_max, lanes_left).await?;
    }
    put_view(&mut **transaction, voucher.payer, voucher.payee, &checked.view, now).await?;

    let best: Option<String> = sqlx::query_scalar(
        "select cumulative from vouchers where payer = $1 and payee = $2 order by cumulative desc limit 1",
    )
    .bind(&payer)
    .bind(&payee)
    .fetch_optional(&mut **transaction)
    .await?;
    let best = best.as_deref().map(codec::amount).transpose()?.unwrap_or(Amount::ZERO);
    if voucher.cumulative < best || voucher.cumulative.base_units() == 0 {
        return Ok(Recording::SameAsBefore);
    }
    if voucher.cumulative == best {
        // The same total under another signature helps only if the chain stopped to accept the one that waits.
        let mended = sqlx::query(
            "update vouchers set signature = $1, signer = $2, held = null, retry_at = 0, failures = 0
             where payer = $3 and payee = $4 and state = 'recorded' and cumulative = $5 and held = $6
               and signature <> $1",
        )
        .bind(&signature)
        .bind(codec::address_text(checked.signer))
        .bind(&payer)
        .bind(&payee)
        .bind(&cumulative)
        .bind(Hold::BadSignature.as_str())
        .execute(&mut **transaction)
        .await?
        .rows_affected();
        return Ok(if mended == 0 { Recording::SameAsBefore } else { Recording::Recorded });
    }

    // The one that waits is replaced and keeps its age: the lane has waited since then.
    sqlx::query(
        "insert into vouchers (payer, payee, cumulative, signer, signature, state, recorded_at)
         values ($1, $2, $3, $4, $5, 'recorded', $6)
         on conflict (payer, payee) where state = 'recorded'
         do update set cumulative = excluded.cumulative, signer = excluded.signer, signature = excluded.signature,
                       held = null, retry_at = 0, failures = 0",
    )
    .bind(&payer)
    .bind(&payee)
    .bind(&cumulative)
    .bind(codec::address_text(checked.signer))
    .bind(&signature)
    .bind(codec::signed(now))
    .execute(&mut **transaction)
    .await?;
    Ok(Recording::Recorded)
}

/// Counts once per batch, and only if the batch brings a lane that was not there.
async fn take_room(
    transaction: &mut Transaction<'static, Sqlite>,
    lanes_max: u64,
    lanes_left: &mut Option<u64>,
) -> Result<(), StoreError> {
    let left = match *lanes_left {
        Some(left) => left,
        None => {
            let lanes: i64 = sqlx::query_scalar("select count(*) from lanes").fetch_one(&mut **transaction).await?;
            lanes_max.saturating_sub(codec::unsigned(lanes)?)
        }
    };
    *lanes_left = Some(left.checked_sub(1).ok_or(StoreError::Full { lanes: lanes_max, limit: lanes_max })?);
    Ok(())
}
