//! Accounts and entrusted wallets.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use alloy::primitives::{Address, B256};
use futures_util::TryStreamExt;
use minus_bindings::Amount;

use super::{
    Connection, StoreError, commands,
    convert::{address, amount, amount_column, count, integer, unsigned},
    rows::Rows,
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
    /// Bytes of what is stored.
    pub(crate) stored_bytes: u64,
    /// Promised to relays and not paid for yet.
    pub(crate) fronted: Fronted,
    /// Number of the last statement issued.
    pub(crate) statements: u64,
}

/// What stored packets hold of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) reserve: Amount,
    pub(crate) bytes: u64,
}

impl Held {
    /// Of reserves and lengths as the columns have them.
    pub(super) fn sum<'a>(rows: impl Iterator<Item = (&'a str, i64)>) -> Result<Self, StoreError> {
        let mut held = Self { reserve: Amount::ZERO, bytes: 0 };
        for (reserve, bytes) in rows {
            held.reserve = held.reserve.checked_add(amount(reserve)?).ok_or(StoreError::Range("sum of amounts"))?;
            held.bytes = held.bytes.saturating_add(unsigned(bytes)?);
        }
        Ok(held)
    }
}

impl Account {
    /// Packets are gone.
    pub(super) fn release(&mut self, held: Held) {
        self.reserved = self.reserved.saturating_sub(held.reserve);
        self.stored_bytes = self.stored_bytes.saturating_sub(held.bytes);
    }
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

type AccountRow = (Vec<u8>, String, String, String, i64, String, i64);

fn account_of(row: AccountRow) -> Result<Account, StoreError> {
    let (payer, base, vouchered, reserved, stored_bytes, fronted, statements) = row;
    Ok(Account {
        payer: address(&payer)?,
        base: amount(&base)?,
        vouchered: amount(&vouchered)?,
        reserved: amount(&reserved)?,
        stored_bytes: unsigned(stored_bytes)?,
        fronted: Fronted(count(&fronted)?),
        statements: unsigned(statements)?,
    })
}

/// The account of a payer.
pub(crate) async fn account<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    payer: Address,
) -> Result<Option<Account>, StoreError> {
    let row: Option<AccountRow> = sqlx::query_as(
        "select payer, base, vouchered, reserved, stored_bytes, fronted, statements from accounts where payer = $1",
    )
    .bind(payer.to_vec())
    .fetch_optional(executor)
    .await?;
    row.map(account_of).transpose()
}

/// What all accounts together have reserved, and what is fronted for them, in base units.
pub(crate) async fn totals<'e>(executor: impl sqlx::AnyExecutor<'e> + 'e) -> Result<(u128, u128), StoreError> {
    let mut rows = sqlx::query_as::<_, (String, String)>("select reserved, fronted from accounts").fetch(executor);
    let (mut reserved, mut fronted) = (0_u128, 0_u128);
    while let Some((of_account, for_account)) = rows.try_next().await? {
        reserved = reserved.saturating_add(amount(&of_account)?.base_units());
        fronted = fronted.saturating_add(Fronted(count(&for_account)?).base_units());
    }
    Ok((reserved, fronted))
}

/// Every account, for the operator's eyes.
pub(crate) async fn accounts<'e>(executor: impl sqlx::AnyExecutor<'e>) -> Result<Vec<Account>, StoreError> {
    let rows: Vec<AccountRow> = sqlx::query_as(
        "select payer, base, vouchered, reserved, stored_bytes, fronted, statements from accounts order by payer",
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(account_of).collect()
}

/// The wallets on a payer's account.
pub(crate) async fn wallets_of<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    payer: Address,
) -> Result<Vec<Address>, StoreError> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("select wallet from wallets where payer = $1 order by wallet")
        .bind(payer.to_vec())
        .fetch_all(executor)
        .await?;
    rows.iter().map(|wallet| address(wallet)).collect()
}

/// Writes an account's numbers back.
pub(crate) async fn save_account(connection: &mut Connection, account: &Account) -> Result<(), StoreError> {
    sqlx::query("update accounts set vouchered = $1, reserved = $2, stored_bytes = $3, fronted = $4, statements = $5 where payer = $6")
        .bind(amount_column(account.vouchered))
        .bind(amount_column(account.reserved))
        .bind(integer(account.stored_bytes)?)
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

/// A command to entrust a wallet, found to be in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrusting {
    pub(crate) command: B256,
    pub(crate) wallet: Address,
    pub(crate) payer: Address,
    pub(crate) declared: Amount,
    pub(crate) lane: Lane,
    pub(crate) now_s: u64,
}

