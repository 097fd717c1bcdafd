//! Charges as the planner sees them: like vouchers whose lane holds no more than the payer's mandate bears now.

use alloy::eips::BlockId;
use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};

use crate::chain::{LaneQuestion, MandateView};
use crate::sender::{Moment, SendError, Sender};
use crate::store::{LaneView, OpenCharge, OpenVoucher};

/// Where a charge stands on the chain.
#[derive(Debug)]
pub enum Standing {
    /// Its lane has paid as much, under enough blocks.
    Paid {
        /// Its row.
        id: i64,
        /// What its lane has paid.
        paid: Amount,
    },
    /// To be planned, in the planner's terms.
    Open(Box<OpenVoucher>),
}

/// Reads what decisions about charges rest on.
///
/// # Errors
/// When the chain does not answer.
pub async fn read(sender: &Sender, open: Vec<OpenCharge>, moment: &Moment) -> Result<Vec<Standing>, SendError> {
    let lanes: Vec<(Address, Address)> = open.iter().map(|open| (open.charge.payer, open.charge.payee)).collect();
    // Whether the payee's delegate is still one, simulation tells; the payer's own word on its lane needs none.
    let own = |(payer, payee): &(Address, Address)| LaneQuestion { payer: *payer, payee: *payee, signer: *payer };
    let questions: Vec<LaneQuestion> = lanes.iter().map(own).collect();
    let views = sender.chain.lane_views(&moment.head, &questions, moment.now).await?;
    let mandates = sender.chain.mandates(&moment.head, &lanes).await?;
    let deep = moment.final_block(sender.confirmations);
    // Before the escrow's first block, or a node that keeps no old state: a later look shows it.
    let deep_paid = match views.iter().zip(&open).any(|((view, _), open)| view.paid >= open.charge.cumulative) {
        true => sender.chain.lanes_paid(BlockId::number(deep), &lanes).await.unwrap_or_default(),
        false => Vec::new(),
    };
    let mut deep_paid = deep_paid.into_iter();
    Ok(open
        .into_iter()
        .zip(views.into_iter().zip(mandates))
        .map(|(open, ((view, _), mandate))| match deep_paid.next() {
            Some(paid) if paid >= open.charge.cumulative => Standing::Paid { id: open.id, paid },
            _ => Standing::Open(Box::new(as_voucher(open, borne(view, mandate)))),
        })
        .collect())
}

fn as_voucher(open: OpenCharge, view: LaneView) -> OpenVoucher {
    OpenVoucher {
        id: open.id,
        voucher: SignedVoucher::from_row(open.charge.payee, &open.charge.to_row()),
        signer: open.signer,
        recorded_at: open.recorded_at,
        retry_at: open.retry_at,
        asked: open.asked,
        held: open.held,
        closing_claimed_at: open.charged_at,
        failures: 0,
        exposed: false,
        set_off: None,
        backs: false,
        view,
    }
}

/// The lane as far as the mandate bears charges on it.
fn borne(view: LaneView, mandate: MandateView) -> LaneView {
    let deposit = view.deposit.min(mandate.chargeable);
    let open = view.open.min(mandate.chargeable.saturating_sub(deposit));
    LaneView { deposit, open, ..view }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_worth_what_the_mandate_bears_and_the_lane_holds() {
        let units = |units| Amount::from_base_units(units).unwrap();
        let view = LaneView { deposit: units(30), open: units(20), paid: units(5), ..LaneView::default() };
        let claimable = |chargeable, cumulative| {
            let mandate = MandateView { valid_until: 1, chargeable: units(chargeable) };
            borne(view, mandate).claimable(units(cumulative)).base_units()
        };
        assert_eq!(claimable(0, 100), 0);
        assert_eq!(claimable(10, 100), 10);
        assert_eq!(claimable(40, 100), 40, "the open balance bears the rest");
        assert_eq!(claimable(1_000, 100), 50, "no more than there is");
        assert_eq!(claimable(1_000, 12), 7, "no more than is asked for");
    }
}
