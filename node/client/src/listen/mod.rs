//! Listening: a stream from the agent, made durable, delivered, checked, signed for, acknowledged; opened again whenever
//! it ends, where it ended.
//!
//! - this file: what to listen for, and the loop of connections
//! - [`session`]: one connection, from subscription to end
//! - [`settle`]: one statement: judge, sign durably, acknowledge
//! - [`deliver`]: what is durable goes to the application

mod deliver;
mod session;
mod settle;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use minus_bindings::Amount;
use minus_protocol::SealingSecret;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::account::not_entrusted;
use crate::backoff::Backoff;
use crate::chain::Schedule;
use crate::client::{Client, Identity};
use crate::clock;
use crate::entrust::sealing_secret;
use crate::error::Error;
use crate::events::{ListenEvent, ListenSink};
use session::Ended;

/// Longest wait between two connections.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Connections in a row that an agent may refuse as a stranger's before that is believed: its view of the chain may be
/// behind, or it may just be starting.
const REFUSALS_MAX: u32 = 10;

/// Connections in a row in which no statement comes for what was received, before the agent is given up on.
const SILENT_CONNECTIONS_MAX: u32 = 5;

/// What to listen for.
#[derive(Debug, Clone)]
pub struct ListenOptions {
    /// Where files go.
    pub output: PathBuf,
    /// The access node the stream runs through; straight from the agent when `None`.
    pub via: Option<Address>,
    /// When to stop. Never, when empty.
    pub stop: Stop,
    /// Go on receiving, and sign nothing, when a statement is not agreed with.
    pub keep_going: bool,
}

/// When to stop listening. Whichever comes first; and not before what was received is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stop {
    /// After so many files.
    pub files: Option<u64>,
    /// After so long without a message, while connected.
    pub idle: Option<Duration>,
}

/// What listening came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ListenSummary {
    /// Files put in their place.
    pub files: u64,
    /// Texts delivered.
    pub texts: u64,
    /// Messages received and counted.
    pub messages: u64,
    /// Their packets' bytes.
    pub bytes: u64,
    /// Of them, of no use.
    pub discarded: u64,
    /// Statements acknowledged.
    pub statements: u64,
    /// Statements that were not agreed with.
    pub disagreements: u64,
    /// The running total signed and acknowledged last, base units.
    pub total: Option<Amount>,
    /// Messages received and not yet acknowledged.
    pub waiting_messages: u64,
}

/// One listening, over all its connections.
struct Listener<'a> {
    client: &'a Client,
    identity: &'a Identity,
    options: &'a ListenOptions,
    sink: &'a ListenSink,
    cancel: CancellationToken,
    secret: SealingSecret,
    agent: Address,
    schedule: Schedule,
    summary: ListenSummary,
    /// When the last message came, or the first connection stood.
    last_message: Option<Instant>,
    /// Whether messages wait for an acknowledged statement.
    owes: bool,
    /// Whether this connection has brought anything.
    progressed: bool,
}

impl Client {
    /// Receives for a wallet until told to stop. The payer has to be the one the wallet was entrusted with.
    pub async fn listen(
        &self,
        identity: &Identity,
        options: &ListenOptions,
        sink: &ListenSink,
        cancel: CancellationToken,
    ) -> Result<ListenSummary, Error> {
        let wallet = identity.wallet.address();
        let agent = self.chain.route(wallet).await?.agent;
        let entrustment = self.store.entrustment(wallet, agent).await?.ok_or_else(|| not_entrusted(wallet))?;
        if entrustment.payer != identity.payer.address() {
            return Err(Error::Usage(format!(
                "{wallet} is paid for by {}; name that wallet with --payer",
                entrustment.payer
            )));
        }
        let waiting = self.store.waiting_messages(wallet, agent).await?;
        let mut listener = Listener {
            client: self,
            identity,
            options,
            sink,
            cancel,
            secret: sealing_secret(&identity.wallet),
            agent,
            schedule: Schedule::default(),
            summary: ListenSummary { waiting_messages: waiting, ..ListenSummary::default() },
            last_message: None,
            owes: waiting > 0,
            progressed: false,
        };
        listener.run().await?;
        Ok(listener.summary)
    }
}

impl Listener<'_> {
    async fn run(&mut self) -> Result<(), Error> {
        self.client.store.forget_old(clock::now_s()).await?;
        // What an earlier run received and could not deliver any more.
        self.deliver().await?;

        let mut backoff = Backoff::new(WAIT_MAX);
        let (mut refusals, mut silent) = (0_u32, 0_u32);
        loop {
            self.progressed = false;
            let reason = match self.connection().await? {
                Ended::Done => return Ok(()),
                Ended::Stranger(failure) => {
                    refusals += 1;
                    if refusals >= REFUSALS_MAX {
                        return Err(failure.into());
                    }
                    failure.to_string()
                }
                Ended::NoStatement => {
                    silent += 1;
                    if silent >= SILENT_CONNECTIONS_MAX {
                        let agent = self.agent;
                        return Err(Error::Refused(format!(
                            "agent {agent} sends no statement for what it delivered; nothing is lost and nothing owed \
                             was signed for, listen again later"
                        )));
                    }
                    "no statement came".to_owned()
                }
                Ended::Lost(reason) => reason,
            };
            if self.progressed {
                backoff.reset();
                (refusals, silent) = (0, 0);
            }
            let wait = backoff.next();
            let retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.emit(ListenEvent::Disconnected { reason, retry_in_ms });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.cancel.cancelled() => return Ok(()),
            }
        }
    }

    fn emit(&self, event: ListenEvent) {
        (self.sink)(event);
    }

    fn wallet(&self) -> Address {
        self.identity.wallet.address()
    }

    /// Whether everything asked for has come, and everything that came is acknowledged.
    fn is_done(&self) -> bool {
        !self.is_owing() && (self.has_files() || self.is_idle())
    }

    /// Whether an acknowledgement is still to come. Not once a disagreement stands: it would never.
    fn is_owing(&self) -> bool {
        self.owes && !(self.options.keep_going && self.summary.disagreements > 0)
    }

    fn has_files(&self) -> bool {
        self.options.stop.files.is_some_and(|files| self.summary.files >= files)
    }

    fn is_idle(&self) -> bool {
        match (self.options.stop.idle, self.last_message) {
            (Some(idle), Some(last)) => last.elapsed() >= idle,
            _ => false,
        }
    }
}
