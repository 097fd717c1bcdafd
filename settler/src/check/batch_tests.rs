//! A batch answers as recovery does, one by one, whatever is in it.

#![expect(clippy::unwrap_used, reason = "tests")]

use alloy::primitives::{U256, uint};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::Eip712Domain;
use k256::ProjectivePoint;
use minus_bindings::{Amount, escrow_domain};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::*;

const PAYEE: Address = Address::repeat_byte(0xaa);
/// The order of the curve, and of its field.
const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
const FIELD: U256 = uint!(0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f_U256);

fn separator() -> Eip712Domain {
    escrow_domain(31_337, Address::repeat_byte(0xee))
}

struct Ground {
    random: StdRng,
    payers: Vec<PrivateKeySigner>,
    checker: Checker,
    total: u64,
}

impl Ground {
    /// So many payers, whose keys are known.
    fn new(seed: u64, payers: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let key = |_| {
            let mut bytes = [1; 32];
            random.fill_bytes(&mut bytes[1..]);
            PrivateKeySigner::from_slice(&bytes).unwrap()
        };
        let payers: Vec<_> = (0..payers).map(key).collect();
        let checker = Checker::new(vec![PAYEE], Domain::new(&separator()));
        let mut ground = Self { random, payers, checker, total: 0 };
        let first = ground.vouchers(ground.payers.len());
        let answers = ground.checker.vouchers(&first);
        assert!(
            answers.iter().all(|answer| answer.is_ok_and(|signed| signed.key.is_some())),
            "first all are recovered"
        );
        let signed: Vec<Signed> = answers.into_iter().map(Result::unwrap).collect();
        ground.checker.learn(first.iter().map(|voucher| voucher.payer).zip(&signed));
        ground
    }

    /// The payers' next ones in turn.
    fn vouchers(&mut self, count: usize) -> Vec<SignedVoucher> {
        (0..count)
            .map(|index| {
                self.total += 1;
                let payer = &self.payers[index % self.payers.len()];
                let total = Amount::from_base_units(self.total.into()).unwrap();
                SignedVoucher::sign(payer.address(), PAYEE, total, &separator(), payer)
            })
            .collect()
    }

    /// The answers, after they were compared with those of libsecp256k1 and of k256, one by one.
    fn answers(&self, vouchers: &[SignedVoucher]) -> Vec<Result<Signed, Refusal>> {
        let answers = self.checker.vouchers(vouchers);
        assert_eq!(answers.len(), vouchers.len());
        for (voucher, answer) in vouchers.iter().zip(&answers) {
            let signer = answer.map(|signed| signed.signer);
            let single = check_voucher(voucher, &self.checker.payees, &self.checker.domain);
            assert_eq!(signer, single.map(|signed| signed.signer), "{voucher:?}");
            let theirs = voucher.signer(&separator()).map_err(|_| Refusal::BadSignature);
            let judged =
                theirs.and_then(|signer| check_parties(voucher.payer, voucher.payee, &[PAYEE]).map(|()| signer));
            assert_eq!(signer, judged, "{voucher:?}");
        }
        answers
    }

    /// Spoils it in one of the known ways; some leave it as it was.
    fn spoil(&mut self, voucher: &mut SignedVoucher) {
        let word = |voucher: &SignedVoucher, at: usize| U256::from_be_slice(&voucher.signature[at..at + 32]);
        let set = |voucher: &mut SignedVoucher, at: usize, word: U256| {
            voucher.signature[at..at + 32].copy_from_slice(&word.to_be_bytes::<32>());
        };
        match self.random.random_range(0..16) {
            0 => voucher.signature[64] = 55 - voucher.signature[64],
            1 => voucher.signature[64] = self.random.random(),
            2 => {
                set(voucher, 32, ORDER - word(voucher, 32));
                voucher.signature[64] = 55 - voucher.signature[64];
            }
            3 => set(voucher, 0, U256::ZERO),
            4 => set(voucher, 32, U256::ZERO),
            5 => set(voucher, 0, ORDER + U256::from(self.random.random_range(0..3_u8))),
            6 => set(voucher, 0, word(voucher, 0).wrapping_add(ORDER)),
            7 => set(voucher, 0, FIELD - ORDER - U256::from(self.random.random_range(0..40_u8))),
            8 => set(voucher, 0, U256::from(self.random.random_range(0..40_u8))),
            9 => voucher.cumulative = voucher.cumulative.checked_add(Amount::from_base_units(1).unwrap()).unwrap(),
            10 => voucher.payee = Address::repeat_byte(1),
            11 => voucher.payer = PAYEE,
            12 => voucher.payer = self.payers[self.random.random_range(0..self.payers.len())].address(),
            13 => voucher.signature[self.random.random_range(0..64)] ^= 1 << self.random.random_range(0..8),
            14 => set(voucher, 32, U256::ONE),
            _ => {}
        }
    }
}

