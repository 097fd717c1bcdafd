//! When what a model says and what a contract says are the same, and what happened in all lives together.

use std::collections::BTreeSet;

use minus_tests::evm::Refusal;
use proptest::prelude::*;

/// Every way in which a step ended so far.
pub(super) type Seen = BTreeSet<String>;

/// Why a model does not take an entry: the contract's error.
pub(super) trait Refused: Copy + std::fmt::Debug {
    /// The first four bytes of what the contract answers.
    fn selector(self) -> [u8; 4];
}

/// Both went through with the same answer, or both refused for the same reason.
pub(super) fn same<T: PartialEq + std::fmt::Debug, E: Refused>(
    ours: Result<T, E>,
    theirs: Result<T, Refusal>,
    seen: &mut Seen,
) -> Result<(), TestCaseError> {
    if let Err(refused) = &ours {
        seen.insert(format!("{refused:?}"));
    }
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
        (Err(ours), Err(theirs)) => {
            prop_assert_eq!(theirs.data.get(..4), Some(&ours.selector()[..]), "{:?} or {:?}", ours, theirs);
        }
        (ours, theirs) => prop_assert!(false, "the model says {ours:?}, the contract {theirs:?}"),
    }
    Ok(())
}

/// Agreement says little about what never happened.
pub(super) fn assert_happened(seen: &Seen, expected: &[&str]) {
    let happened: Vec<_> = seen.iter().map(String::as_str).collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(happened, expected);
}
