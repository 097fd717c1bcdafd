//! Programs of `tests/javascript`, each driven by lines of JSON.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::network::{Network, Operator};
use crate::compile::root;

/// How long one verb may take: it waits for chain and nodes in debug builds on a busy machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// A running program. Dropped, it is killed.
#[derive(Debug)]
pub struct JavaScript {
    /// Held for its end.
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl JavaScript {
    /// Starts a program of `tests/javascript`; what it says of its errors goes to `log`.
    pub fn start(program: &str, log: &Path) -> Result<Self> {
        let folder = root().join("tests/javascript");
        ensure!(
            folder.join("node_modules").is_dir(),
            "are the JavaScript packages installed? `scripts/test` does that"
        );
        let mut child = Command::new("node")
            .arg(folder.join(program))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log).with_context(|| format!("cannot write the log {}", log.display()))?)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start Node.js")?;
        let input = child.stdin.take().context("the program has an input")?;
        let output = child.stdout.take().context("the program has an output")?;
        Ok(Self { _child: child, input, output: BufReader::new(output).lines() })
    }

    /// Has the program obey one verb, with the parameters of a JSON object; gives what it answers.
    pub async fn call(&mut self, verb: &str, mut parameters: Value) -> Result<Value> {
        parameters["do"] = verb.into();
        self.input.write_all(format!("{parameters}\n").as_bytes()).await?;
        let line = tokio::time::timeout(ANSWERS_WITHIN, self.output.next_line()).await;
        let line = line.with_context(|| format!("{verb}: no answer within {ANSWERS_WITHIN:?}"))??;
        let mut answer: Value = serde_json::from_str(&line.with_context(|| format!("{verb}: the program ended"))?)?;
        match answer.get("error") {
            Some(error) => bail!("{verb}: {error}"),
            None => Ok(answer["ok"].take()),
        }
    }
}

/// What `open` of the JavaScript programs takes to know a network: a wallet at its agent, through an access node.
pub fn place(network: &Network, access: &Operator) -> Value {
    json!({
        "rpcUrl": network.anvil.url(),
        "chainId": network.deployment.chain_id,
        "routingTable": network.deployment.routing_table,
        "escrow": network.deployment.escrow,
        "agent": network.agent().node_address,
        "access": access.node_address,
    })
}
