//! The state machine: its words and its arrows. The database holds the same words and arrows under CHECK constraints,
//! and each row says which state it came from, so that what is not drawn here cannot be written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A column held a word that is none of the enum's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a known word")]
pub struct UnknownWord(pub String);

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// The word, as stored and shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err(UnknownWord(word.to_owned())) }
            }
        }
    };
}

words! {
    /// Where a voucher stands on its way to money.
    VoucherState {
        /// Durable here, in no transaction.
        Recorded = "recorded",
        /// In a signed transaction that is stored but that no endpoint has accepted, or that a reorganisation threw out.
        Planned = "planned",
        /// In a transaction that an endpoint accepted.
        Submitted = "submitted",
        /// In a mined transaction under enough blocks.
        Confirmed = "confirmed",
    }
}

words! {
    /// Where a transaction stands.
    TransactionState {
        /// Signed and stored.
        Planned = "planned",
        /// Accepted by an endpoint.
        Submitted = "submitted",
        /// Mined under enough blocks, and it succeeded.
        Confirmed = "confirmed",
        /// Mined under enough blocks, and it reverted: its vouchers are recorded again.
        Reverted = "reverted",
        /// Its nonce was used by a transaction that is not ours: its vouchers are recorded again.
        Lost = "lost",
        /// Its nonce was used by one of its attempts that carries no rows: its vouchers are recorded again.
        Cancelled = "cancelled",
    }
}

impl VoucherState {
    /// Where a voucher may go from here: on as its transaction does, back when that ends in vain or is undone. What the
    /// chain paid without us goes straight to its end.
    #[must_use]
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Recorded => &[Self::Planned, Self::Confirmed],
            Self::Planned => &[Self::Submitted, Self::Confirmed, Self::Recorded],
            Self::Submitted => &[Self::Planned, Self::Confirmed, Self::Recorded],
            Self::Confirmed => &[Self::Planned],
        }
    }

    /// Where a voucher begins: waiting, or in the transaction that was signed while a larger one took its place.
    pub const FIRST: &'static [Self] = &[Self::Recorded, Self::Planned];
}

impl TransactionState {
    /// Where a transaction may go from here. Only a nonce that a stranger used is never given back.
    #[must_use]
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Planned => &[Self::Submitted, Self::Confirmed, Self::Reverted, Self::Lost, Self::Cancelled],
            Self::Submitted => &[Self::Planned, Self::Confirmed, Self::Reverted, Self::Lost, Self::Cancelled],
            Self::Confirmed | Self::Reverted | Self::Cancelled => &[Self::Planned],
            Self::Lost => &[],
        }
    }

    /// Where a transaction begins.
    pub const FIRST: &'static [Self] = &[Self::Planned];
}

words! {
    /// Why a voucher is claimed now.
    Reason {
        /// Its money is about to leave by a notice that the payer started.
        Thawing = "thawing",
        /// Its signer was revoked and is about to be none.
        SignerEnding = "signer_ending",
        /// The operator asked.
        Asked = "asked",
        /// Its payer owes more than the operator wants to be owed by one.
        Exposed = "exposed",
        /// Relays are owed more than the operator's escrow covers without it.
        Backing = "backing",
        /// It has waited as long as the policy allows.
        Aged = "aged",
        /// It is worth a multiple of its gas.
        Worth = "worth",
    }
}

words! {
    /// Why a voucher is not claimed now.
    Hold {
        /// The chain has paid it already.
        Settled = "settled",
        /// Neither its lane nor the payer's open balance holds anything: at risk.
        Unfunded = "unfunded",
        /// The policy says that it is not worth its gas yet.
        NotWorthYet = "not_worth_yet",
        /// The chain would refuse the signature now: at risk.
        BadSignature = "bad_signature",
        /// A claim failed; it waits before the next attempt.
        Failed = "failed",
    }
}

impl Reason {
    /// Is the money lost if it is not claimed now?
    #[must_use]
    pub const fn is_closing(self) -> bool {
        matches!(self, Self::Thawing | Self::SignerEnding)
    }

    /// Is it claimed because that is worth its gas, and for no other reason?
    #[must_use]
    pub const fn is_for_worth(self) -> bool {
        matches!(self, Self::Exposed | Self::Backing | Self::Aged | Self::Worth)
    }
}

impl Hold {
    /// Is this voucher's money in danger?
    #[must_use]
    pub const fn is_risk(self) -> bool {
        matches!(self, Self::Unfunded | Self::BadSignature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for state in VoucherState::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
            assert_eq!(serde_json::json!(state), state.as_str(), "JSON and database say the same");
        }
        for state in TransactionState::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(*reason));
            assert_eq!(serde_json::json!(reason), reason.as_str());
        }
        for hold in Hold::ALL {
            assert_eq!(hold.as_str().parse(), Ok(*hold));
            assert_eq!(serde_json::json!(hold), hold.as_str());
        }
    }

    #[test]
    fn refuses_a_strange_word() {
        assert_eq!("paid".parse::<VoucherState>(), Err(UnknownWord("paid".into())));
    }
}
