//! What a monitoring system sees. Each settler has a recorder of its own, so that several can live in one process.

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::alarms::AlarmKind;
use crate::api::{IntakeResult, LogSummary};
use crate::reports::Overview;
use crate::sender::KeySight;

const METADATA: Metadata<'static> = Metadata::new("settler", Level::INFO, Some("minus_settler"));

const INTAKE: &str = "settler_intake_total";

/// All of the settler's counters and gauges.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    /// Looks at the chain that failed.
    pub failed_looks: Counter,
    /// Transactions that an endpoint refused.
    pub refused_sends: Counter,
    /// Replacements at the same nonce.
    pub replacements: Counter,
    /// Transactions that a reorganisation threw out.
    pub reorganisations: Counter,
    /// Transactions under enough blocks.
    pub confirmed: Counter,
    /// Transactions that reverted.
    pub reverted: Counter,
    /// Transactions that were taken back.
    pub cancelled: Counter,
    /// Transactions whose nonce a stranger used.
    pub lost: Counter,
    head: Gauge,
    /// Charges that are not paid in full.
    pub charges: Gauge,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let counter = |name: &'static str, help: &'static str| {
            recorder.describe_counter(KeyName::from(name), None, SharedString::from(help));
            recorder.register_counter(&Key::from_static_name(name), &METADATA)
        };
        let gauge = |name: &'static str, help: &'static str| {
            recorder.describe_gauge(KeyName::from(name), None, SharedString::from(help));
            recorder.register_gauge(&Key::from_static_name(name), &METADATA)
        };
        let failed_looks = counter("settler_failed_looks_total", "Looks at the chain or the log that failed.");
        let refused_sends = counter("settler_refused_sends_total", "Transactions that an endpoint refused.");
        let replacements = counter("settler_replacements_total", "Stuck transactions replaced at the same nonce.");
        let reorganisations = counter("settler_reorganisations_total", "Claims that a reorganisation threw out.");
        let confirmed = counter("settler_claims_confirmed_total", "Claim transactions under enough blocks.");
        let reverted = counter("settler_claims_reverted_total", "Claim transactions that reverted.");
        let cancelled =
            counter("settler_claims_cancelled_total", "Claim transactions replaced by a transfer of nothing.");
        let lost = counter("settler_claims_lost_total", "Claim transactions whose nonce somebody else used.");
        let head = gauge("settler_head_block", "The last block seen.");
        let charges = gauge("settler_charges", "Charges by mandate that are not paid in full.");
        for (name, help) in [
            ("settler_vouchers", "Vouchers by state."),
            ("settler_vouchers_held", "Vouchers that wait, by why."),
            ("settler_vouchers_at_risk", "Vouchers that the chain would not pay now: the unsecured exposure (law 12)."),
            ("settler_transactions", "Transactions by state."),
            ("settler_paid_base_units", "What all claims moved, token base units."),
            ("settler_gas_balance_gwei", "What a gas key can pay, 10^-9 of the native coin."),
            ("settler_fees_gwei", "What all transactions cost, 10^-9 of the native coin."),
            (
                "settler_exposure_base_units",
                "What the payers have signed and the chain has not paid, token base units.",
            ),
            ("settler_owed_to_relays_base_units", "Promised to relays and not paid, token base units."),
            (
                "settler_uncovered_debts_base_units",
                "What of that the operators' escrow does not cover, token base units.",
            ),
            ("settler_open_lanes", "Lanes with a voucher that the chain has not paid."),
            ("settler_endpoint_lag_blocks", "How far an endpoint was behind what was agreed on."),
            ("settler_endpoint_disagreements", "How often an endpoint contradicted the others since the start."),
            ("settler_endpoint_failures", "How often an endpoint gave no answer since the start."),
            ("settler_alarm", "1 while something needs the operator; the page says what to do."),
            ("settler_looked_at_timestamp_seconds", "When a look at the chain last succeeded; 0 when none has."),
            ("settler_build_info", "Always 1; the program's version is a label."),
            ("process_start_time_seconds", "When the settler started, seconds since 1970."),
            ("process_resident_memory_bytes", "Memory that the settler holds."),
        ] {
            recorder.describe_gauge(KeyName::from(name), None, SharedString::from(help));
        }
        recorder.describe_counter(
            KeyName::from(INTAKE),
            None,
            SharedString::from("Vouchers and charges handed in, by result."),
        );
        for word in ["recorded", "same_as_before", "refused"] {
            // There from the start, so that the first one is seen as a step from nothing.
            let key = Key::from_parts(INTAKE, vec![Label::new("result", word)]);
            recorder.register_counter(&key, &METADATA).increment(0);
        }
        let handle = recorder.handle();
        Self {
            recorder,
            handle,
            failed_looks,
            refused_sends,
            replacements,
            reorganisations,
            confirmed,
            reverted,
            cancelled,
            lost,
            head,
            charges,
        }
    }
}

