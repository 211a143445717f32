//! The OAuth server of the lab: opaque tokens, RFC 8414 metadata, RFC 7009 revocation, RFC 7662
//! introspection, refresh with rotation and reuse detection.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{now, random};

/// The only client there is.
pub(super) const CLIENT_ID: &str = "mail-agent";

/// An hour, as most servers give; longer than any demonstration.
const LIFE_SECONDS: i64 = 3600;

/// One authorization server with one confidential client.
pub(super) struct OAuth {
    issuer: String,
    client_secret: Zeroizing<String>,
    tokens: Mutex<Vec<Token>>,
    grants: AtomicU64,
    asks: AtomicU64,
}

struct Token {
    value: Zeroizing<String>,
    kind: Kind,
    grant: u64,
    issued: i64,
    live: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Access,
    Refresh,
}

type Fields = BTreeMap<String, String>;

impl OAuth {
    pub(super) fn new(issuer: String) -> Arc<Self> {
        Arc::new(Self {
            issuer,
            client_secret: random("ocs_"),
            tokens: Mutex::default(),
            grants: AtomicU64::new(0),
            asks: AtomicU64::new(0),
        })
    }

    /// An access token of a new grant, as if issued before the incident.
    pub(super) fn seed(&self) -> Zeroizing<String> {
        self.issue(Kind::Access, self.new_grant())
    }

    /// A refresh token of a new grant, as if a person had consented.
    #[cfg(test)]
    pub(super) fn seed_refresh(&self) -> Zeroizing<String> {
        self.issue(Kind::Refresh, self.new_grant())
    }

    pub(super) fn client_secret(&self) -> &str {
        &self.client_secret
    }

    /// Whether it would be introspected as active. Counts as no use.
    pub(super) fn is_alive(&self, value: &str) -> bool {
        self.tokens().iter().any(|token| *token.value == value && token.live)
    }

    /// Requests heard so far.
    pub(super) fn asks(&self) -> u64 {
        self.asks.load(Ordering::Relaxed)
    }

    pub(super) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/token", post(token))
            .route("/revoke", post(revoke))
            .route("/introspect", post(introspect))
            .with_state(Arc::clone(self))
    }

    fn tokens(&self) -> MutexGuard<'_, Vec<Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_grant(&self) -> u64 {
        self.grants.fetch_add(1, Ordering::Relaxed)
    }

    fn issue(&self, kind: Kind, grant: u64) -> Zeroizing<String> {
        let value = random(if kind == Kind::Access { "oat_" } else { "ort_" });
        self.tokens().push(Token {
            value: value.clone(),
            kind,
            grant,
            issued: now().as_second(),
            live: true,
        });
        value
    }

    fn end_grant(&self, grant: u64) {
        for token in self.tokens().iter_mut().filter(|token| token.grant == grant) {
            token.live = false;
        }
    }

    /// Spends a refresh token: its grant, or nothing if it was spent before (and then the grant
    /// is ended: somebody else holds it too).
    fn spend(&self, refresh: &str) -> Option<u64> {
        let mut tokens = self.tokens();
        let token = tokens
            .iter_mut()
            .find(|token| token.kind == Kind::Refresh && *token.value == refresh)?;
        let (grant, was_live) = (token.grant, token.live);
        token.live = false;
        drop(tokens);
        if !was_live {
            self.end_grant(grant);
        }
        was_live.then_some(grant)
    }

    fn is_client(&self, headers: &HeaderMap) -> bool {
        self.asks.fetch_add(1, Ordering::Relaxed);
        basic(headers).is_some_and(|(id, secret)| id == CLIENT_ID && *secret == *self.client_secret)
    }
}

async fn metadata(State(oauth): State<Arc<OAuth>>) -> Json<Value> {
    oauth.asks.fetch_add(1, Ordering::Relaxed);
    let issuer = &oauth.issuer;
    Json(json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "introspection_endpoint": format!("{issuer}/introspect"),
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
    }))
}

async fn token(
    State(oauth): State<Arc<OAuth>>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Response {
    if !oauth.is_client(&headers) {
        return invalid_client();
    }
    let (grant, refreshes) = match fields.get("grant_type").map(String::as_str) {
        Some("client_credentials") => (oauth.new_grant(), false),
        Some("refresh_token") => {
            let spent = fields.get("refresh_token").and_then(|refresh| oauth.spend(refresh));
            let Some(grant) = spent else { return bad_request("invalid_grant") };
            (grant, true)
        }
        Some(_) => return bad_request("unsupported_grant_type"),
        None => return bad_request("invalid_request"),
    };
    let mut body = json!({
        "access_token": *oauth.issue(Kind::Access, grant),
        "token_type": "Bearer",
        "expires_in": LIFE_SECONDS,
    });
    if let Some(scope) = fields.get("scope") {
        body["scope"] = json!(scope);
    }
    if refreshes {
        body["refresh_token"] = json!(*oauth.issue(Kind::Refresh, grant));
    }
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// RFC 7009: 200 for a token it never heard of, too.
async fn revoke(
    State(oauth): State<Arc<OAuth>>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Response {
    if !oauth.is_client(&headers) {
        return invalid_client();
    }
    let Some(value) = fields.get("token") else { return bad_request("invalid_request") };
    let found = oauth.tokens().iter_mut().find(|token| *token.value == *value).map(|token| {
        token.live = false;
        (token.kind, token.grant)
    });
    if let Some((Kind::Refresh, grant)) = found {
        oauth.end_grant(grant);
    }
    StatusCode::OK.into_response()
}

async fn introspect(
    State(oauth): State<Arc<OAuth>>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Response {
    if !oauth.is_client(&headers) {
        return invalid_client();
    }
    let Some(value) = fields.get("token") else { return bad_request("invalid_request") };
    let tokens = oauth.tokens();
    let Some(token) = tokens.iter().find(|token| *token.value == *value && token.live) else {
        return Json(json!({ "active": false })).into_response();
    };
    Json(json!({
        "active": true,
        "client_id": CLIENT_ID,
        "sub": CLIENT_ID,
        "token_type": "Bearer",
        "iss": oauth.issuer,
        "iat": token.issued,
        "exp": token.issued + LIFE_SECONDS,
    }))
    .into_response()
}

/// RFC 6749, 2.3.1: both halves are form-encoded before they are joined.
fn basic(headers: &HeaderMap) -> Option<(String, Zeroizing<String>)> {
    let encoded = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let joined = Zeroizing::new(String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?);
    let (id, secret) = joined.split_once(':')?;
    let plain = |part| percent_decode_str(part).decode_utf8().map(String::from).ok();
    Some((plain(id)?, Zeroizing::new(plain(secret)?)))
}

fn invalid_client() -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"lab\"")];
    let body = Json(json!({ "error": "invalid_client" }));
    (StatusCode::UNAUTHORIZED, challenge, body).into_response()
}

fn bad_request(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
}
