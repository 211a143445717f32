//! A fake of OpenRouter's keys, its requests held against the vendor's description in
//! OpenRouterTeam/typescript-sdk (`.speakeasy/out.openapi.yaml`, commit cb9393a8): the operations
//! below are all it has.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fake::{Front, Operation, Running, bearer, random, serve};

const fn operation(at: &'static str) -> Operation {
    Operation { at, query: &[], required: &[], optional: &[] }
}

const OPERATIONS: &[Operation] = &[
    operation("GET /api/v1/key"),
    Operation {
        query: &["include_disabled", "offset", "workspace_id"],
        ..operation("GET /api/v1/keys")
    },
    Operation {
        required: &["name"],
        optional: &[
            "creator_user_id",
            "expires_at",
            "include_byok_in_limit",
            "limit",
            "limit_reset",
            "workspace_id",
        ],
        ..operation("POST /api/v1/keys")
    },
    operation("GET /api/v1/keys/{}"),
    Operation {
        optional: &["disabled", "include_byok_in_limit", "limit", "limit_reset", "name"],
        ..operation("PATCH /api/v1/keys/{}")
    },
    operation("DELETE /api/v1/keys/{}"),
];

/// Rows of one page. The vendor's has 100; two make a list of three go on.
const PAGE: usize = 2;

/// A stateful fake of OpenRouter's keys.
pub(crate) struct FakeOpenRouter {
    state: Arc<OpenRouter>,
    running: Running,
}

impl Deref for FakeOpenRouter {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// A key, and the hash that deletes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenRouterKey {
    /// What the vendor calls its hash.
    pub(crate) handle: String,
    /// `sk-or-v1-...`.
    pub(crate) secret: String,
}

struct OpenRouter {
    front: Arc<Front>,
    keys: Mutex<Vec<Key>>,
}

#[derive(Clone)]
struct Key {
    hash: String,
    name: String,
    secret: String,
    manages: bool,
    limit: Value,
    limit_reset: Value,
    expires_at: Value,
    listed: bool,
    live: bool,
}

impl FakeOpenRouter {
    /// Starts it on a free port.
    pub(crate) async fn start() -> Self {
        let front = Front::new(OPERATIONS);
        let state = Arc::new(OpenRouter { front: Arc::clone(&front), keys: Mutex::default() });
        let running = serve(&front, router(&state)).await;
        Self { state, running }
    }

    /// For the inventory: `http://127.0.0.1:PORT/api/v1`.
    pub(crate) fn base(&self) -> String {
        format!("{}/api/v1", self.running.address)
    }

    /// A new key that may spend so many dollars a month.
    pub(crate) fn api_key(&self, name: &str, limit: u32) -> OpenRouterKey {
        let wanted = json!({ "name": name, "limit": limit, "limit_reset": "monthly" });
        self.state.add(&wanted, false)
    }

    /// A new management key.
    pub(crate) fn management_key(&self) -> OpenRouterKey {
        self.state.add(&json!({ "name": "management" }), true)
    }

    /// Whether the server would accept it.
    pub(crate) fn is_alive(&self, secret: &str) -> bool {
        self.state.keys.lock().unwrap().iter().any(|key| key.secret == secret && key.live)
    }

    /// What a live key may spend.
    pub(crate) fn limit(&self, secret: &str) -> Value {
        let keys = self.state.keys.lock().unwrap();
        let key = keys.iter().find(|key| key.secret == secret && key.live).unwrap();
        json!([key.limit, key.limit_reset])
    }

    /// Names of what its lists show.
    pub(crate) fn listed(&self) -> Vec<String> {
        let keys = self.state.keys.lock().unwrap();
        keys.iter().filter(|key| key.listed).map(|key| key.name.clone()).collect()
    }
}

