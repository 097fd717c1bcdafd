//! Recording vouchers, many at once: what the log says of their lanes is loaded, each voucher is judged on it in turn, and
//! what changed is written back, all in one transaction of the [`recorder`](super::recorder).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};
use sqlx::AssertSqlSafe;

use super::codec;
use super::database::Write;
use super::lanes::{Doubts, LaneView, put_views};
use super::open::{Ids, Store, StoreError};
use super::recorder::Job;
use super::rows::{chunks, places};
use super::state::Hold;

/// A voucher whose signer was found to be one, with the lane as the chain showed it.
#[derive(Debug, Clone)]
pub struct CheckedVoucher {
    /// What was signed.
    pub voucher: SignedVoucher,
    /// Who signed it: the payer or its delegate.
    pub signer: Address,
    /// The lane as the chain showed it,
    pub view: LaneView,
    /// just now, or before: then it was stored already.
    pub is_fresh: bool,
}

/// What became of a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// It is the best of its lane, and durable.
    Recorded,
    /// Nothing new: as much, or more, was recorded before.
    SameAsBefore,
    /// Not taken: the log keeps as many lanes as it may, and this is a new one.
    NoRoom,
    /// Not taken: its signer is about to be none, and what another one signed waits safely.
    SignerEnding,
}

/// A signer that ends sooner than this is not trusted to replace another's voucher: the claim might come too late, and
/// with it all that the replaced voucher was good for. The planner claims half a day earlier what is taken in time.
const SIGNER_REST_MIN_S: u64 = 3_600;

/// The last part of the log, one in so many lanes, goes to lanes with [`SCARCE_FUNDS_MIN`] behind them: to fill that, a
/// stranger has to lock up money, and not only to pay for gas.
const SCARCE_SHARE: u64 = 4;
/// What has to stand behind a new lane when room is scarce: a hundredth of a token.
const SCARCE_FUNDS_MIN: u128 = 10_000;

impl Store {
    /// Records a batch in order, with what other callers bring at the same time. All that is answered for is durable when
    /// this returns. A new lane beyond `lanes_max` is left out by itself (law 5).
    ///
    /// # Errors
    /// When too many wait already, or the database fails; then nothing is known to be recorded.
    pub async fn record(
        &self,
        batch: &[CheckedVoucher],
        lanes_max: u64,
        now: u64,
    ) -> Result<Vec<Recording>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.recorder().record(Job { vouchers: batch.to_vec(), lanes_max, now }).await
    }
}

/// Payer and payee.
pub(super) type Lane = (Address, Address);

/// What the log says of one lane.
#[derive(Default)]
struct Known {
    /// The highest total of all its vouchers.
    best: Amount,
    /// The voucher that waits.
    waiting: Option<Waiting>,
}

struct Waiting {
    id: i64,
    cumulative: Amount,
    signer: Address,
    signature: [u8; 65],
    is_bad: bool,
    recorded_at: u64,
    retry_at: u64,
    failures: i64,
}

/// The log as far as some vouchers touch it.
pub(super) struct Books {
    known: HashMap<Lane, Known>,
    /// Lanes in the log, if anybody counted.
    lanes: Option<u64>,
    /// To be written: views, with when they were read, and vouchers that wait.
    views: BTreeMap<Lane, (LaneView, u64)>,
    changed: BTreeSet<Lane>,
}

#[derive(sqlx::FromRow)]
struct KnownRow {
    payer: String,
    payee: String,
    best: Option<String>,
    id: Option<i64>,
    cumulative: Option<String>,
    signer: Option<String>,
    signature: Option<String>,
    held: Option<String>,
    recorded_at: Option<i64>,
    retry_at: Option<i64>,
    failures: Option<i64>,
}

