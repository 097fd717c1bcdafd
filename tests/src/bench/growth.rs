//! Flat cost: the same load on one node whose routes, customers and stored messages have grown ten and a hundred times. The
//! rows are written into its store while it is down; its own tables say what they mean. What is posted goes to random ones of
//! all customers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use anyhow::Result;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::load::Outcome;
use super::machine::memory;
use super::node::NodeSide;
use super::report::{Better, Findings, Row};
use super::rounds::{Effort, Figure, once, rows};
use super::side::Side;
use super::stage::Stage;
use super::statistics::{Spread, number};

/// What there is before anything grows.
const CUSTOMERS: i64 = 1_000;
/// Routes in all, those of the customers included.
const ROUTES: i64 = 10_000;
/// Messages that wait in all.
const MESSAGES: i64 = 10_000;

/// Connections that post.
const PUBLISHERS: usize = 64;

/// Bytes of a message that waits: the smallest packet, so that a million fit the disk of a small machine.
const WAITING_BYTES: i64 = 358;

/// A store of some size.
struct Level {
    factor: i64,
    data: PathBuf,
    wallets: Vec<Address>,
    ready_s: Vec<f64>,
    memory_mib: Vec<f64>,
    outcomes: Vec<Outcome>,
}

/// Runs all of it on the stage's agent.
pub async fn measure(stage: &Arc<Stage>, folder: &Path, effort: &Effort, found: &mut Findings) -> Result<()> {
    let factors: &[i64] = if effort.quick { &[1, 10] } else { &[1, 10, 100] };
    let agent = stage.network.agent();
    stage.start(agent).await?;
    agent.node.lock().kill();
    let mut levels: Vec<Level> = Vec::new();
    for factor in factors.iter().copied() {
        let data = folder.join(format!("grown-{factor}"));
        let before = levels.last().map_or_else(|| agent.node_data(), |level| level.data.clone());
        copy(&before, &data)?;
        let wallets = grow(stage, &data.join("node.sqlite"), factor).await?;
        levels.push(Level { factor, data, wallets, ready_s: vec![], memory_mib: vec![], outcomes: vec![] });
    }
    for _ in 0..effort.rounds {
        for level in &mut levels {
            run(stage, level, effort).await?;
        }
    }
    stage.stop(agent)?;
    for level in &levels {
        let refused: u64 = level.outcomes.iter().map(|outcome| outcome.refused).sum();
        found.expect(refused == 0, || format!("growth ×{}: {refused} messages were refused", level.factor));
    }
    if let Some((first, grown)) = levels.split_first() {
        found.rows.extend(grown.iter().flat_map(|level| compare(first, level)));
    }
    Ok(())
}

/// One round of a level: a start on its store, the load, the end.
async fn run(stage: &Arc<Stage>, level: &mut Level, effort: &Effort) -> Result<()> {
    let agent = stage.network.agent();
    let place = agent.node_data();
    std::fs::remove_dir_all(&place)?;
    std::fs::rename(&level.data, &place)?;
    let started = Instant::now();
    agent.node.lock().start()?;
    let readiness = agent.node.lock().readiness();
    readiness.wait().await?;
    level.ready_s.push(started.elapsed().as_secs_f64());
    let side = NodeSide::new(&format!("minus-node ×{}", level.factor), stage, agent, 0)?;
    let side: Arc<dyn Side> = Arc::new(side.posting_to(&level.wallets));
    level.memory_mib.push(number(memory(&side.processes())?) / 1024.0 / 1024.0);
    level.outcomes.push(once(&side, &effort.saturating(PUBLISHERS, false)).await?);
    agent.node.lock().kill();
    std::fs::rename(&place, &level.data)?;
    Ok(std::fs::create_dir(&place)?)
}

