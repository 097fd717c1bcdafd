//! One connection: subscribe, take events as they come, make them durable in batches, settle each statement.

use std::time::{Duration, Instant};

use alloy::primitives::keccak256;
use bytes::Bytes;
use minus_protocol::{Carriage, CommandBody, Frame, Packet, SessionKey, SseParser, StreamOpener, open};

use super::Listener;
use crate::chain::ChainError;
use crate::clock;
use crate::command::{Channel, CommandFailure, access_address, read_reply, seal_command};
use crate::content::Content;
use crate::error::Error;
use crate::events::ListenEvent;
use crate::meter;
use crate::store::inbox::{Arrival, Fate, Received};
use crate::transport::innermost;

/// A stream that says nothing for so long, keep-alives included, is dead: four times the agents' usual interval.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A stream that brings nothing of the agent's for so long is held up on its way: bytes alone prove nothing, whoever carries
/// them can send comments for ever. Time for the longest event on a line of 40 kbit/s.
const NO_EVENT_MAX: Duration = Duration::from_secs(300);

/// How long messages wait for company before they are written: one synchronous write serves them all.
const FLUSH_AFTER: Duration = Duration::from_millis(20);

/// Most bytes in a batch: what a crash makes the agent push again, and what is held in memory.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most messages in a batch.
const BATCH_MESSAGES_MAX: usize = 512;

/// How long the agent may take to draw up a statement for what it has delivered.
const STATEMENT_PATIENCE: Duration = Duration::from_secs(45);

/// How often to look whether it is time to stop.
const TICK: Duration = Duration::from_millis(200);

/// How a connection ended.
pub(super) enum Ended {
    /// Everything asked for is here and acknowledged, or the caller wants to stop.
    Done,
    /// It broke, or never stood.
    Lost(String),
    /// The agent does not know the wallet.
    Stranger(CommandFailure),
    /// Messages came and no statement for them.
    NoStatement,
}

/// Messages that are not durable yet.
#[derive(Default)]
struct Batch {
    arrivals: Vec<Arrival>,
    bytes: usize,
}

/// When the stream last brought something.
struct Heard {
    /// Bytes, whoever sent them.
    bytes: Instant,
    /// An event that opened, and so was the agent's.
    event: Instant,
}

impl Heard {
    fn is_silent(&self, now: Instant) -> bool {
        now.duration_since(self.bytes) > SILENCE_MAX || now.duration_since(self.event) > NO_EVENT_MAX
    }
}

/// What a step of the loop was woken by.
enum Woken {
    Chunk(Option<Bytes>),
    Broken(String),
    Quiet,
}

