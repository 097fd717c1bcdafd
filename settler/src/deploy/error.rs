//! Why a network is not deployed. Everything but the chain's silence is final until somebody changes something, which
//! the text names.

use std::path::PathBuf;

use alloy::primitives::utils::format_ether;
use alloy::primitives::{Address, B256, U256};
use alloy::transports::TransportError;
use minus_bindings::Deployment;
use minus_bindings::create2::DETERMINISTIC_DEPLOYER;

/// Who signed the transaction that creates the deterministic deployer: nobody has the key, for the signature was made
/// up, so that the transaction is valid on every chain that takes transactions without a chain's number.
pub const DEPLOYER_SIGNER: &str = "0x3fAB184622Dc19b6109349B94811493BF2a45362";

/// That transaction, to be sent as it is. It offers 100 gwei for each of 100,000 gas: 0.01 coin.
pub const DEPLOYER_TRANSACTION: &str = "0xf8a58085174876e800830186a08080b853604580600e600039806000f350fe7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf31ba02222222222222222222222222222222222222222222222222222222222222222a02222222222222222222222222222222222222222222222222222222222222222";

/// Why a network is not deployed, or not found to be one.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The endpoint is of another chain than the one that was asked for.
    #[error("the endpoint is of chain {given}, but {asked_by} says chain {expected}; nothing was sent")]
    WrongChain {
        /// What the endpoint says.
        given: u64,
        /// What was asked for.
        expected: u64,
        /// Where it was asked for.
        asked_by: String,
    },
    /// The file names another network.
    #[error(
        "{} names another network than the one over this reserve: its reserve is {}, its contracts are {}, {} and {}; \
         this one's would be {}, {}, {} and {}. Move the file away, or give another --out",
        path.display(), file.reserve, file.token, file.escrow, file.routing_table,
        ours.reserve, ours.token, ours.escrow, ours.routing_table
    )]
    AnotherNetwork {
        /// Which file.
        path: PathBuf,
        /// What it says.
        file: Box<Deployment>,
        /// What it would have to say.
        ours: Box<Deployment>,
    },
    /// Nobody has created the deterministic deployer on this chain.
    #[error(
        "chain {chain_id} has no deterministic deployer at {DETERMINISTIC_DEPLOYER}, without which the addresses would \
         not be the same as on other chains. Anyone can create it: send 0.01 of the chain's own coin to \
         {DEPLOYER_SIGNER}, which signed its creation, then `cast publish --rpc-url URL {DEPLOYER_TRANSACTION}`. A chain \
         that takes no transactions without its number, or asks more than 100 gwei a gas, needs its operators for this"
    )]
    NoDeployer {
        /// Which chain.
        chain_id: u64,
    },
    /// Something else stands where the deterministic deployer belongs.
    #[error(
        "what stands at {DETERMINISTIC_DEPLOYER} on chain {chain_id} is not the usual deterministic deployer, so it may \
         create anything anywhere; this chain cannot have the network"
    )]
    ForeignDeployer {
        /// Which chain.
        chain_id: u64,
    },
    /// The chain does not know the instructions that the contracts use.
    #[error(
        "chain {chain_id} does not run what the contracts are made of, the rules of Cancun or later (transient storage, \
         MCOPY): {problem}"
    )]
    OldRules {
        /// Which chain.
        chain_id: u64,
        /// What it answered.
        problem: String,
    },
    /// There is no reserve asset.
    #[error("there is no contract at {reserve} on chain {chain_id}; --reserve takes an ERC-20 of 6 decimals")]
    NoReserve {
        /// What was given.
        reserve: Address,
        /// Which chain.
        chain_id: u64,
    },
    /// What was given as reserve does not say its decimals.
    #[error("{reserve} does not say how many decimals it has, so it is no ERC-20 that can be a reserve: {problem}")]
    NoDecimals {
        /// What was given.
        reserve: Address,
        /// What it answered.
        problem: String,
    },
    /// The reserve is not counted in millionths.
    #[error(
        "the reserve {reserve} has {given} decimals; the settlement token wraps base unit for base unit and has {expected}"
    )]
    ReserveDecimals {
        /// What was given.
        reserve: Address,
        /// What it says.
        given: u8,
        /// What it would have to say.
        expected: u8,
    },
    /// The endpoint does not run code that does not stand on the chain.
    #[error(
        "the endpoint cannot tell what {contract} becomes when it is created, which every contract is compared with: \
         {problem}. It takes an endpoint whose eth_call knows state overrides, as those of all usual nodes do"
    )]
    NoRehearsal {
        /// Which contract.
        contract: &'static str,
        /// What it answered.
        problem: String,
    },
    /// Other code stands where a contract belongs.
    #[error(
        "what stands at {address} is not the {contract} that this version creates there. Nobody can put anything else \
         there by a transaction: the endpoint is not of the chain it claims to be, or the chain began with that code or \
         changed its number since"
    )]
    ForeignCode {
        /// Which contract.
        contract: &'static str,
        /// Where.
        address: Address,
    },
    /// A contract answers other than it must.
    #[error("the {contract} answers {given} when it is asked for {question}, instead of {expected}")]
    ForeignAnswer {
        /// Which contract.
        contract: &'static str,
        /// What it was asked for.
        question: &'static str,
        /// What it said.
        given: String,
        /// What it must say.
        expected: String,
    },
    /// The account cannot pay for what is to be sent.
    #[error(
        "{account} holds {} of the chain's own coin; what lacks takes up to {}; send it some. Nothing was sent",
        format_ether(*has), format_ether(*needs)
    )]
    GasMoney {
        /// Who was to pay.
        account: Address,
        /// What it has, wei.
        has: U256,
        /// What it may need, wei.
        needs: U256,
    },
    /// A contract did not come to stand.
    #[error(
        "{contract} could not be created: {problem}. What stands already stays; run this again to go on from there"
    )]
    NotCreated {
        /// Which contract.
        contract: &'static str,
        /// What happened to the transaction.
        problem: String,
    },
    /// A transaction is not in a block yet.
    #[error(
        "transaction {transaction}, which creates {contract}, is not in a block after {waited_s} seconds; run this again \
         when it is"
    )]
    NotMined {
        /// Which contract.
        contract: &'static str,
        /// By which transaction.
        transaction: B256,
        /// How long was waited.
        waited_s: u64,
    },
    /// A file could not be written.
    #[error("{} cannot be written: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The endpoint answered with an error, or not at all.
    #[error("{0}")]
    Transport(#[from] TransportError),
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use alloy::consensus::{Transaction, TxEnvelope, transaction::SignerRecoverable};
    use alloy::eips::eip2718::Decodable2718;
    use alloy::hex;
    use alloy::primitives::TxKind;
    use minus_bindings::create2::DETERMINISTIC_DEPLOYER_CODE;

    use super::*;

    /// What the refusal tells people to send does what it says.
    #[test]
    fn the_transaction_creates_the_deployer() {
        let bytes = hex::decode(DEPLOYER_TRANSACTION).unwrap();
        let transaction = TxEnvelope::decode_2718(&mut &bytes[..]).unwrap();
        let signer = transaction.recover_signer().unwrap();

        assert_eq!(signer.to_string(), DEPLOYER_SIGNER);
        assert_eq!((transaction.kind(), transaction.nonce(), transaction.chain_id()), (TxKind::Create, 0, None));
        assert_eq!(signer.create(0), DETERMINISTIC_DEPLOYER);
        assert!(transaction.input().ends_with(&DETERMINISTIC_DEPLOYER_CODE));
        let cost = U256::from(transaction.gas_limit()) * U256::from(transaction.max_fee_per_gas());
        assert_eq!(format_ether(cost), "0.010000000000000000");
    }
}
