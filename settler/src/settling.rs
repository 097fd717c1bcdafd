//! What the engine does about debts to relays: it keeps an eye on the money behind them. What somebody else claimed, the
//! lanes tell at the next reading, whoever it was.

use crate::chain::LaneQuestion;
use crate::clock::now_s;
use crate::engine::Engine;
use crate::sender::{Moment, SendError};
use crate::store::{Debt, LaneView};

/// Debts read from the chain in one look: one call in ten of those for vouchers.
const REFRESH_MAX: u32 = 600;

impl Engine {
    /// Reads the lanes of debts anew whose view has become old.
    pub(crate) async fn refresh_debts(&self, moment: &Moment) -> Result<(), SendError> {
        let sender = &self.sender;
        let now = now_s();
        let seen_before = now.saturating_sub(self.rhythm.lane_refresh.as_secs());
        let stale = sender.store.stale_debts(seen_before, now, REFRESH_MAX).await?;
        if stale.is_empty() {
            return Ok(());
        }
        let questions: Vec<LaneQuestion> = stale.iter().map(question).collect();
        let answers = sender.chain.lane_views(&moment.head, &questions, moment.now).await?;
        let views: Vec<(_, _, LaneView)> = questions
            .into_iter()
            .zip(answers)
            .map(|(question, (view, _))| (question.payer, question.payee, view))
            .collect();
        Ok(sender.store.put_debt_views(&views, now_s()).await?)
    }
}

fn question(debt: &Debt) -> LaneQuestion {
    LaneQuestion { payer: debt.voucher.payer, payee: debt.voucher.payee, signer: debt.signer }
}
