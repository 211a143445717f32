//! The API-key provider of the lab, and its twin that lies.
//!
//! Each key is known to two replicas. A revocation reaches the first after [`FIRST_REPLICA`], the
//! second after [`SECOND_REPLICA`]; requests with a revoked key go to them in turn. So a revoked
//! key is refused, then accepted again, then refused for good, as behind a real load balancer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{now, random};

/// Long enough that a probe sent at once is still accepted, short enough to be refused first.
const FIRST_REPLICA: Duration = Duration::from_millis(300);

/// Longer than a careless tool waits, and seen as a flap by one that keeps asking.
const SECOND_REPLICA: Duration = Duration::from_millis(1200);

/// One server: keys of one account, and the admin key that issues and revokes them.
pub(super) struct Acme {
    keys: Mutex<Vec<Key>>,
    admin: Zeroizing<String>,
    honesty: Honesty,
    asks: AtomicU64,
}

/// What a revocation is worth.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Honesty {
    /// A revoked key dies, late.
    Honest,
    /// The answer is 204, the key leaves the list, and goes on working.
    Liar,
}

struct Key {
    id: String,
    name: String,
    secret: Zeroizing<String>,
    created_at: String,
    last_used_at: Option<String>,
    revoked: bool,
    known_to: [bool; 2],
    asks_since_revoked: usize,
}

impl Acme {
    pub(super) fn new(honesty: Honesty) -> Arc<Self> {
        Arc::new(Self {
            keys: Mutex::default(),
            admin: random("acmeadm_"),
            honesty,
            asks: AtomicU64::new(0),
        })
    }

    /// A key that was there before the incident.
    pub(super) fn seed(&self, name: &str) -> Zeroizing<String> {
        self.issue(name, "2026-03-02T09:00:00Z".to_owned()).1
    }

    pub(super) fn admin(&self) -> &str {
        &self.admin
    }

    /// Whether any replica still accepts it. Counts as no use.
    pub(super) fn is_alive(&self, secret: &str) -> bool {
        self.keys().iter().any(|key| *key.secret == secret && key.known_to.contains(&true))
    }

    /// Ids of the keys that its list shows.
    pub(super) fn listed(&self) -> Vec<String> {
        self.keys().iter().filter(|key| !key.revoked).map(|key| key.id.clone()).collect()
    }

    /// Requests heard so far.
    pub(super) fn asks(&self) -> u64 {
        self.asks.load(Ordering::Relaxed)
    }

    pub(super) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/v1/me", get(me))
            .route("/v1/keys", get(list).post(create))
            .route("/v1/keys/current", delete(delete_current))
            .route("/v1/keys/{id}", delete(delete_by_id))
            .with_state(Arc::clone(self))
    }

    fn keys(&self) -> MutexGuard<'_, Vec<Key>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn issue(&self, name: &str, created_at: String) -> (String, Zeroizing<String>) {
        let id = format!("key_{}", &random("")[..12]);
        let secret = random("acme_");
        self.keys().push(Key {
            id: id.clone(),
            name: name.to_owned(),
            secret: secret.clone(),
            created_at,
            last_used_at: None,
            revoked: false,
            known_to: [true; 2],
            asks_since_revoked: 0,
        });
        (id, secret)
    }

    fn caller(&self, headers: &HeaderMap) -> Caller {
        self.asks.fetch_add(1, Ordering::Relaxed);
        let Some(secret) = bearer(headers) else { return Caller::Nobody };
        if secret == self.admin.as_str() {
            return Caller::Admin;
        }
        let mut keys = self.keys();
        let Some(key) = keys.iter_mut().find(|key| *key.secret == secret) else {
            return Caller::Nobody;
        };
        let accepted = if key.revoked {
            key.asks_since_revoked += 1;
            key.known_to[key.asks_since_revoked % 2]
        } else {
            true
        };
        if !accepted {
            return Caller::Nobody;
        }
        key.last_used_at = Some(now().to_string());
        Caller::Key(key.id.clone())
    }

    /// Whether there was such a key to revoke.
    fn revoke(self: &Arc<Self>, id: &str) -> bool {
        let mut keys = self.keys();
        let Some(key) = keys.iter_mut().find(|key| key.id == id && !key.revoked) else {
            return false;
        };
        key.revoked = true;
        drop(keys);
        if self.honesty == Honesty::Honest {
            let (acme, id) = (Arc::clone(self), id.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(FIRST_REPLICA).await;
                acme.forget(&id, 0);
                tokio::time::sleep(SECOND_REPLICA.saturating_sub(FIRST_REPLICA)).await;
                acme.forget(&id, 1);
            });
        }
        true
    }

    fn forget(&self, id: &str, replica: usize) {
        for key in self.keys().iter_mut().filter(|key| key.id == id) {
            if let Some(known) = key.known_to.get_mut(replica) {
                *known = false;
            }
        }
    }
}

