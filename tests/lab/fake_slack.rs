//! A fake of Slack's tokens. Parameters and answers are those of slackapi/slack-api-specs
//! (`slack_web_openapi_v2.json`, 2021, which knows `GET` alone); that every method also takes
//! `POST`, a bearer token and, for `oauth.v2.access`, a refresh token is from docs.slack.dev.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fake::{Front, Operation, Running, bearer, random, serve};

const fn operation(at: &'static str) -> Operation {
    Operation { at, query: &[], required: &[], optional: &[] }
}

const OPERATIONS: &[Operation] = &[
    operation("GET /api/auth.test"),
    operation("POST /api/auth.test"),
    Operation { query: &["test"], ..operation("GET /api/auth.revoke") },
    Operation { optional: &["test"], ..operation("POST /api/auth.revoke") },
    Operation {
        required: &["grant_type", "refresh_token", "client_id", "client_secret"],
        ..operation("POST /api/oauth.v2.access")
    },
    Operation { optional: &["text"], ..operation("POST /services/{}/{}/{}") },
];

/// Twelve hours: what Slack gives a rotating token.
const LIFE_SECONDS: u32 = 43_200;

/// A stateful fake of Slack's tokens.
pub(crate) struct FakeSlack {
    state: Arc<Slack>,
    running: Running,
}

impl Deref for FakeSlack {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

struct Slack {
    front: Arc<Front>,
    tokens: Mutex<Vec<Token>>,
}

struct Token {
    value: String,
    kind: Kind,
    state: Life,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bearer,
    Refresh,
    Webhook,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Live,
    Revoked,
}

impl FakeSlack {
    /// The app's client id.
    pub(crate) const CLIENT_ID: &str = "1111111111.2222222222";
    /// The app's client secret.
    pub(crate) const CLIENT_SECRET: &str = "made-up-client-secret-of-the-lab";

    /// Starts it on a free port.
    pub(crate) async fn start() -> Self {
        let front = Front::new(OPERATIONS);
        let state = Arc::new(Slack { front: Arc::clone(&front), tokens: Mutex::default() });
        let running = serve(&front, router(&state)).await;
        Self { state, running }
    }

    /// For the inventory, base `api`: `http://127.0.0.1:PORT/api`.
    pub(crate) fn base(&self) -> String {
        format!("{}/api", self.running.address)
    }

    /// For the inventory, base `hooks`: `http://127.0.0.1:PORT`.
    pub(crate) fn hooks(&self) -> String {
        self.running.address.clone()
    }

    /// A new bot token.
    pub(crate) fn bot_token(&self) -> String {
        self.state.add(&random("xoxb-1234567890-1234567890-"), Kind::Bearer)
    }

    /// A new pair: access token and refresh token.
    pub(crate) fn rotating_pair(&self) -> (String, String) {
        self.state.pair()
    }

    /// A new webhook: the URL that Slack would show.
    pub(crate) fn webhook(&self) -> String {
        let path = format!("T1/B1/{}", &random("")[..24]);
        format!("https://hooks.slack.com/services/{}", self.state.add(&path, Kind::Webhook))
    }

    /// Ends a webhook, as a person does on the app's page.
    pub(crate) fn remove_webhook(&self, url: &str) {
        self.state.kill(url.trim_start_matches("https://hooks.slack.com/services/"));
    }

    /// Whether the server would accept that token or webhook.
    pub(crate) fn is_alive(&self, value: &str) -> bool {
        self.state.is_live(value.trim_start_matches("https://hooks.slack.com/services/"))
    }
}

impl Slack {
    fn add(&self, value: &str, kind: Kind) -> String {
        let token = Token { value: value.to_owned(), kind, state: Life::Live };
        self.tokens.lock().unwrap().push(token);
        value.to_owned()
    }

    fn pair(&self) -> (String, String) {
        let access = self.add(&random("xoxe.xoxb-1-"), Kind::Bearer);
        (access, self.add(&random("xoxe-1-"), Kind::Refresh))
    }

    fn is_live(&self, value: &str) -> bool {
        let tokens = self.tokens.lock().unwrap();
        tokens.iter().any(|token| token.value == value && token.state == Life::Live)
    }

