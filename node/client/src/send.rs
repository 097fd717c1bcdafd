//! Sending: items are hashed and split, each part is sealed and posted, a few in flight at a time. The same bytes are
//! posted again when an attempt fails, so a packet that did arrive is stored and charged once (law 9).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use minus_protocol::{Outgoing, SealingKey, Status, random_bytes, seal};
use serde::Serialize;

use crate::backoff::Backoff;
use crate::chain::NodeRecord;
use crate::client::Client;
use crate::clock;
use crate::command::CommandFailure;
use crate::error::Error;
use crate::events::{Progress, ProgressSink};
use crate::parcel::{Item, Job, Planned, jobs, plan};

/// Packets in flight: enough to hide the way there and back, little enough memory (2 MiB).
const IN_FLIGHT: usize = 8;

/// Attempts for one packet: with the waits between them about half a minute, in which a node restarts.
const ATTEMPTS_MAX: u32 = 12;

/// Attempts while the recipient's prepayment is said to be spent: a deposit just made shows at its agent within seconds,
/// and what the recipient has signed for meanwhile makes room.
const SPENT_ATTEMPTS_MAX: u32 = 5;

/// Longest wait between two attempts.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What to send where.
#[derive(Debug, Clone)]
pub struct SendOptions {
    /// The recipient's wallet address.
    pub recipient: Address,
    /// The access node; any other than the recipient's agent when `None`.
    pub via: Option<Address>,
    /// What.
    pub items: Vec<Item>,
}

/// What was sent.
#[derive(Debug, Clone, Serialize)]
pub struct SendReport {
    /// To whom.
    pub recipient: Address,
    /// From whom.
    pub sender: Address,
    /// The recipient's agent.
    pub agent: Address,
    /// The access node tried first.
    pub via: Address,
    /// Item by item.
    pub items: Vec<SentItem>,
    /// Packets in all.
    pub packets: u64,
    /// Bytes on the wire in all.
    pub wire_bytes: u64,
}

/// One item of a sending.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SentItem {
    /// A text.
    Text {
        /// Bytes of the text.
        size: u64,
        /// Always 1.
        packets: u64,
        /// Bytes on the wire.
        wire_bytes: u64,
    },
    /// A file.
    File {
        /// As given.
        path: PathBuf,
        /// As the recipient sees it.
        name: String,
        /// Bytes of the file.
        size: u64,
        /// Hex.
        sha256: String,
        /// The sending's id for it, hex.
        file_id: String,
        /// How many packets.
        packets: u64,
        /// Bytes on the wire.
        wire_bytes: u64,
    },
}

/// Where a sending goes, as the routing table has it.
#[derive(Debug, Clone)]
struct Target {
    key: SealingKey,
    agent: NodeRecord,
    access: Vec<NodeRecord>,
}

impl Client {
    /// Sends items to a wallet. The sender needs a key to sign with and no account.
    pub async fn send(
        &self,
        sender: &PrivateKeySigner,
        options: &SendOptions,
        progress: &ProgressSink,
    ) -> Result<SendReport, Error> {
        let items = options.items.clone();
        let planned = Arc::new(tokio::task::spawn_blocking(move || plan(items)).await??);
        let target = self.target(options).await?;
        let jobs = jobs(&planned);
        progress(Progress::Sending {
            packets: u64::try_from(jobs.len()).unwrap_or(u64::MAX),
            bytes: planned.iter().map(Planned::size).sum(),
        });

        let mut report = empty_report(sender.address(), options.recipient, &target, &planned);
        let mut sent = stream::iter(jobs)
            .map(|job| async {
                let item = job.item;
                let (wire_bytes, bytes) = self.send_job(sender, options, &target, job, progress).await?;
                progress(Progress::Stored { bytes });
                Ok::<_, Error>((item, wire_bytes))
            })
            .buffer_unordered(IN_FLIGHT);
        while let Some((item, wire_bytes)) = sent.try_next().await? {
            report.packets += 1;
            report.wire_bytes += wire_bytes;
            match &mut report.items[item] {
                SentItem::Text { packets, wire_bytes: total, .. }
                | SentItem::File { packets, wire_bytes: total, .. } => {
                    *packets += 1;
                    *total += wire_bytes;
                }
            }
        }
        drop(sent);
        for planned in planned.iter() {
            planned.check_unchanged()?;
        }
        Ok(report)
    }

