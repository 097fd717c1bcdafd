//! Statements over many rows at once, which they read as their table `k`. SQLite is given each value by itself, PostgreSQL a
//! column at a time: there a row then costs no parameter, and the text is the same for any number of rows.

use std::fmt::{self, Display, Write as _};

use sqlx::Arguments as _;
use sqlx::any::AnyArguments;
use sqlx::error::BoxDynError;

use super::database::Kind;
use super::open::StoreError;

/// Rows of one statement at most. SQLite: enough to spread what a statement costs, and the widest row times this is far
/// below the 32,766 parameters that it allows.
const SQLITE_ROWS_MAX: usize = 128;
/// PostgreSQL: half of what the recorder commits at once; of the widest rows, a megabyte and a half.
const POSTGRES_ROWS_MAX: usize = 4_096;

enum Values {
    Texts(Vec<String>),
    Numbers(Vec<i64>),
}

/// Some rows, to be the table `k` of a statement. Shown, it is the statement's beginning.
pub(super) struct Given<'r, R> {
    kind: Kind,
    rows: &'r [R],
    columns: Vec<(&'static str, Values)>,
}

impl<'r, R> Given<'r, R> {
    /// These rows, as yet without columns.
    pub(super) const fn new(kind: Kind, rows: &'r [R]) -> Self {
        Self { kind, rows, columns: Vec::new() }
    }

    /// One more column, of text.
    pub(super) fn text(mut self, name: &'static str, value: impl Fn(&R) -> String) -> Self {
        self.columns.push((name, Values::Texts(self.rows.iter().map(value).collect())));
        self
    }

    /// One more column, of whole numbers.
    pub(super) fn number(mut self, name: &'static str, value: impl Fn(&R) -> i64) -> Self {
        self.columns.push((name, Values::Numbers(self.rows.iter().map(value).collect())));
        self
    }

    /// What fills the places of the statement.
    pub(super) fn arguments(mut self) -> Result<AnyArguments, StoreError> {
        let mut arguments = AnyArguments::default();
        let added: Result<(), BoxDynError> = match self.kind {
            Kind::Sqlite => (0..self.rows.len()).try_for_each(|row| {
                self.columns.iter_mut().try_for_each(|(_, values)| match values {
                    Values::Texts(texts) => arguments.add(std::mem::take(&mut texts[row])),
                    Values::Numbers(numbers) => arguments.add(numbers[row]),
                })
            }),
            Kind::Postgres => self.columns.iter().try_for_each(|(_, values)| arguments.add(values.array())),
        };
        added.map_err(sqlx::Error::Encode)?;
        Ok(arguments)
    }
}

impl<R> Display for Given<'_, R> {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        write!(text, "with k ({}) as (", names.join(", "))?;
        match self.kind {
            // Places without names: SQLite would look through all names for each value, a million steps for a thousand.
            Kind::Sqlite => {
                let row = format!("({})", vec!["?"; names.len()].join(", "));
                write!(text, "values {}", vec![row; self.rows.len()].join(", "))?;
            }
            Kind::Postgres => {
                let arrays = self.columns.iter().zip(1..).map(|((_, values), place)| match values {
                    Values::Texts(_) => format!("${place}::text[]"),
                    Values::Numbers(_) => format!("${place}::bigint[]"),
                });
                write!(text, "select * from unnest({})", arrays.collect::<Vec<_>>().join(", "))?;
            }
        }
        text.write_str(")")
    }
}

impl Values {
    /// As PostgreSQL writes arrays.
    fn array(&self) -> String {
        let mut array = String::from("{");
        match self {
            Self::Texts(texts) => {
                for text in texts {
                    array.push('"');
                    for letter in text.chars() {
                        if matches!(letter, '"' | '\\') {
                            array.push('\\');
                        }
                        array.push(letter);
                    }
                    array.push_str("\",");
                }
            }
            Self::Numbers(numbers) => {
                for number in numbers {
                    let _ = write!(array, "{number},");
                }
            }
        }
        if array.ends_with(',') {
            array.pop();
        }
        array.push('}');
        array
    }
}

/// The rows in order, in chunks for a statement each. SQLite's have few lengths, powers of two, so that a connection keeps
/// their statements prepared.
pub(super) fn chunks<T>(kind: Kind, mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let power = rows.len().checked_ilog2()?;
        let length = match kind {
            Kind::Sqlite => (1_usize << power).min(SQLITE_ROWS_MAX),
            Kind::Postgres => rows.len().min(POSTGRES_ROWS_MAX),
        };
        let (chunk, rest) = rows.split_at(length);
        rows = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_chunk_and_those_of_sqlite_have_few_lengths() {
        let rows: Vec<usize> = (0..1_000).collect();
        for length in 0..rows.len() {
            let [few, whole] =
                [Kind::Sqlite, Kind::Postgres].map(|kind| chunks(kind, &rows[..length]).collect::<Vec<&[usize]>>());
            assert_eq!((few.concat(), whole.concat()), (rows[..length].to_vec(), rows[..length].to_vec()));
            assert!(few.iter().all(|chunk| chunk.len().is_power_of_two() && chunk.len() <= SQLITE_ROWS_MAX));
            assert_eq!(whole.len(), usize::from(length > 0));
        }
        let many = vec![0; POSTGRES_ROWS_MAX + 1];
        assert_eq!(chunks(Kind::Postgres, &many).count(), 2);
    }

    fn given(kind: Kind) -> Given<'static, (i64, &'static str)> {
        const ROWS: &[(i64, &str)] = &[(-7, "0xab"), (8, "a \"word\"\\")];
        Given::new(kind, ROWS).number("id", |row| row.0).text("word", |row| row.1.to_owned())
    }

    #[test]
    fn sqlite_is_given_values_and_postgresql_columns() {
        assert_eq!(given(Kind::Sqlite).to_string(), "with k (id, word) as (values (?, ?), (?, ?))");
        assert_eq!(
            given(Kind::Postgres).to_string(),
            "with k (id, word) as (select * from unnest($1::bigint[], $2::text[]))"
        );
    }

    #[test]
    fn an_array_reads_as_what_was_put_into_it() {
        let arrays: Vec<String> = given(Kind::Postgres).columns.iter().map(|(_, values)| values.array()).collect();
        assert_eq!(arrays, ["{-7,8}", r#"{"0xab","a \"word\"\\"}"#]);
        assert_eq!(Values::Texts(Vec::new()).array(), "{}");
    }
}
