//! Standing mandates: leave for an agent's operator to charge what a payer owes while nobody is there to sign.

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::Amount;
use serde::Serialize;

use crate::chain::MandateState;
use crate::client::Client;
use crate::error::Error;
use crate::events::{Progress, ProgressSink};

/// What to give leave for.
#[derive(Debug, Clone, Copy)]
pub struct MandateOptions {
    /// To whom: the operator of the agent node.
    pub payee: Address,
    /// What accrues in a day.
    pub daily_cap: Amount,
    /// How much gathers at most.
    pub accrual_cap: Amount,
    /// For how long from now, seconds.
    pub valid_for_s: u64,
}

/// A mandate and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct MandateReport {
    /// Who gave it.
    pub payer: Address,
    /// To whom.
    pub payee: Address,
    /// As the escrow has it.
    #[serde(flatten)]
    pub mandate: MandateState,
    /// What the lane has paid beyond all that was signed here, base units: the next signatures include it.
    pub paid_ahead: Amount,
    /// In the order they were mined; empty when only looking.
    pub transactions: Vec<B256>,
}

impl Client {
    /// Gives a mandate, or raises the one in force.
    pub async fn set_mandate(
        &self,
        payer: &PrivateKeySigner,
        options: &MandateOptions,
        progress: &ProgressSink,
    ) -> Result<MandateReport, Error> {
        if options.daily_cap.is_zero() || options.accrual_cap.is_zero() {
            return Err(Error::Usage("a mandate with a cap of zero bears nothing".to_owned()));
        }
        self.chain.require_gas(payer.address()).await?;
        let valid_until = self.chain.time().await?.saturating_add(options.valid_for_s);
        progress(Progress::Step("giving the mandate".to_owned()));
        let caps = (options.daily_cap, options.accrual_cap);
        let hash = self.chain.set_mandate(payer, options.payee, caps, valid_until, progress).await?;
        self.mandate_report(payer.address(), options.payee, vec![hash]).await
    }

    /// Takes a mandate back: it ends after the notice, and bears charges until then.
    pub async fn revoke_mandate(
        &self,
        payer: &PrivateKeySigner,
        payee: Address,
        progress: &ProgressSink,
    ) -> Result<MandateReport, Error> {
        self.chain.require_gas(payer.address()).await?;
        let given = self.chain.mandate(payer.address(), payee).await?;
        if given.valid_until < self.chain.time().await? {
            return Err(Error::Refused("no mandate is in force".to_owned()));
        }
        progress(Progress::Step("taking the mandate back".to_owned()));
        let hash = self.chain.revoke_mandate(payer, payee, progress).await?;
        self.mandate_report(payer.address(), payee, vec![hash]).await
    }

    /// What a mandate is, and what was paid by it.
    pub async fn mandate(&self, payer: Address, payee: Address) -> Result<MandateReport, Error> {
        self.mandate_report(payer, payee, Vec::new()).await
    }

    async fn mandate_report(
        &self,
        payer: Address,
        payee: Address,
        transactions: Vec<B256>,
    ) -> Result<MandateReport, Error> {
        let mandate = self.chain.mandate(payer, payee).await?;
        let paid = self.chain.lane(payer, payee).await?.paid;
        let lanes = self.store.lanes(payer).await?;
        let signed = lanes.iter().find(|lane| lane.operator == payee).map_or(Amount::ZERO, |lane| lane.signed);
        Ok(MandateReport { payer, payee, mandate, paid_ahead: paid.saturating_sub(signed), transactions })
    }
}
