//! Books in memory: what the tables say of some wallets, accounts and relays, and on top of it packets that are journaled and
//! not in the tables yet. Arrivals are judged on them, and what they say when a step begins is what it writes. Arrivals change
//! them; whatever else changes the tables has them forget what it touched, or restates it with what was let in meanwhile.

use std::collections::{BTreeSet, HashMap, HashSet, hash_map::Entry};

use alloy::primitives::Address;
use bytes::Bytes;
use minus_protocol::MeterLine;

use super::{
    Connection, StoreError,
    arrivals::{Arrival, Kept, Stored},
    convert::integer,
    customers::{self, Account, Wallet},
    lines::{self, Book},
    transaction::Touch,
};

/// Wallets that are remembered beyond what is not in the tables: with their accounts some 30 MiB.
const WALLETS_MAX: usize = 1 << 17;

#[derive(Debug, Default)]
pub(super) struct Books {
    wallets: HashMap<Address, Wallet>,
    accounts: HashMap<Address, Account>,
    /// By relay operator.
    owed: HashMap<Address, Vec<MeterLine>>,
}

impl Books {
    /// Reads what is missing of the books for these wallets, payers and relay operators.
    pub(super) async fn open(
        &mut self,
        connection: &mut Connection,
        parties: impl Iterator<Item = Parties>,
    ) -> Result<(), StoreError> {
        let (mut wallets, mut payers, mut operators) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for Parties { wallet, payer, creditor } in parties {
            if !self.wallets.contains_key(&wallet) {
                wallets.insert(wallet);
            }
            if !self.accounts.contains_key(&payer) {
                payers.insert(payer);
            }
            operators.extend(creditor);
        }
        if !wallets.is_empty() {
            self.wallets.extend(customers::wallets(connection, &wallets).await?);
        }
        if !payers.is_empty() {
            self.accounts.extend(customers::accounts_of(connection, &payers).await?);
        }
        for operator in operators {
            if let Entry::Vacant(vacant) = self.owed.entry(operator) {
                vacant.insert(lines::load(connection, Book::Owed, operator).await?);
            }
        }
        Ok(())
    }

    /// Judges a packet that was never stored and, if it is let in, enters it. An error changes nothing.
    pub(super) fn judge(&mut self, arrival: &Arrival, kept: &mut Vec<Kept>) -> Result<Stored, StoreError> {
        let wallet = self.wallets.get(&arrival.wallet);
        let Some(wallet) = wallet.filter(|wallet| wallet.payer == arrival.payer) else {
            return Ok(Stored::NotEntrusted);
        };
        let account = self.accounts.get(&arrival.payer).ok_or(StoreError::Corrupt("account"))?;
        let new = Kept {
            wallet: arrival.wallet,
            payer: arrival.payer,
            id: arrival.id,
            seq: wallet.last_seq.saturating_add(1),
            now_s: arrival.now_s,
            relay: arrival.relay,
            is_owed: arrival.relay.is_some_and(|relay| relay.operator != arrival.own_operator),
            tariff_version: arrival.tariff_version,
            tariff: arrival.tariff,
            reserve: minus_protocol::reserve(
                &arrival.tariff,
                u64::try_from(arrival.packet.len()).map_err(|_| StoreError::Range("packet"))?,
                arrival.retention_s,
            ),
            // The body may be a few bytes of a large buffer, which it would keep from being used again.
            packet: Bytes::copy_from_slice(&arrival.packet),
        };
        if !arrival.lane.covers(account.vouchered, &[account.reserved, new.reserve]) {
            return Ok(Stored::Spent);
        }
        if account.stored_bytes.saturating_add(new.bytes()) > arrival.customer_quota {
            return Ok(Stored::OverQuota);
        }
        let is_within_credit = || account.fronted.and(new.bytes(), new.tariff).is_within(arrival.customer_credit);
        if new.is_owed && !is_within_credit() {
            return Ok(Stored::OverCredit);
        }
        self.enter(&new)?;
        let seq = new.seq;
        kept.push(new);
        Ok(Stored::New { seq })
    }

    /// Enters a packet that was let in. What is entered here can be written into the tables: everything that has no place
    /// in a column is refused, and an error changes nothing.
    pub(super) fn enter(&mut self, kept: &Kept) -> Result<(), StoreError> {
        let wallet = self.wallets.get_mut(&kept.wallet).ok_or(StoreError::Corrupt("wallet"))?;
        let account = self.accounts.get_mut(&kept.payer).ok_or(StoreError::Corrupt("account"))?;
        for number in [kept.seq, kept.now_s] {
            integer(number)?;
        }
        let mut holding = account.clone();
        hold(&mut holding, kept)?;
        if let Some(relay) = kept.creditor() {
            let owed = self.owed.get_mut(&relay.operator).ok_or(StoreError::Corrupt("lines"))?;
            lines::add_relayed(owed, kept.tariff_version, kept.tariff, u128::from(kept.bytes()))?;
        }
        *account = holding;
        wallet.last_seq = kept.seq;
        Ok(())
    }

