//! A fake of Cloudflare's API tokens. Its operations are those of cloudflare/cloudflare-typescript,
//! made from the vendor's own description (`src/resources/{user,accounts}/tokens`, commit
//! faaaf89e); its refusals are those that favonia/cloudflare-ddns tests against.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fake::{Front, Operation, Running, bearer, random, serve};

const fn operation(at: &'static str) -> Operation {
    Operation { at, query: &[], required: &[], optional: &[] }
}

const LIST: &[&str] = &["page", "per_page", "direction", "include_expired"];

const OPERATIONS: &[Operation] = &[
    operation("GET /client/v4/user/tokens/verify"),
    Operation { query: LIST, ..operation("GET /client/v4/user/tokens") },
    operation("GET /client/v4/user/tokens/{}"),
    operation("DELETE /client/v4/user/tokens/{}"),
    operation("PUT /client/v4/user/tokens/{}/value"),
    operation("GET /client/v4/accounts/{}/tokens/verify"),
    Operation { query: LIST, ..operation("GET /client/v4/accounts/{}/tokens") },
    operation("GET /client/v4/accounts/{}/tokens/{}"),
    operation("DELETE /client/v4/accounts/{}/tokens/{}"),
    operation("PUT /client/v4/accounts/{}/tokens/{}/value"),
];

/// A stateful fake of Cloudflare's API tokens.
pub(crate) struct FakeCloudflare {
    state: Arc<Cloudflare>,
    running: Running,
}

impl Deref for FakeCloudflare {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// A token, and its id, which a roll keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloudflareToken {
    /// 32 hexadecimal digits.
    pub(crate) handle: String,
    /// `cfut_...`, or `cfat_...` of an account.
    pub(crate) secret: String,
}

struct Cloudflare {
    front: Arc<Front>,
    tokens: Mutex<Vec<Token>>,
}

#[derive(Clone)]
struct Token {
    id: String,
    name: String,
    account: Option<String>,
    edits: bool,
    status: &'static str,
    /// Every value it ever had, and whether it is accepted.
    values: Vec<(String, bool)>,
}

impl FakeCloudflare {
    /// Starts it on a free port.
    pub(crate) async fn start() -> Self {
        let front = Front::new(OPERATIONS);
        let state = Arc::new(Cloudflare { front: Arc::clone(&front), tokens: Mutex::default() });
        let running = serve(&front, router(&state)).await;
        Self { state, running }
    }

    /// For the inventory: `http://127.0.0.1:PORT/client/v4`.
    pub(crate) fn base(&self) -> String {
        format!("{}/client/v4", self.running.address)
    }

    /// A new token of the user.
    pub(crate) fn user_token(&self, name: &str) -> CloudflareToken {
        self.state.add(name, None, false)
    }

    /// A new token of an account.
    pub(crate) fn account_token(&self, account: &str, name: &str) -> CloudflareToken {
        self.state.add(name, Some(account), false)
    }

    /// A new token of the user that may edit tokens.
    pub(crate) fn editor(&self) -> CloudflareToken {
        self.state.add("editor", None, true)
    }

    /// Whether the server would accept it.
    pub(crate) fn is_alive(&self, secret: &str) -> bool {
        self.state.holder(secret).is_some_and(|token| token.status == "active")
    }

    /// A person disables it in the dashboard: its value is still told, with that status.
    pub(crate) fn disable(&self, handle: &str) {
        let mut tokens = self.state.tokens.lock().unwrap();
        tokens.iter_mut().filter(|it| it.id == handle).for_each(|it| it.status = "disabled");
    }

    /// Names of what is listed.
    pub(crate) fn listed(&self) -> Vec<String> {
        self.state.tokens.lock().unwrap().iter().map(|token| token.name.clone()).collect()
    }
}

impl Cloudflare {
    fn add(&self, name: &str, account: Option<&str>, edits: bool) -> CloudflareToken {
        let id: [u8; 16] = rand::random();
        let token = Token {
            id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            name: name.to_owned(),
            account: account.map(str::to_owned),
            edits,
            status: "active",
            values: vec![(value(account.is_some()), true)],
        };
        let made = CloudflareToken { handle: token.id.clone(), secret: token.values[0].0.clone() };
        self.tokens.lock().unwrap().push(token);
        made
    }

