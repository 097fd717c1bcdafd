//! POST → event stream: messages posted to random wallets and counted when the last byte of their event is at the
//! listener. Ours is stored durably and encrypted; nchan keeps it in memory, in the clear.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::load::Outcome;
use super::nginx::{Nchan, Nginx};
use super::node::NodeSide;
use super::report::{Better, Findings};
use super::rounds::{Effort, Figure, alternate, half_of_the_slower, rows};
use super::side::Side;
use super::stage::Stage;

/// Connections that post: as many as make nchan its fastest here.
const PUBLISHERS: usize = 64;

/// Workers of nginx: one per processor.
const WORKERS: usize = 2;

/// Runs all of it on the stage's agent.
pub async fn measure(stage: &Arc<Stage>, folder: &Path, effort: &Effort, found: &mut Findings) -> Result<()> {
    for listeners in [100, 1_000] {
        let agent = stage.network.agent();
        stage.start(agent).await?;
        stage.entrust_first(listeners).await?;
        let nginx = Nginx::push_server(folder, WORKERS, None).await?;
        let sides: [Arc<dyn Side>; 2] = [
            Arc::new(NodeSide::new("minus-node", stage, agent, listeners)?),
            Arc::new(Nchan::new("nchan", &nginx, &[], listeners)),
        ];
        let name = format!("POST→SSE, {listeners} listeners");
        let saturated = alternate(effort.rounds, &sides, &effort.saturating(PUBLISHERS, true)).await?;
        none_lost(&name, &saturated, found);
        let delivered = |outcome: &Outcome| outcome.delivered_per_s;
        found.rows.extend(rows(
            &name,
            "nchan",
            &saturated[0],
            &saturated[1],
            &[
                Figure { name: "messages/s", better: Better::Higher, of: delivered, target: Some(1.0) },
                Figure { name: "p50 ms", better: Better::Lower, of: |of| of.delivered.quantile_ms(500), target: None },
                Figure { name: "p99 ms", better: Better::Lower, of: |of| of.delivered.quantile_ms(990), target: None },
                Figure { name: "server µs of CPU/message", better: Better::Lower, of: |of| of.cpu_us, target: None },
            ],
        ));
        if let Some(pace) = half_of_the_slower(&saturated, delivered) {
            let half = alternate(effort.rounds, &sides, &effort.paced(PUBLISHERS, true, pace)).await?;
            none_lost(&name, &half, found);
            found.rows.extend(rows(
                &format!("{name}, {pace:.0}/s"),
                "nchan",
                &half[0],
                &half[1],
                &[
                    Figure {
                        name: "p50 ms",
                        better: Better::Lower,
                        of: |of| of.delivered.quantile_ms(500),
                        target: None,
                    },
                    Figure {
                        name: "p99 ms",
                        better: Better::Lower,
                        of: |of| of.delivered.quantile_ms(990),
                        target: None,
                    },
                ],
            ));
        }
        stage.stop(agent)?;
    }
    Ok(())
}

/// A side that drops messages is not fast.
fn none_lost(name: &str, outcomes: &[Vec<Outcome>], found: &mut Findings) {
    for Outcome { lost, refused, .. } in outcomes.iter().flatten() {
        found.expect(*lost == 0, || format!("{name}: {lost} acknowledged messages did not arrive"));
        found.expect(*refused == 0, || format!("{name}: {refused} messages were refused"));
    }
}
