//! Standing mandates: an agent charges a customer that is away, within what the mandate bears, and the books of all come
//! out the same as if the customer had paid itself.

use std::time::Duration;

use alloy::{
    primitives::{Address, aliases::U96},
    providers::Provider,
    signers::local::PrivateKeySigner,
};
use minus_bindings::{Amount, SignedCharge, row};
use minus_node::Config;
use minus_protocol::Tariff;

use crate::{
    customer::{Said, acknowledge, customer, message, post_status, subscribe, voucher},
    settler::Settler,
    world::{Operator, TOKEN, World, units, until},
};

/// Storage as dear as the routing table allows, so that seconds of a packet cost something; the rest as everywhere here.
const DEAR_STORAGE: Tariff = Tariff { delivery: 1 << 30, relay: 1 << 29, storing: 1_000_000_000_000 };
/// Above a hundred base units a second.
const BODY: &[u8] = &[7; 16 << 10];
const SECONDS_A_DAY: u128 = 86_400;

/// An agent with dear storage that charges whoever was silent for a second.
async fn agent(world: &World, settler: &Settler) -> Operator {
    let adjust = |config: &mut Config| {
        config.settler_url = Some(settler.url.clone());
        config.mandate_interval = Duration::from_secs(1);
        // What is set aside for a packet is its storage for all of this.
        config.retention = Duration::from_secs(3_600);
    };
    world.operator_at(DEAR_STORAGE, adjust).await
}

impl World {
    /// Lets `payee` take `per_second` base units for every second, `gathered` at most.
    async fn give_mandate(&self, payer: Address, payee: Address, per_second: u128, gathered: u128) {
        let caps = (U96::from(per_second * SECONDS_A_DAY), U96::from(gathered));
        let escrow = self.escrow();
        let call = escrow.setMandate(payee, caps.0, caps.1, u64::MAX >> 1).from(payer);
        assert!(call.send().await.unwrap().get_receipt().await.unwrap().status());
    }

    /// Submits a charge as the settler would, and returns what was credited.
    async fn charge(&self, charge: SignedCharge) -> Amount {
        let submitter = self.chain.get_accounts().await.unwrap()[1];
        let escrow = self.escrow();
        let before = escrow.openBalance(charge.payee).call().await.unwrap().amount;
        // Estimated at an older block's time, the mandate may bear nothing and the gas be too little.
        let call = escrow.charge(charge.payee, row::pack(&[charge])).from(submitter).gas(1_000_000);
        assert!(call.send().await.unwrap().get_receipt().await.unwrap().status());
        Amount::from(escrow.openBalance(charge.payee).call().await.unwrap().amount - before)
    }

    async fn paid(&self, payer: Address, payee: Address) -> Amount {
        self.escrow().lane(payer, payee).call().await.unwrap()._0.paid.into()
    }
}

async fn send(world: &World, agent: &Operator, wallet: &PrivateKeySigner, count: u32) {
    for _ in 0..count {
        assert_eq!(post_status(&agent.url(), &message(world, wallet, BODY)).await, 202);
    }
}

