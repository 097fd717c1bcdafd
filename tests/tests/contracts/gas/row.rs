//! One more row of a claim: what a batch of 100 costs above a batch of 10, of distinct payers whose lanes have paid
//! before; against the target and the floor, with an account of each unit.

use std::collections::BTreeMap;
use std::slice;

use alloy::primitives::{Bytes, TxKind};
use alloy::sol_types::SolCall;
use minus_bindings::PrepaymentEscrow;
use minus_tests::evm::Actor;
use revm::Inspector;
use revm::bytecode::opcode;
use revm::interpreter::Interpreter;
use revm::interpreter::interpreter_types::Jumps;

use super::bench::{Bench, FIRST_TOTAL, LATER_TOTAL, addresses, people};
use crate::calls::OPEN;

/// Rows of the small and of the large batch.
pub(super) const FEW: usize = 10;
pub(super) const MANY: usize = 100;

/// What one more row may cost: 1.1 times the floor that was measured of others.
const ROW_GAS_MAX: u64 = 10_980;

/// What a claim of one voucher may cost.
const SINGLE_CLAIM_GAS_MAX: u64 = 45_000;

/// What a transaction costs that does nothing.
const TRANSACTION_GAS: u64 = 21_000;

/// A kind of work that gas is spent on, in the order of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    Calldata,
    Recovery,
    SlotRead,
    SlotWrite,
    Log,
    Hashes,
    Memory,
    Stack,
    Jumps,
    Arithmetic,
}

impl Work {
    pub(super) const ALL: [Self; 10] = [
        Self::Calldata,
        Self::Recovery,
        Self::SlotRead,
        Self::SlotWrite,
        Self::Log,
        Self::Hashes,
        Self::Memory,
        Self::Stack,
        Self::Jumps,
        Self::Arithmetic,
    ];

    /// As people read it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Calldata => "calldata of 96 bytes",
            Self::Recovery => "ecrecover, called",
            Self::SlotRead => "the lane's slot, read cold",
            Self::SlotWrite => "the lane's slot, written",
            Self::Log => "32 bytes of the log",
            Self::Hashes => "hashing: struct, digest, slot",
            Self::Memory => "memory, and reading calldata",
            Self::Stack => "stack",
            Self::Jumps => "jumps",
            Self::Arithmetic => "arithmetic and comparisons",
        }
    }

    /// What no escrow can do without that is given one signature a row and remembers one slot a row.
    /// Calldata depends on the rows.
    fn floor(self) -> u64 {
        match self {
            Self::Recovery => 3_000 + 100,
            Self::SlotRead => 2_100,
            Self::SlotWrite => 2_900,
            Self::Log => 32 * 8,
            Self::Calldata | Self::Hashes | Self::Memory | Self::Stack | Self::Jumps | Self::Arithmetic => 0,
        }
    }

    fn of(code: u8) -> Self {
        match code {
            opcode::STATICCALL => Self::Recovery,
            opcode::SLOAD => Self::SlotRead,
            opcode::SSTORE => Self::SlotWrite,
            opcode::LOG0..=opcode::LOG4 => Self::Log,
            opcode::KECCAK256 => Self::Hashes,
            opcode::MLOAD
            | opcode::MSTORE
            | opcode::MSTORE8
            | opcode::MCOPY
            | opcode::CALLDATALOAD
            | opcode::CALLDATACOPY
            | opcode::CODECOPY
            | opcode::RETURN => Self::Memory,
            opcode::POP | opcode::PUSH0..=opcode::SWAP16 => Self::Stack,
            opcode::JUMP | opcode::JUMPI | opcode::JUMPDEST => Self::Jumps,
            _ => Self::Arithmetic,
        }
    }
}

/// What a transaction's gas went to, besides the 21,000.
pub(super) type Account = BTreeMap<Work, u64>;

/// Watches a transaction of one contract that calls nothing but precompiles. What an instruction cost shows in what is
/// left at the next one: only then a call has given back what it did not use.
#[derive(Debug, Default)]
struct Meter {
    account: Account,
    /// The instruction that runs, and what was left before it and after it.
    running: Option<(u8, u64, u64)>,
}

impl Meter {
    fn book(&mut self, left: Option<u64>) {
        if let Some((code, before, after)) = self.running.take() {
            *self.account.entry(Work::of(code)).or_default() += before - left.unwrap_or(after);
        }
    }
}

impl<C> Inspector<C> for Meter {
    fn step(&mut self, interpreter: &mut Interpreter, _: &mut C) {
        let left = interpreter.gas.remaining();
        self.book(Some(left));
        self.running = Some((interpreter.bytecode.opcode(), left, left));
    }

