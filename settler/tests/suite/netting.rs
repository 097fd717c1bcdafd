//! Two operators that owe each other: what ours owes pays what ours is owed, in one transaction, to the base unit, once,
//! whatever the other one does and whatever crashes.

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use minus_bindings::contracts::IPrepaymentEscrow::Batch;
use minus_bindings::{Amount, SignedVoucher, row};
use minus_settler::reports::{ClaimPage, ClaimRecord};
use minus_settler::store::endings::{Payments, Receipt};
use minus_settler::store::{
    Attempt, CheckedVoucher, Hold, Instrument, LaneView, NewTransaction, PlannedRow, Reason, Store, TransactionState,
};

use super::postgres::databases;
use super::world::{COIN, Settler, World, tokens, under_way, until};

impl World {
    /// Another operator, which has paid ours a token and has nothing left.
    async fn short_operator(&self, settler: &Settler<'_>) -> PrivateKeySigner {
        let other = PrivateKeySigner::random();
        self.anvil.give_gas(other.address(), COIN).await;
        self.fund(other.address(), Address::ZERO, tokens("1")).await;
        settler.record(self.voucher(&other, "1")).await;
        settler.claim_now().await;
        assert_eq!(self.paid(&other).await, tokens("1"));
        other
    }

    /// What ours has paid somebody.
    async fn paid_to(&self, payee: Address) -> Amount {
        self.escrow().lane(self.payee(), payee).call().await.unwrap()._0.paid.into()
    }

    async fn open_balance(&self, owner: Address) -> Amount {
        self.escrow().openBalance(owner).call().await.unwrap().amount.into()
    }
}

async fn last_claim(settler: &Settler<'_>) -> ClaimRecord {
    let page: ClaimPage = settler.get("api/v1/claims").await.json().await.unwrap();
    page.claims.into_iter().next().unwrap()
}

async fn confirmed(settler: &Settler<'_>, netted: u64) -> ClaimRecord {
    until("a netted claim is confirmed", async || {
        let claim = last_claim(settler).await;
        (claim.netted == netted && claim.state == TransactionState::Confirmed).then_some(claim)
    })
    .await
}

