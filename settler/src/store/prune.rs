//! Forgetting what is long over: vouchers that were paid and surpassed, transactions that ended, and requests that were
//! answered. In short steps, each a database transaction of its own, so that nobody waits long for the log.
//!
//! What stays whatever its age: the best voucher of each lane, by which old ones are told from new ones; whatever waits or
//! is under way; what a reorganisation may still undo; and the claims that closing lanes got whatever they were worth, of
//! which there is one a lane. What was earned stands by day in `earnings`, and stays.

use sqlx::AssertSqlSafe;

use super::codec;
use super::open::{Store, StoreError};

/// Rows of one step at most: some milliseconds.
const STEP_ROWS: i64 = 500;
/// A transaction stays at least until the last one that ended is so many blocks above it: far more than are watched for
/// reorganisations on any chain. Counted from our own last one, since after a long sleep that is where watching goes on.
const FINAL_BLOCKS: u64 = 4_096;

/// How far a sweep through the log has come. The next step begins after this row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Vouchers first, for they hold transactions and requests.
    Vouchers(i64),
    /// Then transactions.
    Transactions(i64),
    /// Then requests.
    Requests(i64),
    /// All was looked at.
    Done,
}

impl Sweep {
    /// At the beginning.
    pub const START: Self = Self::Vouchers(0);
}

/// The columns are those of one row `x`; `$1` and `$2` bound the step, `$3` is the time and `$4` the block before which
/// all is over.
const VOUCHERS: &str = "delete from vouchers where id in (
    select x.id from vouchers x left join transactions t on t.id = x.transaction_id
    where x.id > $1 and x.id <= $2 and x.state = 'confirmed' and x.recorded_at < $3
      and (x.transaction_id is null or (t.state = 'confirmed' and t.created_at < $3 and t.mined_block < $4))
      and exists (select 1 from vouchers w where w.payer = x.payer and w.payee = x.payee
                  and (w.cumulative > x.cumulative or (w.cumulative = x.cumulative and w.id > x.id)))
      and (x.reason is null or x.reason not in ('thawing', 'signer_ending')
           or exists (select 1 from vouchers w where w.payer = x.payer and w.payee = x.payee and w.id > x.id
                      and w.transaction_id is not null and w.reason in ('thawing', 'signer_ending'))))";
const ATTEMPTS: &str = "delete from attempts where transaction_id in (
    select x.id from transactions x
    where x.id > $1 and x.id <= $2 and x.created_at < $3
      and (x.state = 'lost'
           or (x.state in ('confirmed', 'reverted', 'cancelled') and (x.mined_block is null or x.mined_block < $4)))
      and not exists (select 1 from vouchers v where v.transaction_id = x.id)
      and not exists (select 1 from charges c where c.transaction_id = x.id))";
/// Those that have no attempts any more: every transaction begins with one.
const TRANSACTIONS: &str = "delete from transactions where id > $1 and id <= $2 and created_at < $3
    and (mined_block is null or mined_block < $4)
    and not exists (select 1 from attempts a where a.transaction_id = transactions.id)";
/// The last one stays, so that its number is not given again.
const REQUESTS: &str = "delete from requests where id > $1 and id <= $2 and asked_at < $3 and $4 = $4
    and id < (select max(id) from requests)
    and not exists (select 1 from vouchers v where v.asked = requests.id)
    and not exists (select 1 from charges c where c.asked = requests.id)";

impl Store {
    /// One step of a sweep: forgets what was over before a time, unix seconds, among the next rows. Gives where to go on,
    /// and how many rows went.
    ///
    /// # Errors
    /// When the database fails; then nothing went.
    pub async fn prune(&self, sweep: Sweep, before: u64) -> Result<(Sweep, u64), StoreError> {
        let (table, after, next): (_, _, fn(i64) -> Sweep) = match sweep {
            Sweep::Vouchers(after) => ("vouchers", after, Sweep::Vouchers),
            Sweep::Transactions(after) => ("transactions", after, Sweep::Transactions),
            Sweep::Requests(after) => ("requests", after, Sweep::Requests),
            Sweep::Done => return Ok((Sweep::Done, 0)),
        };
        // Looked up beside whoever writes: a sweep that finds nothing to do disturbs nobody. What comes in meanwhile has
        // higher numbers, and what a reorganisation takes back is far above the blocks before which all is over.
        let Some(last) = self.last_of_step(table, after).await? else {
            let next = match sweep {
                Sweep::Vouchers(_) => Sweep::Transactions(0),
                Sweep::Transactions(_) => Sweep::Requests(0),
                Sweep::Requests(_) | Sweep::Done => Sweep::Done,
            };
            return Ok((next, 0));
        };
        let final_before = self.last_ended_block().await?.unwrap_or(0).saturating_sub(FINAL_BLOCKS);
        let statements: &[&'static str] = match sweep {
            Sweep::Vouchers(_) => &[VOUCHERS],
            Sweep::Transactions(_) => &[ATTEMPTS, TRANSACTIONS],
            Sweep::Requests(_) | Sweep::Done => &[REQUESTS],
        };
        let mut removed = 0;
        let mut transaction = self.begin().await?;
        for statement in statements {
            let deleted = sqlx::query(*statement)
                .bind(after)
                .bind(last)
                .bind(codec::signed(before))
                .bind(codec::signed(final_before))
                .execute(&mut *transaction)
                .await?;
            removed = deleted.rows_affected();
        }
        transaction.commit().await?;
        Ok((next(last), removed))
    }

    /// The last of the next rows, if there are any.
    async fn last_of_step(&self, table: &str, after: i64) -> Result<Option<i64>, StoreError> {
        let text = format!("select max(id) from (select id from {table} where id > $1 order by id limit $2) as step");
        Ok(sqlx::query_scalar(AssertSqlSafe(text)).bind(after).bind(STEP_ROWS).fetch_one(self.reader()).await?)
    }
}
