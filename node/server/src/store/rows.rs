//! Statements over many rows at once. Their texts exist for a few sizes only, so that a connection keeps them prepared.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

/// Sizes are the powers of two up to 2^6: any number of rows is a few statements, and 64 rows of the widest table stay
/// far below the parameters that either database allows.
const SIZES: usize = 7;

/// One statement in every size: `before ($1, …), ($3, …) after`.
#[derive(Debug)]
pub(super) struct Rows {
    texts: [Arc<str>; SIZES],
}

impl Rows {
    pub(super) fn new(before: &str, columns: usize, after: &str) -> Self {
        let text = |power: usize| {
            let row = |row: usize| {
                let columns: Vec<_> = (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
                format!("({})", columns.join(", "))
            };
            let rows: Vec<_> = (0..1_usize << power).map(row).collect();
            format!("{before} {} {after}", rows.join(", ")).into()
        };
        Self { texts: std::array::from_fn(text) }
    }

    /// The rows in chunks of at most the largest size, the last row of a chunk repeated until there is a statement for so
    /// many: for statements to which a repetition changes nothing. One trip to the database where `split` needs several.
    pub(super) fn cover<'a, T>(
        &'a self,
        rows: &'a [T],
    ) -> impl Iterator<Item = (AssertSqlSafe<Arc<str>>, impl Iterator<Item = &'a T>)> {
        rows.chunks(1 << (SIZES - 1)).filter_map(|chunk| {
            let size = chunk.len().next_power_of_two();
            let power = usize::try_from(size.checked_ilog2()?).ok()?;
            let repeated = std::iter::repeat(chunk.last()?);
            Some((AssertSqlSafe(Arc::clone(&self.texts[power])), chunk.iter().chain(repeated).take(size)))
        })
    }

    /// The rows in groups that there is a statement for, each with it.
    pub(super) fn split<'a, T>(
        &'a self,
        mut rows: &'a [T],
    ) -> impl Iterator<Item = (AssertSqlSafe<Arc<str>>, &'a [T])> {
        std::iter::from_fn(move || {
            let power = usize::try_from(rows.len().checked_ilog2()?).unwrap_or(0).min(SIZES - 1);
            let (group, rest) = rows.split_at(1 << power);
            rows = rest;
            Some((AssertSqlSafe(Arc::clone(&self.texts[power])), group))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_covered_chunk_repeats_its_last_row_until_a_statement_fits() {
        let statement = Rows::new("select * from t where id in (", 1, ")");
        for length in 0..200_usize {
            let rows: Vec<_> = (0..length).collect();
            let mut covered = Vec::new();
            for (text, chunk) in statement.cover(&rows) {
                let chunk: Vec<_> = chunk.copied().collect();
                assert_eq!(text.0.matches('$').count(), chunk.len());
                covered.extend(chunk);
            }
            covered.dedup();
            assert_eq!(covered, rows);
            assert_eq!(statement.cover(&rows).count(), length.div_ceil(64));
        }
    }

    #[test]
    fn every_row_is_in_one_group_and_every_group_has_its_parameters() {
        let statement = Rows::new("insert into t values", 2, "");
        for length in 0..200_usize {
            let rows: Vec<_> = (0..length).collect();
            let mut covered = Vec::new();
            for (text, group) in statement.split(&rows) {
                assert_eq!(text.0.matches('$').count(), 2 * group.len());
                assert!(text.0.contains(&format!("${})", 2 * group.len())));
                covered.extend_from_slice(group);
            }
            assert_eq!(covered, rows);
        }
    }
}
