//! The settlement token, and money's ways into the escrow and out of it.

use alloy::primitives::{Address, U256};
use minus_bindings::{DepositOrder, IPrepaymentEscrow, Permit, PrepaymentEscrow, SettlementToken, sign};
use minus_tests::evm::Actor;

use super::bench::{Bench, LANE, VALID_UNTIL, addresses, deposit_many, people};
use super::cost::{AMOUNT, Cost, signed, twice};
use crate::calls::{NOTICE_S, OPEN, deposit, thaw, u96, u256, unwrap, withdraw, wrap};

/// v, r and s of a permit.
fn permit_parts(bench: &Bench, by: &Actor, spender: Address, value: U256, nonce: usize) -> (u8, [u8; 32], [u8; 32]) {
    let permit =
        Permit { owner: by.address(), spender, value, nonce: U256::from(nonce), deadline: U256::from(VALID_UNTIL) };
    let signature = sign(&permit, &bench.token_domain(), &by.signer);
    (signature[64], signature[..32].try_into().unwrap(), signature[32..64].try_into().unwrap())
}

/// Of the settlement token.
pub(super) fn of_token(bench: &mut Bench) -> Vec<Cost> {
    let token = bench.token.address;
    let [holder, friend, empty, spender] = ["holder", "friend", "empty", "spender"].map(Actor::named);
    bench.give_reserve(&holder);
    let (to, spender) = (friend.address(), spender.address());
    vec![
        twice(bench, "depositFor", &holder, token, |_, _| wrap(holder.address(), 4 * AMOUNT)),
        twice(bench, "withdrawTo", &holder, token, |_, _| unwrap(empty.address(), AMOUNT)),
        twice(bench, "transfer", &holder, token, |_, _| SettlementToken::transferCall { to, value: u256(AMOUNT) }),
        twice(bench, "approve", &holder, token, |_, nth| SettlementToken::approveCall {
            spender: to,
            value: u256(AMOUNT) + U256::from(nth),
        }),
        twice(bench, "transferFrom", &friend, token, |_, _| SettlementToken::transferFromCall {
            from: holder.address(),
            to,
            value: u256(AMOUNT / 4),
        }),
        twice(bench, "permit", &friend, token, |bench, nth| {
            let value = u256(AMOUNT) + U256::from(nth);
            let (v, r, s) = permit_parts(bench, &holder, spender, value, nth);
            let deadline = U256::from(VALID_UNTIL);
            SettlementToken::permitCall {
                owner: holder.address(),
                spender,
                value,
                deadline,
                v,
                r: r.into(),
                s: s.into(),
            }
        }),
    ]
}

/// Of the ways into the escrow.
pub(super) fn of_deposits(bench: &mut Bench) -> Vec<Cost> {
    let escrow = bench.escrow.address;
    let [alice, bob, carol, dora, agent, carrier] =
        ["alice", "bob", "carol", "dora", "agent", "carrier"].map(Actor::named);
    bench.endow(&alice);
    bench.endow(&dora);
    bench.give_tokens(&bob);
    bench.give_tokens(&carol);
    let payee = agent.address();
    let mut costs = vec![
        twice(bench, "deposit", &alice, escrow, |_, _| deposit(alice.address(), payee, AMOUNT)),
        twice(bench, "depositWithPermit", &bob, escrow, |bench, nth| {
            let (v, r, s) = permit_parts(bench, &bob, escrow, u256(AMOUNT), nth);
            PrepaymentEscrow::depositWithPermitCall {
                payer: bob.address(),
                payee,
                amount: u96(AMOUNT),
                deadline: U256::from(VALID_UNTIL),
                v,
                r: r.into(),
                s: s.into(),
            }
        }),
        twice(bench, "depositBySignature, with a permit", &carrier, escrow, |bench, nth| {
            let order = IPrepaymentEscrow::DepositOrder {
                from: carol.address(),
                payer: carol.address(),
                payee,
                amount: u96(AMOUNT),
                validUntil: VALID_UNTIL,
            };
            let message = DepositOrder {
                from: order.from,
                payer: order.payer,
                payee,
                amount: order.amount,
                nonce: bench.nonce(&carol),
                validUntil: VALID_UNTIL,
            };
            let signature = signed(&carol, &message, &bench.escrow_domain());
            let (v, r, s) = permit_parts(bench, &carol, escrow, u256(AMOUNT), nth);
            let permit = IPrepaymentEscrow::PermitSignature { v, r: r.into(), s: s.into() };
            PrepaymentEscrow::depositBySignatureCall { order, signature, permit }
        }),
    ];
    for count in [1, 2, 10] {
        let payers = addresses(&people(&format!("friend of {count},"), count));
        let name = format!("depositMany of {count}");
        costs.push(twice(bench, name, &dora, escrow, |_, _| deposit_many(&payers, payee)));
    }
    costs
}

/// Of notices: a part is withdrawn first, then all that is left.
pub(super) fn of_notices(bench: &mut Bench) -> Vec<Cost> {
    let (escrow, payer, to) = (bench.escrow.address, Actor::named("leaver"), Actor::named("left").address());
    bench.endow(&payer);
    bench.prepay(&payer, &[payer.address()], OPEN);
    let amounts = [LANE / 2, LANE / 4];

    let thaws = twice(bench, "thaw, then replaced", &payer, escrow, |_, nth| thaw(OPEN, amounts[nth]));
    bench.wait(NOTICE_S);
    let first = bench.gas(&payer, escrow, &withdraw(OPEN, to));
    bench.gas(&payer, escrow, &thaw(OPEN, LANE - amounts[1]));
    bench.wait(NOTICE_S);
    let later = bench.gas(&payer, escrow, &withdraw(OPEN, to));
    vec![thaws, Cost::new("withdraw, then the rest", first, later)]
}
