//! All figures in one file, as text whose differences a person can review.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test -p minus-tests --test contracts gas::snapshot` writes it anew.

use std::fmt::{Display, Write};
use std::{env, fs};

use alloy::json_abi::{Function, StateMutability};
use minus_tests::compile;

use super::batches;
use super::bench::{Bench, Created};
use super::cost::Cost;
use super::row::{FEW, MANY, OneMoreRow};
use super::{money, paying, routing, signers};

/// The limit of a contract's code (EIP-170).
const CODE_BYTES_MAX: usize = 24_576;

const FILE: &str = "tests/snapshots/gas.txt";

const HEAD: &str = "\
# Gas as receipts say it: whole cold transactions (21,000, calldata, execution, less refunds) on Osaka's rules, in a
# transaction of at most 16,777,216. What each line does: tests/tests/contracts/gas. To write this file anew:
# UPDATE_SNAPSHOTS=1 cargo test -p minus-tests --test contracts gas::snapshot
";

/// A number with its thousands set off.
fn grouped(number: impl Display) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn with_tenth(tenths: u64) -> String {
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

/// All that the escrow does, in the order of its interface.
pub(super) fn of_escrow(bench: &mut Bench) -> Vec<Cost> {
    [money::of_deposits, paying::of_claims, paying::of_mandates, money::of_notices, signers::of_delegates]
        .iter()
        .flat_map(|of| of(bench))
        .collect()
}

/// Panics when a function that may change anything is not among `costs`.
fn functions_of(contract: &str, costs: &[Cost]) -> String {
    let reads =
        |function: &Function| matches!(function.state_mutability, StateMutability::View | StateMutability::Pure);
    for function in compile::contracts()[contract].abi.functions().filter(|function| !reads(function)) {
        let is_measured = |cost: &Cost| cost.function.split([' ', ',']).next() == Some(&function.name);
        assert!(costs.iter().any(is_measured), "{contract}.{} is not measured", function.name);
    }
    let mut text = format!("\n{:<52}{:>12}{:>12}\n", contract, "first", "later");
    for Cost { function, first, later } in costs {
        let later = later.map_or_else(|| "-".to_owned(), grouped);
        writeln!(text, "  {:<50}{:>12}{:>12}", function, grouped(*first), later).unwrap();
    }
    text
}

fn deployments(contracts: [(&str, Created); 3]) -> String {
    let mut text = format!("\n{:<52}{:>12}{:>12}{:>12}\n", "Deployment", "gas", "code bytes", "below limit");
    for (name, created) in contracts {
        let [code, left] = [created.code_bytes, CODE_BYTES_MAX - created.code_bytes].map(grouped);
        writeln!(text, "  {:<50}{:>12}{:>12}{:>12}", name, grouped(created.gas), code, left).unwrap();
    }
    text
}

fn one_more_row(row: &OneMoreRow) -> String {
    let title = format!("One more row of a claim, from {FEW} and {MANY}");
    let mut text = format!("\n{:<52}{:>12}{:>12}\n", title, "gas", "floor");
    let mut floors = 0;
    for (work, ours, floor) in row.account_in_tenths() {
        floors += floor;
        let floor = if floor == 0 { "-".to_owned() } else { with_tenth(floor) };
        writeln!(text, "  {:<50}{:>12}{:>12}", work.name(), with_tenth(ours), floor).unwrap();
    }
    writeln!(text, "  {:<50}{:>12}{:>12}", "together", with_tenth(row.tenths()), with_tenth(floors)).unwrap();
    for (count, gas) in [(FEW, row.few), (MANY, row.many)] {
        writeln!(text, "  {:<50}{:>12}", format!("a claim of {count} rows"), grouped(gas)).unwrap();
    }
    text
}

fn largest_batches(bench: &Bench) -> String {
    let mut text = format!("\n{:<52}{:>12}{:>12}{:>12}\n", "Largest batch of a transaction", "rows", "gas", "left");
    for largest in batches::measure(bench) {
        let (rows, gas, left) = (grouped(largest.rows), grouped(largest.gas), grouped(largest.margin()));
        writeln!(text, "  {:<50}{rows:>12}{gas:>12}{left:>12}", largest.batch).unwrap();
    }
    text
}

#[test]
fn gas_is_what_is_committed() {
    let bench = Bench::new();
    let now = [
        HEAD.to_owned(),
        functions_of("PrepaymentEscrow", &of_escrow(&mut bench.clone())),
        functions_of("RoutingTable", &routing::of_routing(&mut bench.clone())),
        functions_of("SettlementToken", &money::of_token(&mut bench.clone())),
        deployments([
            ("PrepaymentEscrow", bench.escrow),
            ("RoutingTable", bench.routing),
            ("SettlementToken", bench.token),
        ]),
        one_more_row(&OneMoreRow::measure(&mut bench.clone())),
        largest_batches(&bench),
    ]
    .concat();

    let file = compile::root().join(FILE);
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &now).unwrap();
    }
    let before = fs::read_to_string(&file).unwrap_or_default();
    let changed = before.lines().zip(now.lines()).find(|(before, now)| before != now);
    assert!(before == now, "gas changed, first here: {changed:?}; see {FILE} how to update it\n{now}");
}
