//! The view of the chain at scale: `cargo bench -p minus-node --bench view` prints one JSON object. For 10,000, 100,000
//! and 1,000,000 routes, each with a tenth as many lanes: how long opening the store and loading takes, what memory an
//! entry costs (growth of the resident set), and what a look-up of a random known entry takes.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints and stops at the first surprise")]

use std::{hint::black_box, path::Path, process::Command, time::Instant};

use alloy::primitives::{Address, keccak256};
use minus_node::measure::OpenView;
use serde_json::{Value, json};

const SIZES: [u32; 3] = [10_000, 100_000, 1_000_000];
/// Agents that the routes name.
const AGENTS: u32 = 1_000;
const LANES_PER_ROUTE: u32 = 10;
const LOOK_UPS: u32 = 2_000_000;
const PAYEE: Address = Address::repeat_byte(0xaa);

/// An address that is as random as a key's.
fn address(kind: u8, number: u32) -> Address {
    Address::from_word(keccak256([&[kind][..], &number.to_be_bytes()].concat()))
}

/// An address that has no route.
fn absent(mut wallet: Address) -> Address {
    wallet.0[0] ^= 1;
    wallet
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// Nanoseconds of one look-up, to a tenth.
fn timed<T>(count: u32, look_up: impl Fn(u32) -> T) -> f64 {
    // A fixed stride that visits the entries in no order of memory.
    let mut place = 0_u32;
    let started = Instant::now();
    for _ in 0..LOOK_UPS {
        place = (place + 611_953) % count;
        black_box(look_up(place));
    }
    let tenths = started.elapsed().as_nanos() * 10 / u128::from(LOOK_UPS);
    f64::from(u32::try_from(tenths).unwrap()) / 10.0
}

fn wallets(routes: u32) -> Vec<Address> {
    (0..routes).map(|number| address(1, number)).collect()
}

async fn fill(folder: &Path, routes: u32) {
    let wallets = wallets(routes);
    let payers = wallets[..usize::try_from(routes / LANES_PER_ROUTE).unwrap()].iter();
    let lanes = payers.map(|payer| (*payer, PAYEE)).collect();
    let routes = wallets.iter().zip(0..).map(|(wallet, number)| (*wallet, address(2, number % AGENTS))).collect();
    OpenView::fill(folder, routes, lanes).await.unwrap();
}

async fn measure(folder: &Path, routes: u32) -> Value {
    let (wallets, lanes) = (wallets(routes), routes / LANES_PER_ROUTE);
    let before = resident_bytes();
    let opening = Instant::now();
    let view = OpenView::open(folder).await.unwrap();
    let opened = opening.elapsed();
    let grown = resident_bytes().saturating_sub(before);
    let at = |place: u32| wallets[usize::try_from(place).unwrap()];
    assert_eq!(view.agent_of(at(routes - 1)), Some(address(2, (routes - 1) % AGENTS)));
    assert!(view.lane_limit(at(0), PAYEE).is_some() && view.agent_of(absent(at(0))).is_none());
    json!({
        "routes": routes,
        "lanes": lanes,
        "open_and_load_ms": u64::try_from(opened.as_millis()).unwrap(),
        "resident_bytes_per_entry": grown / u64::from(routes + lanes),
        "agent_of_ns": timed(routes, |place| view.agent_of(at(place))),
        "absent_agent_of_ns": timed(routes, |place| view.agent_of(absent(at(place)))),
        "lane_ns": timed(lanes, |place| view.lane_limit(at(place), PAYEE)),
    })
}

/// Each step in a process of its own, so that none finds memory that another has freed.
fn step(verb: &str, folder: &Path, routes: u32) -> Value {
    let step = Command::new(std::env::current_exe().unwrap()).arg(verb).arg(folder).arg(routes.to_string()).output();
    let step = step.unwrap();
    assert!(step.status.success(), "{}", String::from_utf8_lossy(&step.stderr));
    serde_json::from_slice(&step.stdout).unwrap()
}

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fill", folder, routes] => {
            fill(Path::new(folder), routes.parse().unwrap()).await;
            println!("null");
        }
        ["measure", folder, routes] => println!("{}", measure(Path::new(folder), routes.parse().unwrap()).await),
        _ => {
            let sizes = SIZES.map(|routes| {
                let folder = tempfile::tempdir().unwrap();
                step("fill", folder.path(), routes);
                step("measure", folder.path(), routes)
            });
            println!("{}", json!({ "view": sizes }));
        }
    }
}
