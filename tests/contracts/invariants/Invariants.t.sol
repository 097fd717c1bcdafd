// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Campaign} from "./Campaign.sol";

/// @title Conservation
contract Law1Test is Campaign {
    function setUp() external {
        begin(1);
    }

    function invariant_law1_deposits_are_what_came_in_less_what_went_out() external view {
        laws.law1_deposits_are_what_came_in_less_what_went_out(laws.read());
    }

    function invariant_law1_deposits_are_the_balance_less_donations() external view {
        laws.law1_deposits_are_the_balance_less_donations(laws.read());
    }

    function invariant_law1_every_payers_account_balances() external view {
        laws.law1_every_payers_account_balances(laws.read());
    }
}

/// @title No payment without the payer
contract Law2Test is Campaign {
    function setUp() external {
        begin(2);
    }

    function invariant_law2_paid_is_signed_for_or_borne_by_a_mandate() external view {
        laws.law2_paid_is_signed_for_or_borne_by_a_mandate(laws.read());
    }

    function invariant_law2_charges_stay_below_the_integral_of_the_daily_caps() external view {
        laws.law2_charges_stay_below_the_integral_of_the_daily_caps(laws.read());
    }

    function invariant_law2_charges_of_every_window_stay_below_its_caps() external view {
        laws.law2_charges_of_every_window_stay_below_its_caps();
    }

    function invariant_law2_money_leaves_a_payer_by_its_own_acts_alone() external view {
        laws.law2_money_leaves_a_payer_by_its_own_acts_alone(laws.read());
    }

    function invariant_law2_signers_are_whom_the_payer_named() external view {
        laws.law2_signers_are_whom_the_payer_named();
    }

    function invariant_law2_mandates_are_what_the_payer_gave() external view {
        laws.law2_mandates_are_what_the_payer_gave();
    }

    function invariant_law2_every_word_takes_effect_once() external view {
        laws.law2_every_word_takes_effect_once();
    }
}

/// @title Cumulative
contract Law3Test is Campaign {
    function setUp() external {
        begin(3);
    }

    function invariant_law3_paid_never_falls() external view {
        laws.law3_paid_never_falls(laws.read());
    }

    function invariant_law3_paid_is_what_was_claimed() external view {
        laws.law3_paid_is_what_was_claimed(laws.read());
    }

    function invariant_law3_what_is_not_above_the_total_pays_nothing() external {
        laws.law3_what_is_not_above_the_total_pays_nothing();
    }
}

/// @title Notice
contract Law4Test is Campaign {
    function setUp() external {
        begin(4);
    }

    function invariant_law4_what_left_was_announced_a_notice_before() external view {
        laws.law4_what_left_was_announced_a_notice_before(laws.read());
    }

    function invariant_law4_a_notice_runs_for_its_whole_time() external view {
        laws.law4_a_notice_runs_for_its_whole_time(laws.read());
    }
}

/// @title Isolation
contract Law5Test is Campaign {
    function setUp() external {
        begin(5);
    }

    function invariant_law5_every_batch_was_answered_row_by_row() external view {
        laws.law5_every_batch_was_answered_row_by_row();
    }

    function invariant_law5_a_batch_equals_its_rows_alone() external {
        laws.law5_a_batch_equals_its_rows_alone();
    }
}

/// @title Fully backed
contract Law6Test is Campaign {
    function setUp() external {
        begin(6);
    }

    function invariant_law6_the_supply_is_backed() external view {
        laws.law6_the_supply_is_backed();
    }

    function invariant_law6_all_holders_together_hold_the_supply() external view {
        laws.law6_all_holders_together_hold_the_supply(laws.read());
    }
}

/// @title No owner
contract Law7Test is Campaign {
    function setUp() external {
        begin(7);
    }

    function invariant_law7_code_and_constants_stay() external view {
        laws.law7_code_and_constants_stay();
    }

    function invariant_law7_nodes_are_their_operators_and_tombstones_stay() external view {
        laws.law7_nodes_are_their_operators_and_tombstones_stay();
    }

    function invariant_law7_the_order_of_nodes_stays() external view {
        laws.law7_the_order_of_nodes_stays();
    }

    function invariant_law7_routes_are_what_their_wallets_said() external view {
        laws.law7_routes_are_what_their_wallets_said();
    }

    function invariant_law7_tariffs_hold_until_a_notice_has_run() external view {
        laws.law7_tariffs_hold_until_a_notice_has_run();
    }

    function invariant_law7_versions_grow_by_one_per_notice_at_most() external view {
        laws.law7_versions_grow_by_one_per_notice_at_most();
    }
}

/// @title Limits on everything
contract Law13Test is Campaign {
    function setUp() external {
        begin(13);
    }

    function invariant_law13_sums_fit_their_slots() external view {
        laws.law13_sums_fit_their_slots(laws.read());
    }

    function invariant_law13_what_operators_write_is_bounded() external view {
        laws.law13_what_operators_write_is_bounded();
    }
}
