// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Ghost} from "./Ghost.sol";
import {Handler} from "./Handler.sol";
import {RoutingLaws} from "./RoutingLaws.sol";

/// @title What holds after every call, by law number; as mathematics in contracts/README.md
/// @dev Each function reads the contracts, and of the handler what went in and what was signed.
contract Laws is RoutingLaws {
    uint256 private constant PAYEES = 6;

    struct Book {
        IPrepaymentEscrow.Lane[PAYEES][PAYERS] lanes;
        IPrepaymentEscrow.Thaw[PAYEES][PAYERS] thaws;
        Ghost.ModelLane[PAYEES][PAYERS] models;
    }

    address[PAYEES] private payees;

    /// @param salt what tells one campaign's random sequences from another's.
    constructor(uint256 salt) RoutingLaws(salt) {
        for (uint256 y = 0; y < PAYEES; ++y) {
            payees[y] = handler.payee(y);
        }
    }

    function all() external {
        Book memory book = read();
        law1_deposits_are_what_came_in_less_what_went_out(book);
        law1_deposits_are_the_balance_less_donations(book);
        law1_every_payers_account_balances(book);
        law2_paid_is_signed_for_or_borne_by_a_mandate(book);
        law2_charges_stay_below_the_integral_of_the_daily_caps(book);
        law2_charges_of_every_window_stay_below_its_caps();
        law2_money_leaves_a_payer_by_its_own_acts_alone(book);
        law2_signers_are_whom_the_payer_named();
        law2_mandates_are_what_the_payer_gave();
        law2_every_word_takes_effect_once();
        law3_paid_never_falls(book);
        law3_paid_is_what_was_claimed(book);
        law3_what_is_not_above_the_total_pays_nothing();
        law4_what_left_was_announced_a_notice_before(book);
        law4_a_notice_runs_for_its_whole_time(book);
        law5_every_batch_was_answered_row_by_row();
        law5_a_batch_equals_its_rows_alone();
        law6_the_supply_is_backed();
        law6_all_holders_together_hold_the_supply(book);
        law13_sums_fit_their_slots(book);
        allOfRouting();
    }

    // ------------------------------------------------------------------------------------------------ conservation

    function law1_deposits_are_what_came_in_less_what_went_out(Book memory book) public view {
        assertEq(allDeposits(book), handler.moneyIn() - handler.moneyOut(), "law 1: in less out");
    }

    function law1_deposits_are_the_balance_less_donations(Book memory book) public view {
        assertEq(allDeposits(book), token.balanceOf(address(escrow)) - handler.donated(), "law 1: balance");
    }

    function law1_every_payers_account_balances(Book memory book) public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            uint256 accounted = handler.withdrawn(x);
            for (uint256 y = 0; y < PAYEES; ++y) {
                IPrepaymentEscrow.Lane memory lane_ = book.lanes[x][y];
                accounted += uint256(lane_.deposit) + lane_.paid;
            }
            assertEq(accounted, handler.depositedFor(x) + handler.earned(x), "law 1: account");
        }
    }

    // ------------------------------------------------------------------------------------- no payment without the payer

    function law2_paid_is_signed_for_or_borne_by_a_mandate(Book memory book) public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                assertLe(book.lanes[x][y].paid, book.models[x][y].signed + book.models[x][y].charged, "law 2: paid");
            }
        }
    }

    function law2_charges_stay_below_the_integral_of_the_daily_caps(Book memory book) public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 1; y < PAYEES; ++y) {
                if (book.models[x][y].charged == 0) continue;
                assertLe(book.models[x][y].charged * 1 days, handler.allowed(x, y), "law 2: integral");
            }
        }
    }

    /// @dev `chargeable` of the handler looks at every window of the log.
    function law2_charges_of_every_window_stay_below_its_caps() public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 1; y < PAYEES; ++y) {
                (, uint96 given) = escrow.mandate(people[x], payees[y]);
                assertEq(given, handler.chargeable(x, y) / 1 days, "law 2: chargeable");
            }
        }
    }

    function law2_money_leaves_a_payer_by_its_own_acts_alone(Book memory book) public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            uint256 left = 0;
            uint256 agreed = 0;
            for (uint256 y = 0; y < PAYEES; ++y) {
                left += book.lanes[x][y].deposit;
                agreed += book.models[x][y].signed + book.models[x][y].charged + book.models[x][y].served;
            }
            assertGe(left + agreed, handler.depositedFor(x) + handler.earned(x), "law 2: own acts");
        }
    }

    function law2_signers_are_whom_the_payer_named() public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            Ghost.ModelDelegate[SIGNERS] memory models = handler.modelDelegates(x);
            for (uint256 s = 0; s < SIGNERS; ++s) {
                Ghost.ModelDelegate memory model = models[s];
                IPrepaymentEscrow.Delegate memory delegate = escrow.delegate(people[x], people[s]);
                assertEq(delegate.authorized, model.authorized, "law 2: authorized");
                assertEq(delegate.authorizedAt, model.authorizedAt, "law 2: authorized at");
                assertEq(delegate.revokedAt, model.revokedAt, "law 2: revoked at");
                assertEq(escrow.isSigner(people[x], people[s]), handler.entitled(x, s), "law 2: signer");
            }
            assertFalse(escrow.isSigner(people[x], address(0)), "law 2: nobody signs");
        }
    }

    function law2_mandates_are_what_the_payer_gave() public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                Ghost.ModelMandate memory model = handler.modelMandate(x, y);
                (IPrepaymentEscrow.Mandate memory mandate,) = escrow.mandate(people[x], payees[y]);
                assertEq(mandate.dailyCap, model.dailyCap, "law 2: daily cap");
                assertEq(mandate.accrualCap, model.accrualCap, "law 2: accrual cap");
                assertEq(mandate.validUntil, model.validUntil, "law 2: mandate's end");
                assertLe(mandate.accrued, model.accrualCap * 1 days, "law 2: accrued");
            }
        }
    }

    function law2_every_word_takes_effect_once() public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            assertEq(escrow.nonces(people[x]), handler.told(x), "law 2: nonce");
        }
    }

    // -------------------------------------------------------------------------------------------------- cumulative

    function law3_paid_never_falls(Book memory book) public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                assertGe(book.lanes[x][y].paid, book.models[x][y].paidSeen, "law 3: fell");
            }
        }
    }

    function law3_paid_is_what_was_claimed(Book memory book) public view {
        uint256 paid = 0;
        for (uint256 x = 0; x < PAYERS; ++x) {
            assertEq(book.lanes[x][0].paid, 0, "law 3: an open balance pays nobody by itself");
            for (uint256 y = 1; y < PAYEES; ++y) {
                paid += book.lanes[x][y].paid;
                assertEq(book.lanes[x][y].paid, book.models[x][y].paid, "law 3: running total");
            }
        }
        assertEq(paid, handler.claimed(), "law 3: claimed");
    }

    /// @dev An invariant may change things: nothing that it does stays.
    function law3_what_is_not_above_the_total_pays_nothing() public {
        for (uint256 y = 1; y < PAYEES; ++y) {
            for (uint256 kind = 0; kind < 2; ++kind) {
                (bytes[] memory rows, bool[] memory spent) = handler.lastRows(kind == 1, y, 4);
                bytes memory old;
                for (uint256 i = 0; i < rows.length; ++i) {
                    if (spent[i]) old = bytes.concat(old, rows[i]);
                }
                if (old.length == 0) continue;
                (uint96 total,) = submit(kind == 1, y, old);
                assertEq(total, 0, "law 3: paid twice");
            }
        }
    }

    // ------------------------------------------------------------------------------------------------------ notice

    function law4_what_left_was_announced_a_notice_before(Book memory book) public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                Ghost.ModelLane memory model = book.models[x][y];
                assertLe(model.withdrawn, model.served, "law 4: withdrawn");
                assertEq(book.lanes[x][y].deposit, model.deposit, "law 4: lane");
            }
        }
    }

    function law4_a_notice_runs_for_its_whole_time(Book memory book) public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                Ghost.ModelLane memory model = book.models[x][y];
                IPrepaymentEscrow.Thaw memory thaw = book.thaws[x][y];
                assertEq(thaw.amount, model.thawing, "law 4: announced");
                assertEq(thaw.endsAt, model.thawing == 0 ? 0 : model.announcedAt + NOTICE, "law 4: ends at");
            }
            (uint96 amount, uint96 thawing) = escrow.openBalance(people[x]);
            assertEq(amount, book.models[x][0].deposit, "law 4: open balance");
            assertEq(thawing, min(book.models[x][0].thawing, amount), "law 4: thawing");
        }
    }

    // --------------------------------------------------------------------------------------------------- isolation

    function law5_every_batch_was_answered_row_by_row() public view {
        assertEq(handler.batchesAnswered(), handler.batchesPresented(), "law 5: answered");
    }

    /// @dev The last rows of each payee, together and then one at a time, from the same state.
    function law5_a_batch_equals_its_rows_alone() public {
        for (uint256 y = 1; y < PAYEES; ++y) {
            for (uint256 kind = 0; kind < 2; ++kind) {
                (bytes[] memory rows,) = handler.lastRows(kind == 1, y, 4);
                if (rows.length > 1) compare(kind == 1, y, rows);
            }
        }
    }

    function compare(bool isCharge, uint256 y, bytes[] memory rows) private {
        uint256 before = vm.snapshotState();
        uint256 sum = 0;
        bytes memory alone;
        bytes memory joint;
        for (uint256 i = 0; i < rows.length; ++i) {
            (uint96 paid, bytes memory result) = submit(isCharge, y, rows[i]);
            sum += paid;
            alone = bytes.concat(alone, result);
            joint = bytes.concat(joint, rows[i]);
        }
        bytes32 lanesAlone = lanesNow(y);
        vm.revertToState(before);
        (uint96 total, bytes memory results) = submit(isCharge, y, joint);
        assertEq(results, alone, "law 5: rows alone");
        assertEq(total, sum, "law 5: sum of rows alone");
        assertEq(lanesNow(y), lanesAlone, "law 5: lanes of rows alone");
        vm.revertToStateAndDelete(before);
    }

    function lanesNow(uint256 y) private view returns (bytes32) {
        IPrepaymentEscrow.Lane[2][PAYERS] memory joint;
        for (uint256 x = 0; x < PAYERS; ++x) {
            (joint[x][0], joint[x][1]) = (lane(x, 0), lane(x, y));
        }
        return keccak256(abi.encode(joint));
    }

    function submit(bool isCharge, uint256 y, bytes memory rows) private returns (uint96, bytes memory) {
        return isCharge ? escrow.charge(payees[y], rows) : escrow.claim(payees[y], rows);
    }

    // ------------------------------------------------------------------------------------------------ fully backed

    function law6_the_supply_is_backed() public view {
        uint256 supply = token.totalSupply();
        assertEq(supply, handler.wrapped() - handler.redeemed(), "law 6: supply");
        assertLe(supply, reserve.balanceOf(address(token)), "law 6: reserve");
    }

    function law6_all_holders_together_hold_the_supply(Book memory book) public view {
        uint256 held = token.balanceOf(address(escrow));
        for (uint256 x = 0; x < PAYERS; ++x) {
            held += token.balanceOf(people[x]);
        }
        assertEq(held, token.totalSupply(), "law 6: holders");
        assertGe(token.balanceOf(address(escrow)), allDeposits(book), "law 6: escrow");
    }

    // ---------------------------------------------------------------------------------------------- limits on everything

    function law13_sums_fit_their_slots(Book memory book) public view {
        assertLe(token.balanceOf(address(escrow)) - handler.donated(), type(uint96).max, "law 13: 96 bits");
        assertLe(allDeposits(book), type(uint96).max, "law 13: 96 bits");
    }

    // ------------------------------------------------------------------------------------------------------ reading

    /// @notice All lanes as they are and as they should be, read once.
    function read() public view returns (Book memory book) {
        book.models = handler.modelLanes();
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                (book.lanes[x][y], book.thaws[x][y]) = escrow.lane(people[x], payees[y]);
            }
        }
    }

    function allDeposits(Book memory book) private pure returns (uint256 sum) {
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                sum += book.lanes[x][y].deposit;
            }
        }
    }

    function lane(uint256 x, uint256 y) private view returns (IPrepaymentEscrow.Lane memory lane_) {
        (lane_,) = escrow.lane(people[x], payees[y]);
    }

    function min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
