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
    Attempt, CheckedVoucher, Instrument, LaneView, NewTransaction, PlannedRow, Reason, Recording, Store, Sweep,
    VoucherState,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::postgres::databases;

const PAYEE: Address = Address::repeat_byte(0xaa);
const GAS_KEY: Address = Address::repeat_byte(0x99);
const LANES: u8 = 3;
const STEPS: usize = 250;
/// Blocks from one step to the next: a claim is final some forty steps after it.
const STEP_BLOCKS: u64 = 100;
/// No reorganisation is deeper.
const FINAL_BLOCKS: u64 = 4_096;

fn units(units: u64) -> Amount {
    Amount::from_base_units(u128::from(units)).unwrap()
}

/// One transaction as the model's chain sees it.
struct Sent {
    id: i64,
    rows: Vec<(Address, u64)>,
    /// What each payer paid in it, if it is in a block.
    moved: Option<BTreeMap<Address, u64>>,
    /// The block that it is in.
    block: u64,
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
    /// Rows that were removed.
    pruned: u64,
}

impl Model {
    async fn step(&mut self) {
        self.time += 1;
        match self.random.random_range(0..11) {
            0..=3 => self.hand_in().await,
            4 | 5 => self.plan().await,
            6 | 7 => self.confirm().await,
            8 => self.fail().await,
            9 => self.prune().await,
            _ => self.reorganise().await,
        }
        self.check().await;
    }

    async fn hand_in(&mut self) {
        let payer = Address::repeat_byte(self.random.random_range(1..=LANES));
        let best = self.best.get(&payer).copied().unwrap_or(0);
        let cumulative = (best + self.random.random_range(0..6)).saturating_sub(2);
        let voucher = SignedVoucher { payer, payee: PAYEE, cumulative: units(cumulative), signature: [27; 65] };
        let checked = CheckedVoucher { voucher, signer: payer, view: LaneView::default(), is_fresh: true };

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
                debt: None,
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
        self.sent.push(Sent { id, rows, moved: None, block: 0, live: true });
    }

    fn any_live(&mut self) -> Option<usize> {
        let live: Vec<usize> = (0..self.sent.len()).filter(|index| self.sent[*index].live).collect();
        if live.is_empty() { None } else { Some(live[self.random.random_range(0..live.len())]) }
    }

    fn block(&self) -> u64 {
        self.time * STEP_BLOCKS
    }

    fn receipt(&self) -> Receipt {
        let block_hash = B256::left_padding_from(&self.time.to_be_bytes());
        Receipt { hash: block_hash, block: self.block(), block_hash, gas_used: 1, fee_wei: 1 }
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
        let block = self.block();
        let sent = &mut self.sent[index];
        (sent.moved, sent.block, sent.live) = (Some(moved), block, false);
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
        if self.sent[index].block + FINAL_BLOCKS < self.block() {
            return self.mined.push(index);
        }
        let sent = &mut self.sent[index];
        for (payer, amount) in sent.moved.take().unwrap_or_default() {
            *self.paid.entry(payer).or_default() -= amount;
        }
        sent.live = true;
        self.store.back_to_planned(sent.id).await.unwrap();
    }

    /// All that is over goes, whatever its age in seconds.
    async fn prune(&mut self) {
        let mut sweep = Sweep::START;
        while sweep != Sweep::Done {
            let (next, removed) = self.store.prune(sweep, self.time + 1).await.unwrap();
            (sweep, self.pruned) = (next, self.pruned + removed);
        }
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
                pruned: 0,
            };
            for _ in 0..STEPS {
                model.step().await;
            }
            assert!(model.pruned > 0, "nothing was ever over");
            model.store.close().await;
        }
    }
}
