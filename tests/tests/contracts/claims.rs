//! Vouchers become money: the difference, once, from the lane first, row by row (laws 2, 3 and 5).

use alloy::primitives::{Address, Bytes, U256, uint};
use minus_bindings::typed::escrow_domain;
use minus_bindings::{PrepaymentEscrow, RowResult, SignatureError, SignedVoucher};
use minus_tests::evm::{Actor, CHAIN_ID, Contract, World, assert_refused, units};

use crate::calls::{OPEN, authorize, u256};

const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

/// Alice is a customer of the operator Olga with 100 prepaid; anyone submits.
fn prepaid() -> (World, Actor, Actor, Actor) {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    world.prepay(&alice, olga.address(), 100);
    (world, alice, olga, Actor::named("anyone"))
}

/// Claims one voucher to olga and demands that it pays nothing and moves nothing.
#[track_caller]
fn assert_pays_nothing(world: &mut World, voucher: SignedVoucher, expected: RowResult) {
    let lane = world.lane(voucher.payer, voucher.payee);
    let open = world.open_balance(voucher.payee);
    let claim = world.claim(&Actor::named("anyone"), voucher.payee, &[voucher]).unwrap();
    assert_eq!((claim.results.as_slice(), claim.total, claim.payments.len()), (&[expected][..], units(0), 0));
    assert_eq!(world.lane(voucher.payer, voucher.payee), lane);
    assert_eq!(world.open_balance(voucher.payee), open);
}

#[test]
fn refuses_no_payee() {
    let (mut world, .., anyone) = prepaid();
    let rows = Bytes::from(vec![0; 96]);
    assert_refused(world.claim_rows(&anyone, OPEN, rows), &PrepaymentEscrow::BadPayee { payee: OPEN });
}

#[test]
fn refuses_rows_that_are_not_whole() {
    let (mut world, _, olga, anyone) = prepaid();
    for length in [0, 1, 95, 97, 191] {
        assert_refused(
            world.claim_rows(&anyone, olga.address(), vec![0; length].into()),
            &PrepaymentEscrow::MalformedRows { length: u256(length.try_into().unwrap()) },
        );
    }
}

#[test]
fn refuses_a_row_of_nobody_or_of_the_payee() {
    let (mut world, alice, olga, _) = prepaid();
    world.prepay(&olga, OPEN, 50);
    let of_nobody = SignedVoucher { payer: Address::ZERO, ..world.voucher(&alice, olga.address(), 5) };
    assert_pays_nothing(&mut world, of_nobody, RowResult::BadPayer);
    let to_oneself = world.voucher(&olga, olga.address(), 5);
    assert_pays_nothing(&mut world, to_oneself, RowResult::BadPayer);
}

#[test]
fn refuses_a_strangers_signature() {
    let (mut world, alice, olga, _) = prepaid();
    let mallory = Actor::named("mallory");
    let forged =
        SignedVoucher::sign(alice.address(), olga.address(), units(5), &world.escrow_domain(), &mallory.signer);
    assert_pays_nothing(&mut world, forged, RowResult::BadSignature);
}

#[test]
fn refuses_an_altered_voucher() {
    let (mut world, alice, olga, _) = prepaid();
    let voucher = world.voucher(&alice, olga.address(), 5);
    assert_pays_nothing(&mut world, SignedVoucher { cumulative: units(6), ..voucher }, RowResult::BadSignature);
    let mallory = Actor::named("mallory").address();
    assert_pays_nothing(&mut world, SignedVoucher { payee: mallory, ..voucher }, RowResult::BadSignature);
    assert_pays_nothing(&mut world, SignedVoucher { payer: mallory, ..voucher }, RowResult::BadSignature);
}

#[test]
fn refuses_a_voucher_of_another_chain_or_escrow() {
    let (mut world, alice, olga, _) = prepaid();
    let escrow = world.address(Contract::Escrow);
    for domain in
        [escrow_domain(CHAIN_ID + 1, escrow), escrow_domain(CHAIN_ID, Address::repeat_byte(7)), world.routing_domain()]
    {
        let voucher = SignedVoucher::sign(alice.address(), olga.address(), units(5), &domain, &alice.signer);
        assert_pays_nothing(&mut world, voucher, RowResult::BadSignature);
    }
}

