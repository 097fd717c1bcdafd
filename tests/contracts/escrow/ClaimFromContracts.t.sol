// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {Signatures} from "../Signatures.sol";
import {Wallet} from "../mocks/Wallet.sol";

/// @title Laws 2 and 5 where the payer is a contract: it is asked, and can do nothing but answer
contract ClaimFromContractsTest is Signatures {
    Wallet private wallet;

    function setUp() public override {
        super.setUp();
        wallet = new Wallet(alice.addr);
        prepay(address(wallet), agent.addr, 10e6);
    }

    // -------------------------------------------------------------------------------- refusals of the whole call

    function test_refuses_payee_zero() public {
        IPrepaymentEscrow.ContractVoucher[] memory vouchers = contractVoucher(address(wallet), 1e6, "");
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadPayee.selector, address(0)));
        escrow.claimFromContracts(address(0), vouchers);
    }

    function test_refuses_no_vouchers() public {
        vm.expectRevert(IPrepaymentEscrow.NoBatch.selector);
        escrow.claimFromContracts(agent.addr, new IPrepaymentEscrow.ContractVoucher[](0));
    }

    // ---------------------------------------------------------------------------------------- refusals of a row

    function test_refuses_the_owners_signature_over_another_total() public {
        bytes memory signature_ = signature(alice, voucherDigest(address(wallet), agent.addr, 1e6));
        assertRefused(contractVoucher(address(wallet), 1e6 + 1, signature_), BAD_SIGNATURE);
    }

    function test_refuses_the_owners_signature_to_another_payee() public {
        bytes memory signature_ = signature(alice, voucherDigest(address(wallet), relay.addr, 1e6));
        assertRefused(contractVoucher(address(wallet), 1e6, signature_), BAD_SIGNATURE);
    }

    function test_refuses_the_owners_signature_of_another_wallet() public {
        Wallet other = new Wallet(alice.addr);
        prepay(address(other), agent.addr, 10e6);
        bytes memory signature_ = signature(alice, voucherDigest(address(other), agent.addr, 1e6));
        assertRefused(contractVoucher(address(wallet), 1e6, signature_), BAD_SIGNATURE);
        assertLane(address(other), agent.addr, 10e6, 0);
    }

    function test_refuses_whatever_the_wallet_answers_but_the_one_word() public {
        assertAnswerRefused(Wallet.Answer.No);
        assertAnswerRefused(Wallet.Answer.Nothing);
        assertAnswerRefused(Wallet.Answer.Short);
        assertAnswerRefused(Wallet.Answer.Dirty);
        assertAnswerRefused(Wallet.Answer.One);
        assertAnswerRefused(Wallet.Answer.Failure);
        assertAnswerRefused(Wallet.Answer.FailureThatSaysYes);
        assertAnswerRefused(Wallet.Answer.AllGas);
    }

    function test_refuses_a_key_without_code_however_well_it_signed() public {
        prepay(alice.addr, agent.addr, 10e6);
        bytes memory signature_ = signature(alice, voucherDigest(alice.addr, agent.addr, 1e6));
        assertRefused(contractVoucher(alice.addr, 1e6, signature_), BAD_SIGNATURE);
    }

    /// @dev The fourth of them answers with what it was asked, which begins with the right four bytes.
    function test_refuses_precompiles_which_answer_whatever_they_compute() public {
        for (uint160 i = 1; i <= 0x11; ++i) {
            prepay(address(i), agent.addr, 1e6);
            assertRefused(contractVoucher(address(i), 1e6, ""), BAD_SIGNATURE);
        }
    }

    function test_refuses_payer_zero() public {
        assertRefused(contractVoucher(address(0), 1e6, ""), BAD_PAYER);
    }

    function test_refuses_payer_that_is_the_payee_without_asking_it() public {
        wallet.tell(Wallet.Answer.Yes);
        prepayOpen(address(wallet), 5e6);
        vm.expectCall(address(wallet), "", 0);
        (uint96 total, bytes memory results) =
            escrow.claimFromContracts(address(wallet), contractVoucher(address(wallet), 1e6, ""));
        assertEq(total, 0);
        assertEq(results, hex"05");
        assertOpen(address(wallet), 5e6, 0);
    }

    function test_refuses_an_old_total_and_an_empty_lane() public {
        wallet.tell(Wallet.Answer.Yes);
        escrow.claimFromContracts(agent.addr, contractVoucher(address(wallet), 10e6, ""));
        assertRefused(contractVoucher(address(wallet), 10e6, ""), NOTHING_NEW);
        assertRefused(contractVoucher(address(wallet), 0, ""), NOTHING_NEW);
        assertRefused(contractVoucher(address(wallet), 10e6 + 1, ""), UNFUNDED);
    }

    /// @dev A voucher of a contract is worth what the contract says on the day.
    function test_refuses_what_the_wallet_has_thought_better_of() public {
        wallet.tell(Wallet.Answer.Yes);
        escrow.claimFromContracts(agent.addr, contractVoucher(address(wallet), 1e6, ""));
        wallet.tell(Wallet.Answer.No);
        assertRefused(contractVoucher(address(wallet), 2e6, ""), BAD_SIGNATURE);
        wallet.tell(Wallet.Answer.Yes);
        assertPays(contractVoucher(address(wallet), 2e6, ""), 1e6);
    }

    /// @dev It is asked before any money moves, and in a call that can move none.
    function test_refuses_the_wallet_whatever_it_tries_while_it_is_asked() public {
        prepay(carol.addr, agent.addr, 10e6);
        bytes memory rows = row(carol, agent.addr, 3e6);
        IPrepaymentEscrow.ContractVoucher[] memory vouchers = contractVoucher(address(wallet), 1e6, "");
        bytes[6] memory intrusions = [
            abi.encodeCall(escrow.claim, (agent.addr, rows)),
            abi.encodeCall(escrow.thaw, (agent.addr, 10e6)),
            abi.encodeCall(escrow.authorize, (mallory.addr)),
            abi.encodeCall(escrow.setMandate, (agent.addr, 1, 1, START)),
            abi.encodeCall(escrow.deposit, (address(wallet), agent.addr, 1)),
            abi.encodeCall(escrow.voidSignatures, ())
        ];
        for (uint96 i = 0; i < intrusions.length; ++i) {
            wallet.intrude(address(escrow), intrusions[i]);
            vouchers[0].cumulative = i + 1;
            assertPays(vouchers, 1);
        }
        assertLane(carol.addr, agent.addr, 10e6, 0);
        assertThaw(address(wallet), agent.addr, 0, 0);
        assertFalse(escrow.isSigner(address(wallet), mallory.addr));
        assertEq(escrow.nonces(address(wallet)), 0);
    }

    // ---------------------------------------------------------------------------------------------- successes

    function test_pays_what_the_wallet_says_its_owner_signed() public {
        bytes memory signature_ = signature(alice, voucherDigest(address(wallet), agent.addr, 3e6));

        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(agent.addr, 3e6, payment(address(wallet), 3e6));
        vm.prank(mallory.addr);
        (uint96 total, bytes memory results) =
            escrow.claimFromContracts(agent.addr, contractVoucher(address(wallet), 3e6, signature_));

        assertEq(total, 3e6);
        assertEq(results, hex"00");
        assertLane(address(wallet), agent.addr, 7e6, 3e6);
        assertOpen(agent.addr, 3e6, 0);
        assertOpen(mallory.addr, 0, 0);
        assertEq(token.balanceOf(address(escrow)), 10e6);
    }

    function test_asks_the_wallet_the_standards_question() public {
        bytes32 digest_ = voucherDigest(address(wallet), agent.addr, 1e6);
        bytes memory anything = "whatever the wallet's own rules ask for";
        wallet.tell(Wallet.Answer.Yes);
        vm.expectCall(address(wallet), abi.encodeCall(wallet.isValidSignature, (digest_, anything)), 1);
        assertPays(contractVoucher(address(wallet), 1e6, anything), 1e6);
    }

    function test_takes_the_rest_from_the_open_balance_and_what_is_missing_later() public {
        wallet.tell(Wallet.Answer.Yes);
        prepayOpen(address(wallet), 2e6);
        (uint96 total, bytes memory results) =
            escrow.claimFromContracts(agent.addr, contractVoucher(address(wallet), 15e6, ""));
        assertEq(total, 12e6);
        assertEq(results, hex"01");
        assertLane(address(wallet), agent.addr, 0, 12e6);
        assertOpen(address(wallet), 0, 0);

        prepay(address(wallet), agent.addr, 5e6);
        assertPays(contractVoucher(address(wallet), 15e6, ""), 3e6);
        assertLane(address(wallet), agent.addr, 2e6, 15e6);
    }

    /// @dev By way of `claim`, which does not ask the wallet.
    function test_shares_the_running_total_with_the_wallets_delegate() public {
        vm.prank(address(wallet));
        escrow.authorize(session.addr);
        claimOne(agent.addr, row(session, address(wallet), agent.addr, 3e6));
        wallet.tell(Wallet.Answer.Yes);
        assertPays(contractVoucher(address(wallet), 4e6, ""), 1e6);
        assertClaimsNothing(agent.addr, row(session, address(wallet), agent.addr, 4e6), NOTHING_NEW);
    }

    /// @dev Law 5: what wallets answer, burn or throw is their own row's affair.
    function test_a_hostile_wallet_stops_no_good_one() public {
        Wallet.Answer[5] memory answers =
            [Wallet.Answer.AllGas, Wallet.Answer.Failure, Wallet.Answer.Bomb, Wallet.Answer.Dirty, Wallet.Answer.Yes];
        IPrepaymentEscrow.ContractVoucher[] memory vouchers = new IPrepaymentEscrow.ContractVoucher[](7);
        for (uint256 i = 0; i < answers.length; ++i) {
            vouchers[i] = contractVoucher(address(told(answers[i])), 1e6, "")[0];
        }
        vouchers[5] = vouchers[4]; // once more
        wallet.tell(Wallet.Answer.Yes);
        vouchers[6] = contractVoucher(address(wallet), 2e6, "")[0];

        vm.expectEmit(address(escrow));
        emit IPrepaymentEscrow.Claimed(
            agent.addr,
            4e6,
            bytes.concat(
                payment(vouchers[2].payer, 1e6), payment(vouchers[4].payer, 1e6), payment(address(wallet), 2e6)
            )
        );
        (uint96 total, bytes memory results) = escrow.claimFromContracts(agent.addr, vouchers);

        // The bomb says yes, in 400,000 bytes, of which the first word is looked at.
        assertEq(results, hex"04040004000200");
        assertEq(total, 4e6);
        assertLane(vouchers[0].payer, agent.addr, 10e6, 0);
        assertLane(vouchers[4].payer, agent.addr, 9e6, 1e6);
        assertLane(address(wallet), agent.addr, 8e6, 2e6);
        assertOpen(agent.addr, 4e6, 0);
    }

    function test_rising_totals_of_one_wallet_pay_each_difference() public {
        wallet.tell(Wallet.Answer.Yes);
        IPrepaymentEscrow.ContractVoucher[] memory vouchers = new IPrepaymentEscrow.ContractVoucher[](3);
        for (uint256 i = 0; i < 3; ++i) {
            vouchers[i] = contractVoucher(address(wallet), i == 0 ? 1e6 : i == 1 ? 4e6 : 3e6, "")[0];
        }
        (uint96 total, bytes memory results) = escrow.claimFromContracts(agent.addr, vouchers);
        assertEq(total, 4e6);
        assertEq(results, hex"000002");
        assertLane(address(wallet), agent.addr, 6e6, 4e6);
    }

    function test_says_nothing_when_nothing_was_paid() public {
        wallet.tell(Wallet.Answer.No);
        vm.recordLogs();
        escrow.claimFromContracts(agent.addr, contractVoucher(address(wallet), 1e6, ""));
        assertEq(vm.getRecordedLogs().length, 0);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    function told(Wallet.Answer answer) private returns (Wallet wallet_) {
        wallet_ = new Wallet(alice.addr);
        wallet_.tell(answer);
        prepay(address(wallet_), agent.addr, 10e6);
    }

    function assertAnswerRefused(Wallet.Answer answer) private {
        wallet.tell(answer);
        assertRefused(contractVoucher(address(wallet), 1e6, ""), BAD_SIGNATURE);
    }

    function assertRefused(IPrepaymentEscrow.ContractVoucher[] memory vouchers, IPrepaymentEscrow.RowResult expected)
        private
    {
        bytes memory before = numbers(vouchers[0].payer, agent.addr);
        vm.recordLogs();
        (uint96 total, bytes memory results) = escrow.claimFromContracts(agent.addr, vouchers);
        assertEq(results, abi.encodePacked(uint8(expected)), "row result");
        assertEq(total, 0, "total");
        assertEq(vm.getRecordedLogs().length, 0, "silent");
        assertEq(numbers(vouchers[0].payer, agent.addr), before, "nothing moved");
    }

    function assertPays(IPrepaymentEscrow.ContractVoucher[] memory vouchers, uint96 expected) private {
        (uint96 openBefore,) = escrow.openBalance(agent.addr);
        (uint96 total, bytes memory results) = escrow.claimFromContracts(agent.addr, vouchers);
        assertEq(results, hex"00", "row result");
        assertEq(total, expected, "total");
        assertOpen(agent.addr, openBefore + expected, 0);
    }
}
