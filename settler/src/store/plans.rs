//! Storing a signed transaction with its rows before it is sent.

use super::charges::plan_charge;
use super::codec;
use super::database::Write;
use super::netted::put_netted;
use super::open::{Ids, Store, StoreError};
use super::transactions::{Instrument, NewTransaction, PlannedRow, put_attempt};

impl Store {
    /// Stores a signed transaction with its vouchers, before anything is sent. Gives its id, or none when one of the
    /// vouchers is no longer waiting, one of the debts is under way, or the nonce is taken: then nothing was stored and
    /// the plan is to be made anew.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan(&self, new: &NewTransaction, now: u64) -> Result<Option<i64>, StoreError> {
        let mut transaction = self.begin().await?;
        let taken: Option<i64> = sqlx::query_scalar(
            "select id from transactions where sender = $1 and nonce = $2 and state in ('planned', 'submitted')",
        )
        .bind(codec::address_text(new.sender))
        .bind(codec::signed(new.nonce))
        .fetch_optional(&mut *transaction)
        .await?;
        if taken.is_some() {
            return Ok(None);
        }
        let id = Ids::next(&self.ids.transactions);
        sqlx::query(
            "insert into transactions (id, sender, nonce, purpose, payee, gas_limit, planned_rows, state,
                                       came_from, created_at)
             values ($1, $2, $3, $4, $5, $6, $8, 'planned', 'new', $7)",
        )
        .bind(id)
        .bind(codec::address_text(new.sender))
        .bind(codec::signed(new.nonce))
        .bind(new.instrument.purpose())
        .bind(codec::address_text(new.payee))
        .bind(codec::signed(new.gas_limit))
        .bind(codec::signed(now))
        .bind(i64::try_from(new.rows.len()).unwrap_or(i64::MAX))
        .execute(&mut *transaction)
        .await?;
        put_attempt(&mut transaction, id, &new.attempt).await?;
        for row in &new.rows {
            let planned = match new.instrument {
                Instrument::Voucher => self.plan_row(&mut transaction, id, row).await?,
                Instrument::Charge => plan_charge(&mut transaction, id, row, now).await?,
            };
            if !planned {
                return Ok(None);
            }
            if let Some(debt) = &row.debt
                && !put_netted(&mut transaction, id, debt).await?
            {
                return Ok(None);
            }
            transaction.touch((row.voucher.payer, row.voucher.payee));
        }
        transaction.commit().await?;
        Ok(Some(id))
    }

    /// Moves one voucher into the transaction. False when it is not waiting any more.
    async fn plan_row(&self, transaction: &mut Write, id: i64, row: &PlannedRow) -> Result<bool, StoreError> {
        let voucher = &row.voucher;
        let moved = sqlx::query(
            "update vouchers set state = 'planned', came_from = state, transaction_id = $1, reason = $2, held = null
             where id = $3 and state = 'recorded' and cumulative = $4",
        )
        .bind(id)
        .bind(row.reason.as_str())
        .bind(row.id)
        .bind(codec::amount_text(voucher.cumulative))
        .execute(&mut **transaction)
        .await?
        .rows_affected();
        if moved == 1 {
            return Ok(true);
        }
        // A larger voucher took its place while the bytes were being signed: that one waits, this one goes. Not to start
        // over keeps a lane that never pauses from never being claimed.
        let inserted = sqlx::query(
            "insert into vouchers (id, payer, payee, cumulative, signer, signature, state, came_from, recorded_at, reason,
                                   asked, transaction_id)
             select $7, payer, payee, $1, $2, $3, 'planned', 'new', recorded_at, $4, asked, $5
             from vouchers where id = $6 and state = 'recorded' and cumulative > $1",
        )
        .bind(codec::amount_text(voucher.cumulative))
        .bind(codec::address_text(row.signer))
        .bind(codec::bytes_text(&voucher.signature))
        .bind(row.reason.as_str())
        .bind(id)
        .bind(row.id)
        .bind(Ids::next(&self.ids.vouchers))
        .execute(&mut **transaction)
        .await?
        .rows_affected();
        Ok(inserted == 1)
    }
}
