//! Two sides, one after the other and again, so that whatever else the machine does meanwhile meets both.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::load::{self, Outcome, Plan};
use super::report::{Better, Row};
use super::side::Side;
use super::statistics::Spread;

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds of each side.
    pub rounds: usize,
    /// Counted, of each run.
    pub measure: Duration,
    /// Before that, not counted.
    pub warm_up: Duration,
    /// Whether what takes long is left out.
    pub quick: bool,
}

impl Effort {
    /// A run as hard as it goes.
    pub const fn saturating(&self, publishers: usize, listening: bool) -> Plan {
        Plan { publishers, listening, pace: None, warm_up: self.warm_up, measure: self.measure }
    }

    /// A run at a pace.
    pub const fn paced(&self, publishers: usize, listening: bool, pace: f64) -> Plan {
        Plan { pace: Some(pace), ..self.saturating(publishers, listening) }
    }
}

/// What a figure is called, which way it is good, and how to read it from an outcome.
pub struct Figure {
    /// With its unit.
    pub name: &'static str,
    /// Which way it is good.
    pub better: Better,
    /// The figure of one run.
    pub of: fn(&Outcome) -> f64,
    /// The ratio aimed at.
    pub target: Option<f64>,
}

/// One run, off the asynchronous threads.
pub async fn once(side: &Arc<dyn Side>, plan: &Plan) -> Result<Outcome> {
    let (side, plan) = (Arc::clone(side), plan.clone());
    tokio::task::spawn_blocking(move || {
        let name = side.name().to_owned();
        let outcome = load::run(&side, &plan).with_context(|| format!("measuring {name}"))?;
        show(&name, &plan, &outcome);
        Ok(outcome)
    })
    .await?
}

/// Alternates between the sides; the outcomes of each, in the order of `sides`.
pub async fn alternate(rounds: usize, sides: &[Arc<dyn Side>], plan: &Plan) -> Result<Vec<Vec<Outcome>>> {
    let mut outcomes = vec![Vec::with_capacity(rounds); sides.len()];
    for _ in 0..rounds {
        for (side, outcomes) in sides.iter().zip(&mut outcomes) {
            outcomes.push(once(side, plan).await?);
        }
    }
    Ok(outcomes)
}

/// The rows of a comparison: the first side's outcomes are ours.
pub fn rows(comparison: &str, peer_name: &str, ours: &[Outcome], peer: &[Outcome], figures: &[Figure]) -> Vec<Row> {
    let row = |figure: &Figure| {
        let spread = |outcomes: &[Outcome]| Spread::of(&outcomes.iter().map(figure.of).collect::<Vec<_>>());
        let (ours, peer) = (spread(ours)?, spread(peer));
        Some(Row {
            comparison: comparison.to_owned(),
            figure: figure.name.to_owned(),
            better: figure.better,
            peer_name: peer_name.to_owned(),
            ours,
            peer,
            ratio: peer.map(|peer| ours.median / peer.median),
            target: figure.target,
        })
    };
    figures.iter().filter_map(row).collect()
}

/// Half of what the slower side does: a load that both carry.
pub fn half_of_the_slower(outcomes: &[Vec<Outcome>], figure: fn(&Outcome) -> f64) -> Option<f64> {
    let median = |outcomes: &Vec<Outcome>| Spread::of(&outcomes.iter().map(figure).collect::<Vec<_>>());
    let slowest = outcomes.iter().filter_map(median).map(|spread| spread.median).min_by(f64::total_cmp)?;
    Some(slowest / 2.0)
}

#[expect(clippy::print_stderr, reason = "progress of a command line")]
fn show(name: &str, plan: &Plan, outcome: &Outcome) {
    let pace = plan.pace.map_or_else(|| "saturated".to_owned(), |pace| format!("at {pace:.0}/s"));
    let delivered = if plan.listening {
        format!(
            ", {:.0}/s delivered (p50 {:.2} p99 {:.2} ms), {} lost",
            outcome.delivered_per_s,
            outcome.delivered.quantile_ms(500),
            outcome.delivered.quantile_ms(990),
            outcome.lost
        )
    } else {
        String::new()
    };
    eprintln!(
        "  {name}, {pace}: {:.0}/s acknowledged (p50 {:.2} p99 {:.2} ms){delivered}, {} refused, {:.1} µs of processor each",
        outcome.acknowledged_per_s,
        outcome.acknowledged.quantile_ms(500),
        outcome.acknowledged.quantile_ms(990),
        outcome.refused,
        outcome.cpu_us
    );
}
