// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {IPrepaymentEscrow} from "../interfaces/IPrepaymentEscrow.sol";

/// @title The lanes, the one way money goes along them, and who may carry whose word
/// @dev The base of the escrow's parts: `Deposits` fills lanes, `Claims` and `Mandates` pay along them, `Notices`
/// empties them.
abstract contract Lanes is IPrepaymentEscrow, EIP712, Nonces {
    /// @inheritdoc IPrepaymentEscrow
    uint64 public constant NOTICE_PERIOD = 7 days;

    /// @inheritdoc IPrepaymentEscrow
    address public immutable token;

    /// @dev By payee first, so that a batch hashes the payee's part of the path once.
    /// slot 0: deposit 96 | paid 96 | 64 spare. 96 bits hold 79 * 10^21 tokens of 6 decimals, and `Deposits` keeps the
    /// sum of all lanes below that.
    mapping(address payee => mapping(address payer => Lane)) internal _lanes;

    constructor(address token_) EIP712("Layer Minus", "1") {
        token = token_;
    }

    // ------------------------------------------------------------------------------------------------ payment

    /// @dev Pays the lane's way from what it has paid towards `cumulative`, out of the lane, then out of the payer's
    /// open balance. The caller has made sure that the payer agreed, and credits the payee.
    function _pay(Lane storage lane_, address payer, uint256 cumulative)
        internal
        returns (RowResult result, uint256 paid)
    {
        // One read and one write of the slot, where the compiler makes two of each: 124 gas a row.
        uint256 slot;
        assembly ("memory-safe") {
            slot := sload(lane_.slot)
        }
        uint256 available = slot & type(uint96).max;
        uint256 paidBefore = slot >> 96; // the spare bits are 0
        if (cumulative <= paidBefore) return (RowResult.NothingNew, 0);

        // Nothing here can wrap: each subtraction takes the lesser from the greater, no more is taken from the open
        // balance than is wanted, and `paidBefore + paid` is at most `cumulative`.
        unchecked {
            paid = cumulative - paidBefore;
            if (paid > available) {
                available += _takeOpen(payer, paid - available);
                if (available == 0) return (RowResult.Unfunded, 0);
                if (paid > available) (result, paid) = (RowResult.PartlyPaid, available);
            }
            slot = (paidBefore + paid) << 96 | (available - paid);
        }
        assembly ("memory-safe") {
            sstore(lane_.slot, slot)
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

    /// @dev Ends a batch: what its rows paid becomes the payee's, and is said once. No row paid out of the lane that is
    /// credited: its payer is the payee, whose rows are refused.
    function _credit(address payee, uint256 sum, bytes memory payments) internal returns (uint96 total) {
        // forge-lint: disable-next-line(unsafe-typecast) `sum` is a part of what `Deposits` let in
        total = uint96(sum);
        if (total != 0) {
            _lanes[address(0)][payee].deposit += total;

            emit Claimed(payee, total, payments);
        }
    }

    // --------------------------------------------------------------------------------------- what others carry

    /// @inheritdoc IPrepaymentEscrow
    function voidSignatures() external {
        _useNonce(msg.sender);
    }

    /// @dev Whether `signer` itself signed, as a key or as a wallet that is a contract (ERC-1271). A key that has code
    /// (EIP-7702) still signs as a key.
    function _requireSignature(address signer, bytes32 digest, uint64 validUntil, bytes calldata signature)
        internal
        view
    {
        require(block.timestamp <= validUntil, SignatureExpired(validUntil, block.timestamp));
        (address recovered,,) = ECDSA.tryRecoverCalldata(digest, signature);
        require(
            signer != address(0)
                && (recovered == signer
                    || SignatureChecker.isValidERC1271SignatureNowCalldata(signer, digest, signature)),
            InvalidSignature(signer)
        );
    }

    /// @inheritdoc IPrepaymentEscrow
    function nonces(address signer) public view override(IPrepaymentEscrow, Nonces) returns (uint256) {
        return super.nonces(signer);
    }
}
