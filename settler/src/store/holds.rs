//! Why vouchers and charges wait.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AssertSqlSafe;

use super::codec;
use super::open::{Store, StoreError};
use super::rows::chunks;
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
        let mut by_hold: BTreeMap<Hold, BTreeSet<i64>> = BTreeMap::new();
        for (id, hold) in holds {
            by_hold.entry(*hold).or_default().insert(*id);
        }
        // A charge waits in no state. What the policy said before the operator asked, or what the chain showed before, is
        // not an answer to the operator.
        let (table, waits) = match instrument {
            Instrument::Voucher => (
                "vouchers",
                "and state = 'recorded'
                 and (asked is null or ($1 <> 'not_worth_yet' and exists (
                      select 1 from lanes l where l.payer = vouchers.payer and l.payee = vouchers.payee and l.seen_at > 0)))",
            ),
            Instrument::Charge => ("charges", ""),
        };
        let mut transaction = self.begin().await?;
        for (hold, ids) in by_hold {
            let again = if matches!(hold, Hold::Failed | Hold::BadSignature) { retry_at } else { 0 };
            for chunk in chunks(&ids.into_iter().collect::<Vec<_>>()) {
                let places: Vec<String> = (0..chunk.len()).map(|index| format!("${}", index + 3)).collect();
                let text = format!(
                    "update {table} set held = $1, retry_at = case when retry_at < $2 then $2 else retry_at end
                     where id in ({}) {waits} returning payer, payee",
                    places.join(", ")
                );
                let mut query = sqlx::query_as::<_, (String, String)>(AssertSqlSafe(text));
                query = query.bind(hold.as_str()).bind(codec::signed(again));
                for id in chunk {
                    query = query.bind(*id);
                }
                for (payer, payee) in query.fetch_all(&mut *transaction).await? {
                    transaction.touch((codec::address(&payer)?, codec::address(&payee)?));
                }
            }
        }
        transaction.commit().await
    }
}
