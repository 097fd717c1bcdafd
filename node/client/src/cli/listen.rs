//! `minus listen`: one line per thing received; in JSON, one object per line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use clap::Args;
use indicatif::{HumanBytes, ProgressBar};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::bars;
use super::output::{Output, printable};
use super::unlock::IdentityArgs;
use crate::error::Error;
use crate::events::{ListenEvent, ListenSink};
use crate::listen::{ListenOptions, ListenSummary, Stop};

/// Receive, check what is charged, and sign for it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  minus listen --wallet alice --output inbox
  minus listen --wallet phone --payer alice --via 0x51c0… --files 3 --json
  minus listen --wallet alice --until-idle 10

Every file is checked against its SHA-256 and put under a name of its own, nothing is replaced.
Every statement of the agent is held against your own count; one that says more is not signed, and
the command ends with exit code 3 and nothing lost. Straight from the agent is cheapest; --via
hides your network address from it and costs the relay's fee.")]
pub struct ListenArgs {
    #[command(flatten)]
    identity: IdentityArgs,
    /// Where files go
    #[arg(long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// The access node to listen through [default: straight from the agent]
    #[arg(long, value_name = "NODE")]
    via: Option<Address>,
    /// Stop after so many files, when they are signed for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    files: Option<u64>,
    /// Stop after so many seconds without a message, when everything is signed for
    #[arg(long, value_name = "SECS")]
    until_idle: Option<u64>,
    /// Go on receiving, without signing, when a statement is not agreed with
    #[arg(long)]
    keep_going: bool,
}

pub(super) async fn run(context: &Context, args: &ListenArgs) -> Result<(), Error> {
    if args.output.exists() && !args.output.is_dir() {
        return Err(Error::Usage(format!("--output {} is not a directory", args.output.display())));
    }
    let identity = context.identity(&args.identity)?;
    let client = context.client().await?;
    let options = ListenOptions {
        output: args.output.clone(),
        via: args.via,
        stop: Stop { files: args.files, idle: args.until_idle.map(Duration::from_secs) },
        keep_going: args.keep_going,
    };
    let cancel = CancellationToken::new();
    tokio::spawn(cancel_on_interrupt(cancel.clone()));
    let bar = bars::spinner(context.output);
    let sink = sink(context.output, bar.clone(), cancel.clone());
    let summary = client.listen(&identity, &options, &sink, cancel).await;
    bar.finish_and_clear();
    client.close().await;
    let summary = summary?;
    context.output.event(&json!({ "event": "done", "summary": summary }), |_| None);
    context.output.remark(&lines(&summary));
    Ok(())
}

/// The first interrupt ends in good order; whoever cannot wait for that presses again.
async fn cancel_on_interrupt(cancel: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        cancel.cancel();
    }
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(130);
    }
}

/// Tells what happens. When nobody reads the results any longer, the listening ends: a message that nobody would see is
/// better left at the agent.
fn sink(output: Output, bar: ProgressBar, cancel: CancellationToken) -> ListenSink {
    let received = std::sync::atomic::AtomicU64::new(0);
    Arc::new(move |event| {
        if let ListenEvent::Received { bytes, .. } = &event {
            let total = received.fetch_add(*bytes, std::sync::atomic::Ordering::Relaxed).saturating_add(*bytes);
            bar.set_message(format!("received {}", HumanBytes(total)));
        }
        bar.suspend(|| {
            if !output.event(&event, line) {
                cancel.cancel();
            }
            if let Some((is_warning, text)) = remark(&event) {
                if is_warning { output.warning(&text) } else { output.remark(&text) }
            }
        });
    })
}

/// What is a result.
fn line(event: &ListenEvent) -> Option<String> {
    match event {
        ListenEvent::Text { sender, text, .. } => Some(format!("text  from {sender}  {}", printable(text))),
        ListenEvent::File { path, sha256, size, sender, .. } => {
            Some(format!("file  from {sender}  {size} bytes  sha256 {sha256}  {}", path.display()))
        }
        _ => None,
    }
}

/// What is said beside the results, and whether quiet does not silence it.
fn remark(event: &ListenEvent) -> Option<(bool, String)> {
    match event {
        ListenEvent::Connected { agent, via, .. } if agent == via => Some((false, format!("listening at {agent}"))),
        ListenEvent::Connected { agent, via, .. } => Some((false, format!("listening at {agent} through {via}"))),
        ListenEvent::Acknowledged { statement, total, .. } => {
            Some((false, format!("statement {statement} is right; signed, {total} tokens in all")))
        }
        ListenEvent::Discarded { reason, .. } => Some((true, format!("a message is of no use: {}", printable(reason)))),
        ListenEvent::Doubt { seq, reason } => Some((true, format!("message {seq}: {reason}"))),
        ListenEvent::Disagreement { statement, reason, .. } => {
            Some((true, format!("statement {statement} is NOT what was counted here, nothing was signed: {reason}")))
        }
        ListenEvent::Refused { reason } => Some((true, reason.clone())),
        ListenEvent::Disconnected { reason, retry_in_ms } => {
            Some((false, format!("disconnected ({}); again in {retry_in_ms} ms", printable(reason))))
        }
        ListenEvent::Received { .. } | ListenEvent::Text { .. } | ListenEvent::File { .. } => None,
    }
}

fn lines(summary: &ListenSummary) -> String {
    let total =
        summary.total.map_or_else(|| "nothing was signed".to_owned(), |total| format!("{total} tokens signed in all"));
    format!(
        "{} files, {} texts in {} messages of {}; {total}",
        summary.files,
        summary.texts,
        summary.messages,
        HumanBytes(summary.bytes)
    )
}
