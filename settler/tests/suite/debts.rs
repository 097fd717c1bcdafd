//! What our nodes promised relays: only what ours signed counts, the highest of each lane, and the operator hears of it
//! before the relays do when the escrow does not cover it.

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::{Amount, PrepaymentEscrow, SignedVoucher, row};
use minus_settler::alarms::AlarmKind;
use minus_settler::api::{IntakeAnswer, IntakeResult};
use minus_settler::check::Refusal;
use minus_settler::reports::{DebtPage, Overview};
use minus_settler::store::{CheckedVoucher, LaneView, Recording, Store};
use serde_json::json;

use super::postgres::databases;
use super::world::{Settler, World, tokens, until};

impl World {
    /// A voucher of the operator to somebody whose relays carried for it.
    pub(crate) fn debt(&self, payee: Address, cumulative: &str, signer: &PrivateKeySigner) -> SignedVoucher {
        SignedVoucher::sign(self.payee(), payee, tokens(cumulative), &self.deployment.escrow_domain(), signer)
    }

    pub(crate) fn escrow_as(
        &self,
        key: &PrivateKeySigner,
    ) -> PrepaymentEscrow::PrepaymentEscrowInstance<alloy::providers::DynProvider> {
        PrepaymentEscrow::new(self.deployment.escrow, self.as_signer(key))
    }

    /// Claims a voucher as a stranger would.
    pub(crate) async fn claim_elsewhere(&self, voucher: SignedVoucher) {
        let claim = self.escrow().claim(voucher.payee, row::pack(&[voucher])).send().await.unwrap();
        assert!(claim.get_receipt().await.unwrap().status());
    }
}

