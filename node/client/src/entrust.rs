//! Entrusting a wallet: its route on chain, signed by the wallet and carried by whoever pays the gas, then the account
//! at the agent, whose opening total has to be what the customer knows it to be.

use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::{Amount, Entrustment, Route, sign};
use minus_protocol::{CommandBody, Refusal, Reply, SealingSecret, Statement, total};
use serde::Serialize;

use crate::backoff::Backoff;
use crate::chain::NodeRecord;
use crate::chain::writes::SignedRoute;
use crate::client::{Client, Identity};
use crate::clock;
use crate::command::{Channel, CommandFailure, ask};
use crate::error::Error;
use crate::events::{Progress, ProgressSink};
use crate::store::records::Account;

/// How long a route's signature may be carried.
const ROUTE_VALID_S: u64 = 3600;

/// How long the agent is given to see the new route on chain.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest wait between two attempts.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What to entrust to whom.
#[derive(Debug, Clone)]
pub struct EntrustOptions {
    /// The agent node.
    pub agent: Address,
    /// The access node for the command; straight to the agent when `None`.
    pub via: Option<Address>,
}

/// What was entrusted.
#[derive(Debug, Clone, Serialize)]
pub struct EntrustReport {
    /// The wallet.
    pub wallet: Address,
    /// Who pays for it.
    pub payer: Address,
    /// The agent node.
    pub agent: Address,
    /// Its operator, who is paid.
    pub operator: Address,
    /// The running total at which the account opened, base units.
    pub base: Amount,
    /// The transaction that set the route; absent when it stood already.
    pub transaction: Option<B256>,
}

impl Client {
    /// Makes a node the wallet's agent, paid by the payer's lane to its operator.
    pub async fn entrust(
        &self,
        identity: &Identity,
        options: &EntrustOptions,
        progress: &ProgressSink,
    ) -> Result<EntrustReport, Error> {
        let (wallet, payer) = (identity.wallet.address(), identity.payer.address());
        let agent = self.live_node(options.agent).await?;
        let channel = self.channel(options.agent, options.via).await?;
        let declared = self.declared(payer, &agent).await?;
        self.refuse_shared_lane(wallet, payer, &agent).await?;

        let started_at = clock::now_s();
        progress(Progress::Step("setting the route".to_owned()));
        let transaction = self.route_to(identity, &agent, progress).await?;

        progress(Progress::Step("opening the account at the agent".to_owned()));
        let base = self.open_at_agent(identity, &channel, declared, progress).await?;
        let opening = self.check_opening(identity, &channel, declared, base).await?;
        // A route that stood already may have brought messages before this day; a new one cannot have.
        let stored_from = if transaction.is_some() { started_at } else { 0 };
        self.store.open_account(wallet, &opening, stored_from).await?;
        Ok(EntrustReport { wallet, payer, agent: agent.address, operator: agent.operator, base, transaction })
    }

    /// The highest running total that may be out there on this lane: signed here, or paid on chain.
    async fn declared(&self, payer: Address, agent: &NodeRecord) -> Result<Amount, Error> {
        let lane = self.chain.lane(payer, agent.operator).await?;
        let declared = self.store.signed(payer, agent.operator).await?.max(lane.paid);
        let reachable = lane.paid.checked_add(lane.deposit.saturating_sub(lane.thawing)).unwrap_or(Amount::MAX);
        if reachable <= declared {
            return Err(Error::Refused(format!(
                "{payer} has nothing left on its lane to {}, the operator of that agent; first run \
                 `minus prepay --agent {} AMOUNT`",
                agent.operator, agent.address
            )));
        }
        Ok(declared)
    }

    /// Two agents of one operator would count on the same lane, each from its own base; one running total cannot serve
    /// both.
    async fn refuse_shared_lane(&self, wallet: Address, payer: Address, agent: &NodeRecord) -> Result<(), Error> {
        for other in self.store.agents_on_lane(payer, agent.operator).await? {
            if other == agent.address {
                continue;
            }
            for served in self.store.entrusted_wallets(payer, other).await? {
                if served != wallet && self.chain.route(served).await?.agent == other {
                    return Err(Error::Refused(format!(
                        "{payer} already pays for {served} at {other}, another node of the same operator, out of the \
                         same lane; use that node as agent, or another payer"
                    )));
                }
            }
        }
        Ok(())
    }

