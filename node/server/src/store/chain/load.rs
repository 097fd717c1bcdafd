//! Reads the whole view into memory, table by table.

use std::sync::Arc;

use alloy::primitives::{Address, U256, aliases::U96};
use futures_util::TryStreamExt;
use minus_bindings::IPrepaymentEscrow::Mandate;
use minus_protocol::Tariff;
use sqlx::AnyPool;

use crate::{
    agent::lane::Lane,
    chain::{
        NodeRecord,
        events::Key,
        record::Announced,
        tables::{Batch, Tables},
        window::Block,
    },
    store::{
        Store, StoreError,
        convert::{address, amount, count, hash, price, unsigned, version},
    },
};

/// Rows read at a time, which is all that is in memory twice.
const ROWS_PER_CHUNK: usize = 8_192;

/// Everything the store knows of the chain. Nothing may write it meanwhile.
pub(crate) async fn load(store: &Store) -> Result<Tables, StoreError> {
    let readers = store.readers();
    let mut tables = Tables::default();
    let mut batch = Batch { nodes: nodes(readers).await?, tariffs: tariffs(readers).await?, ..Batch::default() };
    batch.mandates = mandates(readers).await?;
    batch.delegates = delegates(readers).await?;
    batch.blocks = blocks(readers).await?;
    batch.unread = unread(readers).await?;
    tables.apply(&batch);
    let rows = async |table| -> Result<usize, StoreError> {
        let rows: i64 = sqlx::query_scalar(table).fetch_one(readers).await?;
        Ok(usize::try_from(rows).unwrap_or_default())
    };
    tables.reserve(rows("select count(*) from chain_routes").await?, rows("select count(*) from chain_lanes").await?);
    routes(readers, &mut tables).await?;
    lanes(readers, &mut tables).await?;
    Ok(tables)
}

async fn routes(readers: &AnyPool, tables: &mut Tables) -> Result<(), StoreError> {
    let rows = sqlx::query_as::<_, (Vec<u8>, Vec<u8>)>("select wallet, agent from chain_routes").fetch(readers);
    let mut chunks = rows.try_chunks(ROWS_PER_CHUNK);
    while let Some(chunk) = chunks.try_next().await.map_err(|error| error.1)? {
        let route = |(wallet, agent): &(Vec<u8>, Vec<u8>)| Ok((address(wallet)?, address(agent)?));
        let routes = chunk.iter().map(route).collect::<Result<_, StoreError>>()?;
        tables.apply(&Batch { routes, ..Batch::default() });
    }
    Ok(())
}

type LaneRow = (Vec<u8>, Vec<u8>, String, String, String);

async fn lanes(readers: &AnyPool, tables: &mut Tables) -> Result<(), StoreError> {
    let rows = sqlx::query_as::<_, LaneRow>("select payer, payee, deposit, paid, thawing from chain_lanes");
    let mut chunks = rows.fetch(readers).try_chunks(ROWS_PER_CHUNK);
    while let Some(chunk) = chunks.try_next().await.map_err(|error| error.1)? {
        let lane = |(payer, payee, deposit, paid, thawing): &LaneRow| {
            let lane = Lane { deposit: amount(deposit)?, paid: amount(paid)?, thawing: amount(thawing)? };
            Ok((address(payer)?, address(payee)?, lane))
        };
        let lanes = chunk.iter().map(lane).collect::<Result<_, StoreError>>()?;
        tables.apply(&Batch { lanes, ..Batch::default() });
    }
    Ok(())
}

type NodeRow = (Vec<u8>, Vec<u8>, i64, Vec<u8>, String, String, String, i64, String, String, String, i64, Vec<u8>);

async fn nodes(readers: &AnyPool) -> Result<Vec<(Address, Option<Arc<NodeRecord>>)>, StoreError> {
    let rows: Vec<NodeRow> = sqlx::query_as(
        "select node, operator, retired_at, sealing_key, delivery, relay, storing, tariff_version,
         next_delivery, next_relay, next_storing, next_from, endpoint from chain_nodes",
    )
    .fetch_all(readers)
    .await?;
    rows.into_iter()
        .map(|row| {
            let (node, operator, retired_at, key, delivery, relay, storing, number, ..) = &row;
            let (.., next_delivery, next_relay, next_storing, next_from, endpoint) = &row;
            let key: &[u8; 64] = key.as_slice().try_into().map_err(|_| StoreError::Corrupt("sealing key"))?;
            let record = NodeRecord {
                operator: address(operator)?,
                retired_at: unsigned(*retired_at)?,
                sealing_key: (U256::from_be_slice(&key[..32]), U256::from_be_slice(&key[32..])),
                tariff: tariff(delivery, relay, storing)?,
                tariff_version: version(*number)?,
                next: tariff(next_delivery, next_relay, next_storing)?,
                next_from: unsigned(*next_from)?,
                endpoint: String::from_utf8(endpoint.clone()).map_err(|_| StoreError::Corrupt("endpoint"))?,
            };
            Ok((address(node)?, Some(Arc::new(record))))
        })
        .collect()
}

