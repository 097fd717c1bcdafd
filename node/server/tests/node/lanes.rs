//! 402, to the base unit: a packet is taken if and only if its reserve fits what the lane still pays, before and after
//! acknowledgements, claims and notices.

use minus_bindings::Amount;
use minus_protocol::reserve;

use crate::{
    customer::{acknowledge, agree, customer, message, post_status, subscribe, voucher},
    world::{Operator, TARIFF, World, until},
};

/// What the agent sets aside for one of these messages, all of one length.
fn reserve_of(agent: &Operator, bytes: usize) -> u128 {
    let bytes = u64::try_from(bytes).unwrap();
    reserve(&TARIFF, bytes, agent.config.retention.as_secs()).base_units()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_is_spent_at_the_very_base_unit() {
    let world = World::new().await;
    let agent = world.operator(|_| ()).await;
    let probe = message(&world, &world.person().await, b"x");
    let each = reserve_of(&agent, probe.len());

    // One base unit short of two packets; then exactly two.
    let wallet = customer(&world, &agent, 2 * each - 1).await;
    let payer = wallet.address();
    let send = async || post_status(&agent.url(), &message(&world, &wallet, b"x")).await;
    assert_eq!(send().await, 202);
    assert_eq!(send().await, 402);
    world.deposit(payer, agent.address, 1).await;
    until("exactly two fit", async || send().await == 202).await;
    assert_eq!(send().await, 402);

    // Paying for both replaces their reserves by what they came to, and a claim moves the money, not the limit.
    let mut stream = subscribe(&world, &wallet, &agent, &agent.url(), 0).await;
    let carriages = [stream.message().await.2, stream.message().await.2];
    let statement = stream.statement().await;
    agree(&statement, Amount::ZERO, &carriages, false);
    assert_eq!(acknowledge(&world, &wallet, &agent, &statement).await.0, 200);
    let total = statement.total.base_units();
    assert!(0 < total && total < each, "{total} of {each}");
    assert_eq!(
        world.claim(agent.address, voucher(&world, &wallet, agent.address, statement.total)).await,
        statement.total
    );
    agent.wait_for_head(&world).await;
    assert_eq!(send().await, 202, "what is left holds one");
    assert_eq!(send().await, 402);
    // Of the two reserves one is used and `total` is spent: so much is missing for a second packet.
    world.deposit(payer, agent.address, total - 1).await;
    agent.wait_for_head(&world).await;
    assert_eq!(send().await, 402, "one base unit short");
    world.deposit(payer, agent.address, 1).await;
    until("the last base unit is seen", async || send().await == 202).await;
    assert_eq!(send().await, 402);

    // What is under notice does not count, to the base unit either: of four more packets, three and one base unit are announced to go.
    world.deposit(payer, agent.address, 4 * each).await;
    world.thaw(payer, agent.address, 3 * each + 1).await;
    agent.wait_for_head(&world).await;
    assert_eq!(send().await, 402, "one base unit of the first is leaving");
    world.thaw(payer, agent.address, 3 * each).await;
    agent.wait_for_head(&world).await;
    until("the smaller notice is seen", async || send().await == 202).await;
    assert_eq!(send().await, 402);
}
