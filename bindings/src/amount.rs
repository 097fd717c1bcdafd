//! Money. The one type in which every program counts, compares, stores and prints it: whole base units of the
//! settlement token (10^-6 tokens), never a float, never above what a lane can hold.

use std::fmt;
use std::iter;
use std::str::FromStr;

use alloy::primitives::U256;
use alloy::primitives::aliases::U96;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Base units in one token: 10^[`Amount::DECIMALS`].
const BASE_UNITS_PER_TOKEN: u128 = 1_000_000;

/// The widest number that a lane of the escrow holds, 2^96 - 1.
const BASE_UNITS_MAX: u128 = (1 << 96) - 1;

/// An amount of settlement tokens in base units, between zero and 2^96 - 1.
///
/// Printed and parsed in tokens (`10.5`), serialized as a decimal string of base units (`"10500000"`), so that no
/// JSON reader rounds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u128);

/// Why something is not an [`Amount`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// More than a lane can hold.
    #[error("{0} is more than 2^96 - 1 base units, which is what a lane holds")]
    TooLarge(String),
    /// Not a plain decimal number.
    #[error("`{0}` is not a number of tokens such as 10 or 0.000001")]
    Malformed(String),
    /// Finer than one base unit.
    #[error("`{0}` has more than 6 decimals")]
    TooFine(String),
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The most that a lane holds.
    pub const MAX: Self = Self(BASE_UNITS_MAX);
    /// Decimals of the settlement token.
    pub const DECIMALS: u8 = 6;

    /// So many base units.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] above [`Amount::MAX`].
    pub fn from_base_units(base_units: u128) -> Result<Self, AmountError> {
        if base_units > BASE_UNITS_MAX {
            return Err(AmountError::TooLarge(base_units.to_string()));
        }
        Ok(Self(base_units))
    }

    /// The number of base units.
    #[must_use]
    pub const fn base_units(self) -> u128 {
        self.0
    }

    /// The sum, unless it is above [`Amount::MAX`].
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        // Two 96-bit numbers never overflow 128 bits.
        Self::from_base_units(self.0 + other.0).ok()
    }

    /// The difference, unless it is below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The difference, or zero when `other` is the larger one.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum of all, unless it is above [`Amount::MAX`].
    #[must_use]
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// True for nothing at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// As the escrow's calls take it.
    #[must_use]
    pub fn to_u96(self) -> U96 {
        U96::from(self.0)
    }

    /// As ERC-20 calls take it.
    #[must_use]
    pub fn to_u256(self) -> U256 {
        U256::from(self.0)
    }
}

impl From<U96> for Amount {
    fn from(base_units: U96) -> Self {
        Self(base_units.to::<u128>())
    }
}

impl TryFrom<U256> for Amount {
    type Error = AmountError;

    fn try_from(base_units: U256) -> Result<Self, AmountError> {
        u128::try_from(base_units)
            .map_err(|_| AmountError::TooLarge(base_units.to_string()))
            .and_then(Self::from_base_units)
    }
}

/// In tokens, without trailing zeros: `10.5`, `0.000001`, `3`.
impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0 / BASE_UNITS_PER_TOKEN;
        let fraction = self.0 % BASE_UNITS_PER_TOKEN;
        if fraction == 0 {
            return formatter.pad(&whole.to_string());
        }
        let fraction = format!("{fraction:06}");
        formatter.pad(&format!("{whole}.{}", fraction.trim_end_matches('0')))
    }
}

