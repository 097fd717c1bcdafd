//! Gives the space of deleted packets back to the file system.
//!
//! SQLite moves its last pages into the gaps, some at a time between two transactions, and cuts the file; the log is cut
//! once nothing is left to do. PostgreSQL has its own process for that, which is told to come early for the tables that
//! packets go through.

use sqlx::Executor;

use super::{Connection, StoreError, database::Kind};

/// Pages moved in one step: 4 MiB, some ten milliseconds that arrivals wait for.
const STEP: &str = "pragma incremental_vacuum(1024)";
/// Gaps that stay: new packets fill them, and a file that grows again at once gains nothing. 1 MiB.
const GAPS_KEPT: i64 = 256;

/// For PostgreSQL: packets are ciphertext, which nothing compresses; a twentieth of dead rows is worth a visit.
pub(super) const POSTGRES_TABLES: &str = "alter table packets alter column packet set storage external;
    alter table packets set (autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);
    alter table journaled alter column batch set storage external;
    alter table journaled set (autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);";

/// One step. Whether there is more to do.
pub(super) async fn step(connection: &mut Connection, kind: Kind) -> Result<bool, StoreError> {
    if kind == Kind::Postgres {
        return Ok(false);
    }
    if gaps(connection).await? > GAPS_KEPT {
        connection.execute(STEP).await?;
        if gaps(connection).await? > GAPS_KEPT {
            return Ok(true);
        }
    }
    connection.execute("pragma wal_checkpoint(truncate)").await?;
    Ok(false)
}

async fn gaps(connection: &mut Connection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("pragma freelist_count").fetch_one(connection).await?)
}
