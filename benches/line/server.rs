//! The servers that are measured against: many addresses, one memory, threads of their own.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use tokio::net::TcpListener;

/// So that no lock is waited for: eight times the threads that ask.
const SHARDS: usize = 16;

/// What the servers know and have heard.
pub(crate) struct Server {
    /// `http://127.0.0.1:PORT`.
    pub(crate) bases: Vec<String>,
    memory: Arc<Memory>,
    // Its threads end with it.
    _threads: tokio::runtime::Runtime,
}

struct Memory {
    answer: Duration,
    revoked: [Mutex<HashSet<String>>; SHARDS],
    issued: AtomicU64,
    asked: AtomicU64,
    revocations: Mutex<Vec<Instant>>,
}

impl Server {
    /// So many addresses; every answer takes as long as this.
    pub(crate) fn start(addresses: usize, answer: Duration) -> Self {
        let memory = Arc::new(Memory {
            answer,
            revoked: std::array::from_fn(|_| Mutex::default()),
            issued: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            revocations: Mutex::default(),
        });
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let router = Router::new()
            .route("/v1/me", get(me))
            .route("/v1/keys", post(issue).get(list))
            .route("/v1/keys/current", delete(revoke))
            .with_state(Arc::clone(&memory));
        let bases = (0..addresses).map(|_| threads.block_on(serve(router.clone()))).collect();
        Self { bases, memory, _threads: threads }
    }

    /// Requests since the last time.
    pub(crate) fn asked(&self) -> u64 {
        self.memory.asked.swap(0, Ordering::Relaxed)
    }

    /// When revocations came in, since the last time.
    pub(crate) fn revocations(&self) -> Vec<Instant> {
        let mut all = self.memory.revocations.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all)
    }

    /// Everything that was revoked is alive again.
    pub(crate) fn forget(&self) {
        for shard in &self.memory.revoked {
            shard.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        self.asked();
        self.revocations();
    }
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("its address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

impl Memory {
    async fn hear(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if !self.answer.is_zero() {
            tokio::time::sleep(self.answer).await;
        }
    }

    fn shard(&self, secret: &str) -> &Mutex<HashSet<String>> {
        // The last digits of a secret are its number.
        let last = secret.bytes().rev().take(2).map(usize::from).sum::<usize>();
        &self.revoked[last % SHARDS]
    }

    fn is_alive(&self, secret: &str) -> bool {
        let shard = self.shard(secret).lock().unwrap_or_else(PoisonError::into_inner);
        secret.starts_with("acme") && !secret.contains("madeup") && !shard.contains(secret)
    }
}

fn bearer(headers: &HeaderMap) -> &str {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default()
}

fn json(status: StatusCode, body: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

fn invalid() -> Response {
    json(StatusCode::UNAUTHORIZED, r#"{"error":{"code":"invalid_key"}}"#)
}

async fn me(State(memory): State<Arc<Memory>>, headers: HeaderMap) -> Response {
    memory.hear().await;
    // A made-up one has letters where the server's own have their number.
    let secret = bearer(&headers);
    let known = secret.get(5..).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    match known && memory.is_alive(secret) || secret.starts_with("acmeadm_0") {
        true => json(StatusCode::OK, r#"{"account":{"id":"acct_1"},"status":"active"}"#),
        false => invalid(),
    }
}

async fn list(State(memory): State<Arc<Memory>>) -> Response {
    memory.hear().await;
    json(StatusCode::OK, r#"{"data":[],"has_more":false}"#)
}

async fn issue(State(memory): State<Arc<Memory>>) -> Response {
    memory.hear().await;
    let number = 1 + memory.issued.fetch_add(1, Ordering::Relaxed);
    let body = format!(r#"{{"id":"key_{number}","secret":"acme_9{number:031}"}}"#);
    json(StatusCode::CREATED, body)
}

async fn revoke(State(memory): State<Arc<Memory>>, headers: HeaderMap) -> Response {
    memory.revocations.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    memory.hear().await;
    let secret = bearer(&headers).to_owned();
    let mut shard = memory.shard(&secret).lock().unwrap_or_else(PoisonError::into_inner);
    match shard.insert(secret) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => invalid(),
    }
}
