//! Writes `bindings/abi` and `bindings/verification.json` from the Solidity sources. Behind `scripts/bindings`.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use minus_tests::{compile, verification};

/// Compiles the contracts and writes what Rust needs of them into bindings.
#[derive(Debug, Parser)]
struct Arguments {
    /// Write nothing; fail when a committed file is not what the sources compile to.
    #[arg(long)]
    check: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let contracts = compile::compile()?;
    let mut all_current = true;
    let mut files = vec![(verification::file(), verification::inputs()?.to_json())];
    for name in compile::BOUND_CONTRACTS {
        let contract = contracts.get(name).with_context(|| format!("contracts/src has no {name}"))?;
        files.push((compile::bound_file(name), contract.to_json()));
    }
    for (file, text) in files {
        let name = file.strip_prefix(compile::root())?.display();
        if fs::read_to_string(&file).is_ok_and(|committed| committed == text) {
            continue;
        }
        if arguments.check {
            println!("{name} is not what the sources compile to; scripts/bindings writes it");
            all_current = false;
        } else {
            fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
            println!("wrote {name}");
        }
    }
    Ok(if all_current { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
