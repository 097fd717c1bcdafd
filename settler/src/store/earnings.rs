//! What was earned and what it cost, by day and payee: added up in the same database transaction as each end and taken
//! back when a reorganisation undoes it, so that the sums stay exact when the rows they came from are pruned.

use alloy::primitives::Address;
use minus_bindings::Amount;

use super::codec;
use super::database::Write;
use super::open::{Store, StoreError};

/// Seconds of a day.
pub const DAY_S: u64 = 86_400;

/// What the transactions that were signed on one day brought to one payee, and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earnings {
    /// Days since 1970, in UTC.
    pub day: u64,
    /// Who was paid.
    pub payee: Address,
    /// What all claims and charges moved.
    pub moved: Amount,
    /// How many rows moved something.
    pub moved_rows: u64,
    /// How many transactions were mined, the ones in vain included.
    pub transactions: u64,
    /// Gas they used.
    pub gas_used: u64,
    /// What that cost, wei.
    pub fee_wei: u128,
}

#[derive(sqlx::FromRow)]
struct EarningsRow {
    day: i64,
    payee: String,
    moved: String,
    moved_rows: i64,
    transactions: i64,
    gas_used: i64,
    fee_wei: String,
}

impl EarningsRow {
    fn parse(self) -> Result<Earnings, StoreError> {
        Ok(Earnings {
            day: codec::unsigned(self.day)?,
            payee: codec::address(&self.payee)?,
            moved: codec::amount(&self.moved)?,
            moved_rows: codec::unsigned(self.moved_rows)?,
            transactions: codec::unsigned(self.transactions)?,
            gas_used: codec::unsigned(self.gas_used)?,
            fee_wei: codec::wei(&self.fee_wei)?,
        })
    }
}

impl Earnings {
    /// What a transaction counts for, if it is at an end that cost something.
    async fn of(transaction: &mut Write, id: i64) -> Result<Option<Self>, StoreError> {
        let row: Option<EarningsRow> = sqlx::query_as(
            "select created_at / 86400 as day, payee, moved, moved_rows, cast(1 as bigint) as transactions, gas_used, fee_wei
             from transactions where id = $1 and moved is not null",
        )
        .bind(id)
        .fetch_optional(&mut **transaction)
        .await?;
        row.map(EarningsRow::parse).transpose()
    }

    async fn load(transaction: &mut Write, day: u64, payee: Address) -> Result<Self, StoreError> {
        let row: Option<EarningsRow> = sqlx::query_as(
            "select day, payee, moved, moved_rows, transactions, gas_used, fee_wei from earnings
             where day = $1 and payee = $2",
        )
        .bind(codec::signed(day))
        .bind(codec::address_text(payee))
        .fetch_optional(&mut **transaction)
        .await?;
        let nothing = Self { day, payee, moved: Amount::ZERO, moved_rows: 0, transactions: 0, gas_used: 0, fee_wei: 0 };
        row.map_or(Ok(nothing), EarningsRow::parse)
    }

    fn plus(self, other: &Self) -> Option<Self> {
        Some(Self {
            moved: self.moved.checked_add(other.moved)?,
            moved_rows: self.moved_rows.checked_add(other.moved_rows)?,
            transactions: self.transactions.checked_add(other.transactions)?,
            gas_used: self.gas_used.checked_add(other.gas_used)?,
            fee_wei: self.fee_wei.checked_add(other.fee_wei)?,
            ..self
        })
    }

    fn minus(self, other: &Self) -> Option<Self> {
        Some(Self {
            moved: self.moved.checked_sub(other.moved)?,
            moved_rows: self.moved_rows.checked_sub(other.moved_rows)?,
            transactions: self.transactions.checked_sub(other.transactions)?,
            gas_used: self.gas_used.checked_sub(other.gas_used)?,
            fee_wei: self.fee_wei.checked_sub(other.fee_wei)?,
            ..self
        })
    }

