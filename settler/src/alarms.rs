//! What needs the operator now, in plain words. Pure: facts in, alarms out. The page shows them, the metrics count them.

use std::fmt;

use alloy::primitives::Address;
use minus_bindings::Amount;
use serde::{Deserialize, Serialize};

use crate::api::LogSummary;
use crate::chain::EndpointLine;
use crate::store::Hold;

/// After so many seconds without a successful look at the chain it cannot be said what the lanes hold.
pub const STALE_AFTER_S: u64 = 60;
/// Below this a gas key cannot pay for one full claim at one gwei.
pub const GAS_BALANCE_MIN_WEI: u128 = 16_777_216_000_000_000;
/// A transaction that no endpoint took within this is one that they all refuse.
pub const UNSENT_AFTER_S: u64 = 60;
/// Some fifty blocks of a slow chain: by then a transaction was replaced several times.
pub const STUCK_AFTER_S: u64 = 900;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Money is lost unless somebody acts.
    Critical,
    /// It will come to that, or money waits.
    Warning,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// A lane closes within the safety margin and is not being claimed.
    ClosingLanes,
    /// No look at the chain has succeeded lately.
    StaleChain,
    /// The last look complained.
    ChainTrouble,
    /// A gas key cannot pay.
    GasLow,
    /// No endpoint takes a transaction.
    FailingSends,
    /// A transaction is not mined, replacements or not.
    StuckTransactions,
    /// An endpoint contradicted what enough others agree on.
    EndpointDisagrees,
    /// An endpoint does not answer, lags, or answers nonsense.
    EndpointTrouble,
    /// Vouchers whose signer is none any more.
    BadSignatures,
    /// Vouchers without money behind them.
    UnfundedVouchers,
    /// Claims that failed and are tried again.
    FailedClaims,
    /// Relays were promised more than the operators' escrow covers.
    UncoveredDebts,
}

impl AlarmKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::ClosingLanes,
        Self::StaleChain,
        Self::ChainTrouble,
        Self::GasLow,
        Self::FailingSends,
        Self::StuckTransactions,
        Self::EndpointDisagrees,
        Self::EndpointTrouble,
        Self::BadSignatures,
        Self::UnfundedVouchers,
        Self::FailedClaims,
        Self::UncoveredDebts,
    ];

    /// The word of it, as in JSON and in the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClosingLanes => "closing_lanes",
            Self::StaleChain => "stale_chain",
            Self::ChainTrouble => "chain_trouble",
            Self::GasLow => "gas_low",
            Self::FailingSends => "failing_sends",
            Self::StuckTransactions => "stuck_transactions",
            Self::EndpointDisagrees => "endpoint_disagrees",
            Self::EndpointTrouble => "endpoint_trouble",
            Self::BadSignatures => "bad_signatures",
            Self::UnfundedVouchers => "unfunded_vouchers",
            Self::FailedClaims => "failed_claims",
            Self::UncoveredDebts => "uncovered_debts",
        }
    }
}

impl fmt::Display for AlarmKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// One thing that needs the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// How bad.
    pub severity: Severity,
    /// What.
    pub kind: AlarmKind,
    /// What it is, for a person.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

/// What stands still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attention {
    /// Lanes that close within the safety margin and are in no transaction.
    pub closing: u64,
    /// When the first of them closes.
    pub closes_at: Option<u64>,
    /// Transactions that no endpoint has accepted for [`UNSENT_AFTER_S`].
    pub unsent: u64,
    /// Transactions that were not mined for [`STUCK_AFTER_S`].
    pub stuck: u64,
    /// Promised to relays without money behind it, money under notice not counted.
    pub uncovered: Amount,
    /// What of that is covered by money under notice.
    pub under_notice: Amount,
}

/// What alarms are made of.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Unix seconds.
    pub now: u64,
    /// When the settler started.
    pub started_at: u64,
    /// When a look at the chain last succeeded; 0 when none has.
    pub looked_at: u64,
    /// What the last look complained of.
    pub trouble: Option<&'a str>,
    /// Gas keys and what they have, wei.
    pub gas_keys: &'a [(Address, u128)],
    /// The chain's endpoints.
    pub endpoints: &'a [EndpointLine],
    /// Counts of the log.
    pub summary: &'a LogSummary,
    /// What stands still in the log.
    pub attention: Attention,
}

