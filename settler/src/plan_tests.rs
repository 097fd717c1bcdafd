//! The planner's decisions, one by one.
#![expect(clippy::unwrap_used, reason = "tests")]

use alloy::primitives::address;
use minus_bindings::SignedVoucher;

use super::*;
use crate::store::LaneView;

const NOW: u64 = 1_000_000;
const PAYEE: Address = address!("00000000000000000000000000000000000000aa");
const OTHER_PAYEE: Address = address!("00000000000000000000000000000000000000bb");
/// A row costs 15,000 gas: with a fee of 10^9 wei and a coin at 1,000 tokens, 0.015 tokens; a batch 0.06 more.
const MARKET: Market = Market { fee_per_gas: 1_000_000_000, above_cap: false };

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
        rows_max: ROWS_MAX,
    }
}

fn voucher(id: i64, cumulative: u128) -> OpenVoucher {
    let payer = Address::left_padding_from(&id.to_be_bytes());
    OpenVoucher {
        id,
        voucher: SignedVoucher { payer, payee: PAYEE, cumulative: units(cumulative), signature: [0; 65] },
        signer: payer,
        recorded_at: NOW,
        retry_at: 0,
        asked: false,
        held: None,
        closing_claimed_at: 0,
        failures: 0,
        exposed: false,
        set_off: None,
        backs: false,
        view: LaneView { deposit: Amount::MAX, ..LaneView::default() },
    }
}

fn reasons(plan: &Plan) -> Vec<(i64, Reason)> {
    plan.batches.iter().flat_map(|batch| &batch.rows).map(|row| (row.id, row.reason)).collect()
}

fn held(open: OpenVoucher) -> Hold {
    let plan = plan(&[open], &policy(), MARKET, NOW);
    assert!(plan.batches.is_empty());
    plan.holds[0].1
}

fn claimed(open: OpenVoucher) -> Reason {
    let plan = plan(&[open], &policy(), MARKET, NOW);
    assert!(plan.holds.is_empty());
    reasons(&plan)[0].1
}

#[test]
fn leaves_what_the_chain_has_paid() {
    let mut open = voucher(1, 10_000_000);
    open.view.paid = units(10_000_000);
    open.asked = true;

    assert_eq!(held(open), Hold::Settled);
}

#[test]
fn spends_no_gas_on_an_unfunded_lane_even_when_asked() {
    let mut open = voucher(1, 10_000_000);
    open.view.deposit = Amount::ZERO;
    open.asked = true;

    assert_eq!(held(open), Hold::Unfunded);
}

#[test]
fn leaves_a_voucher_whose_signer_is_none_any_more() {
    let mut open = voucher(1, 10_000_000);
    open.view.signer_ends_at = NOW;

    assert_eq!(held(open), Hold::BadSignature);
}

#[test]
fn leaves_a_failed_one_until_its_time() {
    let mut open = voucher(1, 10_000_000);
    open.retry_at = NOW + 1;
    assert_eq!(held(open.clone()), Hold::Failed);

    open.retry_at = NOW;
    assert_eq!(claimed(open), Reason::Worth);
}

#[test]
fn leaves_dust() {
    assert_eq!(held(voucher(1, 149_999)), Hold::NotWorthYet, "below ten times its own gas");
    assert_eq!(held(voucher(1, 749_999)), Hold::NotWorthYet, "below ten times the batch's gas");
    assert_eq!(claimed(voucher(1, 750_000)), Reason::Worth);
}

#[test]
fn several_share_the_cost_of_the_batch() {
    let open: Vec<_> = (1..=8).map(|id| voucher(id, 225_000)).collect();

    assert_eq!(plan(&open[..7], &policy(), MARKET, NOW).batches.len(), 0, "1.575 tokens for 0.165 of gas");
    assert_eq!(reasons(&plan(&open, &policy(), MARKET, NOW)).len(), 8, "1.8 tokens for 0.18 of gas");
}

#[test]
fn counts_only_what_is_there() {
    let mut open = voucher(1, 10_000_000);
    open.view.deposit = units(100);
    assert_eq!(held(open.clone()), Hold::NotWorthYet);

    open.view.open = units(1_000_000);
    assert_eq!(claimed(open), Reason::Worth, "the open balance pays too");
}

#[test]
fn an_aged_one_needs_to_be_worth_its_gas_once() {
    let mut open = voucher(1, 15_000);
    open.recorded_at = NOW - 1_000;
    assert_eq!(claimed(open.clone()), Reason::Aged);

    open.recorded_at += 1;
    assert_eq!(held(open), Hold::NotWorthYet);

    let mut dust = voucher(1, 14_999);
    dust.recorded_at = 0;
    assert_eq!(held(dust), Hold::NotWorthYet, "not even worth its own gas");
}

