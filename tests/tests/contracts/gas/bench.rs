//! Layer Minus on a chain that answers with receipts, and remembers what it was asked, so that another chain can be
//! asked the same.

use alloy::primitives::{Address, Bytes, TxKind, U256, keccak256};
use alloy::sol_types::{Eip712Domain, SolCall, SolConstructor};
use minus_bindings::{
    ContractRevert, IPrepaymentEscrow, PrepaymentEscrow, RoutingTable, SettlementToken, SignedVoucher, escrow_domain,
    routing_domain, row, token_domain,
};
use minus_tests::evm::{Actor, CHAIN_ID, Chain, Execution, Surroundings, TestReserve, creation_code, units};
use revm::Inspector;
use revm::context::result::Output;
use revm::inspector::NoOpInspector;

use crate::calls::{u96, u256, wrap};

/// From one block to the next, on mainnet. Two transactions never see the same time, so what stores it, stores anew.
pub(super) const BLOCK_S: u64 = 12;

/// Until when everything that is signed here may be carried: 2100.
pub(super) const VALID_UNTIL: u64 = 4_102_444_800;

/// What everyone has who has anything, in base units: far more than is ever moved.
const PLENTY: u128 = 1_000_000_000_000_000;

/// What a lane is prepaid with, in base units: 100 tokens.
pub(super) const LANE: u128 = 100_000_000;

/// The running total of a first voucher, in base units. Three bytes, as in most vouchers; each byte more is 12 gas.
pub(super) const FIRST_TOTAL: u128 = 1_234_567;

/// The running total of a later voucher.
pub(super) const LATER_TOTAL: u128 = 2_345_678;

/// Something that happened on a bench.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// So many seconds went by.
    Wait(u64),
    /// A transaction in a block of its own, and the gas of its receipt.
    Transaction { from: Address, to: TxKind, data: Bytes, gas: u64 },
}

/// A contract that was just created.
#[derive(Clone, Copy, Debug)]
pub(super) struct Created {
    pub(super) address: Address,
    /// Of the receipt.
    pub(super) gas: u64,
    /// What stands on the chain.
    pub(super) code_bytes: usize,
}

/// A chain with Layer Minus on it. A clone is a fork.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    chain: Chain,
    reserve: Address,
    pub(super) token: Created,
    pub(super) escrow: Created,
    pub(super) routing: Created,
    /// All that led here.
    pub(super) history: Vec<Step>,
}

impl Bench {
    /// Deploys everything, compiled from source. The escrow holds somebody's money already, as it does in use.
    pub(super) fn new() -> Self {
        let nowhere = Created { address: Address::ZERO, gas: 0, code_bytes: 0 };
        let mut bench = Self {
            chain: Chain::default(),
            reserve: Address::ZERO,
            token: nowhere,
            escrow: nowhere,
            routing: nowhere,
            history: vec![],
        };
        let reserve = bench.create("TestReserve", &[]).address;
        bench.reserve = reserve;
        bench.token = bench.create("SettlementToken", &SettlementToken::constructorCall { reserve }.abi_encode());
        let token_ = bench.token.address;
        bench.escrow = bench.create("PrepaymentEscrow", &PrepaymentEscrow::constructorCall { token_ }.abi_encode());
        let escrow_ = bench.escrow.address;
        bench.routing = bench.create("RoutingTable", &RoutingTable::constructorCall { escrow_ }.abi_encode());
        let somebody = Actor::named("somebody");
        bench.endow(&somebody);
        bench.prepay(&somebody, &[somebody.address()], Actor::named("somebody's agent").address());
        bench
    }

    /// Creates one of the compiled contracts.
    pub(super) fn create(&mut self, name: &str, arguments: &[u8]) -> Created {
        let code = creation_code(name, arguments);
        match self.transact(&Actor::named("deployer"), TxKind::Create, code, NoOpInspector) {
            Execution::Success { output: Output::Create(code, Some(address)), gas, .. } => {
                Created { address, gas: gas.tx_gas_used(), code_bytes: code.len() }
            }
            other => panic!("{name} was not created: {other:?}"),
        }
    }

    /// Puts code where none is: of a wallet that no compiler would write.
    pub(super) fn place(&mut self, name: &str, code: &'static [u8]) -> Address {
        let address = Address::from_word(keccak256(name));
        self.chain.place(address, code.into());
        address
    }

