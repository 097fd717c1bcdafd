//! Debts that transactions pay in front of claims: stored with the signed bytes, before these are sent.

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};

use super::codec;
use super::database::Write;
use super::open::{Store, StoreError};
use crate::netting::Owed;

/// A lane of debt and an amount: what is sent, or what was paid.
pub type Netted = (Address, Address, Amount);

impl Store {
    /// What netting is decided on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn owed(&self) -> Result<Owed, StoreError> {
        let debts = self.debts().await?;
        if debts.is_empty() {
            return Ok(Owed::default());
        }
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "select v.payee, v.cumulative, l.lane_paid
             from vouchers v join lanes l on l.payer = v.payer and l.payee = v.payee
             where v.state in ('planned', 'submitted')",
        )
        .fetch_all(self.reader())
        .await?;
        let coming = rows.iter().map(|(payee, cumulative, paid)| {
            Ok((codec::address(payee)?, codec::amount(cumulative)?.saturating_sub(codec::amount(paid)?)))
        });
        Ok(Owed { debts, coming: coming.collect::<Result<_, StoreError>>()? })
    }

    /// The debts in a transaction: payer, payee, running total.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn netted_of(&self, id: i64) -> Result<Vec<Netted>, StoreError> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("select payer, payee, cumulative from netted where transaction_id = $1")
                .bind(id)
                .fetch_all(self.reader())
                .await?;
        rows.iter()
            .map(|(payer, payee, total)| Ok((codec::address(payer)?, codec::address(payee)?, codec::amount(total)?)))
            .collect()
    }

    /// How many debts a transaction carries, and what they moved if it is confirmed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn netted_sum(&self, id: i64) -> Result<(u64, Amount), StoreError> {
        let rows: Vec<(Option<String>,)> = sqlx::query_as(
            "select case when t.state = 'confirmed' then n.paid else null end
             from netted n join transactions t on t.id = n.transaction_id where t.id = $1",
        )
        .bind(id)
        .fetch_all(self.reader())
        .await?;
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let paid = rows.iter().filter_map(|(paid,)| paid.as_deref());
        let paid = paid.map(codec::amount).collect::<Result<Vec<_>, _>>()?;
        Ok((count, Amount::checked_sum(paid).unwrap_or(Amount::MAX)))
    }

    /// Notes what the debts of a transaction moved, before it is confirmed: said again after a crash, it is the same. Their
    /// lanes are read anew.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn netted_paid(&self, id: i64, paid: &[Netted]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for (payer, payee, amount) in paid {
            sqlx::query("update netted set paid = $1 where transaction_id = $2 and payer = $3 and payee = $4")
                .bind(codec::amount_text(*amount))
                .bind(id)
                .bind(codec::address_text(*payer))
                .bind(codec::address_text(*payee))
                .execute(&mut *transaction)
                .await?;
            forget_view(&mut transaction, *payer, *payee).await?;
        }
        transaction.commit().await
    }

    /// The chain does not show these lanes of debt, payer and payee, as the log does: they are read anew.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_debt_views(&self, lanes: &[(Address, Address)]) -> Result<(), StoreError> {
        if lanes.is_empty() {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        for (payer, payee) in lanes {
            forget_view(&mut transaction, *payer, *payee).await?;
        }
        transaction.commit().await
    }
}

async fn forget_view(transaction: &mut Write, payer: Address, payee: Address) -> Result<(), StoreError> {
    sqlx::query("update debts set seen_at = 0 where payer = $1 and payee = $2")
        .bind(codec::address_text(payer))
        .bind(codec::address_text(payee))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Puts a debt into a transaction that is being stored. False when another one that has not ended carries it already.
pub(super) async fn put_netted(transaction: &mut Write, id: i64, debt: &SignedVoucher) -> Result<bool, StoreError> {
    let (payer, payee) = (codec::address_text(debt.payer), codec::address_text(debt.payee));
    let under_way: i64 = sqlx::query_scalar(
        "select count(*) from netted n join transactions t on t.id = n.transaction_id
         where n.payer = $1 and n.payee = $2 and t.state in ('planned', 'submitted')",
    )
    .bind(&payer)
    .bind(&payee)
    .fetch_one(&mut **transaction)
    .await?;
    if under_way > 0 {
        return Ok(false);
    }
    sqlx::query("insert into netted (transaction_id, payer, payee, cumulative) values ($1, $2, $3, $4)")
        .bind(id)
        .bind(&payer)
        .bind(&payee)
        .bind(codec::amount_text(debt.cumulative))
        .execute(&mut **transaction)
        .await?;
    Ok(true)
}
