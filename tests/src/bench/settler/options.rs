//! `scripts/bench settler`: which comparisons, how long, and what is written.

use std::path::Path;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use super::{checking, claims, intake, planning};
use crate::bench::machine::{Facts, said};
use crate::bench::report::{Better, Report, Row};
use crate::bench::statistics::Spread;
use crate::compile::root;

/// What a reader of the figures has to know.
const METHOD: [&str; 6] = [
    "Medians of rounds in turn (smallest–largest); the ratio is of medians. A peer called `goal` or `limit` is a number, not a \
     program; for a goal the ratio aimed at is 1.",
    "Checking: single threads pinned to the same processor, one after the other, batches of 1,024 made beforehand. Ours \
     checks signatures, payers and payees of a batch: together where the payer's key is known from an earlier voucher, \
     by recovery where it is first seen. tap_core recovers as many receipts of as many signers and looks them up, which \
     leaves out, in its favour, all that its manager does besides; tap_aggregator is its own check_and_aggregate_receipts \
     on one payer's batch, one rayon thread.",
    "Intake: JSON over HTTP against a settler process with an empty log and anvil as its chain, 1,024 vouchers a request, signed \
     beforehand; every answer says that it is durable. Client, chain and PostgreSQL share the processors; processor time is \
     the settler's and PostgreSQL's, a voucher. The first hand-in makes 10,240 lanes of as many payers, each read from the chain and each \
     signer's key recovered.",
    "Planning: one look's planning over lanes that are all open, each in a process of its own; memory is that process's peak.",
    "Claims: anvil at its default gas limit mines every two seconds, one backlog; `share` is the gas of claims by the block's limit, over \
     the blocks from the first claim to the one before the last.",
    "Memory is the peak of the resident set as the kernel counts it.",
];

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds of each side.
    pub rounds: usize,
    /// Seconds that a side checks in one round.
    pub seconds: u64,
    /// Whether what takes long is left out.
    pub quick: bool,
}

/// What may be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Comparison {
    /// Vouchers checked per second on one processor, against tap_core and tap_aggregator.
    Checking,
    /// Durable intake over HTTP.
    Intake,
    /// Planning with up to a million lanes.
    Planning,
    /// 10,000 vouchers claimed on anvil.
    Claims,
}

/// The command line.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  scripts/bench settler --quick --only checking")]
pub struct Options {
    /// Short and few rounds: a first impression.
    #[arg(long)]
    quick: bool,
    /// Only this; may be given more than once.
    #[arg(long, value_enum)]
    only: Vec<Comparison>,
    /// Rounds of each side instead of 5 (quick: 3).
    #[arg(long)]
    rounds: Option<usize>,
}

/// A row against a number that is aimed at.
pub fn against_goal(comparison: &str, figure: &str, better: Better, ours: &[f64], goal: f64) -> Option<Row> {
    let mut row = against_number(comparison, figure, better, ours, "goal", goal)?;
    row.target = Some(1.0);
    Some(row)
}

/// A row against a number that nobody passes.
pub fn against_number(
    comparison: &str,
    figure: &str,
    better: Better,
    ours: &[f64],
    name: &str,
    number: f64,
) -> Option<Row> {
    let peer = Spread { median: number, min: number, max: number };
    Some(Row {
        peer: Some(peer),
        ratio: Some(Spread::of(ours)?.median / number),
        ..alone(comparison, figure, better, ours)?
    })
    .map(|row| Row { peer_name: name.to_owned(), ..row })
}

/// A row with nobody to compare with.
pub fn alone(comparison: &str, figure: &str, better: Better, ours: &[f64]) -> Option<Row> {
    Some(Row {
        comparison: comparison.to_owned(),
        figure: figure.to_owned(),
        better,
        peer_name: String::new(),
        ours: Spread::of(ours)?,
        peer: None,
        ratio: None,
        target: None,
    })
}

/// Measures, shows and writes.
///
/// # Errors
/// When a comparison could not be made; the others are shown and written nevertheless.
pub async fn run(options: &Options) -> Result<()> {
    let quick = options.quick;
    let rounds = options.rounds.unwrap_or(if quick { 3 } else { 5 });
    let effort = Effort { rounds, seconds: if quick { 1 } else { 3 }, quick };
    let chosen = if options.only.is_empty() { Comparison::value_variants() } else { &options.only };
    // Below target and not in memory: what is to be durable has to lie on a disk.
    let place = root().join("target/bench");
    std::fs::create_dir_all(&place)?;
    let folder = tempfile::Builder::new().prefix("settler-").tempdir_in(&place)?;
    let report = measure(folder.path(), chosen, &effort).await?;
    println!("{}\n{}", report.table(), report.method.join("\n"));
    for skipped in &report.skipped {
        println!("SKIPPED {skipped}");
    }
    report.write(&place.join("settler.json"))?;
    for failure in &report.failed {
        println!("FAILED {failure}");
    }
    ensure!(report.failed.is_empty(), "some comparisons could not be made");
    Ok(())
}

async fn measure(folder: &Path, chosen: &[Comparison], effort: &Effort) -> Result<Report> {
    let versions = vec![said("rustc", &["--version"])];
    let facts = Facts::gather(folder, versions)?;
    let (mut rows, mut skipped, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for comparison in chosen {
        let measured = match comparison {
            Comparison::Checking => checking::measure(effort, &mut skipped),
            Comparison::Intake => intake::measure(folder, effort, &mut skipped).await,
            Comparison::Planning => planning::measure(effort),
            Comparison::Claims => claims::measure(folder).await,
        };
        match measured {
            Ok(found) => rows.extend(found),
            // The other comparisons are worth as much without it.
            Err(error) => failed.push(format!("{comparison:?}: {error:#}")),
        }
    }
    Ok(Report { facts, method: METHOD.map(str::to_owned).to_vec(), skipped, failed, rows })
}
