//! The escrow once more, as a person would keep it in a notebook, with the part of the token that deposits use: who has
//! how much, and how much of it the escrow may take.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use alloy::sol_types::SolError;
use minus_bindings::{PrepaymentEscrow, RowResult, SettlementToken};

use super::mandate_model::Mandate;
use super::outcome;
use crate::calls::{NOTICE_S, OPEN};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) deposit: u128,
    pub(super) paid: u128,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Thaw {
    pub(super) amount: u128,
    pub(super) ends_at: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delegate {
    pub(super) authorized_at: u64,
    pub(super) revoked_at: u64,
    pub(super) authorized: bool,
}

/// One row of a batch, with who really signed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) payer: Address,
    pub(super) signer: Address,
    pub(super) cumulative: u128,
}

/// How a row ended, and what it paid.
pub(super) type Ended = (RowResult, u128);

/// A payer, a payee and an amount for their lane.
pub(super) type Part = (Address, Address, u128);

/// What a wallet that is a contract says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Yes to what its owner signed.
    OwnersSignature,
    /// Yes to everything.
    Yes,
    /// Anything else.
    No,
}

/// Why the notebook does not take an entry; the words are those of the contract's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    ZeroAmount,
    BadLane,
    InsufficientAllowance,
    InsufficientBalance,
    BadPayee,
    NoBatch,
    MalformedRows,
    ThawAboveDeposit,
    NothingThawing,
    NoticeRunning,
    BadRecipient,
    BadSigner,
    NotAuthorized,
    SignatureExpired,
    InvalidSignature,
    MandateOver,
    MandateReduced,
}

