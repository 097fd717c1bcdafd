//! Random schedules: strangers send new packets, copies of old ones by other ways, and what they got no answer for;
//! wallets come and go in the middle of streams and acknowledge late and twice; relays are switched; everything is killed;
//! settlers claim. When all is quiet every packet was told once, charged once per service, and all books are equal.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use minus_protocol::Packet;
use minus_tests::journey::claim;
use minus_tests::world::books::table;
use minus_tests::world::eventually;
use minus_tests::world::network::{Network, Operator};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::books::{check_bytes, settle};
use super::people::{Receiver, letter, payer, post};

/// The seed of an ordinary run; a deep one takes the clock's.
const SEED: u64 = 0x006c_6179_6572;

/// How long everything happens at once, in an ordinary run and in each round of a deep one.
const TURMOIL: Duration = Duration::from_secs(8);
const TURMOIL_DEEP: Duration = Duration::from_secs(60);
const ROUNDS_DEEP: u64 = 4;

/// What each payer prepays: above the worst case of all that is sent, because here no lane may be spent.
const PREPAID_TOKENS: u128 = 200;

/// Strangers who send at the same time.
const SENDERS: u64 = 3;

/// The longest text of a packet: a few are much longer than the rest, so that a stream breaks inside one.
const TEXT_BYTES_MAX: usize = 40_000;

/// How long an unlucky packet may be tried for once the turmoil is over.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

/// After so long without a message, a wallet takes it that nothing more will come.
const QUIET: Duration = Duration::from_millis(1_500);

/// A packet on its way.
struct Letter {
    to: usize,
    text: String,
    packet: Packet,
    /// Whether somebody was told 202 about it.
    taken: bool,
}

struct Play<'a> {
    network: &'a Network,
    receivers: Vec<Receiver>,
    letters: Mutex<Vec<Letter>>,
    http: reqwest::Client,
    until: Instant,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_schedules_end_in_equal_books() -> Result<()> {
    let is_deep = std::env::var("MINUS_DEEP").is_ok_and(|deep| !deep.is_empty());
    let clock = std::time::UNIX_EPOCH.elapsed()?.subsec_nanos();
    let seed = match std::env::var("MINUS_SEED") {
        Ok(seed) => seed.parse().context("MINUS_SEED is a whole number")?,
        Err(_) if is_deep => u64::from(clock),
        Err(_) => SEED,
    };
    println!("seed {seed} (MINUS_SEED={seed} repeats it as far as the machine's timing allows)");
    let folder = tempfile::tempdir()?;
    let network = Network::start(folder.path(), |_| {}).await?;
    // Two wallets on one account, and one on another: which of them are billed when must not matter.
    let mut receivers = payer(&network, "two wallets", PREPAID_TOKENS, 2).await?;
    receivers.extend(payer(&network, "one wallet", PREPAID_TOKENS, 1).await?);
    let http = reqwest::Client::new();
    let mut play = Play { network: &network, receivers, letters: Mutex::default(), http, until: Instant::now() };
    let (rounds, turmoil) = if is_deep { (ROUNDS_DEEP, TURMOIL_DEEP) } else { (1, TURMOIL) };
    for round in 0..rounds {
        play.until = Instant::now() + turmoil;
        let seed = seed ^ (round << 48);
        let senders = futures_util::future::try_join_all((1..=SENDERS).map(|at| play.sends(seed ^ at)));
        let (first, second, third) = (&play.receivers[0], &play.receivers[1], &play.receivers[2]);
        tokio::try_join!(
            senders,
            play.comes_and_goes(first, seed ^ 0x100),
            play.comes_and_goes(second, seed ^ 0x200),
            play.comes_and_goes(third, seed ^ 0x300),
            play.kills(seed ^ 0x400),
            play.claims(seed ^ 0x500),
        )
        .with_context(|| format!("seed {seed}"))?;
        play.quiet().await.with_context(|| format!("after the turmoil of seed {seed}"))?;
    }
    Ok(())
}