#[test]
fn a_thawing_lane_is_claimed_before_the_notice_ends_whatever_it_is_worth() {
    let mut open = voucher(1, 1);
    open.view.thaw_ends_at = NOW + 101;
    assert_eq!(held(open.clone()), Hold::NotWorthYet, "the margin is not reached");

    open.view.thaw_ends_at = NOW + 100;
    assert_eq!(claimed(open.clone()), Reason::Thawing);

    open.view.thaw_ends_at = NOW - 100;
    assert_eq!(claimed(open), Reason::Thawing, "not withdrawn yet: still worth the attempt");
}

#[test]
fn a_closing_lane_is_claimed_at_a_loss_once_for_each_notice() {
    let mut open = voucher(1, 1);
    open.view.thaw_ends_at = NOW + 50;
    open.closing_claimed_at = NOW - 50;
    assert_eq!(held(open.clone()), Hold::NotWorthYet, "one base unit more after each claim would burn gas for ever");

    open.closing_claimed_at = NOW - 51;
    assert_eq!(claimed(open.clone()), Reason::Thawing, "that was for an earlier notice");

    open.view.thaw_ends_at = NOW - 1_000;
    open.closing_claimed_at = NOW;
    assert_eq!(held(open.clone()), Hold::NotWorthYet, "a notice that was served stays one");

    open.voucher.cumulative = units(15_000);
    assert_eq!(claimed(open.clone()), Reason::Thawing, "worth its gas");

    open.voucher.cumulative = units(1);
    open.view.thaw_ends_at = 0;
    open.view.signer_ends_at = NOW + 50;
    assert_eq!(held(open), Hold::NotWorthYet);
}

#[test]
fn a_pause_set_by_a_clock_that_was_wrong_is_none() {
    let mut open = voucher(1, 10_000_000);
    open.retry_at = NOW + RETRY_MAX_S;
    assert_eq!(held(open.clone()), Hold::Failed);

    open.retry_at = NOW + RETRY_MAX_S + 1;
    assert_eq!(claimed(open), Reason::Worth);
}

#[test]
fn a_thawing_open_balance_matters_to_a_lane_that_needs_it() {
    let mut open = voucher(1, 10);
    open.view.open = units(100);
    open.view.open_thaw_ends_at = NOW + 100;
    assert_eq!(held(open.clone()), Hold::NotWorthYet, "the lane itself holds enough");

    open.view.deposit = units(9);
    assert_eq!(claimed(open), Reason::Thawing);
}

#[test]
fn a_revoked_signers_voucher_is_claimed_in_time() {
    let mut open = voucher(1, 1);
    open.view.signer_ends_at = NOW + 100;

    assert_eq!(claimed(open), Reason::SignerEnding);
}

#[test]
fn what_is_asked_for_is_claimed_and_the_worthwhile_rides_along() {
    let mut asked = voucher(1, 1);
    asked.asked = true;
    let plan = plan(&[voucher(2, 150_000), asked, voucher(3, 1)], &policy(), MARKET, NOW);

    assert_eq!(reasons(&plan), [(1, Reason::Asked), (2, Reason::Worth)]);
    assert_eq!(plan.holds, [(3, Hold::NotWorthYet)]);
}

#[test]
fn above_the_fee_cap_only_what_cannot_wait_is_planned() {
    let market = Market { above_cap: true, ..MARKET };
    let mut thawing = voucher(2, 1);
    thawing.view.thaw_ends_at = NOW;
    let plan = plan(&[voucher(1, 10_000_000_000), thawing], &policy(), market, NOW);

    assert_eq!(reasons(&plan), [(2, Reason::Thawing)]);
    assert_eq!(plan.holds, [(1, Hold::NotWorthYet)]);
}

#[test]
fn chunks_by_payee_and_by_rows_the_urgent_first() {
    let mut open: Vec<_> = (1..=5).map(|id| voucher(id, 10_000_000)).collect();
    open[4].view.thaw_ends_at = NOW;
    open[0].voucher.payee = OTHER_PAYEE;
    let plan = plan(&open, &Policy { rows_max: 3, ..policy() }, MARKET, NOW);

    let sizes: Vec<_> = plan.batches.iter().map(|batch| (batch.payee, batch.rows.len())).collect();
    assert_eq!(sizes, [(PAYEE, 3), (PAYEE, 1), (OTHER_PAYEE, 1)]);
    assert_eq!(plan.batches[0].rows[0].id, 5);
}

