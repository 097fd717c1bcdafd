// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Ghost} from "./Ghost.sol";

/// @title The ways of money into the token and out of it, into the escrow and out of it
abstract contract MoneyHandler is Ghost {
    struct Permit {
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    // ----------------------------------------------------------------------------------------------------- token

    function wrap(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        mint(roll(dice_, PAYERS), between(dice_, 0, 100e6));
    }

    /// @dev At times more than is there.
    function redeem(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        (address holder, address to) = (payer(roll(dice_, PAYERS)), payer(roll(dice_, PAYERS)));
        uint256 balance = token.balanceOf(holder);
        uint256 amount = oneIn(dice_, 8) ? balance + 1 : between(dice_, 0, balance);
        bytes4 expected = amount > balance ? IERC20Errors.ERC20InsufficientBalance.selector : bytes4(0);
        uint256 before = reserve.balanceOf(to);
        if (attempt(holder, address(token), abi.encodeCall(token.withdrawTo, (to, amount)), expected)) {
            redeemed += amount;
            assertEq(reserve.balanceOf(to), before + amount, "law 6: redeemed at par");
            ++done["redeemed"];
        }
    }

    /// @dev Gifts: to the token's reserve, or of tokens to the escrow. Nobody's money, for good.
    function donate(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        if (oneIn(dice_, 2)) {
            reserve.mint(address(token), between(dice_, 0, 10e6));
        } else {
            address holder = payer(roll(dice_, PAYERS));
            uint256 amount = between(dice_, 0, min(token.balanceOf(holder), 1e6));
            vm.prank(holder);
            assertTrue(token.transfer(address(escrow), amount));
            donated += amount;
            ++done["donated"];
        }
    }

    function mint(uint256 who, uint256 amount) private {
        reserve.mint(payer(who), amount);
        vm.startPrank(payer(who));
        reserve.approve(address(token), amount);
        assertTrue(token.depositFor(payer(who), amount));
        vm.stopPrank();
        wrapped += amount;
    }

    /// @dev `who` has these tokens, and lets the escrow take just so many.
    function allow(uint256 who, uint256 amount) internal {
        uint256 balance = token.balanceOf(payer(who));
        if (balance < amount) mint(who, amount - balance);
        vm.prank(payer(who));
        token.approve(address(escrow), amount);
    }

    // --------------------------------------------------------------------------------------------------- deposits

    function deposit(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        (uint256 x, uint256 y) = anyLane(dice_);
        if (oneIn(dice_, 64)) x = NOBODY;
        (uint256 from, uint256 amount) = (roll(dice_, PAYERS), anyAmount(dice_));
        allow(from, amount);

        bytes memory call_ = abi.encodeCall(escrow.deposit, (payer(x), payee(y), to96(amount)));
        if (attempt(payer(from), address(escrow), call_, depositError(x, y, amount))) filled(x, y, amount);
    }

    function depositMany(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        uint256 from = roll(dice_, PAYERS);
        uint256 count = roll(dice_, 4);
        IPrepaymentEscrow.Deposit[] memory parts = new IPrepaymentEscrow.Deposit[](count);
        uint256[2][] memory ways = new uint256[2][](count);
        bytes4 expected = count == 0 ? IPrepaymentEscrow.ZeroAmount.selector : bytes4(0);
        uint256 sum = 0;
        for (uint256 i = 0; i < count; ++i) {
            (uint256 x, uint256 y) = anyLane(dice_);
            uint256 amount = oneIn(dice_, 16) ? 0 : between(dice_, 1, 20e6);
            parts[i] = IPrepaymentEscrow.Deposit(payer(x), payee(y), to96(amount));
            ways[i] = [x, y];
            sum += amount;
            if (expected == 0) expected = laneError(x, y, amount);
        }
        if (expected == 0) expected = fullError(sum);
        allow(from, sum);

        if (attempt(payer(from), address(escrow), abi.encodeCall(escrow.depositMany, (parts)), expected)) {
            for (uint256 i = 0; i < count; ++i) {
                filled(ways[i][0], ways[i][1], parts[i].amount);
            }
            ++done["deposited many"];
        }
    }

    /// @dev A good permit; a good one that somebody has carried already; one of another amount, of a nonce gone by, or
    /// past its time, which must leave the allowance at nothing.
    function depositWithPermit(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        (uint256 x, uint256 y) = anyLane(dice_);
        (uint256 from, uint256 amount, uint256 way) = (roll(dice_, WALLET), anyAmount(dice_), roll(dice_, 6));
        allow(from, amount);
        vm.prank(payer(from));
        token.approve(address(escrow), 0);
        Permit memory permit_ = permit(from, amount, way);
        if (way == 1) {
            (uint8 v, bytes32 r, bytes32 s) = (permit_.v, permit_.r, permit_.s);
            token.permit(payer(from), address(escrow), amount, permit_.deadline, v, r, s);
        }

        bytes4 expected = laneError(x, y, amount);
        if (expected == 0 && way > 2) expected = IERC20Errors.ERC20InsufficientAllowance.selector;
        if (expected == 0) expected = fullError(amount);
        if (attempt(payer(from), address(escrow), depositCall(payer(x), payee(y), amount, permit_), expected)) {
            filled(x, y, amount);
            did(way == 1, "permit overtaken", "permit");
        }
    }

    function depositCall(address x, address y, uint256 amount, Permit memory permit_)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            escrow.depositWithPermit, (x, y, to96(amount), permit_.deadline, permit_.v, permit_.r, permit_.s)
        );
    }

    /// @dev Ways 0 to 2 are good.
    function permit(uint256 from, uint256 amount, uint256 way) private view returns (Permit memory permit_) {
        address owner = payer(from);
        permit_.deadline = way == 5 ? block.timestamp - 1 : block.timestamp;
        uint256 nonce = token.nonces(owner);
        if (way == 4) nonce = nonce == 0 ? 1 : nonce - 1;
        uint256 value = way == 3 ? amount + 1 : amount;
        bytes32 digest_ = permitDigest(owner, address(escrow), value, nonce, permit_.deadline);
        (permit_.v, permit_.r, permit_.s) = vm.sign(keys[from], digest_);
    }

    function anyAmount(Dice memory dice_) internal view returns (uint256) {
        uint256 face = roll(dice_, 512);
        uint256 room = type(uint96).max - min(token.balanceOf(address(escrow)), type(uint96).max);
        if (face == 0) return room;
        if (face < 16) return room == type(uint96).max ? room : room + 1;
        return face < 32 ? 0 : between(dice_, 1, 50e6);
    }

    function depositError(uint256 x, uint256 y, uint256 amount) internal view returns (bytes4 expected) {
        expected = laneError(x, y, amount);
        if (expected == 0) expected = fullError(amount);
    }

    function laneError(uint256 x, uint256 y, uint256 amount) private pure returns (bytes4) {
        if (amount == 0) return IPrepaymentEscrow.ZeroAmount.selector;
        return x == NOBODY || y == x + 1 ? IPrepaymentEscrow.BadLane.selector : bytes4(0);
    }

    function fullError(uint256 amount) private view returns (bytes4) {
        bool full = moneyIn - moneyOut + donated + amount > type(uint96).max;
        return full ? IPrepaymentEscrow.EscrowFull.selector : bytes4(0);
    }

    function filled(uint256 x, uint256 y, uint256 amount) internal {
        lanes[x][y].deposit += amount;
        depositedFor[x] += amount;
        moneyIn += amount;
    }

    // ------------------------------------------------------------------------------------------- thaw and withdraw

    function thaw(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        (uint256 x, uint256 y) = anyLane(dice_);
        ModelLane storage lane = lanes[x][y];
        uint256 amount = oneIn(dice_, 8) ? lane.deposit + 1 : between(dice_, 0, lane.deposit);
        if (amount > type(uint96).max) return;
        bytes4 expected = amount > lane.deposit ? IPrepaymentEscrow.ThawAboveDeposit.selector : bytes4(0);

        if (attempt(payer(x), address(escrow), abi.encodeCall(escrow.thaw, (payee(y), to96(amount))), expected)) {
            (lane.thawing, lane.announcedAt) = (amount, amount == 0 ? 0 : block.timestamp);
        }
    }

    /// @dev Mostly where something was announced.
    function withdraw(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        (uint256 x, uint256 y) = anyLane(dice_);
        for (uint256 i = 0; i < 8 && lanes[x][y].thawing == 0; ++i) {
            (x, y) = anyLane(dice_);
        }
        address to = payer(oneIn(dice_, 32) ? NOBODY : roll(dice_, PAYERS));
        ModelLane storage lane = lanes[x][y];
        uint256 amount = min(lane.thawing, lane.deposit);
        bytes4 expected = 0;
        if (to == address(0)) expected = IPrepaymentEscrow.BadRecipient.selector;
        else if (lane.thawing == 0) expected = IPrepaymentEscrow.NothingThawing.selector;
        else if (block.timestamp < lane.announcedAt + NOTICE) expected = IPrepaymentEscrow.NoticeRunning.selector;
        uint256 before = token.balanceOf(to);

        if (attempt(payer(x), address(escrow), abi.encodeCall(escrow.withdraw, (payee(y), to)), expected)) {
            assertEq(token.balanceOf(to), before + amount, "law 4: what claims left of what was announced");
            did(amount < lane.thawing, "withdrew after claims", "withdrew all");
            lane.deposit -= amount;
            lane.withdrawn += amount;
            lane.served += lane.thawing;
            (lane.thawing, lane.announcedAt) = (0, 0);
            withdrawn[x] += amount;
            moneyOut += amount;
        }
    }
}
