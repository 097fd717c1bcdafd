//! One statement: judged against this side's own meter, signed durably, acknowledged. In this order and no other: the
//! messages are on disk before anything is signed, the signed total is on disk before it is sent (law 8). So whatever
//! moment a crash picks, the next run sends the same voucher again or signs a newer statement.

use std::time::Duration;

use minus_bindings::{Amount, SignedVoucher};
use minus_protocol::{CommandBody, Refusal, Reply, Statement};

use super::Listener;
use super::session::may_pass;
use crate::chain::Schedule;
use crate::clock;
use crate::command::{Channel, CommandFailure, ask};
use crate::error::Error;
use crate::events::ListenEvent;
use crate::meter::{Agreement, Bench, Objection, judge};
use crate::store::records::{Account, SignedStatement, Signing};

/// Attempts to hand over one acknowledgement before the connection is given up; the next one starts with it.
const ATTEMPTS_MAX: u32 = 3;

/// The wait between them.
const WAIT: Duration = Duration::from_millis(300);

impl Listener<'_> {
    /// Judges, signs and acknowledges a statement. The outer error is final; the inner one ends the connection.
    pub(super) async fn settle(
        &mut self,
        channel: &Channel,
        statement: &Statement,
    ) -> Result<Result<(), CommandFailure>, Error> {
        self.learn_tariffs(channel, statement).await?;
        let bench = Bench { schedule: &self.schedule, relayed_out: channel.is_relayed(), now: clock::now_s() };
        let signed = self
            .client
            .store
            .sign(self.wallet(), self.agent, bench.now, |snapshot| {
                let Agreement { confirmed, .. } = judge(snapshot, statement, bench)?;
                let voucher = self.voucher(&snapshot.account, statement.total);
                Ok::<_, Objection>(Signing { confirmed, statement: to_be_signed(statement), voucher })
            })
            .await?;
        match signed {
            Some(Ok(signing)) => self.acknowledge(channel, &signing.statement, signing.voucher).await,
            Some(Err(objection)) => self.disagree(statement, objection).map(Ok),
            None => Err(crate::account::not_entrusted(self.wallet())),
        }
    }

    /// After a crash or a lost answer: the statement signed last is acknowledged once more. The agent says the same as
    /// before, or that it has issued a newer one.
    pub(super) async fn acknowledge_again(&mut self, channel: &Channel) -> Result<Result<(), CommandFailure>, Error> {
        let Some(snapshot) = self.client.store.snapshot(self.wallet(), self.agent).await? else {
            return Ok(Ok(()));
        };
        let Some(statement) = snapshot.unconfirmed.filter(|statement| statement.wallet == self.wallet()) else {
            return Ok(Ok(()));
        };
        let voucher = self.voucher(&snapshot.account, statement.total);
        self.acknowledge(channel, &statement, voucher).await
    }

    /// The payment of a statement's total: the same total always gives the same voucher.
    fn voucher(&self, account: &Account, total: Amount) -> SignedVoucher {
        let domain = self.client.deployment.escrow_domain();
        SignedVoucher::sign(account.payer, account.operator, total, &domain, &self.identity.payer)
    }

    async fn acknowledge(
        &mut self,
        channel: &Channel,
        statement: &SignedStatement,
        voucher: SignedVoucher,
    ) -> Result<Result<(), CommandFailure>, Error> {
        let mut attempt = 0;
        let failure = loop {
            attempt += 1;
            let body = |_| CommandBody::Acknowledge { statement: statement.number, voucher };
            let client = self.client;
            let wallet = &self.identity.wallet;
            match ask(&client.transport, &client.deployment, channel, wallet, body).await {
                Ok(Reply::Acknowledged { total }) if total == statement.total => break None,
                Ok(_) => break Some(CommandFailure::Unexpected),
                Err(failure) if failure.is_retryable() && attempt < ATTEMPTS_MAX => tokio::time::sleep(WAIT).await,
                Err(failure) => break Some(failure),
            }
        };
        match failure {
            None => self.acknowledged(statement).await.map(Ok),
            // A newer statement is on its way, and it will tell whether this one was booked.
            Some(CommandFailure::Refused { reason: Refusal::Superseded, .. }) => Ok(Ok(())),
            Some(failure @ CommandFailure::Refused { reason: Refusal::VoucherAboveLane | Refusal::Unfunded, .. }) => {
                let reason = format!("{failure}; prepay more (`minus prepay`), what was received is safe");
                self.emit(ListenEvent::Refused { reason: reason.clone() });
                if self.options.keep_going { Ok(Ok(())) } else { Err(Error::Refused(reason)) }
            }
            Some(failure) => Ok(Err(failure)),
        }
    }

    async fn acknowledged(&mut self, statement: &SignedStatement) -> Result<(), Error> {
        let store = &self.client.store;
        store.confirm(self.identity.payer.address(), self.agent, statement.number).await?;
        let waiting = store.waiting_messages(self.wallet(), self.agent).await?;
        self.progressed = true;
        self.owes = waiting > 0;
        self.summary.waiting_messages = waiting;
        self.summary.statements += 1;
        self.summary.total = Some(statement.total);
        self.emit(ListenEvent::Acknowledged {
            statement: statement.number,
            through: statement.through,
            total: statement.total,
        });
        Ok(())
    }

    /// Nothing was signed, nothing is lost; said loudly.
    fn disagree(&mut self, statement: &Statement, objection: Objection) -> Result<(), Error> {
        self.summary.disagreements += 1;
        self.emit(ListenEvent::Disagreement {
            statement: statement.number,
            line: objection.line().to_owned(),
            reason: objection.to_string(),
        });
        if self.options.keep_going {
            return Ok(());
        }
        Err(Error::Disagreement { statement: statement.number, objection })
    }

    /// A tariff that took effect during this connection is read from the chain; one that is not there stays unknown,
    /// and the judgement says so.
    async fn learn_tariffs(&mut self, channel: &Channel, statement: &Statement) -> Result<(), Error> {
        let is_known = |schedule: &Schedule, version| schedule.tariff(version).is_some();
        if statement.lines.iter().all(|line| is_known(&self.schedule, line.tariff_version)) {
            return Ok(());
        }
        let chain = &self.client.chain;
        let fresh = async { chain.schedule(&chain.node(channel.agent.address).await?).await };
        match fresh.await {
            Ok(schedule) => self.schedule = schedule,
            Err(error) if may_pass(&error) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn to_be_signed(statement: &Statement) -> SignedStatement {
    SignedStatement {
        number: statement.number,
        wallet: statement.wallet,
        through: statement.through,
        at: statement.at,
        total: statement.total,
        lines: statement.lines.clone(),
    }
}
