//! A PostgreSQL server of a run's own, reached through a socket in its folder.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::eventually;
use crate::packages::{Package, debian};

/// Where Debian puts the server: out of the path, under its version.
const POSTGRES: &str = "/usr/lib/postgresql/15/bin/postgres";

/// How long a server may take to start, on a machine with other things to do.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A running server with as many databases as are made. Dropped, it ends.
#[derive(Debug)]
pub struct Postgres {
    process: Child,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Starts one. None, and a word about it, where there is no PostgreSQL and none can be installed.
    pub async fn start() -> Result<Option<Self>> {
        let Package::Installed(program) = debian("postgresql", POSTGRES) else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        if is_root()? {
            let owned = Command::new("chown").arg("postgres").arg(folder.path()).status()?;
            ensure!(owned.success(), "the folder cannot be given to the server's user");
        }
        let data = folder.path().join("data");
        let made = command(program.with_file_name("initdb"), &folder)?
            .args(["--no-sync", "--auth=trust", "--username=postgres", "-D"])
            .arg(&data)
            .status()?;
        ensure!(made.success(), "initdb failed");
        let process = command(program, &folder)?
            .arg("-D")
            .arg(data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses="])
            .spawn()?;
        let server = Self { process, folder };
        let answers = || async { Ok(PgConnection::connect(&server.url("postgres")).await.ok().map(drop)) };
        eventually("PostgreSQL to accept connections", READY_WITHIN, answers).await?;
        Ok(Some(server))
    }

    /// Where a database is, for whoever is on this machine.
    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.folder.path().display())
    }

    /// An empty database, by its URL.
    pub async fn database(&self, name: &str) -> Result<String> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        Ok(self.url(name))
    }

    /// The server and the processes it keeps for its sessions.
    pub fn processes(&self) -> Vec<u32> {
        crate::bench::machine::family(self.process.id())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its own children go with it only if it is asked to go.
        let _ = Command::new("kill").arg("-QUIT").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// As the user that PostgreSQL wants to run as: anybody but root.
fn command(program: PathBuf, folder: &tempfile::TempDir) -> Result<Command> {
    let mut command = if is_root()? {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

fn is_root() -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status").context("this is no Linux")?;
    Ok(status.lines().any(|line| line.starts_with("Uid:\t0")))
}
