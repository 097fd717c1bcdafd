//! What is owed in both directions, set off against each other; and income that is claimed because relays are owed. Pure.
//!
//! An operator B that owes one of ours, A, and is short of money, or has moved it out of reach, is paid what A owes it in
//! the same transaction, in front of A's claim: `settle([A's debt to B], [A's claim on B])`. A claim credits the payee's
//! open balance, and that is what the next claim in the same call may take from. So A's own debt pays A's claim, and B has
//! no moment in which to take the one and keep the other. B needs no money for that; A needs what it pays first, which
//! comes back at once, and serves the next pair.
//!
//! It costs A the gas of a batch that B would have had to pay, so it is done only for what a claim alone would not bring:
//!
//! `gain = min(owed by B, B's money + what A can pay) - min(owed by B, B's money)`
//!
//! Where B's money suffices, the gain is nothing and B may collect for itself. What A sends is its own signature, or its
//! node's, and due in any case: B can be paid with it whenever B likes. The worst that B can do is to be faster, which costs
//! A the gas of a claim that moves nothing, and such a claim waits longer each time.

use std::collections::HashMap;

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};

use crate::debts::owing;
use crate::plan::{BATCH_GAS, Market, Policy, ROW_GAS_USUAL, gas_value};
use crate::store::{Debt, OpenVoucher};

/// What a debt adds to the transaction of a claim: a batch with one row.
pub const NETTING_GAS: u64 = BATCH_GAS + ROW_GAS_USUAL;
/// Pairs of one transaction: at their very worst, 32 debts and 32 claims use half of what a transaction may.
pub const PAIRS_MAX: usize = 32;

/// A debt of ours that is paid in front of a claim on its payee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetOff {
    /// What is sent.
    pub debt: SignedVoucher,
    /// What it brings into the open balance that the claim takes from.
    pub pays: Amount,
}

/// What is known of debts at one moment.
#[derive(Debug, Clone, Default)]
pub struct Owed {
    /// All of them.
    pub debts: Vec<Debt>,
    /// What vouchers that are under way are to bring, by payee.
    pub coming: Vec<(Address, Amount)>,
}

/// Marks the vouchers that are worth setting off, and those whose money is needed to cover debts. Every other mark is taken
/// away.
pub fn mark<'a>(
    open: impl IntoIterator<Item = &'a mut OpenVoucher>,
    owed: &Owed,
    policy: &Policy,
    market: Market,
    now: u64,
) {
    if owed.debts.is_empty() {
        return;
    }
    let is_good = |debt: &&Debt| {
        let ends_at = debt.view.signer_ends_at;
        !debt.due().is_zero() && !debt.is_under_way && (ends_at == 0 || now < ends_at)
    };
    let lane_back = |debt: &Debt| (debt.voucher.payee, debt.voucher.payer);
    let due: HashMap<_, &Debt> = owed.debts.iter().filter(is_good).map(|debt| (lane_back(debt), debt)).collect();
    let mut short = if policy.cover_debts { shortfalls(owed) } else { HashMap::new() };
    let mut concerned = Vec::new();
    for open in open {
        (open.set_off, open.backs) = (None, false);
        let voucher = &open.voucher;
        if due.contains_key(&(voucher.payer, voucher.payee)) || short.contains_key(&voucher.payee) {
            concerned.push(open);
        }
    }
    // The most money first, and the same order each time.
    concerned.sort_by_key(|open| (std::cmp::Reverse(open.view.claimable(open.voucher.cumulative)), open.id));
    let cost = |gas| gas_value(gas, market.fee_per_gas, policy.native_coin_price);
    set_off(&mut concerned, &due, cost(NETTING_GAS), policy, now);
    back(&mut concerned, &mut short, cost(ROW_GAS_USUAL));
}

/// By operator, what its escrow does not cover and no claim under way brings.
fn shortfalls(owed: &Owed) -> HashMap<Address, u128> {
    let coming = |payee: Address| {
        let own = owed.coming.iter().filter(|(to, _)| *to == payee);
        own.fold(0_u128, |sum, (_, amount)| sum.saturating_add(amount.base_units()))
    };
    let short = owing(&owed.debts)
        .into_iter()
        .map(|owing| (owing.payer, owing.uncovered.base_units().saturating_sub(coming(owing.payer))));
    short.filter(|(_, short)| *short > 0).collect()
}

/// Goes through the pairs as the escrow would, with the open balances as each leaves them.
fn set_off(
    concerned: &mut [&mut OpenVoucher],
    due: &HashMap<(Address, Address), &Debt>,
    cost: u128,
    policy: &Policy,
    now: u64,
) {
    let mut balances: HashMap<Address, u128> = HashMap::new();
    for open in concerned {
        let (payer, payee) = (open.voucher.payer, open.voucher.payee);
        let Some(debt) = due.get(&(payer, payee)) else { continue };
        let ours = *balances.entry(payee).or_insert(debt.view.open.base_units());
        let theirs = *balances.entry(payer).or_insert(open.view.open.base_units());
        let lane = debt.view.deposit.base_units();
        let pays = debt.due().base_units().min(lane.saturating_add(ours));
        let wanted = open.voucher.cumulative.saturating_sub(open.view.paid).base_units();
        let alone = wanted.min(open.view.deposit.base_units().saturating_add(theirs));
        let together = wanted.min(open.view.deposit.base_units().saturating_add(theirs).saturating_add(pays));
        // After a claim that failed it goes by itself if it can, so that no debt keeps it waiting (law 5).
        let is_suspect = open.failures > 0 && alone > 0;
        let times = if can_wait(open, policy, now) { u128::from(policy.value_over_gas) } else { 1 };
        if is_suspect || together == alone || together - alone < cost.saturating_mul(times) {
            continue;
        }
        let from_lane = together.min(open.view.deposit.base_units());
        balances.insert(payee, ours.saturating_sub(pays.saturating_sub(lane)).saturating_add(together));
        balances.insert(payer, theirs.saturating_add(pays).saturating_sub(together - from_lane));
        open.set_off = Amount::from_base_units(pays).ok().map(|pays| Box::new(SetOff { debt: debt.voucher, pays }));
    }
}

/// Neither the operator, nor its age, nor an end in sight asks for it: then it has to be worth a multiple of its gas.
fn can_wait(open: &OpenVoucher, policy: &Policy, now: u64) -> bool {
    let view = &open.view;
    let ends = [view.thaw_ends_at, view.open_thaw_ends_at, view.signer_ends_at];
    let is_aged = now.saturating_sub(open.recorded_at) >= policy.age_max_s;
    !open.asked && !is_aged && ends.iter().all(|at| *at == 0)
}

/// The largest first, until what is missing is there. Each has to be worth its own gas.
fn back(concerned: &mut [&mut OpenVoucher], short: &mut HashMap<Address, u128>, own_gas: u128) {
    for open in concerned {
        let Some(missing) = short.get_mut(&open.voucher.payee).filter(|missing| **missing > 0) else { continue };
        let brings = open.claimable().base_units();
        if brings > 0 && brings >= own_gas {
            open.backs = true;
            *missing = missing.saturating_sub(brings);
        }
    }
}

#[cfg(test)]
#[path = "netting_tests.rs"]
mod tests;
