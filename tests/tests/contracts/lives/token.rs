//! The settlement token and the reserve behind it, and a ledger of both, side by side (law 6).

use std::cell::RefCell;
use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::{SolCall, SolError};
use minus_bindings::{Permit, SettlementToken, sign};
use minus_tests::evm::{Actor, Contract, TestReserve, World};
use proptest::prelude::*;

use super::outcome::{self, Seen, assert_happened, same};
use crate::calls::{u256, unwrap, wrap};
use crate::random;

const LIVES: u32 = 24;
const STEPS: std::ops::Range<usize> = 40..80;

/// Behind them come the token itself and nobody.
const PEOPLE: usize = 3;
const TOKEN: usize = PEOPLE;

const AMOUNT_MAX: u128 = 100;

/// Every way in which a step can end, and what shall have gone through at least once.
const OUTCOMES: [&str; 12] = [
    "ExpiredSignature",
    "InsufficientAllowance",
    "InsufficientBalance",
    "InvalidReceiver",
    "InvalidSigner",
    "InvalidSpender",
    "approved",
    "permitted",
    "redeemed",
    "transferred",
    "transferred for another",
    "wrapped",
];

/// One step; people are numbers.
#[derive(Clone, Debug)]
enum Operation {
    /// Reserve from nowhere, and how much of it the token may take.
    Mint {
        to: usize,
        amount: u128,
        allowed: u128,
    },
    Wrap {
        by: usize,
        to: usize,
        amount: u128,
    },
    Redeem {
        by: usize,
        to: usize,
        amount: u128,
    },
    Transfer {
        by: usize,
        to: usize,
        amount: u128,
    },
    TransferFrom {
        by: usize,
        from: usize,
        to: usize,
        amount: u128,
    },
    Approve {
        by: usize,
        spender: usize,
        amount: u128,
    },
    /// By `signer`, with a nonce so many too high, and a deadline so many seconds from now, or before.
    Permit {
        owner: usize,
        spender: usize,
        amount: u128,
        signer: usize,
        ahead: u128,
        late: bool,
    },
    Warp {
        seconds: u64,
    },
}

fn operations() -> impl Strategy<Value = Operation> {
    let person = || 0..PEOPLE;
    let amount = || 0..=AMOUNT_MAX;
    let to = || prop_oneof![12 => 0..PEOPLE, 1 => Just(TOKEN), 1 => Just(TOKEN + 1)];
    let signer = |owner: usize| prop_oneof![4 => Just(owner), 1 => 0..PEOPLE];
    let owner = person().prop_flat_map(move |owner| (Just(owner), signer(owner)));
    let ahead = prop_oneof![5 => Just(0), 1 => Just(1)];
    prop_oneof![
        2 => (person(), amount(), 0..2 * AMOUNT_MAX)
            .prop_map(|(to, amount, allowed)| Operation::Mint { to, amount, allowed }),
        4 => (person(), to(), amount()).prop_map(|(by, to, amount)| Operation::Wrap { by, to, amount }),
        3 => (person(), to(), amount()).prop_map(|(by, to, amount)| Operation::Redeem { by, to, amount }),
        3 => (person(), to(), amount()).prop_map(|(by, to, amount)| Operation::Transfer { by, to, amount }),
        3 => (person(), person(), to(), amount())
            .prop_map(|(by, from, to, amount)| Operation::TransferFrom { by, from, to, amount }),
        2 => (person(), to(), amount()).prop_map(|(by, spender, amount)| Operation::Approve { by, spender, amount }),
        3 => (owner, to(), amount(), ahead, prop::bool::weighted(0.2)).prop_map(
            |((owner, signer), spender, amount, ahead, late)| {
                Operation::Permit { owner, spender, amount, signer, ahead, late }
            }
        ),
        1 => (0..1_000_u64).prop_map(|seconds| Operation::Warp { seconds }),
    ]
}

/// Why the ledger does not take an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    InsufficientBalance,
    InsufficientAllowance,
    InvalidReceiver,
    InvalidSpender,
    ExpiredSignature,
    InvalidSigner,
}

impl outcome::Refused for Refused {
    fn selector(self) -> [u8; 4] {
        match self {
            Self::InsufficientBalance => SettlementToken::ERC20InsufficientBalance::SELECTOR,
            Self::InsufficientAllowance => SettlementToken::ERC20InsufficientAllowance::SELECTOR,
            Self::InvalidReceiver => SettlementToken::ERC20InvalidReceiver::SELECTOR,
            Self::InvalidSpender => SettlementToken::ERC20InvalidSpender::SELECTOR,
            Self::ExpiredSignature => SettlementToken::ERC2612ExpiredSignature::SELECTOR,
            Self::InvalidSigner => SettlementToken::ERC2612InvalidSigner::SELECTOR,
        }
    }
}