/// The worst first.
#[must_use]
pub fn alarms(facts: &Facts<'_>) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    let mut raise = |severity, kind, text: String, remedy: &str| {
        alarms.push(Alarm { severity, kind, text, remedy: remedy.to_owned() });
    };
    let attention = &facts.attention;
    if attention.closing > 0 {
        let text = match attention.closes_at.map(|at| at.saturating_sub(facts.now)) {
            Some(left) if left > 0 => {
                let close = counted(attention.closing, "lane closes", "lanes close, the first");
                format!("{close} in {} and not claimed yet", span(left))
            }
            _ => format!("the payer may empty {} at any moment", counted(attention.closing, "lane", "lanes")),
        };
        let remedy = "Look at the lanes by time left. Claim now, or raise fee_cap_gwei if the fee is above it.";
        raise(Severity::Critical, AlarmKind::ClosingLanes, text, remedy);
    }
    let silent = facts.now.saturating_sub(facts.looked_at.max(facts.started_at));
    if silent > STALE_AFTER_S {
        let text = format!("the chain was last seen {} ago", span(silent));
        raise(Severity::Critical, AlarmKind::StaleChain, text, "Check rpc_urls; `settler doctor` asks each of them.");
    } else if let Some(trouble) = facts.trouble {
        let remedy = "It is tried again by itself. If it stays, `settler doctor` says more.";
        raise(Severity::Warning, AlarmKind::ChainTrouble, trouble.to_owned(), remedy);
    }
    if facts.looked_at != 0 {
        for (address, balance) in facts.gas_keys.iter().filter(|(_, balance)| *balance < GAS_BALANCE_MIN_WEI) {
            let text = format!("the gas key {address} has only {balance} wei");
            raise(Severity::Critical, AlarmKind::GasLow, text, "Send it some of the chain's own coin.");
        }
    }
    if attention.unsent > 0 {
        let text = format!("{} taken by no endpoint", transactions(attention.unsent));
        raise(
            Severity::Critical,
            AlarmKind::FailingSends,
            text,
            "The settler's own log says what the endpoints answer.",
        );
    }
    if attention.stuck > 0 {
        let text = format!("{} not mined for {} or longer", transactions(attention.stuck), span(STUCK_AFTER_S));
        let remedy = "The fee is above fee_cap_gwei, or an endpoint does not pass transactions on.";
        raise(Severity::Warning, AlarmKind::StuckTransactions, text, remedy);
    }
    for endpoint in facts.endpoints {
        let name = &endpoint.name;
        if endpoint.disagreements > 0 {
            let times = counted(endpoint.disagreements, "time", "times");
            let text = format!("the endpoint {name} contradicted the others {times} since the settler started");
            let remedy = "It was outvoted. It is on another branch, or it lies: replace it in rpc_urls.";
            raise(Severity::Warning, AlarmKind::EndpointDisagrees, text, remedy);
        }
        if let Some(trouble) = &endpoint.trouble {
            let text = format!("the endpoint {name}: {trouble}");
            raise(Severity::Warning, AlarmKind::EndpointTrouble, text, "The others are asked meanwhile.");
        }
    }
    let held = |hold| facts.summary.held.get(&hold).copied().unwrap_or(0);
    if held(Hold::BadSignature) > 0 {
        let one = "voucher has a signer that its payer revoked";
        let text = counted(held(Hold::BadSignature), one, "vouchers have signers that their payers revoked");
        raise(Severity::Warning, AlarmKind::BadSignatures, text, "Stop serving these payers until they sign anew.");
    }
    if held(Hold::Unfunded) > 0 {
        let one = "voucher has no money behind it";
        let text = counted(held(Hold::Unfunded), one, "vouchers have no money behind them");
        raise(Severity::Warning, AlarmKind::UnfundedVouchers, text, "Kept, and claimed when there is a deposit.");
    }
    if held(Hold::Failed) > 0 {
        let one = "voucher waits after a claim that failed";
        let text = counted(held(Hold::Failed), one, "vouchers wait after claims that failed");
        raise(Severity::Warning, AlarmKind::FailedClaims, text, "Tried again by itself, later each time.");
    }
    if !attention.uncovered.is_zero() {
        let notice = match attention.under_notice.is_zero() {
            true => String::new(),
            false => format!(", {} of it for as long as a notice runs", attention.under_notice),
        };
        let text = format!("relays were promised {} that the escrow does not cover{notice}", attention.uncovered);
        let remedy =
            "Relays stop carrying for it. Claim now, add to the open balance (`settler bond`) or take the notice back.";
        raise(Severity::Warning, AlarmKind::UncoveredDebts, text, remedy);
    }
    alarms.sort_by_key(|alarm| alarm.severity);
    alarms
}