    /// What the tables are to say of the parties to these packets, once everything that was entered here is in them.
    pub(super) fn balances<'a>(&self, kept: impl Iterator<Item = &'a Kept>) -> Result<Balances, StoreError> {
        let (mut wallets, mut payers, mut operators) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for Parties { wallet, payer, creditor } in kept.map(Parties::from) {
            wallets.insert(wallet);
            payers.insert(payer);
            operators.extend(creditor);
        }
        let last_seq = |wallet| Some((wallet, self.wallets.get(&wallet)?.last_seq));
        let owed = |operator| Some((operator, self.owed.get(&operator)?.clone()));
        let account = |payer| self.accounts.get(&payer).cloned();
        Ok(Balances {
            accounts: payers.into_iter().map(account).collect::<Option<_>>().ok_or(StoreError::Corrupt("account"))?,
            last_seqs: wallets.into_iter().map(last_seq).collect::<Option<_>>().ok_or(StoreError::Corrupt("wallet"))?,
            owed: operators.into_iter().map(owed).collect::<Option<_>>().ok_or(StoreError::Corrupt("lines"))?,
        })
    }

    /// Forgets what the tables may say differently now. Everything that was entered here is in them.
    pub(super) fn forget(&mut self, touched: Touch) {
        match touched {
            Touch::Nothing | Touch::Room(_) => {}
            Touch::AccountOf(wallet) => {
                match self.wallets.get(&wallet) {
                    Some(wallet) => drop(self.accounts.remove(&wallet.payer)),
                    None => self.accounts.clear(),
                }
                self.owed.clear();
            }
            Touch::Everything => *self = Self::default(),
        }
    }

    /// Takes over what the tables say of accounts that are remembered, and puts on top what is not in them. An error leaves
    /// these books of no use.
    pub(super) fn restate<'k>(
        &mut self,
        accounts: &[Account],
        pending: impl Iterator<Item = &'k Kept>,
    ) -> Result<(), StoreError> {
        let mut restated = HashSet::new();
        for account in accounts {
            if let Some(known) = self.accounts.get_mut(&account.payer) {
                known.clone_from(account);
                restated.insert(account.payer);
            }
        }
        if restated.is_empty() {
            return Ok(());
        }
        for kept in pending.filter(|kept| restated.contains(&kept.payer)) {
            let account = self.accounts.get_mut(&kept.payer).ok_or(StoreError::Corrupt("account"))?;
            hold(account, kept)?;
        }
        Ok(())
    }

    /// Forgets some of what the tables say, if it is much: all but the parties to packets that are not in the tables.
    pub(super) fn forget_all_but(&mut self, pending: impl Iterator<Item = Parties>) {
        if self.wallets.len() <= WALLETS_MAX {
            return;
        }
        let (mut wallets, mut payers, mut operators) = (HashSet::new(), HashSet::new(), HashSet::new());
        for Parties { wallet, payer, creditor } in pending {
            wallets.insert(wallet);
            payers.insert(payer);
            operators.extend(creditor);
        }
        self.wallets.retain(|wallet, _| wallets.contains(wallet));
        self.accounts.retain(|payer, _| payers.contains(payer));
        self.owed.retain(|operator, _| operators.contains(operator));
    }

    /// That the tables, which everything was entered into, say the same: what was not forgotten was not touched.
    #[cfg(test)]
    pub(super) async fn check(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let wallets = customers::wallets(connection, &self.wallets.keys().copied().collect()).await?;
        for (address, wallet) in &self.wallets {
            let of_tables = wallets.get(address).map(|wallet| (wallet.payer, wallet.last_seq));
            assert_eq!(Some((wallet.payer, wallet.last_seq)), of_tables, "{address}");
        }
        let accounts = customers::accounts_of(connection, &self.accounts.keys().copied().collect()).await?;
        let judged_on = |account: &Account| {
            let Account { base, vouchered, reserved, stored_bytes, fronted, .. } = account;
            (*base, *vouchered, *reserved, *stored_bytes, fronted.0)
        };
        for (payer, account) in &self.accounts {
            assert_eq!(Some(judged_on(account)), accounts.get(payer).map(judged_on), "{payer}");
        }
        for (operator, owed) in &self.owed {
            assert_eq!(*owed, lines::load(connection, Book::Owed, *operator).await?, "{operator}");
        }
        Ok(())
    }
}

/// What the tables are to say of some parties; of the accounts, what packets change.
#[derive(Debug, Default)]
pub(super) struct Balances {
    /// In the order of their payers.
    pub(super) accounts: Vec<Account>,
    /// The number of each wallet's last packet, in the order of wallets.
    pub(super) last_seqs: Vec<(Address, u64)>,
    /// What is owed to relay operators.
    pub(super) owed: Vec<(Address, Vec<MeterLine>)>,
}

/// Puts a packet that was let in on its account.
fn hold(account: &mut Account, kept: &Kept) -> Result<(), StoreError> {
    account.reserved = account.reserved.checked_add(kept.reserve).ok_or(StoreError::Range("reserve"))?;
    account.stored_bytes = account.stored_bytes.saturating_add(kept.bytes());
    integer(account.stored_bytes)?;
    if kept.creditor().is_some() {
        account.fronted = account.fronted.and(kept.bytes(), kept.tariff);
    }
    Ok(())
}

/// Whose books one packet touches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parties {
    wallet: Address,
    payer: Address,
    /// A relay operator.
    creditor: Option<Address>,
}

impl From<&Arrival> for Parties {
    fn from(arrival: &Arrival) -> Self {
        let creditor = arrival.relay.map(|relay| relay.operator).filter(|operator| *operator != arrival.own_operator);
        Self { wallet: arrival.wallet, payer: arrival.payer, creditor }
    }
}

impl From<&Kept> for Parties {
    fn from(kept: &Kept) -> Self {
        Self { wallet: kept.wallet, payer: kept.payer, creditor: kept.creditor().map(|relay| relay.operator) }
    }
}
