//! Many vouchers checked at once, several times as fast as one after the other, with the same answers.
//!
//! A signature (r, s, v) of a digest z names a point R: its x is r, its side v. The escrow recovers the key P exactly when
//! R = z/s · G + r/s · P. Where P is expected, that can be tested instead of recovered, and for many vouchers in one sum:
//! each equation counts a random number of times, drawn after the vouchers are known, so that errors cannot be made to
//! cancel. With 128 random bits each, a batch with any wrong equation passes with a chance of 2^-128.
//!
//! What is expected of nobody, and what a batch that failed leaves open, is recovered one by one: recovery alone refuses.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use alloy::primitives::Address;
use k256::elliptic_curve::ops::Reduce;
use k256::elliptic_curve::point::{AffineCoordinates, DecompressPoint};
use k256::elliptic_curve::subtle::Choice;
use k256::elliptic_curve::{Group, PrimeField};
use k256::{AffinePoint, FieldBytes, Scalar};
use minus_bindings::{SignedCharge, SignedVoucher, signature_parts};
use rand::TryRngCore;
use rand::rngs::OsRng;

use super::signers::{Signer, Signers};
use super::sum::sum;
use super::{Domain, Refusal, Signed, check_charge, check_debt, check_parties, check_voucher};

/// Fewer are recovered one by one, which is as fast.
const BATCH_MIN: usize = 16;
/// After a batch failed, so many at a time are tested again. So one bad voucher costs its batch another test, and its part
/// recovery.
const PART: usize = 64;
/// After so many parts failed, the rest is recovered: whoever spoils every part shall not cost many tests besides.
const PARTS_LOST_MAX: usize = 4;
/// Of each random number.
const RANDOM_BYTES: usize = 16;

/// Checks vouchers of one escrow made out to some payees.
#[derive(Debug)]
pub struct Checker {
    payees: Vec<Address>,
    domain: Domain,
    signers: Mutex<Signers>,
}

/// A voucher's equation, with the key that is expected.
struct Equation {
    /// Which voucher.
    index: usize,
    signer: Signer,
    digest: Scalar,
    /// The point that the signature names.
    point: AffinePoint,
    r: Scalar,
    s: Scalar,
}

impl Checker {
    /// That knows no signer yet.
    #[must_use]
    pub fn new(payees: Vec<Address>, domain: Domain) -> Self {
        Self { payees, domain, signers: Mutex::default() }
    }

    /// Each voucher's signer, or why it is refused, as [`check_voucher`] says it of each.
    #[must_use]
    pub fn vouchers(&self, vouchers: &[SignedVoucher]) -> Vec<Result<Signed, Refusal>> {
        let mut answers: Vec<Option<Signed>> = vec![None; vouchers.len()];
        let equations = self.equations(vouchers);
        if holds(&equations) {
            accept(&equations, &mut answers);
        } else if equations.len() > PART {
            let mut lost = 0;
            for part in equations.chunks(PART) {
                match holds(part) {
                    true => accept(part, &mut answers),
                    false => lost += 1,
                }
                if lost == PARTS_LOST_MAX {
                    break;
                }
            }
        }
        let answer = |(voucher, answer): (&SignedVoucher, Option<Signed>)| match answer {
            Some(signed) => Ok(signed),
            None => check_voucher(voucher, &self.payees, &self.domain),
        };
        vouchers.iter().zip(answers).map(answer).collect()
    }

    /// The charge's signer, or why it is refused.
    ///
    /// # Errors
    /// A refusal that no chain can change.
    pub fn charge(&self, charge: &SignedCharge) -> Result<Address, Refusal> {
        check_charge(charge, &self.payees, &self.domain)
    }

    /// The signer of what one of ours owes, or why it is refused.
    ///
    /// # Errors
    /// A refusal that no chain can change.
    pub fn debt(&self, voucher: &SignedVoucher) -> Result<Address, Refusal> {
        check_debt(voucher, &self.payees, &self.domain)
    }

