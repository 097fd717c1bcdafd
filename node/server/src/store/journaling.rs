//! Between the journal and the tables: nothing is lost, nothing is there twice, and limits are exact, wherever it ends.

use std::{sync::Arc, time::Duration};

use alloy::primitives::{Address, B256};
use futures_util::future::join_all;
use minus_bindings::Amount;
use minus_protocol::Tariff;
use sqlx::{AnyConnection, Connection as _, Executor};

use super::{
    Store, StoreError,
    arrivals::{Arrival, Kept, Stored},
    customers::{self, Account, Entrusting},
    database::Database,
    journal,
    ledger::Ledger,
    lines::{self, Book},
    packets::{self, Relay},
    testing::{self, PAYER, WALLET, arrival, entrust, lane, numbers, until},
};

use crate::{agent::lane::Lane, config::DatabaseUrl};

const RELAY: Relay = Relay { node: Address::repeat_byte(8), operator: Address::repeat_byte(9) };

/// A packet that is paid for: one base unit a byte, and as much to the relay that brings it.
fn paid(number: u64, bytes: usize) -> Arrival {
    Arrival {
        relay: Some(RELAY),
        tariff: Tariff { delivery: 1 << 30, relay: 1 << 30, storing: 0 },
        lane: Lane { deposit: units(1_000_000), ..lane() },
        customer_credit: units(1_000_000),
        ..arrival(number, bytes)
    }
}

fn units(value: u128) -> Amount {
    Amount::from_base_units(value).expect("small")
}

async fn account(store: &Store) -> Account {
    customers::account(store.readers(), PAYER).await.expect("readable").expect("opened")
}

/// Reads the tables as they are.
async fn applied(store: &Store) -> u64 {
    packets::count(store.readers()).await.expect("readable")
}

/// In SQLite and, where there is one, in PostgreSQL.
async fn in_both<F: Future<Output = ()>>(test: impl Fn(tempfile::TempDir, Option<DatabaseUrl>) -> F) {
    test(tempfile::tempdir().expect("a temporary folder"), None).await;
    if let Some(server) = testing::Postgres::start().await {
        test(tempfile::tempdir().expect("a temporary folder"), Some(server.database().await)).await;
    }
}

