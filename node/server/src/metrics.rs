//! What an operator can watch. Every instrument is declared here once, with its name and its explanation, and registered
//! when the node starts: counting is then an atomic addition, with nothing looked up and nothing formatted. Each node has
//! its own recorder, so that several in one process do not mix.

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label as KeyLabel, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use minus_protocol::{Refusal, Status};

use crate::{chain::reader::Flaw, egress::Cause, health::Ailment, http::reason::Reason};

const METADATA: Metadata<'static> = Metadata::new("minus_node", Level::INFO, None);

/// From half a millisecond, below which no commit is durable, to the timeouts of this node.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Up to what the writer takes at once.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// The values of a label, all known beforehand.
pub(crate) trait Label: Copy + PartialEq + 'static {
    /// All of them.
    const ALL: &'static [Self];
    /// As Prometheus sees it.
    fn value(self) -> String;
}

impl Label for Status {
    const ALL: &'static [Self] = &Self::ALL;

    fn value(self) -> String {
        self.code().to_string()
    }
}

impl Label for Refusal {
    const ALL: &'static [Self] = &Self::ALL;

    fn value(self) -> String {
        serde_json::to_value(self).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl Label for Reason {
    const ALL: &'static [Self] = Self::ALL;

    fn value(self) -> String {
        self.word().to_owned()
    }
}

impl Label for Ailment {
    const ALL: &'static [Self] = &Self::ALL;

    fn value(self) -> String {
        serde_json::to_value(self).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl Label for Flaw {
    const ALL: &'static [Self] = &Self::ALL;

    fn value(self) -> String {
        self.word().to_owned()
    }
}

/// A bound that this node keeps to (law 13). How far each is used, and how often it was reached, is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Connections of the public surface.
    Connections,
    /// Connections of one remote address; shown is the address that has most.
    ConnectionsPerAddress,
    /// Requests whose body is still coming.
    Bodies,
    /// The same from one remote address.
    BodiesPerAddress,
    /// Bytes of bodies that are still coming.
    BodyBytes,
    /// Requests in work.
    Requests,
    /// Of these, being forwarded.
    Forwards,
    /// Streams, own and relayed.
    Streams,
    /// Writes waiting for the writer.
    WriterQueue,
}

impl Label for Limit {
    const ALL: &'static [Self] = &[
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::Bodies,
        Self::BodiesPerAddress,
        Self::BodyBytes,
        Self::Requests,
        Self::Forwards,
        Self::Streams,
        Self::WriterQueue,
    ];

    fn value(self) -> String {
        let word = match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::Bodies => "bodies",
            Self::BodiesPerAddress => "bodies_per_address",
            Self::BodyBytes => "body_bytes",
            Self::Requests => "requests",
            Self::Forwards => "forwards",
            Self::Streams => "streams",
            Self::WriterQueue => "writer_queue",
        };
        word.to_owned()
    }
}

/// How a connection ended other than well. Where HTTP allows an answer, hyper has given it: 400, 408, 414, 431.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nothing came in time, or not the whole headers.
    HeaderTimeout,
    /// Too many header fields, or too long.
    HeaderTooLarge,
    /// What came is no HTTP.
    NotHttp,
    /// The peer left in the middle.
    Gone,
    /// Anything else.
    Other,
}

impl Label for Broken {
    const ALL: &'static [Self] = &[Self::HeaderTimeout, Self::HeaderTooLarge, Self::NotHttp, Self::Gone, Self::Other];

    fn value(self) -> String {
        let word = match self {
            Self::HeaderTimeout => "header_timeout",
            Self::HeaderTooLarge => "header_too_large",
            Self::NotHttp => "not_http",
            Self::Gone => "broken_off",
            Self::Other => "other",
        };
        word.to_owned()
    }
}

/// One instrument for each value of a label.
pub(crate) struct Family<L, T> {
    instruments: Vec<T>,
    label: std::marker::PhantomData<L>,
}

impl<L: Label, T> Family<L, T> {
    fn new(name: &'static str, label: &'static str, register: impl Fn(&Key) -> T) -> Self {
        let key = |value: L| Key::from_parts(name, vec![KeyLabel::new(label, value.value())]);
        Self {
            instruments: L::ALL.iter().map(|value| register(&key(*value))).collect(),
            label: std::marker::PhantomData,
        }
    }

    /// The instrument of one value.
    pub(crate) fn of(&self, value: L) -> &T {
        let place = L::ALL.iter().position(|known| *known == value);
        &self.instruments[place.expect("the list of a label's values is complete")]
    }
}

