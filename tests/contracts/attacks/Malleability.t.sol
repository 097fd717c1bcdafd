// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {IRoutingTable} from "../../../contracts/src/interfaces/IRoutingTable.sol";
import {Signatures} from "../Signatures.sol";

/// @title Signatures that say the same in other bytes, say nothing, or make the precompile answer zero
/// @dev Of the escrow's rows here both kinds; each verb's own file refuses them for what others carry.
contract MalleabilityTest is Signatures {
    uint256 private constant LOWER_HALF = CURVE_ORDER / 2;

    function setUp() public override {
        super.setUp();
        prepay(alice.addr, agent.addr, 10e6);
        setMandate(alice.addr, agent.addr, 1e6, 50e6, START + 90 days);
        warp(30 days);
    }

    /// @dev Any r and s are somebody's signature, and that somebody the payee names as its delegate: so that nothing but
    /// the height of s can be what is refused.
    function test_refuses_the_other_signature_of_a_charge_that_says_the_same() public {
        bytes32 r = bytes32(alice.publicKeyX);
        address somebody = ecrecover(chargeDigest(alice.addr, agent.addr, 1e6), 27, r, bytes32(LOWER_HALF + 1));
        assertNotEq(somebody, address(0));
        vm.prank(agent.addr);
        escrow.authorize(somebody);

        assertChargesNothing(agent.addr, abi.encodePacked(alice.addr, uint96(1e6), r, LOWER_HALF + 1), BAD_SIGNATURE);
        uint256 low = CURVE_ORDER - (LOWER_HALF + 1);
        (IPrepaymentEscrow.RowResult result,) =
            chargeOne(agent.addr, abi.encodePacked(alice.addr, uint96(1e6), r, low | 1 << 255));
        assertResult(result, PAID);
    }

    /// @dev The greatest s that is taken, and the one above it.
    function test_the_limit_of_s_is_half_the_order_to_the_unit() public {
        bytes32 r = bytes32(alice.publicKeyX);
        bytes32 digest_ = voucherDigest(alice.addr, agent.addr, 1e6);
        vm.startPrank(alice.addr);
        escrow.authorize(ecrecover(digest_, 27, r, bytes32(LOWER_HALF)));
        escrow.authorize(ecrecover(digest_, 27, r, bytes32(LOWER_HALF + 1)));
        vm.stopPrank();
        assertClaimsNothing(agent.addr, abi.encodePacked(alice.addr, uint96(1e6), r, LOWER_HALF + 1), BAD_SIGNATURE);
        (IPrepaymentEscrow.RowResult result,) =
            claimOne(agent.addr, abi.encodePacked(alice.addr, uint96(1e6), r, LOWER_HALF));
        assertResult(result, PAID);
    }

    function test_refuses_the_other_parity() public {
        bytes memory rows = row(alice, agent.addr, 1e6);
        rows[64] ^= 0x80;
        assertClaimsNothing(agent.addr, rows, BAD_SIGNATURE);
        rows = chargeRow(alice.addr, agent, 1e6);
        rows[64] ^= 0x80;
        assertChargesNothing(agent.addr, rows, BAD_SIGNATURE);
    }

    /// @dev r of zero, of the order, above it, and no point's; s of zero: all of them recover nobody.
    function test_refuses_whatever_makes_the_precompile_answer_zero() public {
        uint256[5] memory rs = [0, CURVE_ORDER, type(uint256).max, FIELD_PRIME, 5];
        bytes32 digest_ = voucherDigest(alice.addr, agent.addr, 1e6);
        for (uint256 i = 0; i < rs.length; ++i) {
            assertEq(ecrecover(digest_, 27, bytes32(rs[i]), bytes32(uint256(1))), address(0), "recovers nobody");
            assertRefused(rs[i], 1);
            assertRefused(rs[i], 1 << 255 | 1);
        }
        assertRefused(alice.publicKeyX, 0);
        assertRefused(alice.publicKeyX, 1 << 255);
    }

    /// @dev Whatever stood in memory where the answer is looked for is nobody: not the first of the precompiles either.
    function test_a_failed_recovery_is_no_small_address() public {
        for (uint160 i = 1; i <= 10; ++i) {
            address payer = address(i);
            fund(alice.addr, 1e6);
            vm.prank(alice.addr);
            escrow.deposit(payer, agent.addr, 1e6);
            bytes memory unsigned = abi.encodePacked(payer, uint96(1e6), bytes32(0), bytes32(uint256(1)));
            assertClaimsNothing(agent.addr, unsigned, BAD_SIGNATURE);
            assertLane(payer, agent.addr, 1e6, 0);
        }
    }

    /// @dev Nobody's signature is nobody's delegate: the zero address cannot be made one.
    function test_the_zero_address_is_nobodys_delegate_payer_or_payee() public {
        vm.startPrank(alice.addr);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadSigner.selector, address(0)));
        escrow.authorize(address(0));
        vm.stopPrank();
        assertFalse(escrow.isSigner(alice.addr, address(0)));
        bytes memory unsigned = abi.encodePacked(address(0), uint96(1e6), bytes32(0), bytes32(0));
        assertClaimsNothing(agent.addr, unsigned, BAD_PAYER);
        assertChargesNothing(agent.addr, unsigned, BAD_PAYER);
        vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.BadPayee.selector, address(0)));
        escrow.charge(address(0), unsigned);
    }

    /// @dev An older v of 0 or 1, and any other that is neither 27 nor 28.
    function test_refuses_any_other_v_in_what_others_carry() public {
        bytes memory good = signature(alice, mandateDigest(alice.addr, relay.addr, 1, 1, 1, START + 90 days));
        bytes memory route = routeSignature(alice, address(0), sealingKey(alice), 0, START + 90 days);
        IRoutingTable.SealingKey memory key = sealingKey(alice);
        uint8[5] memory vs = [0, 1, 26, 29, 255];
        for (uint256 i = 0; i < vs.length; ++i) {
            (good[64], route[64]) = (bytes1(vs[i]), bytes1(vs[i]));
            vm.expectRevert(abi.encodeWithSelector(IPrepaymentEscrow.InvalidSignature.selector, alice.addr));
            escrow.setMandateBySignature(alice.addr, relay.addr, 1, 1, START + 90 days, good);
            vm.expectRevert(abi.encodeWithSelector(IRoutingTable.InvalidSignature.selector, alice.addr));
            table.setRouteBySignature(alice.addr, address(0), key, START + 90 days, route);
        }
    }

    function testFuzz_refuses_any_signature_but_the_payers(uint256 r, uint256 vs) public {
        assertRefused(r, vs);
    }

    function assertRefused(uint256 r, uint256 vs) private {
        bytes memory rows = abi.encodePacked(alice.addr, uint96(1e6), r, vs);
        assertClaimsNothing(agent.addr, rows, BAD_SIGNATURE);
        assertChargesNothing(agent.addr, rows, BAD_SIGNATURE);
    }
}
