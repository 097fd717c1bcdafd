//! Statements over many rows at once. Their texts exist for a few sizes only, so that a connection keeps them prepared.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

/// Sizes are the powers of two up to 2^6: any number of rows is a few statements, and 64 rows of the widest table stay
/// far below the parameters that either database allows.
const SIZES: usize = 7;
/// What a connection to SQLite calls its database.
const NAMELESS: &str = "SQLite";

/// One statement in every size: `before ($1, …), ($3, …) after`; for SQLite, which looks up a parameter that has a name among
/// all the others, `before (?, …), (?, …) after`.
#[derive(Debug)]
pub(super) struct Rows {
    numbered: [Arc<str>; SIZES],
    nameless: [Arc<str>; SIZES],
}

impl Rows {
    pub(super) fn new(before: &str, columns: usize, after: &str) -> Self {
        let text = |power: usize, parameter: fn(usize) -> String| {
            let row = |row: usize| {
                let columns: Vec<_> = (1..=columns).map(|column| parameter(row * columns + column)).collect();
                format!("({})", columns.join(", "))
            };
            let rows: Vec<_> = (0..1_usize << power).map(row).collect();
            format!("{before} {} {after}", rows.join(", ")).into()
        };
        Self {
            numbered: std::array::from_fn(|power| text(power, |number| format!("${number}"))),
            nameless: std::array::from_fn(|power| text(power, |_| "?".to_owned())),
        }
    }

    /// The texts for the database that the connection names.
    fn texts(&self, backend: &str) -> &[Arc<str>; SIZES] {
        if backend == NAMELESS { &self.nameless } else { &self.numbered }
    }

    /// The rows in chunks of at most the largest size, the last row of a chunk repeated until there is a statement for so
    /// many: for statements to which a repetition changes nothing. One trip to the database where `split` needs several.
    pub(super) fn cover<'a, T>(
        &'a self,
        backend: &str,
        rows: &'a [T],
    ) -> impl Iterator<Item = (AssertSqlSafe<Arc<str>>, impl Iterator<Item = &'a T> + use<'a, T>)> + use<'a, T> {
        let texts = self.texts(backend);
        rows.chunks(1 << (SIZES - 1)).filter_map(move |chunk| {
            let size = chunk.len().next_power_of_two();
            let power = usize::try_from(size.checked_ilog2()?).ok()?;
            let repeated = std::iter::repeat(chunk.last()?);
            Some((AssertSqlSafe(Arc::clone(&texts[power])), chunk.iter().chain(repeated).take(size)))
        })
    }

    /// The rows in groups that there is a statement for, each with it.
    pub(super) fn split<'a, T>(
        &'a self,
        backend: &str,
        mut rows: &'a [T],
    ) -> impl Iterator<Item = (AssertSqlSafe<Arc<str>>, &'a [T])> + use<'a, T> {
        let texts = self.texts(backend);
        std::iter::from_fn(move || {
            let power = usize::try_from(rows.len().checked_ilog2()?).unwrap_or(0).min(SIZES - 1);
            let (group, rest) = rows.split_at(1 << power);
            rows = rest;
            Some((AssertSqlSafe(Arc::clone(&texts[power])), group))
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
            for (text, chunk) in statement.cover("PostgreSQL", &rows) {
                let chunk: Vec<_> = chunk.copied().collect();
                assert_eq!(text.0.matches('$').count(), chunk.len());
                covered.extend(chunk);
            }
            covered.dedup();
            assert_eq!(covered, rows);
            assert_eq!(statement.cover("PostgreSQL", &rows).count(), length.div_ceil(64));
        }
    }

    #[test]
    fn sqlite_has_as_many_parameters_and_none_has_a_name() {
        let statement = Rows::new("insert into t values", 3, "");
        for length in 0..200_usize {
            let rows: Vec<_> = (0..length).collect();
            for (text, group) in statement.split(NAMELESS, &rows) {
                assert_eq!((text.0.matches('?').count(), text.0.matches('$').count()), (3 * group.len(), 0));
            }
        }
    }

    #[test]
    fn every_row_is_in_one_group_and_every_group_has_its_parameters() {
        let statement = Rows::new("insert into t values", 2, "");
        for length in 0..200_usize {
            let rows: Vec<_> = (0..length).collect();
            let mut covered = Vec::new();
            for (text, group) in statement.split("PostgreSQL", &rows) {
                assert_eq!(text.0.matches('$').count(), 2 * group.len());
                assert!(text.0.contains(&format!("${})", 2 * group.len())));
                covered.extend_from_slice(group);
            }
            assert_eq!(covered, rows);
        }
    }
}