impl outcome::Refused for Refused {
    fn selector(self) -> [u8; 4] {
        match self {
            Self::ZeroAmount => PrepaymentEscrow::ZeroAmount::SELECTOR,
            Self::BadLane => PrepaymentEscrow::BadLane::SELECTOR,
            Self::InsufficientAllowance => SettlementToken::ERC20InsufficientAllowance::SELECTOR,
            Self::InsufficientBalance => SettlementToken::ERC20InsufficientBalance::SELECTOR,
            Self::BadPayee => PrepaymentEscrow::BadPayee::SELECTOR,
            Self::NoBatch => PrepaymentEscrow::NoBatch::SELECTOR,
            Self::MalformedRows => PrepaymentEscrow::MalformedRows::SELECTOR,
            Self::ThawAboveDeposit => PrepaymentEscrow::ThawAboveDeposit::SELECTOR,
            Self::NothingThawing => PrepaymentEscrow::NothingThawing::SELECTOR,
            Self::NoticeRunning => PrepaymentEscrow::NoticeRunning::SELECTOR,
            Self::BadRecipient => PrepaymentEscrow::BadRecipient::SELECTOR,
            Self::BadSigner => PrepaymentEscrow::BadSigner::SELECTOR,
            Self::NotAuthorized => PrepaymentEscrow::NotAuthorized::SELECTOR,
            Self::SignatureExpired => PrepaymentEscrow::SignatureExpired::SELECTOR,
            Self::InvalidSignature => PrepaymentEscrow::InvalidSignature::SELECTOR,
            Self::MandateOver => PrepaymentEscrow::MandateOver::SELECTOR,
            Self::MandateReduced => PrepaymentEscrow::MandateReduced::SELECTOR,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// Where it stands: nobody withdraws to there.
    pub(super) escrow: Address,
    /// By payer and payee; the payee of the open balance is nobody.
    pub(super) lanes: BTreeMap<(Address, Address), Lane>,
    pub(super) thaws: BTreeMap<(Address, Address), Thaw>,
    pub(super) delegates: BTreeMap<(Address, Address), Delegate>,
    pub(super) mandates: BTreeMap<(Address, Address), Mandate>,
    /// How many carried signatures were used or voided.
    pub(super) nonces: BTreeMap<Address, u128>,
    pub(super) tokens: BTreeMap<Address, u128>,
    /// What the escrow may take.
    pub(super) allowances: BTreeMap<Address, u128>,
    /// How many permits were used.
    pub(super) permits: BTreeMap<Address, u128>,
    /// Payers that are contracts: whose they are, and what they say.
    pub(super) wallets: BTreeMap<Address, (Address, Word)>,
    pub(super) now: u64,
}

impl Model {
    pub(super) fn lane(&self, payer: Address, payee: Address) -> Lane {
        self.lanes.get(&(payer, payee)).copied().unwrap_or_default()
    }

    pub(super) fn thaw_of(&self, payer: Address, payee: Address) -> Thaw {
        self.thaws.get(&(payer, payee)).copied().unwrap_or_default()
    }

    pub(super) fn delegate(&self, payer: Address, signer: Address) -> Delegate {
        self.delegates.get(&(payer, signer)).copied().unwrap_or_default()
    }

    pub(super) fn mandate(&self, payer: Address, payee: Address) -> Mandate {
        self.mandates.get(&(payer, payee)).cloned().unwrap_or_default()
    }

    pub(super) fn nonce(&self, signer: Address) -> u128 {
        self.nonces.get(&signer).copied().unwrap_or_default()
    }

    pub(super) fn is_signer(&self, payer: Address, signer: Address) -> bool {
        let delegate = self.delegate(payer, signer);
        signer == payer || delegate.authorized || delegate.revoked_at != 0 && self.now < delegate.revoked_at + NOTICE_S
    }

    /// Law 1: what the escrow must hold.
    pub(super) fn held(&self) -> u128 {
        self.lanes.values().map(|lane| lane.deposit).sum()
    }

    /// Does all of it, or none.
    pub(super) fn attempt<T>(&mut self, entry: impl FnOnce(&mut Self) -> Result<T, Refused>) -> Result<T, Refused> {
        let before = self.clone();
        entry(self).inspect_err(|_| *self = before)
    }

    // ---------------------------------------------------------------------------------------------- deposits

    pub(super) fn deposit(&mut self, from: Address, parts: &[Part]) -> Result<(), Refused> {
        self.attempt(|model| {
            if parts.is_empty() {
                return Err(Refused::ZeroAmount);
            }
            for (payer, payee, amount) in parts {
                if *amount == 0 {
                    return Err(Refused::ZeroAmount);
                }
                if *payer == OPEN || payer == payee {
                    return Err(Refused::BadLane);
                }
            }
            let sum = parts.iter().map(|(_, _, amount)| amount).sum();
            take(model.allowances.entry(from).or_default(), sum).ok_or(Refused::InsufficientAllowance)?;
            take(model.tokens.entry(from).or_default(), sum).ok_or(Refused::InsufficientBalance)?;
            for (payer, payee, amount) in parts {
                model.lanes.entry((*payer, *payee)).or_default().deposit += amount;
            }
            Ok(())
        })
    }

    // ------------------------------------------------------------------------------------------------- claims

    /// The result of each row, with what it paid.
    pub(super) fn claim(&mut self, payee: Address, rows: &[Row]) -> Result<Vec<Ended>, Refused> {
        check_batch(payee, rows)?;
        let ended: Vec<_> = rows
            .iter()
            .map(|row| match self.is_signer(row.payer, row.signer) {
                _ if row.payer == OPEN || row.payer == payee => (RowResult::BadPayer, 0),
                false => (RowResult::BadSignature, 0),
                true => self.pay(row.payer, payee, row.cumulative),
            })
            .collect();
        self.credit(payee, &ended);
        Ok(ended)
    }

    pub(super) fn settle(&mut self, batches: &[(Address, Vec<Row>)]) -> Result<Vec<Vec<Ended>>, Refused> {
        if batches.is_empty() {
            return Err(Refused::NoBatch);
        }
        self.attempt(|model| batches.iter().map(|(payee, rows)| model.claim(*payee, rows)).collect())
    }

    /// As a claim, but it is the payers that are asked.
    pub(super) fn claim_from_contracts(&mut self, payee: Address, rows: &[Row]) -> Result<Vec<Ended>, Refused> {
        if payee == OPEN {
            return Err(Refused::BadPayee);
        }
        if rows.is_empty() {
            return Err(Refused::NoBatch);
        }
        let ended: Vec<_> = rows
            .iter()
            .map(|row| match self.wallet_accepts(row.payer, row.signer, true) {
                _ if row.payer == OPEN || row.payer == payee => (RowResult::BadPayer, 0),
                false => (RowResult::BadSignature, 0),
                true => self.pay(row.payer, payee, row.cumulative),
            })
            .collect();
        self.credit(payee, &ended);
        Ok(ended)
    }

    /// Whether the wallet says that it signed what `signer` signed; `genuine`, unless that is not what it is asked.
    pub(super) fn wallet_accepts(&self, wallet: Address, signer: Address, genuine: bool) -> bool {
        match self.wallets.get(&wallet) {
            Some((owner, Word::OwnersSignature)) => genuine && *owner == signer,
            Some((_, Word::Yes)) => true,
            Some((_, Word::No)) | None => false,
        }
    }

    pub(super) fn charge(&mut self, payee: Address, rows: &[Row]) -> Result<Vec<Ended>, Refused> {
        check_batch(payee, rows)?;
        let ended: Vec<_> = rows.iter().map(|row| self.charge_row(payee, row)).collect();
        self.credit(payee, &ended);
        Ok(ended)
    }

    fn charge_row(&mut self, payee: Address, row: &Row) -> Ended {
        let refused = |result| (result, 0);
        if row.payer == OPEN || row.payer == payee {
            return refused(RowResult::BadPayer);
        }
        if !self.is_signer(payee, row.signer) {
            return refused(RowResult::BadSignature);
        }
        let paid = self.lane(row.payer, payee).paid;
        let mandate = self.mandate(row.payer, payee);
        if row.cumulative <= paid {
            return refused(RowResult::NothingNew);
        }
        if !mandate.is_in_force(self.now) {
            return refused(RowResult::NoMandate);
        }
        let chargeable = mandate.chargeable(self.now);
        if chargeable == 0 {
            return refused(RowResult::NothingAccrued);
        }
        let wanted = row.cumulative.min(paid + chargeable);
        let (result, amount) = self.pay(row.payer, payee, wanted);
        if amount == 0 {
            return refused(result);
        }
        let now = self.now;
        self.mandates.entry((row.payer, payee)).or_default().charge(now, amount);
        let whole = amount == row.cumulative - paid;
        (if whole { RowResult::Paid } else { RowResult::PartlyPaid }, amount)
    }

    /// From the lane, then from the open balance, what is there of the difference.
    fn pay(&mut self, payer: Address, payee: Address, cumulative: u128) -> Ended {
        let lane = self.lane(payer, payee);
        let due = cumulative.saturating_sub(lane.paid);
        if due == 0 {
            return (RowResult::NothingNew, 0);
        }
        let from_lane = lane.deposit.min(due);
        let from_open = self.lane(payer, OPEN).deposit.min(due - from_lane);
        let paid = from_lane + from_open;
        let entry = self.lanes.entry((payer, payee)).or_default();
        *entry = Lane { deposit: lane.deposit - from_lane, paid: lane.paid + paid };
        self.lanes.entry((payer, OPEN)).or_default().deposit -= from_open;
        match paid {
            0 => (RowResult::Unfunded, 0),
            _ if paid < due => (RowResult::PartlyPaid, paid),
            _ => (RowResult::Paid, paid),
        }
    }

    /// A batch credits its payee at its end: no row is paid out of another row of the same batch.
    fn credit(&mut self, payee: Address, ended: &[Ended]) {
        let total: u128 = ended.iter().map(|(_, paid)| paid).sum();
        self.lanes.entry((payee, OPEN)).or_default().deposit += total;
    }

    // ------------------------------------------------------------------------------------- thaw and withdraw

    pub(super) fn thaw(&mut self, payer: Address, payee: Address, amount: u128) -> Result<(), Refused> {
        if amount > self.lane(payer, payee).deposit {
            return Err(Refused::ThawAboveDeposit);
        }
        let ends_at = if amount == 0 { 0 } else { self.now + NOTICE_S };
        self.thaws.insert((payer, payee), Thaw { amount, ends_at });
        Ok(())
    }

    pub(super) fn withdraw(&mut self, payer: Address, payee: Address, to: Address) -> Result<u128, Refused> {
        if to == OPEN || to == self.escrow {
            return Err(Refused::BadRecipient);
        }
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
        *self.tokens.entry(to).or_default() += amount;
        Ok(amount)
    }
}

/// What concerns the batch as a whole.
fn check_batch(payee: Address, rows: &[Row]) -> Result<(), Refused> {
    if payee == OPEN {
        return Err(Refused::BadPayee);
    }
    if rows.is_empty() { Err(Refused::MalformedRows) } else { Ok(()) }
}

fn take(from: &mut u128, amount: u128) -> Option<()> {
    *from = from.checked_sub(amount)?;
    Some(())
}
