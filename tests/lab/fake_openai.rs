//! A fake of OpenAI's keys, its requests held against openai/openai-openapi (`openapi.yaml`,
//! version 2.3.0): the operations below are all it has.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fake::{Front, Operation, Running, bearer, random, serve};

const fn operation(at: &'static str) -> Operation {
    Operation { at, query: &[], required: &[], optional: &[] }
}

const OPERATIONS: &[Operation] = &[
    operation("GET /v1/models"),
    Operation {
        query: &["limit", "after", "owner_project_access"],
        ..operation("GET /v1/organization/projects/{}/api_keys")
    },
    operation("DELETE /v1/organization/projects/{}/api_keys/{}"),
    Operation {
        query: &["limit", "after"],
        ..operation("GET /v1/organization/projects/{}/service_accounts")
    },
    Operation {
        required: &["name"],
        ..operation("POST /v1/organization/projects/{}/service_accounts")
    },
    operation("DELETE /v1/organization/projects/{}/service_accounts/{}"),
    Operation {
        query: &["limit", "after", "order"],
        ..operation("GET /v1/organization/admin_api_keys")
    },
    Operation {
        required: &["name"],
        optional: &["expires_in_seconds"],
        ..operation("POST /v1/organization/admin_api_keys")
    },
    operation("DELETE /v1/organization/admin_api_keys/{}"),
];

/// Its dates: a fixed day, in seconds.
const CREATED: u64 = 1_760_000_000;

/// A stateful fake of OpenAI's keys.
pub(crate) struct FakeOpenAi {
    state: Arc<OpenAi>,
    running: Running,
}

impl Deref for FakeOpenAi {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// A key, and the handle that revokes it: its service account's id, or its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenAiKey {
    /// `svc_acct_...` or `key_...`.
    pub(crate) handle: String,
    /// `sk-...`.
    pub(crate) secret: String,
}

struct OpenAi {
    front: Arc<Front>,
    keys: Mutex<Vec<Key>>,
    blind: Mutex<bool>,
}

#[derive(Clone)]
struct Key {
    id: String,
    name: String,
    secret: String,
    owner: Owner,
    listed: bool,
    live: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Owner {
    Organization,
    Account { project: String, id: String },
    Person { project: String },
}

impl FakeOpenAi {
    /// Starts it on a free port.
    pub(crate) async fn start() -> Self {
        let front = Front::new(OPERATIONS);
        let state = Arc::new(OpenAi {
            front: Arc::clone(&front),
            keys: Mutex::default(),
            blind: Mutex::default(),
        });
        let running = serve(&front, router(&state)).await;
        Self { state, running }
    }

    /// For the inventory: `http://127.0.0.1:PORT/v1`.
    pub(crate) fn base(&self) -> String {
        format!("{}/v1", self.running.address)
    }

    /// A new admin key.
    pub(crate) fn admin_key(&self) -> OpenAiKey {
        self.state.add("admin", Owner::Organization)
    }

    /// A new service account of a project, with its key.
    pub(crate) fn service_account_key(&self, project: &str, name: &str) -> OpenAiKey {
        self.state.add(name, account(project))
    }

    /// A new key of a person in a project: it can be revoked, not issued.
    pub(crate) fn project_key(&self, project: &str, name: &str) -> OpenAiKey {
        self.state.add(name, Owner::Person { project: project.to_owned() })
    }

    /// Ends a key behind everybody's back, its service account with it.
    pub(crate) fn revoke(&self, secret: &str) {
        let mut keys = self.state.keys.lock().unwrap();
        for key in keys.iter_mut().filter(|key| key.secret == secret) {
            (key.listed, key.live) = (false, false);
        }
    }

    /// From now on its probe accepts keys that it never issued, as real servers were seen to do.
    pub(crate) fn accepts_made_up_ones(&self) {
        *self.state.blind.lock().unwrap() = true;
    }

    /// Whether the server would accept it.
    pub(crate) fn is_alive(&self, secret: &str) -> bool {
        self.state.keys.lock().unwrap().iter().any(|key| key.secret == secret && key.live)
    }

    /// Names of what its lists show.
    pub(crate) fn listed(&self) -> Vec<String> {
        let keys = self.state.keys.lock().unwrap();
        keys.iter().filter(|key| key.listed).map(|key| key.name.clone()).collect()
    }
}

impl OpenAi {
    fn add(&self, name: &str, owner: Owner) -> OpenAiKey {
        let (prefix, id) = match owner {
            Owner::Organization => ("sk-admin-", random("key_")),
            Owner::Account { .. } => ("sk-svcacct-", random("key_")),
            Owner::Person { .. } => ("sk-proj-", random("key_")),
        };
        let secret = format!("{}T3BlbkFJ{}", random(prefix), random(""));
        let handle = match &owner {
            Owner::Account { id, .. } => id.clone(),
            Owner::Organization | Owner::Person { .. } => id.clone(),
        };
        let key = Key {
            id,
            name: name.to_owned(),
            secret: secret.clone(),
            owner,
            listed: true,
            live: true,
        };
        self.keys.lock().unwrap().push(key);
        OpenAiKey { handle, secret }
    }

