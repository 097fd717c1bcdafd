//! Packets at the door. Many are stored by a handful of statements, with the outcome that one after the other would
//! have had: what the books say is loaded once, each packet is judged on it in turn, and what changed is written back.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map::Entry},
    sync::LazyLock,
};

use alloy::primitives::{Address, B256};
use bytes::Bytes;
use minus_bindings::Amount;
use minus_protocol::{MeterLine, Tariff};

use super::{
    Connection, StoreError,
    convert::{amount_column, hash, integer},
    customers::{self, Account, Wallet},
    lines::{self, Book},
    packets::Relay,
    peers,
    rows::Rows,
};
use crate::agent::lane::Lane;

/// A packet at the door.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) wallet: Address,
    /// Who is thought to pay; checked again inside the transaction.
    pub(crate) payer: Address,
    pub(crate) id: B256,
    pub(crate) packet: Bytes,
    pub(crate) now_s: u64,
    /// The relay that brought it, if it came in under a session.
    pub(crate) relay: Option<Relay>,
    pub(crate) own_operator: Address,
    pub(crate) tariff_version: u32,
    pub(crate) tariff: Tariff,
    pub(crate) lane: Lane,
    pub(crate) retention_s: u64,
    /// What the agent fronts for one payer at most.
    pub(crate) customer_credit: Amount,
    /// Bytes that wait for one payer's wallets at most.
    pub(crate) customer_quota: u64,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    New {
        /// Its number in the wallet's queue.
        seq: u64,
    },
    Duplicate,
    /// The wallet is not, or no longer, on that payer's account.
    NotEntrusted,
    /// The lane cannot cover it.
    Spent,
    /// Too many bytes wait for this payer's wallets.
    OverQuota,
    /// The agent has fronted enough for this payer.
    OverCredit,
}

/// A packet that is let in.
struct Kept<'a> {
    arrival: &'a Arrival,
    seq: u64,
    reserve: Amount,
}

/// The books as far as some arrivals touch them.
struct Books {
    seen: HashSet<B256>,
    wallets: HashMap<Address, Wallet>,
    accounts: HashMap<Address, Account>,
    /// By relay operator.
    owed: BTreeMap<Address, Vec<MeterLine>>,
    /// By relay: bytes it brought in addition.
    brought: BTreeMap<Address, (Relay, u128)>,
}

/// Stores packets, reserves their worst case and books the relays that brought them, all or nothing; refuses the ones
/// that must be refused. Answers in their order.
pub(crate) async fn store_many(connection: &mut Connection, arrivals: &[Arrival]) -> Result<Vec<Stored>, StoreError> {
    let mut books = Books::load(connection, arrivals).await?;
    let mut kept = Vec::with_capacity(arrivals.len());
    let mut outcomes = Vec::with_capacity(arrivals.len());
    for arrival in arrivals {
        outcomes.push(books.judge(arrival, &mut kept)?);
    }
    if !kept.is_empty() {
        books.save(connection, &kept).await?;
        insert(connection, &mut kept).await?;
    }
    Ok(outcomes)
}

impl Books {
    async fn load(connection: &mut Connection, arrivals: &[Arrival]) -> Result<Self, StoreError> {
        let distinct = |of: fn(&Arrival) -> Address| arrivals.iter().map(of).collect::<BTreeSet<_>>();
        let wallets = customers::wallets(connection, &distinct(|arrival| arrival.wallet)).await?;
        let accounts = customers::accounts_of(connection, &distinct(|arrival| arrival.payer)).await?;
        let mut owed = BTreeMap::new();
        for relay in arrivals.iter().filter_map(Arrival::creditor) {
            if let Entry::Vacant(vacant) = owed.entry(relay.operator) {
                vacant.insert(lines::load(connection, Book::Owed, relay.operator).await?);
            }
        }
        Ok(Self { seen: seen(connection, arrivals).await?, wallets, accounts, owed, brought: BTreeMap::new() })
    }

    fn judge<'a>(&mut self, arrival: &'a Arrival, kept: &mut Vec<Kept<'a>>) -> Result<Stored, StoreError> {
        if self.seen.contains(&arrival.id) {
            return Ok(Stored::Duplicate);
        }
        let wallet = self.wallets.get_mut(&arrival.wallet);
        let Some(wallet) = wallet.filter(|wallet| wallet.payer == arrival.payer) else {
            return Ok(Stored::NotEntrusted);
        };
        let account = self.accounts.get_mut(&arrival.payer).ok_or(StoreError::Corrupt("account"))?;

        let bytes = u64::try_from(arrival.packet.len()).map_err(|_| StoreError::Range("packet"))?;
        let reserve = minus_protocol::reserve(&arrival.tariff, bytes, arrival.retention_s);
        if !arrival.lane.covers(account.vouchered, &[account.reserved, reserve]) {
            return Ok(Stored::Spent);
        }
        let stored_bytes = account.stored_bytes.saturating_add(bytes);
        if stored_bytes > arrival.customer_quota {
            return Ok(Stored::OverQuota);
        }
        let mut fronted = account.fronted;
        if let Some(relay) = arrival.creditor() {
            fronted = fronted.and(bytes, arrival.tariff);
            if !fronted.is_within(arrival.customer_credit) {
                return Ok(Stored::OverCredit);
            }
            let lines = self.owed.entry(relay.operator).or_default();
            lines::add_relayed(lines, arrival.tariff_version, arrival.tariff, u128::from(bytes))?;
        }

