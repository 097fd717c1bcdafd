//! A real PostgreSQL of the tests' own, reached through a socket in its folder, and what it takes to run a test on both
//! databases. It ends with the last test that uses it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to start on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server.
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    process: Child,
    databases: AtomicU64,
}

impl Postgres {
    /// The server of all tests that run now. None, and a word about it, where there is no PostgreSQL and none can be
    /// installed.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = server.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::start()?);
        *server = Arc::downgrade(&started);
        Some(started)
    }

    fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let forbidden = std::env::var_os("MINUS_FORBID_SKIPS").is_some_and(|value| !value.is_empty());
            assert!(!forbidden, "PostgreSQL is missing and may not be");
            println!("skipped: PostgreSQL is not installed");
            return None;
        };
        let folder = TempDir::new().expect("a temporary folder");
        if is_root() {
            succeeds(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let data = folder.path().join("data");
        let mut make = as_its_user(&programs.join("initdb"), &folder);
        succeeds(make.args(["--no-sync", "--auth=trust", "--username=postgres", "-D"]).arg(&data));
        let mut serve = as_its_user(&programs.join("postgres"), &folder);
        serve.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-c", "listen_addresses="]);
        let process = serve.spawn().expect("PostgreSQL is there");
        let server = Self { programs, folder, process, databases: AtomicU64::new(0) };
        let deadline = Instant::now() + PATIENCE;
        while !server.program("pg_isready").status().expect("it is there").success() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }

    /// One of its programs, as it reaches the server.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = as_its_user(&self.programs.join(name), &self.folder);
        command.arg("-h").arg(self.folder.path()).args(["-U", "postgres"]);
        command
    }

    /// The URL of an empty database.
    pub(crate) fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        succeeds(self.program("createdb").arg(&name));
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.folder.path().display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its own children go with it only if it is asked to go.
        let _ = Command::new("kill").arg("-QUIT").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// One of the two databases, empty, for as long as this lives.
pub(crate) struct Database {
    /// As in the configuration.
    pub(crate) url: String,
    /// The folder of the file.
    pub(crate) folder: TempDir,
    /// The server, if it is one.
    pub(crate) server: Option<Arc<Postgres>>,
}

/// An empty one of each.
pub(crate) fn databases() -> Vec<Database> {
    let folder = TempDir::new().expect("a temporary folder");
    let file = format!("sqlite:{}", folder.path().join("settler.db").display());
    let mut databases = vec![Database { url: file, folder, server: None }];
    if let Some(server) = Postgres::shared() {
        let folder = TempDir::new().expect("a temporary folder");
        databases.push(Database { url: server.database(), folder, server: Some(server) });
    }
    databases
}

pub(crate) fn succeeds(command: &mut Command) {
    assert!(command.status().expect("the program is there").success(), "{command:?}");
}

/// As the user that PostgreSQL wants to run as: anybody but root.
fn as_its_user(program: &std::path::Path, folder: &TempDir) -> Command {
    let mut command = match is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
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
            let _ =
                command.args(["-c", install]).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).status();
        }
        find()
    })
}
