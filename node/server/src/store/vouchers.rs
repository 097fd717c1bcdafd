//! The best voucher of each lane. What is not handed over is the outbox; since totals are cumulative, only the latest
//! of a lane matters.

use alloy::primitives::Address;
use minus_bindings::SignedVoucher;

use super::{
    Connection, StoreError,
    convert::{amount, amount_column},
    outbox::{Outbox, Signed},
};

fn voucher(Signed { payer, payee, cumulative, signature }: Signed) -> SignedVoucher {
    SignedVoucher { payer, payee, cumulative, signature }
}

/// Keeps the voucher if it is the lane's best, to be handed over.
pub(crate) async fn keep(connection: &mut Connection, kept: &SignedVoucher) -> Result<(), StoreError> {
    let best: Option<String> = sqlx::query_scalar("select cumulative from vouchers where payer = $1 and payee = $2")
        .bind(kept.payer.to_vec())
        .bind(kept.payee.to_vec())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(best) = best
        && amount(&best)? >= kept.cumulative
    {
        return Ok(());
    }
    sqlx::query(
        "insert into vouchers values ($1, $2, $3, $4, 0) on conflict (payer, payee) do update set
         cumulative = excluded.cumulative, signature = excluded.signature, handed_over = excluded.handed_over",
    )
    .bind(kept.payer.to_vec())
    .bind(kept.payee.to_vec())
    .bind(amount_column(kept.cumulative))
    .bind(kept.signature.to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

/// Some vouchers that the settler does not have yet.
pub(crate) async fn outbox<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    after: (Address, Address),
    count_max: u32,
) -> Result<Vec<SignedVoucher>, StoreError> {
    Ok(Outbox::Vouchers.rows(executor, after, count_max).await?.into_iter().map(voucher).collect())
}

/// How many vouchers the settler does not have yet.
pub(crate) async fn waiting<'e>(executor: impl sqlx::AnyExecutor<'e>) -> Result<i64, StoreError> {
    Outbox::Vouchers.count(executor).await
}

/// The settler has exactly this one. A better one that came meanwhile stays in the outbox.
pub(crate) async fn handed_over(connection: &mut Connection, given: &SignedVoucher) -> Result<(), StoreError> {
    Outbox::Vouchers.handed_over(connection, (given.payer, given.payee), given.cumulative).await
}
