//! The persisted view of the chain: what events said, and lanes and delegates as they were last read.

use alloy::primitives::{Address, B256, U256};
use minus_protocol::Tariff;

use super::{
    Connection, StoreError,
    convert::{address, amount, amount_column, flag, hash, integer, price, unsigned, version},
};
use crate::{agent::lane::Lane, chain::NodeRecord};

/// The last block whose events the store contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) block: u64,
    pub(crate) hash: B256,
}

pub(crate) async fn cursor<'e>(executor: impl sqlx::AnyExecutor<'e>) -> Result<Option<Cursor>, StoreError> {
    let row: Option<(i64, Vec<u8>)> =
        sqlx::query_as("select block, hash from chain_cursor").fetch_optional(executor).await?;
    row.map(|(block, block_hash)| Ok(Cursor { block: unsigned(block)?, hash: hash(&block_hash)? })).transpose()
}

pub(crate) async fn set_cursor(connection: &mut Connection, cursor: Cursor) -> Result<(), StoreError> {
    sqlx::query(
        "insert into chain_cursor values (1, $1, $2)
         on conflict (id) do update set block = excluded.block, hash = excluded.hash",
    )
    .bind(integer(cursor.block)?)
    .bind(cursor.hash.to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets everything the chain said: it says something else now.
pub(crate) async fn clear(connection: &mut Connection) -> Result<(), StoreError> {
    for table in [
        "delete from chain_cursor",
        "delete from chain_nodes",
        "delete from chain_routes",
        "delete from chain_lanes",
        "delete from chain_delegates",
    ] {
        sqlx::query(table).execute(&mut *connection).await?;
    }
    Ok(())
}

type NodeRow = (Vec<u8>, i64, Vec<u8>, String, String, String, i64, String, String, String, i64, String);

pub(crate) async fn node<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    node: Address,
) -> Result<Option<NodeRecord>, StoreError> {
    let row: Option<NodeRow> = sqlx::query_as(
        "select operator, retired_at, sealing_key, delivery, relay, storing, tariff_version,
         next_delivery, next_relay, next_storing, next_from, endpoint from chain_nodes where node = $1",
    )
    .bind(node.to_vec())
    .fetch_optional(executor)
    .await?;
    row.map(|row| {
        let (
            operator,
            retired_at,
            key,
            delivery,
            relay,
            storing,
            number,
            next_delivery,
            next_relay,
            next_storing,
            from,
            endpoint,
        ) = row;
        if key.len() != 64 {
            return Err(StoreError::Corrupt("sealing key"));
        }
        Ok(NodeRecord {
            operator: address(&operator)?,
            retired_at: unsigned(retired_at)?,
            sealing_key: (U256::from_be_slice(&key[..32]), U256::from_be_slice(&key[32..])),
            tariff: Tariff { delivery: price(&delivery)?, relay: price(&relay)?, storing: price(&storing)? },
            tariff_version: version(number)?,
            next: Tariff {
                delivery: price(&next_delivery)?,
                relay: price(&next_relay)?,
                storing: price(&next_storing)?,
            },
            next_from: unsigned(from)?,
            endpoint,
        })
    })
    .transpose()
}

pub(crate) async fn save_node(
    connection: &mut Connection,
    node: Address,
    record: &NodeRecord,
) -> Result<(), StoreError> {
    let mut key = record.sealing_key.0.to_be_bytes_vec();
    key.extend(record.sealing_key.1.to_be_bytes_vec());
    sqlx::query(
        "insert into chain_nodes values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         on conflict (node) do update set operator = excluded.operator, retired_at = excluded.retired_at,
         sealing_key = excluded.sealing_key, delivery = excluded.delivery, relay = excluded.relay,
         storing = excluded.storing, tariff_version = excluded.tariff_version, next_delivery = excluded.next_delivery,
         next_relay = excluded.next_relay, next_storing = excluded.next_storing, next_from = excluded.next_from,
         endpoint = excluded.endpoint",
    )
    .bind(node.to_vec())
    .bind(record.operator.to_vec())
    .bind(integer(record.retired_at)?)
    .bind(key)
    .bind(record.tariff.delivery.to_string())
    .bind(record.tariff.relay.to_string())
    .bind(record.tariff.storing.to_string())
    .bind(i64::from(record.tariff_version))
    .bind(record.next.delivery.to_string())
    .bind(record.next.relay.to_string())
    .bind(record.next.storing.to_string())
    .bind(integer(record.next_from)?)
    .bind(record.endpoint.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn agent_of<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    wallet: Address,
) -> Result<Option<Address>, StoreError> {
    let row: Option<Vec<u8>> = sqlx::query_scalar("select agent from chain_routes where wallet = $1")
        .bind(wallet.to_vec())
        .fetch_optional(executor)
        .await?;
    row.as_deref().map(address).transpose()
}

/// Keeps a route unless a newer one is known.
pub(crate) async fn save_route(
    connection: &mut Connection,
    wallet: Address,
    agent: Address,
    nonce: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into chain_routes values ($1, $2, $3) on conflict (wallet) do update
         set agent = excluded.agent, nonce = excluded.nonce where excluded.nonce >= chain_routes.nonce",
    )
    .bind(wallet.to_vec())
    .bind(agent.to_vec())
    .bind(integer(nonce)?)
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn lane<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    payer: Address,
    payee: Address,
) -> Result<Option<Lane>, StoreError> {
    let row: Option<(String, String, String)> =
        sqlx::query_as("select deposit, paid, thawing from chain_lanes where payer = $1 and payee = $2")
            .bind(payer.to_vec())
            .bind(payee.to_vec())
            .fetch_optional(executor)
            .await?;
    row.map(|(deposit, paid, thawing)| {
        Ok(Lane { deposit: amount(&deposit)?, paid: amount(&paid)?, thawing: amount(&thawing)? })
    })
    .transpose()
}

pub(crate) async fn save_lane(
    connection: &mut Connection,
    payer: Address,
    payee: Address,
    lane: &Lane,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into chain_lanes values ($1, $2, $3, $4, $5) on conflict (payer, payee)
         do update set deposit = excluded.deposit, paid = excluded.paid, thawing = excluded.thawing",
    )
    .bind(payer.to_vec())
    .bind(payee.to_vec())
    .bind(amount_column(lane.deposit))
    .bind(amount_column(lane.paid))
    .bind(amount_column(lane.thawing))
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn authorized<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    payer: Address,
    signer: Address,
) -> Result<Option<bool>, StoreError> {
    let row: Option<i64> =
        sqlx::query_scalar("select authorized from chain_delegates where payer = $1 and signer = $2")
            .bind(payer.to_vec())
            .bind(signer.to_vec())
            .fetch_optional(executor)
            .await?;
    row.map(flag).transpose()
}

pub(crate) async fn save_delegate(
    connection: &mut Connection,
    payer: Address,
    signer: Address,
    authorized: bool,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into chain_delegates values ($1, $2, $3)
         on conflict (payer, signer) do update set authorized = excluded.authorized",
    )
    .bind(payer.to_vec())
    .bind(signer.to_vec())
    .bind(i64::from(authorized))
    .execute(connection)
    .await?;
    Ok(())
}
