//! The escrow once more, as a person would keep it in a notebook: what [`sequences`](crate::sequences) compares the
//! contract with after every step.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use minus_bindings::RowResult;

use crate::calls::{NOTICE_S, OPEN};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) deposit: u128,
    pub(crate) paid: u128,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Thaw {
    pub(crate) amount: u128,
    pub(crate) ends_at: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delegate {
    pub(crate) authorized_at: u64,
    pub(crate) revoked_at: u64,
    pub(crate) authorized: bool,
}

/// One row of a claim, with who really signed it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) payer: Address,
    pub(crate) signer: Address,
    pub(crate) cumulative: u128,
}

/// Why the notebook does not take an entry; the words are those of the contract's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    ZeroAmount,
    BadLane,
    InsufficientBalance,
    ThawAboveDeposit,
    NothingThawing,
    NoticeRunning,
    BadSigner,
    NotAuthorized,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// By payer and payee; the payee of the open balance is nobody.
    pub(crate) lanes: BTreeMap<(Address, Address), Lane>,
    pub(crate) thaws: BTreeMap<(Address, Address), Thaw>,
    pub(crate) delegates: BTreeMap<(Address, Address), Delegate>,
    pub(crate) tokens: BTreeMap<Address, u128>,
    pub(crate) now: u64,
}

impl Model {
    pub(crate) fn lane(&self, payer: Address, payee: Address) -> Lane {
        self.lanes.get(&(payer, payee)).copied().unwrap_or_default()
    }

    pub(crate) fn thaw_of(&self, payer: Address, payee: Address) -> Thaw {
        self.thaws.get(&(payer, payee)).copied().unwrap_or_default()
    }

    pub(crate) fn delegate(&self, payer: Address, signer: Address) -> Delegate {
        self.delegates.get(&(payer, signer)).copied().unwrap_or_default()
    }

    pub(crate) fn is_signer(&self, payer: Address, signer: Address) -> bool {
        let delegate = self.delegate(payer, signer);
        signer == payer || delegate.authorized || delegate.revoked_at != 0 && self.now < delegate.revoked_at + NOTICE_S
    }

    /// Law 1: what the escrow must hold.
    pub(crate) fn held(&self) -> u128 {
        self.lanes.values().map(|lane| lane.deposit).sum()
    }

    pub(crate) fn deposit(
        &mut self,
        from: Address,
        payer: Address,
        payee: Address,
        amount: u128,
    ) -> Result<(), Refused> {
        let tokens = self.tokens.entry(from).or_default();
        if amount == 0 {
            return Err(Refused::ZeroAmount);
        }
        if payer == payee {
            return Err(Refused::BadLane);
        }
        *tokens = tokens.checked_sub(amount).ok_or(Refused::InsufficientBalance)?;
        self.lanes.entry((payer, payee)).or_default().deposit += amount;
        Ok(())
    }

    /// The result of each row, with what it paid.
    pub(crate) fn claim(&mut self, payee: Address, rows: &[Row]) -> Vec<(RowResult, u128)> {
        let results: Vec<_> = rows.iter().map(|row| self.claim_row(payee, row)).collect();
        let total: u128 = results.iter().map(|(_, paid)| paid).sum();
        self.lanes.entry((payee, OPEN)).or_default().deposit += total;
        results
    }

    fn claim_row(&mut self, payee: Address, row: &Row) -> (RowResult, u128) {
        if row.payer == payee {
            return (RowResult::BadPayer, 0);
        }
        if !self.is_signer(row.payer, row.signer) {
            return (RowResult::BadSignature, 0);
        }
        let due = row.cumulative.saturating_sub(self.lane(row.payer, payee).paid);
        if due == 0 {
            return (RowResult::NothingNew, 0);
        }
        let from_lane = self.lane(row.payer, payee).deposit.min(due);
        let from_open = self.lane(row.payer, OPEN).deposit.min(due - from_lane);
        let paid = from_lane + from_open;
        let lane = self.lanes.entry((row.payer, payee)).or_default();
        lane.deposit -= from_lane;
        lane.paid += paid;
        self.lanes.entry((row.payer, OPEN)).or_default().deposit -= from_open;
        match paid {
            0 => (RowResult::Unfunded, 0),
            _ if paid == due => (RowResult::Paid, paid),
            _ => (RowResult::PartlyPaid, paid),
        }
    }

    pub(crate) fn thaw(&mut self, payer: Address, payee: Address, amount: u128) -> Result<(), Refused> {
        if amount > self.lane(payer, payee).deposit {
            return Err(Refused::ThawAboveDeposit);
        }
        let ends_at = if amount == 0 { 0 } else { self.now + NOTICE_S };
        self.thaws.insert((payer, payee), Thaw { amount, ends_at });
        Ok(())
    }

    pub(crate) fn withdraw(&mut self, payer: Address, payee: Address) -> Result<u128, Refused> {
        let thaw = self.thaw_of(payer, payee);
        if thaw.amount == 0 {
            return Err(Refused::NothingThawing);
        }
        if self.now < thaw.ends_at {
            return Err(Refused::NoticeRunning);
        }
        let lane = self.lanes.entry((payer, payee)).or_default();
        let amount = thaw.amount.min(lane.deposit);
        lane.deposit -= amount;
        self.thaws.remove(&(payer, payee));
        *self.tokens.entry(payer).or_default() += amount;
        Ok(amount)
    }

    pub(crate) fn authorize(&mut self, payer: Address, signer: Address) -> Result<(), Refused> {
        if signer == payer {
            return Err(Refused::BadSigner);
        }
        let delegate = self.delegates.entry((payer, signer)).or_default();
        if !delegate.authorized {
            (delegate.authorized, delegate.authorized_at) = (true, self.now);
        }
        Ok(())
    }

    pub(crate) fn revoke(&mut self, payer: Address, signer: Address) -> Result<(), Refused> {
        if signer == payer {
            return Err(Refused::BadSigner);
        }
        let delegate = self.delegates.entry((payer, signer)).or_default();
        if !delegate.authorized {
            return Err(Refused::NotAuthorized);
        }
        (delegate.authorized, delegate.revoked_at) = (false, self.now);
        Ok(())
    }
}
