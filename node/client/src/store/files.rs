//! Files in the database: their parts until they are whole, and where they were put. A file's states: `partial` →
//! `placing` (its path is chosen) → `saved`, or `corrupt` when its bytes are not what its sender said.

use std::path::{Path, PathBuf};

use alloy::primitives::Address;
use sqlx::{Row, SqliteConnection};

use super::{Store, StoreError, address, fixed, small, to_column, unsigned};
use crate::content::FilePart;

/// Most files of one wallet that may be unfinished at a time: what strangers can leave lying in the database.
pub const PARTIAL_FILES_MAX: i64 = 10_000;

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartFate {
    /// New, and durable with the transaction.
    Kept,
    /// Already here, or its file is finished.
    Duplicate,
    /// Of no use.
    Refused(&'static str),
}

/// A file all of whose parts are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeFile {
    /// Whose.
    pub wallet: Address,
    /// From whom.
    pub sender: Address,
    /// The sender's id for it.
    pub file_id: [u8; 16],
    /// The sender's name for it: a stranger's word.
    pub name: String,
    /// Size in bytes, as the sender said.
    pub size: u64,
    /// SHA-256, as the sender said.
    pub sha256: [u8; 32],
    /// How many parts.
    pub count: u32,
    /// Where it was about to be put, when that was interrupted.
    pub path: Option<PathBuf>,
}

pub(super) async fn take_part(
    connection: &mut SqliteConnection,
    wallet: Address,
    sender: Address,
    part: &FilePart,
    now: u64,
) -> Result<PartFate, StoreError> {
    let known =
        sqlx::query("select size, sha256, count, state from files where wallet = ? and sender = ? and file_id = ?")
            .bind(wallet.as_slice())
            .bind(sender.as_slice())
            .bind(part.file_id.as_slice())
            .fetch_optional(&mut *connection)
            .await?;
    match known {
        Some(row) => {
            let state: &str = row.try_get("state")?;
            if state != "partial" {
                return Ok(PartFate::Duplicate);
            }
            let same = unsigned(&row, "size")? == part.size
                && fixed::<32>(&row, "sha256")? == part.sha256
                && small(&row, "count")? == part.count;
            if !same {
                return Ok(PartFate::Refused("a part of another file under the same id"));
            }
        }
        None => {
            let partial: i64 = sqlx::query("select count(*) as n from files where wallet = ? and state = 'partial'")
                .bind(wallet.as_slice())
                .fetch_one(&mut *connection)
                .await?
                .try_get("n")?;
            if partial >= PARTIAL_FILES_MAX {
                return Ok(PartFate::Refused("too many unfinished files"));
            }
            sqlx::query(
                "insert into files (wallet, sender, file_id, name, size, sha256, count, state, started_at)
                 values (?, ?, ?, ?, ?, ?, ?, 'partial', ?)",
            )
            .bind(wallet.as_slice())
            .bind(sender.as_slice())
            .bind(part.file_id.as_slice())
            .bind(part.name.as_str())
            .bind(to_column(part.size, "size")?)
            .bind(part.sha256.as_slice())
            .bind(i64::from(part.count))
            .bind(to_column(now, "time")?)
            .execute(&mut *connection)
            .await?;
        }
    }
    let fresh =
        sqlx::query("insert or ignore into file_parts (wallet, sender, file_id, part, bytes) values (?, ?, ?, ?, ?)")
            .bind(wallet.as_slice())
            .bind(sender.as_slice())
            .bind(part.file_id.as_slice())
            .bind(i64::from(part.index))
            .bind(part.bytes.as_slice())
            .execute(connection)
            .await?;
    Ok(if fresh.rows_affected() == 0 { PartFate::Duplicate } else { PartFate::Kept })
}

impl Store {
    /// Files of a wallet whose parts are all here and that are not in their place yet.
    pub async fn whole_files(&self, wallet: Address) -> Result<Vec<WholeFile>, StoreError> {
        let rows = sqlx::query(
            "select sender, file_id, name, size, sha256, count, path from files f
             where wallet = ? and state in ('partial', 'placing') and count =
                 (select count(*) from file_parts p
                  where p.wallet = f.wallet and p.sender = f.sender and p.file_id = f.file_id)
             order by rowid",
        )
        .bind(wallet.as_slice())
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(WholeFile {
                    wallet,
                    sender: address(row, "sender")?,
                    file_id: fixed(row, "file_id")?,
                    name: row.try_get("name")?,
                    size: unsigned(row, "size")?,
                    sha256: fixed(row, "sha256")?,
                    count: small(row, "count")?,
                    path: row.try_get::<Option<String>, _>("path")?.map(PathBuf::from),
                })
            })
            .collect()
    }

    /// One part's bytes.
    pub async fn part(&self, file: &WholeFile, index: u32) -> Result<Vec<u8>, StoreError> {
        let row =
            sqlx::query("select bytes from file_parts where wallet = ? and sender = ? and file_id = ? and part = ?")
                .bind(file.wallet.as_slice())
                .bind(file.sender.as_slice())
                .bind(file.file_id.as_slice())
                .bind(i64::from(index))
                .fetch_one(&self.pool)
                .await?;
        Ok(row.try_get("bytes")?)
    }

    /// Remembers where a file is about to be put.
    pub async fn placing(&self, file: &WholeFile, path: &Path) -> Result<(), StoreError> {
        let path = path.to_str().ok_or(StoreError::OutOfRange("a path that is not UTF-8"))?;
        self.advance(file, "placing", Some(path)).await
    }

    /// The file is in its place; its parts are not needed any more.
    pub async fn saved(&self, file: &WholeFile, path: &Path) -> Result<(), StoreError> {
        let path = path.to_str().ok_or(StoreError::OutOfRange("a path that is not UTF-8"))?;
        self.advance(file, "saved", Some(path)).await
    }

    /// The bytes are not what the sender said; nothing of them is kept.
    pub async fn corrupt(&self, file: &WholeFile) -> Result<(), StoreError> {
        self.advance(file, "corrupt", None).await
    }

    /// How many files of a wallet are in their place.
    pub async fn saved_files(&self, wallet: Address) -> Result<u64, StoreError> {
        let row = sqlx::query("select count(*) as n from files where wallet = ? and state = 'saved'")
            .bind(wallet.as_slice())
            .fetch_one(&self.pool)
            .await?;
        unsigned(&row, "n")
    }

    async fn advance(&self, file: &WholeFile, state: &'static str, path: Option<&str>) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        sqlx::query("update files set state = ?, path = ? where wallet = ? and sender = ? and file_id = ?")
            .bind(state)
            .bind(path)
            .bind(file.wallet.as_slice())
            .bind(file.sender.as_slice())
            .bind(file.file_id.as_slice())
            .execute(&mut *transaction)
            .await?;
        if state != "placing" {
            sqlx::query("delete from file_parts where wallet = ? and sender = ? and file_id = ?")
                .bind(file.wallet.as_slice())
                .bind(file.sender.as_slice())
                .bind(file.file_id.as_slice())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
