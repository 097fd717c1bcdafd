//! What the transactions of one gas key carry that wait too long, and what waits behind their nonces: a lane may begin to
//! close after its claim was sent, and a claim of one that closes gets into no block before all those with lower nonces.

use std::collections::HashMap;

use minus_bindings::Amount;

use crate::chain::LaneQuestion;
use crate::fees::{Carries, Stuck};
use crate::plan::is_closing;
use crate::sender::{Moment, SendError, Sender};
use crate::store::{ClaimedRow, LaneView, LiveTransaction};

/// What is to be known of one that waits.
#[derive(Debug)]
struct Load {
    nonce: u64,
    carries: Carries,
    gas_limit: u64,
}

/// The transactions of one gas key that no block holds, by their rows' ids. Empty while none of them waits too long.
#[derive(Debug, Default)]
pub struct Loads(HashMap<i64, Load>);

impl Loads {
    /// Reads what the lanes of a key's waiting transactions are like now, if one of these waits too long.
    ///
    /// # Errors
    /// When the chain does not answer or the log fails.
    pub async fn read(sender: &Sender, live: &[LiveTransaction], moment: &Moment) -> Result<Self, SendError> {
        let waiting: Vec<_> = live.iter().filter(|live| live.mined_in.is_none()).collect();
        if !waiting.iter().any(|live| sender.is_stuck(live, moment)) {
            return Ok(Self::default());
        }
        let mut loads = HashMap::with_capacity(waiting.len());
        for live in waiting {
            let cancels = live.attempts.first().is_some_and(|newest| newest.cancels);
            let carries = if cancels { Carries::Nothing } else { carried(sender, live, moment).await? };
            loads.insert(live.id, Load { nonce: live.nonce, carries, gas_limit: live.gas_limit });
        }
        Ok(Self(loads))
    }

    /// What is to be done something about; none if nothing was read of it.
    #[must_use]
    pub fn stuck(&self, id: i64) -> Option<Stuck> {
        let Load { nonce, carries, gas_limit } = *self.0.get(&id)?;
        let at_stake = self.0.values().filter(|load| load.nonce >= nonce).map(|load| match load.carries {
            Carries::Closing(value) | Carries::Mixed(value) => value,
            Carries::Nothing | Carries::Settled | Carries::Worth(_) | Carries::Wanted => Amount::ZERO,
        });
        Some(Stuck { carries, at_stake: Amount::checked_sum(at_stake).unwrap_or(Amount::MAX), gas_limit })
    }
}

async fn carried(sender: &Sender, live: &LiveTransaction, moment: &Moment) -> Result<Carries, SendError> {
    let rows = sender.store.rows_of(live.id).await?;
    // A charge has the mandate that its payer signed: no signer of the payer's ends it.
    let signer = |row: &ClaimedRow| if row.reason.is_some() { row.signer } else { row.payer };
    let question = |row: &ClaimedRow| LaneQuestion { payer: row.payer, payee: live.payee, signer: signer(row) };
    let questions: Vec<LaneQuestion> = rows.iter().map(question).collect();
    let mut views = sender.chain.lane_views(&moment.head, &questions, moment.now).await?;
    // What it pays in front of a row, the row may take.
    let paid_first = sender.paid_first(live.id, moment).await?;
    for (row, (view, _)) in rows.iter().zip(&mut views) {
        let paid_first = paid_first.get(&row.payer).copied().unwrap_or_default();
        view.open = view.open.checked_add(paid_first).unwrap_or(Amount::MAX);
    }
    Ok(judge(rows.iter().zip(views.iter().map(|(view, _)| view)), moment))
}

fn judge<'r>(rows: impl Iterator<Item = (&'r ClaimedRow, &'r LaneView)>, moment: &Moment) -> Carries {
    let add = |sum: Amount, value| sum.checked_add(value).unwrap_or(Amount::MAX);
    let (mut value, mut closing) = (Amount::ZERO, Amount::ZERO);
    let (mut all_close, mut all_for_worth) = (true, true);
    for (row, view) in rows {
        // What a signer signed that is none any more moves nothing, and is worth no bid.
        let is_void = view.signer_ends_at != 0 && moment.now >= view.signer_ends_at;
        let moves = if is_void { Amount::ZERO } else { view.claimable(row.cumulative) };
        value = add(value, moves);
        // A row without a reason is a charge: what it can still move is its mandate's to say, not its lane's.
        let closes = !is_void
            && row.reason.is_some_and(|reason| {
                reason.is_closing() || is_closing(view, row.cumulative, moment.thaw_margin_s, moment.now)
            });
        if closes {
            closing = add(closing, moves);
        }
        all_close &= closes;
        all_for_worth &= row.reason.is_some_and(|reason| reason.is_for_worth());
    }
    match () {
        () if value.is_zero() => Carries::Settled,
        () if all_close => Carries::Closing(closing),
        () if !closing.is_zero() => Carries::Mixed(closing),
        () if all_for_worth => Carries::Worth(value),
        () => Carries::Wanted,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use alloy::primitives::Address;

    use super::*;
    use crate::chain::Head;
    use crate::fees::Tips;
    use crate::pace::Pace;
    use crate::store::Reason;

    const NOW: u64 = 1_000;
    const MARGIN_S: u64 = 100;

    fn tokens(text: &str) -> Amount {
        text.parse().unwrap()
    }

    /// What a transaction carries whose rows were claimed for that reason, and whose signers end then.
    fn carries(rows: &[(Option<Reason>, u64)]) -> Carries {
        let moment = Moment {
            question: 0,
            head: Head::default(),
            tips: Tips { calm: 0, usual: 0, urgent: 0 },
            pace: Pace::default(),
            keys: Vec::new(),
            now: NOW,
            thaw_margin_s: MARGIN_S,
            first: false,
        };
        let row = |(reason, signer_ends_at): &(Option<Reason>, u64)| {
            let (payer, signer) = (Address::repeat_byte(1), Address::repeat_byte(2));
            let row = ClaimedRow { payer, signer, cumulative: tokens("3"), reason: *reason, failures: 0 };
            let view = LaneView { deposit: tokens("9"), signer_ends_at: *signer_ends_at, ..LaneView::default() };
            (row, view)
        };
        let rows: Vec<(ClaimedRow, LaneView)> = rows.iter().map(row).collect();
        judge(rows.iter().map(|(row, view)| (row, view)), &moment)
    }

    #[test]
    fn what_a_signer_signed_closes_with_it_and_is_worth_nothing_afterwards() {
        let worth = Some(Reason::Worth);
        assert_eq!(carries(&[(worth, 0), (worth, NOW + MARGIN_S + 1)]), Carries::Worth(tokens("6")));
        assert_eq!(carries(&[(worth, NOW + MARGIN_S)]), Carries::Closing(tokens("3")));
        assert_eq!(carries(&[(worth, 0), (worth, NOW + 1)]), Carries::Mixed(tokens("3")));
        for ended in [1, NOW] {
            assert_eq!(carries(&[(worth, ended)]), Carries::Settled, "no bid for what moves nothing");
            assert_eq!(carries(&[(Some(Reason::SignerEnding), ended)]), Carries::Settled);
            assert_eq!(carries(&[(worth, 0), (worth, ended)]), Carries::Worth(tokens("3")), "not for the dead one");
        }
        assert_eq!(carries(&[(None, 0)]), Carries::Wanted, "a charge");
    }
}
