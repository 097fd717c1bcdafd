//! Stored packets: in once, out on acknowledgement or when their time is over.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256};
use bytes::Bytes;
use minus_bindings::Amount;
use minus_protocol::{Carriage, Tariff};

use super::{
    Connection, StoreError,
    convert::{address, amount_column, flag, integer, price, unsigned, version},
    customers,
    lines::{self, Book},
};
use crate::agent::lane::Lane;

/// Packets deleted in one transaction at most, so that expiry never holds up arrivals for long.
const EXPIRY_BATCH_MAX: i64 = 256;

/// A relay, as its session names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    pub(crate) node: Address,
    pub(crate) operator: Address,
}

/// A packet at the door.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) wallet: Address,
    /// Who is thought to pay; checked again inside the transaction.
    pub(crate) payer: Address,
    pub(crate) id: B256,
    pub(crate) packet: Bytes,
    pub(crate) now_s: u64,
    /// The relay that brought it, if it came in under a session.
    pub(crate) relay: Option<Relay>,
    pub(crate) own_operator: Address,
    pub(crate) tariff_version: u32,
    pub(crate) tariff: Tariff,
    pub(crate) lane: Lane,
    pub(crate) retention_s: u64,
    /// What the agent fronts for one payer at most.
    pub(crate) customer_credit: Amount,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    New,
    Duplicate,
    /// The wallet is not, or no longer, on that payer's account.
    NotEntrusted,
    /// The lane cannot cover it.
    Spent,
    /// The agent has fronted enough for this payer.
    OverCredit,
}

/// Stores the packet, reserves its worst case and books the relay that brought it, all or nothing.
pub(crate) async fn store(connection: &mut Connection, arrival: &Arrival) -> Result<Stored, StoreError> {
    let seen: Option<i64> = sqlx::query_scalar("select 1 from seen_packets where id = $1")
        .bind(arrival.id.to_vec())
        .fetch_optional(&mut *connection)
        .await?;
    if seen.is_some() {
        return Ok(Stored::Duplicate);
    }
    let wallet = customers::wallet(&mut *connection, arrival.wallet).await?;
    let Some(wallet) = wallet.filter(|wallet| wallet.payer == arrival.payer) else {
        return Ok(Stored::NotEntrusted);
    };
    let mut account =
        customers::account(&mut *connection, wallet.payer).await?.ok_or(StoreError::Corrupt("account"))?;

    let bytes = u64::try_from(arrival.packet.len()).map_err(|_| StoreError::Range("packet"))?;
    let reserve = minus_protocol::reserve(&arrival.tariff, bytes, arrival.retention_s);
    if !arrival.lane.covers(account.vouchered, &[account.reserved, reserve]) {
        return Ok(Stored::Spent);
    }

    let owes_relay = arrival.relay.is_some_and(|relay| relay.operator != arrival.own_operator);
    if owes_relay {
        account.fronted = account.fronted.and(bytes, arrival.tariff);
        if !account.fronted.is_within(arrival.customer_credit) {
            return Ok(Stored::OverCredit);
        }
    }

    account.reserved = account.reserved.checked_add(reserve).ok_or(StoreError::Range("reserve"))?;
    customers::save_account(connection, &account).await?;
    let seq = wallet.last_seq + 1;
    sqlx::query("update wallets set last_seq = $1 where wallet = $2")
        .bind(integer(seq)?)
        .bind(arrival.wallet.to_vec())
        .execute(&mut *connection)
        .await?;
    sqlx::query("insert into packets values ($1, $2, $3, $4, $5, $6, $7)")
        .bind(arrival.wallet.to_vec())
        .bind(integer(seq)?)
        .bind(integer(arrival.now_s)?)
        .bind(i64::from(arrival.tariff_version))
        .bind(i64::from(arrival.relay.is_some()))
        .bind(amount_column(reserve))
        .bind(arrival.packet.to_vec())
        .execute(&mut *connection)
        .await?;
    sqlx::query("insert into seen_packets values ($1, $2)")
        .bind(arrival.id.to_vec())
        .bind(integer(arrival.now_s)?)
        .execute(&mut *connection)
        .await?;
    sqlx::query("insert into tariffs values ($1, $2, $3, $4) on conflict do nothing")
        .bind(i64::from(arrival.tariff_version))
        .bind(arrival.tariff.delivery.to_string())
        .bind(arrival.tariff.relay.to_string())
        .bind(arrival.tariff.storing.to_string())
        .execute(&mut *connection)
        .await?;
    if let Some(relay) = arrival.relay {
        super::peers::count_at_agent(connection, relay, u128::from(bytes), 0).await?;
        if owes_relay {
            let mut owed = lines::load(connection, Book::Owed, relay.operator).await?;
            lines::add_relayed(&mut owed, arrival.tariff_version, arrival.tariff, u128::from(bytes))?;
            lines::replace(connection, Book::Owed, relay.operator, &owed).await?;
        }
    }
    Ok(Stored::New)
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

/// Deletes a wallet's packets up to `through` and gives back the sum of their reserves.
pub(crate) async fn delete_through(
    connection: &mut Connection,
    wallet: Address,
    through: u64,
) -> Result<Amount, StoreError> {
    let reserves: Vec<String> =
        sqlx::query_scalar("delete from packets where wallet = $1 and seq <= $2 returning reserve")
            .bind(wallet.to_vec())
            .bind(integer(through)?)
            .fetch_all(connection)
            .await?;
    customers::sum(&reserves)
}

/// Deletes some packets stored before `before_s`, unpaid, and releases their reserves. Returns how many.
pub(crate) async fn expire(connection: &mut Connection, before_s: u64) -> Result<usize, StoreError> {
    let rows: Vec<(Vec<u8>, i64, String, Vec<u8>)> = sqlx::query_as(
        "select p.wallet, p.seq, p.reserve, w.payer from packets p join wallets w using (wallet)
         where p.stored_at < $1 order by p.stored_at limit $2",
    )
    .bind(integer(before_s)?)
    .bind(EXPIRY_BATCH_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let mut released = BTreeMap::<Address, Vec<String>>::new();
    let expired = rows.len();
    for (wallet, seq, reserve, payer) in rows {
        sqlx::query("delete from packets where wallet = $1 and seq = $2")
            .bind(wallet)
            .bind(seq)
            .execute(&mut *connection)
            .await?;
        released.entry(address(&payer)?).or_default().push(reserve);
    }
    for (payer, reserves) in released {
        let mut account = customers::account(&mut *connection, payer).await?.ok_or(StoreError::Corrupt("account"))?;
        account.reserved = account.reserved.saturating_sub(customers::sum(&reserves)?);
        customers::save_account(connection, &account).await?;
    }
    Ok(expired)
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

/// The bill-relevant facts of a wallet's packets up to `through`.
pub(crate) async fn carriages(
    connection: &mut Connection,
    wallet: Address,
    through: u64,
) -> Result<Vec<Carriage>, StoreError> {
    let rows: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
        "select length(packet), stored_at, tariff_version, relayed_in
         from packets where wallet = $1 and seq <= $2 order by seq",
    )
    .bind(wallet.to_vec())
    .bind(integer(through.min(i64::MAX.unsigned_abs()))?)
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|(bytes, stored_at, tariff_version, relayed_in)| {
            Ok(Carriage {
                bytes: unsigned(bytes)?,
                stored_at: unsigned(stored_at)?,
                tariff_version: version(tariff_version)?,
                relayed_in: flag(relayed_in)?,
            })
        })
        .collect()
}
