//! A fake of Google's OAuth endpoints. No published description of them was at hand: parameters
//! and answers are those of the pages named in `providers/google-oauth.toml`, as remembered. What
//! it is about is documented: a revocation ends everything that the account gave to any client of
//! the project.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::fake::{Front, Operation, Running, random, serve};

const OPERATIONS: &[Operation] = &[
    Operation {
        at: "POST /token",
        query: &[],
        required: &["grant_type", "client_id", "client_secret"],
        optional: &["refresh_token", "code", "code_verifier", "redirect_uri", "device_code"],
    },
    Operation {
        at: "POST /device/code",
        query: &[],
        required: &["client_id", "scope"],
        optional: &["client_secret"],
    },
    Operation { at: "GET /tokeninfo", query: &["access_token"], required: &[], optional: &[] },
    Operation { at: "POST /revoke", query: &[], required: &["token"], optional: &[] },
    Operation {
        at: "GET /o/oauth2/v2/auth",
        query: &[
            "access_type",
            "client_id",
            "code_challenge",
            "code_challenge_method",
            "prompt",
            "redirect_uri",
            "response_type",
            "scope",
            "state",
        ],
        required: &[],
        optional: &[],
    },
];

type Fields = BTreeMap<String, String>;

/// A stateful fake of the grants of some accounts to the clients of one project.
pub(crate) struct FakeGoogle {
    state: Arc<Google>,
    running: Running,
}

impl Deref for FakeGoogle {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

struct Google {
    front: Arc<Front>,
    tokens: Mutex<Vec<Token>>,
    codes: Mutex<BTreeMap<String, Fields>>,
}

struct Token {
    value: String,
    client: String,
    subject: String,
    live: bool,
}

impl FakeGoogle {
    /// The project's number: both clients are of it.
    pub(crate) const PROJECT: &str = "123456789012";
    /// A client of type desktop: a redirect to loopback, no device codes.
    pub(crate) const DESKTOP: &str = "123456789012-desk.apps.googleusercontent.com";
    /// Another client of the same project.
    pub(crate) const OTHER: &str = "123456789012-other.apps.googleusercontent.com";
    /// The account that consents.
    pub(crate) const SUBJECT: &str = "support@example.com";

    /// Starts it on a free port.
    pub(crate) async fn start() -> Self {
        let front = Front::new(OPERATIONS);
        let (tokens, codes) = (Mutex::default(), Mutex::default());
        let state = Arc::new(Google { front: Arc::clone(&front), tokens, codes });
        let router = Router::new()
            .route("/token", post(token))
            .route("/device/code", post(device))
            .route("/tokeninfo", get(tokeninfo))
            .route("/revoke", post(revoke))
            .route("/o/oauth2/v2/auth", get(consent))
            .with_state(Arc::clone(&state));
        let running = serve(&front, router).await;
        Self { state, running }
    }

    /// `http://127.0.0.1:PORT`, for both bases of the inventory.
    pub(crate) fn base(&self) -> String {
        self.running.address.clone()
    }

    /// The secret of a client.
    pub(crate) fn secret(client: &str) -> String {
        format!("GOCSPX-made-up-{}", client.len())
    }

    /// A refresh token and an access token that an account gave to a client.
    pub(crate) fn grant(&self, client: &str, subject: &str) -> (String, String) {
        self.state.grant(client, subject)
    }

    /// Whether a token would be accepted.
    pub(crate) fn is_alive(&self, token: &str) -> bool {
        self.state.find(token).is_some()
    }
}

impl Google {
    fn add(&self, prefix: &str, client: &str, subject: &str) -> String {
        let (client, subject) = (client.to_owned(), subject.to_owned());
        let token = Token { value: random(prefix), client, subject, live: true };
        let mut tokens = self.tokens.lock().unwrap();
        tokens.push(token);
        tokens.last().unwrap().value.clone()
    }