/// Declares the fields of [`Metrics`] and registers each under its name, with its explanation.
macro_rules! instruments {
    (
        counters { $($counter:ident $counter_name:literal $counter_help:literal;)* }
        gauges { $($gauge:ident $gauge_name:literal $gauge_help:literal;)* }
        histograms { $($histogram:ident $histogram_name:literal $buckets:ident $histogram_help:literal;)* }
        counter_families { $($counters:ident[$counters_label:ident: $counters_by:ty] $counters_name:literal $counters_help:literal;)* }
        gauge_families { $($gauges:ident[$gauges_label:ident: $gauges_by:ty] $gauges_name:literal $gauges_help:literal;)* }
        labelled_gauges { $($labelled:ident[$key:ident] $labelled_name:literal $labelled_help:literal;)* }
    ) => {
        /// The instruments of one node. Gauges that mirror the store are set when they are asked for.
        pub(crate) struct Metrics {
            recorder: PrometheusRecorder,
            handle: PrometheusHandle,
            $(#[doc = $counter_help] pub(crate) $counter: Counter,)*
            $(#[doc = $gauge_help] pub(crate) $gauge: Gauge,)*
            $(#[doc = $histogram_help] pub(crate) $histogram: Histogram,)*
            $(#[doc = $counters_help] pub(crate) $counters: Family<$counters_by, Counter>,)*
            $(#[doc = $gauges_help] pub(crate) $gauges: Family<$gauges_by, Gauge>,)*
        }

        impl Metrics {
            pub(crate) fn new() -> Self {
                let builder = PrometheusBuilder::new();
                $(let builder = builder
                    .set_buckets_for_metric(Matcher::Full($histogram_name.to_owned()), $buckets)
                    .expect("the buckets are not empty");)*
                let recorder = builder.build_recorder();
                $(recorder.describe_counter(KeyName::from_const_str($counter_name), None, $counter_help.into());)*
                $(recorder.describe_gauge(KeyName::from_const_str($gauge_name), None, $gauge_help.into());)*
                $(recorder.describe_histogram(KeyName::from_const_str($histogram_name), None, $histogram_help.into());)*
                $(recorder.describe_counter(KeyName::from_const_str($counters_name), None, $counters_help.into());)*
                $(recorder.describe_gauge(KeyName::from_const_str($gauges_name), None, $gauges_help.into());)*
                $(recorder.describe_gauge(KeyName::from_const_str($labelled_name), None, $labelled_help.into());)*
                let counter = |key: &Key| recorder.register_counter(key, &METADATA);
                let gauge = |key: &Key| recorder.register_gauge(key, &METADATA);
                let histogram = |key: &Key| recorder.register_histogram(key, &METADATA);
                Self {
                    $($counter: counter(&Key::from_static_name($counter_name)),)*
                    $($gauge: gauge(&Key::from_static_name($gauge_name)),)*
                    $($histogram: histogram(&Key::from_static_name($histogram_name)),)*
                    $($counters: Family::new($counters_name, stringify!($counters_label), counter),)*
                    $($gauges: Family::new($gauges_name, stringify!($gauges_label), gauge),)*
                    handle: recorder.handle(),
                    recorder,
                }
            }

            $(
                #[doc = $labelled_help]
                /// Registered when it is set: for what is not known beforehand, and never per request.
                pub(crate) fn $labelled(&self, value_of_label: String, value: f64) {
                    let key = Key::from_parts($labelled_name, vec![KeyLabel::new(stringify!($key), value_of_label)]);
                    self.recorder.register_gauge(&key, &METADATA).set(value);
                }
            )*
        }
    };
}

instruments! {
    counters {
        packets_stored "minus_packets_stored_total" "Packets stored as agent, duplicates not among them.";
        bytes_stored "minus_bytes_stored_total" "Bytes of packets stored as agent.";
        packets_duplicate "minus_packets_duplicate_total" "Packets that had been stored before.";
        packets_expired "minus_packets_expired_total" "Packets deleted because nobody fetched them in time.";
        bytes_pushed "minus_bytes_pushed_total" "Bytes of packets pushed to subscriptions.";
        statements_issued "minus_statements_issued_total" "Statements issued to customers.";
        statements_acknowledged "minus_statements_acknowledged_total" "Statements acknowledged with a voucher.";
        bytes_relayed_in "minus_bytes_relayed_in_total" "Bytes carried as relay to agents.";
        bytes_relayed_out "minus_bytes_relayed_out_total" "Bytes carried as relay from agents' streams.";
        relay_counts_disputed "minus_relay_counts_disputed_total" "Peers found to count otherwise than this node: agents that say less, relays that claim more.";
        relay_duplicate_bytes "minus_relay_duplicate_bytes_total" "Bytes that agents called duplicates though this relay had not brought them.";
        relay_stops "minus_relay_stops_total" "Times that an agent came to owe as much as it may.";
        relay_streams_cut "minus_relay_streams_cut_total" "Streams ended because the agent owes as much as it may.";
        relay_vouchers_collected "minus_relay_vouchers_collected_total" "Vouchers collected from agents.";
        relay_vouchers_refused "minus_relay_vouchers_refused_total" "Agents asked that gave no good voucher.";
        vouchers_handed_over "minus_vouchers_handed_over_total" "Vouchers the settler has taken.";
        charges_signed "minus_charges_signed_total" "Charges signed by standing mandates of payers that were away.";
        charges_unauthorised "minus_charges_unauthorised_total" "Charges not signed because this node's key may not sign for its operator.";
        promises_handed_over "minus_promises_handed_over_total" "Vouchers given to relays that the settler knows of.";
        charges_handed_over "minus_charges_handed_over_total" "Charges the settler has taken.";
        charges_refused "minus_charges_refused_total" "Charges the settler has refused; whether to charge is decided anew.";
        settler_failures "minus_settler_failures_total" "Hand-overs to the settler that failed.";
        chain_failures "minus_chain_failures_total" "Rounds in which the chain could not be followed.";
        connections_accepted "minus_connections_accepted_total" "Connections that were served, the operator's among them.";
        chain_reorganisations "minus_chain_reorganisations_total" "Reorganisations that were found.";
        cpu_seconds "process_cpu_seconds_total" "Processor time used, in whole seconds.";
    }
    gauges {
        streams_open "minus_streams_open" "Streams open, own and relayed.";
        packets_waiting "minus_packets_waiting" "Packets stored and not yet acknowledged.";
        vouchers_waiting "minus_vouchers_waiting" "Vouchers in the outbox to the settler.";
        charges_waiting "minus_charges_waiting" "Charges in the outbox to the settler.";
        promises_waiting "minus_promises_waiting" "Relay operators to whom more was promised than the settler knows of.";
        peer_sessions "minus_peer_sessions" "Sessions of relays that are open here.";
        clock_ahead "minus_clock_ahead_seconds" "How far the system's clock is ahead of the node's time, which never jumps.";
        clock_jumps "minus_clock_jumps" "Jumps of the system's clock since the start.";
        view_fresh "minus_view_fresh" "1 while the view of the chain may be acted on.";
        view_block "minus_view_block" "The block the view of the chain is at.";
        reserved "minus_reserved_base_units" "Worst case of what the stored packets cost their customers.";
        fronted "minus_fronted_base_units" "Paid or owed to relays for customers that have not paid it yet.";
        customer_credit "minus_customer_credit_base_units" "The most that is fronted for one payer.";
        relay_credit "minus_relay_credit_base_units" "The most an agent may owe this relay.";
        relay_write_off "minus_relay_write_off_bytes" "What is carried in vain for an agent before that counts as owed.";
        ready "minus_ready" "1 while /health/ready answers 200.";
        resident_memory "process_resident_memory_bytes" "Memory that is resident.";
        open_files "process_open_fds" "File descriptors in use.";
        open_files_max "process_max_fds" "File descriptors allowed.";
        started_at "process_start_time_seconds" "When the process started, since 1970.";
        uptime "minus_uptime_seconds" "How long this node has been running.";
    }
    histograms {
        deposit_seconds "minus_deposit_seconds" SECONDS "From a packet's last byte to its 202, as agent.";
        forward_seconds "minus_forward_seconds" SECONDS "From a packet's last byte to its answer, as relay.";
        commit_seconds "minus_commit_seconds" SECONDS "One transaction of the writer, its commit included.";
        batch_writes "minus_batch_writes" COUNTS "Writes in one transaction.";
        request_packets "minus_request_packets" COUNTS "Packets for wallets in one request to an agent, as relay.";
        statement_seconds "minus_statement_seconds" SECONDS "Issuing one statement.";
    }
    counter_families {
        answers[status: Status] "minus_answers_total" "Answers of the public surface.";
        forwards[status: Status] "minus_forwards_total" "What became of forwarded packets.";
        refused[reason: Reason] "minus_refused_total" "Requests that were not served.";
        commands_refused[reason: Refusal] "minus_commands_refused_total" "Commands that were opened and refused.";
        egress_failures[reason: Cause] "minus_egress_failures_total" "Why a peer's answer was not to be had.";
        connections_broken[reason: Broken] "minus_connections_broken_total" "Connections that ended other than well.";
        chain_endpoint_failures[flaw: Flaw] "minus_chain_endpoint_failures_total" "RPC endpoints passed over in a round.";
        limit_reached[limit: Limit] "minus_limit_reached_total" "How often a limit turned somebody away.";
    }
    gauge_families {
        limit_used[limit: Limit] "minus_limit_used" "How much of a limit is used; of one per address, by the busiest.";
        limit_max[limit: Limit] "minus_limit_max" "The limit.";
        unwell[reason: Ailment] "minus_unwell" "1 while /health/ready lists this reason, to the precision of its looks.";
    }
    labelled_gauges {
        relay_exposure[peer] "minus_relay_exposure_base_units" "What an agent owes this relay without a voucher.";
        relay_written_off[peer] "minus_relay_written_off_bytes" "Bytes an agent never confirmed and that were given up.";
        relay_in_vain[peer] "minus_relay_duplicates_in_vain_bytes" "Bytes an agent called duplicates that this relay cannot explain.";
        relay_disputes[peer] "minus_relay_disputes" "How often an agent was found to count less than this relay.";
        build_info[version] "minus_build_info" "1, with the version of the program.";
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Everything in the text form that Prometheus reads.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Sorts what the histograms were given into their buckets; until then each sample is kept.
    pub(crate) fn tidy(&self) {
        self.handle.run_upkeep();
    }
}
