//! The escrow and its notebook, side by side.

use std::cell::RefCell;

use alloy::primitives::Address;
use minus_bindings::{IPrepaymentEscrow, PrepaymentEscrow, SettlementToken};
use minus_tests::evm::{Actor, Contract, World};
use proptest::prelude::*;

use super::carried_model::Carried;
use super::escrow_model::{Model, Word};
use super::escrow_steps::{KEYS, PEOPLE, WALLET, lives};
use super::outcome::{Seen, assert_happened};
use crate::calls::{OPEN, mandate_of, nonce_of};
use crate::random;

/// How many; together they take some seconds.
const LIVES: u32 = 16;

/// What each key starts with: two deposits or so. And of how much of it the escrow may take: more than that.
const TOKENS: u128 = 600;
const ALLOWANCE: u128 = 6_000;

/// Every way in which a step can end, and what shall have gone through at least once.
const OUTCOMES: [&str; 41] = [
    // Rows.
    "Paid",
    "PartlyPaid",
    "NothingNew",
    "Unfunded",
    "BadSignature",
    "BadPayer",
    "NoMandate",
    "NothingAccrued",
    // Refusals.
    "ZeroAmount",
    "BadLane",
    "InsufficientAllowance",
    "InsufficientBalance",
    "BadPayee",
    "NoBatch",
    "MalformedRows",
    "ThawAboveDeposit",
    "NothingThawing",
    "NoticeRunning",
    "BadRecipient",
    "BadSigner",
    "NotAuthorized",
    "SignatureExpired",
    "InvalidSignature",
    "MandateOver",
    "MandateReduced",
    // What went through.
    "a permit was carried alone",
    "a wallet's deed was carried",
    "deed carried: delegate",
    "deed carried: mandate",
    "deed carried: order",
    "deed carried: order with permit",
    "deed carried: revocation",
    "deposited",
    "deposited several",
    "deposited with a permit",
    "a mandate was raised",
    "paid by a charge",
    "paid by a claim",
    "paid by a settlement",
    "paid by a wallet",
    "withdrawn",
];

/// What was signed so far: the message in both forms.
pub(super) struct Signed {
    pub(super) carried: Carried,
    pub(super) permit: IPrepaymentEscrow::PermitSignature,
}

/// Both, with the people in them.
pub(super) struct Pair {
    pub(super) world: World,
    pub(super) model: Model,
    pub(super) people: Vec<Actor>,
    pub(super) wallet: Address,
    pub(super) pocket: Vec<Signed>,
}

impl Pair {
    fn new() -> Self {
        let mut world = World::new();
        let people: Vec<_> = (0..KEYS).map(|number| Actor::named(&format!("person {number}"))).collect();
        let escrow = world.address(Contract::Escrow);
        let mut model = Model { now: world.now(), escrow, ..Model::default() };
        for person in &people {
            world.fund(person, TOKENS);
            world.approve(person, ALLOWANCE);
            model.tokens.insert(person.address(), TOKENS);
            model.allowances.insert(person.address(), ALLOWANCE);
        }
        let wallet = world.wallet(&people[0]);
        model.wallets.insert(wallet, (people[0].address(), Word::OwnersSignature));
        Self { world, model, people, wallet, pocket: vec![] }
    }

    /// Keys, then the wallet, then nobody, then the escrow.
    pub(super) fn address(&self, person: usize) -> Address {
        match person {
            WALLET => self.wallet,
            PEOPLE => OPEN,
            key if key < KEYS => self.people[key].address(),
            _ => self.model.escrow,
        }
    }

