//! Messages in the database: each counted once per (agent, wallet, sequence number) for the meter, each delivered
//! once per (sender, message id) to the application. A batch is one transaction, so that a fast stream costs few
//! synchronous writes.

use alloy::primitives::{Address, B256};
use minus_protocol::Carriage;
use sqlx::{Row, SqliteConnection};

use super::files::{self, PartFate};
use super::{Store, StoreError, address, fixed, to_column, unsigned};
use crate::content::Content;

/// How long a message id is remembered; a message sent longer ago than this is discarded, so that forgetting an id
/// never lets its message in again. Far above any node's retention.
pub const MESSAGE_AGE_MS_MAX: u64 = 90 * 24 * 3600 * 1000;

/// A message as it came out of the stream.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its sequence number at the agent.
    pub seq: u64,
    /// What it is charged by.
    pub carriage: Carriage,
    /// keccak256 of the packet.
    pub packet_id: B256,
    /// What was in it, or why that cannot be known.
    pub opened: Result<Received, String>,
}

/// An opened message.
#[derive(Debug, Clone)]
pub struct Received {
    /// Who sent it, proven by signature.
    pub sender: Address,
    /// The sender's id for it.
    pub id: [u8; 16],
    /// When, by the sender's clock.
    pub sent_at_ms: u64,
    /// What it says.
    pub content: Content,
}

/// What became of an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Durable, and new.
    Kept,
    /// Counted, but its content was here before.
    Duplicate,
    /// Counted, but of no use.
    Discarded(String),
    /// Counted before; the agent pushed it again.
    Repeated,
}

/// A text waiting to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingText {
    /// Who sent it.
    pub sender: Address,
    /// The sender's id for it.
    pub id: [u8; 16],
    /// When, by the sender's clock.
    pub sent_at_ms: u64,
    /// The text.
    pub text: String,
}

