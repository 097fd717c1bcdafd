//! The view against a model that cannot be wrong: the contracts themselves. After random operations, reorganisations and
//! restarts the node believes of every record what the contracts answer.

use alloy::{
    primitives::{Address, aliases::U96},
    providers::Provider,
    signers::local::PrivateKeySigner,
};
use minus_bindings::IRoutingTable;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::{
    proxy::{Mood, Proxy},
    world::{Operator, World, units, until},
};

/// Everybody who may be party to anything.
struct Cast {
    wallets: Vec<PrivateKeySigner>,
    nodes: Vec<Operator>,
}

impl Cast {
    async fn new(world: &World, rpc: &Proxy) -> Self {
        let wallets = vec![world.person().await, world.person().await, world.person().await];
        let mut nodes = Vec::new();
        for _ in 0..2 {
            nodes.push(world.operator(|config| config.rpc_urls = vec![rpc.url.clone()]).await);
        }
        Self { wallets, nodes }
    }

    fn payers(&self) -> Vec<Address> {
        let wallets = self.wallets.iter().map(PrivateKeySigner::address);
        wallets.chain(self.nodes.iter().map(|node| node.address)).collect()
    }

    /// Pairs that a lane, a mandate or a delegation may run between.
    fn pairs(&self) -> Vec<(Address, Address)> {
        let payees = || self.nodes.iter().map(|node| node.address).chain([Address::ZERO]);
        let pairs = self.payers().into_iter().flat_map(|payer| payees().map(move |payee| (payer, payee)));
        pairs.filter(|(payer, payee)| payer != payee).collect()
    }
}

/// Does something to the chain. What the contracts refuse changes nothing, and is as good as any other operation.
async fn something(world: &World, cast: &Cast, random: &mut StdRng) {
    let (table, escrow) = (world.table(), world.escrow());
    let wallet = cast.wallets.choose(random).unwrap();
    let node = cast.nodes.choose(random).unwrap();
    let (payer, payee) = *cast.pairs().choose(random).unwrap();
    let amount = U96::from(random.random_range(1..1_000_000));
    match random.random_range(0..10) {
        0 | 1 => world.set_route(wallet, node.node).await,
        2 => {
            let key = IRoutingTable::SealingKey::default();
            let _ = table.setRoute(Address::ZERO, key).from(wallet.address()).send().await;
        }
        3 | 4 => world.deposit(payer, payee, amount.to()).await,
        5 => {
            let _ = escrow.thaw(payee, amount).from(payer).send().await;
        }
        6 => {
            let _ = escrow.authorize(node.node).from(payer).send().await;
        }
        7 => {
            let _ = escrow.revoke(node.node).from(payer).send().await;
        }
        8 => {
            let until = 2_000_000_000 + random.random_range(0..1_000);
            let _ = escrow.setMandate(payee, amount, amount, until).from(payer).send().await;
        }
        _ => {
            let price = random.random_range(0..1_000);
            let tariff = IRoutingTable::Tariff { delivery: price, relay: price, storing: price };
            let _ = table.announceTariff(node.node, tariff).from(node.address).send().await;
        }
    }
}

async fn mine(world: &World, blocks: u64) {
    let _: Value = world.chain.raw_request("anvil_mine".into(), (blocks,)).await.unwrap();
}

async fn snapshot(world: &World) -> Value {
    world.chain.raw_request("evm_snapshot".into(), ()).await.unwrap()
}

/// Takes the chain back to a snapshot, and on to one block more than it had, on another branch.
async fn reorganise(world: &World, before: &Value) {
    let head = world.chain.get_block_number().await.unwrap();
    let reverted: bool = world.chain.raw_request("evm_revert".into(), (before,)).await.unwrap();
    assert!(reverted);
    let _: Value = world.chain.raw_request("anvil_setCoinbase".into(), (Address::random(),)).await.unwrap();
    let now = world.chain.get_block_number().await.unwrap();
    mine(world, (head - now) / 2).await;
}

async fn outgrow(world: &World, head: u64) {
    let now = world.chain.get_block_number().await.unwrap();
    mine(world, (head + 1).saturating_sub(now)).await;
}

async fn view(node: &Operator, path: String) -> Value {
    let mut said = Value::Null;
    until("the node answers", async || {
        let answer = node.admin(&path).await;
        let good = answer.status().is_success();
        if good {
            said = answer.json().await.unwrap();
        }
        good
    })
    .await;
    said
}

