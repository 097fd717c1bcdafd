//! `kill -9` of agent, relays and settlers at random moments of the journey: what was acknowledged is not lost, nothing
//! is charged twice, and the books at the end are those of an undisturbed run (laws 8 and 9).

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use minus_tests::journey::{PREPAID_TOKENS, Travellers, claim, payments, random_file, settle, wire_bytes};
use minus_tests::world::books::table;
use minus_tests::world::network::Network;
use minus_tests::world::postgres::Postgres;
use minus_tests::world::process::Shared;
use rand::{Rng, SeedableRng};

/// Kills in an ordinary run, and in a deep one.
const KILLS: u32 = 24;
const KILLS_DEEP: u32 = 1_000;

/// The same with the nodes' books in PostgreSQL: what is their own is tested with SQLite.
const KILLS_ON_POSTGRESQL: u32 = 8;
const KILLS_ON_POSTGRESQL_DEEP: u32 = 100;

/// What the customer prepays beside the ordinary sum, for each kill. A round outlasts several kills and costs a fifth of
/// a token at the operators' tariff, so the lane outlives every run; what it does when it is spent is another test's.
const PREPAID_TOKENS_PER_KILL: u128 = 1;

/// Between two lines that say how far a deep run is.
const KILLS_PER_REPORT: u32 = 100;

/// Files of a round, and their sizes: several packets each, so that a kill falls between packets of one file.
const FILES_PER_ROUND: usize = 3;
const FILE_BYTES: usize = 900_000;

/// The seed of every random choice; printed, so that a failure can be repeated as far as the machine's timing allows.
const SEED: u64 = 0x006d_696e_7573;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_change_no_book() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let network = Network::start(folder.path(), |_| {}).await?;
    survive(&network, folder.path(), kills(KILLS, KILLS_DEEP)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_on_postgresql_keep_the_same_books() -> Result<()> {
    let Some(server) = Postgres::start().await? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let network = Network::register_all(folder.path(), &mut |_| ()).await?;
    for operator in &network.operators {
        let url = server.database(&operator.name.to_lowercase()).await?;
        let mut config = OpenOptions::new().append(true).open(operator.node_config())?;
        writeln!(config, "database_url = {url:?}")?;
    }
    let network = network.run(&mut |_| ()).await?;
    survive(&network, folder.path(), kills(KILLS_ON_POSTGRESQL, KILLS_ON_POSTGRESQL_DEEP)).await?;
    for operator in &network.operators {
        ensure!(!operator.node_data().join("node.sqlite").exists(), "{} kept its books elsewhere", operator.name);
    }
    Ok(())
}

fn kills(ordinary: u32, deep: u32) -> u32 {
    if std::env::var("MINUS_DEEP").is_ok_and(|asked| !asked.is_empty()) { deep } else { ordinary }
}

/// Kills nodes and settlers of a running network so many times while files travel, and compares all books at the end.
async fn survive(network: &Network, folder: &Path, kills_wanted: u32) -> Result<()> {
    let prepaid = PREPAID_TOKENS + PREPAID_TOKENS_PER_KILL * u128::from(kills_wanted);
    let travellers = Travellers::prepare(network, prepaid, false).await?;
    let started = Instant::now();
    let kills = AtomicU32::new(0);
    let victims: Vec<Shared> =
        network.operators.iter().flat_map(|operator| [operator.node.clone(), operator.settler.clone()]).collect();
    let (killed, travelled) = tokio::join!(
        misfortune(&victims, kills_wanted, &kills),
        travel(network, &travellers, folder, kills_wanted, &kills)
    );
    killed?;
    let (sent_bytes, rounds) = travelled?;
    ensure!(kills.load(Ordering::Relaxed) >= kills_wanted);

    network.ready().await?;
    let books = settle(network, &travellers).await?;
    let seconds = started.elapsed().as_secs();
    println!("{kills_wanted} kills, {rounds} rounds, {sent_bytes} bytes sent in {seconds} s\n{}", table(&books));
    // What an undisturbed run counts: each packet delivered once, relayed once in and once out.
    ensure!(books[0].payee_counts.delivered == sent_bytes, "delivered {:?}", books[0].payee_counts);
    ensure!(books[0].payee_counts.relayed == 2 * sent_bytes, "relayed {:?}", books[0].payee_counts);
    ensure!(books[1].payee_counts.relayed == sent_bytes && books[2].payee_counts.relayed == sent_bytes);
    // Claiming again moves nothing.
    settle(network, &travellers).await?;
    ensure!(payments(network, &travellers).await? == books, "a second claim moved money");
    Ok(())
}

/// Sends and receives round after round until enough was killed; the bytes sent and the rounds.
async fn travel(
    network: &Network,
    travellers: &Travellers,
    folder: &Path,
    kills_wanted: u32,
    kills: &AtomicU32,
) -> Result<(u128, u64)> {
    let mut sent_bytes = 0;
    let mut round = 0_u64;
    while kills.load(Ordering::Relaxed) < kills_wanted || round == 0 {
        let round_folder = folder.join(format!("round-{round}"));
        std::fs::create_dir(&round_folder)?;
        let files: Vec<_> = (0..FILES_PER_ROUND).map(|at| round_folder.join(format!("{at}.bin"))).collect();
        for (at, file) in (0_u64..).zip(&files) {
            random_file(file, FILE_BYTES, SEED ^ (round << 8) ^ at)?;
        }
        sent_bytes += wire_bytes(&travellers.send(network, &files).await?);
        travellers.receive(network, &files, &round_folder.join("received")).await?;
        // Compared byte for byte; a long run would fill the disk with them.
        std::fs::remove_dir_all(&round_folder)?;
        // Some of these find a settler that is down, or lose it while they wait; the last ones must not.
        for operator in &network.operators {
            let _ = claim(operator, "5s").await;
        }
        round += 1;
    }
    Ok((sent_bytes, round))
}

/// Kills a random victim at a random moment and starts it again a random moment later, so many times.
async fn misfortune(victims: &[Shared], wanted: u32, kills: &AtomicU32) -> Result<()> {
    let mut random = rand::rngs::StdRng::seed_from_u64(SEED);
    while kills.load(Ordering::Relaxed) < wanted {
        tokio::time::sleep(Duration::from_millis(random.random_range(20..900))).await;
        let victim = &victims[random.random_range(0..victims.len())];
        victim.lock().kill();
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        victim.lock().start()?;
        let so_far = kills.fetch_add(1, Ordering::Relaxed) + 1;
        if so_far.is_multiple_of(KILLS_PER_REPORT) {
            println!("{so_far} kills");
        }
    }
    Ok(())
}
