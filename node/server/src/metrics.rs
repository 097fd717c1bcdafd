//! What an operator can watch. Each node has its own recorder, so that several in one process do not mix.

use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use minus_protocol::{Refusal, Status};

const METADATA: Metadata<'static> = Metadata::new("minus_node", Level::INFO, None);

/// The counters of one node. Gauges that mirror the store are set when they are asked for.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    pub(crate) packets_stored: Counter,
    pub(crate) bytes_stored: Counter,
    pub(crate) packets_duplicate: Counter,
    pub(crate) packets_expired: Counter,
    pub(crate) bytes_pushed: Counter,
    pub(crate) streams_open: Gauge,
    pub(crate) statements_issued: Counter,
    pub(crate) statements_acknowledged: Counter,
    pub(crate) bytes_relayed_in: Counter,
    pub(crate) bytes_relayed_out: Counter,
    pub(crate) relay_counts_disputed: Counter,
    pub(crate) relay_vouchers_collected: Counter,
    pub(crate) relay_vouchers_refused: Counter,
    pub(crate) vouchers_handed_over: Counter,
    pub(crate) settler_failures: Counter,
    pub(crate) chain_failures: Counter,
    pub(crate) chain_reorganisations: Counter,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let counter = |name: &'static str| recorder.register_counter(&Key::from_static_name(name), &METADATA);
        let gauge = |name: &'static str| recorder.register_gauge(&Key::from_static_name(name), &METADATA);
        Self {
            packets_stored: counter("minus_packets_stored_total"),
            bytes_stored: counter("minus_bytes_stored_total"),
            packets_duplicate: counter("minus_packets_duplicate_total"),
            packets_expired: counter("minus_packets_expired_total"),
            bytes_pushed: counter("minus_bytes_pushed_total"),
            streams_open: gauge("minus_streams_open"),
            statements_issued: counter("minus_statements_issued_total"),
            statements_acknowledged: counter("minus_statements_acknowledged_total"),
            bytes_relayed_in: counter("minus_bytes_relayed_in_total"),
            bytes_relayed_out: counter("minus_bytes_relayed_out_total"),
            relay_counts_disputed: counter("minus_relay_counts_disputed_total"),
            relay_vouchers_collected: counter("minus_relay_vouchers_collected_total"),
            relay_vouchers_refused: counter("minus_relay_vouchers_refused_total"),
            vouchers_handed_over: counter("minus_vouchers_handed_over_total"),
            settler_failures: counter("minus_settler_failures_total"),
            chain_failures: counter("minus_chain_failures_total"),
            chain_reorganisations: counter("minus_chain_reorganisations_total"),
            handle: recorder.handle(),
            recorder,
        }
    }

    /// Counts an answer of the public surface by its status.
    pub(crate) fn answered(&self, code: u16) {
        self.labelled("minus_answers_total", "status", code.to_string()).increment(1);
    }

    /// Counts a refused command by its reason.
    pub(crate) fn refused(&self, reason: Refusal) {
        self.labelled("minus_commands_refused_total", "reason", format!("{reason:?}")).increment(1);
    }

    /// Counts what became of a forwarded packet.
    pub(crate) fn forwarded(&self, status: Status) {
        self.labelled("minus_forwards_total", "status", status.code().to_string()).increment(1);
    }

    fn labelled(&self, name: &'static str, label: &'static str, value: String) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, vec![Label::new(label, value)]), &METADATA)
    }

    /// Sets a gauge that is read off the store or the chain view.
    pub(crate) fn observe(&self, name: &'static str, value: f64) {
        self.recorder.register_gauge(&Key::from_static_name(name), &METADATA).set(value);
    }

    /// The same, for one peer.
    pub(crate) fn observe_peer(&self, name: &'static str, peer: String, value: f64) {
        let key = Key::from_parts(name, vec![Label::new("peer", peer)]);
        self.recorder.register_gauge(&key, &METADATA).set(value);
    }

    /// Everything in the text form that Prometheus reads.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }
}
