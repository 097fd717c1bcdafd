//! Money in the database: lanes, accounts with their meters, entrusted wallets, and the statement signed last.
//!
//! Signing is one transaction ([`Store::sign`]): what was counted is read, judged by a pure function, and the new
//! running total is on disk before anyone sees the voucher (law 8).

use alloy::primitives::Address;
use minus_bindings::Amount;
use minus_protocol::{Carriage, Meter, MeterLine, Tariff};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::records::{Account, Counted, Entrustment, LaneRecord, SignedStatement, Signing, Snapshot};
use super::{Store, StoreError, address, amount, fixed, flag, small, to_column, unsigned, wide};

const ACKNOWLEDGED: &str = "acknowledged";
const SIGNED: &str = "signed";

impl Store {
    /// The highest running total ever signed on a lane; zero when none was.
    pub async fn signed(&self, payer: Address, operator: Address) -> Result<Amount, StoreError> {
        let mut connection = self.pool.acquire().await?;
        signed(&mut connection, payer, operator).await
    }

    /// All lanes of a payer that vouchers were signed on.
    pub async fn lanes(&self, payer: Address) -> Result<Vec<LaneRecord>, StoreError> {
        let rows = sqlx::query("select payer, operator, signed from lanes where payer = ? order by operator")
            .bind(payer.as_slice())
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(LaneRecord {
                    payer: address(row, "payer")?,
                    operator: address(row, "operator")?,
                    signed: amount(row, "signed")?,
                })
            })
            .collect()
    }

    /// An account, when it is open.
    pub async fn account(&self, payer: Address, agent: Address) -> Result<Option<Account>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        account(&mut connection, payer, agent).await
    }

    /// The other agents of the same operator that keep an account for this payer: they would share one lane.
    pub async fn agents_on_lane(&self, payer: Address, operator: Address) -> Result<Vec<Address>, StoreError> {
        let rows = sqlx::query("select agent from accounts where payer = ? and operator = ?")
            .bind(payer.as_slice())
            .bind(operator.as_slice())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| address(row, "agent")).collect()
    }

    /// The wallets of a payer that are entrusted to an agent.
    pub async fn entrusted_wallets(&self, payer: Address, agent: Address) -> Result<Vec<Address>, StoreError> {
        let rows = sqlx::query("select wallet from entrustments where payer = ? and agent = ?")
            .bind(payer.as_slice())
            .bind(agent.as_slice())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| address(row, "wallet")).collect()
    }

    /// A wallet's entrustment to an agent.
    pub async fn entrustment(&self, wallet: Address, agent: Address) -> Result<Option<Entrustment>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        entrustment(&mut connection, wallet, agent).await
    }

    /// Records what an agent agreed to: the wallet, and the account with its base and, when it was open before, its
    /// acknowledged lines. `stored_from` is the earliest moment at which the agent can have stored for the wallet.
    ///
    /// An account that is open here with the same base goes on; with another base it starts anew, and what it had
    /// counted is in the base.
    pub async fn open_account(&self, wallet: Address, opening: &Account, stored_from: u64) -> Result<(), StoreError> {
        let now = to_column(stored_from, "time")?;
        let mut transaction = self.write().await?;
        let present = account(&mut transaction, opening.payer, opening.agent).await?;
        if present.as_ref().is_none_or(|present| present.base != opening.base || present.operator != opening.operator) {
            sqlx::query("delete from accounts where payer = ? and agent = ?")
                .bind(opening.payer.as_slice())
                .bind(opening.agent.as_slice())
                .execute(&mut *transaction)
                .await?;
            sqlx::query(
                "insert into accounts (payer, agent, operator, base, statement, opened_at) values (?, ?, ?, ?, ?, ?)",
            )
            .bind(opening.payer.as_slice())
            .bind(opening.agent.as_slice())
            .bind(opening.operator.as_slice())
            .bind(opening.base.base_units().to_string())
            .bind(to_column(opening.statement, "statement number")?)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
            save_lines(&mut transaction, opening, ACKNOWLEDGED, &opening.lines).await?;
        }
        sqlx::query(
            "insert into entrustments (wallet, agent, payer, entrusted_at) values (?, ?, ?, ?)
             on conflict (wallet, agent) do update set payer = excluded.payer",
        )
        .bind(wallet.as_slice())
        .bind(opening.agent.as_slice())
        .bind(opening.payer.as_slice())
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// What a statement about `wallet` is judged by; `None` when the wallet is not entrusted.
    pub async fn snapshot(&self, wallet: Address, agent: Address) -> Result<Option<Snapshot>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        snapshot(&mut connection, wallet, agent).await
    }

    /// Judges and signs in one transaction. `judge` sees what was counted and answers with what to write, or with a
    /// reason not to, in which case nothing is written. The voucher may be shown once this returns.
    pub async fn sign<E>(
        &self,
        wallet: Address,
        agent: Address,
        now: u64,
        judge: impl FnOnce(&Snapshot) -> Result<Signing, E>,
    ) -> Result<Option<Result<Signing, E>>, StoreError> {
        let mut transaction = self.write().await?;
        let Some(snapshot) = snapshot(&mut transaction, wallet, agent).await? else {
            return Ok(None);
        };
        let signing = match judge(&snapshot) {
            Ok(signing) => signing,
            Err(error) => return Ok(Some(Err(error))),
        };
        if let Some(unconfirmed) = snapshot.unconfirmed.as_ref().filter(|_| signing.confirmed) {
            book(&mut transaction, &snapshot.account, unconfirmed).await?;
        }
        write_signing(&mut transaction, &snapshot.account, &signing, now).await?;
        transaction.commit().await?;
        Ok(Some(Ok(signing)))
    }

    /// The agent booked statement `number`: its meters are the account's, its messages are gone. Nothing happens when
    /// another statement has been signed since; that one's judgement found out.
    pub async fn confirm(&self, payer: Address, agent: Address, number: u64) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        let Some(account) = account(&mut transaction, payer, agent).await? else { return Ok(()) };
        let Some(unconfirmed) = unconfirmed(&mut transaction, payer, agent).await? else { return Ok(()) };
        if unconfirmed.number == number {
            book(&mut transaction, &account, &unconfirmed).await?;
            transaction.commit().await?;
        }
        Ok(())
    }
}