impl Settler<'_> {
    pub(crate) async fn tell_debts(&self, world: &World, debts: &[SignedVoucher]) -> Vec<IntakeResult> {
        let url = format!("http://{}/debts", self.handle.addr);
        let answer = world.http.post(url).json(&json!({ "debts": debts })).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json::<IntakeAnswer>().await.unwrap().results
    }

    pub(crate) async fn debts(&self) -> DebtPage {
        self.get("api/v1/debts").await.json().await.unwrap()
    }

    async fn is_alarmed(&self) -> bool {
        let overview: Overview = self.get("api/v1/overview").await.json().await.unwrap();
        overview.alarms.iter().any(|alarm| alarm.kind == AlarmKind::UncoveredDebts)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn believes_what_ours_signed_and_keeps_the_highest_through_a_crash() {
    let world = World::new().await;
    let settler = world.settler().await;
    let (relay, stranger) = (Address::repeat_byte(7), PrivateKeySigner::random());
    let good = world.debt(relay, "2", &world.operator);
    let foreign =
        SignedVoucher::sign(stranger.address(), relay, tokens("2"), &world.deployment.escrow_domain(), &stranger);
    let told = [
        world.debt(relay, "9", &stranger),
        foreign,
        world.debt(world.payee(), "2", &world.operator),
        world.debt(Address::ZERO, "2", &world.operator),
        good,
        good,
        world.debt(relay, "1", &world.operator),
    ];
    let refused = |reason| IntakeResult::Refused { reason };
    assert_eq!(
        settler.tell_debts(&world, &told).await,
        [
            refused(Refusal::NotASigner),
            refused(Refusal::ForeignPayer),
            refused(Refusal::BadPayer),
            refused(Refusal::BadPayer),
            IntakeResult::Recorded,
            IntakeResult::SameAsBefore,
            IntakeResult::SameAsBefore
        ]
    );
    settler.kill();

    // A node's key signs as the operator for as long as the operator lets it.
    let settler = world.settler().await;
    assert_eq!(settler.debts().await.debts[0].due, tokens("2"));
    let node = PrivateKeySigner::random();
    let by_node = world.debt(relay, "3", &node);
    assert_eq!(settler.tell_debts(&world, &[by_node]).await, [refused(Refusal::NotASigner)]);
    world.escrow_as(&world.operator).authorize(node.address()).send().await.unwrap().get_receipt().await.unwrap();
    assert_eq!(settler.tell_debts(&world, &[by_node]).await, [IntakeResult::Recorded]);
    let page = settler.debts().await;
    assert_eq!((page.total, page.debts[0].payee, page.debts[0].cumulative), (1, relay, tokens("3")));
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_what_the_escrow_does_not_cover_and_notices_who_else_claims() {
    let world = World::new().await;
    let settler = world.settler().await;
    let relays = [Address::repeat_byte(7), Address::repeat_byte(8)];
    world.fund(world.payee(), Address::ZERO, tokens("5")).await;
    world.fund(world.payee(), relays[0], tokens("1")).await;
    let owing = async || {
        let page = settler.debts().await;
        (page.operators[0].due, page.operators[0].uncovered, page.operators[0].under_notice)
    };
    let amounts = |due, uncovered, under_notice| (tokens(due), tokens(uncovered), tokens(under_notice));

    let first = world.debt(relays[0], "4", &world.operator);
    settler.tell_debts(&world, &[first, world.debt(relays[1], "2", &world.operator)]).await;
    assert_eq!(owing().await, amounts("6", "0", "0"));
    assert!(!settler.is_alarmed().await);

    // What one relay takes is not there for the other: 3 of the 5 are gone, 2 are there for 2.5.
    world.claim_elsewhere(first).await;
    settler.tell_debts(&world, &[world.debt(relays[1], "2.5", &world.operator)]).await;
    until("the claim is noticed", async || (owing().await == amounts("2.5", "0.5", "0")).then_some(())).await;
    until("the alarm", async || settler.is_alarmed().await.then_some(())).await;

    // Income covers it, and a notice uncovers it.
    let payer = world.payer("3").await;
    settler.record(world.voucher(&payer, "3")).await;
    settler.claim_now().await;
    until("it is covered", async || (owing().await == amounts("2.5", "0", "0")).then_some(())).await;
    until("no alarm", async || (!settler.is_alarmed().await).then_some(())).await;
    let operator = world.escrow_as(&world.operator);
    operator.thaw(Address::ZERO, tokens("4").to_u96()).send().await.unwrap().get_receipt().await.unwrap();
    until("the notice is noticed", async || (owing().await == amounts("2.5", "1.5", "1.5")).then_some(())).await;
    until("the alarm", async || settler.is_alarmed().await.then_some(())).await;
    let text = settler.get("metrics").await.text().await.unwrap();
    assert!(text.contains("\nsettler_owed_to_relays_base_units 2500000\n"), "{text}");

    let output = std::process::Command::new(env!("CARGO_BIN_EXE_settler"))
        .args(["debts", "--url", &format!("http://{}", settler.handle.admin_addr)])
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && shown.contains("1.5 is not covered, 1.5 of it by money under notice"),
        "{shown}"
    );
    settler.end().await;
}

/// Both databases keep the same, whatever comes first.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_of_debts_holds_its_highest_voucher_on_both_databases() {
    let units = |units: u128| Amount::from_base_units(units).unwrap();
    let (payer, signer) = (Address::repeat_byte(0xaa), Address::repeat_byte(1));
    let debt = |payee: u8, cumulative, paid| CheckedVoucher {
        voucher: SignedVoucher {
            payer,
            payee: Address::repeat_byte(payee),
            cumulative: units(cumulative),
            signature: [payee; 65],
        },
        signer,
        view: LaneView { paid: units(paid), open: units(7), ..LaneView::default() },
        is_fresh: true,
    };
    for database in databases() {
        let store = Store::open(&database.url).await.unwrap();
        let batch = [debt(1, 10, 0), debt(2, 100, 0), debt(1, 9, 0), debt(3, 1, 0), debt(1, 11, 4)];
        assert_eq!(
            store.record_debts(&batch, 2, 50).await.unwrap(),
            [Recording::Recorded, Recording::Recorded, Recording::SameAsBefore, Recording::NoRoom, Recording::Recorded]
        );
        let debts = store.debts().await.unwrap();
        let due: Vec<_> = debts.iter().map(|debt| (debt.due(), debt.recorded_at)).collect();
        assert_eq!(due, [(units(7), 50), (units(100), 50)]);

        // Paid, and owing anew: since then.
        let paid = LaneView { paid: units(11), ..debts[0].view };
        store.put_debt_views(&[(payer, debts[0].voucher.payee, paid)], 60).await.unwrap();
        assert_eq!(store.stale_debts(55, 70, 9).await.unwrap().len(), 1);
        assert_eq!(store.stale_debts(55, 59, 1).await.unwrap()[0].seen_at, 60, "read by a clock that was wrong");
        store.record_debts(&[debt(1, 12, 11)], 2, 70).await.unwrap();
        store.close().await;

        let store = Store::open(&database.url).await.unwrap();
        let debts = store.debts().await.unwrap();
        assert_eq!((debts[0].due(), debts[0].recorded_at, debts[0].voucher.signature), (units(1), 70, [1; 65]));
        store.close().await;
    }
}
