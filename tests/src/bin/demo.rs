//! The main job on an embedded default: a chain of its own, three operators, a customer, a sender, real files. Ends
//! with who paid whom for what, from the chain and from the meters, or fails.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use minus_tests::journey::{self, PREPAID_TOKENS, Travellers};
use minus_tests::sabotage::Sabotage;
use minus_tests::world::books::table;
use minus_tests::world::network::Network;

/// The generated file: 20 MiB and a little, so that its last packet is not a full one.
const GENERATED_BYTES: usize = (20 << 20) + 4_321;

/// Steps of the demo itself, after the network's own.
const STEPS: u64 = 5;

/// Sends files through real nodes to an offline wallet and settles for them on a real chain.
#[derive(Debug, Parser)]
#[command(name = "demo", after_help = "Example:\n  scripts/demo README.md Cargo.lock")]
struct Arguments {
    /// Files to send; by default the contracts, their ABI and one generated file of 20 MiB.
    files: Vec<PathBuf>,
    /// Breaks something on the way, to see that it is noticed.
    #[arg(long, hide = true)]
    sabotage: Option<Sabotage>,
    /// Keeps the folder with all logs and databases.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    match run(&arguments).await {
        Ok(()) => {
            println!("done in {:.1} s", started.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("layer-minus-demo-").tempdir()?;
    let outcome = travel(folder.path(), arguments).await;
    if arguments.keep || outcome.is_err() {
        println!("logs and databases: {}", folder.keep().display());
    }
    outcome
}

async fn travel(folder: &Path, arguments: &Arguments) -> Result<()> {
    let bar = ProgressBar::new(Network::STEPS + STEPS);
    bar.set_style(ProgressStyle::with_template("[{elapsed_precise}] {bar:30} {pos}/{len} {msg}")?);
    let step = |message: &str| {
        bar.println(message);
        bar.set_message(message.to_owned());
        bar.inc(1);
        if bar.is_hidden() {
            println!("- {message}");
        }
    };

    let files = files(folder, &arguments.files)?;
    let network = Network::start(folder, step).await?;

    step(&format!("a customer prepays {PREPAID_TOKENS} tokens and entrusts a wallet"));
    let travellers = Travellers::prepare(&network, PREPAID_TOKENS, true).await?;

    let bytes: u64 = files.iter().map(|file| Ok(file.metadata()?.len())).sum::<Result<u64>>()?;
    step(&format!("a sender without an account sends to the offline wallet (files: {}, bytes: {bytes})", files.len()));
    let sent = travellers.send(&network, &files).await?;
    if let Some(sabotage) = arguments.sabotage {
        sabotage.after_sending(&network).await?;
    }

    step("the customer comes online through another access node, receives, verifies, signs");
    let received = travellers.receive(&network, &files, &folder.join("received")).await?;
    for file in &received {
        bar.println(format!("  {} {}", &file.sha256[..16], file.path.file_name().unwrap_or_default().display()));
    }
    if let Some(sabotage) = arguments.sabotage {
        sabotage.after_receiving(&network).await?;
    }

    step("the settlers claim");
    let settled = journey::settle(&network, &travellers).await;
    let payments = match &settled {
        Ok(payments) => payments.clone(),
        Err(_) => journey::payments(&network, &travellers).await?,
    };
    step("comparing the books");
    bar.finish_and_clear();
    println!(
        "files received: {}, packets: {}, bytes on the wire: {}; every SHA-256 is the sender's",
        received.len(),
        sent.iter().map(|file| file.packets).sum::<u64>(),
        journey::wire_bytes(&sent)
    );
    println!("amounts in base units (10^-6 tokens)\n{}", table(&payments));
    settled?;
    println!("the payers' meters, the payees' meters and the chain are equal to the base unit");
    Ok(())
}

fn files(folder: &Path, named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if !named.is_empty() {
        for file in named {
            ensure!(file.is_file(), "{} is not a file", file.display());
        }
        return Ok(named.to_vec());
    }
    let mut files = Vec::new();
    for place in ["contracts/src", "bindings/abi"] {
        add_files(&minus_tests::compile::root().join(place), &mut files)?;
    }
    let generated = folder.join("generated.bin");
    journey::random_file(&generated, GENERATED_BYTES, u64::from(std::process::id()))?;
    files.push(generated);
    Ok(files)
}

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() { add_files(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
