//! Durable intake over HTTP: bodies of 1,024 vouchers each, 1, 4 and 16 of them under way at once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use minus_bindings::SignedVoucher;
use minus_settler::api::{IntakeAnswer, IntakeResult};
use minus_settler::intake::VOUCHERS_PER_REQUEST_MAX;
use serde_json::json;
use tokio::task::JoinSet;

use super::ground::{Ground, Settler};
use super::options::{Effort, against_goal, alone};
use crate::bench::report::{Better, Row};
use crate::bench::statistics::number;

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

/// Rounds on one settler whose log fills meanwhile.
///
/// # Errors
/// When the settler does not run, or refuses a voucher.
pub async fn measure(folder: &Path, effort: &Effort) -> Result<Vec<Row>> {
    let turns = if effort.quick { 2 } else { 6 };
    let ground = Ground::prepare(&folder.join("intake"), BODIES_PER_TURN * VOUCHERS_PER_REQUEST_MAX).await?;
    let settler = ground.settler("sqlite", SETTINGS).await?;
    let mut total = 0;
    let mut rates = vec![Vec::new(); AT_ONCE.len()];
    // The first hand-in makes the lanes and is shown by itself.
    let first = hand_in(&settler, bodies(&ground, &mut total, 1)?, 1).await?;
    for _ in 0..effort.rounds {
        for (at_once, rates) in AT_ONCE.iter().zip(&mut rates) {
            rates.push(hand_in(&settler, bodies(&ground, &mut total, turns)?, *at_once).await?);
        }
    }
    let mut rows: Vec<Row> =
        alone("intake, SQLite, new lanes", "vouchers/s", Better::Higher, &[first]).into_iter().collect();
    for (at_once, rates) in AT_ONCE.iter().zip(&rates) {
        let name = format!("intake, SQLite, {at_once} at once");
        rows.extend(against_goal(&name, "vouchers/s", Better::Higher, rates, GOAL));
    }
    let peak = number(settler.peak_memory()?) / MIB;
    rows.extend(alone("intake, SQLite", "MiB, peak", Better::Lower, &[peak]));
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

/// Hands all of them in, so many at once; vouchers per second that were answered as durable.
async fn hand_in(settler: &Settler, bodies: Vec<String>, at_once: usize) -> Result<f64> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{}/vouchers", settler.intake);
    let (bodies, next) = (Arc::new(bodies), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
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
    let rate = number(u64::try_from(durable)?) / started.elapsed().as_secs_f64();
    show(at_once, rate);
    Ok(rate)
}

#[expect(clippy::print_stderr, reason = "progress of a command line")]
fn show(at_once: usize, rate: f64) {
    eprintln!("  intake, {at_once} at once: {rate:.0} vouchers/s");
}