    /// Every number that the contracts keep, and the laws about their sums.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        for payer in 0..PEOPLE {
            let payer = self.address(payer);
            for payee in 0..=PEOPLE {
                self.compare_lane(payer, self.address(payee))?;
            }
            for other in (0..PEOPLE).map(|other| self.address(other)).collect::<Vec<_>>() {
                self.compare_delegate(payer, other)?;
                self.compare_mandate(payer, other)?;
            }
            prop_assert_eq!(
                nonce_of(&mut self.world, payer).to::<u128>(),
                self.model.nonce(payer),
                "nonce of {}",
                payer
            );
            let tokens = self.model.tokens.get(&payer).copied().unwrap_or_default();
            prop_assert_eq!(self.world.tokens(payer), tokens, "tokens of {}", payer);
            let call = SettlementToken::allowanceCall { owner: payer, spender: self.model.escrow };
            let allowance = self.model.allowances.get(&payer).copied().unwrap_or_default();
            prop_assert_eq!(self.world.view(Contract::Token, call).to::<u128>(), allowance);
        }
        prop_assert_eq!(self.world.tokens(self.model.escrow), self.model.held(), "law 1");
        Ok(())
    }

    fn compare_lane(&mut self, payer: Address, payee: Address) -> Result<(), TestCaseError> {
        let theirs = self.world.view(Contract::Escrow, PrepaymentEscrow::laneCall { payer, payee });
        let (lane, thaw) = (self.model.lane(payer, payee), self.model.thaw_of(payer, payee));
        let numbers = (theirs._0.deposit.to::<u128>(), theirs._0.paid.to::<u128>());
        prop_assert_eq!(numbers, (lane.deposit, lane.paid), "lane {} to {}", payer, payee);
        let numbers = (theirs._1.amount.to::<u128>(), theirs._1.endsAt);
        prop_assert_eq!(numbers, (thaw.amount, thaw.ends_at), "thaw {} to {}", payer, payee);
        if payee == OPEN {
            let thawing = thaw.amount.min(lane.deposit);
            prop_assert_eq!(self.world.open_balance(payer), (lane.deposit, thawing), "open balance of {}", payer);
        }
        Ok(())
    }

    fn compare_delegate(&mut self, payer: Address, signer: Address) -> Result<(), TestCaseError> {
        let theirs = self.world.view(Contract::Escrow, PrepaymentEscrow::delegateCall { payer, signer });
        let ours = self.model.delegate(payer, signer);
        let fields = (theirs.authorizedAt, theirs.revokedAt, theirs.authorized);
        prop_assert_eq!(fields, (ours.authorized_at, ours.revoked_at, ours.authorized));
        let call = PrepaymentEscrow::isSignerCall { payer, signer };
        prop_assert_eq!(self.world.view(Contract::Escrow, call), self.model.is_signer(payer, signer));
        Ok(())
    }

    fn compare_mandate(&mut self, payer: Address, payee: Address) -> Result<(), TestCaseError> {
        let (theirs, chargeable) = mandate_of(&mut self.world, payer, payee);
        let ours = self.model.mandate(payer, payee);
        let caps = (theirs.dailyCap.to::<u128>(), theirs.accrualCap.to::<u128>());
        prop_assert_eq!((caps, theirs.validUntil), (ours.caps(), ours.until), "mandate {} to {}", payer, payee);
        prop_assert_eq!((theirs.accrued, theirs.accruedAt), ours.at_last_entry(), "mandate {} to {}", payer, payee);
        prop_assert_eq!(chargeable, ours.chargeable(self.model.now), "mandate {} to {}", payer, payee);
        // What a node will reckon with, from the same stored numbers.
        prop_assert_eq!(theirs.chargeable(self.model.now).base_units(), chargeable);
        Ok(())
    }
}

#[test]
fn the_escrow_lives_as_its_model() {
    let seen = RefCell::new(Seen::new());
    random::check(LIVES, &lives(), |operations| {
        let mut pair = Pair::new();
        for operation in &operations {
            pair.apply(operation, &mut seen.borrow_mut())?;
            pair.compare()?;
        }
        Ok(())
    });
    assert_happened(&seen.borrow(), &OUTCOMES);
}
