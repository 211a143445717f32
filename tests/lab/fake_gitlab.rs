//! A fake of GitLab's access tokens. Its operations are those of gitlabhq/gitlabhq
//! (`doc/api/personal_access_tokens.md`, commit 0286e4c6, and `doc/api/project_access_tokens.md`,
//! commit 017a6c12); the words of its refusals are from `lib/api/api_guard.rb` there.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fake::{Front, Operation, Running, random, serve};

const fn operation(at: &'static str) -> Operation {
    Operation { at, query: &[], required: &[], optional: &[] }
}

/// `page` and `per_page` are every list's.
const LIST: &[&str] = &[
    "created_after",
    "created_before",
    "expires_after",
    "expires_before",
    "last_used_after",
    "last_used_before",
    "page",
    "per_page",
    "revoked",
    "search",
    "sort",
    "state",
    "user_id",
];

const OPERATIONS: &[Operation] = &[
    operation("GET /api/v4/personal_access_tokens/self"),
    operation("DELETE /api/v4/personal_access_tokens/self"),
    Operation {
        query: &["expires_at"],
        ..operation("POST /api/v4/personal_access_tokens/self/rotate")
    },
    Operation { query: LIST, ..operation("GET /api/v4/personal_access_tokens") },
    operation("DELETE /api/v4/personal_access_tokens/{}"),
    Operation { query: LIST, ..operation("GET /api/v4/projects/{}/access_tokens") },
    Operation {
        query: &["expires_at"],
        ..operation("POST /api/v4/projects/{}/access_tokens/self/rotate")
    },
    operation("DELETE /api/v4/projects/{}/access_tokens/{}"),
];

/// The id of the first token.
const FIRST: usize = 471_001;

/// The bot user of every project here.
const BOT: u32 = 141;

/// A stateful fake of GitLab's access tokens.
pub(crate) struct FakeGitlab {
    state: Arc<Gitlab>,
    running: Running,
}

impl Deref for FakeGitlab {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

struct Gitlab {
    front: Arc<Front>,
    tokens: Mutex<Vec<Token>>,
}

#[derive(Clone)]
struct Token {
    id: usize,
    /// The id of the first of those that were rotated into each other.
    family: usize,
    name: String,
    secret: String,
    user: u32,
    project: Option<String>,
    scopes: Vec<String>,
    expires: Option<String>,
    revoked: bool,
    accepted: bool,
}

impl FakeGitlab {
    /// Starts it on a free port.
    pub(crate) async fn start() -> Self {
        let front = Front::new(OPERATIONS);
        let state = Arc::new(Gitlab { front: Arc::clone(&front), tokens: Mutex::default() });
        let running = serve(&front, router(&state)).await;
        Self { state, running }
    }

    /// For the inventory: `http://127.0.0.1:PORT/api/v4`.
    pub(crate) fn base(&self) -> String {
        format!("{}/api/v4", self.running.address)
    }

    /// A new token of a user.
    pub(crate) fn personal_token(&self, user: u32, name: &str, scopes: &[&str]) -> String {
        self.state.add(user, None, name, scopes)
    }

    /// A new token of a project.
    pub(crate) fn project_token(&self, project: &str, name: &str, scopes: &[&str]) -> String {
        self.state.add(BOT, Some(project), name, scopes)
    }

    /// Somebody who has it rotates it.
    pub(crate) fn rotate(&self, secret: &str) -> String {
        self.state.rotated(secret, None).unwrap()
    }

    /// Whether the server would accept it.
    pub(crate) fn is_alive(&self, secret: &str) -> bool {
        self.state.tokens.lock().unwrap().iter().any(|it| it.secret == secret && it.accepted)
    }

    /// When the live token ends.
    pub(crate) fn expires(&self, secret: &str) -> Option<String> {
        let tokens = self.state.tokens.lock().unwrap();
        tokens.iter().find(|it| it.secret == secret).unwrap().expires.clone()
    }

