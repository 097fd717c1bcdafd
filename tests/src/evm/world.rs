//! Layer Minus in an EVM: the three contracts and a reserve asset, deployed from source, and verbs for the money that
//! actors have in them.

use alloy::primitives::{Address, Bytes, TxKind};
use alloy::sol;
use alloy::sol_types::{Eip712Domain, SolCall, SolConstructor};
use minus_bindings::revert::{EscrowErrors, RoutingErrors, TokenErrors, decode_as};
use minus_bindings::{
    Amount, ContractRevert, PrepaymentEscrow, RoutingTable, SettlementToken, escrow_domain, routing_domain,
    token_domain,
};

use crate::compile;

use super::actor::Actor;
use super::chain::{CHAIN_ID, Chain, Execution};
use super::outcome::{Receipt, Refusal};

sol! {
    /// The reserve asset of the tests, which anyone may print.
    contract TestReserve {
        function mint(address account, uint256 amount) external;
    }
}

/// One of the contracts of the world; what calls and refusals are addressed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// The reserve asset, an ERC-20.
    Reserve,
    /// The settlement token that wraps it.
    Token,
    /// The escrow.
    Escrow,
    /// The routing table.
    Routing,
    /// Some other contract, which is known by where it stands.
    At(Address),
}

/// A chain with Layer Minus on it. A clone is a fork.
#[derive(Clone, Debug)]
pub struct World {
    chain: Chain,
    reserve: Address,
    token: Address,
    escrow: Address,
    routing_table: Address,
}

/// So many base units.
///
/// # Panics
/// Above what a lane holds.
#[must_use]
pub fn units(base_units: u128) -> Amount {
    Amount::from_base_units(base_units).expect("tests deal in less than 2^96 base units")
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// Deploys everything, compiled from source.
    ///
    /// # Panics
    /// When a source does not compile or a constructor refuses.
    #[must_use]
    pub fn new() -> Self {
        let mut chain = Chain::default();
        let deployer = Actor::named("deployer").address();
        let mut deploy = |name: &str, arguments: Vec<u8>| {
            let code = creation_code(name, &arguments);
            chain.create(deployer, code).unwrap_or_else(|data| panic!("{name}: {}", ContractRevert::decode(&data)))
        };
        let reserve = deploy("TestReserve", vec![]);
        let token = deploy("SettlementToken", SettlementToken::constructorCall { reserve }.abi_encode());
        let escrow = deploy("PrepaymentEscrow", PrepaymentEscrow::constructorCall { token_: token }.abi_encode());
        let routing_table = deploy("RoutingTable", RoutingTable::constructorCall { escrow_: escrow }.abi_encode());
        Self { chain, reserve, token, escrow, routing_table }
    }

    /// Where a contract stands.
    #[must_use]
    pub fn address(&self, contract: Contract) -> Address {
        match contract {
            Contract::Reserve => self.reserve,
            Contract::Token => self.token,
            Contract::Escrow => self.escrow,
            Contract::Routing => self.routing_table,
            Contract::At(address) => address,
        }
    }

    /// The domain of vouchers, charges and mandates here.
    #[must_use]
    pub fn escrow_domain(&self) -> Eip712Domain {
        escrow_domain(CHAIN_ID, self.escrow)
    }

    /// The domain of consents and routes here.
    #[must_use]
    pub fn routing_domain(&self) -> Eip712Domain {
        routing_domain(CHAIN_ID, self.routing_table)
    }

    /// The domain of permits here.
    #[must_use]
    pub fn token_domain(&self) -> Eip712Domain {
        token_domain(CHAIN_ID, self.token)
    }

    /// Seconds since 1970, as contracts see them.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.chain.now()
    }

    /// Moves the clock forward by so many seconds.
    pub fn warp(&mut self, seconds: u64) {
        self.chain.warp(seconds);
    }

    /// Deploys one of the compiled contracts once more, with ABI-encoded constructor arguments.
    ///
    /// # Errors
    /// What its constructor refused with.
    pub fn deploy(&mut self, by: &Actor, name: &str, arguments: &[u8]) -> Result<Address, Refusal> {
        self.chain.create(by.address(), creation_code(name, arguments)).map_err(|data| Refusal {
            reason: Box::new(ContractRevert::decode(&data)),
            data,
            gas_used: 0,
        })
    }

    /// One transaction: a typed call, and what it returned.
    ///
    /// # Errors
    /// The decoded error with which the contract refused.
    pub fn call<C: SolCall>(&mut self, by: &Actor, to: Contract, call: C) -> Result<Receipt<C::Return>, Refusal> {
        let execution = self.chain.transact(by.address(), TxKind::Call(self.address(to)), call.abi_encode().into());
        self.outcome::<C>(to, execution)
    }

    /// What a call would return now, if nobody in particular made it.
    ///
    /// # Errors
    /// The decoded error with which the contract would refuse.
    pub fn try_view<C: SolCall>(&mut self, of: Contract, call: C) -> Result<C::Return, Refusal> {
        let execution = self.chain.simulate(Address::ZERO, self.address(of), call.abi_encode().into());
        self.outcome::<C>(of, execution).map(|receipt| receipt.value)
    }

    /// As [`Self::try_view`], of a view that does not refuse.
    ///
    /// # Panics
    /// When it does.
    #[track_caller]
    pub fn view<C: SolCall>(&mut self, of: Contract, call: C) -> C::Return {
        match self.try_view(of, call) {
            Ok(value) => value,
            Err(refusal) => panic!("{}: {refusal:?}", C::SIGNATURE),
        }
    }

    fn outcome<C: SolCall>(&self, to: Contract, execution: Execution) -> Result<Receipt<C::Return>, Refusal> {
        let gas_used = execution.gas().tx_gas_used();
        match execution {
            Execution::Success { output, logs, .. } => {
                let value = C::abi_decode_returns_validate(output.data())
                    .unwrap_or_else(|error| panic!("{} returned something else: {error}", C::SIGNATURE));
                Ok(Receipt { value, logs, gas_used })
            }
            Execution::Revert { output, .. } => {
                Err(Refusal { reason: Box::new(decode_refusal(to, &output)), data: output, gas_used })
            }
            Execution::Halt { reason, .. } => panic!("{} halted the EVM: {reason:?}", C::SIGNATURE),
        }
    }
}

