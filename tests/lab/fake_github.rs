//! A fake of GitHub's tokens, grants and deploy keys, its requests held against GitHub's published
//! description: `github.openapi.json` is an extract of it, and these operations are all it has.

use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fake::{Front, Operation, Running, bearer, random, serve};

static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("github.openapi.json")).unwrap());

/// Requests without a credential in an hour, as GitHub counts them.
const UNAUTHENTICATED: usize = 60;

/// A stateful fake of GitHub.
pub(crate) struct FakeGithub {
    state: Arc<Github>,
    running: Running,
}

impl Deref for FakeGithub {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// What stands in front of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// A classic personal access token.
    Ghp,
    /// A fine-grained personal access token.
    GithubPat,
    /// What an OAuth app has of a person.
    Gho,
    /// What a GitHub App has of a person.
    Ghu,
    /// What brings the next of those.
    Ghr,
    /// What a GitHub App has of an installation.
    Ghs,
}

/// A status, and GitHub's words for it.
type Refusal = (StatusCode, &'static str);

struct Github {
    front: Arc<Front>,
    root: &'static str,
    enterprise: bool,
    tokens: Mutex<Vec<Token>>,
    clients: Mutex<Vec<(String, String)>>,
    keys: Mutex<Vec<DeployKey>>,
    revocations: Mutex<Vec<Vec<String>>>,
    malformed: Mutex<Vec<String>>,
    blind: Mutex<bool>,
}

#[derive(Clone)]
struct Token {
    value: String,
    prefix: Prefix,
    user: u64,
    client: Option<String>,
    live: bool,
}

#[derive(Clone)]
struct DeployKey {
    repository: String,
    id: u64,
    title: String,
    key: String,
    live: bool,
}

impl FakeGithub {
    /// GitHub.com, on a free port.
    pub(crate) async fn start() -> Self {
        Self::at("", false).await
    }

    /// GitHub Enterprise Server: below `/api/v3`, and it ends no token for just anybody.
    pub(crate) async fn enterprise() -> Self {
        Self::at("/api/v3", true).await
    }

    async fn at(root: &'static str, enterprise: bool) -> Self {
        let front = Front::new(operations(root));
        let state = Arc::new(Github {
            front: Arc::clone(&front),
            root,
            enterprise,
            tokens: Mutex::default(),
            clients: Mutex::default(),
            keys: Mutex::default(),
            revocations: Mutex::default(),
            malformed: Mutex::default(),
            blind: Mutex::default(),
        });
        let running = serve(&front, router(&state)).await;
        Self { state, running }
    }

    /// For the inventory: `http://127.0.0.1:PORT`, with `/api/v3` at an enterprise's.
    pub(crate) fn base(&self) -> String {
        format!("{}{}", self.running.address, self.state.root)
    }

    /// A new token of a person.
    pub(crate) fn token(&self, prefix: Prefix, user: u64) -> String {
        self.state.add(prefix, user, None)
    }

    /// A new token that an application has of a person.
    pub(crate) fn granted(&self, prefix: Prefix, user: u64, client: &str) -> String {
        self.state.add(prefix, user, Some(client))
    }

    /// A new application: its id and its secret.
    pub(crate) fn client(&self) -> (String, String) {
        let client = (format!("Iv1.{}", &random("")[..16]), hexadecimal());
        self.state.clients.lock().unwrap().push(client.clone());
        client
    }

    /// A new deploy key of a repository: its id.
    pub(crate) fn deploy_key(&self, repository: &str, title: &str, key: &str) -> String {
        let mut keys = self.state.keys.lock().unwrap();
        let id = 1_000 + keys.len() as u64;
        let (repository, title, key) = (repository.to_owned(), title.to_owned(), key.to_owned());
        keys.push(DeployKey { repository, id, title, key, live: true });
        id.to_string()
    }

    /// Whether the server would accept it.
    pub(crate) fn is_alive(&self, value: &str) -> bool {
        let tokens = self.state.tokens.lock().unwrap();
        tokens.iter().any(|token| token.value == value && token.live)
    }

    /// Titles of the deploy keys that there are.
    pub(crate) fn deploy_keys(&self) -> Vec<String> {
        let keys = self.state.keys.lock().unwrap();
        keys.iter().filter(|key| key.live).map(|key| key.title.clone()).collect()
    }

    /// Ends a token behind everybody's back.
    pub(crate) fn revoke(&self, value: &str) {
        self.state.kill(&|token| token.value == value);
    }

    /// The values that each revocation by value named.
    pub(crate) fn revocations(&self) -> Vec<Vec<String>> {
        self.state.revocations.lock().unwrap().clone()
    }

    /// Tokens that were shown or named and whose checksum is wrong.
    pub(crate) fn malformed(&self) -> Vec<String> {
        self.state.malformed.lock().unwrap().clone()
    }

    /// From now on its probe accepts tokens that it never issued.
    pub(crate) fn accepts_made_up_ones(&self) {
        *self.state.blind.lock().unwrap() = true;
    }
}

impl Github {
    fn add(&self, prefix: Prefix, user: u64, client: Option<&str>) -> String {
        let value = made(prefix);
        let client = client.map(str::to_owned);
        let token = Token { value: value.clone(), prefix, user, client, live: true };
        self.tokens.lock().unwrap().push(token);
        value
    }

    /// The live token that signs a request.
    fn caller(&self, headers: &HeaderMap) -> Option<Token> {
        let value = bearer(headers);
        self.judge(value);
        self.tokens.lock().unwrap().iter().find(|it| it.value == value && it.live).cloned()
    }

    /// Notes a value that is no token by its own checksum.
    fn judge(&self, value: &str) {
        if !value.is_empty() && !sums_up(value) {
            self.malformed.lock().unwrap().push(value.to_owned());
        }
    }

    /// Whether it is blind, and nobody was ever given such a token.
    fn never_issued(&self, value: &str) -> bool {
        *self.blind.lock().unwrap()
            && self.tokens.lock().unwrap().iter().all(|token| token.value != value)
    }

    fn kill(&self, fits: &dyn Fn(&Token) -> bool) {
        let mut tokens = self.tokens.lock().unwrap();
        tokens.iter_mut().filter(|token| fits(token)).for_each(|token| token.live = false);
    }

    fn end(self: &Arc<Self>, fits: impl Fn(&Token) -> bool + Send + 'static) {
        let state = Arc::clone(self);
        self.front.when_dead(move || state.kill(&fits));
    }

    /// The application that signs a request, if it is the one of the path.
    fn application(&self, headers: &HeaderMap, id: &str) -> Result<(), Refusal> {
        let basic = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
        let pair = basic
            .and_then(|it| it.strip_prefix("Basic "))
            .and_then(|it| String::from_utf8(BASE64_STANDARD.decode(it).ok()?).ok());
        let clients = self.clients.lock().unwrap();
        let known = clients.iter().any(|(known, secret)| {
            known == id && pair.as_deref() == Some(&format!("{known}:{secret}"))
        });
        if known { Ok(()) } else { Err((StatusCode::UNAUTHORIZED, "Bad credentials")) }
    }

    /// The live token of this application that a body names.
    fn granted(&self, client: &str, named: &Named) -> Result<Token, Refusal> {
        self.judge(&named.access_token);
        let tokens = self.tokens.lock().unwrap();
        let found = tokens.iter().find(|token| {
            token.live
                && token.value == named.access_token
                && token.client.as_deref() == Some(client)
        });
        found.cloned().ok_or((StatusCode::NOT_FOUND, "Not Found"))
    }

    /// Whether the caller administers repositories: here every classic token does.
    fn refusal_unless_owner(&self, headers: &HeaderMap) -> Option<Response> {
        match self.caller(headers) {
            Some(Token { prefix: Prefix::Ghp, .. }) => None,
            Some(_) => Some(said(StatusCode::NOT_FOUND, "Not Found")),
            None => Some(said(StatusCode::UNAUTHORIZED, "Bad credentials")),
        }
    }
}

#[derive(Deserialize)]
struct Named {
    access_token: String,
}

#[derive(Deserialize)]
struct Credentials {
    credentials: Vec<String>,
}

fn router(state: &Arc<Github>) -> Router {
    let at = |path: &str| format!("{}{path}", state.root);
    Router::new()
        .route(&at("/user"), get(user))
        .route(&at("/installation/repositories"), get(repositories))
        .route(&at("/installation/token"), delete(end_installation))
        .route(&at("/credentials/revoke"), post(end_by_value))
        .route(&at("/applications/{client}/grant"), delete(end_grant))
        .route(&at("/applications/{client}/token"), post(check_token).delete(end_token))
        .route(&at("/repos/{owner}/{name}/keys"), get(list_keys))
        .route(&at("/repos/{owner}/{name}/keys/{id}"), delete(end_key))
        .with_state(Arc::clone(state))
}

async fn user(State(state): State<Arc<Github>>, headers: HeaderMap) -> Response {
    match state.caller(&headers) {
        Some(Token { prefix: Prefix::Ghs, .. }) => {
            said(StatusCode::FORBIDDEN, "Resource not accessible by integration")
        }
        Some(Token { prefix: Prefix::Ghr, .. }) => {
            said(StatusCode::UNAUTHORIZED, "Bad credentials")
        }
        Some(token) => Json(json!({ "login": "octocat", "id": token.user })).into_response(),
        None if state.never_issued(bearer(&headers)) => {
            Json(json!({ "login": "ghost", "id": 10_137 })).into_response()
        }
        None => said(StatusCode::UNAUTHORIZED, "Bad credentials"),
    }
}

async fn repositories(State(state): State<Arc<Github>>, headers: HeaderMap) -> Response {
    match state.caller(&headers) {
        Some(Token { prefix: Prefix::Ghs, .. }) => {
            Json(json!({ "total_count": 0, "repositories": [] })).into_response()
        }
        Some(_) => said(StatusCode::FORBIDDEN, "Resource not accessible by personal access token"),
        None => said(StatusCode::UNAUTHORIZED, "Bad credentials"),
    }
}

async fn end_installation(State(state): State<Arc<Github>>, headers: HeaderMap) -> Response {
    let Some(Token { prefix: Prefix::Ghs, value, .. }) = state.caller(&headers) else {
        return said(StatusCode::UNAUTHORIZED, "Bad credentials");
    };
    state.end(move |token| token.value == value);
    StatusCode::NO_CONTENT.into_response()
}

async fn end_by_value(
    State(state): State<Arc<Github>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let signed = headers.contains_key(header::AUTHORIZATION);
    match (state.enterprise, signed) {
        (false, true) => return said(StatusCode::FORBIDDEN, "Forbidden"),
        (true, false) => return said(StatusCode::UNAUTHORIZED, "Requires authentication"),
        (true, true) if state.caller(&headers).is_none() => {
            return said(StatusCode::UNAUTHORIZED, "Bad credentials");
        }
        _ => {}
    }
    if state.revocations.lock().unwrap().len() >= UNAUTHENTICATED {
        let spent = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "4102444800")];
        let body = Json(json!({ "message": "API rate limit exceeded for 127.0.0.1." }));
        return (StatusCode::FORBIDDEN, spent, body).into_response();
    }
    if let Some(refusal) = outside("/credentials/revoke", "post", &body) {
        return refusal;
    }
    let named: Credentials = serde_json::from_value(body).unwrap();
    named.credentials.iter().for_each(|value| state.judge(value));
    state.revocations.lock().unwrap().push(named.credentials.clone());
    let pats = [Prefix::Ghp, Prefix::GithubPat];
    let enterprise = state.enterprise;
    state.end(move |token| {
        let takes = token.prefix != Prefix::Ghs && (!enterprise || pats.contains(&token.prefix));
        takes && named.credentials.contains(&token.value)
    });
    (StatusCode::ACCEPTED, Json(json!({}))).into_response()
}

