//! `kill -9` of agent, relays and settlers at random moments of the journey: what was acknowledged is not lost, nothing
//! is charged twice, and the books at the end are those of an undisturbed run (laws 8 and 9).

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use minus_tests::journey::{PREPAID_TOKENS, Travellers, claim, payments, random_file, settle, wire_bytes};
use minus_tests::world::books::table;
use minus_tests::world::network::Network;
use minus_tests::world::process::Shared;
use rand::{Rng, SeedableRng};

/// Kills in an ordinary run, and in a deep one.
const KILLS: u32 = 24;
const KILLS_DEEP: u32 = 1_000;

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
    let kills_wanted = if std::env::var("MINUS_DEEP").is_ok_and(|deep| !deep.is_empty()) { KILLS_DEEP } else { KILLS };
    let folder = tempfile::tempdir()?;
    let network = Network::start(folder.path(), |_| {}).await?;
    let prepaid = PREPAID_TOKENS + PREPAID_TOKENS_PER_KILL * u128::from(kills_wanted);
    let travellers = Travellers::prepare(&network, prepaid, false).await?;

    let started = Instant::now();
    let kills = AtomicU32::new(0);
    let victims: Vec<Shared> =
        network.operators.iter().flat_map(|operator| [operator.node.clone(), operator.settler.clone()]).collect();
    let misfortune = misfortune(&victims, kills_wanted, &kills);
    let journey = async {
        let mut sent_bytes = 0;
        let mut round = 0_u64;
        while kills.load(Ordering::Relaxed) < kills_wanted || round == 0 {
            let round_folder = folder.path().join(format!("round-{round}"));
            std::fs::create_dir(&round_folder)?;
            let files: Vec<_> = (0..FILES_PER_ROUND).map(|at| round_folder.join(format!("{at}.bin"))).collect();
            for (at, file) in (0_u64..).zip(&files) {
                random_file(file, FILE_BYTES, SEED ^ (round << 8) ^ at)?;
            }
            sent_bytes += wire_bytes(&travellers.send(&network, &files).await?);
            travellers.receive(&network, &files, &round_folder.join("received")).await?;
            // Compared byte for byte; a deep run would fill the disk with them.
            std::fs::remove_dir_all(&round_folder)?;
            // Some of these find a settler that is down, or lose it while they wait; the last ones below must not.
            for operator in &network.operators {
                let _ = claim(operator, "5s").await;
            }
            round += 1;
        }
        Ok::<_, anyhow::Error>((sent_bytes, round))
    };
    let (killed, travelled) = tokio::join!(misfortune, journey);
    killed?;
    let (sent_bytes, rounds) = travelled?;
    ensure!(kills.load(Ordering::Relaxed) >= kills_wanted);

    network.ready().await?;
    let books = settle(&network, &travellers).await?;
    let seconds = started.elapsed().as_secs();
    println!("{kills_wanted} kills, {rounds} rounds, {sent_bytes} bytes sent in {seconds} s\n{}", table(&books));
    // What an undisturbed run counts: each packet delivered once, relayed once in and once out.
    ensure!(books[0].payee_counts.delivered == sent_bytes, "delivered {:?}", books[0].payee_counts);
    ensure!(books[0].payee_counts.relayed == 2 * sent_bytes, "relayed {:?}", books[0].payee_counts);
    ensure!(books[1].payee_counts.relayed == sent_bytes && books[2].payee_counts.relayed == sent_bytes);
    // Claiming again moves nothing.
    settle(&network, &travellers).await?;
    ensure!(payments(&network, &travellers).await? == books, "a second claim moved money");
    Ok(())
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