/// What actors do.
impl World {
    /// Prints reserve assets and wraps them, so that `actor` holds `amount` settlement tokens more.
    ///
    /// # Panics
    /// When a token refuses.
    pub fn fund(&mut self, actor: &Actor, amount: u128) {
        let (account, amount, token) = (actor.address(), units(amount).to_u256(), self.token);
        self.must(actor, Contract::Reserve, TestReserve::mintCall { account, amount });
        self.must(actor, Contract::Reserve, SettlementToken::approveCall { spender: token, value: amount });
        self.must(actor, Contract::Token, SettlementToken::depositForCall { account, amount });
    }

    /// Funds `payer` and deposits all of it into its lane to `payee`; the zero address is its open balance.
    ///
    /// # Panics
    /// When a token or the escrow refuses.
    pub fn prepay(&mut self, payer: &Actor, payee: Address, amount: u128) {
        self.fund(payer, amount);
        self.approve(payer, amount);
        let deposit = PrepaymentEscrow::depositCall { payer: payer.address(), payee, amount: units(amount).to_u96() };
        self.must(payer, Contract::Escrow, deposit);
    }

    /// Lets the escrow take `amount` settlement tokens of `actor`.
    ///
    /// # Panics
    /// When the token refuses.
    pub fn approve(&mut self, actor: &Actor, amount: u128) {
        let approve = SettlementToken::approveCall { spender: self.escrow, value: units(amount).to_u256() };
        self.must(actor, Contract::Token, approve);
    }

    /// What is there and unclaimed on a lane, and what it paid so far.
    pub fn lane(&mut self, payer: Address, payee: Address) -> (u128, u128) {
        let lane = self.view(Contract::Escrow, PrepaymentEscrow::laneCall { payer, payee })._0;
        (Amount::from(lane.deposit).base_units(), Amount::from(lane.paid).base_units())
    }

    /// The open balance, and how much of it is thawing.
    pub fn open_balance(&mut self, payer: Address) -> (u128, u128) {
        let open = self.view(Contract::Escrow, PrepaymentEscrow::openBalanceCall { payer });
        (Amount::from(open.amount).base_units(), Amount::from(open.thawing).base_units())
    }

    /// Settlement tokens in an account.
    ///
    /// # Panics
    /// Above what a lane holds.
    pub fn tokens(&mut self, account: Address) -> u128 {
        let balance = self.view(Contract::Token, SettlementToken::balanceOfCall { account });
        Amount::try_from(balance).expect("tests deal in less than 2^96 base units").base_units()
    }

    #[track_caller]
    fn must<C: SolCall>(&mut self, by: &Actor, to: Contract, call: C) {
        if let Err(refusal) = self.call(by, to, call) {
            panic!("{}: {refusal:?}", C::SIGNATURE);
        }
    }
}

/// What creates one of the compiled contracts, with ABI-encoded constructor arguments.
///
/// # Panics
/// When no source has a contract of this name.
#[must_use]
pub fn creation_code(name: &str, arguments: &[u8]) -> Bytes {
    let compiled = compile::contracts().get(name).unwrap_or_else(|| panic!("no source has a contract {name}"));
    [&compiled.creation_code, arguments].concat().into()
}

/// As the contract that answered declares it; an error that it only passed on, as whoever declares it.
fn decode_refusal(contract: Contract, data: &[u8]) -> ContractRevert {
    let own = match contract {
        Contract::Escrow => decode_as::<EscrowErrors>(data).map(ContractRevert::Escrow),
        Contract::Routing => decode_as::<RoutingErrors>(data).map(ContractRevert::Routing),
        Contract::Reserve | Contract::Token => decode_as::<TokenErrors>(data).map(ContractRevert::Token),
        Contract::At(_) => None,
    };
    own.unwrap_or_else(|| ContractRevert::decode(data))
}
