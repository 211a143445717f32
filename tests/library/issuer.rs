//! An Acme server on loopback, whose revocations can be held back.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;

const ADMIN: &str = "acmeadm_00000000000000000000000000000000";

/// The server's memory.
#[derive(Default)]
pub(crate) struct Issuer {
    /// Secret to handle, of what is alive.
    keys: Mutex<BTreeMap<String, String>>,
    /// Every request, `METHOD /path`, in the order in which they came.
    heard: Mutex<Vec<String>>,
    /// Revocations are done, and their answers kept back.
    holds: Mutex<bool>,
    pub(crate) revoking: Notify,
    redirects: Mutex<Option<String>>,
}

impl Issuer {
    /// Listens until the test ends; the server and its address.
    pub(crate) async fn start() -> (Arc<Self>, String) {
        let issuer = Arc::new(Self::default());
        let router = Router::new()
            .route("/v1/me", get(me))
            .route("/v1/keys", post(issue).get(list))
            .route("/v1/keys/current", delete(revoke))
            .route("/v1/keys/{id}", delete(revoke_by_id))
            .with_state(Arc::clone(&issuer));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (issuer, base)
    }

    pub(crate) fn admin(&self) -> &'static str {
        ADMIN
    }

    /// A key that was there before.
    pub(crate) fn key(&self, number: u32) -> String {
        let secret = format!("acme_{number:032}");
        self.keys().insert(secret.clone(), format!("old-{number}"));
        secret
    }

    pub(crate) fn is_alive(&self, secret: &str) -> bool {
        self.keys().contains_key(secret)
    }

    /// How many keys are alive.
    pub(crate) fn alive(&self) -> usize {
        self.keys().len()
    }

    /// How often this was heard.
    pub(crate) fn heard(&self, request: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|one| *one == request).count()
    }

    /// From now on revocations are done and not answered, or answered again.
    pub(crate) fn hold(&self, holds: bool) {
        *self.holds.lock().unwrap() = holds;
    }

    /// From now on probes are sent elsewhere.
    pub(crate) fn redirect(&self, to: &str) {
        *self.redirects.lock().unwrap() = Some(to.to_owned());
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.keys.lock().unwrap()
    }

    fn hear(&self, request: &str) {
        self.heard.lock().unwrap().push(request.to_owned());
    }

    async fn answer(&self, status: StatusCode) -> Response {
        self.revoking.notify_one();
        if *self.holds.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        status.into_response()
    }
}

fn bearer(headers: &HeaderMap) -> String {
    let value = headers.get("authorization").and_then(|value| value.to_str().ok());
    value.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default().to_owned()
}

fn invalid() -> Response {
    (StatusCode::UNAUTHORIZED, Json(json!({ "error": { "code": "invalid_key" } }))).into_response()
}

async fn me(State(issuer): State<Arc<Issuer>>, headers: HeaderMap) -> Response {
    issuer.hear("GET /v1/me");
    if let Some(to) = issuer.redirects.lock().unwrap().clone() {
        return Redirect::temporary(&to).into_response();
    }
    let secret = bearer(&headers);
    let account = match secret == ADMIN {
        true => "acct_admin",
        false if issuer.is_alive(&secret) => "acct_1",
        false => return invalid(),
    };
    Json(json!({ "account": { "id": account }, "status": "active" })).into_response()
}

async fn issue(State(issuer): State<Arc<Issuer>>, headers: HeaderMap) -> Response {
    issuer.hear("POST /v1/keys");
    if bearer(&headers) != ADMIN {
        return invalid();
    }
    let number = issuer.heard.lock().unwrap().len();
    let (id, secret) = (format!("new-{number}"), format!("acme_{:032}", 1_000 + number));
    issuer.keys().insert(secret.clone(), id.clone());
    (StatusCode::CREATED, Json(json!({ "id": id, "secret": secret }))).into_response()
}

async fn list(State(issuer): State<Arc<Issuer>>) -> Response {
    issuer.hear("GET /v1/keys");
    let keys = issuer.keys();
    let rows: Vec<_> = keys.values().map(|id| json!({ "id": id, "name": id })).collect();
    Json(json!({ "data": rows, "has_more": false })).into_response()
}

async fn revoke(State(issuer): State<Arc<Issuer>>, headers: HeaderMap) -> Response {
    issuer.hear("DELETE /v1/keys/current");
    let gone = issuer.keys().remove(&bearer(&headers)).is_none();
    match gone {
        true => invalid(),
        false => issuer.answer(StatusCode::NO_CONTENT).await,
    }
}

async fn revoke_by_id(State(issuer): State<Arc<Issuer>>, Path(id): Path<String>) -> Response {
    issuer.hear("DELETE /v1/keys/ID");
    let before = issuer.alive();
    issuer.keys().retain(|_, known| *known != id);
    let gone = issuer.alive() == before;
    issuer.answer(if gone { StatusCode::NOT_FOUND } else { StatusCode::NO_CONTENT }).await
}