/// Tokens: digits, then at most one point with one to six digits behind it. No sign, no exponent, no separators, no
/// spaces.
impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let malformed = || AmountError::Malformed(text.to_owned());
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(malformed()),
            Some((whole, fraction)) => (whole, fraction),
            None => (text, ""),
        };
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return Err(malformed());
        }
        if fraction.len() > usize::from(Self::DECIMALS) {
            return Err(AmountError::TooFine(text.to_owned()));
        }
        let padding = iter::repeat_n('0', usize::from(Self::DECIMALS) - fraction.len());
        let base_units: String = whole.chars().chain(fraction.chars()).chain(padding).collect();
        // Only digits are left, so the one thing that can fail is the size.
        let base_units = base_units.parse().map_err(|_| AmountError::TooLarge(text.to_owned()))?;
        Self::from_base_units(base_units).map_err(|_| AmountError::TooLarge(text.to_owned()))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_canonical = is_digits(&text) && !text.is_empty() && (text.len() == 1 || !text.starts_with('0'));
        if !is_canonical {
            return Err(D::Error::custom("an amount is a decimal string of base units without leading zeros"));
        }
        let base_units = text.parse().map_err(|_| D::Error::custom(AmountError::TooLarge(text.clone())))?;
        Self::from_base_units(base_units).map_err(D::Error::custom)
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    fn units(base_units: u128) -> Amount {
        Amount::from_base_units(base_units).unwrap()
    }

    #[test]
    fn refuses_what_is_not_a_plain_number() {
        for text in ["", ".", "1.", ".5", "+1", "-1", "1e3", "1_000", "1,5", " 1", "1 ", "1.2.3", "0x10", "١", "NaN"] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError::Malformed(text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn refuses_more_than_six_decimals() {
        assert_eq!("0.0000001".parse::<Amount>(), Err(AmountError::TooFine("0.0000001".to_owned())));
        assert_eq!("1.0000000".parse::<Amount>(), Err(AmountError::TooFine("1.0000000".to_owned())));
    }

    #[test]
    fn refuses_more_than_a_lane_holds() {
        assert_eq!(Amount::MAX.to_string(), "79228162514264337593543.950335");
        let above = "79228162514264337593543.950336";
        assert_eq!(above.parse::<Amount>(), Err(AmountError::TooLarge(above.to_owned())));
        let far_above = "9".repeat(60);
        assert_eq!(far_above.parse::<Amount>(), Err(AmountError::TooLarge(far_above.clone())));
        assert_eq!(Amount::from_base_units(1 << 96), Err(AmountError::TooLarge((1_u128 << 96).to_string())));
        assert_eq!(Amount::try_from(U256::MAX), Err(AmountError::TooLarge(U256::MAX.to_string())));
        assert_eq!(Amount::try_from(Amount::MAX.to_u256()), Ok(Amount::MAX));
        assert!(Amount::try_from(Amount::MAX.to_u256() + U256::ONE).is_err());
    }

    #[test]
    fn parses_and_prints_tokens() {
        for (text, base_units, printed) in [
            ("0", 0, "0"),
            ("10", 10_000_000, "10"),
            ("10.5", 10_500_000, "10.5"),
            ("10.500000", 10_500_000, "10.5"),
            ("0.000001", 1, "0.000001"),
            ("007", 7_000_000, "7"),
        ] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!(amount.base_units(), base_units, "{text}");
            assert_eq!(amount.to_string(), printed, "{text}");
        }
        assert_eq!(format!("{:>8}|{:<6}|", units(1_500_000), units(2_000_000)), "     1.5|2     |");
    }

    #[test]
    fn never_leaves_its_range() {
        assert_eq!(Amount::MAX.checked_add(units(1)), None);
        assert_eq!(Amount::MAX.checked_add(Amount::ZERO), Some(Amount::MAX));
        assert_eq!(Amount::ZERO.checked_sub(units(1)), None);
        assert_eq!(Amount::ZERO.saturating_sub(units(1)), Amount::ZERO);
        assert_eq!(Amount::checked_sum([units(1), units(2), units(3)]), Some(units(6)));
        assert_eq!(Amount::checked_sum([Amount::MAX, units(1)]), None);
        assert_eq!(Amount::default(), Amount::ZERO);
    }

    #[test]
    fn serializes_as_a_string_of_base_units() {
        assert_eq!(serde_json::to_string(&units(10_500_000)).unwrap(), "\"10500000\"");
        for json in ["10", "\"\"", "\"01\"", "\"1.5\"", "\"-1\"", "\"79228162514264337593543950336\"", "null"] {
            assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
        }
        let max: Amount = serde_json::from_str("\"79228162514264337593543950335\"").unwrap();
        assert_eq!(max, Amount::MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(3), ..ProptestConfig::default() })]

        #[test]
        fn every_form_reads_back(base_units in 0..=BASE_UNITS_MAX) {
            let amount = units(base_units);
            prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
            prop_assert_eq!(Amount::from(amount.to_u96()), amount);
            prop_assert_eq!(Amount::try_from(amount.to_u256()), Ok(amount));
            let json = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), amount);
            let mut cbor = Vec::new();
            ciborium::into_writer(&amount, &mut cbor).unwrap();
            prop_assert_eq!(ciborium::from_reader::<Amount, _>(cbor.as_slice()).unwrap(), amount);
        }

        #[test]
        fn arithmetic_is_that_of_the_integers(left in 0..=BASE_UNITS_MAX, right in 0..=BASE_UNITS_MAX) {
            let (a, b) = (units(left), units(right));
            prop_assert_eq!(a.checked_add(b), Amount::from_base_units(left + right).ok());
            prop_assert_eq!(a.checked_sub(b), left.checked_sub(right).map(units));
            prop_assert_eq!(a.saturating_sub(b), units(left.saturating_sub(right)));
            prop_assert_eq!(a.cmp(&b), left.cmp(&right));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            if let Ok(amount) = text.parse::<Amount>() {
                prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
            }
        }
    }
}
