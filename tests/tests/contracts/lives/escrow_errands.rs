//! What is signed for others to carry: put into a pocket, handed in some time later, and perhaps again.

#![expect(non_snake_case, reason = "fields of typed data are named as they are signed")]

use alloy::primitives::U256;
use minus_bindings::{Delegation, DepositOrder, Mandate, MandateRevocation, SettlementToken};
use minus_tests::evm::Contract;
use proptest::prelude::*;

use super::carried_model::{self, Carried};
use super::escrow::{Pair, Signed};
use super::escrow_steps::Deed;
use super::outcome::{Seen, same};
use crate::calls::{
    delegation_by_signature, mandate_by_signature, no_permit, order_by_signature, permit, revocation_by_signature, u96,
    u256,
};

impl Pair {
    pub(super) fn sign(&mut self, whose: usize, signer: usize, deed: &Deed, seconds: u64, ahead: bool) {
        let signer_key = &self.people[signer];
        let whose = self.address(whose);
        let valid_until = self.model.now + seconds;
        let mut permit_signature = no_permit();
        let deed = match *deed {
            Deed::Delegate { signer, authorized } => {
                carried_model::Deed::Delegate { signer: self.address(signer), authorized }
            }
            Deed::Mandate { payee, daily, cap } => {
                carried_model::Deed::Mandate { payee: self.address(payee), daily, cap }
            }
            Deed::Revocation { payee } => carried_model::Deed::Revocation { payee: self.address(payee) },
            Deed::Order { payer, payee, amount, with_permit } => {
                let nonce = self.model.permits.get(&whose).copied().unwrap_or_default();
                if with_permit {
                    permit_signature = permit(&self.world, signer_key, whose, amount, nonce, valid_until);
                }
                let (payer, payee) = (self.address(payer), self.address(payee));
                carried_model::Deed::Order { payer, payee, amount, permit: with_permit.then_some(nonce) }
            }
        };
        let nonce = self.model.nonce(whose) + u128::from(ahead);
        let carried = Carried { whose, signer: signer_key.address(), nonce, valid_until, deed };
        self.pocket.push(Signed { carried, permit: permit_signature });
    }

    pub(super) fn carry(&mut self, back: usize, seen: &mut Seen) -> Result<(), TestCaseError> {
        let Some(Signed { carried, permit }) = self.pocket.iter().rev().nth(back) else { return Ok(()) };
        let Carried { whose, nonce, valid_until, deed, .. } = *carried;
        let by = self.people.iter().find(|person| person.address() == carried.signer).unwrap();
        let (payer, nonce, validUntil) = (whose, u256(nonce), valid_until);
        let world = &mut self.world;
        let (theirs, word) = match deed {
            carried_model::Deed::Delegate { signer, authorized } => {
                let message = Delegation { payer, signer, authorized, nonce, validUntil };
                let call = delegation_by_signature(world, by, &message);
                (world.call(by, Contract::Escrow, call).map(|_| ()), "delegate")
            }
            carried_model::Deed::Mandate { payee, daily, cap } => {
                let (dailyCap, accrualCap) = (u96(daily), u96(cap));
                let message = Mandate { payer, payee, dailyCap, accrualCap, nonce, validUntil };
                let call = mandate_by_signature(world, by, &message);
                (world.call(by, Contract::Escrow, call).map(|_| ()), "mandate")
            }
            carried_model::Deed::Revocation { payee } => {
                let message = MandateRevocation { payer, payee, nonce, validUntil };
                let call = revocation_by_signature(world, by, &message);
                (world.call(by, Contract::Escrow, call).map(|_| ()), "revocation")
            }
            carried_model::Deed::Order { payer, payee, amount, permit: nonce_of_permit } => {
                let message = DepositOrder { from: whose, payer, payee, amount: u96(amount), nonce, validUntil };
                let call = order_by_signature(world, by, &message, permit.clone());
                let word = if nonce_of_permit.is_some() { "order with permit" } else { "order" };
                (world.call(by, Contract::Escrow, call).map(|_| ()), word)
            }
        };
        let ours = self.model.carry(carried);
        if ours.is_ok() {
            seen.insert(format!("deed carried: {word}"));
            if whose == self.wallet {
                seen.insert("a wallet's deed was carried".to_owned());
            }
        }
        same(ours, theirs, seen)
    }

    pub(super) fn carry_permit(&mut self, back: usize, seen: &mut Seen) -> Result<(), TestCaseError> {
        let Some(Signed { carried, permit }) = self.pocket.iter().rev().nth(back) else { return Ok(()) };
        let carried_model::Deed::Order { amount, permit: Some(nonce), .. } = carried.deed else { return Ok(()) };
        let call = SettlementToken::permitCall {
            owner: carried.whose,
            spender: self.model.escrow,
            value: u256(amount),
            deadline: U256::from(carried.valid_until),
            v: permit.v,
            r: permit.r,
            s: permit.s,
        };
        let ours = self.model.permit(carried.whose, carried.signer, nonce, amount, carried.valid_until);
        if ours {
            seen.insert("a permit was carried alone".to_owned());
        }
        prop_assert_eq!(self.world.call(&self.people[0], Contract::Token, call).is_ok(), ours);
        Ok(())
    }
}
