//! An RPC endpoint between node and chain, with moods.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Honest,
    /// As if no block above this one had come yet.
    Lagging(u64),
    /// Says that it is this chain.
    OtherChain(u64),
    /// Knows of no logs.
    Forgetful,
    /// Refuses to look for logs in more blocks at once than this.
    Narrow(u64),
    Garbage,
    Endless,
    /// Takes the question and never answers.
    Stalling,
}

#[derive(Clone)]
struct Shared {
    target: Arc<Mutex<Url>>,
    client: reqwest::Client,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

pub(crate) struct Proxy {
    pub(crate) url: Url,
    shared: Shared,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn new(target: &Url, mood: Mood) -> Self {
        let shared = Shared {
            target: Arc::new(Mutex::new(target.clone())),
            client: reqwest::Client::new(),
            mood: Arc::new(Mutex::new(mood)),
            asked: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let app = Router::new().route("/", post(answer)).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, task }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// Becomes another endpoint at the same address.
    pub(crate) fn lead_to(&self, target: &Url) {
        *self.shared.target.lock().unwrap() = target.clone();
    }

    /// The first blocks of the ranges whose logs were asked for since the last call.
    pub(crate) fn take_ranges(&self) -> Vec<u64> {
        let asked = std::mem::take(&mut *self.shared.asked.lock().unwrap());
        asked
            .iter()
            .filter(|(method, _)| method == "eth_getLogs")
            .map(|(_, params)| number(&params[0]["fromBlock"]))
            .collect()
    }
}

fn number(hex: &Value) -> u64 {
    u64::from_str_radix(hex.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

async fn answer(State(shared): State<Shared>, question: Bytes) -> Response {
    let question: Value = serde_json::from_slice(&question).unwrap();
    let (method, params) = (question["method"].as_str().unwrap().to_owned(), question["params"].clone());
    shared.asked.lock().unwrap().push((method.clone(), params.clone()));
    let mood = *shared.mood.lock().unwrap();
    let id = question["id"].clone();
    let result = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string().into_response();
    let refusal = |message: &str| {
        json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32000, "message": message } })
            .to_string()
            .into_response()
    };
    match (mood, method.as_str()) {
        (Mood::Garbage, _) => return "<html>all is well</html>".into_response(),
        (Mood::Endless, _) => {
            let zeros = Bytes::from(vec![b' '; 1 << 20]);
            return Body::from_stream(futures_util::stream::repeat_with(move || {
                Ok::<_, std::io::Error>(zeros.clone())
            }))
            .into_response();
        }
        (Mood::Stalling, _) => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            return refusal("too late");
        }
        (Mood::OtherChain(id), "eth_chainId") => return result(json!(format!("{id:#x}"))),
        (Mood::Forgetful, "eth_getLogs") => return result(json!([])),
        (Mood::Narrow(most), "eth_getLogs")
            if number(&params[0]["toBlock"]) - number(&params[0]["fromBlock"]) >= most =>
        {
            return refusal("query exceeds max block range");
        }
        (Mood::Lagging(head), "eth_blockNumber") => return result(json!(format!("{head:#x}"))),
        (Mood::Lagging(head), "eth_getBlockByNumber") if number(&params[0]) > head => return result(Value::Null),
        (Mood::Lagging(head), "eth_call") => {
            let at = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByHash",
                "params": [params[1]["blockHash"], false] });
            let block = ask(&shared, &at).await;
            if block["result"].is_null() || number(&block["result"]["number"]) > head {
                return refusal("header not found");
            }
        }
        _ => {}
    }
    ask(&shared, &question).await.to_string().into_response()
}

async fn ask(shared: &Shared, question: &Value) -> Value {
    let target = shared.target.lock().unwrap().clone();
    match shared.client.post(target).json(question).send().await {
        Ok(answer) => answer.json().await.unwrap(),
        Err(_) => Value::Null,
    }
}
