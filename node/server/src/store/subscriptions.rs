//! The subscription that a wallet's browser may repeat.

use alloy::primitives::{Address, B256};

use super::{
    Connection, StoreError,
    convert::{hash, integer, unsigned},
};

/// What may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permitted {
    /// The id of the packet with the command.
    pub(crate) packet: B256,
    /// When it was accepted.
    pub(crate) since_s: u64,
}

/// What this wallet may repeat, if anything.
pub(crate) async fn permitted<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    wallet: Address,
) -> Result<Option<Permitted>, StoreError> {
    let row: Option<(Vec<u8>, i64)> = sqlx::query_as("select packet, accepted_at from event_sources where wallet = $1")
        .bind(wallet.to_vec())
        .fetch_optional(executor)
        .await?;
    row.map(|(packet, since_s)| Ok(Permitted { packet: hash(&packet)?, since_s: unsigned(since_s)? })).transpose()
}

/// From now on this one, and no older one.
pub(crate) async fn permit(
    connection: &mut Connection,
    wallet: Address,
    packet: B256,
    now_s: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into event_sources values ($1, $2, $3)
         on conflict (wallet) do update set packet = excluded.packet, accepted_at = excluded.accepted_at",
    )
    .bind(wallet.to_vec())
    .bind(packet.to_vec())
    .bind(integer(now_s)?)
    .execute(connection)
    .await?;
    Ok(())
}

/// From now on none.
pub(crate) async fn forbid(connection: &mut Connection, wallet: Address) -> Result<(), StoreError> {
    sqlx::query("delete from event_sources where wallet = $1").bind(wallet.to_vec()).execute(connection).await?;
    Ok(())
}