#[test]
fn good_vouchers_of_known_signers_are_not_recovered() {
    let mut ground = Ground::new(1, 50);
    for count in [BATCH_MIN, 50, 200] {
        let vouchers = ground.vouchers(count);
        assert!(ground.answers(&vouchers).iter().all(|answer| answer.unwrap().key.is_none()), "{count}");
    }
    let few = ground.vouchers(BATCH_MIN - 1);
    assert!(ground.answers(&few).iter().all(|answer| answer.unwrap().key.is_some()), "too few");
    let twice = [ground.vouchers(30), few.clone(), few].concat();
    assert!(ground.answers(&twice).iter().all(|answer| answer.unwrap().key.is_none()), "some of them twice");
}

#[test]
fn one_bad_voucher_stops_no_other() {
    let mut ground = Ground::new(2, 300);
    let mut vouchers = ground.vouchers(300);
    let bad = 130;
    vouchers[bad].cumulative = Amount::MAX;
    let answers = ground.answers(&vouchers);
    for (index, (voucher, answer)) in vouchers.iter().zip(answers).enumerate() {
        let signed = answer.unwrap();
        assert_eq!(signed.signer == voucher.payer, index != bad);
        assert_eq!(signed.key.is_some(), index / PART == bad / PART, "only its part is recovered");
    }
}

#[test]
fn answers_as_recovery_does_whatever_is_wrong() {
    let mut ground = Ground::new(3, 40);
    for round in 0..24 {
        let mut vouchers = ground.vouchers(96);
        // From one that is bad to all of them.
        let share = [1, 3, 12, 48, 96][round % 5];
        for _ in 0..share {
            let index = ground.random.random_range(0..vouchers.len());
            let mut voucher = vouchers[index];
            ground.spoil(&mut voucher);
            vouchers[index] = voucher;
        }
        if round % 3 == 0 {
            let (first, second) = (vouchers[1].signature, vouchers[2].signature);
            (vouchers[1].signature, vouchers[2].signature) = (second, first);
            vouchers[7] = vouchers[8];
        }
        ground.answers(&vouchers);
    }
}