/// Both assets: whose they are, and the reserve that people let the token take.
#[derive(Clone, Debug, Default)]
struct Ledger {
    token: Address,
    reserve: BTreeMap<Address, u128>,
    tokens: BTreeMap<Address, u128>,
    wrapping: BTreeMap<Address, u128>,
    allowances: BTreeMap<(Address, Address), u128>,
    permits: BTreeMap<Address, u128>,
}

type Accounts = BTreeMap<Address, u128>;

fn balance(accounts: &Accounts, of: Address) -> u128 {
    accounts.get(&of).copied().unwrap_or_default()
}

fn shift(accounts: &mut Accounts, from: Address, to: Address, amount: u128) -> Result<(), Refused> {
    let left = balance(accounts, from).checked_sub(amount).ok_or(Refused::InsufficientBalance)?;
    accounts.insert(from, left);
    *accounts.entry(to).or_default() += amount;
    Ok(())
}

impl Ledger {
    /// Neither into the token itself nor to nobody.
    fn check_receiver(&self, to: Address) -> Result<(), Refused> {
        if to == self.token || to == Address::ZERO { Err(Refused::InvalidReceiver) } else { Ok(()) }
    }

    fn wrap(&mut self, by: Address, to: Address, amount: u128) -> Result<(), Refused> {
        if to == self.token {
            return Err(Refused::InvalidReceiver);
        }
        let allowed = balance(&self.wrapping, by).checked_sub(amount).ok_or(Refused::InsufficientAllowance)?;
        if balance(&self.reserve, by) < amount {
            return Err(Refused::InsufficientBalance);
        }
        self.check_receiver(to)?;
        self.wrapping.insert(by, allowed);
        shift(&mut self.reserve, by, self.token, amount)?;
        *self.tokens.entry(to).or_default() += amount;
        Ok(())
    }

    fn redeem(&mut self, by: Address, to: Address, amount: u128) -> Result<(), Refused> {
        if to == self.token {
            return Err(Refused::InvalidReceiver);
        }
        let left = balance(&self.tokens, by).checked_sub(amount).ok_or(Refused::InsufficientBalance)?;
        self.check_receiver(to)?;
        self.tokens.insert(by, left);
        shift(&mut self.reserve, self.token, to, amount)
    }

    fn transfer(&mut self, from: Address, to: Address, amount: u128) -> Result<(), Refused> {
        if to == Address::ZERO {
            return Err(Refused::InvalidReceiver);
        }
        shift(&mut self.tokens, from, to, amount)
    }

    fn transfer_from(&mut self, by: Address, from: Address, to: Address, amount: u128) -> Result<(), Refused> {
        let allowed = self.allowances.get(&(from, by)).copied().unwrap_or_default();
        let left = allowed.checked_sub(amount).ok_or(Refused::InsufficientAllowance)?;
        self.transfer(from, to, amount)?;
        self.allowances.insert((from, by), left);
        Ok(())
    }

    fn approve(&mut self, owner: Address, spender: Address, amount: u128) -> Result<(), Refused> {
        if spender == Address::ZERO {
            return Err(Refused::InvalidSpender);
        }
        self.allowances.insert((owner, spender), amount);
        Ok(())
    }
}

struct Pair {
    world: World,
    ledger: Ledger,
    people: Vec<Actor>,
}

impl Pair {
    fn new() -> Self {
        let world = World::new();
        let people = (0..PEOPLE).map(|number| Actor::named(&format!("person {number}"))).collect();
        let ledger = Ledger { token: world.address(Contract::Token), ..Ledger::default() };
        Self { world, ledger, people }
    }

    fn address(&self, person: usize) -> Address {
        match person {
            TOKEN => self.ledger.token,
            key => self.people.get(key).map_or(Address::ZERO, Actor::address),
        }
    }

