//! The three contracts, from the files that `scripts/bindings` writes into `abi/`: calls, events, errors, instances
//! that speak to a provider, and the creation code that `deploy` sends. A test of `minus-tests` holds the files to
//! the Solidity sources.
//!
//! Structs that a contract takes or returns stand in the module of the interface that declares them:
//! [`IPrepaymentEscrow::Lane`], [`IRoutingTable::Node`], …

#![expect(clippy::too_many_arguments, reason = "a permit deposit and its instance method take eight")]

use alloy::sol;

sol!(
    #[sol(rpc, all_derives)]
    PrepaymentEscrow,
    "abi/PrepaymentEscrow.json"
);

sol!(
    #[sol(rpc, all_derives)]
    RoutingTable,
    "abi/RoutingTable.json"
);

sol!(
    #[sol(rpc, all_derives)]
    SettlementToken,
    "abi/SettlementToken.json"
);
