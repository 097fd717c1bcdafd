//! Comma-separated values as RFC 4180 has them, safe to open in a spreadsheet.

use minus_bindings::Amount;

use crate::reports::{ClaimRecord, EarningsStep, LaneRecord};

/// A line of a table.
pub trait Record {
    /// What the columns are called.
    const COLUMNS: &'static [&'static str];

    /// One field for each column.
    fn fields(&self) -> Vec<String>;
}

/// Puts a line behind the text.
pub fn put_line<'a>(text: &mut String, fields: impl Iterator<Item = &'a str>) {
    for (index, field) in fields.enumerate() {
        if index > 0 {
            text.push(',');
        }
        put_field(text, field);
    }
    text.push_str("\r\n");
}

/// A spreadsheet takes a field that begins so for a formula, and runs it.
const BEGINS_FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

fn put_field(text: &mut String, field: &str) {
    let is_formula = field.starts_with(BEGINS_FORMULA);
    if !is_formula && !field.contains([',', '"', '\r', '\n']) {
        return text.push_str(field);
    }
    text.push('"');
    if is_formula {
        text.push('\'');
    }
    text.push_str(&field.replace('"', "\"\""));
    text.push('"');
}

fn units(amount: Amount) -> String {
    amount.base_units().to_string()
}

fn or_nothing(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

impl Record for LaneRecord {
    const COLUMNS: &'static [&'static str] = &[
        "payer",
        "payee",
        "cumulative",
        "paid",
        "exposure",
        "claimable",
        "deposit",
        "open_balance",
        "state",
        "held",
        "reason",
        "recorded_at",
        "closes_at",
        "seen_at",
    ];

    fn fields(&self) -> Vec<String> {
        vec![
            self.payer.to_string(),
            self.payee.to_string(),
            units(self.cumulative),
            units(self.paid),
            units(self.exposure),
            units(self.claimable),
            units(self.deposit),
            units(self.open_balance),
            self.state.to_string(),
            or_nothing(self.held),
            or_nothing(self.reason),
            self.recorded_at.to_string(),
            or_nothing(self.closes_at),
            self.seen_at.to_string(),
        ]
    }
}

impl Record for ClaimRecord {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "sender",
        "nonce",
        "payee",
        "state",
        "created_at",
        "hash",
        "block",
        "vouchers",
        "paid",
        "gas_used",
        "fee_wei",
        "attempts",
        "netted",
        "debts_paid",
    ];

    fn fields(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.sender.to_string(),
            self.nonce.to_string(),
            self.payee.to_string(),
            self.state.to_string(),
            self.created_at.to_string(),
            or_nothing(self.hash),
            or_nothing(self.block),
            self.vouchers.to_string(),
            units(self.paid),
            or_nothing(self.gas_used),
            or_nothing(self.fee_wei.as_deref()),
            self.attempts.to_string(),
            self.netted.to_string(),
            units(self.debts_paid),
        ]
    }
}

impl Record for EarningsStep {
    const COLUMNS: &'static [&'static str] = &["from", "paid", "claims", "vouchers", "gas_used", "fee_wei"];

    fn fields(&self) -> Vec<String> {
        vec![
            self.from.to_string(),
            units(self.paid),
            self.claims.to_string(),
            self.vouchers.to_string(),
            self.gas_used.to_string(),
            self.fee_wei.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fields: &[&str]) -> String {
        let mut text = String::new();
        put_line(&mut text, fields.iter().copied());
        text
    }

    #[test]
    fn quotes_what_would_break_a_line() {
        assert_eq!(
            line(&["a", "1,2", "say \"hi\"", "two\nlines", ""]),
            "a,\"1,2\",\"say \"\"hi\"\"\",\"two\nlines\",\r\n"
        );
    }

    #[test]
    fn a_spreadsheet_runs_nothing() {
        for formula in ["=1+1", "+1", "-1", "@sum(a1)", "\tx", "\r=1"] {
            let text = line(&[formula]);
            assert!(text.starts_with("\"'"), "{text}");
        }
        assert_eq!(line(&["1", "0xab", "not_worth_yet"]), "1,0xab,not_worth_yet\r\n");
    }

    #[test]
    fn columns_are_those_of_the_json() {
        let step = EarningsStep::default();
        let json = serde_json::json!(step);

        assert_eq!(step.fields().len(), EarningsStep::COLUMNS.len());
        assert!(EarningsStep::COLUMNS.iter().all(|column| json.get(column).is_some()));
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(EarningsStep::COLUMNS.len()));
    }
}
