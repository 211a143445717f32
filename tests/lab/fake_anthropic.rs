//! A fake of Anthropic's keys. Its operations are those of anthropics/anthropic-sdk-python, made
//! from the vendor's own description (`resources/beta/organization/api_keys.py`, commit 4421d56a);
//! the words of its refusals are from docs.claude.com, "Errors".

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fake::{Front, Operation, Running, random, serve};

const fn operation(at: &'static str) -> Operation {
    Operation { at, query: &[], required: &[], optional: &[] }
}

const OPERATIONS: &[Operation] = &[
    Operation { query: &["limit", "after_id", "before_id"], ..operation("GET /v1/models") },
    operation("GET /v1/organizations/me"),
    Operation {
        query: &["limit", "after_id", "before_id", "status", "workspace_id", "created_by_user_id"],
        ..operation("GET /v1/organizations/api_keys")
    },
    operation("GET /v1/organizations/api_keys/{}"),
    Operation { optional: &["name", "status"], ..operation("POST /v1/organizations/api_keys/{}") },
];

/// A stateful fake of Anthropic's keys: they can be stopped and archived, and none can be made.
pub(crate) struct FakeAnthropic {
    state: Arc<Anthropic>,
    running: Running,
}

impl Deref for FakeAnthropic {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// A key, and the id that archives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnthropicKey {
    /// `apikey_...`.
    pub(crate) handle: String,
    /// `sk-ant-...`.
    pub(crate) secret: String,
}

struct Anthropic {
    front: Arc<Front>,
    keys: Mutex<Vec<Key>>,
    stops_half_way: Mutex<bool>,
}

#[derive(Clone)]
struct Key {
    id: String,
    name: String,
    secret: String,
    admin: bool,
    status: &'static str,
    live: bool,
}

impl FakeAnthropic {
    /// Starts it on a free port.
    pub(crate) async fn start() -> Self {
        let front = Front::new(OPERATIONS);
        let state = Arc::new(Anthropic {
            front: Arc::clone(&front),
            keys: Mutex::default(),
            stops_half_way: Mutex::default(),
        });
        let running = serve(&front, router(&state)).await;
        Self { state, running }
    }

    /// For the inventory: `http://127.0.0.1:PORT`.
    pub(crate) fn base(&self) -> String {
        self.running.address.clone()
    }

    /// A new key, as a person makes it in the console.
    pub(crate) fn api_key(&self, name: &str) -> AnthropicKey {
        self.state.add(name, false)
    }

    /// A new admin key.
    pub(crate) fn admin_key(&self) -> AnthropicKey {
        self.state.add("admin", true)
    }

    /// Whether the server would accept it.
    pub(crate) fn is_alive(&self, secret: &str) -> bool {
        self.state.keys.lock().unwrap().iter().any(|key| key.secret == secret && key.live)
    }

    /// `active`, `inactive` or `archived`.
    pub(crate) fn status(&self, handle: &str) -> &'static str {
        let keys = self.state.keys.lock().unwrap();
        keys.iter().find(|key| key.id == handle).unwrap().status
    }

    /// From now on nothing is archived: 200, and the key is shown `inactive`.
    pub(crate) fn stops_half_way(&self) {
        *self.state.stops_half_way.lock().unwrap() = true;
    }
}

impl Anthropic {
    fn add(&self, name: &str, admin: bool) -> AnthropicKey {
        let prefix = if admin { "sk-ant-admin01-" } else { "sk-ant-api03-" };
        // 93 characters and `AA`, as the vendor's have.
        let body: String = [random(""), random(""), random("")].concat().chars().take(93).collect();
        let key = Key {
            id: random("apikey_"),
            name: name.to_owned(),
            secret: format!("{prefix}{body}AA"),
            admin,
            status: "active",
            live: true,
        };
        let made = AnthropicKey { handle: key.id.clone(), secret: key.secret.clone() };
        self.keys.lock().unwrap().push(key);
        made
    }

    /// The live key that signs a request, or the refusal.
    fn caller(&self, headers: &HeaderMap, admin: bool) -> Result<(), Response> {
        if !headers.contains_key("anthropic-version") {
            return Err(error(StatusCode::BAD_REQUEST, "invalid_request_error"));
        }
        let secret = headers.get("x-api-key").and_then(|value| value.to_str().ok());
        let keys = self.keys.lock().unwrap();
        let found = keys.iter().find(|key| Some(key.secret.as_str()) == secret && key.live);
        // An admin key is none for models: the documents promise no more.
        match found {
            Some(key) if key.admin == admin => Ok(()),
            Some(_) | None => Err(error(StatusCode::UNAUTHORIZED, "authentication_error")),
        }
    }
}