fn tariff(delivery: &str, relay: &str, storing: &str) -> Result<Tariff, StoreError> {
    Ok(Tariff { delivery: price(delivery)?, relay: price(relay)?, storing: price(storing)? })
}

type TariffRow = (Vec<u8>, i64, i64, String, String, String, i64);

async fn tariffs(readers: &AnyPool) -> Result<Vec<(Address, Announced)>, StoreError> {
    let rows: Vec<TariffRow> = sqlx::query_as(
        "select node, version, announced_in, delivery, relay, storing, effective_from from chain_tariffs
         order by announced_in, version",
    )
    .fetch_all(readers)
    .await?;
    rows.into_iter()
        .map(|(node, number, announced_in, delivery, relay, storing, from)| {
            let announced = Announced {
                version: version(number)?,
                tariff: tariff(&delivery, &relay, &storing)?,
                from: unsigned(from)?,
                announced_in: unsigned(announced_in)?,
            };
            Ok((address(&node)?, announced))
        })
        .collect()
}

type MandateRow = (Vec<u8>, Vec<u8>, String, String, String, String, i64);

async fn mandates(readers: &AnyPool) -> Result<Vec<(Address, Address, Mandate)>, StoreError> {
    let rows: Vec<MandateRow> = sqlx::query_as(
        "select payer, payee, daily_cap, accrual_cap, valid_until, accrued, accrued_at from chain_mandates",
    )
    .fetch_all(readers)
    .await?;
    rows.into_iter()
        .map(|(payer, payee, daily_cap, accrual_cap, valid_until, accrued, accrued_at)| {
            let mandate = Mandate {
                dailyCap: U96::from(amount(&daily_cap)?.base_units()),
                accrualCap: U96::from(amount(&accrual_cap)?.base_units()),
                validUntil: price(&valid_until)?,
                accrued: count(&accrued)?,
                accruedAt: unsigned(accrued_at)?,
            };
            Ok((address(&payer)?, address(&payee)?, mandate))
        })
        .collect()
}

async fn delegates(readers: &AnyPool) -> Result<Vec<(Address, Address, bool)>, StoreError> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("select payer, signer from chain_delegates").fetch_all(readers).await?;
    rows.iter().map(|(payer, signer)| Ok((address(payer)?, address(signer)?, true))).collect()
}

async fn blocks(readers: &AnyPool) -> Result<Vec<Block>, StoreError> {
    let rows: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select number, hash from chain_blocks order by number").fetch_all(readers).await?;
    let mut blocks = Vec::new();
    for (number, block_hash) in rows {
        let touched: Vec<(String, Vec<u8>, Vec<u8>)> =
            sqlx::query_as("select kind, first, second from chain_touched where block = $1")
                .bind(number)
                .fetch_all(readers)
                .await?;
        let touched = touched.into_iter().map(key).collect::<Result<_, _>>()?;
        blocks.push(Block { number: unsigned(number)?, hash: hash(&block_hash)?, touched });
    }
    Ok(blocks)
}

async fn unread(readers: &AnyPool) -> Result<std::collections::BTreeSet<Key>, StoreError> {
    let rows: Vec<(String, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("select kind, first, second from chain_unread").fetch_all(readers).await?;
    rows.into_iter().map(key).collect()
}

fn key((kind, first, second): (String, Vec<u8>, Vec<u8>)) -> Result<Key, StoreError> {
    let (first, second) = (address(&first)?, address(&second)?);
    match kind.as_str() {
        "node" => Ok(Key::Node(first)),
        "route" => Ok(Key::Route(first)),
        "lane" => Ok(Key::Lane(first, second)),
        "mandate" => Ok(Key::Mandate(first, second)),
        "delegate" => Ok(Key::Delegate(first, second)),
        _ => Err(StoreError::Corrupt("kind of record")),
    }
}
