//! What runs in a process of its own: this very program, called again.

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use minus_bindings::{Amount, SignedVoucher, escrow_domain};
use minus_settler::check::{Checker, Domain};
use minus_settler::plan::{Market, Policy, plan};
use minus_settler::store::{LaneView, OpenVoucher};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bench::machine::peak_memory;

/// Vouchers of one batch: as many as one hand-in may have.
const BATCH: u32 = 1_024;

/// A part.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Checks vouchers, one thread.
    Check {
        /// For so long.
        #[arg(long)]
        seconds: u64,
        /// Of so many payers in turn, each batch.
        #[arg(long)]
        payers: usize,
        /// Nobody's key is known yet, as at a settler's start.
        #[arg(long)]
        first_seen: bool,
    },
    /// Plans once over so many lanes, all open.
    Plan {
        /// How many.
        #[arg(long)]
        lanes: u32,
    },
}

/// How many were checked in what time.
#[derive(Debug, Serialize, Deserialize)]
pub struct Checked {
    /// Vouchers or receipts.
    pub checked: u64,
    /// Time that took.
    pub seconds: f64,
}

/// What planning took.
#[derive(Debug, Serialize, Deserialize)]
pub struct Planned {
    /// Rows that are to be claimed.
    pub rows: u64,
    /// Time that took.
    pub seconds: f64,
    /// Peak of the process, bytes.
    pub peak: u64,
}

impl Part {
    /// Does it and prints what came out, one line of JSON.
    ///
    /// # Errors
    /// When a voucher that is good was refused: then there is nothing to measure.
    pub fn run(&self) -> Result<()> {
        let line = match self {
            Self::Check { seconds, payers, first_seen } => {
                serde_json::to_string(&check(Duration::from_secs(*seconds), *payers, *first_seen)?)?
            }
            Self::Plan { lanes } => serde_json::to_string(&plan_once(*lanes)?)?,
        };
        println!("{line}");
        Ok(())
    }
}

/// The arguments that make this program do only that part.
///
/// # Errors
/// When this program's file is gone.
pub fn command(prefix: &[&str], arguments: &[&str]) -> Result<Command> {
    let own = std::env::current_exe()?;
    let mut command = match prefix {
        [] => Command::new(own),
        [program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest).arg(own);
            command
        }
    };
    command.arg("settler-part").args(arguments);
    Ok(command)
}

/// Runs a program to its end and reads its one line.
///
/// # Errors
/// When it fails or says something else.
pub fn outcome<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("the answer of {command:?}"))
}

const PAYEE: Address = Address::repeat_byte(0xaa);

fn check(until: Duration, payers: usize, first_seen: bool) -> Result<Checked> {
    let domain = escrow_domain(31_337, Address::repeat_byte(0xee));
    let payers: Vec<PrivateKeySigner> = std::iter::repeat_with(PrivateKeySigner::random).take(payers).collect();
    let sign = |(total, payer): (u32, &PrivateKeySigner)| {
        let total = Amount::from_base_units(u128::from(total))?;
        Ok(SignedVoucher::sign(payer.address(), PAYEE, total, &domain, payer))
    };
    let vouchers: Vec<SignedVoucher> = (1..=BATCH).zip(payers.iter().cycle()).map(sign).collect::<Result<_>>()?;
    let checker = Checker::new(vec![PAYEE], Domain::new(&domain));
    let batch = |learns: bool| {
        let vouchers = black_box(&vouchers);
        let answers = checker.vouchers(vouchers);
        for (voucher, answer) in vouchers.iter().zip(&answers) {
            ensure!(answer.is_ok_and(|signed| signed.signer == voucher.payer), "a good voucher was refused");
        }
        if learns {
            checker.learn(
                vouchers.iter().zip(&answers).filter_map(|(it, answer)| Some((it.payer, answer.as_ref().ok()?))),
            );
        }
        Ok(())
    };
    // Tables are built and caches filled at the first use.
    batch(!first_seen)?;
    let started = Instant::now();
    let mut checked = 0;
    while started.elapsed() < until {
        batch(!first_seen)?;
        checked += u64::from(BATCH);
    }
    Ok(Checked { checked, seconds: started.elapsed().as_secs_f64() })
}

fn plan_once(lanes: u32) -> Result<Planned> {
    let open: Vec<OpenVoucher> = (1..=lanes).map(open_voucher).collect::<Result<_>>()?;
    let policy = Policy {
        value_over_gas: 10,
        native_coin_price: Amount::from_base_units(3_000_000_000)?,
        age_max_s: 7 * 86_400,
        thaw_margin_s: 12 * 3_600,
        exposure_max: None,
        cover_debts: true,
        rows_max: 250,
    };
    let market = Market { fee_per_gas: 1_000_000_000, above_cap: false };
    let started = Instant::now();
    let plan = plan(black_box(&open), &policy, market, 1_000);
    let seconds = started.elapsed().as_secs_f64();
    let rows = plan.batches.iter().map(|batch| batch.rows.len()).sum::<usize>();
    Ok(Planned { rows: u64::try_from(rows)?, seconds, peak: peak_memory(std::process::id())? })
}

/// One lane in two is worth its gas.
fn open_voucher(index: u32) -> Result<OpenVoucher> {
    let mut payer = [0x11; 20];
    payer[..4].copy_from_slice(&index.to_be_bytes());
    let units = if index.is_multiple_of(2) { 10_000_000 } else { 1 };
    let cumulative = Amount::from_base_units(units)?;
    let voucher = SignedVoucher { payer: payer.into(), payee: PAYEE, cumulative, signature: [27; 65] };
    let view = LaneView { deposit: Amount::from_base_units(20_000_000)?, ..LaneView::default() };
    Ok(OpenVoucher {
        id: i64::from(index),
        voucher,
        signer: voucher.payer,
        recorded_at: 1,
        retry_at: 0,
        asked: false,
        held: None,
        closing_claimed_at: 0,
        failures: 0,
        exposed: false,
        set_off: None,
        backs: false,
        view,
    })
}
