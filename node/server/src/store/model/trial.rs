//! Takes a store through the steps and compares it with the model.

use std::{collections::BTreeMap, path::Path};

use alloy::{
    primitives::{Address, B256, keccak256},
    signers::local::PrivateKeySigner,
};
use futures_util::future::join_all;
use minus_bindings::{Amount, SignedVoucher, escrow_domain};
use minus_protocol::{Refusal, Tariff, add_message, add_relay, due, total};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use tokio::task::JoinHandle;

use super::{
    super::{
        Store, StoreError, Touch,
        arrivals::Arrival,
        customers,
        lines::{self, Book},
        packets,
        peers::{self, NewSession},
        statements::{self, Acknowledged, Acknowledgement, Issued},
        testing, vouchers,
    },
    Bill, CUSTOMER_CREDIT, CUSTOMER_QUOTA, Model, OPERATOR, Offer, RELAY, RETENTION_S, Step, step,
};
use crate::{agent::lane::Lane, config::DatabaseUrl};

/// Where the store is.
#[derive(Clone, Copy)]
struct Place<'a> {
    folder: &'a Path,
    url: Option<&'a DatabaseUrl>,
}

/// A store that is taken through the steps, beside its model.
struct Trial<'a> {
    place: Place<'a>,
    store: Store,
    task: JoinHandle<()>,
    payer: PrivateKeySigner,
    wallets: [Address; 2],
    model: Model,
    commands: u64,
}

/// Runs one write and gives its value.
macro_rules! write {
    ($trial:expr, $touch:expr, |$connection:ident| $work:expr) => {{
        let writer = $trial.store.writer().touching($touch);
        writer.write(move |$connection| Box::pin(async move { $work })).await.expect("the store works")
    }};
}

impl<'a> Trial<'a> {
    async fn open(place: Place<'a>) -> Self {
        let (store, task) = testing::opened(place.folder, place.url).await;
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
            seen: Default::default(),
            last_arrival: None,
        };
        let trial = Self { place, store, task, payer, wallets, model, commands: 0 };
        let address = trial.payer.address();
        for wallet in wallets {
            write!(trial, Touch::Everything, |connection| customers::entrust(
                connection,
                wallet,
                address,
                Amount::ZERO,
                lane,
                1
            )
            .await);
        }
        let session = NewSession {
            command: B256::repeat_byte(9),
            now_s: 1,
            token_hash: B256::repeat_byte(8),
            relay: RELAY,
            expires_at: u64::MAX >> 1,
            base: Amount::ZERO,
        };
        write!(trial, Touch::Nothing, |connection| peers::open_session(connection, &session).await);
        trial
    }

    async fn arrive(&mut self, offers: Vec<Offer>) {
        let arrivals: Vec<_> = offers.into_iter().map(|offer| self.arrival(offer)).collect();
        let answers = join_all(arrivals.iter().map(|arrival| self.store.writer().arrive(arrival.clone()))).await;
        for (arrival, answer) in arrivals.iter().zip(answers) {
            let stored = answer.expect("the store works");
            assert_eq!(stored, self.model.arrive(&self.wallets, self.payer.address(), arrival));
        }
    }

    /// As a power cut would: what was answered is in the database, the rest is gone.
    async fn crash(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
        (self.store, self.task) = testing::reopened(self.place.folder, self.place.url).await;
        assert!(self.store.is_caught_up(), "the first thing it does");
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
        let issued =
            write!(self, Touch::Nothing, |connection| statements::issue(connection, address, through, relay, now_s)
                .await);
        match issued {
            Issued::Nothing => assert!(self.model.waiting[wallet].is_empty()),
            Issued::Held { by, .. } => {
                let held_by = self.model.bills.last().expect("somebody else's");
                assert!(held_by.wallet != wallet && !held_by.paid);
                assert_eq!(by, self.wallets[held_by.wallet]);
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

    /// As a command is obeyed: beside arrivals, unless a relay is to be owed for it.
    async fn acknowledge(&self, offered: &Acknowledgement) -> Acknowledged {
        for touch in [Touch::Room(offered.payer), Touch::AccountOf(offered.wallet)] {
            let offered = offered.clone();
            let writer = self.store.writer().touching(touch);
            let outcome = writer
                .write(move |connection| {
                    Box::pin(async move { statements::acknowledge(connection, &offered, touch).await })
                })
                .await;
            match outcome.expect("the store works") {
                Acknowledged::OwesRelay => assert_eq!(touch, Touch::Room(self.payer.address())),
                outcome => return outcome,
            }
        }
        panic!("what relays are owed may be touched now")
    }

    async fn pay(&mut self, wallet: usize, less: u128) {
        let Some(place) = self.model.bills.iter().rposition(|bill| bill.wallet == wallet) else { return };
        let is_latest = place + 1 == self.model.bills.len();
        let bill = &self.model.bills[place];
        let address = self.wallets[wallet];
        let billed = due(&bill.lines).expect("in range");
        let offered = Amount::from_base_units(billed.base_units().saturating_sub(less)).expect("small");
        self.commands += 1;
        let domain = escrow_domain(1, OPERATOR);
        let acknowledgement = Acknowledgement {
            command: keccak256(self.commands.to_be_bytes()),
            now_s: self.model.now_s,
            wallet: address,
            payer: self.payer.address(),
            statement: bill.number,
            voucher: SignedVoucher::sign(self.payer.address(), OPERATOR, offered, &domain, &self.payer),
            signer_authorized: true,
            lane: self.model.lane,
            own_operator: OPERATOR,
        };
        let outcome = self.acknowledge(&acknowledgement).await;

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
                let replayed = self.acknowledge(&acknowledgement).await;
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
        write!(self, Touch::Everything, |connection| packets::expire(connection, before_s).await);
        for waiting in &mut self.model.waiting {
            waiting.retain(|waiting| waiting.carriage.stored_at >= before_s);
        }
    }

    /// Every number the store holds is the model's.
    async fn compare(&self) -> Result<(), StoreError> {
        let payer = self.payer.address();
        self.store.catch_up().await?;
        let mut reading = self.store.readers().begin().await?;
        let account = customers::account(&mut *reading, payer).await?.expect("opened");
        assert_eq!(account.reserved, self.model.reserved());
        assert_eq!(account.vouchered, self.model.vouchered());
        assert_eq!(account.stored_bytes, self.model.stored_bytes());
        assert_eq!(account.fronted.0, self.model.fronted);
        assert_eq!(lines::load(&mut reading, Book::Customer, payer).await?, self.model.lines);
        let charged = lines::all(&mut reading, Book::Customer).await?;
        assert_eq!(charged.into_values().flatten().collect::<Vec<_>>(), self.model.lines);
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

    async fn take(&mut self, step: Step) -> Result<(), StoreError> {
        match step {
            Step::Arrive { offers } => {
                self.arrive(offers).await;
                return Ok(());
            }
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
            Step::Crash => self.crash().await,
        }
        self.compare().await
    }
}

fn steps(count_max: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..count_max)
}

async fn follow(place: Place<'_>, steps: Vec<Step>) {
    let mut trial = Trial::open(place).await;
    for step in steps {
        trial.take(step).await.expect("readable");
    }
    trial.compare().await.expect("readable");
    trial.store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_the_models(steps in steps(60)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let folder = tempfile::tempdir().expect("a temporary folder");
            follow(Place { folder: folder.path(), url: None }, steps).await;
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
        follow(Place { folder: folder.path(), url: Some(&url) }, steps).await;
    }
}
