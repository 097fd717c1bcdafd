//! What explorers are given: `bindings/verification.json` is what the sources say, and the compiler makes of each input,
//! by itself and without this repository's files, exactly the creation code that is deployed.

use std::io::Write;
use std::process::{Command, Stdio};

use minus_bindings::verification::verification_inputs;
use minus_bindings::{PrepaymentEscrow, RoutingTable, SettlementToken};
use minus_tests::compile::root;
use minus_tests::verification;
use serde_json::Value;

#[test]
fn the_committed_file_is_current() {
    let committed = std::fs::read_to_string(verification::file()).unwrap();
    let current = verification::inputs().unwrap().to_json();
    // Compared in two steps: a difference is a few hundred kilobytes of sources.
    assert!(committed == current, "bindings/verification.json is not current; scripts/bindings writes it");
}

#[test]
fn the_compiler_makes_the_deployed_code_of_each_input() {
    let inputs = verification_inputs();
    for (contract, creation_code) in [
        ("SettlementToken", &SettlementToken::BYTECODE),
        ("PrepaymentEscrow", &PrepaymentEscrow::BYTECODE),
        ("RoutingTable", &RoutingTable::BYTECODE),
    ] {
        let output = compile(&inputs.standard_json(contract).unwrap());
        let full_name = inputs.full_name(contract).unwrap();
        let (source, name) = full_name.split_once(':').unwrap();
        let code = output["contracts"][source][name]["evm"]["bytecode"]["object"].as_str();
        let code = code.unwrap_or_else(|| panic!("{contract} does not compile: {}", output["errors"]));
        assert!(code == alloy::hex::encode(creation_code), "the input of {contract} gives another creation code");
    }
}

#[test]
fn the_compiler_is_the_one_that_the_file_names() {
    let output = Command::new(root().join("scripts/solc")).arg("--version").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    let named = verification_inputs().compiler.strip_prefix('v').unwrap();
    assert!(version.contains(&format!("Version: {named}.")), "{named} is not in {version}");
}

/// In a folder of its own, so that the compiler has nothing but the input.
fn compile(input: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let mut compiler = Command::new(root().join("scripts/solc"))
        .arg("--standard-json")
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    compiler.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = compiler.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}
