//! Breaks what the system relies on, so that a test sees it noticed. Belongs to the suite, not to the product.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::world::network::Network;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sabotage {
    /// One bit of one message in the agent's store.
    StoredByte,
    /// The running total of the customer's voucher, on its way from the agent to its settler.
    Voucher,
}

impl Sabotage {
    /// While the messages wait for the customer: breaks one, or sees to it that the voucher to come will wait too.
    pub async fn after_sending(self, network: &Network) -> Result<()> {
        let agent = network.agent();
        match self {
            Self::StoredByte => {
                // What came last may be in the journal alone; a node that starts puts it where the bit is looked for.
                agent.node.lock().kill();
                agent.node.lock().start()?;
                network.ready().await?;
                agent.node.lock().kill();
                flip_stored_bit(&agent.node_data().join("node.sqlite")).await?;
                agent.node.lock().start()?;
                network.ready().await
            }
            Self::Voucher => {
                agent.settler.lock().kill();
                Ok(())
            }
        }
    }

    /// While the customer's voucher waits for the settler: breaks it.
    pub async fn after_receiving(self, network: &Network) -> Result<()> {
        if self == Self::Voucher {
            let agent = network.agent();
            agent.node.lock().kill();
            raise_voucher(&agent.node_data().join("node.sqlite")).await?;
            agent.settler.lock().start()?;
            agent.node.lock().start()?;
            network.ready().await?;
        }
        Ok(())
    }
}

async fn flip_stored_bit(file: &Path) -> Result<()> {
    let mut store = open(file).await?;
    let last = "select rowid, packet from packets order by seq desc limit 1";
    let (row, mut packet): (i64, Vec<u8>) = sqlx::query_as(last).fetch_one(&mut store).await?;
    // Far behind the header: cipher text, which only the customer can tell from the right one.
    let middle = packet.len() / 2;
    packet[middle] ^= 1;
    let update = sqlx::query("update packets set packet = ? where rowid = ?").bind(packet).bind(row);
    ensure!(update.execute(&mut store).await?.rows_affected() == 1, "no message was altered");
    Ok(store.close().await?)
}

async fn raise_voucher(file: &Path) -> Result<()> {
    let mut store = open(file).await?;
    let raised = "update vouchers set cumulative = cast(cumulative + 1 as text) where handed_over = 0";
    ensure!(sqlx::query(raised).execute(&mut store).await?.rows_affected() == 1, "no voucher was altered");
    Ok(store.close().await?)
}

async fn open(file: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(file);
    options.connect().await.with_context(|| format!("cannot open {}", file.display()))
}
