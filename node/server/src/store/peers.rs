//! Other nodes. As agent: the sessions relays opened here, and what is owed to their operators. As relay: what was
//! carried for each agent, and how far it was paid.

use alloy::primitives::{Address, B256};
use minus_bindings::{Amount, SignedVoucher};
use minus_protocol::MeterLine;

use super::{
    Connection, StoreError, commands,
    convert::{address, amount, amount_column, count, integer, unsigned},
    lines::{self, Book},
    packets::Relay,
    vouchers,
};
use crate::agent::statement;

/// Sessions of one relay that are kept. It needs one; a few more let it restart without waiting.
const SESSIONS_PER_RELAY_MAX: i64 = 4;

// ------------------------------------------------------------------------------------------------------ as agent

/// A session to be opened.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) command: B256,
    pub(crate) now_s: u64,
    pub(crate) token_hash: B256,
    pub(crate) relay: Relay,
    pub(crate) expires_at: u64,
    /// Running total the relay operator's account starts from, if it has none.
    pub(crate) base: Amount,
}

/// Opens a session, and the account of the relay's operator. False when the command is a replay.
pub(crate) async fn open_session(connection: &mut Connection, new: &NewSession) -> Result<bool, StoreError> {
    if !commands::first_time(connection, new.command, new.now_s).await? {
        return Ok(false);
    }
    let relay = new.relay;
    sqlx::query("insert into owed values ($1, $2, $3) on conflict do nothing")
        .bind(relay.operator.to_vec())
        .bind(amount_column(new.base))
        .bind(amount_column(new.base))
        .execute(&mut *connection)
        .await?;
    sqlx::query("insert into owed_counts values ($1, $2, '0', '0') on conflict do nothing")
        .bind(relay.node.to_vec())
        .bind(relay.operator.to_vec())
        .execute(&mut *connection)
        .await?;
    sqlx::query("insert into peer_sessions values ($1, $2, $3, $4)")
        .bind(new.token_hash.to_vec())
        .bind(relay.node.to_vec())
        .bind(relay.operator.to_vec())
        .bind(integer(new.expires_at)?)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "delete from peer_sessions where relay = $1 and token_hash not in
         (select token_hash from peer_sessions where relay = $2 order by expires_at desc, token_hash = $3 desc limit $4)",
    )
    .bind(relay.node.to_vec())
    .bind(relay.node.to_vec())
    .bind(new.token_hash.to_vec())
    .bind(SESSIONS_PER_RELAY_MAX)
    .execute(connection)
    .await?;
    Ok(true)
}

/// A relay's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenSession {
    pub(crate) relay: Relay,
    /// Unix seconds.
    pub(crate) expires_at: u64,
}

/// A session, if it is open.
pub(crate) async fn session<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    token_hash: B256,
    now_s: u64,
) -> Result<Option<OpenSession>, StoreError> {
    let row: Option<(Vec<u8>, Vec<u8>, i64)> = sqlx::query_as(
        "select relay, operator, expires_at from peer_sessions where token_hash = $1 and expires_at > $2",
    )
    .bind(token_hash.to_vec())
    .bind(integer(now_s)?)
    .fetch_optional(executor)
    .await?;
    row.map(|(node, operator, expires_at)| {
        let relay = Relay { node: address(&node)?, operator: address(&operator)? };
        Ok(OpenSession { relay, expires_at: unsigned(expires_at)? })
    })
    .transpose()
}

/// Deletes sessions that are over.
pub(crate) async fn forget_sessions(connection: &mut Connection, now_s: u64) -> Result<(), StoreError> {
    sqlx::query("delete from peer_sessions where expires_at <= $1").bind(integer(now_s)?).execute(connection).await?;
    Ok(())
}

/// The operator of a relay that once opened a session here.
pub(crate) async fn operator_of(connection: &mut Connection, relay: Address) -> Result<Option<Address>, StoreError> {
    let row: Option<Vec<u8>> = sqlx::query_scalar("select relay_operator from owed_counts where relay = $1")
        .bind(relay.to_vec())
        .fetch_optional(connection)
        .await?;
    row.as_deref().map(address).transpose()
}

