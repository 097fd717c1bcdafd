//! What a call to a contract gives.

use std::fmt;

use alloy::primitives::{Address, Bytes, Log};
use alloy::sol_types::{SolError, SolEvent};
use minus_bindings::ContractRevert;

/// A transaction that went through.
#[derive(Clone, Debug)]
pub struct Receipt<R> {
    /// What the function returned.
    pub value: R,
    /// What it logged, all contracts together.
    pub logs: Vec<Log>,
    /// Gas of the whole transaction: 21,000, calldata and execution, refunds taken off.
    pub gas_used: u64,
}

impl<R> Receipt<R> {
    /// All events of one type, with the contract that emitted them.
    #[must_use]
    pub fn events<E: SolEvent>(&self) -> Vec<(Address, E)> {
        self.logs.iter().filter_map(|log| Some((log.address, E::decode_log(log).ok()?.data))).collect()
    }

    /// The one event of its type.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[must_use]
    pub fn event<E: SolEvent>(&self) -> E {
        let mut events = self.events::<E>();
        assert_eq!(events.len(), 1, "number of {} events", E::SIGNATURE);
        events.remove(0).1
    }
}

/// A transaction that a contract refused.
#[derive(Clone)]
pub struct Refusal {
    /// The decoded error.
    pub reason: Box<ContractRevert>,
    /// The same as the contract gave it.
    pub data: Bytes,
    /// Gas that the refused transaction cost.
    pub gas_used: u64,
}

impl fmt::Debug for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.reason)
    }
}

/// Demands that a call was refused with exactly this error and these numbers.
///
/// # Panics
/// When it went through, or was refused with anything else.
#[track_caller]
pub fn assert_refused<R, E: SolError + fmt::Debug>(outcome: Result<R, Refusal>, expected: &E) {
    match outcome {
        Ok(_) => panic!("went through, where {expected:?} was expected"),
        Err(refusal) if refusal.data == expected.abi_encode() => {}
        Err(refusal) => panic!("refused with {refusal:?}, where {expected:?} was expected"),
    }
}
