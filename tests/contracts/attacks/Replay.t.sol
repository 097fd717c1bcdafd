// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {PrepaymentEscrow} from "../../../contracts/src/PrepaymentEscrow.sol";
import {RoutingTable} from "../../../contracts/src/RoutingTable.sol";
import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {IRoutingTable} from "../../../contracts/src/interfaces/IRoutingTable.sol";
import {Signatures} from "../Signatures.sol";
import {Wallet} from "../mocks/Wallet.sol";

/// @title What was signed for one chain and one contract is worth nothing at another
/// @dev All ten kinds of signature there are, presented one after the other from the same state.
contract ReplayTest is Signatures {
    enum Kind {
        Voucher,
        ContractVoucher,
        Charge,
        Authorization,
        Revocation,
        Mandate,
        MandateRevocation,
        Order,
        Consent,
        Route
    }

    uint256 private constant KINDS = 10;
    uint64 private constant UNTIL = START + 5 days;

    Wallet private wallet;
    bytes[] private words;

    function setUp() public override {
        super.setUp();
        wallet = new Wallet(alice.addr);
        furnish();
    }

    function test_nothing_signed_for_another_chain_works() public {
        uint256 home = block.chainid;
        vm.chainId(home + 1);
        signAll();
        vm.chainId(home);
        assertAll(false);
    }

    /// @dev The same three contracts once more on the same chain, with the same money and mandates in them.
    function test_nothing_signed_for_another_contract_works() public {
        signAll();
        escrow = new PrepaymentEscrow(address(token));
        table = new RoutingTable(address(escrow));
        furnish();
        assertAll(false);
        signAll();
        assertAll(true);
    }

    /// @dev Name and version are the same in both domains: what tells them apart is the contract.
    function test_nothing_signed_in_the_tables_domain_works_in_the_escrow_nor_the_other_way() public {
        (PrepaymentEscrow escrow_, RoutingTable table_) = (escrow, table);
        (escrow, table) = (PrepaymentEscrow(address(table_)), RoutingTable(address(escrow_)));
        signAll();
        (escrow, table) = (escrow_, table_);
        assertAll(false);
    }

    /// @dev A fork changes the chain's id under contracts that stand: the old words die, new ones live.
    function test_after_a_fork_of_the_chain_old_signatures_die_and_new_ones_work() public {
        signAll();
        assertAll(true);
        vm.chainId(block.chainid + 1);
        assertAll(false);
        signAll();
        assertAll(true);
    }

    /// @dev And on the branch that keeps the id nothing changes.
    function test_back_on_the_chain_they_were_signed_for_they_work_again() public {
        uint256 home = block.chainid;
        signAll();
        vm.chainId(home + 1);
        assertAll(false);
        vm.chainId(home);
        assertAll(true);
    }

    function test_a_permit_of_another_chain_moves_nothing() public {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(alice, permitDigest(alice.addr, address(escrow), 7e6, 0, block.timestamp));
        vm.chainId(block.chainid + 1);
        vm.startPrank(alice.addr);
        token.approve(address(escrow), 0);
        vm.expectRevert();
        escrow.depositWithPermit(alice.addr, agent.addr, 7e6, block.timestamp, v, r, s);
        assertEq(token.nonces(alice.addr), 0);
    }

    // ------------------------------------------------------------------------------------------------ helpers

    /// @dev So that each word could take effect: money, a bond, a delegate to revoke, a mandate in force. Nonces: 2.
    function furnish() private {
        fund(alice.addr, 50e6);
        prepay(alice.addr, agent.addr, 10e6);
        prepay(address(wallet), agent.addr, 10e6);
        vm.prank(alice.addr);
        escrow.authorize(relay.addr);
        setMandate(alice.addr, agent.addr, 1e6, 5e6, START + 30 days);
        register(relay, relay);
        prepayOpen(carol.addr, 10e6);
        warp(1 days);
    }

    function signAll() private {
        address a = alice.addr;
        IRoutingTable.SealingKey memory key = sealingKey(alice);
        delete words;
        words.push(row(alice, agent.addr, 1e6));
        words.push(signature(alice, voucherDigest(address(wallet), agent.addr, 1e6)));
        words.push(chargeRow(a, agent, 1e6));
        words.push(signature(alice, delegationDigest(a, session.addr, true, 2, UNTIL)));
        words.push(signature(alice, delegationDigest(a, relay.addr, false, 2, UNTIL)));
        words.push(signature(alice, mandateDigest(a, agent.addr, 2e6, 9e6, 2, START + 60 days)));
        words.push(signature(alice, revocationDigest(a, agent.addr, 2, UNTIL)));
        words.push(signature(alice, orderDigest(order(), 2)));
        words.push(consent(session, carol.addr, key, UNTIL));
        words.push(routeSignature(alice, relay.addr, key, 0, UNTIL));
    }

    function order() private view returns (IPrepaymentEscrow.DepositOrder memory order_) {
        order_ = orderOf(alice.addr, 7e6);
        order_.validUntil = UNTIL;
    }

    function assertAll(bool works) private {
        for (uint256 i = 0; i < KINDS; ++i) {
            uint256 snapshot = vm.snapshotState();
            assertEq(present(Kind(i), words[i]), works, vm.toString(i));
            assertTrue(vm.revertToState(snapshot));
        }
    }

    /// @dev Whether the word took effect. A refusal is the one for a bad signature.
    function present(Kind kind, bytes memory word) private returns (bool) {
        address a = alice.addr;
        IRoutingTable.SealingKey memory key = sealingKey(alice);
        bytes memory call_;
        if (kind == Kind.Voucher) return paid(escrow.claim, word);
        if (kind == Kind.Charge) return paid(escrow.charge, word);
        if (kind == Kind.ContractVoucher) {
            (uint96 total, bytes memory results) =
                escrow.claimFromContracts(agent.addr, contractVoucher(address(wallet), 1e6, word));
            assertTrue(total == 1e6 || uint8(results[0]) == uint8(BAD_SIGNATURE));
            return total == 1e6;
        }
        if (kind == Kind.Authorization) {
            call_ = abi.encodeCall(escrow.setDelegateBySignature, (a, session.addr, true, UNTIL, word));
        } else if (kind == Kind.Revocation) {
            call_ = abi.encodeCall(escrow.setDelegateBySignature, (a, relay.addr, false, UNTIL, word));
        } else if (kind == Kind.Mandate) {
            call_ = abi.encodeCall(escrow.setMandateBySignature, (a, agent.addr, 2e6, 9e6, START + 60 days, word));
        } else if (kind == Kind.MandateRevocation) {
            call_ = abi.encodeCall(escrow.revokeMandateBySignature, (a, agent.addr, UNTIL, word));
        } else if (kind == Kind.Order) {
            call_ = abi.encodeCall(escrow.depositBySignature, (order(), word, noPermit));
        } else if (kind == Kind.Consent) {
            call_ = abi.encodeCall(
                table.register, (session.addr, key, "https://new.example", tariff(1, 2, 3), UNTIL, word)
            );
            vm.prank(carol.addr);
        } else {
            call_ = abi.encodeCall(table.setRouteBySignature, (a, relay.addr, key, UNTIL, word));
        }
        return took(kind < Kind.Consent ? address(escrow) : address(table), call_);
    }

    function took(address contract_, bytes memory call_) private returns (bool done) {
        bytes memory answer;
        (done, answer) = contract_.call(call_);
        // forge-lint: disable-next-line(unsafe-typecast) a custom error begins with its selector
        if (!done) assertEq(bytes4(answer), IPrepaymentEscrow.InvalidSignature.selector);
    }

    function paid(function(address, bytes memory) external returns (uint96, bytes memory) submit, bytes memory word)
        private
        returns (bool)
    {
        (uint96 total, bytes memory results) = submit(agent.addr, word);
        assertTrue(total == 1e6 || uint8(results[0]) == uint8(BAD_SIGNATURE));
        return total == 1e6;
    }
}
