//! What a function costs: its first use, and a later one by the same people for the same lane, node or wallet.
//! Allowances are unlimited where no permit gives them.

use alloy::primitives::{Address, Bytes};
use alloy::sol_types::{Eip712Domain, SolCall, SolStruct};
use minus_bindings::sign;
use minus_tests::evm::Actor;

use super::bench::{Bench, FIRST_TOTAL, LATER_TOTAL};

/// A transfer, a deposit, an allowance, a mandate's day: 25 tokens.
pub(super) const AMOUNT: u128 = 25_000_000;

/// The running totals of the first and the later voucher or charge.
pub(super) const TOTALS: [u128; 2] = [FIRST_TOTAL, LATER_TOTAL];

/// What a function costs.
#[derive(Debug)]
pub(super) struct Cost {
    pub(super) function: String,
    pub(super) first: u64,
    /// `None` of what can be done only once.
    pub(super) later: Option<u64>,
}

impl Cost {
    pub(super) fn new(function: impl Into<String>, first: u64, later: u64) -> Self {
        Self { function: function.into(), first, later: Some(later) }
    }
}

/// The same twice: `call` is asked for the first (0) and the later use (1).
#[track_caller]
pub(super) fn twice<C: SolCall>(
    bench: &mut Bench,
    function: impl Into<String>,
    by: &Actor,
    to: Address,
    call: impl Fn(&Bench, usize) -> C,
) -> Cost {
    let [first, later] = [0, 1].map(|nth| {
        let call = call(bench, nth);
        bench.gas(by, to, &call)
    });
    Cost::new(function, first, later)
}

/// A signature as the contracts take it.
pub(super) fn signed<T: SolStruct>(by: &Actor, message: &T, domain: &Eip712Domain) -> Bytes {
    sign(message, domain, &by.signer).into()
}
