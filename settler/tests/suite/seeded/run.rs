//! One run: several lives of a settler in a storm, each ended at a moment of its own, and one in calm weather.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::signers::k256::elliptic_curve::rand_core::OsRng;
use alloy::signers::local::PrivateKeySigner;
use minus_settler::api::{IntakeAnswer, IntakeResult};
use minus_settler::check::Refusal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;

use super::fault::Counts;
use super::ground::Ground;
use super::life::Life;
use super::proxy::{Moment, Proxy};
use super::purse::Purse;

const PASSWORD: &str = "correct horse";
/// A death that no trap brought.
const OF_AGE: &str = "of age";
/// Lives in the storm.
const LIVES: u32 = 4;

/// What happened in a run.
#[derive(Default)]
pub(super) struct Account {
    pub(super) faults: Counts,
    /// Deaths by where the trap was set, and those of old age.
    pub(super) deaths: BTreeMap<&'static str, u64>,
    pub(super) acknowledged: u64,
}

/// One run.
pub(super) struct Run<'g> {
    pub(super) seed: u64,
    pub(super) ground: &'g Ground,
    pub(super) purse: Purse,
    pub(super) folder: PathBuf,
    pub(super) account: Account,
    proxies: Vec<Proxy>,
    random: StdRng,
    as_process: bool,
}

impl<'g> Run<'g> {
    pub(super) async fn new(seed: u64, ground: &'g Ground, purse: Purse) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let folder = ground.world.path(&format!("run-{seed}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut proxies = Vec::new();
        // One endpoint, two, or three of which one lies.
        let endpoints = random.random_range(1..=3);
        for index in 0..endpoints {
            let behind = ground.world.anvil.url.clone();
            proxies.push(Proxy::start(behind, ground.base, seed * 10 + index, index == 2).await);
        }
        let run = Self {
            seed,
            ground,
            purse,
            folder,
            account: Account::default(),
            proxies,
            as_process: random.random_bool(0.6),
            random,
        };
        run.configure();
        run
    }

