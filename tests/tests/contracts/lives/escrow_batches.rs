//! Batches, handed to the escrow and to its notebook, and compared row by row.

use alloy::primitives::Address;
use minus_bindings::{SignedCharge, SignedVoucher};
use minus_tests::evm::{Claim, Refusal, units};
use proptest::prelude::*;

use super::escrow::Pair;
use super::escrow_model::{self, Ended};
use super::escrow_steps::{Operation, Row};
use super::outcome::{Seen, same};

/// What both say of some batches.
struct Answers {
    ours: Result<Vec<Vec<Ended>>, escrow_model::Refused>,
    theirs: Result<Vec<Claim>, Refusal>,
}

impl Answers {
    /// Of one batch.
    fn one(ours: Result<Vec<Ended>, escrow_model::Refused>, theirs: Result<Claim, Refusal>) -> Self {
        Self { ours: ours.map(|ended| vec![ended]), theirs: theirs.map(|claim| vec![claim]) }
    }
}

impl Pair {
    pub(super) fn batch(&mut self, operation: &Operation, seen: &mut Seen) -> Result<(), TestCaseError> {
        let by = self.people[0].clone();
        match operation {
            Operation::Claim { payee, rows } => {
                let payee = self.address(*payee);
                let ours = self.model.claim(payee, &self.rows(rows));
                let vouchers = self.vouchers(payee, rows);
                let theirs = self.world.claim(&by, payee, &vouchers);
                self.same_batches(&[rows], Answers::one(ours, theirs), "a claim", seen)
            }
            Operation::ClaimFromContracts { payee, rows } => {
                let payee = self.address(*payee);
                let ours = self.model.claim_from_contracts(payee, &self.rows(rows));
                let vouchers = rows
                    .iter()
                    .map(|&(payer, signer, cumulative)| {
                        self.world.contract_voucher(self.address(payer), payee, cumulative, &self.people[signer])
                    })
                    .collect();
                let theirs = self.world.claim_from_contracts(&by, payee, vouchers);
                self.same_batches(&[rows], Answers::one(ours, theirs), "a wallet", seen)
            }
            Operation::Charge { payee, rows } => {
                let payee = self.address(*payee);
                let ours = self.model.charge(payee, &self.rows(rows));
                let domain = self.world.escrow_domain();
                let charges: Vec<_> = rows
                    .iter()
                    .map(|&(payer, signer, cumulative)| {
                        let signer = &self.people[signer].signer;
                        SignedCharge::sign(self.address(payer), payee, units(cumulative), &domain, signer)
                    })
                    .collect();
                let theirs = self.world.charge(&by, payee, &charges);
                self.same_batches(&[rows], Answers::one(ours, theirs), "a charge", seen)
            }
            Operation::Settle { batches } => {
                let model: Vec<_> =
                    batches.iter().map(|(payee, rows)| (self.address(*payee), self.rows(rows))).collect();
                let ours = self.model.settle(&model);
                let vouchers: Vec<_> = batches
                    .iter()
                    .map(|(payee, rows)| (self.address(*payee), self.vouchers(self.address(*payee), rows)))
                    .collect();
                let slices: Vec<_> = vouchers.iter().map(|(payee, vouchers)| (*payee, vouchers.as_slice())).collect();
                let theirs = self.world.settle(&by, &slices);
                let rows: Vec<_> = batches.iter().map(|(_, rows)| rows).collect();
                self.same_batches(&rows, Answers { ours, theirs }, "a settlement", seen)
            }
            _ => unreachable!("{operation:?} is no batch"),
        }
    }

    /// The same results and payments, row by row.
    fn same_batches(
        &self,
        rows: &[&Vec<Row>],
        Answers { ours, theirs }: Answers,
        how: &str,
        seen: &mut Seen,
    ) -> Result<(), TestCaseError> {
        if let Ok(ended) = &ours {
            seen.extend(ended.iter().flatten().map(|(result, _)| format!("{result:?}")));
            if ended.iter().flatten().any(|(_, paid)| *paid != 0) {
                seen.insert(format!("paid by {how}"));
            }
        }
        let ours = ours.map(|batches| {
            let claims = batches.iter().zip(rows).map(|(ended, rows)| {
                let results: Vec<_> = ended.iter().map(|(result, _)| *result).collect();
                let paid = rows.iter().zip(ended).filter(|(_, (_, paid))| *paid != 0);
                let payments: Vec<_> = paid.map(|(row, (_, paid))| (self.address(row.0), units(*paid))).collect();
                (results, payments)
            });
            claims.collect::<Vec<_>>()
        });
        let theirs =
            theirs.map(|claims| claims.into_iter().map(|claim| (claim.results, claim.payments)).collect::<Vec<_>>());
        same(ours, theirs, seen)
    }

    fn rows(&self, rows: &[Row]) -> Vec<escrow_model::Row> {
        let row = |&(payer, signer, cumulative): &Row| escrow_model::Row {
            payer: self.address(payer),
            signer: self.address(signer),
            cumulative,
        };
        rows.iter().map(row).collect()
    }

    fn vouchers(&self, payee: Address, rows: &[Row]) -> Vec<SignedVoucher> {
        let domain = self.world.escrow_domain();
        let sign = |&(payer, signer, cumulative): &Row| {
            let signer = &self.people[signer].signer;
            SignedVoucher::sign(self.address(payer), payee, units(cumulative), &domain, signer)
        };
        rows.iter().map(sign).collect()
    }
}