/// Of two signatures that say the same, exactly the one with the lower s is taken. A row has no room for an s of 2^255,
/// so all that is between the half of the order and there is a sliver, whose lowest member is tried here.
#[test]
fn refuses_a_malleable_signature() {
    let (mut world, alice, olga, _) = prepaid();
    let half: U256 = ORDER >> 1;
    let mut voucher = world.voucher(&alice, olga.address(), 30);
    // Nobody knows whose key would sign with this s, but its address follows; alice makes it a delegate.
    voucher.signature[32..64].copy_from_slice(&half.to_be_bytes::<32>());
    let signer = voucher.signer(&world.escrow_domain()).unwrap();
    world.call(&alice, Contract::Escrow, authorize(signer)).unwrap();

    let mut mirrored = voucher;
    mirrored.signature[32..64].copy_from_slice(&(ORDER - half).to_be_bytes::<32>());
    mirrored.signature[64] = 55 - voucher.signature[64];
    assert_eq!(mirrored.signer(&world.escrow_domain()), Err(SignatureError::HighS));
    assert_pays_nothing(&mut world, mirrored, RowResult::BadSignature);

    let claim = world.claim(&olga, olga.address(), &[voucher]).unwrap();
    assert_eq!(claim.results, [RowResult::Paid]);
}

#[test]
fn claims_the_difference() {
    let (mut world, alice, olga, anyone) = prepaid();
    let first = world.voucher(&alice, olga.address(), 30);
    let claim = world.claim(&anyone, olga.address(), &[first]).unwrap();
    assert_eq!((claim.total, claim.results.as_slice()), (units(30), &[RowResult::Paid][..]));
    assert_eq!(claim.payments, [(alice.address(), units(30))]);
    assert_eq!(world.lane(alice.address(), olga.address()), (70, 30));
    assert_eq!(world.open_balance(olga.address()), (30, 0));

    let second = world.voucher(&alice, olga.address(), 45);
    let claim = world.claim(&anyone, olga.address(), &[second]).unwrap();
    assert_eq!((claim.total, claim.results.as_slice()), (units(15), &[RowResult::Paid][..]));
    assert_eq!(claim.payments, [(alice.address(), units(15))]);
    assert_eq!(world.lane(alice.address(), olga.address()), (55, 45));
    assert_eq!(world.open_balance(olga.address()), (45, 0));
    // Nothing but the book-keeping moved, and whoever submitted has nothing of it.
    assert_eq!(world.tokens(world.address(Contract::Escrow)), 100);
    assert_eq!((world.tokens(anyone.address()), world.open_balance(anyone.address())), (0, (0, 0)));
}

#[test]
fn pays_nothing_twice() {
    let (mut world, alice, olga, anyone) = prepaid();
    let (older, newer) = (world.voucher(&alice, olga.address(), 20), world.voucher(&alice, olga.address(), 30));
    let claim = world.claim(&anyone, olga.address(), &[newer, newer, older]).unwrap();
    assert_eq!(claim.results, [RowResult::Paid, RowResult::NothingNew, RowResult::NothingNew]);
    assert_eq!(claim.payments, [(alice.address(), units(30))]);

    assert_pays_nothing(&mut world, newer, RowResult::NothingNew);
    assert_pays_nothing(&mut world, older, RowResult::NothingNew);
    let nothing = world.voucher(&alice, olga.address(), 0);
    assert_pays_nothing(&mut world, nothing, RowResult::NothingNew);
    assert_eq!(world.lane(alice.address(), olga.address()), (70, 30));
}

#[test]
fn underfunded_pays_what_is_there_and_burns_no_entitlement() {
    let (mut world, alice, olga, anyone) = prepaid();
    let voucher = world.voucher(&alice, olga.address(), 130);
    let claim = world.claim(&anyone, olga.address(), &[voucher]).unwrap();
    assert_eq!((claim.total, claim.results.as_slice()), (units(100), &[RowResult::PartlyPaid][..]));
    assert_eq!(claim.payments, [(alice.address(), units(100))]);
    assert_eq!(world.lane(alice.address(), olga.address()), (0, 100));

    assert_pays_nothing(&mut world, voucher, RowResult::Unfunded);

    world.prepay(&alice, olga.address(), 50);
    let claim = world.claim(&anyone, olga.address(), &[voucher]).unwrap();
    assert_eq!((claim.total, claim.results.as_slice()), (units(30), &[RowResult::Paid][..]));
    assert_eq!(world.lane(alice.address(), olga.address()), (20, 130));
    assert_eq!(world.open_balance(olga.address()), (130, 0));
}

