//! What comes with the program: the metrics, the alerts and the dashboard made of them, the unit and the image.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::anvil::root;
use super::world::{World, until};

/// Kind of each family of one reading of `/metrics`, held to the text format.
fn families(text: &str) -> BTreeMap<String, String> {
    let (mut explained, mut kinds, mut series) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help @ ..] => {
                assert!(!help.is_empty() && explained.insert((*name).to_owned()), "{line}")
            }
            ["#", "TYPE", name, kind] => {
                assert!(explained.contains(*name), "no HELP before {line}");
                assert!(kinds.insert((*name).to_owned(), (*kind).to_owned()).is_none(), "twice: {line}");
            }
            _ => {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(kinds.contains_key(name.split('{').next().unwrap()), "{line} has no TYPE");
                assert!(value.parse::<f64>().is_ok() && series.insert(name.to_owned()), "{line}");
            }
        }
    }
    for (name, kind) in &kinds {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(name.starts_with("settler_") || name.starts_with("process_"), "{name}");
    }
    kinds
}

/// The metrics that an expression names.
fn named(expression: &str) -> BTreeSet<&str> {
    expression
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("settler_") || word.starts_with("process_"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_alerts_and_readme_are_made_of_the_metrics_there_are() {
    let world = World::new().await;
    let settler = world.settler().await;
    let payer = world.payer("10").await;
    settler.record(world.voucher(&payer, "1")).await;
    settler.claim_now().await;
    let text = until("a look at the chain is told of", async || {
        let text = settler.get("metrics").await.text().await.unwrap();
        (!text.contains("settler_looked_at_timestamp_seconds 0\n")).then_some(text)
    })
    .await;
    settler.end().await;
    let kinds = families(&text);
    let mut used = BTreeSet::new();
    let mut check = |expression: &str| {
        let names = named(expression);
        assert!(!names.is_empty() || expression.starts_with("up{"), "{expression}");
        for name in names {
            assert!(kinds.contains_key(name), "{name} in {expression}");
            used.insert(name.to_owned());
        }
        let depth = expression.chars().try_fold(0_u32, |depth, letter| match letter {
            '(' => Some(depth + 1),
            ')' => depth.checked_sub(1),
            _ => Some(depth),
        });
        assert_eq!(depth, Some(0), "{expression}");
    };

    let dashboard: Value = serde_json::from_str(include_str!("../../packaging/grafana.json")).unwrap();
    assert!(dashboard["title"].is_string() && dashboard["schemaVersion"].as_u64() >= Some(36));
    let (mut panels, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(panels.insert(panel["id"].as_u64().unwrap()), "two panels {}", panel["id"]);
        let place = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(place[0] + place[2] <= 24 && places.insert((place[0], place[1])), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            check(target["expr"].as_str().unwrap());
        }
    }
    let alerts = include_str!("../../packaging/alerts.yaml");
    let field = |rule: &str, name: &str| {
        let line = rule.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {rule}")).to_owned()
    };
    let rules: Vec<&str> = alerts.split("- alert: ").skip(1).collect();
    assert!(rules.len() >= 10);
    for rule in rules {
        check(&field(rule, "expr"));
        assert!(field(rule, "for").ends_with(['s', 'm', 'h']));
        assert!(["page", "ticket"].contains(&field(rule, "severity").as_str()), "{rule}");
        assert!(!field(rule, "summary").is_empty());
        if let Some(kind) = rule.split("kind=\"").nth(1).and_then(|rest| rest.split('"').next()) {
            assert!(text.contains(&format!("settler_alarm{{kind=\"{kind}\"}} ")), "{kind}");
        }
    }
    let unused: Vec<_> = kinds.keys().filter(|name| !used.contains(*name) && *name != "settler_build_info").collect();
    assert!(unused.is_empty(), "neither shown nor alerted on: {unused:?}");
}

#[test]
fn the_unit_starts_this_program_and_the_image_holds_it() {
    let unit = include_str!("../../packaging/settler.service");
    assert!(
        unit.contains("\nExecStart=/usr/local/bin/settler run --config ") && unit.contains("\nNoNewPrivileges=yes")
    );
    let image = include_str!("../../packaging/Dockerfile");
    let last = image.rsplit("\nFROM ").next().unwrap();
    assert!(last.contains("\nUSER 10001") && last.contains("\nENTRYPOINT [\"settler\"]"), "nobody's superuser");
    for folder in image.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|rest| !rest.starts_with("--")) {
        for path in folder.split(' ').rev().skip(1) {
            assert!(root().join(path).exists(), "{path}");
        }
    }

    let Ok(analyze) = Command::new("systemd-analyze").arg("--version").output() else {
        assert!(
            std::env::var_os("MINUS_FORBID_SKIPS").is_none_or(|value| value.is_empty()),
            "systemd-analyze is missing"
        );
        println!("skipped: systemd-analyze is missing");
        return;
    };
    assert!(analyze.status.success());
    let file = root().join("settler/packaging/settler.service");
    let verified = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&file).output().unwrap();
    let complaints = String::from_utf8_lossy(&verified.stderr).into_owned();
    // On this machine the program is not installed; that must be all it complains of.
    let mut strange =
        complaints.lines().filter(|line| line.contains("settler.service") && !line.contains("not executable"));
    assert_eq!(strange.next(), None, "{complaints}");
}