async fn end_grant(
    State(state): State<Arc<Github>>,
    Path(client): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let at = "/applications/{client_id}/grant";
    ended(&state, (client, headers, body), (at, "delete"), |known, token| {
        known.user == token.user && known.client == token.client
    })
}

async fn end_token(
    State(state): State<Arc<Github>>,
    Path(client): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let at = "/applications/{client_id}/token";
    ended(&state, (client, headers, body), (at, "delete"), |known, token| {
        known.value == token.value
    })
}

fn ended(
    state: &Arc<Github>,
    (client, headers, body): (String, HeaderMap, Value),
    (path, method): (&str, &str),
    fits: fn(&Token, &Token) -> bool,
) -> Response {
    if let Some(refusal) = outside(path, method, &body) {
        return refusal;
    }
    let named: Named = serde_json::from_value(body).unwrap();
    let found = state.application(&headers, &client).and_then(|()| state.granted(&client, &named));
    match found {
        Ok(token) => {
            state.end(move |known| fits(known, &token));
            StatusCode::NO_CONTENT.into_response()
        }
        Err((status, message)) => said(status, message),
    }
}

async fn check_token(
    State(state): State<Arc<Github>>,
    Path(client): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if let Some(refusal) = outside("/applications/{client_id}/token", "post", &body) {
        return refusal;
    }
    let named: Named = serde_json::from_value(body).unwrap();
    let found = state.application(&headers, &client).and_then(|()| state.granted(&client, &named));
    match found {
        Ok(token) => Json(json!({ "id": token.user })).into_response(),
        Err((status, message)) => said(status, message),
    }
}