    fn configure(&self) {
        let (folder, world) = (&self.folder, &self.ground.world);
        let keys: Vec<_> = (0..).zip(&self.purse.gas_keys).map(|(index, key)| keystore(folder, index, key)).collect();
        let urls: Vec<_> = self.proxies.iter().map(|proxy| proxy.url.as_str()).collect();
        let text = format!(
            "deployment = {deployment:?}\nrpc_urls = {urls:?}\ngas_keystore = {key:?}\n\
             gas_keystores = {more_keys:?}\ngas_password_file = {password:?}\n\
             database = \"sqlite:{database}\"\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
             payees = [\"{payee}\"]\nnative_coin_price = \"2\"\nrows_per_batch = {rows}\nconfirmations = {confirmations}\n\
             replace_after_blocks = {replace}\npoll_interval = \"30ms\"\nlane_refresh = \"0s\"\n",
            deployment = world.path("deployment.json"),
            key = keys[0],
            more_keys = &keys[1..],
            password = folder.join("password"),
            database = folder.join("settler.db").display(),
            payee = self.purse.payee(),
            rows = 1 + self.seed % 4,
            confirmations = 1 + self.seed % 3,
            replace = 2 + self.seed % 3,
        );
        std::fs::write(folder.join("settler.toml"), text).unwrap();
    }

    /// Life after life, each in the storm and cut short.
    pub(super) async fn storm(&mut self) {
        for _ in 0..LIVES {
            let (name, at) = self.moment();
            let proxy = self.random.random_range(0..self.proxies.len());
            let trap = self.proxies[proxy].trap(at);
            let sprung = self.live(trap).await;
            *self.account.deaths.entry(if sprung { name } else { OF_AGE }).or_default() += 1;
        }
    }

    fn moment(&mut self) -> (&'static str, Moment) {
        match self.random.random_range(0..6) {
            0 => ("stored, not sent", Moment::BeforeSend),
            1 => ("sent, no answer", Moment::AfterSend),
            2 => ("sent and answered", Moment::Answered),
            3 => ("mined, no receipt", Moment::BeforeReceipt),
            4 => ("receipt there", Moment::AfterReceipt),
            _ => ("at some request", Moment::Request(self.random.random_range(1..150))),
        }
    }

    /// One life: hands in until the trap springs, or for so long. Says whether it sprang.
    async fn live(&mut self, mut trap: oneshot::Receiver<()>) -> bool {
        loop {
            let life = tokio::select! {
                life = Life::start(&self.folder, self.as_process) => life,
                _ = &mut trap => return true,
            };
            // It is started again when no endpoint answered, as an operator's machine would do.
            let Some(life) = life else { continue };
            let hand_ins = self.random.random_range(3..9);
            // Between two requests the log is written: dying a moment later is dying within that.
            let rest = Duration::from_micros(self.random.random_range(0..8_000));
            let sprung = tokio::select! {
                () = self.feed(&life, hand_ins) => false,
                _ = &mut trap => true,
            };
            if sprung {
                tokio::time::sleep(rest).await;
            }
            life.kill().await;
            return sprung;
        }
    }

    async fn feed(&mut self, life: &Life, hand_ins: u32) {
        for _ in 0..hand_ins {
            self.hand_in(life).await;
            if self.random.random_bool(0.3) {
                // In vain when it dies meanwhile.
                let _ = self.ground.world.http.post(format!("http://{}/claim-now", life.admin)).send().await;
            }
            tokio::time::sleep(Duration::from_millis(self.random.random_range(0..400))).await;
        }
    }

    /// Hands some in, and notes what is acknowledged.
    async fn hand_in(&mut self, life: &Life) {
        let http = &self.ground.world.http;
        let domain = self.ground.world.deployment.escrow_domain();
        let hand_in = self.purse.hand_in(&mut self.random, &domain);
        let url = format!("http://{}/{}", life.intake, hand_in.path);
        let Ok(response) = http.post(url).json(&hand_in.body).send().await else { return };
        if !response.status().is_success() {
            return;
        }
        let Ok(answer) = response.json::<IntakeAnswer>().await else { return };
        assert_eq!(answer.results.len(), hand_in.rows.len(), "seed {}", self.seed);
        for ((index, total), result) in hand_in.rows.iter().zip(answer.results) {
            let lane = &mut self.purse.lanes[*index];
            match result {
                IntakeResult::Recorded | IntakeResult::SameAsBefore => {
                    lane.acknowledged = lane.acknowledged.max(*total);
                    self.account.acknowledged += 1;
                }
                IntakeResult::Refused { reason } => {
                    let bad = matches!(reason, Refusal::Malformed | Refusal::ForeignPayee | Refusal::BadSignature);
                    assert!(!bad, "seed {}: {reason:?} of a good one", self.seed);
                }
            }
        }
    }

    /// The storm is over: one more life, asked to claim everything.
    pub(super) async fn calm(&mut self) -> Life {
        for proxy in &self.proxies {
            proxy.calm();
        }
        for proxy in &self.proxies {
            for (fault, count) in proxy.counts() {
                *self.account.faults.entry(fault).or_default() += count;
            }
        }
        let life = loop {
            if let Some(life) = Life::start(&self.folder, self.as_process).await {
                break life;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let asked = self.ground.world.http.post(format!("http://{}/claim-now", life.admin)).send().await.unwrap();
        assert!(asked.status().is_success(), "seed {}", self.seed);
        life
    }
}

fn keystore(folder: &Path, index: u64, key: &PrivateKeySigner) -> PathBuf {
    let name = format!("gas-{index}.json");
    std::fs::write(folder.join("password"), PASSWORD).unwrap();
    PrivateKeySigner::encrypt_keystore(folder, &mut OsRng, key.to_bytes(), PASSWORD, Some(&name)).unwrap();
    folder.join(name)
}
