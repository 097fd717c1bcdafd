//! A batch of vouchers as `PrepaymentEscrow.claim` takes it, or of charges as `charge` does, and its two answers: one
//! result a row, returned by the call, and the payments, packed in the `Claimed` event.

use alloy::primitives::aliases::U96;
use alloy::primitives::{Address, Bytes, U256, uint};

use crate::amount::Amount;
use crate::typed::SIGNATURE_BYTES;

/// payer 20 | cumulative 12 | r 32 | vs 32.
pub const ROW_BYTES: usize = 96;

/// In a row, the topmost bit of `s` carries the parity that `v` says otherwise (EIP-2098).
const PARITY_BIT: U256 = uint!(0x8000000000000000000000000000000000000000000000000000000000000000_U256);

/// payer 20 | paid by this row 12, in the `Claimed` event.
pub const PAYMENT_BYTES: usize = 32;

/// How one row of a claim or a charge ended. The numbers are part of the contract's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowResult {
    /// 0: the whole difference was paid.
    Paid,
    /// 1: less than the difference was there, or had accrued; that was paid.
    PartlyPaid,
    /// 2: the running total is not above what was already paid.
    NothingNew,
    /// 3: neither lane nor open balance holds anything.
    Unfunded,
    /// 4: not signed by the payer (of a charge: the payee) or a live delegate of it, or malleable.
    BadSignature,
    /// 5: the payer is the zero address or the payee itself.
    BadPayer,
    /// 6: of charges only: the payer has given the payee no mandate, or it is over.
    NoMandate,
    /// 7: of charges only: the mandate holds less than one base unit yet.
    NothingAccrued,
}

/// Why an answer to a claim does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A number that the interface does not know.
    #[error("{0} is no result of a row")]
    UnknownResult(u8),
    /// Not a whole number of payments.
    #[error("{0} bytes are no whole number of payments")]
    PaymentsLength(usize),
}

impl RowResult {
    /// All results, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Paid,
        Self::PartlyPaid,
        Self::NothingNew,
        Self::Unfunded,
        Self::BadSignature,
        Self::BadPayer,
        Self::NoMandate,
        Self::NothingAccrued,
    ];

    /// True when the row moved money.
    #[must_use]
    pub const fn is_paid(self) -> bool {
        matches!(self, Self::Paid | Self::PartlyPaid)
    }
}

impl TryFrom<u8> for RowResult {
    type Error = RowError;

    fn try_from(number: u8) -> Result<Self, RowError> {
        Self::ALL.get(usize::from(number)).copied().ok_or(RowError::UnknownResult(number))
    }
}

/// The rows of one batch: vouchers for `claim`, or charges for `charge`. All must be to the payee that the call names.
#[must_use]
pub fn pack<R: Copy + Into<[u8; ROW_BYTES]>>(signed: &[R]) -> Bytes {
    signed.iter().flat_map(|&signed| signed.into()).collect::<Vec<u8>>().into()
}

/// One row. A `v` that is neither 27 nor 28 counts as 27.
pub(crate) fn encode(payer: Address, cumulative: Amount, signature: &[u8; SIGNATURE_BYTES]) -> [u8; ROW_BYTES] {
    let [scalars @ .., v] = signature;
    let mut row = [0; ROW_BYTES];
    row[..20].copy_from_slice(payer.as_slice());
    row[20..32].copy_from_slice(&cumulative.to_u96().to_be_bytes::<12>());
    row[32..].copy_from_slice(scalars);
    if *v == 28 {
        row[64] |= 0x80;
    }
    row
}

/// The inverse of [`encode`]: any 96 bytes are some row.
pub(crate) fn decode(row: &[u8; ROW_BYTES]) -> (Address, Amount, [u8; SIGNATURE_BYTES]) {
    let payer = Address::from_slice(&row[..20]);
    let cumulative = Amount::from(U96::from_be_slice(&row[20..32]));
    let vs = U256::from_be_slice(&row[64..]);
    let mut signature = [0; SIGNATURE_BYTES];
    signature[..32].copy_from_slice(&row[32..64]);
    signature[32..64].copy_from_slice(&(vs & !PARITY_BIT).to_be_bytes::<32>());
    signature[64] = if vs & PARITY_BIT == U256::ZERO { 27 } else { 28 };
    (payer, cumulative, signature)
}

/// What `claim` or `charge` returned, one result a row, in the order of the rows.
///
/// # Errors
/// On a number that the interface does not know.
pub fn parse_results(results: &[u8]) -> Result<Vec<RowResult>, RowError> {
    results.iter().copied().map(RowResult::try_from).collect()
}

/// The payments of a `Claimed` event: payer and amount of each row that paid, in the order of the rows.
///
/// # Errors
/// When the length is no multiple of [`PAYMENT_BYTES`].
pub fn parse_payments(payments: &[u8]) -> Result<Vec<(Address, Amount)>, RowError> {
    let (chunks, rest) = payments.as_chunks::<PAYMENT_BYTES>();
    if !rest.is_empty() {
        return Err(RowError::PaymentsLength(payments.len()));
    }
    let parse = |chunk: &[u8; PAYMENT_BYTES]| {
        let (payer, paid) = chunk.split_at(20);
        (Address::from_slice(payer), Amount::from(U96::from_be_slice(paid)))
    };
    Ok(chunks.iter().map(parse).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::voucher::SignedVoucher;

    #[test]
    fn refuses_unknown_results_and_broken_payments() {
        assert_eq!(parse_results(&[0, 8]), Err(RowError::UnknownResult(8)));
        assert_eq!(parse_payments(&[0; 33]), Err(RowError::PaymentsLength(33)));
        assert_eq!(parse_payments(&[0; 31]), Err(RowError::PaymentsLength(31)));
    }

    #[test]
    fn reads_results_by_their_numbers() {
        assert_eq!(parse_results(&[0, 1, 2, 3, 4, 5, 6, 7]).unwrap(), RowResult::ALL);
        assert_eq!(parse_results(&[]).unwrap(), []);
        let paid: Vec<bool> = RowResult::ALL.iter().map(|result| result.is_paid()).collect();
        assert_eq!(paid, [true, true, false, false, false, false, false, false]);
    }

    #[test]
    fn reads_payments_in_order() {
        let mut payments = Vec::new();
        for (payer, paid) in [(1_u8, 7_u8), (2, 9)] {
            payments.extend_from_slice(&[payer; 20]);
            payments.extend_from_slice(&[0; 11]);
            payments.push(paid);
        }
        let amount = |base_units| Amount::from_base_units(base_units).unwrap();
        assert_eq!(
            parse_payments(&payments).unwrap(),
            [(Address::repeat_byte(1), amount(7)), (Address::repeat_byte(2), amount(9))]
        );
        assert_eq!(parse_payments(&[]).unwrap(), []);
    }

    #[test]
    fn packs_rows_one_after_the_other() {
        let voucher = |number| SignedVoucher {
            payer: Address::repeat_byte(number),
            payee: Address::ZERO,
            cumulative: Amount::ZERO,
            signature: [27; 65],
        };
        let rows = pack(&[voucher(1), voucher(2)]);
        assert_eq!(rows.len(), 2 * ROW_BYTES);
        assert_eq!(rows[..ROW_BYTES], voucher(1).to_row());
        assert_eq!(rows[ROW_BYTES..], voucher(2).to_row());
    }
}
