//! The largest batches that fit a transaction: so many rows pass, one more does not.

use alloy::primitives::{Address, TxKind, hex};
use alloy::sol_types::SolCall;
use minus_bindings::{IPrepaymentEscrow, PrepaymentEscrow, ROW_BYTES, SIGNATURE_BYTES};
use minus_tests::evm::{Actor, TRANSACTION_GAS_MAX};
use revm::inspector::NoOpInspector;

use super::bench::{Bench, FIRST_TOTAL, LATER_TOTAL, addresses, people};
use super::paying::{charge, prepare_charges, settle};
use crate::calls::{OPEN, u96};

/// More than any batch can have: vouchers, charges, wallets.
const ROWS: usize = 1_700;
const CHARGES: usize = 1_100;
const WALLETS: usize = 44;

/// A wallet that burns all the gas it is given but 512, then says yes:
/// `burn: jumpdest; jumpi(burn, lt(512, gas())); mstore(0, shl(224, 0x1626ba7e)); return(0, 32)`.
const WORST_WALLET: &[u8] = &hex!("5b5a610200105f57631626ba7e60e01b5f5260205ff3");

/// The largest batch of one kind.
#[derive(Debug)]
pub(super) struct Largest {
    pub(super) batch: &'static str,
    pub(super) rows: usize,
    /// Of the receipt.
    pub(super) gas: u64,
}

impl Largest {
    /// What is left of what a transaction may use.
    pub(super) fn margin(&self) -> u64 {
        TRANSACTION_GAS_MAX - self.gas
    }
}

/// What a transaction uses, if it fits.
fn gas<C: SolCall>(bench: &Bench, call: &C) -> Option<u64> {
    let to = TxKind::Call(bench.escrow.address);
    let result = bench.clone().transact(&Actor::named("anyone"), to, call.abi_encode().into(), NoOpInspector);
    result.is_success().then(|| result.tx_gas_used())
}

/// Looks for the largest batch below `limit` rows: first where it should be if all rows cost the same, then next to it.
fn largest<C: SolCall>(bench: &Bench, batch: &'static str, limit: usize, call: impl Fn(usize) -> C) -> Largest {
    let gas_of = |rows: usize| gas(bench, &call(rows));
    let [small, large] = [limit / 8, limit / 4].map(|rows| gas_of(rows).expect("a quarter of the limit fits"));
    let row = (large - small) / u64::try_from(limit / 4 - limit / 8).unwrap();
    let more = usize::try_from((TRANSACTION_GAS_MAX - large) / row).unwrap();

    let mut rows = (limit / 4 + more).min(limit);
    while gas_of(rows).is_none() {
        rows -= 1;
    }
    while rows < limit && gas_of(rows + 1).is_some() {
        rows += 1;
    }
    assert!(rows < limit, "{batch}: {limit} rows fit");
    Largest { batch, rows, gas: gas_of(rows).expect("it did before") }
}

/// All kinds. Every row pays, and every lane has paid before where nothing else is said.
pub(super) fn measure(bench: &Bench) -> Vec<Largest> {
    [of_claim, of_settle, of_charge, of_wallets, of_wallets_without_lanes].map(|of| of(bench.clone())).into()
}

fn of_claim(mut bench: Bench) -> Largest {
    let (payers, payee) = prepaid(&mut bench);
    let payee = payee.address();
    let rows = bench.rows(&payers, payee, LATER_TOTAL);
    largest(&bench, "claim", ROWS, |count| PrepaymentEscrow::claimCall { payee, rows: rows.slice(..count * ROW_BYTES) })
}

fn of_settle(mut bench: Bench) -> Largest {
    let (payers, agent) = prepaid(&mut bench);
    let relays = people("relay", 3);
    bench.gas(&agent, bench.escrow.address, &settle(&bench, &payers[..1], &agent, &relays, FIRST_TOTAL + 1));
    let whole = settle(&bench, &payers, &agent, &relays, LATER_TOTAL);
    largest(&bench, "settle, besides one row for each of 3 relays", ROWS, |count| {
        let mut call = whole.clone();
        call.batches[0].rows = call.batches[0].rows.slice(..count * ROW_BYTES);
        call
    })
}

fn of_charge(mut bench: Bench) -> Largest {
    let (payers, payee, funder) = (people("sleeper", CHARGES), Actor::named("waker"), Actor::named("funder"));
    bench.endow(&funder);
    prepare_charges(&mut bench, &funder, &payers, payee.address());
    for payers in payers.chunks(400) {
        bench.gas(&funder, bench.escrow.address, &charge(&bench, payers, &payee, FIRST_TOTAL));
    }
    let whole = charge(&bench, &payers, &payee, LATER_TOTAL);
    largest(&bench, "charge", CHARGES, |count| PrepaymentEscrow::chargeCall {
        rows: whole.rows.slice(..count * ROW_BYTES),
        ..whole.clone()
    })
}

/// As many wallets as never fit, and who they pay.
fn worst_wallets(bench: &mut Bench) -> (Vec<Address>, Address) {
    let wallets = (0..WALLETS).map(|number| bench.place(&format!("wallet {number}"), WORST_WALLET)).collect();
    bench.endow(&Actor::named("funder"));
    (wallets, Actor::named("payee").address())
}

fn from_wallets(wallets: &[Address], payee: Address, cumulative: u128) -> PrepaymentEscrow::claimFromContractsCall {
    let voucher = |&payer: &Address| IPrepaymentEscrow::ContractVoucher {
        payer,
        cumulative: u96(cumulative),
        signature: vec![0xff; SIGNATURE_BYTES].into(),
    };
    PrepaymentEscrow::claimFromContractsCall { payee, vouchers: wallets.iter().map(voucher).collect() }
}

/// Wallets that burn all they are given and then say yes, with a usual signature.
fn of_wallets(mut bench: Bench) -> Largest {
    let (wallets, payee) = worst_wallets(&mut bench);
    bench.prepay(&Actor::named("funder"), &wallets, payee);
    for wallets in wallets.chunks(20) {
        bench.gas(&Actor::named("anyone"), bench.escrow.address, &from_wallets(wallets, payee, FIRST_TOTAL));
    }
    largest(&bench, "claimFromContracts, every wallet burning its part", wallets.len(), |count| {
        from_wallets(&wallets[..count], payee, LATER_TOTAL)
    })
}

/// The same on lanes that are empty and have paid nothing: each row begins a slot and takes from an open balance.
fn of_wallets_without_lanes(mut bench: Bench) -> Largest {
    let (wallets, payee) = worst_wallets(&mut bench);
    bench.prepay(&Actor::named("funder"), &wallets, OPEN);
    largest(&bench, "claimFromContracts, the same out of open balances", wallets.len(), |count| {
        from_wallets(&wallets[..count], payee, LATER_TOTAL)
    })
}

/// Payers with lanes that have paid, and their payee.
fn prepaid(bench: &mut Bench) -> (Vec<Actor>, Actor) {
    let (payers, payee) = (people("payer", ROWS), Actor::named("payee"));
    bench.endow(&payee);
    bench.prepay(&payee, &addresses(&payers), payee.address());
    for payers in payers.chunks(400) {
        let rows = bench.rows(payers, payee.address(), FIRST_TOTAL);
        bench.gas(&payee, bench.escrow.address, &PrepaymentEscrow::claimCall { payee: payee.address(), rows });
    }
    (payers, payee)
}
