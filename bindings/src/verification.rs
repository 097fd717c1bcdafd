//! What a block explorer needs to show that deployed code came from the sources: the compiler's standard JSON input.
//!
//! The committed file `verification.json` holds each source once, the compiler's version and settings, and for each
//! contract which sources it needs; [`VerificationInputs::standard_json`] puts one contract's input together. The
//! compiler turns that input into exactly the creation code of [`crate::contracts`]: a test of `minus-tests` compiles
//! it and compares. `scripts/bindings` writes the file.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The sources of the three contracts with all that decides what a compiler makes of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerificationInputs {
    /// The compiler's version as explorers list it, like `v0.8.35+commit.47b9dedd`.
    pub compiler: String,
    /// The compiler's settings.
    pub settings: Value,
    /// The contracts, by name.
    pub contracts: BTreeMap<String, Unit>,
    /// Every source that some contract needs: its text, by its name relative to the repository's root.
    pub sources: BTreeMap<String, String>,
}

/// What one contract is compiled from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// The source that defines it.
    pub source: String,
    /// That source and all that it imports, in the order of their names.
    pub needs: Vec<String>,
}

impl VerificationInputs {
    /// The file's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("texts are JSON");
        json.push('\n');
        json
    }

    /// What explorers call the contract: its source and its name. `None` for a contract that is not one of ours.
    #[must_use]
    pub fn full_name(&self, contract: &str) -> Option<String> {
        Some(format!("{}:{contract}", self.contracts.get(contract)?.source))
    }

    /// The compiler's input for one contract and nothing that it does not need. `None` for a contract that is not one
    /// of ours.
    #[must_use]
    pub fn standard_json(&self, contract: &str) -> Option<String> {
        let unit = self.contracts.get(contract)?;
        let sources: BTreeMap<_, _> = unit
            .needs
            .iter()
            .map(|name| Some((name, json!({ "content": self.sources.get(name)? }))))
            .collect::<Option<_>>()?;
        let input = json!({ "language": "Solidity", "settings": self.settings, "sources": sources });
        let mut json = serde_json::to_string_pretty(&input).expect("texts are JSON");
        json.push('\n');
        Some(json)
    }
}

/// What the contracts of this version were compiled from.
#[must_use]
pub fn verification_inputs() -> &'static VerificationInputs {
    static INPUTS: LazyLock<VerificationInputs> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../verification.json")).expect("a test reads the committed file")
    });
    &INPUTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_file_has_an_input_for_each_contract() {
        let inputs = verification_inputs();
        for creation in crate::create2::creations(alloy::primitives::Address::repeat_byte(1)) {
            let json = inputs.standard_json(creation.contract).expect("one of ours");
            let input: Value = serde_json::from_str(&json).expect("JSON");
            let full_name = inputs.full_name(creation.contract).expect("one of ours");
            let (source, _) = full_name.split_once(':').expect("source and name");
            let text = input["sources"][source]["content"].as_str().expect("its own source is among them");
            assert!(text.contains(&format!("contract {} ", creation.contract)));
        }
        assert_eq!(inputs.standard_json("Stranger"), None);
        assert_eq!(inputs.full_name("Stranger"), None);
    }

    #[test]
    fn no_source_is_named_by_a_path_of_one_machine() {
        for name in verification_inputs().sources.keys() {
            assert!(name.starts_with("contracts/"), "{name}");
        }
    }

    #[test]
    fn no_source_is_there_that_nobody_needs() {
        let inputs = verification_inputs();
        for name in inputs.sources.keys() {
            assert!(inputs.contracts.values().any(|unit| unit.needs.contains(name)), "{name}");
        }
    }
}