impl Listener<'_> {
    /// Runs one connection to its end. An error is final; everything that may pass is an [`Ended`].
    pub(super) async fn connection(&mut self) -> Result<Ended, Error> {
        let channel = match self.channel().await {
            Ok(channel) => channel,
            Err(Error::Chain(error)) if error.is_retryable() => return Ok(Ended::Lost(error.to_string())),
            Err(error) => return Err(error),
        };
        if let Err(failure) = self.acknowledge_again(&channel).await? {
            return self.ended_by(failure);
        }
        if self.is_done() || self.cancel.is_cancelled() {
            return Ok(Ended::Done);
        }
        let (response, session) = match self.subscribe(&channel).await? {
            Ok(opened) => opened,
            Err(failure) => return self.ended_by(failure),
        };
        self.last_message.get_or_insert_with(Instant::now);
        self.follow(&channel, response, &session).await
    }

    async fn channel(&mut self) -> Result<Channel, Error> {
        let (wallet, agent) = (self.wallet(), self.agent);
        if self.client.chain.route(wallet).await?.agent != agent {
            return Err(Error::Refused(format!(
                "{wallet} is no longer routed to {agent}; listen again, at its new agent"
            )));
        }
        let channel = self.client.channel(agent, self.options.via).await?;
        self.check_payee(&channel).await?;
        self.schedule = self.client.chain.schedule(&channel.agent).await?;
        Ok(channel)
    }

    /// Vouchers are signed for the agent's operator as the chain names it, and for nobody else.
    async fn check_payee(&self, channel: &Channel) -> Result<(), Error> {
        let account = self.client.store.account(self.identity.payer.address(), self.agent).await?;
        match account {
            Some(account) if account.operator == channel.agent.operator => Ok(()),
            _ => Err(Error::Refused(format!(
                "the account at {} was opened for another operator than {}; entrust the wallet again",
                self.agent, channel.agent.operator
            ))),
        }
    }

    async fn subscribe(
        &self,
        channel: &Channel,
    ) -> Result<Result<(reqwest::Response, SessionKey), CommandFailure>, Error> {
        let resume_after = self.client.store.resume_after(self.wallet(), self.agent).await?;
        let body = |_| CommandBody::Subscribe { resume_after };
        let sealed = match seal_command(&self.client.deployment, &channel.agent, &self.identity.wallet, body) {
            Ok(sealed) => sealed,
            Err(error) => return Ok(Err(error.into())),
        };
        let opened = self.client.transport.open_stream(&channel.access().endpoint, sealed.packet).await;
        Ok(match opened {
            Ok(Ok(response)) => {
                let via = access_address(channel);
                self.emit(ListenEvent::Connected { agent: self.agent, via, resume_after });
                Ok((response, sealed.session))
            }
            Ok(Err(answer)) => Err(read_reply(&sealed.session, &answer).err().unwrap_or(CommandFailure::Unexpected)),
            Err(error) => Err(error.into()),
        })
    }

    async fn follow(
        &mut self,
        channel: &Channel,
        mut response: reqwest::Response,
        session: &SessionKey,
    ) -> Result<Ended, Error> {
        let mut parser = SseParser::new();
        let mut opener = StreamOpener::new(session);
        let mut batch = Batch::default();
        let mut heard = Heard { bytes: Instant::now(), event: Instant::now() };
        let mut settled = Instant::now();
        loop {
            let patience = if batch.arrivals.is_empty() { TICK } else { FLUSH_AFTER };
            let woken = tokio::select! {
                () = self.cancel.cancelled() => {
                    self.flush(&mut batch).await?;
                    return Ok(Ended::Done);
                }
                next = tokio::time::timeout(patience, response.chunk()) => match next {
                    Ok(Ok(chunk)) => Woken::Chunk(chunk),
                    Ok(Err(error)) => Woken::Broken(format!("the stream broke: {}", innermost(&error))),
                    Err(_) => Woken::Quiet,
                },
            };
            match woken {
                Woken::Chunk(Some(chunk)) => {
                    heard.bytes = Instant::now();
                    let events = match parser.push(&chunk) {
                        Ok(events) => events,
                        Err(error) => return self.broken(&mut batch, error.to_string()).await,
                    };
                    for event in events {
                        let frame = match opener.open(&event) {
                            Ok(frame) => frame,
                            Err(error) => return self.broken(&mut batch, error.to_string()).await,
                        };
                        heard.event = Instant::now();
                        match frame {
                            Some(Frame::Message { seq, stored_at, tariff_version, relayed, packet }) => {
                                let carriage = Carriage {
                                    bytes: u64::try_from(packet.len()).unwrap_or(u64::MAX),
                                    stored_at,
                                    tariff_version,
                                    relayed_in: relayed,
                                };
                                self.receive(&mut batch, seq, carriage, packet);
                                if !self.owes && batch.arrivals.len() == 1 {
                                    settled = Instant::now();
                                }
                                if batch.bytes >= BATCH_BYTES_MAX || batch.arrivals.len() >= BATCH_MESSAGES_MAX {
                                    self.flush(&mut batch).await?;
                                }
                            }
                            Some(Frame::Statement(statement)) => {
                                self.flush(&mut batch).await?;
                                if let Err(failure) = self.settle(channel, &statement).await? {
                                    return self.ended_by(failure);
                                }
                                settled = Instant::now();
                            }
                            Some(Frame::KeepAlive) | None => {}
                        }
                    }
                }
                Woken::Chunk(None) => return self.broken(&mut batch, "the stream ended".to_owned()).await,
                Woken::Broken(reason) => return self.broken(&mut batch, reason).await,
                Woken::Quiet => self.flush(&mut batch).await?,
            }
            if batch.arrivals.is_empty() && self.is_done() {
                return Ok(Ended::Done);
            }
            if heard.is_silent(Instant::now()) {
                return self.broken(&mut batch, "the stream fell silent".to_owned()).await;
            }
            if self.is_owing() && settled.elapsed() > STATEMENT_PATIENCE {
                self.flush(&mut batch).await?;
                return Ok(Ended::NoStatement);
            }
        }
    }

    /// A connection that breaks takes nothing with it that was received.
    async fn broken(&mut self, batch: &mut Batch, reason: String) -> Result<Ended, Error> {
        self.flush(batch).await?;
        Ok(if self.is_done() { Ended::Done } else { Ended::Lost(reason) })
    }

    /// Sorts a failed command: to be tried again, to be tried a few times, or final.
    pub(super) fn ended_by(&self, failure: CommandFailure) -> Result<Ended, Error> {
        if failure.is_stranger() {
            Ok(Ended::Stranger(failure))
        } else if failure.is_retryable() {
            Ok(Ended::Lost(failure.to_string()))
        } else {
            Err(failure.into())
        }
    }

    /// Opens a message as far as it can be opened, and puts it into the batch: it is counted either way.
    fn receive(&self, batch: &mut Batch, seq: u64, carriage: Carriage, packet: Bytes) {
        let packet_id = keccak256(&packet);
        let bytes = packet.len();
        let opened = self.open(packet);
        if let Ok(received) = &opened
            && let Some(reason) = meter::doubt(carriage.stored_at, received.sent_at_ms)
        {
            self.emit(ListenEvent::Doubt { seq, reason });
        }
        batch.bytes += bytes;
        batch.arrivals.push(Arrival { seq, carriage, packet_id, opened });
    }

    fn open(&self, packet: Bytes) -> Result<Received, String> {
        let packet = Packet::parse(packet).map_err(|error| error.to_string())?;
        if packet.recipient() != self.wallet() {
            return Err(format!("it is for {}", packet.recipient()));
        }
        let opened =
            open(&packet, &self.secret, &self.client.deployment.routing_domain()).map_err(|error| error.to_string())?;
        let content = Content::decode(&opened.body).map_err(|error| error.to_string())?;
        Ok(Received { sender: opened.sender, id: opened.id, sent_at_ms: opened.sent_at_ms, content })
    }

    /// Makes the batch durable, then delivers what has become whole.
    async fn flush(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let batch = std::mem::take(batch);
        if batch.arrivals.is_empty() {
            return Ok(());
        }
        let fates = self.client.store.keep(self.wallet(), self.agent, &batch.arrivals, clock::now_s()).await?;
        let (mut messages, mut bytes) = (0, 0);
        for (arrival, fate) in batch.arrivals.iter().zip(fates) {
            if fate == Fate::Repeated {
                continue;
            }
            messages += 1;
            bytes += arrival.carriage.bytes;
            if let Fate::Discarded(reason) = fate {
                self.summary.discarded += 1;
                self.emit(ListenEvent::Discarded { seq: Some(arrival.seq), reason });
            }
        }
        if messages > 0 {
            self.progressed = true;
            self.owes = true;
            self.last_message = Some(Instant::now());
            self.summary.messages += messages;
            self.summary.bytes += bytes;
            self.summary.waiting_messages += messages;
            self.emit(ListenEvent::Received { messages, bytes });
        }
        self.deliver().await
    }
}

/// Whether an error of the chain may pass.
pub(super) fn may_pass(error: &ChainError) -> bool {
    error.is_retryable()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_alone_are_no_sign_of_life() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let heard = |bytes, event| Heard { bytes: at(bytes), event: at(event) };
        assert!(heard(0, 0).is_silent(at(61)));
        assert!(heard(400, 0).is_silent(at(401)));
        assert!(!heard(400, 101).is_silent(at(401)));
    }
}
