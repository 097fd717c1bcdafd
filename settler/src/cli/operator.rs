//! An operator with its key, and the contracts it acts on. Every step says whether it was needed, so that a command can
//! be repeated after whatever happened to it.

use std::path::Path;

use alloy::network::{Ethereum, EthereumWallet};
use alloy::primitives::{Address, B256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::TransactionReceipt;
use alloy::signers::local::PrivateKeySigner;
use anyhow::anyhow;
use minus_bindings::{Amount, Deployment, PrepaymentEscrow, RoutingTable, SettlementToken};
use serde::Serialize;
use url::Url;

use super::arguments::OperatorArguments;
use super::outcome::{CommandError, say};
use crate::config::read_deployment;
use crate::keys;

/// The reserve asset is any ERC-20: `approve`, `allowance` and `balanceOf` are the settlement token's own.
pub type Token = SettlementToken::SettlementTokenInstance<DynProvider, Ethereum>;

/// One step of a command.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// What was to be done.
    pub step: &'static str,
    /// The transaction that did it; none if there was nothing to do.
    pub transaction: Option<B256>,
}

impl Step {
    /// There was nothing to do.
    #[must_use]
    pub const fn already(step: &'static str) -> Self {
        Self { step, transaction: None }
    }
}

/// Prints what was done.
///
/// # Errors
/// When nobody reads it.
pub fn tell(steps: &[Step]) -> Result<(), CommandError> {
    for step in steps {
        match step.transaction {
            Some(hash) => say(&format!("{}: {hash}", step.step))?,
            None => say(&format!("{}: already done", step.step))?,
        }
    }
    Ok(())
}

/// A provider that signs with this key.
#[must_use]
pub fn signing_provider(rpc_url: &Url, key: PrivateKeySigner) -> DynProvider {
    ProviderBuilder::new().wallet(EthereumWallet::from(key)).connect_http(rpc_url.clone()).erased()
}

/// Opens a key file without holding up the runtime.
///
/// # Errors
/// When it does not open.
pub async fn open_key(keystore: &Path, password_file: Option<&Path>) -> Result<PrivateKeySigner, CommandError> {
    let (keystore, password_file) = (keystore.to_owned(), password_file.map(Path::to_owned));
    let opening = tokio::task::spawn_blocking(move || keys::open(&keystore, password_file.as_deref()));
    Ok(opening.await.map_err(|error| anyhow!(error))??)
}

/// Says who lacks what, which the chain does not.
///
/// # Errors
/// When the account holds none of the chain's own coin.
pub async fn check_gas(provider: &DynProvider, account: Address) -> Result<(), CommandError> {
    if provider.get_balance(account).await?.is_zero() {
        return Err(CommandError::Refused(format!(
            "{account} holds none of the chain's own coin, so it cannot pay for a transaction; send it some"
        )));
    }
    Ok(())
}

/// An operator, connected.
#[derive(Debug)]
pub struct Operator {
    /// Its address.
    pub address: Address,
    /// Where the contracts stand.
    pub deployment: Deployment,
    /// Signs with the operator's key.
    pub provider: DynProvider,
}

/// What an operator has in its open balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OpenBalance {
    /// All of it.
    pub amount: Amount,
    /// Of that, under notice.
    pub thawing: Amount,
}

impl OpenBalance {
    /// What counts as bond.
    #[must_use]
    pub fn bonded(self) -> Amount {
        self.amount.saturating_sub(self.thawing)
    }
}

impl Operator {
    /// Opens the key and makes sure that the endpoint is of the deployment's chain.
    ///
    /// # Errors
    /// When the key does not open, nobody answers, or it is another chain.
    pub async fn connect(arguments: &OperatorArguments) -> Result<Self, CommandError> {
        let deployment =
            read_deployment(&arguments.deployment).map_err(|error| CommandError::Usage(error.to_string()))?;
        let key = open_key(&arguments.operator_keystore, arguments.operator_password_file.as_deref()).await?;
        let address = key.address();
        let provider = signing_provider(&arguments.rpc_url, key);
        let given = provider.get_chain_id().await?;
        if given != deployment.chain_id {
            let expected = deployment.chain_id;
            return Err(CommandError::Refused(format!(
                "{} is of chain {given}, the deployment of {expected}",
                arguments.rpc_url
            )));
        }
        Ok(Self { address, deployment, provider })
    }

