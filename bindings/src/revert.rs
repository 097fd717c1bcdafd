//! What a contract answered when it refused, by type: every custom error of the three contracts, and the two that the
//! Solidity compiler itself throws.

use std::fmt;

use alloy::contract;
use alloy::primitives::Bytes;
use alloy::sol_types::{Panic, Revert, SolError, SolInterface};

use crate::contracts::{PrepaymentEscrow, RoutingTable, SettlementToken};

/// Errors of the escrow.
pub use PrepaymentEscrow::PrepaymentEscrowErrors as EscrowErrors;
/// Errors of the routing table.
pub use RoutingTable::RoutingTableErrors as RoutingErrors;
/// Errors of the settlement token.
pub use SettlementToken::SettlementTokenErrors as TokenErrors;

/// The decoded data of a reverted call.
///
/// Some errors are declared by several contracts with the same parameters (`SignatureExpired`, `InvalidSignature`,
/// `TransferMismatch`, some of OpenZeppelin's) and cannot be told apart by their bytes; [`ContractRevert::decode`]
/// names the first contract in the order of these variants. Whoever knows which contract answered uses [`decode_as`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContractRevert {
    /// The escrow refused.
    Escrow(EscrowErrors),
    /// The routing table refused.
    Routing(RoutingErrors),
    /// The settlement token refused.
    Token(TokenErrors),
    /// `require(condition, "text")` of a contract that is not ours.
    Reason(String),
    /// Arithmetic, a bad index or the like; a defect of the contract.
    Panic(Panic),
    /// Anything else.
    Unknown(Bytes),
}

impl ContractRevert {
    /// Reads a call's revert data.
    #[must_use]
    pub fn decode(data: &[u8]) -> Self {
        if let Some(error) = decode_as::<EscrowErrors>(data) {
            Self::Escrow(error)
        } else if let Some(error) = decode_as::<RoutingErrors>(data) {
            Self::Routing(error)
        } else if let Some(error) = decode_as::<TokenErrors>(data) {
            Self::Token(error)
        } else if let Ok(revert) = Revert::abi_decode(data) {
            Self::Reason(revert.reason)
        } else if let Ok(panic) = Panic::abi_decode(data) {
            Self::Panic(panic)
        } else {
            Self::Unknown(Bytes::copy_from_slice(data))
        }
    }

    /// What a contract refused with, when `error` is such a refusal and no failure of the transport.
    #[must_use]
    pub fn of(error: &contract::Error) -> Option<Self> {
        error.as_revert_data().map(|data| Self::decode(&data))
    }
}

/// Reads a call's revert data as one of the errors of a known contract ([`EscrowErrors`], [`RoutingErrors`],
/// [`TokenErrors`]).
#[must_use]
pub fn decode_as<E: SolInterface>(data: &[u8]) -> Option<E> {
    E::abi_decode_validate(data).ok()
}

/// The error as Solidity would write it down, for logs and for people.
impl fmt::Display for ContractRevert {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Escrow(error) => write!(formatter, "the escrow refused: {error:?}"),
            Self::Routing(error) => write!(formatter, "the routing table refused: {error:?}"),
            Self::Token(error) => write!(formatter, "the token refused: {error:?}"),
            Self::Reason(reason) => write!(formatter, "a contract refused: {reason}"),
            Self::Panic(panic) => write!(formatter, "a contract panicked: {panic}"),
            Self::Unknown(data) => write!(formatter, "a contract refused without saying why: {data}"),
        }
    }
}

impl std::error::Error for ContractRevert {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::aliases::U96;
    use alloy::primitives::{Address, U256};

    #[test]
    fn decodes_each_contract_by_type() {
        let error = PrepaymentEscrow::ThawAboveDeposit { amount: U96::from(2), deposit: U96::from(1) };
        assert_eq!(
            ContractRevert::decode(&error.abi_encode()),
            ContractRevert::Escrow(EscrowErrors::ThawAboveDeposit(error))
        );
        let error = RoutingTable::NotRegistered { node: Address::repeat_byte(1) };
        assert_eq!(
            ContractRevert::decode(&error.abi_encode()),
            ContractRevert::Routing(RoutingErrors::NotRegistered(error))
        );
        let error = SettlementToken::ERC20InsufficientBalance {
            sender: Address::repeat_byte(1),
            balance: U256::from(1),
            needed: U256::from(2),
        };
        assert_eq!(
            ContractRevert::decode(&error.abi_encode()),
            ContractRevert::Token(TokenErrors::ERC20InsufficientBalance(error))
        );
    }

    #[test]
    fn a_shared_error_is_read_as_the_contract_that_is_asked_for() {
        let data = RoutingTable::SignatureExpired { validUntil: 1, timestamp: U256::from(2) }.abi_encode();
        assert!(matches!(ContractRevert::decode(&data), ContractRevert::Escrow(EscrowErrors::SignatureExpired(_))));
        assert!(matches!(decode_as(&data), Some(RoutingErrors::SignatureExpired(_))));
        assert_eq!(decode_as::<TokenErrors>(&data), None);
    }

    #[test]
    fn decodes_the_compilers_own_and_keeps_the_rest() {
        let reason = Revert::from("no").abi_encode();
        assert_eq!(ContractRevert::decode(&reason), ContractRevert::Reason("no".to_owned()));
        let panic = Panic { code: U256::from(0x11) };
        assert_eq!(ContractRevert::decode(&panic.abi_encode()), ContractRevert::Panic(panic));
        for data in [&[][..], &[1, 2, 3], &[1, 2, 3, 4, 5]] {
            assert_eq!(ContractRevert::decode(data), ContractRevert::Unknown(Bytes::copy_from_slice(data)));
        }
    }

    #[test]
    fn creation_code_is_there() {
        for code in [&PrepaymentEscrow::BYTECODE, &RoutingTable::BYTECODE, &SettlementToken::BYTECODE] {
            assert!(code.len() > 1_000);
        }
    }
}
