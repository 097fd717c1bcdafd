//! The journal beside SQLite: two files in the node's folder that are written in turn. What makes packets durable is one write
//! and one `fdatasync`, mostly on blocks that the file has already; a file is written again from its start when everything in
//! it is in the tables.
//!
//! ```text
//! record: mark 4 | store 32 | number 8 | length 4 | check 4 | batch                       integers big-endian
//! ```
//!
//! `check` is the CRC-32 of what stands before it and of the batch: it tells a record that a power cut left in parts. What an
//! earlier lap left behind the last record is told by its number, since numbers only grow; and `store`, which nobody outside
//! knows, keeps a packet's bytes from ever being read as a record.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::FileExt,
    path::Path,
};

use alloy::primitives::B256;
use bytes::Bytes;

use super::StoreError;

const MARK: [u8; 4] = *b"MLJ1";
/// What a record has before its batch.
pub(super) const HEADER_BYTES: usize = 52;
const CHECK_AT: usize = HEADER_BYTES - 4;

/// A file is left for the other one from here on, if that one is no longer needed: long enough that the last lap's blocks
/// serve many commits, short enough to be nothing to a disk.
const SEGMENT_BYTES: u64 = 16 << 20;
/// No record is longer: beyond it a length is not believed. Twice the longest batch.
const RECORD_BYTES_MAX: usize = 16 << 20;

const NAMES: [&str; 2] = ["node.journal-0", "node.journal-1"];

/// The open files.
#[derive(Debug)]
pub(super) struct Segments {
    files: [File; 2],
    store: B256,
    current: usize,
    /// Where the next record begins.
    end: u64,
    /// The last number written into each file.
    last: [u64; 2],
}

/// A record that is whole.
type Record = (u64, Bytes);

impl Segments {
    /// Opens or creates them, for this process alone. They belong to the database of this name.
    pub(super) fn open(folder: &Path, store: B256) -> Result<Self, StoreError> {
        let open = |name| -> Result<File, StoreError> {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(folder.join(name))?;
            match file.try_lock() {
                Ok(()) => Ok(file),
                Err(TryLockError::WouldBlock) => Err(StoreError::Taken),
                Err(TryLockError::Error(error)) => Err(error.into()),
            }
        };
        let files = [open(NAMES[0])?, open(NAMES[1])?];
        // Or a power cut could take the names of files whose content it left.
        File::open(folder)?.sync_all()?;
        Ok(Self { files, store, current: 0, end: 0, last: [0; 2] })
    }

    /// Every record beyond `through`, in order and without a gap. What is written next goes over what was there: only when
    /// all of it is in the tables.
    pub(super) fn read(&mut self, through: u64) -> Result<Vec<Record>, StoreError> {
        let mut runs = [self.scan(0)?, self.scan(1)?];
        runs.sort_by_key(|run| run.first().map(|(number, _)| *number));
        let records: Vec<_> = runs.into_iter().flatten().filter(|(number, _)| *number > through).collect();
        let is_whole = records.iter().zip(through + 1..).all(|((number, _), expected)| *number == expected);
        if !is_whole {
            return Err(StoreError::Corrupt("journal"));
        }
        (self.current, self.end, self.last) = (0, 0, [0; 2]);
        Ok(records)
    }

    /// The records from the start of a file.
    fn scan(&self, place: usize) -> Result<Vec<Record>, StoreError> {
        let file = &self.files[place];
        let length = file.metadata()?.len();
        let (mut at, mut records) = (0, Vec::<Record>::new());
        let header_bytes = bytes(HEADER_BYTES)?;
        while at + header_bytes <= length {
            let mut header = [0; HEADER_BYTES];
            file.read_exact_at(&mut header, at)?;
            let Some((store, number, batch_bytes)) = parse(&header) else { break };
            let follows = records.last().is_none_or(|(last, _)| number == last + 1);
            let end = at + header_bytes + bytes(batch_bytes)?;
            if !follows || batch_bytes > RECORD_BYTES_MAX || end > length {
                break;
            }
            let mut batch = vec![0; batch_bytes];
            file.read_exact_at(&mut batch, at + header_bytes)?;
            if header[CHECK_AT..] != check(&header[..CHECK_AT], &batch) {
                break;
            }
            if store != self.store {
                return Err(StoreError::Foreign);
            }
            records.push((number, batch.into()));
            at = end;
        }
        Ok(records)
    }

    /// Makes a record durable: `record` is room for the header, and the batch. Numbers up to `applied` are in the tables.
    pub(super) fn append(&mut self, number: u64, mut record: Vec<u8>, applied: u64) -> Result<(), StoreError> {
        let Some((header, batch)) = record.split_first_chunk_mut::<HEADER_BYTES>() else {
            return Err(StoreError::Range("record"));
        };
        let length = u32::try_from(batch.len()).map_err(|_| StoreError::Range("record"))?;
        header[..4].copy_from_slice(&MARK);
        header[4..36].copy_from_slice(self.store.as_slice());
        header[36..44].copy_from_slice(&number.to_be_bytes());
        header[44..CHECK_AT].copy_from_slice(&length.to_be_bytes());
        let sum = check(&header[..CHECK_AT], batch);
        header[CHECK_AT..].copy_from_slice(&sum);

        self.turn(applied)?;
        let file = &self.files[self.current];
        file.write_all_at(&record, self.end)?;
        file.sync_data()?;
        self.end += bytes(record.len())?;
        self.last[self.current] = number;
        Ok(())
    }

