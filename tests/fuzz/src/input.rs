//! Bytes read as numbers and values, in order; where they end, zeros follow. So each input is some structured value, and
//! a changed byte changes one thing of it.

use alloy::primitives::Address;
use minus_bindings::{Amount, SignedVoucher};
use minus_protocol::{CommandBody, MeterLine, Tariff};

pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_at(self.0.len().min(N));
        self.0 = rest;
        let mut array = [0; N];
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    pub(crate) fn number(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    pub(crate) fn amount(&mut self) -> Amount {
        Amount::from_base_units(u128::from_be_bytes(self.array()) >> 40).expect("88 bits are within 96")
    }

    pub(crate) fn tariff(&mut self) -> Tariff {
        Tariff { delivery: self.number() >> 24, relay: self.number() >> 24, storing: self.number() >> 24 }
    }

    /// All that is left.
    pub(crate) const fn rest(&mut self) -> &'a [u8] {
        let rest = self.0;
        self.0 = &[];
        rest
    }

    pub(crate) fn command(&mut self) -> CommandBody {
        match self.byte() % 6 {
            0 => CommandBody::Entrust {
                payer: Address::from(self.array()),
                base: self.amount(),
                consent: (self.byte() % 2 == 1).then(|| self.array()),
            },
            1 => CommandBody::Subscribe { resume_after: self.number() },
            2 => CommandBody::Acknowledge {
                statement: self.number(),
                voucher: SignedVoucher::from_row(Address::from(self.array()), &self.array()),
            },
            3 => CommandBody::Statement,
            4 => CommandBody::OpenPeerSession,
            _ => CommandBody::RequestVoucher {
                inbound_bytes: u128::from_be_bytes(self.array()),
                outbound_bytes: u128::from_be_bytes(self.array()),
            },
        }
    }

    /// The id and the plaintext of one frame: a message, something padded, or anything at all.
    pub(crate) fn frame(&mut self) -> (Option<u64>, Vec<u8>) {
        let form = self.byte();
        let seq = u64::from(self.byte());
        let len = usize::from(self.byte()).min(self.0.len());
        let (content, rest) = self.0.split_at(len);
        self.0 = rest;
        match form % 4 {
            0 => {
                let mut plaintext = vec![1];
                plaintext.extend_from_slice(&seq.to_be_bytes());
                plaintext.extend_from_slice(&[0; 8]);
                plaintext.extend_from_slice(&[0, 0, 0, 1, form >> 7]);
                plaintext.extend_from_slice(content);
                (Some(seq), plaintext)
            }
            1 | 2 => {
                let mut plaintext = vec![form % 4 + 1];
                plaintext.extend_from_slice(&super::sealed::padded(content, 1024));
                (None, plaintext)
            }
            _ => ((seq % 2 == 1).then_some(seq), content.to_vec()),
        }
    }

    /// Changes something of a statement's lines.
    pub(crate) fn change(&mut self, lines: &mut Vec<MeterLine>) {
        let (place, what, by) = (usize::from(self.byte()), self.byte(), u128::from(self.byte()));
        if lines.is_empty() {
            return;
        }
        let place = place % lines.len();
        let line = &mut lines[place];
        match what % 8 {
            0 => line.meter.delivered = line.meter.delivered.saturating_sub(by),
            1 => line.meter.delivered = line.meter.delivered.saturating_add(by),
            2 => line.meter.relayed = line.meter.relayed.saturating_sub(by),
            3 => line.meter.relayed = line.meter.relayed.saturating_add(by),
            4 => line.meter.byte_seconds = line.meter.byte_seconds.wrapping_sub(by),
            5 => line.tariff.delivery = line.tariff.delivery.wrapping_add(1),
            6 => {
                lines.remove(place);
            }
            _ => lines.push(lines[place]),
        }
    }
}