    async fn save(&self, transaction: &mut Write) -> Result<(), StoreError> {
        sqlx::query(
            "insert into earnings (day, payee, moved, moved_rows, transactions, gas_used, fee_wei)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (day, payee) do update set
                moved = excluded.moved, moved_rows = excluded.moved_rows, transactions = excluded.transactions,
                gas_used = excluded.gas_used, fee_wei = excluded.fee_wei",
        )
        .bind(codec::signed(self.day))
        .bind(codec::address_text(self.payee))
        .bind(codec::amount_text(self.moved))
        .bind(codec::signed(self.moved_rows))
        .bind(codec::signed(self.transactions))
        .bind(codec::signed(self.gas_used))
        .bind(self.fee_wei.to_string())
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }
}

impl Store {
    /// The earnings from one day up to another, both included, by day and payee. A day is that on which a transaction was
    /// signed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn earnings(&self, from_day: u64, to_day: u64) -> Result<Vec<Earnings>, StoreError> {
        let rows: Vec<EarningsRow> = sqlx::query_as(
            "select day, payee, moved, moved_rows, transactions, gas_used, fee_wei from earnings
             where day >= $1 and day <= $2 order by day, payee",
        )
        .bind(codec::signed(from_day))
        .bind(codec::signed(to_day))
        .fetch_all(self.reader())
        .await?;
        rows.into_iter().map(EarningsRow::parse).collect()
    }
}

/// A transaction has come to its end: its receipt stands in its row already, and this is what its rows moved.
pub(super) async fn add(
    transaction: &mut Write,
    id: i64,
    moved: impl Iterator<Item = Amount> + Send,
) -> Result<(), StoreError> {
    let (sum, rows) = sum(moved)?;
    sqlx::query("update transactions set moved = $1, moved_rows = $2 where id = $3")
        .bind(codec::amount_text(sum))
        .bind(rows)
        .bind(id)
        .execute(&mut **transaction)
        .await?;
    change(transaction, id, Earnings::plus).await
}

/// A transaction's end is undone. Nothing happens to one that has none.
pub(super) async fn take_back(transaction: &mut Write, id: i64) -> Result<(), StoreError> {
    change(transaction, id, Earnings::minus).await
}

/// Adds up what ended before there were earnings: once, after the migration that made the table.
pub(super) async fn complete(transaction: &mut Write) -> Result<(), StoreError> {
    let ended: Vec<(i64,)> =
        sqlx::query_as("select id from transactions where gas_used is not null and moved is null order by id")
            .fetch_all(&mut **transaction)
            .await?;
    for (id,) in ended {
        let paid: Vec<(String,)> =
            sqlx::query_as("select paid from vouchers where transaction_id = $1 and state = 'confirmed'")
                .bind(id)
                .fetch_all(&mut **transaction)
                .await?;
        let paid = paid.iter().map(|(paid,)| codec::amount(paid)).collect::<Result<Vec<_>, _>>()?;
        add(transaction, id, paid.into_iter()).await?;
    }
    Ok(())
}

async fn change(
    transaction: &mut Write,
    id: i64,
    how: fn(Earnings, &Earnings) -> Option<Earnings>,
) -> Result<(), StoreError> {
    let Some(own) = Earnings::of(transaction, id).await? else { return Ok(()) };
    let day = Earnings::load(transaction, own.day, own.payee).await?;
    let changed =
        how(day, &own).ok_or_else(|| StoreError::corrupt("earnings", &format!("{} of day {}", id, own.day)))?;
    changed.save(transaction).await
}

fn sum(moved: impl Iterator<Item = Amount>) -> Result<(Amount, i64), StoreError> {
    let (mut sum, mut rows) = (Amount::ZERO, 0);
    for amount in moved.filter(|amount| !amount.is_zero()) {
        sum =
            sum.checked_add(amount).ok_or_else(|| StoreError::corrupt("amount", "a sum above all tokens there are"))?;
        rows += 1;
    }
    Ok((sum, rows))
}
