// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IPrepaymentEscrow} from "./interfaces/IPrepaymentEscrow.sol";

/// @title Lanes of prepaid tokens, moved by cumulative vouchers
/// @notice See `IPrepaymentEscrow`, which is the document.
contract PrepaymentEscrow is IPrepaymentEscrow, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @inheritdoc IPrepaymentEscrow
    uint64 public constant NOTICE_PERIOD = 7 days;

    /// @dev One row of a claim as it lies in calldata.
    struct Row {
        bytes32 payerAndCumulative; // 20 | 12
        bytes32 r;
        bytes32 vs;
    }

    /// @dev A voucher as EIP-712 hashes it: first the four words of the struct, then, from the last two bytes of
    /// `prefix` on, what is signed.
    struct VoucherPreimage {
        bytes32 typehash;
        address payer;
        address payee;
        uint256 cumulative;
        uint256 prefix; // 0x1901
        bytes32 domainSeparator;
        bytes32 structHash;
    }

    uint256 private constant ROW_LENGTH = 96;
    /// @dev payer 20 | paid by this row 12.
    uint256 private constant PAYMENT_LENGTH = 32;

    bytes32 private constant VOUCHER_TYPEHASH = keccak256("Voucher(address payer,address payee,uint96 cumulative)");
    bytes32 private constant DELEGATION_TYPEHASH =
        keccak256("Delegation(address payer,address signer,bool authorized,uint64 nonce,uint64 validUntil)");

    /// @dev Half of the order of secp256k1. Of the two signatures that say the same, only the one with `s` up to here
    /// is taken.
    uint256 private constant S_MAX = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @inheritdoc IPrepaymentEscrow
    address public immutable token;

    /// @dev By payee first, so that a batch hashes the payee's part of the path once.
    /// slot 0: deposit 96 | paid 96 | 64 spare. 96 bits hold 79 * 10^21 tokens of 6 decimals, and `deposit` keeps the
    /// sum of all lanes below that.
    mapping(address payee => mapping(address payer => Lane)) private _lanes;

    /// @dev slot 0: amount 96 | endsAt 64. Apart from the lane, because a claim does not look at it.
    mapping(address payer => mapping(address payee => Thaw)) private _thaws;

    /// @dev slot 0: authorizedAt 64 | revokedAt 64 | authorized 8. Seconds since 1970 fit 64 bits for good.
    mapping(address payer => mapping(address signer => Delegate)) private _delegates;

    /// @inheritdoc IPrepaymentEscrow
    mapping(address payer => uint64) public delegationNonce;

    constructor(address token_) EIP712("Layer Minus", "1") {
        token = token_;
    }

    // ------------------------------------------------------------------------------------------------ deposit

    /// @inheritdoc IPrepaymentEscrow
    function deposit(address payer, address payee, uint96 amount) external nonReentrant {
        _deposit(payer, payee, amount);
    }

    /// @inheritdoc IPrepaymentEscrow
    function depositWithPermit(
        address payer,
        address payee,
        uint96 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        // A permit that someone else carried first has done its work; whether the allowance is there, the transfer
        // decides.
        try IERC20Permit(token).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}

        _deposit(payer, payee, amount);
    }

    /// @dev The callers are guarded: a balance difference means what it says only while no second deposit runs inside
    /// the first.
    function _deposit(address payer, address payee, uint96 amount) private {
        require(amount != 0, ZeroAmount());
        require(payer != address(0) && payer != payee, BadLane(payer, payee));

        uint256 balanceBefore = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 balanceAfter = IERC20(token).balanceOf(address(this));
        require(balanceAfter - balanceBefore == amount, TransferMismatch(balanceAfter - balanceBefore, amount));
        require(balanceAfter <= type(uint96).max, EscrowFull(balanceAfter, type(uint96).max));

        _lanes[payee][payer].deposit += amount;

        emit Deposited(payer, payee, msg.sender, amount);
    }

    // -------------------------------------------------------------------------------------------------- claim

    /// @inheritdoc IPrepaymentEscrow
    /// @dev Calls nobody but the ecrecover precompile, hence needs no guard.
    function claim(address payee, bytes calldata rows) external returns (uint96 total, bytes memory results) {
        require(payee != address(0), BadPayee(payee));
        require(rows.length != 0 && rows.length % ROW_LENGTH == 0, MalformedRows(rows.length));

        VoucherPreimage memory preimage = _preimage(payee);
        mapping(address payer => Lane) storage lanesToPayee = _lanes[payee];
        results = new bytes(rows.length / ROW_LENGTH);
        bytes memory payments = _emptyWithRoomFor(results.length);
        uint256 sum = 0;

        for (uint256 i = 0; i < results.length; ++i) {
            Row calldata row = _row(rows, i);
            (RowResult result, uint256 paid) = _claimRow(lanesToPayee, preimage, row);

            _set(results, i, result);
            if (paid != 0) {
                sum += paid;
                _append(payments, row.payerAndCumulative, paid);
            }
        }

        total = SafeCast.toUint96(sum); // never refused: `sum` is a part of what `_deposit` let in
        if (total != 0) {
            // No row paid out of this lane: its payer is the payee, whose rows are refused.
            _lanes[address(0)][payee].deposit += total;

            emit Claimed(payee, total, payments);
        }
    }

    /// @dev One row, which never reverts (law 5). In the order of `RowResult`'s documentation: payer, signature,
    /// running total, money.
    function _claimRow(
        mapping(address payer => Lane) storage lanesToPayee,
        VoucherPreimage memory preimage,
        Row calldata row
    ) private returns (RowResult result, uint256 paid) {
        address payer = address(bytes20(row.payerAndCumulative));
        uint256 cumulative = uint256(row.payerAndCumulative) & type(uint96).max;
        if (payer == address(0) || payer == preimage.payee) return (RowResult.BadPayer, 0);
        if (!_signedBy(payer, _digest(preimage, payer, cumulative), row.r, uint256(row.vs))) {
            return (RowResult.BadSignature, 0);
        }

        Lane storage lane_ = lanesToPayee[payer];
        (uint256 depositBefore, uint256 paidBefore) = _load(lane_);
        if (cumulative <= paidBefore) return (RowResult.NothingNew, 0);

        // Nothing here can wrap: each subtraction takes the lesser from the greater, and `paidBefore + paid` is at
        // most `cumulative`.
        unchecked {
            uint256 due = cumulative - paidBefore;
            if (due <= depositBefore) {
                _store(lane_, depositBefore - due, cumulative);
                return (RowResult.Paid, due);
            }

            paid = depositBefore + _takeOpen(payer, due - depositBefore);
            if (paid == 0) return (RowResult.Unfunded, 0);
            _store(lane_, 0, paidBefore + paid);
            result = paid == due ? RowResult.Paid : RowResult.PartlyPaid;
        }
    }

    /// @dev Takes `wanted`, or what is there, out of the payer's open balance.
    function _takeOpen(address payer, uint256 wanted) private returns (uint256 taken) {
        Lane storage open = _lanes[address(0)][payer];
        uint96 deposit_ = open.deposit;
        taken = wanted < deposit_ ? wanted : deposit_;
        // forge-lint: disable-next-line(unsafe-typecast) `taken` is at most `deposit_`
        if (taken != 0) open.deposit = deposit_ - uint96(taken);
    }

    /// @dev Whether the payer, or a live delegate of it, signed `digest`. The signature is the compact one of
    /// EIP-2098: the top bit of `vs` is the parity of the point, the rest is `s`.
    function _signedBy(address payer, bytes32 digest, bytes32 r, uint256 vs) private view returns (bool) {
        if (vs & (type(uint256).max >> 1) > S_MAX) return false;

        address signer;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, digest)
            mstore(add(free, 0x20), add(shr(255, vs), 27))
            mstore(add(free, 0x40), r)
            mstore(add(free, 0x60), shr(1, shl(1, vs)))
            mstore(0x00, 0) // stays when nothing is recovered
            pop(staticcall(gas(), 0x01, free, 0x80, 0x00, 0x20))
            signer := mload(0x00)
        }
        // A failed recovery gives the zero address: no payer here (`_claimRow`) and no delegate (`_setDelegate`).
        return signer == payer || _isLive(_delegates[payer][signer]);
    }

    /// @dev A lane's slot in one read and in one write, where the compiler makes two of each: 124 gas a row. The field
    /// `deposit` has the low 96 bits, `paid` the next.
    function _load(Lane storage lane_) private view returns (uint256 deposit_, uint256 paid) {
        uint256 word;
        assembly ("memory-safe") {
            word := sload(lane_.slot)
        }
        (deposit_, paid) = (word & type(uint96).max, (word >> 96) & type(uint96).max);
    }

    function _store(Lane storage lane_, uint256 deposit_, uint256 paid) private {
        assembly ("memory-safe") {
            sstore(lane_.slot, or(shl(96, paid), deposit_))
        }
    }

    /// @dev Row `i`, which the caller has checked to be there.
    function _row(bytes calldata rows, uint256 i) private pure returns (Row calldata row) {
        assembly ("memory-safe") {
            row := add(rows.offset, mul(i, ROW_LENGTH))
        }
    }

    /// @dev Without the bounds check, for the loop's own bound is the same: 47 gas a row.
    function _set(bytes memory results, uint256 i, RowResult result) private pure {
        assembly ("memory-safe") {
            mstore8(add(add(results, 0x20), i), result)
        }
    }

    /// @dev Bytes of length zero, with room for `count` payments to be appended.
    function _emptyWithRoomFor(uint256 count) private pure returns (bytes memory payments) {
        payments = new bytes(count * PAYMENT_LENGTH);
        assembly ("memory-safe") {
            mstore(payments, 0)
        }
    }

    /// @dev Writes payer 20 | paid 12 behind what is there. The caller has made the room.
    function _append(bytes memory payments, bytes32 payerAndCumulative, uint256 paid) private pure {
        bytes32 payment = (payerAndCumulative >> 96 << 96) | bytes32(paid);
        assembly ("memory-safe") {
            let length := mload(payments)
            mstore(add(add(payments, 0x20), length), payment)
            mstore(payments, add(length, PAYMENT_LENGTH))
        }
    }

    // ------------------------------------------------------------------------------------- thaw and withdraw

    /// @inheritdoc IPrepaymentEscrow
    function thaw(address payee, uint96 amount) external {
        uint96 deposit_ = _lanes[payee][msg.sender].deposit;
        require(amount <= deposit_, ThawAboveDeposit(amount, deposit_));

        uint64 endsAt = amount == 0 ? 0 : uint64(block.timestamp) + NOTICE_PERIOD;
        _thaws[msg.sender][payee] = Thaw({amount: amount, endsAt: endsAt});

        emit ThawStarted(msg.sender, payee, amount, endsAt);
    }

    /// @inheritdoc IPrepaymentEscrow
    function withdraw(address payee, address to) external nonReentrant returns (uint96 amount) {
        require(to != address(0) && to != address(this), BadRecipient(to));
        Thaw memory thaw_ = _thaws[msg.sender][payee];
        require(thaw_.amount != 0, NothingThawing(msg.sender, payee));
        require(block.timestamp >= thaw_.endsAt, NoticeRunning(thaw_.endsAt, block.timestamp));

        Lane storage lane_ = _lanes[payee][msg.sender];
        uint96 deposit_ = lane_.deposit;
        amount = thaw_.amount < deposit_ ? thaw_.amount : deposit_;
        lane_.deposit = deposit_ - amount;
        delete _thaws[msg.sender][payee];

        emit Withdrawn(msg.sender, payee, to, amount);

        IERC20(token).safeTransfer(to, amount);
    }

    // ---------------------------------------------------------------------------------------------- delegates

    /// @inheritdoc IPrepaymentEscrow
    function authorize(address signer) external {
        _setDelegate(msg.sender, signer, true);
    }

    /// @inheritdoc IPrepaymentEscrow
    function revoke(address signer) external {
        _setDelegate(msg.sender, signer, false);
    }

    /// @inheritdoc IPrepaymentEscrow
    function setDelegateBySignature(
        address payer,
        address signer,
        bool authorized,
        uint64 validUntil,
        bytes calldata signature
    ) external {
        require(block.timestamp <= validUntil, SignatureExpired(validUntil, block.timestamp));
        bytes32 digest = delegationDigest(payer, signer, authorized, delegationNonce[payer], validUntil);
        (address recovered,,) = ECDSA.tryRecoverCalldata(digest, signature);
        require(recovered == payer && payer != address(0), InvalidSignature(payer));

        ++delegationNonce[payer];
        _setDelegate(payer, signer, authorized);
    }

    function _setDelegate(address payer, address signer, bool authorized) private {
        require(signer != address(0) && signer != payer, BadSigner(signer));
        Delegate storage delegate_ = _delegates[payer][signer];
        uint64 time = uint64(block.timestamp);

        if (authorized) {
            // Said twice, it stays what it was: `authorizedAt` is when the present authorisation began.
            if (!delegate_.authorized) (delegate_.authorizedAt, delegate_.authorized) = (time, true);

            emit DelegateAuthorized(payer, signer);
        } else {
            // Said twice it is refused, or the second would move the end of the first one's notice.
            require(delegate_.authorized, NotAuthorized(payer, signer));
            (delegate_.revokedAt, delegate_.authorized) = (time, false);

            emit DelegateRevoked(payer, signer, time + NOTICE_PERIOD);
        }
    }

    function _isLive(Delegate storage delegate_) private view returns (bool) {
        if (delegate_.authorized) return true;
        uint64 revokedAt = delegate_.revokedAt;
        return revokedAt != 0 && block.timestamp < revokedAt + NOTICE_PERIOD;
    }

    // -------------------------------------------------------------------------------------------------- views

    /// @inheritdoc IPrepaymentEscrow
    function lane(address payer, address payee) external view returns (Lane memory, Thaw memory) {
        return (_lanes[payee][payer], _thaws[payer][payee]);
    }

    /// @inheritdoc IPrepaymentEscrow
    function openBalance(address payer) external view returns (uint96 amount, uint96 thawing) {
        amount = _lanes[address(0)][payer].deposit;
        uint96 announced = _thaws[payer][address(0)].amount;
        thawing = announced < amount ? announced : amount;
    }

    /// @inheritdoc IPrepaymentEscrow
    function delegate(address payer, address signer) external view returns (Delegate memory) {
        return _delegates[payer][signer];
    }

    /// @inheritdoc IPrepaymentEscrow
    function isSigner(address payer, address signer) external view returns (bool) {
        return signer != address(0) && (signer == payer || _isLive(_delegates[payer][signer]));
    }

    /// @inheritdoc IPrepaymentEscrow
    function voucherDigest(address payer, address payee, uint96 cumulative) external view returns (bytes32) {
        return _digest(_preimage(payee), payer, cumulative);
    }

    /// @inheritdoc IPrepaymentEscrow
    function delegationDigest(address payer, address signer, bool authorized, uint64 nonce, uint64 validUntil)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(abi.encode(DELEGATION_TYPEHASH, payer, signer, authorized, nonce, validUntil))
        );
    }

    /// @dev What all vouchers to `payee` have in common, laid out once per batch: `abi.encode` would take new memory
    /// for every row, and the price of memory grows with its square.
    function _preimage(address payee) private view returns (VoucherPreimage memory) {
        return VoucherPreimage({
            typehash: VOUCHER_TYPEHASH,
            payer: address(0),
            payee: payee,
            cumulative: 0,
            prefix: 0x1901,
            domainSeparator: _domainSeparatorV4(),
            structHash: 0
        });
    }

    function _digest(VoucherPreimage memory preimage, address payer, uint256 cumulative)
        private
        pure
        returns (bytes32 digest)
    {
        preimage.payer = payer;
        preimage.cumulative = cumulative;
        assembly ("memory-safe") {
            mstore(add(preimage, 0xc0), keccak256(preimage, 0x80))
            digest := keccak256(add(preimage, 0x9e), 0x42)
        }
    }
}
