//! The customer's own books, as functions of values: what a statement has to say given what was received, and whether
//! it may be signed (laws 2, 9, 11). The numbers come out of one transaction of the store and go back into it.
//!
//! An agent may or may not have booked the statement that was signed last: the answer can get lost. Both are drawn up
//! and the statement tells which it was. A statement that says exactly what one of them says is signed; one that says
//! less is signed too and taken over as it stands; one that says more on any line is refused by the line's name.

use minus_protocol::{
    CLOCK_TOLERANCE_S, Disagreement, Expected, MeterError, MeterLine, Statement, Tariff, add_message, check, due,
};

use crate::chain::Schedule;
use crate::store::records::{Counted, Snapshot};

/// Why a statement is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// It says more than was counted.
    #[error(transparent)]
    Statement(#[from] Disagreement),
    /// A message is dated before the agent could store anything for this wallet, or after its own statement.
    #[error("stored-at: message {seq} is dated {stored_at}, possible is {earliest} to {latest}")]
    StoredAt {
        /// Which message.
        seq: u64,
        /// The agent's date, unix seconds.
        stored_at: u64,
        /// Unix seconds.
        earliest: u64,
        /// Unix seconds.
        latest: u64,
    },
    /// A message is charged by a tariff that was not in force when it was stored.
    #[error("tariff: message {seq} is charged by version {version}, which was not in force at {stored_at}")]
    NotInForce {
        /// Which message.
        seq: u64,
        /// The version the agent named.
        version: u32,
        /// The agent's date, unix seconds.
        stored_at: u64,
    },
    /// The counts leave their range.
    #[error("meter: {0}")]
    Meter(#[from] MeterError),
}

impl Objection {
    /// The name of the line, for programs and reports.
    pub fn line(&self) -> &'static str {
        match self {
            Self::Statement(disagreement) => disagreement.line(),
            Self::StoredAt { .. } => "stored-at",
            Self::NotInForce { .. } => "tariff",
            Self::Meter(_) => "meter",
        }
    }
}

/// What a statement is judged with, beside the counts.
#[derive(Debug, Clone, Copy)]
pub struct Bench<'a> {
    /// The agent's tariffs, from the chain.
    pub schedule: &'a Schedule,
    /// Whether this subscription runs through a relay.
    pub relayed_out: bool,
    /// The customer's clock, unix seconds.
    pub now: u64,
}

/// A statement that may be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// Whether it shows that the statement signed last was booked.
    pub confirmed: bool,
    /// Whether it says exactly what was counted; if not, it says less.
    pub exact: bool,
}

/// Judges a statement against what was counted.
pub fn judge(snapshot: &Snapshot, statement: &Statement, bench: Bench<'_>) -> Result<Agreement, Objection> {
    let covered: Vec<&Counted> = covered(snapshot, statement).collect();
    for message in &covered {
        check_times(snapshot, message, statement, bench)?;
    }
    let candidates = candidates(snapshot, &covered, statement, bench)?;
    let agrees = |candidate: &&Candidate| check(&candidate.expected, statement, bench.now).is_ok();
    let exact = candidates.iter().filter(agrees).find(|candidate| candidate.expected.lines == statement.lines);
    if let Some(candidate) = exact {
        return Ok(Agreement { confirmed: candidate.confirmed, exact: true });
    }
    if let Some(candidate) = candidates.iter().find(agrees) {
        return Ok(Agreement { confirmed: candidate.confirmed, exact: false });
    }
    // Report against the count that allows most.
    let highest = candidates.iter().max_by_key(|candidate| due(&candidate.expected.lines).ok());
    match highest.map(|candidate| check(&candidate.expected, statement, bench.now)) {
        Some(Err(disagreement)) => Err(disagreement.into()),
        _ => Ok(Agreement { confirmed: false, exact: false }),
    }
}

struct Candidate {
    confirmed: bool,
    expected: Expected,
}

