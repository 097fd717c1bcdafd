// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Vm} from "forge-std/Vm.sol";

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {PrepaymentEscrow} from "../../../contracts/src/PrepaymentEscrow.sol";
import {SettlementToken} from "../../../contracts/src/SettlementToken.sol";
import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {World} from "../World.sol";
import {TestReserve} from "../mocks/TestReserve.sol";

/// @title Four people who pay each other, two keys that some of them trust, and a plain model of what should come of it
/// @dev Everyone colludes with everyone: each is payer and payee at once, signs whatever it likes for whomever it
/// likes, presents old vouchers again, and time jumps. Every operation says beforehand how it must end; what it must
/// leave behind is in the model, in 256 bits and without packing, for `InvariantsTest` to compare.
contract EscrowHandler is World {
    uint256 public constant PAYERS = 4;
    /// @dev The payers, and two keys that own nothing.
    uint256 public constant SIGNERS = 6;
    /// @dev Nobody, whose lane is the open balance, and the payers.
    uint256 public constant PAYEES = 5;

    struct ModelLane {
        uint256 deposit;
        uint256 paid;
        uint256 thawing;
        uint256 endsAt;
        /// @dev The highest total that anyone entitled has signed and someone presented.
        uint256 highestSigned;
        /// @dev What left after its notice, and what was announced and served its notice.
        uint256 withdrawn;
        uint256 served;
    }

    struct ModelDelegate {
        bool authorized;
        uint256 authorizedAt;
        uint256 revokedAt;
    }

    /// @dev A row before it is signed.
    struct Voucher {
        uint256 payer;
        uint256 signer;
        uint96 cumulative;
        bool flawed;
    }

    Vm.Wallet[] private people;

    mapping(uint256 payer => mapping(uint256 payee => ModelLane)) private lanes;
    mapping(uint256 payer => mapping(uint256 signer => ModelDelegate)) private delegates;

    /// @notice Tokens the escrow was given through `deposit`, less what was withdrawn.
    uint256 public given;
    /// @notice Tokens it was sent past `deposit`.
    uint256 public strayed;
    /// @notice Reserve base units wrapped, less those redeemed.
    uint256 public wrapped;
    /// @notice By payer: deposited for it, credited to it, withdrawn by it.
    mapping(uint256 payer => uint256) public depositedFor;
    mapping(uint256 payer => uint256) public earned;
    mapping(uint256 payer => uint256) public withdrawn;
    /// @notice Sum of what all claims paid.
    uint256 public claimed;

    uint256[] private batchPayees;
    mapping(uint256 batch => Voucher[]) private batches;

    constructor(TestReserve reserve_, SettlementToken token_, PrepaymentEscrow escrow_) {
        (reserve, token, escrow) = (reserve_, token_, escrow_);
        for (uint256 i = 0; i < SIGNERS; ++i) {
            people.push(vm.createWallet(uint256(keccak256(abi.encode("person", i)))));
        }
    }

    // --------------------------------------------------------------------------------------------------- token

    function wrap(uint256 who, uint256 amount) public {
        amount = bound(amount, 0, 100e6);
        fund(payer(pick(who, PAYERS)), amount);
        wrapped += amount;
    }

    function redeem(uint256 who, uint256 to, uint256 amount) external {
        address account = payer(pick(who, PAYERS));
        amount = bound(amount, 0, token.balanceOf(account));
        vm.prank(account);
        token.withdrawTo(payer(pick(to, PAYERS)), amount);
        wrapped -= amount;
    }

    function giveToReserve(uint256 amount) external {
        reserve.mint(address(token), bound(amount, 0, 10e6));
    }

    function giveToEscrow(uint256 who, uint256 amount) external {
        address account = payer(pick(who, PAYERS));
        amount = bound(amount, 0, token.balanceOf(account));
        vm.prank(account);
        assertTrue(token.transfer(address(escrow), amount));
        strayed += amount;
    }

    // ------------------------------------------------------------------------------------------ deposit and thaw

    function deposit(uint256 from, uint256 payer_, uint256 payee_, uint256 amount) external {
        (payer_, payee_) = (pick(payer_, PAYERS), pick(payee_, PAYEES));
        if (payee_ == payer_ + 1) payee_ = 0;
        amount = bound(amount, 1, 50e6);
        wrap(from, amount);

        vm.prank(payer(pick(from, PAYERS)));
        escrow.deposit(payer(payer_), payee(payee_), SafeCast.toUint96(amount));

        lanes[payer_][payee_].deposit += amount;
        depositedFor[payer_] += amount;
        given += amount;
    }

    function thaw(uint256 payer_, uint256 payee_, uint256 amount) external {
        (payer_, payee_) = (pick(payer_, PAYERS), pick(payee_, PAYEES));
        ModelLane storage lane = lanes[payer_][payee_];
        amount = bound(amount, 0, lane.deposit + 1);

        vm.prank(payer(payer_));
        try escrow.thaw(payee(payee_), SafeCast.toUint96(amount)) {
            assertLe(amount, lane.deposit, "thawed more than is there");
            lane.thawing = amount;
            lane.endsAt = amount == 0 ? 0 : block.timestamp + NOTICE;
        } catch (bytes memory reason) {
            assertGt(amount, lane.deposit, "refused a fair thaw");
            assertEq(selectorOf(reason), IPrepaymentEscrow.ThawAboveDeposit.selector);
        }
    }

    function withdraw(uint256 payer_, uint256 payee_, uint256 to) external {
        (payer_, payee_) = (pick(payer_, PAYERS), pick(payee_, PAYEES));
        ModelLane storage lane = lanes[payer_][payee_];
        bool due = lane.thawing != 0 && block.timestamp >= lane.endsAt;
        address recipient = payer(pick(to, PAYERS));
        uint256 balance = token.balanceOf(recipient);

        vm.prank(payer(payer_));
        try escrow.withdraw(payee(payee_), recipient) returns (uint96 amount) {
            assertTrue(due, "withdrew before the notice ended");
            assertEq(amount, min(lane.thawing, lane.deposit));
            assertEq(token.balanceOf(recipient), balance + amount);
            lane.deposit -= amount;
            lane.withdrawn += amount;
            lane.served += lane.thawing;
            (lane.thawing, lane.endsAt) = (0, 0);
            withdrawn[payer_] += amount;
            given -= amount;
        } catch (bytes memory reason) {
            assertFalse(due, "refused a withdrawal that was due");
            assertEq(
                selectorOf(reason),
                lane.thawing == 0 ? IPrepaymentEscrow.NothingThawing.selector : IPrepaymentEscrow.NoticeRunning.selector
            );
        }
    }

    // --------------------------------------------------------------------------------------------------- claim

    /// @dev Up to four rows: mostly signed by the payer, at times by someone else, at times spoilt.
    function claim(uint256 payee_, uint256[4] calldata seeds, uint256 count) external {
        payee_ = 1 + pick(payee_, PAYEES - 1);
        count = bound(count, 1, seeds.length);
        batchPayees.push(payee_);
        for (uint256 i = 0; i < count; ++i) {
            batches[batchPayees.length - 1].push(voucher(payee_, seeds[i]));
        }
        submit(batchPayees.length - 1);
    }

    /// @dev A batch of earlier, with nothing changed but the lanes and the time.
    function claimAgain(uint256 batch) external {
        if (batchPayees.length != 0) submit(pick(batch, batchPayees.length));
    }

    function claimNoise(uint256 payee_, bytes32[6] calldata noise) external {
        payee_ = 1 + pick(payee_, PAYEES - 1);
        (uint96 total, bytes memory results) = escrow.claim(payee(payee_), abi.encodePacked(noise));
        assertEq(total, 0, "noise was paid");
        assertEq(results.length, 2);
    }

    function voucher(uint256 payee_, uint256 seed) private view returns (Voucher memory) {
        uint256 payer_ = pick(seed, PAYERS);
        uint256 signer = (seed >> 8) % 4 == 0 ? pick(seed >> 16, SIGNERS) : payer_;
        ModelLane storage lane = lanes[payer_][payee_];
        uint256 reach = lane.paid + lane.deposit + lanes[payer_][0].deposit + 1e6;
        uint256 cumulative = (seed >> 24) % 16 == 0 ? type(uint96).max : bound(seed >> 64, 0, reach);
        return Voucher({
            payer: payer_,
            signer: signer,
            cumulative: uint96(min(cumulative, type(uint96).max)),
            flawed: (seed >> 32) % 16 == 0
        });
    }

    function submit(uint256 batch) private {
        uint256 payee_ = batchPayees[batch];
        bytes memory rows;
        bytes memory expected;
        uint256 sum = 0;
        for (uint256 i = 0; i < batches[batch].length; ++i) {
            Voucher memory voucher_ = batches[batch][i];
            bytes memory row_ = row(people[voucher_.signer], payer(voucher_.payer), payee(payee_), voucher_.cumulative);
            if (voucher_.flawed) row_[40] = ~row_[40];
            rows = bytes.concat(rows, row_);

            (IPrepaymentEscrow.RowResult result, uint256 paid) = settle(payee_, voucher_);
            expected = abi.encodePacked(expected, uint8(result));
            sum += paid;
        }

        (uint96 total, bytes memory results) = escrow.claim(payee(payee_), rows);

        assertEq(total, sum, "total");
        assertEq(results, expected, "results");
        lanes[payee_ - 1][0].deposit += sum;
        earned[payee_ - 1] += sum;
        claimed += sum;
    }

    /// @dev What the design says of one row, in 256 bits.
    function settle(uint256 payee_, Voucher memory voucher_)
        private
        returns (IPrepaymentEscrow.RowResult, uint256 paid)
    {
        if (voucher_.payer == payee_ - 1) {
            return (IPrepaymentEscrow.RowResult.BadPayer, 0);
        }
        if (voucher_.flawed || !entitled(voucher_.payer, voucher_.signer)) {
            return (IPrepaymentEscrow.RowResult.BadSignature, 0);
        }
        ModelLane storage lane = lanes[voucher_.payer][payee_];
        ModelLane storage open = lanes[voucher_.payer][0];
        if (voucher_.cumulative > lane.highestSigned) lane.highestSigned = voucher_.cumulative;
        if (voucher_.cumulative <= lane.paid) return (IPrepaymentEscrow.RowResult.NothingNew, 0);

        uint256 due = voucher_.cumulative - lane.paid;
        uint256 fromLane = min(due, lane.deposit);
        uint256 fromOpen = min(due - fromLane, open.deposit);
        paid = fromLane + fromOpen;
        lane.deposit -= fromLane;
        open.deposit -= fromOpen;
        lane.paid += paid;
        if (paid == 0) return (IPrepaymentEscrow.RowResult.Unfunded, 0);
        return (paid == due ? IPrepaymentEscrow.RowResult.Paid : IPrepaymentEscrow.RowResult.PartlyPaid, paid);
    }

    // --------------------------------------------------------------------------------------- delegates and time

    function authorize(uint256 payer_, uint256 signer) external {
        (payer_, signer) = (pick(payer_, PAYERS), pick(signer, SIGNERS));
        if (signer == payer_) return;
        vm.prank(payer(payer_));
        escrow.authorize(people[signer].addr);

        ModelDelegate storage delegate = delegates[payer_][signer];
        if (!delegate.authorized) (delegate.authorized, delegate.authorizedAt) = (true, block.timestamp);
    }

    function revoke(uint256 payer_, uint256 signer) external {
        (payer_, signer) = (pick(payer_, PAYERS), pick(signer, SIGNERS));
        ModelDelegate storage delegate = delegates[payer_][signer];
        vm.prank(payer(payer_));
        try escrow.revoke(people[signer].addr) {
            assertTrue(delegate.authorized, "revoked what was not authorized");
            (delegate.authorized, delegate.revokedAt) = (false, block.timestamp);
        } catch (bytes memory reason) {
            assertFalse(delegate.authorized, "refused to revoke");
            assertEq(
                selectorOf(reason),
                signer == payer_ ? IPrepaymentEscrow.BadSigner.selector : IPrepaymentEscrow.NotAuthorized.selector
            );
        }
    }

    function pass(uint256 time) external {
        warp(bound(time, 1, 5 days));
    }

    /// @dev To the very second at which a notice ends, or the one before.
    function passToTheEndOf(uint256 payer_, uint256 payee_, bool before) external {
        uint256 endsAt = lanes[pick(payer_, PAYERS)][pick(payee_, PAYEES)].endsAt;
        if (endsAt > block.timestamp) vm.warp(before ? endsAt - 1 : endsAt);
    }

    // ---------------------------------------------------------------------------------------------------- views

    function payer(uint256 index) public view returns (address) {
        return people[index].addr;
    }

    function payee(uint256 index) public view returns (address) {
        return index == 0 ? address(0) : people[index - 1].addr;
    }

    /// @dev All lanes in one call, for the invariants look at them after every step.
    function modelLanes() external view returns (ModelLane[PAYEES][PAYERS] memory all) {
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                all[x][y] = lanes[x][y];
            }
        }
    }

    /// @dev All delegates, and whether they may sign now.
    function modelDelegates()
        external
        view
        returns (ModelDelegate[SIGNERS][PAYERS] memory all, bool[SIGNERS][PAYERS] memory live)
    {
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 s = 0; s < SIGNERS; ++s) {
                (all[x][s], live[x][s]) = (delegates[x][s], entitled(x, s));
            }
        }
    }

    function entitled(uint256 payer_, uint256 signer) public view returns (bool) {
        ModelDelegate storage delegate = delegates[payer_][signer];
        if (signer == payer_ || delegate.authorized) return true;
        return delegate.revokedAt != 0 && block.timestamp < delegate.revokedAt + NOTICE;
    }

    function selectorOf(bytes memory reason) private pure returns (bytes4) {
        // forge-lint: disable-next-line(unsafe-typecast) a custom error begins with its selector
        return bytes4(reason);
    }

    function pick(uint256 seed, uint256 count) private pure returns (uint256) {
        return seed % count;
    }

    function min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
