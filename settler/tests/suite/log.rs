//! What the log keeps, refuses and answers, on each database.

use alloy::primitives::{Address, B256};
use minus_bindings::{Amount, SignedVoucher};
use minus_settler::store::endings::{Payments, Receipt};
use minus_settler::store::{
    Attempt, CheckedVoucher, Hold, Instrument, LaneView, NewTransaction, OpenVoucher, PlannedRow, Reason, Recording,
    Store, StoreError, VoucherState,
};

use super::postgres::{Database, databases};

const PAYEE: Address = Address::repeat_byte(0xaa);
const GAS_KEY: Address = Address::repeat_byte(0x99);

fn units(units: u64) -> Amount {
    Amount::from_base_units(u128::from(units)).unwrap()
}

/// A log with nothing in it, on each database.
async fn empty() -> Vec<(Database, Store)> {
    let mut stores = Vec::new();
    for database in databases() {
        let store = Store::open(&database.url).await.unwrap();
        stores.push((database, store));
    }
    stores
}

fn checked(payer: u8, cumulative: u64, view: LaneView) -> CheckedVoucher {
    let payer = Address::repeat_byte(payer);
    let voucher = SignedVoucher { payer, payee: PAYEE, cumulative: units(cumulative), signature: [27; 65] };
    CheckedVoucher { voucher, signer: payer, view, is_fresh: true }
}

/// The voucher that waits goes into a transaction with this nonce.
async fn plan_all(store: &Store, nonce: u64) -> i64 {
    let attempt = Attempt {
        hash: B256::left_padding_from(&nonce.to_be_bytes()),
        raw: vec![1],
        max_fee: 1,
        priority_fee: 1,
        signed_at_block: 1,
        cancels: false,
    };
    let row = |open: OpenVoucher| PlannedRow {
        id: open.id,
        voucher: open.voucher,
        signer: open.signer,
        reason: Reason::Worth,
        failures: 0,
        debt: None,
    };
    let rows = store.open_vouchers(10).await.unwrap().into_iter().map(row).collect();
    let instrument = Instrument::Voucher;
    let new = NewTransaction { sender: GAS_KEY, nonce, payee: PAYEE, gas_limit: 1, attempt, instrument, rows };
    store.plan(&new, 1).await.unwrap().unwrap()
}

