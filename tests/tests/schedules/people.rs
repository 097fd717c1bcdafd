//! Payers, wallets and senders as libraries in this process. A receiver that is dropped in the middle of its stream loses
//! what a crashed program would lose: everything that is not in its database.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result, bail, ensure};
use minus_bindings::{Amount, SignedVoucher};
use minus_client::content::Content;
use minus_client::{
    Client, EntrustOptions, Identity, ListenEvent, ListenOptions, ListenSink, PrepayOptions, Stop, silent,
};
use minus_protocol::{
    Command, CommandBody, Outgoing, Packet, Refusal, Reply, SealingSecret, SessionKey, open_reply, random_bytes, seal,
};
use minus_tests::world::network::Network;
use tokio_util::sync::CancellationToken;

/// How long a packet or a command may take: longer than any restart.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// One wallet of a payer, as its owner's application sees it.
pub(crate) struct Receiver {
    /// The wallet's keys and its payer's.
    pub(crate) identity: Identity,
    /// The payer's program: all its wallets share the books.
    pub(crate) client: Arc<Client>,
    folder: std::path::PathBuf,
    heard: Arc<Mutex<Heard>>,
}

/// What the application was told.
#[derive(Debug, Default)]
struct Heard {
    /// The sender's id and the text, and how often it was told.
    texts: BTreeMap<(String, String), u32>,
    /// Statement number and total of the last acknowledgement.
    acknowledged: Option<(u64, Amount)>,
    /// How often a stream stood.
    connections: u32,
    /// What must never happen.
    complaints: Vec<String>,
}

impl Heard {
    fn hear(&mut self, event: ListenEvent) {
        match event {
            ListenEvent::Connected { .. } => self.connections += 1,
            ListenEvent::Text { id, text, .. } => *self.texts.entry((id, text)).or_default() += 1,
            ListenEvent::Acknowledged { statement, total, .. } => self.acknowledged = Some((statement, total)),
            ListenEvent::Disagreement { .. } | ListenEvent::Refused { .. } | ListenEvent::Discarded { .. } => {
                self.complaints.push(format!("{event:?}"));
            }
            _ => {}
        }
    }
}

/// A payer with so many prepaid tokens and wallets, all entrusted to the agent. The first wallet is the payer's own.
pub(crate) async fn payer(network: &Network, name: &str, tokens: u128, wallets: usize) -> Result<Vec<Receiver>> {
    let config = minus_client::Config {
        deployment: Some(network.deployment_file.clone()),
        rpc_urls: vec![network.anvil.url().parse()?],
        data_dir: network.folder.join(name),
        allow_private_endpoints: true,
    };
    let client = Arc::new(Client::open(config).await?);
    let payer = PrivateKeySigner::random();
    network.fund(payer.address(), tokens).await?;
    let agent = network.agent();
    let prepayment = PrepayOptions { payee: agent.address, amount: tokens.to_string().parse()?, from_reserve: true };
    client.prepay(&payer, &prepayment, &silent()).await?;
    let mut receivers = Vec::new();
    for number in 0..wallets {
        let wallet = if number == 0 { payer.clone() } else { PrivateKeySigner::random() };
        let identity = Identity::paid_by(wallet, payer.clone());
        client.entrust(&identity, &EntrustOptions { agent: agent.node_address, via: None }, &silent()).await?;
        let folder = network.folder.join(format!("{name}-{number}"));
        receivers.push(Receiver { identity, client: client.clone(), folder, heard: Arc::default() });
    }
    Ok(receivers)
}

impl Receiver {
    /// The wallet's address.
    pub(crate) fn address(&self) -> Address {
        self.identity.wallet.address()
    }

