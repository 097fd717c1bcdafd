//! Forwarding: packets for another node's wallets, through our relay and through nginx, both before the same agent that does
//! nothing. What a relay adds to the time of a request is its time less the time without anything between, at the same pace.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::load::Outcome;
use super::nginx::Nginx;
use super::node::NodeSide;
use super::report::{Better, Findings, Row};
use super::rounds::{Effort, Figure, alternate, half_of_the_slower, rows};
use super::side::Side;
use super::stage::Stage;
use super::statistics::Spread;
use super::upstream::Upstream;

/// Connections that post; fewer requests than a relay sends one agent at a time.
const PUBLISHERS: usize = 64;

/// Wallets that are posted to.
const WALLETS: usize = 100;

/// In front of the agent's place on chain there is the agent that does nothing, and before it the relay.
pub async fn measure(stage: &Arc<Stage>, folder: &Path, effort: &Effort, found: &mut Findings) -> Result<()> {
    let (agent, relay) = (stage.network.agent(), stage.network.relay_in());
    stage.stop(agent)?;
    let upstream = Upstream::start(stage, agent)?;
    stage.start(relay).await?;
    let (one, two) =
        (Nginx::proxy(folder, 1, upstream.address).await?, Nginx::proxy(folder, 2, upstream.address).await?);
    let proxied = |name: &str, nginx: &Nginx| NodeSide::at(name, stage, nginx.address, nginx.processes(), WALLETS);
    let sides: [Arc<dyn Side>; 4] = [
        Arc::new(NodeSide::new("minus-node", stage, relay, WALLETS)?),
        Arc::new(proxied("nginx, 2 workers", &two)?),
        Arc::new(proxied("nginx, 1 worker", &one)?),
        Arc::new(NodeSide::at("nothing between", stage, upstream.address, Vec::new(), WALLETS)?),
    ];
    let saturated = alternate(effort.rounds, &sides[..3], &effort.saturating(PUBLISHERS, false)).await?;
    let refused: u64 = saturated.iter().flatten().map(|outcome| outcome.refused).sum();
    found.expect(refused == 0, || format!("forwarding: {refused} packets were refused"));
    for (peer, target) in [(1, Some(1.0)), (2, None)] {
        found.rows.extend(rows(
            "forwarding",
            sides[peer].name(),
            &saturated[0],
            &saturated[peer],
            &[
                Figure { name: "requests/s", better: Better::Higher, of: |of| of.acknowledged_per_s, target },
                Figure { name: "p99 ms, saturated", better: Better::Lower, of: p99, target: None },
                Figure { name: "relay's µs of CPU/request", better: Better::Lower, of: |of| of.cpu_us, target: None },
            ],
        ));
    }
    if let Some(pace) = half_of_the_slower(&saturated, |of| of.acknowledged_per_s) {
        let paced = alternate(effort.rounds, &sides, &effort.paced(PUBLISHERS, false, pace)).await?;
        for peer in [1, 2] {
            found.rows.extend(added(
                &format!("forwarding, {pace:.0}/s"),
                sides[peer].name(),
                [&paced[0], &paced[peer], &paced[3]],
            ));
        }
    }
    stage.stop(relay)?;
    Ok(())
}

fn p99(outcome: &Outcome) -> f64 {
    outcome.acknowledged.quantile_ms(990)
}

/// What ours and the peer add to the p99 of nothing between, in each round.
fn added(comparison: &str, peer_name: &str, [ours, peer, bare]: [&Vec<Outcome>; 3]) -> Option<Row> {
    let less_bare = |outcomes: &[Outcome]| {
        let added: Vec<f64> = outcomes.iter().zip(bare).map(|(with, without)| p99(with) - p99(without)).collect();
        Spread::of(&added)
    };
    let (ours, peer) = (less_bare(ours)?, less_bare(peer)?);
    Some(Row {
        comparison: comparison.to_owned(),
        figure: "added p99 ms".to_owned(),
        better: Better::Lower,
        peer_name: peer_name.to_owned(),
        ours,
        peer: Some(peer),
        ratio: Some(ours.median / peer.median),
        target: None,
    })
}
