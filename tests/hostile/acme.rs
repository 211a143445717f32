//! A stateful Acme, as `providers/acme.toml` describes it, that misbehaves when told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::stream;
use rand::distr::{Alphanumeric, SampleString};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// What becomes of some requests.
#[derive(Clone, Debug)]
pub(crate) enum Manners {
    /// This status and nothing else.
    Status(u16),
    /// 429, with or without the seconds to wait.
    Throttled { retry_after: Option<u32> },
    /// 200 and a text that is no JSON.
    NotJson,
    /// 200 and a body of 1 GB.
    Huge,
    /// 200 and a body of half a megabyte that unpacks to 80.
    Bomb,
    /// 302 to another address.
    Redirect(String),
    /// Done as asked, and the answer's public fields hold the caller's secret.
    Echo,
    /// Nothing is done, and no answer comes.
    Silence,
    /// It is done, and no answer comes.
    AnswerLost,
    /// It is done so much later.
    Late(Duration),
    /// 204, and nothing is done.
    Lie,
}

/// A running Acme. It ends with the test process.
pub(crate) struct Acme {
    /// `http://127.0.0.1:PORT`.
    pub(crate) base: String,
    account: Arc<Account>,
}

struct Account {
    admin: String,
    keys: Mutex<Vec<Key>>,
    manners: Mutex<Vec<Treatment>>,
    seen: Mutex<Vec<String>>,
}

/// How requests that begin so are treated, and how many more of them.
struct Treatment {
    request: String,
    manners: Manners,
    left: u32,
}

/// One key, live or not.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// What the list shows.
    pub(crate) id: String,
    /// Its label.
    pub(crate) name: String,
    /// When it was made.
    pub(crate) created: String,
    /// What only the answer to its creation shows.
    pub(crate) secret: String,
    /// Whether it is accepted.
    pub(crate) live: bool,
}

impl Acme {
    pub(crate) fn start() -> Self {
        let account = Arc::new(Account {
            admin: random("acmeadm_"),
            keys: Mutex::default(),
            manners: Mutex::default(),
            seen: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&account));
        let address = serve(router);
        Self { base: format!("http://{address}"), account }
    }

    /// A key that was there before.
    pub(crate) fn seed(&self, name: &str) -> Key {
        self.account.make(name, "2026-03-02T09:00:00Z")
    }

    /// A key that somebody makes now.
    pub(crate) fn mint(&self, name: &str) -> Key {
        self.account.issue(name)
    }

    pub(crate) fn admin(&self) -> &str {
        &self.account.admin
    }

    /// From now on requests whose `METHOD /path` begins so are treated so. The last word counts.
    pub(crate) fn treat(&self, request: &str, manners: Manners) {
        self.treat_times(u32::MAX, request, manners);
    }

    /// The same for the next few such requests.
    pub(crate) fn treat_times(&self, left: u32, request: &str, manners: Manners) {
        let request = request.to_owned();
        self.account.manners.lock().unwrap().insert(0, Treatment { request, manners, left });
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.account.keys.lock().unwrap().clone()
    }

    pub(crate) fn is_alive(&self, secret: &str) -> bool {
        self.keys().iter().any(|key| key.live && key.secret == secret)
    }

    /// Labels of the keys that live and that nobody seeded.
    pub(crate) fn issued(&self) -> Vec<String> {
        let keys = self.keys().into_iter();
        keys.filter(|key| key.live && key.name.starts_with("rotate-")).map(|key| key.name).collect()
    }

    /// `METHOD /path` of every request so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.account.seen.lock().unwrap().clone()
    }
}

/// Serves on a free loopback port until the test process ends.
pub(crate) fn serve(router: Router) -> SocketAddr {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap());
    let bound = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let listener = bound.unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, router).await });
    address
}

impl Account {
    fn issue(&self, name: &str) -> Key {
        self.make(name, &jiff::Timestamp::now().to_string())
    }

    fn make(&self, name: &str, created: &str) -> Key {
        let id = random("key_")[..14].to_owned();
        let (name, created) = (name.to_owned(), created.to_owned());
        let key = Key { id, name, created, secret: random("acme_"), live: true };
        self.keys.lock().unwrap().push(key.clone());
        key
    }

    fn manners_of(&self, line: &str) -> Option<Manners> {
        let mut all = self.manners.lock().unwrap();
        let it = all.iter_mut().find(|it| it.left > 0 && line.starts_with(&it.request))?;
        it.left -= 1;
        Some(it.manners.clone())
    }