    fn step_end(&mut self, interpreter: &mut Interpreter, _: &mut C) {
        if let Some((.., after)) = &mut self.running {
            *after = interpreter.gas.remaining();
        }
    }
}

/// 16 gas for each byte, 4 if it is zero.
fn calldata_gas(data: &[u8]) -> u64 {
    data.iter().map(|&byte| if byte == 0 { 4 } else { 16 }).sum()
}

/// The account of one claim, which sums up to its receipt.
fn account(bench: &Bench, payers: &[Actor], payee: &Actor, cumulative: u128) -> (u64, Account) {
    let rows = bench.rows(payers, payee.address(), cumulative);
    let data: Bytes = PrepaymentEscrow::claimCall { payee: payee.address(), rows }.abi_encode().into();
    let mut meter = Meter::default();
    let to = TxKind::Call(bench.escrow.address);
    let result = bench.clone().transact(&Actor::named("anyone"), to, data.clone(), &mut meter);
    meter.book(None);
    meter.account.insert(Work::Calldata, calldata_gas(&data));
    assert!(result.is_success(), "{result:?}");
    assert_eq!(TRANSACTION_GAS + meter.account.values().sum::<u64>(), result.tx_gas_used(), "each unit is booked");
    (result.tx_gas_used(), meter.account)
}

/// What batches of few and many cost, and what each of the rows between them costs on average.
#[derive(Debug)]
pub(super) struct OneMoreRow {
    pub(super) few: u64,
    pub(super) many: u64,
    account: Account,
}

impl OneMoreRow {
    /// Measures claims of lanes that have paid before, to a payee that has been paid before.
    pub(super) fn measure(bench: &mut Bench) -> Self {
        let (payers, payee, funder) = (people("payer", MANY), Actor::named("payee"), Actor::named("funder of payers"));
        bench.endow(&funder);
        bench.prepay(&funder, &addresses(&payers), payee.address());
        let rows = bench.rows(&payers, payee.address(), FIRST_TOTAL);
        let first = PrepaymentEscrow::claimCall { payee: payee.address(), rows };
        bench.gas(&funder, bench.escrow.address, &first);

        let (few, small) = account(bench, &payers[..FEW], &payee, LATER_TOTAL);
        let (many, large) = account(bench, &payers, &payee, LATER_TOTAL);
        let difference = |(work, gas): (&Work, &u64)| (*work, gas - small.get(work).unwrap_or(&0));
        Self { few, many, account: large.iter().map(difference).collect() }
    }

    /// Of all the rows that the batches differ by.
    fn difference(&self) -> u64 {
        self.many - self.few
    }

    /// Tenths of gas a row: everything; and what it is in the end.
    pub(super) fn tenths(&self) -> u64 {
        per_row_in_tenths(self.difference())
    }

    /// Tenths of gas a row, by kind of work: ours, and the floor's.
    pub(super) fn account_in_tenths(&self) -> impl Iterator<Item = (Work, u64, u64)> {
        Work::ALL.into_iter().map(|work| {
            let ours = per_row_in_tenths(*self.account.get(&work).unwrap_or(&0));
            (work, ours, if work == Work::Calldata { ours } else { 10 * work.floor() })
        })
    }
}

fn per_row_in_tenths(gas: u64) -> u64 {
    let rows = u64::try_from(MANY - FEW).unwrap();
    (10 * gas + rows / 2) / rows
}

#[test]
fn one_more_row_costs_at_most_10_980() {
    let row = OneMoreRow::measure(&mut Bench::new());
    let limit = ROW_GAS_MAX * u64::try_from(MANY - FEW).unwrap();
    assert!(row.difference() <= limit, "one more row costs {} tenths of gas", row.tenths());
}

/// Of a payee that has an open balance, as every operator of a node has by its bond, and of lanes old and new.
#[test]
fn a_claim_of_one_voucher_costs_at_most_45_000() {
    let mut bench = Bench::new();
    let (payer, payee, funder) = (Actor::named("payer"), Actor::named("payee"), Actor::named("funder"));
    bench.endow(&funder);
    bench.prepay(&funder, &[payee.address()], OPEN);
    bench.prepay(&funder, &[payer.address()], payee.address());
    for cumulative in [FIRST_TOTAL, LATER_TOTAL] {
        let rows = bench.rows(slice::from_ref(&payer), payee.address(), cumulative);
        let claim = PrepaymentEscrow::claimCall { payee: payee.address(), rows };
        let gas = bench.gas(&funder, bench.escrow.address, &claim);
        assert!(gas <= SINGLE_CLAIM_GAS_MAX, "a claim of one voucher costs {gas}");
    }
}