    /// The live key that signs a request, or the refusal.
    fn caller(&self, headers: &HeaderMap) -> Option<Key> {
        let secret = bearer(headers);
        self.keys.lock().unwrap().iter().find(|key| key.secret == secret && key.live).cloned()
    }

    /// Whether it is blind, and nobody was ever given such a key.
    fn never_issued(&self, secret: &str) -> bool {
        *self.blind.lock().unwrap()
            && self.keys.lock().unwrap().iter().all(|key| key.secret != secret)
    }

    fn refusal_unless_admin(&self, headers: &HeaderMap) -> Option<Response> {
        match self.caller(headers) {
            Some(Key { owner: Owner::Organization, .. }) => None,
            Some(_) => Some(error(StatusCode::FORBIDDEN, "missing_scope")),
            None => Some(error(StatusCode::UNAUTHORIZED, "invalid_api_key")),
        }
    }

    /// Revokes the listed key that fits; whether there was one.
    fn revoke(self: &Arc<Self>, fits: impl Fn(&Key) -> bool) -> bool {
        let mut keys = self.keys.lock().unwrap();
        let Some(key) = keys.iter_mut().find(|key| key.listed && fits(key)) else { return false };
        key.listed = false;
        let (state, id) = (Arc::clone(self), key.id.clone());
        drop(keys);
        self.front.when_dead(move || {
            let mut keys = state.keys.lock().unwrap();
            keys.iter_mut().filter(|key| key.id == id).for_each(|key| key.live = false);
        });
        true
    }