impl OpenRouter {
    fn add(&self, wanted: &Value, manages: bool) -> OpenRouterKey {
        let hex: [u8; 32] = rand::random();
        let hex: String = hex.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = Key {
            hash: random("hash"),
            name: wanted["name"].as_str().unwrap().to_owned(),
            secret: format!("sk-or-v1-{hex}"),
            manages,
            limit: wanted["limit"].clone(),
            limit_reset: wanted["limit_reset"].clone(),
            expires_at: wanted["expires_at"].clone(),
            listed: !manages,
            live: true,
        };
        let made = OpenRouterKey { handle: key.hash.clone(), secret: key.secret.clone() };
        self.keys.lock().unwrap().push(key);
        made
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Key, Response> {
        let secret = bearer(headers);
        let keys = self.keys.lock().unwrap();
        let found = keys.iter().find(|key| key.secret == secret && key.live).cloned();
        found.ok_or_else(|| error(StatusCode::UNAUTHORIZED, "User not found."))
    }

    fn manager(&self, headers: &HeaderMap) -> Result<(), Response> {
        match self.caller(headers)?.manages {
            true => Ok(()),
            false => Err(error(StatusCode::UNAUTHORIZED, "Invalid management key")),
        }
    }
}

#[derive(Deserialize)]
struct Page {
    offset: Option<usize>,
}

fn router(state: &Arc<OpenRouter>) -> Router {
    Router::new()
        .route("/api/v1/key", get(current))
        .route("/api/v1/keys", get(list).post(create))
        .route("/api/v1/keys/{hash}", get(retrieve).delete(remove).patch(update))
        .with_state(Arc::clone(state))
}

async fn current(
    State(state): State<Arc<OpenRouter>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    let key = state.caller(&headers)?;
    let mut data = row(&key);
    data["is_management_key"] = key.manages.into();
    Ok(Json(json!({ "data": data })))
}

async fn list(
    State(state): State<Arc<OpenRouter>>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.manager(&headers)?;
    let keys = state.keys.lock().unwrap();
    let listed = keys.iter().filter(|key| key.listed);
    let data: Vec<Value> = listed.skip(page.offset.unwrap_or(0)).take(PAGE).map(row).collect();
    Ok(Json(json!({ "data": data })))
}

async fn create(
    State(state): State<Arc<OpenRouter>>,
    headers: HeaderMap,
    Json(wanted): Json<Value>,
) -> Result<Response, Response> {
    state.manager(&headers)?;
    let made = state.add(&wanted, false);
    let keys = state.keys.lock().unwrap();
    let key = keys.iter().find(|key| key.secret == made.secret).unwrap();
    let body = json!({ "data": row(key), "key": key.secret });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn retrieve(
    State(state): State<Arc<OpenRouter>>,
    Path(hash): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.manager(&headers)?;
    let keys = state.keys.lock().unwrap();
    let found = keys.iter().find(|key| key.listed && key.hash == hash);
    let found = found.map(|key| Json(json!({ "data": row(key) })));
    found.ok_or_else(|| error(StatusCode::NOT_FOUND, "Resource not found"))
}

async fn update(
    State(state): State<Arc<OpenRouter>>,
    Path(hash): Path<String>,
    headers: HeaderMap,
    Json(wanted): Json<Value>,
) -> Result<Json<Value>, Response> {
    state.manager(&headers)?;
    let mut keys = state.keys.lock().unwrap();
    let Some(key) = keys.iter_mut().find(|key| key.listed && key.hash == hash) else {
        return Err(error(StatusCode::NOT_FOUND, "Resource not found"));
    };
    if let Some(disabled) = wanted["disabled"].as_bool() {
        key.live = !disabled;
    }
    Ok(Json(json!({ "data": row(key) })))
}

async fn remove(
    State(state): State<Arc<OpenRouter>>,
    Path(hash): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.manager(&headers)?;
    let mut keys = state.keys.lock().unwrap();
    let Some(key) = keys.iter_mut().find(|key| key.listed && key.hash == hash) else {
        return Err(error(StatusCode::NOT_FOUND, "Resource not found"));
    };
    key.listed = false;
    drop(keys);
    let front = Arc::clone(&state.front);
    front.when_dead(move || {
        let mut keys = state.keys.lock().unwrap();
        keys.iter_mut().filter(|key| key.hash == hash).for_each(|key| key.live = false);
    });
    Ok(Json(json!({ "deleted": true })))
}

fn row(key: &Key) -> Value {
    let (head, tail) = (&key.secret[..12], &key.secret[key.secret.len() - 4..]);
    json!({
        "hash": key.hash, "name": key.name, "label": format!("{head}...{tail}"),
        "disabled": !key.live, "limit": key.limit, "limit_reset": key.limit_reset,
        "include_byok_in_limit": false, "created_at": "2026-01-02T03:04:05Z",
        "expires_at": key.expires_at, "creator_user_id": "user_1", "usage": 0,
    })
}

fn error(status: StatusCode, message: &str) -> Response {
    let error = json!({ "code": status.as_u16(), "message": message });
    (status, Json(json!({ "error": error }))).into_response()
}
