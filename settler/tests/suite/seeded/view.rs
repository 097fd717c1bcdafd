//! Answers as an endpoint gives them that is behind, that misjudges fees, or that lies. Pure.

use alloy::primitives::{hex, keccak256};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

fn hexadecimal(number: u64) -> Value {
    json!(format!("{number:#x}"))
}

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// Which parameter of a question names the block.
fn block_parameter(method: &str) -> Option<usize> {
    match method {
        "eth_getBlockByNumber" => Some(0),
        "eth_call" | "eth_estimateGas" | "eth_getBalance" | "eth_getTransactionCount" | "eth_getCode" => Some(1),
        _ => None,
    }
}

/// The same question, of this block where it was of the last one or of a later one.
pub(super) fn asked_at(request: &Value, at: u64) -> Value {
    let mut asked = request.clone();
    let Some(index) = request["method"].as_str().and_then(block_parameter) else { return asked };
    let Some(parameters) = asked["params"].as_array_mut() else { return asked };
    match parameters.get_mut(index) {
        Some(block) if block.is_string() && number(block).is_none_or(|block| block > at) => *block = hexadecimal(at),
        Some(_) => {}
        None => parameters.push(hexadecimal(at)),
    }
    asked
}

/// An endpoint that stands at this block knows no receipt of a later one.
pub(super) fn hide_later(request: &Value, answer: &mut Value, at: u64) {
    match request["method"].as_str() {
        Some("eth_getTransactionReceipt" | "eth_getTransactionByHash")
            if number(&answer["result"]["blockNumber"]).is_some_and(|block| block > at) =>
        {
            answer["result"] = Value::Null;
        }
        Some("eth_blockNumber") => answer["result"] = hexadecimal(at),
        _ => {}
    }
}

/// Fees a hundred times as high.
pub(super) fn spike(request: &Value, answer: &mut Value) {
    let fee = match request["method"].as_str() {
        Some("eth_getBlockByNumber") => &mut answer["result"]["baseFeePerGas"],
        _ => &mut answer["result"],
    };
    if let Some(usual) = number(fee) {
        *fee = hexadecimal(usual.saturating_mul(100));
    }
}

/// Makes up what money rests on: receipts, lanes, balances, nonces. Says whether it did.
pub(super) fn lie(request: &Value, answer: &mut Value, random: &mut StdRng) -> bool {
    if answer["error"].is_object() || random.random_bool(0.5) {
        return false;
    }
    match request["method"].as_str() {
        Some("eth_getTransactionReceipt") => {
            answer["result"] = match answer["result"].take() {
                Value::Object(mut receipt) => {
                    let failed = receipt["status"] == "0x0";
                    receipt.insert("status".into(), json!(if failed { "0x1" } else { "0x0" }));
                    if random.random_bool(0.5) { Value::Null } else { Value::Object(receipt) }
                }
                other => other,
            };
        }
        Some("eth_call") => {
            let Some(result) = answer["result"].as_str().and_then(|text| hex::decode(text).ok()) else { return false };
            // Words of numbers: all nothing, or all the most that a lane holds.
            let word = if random.random_bool(0.5) {
                [0; 32]
            } else {
                [[0; 20].as_slice(), &[0xff; 12]].concat().try_into().unwrap()
            };
            answer["result"] = json!(hex::encode_prefixed(word.repeat(result.len() / 32)));
        }
        Some("eth_getBalance") => answer["result"] = json!("0x0"),
        Some("eth_getTransactionCount") => {
            let count = number(&answer["result"]).unwrap_or(0);
            answer["result"] = hexadecimal(count + random.random_range(1..5));
        }
        _ => return false,
    }
    true
}

/// What an endpoint answers that accepted these bytes.
pub(super) fn hash_of(request: &Value) -> Option<String> {
    let raw = hex::decode(request["params"][0].as_str()?).ok()?;
    Some(keccak256(raw).to_string())
}

#[test]
fn an_endpoint_that_is_behind_is_asked_of_its_own_block_and_older_ones_are_left() {
    let call = |block: &str| json!({ "method": "eth_call", "params": [{}, block] });
    assert_eq!(asked_at(&call("latest"), 16)["params"][1], "0x10");
    assert_eq!(asked_at(&call("0x20"), 16)["params"][1], "0x10");
    assert_eq!(asked_at(&call("0x2"), 16)["params"][1], "0x2");
    let estimate = json!({ "method": "eth_estimateGas", "params": [{}] });
    assert_eq!(asked_at(&estimate, 16)["params"][1], "0x10");
    let receipt = json!({ "method": "eth_getTransactionReceipt", "params": ["0x00"] });
    let mut answer = json!({ "result": { "blockNumber": "0x11" } });
    hide_later(&receipt, &mut answer, 17);
    assert!(answer["result"].is_object());
    hide_later(&receipt, &mut answer, 16);
    assert!(answer["result"].is_null());
}
