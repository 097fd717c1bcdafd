//! Statements over many rows at once: their placeholders, and chunks in few sizes, so that a connection keeps the
//! statements prepared.

use std::fmt::Write as _;

use super::database::Kind;

/// Rows of one statement at most: what a trip to the database costs is spread over enough of them, and the widest row
/// times this is far below the parameters that either database allows.
const ROWS_MAX: usize = 128;

/// `($1, $2, …), ($3, $4, …), …` for so many rows and columns, `rest` at the end of each row.
///
/// SQLite looks through the names of all places for each value that is bound, so that a thousand of them cost a million
/// steps: there they get no names.
pub(super) fn places(kind: Kind, rows: usize, columns: usize, rest: &str) -> String {
    let mut text = String::with_capacity(rows * (columns * 6 + rest.len() + 4));
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            let _ = match kind {
                Kind::Sqlite => write!(text, "{comma}?"),
                Kind::Postgres => write!(text, "{comma}${}", row * columns + column + 1),
            };
        }
        text.push_str(rest);
        text.push(')');
    }
    text
}

/// The rows in order, in chunks whose lengths are powers of two.
pub(super) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let power = rows.len().checked_ilog2()?;
        let (chunk, rest) = rows.split_at((1_usize << power).min(ROWS_MAX));
        rows = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_chunk_and_the_chunks_have_few_lengths() {
        let rows: Vec<usize> = (0..1_000).collect();
        for length in 0..rows.len() {
            let chunks: Vec<&[usize]> = chunks(&rows[..length]).collect();
            assert_eq!(chunks.concat(), rows[..length]);
            assert!(chunks.iter().all(|chunk| chunk.len().is_power_of_two() && chunk.len() <= ROWS_MAX));
        }
    }

    #[test]
    fn every_place_is_numbered_once() {
        assert_eq!(places(Kind::Postgres, 2, 3, ", 'x'"), "($1, $2, $3, 'x'), ($4, $5, $6, 'x')");
        assert_eq!(places(Kind::Postgres, 1, 1, ""), "($1)");
        assert_eq!(places(Kind::Sqlite, 2, 3, ", 'x'"), "(?, ?, ?, 'x'), (?, ?, ?, 'x')");
    }
}