    /// These signed for these payers and were found to be their signers: their next vouchers are expected to be signed
    /// with the same keys.
    pub fn learn<'s>(&self, signed: impl IntoIterator<Item = (Address, &'s Signed)>) {
        let fresh: Vec<(Address, Signer)> = signed
            .into_iter()
            .filter_map(|(payer, signed)| {
                let bytes = signed.key?.serialize_uncompressed();
                let (x, y) = bytes[1..].split_at(32);
                let (x, y) = (FieldBytes::try_from(x).ok()?, FieldBytes::try_from(y).ok()?);
                let key = AffinePoint::from_coordinates(&x, &y).into_option()?;
                Some((payer, Signer { address: signed.signer, key }))
            })
            .collect();
        if !fresh.is_empty() {
            let mut signers = self.signers.lock().unwrap_or_else(PoisonError::into_inner);
            for (payer, signer) in fresh {
                signers.learn(payer, signer);
            }
        }
    }

    /// Of the vouchers whose signer is expected, and whose signature could be one.
    fn equations(&self, vouchers: &[SignedVoucher]) -> Vec<Equation> {
        let expected: Vec<Option<Signer>> = {
            let mut signers = self.signers.lock().unwrap_or_else(PoisonError::into_inner);
            vouchers.iter().map(|voucher| signers.expected(voucher.payer)).collect()
        };
        let equation = |(index, (voucher, signer)): (usize, (&SignedVoucher, Option<Signer>))| {
            check_parties(voucher.payer, voucher.payee, &self.payees).ok()?;
            Equation::of(index, voucher, signer?, &self.domain)
        };
        vouchers.iter().zip(expected).enumerate().filter_map(equation).collect()
    }
}

fn accept(equations: &[Equation], answers: &mut [Option<Signed>]) {
    for equation in equations {
        answers[equation.index] = Some(Signed { signer: equation.signer.address, key: None });
    }
}

impl Equation {
    fn of(index: usize, voucher: &SignedVoucher, signer: Signer, domain: &Domain) -> Option<Self> {
        let (scalars, y_is_odd) = signature_parts(&voucher.signature).ok()?;
        let (r, s) = scalars.split_at(32);
        let (x, s) = (FieldBytes::try_from(r).ok()?, FieldBytes::try_from(s).ok()?);
        // Both above zero and below the order, as the escrow's recovery has it: so x is r itself, never r and the order.
        let scalar = |bytes| Scalar::from_repr_vartime(bytes).filter(|scalar| *scalar != Scalar::ZERO);
        let (r, s) = (scalar(x)?, scalar(s)?);
        let point = AffinePoint::decompress(&x, Choice::from(u8::from(y_is_odd))).into_option()?;
        let digest = domain.voucher_digest(voucher);
        let digest = <Scalar as Reduce<FieldBytes>>::reduce(&digest.0.into());
        Some(Self { index, signer, digest, point, r, s })
    }
}

/// Do all of these equations hold? False for so few that it is not worth it, and when there is no randomness.
fn holds(equations: &[Equation]) -> bool {
    if equations.len() < BATCH_MIN {
        return false;
    }
    let mut random = vec![0; RANDOM_BYTES * equations.len()];
    if OsRng.try_fill_bytes(&mut random).is_err() {
        return false;
    }
    let times = random.chunks_exact(RANDOM_BYTES).map(|bytes| {
        let bytes = bytes.try_into().expect("a chunk of that size");
        Scalar::from(u128::from_ne_bytes(bytes))
    });
    let mut terms = Vec::with_capacity(2 * equations.len() + 1);
    let mut places: HashMap<Address, usize> = HashMap::new();
    let mut of_generator = Scalar::ZERO;
    for ((equation, inverse), times) in equations.iter().zip(inverses(equations)).zip(times) {
        terms.push((equation.point, times));
        let weight = times * inverse;
        of_generator -= weight * equation.digest;
        let of_key = weight * equation.r;
        match places.entry(equation.signer.address) {
            Entry::Occupied(place) => terms[*place.get()].1 -= of_key,
            Entry::Vacant(place) => {
                place.insert(terms.len());
                terms.push((equation.signer.key, -of_key));
            }
        }
    }
    terms.push((AffinePoint::GENERATOR, of_generator));
    sum(&terms).is_identity().into()
}

/// 1/s of each, with one inversion: each is what the product of all up to it has that the product before it has not.
fn inverses(equations: &[Equation]) -> Vec<Scalar> {
    let mut product = Scalar::ONE;
    let mut inverses: Vec<Scalar> = Vec::with_capacity(equations.len());
    for equation in equations {
        inverses.push(product);
        product *= equation.s;
    }
    let mut rest = product.invert_vartime().into_option().expect("no s is zero");
    for (inverse, equation) in inverses.iter_mut().zip(equations).rev() {
        *inverse *= rest;
        rest *= equation.s;
    }
    inverses
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
