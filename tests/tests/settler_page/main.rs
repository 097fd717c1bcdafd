//! The operator's page in headless Chromium, against a real settler on a real chain: its figures are the chain's, it
//! reaches nothing but the settler, and it fits a phone. With `MINUS_SCREENSHOTS` set, the pictures of
//! `settler/page/screenshots` are made anew.

mod world;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result, ensure};
use minus_bindings::Amount;
use minus_settler::reports::{ClaimRecord, Earnings, LaneRecord, Overview};
use minus_tests::compile::root;
use minus_tests::packages::{Package, debian};
use minus_tests::world::javascript::JavaScript;
use serde::Deserialize;
use serde_json::{Value, json};

use world::World;

/// The page asks every three seconds; the machine may be busy.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);
/// A picture in a README.
const PICTURE_BYTES_MAX: u64 = 60 * 1024;

/// What the page shows.
#[derive(Debug, Deserialize)]
struct Seen {
    ready: bool,
    live: Live,
    tiles: HashMap<String, String>,
    alarms: Vec<String>,
    earned: Option<String>,
    bars: usize,
    steps: usize,
    marks: Vec<String>,
    tip: Option<String>,
    #[serde(rename = "earningsRows")]
    earnings_rows: usize,
    lanes: Vec<HashMap<String, String>>,
    payers: Vec<String>,
    #[serde(rename = "lanesPager")]
    lanes_pager: Option<String>,
    #[serde(rename = "lanesState")]
    lanes_state: Option<String>,
    claims: Vec<HashMap<String, String>>,
    #[serde(rename = "claimLinks")]
    claim_links: Vec<String>,
    #[serde(rename = "claimsPager")]
    claims_pager: Option<String>,
    toast: Option<String>,
    ground: String,
    focus: Option<String>,
    wider: i64,
    small: usize,
}

#[derive(Debug, Deserialize)]
struct Live {
    state: Option<String>,
    text: String,
}

struct Browser(JavaScript);

impl Browser {
    async fn call(&mut self, verb: &str, parameters: Value) -> Result<Value> {
        self.0.call(verb, parameters).await
    }

    async fn see(&mut self) -> Result<Seen> {
        Ok(serde_json::from_value(self.call("see", json!({})).await?)?)
    }

    async fn press(&mut self, selector: &str) -> Result<()> {
        self.call("press", json!({ "selector": selector })).await.map(drop)
    }

