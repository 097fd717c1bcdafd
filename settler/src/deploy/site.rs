//! What stands on the chain and what belongs there, looked at before anything is sent.
//!
//! What belongs at an address is found by running the creation code as if it stood at that very address (a state
//! override of `eth_call`): the constructor then returns the code that it would leave there, with this chain's
//! immutable values in it. So the comparison is of every byte, immutable values included, and nobody has to say where
//! in the code they are. The address, being a hash of the creation code, says the same; but only as long as the chain
//! never began with other code there.

use alloy::eips::BlockId;
use alloy::network::TransactionBuilder;
use alloy::primitives::{Address, Bytes, hex};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::TransactionRequest;
use alloy::rpc::types::state::StateOverridesBuilder;
use alloy::transports::TransportError;
use minus_bindings::create2::{Creation, DETERMINISTIC_DEPLOYER, DETERMINISTIC_DEPLOYER_CODE, creations};
use minus_bindings::{Amount, Deployment, SettlementToken};

use super::error::DeployError;

/// Copies no memory (MCOPY), reads transient storage (TLOAD) and stops. The contracts are made of these instructions,
/// but not their constructors, so that a chain without them would create what can never be used.
const CANCUN_PROBE: [u8; 7] = hex!("5f5f5f5e5f5c00");

/// Where the probe is run as if it stood there: any address that is not one of the chain's own contracts.
const PROBED: Address = Address::repeat_byte(0xc0);

/// One contract of the network, on this chain.
#[derive(Debug, Clone)]
pub struct Place {
    /// What creates it, and where.
    pub creation: Creation,
    /// The code that belongs there.
    pub code: Bytes,
    /// Whether it stands.
    pub stands: bool,
}

impl Place {
    /// Whether the contract stands by now.
    ///
    /// # Errors
    /// When other code does, or the endpoint does not answer.
    pub async fn look(&self, provider: &DynProvider) -> Result<bool, DeployError> {
        let code = provider.get_code_at(self.creation.address).await?;
        if !code.is_empty() && code != self.code {
            let (contract, address) = (self.creation.contract, self.creation.address);
            return Err(DeployError::ForeignCode { contract, address });
        }
        Ok(!code.is_empty())
    }

    /// The transaction that creates it.
    #[must_use]
    pub fn transaction(&self) -> TransactionRequest {
        TransactionRequest::default().with_to(DETERMINISTIC_DEPLOYER).with_input(self.creation.calldata())
    }
}

/// Where a network stands or will stand.
#[derive(Debug, Clone)]
pub struct Site {
    /// The network. Its block is not known yet.
    pub network: Deployment,
    /// Its contracts, each after the one that its constructor is given.
    pub places: [Place; 3],
}

impl Site {
    /// Looks at everything.
    ///
    /// # Errors
    /// When it cannot become a deployment, or the endpoint does not answer.
    pub async fn survey(provider: &DynProvider, chain_id: u64, reserve: Address) -> Result<Self, DeployError> {
        check_deployer(provider, chain_id).await?;
        check_rules(provider, chain_id).await?;
        check_reserve(provider, chain_id, reserve).await?;
        let [token, escrow, routing_table] = creations(reserve);
        let places =
            [place(provider, token).await?, place(provider, escrow).await?, place(provider, routing_table).await?];
        Ok(Self { network: Deployment::predicted(chain_id, reserve, 0), places })
    }

    /// Whether any of the contracts stood at the end of a block.
    ///
    /// # Errors
    /// When the endpoint does not answer, or does not remember that block.
    pub async fn stood_at(&self, provider: &DynProvider, block: u64) -> Result<bool, TransportError> {
        for place in &self.places {
            if !provider.get_code_at(place.creation.address).block_id(BlockId::number(block)).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

async fn check_deployer(provider: &DynProvider, chain_id: u64) -> Result<(), DeployError> {
    let code = provider.get_code_at(DETERMINISTIC_DEPLOYER).await?;
    if code.is_empty() {
        return Err(DeployError::NoDeployer { chain_id });
    }
    if code[..] != DETERMINISTIC_DEPLOYER_CODE {
        return Err(DeployError::ForeignDeployer { chain_id });
    }
    Ok(())
}

async fn check_rules(provider: &DynProvider, chain_id: u64) -> Result<(), DeployError> {
    match run_at(provider, PROBED, CANCUN_PROBE.into()).await {
        Ok(_) => Ok(()),
        Err(error) if error.as_error_resp().is_some() => {
            Err(DeployError::OldRules { chain_id, problem: error.to_string() })
        }
        Err(error) => Err(error.into()),
    }
}

async fn check_reserve(provider: &DynProvider, chain_id: u64, reserve: Address) -> Result<(), DeployError> {
    if provider.get_code_at(reserve).await?.is_empty() {
        return Err(DeployError::NoReserve { reserve, chain_id });
    }
    // Every ERC-20 that says its decimals says them as the settlement token does.
    let given = match SettlementToken::new(reserve, provider).decimals().call().await {
        Ok(given) => given,
        Err(alloy::contract::Error::TransportError(error)) if error.as_error_resp().is_none() => {
            return Err(error.into());
        }
        Err(error) => return Err(DeployError::NoDecimals { reserve, problem: error.to_string() }),
    };
    let expected = Amount::DECIMALS;
    if given != expected {
        return Err(DeployError::ReserveDecimals { reserve, given, expected });
    }
    Ok(())
}

async fn place(provider: &DynProvider, creation: Creation) -> Result<Place, DeployError> {
    let code = rehearse(provider, &creation).await?;
    let mut place = Place { creation, code, stands: false };
    place.stands = place.look(provider).await?;
    Ok(place)
}

/// The code that the constructor would leave at its address.
async fn rehearse(provider: &DynProvider, creation: &Creation) -> Result<Bytes, DeployError> {
    let refused = |problem| DeployError::NoRehearsal { contract: creation.contract, problem };
    match run_at(provider, creation.address, creation.code.clone()).await {
        Ok(code) if code.is_empty() => Err(refused("it answers with no code at all".to_owned())),
        Ok(code) => Ok(code),
        Err(error) if error.as_error_resp().is_some() => Err(refused(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Runs code as if it stood at that address.
async fn run_at(provider: &DynProvider, address: Address, code: Bytes) -> Result<Bytes, TransportError> {
    let call = TransactionRequest::default().with_to(address);
    provider.call(call).overrides(StateOverridesBuilder::default().with_code(address, code).build()).await
}