    /// The escrow.
    #[must_use]
    pub fn escrow(&self) -> PrepaymentEscrow::PrepaymentEscrowInstance<&DynProvider, Ethereum> {
        PrepaymentEscrow::new(self.deployment.escrow, &self.provider)
    }

    /// The routing table.
    #[must_use]
    pub fn routing_table(&self) -> RoutingTable::RoutingTableInstance<&DynProvider, Ethereum> {
        RoutingTable::new(self.deployment.routing_table, &self.provider)
    }

    fn token(&self, address: Address) -> Token {
        SettlementToken::new(address, self.provider.clone())
    }

    /// What is in the operator's open balance.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn open_balance(&self) -> Result<OpenBalance, CommandError> {
        let open = self.escrow().openBalance(self.address).call().await?;
        Ok(OpenBalance { amount: open.amount.into(), thawing: open.thawing.into() })
    }

    /// Adds to the open balance; with `from_reserve`, wraps what the operator lacks in settlement tokens first.
    ///
    /// # Errors
    /// When the operator has too little, or the chain refuses.
    pub async fn deposit(&self, amount: Amount, from_reserve: bool) -> Result<Vec<Step>, CommandError> {
        let mut steps = Vec::new();
        let token = self.token(self.deployment.token);
        let has = token.balanceOf(self.address).call().await?;
        let lacks = amount.to_u256().saturating_sub(has);
        if !lacks.is_zero() {
            if !from_reserve {
                let has = Amount::try_from(has).unwrap_or(Amount::MAX);
                return Err(CommandError::Refused(format!(
                    "{} has {has} settlement tokens, {amount} are needed; --from-reserve wraps the reserve asset",
                    self.address
                )));
            }
            let lacks = Amount::try_from(lacks).map_err(|error| anyhow!(error))?;
            steps.extend(
                self.approve("approve the reserve asset", self.deployment.reserve, self.deployment.token, lacks)
                    .await?,
            );
            let receipt = self.send(token.depositFor(self.address, lacks.to_u256())).await?;
            steps.push(done("wrap the reserve asset", &receipt));
        }
        let escrow = self.deployment.escrow;
        steps.extend(self.approve("approve the escrow", self.deployment.token, escrow, amount).await?);
        let receipt = self.send(self.escrow().deposit(self.address, Address::ZERO, amount.to_u96())).await?;
        steps.push(done("deposit into the open balance", &receipt));
        Ok(steps)
    }

    /// Exactly as much as is needed, and nothing if enough is approved.
    async fn approve(
        &self,
        step: &'static str,
        token: Address,
        spender: Address,
        amount: Amount,
    ) -> Result<Option<Step>, CommandError> {
        let token = self.token(token);
        if token.allowance(self.address, spender).call().await? >= amount.to_u256() {
            return Ok(None);
        }
        let receipt = self.send(token.approve(spender, amount.to_u256())).await?;
        Ok(Some(done(step, &receipt)))
    }

    /// Sends a call and waits until a block holds it.
    ///
    /// # Errors
    /// When the contract refuses, by simulation or in the block.
    pub async fn send<P, C>(
        &self,
        call: alloy::contract::CallBuilder<P, C, Ethereum>,
    ) -> Result<TransactionReceipt, CommandError>
    where
        P: Provider<Ethereum>,
        C: alloy::contract::CallDecoder,
    {
        check_gas(&self.provider, self.address).await?;
        let receipt = call.send().await?.get_receipt().await?;
        if !receipt.status() {
            return Err(CommandError::Refused(format!("transaction {} was reverted", receipt.transaction_hash)));
        }
        Ok(receipt)
    }
}

/// A step with its transaction.
#[must_use]
pub fn done(step: &'static str, receipt: &TransactionReceipt) -> Step {
    Step { step, transaction: Some(receipt.transaction_hash) }
}
