//! Accounts and entrusted wallets.

use alloy::primitives::Address;
use minus_bindings::Amount;

use super::{
    Connection, StoreError,
    convert::{address, amount, amount_column, count, integer, unsigned},
};
use crate::agent::{front::Fronted, lane::Lane};

/// One payer's account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) payer: Address,
    /// Running total at opening.
    pub(crate) base: Amount,
    /// Highest total accepted: base + due of what was acknowledged.
    pub(crate) vouchered: Amount,
    /// Worst case of what is stored.
    pub(crate) reserved: Amount,
    /// Promised to relays and not paid for yet.
    pub(crate) fronted: Fronted,
    /// Number of the last statement issued.
    pub(crate) statements: u64,
}

/// One entrusted wallet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wallet {
    pub(crate) payer: Address,
    pub(crate) last_seq: u64,
}

/// The wallet, if it is entrusted to this node.
pub(crate) async fn wallet<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    wallet: Address,
) -> Result<Option<Wallet>, StoreError> {
    let row: Option<(Vec<u8>, i64)> = sqlx::query_as("select payer, last_seq from wallets where wallet = $1")
        .bind(wallet.to_vec())
        .fetch_optional(executor)
        .await?;
    row.map(|(payer, last_seq)| Ok(Wallet { payer: address(&payer)?, last_seq: unsigned(last_seq)? })).transpose()
}

type AccountRow = (Vec<u8>, String, String, String, String, i64);

fn account_of((payer, base, vouchered, reserved, fronted, statements): AccountRow) -> Result<Account, StoreError> {
    Ok(Account {
        payer: address(&payer)?,
        base: amount(&base)?,
        vouchered: amount(&vouchered)?,
        reserved: amount(&reserved)?,
        fronted: Fronted(count(&fronted)?),
        statements: unsigned(statements)?,
    })
}

/// The account of a payer.
pub(crate) async fn account<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    payer: Address,
) -> Result<Option<Account>, StoreError> {
    let row: Option<AccountRow> =
        sqlx::query_as("select payer, base, vouchered, reserved, fronted, statements from accounts where payer = $1")
            .bind(payer.to_vec())
            .fetch_optional(executor)
            .await?;
    row.map(account_of).transpose()
}

/// Every account, for the operator's eyes.
pub(crate) async fn accounts<'e>(executor: impl sqlx::AnyExecutor<'e>) -> Result<Vec<Account>, StoreError> {
    let rows: Vec<AccountRow> =
        sqlx::query_as("select payer, base, vouchered, reserved, fronted, statements from accounts order by payer")
            .fetch_all(executor)
            .await?;
    rows.into_iter().map(account_of).collect()
}

/// Writes an account's numbers back.
pub(crate) async fn save_account(connection: &mut Connection, account: &Account) -> Result<(), StoreError> {
    sqlx::query("update accounts set vouchered = $1, reserved = $2, fronted = $3, statements = $4 where payer = $5")
        .bind(amount_column(account.vouchered))
        .bind(amount_column(account.reserved))
        .bind(account.fronted.0.to_string())
        .bind(integer(account.statements)?)
        .bind(account.payer.to_vec())
        .execute(connection)
        .await?;
    Ok(())
}

/// What became of an entrustment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrusted {
    /// The wallet is this node's customer; its account was opened at `base`.
    Yes {
        /// Opening total of the account.
        base: Amount,
    },
    /// The lane does not hold enough.
    Unfunded,
}

/// Opens the payer's account if it has none, and puts the wallet on it. A wallet that changes its payer takes what is
/// stored for it along: the new payer consented to that, and its lane must cover it.
pub(crate) async fn entrust(
    connection: &mut Connection,
    entrusted: Address,
    payer: Address,
    declared: Amount,
    lane: Lane,
    now_s: u64,
) -> Result<Entrusted, StoreError> {
    let mut to = match account(&mut *connection, payer).await? {
        Some(account) => account,
        None => {
            let base = lane.paid.max(declared);
            if base >= lane.limit() {
                return Ok(Entrusted::Unfunded);
            }
            sqlx::query("insert into accounts values ($1, $2, $3, '0', '0', 0)")
                .bind(payer.to_vec())
                .bind(amount_column(base))
                .bind(amount_column(base))
                .execute(&mut *connection)
                .await?;
            Account { payer, base, vouchered: base, reserved: Amount::ZERO, fronted: Fronted::default(), statements: 0 }
        }
    };
    let before = wallet(&mut *connection, entrusted).await?;
    if let Some(from) = before.filter(|before| before.payer != payer) {
        let moving = reserved_for(connection, entrusted).await?;
        if !lane.covers(to.vouchered, &[to.reserved, moving]) {
            return Ok(Entrusted::Unfunded);
        }
        let mut from = account(&mut *connection, from.payer).await?.ok_or(StoreError::Corrupt("account"))?;
        from.reserved = from.reserved.saturating_sub(moving);
        save_account(connection, &from).await?;
        to.reserved = to.reserved.checked_add(moving).ok_or(StoreError::Range("reserve"))?;
        save_account(connection, &to).await?;
        // What was billed to the old payer and not acknowledged is billed anew.
        sqlx::query("delete from statements where payer = $1 and wallet = $2")
            .bind(from.payer.to_vec())
            .bind(entrusted.to_vec())
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("insert into wallets values ($1, $2, 0, $3) on conflict (wallet) do update set payer = excluded.payer")
        .bind(entrusted.to_vec())
        .bind(payer.to_vec())
        .bind(integer(now_s)?)
        .execute(connection)
        .await?;
    Ok(Entrusted::Yes { base: to.base })
}

async fn reserved_for(connection: &mut Connection, wallet: Address) -> Result<Amount, StoreError> {
    let reserves: Vec<String> = sqlx::query_scalar("select reserve from packets where wallet = $1")
        .bind(wallet.to_vec())
        .fetch_all(connection)
        .await?;
    sum(&reserves)
}

/// Adds up a column of amounts.
pub(crate) fn sum(column: &[String]) -> Result<Amount, StoreError> {
    column
        .iter()
        .try_fold(Amount::ZERO, |sum, text| sum.checked_add(amount(text)?).ok_or(StoreError::Range("sum of amounts")))
}
