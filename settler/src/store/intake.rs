//! Recording vouchers, many at once: what the log says of their lanes is loaded, each voucher is judged on it in turn, and
//! what changed is written back, all in one transaction of the [`recorder`](super::recorder).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};
use sqlx::AssertSqlSafe;

use super::codec;
use super::database::{Kind, Write};
use super::lanes::{Doubts, LaneView, put_views};
use super::open::{Ids, Store, StoreError};
use super::recorder::Job;
use super::rows::{Given, chunks};

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
    /// Unknown of one that the log has and the chain never refused: it is compared with nothing.
    signature: Option<[u8; 65]>,
    is_bad: bool,
    retry_at: u64,
    failures: i64,
    /// Since when it waits, if the log has no row of it yet.
    new_since: Option<u64>,
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

/// A lane by its place among those that were asked for, its highest voucher beyond what waits, and the one that waits.
#[derive(sqlx::FromRow)]
struct KnownRow {
    place: i64,
    claimed: Option<String>,
    id: Option<i64>,
    cumulative: Option<String>,
    signer: Option<String>,
    refused: Option<String>,
    retry_at: Option<i64>,
    failures: Option<i64>,
}

impl KnownRow {
    fn parse(self) -> Result<Known, StoreError> {
        let waiting = match (self.id, self.cumulative, self.signer) {
            (Some(id), Some(cumulative), Some(signer)) => Some(Waiting {
                id,
                cumulative: codec::amount(&cumulative)?,
                signer: codec::address(&signer)?,
                signature: self.refused.as_deref().map(codec::signature).transpose()?,
                is_bad: self.refused.is_some(),
                retry_at: codec::unsigned(self.retry_at.unwrap_or(0))?,
                failures: self.failures.unwrap_or(0),
                new_since: None,
            }),
            _ => None,
        };
        let claimed = self.claimed.as_deref().map(codec::amount).transpose()?.unwrap_or_default();
        let best = waiting.as_ref().map_or(claimed, |waiting| waiting.cumulative.max(claimed));
        Ok(Known { best, waiting })
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
        for chunk in chunks(transaction.kind(), &wanted) {
            let places: Vec<(i64, Lane)> = (0..).zip(chunk.iter().copied()).collect();
            let given = Given::new(transaction.kind(), &places)
                .number("place", |(place, _)| *place)
                .text("payer", |(_, (payer, _))| codec::address_text(*payer))
                .text("payee", |(_, (_, payee))| codec::address_text(*payee));
            let text = format!(
                "{given}
                 select k.place, w.id, w.cumulative, w.signer, w.retry_at, w.failures,
                        case when w.held = 'bad_signature' then w.signature end as refused,
                        (select max(v.claimed) from vouchers v where v.payer = l.payer and v.payee = l.payee) as claimed
                 from k cross join lanes l
                      left join vouchers w on w.payer = l.payer and w.payee = l.payee and w.state = 'recorded'
                 where l.payer = k.payer and l.payee = k.payee"
            );
            let query = sqlx::query_as_with::<_, KnownRow, _>(AssertSqlSafe(text), given.arguments()?);
            for row in query.fetch_all(&mut **transaction).await? {
                let place = usize::try_from(row.place).ok().and_then(|place| chunk.get(place));
                let lane = *place.ok_or_else(|| StoreError::corrupt("place", &row.place.to_string()))?;
                known.insert(lane, row.parse()?);
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
        let waiting = |lane| self.known.get(lane).and_then(|known| Some((lane, known.waiting.as_ref()?)));
        let (new, larger): (Vec<Taken<'_>>, _) =
            self.changed.iter().filter_map(waiting).partition(|(_, waiting)| waiting.new_since.is_some());
        insert(transaction, &new).await?;
        replace(transaction, &larger).await?;
        for lane in self.views.keys().chain(&self.changed) {
            transaction.touch(*lane);
        }
        Ok(())
    }
}

/// A voucher that is to be written, and its lane.
type Taken<'b> = (&'b Lane, &'b Waiting);

/// The columns of vouchers that were taken. What is taken has a signature.
fn given<'t>(kind: Kind, taken: &'t [Taken<'_>]) -> Given<'t, Taken<'t>> {
    let signature = |waiting: &Waiting| waiting.signature.map(|signature| codec::bytes_text(&signature));
    Given::new(kind, taken)
        .number("id", |(_, waiting)| waiting.id)
        .text("cumulative", |(_, waiting)| codec::amount_text(waiting.cumulative))
        .text("signer", |(_, waiting)| codec::address_text(waiting.signer))
        .text("signature", move |(_, waiting)| signature(waiting).unwrap_or_default())
        .number("retry_at", |(_, waiting)| codec::signed(waiting.retry_at))
        .number("failures", |(_, waiting)| waiting.failures)
}

/// Vouchers of lanes where none waits.
async fn insert(transaction: &mut Write, new: &[Taken<'_>]) -> Result<(), StoreError> {
    for chunk in chunks(transaction.kind(), new) {
        let given = given(transaction.kind(), chunk)
            .text("payer", |((payer, _), _)| codec::address_text(*payer))
            .text("payee", |((_, payee), _)| codec::address_text(*payee))
            .number("recorded_at", |(_, waiting)| codec::signed(waiting.new_since.unwrap_or(0)));
        let text = format!(
            "{given}
             insert into vouchers (id, payer, payee, cumulative, signer, signature, recorded_at, retry_at, failures,
                                   state, came_from)
             select id, payer, payee, cumulative, signer, signature, recorded_at, retry_at, failures, 'recorded', 'new'
             from k"
        );
        sqlx::query_with(AssertSqlSafe(text), given.arguments()?).execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Larger ones, or better signed ones, in the place of those that wait. What the last look said of a lane stands until the
/// next, unless the operator asked or it was the signature: so a lane that sends often is not written again by every look.
async fn replace(transaction: &mut Write, larger: &[Taken<'_>]) -> Result<(), StoreError> {
    for chunk in chunks(transaction.kind(), larger) {
        let given = given(transaction.kind(), chunk);
        let text = format!(
            "{given}
             update vouchers set cumulative = k.cumulative, signer = k.signer, signature = k.signature,
                                 retry_at = k.retry_at, failures = k.failures,
                                 held = case when asked is null and held = 'not_worth_yet' then held end
             from k where vouchers.id = k.id and state = 'recorded'"
        );
        let query = sqlx::query_with(AssertSqlSafe(text), given.arguments()?);
        let replaced = query.execute(&mut **transaction).await?.rows_affected();
        if usize::try_from(replaced) != Ok(chunk.len()) {
            return Err(StoreError::NotCommitted(format!("{replaced} of {} rows still wait", chunk.len())));
        }
    }
    Ok(())
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
            signature: Some(voucher.signature),
            is_bad: false,
            retry_at: 0,
            failures: 0,
            new_since: waiting.map_or(Some(now), |waiting| waiting.new_since),
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
            waiting.is_bad && waiting.cumulative == voucher.cumulative && waiting.signature != Some(voucher.signature)
        });
        if mends {
            self.waiting = Some(new(waiting));
        }
        mends
    }
}