fn counted(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

fn transactions(count: u64) -> String {
    counted(count, "transaction is", "transactions are")
}

/// The larger two units.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn kinds(change: impl FnOnce(&mut Facts<'_>)) -> Vec<AlarmKind> {
        let summary = LogSummary::default();
        let key = [(Address::repeat_byte(1), GAS_BALANCE_MIN_WEI)];
        let mut facts = Facts {
            now: NOW,
            started_at: NOW - 3_600,
            looked_at: NOW - 2,
            trouble: None,
            gas_keys: &key,
            endpoints: &[],
            summary: &summary,
            attention: Attention::default(),
        };
        change(&mut facts);
        alarms(&facts).into_iter().map(|alarm| alarm.kind).collect()
    }

    #[test]
    fn is_silent_when_all_is_well() {
        assert_eq!(kinds(|_| {}), []);
        assert_eq!(kinds(|facts| (facts.started_at, facts.looked_at) = (NOW - 5, 0)), [], "it has only just started");
    }

    #[test]
    fn tells_a_chain_that_is_gone_from_one_that_stumbled() {
        assert_eq!(kinds(|facts| facts.looked_at = NOW - STALE_AFTER_S - 1), [AlarmKind::StaleChain]);
        assert_eq!(kinds(|facts| facts.looked_at = 0), [AlarmKind::StaleChain]);
        assert_eq!(kinds(|facts| facts.trouble = Some("no endpoint answers")), [AlarmKind::ChainTrouble]);
    }

    #[test]
    fn names_what_stands_still() {
        const POOR: [(Address, u128); 1] = [(Address::repeat_byte(2), GAS_BALANCE_MIN_WEI - 1)];
        assert_eq!(kinds(|facts| facts.gas_keys = &POOR), [AlarmKind::GasLow]);
        let attention =
            Attention { closing: 1, closes_at: Some(NOW + 60), unsent: 2, stuck: 3, ..Attention::default() };
        assert_eq!(
            kinds(|facts| facts.attention = attention),
            [AlarmKind::ClosingLanes, AlarmKind::FailingSends, AlarmKind::StuckTransactions]
        );
    }

    #[test]
    fn tells_what_relays_were_promised_in_vain() {
        let uncovered = Amount::from_base_units(2_500_000).expect("a small amount");
        let attention = Attention { uncovered, ..Attention::default() };
        assert_eq!(kinds(|facts| facts.attention = attention), [AlarmKind::UncoveredDebts]);
    }

    #[test]
    fn names_the_endpoint_that_is_not_like_the_others() {
        let line = |disagreements, trouble: Option<&str>| EndpointLine {
            name: "rpc.example".into(),
            disagreements,
            trouble: trouble.map(str::to_owned),
            ..EndpointLine::default()
        };
        let well = [line(0, None)];
        let ill = [line(1, Some("4 blocks behind"))];
        let summary = LogSummary::default();
        let told = |endpoints: &[EndpointLine]| {
            let attention = Attention::default();
            let facts = Facts {
                now: NOW,
                started_at: 0,
                looked_at: NOW,
                trouble: None,
                gas_keys: &[],
                endpoints,
                summary: &summary,
                attention,
            };
            alarms(&facts).into_iter().map(|alarm| alarm.text).collect::<Vec<_>>()
        };

        assert!(told(&well).is_empty());
        let texts = told(&ill);
        assert!(texts.len() == 2 && texts[0].contains("rpc.example contradicted the others 1 time "), "{texts:?}");
    }

    #[test]
    fn the_worst_comes_first_and_each_hold_has_its_own() {
        let held = [(Hold::Unfunded, 2), (Hold::BadSignature, 1), (Hold::Failed, 4), (Hold::NotWorthYet, 9)];
        let summary = LogSummary { held: held.into(), ..LogSummary::default() };
        let given = Facts {
            now: NOW,
            started_at: 0,
            looked_at: NOW,
            trouble: None,
            gas_keys: &[],
            endpoints: &[],
            summary: &summary,
            attention: Attention { closing: 1, ..Attention::default() },
        };
        let given = alarms(&given);

        assert_eq!(given[0].severity, Severity::Critical);
        assert_eq!(given.len(), 4);
        assert!(given.iter().any(|alarm| alarm.text == "2 vouchers have no money behind them"));
    }

    #[test]
    fn words_are_those_of_the_json() {
        for kind in AlarmKind::ALL {
            assert_eq!(serde_json::json!(kind), kind.as_str());
        }
    }
}
