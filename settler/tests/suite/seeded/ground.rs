//! One chain for several runs: lanes, notices, revocations and mandates are made before a block that no reorganisation
//! reaches, then the clock goes on to half a day before the notices end, and the weather begins.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy::primitives::Address;
use alloy::providers::DynProvider;
use alloy::signers::local::PrivateKeySigner;
use futures_util::future::join_all;
use minus_bindings::{Amount, IPrepaymentEscrow, PrepaymentEscrow};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::purse::{Kind, Purse};
use crate::world::{COIN, World};

const WEEK: u64 = 7 * 86_400;
/// The deepest reorganisation.
const DEPTH_MAX: u64 = 32;
/// The storm begins so long before the notices end: within every settler's margin.
const STORM_S: u64 = 11 * 3_600;
/// The clock stops so long before they end: what is not paid by then has missed its notice.
const LAST_S: u64 = 1_800;
/// From block to block in calm weather: pauses after failures end, margins are not overrun.
const CALM_BLOCK_S: u64 = 60;
/// One gwei.
const GWEI: u64 = 1_000_000_000;

/// The chain.
pub(super) struct Ground {
    pub(super) world: World,
    /// The block that stays.
    pub(super) base: u64,
    /// When the notices of all lanes under notice end.
    pub(super) notice_ends: u64,
    still: AtomicBool,
    calm: AtomicBool,
    over: AtomicBool,
}

impl Ground {
    pub(super) async fn prepare(purses: &[Purse]) -> Self {
        let world = World::new().await;
        fund(&world, purses).await;
        join_all(purses.iter().map(|purse| declare(&world, purse))).await;
        let notice_ends = world.anvil.time().await + WEEK - 60;
        world.anvil.automine(false).await;
        world.anvil.warp(WEEK - STORM_S).await;
        let base = world.anvil.head().await;
        world.anvil.mine(DEPTH_MAX).await;
        let no = || AtomicBool::new(false);
        Self { world, base, notice_ends, still: no(), calm: no(), over: no() }
    }

    /// No block comes or goes until it is calm: what the storm undid is seen before it is too deep.
    pub(super) fn still(&self) {
        self.still.store(true, Ordering::Relaxed);
    }

    /// Blocks come regularly from now on, and stay.
    pub(super) fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// No more blocks.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Makes the weather until told to end; how many reorganisations it made.
    pub(super) async fn weather(&self, seed: u64) -> u64 {
        let anvil = &self.world.anvil;
        let mut random = StdRng::seed_from_u64(seed);
        let mut reorganisations = 0;
        while !self.calm.load(Ordering::Relaxed) {
            if !self.still.load(Ordering::Relaxed) {
                reorganisations += u64::from(self.misfortune(&mut random).await);
            }
            tokio::time::sleep(Duration::from_millis(random.random_range(30..200))).await;
        }
        self.base_fee(GWEI).await;
        while !self.over.load(Ordering::Relaxed) {
            if anvil.time().await + CALM_BLOCK_S < self.notice_ends - LAST_S {
                anvil.warp(CALM_BLOCK_S).await;
            } else {
                anvil.mine(1).await;
            }
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
        reorganisations
    }

    /// One thing that happens to a chain; says whether it was a reorganisation.
    async fn misfortune(&self, random: &mut StdRng) -> bool {
        let anvil = &self.world.anvil;
        match random.random_range(0..100) {
            0..12 => {
                let usual = random.random_bool(0.7);
                let depth = random.random_range(1..=if usual { 4 } else { DEPTH_MAX });
                let room = anvil.head().await.saturating_sub(self.base);
                let depth = depth.min(room);
                if depth > 0 {
                    anvil.reorg(depth).await;
                    // Usually the other branch is the longer one.
                    if random.random_bool(0.8) {
                        anvil.mine(depth + 1).await;
                    }
                }
                return depth > 0;
            }
            12..17 => anvil.forget_waiting().await,
            17..22 => self.base_fee(GWEI * random.random_range(2..300)).await,
            22..29 => self.base_fee(GWEI).await,
            29..80 => anvil.warp(random.random_range(1..15)).await,
            _ => {}
        }
        false
    }

    async fn base_fee(&self, wei: u64) {
        self.world.anvil.request("anvil_setNextBlockBaseFeePerGas", json!([format!("{wei:#x}")])).await;
    }
}

/// What each kind of payer has.
async fn fund(world: &World, purses: &[Purse]) {
    let deposit = |payer: &PrivateKeySigner, payee: Address, units: u128| IPrepaymentEscrow::Deposit {
        payer: payer.address(),
        payee,
        amount: Amount::from_base_units(units).unwrap().to_u96(),
    };
    let mut deposits = Vec::new();
    for purse in purses {
        for key in &purse.gas_keys {
            world.anvil.give_gas(key.address(), 1_000 * COIN).await;
        }
        for lane in &purse.lanes {
            let (own, open) = lane.kind.funds();
            deposits.extend((own > 0).then(|| deposit(&lane.payer, purse.payee(), own)));
            deposits.extend((open > 0).then(|| deposit(&lane.payer, Address::ZERO, open)));
        }
    }
    let all: u128 = deposits.iter().map(|deposit| deposit.amount.to::<u128>()).sum();
    world.print(alloy::primitives::U256::from(all)).await;
    let many = world.escrow().depositMany(deposits).send().await.unwrap();
    assert!(many.get_receipt().await.unwrap().status());
}

/// What payers say to the escrow beforehand.
async fn declare(world: &World, purse: &Purse) {
    let payee = purse.payee();
    join_all(purse.lanes.iter().map(|lane| async move {
        if !matches!(lane.kind, Kind::Thawing | Kind::Revoked | Kind::Mandated) {
            return;
        }
        world.anvil.give_gas(lane.payer.address(), COIN).await;
        let escrow: PrepaymentEscrow::PrepaymentEscrowInstance<DynProvider> =
            PrepaymentEscrow::new(world.deployment.escrow, world.as_signer(&lane.payer));
        let token = Amount::from_base_units(1_000_000).unwrap();
        let receipts = match lane.kind {
            Kind::Thawing => {
                let all = Amount::from_base_units(lane.kind.funds().0).unwrap().to_u96();
                vec![escrow.thaw(payee, all).send().await.unwrap().get_receipt().await.unwrap()]
            }
            Kind::Revoked => {
                let delegate = lane.delegate.address();
                vec![
                    escrow.authorize(delegate).send().await.unwrap().get_receipt().await.unwrap(),
                    escrow.revoke(delegate).send().await.unwrap().get_receipt().await.unwrap(),
                ]
            }
            _ => {
                let cap = Amount::from_base_units(super::purse::CHARGED_MAX).unwrap();
                let set = escrow.setMandate(payee, token.to_u96(), cap.to_u96(), u64::MAX >> 1);
                vec![set.send().await.unwrap().get_receipt().await.unwrap()]
            }
        };
        assert!(receipts.iter().all(|receipt| receipt.status()), "{:?}", lane.kind);
    }))
    .await;
}
