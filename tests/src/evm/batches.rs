//! Verbs for what pays: batches of vouchers and of charges, handed in and read back.

use alloy::primitives::{Address, Bytes};
use minus_bindings::{Amount, IPrepaymentEscrow, PrepaymentEscrow, RowResult, SignedCharge, SignedVoucher, row};

use super::actor::Actor;
use super::outcome::{Receipt, Refusal};
use super::world::{Contract, World, units};

/// How a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What the payee was credited.
    pub total: Amount,
    /// One result a row.
    pub results: Vec<RowResult>,
    /// Payer and amount of each row that paid, from the event; empty when there was none.
    pub payments: Vec<(Address, Amount)>,
    /// Gas of the whole transaction.
    pub gas_used: u64,
}

impl World {
    /// A voucher of `payer` to `payee`, signed by the payer.
    #[must_use]
    pub fn voucher(&self, payer: &Actor, payee: Address, cumulative: u128) -> SignedVoucher {
        SignedVoucher::sign(payer.address(), payee, units(cumulative), &self.escrow_domain(), &payer.signer)
    }

    /// A charge by `payee` of its mandate from `payer`, signed by the payee.
    #[must_use]
    pub fn charge_of(&self, payer: Address, payee: &Actor, cumulative: u128) -> SignedCharge {
        SignedCharge::sign(payer, payee.address(), units(cumulative), &self.escrow_domain(), &payee.signer)
    }

    /// A voucher of the wallet at `payer` to `payee`, signed by `signer` for it.
    #[must_use]
    pub fn contract_voucher(
        &self,
        payer: Address,
        payee: Address,
        cumulative: u128,
        signer: &Actor,
    ) -> IPrepaymentEscrow::ContractVoucher {
        let signed = SignedVoucher::sign(payer, payee, units(cumulative), &self.escrow_domain(), &signer.signer);
        IPrepaymentEscrow::ContractVoucher {
            payer,
            cumulative: signed.cumulative.to_u96(),
            signature: Bytes::copy_from_slice(&signed.signature),
        }
    }

    /// Claims a batch.
    ///
    /// # Errors
    /// When the escrow refuses the batch as a whole.
    pub fn claim(&mut self, by: &Actor, payee: Address, vouchers: &[SignedVoucher]) -> Result<Claim, Refusal> {
        self.claim_rows(by, payee, row::pack(vouchers))
    }

    /// Claims any bytes.
    ///
    /// # Errors
    /// When the escrow refuses them as a whole.
    ///
    /// # Panics
    /// When what the escrow answers does not read, or its event and its return differ.
    pub fn claim_rows(&mut self, by: &Actor, payee: Address, rows: Bytes) -> Result<Claim, Refusal> {
        let receipt = self.call(by, Contract::Escrow, PrepaymentEscrow::claimCall { payee, rows })?;
        Ok(one_batch(payee, Amount::from(receipt.value.total), &receipt.value.results, &receipt))
    }

    /// Charges a batch.
    ///
    /// # Errors
    /// When the escrow refuses the batch as a whole.
    ///
    /// # Panics
    /// As [`Self::claim_rows`].
    pub fn charge(&mut self, by: &Actor, payee: Address, charges: &[SignedCharge]) -> Result<Claim, Refusal> {
        let call = PrepaymentEscrow::chargeCall { payee, rows: row::pack(charges) };
        let receipt = self.call(by, Contract::Escrow, call)?;
        Ok(one_batch(payee, Amount::from(receipt.value.total), &receipt.value.results, &receipt))
    }

    /// Claims vouchers of wallets that are contracts.
    ///
    /// # Errors
    /// When the escrow refuses the batch as a whole.
    ///
    /// # Panics
    /// As [`Self::claim_rows`].
    pub fn claim_from_contracts(
        &mut self,
        by: &Actor,
        payee: Address,
        vouchers: Vec<IPrepaymentEscrow::ContractVoucher>,
    ) -> Result<Claim, Refusal> {
        let call = PrepaymentEscrow::claimFromContractsCall { payee, vouchers };
        let receipt = self.call(by, Contract::Escrow, call)?;
        Ok(one_batch(payee, Amount::from(receipt.value.total), &receipt.value.results, &receipt))
    }

    /// Claims several batches, one after the other.
    ///
    /// # Errors
    /// When the escrow refuses all of them.
    ///
    /// # Panics
    /// As [`Self::claim_rows`].
    pub fn settle(&mut self, by: &Actor, batches: &[(Address, &[SignedVoucher])]) -> Result<Vec<Claim>, Refusal> {
        let batches_: Vec<_> = batches
            .iter()
            .map(|(payee, vouchers)| IPrepaymentEscrow::Batch { payee: *payee, rows: row::pack(vouchers) })
            .collect();
        let receipt = self.call(by, Contract::Escrow, PrepaymentEscrow::settleCall { batches: batches_ })?;

        let mut events = events(&receipt).into_iter();
        let mut claims = Vec::with_capacity(batches.len());
        assert_eq!((receipt.value.totals.len(), receipt.value.results.len()), (batches.len(), batches.len()));
        for (((payee, _), total), results) in batches.iter().zip(&receipt.value.totals).zip(&receipt.value.results) {
            let total = Amount::from(*total);
            let event = if total.is_zero() { None } else { events.next() };
            claims.push(read(*payee, total, results, event, receipt.gas_used));
        }
        assert_eq!(events.next(), None, "one event for each batch that paid");
        Ok(claims)
    }
}

fn events<R>(receipt: &Receipt<R>) -> Vec<PrepaymentEscrow::Claimed> {
    receipt.events().into_iter().map(|(_, event)| event).collect()
}

fn one_batch<R>(payee: Address, total: Amount, results: &Bytes, receipt: &Receipt<R>) -> Claim {
    let mut events = events(receipt);
    assert!(events.len() <= 1, "one batch gave {} events", events.len());
    read(payee, total, results, events.pop(), receipt.gas_used)
}

fn read(
    payee: Address,
    total: Amount,
    results: &Bytes,
    event: Option<PrepaymentEscrow::Claimed>,
    gas_used: u64,
) -> Claim {
    let results = row::parse_results(results).expect("the escrow gives known results");
    let payments = match event {
        None => {
            assert!(total.is_zero(), "a batch that paid says so");
            vec![]
        }
        Some(event) => {
            assert_eq!((event.payee, Amount::from(event.total)), (payee, total));
            row::parse_payments(&event.payments).expect("the escrow packs payments")
        }
    };
    assert_eq!(Amount::checked_sum(payments.iter().map(|(_, paid)| *paid)), Some(total));
    Claim { total, results, payments, gas_used }
}