impl KnownRow {
    fn parse(self) -> Result<(Lane, Known), StoreError> {
        let waiting = match (self.id, self.cumulative, self.signer, self.signature) {
            (Some(id), Some(cumulative), Some(signer), Some(signature)) => Some(Waiting {
                id,
                cumulative: codec::amount(&cumulative)?,
                signer: codec::address(&signer)?,
                signature: codec::signature(&signature)?,
                is_bad: self.held.as_deref() == Some(Hold::BadSignature.as_str()),
                recorded_at: codec::unsigned(self.recorded_at.unwrap_or(0))?,
                retry_at: codec::unsigned(self.retry_at.unwrap_or(0))?,
                failures: self.failures.unwrap_or(0),
            }),
            _ => None,
        };
        let known = Known { best: self.best.as_deref().map(codec::amount).transpose()?.unwrap_or_default(), waiting };
        Ok(((codec::address(&self.payer)?, codec::address(&self.payee)?), known))
    }
}

impl Books {
    /// Reads what the log says of the lanes of these vouchers. `lanes` is how many there are in all, if that is known.
    pub(super) async fn load(transaction: &mut Write, jobs: &[Job], lanes: Option<u64>) -> Result<Self, StoreError> {
        let distinct: BTreeSet<Lane> = jobs
            .iter()
            .flat_map(|job| &job.vouchers)
            .map(|checked| (checked.voucher.payer, checked.voucher.payee))
            .collect();
        let wanted: Vec<Lane> = distinct.into_iter().collect();
        let mut known = HashMap::with_capacity(wanted.len());
        for chunk in chunks(&wanted) {
            let text = format!(
                "with k (payer, payee) as (values {})
                 select l.payer, l.payee, w.id, w.cumulative, w.signer, w.signature, w.held,
                        w.recorded_at, w.retry_at, w.failures,
                        (select max(v.cumulative) from vouchers v where v.payer = l.payer and v.payee = l.payee) as best
                 from k cross join lanes l
                      left join vouchers w on w.payer = l.payer and w.payee = l.payee and w.state = 'recorded'
                 where l.payer = k.payer and l.payee = k.payee",
                places(transaction.kind(), chunk.len(), 2, "")
            );
            let mut query = sqlx::query_as::<_, KnownRow>(AssertSqlSafe(text));
            for (payer, payee) in chunk {
                query = query.bind(codec::address_text(*payer)).bind(codec::address_text(*payee));
            }
            for row in query.fetch_all(&mut **transaction).await? {
                let (lane, row) = row.parse()?;
                known.insert(lane, row);
            }
        }
        let lanes = match lanes {
            None if known.len() < wanted.len() => {
                let count = sqlx::query_scalar("select count(*) from lanes").fetch_one(&mut **transaction).await?;
                Some(codec::unsigned(count)?)
            }
            lanes => lanes,
        };
        Ok(Self { known, lanes, views: BTreeMap::new(), changed: BTreeSet::new() })
    }

    /// How many lanes there are after all that was judged, if that is known.
    pub(super) const fn lanes(&self) -> Option<u64> {
        self.lanes
    }

    /// What becomes of one voucher, after those that were judged before it.
    pub(super) fn judge(&mut self, checked: &CheckedVoucher, lanes_max: u64, now: u64, ids: &Ids) -> Recording {
        let voucher = &checked.voucher;
        if voucher.cumulative.is_zero() {
            return Recording::SameAsBefore;
        }
        let lane = (voucher.payer, voucher.payee);
        let is_new = !self.known.contains_key(&lane);
        if is_new && !self.take_room(&checked.view, lanes_max) {
            return Recording::NoRoom;
        }
        let known = self.known.entry(lane).or_default();
        if known.would_be_replaced_for_too_short(checked, now) {
            return Recording::SignerEnding;
        }
        // What is older may be older than what is stored by now. Of a new lane it is stored as never seen.
        if checked.is_fresh {
            self.views.insert(lane, (checked.view, now));
        } else if is_new {
            self.views.insert(lane, (checked.view, 0));
        }
        let recorded = known.take(checked, now, ids);
        if recorded {
            self.changed.insert(lane);
        }
        if recorded { Recording::Recorded } else { Recording::SameAsBefore }
    }

    /// Is there room for one more lane?
    fn take_room(&mut self, view: &LaneView, lanes_max: u64) -> bool {
        let lanes = self.lanes.unwrap_or(u64::MAX);
        let is_scarce = lanes >= lanes_max - lanes_max / SCARCE_SHARE;
        let funds = view.deposit.base_units().saturating_add(view.open.base_units());
        let has_room = lanes < lanes_max && (!is_scarce || funds >= SCARCE_FUNDS_MIN);
        if has_room {
            self.lanes = lanes.checked_add(1);
        }
        has_room
    }

