//! The payers of one run, one of each kind, and what was handed in for them and acknowledged.

use std::collections::BTreeSet;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::Eip712Domain;
use minus_bindings::{Amount, SignedCharge, SignedVoucher};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

/// What is special about a payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Enough in its lane.
    Plain,
    /// Its lane is under notice, and its vouchers are dust.
    Thawing,
    /// Its vouchers are dust and signed by a delegate that was revoked.
    Revoked,
    /// It signs more than it has.
    Underfunded,
    /// All it has is its open balance.
    Open,
    /// It is charged by a standing mandate.
    Mandated,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::Plain, Self::Thawing, Self::Revoked, Self::Underfunded, Self::Open, Self::Mandated];

    /// In its lane and in its open balance, base units.
    pub(super) const fn funds(self) -> (u128, u128) {
        match self {
            Self::Underfunded => (700_000, 300_000),
            Self::Open => (0, 20_000_000),
            _ => (20_000_000, 0),
        }
    }

    /// The most by which its total grows at a time.
    const fn step_max(self) -> u128 {
        match self {
            Self::Thawing | Self::Revoked => 9,
            Self::Mandated => 200_000,
            _ => 400_000,
        }
    }
}

/// What a mandate bears at all: three days of its cap, which the warp to the end of the notices brings.
pub(super) const CHARGED_MAX: u128 = 3_000_000;

/// One lane.
pub(super) struct Lane {
    pub(super) kind: Kind,
    pub(super) payer: PrivateKeySigner,
    pub(super) delegate: PrivateKeySigner,
    /// Every total that was handed in, acknowledged or not.
    pub(super) offered: BTreeSet<u128>,
    /// The largest that was acknowledged.
    pub(super) acknowledged: u128,
}

impl Lane {
    fn new(kind: Kind) -> Self {
        let (payer, delegate) = (PrivateKeySigner::random(), PrivateKeySigner::random());
        Self { kind, payer, delegate, offered: BTreeSet::new(), acknowledged: 0 }
    }

    /// What it can pay at all.
    pub(super) fn funds(&self) -> u128 {
        let (lane, open) = self.kind.funds();
        lane + open
    }

    /// What it must have paid in the end, at least.
    pub(super) fn due(&self) -> u128 {
        self.acknowledged.min(self.funds())
    }

    /// Might it have paid this much?
    pub(super) fn may_have_paid(&self, paid: u128) -> bool {
        let offered = |total: &u128| (*total).min(self.funds()) == paid;
        // A mandate bears a charge in parts, as it accrues.
        let in_parts = self.kind == Kind::Mandated && self.offered.last().is_some_and(|last| paid <= *last);
        paid == 0 || self.offered.iter().any(offered) || in_parts
    }

    /// The next total, or now and then an older one once more.
    fn next(&mut self, random: &mut StdRng) -> u128 {
        let last = self.offered.last().copied().unwrap_or(0);
        let next = last + random.random_range(1..=self.kind.step_max());
        let total = match self.offered.first() {
            Some(first) if random.random_bool(0.1) => *first,
            _ if self.kind == Kind::Mandated => next.min(CHARGED_MAX),
            _ => next,
        };
        self.offered.insert(total);
        total
    }
}

/// One operator, its gas keys, and those who pay it.
pub(super) struct Purse {
    pub(super) operator: PrivateKeySigner,
    pub(super) gas_keys: Vec<PrivateKeySigner>,
    pub(super) lanes: Vec<Lane>,
}

/// What goes over the wire, and what it is for: lane and total of each row.
pub(super) struct HandIn {
    pub(super) path: &'static str,
    pub(super) body: Value,
    pub(super) rows: Vec<(usize, u128)>,
}

impl Purse {
    /// With one gas key or two.
    pub(super) fn new(seed: u64) -> Self {
        let lanes = Kind::ALL.map(Lane::new).into();
        let gas_keys = (0..=seed % 2).map(|_| PrivateKeySigner::random()).collect();
        Self { operator: PrivateKeySigner::random(), gas_keys, lanes }
    }

    pub(super) fn payee(&self) -> Address {
        self.operator.address()
    }

    /// Some vouchers, or some charges.
    pub(super) fn hand_in(&mut self, random: &mut StdRng, domain: &Eip712Domain) -> HandIn {
        let count = random.random_range(1..=4);
        let charges = random.random_bool(0.2);
        let (mut rows, mut signed) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let index = random.random_range(0..self.lanes.len());
            let (payee, lane) = (self.operator.address(), &mut self.lanes[index]);
            if (lane.kind == Kind::Mandated) != charges {
                continue;
            }
            let units = lane.next(random);
            let total = Amount::from_base_units(units).unwrap();
            let payer = lane.payer.address();
            signed.push(match lane.kind {
                Kind::Mandated => json!(SignedCharge::sign(payer, payee, total, domain, &self.operator)),
                Kind::Revoked => json!(SignedVoucher::sign(payer, payee, total, domain, &lane.delegate)),
                _ => json!(SignedVoucher::sign(payer, payee, total, domain, &lane.payer)),
            });
            rows.push((index, units));
        }
        let path = if charges { "charges" } else { "vouchers" };
        HandIn { path, body: json!({ path: signed }), rows }
    }
}
