//! Where the programs under test are. `cargo test` builds the libraries of other packages, not their programs, so the
//! first caller builds those.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::compile::root;

/// The chain's own program, which `contracts/package-lock.json` pins.
pub fn anvil() -> PathBuf {
    root().join("contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil")
}

/// A program of this workspace, by name.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(folder).join(name)
}

/// The demo lies beside the other programs and was built with them. A test lies one folder deeper and was not.
fn folder() -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a file");
    let beside = own.parent().expect("a file lies in a folder");
    match beside.parent() {
        Some(above) if beside.ends_with("deps") => {
            build();
            above.to_owned()
        }
        _ => beside.to_owned(),
    }
}

fn build() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--bins"])
        .current_dir(root())
        .status()
        .expect("cargo built this very program, so it can be run");
    assert!(status.success(), "the programs under test do not build");
}