impl Store {
    /// Makes a batch durable and says what became of each arrival. Nothing may be signed for before this returns.
    pub async fn keep(
        &self,
        wallet: Address,
        agent: Address,
        arrivals: &[Arrival],
        now: u64,
    ) -> Result<Vec<Fate>, StoreError> {
        let mut transaction = self.write().await?;
        let acknowledged = acknowledged_through(&mut transaction, wallet, agent).await?;
        let mut fates = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let fate =
                if arrival.seq <= acknowledged || is_counted(&mut transaction, wallet, agent, arrival.seq).await? {
                    Fate::Repeated
                } else {
                    let fate = match &arrival.opened {
                        Ok(received) => take_in(&mut transaction, wallet, received, now).await?,
                        Err(reason) => Fate::Discarded(reason.clone()),
                    };
                    count(&mut transaction, wallet, agent, arrival, &fate).await?;
                    fate
                };
            fates.push(fate);
        }
        transaction.commit().await?;
        Ok(fates)
    }

    /// The highest sequence number this client holds durably: where a stream may resume.
    pub async fn resume_after(&self, wallet: Address, agent: Address) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "select max(coalesce((select max(seq) from messages where wallet = ?1 and agent = ?2), 0),
                        coalesce((select acknowledged_through from entrustments where wallet = ?1 and agent = ?2), 0))
             as seq",
        )
        .bind(wallet.as_slice())
        .bind(agent.as_slice())
        .fetch_one(&self.pool)
        .await?;
        unsigned(&row, "seq")
    }

    /// Texts that were received and not yet delivered, oldest first.
    pub async fn waiting_texts(&self, wallet: Address) -> Result<Vec<WaitingText>, StoreError> {
        let rows = sqlx::query("select sender, id, sent_at_ms, text from texts where wallet = ? order by rowid")
            .bind(wallet.as_slice())
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(WaitingText {
                    sender: address(row, "sender")?,
                    id: fixed(row, "id")?,
                    sent_at_ms: unsigned(row, "sent_at_ms")?,
                    text: row.try_get("text")?,
                })
            })
            .collect()
    }

    /// The application has these texts.
    pub async fn delivered(&self, wallet: Address, texts: &[WaitingText]) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        for text in texts {
            sqlx::query("delete from texts where wallet = ? and sender = ? and id = ?")
                .bind(wallet.as_slice())
                .bind(text.sender.as_slice())
                .bind(text.id.as_slice())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets message ids, and files that never became whole, of which no message would be taken any more.
    pub async fn forget_old(&self, now: u64) -> Result<(), StoreError> {
        let oldest_ms = to_column(now.saturating_mul(1000).saturating_sub(MESSAGE_AGE_MS_MAX), "time")?;
        let mut transaction = self.write().await?;
        sqlx::query("delete from message_ids where sent_at_ms < ?").bind(oldest_ms).execute(&mut *transaction).await?;
        sqlx::query("delete from files where started_at < ?").bind(oldest_ms / 1000).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

async fn acknowledged_through(
    connection: &mut SqliteConnection,
    wallet: Address,
    agent: Address,
) -> Result<u64, StoreError> {
    let row = sqlx::query("select acknowledged_through from entrustments where wallet = ? and agent = ?")
        .bind(wallet.as_slice())
        .bind(agent.as_slice())
        .fetch_optional(connection)
        .await?;
    row.map_or(Ok(0), |row| unsigned(&row, "acknowledged_through"))
}

async fn is_counted(
    connection: &mut SqliteConnection,
    wallet: Address,
    agent: Address,
    seq: u64,
) -> Result<bool, StoreError> {
    let row = sqlx::query("select 1 from messages where wallet = ? and agent = ? and seq = ?")
        .bind(wallet.as_slice())
        .bind(agent.as_slice())
        .bind(to_column(seq, "sequence number")?)
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

async fn count(
    connection: &mut SqliteConnection,
    wallet: Address,
    agent: Address,
    arrival: &Arrival,
    fate: &Fate,
) -> Result<(), StoreError> {
    let outcome = match fate {
        Fate::Kept => "kept",
        Fate::Duplicate | Fate::Repeated => "duplicate",
        Fate::Discarded(_) => "discarded",
    };
    sqlx::query(
        "insert into messages (wallet, agent, seq, bytes, stored_at, tariff_version, relayed, packet_id, outcome)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(wallet.as_slice())
    .bind(agent.as_slice())
    .bind(to_column(arrival.seq, "sequence number")?)
    .bind(to_column(arrival.carriage.bytes, "length")?)
    .bind(to_column(arrival.carriage.stored_at, "time")?)
    .bind(i64::from(arrival.carriage.tariff_version))
    .bind(i64::from(arrival.carriage.relayed_in))
    .bind(arrival.packet_id.as_slice())
    .bind(outcome)
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts the content of a message where it belongs, once per message id.
async fn take_in(
    connection: &mut SqliteConnection,
    wallet: Address,
    received: &Received,
    now: u64,
) -> Result<Fate, StoreError> {
    if received.sent_at_ms.saturating_add(MESSAGE_AGE_MS_MAX) < now.saturating_mul(1000) {
        return Ok(Fate::Discarded("sent too long ago".to_owned()));
    }
    let Ok(sent_at_ms) = i64::try_from(received.sent_at_ms) else {
        return Ok(Fate::Discarded("its time is out of range".to_owned()));
    };
    let fresh = sqlx::query("insert or ignore into message_ids (wallet, sender, id, sent_at_ms) values (?, ?, ?, ?)")
        .bind(wallet.as_slice())
        .bind(received.sender.as_slice())
        .bind(received.id.as_slice())
        .bind(sent_at_ms)
        .execute(&mut *connection)
        .await?;
    if fresh.rows_affected() == 0 {
        return Ok(Fate::Duplicate);
    }
    match &received.content {
        Content::Text { text } => {
            sqlx::query("insert or ignore into texts (wallet, sender, id, sent_at_ms, text) values (?, ?, ?, ?, ?)")
                .bind(wallet.as_slice())
                .bind(received.sender.as_slice())
                .bind(received.id.as_slice())
                .bind(sent_at_ms)
                .bind(text.as_str())
                .execute(connection)
                .await?;
            Ok(Fate::Kept)
        }
        Content::FilePart(part) => Ok(match files::take_part(connection, wallet, received.sender, part, now).await? {
            PartFate::Kept => Fate::Kept,
            PartFate::Duplicate => Fate::Duplicate,
            PartFate::Refused(reason) => Fate::Discarded(reason.to_owned()),
        }),
    }
}
