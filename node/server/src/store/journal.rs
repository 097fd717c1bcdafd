//! The journal: packets that were let in together are one row, so one statement makes them durable. A row is read only
//! after a crash or a failure.
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

use super::{Connection, StoreError, arrivals::Kept, packets::Relay};

/// Another form is not guessed at.
const FORM: u8 = 1;
/// What a packet's entry has beside the packet.
pub(super) const ENTRY_BYTES: usize = 177;

const RELAYED: u8 = 1;
const OWED: u8 = 2;

const BAD: StoreError = StoreError::Corrupt("journal");

/// Makes packets durable, in a transaction of its own.
pub(super) async fn append(connection: &mut Connection, number: i32, kept: &[Kept]) -> Result<(), StoreError> {
    sqlx::query("insert into journal values ($1, $2)").bind(number).bind(encode(kept)?).execute(connection).await?;
    Ok(())
}

/// Every row, in order: how many there are, and their packets.
pub(super) async fn read(connection: &mut Connection) -> Result<(i32, Vec<Kept>), StoreError> {
    let rows: Vec<(i32, Vec<u8>)> =
        sqlx::query_as("select number, batch from journal order by number").fetch_all(connection).await?;
    let mut kept = Vec::new();
    let mut last = 0;
    for (number, batch) in rows {
        last += 1;
        if number != last {
            return Err(BAD);
        }
        decode(batch.into(), &mut kept)?;
    }
    Ok((last, kept))
}

/// Deletes the rows, of which there are so many: their packets are in the tables when this is committed.
pub(super) async fn clear(connection: &mut Connection, rows: i32) -> Result<(), StoreError> {
    let done = sqlx::query("delete from journal").execute(connection).await?;
    if i32::try_from(done.rows_affected()) == Ok(rows) { Ok(()) } else { Err(BAD) }
}

fn encode(kept: &[Kept]) -> Result<Vec<u8>, StoreError> {
    let packets: usize = kept.iter().map(|kept| kept.packet.len()).sum();
    let mut batch = Vec::with_capacity(1 + kept.len() * ENTRY_BYTES + packets);
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
        packet: batch.split_to(length),
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
        let bytes = encode(&batch).expect("short");
        assert_eq!(bytes.len(), 1 + 3 * ENTRY_BYTES + 1_001);
        let mut back = Vec::new();
        decode(bytes.into(), &mut back).expect("whole");
        assert_eq!(back, batch);
    }

    #[test]
    fn what_is_cut_or_of_another_form_is_refused() {
        let bytes = Bytes::from(encode(&[kept(1, None, false, 10), kept(2, None, false, 10)]).expect("short"));
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
