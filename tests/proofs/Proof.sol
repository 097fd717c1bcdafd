// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {PrepaymentEscrow} from "../../contracts/src/PrepaymentEscrow.sol";
import {IPrepaymentEscrow} from "../../contracts/src/interfaces/IPrepaymentEscrow.sol";

/// @dev What a proof needs of Foundry's cheat codes, as Halmos answers them.
interface Vm {
    function assume(bool condition) external pure;
    function prank(address sender) external;
    function warp(uint256 timestamp) external;
    function load(address account, bytes32 slot) external view returns (bytes32);
}

/// @dev What a proof needs of Halmos' own.
interface Svm {
    function createUint(uint256 bits, string memory name) external pure returns (uint256);
    function createCalldata(string memory contractName) external pure returns (bytes memory);
    function enableSymbolicStorage(address account) external;
}

/// @dev Words instead of branches: Halmos follows both sides of every `&&` and `?:`, these it hands to the solver.
library Logic {
    function and(bool a, bool b) internal pure returns (bool c) {
        assembly ("memory-safe") {
            c := and(a, b)
        }
    }

    function or(bool a, bool b) internal pure returns (bool c) {
        assembly ("memory-safe") {
            c := or(a, b)
        }
    }

    function implies(bool a, bool b) internal pure returns (bool c) {
        assembly ("memory-safe") {
            c := or(iszero(a), b)
        }
    }

    function either(bool condition, uint256 a, uint256 b) internal pure returns (uint256 c) {
        assembly ("memory-safe") {
            c := xor(b, and(sub(0, condition), xor(a, b)))
        }
    }

    function min(uint256 a, uint256 b) internal pure returns (uint256) {
        return either(a < b, a, b);
    }
}