    /// Who calls: the admin, or a live key by its place.
    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let secret = bearer(headers);
        if secret == self.admin {
            return Some(Caller::Admin);
        }
        let keys = self.keys.lock().unwrap();
        keys.iter().position(|key| key.live && key.secret == secret).map(Caller::Key)
    }

    fn revoke(&self, which: impl Fn(usize, &Key) -> bool) -> bool {
        let mut keys = self.keys.lock().unwrap();
        let found = keys.iter_mut().enumerate().find(|(n, key)| key.live && which(*n, key));
        found.map(|(_, key)| key.live = false).is_some()
    }

    fn serve(&self, line: &str, headers: &HeaderMap, body: &[u8]) -> (u16, Value) {
        let refusal = |status, code: &str| (status, json!({ "error": { "code": code } }));
        let Some(caller) = self.caller(headers) else { return refusal(401, "invalid_key") };
        match (line.split_once(' ').unwrap(), caller) {
            (("GET", "/v1/me"), caller) => {
                let id = if matches!(caller, Caller::Admin) { "acct_admin" } else { "acct_1" };
                (200, json!({ "account": { "id": id }, "status": "active" }))
            }
            (("DELETE", "/v1/keys/current"), Caller::Key(at)) => {
                self.revoke(|n, _| n == at);
                (204, Value::Null)
            }
            (_, Caller::Key(_)) => refusal(403, "missing_scope"),
            (("GET", "/v1/keys"), _) => (200, self.list()),
            (("POST", "/v1/keys"), _) => {
                let wanted: Value = serde_json::from_slice(body).unwrap_or_default();
                let key = self.issue(wanted["name"].as_str().unwrap_or_default());
                (201, json!({ "id": key.id, "secret": key.secret, "name": key.name }))
            }
            (("DELETE", path), _) => {
                let id = path.rsplit('/').next().unwrap_or_default();
                match self.revoke(|_, key| key.id == id) {
                    true => (204, Value::Null),
                    false => refusal(404, "not_found"),
                }
            }
            _ => refusal(404, "not_found"),
        }
    }

    fn list(&self) -> Value {
        let keys = self.keys.lock().unwrap();
        let rows: Vec<Value> = keys
            .iter()
            .filter(|key| key.live)
            .map(|key| {
                json!({
                    "id": key.id, "name": key.name,
                    "created_at": key.created, "last_used_at": null,
                })
            })
            .collect();
        json!({ "data": rows, "has_more": false, "last_id": null })
    }
}

enum Caller {
    Admin,
    Key(usize),
}

async fn answer(State(account): State<Arc<Account>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri.path());
    account.seen.lock().unwrap().push(line.clone());
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let serve = || account.serve(&line, &parts.headers, &body);
    match account.manners_of(&line) {
        None => written(serve()),
        Some(Manners::Late(lag)) => {
            tokio::time::sleep(lag).await;
            written(serve())
        }
        Some(Manners::Echo) => {
            let (status, mut value) = serve();
            let echo = json!(bearer(&parts.headers));
            for at in ["/account/id", "/id", "/name", "/data/0/name", "/error/code"] {
                if let Some(field) = value.pointer_mut(at) {
                    *field = echo.clone();
                }
            }
            written((status, value))
        }
        Some(Manners::AnswerLost) => {
            serve();
            std::future::pending().await
        }
        Some(manners) => manners.answer().await,
    }
}

fn written((status, value): (u16, Value)) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    if value.is_null() { status.into_response() } else { (status, Json(value)).into_response() }
}

impl Manners {
    async fn answer(self) -> Response {
        const MEBIBYTE: Bytes = Bytes::from_static(&[b' '; 1 << 20]);
        let json = (header::CONTENT_TYPE, "application/json");
        match self {
            Self::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
            Self::Throttled { retry_after } => {
                let wait = retry_after.map(|wait| [(header::RETRY_AFTER, wait.to_string())]);
                match wait {
                    Some(wait) => (StatusCode::TOO_MANY_REQUESTS, wait).into_response(),
                    None => StatusCode::TOO_MANY_REQUESTS.into_response(),
                }
            }
            Self::NotJson => "<h1>Welcome</h1>".into_response(),
            Self::Huge => {
                let chunks = (0..1024).map(|_| Ok::<_, std::io::Error>(MEBIBYTE));
                ([json], Body::from_stream(stream::iter(chunks))).into_response()
            }
            Self::Bomb => ([json, (header::CONTENT_ENCODING, "gzip")], bomb()).into_response(),
            Self::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
            Self::Lie => StatusCode::NO_CONTENT.into_response(),
            _ => std::future::pending().await,
        }
    }
}

/// 80 MB of zeros as gzip: one literal, then the longest match at distance one, over and over.
/// Its check sum is wrong, for nobody should come that far.
fn bomb() -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut held, mut count) = (0_u32, 0);
    // The fixed Huffman codes of RFC 1951, written as they stand in the stream: last block, type
    // one; then 0; then length 258 (285) with distance 1 (0).
    let literal = [(0b011, 3), (0b0000_1100, 8)];
    let matches = std::iter::repeat_n((0b1010_0011, 13), 80 * 1024 * 1024 / 258);
    for (code, bits) in literal.into_iter().chain(matches).chain([(0, 7), (0, 7)]) {
        held |= code << count;
        count += bits;
        while count >= 8 {
            bytes.push((held & 0xff) as u8);
            held >>= 8;
            count -= 8;
        }
    }
    bytes.extend([0; 8]);
    bytes
}

fn bearer(headers: &HeaderMap) -> &str {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
}

/// `prefix` and 32 letters and digits.
pub(crate) fn random(prefix: &str) -> String {
    format!("{prefix}{}", Alphanumeric.sample_string(&mut rand::rng(), 32))
}
