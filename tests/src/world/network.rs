//! Deploys the contracts, registers three operators with their bonds, and starts their nodes and settlers, with the
//! programs an operator would use.

use std::path::{Path, PathBuf};

use alloy::primitives::Address;
use alloy::providers::DynProvider;
use alloy::signers::k256::elliptic_curve::rand_core::OsRng;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result};
use minus_bindings::{Amount, Deployment, PrepaymentEscrow, RoutingTable};
use serde_json::Value;

use super::anvil::Anvil;
use super::command::{Call, PASSWORD};
use super::process::{Process, Shared, free_port, write_private};
use super::{binaries, reserve};

/// Base units of one token.
pub const TOKEN: u128 = 1_000_000;

/// What each operator binds: the least that the routing table takes.
const BOND_TOKENS: &str = "10";

/// The tariff of every operator, in tokens per GiB, per GiB and per GiB-day. High against a real one, so that a demo of
/// some megabytes and seconds moves amounts that can be seen.
const DELIVERY_PRICE: &str = "40";
const RELAY_PRICE: &str = "15";
const STORAGE_PRICE: &str = "50";

/// One operator: its keys, its node and its settler.
#[derive(Debug)]
pub struct Operator {
    /// For people.
    pub name: String,
    /// Where its money is; the key stays in a file that neither the node nor the settler reads.
    pub address: Address,
    /// The node's own address.
    pub node_address: Address,
    /// What stands in the routing table.
    pub endpoint: String,
    /// The node's administration port.
    pub node_admin: String,
    /// The settler's administration port.
    pub settler_admin: String,
    /// `minus-node run`.
    pub node: Shared,
    /// `settler run`.
    pub settler: Shared,
    folder: PathBuf,
}

impl Operator {
    /// The node's configuration.
    pub fn node_config(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    /// The settler's configuration.
    pub fn settler_config(&self) -> PathBuf {
        self.folder.join("settler.toml")
    }

    /// The operator's own key, as its owner would unlock it.
    pub fn key(&self) -> Result<PrivateKeySigner> {
        Ok(PrivateKeySigner::decrypt_keystore(self.folder.join("operator.json"), PASSWORD)?)
    }

    /// The node's database and everything else it wrote.
    pub fn node_data(&self) -> PathBuf {
        self.folder.join("node")
    }
}

/// Everything that runs before the first customer comes.
#[derive(Debug)]
pub struct Network {
    /// Where all files are.
    pub folder: PathBuf,
    /// The chain.
    pub anvil: Anvil,
    /// Where the contracts are.
    pub deployment: Deployment,
    /// The same as a file.
    pub deployment_file: PathBuf,
    /// The operators, the first of which the customer will choose as its agent.
    pub operators: Vec<Operator>,
    reserve: Address,
}

impl Network {
    /// Registers and starts everything in `folder`, calling `step` before each of [`Network::STEPS`] steps.
    pub async fn start(folder: &Path, mut step: impl FnMut(&str)) -> Result<Self> {
        Self::register_all(folder, &mut step).await?.run(&mut step).await
    }

    /// The same on a chain whose clock starts at `time`, in seconds since 1970: what takes effect after a notice can then
    /// be brought about.
    pub async fn start_at(folder: &Path, time: u64) -> Result<Self> {
        let mut step = |_: &str| {};
        let anvil = Anvil::start(folder, Some(time)).await?;
        Self::register_all_on(anvil, folder, &mut step).await?.run(&mut step).await
    }

    /// Starts what was registered.
    pub async fn run(self, step: &mut impl FnMut(&str)) -> Result<Self> {
        step("starting nodes and settlers");
        for operator in &self.operators {
            operator.settler.lock().start()?;
            operator.node.lock().start()?;
        }
        self.ready().await?;
        Ok(self)
    }

    /// A chain with the contracts and three registered operators, none of whose programs runs yet.
    pub async fn register_all(folder: &Path, step: &mut impl FnMut(&str)) -> Result<Self> {
        step("starting a chain");
        let anvil = Anvil::start(folder, None).await?;
        Self::register_all_on(anvil, folder, step).await
    }

