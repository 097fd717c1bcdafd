//! Where a network's contracts stand before anyone has created them: CREATE2 through the usual deterministic deployer.
//!
//! An address is a hash of the deployer, the salt and the creation code, and the creation code ends with the
//! constructor's argument: the token's with the reserve, the escrow's with the token, the routing table's with the
//! escrow. So all three addresses are a function of the reserve's address and of nothing else, not of the chain, the
//! account that pays or the time. The same reserve address gives the same addresses and creation code on every chain.
//! Another reserve gives other addresses, by intent: nobody can take the place of a network by creating it over a
//! reserve of its own.
//!
//! The deployed code holds what a constructor computed, the chain's number among it; that code differs between chains
//! where the creation code does not.

use alloy::primitives::{Address, B256, Bytes, address, b256, hex};
use alloy::sol_types::SolValue;

use crate::contracts::{PrepaymentEscrow, RoutingTable, SettlementToken};
use crate::deployment::Deployment;

/// The contract through which nearly everybody deploys to the same address on every chain. It takes `salt 32 |
/// creation code`, hands the code to CREATE2 and reverts when nothing was created.
pub const DETERMINISTIC_DEPLOYER: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");

/// What stands there. Other code at that address would give other addresses, or none.
pub const DETERMINISTIC_DEPLOYER_CODE: [u8; 69] = hex!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd"
    "5b8082525050506014600cf3"
);

/// What [`SALT`] is the keccak-256 of.
pub const SALT_NAME: &str = "layer-minus/1 deployment";

/// The salt of every contract: the hash of a name, so that anyone sees that it was not searched for. One salt serves
/// all three, because their creation codes differ, and every version of them, for the same reason.
pub const SALT: B256 = b256!("5f788fd691bae516d4984764a09566362155773e7330244943fff9fa65af8e6e");

/// One contract, as the deterministic deployer creates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// The contract's name.
    pub contract: &'static str,
    /// What its constructor is given, ABI-encoded.
    pub constructor_arguments: Bytes,
    /// Its creation code with the constructor's arguments behind it.
    pub code: Bytes,
    /// Where it then stands.
    pub address: Address,
}

impl Creation {
    fn new(contract: &'static str, bytecode: &Bytes, argument: Address) -> Self {
        let constructor_arguments = Bytes::from(argument.abi_encode());
        let code = Bytes::from([&bytecode[..], &constructor_arguments].concat());
        let address = DETERMINISTIC_DEPLOYER.create2_from_code(SALT, &code);
        Self { contract, constructor_arguments, code, address }
    }

    /// What to send to [`DETERMINISTIC_DEPLOYER`].
    #[must_use]
    pub fn calldata(&self) -> Bytes {
        [&SALT[..], &self.code].concat().into()
    }
}

/// The three contracts over this reserve, each after the one that its constructor is given.
#[must_use]
pub fn creations(reserve: Address) -> [Creation; 3] {
    let token = Creation::new("SettlementToken", &SettlementToken::BYTECODE, reserve);
    let escrow = Creation::new("PrepaymentEscrow", &PrepaymentEscrow::BYTECODE, token.address);
    let routing_table = Creation::new("RoutingTable", &RoutingTable::BYTECODE, escrow.address);
    [token, escrow, routing_table]
}

impl Deployment {
    /// The network over this reserve, whether or not it has been deployed on that chain.
    #[must_use]
    pub fn predicted(chain_id: u64, reserve: Address, block: u64) -> Self {
        let [token, escrow, routing_table] = creations(reserve).map(|creation| creation.address);
        Self { chain_id, reserve, token, escrow, routing_table, block }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::keccak256;

    use super::*;

    const RESERVE: Address = Address::repeat_byte(0x5e);

    #[test]
    fn the_salt_is_the_hash_of_its_name() {
        assert_eq!(SALT, keccak256(SALT_NAME));
    }

    /// Against the definition in EIP-1014, written out.
    #[test]
    fn an_address_is_what_eip_1014_says() {
        for creation in creations(RESERVE) {
            let preimage =
                [&[0xff], DETERMINISTIC_DEPLOYER.as_slice(), SALT.as_slice(), keccak256(&creation.code).as_slice()]
                    .concat();
            assert_eq!(creation.address, Address::from_slice(&keccak256(preimage)[12..]));
        }
    }

    #[test]
    fn each_constructor_is_given_the_address_before() {
        let [token, escrow, routing_table] = creations(RESERVE);
        for (creation, argument) in [(&token, RESERVE), (&escrow, token.address), (&routing_table, escrow.address)] {
            assert_eq!(creation.constructor_arguments[..12], [0; 12]);
            assert_eq!(creation.constructor_arguments[12..], argument[..]);
            assert!(creation.code.ends_with(&creation.constructor_arguments));
            assert_eq!(creation.calldata()[..32], SALT[..]);
            assert_eq!(creation.calldata()[32..], creation.code[..]);
        }
    }

    #[test]
    fn the_chain_and_the_block_change_no_address() {
        let here = Deployment::predicted(1, RESERVE, 7);
        let there = Deployment::predicted(10, RESERVE, 8);
        assert_eq!((here.token, here.escrow, here.routing_table), (there.token, there.escrow, there.routing_table));
        assert_eq!((here.chain_id, there.chain_id, here.block, there.block), (1, 10, 7, 8));
    }

    #[test]
    fn another_reserve_changes_every_address() {
        let ours = Deployment::predicted(1, RESERVE, 0);
        let other = Deployment::predicted(1, Address::repeat_byte(0x5f), 0);
        assert_ne!(ours.token, other.token);
        assert_ne!(ours.escrow, other.escrow);
        assert_ne!(ours.routing_table, other.routing_table);
    }

    #[test]
    fn a_predicted_network_reads_back_from_its_file() {
        let predicted = Deployment::predicted(1, RESERVE, 7);
        assert_eq!(Deployment::from_json(&predicted.to_json()).expect("four different addresses"), predicted);
    }
}
