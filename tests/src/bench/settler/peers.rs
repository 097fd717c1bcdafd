//! tap_core and tap_aggregator, which live in `tests/peers`, a workspace of their own: built on first use, and what of them
//! cannot be built is said.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::compile::root;
use crate::packages::{Package, debian};

/// What of the peers there is.
#[derive(Debug)]
pub struct Peers {
    /// Their program.
    pub program: PathBuf,
    /// Why there is no tap_aggregator, if so.
    pub no_aggregator: Option<String>,
}

/// Builds them. tap_aggregator needs protoc and the headers of SASL; without it tap_core is measured alone.
///
/// # Errors
/// When not even tap_core can be built.
pub fn build() -> Result<Peers> {
    let program = root().join("target/peers/release/minus-peers");
    let needed = [
        ("protobuf-compiler", "/usr/bin/protoc"),
        ("libsasl2-dev", "/usr/include/sasl/sasl.h"),
        ("libssl-dev", "/usr/include/openssl/ssl.h"),
        ("zlib1g-dev", "/usr/include/zlib.h"),
    ];
    let lacking = needed.iter().find(|(package, path)| debian(package, path) == Package::Skipped);
    let no_aggregator = match lacking {
        Some((package, _)) => Some(format!("tap_aggregator: it is built with {package}, which is missing")),
        None => cargo(&["--features", "aggregator"]).err().map(|error| format!("tap_aggregator: {error:#}")),
    };
    if no_aggregator.is_some() {
        cargo(&[])?;
    }
    Ok(Peers { program, no_aggregator })
}

fn cargo(features: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--manifest-path", "tests/peers/Cargo.toml", "--target-dir", "target/peers"])
        .args(features)
        .current_dir(root())
        .status()
        .context("cargo built this very program")?;
    ensure!(status.success(), "it does not build (the compiler's words are above)");
    Ok(())
}
