//! Where the contracts stand: a small JSON file that `settler deploy` and the demo write and every program reads.

use alloy::primitives::Address;
use alloy::sol_types::Eip712Domain;
use serde::{Deserialize, Serialize};

use crate::typed::{escrow_domain, routing_domain};

/// One network of Layer Minus on one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The chain's number (EIP-155).
    pub chain_id: u64,
    /// The asset that the settlement token wraps at par.
    pub reserve: Address,
    /// `SettlementToken`.
    pub token: Address,
    /// `PrepaymentEscrow`.
    pub escrow: Address,
    /// `RoutingTable`.
    pub routing_table: Address,
    /// The first block to read events from.
    pub block: u64,
}

/// Why a deployments file does not read.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// Not the JSON that this type writes.
    #[error("the deployments file does not read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A contract's address is zero, or two contracts share one.
    #[error("the deployments file names no four different contracts")]
    BadAddresses,
}

impl Deployment {
    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// When it is not that, or the addresses are zero or the same.
    pub fn from_json(json: &str) -> Result<Self, DeploymentError> {
        let deployment: Self = serde_json::from_str(json)?;
        let mut addresses = [deployment.reserve, deployment.token, deployment.escrow, deployment.routing_table];
        addresses.sort_unstable();
        let all_differ = addresses.windows(2).all(|pair| pair[0] != pair[1]);
        if addresses[0].is_zero() || !all_differ {
            return Err(DeploymentError::BadAddresses);
        }
        Ok(deployment)
    }

    /// The file's text, one field a line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("numbers and addresses are JSON");
        json.push('\n');
        json
    }

    /// The domain of vouchers and delegations.
    #[must_use]
    pub fn escrow_domain(&self) -> Eip712Domain {
        escrow_domain(self.chain_id, self.escrow)
    }

    /// The domain of consents, routes, messages and entrustments.
    #[must_use]
    pub fn routing_domain(&self) -> Eip712Domain {
        routing_domain(self.chain_id, self.routing_table)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn deployment() -> Deployment {
        Deployment {
            chain_id: 31_337,
            reserve: Address::repeat_byte(1),
            token: Address::repeat_byte(2),
            escrow: Address::repeat_byte(3),
            routing_table: Address::repeat_byte(4),
            block: 7,
        }
    }

    #[test]
    fn refuses_missing_unknown_and_shared() {
        assert!(matches!(Deployment::from_json("{}"), Err(DeploymentError::Malformed(_))));
        let unknown = deployment().to_json().replacen('{', "{\"extra\": 1,", 1);
        assert!(matches!(Deployment::from_json(&unknown), Err(DeploymentError::Malformed(_))));
        let shared = Deployment { token: deployment().reserve, ..deployment() };
        assert!(matches!(Deployment::from_json(&shared.to_json()), Err(DeploymentError::BadAddresses)));
        let zero = Deployment { escrow: Address::ZERO, ..deployment() };
        assert!(matches!(Deployment::from_json(&zero.to_json()), Err(DeploymentError::BadAddresses)));
    }

    #[test]
    fn reads_what_it_writes() {
        assert_eq!(Deployment::from_json(&deployment().to_json()).unwrap(), deployment());
    }

    #[test]
    fn domains_differ_by_contract() {
        let deployment = deployment();
        assert_ne!(deployment.escrow_domain().separator(), deployment.routing_domain().separator());
        assert_eq!(deployment.escrow_domain(), escrow_domain(31_337, deployment.escrow));
    }
}
