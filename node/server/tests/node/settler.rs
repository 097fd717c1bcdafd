//! A settler that only listens: it remembers what it was given and answers as it is told.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use minus_bindings::{SignedCharge, SignedVoucher};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

#[derive(Default)]
struct Memory {
    vouchers: Mutex<Vec<SignedVoucher>>,
    charges: Mutex<Vec<SignedCharge>>,
    debts: Mutex<Vec<SignedVoucher>>,
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

#[derive(Deserialize)]
struct GivenCharges {
    charges: Vec<SignedCharge>,
}

#[derive(Deserialize)]
struct GivenDebts {
    debts: Vec<SignedVoucher>,
}

fn recorded(count: usize) -> (StatusCode, Json<Value>) {
    (StatusCode::OK, Json(json!({ "results": vec![json!({ "result": "recorded" }); count] })))
}

async fn intake_of_charges(
    State(memory): State<Arc<Memory>>,
    Json(given): Json<GivenCharges>,
) -> (StatusCode, Json<Value>) {
    if memory.ill.load(Ordering::Relaxed) {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({})));
    }
    let answer = recorded(given.charges.len());
    memory.charges.lock().unwrap().extend(given.charges);
    answer
}

async fn intake_of_debts(
    State(memory): State<Arc<Memory>>,
    Json(given): Json<GivenDebts>,
) -> (StatusCode, Json<Value>) {
    if memory.ill.load(Ordering::Relaxed) {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({})));
    }
    let answer = recorded(given.debts.len());
    memory.debts.lock().unwrap().extend(given.debts);
    answer
}

async fn intake(State(memory): State<Arc<Memory>>, Json(given): Json<Given>) -> (StatusCode, Json<Value>) {
    if memory.ill.load(Ordering::Relaxed) {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({})));
    }
    let answer = recorded(given.vouchers.len());
    memory.vouchers.lock().unwrap().extend(given.vouchers);
    answer
}

impl Settler {
    pub(crate) async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let memory = Arc::<Memory>::default();
        let router = Router::new()
            .route("/vouchers", post(intake))
            .route("/charges", post(intake_of_charges))
            .route("/debts", post(intake_of_debts))
            .with_state(Arc::clone(&memory));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, memory }
    }

    pub(crate) fn fall_ill(&self, ill: bool) {
        self.memory.ill.store(ill, Ordering::Relaxed);
    }

    pub(crate) fn charges(&self) -> Vec<SignedCharge> {
        self.memory.charges.lock().unwrap().clone()
    }

    pub(crate) fn debts(&self) -> Vec<SignedVoucher> {
        self.memory.debts.lock().unwrap().clone()
    }

    pub(crate) fn vouchers(&self) -> Vec<SignedVoucher> {
        self.memory.vouchers.lock().unwrap().clone()
    }
}
