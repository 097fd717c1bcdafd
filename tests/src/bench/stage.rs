//! Our side: a real chain, a registered agent node and as many entrusted wallets as there are listeners, all on the lane
//! of one payer, opened as a customer's program would, only in bulk.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::consensus::constants::ETH_TO_WEI;
use alloy::network::TransactionBuilder;
use alloy::primitives::{Address, Bytes, U256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use anyhow::{Context, Result, bail, ensure};
use minus_bindings::{
    Amount, Entrustment, IRoutingTable, PrepaymentEscrow, Route, RoutingTable, SettlementToken, sign,
};
use minus_protocol::{
    Command, CommandBody, Outgoing, Packet, Reply, SealingKey, SealingSecret, SessionKey, open_reply, random_bytes,
    seal,
};
use tokio::task::JoinSet;

use crate::world::network::{Network, Operator, TOKEN};

/// Prepaid on each lane: no run comes near it, so that money is accounted for and never in the way.
const PREPAID_TOKENS: u128 = 100_000_000;

/// Bytes that may wait for the one payer of all wallets: nobody acknowledges here, and no run comes near it.
const CUSTOMER_QUOTA: u64 = 1 << 40;

/// How long a route's signature may be carried.
const ROUTE_VALID_S: u64 = 86_400;

/// Routes sent to the chain before it mines a block.
const ROUTES_PER_BLOCK: usize = 500;

/// Gas of the longest block: [`ROUTES_PER_BLOCK`] routes and room.
const BLOCK_GAS: u64 = 500_000_000;

/// Gas of one route.
const ROUTE_GAS: u64 = 300_000;

/// Commands under way at a time: what the node takes without answering 429.
const COMMANDS_MAX: usize = 64;

/// A network whose first operator is the agent of all wallets, and the second a relay.
pub struct Stage {
    /// The chain and the operators.
    pub network: Network,
    /// Whose lane pays.
    payer: PrivateKeySigner,
    /// The agent's sealing key.
    agent_key: SealingKey,
    /// What receives.
    pub wallets: Vec<PrivateKeySigner>,
}

impl Stage {
    /// A chain with contracts, operators and a filled lane. No node runs yet, no wallet is entrusted.
    pub async fn build(folder: &Path) -> Result<Self> {
        let network = Network::register_all(folder, &mut |_| ()).await?;
        let payer = PrivateKeySigner::random();
        let agent = network.agent();
        let node = network.routing_table().node(agent.node_address).call().await?;
        let agent_key = SealingKey::from_affine(node.sealingKey.x, node.sealingKey.y)?;
        let stage = Self { network, payer, agent_key, wallets: Vec::new() };
        for operator in &stage.network.operators {
            Self::configure(operator)?;
        }
        stage.prepay().await?;
        Ok(stage)
    }

    /// Defaults instead of what suits tests; no limit that money or one payer's quota sets; no settler,
    /// which would only wait.
    fn configure(operator: &Operator) -> Result<()> {
        let file = operator.node_config();
        let text = std::fs::read_to_string(&file)?;
        let replaced =
            ["settler_url", "retention", "voucher_interval", "poll_interval", "customer_credit", "relay_credit"];
        let kept: Vec<&str> = text.lines().filter(|line| !replaced.iter().any(|name| line.starts_with(name))).collect();
        let credit = PREPAID_TOKENS * TOKEN;
        let more =
            format!("customer_credit = \"{credit}\"\nrelay_credit = \"{credit}\"\ncustomer_quota = {CUSTOMER_QUOTA}\n");
        Ok(std::fs::write(file, kept.join("\n") + "\n" + &more)?)
    }

    async fn prepay(&self) -> Result<()> {
        let faucet = self.network.anvil.faucet();
        let own = faucet.get_accounts().await?.first().copied().context("anvil has accounts")?;
        let units = PREPAID_TOKENS * TOKEN;
        let amount = U256::from(units);
        self.network.fund(own, PREPAID_TOKENS).await?;
        let wei = U256::from(ETH_TO_WEI) * U256::from(1_000_000_u64);
        faucet.raw_request::<_, ()>("anvil_setBalance".into(), (own, wei)).await?;
        let deployment = &self.network.deployment;
        let token = SettlementToken::new(deployment.token, faucet);
        let reserve = SettlementToken::new(token.underlying().call().await?, faucet);
        reserve.approve(deployment.token, amount).send().await?.watch().await?;
        token.depositFor(own, amount).send().await?.watch().await?;
        token.approve(deployment.escrow, amount).send().await?.watch().await?;
        let escrow = PrepaymentEscrow::new(deployment.escrow, faucet);
        let amount = Amount::from_base_units(units)?.to_u96();
        escrow.deposit(self.payer.address(), self.network.agent().address, amount).send().await?.watch().await?;
        Ok(())
    }

    /// Where a node listens.
    pub fn address(operator: &Operator) -> Result<SocketAddr> {
        Ok(operator.endpoint.trim_start_matches("http://").parse()?)
    }

    /// Starts a node on an empty store and waits until it is ready.
    pub async fn start(&self, operator: &Operator) -> Result<()> {
        self.stop(operator)?;
        operator.node.lock().start()?;
        let readiness = operator.node.lock().readiness();
        readiness.wait().await
    }

    /// Kills a node and removes what it stored.
    pub fn stop(&self, operator: &Operator) -> Result<()> {
        operator.node.lock().kill();
        std::fs::remove_dir_all(operator.node_data())?;
        Ok(std::fs::create_dir(operator.node_data())?)
    }

    /// Brings the number of wallets up to `count`, each with its route to the agent.
    pub async fn route(&mut self, count: usize) -> Result<()> {
        let missing = count.saturating_sub(self.wallets.len());
        let fresh: Vec<_> = (0..missing).map(|_| PrivateKeySigner::random()).collect();
        let chain = self.network.anvil.faucet();
        chain.raw_request::<_, bool>("evm_setBlockGasLimit".into(), (U256::from(BLOCK_GAS),)).await?;
        chain.raw_request::<_, ()>("evm_setAutomine".into(), (false,)).await?;
        let from = chain.get_accounts().await?.first().copied().context("anvil has accounts")?;
        let mut nonce = chain.get_transaction_count(from).await?;
        let valid_until =
            chain.get_block(Default::default()).await?.context("a block")?.header.timestamp + ROUTE_VALID_S;
        for batch in fresh.chunks(ROUTES_PER_BLOCK) {
            for wallet in batch {
                let request = TransactionRequest::default()
                    .with_from(from)
                    .with_to(self.network.deployment.routing_table)
                    .with_input(self.route_call(wallet, valid_until))
                    .with_gas_limit(ROUTE_GAS)
                    .with_nonce(nonce);
                nonce += 1;
                // Unlocked at anvil, and not through the signing layers, which would ask for fees and nonces each time.
                chain.raw_request::<_, alloy::primitives::B256>("eth_sendTransaction".into(), (request,)).await?;
            }
            chain.raw_request::<_, alloy::primitives::B256>("evm_mine".into(), ()).await.ok();
        }
        chain.raw_request::<_, ()>("evm_setAutomine".into(), (true,)).await?;
        self.wallets.extend(fresh);
        if let Some(last) = self.wallets.last() {
            let table = self.network.routing_table();
            let route = table.route(last.address()).call().await?;
            ensure!(route.agent == self.network.agent().node_address, "a route was not mined");
        }
        Ok(())
    }

    fn route_call(&self, wallet: &PrivateKeySigner, valid_until: u64) -> Bytes {
        let (x, y) = SealingSecret::derive(&wallet.to_bytes().0).public().to_affine();
        let agent = self.network.agent().node_address;
        let message = Route {
            wallet: wallet.address(),
            agent,
            sealingKeyX: x,
            sealingKeyY: y,
            nonce: 0,
            validUntil: valid_until,
        };
        let signature = sign(&message, &self.network.deployment.routing_domain(), wallet);
        let call = RoutingTable::setRouteBySignatureCall {
            wallet: wallet.address(),
            agent,
            sealingKey: IRoutingTable::SealingKey { x, y },
            validUntil: valid_until,
            signature: signature.to_vec().into(),
        };
        call.abi_encode().into()
    }

    /// Seals a command of a wallet to the agent.
    pub fn seal(
        &self,
        wallet: &PrivateKeySigner,
        body: impl FnOnce(u64) -> CommandBody,
    ) -> Result<(Packet, SessionKey)> {
        let sent_at_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let session = SessionKey::random();
        let command = Command { session: session.clone(), body: body(sent_at_ms) }.encode();
        let outgoing = Outgoing { id: random_bytes(), sent_at_ms, body: &command };
        let domain = self.network.deployment.routing_domain();
        let packet = seal(&outgoing, self.network.agent().node_address, &self.agent_key, wallet, &domain)?;
        Ok((packet, session))
    }

    /// Opens an account at the running agent for each of the first so many wallets.
    pub async fn entrust_first(self: &Arc<Self>, count: usize) -> Result<()> {
        let client = reqwest::Client::new();
        // The first alone: a node asks the chain about a lane that it does not know once, whoever else names it meanwhile.
        if let Some(first) = self.wallets.first() {
            self.entrust(&client, first).await?;
        }
        let mut commands = JoinSet::new();
        for index in 1..count.min(self.wallets.len()) {
            if commands.len() == COMMANDS_MAX {
                commands.join_next().await.context("there are some")???;
            }
            let (stage, client) = (Arc::clone(self), client.clone());
            commands.spawn(async move { stage.entrust(&client, &stage.wallets[index]).await });
        }
        while let Some(done) = commands.join_next().await {
            done??;
        }
        Ok(())
    }

    async fn entrust(&self, client: &reqwest::Client, wallet: &PrivateKeySigner) -> Result<()> {
        let (payer, agent) = (self.payer.address(), self.network.agent());
        let (packet, session) = self.seal(wallet, |sent_at_ms| {
            let base = Amount::ZERO;
            let entrustment = Entrustment {
                wallet: wallet.address(),
                payer,
                agent: agent.node_address,
                base: base.to_u96(),
                sentAtMs: sent_at_ms,
            };
            let consent = sign(&entrustment, &self.network.deployment.routing_domain(), &self.payer);
            CommandBody::Entrust { payer, base, consent: Some(consent) }
        })?;
        let answer = client.post(&agent.endpoint).body(packet.into_bytes()).send().await?;
        match open_reply(&session, &answer.bytes().await?)? {
            Reply::Entrusted { .. } => Ok(()),
            other => bail!("a wallet could not be entrusted: {other:?}"),
        }
    }

    /// The wallets' addresses.
    pub fn addresses(&self) -> Vec<Address> {
        self.wallets.iter().map(PrivateKeySigner::address).collect()
    }
}
