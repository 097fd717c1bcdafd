//! The best voucher of each lane. What is not handed over is the outbox; since totals are cumulative, only the latest
//! of a lane matters.

use alloy::primitives::Address;
use minus_bindings::SignedVoucher;

use super::{
    Connection, StoreError,
    convert::{address, amount, amount_column},
};

type Row = (Vec<u8>, Vec<u8>, String, Vec<u8>);

fn voucher((payer, payee, cumulative, signature): Row) -> Result<SignedVoucher, StoreError> {
    Ok(SignedVoucher {
        payer: address(&payer)?,
        payee: address(&payee)?,
        cumulative: amount(&cumulative)?,
        signature: signature.try_into().map_err(|_| StoreError::Corrupt("signature"))?,
    })
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
    let rows: Vec<Row> = sqlx::query_as(
        "select payer, payee, cumulative, signature from vouchers
         where handed_over = 0 and (payer, payee) > ($1, $2) order by payer, payee limit $3",
    )
    .bind(after.0.to_vec())
    .bind(after.1.to_vec())
    .bind(i64::from(count_max))
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(voucher).collect()
}

/// How many vouchers the settler does not have yet.
pub(crate) async fn waiting<'e>(executor: impl sqlx::AnyExecutor<'e>) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("select count(*) from vouchers where handed_over = 0").fetch_one(executor).await?)
}

/// The settler has exactly this one. A better one that came meanwhile stays in the outbox.
pub(crate) async fn handed_over(connection: &mut Connection, given: &SignedVoucher) -> Result<(), StoreError> {
    sqlx::query("update vouchers set handed_over = 1 where payer = $1 and payee = $2 and cumulative = $3")
        .bind(given.payer.to_vec())
        .bind(given.payee.to_vec())
        .bind(amount_column(given.cumulative))
        .execute(connection)
        .await?;
    Ok(())
}