async fn list_keys(
    State(state): State<Arc<Github>>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = state.refusal_unless_owner(&headers) {
        return refusal;
    }
    let repository = format!("{owner}/{name}");
    let keys = state.keys.lock().unwrap();
    let rows = keys.iter().filter(|key| key.live && key.repository == repository).map(|key| {
        json!({
            "id": key.id, "key": key.key, "title": key.title, "verified": true,
            "created_at": "2026-01-02T03:04:05Z", "last_used": null, "read_only": true,
        })
    });
    Json(rows.collect::<Value>()).into_response()
}

async fn end_key(
    State(state): State<Arc<Github>>,
    Path((owner, name, id)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = state.refusal_unless_owner(&headers) {
        return refusal;
    }
    let repository = format!("{owner}/{name}");
    let mut keys = state.keys.lock().unwrap();
    let is = |key: &&mut DeployKey| key.live && key.id == id && key.repository == repository;
    match keys.iter_mut().find(is) {
        Some(key) => {
            key.live = false;
            StatusCode::NO_CONTENT.into_response()
        }
        None => said(StatusCode::NOT_FOUND, "Not Found"),
    }
}

fn said(status: StatusCode, message: &str) -> Response {
    let documentation = "https://docs.github.com/rest";
    let body = json!({ "message": message, "documentation_url": documentation });
    (status, Json(body)).into_response()
}

/// What the description refuses in a body.
fn outside(path: &str, method: &str, body: &Value) -> Option<Response> {
    let content = &DESCRIPTION["paths"][path][method]["requestBody"]["content"];
    let schema = &content["application/json"]["schema"];
    let valid = jsonschema::validator_for(schema).unwrap().is_valid(body);
    (!valid).then(|| said(StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed"))
}

/// The operations of the description, below the root of a server. A handful per server started,
/// and tests are short: they are never given back.
fn operations(root: &str) -> &'static [Operation] {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let names = |names: Vec<&'static str>| -> &'static [&'static str] { names.leak() };
    let paths = DESCRIPTION["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| {
            let segments = path.split('/').map(|it| if it.starts_with('{') { "{}" } else { it });
            let path = segments.collect::<Vec<_>>().join("/");
            let query = operation["parameters"].as_array().into_iter().flatten();
            let query = query.filter(|it| it["in"] == "query").map(|it| &it["name"]);
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let required = schema["required"].as_array().into_iter().flatten();
            let known = schema["properties"].as_object().into_iter().flatten();
            Operation {
                at: leak(format!("{} {root}{path}", method.to_uppercase())),
                query: names(query.map(|it| leak(it.as_str().unwrap().into())).collect()),
                required: names(required.map(|it| leak(it.as_str().unwrap().into())).collect()),
                optional: names(known.map(|(name, _)| leak(name.clone())).collect()),
            }
        })
    });
    operations.collect::<Vec<_>>().leak()
}

