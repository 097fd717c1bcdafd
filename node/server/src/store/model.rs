//! The books against a plain model: random sequences of arrivals, duplicates, statements, acknowledgements and expiry.
//! After each step every stored number is compared. Laws 9 and 11 in one place.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    primitives::{Address, B256, keccak256},
    signers::local::PrivateKeySigner,
};
use futures_util::future::join_all;
use minus_bindings::{Amount, SignedVoucher, escrow_domain};
use minus_protocol::{Carriage, MeterLine, Refusal, Tariff, add_message, add_relay, due, reserve, total};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

use super::{
    Store, StoreError,
    arrivals::{self, Arrival, Stored},
    customers,
    lines::{self, Book},
    packets::{self, Relay},
    peers::{self, NewSession},
    statements::{self, Acknowledged, Acknowledgement, Issued},
    testing, vouchers,
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
    /// Packets at the same time, in one statement or through the writer's queue.
    Arrive {
        offers: Vec<Offer>,
        queued: bool,
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
        6 => (prop::collection::vec(offer(), 1..9), any::<bool>())
            .prop_map(|(offers, queued)| Step::Arrive { offers, queued }),
        2 => (0..40_u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Reprice),
        4 => (0..2_usize, any::<bool>()).prop_map(|(wallet, relayed)| Step::Bill { wallet, relayed }),
        4 => (0..2_usize, prop_oneof![4 => Just(0_u128), 1 => 1..3_u128])
            .prop_map(|(wallet, less)| Step::Pay { wallet, less }),
        1 => Just(Step::Expire),
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

struct Books {
    store: Store,
    payer: PrivateKeySigner,
    wallets: [Address; 2],
    model: Model,
    commands: u64,
}

/// Runs one write and gives its value.
macro_rules! write {
    ($books:expr, |$connection:ident| $work:expr) => {
        $books.store.writer().write(move |$connection| Box::pin(async move { $work })).await.expect("the store works")
    };
}

impl Books {
    async fn open(store: Store) -> Self {
        let payer = PrivateKeySigner::random();
        let wallets = [Address::repeat_byte(1), Address::repeat_byte(2)];
        let deposit = Amount::from_base_units(40_000).expect("small");
        let lane = Lane { deposit, ..Lane::default() };
        let model = Model {
            now_s: 1_000,
            tariffs: BTreeMap::from([(1, Tariff { delivery: 1 << 30, relay: 1 << 29, storing: 86_400 << 25 })]),
            lane,
            waiting: [Vec::new(), Vec::new()],
            last_seq: [0; 2],
            lines: Vec::new(),
            owed: Vec::new(),
            fronted: 0,
            bills: Vec::new(),
            seen: BTreeSet::new(),
            last_arrival: None,
        };
        let books = Self { store, payer, wallets, model, commands: 0 };
        let address = books.payer.address();
        for wallet in wallets {
            write!(books, |connection| customers::entrust(connection, wallet, address, Amount::ZERO, lane, 1).await);
        }
        let session = NewSession {
            command: B256::repeat_byte(9),
            now_s: 1,
            token_hash: B256::repeat_byte(8),
            relay: RELAY,
            expires_at: u64::MAX >> 1,
            base: Amount::ZERO,
        };
        write!(books, |connection| peers::open_session(connection, &session).await);
        books
    }

    async fn arrive(&mut self, offers: Vec<Offer>, queued: bool) {
        let arrivals: Vec<_> = offers.into_iter().map(|offer| self.arrival(offer)).collect();
        let stored = if queued {
            let writer = self.store.writer();
            let answers = join_all(arrivals.iter().map(|arrival| writer.arrive(arrival.clone()))).await;
            answers.into_iter().map(|answer| answer.expect("the store works")).collect()
        } else {
            let offered = arrivals.clone();
            write!(self, |connection| arrivals::store_many(connection, &offered).await)
        };
        for (arrival, stored) in arrivals.iter().zip(&stored) {
            assert_eq!(*stored, self.model.arrive(&self.wallets, self.payer.address(), arrival));
        }
        assert_eq!(stored.len(), arrivals.len());
    }

    fn arrival(&mut self, offer: Offer) -> Arrival {
        let (wallet, bytes, relayed, payer) = match (offer, &self.model.last_arrival) {
            (Offer::Again, Some(last)) => return last.clone(),
            (Offer::Again, None) => (0, 1, false, self.payer.address()),
            (Offer::Misbilled { wallet }, _) => (wallet, 1, false, OPERATOR),
            (Offer::New { wallet, bytes, relayed }, _) => (wallet, bytes, relayed, self.payer.address()),
        };
        self.commands += 1;
        let mut packet = self.commands.to_be_bytes().to_vec();
        packet.resize(8 + bytes, 0);
        let version = self.model.version();
        let arrival = Arrival {
            wallet: self.wallets[wallet],
            payer,
            id: keccak256(&packet),
            packet: packet.into(),
            now_s: self.model.now_s,
            relay: relayed.then_some(RELAY),
            own_operator: OPERATOR,
            tariff_version: version,
            tariff: self.model.tariffs[&version],
            lane: self.model.lane,
            retention_s: RETENTION_S,
            customer_credit: Amount::from_base_units(CUSTOMER_CREDIT).expect("small"),
            customer_quota: CUSTOMER_QUOTA,
        };
        self.model.last_arrival = Some(arrival.clone());
        arrival
    }

    async fn bill(&mut self, wallet: usize, relayed: bool) {
        let (address, now_s) = (self.wallets[wallet], self.model.now_s);
        let through = self.model.last_seq[wallet];
        let relay = relayed.then_some(RELAY);
        let issued = write!(self, |connection| statements::issue(connection, address, through, relay, now_s).await);
        match issued {
            Issued::Nothing => assert!(self.model.waiting[wallet].is_empty()),
            Issued::Held => {
                let held_by = self.model.bills.last().expect("somebody else's");
                assert!(held_by.wallet != wallet && !held_by.paid);
            }
            Issued::Statement(statement) => {
                let mut lines = self.model.lines.clone();
                let mut leg = Vec::new();
                let tariff = |version| self.model.tariffs.get(&version).copied();
                for waiting in &self.model.waiting[wallet] {
                    let carriage = waiting.carriage;
                    add_message(&mut lines, tariff, &carriage, now_s, relayed).expect("in range");
                    add_relay(&mut leg, tariff, carriage.tariff_version, carriage.bytes).expect("in range");
                }
                assert_eq!((statement.wallet, statement.through, statement.at), (address, through, now_s));
                assert_eq!(statement.lines, lines);
                assert_eq!(statement.total, due(&lines).expect("in range"));
                let number = statement.number;
                assert!(self.model.bills.last().is_none_or(|last| last.number < number));
                let relay = relayed.then_some(leg);
                self.model.bills.push(Bill { number, wallet, through, lines, relay, paid: false });
            }
        }
    }

    async fn pay(&mut self, wallet: usize, less: u128) {
        let Some(place) = self.model.bills.iter().rposition(|bill| bill.wallet == wallet) else { return };
        let is_latest = place + 1 == self.model.bills.len();
        let bill = &self.model.bills[place];
        let billed = due(&bill.lines).expect("in range");
        let offered = Amount::from_base_units(billed.base_units().saturating_sub(less)).expect("small");
        self.commands += 1;
        let domain = escrow_domain(1, OPERATOR);
        let acknowledgement = Acknowledgement {
            command: keccak256(self.commands.to_be_bytes()),
            now_s: self.model.now_s,
            wallet: self.wallets[wallet],
            statement: bill.number,
            voucher: SignedVoucher::sign(self.payer.address(), OPERATOR, offered, &domain, &self.payer),
            signer_authorized: true,
            lane: self.model.lane,
            own_operator: OPERATOR,
        };
        let said = acknowledgement.clone();
        let outcome = write!(self, |connection| statements::acknowledge(connection, &said).await);

        let expected = if !is_latest {
            Err(Refusal::Superseded)
        } else if offered < self.model.vouchered() {
            Err(Refusal::VoucherBelowLast)
        } else if bill.paid && offered != billed {
            Err(Refusal::Superseded)
        } else if bill.paid {
            Ok(false)
        } else if offered > self.model.lane.limit() {
            Err(Refusal::VoucherAboveLane)
        } else if offered != billed {
            Err(Refusal::VoucherNotTheTotal)
        } else {
            Ok(true)
        };
        let through = bill.through;
        match expected {
            Err(refusal) => assert_eq!(outcome, Acknowledged::Refused(refusal)),
            Ok(books) => {
                assert_eq!(outcome, Acknowledged::Yes { total: billed, through });
                let replayed = write!(self, |connection| statements::acknowledge(connection, &acknowledgement).await);
                assert_eq!(replayed, Acknowledged::Refused(Refusal::Replayed));
                if books {
                    let bill = &mut self.model.bills[place];
                    bill.paid = true;
                    let before = total(Amount::ZERO, &self.model.lines).expect("in range");
                    let legs = bill.relay.iter().flatten();
                    let leg: u128 = legs.map(|line| line.meter.relayed * u128::from(line.tariff.relay)).sum();
                    let paid = billed.saturating_sub(before).base_units() << 30;
                    self.model.fronted = (self.model.fronted + leg).saturating_sub(paid);
                    self.model.lines = bill.lines.clone();
                    for line in bill.relay.iter().flatten() {
                        lines::add_relayed(&mut self.model.owed, line.tariff_version, line.tariff, line.meter.relayed)
                            .expect("in range");
                    }
                    self.model.waiting[wallet].retain(|waiting| waiting.seq > through);
                }
            }
        }
    }

    async fn expire(&mut self) {
        let before_s = self.model.now_s.saturating_sub(RETENTION_S);
        write!(self, |connection| packets::expire(connection, before_s).await);
        for waiting in &mut self.model.waiting {
            waiting.retain(|waiting| waiting.carriage.stored_at >= before_s);
        }
    }

    /// Every number the store holds is the model's.
    async fn compare(&self) -> Result<(), StoreError> {
        let payer = self.payer.address();
        let mut reading = self.store.readers().begin().await?;
        let account = customers::account(&mut *reading, payer).await?.expect("opened");
        assert_eq!(account.reserved, self.model.reserved());
        assert_eq!(account.vouchered, self.model.vouchered());
        assert_eq!(account.stored_bytes, self.model.stored_bytes());
        assert_eq!(account.fronted.0, self.model.fronted);
        assert_eq!(lines::load(&mut reading, Book::Customer, payer).await?, self.model.lines);
        let owed = peers::owed(&mut reading, RELAY.operator).await?.expect("opened");
        assert_eq!(owed.lines, self.model.owed);
        let (inbound, outbound) = peers::counts_at_agent(&mut reading, RELAY.node).await?;
        let relayed: u128 = self.model.owed.iter().map(|line| line.meter.relayed).sum();
        assert_eq!(inbound + outbound, relayed);
        let best = vouchers::outbox(&mut *reading, (Address::ZERO, Address::ZERO), 9).await?;
        assert_eq!(best.first().map_or(Amount::ZERO, |voucher| voucher.cumulative), self.model.vouchered());
        for (wallet, waiting) in self.wallets.iter().zip(&self.model.waiting) {
            let stored = packets::waiting(&mut *reading, *wallet, 0, u32::MAX).await?;
            let stored: Vec<_> = stored.iter().map(|packet| packet.seq).collect();
            let expected: Vec<_> = waiting.iter().map(|packet| packet.seq).collect();
            assert_eq!(stored, expected);
        }
        // Nobody extends more than the lane holds: what is owed and what may be stays below it.
        assert!(account.vouchered <= self.model.lane.limit());
        Ok(())
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Arrive { offers, queued } => self.arrive(offers, queued).await,
            Step::Wait { seconds } => self.model.now_s += seconds,
            Step::Reprice => {
                let version = self.model.version();
                let Tariff { delivery, relay, storing } = self.model.tariffs[&version];
                let tariff = Tariff { delivery: delivery / 2 + 1, relay: relay / 3 + 1, storing };
                self.model.tariffs.insert(version + 1, tariff);
            }
            Step::Bill { wallet, relayed } => self.bill(wallet, relayed).await,
            Step::Pay { wallet, less } => self.pay(wallet, less).await,
            Step::Expire => self.expire().await,
        }
    }
}

fn steps(count_max: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..count_max)
}

async fn follow(store: Store, steps: Vec<Step>) {
    let mut books = Books::open(store).await;
    for step in steps {
        books.take(step).await;
        books.compare().await.expect("readable");
    }
    books.store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_the_models(steps in steps(60)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let (store, _folder) = testing::store().await;
            follow(store, steps).await;
        });
    }
}

/// Sequences on PostgreSQL; a database for each takes a while.
const POSTGRES_CASES: usize = 6;

#[tokio::test]
async fn the_books_are_the_models_in_postgresql() {
    let Some(server) = testing::Postgres::start().await else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut runner =
        TestRunner::new_with_rng(ProptestConfig::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    for _ in 0..POSTGRES_CASES {
        let steps = steps(60).new_tree(&mut runner).expect("steps").current();
        let url = server.database().await;
        println!("{steps:?}");
        follow(testing::open(folder.path(), Some(&url)).await, steps).await;
    }
}