/// The counts that are possible: with the last signed statement booked or not, and with the relay's leg charged or
/// not, when there is one. In doubt it was not booked: that keeps the messages, and with them a count that an honest
/// agent cannot exceed, whichever it was.
fn candidates(
    snapshot: &Snapshot,
    covered: &[&Counted],
    statement: &Statement,
    bench: Bench<'_>,
) -> Result<Vec<Candidate>, Objection> {
    let wallet = snapshot.entrustment.wallet;
    let held = snapshot.messages.last().map_or(snapshot.entrustment.acknowledged_through, |message| message.seq);
    let mut candidates = Vec::new();
    let mut add = |confirmed: bool, lines: &[MeterLine], after: u64| -> Result<(), Objection> {
        let legs: &[bool] = if bench.relayed_out { &[true, false] } else { &[false] };
        for relayed_out in legs {
            let mut lines = lines.to_vec();
            for message in covered.iter().filter(|message| message.seq > after) {
                let tariff = |version: u32| -> Option<Tariff> { bench.schedule.tariff(version) };
                add_message(&mut lines, tariff, &message.carriage, statement.at, *relayed_out)?;
            }
            let expected = Expected { wallet, through: held, base: snapshot.account.base, lines };
            candidates.push(Candidate { confirmed, expected });
        }
        Ok(())
    };
    add(false, &snapshot.account.lines, 0)?;
    if let Some(signed) = &snapshot.unconfirmed {
        let after = if signed.wallet == wallet { signed.through } else { 0 };
        add(true, &signed.lines, after)?;
    }
    Ok(candidates)
}

fn covered<'a>(snapshot: &'a Snapshot, statement: &'a Statement) -> impl Iterator<Item = &'a Counted> {
    snapshot.messages.iter().filter(|message| message.seq <= statement.through)
}

/// The agent's dates and versions, against what no stranger can influence: the day of the entrustment, the statement's
/// own date, and the routing table.
fn check_times(
    snapshot: &Snapshot,
    message: &Counted,
    statement: &Statement,
    bench: Bench<'_>,
) -> Result<(), Objection> {
    let stored_at = message.carriage.stored_at;
    let earliest = snapshot.entrustment.entrusted_at.saturating_sub(CLOCK_TOLERANCE_S);
    let latest = statement.at.min(bench.now).saturating_add(CLOCK_TOLERANCE_S);
    if stored_at < earliest || stored_at > latest {
        return Err(Objection::StoredAt { seq: message.seq, stored_at, earliest, latest });
    }
    let version = message.carriage.tariff_version;
    if !bench.schedule.was_in_force(version, stored_at, CLOCK_TOLERANCE_S) {
        return Err(Objection::NotInForce { seq: message.seq, version, stored_at });
    }
    Ok(())
}

