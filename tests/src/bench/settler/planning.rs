//! What is claimed now, over ten thousand, a hundred thousand and a million open lanes.

use anyhow::Result;

use super::options::{Effort, against_goal, alone};
use super::part::{self, Planned};
use crate::bench::report::{Better, Row};
use crate::bench::statistics::number;

/// Each ten times the one before.
const LANES: [u32; 3] = [10_000, 100_000, 1_000_000];
/// A million lanes are planned in less.
const SECONDS_GOAL: f64 = 1.0;
/// And in less memory than this, GiB.
const MEMORY_GOAL: f64 = 1.0;
/// Bytes of one GiB.
const GIB: f64 = 1_073_741_824.0;

/// Every number of lanes in a process of its own, in turn.
///
/// # Errors
/// When a process fails.
pub fn measure(effort: &Effort) -> Result<Vec<Row>> {
    let mut found: Vec<(u32, Vec<f64>, Vec<f64>)> = LANES.map(|lanes| (lanes, Vec::new(), Vec::new())).into();
    for _ in 0..effort.rounds {
        for (lanes, seconds, memory) in &mut found {
            let planned: Planned = part::outcome(&mut part::command(&[], &["plan", "--lanes", &lanes.to_string()])?)?;
            seconds.push(planned.seconds);
            memory.push(number(planned.peak) / GIB);
        }
    }
    let mut rows = Vec::new();
    for (lanes, seconds, memory) in &found {
        let name = format!("planning, {lanes} lanes");
        if lanes == LANES.last().unwrap_or(lanes) {
            rows.extend(against_goal(&name, "s", Better::Lower, seconds, SECONDS_GOAL));
            rows.extend(against_goal(&name, "GiB, peak", Better::Lower, memory, MEMORY_GOAL));
        } else {
            rows.extend(alone(&name, "s", Better::Lower, seconds));
            rows.extend(alone(&name, "GiB, peak", Better::Lower, memory));
        }
    }
    rows.extend(growth(&found));
    Ok(rows)
}

/// The cost of ten and a hundred times the lanes, by the cost of the fewest.
fn growth(found: &[(u32, Vec<f64>, Vec<f64>)]) -> Vec<Row> {
    let [(_, least, _), more @ ..] = found else { return Vec::new() };
    let row = |(lanes, seconds, _): &(u32, Vec<f64>, Vec<f64>)| {
        let times: Vec<f64> = seconds.iter().zip(least).map(|(more, least)| more / least).collect();
        let by = lanes / LANES[0];
        alone(&format!("planning, {by} times the lanes"), "times the seconds", Better::Lower, &times)
    };
    more.iter().filter_map(row).collect()
}
