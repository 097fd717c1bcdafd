//! Durable POST → acknowledgement: the answer says that a power cut cannot lose the message any more. nchan answers when
//! Redis has answered, which writes to the disk before it does.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::nginx::{Nchan, Nginx, Redis};
use super::node::NodeSide;
use super::report::{Better, Findings};
use super::rounds::{Effort, Figure, alternate, rows};
use super::side::{BODY_BYTES, Side};
use super::stage::Stage;
use super::statistics::number;
use crate::world::postgres::Postgres;

/// Wallets and channels that messages are stored for.
const CHANNELS: usize = 100;

/// Connections that post, at most.
const PUBLISHERS_MAX: usize = 64;

/// Workers of nginx: one per processor.
const WORKERS: usize = 2;

/// Runs all of it on the stage's agent.
pub async fn measure(stage: &Arc<Stage>, folder: &Path, effort: &Effort, found: &mut Findings) -> Result<()> {
    let agent = stage.network.agent();
    stage.start(agent).await?;
    stage.entrust_first(CHANNELS).await?;
    let redis = Redis::start(folder).await?;
    let nginx = Nginx::push_server(folder, WORKERS, Some(&redis)).await?;
    let sides: [Arc<dyn Side>; 2] = [
        Arc::new(NodeSide::new("minus-node", stage, agent, CHANNELS)?),
        Arc::new(Nchan::new("nchan+redis", &nginx, &redis.processes(), CHANNELS)),
    ];
    for (publishers, target) in [(16, None), (PUBLISHERS_MAX, Some(2.0))] {
        let before = redis.persisted()?;
        let outcomes = alternate(effort.rounds, &sides, &effort.saturating(publishers, false)).await?;
        let refused: u64 = outcomes.iter().flatten().map(|outcome| outcome.refused).sum();
        found.expect(refused == 0, || format!("durable, {publishers} publishers: {refused} messages were refused"));
        let acknowledged: u64 = outcomes[1].iter().map(|outcome| outcome.acknowledged.count()).sum();
        let written = number(redis.persisted()?.saturating_sub(before));
        let stated = number(acknowledged) * number(u64::try_from(BODY_BYTES)?);
        found.expect(written >= stated, || {
            format!("redis acknowledged {stated:.0} bytes of messages and wrote {written:.0}")
        });
        found.rows.extend(rows(
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
    on_postgresql(stage, effort, found).await
}

/// The same node on another database, for the record: nobody to compare with.
async fn on_postgresql(stage: &Arc<Stage>, effort: &Effort, found: &mut Findings) -> Result<()> {
    let Some(server) = Postgres::start().await? else { return Ok(()) };
    let file = stage.network.agent().node_config();
    let config = std::fs::read_to_string(&file)?;
    let url = server.database("node").await?;
    std::fs::write(&file, format!("{config}database_url = {url:?}\n"))?;
    let measured = on(&server, stage, effort, found).await;
    std::fs::write(&file, config)?;
    measured
}

async fn on(server: &Postgres, stage: &Arc<Stage>, effort: &Effort, found: &mut Findings) -> Result<()> {
    let agent = stage.network.agent();
    stage.start(agent).await?;
    stage.entrust_first(CHANNELS).await?;
    let processes = [agent.node.lock().pid().into_iter().collect(), server.processes()].concat();
    let name = "minus-node on PostgreSQL";
    let side: Arc<dyn Side> = Arc::new(NodeSide::at(name, stage, Stage::address(agent)?, processes, CHANNELS)?);
    let outcomes = alternate(effort.rounds, &[side], &effort.saturating(PUBLISHERS_MAX, false)).await?;
    found.rows.extend(rows(
        &format!("durable POST→ack, {PUBLISHERS_MAX} publishers, on PostgreSQL"),
        "nobody",
        &outcomes[0],
        &[],
        &[
            Figure { name: "messages/s", better: Better::Higher, of: |of| of.acknowledged_per_s, target: None },
            Figure { name: "server µs of CPU/message", better: Better::Lower, of: |of| of.cpu_us, target: None },
        ],
    ));
    stage.stop(agent)
}