    /// Looks until it is so.
    async fn until(&mut self, what: &str, mut is_so: impl FnMut(&Seen) -> bool) -> Result<Seen> {
        let deadline = tokio::time::Instant::now() + SHOWN_WITHIN;
        loop {
            let seen = self.see().await?;
            if is_so(&seen) {
                return Ok(seen);
            }
            ensure!(tokio::time::Instant::now() < deadline, "waited in vain until {what}: {seen:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn shot(&mut self, name: &str) -> Result<()> {
        if std::env::var_os("MINUS_SCREENSHOTS").is_none_or(|value| value.is_empty()) {
            return Ok(());
        }
        let file = root().join("settler/page/screenshots").join(name);
        self.call("shot", json!({ "file": file })).await?;
        let bytes = std::fs::metadata(&file)?.len();
        ensure!(bytes <= PICTURE_BYTES_MAX, "{name} has {bytes} bytes");
        Ok(())
    }
}

/// As the page writes them, but for its narrow spaces.
fn shown(amount: Amount) -> String {
    let text = amount.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    format!("{grouped}.{fraction:0<2}")
}

fn units(text: &str) -> Result<u128> {
    Ok(text.replace(' ', "").parse::<Amount>()?.base_units())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_what_the_chain_has_paid_and_reaches_nothing_but_the_settler() -> Result<()> {
    let Package::Installed(chromium) = debian("chromium", "/usr/bin/chromium") else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let mut world = World::with_a_past(folder.path(), PrivateKeySigner::random()).await?;
    let mut browser = Browser(JavaScript::start("settler-page.js", &folder.path().join("browser.log"))?);
    let parameters = json!({
        "program": chromium,
        "profile": folder.path().join("profile"),
        "downloads": folder.path().join("downloads"),
        "url": world.admin()?,
    });
    browser.call("open", parameters).await?;
    let seen = browser.until("the page is there", |seen| seen.ready && seen.lanes.len() == 15).await?;
    totals(&world, &seen).await?;
    plot(&world, &mut browser).await?;
    lanes(&world, &mut browser).await?;
    claims(&world, &mut browser).await?;
    exports(&world, &mut browser).await?;
    looks(&mut browser).await?;
    claim_now(&world, &mut browser).await?;

    let asked: Vec<String> = serde_json::from_value(browser.call("asked", json!({})).await?)?;
    let admin = world.admin()?;
    let strange: Vec<_> = asked.iter().filter(|url| !url.starts_with(&admin)).collect();
    ensure!(asked.len() > 20 && strange.is_empty(), "{strange:?}");
    let mut complaints: Vec<String> = serde_json::from_value(browser.call("complaints", json!({})).await?)?;
    // The browser, too, tells of the payer that was refused.
    complaints.retain(|complaint| !complaint.contains("400 (Bad Request)"));
    ensure!(complaints.is_empty(), "{complaints:?}");

    world.stop().await?;
    let seen = browser.until("the settler is missed", |seen| seen.live.state.as_deref() == Some("bad")).await?;
    ensure!(seen.live.text.contains("does not answer") && seen.live.text.contains("ago"), "{:?}", seen.live);
    ensure!(!seen.claims.is_empty() && seen.bars > 0, "what was known is still shown");
    browser.call("close", json!({})).await?;
    Ok(())
}

async fn totals(world: &World, seen: &Seen) -> Result<()> {
    let overview: Overview = world.get("/api/v1/overview").await?.json().await?;
    let paid = Amount::checked_sum(overview.summary.vouchers.values().map(|count| count.paid)).context("a sum")?;
    ensure!(paid == world.earned().await?, "the settler says {paid}, the chain {}", world.earned().await?);
    ensure!(seen.tiles["Claimed in all"] == shown(paid), "{:?}", seen.tiles);
    let (owed, lanes) = world.owed().await?;
    ensure!(overview.exposure.base_units() == owed, "{} {owed}", overview.exposure);
    ensure!(usize::try_from(overview.open_lanes)? == lanes);
    ensure!(seen.tiles["Outstanding"] == shown(overview.exposure), "{:?}", seen.tiles);
    ensure!(seen.alarms == ["unfunded_vouchers"] && seen.tiles["At risk"] == "1", "{seen:#?}");
    ensure!(
        seen.live.state.as_deref() == Some("good") && seen.live.text.starts_with("Chain 31337, block "),
        "{:?}",
        seen.live
    );
    Ok(())
}

async fn plot(world: &World, browser: &mut Browser) -> Result<()> {
    for (range, steps) in [("day", 24), ("week", 28), ("all", 0), ("month", 30)] {
        let earnings: Earnings = world.get(&format!("/api/v1/earnings?range={range}")).await?.json().await?;
        ensure!(steps == 0 || earnings.steps.len() == steps);
        let paid = Amount::checked_sum(earnings.steps.iter().map(|step| step.paid)).context("a sum")?;
        ensure!(range != "all" || paid == world.earned().await?, "all time is all that was earned");
        browser.press(&format!("[data-range={range}]")).await?;
        let bars = earnings.steps.iter().filter(|step| !step.paid.is_zero()).count();
        let is_drawn = |seen: &Seen| seen.steps == earnings.steps.len() && seen.bars == bars;
        let seen = browser.until(range, |seen| is_drawn(seen) && seen.earned == Some(shown(paid))).await?;
        ensure!(seen.marks.iter().filter(|mark| mark.starts_with(|letter: char| letter.is_ascii_digit())).count() >= 3);
    }

    let earnings: Earnings = world.get("/api/v1/earnings?range=month").await?.json().await?;
    let (index, best) = earnings.steps.iter().enumerate().max_by_key(|(_, step)| step.paid).context("a step")?;
    browser.call("hover", json!({ "selector": format!(".step[data-index='{index}'] .reach") })).await?;
    let seen = browser.until("a tip", |seen| seen.tip.is_some()).await?;
    ensure!(
        seen.tip.as_deref().is_some_and(|tip| tip.contains(&format!("{} tokens", shown(best.paid)))),
        "{:?}",
        seen.tip
    );
    browser.shot("desktop-light.png").await?;

    browser.call("focus", json!({ "selector": ".step[tabindex='0']" })).await?;
    for key in ["ArrowLeft", "ArrowLeft", "ArrowRight"] {
        browser.call("key", json!({ "key": key })).await?;
    }
    let seen = browser.until("the bar before the last", |seen| seen.tip.is_some()).await?;
    let expected = shown(earnings.steps[28].paid);
    ensure!(seen.tip.as_deref().is_some_and(|tip| tip.starts_with(&expected)), "{:?} {expected}", seen.tip);

    browser.press("#as-table").await?;
    let lines = earnings.steps.iter().filter(|step| step.claims > 0).count();
    browser.until("the table", |seen| seen.earnings_rows == lines).await?;
    browser.press("#as-table").await
}

async fn lanes(world: &World, browser: &mut Browser) -> Result<()> {
    let all: Vec<LaneRecord> = world.get("/export/lanes.json").await?.json().await?;
    let mut most: Vec<u128> = all.iter().map(|lane| lane.exposure.base_units()).collect();
    most.sort_unstable_by(|a, b| b.cmp(a));
    let exposures = |seen: &Seen| -> Result<Vec<u128>> {
        seen.lanes.iter().map(|lane| units(lane.get("Exposure").context("a column")?)).collect()
    };
    let seen = browser.until("the first page", |seen| seen.lanes_pager.as_deref() == Some("1–15 of 37")).await?;
    ensure!(exposures(&seen)? == most[..15], "{:?}", seen.lanes);
    browser.press("[aria-label='Next page'] >> nth=0").await?;
    let seen = browser.until("the second page", |seen| seen.lanes_pager.as_deref() == Some("16–30 of 37")).await?;
    ensure!(exposures(&seen)? == most[15..30]);

    browser.press("[data-sort=time_left]").await?;
    let is_sorted = |seen: &Seen| {
        seen.lanes.len() == 15 && seen.lanes[3]["Time left"] == "open end" && seen.lanes[0]["Time left"] != "open end"
    };
    let seen = browser.until("the closing lanes", is_sorted).await?;
    let left: Vec<&str> = seen.lanes.iter().take(4).map(|lane| lane["Time left"].as_str()).collect();
    ensure!(
        (left[0] == "19 h" || left[0] == "20 h") && left[1].starts_with("3 d") && left[2].starts_with("6 d"),
        "{left:?}"
    );

    let payer = seen.payers[1].clone();
    browser.call("type", json!({ "selector": "#lane-payer", "text": &payer[..10] })).await?;
    let seen = browser.until("one lane", |seen| seen.lanes_pager.as_deref() == Some("1–1 of 1")).await?;
    ensure!(seen.payers == [payer]);
    browser.call("type", json!({ "selector": "#lane-payer", "text": "0x' or 1=1" })).await?;
    browser
        .until("a refusal", |seen| seen.lanes_state.as_deref().is_some_and(|state| state.contains("0x12ab")))
        .await?;
    browser.call("type", json!({ "selector": "#lane-payer", "text": "" })).await?;
    browser.call("select", json!({ "selector": "#lane-held", "value": "unfunded" })).await?;
    let seen = browser.until("the empty lane", |seen| seen.lanes.len() == 1).await?;
    ensure!(seen.lanes[0]["Backed"] == "0.000000", "{:?}", seen.lanes);
    browser.call("select", json!({ "selector": "#lane-held", "value": "" })).await?;
    browser.press("[data-sort=exposure]").await?;
    browser.until("all lanes", |seen| seen.lanes.len() == 15).await.map(drop)
}

async fn claims(world: &World, browser: &mut Browser) -> Result<()> {
    let all: Vec<ClaimRecord> = world.get("/export/claims.json").await?.json().await?;
    let seen = browser.until("the claims", |seen| seen.claims.len() == 15).await?;
    ensure!(seen.claims_pager == Some(format!("1–15 of {}", all.len())), "{:?}", seen.claims_pager);
    for (shown_claim, claim) in seen.claims.iter().zip(all.iter().rev()) {
        ensure!(
            shown_claim["State"] == "confirmed" && units(&shown_claim["Tokens"])? == claim.paid.base_units(),
            "{shown_claim:?}"
        );
        ensure!(shown_claim["Gas"].replace(' ', "") == claim.gas_used.context("mined")?.to_string());
    }
    let hash = all.last().and_then(|claim| claim.hash).context("a hash")?;
    ensure!(seen.claim_links[0] == format!("https://explorer.example/tx/{hash}"), "{:?}", seen.claim_links);
    browser.call("select", json!({ "selector": "#claim-state", "value": "reverted" })).await?;
    browser.until("none", |seen| seen.claims.is_empty() && seen.claims_pager.as_deref() == Some("none")).await?;
    browser.call("select", json!({ "selector": "#claim-state", "value": "" })).await?;
    browser.until("all again", |seen| seen.claims.len() == 15).await.map(drop)
}

async fn exports(world: &World, browser: &mut Browser) -> Result<()> {
    for what in ["lanes", "claims", "earnings"] {
        let file = browser.call("download", json!({ "selector": format!("a[href='/export/{what}.csv']") })).await?;
        ensure!(file["name"] == format!("settler-{what}.csv"), "{}", file["name"]);
        let text = file["text"].as_str().context("a text")?;
        let columns = text.lines().next().context("a header")?.split(',').count();
        ensure!(text.lines().all(|line| line.split(',').count() == columns), "{text}");
        let json: Vec<Value> = world.get(&format!("/export/{what}.json")).await?.json().await?;
        ensure!(text.lines().count() == json.len() + 1 && !json.is_empty(), "{what}");
        ensure!(json[0].as_object().map(serde_json::Map::len) == Some(columns));
    }
    let missing = world.get("/export/keys.csv").await?;
    ensure!(missing.status() == 404);
    Ok(())
}

/// Dark, and on a phone.
async fn looks(browser: &mut Browser) -> Result<()> {
    let light = browser.see().await?.ground;
    browser.call("scheme", json!({ "scheme": "dark" })).await?;
    let dark = browser.until("the dark", |seen| seen.ground != light).await?.ground;
    browser.shot("desktop-dark.png").await?;
    browser.call("size", json!({ "width": 360, "height": 740 })).await?;
    browser.shot("phone.png").await?;
    for width in [360, 720, 859, 860, 1280] {
        browser.call("size", json!({ "width": width, "height": 740 })).await?;
        let seen = browser.until("it is drawn", |seen| seen.steps == 30).await?;
        ensure!((seen.wider, seen.small) == (0, 0), "at {width}: {} {}", seen.wider, seen.small);
    }
    browser.press("#theme").await?;
    browser.until("light by hand", |seen| seen.ground == light).await?;
    browser.call("reload", json!({})).await?;
    browser.until("it stays light", |seen| seen.ready && seen.ground == light && seen.ground != dark).await?;
    browser.call("key", json!({ "key": "Tab" })).await?;
    browser.until("the keyboard gets in", |seen| seen.focus.as_deref() == Some("skip")).await.map(drop)
}

async fn claim_now(world: &World, browser: &mut Browser) -> Result<()> {
    browser.press("#claim").await?;
    browser.press("#ask [value=no]").await?;
    let (owed, _) = world.owed().await?;
    ensure!(owed > 0, "cancelled is not asked");
    browser.press("#claim").await?;
    browser.press("#ask [value=yes]").await?;
    let is_done = |seen: &Seen| seen.toast.as_deref().is_some_and(|toast| toast.contains("36 vouchers claimed"));
    let seen = browser.until("everything is claimed", is_done).await?;
    ensure!(seen.toast.as_deref().is_some_and(|toast| toast.contains("1 cannot be claimed")), "{:?}", seen.toast);
    let earned = shown(world.earned().await?);
    let seen = browser.until("the total", |seen| seen.tiles["Claimed in all"] == earned).await?;
    ensure!(seen.lanes.len() == 1, "only the empty lane owes anything");
    Ok(())
}

/// The files are there, and small.
#[test]
fn the_pictures_of_the_readme_are_there() -> Result<()> {
    let readme = std::fs::read_to_string(root().join("settler/README.md"))?;
    for name in ["desktop-light.png", "desktop-dark.png", "phone.png"] {
        let path = Path::new("page/screenshots").join(name);
        ensure!(readme.contains(&format!("{}", path.display())), "{name} is not shown");
        let bytes = std::fs::metadata(root().join("settler").join(path))?.len();
        ensure!(bytes > 0 && bytes <= PICTURE_BYTES_MAX, "{name} has {bytes} bytes");
    }
    Ok(())
}
