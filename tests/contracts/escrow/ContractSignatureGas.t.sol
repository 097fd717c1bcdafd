// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";
import {Wallet} from "../mocks/Wallet.sol";

/// @title Whoever submits cannot make a wallet's word fail by giving it too little gas, nor the wallet burn more
contract ContractSignatureGasTest is Signatures {
    uint256 private constant TRANSACTION_GAS_MAX = 16_777_216;

    Wallet private wallet;

    function setUp() public override {
        super.setUp();
        wallet = new Wallet(alice.addr);
        wallet.tell(Wallet.Answer.YesWithGas);
        prepay(address(wallet), agent.addr, 10e6);

        // A key that lets the wallet's code act for it (EIP-7702).
        vm.etch(carol.addr, abi.encodePacked(hex"ef0100", address(wallet)));
        Wallet(carol.addr).tell(Wallet.Answer.YesWithGas);
        prepay(carol.addr, agent.addr, 10e6);
    }

    function test_refuses_to_ask_a_wallet_with_less_than_its_part() public {
        (bool done, bytes memory answer) = submit(address(wallet), 0, 375_000);
        assertFalse(done);
        // forge-lint: disable-next-line(unsafe-typecast) a custom error begins with its selector
        assertEq(bytes4(answer), IPrepaymentEscrow.NotEnoughGas.selector);
        assertLane(address(wallet), agent.addr, 10e6, 0);
    }

    /// @dev A wallet that says yes only if it has as much gas as with gas in plenty.
    function test_whatever_gas_is_given_a_wallet_has_its_full_part_or_nobody_is_paid() public {
        assertFullPartOrNothing(address(wallet));
    }

    /// @dev Two cold accounts in one call.
    function test_whatever_gas_is_given_a_delegating_key_has_its_full_part_or_nobody_is_paid() public {
        assertFullPartOrNothing(carol.addr);
    }

    function test_a_wallet_can_burn_its_part_and_no_more() public {
        wallet.tell(Wallet.Answer.AllGas);
        uint256 before = gasleft();
        escrow.claimFromContracts(agent.addr, contractVoucher(address(wallet), 1e6, ""));
        assertLt(before - gasleft(), escrow.CONTRACT_SIGNATURE_GAS() + 40_000);
    }

    function test_a_wallets_long_answer_costs_the_batch_nothing() public {
        wallet.tell(Wallet.Answer.Bomb);
        uint256 before = gasleft();
        escrow.claimFromContracts(agent.addr, contractVoucher(address(wallet), 1e6, ""));
        assertLt(before - gasleft(), escrow.CONTRACT_SIGNATURE_GAS() + 80_000);
        assertLane(address(wallet), agent.addr, 9e6, 1e6);
    }

    /// @dev Calldata at 16 gas a byte, whatever it is.
    function test_forty_hostile_wallets_fit_a_transaction_and_stop_no_good_one() public {
        IPrepaymentEscrow.ContractVoucher[] memory vouchers = new IPrepaymentEscrow.ContractVoucher[](40);
        bytes memory signature_ = new bytes(65);
        for (uint256 i = 0; i < 39; ++i) {
            Wallet hostile = new Wallet(alice.addr);
            hostile.tell(Wallet.Answer.AllGas);
            vouchers[i] = contractVoucher(address(hostile), 1e6, signature_)[0];
        }
        wallet.tell(Wallet.Answer.Yes);
        vouchers[39] = contractVoucher(address(wallet), 1e6, signature_)[0];
        bytes memory call_ = abi.encodeCall(escrow.claimFromContracts, (agent.addr, vouchers));

        (bool done, bytes memory answer) =
            address(escrow).call{gas: TRANSACTION_GAS_MAX - 21_000 - 16 * call_.length}(call_);

        assertTrue(done);
        (uint96 total,) = abi.decode(answer, (uint96, bytes));
        assertEq(total, 1e6);
        assertLane(address(wallet), agent.addr, 9e6, 1e6);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function assertFullPartOrNothing(address payer) private {
        uint256 untouched = vm.snapshotState();
        uint256 part = partInPlenty(untouched, payer);
        assertGt(part, escrow.CONTRACT_SIGNATURE_GAS() - 1000, "all, less what the wallet spends to look");

        for (uint256 gas_ = 380_000; gas_ < 480_000; gas_ += 997) {
            assertPaidOrNothing(untouched, payer, part, gas_);
        }
        uint256 least = leastGas(untouched, payer);
        for (uint256 gas_ = least - 200; gas_ < least + 800; ++gas_) {
            assertPaidOrNothing(untouched, payer, part, gas_);
        }
    }

    function assertPaidOrNothing(uint256 untouched, address payer, uint256 wanted, uint256 gas_) private {
        (bool done, bytes memory answer) = submitCold(untouched, payer, wanted, gas_);
        if (!done) return;
        (uint96 total, bytes memory results) = abi.decode(answer, (uint96, bytes));
        assertEq(results, hex"00", "asked with less than its part");
        assertEq(total, 1e6);
    }

    /// @dev The most that the wallet finds in its hands when there is gas enough for all.
    function partInPlenty(uint256 untouched, address payer) private returns (uint256 low) {
        uint256 high = 1_000_000;
        while (high - low > 1) {
            uint256 middle = (low + high) / 2;
            (, bytes memory answer) = submitCold(untouched, payer, middle, 5_000_000);
            (uint96 total,) = abi.decode(answer, (uint96, bytes));
            if (total != 0) low = middle;
            else high = middle;
        }
    }

    /// @dev The least gas with which a wallet is asked at all.
    function leastGas(uint256 untouched, address payer) private returns (uint256 high) {
        uint256 low = 300_000;
        high = 1_000_000;
        while (high - low > 1) {
            uint256 middle = (low + high) / 2;
            (bool done,) = submitCold(untouched, payer, 0, middle);
            if (done) high = middle;
            else low = middle;
        }
    }

    /// @dev From a cold start: the state is that of before, and so is what has been touched.
    function submitCold(uint256 untouched, address payer, uint256 wanted, uint256 gas_)
        private
        returns (bool, bytes memory)
    {
        assertTrue(vm.revertToState(untouched));
        return submit(payer, wanted, gas_);
    }

    function submit(address payer, uint256 wanted, uint256 gas_) private returns (bool done, bytes memory answer) {
        IPrepaymentEscrow.ContractVoucher[] memory vouchers = contractVoucher(payer, 1e6, abi.encode(wanted));
        bytes memory call_ = abi.encodeCall(escrow.claimFromContracts, (agent.addr, vouchers));
        (done, answer) = address(escrow).call{gas: gas_}(call_);
    }
}
