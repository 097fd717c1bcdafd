//! Customers and senders, who use nothing but the `minus` command line.

use std::path::{Path, PathBuf};

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::binaries;
use super::command::{Call, PASSWORD};
use super::network::{Network, Operator};
use super::process::write_private;
use minus_bindings::Amount;
use minus_protocol::MeterLine;

/// After so many seconds without a message a listener stops waiting for what will not come. Longer than a killed node
/// takes to come back.
const IDLE_S: &str = "15";

/// Somebody with a wallet and a folder of her own.
#[derive(Debug)]
pub struct Person {
    /// For people; also the wallet's name.
    pub name: String,
    /// The wallet's address.
    pub address: Address,
    folder: PathBuf,
    global: Vec<std::ffi::OsString>,
    shows_progress: bool,
}

/// `minus send --json`: one of its items.
#[derive(Debug, Clone, Deserialize)]
pub struct SentFile {
    /// As it was named on the command line.
    pub name: String,
    /// How many packets it took.
    pub packets: u64,
    /// The packets' length together.
    pub wire_bytes: u64,
    /// Of the content, 64 hexadecimal digits.
    pub sha256: String,
}

/// `minus listen --json`: one for each file that is complete.
#[derive(Debug, Clone, Deserialize)]
pub struct ReceivedFile {
    /// Where it was put.
    pub path: PathBuf,
    /// Of the content, 64 hexadecimal digits.
    pub sha256: String,
    /// Who sent it, proven by the sender's signature.
    pub sender: Address,
}

/// `minus statement --json`: the customer's own side of the account.
#[derive(Debug, Clone, Deserialize)]
pub struct OwnSide {
    /// The running total at which the account was opened.
    pub base: Amount,
    /// What was received and signed for, by tariff version.
    pub lines: Vec<MeterLine>,
}

impl Person {
    /// Makes a wallet in a folder of its own.
    pub async fn new(network: &Network, name: &str, shows_progress: bool) -> Result<Self> {
        let folder = network.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        write_private(&folder.join("password"), PASSWORD)?;
        let mut global: Vec<std::ffi::OsString> = vec!["--json".into(), "--allow-private-endpoints".into()];
        for (flag, value) in [
            ("--deployment", network.deployment_file.as_os_str()),
            ("--rpc-url", network.anvil.url().as_ref()),
            ("--data-dir", folder.join("data").as_os_str()),
            ("--password-file", folder.join("password").as_os_str()),
        ] {
            global.extend([flag.into(), value.to_owned()]);
        }
        let mut person = Self { name: name.to_owned(), address: Address::ZERO, folder, global, shows_progress };
        #[derive(Deserialize)]
        struct Made {
            address: Address,
        }
        person.address = person.call(["wallet", "new", name]).json_as::<Made>().await?.address;
        Ok(person)
    }

    /// Where this person's program keeps its database and keys.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The wallet's key, for a test that speaks the protocol itself.
    pub fn signer(&self) -> Result<PrivateKeySigner> {
        let file = self.data().join("wallets").join(format!("{}.json", self.name));
        Ok(PrivateKeySigner::decrypt_keystore(file, PASSWORD)?)
    }

    /// Deposits for an agent, wrapping reserve tokens first.
    pub async fn prepay(&self, agent: &Operator, tokens: &str) -> Result<()> {
        let agent = agent.node_address.to_string();
        self.call(["prepay", "--wallet", &self.name, "--agent", &agent, "--from-reserve", tokens]).run().await
    }

    /// Makes an agent responsible for the wallet.
    pub async fn entrust(&self, agent: &Operator) -> Result<()> {
        let agent = agent.node_address.to_string();
        self.call(["entrust", "--wallet", &self.name, "--agent", &agent]).run().await
    }

    /// Sends files through an access node.
    pub async fn send(&self, to: Address, files: &[PathBuf], via: &Operator) -> Result<Vec<SentFile>> {
        #[derive(Deserialize)]
        struct Sent {
            items: Vec<SentFile>,
        }
        let via = via.node_address.to_string();
        let call = self.call(["send", "--wallet", &self.name, "--via", &via, &to.to_string()]);
        Ok(call.arguments(files).json_as::<Sent>().await?.items)
    }

    /// Comes online through an access node until so many files are complete and paid for.
    pub async fn listen(&self, files: usize, via: &Operator, into: &Path) -> Result<Vec<ReceivedFile>> {
        let (via, count) = (via.node_address.to_string(), files.to_string());
        let call = self
            .call(["listen", "--wallet", &self.name, "--via", &via, "--files", &count, "--until-idle", IDLE_S])
            .argument("--output")
            .argument(into);
        let events = call.json_lines().await?;
        let files = events.into_iter().filter(|event| event["event"] == "file");
        files.map(|event| serde_json::from_value(event).context("a line of `minus listen --json`")).collect()
    }

    /// Her own side of the account. Fails when the agent's side differs.
    pub async fn own_side(&self) -> Result<OwnSide> {
        #[derive(Deserialize)]
        struct Report {
            own: OwnSide,
        }
        Ok(self.call(["statement", "--wallet", &self.name]).json_as::<Report>().await?.own)
    }

    /// A call of `minus` with this person's folder and chain.
    pub fn call<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Call {
        Call::new(&binaries::program("minus"))
            .arguments(arguments)
            .arguments(self.global.clone())
            .showing_progress(self.shows_progress)
    }
}

impl Call {
    /// Runs it and reads its output as one JSON object of a known form.
    pub async fn json_as<T: DeserializeOwned>(self) -> Result<T> {
        let value = self.json().await?;
        serde_json::from_value(value.clone()).with_context(|| format!("not of the expected form: {value}"))
    }
}