enum Caller {
    Admin,
    Key(String),
    Nobody,
}

#[derive(Deserialize)]
struct NewKey {
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
}

async fn me(State(acme): State<Arc<Acme>>, headers: HeaderMap) -> Response {
    let account = match acme.caller(&headers) {
        Caller::Admin => "acct_admin",
        Caller::Key(_) => "acct_1",
        Caller::Nobody => return refusal(StatusCode::UNAUTHORIZED, "invalid_key"),
    };
    Json(json!({ "account": { "id": account }, "status": "active" })).into_response()
}

async fn list(State(acme): State<Arc<Acme>>, headers: HeaderMap) -> Response {
    if let Some(refusal) = refusal_unless_admin(&acme, &headers) {
        return refusal;
    }
    let rows: Vec<Value> = acme
        .keys()
        .iter()
        .filter(|key| !key.revoked)
        .map(|key| {
            json!({
                "id": key.id,
                "name": key.name,
                "created_at": key.created_at,
                "last_used_at": key.last_used_at,
            })
        })
        .collect();
    let last = rows.last().map(|row| row["id"].clone());
    Json(json!({ "data": rows, "has_more": false, "last_id": last })).into_response()
}

async fn create(
    State(acme): State<Arc<Acme>>,
    headers: HeaderMap,
    body: Result<Json<NewKey>, JsonRejection>,
) -> Response {
    if let Some(refusal) = refusal_unless_admin(&acme, &headers) {
        return refusal;
    }
    let Ok(Json(wanted)) = body else {
        return refusal(StatusCode::BAD_REQUEST, "invalid_request");
    };
    let (id, secret) = acme.issue(&wanted.name, now().to_string());
    let body = json!({
        "id": id, "secret": *secret, "name": wanted.name, "scopes": wanted.scopes,
    });
    (StatusCode::CREATED, Json(body)).into_response()
}

async fn delete_current(State(acme): State<Arc<Acme>>, headers: HeaderMap) -> Response {
    match acme.caller(&headers) {
        Caller::Key(id) if acme.revoke(&id) => StatusCode::NO_CONTENT.into_response(),
        Caller::Admin => refusal(StatusCode::FORBIDDEN, "not_a_role_key"),
        Caller::Key(_) | Caller::Nobody => refusal(StatusCode::UNAUTHORIZED, "invalid_key"),
    }
}

async fn delete_by_id(
    State(acme): State<Arc<Acme>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = refusal_unless_admin(&acme, &headers) {
        return refusal;
    }
    if acme.revoke(&id) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        refusal(StatusCode::NOT_FOUND, "not_found")
    }
}

fn refusal_unless_admin(acme: &Acme, headers: &HeaderMap) -> Option<Response> {
    match acme.caller(headers) {
        Caller::Admin => None,
        Caller::Key(_) => Some(refusal(StatusCode::FORBIDDEN, "missing_scope")),
        Caller::Nobody => Some(refusal(StatusCode::UNAUTHORIZED, "invalid_key")),
    }
}

fn refusal(status: StatusCode, code: &str) -> Response {
    (status, Json(json!({ "error": { "code": code } }))).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}
