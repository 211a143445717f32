//! A fake of an issuer with a grace: the old refresh token is taken for a while after it was
//! spent, or until what it was spent for is used. Ory Hydra and Matrix servers are documented so;
//! none of them runs without a network.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use serde_json::json;

use super::fake::{Front, Operation, Running, bearer, random, serve};

const OPERATIONS: &[Operation] = &[
    Operation {
        at: "GET /.well-known/oauth-authorization-server",
        query: &[],
        required: &[],
        optional: &[],
    },
    Operation {
        at: "POST /token",
        query: &[],
        required: &["grant_type", "refresh_token"],
        optional: &["client_id"],
    },
    Operation {
        at: "POST /introspect",
        query: &[],
        required: &["token"],
        optional: &["token_type_hint"],
    },
    Operation {
        at: "POST /revoke",
        query: &[],
        required: &["token"],
        optional: &["token_type_hint"],
    },
    Operation { at: "GET /userinfo", query: &[], required: &[], optional: &[] },
];

/// How long an old refresh token is still taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grace {
    /// For so long.
    For(Duration),
    /// Until the new access token is used once.
    UntilUsed,
    /// For good: no new one is ever given, and the end of any token ends them all.
    ForGood,
}

/// An issuer of one family of tokens.
pub(crate) struct FakeGrace {
    state: Arc<Issuer>,
    running: Running,
}

impl Deref for FakeGrace {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

struct Issuer {
    front: Arc<Front>,
    grace: Grace,
    address: Mutex<String>,
    tokens: Mutex<Vec<Token>>,
}

struct Token {
    refresh: String,
    access: String,
    spent: Option<Instant>,
    ended: bool,
}

impl FakeGrace {
    /// Starts it on a free port.
    pub(crate) async fn start(grace: Grace) -> Self {
        let front = Front::new(OPERATIONS);
        let state = Arc::new(Issuer {
            front: Arc::clone(&front),
            grace,
            address: Mutex::default(),
            tokens: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/token", post(token))
            .route("/introspect", post(introspect))
            .route("/revoke", post(revoke))
            .route("/userinfo", get(userinfo))
            .with_state(Arc::clone(&state));
        let running = serve(&front, router).await;
        state.address.lock().unwrap().clone_from(&running.address);
        Self { state, running }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn issuer(&self) -> String {
        self.running.address.clone()
    }

    /// The first refresh token of the family, and its access token.
    pub(crate) fn pair(&self) -> (String, String) {
        self.state.mint()
    }

    /// Whether a refresh token would be taken.
    pub(crate) fn is_taken(&self, refresh: &str) -> bool {
        self.state.is_taken(refresh)
    }
}

impl Issuer {
    fn mint(&self) -> (String, String) {
        let (refresh, access) = (random("rt_"), random("at_"));
        let token =
            Token { refresh: refresh.clone(), access: access.clone(), spent: None, ended: false };
        self.tokens.lock().unwrap().push(token);
        (refresh, access)
    }

    fn is_taken(&self, refresh: &str) -> bool {
        let tokens = self.tokens.lock().unwrap();
        let known = tokens.iter().find(|token| token.refresh == refresh && !token.ended);
        known.is_some_and(|token| match (token.spent, self.grace) {
            (None, _) | (Some(_), Grace::UntilUsed | Grace::ForGood) => true,
            (Some(at), Grace::For(grace)) => at.elapsed() < grace,
        })
    }
}

async fn metadata(State(issuer): State<Arc<Issuer>>) -> Response {
    let at = issuer.address.lock().unwrap().clone();
    let endpoint = |path: &str| format!("{at}/{path}");
    Json(json!({
        "issuer": at,
        "token_endpoint": endpoint("token"),
        "introspection_endpoint": endpoint("introspect"),
        "revocation_endpoint": endpoint("revoke"),
        "userinfo_endpoint": endpoint("userinfo"),
    }))
    .into_response()
}

async fn token(
    State(issuer): State<Arc<Issuer>>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Response {
    let old = &form["refresh_token"];
    if !issuer.is_taken(old) {
        let no = json!({ "error": "invalid_grant" });
        return (StatusCode::BAD_REQUEST, Json(no)).into_response();
    }
    if matches!(issuer.grace, Grace::ForGood) {
        let access = random("at_");
        return Json(json!({ "access_token": access, "token_type": "bearer" })).into_response();
    }
    let (refresh, access) = issuer.mint();
    for token in issuer.tokens.lock().unwrap().iter_mut().filter(|it| it.refresh == *old) {
        token.spent.get_or_insert_with(Instant::now);
    }
    Json(json!({ "access_token": access, "refresh_token": refresh, "token_type": "bearer" }))
        .into_response()
}

async fn introspect(
    State(issuer): State<Arc<Issuer>>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Response {
    let active = issuer.is_taken(&form["token"]);
    Json(match active {
        true => json!({ "active": true, "sub": "ana", "client_id": "mail-agent" }),
        false => json!({ "active": false }),
    })
    .into_response()
}

async fn revoke(
    State(issuer): State<Arc<Issuer>>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Response {
    for token in issuer.tokens.lock().unwrap().iter_mut() {
        let family = matches!(issuer.grace, Grace::ForGood);
        token.ended |= family || token.refresh == form["token"];
    }
    StatusCode::OK.into_response()
}

async fn userinfo(State(issuer): State<Arc<Issuer>>, headers: HeaderMap) -> Response {
    let mut tokens = issuer.tokens.lock().unwrap();
    if !tokens.iter().any(|token| token.access == bearer(&headers)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if matches!(issuer.grace, Grace::UntilUsed) {
        for token in tokens.iter_mut().filter(|token| token.spent.is_some()) {
            token.ended = true;
        }
    }
    Json(json!({ "sub": "ana" })).into_response()
}
