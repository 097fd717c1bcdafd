//! A whole Layer Minus on this machine: a real chain, real processes, real files, and the verbs that happen to them.
//!
//! | file | one job |
//! |---|---|
//! | [`binaries`] | where the programs under test are, built once |
//! | [`process`] | one program that can be started, killed and started again |
//! | [`command`] | one call of a command line |
//! | [`anvil`] | the chain, and what only its owner may do with it |
//! | [`network`] | deploys, registers three operators, starts their nodes and settlers |
//! | [`reserve`] | the reserve asset, which anyone may print |
//! | [`postgres`] | a database server of a run's own |
//! | [`people`] | customers and senders, who use nothing but the `minus` command line |
//! | [`javascript`] | programs of `tests/javascript`: the second client, a browser |
//! | [`wire`] | a wire in front of a node that can be cut |
//! | [`books`] | reads every meter and the chain, and says whether they are equal |
//! | [`search`] | looks for planted bytes in files, logs and memory |

pub mod anvil;
pub mod binaries;
pub mod books;
pub mod command;
pub mod javascript;
pub mod network;
pub mod people;
pub mod postgres;
pub mod process;
pub mod reserve;
pub mod search;
pub mod wire;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition that another process must bring about is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Looks at a condition until it holds. Fails, naming `what` and the last thing seen, when `deadline` has passed.
pub async fn eventually<T, F>(what: &str, deadline: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let started = Instant::now();
    let mut last = String::from("not yet");
    while started.elapsed() < deadline {
        match look().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => {}
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    bail!("{what}: not within {deadline:?} (last: {last})")
}
