//! What pays: vouchers, and charges of standing mandates.

use std::iter;
use std::slice;

use alloy::primitives::Address;
use alloy::sol_types::SolValue;
use minus_bindings::{IPrepaymentEscrow, Mandate, MandateRevocation, PrepaymentEscrow, SignedCharge, Voucher, row};
use minus_tests::evm::{Actor, units};

use super::bench::{Bench, VALID_UNTIL, addresses, people};
use super::cost::{AMOUNT, Cost, TOTALS, signed, twice};
use crate::calls::{DAY_S, OPEN, revoke_mandate, set_mandate, u96};

/// Of vouchers. The first use is the payee's first payment ever: its open balance begins, 17,100 above a later one.
pub(super) fn of_claims(bench: &mut Bench) -> Vec<Cost> {
    let (escrow, anyone, funder) = (bench.escrow.address, Actor::named("anyone"), Actor::named("funder"));
    let customers = people("customer", 100);
    bench.endow(&funder);
    let mut costs = vec![];
    for count in [1, 10, 100] {
        let (payers, payee) = (&customers[..count], Actor::named(&format!("agent of {count}")).address());
        bench.prepay(&funder, &addresses(payers), payee);
        costs.push(twice(bench, format!("claim of {count}"), &anyone, escrow, |bench, nth| {
            PrepaymentEscrow::claimCall { payee, rows: bench.rows(payers, payee, TOTALS[nth]) }
        }));
    }

    let bonded = Actor::named("agent with a bond").address();
    bench.prepay(&funder, &[bonded], OPEN);
    bench.prepay(&funder, &addresses(&customers[..1]), bonded);
    costs.push(twice(bench, "claim of 1, to a payee with an open balance", &anyone, escrow, |bench, nth| {
        PrepaymentEscrow::claimCall { payee: bonded, rows: bench.rows(&customers[..1], bonded, TOTALS[nth]) }
    }));

    let (agent, relays) = (Actor::named("agent with relays"), people("relay", 3));
    bench.prepay(&funder, &addresses(&customers[..10]), agent.address());
    costs.push(twice(bench, "settle of 10, then 3 relays", &anyone, escrow, |bench, nth| {
        settle(bench, &customers[..10], &agent, &relays, TOTALS[nth])
    }));

    for count in [1, 10] {
        let payee = Actor::named(&format!("agent of {count} wallets")).address();
        let wallets: Vec<Address> = customers[..count]
            .iter()
            .map(|owner| bench.create("Wallet", &owner.address().abi_encode()))
            .map(|created| created.address)
            .collect();
        bench.prepay(&funder, &wallets, payee);
        costs.push(twice(bench, format!("claimFromContracts of {count}"), &anyone, escrow, |bench, nth| {
            let voucher = |(owner, &payer): (&Actor, &Address)| {
                let cumulative = u96(TOTALS[nth]);
                let message = Voucher { payer, payee, cumulative };
                let signature = signed(owner, &message, &bench.escrow_domain());
                IPrepaymentEscrow::ContractVoucher { payer, cumulative, signature }
            };
            let vouchers = customers.iter().zip(&wallets).map(voucher).collect();
            PrepaymentEscrow::claimFromContractsCall { payee, vouchers }
        }));
    }
    costs
}

/// An agent's customers' vouchers, then the agent's own to its relays, a tenth each.
pub(super) fn settle(
    bench: &Bench,
    customers: &[Actor],
    agent: &Actor,
    relays: &[Actor],
    cumulative: u128,
) -> PrepaymentEscrow::settleCall {
    let own = |relay: &Actor| IPrepaymentEscrow::Batch {
        payee: relay.address(),
        rows: bench.rows(slice::from_ref(agent), relay.address(), cumulative / 10),
    };
    let earned =
        IPrepaymentEscrow::Batch { payee: agent.address(), rows: bench.rows(customers, agent.address(), cumulative) };
    PrepaymentEscrow::settleCall { batches: iter::once(earned).chain(relays.iter().map(own)).collect() }
}

/// Of mandates.
pub(super) fn of_mandates(bench: &mut Bench) -> Vec<Cost> {
    let escrow = bench.escrow.address;
    let [payer, other, agent, anyone, carrier, funder] =
        ["mandator", "other mandator", "agent", "anyone", "carrier", "funder of charges"].map(Actor::named);
    let payee = agent.address();
    bench.endow(&funder);
    let raised = |nth: usize| [AMOUNT, 2 * AMOUNT][nth];
    let mut costs = vec![
        twice(bench, "setMandate, then raised", &payer, escrow, |_, nth| {
            set_mandate(payee, raised(nth), raised(nth), VALID_UNTIL)
        }),
        twice(bench, "setMandateBySignature, then raised", &carrier, escrow, |bench, nth| {
            let mandate = Mandate {
                payer: other.address(),
                payee,
                dailyCap: u96(raised(nth)),
                accrualCap: u96(raised(nth)),
                nonce: bench.nonce(&other),
                validUntil: VALID_UNTIL,
            };
            PrepaymentEscrow::setMandateBySignatureCall {
                payer: mandate.payer,
                payee,
                dailyCap: mandate.dailyCap,
                accrualCap: mandate.accrualCap,
                validUntil: VALID_UNTIL,
                signature: signed(&other, &mandate, &bench.escrow_domain()),
            }
        }),
        twice(bench, "revokeMandate", &payer, escrow, |_, _| revoke_mandate(payee)),
        twice(bench, "revokeMandateBySignature", &carrier, escrow, |bench, _| {
            let (payer, nonce) = (other.address(), bench.nonce(&other));
            let revocation = MandateRevocation { payer, payee, nonce, validUntil: VALID_UNTIL };
            let signature = signed(&other, &revocation, &bench.escrow_domain());
            PrepaymentEscrow::revokeMandateBySignatureCall { payer, payee, validUntil: VALID_UNTIL, signature }
        }),
    ];
    for count in [1, 10] {
        let (payers, agent) =
            (people(&format!("sleeper of {count},"), count), Actor::named(&format!("waker of {count}")));
        prepare_charges(bench, &funder, &payers, agent.address());
        costs.push(twice(bench, format!("charge of {count}"), &anyone, escrow, |bench, nth| {
            charge(bench, &payers, &agent, TOTALS[nth])
        }));
    }
    costs
}

/// Lets `payers` prepay and give mandates, and lets these fill up.
pub(super) fn prepare_charges(bench: &mut Bench, funder: &Actor, payers: &[Actor], payee: Address) {
    bench.prepay(funder, &addresses(payers), payee);
    for payer in payers {
        bench.gas(payer, bench.escrow.address, &set_mandate(payee, AMOUNT, AMOUNT, VALID_UNTIL));
    }
    bench.wait(2 * DAY_S);
}

pub(super) fn charge(bench: &Bench, payers: &[Actor], payee: &Actor, cumulative: u128) -> PrepaymentEscrow::chargeCall {
    let domain = bench.escrow_domain();
    let charge =
        |payer: &Actor| SignedCharge::sign(payer.address(), payee.address(), units(cumulative), &domain, &payee.signer);
    let charges: Vec<_> = payers.iter().map(charge).collect();
    PrepaymentEscrow::chargeCall { payee: payee.address(), rows: row::pack(&charges) }
}
