// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../interfaces/IPrepaymentEscrow.sol";
import {Lanes} from "./Lanes.sol";

/// @title Whose signature counts as whose (law 2)
abstract contract Delegates is Lanes {
    bytes32 private constant DELEGATION_TYPEHASH =
        keccak256("Delegation(address payer,address signer,bool authorized,uint256 nonce,uint64 validUntil)");

    /// @dev Half of the order of secp256k1. Of the two signatures that say the same, only the one with `s` up to here
    /// is taken.
    uint256 private constant S_MAX = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @dev slot 0: authorizedAt 64 | revokedAt 64 | authorized 8. Seconds since 1970 fit 64 bits for good.
    mapping(address payer => mapping(address signer => Delegate)) private _delegates;

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
        bytes32 digest = delegationDigest(payer, signer, authorized, nonces(payer), validUntil);
        _requireSignature(payer, digest, validUntil, signature);

        _setDelegate(payer, signer, authorized);
    }

    function _setDelegate(address payer, address signer, bool authorized) private {
        require(signer != address(0) && signer != payer, BadSigner(signer));
        _useNonce(payer);
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

    /// @dev Whether `owner`, or a live delegate of it, signed `digest`. The signature is the compact one of EIP-2098:
    /// the top bit of `vs` is the parity of the point, the rest is `s`. `owner` is not the zero address.
    function _signedBy(address owner, bytes32 digest, bytes32 r, uint256 vs) internal view returns (bool) {
        uint256 s = vs & (type(uint256).max >> 1);
        if (s > S_MAX) return false;

        address signer;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, digest)
            mstore(add(free, 0x20), add(shr(255, vs), 27))
            mstore(add(free, 0x40), r)
            mstore(add(free, 0x60), s)
            mstore(0x00, 0) // stays when nothing is recovered
            pop(staticcall(gas(), 0x01, free, 0x80, 0x00, 0x20))
            signer := mload(0x00)
        }
        // A failed recovery gives the zero address: no owner, and no delegate (`_setDelegate`).
        return signer == owner || _isLive(_delegates[owner][signer]);
    }

    function _isLive(Delegate storage delegate_) private view returns (bool) {
        if (delegate_.authorized) return true;
        uint64 revokedAt = delegate_.revokedAt;
        return revokedAt != 0 && block.timestamp < revokedAt + NOTICE_PERIOD;
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
    function delegationDigest(address payer, address signer, bool authorized, uint256 nonce, uint64 validUntil)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(abi.encode(DELEGATION_TYPEHASH, payer, signer, authorized, nonce, validUntil))
        );
    }
}
