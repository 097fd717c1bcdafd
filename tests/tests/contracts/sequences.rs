//! Random lives of an escrow: the contract and a [`model`](crate::model) of it take the same steps, and after each one
//! everything that can be asked is compared, and the sums of laws 1 and 6 hold.

use std::cell::RefCell;
use std::collections::BTreeSet;

use alloy::primitives::Address;
use alloy::sol_types::SolError;
use minus_bindings::{PrepaymentEscrow, SettlementToken, SignedVoucher};
use minus_tests::evm::{Actor, Contract, Refusal, World, units};
use proptest::prelude::*;

use crate::calls::{NOTICE_S, OPEN, authorize, deposit, revoke, thaw, withdraw};
use crate::model::{Model, Refused, Row};
use crate::random;

/// Lives, and steps in each. Every step asks the contract some forty questions; together they take seconds.
const LIVES: u32 = 24;
const STEPS: std::ops::Range<usize> = 40..80;

/// So few that their paths cross all the time.
const PEOPLE: usize = 3;

/// What each of them starts with, and the size of what they do: small, so that lanes run dry.
const TOKENS: u128 = 600;
const AMOUNT_MAX: u128 = 300;

/// Every way in which a step can end, which the lives together must have seen.
const OUTCOMES: [&str; 16] = [
    "BadLane",
    "BadPayer",
    "BadSignature",
    "BadSigner",
    "InsufficientBalance",
    "NotAuthorized",
    "NothingNew",
    "NothingThawing",
    "NoticeRunning",
    "Paid",
    "PartlyPaid",
    "ThawAboveDeposit",
    "Unfunded",
    "ZeroAmount",
    "done",
    "withdrawn",
];

/// One step. People are numbers below [`PEOPLE`]; as a payee, [`PEOPLE`] itself is nobody.
#[derive(Clone, Debug)]
enum Operation {
    Deposit { from: usize, payer: usize, payee: usize, amount: u128 },
    Claim { payee: usize, rows: Vec<(usize, usize, u128)> },
    Thaw { payer: usize, payee: usize, amount: u128 },
    Withdraw { payer: usize, payee: usize },
    Authorize { payer: usize, signer: usize },
    Revoke { payer: usize, signer: usize },
    Warp { seconds: u64 },
}

fn operations() -> impl Strategy<Value = Operation> {
    let person = 0..PEOPLE;
    let payee = 0..=PEOPLE;
    let amount = prop_oneof![1 => Just(0), 9 => 1..=AMOUNT_MAX];
    let part = prop_oneof![1 => Just(0), 9 => 1..=AMOUNT_MAX / 4];
    let signer = |payer: usize| prop_oneof![3 => Just(payer), 2 => 0..PEOPLE];
    let row = (person.clone(), 0..=3 * AMOUNT_MAX)
        .prop_flat_map(move |(payer, cumulative)| (Just(payer), signer(payer), Just(cumulative)));
    prop_oneof![
        4 => (person.clone(), person.clone(), payee.clone(), amount)
            .prop_map(|(from, payer, payee, amount)| Operation::Deposit { from, payer, payee, amount }),
        6 => (person.clone(), prop::collection::vec(row, 1..6))
            .prop_map(|(payee, rows)| Operation::Claim { payee, rows }),
        4 => (person.clone(), payee.clone(), part)
            .prop_map(|(payer, payee, amount)| Operation::Thaw { payer, payee, amount }),
        4 => (person.clone(), payee).prop_map(|(payer, payee)| Operation::Withdraw { payer, payee }),
        3 => (person.clone(), person.clone()).prop_map(|(payer, signer)| Operation::Authorize { payer, signer }),
        2 => (person.clone(), person).prop_map(|(payer, signer)| Operation::Revoke { payer, signer }),
        4 => prop_oneof![Just(1), Just(NOTICE_S - 1), Just(NOTICE_S), 0..2 * NOTICE_S]
            .prop_map(|seconds| Operation::Warp { seconds }),
    ]
}

/// A notice kept to the second, or missed by one: three steps that chance alone would hardly put in a row.
fn notices() -> impl Strategy<Value = Vec<Operation>> {
    let seconds = prop_oneof![Just(NOTICE_S - 1), Just(NOTICE_S)];
    (0..PEOPLE, 0..=PEOPLE, 1..=AMOUNT_MAX / 4, seconds).prop_map(|(payer, payee, amount, seconds)| {
        vec![
            Operation::Thaw { payer, payee, amount },
            Operation::Warp { seconds },
            Operation::Withdraw { payer, payee },
        ]
    })
}