/// @title The escrow in any state, at any time
/// @notice All storage of the escrow and of its token is unknown, so what a check says of one call it says of every
/// call in every history. A state is held to no more than what each check assumes by name. Of what is assumed:
/// - Delegates: `Delegate.t.sol` shows that no call breaks it, claims and charges left out. Neither writes delegates,
///   but no proof says so.
/// - Lanes that fit 96 bits: `Deposit.t.sol` shows that after a deposit the escrow holds at most 2^96 - 1 tokens. That
///   the lanes together hold no more than the escrow is an invariant of `tests/contracts`, and not proved.
/// - Spare bits of a lane that are 0: `Claim.t.sol` shows it of claims. Of other calls it is not proved.
///
/// The actors are four fixed addresses. That loses nothing: the escrow does no arithmetic with addresses, it only
/// compares them and looks things up by them, so whatever holds of four that differ holds of any four. Where two of
/// them are one, or one is the zero address, a check of its own says what happens.
///
/// Common bounds: ecrecover and keccak256 are functions of which nothing is known but that equal inputs give equal
/// outputs and that different inputs of keccak256 give different ones; one chain id; times up to 2^64 - 1 less two
/// notices; loops of two rounds (Halmos warns where one is cut off, and `run` fails then).
abstract contract Proof {
    using Logic for bool;

    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);
    Svm internal constant svm = Svm(0xF3993A62377BCd56AE39D773740A5390411E8BC9);

    address internal constant PAYER = address(uint160(uint256(keccak256("payer"))));
    address internal constant OTHER_PAYER = address(uint160(uint256(keccak256("other payer"))));
    address internal constant PAYEE = address(uint160(uint256(keccak256("payee"))));
    address internal constant SUBMITTER = address(uint160(uint256(keccak256("submitter"))));

    /// @dev Where the mapping of lanes lies (`forge inspect PrepaymentEscrow storageLayout`); `Claim.t.sol` checks it.
    uint256 internal constant LANES_SLOT = 3;

    uint256 internal constant NOTICE = 7 days;
    uint256 internal constant S_MAX = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant VOUCHER_TYPEHASH = keccak256("Voucher(address payer,address payee,uint96 cumulative)");
    bytes32 internal constant CHARGE_TYPEHASH = keccak256("Charge(address payer,address payee,uint96 cumulative)");

    PrepaymentEscrow internal escrow;
    Token internal token;

    /// @dev The lane from a payer to a payee.
    struct Pair {
        address payer;
        address payee;
    }

    /// @dev What a lane holds, its running total, its notice.
    struct Held {
        uint256 deposit;
        uint256 paid;
        uint256 amount;
        uint256 endsAt;
    }

    /// @dev The words of a row beside its payer.
    struct Signed {
        uint96 cumulative;
        bytes32 r;
        bytes32 vs;
    }

    /// @dev The numbers a row is judged by: the payer's lane to the payee, what it has paid, both open balances.
    struct Funds {
        uint256 lane;
        uint256 paid;
        uint256 open;
        uint256 earned;
    }

    function setUp() public virtual {
        token = new Token();
        escrow = new PrepaymentEscrow(address(token));
        svm.enableSymbolicStorage(address(token));
        svm.enableSymbolicStorage(address(escrow));
        passTime(0);
    }

    /// @dev To any time from `since` on.
    function passTime(uint256 since) internal returns (uint256 time) {
        time = svm.createUint(64, "time");
        vm.assume(since <= time);
        vm.assume(time <= type(uint64).max - 2 * NOTICE);
        vm.warp(time);
    }

    // ------------------------------------------------------------------------------------------------- reading

    function held(Pair memory pair) internal view returns (Held memory held_) {
        (IPrepaymentEscrow.Lane memory lane_, IPrepaymentEscrow.Thaw memory thaw) = escrow.lane(pair.payer, pair.payee);
        return Held({deposit: lane_.deposit, paid: lane_.paid, amount: thaw.amount, endsAt: thaw.endsAt});
    }

    function deposited(address payer, address payee) internal view returns (uint256) {
        return held(Pair(payer, payee)).deposit;
    }

    /// @dev What moves when `payer` pays `PAYEE`.
    function fundsOf(address payer) internal view returns (Funds memory funds) {
        Held memory held_ = held(Pair(payer, PAYEE));
        (funds.lane, funds.paid) = (held_.deposit, held_.paid);
        (funds.open, funds.earned) = (deposited(payer, address(0)), deposited(PAYEE, address(0)));
    }

    // ------------------------------------------------------------------------------------------------ assuming

    /// @dev No sum of the lanes at hand exceeds 96 bits: `EscrowFull` sees to it, if lanes hold no more than tokens.
    function assumeFits(uint256 sum) internal pure {
        vm.assume(sum <= type(uint96).max);
    }

    function assumeFits(Funds memory funds) internal pure {
        assumeFits(funds.lane + funds.open + funds.earned);
    }

    /// @dev Whoever was revoked was revoked before now; the zero address was never a delegate (`Delegate.t.sol`).
    function assumeDelegates(address owner, address signer) internal view {
        IPrepaymentEscrow.Delegate memory nobody = escrow.delegate(owner, address(0));
        vm.assume(escrow.delegate(owner, signer).revokedAt <= block.timestamp);
        vm.assume((nobody.revokedAt == 0).and(!nobody.authorized));
    }

    // -------------------------------------------------------------------------------------------- who signed what

    function isLive(address owner, address signer) internal view returns (bool) {
        IPrepaymentEscrow.Delegate memory delegate = escrow.delegate(owner, signer);
        uint256 revokedAt = delegate.revokedAt;
        unchecked {
            return delegate.authorized.or((revokedAt != 0).and(block.timestamp < revokedAt + NOTICE));
        }
    }

    /// @dev Who signed the voucher or the charge, as the precompile says; zero for nobody.
    function signerOf(bytes32 typehash, address payer, address payee, Signed memory signed)
        internal
        view
        returns (address)
    {
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256("Layer Minus"), keccak256("1"), block.chainid, address(escrow))
        );
        bytes32 structHash = keccak256(abi.encode(typehash, payer, payee, signed.cumulative));
        unchecked {
            return ecrecover(
                keccak256(abi.encodePacked(hex"1901", domain, structHash)),
                uint8((uint256(signed.vs) >> 255) + 27),
                signed.r,
                bytes32(sOf(signed))
            );
        }
    }

    function sOf(Signed memory signed) internal pure returns (uint256) {
        return uint256(signed.vs) & (type(uint256).max >> 1);
    }

    /// @dev Whether `owner` or a live delegate of it signed.
    function isSignedBy(address owner, address signer, Signed memory signed) internal view returns (bool) {
        return (sOf(signed) <= S_MAX).and(signer != address(0)).and((signer == owner).or(isLive(owner, signer)));
    }

    /// @dev The whole word in which a lane to `PAYEE` is stored.
    function wordOf(address payer) internal view returns (uint256) {
        bytes32 lanesToPayee = keccak256(abi.encode(PAYEE, LANES_SLOT));
        return uint256(vm.load(address(escrow), keccak256(abi.encode(payer, lanesToPayee))));
    }

    /// @dev The spare bits of a lane are 0, as a claim leaves them.
    function assumeSpare(address payer) internal view {
        vm.assume(wordOf(payer) >> 192 == 0);
    }

    /// @dev Supposes that the payer itself signed this voucher.
    function assumeVoucherOf(address payer, Signed memory signed) internal view {
        assumeSpare(payer);
        vm.assume(signerOf(VOUCHER_TYPEHASH, payer, PAYEE, signed) == payer);
        vm.assume(sOf(signed) <= S_MAX);
    }

    // -------------------------------------------------------------------------------------------- what is asserted

    function isSame(Held memory a, Held memory b) internal pure returns (bool) {
        return (a.deposit == b.deposit).and(a.paid == b.paid).and(hasSameNotice(a, b));
    }

    function hasSameNotice(Held memory a, Held memory b) internal pure returns (bool) {
        return (a.amount == b.amount).and(a.endsAt == b.endsAt);
    }

    function isLane(Pair memory any, address payer, address payee) internal pure returns (bool) {
        return (any.payer == payer).and(any.payee == payee);
    }

    /// @dev `amount` went from the payer to the payee, out of the lane first, and the running total says so.
    function isMoved(Funds memory before, Funds memory now_, uint256 amount) internal pure returns (bool) {
        unchecked {
            uint256 fromLane = Logic.min(amount, before.lane);
            return (now_.lane == before.lane - fromLane).and(now_.open == before.open - (amount - fromLane))
                .and(now_.paid == before.paid + amount).and(now_.earned == before.earned + amount);
        }
    }

    /// @dev What a signed row pays, and as what it ends (`IPrepaymentEscrow.RowResult`).
    function expected(Funds memory funds, uint256 cumulative) internal pure returns (uint256 amount, uint256 result) {
        unchecked {
            bool isNew = cumulative > funds.paid;
            uint256 there = funds.lane + funds.open;
            uint256 due = Logic.either(isNew, cumulative - funds.paid, 0);
            amount = Logic.min(due, there);
            result = Logic.either(amount < due, 1, 0);
            result = Logic.either(there == 0, 3, result);
            result = Logic.either(isNew, result, 2);
        }
    }

    // -------------------------------------------------------------------------------------------------- calling

    function row(address payer, Signed memory signed) internal pure returns (bytes memory) {
        return abi.encodePacked(payer, signed.cumulative, signed.r, signed.vs);
    }

    function selectorOf(bytes memory data) internal pure returns (bytes4 selector) {
        assembly ("memory-safe") {
            selector := shl(224, shr(224, mload(add(data, 0x20))))
        }
    }

    /// @dev Claims, and asserts that it does not revert.
    function claim(address payee, bytes memory rows) internal returns (uint256 total, bytes memory results) {
        vm.prank(SUBMITTER);
        (bool ok, bytes memory answer) = address(escrow).call(abi.encodeCall(escrow.claim, (payee, rows)));
        assert(ok);
        return abi.decode(answer, (uint256, bytes));
    }
}

/// @dev A token that does what it is told.
contract Token {
    mapping(address account => uint256) public balanceOf;

    function transfer(address to, uint256 amount) external returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        return _move(from, to, amount);
    }

    function permit(address, address, uint256, uint256, uint8, bytes32, bytes32) external {}

    function _move(address from, address to, uint256 amount) private returns (bool) {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}
