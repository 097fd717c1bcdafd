//! Charges by a standing mandate: what it bears is charged as it accrues, the next voucher pays only the rest, and what
//! cannot be charged keeps nothing else waiting.

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::SignedCharge;
use minus_settler::api::{IntakeAnswer, IntakeResult};
use minus_settler::check::Refusal;
use minus_settler::store::TransactionState;
use serde_json::json;

use super::world::{COIN, Settler, World, tokens, until};

const DAY: u64 = 86_400;

impl World {
    fn charge(&self, payer: &PrivateKeySigner, cumulative: &str, signer: &PrivateKeySigner) -> SignedCharge {
        let domain = self.deployment.escrow_domain();
        SignedCharge::sign(payer.address(), self.payee(), tokens(cumulative), &domain, signer)
    }

    /// A mandate to the operator: a token a day, three at most.
    async fn give_mandate(&self, payer: &PrivateKeySigner) {
        let escrow = minus_bindings::PrepaymentEscrow::new(self.deployment.escrow, self.as_signer(payer));
        let (daily, accrual) = (tokens("1").to_u96(), tokens("3").to_u96());
        let set = escrow.setMandate(self.payee(), daily, accrual, u64::MAX >> 1).send().await.unwrap();
        assert!(set.get_receipt().await.unwrap().status());
    }
}

async fn hand_in(settler: &Settler<'_>, world: &World, charges: &[SignedCharge]) -> Vec<IntakeResult> {
    let url = format!("http://{}/charges", settler.handle.addr);
    let answer = world.http.post(url).json(&json!({ "charges": charges })).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json::<IntakeAnswer>().await.unwrap().results
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_what_no_mandate_bears_and_takes_the_rest() {
    let world = World::new().await;
    let settler = world.settler().await;
    let (payer, stranger) = (world.payer("10").await, world.payer("10").await);
    world.give_mandate(&payer).await;
    let good = world.charge(&payer, "1", &world.operator);
    let elsewhere = SignedCharge { payee: Address::repeat_byte(7), ..good };
    let results = hand_in(
        &settler,
        &world,
        &[world.charge(&stranger, "1", &world.operator), world.charge(&payer, "9", &payer), elsewhere, good, good],
    )
    .await;
    let refused = |reason| IntakeResult::Refused { reason };
    assert_eq!(results[..2], [refused(Refusal::NoMandate), refused(Refusal::NotASigner)]);
    assert!(matches!(results[2], IntakeResult::Refused { .. }));
    assert_eq!(results[3..], [IntakeResult::Recorded, IntakeResult::SameAsBefore]);
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charges_as_it_accrues_and_the_next_voucher_pays_the_rest() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    world.give_mandate(&payer).await;
    let settler = world.settler().await;
    let delegate = PrivateKeySigner::random();
    let operator = minus_bindings::PrepaymentEscrow::new(world.deployment.escrow, world.as_signer(&world.operator));
    world.anvil.give_gas(world.payee(), COIN).await;
    operator.authorize(delegate.address()).send().await.unwrap().get_receipt().await.unwrap();

    // Another payer's voucher is not kept waiting by a charge for which next to nothing has accrued.
    let other = world.payer("10").await;
    assert_eq!(hand_in(&settler, &world, &[world.charge(&payer, "2.5", &delegate)]).await, [IntakeResult::Recorded]);
    settler.record(world.voucher(&other, "1")).await;
    assert_eq!(settler.claim_now().await.confirmed, 1);

    // A day brings a token, and so little more that the second it took is seen.
    world.anvil.warp(DAY).await;
    settler.ask().await;
    let first =
        until("the first charge", async || Some(world.paid(&payer).await).filter(|paid| *paid >= tokens("1"))).await;
    assert!(first < tokens("1.1"), "{first}");
    settler.kill();

    // It goes on where it was after a crash, until all of it is charged and never more.
    world.anvil.warp(2 * DAY).await;
    let settler = world.settler().await;
    settler.ask().await;
    until("the rest is charged", async || (world.paid(&payer).await == tokens("2.5")).then_some(())).await;
    assert_eq!(charges(&settler).await, 1, "kept while a reorganisation may give it back");
    world.anvil.mine(minus_settler::pace::WATCH_BLOCKS + 1).await;
    until("it is known to be", async || {
        let same = hand_in(&settler, &world, &[world.charge(&payer, "2.5", &world.operator)]).await;
        (same == [IntakeResult::SameAsBefore] && charges(&settler).await == 0).then_some(())
    })
    .await;

    settler.record(world.voucher(&payer, "4")).await;
    settler.claim_now().await;
    assert_eq!(world.paid(&payer).await, tokens("4"));
    assert_eq!(world.earned().await, tokens("5"), "4 of this payer and 1 of the other: nothing twice");
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_a_reorganisation_undid_and_brought_back_counts_what_it_moved() {
    let world = World::new().await;
    let payer = world.payer("10").await;
    world.give_mandate(&payer).await;
    let settler = world.settler().await;
    world.anvil.warp(DAY).await;
    hand_in(&settler, &world, &[world.charge(&payer, "0.5", &world.operator)]).await;
    settler.ask().await;
    let line = async || settler.status().await.transactions.into_iter().next();
    let confirmed = async || line().await.filter(|line| line.state == TransactionState::Confirmed);
    let first = until("it is charged", confirmed).await;
    assert_eq!(first.paid, tokens("0.5"));

    world.anvil.reorg(1).await;
    world.anvil.mine(1).await;
    let metrics = async || settler.get("metrics").await.text().await.unwrap();
    until("it was seen to be gone", async || metrics().await.contains("settler_reorganisations_total 1").then_some(()))
        .await;
    // It is counted a moment before the log has it back.
    until("it is mined again", async || (world.paid(&payer).await == tokens("0.5")).then_some(())).await;
    let again = until("it is charged again", confirmed).await;
    assert_eq!((again.hash, again.paid), (first.hash, tokens("0.5")));
    settler.end().await;
}

/// The gauge of charges that are not paid in full.
async fn charges(settler: &Settler<'_>) -> u64 {
    let text = settler.get("metrics").await.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("settler_charges ")).unwrap();
    line.parse().unwrap()
}
