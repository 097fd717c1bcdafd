//! What a statement covers, and whom it holds up.

use alloy::{primitives::keccak256, signers::local::PrivateKeySigner};
use minus_bindings::escrow_domain;
use minus_protocol::{Carriage, Tariff, add_message, due};

use super::{super::testing, *};
use crate::store::{
    Store,
    arrivals::{Arrival, Stored},
    packets::STATEMENT_PACKETS_MAX,
};

const OPERATOR: Address = Address::repeat_byte(7);
const STORED_AT: u64 = 1_000;

fn lane() -> Lane {
    let deposit = Amount::from_base_units(1_000_000_000_000).expect("small");
    Lane { deposit, ..Lane::default() }
}

fn arrival(wallet: Address, payer: Address, number: u64, tariff: Tariff) -> Arrival {
    let id = keccak256([wallet.as_slice(), &number.to_be_bytes()].concat());
    Arrival {
        wallet,
        payer,
        id,
        packet: vec![0; length(number)].into(),
        now_s: STORED_AT,
        relay: None,
        own_operator: OPERATOR,
        tariff_version: 1,
        tariff,
        lane: lane(),
        retention_s: 100,
        customer_credit: Amount::ZERO,
        customer_quota: u64::MAX,
    }
}

async fn entrust(store: &Store, wallet: Address, payer: Address) {
    let entrusting = store.writer().write(move |connection| {
        Box::pin(async move { customers::entrust(connection, wallet, payer, Amount::ZERO, lane(), 1).await })
    });
    entrusting.await.expect("the store works");
}

/// Lengths that differ, so that a packet left out or counted twice is seen in the sum.
fn length(number: u64) -> usize {
    usize::try_from(100 + number % 97).expect("small")
}

#[tokio::test]
async fn a_bill_of_the_future_does_not_hold_up_another_wallet() {
    let (store, _folder) = testing::store().await;
    let wallets = [Address::repeat_byte(1), Address::repeat_byte(2)];
    let unpaid = |issued: &Issued| matches!(issued, Issued::Statement(_));
    let payer = Address::repeat_byte(9);
    for wallet in wallets {
        entrust(&store, wallet, payer).await;
        testing::store_all(&store, &[arrival(wallet, payer, 0, Tariff::default())]).await;
    }
    let issued = store.writer().write(move |connection| {
        Box::pin(async move {
            let [first, second] = wallets;
            Ok([
                issue(connection, first, 1, None, 1_000).await?,
                issue(connection, second, 1, None, 1_000 + PATIENCE_S - 1).await?,
                issue(connection, second, 1, None, 500).await?,
            ])
        })
    });
    let [first, held, after_the_clock_went_back] = issued.await.expect("the books are in order");
    assert!(unpaid(&first));
    assert!(matches!(held, Issued::Held { by, rest } if by == wallets[0] && rest.as_secs() == 1), "{held:?}");
    assert!(unpaid(&after_the_clock_went_back), "{after_the_clock_went_back:?}");
}

/// Laws 9 and 11 over a backlog longer than a statement: whatever the client claims to have, each covers the next packets,
/// none twice and none left out, and the last total is what one statement over all of them would say.
#[tokio::test]
async fn a_long_backlog_is_billed_in_bounded_statements_that_add_up() {
    const BEYOND_THE_LAST: u64 = 100;
    let a_statement = u64::from(STATEMENT_PACKETS_MAX);
    let count = 2 * a_statement + BEYOND_THE_LAST;
    let tariff = Tariff { delivery: 3 << 20, relay: 1 << 20, storing: 86_400 << 10 };
    let wallet = Address::repeat_byte(1);
    let payer = PrivateKeySigner::random();
    let (store, _folder) = testing::store().await;
    let address = payer.address();
    entrust(&store, wallet, address).await;
    let arrivals: Vec<_> = (1..=count).map(|number| arrival(wallet, address, number, tariff)).collect();
    let stored = testing::store_all(&store, &arrivals).await;
    assert!(stored.into_iter().eq((1..=count).map(|seq| Stored::New { seq })));

    let mut lines = Vec::new();
    let mut covered = 0;
    for (round, through) in [(1, a_statement), (2, 2 * a_statement), (3, count)] {
        let now_s = STORED_AT + 10 * round;
        let statement = claim_everything(&store, wallet, now_s).await;
        for number in covered + 1..=through {
            let bytes = u64::try_from(length(number)).expect("small");
            let carriage = Carriage { bytes, stored_at: STORED_AT, tariff_version: 1, relayed_in: false };
            add_message(&mut lines, |_| Some(tariff), &carriage, now_s, false).expect("in range");
        }
        assert_eq!((statement.number, statement.through, statement.at), (round, through, now_s));
        assert_eq!(statement.lines, lines);
        assert_eq!(statement.total, due(&lines).expect("in range"));
        pay(&store, &payer, &statement).await;
        covered = through;
    }
    let after = store.writer().write(move |connection| {
        Box::pin(async move {
            let account = customers::account(&mut *connection, address).await?.ok_or(StoreError::Corrupt("account"))?;
            Ok((issue(connection, wallet, u64::MAX, None, 2_000).await?, account))
        })
    });
    let (issued, account) = after.await.expect("readable");
    assert!(matches!(issued, Issued::Nothing), "{issued:?}");
    assert_eq!((account.reserved, account.stored_bytes), (Amount::ZERO, 0));
    assert_eq!(account.vouchered, due(&lines).expect("in range"));
}

async fn claim_everything(store: &Store, wallet: Address, now_s: u64) -> Statement {
    let issuing = store
        .writer()
        .write(move |connection| Box::pin(async move { issue(connection, wallet, u64::MAX, None, now_s).await }));
    match issuing.await.expect("the books are in order") {
        Issued::Statement(statement) => statement,
        other => panic!("{other:?}"),
    }
}

