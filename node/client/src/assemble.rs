//! Files from parts: into a temporary file, hashed on the way, flushed to disk, and only then under a name of its
//! own. A crash at any point leaves the parts in the store, and the next run puts the file where it belongs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::file_name::{alternative, sanitise};
use crate::store::files::WholeFile;
use crate::store::{Store, StoreError};

/// How many alternatives of a taken name are tried.
const ALTERNATIVES_MAX: u32 = 10_000;

/// Bytes read at a time when an existing file is hashed.
const CHUNK_BYTES: usize = 64 * 1024;

/// How a file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It is there, whole, flushed and checked.
    Saved(PathBuf),
    /// Its bytes are not what the sender said.
    Corrupt,
}

/// Why a file could not be put in its place; its parts are still in the store.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output directory.
    #[error("writing into {directory}: {source}; nothing is lost: repair that and listen again")]
    Io {
        /// Where.
        directory: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

/// Puts a whole file into `directory` under a harmless name that is free, and records where.
pub async fn place(store: &Store, file: &WholeFile, directory: &Path) -> Result<Placed, AssembleError> {
    let io = |source| AssembleError::Io { directory: directory.to_owned(), source };

    // A crash may have come between the last two steps: then the file is already where it should be.
    if let Some(path) = &file.path
        && hash_file(path).is_ok_and(|hash| hash == file.sha256)
    {
        store.saved(file, path).await?;
        return Ok(Placed::Saved(path.clone()));
    }

    fs::create_dir_all(directory).map_err(io)?;
    let draft = directory.join(format!(".minus-{}.part", hex::encode(file.file_id)));
    if !write_draft(store, file, &draft, directory).await? {
        let _ = fs::remove_file(&draft);
        store.corrupt(file).await?;
        return Ok(Placed::Corrupt);
    }
    let name = sanitise(&file.name);
    for n in 0..ALTERNATIVES_MAX {
        let path = directory.join(alternative(&name, n));
        if path.exists() {
            continue;
        }
        store.placing(file, &path).await?;
        match link_without_replacing(&draft, &path) {
            Ok(()) => {
                sync_directory(directory).map_err(io)?;
                store.saved(file, &path).await?;
                return Ok(Placed::Saved(path));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(error)),
        }
    }
    Err(io(std::io::Error::new(std::io::ErrorKind::AlreadyExists, "no free name")))
}

/// Writes all parts and says whether they are what the sender said.
async fn write_draft(store: &Store, file: &WholeFile, draft: &Path, directory: &Path) -> Result<bool, AssembleError> {
    let io = |source| AssembleError::Io { directory: directory.to_owned(), source };
    let mut output = File::create(draft).map_err(io)?;
    let mut hasher = Sha256::new();
    let mut size = 0_u64;
    for index in 0..file.count {
        let bytes = store.part(file, index).await?;
        size = size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        hasher.update(&bytes);
        output.write_all(&bytes).map_err(io)?;
    }
    let is_right = size == file.size && hasher.finalize().as_slice() == file.sha256;
    if is_right {
        output.sync_all().map_err(io)?;
    }
    Ok(is_right)
}

/// SHA-256 of a file on disk.
pub fn hash_file(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(&chunk[..read]);
    }
}

