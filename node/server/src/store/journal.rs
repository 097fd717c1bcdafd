//! The journal: packets that were let in together are one record, so that one small write makes them durable. Beside SQLite
//! it is in files of its own (`segments`), in PostgreSQL a table with a connection of its own: neither waits for the tables.
//! Records are read only after a crash or a failure.
//!
//! ```text
//! form 1 | for each packet:                                                               integers big-endian
//!   wallet 20 | payer 20 | id 32 | seq 8 | now_s 8 | flags 1 | relay node 20 | relay operator 20 |
//!   tariff version 4 | delivery 8 | relay 8 | storing 8 | reserve 16 | length 4 | packet
//! ```
//!
//! Without a relay its addresses are zero.

use alloy::primitives::{Address, B256};
use bytes::Bytes;
use minus_bindings::Amount;
use minus_protocol::Tariff;
use sqlx::Connection as _;

use super::{
    Connection, StoreError,
    arrivals::Kept,
    convert::{integer, unsigned},
    database::{Database, Kind},
    packets::Relay,
    segments::{HEADER_BYTES, Segments},
};

/// Another form is not guessed at.
const FORM: u8 = 1;
/// What a packet's entry has beside the packet.
pub(super) const ENTRY_BYTES: usize = 177;

const RELAYED: u8 = 1;
const OWED: u8 = 2;

const BAD: StoreError = StoreError::Corrupt("journal");

/// Where it is.
#[derive(Debug)]
enum Place {
    /// None while they are written, and if that never came back.
    Files(Option<Segments>),
    Table(Connection),
}

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    place: Place,
    /// Number of the last record.
    last: u64,
    /// Up to here everything is in the tables.
    applied: u64,
}

impl Journal {
    /// Opens it; not to be written before it was read. `store` is the database's name.
    pub(super) async fn open(database: &Database, store: B256) -> Result<Self, StoreError> {
        let place = match database.kind() {
            Kind::Sqlite => Place::Files(Some(Segments::open(database.folder(), store)?)),
            Kind::Postgres => Place::Table(database.journal().await?),
        };
        Ok(Self { place, last: 0, applied: 0 })
    }

    /// What is journaled beyond `through`: the number of the last record, and the packets in order. `tables` is the connection
    /// to the tables, among which the older records are.
    pub(super) async fn read(&mut self, tables: &mut Connection, through: u64) -> Result<(u64, Vec<Kept>), StoreError> {
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("select number, batch from journaled where number > $1 order by number")
                .bind(integer(through)?)
                .fetch_all(tables)
                .await?;
        let (mut last, mut kept) = (through, Vec::new());
        for (number, batch) in rows {
            last += 1;
            if unsigned(number)? != last {
                return Err(BAD);
            }
            decode(batch.into(), &mut kept)?;
        }
        if let Place::Files(segments) = &mut self.place {
            let segments = segments.as_mut().ok_or(StoreError::NotCommitted)?;
            for (number, batch) in segments.read(last)? {
                last = number;
                decode(batch, &mut kept)?;
            }
        }
        (self.last, self.applied) = (last, through);
        Ok((last, kept))
    }

    /// Makes packets durable. The number of their record.
    pub(super) async fn append(&mut self, kept: &[Kept]) -> Result<u64, StoreError> {
        let number = self.last + 1;
        match &mut self.place {
            Place::Files(place) => {
                let record = encode(kept, HEADER_BYTES)?;
                let mut segments = place.take().ok_or(StoreError::NotCommitted)?;
                let applied = self.applied;
                let writing = tokio::task::spawn_blocking(move || {
                    let written = segments.append(number, record, applied);
                    (segments, written)
                });
                let (segments, written) = writing.await.map_err(|_| StoreError::NotCommitted)?;
                *place = Some(segments);
                written?;
            }
            Place::Table(connection) => {
                sqlx::query("insert into journaled values ($1, $2)")
                    .bind(integer(number)?)
                    .bind(encode(kept, 0)?)
                    .execute(connection)
                    .await?;
            }
        }
        self.last = number;
        Ok(number)
    }

    /// Whether it can still be written: not once a write never came back.
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.place, Place::Files(None))
    }

    /// Whether what it is in still answers.
    pub(super) async fn answers(&mut self) -> bool {
        match &mut self.place {
            Place::Files(segments) => segments.is_some(),
            Place::Table(connection) => connection.ping().await.is_ok(),
        }
    }

    pub(super) async fn close(self) -> Result<(), StoreError> {
        match self.place {
            Place::Files(_) => Ok(()),
            Place::Table(connection) => Ok(connection.close().await?),
        }
    }

    /// Records up to this one are in the tables: they are not needed any more.
    pub(super) const fn applied(&mut self, through: u64) {
        self.applied = through;
    }
}

/// Deletes the rows of records that the same transaction enters into the tables.
pub(super) async fn clear(connection: &mut Connection, through: u64) -> Result<(), StoreError> {
    sqlx::query("delete from journaled where number <= $1").bind(integer(through)?).execute(connection).await?;
    Ok(())
}

