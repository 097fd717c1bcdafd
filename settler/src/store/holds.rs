//! Why vouchers and charges wait.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;

use super::codec;
use super::open::{Store, StoreError};
use super::rows::{Given, chunks};
use super::state::Hold;
use super::transactions::Instrument;

impl Store {
    /// Notes why vouchers or charges are not claimed. `retry_at` is when to look again at those that failed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hold(&self, instrument: Instrument, holds: &[(i64, Hold)], retry_at: u64) -> Result<(), StoreError> {
        if holds.is_empty() {
            return Ok(());
        }
        // A row twice in one statement is not decided by either database; the last word counts.
        let holds: Vec<(i64, Hold)> = holds.iter().copied().collect::<BTreeMap<_, _>>().into_iter().collect();
        let again = |hold| if matches!(hold, Hold::Failed | Hold::BadSignature) { retry_at } else { 0 };
        // A charge waits in no state. What the policy said before the operator asked, or what the chain showed before, is
        // not an answer to the operator.
        let (table, waits) = match instrument {
            Instrument::Voucher => (
                "vouchers",
                "and state = 'recorded'
                 and (asked is null or (k.held <> 'not_worth_yet' and exists (
                      select 1 from lanes l where l.payer = vouchers.payer and l.payee = vouchers.payee and l.seen_at > 0)))",
            ),
            Instrument::Charge => ("charges", ""),
        };
        let mut transaction = self.begin().await?;
        for chunk in chunks(transaction.kind(), &holds) {
            let given = Given::new(transaction.kind(), chunk)
                .number("id", |(id, _)| *id)
                .text("held", |(_, hold)| hold.as_str().to_owned())
                .number("retry_at", |(_, hold)| codec::signed(again(*hold)));
            let text = format!(
                "{given}
                 update {table} set held = k.held,
                                    retry_at = case when {table}.retry_at < k.retry_at then k.retry_at
                                                    else {table}.retry_at end
                 from k where {table}.id = k.id {waits} returning payer, payee"
            );
            let query = sqlx::query_as_with::<_, (String, String), _>(AssertSqlSafe(text), given.arguments()?);
            for (payer, payee) in query.fetch_all(&mut *transaction).await? {
                transaction.touch((codec::address(&payer)?, codec::address(&payee)?));
            }
        }
        transaction.commit().await
    }
}