    /// One page of the listed keys that fit.
    fn page(&self, page: &Page, fits: impl Fn(&Key) -> bool, row: fn(&Key) -> Value) -> Response {
        let keys = self.keys.lock().unwrap();
        let rows: Vec<Value> = keys.iter().filter(|key| key.listed && fits(key)).map(row).collect();
        let after = page.after.as_ref();
        let start = after.map_or(0, |id| {
            rows.iter().position(|row| row["id"] == **id).map_or(rows.len(), |found| found + 1)
        });
        let data: Vec<&Value> = rows.iter().skip(start).take(page.limit.unwrap_or(20)).collect();
        let id = |row: Option<&&Value>| row.map_or(Value::Null, |row| row["id"].clone());
        Json(json!({
            "object": "list",
            "data": data,
            "first_id": id(data.first()),
            "last_id": id(data.last()),
            "has_more": start + data.len() < rows.len(),
        }))
        .into_response()
    }
}

#[derive(Deserialize)]
struct Page {
    limit: Option<usize>,
    after: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

fn router(state: &Arc<OpenAi>) -> Router {
    let projects = "/v1/organization/projects/{project}";
    Router::new()
        .route("/v1/models", get(models))
        .route(&format!("{projects}/api_keys"), get(list_project_keys))
        .route(&format!("{projects}/api_keys/{{id}}"), delete(delete_project_key))
        .route(&format!("{projects}/service_accounts"), get(list_accounts).post(create_account))
        .route(&format!("{projects}/service_accounts/{{id}}"), delete(delete_account))
        .route("/v1/organization/admin_api_keys", get(list_admin_keys).post(create_admin_key))
        .route("/v1/organization/admin_api_keys/{id}", delete(delete_admin_key))
        .with_state(Arc::clone(state))
}

async fn models(State(state): State<Arc<OpenAi>>, headers: HeaderMap) -> Response {
    match state.caller(&headers) {
        Some(Key { owner: Owner::Organization, .. }) => {
            error(StatusCode::FORBIDDEN, "missing_scope")
        }
        Some(_) => no_models(),
        None if state.never_issued(bearer(&headers)) => no_models(),
        None => error(StatusCode::UNAUTHORIZED, "invalid_api_key"),
    }
}

fn no_models() -> Response {
    Json(json!({ "object": "list", "data": [] })).into_response()
}

async fn list_project_keys(
    State(state): State<Arc<OpenAi>>,
    Path(project): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = state.refusal_unless_admin(&headers) {
        return refusal;
    }
    state.page(&page, |key| key.owner.project() == Some(&project), key_row)
}

async fn delete_project_key(
    State(state): State<Arc<OpenAi>>,
    Path((project, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = state.refusal_unless_admin(&headers) {
        return refusal;
    }
    let is = |key: &Key| key.id == id && key.owner.project() == Some(&project);
    let of_account =
        |key: &Key| key.listed && is(key) && matches!(key.owner, Owner::Account { .. });
    if state.keys.lock().unwrap().iter().any(of_account) {
        return error(StatusCode::BAD_REQUEST, "belongs_to_service_account");
    }
    deleted(state.revoke(is), "organization.project.api_key.deleted", &id)
}

async fn list_accounts(
    State(state): State<Arc<OpenAi>>,
    Path(project): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = state.refusal_unless_admin(&headers) {
        return refusal;
    }
    let of_account = |key: &Key| {
        key.owner.project() == Some(&project) && matches!(key.owner, Owner::Account { .. })
    };
    state.page(&page, of_account, account_row)
}

async fn create_account(
    State(state): State<Arc<OpenAi>>,
    Path(project): Path<String>,
    headers: HeaderMap,
    Json(wanted): Json<Named>,
) -> Response {
    if let Some(refusal) = state.refusal_unless_admin(&headers) {
        return refusal;
    }
    let new = state.add(&wanted.name, account(&project));
    let keys = state.keys.lock().unwrap();
    let key = keys.iter().find(|key| key.secret == new.secret).unwrap();
    let mut body = account_row(key);
    body["api_key"] = json!({
        "object": "organization.project.service_account.api_key",
        "id": key.id, "name": key.name, "created_at": CREATED, "value": key.secret,
    });
    Json(body).into_response()
}

async fn delete_account(
    State(state): State<Arc<OpenAi>>,
    Path((project, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = state.refusal_unless_admin(&headers) {
        return refusal;
    }
    let wanted = Owner::Account { project, id: id.clone() };
    let found = state.revoke(|key| key.owner == wanted);
    deleted(found, "organization.project.service_account.deleted", &id)
}

async fn list_admin_keys(
    State(state): State<Arc<OpenAi>>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = state.refusal_unless_admin(&headers) {
        return refusal;
    }
    state.page(&page, |key| key.owner == Owner::Organization, key_row)
}

async fn create_admin_key(
    State(state): State<Arc<OpenAi>>,
    headers: HeaderMap,
    Json(wanted): Json<Named>,
) -> Response {
    if let Some(refusal) = state.refusal_unless_admin(&headers) {
        return refusal;
    }
    let new = state.add(&wanted.name, Owner::Organization);
    let keys = state.keys.lock().unwrap();
    let key = keys.iter().find(|key| key.secret == new.secret).unwrap();
    let mut body = key_row(key);
    body["value"] = json!(key.secret);
    Json(body).into_response()
}

async fn delete_admin_key(
    State(state): State<Arc<OpenAi>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = state.refusal_unless_admin(&headers) {
        return refusal;
    }
    let found = state.revoke(|key| key.owner == Owner::Organization && key.id == id);
    deleted(found, "organization.admin_api_key.deleted", &id)
}

impl Owner {
    fn project(&self) -> Option<&String> {
        match self {
            Self::Organization => None,
            Self::Account { project, .. } | Self::Person { project } => Some(project),
        }
    }
}

fn account(project: &str) -> Owner {
    Owner::Account { project: project.to_owned(), id: random("svc_acct_") }
}

fn account_row(key: &Key) -> Value {
    let id = if let Owner::Account { id, .. } = &key.owner { id } else { &key.id };
    json!({
        "object": "organization.project.service_account",
        "id": id, "name": key.name, "role": "member", "created_at": CREATED,
    })
}

fn key_row(key: &Key) -> Value {
    let (object, owner) = match &key.owner {
        Owner::Organization => ("organization.admin_api_key", json!({ "type": "user" })),
        Owner::Account { .. } => (
            "organization.project.api_key",
            json!({ "type": "service_account", "service_account": account_row(key) }),
        ),
        Owner::Person { .. } => (
            "organization.project.api_key",
            json!({ "type": "user", "user": { "id": "user_1", "role": "member" } }),
        ),
    };
    let (head, tail) = (&key.secret[..12], &key.secret[key.secret.len() - 4..]);
    json!({
        "object": object, "id": key.id, "name": key.name, "owner": owner,
        "redacted_value": format!("{head}...{tail}"),
        "created_at": CREATED, "last_used_at": null,
    })
}

fn deleted(found: bool, object: &str, id: &str) -> Response {
    if found {
        Json(json!({ "object": object, "id": id, "deleted": true })).into_response()
    } else {
        error(StatusCode::NOT_FOUND, "not_found")
    }
}

fn error(status: StatusCode, code: &str) -> Response {
    let error = json!({
        "message": code, "type": "invalid_request_error", "param": null, "code": code,
    });
    (status, Json(json!({ "error": error }))).into_response()
}