    /// The token that has this value, if the value is still accepted.
    fn holder(&self, secret: &str) -> Option<Token> {
        let has = |token: &&Token| token.values.iter().any(|(value, on)| *on && value == secret);
        self.tokens.lock().unwrap().iter().find(has).cloned()
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Token, Response> {
        match self.holder(bearer(headers)) {
            Some(token) => Ok(token),
            None => Err(error(StatusCode::UNAUTHORIZED, 1000, "Invalid API Token")),
        }
    }

    fn editor(&self, headers: &HeaderMap) -> Result<(), Response> {
        let caller = self.caller(headers)?;
        let message = "Unauthorized to access requested resource";
        let refused = || error(StatusCode::FORBIDDEN, 9109, message);
        (caller.edits && caller.status == "active").then_some(()).ok_or_else(refused)
    }

    /// Ends values of a token when a credential that is revoked now shall die.
    fn end(self: &Arc<Self>, id: String, values: Vec<String>) {
        let state = Arc::clone(self);
        self.front.when_dead(move || {
            let mut tokens = state.tokens.lock().unwrap();
            for token in tokens.iter_mut().filter(|token| token.id == id) {
                token.values.retain(|(value, _)| !values.contains(value));
            }
        });
    }
}

#[derive(Deserialize)]
struct Page {
    page: Option<usize>,
    per_page: Option<usize>,
}

fn router(state: &Arc<Cloudflare>) -> Router {
    let (user, account) = ("/client/v4/user/tokens", "/client/v4/accounts/{account}/tokens");
    let mut router = Router::new();
    for base in [user, account] {
        router = router
            .route(&format!("{base}/verify"), get(verify))
            .route(base, get(list))
            .route(&format!("{base}/{{id}}"), get(retrieve).delete(remove))
            .route(&format!("{base}/{{id}}/value"), put(roll));
    }
    router.with_state(Arc::clone(state))
}

/// The last of the path's segments is the token's id; an account may stand before it.
type Segments = Path<Vec<(String, String)>>;

fn of(segments: &Segments, name: &str) -> Option<String> {
    segments.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
}

async fn verify(
    State(state): State<Arc<Cloudflare>>,
    segments: Segments,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    let caller = state.caller(&headers)?;
    if caller.account != of(&segments, "account") {
        return Err(error(StatusCode::UNAUTHORIZED, 1000, "Invalid API Token"));
    }
    Ok(done(json!({ "id": caller.id, "status": caller.status })))
}

async fn list(
    State(state): State<Arc<Cloudflare>>,
    segments: Segments,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.editor(&headers)?;
    let account = of(&segments, "account");
    let tokens = state.tokens.lock().unwrap();
    let per_page = page.per_page.unwrap_or(20);
    let here = tokens.iter().filter(|token| token.account == account);
    let rows = here.skip((page.page.unwrap_or(1) - 1) * per_page).take(per_page).map(row);
    Ok(done(rows.collect()))
}

async fn retrieve(
    State(state): State<Arc<Cloudflare>>,
    segments: Segments,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.editor(&headers)?;
    let id = of(&segments, "id");
    let tokens = state.tokens.lock().unwrap();
    let found = tokens.iter().find(|token| Some(&token.id) == id.as_ref());
    found.map(|token| done(row(token))).ok_or_else(not_found)
}

async fn roll(
    State(state): State<Arc<Cloudflare>>,
    segments: Segments,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.editor(&headers)?;
    let (id, account) = (of(&segments, "id"), of(&segments, "account"));
    let (new, id, old) = {
        let mut tokens = state.tokens.lock().unwrap();
        let fits = |it: &&mut Token| Some(&it.id) == id.as_ref() && it.account == account;
        let token = tokens.iter_mut().find(fits).ok_or_else(not_found)?;
        let old: Vec<String> = token.values.iter().map(|(value, _)| value.clone()).collect();
        let new = value(account.is_some());
        token.values.push((new.clone(), true));
        (new, token.id.clone(), old)
    };
    state.end(id, old);
    Ok(done(new.into()))
}

async fn remove(
    State(state): State<Arc<Cloudflare>>,
    segments: Segments,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    state.editor(&headers)?;
    let id = of(&segments, "id");
    let (id, values) = {
        let tokens = state.tokens.lock().unwrap();
        let found = tokens.iter().find(|token| Some(&token.id) == id.as_ref());
        let token = found.ok_or_else(not_found)?;
        (token.id.clone(), token.values.iter().map(|(value, _)| value.clone()).collect())
    };
    state.end(id.clone(), values);
    Ok(done(json!({ "id": id })))
}

fn value(account: bool) -> String {
    let prefix = if account { "cfat_" } else { "cfut_" };
    format!("{prefix}{}{}", random(""), &random("")[..16])
}

fn row(token: &Token) -> Value {
    json!({
        "id": token.id, "name": token.name, "status": token.status, "policies": [],
        "issued_on": "2026-01-02T03:04:05Z", "last_used_on": null,
    })
}

fn done(result: Value) -> Json<Value> {
    Json(json!({ "success": true, "errors": [], "messages": [], "result": result }))
}

fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, 1003, "not found")
}

fn error(status: StatusCode, code: u16, message: &str) -> Response {
    let errors = json!([{ "code": code, "message": message }]);
    let body = json!({ "success": false, "errors": errors, "messages": [], "result": null });
    (status, Json(body)).into_response()
}
