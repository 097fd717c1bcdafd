//! The log against a plain model: random vouchers, plans, confirmations, failures and reorganisations, and after each
//! step the invariants
//!
//! - law 8, nothing is lost: if a lane's best voucher is above what the chain has paid, it is in a row that is not at
//!   its end;
//! - law 3, nothing is paid twice: the confirmed rows of a lane add up to what the chain has paid;
//! - a lane has at most one voucher waiting and one under way.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, Bytes};
use minus_bindings::{Amount, SignedVoucher};
use minus_settler::api::LaneLine;
use minus_settler::store::endings::{Failure, Payments, Receipt};
use minus_settler::store::{
    Attempt, CheckedVoucher, Instrument, LaneView, NewTransaction, OpenVoucher, PlannedRow, Reason, Recording, Store,
    StoreError, VoucherState,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::postgres::{Database, databases};

const PAYEE: Address = Address::repeat_byte(0xaa);
const GAS_KEY: Address = Address::repeat_byte(0x99);
const LANES: u8 = 3;
const STEPS: usize = 250;

fn units(units: u64) -> Amount {
    Amount::from_base_units(u128::from(units)).unwrap()
}

/// One transaction as the model's chain sees it.
struct Sent {
    id: i64,
    rows: Vec<(Address, u64)>,
    /// What each payer paid in it, if it is in a block.
    moved: Option<BTreeMap<Address, u64>>,
    live: bool,
}

struct Model {
    store: Store,
    random: StdRng,
    best: BTreeMap<Address, u64>,
    paid: BTreeMap<Address, u64>,
    sent: Vec<Sent>,
    /// Those in a block, in the chain's order.
    mined: Vec<usize>,
    time: u64,
}

impl Model {
    async fn step(&mut self) {
        self.time += 1;
        match self.random.random_range(0..10) {
            0..=3 => self.hand_in().await,
            4 | 5 => self.plan().await,
            6 | 7 => self.confirm().await,
            8 => self.fail().await,
            _ => self.reorganise().await,
        }
        self.check().await;
    }

    async fn hand_in(&mut self) {
        let payer = Address::repeat_byte(self.random.random_range(1..=LANES));
        let best = self.best.get(&payer).copied().unwrap_or(0);
        let cumulative = (best + self.random.random_range(0..6)).saturating_sub(2);
        let voucher = SignedVoucher { payer, payee: PAYEE, cumulative: units(cumulative), signature: [27; 65] };
        let checked = CheckedVoucher { voucher, signer: payer, view: LaneView::default() };

        let outcome = self.store.record(&[checked], 100, self.time).await.unwrap();

        let expected = if cumulative > best { Recording::Recorded } else { Recording::SameAsBefore };
        assert_eq!(outcome, [expected]);
        if cumulative > 0 {
            self.best.insert(payer, best.max(cumulative));
        }
    }

    async fn plan(&mut self) {
        let open = self.store.open_vouchers(100).await.unwrap();
        if open.is_empty() {
            return;
        }
        let nonce = u64::try_from(self.sent.len()).unwrap();
        let rows: Vec<PlannedRow> = open
            .iter()
            .map(|open| PlannedRow {
                id: open.id,
                voucher: open.voucher,
                signer: open.signer,
                reason: Reason::Worth,
                failures: 0,
            })
            .collect();
        let attempt = Attempt {
            hash: B256::left_padding_from(&nonce.to_be_bytes()),
            raw: Bytes::from_static(&[1]).to_vec(),
            max_fee: 1,
            priority_fee: 1,
            signed_at_block: self.time,
            cancels: false,
        };
        // Now and then a larger voucher comes while the bytes are being signed.
        if self.random.random_bool(0.5) {
            self.hand_in().await;
        }
        let (instrument, rows_of) = (Instrument::Voucher, rows.clone());
        let new =
            NewTransaction { sender: GAS_KEY, nonce, payee: PAYEE, gas_limit: 1, attempt, instrument, rows: rows_of };
        let id = self.store.plan(&new, self.time).await.unwrap().unwrap();
        assert_eq!(self.store.plan(&new, self.time).await.unwrap(), None, "a nonce is used once");
        self.store.submitted(id).await.unwrap();
        let rows = rows
            .iter()
            .map(|row| (row.voucher.payer, u64::try_from(row.voucher.cumulative.base_units()).unwrap()))
            .collect();
        self.sent.push(Sent { id, rows, moved: None, live: true });
    }

    fn any_live(&mut self) -> Option<usize> {
        let live: Vec<usize> = (0..self.sent.len()).filter(|index| self.sent[*index].live).collect();
        if live.is_empty() { None } else { Some(live[self.random.random_range(0..live.len())]) }
    }

    fn receipt(&self) -> Receipt {
        let block_hash = B256::left_padding_from(&self.time.to_be_bytes());
        Receipt { hash: block_hash, block: self.time, block_hash, gas_used: 1, fee_wei: 1 }
    }

    /// The chain pays each row's difference, or only a part of it.
    async fn confirm(&mut self) {
        let Some(index) = self.any_live() else { return };
        let mut moved = BTreeMap::new();
        let mut payments = Payments::new();
        for (payer, cumulative) in &self.sent[index].rows {
            let paid = self.paid.entry(*payer).or_default();
            let due = cumulative.saturating_sub(*paid);
            let pays = if self.random.random_bool(0.3) { due / 2 } else { due };
            *paid += pays;
            moved.insert(*payer, pays);
            payments.insert(*payer, (units(pays), units(*paid)));
        }
        let receipt = self.receipt();
        self.mined.push(index);
        let sent = &mut self.sent[index];
        (sent.moved, sent.live) = (Some(moved), false);
        self.store.confirmed(sent.id, &receipt, &payments, self.time).await.unwrap();
    }

    async fn fail(&mut self) {
        let Some(index) = self.any_live() else { return };
        self.sent[index].live = false;
        let id = self.sent[index].id;
        if self.random.random_bool(0.5) {
            self.store.failed(id, Failure::Reverted, Some(&self.receipt()), 0).await.unwrap();
        } else {
            self.store.failed(id, Failure::Lost, None, 0).await.unwrap();
        }
    }

    /// The chain undoes its last claim, as a reorganisation undoes its last blocks.
    async fn reorganise(&mut self) {
        let Some(index) = self.mined.pop() else { return };
        let sent = &mut self.sent[index];
        for (payer, amount) in sent.moved.take().unwrap_or_default() {
            *self.paid.entry(payer).or_default() -= amount;
        }
        sent.live = true;
        self.store.back_to_planned(sent.id).await.unwrap();
    }

    async fn check(&self) {
        let lines: Vec<LaneLine> = self.store.lane_lines().await.unwrap();
        for (payer, best) in &self.best {
            let paid = self.paid.get(payer).copied().unwrap_or(0);
            let of_lane: Vec<&LaneLine> = lines.iter().filter(|line| line.payer == *payer).collect();
            let waiting = of_lane.iter().filter(|line| line.state == VoucherState::Recorded).count();
            assert!(waiting <= 1 && of_lane.len() - waiting <= 1, "one waits, one is under way");
            let answered_for = of_lane.iter().map(|line| line.cumulative).max().unwrap_or_default();
            assert!(paid >= *best || answered_for == units(*best), "lost: {best} of {payer}, {paid} paid");
        }
        let waits_alone = |line: &&LaneLine| {
            lines.iter().all(|other| other.payer != line.payer || other.state == VoucherState::Recorded)
        };
        let mut open: Vec<_> = lines.iter().filter(waits_alone).map(|line| (line.payer, line.cumulative)).collect();
        let mut board: Vec<_> = self
            .store
            .look(|board| board.open().map(|open| (open.voucher.payer, open.voucher.cumulative)).collect())
            .await
            .unwrap();
        open.sort();
        board.sort();
        assert_eq!(board, open, "the planner's memory is what the log says");
        let confirmed = self.store.summary().await.unwrap().vouchers[&VoucherState::Confirmed].paid;
        assert_eq!(confirmed, units(self.paid.values().sum()), "the log says what the chain has paid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_agrees_with_the_model_after_every_step() {
    for (database, seed) in databases().into_iter().zip([[1, 2, 3, 4].as_slice(), &[5]]) {
        for seed in seed {
            let url = match &database.server {
                None => format!("sqlite:{}", database.folder.path().join(format!("{seed}.db")).display()),
                Some(_) => database.url.clone(),
            };
            let mut model = Model {
                store: Store::open(&url).await.unwrap(),
                random: StdRng::seed_from_u64(*seed),
                best: BTreeMap::new(),
                paid: BTreeMap::new(),
                sent: Vec::new(),
                mined: Vec::new(),
                time: 1,
            };
            for _ in 0..STEPS {
                model.step().await;
            }
            model.store.close().await;
        }
    }
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
    CheckedVoucher { voucher, signer: payer, view }
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
                    CheckedVoucher { voucher, signer: payer, view }
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
