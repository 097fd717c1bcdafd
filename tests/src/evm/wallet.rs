//! A wallet that is a contract: it belongs to an actor, and answers for signatures (ERC-1271) as it is told.

use alloy::primitives::Address;
use alloy::sol;
use alloy::sol_types::SolValue;

use super::actor::Actor;
use super::world::{Contract, World};

sol! {
    /// What the wallet of the tests answers when it is asked whether it signed, in the order of its source.
    #[derive(Debug, PartialEq, Eq, Hash)]
    enum WalletAnswer {
        /// Yes if its owner signed.
        OwnersSignature,
        /// Yes to everything.
        Yes,
        /// The word for no.
        No,
        /// No data at all.
        Nothing,
        /// The word for yes, one byte too short.
        Short,
        /// The word for yes, and something in the bytes behind it.
        Dirty,
        /// As a contract does that answers every question with true.
        One,
        /// It reverts.
        Failure,
        /// It burns all its gas.
        AllGas,
        /// The word for yes, and 400,000 bytes in all.
        Bomb,
        /// Yes if it was given the gas that it wants.
        YesWithGas,
        /// Yes if it was refused when it tried to change something.
        YesWhenRefused
    }

    /// `tests/contracts/mocks/Wallet.sol`.
    contract Wallet {
        function tell(WalletAnswer answer) external;
    }
}

impl World {
    /// A new wallet that takes the signatures of `owner` for its own.
    ///
    /// # Panics
    /// When it cannot be deployed.
    pub fn wallet(&mut self, owner: &Actor) -> Address {
        let arguments = owner.address().abi_encode();
        self.deploy(owner, "Wallet", &arguments).expect("the wallet's constructor refuses nobody")
    }

    /// Tells `wallet` what to answer from now on.
    ///
    /// # Panics
    /// When there is no such wallet.
    pub fn tell(&mut self, wallet: Address, answer: WalletAnswer) {
        self.call(&Actor::named("anyone"), Contract::At(wallet), Wallet::tellCall { answer })
            .expect("the wallet listens to everybody");
    }
}
