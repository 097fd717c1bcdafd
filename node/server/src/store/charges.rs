//! The latest charge of each lane: signed and kept before it is handed over. Like vouchers they are cumulative, so what a
//! crash delays is handed over later, and the same one again pays nothing more.

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedCharge};
use minus_protocol::add_waiting;

use super::{
    Connection, StoreError,
    convert::{address, amount, amount_column, integer, unsigned},
    customers,
    lines::{self, Book},
    outbox::{Outbox, Signed},
    packets,
};
use crate::agent::{
    lane::Lane,
    mandate::{self, OnAccount, Silence},
    statement,
};

fn charge(Signed { payer, payee, cumulative, signature }: Signed) -> SignedCharge {
    SignedCharge { payer, payee, cumulative, signature }
}

/// Some payers beyond `after` for whom something is stored, in order, with when they were last heard of and charged.
pub(crate) async fn candidates<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    payee: Address,
    after: Address,
    count_max: u32,
) -> Result<Vec<(Address, Silence)>, StoreError> {
    let rows: Vec<(Vec<u8>, i64, i64)> = sqlx::query_as(
        "select a.payer, a.acknowledged_at, coalesce(c.signed_at, 0)
         from accounts a left join charges c on c.payer = a.payer and c.payee = $1
         where a.reserved <> '0' and a.payer > $2 order by a.payer limit $3",
    )
    .bind(payee.to_vec())
    .bind(after.to_vec())
    .bind(i64::from(count_max))
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|(payer, acknowledged_at, charged_at)| {
            let silence = Silence { acknowledged_at: unsigned(acknowledged_at)?, charged_at: unsigned(charged_at)? };
            Ok((address(&payer)?, silence))
        })
        .collect()
}

/// What a charge is made of, but for the books.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion {
    pub(crate) payer: Address,
    pub(crate) payee: Address,
    pub(crate) lane: Lane,
    /// What the payer's mandate bears now.
    pub(crate) chargeable: Amount,
    pub(crate) now_s: u64,
}

/// Signs and keeps a charge if the books give rise to one.
pub(crate) async fn make(
    connection: &mut Connection,
    occasion: &Occasion,
    sign: impl FnOnce(Amount) -> SignedCharge,
) -> Result<bool, StoreError> {
    let Occasion { payer, payee, lane, chargeable, now_s } = *occasion;
    let account = customers::account(&mut *connection, payer).await?.ok_or(StoreError::Corrupt("account"))?;
    let charged: Option<String> = sqlx::query_scalar("select cumulative from charges where payer = $1 and payee = $2")
        .bind(payer.to_vec())
        .bind(payee.to_vec())
        .fetch_optional(&mut *connection)
        .await?;
    let charged = charged.map_or(Ok(Amount::ZERO), |charged| amount(&charged))?;
    let owed = owed(connection, &account, now_s).await?;
    let decided = OnAccount { owed, lane, vouchered: account.vouchered, charged, chargeable };
    let Some(total) = mandate::charge(&decided) else { return Ok(false) };
    let signed = sign(total);
    sqlx::query(
        "insert into charges values ($1, $2, $3, $4, $5, 0) on conflict (payer, payee) do update set
         cumulative = excluded.cumulative, signature = excluded.signature, signed_at = excluded.signed_at,
         handed_over = excluded.handed_over",
    )
    .bind(payer.to_vec())
    .bind(payee.to_vec())
    .bind(amount_column(total))
    .bind(signed.signature.to_vec())
    .bind(integer(now_s)?)
    .execute(connection)
    .await?;
    Ok(true)
}

/// The account's total if all that is stored were billed now for its storage and the leg that brought it.
async fn owed(connection: &mut Connection, account: &customers::Account, now_s: u64) -> Result<Amount, StoreError> {
    let mut owed = lines::load(connection, Book::Customer, account.payer).await?;
    let tariffs = packets::tariffs(connection).await?;
    for wallet in customers::wallets_of(&mut *connection, account.payer).await? {
        // As many as one statement covers: this takes its turn in the writer, and too low a charge is no harm.
        let (carriages, _) = packets::carriages(connection, wallet, u64::MAX).await?;
        for carriage in carriages {
            add_waiting(&mut owed, |version| tariffs.get(&version).copied(), &carriage, now_s)
                .map_err(|_| StoreError::Range("meter"))?;
        }
    }
    statement::total(account.base, &owed)
}

/// Some charges that the settler does not have yet.
pub(crate) async fn outbox<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    after: (Address, Address),
    count_max: u32,
) -> Result<Vec<SignedCharge>, StoreError> {
    Ok(Outbox::Charges.rows(executor, after, count_max).await?.into_iter().map(charge).collect())
}

/// How many charges the settler does not have yet.
pub(crate) async fn waiting<'e>(executor: impl sqlx::AnyExecutor<'e>) -> Result<i64, StoreError> {
    Outbox::Charges.count(executor).await
}

/// The settler has exactly this one. A higher one that came meanwhile stays in the outbox.
pub(crate) async fn handed_over(connection: &mut Connection, given: &SignedCharge) -> Result<(), StoreError> {
    Outbox::Charges.handed_over(connection, (given.payer, given.payee), given.cumulative).await
}

/// Forgets exactly this one.
pub(crate) async fn give_up(connection: &mut Connection, refused: &SignedCharge) -> Result<(), StoreError> {
    sqlx::query("delete from charges where payer = $1 and payee = $2 and cumulative = $3 and handed_over = 0")
        .bind(refused.payer.to_vec())
        .bind(refused.payee.to_vec())
        .bind(amount_column(refused.cumulative))
        .execute(connection)
        .await?;
    Ok(())
}
