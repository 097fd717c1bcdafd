//! The compiler's input for explorers, from the sources and from the settings that [`compile`](crate::compile) uses:
//! what `write-bindings` commits as `bindings/verification.json`, and what a test holds that file to.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use minus_bindings::verification::{Unit, VerificationInputs};
use serde_json::{Map, Value, json};

use crate::compile::{self, BOUND_CONTRACTS, root};

/// The committed file.
#[must_use]
pub fn file() -> PathBuf {
    root().join("bindings/verification.json")
}

/// Collects the sources of the bound contracts and all that they import.
///
/// # Errors
/// When the toolchain is not installed, or a source cannot be read.
pub fn inputs() -> Result<VerificationInputs> {
    let (project, version) = compile::project()?;
    let mut inputs = VerificationInputs {
        compiler: format!("v{version}"),
        settings: Value::Null,
        contracts: Default::default(),
        sources: Default::default(),
    };
    for contract in BOUND_CONTRACTS {
        let source = PathBuf::from("contracts/src").join(format!("{contract}.sol"));
        let input = project.standard_json_input(&root().join(&source))?;
        let mut needs = Vec::new();
        for (path, text) in input.sources {
            ensure!(path.is_relative(), "{} lies outside the repository", path.display());
            let name = path.display().to_string();
            inputs.sources.insert(name.clone(), text.content.to_string());
            needs.push(name);
        }
        needs.sort_unstable();
        inputs.settings = settings(serde_json::to_value(&input.settings)?)?;
        inputs.contracts.insert(contract.to_owned(), Unit { source: source.display().to_string(), needs });
    }
    Ok(inputs)
}

/// The settings with the output that explorers compare, in the order of their names whatever order the JSON library
/// keeps.
fn settings(mut settings: Value) -> Result<Value> {
    let fields = settings.as_object_mut().context("the compiler's settings are an object")?;
    let output = ["abi", "evm.bytecode", "evm.deployedBytecode"];
    fields.insert("outputSelection".to_owned(), json!({ "*": { "*": output } }));
    Ok(sorted(settings))
}

fn sorted(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
    fields.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    Value::Object(Map::from_iter(fields))
}