#[test]
fn the_open_balance_backs_every_lane_after_the_lane_itself() {
    let (mut world, alice, olga, anyone) = prepaid();
    let rita = Actor::named("rita");
    world.prepay(&alice, OPEN, 40);

    let to_olga = world.voucher(&alice, olga.address(), 110);
    let claim = world.claim(&anyone, olga.address(), &[to_olga]).unwrap();
    assert_eq!((claim.total, claim.results.as_slice()), (units(110), &[RowResult::Paid][..]));
    assert_eq!(world.lane(alice.address(), olga.address()), (0, 110));
    assert_eq!(world.open_balance(alice.address()), (30, 0));

    let to_rita = world.voucher(&alice, rita.address(), 31);
    let claim = world.claim(&anyone, rita.address(), &[to_rita]).unwrap();
    assert_eq!((claim.total, claim.results.as_slice()), (units(30), &[RowResult::PartlyPaid][..]));
    assert_eq!(world.lane(alice.address(), rita.address()), (0, 30));
    assert_eq!(world.open_balance(alice.address()), (0, 0));
    assert_eq!(world.open_balance(rita.address()), (30, 0));
}

#[test]
fn earnings_back_the_payees_own_vouchers_at_once() {
    let (mut world, alice, olga, anyone) = prepaid();
    let rita = Actor::named("rita");
    let (from_alice, to_rita) = (world.voucher(&alice, olga.address(), 60), world.voucher(&olga, rita.address(), 25));
    assert_pays_nothing(&mut world, to_rita, RowResult::Unfunded);

    world.claim(&anyone, olga.address(), &[from_alice]).unwrap();
    let claim = world.claim(&anyone, rita.address(), &[to_rita]).unwrap();

    assert_eq!((claim.total, claim.results.as_slice()), (units(25), &[RowResult::Paid][..]));
    assert_eq!(world.open_balance(olga.address()), (35, 0));
    assert_eq!(world.open_balance(rita.address()), (25, 0));
    assert_eq!(world.tokens(world.address(Contract::Escrow)), 100);
}

#[test]
fn a_bad_row_stops_no_good_one() {
    let (mut world, alice, olga, anyone) = prepaid();
    let (bob, carol, mallory) = (Actor::named("bob"), Actor::named("carol"), Actor::named("mallory"));
    world.prepay(&bob, olga.address(), 10);
    let domain = world.escrow_domain();
    let rows = [
        SignedVoucher { payer: Address::ZERO, ..world.voucher(&alice, olga.address(), 1) },
        world.voucher(&alice, olga.address(), 40),
        SignedVoucher::sign(bob.address(), olga.address(), units(10), &domain, &mallory.signer),
        world.voucher(&alice, olga.address(), 40),
        world.voucher(&carol, olga.address(), 7),
        world.voucher(&bob, olga.address(), 12),
        world.voucher(&alice, olga.address(), 41),
        SignedVoucher { signature: [0xff; 65], ..world.voucher(&alice, olga.address(), 50) },
    ];
    let claim = world.claim(&anyone, olga.address(), &rows).unwrap();
    assert_eq!(
        claim.results,
        [
            RowResult::BadPayer,
            RowResult::Paid,
            RowResult::BadSignature,
            RowResult::NothingNew,
            RowResult::Unfunded,
            RowResult::PartlyPaid,
            RowResult::Paid,
            RowResult::BadSignature,
        ]
    );
    assert_eq!(claim.payments, [(alice.address(), units(40)), (bob.address(), units(10)), (alice.address(), units(1))]);
    assert_eq!(claim.total, units(51));
    assert_eq!(world.open_balance(olga.address()), (51, 0));
    assert_eq!(world.lane(carol.address(), olga.address()), (0, 0));
}

#[test]
fn a_voucher_up_to_the_widest_number_is_paid() {
    let mut world = World::new();
    let (alice, olga) = (Actor::named("alice"), Actor::named("olga"));
    let most = (1_u128 << 96) - 1;
    world.prepay(&alice, olga.address(), most);
    let voucher = world.voucher(&alice, olga.address(), most);
    let claim = world.claim(&alice, olga.address(), &[voucher]).unwrap();
    assert_eq!((claim.total, claim.results.as_slice()), (units(most), &[RowResult::Paid][..]));
    assert_eq!(world.lane(alice.address(), olga.address()), (0, most));
    assert_eq!(world.open_balance(olga.address()), (most, 0));
}
