// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../interfaces/IPrepaymentEscrow.sol";
import {Delegates} from "./Delegates.sol";
import {Preimage, Row, Rows} from "./Rows.sol";

/// @title Money for a payee whose customer is asleep: standing mandates, and the charges they bear (law 2)
/// @dev Calls nobody but the ecrecover precompile, and wallets to ask for their signature; hence no guard.
abstract contract Mandates is Delegates {
    using Rows for bytes;
    using Rows for Preimage;
    using Rows for Row;

    bytes32 private constant MANDATE_TYPEHASH = keccak256(
        "Mandate(address payer,address payee,uint96 dailyCap,uint96 accrualCap,uint256 nonce,uint64 validUntil)"
    );
    bytes32 private constant MANDATE_REVOCATION_TYPEHASH =
        keccak256("MandateRevocation(address payer,address payee,uint256 nonce,uint64 validUntil)");
    bytes32 private constant CHARGE_TYPEHASH = keccak256("Charge(address payer,address payee,uint96 cumulative)");

    /// @dev slot 0: dailyCap 96 | accrualCap 96 | validUntil 64
    /// slot 1: accrued 128 | accruedAt 64. `accrued` is at most 2^96 base units times 86,400, hence 113 bits.
    mapping(address payer => mapping(address payee => Mandate)) private _mandates;

    // ------------------------------------------------------------------------------------------------ mandate

    /// @inheritdoc IPrepaymentEscrow
    function setMandate(address payee, uint96 dailyCap, uint96 accrualCap, uint64 validUntil) external {
        _setMandate(msg.sender, payee, dailyCap, accrualCap, validUntil);
    }

    /// @inheritdoc IPrepaymentEscrow
    function setMandateBySignature(
        address payer,
        address payee,
        uint96 dailyCap,
        uint96 accrualCap,
        uint64 validUntil,
        bytes calldata signature
    ) external {
        bytes32 digest = mandateDigest(payer, payee, dailyCap, accrualCap, nonces(payer), validUntil);
        _requireSignature(payer, digest, validUntil, signature);

        _setMandate(payer, payee, dailyCap, accrualCap, validUntil);
    }

    /// @inheritdoc IPrepaymentEscrow
    function revokeMandate(address payee) external {
        _revokeMandate(msg.sender, payee);
    }

    /// @inheritdoc IPrepaymentEscrow
    function revokeMandateBySignature(address payer, address payee, uint64 validUntil, bytes calldata signature)
        external
    {
        bytes32 digest = mandateRevocationDigest(payer, payee, nonces(payer), validUntil);
        _requireSignature(payer, digest, validUntil, signature);

        _revokeMandate(payer, payee);
    }

    function _setMandate(address payer, address payee, uint96 dailyCap, uint96 accrualCap, uint64 validUntil) private {
        require(payee != address(0) && payee != payer, BadLane(payer, payee));
        require(dailyCap != 0 && accrualCap != 0, ZeroAmount());
        require(block.timestamp <= validUntil, MandateOver(validUntil, block.timestamp));
        Mandate storage mandate_ = _mandates[payer][payee];
        bool live = _isInForce(mandate_);
        // What a payee serves against is not taken from it between two blocks: that is what revoking is for.
        require(
            !live
                || (dailyCap >= mandate_.dailyCap
                    && accrualCap >= mandate_.accrualCap
                    && validUntil >= mandate_.validUntil),
            MandateReduced(payer, payee)
        );
        _useNonce(payer);

        (mandate_.accrued, mandate_.accruedAt) = (live ? _accrued(mandate_) : 0, uint64(block.timestamp));
        (mandate_.dailyCap, mandate_.accrualCap, mandate_.validUntil) = (dailyCap, accrualCap, validUntil);

        emit MandateSet(payer, payee, dailyCap, accrualCap, validUntil);
    }

    function _revokeMandate(address payer, address payee) private {
        _useNonce(payer);
        Mandate storage mandate_ = _mandates[payer][payee];
        uint64 noticeEnds = uint64(block.timestamp) + NOTICE_PERIOD;
        // Said twice, the first one's end stands.
        if (mandate_.validUntil > noticeEnds) mandate_.validUntil = noticeEnds;

        emit MandateRevoked(payer, payee, mandate_.validUntil);
    }

    function _isInForce(Mandate storage mandate_) private view returns (bool) {
        return block.timestamp <= mandate_.validUntil;
    }

    /// @dev What has accrued by now, in base units times seconds per day: a sum of products, so nothing is ever
    /// rounded (law 11).
    function _accrued(Mandate storage mandate_) private view returns (uint128) {
        uint256 sum = mandate_.accrued + (block.timestamp - mandate_.accruedAt) * mandate_.dailyCap;
        uint256 limit = uint256(mandate_.accrualCap) * 1 days;
        // forge-lint: disable-next-line(unsafe-typecast) `limit` has 113 bits
        return uint128(sum < limit ? sum : limit);
    }

    // ------------------------------------------------------------------------------------------------- charge

    /// @inheritdoc IPrepaymentEscrow
    function charge(address payee, bytes calldata rows) external returns (uint96 total, bytes memory results) {
        require(payee != address(0), BadPayee(payee));
        results = new bytes(rows.count());
        Preimage memory preimage = Rows.preimage(CHARGE_TYPEHASH, payee, _domainSeparatorV4());
        bytes memory payments = Rows.emptyPayments(results.length);
        uint256 sum = 0;

        for (uint256 i = 0; i < results.length; ++i) {
            Row calldata row = rows.rowAt(i);
            (RowResult result, uint256 paid) = _chargeRow(preimage, row);

            results.set(i, result);
            if (paid != 0) {
                sum += paid;
                payments.append(row.payerAndCumulative, paid);
            }
        }

        total = _credit(payee, sum, payments);
    }

    /// @dev One row, which never reverts (law 5). In the order of `RowResult`'s documentation: payer, signature,
    /// running total, mandate, money.
    function _chargeRow(Preimage memory preimage, Row calldata row) private returns (RowResult result, uint256 paid) {
        (address payer, address payee, uint256 cumulative) = (row.payer(), preimage.payee, row.cumulative());
        if (payer == address(0) || payer == payee) return (RowResult.BadPayer, 0);
        if (!_signedBy(payee, preimage.digest(payer, cumulative), row.r, uint256(row.vs))) {
            return (RowResult.BadSignature, 0);
        }
        Lane storage lane_ = _lanes[payee][payer];
        uint256 paidBefore = lane_.paid;
        if (cumulative <= paidBefore) return (RowResult.NothingNew, 0);
        Mandate storage mandate_ = _mandates[payer][payee];
        if (!_isInForce(mandate_)) return (RowResult.NoMandate, 0);
        uint256 accrued = _accrued(mandate_);
        uint256 chargeable = accrued / 1 days;
        if (chargeable == 0) return (RowResult.NothingAccrued, 0);

        bool capped = cumulative - paidBefore > chargeable;
        (result, paid) = _pay(lane_, payer, capped ? paidBefore + chargeable : cumulative);
        if (paid != 0) {
            // forge-lint: disable-next-line(unsafe-typecast) `paid` is at most `chargeable`
            (mandate_.accrued, mandate_.accruedAt) = (uint128(accrued - paid * 1 days), uint64(block.timestamp));
            if (capped) result = RowResult.PartlyPaid;
        }
    }

    // -------------------------------------------------------------------------------------------------- views

    /// @inheritdoc IPrepaymentEscrow
    function mandate(address payer, address payee) external view returns (Mandate memory, uint96 chargeable) {
        Mandate storage mandate_ = _mandates[payer][payee];
        // forge-lint: disable-next-line(unsafe-typecast) at most `accrualCap`
        if (_isInForce(mandate_)) chargeable = uint96(_accrued(mandate_) / 1 days);
        return (mandate_, chargeable);
    }

    /// @inheritdoc IPrepaymentEscrow
    function mandateDigest(
        address payer,
        address payee,
        uint96 dailyCap,
        uint96 accrualCap,
        uint256 nonce,
        uint64 validUntil
    ) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(abi.encode(MANDATE_TYPEHASH, payer, payee, dailyCap, accrualCap, nonce, validUntil))
        );
    }

    /// @inheritdoc IPrepaymentEscrow
    function mandateRevocationDigest(address payer, address payee, uint256 nonce, uint64 validUntil)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(keccak256(abi.encode(MANDATE_REVOCATION_TYPEHASH, payer, payee, nonce, validUntil)));
    }

    /// @inheritdoc IPrepaymentEscrow
    function chargeDigest(address payer, address payee, uint96 cumulative) external view returns (bytes32) {
        return Rows.preimage(CHARGE_TYPEHASH, payee, _domainSeparatorV4()).digest(payer, cumulative);
    }
}