fn lives() -> impl Strategy<Value = Vec<Operation>> {
    let steps = prop_oneof![15 => operations().prop_map(|operation| vec![operation]), 1 => notices()];
    prop::collection::vec(steps, STEPS).prop_map(|steps| steps.concat())
}

/// The contract and the notebook, side by side.
struct Pair {
    world: World,
    model: Model,
    people: Vec<Actor>,
}

impl Pair {
    fn new() -> Self {
        let mut world = World::new();
        let people: Vec<_> = (0..PEOPLE).map(|number| Actor::named(&format!("person {number}"))).collect();
        let mut model = Model { now: world.now(), ..Model::default() };
        for person in &people {
            world.fund(person, TOKENS);
            world.approve(person, u128::from(u64::MAX));
            model.tokens.insert(person.address(), TOKENS);
        }
        Self { world, model, people }
    }

    fn address(&self, person: usize) -> Address {
        self.people.get(person).map_or(OPEN, Actor::address)
    }

    fn apply(&mut self, operation: &Operation, seen: &mut BTreeSet<String>) -> Result<(), TestCaseError> {
        match operation {
            Operation::Deposit { from, payer, payee, amount } => {
                let (payer, payee) = (self.address(*payer), self.address(*payee));
                let ours = self.model.deposit(self.address(*from), payer, payee, *amount);
                let theirs = self.world.call(&self.people[*from], Contract::Escrow, deposit(payer, payee, *amount));
                same_outcome(ours, theirs.map(|_| ()), seen)
            }
            Operation::Claim { payee, rows } => self.claim(*payee, rows, seen),
            Operation::Thaw { payer, payee, amount } => {
                let payee = self.address(*payee);
                let ours = self.model.thaw(self.address(*payer), payee, *amount);
                let theirs = self.world.call(&self.people[*payer], Contract::Escrow, thaw(payee, *amount));
                same_outcome(ours, theirs.map(|_| ()), seen)
            }
            Operation::Withdraw { payer, payee } => {
                let (to, payee) = (self.address(*payer), self.address(*payee));
                let ours = self.model.withdraw(to, payee);
                if ours.is_ok() {
                    seen.insert("withdrawn".to_owned());
                }
                let theirs = self.world.call(&self.people[*payer], Contract::Escrow, withdraw(payee, to));
                same_outcome(ours, theirs.map(|receipt| receipt.value.to::<u128>()), seen)
            }
            Operation::Authorize { payer, signer } => {
                let signer = self.address(*signer);
                let ours = self.model.authorize(self.address(*payer), signer);
                let theirs = self.world.call(&self.people[*payer], Contract::Escrow, authorize(signer));
                same_outcome(ours, theirs.map(|_| ()), seen)
            }
            Operation::Revoke { payer, signer } => {
                let signer = self.address(*signer);
                let ours = self.model.revoke(self.address(*payer), signer);
                let theirs = self.world.call(&self.people[*payer], Contract::Escrow, revoke(signer));
                same_outcome(ours, theirs.map(|_| ()), seen)
            }
            Operation::Warp { seconds } => {
                self.world.warp(*seconds);
                self.model.now += seconds;
                Ok(())
            }
        }
    }

    fn claim(
        &mut self,
        payee: usize,
        rows: &[(usize, usize, u128)],
        seen: &mut BTreeSet<String>,
    ) -> Result<(), TestCaseError> {
        let payee = self.address(payee);
        let domain = self.world.escrow_domain();
        let rows: Vec<Row> = rows
            .iter()
            .map(|(payer, signer, cumulative)| Row {
                payer: self.address(*payer),
                signer: self.address(*signer),
                cumulative: *cumulative,
            })
            .collect();
        let vouchers: Vec<SignedVoucher> = rows
            .iter()
            .map(|row| {
                let signer = self.people.iter().find(|person| person.address() == row.signer).unwrap();
                SignedVoucher::sign(row.payer, payee, units(row.cumulative), &domain, &signer.signer)
            })
            .collect();

        let ours = self.model.claim(payee, &rows);
        let theirs = self.world.claim(&self.people[0], payee, &vouchers).unwrap();

        seen.extend(ours.iter().map(|(result, _)| format!("{result:?}")));
        let results: Vec<_> = ours.iter().map(|(result, _)| *result).collect();
        prop_assert_eq!(&theirs.results, &results);
        let payments: Vec<_> = rows
            .iter()
            .zip(&ours)
            .filter(|(_, (_, paid))| *paid != 0)
            .map(|(row, (_, paid))| (row.payer, units(*paid)))
            .collect();
        prop_assert_eq!(theirs.payments, payments);
        Ok(())
    }