async fn signed(connection: &mut SqliteConnection, payer: Address, operator: Address) -> Result<Amount, StoreError> {
    let row = sqlx::query("select signed from lanes where payer = ? and operator = ?")
        .bind(payer.as_slice())
        .bind(operator.as_slice())
        .fetch_optional(connection)
        .await?;
    row.map_or(Ok(Amount::ZERO), |row| amount(&row, "signed"))
}

async fn account(
    connection: &mut SqliteConnection,
    payer: Address,
    agent: Address,
) -> Result<Option<Account>, StoreError> {
    let row = sqlx::query("select operator, base, statement from accounts where payer = ? and agent = ?")
        .bind(payer.as_slice())
        .bind(agent.as_slice())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Account {
        payer,
        agent,
        operator: address(&row, "operator")?,
        base: amount(&row, "base")?,
        statement: unsigned(&row, "statement")?,
        lines: lines(connection, payer, agent, ACKNOWLEDGED).await?,
    }))
}

async fn lines(
    connection: &mut SqliteConnection,
    payer: Address,
    agent: Address,
    state: &'static str,
) -> Result<Vec<MeterLine>, StoreError> {
    let rows =
        sqlx::query("select * from meter_lines where payer = ? and agent = ? and state = ? order by tariff_version")
            .bind(payer.as_slice())
            .bind(agent.as_slice())
            .bind(state)
            .fetch_all(connection)
            .await?;
    rows.iter().map(meter_line).collect()
}

