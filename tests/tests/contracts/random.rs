//! Random cases, the same in every run, so that a red gate is red for the next person too. `MINUS_DEEP` asks for more.

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

/// The seed of every run; forge's is the same.
const SEED: u64 = 0x6d_69_6e_75_73;

/// How many times as many cases `scripts/test --deep` runs.
const DEEP_FACTOR: u32 = 20;

/// Holds `property` against so many values of `strategy`, and shows the smallest one that breaks it.
pub(crate) fn check<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let deep = std::env::var("MINUS_DEEP").is_ok_and(|value| !value.is_empty());
    let config = ProptestConfig {
        cases: if deep { cases * DEEP_FACTOR } else { cases },
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if let Err(failure) = TestRunner::new(config).run(strategy, property) {
        panic!("{failure}");
    }
}