#[derive(Deserialize)]
struct Page {
    limit: Option<usize>,
    after_id: Option<String>,
    status: Option<String>,
}

#[derive(Deserialize)]
struct Update {
    status: Option<String>,
}

fn router(state: &Arc<Anthropic>) -> Router {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/organizations/me", get(me))
        .route("/v1/organizations/api_keys", get(list))
        .route("/v1/organizations/api_keys/{id}", get(retrieve).post(update))
        .with_state(Arc::clone(state))
}

async fn models(
    State(state): State<Arc<Anthropic>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.caller(&headers, false)?;
    Ok(Json(json!({ "data": [], "has_more": false, "first_id": null, "last_id": null })))
}

async fn me(
    State(state): State<Arc<Anthropic>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.caller(&headers, true)?;
    Ok(Json(json!({ "id": "org_1", "type": "organization", "name": "Example" })))
}

async fn list(
    State(state): State<Arc<Anthropic>>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.caller(&headers, true)?;
    let keys = state.keys.lock().unwrap();
    let fits = |key: &&Key| !key.admin && page.status.as_deref().is_none_or(|s| s == key.status);
    let rows: Vec<Value> = keys.iter().filter(fits).map(row).collect();
    let after = page.after_id.as_ref();
    let start = after.map_or(0, |id| {
        rows.iter().position(|row| row["id"] == **id).map_or(rows.len(), |found| found + 1)
    });
    let data: Vec<&Value> = rows.iter().skip(start).take(page.limit.unwrap_or(20)).collect();
    let id = |row: Option<&&Value>| row.map_or(Value::Null, |row| row["id"].clone());
    Ok(Json(json!({
        "data": data,
        "first_id": id(data.first()),
        "last_id": id(data.last()),
        "has_more": start + data.len() < rows.len(),
    })))
}

async fn retrieve(
    State(state): State<Arc<Anthropic>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.caller(&headers, true)?;
    let keys = state.keys.lock().unwrap();
    let found = keys.iter().find(|key| key.id == id).map(|key| Json(row(key)));
    found.ok_or_else(|| error(StatusCode::NOT_FOUND, "not_found_error"))
}

async fn update(
    State(state): State<Arc<Anthropic>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(wanted): Json<Update>,
) -> Result<Json<Value>, Response> {
    state.caller(&headers, true)?;
    let half = *state.stops_half_way.lock().unwrap();
    let mut keys = state.keys.lock().unwrap();
    let Some(key) = keys.iter_mut().find(|key| key.id == id) else {
        return Err(error(StatusCode::NOT_FOUND, "not_found_error"));
    };
    match (key.status, wanted.status.as_deref()) {
        // What is archived stays so.
        ("archived", Some("active" | "inactive")) => {
            return Err(error(StatusCode::BAD_REQUEST, "invalid_request_error"));
        }
        (_, Some("active")) => (key.status, key.live) = ("active", true),
        (_, Some("inactive")) => key.status = "inactive",
        (_, Some("archived")) if !half => key.status = "archived",
        (_, Some("archived") | None) => {}
        (_, Some(_)) => return Err(error(StatusCode::BAD_REQUEST, "invalid_request_error")),
    }
    let answer = row(key);
    if key.status != "active" {
        let (state, id) = (Arc::clone(&state), key.id.clone());
        drop(keys);
        let front = Arc::clone(&state.front);
        front.when_dead(move || {
            let mut keys = state.keys.lock().unwrap();
            keys.iter_mut().filter(|key| key.id == id).for_each(|key| key.live = false);
        });
    }
    Ok(Json(answer))
}

fn row(key: &Key) -> Value {
    let (head, tail) = (&key.secret[..16], &key.secret[key.secret.len() - 4..]);
    json!({
        "id": key.id, "type": "api_key", "name": key.name, "status": key.status,
        "partial_key_hint": format!("{head}...{tail}"), "workspace_id": null,
        "created_at": "2026-01-02T03:04:05Z", "expires_at": null,
        "created_by": { "id": "user_1", "type": "user" },
    })
}

fn error(status: StatusCode, kind: &str) -> Response {
    let error = json!({ "type": kind, "message": kind });
    (status, Json(json!({ "type": "error", "error": error }))).into_response()
}
