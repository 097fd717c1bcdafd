// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {PrepaymentEscrow} from "../../../contracts/src/PrepaymentEscrow.sol";
import {RoutingTable} from "../../../contracts/src/RoutingTable.sol";
import {SettlementToken} from "../../../contracts/src/SettlementToken.sol";
import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {World} from "../World.sol";
import {TestReserve} from "../mocks/TestReserve.sol";
import {WhimsicalWallet} from "./WhimsicalWallet.sol";

/// @title Five payers, two keys that some of them trust, and a plain model of what should come of their dealings
/// @dev The model is in 256 bits and unpacked. Where the contract keeps a running figure, the model keeps a log and
/// computes the figure from its start.
abstract contract Ghost is World {
    /// @notice Four keys, and the wallet that is a contract. Each is payee, depositor, operator and customer, too.
    uint256 public constant PAYERS = 5;
    uint256 public constant WALLET = 4;
    /// @notice Number 0 is nobody, whose lane is the open balance; number i is payer i - 1.
    uint256 public constant PAYEES = 6;
    /// @notice The payers, and two keys that own nothing.
    uint256 public constant SIGNERS = 7;
    /// @notice The payer that is the zero address.
    uint256 public constant NOBODY = 255;

    struct ModelLane {
        uint256 deposit;
        uint256 paid;
        uint256 thawing;
        uint256 announcedAt;
        /// @dev The highest total that somebody entitled had signed when it was presented.
        uint256 signed;
        /// @dev Sum of all charges.
        uint256 charged;
        uint256 withdrawn;
        /// @dev Sum of all notices that had run for their whole time when they were used.
        uint256 served;
        /// @dev The highest running total that the escrow was ever seen to state.
        uint256 paidSeen;
    }

    struct ModelDelegate {
        bool authorized;
        uint256 authorizedAt;
        uint256 revokedAt;
    }

    /// @dev What happened to a mandate at a time: it was given, raised, or charged.
    struct MandateEvent {
        uint256 time;
        uint256 accrualCapBefore;
        uint256 dailyCapAfter;
        uint256 charged;
    }

    struct ModelMandate {
        uint256 dailyCap;
        uint256 accrualCap;
        uint256 validUntil;
        /// @dev Of the present mandate. The first event is its beginning.
        MandateEvent[] log;
        /// @dev The integral of the daily caps of all mandates before the present one, in base units times seconds.
        uint256 past;
    }

    /// @dev Changes what every verb makes of its seed, so that two campaigns of one seed differ.
    uint256 private immutable SALT;

    WhimsicalWallet internal wallet;
    address[SIGNERS] internal addresses;
    uint256[SIGNERS] internal keys;

    mapping(uint256 payer => mapping(uint256 payee => ModelLane)) internal lanes;
    mapping(uint256 payer => mapping(uint256 signer => ModelDelegate)) internal delegates;
    mapping(uint256 payer => mapping(uint256 payee => ModelMandate)) internal mandates;
    /// @notice How often a payer told the escrow something that carries, or could have carried, its nonce.
    uint256[PAYERS] public told;

    /// @notice Tokens that came into the escrow through a deposit, left it by a withdrawal, were sent to it past both.
    uint256 public moneyIn;
    uint256 public moneyOut;
    uint256 public donated;
    /// @notice Reserve base units wrapped and redeemed.
    uint256 public wrapped;
    uint256 public redeemed;
    /// @notice By payer: deposited for it, credited to it, withdrawn by it.
    uint256[PAYERS] public depositedFor;
    uint256[PAYERS] public earned;
    uint256[PAYERS] public withdrawn;
    /// @notice Sum of what all claims and all charges paid.
    uint256 public claimed;

    /// @notice How often each `RowResult` was met, each deed was done and each refusal was given.
    uint256[8] public outcomes;
    mapping(bytes32 deed => uint256) public done;
    mapping(bytes4 refusal => uint256) public refused;

    constructor(
        TestReserve reserve_,
        SettlementToken token_,
        PrepaymentEscrow escrow_,
        RoutingTable table_,
        uint256 salt
    ) {
        (reserve, token, escrow, table, SALT) = (reserve_, token_, escrow_, table_, salt);
        wallet = new WhimsicalWallet();
        for (uint256 s = 0; s < SIGNERS; ++s) {
            keys[s] = 1 + uint256(keccak256(abi.encode("person", s))) % (CURVE_ORDER - 1);
            addresses[s] = s == WALLET ? address(wallet) : vm.addr(keys[s]);
        }
    }

    // ---------------------------------------------------------------------------------------------------- chance

    struct Dice {
        uint256 left;
    }

    function dice(uint256 seed) internal view returns (Dice memory) {
        return Dice({left: uint256(keccak256(abi.encode(seed, SALT)))});
    }

    function roll(Dice memory dice_, uint256 sides) internal pure returns (uint256 face) {
        face = dice_.left % sides;
        dice_.left /= sides;
    }

    function between(Dice memory dice_, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + roll(dice_, high - low + 1);
    }

    function oneIn(Dice memory dice_, uint256 sides) internal pure returns (bool) {
        return roll(dice_, sides) == 0;
    }

    /// @dev Whom a lane runs from and to. Now and then to the payer itself, which is none.
    function anyLane(Dice memory dice_) internal pure returns (uint256 x, uint256 y) {
        (x, y) = (roll(dice_, PAYERS), roll(dice_, PAYEES));
        if (y == x + 1 && !oneIn(dice_, 4)) y = 0;
    }

    /// @dev Someone who has a key.
    function anyKey(Dice memory dice_) internal pure returns (uint256 signer) {
        signer = roll(dice_, SIGNERS - 1);
        if (signer >= WALLET) ++signer;
    }

    // ---------------------------------------------------------------------------------------------------- actors

    function payer(uint256 x) public view returns (address) {
        return x == NOBODY ? address(0) : addresses[x];
    }

    function payee(uint256 y) public view returns (address) {
        return y == 0 ? address(0) : addresses[y - 1];
    }

    function agrees() internal view returns (bool) {
        return wallet.mood() <= WhimsicalWallet.Mood.YesAtLength;
    }

    /// @dev The call ends as the model says: well, or with that very error. Never otherwise, so that a verb that
    /// reverts is a broken law.
    function attempt(address from, address to, bytes memory call_, bytes4 expected) internal returns (bool good) {
        vm.prank(from);
        bytes memory answer;
        (good, answer) = to.call(call_);

        if (expected == 0) {
            assertTrue(good, "refused what the laws allow");
        } else {
            assertFalse(good, "allowed what the laws refuse");
            // forge-lint: disable-next-line(unsafe-typecast) a custom error begins with its selector
            assertEq(bytes4(answer), expected, "refused for another reason");
            ++refused[expected];
        }
    }

    function sign(uint256 signer, bytes32 digest_) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[signer], digest_);
        return abi.encodePacked(r, s, v);
    }

    function did(bool which, bytes32 deed, bytes32 otherDeed) internal {
        ++done[which ? deed : otherDeed];
    }

    // --------------------------------------------------------------------------------------------------- the model

    /// @dev Law 2: the payer itself, and whom it named, until a notice after it took that back.
    function entitled(uint256 x, uint256 signer) public view returns (bool) {
        ModelDelegate storage delegate = delegates[x][signer];
        if (signer == x || delegate.authorized) return true;
        return delegate.revokedAt != 0 && block.timestamp < delegate.revokedAt + NOTICE;
    }

    function inForce(uint256 x, uint256 y) internal view returns (bool) {
        return block.timestamp <= mandates[x][y].validUntil;
    }

    /// @notice What may be charged, in base units times seconds per day: the least of what each window of time from
    /// somewhere in the log until now leaves. A window that begins with the mandate has its daily caps; any other one,
    /// beside its daily caps, what can have accrued when it began; the empty one, what can have accrued now.
    /// @dev Of all windows between two events, the one that begins just before the later event leaves least.
    function chargeable(uint256 x, uint256 y) public view returns (uint256 least) {
        ModelMandate storage mandate = mandates[x][y];
        if (!inForce(x, y)) return 0;
        least = mandate.accrualCap * 1 days;
        uint256 accrued = 0;
        uint256 charged = 0;
        uint256 until = block.timestamp;
        for (uint256 i = mandate.log.length; i != 0; --i) {
            MandateEvent storage event_ = mandate.log[i - 1];
            accrued += (until - event_.time) * event_.dailyCapAfter;
            charged += event_.charged * 1 days;
            until = event_.time;
            uint256 atMost = (i == 1 ? 0 : event_.accrualCapBefore * 1 days) + accrued;
            assertLe(charged, atMost, "law 2: a window was charged more than it holds");
            least = min(least, atMost - charged);
        }
    }

    /// @notice The integral of the daily caps of all mandates from x to y, each until it ended.
    function allowed(uint256 x, uint256 y) public view returns (uint256 integral) {
        ModelMandate storage mandate = mandates[x][y];
        integral = mandate.past;
        uint256 until = min(block.timestamp, mandate.validUntil);
        for (uint256 i = mandate.log.length; i != 0; --i) {
            MandateEvent storage event_ = mandate.log[i - 1];
            integral += (until - event_.time) * event_.dailyCapAfter;
            until = event_.time;
        }
    }

    /// @dev Pays up to `wanted` from the lane, then from the payer's open balance.
    function pay(uint256 x, uint256 y, uint256 wanted) internal returns (uint256 paid) {
        ModelLane storage lane = lanes[x][y];
        uint256 fromLane = min(wanted, lane.deposit);
        uint256 fromOpen = min(wanted - fromLane, lanes[x][0].deposit);
        lane.deposit -= fromLane;
        lanes[x][0].deposit -= fromOpen;
        paid = fromLane + fromOpen;
        lane.paid += paid;
        if (fromLane != 0 && fromOpen != 0) ++done["paid from lane and open"];
    }

    function credit(uint256 y, uint256 sum) internal {
        lanes[y - 1][0].deposit += sum;
        earned[y - 1] += sum;
        claimed += sum;
    }

    function min(uint256 a, uint256 b) internal pure returns (uint256) {
        return a < b ? a : b;
    }

    function to96(uint256 value) internal pure returns (uint96) {
        return SafeCast.toUint96(value);
    }

    function to64(uint256 value) internal pure returns (uint64) {
        return SafeCast.toUint64(value);
    }

    // ------------------------------------------------------------------------------- the model, for the laws to read

    function modelLanes() external view returns (ModelLane[PAYEES][PAYERS] memory all) {
        for (uint256 x = 0; x < PAYERS; ++x) {
            for (uint256 y = 0; y < PAYEES; ++y) {
                all[x][y] = lanes[x][y];
            }
        }
    }

    function modelDelegates(uint256 x) external view returns (ModelDelegate[SIGNERS] memory all) {
        for (uint256 s = 0; s < SIGNERS; ++s) {
            all[s] = delegates[x][s];
        }
    }

    function modelMandate(uint256 x, uint256 y) external view returns (ModelMandate memory) {
        return mandates[x][y];
    }
}
