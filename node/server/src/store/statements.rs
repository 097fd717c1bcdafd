//! Statements: issued before they are pushed, acknowledged once. Issuing changes no meter; acknowledging moves meters,
//! packets, the relay's account and the voucher in one transaction, so a crash leaves all of it or nothing.

use std::time::Duration;

use alloy::primitives::{Address, B256};
use minus_bindings::{Amount, SignedVoucher};
use minus_protocol::{MeterLine, Refusal, Statement};

use super::{
    Connection, StoreError, Touch, commands,
    convert::{address, amount, amount_column, flag, integer, unsigned},
    customers,
    lines::{self, Book},
    packets::{self, Relay},
    peers, vouchers,
};
use crate::agent::{
    acknowledge::{self, Latest, Offer, Standing, Verdict},
    lane::Lane,
    statement::{self, Draft},
};

/// How long a statement of another wallet on the same account is left in peace before a new one supersedes it.
/// Two wallets that kept superseding each other would never be paid for.
pub(crate) const PATIENCE_S: u64 = 5;

struct LatestRow {
    latest: Latest,
    through: u64,
    at: u64,
    relay: Option<Address>,
}

type Row = (i64, Vec<u8>, i64, i64, String, Option<Vec<u8>>, i64);

impl LatestRow {
    /// For how long it holds up the bill of this wallet, if it does.
    fn holds_up(&self, wallet: Address, now_s: u64) -> Option<Duration> {
        let peace_ends = self.at.saturating_add(PATIENCE_S);
        // One from the future is not young: the clock was set back, and nobody waits until it is there again.
        let is_young = (self.at..peace_ends).contains(&now_s);
        let holds_up = !self.latest.acknowledged && self.latest.wallet != wallet && is_young;
        holds_up.then(|| Duration::from_secs(peace_ends - now_s))
    }
}

async fn latest(connection: &mut Connection, payer: Address) -> Result<Option<LatestRow>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "select number, wallet, through, at, total, relay, acknowledged from statements where payer = $1",
    )
    .bind(payer.to_vec())
    .fetch_optional(connection)
    .await?;
    row.map(|(number, wallet, through, at, total, relay, acknowledged)| {
        Ok(LatestRow {
            latest: Latest {
                number: unsigned(number)?,
                wallet: address(&wallet)?,
                total: amount(&total)?,
                acknowledged: flag(acknowledged)?,
            },
            through: unsigned(through)?,
            at: unsigned(at)?,
            relay: relay.as_deref().map(address).transpose()?,
        })
    })
    .transpose()
}

/// What came of wanting to bill a wallet.
#[derive(Clone, Debug)]
pub(crate) enum Issued {
    /// Push this one. It is now the account's latest.
    Statement(Statement),
    /// This other wallet of the account is being billed; ask again after so long.
    Held { by: Address, rest: Duration },
    /// Nothing stored is covered.
    Nothing,
}

/// Bills the wallet's packets up to `through`, as many as one statement may cover.
pub(crate) async fn issue(
    connection: &mut Connection,
    wallet: Address,
    through: u64,
    relay: Option<Relay>,
    now_s: u64,
) -> Result<Issued, StoreError> {
    let Some(owner) = customers::wallet(&mut *connection, wallet).await? else {
        return Ok(Issued::Nothing);
    };
    let mut account = customers::account(&mut *connection, owner.payer).await?.ok_or(StoreError::Corrupt("account"))?;
    if let Some(row) = latest(&mut *connection, owner.payer).await?
        && let Some(rest) = row.holds_up(wallet, now_s)
    {
        return Ok(Issued::Held { by: row.latest.wallet, rest });
    }
    // A client may claim to have more than was ever stored; the statement names what there was.
    let through = through.min(owner.last_seq);
    let (carriages, through) = packets::carriages(connection, wallet, through).await?;
    if carriages.is_empty() {
        return Ok(Issued::Nothing);
    }

    account.statements += 1;
    customers::save_account(connection, &account).await?;
    let draft = Draft {
        number: account.statements,
        wallet,
        through,
        at: now_s,
        base: account.base,
        acknowledged: lines::load(connection, Book::Customer, owner.payer).await?,
        carriages: &carriages,
        tariffs: &packets::tariffs(connection).await?,
        relayed_out: relay.is_some(),
    };
    let (statement, relay_leg) = statement::assemble(draft)?;
    lines::replace(connection, Book::Statement, owner.payer, &statement.lines).await?;
    lines::replace(connection, Book::StatementRelay, owner.payer, &relay_leg).await?;
    sqlx::query(
        "insert into statements values ($1, $2, $3, $4, $5, $6, $7, $8, 0)
         on conflict (payer) do update set number = excluded.number, wallet = excluded.wallet,
         through = excluded.through, at = excluded.at, base = excluded.base, total = excluded.total,
         relay = excluded.relay, acknowledged = excluded.acknowledged",
    )
    .bind(owner.payer.to_vec())
    .bind(integer(statement.number)?)
    .bind(wallet.to_vec())
    .bind(integer(through)?)
    .bind(integer(now_s)?)
    .bind(amount_column(statement.base))
    .bind(amount_column(statement.total))
    .bind(relay.map(|relay| relay.node.to_vec()))
    .execute(connection)
    .await?;
    Ok(Issued::Statement(statement))
}