    /// Goes on with the other file if this one is long and that one no longer needed.
    fn turn(&mut self, applied: u64) -> Result<(), StoreError> {
        let other = 1 - self.current;
        if self.end < SEGMENT_BYTES || self.last[other] > applied {
            return Ok(());
        }
        let file = &self.files[other];
        // What a time of much delay made longer.
        if file.metadata()?.len() > 2 * SEGMENT_BYTES {
            file.set_len(SEGMENT_BYTES)?;
        }
        (self.current, self.end) = (other, 0);
        Ok(())
    }
}

/// The database's name, the number and the length of the batch.
fn parse(header: &[u8; HEADER_BYTES]) -> Option<(B256, u64, usize)> {
    let rest = header.strip_prefix(&MARK)?;
    let (store, rest) = rest.split_first_chunk::<32>()?;
    let (number, rest) = rest.split_first_chunk()?;
    let length = u32::from_be_bytes(*rest.first_chunk()?);
    Some((B256::from(*store), u64::from_be_bytes(*number), usize::try_from(length).ok()?))
}

fn check(header: &[u8], batch: &[u8]) -> [u8; 4] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(header);
    sum.update(batch);
    sum.finalize().to_be_bytes()
}

fn bytes(length: usize) -> Result<u64, StoreError> {
    u64::try_from(length).map_err(|_| StoreError::Range("length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: B256 = B256::repeat_byte(7);

    fn record(batch: &[u8]) -> Vec<u8> {
        [&[0; HEADER_BYTES], batch].concat()
    }

    fn numbers(records: &[Record]) -> Vec<u64> {
        records.iter().map(|(number, _)| *number).collect()
    }

    fn reopened(folder: &Path) -> Segments {
        Segments::open(folder, STORE).expect("nobody else has them")
    }

    #[test]
    fn what_was_appended_is_read_back_beyond_what_is_in_the_tables() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut segments = reopened(folder.path());
        assert!(segments.read(0).expect("readable").is_empty());
        for number in 1..=20_u8 {
            segments.append(number.into(), record(&[number; 100]), 0).expect("there is room");
        }
        assert!(matches!(Segments::open(folder.path(), STORE), Err(StoreError::Taken)), "one process at a time");
        drop(segments);
        let mut segments = reopened(folder.path());
        let all = segments.read(0).expect("readable");
        assert_eq!(numbers(&all), (1..=20).collect::<Vec<_>>());
        assert_eq!(all[4].1, [5; 100][..]);
        assert_eq!(numbers(&segments.read(17).expect("readable")), [18, 19, 20]);
        assert!(segments.read(20).expect("readable").is_empty());
    }

    #[test]
    fn the_files_are_written_in_turn_and_no_lap_is_taken_for_another() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut segments = reopened(folder.path());
        let mut random = 1_u64;
        let mut applied = 0;
        for number in 1..=400_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let length = usize::try_from(random >> 45).expect("short");
            let byte = u8::try_from(number % 251).expect("small");
            segments.append(number, record(&vec![byte; length]), applied).expect("there is room");
            // What is applied is behind by some, and now and then by many.
            if number % 40 > 10 {
                applied = number - random % 5;
            }
            if number % 50 == 0 {
                drop(segments);
                segments = reopened(folder.path());
                let records = segments.read(applied).expect("readable");
                assert_eq!(numbers(&records), (applied + 1..=number).collect::<Vec<_>>());
                applied = number;
            }
        }
        let length = |name| folder.path().join(name).metadata().expect("it is there").len();
        assert!(NAMES.map(length).iter().all(|length| *length < 3 * SEGMENT_BYTES));
    }

    #[test]
    fn a_record_that_is_there_in_parts_was_never_answered_and_is_left_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut segments = reopened(folder.path());
        for number in 1..=3 {
            segments.append(number, record(&[9; 64]), 0).expect("there is room");
        }
        let whole = HEADER_BYTES + 64;
        let path = folder.path().join(NAMES[0]);
        let bytes = std::fs::read(&path).expect("readable");
        for length in 2 * whole..bytes.len() {
            std::fs::write(&path, &bytes[..length]).expect("writable");
            assert_eq!(numbers(&segments.read(0).expect("readable")), [1, 2], "{length}");
        }
        for place in 2 * whole..bytes.len() {
            let mut altered = bytes.clone();
            altered[place] ^= 1;
            std::fs::write(&path, altered).expect("writable");
            assert_eq!(numbers(&segments.read(0).expect("readable")), [1, 2], "{place}");
        }
    }

    #[test]
    fn neither_a_gap_nor_another_database_is_guessed_at() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut segments = reopened(folder.path());
        segments.append(5, record(&[9; 64]), 0).expect("there is room");
        assert!(matches!(segments.read(3), Err(StoreError::Corrupt(_))), "the fourth is missing");
        assert_eq!(numbers(&segments.read(4).expect("readable")), [5]);
        drop(segments);
        let mut other = Segments::open(folder.path(), B256::repeat_byte(8)).expect("nobody else has them");
        assert!(matches!(other.read(0), Err(StoreError::Foreign)));
    }
}