    fn heard<T>(&self, read: impl FnOnce(&Heard) -> T) -> T {
        read(&self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Listens, through an access node or not, until there is nothing more for `idle`. May be dropped at any moment.
    pub(crate) async fn listen(&self, via: Option<Address>, idle: Duration) -> Result<()> {
        let options = ListenOptions {
            output: self.folder.clone(),
            via,
            stop: Stop { files: None, idle: Some(idle) },
            keep_going: false,
        };
        let heard = self.heard.clone();
        let sink: ListenSink = Arc::new(move |event| heard.lock().unwrap_or_else(PoisonError::into_inner).hear(event));
        self.client.listen(&self.identity, &options, &sink, CancellationToken::new()).await?;
        Ok(())
    }

    /// Sends the last acknowledgement once more, late and unasked. The agent says what it said before, or that there is a
    /// newer statement; it never takes it for another payment.
    pub(crate) async fn acknowledge_again(&self, network: &Network) -> Result<()> {
        let Some((statement, total)) = self.heard(|heard| heard.acknowledged) else { return Ok(()) };
        let agent = network.agent();
        let record = self.client.chain().node(agent.node_address).await?;
        let payer = &self.identity.payer;
        let domain = network.deployment.escrow_domain();
        let voucher = SignedVoucher::sign(payer.address(), agent.address, total, &domain, payer);
        let session = SessionKey::random();
        let body = CommandBody::Acknowledge { statement, voucher };
        let command = Command { session: session.clone(), body }.encode();
        let outgoing = Outgoing { id: random_bytes(), sent_at_ms: now_ms()?, body: &command };
        let domain = network.deployment.routing_domain();
        let packet = seal(&outgoing, record.address, &record.sealing_key, &self.identity.wallet, &domain)?;
        let posted = reqwest::Client::new().post(&agent.endpoint).body(packet.into_bytes()).timeout(ANSWERED_WITHIN);
        // The agent may be down at this moment.
        let Ok(response) = posted.send().await else { return Ok(()) };
        let Ok(bytes) = response.bytes().await else { return Ok(()) };
        match open_reply(&session, &bytes) {
            Ok(Reply::Acknowledged { total: again }) => ensure!(again == total, "{again} was acknowledged for {total}"),
            Ok(Reply::Refused { reason: Refusal::Superseded | Refusal::VoucherBelowLast, .. }) => {}
            Ok(Reply::Refused { reason: Refusal::StaleView | Refusal::Busy, .. }) => {}
            Ok(other) => bail!("a second acknowledgement was answered by {other:?}"),
            Err(_) => {}
        }
        Ok(())
    }

    /// Whether these are the texts that the application was told, each under one id, and nothing but these; and that it
    /// was told each just once, unless it `crashed` between hearing and noting it down.
    pub(crate) fn check_texts(&self, sent: &[String], crashed: bool) -> Result<()> {
        self.heard(|heard| {
            ensure!(heard.complaints.is_empty(), "{:?}", heard.complaints);
            let mut told: Vec<&str> = heard.texts.keys().map(|(_, text)| text.as_str()).collect();
            let mut sent: Vec<&str> = sent.iter().map(String::as_str).collect();
            told.sort_unstable();
            sent.sort_unstable();
            ensure!(told == sent, "{} texts were sent, {} were told", sent.len(), told.len());
            let twice = heard.texts.values().filter(|times| **times > 1).count();
            ensure!(crashed || twice == 0, "{twice} texts were told twice");
            Ok(())
        })
    }

    /// How often a stream stood.
    pub(crate) fn connections(&self) -> u32 {
        self.heard(|heard| heard.connections)
    }
}

/// A packet from a stranger to a wallet.
pub(crate) fn letter(network: &Network, to: &Receiver, text: &str) -> Result<Packet> {
    let body = Content::text(text)?.encode();
    let outgoing = Outgoing { id: random_bytes(), sent_at_ms: now_ms()?, body: &body };
    let key = SealingSecret::derive(&to.identity.wallet.to_bytes().0).public();
    let sender = PrivateKeySigner::random();
    Ok(seal(&outgoing, to.address(), &key, &sender, &network.deployment.routing_domain())?)
}

/// Posts a packet; the status of the answer, if one comes.
pub(crate) async fn post(client: &reqwest::Client, url: &str, packet: &Packet) -> Option<u16> {
    let posted = client.post(url).body(packet.as_bytes().to_vec()).timeout(ANSWERED_WITHIN).send().await;
    posted.ok().map(|response| response.status().as_u16())
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("it is after 1970")?;
    Ok(u64::try_from(now.as_millis())?)
}
