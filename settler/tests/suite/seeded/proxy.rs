//! An endpoint in front of the real one that does what endpoints do wrong, and springs a trap when a request comes at
//! which the settler is to die.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use url::Url;

use super::fault::{Counts, Fault};
use super::view;

/// Longer than any caller waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(12);
/// One endpoint in so many has a timeout at all: each costs a caller its whole patience.
const TIMEOUT_EVERY: u64 = 50;
/// How long a request waits to be overtaken.
const OVERTAKEN_WITHIN: Duration = Duration::from_millis(150);
/// How far behind an endpoint may be, blocks.
const BEHIND_MAX: u64 = 8;

/// At which request the settler is to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Moment {
    /// Stored, and not yet sent.
    BeforeSend,
    /// Sent, and the answer not yet there.
    AfterSend,
    /// Sent, and the answer just there.
    Answered,
    /// Mined, and the receipt not yet there.
    BeforeReceipt,
    /// Mined, and the receipt just there.
    AfterReceipt,
    /// After so many requests of whatever kind.
    Request(u32),
}

struct Trap {
    at: Moment,
    sprung: Option<oneshot::Sender<()>>,
}

struct Fate {
    random: StdRng,
    stormy: bool,
    lies: bool,
    timeouts_left: u32,
    /// Behind at this block for so many more requests.
    stale: Option<(u64, u32)>,
    trap: Option<Trap>,
    counts: Counts,
}

struct Shared {
    behind: Url,
    /// No view is older than this: the contracts and the lanes are there.
    base: u64,
    http: reqwest::Client,
    fate: Mutex<Fate>,
    overtaken: Notify,
}

/// The endpoint. It ends with its owner.
pub(super) struct Proxy {
    pub(super) url: Url,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Proxy {
    pub(super) async fn start(behind: Url, base: u64, seed: u64, lies: bool) -> Self {
        let fate = Fate {
            random: StdRng::seed_from_u64(seed),
            stormy: true,
            lies,
            timeouts_left: u32::from(seed.is_multiple_of(TIMEOUT_EVERY)),
            stale: None,
            trap: None,
            counts: Counts::new(),
        };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let shared = Arc::new(Shared { behind, base, http, fate: Mutex::new(fate), overtaken: Notify::new() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let router = axum::Router::new().route("/", axum::routing::post(answer)).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, serving }
    }

    /// From now on it is a good endpoint. A liar goes on lying.
    pub(super) fn calm(&self) {
        let mut fate = self.shared.fate.lock().unwrap();
        (fate.stormy, fate.stale, fate.trap) = (false, None, None);
    }

    /// Tells when that moment has come. The request that brought it gets no answer before the settler is dead, except
    /// where the moment is just after the answer.
    pub(super) fn trap(&self, at: Moment) -> oneshot::Receiver<()> {
        let (sprung, told) = oneshot::channel();
        self.shared.fate.lock().unwrap().trap = Some(Trap { at, sprung: Some(sprung) });
        told
    }

    pub(super) fn counts(&self) -> Counts {
        self.shared.fate.lock().unwrap().counts.clone()
    }
}

impl Fate {
    fn choose(&mut self, method: &str) -> Option<Fault> {
        if !self.stormy {
            return None;
        }
        let fault = if method == "eth_sendRawTransaction" && self.timeouts_left > 0 && self.random.random_bool(0.2) {
            self.timeouts_left -= 1;
            Some(Fault::TimeoutAfter)
        } else {
            Fault::choose(&mut self.random, method)
        };
        if let Some(fault) = fault {
            *self.counts.entry(fault).or_default() += 1;
        }
        fault
    }

    /// Is this the moment? If so it is told, once.
    fn springs(&mut self, now: Moment) -> bool {
        let Some(trap) = &mut self.trap else { return false };
        if let (Moment::Request(left), Moment::Request(_)) = (&mut trap.at, now) {
            *left = left.saturating_sub(1);
            if *left > 0 {
                return false;
            }
        } else if trap.at != now {
            return false;
        }
        let told = trap.sprung.take().is_some_and(|sprung| sprung.send(()).is_ok());
        self.trap = None;
        told
    }
}

impl Shared {
    fn springs(&self, now: Moment) -> bool {
        self.fate.lock().unwrap().springs(now)
    }

    /// Hands a request on as it is.
    async fn forward(&self, request: &Value) -> Option<Value> {
        self.http.post(self.behind.clone()).json(request).send().await.ok()?.json().await.ok()
    }

    async fn head(&self) -> u64 {
        let asked = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": [] });
        let answer = self.forward(&asked).await.unwrap_or_default();
        answer["result"]
            .as_str()
            .and_then(|hex| u64::from_str_radix(hex.trim_start_matches("0x"), 16).ok())
            .unwrap_or(0)
    }

    /// An older block than the last.
    async fn older(&self) -> u64 {
        let head = self.head().await;
        let behind = self.fate.lock().unwrap().random.random_range(1..=BEHIND_MAX);
        head.saturating_sub(behind).max(self.base)
    }

    /// Where this endpoint stands, if it is behind.
    async fn stands_at(&self, fault: Option<Fault>) -> Option<u64> {
        match fault {
            Some(Fault::WrongBlock) => return Some(self.older().await),
            Some(Fault::Stale) => {
                let at = self.older().await;
                let mut fate = self.fate.lock().unwrap();
                let requests = fate.random.random_range(10..60);
                fate.stale = Some((at, requests));
            }
            _ => {}
        }
        let mut fate = self.fate.lock().unwrap();
        let (at, left) = fate.stale?;
        fate.stale = (left > 1).then(|| (at, left.saturating_sub(1)));
        Some(at)
    }

    /// A question, answered as of where this endpoint stands.
    async fn read(&self, request: &Value, fault: Option<Fault>) -> Option<Value> {
        let at = match self.stands_at(fault).await {
            // A reorganisation may have taken the block away.
            Some(at) => Some(at.min(self.head().await)),
            None => None,
        };
        let asked = at.map_or_else(|| request.clone(), |at| view::asked_at(request, at));
        let mut answer = self.forward(&asked).await?;
        if let Some(at) = at {
            view::hide_later(request, &mut answer, at);
        }
        if fault == Some(Fault::FeeSpike) {
            view::spike(request, &mut answer);
        }
        if fault == Some(Fault::Duplicate) {
            answer = self.forward(&asked).await?;
        }
        let lies = self.fate.lock().unwrap().lies;
        if lies {
            let mut fate = self.fate.lock().unwrap();
            if view::lie(request, &mut answer, &mut fate.random) {
                *fate.counts.entry(Fault::Lie).or_default() += 1;
            }
        }
        Some(answer)
    }

    /// A transaction, and what is said of it.
    async fn send(&self, request: &Value, fault: Option<Fault>) -> Option<Value> {
        let says = |message: &str| {
            let error = json!({ "code": -32_000, "message": message });
            Some(json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }))
        };
        match fault {
            Some(Fault::AlreadyKnown) => says("already known"),
            Some(Fault::Underpriced) => says("replacement transaction underpriced"),
            Some(Fault::NonceTooLow) => {
                self.forward(request).await?;
                says("nonce too low")
            }
            Some(Fault::Forgotten) => {
                let hash = view::hash_of(request)?;
                Some(json!({ "jsonrpc": "2.0", "id": request["id"], "result": hash }))
            }
            Some(Fault::Duplicate) => {
                self.forward(request).await?;
                self.forward(request).await
            }
            Some(Fault::TimeoutAfter) => {
                let answer = self.forward(request).await;
                tokio::time::sleep(TIMEOUT).await;
                answer
            }
            _ => self.forward(request).await,
        }
    }
}