/// Whether a message's dates contradict each other: stored before it was sent. The sender's clock may be wrong and the
/// sender may lie, so this is a doubt to be shown and not a reason to refuse: else any stranger could keep a customer
/// from ever paying its agent.
pub fn doubt(stored_at: u64, sent_at_ms: u64) -> Option<String> {
    let sent_at = sent_at_ms / 1000;
    (stored_at.saturating_add(CLOCK_TOLERANCE_S) < sent_at)
        .then(|| format!("the agent says it was stored at {stored_at}, its sender says it was sent at {sent_at}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use alloy::primitives::Address;
    use minus_bindings::Amount;
    use minus_protocol::{Carriage, total};
    use proptest::prelude::*;

    use super::*;
    use crate::chain::schedule::Period;
    use crate::store::records::{Account, Entrustment, SignedStatement};

    const WALLET: Address = Address::repeat_byte(1);
    const OTHER_WALLET: Address = Address::repeat_byte(2);
    const START: u64 = 1_700_000_000;
    const TARIFF: Tariff = Tariff { delivery: 40_000_000, relay: 20_000_000, storing: 90_000_000 };

    fn schedule() -> Schedule {
        Schedule::new([Period { version: 1, tariff: TARIFF, from: START - 1000 }])
    }

    fn units(value: u128) -> Amount {
        Amount::from_base_units(value).unwrap()
    }

    fn message(seq: u64, bytes: u64, stored_at: u64) -> Counted {
        Counted { seq, carriage: Carriage { bytes, stored_at, tariff_version: 1, relayed_in: seq.is_multiple_of(2) } }
    }

    fn snapshot(messages: Vec<Counted>) -> Snapshot {
        Snapshot {
            account: Account {
                payer: Address::repeat_byte(8),
                agent: Address::repeat_byte(9),
                operator: Address::repeat_byte(10),
                base: units(500),
                statement: 0,
                lines: Vec::new(),
            },
            entrustment: Entrustment {
                wallet: WALLET,
                agent: Address::repeat_byte(9),
                payer: Address::repeat_byte(8),
                entrusted_at: START,
                acknowledged_through: 0,
            },
            unconfirmed: None,
            messages,
        }
    }

    /// What an honest agent says.
    fn state(base: Amount, before: &[MeterLine], messages: &[Counted], at: u64, relayed_out: bool) -> Statement {
        let mut lines = before.to_vec();
        for message in messages {
            add_message(&mut lines, |_| Some(TARIFF), &message.carriage, at, relayed_out).unwrap();
        }
        let through = messages.last().map_or(0, |message| message.seq);
        Statement { number: 1, wallet: WALLET, through, at, base, total: total(base, &lines).unwrap(), lines }
    }

    fn bench(schedule: &Schedule, relayed_out: bool, now: u64) -> Bench<'_> {
        Bench { schedule, relayed_out, now }
    }

    #[test]
    fn refuses_each_line_by_its_name() {
        let messages = vec![message(1, 100_000_000, START + 5), message(2, 100_000_000, START + 6)];
        let snapshot = snapshot(messages.clone());
        let schedule = schedule();
        let at = START + 50;
        let honest = state(units(500), &[], &messages, at, false);
        let refused = |change: &dyn Fn(&mut Statement)| {
            let mut stated = honest.clone();
            change(&mut stated);
            judge(&snapshot, &stated, bench(&schedule, false, at)).unwrap_err().line()
        };
        assert_eq!(refused(&|s| s.wallet = OTHER_WALLET), "wallet");
        assert_eq!(refused(&|s| s.through = 3), "through");
        assert_eq!(refused(&|s| s.at = at + 121), "clock");
        assert_eq!(refused(&|s| s.base = units(501)), "base");
        assert_eq!(refused(&|s| s.lines[0].tariff.relay += 1), "tariff");
        assert_eq!(refused(&|s| s.lines[0].tariff_version = 2), "tariff");
        assert_eq!(refused(&|s| s.lines[0].meter.delivered += 1), "delivered");
        assert_eq!(refused(&|s| s.lines[0].meter.relayed += 1), "relayed");
        assert_eq!(refused(&|s| s.lines[0].meter.byte_seconds += 1), "byte-seconds");
        assert_eq!(refused(&|s| s.total = s.total.checked_add(units(1)).unwrap()), "total");
    }

    #[test]
    fn refuses_dates_that_no_stranger_can_have_caused() {
        let schedule = schedule();
        for (stored_at, line) in [(START - 121, "stored-at"), (START + 171, "stored-at")] {
            let messages = vec![message(1, 1000, stored_at)];
            let stated = state(units(500), &[], &messages, START + 50, false);
            let objection = judge(&snapshot(messages), &stated, bench(&schedule, false, START + 50)).unwrap_err();
            assert_eq!(objection.line(), line);
        }
    }

    #[test]
    fn refuses_a_tariff_that_was_not_in_force() {
        let later = Tariff { delivery: 1, ..TARIFF };
        let schedule = Schedule::new([
            Period { version: 1, tariff: TARIFF, from: START - 1000 },
            Period { version: 2, tariff: later, from: START + 10_000 },
        ]);
        let mut messages = vec![message(1, 1000, START + 5)];
        messages[0].carriage.tariff_version = 2;
        let stated = state(units(500), &[], &messages, START + 50, false);
        let objection = judge(&snapshot(messages), &stated, bench(&schedule, false, START + 50)).unwrap_err();
        assert!(matches!(objection, Objection::NotInForce { version: 2, .. }));
    }

    #[test]
    fn refuses_a_relay_leg_that_there_was_not() {
        let schedule = schedule();
        let messages = vec![message(1, 1000, START + 5)];
        let stated = state(units(500), &[], &messages, START + 50, true);
        let objection = judge(&snapshot(messages), &stated, bench(&schedule, false, START + 50)).unwrap_err();
        assert_eq!(objection.line(), "relayed");
    }

    #[test]
    fn a_sender_with_a_wrong_clock_raises_a_doubt_only() {
        assert!(doubt(START, (START + 120) * 1000).is_none());
        assert!(doubt(START, (START + 121) * 1000).is_some());
    }

    #[test]
    fn less_than_was_counted_is_signed_and_nothing_taken_for_booked() {
        let schedule = schedule();
        let messages = vec![message(1, 100_000_000, START + 5), message(3, 100_000_000, START + 6)];
        let mut snapshot = snapshot(messages.clone());
        let first = state(units(500), &[], &messages[..1], START + 20, false);
        snapshot.unconfirmed = Some(SignedStatement {
            number: 1,
            wallet: WALLET,
            through: 1,
            at: first.at,
            total: first.total,
            lines: first.lines.clone(),
        });
        // Without the second message, as if it had expired at the agent.
        let mut less = state(units(500), &[], &messages[..1], START + 20, false);
        less.through = 3;
        let agreement = judge(&snapshot, &less, bench(&schedule, false, START + 50)).unwrap();
        assert_eq!(agreement, Agreement { confirmed: false, exact: false });
        // Both could be: the same second, nothing new. Then it is not taken for booked.
        let same = state(units(500), &[], &messages[..1], START + 20, false);
        let agreement = judge(&snapshot, &same, bench(&schedule, false, START + 50)).unwrap();
        assert_eq!(agreement, Agreement { confirmed: false, exact: true });
    }

    proptest! {
        /// An honest agent is signed exactly, whichever of the two things became of the last statement.
        #[test]
        fn an_honest_agent_is_agreed_with(
            sizes in proptest::collection::vec((1_u64..1_000_000, 0_u64..1000), 1..20),
            cut in 0_usize..20,
            relayed_out in any::<bool>(),
            booked in any::<bool>(),
            other_wallet in any::<bool>(),
        ) {
            let schedule = schedule();
            let messages: Vec<Counted> =
                (1..).zip(&sizes).map(|(seq, (bytes, after))| message(seq, *bytes, START + after)).collect();
            let cut = cut.min(messages.len() - 1);
            let mut snapshot = snapshot(messages.clone());
            // The statement signed before covered either the first messages, or another wallet's.
            let first = if other_wallet {
                let foreign = state(units(500), &[], &[message(7, 5000, START)], START + 1500, relayed_out);
                Statement { wallet: OTHER_WALLET, ..foreign }
            } else {
                state(units(500), &[], &messages[..cut], START + 1500, relayed_out)
            };
            snapshot.unconfirmed = Some(SignedStatement {
                number: 1,
                wallet: first.wallet,
                through: first.through,
                at: first.at,
                total: first.total,
                lines: first.lines.clone(),
            });
            let at = START + 2000;
            let second = if booked {
                let left = if other_wallet { &messages[..] } else { &messages[cut..] };
                state(units(500), &first.lines, left, at, relayed_out)
            } else {
                state(units(500), &[], &messages, at, relayed_out)
            };
            let agreement = judge(&snapshot, &second, bench(&schedule, relayed_out, at)).unwrap();
            prop_assert!(agreement.exact);
            let is_plain = first.lines.is_empty();
            prop_assert!(agreement.confirmed == booked || is_plain);
        }

        /// Whatever an agent adds is never signed.
        #[test]
        fn more_than_was_counted_is_never_signed(
            sizes in proptest::collection::vec((1_u64..1_000_000, 0_u64..1000), 1..20),
            delivered in 0_u128..3, relayed in 0_u128..3, byte_seconds in 0_u128..3,
        ) {
            prop_assume!(delivered + relayed + byte_seconds > 0);
            let schedule = schedule();
            let messages: Vec<Counted> =
                (1..).zip(&sizes).map(|(seq, (bytes, after))| message(seq, *bytes, START + after)).collect();
            let mut stated = state(units(500), &[], &messages, START + 2000, false);
            stated.lines[0].meter.delivered += delivered;
            stated.lines[0].meter.relayed += relayed;
            stated.lines[0].meter.byte_seconds += byte_seconds;
            stated.total = total(units(500), &stated.lines).unwrap();
            prop_assert!(judge(&snapshot(messages), &stated, bench(&schedule, false, START + 2000)).is_err());
        }
    }
}
