//! The customer's money: into the lane to an agent's operator, out of it again after the notice, and what is where.

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::Amount;
use serde::Serialize;

use crate::chain::LaneState;
use crate::client::Client;
use crate::error::Error;
use crate::events::{Progress, ProgressSink};

/// What to prepay.
#[derive(Debug, Clone)]
pub struct PrepayOptions {
    /// To whom: the operator of the agent node.
    pub payee: Address,
    /// How much.
    pub amount: Amount,
    /// Turn what is missing of the reserve asset into settlement tokens first.
    pub from_reserve: bool,
}

/// What was prepaid.
#[derive(Debug, Clone, Serialize)]
pub struct PrepayReport {
    /// Who paid.
    pub payer: Address,
    /// To whom.
    pub payee: Address,
    /// How much went into the lane, base units.
    pub amount: Amount,
    /// In the order they were mined.
    pub transactions: Vec<B256>,
    /// The lane now.
    pub lane: LaneState,
}

/// What to withdraw.
#[derive(Debug, Clone)]
pub struct WithdrawOptions {
    /// From the lane to whom: the operator of the agent node; zero for one's own open balance.
    pub payee: Address,
    /// How much to give notice for; all of the lane when `None`. Not looked at when a notice has ended.
    pub amount: Option<Amount>,
    /// Who gets it; the payer when `None`.
    pub to: Option<Address>,
    /// Take the notice back.
    pub cancel: bool,
    /// Turn what was withdrawn into the reserve asset.
    pub to_reserve: bool,
}

/// What a withdrawal has come to.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WithdrawReport {
    /// Notice was given, or runs.
    Thawing {
        /// How much is to leave, base units.
        amount: Amount,
        /// When it can, unix seconds.
        ends_at: u64,
        /// Empty when the notice was given before.
        transactions: Vec<B256>,
    },
    /// The notice was taken back.
    Cancelled {
        /// The one transaction.
        transactions: Vec<B256>,
    },
    /// It has left.
    Withdrawn {
        /// How much, base units.
        amount: Amount,
        /// To whom.
        to: Address,
        /// In the order they were mined.
        transactions: Vec<B256>,
    },
}

/// What is where.
#[derive(Debug, Clone, Serialize)]
pub struct BalanceReport {
    /// Whose.
    pub address: Address,
    /// Settlement tokens, base units.
    pub tokens: Amount,
    /// The reserve asset, base units.
    pub reserve: Amount,
    /// The chain's own coin, in wei, decimal.
    pub gas_wei: String,
    /// Lanes with anything on them.
    pub lanes: Vec<LaneReport>,
    /// The lane to nobody: what the address earned or keeps as a bond.
    pub open_balance: LaneState,
}

/// One lane.
#[derive(Debug, Clone, Serialize)]
pub struct LaneReport {
    /// To whom.
    pub operator: Address,
    /// The operator's nodes.
    pub nodes: Vec<Address>,
    /// As the escrow has it.
    #[serde(flatten)]
    pub lane: LaneState,
    /// The highest running total ever signed here, base units.
    pub signed: Amount,
    /// Signed and not yet claimed, base units.
    pub unclaimed: Amount,
}

impl Client {
    /// The other end of a lane: the operator of a node (a retired one too: there may be money left), or one that is
    /// named outright.
    pub async fn payee(&self, node: Option<Address>, operator: Option<Address>) -> Result<Address, Error> {
        match (node, operator) {
            (Some(node), _) => Ok(self.chain.node(node).await?.operator),
            (None, Some(operator)) => Ok(operator),
            (None, None) => Err(Error::Usage("name the agent node, or its operator".to_owned())),
        }
    }

    /// Puts tokens into the payer's lane to `payee`.
    pub async fn prepay(
        &self,
        payer: &PrivateKeySigner,
        options: &PrepayOptions,
        progress: &ProgressSink,
    ) -> Result<PrepayReport, Error> {
        let step = |text: &str| progress(Progress::Step(text.to_owned()));
        let amount = options.amount;
        if amount.is_zero() {
            return Err(Error::Usage("an amount of zero prepays nothing".to_owned()));
        }
        if options.payee == payer.address() {
            return Err(Error::Usage("a wallet has no lane to itself; prepay the operator of an agent".to_owned()));
        }
        self.chain.require_gas(payer.address()).await?;
        let held = self.chain.balances(payer.address()).await?;
        let missing = amount.saturating_sub(held.tokens);
        let mut transactions = Vec::new();
        if !missing.is_zero() {
            if !options.from_reserve {
                return Err(Error::Refused(format!(
                    "{} holds {} settlement tokens, {amount} are needed; it holds {} of the reserve asset, which \
                     --from-reserve turns into tokens at par",
                    payer.address(),
                    held.tokens,
                    held.reserve
                )));
            }
            if held.reserve < missing {
                return Err(Error::Refused(format!(
                    "{} holds {} settlement tokens and {} of the reserve asset, together fewer than {amount}",
                    payer.address(),
                    held.tokens,
                    held.reserve
                )));
            }
            step("turning the reserve asset into settlement tokens");
            transactions.extend(self.chain.wrap(payer, missing, progress).await?);
        }
        step("allowing the escrow to take them");
        transactions.extend(self.chain.approve_escrow(payer, amount, progress).await?);
        step("depositing into the lane");
        transactions.push(self.chain.deposit(payer, options.payee, amount, progress).await?);
        let lane = self.chain.lane(payer.address(), options.payee).await?;
        Ok(PrepayReport { payer: payer.address(), payee: options.payee, amount, transactions, lane })
    }

