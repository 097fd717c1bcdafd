// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {World} from "../World.sol";
import {EscrowHandler} from "./EscrowHandler.sol";

/// @title What holds after every call, by law number
/// @dev With D(x,y), P(x,y) the deposit and the running total of the lane from x to y, and y = 0 the open balance:
///
///   1   sum of all D = given to the escrow = its tokens - what strayed into it
///   1'  for every x: deposited for x + earned by x = sum over y of (D + P) + withdrawn by x
///   2   for every x, y: P(x,y) <= the highest total that x or a live delegate of x signed to y
///   3   sum of all P = sum of all that was ever claimed; P(x,0) = 0
///   4   for every x, y: withdrawn <= announced, at least a notice ago; no notice ends later than a notice from now
///   6   supply = wrapped - redeemed <= reserve
///   M   every stored number equals the model's
contract InvariantsTest is World {
    EscrowHandler private handler;
    uint256 private constant PAYERS = 4;
    uint256 private constant PAYEES = 5;
    uint256 private constant SIGNERS = 6;
    address[SIGNERS] private signers;
    address[PAYEES] private payees;

    function setUp() public override {
        super.setUp();
        handler = new EscrowHandler(reserve, token, escrow);
        for (uint256 s = 0; s < SIGNERS; ++s) {
            signers[s] = handler.payer(s);
        }
        for (uint256 y = 0; y < PAYEES; ++y) {
            payees[y] = handler.payee(y);
        }

        bytes4[] memory selectors = new bytes4[](16);
        selectors[0] = EscrowHandler.wrap.selector;
        selectors[1] = EscrowHandler.redeem.selector;
        selectors[2] = EscrowHandler.giveToReserve.selector;
        selectors[3] = EscrowHandler.giveToEscrow.selector;
        selectors[4] = EscrowHandler.thaw.selector;
        selectors[5] = EscrowHandler.withdraw.selector;
        selectors[6] = EscrowHandler.claimAgain.selector;
        selectors[7] = EscrowHandler.claimNoise.selector;
        selectors[8] = EscrowHandler.authorize.selector;
        selectors[9] = EscrowHandler.revoke.selector;
        selectors[10] = EscrowHandler.pass.selector;
        selectors[11] = EscrowHandler.passToTheEndOf.selector;
        // Twice as often as the rest.
        selectors[12] = EscrowHandler.deposit.selector;
        selectors[13] = EscrowHandler.deposit.selector;
        selectors[14] = EscrowHandler.claim.selector;
        selectors[15] = EscrowHandler.claim.selector;
        targetContract(address(handler));
        targetSelector(FuzzSelector({addr: address(handler), selectors: selectors}));
    }

    function invariant_law_1_lanes_and_open_balances_equal_what_was_given() public view {
        uint256 deposits = 0;
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                deposits += lane(x, y).deposit;
            }
        }
        assertEq(deposits, handler.given());
        assertEq(deposits, token.balanceOf(address(escrow)) - handler.strayed());
    }

    function invariant_law_1_every_payers_account_balances() public view {
        for (uint256 x = 0; x < PAYERS; ++x) {
            uint256 accounted = handler.withdrawn(x);
            for (uint256 y = 0; y < PAYEES; ++y) {
                IPrepaymentEscrow.Lane memory lane_ = lane(x, y);
                accounted += uint256(lane_.deposit) + lane_.paid;
            }
            assertEq(accounted, handler.depositedFor(x) + handler.earned(x));
        }
    }

    function invariant_law_2_nothing_is_paid_that_nobody_entitled_signed() public view {
        EscrowHandler.ModelLane[PAYEES][PAYERS] memory models = handler.modelLanes();
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                assertLe(lane(x, y).paid, models[x][y].highestSigned);
            }
        }
    }

    function invariant_law_3_running_totals_are_what_was_claimed() public view {
        uint256 paid = 0;
        for (uint256 x = 0; x < PAYERS; ++x) {
            assertEq(lane(x, 0).paid, 0);
            for (uint256 y = 1; y < PAYEES; ++y) {
                paid += lane(x, y).paid;
            }
        }
        assertEq(paid, handler.claimed());
    }

    function invariant_law_4_nothing_leaves_without_its_notice() public view {
        EscrowHandler.ModelLane[PAYEES][PAYERS] memory models = handler.modelLanes();
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                EscrowHandler.ModelLane memory model = models[x][y];
                assertLe(model.withdrawn, model.served);
                (, IPrepaymentEscrow.Thaw memory thaw) = escrow.lane(signers[x], payees[y]);
                assertLe(thaw.endsAt, block.timestamp + NOTICE);
            }
            (uint96 amount, uint96 thawing) = escrow.openBalance(signers[x]);
            assertLe(thawing, amount);
        }
    }

    function invariant_law_6_the_supply_is_backed() public view {
        assertEq(token.totalSupply(), handler.wrapped());
        assertLe(token.totalSupply(), reserve.balanceOf(address(token)));
    }

    function invariant_every_stored_number_equals_the_models() public view {
        EscrowHandler.ModelLane[PAYEES][PAYERS] memory models = handler.modelLanes();
        (EscrowHandler.ModelDelegate[SIGNERS][PAYERS] memory modelDelegates, bool[SIGNERS][PAYERS] memory live) =
            handler.modelDelegates();
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                EscrowHandler.ModelLane memory model = models[x][y];
                (IPrepaymentEscrow.Lane memory lane_, IPrepaymentEscrow.Thaw memory thaw) =
                    escrow.lane(signers[x], payees[y]);
                assertEq(
                    abi.encode(lane_, thaw), abi.encode(model.deposit, model.paid, model.thawing, model.endsAt), "lane"
                );
            }
            for (uint256 s = 0; s < SIGNERS; ++s) {
                address signer = signers[s];
                EscrowHandler.ModelDelegate memory model = modelDelegates[x][s];
                IPrepaymentEscrow.Delegate memory delegate = escrow.delegate(signers[x], signer);
                assertEq(
                    abi.encode(delegate, escrow.isSigner(signers[x], signer)),
                    abi.encode(model.authorizedAt, model.revokedAt, model.authorized, live[x][s]),
                    "delegate"
                );
            }
        }
    }

    function lane(uint256 x, uint256 y) private view returns (IPrepaymentEscrow.Lane memory lane_) {
        (lane_,) = escrow.lane(signers[x], payees[y]);
    }
}
