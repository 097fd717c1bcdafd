#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::store::LaneView;

const NOW: u64 = 1_000_000;
/// A netting costs 0.075 tokens; ten times that is asked for.
const MARKET: Market = Market { fee_per_gas: 1_000_000_000, above_cap: false };
const OURS: Address = Address::repeat_byte(0xaa);

fn units(units: u128) -> Amount {
    Amount::from_base_units(units).unwrap()
}

fn policy() -> Policy {
    Policy {
        value_over_gas: 10,
        native_coin_price: "1000".parse().unwrap(),
        age_max_s: 1_000,
        thaw_margin_s: 100,
        exposure_max: None,
        cover_debts: true,
        rows_max: 100,
    }
}

fn signed(payer: Address, payee: Address, cumulative: u128) -> SignedVoucher {
    SignedVoucher { payer, payee, cumulative: units(cumulative), signature: [0; 65] }
}

/// Another operator owes so much, and has so much in its open balance.
fn claim(other: u8, owed: u128, has: u128) -> OpenVoucher {
    let other_operator = Address::repeat_byte(other);
    OpenVoucher {
        id: other.into(),
        voucher: signed(other_operator, OURS, owed),
        signer: other_operator,
        recorded_at: NOW,
        retry_at: 0,
        asked: false,
        held: None,
        closing_claimed_at: 0,
        failures: 0,
        exposed: false,
        set_off: None,
        backs: false,
        view: LaneView { open: units(has), ..LaneView::default() },
    }
}

/// We owe it so much, and have so much in our open balance.
fn debt(other: u8, owed: u128, has: u128) -> Debt {
    Debt {
        voucher: signed(OURS, Address::repeat_byte(other), owed),
        signer: OURS,
        recorded_at: NOW,
        view: LaneView { open: units(has), ..LaneView::default() },
        seen_at: NOW,
        counterclaim: Amount::ZERO,
        is_under_way: false,
    }
}

/// What is paid in front of each claim, none if it is claimed by itself.
fn pays(mut open: Vec<OpenVoucher>, debts: Vec<Debt>) -> Vec<Option<u128>> {
    mark(&mut open, &Owed { debts, coming: Vec::new() }, &policy(), MARKET, NOW);
    open.iter().map(|open| open.set_off.as_ref().map(|set_off| set_off.pays.base_units())).collect()
}

const M: u128 = 1_000_000;

#[test]
fn what_we_owe_pays_what_we_are_owed() {
    assert_eq!(pays(vec![claim(1, 8 * M, 0)], vec![debt(1, 5 * M, 9 * M)]), [Some(5 * M)]);
    assert_eq!(pays(vec![claim(1, 8 * M, 0)], vec![debt(1, 5 * M, 2 * M)]), [Some(2 * M)], "no more than we have");
    let mut ours = claim(1, 8 * M, 0);
    mark([&mut ours], &Owed { debts: vec![debt(1, 5 * M, 9 * M)], coming: vec![] }, &policy(), MARKET, NOW);
    assert_eq!(ours.claimable(), units(5 * M));
}

#[test]
fn nothing_is_netted_that_a_claim_alone_would_bring_too() {
    assert_eq!(pays(vec![claim(1, 8 * M, 8 * M)], vec![debt(1, 5 * M, 9 * M)]), [None]);
    assert_eq!(pays(vec![claim(1, 8 * M, 0)], vec![debt(2, 5 * M, 9 * M)]), [None], "another operator");
    assert_eq!(pays(vec![claim(1, 8 * M, 0)], vec![debt(1, 5 * M, 0)]), [None], "we have nothing either");
    // Worth it from ten times the gas of a netting on: what a claim alone lacks is 0.75 tokens, and a base unit less.
    assert_eq!(pays(vec![claim(1, 8 * M, 7_250_000)], vec![debt(1, 5 * M, 9 * M)]), [Some(5 * M)]);
    assert_eq!(pays(vec![claim(1, 8 * M, 7_250_001)], vec![debt(1, 5 * M, 9 * M)]), [None]);
}

#[test]
fn what_cannot_wait_needs_to_be_worth_its_gas_once() {
    let short = |change: fn(&mut OpenVoucher)| {
        let mut open = claim(1, 8 * M, 7_900_000);
        change(&mut open);
        pays(vec![open], vec![debt(1, 5 * M, 9 * M)])[0].is_some()
    };
    assert!(!short(|_| {}));
    assert!(short(|open| open.asked = true));
    assert!(short(|open| open.recorded_at = NOW - 1_000));
    assert!(short(|open| open.view.open_thaw_ends_at = NOW + 1));
}

