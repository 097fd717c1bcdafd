//! Durable POST → acknowledgement: the answer says that a power cut cannot lose the message any more. nchan answers when
//! Redis has answered, which writes to the disk before it does.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};

use super::nginx::{Nchan, Nginx, Redis};
use super::node::NodeSide;
use super::report::{Better, Row};
use super::rounds::{Effort, Figure, alternate, rows};
use super::side::{BODY_BYTES, Side};
use super::stage::Stage;
use super::statistics::number;

/// Wallets and channels that messages are stored for.
const CHANNELS: usize = 100;

/// Workers of nginx: one per processor.
const WORKERS: usize = 2;

/// Runs all of it on the stage's agent.
pub async fn measure(stage: &Arc<Stage>, folder: &Path, effort: &Effort) -> Result<Vec<Row>> {
    let agent = stage.network.agent();
    stage.start(agent).await?;
    stage.entrust_first(CHANNELS).await?;
    let redis = Redis::start(folder).await?;
    let nginx = Nginx::push_server(folder, WORKERS, Some(&redis)).await?;
    let sides: [Arc<dyn Side>; 2] = [
        Arc::new(NodeSide::new("minus-node", stage, agent, CHANNELS)?),
        Arc::new(Nchan::new("nchan+redis", &nginx, &redis.processes(), CHANNELS)),
    ];
    let mut found = Vec::new();
    for (publishers, target) in [(16, None), (64, Some(2.0))] {
        let before = redis.persisted()?;
        let outcomes = alternate(effort.rounds, &sides, &effort.saturating(publishers, false)).await?;
        ensure!(outcomes.iter().flatten().all(|outcome| outcome.refused == 0), "messages were refused");
        let acknowledged: u64 = outcomes[1].iter().map(|outcome| outcome.acknowledged.count()).sum();
        let written = number(redis.persisted()?.saturating_sub(before));
        let stated = number(acknowledged) * number(u64::try_from(BODY_BYTES)?);
        ensure!(written >= stated, "redis acknowledged {stated:.0} bytes of messages and wrote {written:.0}");
        found.extend(rows(
            &format!("durable POST→ack, {publishers} publishers"),
            "nchan+redis",
            &outcomes[0],
            &outcomes[1],
            &[
                Figure { name: "messages/s", better: Better::Higher, of: |of| of.acknowledged_per_s, target },
                Figure {
                    name: "p50 ms",
                    better: Better::Lower,
                    of: |of| of.acknowledged.quantile_ms(500),
                    target: None,
                },
                Figure {
                    name: "p99 ms",
                    better: Better::Lower,
                    of: |of| of.acknowledged.quantile_ms(990),
                    target: None,
                },
                Figure { name: "server µs of CPU/message", better: Better::Lower, of: |of| of.cpu_us, target: None },
            ],
        ));
    }
    stage.stop(agent)?;
    Ok(found)
}
