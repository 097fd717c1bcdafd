//! Writes a batch of changes. Saving one twice is the same as saving it once: after a commit whose answer was lost, the
//! same blocks are applied again.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, U256};
use minus_bindings::IPrepaymentEscrow::Mandate;
use sqlx::AssertSqlSafe;

use crate::{
    agent::lane::Lane,
    chain::{
        NodeRecord,
        events::Key,
        record::Announced,
        tables::Batch,
        window::{Block, window_start},
    },
    store::{
        Connection, StoreError,
        convert::{amount_column, integer},
    },
};

/// Rows per statement when there are many. Each length is one prepared statement.
const ROWS_PER_STATEMENT: [usize; 3] = [256, 16, 1];

pub(crate) async fn save(connection: &mut Connection, batch: &Batch) -> Result<(), StoreError> {
    if batch.start_over {
        clear(connection).await?;
    }
    if let Some(ancestor) = batch.rewound_to {
        for statement in [
            "delete from chain_blocks where number > $1",
            "delete from chain_touched where block > $1",
            "delete from chain_tariffs where announced_in > $1",
        ] {
            sqlx::query(statement).bind(integer(ancestor)?).execute(&mut *connection).await?;
        }
    }
    for (node, record) in &batch.nodes {
        save_node(connection, *node, record.as_deref()).await?;
    }
    for (node, announced) in &batch.tariffs {
        save_tariff(connection, *node, announced).await?;
    }
    save_routes(connection, &batch.routes).await?;
    for (payer, payee, lane) in &batch.lanes {
        save_lane(connection, *payer, *payee, lane).await?;
    }
    for (payer, payee, mandate) in &batch.mandates {
        save_mandate(connection, *payer, *payee, mandate).await?;
    }
    for (payer, signer, may_sign) in &batch.delegates {
        save_delegate(connection, *payer, *signer, *may_sign).await?;
    }
    save_blocks(connection, &batch.blocks).await?;
    if batch.all_read {
        sqlx::query("delete from chain_unread").execute(&mut *connection).await?;
    }
    save_unread(connection, &batch.unread).await
}