    async fn register_all_on(anvil: Anvil, folder: &Path, step: &mut impl FnMut(&str)) -> Result<Self> {
        step("deploying the contracts");
        let reserve = reserve::deploy(anvil.faucet()).await?;
        let deployment_file = folder.join("deployment.json");
        deploy(&anvil, folder, reserve, &deployment_file).await?;
        let deployment = Deployment::from_json(&std::fs::read_to_string(&deployment_file)?)?;

        let mut network =
            Self { folder: folder.to_owned(), anvil, deployment, deployment_file, operators: vec![], reserve };
        for name in ["Ada", "Ben", "Cai"] {
            step(&format!("registering operator {name}"));
            let operator = network.register(name).await?;
            network.operators.push(operator);
        }
        Ok(network)
    }

    /// How often [`Network::start`] reports a step.
    pub const STEPS: u64 = 6;

    /// Waits until every program says that it is ready.
    pub async fn ready(&self) -> Result<()> {
        for operator in &self.operators {
            for process in [&operator.settler, &operator.node] {
                let readiness = process.lock().readiness();
                readiness.wait().await?;
            }
        }
        Ok(())
    }

    /// The operator that the customer chooses as its agent.
    pub fn agent(&self) -> &Operator {
        &self.operators[0]
    }

    /// The operator through which the sender sends.
    pub fn relay_in(&self) -> &Operator {
        &self.operators[1]
    }

    /// The operator through which the customer listens.
    pub fn relay_out(&self) -> &Operator {
        &self.operators[2]
    }

    /// Gives an account reserve tokens, and ether for gas.
    pub async fn fund(&self, account: Address, tokens: u128) -> Result<()> {
        self.anvil.give_gas(account).await?;
        reserve::mint(self.anvil.faucet(), self.reserve, account, tokens * TOKEN).await
    }

    /// The escrow, for reading.
    pub fn escrow(&self) -> PrepaymentEscrow::PrepaymentEscrowInstance<DynProvider> {
        PrepaymentEscrow::new(self.deployment.escrow, self.anvil.faucet().clone())
    }

    /// The routing table, for reading.
    pub fn routing_table(&self) -> RoutingTable::RoutingTableInstance<DynProvider> {
        RoutingTable::new(self.deployment.routing_table, self.anvil.faucet().clone())
    }

    /// What was ever paid from `payer` to `payee`.
    pub async fn paid(&self, payer: Address, payee: Address) -> Result<Amount> {
        Ok(self.escrow().lane(payer, payee).call().await?._0.paid.into())
    }

    async fn register(&self, name: &str) -> Result<Operator> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(folder.join("node"))?;
        let operator_key = keystore(&folder, "operator.json")?;
        let gas_key = keystore(&folder, "gas.json")?;
        self.fund(operator_key.address(), 100).await?;
        self.anvil.give_gas(gas_key.address()).await?;

        let ports = Ports::free()?;
        let endpoint = format!("http://127.0.0.1:{}", ports.node);
        let node_admin = format!("http://127.0.0.1:{}", ports.node_admin);
        let settler_url = format!("http://127.0.0.1:{}", ports.settler);
        let settler_admin = format!("http://127.0.0.1:{}", ports.settler_admin);

        let node_config = folder.join("node.toml");
        std::fs::write(
            &node_config,
            format!(
                "deployment = {deployment:?}\nrpc_urls = [{rpc:?}]\nkeystore = {keystore:?}\npassword_file = {password:?}\n\
                 data_dir = {data:?}\nlisten = \"127.0.0.1:{listen}\"\nadmin_listen = \"127.0.0.1:{admin}\"\n\
                 settler_url = {settler_url:?}\nallow_private_endpoints = true\nretention = \"1day\"\n\
                 voucher_interval = \"1s\"\npoll_interval = \"250ms\"\n",
                deployment = self.deployment_file,
                rpc = self.anvil.url(),
                keystore = folder.join("node-key.json"),
                password = folder.join("password"),
                data = folder.join("node"),
                listen = ports.node,
                admin = ports.node_admin,
            ),
        )?;
        let settler_config = folder.join("settler.toml");
        std::fs::write(
            &settler_config,
            format!(
                "deployment = {deployment:?}\nrpc_urls = [{rpc:?}]\ngas_keystore = {keystore:?}\n\
                 gas_password_file = {password:?}\ndatabase = \"sqlite:{database}\"\nlisten = \"127.0.0.1:{listen}\"\n\
                 admin_listen = \"127.0.0.1:{admin}\"\npayees = [\"{payee}\"]\npoll_interval = \"250ms\"\n",
                deployment = self.deployment_file,
                rpc = self.anvil.url(),
                keystore = folder.join("gas.json"),
                password = folder.join("password"),
                database = folder.join("settler.sqlite").display(),
                listen = ports.settler,
                admin = ports.settler_admin,
                payee = operator_key.address(),
            ),
        )?;

