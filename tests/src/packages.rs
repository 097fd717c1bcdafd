//! Programs that come as Debian packages: a suite that needs one has it installed, or says that it was skipped.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Whether a program is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Package {
    /// Here it is.
    Installed(PathBuf),
    /// It is not, and could not be installed; said on standard output already.
    Skipped,
}

/// One installation at a time: Debian's package manager takes only one.
static INSTALLING: Mutex<()> = Mutex::new(());

/// The program at `path`, out of this Debian package if it is not there yet.
///
/// # Panics
/// If it cannot be had and `MINUS_FORBID_SKIPS` is set.
pub fn debian(package: &str, path: &str) -> Package {
    let _alone = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let program = PathBuf::from(path);
    if !program.is_file() {
        // As anybody but root, or without Debian, this fails, and the program stays missing.
        let _ = apt_get(&["update", "--quiet"]);
        let _ = apt_get(&["install", "--yes", "--quiet", "--no-install-recommends", package]);
    }
    if program.is_file() {
        return Package::Installed(program);
    }
    let forbidden = std::env::var_os("MINUS_FORBID_SKIPS").is_some_and(|value| !value.is_empty());
    assert!(!forbidden, "would skip: {path} is missing (Debian package {package})");
    println!("skipped: {path} is missing (apt-get install {package})");
    Package::Skipped
}

fn apt_get(arguments: &[&str]) -> std::io::Result<()> {
    Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
}
