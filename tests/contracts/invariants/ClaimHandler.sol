// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Ghost} from "./Ghost.sol";
import {WhimsicalWallet} from "./WhimsicalWallet.sol";

/// @title Vouchers and charges: fresh, old, forged, misdirected, of one kind shown as the other
abstract contract ClaimHandler is Ghost {
    /// @dev A row, and what is true of its signature. Both kinds of row and all payees share one drawer, out of which
    /// anything is presented as anything.
    struct Signed {
        bool isCharge;
        uint8 payer;
        uint8 payee;
        uint8 signer;
        bool flawed;
        uint96 cumulative;
        bytes32 r;
        bytes32 vs;
    }

    uint256 private constant ROWS_MAX = 4;

    Signed[] internal drawer;
    /// @notice Batches handed in, and batches that were answered row by row as the model says.
    uint256 public batchesPresented;
    uint256 public batchesAnswered;

    // ---------------------------------------------------------------------------------------------------- the verbs

    function claim(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        uint256 y = anyPayee(dice_);
        Signed[] memory signed = anyRows(dice_, false, y);
        (bytes memory expected, uint256 sum) = answerOf(false, y, signed);

        ++batchesPresented;
        (uint96 total, bytes memory results) = escrow.claim(payee(y), packed(signed));
        answered(y, signed, total, results, sum, expected);
    }

    function charge(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        uint256 y = anyPayee(dice_);
        Signed[] memory signed = anyRows(dice_, true, y);
        (bytes memory expected, uint256 sum) = answerOf(true, y, signed);

        ++batchesPresented;
        (uint96 total, bytes memory results) = escrow.charge(payee(y), packed(signed));
        answered(y, signed, total, results, sum, expected);
    }

    /// @dev Several payees' rows, where what the first earns may pay the second.
    function settle(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        uint256 count = between(dice_, 1, 3);
        IPrepaymentEscrow.Batch[] memory batches = new IPrepaymentEscrow.Batch[](count);
        Signed[][] memory signed = new Signed[][](count);
        bytes[] memory expected = new bytes[](count);
        uint256[] memory sums = new uint256[](count);
        uint256[] memory ys = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            ys[i] = anyPayee(dice_);
            signed[i] = anyRows(dice_, false, ys[i]);
            batches[i] = IPrepaymentEscrow.Batch(payee(ys[i]), packed(signed[i]));
            (expected[i], sums[i]) = answerOf(false, ys[i], signed[i]);
        }

        ++batchesPresented;
        (uint96[] memory totals, bytes[] memory results) = escrow.settle(batches);
        assertEq(abi.encode(results), abi.encode(expected), "law 5: a batch in a settlement");
        for (uint256 i = 0; i < count; ++i) {
            assertEq(totals[i], sums[i], "law 3: a total of a settlement");
            see(ys[i], signed[i]);
        }
        ++batchesAnswered;
        ++done["settled"];
    }

    /// @dev The wallet that is a contract, in whatever mood, at times several times; keys, which are no contracts; the
    /// payee itself.
    function claimFromContracts(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        uint256 y = anyPayee(dice_);
        uint256 count = between(dice_, 1, 3);
        IPrepaymentEscrow.ContractVoucher[] memory vouchers = new IPrepaymentEscrow.ContractVoucher[](count);
        Signed[] memory signed = new Signed[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 x = oneIn(dice_, 4) ? roll(dice_, PAYERS) : WALLET;
            signed[i].payer = SafeCast.toUint8(x);
            signed[i].cumulative = anyTotal(dice_, x, y);
            vouchers[i] = IPrepaymentEscrow.ContractVoucher(payer(x), signed[i].cumulative, abi.encode(seed));
        }
        bool agrees_ = agrees();
        bytes memory expected;
        uint256 sum = 0;
        for (uint256 i = 0; i < count; ++i) {
            (IPrepaymentEscrow.RowResult result, uint256 paid) = (IPrepaymentEscrow.RowResult.BadSignature, 0);
            if (signed[i].payer == y - 1) result = IPrepaymentEscrow.RowResult.BadPayer;
            else if (signed[i].payer == WALLET && agrees_) (result, paid) = ofVoucher(WALLET, y, signed[i].cumulative);
            expected = note(expected, result);
            sum += paid;
        }
        credit(y, sum);
        if (sum != 0) ++done["a contract paid"];

        ++batchesPresented;
        (uint96 total, bytes memory results) = escrow.claimFromContracts(payee(y), vouchers);
        answered(y, signed, total, results, sum, expected);
    }

    function claimNoise(uint256 seed, bytes32[6] calldata noise) external {
        uint256 y = anyPayee(dice(seed));
        ++batchesPresented;
        (uint96 total, bytes memory results) = seed % 2 == 0
            ? escrow.claim(payee(y), abi.encodePacked(noise))
            : escrow.charge(payee(y), abi.encodePacked(noise));
        assertEq(total, 0, "law 2: noise was paid");
        assertEq(results.length, 2, "law 5: one row, one result");
        ++batchesAnswered;
    }

    /// @dev What alone may stop a batch: rows of another length, none, no payee.
    function claimMalformed(uint256 seed, bytes calldata noise) external {
        Dice memory dice_ = dice(seed);
        (uint256 y, bool isCharge) = (roll(dice_, PAYEES), oneIn(dice_, 2));
        bytes4 expected = IPrepaymentEscrow.BadPayee.selector;
        if (y != 0) {
            if (noise.length != 0 && noise.length % 96 == 0) return;
            expected = IPrepaymentEscrow.MalformedRows.selector;
        }
        bytes memory call_ = isCharge
            ? abi.encodeCall(escrow.charge, (payee(y), noise))
            : abi.encodeCall(escrow.claim, (payee(y), noise));
        attempt(payer(roll(dice_, PAYERS)), address(escrow), call_, expected);
    }

    function feel(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        wallet.feel(oneIn(dice_, 2) ? WhimsicalWallet.Mood.Yes : WhimsicalWallet.Mood(roll(dice_, 6)));
    }

    // ----------------------------------------------------------------------------------------------------- the rows

    function anyPayee(Dice memory dice_) private pure returns (uint256) {
        return between(dice_, 1, PAYEES - 1);
    }

    function anyRows(Dice memory dice_, bool isCharge, uint256 y) private returns (Signed[] memory signed) {
        signed = new Signed[](between(dice_, 1, ROWS_MAX));
        for (uint256 i = 0; i < signed.length; ++i) {
            if (drawer.length != 0 && oneIn(dice_, 4)) {
                signed[i] = drawer[roll(dice_, drawer.length)];
                ++done["presented again"];
            } else {
                signed[i] = anyRow(dice(dice_.left + i), isCharge, y);
                drawer.push(signed[i]);
            }
        }
    }

    /// @dev Mostly signed by whoever should, at times by whoever likes; at times of the other kind, for another payee,
    /// spoilt, or of no payer.
    function anyRow(Dice memory dice_, bool isCharge, uint256 y) private view returns (Signed memory signed) {
        (uint256 x, uint256 payee_) = (roll(dice_, PAYERS), y);
        if (isCharge && !inForce(x, y)) x = roll(dice_, PAYERS);
        if (oneIn(dice_, 24)) x = NOBODY;
        if (oneIn(dice_, 16)) payee_ = anyPayee(dice_);
        if (oneIn(dice_, 16)) isCharge = !isCharge;
        uint256 signer = isCharge ? payee_ - 1 : x;
        // A contract has no key; those it trusts have.
        if (signer >= WALLET) signer = 5 + roll(dice_, 2);
        if (oneIn(dice_, 4)) signer = anyKey(dice_);
        signed = Signed({
            isCharge: isCharge,
            payer: SafeCast.toUint8(x),
            payee: SafeCast.toUint8(payee_),
            signer: SafeCast.toUint8(signer),
            flawed: false,
            cumulative: anyTotal(dice_, x, y),
            r: 0,
            vs: 0
        });
        bytes32 digest_ = rowDigest(isCharge, payer(x), payee(payee_), signed.cumulative);
        (signed.r, signed.vs) = vm.signCompact(keys[signer], digest_);

        uint256 flaw = roll(dice_, 48);
        signed.flawed = flaw < 3;
        if (flaw == 0) signed.r = ~signed.r;
        if (flaw == 1) signed.vs ^= bytes32(uint256(1) << 255);
        if (flaw == 2) (signed.r, signed.vs) = (0, 0);
    }

    /// @dev Around what is due and there.
    function anyTotal(Dice memory dice_, uint256 x, uint256 y) private view returns (uint96) {
        uint256 face = roll(dice_, 32);
        if (face == 0) return type(uint96).max;
        if (x == NOBODY || face == 1) return 0;
        ModelLane storage lane = lanes[x][y];
        uint256 reach = lane.deposit + lanes[x][0].deposit + 1e6;
        if (face < 5) return to96(min(lane.paid, type(uint96).max)); // the same
        if (face < 9) return to96(roll(dice_, lane.paid + 1)); // an older one
        if (face < 16) reach = min(reach, 4e6);
        return to96(min(lane.paid + roll(dice_, reach), type(uint96).max));
    }

    function rowDigest(bool isCharge, address x, address y, uint96 cumulative) private view returns (bytes32) {
        bytes32 typehash = isCharge
            ? keccak256("Charge(address payer,address payee,uint96 cumulative)")
            : keccak256("Voucher(address payer,address payee,uint96 cumulative)");
        return digest(address(escrow), keccak256(abi.encode(typehash, x, y, cumulative)));
    }

    function packed(Signed[] memory signed) internal view returns (bytes memory rows) {
        for (uint256 i = 0; i < signed.length; ++i) {
            rows = bytes.concat(rows, packedOne(signed[i]));
        }
    }

    function packedOne(Signed memory signed) internal view returns (bytes memory) {
        return abi.encodePacked(payer(signed.payer), signed.cumulative, signed.r, signed.vs);
    }

    // ------------------------------------------------------------------------------------------- what should come of it

    /// @dev The rows of a batch, one at a time, in their order.
    function answerOf(bool isCharge, uint256 y, Signed[] memory signed)
        private
        returns (bytes memory expected, uint256 sum)
    {
        for (uint256 i = 0; i < signed.length; ++i) {
            (IPrepaymentEscrow.RowResult result, uint256 paid) = ofRow(isCharge, y, signed[i]);
            expected = note(expected, result);
            sum += paid;
            if (signed[i].signer != (isCharge ? y - 1 : signed[i].payer) && paid != 0) {
                did(isCharge, "delegate charged", "delegate paid");
            }
        }
        credit(y, sum);
    }

    function note(bytes memory expected, IPrepaymentEscrow.RowResult result) private returns (bytes memory) {
        ++outcomes[uint8(result)];
        return abi.encodePacked(expected, uint8(result));
    }

    function ofRow(bool isCharge, uint256 y, Signed memory signed)
        private
        returns (IPrepaymentEscrow.RowResult, uint256)
    {
        uint256 x = signed.payer;
        if (x == NOBODY || x == y - 1) return (IPrepaymentEscrow.RowResult.BadPayer, 0);
        bool genuine = !signed.flawed && signed.isCharge == isCharge && signed.payee == y;
        if (!genuine || !entitled(isCharge ? y - 1 : x, signed.signer)) {
            return (IPrepaymentEscrow.RowResult.BadSignature, 0);
        }
        return isCharge ? ofCharge(x, y, signed.cumulative) : ofVoucher(x, y, signed.cumulative);
    }

    function ofVoucher(uint256 x, uint256 y, uint256 cumulative)
        private
        returns (IPrepaymentEscrow.RowResult, uint256 paid)
    {
        ModelLane storage lane = lanes[x][y];
        if (cumulative > lane.signed) lane.signed = cumulative;
        if (cumulative <= lane.paid) return (IPrepaymentEscrow.RowResult.NothingNew, 0);
        uint256 due = cumulative - lane.paid;
        paid = pay(x, y, due);
        return (graded(paid, due), paid);
    }

    function ofCharge(uint256 x, uint256 y, uint256 cumulative)
        private
        returns (IPrepaymentEscrow.RowResult, uint256 paid)
    {
        ModelLane storage lane = lanes[x][y];
        if (cumulative <= lane.paid) return (IPrepaymentEscrow.RowResult.NothingNew, 0);
        if (!inForce(x, y)) {
            if (mandates[x][y].validUntil != 0) ++done["charged too late"];
            return (IPrepaymentEscrow.RowResult.NoMandate, 0);
        }
        uint256 atMost = chargeable(x, y) / 1 days;
        if (atMost == 0) return (IPrepaymentEscrow.RowResult.NothingAccrued, 0);
        uint256 due = cumulative - lane.paid;
        paid = pay(x, y, min(due, atMost));
        lane.charged += paid;
        if (paid != 0) {
            ModelMandate storage mandate = mandates[x][y];
            mandate.log.push(MandateEvent(block.timestamp, mandate.accrualCap, mandate.dailyCap, paid));
            did(atMost == mandate.accrualCap, "charged a full mandate", "charged");
        }
        return (graded(paid, due), paid);
    }

    function graded(uint256 paid, uint256 due) private pure returns (IPrepaymentEscrow.RowResult) {
        if (paid == 0) return IPrepaymentEscrow.RowResult.Unfunded;
        return paid == due ? IPrepaymentEscrow.RowResult.Paid : IPrepaymentEscrow.RowResult.PartlyPaid;
    }

    function answered(
        uint256 y,
        Signed[] memory signed,
        uint256 total,
        bytes memory results,
        uint256 sum,
        bytes memory expected
    ) private {
        assertEq(results, expected, "law 5: each row for itself");
        assertEq(total, sum, "law 3: the differences, once");
        see(y, signed);
        ++batchesAnswered;
    }

    /// @dev What the escrow says of the running totals, so that none is ever seen to fall.
    function see(uint256 y, Signed[] memory signed) private {
        for (uint256 i = 0; i < signed.length; ++i) {
            uint256 x = signed[i].payer;
            if (x == NOBODY) continue;
            (IPrepaymentEscrow.Lane memory lane,) = escrow.lane(payer(x), payee(y));
            if (lane.paid > lanes[x][y].paidSeen) lanes[x][y].paidSeen = lane.paid;
        }
    }

    // ------------------------------------------------------------------------------------------- for the laws to read

    /// @notice The last rows of the drawer that are for one payee, at most so many, packed and apart.
    function lastRows(bool isCharge, uint256 y, uint256 countMax)
        external
        view
        returns (bytes[] memory rows, bool[] memory spent)
    {
        rows = new bytes[](countMax);
        spent = new bool[](countMax);
        uint256 count = 0;
        for (uint256 i = drawer.length; i != 0 && count < countMax && drawer.length - i < 64; --i) {
            Signed memory signed = drawer[i - 1];
            if (signed.payee != y || signed.isCharge != isCharge) continue;
            rows[count] = packedOne(signed);
            spent[count++] = signed.payer == NOBODY || signed.cumulative <= lanes[signed.payer][y].paid;
        }
        assembly ("memory-safe") {
            mstore(rows, count)
            mstore(spent, count)
        }
    }
}