async fn pay(store: &Store, payer: &PrivateKeySigner, statement: &Statement) {
    let offered = acknowledgement(payer, statement);
    let touch = Touch::Room(payer.address());
    let writer = store.writer().touching(touch);
    let paying =
        writer.write(move |connection| Box::pin(async move { acknowledge(connection, &offered, touch).await }));
    let booked = paying.await.expect("the books are in order");
    assert_eq!(booked, Acknowledged::Yes { total: statement.total, through: statement.through });
}

fn acknowledgement(payer: &PrivateKeySigner, statement: &Statement) -> Acknowledgement {
    let domain = escrow_domain(1, OPERATOR);
    Acknowledgement {
        command: keccak256(statement.number.to_be_bytes()),
        now_s: statement.at,
        wallet: statement.wallet,
        payer: payer.address(),
        statement: statement.number,
        voucher: SignedVoucher::sign(payer.address(), OPERATOR, statement.total, &domain, payer),
        signer_authorized: true,
        lane: lane(),
        own_operator: OPERATOR,
    }
}

/// Law 12: while an acknowledgement is booked, packets of the same account are let in, and what is left of the account's
/// quota then is what is left of it in the tables, to the byte.
#[tokio::test]
async fn what_is_let_in_beside_an_acknowledgement_counts_once() {
    const QUOTA: u64 = 2_000;
    let (wallet, payer) = (Address::repeat_byte(1), PrivateKeySigner::random());
    let (address, tariff) = (payer.address(), Tariff { delivery: 3 << 20, relay: 1 << 20, storing: 86_400 << 10 });
    let (store, _folder) = testing::store().await;
    entrust(&store, wallet, address).await;
    let of_quota = move |number| Arrival { customer_quota: QUOTA, ..arrival(wallet, address, number, tariff) };
    let store_next = |numbers: std::ops::Range<u64>| {
        let (store, arrivals) = (store.clone(), numbers.map(of_quota).collect::<Vec<_>>());
        async move { testing::store_all(&store, &arrivals).await }
    };
    assert!(store_next(0..5).await.iter().all(|stored| matches!(stored, Stored::New { .. })));
    let statement = claim_everything(&store, wallet, STORED_AT).await;

    let (booked, is_booked) = tokio::sync::oneshot::channel();
    let (go_on, goes_on) = tokio::sync::oneshot::channel::<()>();
    let offered = acknowledgement(&payer, &statement);
    let writer = store.writer().touching(Touch::Room(address));
    let paying = tokio::spawn(async move {
        writer
            .write(move |connection| {
                Box::pin(async move {
                    let outcome = acknowledge(connection, &offered, Touch::Room(offered.payer)).await?;
                    let _ = booked.send(());
                    let _ = goes_on.await;
                    Ok(outcome)
                })
            })
            .await
    });
    is_booked.await.expect("it is under way");
    let beside = store_next(5..10).await;
    assert!(beside.iter().all(|stored| matches!(stored, Stored::New { .. })), "{beside:?}");
    go_on.send(()).expect("it waits");
    let outcome = paying.await.expect("no panic").expect("the books are in order");
    assert_eq!(outcome, Acknowledged::Yes { total: statement.total, through: 5 });

    // Only the second five hold anything, in memory as in the tables.
    let held = |numbers: std::ops::Range<u64>| {
        numbers.map(|number| u64::try_from(length(number)).expect("small")).sum::<u64>()
    };
    let mut next = 10;
    while held(5..next + 1) <= QUOTA {
        assert!(matches!(store_next(next..next + 1).await[..], [Stored::New { .. }]), "{next}");
        next += 1;
    }
    assert_eq!(store_next(next..next + 1).await, [Stored::OverQuota]);
    store.catch_up().await.expect("it works");
    let account = customers::account(store.readers(), address).await.expect("readable").expect("it is there");
    let reserves: Vec<String> =
        sqlx::query_scalar("select reserve from packets").fetch_all(store.readers()).await.expect("readable");
    let reserved: u128 = reserves.iter().map(|reserve| reserve.parse::<u128>().expect("a number")).sum();
    assert_eq!((account.stored_bytes, account.reserved.base_units()), (held(5..next), reserved));
    assert_eq!((account.vouchered, reserved > 0), (statement.total, true));
}

/// While a write runs that may change anything, nothing is let in: it would be judged on books that no longer hold.
#[tokio::test]
async fn nothing_is_let_in_beside_a_write_that_may_change_anything() {
    let (wallet, payer) = (Address::repeat_byte(1), Address::repeat_byte(9));
    let (store, _folder) = testing::store().await;
    entrust(&store, wallet, payer).await;
    let (began, has_begun) = tokio::sync::oneshot::channel();
    let (go_on, goes_on) = tokio::sync::oneshot::channel::<()>();
    let writer = store.writer().clone();
    let moving = tokio::spawn(async move {
        writer
            .write(move |connection| {
                Box::pin(async move {
                    let _ = began.send(());
                    let _ = goes_on.await;
                    let other = Address::repeat_byte(8);
                    customers::entrust(connection, wallet, other, Amount::ZERO, lane(), 1).await
                })
            })
            .await
    });
    has_begun.await.expect("it is under way");
    let waits = store.clone();
    let arriving =
        tokio::spawn(async move { testing::store_all(&waits, &[arrival(wallet, payer, 0, Tariff::default())]).await });
    while store.writer().queued() == 0 && !arriving.is_finished() {
        tokio::task::yield_now().await;
    }
    go_on.send(()).expect("it waits");
    moving.await.expect("no panic").expect("the books are in order");
    assert_eq!(arriving.await.expect("no panic"), [Stored::NotEntrusted], "the wallet has another payer now");
}