/// A second name for the draft fails when the name is taken, where renaming would replace; then the draft's own name
/// goes. File systems without links get a rename, after the look that `place` has just taken.
fn link_without_replacing(draft: &Path, path: &Path) -> std::io::Result<()> {
    match fs::hard_link(draft, path) {
        Ok(()) => fs::remove_file(draft),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => fs::rename(draft, path),
    }
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use alloy::primitives::{Address, B256};
    use minus_protocol::Carriage;
    use proptest::prelude::*;

    use super::*;
    use crate::content::{Content, FilePart};
    use crate::store::inbox::{Arrival, Fate, Received};

    const WALLET: Address = Address::repeat_byte(1);
    const AGENT: Address = Address::repeat_byte(2);
    const SENDER: Address = Address::repeat_byte(3);
    const NOW: u64 = 1_700_000_000;

    fn arrival(seq: u64, part: FilePart) -> Arrival {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&seq.to_be_bytes());
        Arrival {
            seq,
            carriage: Carriage { bytes: 500, stored_at: NOW, tariff_version: 1, relayed_in: true },
            packet_id: B256::repeat_byte(9),
            opened: Ok(Received { sender: SENDER, id, sent_at_ms: NOW * 1000, content: Content::FilePart(part) }),
        }
    }

    fn split(name: &str, bytes: &[u8], part_bytes: usize) -> Vec<FilePart> {
        let sha256: [u8; 32] = Sha256::digest(bytes).into();
        let chunks: Vec<&[u8]> = if bytes.is_empty() { vec![&[]] } else { bytes.chunks(part_bytes).collect() };
        let count = u32::try_from(chunks.len()).unwrap();
        let part = |(index, chunk): (usize, &&[u8])| FilePart {
            file_id: [5; 16],
            name: name.to_owned(),
            size: u64::try_from(bytes.len()).unwrap(),
            sha256,
            index: u32::try_from(index).unwrap(),
            count,
            bytes: chunk.to_vec(),
        };
        chunks.iter().enumerate().map(part).collect()
    }

    async fn world() -> (tempfile::TempDir, Store, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("client.sqlite")).await.unwrap();
        let output = directory.path().join("output");
        (directory, store, output)
    }

    async fn keep(store: &Store, parts: Vec<FilePart>) -> Vec<Fate> {
        let arrivals: Vec<Arrival> = (1..).zip(parts).map(|(seq, part)| arrival(seq, part)).collect();
        store.keep(WALLET, AGENT, &arrivals, NOW).await.unwrap()
    }

    #[tokio::test]
    async fn refuses_bytes_that_are_not_what_the_sender_said() {
        let (_directory, store, output) = world().await;
        let mut parts = split("a.bin", &[7; 1000], 300);
        parts[1].bytes[0] ^= 1;
        keep(&store, parts).await;
        let whole = store.whole_files(WALLET).await.unwrap();
        assert_eq!(place(&store, &whole[0], &output).await.unwrap(), Placed::Corrupt);
        assert_eq!(fs::read_dir(&output).unwrap().count(), 0);
        assert!(store.whole_files(WALLET).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn refuses_parts_of_another_file_under_the_same_id() {
        let (_directory, store, _output) = world().await;
        let mut parts = split("a.bin", &[7; 1000], 300);
        parts[2].sha256 = [0; 32];
        let fates = keep(&store, parts).await;
        assert!(matches!(fates[2], Fate::Discarded(_)), "{fates:?}");
        assert!(store.whole_files(WALLET).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn never_replaces_a_file_and_never_leaves_its_directory() {
        let (_directory, store, output) = world().await;
        fs::create_dir_all(&output).unwrap();
        fs::write(output.join("passwd"), "mine").unwrap();
        keep(&store, split("../../etc/passwd", b"theirs", 300)).await;
        let whole = store.whole_files(WALLET).await.unwrap();
        let placed = place(&store, &whole[0], &output).await.unwrap();
        assert_eq!(placed, Placed::Saved(output.join("passwd (1)")));
        assert_eq!(fs::read_to_string(output.join("passwd")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(output.join("passwd (1)")).unwrap(), "theirs");
    }

    #[tokio::test]
    async fn a_crash_after_placing_does_not_make_a_second_copy() {
        let (_directory, store, output) = world().await;
        keep(&store, split("a.txt", b"hello", 300)).await;
        let whole = store.whole_files(WALLET).await.unwrap();
        fs::create_dir_all(&output).unwrap();
        store.placing(&whole[0], &output.join("a.txt")).await.unwrap();
        fs::write(output.join("a.txt"), b"hello").unwrap();

        let whole = store.whole_files(WALLET).await.unwrap();
        assert_eq!(place(&store, &whole[0], &output).await.unwrap(), Placed::Saved(output.join("a.txt")));
        assert_eq!(fs::read_dir(&output).unwrap().count(), 1);
        assert_eq!(store.saved_files(WALLET).await.unwrap(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_is_split_is_assembled(
            bytes in proptest::collection::vec(any::<u8>(), 0..5000),
            part_bytes in 1_usize..2000,
            order in any::<u64>(),
        ) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let (_directory, store, output) = world().await;
                let mut parts = split("file.bin", &bytes, part_bytes.max(bytes.len() / 50 + 1));
                // Any order, and every second part twice.
                let length = parts.len();
                parts.rotate_left(usize::try_from(order).unwrap_or(usize::MAX) % length);
                let again: Vec<FilePart> = parts.iter().step_by(2).cloned().collect();
                parts.extend(again);
                let fates = keep(&store, parts).await;
                assert_eq!(fates.iter().filter(|fate| **fate == Fate::Kept).count(), length);
                let whole = store.whole_files(WALLET).await.unwrap();
                assert_eq!(whole.len(), 1);
                let placed = place(&store, &whole[0], &output).await.unwrap();
                assert_eq!(placed, Placed::Saved(output.join("file.bin")));
                assert_eq!(fs::read(output.join("file.bin")).unwrap(), bytes);
                assert!(store.whole_files(WALLET).await.unwrap().is_empty());
            });
        }
    }
}