/// Forgets everything the chain said: it says something else now.
async fn clear(connection: &mut Connection) -> Result<(), StoreError> {
    for statement in [
        "delete from chain_blocks",
        "delete from chain_touched",
        "delete from chain_unread",
        "delete from chain_nodes",
        "delete from chain_tariffs",
        "delete from chain_routes",
        "delete from chain_lanes",
        "delete from chain_mandates",
        "delete from chain_delegates",
    ] {
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn save_node(connection: &mut Connection, node: Address, record: Option<&NodeRecord>) -> Result<(), StoreError> {
    let Some(record) = record else {
        sqlx::query("delete from chain_nodes where node = $1").bind(node.to_vec()).execute(connection).await?;
        return Ok(());
    };
    let (x, y) = record.sealing_key;
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
    .bind([x, y].map(|coordinate: U256| coordinate.to_be_bytes::<32>()).concat())
    .bind(record.tariff.delivery.to_string())
    .bind(record.tariff.relay.to_string())
    .bind(record.tariff.storing.to_string())
    .bind(i64::from(record.tariff_version))
    .bind(record.next.delivery.to_string())
    .bind(record.next.relay.to_string())
    .bind(record.next.storing.to_string())
    .bind(integer(record.next_from)?)
    .bind(record.endpoint.as_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn save_tariff(connection: &mut Connection, node: Address, announced: &Announced) -> Result<(), StoreError> {
    sqlx::query(
        "insert into chain_tariffs values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (node, version, announced_in) do update set delivery = excluded.delivery, relay = excluded.relay,
         storing = excluded.storing, effective_from = excluded.effective_from",
    )
    .bind(node.to_vec())
    .bind(i64::from(announced.version))
    .bind(integer(announced.announced_in)?)
    .bind(announced.tariff.delivery.to_string())
    .bind(announced.tariff.relay.to_string())
    .bind(announced.tariff.storing.to_string())
    .bind(integer(announced.from)?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn save_routes(connection: &mut Connection, routes: &BTreeMap<Address, Address>) -> Result<(), StoreError> {
    for (wallet, _) in routes.iter().filter(|(_, agent)| agent.is_zero()) {
        sqlx::query("delete from chain_routes where wallet = $1")
            .bind(wallet.to_vec())
            .execute(&mut *connection)
            .await?;
    }
    let set: Vec<_> = routes.iter().filter(|(_, agent)| !agent.is_zero()).collect();
    let mut left = &set[..];
    for rows in ROWS_PER_STATEMENT {
        let mut chunks = left.chunks_exact(rows);
        for chunk in &mut chunks {
            let places: Vec<_> = (1..=rows).map(|row| format!("(${}, ${})", 2 * row - 1, 2 * row)).collect();
            let statement = format!(
                "insert into chain_routes values {} on conflict (wallet) do update set agent = excluded.agent",
                places.join(", ")
            );
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for (wallet, agent) in chunk {
                query = query.bind(wallet.to_vec()).bind(agent.to_vec());
            }
            query.execute(&mut *connection).await?;
        }
        left = chunks.remainder();
    }
    Ok(())
}

async fn save_lane(connection: &mut Connection, payer: Address, payee: Address, lane: &Lane) -> Result<(), StoreError> {
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

async fn save_mandate(
    connection: &mut Connection,
    payer: Address,
    payee: Address,
    mandate: &Mandate,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into chain_mandates values ($1, $2, $3, $4, $5, $6, $7) on conflict (payer, payee)
         do update set daily_cap = excluded.daily_cap, accrual_cap = excluded.accrual_cap,
         valid_until = excluded.valid_until, accrued = excluded.accrued, accrued_at = excluded.accrued_at",
    )
    .bind(payer.to_vec())
    .bind(payee.to_vec())
    .bind(mandate.dailyCap.to_string())
    .bind(mandate.accrualCap.to_string())
    .bind(mandate.validUntil.to_string())
    .bind(mandate.accrued.to_string())
    .bind(integer(mandate.accruedAt)?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn save_delegate(
    connection: &mut Connection,
    payer: Address,
    signer: Address,
    may_sign: bool,
) -> Result<(), StoreError> {
    let statement = if may_sign {
        "insert into chain_delegates values ($1, $2) on conflict do nothing"
    } else {
        "delete from chain_delegates where payer = $1 and signer = $2"
    };
    sqlx::query(statement).bind(payer.to_vec()).bind(signer.to_vec()).execute(connection).await?;
    Ok(())
}

async fn save_blocks(connection: &mut Connection, blocks: &[Block]) -> Result<(), StoreError> {
    for block in blocks {
        let number = integer(block.number)?;
        sqlx::query("insert into chain_blocks values ($1, $2) on conflict (number) do update set hash = excluded.hash")
            .bind(number)
            .bind(block.hash.to_vec())
            .execute(&mut *connection)
            .await?;
        for key in &block.touched {
            let (kind, first, second) = key_columns(key);
            sqlx::query("insert into chain_touched values ($1, $2, $3, $4) on conflict do nothing")
                .bind(number)
                .bind(kind)
                .bind(first)
                .bind(second)
                .execute(&mut *connection)
                .await?;
        }
    }
    if let Some(newest) = blocks.last() {
        let kept = integer(window_start(newest.number))?;
        for statement in ["delete from chain_blocks where number < $1", "delete from chain_touched where block < $1"] {
            sqlx::query(statement).bind(kept).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

async fn save_unread(connection: &mut Connection, unread: &BTreeSet<Key>) -> Result<(), StoreError> {
    for key in unread {
        let (kind, first, second) = key_columns(key);
        sqlx::query("insert into chain_unread values ($1, $2, $3) on conflict do nothing")
            .bind(kind)
            .bind(first)
            .bind(second)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn key_columns(key: &Key) -> (&'static str, Vec<u8>, Vec<u8>) {
    let (kind, first, second) = match key {
        Key::Node(node) => ("node", node, &Address::ZERO),
        Key::Route(wallet) => ("route", wallet, &Address::ZERO),
        Key::Lane(payer, payee) => ("lane", payer, payee),
        Key::Mandate(payer, payee) => ("mandate", payer, payee),
        Key::Delegate(payer, signer) => ("delegate", payer, signer),
    };
    (kind, first.to_vec(), second.to_vec())
}
