//! One life of a settler: the real program, or a handle in this process, until it is killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use minus_settler::{Config, Handle, spawn};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

enum Body {
    /// Dropped, every task stops where it is.
    Inside(Handle),
    /// Killed, nothing of it is left but its files.
    Process(Child),
}

/// A settler that runs. Dropped, it dies as well.
pub(super) struct Life {
    body: Body,
    pub(super) intake: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Life {
    /// Starts it; none when it ended before it was up, as it does when no endpoint answers.
    pub(super) async fn start(folder: &Path, as_process: bool) -> Option<Self> {
        let config = folder.join("settler.toml");
        if as_process { Self::process(folder, &config).await } else { Self::inside(&config).await }
    }

    async fn inside(config: &Path) -> Option<Self> {
        let config = Config::load(Some(config), &json!({})).unwrap();
        let handle = spawn(config).await.ok()?;
        Some(Self { intake: handle.addr, admin: handle.admin_addr, body: Body::Inside(handle) })
    }

    async fn process(folder: &Path, config: &Path) -> Option<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_settler"))
            .args(["run", "--config"])
            .arg(config)
            .env("SETTLER_LOG", "minus_settler=info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = tokio::fs::OpenOptions::new();
        let mut log = log.create(true).append(true).open(folder.join("settler.log")).await.unwrap();
        let (intake, admin) = loop {
            let line = lines.next_line().await.ok()??;
            log.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            if line.contains("settler is running") {
                break (address(&line, " addr=")?, address(&line, " admin_addr=")?);
            }
        };
        // Whoever prints needs a reader, until its end.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                log.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            }
        });
        Some(Self { body: Body::Process(child), intake, admin })
    }

    /// Ends it without a word.
    pub(super) async fn kill(self) {
        match self.body {
            Body::Inside(handle) => drop(handle),
            Body::Process(mut child) => child.kill().await.unwrap(),
        }
    }
}

fn address(line: &str, field: &str) -> Option<SocketAddr> {
    line.split_once(field)?.1.split_whitespace().next()?.parse().ok()
}