impl Play<'_> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn letters<T>(&self, read: impl FnOnce(&mut Vec<Letter>) -> T) -> T {
        read(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The agent itself or one of the relays.
    fn any_operator(&self, random: &mut StdRng) -> &Operator {
        &self.network.operators[random.random_range(0..self.network.operators.len())]
    }

    /// A stranger who writes, sends again by another way, and hangs up before the answer comes.
    async fn sends(&self, seed: u64) -> Result<()> {
        let mut random = StdRng::seed_from_u64(seed);
        while !self.is_over() {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..80))).await;
            let written = self.letters(|letters| letters.len());
            let which = if written == 0 || random.random_bool(0.6) {
                self.writes(&mut random)?
            } else {
                random.random_range(0..written)
            };
            let packet = self.letters(|letters| letters[which].packet.clone());
            let endpoint = &self.any_operator(&mut random).endpoint;
            let posted = post(&self.http, endpoint, &packet);
            let patience = if random.random_bool(0.2) { random.random_range(0..40) } else { 20_000 };
            if let Ok(status) = tokio::time::timeout(Duration::from_millis(patience), posted).await {
                self.answered(which, status)?;
            }
        }
        Ok(())
    }

    fn writes(&self, random: &mut StdRng) -> Result<usize> {
        let to = random.random_range(0..self.receivers.len());
        let length = if random.random_bool(0.1) { TEXT_BYTES_MAX } else { random.random_range(0..2_000) };
        let text = format!("{:016x} {}", random.random::<u64>(), "m".repeat(length));
        let packet = letter(self.network, &self.receivers[to], &text)?;
        Ok(self.letters(|letters| {
            letters.push(Letter { to, text, packet, taken: false });
            letters.len() - 1
        }))
    }

    /// Whatever a killed node's neighbours say may pass; that the lane is spent or the packet is bad is never true here.
    fn answered(&self, which: usize, status: Option<u16>) -> Result<()> {
        match status {
            Some(202) => self.letters(|letters| letters[which].taken = true),
            Some(400 | 402 | 404 | 413) => ensure!(false, "a packet was answered {status:?}"),
            _ => {}
        }
        Ok(())
    }

    /// A wallet that listens through one node or another, is dropped in the middle of it, and stays away for a while.
    async fn comes_and_goes(&self, receiver: &Receiver, seed: u64) -> Result<()> {
        let mut random = StdRng::seed_from_u64(seed);
        while !self.is_over() {
            let via = self.any_operator(&mut random).node_address;
            let stays = Duration::from_millis(random.random_range(50..2_500));
            // An error is a node that was killed too often in a row; what is owed is settled at the end.
            let _ = tokio::time::timeout(stays, receiver.listen(Some(via), QUIET)).await;
            if random.random_bool(0.4) {
                receiver.acknowledge_again(self.network).await?;
            }
            tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        }
        Ok(())
    }

    /// `kill -9` of nodes and settlers.
    async fn kills(&self, seed: u64) -> Result<()> {
        let mut random = StdRng::seed_from_u64(seed);
        while !self.is_over() {
            tokio::time::sleep(Duration::from_millis(random.random_range(200..1_500))).await;
            let operator = self.any_operator(&mut random);
            let victim = if random.random_bool(0.8) { &operator.node } else { &operator.settler };
            victim.lock().kill();
            tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
            victim.lock().start()?;
        }
        Ok(())
    }

    /// Claims in the middle of everything; some find a settler that is down.
    async fn claims(&self, seed: u64) -> Result<()> {
        let mut random = StdRng::seed_from_u64(seed);
        while !self.is_over() {
            tokio::time::sleep(Duration::from_millis(random.random_range(500..2_500))).await;
            let _ = claim(self.any_operator(&mut random), "2s").await;
        }
        Ok(())
    }

    /// Everything is up again, every packet is taken, every wallet fetches what is left and pays for it.
    async fn quiet(&self) -> Result<()> {
        self.network.ready().await?;
        let letters = self.letters(|letters| letters.len());
        for which in 0..letters {
            eventually("a packet to be taken", TAKEN_WITHIN, || async {
                let (packet, taken) = self.letters(|letters| (letters[which].packet.clone(), letters[which].taken));
                if !taken {
                    let relay = self.network.relay_in();
                    self.answered(which, post(&self.http, &relay.endpoint, &packet).await)?;
                }
                Ok(self.letters(|letters| letters[which].taken).then_some(()))
            })
            .await?;
        }
        for receiver in &self.receivers {
            receiver.listen(Some(self.network.relay_out().node_address), QUIET).await?;
        }
        for (at, receiver) in self.receivers.iter().enumerate() {
            let texts: Vec<String> = self.letters(|letters| {
                letters.iter().filter(|letter| letter.to == at).map(|letter| letter.text.clone()).collect()
            });
            receiver.check_texts(&texts, true)?;
        }
        let (first, other) = (&self.receivers[0], &self.receivers[2]);
        let payments = settle(self.network, &[first, other]).await?;
        println!("{letters} packets\n{}", table(&payments));
        let bytes = |wallets: &[usize]| -> u128 {
            self.letters(|letters| {
                let sent = letters.iter().filter(|letter| wallets.contains(&letter.to));
                sent.map(|letter| u128::try_from(letter.packet.len()).unwrap_or(u128::MAX)).sum()
            })
        };
        check_bytes(&payments, 2, &[bytes(&[0, 1]), bytes(&[2])])
    }
}
