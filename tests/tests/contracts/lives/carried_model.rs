//! The notebook's page of words given: delegates, mandates and orders, by the payer itself or carried by others.

use alloy::primitives::Address;

use super::escrow_model::{Model, Refused};
use crate::calls::{NOTICE_S, OPEN};

/// What a signature is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Delegate { signer: Address, authorized: bool },
    Mandate { payee: Address, daily: u128, cap: u128 },
    Revocation { payee: Address },
    Order { payer: Address, payee: Address, amount: u128, permit: Option<u128> },
}

/// A deed of `whose`, as `signer` signed it. A permit inside is signed by the same, with this nonce of the token's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    pub(super) whose: Address,
    pub(super) signer: Address,
    pub(super) nonce: u128,
    pub(super) valid_until: u64,
    pub(super) deed: Deed,
}

impl Model {
    pub(super) fn carry(&mut self, carried: &Carried) -> Result<(), Refused> {
        let Carried { whose, signer, nonce, valid_until, deed } = *carried;
        if self.now > valid_until {
            return Err(Refused::SignatureExpired);
        }
        let genuine = nonce == self.nonce(whose);
        let own = signer == whose && genuine;
        if whose == OPEN || !own && !self.wallet_accepts(whose, signer, genuine) {
            return Err(Refused::InvalidSignature);
        }
        match deed {
            Deed::Delegate { signer, authorized } => self.set_delegate(whose, signer, authorized),
            Deed::Mandate { payee, daily, cap } => self.set_mandate(whose, payee, daily, cap, valid_until),
            Deed::Revocation { payee } => {
                self.revoke_mandate(whose, payee);
                Ok(())
            }
            Deed::Order { payer, payee, amount, permit } => self.attempt(|model| {
                model.void_signatures(whose);
                if let Some(nonce) = permit {
                    model.permit(whose, signer, nonce, amount, valid_until);
                }
                model.deposit(whose, &[(payer, payee, amount)])
            }),
        }
    }

    pub(super) fn void_signatures(&mut self, whose: Address) {
        *self.nonces.entry(whose).or_default() += 1;
    }

    /// Sets the allowance if the permit holds; does nothing if not.
    pub(super) fn permit(&mut self, owner: Address, signer: Address, nonce: u128, amount: u128, deadline: u64) -> bool {
        let used = self.permits.entry(owner).or_default();
        let holds = owner == signer && *used == nonce && self.now <= deadline;
        if holds {
            *used += 1;
            self.allowances.insert(owner, amount);
        }
        holds
    }

    pub(super) fn set_delegate(&mut self, payer: Address, signer: Address, authorized: bool) -> Result<(), Refused> {
        if signer == OPEN || signer == payer {
            return Err(Refused::BadSigner);
        }
        let now = self.now;
        let mut delegate = self.delegate(payer, signer);
        match (authorized, delegate.authorized) {
            (true, true) => {}
            (true, false) => (delegate.authorized, delegate.authorized_at) = (true, now),
            (false, true) => (delegate.authorized, delegate.revoked_at) = (false, now),
            (false, false) => return Err(Refused::NotAuthorized),
        }
        self.delegates.insert((payer, signer), delegate);
        self.void_signatures(payer);
        Ok(())
    }

    pub(super) fn set_mandate(
        &mut self,
        payer: Address,
        payee: Address,
        daily: u128,
        cap: u128,
        until: u64,
    ) -> Result<(), Refused> {
        if payee == OPEN || payee == payer {
            return Err(Refused::BadLane);
        }
        if daily == 0 || cap == 0 {
            return Err(Refused::ZeroAmount);
        }
        if self.now > until {
            return Err(Refused::MandateOver);
        }
        let mut mandate = self.mandate(payer, payee);
        let (old_daily, old_cap) = mandate.caps();
        let reduced = daily < old_daily || cap < old_cap || until < mandate.until;
        if mandate.is_in_force(self.now) && reduced {
            return Err(Refused::MandateReduced);
        }
        mandate.give(self.now, daily, cap, until);
        self.mandates.insert((payer, payee), mandate);
        self.void_signatures(payer);
        Ok(())
    }

    pub(super) fn revoke_mandate(&mut self, payer: Address, payee: Address) {
        let notice_ends = self.now + NOTICE_S;
        let mandate = self.mandates.entry((payer, payee)).or_default();
        mandate.until = mandate.until.min(notice_ends);
        self.void_signatures(payer);
    }
}
