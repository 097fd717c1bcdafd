// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.35;

import {IPrepaymentEscrow} from "../../../contracts/src/interfaces/IPrepaymentEscrow.sol";
import {MoneyHandler} from "./MoneyHandler.sol";

/// @title What payers say about delegates, mandates and deposits: themselves, or signed for anyone to carry
/// @dev A word is said by transaction at once, or signed and carried: now, later, twice, by anyone, too late.
abstract contract WordHandler is MoneyHandler {
    enum Kind {
        Delegation,
        Mandate,
        Revocation,
        Order
    }

    struct Word {
        Kind kind;
        uint256 from;
        /// @dev The signer of a delegation, the payee of the others.
        uint256 about;
        /// @dev The payer of an order's lane.
        uint256 payer;
        bool authorized;
        uint96 amount;
        uint96 accrualCap;
        uint256 nonce;
        uint64 validUntil;
        bool genuine;
        bytes signature;
    }

    Word[] private words;

    // ---------------------------------------------------------------------------------------------- by transaction

    function authorize(uint256 seed) external {
        say(anyWord(dice(seed), Kind.Delegation, true));
    }

    function revoke(uint256 seed) external {
        say(anyWord(dice(seed), Kind.Delegation, false));
    }

    function setMandate(uint256 seed) external {
        say(anyWord(dice(seed), Kind.Mandate, false));
    }

    function revokeMandate(uint256 seed) external {
        say(anyWord(dice(seed), Kind.Revocation, false));
    }

    function voidSignatures(uint256 seed) external {
        uint256 x = roll(dice(seed), PAYERS);
        vm.prank(payer(x));
        escrow.voidSignatures();
        ++told[x];
        ++done["voided"];
    }

    // ------------------------------------------------------------------------------------------------ by signature

    /// @dev Signed and carried at once, or left lying.
    function signWord(uint256 seed) external {
        Dice memory dice_ = dice(seed);
        Word memory word = anyWord(dice_, Kind(roll(dice_, 4)), oneIn(dice_, 2));
        word.nonce = told[word.from];
        if (oneIn(dice_, 16)) word.nonce += 1;
        uint256 signer = word.from == WALLET || oneIn(dice_, 12) ? anyKey(dice_) : word.from;
        word.genuine = signer == word.from;
        word.signature = sign(signer, digest(address(escrow), structHash(word)));
        uint256 flaw = roll(dice_, 48);
        if (flaw < 3) word.genuine = false;
        if (flaw == 0) word.signature = malleated(word.signature);
        if (flaw == 1) word.signature = abi.encodePacked(word.signature, uint8(0));
        if (flaw == 2) word.signature = "";
        words.push(word);
        if (!oneIn(dice_, 4)) carry(dice_, word);
    }

    function carryAgain(uint256 seed) external {
        if (words.length == 0) return;
        Dice memory dice_ = dice(seed);
        uint256 age = oneIn(dice_, 2) ? roll(dice_, min(words.length, 4)) : roll(dice_, words.length);
        carry(dice_, words[words.length - 1 - age]);
    }

    function carry(Dice memory dice_, Word memory word) private {
        bytes4 expected = 0;
        bool agreed = word.genuine && word.nonce == told[word.from];
        if (word.from == WALLET) agreed = agrees();
        if (block.timestamp > word.validUntil) expected = IPrepaymentEscrow.SignatureExpired.selector;
        else if (!agreed) expected = IPrepaymentEscrow.InvalidSignature.selector;
        else expected = refusal(word);

        if (attempt(payer(roll(dice_, PAYERS)), address(escrow), carried(dice_, word), expected)) {
            heed(word);
            ++done["carried"];
        }
    }

    function carried(Dice memory dice_, Word memory word) private returns (bytes memory) {
        (address from, address about) = (payer(word.from), aboutOf(word));
        if (word.kind == Kind.Delegation) {
            return abi.encodeCall(
                escrow.setDelegateBySignature, (from, about, word.authorized, word.validUntil, word.signature)
            );
        }
        if (word.kind == Kind.Mandate) {
            return abi.encodeCall(
                escrow.setMandateBySignature,
                (from, about, word.amount, word.accrualCap, word.validUntil, word.signature)
            );
        }
        if (word.kind == Kind.Revocation) {
            return abi.encodeCall(escrow.revokeMandateBySignature, (from, about, word.validUntil, word.signature));
        }
        // The allowance is there already, or comes with a permit.
        IPrepaymentEscrow.PermitSignature memory permit_;
        allow(word.from, word.amount);
        if (word.from != WALLET && oneIn(dice_, 2)) {
            vm.prank(from);
            token.approve(address(escrow), 0);
            bytes32 digest_ = permitDigest(from, address(escrow), word.amount, token.nonces(from), word.validUntil);
            (permit_.v, permit_.r, permit_.s) = vm.sign(keys[word.from], digest_);
        }
        return abi.encodeCall(escrow.depositBySignature, (orderOf(word), word.signature, permit_));
    }

    // --------------------------------------------------------------------------------------------------- the words

    function anyWord(Dice memory dice_, Kind kind, bool authorized) private view returns (Word memory word) {
        (word.kind, word.authorized) = (kind, authorized);
        (word.from, word.about) = anyLane(dice_);
        word.validUntil = to64(block.timestamp - 1 + between(dice_, 0, 3 days));
        if (kind == Kind.Delegation) {
            word.about = roll(dice_, 16);
            // Nobody, anybody; mostly the two keys.
            word.about = word.about == 0 ? NOBODY : word.about < SIGNERS ? word.about : 5 + word.about % 2;
            if (!authorized) {
                for (uint256 i = 0; i < 8 && !delegates[word.from][word.about].authorized; ++i) {
                    (word.from, word.about) = (roll(dice_, PAYERS), roll(dice_, SIGNERS));
                }
            }
        } else if (kind == Kind.Mandate) {
            ModelMandate storage mandate = mandates[word.from][word.about];
            word.amount = anyCap(dice_, 10e6);
            word.accrualCap = anyCap(dice_, 30e6);
            word.validUntil = to64(block.timestamp - 1 days + between(dice_, 0, 40 days));
            // Raised, or left as it is.
            if (inForce(word.from, word.about) && !oneIn(dice_, 4)) {
                word.amount = to96(min(mandate.dailyCap + (oneIn(dice_, 2) ? 0 : word.amount), type(uint96).max));
                word.accrualCap = to96(min(mandate.accrualCap + word.accrualCap, type(uint96).max));
                if (word.validUntil < mandate.validUntil) word.validUntil = to64(mandate.validUntil);
            }
        } else if (kind == Kind.Order) {
            word.payer = oneIn(dice_, 16) ? NOBODY : word.from;
            if (oneIn(dice_, 4)) word.payer = roll(dice_, PAYERS);
            word.amount = to96(anyAmount(dice_));
        }
    }

    function anyCap(Dice memory dice_, uint256 most) private pure returns (uint96) {
        uint256 face = roll(dice_, 16);
        if (face == 0) return 0;
        if (face == 1) return type(uint96).max;
        return face < 4 ? to96(face) : to96(between(dice_, 1, most));
    }

    function structHash(Word memory word) private view returns (bytes32) {
        (address from, address about) = (payer(word.from), aboutOf(word));
        if (word.kind == Kind.Delegation) {
            return keccak256(abi.encode(DELEGATION_TYPEHASH, from, about, word.authorized, word.nonce, word.validUntil));
        }
        if (word.kind == Kind.Mandate) {
            bytes32 mandate = keccak256(
                "Mandate(address payer,address payee,uint96 dailyCap,uint96 accrualCap,uint256 nonce,uint64 validUntil)"
            );
            return
                keccak256(abi.encode(mandate, from, about, word.amount, word.accrualCap, word.nonce, word.validUntil));
        }
        if (word.kind == Kind.Revocation) {
            bytes32 revocation =
                keccak256("MandateRevocation(address payer,address payee,uint256 nonce,uint64 validUntil)");
            return keccak256(abi.encode(revocation, from, about, word.nonce, word.validUntil));
        }
        bytes32 order = keccak256(
            "DepositOrder(address from,address payer,address payee,uint96 amount,uint256 nonce,uint64 validUntil)"
        );
        return keccak256(abi.encode(order, from, payer(word.payer), about, word.amount, word.nonce, word.validUntil));
    }

    function orderOf(Word memory word) private view returns (IPrepaymentEscrow.DepositOrder memory) {
        return IPrepaymentEscrow.DepositOrder({
            from: payer(word.from),
            payer: payer(word.payer),
            payee: aboutOf(word),
            amount: word.amount,
            validUntil: word.validUntil
        });
    }

    function aboutOf(Word memory word) private view returns (address) {
        return word.kind == Kind.Delegation ? payer(word.about) : payee(word.about);
    }

    // ------------------------------------------------------------------------------------------- what should come of it

    /// @dev Said by transaction; an order to deposit is only ever signed.
    function say(Word memory word) private {
        address about = aboutOf(word);
        bytes memory call_;
        if (word.kind == Kind.Delegation) {
            call_ = word.authorized ? abi.encodeCall(escrow.authorize, (about)) : abi.encodeCall(escrow.revoke, (about));
        } else if (word.kind == Kind.Mandate) {
            call_ = abi.encodeCall(escrow.setMandate, (about, word.amount, word.accrualCap, word.validUntil));
        } else {
            call_ = abi.encodeCall(escrow.revokeMandate, (about));
        }
        if (attempt(payer(word.from), address(escrow), call_, refusal(word))) heed(word);
    }

    function refusal(Word memory word) private view returns (bytes4) {
        if (word.kind == Kind.Order) return depositError(word.payer, word.about, word.amount);
        if (word.kind == Kind.Delegation) {
            if (word.about == NOBODY || word.about == word.from) return IPrepaymentEscrow.BadSigner.selector;
            bool known = word.authorized || delegates[word.from][word.about].authorized;
            return known ? bytes4(0) : IPrepaymentEscrow.NotAuthorized.selector;
        }
        if (word.kind == Kind.Revocation) return 0;

        ModelMandate storage mandate = mandates[word.from][word.about];
        if (word.about == 0 || word.about == word.from + 1) return IPrepaymentEscrow.BadLane.selector;
        if (word.amount == 0 || word.accrualCap == 0) return IPrepaymentEscrow.ZeroAmount.selector;
        if (block.timestamp > word.validUntil) return IPrepaymentEscrow.MandateOver.selector;
        bool reduced = word.amount < mandate.dailyCap || word.accrualCap < mandate.accrualCap
            || word.validUntil < mandate.validUntil;
        bool refused_ = inForce(word.from, word.about) && reduced;
        return refused_ ? IPrepaymentEscrow.MandateReduced.selector : bytes4(0);
    }

    function heed(Word memory word) private {
        ++told[word.from];
        if (word.kind == Kind.Order) {
            filled(word.payer, word.about, word.amount);
            ++done["deposited by order"];
        } else if (word.kind == Kind.Delegation) {
            ModelDelegate storage delegate = delegates[word.from][word.about];
            if (!word.authorized) {
                (delegate.authorized, delegate.revokedAt) = (false, block.timestamp);
                ++done["delegate revoked"];
            } else if (!delegate.authorized) {
                (delegate.authorized, delegate.authorizedAt) = (true, block.timestamp);
                ++done["delegate authorized"];
            }
        } else if (word.kind == Kind.Revocation) {
            ModelMandate storage mandate = mandates[word.from][word.about];
            if (mandate.validUntil > block.timestamp + NOTICE) {
                mandate.validUntil = block.timestamp + NOTICE;
                ++done["mandate shortened"];
            }
        } else {
            give(word);
        }
    }

    function give(Word memory word) private {
        (uint256 x, uint256 y) = (word.from, word.about);
        ModelMandate storage mandate = mandates[x][y];
        if (inForce(x, y)) {
            ++done["mandate raised"];
        } else {
            did(mandate.validUntil == 0, "mandate given", "mandate given anew");
            mandate.past = allowed(x, y);
            delete mandate.log;
        }
        mandate.log.push(MandateEvent(block.timestamp, mandate.accrualCap, word.amount, 0));
        (mandate.dailyCap, mandate.accrualCap) = (word.amount, word.accrualCap);
        mandate.validUntil = word.validUntil;
    }
}
