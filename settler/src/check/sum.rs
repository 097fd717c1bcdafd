//! Sums of many multiples of points, all public: what takes the time when signatures are checked together. Scalars are cut
//! into windows of signed digits; of each window, points with the same digit are added up first and multiplied once.

use k256::{AffinePoint, ProjectivePoint, Scalar};

/// Bits of a scalar.
const SCALAR_BITS: usize = 256;
/// Bits of a window at least and at most: a digit has to fit its type, and above this the digits of one batch would be too
/// rarely the same.
const WINDOW_BITS: (u32, u32) = (3, 10);
/// A window is narrower than the logarithm of the number of points by so many bits. Measured: 8 bits for 2,048 points.
const WINDOW_BELOW_LOG: u32 = 3;

/// The sum of each point as often as its scalar says. The time depends on the scalars.
pub(super) fn sum(terms: &[(AffinePoint, Scalar)]) -> ProjectivePoint {
    let Some(log) = terms.len().checked_ilog2() else { return ProjectivePoint::IDENTITY };
    let bits = log.saturating_sub(WINDOW_BELOW_LOG).clamp(WINDOW_BITS.0, WINDOW_BITS.1);
    let digits: Vec<Vec<i16>> = terms.iter().map(|(_, scalar)| digits(scalar, bits)).collect();
    let windows = digits.iter().map(Vec::len).max().unwrap_or(0);
    let mut buckets = vec![ProjectivePoint::IDENTITY; 1 << (bits - 1)];
    let mut total = ProjectivePoint::IDENTITY;
    for window in (0..windows).rev() {
        for _ in 0..bits {
            total.double_in_place();
        }
        buckets.fill(ProjectivePoint::IDENTITY);
        for ((point, _), digits) in terms.iter().zip(&digits) {
            let digit = digits.get(window).copied().unwrap_or(0);
            let bucket = usize::from(digit.unsigned_abs()).checked_sub(1).and_then(|index| buckets.get_mut(index));
            match bucket {
                Some(bucket) if digit > 0 => *bucket += point,
                Some(bucket) => *bucket -= point,
                None => {}
            }
        }
        total += weighted(&buckets);
    }
    total
}

/// The first bucket once, the second twice, and so on: from the last one down, each sum of what was seen so far counts once
/// more.
fn weighted(buckets: &[ProjectivePoint]) -> ProjectivePoint {
    let (mut seen, mut total) = (ProjectivePoint::IDENTITY, ProjectivePoint::IDENTITY);
    for bucket in buckets.iter().rev() {
        seen += bucket;
        total += &seen;
    }
    total
}

/// The scalar in windows of so many bits, the lowest first, each from minus to plus half of what the bits could say, up to
/// the last that is not zero.
fn digits(scalar: &Scalar, bits: u32) -> Vec<i16> {
    let bytes = scalar.to_bytes();
    // Lowest first, with zeros above, so that a window may reach beyond the end.
    let mut limbs = [0_u64; SCALAR_BITS / 64 + 1];
    for (limb, bytes) in limbs.iter_mut().zip(bytes.rchunks(8)) {
        *limb = bytes.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
    }
    let (range, mut carry) = (1_i32 << bits, 0);
    let mut digits = Vec::with_capacity(SCALAR_BITS / 3);
    for start in (0..SCALAR_BITS).step_by(usize::try_from(bits).unwrap_or(1)) {
        let (limb, shift) = (start / 64, start % 64);
        let wide = u128::from(limbs[limb + 1]) << 64 | u128::from(limbs[limb]);
        let window = i32::try_from((wide >> shift) & ((1 << bits) - 1)).expect("a window is narrow");
        let digit = window + carry;
        carry = i32::from(digit > range / 2);
        digits.push(i16::try_from(digit - carry * range).expect("a window is narrow"));
    }
    digits.push(i16::try_from(carry).expect("one bit"));
    while digits.last() == Some(&0) {
        digits.pop();
    }
    digits
}

#[cfg(test)]
mod tests {
    use k256::elliptic_curve::PrimeField;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn scalar(random: &mut StdRng) -> Scalar {
        let bytes: [u8; 32] = random.random();
        Scalar::from_repr_vartime(bytes.into()).unwrap_or(Scalar::ONE)
    }

    #[test]
    fn sums_as_the_single_products_do() {
        let mut random = StdRng::seed_from_u64(5);
        for count in [0, 1, 2, 3, 7, 8, 31, 64, 200, 600] {
            let mut terms: Vec<(AffinePoint, Scalar)> = Vec::new();
            for index in 0..count {
                let point = (ProjectivePoint::GENERATOR * scalar(&mut random)).to_affine();
                let factor = match index % 8 {
                    0 => Scalar::from(random.random::<u128>()),
                    1 => -Scalar::ONE,
                    2 => Scalar::ZERO,
                    3 => -Scalar::from(random.random::<u64>()),
                    _ => scalar(&mut random),
                };
                terms.push((point, factor));
                // The same point again, and its opposite: equal points meet in a bucket.
                if index % 5 == 0 {
                    terms.push((point, factor));
                    terms.push((-point, scalar(&mut random)));
                }
            }
            let expected = terms.iter().fold(ProjectivePoint::IDENTITY, |sum, (point, factor)| sum + *point * *factor);
            assert_eq!(sum(&terms), expected, "{count}");
        }
    }

    #[test]
    fn digits_say_what_the_scalar_says() {
        let mut random = StdRng::seed_from_u64(6);
        for bits in WINDOW_BITS.0..=WINDOW_BITS.1 {
            for scalar in [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, scalar(&mut random), scalar(&mut random)] {
                let radix = Scalar::from(1_u64 << bits);
                let said = digits(&scalar, bits).iter().rev().fold(Scalar::ZERO, |sum, digit| {
                    let size = Scalar::from(u64::from(digit.unsigned_abs()));
                    sum * radix + if *digit < 0 { -size } else { size }
                });
                assert_eq!(said, scalar, "{bits}");
            }
        }
    }
}
