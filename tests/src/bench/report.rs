//! What is shown and written: one row per figure, both sides of it, and their ratio.

use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

use super::machine::Facts;
use super::statistics::Spread;

/// Which way a figure is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is.
    Higher,
    /// Less is.
    Lower,
}

/// One figure of one comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was done.
    pub comparison: String,
    /// What was measured, with its unit.
    pub figure: String,
    /// Which way it is good.
    pub better: Better,
    /// Who else.
    pub peer_name: String,
    /// Ours, over the rounds.
    pub ours: Spread,
    /// The peer's, over the same rounds; absent when there was nobody to compare with.
    pub peer: Option<Spread>,
    /// Ours by the peer's, medians.
    pub ratio: Option<f64>,
    /// The ratio that is aimed at: at least this where more is better, else at most.
    pub target: Option<f64>,
}

impl Row {
    /// Whether the target is met; None when there is none.
    pub fn meets_target(&self) -> Option<bool> {
        let (ratio, target) = (self.ratio?, self.target?);
        Some(match self.better {
            Better::Higher => ratio >= target,
            Better::Lower => ratio <= target,
        })
    }
}

/// What comparisons found so far: what is in it stays, whatever goes wrong after it.
#[derive(Debug, Default)]
pub struct Findings {
    /// The figures.
    pub rows: Vec<Row>,
    /// What makes some of them worth nothing, or kept others from being taken.
    pub failed: Vec<String>,
}

impl Findings {
    /// Notes what should hold and does not.
    pub fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.failed.push(otherwise());
        }
    }
}

/// Everything that one call of the bench found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where and of what.
    pub facts: Facts,
    /// How it was measured.
    pub method: Vec<String>,
    /// What was left out, and why.
    pub skipped: Vec<String>,
    /// What went wrong.
    pub failed: Vec<String>,
    /// What was found.
    pub rows: Vec<Row>,
}

impl Report {
    /// For people.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_header(["comparison", "figure", "ours", "peer", "ratio", "target"]);
        for row in &self.rows {
            let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
            let target = match (row.target, row.better) {
                (Some(target), Better::Higher) => format!("≥ {target:.1}"),
                (Some(target), Better::Lower) => format!("≤ {target:.1}"),
                (None, _) => String::new(),
            };
            let verdict = row.meets_target().map_or("", |met| if met { " ✓" } else { " ✗" });
            table.add_row([
                Cell::new(&row.comparison),
                Cell::new(&row.figure),
                right(shown(row.ours)),
                right(row.peer.map_or_else(|| "–".to_owned(), |peer| format!("{} {}", row.peer_name, shown(peer)))),
                right(row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))),
                right(target + verdict),
            ]);
        }
        table
    }

    /// For programs.
    pub fn write(&self, file: &Path) -> Result<()> {
        let folder = file.parent().context("a file lies in a folder")?;
        std::fs::create_dir_all(folder)?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

fn shown(spread: Spread) -> String {
    let digits = if spread.max >= 100.0 { 0 } else { 2 };
    format!("{:.digits$} ({:.digits$}–{:.digits$})", spread.median, spread.min, spread.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(better: Better, ratio: f64, target: Option<f64>) -> Row {
        let spread = Spread { median: ratio, min: ratio, max: ratio };
        Row {
            comparison: String::new(),
            figure: String::new(),
            better,
            peer_name: String::new(),
            ours: spread,
            peer: Some(Spread { median: 1.0, min: 1.0, max: 1.0 }),
            ratio: Some(ratio),
            target,
        }
    }

    #[test]
    fn a_target_is_met_on_its_good_side() {
        assert_eq!(row(Better::Higher, 1.99, Some(2.0)).meets_target(), Some(false));
        assert_eq!(row(Better::Higher, 2.0, Some(2.0)).meets_target(), Some(true));
        assert_eq!(row(Better::Lower, 1.01, Some(1.0)).meets_target(), Some(false));
        assert_eq!(row(Better::Lower, 0.5, Some(1.0)).meets_target(), Some(true));
        assert_eq!(row(Better::Lower, 0.5, None).meets_target(), None);
    }
}
