//! A fake of a package registry that ends what it says it ends. No description of one is
//! published: its operations are those that the client npm/cli sends (`lib/commands/{token,logout,
//! whoami}.js`, npm-profile 12.0.2), and its refusals are unchecked.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::fake::{Front, Operation, Running, bearer, random, serve};

const fn operation(at: &'static str) -> Operation {
    Operation { at, query: &[], required: &[], optional: &[] }
}

const OPERATIONS: &[Operation] = &[
    operation("GET /-/whoami"),
    Operation {
        required: &["name", "password"],
        optional: &["_id", "type", "roles", "date", "email"],
        ..operation("PUT /-/user/{}")
    },
    operation("DELETE /-/user/token/{}"),
    Operation { query: &["perPage", "page"], ..operation("GET /-/npm/v1/tokens") },
    Operation {
        required: &["name", "password"],
        optional: &["readonly", "cidr_whitelist", "expires", "packages", "scopes", "description"],
        ..operation("POST /-/npm/v1/tokens")
    },
    operation("DELETE /-/npm/v1/tokens/token/{}"),
];

/// A stateful fake of a package registry's tokens.
pub(crate) struct FakeRegistry {
    state: Arc<Registry>,
    running: Running,
}

impl Deref for FakeRegistry {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

struct Registry {
    front: Arc<Front>,
    tokens: Mutex<Vec<Token>>,
}

#[derive(Clone)]
struct Token {
    key: String,
    name: String,
    secret: String,
    listed: bool,
    live: bool,
}

impl FakeRegistry {
    /// Its only account.
    pub(crate) const USER: &str = "mail";
    /// That account's password.
    pub(crate) const PASSWORD: &str = "made-up-password-of-the-lab";

    /// Starts it on a free port.
    pub(crate) async fn start() -> Self {
        let front = Front::new(OPERATIONS);
        let state = Arc::new(Registry { front: Arc::clone(&front), tokens: Mutex::default() });
        let running = serve(&front, router(&state)).await;
        Self { state, running }
    }

    /// For the inventory: `http://127.0.0.1:PORT`.
    pub(crate) fn base(&self) -> String {
        self.running.address.clone()
    }

    /// A new token of the list, and its key.
    pub(crate) fn token(&self, name: &str) -> (String, String) {
        let token = self.state.add(name, true);
        (token.secret, token.key)
    }

    /// What `npm login` would leave behind.
    pub(crate) fn login_token(&self) -> String {
        self.state.add("login", false).secret
    }

    /// Whether the server would accept it.
    pub(crate) fn is_alive(&self, secret: &str) -> bool {
        self.state.tokens.lock().unwrap().iter().any(|it| it.secret == secret && it.live)
    }

    /// Names of what its list shows.
    pub(crate) fn listed(&self) -> Vec<String> {
        let tokens = self.state.tokens.lock().unwrap();
        tokens.iter().filter(|it| it.listed).map(|it| it.name.clone()).collect()
    }
}

impl Registry {
    fn add(&self, name: &str, listed: bool) -> Token {
        // 36 letters and digits behind the prefix.
        let secret = format!("{}{}", random("npm_"), &random("")[..4]);
        let token = Token { key: random("key"), name: name.to_owned(), secret, listed, live: true };
        self.tokens.lock().unwrap().push(token.clone());
        token
    }

    fn caller(&self, headers: &HeaderMap) -> Result<(), Response> {
        let secret = bearer(headers);
        let known = self.tokens.lock().unwrap().iter().any(|it| it.secret == secret && it.live);
        known.then_some(()).ok_or_else(|| error(StatusCode::UNAUTHORIZED))
    }

    fn end(self: &Arc<Self>, fits: impl Fn(&Token) -> bool) -> Result<StatusCode, Response> {
        let mut tokens = self.tokens.lock().unwrap();
        let Some(token) = tokens.iter_mut().find(|token| fits(token)) else {
            return Err(error(StatusCode::NOT_FOUND));
        };
        token.listed = false;
        let (state, key) = (Arc::clone(self), token.key.clone());
        drop(tokens);
        self.front.when_dead(move || {
            let mut tokens = state.tokens.lock().unwrap();
            tokens.iter_mut().filter(|it| it.key == key).for_each(|it| it.live = false);
        });
        Ok(StatusCode::NO_CONTENT)
    }
}

fn router(state: &Arc<Registry>) -> Router {
    Router::new()
        .route("/-/whoami", get(whoami))
        .route("/-/user/{user}", put(login))
        .route("/-/user/token/{token}", delete(logout))
        .route("/-/npm/v1/tokens", get(list).post(create))
        .route("/-/npm/v1/tokens/token/{key}", delete(remove))
        .with_state(Arc::clone(state))
}

async fn whoami(
    State(state): State<Arc<Registry>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.caller(&headers)?;
    Ok(Json(json!({ "username": FakeRegistry::USER })))
}

async fn login(
    State(state): State<Arc<Registry>>,
    Json(wanted): Json<Value>,
) -> Result<Response, Response> {
    if wanted["name"] != FakeRegistry::USER || wanted["password"] != FakeRegistry::PASSWORD {
        return Err(error(StatusCode::UNAUTHORIZED));
    }
    let token = state.add("login", false).secret;
    Ok((StatusCode::CREATED, Json(json!({ "ok": true, "token": token }))).into_response())
}

async fn logout(
    State(state): State<Arc<Registry>>,
    Path(secret): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Response> {
    state.caller(&headers)?;
    state.end(|token| token.secret == secret)
}

async fn list(
    State(state): State<Arc<Registry>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.caller(&headers)?;
    let tokens = state.tokens.lock().unwrap();
    let rows: Vec<Value> = tokens.iter().filter(|token| token.listed).map(row).collect();
    Ok(Json(json!({ "objects": rows, "total": rows.len(), "urls": {} })))
}

async fn create(
    State(state): State<Arc<Registry>>,
    headers: HeaderMap,
    Json(wanted): Json<Value>,
) -> Result<Json<Value>, Response> {
    state.caller(&headers)?;
    if wanted["password"] != FakeRegistry::PASSWORD {
        return Err(error(StatusCode::UNAUTHORIZED));
    }
    let token = state.add(wanted["name"].as_str().unwrap_or_default(), true);
    let mut body = row(&token);
    body["token"] = token.secret.into();
    Ok(Json(body))
}

async fn remove(
    State(state): State<Arc<Registry>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Response> {
    state.caller(&headers)?;
    state.end(|token| token.listed && token.key == key)
}

fn row(token: &Token) -> Value {
    let (head, tail) = (&token.secret[..8], &token.secret[token.secret.len() - 4..]);
    json!({
        "key": token.key, "name": token.name, "token": format!("{head}...{tail}"),
        "readonly": false, "cidr_whitelist": null, "created": "2026-01-02T03:04:05.000Z",
    })
}

fn error(status: StatusCode) -> Response {
    (status, Json(json!({ "error": status.canonical_reason() }))).into_response()
}