    /// Every number that the contracts keep, and the laws about their sums.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        for payer in 0..PEOPLE {
            let payer = self.address(payer);
            for payee in 0..=PEOPLE {
                self.compare_lane(payer, self.address(payee))?;
            }
            for signer in 0..PEOPLE {
                self.compare_delegate(payer, self.address(signer))?;
            }
            let tokens = self.model.tokens.get(&payer).copied().unwrap_or_default();
            prop_assert_eq!(self.world.tokens(payer), tokens);
        }
        let escrow = self.world.address(Contract::Escrow);
        prop_assert_eq!(self.world.tokens(escrow), self.model.held(), "law 1");
        let supply: u128 = self.world.view(Contract::Token, SettlementToken::totalSupplyCall {}).to();
        let backing = SettlementToken::balanceOfCall { account: self.world.address(Contract::Token) };
        let reserve: u128 = self.world.view(Contract::Reserve, backing).to();
        prop_assert_eq!(supply, reserve, "law 6");
        Ok(())
    }

    fn compare_lane(&mut self, payer: Address, payee: Address) -> Result<(), TestCaseError> {
        let theirs = self.world.view(Contract::Escrow, PrepaymentEscrow::laneCall { payer, payee });
        let (lane, thaw) = (self.model.lane(payer, payee), self.model.thaw_of(payer, payee));
        let numbers = (theirs._0.deposit.to::<u128>(), theirs._0.paid.to::<u128>());
        prop_assert_eq!(numbers, (lane.deposit, lane.paid), "lane {} to {}", payer, payee);
        let numbers = (theirs._1.amount.to::<u128>(), theirs._1.endsAt);
        prop_assert_eq!(numbers, (thaw.amount, thaw.ends_at), "thaw {} to {}", payer, payee);
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
}

/// Both went through with the same answer, or both refused for the same reason.
fn same_outcome<T: PartialEq + std::fmt::Debug>(
    ours: Result<T, Refused>,
    theirs: Result<T, Refusal>,
    seen: &mut BTreeSet<String>,
) -> Result<(), TestCaseError> {
    seen.insert(ours.as_ref().err().map_or("done".to_owned(), |refused| format!("{refused:?}")));
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
        (Err(ours), Err(theirs)) => {
            prop_assert_eq!(theirs.data.get(..4), Some(&selector(ours)[..]), "{:?} or {:?}", ours, theirs);
        }
        (ours, theirs) => prop_assert!(false, "the model says {ours:?}, the contract {theirs:?}"),
    }
    Ok(())
}

fn selector(refused: Refused) -> [u8; 4] {
    match refused {
        Refused::ZeroAmount => PrepaymentEscrow::ZeroAmount::SELECTOR,
        Refused::BadLane => PrepaymentEscrow::BadLane::SELECTOR,
        Refused::InsufficientBalance => SettlementToken::ERC20InsufficientBalance::SELECTOR,
        Refused::ThawAboveDeposit => PrepaymentEscrow::ThawAboveDeposit::SELECTOR,
        Refused::NothingThawing => PrepaymentEscrow::NothingThawing::SELECTOR,
        Refused::NoticeRunning => PrepaymentEscrow::NoticeRunning::SELECTOR,
        Refused::BadSigner => PrepaymentEscrow::BadSigner::SELECTOR,
        Refused::NotAuthorized => PrepaymentEscrow::NotAuthorized::SELECTOR,
    }
}

#[test]
fn the_escrow_lives_as_its_model() {
    let seen = RefCell::new(BTreeSet::new());
    random::check(LIVES, &lives(), |operations| {
        let mut pair = Pair::new();
        for operation in &operations {
            pair.apply(operation, &mut seen.borrow_mut())?;
            pair.compare()?;
        }
        Ok(())
    });
    // Agreement says little about what never happened.
    let happened: Vec<_> = seen.borrow().iter().cloned().collect();
    assert_eq!(happened, OUTCOMES);
}
