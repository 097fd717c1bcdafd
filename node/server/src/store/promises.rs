//! What this node, as agent, has promised relays, on its way to its own settler, which looks after the money behind it. The
//! signature is not kept: a total that stands in `owed` is signed again, with the same bytes.

use alloy::primitives::Address;
use minus_bindings::Amount;

use super::{
    Connection, StoreError,
    convert::{address, amount, amount_column},
};

/// Totals that the settler does not know of; none was promised where a row is as it was opened.
const UNTOLD: &str = "from owed o left join owed_told t on t.relay_operator = o.relay_operator
                      where o.vouchered <> coalesce(t.told, o.base)";

/// Some relay operators beyond `after` to whom more was promised than the settler knows of, and what.
pub(crate) async fn outbox<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    after: Address,
    count_max: u32,
) -> Result<Vec<(Address, Amount)>, StoreError> {
    let text = format!(
        "select o.relay_operator, o.vouchered {UNTOLD} and o.relay_operator > $1 order by o.relay_operator limit $2"
    );
    let rows: Vec<(Vec<u8>, String)> = sqlx::query_as(sqlx::AssertSqlSafe(text))
        .bind(after.to_vec())
        .bind(i64::from(count_max))
        .fetch_all(executor)
        .await?;
    rows.iter().map(|(operator, total)| Ok((address(operator)?, amount(total)?))).collect()
}

/// How many the settler does not know of.
pub(crate) async fn waiting<'e>(executor: impl sqlx::AnyExecutor<'e>) -> Result<i64, StoreError> {
    let text = format!("select count(*) {UNTOLD}");
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(executor).await?)
}

/// The settler knows of exactly this total. A higher one that was promised meanwhile stays.
pub(crate) async fn told(
    connection: &mut Connection,
    relay_operator: Address,
    total: Amount,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into owed_told values ($1, $2) on conflict (relay_operator) do update set told = excluded.told",
    )
    .bind(relay_operator.to_vec())
    .bind(amount_column(total))
    .execute(connection)
    .await?;
    Ok(())
}