/// A token with its checksum, as GitHub makes them.
fn made(prefix: Prefix) -> String {
    let letters =
        |count: usize| -> String { (random("") + &random("") + &random(""))[..count].into() };
    match prefix {
        Prefix::GithubPat => {
            let head = format!("github_pat_{}_{}", letters(22), letters(43));
            format!("{head}{}{}", sha256_base32(&head), letters(8))
        }
        Prefix::Ghs => {
            // The form since April 2026: an app's id and a JWT.
            let part = |text: &str| BASE64_STANDARD_NO_PAD.encode(text).replace(['+', '/'], "-");
            let signature = part(&letters(80));
            format!("ghs_12345_{}.{}.{signature}", part(r#"{"alg":"RS256"}"#), part(&letters(40)))
        }
        _ => {
            let (word, length) = match prefix {
                Prefix::Ghp => ("ghp_", 30),
                Prefix::Gho => ("gho_", 30),
                Prefix::Ghu => ("ghu_", 30),
                _ => ("ghr_", 70),
            };
            let body = letters(length);
            format!("{word}{body}{}", crc32_base62(&body))
        }
    }
}

fn sums_up(value: &str) -> bool {
    if value.starts_with("github_pat_") {
        let head = value.len().checked_sub(16).and_then(|end| value.get(..end));
        return head.is_some_and(|head| value[head.len()..].starts_with(&sha256_base32(head)));
    }
    if value.starts_with("ghs_") {
        return true;
    }
    let body = value.get(4..value.len().saturating_sub(6));
    body.is_some_and(|body| value.ends_with(&crc32_base62(body)))
}

fn crc32_base62(body: &str) -> String {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut sum = !body.bytes().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 }
        })
    });
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(sum % 62) as usize];
        sum /= 62;
    }
    String::from_utf8(digits.to_vec()).unwrap()
}

fn sha256_base32(head: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let sum = Sha256::digest(head);
    let first = sum[..5].iter().fold(0u64, |bits, byte| (bits << 8) | u64::from(*byte));
    (0..8).rev().map(|n| char::from(LETTERS[(first >> (5 * n)) as usize & 31])).collect()
}

fn hexadecimal() -> String {
    Sha256::digest(random("")).iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}