/// Where the account of a wallet stands, all of it acknowledged. Number 0: not to be acknowledged.
pub(crate) async fn picture(
    connection: &mut Connection,
    wallet: Address,
    now_s: u64,
) -> Result<Option<Statement>, StoreError> {
    let Some(owner) = customers::wallet(&mut *connection, wallet).await? else {
        return Ok(None);
    };
    let account = customers::account(&mut *connection, owner.payer).await?.ok_or(StoreError::Corrupt("account"))?;
    let lines = lines::load(connection, Book::Customer, owner.payer).await?;
    let first: Option<i64> = sqlx::query_scalar("select min(seq) from packets where wallet = $1")
        .bind(wallet.to_vec())
        .fetch_one(connection)
        .await?;
    let through = match first {
        Some(first) => unsigned(first)?.saturating_sub(1),
        None => owner.last_seq,
    };
    let total = statement::total(account.base, &lines)?;
    Ok(Some(Statement { number: 0, wallet, through, at: now_s, base: account.base, lines, total }))
}

/// An acknowledgement with everything the books need to judge it.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledgement {
    pub(crate) command: B256,
    pub(crate) now_s: u64,
    pub(crate) wallet: Address,
    /// Who is thought to pay for the wallet: whose lane is given here.
    pub(crate) payer: Address,
    pub(crate) statement: u64,
    pub(crate) voucher: SignedVoucher,
    pub(crate) signer_authorized: bool,
    pub(crate) lane: Lane,
    pub(crate) own_operator: Address,
}

/// What came of an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// Paid up to `total`; everything up to `through` is deleted.
    Yes { total: Amount, through: u64 },
    /// Nothing changed.
    Refused(Refusal),
    /// Nothing changed: a relay is to be owed for it, and this write may not touch what relays are owed.
    OwesRelay,
}

/// Judges and books an acknowledgement. Of what arrivals are judged on, it makes room on the payer's account, and touches more
/// only if it may.
pub(crate) async fn acknowledge(
    connection: &mut Connection,
    offered: &Acknowledgement,
    touch: Touch,
) -> Result<Acknowledged, StoreError> {
    let Some(owner) = customers::wallet(&mut *connection, offered.wallet).await? else {
        return Ok(Acknowledged::Refused(Refusal::NotEntrusted));
    };
    if owner.payer != offered.payer {
        // The wallet has just moved, and what was billed to its former payer is billed anew.
        return Ok(Acknowledged::Refused(Refusal::Superseded));
    }
    let mut account = customers::account(&mut *connection, owner.payer).await?.ok_or(StoreError::Corrupt("account"))?;
    let row = latest(&mut *connection, owner.payer).await?;
    let standing = Standing {
        payer: owner.payer,
        payee: offered.own_operator,
        vouchered: account.vouchered,
        latest: row.as_ref().map(|row| row.latest.clone()),
        lane: offered.lane,
    };
    let offer = Offer {
        wallet: offered.wallet,
        number: offered.statement,
        voucher: &offered.voucher,
        signer_authorized: offered.signer_authorized,
    };
    let verdict = match acknowledge::judge(&standing, &offer) {
        Ok(verdict) => verdict,
        Err(refusal) => return Ok(Acknowledged::Refused(refusal)),
    };
    let row = row.ok_or(StoreError::Corrupt("statement"))?;
    if verdict == Verdict::Accept && row.relay.is_some() && !touch.is_exclusive() {
        return Ok(Acknowledged::OwesRelay);
    }
    if !commands::first_time(connection, offered.command, offered.now_s).await? {
        return Ok(Acknowledged::Refused(Refusal::Replayed));
    }
    let total = row.latest.total;
    let done = Acknowledged::Yes { total, through: row.through };
    if verdict == Verdict::SameAsBefore {
        return Ok(done);
    }

    let billed = lines::load(connection, Book::Statement, owner.payer).await?;
    lines::replace(connection, Book::Customer, owner.payer, &billed).await?;
    let relay_leg = match row.relay {
        Some(relay) => book_relay_leg(connection, owner.payer, relay, offered.own_operator).await?,
        None => Vec::new(),
    };
    account.fronted = account.fronted.after(total.saturating_sub(account.vouchered), &relay_leg);
    let released = packets::delete_through(connection, offered.wallet, row.through).await?;
    account.release(released);
    account.vouchered = total;
    customers::save_account(connection, &account).await?;
    vouchers::keep(connection, &offered.voucher).await?;
    sqlx::query("update statements set acknowledged = 1 where payer = $1")
        .bind(owner.payer.to_vec())
        .execute(&mut *connection)
        .await?;
    sqlx::query("update accounts set acknowledged_at = $1 where payer = $2")
        .bind(integer(offered.now_s)?)
        .bind(owner.payer.to_vec())
        .execute(connection)
        .await?;
    Ok(done)
}

/// The outbound leg becomes owed when the customer has paid for it. Returns what became owed.
async fn book_relay_leg(
    connection: &mut Connection,
    payer: Address,
    relay: Address,
    own_operator: Address,
) -> Result<Vec<MeterLine>, StoreError> {
    let leg = lines::load(connection, Book::StatementRelay, payer).await?;
    let operator = peers::operator_of(connection, relay).await?.ok_or(StoreError::Corrupt("relay"))?;
    let bytes = statement::relayed_bytes(&leg);
    peers::count_at_agent(connection, Relay { node: relay, operator }, 0, bytes).await?;
    if operator == own_operator {
        return Ok(Vec::new());
    }
    let mut owed = lines::load(connection, Book::Owed, operator).await?;
    for line in &leg {
        lines::add_relayed(&mut owed, line.tariff_version, line.tariff, line.meter.relayed)?;
    }
    lines::replace(connection, Book::Owed, operator, &owed).await?;
    Ok(leg)
}

#[cfg(test)]
mod tests;
