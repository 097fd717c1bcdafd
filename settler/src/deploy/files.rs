//! The files that a deployment leaves: the one that every program reads, and what explorers want to know.

use std::io::Write;
use std::path::{Path, PathBuf};

use alloy::primitives::{Address, Bytes};
use minus_bindings::create2::Creation;
use minus_bindings::verification::verification_inputs;
use serde::Serialize;

use super::error::DeployError;

/// What to tell an explorer, in the words of its form.
#[derive(Serialize)]
struct Index {
    compiler: &'static str,
    contracts: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    contract: String,
    address: Address,
    constructor_arguments: Bytes,
    standard_json_input: String,
}

/// Writes the compiler's standard JSON input of each contract, and `index.json` with all else that an explorer asks for.
/// The folder is created; files of the same name are replaced.
///
/// # Errors
/// When a file cannot be written.
pub fn write_verification<'a>(
    folder: &Path,
    creations: impl Iterator<Item = &'a Creation>,
) -> Result<Vec<PathBuf>, DeployError> {
    let failed = |source| DeployError::File { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let inputs = verification_inputs();
    let mut index = Index { compiler: &inputs.compiler, contracts: Vec::new() };
    let mut files = Vec::new();
    for creation in creations {
        let contract = creation.contract;
        let (Some(full_name), Some(input)) = (inputs.full_name(contract), inputs.standard_json(contract)) else {
            unreachable!("a test finds an input for every contract that is created");
        };
        let name = format!("{contract}.json");
        files.push(folder.join(&name));
        write_whole(&folder.join(&name), input.as_bytes())?;
        index.contracts.push(Entry {
            contract: full_name,
            address: creation.address,
            constructor_arguments: creation.constructor_arguments.clone(),
            standard_json_input: name,
        });
    }
    let mut text = serde_json::to_string_pretty(&index).map_err(|error| failed(error.into()))?;
    text.push('\n');
    files.push(folder.join("index.json"));
    write_whole(&folder.join("index.json"), text.as_bytes())?;
    Ok(files)
}

/// Writes beside the file, makes it durable, then renames: whoever reads the name finds all of it or nothing.
///
/// # Errors
/// When that does not work; then the file is as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DeployError> {
    try_write_whole(path, bytes).map_err(|source| DeployError::File { path: path.to_owned(), source })
}

fn try_write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| std::io::Error::other("that is no file name"))?;
    let beside = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = (|| {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    if written.is_err() {
        // It may not even have been created.
        let _ = std::fs::remove_file(&beside);
    }
    written?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deployment.json");
        write_whole(&file, b"a longer first text").unwrap();
        write_whole(&file, b"second").unwrap();

        assert_eq!(std::fs::read(&file).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_named_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no-such-folder/deployment.json");
        let error = write_whole(&missing, b"text").unwrap_err();
        assert!(error.to_string().contains("no-such-folder/deployment.json cannot be written"), "{error}");

        let occupied = folder.path().join("occupied");
        std::fs::create_dir(&occupied).unwrap();
        assert!(write_whole(&occupied, b"text").is_err(), "a folder is not replaced");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_explorer_gets_an_input_for_each_contract() {
        let folder = tempfile::tempdir().unwrap();
        let creations = minus_bindings::create2::creations(Address::repeat_byte(1));
        let target = folder.path().join("verification");

        let files = write_verification(&target, creations.iter()).unwrap();

        assert_eq!(files.len(), 4);
        assert!(files.iter().all(|file| file.is_file()));
        let index: serde_json::Value =
            serde_json::from_slice(&std::fs::read(target.join("index.json")).unwrap()).unwrap();
        assert_eq!(index["contracts"][1]["contract"], "contracts/src/PrepaymentEscrow.sol:PrepaymentEscrow");
        assert_eq!(index["contracts"][1]["address"], serde_json::json!(creations[1].address));
        assert_eq!(index["contracts"][1]["standard_json_input"], "PrepaymentEscrow.json");
        assert!(index["compiler"].as_str().unwrap().starts_with("v0.8."));
    }
}
