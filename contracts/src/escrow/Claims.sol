// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

import {IPrepaymentEscrow} from "../interfaces/IPrepaymentEscrow.sol";
import {Delegates} from "./Delegates.sol";
import {Preimage, Row, Rows} from "./Rows.sol";

/// @title Vouchers into money, row by row (laws 2, 3 and 5)
/// @dev `claim` and `settle` call nobody but the ecrecover precompile; `claimFromContracts` asks wallets, with what
/// they cannot change anything by, before it moves anything. Hence no guard.
abstract contract Claims is Delegates {
    using Rows for bytes;
    using Rows for Preimage;
    using Rows for Row;

    /// @inheritdoc IPrepaymentEscrow
    uint256 public constant CONTRACT_SIGNATURE_GAS = 375_000;

    /// @dev What the call itself costs before the wallet gets its part: an account not yet touched is 2,600.
    uint256 private constant CALL_OVERHEAD_GAS = 6000;

    bytes32 private constant VOUCHER_TYPEHASH = keccak256("Voucher(address payer,address payee,uint96 cumulative)");

    /// @inheritdoc IPrepaymentEscrow
    function claim(address payee, bytes calldata rows) external returns (uint96 total, bytes memory results) {
        return _claim(payee, rows);
    }

    /// @inheritdoc IPrepaymentEscrow
    function settle(Batch[] calldata batches) external returns (uint96[] memory totals, bytes[] memory results) {
        require(batches.length != 0, NoBatch());

        totals = new uint96[](batches.length);
        results = new bytes[](batches.length);
        for (uint256 i = 0; i < batches.length; ++i) {
            (totals[i], results[i]) = _claim(batches[i].payee, batches[i].rows);
        }
    }

    function _claim(address payee, bytes calldata rows) private returns (uint96 total, bytes memory results) {
        require(payee != address(0), BadPayee(payee));
        results = new bytes(rows.count());
        Preimage memory preimage = Rows.preimage(VOUCHER_TYPEHASH, payee, _domainSeparatorV4());
        mapping(address payer => Lane) storage lanesToPayee = _lanes[payee];
        bytes memory payments = Rows.emptyPayments(results.length);
        uint256 sum = 0;

        for (uint256 i = 0; i < results.length; ++i) {
            Row calldata row = rows.rowAt(i);
            (RowResult result, uint256 paid) = _claimRow(lanesToPayee, preimage, row);

            results.set(i, result);
            if (paid != 0) {
                unchecked {
                    sum += paid; // parts of what `Deposits` let in
                }
                payments.append(row.payerAndCumulative, paid);
            }
        }

        total = _credit(payee, sum, payments);
    }

    /// @dev One row, which never reverts (law 5). In the order of `RowResult`'s documentation: payer, signature,
    /// running total, money.
    function _claimRow(mapping(address payer => Lane) storage lanesToPayee, Preimage memory preimage, Row calldata row)
        private
        returns (RowResult, uint256)
    {
        address payer = row.payer();
        uint256 cumulative = row.cumulative();
        if (payer == address(0) || payer == preimage.payee) return (RowResult.BadPayer, 0);
        if (!_signedBy(payer, preimage.digest(payer, cumulative), row.r, uint256(row.vs))) {
            return (RowResult.BadSignature, 0);
        }

        return _pay(lanesToPayee[payer], payer, cumulative);
    }

    // ------------------------------------------------------------------------------- payers that are contracts

    /// @inheritdoc IPrepaymentEscrow
    function claimFromContracts(address payee, ContractVoucher[] calldata vouchers)
        external
        returns (uint96 total, bytes memory results)
    {
        require(payee != address(0), BadPayee(payee));
        require(vouchers.length != 0, NoBatch());
        results = _askPayers(payee, vouchers);
        mapping(address payer => Lane) storage lanesToPayee = _lanes[payee];
        bytes memory payments = Rows.emptyPayments(vouchers.length);
        uint256 sum = 0;

        for (uint256 i = 0; i < vouchers.length; ++i) {
            if (uint8(results[i]) != uint8(RowResult.Paid)) continue;
            address payer = vouchers[i].payer;
            (RowResult result, uint256 paid) = _pay(lanesToPayee[payer], payer, vouchers[i].cumulative);

            results.set(i, result);
            if (paid != 0) {
                sum += paid;
                payments.append(bytes32(bytes20(payer)), paid);
            }
        }

        total = _credit(payee, sum, payments);
    }

    /// @dev All signatures before any payment, so that no wallet is asked while money is between two lanes. `Paid`
    /// stands for: may be paid.
    function _askPayers(address payee, ContractVoucher[] calldata vouchers)
        private
        view
        returns (bytes memory results)
    {
        Preimage memory preimage = Rows.preimage(VOUCHER_TYPEHASH, payee, _domainSeparatorV4());
        results = new bytes(vouchers.length);

        for (uint256 i = 0; i < vouchers.length; ++i) {
            ContractVoucher calldata voucher = vouchers[i];
            if (voucher.payer == address(0) || voucher.payer == payee) {
                results.set(i, RowResult.BadPayer);
            } else if (!_accepts(voucher.payer, preimage.digest(voucher.payer, voucher.cumulative), voucher.signature))
            {
                results.set(i, RowResult.BadSignature);
            }
        }
    }

    /// @dev Whether the wallet says that it signed (ERC-1271). It gets `CONTRACT_SIGNATURE_GAS` and room for one word
    /// of answer, so that it can neither spend nor swell the rest of the batch (law 5). A call keeps back one part in
    /// 64 of what is left (EIP-150); with less than the full amount to give, no answer would mean anything.
    function _accepts(address wallet, bytes32 digest, bytes calldata signature) private view returns (bool accepted) {
        bytes memory question = abi.encodeCall(IERC1271.isValidSignature, (digest, signature));
        uint256 gasNeeded = CONTRACT_SIGNATURE_GAS * 64 / 63 + CALL_OVERHEAD_GAS;
        require(gasleft() >= gasNeeded, NotEnoughGas(gasleft(), gasNeeded));

        uint256 gas_ = CONTRACT_SIGNATURE_GAS;
        bytes32 yes = bytes32(IERC1271.isValidSignature.selector);
        assembly ("memory-safe") {
            let answered := staticcall(gas_, wallet, add(question, 0x20), mload(question), 0x00, 0x20)
            accepted := and(answered, and(gt(returndatasize(), 0x1f), eq(mload(0x00), yes)))
        }
    }

    // -------------------------------------------------------------------------------------------------- views

    /// @inheritdoc IPrepaymentEscrow
    function voucherDigest(address payer, address payee, uint96 cumulative) external view returns (bytes32) {
        return Rows.preimage(VOUCHER_TYPEHASH, payee, _domainSeparatorV4()).digest(payer, cumulative);
    }
}
