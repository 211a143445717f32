//! An OAuth issuer whose secrets are made of what escapes and codings change.

use std::sync::{Arc, Mutex};

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::acme::{random, serve};

/// The only client.
pub(crate) const CLIENT: &str = "mail-agent";

/// A running issuer with one client. It ends with the test process.
pub(crate) struct Issuer {
    /// `http://127.0.0.1:PORT`.
    pub(crate) base: String,
    book: Arc<Book>,
}

struct Book {
    base: Mutex<String>,
    secret: String,
    /// Tokens, and whether they live.
    tokens: Mutex<Vec<(String, bool)>>,
}

#[derive(serde::Deserialize)]
struct Sent {
    #[serde(default)]
    token: String,
}

impl Issuer {
    pub(crate) fn start() -> Self {
        let book =
            Arc::new(Book { base: Mutex::default(), secret: odd("ocs"), tokens: Mutex::default() });
        let router = Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/token", post(token))
            .route("/introspect", post(introspect))
            .route("/revoke", post(revoke))
            .with_state(Arc::clone(&book));
        let base = format!("http://{}", serve(router));
        book.base.lock().unwrap().clone_from(&base);
        Self { base, book }
    }

    /// A token that was there before.
    pub(crate) fn seed(&self) -> String {
        self.book.issue()
    }

    pub(crate) fn secret(&self) -> &str {
        &self.book.secret
    }

    pub(crate) fn tokens(&self) -> Vec<String> {
        self.book.tokens.lock().unwrap().iter().map(|(token, _)| token.clone()).collect()
    }
}

/// A secret with what JSON, URLs, forms and base64 write in another way.
pub(crate) fn odd(prefix: &str) -> String {
    format!("{prefix}+/=%&\"\\<{}~", random("."))
}

impl Book {
    fn issue(&self) -> String {
        let token = odd("oat");
        self.tokens.lock().unwrap().push((token.clone(), true));
        token
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let basic = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
        let coded = basic.and_then(|it| it.strip_prefix("Basic ")).unwrap_or_default();
        let pair = String::from_utf8(STANDARD.decode(coded).unwrap_or_default()).unwrap();
        // RFC 6749, 2.3.1: both are form-encoded before they are joined.
        let secret = pair.split_once(':').unwrap_or_default().1.as_bytes();
        url::form_urlencoded::parse(secret).next().is_some_and(|(it, _)| it == self.secret)
    }
}

async fn metadata(State(book): State<Arc<Book>>) -> Json<Value> {
    let base = book.base.lock().unwrap().clone();
    Json(json!({
        "issuer": base,
        "token_endpoint": format!("{base}/token"),
        "introspection_endpoint": format!("{base}/introspect"),
        "revocation_endpoint": format!("{base}/revoke"),
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    }))
}

async fn token(State(book): State<Arc<Book>>, headers: HeaderMap) -> Response {
    if !book.knows(&headers) {
        return refusal();
    }
    let token = book.issue();
    Json(json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }))
        .into_response()
}

async fn introspect(
    State(book): State<Arc<Book>>,
    headers: HeaderMap,
    Form(sent): Form<Sent>,
) -> Response {
    if !book.knows(&headers) {
        return refusal();
    }
    let live = book.tokens.lock().unwrap().contains(&(sent.token, true));
    let answer = match live {
        true => json!({ "active": true, "client_id": CLIENT, "sub": CLIENT }),
        false => json!({ "active": false }),
    };
    Json(answer).into_response()
}

async fn revoke(
    State(book): State<Arc<Book>>,
    headers: HeaderMap,
    Form(sent): Form<Sent>,
) -> Response {
    if !book.knows(&headers) {
        return refusal();
    }
    for (token, live) in book.tokens.lock().unwrap().iter_mut() {
        *live &= *token != sent.token;
    }
    StatusCode::OK.into_response()
}

fn refusal() -> Response {
    (StatusCode::UNAUTHORIZED, Json(json!({ "error": "invalid_client" }))).into_response()
}
