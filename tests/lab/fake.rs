//! What the fakes have in common: they note every request, hold it against the vendor's published
//! description, and misbehave when told to.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One operation of the vendor's description: what it refuses, the fake refuses.
pub(super) struct Operation {
    /// `METHOD /path/{}`, `{}` being any one segment.
    pub(super) at: &'static str,
    /// Query parameters it knows.
    pub(super) query: &'static [&'static str],
    /// Fields its body must have.
    pub(super) required: &'static [&'static str],
    /// Further fields its body may have.
    pub(super) optional: &'static [&'static str],
}

/// One request that a fake has heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `METHOD /path`, without the query.
    pub(crate) request: String,
    /// What it was answered; nothing if the answer was kept back.
    pub(crate) status: Option<u16>,
    /// Why the vendor's description would refuse it.
    pub(crate) outside: Option<String>,
}

/// How a fake treats some requests.
#[derive(Clone, Debug)]
pub(crate) enum Manners {
    /// 500, however often it is asked.
    ServerError,
    /// 429, with or without the seconds to wait.
    Throttled {
        /// `Retry-After`.
        retry_after: Option<u32>,
    },
    /// 403 and a page of HTML, as from a firewall in front of the server.
    BlockPage,
    /// 200 and a text that is not JSON.
    NotJson,
    /// 200 and a body of 1 GB.
    Huge,
    /// 302 to another address.
    Redirect(String),
    /// 401, the `Authorization` header in its error code.
    Echo,
    /// Nothing is done, and no answer comes.
    Silence,
    /// What was asked is done, and no answer comes.
    AnswerLost,
}

/// What becomes of a key that is revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Death {
    #[default]
    AtOnce,
    After(Duration),
    Never,
}

/// The part of a fake that every request passes first.
pub(super) struct Front {
    operations: &'static [Operation],
    seen: Mutex<Vec<Seen>>,
    manners: Mutex<Vec<(String, Manners)>>,
    death: Mutex<Death>,
}

impl Front {
    pub(super) fn new(operations: &'static [Operation]) -> Arc<Self> {
        Arc::new(Self {
            operations,
            seen: Mutex::default(),
            manners: Mutex::default(),
            death: Mutex::default(),
        })
    }

    /// Calls `kill` when a credential that is revoked now shall die, if ever.
    pub(super) fn when_dead(&self, kill: impl FnOnce() + Send + 'static) {
        match *self.death.lock().unwrap() {
            Death::AtOnce => kill(),
            Death::Never => {}
            Death::After(lag) => {
                tokio::spawn(async move {
                    tokio::time::sleep(lag).await;
                    kill();
                });
            }
        }
    }

    fn manners_of(&self, request: &str) -> Option<Manners> {
        let manners = self.manners.lock().unwrap();
        manners.iter().find(|(part, _)| request.contains(part)).map(|(_, how)| how.clone())
    }

    fn note(&self, request: &str) -> usize {
        let mut seen = self.seen.lock().unwrap();
        seen.push(Seen { request: request.to_owned(), status: None, outside: None });
        seen.len() - 1
    }

    /// Why the description would refuse it, if it would.
    fn outside(&self, request: &str, query: &str, body: &Fields) -> Option<String> {
        let Some(operation) = self.operations.iter().find(|known| known.is(request)) else {
            return Some("no such operation".to_owned());
        };
        for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
            if !operation.query.contains(&&*name) {
                return Some(format!("unknown query parameter {name}"));
            }
        }
        for name in operation.required {
            if !body.0.iter().any(|(known, _)| known == name) {
                return Some(format!("{name} is required"));
            }
        }
        let known =
            |name: &str| operation.required.contains(&name) || operation.optional.contains(&name);
        let stranger = body.0.iter().find(|(name, _)| !known(name));
        stranger.map(|(name, _)| format!("unknown field {name}"))
    }
}

impl Operation {
    fn is(&self, request: &str) -> bool {
        let (mine, theirs) = (self.at.split('/'), request.split('/'));
        mine.clone().count() == theirs.clone().count()
            && mine
                .zip(theirs)
                .all(|(mine, theirs)| mine == theirs || (mine == "{}" && !theirs.is_empty()))
    }
}

/// A running fake, ended when dropped. Every fake is one, and is told here how to behave.
pub(crate) struct Running {
    /// `http://127.0.0.1:PORT`.
    pub(super) address: String,
    front: Arc<Front>,
    task: JoinHandle<()>,
}

