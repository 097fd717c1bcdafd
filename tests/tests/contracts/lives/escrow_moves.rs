//! One step at a time, of the escrow and of its notebook: money in and out, and what a payer says by transaction.

use alloy::primitives::U256;
use minus_bindings::{IPrepaymentEscrow, PrepaymentEscrow};
use minus_tests::evm::{Contract, WalletAnswer};
use proptest::prelude::*;

use super::escrow::Pair;
use super::escrow_model::{Part, Word};
use super::escrow_steps::Operation;
use super::outcome::{Seen, same};
use crate::calls::{authorize, deposit, permit, revoke, revoke_mandate, set_mandate, thaw, u96, withdraw};

impl Pair {
    pub(super) fn apply(&mut self, operation: &Operation, seen: &mut Seen) -> Result<(), TestCaseError> {
        match operation {
            Operation::Deposit { .. } | Operation::DepositWithPermit { .. } | Operation::DepositMany { .. } => {
                self.deposit(operation, seen)
            }
            Operation::Claim { .. }
            | Operation::Settle { .. }
            | Operation::ClaimFromContracts { .. }
            | Operation::Charge { .. } => self.batch(operation, seen),
            Operation::Sign { whose, signer, deed, seconds, ahead } => {
                self.sign(*whose, *signer, deed, *seconds, *ahead);
                Ok(())
            }
            Operation::Carry { back } => self.carry(*back, seen),
            Operation::CarryPermit { back } => self.carry_permit(*back, seen),
            Operation::Tell { word } => {
                let answer = match word {
                    Word::OwnersSignature => WalletAnswer::OwnersSignature,
                    Word::Yes => WalletAnswer::Yes,
                    Word::No => WalletAnswer::Failure,
                };
                self.world.tell(self.wallet, answer);
                self.model.wallets.insert(self.wallet, (self.people[0].address(), *word));
                Ok(())
            }
            Operation::Warp { seconds } => {
                self.world.warp(*seconds);
                self.model.now += seconds;
                Ok(())
            }
            by_payer => self.act(by_payer, seen),
        }
    }

    /// What a payer does by transaction, with its money at rest or with its word.
    fn act(&mut self, operation: &Operation, seen: &mut Seen) -> Result<(), TestCaseError> {
        match *operation {
            Operation::Approve { owner, amount } => {
                self.world.approve(&self.people[owner], amount);
                self.model.allowances.insert(self.address(owner), amount);
                Ok(())
            }
            Operation::Thaw { payer, payee, amount } => {
                let payee = self.address(payee);
                let ours = self.model.thaw(self.address(payer), payee, amount);
                let theirs = self.world.call(&self.people[payer], Contract::Escrow, thaw(payee, amount));
                same(ours, theirs.map(|_| ()), seen)
            }
            Operation::Withdraw { payer, payee, to } => {
                let (payee, to) = (self.address(payee), self.address(to));
                let ours = self.model.withdraw(self.address(payer), payee, to);
                if ours.is_ok() {
                    seen.insert("withdrawn".to_owned());
                }
                let theirs = self.world.call(&self.people[payer], Contract::Escrow, withdraw(payee, to));
                same(ours, theirs.map(|receipt| receipt.value.to::<u128>()), seen)
            }
            Operation::SetDelegate { payer, signer, authorized } => {
                let signer = self.address(signer);
                let ours = self.model.set_delegate(self.address(payer), signer, authorized);
                let by = &self.people[payer];
                let theirs = match authorized {
                    true => self.world.call(by, Contract::Escrow, authorize(signer)).map(|_| ()),
                    false => self.world.call(by, Contract::Escrow, revoke(signer)).map(|_| ()),
                };
                same(ours, theirs, seen)
            }
            Operation::SetMandate { payer, payee, daily, cap, until } => {
                let (whose, payee) = (self.address(payer), self.address(payee));
                // Counted from a second ago, so that some are over before they begin.
                let until = self.model.now - 1 + until;
                let raised = self.model.mandate(whose, payee).is_in_force(self.model.now);
                let ours = self.model.set_mandate(whose, payee, daily, cap, until);
                if raised && ours.is_ok() {
                    seen.insert("a mandate was raised".to_owned());
                }
                let call = set_mandate(payee, daily, cap, until);
                let theirs = self.world.call(&self.people[payer], Contract::Escrow, call);
                same(ours, theirs.map(|_| ()), seen)
            }
            Operation::RevokeMandate { payer, payee } => {
                let payee = self.address(payee);
                self.model.revoke_mandate(self.address(payer), payee);
                self.world.call(&self.people[payer], Contract::Escrow, revoke_mandate(payee)).unwrap();
                Ok(())
            }
            Operation::VoidSignatures { by } => {
                self.model.void_signatures(self.address(by));
                let call = PrepaymentEscrow::voidSignaturesCall {};
                self.world.call(&self.people[by], Contract::Escrow, call).unwrap();
                Ok(())
            }
            _ => unreachable!("{operation:?} is not a payer's alone"),
        }
    }

    fn deposit(&mut self, operation: &Operation, seen: &mut Seen) -> Result<(), TestCaseError> {
        let (ours, theirs, word) = match operation {
            Operation::Deposit { from, payer, payee, amount } => {
                let (payer, payee) = (self.address(*payer), self.address(*payee));
                let ours = self.model.deposit(self.address(*from), &[(payer, payee, *amount)]);
                let call = deposit(payer, payee, *amount);
                (ours, self.world.call(&self.people[*from], Contract::Escrow, call).map(|_| ()), "deposited")
            }
            Operation::DepositWithPermit { from, payer, payee, amount, holds } => {
                let (owner, payer, payee) = (self.address(*from), self.address(*payer), self.address(*payee));
                let deadline = self.model.now;
                let nonce = self.model.permits.get(&owner).copied().unwrap_or_default() + u128::from(!*holds);
                let ours = self.model.attempt(|model| {
                    model.permit(owner, owner, nonce, *amount, deadline);
                    model.deposit(owner, &[(payer, payee, *amount)])
                });
                let permit = permit(&self.world, &self.people[*from], owner, *amount, nonce, deadline);
                let call = PrepaymentEscrow::depositWithPermitCall {
                    payer,
                    payee,
                    amount: u96(*amount),
                    deadline: U256::from(deadline),
                    v: permit.v,
                    r: permit.r,
                    s: permit.s,
                };
                let theirs = self.world.call(&self.people[*from], Contract::Escrow, call).map(|_| ());
                (ours, theirs, if *holds { "deposited with a permit" } else { "deposited" })
            }
            Operation::DepositMany { from, parts } => {
                let parts = self.parts(parts);
                let ours = self.model.deposit(self.address(*from), &parts);
                let part =
                    |&(payer, payee, amount): &_| IPrepaymentEscrow::Deposit { payer, payee, amount: u96(amount) };
                let call = PrepaymentEscrow::depositManyCall { deposits: parts.iter().map(part).collect() };
                (ours, self.world.call(&self.people[*from], Contract::Escrow, call).map(|_| ()), "deposited several")
            }
            _ => unreachable!("{operation:?} is no deposit"),
        };
        if ours.is_ok() {
            seen.insert(word.to_owned());
        }
        same(ours, theirs, seen)
    }

    fn parts(&self, parts: &[(usize, usize, u128)]) -> Vec<Part> {
        parts.iter().map(|(payer, payee, amount)| (self.address(*payer), self.address(*payee), *amount)).collect()
    }
}