    /// Names of the active ones.
    pub(crate) fn listed(&self) -> Vec<String> {
        let tokens = self.state.tokens.lock().unwrap();
        tokens.iter().filter(|it| !it.revoked).map(|it| it.name.clone()).collect()
    }
}

impl Gitlab {
    fn add(&self, user: u32, project: Option<&str>, name: &str, scopes: &[&str]) -> String {
        let mut tokens = self.tokens.lock().unwrap();
        let id = FIRST + tokens.len();
        let secret = random("glpat-");
        tokens.push(Token {
            id,
            family: id,
            name: name.to_owned(),
            secret: secret.clone(),
            user,
            project: project.map(str::to_owned),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            expires: None,
            revoked: false,
            accepted: true,
        });
        secret
    }

    /// The token that signs a request, or the refusal in GitLab's words.
    fn caller(&self, headers: &HeaderMap) -> Result<Token, Response> {
        let secret = headers.get("private-token").and_then(|value| value.to_str().ok());
        let tokens = self.tokens.lock().unwrap();
        match tokens.iter().find(|token| Some(token.secret.as_str()) == secret) {
            Some(token) if token.accepted => Ok(token.clone()),
            Some(_) => {
                let said = "Token was revoked. You have to re-authorize from the user.";
                let body = json!({ "error": "invalid_token", "error_description": said });
                Err((StatusCode::UNAUTHORIZED, Json(body)).into_response())
            }
            None => Err(message(StatusCode::UNAUTHORIZED, "401 Unauthorized")),
        }
    }

    /// As [`Self::caller`], with one of these scopes.
    fn with_scope(&self, headers: &HeaderMap, scopes: &[&str]) -> Result<Token, Response> {
        let caller = self.caller(headers)?;
        if caller.scopes.iter().any(|scope| scopes.contains(&scope.as_str())) {
            return Ok(caller);
        }
        let body = json!({
            "error": "insufficient_scope", "scope": scopes.join(" "),
            "error_description": "The request requires higher privileges than provided.",
        });
        Err((StatusCode::FORBIDDEN, Json(body)).into_response())
    }

    /// Whoever rotates a token that is revoked already ends its whole family.
    fn reuse(&self, headers: &HeaderMap) {
        let secret = headers.get("private-token").and_then(|value| value.to_str().ok());
        let mut tokens = self.tokens.lock().unwrap();
        let spent = tokens.iter().find(|it| Some(it.secret.as_str()) == secret && it.revoked);
        let Some(family) = spent.map(|token| token.family) else { return };
        for token in tokens.iter_mut().filter(|token| token.family == family) {
            (token.revoked, token.accepted) = (true, false);
        }
    }

    fn rotated(self: &Arc<Self>, secret: &str, expires: Option<String>) -> Option<String> {
        let mut tokens = self.tokens.lock().unwrap();
        let old = tokens.iter_mut().find(|token| token.secret == secret)?;
        old.revoked = true;
        let (id, mut new) = (old.id, old.clone());
        new.id = FIRST + tokens.len();
        new.secret = random("glpat-");
        // One week, where nobody says otherwise.
        new.expires = expires.or_else(|| Some("2026-12-01".to_owned()));
        (new.revoked, new.accepted) = (false, true);
        let made = new.secret.clone();
        tokens.push(new);
        drop(tokens);
        self.end(id);
        Some(made)
    }

    fn revoke(self: &Arc<Self>, fits: impl Fn(&Token) -> bool) -> bool {
        let mut tokens = self.tokens.lock().unwrap();
        let Some(token) = tokens.iter_mut().find(|it| !it.revoked && fits(it)) else {
            return false;
        };
        token.revoked = true;
        let id = token.id;
        drop(tokens);
        self.end(id);
        true
    }