/// The batch, behind so much room.
pub(super) fn encode(kept: &[Kept], room: usize) -> Result<Vec<u8>, StoreError> {
    let packets: usize = kept.iter().map(|kept| kept.packet.len()).sum();
    let mut batch = Vec::with_capacity(room + 1 + kept.len() * ENTRY_BYTES + packets);
    batch.resize(room, 0);
    batch.push(FORM);
    for kept in kept {
        let length = u32::try_from(kept.packet.len()).map_err(|_| StoreError::Range("packet"))?;
        let relay = kept.relay.unwrap_or(Relay { node: Address::ZERO, operator: Address::ZERO });
        let relayed = if kept.relay.is_some() { RELAYED } else { 0 };
        batch.extend_from_slice(kept.wallet.as_slice());
        batch.extend_from_slice(kept.payer.as_slice());
        batch.extend_from_slice(kept.id.as_slice());
        batch.extend_from_slice(&kept.seq.to_be_bytes());
        batch.extend_from_slice(&kept.now_s.to_be_bytes());
        batch.push(relayed | if kept.is_owed { OWED } else { 0 });
        batch.extend_from_slice(relay.node.as_slice());
        batch.extend_from_slice(relay.operator.as_slice());
        batch.extend_from_slice(&kept.tariff_version.to_be_bytes());
        for price in [kept.tariff.delivery, kept.tariff.relay, kept.tariff.storing] {
            batch.extend_from_slice(&price.to_be_bytes());
        }
        batch.extend_from_slice(&kept.reserve.base_units().to_be_bytes());
        batch.extend_from_slice(&length.to_be_bytes());
        batch.extend_from_slice(&kept.packet);
    }
    Ok(batch)
}

fn decode(mut batch: Bytes, kept: &mut Vec<Kept>) -> Result<(), StoreError> {
    if take(&mut batch)? != [FORM] {
        return Err(BAD);
    }
    while !batch.is_empty() {
        kept.push(entry(&mut batch)?);
    }
    Ok(())
}

fn entry(batch: &mut Bytes) -> Result<Kept, StoreError> {
    let wallet = Address::from(take(batch)?);
    let payer = Address::from(take(batch)?);
    let id = B256::from(take(batch)?);
    let seq = u64::from_be_bytes(take(batch)?);
    let now_s = u64::from_be_bytes(take(batch)?);
    let [flags] = take(batch)?;
    let relay = Relay { node: Address::from(take(batch)?), operator: Address::from(take(batch)?) };
    let tariff_version = u32::from_be_bytes(take(batch)?);
    let mut price = || Ok::<_, StoreError>(u64::from_be_bytes(take(batch)?));
    let tariff = Tariff { delivery: price()?, relay: price()?, storing: price()? };
    let reserve = Amount::from_base_units(u128::from_be_bytes(take(batch)?)).map_err(|_| BAD)?;
    let length = usize::try_from(u32::from_be_bytes(take(batch)?)).map_err(|_| BAD)?;
    if flags & !(RELAYED | OWED) != 0 || length > batch.len() {
        return Err(BAD);
    }
    Ok(Kept {
        wallet,
        payer,
        id,
        seq,
        now_s,
        relay: (flags & RELAYED != 0).then_some(relay),
        is_owed: flags & OWED != 0,
        tariff_version,
        tariff,
        reserve,
        // Or each packet would hold on to the whole record.
        packet: Bytes::copy_from_slice(&batch.split_to(length)),
    })
}

fn take<const N: usize>(batch: &mut Bytes) -> Result<[u8; N], StoreError> {
    let taken = *batch.first_chunk().ok_or(BAD)?;
    let _ = batch.split_to(N);
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(seq: u64, relay: Option<Relay>, is_owed: bool, bytes: usize) -> Kept {
        Kept {
            wallet: Address::repeat_byte(1),
            payer: Address::repeat_byte(2),
            id: B256::repeat_byte(3),
            seq,
            now_s: 1_700_000_000,
            relay,
            is_owed,
            tariff_version: u32::MAX,
            tariff: Tariff { delivery: 5, relay: u64::MAX, storing: 7 },
            reserve: Amount::MAX,
            packet: vec![9; bytes].into(),
        }
    }

    #[test]
    fn what_is_journaled_is_read_back() {
        let relay = Relay { node: Address::repeat_byte(4), operator: Address::repeat_byte(5) };
        let batch = [kept(1, None, false, 0), kept(2, Some(relay), true, 1_000), kept(3, Some(relay), false, 1)];
        let bytes = encode(&batch, 0).expect("short");
        assert_eq!(bytes.len(), 1 + 3 * ENTRY_BYTES + 1_001);
        let mut back = Vec::new();
        decode(bytes.into(), &mut back).expect("whole");
        assert_eq!(back, batch);
    }

    #[test]
    fn what_is_cut_or_of_another_form_is_refused() {
        let bytes = Bytes::from(encode(&[kept(1, None, false, 10), kept(2, None, false, 10)], 0).expect("short"));
        let whole = [1, 1 + ENTRY_BYTES + 10, bytes.len()];
        for length in 0..=bytes.len() {
            let read = decode(bytes.slice(..length), &mut Vec::new());
            assert_eq!(read.is_ok(), whole.contains(&length), "{length}");
        }
        for (place, byte) in [(0, 2), (89, 4)] {
            let mut altered = bytes.to_vec();
            altered[place] = byte;
            assert!(decode(altered.into(), &mut Vec::new()).is_err(), "{place}");
        }
    }
}
