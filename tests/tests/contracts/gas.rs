//! What a voucher costs to claim, as full cold transactions on Prague rules. Printed, not judged: `cargo test -p
//! minus-tests --test contracts gas -- --nocapture`. The reviewed snapshot is forge's.

use minus_bindings::RowResult;
use minus_tests::evm::{Actor, World};

/// Rows of the small and the large batch whose difference gives the gas of one more row.
const FEW: usize = 10;
const MANY: usize = 100;

/// The floor of the design: calldata, one ecrecover, one cold slot.
const FLOOR: u64 = 9_980;

fn gas_of_one_more_row(world: &World, payers: &[Actor], payee: &Actor, cumulative: u128) -> (u64, u64, u64) {
    let claim = |rows: usize| {
        let mut fork = world.clone();
        let vouchers: Vec<_> =
            payers[..rows].iter().map(|payer| fork.voucher(payer, payee.address(), cumulative)).collect();
        let claim = fork.claim(&Actor::named("anyone"), payee.address(), &vouchers).unwrap();
        assert!(claim.results.iter().all(|result| *result == RowResult::Paid));
        claim.gas_used
    };
    let (few, many) = (claim(FEW), claim(MANY));
    (few, many, (many - few) / u64::try_from(MANY - FEW).unwrap())
}

#[test]
fn of_claiming_one_more_voucher() {
    let mut world = World::new();
    let olga = Actor::named("olga");
    let payers: Vec<Actor> = (0..MANY).map(|number| Actor::named(&format!("payer {number}"))).collect();
    for payer in &payers {
        world.prepay(payer, olga.address(), 1_000_000_000);
    }
    for (what, cumulative) in [("first claim of a lane", 400_000_000), ("later claim of a lane", 700_000_000)] {
        let (few, many, row) = gas_of_one_more_row(&world, &payers, &olga, cumulative);
        println!(
            "{what}: {FEW} rows {few}, {MANY} rows {many}, one more row {row}, {}.{:02} times the floor",
            row / FLOOR,
            row % FLOOR * 100 / FLOOR
        );
        let vouchers: Vec<_> = payers.iter().map(|payer| world.voucher(payer, olga.address(), cumulative)).collect();
        world.claim(&olga, olga.address(), &vouchers).unwrap();
    }
}