    /// Writes what changed.
    pub(super) async fn save(&self, transaction: &mut Write) -> Result<(), StoreError> {
        let views: Vec<_> =
            self.views.iter().map(|((payer, payee), (view, at))| (*payer, *payee, *view, *at)).collect();
        put_views(transaction, &views, Doubts::Kept).await?;
        let waiting: Vec<(&Lane, &Waiting)> = self
            .changed
            .iter()
            .filter_map(|lane| self.known.get(lane).and_then(|known| Some((lane, known.waiting.as_ref()?))))
            .collect();
        for chunk in chunks(&waiting) {
            let text = format!(
                "insert into vouchers (id, payer, payee, cumulative, signer, signature, recorded_at, retry_at, failures,
                                       state, came_from)
                 values {}
                 on conflict (payer, payee) where state = 'recorded'
                 do update set cumulative = excluded.cumulative, signer = excluded.signer,
                               signature = excluded.signature, retry_at = excluded.retry_at,
                               failures = excluded.failures, held = null",
                places(transaction.kind(), chunk.len(), 9, ", 'recorded', 'new'")
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for ((payer, payee), waiting) in chunk {
                query = query
                    .bind(waiting.id)
                    .bind(codec::address_text(*payer))
                    .bind(codec::address_text(*payee))
                    .bind(codec::amount_text(waiting.cumulative))
                    .bind(codec::address_text(waiting.signer))
                    .bind(codec::bytes_text(&waiting.signature))
                    .bind(codec::signed(waiting.recorded_at))
                    .bind(codec::signed(waiting.retry_at))
                    .bind(waiting.failures);
            }
            query.execute(&mut **transaction).await?;
        }
        for lane in self.views.keys().chain(&self.changed) {
            transaction.touch(*lane);
        }
        Ok(())
    }
}

impl Known {
    /// Does a voucher wait that another signer made, while this one's will soon be none?
    fn would_be_replaced_for_too_short(&self, checked: &CheckedVoucher, now: u64) -> bool {
        let ends_at = checked.view.signer_ends_at;
        ends_at != 0
            && ends_at.saturating_sub(now) < SIGNER_REST_MIN_S
            && self.waiting.as_ref().is_some_and(|waiting| waiting.signer != checked.signer && !waiting.is_bad)
    }

    /// Whether the voucher is now the one that waits.
    fn take(&mut self, checked: &CheckedVoucher, now: u64, ids: &Ids) -> bool {
        let voucher = &checked.voucher;
        let new = |waiting: Option<&Waiting>| Waiting {
            id: waiting.map_or_else(|| Ids::next(&ids.vouchers), |waiting| waiting.id),
            cumulative: voucher.cumulative,
            signer: checked.signer,
            signature: voucher.signature,
            is_bad: false,
            recorded_at: waiting.map_or(now, |waiting| waiting.recorded_at),
            retry_at: 0,
            failures: 0,
        };
        let waiting = self.waiting.as_ref();
        if voucher.cumulative > self.best {
            // The one that waits is replaced and keeps its age: the lane has waited since then. It keeps its pause after a
            // failure, too, unless it was the signature's; else a payer could end the pause by signing one base unit more.
            let paused = waiting.filter(|waiting| !waiting.is_bad).map_or(0, |waiting| waiting.retry_at);
            let failures = waiting.map_or(0, |waiting| waiting.failures);
            self.waiting = Some(Waiting { retry_at: paused, failures, ..new(waiting) });
            self.best = voucher.cumulative;
            return true;
        }
        // The same total under another signature helps only if the chain stopped to accept the one that waits.
        let mends = waiting.is_some_and(|waiting| {
            waiting.is_bad && waiting.cumulative == voucher.cumulative && waiting.signature != voucher.signature
        });
        if mends {
            self.waiting = Some(new(waiting));
        }
        mends
    }
}
