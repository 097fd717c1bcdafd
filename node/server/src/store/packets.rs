//! Stored packets: what is pushed and billed, and how they go: on acknowledgement or when their time is over.

use std::{collections::BTreeMap, sync::LazyLock};

use alloy::primitives::Address;
use bytes::Bytes;
use minus_protocol::{Carriage, Tariff};

use super::{
    Connection, StoreError,
    arrivals::Kept,
    convert::{address, amount_column, flag, integer, price, unsigned, version},
    customers::{self, Held},
    rows::Rows,
};

/// Packets deleted in one transaction at most, so that expiry never holds up arrivals for long.
const EXPIRY_BATCH_MAX: i64 = 256;

/// Packets that one statement covers at most: a customer that comes back to a hundred thousand of them, or says that it has
/// them all, holds up nobody else's write. The next statement covers the next ones.
pub(crate) const STATEMENT_PACKETS_MAX: u32 = 4_096;

/// A relay, as its session names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    pub(crate) node: Address,
    pub(crate) operator: Address,
}

/// A packet to be pushed.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) seq: u64,
    pub(crate) stored_at: u64,
    pub(crate) tariff_version: u32,
    pub(crate) relayed_in: bool,
    pub(crate) packet: Bytes,
}

impl Waiting {
    /// A packet that was let in just now.
    pub(super) fn of(kept: &Kept) -> Self {
        Self {
            seq: kept.seq,
            stored_at: kept.now_s,
            tariff_version: kept.tariff_version,
            relayed_in: kept.relay.is_some(),
            packet: kept.packet.clone(),
        }
    }
}

type WaitingRow = (i64, i64, i64, i64, Vec<u8>);

/// The first packets of a wallet beyond `after`, in order.
pub(crate) async fn waiting<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    wallet: Address,
    after: u64,
    count_max: u32,
) -> Result<Vec<Waiting>, StoreError> {
    let rows: Vec<WaitingRow> = sqlx::query_as(
        "select seq, stored_at, tariff_version, relayed_in, packet
         from packets where wallet = $1 and seq > $2 order by seq limit $3",
    )
    .bind(wallet.to_vec())
    .bind(integer(after.min(i64::MAX.unsigned_abs()))?)
    .bind(i64::from(count_max))
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|(seq, stored_at, tariff_version, relayed_in, packet)| {
            Ok(Waiting {
                seq: unsigned(seq)?,
                stored_at: unsigned(stored_at)?,
                tariff_version: version(tariff_version)?,
                relayed_in: flag(relayed_in)?,
                packet: packet.into(),
            })
        })
        .collect()
}

/// Deletes a wallet's packets up to `through` and gives back what they held.
pub(crate) async fn delete_through(
    connection: &mut Connection,
    wallet: Address,
    through: u64,
) -> Result<Held, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "delete from packets where wallet = $1 and seq <= $2 returning reserve, cast(length(packet) as bigint)",
    )
    .bind(wallet.to_vec())
    .bind(integer(through)?)
    .fetch_all(connection)
    .await?;
    Held::sum(rows.iter().map(|(reserve, bytes)| (reserve.as_str(), *bytes)))
}

type ExpiredRow = (Vec<u8>, i64, String, i64, Vec<u8>);

