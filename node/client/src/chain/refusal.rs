//! What a failed call means: the contract's own error by type where there is one, the transport's otherwise.

use alloy::contract::Error;
use alloy::primitives::Address;
use alloy::transports::{RpcError, TransportErrorKind};
use minus_bindings::Amount;
use minus_bindings::ContractRevert;
use minus_bindings::revert::{EscrowErrors, RoutingErrors, TokenErrors};

use super::ChainError;
use crate::transport::innermost;

/// Translates a failed call.
pub(super) fn translate(error: &Error, contract: Address) -> ChainError {
    if let Some(revert) = ContractRevert::of(error) {
        return ChainError::Refused(explain(&revert));
    }
    match error {
        Error::ZeroData(..) => ChainError::NoContract(contract),
        Error::TransportError(transport) => of_transport(transport),
        other => ChainError::Nonsense(other.to_string()),
    }
}

/// Translates a failed request.
pub(super) fn of_transport(error: &RpcError<TransportErrorKind>) -> ChainError {
    match error {
        RpcError::ErrorResp(payload) => ChainError::Refused(format!("the RPC endpoint refused: {}", payload.message)),
        RpcError::Transport(_) => ChainError::Unreachable { reason: transport_reason(error) },
        other => ChainError::Nonsense(other.to_string()),
    }
}

/// What went wrong on the way, without the URL.
pub(super) fn transport_reason(error: &RpcError<TransportErrorKind>) -> String {
    innermost(error)
}

/// The errors a customer can meet, in words that say what to do; any other as the contract names it.
fn explain(revert: &ContractRevert) -> String {
    match revert {
        ContractRevert::Escrow(EscrowErrors::ThawAboveDeposit(error)) => format!(
            "the lane holds {} tokens, fewer than the {} to be withdrawn",
            Amount::from(error.deposit),
            Amount::from(error.amount)
        ),
        ContractRevert::Escrow(EscrowErrors::NoticeRunning(error)) => {
            format!("the notice period runs until unix time {}; withdraw then", error.endsAt)
        }
        ContractRevert::Escrow(EscrowErrors::NothingThawing(_)) => "nothing is thawing on that lane".to_owned(),
        ContractRevert::Escrow(EscrowErrors::MandateReduced(_)) => {
            "a mandate in force can only be raised; to lower it, revoke it and give another when it is over".to_owned()
        }
        ContractRevert::Escrow(EscrowErrors::ZeroAmount(_)) => "an amount of zero moves nothing".to_owned(),
        ContractRevert::Routing(RoutingErrors::NoRoute(error)) => {
            format!("{} has no route: it was not entrusted to any agent", error.wallet)
        }
        ContractRevert::Routing(RoutingErrors::NotRegistered(error)) => {
            format!("{} is no registered node; `minus nodes` shows them", error.node)
        }
        ContractRevert::Token(TokenErrors::ERC20InsufficientBalance(error)) => {
            format!("{} holds {} base units of that token, {} are needed", error.sender, error.balance, error.needed)
        }
        other => other.to_string(),
    }
}
