//! Commands that were obeyed. The row is written in the transaction that obeys, so a replay finds it.

use alloy::primitives::B256;

use super::{
    Connection, StoreError,
    convert::{integer, unsigned},
};

/// Marks the command as obeyed. False when it was before.
pub(crate) async fn first_time(connection: &mut Connection, id: B256, now_s: u64) -> Result<bool, StoreError> {
    let done = sqlx::query("insert into commands values ($1, $2) on conflict do nothing")
        .bind(id.to_vec())
        .bind(integer(now_s)?)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// When the last command was obeyed. A clock that says less was set back.
pub(crate) async fn newest<'e>(executor: impl sqlx::AnyExecutor<'e>) -> Result<Option<u64>, StoreError> {
    let newest: Option<i64> = sqlx::query_scalar("select max(seen_at) from commands").fetch_one(executor).await?;
    newest.map(unsigned).transpose()
}

/// Forgets what is too old to be accepted again anyway.
pub(crate) async fn forget(connection: &mut Connection, before_s: u64) -> Result<u64, StoreError> {
    let done =
        sqlx::query("delete from commands where seen_at < $1").bind(integer(before_s)?).execute(connection).await?;
    Ok(done.rows_affected())
}
