//! Memory per idle listener: how much more the server's processes hold with so many open streams than without.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::load::connect_all;
use super::machine::memory;
use super::nginx::{Nchan, Nginx};
use super::node::NodeSide;
use super::report::{Better, Findings, Row};
use super::rounds::Effort;
use super::side::Side;
use super::stage::Stage;
use super::statistics::{Spread, number};

/// Workers of nginx: one per processor.
const WORKERS: usize = 2;

/// After the last stream is open, until what was only needed to open it is given back.
const REST: Duration = Duration::from_secs(2);

/// Runs all of it on the stage's agent, which starts anew for each figure, as the peer does.
pub async fn measure(stage: &Arc<Stage>, folder: &Path, effort: &Effort, found: &mut Findings) -> Result<()> {
    let sizes: &[usize] = if effort.quick { &[1_000] } else { &[1_000, 5_000] };
    for listeners in sizes.iter().copied() {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds.min(ROUNDS_MAX) {
            let agent = stage.network.agent();
            stage.start(agent).await?;
            stage.entrust_first(listeners).await?;
            let node: Arc<dyn Side> = Arc::new(NodeSide::new("minus-node", stage, agent, listeners)?);
            ours.push(per_listener(&node).await?);
            stage.stop(agent)?;
            let nginx = Nginx::push_server(folder, WORKERS, None).await?;
            let nchan: Arc<dyn Side> = Arc::new(Nchan::new("nchan", &nginx, &[], listeners));
            theirs.push(per_listener(&nchan).await?);
        }
        if let (Some(ours), Some(peer)) = (Spread::of(&ours), Spread::of(&theirs)) {
            found.rows.push(Row {
                comparison: format!("idle, {listeners} listeners"),
                figure: "KiB/listener".to_owned(),
                better: Better::Lower,
                peer_name: "nchan".to_owned(),
                ours,
                peer: Some(peer),
                ratio: Some(ours.median / peer.median),
                target: Some(1.0),
            });
        }
    }
    Ok(())
}

/// Memory hardly varies, and each round opens thousands of accounts.
const ROUNDS_MAX: usize = 2;

/// KiB of the side's processes per listener.
async fn per_listener(side: &Arc<dyn Side>) -> Result<f64> {
    let before = memory(&side.processes())?;
    let listeners = connect_all(side, 0..side.channels()).await?;
    tokio::time::sleep(REST).await;
    let after = memory(&side.processes())?;
    let count = number(u64::try_from(listeners.len())?);
    Ok(number(after.saturating_sub(before)) / 1024.0 / count)
}