async fn is_unfunded(settler: &Settler<'_>) {
    until("there is no money behind it", async || {
        let lanes = settler.status().await.lanes;
        lanes.iter().any(|lane| lane.held == Some(Hold::Unfunded)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ours_owes_pays_what_ours_is_owed() {
    let world = World::new().await;
    let settler = world.settler().await;
    let other = world.short_operator(&settler).await;
    world.fund(world.payee(), Address::ZERO, tokens("24")).await;
    settler.record(world.voucher(&other, "31")).await;
    is_unfunded(&settler).await;

    settler.tell_debts(&world, &[world.debt(other.address(), "20", &world.operator)]).await;
    let claim = confirmed(&settler, 1).await;
    assert_eq!((claim.debts_paid, claim.paid, claim.vouchers), (tokens("20"), tokens("20"), 1));
    assert_eq!((world.paid_to(other.address()).await, world.paid(&other).await), (tokens("20"), tokens("21")));
    assert_eq!((world.earned().await, world.open_balance(other.address()).await), (tokens("25"), Amount::ZERO));
    assert_eq!(world.gas_transactions().await, 2);

    // The rest is kept, and not tried in vain.
    until("nothing is due any more", async || (settler.debts().await.total == 0).then_some(())).await;
    is_unfunded(&settler).await;
    world.anvil.mine(5).await;
    assert_eq!(world.gas_transactions().await, 2);
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_purse_serves_several_pairs_in_one_transaction() {
    let world = World::new().await;
    let settler = world.settler().await;
    let others = [world.short_operator(&settler).await, world.short_operator(&settler).await];
    world.fund(world.payee(), Address::ZERO, tokens("3")).await;
    for other in &others {
        settler.record(world.voucher(other, "11")).await;
    }
    let before = world.gas_transactions().await;
    let debts = others.each_ref().map(|other| world.debt(other.address(), "5", &world.operator));
    settler.tell_debts(&world, &debts).await;
    let claim = confirmed(&settler, 2).await;
    assert_eq!((claim.debts_paid, claim.paid), (tokens("10"), tokens("10")), "five tokens paid ten");
    assert_eq!(world.gas_transactions().await, before + 1);
    assert_eq!(world.earned().await, tokens("5"));
    for other in &others {
        assert_eq!((world.paid_to(other.address()).await, world.paid(other).await), (tokens("5"), tokens("6")));
    }
    settler.end().await;
}

/// It collects for itself and moves the money out of reach, in front of ours: what it is owed is paid once, and ours spends
/// the gas of one transaction.
#[tokio::test(flavor = "multi_thread")]
async fn another_operator_that_is_faster_costs_one_transaction() {
    let world = World::new().await;
    let settler = world.settler().await;
    let other = world.short_operator(&settler).await;
    world.fund(world.payee(), Address::ZERO, tokens("24")).await;
    settler.record(world.voucher(&other, "31")).await;
    is_unfunded(&settler).await;
    let debt = world.debt(other.address(), "20", &world.operator);
    world.anvil.automine(false).await;
    settler.tell_debts(&world, &[debt]).await;
    under_way(&settler).await;

    let hideout = Address::repeat_byte(0x66);
    let away = SignedVoucher::sign(other.address(), hideout, tokens("20"), &world.deployment.escrow_domain(), &other);
    let batch = |voucher: SignedVoucher| Batch { payee: voucher.payee, rows: row::pack(&[voucher]) };
    let escrow = world.escrow_as(&other);
    let faster = escrow.settle(vec![batch(debt), batch(away)]);
    let gwei = 1_000_000_000;
    let sent =
        faster.max_priority_fee_per_gas(100 * gwei).max_fee_per_gas(500 * gwei).gas(500_000).send().await.unwrap();
    world.anvil.automine(true).await;
    world.anvil.mine(1).await;
    assert!(sent.get_receipt().await.unwrap().status());

    let claim = confirmed(&settler, 1).await;
    assert_eq!((claim.debts_paid, claim.paid), (Amount::ZERO, Amount::ZERO));
    assert_eq!((world.paid_to(other.address()).await, world.paid(&other).await), (tokens("20"), tokens("1")));
    assert_eq!((world.earned().await, world.open_balance(hideout).await), (tokens("5"), tokens("20")));
    until("the debt is seen to be paid", async || (settler.debts().await.total == 0).then_some(())).await;
    world.anvil.mine(5).await;
    assert_eq!(world.gas_transactions().await, 2);
    settler.end().await;
}

/// Stored and not sent, then mined, then undone: each total is paid once.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_it_is_sent_and_a_reorganisation_after_pay_once() {
    let world = World::new().await;
    let settler = world.settler().await;
    let other = world.short_operator(&settler).await;
    world.fund(world.payee(), Address::ZERO, tokens("24")).await;
    settler.record(world.voucher(&other, "31")).await;
    is_unfunded(&settler).await;
    world.anvil.automine(false).await;
    settler.tell_debts(&world, &[world.debt(other.address(), "20", &world.operator)]).await;
    under_way(&settler).await;
    settler.kill();
    world.anvil.forget_waiting().await;
    world.anvil.automine(true).await;
    world.anvil.mine(1).await;
    assert_eq!(world.paid_to(other.address()).await, Amount::ZERO);

    let settler = world.settler().await;
    confirmed(&settler, 1).await;
    let settled = async || {
        let lanes = (world.paid_to(other.address()).await, world.paid(&other).await, world.earned().await);
        lanes == (tokens("20"), tokens("21"), tokens("25"))
    };
    assert!(settled().await);

    let claim = last_claim(&settler).await;
    let depth = world.anvil.head().await + 1 - claim.block.unwrap();
    settler.kill();
    world.anvil.reorg(depth).await;
    world.anvil.forget_waiting().await;
    world.anvil.mine(depth + 1).await;
    assert_eq!(world.paid_to(other.address()).await, Amount::ZERO);

    let settler = world.settler().await;
    until("it is paid again", async || {
        let again = last_claim(&settler).await;
        let is_confirmed = again.state == TransactionState::Confirmed && again.block != claim.block;
        (is_confirmed && (again.id, again.debts_paid, again.paid) == (claim.id, tokens("20"), tokens("20")))
            .then_some(())
    })
    .await;
    assert!(settled().await);
    assert_eq!(world.gas_transactions().await, 2);
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn income_is_claimed_early_when_relays_are_not_covered() {
    let world = World::new().await;
    let mut config = world.config();
    config.value_over_gas = 1_000_000;
    let settler = world.settler_with(config).await;
    world.fund(world.payee(), Address::ZERO, tokens("3")).await;
    let (payer, relay) = (world.payer("10").await, Address::repeat_byte(7));
    settler.record(world.voucher(&payer, "8")).await;
    settler.tell_debts(&world, &[world.debt(relay, "3", &world.operator)]).await;
    until("it waits", async || {
        let lanes = settler.status().await.lanes;
        (lanes.len() == 1 && lanes[0].held == Some(Hold::NotWorthYet)).then_some(())
    })
    .await;

    settler.tell_debts(&world, &[world.debt(relay, "3.000001", &world.operator)]).await;
    until("it is claimed", async || (world.paid(&payer).await == tokens("8")).then_some(())).await;
    until("it is covered", async || settler.debts().await.operators[0].uncovered.is_zero().then_some(())).await;
    assert_eq!((world.earned().await, world.paid_to(relay).await), (tokens("11"), Amount::ZERO));
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debt_is_in_one_transaction_at_a_time_on_both_databases() {
    let units = |units: u128| Amount::from_base_units(units).unwrap();
    let (ours, key) = (Address::repeat_byte(0xaa), Address::repeat_byte(0x99));
    let signed = |payer, payee, total| SignedVoucher { payer, payee, cumulative: units(total), signature: [1; 65] };
    for database in databases() {
        let store = Store::open(&database.url).await.unwrap();
        let other = Address::repeat_byte(1);
        let debt = signed(ours, other, 20);
        let view = LaneView { open: units(9), ..LaneView::default() };
        store
            .record_debts(&[CheckedVoucher { voucher: debt, signer: ours, view, is_fresh: true }], 9, 1)
            .await
            .unwrap();
        store
            .record(&[CheckedVoucher { voucher: signed(other, ours, 30), signer: other, view, is_fresh: true }], 9, 1)
            .await
            .unwrap();
        assert_eq!(store.debts().await.unwrap()[0].counterclaim, units(30));
        let id = store.open_vouchers(9).await.unwrap()[0].id;
        let new = |nonce: u64, id, debt| NewTransaction {
            sender: key,
            nonce,
            payee: ours,
            gas_limit: 1,
            attempt: Attempt {
                hash: B256::left_padding_from(&nonce.to_be_bytes()),
                raw: vec![1],
                max_fee: 1,
                priority_fee: 1,
                signed_at_block: 1,
                cancels: false,
            },
            instrument: Instrument::Voucher,
            rows: vec![PlannedRow {
                id,
                voucher: signed(other, ours, 30),
                signer: other,
                reason: Reason::Worth,
                failures: 0,
                debt,
            }],
        };
        let first = store.plan(&new(0, id, Some(debt)), 2).await.unwrap().unwrap();
        assert!(store.owed().await.unwrap().debts[0].is_under_way);
        assert_eq!(store.owed().await.unwrap().coming, [(ours, units(30))]);
        assert_eq!(store.netted_of(first).await.unwrap(), [(ours, other, units(20))]);

        // A second one with the same debt is not stored, nor is anything of it.
        let third = Address::repeat_byte(3);
        store
            .record(&[CheckedVoucher { voucher: signed(third, ours, 5), signer: third, view, is_fresh: true }], 9, 1)
            .await
            .unwrap();
        let waiting = store.open_vouchers(9).await.unwrap()[0].clone();
        let mut second = new(1, waiting.id, Some(debt));
        second.rows[0].voucher = waiting.voucher;
        assert_eq!(store.plan(&second, 2).await.unwrap(), None);
        assert_eq!(store.live(key).await.unwrap().len(), 1);
        assert_eq!(store.open_vouchers(9).await.unwrap().len(), 1, "its voucher waits as before");

        store.netted_paid(first, &[(ours, other, units(9))]).await.unwrap();
        assert_eq!(store.netted_sum(first).await.unwrap(), (1, Amount::ZERO), "it is not confirmed");
        let block_hash = B256::repeat_byte(1);
        let receipt = Receipt { hash: block_hash, block: 5, block_hash, gas_used: 1, fee_wei: 1 };
        let payments = Payments::from([(other, (units(9), units(9)))]);
        store.confirmed(first, &receipt, &payments, 3).await.unwrap();
        assert_eq!(store.netted_sum(first).await.unwrap(), (1, units(9)));
        let owed = store.owed().await.unwrap();
        assert!(!owed.debts[0].is_under_way && owed.debts[0].seen_at == 0, "to be read anew");
        store.back_to_planned(first).await.unwrap();
        assert_eq!(store.netted_sum(first).await.unwrap(), (1, Amount::ZERO));
        assert!(store.owed().await.unwrap().debts[0].is_under_way);
        store.close().await;
    }
}
