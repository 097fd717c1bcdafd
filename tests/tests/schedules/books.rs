//! What every witness says at the end, and that they agree.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use minus_bindings::Amount;
use minus_protocol::{due, total};
use minus_tests::journey::claim;
use minus_tests::world::books::{Counts, NodeMeters, Payment, node_meters, reconcile};
use minus_tests::world::eventually;
use minus_tests::world::network::{Network, Operator};

use super::people::Receiver;

/// How long the books may take to become equal: what a broken stream carried in vain is asked about every tenth round.
const EQUAL_WITHIN: Duration = Duration::from_secs(90);

/// Lets the settlers claim until all books are equal; the payments, first the payers' in the order of `payers`.
pub(crate) async fn settle(network: &Network, payers: &[&Receiver]) -> Result<Vec<Payment>> {
    eventually("equal books", EQUAL_WITHIN, || async {
        for operator in &network.operators {
            claim(operator, "30s").await?;
        }
        let payments = payments(network, payers).await?;
        reconcile(&payments)?;
        Ok(Some(payments))
    })
    .await
}

async fn payments(network: &Network, payers: &[&Receiver]) -> Result<Vec<Payment>> {
    let agent = network.agent();
    let agent_book = node_meters(&agent.node_admin).await?;
    let mut payments = Vec::new();
    for receiver in payers {
        let payer = receiver.identity.payer.address();
        let report = receiver.client.statement(&receiver.identity, None).await?;
        ensure!(report.agrees && report.waiting_messages == 0, "{report:?}");
        let account = agent_book.customers.iter().find(|account| account.payer == payer);
        let account = account.context("the agent has no account for a payer")?;
        payments.push(Payment {
            payer: payer.to_string(),
            payee: agent.name.clone(),
            payer_counts: Counts::of(&report.own.lines),
            payee_counts: Counts::of(&account.lines),
            payer_due: total(report.own.base, &report.own.lines)?,
            payee_due: total(account.base, &account.lines)?,
            on_chain: network.paid(payer, agent.address).await?,
        });
    }
    for relay in [network.relay_in(), network.relay_out()] {
        payments.push(relay_payment(network, relay, &agent_book).await?);
    }
    Ok(payments)
}

/// A relay counts bytes and holds vouchers: its bytes must be the agent's, and its vouchers the price of the lines.
async fn relay_payment(network: &Network, relay: &Operator, agent_book: &NodeMeters) -> Result<Payment> {
    let agent = network.agent();
    let book = node_meters(&relay.node_admin).await?;
    let owed = agent_book.owed.iter().find(|owed| owed.relay_operator == relay.address);
    let owed = owed.with_context(|| format!("the agent owes {} nothing", relay.name))?;
    let earned = book.earned.iter().find(|earned| earned.agent == agent.node_address);
    let earned = earned.with_context(|| format!("{} earned nothing from the agent", relay.name))?;
    let owed_counts = Counts::of(&owed.lines);
    ensure!(owed.base.checked_add(due(&owed.lines)?) == Some(owed.total), "{owed:?}");
    Ok(Payment {
        payer: agent.name.clone(),
        payee: relay.name.clone(),
        payer_counts: owed_counts,
        payee_counts: Counts { relayed: earned.inbound_bytes + earned.outbound_bytes, ..Counts::default() },
        payer_due: owed.total,
        payee_due: earned.vouchered,
        on_chain: network.paid(agent.address, relay.address).await?,
    })
}

/// Law 9, over all payers: each packet's bytes were delivered once, and what customers pay for relaying is what relays
/// are paid for.
pub(crate) fn check_bytes(payments: &[Payment], payers: usize, sent_bytes: &[u128]) -> Result<()> {
    let (customers, relays) = payments.split_at(payers);
    for (payment, sent) in customers.iter().zip(sent_bytes) {
        let delivered = payment.payee_counts.delivered;
        ensure!(delivered == *sent, "{sent} bytes were sent to {}'s wallets, {delivered} charged", payment.payer);
    }
    let charged: u128 = customers.iter().map(|payment| payment.payee_counts.relayed).sum();
    let earned: u128 = relays.iter().map(|payment| payment.payee_counts.relayed).sum();
    ensure!(charged == earned, "customers are charged {charged} relayed bytes, relays are paid for {earned}");
    let most = 2 * sent_bytes.iter().sum::<u128>();
    ensure!(charged <= most, "{charged} relayed bytes, at most {most} can be");
    ensure!(payments.iter().all(|payment| payment.on_chain > Amount::ZERO));
    Ok(())
}
