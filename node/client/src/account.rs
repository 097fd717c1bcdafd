//! Both sides of a wallet's account, side by side: what the agent says, what was counted here. Signs nothing.

use alloy::primitives::Address;
use minus_bindings::Amount;
use minus_protocol::{MeterLine, total};
use serde::Serialize;

use crate::client::{Client, Identity};
use crate::error::Error;

/// Both sides of an account.
#[derive(Debug, Clone, Serialize)]
pub struct AccountReport {
    /// The wallet.
    pub wallet: Address,
    /// Who pays for it.
    pub payer: Address,
    /// The agent node.
    pub agent: Address,
    /// Its operator.
    pub operator: Address,
    /// What the agent says was acknowledged.
    pub stated: Side,
    /// What was counted and acknowledged here.
    pub own: Side,
    /// Messages received here that no acknowledged statement covers yet.
    pub waiting_messages: u64,
    /// The highest running total ever signed on the lane, base units.
    pub signed: Amount,
    /// Whether both sides are the same.
    pub agrees: bool,
}

/// One side's view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// The running total at which the account opened, base units.
    pub base: Amount,
    /// Meters by tariff version.
    pub lines: Vec<MeterLine>,
    /// base + what is due for the lines, base units; absent when it leaves its range.
    pub total: Option<Amount>,
}

impl Client {
    /// Asks the agent where the account stands and puts the own count beside it.
    pub async fn statement(&self, identity: &Identity, via: Option<Address>) -> Result<AccountReport, Error> {
        let wallet = identity.wallet.address();
        let route = self.chain.route(wallet).await?;
        let entrustment = self.store.entrustment(wallet, route.agent).await?.ok_or_else(|| not_entrusted(wallet))?;
        let channel = self.channel(route.agent, via).await?;
        let stated = self.ask_statement(identity, &channel).await?;
        let snapshot = self.store.snapshot(wallet, route.agent).await?.ok_or_else(|| not_entrusted(wallet))?;
        let account = &snapshot.account;

        let stated = Side { base: stated.base, lines: stated.lines, total: Some(stated.total) };
        let side = |lines: &[MeterLine]| Side {
            base: account.base,
            lines: lines.to_vec(),
            total: total(account.base, lines).ok(),
        };
        // The statement signed last may be booked there without this side having heard.
        let booked = snapshot.unconfirmed.as_ref().map(|signed| side(&signed.lines)).filter(|side| *side == stated);
        let own = booked.unwrap_or_else(|| side(&account.lines));
        Ok(AccountReport {
            wallet,
            payer: entrustment.payer,
            agent: route.agent,
            operator: account.operator,
            agrees: own == stated,
            stated,
            own,
            waiting_messages: self.store.waiting_messages(wallet, route.agent).await?,
            signed: self.store.signed(entrustment.payer, account.operator).await?,
        })
    }
}

pub(crate) fn not_entrusted(wallet: Address) -> Error {
    Error::Refused(format!(
        "{wallet} is not entrusted to any agent, as far as this data directory knows; run \
         `minus entrust --wallet NAME --agent NODE` first (`minus nodes` shows the nodes)"
    ))
}