    /// One transaction; the gas of its receipt.
    #[track_caller]
    pub(super) fn gas<C: SolCall>(&mut self, by: &Actor, to: Address, call: &C) -> u64 {
        let result = self.transact(by, TxKind::Call(to), call.abi_encode().into(), NoOpInspector);
        match &result {
            Execution::Success { .. } => result.tx_gas_used(),
            Execution::Revert { output, .. } => panic!("{}: {}", C::SIGNATURE, ContractRevert::decode(output)),
            Execution::Halt { reason, .. } => panic!("{} halted the EVM: {reason:?}", C::SIGNATURE),
        }
    }

    /// One transaction with everything that a transaction may use, watched while it runs.
    pub(super) fn transact<I>(&mut self, by: &Actor, to: TxKind, data: Bytes, inspector: I) -> Execution
    where
        I: for<'a> Inspector<Surroundings<'a>>,
    {
        self.chain.warp(BLOCK_S);
        let from = by.address();
        let result = self.chain.transact_with(from, to, data.clone(), inspector);
        self.history.push(Step::Transaction { from, to, data, gas: result.tx_gas_used() });
        result
    }

    /// What a view says.
    pub(super) fn view<C: SolCall>(&self, of: Address, call: &C) -> C::Return {
        let result = self.chain.clone().simulate(Address::ZERO, of, call.abi_encode().into());
        C::abi_decode_returns(result.output().unwrap()).unwrap()
    }

    /// Lets time go by.
    pub(super) fn wait(&mut self, seconds: u64) {
        self.chain.warp(seconds);
        self.history.push(Step::Wait(seconds));
    }

    pub(super) fn escrow_domain(&self) -> Eip712Domain {
        escrow_domain(CHAIN_ID, self.escrow.address)
    }

    pub(super) fn routing_domain(&self) -> Eip712Domain {
        routing_domain(CHAIN_ID, self.routing.address)
    }

    pub(super) fn token_domain(&self) -> Eip712Domain {
        token_domain(CHAIN_ID, self.token.address)
    }
}

/// What people do before anything is measured.
impl Bench {
    /// Gives `who` plenty of the reserve asset, which the token may take.
    pub(super) fn give_reserve(&mut self, who: &Actor) {
        let (reserve, spender) = (self.reserve, self.token.address);
        self.gas(who, reserve, &TestReserve::mintCall { account: who.address(), amount: u256(PLENTY) });
        self.gas(who, reserve, &SettlementToken::approveCall { spender, value: U256::MAX });
    }

    /// Gives `who` plenty of tokens.
    pub(super) fn give_tokens(&mut self, who: &Actor) {
        self.give_reserve(who);
        self.gas(who, self.token.address, &wrap(who.address(), PLENTY));
    }

    /// Gives `who` plenty of tokens, which the escrow may take.
    pub(super) fn endow(&mut self, who: &Actor) {
        self.give_tokens(who);
        let approve = SettlementToken::approveCall { spender: self.escrow.address, value: U256::MAX };
        self.gas(who, self.token.address, &approve);
    }

    /// Fills the lanes from `payers` to `payee`, with the money of `by`.
    pub(super) fn prepay(&mut self, by: &Actor, payers: &[Address], payee: Address) {
        for payers in payers.chunks(400) {
            self.gas(by, self.escrow.address, &deposit_many(payers, payee));
        }
    }

    /// A batch of vouchers from each of `payers` to `payee`.
    pub(super) fn rows(&self, payers: &[Actor], payee: Address, cumulative: u128) -> Bytes {
        let domain = self.escrow_domain();
        let voucher =
            |payer: &Actor| SignedVoucher::sign(payer.address(), payee, units(cumulative), &domain, &payer.signer);
        row::pack(&payers.iter().map(voucher).collect::<Vec<_>>())
    }

    /// The nonce of what `signer` signs next for others to carry.
    pub(super) fn nonce(&self, signer: &Actor) -> U256 {
        self.view(self.escrow.address, &PrepaymentEscrow::noncesCall { signer: signer.address() })
    }
}

/// So many people of one kind.
pub(super) fn people(kind: &str, count: usize) -> Vec<Actor> {
    (0..count).map(|number| Actor::named(&format!("{kind} {number}"))).collect()
}

pub(super) fn addresses(people: &[Actor]) -> Vec<Address> {
    people.iter().map(Actor::address).collect()
}

/// [`LANE`] into each lane to `payee`.
pub(super) fn deposit_many(payers: &[Address], payee: Address) -> PrepaymentEscrow::depositManyCall {
    let deposit = |&payer: &Address| IPrepaymentEscrow::Deposit { payer, payee, amount: u96(LANE) };
    PrepaymentEscrow::depositManyCall { deposits: payers.iter().map(deposit).collect() }
}