/// Deletes some packets stored before `before_s`, unpaid, and releases what they held. Returns how many.
pub(crate) async fn expire(connection: &mut Connection, before_s: u64) -> Result<usize, StoreError> {
    let rows: Vec<ExpiredRow> = sqlx::query_as(
        "select p.wallet, p.seq, p.reserve, cast(length(p.packet) as bigint), w.payer
         from packets p join wallets w using (wallet)
         where p.stored_at < $1 order by p.stored_at limit $2",
    )
    .bind(integer(before_s)?)
    .bind(EXPIRY_BATCH_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let mut released = BTreeMap::<Address, Vec<(String, i64)>>::new();
    let expired = rows.len();
    for (wallet, seq, reserve, bytes, payer) in rows {
        sqlx::query("delete from packets where wallet = $1 and seq = $2")
            .bind(wallet)
            .bind(seq)
            .execute(&mut *connection)
            .await?;
        released.entry(address(&payer)?).or_default().push((reserve, bytes));
    }
    for (payer, rows) in released {
        let held = Held::sum(rows.iter().map(|(reserve, bytes)| (reserve.as_str(), *bytes)))?;
        let mut account = customers::account(&mut *connection, payer).await?.ok_or(StoreError::Corrupt("account"))?;
        account.release(held);
        customers::save_account(connection, &account).await?;
    }
    Ok(expired)
}

/// Puts packets that were let in into the table.
pub(super) async fn insert(connection: &mut Connection, kept: &[&Kept]) -> Result<(), StoreError> {
    static PACKETS: LazyLock<Rows> = LazyLock::new(|| Rows::new("insert into packets values", 7, ""));
    for (text, group) in PACKETS.split(connection.backend_name(), kept) {
        let mut query = sqlx::query(text);
        for kept in group {
            query = query
                .bind(kept.wallet.to_vec())
                .bind(integer(kept.seq)?)
                .bind(integer(kept.now_s)?)
                .bind(i64::from(kept.tariff_version))
                .bind(i64::from(kept.relay.is_some()))
                .bind(amount_column(kept.reserve))
                .bind(kept.packet.to_vec());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Keeps a version of this node's own tariff.
pub(super) async fn keep_tariff(connection: &mut Connection, version: u32, tariff: Tariff) -> Result<(), StoreError> {
    sqlx::query("insert into tariffs values ($1, $2, $3, $4) on conflict do nothing")
        .bind(i64::from(version))
        .bind(tariff.delivery.to_string())
        .bind(tariff.relay.to_string())
        .bind(tariff.storing.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// How many packets are stored: for metrics.
pub(crate) async fn count<'e>(executor: impl sqlx::AnyExecutor<'e>) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar("select count(*) from packets").fetch_one(executor).await?;
    unsigned(count)
}

/// This node's own tariff versions that packets were stored under.
pub(crate) async fn tariffs(connection: &mut Connection) -> Result<BTreeMap<u32, Tariff>, StoreError> {
    let rows: Vec<(i64, String, String, String)> =
        sqlx::query_as("select version, delivery, relay, storing from tariffs").fetch_all(connection).await?;
    rows.into_iter()
        .map(|(number, delivery, relay, storing)| {
            let tariff = Tariff { delivery: price(&delivery)?, relay: price(&relay)?, storing: price(&storing)? };
            Ok((version(number)?, tariff))
        })
        .collect()
}

/// The bill-relevant facts of a wallet's first packets up to `through`, and the number of the last that they cover.
pub(crate) async fn carriages(
    connection: &mut Connection,
    wallet: Address,
    through: u64,
) -> Result<(Vec<Carriage>, u64), StoreError> {
    let rows: Vec<(i64, i64, i64, i64, i64)> = sqlx::query_as(
        "select seq, cast(length(packet) as bigint), stored_at, tariff_version, relayed_in
         from packets where wallet = $1 and seq <= $2 order by seq limit $3",
    )
    .bind(wallet.to_vec())
    .bind(integer(through.min(i64::MAX.unsigned_abs()))?)
    .bind(i64::from(STATEMENT_PACKETS_MAX))
    .fetch_all(connection)
    .await?;
    let is_all = u32::try_from(rows.len()).is_ok_and(|count| count < STATEMENT_PACKETS_MAX);
    let covered = match rows.last() {
        Some(&(seq, ..)) if !is_all => unsigned(seq)?,
        _ => through,
    };
    let carriages: Result<Vec<_>, StoreError> = rows
        .into_iter()
        .map(|(_, bytes, stored_at, tariff_version, relayed_in)| {
            Ok(Carriage {
                bytes: unsigned(bytes)?,
                stored_at: unsigned(stored_at)?,
                tariff_version: version(tariff_version)?,
                relayed_in: flag(relayed_in)?,
            })
        })
        .collect();
    Ok((carriages?, covered))
}
