//! Stores for tests: SQLite in a folder of its own, and a real PostgreSQL that can really be killed.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256, keccak256};
use futures_util::future::join_all;
use minus_bindings::Amount;
use minus_protocol::Tariff;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use tokio::task::JoinHandle;

use super::{
    Nobody, Store, StoreError,
    arrivals::{Arrival, Stored},
    customers::Entrusting,
    packets,
};
use crate::{agent::lane::Lane, config::DatabaseUrl};

/// How long a server may take to start, to stop, or to recover, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// A store in a folder that goes with the guard.
pub(crate) async fn store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    (open(folder.path(), None).await, folder)
}

/// The store in that folder, or at that URL.
pub(crate) async fn open(folder: &Path, url: Option<&DatabaseUrl>) -> Store {
    opened(folder, url).await.0
}

/// The same with its writer's task: aborting it is a crash that leaves everything to the next start.
pub(crate) async fn opened(folder: &Path, url: Option<&DatabaseUrl>) -> (Store, JoinHandle<()>) {
    Store::open(folder, url, Arc::new(Nobody), Arc::default()).await.expect("the store opens")
}

/// The same after a crash: a server may not have noticed yet that the old session is gone.
pub(crate) async fn reopened(folder: &Path, url: Option<&DatabaseUrl>) -> (Store, JoinHandle<()>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Store::open(folder, url, Arc::new(Nobody), Arc::default()).await {
            Err(StoreError::Taken) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened.expect("the store opens"),
        }
    }
}

/// One wallet and who pays for it.
pub(super) const WALLET: Address = Address::repeat_byte(1);
pub(super) const PAYER: Address = Address::repeat_byte(2);

pub(super) fn lane() -> Lane {
    Lane { deposit: Amount::from_base_units(1).expect("small"), ..Lane::default() }
}

pub(super) async fn entrust(store: &Store) {
    let command = B256::repeat_byte(3);
    let order = Entrusting { command, wallet: WALLET, payer: PAYER, declared: Amount::ZERO, lane: lane(), now_s: 1 };
    store.entrust(order).await.expect("the store works").expect("no replay");
    assert_eq!(store.payer_of(WALLET), Some(PAYER));
}

/// A packet that costs nothing, told from others by its number.
pub(super) fn arrival(number: u64, bytes: usize) -> Arrival {
    let mut packet = number.to_be_bytes().to_vec();
    packet.resize(bytes, 0x5a);
    Arrival {
        wallet: WALLET,
        payer: PAYER,
        id: keccak256(&packet),
        packet: packet.into(),
        now_s: 1_000,
        relay: None,
        own_operator: Address::repeat_byte(7),
        tariff_version: 1,
        tariff: Tariff::default(),
        lane: lane(),
        retention_s: 100,
        customer_credit: Amount::ZERO,
        customer_quota: u64::MAX,
    }
}

/// Stores packets in this order: no more at a time than the runtime lets one task queue before it takes a turn.
pub(super) async fn store_all(store: &Store, arrivals: &[Arrival]) -> Vec<Stored> {
    let mut stored = Vec::with_capacity(arrivals.len());
    for some in arrivals.chunks(32) {
        let answers = join_all(some.iter().map(|arrival| store.writer().arrive(arrival.clone()))).await;
        stored.extend(answers.into_iter().map(|answer| answer.expect("the store works")));
    }
    stored
}

/// What the tables hold, with what was journaled if they can be written.
pub(super) async fn numbers(store: &Store) -> Vec<u64> {
    let _ = store.catch_up().await;
    let mut reading = store.readers().acquire().await.expect("a reader");
    let waiting = packets::waiting(&mut *reading, WALLET, 0, u32::MAX).await.expect("readable");
    let number = |packet: &[u8]| u64::from_be_bytes(*packet.first_chunk().expect("it is longer"));
    waiting.iter().map(|waiting| number(&waiting.packet)).collect()
}

pub(super) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A server of its own, reached through a socket in its folder.
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    process: Option<Child>,
    databases: AtomicU64,
}

impl Postgres {
    /// Starts one. None, and a word about it, where there is no PostgreSQL and none can be installed.
    pub(crate) async fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os("MINUS_FORBID_SKIPS").is_none_or(|value| value.is_empty()),
                "PostgreSQL is missing and may not be"
            );
            println!("skipped: PostgreSQL is not installed");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let mut server = Self { programs, folder, process: None, databases: AtomicU64::new(0) };
        let data = server.folder.path().join("data");
        run(server.command("initdb").args(["--no-sync", "--auth=trust", "--username=postgres", "-D"]).arg(data));
        server.revive().await;
        Some(server)
    }

    /// As the user that PostgreSQL wants to run as: anybody but root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts the server again, as often as it takes: what a killed one left behind lives on for a moment.
    pub(crate) async fn revive(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while AnyConnection::connect(&self.url_of("postgres")).await.is_err() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start");
            let ended = self.process.as_mut().is_none_or(|process| process.try_wait().is_ok_and(|end| end.is_some()));
            if ended {
                let folder = self.folder.path();
                let mut command = self.command("postgres");
                command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder).args(["-c", "listen_addresses="]);
                self.process = Some(command.spawn().expect("PostgreSQL is there"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// As a power cut would: the server and the processes it keeps for its sessions, none of them asked.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let id = process.id();
            let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("it runs");
            run(Command::new("kill").arg("-KILL").arg(id.to_string()).args(children.split_whitespace()));
            process.wait().expect("it ends");
        }
    }

    fn url_of(&self, database: &str) -> String {
        sqlx::any::install_default_drivers();
        format!("postgres://postgres@localhost/{database}?host={}", self.folder.path().display())
    }

    /// An empty database.
    pub(crate) async fn database(&self) -> DatabaseUrl {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = AnyConnection::connect(&self.url_of("postgres")).await.expect("the server runs");
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("a database can be made");
        connection.close().await.expect("the server is well");
        self.url_of(&name).parse().expect("a URL of PostgreSQL")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Its own children go with it only if it is asked to go.
            run(Command::new("kill").arg("-QUIT").arg(process.id().to_string()));
            let _ = process.wait();
        }
    }
}

fn run(command: &mut Command) {
    assert!(command.status().expect("the program is there").success(), "{command:?}");
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:\t0"))
}

/// Where the server's programs are. Debian keeps them out of the path; root may install them.
fn programs() -> Option<PathBuf> {
    let find = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        versions.flatten().map(|version| version.path().join("bin")).find(|bin| bin.join("postgres").exists())
    };
    find().or_else(|| {
        if is_root() {
            let install = "apt-get update -q && apt-get install -qy --no-install-recommends postgresql";
            let mut command = Command::new("sh");
            let _ = command.args(["-c", install]).env("DEBIAN_FRONTEND", "noninteractive").status();
        }
        find()
    })
}