fn compare(first: &Level, grown: &Level) -> Vec<Row> {
    let name = format!(
        "×{}: {} customers, {} routes, {} messages",
        grown.factor,
        grown.factor * CUSTOMERS,
        grown.factor * ROUTES,
        grown.factor * MESSAGES
    );
    let mut found = rows(
        &name,
        "×1",
        &grown.outcomes,
        &first.outcomes,
        &[
            Figure { name: "messages/s", better: Better::Higher, of: |of| of.acknowledged_per_s, target: None },
            Figure { name: "server µs of CPU/message", better: Better::Lower, of: |of| of.cpu_us, target: None },
            Figure { name: "p50 ms", better: Better::Lower, of: |of| of.acknowledged.quantile_ms(500), target: None },
            Figure { name: "p99 ms", better: Better::Lower, of: |of| of.acknowledged.quantile_ms(990), target: None },
        ],
    );
    for (figure, ours, peer) in [
        ("start, s", &grown.ready_s, &first.ready_s),
        ("memory after start, MiB", &grown.memory_mib, &first.memory_mib),
    ] {
        if let (Some(ours), Some(peer)) = (Spread::of(ours), Spread::of(peer)) {
            found.push(Row {
                comparison: name.clone(),
                figure: figure.to_owned(),
                better: Better::Lower,
                peer_name: "×1".to_owned(),
                ours,
                peer: Some(peer),
                ratio: Some(ours.median / peer.median),
                target: None,
            });
        }
    }
    found
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Fills a store up to `factor` times the first size; the wallets of all customers.
async fn grow(stage: &Stage, file: &Path, factor: i64) -> Result<Vec<Address>> {
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(10));
    let mut store = options.connect().await?;
    let (agent, other) = (stage.network.agent(), stage.network.relay_in());
    let mut grown = store.begin().await?;
    let customers = missing(&mut grown, "wallets", factor * CUSTOMERS).await?;
    sqlx::query(
        "create temp table grown as with recursive n(i) as (select 1 union all select i + 1 from n where i < $1)
         select i, randomblob(20) as payer, randomblob(20) as wallet from n where $1 > 0",
    )
    .bind(customers)
    .execute(&mut *grown)
    .await?;
    for statement in [
        "insert into accounts (payer, base, vouchered, reserved, stored_bytes, fronted, acknowledged_at)
         select payer, '0', '0', '0', 0, '0', unixepoch() from grown",
        "insert into wallets (wallet, payer, last_seq, entrusted_at) select wallet, payer, 0, unixepoch() from grown",
    ] {
        sqlx::query(statement).execute(&mut *grown).await?;
    }
    sqlx::query(
        "insert into chain_lanes (payer, payee, deposit, paid, thawing)
         select payer, $1, '1000000000000', '0', '0' from grown",
    )
    .bind(agent.address.to_vec())
    .execute(&mut *grown)
    .await?;
    sqlx::query("insert into chain_routes (wallet, agent) select wallet, $1 from grown")
        .bind(agent.node_address.to_vec())
        .execute(&mut *grown)
        .await?;
    let routes = missing(&mut grown, "chain_routes", factor * ROUTES).await?;
    sqlx::query(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < $1)
         insert into chain_routes (wallet, agent) select randomblob(20), $2 from n where $1 > 0",
    )
    .bind(routes)
    .bind(other.node_address.to_vec())
    .execute(&mut *grown)
    .await?;
    wait(&mut grown, customers, factor * MESSAGES).await?;
    sqlx::query("drop table grown").execute(&mut *grown).await?;
    grown.commit().await?;
    let wallets: Vec<Vec<u8>> = sqlx::query_scalar("select wallet from wallets").fetch_all(&mut store).await?;
    store.close().await?;
    Ok(wallets.iter().map(|wallet| Address::from_slice(wallet)).collect())
}

/// Lets messages wait for the new customers, the same number for each.
async fn wait(store: &mut SqliteConnection, customers: i64, messages: i64) -> Result<()> {
    let each = missing(store, "packets", messages).await? / customers.max(1);
    sqlx::query(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < $1)
         insert into packets (wallet, seq, stored_at, tariff_version, relayed_in, reserve, packet)
         select wallet, n.i, unixepoch(), 1, 0, '0', randomblob($2) from grown, n where $1 > 0",
    )
    .bind(each)
    .bind(WAITING_BYTES)
    .execute(&mut *store)
    .await?;
    sqlx::query("update wallets set last_seq = $1 where wallet in (select wallet from grown)")
        .bind(each)
        .execute(&mut *store)
        .await?;
    sqlx::query("update accounts set stored_bytes = $1 where payer in (select payer from grown)")
        .bind(each * WAITING_BYTES)
        .execute(&mut *store)
        .await?;
    // Each had an id once; in their order, or the index would be built row by row all over the file.
    sqlx::query(
        "insert into seen_packets (id, seen_at) select randomblob(32), unixepoch() from packets
         where wallet in (select wallet from grown) order by 1",
    )
    .execute(&mut *store)
    .await?;
    Ok(())
}

/// How many rows a table lacks.
async fn missing(store: &mut SqliteConnection, table: &'static str, wanted: i64) -> Result<i64> {
    let count: i64 = match table {
        "wallets" => sqlx::query_scalar("select count(*) from wallets"),
        "chain_routes" => sqlx::query_scalar("select count(*) from chain_routes"),
        _ => sqlx::query_scalar("select count(*) from packets"),
    }
    .fetch_one(store)
    .await?;
    Ok((wanted - count).max(0))
}