    /// Takes the next step of a withdrawal: gives notice, says how long it runs, or takes the money out.
    pub async fn withdraw(
        &self,
        payer: &PrivateKeySigner,
        options: &WithdrawOptions,
        progress: &ProgressSink,
    ) -> Result<WithdrawReport, Error> {
        let step = |text: &str| progress(Progress::Step(text.to_owned()));
        self.chain.require_gas(payer.address()).await?;
        let lane = self.chain.lane(payer.address(), options.payee).await?;
        if options.cancel {
            if lane.thawing.is_zero() {
                return Err(Error::Refused("nothing is thawing on that lane".to_owned()));
            }
            step("taking the notice back");
            let hash = self.chain.thaw(payer, options.payee, Amount::ZERO, progress).await?;
            return Ok(WithdrawReport::Cancelled { transactions: vec![hash] });
        }
        if lane.thawing.is_zero() {
            return self.give_notice(payer, options, &lane, progress).await;
        }
        if self.chain.time().await? < lane.thaw_ends_at {
            return Ok(WithdrawReport::Thawing {
                amount: lane.thawing,
                ends_at: lane.thaw_ends_at,
                transactions: Vec::new(),
            });
        }
        step("withdrawing");
        let to = options.to.unwrap_or(payer.address());
        // The reserve asset comes out of the payer's own tokens, so those have to arrive there first.
        let first_to = if options.to_reserve { payer.address() } else { to };
        let before = self.chain.balances(first_to).await?.tokens;
        let mut transactions = vec![self.chain.withdraw(payer, options.payee, first_to, progress).await?];
        // Claims that came first may have left less than was thawing.
        let amount = self.chain.balances(first_to).await?.tokens.saturating_sub(before);
        if options.to_reserve && !amount.is_zero() {
            step("turning settlement tokens into the reserve asset");
            transactions.push(self.chain.unwrap_tokens(payer, to, amount, progress).await?);
        }
        Ok(WithdrawReport::Withdrawn { amount, to, transactions })
    }

    async fn give_notice(
        &self,
        payer: &PrivateKeySigner,
        options: &WithdrawOptions,
        lane: &LaneState,
        progress: &ProgressSink,
    ) -> Result<WithdrawReport, Error> {
        let amount = options.amount.unwrap_or(lane.deposit);
        if lane.deposit.is_zero() || amount.is_zero() {
            return Err(Error::Refused("there is nothing on that lane to withdraw".to_owned()));
        }
        if amount > lane.deposit {
            return Err(Error::Refused(format!("the lane holds {}, fewer than {amount}", lane.deposit)));
        }
        progress(Progress::Step("giving notice".to_owned()));
        let hash = self.chain.thaw(payer, options.payee, amount, progress).await?;
        let lane = self.chain.lane(payer.address(), options.payee).await?;
        Ok(WithdrawReport::Thawing { amount: lane.thawing, ends_at: lane.thaw_ends_at, transactions: vec![hash] })
    }

    /// What an address holds, and its lanes to the operators of all nodes and to whomever it signed for.
    pub async fn balance(&self, address: Address) -> Result<BalanceReport, Error> {
        let held = self.chain.balances(address).await?;
        let nodes = self.chain.nodes().await?;
        let mut operators: Vec<Address> = nodes.iter().map(|node| node.operator).collect();
        let signed = self.store.lanes(address).await?;
        operators.extend(signed.iter().map(|lane| lane.operator));
        operators.sort_unstable();
        operators.dedup();

        let mut lanes = Vec::new();
        for operator in operators.into_iter().filter(|operator| *operator != address) {
            let lane = self.chain.lane(address, operator).await?;
            let signed = signed.iter().find(|lane| lane.operator == operator).map_or(Amount::ZERO, |lane| lane.signed);
            if lane.deposit.is_zero() && lane.paid.is_zero() && signed.is_zero() {
                continue;
            }
            let nodes = nodes.iter().filter(|node| node.operator == operator).map(|node| node.address).collect();
            lanes.push(LaneReport { operator, nodes, lane, signed, unclaimed: signed.saturating_sub(lane.paid) });
        }
        let open_balance = self.chain.lane(address, Address::ZERO).await?;
        Ok(BalanceReport {
            address,
            tokens: held.tokens,
            reserve: held.reserve,
            gas_wei: held.gas.to_string(),
            lanes,
            open_balance,
        })
    }
}
