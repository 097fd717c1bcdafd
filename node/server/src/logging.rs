//! The log: what happens in this program, never what it carries for whom. Of other people's crates only what they say at
//! `info` and above is taken, however much is asked for: some print whole requests below that, with credentials and all.

use std::io::{self, IsTerminal};

use minus_node::config::LogFormat;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Filters the log, as in `debug` or `minus_node::http=trace`.
const FILTER_VARIABLE: &str = "MINUS_NODE_LOG";
/// Without it.
const FILTER: &str = "info,sqlx=warn,hyper=warn,reqwest=warn";

pub(crate) fn start(format: LogFormat) {
    let asked_for = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(FILTER));
    let ours = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_targets(["minus_node", "minus_protocol", "minus_bindings"].map(|target| (target, LevelFilter::TRACE)));
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => {
            fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).with_filter(ours).boxed()
        }
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).with_filter(ours).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(asked_for)).init();
}
