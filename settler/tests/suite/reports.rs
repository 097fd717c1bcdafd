//! The operator's port as the page, a program and a stranger's page meet it.

use minus_settler::reports::{ClaimPage, Earnings, LanePage, Overview};
use minus_settler::store::Hold;
use serde_json::Value;

use super::world::{World, tokens, until};

#[tokio::test(flavor = "multi_thread")]
async fn refuses_pages_of_others_and_names_that_are_not_its_own() {
    let world = World::new().await;
    let settler = world.settler().await;
    let url = |path: &str| format!("http://{}/{path}", settler.handle.admin_addr);
    let post = |path: &str| world.http.post(url(path));

    for path in ["", "status", "metrics", "api/v1/overview", "export/lanes.csv"] {
        let rebound = world.http.get(url(path)).header("host", "evil.example:7301").send().await.unwrap();
        assert_eq!(rebound.status(), 421, "{path}");
        assert!(!rebound.text().await.unwrap().contains(&format!("{:?}", world.payee())));
    }
    let forged = post("claim-now").header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(forged.status(), 403);
    let forged = post("claim-now").header("sec-fetch-site", "cross-site").send().await.unwrap();
    assert_eq!(forged.status(), 403);
    assert_eq!(settler.get("claim-now/1").await.status(), 404, "nothing was asked for");
    let own = format!("http://{}", settler.handle.admin_addr);
    assert_eq!(post("claim-now").header("origin", own).send().await.unwrap().status(), 202);

    let page = settler.get("").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let html = page.text().await.unwrap();
    assert!(html.contains("<title>Settler</title>") && !html.contains(" style=") && !html.contains(" onclick="));
    for file in html.split(['"']).filter(|word| word.starts_with("/page/")) {
        assert_eq!(settler.get(&file[1..]).await.status(), 200, "{file}");
    }
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_lanes_by_page_and_claims_with_what_they_moved() {
    let world = World::new().await;
    let mut config = world.config();
    config.value_over_gas = 1_000_000;
    let settler = world.settler_with(config).await;
    let payers = [world.payer("10").await, world.payer("10").await, world.payer("10").await];
    for (payer, amount) in payers.iter().zip(["1.5", "2", "0.75"]) {
        settler.record(world.voucher(payer, amount)).await;
    }
    settler.claim_now().await;
    // The first spends all it has and owes more; the second gives notice.
    for (payer, amount) in payers.iter().zip(["10", "5", "1"]) {
        settler.record(world.voucher(payer, amount)).await;
    }
    settler.claim_now().await;
    for (payer, amount) in payers.iter().zip(["12.25", "6", "1.25"]) {
        settler.record(world.voucher(payer, amount)).await;
    }
    let escrow = minus_bindings::PrepaymentEscrow::new(world.deployment.escrow, world.as_signer(&payers[1]));
    escrow.thaw(world.payee(), tokens("1").to_u96()).send().await.unwrap().get_receipt().await.unwrap();

    let page =
        async |query: &str| -> LanePage { settler.get(&format!("api/v1/lanes?{query}")).await.json().await.unwrap() };
    until("the lanes are seen", async || {
        let lanes = page("sort=time_left").await.lanes;
        (lanes[0].closes_at.is_some() && lanes.iter().all(|lane| lane.held.is_some())).then_some(())
    })
    .await;
    let by_exposure = page("sort=exposure&limit=2").await;
    let exposures: Vec<String> = by_exposure.lanes.iter().map(|lane| lane.exposure.to_string()).collect();
    assert_eq!((by_exposure.total, exposures), (3, vec!["2.25".to_owned(), "1".to_owned()]));
    assert_eq!((by_exposure.lanes[0].held, by_exposure.lanes[0].claimable), (Some(Hold::Unfunded), tokens("0")));
    assert_eq!(page("sort=exposure&limit=2&offset=2").await.lanes[0].payer, payers[2].address());
    assert_eq!(page("sort=time_left&limit=1").await.lanes[0].payer, payers[1].address());
    let one = page(&format!("payer={}", payers[2].address())).await;
    assert_eq!((one.total, one.lanes[0].paid), (1, tokens("1")));
    assert_eq!(page("held=unfunded").await.total, 1);
    assert_eq!(settler.get("api/v1/lanes?payer=%25").await.status(), 400);

    let claims: ClaimPage = settler.get("api/v1/claims").await.json().await.unwrap();
    let moved: Vec<_> = claims.claims.iter().map(|claim| (claim.vouchers, claim.paid)).collect();
    assert_eq!((claims.total, moved), (2, vec![(3, tokens("11.75")), (3, tokens("4.25"))]));
    assert!(claims.claims.iter().all(|claim| claim.hash.is_some() && claim.fee_wei.is_some() && claim.attempts == 1));
    let none: ClaimPage = settler.get("api/v1/claims?state=lost").await.json().await.unwrap();
    assert_eq!((none.total, none.claims.len()), (0, 0));

    let earnings: Earnings = settler.get("api/v1/earnings?range=day").await.json().await.unwrap();
    let last = earnings.steps.iter().rev().find(|step| step.claims > 0).unwrap();
    assert_eq!(minus_bindings::Amount::checked_sum(earnings.steps.iter().map(|step| step.paid)), Some(tokens("16")));
    assert!(last.fee_wei > 0 && last.gas_used > 50_000);
    assert_eq!(world.earned().await, tokens("16"));

    let overview: Overview = until("the overview is fresh", async || {
        let overview: Overview = settler.get("api/v1/overview").await.json().await.unwrap();
        (overview.exposure == tokens("3.5")).then_some(overview)
    })
    .await;
    assert_eq!(overview.open_lanes, 3);
    let kinds: Vec<_> = overview.alarms.iter().map(|alarm| alarm.kind.as_str()).collect();
    assert_eq!(kinds, ["unfunded_vouchers"]);
    settler.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_whole_and_the_same_in_both_forms() {
    let world = World::new().await;
    let settler = world.settler().await;
    let empty: Vec<Value> = settler.get("export/claims.json").await.json().await.unwrap();
    assert!(empty.is_empty());
    let payer = world.payer("10").await;
    settler.record(world.voucher(&payer, "1.5")).await;
    settler.claim_now().await;
    settler.record(world.voucher(&payer, "1.500001")).await;
    until("the last look at it is over", async || {
        let lanes: Vec<Value> = settler.get("export/lanes.json").await.json().await.unwrap();
        lanes[0]["held"].is_string().then_some(())
    })
    .await;

    for (what, lines) in [("lanes", 1), ("claims", 1), ("earnings", 1)] {
        let csv = settler.get(&format!("export/{what}.csv")).await;
        assert!(csv.headers()["content-disposition"].to_str().unwrap().contains(&format!("settler-{what}.csv")));
        let csv = csv.text().await.unwrap();
        let json: Vec<Value> = settler.get(&format!("export/{what}.json")).await.json().await.unwrap();
        assert_eq!((csv.lines().count(), json.len()), (lines + 1, lines), "{what}: {csv}");
        let mut rows = csv.lines().map(|line| line.split(','));
        let names: Vec<&str> = rows.next().unwrap().collect();
        for (name, field) in names.iter().zip(rows.next().unwrap()) {
            let told = match &json[0][name] {
                Value::String(text) => text.to_lowercase(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            assert_eq!(told, field.to_lowercase(), "{what}.{name}");
        }
    }
    settler.end().await;
}
