//! Meter lines of every book: running totals per tariff version.

use std::collections::HashMap;

use alloy::primitives::Address;
use futures_util::TryStreamExt;
use minus_protocol::{LINES_MAX, Meter, MeterLine, Tariff};

use super::{
    Connection, StoreError,
    convert::{address, count, price, version},
};

/// Whose running totals a line belongs to; the words of the `book` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Book {
    /// Acknowledged by a payer.
    Customer,
    /// What a payer's latest statement says.
    Statement,
    /// What acknowledging that statement adds to the relay's account.
    StatementRelay,
    /// Owed to a relay operator.
    Owed,
}

impl Book {
    const fn word(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Statement => "statement",
            Self::StatementRelay => "statement_relay",
            Self::Owed => "owed",
        }
    }
}

type Row = (i64, String, String, String, String, String, String);
type OwnedRow = (Vec<u8>, i64, String, String, String, String, String, String);

/// All lines of one owner, oldest tariff first.
pub(crate) async fn load(
    connection: &mut Connection,
    book: Book,
    owner: Address,
) -> Result<Vec<MeterLine>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "select tariff_version, delivery, relay, storing, delivered, relayed, byte_seconds
         from lines where book = $1 and owner = $2 order by tariff_version",
    )
    .bind(book.word())
    .bind(owner.to_vec())
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(line).collect()
}

/// All lines of a book, by owner; of each, oldest tariff first.
pub(crate) async fn all(
    connection: &mut Connection,
    book: Book,
) -> Result<HashMap<Address, Vec<MeterLine>>, StoreError> {
    let mut rows = sqlx::query_as::<_, OwnedRow>(
        "select owner, tariff_version, delivery, relay, storing, delivered, relayed, byte_seconds
         from lines where book = $1 order by owner, tariff_version",
    )
    .bind(book.word())
    .fetch(connection);
    let mut lines = HashMap::<_, Vec<_>>::new();
    while let Some((owner, tariff_version, delivery, relay, storing, delivered, relayed, byte_seconds)) =
        rows.try_next().await?
    {
        let row = (tariff_version, delivery, relay, storing, delivered, relayed, byte_seconds);
        lines.entry(address(&owner)?).or_default().push(line(row)?);
    }
    Ok(lines)
}

fn line(
    (tariff_version, delivery, relay, storing, delivered, relayed, byte_seconds): Row,
) -> Result<MeterLine, StoreError> {
    Ok(MeterLine {
        tariff_version: version(tariff_version)?,
        tariff: Tariff { delivery: price(&delivery)?, relay: price(&relay)?, storing: price(&storing)? },
        meter: Meter { delivered: count(&delivered)?, relayed: count(&relayed)?, byte_seconds: count(&byte_seconds)? },
    })
}

/// Makes `lines` all that stands in that book for that owner.
pub(crate) async fn replace(
    connection: &mut Connection,
    book: Book,
    owner: Address,
    lines: &[MeterLine],
) -> Result<(), StoreError> {
    sqlx::query("delete from lines where book = $1 and owner = $2")
        .bind(book.word())
        .bind(owner.to_vec())
        .execute(&mut *connection)
        .await?;
    for line in lines {
        sqlx::query("insert into lines values ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(book.word())
            .bind(owner.to_vec())
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

/// Adds relayed bytes to the line of that tariff version.
pub(crate) fn add_relayed(
    lines: &mut Vec<MeterLine>,
    tariff_version: u32,
    tariff: Tariff,
    bytes: u128,
) -> Result<(), StoreError> {
    let place = match lines.binary_search_by_key(&tariff_version, |line| line.tariff_version) {
        Ok(place) => place,
        Err(_) if lines.len() >= LINES_MAX => return Err(StoreError::Range("tariff versions")),
        Err(place) => {
            lines.insert(place, MeterLine { tariff_version, tariff, meter: Meter::default() });
            place
        }
    };
    let meter = &mut lines[place].meter;
    meter.relayed = meter.relayed.checked_add(bytes).ok_or(StoreError::Range("relayed bytes"))?;
    Ok(())
}