/// This agent's counts of what one relay brought and took away.
pub(crate) async fn counts_at_agent(connection: &mut Connection, relay: Address) -> Result<(u128, u128), StoreError> {
    let row: Option<(String, String)> =
        sqlx::query_as("select inbound_bytes, outbound_bytes from owed_counts where relay = $1")
            .bind(relay.to_vec())
            .fetch_optional(connection)
            .await?;
    row.map_or(Ok((0, 0)), |(inbound, outbound)| Ok((count(&inbound)?, count(&outbound)?)))
}

/// Adds to these counts.
pub(crate) async fn count_at_agent(
    connection: &mut Connection,
    relay: Relay,
    inbound: u128,
    outbound: u128,
) -> Result<(), StoreError> {
    let (inbound_before, outbound_before) = counts_at_agent(connection, relay.node).await?;
    sqlx::query(
        "insert into owed_counts values ($1, $2, $3, $4) on conflict (relay) do update set
         relay_operator = excluded.relay_operator, inbound_bytes = excluded.inbound_bytes,
         outbound_bytes = excluded.outbound_bytes",
    )
    .bind(relay.node.to_vec())
    .bind(relay.operator.to_vec())
    .bind(inbound_before.saturating_add(inbound).to_string())
    .bind(outbound_before.saturating_add(outbound).to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// What is owed to one relay operator.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    pub(crate) relay_operator: Address,
    pub(crate) base: Amount,
    pub(crate) lines: Vec<MeterLine>,
    pub(crate) total: Amount,
    pub(crate) vouchered: Amount,
}

/// The account of a relay operator.
pub(crate) async fn owed(connection: &mut Connection, relay_operator: Address) -> Result<Option<Owed>, StoreError> {
    let row: Option<(String, String)> = sqlx::query_as("select base, vouchered from owed where relay_operator = $1")
        .bind(relay_operator.to_vec())
        .fetch_optional(&mut *connection)
        .await?;
    let Some((base, vouchered)) = row else { return Ok(None) };
    let base = amount(&base)?;
    let lines = lines::load(connection, Book::Owed, relay_operator).await?;
    let total = statement::total(base, &lines)?;
    Ok(Some(Owed { relay_operator, base, lines, total, vouchered: amount(&vouchered)? }))
}

/// All relay operators with an account here.
pub(crate) async fn owed_operators<'e>(executor: impl sqlx::AnyExecutor<'e>) -> Result<Vec<Address>, StoreError> {
    let rows: Vec<Vec<u8>> =
        sqlx::query_scalar("select relay_operator from owed order by relay_operator").fetch_all(executor).await?;
    rows.iter().map(|row| address(row)).collect()
}

/// Notes the total that a voucher is signed for, before anybody sees it.
pub(crate) async fn promise(
    connection: &mut Connection,
    relay_operator: Address,
    total: Amount,
) -> Result<(), StoreError> {
    sqlx::query("update owed set vouchered = $1 where relay_operator = $2")
        .bind(amount_column(total))
        .bind(relay_operator.to_vec())
        .execute(connection)
        .await?;
    Ok(())
}

// ------------------------------------------------------------------------------------------------------ as relay

/// This relay's account with one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Earned {
    pub(crate) agent: Address,
    pub(crate) agent_operator: Address,
    pub(crate) inbound_bytes: u128,
    pub(crate) outbound_bytes: u128,
    pub(crate) inbound_confirmed: u128,
    pub(crate) outbound_confirmed: u128,
    pub(crate) outbound_written_off: u128,
    pub(crate) vouchered: Amount,
}

impl Earned {
    /// An account on which nothing happened yet.
    pub(crate) const fn new(agent: Address, agent_operator: Address) -> Self {
        Self {
            agent,
            agent_operator,
            inbound_bytes: 0,
            outbound_bytes: 0,
            inbound_confirmed: 0,
            outbound_confirmed: 0,
            outbound_written_off: 0,
            vouchered: Amount::ZERO,
        }
    }
}