/// The settler is being killed: whoever asks waits until then.
async fn for_ever() -> Response {
    tokio::time::sleep(TIMEOUT).await;
    cut()
}

/// A connection that ends within its answer.
fn cut() -> Response {
    let nothing = futures_util::stream::once(async { Err::<Vec<u8>, _>(std::io::Error::other("cut")) });
    Response::new(Body::from_stream(nothing))
}

async fn answer(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let request: Value = serde_json::from_str(&body).unwrap();
    let method = request["method"].as_str().unwrap_or("batch").to_owned();
    let sends = method == "eth_sendRawTransaction";
    if shared.springs(Moment::Request(0)) || (sends && shared.springs(Moment::BeforeSend)) {
        return for_ever().await;
    }
    let fault = shared.fate.lock().unwrap().choose(&method);
    match fault {
        Some(Fault::DropBefore) => return cut(),
        Some(Fault::Delay) => {
            let pause = shared.fate.lock().unwrap().random.random_range(1..60);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Some(Fault::Reorder) => {
            // In vain when nothing else is asked meanwhile.
            let _ = tokio::time::timeout(OVERTAKEN_WITHIN, shared.overtaken.notified()).await;
        }
        _ => {}
    }
    let answer = if sends { shared.send(&request, fault).await } else { shared.read(&request, fault).await };
    shared.overtaken.notify_one();
    let receipt =
        method == "eth_getTransactionReceipt" && answer.as_ref().is_some_and(|answer| answer["result"].is_object());
    if (sends && shared.springs(Moment::AfterSend)) || (receipt && shared.springs(Moment::BeforeReceipt)) {
        return for_ever().await;
    }
    if sends {
        shared.springs(Moment::Answered);
    } else if receipt {
        shared.springs(Moment::AfterReceipt);
    }
    match answer {
        Some(answer) if fault != Some(Fault::DropAfter) => {
            let body = Body::from(answer.to_string());
            Response::builder().header("content-type", "application/json").body(body).unwrap()
        }
        _ => cut(),
    }
}
