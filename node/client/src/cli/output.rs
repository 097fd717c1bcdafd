//! How the command line speaks: results on standard output, as lines or as JSON; remarks and errors on standard error.
//! A reader that went away is no error.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

use crate::error::ExitCode;

/// Where and in which form results go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    /// As the flags say.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether results are JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Whether only results and errors are wanted.
    pub fn is_quiet(self) -> bool {
        self.quiet
    }

    /// A result: pretty JSON, or what `lines` makes of it.
    pub fn result<T: Serialize>(self, value: &T, lines: impl FnOnce(&T) -> String) {
        if self.json {
            let json = serde_json::to_string_pretty(value).expect("our reports are JSON");
            print(&json);
        } else {
            print(lines(value).trim_end());
        }
    }

    /// One of many results: a line of JSON, or what `line` makes of it, if anything. False when nobody reads on.
    pub fn event<T: Serialize>(self, value: &T, line: impl FnOnce(&T) -> Option<String>) -> bool {
        if self.json {
            print(&serde_json::to_string(value).expect("our events are JSON"))
        } else {
            line(value).is_none_or(|line| print(&line))
        }
    }

    /// A result that is a program's, as it is, whatever form was asked for.
    pub fn script(self, bytes: &[u8]) {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }

    /// A remark beside the results.
    pub fn remark(self, text: &str) {
        if !self.quiet && !self.json {
            say(text);
        }
    }

    /// Something that went wrong and does not end the command.
    pub fn warning(self, text: &str) {
        if !self.json {
            say(&format!("warning: {text}"));
        }
    }

    /// Why the command ends.
    pub fn error(self, text: &str, code: ExitCode) {
        if self.json {
            let number = code.number();
            say(&serde_json::json!({ "error": text, "exit_code": number }).to_string());
        } else {
            say(&format!("error: {text}"));
        }
    }
}

/// False when it could not be written.
fn print(text: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).is_ok()
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A table without lines, as other tools can read it.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Lines of `name  value`, the names padded to one width.
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    facts.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// A stranger's text on a terminal: without control characters but line breaks and tabs.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_write_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\r"), "a[2Jb\nc");
    }

    #[test]
    fn facts_stand_in_columns() {
        assert_eq!(facts(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }
}