    async fn target(&self, options: &SendOptions) -> Result<Target, Error> {
        let (key, agent) = self.chain.resolve(options.recipient).await?;
        let access = self.access_nodes(&agent, options.via).await?;
        Ok(Target { key, agent, access })
    }

    /// Seals one part and posts it until it is stored. Returns the bytes on the wire and of content.
    async fn send_job(
        &self,
        sender: &PrivateKeySigner,
        options: &SendOptions,
        target: &Target,
        job: Job,
        progress: &ProgressSink,
    ) -> Result<(u64, u64), Error> {
        let (body, content_bytes) = tokio::task::spawn_blocking(move || job.body()).await??;
        let message = Message { id: random_bytes(), body };
        let mut key = target.key;
        let mut packet = self.seal_message(sender, options.recipient, key, &message).await?;
        let mut access = target.access.clone();
        let mut backoff = Backoff::new(WAIT_MAX);
        let mut attempt = 0;
        loop {
            let node = &access[usize::try_from(attempt).unwrap_or(0) % access.len()];
            let failure: CommandFailure = match self.transport.post(&node.endpoint, packet.clone()).await {
                Ok(answer) if answer.status == Status::Stored => {
                    return Ok((u64::try_from(packet.len()).unwrap_or(u64::MAX), content_bytes));
                }
                Ok(answer) if answer.status == Status::Answered => CommandFailure::Unexpected,
                Ok(answer) => CommandFailure::Status(answer.status),
                Err(error) => error.into(),
            };
            attempt += 1;
            // Another access node may do what this one's endpoint or view does not allow.
            let elsewhere = matches!(&failure, CommandFailure::Transport(_)) && access.len() > 1;
            let spent = matches!(&failure, CommandFailure::Status(Status::Spent)) && attempt < SPENT_ATTEMPTS_MAX;
            if attempt >= ATTEMPTS_MAX || !(failure.is_retryable() || elsewhere || spent) {
                return Err(failure.into());
            }
            progress(Progress::Retrying { reason: failure.to_string() });
            tokio::time::sleep(backoff.next()).await;
            if failure.is_stranger() {
                // The route may have changed: read it again, and seal again if the recipient's key did.
                let fresh = self.target(options).await?;
                if fresh.key != key {
                    key = fresh.key;
                    packet = self.seal_message(sender, options.recipient, key, &message).await?;
                }
                access = fresh.access;
            }
        }
    }

    async fn seal_message(
        &self,
        sender: &PrivateKeySigner,
        recipient: Address,
        key: SealingKey,
        message: &Message,
    ) -> Result<Bytes, Error> {
        let (sender, domain, message) = (sender.clone(), self.deployment.routing_domain(), message.clone());
        let packet = tokio::task::spawn_blocking(move || {
            let outgoing = Outgoing { id: message.id, sent_at_ms: clock::now_ms(), body: &message.body };
            seal(&outgoing, recipient, &key, &sender, &domain)
        });
        Ok(packet.await??.into_bytes())
    }
}

/// What one packet says, whatever key it is sealed to.
#[derive(Debug, Clone)]
struct Message {
    id: [u8; 16],
    body: Bytes,
}

fn empty_report(sender: Address, recipient: Address, target: &Target, planned: &[Planned]) -> SendReport {
    let items = planned.iter().map(|planned| match planned {
        Planned::Text(_) => SentItem::Text { size: planned.size(), packets: 0, wire_bytes: 0 },
        Planned::File(file) => SentItem::File {
            path: file.path.clone(),
            name: file.name.clone(),
            size: file.size,
            sha256: hex::encode(file.sha256),
            file_id: hex::encode(file.file_id),
            packets: 0,
            wire_bytes: 0,
        },
    });
    SendReport {
        recipient,
        sender,
        agent: target.agent.address,
        via: target.access[0].address,
        items: items.collect(),
        packets: 0,
        wire_bytes: 0,
    }
}
