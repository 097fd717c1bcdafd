//! What an operator's tools read: `/metrics`, and the dashboard and the alerts that are made of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    customer::{customer, message, post_status, subscribe},
    world::{Operator, TOKEN, World},
};

/// One reading of `/metrics`, held to the text format.
pub(crate) struct Scrape {
    /// Kind of each family.
    kinds: BTreeMap<String, String>,
    values: BTreeMap<String, f64>,
}

impl Scrape {
    pub(crate) async fn of(operator: &Operator) -> Self {
        Self::parse(&operator.admin("/metrics").await.text().await.unwrap())
    }

    /// Refuses what Prometheus would, and what it would let pass: a family without explanation or kind, a series twice or
    /// outside its family, a name against the conventions.
    fn parse(text: &str) -> Self {
        let (mut explained, mut kinds, mut values) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        let mut family = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["#", "HELP", name, help @ ..] => {
                    assert!(!help.concat().is_empty() && explained.insert((*name).to_owned()), "{line}");
                }
                ["#", "TYPE", name, kind] => {
                    family = (*name).to_owned();
                    assert!(explained.contains(*name), "no HELP before {line}");
                    assert!(kinds.insert(family.clone(), (*kind).to_owned()).is_none(), "twice: {line}");
                }
                _ => {
                    let (series, value) = line.rsplit_once(' ').unwrap();
                    let name = series.split('{').next().unwrap();
                    let suffixes: &[&str] =
                        if kinds[&family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                    assert!(suffixes.iter().any(|suffix| name == format!("{family}{suffix}")), "{line} in {family}");
                    assert!(values.insert(series.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
                }
            }
        }
        for (name, kind) in &kinds {
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            let units = ["_seconds", "_writes", "_packets"];
            assert!(kind != "histogram" || units.iter().any(|unit| name.ends_with(unit)), "{name}");
            assert!(name.starts_with("minus_") || name.starts_with("process_"), "{name}");
        }
        Self { kinds, values }
    }

    /// The value of a series, labels and all.
    pub(crate) fn value(&self, series: &str) -> f64 {
        *self.values.get(series).unwrap_or_else(|| panic!("there is no {series}"))
    }

    /// Whether an expression may name it.
    fn knows(&self, name: &str) -> bool {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        self.kinds.get(name).is_some_and(|kind| kind != "histogram")
            || of_histogram.is_some_and(|name| self.kinds.get(name).is_some_and(|kind| kind == "histogram"))
    }
}

/// The metrics that an expression names.
fn named(expression: &str) -> BTreeSet<&str> {
    expression
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("minus_") || word.starts_with("process_"))
        .collect()
}

/// A relay, an agent and its customer, with something carried and something refused.
async fn busy() -> (World, Operator, Operator) {
    let world = World::new().await;
    let (agent, relay) = (world.operator(|_| ()).await, world.operator(|_| ()).await);
    let wallet = customer(&world, &agent, 900 * TOKEN).await;
    assert_eq!(post_status(&relay.url(), &message(&world, &wallet, b"x")).await, 202);
    let mut stream = subscribe(&world, &wallet, &agent, &relay.url(), 0).await;
    stream.message().await;
    stream.statement().await;
    assert_eq!(reqwest::Client::new().put(agent.url()).send().await.unwrap().status().as_u16(), 400);
    (world, agent, relay)
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_well_formed_true_and_documented() {
    let (_world, agent, relay) = busy().await;
    let (at_agent, at_relay) = (Scrape::of(&agent).await, Scrape::of(&relay).await);

    assert_eq!(at_agent.value("minus_packets_stored_total"), 1.0);
    assert_eq!(at_agent.value("minus_answers_total{status=\"202\"}"), 1.0);
    assert_eq!(at_agent.value("minus_refused_total{reason=\"method\"}"), 1.0);
    assert_eq!(at_agent.value("minus_deposit_seconds_count"), 1.0);
    assert_eq!(at_agent.value("minus_deposit_seconds_bucket{le=\"+Inf\"}"), 1.0);
    assert!(at_agent.value("minus_statement_seconds_count") >= 1.0);
    assert!(at_agent.value("minus_bytes_pushed_total") > 0.0);
    assert!(at_relay.value("minus_forwards_total{status=\"202\"}") >= 1.0);
    assert!(at_relay.value("minus_forward_seconds_sum") > 0.0);
    assert_eq!(at_relay.value("minus_request_packets_sum"), 1.0);
    assert_eq!(at_relay.value("minus_request_packets_count"), 1.0);
    for scrape in [&at_agent, &at_relay] {
        assert_eq!(scrape.value("minus_ready"), 1.0);
        assert_eq!(scrape.value(concat!("minus_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}")), 1.0);
        assert!(scrape.value("process_resident_memory_bytes") > 1e6);
        assert!(scrape.value("process_open_fds") < scrape.value("process_max_fds"));
    }
    let used = at_agent.values.iter().filter(|(series, _)| series.starts_with("minus_limit_used"));
    for (series, used) in used {
        let most = at_agent.value(&series.replace("_used", "_max"));
        assert!(*used <= most, "{series}: {used} of {most}");
    }

    let readme = include_str!("../../README.md");
    let documented: BTreeSet<&str> = readme.lines().filter(|line| line.starts_with("| `")).flat_map(named).collect();
    let published: BTreeSet<&str> = at_relay.kinds.keys().chain(at_agent.kinds.keys()).map(String::as_str).collect();
    assert_eq!(documented, published, "the table of README.md is what /metrics has");
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_are_made_of_what_there_is() {
    let (_world, agent, relay) = busy().await;
    let (at_agent, at_relay) = (Scrape::of(&agent).await, Scrape::of(&relay).await);
    let check = |expression: &str| {
        let names = named(expression);
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            assert!(at_agent.knows(name) || at_relay.knows(name), "{name} in {expression}");
        }
        let depth = expression.chars().try_fold(0_u32, |depth, letter| match letter {
            '(' => Some(depth + 1),
            ')' => depth.checked_sub(1),
            _ => Some(depth),
        });
        assert_eq!(depth, Some(0), "{expression}");
    };

    let dashboard: Value = serde_json::from_str(include_str!("../../grafana.json")).unwrap();
    assert!(dashboard["title"].is_string() && dashboard["uid"].is_string());
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36));
    let mut panels = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(panels.insert(panel["id"].as_u64().unwrap()), "two panels {}", panel["id"]);
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()));
        let place = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(place[0] + place[2] <= 24, "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        for target in panel["targets"].as_array().unwrap() {
            check(target["expr"].as_str().unwrap());
        }
    }
    assert!(panels.len() >= 12);

    let alerts = include_str!("../../alerts.yaml");
    let field = |rule: &str, name: &str| {
        let line = rule.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {rule}")).to_owned()
    };
    let rules: Vec<&str> = alerts.split("- alert: ").skip(1).collect();
    assert!(rules.len() >= 8);
    for rule in rules {
        check(&field(rule, "expr"));
        assert!(field(rule, "for").ends_with(['s', 'm', 'h']));
        assert!(["page", "ticket"].contains(&field(rule, "severity").as_str()), "{rule}");
        assert!(!field(rule, "summary").is_empty());
    }
}
