//! Measures this project's programs against what people would otherwise use; see [`minus_tests::bench`].

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use minus_tests::bench::machine::{Facts, said};
use minus_tests::bench::nginx::installed;
use minus_tests::bench::report::{Findings, Report};
use minus_tests::bench::rounds::Effort;
use minus_tests::bench::stage::Stage;
use minus_tests::bench::{durable, forwarding, growth, idle, settler, streams};
use minus_tests::compile::root;

/// Measures this project's programs against what people would otherwise use, on this machine, in one run.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The node's data plane against nginx, nchan and Redis; writes target/bench/node.json.
    Node(NodeArguments),
    /// The settler against tap_core, tap_aggregator and the chain's own limit; writes target/bench/settler.json.
    Settler(settler::options::Options),
    /// Runs one part of the settler's bench in this process.
    #[command(hide = true, subcommand)]
    SettlerPart(settler::part::Part),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  scripts/bench node --quick --only durable")]
struct NodeArguments {
    /// Short and few rounds: a first impression.
    #[arg(long)]
    quick: bool,
    /// Only this comparison; may be given more than once.
    #[arg(long, value_enum)]
    only: Vec<Comparison>,
    /// Rounds of each side instead of 3 (quick: 2).
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds that each run counts instead of 4 (quick: 3).
    #[arg(long)]
    seconds: Option<u64>,
}

/// What a reader of the figures has to know.
const METHOD: [&str; 7] = [
    "Medians of rounds in turn (smallest–largest); the ratio is of medians. The load generator, the same for every side, shares \
     the machine's processors with them.",
    "Bodies have 1,030 bytes. Ours is stored durably and encrypted, counted and charged for; nchan without Redis keeps it in \
     memory, in the clear. Events are counted when their last byte is there; ours are not opened by the generator.",
    "A pace behind a comparison's name is half of what the slower side does saturated, for both.",
    "Forwarding: our relay brings an agent several packets in one request when they are ready together, which nginx cannot; \
     `one by one` is the same relay before an agent that does not take them so.",
    "One message goes to one listener: a wallet has one, so there is no fan-out to compare.",
    "Memory is the proportional set size of all of a side's processes, shared memory counted once.",
    "What a store holds before the node starts on it, to see what its size costs, was written into its tables, not sent to it.",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Comparison {
    /// POST → event stream against nchan in memory.
    Streams,
    /// Durable POST → acknowledgement against nchan and Redis.
    Durable,
    /// Forwarding against nginx `proxy_pass`.
    Forwarding,
    /// Memory per idle listener against nchan.
    Idle,
    /// The same load on a store that has grown 10 and 100 times, against itself.
    Growth,
}

impl Comparison {
    const fn wallets(self, quick: bool) -> usize {
        match self {
            Self::Durable | Self::Forwarding => 100,
            Self::Growth => 1,
            Self::Streams => 1_000,
            Self::Idle if quick => 1_000,
            Self::Idle => 5_000,
        }
    }

    fn peers_are_there(self) -> bool {
        match self {
            Self::Durable => installed(true, true),
            Self::Streams | Self::Idle => installed(true, false),
            Self::Forwarding => installed(false, false),
            Self::Growth => true,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let measured = match Arguments::parse().what {
        What::Node(arguments) => node(&arguments).await,
        What::Settler(options) => settler::options::run(&options).await,
        What::SettlerPart(part) => part.run(),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn node(arguments: &NodeArguments) -> Result<()> {
    let quick = arguments.quick;
    let effort = Effort {
        rounds: arguments.rounds.unwrap_or(if quick { 2 } else { 3 }),
        measure: Duration::from_secs(arguments.seconds.unwrap_or(if quick { 3 } else { 4 })),
        warm_up: Duration::from_secs(1),
        quick,
    };
    let chosen = if arguments.only.is_empty() { Comparison::value_variants() } else { &arguments.only };
    // Below target and not in memory: what is to be durable has to lie on a disk.
    let place = root().join("target/bench");
    std::fs::create_dir_all(&place)?;
    let folder = tempfile::Builder::new().prefix("node-").tempdir_in(&place)?;
    let file = root().join("target/bench/node.json");
    let report = measure(folder.path(), chosen, &effort, &file).await?;
    println!("{}\n{}", report.table(), report.method.join("\n"));
    for skipped in &report.skipped {
        println!("skipped: {skipped}");
    }
    for failure in &report.failed {
        println!("FAILED {failure}");
    }
    ensure!(report.failed.is_empty(), "some comparisons could not be made, or are worth nothing");
    Ok(())
}

/// Makes one comparison after the other. What is found is written down after each, so that nothing that goes wrong later
/// takes it away.
async fn measure(folder: &Path, chosen: &[Comparison], effort: &Effort, file: &Path) -> Result<Report> {
    let mut stage = Stage::build(folder).await?;
    let wallets = chosen.iter().map(|comparison| comparison.wallets(effort.quick)).max().unwrap_or(0);
    stage.route(wallets).await?;
    let stage = Arc::new(stage);
    let versions = vec![
        said("/usr/sbin/nginx", &["-v"]),
        said("/usr/bin/redis-server", &["--version"]),
        said("rustc", &["--version"]),
    ];
    let facts = Facts::gather(folder, versions)?;
    let method = METHOD.map(str::to_owned).to_vec();
    let mut report = Report { facts, method, skipped: Vec::new(), failed: Vec::new(), rows: Vec::new() };
    for comparison in chosen {
        if !comparison.peers_are_there() {
            report.skipped.push(format!("{comparison:?}: its peers are not installed"));
            continue;
        }
        let mut found = Findings::default();
        let measured = match comparison {
            Comparison::Streams => streams::measure(&stage, folder, effort, &mut found).await,
            Comparison::Durable => durable::measure(&stage, folder, effort, &mut found).await,
            Comparison::Forwarding => forwarding::measure(&stage, folder, effort, &mut found).await,
            Comparison::Idle => idle::measure(&stage, folder, effort, &mut found).await,
            Comparison::Growth => growth::measure(&stage, folder, effort, &mut found).await,
        };
        if let Err(error) = measured {
            found.failed.push(format!("{error:#}"));
        }
        report.rows.extend(found.rows);
        report.failed.extend(found.failed.into_iter().map(|failure| format!("{comparison:?}: {failure}")));
        report.write(file)?;
        for operator in &stage.network.operators {
            stage.stop(operator)?;
        }
    }
    report.write(file)?;
    Ok(report)
}
