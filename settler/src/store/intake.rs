//! Recording vouchers: check and insert in one transaction, answered only after it is on disk (law 8).

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};

use super::codec;
use super::database::Write;
use super::lanes::{LaneView, put_view};
use super::open::{Ids, Store, StoreError};
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
    /// Not taken: the log keeps as many lanes as it may, and this is a new one.
    NoRoom,
    /// Not taken: its signer is about to be none, and what another one signed waits safely.
    SignerEnding,
}

/// A signer that ends sooner than this is not trusted to replace another's voucher: the claim might come too late, and
/// with it all that the replaced voucher was good for. The planner claims half a day earlier what is taken in time.
const SIGNER_REST_MIN_S: u64 = 3_600;

impl Store {
    /// Records a batch in one transaction, in order. All that is answered for is durable when this returns. A new lane
    /// beyond `lanes_max` is left out by itself (law 5).
    ///
    /// # Errors
    /// When the database fails; then nothing is recorded.
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
            outcomes.push(record_one(&self.ids, &mut transaction, checked, lanes_max, &mut lanes_left, now).await?);
        }
        transaction.commit().await?;
        Ok(outcomes)
    }
}

async fn record_one(
    ids: &Ids,
    transaction: &mut Write,
    checked: &CheckedVoucher,
    lanes_max: u64,
    lanes_left: &mut Option<u64>,
    now: u64,
) -> Result<Recording, StoreError> {
    let voucher = &checked.voucher;
    let (payer, payee) = (codec::address_text(voucher.payer), codec::address_text(voucher.payee));
    let (cumulative, signature) = (codec::amount_text(voucher.cumulative), codec::bytes_text(&voucher.signature));

    let known: Option<i64> = sqlx::query_scalar("select cast(1 as bigint) from lanes where payer = $1 and payee = $2")
        .bind(&payer)
        .bind(&payee)
        .fetch_optional(&mut **transaction)
        .await?;
    if known.is_none() && !take_room(transaction, lanes_max, lanes_left).await? {
        return Ok(Recording::NoRoom);
    }
    if replaces_for_too_short(transaction, checked, now).await? {
        return Ok(Recording::SignerEnding);
    }
    put_view(transaction, voucher.payer, voucher.payee, &checked.view, now).await?;

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

    // The one that waits is replaced and keeps its age: the lane has waited since then. It keeps its pause after a
    // failure, too, unless it was the signature's; else a payer could end the pause by signing one base unit more.
    sqlx::query(
        "insert into vouchers (id, payer, payee, cumulative, signer, signature, state, came_from, recorded_at)
         values ($7, $1, $2, $3, $4, $5, 'recorded', 'new', $6)
         on conflict (payer, payee) where state = 'recorded'
         do update set cumulative = excluded.cumulative, signer = excluded.signer, signature = excluded.signature,
                       retry_at = case when vouchers.held = 'bad_signature' then 0 else vouchers.retry_at end,
                       held = null",
    )
    .bind(&payer)
    .bind(&payee)
    .bind(&cumulative)
    .bind(codec::address_text(checked.signer))
    .bind(&signature)
    .bind(codec::signed(now))
    .bind(Ids::next(&ids.vouchers))
    .execute(&mut **transaction)
    .await?;
    Ok(Recording::Recorded)
}

/// Does a voucher wait that another signer made, while this one's will soon be none?
async fn replaces_for_too_short(
    transaction: &mut Write,
    checked: &CheckedVoucher,
    now: u64,
) -> Result<bool, StoreError> {
    let ends_at = checked.view.signer_ends_at;
    if ends_at == 0 || ends_at.saturating_sub(now) >= SIGNER_REST_MIN_S {
        return Ok(false);
    }
    let waits: Option<i64> = sqlx::query_scalar(
        "select cast(1 as bigint) from vouchers where payer = $1 and payee = $2 and state = 'recorded' and signer <> $3
                                  and coalesce(held, '') <> 'bad_signature'",
    )
    .bind(codec::address_text(checked.voucher.payer))
    .bind(codec::address_text(checked.voucher.payee))
    .bind(codec::address_text(checked.signer))
    .fetch_optional(&mut **transaction)
    .await?;
    Ok(waits.is_some())
}

/// Is there room for one more lane? Counts once per batch, and only if the batch brings a lane that was not there.
async fn take_room(transaction: &mut Write, lanes_max: u64, lanes_left: &mut Option<u64>) -> Result<bool, StoreError> {
    let left = match *lanes_left {
        Some(left) => left,
        None => {
            let lanes: i64 = sqlx::query_scalar("select count(*) from lanes").fetch_one(&mut **transaction).await?;
            lanes_max.saturating_sub(codec::unsigned(lanes)?)
        }
    };
    *lanes_left = Some(left.saturating_sub(1));
    Ok(left > 0)
}