        account.reserved = account.reserved.checked_add(reserve).ok_or(StoreError::Range("reserve"))?;
        account.stored_bytes = stored_bytes;
        account.fronted = fronted;
        wallet.last_seq += 1;
        self.seen.insert(arrival.id);
        if let Some(relay) = arrival.relay {
            let (_, brought) = self.brought.entry(relay.node).or_insert((relay, 0));
            *brought = brought.saturating_add(u128::from(bytes));
        }
        kept.push(Kept { arrival, seq: wallet.last_seq, reserve });
        Ok(Stored::New { seq: wallet.last_seq })
    }

    /// Writes back what the packets let in have changed.
    async fn save(&self, connection: &mut Connection, kept: &[Kept<'_>]) -> Result<(), StoreError> {
        let payers: BTreeSet<_> = kept.iter().map(|kept| kept.arrival.payer).collect();
        let accounts: Vec<_> = payers.iter().filter_map(|payer| self.accounts.get(payer)).collect();
        customers::save_accounts(connection, &accounts).await?;
        let wallets: BTreeSet<_> = kept.iter().map(|kept| kept.arrival.wallet).collect();
        let wallets: Vec<_> = wallets.iter().filter_map(|at| Some((*at, self.wallets.get(at)?.last_seq))).collect();
        customers::save_last_seqs(connection, &wallets).await?;

        let operators: BTreeSet<_> =
            kept.iter().filter_map(|kept| kept.arrival.creditor()).map(|to| to.operator).collect();
        for operator in operators {
            let lines = self.owed.get(&operator).map_or(&[][..], Vec::as_slice);
            lines::replace(connection, Book::Owed, operator, lines).await?;
        }
        for (relay, brought) in self.brought.values() {
            peers::count_at_agent(connection, *relay, *brought, 0).await?;
        }
        Ok(())
    }
}

impl Arrival {
    /// The relay that is owed for bringing it. Nodes of one operator owe each other nothing.
    fn creditor(&self) -> Option<Relay> {
        self.relay.filter(|relay| relay.operator != self.own_operator)
    }
}

/// Which of the ids were stored before.
async fn seen(connection: &mut Connection, arrivals: &[Arrival]) -> Result<HashSet<B256>, StoreError> {
    static SELECT: LazyLock<Rows> = LazyLock::new(|| Rows::new("select id from seen_packets where id in (", 1, ")"));
    let mut seen = HashSet::new();
    for (text, group) in SELECT.cover(arrivals) {
        let query = group.fold(sqlx::query_scalar(text), |query, arrival| query.bind(arrival.id.to_vec()));
        let rows: Vec<Vec<u8>> = query.fetch_all(&mut *connection).await?;
        for id in rows {
            seen.insert(hash(&id)?);
        }
    }
    Ok(seen)
}

async fn insert(connection: &mut Connection, kept: &mut [Kept<'_>]) -> Result<(), StoreError> {
    static PACKETS: LazyLock<Rows> = LazyLock::new(|| Rows::new("insert into packets values", 7, ""));
    static SEEN: LazyLock<Rows> =
        LazyLock::new(|| Rows::new("insert into seen_packets values", 2, "on conflict do nothing"));
    for (text, group) in PACKETS.split(kept) {
        let mut query = sqlx::query(text);
        for Kept { arrival, seq, reserve } in group {
            query = query
                .bind(arrival.wallet.to_vec())
                .bind(integer(*seq)?)
                .bind(integer(arrival.now_s)?)
                .bind(i64::from(arrival.tariff_version))
                .bind(i64::from(arrival.relay.is_some()))
                .bind(amount_column(*reserve))
                .bind(arrival.packet.to_vec());
        }
        query.execute(&mut *connection).await?;
    }
    // Neighbours in the index one after the other.
    kept.sort_unstable_by_key(|kept| kept.arrival.id);
    for (text, group) in SEEN.cover(kept) {
        let mut query = sqlx::query(text);
        for Kept { arrival, .. } in group {
            query = query.bind(arrival.id.to_vec()).bind(integer(arrival.now_s)?);
        }
        query.execute(&mut *connection).await?;
    }
    let tariffs: BTreeMap<_, _> = kept.iter().map(|kept| (kept.arrival.tariff_version, kept.arrival.tariff)).collect();
    for (version, tariff) in tariffs {
        sqlx::query("insert into tariffs values ($1, $2, $3, $4) on conflict do nothing")
            .bind(i64::from(version))
            .bind(tariff.delivery.to_string())
            .bind(tariff.relay.to_string())
            .bind(tariff.storing.to_string())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
