//! Forwarding: packets for another node's wallets, through our relay and through nginx, both before the same agent that
//! does nothing. Ours may bring that agent several packets in one request, which nginx cannot: how many it brought is
//! shown, and what it does where the agent takes them one by one. What a relay adds to the time of a request is its
//! time less the time without anything between, at the same pace.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::load::Outcome;
use super::nginx::Nginx;
use super::node::NodeSide;
use super::report::{Better, Findings, Row};
use super::rounds::{Effort, Figure, alternate, half_of_the_slower, rows};
use super::side::Side;
use super::stage::Stage;
use super::statistics::Spread;
use super::upstream::Upstream;
use crate::world::network::Operator;

/// Connections that post; fewer requests than a relay sends one agent at a time.
const PUBLISHERS: usize = 64;

/// Wallets that are posted to.
const WALLETS: usize = 100;

/// In front of the agent's place on chain there is the agent that does nothing, and before it the relay.
pub async fn measure(stage: &Arc<Stage>, folder: &Path, effort: &Effort, found: &mut Findings) -> Result<()> {
    let (agent, relay, single) = (stage.network.agent(), stage.network.relay_in(), stage.network.relay_out());
    stage.stop(agent)?;
    let upstream = Upstream::start(stage, agent, relay)?;
    stage.start(relay).await?;
    stage.start(single).await?;
    let (one, two) =
        (Nginx::proxy(folder, 1, upstream.address).await?, Nginx::proxy(folder, 2, upstream.address).await?);
    let proxied = |name: &str, nginx: &Nginx| NodeSide::at(name, stage, nginx.address, nginx.processes(), WALLETS);
    let sides: [Arc<dyn Side>; 5] = [
        Arc::new(NodeSide::new("minus-node", stage, relay, WALLETS)?),
        Arc::new(proxied("nginx, 2 workers", &two)?),
        Arc::new(proxied("nginx, 1 worker", &one)?),
        Arc::new(NodeSide::at("nothing between", stage, upstream.address, Vec::new(), WALLETS)?),
        Arc::new(NodeSide::new("minus-node, packets one by one", stage, single, WALLETS)?),
    ];
    let before = Brought::by(relay).await?;
    let [ours, two, one, _, singly] = &sides;
    let saturating = [ours, singly, two, one].map(Arc::clone);
    let saturated = alternate(effort.rounds, &saturating, &effort.saturating(PUBLISHERS, false)).await?;
    let together = Brought::by(relay).await?.since(before);
    let refused: u64 = saturated.iter().flatten().map(|outcome| outcome.refused).sum();
    found.expect(refused == 0, || format!("forwarding: {refused} packets were refused"));
    found.rows.push(Row {
        comparison: "forwarding".to_owned(),
        figure: "packets in a request to the agent".to_owned(),
        better: Better::Higher,
        peer_name: String::new(),
        ours: together,
        peer: None,
        ratio: None,
        target: None,
    });
    let ways = [("forwarding", 0, Some(1.0)), ("forwarding, packets one by one", 1, None)];
    for ((comparison, ours, target), peer) in ways.into_iter().flat_map(|way| [(way, 2), (way, 3)]) {
        let target = target.filter(|_| peer == 2);
        found.rows.extend(rows(
            comparison,
            saturating[peer].name(),
            &saturated[ours],
            &saturated[peer],
            &[
                Figure { name: "requests/s", better: Better::Higher, of: |of| of.acknowledged_per_s, target },
                Figure { name: "p99 ms, saturated", better: Better::Lower, of: p99, target: None },
                Figure { name: "relay's µs of CPU/request", better: Better::Lower, of: |of| of.cpu_us, target: None },
            ],
        ));
    }
    if let Some(pace) = half_of_the_slower(&saturated, |of| of.acknowledged_per_s) {
        stage.stop(single)?;
        let paced = alternate(effort.rounds, &sides[..4], &effort.paced(PUBLISHERS, false, pace)).await?;
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

/// What a relay has brought so far, in how many requests.
#[derive(Clone, Copy, Debug)]
struct Brought {
    packets: f64,
    requests: f64,
}

impl Brought {
    async fn by(relay: &Operator) -> Result<Self> {
        let text = reqwest::get(format!("{}/metrics", relay.node_admin)).await?.text().await?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            anyhow::Ok(line.with_context(|| format!("no {name}"))?.parse::<f64>()?)
        };
        Ok(Self { packets: value("minus_request_packets_sum")?, requests: value("minus_request_packets_count")? })
    }

    /// The mean of what came since.
    fn since(self, before: Self) -> Spread {
        let mean = (self.packets - before.packets) / (self.requests - before.requests);
        Spread { median: mean, min: mean, max: mean }
    }
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