/// The node believes what the contracts answer, of every record.
async fn agree(world: &World, cast: &Cast, node: &Operator) {
    let (table, escrow) = (world.table(), world.escrow());
    for wallet in &cast.wallets {
        let route = table.route(wallet.address()).call().await.unwrap();
        let expected = if route.agent.is_zero() { Value::Null } else { json!(route.agent) };
        assert_eq!(view(node, format!("/view/{}", wallet.address())).await["agent"], json!(expected));
    }
    for peer in &cast.nodes {
        let record = table.node(peer.node).call().await.unwrap();
        let known = view(node, format!("/view/{}", peer.node)).await;
        let known = &known["node"];
        assert_eq!(known["operator"], json!(record.operator));
        assert_eq!(
            (&known["endpoint"], &known["tariff_version"]),
            (&json!(record.endpoint), &json!(record.tariffVersion))
        );
        let tariffs = known["tariffs"].as_array().unwrap();
        let priced = |tariff: &IRoutingTable::Tariff| [tariff.delivery, tariff.relay, tariff.storing];
        let mut expected = vec![(record.tariffVersion, priced(&record.tariff))];
        if record.nextFrom != 0 {
            expected.push((record.tariffVersion + 1, priced(&record.next)));
            assert_eq!(tariffs.last().unwrap()["from"], json!(record.nextFrom));
        }
        let said: Vec<_> = tariffs
            .iter()
            .map(|said| {
                let price = |name: &str| said["tariff"][name].as_u64().unwrap();
                let version = u32::try_from(said["version"].as_u64().unwrap()).unwrap();
                (version, [price("delivery"), price("relay"), price("storing")])
            })
            .collect();
        assert_eq!(said, expected);
    }
    for (payer, payee) in cast.pairs() {
        let lane = escrow.lane(payer, payee).call().await.unwrap();
        let mandate = escrow.mandate(payer, payee).call().await.unwrap()._0;
        let expected = json!({
            "deposit": units(lane._0.deposit.to()), "paid": units(lane._0.paid.to()),
            "thawing": units(lane._1.amount.min(lane._0.deposit).to()),
            "daily_cap": units(mandate.dailyCap.to()), "accrual_cap": units(mandate.accrualCap.to()),
            "valid_until": mandate.validUntil, "may_sign": escrow.delegate(payer, payee).call().await.unwrap().authorized,
        });
        assert_eq!(view(node, format!("/view/{payer}/{payee}")).await, expected, "{payer} {payee}");
    }
    for payer in cast.payers() {
        for signer in cast.nodes.iter().map(|node| node.node) {
            let authorized = escrow.delegate(payer, signer).call().await.unwrap().authorized;
            assert_eq!(view(node, format!("/view/{payer}/{signer}")).await["may_sign"], json!(authorized));
        }
    }
}

async fn settled(world: &World, cast: &Cast) {
    for node in &cast.nodes {
        node.wait_for_head(world).await;
        node.wait_ready().await;
        agree(world, cast, node).await;
    }
}

/// Random rounds: operations, now and then taken back and replaced by others, now and then while a node is down.
#[tokio::test(flavor = "multi_thread")]
async fn the_view_is_what_the_contracts_answer_after_anything() {
    let seed = std::env::var("MINUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let deep = std::env::var("MINUS_DEEP").is_ok_and(|deep| !deep.is_empty());
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::new().await;
    let rpc = Proxy::new(&world.rpc_url, Mood::Honest).await;
    let mut cast = Cast::new(&world, &rpc).await;
    settled(&world, &cast).await;
    for round in 0..if deep { 60 } else { 6 } {
        let down = random.random_bool(0.5);
        if down {
            cast.nodes[0].stop().await;
        }
        let before = snapshot(&world).await;
        for _ in 0..random.random_range(1..8) {
            something(&world, &cast, &mut random).await;
        }
        mine(&world, random.random_range(0..24)).await;
        if !down {
            cast.nodes[0].wait_for_head(&world).await;
        }
        cast.nodes[1].wait_for_head(&world).await;
        if random.random_bool(0.7) {
            let head = world.chain.get_block_number().await.unwrap();
            reorganise(&world, &before).await;
            for _ in 0..random.random_range(0..6) {
                something(&world, &cast, &mut random).await;
            }
            outgrow(&world, head).await;
        }
        if down {
            cast.nodes[0].start().await;
        }
        println!("seed {seed}, round {round}, down {down}");
        settled(&world, &cast).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_of_32_blocks_reads_nothing_before_them_again() {
    let world = World::new().await;
    let rpc = Proxy::new(&world.rpc_url, Mood::Honest).await;
    let cast = Cast::new(&world, &rpc).await;
    settled(&world, &cast).await;
    let (wallet, node) = (&cast.wallets[0], &cast.nodes[0]);
    mine(&world, 10).await;
    let before = snapshot(&world).await;
    let ancestor = world.chain.get_block_number().await.unwrap();
    world.set_route(wallet, node.node).await;
    world.deposit(wallet.address(), node.address, 1_000).await;
    world.authorize(wallet.address(), node.node).await;
    mine(&world, 29).await;
    settled(&world, &cast).await;
    rpc.take_ranges();
    let head = world.chain.get_block_number().await.unwrap();
    assert_eq!(head, ancestor + 32);
    reorganise(&world, &before).await;
    world.set_route(wallet, cast.nodes[1].node).await;
    outgrow(&world, head).await;
    settled(&world, &cast).await;
    let ranges = rpc.take_ranges();
    assert!(!ranges.is_empty() && ranges.iter().all(|from| *from > ancestor), "{ranges:?} above {ancestor}");
    assert_eq!(node.metric("minus_chain_reorganisations_total").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_deeper_than_the_window_starts_over() {
    let world = World::new().await;
    let rpc = Proxy::new(&world.rpc_url, Mood::Honest).await;
    let cast = Cast::new(&world, &rpc).await;
    let before = snapshot(&world).await;
    world.set_route(&cast.wallets[0], cast.nodes[0].node).await;
    world.set_route(&cast.wallets[1], cast.nodes[0].node).await;
    mine(&world, 140).await;
    settled(&world, &cast).await;
    rpc.take_ranges();
    let head = world.chain.get_block_number().await.unwrap();
    reorganise(&world, &before).await;
    world.set_route(&cast.wallets[1], cast.nodes[1].node).await;
    outgrow(&world, head).await;
    settled(&world, &cast).await;
    assert!(rpc.take_ranges().contains(&world.deployment.block));
}