/// Receives `count` messages, signs the statement that covers them, and gives its total.
async fn catch_up(world: &World, agent: &Operator, wallet: &PrivateKeySigner, count: usize) -> Amount {
    let mut stream = subscribe(world, wallet, agent, &agent.url(), 0).await;
    let mut received = 0;
    let statement = loop {
        match stream.next().await {
            Said::Message { .. } => received += 1,
            Said::Statement(statement) => break statement,
            Said::KeepAlive => {}
            Said::End => panic!("the stream ended"),
        }
    };
    assert_eq!(received, count);
    let (status, reply) = acknowledge(world, wallet, agent, &statement).await;
    assert_eq!(status, 200, "{reply:?}");
    statement.total
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_payer_is_charged_within_its_mandate_and_pays_nothing_twice() {
    const GATHERED: u128 = 100;
    let world = World::new().await;
    let settler = Settler::new().await;
    settler.fall_ill(true);
    let mut agent = agent(&world, &settler).await;
    let wallet = customer(&world, &agent, 900 * TOKEN).await;
    let payer = wallet.address();
    world.give_mandate(payer, agent.address, 1_000_000, GATHERED).await;
    send(&world, &agent, &wallet, 3).await;

    // It is signed and kept before anybody has it; a restart in between hands over the same.
    let waiting = async |agent: &Operator| agent.metric("minus_charges_waiting").await == 1.0;
    until("a charge is signed", async || waiting(&agent).await).await;
    agent.restart().await;
    assert!(waiting(&agent).await);
    settler.fall_ill(false);
    until("it is handed over", async || !settler.charges().is_empty()).await;
    let first = settler.charges()[0];
    assert!((Amount::ZERO..=units(GATHERED)).contains(&first.cumulative), "{first:?}");
    assert_eq!((first.payer, first.payee), (payer, agent.address));
    assert_eq!(first.signer(&world.deployment.escrow_domain()).unwrap(), agent.node);

    // The escrow pays it, and the same one again pays nothing more.
    assert_eq!(world.charge(first).await, first.cumulative);
    assert_eq!(world.charge(first).await, Amount::ZERO);
    assert_eq!(world.paid(payer, agent.address).await, first.cumulative);

    // It goes on as the mandate accrues, from where the chain is.
    let next = async || settler.charges().into_iter().find(|charge| charge.cumulative > first.cumulative);
    until("it is charged again", async || next().await.is_some()).await;
    let second = next().await.unwrap();
    assert!(second.cumulative <= units(first.cumulative.base_units() + GATHERED), "{second:?}");
    assert_eq!(world.charge(second).await, second.cumulative.saturating_sub(first.cumulative));

    // The customer is back: its bill says nothing of charges, and what it signs moves only the rest.
    let total = catch_up(&world, &agent, &wallet, 3).await;
    assert!(total > second.cumulative);
    let before = world.paid(payer, agent.address).await;
    let moved = world.claim(agent.address, voucher(&world, &wallet, agent.address, total)).await;
    assert_eq!(moved.base_units(), total.base_units() - before.base_units());
    assert_eq!(world.paid(payer, agent.address).await, total);
    let account = &agent.meters().await["customers"][0];
    assert_eq!(account["total"], total.base_units().to_string());
    for charge in settler.charges() {
        assert_eq!(world.charge(charge).await, Amount::ZERO);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_below_what_was_charged_is_acknowledged_and_the_surplus_is_credit() {
    let world = World::new().await;
    let settler = Settler::new().await;
    let agent = agent(&world, &settler).await;
    let wallet = customer(&world, &agent, 900 * TOKEN).await;
    let payer = wallet.address();
    send(&world, &agent, &wallet, 1).await;
    // More than the bill will come to was paid before, as it is when charged packets expire.
    let surplus = units(50 * TOKEN);
    assert_eq!(world.claim(agent.address, voucher(&world, &wallet, agent.address, surplus)).await, surplus);
    agent.wait_for_head(&world).await;
    let total = catch_up(&world, &agent, &wallet, 1).await;
    assert!(total < surplus);
    assert_eq!(world.claim(agent.address, voucher(&world, &wallet, agent.address, total)).await, Amount::ZERO);
    assert_eq!(world.paid(payer, agent.address).await, surplus);
}

#[tokio::test(flavor = "multi_thread")]
async fn charges_nobody_without_a_mandate_or_without_the_operators_leave() {
    let world = World::new().await;
    let settler = Settler::new().await;
    let agent = agent(&world, &settler).await;
    let none = customer(&world, &agent, 400 * TOKEN).await;
    let given = customer(&world, &agent, 400 * TOKEN).await;
    // An operator that takes its leave back stops its node at once, though the escrow would pay for the notice yet.
    world.revoke(agent.address, agent.node).await;
    agent.wait_for_head(&world).await;
    world.give_mandate(given.address(), agent.address, 1_000_000, TOKEN).await;
    send(&world, &agent, &none, 1).await;
    send(&world, &agent, &given, 1).await;
    until("it would charge", async || agent.metric("minus_charges_unauthorised_total").await >= 2.0).await;
    assert!(settler.charges().is_empty());

    world.authorize(agent.address, agent.node).await;
    until("it charges", async || settler.charges().len() >= 2).await;
    assert!(settler.charges().iter().all(|charge| charge.payer == given.address()));
}