#[test]
fn the_largest_chunk_stays_below_the_transaction_gas_cap() {
    let open: Vec<_> = (1..=1_000).map(|id| voucher(id, 10_000_000)).collect();
    let plan = plan(&open, &Policy { rows_max: u64::MAX, ..policy() }, MARKET, NOW);

    for batch in &plan.batches {
        let rows = u64::try_from(batch.rows.len()).unwrap();
        assert!(BATCH_GAS + rows * ROW_GAS_MAX <= TRANSACTION_GAS_MAX);
    }
    assert_eq!(reasons(&plan).len(), 1_000);
}

#[test]
fn absurd_fees_overflow_nothing() {
    let market = Market { fee_per_gas: u128::MAX, above_cap: false };

    assert_eq!(plan(&[voucher(1, u128::from(u64::MAX))], &policy(), market, NOW).holds, [(1, Hold::NotWorthYet)]);
}

#[test]
fn a_payer_that_owes_too_much_is_claimed_if_that_is_worth_its_gas() {
    let mut open = voucher(1, 15_000);
    open.exposed = true;
    assert_eq!(claimed(open.clone()), Reason::Exposed);

    open.voucher.cumulative = units(14_999);
    assert_eq!(held(open), Hold::NotWorthYet);
}

#[test]
fn the_order_in_which_vouchers_come_changes_nothing() {
    let mut open: Vec<OpenVoucher> =
        (1..=40).map(|id| voucher(id, 200_000 + u128::from(id.unsigned_abs() % 7))).collect();
    open[3].asked = true;
    open[5].view.thaw_ends_at = NOW + 50;
    let forth = plan(&open, &Policy { rows_max: 3, ..policy() }, MARKET, NOW);
    open.reverse();
    let back = plan(&open, &Policy { rows_max: 3, ..policy() }, MARKET, NOW);

    assert_eq!((reasons(&forth), &forth.holds), (reasons(&back), &back.holds));
    assert_eq!(reasons(&back)[..2], [(6, Reason::Thawing), (4, Reason::Asked)]);
}

#[test]
fn the_urgent_and_then_the_valuable_go_first_when_not_all_fit() {
    let count = 3 * BATCHES_MAX;
    let mut open: Vec<OpenVoucher> = (1..=i64::try_from(count).unwrap() + 2)
        .map(|id| voucher(id, 1_000_000 + u128::from(id.unsigned_abs())))
        .collect();
    open[0].asked = true;
    let plan = plan(&open, &Policy { rows_max: 3, ..policy() }, MARKET, NOW);

    let given = reasons(&plan);
    assert_eq!((plan.batches.len(), given.len()), (BATCHES_MAX, count));
    assert_eq!(given[0], (1, Reason::Asked));
    assert!(
        !given.contains(&(2, Reason::Worth)) && !given.contains(&(3, Reason::Worth)),
        "the two least valuable wait"
    );
    assert!(plan.holds.is_empty(), "what only waits for its turn is held by nothing");
}

#[test]
fn only_what_the_log_does_not_say_yet_is_news() {
    let told = OpenVoucher { held: Some(Hold::NotWorthYet), ..voucher(1, 1) };
    let plan = plan(&[told, voucher(2, 1)], &policy(), MARKET, NOW);

    assert_eq!(plan.holds, [(1, Hold::NotWorthYet), (2, Hold::NotWorthYet)]);
    assert_eq!(plan.news, [(2, Hold::NotWorthYet)]);
}

/// `cargo test --release -p minus-settler --lib -- --ignored --nocapture a_million_lanes`
#[test]
#[ignore = "a measurement"]
fn a_million_lanes_are_planned() {
    for lanes in [10_000, 100_000, 1_000_000] {
        let open: Vec<OpenVoucher> = (1..=lanes)
            .map(|id: i64| {
                let mut open = voucher(id, u128::from(id.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40));
                open.view.thaw_ends_at = if id % 1_000 == 0 { NOW + 50 } else { 0 };
                open
            })
            .collect();
        let started = std::time::Instant::now();
        let plan = plan(&open, &policy(), MARKET, NOW);
        let elapsed = started.elapsed();
        let rows: usize = plan.batches.iter().map(|batch| batch.rows.len()).sum();
        let memory = std::fs::read_to_string("/proc/self/status").unwrap();
        let memory = memory.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        println!("{lanes} lanes: {elapsed:?}, {rows} rows planned, {} held; {memory}", plan.holds.len());
    }
}
