//! Reading many things of one contract in one call, and trying a transaction: two little programs that stand nowhere.
//! They are put at an address for the time of an `eth_call` (a state override, which all usual nodes know), so that a
//! plan over thousands of lanes costs a few requests and all of it is of one block.

use alloy::primitives::{Address, B256, Bytes, U256, hex};

/// Where the programs stand for the time of a call: bytes that nobody has a key for.
pub(super) const SCRATCH: Address = Address::new(*b"layer-minus/1 reader");

/// The selector and two addresses: all that the escrow's views of lanes, delegates and mandates take.
pub(super) const QUESTION_BYTES: usize = 68;
/// Six words: the longest of their answers. A shorter one is followed by zeros.
pub(super) const ANSWER_BYTES: usize = 192;
/// Questions of one call: at below 20,000 gas each, half of what nodes allow a call.
pub(super) const QUESTIONS_MAX: usize = 512;

/// Asks the contract that the first word names each of the questions that follow; reverts if one of them does.
///
/// ```text
/// 00 push1 60  push1 20                                     ; out = 0x60, in = 0x20
/// 04 jumpdest  dup1 calldatasize gt iszero push1 2d jumpi   ; while in < calldatasize
/// 0c push1 44  dup2 push0 calldatacopy                      ;   memory[0..68] = calldata[in..]
/// 11 push1 c0  dup3 push1 44 push0 push0 calldataload gas   ;   to the contract, answer to memory[out..]
/// 1a staticcall push1 21 jumpi push0 push0 revert
/// 21 jumpdest  push1 44 add swap1 push1 c0 add swap1        ;   in += 68, out += 192
/// 2a push1 04  jump
/// 2d jumpdest  pop push1 60 swap1 sub push1 60 return       ; memory[0x60..out]
/// ```
pub(super) const READER: &[u8] = &hex!(
    "606060205b80361115602d576044815f3760c08260445f5f355afa6021575f5ffd5b6044019060c001906004565b50606090036060f3"
);

/// Calls the contract that the first word names with the bytes that follow: gas used, did it succeed, what it said.
///
/// ```text
/// 00 push1 20  calldatasize sub dup1 push1 20 push0 calldatacopy   ; memory[0..length] = calldata[32..]
/// 09 gas swap1 push0 push0 swap2 push0 push0 push0 calldataload gas call
/// 14 gas swap1 swap2 sub push0 mstore                              ; gas before less gas after
/// 1a push1 20  mstore                                              ; success
/// 1d returndatasize push0 push1 40 returndatacopy
/// 22 returndatasize push1 40 add push0 return
/// ```
pub(super) const TRIER: &[u8] =
    &hex!("602036038060205f375a905f5f915f5f5f355af15a9091035f526020523d5f60403e3d6040015ff3");

/// What a transaction costs before it runs.
const TRANSACTION_GAS: u64 = 21_000;
/// Calldata: gas of a zero byte, and how many of them another byte is worth (EIP-2028).
const BYTE_GAS: u64 = 4;
const NONZERO_BYTES: u64 = 4;
/// The least that such a byte costs, whatever the transaction does (EIP-7623).
const FLOOR_GAS: u64 = 10;

/// What a tried call said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tried {
    /// Gas that the call used, its calldata not counted.
    pub(super) gas: u64,
    /// Did it not revert?
    pub(super) succeeded: bool,
    /// What it returned.
    pub(super) output: Bytes,
}

/// The input of [`READER`] or [`TRIER`].
pub(super) fn input<'a>(contract: Address, parts: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    let mut input = B256::left_padding_from(contract.as_slice()).to_vec();
    parts.into_iter().for_each(|part| input.extend_from_slice(part));
    input.into()
}

/// The answers of [`READER`], or nothing if they are not as many as there were questions.
pub(super) fn answers(output: &[u8], questions: usize) -> Option<Vec<[u8; ANSWER_BYTES]>> {
    let (answers, rest) = output.as_chunks::<ANSWER_BYTES>();
    (rest.is_empty() && answers.len() == questions).then(|| answers.to_vec())
}

/// The answer of [`TRIER`].
pub(super) fn tried(output: &Bytes) -> Option<Tried> {
    let word = |at: usize| output.get(at..at + 32).map(U256::from_be_slice);
    let gas = u64::try_from(word(0)?).ok()?;
    Some(Tried { gas, succeeded: word(32)? == U256::from(1), output: output.slice(64..) })
}

/// What a transaction with this input costs when the call itself uses so much.
pub(super) fn transaction_gas(input: &[u8], call: u64) -> u64 {
    let length = u64::try_from(input.len()).unwrap_or(u64::MAX);
    let zeros = u64::try_from(input.iter().filter(|byte| **byte == 0).count()).unwrap_or(0);
    let tokens = zeros + (length - zeros) * NONZERO_BYTES;
    TRANSACTION_GAS + (tokens * BYTE_GAS + call).max(tokens * FLOOR_GAS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transactions_gas_is_what_ethereum_says() {
        assert_eq!(transaction_gas(&[], 0), 21_000);
        assert_eq!(transaction_gas(&[0, 1, 2], 1_000), 21_000 + 4 + 16 + 16 + 1_000);
        assert_eq!(transaction_gas(&[1; 100], 0), 21_000 + 100 * 40, "the floor");
    }

    #[test]
    fn refuses_an_answer_of_another_length() {
        assert!(answers(&[0; 2 * ANSWER_BYTES], 2).is_some());
        assert!(answers(&[0; ANSWER_BYTES], 2).is_none());
        assert!(answers(&[0; 2 * ANSWER_BYTES + 1], 2).is_none());
        assert!(tried(&Bytes::from_static(&[0; 63])).is_none());
    }
}