/// Replaces the lines of one state.
async fn save_lines(
    connection: &mut SqliteConnection,
    account: &Account,
    state: &'static str,
    lines: &[MeterLine],
) -> Result<(), StoreError> {
    sqlx::query("delete from meter_lines where payer = ? and agent = ? and state = ?")
        .bind(account.payer.as_slice())
        .bind(account.agent.as_slice())
        .bind(state)
        .execute(&mut *connection)
        .await?;
    for line in lines {
        sqlx::query(
            "insert into meter_lines
             (payer, agent, state, tariff_version, delivery, relay, storing, delivered, relayed, byte_seconds)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(account.payer.as_slice())
        .bind(account.agent.as_slice())
        .bind(state)
        .bind(i64::from(line.tariff_version))
        .bind(line.tariff.delivery.to_string())
        .bind(line.tariff.relay.to_string())
        .bind(line.tariff.storing.to_string())
        .bind(line.meter.delivered.to_string())
        .bind(line.meter.relayed.to_string())
        .bind(line.meter.byte_seconds.to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn meter_line(row: &SqliteRow) -> Result<MeterLine, StoreError> {
    let price = |column| u64::try_from(wide(row, column)?).map_err(|_| StoreError::Damaged(column));
    Ok(MeterLine {
        tariff_version: small(row, "tariff_version")?,
        tariff: Tariff { delivery: price("delivery")?, relay: price("relay")?, storing: price("storing")? },
        meter: Meter {
            delivered: wide(row, "delivered")?,
            relayed: wide(row, "relayed")?,
            byte_seconds: wide(row, "byte_seconds")?,
        },
    })
}

async fn entrustment(
    connection: &mut SqliteConnection,
    wallet: Address,
    agent: Address,
) -> Result<Option<Entrustment>, StoreError> {
    let row = sqlx::query(
        "select payer, entrusted_at, acknowledged_through from entrustments where wallet = ? and agent = ?",
    )
    .bind(wallet.as_slice())
    .bind(agent.as_slice())
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(Entrustment {
            wallet,
            agent,
            payer: address(&row, "payer")?,
            entrusted_at: unsigned(&row, "entrusted_at")?,
            acknowledged_through: unsigned(&row, "acknowledged_through")?,
        })
    })
    .transpose()
}

async fn unconfirmed(
    connection: &mut SqliteConnection,
    payer: Address,
    agent: Address,
) -> Result<Option<SignedStatement>, StoreError> {
    let row = sqlx::query("select * from signed_statements where payer = ? and agent = ?")
        .bind(payer.as_slice())
        .bind(agent.as_slice())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(SignedStatement {
        number: unsigned(&row, "number")?,
        wallet: address(&row, "wallet")?,
        through: unsigned(&row, "through")?,
        at: unsigned(&row, "at")?,
        total: amount(&row, "total")?,
        lines: lines(connection, payer, agent, SIGNED).await?,
    }))
}

async fn counted(
    connection: &mut SqliteConnection,
    wallet: Address,
    agent: Address,
) -> Result<Vec<Counted>, StoreError> {
    let rows = sqlx::query(
        "select seq, bytes, stored_at, tariff_version, relayed from messages where wallet = ? and agent = ? order by seq",
    )
    .bind(wallet.as_slice())
    .bind(agent.as_slice())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Counted {
                seq: unsigned(row, "seq")?,
                carriage: Carriage {
                    bytes: unsigned(row, "bytes")?,
                    stored_at: unsigned(row, "stored_at")?,
                    tariff_version: small(row, "tariff_version")?,
                    relayed_in: flag(row, "relayed")?,
                },
            })
        })
        .collect()
}

async fn snapshot(
    connection: &mut SqliteConnection,
    wallet: Address,
    agent: Address,
) -> Result<Option<Snapshot>, StoreError> {
    let Some(entrustment) = entrustment(connection, wallet, agent).await? else { return Ok(None) };
    let Some(account) = account(connection, entrustment.payer, agent).await? else { return Ok(None) };
    let unconfirmed = unconfirmed(connection, account.payer, agent).await?;
    let messages = counted(connection, wallet, agent).await?;
    Ok(Some(Snapshot { account, entrustment, unconfirmed, messages }))
}