    async fn route_to(
        &self,
        identity: &Identity,
        agent: &NodeRecord,
        progress: &ProgressSink,
    ) -> Result<Option<B256>, Error> {
        let wallet = identity.wallet.address();
        let sealing_key = sealing_secret(&identity.wallet).public();
        let route = self.chain.route(wallet).await?;
        if route.agent == agent.address && route.sealing_key == Some(sealing_key) {
            return Ok(None);
        }
        self.chain.require_gas(identity.payer.address()).await?;
        // Both clocks count: the signature has to outlive the chain's time, which a test chain may have moved.
        let valid_until = clock::now_s().max(self.chain.time().await?).saturating_add(ROUTE_VALID_S);
        let (x, y) = sealing_key.to_affine();
        let message = Route {
            wallet,
            agent: agent.address,
            sealingKeyX: x,
            sealingKeyY: y,
            nonce: route.nonce,
            validUntil: valid_until,
        };
        let signature = sign(&message, &self.deployment.routing_domain(), &identity.wallet);
        let signed = SignedRoute { wallet, agent: agent.address, sealing_key, valid_until, signature };
        Ok(Some(self.chain.set_route(&identity.payer, &signed, progress).await?))
    }

    /// Sends the command until the agent has seen the route and the lane.
    async fn open_at_agent(
        &self,
        identity: &Identity,
        channel: &Channel,
        declared: Amount,
        progress: &ProgressSink,
    ) -> Result<Amount, Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut backoff = Backoff::new(WAIT_MAX);
        loop {
            let body = |sent_at_ms| entrust_body(self, identity, &channel.agent, declared, sent_at_ms);
            let failure = match ask(&self.transport, &self.deployment, channel, &identity.wallet, body).await {
                Ok(Reply::Entrusted { base }) => return Ok(base),
                Ok(_) => CommandFailure::Unexpected,
                Err(failure) => failure,
            };
            // The lane was looked at before: an agent that sees nothing on it looks at an older block.
            let may_pass = failure.is_retryable()
                || failure.is_stranger()
                || matches!(failure, CommandFailure::Refused { reason: Refusal::Unfunded, .. });
            if !may_pass || Instant::now() >= deadline {
                return Err(failure.into());
            }
            progress(Progress::Retrying { reason: failure.to_string() });
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// The account as it opens here, when what the agent says can be true.
    async fn check_opening(
        &self,
        identity: &Identity,
        channel: &Channel,
        declared: Amount,
        base: Amount,
    ) -> Result<Account, Error> {
        let (payer, agent) = (identity.payer.address(), &channel.agent);
        let opening = |statement, lines| Account {
            payer,
            agent: agent.address,
            operator: agent.operator,
            base,
            statement,
            lines,
        };
        if let Some(known) = self.store.account(payer, agent.address).await?
            && known.base == base
            && known.operator == agent.operator
        {
            return Ok(known);
        }
        // Not known here: a new account, or one whose books were lost on this side. What was paid on chain or signed
        // here was agreed to; the agent may not say more than that.
        let agreed = declared.max(self.chain.lane(payer, agent.operator).await?.paid);
        let picture = self.ask_statement(identity, channel).await?;
        let adds_up = picture.base == base && total(base, &picture.lines) == Ok(picture.total);
        let is_new = picture.lines.is_empty() && base == agreed;
        let was_agreed = !picture.lines.is_empty() && picture.total <= agreed;
        if adds_up && (is_new || was_agreed) {
            return Ok(opening(picture.number, picture.lines));
        }
        Err(Error::Refused(format!(
            "the agent says the account stands at {} tokens, opened at {base}; signed here or paid on chain are {agreed}. \
             Nothing was signed. If this data directory is not the one that was used before, use that one",
            picture.total
        )))
    }

    /// Where the agent says the account stands.
    pub(crate) async fn ask_statement(&self, identity: &Identity, channel: &Channel) -> Result<Statement, Error> {
        let body = |_| CommandBody::Statement;
        match ask(&self.transport, &self.deployment, channel, &identity.wallet, body).await? {
            Reply::Statement(statement) => Ok(statement),
            _ => Err(CommandFailure::Unexpected.into()),
        }
    }
}

fn entrust_body(
    client: &Client,
    identity: &Identity,
    agent: &NodeRecord,
    base: Amount,
    sent_at_ms: u64,
) -> CommandBody {
    let (wallet, payer) = (identity.wallet.address(), identity.payer.address());
    let consent = (wallet != payer).then(|| {
        let message = Entrustment { wallet, payer, agent: agent.address, base: base.to_u96(), sentAtMs: sent_at_ms };
        sign(&message, &client.deployment.routing_domain(), &identity.payer)
    });
    CommandBody::Entrust { payer, base, consent }
}

/// What opens the packets to a wallet.
pub(crate) fn sealing_secret(wallet: &PrivateKeySigner) -> SealingSecret {
    SealingSecret::derive(&wallet.to_bytes().0)
}