    fn end(self: &Arc<Self>, id: usize) {
        let state = Arc::clone(self);
        self.front.when_dead(move || {
            let mut tokens = state.tokens.lock().unwrap();
            tokens.iter_mut().filter(|it| it.id == id).for_each(|it| it.accepted = false);
        });
    }
}

#[derive(Deserialize)]
struct Page {
    user_id: Option<u32>,
    page: Option<usize>,
    per_page: Option<usize>,
}

#[derive(Deserialize)]
struct Expiry {
    expires_at: Option<String>,
}

fn router(state: &Arc<Gitlab>) -> Router {
    let (personal, project) =
        ("/api/v4/personal_access_tokens", "/api/v4/projects/{project}/access_tokens");
    Router::new()
        .route(&format!("{personal}/self"), get(own).delete(end_own))
        .route(&format!("{personal}/self/rotate"), post(rotate))
        .route(&format!("{project}/self/rotate"), post(rotate))
        .route(personal, get(list_personal))
        .route(&format!("{personal}/{{id}}"), delete(revoke_personal))
        .route(project, get(list_project))
        .route(&format!("{project}/{{id}}"), delete(revoke_project))
        .with_state(Arc::clone(state))
}

async fn own(
    State(state): State<Arc<Gitlab>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    Ok(Json(row(&state.caller(&headers)?)))
}

async fn end_own(
    State(state): State<Arc<Gitlab>>,
    headers: HeaderMap,
) -> Result<StatusCode, Response> {
    let caller = state.caller(&headers)?;
    state.revoke(|token| token.id == caller.id);
    Ok(StatusCode::NO_CONTENT)
}

async fn rotate(
    State(state): State<Arc<Gitlab>>,
    Query(expiry): Query<Expiry>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.reuse(&headers);
    let caller = state.with_scope(&headers, &["api", "self_rotate"])?;
    let new = state.rotated(&caller.secret, expiry.expires_at).unwrap();
    let tokens = state.tokens.lock().unwrap();
    let mut body = row(tokens.iter().find(|token| token.secret == new).unwrap());
    body["token"] = new.into();
    Ok(Json(body))
}

async fn list_personal(
    State(state): State<Arc<Gitlab>>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let caller = state.with_scope(&headers, &["api", "read_api"])?;
    if page.user_id.is_some_and(|user| user != caller.user) {
        return Err(message(StatusCode::UNAUTHORIZED, "401 Unauthorized"));
    }
    let fits = |token: &&Token| token.user == caller.user && token.project.is_none();
    Ok(state.page(&page, "/api/v4/personal_access_tokens", fits))
}

async fn list_project(
    State(state): State<Arc<Gitlab>>,
    Path(project): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    state.with_scope(&headers, &["api", "read_api"])?;
    let at = format!("/api/v4/projects/{project}/access_tokens");
    Ok(state.page(&page, &at, |token| token.project.as_ref() == Some(&project)))
}

async fn revoke_personal(
    State(state): State<Arc<Gitlab>>,
    Path(id): Path<usize>,
    headers: HeaderMap,
) -> Result<StatusCode, Response> {
    let caller = state.with_scope(&headers, &["api"])?;
    match state.revoke(|token| token.id == id && token.user == caller.user) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(message(StatusCode::NOT_FOUND, "404 Not Found")),
    }
}

async fn revoke_project(
    State(state): State<Arc<Gitlab>>,
    Path((project, id)): Path<(String, usize)>,
    headers: HeaderMap,
) -> Result<StatusCode, Response> {
    state.with_scope(&headers, &["api"])?;
    match state.revoke(|token| token.id == id && token.project.as_ref() == Some(&project)) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(message(StatusCode::NOT_FOUND, "404 Not Found")),
    }
}

impl Gitlab {
    /// One page of the active tokens that fit, and the way to the next in the `Link` header.
    fn page(&self, page: &Page, at: &str, fits: impl Fn(&&Token) -> bool) -> Response {
        let tokens = self.tokens.lock().unwrap();
        let rows: Vec<Value> =
            tokens.iter().filter(|it| !it.revoked).filter(fits).map(row).collect();
        let (number, size) = (page.page.unwrap_or(1), page.per_page.unwrap_or(20));
        let here: Vec<&Value> = rows.iter().skip((number - 1) * size).take(size).collect();
        let more = rows.len() > number * size;
        let next = format!("<{at}?page={}&per_page={size}>; rel=\"next\"", number + 1);
        let link = [(header::LINK, if more { next } else { String::new() })];
        (link, Json(json!(here))).into_response()
    }
}

fn row(token: &Token) -> Value {
    json!({
        "id": token.id, "name": token.name, "revoked": token.revoked, "active": token.accepted,
        "scopes": token.scopes, "user_id": token.user, "expires_at": token.expires,
        "created_at": "2026-01-02T03:04:05.000Z", "last_used_at": null,
    })
}

fn message(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "message": text }))).into_response()
}
