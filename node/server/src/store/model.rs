//! The books against a plain model: random sequences of arrivals, duplicates, statements, acknowledgements, expiry and
//! crashes. Every stored number is compared, after whatever reads the books; between arrivals it is not, so that some of
//! them wait in the journal. Laws 8, 9 and 11 in one place.

mod trial;

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256};
use minus_bindings::Amount;
use minus_protocol::{Carriage, MeterLine, Tariff, add_relay, reserve, total};
use proptest::prelude::*;

use super::{
    arrivals::{Arrival, Stored},
    packets::Relay,
};
use crate::agent::lane::Lane;

const OPERATOR: Address = Address::repeat_byte(0xa0);
const RELAY: Relay = Relay { node: Address::repeat_byte(0xb0), operator: Address::repeat_byte(0xb1) };
const RETENTION_S: u64 = 100;
/// Low enough to be reached by some sequences.
const CUSTOMER_CREDIT: u128 = 2_500;
/// The same.
const CUSTOMER_QUOTA: u64 = 12_000;

#[derive(Clone, Debug)]
enum Step {
    /// Packets at the same time.
    Arrive {
        offers: Vec<Offer>,
    },
    Wait {
        seconds: u64,
    },
    /// A new version of the tariff is in force.
    Reprice,
    Bill {
        wallet: usize,
        relayed: bool,
    },
    /// The wallet pays its last statement, this much too little.
    Pay {
        wallet: usize,
        less: u128,
    },
    Expire,
    /// The writer ends in the middle of things, and the store is opened again.
    Crash,
}

/// A packet at the door.
#[derive(Clone, Debug)]
enum Offer {
    /// Of so many bytes for a wallet, through the relay or not.
    New { wallet: usize, bytes: usize, relayed: bool },
    /// The one before it again.
    Again,
    /// As if somebody else paid for the wallet.
    Misbilled { wallet: usize },
}

fn offer() -> impl Strategy<Value = Offer> {
    prop_oneof![
        6 => (0..2_usize, 1..2_000_usize, any::<bool>())
            .prop_map(|(wallet, bytes, relayed)| Offer::New { wallet, bytes, relayed }),
        1 => Just(Offer::Again),
        1 => (0..2_usize).prop_map(|wallet| Offer::Misbilled { wallet }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(offer(), 1..9).prop_map(|offers| Step::Arrive { offers }),
        2 => (0..40_u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Reprice),
        4 => (0..2_usize, any::<bool>()).prop_map(|(wallet, relayed)| Step::Bill { wallet, relayed }),
        4 => (0..2_usize, prop_oneof![4 => Just(0_u128), 1 => 1..3_u128])
            .prop_map(|(wallet, less)| Step::Pay { wallet, less }),
        1 => Just(Step::Expire),
        1 => Just(Step::Crash),
    ]
}

struct Waiting {
    seq: u64,
    carriage: Carriage,
    reserve: Amount,
}

struct Bill {
    number: u64,
    wallet: usize,
    through: u64,
    lines: Vec<MeterLine>,
    relay: Option<Vec<MeterLine>>,
    paid: bool,
}

/// What the store should say.
struct Model {
    now_s: u64,
    tariffs: BTreeMap<u32, Tariff>,
    lane: Lane,
    waiting: [Vec<Waiting>; 2],
    last_seq: [u64; 2],
    lines: Vec<MeterLine>,
    owed: Vec<MeterLine>,
    /// Bytes times price that relays were promised, less what was paid since.
    fronted: u128,
    bills: Vec<Bill>,
    seen: BTreeSet<B256>,
    last_arrival: Option<Arrival>,
}

impl Model {
    fn version(&self) -> u32 {
        *self.tariffs.keys().next_back().expect("there is a first tariff")
    }

    fn reserved(&self) -> Amount {
        Amount::checked_sum(self.waiting.iter().flatten().map(|waiting| waiting.reserve)).expect("in range")
    }

    fn stored_bytes(&self) -> u64 {
        self.waiting.iter().flatten().map(|waiting| waiting.carriage.bytes).sum()
    }

    fn vouchered(&self) -> Amount {
        total(Amount::ZERO, &self.lines).expect("in range")
    }
}

impl Model {
    /// What one packet after another comes to.
    fn arrive(&mut self, wallets: &[Address; 2], payer: Address, arrival: &Arrival) -> Stored {
        let wallet = usize::from(arrival.wallet == wallets[1]);
        let bytes = u64::try_from(arrival.packet.len()).expect("short");
        let reserve = reserve(&arrival.tariff, bytes, RETENTION_S);
        let relayed = arrival.relay.is_some();
        let price = if relayed { u128::from(arrival.tariff.relay) } else { 0 };
        let fronted = self.fronted + u128::from(bytes) * price;
        if self.seen.contains(&arrival.id) {
            return Stored::Duplicate;
        } else if arrival.payer != payer {
            return Stored::NotEntrusted;
        } else if !self.lane.covers(self.vouchered(), &[self.reserved(), reserve]) {
            return Stored::Spent;
        } else if self.stored_bytes() + bytes > CUSTOMER_QUOTA {
            return Stored::OverQuota;
        } else if relayed && fronted > CUSTOMER_CREDIT << 30 {
            return Stored::OverCredit;
        }
        let version = arrival.tariff_version;
        let carriage = Carriage { bytes, stored_at: arrival.now_s, tariff_version: version, relayed_in: relayed };
        self.last_seq[wallet] += 1;
        let seq = self.last_seq[wallet];
        self.fronted = fronted;
        self.waiting[wallet].push(Waiting { seq, carriage, reserve });
        self.seen.insert(arrival.id);
        if relayed {
            add_relay(&mut self.owed, |_| Some(arrival.tariff), version, bytes).expect("in range");
        }
        Stored::New { seq }
    }
}