        let node_program = binaries::program("minus-node");
        Call::new(&node_program).arguments(["init", "--config"]).argument(&node_config).run().await?;
        let consent: Value = Call::new(&node_program)
            .arguments(["consent", "--operator", &operator_key.address().to_string(), "--config"])
            .argument(&node_config)
            .json()
            .await?;
        let consent_file = folder.join("consent.json");
        std::fs::write(&consent_file, consent.to_string())?;
        let node_address = consent["node"].as_str().context("the consent names its node")?.parse()?;

        Call::new(&binaries::program("settler"))
            .arguments(["register-node", "--json", "--deployment"])
            .argument(&self.deployment_file)
            .arguments(["--rpc-url", self.anvil.url(), "--operator-keystore"])
            .argument(folder.join("operator.json"))
            .arguments(["--operator-password-file"])
            .argument(folder.join("password"))
            .arguments(["--consent"])
            .argument(&consent_file)
            .arguments(["--endpoint", &endpoint, "--delivery", DELIVERY_PRICE, "--relay", RELAY_PRICE])
            .arguments(["--storage", STORAGE_PRICE, "--bond", BOND_TOKENS, "--from-reserve"])
            .run()
            .await?;

        let node = Process::new(&format!("{name}'s node"), node_program, folder.join("node.log"))
            .arguments(["run", "--config"])
            .arguments([&node_config])
            .ready_at(format!("{node_admin}/health/ready"));
        let settler =
            Process::new(&format!("{name}'s settler"), binaries::program("settler"), folder.join("settler.log"))
                .arguments(["run", "--config"])
                .arguments([&settler_config])
                .ready_at(format!("{settler_admin}/health/ready"));
        let address = operator_key.address();
        Ok(Operator {
            name: name.to_owned(),
            address,
            node_address,
            endpoint,
            node_admin,
            settler_admin,
            node: node.into(),
            settler: settler.into(),
            folder,
        })
    }
}

struct Ports {
    node: u16,
    node_admin: u16,
    settler: u16,
    settler_admin: u16,
}

impl Ports {
    fn free() -> Result<Self> {
        Ok(Self { node: free_port()?, node_admin: free_port()?, settler: free_port()?, settler_admin: free_port()? })
    }
}

async fn deploy(anvil: &Anvil, folder: &Path, reserve: Address, deployment_file: &Path) -> Result<()> {
    let deployer = keystore(folder, "deployer.json")?;
    anvil.give_gas(deployer.address()).await?;
    Call::new(&binaries::program("settler"))
        .arguments(["deploy", "--json", "--reserve", &reserve.to_string(), "--rpc-url", anvil.url(), "--keystore"])
        .argument(folder.join("deployer.json"))
        .arguments(["--password-file"])
        .argument(folder.join("password"))
        .arguments(["--out"])
        .argument(deployment_file)
        .run()
        .await
}

/// Makes a key and writes it as an encrypted file, with the file `password` beside it.
pub(crate) fn keystore(folder: &Path, name: &str) -> Result<PrivateKeySigner> {
    let key = PrivateKeySigner::random();
    write_private(&folder.join("password"), PASSWORD)?;
    PrivateKeySigner::encrypt_keystore(folder, &mut OsRng, key.to_bytes(), PASSWORD, Some(name))?;
    Ok(key)
}