    fn kill(&self, value: &str) {
        let mut tokens = self.tokens.lock().unwrap();
        for token in tokens.iter_mut().filter(|token| token.value == value) {
            token.state = Life::Revoked;
        }
    }

    /// The bearer token, or the word that Slack has for it.
    fn caller<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, &'static str> {
        let value = bearer(headers);
        if value.is_empty() {
            return Err("not_authed");
        }
        let tokens = self.tokens.lock().unwrap();
        match tokens.iter().find(|token| token.value == value && token.kind == Kind::Bearer) {
            Some(Token { state: Life::Live, .. }) => Ok(value),
            Some(Token { state: Life::Revoked, .. }) => Err("token_revoked"),
            None => Err("invalid_auth"),
        }
    }
}

#[derive(Deserialize)]
struct Revocation {
    test: Option<String>,
}

#[derive(Deserialize)]
struct Refresh {
    grant_type: String,
    refresh_token: String,
    client_id: String,
    client_secret: String,
}

fn router(state: &Arc<Slack>) -> Router {
    Router::new()
        .route("/api/auth.test", get(auth_test).post(auth_test))
        .route("/api/auth.revoke", get(auth_revoke).post(auth_revoke))
        .route("/api/oauth.v2.access", post(access))
        .route("/services/{team}/{hook}/{token}", post(webhook))
        .with_state(Arc::clone(state))
}

async fn auth_test(State(state): State<Arc<Slack>>, headers: HeaderMap) -> Json<Value> {
    match state.caller(&headers) {
        Ok(_) => Json(json!({
            "ok": true, "url": "https://example.slack.com/", "team": "Example", "user": "mail",
            "team_id": "T1", "user_id": "U1", "bot_id": "B1", "is_enterprise_install": false,
        })),
        Err(error) => refusal(error),
    }
}

async fn auth_revoke(
    State(state): State<Arc<Slack>>,
    headers: HeaderMap,
    form: Result<Form<Revocation>, axum::extract::rejection::FormRejection>,
) -> Json<Value> {
    let value = match state.caller(&headers) {
        Ok(value) => value.to_owned(),
        Err(error) => return refusal(error),
    };
    // `test` set: a dry run.
    if form.is_ok_and(|Form(form)| form.test.is_some_and(|test| !test.is_empty())) {
        return Json(json!({ "ok": true, "revoked": false }));
    }
    let slack = Arc::clone(&state);
    state.front.when_dead(move || slack.kill(&value));
    Json(json!({ "ok": true, "revoked": true }))
}

async fn access(State(state): State<Arc<Slack>>, Form(form): Form<Refresh>) -> Json<Value> {
    if form.client_id != FakeSlack::CLIENT_ID || form.client_secret != FakeSlack::CLIENT_SECRET {
        return refusal("bad_client_secret");
    }
    if form.grant_type != "refresh_token" {
        return refusal("invalid_grant_type");
    }
    let fits = |token: &&mut Token| {
        (token.kind, token.state) == (Kind::Refresh, Life::Live)
            && token.value == form.refresh_token
    };
    match state.tokens.lock().unwrap().iter_mut().find(fits) {
        Some(token) => token.state = Life::Revoked,
        None => return refusal("invalid_refresh_token"),
    }
    let (access_token, refresh_token) = state.pair();
    Json(json!({
        "ok": true, "access_token": access_token, "refresh_token": refresh_token,
        "expires_in": LIFE_SECONDS, "token_type": "bot", "bot_user_id": "U1",
    }))
}

/// An empty message is refused by a live webhook: nothing is posted.
async fn webhook(
    State(state): State<Arc<Slack>>,
    Path((team, hook, token)): Path<(String, String, String)>,
    Json(message): Json<Value>,
) -> Response {
    if !state.is_live(&format!("{team}/{hook}/{token}")) {
        (StatusCode::FORBIDDEN, "invalid_token").into_response()
    } else if message["text"].is_string() {
        "ok".into_response()
    } else {
        (StatusCode::BAD_REQUEST, "no_text").into_response()
    }
}

fn refusal(error: &str) -> Json<Value> {
    Json(json!({ "ok": false, "error": error }))
}
