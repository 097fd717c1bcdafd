//! Vouchers checked per second on one processor, against what tap_core and tap_aggregator do per receipt.

use std::process::Command;

use anyhow::Result;

use super::options::{Effort, against_goal};
use super::part::{self, Checked};
use super::peers::{self, Peers};
use crate::bench::report::{Better, Row};
use crate::bench::statistics::{Spread, number};

/// How many times as fast as tap_core.
const RATIO_GOAL: f64 = 4.0;
/// Per second and processor.
const GOAL: f64 = 25_000.0;

/// Payers of one batch of 1,024, whose keys are known: each its own, as at a hand-in of many lanes; and few that send
/// much. The first is what the peers are compared with: they have as many signers.
const PAYERS: [usize; 2] = [1_024, 64];

/// What the figures are called.
const FIGURE: &str = "vouchers/s and core";

/// All sides in turn, each pinned to the last processor.
///
/// # Errors
/// When ours or tap_core cannot be run.
pub fn measure(effort: &Effort, skipped: &mut Vec<String>) -> Result<Vec<Row>> {
    let Peers { program, no_aggregator } = peers::build()?;
    let processor = std::thread::available_parallelism()?.get().saturating_sub(1).to_string();
    let seconds = effort.seconds.to_string();
    let peer = |name: &str| {
        let mut command = Command::new("taskset");
        command.args(["-c", &processor]).arg(&program).args([name, &seconds]).env("RAYON_NUM_THREADS", "1");
        command
    };
    let own = |payers: usize, more: &[&str]| {
        let payers = payers.to_string();
        let arguments = [&["check", "--seconds", &seconds, "--payers", &payers], more].concat();
        part::command(&["taskset", "-c", &processor], &arguments)
    };
    let mut sides = Vec::new();
    for payers in PAYERS {
        sides.push((format!("checking, {payers} known signers"), own(payers, &[])?));
    }
    sides.push(("checking, signers first seen".to_owned(), own(PAYERS[0], &["--first-seen"])?));
    let owns = sides.len();
    sides.push(("tap_core".to_owned(), peer("core")));
    match no_aggregator {
        None => sides.push(("tap_aggregator".to_owned(), peer("aggregator"))),
        Some(reason) => skipped.push(reason),
    }
    let mut rates = vec![Vec::new(); sides.len()];
    for _ in 0..effort.rounds {
        for ((name, side), rates) in sides.iter_mut().zip(&mut rates) {
            let Checked { checked, seconds } = part::outcome(side)?;
            let rate = number(checked) / seconds;
            show(name, rate);
            rates.push(rate);
        }
    }
    let (own, peers) = rates.split_at(owns);
    let mut rows = Vec::new();
    for ((name, _), ours) in sides.iter().zip(own) {
        rows.extend(against_goal(name, FIGURE, Better::Higher, ours, GOAL));
        for ((peer, _), theirs) in sides.iter().skip(owns).zip(peers) {
            rows.extend(against_peer(name, ours, peer, theirs));
        }
    }
    Ok(rows)
}

fn against_peer(name: &str, ours: &[f64], peer: &str, theirs: &[f64]) -> Option<Row> {
    let (ours, theirs) = (Spread::of(ours)?, Spread::of(theirs)?);
    Some(Row {
        comparison: name.to_owned(),
        figure: FIGURE.to_owned(),
        better: Better::Higher,
        peer_name: peer.to_owned(),
        ours,
        peer: Some(theirs),
        ratio: Some(ours.median / theirs.median),
        target: Some(RATIO_GOAL),
    })
}

#[expect(clippy::print_stderr, reason = "progress of a command line")]
fn show(name: &str, rate: f64) {
    eprintln!("  {name}: {rate:.0}/s");
}
