//! Ids of packets that were stored once, kept for ever (law 9), in two levels. Ids are random, so whatever is written in their
//! order touches a page for each as soon as there are more pages than ids: a table of them all grows dearer with its size. New
//! ones are therefore put down as they come, a row for many, and later entered into the large table in their order: so many at
//! a time that several fall on a page, and a few with every step, so that nobody waits for all.

use std::{
    collections::{BTreeSet, HashSet},
    sync::LazyLock,
};

use alloy::primitives::B256;

use super::{
    Connection, StoreError,
    convert::{hash, integer, unsigned},
    rows::Rows,
};
use crate::clock;

/// Ids that are put down before they are entered. At a million of them in the large table that is four to a page; in memory,
/// where each is twice while the ones before are being entered, some 12 MiB.
#[cfg(not(test))]
const RECENT_MAX: usize = 1 << 16;
/// Small enough to be reached by a test.
#[cfg(test)]
const RECENT_MAX: usize = 8;
/// Ids entered for each that is put down: all of them are in the table long before as many have gathered again.
const ENTERED_PER_NEW: usize = 2;

/// Ids that are not in the large table yet.
#[derive(Debug, Default)]
pub(super) struct Recent {
    gathering: Vec<B256>,
    /// To be entered, the smallest last.
    entering: Vec<B256>,
    /// Rows up to this number are of `entering`.
    entering_through: u64,
}

impl Recent {
    /// Reads them.
    pub(super) async fn load(connection: &mut Connection) -> Result<Self, StoreError> {
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("select number, ids from seen_recent order by number").fetch_all(connection).await?;
        let mut recent = Self::default();
        for (number, ids) in rows {
            recent.entering_through = unsigned(number)?;
            let (ids, rest) = ids.as_chunks::<32>();
            if !rest.is_empty() {
                return Err(StoreError::Corrupt("ids"));
            }
            recent.gathering.extend(ids.iter().map(B256::from));
        }
        Ok(recent)
    }

    /// All of them.
    pub(super) fn ids(&self) -> impl Iterator<Item = B256> {
        self.gathering.iter().chain(&self.entering).copied()
    }

    /// Puts down new ids, under a number that none had before, and enters older ones: those it returns are in the large table
    /// when the transaction is committed.
    pub(super) async fn add(
        &mut self,
        connection: &mut Connection,
        number: u64,
        ids: &[B256],
    ) -> Result<Vec<B256>, StoreError> {
        sqlx::query("insert into seen_recent values ($1, $2)")
            .bind(integer(number)?)
            .bind(ids.concat())
            .execute(&mut *connection)
            .await?;
        self.gathering.extend_from_slice(ids);
        if self.entering.is_empty() && self.gathering.len() >= RECENT_MAX {
            self.entering = std::mem::take(&mut self.gathering);
            self.entering.sort_unstable_by(|one, other| other.cmp(one));
            self.entering_through = number;
        }
        let left = self.entering.len().saturating_sub(ENTERED_PER_NEW * ids.len());
        let mut entered = self.entering.split_off(left);
        entered.reverse();
        if !entered.is_empty() {
            enter(connection, &entered).await?;
            if self.entering.is_empty() {
                sqlx::query("delete from seen_recent where number <= $1")
                    .bind(integer(self.entering_through)?)
                    .execute(connection)
                    .await?;
            }
        }
        Ok(entered)
    }
}

/// Enters ids, in their order, into the large table. After a crash some may be there already.
async fn enter(connection: &mut Connection, ids: &[B256]) -> Result<(), StoreError> {
    sqlx::query(
        "with recursive place(number) as (select 0 union all select number + 1 from place where number + 1 < $1)
         insert into seen_packets (id, seen_at) select substr($2, number * 32 + 1, 32), $3 from place where true
         on conflict do nothing",
    )
    .bind(i32::try_from(ids.len()).map_err(|_| StoreError::Range("ids"))?)
    .bind(ids.concat())
    .bind(integer(clock::now_s())?)
    .execute(connection)
    .await?;
    Ok(())
}

/// Which of the ids are in the large table.
pub(super) async fn entered(connection: &mut Connection, ids: &[B256]) -> Result<HashSet<B256>, StoreError> {
    static SELECT: LazyLock<Rows> = LazyLock::new(|| Rows::new("select id from seen_packets where id in (", 1, ")"));
    // Neighbours in the index one after the other.
    let ids: Vec<_> = ids.iter().collect::<BTreeSet<_>>().into_iter().collect();
    let mut seen = HashSet::new();
    for (text, group) in SELECT.cover(connection.backend_name(), &ids) {
        let query = group.fold(sqlx::query_scalar(text), |query, id| query.bind(id.to_vec()));
        let rows: Vec<Vec<u8>> = query.fetch_all(&mut *connection).await?;
        for id in rows {
            seen.insert(hash(&id)?);
        }
    }
    Ok(seen)
}