impl Running {
    /// What is revoked from now on dies so much later.
    pub(crate) fn dies_after(&self, lag: Duration) {
        *self.front.death.lock().unwrap() = Death::After(lag);
    }

    /// What is revoked from now on goes on working, whatever the answer says.
    pub(crate) fn lies(&self) {
        *self.front.death.lock().unwrap() = Death::Never;
    }

    /// Requests whose `METHOD /path` contains `part` are treated so, until [`Self::behave`].
    pub(crate) fn misbehave(&self, part: &str, manners: Manners) {
        self.front.manners.lock().unwrap().push((part.to_owned(), manners));
    }

    /// From now on all requests are treated well.
    pub(crate) fn behave(&self) {
        self.front.manners.lock().unwrap().clear();
    }

    /// Every request heard, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.front.seen.lock().unwrap().clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn serve(front: &Arc<Front>, router: Router) -> Running {
    let router = router.layer(from_fn_with_state(Arc::clone(front), pass));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Running { address, front: Arc::clone(front), task }
}

async fn pass(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri.path());
    let number = front.note(&line);
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    let fields = Fields::read(&parts.headers, &bytes);
    let outside = match &fields {
        Ok(fields) => front.outside(&line, parts.uri.query().unwrap_or_default(), fields),
        Err(why) => Some(why.clone()),
    };
    front.seen.lock().unwrap()[number].outside.clone_from(&outside);

    let manners = front.manners_of(&line);
    let response = match (manners, outside) {
        (Some(Manners::AnswerLost), None) => {
            next.run(Request::from_parts(parts, Body::from(bytes))).await;
            std::future::pending().await
        }
        (Some(manners), _) => manners.answer(&parts.headers).await,
        (None, Some(why)) => {
            let error = json!({ "message": why, "code": "outside_the_description" });
            (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": error }))).into_response()
        }
        (None, None) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
    };
    front.seen.lock().unwrap()[number].status = Some(response.status().as_u16());
    response
}

impl Manners {
    async fn answer(self, headers: &HeaderMap) -> Response {
        const MEBIBYTE: Bytes = Bytes::from_static(&[b' '; 1 << 20]);
        match self {
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Self::Throttled { retry_after: None } => StatusCode::TOO_MANY_REQUESTS.into_response(),
            Self::Throttled { retry_after: Some(seconds) } => {
                let wait = [(header::RETRY_AFTER, seconds.to_string())];
                (StatusCode::TOO_MANY_REQUESTS, wait).into_response()
            }
            Self::BlockPage => {
                let html = [(header::CONTENT_TYPE, "text/html")];
                (StatusCode::FORBIDDEN, html, "<h1>Request blocked</h1>").into_response()
            }
            Self::NotJson => "ok".into_response(),
            Self::Huge => {
                let chunks = (0..1024).map(|_| Ok::<_, std::io::Error>(MEBIBYTE));
                let json = [(header::CONTENT_TYPE, "application/json")];
                (json, Body::from_stream(stream::iter(chunks))).into_response()
            }
            Self::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
            Self::Echo => {
                let error = json!({ "code": bearer(headers) });
                (StatusCode::UNAUTHORIZED, Json(json!({ "error": error }))).into_response()
            }
            Self::Silence | Self::AnswerLost => std::future::pending().await,
        }
    }
}

/// The top-level fields of a JSON or form body.
struct Fields(Vec<(String, Value)>);

impl Fields {
    fn read(headers: &HeaderMap, bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        match kind.unwrap_or_default().split(';').next().unwrap_or_default() {
            "application/json" => match serde_json::from_slice(bytes) {
                Ok(Value::Object(fields)) => Ok(Self(fields.into_iter().collect())),
                _ => Err("the body is no JSON object".to_owned()),
            },
            "application/x-www-form-urlencoded" => Ok(Self(
                url::form_urlencoded::parse(bytes)
                    .map(|(name, value)| (name.into_owned(), value.into()))
                    .collect(),
            )),
            other => Err(format!("content type {other:?}")),
        }
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> &str {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or_default()
}

/// `prefix` and 32 letters and digits.
pub(super) fn random(prefix: &str) -> String {
    use rand::distr::{Alphanumeric, SampleString};
    format!("{prefix}{}", Alphanumeric.sample_string(&mut rand::rng(), 32))
}
