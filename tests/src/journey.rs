//! The whole road, once: prepaid, carried, stored, pushed, vouched, claimed. The demo shows it, the end-to-end suites
//! walk it under misfortune.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::Address;
use anyhow::{Context, Result, ensure};
use minus_bindings::Amount;
use minus_protocol::{Meter, MeterLine, due, total};
use sha2::{Digest, Sha256};

use crate::world::books::{Counts, Payment, node_meters, reconcile};
use crate::world::command::Call;
use crate::world::network::{Network, Operator};
use crate::world::people::{ReceivedFile, SentFile};
use crate::world::{binaries, eventually, people::Person};

/// What the customer of an ordinary journey deposits: a few dozen megabytes at the operators' tariff.
pub const PREPAID_TOKENS: u128 = 10;

/// How long the books may take to become equal: relays ask for vouchers every second, claims wait for two blocks.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// How long one lane may take to be paid, on a busy machine.
const PAID_WITHIN: Duration = Duration::from_secs(60);

/// A customer with a prepaid, entrusted wallet that is offline, and a sender without an account.
#[derive(Debug)]
pub struct Travellers {
    /// Owns the wallet; pays.
    pub customer: Person,
    /// Has nothing but a key.
    pub sender: Person,
}

impl Travellers {
    /// Makes both; the customer prepays so many tokens and entrusts its wallet to the agent.
    pub async fn prepare(network: &Network, prepaid_tokens: u128, shows_progress: bool) -> Result<Self> {
        let customer = Person::new(network, "customer", shows_progress).await?;
        let sender = Person::new(network, "sender", shows_progress).await?;
        network.fund(customer.address, prepaid_tokens).await?;
        customer.prepay(network.agent(), &prepaid_tokens.to_string()).await?;
        customer.entrust(network.agent()).await?;
        Ok(Self { customer, sender })
    }

    /// Sends files to the offline wallet through one relay.
    pub async fn send(&self, network: &Network, files: &[PathBuf]) -> Result<Vec<SentFile>> {
        self.sender.send(self.customer.address, files, network.relay_in()).await
    }

    /// Brings the customer online through the other relay until all is received and paid, and compares each file's
    /// SHA-256 with what was really sent.
    pub async fn receive(&self, network: &Network, sent: &[PathBuf], into: &Path) -> Result<Vec<ReceivedFile>> {
        let received = self.customer.listen(sent.len(), network.relay_out(), into).await?;
        ensure!(received.len() == sent.len(), "{} files were sent, {} received", sent.len(), received.len());
        let mut missing: Vec<String> = sent.iter().map(|path| sha256(path)).collect::<Result<_>>()?;
        for file in &received {
            ensure!(file.sender == self.sender.address, "{} came from {}", file.path.display(), file.sender);
            let hash = sha256(&file.path)?;
            ensure!(hash == file.sha256, "{} is not what was reported", file.path.display());
            let place = missing.iter().position(|wanted| *wanted == hash);
            missing.swap_remove(place.with_context(|| format!("{} was never sent", file.path.display()))?);
        }
        Ok(received)
    }
}

/// Lets the settlers claim until the books of payers, payees and chain are equal; fails with the differences when they
/// do not become so.
pub async fn settle(network: &Network, travellers: &Travellers) -> Result<Vec<Payment>> {
    let started = std::time::Instant::now();
    loop {
        let outcome = claim_and_compare(network, travellers).await;
        match outcome {
            Ok(payments) => return Ok(payments),
            Err(error) if started.elapsed() > SETTLED_WITHIN => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

async fn claim_and_compare(network: &Network, travellers: &Travellers) -> Result<Vec<Payment>> {
    for operator in &network.operators {
        claim(operator, "30s").await?;
    }
    let payments = payments(network, travellers).await?;
    reconcile(&payments)?;
    Ok(payments)
}

/// Lets an operator's settler claim all it can, and waits so long for the confirmation.
pub async fn claim(operator: &Operator, timeout: &str) -> Result<()> {
    Call::new(&binaries::program("settler"))
        .arguments(["claim", "--now", "--json", "--timeout", timeout, "--url", &operator.settler_admin])
        .run()
        .await
}

/// Lets everybody claim until the lane has paid `total`, to the base unit; never more.
pub async fn settled(network: &Network, payer: Address, payee: Address, total: Amount) -> Result<()> {
    ensure!(total > Amount::ZERO, "nothing is due");
    eventually("the lane to be paid", PAID_WITHIN, || async {
        for operator in &network.operators {
            claim(operator, "30s").await?;
        }
        let paid = network.paid(payer, payee).await?;
        ensure!(paid <= total, "{paid} tokens were paid of {total}");
        Ok((paid == total).then_some(()))
    })
    .await
}

/// What every witness says at this moment.
pub async fn payments(network: &Network, travellers: &Travellers) -> Result<Vec<Payment>> {
    let agent = network.agent();
    let agent_book = node_meters(&agent.node_admin).await?;
    let customer = &travellers.customer;
    let own = customer.own_side().await?;
    let account = agent_book.customers.iter().find(|account| account.payer == customer.address);
    let account = account.context("the agent has no account for the customer")?;
    let mut payments = vec![Payment {
        payer: customer.name.clone(),
        payee: format!("{} (agent)", agent.name),
        payer_counts: Counts::of(&own.lines),
        payee_counts: Counts::of(&account.lines),
        payer_due: total(own.base, &own.lines)?,
        payee_due: total(account.base, &account.lines)?,
        on_chain: network.paid(customer.address, agent.address).await?,
    }];
    for relay in [network.relay_in(), network.relay_out()] {
        let relay_book = node_meters(&relay.node_admin).await?;
        let owed = agent_book.owed.iter().find(|owed| owed.relay_operator == relay.address);
        let owed = owed.with_context(|| format!("the agent owes {} nothing", relay.name))?;
        let earned = relay_book.earned.iter().find(|earned| earned.agent == agent.node_address);
        let earned = earned.with_context(|| format!("{} earned nothing from the agent", relay.name))?;
        // A relay has one count of bytes; here no tariff changed, so there is one price for all of them.
        let first = owed.lines.first().context("the agent's account of a relay has no line")?;
        let meter = Meter { relayed: earned.inbound_bytes + earned.outbound_bytes, ..Meter::default() };
        let earned_lines = [MeterLine { meter, ..*first }];
        payments.push(Payment {
            payer: format!("{} (agent)", agent.name),
            payee: format!("{} (relay)", relay.name),
            payer_counts: Counts::of(&owed.lines),
            payee_counts: Counts::of(&earned_lines),
            payer_due: total(owed.base, &owed.lines)?,
            payee_due: due(&earned_lines)?,
            on_chain: network.paid(agent.address, relay.address).await?,
        });
    }
    Ok(payments)
}

/// The SHA-256 of a file, as hexadecimal digits.
pub fn sha256(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex::encode(Sha256::digest(bytes)))
}

/// Writes a file of random bytes, the same for the same seed.
pub fn random_file(path: &Path, bytes: usize, seed: u64) -> Result<()> {
    use rand::{RngCore, SeedableRng};
    let mut content = vec![0; bytes];
    rand::rngs::StdRng::seed_from_u64(seed).fill_bytes(&mut content);
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// The wire bytes of several files together.
pub fn wire_bytes(sent: &[SentFile]) -> u128 {
    sent.iter().map(|file| u128::from(file.wire_bytes)).sum()
}