/// Obeys it. None when it is a replay.
pub(super) async fn obey(connection: &mut Connection, order: Entrusting) -> Result<Option<Entrusted>, StoreError> {
    if !commands::first_time(connection, order.command, order.now_s).await? {
        return Ok(None);
    }
    entrust(connection, order.wallet, order.payer, order.declared, order.lane, order.now_s).await.map(Some)
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
            sqlx::query("insert into accounts values ($1, $2, $3, '0', 0, '0', 0, $4)")
                .bind(payer.to_vec())
                .bind(amount_column(base))
                .bind(amount_column(base))
                .bind(integer(now_s)?)
                .execute(&mut *connection)
                .await?;
            let (reserved, fronted) = (Amount::ZERO, Fronted::default());
            Account { payer, base, vouchered: base, reserved, stored_bytes: 0, fronted, statements: 0 }
        }
    };
    let before = wallet(&mut *connection, entrusted).await?;
    if let Some(from) = before.filter(|before| before.payer != payer) {
        let moving = held_for(connection, entrusted).await?;
        if !lane.covers(to.vouchered, &[to.reserved, moving.reserve]) {
            return Ok(Entrusted::Unfunded);
        }
        let mut from = account(&mut *connection, from.payer).await?.ok_or(StoreError::Corrupt("account"))?;
        from.release(moving);
        save_account(connection, &from).await?;
        to.reserved = to.reserved.checked_add(moving.reserve).ok_or(StoreError::Range("reserve"))?;
        to.stored_bytes = to.stored_bytes.saturating_add(moving.bytes);
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

async fn held_for(connection: &mut Connection, wallet: Address) -> Result<Held, StoreError> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("select reserve, cast(length(packet) as bigint) from packets where wallet = $1")
            .bind(wallet.to_vec())
            .fetch_all(connection)
            .await?;
    Held::sum(rows.iter().map(|(reserve, bytes)| (reserve.as_str(), *bytes)))
}

// ------------------------------------------------------------------------------------------------------ many at once

/// These wallets, as far as they are entrusted to this node.
pub(super) async fn wallets(
    connection: &mut Connection,
    of: &BTreeSet<Address>,
) -> Result<HashMap<Address, Wallet>, StoreError> {
    static SELECT: LazyLock<Rows> =
        LazyLock::new(|| Rows::new("select wallet, payer, last_seq from wallets where wallet in (", 1, ")"));
    let of: Vec<_> = of.iter().collect();
    let mut wallets = HashMap::with_capacity(of.len());
    for (text, group) in SELECT.cover(connection.backend_name(), &of) {
        let query = group.fold(sqlx::query_as(text), |query, wallet| query.bind(wallet.to_vec()));
        let rows: Vec<(Vec<u8>, Vec<u8>, i64)> = query.fetch_all(&mut *connection).await?;
        for (wallet, payer, last_seq) in rows {
            let found = Wallet { payer: address(&payer)?, last_seq: unsigned(last_seq)? };
            wallets.insert(address(&wallet)?, found);
        }
    }
    Ok(wallets)
}

/// The accounts of these payers.
pub(super) async fn accounts_of(
    connection: &mut Connection,
    payers: &BTreeSet<Address>,
) -> Result<HashMap<Address, Account>, StoreError> {
    static SELECT: LazyLock<Rows> = LazyLock::new(|| {
        let columns = "payer, base, vouchered, reserved, stored_bytes, fronted, statements";
        Rows::new(&format!("select {columns} from accounts where payer in ("), 1, ")")
    });
    let payers: Vec<_> = payers.iter().collect();
    let mut accounts = HashMap::with_capacity(payers.len());
    for (text, group) in SELECT.cover(connection.backend_name(), &payers) {
        let query = group.fold(sqlx::query_as(text), |query, payer| query.bind(payer.to_vec()));
        let rows: Vec<AccountRow> = query.fetch_all(&mut *connection).await?;
        for row in rows {
            let account = account_of(row)?;
            accounts.insert(account.payer, account);
        }
    }
    Ok(accounts)
}

/// Writes back what arrivals change of accounts.
pub(super) async fn save_accounts(connection: &mut Connection, accounts: &[Account]) -> Result<(), StoreError> {
    static UPDATE: LazyLock<Rows> = LazyLock::new(|| {
        let set = "reserved = new.column2, stored_bytes = new.column3, fronted = new.column4";
        let after = ") as new where accounts.payer = new.column1";
        Rows::new(&format!("update accounts set {set} from (values"), 4, after)
    });
    for (text, group) in UPDATE.cover(connection.backend_name(), accounts) {
        let mut query = sqlx::query(text);
        for account in group {
            query = query
                .bind(account.payer.to_vec())
                .bind(amount_column(account.reserved))
                .bind(integer(account.stored_bytes)?)
                .bind(account.fronted.0.to_string());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Writes back how far the queues of wallets are.
pub(super) async fn save_last_seqs(connection: &mut Connection, wallets: &[(Address, u64)]) -> Result<(), StoreError> {
    static UPDATE: LazyLock<Rows> = LazyLock::new(|| {
        let after = ") as new where wallets.wallet = new.column1";
        Rows::new("update wallets set last_seq = new.column2 from (values", 2, after)
    });
    for (text, group) in UPDATE.cover(connection.backend_name(), wallets) {
        let mut query = sqlx::query(text);
        for (wallet, last_seq) in group {
            query = query.bind(wallet.to_vec()).bind(integer(*last_seq)?);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// The payers of all wallets.
pub(super) async fn payers(connection: &mut Connection) -> Result<HashMap<Address, Address>, StoreError> {
    let mut rows = sqlx::query_as::<_, (Vec<u8>, Vec<u8>)>("select wallet, payer from wallets").fetch(connection);
    let mut payers = HashMap::new();
    while let Some((wallet, payer)) = rows.try_next().await? {
        payers.insert(address(&wallet)?, address(&payer)?);
    }
    Ok(payers)
}
