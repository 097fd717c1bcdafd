//! Charges: recorded like vouchers, beside them. What became of one, its lane on the chain tells; see
//! `migrations/0002_charges.sql`.

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedCharge};

use super::codec;
use super::database::Write;
use super::intake::Recording;
use super::open::{Ids, Store, StoreError};
use super::state::Hold;
use super::transactions::PlannedRow;

/// A charge of a lane is planned this often at most: a mandate accrues by the second, and a payer that moves its money
/// away in front of every transaction shall not set the pace at which gas is spent on it. Far below any thaw margin.
const PAUSE_S: u64 = 300;

/// A charge whose signer was found to be one.
#[derive(Debug, Clone)]
pub struct CheckedCharge {
    /// What was signed.
    pub charge: SignedCharge,
    /// Who signed it: the payee or its delegate.
    pub signer: Address,
}

/// A charge that waits, with no transaction of it under way.
#[derive(Debug, Clone)]
pub struct OpenCharge {
    /// Its row.
    pub id: i64,
    /// What was signed.
    pub charge: SignedCharge,
    /// Who signed it.
    pub signer: Address,
    /// Since when it waits, unix seconds.
    pub recorded_at: u64,
    /// Not to be planned before.
    pub retry_at: u64,
    /// Did the operator ask for it?
    pub asked: bool,
    /// Why it was not charged when last looked at.
    pub held: Option<Hold>,
    /// When its lane was last charged, unix seconds; 0 when never.
    pub charged_at: u64,
}

#[derive(sqlx::FromRow)]
struct OpenRow {
    id: i64,
    payer: String,
    payee: String,
    cumulative: String,
    signer: String,
    signature: String,
    recorded_at: i64,
    retry_at: i64,
    asked: Option<i64>,
    held: Option<String>,
    charged_at: i64,
}

impl OpenRow {
    fn parse(self) -> Result<OpenCharge, StoreError> {
        Ok(OpenCharge {
            id: self.id,
            charge: SignedCharge {
                payer: codec::address(&self.payer)?,
                payee: codec::address(&self.payee)?,
                cumulative: codec::amount(&self.cumulative)?,
                signature: codec::signature(&self.signature)?,
            },
            signer: codec::address(&self.signer)?,
            recorded_at: codec::unsigned(self.recorded_at)?,
            retry_at: codec::unsigned(self.retry_at)?,
            asked: self.asked.is_some(),
            held: self.held.as_deref().map(codec::word).transpose()?,
            charged_at: codec::unsigned(self.charged_at)?,
        })
    }
}

impl Store {
    /// Records a batch in one transaction, in order; all that is answered for is durable when this returns. A lane's larger
    /// charge takes the place of a smaller one. A new lane beyond `charges_max` is left out by itself (laws 5 and 13).
    ///
    /// # Errors
    /// When the database fails; then nothing is recorded.
    pub async fn record_charges(
        &self,
        batch: &[CheckedCharge],
        charges_max: u64,
        now: u64,
    ) -> Result<Vec<Recording>, StoreError> {
        let mut transaction = self.begin().await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for checked in batch {
            outcomes.push(self.record_charge(&mut transaction, checked, charges_max, now).await?);
        }
        transaction.commit().await?;
        Ok(outcomes)
    }

    /// The charges that may be planned: the operator's wishes first, then those that were charged longest ago; at most
    /// `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_charges(&self, limit: u32) -> Result<Vec<OpenCharge>, StoreError> {
        let rows: Vec<OpenRow> = sqlx::query_as(
            "select c.id, c.payer, c.payee, c.cumulative, c.signer, c.signature, c.recorded_at, c.retry_at, c.asked,
                    c.held, coalesce(t.created_at, 0) as charged_at
             from charges c left join transactions t on t.id = c.transaction_id
             where t.state is null or t.state not in ('planned', 'submitted')
             order by c.asked is null, coalesce(t.created_at, 0), c.id limit $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.reader())
        .await?;
        rows.into_iter().map(OpenRow::parse).collect()
    }

    /// How many charges wait or are under way.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn charges(&self) -> Result<u64, StoreError> {
        codec::unsigned(sqlx::query_scalar("select count(*) from charges").fetch_one(self.reader()).await?)
    }

    /// The chain has paid all of a charge, under enough blocks. One that was replaced by a larger one stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn charge_is_paid(&self, id: i64, cumulative: Amount) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("delete from charges where id = $1 and cumulative <= $2")
            .bind(id)
            .bind(codec::amount_text(cumulative))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    async fn record_charge(
        &self,
        transaction: &mut Write,
        checked: &CheckedCharge,
        charges_max: u64,
        now: u64,
    ) -> Result<Recording, StoreError> {
        let charge = &checked.charge;
        let (payer, payee) = (codec::address_text(charge.payer), codec::address_text(charge.payee));
        let (known, all): (i64, i64) = sqlx::query_as(
            "select (select count(*) from charges where payer = $1 and payee = $2), (select count(*) from charges)",
        )
        .bind(&payer)
        .bind(&payee)
        .fetch_one(&mut **transaction)
        .await?;
        if known == 0 && codec::unsigned(all)? >= charges_max {
            return Ok(Recording::NoRoom);
        }
        // The same total under another signature helps only if the chain stopped to accept the one that waits.
        let recorded = sqlx::query(
            "insert into charges (id, payer, payee, cumulative, signer, signature, recorded_at)
             values ($7, $1, $2, $3, $4, $5, $6)
             on conflict (payer, payee) do update set
                cumulative = excluded.cumulative, signer = excluded.signer, signature = excluded.signature, held = null,
                retry_at = case when charges.held = 'bad_signature' then 0 else charges.retry_at end
             where excluded.cumulative > charges.cumulative
                or (excluded.cumulative = charges.cumulative and charges.held = 'bad_signature'
                    and excluded.signature <> charges.signature)",
        )
        .bind(&payer)
        .bind(&payee)
        .bind(codec::amount_text(charge.cumulative))
        .bind(codec::address_text(checked.signer))
        .bind(codec::bytes_text(&charge.signature))
        .bind(codec::signed(now))
        .bind(Ids::next(&self.ids.charges))
        .execute(&mut **transaction)
        .await?
        .rows_affected();
        Ok(if recorded == 0 { Recording::SameAsBefore } else { Recording::Recorded })
    }
}

/// Moves one charge into the transaction. False when something of its lane is under way already. A larger one that took
/// its place meanwhile waits until this one's end.
pub(super) async fn plan_charge(
    transaction: &mut Write,
    id: i64,
    row: &PlannedRow,
    now: u64,
) -> Result<bool, StoreError> {
    let moved = sqlx::query(
        "update charges set transaction_id = $1, retry_at = $2, held = null, asked = null
         where id = $3
           and not exists (select 1 from transactions t where t.id = charges.transaction_id
                           and t.state in ('planned', 'submitted'))",
    )
    .bind(id)
    .bind(codec::signed(now.saturating_add(PAUSE_S)))
    .bind(row.id)
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    Ok(moved == 1)
}