/// An acknowledged statement enters the account; the messages it covers leave.
async fn book(
    connection: &mut SqliteConnection,
    account: &Account,
    statement: &SignedStatement,
) -> Result<(), StoreError> {
    let through = to_column(statement.through, "sequence number")?;
    save_lines(connection, account, ACKNOWLEDGED, &statement.lines).await?;
    save_lines(connection, account, SIGNED, &[]).await?;
    sqlx::query("update accounts set statement = ? where payer = ? and agent = ?")
        .bind(to_column(statement.number, "statement number")?)
        .bind(account.payer.as_slice())
        .bind(account.agent.as_slice())
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "update entrustments set acknowledged_through = max(acknowledged_through, ?) where wallet = ? and agent = ?",
    )
    .bind(through)
    .bind(statement.wallet.as_slice())
    .bind(account.agent.as_slice())
    .execute(&mut *connection)
    .await?;
    sqlx::query("delete from messages where wallet = ? and agent = ? and seq <= ?")
        .bind(statement.wallet.as_slice())
        .bind(account.agent.as_slice())
        .bind(through)
        .execute(&mut *connection)
        .await?;
    sqlx::query("delete from signed_statements where payer = ? and agent = ?")
        .bind(account.payer.as_slice())
        .bind(account.agent.as_slice())
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_signing(
    connection: &mut SqliteConnection,
    account: &Account,
    signing: &Signing,
    now: u64,
) -> Result<(), StoreError> {
    let statement = &signing.statement;
    save_lines(connection, account, SIGNED, &statement.lines).await?;
    sqlx::query(
        "insert or replace into signed_statements (payer, agent, number, wallet, through, at, total)
         values (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(account.payer.as_slice())
    .bind(account.agent.as_slice())
    .bind(to_column(statement.number, "statement number")?)
    .bind(statement.wallet.as_slice())
    .bind(to_column(statement.through, "sequence number")?)
    .bind(to_column(statement.at, "time")?)
    .bind(statement.total.base_units().to_string())
    .execute(&mut *connection)
    .await?;
    // A total below an earlier one can be signed (an agent that lost a relay's leg asks for less); what the lane is
    // known by stays the highest ever signed, because that is what the other side may hold.
    if signed(connection, account.payer, account.operator).await? > signing.voucher.cumulative {
        return Ok(());
    }
    sqlx::query("insert or replace into lanes (payer, operator, signed, voucher, signed_at) values (?, ?, ?, ?, ?)")
        .bind(account.payer.as_slice())
        .bind(account.operator.as_slice())
        .bind(signing.voucher.cumulative.base_units().to_string())
        .bind(signing.voucher.to_row().as_slice())
        .bind(to_column(now, "time")?)
        .execute(connection)
        .await?;
    Ok(())
}

impl Store {
    /// The voucher last signed on a lane, as its packed row.
    pub async fn voucher_row(&self, payer: Address, operator: Address) -> Result<Option<[u8; 96]>, StoreError> {
        let row = sqlx::query("select voucher from lanes where payer = ? and operator = ? and voucher is not null")
            .bind(payer.as_slice())
            .bind(operator.as_slice())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| fixed::<96>(&row, "voucher")).transpose()
    }

    /// How many messages of a wallet wait for an acknowledged statement.
    pub async fn waiting_messages(&self, wallet: Address, agent: Address) -> Result<u64, StoreError> {
        let row = sqlx::query("select count(*) as waiting from messages where wallet = ? and agent = ?")
            .bind(wallet.as_slice())
            .bind(agent.as_slice())
            .fetch_one(&self.pool)
            .await?;
        let waiting: i64 = row.try_get("waiting")?;
        u64::try_from(waiting).map_err(|_| StoreError::Damaged("count"))
    }
}