type EarnedRow = (Vec<u8>, Vec<u8>, String, String, String, String, String, String);

fn earned_of(row: EarnedRow) -> Result<Earned, StoreError> {
    let (agent, agent_operator, inbound, outbound, inbound_confirmed, outbound_confirmed, written_off, vouchered) = row;
    Ok(Earned {
        agent: address(&agent)?,
        agent_operator: address(&agent_operator)?,
        inbound_bytes: count(&inbound)?,
        outbound_bytes: count(&outbound)?,
        inbound_confirmed: count(&inbound_confirmed)?,
        outbound_confirmed: count(&outbound_confirmed)?,
        outbound_written_off: count(&written_off)?,
        vouchered: amount(&vouchered)?,
    })
}

/// This relay's account with an agent, if it ever carried for it.
pub(crate) async fn earned<'e>(
    executor: impl sqlx::AnyExecutor<'e>,
    agent: Address,
) -> Result<Option<Earned>, StoreError> {
    let row: Option<EarnedRow> =
        sqlx::query_as("select * from earned where agent = $1").bind(agent.to_vec()).fetch_optional(executor).await?;
    row.map(earned_of).transpose()
}

/// All such accounts.
pub(crate) async fn all_earned<'e>(executor: impl sqlx::AnyExecutor<'e>) -> Result<Vec<Earned>, StoreError> {
    let rows: Vec<EarnedRow> = sqlx::query_as("select * from earned order by agent").fetch_all(executor).await?;
    rows.into_iter().map(earned_of).collect()
}

/// Writes an account back.
pub(crate) async fn save_earned(connection: &mut Connection, earned: &Earned) -> Result<(), StoreError> {
    sqlx::query(
        "insert into earned values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (agent) do update set
         agent_operator = excluded.agent_operator, inbound_bytes = excluded.inbound_bytes,
         outbound_bytes = excluded.outbound_bytes, inbound_confirmed = excluded.inbound_confirmed,
         outbound_confirmed = excluded.outbound_confirmed, outbound_written_off = excluded.outbound_written_off,
         vouchered = excluded.vouchered",
    )
    .bind(earned.agent.to_vec())
    .bind(earned.agent_operator.to_vec())
    .bind(earned.inbound_bytes.to_string())
    .bind(earned.outbound_bytes.to_string())
    .bind(earned.inbound_confirmed.to_string())
    .bind(earned.outbound_confirmed.to_string())
    .bind(earned.outbound_written_off.to_string())
    .bind(amount_column(earned.vouchered))
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds to this relay's counts for an agent; gives the account.
pub(crate) async fn count_at_relay(
    connection: &mut Connection,
    agent: Relay,
    inbound: u128,
    outbound: u128,
) -> Result<Earned, StoreError> {
    let mut earned =
        earned(&mut *connection, agent.node).await?.unwrap_or_else(|| Earned::new(agent.node, agent.operator));
    earned.inbound_bytes = earned.inbound_bytes.saturating_add(inbound);
    earned.outbound_bytes = earned.outbound_bytes.saturating_add(outbound);
    save_earned(connection, &earned).await?;
    Ok(earned)
}

/// Keeps a verified voucher of an agent together with what it confirmed.
pub(crate) async fn collect(
    connection: &mut Connection,
    earned: &Earned,
    voucher: Option<&SignedVoucher>,
) -> Result<(), StoreError> {
    save_earned(connection, earned).await?;
    match voucher {
        Some(voucher) => vouchers::keep(connection, voucher).await,
        None => Ok(()),
    }
}

/// The latest end of any session, for the operator's eyes.
pub(crate) async fn sessions<'e>(executor: impl sqlx::AnyExecutor<'e>) -> Result<u64, StoreError> {
    let open: i64 = sqlx::query_scalar("select count(*) from peer_sessions").fetch_one(executor).await?;
    unsigned(open)
}