#[tokio::test]
async fn a_crash_between_journal_and_tables_loses_nothing_and_repeats_nothing() {
    in_both(|folder, url| async move {
        let (mut store, mut task) = testing::opened(folder.path(), url.as_ref()).await;
        entrust(&store).await;
        let mut sent = Vec::new();
        for round in 0..5_u64 {
            let batch: Vec<_> = (round * 20..(round + 1) * 20).collect();
            let answers = join_all(batch.iter().map(|number| store.writer().arrive(paid(*number, 100)))).await;
            for (number, answer) in batch.iter().zip(answers) {
                assert_eq!(answer.expect("the store works"), Stored::New { seq: number + 1 });
            }
            sent.extend(batch);
            assert!(!store.is_caught_up());
            task.abort();
            let _ = task.await;
            (store, task) = testing::reopened(folder.path(), url.as_ref()).await;
            holds(&store, &sent).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_crash_after_the_tables_have_it_and_before_the_journal_forgets_repeats_nothing() {
    in_both(|folder, url| async move {
        let (mut store, mut task) = testing::opened(folder.path(), url.as_ref()).await;
        entrust(&store).await;
        let mut sent = Vec::new();
        for round in 0..5_u64 {
            for number in round * 20..(round + 1) * 20 {
                store.writer().arrive(paid(number, 100)).await.expect("stored");
                sent.push(number);
            }
            store.catch_up().await.expect("it works");
            task.abort();
            let _ = task.await;
            if url.is_none() {
                assert!(std::fs::read(folder.path().join("node.journal-0")).expect("it is there").len() > 20 * 100);
            }
            (store, task) = testing::reopened(folder.path(), url.as_ref()).await;
            holds(&store, &sent).await;
        }
    })
    .await;
}

/// A crash at any moment of steps that run beside arrivals: what was answered is there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_a_step_loses_nothing_and_repeats_nothing() {
    in_both(|folder, url| async move {
        let (mut store, mut task) = testing::opened(folder.path(), url.as_ref()).await;
        entrust(&store).await;
        let mut sent = 0..;
        let mut answered = Vec::new();
        for round in 0..12_u64 {
            let some: Vec<_> = sent.by_ref().take(64).collect();
            let arriving = join_all(some.iter().map(|number| store.writer().arrive(paid(*number, 100))));
            let stepping = store.catch_up();
            let (answers, _) = tokio::join!(arriving, stepping);
            answered.extend(some.iter().zip(answers).filter(|(_, answer)| answer.is_ok()).map(|(number, _)| *number));
            // A step and a write of the journal are under way.
            let some: Vec<_> = sent.by_ref().take(64).collect();
            let arriving = join_all(some.iter().map(|number| store.writer().arrive(paid(*number, 100))));
            let both = async { tokio::join!(arriving, store.catch_up()) };
            if let Ok((answers, _)) = tokio::time::timeout(Duration::from_micros(round * 700), both).await {
                answered.extend(some.iter().zip(answers).filter(|(_, answer)| answer.is_ok()).map(|(at, _)| *at));
            }
            task.abort();
            let _ = task.await;
            (store, task) = testing::reopened(folder.path(), url.as_ref()).await;
            let mut there = numbers(&store).await;
            there.sort_unstable();
            assert!(answered.iter().all(|number| there.binary_search(number).is_ok()), "{answered:?} in {there:?}");
            holds(&store, &there).await;
        }
        assert!(answered.len() >= 12 * 64);
    })
    .await;
}

/// These packets of a hundred bytes and nothing else, in the tables and in every book.
async fn holds(store: &Store, sent: &[u64]) {
    let mut there = numbers(store).await;
    there.sort_unstable();
    assert_eq!(there, sent, "each once");
    let again = store.writer().arrive(paid(sent[sent.len() / 2], 100)).await.expect("the store works");
    assert_eq!(again, Stored::Duplicate);
    let account = account(store).await;
    let bytes = u64::try_from(sent.len()).expect("few") * 100;
    assert_eq!((account.stored_bytes, account.reserved), (bytes, units(u128::from(bytes) * 3)), "both legs");
    assert_eq!(account.fronted.base_units(), u128::from(bytes));
    let mut reading = store.readers().acquire().await.expect("a reader");
    let owed = lines::load(&mut reading, Book::Owed, RELAY.operator).await.expect("readable");
    assert_eq!(owed.iter().map(|line| line.meter.relayed).sum::<u128>(), u128::from(bytes));
}

#[tokio::test]
async fn what_an_older_version_left_in_its_journal_is_entered_by_this_one() {
    in_both(|folder, url| async move {
        let database = Database::at(folder.path(), url.as_ref()).expect("a place");
        let mut older = database.writer().await.expect("nobody else writes");
        let all = sqlx::migrate!("./migrations");
        let before: Vec<_> = all.iter().filter(|migration| migration.version < 3).cloned().collect();
        sqlx::migrate::Migrator { migrations: before.into(), ..sqlx::migrate::Migrator::DEFAULT }
            .run(&mut older)
            .await
            .expect("an empty database");
        let order = Entrusting {
            command: B256::repeat_byte(3),
            wallet: WALLET,
            payer: PAYER,
            declared: Amount::ZERO,
            lane: lane(),
            now_s: 1,
        };
        customers::obey(&mut older, order).await.expect("it works").expect("no replay");
        for (row, numbers) in [(1, 0..3_u64), (2, 3..5)] {
            let kept: Vec<_> = numbers.map(|number| kept(&paid(number, 100), number + 1)).collect();
            sqlx::query("insert into journal values ($1, $2)")
                .bind(row)
                .bind(journal::encode(&kept, 0).expect("short"))
                .execute(&mut older)
                .await
                .expect("it works");
        }
        let id = paid(9, 100).id.to_vec();
        sqlx::query("insert into seen_packets values ($1, 1)").bind(id).execute(&mut older).await.expect("it works");
        older.close().await.expect("it is well");

        let (store, task) = testing::reopened(folder.path(), url.as_ref()).await;
        holds(&store, &[0, 1, 2, 3, 4]).await;
        assert_eq!(store.writer().arrive(paid(9, 100)).await.expect("it works"), Stored::Duplicate);
        assert_eq!(store.writer().arrive(paid(5, 100)).await.expect("it works"), Stored::New { seq: 6 });
        task.abort();
        let _ = task.await;
        let (store, _) = testing::reopened(folder.path(), url.as_ref()).await;
        holds(&store, &[0, 1, 2, 3, 4, 5]).await;
    })
    .await;
}

/// The packet as it was let in.
fn kept(arrival: &Arrival, seq: u64) -> Kept {
    Kept {
        wallet: arrival.wallet,
        payer: arrival.payer,
        id: arrival.id,
        seq,
        now_s: arrival.now_s,
        relay: arrival.relay,
        is_owed: true,
        tariff_version: arrival.tariff_version,
        tariff: arrival.tariff,
        reserve: units(300),
        packet: arrival.packet.clone(),
    }
}

#[tokio::test]
async fn a_duplicate_is_known_wherever_its_id_is() {
    in_both(|folder, url| async move {
        let count = |text: &'static str| {
            let url = url.clone();
            let folder = folder.path().to_owned();
            async move {
                let database = Database::at(&folder, url.as_ref()).expect("a place");
                let mut reading = database.reader().await.expect("readable");
                let count: i64 = sqlx::query_scalar(text).fetch_one(&mut reading).await.expect("readable");
                reading.close().await.expect("it is well");
                count
            }
        };
        let (mut store, mut task) = testing::opened(folder.path(), url.as_ref()).await;
        entrust(&store).await;
        let all: Vec<_> = (0..100).map(|number| paid(number, 100)).collect();
        let mut levels = (0, 0);
        for some in all.chunks(5) {
            testing::store_all(&store, some).await;
            store.catch_up().await.expect("it works");
            levels.0 += count("select count(*) from seen_recent").await;
            levels.1 = count("select count(*) from seen_packets").await;
        }
        assert!(levels.0 > 0 && levels.1 > 50, "{levels:?}");
        for round in 0..2 {
            let again = testing::store_all(&store, &all).await;
            assert!(again.iter().all(|stored| *stored == Stored::Duplicate), "round {round}");
            task.abort();
            let _ = task.await;
            (store, task) = testing::reopened(folder.path(), url.as_ref()).await;
        }
        holds(&store, &(0..100).collect::<Vec<_>>()).await;
    })
    .await;
}

/// A connection that writes to the store in this folder, with the journal as it was left.
async fn ledger(folder: &std::path::Path) -> Ledger {
    let database = Database::at(folder, None).expect("a path");
    Ledger::connect(&database).await.expect("nobody else writes")
}

#[tokio::test]
async fn what_was_committed_though_it_seemed_to_fail_is_found_and_applied_once() {
    let (store, folder) = testing::store().await;
    entrust(&store).await;
    store.close().await;
    let mut ledger = ledger(folder.path()).await;
    ledger.restore().await.expect("nothing to restore");
    let batch: Vec<_> = (0..10).map(|number| paid(number, 50)).collect();
    let first = ledger.journal(&batch).await.expect("it works").outcomes;
    assert!(first.iter().all(|outcome| matches!(outcome, Ok(Stored::New { .. }))));
    // As after an error: what memory says is not believed.
    ledger.restore().await.expect("it works");
    assert!(ledger.is_applied());
    let again = ledger.journal(&batch).await.expect("it works");
    assert!(again.kept.is_empty());
    assert!(again.outcomes.iter().all(|outcome| matches!(outcome, Ok(Stored::Duplicate))));
    let next = ledger.journal(&[paid(10, 50)]).await.expect("it works").outcomes;
    assert!(matches!(next[..], [Ok(Stored::New { seq: 11 })]));
    ledger.close().await.expect("it is well");

    let store = testing::open(folder.path(), None).await;
    assert_eq!(numbers(&store).await, (0..=10).collect::<Vec<_>>());
    let account = account(&store).await;
    assert_eq!((account.stored_bytes, account.reserved), (550, units(1_650)));
    let mut reading = store.readers().acquire().await.expect("a reader");
    let owed = lines::load(&mut reading, Book::Owed, RELAY.operator).await.expect("readable");
    assert_eq!(owed.iter().map(|line| line.meter.relayed).sum::<u128>(), 550);
    let (inbound, _) = super::peers::counts_at_agent(&mut reading, RELAY.node).await.expect("readable");
    assert_eq!(inbound, 550);
}

#[tokio::test]
async fn a_journal_with_a_gap_or_a_strange_row_is_not_guessed_at() {
    for row in ["(2, x'01')", "(1, x'02')", "(1, x'0100')"] {
        let (store, folder) = testing::store().await;
        store.writer().execute(format!("insert into journaled values {row}")).await.expect("it works");
        store.close().await;
        let opened = Store::open(folder.path(), None, Arc::new(super::Nobody), Arc::default()).await;
        assert!(matches!(opened, Err(StoreError::Corrupt("journal"))), "{row}");
    }
}

#[tokio::test]
async fn a_write_that_fails_is_refused_and_the_store_gets_well_by_itself() {
    let (store, folder) = testing::store().await;
    entrust(&store).await;
    for number in 0..3 {
        store.writer().arrive(paid(number, 10)).await.expect("stored");
    }
    // Another program holds the database.
    let file = folder.path().join("node.sqlite");
    let mut other = AnyConnection::connect(&format!("sqlite://{}", file.display())).await.expect("it is there");
    other.execute("begin immediate").await.expect("nobody else writes");
    let journaled = store.writer().arrive(paid(3, 10)).await.expect("the journal is nobody else's");
    assert_eq!(journaled, Stored::New { seq: 4 });
    assert!(store.catch_up().await.is_err(), "readers cannot be told that they see it all");
    assert!(store.problem().is_some());
    assert!(matches!(store.writer().arrive(paid(4, 10)).await, Err(StoreError::NotCommitted)));
    other.execute("rollback").await.expect("it was open");
    until("it gets well by itself", || async { store.problem().is_none() }).await;
    for number in [2, 3, 4] {
        let outcome = store.writer().arrive(paid(number, 10)).await.expect("it is well");
        assert_eq!(outcome, if number < 4 { Stored::Duplicate } else { Stored::New { seq: 5 } });
    }
    assert_eq!(numbers(&store).await, [0, 1, 2, 3, 4]);
    assert_eq!(account(&store).await.reserved, units(150));
}

#[tokio::test]
async fn limits_are_exact_with_a_part_of_it_in_the_journal() {
    type Limit = fn(Arrival) -> Arrival;
    let limited: [(Limit, Stored); 3] = [
        (|arrival| Arrival { lane: Lane { deposit: units(299), ..lane() }, ..arrival }, Stored::Spent),
        (|arrival| Arrival { customer_quota: 99, ..arrival }, Stored::OverQuota),
        (|arrival| Arrival { customer_credit: units(99), ..arrival }, Stored::OverCredit),
    ];
    for (limit, refusal) in limited {
        let (store, _folder) = testing::store().await;
        entrust(&store).await;
        // Nine times ten bytes fit, and nine more; a third of it each time in the tables, the journal, and the same batch.
        let arrive = |number, bytes| store.writer().arrive(limit(paid(number, bytes)));
        for number in 0..3 {
            assert_eq!(arrive(number, 10).await.expect("it works"), Stored::New { seq: number + 1 });
        }
        store.catch_up().await.expect("it works");
        for number in 3..6 {
            assert_eq!(arrive(number, 10).await.expect("it works"), Stored::New { seq: number + 1 });
        }
        let batch = join_all((6..10).map(|number| arrive(number, 10))).await;
        let outcomes: Vec<_> = batch.into_iter().map(|outcome| outcome.expect("it works")).collect();
        let fitting = [7, 8, 9].map(|seq| Stored::New { seq });
        assert_eq!(outcomes, [&fitting[..], &[refusal]].concat());
        assert_eq!(arrive(11, 9).await.expect("it works"), Stored::New { seq: 10 });
        assert_eq!(arrive(12, 8).await.expect("it works"), refusal);
        store.catch_up().await.expect("it works");
        assert_eq!(arrive(13, 8).await.expect("it works"), refusal);
        assert_eq!(account(&store).await.stored_bytes, 99);
    }
}

#[tokio::test]
async fn every_other_write_sees_what_is_in_the_journal() {
    let (store, _folder) = testing::store().await;
    entrust(&store).await;
    for round in 1..20 {
        store.writer().arrive(paid(round, 10)).await.expect("stored");
        assert!(!store.is_caught_up());
        let seen = store.writer().write(|connection| Box::pin(packets::count(connection))).await;
        assert_eq!(seen.expect("the store works"), round);
        assert!(store.is_caught_up());
        assert_eq!(applied(&store).await, round);
    }
}

#[tokio::test]
async fn the_journal_is_applied_when_it_is_long_and_when_it_is_old() {
    let (store, _folder) = testing::store().await;
    entrust(&store).await;
    let large = |number| store.writer().arrive(Arrival { lane: lane(), ..arrival(number, 1 << 20) });
    let stored = join_all((0..64).map(large)).await;
    assert!(stored.iter().all(Result::is_ok));
    assert!(applied(&store).await >= 64 - 36, "no more than 32 mebibytes wait, and one record");
    until("it is applied without anybody's asking", || async { applied(&store).await == 64 }).await;
    assert_eq!(numbers(&store).await, (0..64).collect::<Vec<_>>());
}
