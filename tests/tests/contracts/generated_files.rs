//! What is committed in `bindings/abi` is what the sources compile to: the ABI and the creation code, to the byte.

use std::fs;

use alloy::sol_types::SolError;
use minus_bindings::revert::{EscrowErrors, RoutingErrors, TokenErrors, decode_as};
use minus_bindings::{PrepaymentEscrow, RoutingTable, SettlementToken};
use minus_tests::compile;

#[test]
fn committed_files_are_current() {
    for name in compile::BOUND_CONTRACTS {
        let committed = fs::read_to_string(compile::bound_file(name)).unwrap();
        let current = compile::contracts()[name].to_json();
        // Compared in two steps: a difference is a few hundred kilobytes of hexadecimal.
        assert!(committed == current, "bindings/abi/{name}.json is not current; scripts/bindings writes it");
    }
}

#[test]
fn bindings_deploy_what_the_sources_say() {
    for (name, code) in [
        ("SettlementToken", &SettlementToken::BYTECODE),
        ("PrepaymentEscrow", &PrepaymentEscrow::BYTECODE),
        ("RoutingTable", &RoutingTable::BYTECODE),
    ] {
        assert!(code[..] == compile::contracts()[name].creation_code[..], "{name} is bound to another creation code");
    }
}

/// Data of every declared error, all fields zero, reads back as an error of its contract.
#[test]
fn every_declared_error_is_decoded() {
    for name in compile::BOUND_CONTRACTS {
        let errors: Vec<_> = compile::contracts()[name].abi.errors().collect();
        assert!(!errors.is_empty());
        for error in errors {
            let mut data = error.selector().to_vec();
            // A text or bytes field is an offset to a length; zeros after the head give it both.
            for (index, field) in error.inputs.iter().enumerate() {
                let mut word = [0; 32];
                if field.ty == "string" || field.ty == "bytes" {
                    word[31] = u8::try_from((error.inputs.len() + index) * 32).unwrap();
                }
                data.extend_from_slice(&word);
            }
            if error.inputs.iter().any(|field| field.ty == "string" || field.ty == "bytes") {
                data.extend_from_slice(&[0; 32]);
            }
            let decoded = match name {
                "PrepaymentEscrow" => decode_as::<EscrowErrors>(&data).is_some(),
                "RoutingTable" => decode_as::<RoutingErrors>(&data).is_some(),
                _ => decode_as::<TokenErrors>(&data).is_some(),
            };
            assert!(decoded, "{name}: {}", error.signature());
        }
    }
    assert_eq!(PrepaymentEscrow::BadLane::SIGNATURE, "BadLane(address,address)");
}
