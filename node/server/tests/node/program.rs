//! The real program on an operator's settings, for what only a process shows: signals, exit codes, the log.

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::world::{Operator, until};

/// A running `minus-node`; dropped, it is killed.
pub(crate) struct Program {
    child: Child,
    admin: String,
}

impl Program {
    /// Starts it at the operator's addresses, which have to be fixed by then, with its log in a file.
    pub(crate) fn start(operator: &Operator, log: &Path, adjust: impl FnOnce(&mut Command)) -> Self {
        let config = &operator.config;
        let mut command = Command::new(env!("CARGO_BIN_EXE_minus-node"));
        command
            .args(["run", "--allow-private-endpoints", "--poll-interval", "50ms", "--voucher-interval", "200ms"])
            .args(["--rpc-url", config.rpc_urls[0].as_str()])
            .args(["--listen", &config.listen.to_string(), "--admin-listen", &config.admin_listen.to_string()])
            .arg("--deployment")
            .arg(&config.deployment)
            .arg("--keystore")
            .arg(&config.keystore)
            .arg("--password-file")
            .arg(config.password_file.as_ref().unwrap())
            .arg("--data-dir")
            .arg(&config.data_dir)
            .stdout(Stdio::null())
            .stderr(std::fs::File::options().append(true).create(true).open(log).unwrap());
        if let Some(settler) = &config.settler_url {
            command.args(["--settler-url", settler.as_str()]);
        }
        adjust(&mut command);
        Self { child: command.spawn().unwrap(), admin: format!("http://{}", config.admin_listen) }
    }

    pub(crate) async fn wait_ready(&self) {
        until("the program is ready", async || {
            reqwest::get(format!("{}/health/ready", self.admin)).await.is_ok_and(|ready| ready.status().is_success())
        })
        .await;
    }

    /// Status and answer of `/health/ready`; none when nobody answers there.
    pub(crate) async fn ready(&self) -> Option<(u16, Value)> {
        let answer = reqwest::get(format!("{}/health/ready", self.admin)).await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.ok()?))
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end, with a deadline.
    pub(crate) fn ended_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole of a log.
pub(crate) fn read(log: &Path) -> String {
    let mut text = String::new();
    std::fs::File::open(log).unwrap().read_to_string(&mut text).unwrap();
    text
}
