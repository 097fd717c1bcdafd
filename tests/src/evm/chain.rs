//! The EVM: accounts in memory, a clock that moves when told to, and one full transaction at a time on Osaka's rules
//! and within mainnet's limits. Gas costs nothing here, but is counted.

use alloy::primitives::{Address, Bytes, TxKind, U256};
use revm::bytecode::Bytecode;
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, Output};
use revm::database::{CacheDB, EmptyDB};
use revm::handler::MainnetContext;
use revm::inspector::NoOpInspector;
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;
use revm::{Context, Database, ExecuteEvm, InspectCommitEvm, Inspector, MainBuilder, MainContext, MainnetEvm};

/// The chain id that everything here is signed for.
pub const CHAIN_ID: u64 = 31_337;

/// When a new chain starts: an arbitrary moment of 2027.
const GENESIS_TIMESTAMP: u64 = 1_800_000_000;

/// What a transaction may use, and every transaction here offers: no mainnet block takes one with more (EIP-7825).
pub const TRANSACTION_GAS_MAX: u64 = 16_777_216;

/// What a block may use: that of mainnet, and more than a transaction.
const BLOCK_GAS_MAX: u64 = 60_000_000;

/// What a transaction sees of the chain.
pub type Surroundings<'a> = MainnetContext<&'a mut CacheDB<EmptyDB>>;

/// An EVM with its state. A clone is a fork.
#[derive(Clone, Debug)]
pub struct Chain {
    accounts: CacheDB<EmptyDB>,
    timestamp: u64,
    block: u64,
}

/// How a transaction ended.
pub type Execution = ExecutionResult;

impl Default for Chain {
    fn default() -> Self {
        Self { accounts: CacheDB::default(), timestamp: GENESIS_TIMESTAMP, block: 1 }
    }
}

impl Chain {
    /// Seconds since 1970, as contracts see them.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.timestamp
    }

    /// Moves the clock forward by so many seconds.
    pub fn warp(&mut self, seconds: u64) {
        self.timestamp += seconds;
    }

    /// Puts code where none is, of a contract that no compiler would write.
    pub fn place(&mut self, address: Address, code: Bytes) {
        self.accounts.insert_account_info(address, AccountInfo::from_bytecode(Bytecode::new_raw(code)));
    }

    /// Creates a contract with `code`, constructor arguments included.
    ///
    /// # Errors
    /// What its constructor refused with.
    ///
    /// # Panics
    /// When the EVM halted.
    pub fn create(&mut self, from: Address, code: Bytes) -> Result<Address, Bytes> {
        match self.transact(from, TxKind::Create, code) {
            Execution::Success { output: Output::Create(_, Some(address)), .. } => Ok(address),
            Execution::Revert { output, .. } => Err(output),
            other => panic!("the EVM halted: {other:?}"),
        }
    }

    /// One transaction in one block of its own.
    pub fn transact(&mut self, from: Address, to: TxKind, data: Bytes) -> Execution {
        self.transact_with(from, to, data, NoOpInspector)
    }

    /// The same, watched while it runs.
    pub fn transact_with<I>(&mut self, from: Address, to: TxKind, data: Bytes, inspector: I) -> Execution
    where
        I: for<'a> Inspector<Surroundings<'a>>,
    {
        self.block += 1;
        let transaction = self.transaction(from, to, data);
        self.evm(inspector).inspect_tx_commit(transaction).expect("a transaction without a price is valid")
    }

    /// What a transaction would give now, without any trace of it.
    pub fn simulate(&mut self, from: Address, to: Address, data: Bytes) -> Execution {
        let transaction = self.transaction(from, TxKind::Call(to), data);
        self.evm(NoOpInspector).transact(transaction).expect("a transaction without a price is valid").result
    }

    fn transaction(&mut self, from: Address, to: TxKind, data: Bytes) -> TxEnv {
        let account = self.accounts.basic(from).expect("memory is readable");
        TxEnv::builder()
            .caller(from)
            .kind(to)
            .data(data)
            .nonce(account.unwrap_or_default().nonce)
            .gas_limit(TRANSACTION_GAS_MAX)
            .gas_price(0)
            .chain_id(Some(CHAIN_ID))
            .build()
            .expect("a plain transaction is complete")
    }

    fn evm<I>(&mut self, inspector: I) -> MainnetEvm<Surroundings<'_>, I> {
        Context::mainnet()
            .with_db(&mut self.accounts)
            .modify_cfg_chained(|cfg| {
                cfg.set_spec_and_mainnet_gas_params(SpecId::OSAKA);
                cfg.chain_id = CHAIN_ID;
            })
            .modify_block_chained(|block| {
                block.number = U256::from(self.block);
                block.timestamp = U256::from(self.timestamp);
                block.gas_limit = BLOCK_GAS_MAX;
                block.basefee = 0;
            })
            .build_mainnet_with_inspector(inspector)
    }
}
