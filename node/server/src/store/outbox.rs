//! What vouchers and charges share: each lane's latest is kept, and what is not handed over to the settler is the outbox.

use alloy::primitives::Address;
use minus_bindings::Amount;
use sqlx::AssertSqlSafe;

use super::{
    Connection, StoreError,
    convert::{address, amount, amount_column},
};

/// One of the tables with `payer`, `payee`, `cumulative`, `signature` and `handed_over`, one row for a lane.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outbox {
    Vouchers,
    Charges,
}

/// A row as it is handed over.
pub(super) struct Signed {
    pub(super) payer: Address,
    pub(super) payee: Address,
    pub(super) cumulative: Amount,
    pub(super) signature: [u8; 65],
}

type Row = (Vec<u8>, Vec<u8>, String, Vec<u8>);

impl Outbox {
    const fn table(self) -> &'static str {
        match self {
            Self::Vouchers => "vouchers",
            Self::Charges => "charges",
        }
    }

    /// Some rows beyond the lane `after` that the settler does not have yet, in order.
    pub(super) async fn rows<'e>(
        self,
        executor: impl sqlx::AnyExecutor<'e>,
        after: (Address, Address),
        count_max: u32,
    ) -> Result<Vec<Signed>, StoreError> {
        let text = format!(
            "select payer, payee, cumulative, signature from {}
             where handed_over = 0 and (payer, payee) > ($1, $2) order by payer, payee limit $3",
            self.table()
        );
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(text))
            .bind(after.0.to_vec())
            .bind(after.1.to_vec())
            .bind(i64::from(count_max))
            .fetch_all(executor)
            .await?;
        rows.into_iter()
            .map(|(payer, payee, cumulative, signature)| {
                Ok(Signed {
                    payer: address(&payer)?,
                    payee: address(&payee)?,
                    cumulative: amount(&cumulative)?,
                    signature: signature.try_into().map_err(|_| StoreError::Corrupt("signature"))?,
                })
            })
            .collect()
    }

    /// How many rows the settler does not have yet.
    pub(super) async fn count<'e>(self, executor: impl sqlx::AnyExecutor<'e>) -> Result<i64, StoreError> {
        let text = format!("select count(*) from {} where handed_over = 0", self.table());
        Ok(sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(executor).await?)
    }

    /// The settler has exactly this one. A higher one that came meanwhile stays.
    pub(super) async fn handed_over(
        self,
        connection: &mut Connection,
        (payer, payee): (Address, Address),
        cumulative: Amount,
    ) -> Result<(), StoreError> {
        let text =
            format!("update {} set handed_over = 1 where payer = $1 and payee = $2 and cumulative = $3", self.table());
        sqlx::query(AssertSqlSafe(text))
            .bind(payer.to_vec())
            .bind(payee.to_vec())
            .bind(amount_column(cumulative))
            .execute(connection)
            .await?;
        Ok(())
    }
}