    fn apply(&mut self, operation: &Operation, seen: &mut Seen) -> Result<(), TestCaseError> {
        match *operation {
            Operation::Mint { to, amount, allowed } => {
                let (by, account, spender) = (self.people[to].clone(), self.address(to), self.ledger.token);
                let mint = TestReserve::mintCall { account, amount: u256(amount) };
                self.world.call(&by, Contract::Reserve, mint).unwrap();
                let approve = SettlementToken::approveCall { spender, value: u256(allowed) };
                self.world.call(&by, Contract::Reserve, approve).unwrap();
                *self.ledger.reserve.entry(account).or_default() += amount;
                self.ledger.wrapping.insert(account, allowed);
                Ok(())
            }
            Operation::Wrap { by, to, amount } => {
                let to = self.address(to);
                let ours = self.ledger.wrap(self.address(by), to, amount);
                self.both(by, wrap(to, amount), ours, "wrapped", seen)
            }
            Operation::Redeem { by, to, amount } => {
                let to = self.address(to);
                let ours = self.ledger.redeem(self.address(by), to, amount);
                self.both(by, unwrap(to, amount), ours, "redeemed", seen)
            }
            Operation::Transfer { by, to, amount } => {
                let to = self.address(to);
                let ours = self.ledger.transfer(self.address(by), to, amount);
                let call = SettlementToken::transferCall { to, value: u256(amount) };
                self.both(by, call, ours, "transferred", seen)
            }
            Operation::TransferFrom { by, from, to, amount } => {
                let (from, to) = (self.address(from), self.address(to));
                let ours = self.ledger.transfer_from(self.address(by), from, to, amount);
                let call = SettlementToken::transferFromCall { from, to, value: u256(amount) };
                self.both(by, call, ours, "transferred for another", seen)
            }
            Operation::Approve { by, spender, amount } => {
                let spender = self.address(spender);
                let ours = self.ledger.approve(self.address(by), spender, amount);
                let call = SettlementToken::approveCall { spender, value: u256(amount) };
                self.both(by, call, ours, "approved", seen)
            }
            Operation::Permit { .. } => self.permit(operation, seen),
            Operation::Warp { seconds } => {
                self.world.warp(seconds);
                Ok(())
            }
        }
    }

    fn permit(&mut self, operation: &Operation, seen: &mut Seen) -> Result<(), TestCaseError> {
        let Operation::Permit { owner, spender, amount, signer, ahead, late } = *operation else {
            unreachable!("{operation:?} is no permit")
        };
        let by = &self.people[signer];
        let (owner, spender) = (self.address(owner), self.address(spender));
        let (nonce, now) = (balance(&self.ledger.permits, owner), self.world.now());
        let deadline = U256::from(if late { now - 1 } else { now });
        let message = Permit { owner, spender, value: u256(amount), nonce: u256(nonce + ahead), deadline };
        let signature = sign(&message, &self.world.token_domain(), &by.signer);
        let call = SettlementToken::permitCall {
            owner,
            spender,
            value: u256(amount),
            deadline,
            v: signature[64],
            r: B256::from_slice(&signature[..32]),
            s: B256::from_slice(&signature[32..64]),
        };
        let ours = if late {
            Err(Refused::ExpiredSignature)
        } else if by.address() != owner || ahead != 0 {
            Err(Refused::InvalidSigner)
        } else {
            self.ledger.approve(owner, spender, amount)
        };
        if ours.is_ok() {
            self.ledger.permits.insert(owner, nonce + 1);
        }
        self.both(0, call, ours, "permitted", seen)
    }

    fn both<C: SolCall>(
        &mut self,
        by: usize,
        call: C,
        ours: Result<(), Refused>,
        word: &str,
        seen: &mut Seen,
    ) -> Result<(), TestCaseError> {
        let theirs = self.world.call(&self.people[by], Contract::Token, call);
        if ours.is_ok() {
            seen.insert(word.to_owned());
        }
        same(ours, theirs.map(|_| ()), seen)
    }

    /// Every balance and allowance, and that each token has its reserve.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        for person in (0..=TOKEN).map(|person| self.address(person)).collect::<Vec<_>>() {
            let balance_of = SettlementToken::balanceOfCall { account: person };
            let reserve = self.world.view(Contract::Reserve, balance_of.clone());
            prop_assert_eq!(reserve, u256(balance(&self.ledger.reserve, person)), "reserve of {}", person);
            let tokens = self.world.view(Contract::Token, balance_of);
            prop_assert_eq!(tokens, u256(balance(&self.ledger.tokens, person)), "tokens of {}", person);
            let nonce = self.world.view(Contract::Token, SettlementToken::noncesCall { owner: person });
            prop_assert_eq!(nonce, u256(balance(&self.ledger.permits, person)), "permits of {}", person);
            for spender in (0..=TOKEN).map(|spender| self.address(spender)).collect::<Vec<_>>() {
                let call = SettlementToken::allowanceCall { owner: person, spender };
                let allowed = self.ledger.allowances.get(&(person, spender)).copied().unwrap_or_default();
                prop_assert_eq!(self.world.view(Contract::Token, call), u256(allowed));
            }
        }
        let supply = self.world.view(Contract::Token, SettlementToken::totalSupplyCall {});
        prop_assert_eq!(supply, u256(self.ledger.tokens.values().sum()));
        prop_assert_eq!(supply, u256(balance(&self.ledger.reserve, self.ledger.token)), "law 6");
        Ok(())
    }
}

#[test]
fn the_token_lives_as_its_ledger() {
    let seen = RefCell::new(Seen::new());
    random::check(LIVES, &prop::collection::vec(operations(), STEPS), |operations| {
        let mut pair = Pair::new();
        for operation in &operations {
            pair.apply(operation, &mut seen.borrow_mut())?;
            pair.compare()?;
        }
        Ok(())
    });
    assert_happened(&seen.borrow(), &OUTCOMES);
}
