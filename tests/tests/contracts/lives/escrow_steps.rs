//! What can happen to an escrow: single steps at random, and short plots that chance alone would hardly put in a row.

use proptest::prelude::*;

use super::escrow_model::Word;
use crate::calls::{DAY_S, NOTICE_S};

/// Steps, or plots, of one life. After each, the contract is asked some eighty questions.
const STEPS: std::ops::Range<usize> = 40..80;

/// Keys, so few that their paths cross all the time.
pub(super) const KEYS: usize = 3;

/// Behind the keys comes a wallet that is a contract: it signs for others to carry, and makes no transactions.
pub(super) const WALLET: usize = KEYS;

/// All who can have a lane; the next number is nobody.
pub(super) const PEOPLE: usize = WALLET + 1;

/// The size of what they do: small beside what they have, so that lanes run dry and tokens last a while.
const AMOUNT_MAX: u128 = 300;

/// A payer, who signs for it, and the running total.
pub(super) type Row = (usize, usize, u128);

/// What a signature is about.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Delegate { signer: usize, authorized: bool },
    Mandate { payee: usize, daily: u128, cap: u128 },
    Revocation { payee: usize },
    Order { payer: usize, payee: usize, amount: u128, with_permit: bool },
}

/// One step. People are numbers below [`PEOPLE`]; that number itself is nobody. Who acts is one of the [`KEYS`].
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Deposit {
        from: usize,
        payer: usize,
        payee: usize,
        amount: u128,
    },
    /// With a permit that holds, or one that has been used already.
    DepositWithPermit {
        from: usize,
        payer: usize,
        payee: usize,
        amount: u128,
        holds: bool,
    },
    DepositMany {
        from: usize,
        parts: Vec<(usize, usize, u128)>,
    },
    Approve {
        owner: usize,
        amount: u128,
    },
    Claim {
        payee: usize,
        rows: Vec<Row>,
    },
    Settle {
        batches: Vec<(usize, Vec<Row>)>,
    },
    ClaimFromContracts {
        payee: usize,
        rows: Vec<Row>,
    },
    Charge {
        payee: usize,
        rows: Vec<Row>,
    },
    Thaw {
        payer: usize,
        payee: usize,
        amount: u128,
    },
    /// To somebody, to nobody, or to the escrow, which is the number after nobody.
    Withdraw {
        payer: usize,
        payee: usize,
        to: usize,
    },
    SetDelegate {
        payer: usize,
        signer: usize,
        authorized: bool,
    },
    SetMandate {
        payer: usize,
        payee: usize,
        daily: u128,
        cap: u128,
        until: u64,
    },
    RevokeMandate {
        payer: usize,
        payee: usize,
    },
    VoidSignatures {
        by: usize,
    },
    /// `signer` signs for `whose`, for so many seconds, with the present nonce or the one after it.
    Sign {
        whose: usize,
        signer: usize,
        deed: Deed,
        seconds: u64,
        ahead: bool,
    },
    /// Hands in one of what was signed so far, counted from the last; it may have been handed in before.
    Carry {
        back: usize,
    },
    /// Hands in the permit of such a one alone, to the token.
    CarryPermit {
        back: usize,
    },
    Tell {
        word: Word,
    },
    Warp {
        seconds: u64,
    },
}

fn key() -> std::ops::Range<usize> {
    0..KEYS
}

fn person() -> std::ops::Range<usize> {
    0..PEOPLE
}

fn anyone() -> std::ops::RangeInclusive<usize> {
    0..=PEOPLE
}

fn amount() -> impl Strategy<Value = u128> {
    prop_oneof![1 => Just(0), 12 => 1..=AMOUNT_MAX]
}

/// Who signs for this one: mostly itself, or the wallet's owner.
fn signer_of(whose: usize) -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(if whose < KEYS { whose } else { 0 }), 1 => key()]
}

fn rows_of(payers: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<Row>> {
    let row = (payers, 0..=3 * AMOUNT_MAX)
        .prop_flat_map(|(payer, cumulative)| (Just(payer), signer_of(payer), Just(cumulative)));
    prop_oneof![1 => Just(vec![]), 30 => prop::collection::vec(row, 1..5)]
}

/// Rows that the payee signs.
fn charges() -> impl Strategy<Value = (usize, Vec<Row>)> {
    anyone().prop_flat_map(|payee| {
        let row = (anyone(), signer_of(payee), 0..=3 * AMOUNT_MAX);
        let rows = prop_oneof![1 => Just(vec![]), 30 => prop::collection::vec(row, 1..5)];
        (Just(payee), rows)
    })
}

fn seconds() -> impl Strategy<Value = u64> {
    prop_oneof![Just(1), Just(NOTICE_S - 1), Just(NOTICE_S), 0..DAY_S, 0..2 * NOTICE_S]
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => (anyone(), any::<bool>()).prop_map(|(signer, authorized)| Deed::Delegate { signer, authorized }),
        3 => (anyone(), amount(), amount()).prop_map(|(payee, daily, cap)| Deed::Mandate { payee, daily, cap }),
        1 => anyone().prop_map(|payee| Deed::Revocation { payee }),
        4 => (person(), anyone(), amount(), any::<bool>())
            .prop_map(|(payer, payee, amount, with_permit)| Deed::Order { payer, payee, amount, with_permit }),
    ]
}

fn signings() -> impl Strategy<Value = Operation> {
    let whose = prop_oneof![20 => person(), 1 => Just(PEOPLE)];
    let ahead = prop::bool::weighted(0.1);
    (whose.prop_flat_map(|whose| (Just(whose), signer_of(whose))), deeds(), 0..2 * NOTICE_S, ahead)
        .prop_map(|((whose, signer), deed, seconds, ahead)| Operation::Sign { whose, signer, deed, seconds, ahead })
}

