//! Durable intake over HTTP: bodies of 1,024 vouchers each, 1, 4 and 16 of them under way at once, on both databases.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use minus_bindings::SignedVoucher;
use minus_settler::api::{IntakeAnswer, IntakeResult};
use minus_settler::intake::VOUCHERS_PER_REQUEST_MAX;
use serde_json::json;
use tokio::task::JoinSet;

use super::ground::{Ground, Settler};
use super::options::{Effort, against_goal, alone};
use crate::bench::machine::cpu_time;
use crate::bench::report::{Better, Row};
use crate::bench::statistics::number;
use crate::world::postgres::Postgres;

/// Durable vouchers per second.
const GOAL: f64 = 20_000.0;
/// Hand-ins under way.
const AT_ONCE: [usize; 3] = [1, 4, 16];
/// Bodies for one hand-in of every lane.
const BODIES_PER_TURN: usize = 10;
/// Nothing is worth claiming at this price of gas, so that nothing else goes on.
const SETTINGS: &str = "native_coin_price = \"1000000000\"\npoll_interval = \"1s\"";
/// Bytes of one MiB.
const MIB: f64 = 1_048_576.0;

/// Microseconds of one second.
const MICROS: f64 = 1e6;

/// A settler and its database's server, if that is one.
struct Side {
    settler: Settler,
    server: Option<Postgres>,
}

impl Side {
    /// Processor time of both so far.
    fn cpu_time(&self) -> Result<Duration> {
        let mut processes = self.server.as_ref().map(Postgres::processes).unwrap_or_default();
        processes.push(self.settler.pid()?);
        Ok(cpu_time(&processes))
    }
}

/// What one hand-in came to.
struct HandedIn {
    /// Vouchers per second that were answered as durable.
    rate: f64,
    /// Processor time of the settler and its database, microseconds a voucher.
    micros: f64,
}

/// Rounds on one settler of each database, whose log fills meanwhile.
///
/// # Errors
/// When a settler does not run, or refuses a voucher.
pub async fn measure(folder: &Path, effort: &Effort, skipped: &mut Vec<String>) -> Result<Vec<Row>> {
    let ground = Ground::prepare(&folder.join("intake"), BODIES_PER_TURN * VOUCHERS_PER_REQUEST_MAX).await?;
    let mut total = 0;
    let settler = ground.settler("sqlite", SETTINGS).await?;
    let mut rows = rounds("intake, SQLite", &Side { settler, server: None }, &ground, &mut total, effort).await?;
    match Postgres::start().await? {
        None => skipped.push("intake on PostgreSQL: there is none".to_owned()),
        Some(server) => {
            let database = server.database("settler").await?;
            let settings = format!("{SETTINGS}\ndatabase = {database:?}");
            let settler = ground.settler("postgresql", &settings).await?;
            let side = Side { settler, server: Some(server) };
            rows.extend(rounds("intake, PostgreSQL", &side, &ground, &mut total, effort).await?);
        }
    }
    Ok(rows)
}

async fn rounds(name: &str, side: &Side, ground: &Ground, total: &mut u128, effort: &Effort) -> Result<Vec<Row>> {
    let turns = if effort.quick { 2 } else { 6 };
    // The first hand-in makes the lanes and is shown by itself.
    let first = hand_in(side, bodies(ground, total, 1)?, 1).await?;
    let mut found: Vec<Vec<HandedIn>> = AT_ONCE.iter().map(|_| Vec::new()).collect();
    for _ in 0..effort.rounds {
        for (at_once, found) in AT_ONCE.iter().zip(&mut found) {
            found.push(hand_in(side, bodies(ground, total, turns)?, *at_once).await?);
        }
    }
    let new = format!("{name}, new lanes");
    let mut rows: Vec<Row> = Vec::new();
    rows.extend(alone(&new, "vouchers/s", Better::Higher, &[first.rate]));
    rows.extend(alone(&new, "µs of processor", Better::Lower, &[first.micros]));
    for (at_once, found) in AT_ONCE.iter().zip(&found) {
        let name = format!("{name}, {at_once} at once");
        let of = |figure: fn(&HandedIn) -> f64| found.iter().map(figure).collect::<Vec<f64>>();
        rows.extend(against_goal(&name, "vouchers/s", Better::Higher, &of(|found| found.rate), GOAL));
        rows.extend(alone(&name, "µs of processor", Better::Lower, &of(|found| found.micros)));
    }
    let peak = number(side.settler.peak_memory()?) / MIB;
    rows.extend(alone(name, "MiB, peak", Better::Lower, &[peak]));
    Ok(rows)
}

/// Every lane's next vouchers, some turns of them.
fn bodies(ground: &Ground, total: &mut u128, turns: usize) -> Result<Vec<String>> {
    let mut bodies = Vec::new();
    for _ in 0..turns {
        *total += 1;
        let vouchers = ground.sign(*total)?;
        let body = |vouchers: &[SignedVoucher]| json!({ "vouchers": vouchers }).to_string();
        bodies.extend(vouchers.chunks(VOUCHERS_PER_REQUEST_MAX).map(body));
    }
    Ok(bodies)
}

/// Hands all of them in, so many at once.
async fn hand_in(side: &Side, bodies: Vec<String>, at_once: usize) -> Result<HandedIn> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{}/vouchers", side.settler.intake);
    let (bodies, next) = (Arc::new(bodies), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    let used = side.cpu_time()?;
    let started = Instant::now();
    for _ in 0..at_once {
        let (http, url, bodies, next) = (http.clone(), url.clone(), bodies.clone(), next.clone());
        workers.spawn(async move {
            let mut durable = 0;
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let request = http.post(&url).header("content-type", "application/json").body(body.clone());
                let answer = request.send().await?.error_for_status()?.json::<IntakeAnswer>().await?;
                let refused = answer.results.iter().find(|result| matches!(result, IntakeResult::Refused { .. }));
                ensure!(refused.is_none(), "a good voucher was refused: {refused:?}");
                durable += answer.results.len();
            }
            Ok(durable)
        });
    }
    let mut durable = 0;
    while let Some(worker) = workers.join_next().await {
        durable += worker.context("a worker")??;
    }
    let durable = number(u64::try_from(durable)?);
    let rate = durable / started.elapsed().as_secs_f64();
    let micros = MICROS * (side.cpu_time()? - used).as_secs_f64() / durable;
    show(at_once, rate, micros);
    Ok(HandedIn { rate, micros })
}

#[expect(clippy::print_stderr, reason = "progress of a command line")]
fn show(at_once: usize, rate: f64, micros: f64) {
    eprintln!("  intake, {at_once} at once: {rate:.0} vouchers/s, {micros:.0} µs of processor each");
}
