//! Checks receipts as other projects do, for some time, on one thread, and says how many: `minus-peers core|aggregator
//! SECONDS`. The bench pins it to the processor on which it measures the settler.

use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use tap_core::{TapVersion, tap_eip712_domain};
use tap_graph::v2::{Receipt, SignedReceipt};

/// Receipts of one batch: as many as one hand-in to the settler may have.
const BATCH: usize = 1_024;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(what), Some(Ok(seconds))) = (arguments.next(), arguments.next().map(|text| text.parse())) else {
        exit("usage: minus-peers core|aggregator SECONDS");
    };
    let until = Duration::from_secs(seconds);
    let (checked, took) = match what.as_str() {
        "core" => core(until),
        #[cfg(feature = "aggregator")]
        "aggregator" => aggregator(until),
        _ => exit("not built with that"),
    };
    println!("{{\"checked\":{checked},\"seconds\":{}}}", took.as_secs_f64());
}

fn exit(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(2)
}

/// One receipt of each of these signers.
fn receipts(signers: &[PrivateKeySigner]) -> Vec<SignedReceipt> {
    let domain = tap_eip712_domain(31_337, Address::repeat_byte(0xee), TapVersion::V2);
    let payer = Address::repeat_byte(0x11);
    let sign = |signer| {
        let receipt = Receipt::new(B256::ZERO, payer, Address::repeat_byte(0x22), Address::repeat_byte(0x33), 1_000)
            .expect("the clock is after 1970");
        SignedReceipt::new(&domain, receipt, signer).expect("a local key signs")
    };
    signers.iter().map(sign).collect()
}

/// Batches until the time is over.
fn repeat(until: Duration, mut batch: impl FnMut()) -> (u64, Duration) {
    // Tables are built and caches filled at the first use.
    batch();
    let started = Instant::now();
    let mut checked = 0;
    while started.elapsed() < until {
        batch();
        checked += u64::try_from(BATCH).expect("a batch is small");
    }
    (checked, started.elapsed())
}

/// The signature check that every user of tap_core writes, as in its own example: recover, and look the signer up. What
/// else its manager does per receipt (states, boxed checks, a store) is left out, in its favour.
fn core(until: Duration) -> (u64, Duration) {
    let signers: Vec<_> = std::iter::repeat_with(PrivateKeySigner::random).take(BATCH).collect();
    let known: HashSet<Address> = signers.iter().map(PrivateKeySigner::address).collect();
    let receipts = receipts(&signers);
    let domain = tap_eip712_domain(31_337, Address::repeat_byte(0xee), TapVersion::V2);
    repeat(until, || {
        for receipt in black_box(&receipts) {
            let signer = receipt.recover_signer(&domain).expect("it is signed well");
            assert!(known.contains(&signer), "one of ours signed it");
        }
    })
}

/// The aggregator's own function over one payer's batch, which also compares signatures, sums and signs one voucher.
#[cfg(feature = "aggregator")]
fn aggregator(until: Duration) -> (u64, Duration) {
    use tap_aggregator::aggregator::v2::check_and_aggregate_receipts;

    let (payer, own) = (PrivateKeySigner::random(), PrivateKeySigner::random());
    let known = HashSet::from([payer.address()]);
    let receipts = receipts(&vec![payer; BATCH]);
    let domain = tap_eip712_domain(31_337, Address::repeat_byte(0xee), TapVersion::V2);
    repeat(until, || {
        let voucher = check_and_aggregate_receipts(&domain, black_box(&receipts), None, &own, &known);
        black_box(voucher.expect("all of them are good"));
    })
}
