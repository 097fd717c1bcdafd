//! The vouchers that may be planned, in memory: what the planner looks at every few seconds, a million lanes or more. The
//! log is the truth. Every write says which lanes it touched, and only those are read again before the next look.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::TryStreamExt;
use sqlx::AssertSqlSafe;

use super::codec;
use super::database::Kind;
use super::intake::Lane;
use super::lanes::{OPEN_COLUMNS, OpenRow, OpenVoucher};
use super::open::{Store, StoreError};
use super::rows::{Given, chunks};

/// Lanes that are to be read again. Above this many single ones, all are: the memory stays bounded.
const TOUCHED_MAX: usize = 1 << 18;

/// Which lanes are to be read again.
#[derive(Debug)]
pub(super) struct Touched(Mutex<Lanes>);

#[derive(Debug)]
enum Lanes {
    All,
    These(HashSet<Lane>),
}

impl Default for Touched {
    /// Nothing has been read yet.
    fn default() -> Self {
        Self(Mutex::new(Lanes::All))
    }
}

impl Touched {
    pub(super) fn add<'l>(&self, lanes: impl IntoIterator<Item = &'l Lane>) {
        let mut touched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Lanes::These(these) = &mut *touched {
            these.extend(lanes);
            if these.len() > TOUCHED_MAX {
                *touched = Lanes::All;
            }
        }
    }

    pub(super) fn add_all(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Lanes::All;
    }

    /// What is to be read now. It counts as touched still until it was read.
    fn take(&self) -> Reading<'_> {
        let mut touched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Reading { lanes: std::mem::replace(&mut *touched, Lanes::These(HashSet::new())), touched: self }
    }
}

/// Lanes that are being read again. Dropped before that is done, by an error or because whoever asked went away, they are
/// touched as before.
struct Reading<'t> {
    lanes: Lanes,
    touched: &'t Touched,
}

impl Reading<'_> {
    fn done(mut self) {
        self.lanes = Lanes::These(HashSet::new());
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        match &self.lanes {
            Lanes::All => self.touched.add_all(),
            Lanes::These(these) => self.touched.add(these),
        }
    }
}

/// The open vouchers, by lane.
#[derive(Debug, Default)]
pub struct Board {
    open: HashMap<Lane, OpenVoucher>,
}

impl Board {
    /// Each lane's voucher that waits, with nothing of its lane under way. In no particular order.
    pub fn open(&self) -> impl Iterator<Item = &OpenVoucher> {
        self.open.values()
    }

    /// The same, to be marked: what is changed here goes no further than this memory.
    pub fn open_mut(&mut self) -> impl Iterator<Item = &mut OpenVoucher> {
        self.open.values_mut()
    }
}

impl Store {
    /// Lets somebody look at all vouchers that may be planned, as the log has them now. The look may take a while and
    /// happens where it holds nobody up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Board) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut board = Arc::clone(self.board()).lock_owned().await;
        let reading = self.touched().take();
        match &reading.lanes {
            Lanes::All => self.read_all(&mut board).await?,
            Lanes::These(lanes) => self.read_again(&mut board, &lanes.iter().copied().collect::<Vec<_>>()).await?,
        }
        reading.done();
        tokio::task::spawn_blocking(move || look(&mut board)).await.map_err(|_| StoreError::Closed)
    }

    async fn read_all(&self, board: &mut Board) -> Result<(), StoreError> {
        board.open.clear();
        let text = format!(
            "select {OPEN_COLUMNS} from vouchers v join lanes l on l.payer = v.payer and l.payee = v.payee
             where v.state = 'recorded' and {NOTHING_UNDER_WAY}"
        );
        let mut rows = sqlx::query_as::<_, OpenRow>(AssertSqlSafe(text)).fetch(self.reader());
        while let Some(row) = rows.try_next().await? {
            board.put(row.parse()?);
        }
        Ok(())
    }

    async fn read_again(&self, board: &mut Board, lanes: &[Lane]) -> Result<(), StoreError> {
        for chunk in chunks(self.kind(), lanes) {
            let given = given_lanes(self.kind(), chunk);
            let text = format!(
                "{given} select {OPEN_COLUMNS}
                 from k cross join vouchers v join lanes l on l.payer = v.payer and l.payee = v.payee
                 where v.payer = k.payer and v.payee = k.payee and v.state = 'recorded' and {NOTHING_UNDER_WAY}"
            );
            let query = sqlx::query_as_with::<_, OpenRow, _>(AssertSqlSafe(text), given.arguments()?);
            let rows = query.fetch_all(self.reader()).await?;
            for lane in chunk {
                board.open.remove(lane);
            }
            for row in rows {
                board.put(row.parse()?);
            }
        }
        Ok(())
    }
}

/// Payers and payees, as the table `k`.
fn given_lanes(kind: Kind, lanes: &[Lane]) -> Given<'_, Lane> {
    Given::new(kind, lanes)
        .text("payer", |(payer, _)| codec::address_text(*payer))
        .text("payee", |(_, payee)| codec::address_text(*payee))
}

/// Of a voucher `v`.
pub(super) const NOTHING_UNDER_WAY: &str =
    "not exists (select 1 from vouchers w where w.payer = v.payer and w.payee = v.payee
                                             and w.state in ('planned', 'submitted'))";

impl Board {
    fn put(&mut self, open: OpenVoucher) {
        self.open.insert((open.voucher.payer, open.voucher.payee), open);
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;

    use super::{Lanes, Touched};

    #[test]
    fn what_a_look_gave_up_to_read_is_read_by_the_next() {
        let touched = Touched::default();
        drop(touched.take());
        let everything = touched.take();
        assert!(matches!(everything.lanes, Lanes::All));
        everything.done();

        let lane = (Address::repeat_byte(1), Address::repeat_byte(2));
        touched.add(&[lane]);
        drop(touched.take());
        let reading = touched.take();
        assert!(matches!(&reading.lanes, Lanes::These(lanes) if lanes.len() == 1 && lanes.contains(&lane)));
        reading.done();
        assert!(matches!(&touched.take().lanes, Lanes::These(lanes) if lanes.is_empty()));
    }
}