/// Law 5: known lanes go on, and so does a new one for which there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_lane_above_the_limit_is_refused_by_itself() {
    for (_database, store) in empty().await {
        let checked = |payer, cumulative| checked(payer, cumulative, LaneView::default());

        let outcomes = store.record(&[checked(1, 1), checked(2, 1), checked(3, 1), checked(1, 2)], 2, 1).await.unwrap();
        assert_eq!(outcomes, [Recording::Recorded, Recording::Recorded, Recording::NoRoom, Recording::Recorded]);
        let outcomes = store.record(&[checked(3, 1), checked(1, 2), checked(2, 9)], 2, 1).await.unwrap();
        assert_eq!(outcomes, [Recording::NoRoom, Recording::SameAsBefore, Recording::Recorded]);
        assert_eq!(store.lane_lines().await.unwrap().len(), 2);
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_without_money_keep_none_with_money_out_of_the_plan() {
    for (_database, store) in empty().await {
        let funded = LaneView { open: units(1), ..LaneView::default() };
        store.record(&[checked(1, 1, LaneView::default())], 9, 1).await.unwrap();
        store.record(&[checked(2, 1, funded)], 9, 2).await.unwrap();

        let first = store.open_vouchers(1).await.unwrap();

        assert_eq!(first[0].voucher.payer, Address::repeat_byte(2), "the older one has nothing behind it");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_was_read_by_a_wrong_clock_is_read_again() {
    const NOW: u64 = 1_000;
    for (_database, store) in empty().await {
        store.record(&[checked(1, 1, LaneView::default())], 9, NOW + 1).await.unwrap();
        store.record(&[checked(2, 1, LaneView::default())], 9, NOW).await.unwrap();

        let stale = store.stale_views(NOW - 30, NOW, 9).await.unwrap();

        assert_eq!(stale.len(), 1, "what was read in the future, and not what was just read");
        assert_eq!(stale[0].voucher.payer, Address::repeat_byte(1));
        store.close().await;
    }
}

/// What the payer signed is good for ever; what replaces it must not be worth nothing when the claim comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_is_about_to_end_replaces_nobodys_voucher() {
    const HOUR: u64 = 3_600;
    for (_database, store) in empty().await {
        let by_delegate = |cumulative, signer_ends_at| CheckedVoucher {
            signer: Address::repeat_byte(0xdd),
            ..checked(1, cumulative, LaneView { signer_ends_at, ..LaneView::default() })
        };
        store.record(&[checked(1, 5, LaneView::default())], 9, 1).await.unwrap();

        assert_eq!(store.record(&[by_delegate(6, HOUR)], 9, 1).await.unwrap(), [Recording::SignerEnding]);
        let open = store.open_vouchers(9).await.unwrap();
        assert_eq!((open[0].voucher.cumulative, open[0].view.signer_ends_at), (units(5), 0), "untouched");

        assert_eq!(
            store.record(&[by_delegate(6, HOUR + 1)], 9, 1).await.unwrap(),
            [Recording::Recorded],
            "time enough"
        );
        assert_eq!(store.record(&[by_delegate(7, HOUR)], 9, 1).await.unwrap(), [Recording::Recorded], "its own");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_before_a_question_is_no_answer_to_it() {
    for (_database, store) in empty().await {
        let poor = LaneView { deposit: units(1), ..LaneView::default() };
        store.record(&[checked(1, 5, poor)], 9, 1).await.unwrap();
        let id = store.open_vouchers(9).await.unwrap()[0].id;
        let stale = async || store.stale_views(1, 1_000, 9).await.unwrap().len();
        let held = async || store.open_vouchers(9).await.unwrap()[0].held;
        let lane = checked(1, 5, poor).voucher;

        let before = store.last_question();
        let request = store.ask(10).await.unwrap();
        assert_eq!(stale().await, 1);
        store.put_views(&[(lane.payer, lane.payee, poor)], before, 11).await.unwrap();
        store.record(&[checked(1, 6, poor)], 9, 11).await.unwrap();
        store.hold(Instrument::Voucher, &[(id, Hold::Unfunded)], 0).await.unwrap();
        assert_eq!((stale().await, held().await), (1, None), "neither a look nor a hand-in from before counts as read");
        assert!(!store.progress(request).await.unwrap().unwrap().done);

        store.put_views(&[(lane.payer, lane.payee, poor)], store.last_question(), 12).await.unwrap();
        store.hold(Instrument::Voucher, &[(id, Hold::Unfunded)], 0).await.unwrap();
        assert_eq!((stale().await, held().await), (0, Some(Hold::Unfunded)));
        assert!(store.progress(request).await.unwrap().unwrap().done);
        store.close().await;
    }
}

/// Or every look would write each lane again that sent something since the last one. Any other reason is about the voucher.
#[tokio::test(flavor = "multi_thread")]
async fn a_larger_voucher_is_not_worth_it_yet_until_a_look_says_otherwise() {
    for (_database, store) in empty().await {
        let mut total = 0;
        let mut held_after = async |hold| {
            let id = store.open_vouchers(9).await.unwrap().first().map_or(0, |open| open.id);
            store.hold(Instrument::Voucher, &[(id, hold)], 0).await.unwrap();
            total += 1;
            let larger = checked(1, total, LaneView::default());
            assert_eq!(store.record(&[larger], 9, 1).await.unwrap(), [Recording::Recorded]);
            store.open_vouchers(9).await.unwrap()[0].held
        };
        assert_eq!(held_after(Hold::NotWorthYet).await, None, "new");
        assert_eq!(held_after(Hold::NotWorthYet).await, Some(Hold::NotWorthYet));
        for hold in [Hold::Unfunded, Hold::Settled, Hold::Failed, Hold::BadSignature] {
            assert_eq!(held_after(hold).await, None, "{hold}");
        }
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_below_what_was_paid_do_not_fill_the_log() {
    for (_database, store) in empty().await {
        let paid = LaneView { paid: units(9), ..LaneView::default() };
        for cumulative in 1..=9 {
            assert_eq!(store.record(&[checked(1, cumulative, paid)], 9, 1).await.unwrap(), [Recording::Recorded]);
            let open = store.open_vouchers(9).await.unwrap();
            store.settled_elsewhere(open[0].id).await.unwrap();
        }

        assert_eq!(store.summary().await.unwrap().vouchers[&VoucherState::Confirmed].count, 1);
        assert_eq!(store.record(&[checked(1, 8, paid)], 9, 1).await.unwrap(), [Recording::SameAsBefore]);
        store.close().await;
    }
}

/// A payer that takes its money away in front of each claim, and puts it back, and signs a little more each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_moved_nothing_is_tried_more_and_more_seldom() {
    for (_database, store) in empty().await {
        let mut now = 1_000;
        store.record(&[checked(1, 1, LaneView::default())], 9, now).await.unwrap();
        let mut pauses = Vec::new();
        for attempt in 1..=6 {
            let id = plan_all(&store, attempt).await;
            let receipt = Receipt {
                hash: B256::left_padding_from(&attempt.to_be_bytes()),
                block: 1,
                block_hash: B256::ZERO,
                gas_used: 1,
                fee_wei: 1,
            };
            store.confirmed(id, &receipt, &Payments::new(), now).await.unwrap();
            store.record(&[checked(1, attempt + 1, LaneView::default())], 9, now).await.unwrap();

            let open = store.open_vouchers(9).await.unwrap();
            assert_eq!(open[0].voucher.cumulative, units(attempt + 1), "nothing is burned");
            pauses.push(open[0].retry_at - now);
            now = open[0].retry_at;
        }

        assert_eq!(pauses, [300, 600, 1_200, 2_400, 3_600, 3_600]);
        store.close().await;
    }
}

/// Lines and counts of one answer belong together, whatever is being written meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_done_has_no_line_that_is_not() {
    for (_database, store) in empty().await {
        for turn in 1..=100 {
            store.record(&[checked(1, turn, LaneView::default())], 9, turn).await.unwrap();
            let request = store.ask(turn).await.unwrap();
            let id = plan_all(&store, turn).await;
            let receipt = Receipt {
                hash: B256::left_padding_from(&turn.to_be_bytes()),
                block: turn,
                block_hash: B256::ZERO,
                gas_used: 1,
                fee_wei: 1,
            };
            let payments = Payments::from([(Address::repeat_byte(1), (units(1), units(turn)))]);
            let (log, ended) = (store.clone(), receipt.clone());
            let ending = tokio::spawn(async move { log.confirmed(id, &ended, &payments, turn).await.unwrap() });
            loop {
                let progress = store.progress(request).await.unwrap().unwrap();
                assert_eq!(progress.done, progress.claims[0].paid.is_some(), "turn {turn}: {progress:?}");
                if progress.done {
                    break;
                }
            }
            ending.await.unwrap();
        }
        store.close().await;
    }
}

/// Requests that come at the same time share a commit; each gets the answers that it would have got alone.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_share_a_commit_are_answered_one_by_one() {
    for (_database, store) in empty().await {
        let batch = |request: u64| -> Vec<CheckedVoucher> {
            (0..50_u8)
                .map(|payer| checked(payer % 25 + 1, 100 * u64::from(payer / 25) + request, LaneView::default()))
                .collect()
        };
        let batches: Vec<_> = (1..=20).map(batch).collect();
        let answers = futures_util::future::join_all(batches.iter().map(|batch| store.record(batch, 1_000, 1))).await;

        let mut recorded = 0;
        for answer in answers {
            let answer = answer.unwrap();
            assert_eq!(answer.len(), 50);
            assert!(answer.iter().all(|one| matches!(one, Recording::Recorded | Recording::SameAsBefore)));
            recorded += answer.iter().filter(|one| **one == Recording::Recorded).count();
        }
        assert!(recorded >= 50, "each lane's two steps were recorded once at least");
        let open = store.open_vouchers(1_000).await.unwrap();
        assert_eq!(open.len(), 25);
        assert!(open.iter().all(|open| open.voucher.cumulative == units(120)), "the largest of all stands");
        let bad = store.record(&[checked(1, 0, LaneView::default())], 1_000, 1).await.unwrap();
        assert_eq!(bad, [Recording::SameAsBefore]);
        store.close().await;
        assert!(store.record(&batches[0], 1_000, 1).await.is_err(), "nothing is recorded by a closed log");
    }
}

/// Law 13: more than may wait is refused at once, and what was accepted before stands.
#[tokio::test(flavor = "multi_thread")]
async fn more_than_may_wait_is_told_to_come_back() {
    for (_database, store) in empty().await {
        let batch = [checked(1, 1, LaneView::default())];
        let answers = futures_util::future::join_all((0..500).map(|_| store.record(&batch, 9, 1))).await;

        let refused = answers.iter().filter(|answer| matches!(answer, Err(StoreError::Busy))).count();
        let taken = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(refused + taken, 500);
        assert!(refused > 0 && taken > 0, "{refused} refused, {taken} taken");
        assert_eq!(store.record(&batch, 9, 1).await.unwrap(), [Recording::SameAsBefore], "it gets well");
        store.close().await;
    }
}

/// The last quarter of the log is for lanes with money behind them.
#[tokio::test(flavor = "multi_thread")]
async fn dust_does_not_fill_the_last_of_the_log() {
    for (_database, store) in empty().await {
        let dust = LaneView { open: units(1), ..LaneView::default() };
        let funded = LaneView { open: units(10_000), ..LaneView::default() };
        for payer in 1..=6 {
            assert_eq!(store.record(&[checked(payer, 1, dust)], 8, 1).await.unwrap(), [Recording::Recorded]);
        }
        assert_eq!(store.record(&[checked(7, 1, dust)], 8, 1).await.unwrap(), [Recording::NoRoom]);
        assert_eq!(store.record(&[checked(7, 1, funded)], 8, 1).await.unwrap(), [Recording::Recorded]);
        assert_eq!(
            store.record(&[checked(1, 2, dust)], 8, 1).await.unwrap(),
            [Recording::Recorded],
            "known lanes go on"
        );
        store.close().await;
    }
}

/// `cargo test --release -p minus-settler --test suite -- --ignored --nocapture vouchers_per_second`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn durable_vouchers_per_second() {
    const LANES: u64 = 20_000;
    for (database, store) in empty().await {
        let name = database.url.split(':').next().unwrap_or_default();
        let view = LaneView { deposit: units(1_000_000), ..LaneView::default() };
        for turn in 1..=3 {
            let vouchers: Vec<CheckedVoucher> = (0..LANES)
                .map(|lane| {
                    let payer = Address::left_padding_from(&(lane + 1).to_be_bytes());
                    let signature = [27; 65];
                    let voucher = SignedVoucher { payer, payee: PAYEE, cumulative: units(turn), signature };
                    CheckedVoucher { voucher, signer: payer, view, is_fresh: true }
                })
                .collect();
            let started = std::time::Instant::now();
            let requests = vouchers.chunks(1_024).map(|batch| store.record(batch, 1_000_000, turn));
            for answer in futures_util::future::join_all(requests).await {
                answer.unwrap();
            }
            let rate = 20_000.0 / started.elapsed().as_secs_f64();
            println!("{name}: turn {turn}, {rate:.0} durable vouchers per second in requests of 1,024");
        }
        let started = std::time::Instant::now();
        let open = store.look(|board| board.open().count()).await.unwrap();
        println!("{name}: {open} lanes read into memory in {:?}", started.elapsed());
        store.close().await;
    }
}
