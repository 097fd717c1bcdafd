//! Progress on standard error, when that is a terminal and nobody asked for quiet.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::Output;
use crate::events::{Progress, ProgressSink};

/// Whether there is anyone to look at a bar.
fn is_watched(output: Output) -> bool {
    !output.is_quiet() && std::io::stderr().is_terminal()
}

/// A bar that turns without knowing how far it is; hidden when nobody watches.
pub fn spinner(output: Output) -> ProgressBar {
    if !is_watched(output) {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(style("{spinner} {msg}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Shows steps and transactions (`prepay`, `withdraw`, `entrust`).
pub fn steps(output: Output) -> ProgressSink {
    if !is_watched(output) {
        return retries(output);
    }
    let bar = spinner(output);
    Arc::new(move |progress| match progress {
        Progress::Step(text) => bar.set_message(text),
        Progress::Transaction(hash) => bar.set_message(format!("waiting for transaction {hash}")),
        Progress::Retrying { reason } => bar.set_message(format!("trying again: {reason}")),
        Progress::Sending { .. } | Progress::Stored { .. } => {}
    })
}

/// Shows bytes on their way (`send`).
pub fn sending(output: Output) -> ProgressSink {
    if !is_watched(output) {
        return retries(output);
    }
    let shown = Mutex::new((spinner(output), String::new()));
    Arc::new(move |progress| {
        let Ok(mut shown) = shown.lock() else { return };
        let (bar, said) = &mut *shown;
        match progress {
            Progress::Sending { packets, bytes } => {
                bar.finish_and_clear();
                *bar = ProgressBar::new(bytes);
                bar.set_style(style("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}"));
                bar.set_message(format!("in {packets} packets"));
            }
            Progress::Stored { bytes } => bar.inc(bytes),
            // Every packet in flight says so, each time.
            Progress::Retrying { reason } if reason == *said => {}
            Progress::Retrying { reason } => {
                bar.println(format!("trying again: {reason}"));
                *said = reason;
            }
            Progress::Step(text) => bar.set_message(text),
            Progress::Transaction(_) => {}
        }
    })
}

/// Without a terminal: a line for each new reason to wait, and nothing else.
fn retries(output: Output) -> ProgressSink {
    let said = Mutex::new(String::new());
    Arc::new(move |progress| {
        let (Progress::Retrying { reason }, Ok(mut said)) = (progress, said.lock()) else { return };
        if *said != reason {
            output.remark(&format!("trying again: {reason}"));
            *said = reason;
        }
    })
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
