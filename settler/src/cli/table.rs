//! Tables for people.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};

/// An empty table.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(header.to_vec());
    table
}

/// Columns of numbers.
pub(super) fn right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A time, as a person in any place reads it the same.
pub(super) fn time(unix_s: u64) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(unix_s));
    time.map(|time| humantime::format_rfc3339_seconds(time).to_string()).unwrap_or_default()
}

/// A length of time in its larger two units.
pub(super) fn span(seconds: u64) -> String {
    let (length, unit) = match seconds {
        0..60 => (1, "s"),
        60..3_600 => (60, "min"),
        3_600..86_400 => (3_600, "h"),
        _ => (86_400, "d"),
    };
    let smaller = match unit {
        "d" => (seconds % 86_400 / 3_600, "h"),
        "h" => (seconds % 3_600 / 60, "min"),
        _ => (0, ""),
    };
    match smaller {
        (0, _) => format!("{} {unit}", seconds / length),
        (count, small) => format!("{} {unit} {count} {small}", seconds / length),
    }
}