impl Metrics {
    /// Notes what became of vouchers that were handed in.
    pub fn took_in(&self, results: &[IntakeResult]) {
        for result in results {
            let word = match result {
                IntakeResult::Recorded => "recorded",
                IntakeResult::SameAsBefore => "same_as_before",
                IntakeResult::Refused { .. } => "refused",
            };
            let key = Key::from_parts(INTAKE, vec![Label::new("result", word)]);
            self.recorder.register_counter(&key, &METADATA).increment(1);
        }
    }

    /// Notes the last block and what the gas keys have.
    pub fn saw(&self, head: u64, keys: &[KeySight]) {
        self.head.set(number(u128::from(head)));
        for key in keys {
            let labels = vec![Label::new("key", key.address.to_string())];
            self.gauge("settler_gas_balance_gwei", labels).set(number(key.balance / 1_000_000_000));
        }
    }

    fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    /// The text for Prometheus, with the log's counts as they are now and what else was seen a moment ago.
    #[must_use]
    pub fn render(&self, summary: &LogSummary, overview: &Overview, started_at: u64) -> String {
        for kind in AlarmKind::ALL {
            let is_raised = overview.alarms.iter().any(|alarm| alarm.kind == kind);
            self.labelled("settler_alarm", "kind", kind.as_str(), u64::from(is_raised));
        }
        for endpoint in &overview.endpoints {
            for (name, value) in [
                ("settler_endpoint_lag_blocks", endpoint.lag_blocks),
                ("settler_endpoint_disagreements", endpoint.disagreements),
                ("settler_endpoint_failures", endpoint.failures),
            ] {
                let key = Key::from_parts(name, vec![Label::new("endpoint", endpoint.name.clone())]);
                self.recorder.register_gauge(&key, &METADATA).set(number(u128::from(value)));
            }
        }
        self.labelled("settler_build_info", "version", env!("CARGO_PKG_VERSION"), 1);
        let mut paid = 0u128;
        for (state, count) in &summary.vouchers {
            self.labelled("settler_vouchers", "state", state.as_str(), count.count);
            paid = paid.saturating_add(count.paid.base_units());
        }
        for (state, count) in &summary.transactions {
            self.labelled("settler_transactions", "state", state.as_str(), *count);
        }
        for hold in crate::store::Hold::ALL {
            let count = summary.held.get(hold).copied().unwrap_or(0);
            self.labelled("settler_vouchers_held", "why", hold.as_str(), count);
        }
        for (name, value) in [
            ("settler_vouchers_at_risk", u128::from(summary.at_risk)),
            ("settler_paid_base_units", paid),
            ("settler_fees_gwei", u128::from(summary.fees_gwei)),
            ("settler_exposure_base_units", overview.exposure.base_units()),
            ("settler_owed_to_relays_base_units", overview.owed_to_relays.base_units()),
            ("settler_uncovered_debts_base_units", overview.uncovered_debts.base_units()),
            ("settler_open_lanes", u128::from(overview.open_lanes)),
            ("settler_looked_at_timestamp_seconds", u128::from(overview.looked_at)),
            ("process_start_time_seconds", u128::from(started_at)),
            ("process_resident_memory_bytes", u128::from(resident_bytes().unwrap_or(0))),
        ] {
            self.recorder.register_gauge(&Key::from_static_name(name), &METADATA).set(number(value));
        }
        self.handle.run_upkeep();
        self.handle.render()
    }

    fn labelled(&self, name: &'static str, label: &'static str, value: &'static str, count: u64) {
        let key = Key::from_parts(name, vec![Label::new(label, value)]);
        self.recorder.register_gauge(&key, &METADATA).set(number(u128::from(count)));
    }
}

/// What the system says; not every system has `/proc`.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
}

/// Prometheus knows only floats; for display, never for deciding. Exact up to 2^53.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "display only")]
fn number(value: u128) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;

    use super::*;
    use crate::alarms::{Alarm, Severity};
    use crate::check::Refusal;

    #[test]
    fn renders_counts_by_label() {
        let metrics = Metrics::default();
        metrics.took_in(&[IntakeResult::Recorded, IntakeResult::Refused { reason: Refusal::NotASigner }]);
        let key = KeySight { address: Address::ZERO, balance: 2_000_000_000, transaction_count: 0 };
        metrics.saw(7, &[key]);
        let overview = Overview {
            alarms: vec![Alarm {
                severity: Severity::Critical,
                kind: AlarmKind::GasLow,
                text: String::new(),
                remedy: String::new(),
            }],
            looked_at: 5,
            ..Overview::default()
        };
        let text = metrics.render(&LogSummary { at_risk: 3, ..LogSummary::default() }, &overview, 4);

        for line in [
            "settler_intake_total{result=\"recorded\"} 1",
            "settler_intake_total{result=\"refused\"} 1",
            "settler_head_block 7",
            "settler_gas_balance_gwei{key=\"0x0000000000000000000000000000000000000000\"} 2",
            "settler_vouchers_at_risk 3",
            "settler_alarm{kind=\"gas_low\"} 1",
            "settler_alarm{kind=\"stale_chain\"} 0",
            "settler_looked_at_timestamp_seconds 5",
            "process_start_time_seconds 4",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
