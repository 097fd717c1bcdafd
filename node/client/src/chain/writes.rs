//! The transactions a customer sends. Each is one method that returns when it is mined, with its hash.

use alloy::contract::{CallBuilder, CallDecoder};
use alloy::network::Ethereum;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::contracts::IRoutingTable;
use minus_bindings::{Amount, PrepaymentEscrow, RoutingTable, SettlementToken};
use minus_protocol::SealingKey;

use super::{Chain, ChainError, RECEIPT_TIMEOUT, refusal};
use crate::events::{Progress, ProgressSink};

/// A route signed by its wallet, to be carried by anyone.
#[derive(Debug, Clone)]
pub struct SignedRoute {
    /// Whose.
    pub wallet: Address,
    /// The agent node.
    pub agent: Address,
    /// What packets to the wallet are sealed to.
    pub sealing_key: SealingKey,
    /// Unix seconds.
    pub valid_until: u64,
    /// r, s, v.
    pub signature: [u8; 65],
}

impl Chain {
    /// Lets the escrow pull `amount` of the settlement token, unless it may already.
    pub async fn approve_escrow(
        &self,
        payer: &PrivateKeySigner,
        amount: Amount,
        progress: &ProgressSink,
    ) -> Result<Option<B256>, ChainError> {
        let allowed = self.ask(self.token().allowance(payer.address(), self.deployment.escrow).call()).await?;
        if allowed >= amount.to_u256() {
            return Ok(None);
        }
        let provider = self.signing(payer);
        let token = SettlementToken::new(self.deployment.token, &provider);
        self.transact(token.approve(self.deployment.escrow, amount.to_u256()), progress).await.map(Some)
    }

    /// Puts settlement tokens into a lane.
    pub async fn deposit(
        &self,
        payer: &PrivateKeySigner,
        payee: Address,
        amount: Amount,
        progress: &ProgressSink,
    ) -> Result<B256, ChainError> {
        let provider = self.signing(payer);
        let escrow = PrepaymentEscrow::new(self.deployment.escrow, &provider);
        self.transact(escrow.deposit(payer.address(), payee, amount.to_u96()), progress).await
    }

    /// Turns the reserve asset into settlement tokens at par: lets the token pull it, then wraps it.
    pub async fn wrap(
        &self,
        owner: &PrivateKeySigner,
        amount: Amount,
        progress: &ProgressSink,
    ) -> Result<Vec<B256>, ChainError> {
        let provider = self.signing(owner);
        // The reserve asset is an ERC-20, and the settlement token's binding knows those calls.
        let reserve = SettlementToken::new(self.deployment.reserve, &provider);
        let token = SettlementToken::new(self.deployment.token, &provider);
        let mut hashes = Vec::new();
        let allowed = self.ask(reserve.allowance(owner.address(), self.deployment.token).call()).await?;
        if allowed < amount.to_u256() {
            hashes.push(self.transact(reserve.approve(self.deployment.token, amount.to_u256()), progress).await?);
        }
        hashes.push(self.transact(token.depositFor(owner.address(), amount.to_u256()), progress).await?);
        Ok(hashes)
    }

    /// Turns settlement tokens back into the reserve asset at par.
    pub async fn unwrap_tokens(
        &self,
        owner: &PrivateKeySigner,
        to: Address,
        amount: Amount,
        progress: &ProgressSink,
    ) -> Result<B256, ChainError> {
        let provider = self.signing(owner);
        let token = SettlementToken::new(self.deployment.token, &provider);
        self.transact(token.withdrawTo(to, amount.to_u256()), progress).await
    }

    /// Gives notice that `amount` is to leave a lane; zero takes the notice back.
    pub async fn thaw(
        &self,
        payer: &PrivateKeySigner,
        payee: Address,
        amount: Amount,
        progress: &ProgressSink,
    ) -> Result<B256, ChainError> {
        let provider = self.signing(payer);
        let escrow = PrepaymentEscrow::new(self.deployment.escrow, &provider);
        self.transact(escrow.thaw(payee, amount.to_u96()), progress).await
    }

    /// Takes out what the notice has ended for.
    pub async fn withdraw(
        &self,
        payer: &PrivateKeySigner,
        payee: Address,
        to: Address,
        progress: &ProgressSink,
    ) -> Result<B256, ChainError> {
        let provider = self.signing(payer);
        let escrow = PrepaymentEscrow::new(self.deployment.escrow, &provider);
        self.transact(escrow.withdraw(payee, to), progress).await
    }

    /// Gives `payee` leave to charge, or raises what it may.
    pub async fn set_mandate(
        &self,
        payer: &PrivateKeySigner,
        payee: Address,
        caps: (Amount, Amount),
        valid_until: u64,
        progress: &ProgressSink,
    ) -> Result<B256, ChainError> {
        let provider = self.signing(payer);
        let escrow = PrepaymentEscrow::new(self.deployment.escrow, &provider);
        let (daily, accrual) = caps;
        self.transact(escrow.setMandate(payee, daily.to_u96(), accrual.to_u96(), valid_until), progress).await
    }

    /// Ends a mandate after the notice.
    pub async fn revoke_mandate(
        &self,
        payer: &PrivateKeySigner,
        payee: Address,
        progress: &ProgressSink,
    ) -> Result<B256, ChainError> {
        let provider = self.signing(payer);
        let escrow = PrepaymentEscrow::new(self.deployment.escrow, &provider);
        self.transact(escrow.revokeMandate(payee), progress).await
    }

    /// Carries a wallet's signed route to the table; `carrier` pays the gas.
    pub async fn set_route(
        &self,
        carrier: &PrivateKeySigner,
        route: &SignedRoute,
        progress: &ProgressSink,
    ) -> Result<B256, ChainError> {
        let provider = self.signing(carrier);
        let table = RoutingTable::new(self.deployment.routing_table, &provider);
        let (x, y) = route.sealing_key.to_affine();
        let call = table.setRouteBySignature(
            route.wallet,
            route.agent,
            IRoutingTable::SealingKey { x, y },
            route.valid_until,
            route.signature.to_vec().into(),
        );
        self.transact(call, progress).await
    }

    /// Sends one transaction and waits until it is mined. Estimating its gas has simulated it before, so a refusal
    /// costs nothing.
    async fn transact<P, D>(
        &self,
        call: CallBuilder<P, D, Ethereum>,
        progress: &ProgressSink,
    ) -> Result<B256, ChainError>
    where
        P: Provider<Ethereum>,
        D: CallDecoder,
    {
        let pending = self.ask(call.send()).await?;
        let hash = *pending.tx_hash();
        progress(Progress::Transaction(hash));
        let receipt = pending
            .with_timeout(Some(RECEIPT_TIMEOUT))
            .get_receipt()
            .await
            .map_err(|error| ChainError::Transaction { hash, reason: format!("not seen mined yet: {error}") })?;
        if receipt.status() {
            Ok(hash)
        } else {
            Err(ChainError::Transaction { hash, reason: "it was mined and failed; nothing moved".to_owned() })
        }
    }

    /// What the customer would have to pay for gas is no business of ours, but having none at all is worth a word.
    pub async fn require_gas(&self, address: Address) -> Result<(), ChainError> {
        let gas = self.provider.get_balance(address).await.map_err(|error| refusal::of_transport(&error))?;
        if gas == U256::ZERO {
            return Err(ChainError::Refused(format!(
                "{address} holds none of the chain's own coin, so it cannot pay for a transaction; send it some"
            )));
        }
        Ok(())
    }
}