    fn grant(&self, client: &str, subject: &str) -> (String, String) {
        (self.add("1//0", client, subject), self.add("ya29.", client, subject))
    }

    /// Client and account of a live token.
    fn find(&self, value: &str) -> Option<(String, String)> {
        let tokens = self.tokens.lock().unwrap();
        let token = tokens.iter().find(|token| token.live && token.value == value)?;
        Some((token.client.clone(), token.subject.clone()))
    }
}

fn refused(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

async fn token(State(google): State<Arc<Google>>, Form(form): Form<Fields>) -> Response {
    let client = &form["client_id"];
    let known = [FakeGoogle::DESKTOP, FakeGoogle::OTHER].contains(&client.as_str());
    if !known || form["client_secret"] != FakeGoogle::secret(client) {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let bad = || refused(StatusCode::BAD_REQUEST, "invalid_grant");
    let answer = match form["grant_type"].as_str() {
        "refresh_token" => match google.find(&form["refresh_token"]) {
            Some((of, subject)) if of == *client => {
                json!({ "access_token": google.add("ya29.", client, &subject) })
            }
            _ => return bad(),
        },
        "authorization_code" => {
            let Some(asked) = google.codes.lock().unwrap().remove(&form["code"]) else {
                return bad();
            };
            let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
            if asked["code_challenge"] != hash || asked["redirect_uri"] != form["redirect_uri"] {
                return bad();
            }
            let (refresh, access) = google.grant(client, FakeGoogle::SUBJECT);
            // Only who asks for it gets a refresh token the second time.
            let offline = |name: &str, value: &str| asked.get(name).is_some_and(|it| it == value);
            match offline("access_type", "offline") && offline("prompt", "consent") {
                true => json!({ "access_token": access, "refresh_token": refresh }),
                false => json!({ "access_token": access }),
            }
        }
        _ => return refused(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
    };
    let mut answer = answer;
    answer["token_type"] = "Bearer".into();
    answer["expires_in"] = 3599.into();
    answer["scope"] = "https://mail.google.com/".into();
    Json(answer).into_response()
}

/// No client of this project is of the type that gets device codes.
async fn device() -> Response {
    refused(StatusCode::UNAUTHORIZED, "invalid_client")
}

async fn tokeninfo(State(google): State<Arc<Google>>, Query(query): Query<Fields>) -> Response {
    match google.find(&query["access_token"]) {
        Some((client, _)) => {
            let seen: Value = json!({ "azp": client, "aud": client, "expires_in": "3500",
                "scope": "https://mail.google.com/", "access_type": "offline" });
            Json(seen).into_response()
        }
        None => refused(StatusCode::BAD_REQUEST, "invalid_token"),
    }
}

async fn revoke(State(google): State<Arc<Google>>, Form(form): Form<Fields>) -> Response {
    let Some((_, subject)) = google.find(&form["token"]) else {
        let no = json!({ "error": "invalid_token",
            "error_description": "Token expired or revoked" });
        return (StatusCode::BAD_REQUEST, Json(no)).into_response();
    };
    let dying: Vec<String> = {
        let tokens = google.tokens.lock().unwrap();
        let of = tokens.iter().filter(|token| token.subject == subject);
        of.map(|token| token.value.clone()).collect()
    };
    let state = Arc::clone(&google);
    google.front.when_dead(move || {
        for token in state.tokens.lock().unwrap().iter_mut() {
            token.live &= !dying.contains(&token.value);
        }
    });
    Json(json!({})).into_response()
}

/// The person is signed in already and agrees at once.
async fn consent(State(google): State<Arc<Google>>, Query(query): Query<Fields>) -> Response {
    let code = random("4/0");
    let back = format!("{}?state={}&code={code}", query["redirect_uri"], query["state"]);
    google.codes.lock().unwrap().insert(code, query);
    (StatusCode::FOUND, [(header::LOCATION, back)]).into_response()
}
