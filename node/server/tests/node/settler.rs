//! A settler that only listens: it remembers what it was given and answers as it is told.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use minus_bindings::SignedVoucher;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

#[derive(Default)]
struct Memory {
    vouchers: Mutex<Vec<SignedVoucher>>,
    ill: AtomicBool,
}

#[derive(Clone)]
pub(crate) struct Settler {
    pub(crate) url: Url,
    memory: Arc<Memory>,
}

#[derive(Deserialize)]
struct Given {
    vouchers: Vec<SignedVoucher>,
}

async fn intake(State(memory): State<Arc<Memory>>, Json(given): Json<Given>) -> (StatusCode, Json<Value>) {
    if memory.ill.load(Ordering::Relaxed) {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({})));
    }
    let results: Vec<Value> = given.vouchers.iter().map(|_| json!({ "result": "recorded" })).collect();
    memory.vouchers.lock().unwrap().extend(given.vouchers);
    (StatusCode::OK, Json(json!({ "results": results })))
}

impl Settler {
    pub(crate) async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let memory = Arc::<Memory>::default();
        let router = Router::new().route("/vouchers", post(intake)).with_state(Arc::clone(&memory));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, memory }
    }

    pub(crate) fn fall_ill(&self, ill: bool) {
        self.memory.ill.store(ill, Ordering::Relaxed);
    }

    pub(crate) fn vouchers(&self) -> Vec<SignedVoucher> {
        self.memory.vouchers.lock().unwrap().clone()
    }
}