/// A signature whose point's x is not r but r and the order: a plain verification takes it, the escrow recovers somebody
/// else. And one whose r is as small, but whose x is r: the escrow takes it.
#[test]
fn the_points_x_is_r_and_nothing_else() {
    let mut ground = Ground::new(4, 30);
    let payer = Address::repeat_byte(0x77);
    for (above, taken) in [(ORDER, false), (U256::ZERO, true)] {
        let (mut r, mut point) = (U256::ZERO, AffinePoint::IDENTITY);
        while point == AffinePoint::IDENTITY {
            r += U256::ONE;
            let x = FieldBytes::from((r + above).to_be_bytes::<32>());
            point = AffinePoint::decompress(&x, Choice::from(0)).into_option().unwrap_or(AffinePoint::IDENTITY);
        }
        let cumulative = Amount::from_base_units(9).unwrap();
        let mut voucher = SignedVoucher { payer, payee: PAYEE, cumulative, signature: [0; 65] };
        voucher.signature[..32].copy_from_slice(&r.to_be_bytes::<32>());
        voucher.signature[63] = 5;
        voucher.signature[64] = 27;
        // The key for which the equation holds with this point: P = (s · R - z · G) / r.
        let digest = ground.checker.domain.voucher_digest(&voucher);
        let z = <Scalar as Reduce<FieldBytes>>::reduce(&digest.0.into());
        let r = Scalar::from_repr(r.to_be_bytes::<32>().into()).unwrap();
        let key =
            (ProjectivePoint::from(point) * Scalar::from(5_u64) - ProjectivePoint::GENERATOR * z) * r.invert().unwrap();
        let key = key.to_affine();
        let uncompressed = [key.x(), key.y()].concat();
        let signer = Signer { address: Address::from_raw_public_key(&uncompressed), key };
        ground = Ground::new(5, 30);
        ground.checker.signers.lock().unwrap().learn(payer, signer);

        let mut vouchers = ground.vouchers(30);
        vouchers.push(voucher);
        let answers = ground.answers(&vouchers);
        assert_eq!(answers[30].unwrap().signer == signer.address, taken);
        assert_eq!(answers[30].unwrap().key.is_none(), taken);
        vouchers[30].signature[64] = 28;
        assert_ne!(ground.answers(&vouchers)[30].unwrap().signer, signer.address, "the other side is another's");
    }
}

/// Errors that add up to nothing: without the random numbers the sum would hold.
#[test]
fn errors_cannot_cancel() {
    let mut ground = Ground::new(6, 20);
    let vouchers = ground.vouchers(40);
    let equations = || ground.checker.equations(&vouchers);
    assert!(holds(&equations()));
    for _ in 0..20 {
        let mut spoilt = equations();
        let error = ProjectivePoint::GENERATOR * Scalar::from(ground.random.random::<u64>());
        spoilt[3].point = (ProjectivePoint::from(spoilt[3].point) + error).to_affine();
        spoilt[9].point = (ProjectivePoint::from(spoilt[9].point) - error).to_affine();
        let plain: ProjectivePoint = spoilt
            .iter()
            .zip(inverses(&spoilt))
            .map(|(it, inverse)| {
                ProjectivePoint::from(it.point)
                    - ProjectivePoint::GENERATOR * (inverse * it.digest)
                    - it.signer.key * (inverse * it.r)
            })
            .sum();
        assert!(bool::from(plain.is_identity()), "they do cancel");
        assert!(!holds(&spoilt));
    }
    let mut swapped = equations();
    (swapped[1].digest, swapped[2].digest) = (swapped[2].digest, swapped[1].digest);
    assert!(!holds(&swapped));
}

/// A delegate's vouchers are checked with its key, and say that it was the delegate.
#[test]
fn whoever_signs_for_a_payer_is_told_apart() {
    let mut ground = Ground::new(7, 20);
    let delegate = PrivateKeySigner::from_slice(&[9; 32]).unwrap();
    let payer = ground.payers[4].address();
    let with_delegate = |ground: &mut Ground| {
        let mut vouchers = ground.vouchers(20);
        let total = vouchers[4].cumulative;
        vouchers[4] = SignedVoucher::sign(payer, PAYEE, total, &separator(), &delegate);
        vouchers
    };
    let vouchers = with_delegate(&mut ground);
    let answer = ground.answers(&vouchers)[4].unwrap();
    assert_eq!(answer.signer, delegate.address());
    // Until the chain said that it may, it changes nothing.
    let own = ground.vouchers(20);
    assert!(ground.answers(&own).iter().all(|answer| answer.unwrap().key.is_none()));
    ground.checker.learn([(payer, &answer)]);
    let own = ground.vouchers(20);
    let own = ground.answers(&own);
    assert!(own[4].unwrap().key.is_some(), "recovered until it settles");
    assert!(own.iter().enumerate().all(|(index, answer)| index == 4 || answer.unwrap().key.is_none()));
    for _ in 0..64 {
        ground.checker.learn([(payer, &answer)]);
    }
    let vouchers = with_delegate(&mut ground);
    let answers = ground.answers(&vouchers);
    assert!(answers[4].unwrap().key.is_none());
    assert_eq!(answers[4].unwrap().signer, delegate.address());
}