#[test]
fn a_debt_that_is_under_way_paid_or_badly_signed_is_not_sent() {
    let with = |change: fn(&mut Debt)| {
        let mut debt = debt(1, 5 * M, 9 * M);
        change(&mut debt);
        pays(vec![claim(1, 8 * M, 0)], vec![debt])[0].is_some()
    };
    assert!(with(|_| {}));
    assert!(!with(|debt| debt.is_under_way = true));
    assert!(!with(|debt| debt.view.paid = debt.voucher.cumulative));
    assert!(!with(|debt| debt.view.signer_ends_at = NOW));
    assert!(with(|debt| debt.view.signer_ends_at = NOW + 1));
}

#[test]
fn a_claim_that_failed_goes_by_itself_if_it_can() {
    let failed = |has| OpenVoucher { failures: 1, ..claim(1, 8 * M, has) };
    assert_eq!(pays(vec![failed(1)], vec![debt(1, 5 * M, 9 * M)]), [None]);
    assert_eq!(pays(vec![failed(0)], vec![debt(1, 5 * M, 9 * M)]), [Some(5 * M)]);
}

/// One purse serves pair after pair: what comes back from the first pays the second.
#[test]
fn the_same_money_goes_round() {
    let debts = vec![debt(1, 5 * M, 5 * M), debt(2, 5 * M, 5 * M), debt(3, 5 * M, 5 * M)];
    let open = vec![claim(1, 5 * M, 0), claim(2, 5 * M, 0), claim(3, 5 * M, 0)];
    assert_eq!(pays(open, debts.clone()), [Some(5 * M), Some(5 * M), Some(5 * M)]);
    let open = vec![claim(1, 2 * M, 0), claim(2, 2 * M, 0), claim(3, 2 * M, 0)];
    assert_eq!(pays(open, debts), [Some(5 * M), Some(2 * M), Some(2 * M)], "what does not come back is gone");
}

#[test]
fn a_mark_goes_when_its_cause_is_gone() {
    let mut open = [claim(1, 8 * M, 0)];
    let owed = |due| Owed { debts: vec![debt(1, due, 9 * M)], coming: Vec::new() };
    mark(&mut open, &owed(5 * M), &policy(), MARKET, NOW);
    assert!(open[0].set_off.is_some());
    mark(&mut open, &owed(0), &policy(), MARKET, NOW);
    assert!(open[0].set_off.is_none());
}

#[test]
fn income_is_claimed_until_the_debts_are_covered() {
    let backs = |coming: u128, cover_debts| {
        // Four payers with money; we owe 6 and have 1.
        let mut open: Vec<OpenVoucher> = (1..=4).map(|payer| claim(payer, u128::from(payer) * M, 9 * M)).collect();
        open.push(claim(9, 14_999, 9 * M));
        let owed = Owed { debts: vec![debt(7, 6 * M, M)], coming: vec![(OURS, units(coming))] };
        mark(&mut open, &owed, &Policy { cover_debts, ..policy() }, MARKET, NOW);
        open.iter().filter(|open| open.backs).map(|open| open.id).collect::<Vec<_>>()
    };
    assert_eq!(backs(0, true), [3, 4], "the largest, and no more than is missing");
    assert_eq!(backs(4 * M, true), [4], "a part is on its way");
    assert_eq!(backs(5 * M, true), Vec::<i64>::new());
    assert_eq!(backs(0, false), Vec::<i64>::new());
}

#[test]
fn the_dry_run_tells_what_is_netted_and_what_it_costs() {
    let mut open = vec![claim(1, 8 * M, 0)];
    mark(&mut open, &Owed { debts: vec![debt(1, 5 * M, 9 * M)], coming: Vec::new() }, &policy(), MARKET, NOW);
    let told = crate::explain::explain(&open, &policy(), MARKET, NOW).remove(0);
    assert_eq!((told.netted, told.claimable), (units(5 * M), units(5 * M)));
    assert_eq!(told.verdict, crate::explain::Verdict::Claim(crate::store::Reason::Worth));
    assert_eq!(told.gas, 2 * NETTING_GAS, "a batch and a row for the debt, and for the claim");
}
