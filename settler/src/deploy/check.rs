//! Asks the contracts that stand for what makes them one network. Their code has been compared already; this shows that
//! it also answers as the programs that will read the file expect.

use std::fmt::Debug;

use alloy::contract::Error;
use alloy::primitives::{Address, fixed_bytes};
use alloy::providers::DynProvider;
use alloy::sol_types::Eip712Domain;
use minus_bindings::typed::token_domain;
use minus_bindings::{Amount, Deployment, PrepaymentEscrow, RoutingTable, SettlementToken};

use super::error::DeployError;

/// The notice of the escrow, seconds: nodes count on seven days to claim in.
const NOTICE_PERIOD_S: u64 = 7 * 86_400;

/// Asks all of them.
///
/// # Errors
/// When one does not answer, or answers something else.
pub async fn check(provider: &DynProvider, network: &Deployment) -> Result<(), DeployError> {
    let token = SettlementToken::new(network.token, provider);
    let asked = Asked { contract: "SettlementToken", address: network.token, provider };
    asked.answers("underlying", token.underlying().call().await, network.reserve)?;
    asked.answers("decimals", token.decimals().call().await, Amount::DECIMALS)?;
    let domain = token_domain(network.chain_id, network.token);
    asked.answers("DOMAIN_SEPARATOR", token.DOMAIN_SEPARATOR().call().await, domain.separator())?;
    asked.has_domain(&domain).await?;

    let escrow = PrepaymentEscrow::new(network.escrow, provider);
    let asked = Asked { contract: "PrepaymentEscrow", address: network.escrow, provider };
    asked.answers("token", escrow.token().call().await, network.token)?;
    asked.answers("NOTICE_PERIOD", escrow.NOTICE_PERIOD().call().await, NOTICE_PERIOD_S)?;
    asked.has_domain(&network.escrow_domain()).await?;

    let routing_table = RoutingTable::new(network.routing_table, provider);
    let asked = Asked { contract: "RoutingTable", address: network.routing_table, provider };
    asked.answers("escrow", routing_table.escrow().call().await, network.escrow)?;
    asked.has_domain(&network.routing_domain()).await
}

/// The contract that is asked.
struct Asked<'a> {
    contract: &'static str,
    address: Address,
    provider: &'a DynProvider,
}

impl Asked<'_> {
    fn answers<T: PartialEq + Debug>(
        &self,
        question: &'static str,
        said: Result<T, Error>,
        expected: T,
    ) -> Result<(), DeployError> {
        let given = match said {
            Ok(said) if said == expected => return Ok(()),
            Ok(said) => format!("{said:?}"),
            Err(Error::TransportError(error)) if error.as_error_resp().is_none() => return Err(error.into()),
            Err(error) => format!("with an error ({error})"),
        };
        let expected = format!("{expected:?}");
        Err(DeployError::ForeignAnswer { contract: self.contract, question, given, expected })
    }

    /// `eip712Domain` (EIP-5267), which all three have alike, so that any of them can put the question.
    async fn has_domain(&self, domain: &Eip712Domain) -> Result<(), DeployError> {
        let said = PrepaymentEscrow::new(self.address, self.provider).eip712Domain().call().await;
        let said = said.map(|said| (said.fields, said.name, said.version, said.chainId, said.verifyingContract));
        // Name, version, chain and contract are in use; salt and extensions are not.
        let fields = fixed_bytes!("0f");
        let name = domain.name.clone().unwrap_or_default().into_owned();
        let version = domain.version.clone().unwrap_or_default().into_owned();
        let chain_id = domain.chain_id.unwrap_or_default();
        let contract = domain.verifying_contract.unwrap_or_default();
        self.answers("eip712Domain", said, (fields, name, version, chain_id, contract))
    }
}