fn money() -> impl Strategy<Value = Operation> {
    let part = (person(), anyone(), amount());
    let some = prop_oneof![1 => Just(vec![]), 12 => prop::collection::vec(part, 1..4)];
    prop_oneof![
        4 => (key(), anyone(), anyone(), amount())
            .prop_map(|(from, payer, payee, amount)| Operation::Deposit { from, payer, payee, amount }),
        1 => (key(), person(), anyone(), amount(), any::<bool>()).prop_map(|(from, payer, payee, amount, holds)| {
            Operation::DepositWithPermit { from, payer, payee, amount, holds }
        }),
        1 => (key(), some).prop_map(|(from, parts)| Operation::DepositMany { from, parts }),
        3 => (key(), 0..20 * AMOUNT_MAX).prop_map(|(owner, amount)| Operation::Approve { owner, amount }),
        3 => (key(), anyone(), 0..=AMOUNT_MAX / 4)
            .prop_map(|(payer, payee, amount)| Operation::Thaw { payer, payee, amount }),
        3 => (key(), anyone(), 0..=PEOPLE + 1)
            .prop_map(|(payer, payee, to)| Operation::Withdraw { payer, payee, to }),
    ]
}

fn batches() -> impl Strategy<Value = Operation> {
    let batch = || (anyone(), rows_of(anyone()));
    let wallets = prop_oneof![4 => Just(WALLET), 1 => anyone()];
    prop_oneof![
        4 => batch().prop_map(|(payee, rows)| Operation::Claim { payee, rows }),
        1 => prop::collection::vec(batch(), 0..4).prop_map(|batches| Operation::Settle { batches }),
        2 => (anyone(), rows_of(wallets)).prop_map(|(payee, rows)| Operation::ClaimFromContracts { payee, rows }),
        3 => charges().prop_map(|(payee, rows)| Operation::Charge { payee, rows }),
    ]
}

fn words() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => (key(), anyone(), any::<bool>())
            .prop_map(|(payer, signer, authorized)| Operation::SetDelegate { payer, signer, authorized }),
        3 => (key(), anyone(), amount(), amount(), prop_oneof![Just(0), 1..5 * NOTICE_S]).prop_map(
            |(payer, payee, daily, cap, until)| Operation::SetMandate { payer, payee, daily, cap, until }
        ),
        1 => (key(), person()).prop_map(|(payer, payee)| Operation::RevokeMandate { payer, payee }),
        1 => key().prop_map(|by| Operation::VoidSignatures { by }),
        5 => signings(),
        5 => (0..4_usize).prop_map(|back| Operation::Carry { back }),
        1 => (0..4_usize).prop_map(|back| Operation::CarryPermit { back }),
        1 => prop_oneof![3 => Just(Word::OwnersSignature), 1 => Just(Word::Yes), 1 => Just(Word::No)]
            .prop_map(|word| Operation::Tell { word }),
    ]
}

fn single() -> impl Strategy<Value = Vec<Operation>> {
    let time = seconds().prop_map(|seconds| Operation::Warp { seconds });
    prop_oneof![8 => money(), 8 => batches(), 10 => words(), 3 => time].prop_map(|operation| vec![operation])
}

/// A notice kept to the second, or missed by one.
fn notices() -> impl Strategy<Value = Vec<Operation>> {
    let seconds = prop_oneof![Just(NOTICE_S - 1), Just(NOTICE_S)];
    (key(), anyone(), 1..=AMOUNT_MAX / 4, seconds, 0..=PEOPLE).prop_map(|(payer, payee, amount, seconds, to)| {
        vec![
            Operation::Thaw { payer, payee, amount },
            Operation::Warp { seconds },
            Operation::Withdraw { payer, payee, to },
        ]
    })
}

/// Something signed, carried, and carried again.
fn errands() -> impl Strategy<Value = Vec<Operation>> {
    let permit_first = prop::bool::weighted(0.2);
    (signings(), permit_first).prop_map(|(signing, permit_first)| {
        let mut errand = vec![signing];
        if permit_first {
            errand.push(Operation::CarryPermit { back: 0 });
        }
        errand.extend([Operation::Carry { back: 0 }, Operation::Carry { back: 0 }]);
        errand
    })
}

/// A mandate, some time, and a charge of it; perhaps raised or revoked in between.
fn services() -> impl Strategy<Value = Vec<Operation>> {
    let terms = (key(), key(), 1..=AMOUNT_MAX, 1..=AMOUNT_MAX, DAY_S..4 * NOTICE_S);
    let change = prop_oneof![Just(None), Just(Some(true)), Just(Some(false))];
    (terms, change, 0..2 * DAY_S, 1..=3 * AMOUNT_MAX).prop_map(|(terms, change, seconds, cumulative)| {
        let (payer, payee, daily, cap, until) = terms;
        let mut service = vec![Operation::SetMandate { payer, payee, daily, cap, until }, Operation::Warp { seconds }];
        service.extend(change.map(|raised| match raised {
            true => Operation::SetMandate { payer, payee, daily: daily + 1, cap: 2 * cap, until },
            false => Operation::RevokeMandate { payer, payee },
        }));
        service.extend([
            Operation::Charge { payee, rows: vec![(payer, payee, cumulative), (payer, payee, cumulative + 1)] },
            Operation::Warp { seconds },
            Operation::Charge { payee, rows: vec![(payer, payee, cumulative)] },
        ]);
        service
    })
}

/// Whole lives of an escrow.
pub(super) fn lives() -> impl Strategy<Value = Vec<Operation>> {
    let steps = prop_oneof![20 => single(), 1 => notices(), 2 => errands(), 1 => services()];
    prop::collection::vec(steps, STEPS).prop_map(|steps| steps.concat())
}
